//! What Tradewind plans beside what Admiral writes: one test per golden case that has a directory `reference/`.
//!
//! `reference/<cluster>.yaml` holds the objects of Admiral, worked out by hand from its behaviour (a cluster without a
//! file gets nothing). They are compared with `out/` field by field. Each difference must be named in `case.yaml` under
//! `reference:` as `{path, because}`, or in `tests/golden/reasons.yaml` as one that is everywhere; a name that covers nothing
//! fails too. A path is `<cluster> <Kind>/<name> <field>`; a missing object has no field; `*` stands for anything. Endpoints go
//! by their address, ports by their number, routes and subsets by their name, copies of users' routes by their name without the
//! hash that ours ends with.
//!
//! In every cluster that runs a service Admiral also writes a VirtualService and a DestinationRule for routes inside the
//! cluster, whatever its flags. They stand where a case is about them (`in-cluster/*`, `slow-start/*`), and nowhere else.
//!
//! From all of them a table in `docs/compatibility.md` is generated (`UPDATE_GOLDEN=1 cargo test --test differential`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use serde_json::Value;

const PAGE: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- generated: cases, by tests/differential.rs. Do not edit. -->";
const END: &str = "<!-- generated: end -->";

/// The part of `case.yaml` that counts here.
#[derive(Deserialize)]
struct Case {
    shows: String,
    #[serde(default)]
    reference: Vec<Covered>,
}

/// Differences that are meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Covered {
    path: String,
    because: String,
}

/// An entry of `reasons.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    id: String,
    /// What is different.
    what: String,
    /// Why.
    why: String,
    /// What Admiral does there: a section of `docs/admiral-behaviour.md`.
    #[serde(default, rename = "admiral")]
    _admiral: Option<String>,
    /// Paths of differences that may be in every case.
    #[serde(default)]
    everywhere: Vec<String>,
}

/// What a case came to.
struct Outcome {
    name: String,
    shows: String,
    reasons: BTreeSet<String>,
}

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let cases = cases(&root);
    assert!(!cases.is_empty(), "no case has a directory reference/");
    let mut trials: Vec<Trial> = Vec::new();
    for path in &cases {
        let (root, path) = (root.clone(), path.clone());
        trials.push(Trial::test(name(&root, &path), move || run(&root, &path).map(drop).map_err(Failed::from)));
    }
    trials.push(Trial::test("reasons_are_told_once_and_used", {
        let (root, cases) = (root.clone(), cases.clone());
        move || check_reasons(&root, &cases).map_err(Failed::from)
    }));
    trials.push(Trial::test("the_table_of_cases_is_current", move || check_page(&root, &cases).map_err(Failed::from)));
    trials.push(Trial::test("comparing_finds_every_kind_of_difference", || compared_right().map_err(Failed::from)));
    libtest_mimic::run(&arguments, trials).exit();
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let sub = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        found.sort();
        found
    };
    let all = sub(root).into_iter().filter(|topic| !topic.ends_with("common")).flat_map(|topic| sub(&topic));
    all.filter(|case| case.join("reference").is_dir()).collect()
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("is below it").display().to_string()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn reasons(root: &Path) -> Result<Vec<Reason>, String> {
    read(&root.join("reasons.yaml"))
}

fn run(root: &Path, path: &Path) -> Result<Outcome, String> {
    let case: Case = read(&path.join("case.yaml"))?;
    let reasons = reasons(root)?;
    let found = differences(&objects(&path.join("reference"))?, &objects(&path.join("out"))?);
    let mut problems = String::new();
    let mut used = BTreeSet::new();
    for covered in &case.reference {
        if !reasons.iter().any(|reason| reason.id == covered.because) {
            let _ = writeln!(problems, "{:?} is no reason of reasons.yaml", covered.because);
        }
        if found.iter().any(|difference| matches(&covered.path, &difference.path)) {
            used.insert(covered.because.clone());
        } else {
            let _ = writeln!(problems, "nothing differs at {:?} any more; remove the entry", covered.path);
        }
    }
    let everywhere: Vec<&String> = reasons.iter().flat_map(|reason| &reason.everywhere).collect();
    let named: Vec<&String> = case.reference.iter().map(|covered| &covered.path).collect();
    for difference in &found {
        if !everywhere.iter().chain(&named).any(|path| matches(path, &difference.path)) {
            let _ = writeln!(
                problems,
                "{}\n  reference: {}\n  tradewind: {}",
                difference.path, difference.reference, difference.ours
            );
        }
    }
    if problems.is_empty() {
        Ok(Outcome { name: name(root, path), shows: case.shows, reasons: used })
    } else {
        Err(format!("differences without a reason in case.yaml:\n{problems}"))
    }
}

/// Field → value, of each object: `<cluster> <Kind>/<name>`.
type Objects = BTreeMap<String, BTreeMap<String, Value>>;

/// The objects in the files of a directory, one file per cluster.
fn objects(directory: &Path) -> Result<Objects, String> {
    let mut objects = Objects::new();
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let cluster = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let (kind, name) = (&document["kind"], &document["metadata"]["name"]);
            let (Some(kind), Some(name)) = (kind.as_str(), name.as_str()) else {
                return Err(format!("{}: an object without kind or name", path.display()));
            };
            let mut fields = BTreeMap::new();
            flatten(String::new(), &document, &mut fields);
            let key = format!("{cluster} {kind}/{}", without_hash(&document, name));
            let key = if objects.contains_key(&key) { format!("{cluster} {kind}/{name}") } else { key };
            if objects.insert(key, fields).is_some() {
                return Err(format!("{}: {kind}/{name} stands there twice", path.display()));
            }
        }
    }
    Ok(objects)
}

/// Name of a copy without the hash at its end, by which it is found among what Admiral writes.
fn without_hash<'a>(object: &Value, name: &'a str) -> &'a str {
    let copy = object["metadata"]["annotations"].get("tradewind.io/origin").is_some();
    let (short, hash) = name.rsplit_once('-').unwrap_or((name, ""));
    if copy && hash.len() == 16 { short } else { name }
}

fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(key, value)| flatten(below(key), value, into)),
        Value::Array(items) if !items.is_empty() => {
            let mut seen = BTreeMap::<String, usize>::new();
            for (index, item) in items.iter().enumerate() {
                let key = ["address", "number", "from", "name"].iter().find_map(|key| item.get(key));
                let key = match key {
                    Some(Value::String(text)) => text.clone(),
                    Some(key) => key.to_string(),
                    None => index.to_string(),
                };
                // An address may stand there more than once.
                let times = seen.entry(key.clone()).or_default();
                *times += 1;
                let key = if *times > 1 { format!("{key}#{times}") } else { key };
                flatten(format!("{path}[{key}]"), item, into);
            }
        }
        leaf => drop(into.insert(path, leaf.clone())),
    }
}

struct Difference {
    path: String,
    reference: String,
    ours: String,
}

fn differences(reference: &Objects, ours: &Objects) -> Vec<Difference> {
    let mut found = Vec::new();
    let keys: BTreeSet<&String> = reference.keys().chain(ours.keys()).collect();
    for key in keys {
        let (Some(reference), Some(ours)) = (reference.get(key), ours.get(key)) else {
            let there = |objects: &Objects| if objects.contains_key(key) { "writes it" } else { "does not write it" };
            let (reference, ours) = (there(reference).to_owned(), there(ours).to_owned());
            found.push(Difference { path: key.clone(), reference, ours });
            continue;
        };
        let fields: BTreeSet<&String> = reference.keys().chain(ours.keys()).collect();
        for field in fields.into_iter().filter(|field| reference.get(*field) != ours.get(*field)) {
            let shown = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
            found.push(Difference {
                path: format!("{key} {field}"),
                reference: shown(reference.get(field)),
                ours: shown(ours.get(field)),
            });
        }
    }
    found
}

/// Whether a pattern, in which `*` stands for any text, is all of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| text.strip_prefix(head)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first place will do: what comes after it is only longer.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    false
}

fn outcomes(root: &Path, cases: &[PathBuf]) -> Result<Vec<Outcome>, String> {
    cases.iter().map(|path| run(root, path).map_err(|why| format!("{}: {why}", name(root, path)))).collect()
}

fn check_reasons(root: &Path, cases: &[PathBuf]) -> Result<(), String> {
    let reasons = reasons(root)?;
    let used: BTreeSet<String> = outcomes(root, cases)?.into_iter().flat_map(|outcome| outcome.reasons).collect();
    let mut all = Vec::new();
    for path in cases {
        all.extend(differences(&objects(&path.join("reference"))?, &objects(&path.join("out"))?));
    }
    let mut ids = BTreeSet::new();
    for reason in &reasons {
        if !ids.insert(&reason.id) {
            return Err(format!("the reason {} stands there twice", reason.id));
        }
        for path in &reason.everywhere {
            if !all.iter().any(|difference| matches(path, &difference.path)) {
                return Err(format!("{}: nothing differs at {path:?}", reason.id));
            }
        }
        if reason.everywhere.is_empty() && !used.contains(&reason.id) {
            return Err(format!("no case needs the reason {}", reason.id));
        }
    }
    // A case that claims a topic must be there, or nothing is proven of it.
    if cases.len() < 25 { Err(format!("only {} cases have a reference", cases.len())) } else { Ok(()) }
}

fn section(root: &Path, cases: &[PathBuf]) -> Result<String, String> {
    let outcomes = outcomes(root, cases)?;
    let same = outcomes.iter().filter(|outcome| outcome.reasons.is_empty()).count();
    let mut text = format!(
        "\n{} golden cases (`tests/golden`) hold the objects that Admiral writes beside those that Tradewind plans, and a test\n\
         compares them field by field (`tests/differential.rs`). In {same} of them nothing differs but what differs everywhere. The\n\
         reference's regions come from a node label that is deprecated by now; its objects here are those of nodes with both labels.\n\
         The VirtualService and the rule for routes inside the cluster, which it writes for every service whatever its flags, are\n\
         compared in `in-cluster` and `slow-start` alone.\n\n\
         | Everywhere | Why |\n|---|---|\n",
        outcomes.len()
    );
    let reasons = reasons(root)?;
    let cell = |text: &str| text.trim().replace('|', "\\|");
    for reason in reasons.iter().filter(|reason| !reason.everywhere.is_empty()) {
        let _ = writeln!(text, "| {} | {} |", cell(&reason.what), cell(&reason.why));
    }
    text += "\n| Difference | What | Why |\n|---|---|---|\n";
    for reason in reasons.iter().filter(|reason| reason.everywhere.is_empty()) {
        let _ = writeln!(text, "| {} | {} | {} |", reason.id, cell(&reason.what), cell(&reason.why));
    }
    let topic = |outcome: &Outcome| outcome.name.split('/').next().unwrap_or_default().to_owned();
    for of_topic in outcomes.chunk_by(|a, b| topic(a) == topic(b)) {
        let _ = writeln!(text, "\n| `{}` | What it shows | Reference |\n|---|---|---|", topic(&of_topic[0]));
        for outcome in of_topic {
            let case = outcome.name.rsplit('/').next().unwrap_or_default();
            let reasons: Vec<&str> = outcome.reasons.iter().map(String::as_str).collect();
            let verdict =
                if reasons.is_empty() { "the same".into() } else { format!("different: {}", reasons.join(", ")) };
            let _ = writeln!(text, "| {case} | {} | {verdict} |", cell(&outcome.shows));
        }
    }
    text.push('\n');
    Ok(text)
}

fn check_page(root: &Path, cases: &[PathBuf]) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let (head, rest) = page.split_once(BEGIN).ok_or_else(|| format!("{PAGE} lacks the line {BEGIN}"))?;
    let (old, tail) = rest.split_once(END).ok_or_else(|| format!("{PAGE} lacks the line {END}"))?;
    let new = format!("\n{}", section(root, cases)?);
    if old == new {
        return Ok(());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(&path, format!("{head}{BEGIN}{new}{END}{tail}")).map_err(|error| format!("{PAGE}: {error}"));
    }
    let diff = similar::TextDiff::from_lines(old, &new).unified_diff().to_string();
    Err(format!("{PAGE} is stale; UPDATE_GOLDEN=1 cargo test --test differential\n{diff}"))
}

/// A comparison that sees nothing would pass everywhere.
fn compared_right() -> Result<(), String> {
    let object = |text: &str| {
        let mut fields = BTreeMap::new();
        flatten(String::new(), &serde_saphyr::from_str(text).expect("YAML"), &mut fields);
        fields
    };
    let reference = Objects::from([
        ("a S/x".into(), object("{a: 1, endpoints: [{address: p, w: 1}, {address: q}, {address: q, w: 2}], e: {}}")),
        ("a S/y".into(), object("{}")),
    ]);
    let ours = Objects::from([
        ("a S/x".into(), object("{b: 1, endpoints: [{address: q}, {address: p, w: 2}], e: {f: 1}}")),
        ("b S/y".into(), object("{}")),
    ]);
    let found: Vec<String> = differences(&reference, &ours).into_iter().map(|difference| difference.path).collect();
    let wanted = [
        "a S/x a",
        "a S/x b",
        "a S/x e",
        "a S/x e.f",
        "a S/x endpoints[p].w",
        "a S/x endpoints[q#2].address",
        "a S/x endpoints[q#2].w",
        "a S/y",
        "b S/y",
    ];
    if found != wanted {
        return Err(format!("{found:#?}"));
    }
    let globs = [
        ("a *", "a S/x a", true),
        ("*x*a", "a S/x a", true),
        ("a S/x", "a S/x a", false),
        ("*b", "a", false),
        ("aa*a", "aa", false),
    ];
    match globs.iter().find(|(pattern, text, fits)| matches(pattern, text) != *fits) {
        Some(wrong) => Err(format!("{wrong:?}")),
        None => Ok(()),
    }
}
