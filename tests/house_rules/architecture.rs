//! The generated parts of `docs/architecture.md`: who may import whom, and which test checks which invariant.
//!
//! A mark directly above a test says what the test checks:
//!
//! ```text
//! // Invariant: Nothing is removed because a cluster could not be read.
//! ```
//!
//! The page shows the name of the test, or what the mark has in brackets at its end, such as `[golden cases policies/*]`.
//! `UPDATE_GOLDEN=1 cargo test --test house_rules` writes these parts anew. Rows stay in the order of the page.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use super::{read, rooms, root, sources};

const PAGE: &str = "docs/architecture.md";

/// What opens a mark.
const MARK: &str = "// Invariant: ";

// Invariant: Generated pages and CRDs match the code.
#[test]
fn the_architecture_page_is_current() {
    let path = root().join(PAGE);
    let page = read(&path);
    let wanted = with_part(&page, "imports", &imports());
    let wanted = with_part(&wanted, "invariants", &invariants(part(&page, "invariants")));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    } else {
        let difference = similar::TextDiff::from_lines(&page, &wanted).unified_diff().to_string();
        assert!(
            page == wanted,
            "stale; write it anew with UPDATE_GOLDEN=1 cargo test --test house_rules\n{difference}"
        );
    }
}

/// The rooms, each with those that it may import.
fn imports() -> String {
    let width = rooms::ROOMS.iter().map(|room| room.path.len()).max().unwrap_or_default();
    let lines = rooms::ROOMS.iter().map(|room| {
        let imports = if room.may_import.is_empty() { "nothing".to_owned() } else { room.may_import.join(", ") };
        format!("{:width$}  {imports}\n", room.path)
    });
    format!("```text\n{}```\n", lines.collect::<String>())
}

/// The table of invariants, in the order of the present one; what is new comes last.
fn invariants(present: &str) -> String {
    let mut checks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for directory in ["src", "tests"] {
        for file in sources(&root().join(directory)) {
            for (invariant, shown) in marks(&read(&file)).unwrap_or_else(|why| panic!("{}: {why}", file.display())) {
                checks.entry(invariant).or_default().insert(shown);
            }
        }
    }
    assert!(checks.len() > 20, "marks are written in another form now; find them in `marks`");
    for cases in checks.values().flatten().flat_map(|shown| shown.split('`')).filter(|text| text.contains('/')) {
        let path = root().join("tests/golden").join(cases.trim_end_matches("/*"));
        assert!(path.is_dir() || path.with_extension("txtar").is_file(), "{cases}: there are no such golden cases");
    }
    let mut rows = vec!["| Invariant | Checked by |\n|---|---|\n".to_owned()];
    let known = present.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let known: Vec<&str> = known.filter(|known| checks.contains_key(*known)).collect();
    let new = checks.keys().map(String::as_str).filter(|invariant| !known.contains(invariant));
    for invariant in known.iter().copied().chain(new) {
        let shown: Vec<&str> = checks[invariant].iter().map(String::as_str).collect();
        rows.push(format!("| {invariant} | {} |\n", shown.join(", ")));
    }
    rows.concat()
}

/// The marks of a file, each with what is shown of its test.
fn marks(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut marks, mut open) = (Vec::new(), Vec::<String>::new());
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(invariant) = line.strip_prefix(MARK) {
            open.push(invariant.to_owned());
        } else if open.is_empty() {
            continue;
        } else if let Some(rest) = line.strip_prefix("// ") {
            let last = open.last_mut().expect("is not empty");
            *last = format!("{last} {rest}");
        } else if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else {
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            let name = name.ok_or_else(|| format!("no function follows the mark {:?}", open[0]))?;
            for invariant in open.drain(..) {
                marks.push(match invariant.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [")) {
                    Some((invariant, shown)) => (invariant.to_owned(), shown.to_owned()),
                    None if is_test => (invariant, format!("`{name}`")),
                    None => return Err(format!("{name} is no test; say in brackets what checks {invariant:?}")),
                });
            }
            is_test = false;
        }
    }
    if open.is_empty() { Ok(marks) } else { Err(format!("nothing follows the mark {:?}", open[0])) }
}

/// What a page has between the comments that open and close a generated part.
fn part<'a>(page: &'a str, name: &str) -> &'a str {
    let found = page.split_once(&opening(name)).and_then(|(_, rest)| rest.split_once(&closing(name)));
    found.unwrap_or_else(|| panic!("{PAGE} has no part {name}")).0
}

fn with_part(page: &str, name: &str, content: &str) -> String {
    let (opening, closing) = (opening(name), closing(name));
    page.replace(&format!("{opening}{}{closing}", part(page, name)), &format!("{opening}{content}{closing}"))
}

fn opening(name: &str) -> String {
    format!("<!-- {name}: generated by tests/house_rules/architecture.rs -->\n")
}

fn closing(name: &str) -> String {
    format!("<!-- end of {name} -->\n")
}

#[test]
fn a_mark_is_for_the_test_below_it() {
    let mark = MARK;
    let text = format!(
        "/// Doc.\n{mark}A holds\n// always.\n{mark}B holds. [cases `b/*`]\n#[test]\nfn c() {{}}\n\n    {mark}A holds always.\n    #[tokio::test]\n    async fn d() {{}}\n"
    );
    let pair = |invariant: &str, shown: &str| (invariant.to_owned(), shown.to_owned());
    let expected = [pair("A holds always.", "`c`"), pair("B holds.", "cases `b/*`"), pair("A holds always.", "`d`")];
    assert_eq!(marks(&text).as_deref(), Ok(&expected[..]));
    for wrong in ["fn helper() {}", "struct E;", ""] {
        assert!(marks(&format!("{mark}A holds.\n{wrong}\n")).is_err(), "{wrong}");
    }
}
