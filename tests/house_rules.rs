//! Rules of the house that the compiler cannot hold: what decides is plain computation, files can be read in one sitting,
//! and nothing is left open or passes by not running.

use std::{
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
    ("src/registry/dirty.rs", "async fn later_changed"),
    ("src/registry/lift.rs", "async fn dirty"),
    ("src/registry/networks.rs", "async fn pods_changed"),
    ("src/registry/reads.rs", "tokio::sync::Notify"),
    ("src/registry/reads.rs", "async fn reads_changed"),
];

#[test]
fn what_decides_names_no_client_clock_randomness_or_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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

#[test]
fn files_can_be_read_in_one_sitting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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

#[test]
fn nothing_is_left_open_and_no_test_is_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("can be listed").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
