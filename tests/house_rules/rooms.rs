//! Data flows fleet → registry → plan → apply: which room may import which, from the lowest to the highest.

use std::collections::BTreeSet;

use super::source::{Source, crate_sources};

/// A module and all below it, unless a longer path names a room of its own.
pub struct Room {
    /// Its path below `src/`.
    pub path: &'static str,
    /// The rooms that it may import; each comes before it.
    pub may_import: &'static [&'static str],
}

const fn room(path: &'static str, may_import: &'static [&'static str]) -> Room {
    Room { path, may_import }
}

/// All rooms.
pub const ROOMS: &[Room] = &[
    room("api", &[]),
    room("model", &[]),
    room("istio", &["model"]),
    room("config", &["model", "istio"]),
    room("files", &[]),
    room("manifest", &["api", "model", "files"]),
    room("sample", &[]),
    room("clock", &["model"]),
    room("plan/input", &["api", "model"]),
    room("plan/observe", &["model", "config", "plan/input"]),
    room("registry", &["api", "model", "istio", "config", "plan/input", "plan/observe"]),
    room("plan/decide", &["api", "model", "config", "plan/input"]),
    room("plan/service_plan", &["model", "istio", "plan/decide"]),
    room("plan/desired", &["model", "istio", "plan/service_plan"]),
    room("plan/emit", &["model", "istio", "config", "plan/input", "plan/decide", "plan/service_plan", "plan/desired"]),
    room(
        "plan",
        &["model", "istio", "config", "plan/input", "plan/decide", "plan/service_plan", "plan/desired", "plan/emit"],
    ),
    room("planner", &["model", "config", "plan/input", "registry", "plan"]),
    room("apply", &["model", "istio", "config", "files", "registry", "plan"]),
    room("fleet", &["api", "model", "istio", "config", "manifest", "registry"]),
    room("lint", &["api", "model", "config", "manifest", "fleet"]),
    room("verify", &["model", "istio", "plan"]),
    room("server", &["model", "istio", "config", "plan/input", "registry", "plan/decide", "plan", "apply"]),
    room("controller", &["model", "clock", "registry", "planner", "apply", "server"]),
    room(
        "cli",
        &[
            "api",
            "model",
            "istio",
            "config",
            "manifest",
            "sample",
            "clock",
            "registry",
            "plan/decide",
            "plan",
            "planner",
            "apply",
            "fleet",
            "lint",
            "verify",
            "server",
            "controller",
        ],
    ),
];

/// An import that its room may not have otherwise.
struct Exception {
    /// The file that imports.
    file: &'static str,
    /// What it imports: the beginning of a path.
    what: &'static str,
    /// Why.
    because: &'static str,
}

const fn exception(file: &'static str, what: &'static str, because: &'static str) -> Exception {
    Exception { file, what, because }
}

const CONNECTIONS: &str = "limits of connections are decided in Istio's types";
const NAMES: &str = "managed objects whose reason cannot be read are recognized by their names";

/// All exceptions. One that is no longer needed must go.
const EXCEPTIONS: &[Exception] = &[
    exception("src/model/identity_claim.rs", "api", "a claim is parsed from the spec of its CRD"),
    exception("src/model/observed.rs", "api", "an observed policy has the spec of its CRD"),
    exception("src/model/observed.rs", "istio", "an observed output has its owner, its shape and its content"),
    exception("src/plan/decide/connection_policies.rs", "istio::ConnectionPool", CONNECTIONS),
    exception("src/plan/decide/connection_policies.rs", "istio::Tunnel", CONNECTIONS),
    exception("src/plan/decide/connections.rs", "istio::ConnectionPool", CONNECTIONS),
    exception("src/plan/decide/connections.rs", "istio::HttpPool", CONNECTIONS),
    exception("src/plan/decide/connections.rs", "istio::Keepalive", CONNECTIONS),
    exception("src/plan/decide/connections.rs", "istio::TcpPool", CONNECTIONS),
    exception("src/plan/decide/connections.rs", "istio::Tunnel", CONNECTIONS),
    exception("src/plan/decide/in_cluster.rs", "istio::IN_CLUSTER_SUFFIX", NAMES),
    exception("src/plan/decide/namespace_rules.rs", "istio::NAMESPACE_RULE_SUFFIXES", NAMES),
    exception(
        "src/plan/emit/istio/envoy_filter.rs",
        "api::RoutingPolicySpec",
        "a filter has the configuration of its policy",
    ),
];

// Invariant: Imports between rooms go one way.
#[test]
fn no_import_runs_back_up_between_rooms() {
    let sources = crate_sources();
    let modules = sources.iter().map(|source| source.module.clone()).collect();
    let mut wrong = Vec::new();
    let (mut used, mut excused) = (BTreeSet::new(), BTreeSet::new());
    for source in &sources {
        let Some(importer) = room_of(&source.module) else {
            wrong.push(format!("{}: is in no room; name it in ROOMS", source.path));
            continue;
        };
        for import in source.imports(&modules) {
            let path = import.join("::");
            let Some(imported) = room_of(&import).filter(|imported| imported.path != importer.path) else { continue };
            let exception =
                EXCEPTIONS.iter().position(|entry| entry.file == source.path && is_within(&path, entry.what));
            if let Some(exception) = exception {
                excused.insert(exception);
            } else if importer.may_import.contains(&imported.path) {
                used.insert((importer.path, imported.path));
            } else {
                wrong.push(format!("{}: {} may not import {path}", source.path, importer.path));
            }
        }
    }
    for (number, room) in ROOMS.iter().enumerate() {
        for imported in room.may_import {
            if !ROOMS[..number].iter().any(|lower| lower.path == *imported) {
                wrong.push(format!("{}: {imported} does not come before it", room.path));
            } else if !used.contains(&(room.path, *imported)) {
                wrong.push(format!("{}: nothing imports {imported}; take it from the list", room.path));
            }
        }
    }
    for (number, entry) in EXCEPTIONS.iter().enumerate() {
        if !excused.contains(&number) {
            wrong.push(format!("{}: {} ({}) is no exception any more", entry.file, entry.what, entry.because));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The room of a module or item, by the longest path.
fn room_of(module: &[String]) -> Option<&'static Room> {
    let path = module.join("/");
    let here = ROOMS
        .iter()
        .filter(|room| path.strip_prefix(room.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    here.max_by_key(|room| room.path.len())
}

fn is_within(path: &str, beginning: &str) -> bool {
    path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use b::L;\nuse super::{b::{C, D as E}, f};\nuse std::fs;\npub(crate) use crate::{g::H, i};\nfn x() -> crate::j::K {}";
    let source =
        Source { path: String::new(), module: vec!["a".into()], lines: text.lines().map(str::to_owned).collect() };
    let modules = [vec!["a".to_owned(), "b".to_owned()]].into();
    let found: Vec<String> = source.imports(&modules).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::b::L", "b::C", "b::D", "f", "g::H", "i", "j::K"]);
}
