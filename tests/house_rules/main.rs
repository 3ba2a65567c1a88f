//! Rules of the house that the compiler cannot hold: what decides is plain computation, files can be read in one sitting,
//! nothing is left open or passes by not running, and citations lead to headings of this repository.

mod architecture;
mod rooms;
mod sizes;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rooms that only compute.
const PURE: &[&str] = &["src/model", "src/registry", "src/plan"];

/// What they must not name.
const IMPURE: &[&str] = &[
    "kube::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant",
    "rand::",
    "fastrand",
    "RandomState",
    "jiff::",
    "tokio::",
    "notify::",
    "std::{fs",
    "async ",
];

/// The one exception, and where it is allowed: planning is woken by whoever marks work, and the log by failing reads.
const WAKING: &[(&str, &str)] = &[
    ("src/registry/dirty.rs", "tokio::sync::Notify"),
    ("src/registry/dirty.rs", "async fn changed"),
    ("src/registry/reads.rs", "tokio::sync::Notify"),
    ("src/registry/reads.rs", "async fn reads_changed"),
];

// Invariant: `plan/`, `model/` and `registry/` use no client, clock, randomness or file.
#[test]
fn what_decides_names_no_client_clock_randomness_or_file() {
    let root = root();
    let mut found = Vec::new();
    let mut lines_read = 0;
    for file in PURE.iter().flat_map(|room| sources(&root.join(room))) {
        let shown = file.strip_prefix(root).expect("is below it").display().to_string();
        let text = fs::read_to_string(&file).expect("can be read");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, number) in code.lines().zip(1..) {
            lines_read += 1;
            let code = line.split("//").next().unwrap_or_default();
            let allowed = WAKING.iter().any(|(of, what)| *of == shown && code.contains(what));
            let named = IMPURE.iter().filter(|what| code.contains(**what) && !allowed);
            found.extend(named.map(|what| format!("{shown}:{number}: {what}")));
        }
    }
    assert!(lines_read > 1_000, "the sources moved; name them in PURE");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Lines of a file without its tests that can still be read in one sitting.
const MAX_FILE_LINES: usize = 550;

// Invariant: Files and functions have a limited length; no type has more than thirty methods; a type's name is unique.
#[test]
fn files_can_be_read_in_one_sitting() {
    let root = root();
    let lines = |file: &Path| {
        let text = fs::read_to_string(file).expect("can be read");
        text.split("#[cfg(test)]").next().map_or(0, |code| code.lines().count())
    };
    let files = sources(&root.join("src"));
    assert!(files.len() > 50, "the sources moved");
    let long: Vec<String> = files
        .iter()
        .filter(|file| lines(file) > MAX_FILE_LINES)
        .map(|file| format!("{}: {} lines, two rooms in one?", file.display(), lines(file)))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

// Invariant: No code is unfinished, and no test is ignored.
#[test]
fn nothing_is_left_open_and_no_test_is_ignored() {
    let root = root();
    // In pieces, so that this file does not name itself.
    let open = ["#[ig".to_owned() + "nore", "to".to_owned() + "do!(", "unimple".to_owned() + "mented!("];
    let mut found = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|room| sources(&root.join(room))) {
        let text = fs::read_to_string(&file).expect("can be read");
        let named = open.iter().filter(|what| text.contains(what.as_str()));
        found.extend(named.map(|what| format!("{}: {what}", file.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// `.ci/test` names the tests of each stage; one that it does not name would not run.
#[test]
fn every_test_is_in_one_stage() {
    let root = root();
    let script = read(&root.join(".ci/test"));
    let mut staged = Vec::new();
    for stage in ["fast", "servers", "lab"] {
        let named = script.lines().find_map(|line| line.strip_prefix(stage)?.strip_prefix("=\"")?.strip_suffix('"'));
        staged.extend(named.expect("a line names the tests of the stage").split(' ').map(str::to_owned));
    }
    staged.sort();
    let entries = fs::read_dir(root.join("tests")).expect("can be listed").map(|entry| entry.expect("can be listed"));
    let mut tests: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file())
        .map(|path| path.file_stem().expect("a test has a name").to_string_lossy().into_owned())
        .collect();
    tests.sort();
    assert_eq!(staged, tests);
}

/// Citations `docs/….md#heading` in any file, and relative links of Markdown pages.
// Invariant: Citations and links point to files and headings of this repository.
#[test]
fn citations_and_links_lead_to_files_and_headings_that_exist() {
    let root = root();
    let mut pages: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let (mut wrong, mut citations) = (Vec::new(), 0);
    for (file, text) in repository(root) {
        let mut targets: Vec<(PathBuf, String)> =
            cited(&text).into_iter().map(|(path, anchor)| (root.join(path), anchor)).collect();
        citations += targets.iter().filter(|(_, anchor)| !anchor.is_empty()).count();
        if is_page(&file) {
            targets.extend(linked(&text, &file));
        }
        for (path, anchor) in targets {
            let shown = format!("{}: {}#{anchor}", file.display(), path.display());
            if !path.exists() {
                wrong.push(format!("{shown}: there is no such file"));
            } else if !anchor.is_empty() && is_page(&path) {
                let headings = pages.entry(path).or_insert_with_key(|path| anchors(&read(path)));
                if !headings.contains(&anchor) {
                    wrong.push(format!("{shown}: there is no such heading"));
                }
            }
        }
    }
    assert!(citations > 100, "comments cite pages in another form now; find them in `cited`");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// Invariant: Citations and links point to files and headings of this repository.
#[test]
fn nothing_cites_a_section_of_a_document_that_is_not_named() {
    let root = root();
    // In pieces, so that this file does not name itself.
    let unnamed = ["behaviour ", "(", ", ", " and ", " of "].map(|before| format!("{before}\u{a7}"));
    let mut found = Vec::new();
    for (file, text) in repository(root) {
        let words = text.lines().map(|line| line.trim_start_matches([' ', '/', '!', '#', '*']));
        let running = words.collect::<Vec<_>>().join(" ");
        let cites = unnamed.iter().filter(|cite| running.contains(cite.as_str()));
        found.extend(cites.map(|cite| format!("{}: {cite}", file.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The paths `docs/….md` in a text, each with the anchor behind it.
fn cited(text: &str) -> Vec<(&str, String)> {
    let in_path = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    let pages = text.match_indices("docs/").filter_map(|(at, _)| {
        if text[..at].ends_with(in_path) {
            // Of another repository, or below another directory.
            return None;
        }
        let rest = &text[at..];
        let path = &rest[..rest.find(|char| !in_path(char)).unwrap_or(rest.len())];
        let path = path.trim_end_matches('.');
        let anchor = rest[path.len()..].strip_prefix('#').unwrap_or_default();
        let anchor: String = anchor.chars().take_while(|char| char.is_alphanumeric() || "_-".contains(*char)).collect();
        path.ends_with(".md").then_some((path, anchor))
    });
    pages.collect()
}

/// The relative links of a page, as paths, each with its anchor.
fn linked(text: &str, page: &Path) -> Vec<(PathBuf, String)> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let relative = targets.filter(|target| !target.contains("://") && !target.contains(' '));
    let split = relative.map(|target| target.split_once('#').unwrap_or((target, "")));
    let whole = split.map(|(path, anchor)| match path {
        "" => (page.to_owned(), anchor.to_owned()),
        path => (page.with_file_name(path), anchor.to_owned()),
    });
    whole.collect()
}

/// The anchors that GitHub gives the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let Some((level, heading)) = line.split_once(' ').filter(|_| !is_code) else { continue };
        if level.is_empty() || level.len() > 6 || level.chars().any(|char| char != '#') {
            continue;
        }
        let kept = heading.trim().chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let anchor: String =
            kept.flat_map(char::to_lowercase).map(|char| if char == ' ' { '-' } else { char }).collect();
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_page(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every text file of the repository, without what is built or hidden; `.ci` is neither.
fn repository(root: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root).expect("can be listed");
    let paths = entries.map(|entry| entry.expect("can be listed").path());
    let kept = paths.filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name == ".ci" || !(name == "target" || name.starts_with('.'))
    });
    let all = kept.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    all.filter_map(|file| Some((file.clone(), fs::read_to_string(file).ok()?))).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(directory).into_iter().filter(is_source).collect()
}

/// The files below a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("can be listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
