//! The settings file as entries with lines. It knows YAML, and no setting.
//!
//! The parser's events are read directly: they keep each value's text as it was written (`off` is
//! a word here, and `1.10` is not a number) and its line, which typed YAML reading loses.

use std::path::Path;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// A text and its line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub line: usize,
    pub text: String,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// One text.
    One(Text),
    /// A list of texts.
    Many(Vec<Text>),
    /// What no setting can be, with what is wrong with it.
    Unusable(&'static str),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub key: Text,
    pub content: Content,
}

/// Why a file cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Line (from 1), where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
}

/// Largest settings file, in bytes: all settings with long comments take a few thousand.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<FileEntry>, Unreadable> {
    let failed = |why: String| Unreadable { line: None, why };
    let size = std::fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(failed(format!("has {size} bytes; a settings file has at most {MAX_FILE_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    entries(&text)
}

/// The entries of a file's text, in its order. A file of comments alone has none.
pub(super) fn entries(text: &str) -> Result<Vec<FileEntry>, Unreadable> {
    let mut events = Events { parser: Parser::new_from_str(text) };
    let entries = match events.next()? {
        (_, Event::StreamEnd) => return Ok(Vec::new()),
        (_, Event::MappingStart(..)) => events.mapping()?,
        // `---` with nothing but comments behind it.
        (line, Event::Scalar(text, style, ..)) if scalar(line, &text, style).is_err() => Vec::new(),
        (line, _) => return Err(unreadable(line, "a settings file is a mapping of keys to values")),
    };
    match events.next()? {
        (_, Event::StreamEnd) => Ok(entries),
        (line, _) => Err(unreadable(line, "a settings file holds one document")),
    }
}

fn unreadable(line: usize, why: impl Into<String>) -> Unreadable {
    Unreadable { line: Some(line), why: why.into() }
}

struct Events<'a> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    /// The next event that carries meaning, with its line.
    fn next(&mut self) -> Result<(usize, Event<'a>), Unreadable> {
        loop {
            match self.parser.next() {
                None => return Ok((0, Event::StreamEnd)),
                Some(Err(error)) => {
                    return Err(unreadable(error.marker().line(), format!("is not YAML: {}", error.info())));
                }
                Some(Ok((event, span))) => match event {
                    Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::Comment(..) => {}
                    event => return Ok((span.start.line(), event)),
                },
            }
        }
    }

    /// The entries up to the end of the file's mapping.
    fn mapping(&mut self) -> Result<Vec<FileEntry>, Unreadable> {
        let mut entries = Vec::new();
        loop {
            match self.next()? {
                (_, Event::MappingEnd) => return Ok(entries),
                (line, Event::Scalar(key, ..)) => {
                    let key = Text { line, text: key.into_owned() };
                    entries.push(FileEntry { key, content: self.content()? });
                }
                (line, _) => return Err(unreadable(line, "a key must be a plain text")),
            }
        }
    }

    fn content(&mut self) -> Result<Content, Unreadable> {
        Ok(match self.next()? {
            (line, Event::Scalar(text, style, ..)) => {
                scalar(line, &text, style).map_or_else(Content::Unusable, Content::One)
            }
            (_, Event::SequenceStart(..)) => self.list()?,
            (_, Event::MappingStart(..)) => {
                self.skip()?;
                Content::Unusable("a mapping stands where a value should")
            }
            _ => Content::Unusable("anchors and aliases are not for settings; write the value"),
        })
    }

    fn list(&mut self) -> Result<Content, Unreadable> {
        let mut items = Ok(Vec::new());
        loop {
            let item = match self.next()? {
                (_, Event::SequenceEnd) => return Ok(items.map_or_else(Content::Unusable, Content::Many)),
                (line, Event::Scalar(text, style, ..)) => scalar(line, &text, style),
                (_, Event::SequenceStart(..) | Event::MappingStart(..)) => {
                    self.skip()?;
                    Err("its list holds something else than texts")
                }
                _ => Err("anchors and aliases are not for settings; write the value"),
            };
            match (item, &mut items) {
                (Ok(item), Ok(items)) => items.push(item),
                (Err(why), Ok(_)) => items = Err(why),
                (_, Err(_)) => {}
            }
        }
    }

    /// Passes over the rest of a collection that was just entered.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()?.1 {
                Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
                Event::SequenceEnd | Event::MappingEnd => depth -= 1,
                // Only a broken parser ends a stream inside a collection; do not spin with it.
                Event::StreamEnd => break,
                _ => {}
            }
        }
        Ok(())
    }
}

fn scalar(line: usize, text: &str, style: ScalarStyle) -> Result<Text, &'static str> {
    if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null") {
        return Err("it has no value; give it one (\"\" for nothing), or remove the key");
    }
    Ok(Text { line, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let entries = entries(text).unwrap();
        entries
            .iter()
            .map(|FileEntry { key, content }| match content {
                Content::One(Text { line, text }) => format!("{}:{} = {line}:{text}", key.line, key.text),
                Content::Many(items) => {
                    let items: Vec<_> = items.iter().map(|item| format!("{}:{}", item.line, item.text)).collect();
                    format!("{}:{} = [{}]", key.line, key.text, items.join(" "))
                }
                Content::Unusable(_) => format!("{}:{} unusable", key.line, key.text),
            })
            .collect()
    }

    #[test]
    fn texts_are_kept_as_written_with_their_lines() {
        let text = "# a comment\na: off # no boolean\nb: 1.10\n\nc:\n  - x\n  - 'y'\nd: [p, q]\ne: \"\"\n";
        assert_eq!(shown(text), ["2:a = 2:off", "3:b = 3:1.10", "5:c = [6:x 7:y]", "8:d = [8:p 8:q]", "9:e = 9:"]);
    }

    #[test]
    fn what_no_setting_can_be_is_unusable_and_the_rest_is_read() {
        let text = "a:\nb: {x: [1, {y: 2}]}\nc: [[1], 2]\nd: &x 1\ne: *x\nf: ~\ng: ok\n";
        assert_eq!(
            shown(text),
            ["1:a unusable", "2:b unusable", "3:c unusable", "4:d = 4:1", "5:e unusable", "6:f unusable", "7:g = 7:ok"]
        );
    }

    #[test]
    fn empty_files_have_no_entries() {
        for text in ["", "# only a comment\n", "---\n", "--- # nothing\n", "{}\n"] {
            assert_eq!(entries(text), Ok(vec![]), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_mapping_is_refused_with_its_line() {
        for (text, line) in [
            ("\n- a\n", 2),
            ("text\n", 1),
            ("a: 1\nb: [x\nc: 2\n", 3),
            ("a: 1\n---\nb: 2\n", 3),
            ("---\n---\na: 1\n", 3),
            ("[a]: 1\n", 1),
        ] {
            assert_eq!(entries(text).unwrap_err().line, Some(line), "{text:?}");
        }
    }

    #[test]
    fn a_file_too_large_for_settings_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(read(file.path()).unwrap_err().why.contains("at most"));
    }
}
