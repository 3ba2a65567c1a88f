//! Text of a manifest file → the documents in it, each by itself: a broken one is reported with its line and harms no other.
//!
//! Messages never quote the text: directories may hold Secrets too.

use serde_json::Value;

use super::words;

/// Most values of all documents that share a budget: a `kubectl get -o yaml` of a big cluster has a few million. What aliases
/// multiply counts each time.
const MAX_VALUES: usize = 20_000_000;
/// Most bytes of text in the values of one YAML document, aliases counted each time.
const MAX_DOCUMENT_TEXT_BYTES: usize = 64 << 20;
/// What a value takes in memory, about, besides its text.
const BYTES_PER_VALUE: usize = 64;

/// How many values may still be read: of one file, or of all files of a cluster. Documents share it, so that many of them cannot
/// do what a single one must not.
#[derive(Debug)]
pub(crate) struct ValueBudget {
    values: usize,
}

impl Default for ValueBudget {
    fn default() -> Self {
        Self { values: MAX_VALUES }
    }
}

impl ValueBudget {
    /// As many values as fit into so much memory.
    pub(crate) fn of_memory(bytes: u64) -> Self {
        let values = usize::try_from(bytes).unwrap_or(usize::MAX) / BYTES_PER_VALUE;
        Self { values: values.min(MAX_VALUES) }
    }

    fn take(&mut self, value: &Value) {
        self.values = self.values.saturating_sub(count(value));
    }
}

/// Values are nested as deep as the parsers allow.
fn count(value: &Value) -> usize {
    1 + match value {
        // A long text takes as much as several values.
        Value::String(text) => text.len() / BYTES_PER_VALUE,
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document<'t> {
    /// Line of the file where it begins, from 1.
    pub(crate) line: usize,
    /// Its text; JSON is YAML, too.
    pub(crate) text: &'t str,
    /// Its value.
    pub(crate) value: Value,
}

/// A document that does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Line of the file, from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    pub(crate) message: String,
}

/// Reads the documents of a text, in order. Empty ones are left out.
pub(crate) fn documents<'t>(
    text: &'t str,
    is_json: bool,
    budget: &mut ValueBudget,
) -> Vec<Result<Document<'t>, Broken>> {
    // Editors of Windows put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json {
        return read_json(text, budget);
    }
    split(text).into_iter().filter_map(|(line, text)| read_yaml_document(line, text, budget)).collect()
}

/// Reads JSON documents. After a broken one no further document can be found.
fn read_json<'t>(text: &'t str, budget: &mut ValueBudget) -> Vec<Result<Document<'t>, Broken>> {
    // Each value but the first of its document follows one of these. The decoder has no limit of its own.
    let at_most = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if at_most > budget.values {
        return vec![Err(Broken { line: 1, message: words::TOO_LARGE.to_owned() })];
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut read = Vec::new();
    loop {
        let rest = &text[documents.byte_offset()..];
        let start = text.len() - rest.trim_start().len();
        let line = 1 + text[..start].matches('\n').count();
        match documents.next() {
            Some(Ok(Value::Null)) => {}
            Some(Ok(value)) if budget.values == 0 => {
                drop(value);
                read.push(Err(Broken { line, message: words::TOO_LARGE.to_owned() }));
                return read;
            }
            Some(Ok(value)) => {
                budget.take(&value);
                read.push(Ok(Document { line, text: &text[start..documents.byte_offset()], value }));
            }
            Some(Err(error)) => {
                let text = error.to_string();
                let message = text.split(" at line ").next().unwrap_or_default().to_owned();
                read.push(Err(Broken { line: error.line().max(1), message }));
                return read;
            }
            None => return read,
        }
    }
}

/// Cuts YAML at document markers, each piece with the number of its first line. A marker at the start of a line ends a
/// document wherever it is, even in a block scalar (YAML 1.2 §9.1.2), so nothing needs to be parsed for it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    // Where the piece at hand begins, and in which line.
    let (mut start, mut first, mut is_empty) = (0, 1, true);
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        let marker = ["---", "..."].into_iter().find_map(|marker| line.strip_prefix(marker));
        let mut content = line;
        if let Some(rest) = marker.filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            pieces.push((first, &text[start..offset]));
            (start, first, is_empty) = (offset + line.len() - rest.len(), number, true);
            content = rest;
        }
        offset += line.len();
        if is_empty && is_blank(content) {
            (start, first) = (offset, number + 1);
        } else {
            is_empty = false;
        }
    }
    pieces.push((first, &text[start..]));
    pieces
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Reads one piece of [`split`] whose first line is `first`; nothing where it is empty.
fn read_yaml_document<'t>(
    first: usize,
    text: &'t str,
    budget: &mut ValueBudget,
) -> Option<Result<Document<'t>, Broken>> {
    if text.lines().all(|line| is_blank(line) || line.starts_with('%')) {
        return None;
    }
    match serde_saphyr::from_str_with_options::<Value>(text, options(budget)) {
        Ok(Value::Null) => None,
        Ok(value) => {
            budget.take(&value);
            Some(Ok(Document { line: first, text, value }))
        }
        Err(error) => {
            let within = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
            let message = words::of_yaml(&error);
            if message == words::TOO_LARGE {
                // Otherwise the next one of many such would cost as much time.
                budget.values /= 2;
            }
            Some(Err(Broken { line: first + within.saturating_sub(1), message }))
        }
    }
}

/// Scalars are read as kubectl reads them, by YAML 1.1: `010` is 8. Without the excerpt of the text that the parser would
/// print.
pub(super) fn options(budget: &ValueBudget) -> serde_saphyr::Options {
    let text_bytes = budget.values.saturating_mul(BYTES_PER_VALUE).min(MAX_DOCUMENT_TEXT_BYTES);
    serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_nodes: budget.values,
            max_events: 2 * budget.values,
            max_total_scalar_bytes: text_bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(text: &str, is_json: bool) -> Vec<Result<Document<'_>, Broken>> {
        documents(text, is_json, &mut ValueBudget::default())
    }

    fn lines(read: &[Result<Document<'_>, Broken>]) -> Vec<Result<usize, usize>> {
        read.iter().map(|d| d.as_ref().map(|d| d.line).map_err(|b| b.line)).collect()
    }

    fn yaml(text: &str) -> Value {
        documents(text, false, &mut ValueBudget::default()).remove(0).unwrap().value
    }

    fn message(text: &str, is_json: bool) -> String {
        read_all(text, is_json).into_iter().find_map(Result::err).unwrap().message
    }

    #[test]
    fn a_broken_document_leaves_its_neighbours_whole_and_names_its_line() {
        let text = "# first\na: 1\n---\n\nb: [1\nc: 2\n--- # third\nd: |\n  ---x\n  text\n...\n---\n# nothing\n";
        let read = read_all(text, false);
        assert_eq!(lines(&read), [Ok(2), Err(6), Ok(8)]);
        assert_eq!(read[2].as_ref().unwrap().text, "d: |\n  ---x\n  text\n");
    }

    #[test]
    fn messages_are_short_and_quote_no_values() {
        assert_eq!(message("password: s3cret\n b: 2\n", false), "mapping values are not allowed in this context");
        assert_eq!(message("a: 1\na: s3cret\n", false), "the key a is there twice");
        assert!(message("a: [s3cret\n", false).contains("'['"));
    }

    /// Names of functions and types are of no use to the owner of a manifest.
    #[test]
    fn messages_are_for_the_owner_of_the_file() {
        let deep = "[".repeat(10_000);
        let aliases = "a: &a [x]\nb: *nothing\n";
        let yaml = [
            "a: b: c\n",
            "\ta: 1\n",
            "a: \"x\n",
            "a: 'x\n",
            "a: [1, 2\n",
            "a: {b: 1\n",
            "a: 1\n b: 2\nc\n",
            "a: *nothing\n",
            "a: &x *x\n",
            "a: &a [*a]\n",
            "<<: 5\n",
            "a: \"\\q\"\n",
            "a: !!binary x\n",
            "a: !include x\n",
            "? [a]\n: b\n",
            "a: .nan\n",
            "a: 1\rb: [\r",
            "a: 1\r---\rb: 2\r",
            "%YAML 9.9\n---\na: b: c\n",
            "a: |\n\tx\n",
            "a: @x\n",
            "\u{0}\n",
            &deep,
            aliases,
        ];
        let json = [
            "{",
            "{\"a\": }",
            "{a: 1}",
            "[1,]",
            "{\"a\": 1} x",
            "\"\u{1}\"",
            "{\"a\": 1e999}",
            "nul",
            "{\"a\": \"\\ud800\"}",
            &deep,
        ];
        let all = yaml.into_iter().map(|text| (text, false)).chain(json.into_iter().map(|text| (text, true)));
        for (text, is_json) in all {
            for broken in read_all(text, is_json).into_iter().filter_map(Result::err) {
                let words = broken.message;
                let shown = text.chars().take(20).collect::<String>();
                for leak in [
                    "serde",
                    "usize",
                    "_",
                    "::",
                    "Option",
                    "Policy",
                    "invalid type",
                    "unit",
                    "enum",
                    "visit",
                    "=",
                    "expected a ",
                ] {
                    assert!(!words.contains(leak), "{shown:?}: {words}");
                }
                assert!(!words.is_empty(), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        for (text, is_json) in [("\u{feff}{\"a\": 1}", true), ("\u{feff}a: 1\n", false), ("\u{feff}{\"a\": 1}", false)]
        {
            let read = read_all(text, is_json);
            assert_eq!(read[0].as_ref().unwrap().value, json!({"a": 1}), "{text:?}");
        }
    }

    #[test]
    fn line_ends_may_be_those_of_any_system_but_documents_of_carriage_returns_alone_are_refused() {
        let read = read_all("a: 1\r\n---\r\nb: 2\r\n", false);
        assert_eq!(lines(&read), [Ok(1), Ok(3)]);
        assert_eq!(yaml("a: 1\rb: 2\r"), json!({"a": 1, "b": 2}));
        let read = read_all("a: 1\r---\rb: 2\r", false);
        assert!(read[0].as_ref().unwrap_err().message.contains("carriage returns alone"), "{read:?}");
    }

    #[test]
    fn numbers_are_read_as_kubectl_reads_them() {
        assert_eq!(yaml("a: 010\nb: 0x10\nc: 7e1\nd: \"010\"\ne: 80.0\n")["a"], json!(8));
        assert_eq!(yaml("b: 0x10\n")["b"], json!(16));
        assert_eq!(yaml("c: 7e1\n")["c"], json!(70.0));
        assert_eq!(yaml("d: \"010\"\n")["d"], json!("010"));
    }

    #[test]
    fn json_documents_follow_each_other() {
        let read = read_all("{\"a\": 1}\n\n{\"b\": 2}\n{\"c\":\n x}", true);
        assert_eq!(lines(&read), [Ok(1), Ok(3), Err(5)]);
        assert_eq!(read[1].as_ref().unwrap().text, "{\"b\": 2}");
        assert_eq!(read[2].as_ref().unwrap_err().message, "expected value");
    }

    #[test]
    fn a_list_of_a_big_cluster_is_no_bomb() {
        let text = format!("items:\n{}", "- a\n".repeat(300_000));
        assert!(read_all(&text, false)[0].is_ok());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert_eq!(message(&text, false), "it is too large or too deeply nested to be read");
    }

    // Invariant: A faulty object, kind or cluster affects no other.
    #[test]
    fn many_documents_together_have_the_budget_of_one() {
        let small = "a: [x, x, x, x, x, x, x, x]\n---\n".repeat(20);
        let mut budget = ValueBudget { values: 100 };
        let read = documents(&small, false, &mut budget);
        // Ten values each; what follows an exhausted budget is refused.
        assert_eq!(read.iter().filter(|document| document.is_ok()).count(), 9);
        assert!(read.iter().filter_map(|document| document.as_ref().err()).all(|b| b.message == words::TOO_LARGE));
        let json = "[[],[],[]]\n".repeat(20);
        assert_eq!(
            documents(&json, true, &mut ValueBudget { values: 70 })[0].as_ref().unwrap_err().message,
            words::TOO_LARGE
        );
        assert!(documents(&json, true, &mut ValueBudget { values: 200 }).iter().all(Result::is_ok));
    }

    #[test]
    fn a_long_text_counts_each_time_that_an_alias_repeats_it() {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(90));
        assert_eq!(message(&text, false), words::TOO_LARGE);
    }

    #[test]
    fn thousands_of_bombs_are_no_worse_than_one() {
        let bomb = format!("a: &a [{}]\nb: [{}]\n---\n", "x, ".repeat(900), "*a, ".repeat(90));
        let (bombs, mut budget) = (bomb.repeat(100), ValueBudget { values: 100_000 });
        let read = documents(&bombs, false, &mut budget);
        let whole = read.iter().filter(|document| document.is_ok()).count();
        assert!(whole <= 1, "{whole}");
        assert!(budget.values < 100, "{}", budget.values);
    }
}
