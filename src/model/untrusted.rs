//! Texts from outside: which ones can name an object, and how any text is shown.

/// Longest name of an object (DNS-1123 subdomain).
const MAX_NAME_CHARS: usize = 253;
/// Longest part of a name between dots, and longest name of a namespace (DNS-1123 label).
const MAX_LABEL_CHARS: usize = 63;

/// Longest id of withheld removals that is read, in bytes. The ids that Tradewind gives are far shorter.
pub const MAX_RELEASE_ID_BYTES: usize = 256;

/// Whether a text can name an object of any kind that is read or written: API servers take DNS-1123 subdomains for each of
/// them, and shorter ones for some. Such a name is part of no path but itself.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= MAX_NAME_CHARS && text.split('.').all(is_part)
}

/// Whether a text can name a namespace (DNS-1123 label).
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_CHARS && is_part(text)
}

fn is_part(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
        && bytes.iter().all(|byte| is_alphanumeric(byte) || *byte == b'-')
}

/// Longest quote of a text from outside, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// A text from outside in quotation marks, as a message quotes it: short, and with every special character escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

/// A text from outside as notes, logs and terminals may show it: at most `max_chars` characters, in one line, with control
/// characters and those that change the direction of a line escaped.
#[must_use]
pub fn printable(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count >= max_chars {
            shown.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            character if is_deceptive(character) => shown.extend(character.escape_unicode()),
            character => shown.push(character),
        }
    }
    shown
}

/// Control characters, marks of direction, and characters without width: what makes a text look like another one.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_an_api_server_takes() {
        let (longest, too_long) = (vec!["x"; 127].join("."), "x".repeat(64));
        for name in ["a", "a-b", "a.b-c.d0", "0", &longest, &too_long] {
            assert!(is_dns_subdomain(name), "{name}");
        }
        let beyond = format!("{longest}.x");
        for name in [
            "", ".", "..", "a/b", "../a", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "a b", "ä", "a\0", "a\n", &beyond,
        ] {
            assert!(!is_dns_subdomain(name), "{name:?}");
        }
        assert!(is_dns_label("a-b") && !is_dns_label("a.b") && !is_dns_label(&too_long));
        assert!(!is_dns_label("..") && !is_dns_label(""));
    }

    #[test]
    fn nothing_that_is_shown_moves_a_cursor_or_ends_a_line() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\nb\tc", 99), "a\\u{1b}[31mred\\u{7} b c");
        assert_eq!(printable("\u{202e}evil\u{200b}", 99), "\\u{202e}evil\\u{200b}");
        assert_eq!(printable("grüße, 世界", 99), "grüße, 世界");
        assert_eq!(printable(&"x".repeat(9), 3), "xxx…");
    }
}
