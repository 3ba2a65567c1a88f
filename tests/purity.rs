//! What decides knows no client, clock, randomness or file: `model/`, `registry/` and `plan/` are plain computation.

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

/// The one exception, and where it is allowed: planning is woken by whoever marks work.
const WAKING: &[(&str, &str)] = &[
    ("src/registry/dirty.rs", "tokio::sync::Notify"),
    ("src/registry/dirty.rs", "async fn changed"),
    ("src/registry/lift.rs", "async fn dirty"),
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
