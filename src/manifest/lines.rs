//! The line of each field of a document. Where the line of a field is not known, the line of the enclosing value is returned.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::text;

/// The lines of a document, from 1, as deep as it goes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: usize,
    fields: Vec<(String, Lines)>,
    items: Vec<Lines>,
}

impl Lines {
    /// Reads the document of which `text` is all, and whose first line is `first`.
    pub(super) fn read(text: &str, first: usize) -> Self {
        let shape = serde_saphyr::from_str_with_options::<Spanned<DocumentLines>>(
            text,
            text::options(&text::ValueBudget::default()),
        );
        // What the caller could read and this cannot has at least a beginning.
        shape.map_or_else(|_| Self { line: first, ..Self::default() }, |shape| Self::of(shape, first))
    }

    fn of(shape: Spanned<DocumentLines>, first: usize) -> Self {
        let line = line_of(&shape.referenced, first);
        let (mut fields, mut items) = (Vec::new(), Vec::new());
        match shape.value {
            DocumentLines::Scalar => {}
            DocumentLines::Fields(found) => fields.extend(found.into_iter().map(|(key, value)| {
                let line = line_of(&key.referenced, first);
                (key.value, Self { line, ..Self::of(value, first) })
            })),
            DocumentLines::Items(found) => items.extend(found.into_iter().map(|item| Self::of(item, first))),
        }
        Self { line, fields, items }
    }

    /// The line of `spec.policy[0].dnsPrefix`, or of the nearest thing around it.
    pub(super) fn at(&self, path: &str) -> usize {
        let (mut here, mut rest) = (self, path);
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let next = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((index, rest)) => {
                    index.parse::<usize>().ok().and_then(|index| here.items.get(index)).map(|item| (item, rest))
                }
                // A key may have dots in it: the longest that fits.
                None => here
                    .fields
                    .iter()
                    .filter_map(|(key, value)| rest.strip_prefix(key.as_str()).map(|rest| (value, rest)))
                    .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
                    .min_by_key(|(_, rest)| rest.len()),
            };
            match next {
                Some((deeper, further)) if !rest.is_empty() => (here, rest) = (deeper, further),
                _ => return here.line,
            }
        }
    }
}

fn line_of(location: &serde_saphyr::Location, first: usize) -> usize {
    let within = usize::try_from(location.line()).unwrap_or(1).max(1);
    first + within - 1
}

/// A document without its values.
enum DocumentLines {
    Scalar,
    Fields(Vec<(Spanned<String>, Spanned<DocumentLines>)>),
    Items(Vec<Spanned<DocumentLines>>),
}

impl<'de> Deserialize<'de> for DocumentLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LinesVisitor)
    }
}

struct LinesVisitor;

/// What a scalar is does not matter here.
macro_rules! scalars {
    ($($visit:ident: $type:ty),+) => {$(
        fn $visit<E>(self, _: $type) -> Result<DocumentLines, E> {
            Ok(DocumentLines::Scalar)
        }
    )+};
}

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = DocumentLines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<DocumentLines, E> {
        Ok(DocumentLines::Scalar)
    }

    fn visit_none<E>(self) -> Result<DocumentLines, E> {
        Ok(DocumentLines::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<DocumentLines, D::Error> {
        DocumentLines::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DocumentLines, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(DocumentLines::Items(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<DocumentLines, A::Error> {
        let mut found = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<Option<String>>>()? {
            match key.value {
                Some(name) => {
                    let key = Spanned { value: name, referenced: key.referenced, defined: key.defined };
                    found.push((key, fields.next_value()?));
                }
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(DocumentLines::Fields(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
kind: GlobalTrafficPolicy
metadata:
  labels:
    admiral.io/env: stage
    admiral.io: x
spec:
  policy:
  - dnsPrefix: default
    target:
      - region: us-west
        weight: 90
      - {region: us-east,
         weight: 10}
";

    #[test]
    fn fields_are_found_on_their_lines_and_missing_ones_where_they_should_be() {
        let lines = Lines::read(TEXT, 1);
        for (path, line) in [
            ("", 1),
            ("kind", 1),
            ("metadata.labels", 3),
            ("metadata.labels.admiral.io/env", 4),
            ("metadata.labels.admiral.io", 5),
            ("spec.policy[0]", 8),
            ("spec.policy[0].dnsPrefix", 8),
            ("spec.policy[0].target[0].weight", 11),
            ("spec.policy[0].target[1].weight", 13),
            ("spec.policy[0].target[1].nothing", 12),
            ("spec.policy[7].dnsPrefix", 7),
        ] {
            assert_eq!(lines.at(path), line, "{path}");
        }
        assert_eq!(Lines::read(TEXT, 100).at("spec.policy[0]"), 107);
    }

    #[test]
    fn json_has_lines_too() {
        let lines = Lines::read("{\n\t\"spec\": {\n\t\t\"source\": null,\n\t\t\"destinations\": [\"a\",\n\"b\"]}}", 3);
        assert_eq!(["spec", "spec.source", "spec.destinations[1]"].map(|path| lines.at(path)), [4, 5, 7]);
    }
}
