//! Golden cases (`tests/golden/TOPIC/CASE.txtar`): clusters in, decisions and objects out. One test per case.
//!
//! How a case is written says `tests/golden_case/mod.rs`, how objects are written in short `tests/golden_case/notation.rs`.
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes anew what is generated.
//!
//! Whatever a case shows, planning it again, with the events in reverse, or after it was written must give the same; further
//! orders are in `tests/golden_orders.rs`.

mod golden_case;
mod planning;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use golden_case::{
    Case, PLANNED,
    fleet::Fleet,
    notation::{Notation, Planned},
    same::{diff, notes, same, yaml},
    section, whole_section,
};
use libtest_mimic::{Arguments, Failed, Trial};
use planning::{DecidedEndpoint, Picture, World, assert_sound};
use serde_json::{Value, json};
use tradewind::{istio::Object, model::ClusterName};

type Check = fn() -> Result<(), String>;

fn main() {
    let arguments = Arguments::from_args();
    let trials = golden_case::paths().into_iter().map(|path| {
        let name = golden_case::name_of(&path);
        Trial::test(name, move || every_case(&path).map_err(Failed::from))
    });
    let others: [(&str, Check); 3] = [
        ("whole_objects_have_every_kind_and_field", whole_objects_have_every_kind_and_field),
        ("the_notation_keeps_what_nobody_foresaw", the_notation_keeps_what_nobody_foresaw),
        ("what_is_no_case_is_refused", what_is_no_case_is_refused),
    ];
    let others = others.map(|(name, test)| Trial::test(name, move || test().map_err(Failed::from)));
    libtest_mimic::run(&arguments, others.into_iter().chain(trials).collect()).exit();
}

// Invariant: Planning is total: a bad object yields a note, and its neighbours are planned. [golden cases `policies/*`,
// `dependencies/*`, `services/*`, `files/*`]
// Invariant: Planning is deterministic: the plan depends neither on the order of events nor on former states. [every
// golden case]
// Invariant: Applying makes no choices: planning after applying changes nothing. [every golden case]
// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once. [golden cases `flat-network/*`]
// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read. [golden cases `primary-remote/*`]
// Invariant: Copies of users' routes are written once per change, and outlive a restart without their origin. [golden
// cases `propagation/*`]
// Invariant: No object has an ownerReference. [every golden case]
// Invariant: Objects of an option are removed when the option is disabled. [golden case `propagation/off`]
// Invariant: A hand-written object is adopted only if its owner hands it over, in place, and is given back with its
// content. [golden cases `adoption/*`]
// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason. [golden cases `files/*`]
fn every_case(path: &Path) -> Result<(), String> {
    let case = Case::read(path)?;
    let fleet = Fleet::load(&case)?;
    let mut world = fleet.world();
    world.settle();
    let picture = world.picture();
    compare_or_update(&case, &generated(&case, &picture, &fleet)?)?;
    check_again(&mut world, &picture)?;
    same("fed backward", &fleet.fed(&fleet.backward()), &picture)
}

/// What is generated of a case.
fn generated(case: &Case, picture: &Picture, fleet: &Fleet) -> Result<String, String> {
    let mut merged = String::new();
    for (place, hosts) in &picture.merged {
        let _ = writeln!(merged, "{place}");
        for host in hosts {
            let _ = writeln!(merged, "  {host}");
        }
    }
    let mut text = format!("-- {PLANNED} --\n{}", in_short(picture)?);
    text += &section("merged sidecars", &merged);
    text += &section("notes", &notes(&picture.notes));
    if case.head.whole_objects {
        for cluster in fleet.names() {
            let objects = picture.objects.iter().filter(|((of, _), _)| of == cluster);
            text += &whole_section(cluster.as_str(), &objects.map(|(_, object)| object.manifest()).collect::<Vec<_>>());
        }
    }
    Ok(text)
}

/// All objects in short, with the decisions; and that nothing was lost on the way.
fn in_short(picture: &Picture) -> Result<String, String> {
    let mut decided = picture.endpoints.clone();
    let mut planned = Vec::new();
    for ((cluster, _), object) in &picture.objects {
        let hosts = if let Object::ServiceEntry(entry) = object { entry.spec.hosts.as_slice() } else { &[] };
        let endpoints = hosts.iter().find_map(|host| decided.remove(&(cluster.clone(), host.clone())));
        planned.push((cluster.as_str(), object.manifest(), endpoints.unwrap_or_default()));
    }
    if !decided.is_empty() {
        return Err(format!("decided, but no ServiceEntry has it: {decided:?}"));
    }
    let notation = Notation::tradewind();
    let short: Vec<Planned<'_>> =
        planned.iter().map(|(cluster, object, decided)| Planned { cluster, object: object.clone(), decided }).collect();
    let text = notation.render(&short);
    let mut again: Vec<(String, Value)> =
        notation.parse(&text).map_err(|why| format!("what was rendered cannot be read: {why}\n{text}"))?;
    let mut whole: Vec<(String, Value)> =
        planned.iter().map(|(cluster, object, _)| ((*cluster).to_owned(), object.clone())).collect();
    let by_name = |(cluster, object): &(String, Value)| format!("{cluster} {} {}", object["kind"], object["metadata"]);
    again.sort_by_cached_key(by_name);
    whole.sort_by_cached_key(by_name);
    if again == whole {
        return Ok(text);
    }
    let shown = |objects: &[(String, Value)]| {
        objects.iter().map(|(cluster, object)| format!("# {cluster}\n{}", yaml(object))).collect::<String>()
    };
    Err(format!("the short form loses something:\n{}\n{text}", diff(&shown(&whole), &shown(&again))))
}

/// Planning again changes nothing, neither at once nor after everything was written.
fn check_again(world: &mut World, picture: &Picture) -> Result<(), String> {
    assert_sound(&picture.objects);
    same("planned twice", &world.picture(), picture)?;
    world.write_back();
    world.settle();
    let again = world.write_back();
    if again != 0 {
        return Err(format!("planning after writing makes {again} further changes"));
    }
    same("planned after writing", &world.picture(), picture)?;
    let written: BTreeSet<_> = world
        .registry
        .queries()
        .cluster_names()
        .into_iter()
        .flat_map(|cluster| {
            world.registry.outputs().owned(&cluster).into_iter().map(move |w| (cluster.clone(), w.id.clone()))
        })
        .collect();
    let writable = |(cluster, _): &&(ClusterName, _)| world.registry.outputs().can_write(cluster);
    let wanted: BTreeSet<_> = picture.objects.keys().filter(writable).cloned().collect();
    if written == wanted { Ok(()) } else { Err(format!("written {written:?}, wanted {wanted:?}")) }
}

fn compare_or_update(case: &Case, generated: &str) -> Result<(), String> {
    if case.generated == generated {
        Ok(())
    } else if std::env::var_os("UPDATE_GOLDEN").is_some() {
        case.rewrite(generated)
    } else {
        Err(format!("{}\nif this is right: UPDATE_GOLDEN=1 cargo test --test golden", diff(&case.generated, generated)))
    }
}

/// Most cases whose objects are written out whole: each is rewritten by every field that is new.
const MAX_WHOLE: usize = 70;

/// The few cases whose objects are written out whole show every kind of object and every field of all cases.
fn whole_objects_have_every_kind_and_field() -> Result<(), String> {
    let (mut all, mut whole) = (BTreeMap::new(), BTreeSet::new());
    let mut cases = 0;
    for path in golden_case::paths() {
        let case = Case::read(&path)?;
        cases += usize::from(case.head.whole_objects);
        for object in case.objects()?.into_values().flatten() {
            let mut fields = BTreeSet::new();
            field_names(object["kind"].as_str().unwrap_or_default(), &object, &mut fields);
            if case.head.whole_objects {
                whole.append(&mut fields);
            } else {
                all.extend(fields.into_iter().map(|field| (field, case.name.clone())));
            }
        }
    }
    let missing: Vec<_> = all.iter().filter(|(field, _)| !whole.contains(*field)).collect();
    if !missing.is_empty() {
        return Err(format!("no whole object has these; set `wholeObjects: true` in one of their cases: {missing:#?}"));
    }
    if cases <= MAX_WHOLE { Ok(()) } else { Err(format!("{cases} cases have whole objects; {MAX_WHOLE} will do")) }
}

/// Fields whose keys are names of ports or regions.
const NAMED_BY_USERS: [&str; 2] = [".endpoints.ports", ".distribute.to"];

fn field_names(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !NAMED_BY_USERS.iter().any(|end| path.ends_with(end)) => {
            fields.iter().for_each(|(key, field)| field_names(&format!("{path}.{key}"), field, into));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| field_names(path, item, into));
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

/// Objects unlike all that are planned today come through the notation unchanged.
fn the_notation_keeps_what_nobody_foresaw() -> Result<(), String> {
    let notation = Notation::tradewind();
    let entry = json!({
        "apiVersion": "networking.istio.io/v9", "kind": "ServiceEntry", "status": {"conditions": []},
        "metadata": {"name": "a.global-se", "namespace": "x", "generation": 7, "labels": {}, "annotations": {"": "", "a.b/c": "true"}},
        "spec": {"ports": [{"name": "grpc", "number": 80}], "endpoints": [
            {"address": "2001:db8::1", "ports": {"grpc": 80}, "weight": 0, "labels": {"type": "rollout", "new/label": "no"}},
            {"address": "10.0.0.1", "ports": {"grpc": 80, "http": 81}, "locality": "a/b/c", "new": {"deep": [null, "- x"]}},
            {"address": "10.0.0.1", "locality": "fallback-a", "labels": {}},
        ], "hosts": ["it's: \"quoted\" #1", "0x1F", "1e3", "~", "null", " a", "a\nb", "*", "{x", "12:30:45", "-"]},
    });
    let rule = json!({"apiVersion": "v1", "kind": "DestinationRule", "metadata": {"name": "a-default-dr", "namespace": "admiral-sync"},
                      "spec": {"trafficPolicy": "none", "host": {"long": "x".repeat(130), "list": [["y".repeat(130)], {}]}}});
    let decided = [DecidedEndpoint {
        tier: "0".into(),
        share: "1.0 %".into(),
        cluster: "another".into(),
        locality: "a/b".into(),
        address: "[2001:db8::1]:80".into(),
        reason: "some reason".into(),
    }];
    let nowhere =
        json!({"kind": "ServiceEntry", "metadata": {"name": "b-se", "namespace": "x"}, "spec": {"endpoints": []}});
    let objects =
        [("a", &nowhere, &decided[..]), ("b", &entry, &decided[..]), ("a", &entry, &[][..]), ("a", &rule, &[][..])];
    let planned = objects.map(|(cluster, object, decided)| Planned { cluster, object: object.clone(), decided });
    let text = notation.render(&planned);
    let again = notation.parse(&text).map_err(|why| format!("{why}\n{text}"))?;
    for (cluster, object, _) in objects {
        if !again.contains(&(cluster.to_owned(), object.clone())) {
            return Err(format!("lost in {cluster}: {}\n{text}\n{again:#?}", yaml(object)));
        }
    }
    if again.len() != objects.len() || text.matches("another").count() != 2 {
        return Err(format!("a decision that differs from what is written must show:\n{text}"));
    }
    let wrong =
        ["ServiceEntry a", "Sidecar a in b\n  hosts", "Sidecar a in b\n  in c\n    x: 1", "Sidecar a in b\n  [x: 1"];
    match wrong.iter().find(|text| notation.parse(text).is_ok()) {
        Some(read) => Err(format!("this is no notation, and was read: {read}")),
        None => Ok(()),
    }
}

fn what_is_no_case_is_refused() -> Result<(), String> {
    let path = golden_case::root().join("topic/case.txtar");
    let wrong = [
        ("includes: [mesh]\nshows: x\n", "includes"),
        ("shows: ' '\n", "`shows:`"),
        ("shows: x\n-- policy.yaml --\n", "\"policy.yaml\""),
        ("shows: x\n-- a/b.yaml --\n-- a/b.yaml --\n", "twice"),
        ("shows: x\nbyteOrderMarkAndCrlf: [a/b]\n", "a/b"),
    ];
    for (text, expected) in wrong {
        match Case::parse(&path, text) {
            Err(why) if why.contains(expected) => {}
            other => return Err(format!("{text:?} must be refused with {expected:?}: {:?}", other.err())),
        }
    }
    Ok(())
}
