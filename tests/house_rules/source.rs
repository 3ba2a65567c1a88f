//! The sources of the crate as text, without comments and tests. They are formatted by rustfmt, which these readers rely on.

use std::{collections::BTreeSet, path::Path};

use super::{read, root, sources};

/// A file below `src/`.
pub struct Source {
    /// Its path within the repository.
    pub path: String,
    /// The path of its module, without `crate`.
    pub module: Vec<String>,
    /// Its lines, without comments. Tests are cut off.
    pub lines: Vec<String>,
}

impl Source {
    /// Everything that it imports from the crate, whose modules these are: what `use` names, and paths that begin with `crate`.
    pub fn imports(&self, modules: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
        let code = self.lines.join("\n");
        let mut imports = BTreeSet::new();
        let mut rest = code.as_str();
        while let Some(at) = rest.find("use ") {
            let is_statement = rest[..at].ends_with(['\n', ' ', ')']) || at == 0;
            rest = &rest[at + "use ".len()..];
            let Some(end) = rest.find(';').filter(|_| is_statement) else { continue };
            imports.extend(expanded(&rest[..end]).iter().filter_map(|path| self.resolved(path, modules)));
            rest = &rest[end..];
        }
        for (at, _) in code.match_indices("crate::") {
            let in_path = |char: char| char.is_alphanumeric() || "_:".contains(char);
            let path = code[at..].split(|char| !in_path(char)).next().unwrap_or_default();
            if !code[..at].ends_with("(in ") {
                imports.extend(self.resolved(path.trim_end_matches(':'), modules).filter(|path| !path.is_empty()));
            }
        }
        imports
    }

    /// A path from the root of the crate; none for one of another crate.
    fn resolved(&self, path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
        let mut segments = path.split("::").peekable();
        let mut from = match *segments.peek()? {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            submodule => {
                let path: Vec<String> =
                    self.module.iter().map(String::as_str).chain([submodule]).map(str::to_owned).collect();
                modules.iter().find(|module| module.starts_with(&path))?;
                self.module.clone()
            }
        };
        for segment in segments {
            match segment {
                "crate" | "self" => {}
                "super" => drop(from.pop()),
                segment => from.push(segment.to_owned()),
            }
        }
        Some(from)
    }
}

/// The paths of a `use` tree: `a::{b, c::{d, e}}` names `a::b`, `a::c::d` and `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim().to_owned()];
    };
    let group = &group[..group.rfind('}').unwrap_or(group.len())];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(expanded).map(|path| format!("{}{path}", before.trim())).collect()
}

/// All files of the crate but `main.rs` and `lib.rs`, sorted.
pub fn crate_sources() -> Vec<Source> {
    let directory = root().join("src");
    let files: Vec<_> = sources(&directory).into_iter().map(|file| (read(&file), file)).collect();
    let only_tests: BTreeSet<_> = files.iter().flat_map(|(text, file)| test_files(text, file)).collect();
    let kept = files.iter().filter(|(_, file)| !only_tests.contains(file));
    let sources = kept.map(|(text, file)| {
        let within = file.strip_prefix(&directory).expect("is below it").with_extension("");
        let mut module: Vec<String> =
            within.iter().map(|part| part.to_str().expect("a name in ASCII").to_owned()).collect();
        module.pop_if(|last| last == "mod");
        let path = file.strip_prefix(root()).expect("is below it").display().to_string();
        Source { path, module, lines: code_of(text) }
    });
    let sources: Vec<_> = sources.filter(|source| !["src/main.rs", "src/lib.rs"].contains(&&*source.path)).collect();
    assert!(sources.len() > 100, "the sources moved");
    sources
}

/// The files of modules that a file declares for tests only.
fn test_files(text: &str, file: &Path) -> Vec<std::path::PathBuf> {
    let directory = if file.ends_with("mod.rs") || file.ends_with("lib.rs") {
        file.parent().expect("is in a directory").to_owned()
    } else {
        file.with_extension("")
    };
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let name = rest.lines().next()?.strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(directory.join(name).with_extension("rs"))
    });
    declared.collect()
}

/// The lines of a text before its module of tests, without comments.
fn code_of(text: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with("mod tests {")) {
            break;
        }
        let code = if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() };
        kept.push(code.to_owned());
    }
    kept
}
