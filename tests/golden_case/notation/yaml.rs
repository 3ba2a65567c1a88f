//! Values as YAML for people: on one line where they fit, and without quotes where none are needed.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest line of a value; longer ones are broken.
const MAX_WIDTH: usize = 120;

/// Reads a value. Words and numbers, which are most of them, need no parser.
pub fn read_value(text: &str) -> Result<Value, String> {
    if let Ok(number) = text.parse::<u32>()
        && number.to_string() == text
    {
        return Ok(number.into());
    }
    let is_word = text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "-./_".contains(char));
    if is_word && scalar(text) == text {
        return Ok(text.into());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// Writes a value behind `head`, broken into lines where it is long. `indent` is that of `head`.
pub fn write_value(head: &str, indent: usize, value: &Value, into: &mut String) {
    let flat = flow(value);
    if head.chars().count() + 1 + flat.chars().count() <= MAX_WIDTH {
        let _ = writeln!(into, "{head} {flat}");
        return;
    }
    let spaces = " ".repeat(indent + 2);
    match value {
        Value::Object(fields) => {
            // The first field of an item stands behind its dash.
            let mut prefix = if head.trim_end().ends_with('-') { format!("{head} ") } else { String::new() };
            if prefix.is_empty() {
                let _ = writeln!(into, "{head}");
            }
            for (key, value) in fields {
                let before = if prefix.is_empty() { spaces.clone() } else { std::mem::take(&mut prefix) };
                write_value(&format!("{before}{}:", scalar(key)), indent + 2, value, into);
            }
        }
        Value::Array(items) => {
            let _ = writeln!(into, "{head}");
            items.iter().for_each(|item| write_value(&format!("{spaces}-"), indent + 2, item, into));
        }
        _ => drop(writeln!(into, "{head} {flat}")),
    }
}

/// A value on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A string as YAML, without quotes where none are needed.
fn scalar(text: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "_./*-:()+$ ".contains(char);
    let looks_like_a_number = text.starts_with(|char: char| char.is_ascii_digit() || "+-.".contains(char))
        && text.chars().all(|char| char.is_ascii_hexdigit() || "xo+-.:_".contains(char))
        && text.matches('.').count() < 2;
    let is_word =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "-"].contains(&text.to_lowercase().as_str());
    let is_plain = text.chars().all(plain)
        && !text.starts_with(['*', '-', ':', ' ', '.'])
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains("  ")
        && !text.is_empty();
    if is_plain && !looks_like_a_number && !is_word {
        text.to_owned()
    } else if text.contains(|char: char| char == '\'' || char.is_control()) || !text.contains(['\\', '"']) {
        Value::from(text).to_string()
    } else {
        format!("'{text}'")
    }
}
