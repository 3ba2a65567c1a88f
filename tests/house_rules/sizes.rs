//! Names that mean one thing, functions that fit on a screen, types that do one job.
//!
//! Each rule lists its exceptions of today. The lists can only shrink: an exception that is no longer needed fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, crate_sources};

/// Type names that several modules of the crate use.
const SHARED_NAMES: &[&str] = &[];

/// Lines between the line with `fn` and the closing brace that fit on a screen.
const MAX_FUNCTION_LINES: usize = 60;

/// Longer functions: file and name.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Methods of one type, in all its `impl` blocks.
const MAX_METHODS: usize = 30;

/// Types with more.
const LARGE_TYPES: &[&str] = &["Registry"];

// Invariant: Files and functions have a limited length; no type has more than thirty methods; a type's name is unique.
#[test]
fn type_names_are_unique_in_the_crate() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in crate_sources() {
        for name in source.lines.iter().filter_map(|line| type_name(line)) {
            files.entry(name.to_owned()).or_default().insert(source.path.clone());
        }
    }
    assert!(files.len() > 300, "types are declared in another form now; find them in `type_name`");
    let shared =
        files.iter().filter(|(_, files)| files.len() > 1).map(|(name, files)| (name.clone(), format!("{files:?}")));
    compare(
        shared.collect(),
        SHARED_NAMES.iter().map(|name| (*name).to_owned()).collect(),
        "a name of one module only",
    );
}

// Invariant: Files and functions have a limited length; no type has more than thirty methods; a type's name is unique.
#[test]
fn functions_fit_on_a_screen() {
    let mut long = BTreeMap::new();
    let mut functions = 0;
    for source in crate_sources() {
        for (name, lines) in functions_of(&source) {
            functions += 1;
            if lines > MAX_FUNCTION_LINES {
                long.insert(format!("{}: {name}", source.path), format!("{lines} lines"));
            }
        }
    }
    assert!(functions > 2_000, "functions are written in another form now; find them in `functions_of`");
    let listed = LONG_FUNCTIONS.iter().map(|(file, name)| format!("{file}: {name}")).collect();
    compare(long, listed, "short");
}

// Invariant: Files and functions have a limited length; no type has more than thirty methods; a type's name is unique.
#[test]
fn no_type_has_more_than_thirty_methods() {
    let mut methods: BTreeMap<String, usize> = BTreeMap::new();
    for source in crate_sources() {
        for (of, count) in methods_of(&source) {
            *methods.entry(of).or_default() += count;
        }
    }
    assert!(methods.len() > 200, "methods are written in another form now; find them in `methods_of`");
    let large = methods.into_iter().filter(|(_, count)| *count > MAX_METHODS);
    let large = large.map(|(name, count)| (name, format!("{count} methods")));
    compare(large.collect(), LARGE_TYPES.iter().map(|name| (*name).to_owned()).collect(), "small");
}

/// Fails for what is found and not listed, and for what is listed and not found.
fn compare(found: BTreeMap<String, String>, listed: BTreeSet<String>, mended: &str) {
    let new = found.iter().filter(|(name, _)| !listed.contains(*name)).map(|(name, what)| format!("{name}: {what}"));
    let gone = listed.iter().filter(|name| !found.contains_key(*name));
    let gone = gone.map(|name| format!("{name} is {mended} now: take it from the list"));
    let wrong: Vec<String> = new.chain(gone).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The name of the type that a line declares.
fn type_name(line: &str) -> Option<&str> {
    let mut words = without_visibility(line.trim_start()).split([' ', '<', '(', ';', ':']);
    let keyword = words.next()?;
    // `type` within an `impl` or a trait names no type of its own.
    let declares =
        matches!(keyword, "struct" | "enum" | "trait" | "union") || keyword == "type" && !line.starts_with(' ');
    words.next().filter(|_| declares)
}

/// The functions of a file, each with its lines between the first one and the closing brace.
fn functions_of(source: &Source) -> Vec<(&str, usize)> {
    let mut functions = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let end = format!("{}}}", indentation(line));
        let rest = &source.lines[number + 1..];
        let ends_at_once = line.ends_with('}') || line.ends_with(';');
        let lines = if ends_at_once { 0 } else { rest.iter().position(|line| *line == end).unwrap_or_default() };
        functions.push((name, lines));
    }
    functions
}

/// How many methods the types get in a file.
fn methods_of(source: &Source) -> BTreeMap<String, usize> {
    let mut methods: BTreeMap<String, usize> = BTreeMap::new();
    let mut of: Option<(String, &str)> = None;
    for line in &source.lines {
        if let Some(name) = implemented(line).filter(|_| !line.ends_with('}')) {
            of = Some((name, indentation(line)));
        } else if let Some((name, outer)) = &of {
            if function_name(line).is_some() && indentation(line).len() == outer.len() + 4 {
                *methods.entry(name.clone()).or_default() += 1;
            } else if *line == format!("{outer}}}") {
                of = None;
            }
        }
    }
    methods
}

/// The type of an `impl` line.
fn implemented(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("impl")?;
    let rest = if rest.starts_with('<') { behind_generics(rest) } else { rest };
    let whole = rest.strip_prefix(' ')?;
    let of = whole.split_once(" for ").map_or(whole, |(_, of)| of);
    let path = of.split(['<', ' ', '{']).next()?;
    path.rsplit("::").next().map(str::to_owned)
}

/// What comes behind `<…>`.
fn behind_generics(text: &str) -> &str {
    let mut depth = 0;
    for (at, char) in text.char_indices() {
        match char {
            '<' => depth += 1,
            '>' if !text[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

/// The name of the function that begins on a line.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = without_visibility(line.trim_start());
    for word in ["default ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn without_visibility(line: &str) -> &str {
    match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(line, |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => line,
    }
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

#[test]
fn declarations_are_found_however_they_are_written() {
    assert_eq!(type_name("pub(in crate::x) struct A<'a> {"), Some("A"));
    assert_eq!(type_name("pub enum B {"), Some("B"));
    assert_eq!(type_name("type C = u8;"), Some("C"));
    assert_eq!(type_name("    type D = u8;"), None);
    assert_eq!(function_name("    pub(super) const fn e<T>(x: T) -> T {"), Some("e"));
    assert_eq!(function_name("    let f = |fn_name| {"), None);
    assert_eq!(implemented("impl<'a, F: Fn() -> u8> g::H<'a> for I<'a, F> {").as_deref(), Some("I"));
    assert_eq!(implemented("impl J {").as_deref(), Some("J"));
    assert_eq!(implemented("impl<T> K<T> where T: Copy {").as_deref(), Some("K"));
    let text = "impl L {\n    fn short(&self) -> u8 { 1 }\n\n    fn long(\n        &self,\n    ) -> u8 {\n        1\n    }\n}\nfn free() {}";
    let source = Source { path: String::new(), module: vec![], lines: text.lines().map(str::to_owned).collect() };
    assert_eq!(functions_of(&source), [("short", 0), ("long", 3), ("free", 0)]);
    assert_eq!(methods_of(&source), [("L".to_owned(), 2)].into());
}
