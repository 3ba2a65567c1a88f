//! Files that are generated from the code: reference pages and CRDs. A stale one fails here;
//! `UPDATE_GOLDEN=1 cargo test --test reference_pages` writes them anew.

use std::{collections::BTreeSet, fs, path::PathBuf};

use kube::ResourceExt as _;
use tradewind::{api, config, model::NoteKind};

/// A path within the repository, and what generates the file.
type Page = (&'static str, fn() -> String);

/// All reference pages.
const PAGES: &[Page] = &[
    ("docs/reference/admiral-flags.md", config::admiral::admiral_flags_page),
    ("docs/reference/metrics.md", tradewind::server::reference_page),
    ("docs/reference/notes.md", notes_page),
    ("docs/reference/settings.md", config::reference_page),
];

// Invariant: Generated pages and CRDs match the code.
#[test]
fn reference_pages_are_current() {
    check(PAGES.iter().map(|(path, generate)| ((*path).to_owned(), generate())));
}

// Invariant: Generated pages and CRDs match the code.
#[test]
fn crds_are_current() {
    check(crd_files());
}

#[test]
fn crds_has_no_file_of_a_crd_that_is_gone() {
    let wanted: BTreeSet<_> = crd_files().map(|(path, _)| root().join(path)).collect();
    let found = fs::read_dir(root().join("crds")).expect("crds/ is part of the repository");
    let found: BTreeSet<_> = found.map(|entry| entry.expect("crds/ can be listed").path()).collect();
    assert_eq!(found.difference(&wanted).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

/// Compares each file with what it should be, or writes it when `UPDATE_GOLDEN` is set.
fn check(files: impl Iterator<Item = (String, String)>) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut stale = Vec::new();
    for (path, wanted) in files {
        let file = root().join(&path);
        if update {
            fs::write(&file, &wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
        } else if fs::read_to_string(&file).ok().as_ref() != Some(&wanted) {
            let found = fs::read_to_string(&file).unwrap_or_default();
            stale.push(format!("{path}\n{}", similar::TextDiff::from_lines(&found, &wanted).unified_diff()));
        }
    }
    let hint = "write them anew with UPDATE_GOLDEN=1 cargo test --test reference_pages";
    assert!(stale.is_empty(), "stale; {hint}\n{}", stale.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One file per CRD, named as controller-gen does: `<group>_<plural>.yaml`.
fn crd_files() -> impl Iterator<Item = (String, String)> {
    api::crds().into_iter().map(|crd| {
        let (plural, group) = crd
            .name_unchecked()
            .split_once('.')
            .map(|(p, g)| (p.to_owned(), g.to_owned()))
            .expect("the name of a CRD is <plural>.<group>");
        let yaml = serde_saphyr::to_string(&crd).expect("a CRD is plain data");
        (
            format!("crds/{group}_{plural}.yaml"),
            format!("# Generated from src/api by tests/reference_pages.rs. Do not edit.\n{yaml}"),
        )
    })
}

/// The reference page of notes, in Markdown.
fn notes_page() -> String {
    let mut page = "\
<!-- Generated from src/model/note.rs and src/model/condition.rs by tests/reference_pages.rs. Do not edit. -->
# Notes

A note says what is wrong with one object, and what to do about it. It names the cluster, kind, namespace and name of the object
that has to change, and it goes away by itself once that object is right. It never holds up anything else. The code is
stable: it stands in log lines, in JSON views, and as the label `kind` of the metric that counts notes.

An error is not in force, cannot be read or cannot be written until somebody acts; a warning has no effect, or another than it
seems; an info may be meant so. The condition is what the note would be in the status of its object: type, status and reason.
Tradewind writes no status yet.

| Code | Severity | Condition | What it means, and what happens instead | What to do |
|---|---|---|---|---|
"
    .to_owned();
    for kind in NoteKind::ALL {
        let mut severities: Vec<String> = kind.forms().iter().map(|kind| kind.severity().to_string()).collect();
        severities.sort();
        severities.dedup();
        let conditions: Vec<String> = kind.forms().iter().map(|kind| kind.condition().to_string()).collect();
        let cells = [
            format!("`{}`", kind.code()),
            severities.join(", "),
            conditions.join("; "),
            kind.meaning().to_owned(),
            kind.remedy().to_owned(),
        ];
        page += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    page
}
