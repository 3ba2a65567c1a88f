//! What Tradewind plans, compared with what Admiral writes: one test per golden case that has a section `-- admiral --`.
//!
//! The section holds the objects of Admiral in the notation of `tests/golden_case/notation.rs`, worked out by hand from its
//! behaviour (a cluster that is not named gets nothing). They are compared with the planned objects field by field. The head of
//! the case must name each difference under `admiral:`, as `REASON: [PATH, …]`, where a reason is one of
//! `tests/golden/reasons.yaml`; some hold everywhere and need not be named. A path that covers nothing fails too. A path is
//! `<cluster> <Kind>/<name> <field>`; a missing object has no field; `*` stands for anything. Endpoints go by their address, ports
//! by their number, routes and subsets by their name, copies of users' routes by their name without the hash that Tradewind's
//! end with.
//!
//! In every cluster that runs a service Admiral also writes a VirtualService and a DestinationRule for routes inside the
//! cluster, whatever its flags. They are there where a case is about them (`in-cluster/*`, `slow-start/*`), and nowhere else.
//!
//! From all of them a table in `docs/differences.md` is generated (`UPDATE_GOLDEN=1 cargo test --test differential`).

mod golden_case;
mod planning;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use golden_case::{Case, fleet::Fleet, notation::Notation};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use serde_json::Value;

/// Fewer cases than this would mean that they are not found.
const MIN_CASES: usize = 150;
const PAGE: &str = "docs/differences.md";
const BEGIN: &str = "<!-- generated: cases, by tests/differential.rs. Do not edit. -->";
const END: &str = "<!-- generated: end -->";

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
    let cases: Vec<Case> =
        golden_case::paths().iter().map(|path| Case::read(path).unwrap_or_else(|why| panic!("{why}"))).collect();
    let cases: Arc<Vec<Compared>> =
        Arc::new(cases.into_iter().filter(|case| case.admiral.is_some()).map(Compared::new).collect());
    let reasons: Arc<Vec<Reason>> = Arc::new(reasons().unwrap_or_else(|why| panic!("{why}")));
    let mut trials: Vec<Trial> = Vec::new();
    for at in 0..cases.len() {
        let (cases, reasons) = (cases.clone(), reasons.clone());
        let name = cases[at].case.name.clone();
        trials.push(Trial::test(name, move || cases[at].outcome(&reasons).map(drop).map_err(Failed::from)));
    }
    trials.push(Trial::test("each_reason_is_there_once_and_used", {
        let (cases, reasons) = (cases.clone(), reasons.clone());
        move || check_reasons(&cases, &reasons).map_err(Failed::from)
    }));
    trials
        .push(Trial::test("the_table_of_cases_is_current", move || check_page(&cases, &reasons).map_err(Failed::from)));
    trials.push(Trial::test("comparing_finds_every_kind_of_difference", || compared_right().map_err(Failed::from)));
    libtest_mimic::run(&arguments, trials).exit();
}

fn reasons() -> Result<Vec<Reason>, String> {
    let path = golden_case::root().join("reasons.yaml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A case that compares, and what differs, which is computed once.
struct Compared {
    case: Case,
    differences: OnceLock<Result<Vec<Difference>, String>>,
}

impl Compared {
    fn new(case: Case) -> Self {
        Self { case, differences: OnceLock::new() }
    }

    fn differences(&self) -> Result<&[Difference], String> {
        let of_case = |why: String| format!("{}: {why}", self.case.name);
        let found = self.differences.get_or_init(|| self.compare().map_err(of_case));
        found.as_deref().map_err(Clone::clone)
    }

    fn compare(&self) -> Result<Vec<Difference>, String> {
        let admiral = Notation::admiral().parse(self.case.admiral.as_deref().unwrap_or_default())?;
        let mut world = Fleet::load(&self.case)?.world();
        world.settle();
        let planned = world.picture().objects;
        let planned = planned.iter().map(|((cluster, _), object)| (cluster.to_string(), object.manifest()));
        Ok(differences(&objects(admiral)?, &objects(planned)?))
    }

    fn outcome(&self, reasons: &[Reason]) -> Result<Outcome, String> {
        let found = self.differences()?;
        let mut problems = String::new();
        let mut used = BTreeSet::new();
        for (because, paths) in &self.case.head.admiral {
            if !reasons.iter().any(|reason| reason.id == *because) {
                let _ = writeln!(problems, "{because:?} is no reason of reasons.yaml");
            }
            for path in paths {
                if found.iter().any(|difference| matches(path, &difference.path)) {
                    used.insert(because.clone());
                } else {
                    let _ = writeln!(problems, "nothing differs at {path:?} any more; remove the entry");
                }
            }
        }
        let everywhere: Vec<&String> = reasons.iter().flat_map(|reason| &reason.everywhere).collect();
        let named: Vec<&String> = self.case.head.admiral.values().flatten().collect();
        for difference in found {
            if !everywhere.iter().chain(&named).any(|path| matches(path, &difference.path)) {
                let Difference { path, admiral, tradewind } = difference;
                let _ = writeln!(problems, "{path}\n  Admiral: {admiral}\n  Tradewind: {tradewind}");
            }
        }
        if problems.is_empty() {
            Ok(Outcome { name: self.case.name.clone(), shows: self.case.head.shows.clone(), reasons: used })
        } else {
            Err(format!("differences without a reason under `admiral:`:\n{problems}"))
        }
    }
}

/// Field → value, of each object: `<cluster> <Kind>/<name>`.
type Objects = BTreeMap<String, BTreeMap<String, Value>>;

/// The fields of objects, each with its cluster.
fn objects(whole: impl IntoIterator<Item = (String, Value)>) -> Result<Objects, String> {
    let mut objects = Objects::new();
    for (cluster, object) in whole {
        let (Some(kind), Some(name)) = (object["kind"].as_str(), object["metadata"]["name"].as_str()) else {
            return Err(format!("{cluster}: an object without kind or name"));
        };
        let mut fields = BTreeMap::new();
        flatten(String::new(), &object, &mut fields);
        let key = format!("{cluster} {kind}/{}", without_hash(&object, name));
        let key = if objects.contains_key(&key) { format!("{cluster} {kind}/{name}") } else { key };
        if objects.insert(key, fields).is_some() {
            return Err(format!("{cluster}: {kind}/{name} is there twice"));
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
    admiral: String,
    tradewind: String,
}

fn differences(admiral: &Objects, tradewind: &Objects) -> Vec<Difference> {
    let mut found = Vec::new();
    let keys: BTreeSet<&String> = admiral.keys().chain(tradewind.keys()).collect();
    for key in keys {
        let (Some(admiral), Some(tradewind)) = (admiral.get(key), tradewind.get(key)) else {
            let there = |objects: &Objects| if objects.contains_key(key) { "writes it" } else { "does not write it" };
            let (admiral, tradewind) = (there(admiral).to_owned(), there(tradewind).to_owned());
            found.push(Difference { path: key.clone(), admiral, tradewind });
            continue;
        };
        let fields: BTreeSet<&String> = admiral.keys().chain(tradewind.keys()).collect();
        for field in fields.into_iter().filter(|field| admiral.get(*field) != tradewind.get(*field)) {
            let shown = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
            found.push(Difference {
                path: format!("{key} {field}"),
                admiral: shown(admiral.get(field)),
                tradewind: shown(tradewind.get(field)),
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

fn outcomes(cases: &[Compared], reasons: &[Reason]) -> Result<Vec<Outcome>, String> {
    cases.iter().map(|case| case.outcome(reasons).map_err(|why| format!("{}: {why}", case.case.name))).collect()
}

fn check_reasons(cases: &[Compared], reasons: &[Reason]) -> Result<(), String> {
    let used: BTreeSet<String> = outcomes(cases, reasons)?.into_iter().flat_map(|outcome| outcome.reasons).collect();
    let all: Vec<&[Difference]> = cases.iter().map(Compared::differences).collect::<Result<_, _>>()?;
    let mut ids = BTreeSet::new();
    for reason in reasons {
        if !ids.insert(&reason.id) {
            return Err(format!("the reason {} is there twice", reason.id));
        }
        for path in &reason.everywhere {
            if !all.iter().copied().flatten().any(|difference| matches(path, &difference.path)) {
                return Err(format!("{}: nothing differs at {path:?}", reason.id));
            }
        }
        if reason.everywhere.is_empty() && !used.contains(&reason.id) {
            return Err(format!("no case needs the reason {}", reason.id));
        }
    }
    // A case that claims a topic must be there, or nothing is proven of it.
    if cases.len() < MIN_CASES { Err(format!("only {} cases compare with Admiral", cases.len())) } else { Ok(()) }
}

fn section(cases: &[Compared], reasons: &[Reason]) -> Result<String, String> {
    let outcomes = outcomes(cases, reasons)?;
    let same = outcomes.iter().filter(|outcome| outcome.reasons.is_empty()).count();
    let mut text = format!(
        "\n{} golden cases (`tests/golden`) hold the objects that Admiral writes beside those that Tradewind plans, and a test\n\
         compares them field by field (`tests/differential.rs`). In {same} of them nothing differs but what differs everywhere.\n\
         Admiral's regions come from a node label that is deprecated by now; its objects here are those of nodes with both labels.\n\
         The VirtualService and the rule for routes inside the cluster, which it writes for every service whatever its flags, are\n\
         compared in `in-cluster` and `slow-start` alone.\n\n\
         | Everywhere | Why |\n|---|---|\n",
        outcomes.len()
    );
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
        let _ = writeln!(text, "\n| `{}` | What it shows | Admiral |\n|---|---|---|", topic(&of_topic[0]));
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

fn check_page(cases: &[Compared], reasons: &[Reason]) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let (head, rest) = page.split_once(BEGIN).ok_or_else(|| format!("{PAGE} lacks the line {BEGIN}"))?;
    let (old, tail) = rest.split_once(END).ok_or_else(|| format!("{PAGE} lacks the line {END}"))?;
    let new = format!("\n{}", section(cases, reasons)?);
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
    let admiral = Objects::from([
        ("a S/x".into(), object("{a: 1, endpoints: [{address: p, w: 1}, {address: q}, {address: q, w: 2}], e: {}}")),
        ("a S/y".into(), object("{}")),
    ]);
    let tradewind = Objects::from([
        ("a S/x".into(), object("{b: 1, endpoints: [{address: q}, {address: p, w: 2}], e: {f: 1}}")),
        ("b S/y".into(), object("{}")),
    ]);
    let found: Vec<String> = differences(&admiral, &tradewind).into_iter().map(|difference| difference.path).collect();
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
