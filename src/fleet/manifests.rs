//! Text of a manifest file → the documents in it, each by itself: a broken one says where, and harms no other.
//!
//! Messages never quote the text: directories may hold Secrets too.

use serde_json::Value;

/// Most values in one YAML document: a `kubectl get -o yaml` of a big cluster has a few million. What aliases
/// multiply is bounded apart from this, by the parser's own limits.
const MAX_NODES: usize = 20_000_000;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Line of the file where it begins, from 1.
    pub(crate) line: usize,
    /// What it says.
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

/// Reads YAML documents, in order. Empty ones are left out.
pub(super) fn read_yaml(text: &str) -> Vec<Result<Document, Broken>> {
    split(text).into_iter().filter_map(|(line, text)| read_document(line, &text)).collect()
}

/// Reads JSON documents, in order. After a broken one nothing more can be told apart.
pub(crate) fn read_json(text: &str) -> Vec<Result<Document, Broken>> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut read = Vec::new();
    loop {
        let rest = &text[documents.byte_offset()..];
        let start = text.len() - rest.trim_start().len();
        let line = 1 + text[..start].matches('\n').count();
        match documents.next() {
            Some(Ok(Value::Null)) => {}
            Some(Ok(value)) => read.push(Ok(Document { line, value })),
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
/// document wherever it stands, even in a block scalar (YAML 1.2 §9.1.2), so nothing needs to be parsed for it.
pub(crate) fn split(text: &str) -> Vec<(usize, String)> {
    let mut pieces = vec![(1, String::new())];
    for (index, line) in text.trim_start_matches('\u{feff}').split_inclusive('\n').enumerate() {
        let marker = ["---", "..."].into_iter().find_map(|marker| line.strip_prefix(marker));
        let (number, line) = match marker.filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            Some(rest) => {
                pieces.push((index + 1, String::new()));
                (index + 1, rest)
            }
            None => (index + 1, line),
        };
        let (first, piece) = pieces.last_mut().expect("there is always a piece");
        if piece.is_empty() && is_blank(line) {
            *first = number + 1;
        } else {
            piece.push_str(line);
        }
    }
    pieces
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Reads one piece of [`split`] whose first line is `first`; nothing where nothing is said.
pub(crate) fn read_document(first: usize, text: &str) -> Option<Result<Document, Broken>> {
    if text.lines().all(|line| is_blank(line) || line.starts_with('%')) {
        return None;
    }
    match serde_saphyr::from_str_with_options::<Value>(text, options()) {
        Ok(Value::Null) => None,
        Ok(value) => Some(Ok(Document { line: first, value })),
        Err(error) => {
            let within = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
            Some(Err(Broken { line: first + within.saturating_sub(1), message: in_words(&error) }))
        }
    }
}

/// Without the excerpt of the text that the parser would print.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 2 * MAX_NODES },
    }
}

/// The parser's words without the place, which the caller knows better, and without advice to programmers.
pub(super) fn in_words(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&serde_saphyr::DefaultMessageFormatter);
    let end = [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|tail| text.find(tail)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(read: &[Result<Document, Broken>]) -> Vec<Result<usize, usize>> {
        read.iter().map(|d| d.as_ref().map(|d| d.line).map_err(|b| b.line)).collect()
    }

    #[test]
    fn a_broken_document_leaves_its_neighbours_whole_and_names_its_line() {
        let text = "# first\na: 1\n---\n\nb: [1\nc: 2\n--- # third\nd: |\n  ---x\n  text\n...\n---\n# nothing\n";
        let read = read_yaml(text);
        assert_eq!(lines(&read), [Ok(2), Err(6), Ok(8)]);
    }

    #[test]
    fn messages_are_short_and_quote_no_values() {
        let message = |text: &str| read_yaml(text).remove(0).unwrap_err().message;
        assert_eq!(message("password: s3cret\n b: 2\n"), "mapping values are not allowed in this context");
        assert_eq!(message("a: 1\na: s3cret\n"), "duplicate mapping key: a");
        assert!(message("a: [s3cret\n").contains("'['"));
    }

    #[test]
    fn json_documents_follow_each_other() {
        let read = read_json("{\"a\": 1}\n\n{\"b\": 2}\n{\"c\":\n x}");
        assert_eq!(lines(&read), [Ok(1), Ok(3), Err(5)]);
        assert_eq!(read[2].as_ref().unwrap_err().message, "expected value");
    }

    #[test]
    fn a_list_of_a_big_cluster_is_no_bomb() {
        let text = format!("items:\n{}", "- a\n".repeat(300_000));
        assert!(read_yaml(&text)[0].is_ok());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(read_yaml(&text)[0].is_err());
    }
}
