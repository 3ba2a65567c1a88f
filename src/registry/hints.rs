//! What may have been meant, where a note says that a name names nothing: the environment in which the identity runs, the
//! namespace that runs the service, the identity of almost the same name.
//!
//! A hint depends on all that runs, so it is worked out whenever notes are read, and marks nothing to be planned again.
//! Decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{NoteSource, Queries, Registry, absence, dependency_notes::runs_nowhere, queries};
use crate::model::{
    ClusterName, DependencyFault, Environment, Identity, Kind, Note, NoteKind, ServiceKey, did_you_mean, nearest,
};

/// Notes that get a hint each time all are read, or in one pass of planning: to compare a name with those of ten thousand
/// services takes milliseconds.
const MAX_HINTS: usize = 200;

/// Names that a hint lists.
const MAX_NAMES: usize = 5;

/// The policies that count in the namespaces of their workloads only.
const AT_HOME: [Kind; 3] = [Kind::GlobalTrafficPolicy, Kind::OutlierDetection, Kind::ClientConnectionConfig];

/// How many hints one pass of planning may still work out for its log lines.
#[derive(Debug)]
pub struct HintBudget(usize);

impl Default for HintBudget {
    fn default() -> Self {
        Self(MAX_HINTS)
    }
}

impl Registry {
    /// Replaces the notes of `source`. New ones are logged once, each with what may have been meant.
    pub fn put_notes(&self, source: NoteSource, notes: Vec<Note>, budget: &mut HintBudget) {
        self.notes.put_explained(source, notes, |note| {
            // A search that finds nothing takes as long as one that does.
            if matches!(note.kind, NoteKind::PolicyUnmatched | NoteKind::DependencyQuestionable(_)) {
                budget.0 = budget.0.checked_sub(1)?;
            }
            let hint = hint(self, note)?;
            Some(with_hint(&note.message, &hint))
        });
    }
}

impl Queries<'_> {
    /// Every note in force, sorted, each with what may have been meant where that can be found.
    #[must_use]
    pub fn notes_with_hints(&self) -> Vec<Note> {
        let mut notes = self.registry.notes.all();
        let hints = notes.iter_mut().filter_map(|note| Some((hint(self.registry, note)?, note)));
        for (hint, note) in hints.take(MAX_HINTS) {
            note.message = with_hint(&note.message, &hint);
        }
        notes
    }
}

fn hint(registry: &Registry, note: &Note) -> Option<String> {
    match note.kind {
        NoteKind::PolicyUnmatched => {
            let key = note.service.as_ref()?;
            let is_at_home = AT_HOME.iter().any(|kind| note.object.kind == *kind);
            let near = is_at_home.then(|| beside_policy(registry, key, note)).flatten();
            let named = near.or_else(|| elsewhere(registry, key, is_at_home));
            let named = named.or_else(|| nearest_identity(registry, &key.identity));
            named.or_else(|| is_at_home.then(|| running_in_namespace(registry, note)).flatten())
        }
        NoteKind::DependencyQuestionable(DependencyFault::Destination) | NoteKind::WorkloadsUnknown => {
            let unread = absence::unread_clusters(registry);
            let dependencies = registry.dependencies.read();
            let named = dependencies.all().find(|((cluster, id), _)| id.in_cluster(cluster) == note.object)?;
            let is_meant = |identity: &&Identity| runs_nowhere(identity, unread.as_deref()) == note.message;
            let unserved = named.1.destinations.iter().find(is_meant)?.clone();
            drop(dependencies);
            nearest_identity(registry, &unserved)
        }
        _ => None,
    }
}

/// The same identity in another environment of the policy's namespace, or another identity of almost the same name.
fn beside_policy(registry: &Registry, key: &ServiceKey, note: &Note) -> Option<String> {
    let state = registry.fleet.get(&note.object.cluster)?;
    let here: BTreeSet<ServiceKey> = state.workloads.keys_in(&note.object.namespace);
    drop(state);
    let same = here.iter().filter(|found| found.identity == key.identity);
    let environments: Vec<&str> = same.map(|found| found.environment.as_str()).collect();
    if !environments.is_empty() {
        return Some(format!("{} {}", key.identity, runs_in(&environments, "there ", &key.environment)));
    }
    let close = nearest(key.identity.as_str(), here.iter().map(|found| found.identity.as_str()))?;
    let of_close: Vec<&ServiceKey> = here.iter().filter(|found| found.identity.as_str() == close).collect();
    Some(format!("did you mean {}, which runs there?", listed(of_close.iter().map(ToString::to_string))))
}

/// The services that the policy's namespace does run.
fn running_in_namespace(registry: &Registry, note: &Note) -> Option<String> {
    let here = registry.fleet.get(&note.object.cluster)?.workloads.keys_in(&note.object.namespace);
    let verb = if here.len() == 1 { "runs" } else { "run" };
    (!here.is_empty()).then(|| format!("{} {verb} there", listed(here.iter().map(ToString::to_string))))
}

/// Where the service runs, or the others of its identity.
fn elsewhere(registry: &Registry, key: &ServiceKey, is_at_home: bool) -> Option<String> {
    let mut running: BTreeMap<ServiceKey, BTreeMap<Arc<str>, BTreeSet<ClusterName>>> = BTreeMap::new();
    for found in queries::keys_of(registry, &key.identity) {
        for cluster in registry.index.clusters_of.of(&found).iter() {
            let Some(state) = registry.fleet.get(cluster) else { continue };
            for namespace in state.workloads.namespaces_of(&found) {
                let places = running.entry(found.clone()).or_default();
                places.entry(namespace).or_default().insert(cluster.clone());
            }
        }
    }
    let places = |key: &ServiceKey| {
        let places = running.get(key).into_iter().flatten().map(|(namespace, clusters)| {
            format!("namespace {namespace} of {}", listed(clusters.iter().map(ToString::to_string)))
        });
        listed(places)
    };
    match (running.contains_key(key), is_at_home) {
        (true, true) => Some(format!("{key} runs in {}: put the policy there", places(key))),
        (true, false) => None,
        (false, true) if running.len() == 1 => {
            let (only, _) = running.first_key_value().expect("there is one");
            let environment = &only.environment;
            Some(format!("{only} runs in {}: put the policy there, with the label env: {environment}", places(only)))
        }
        (false, _) => {
            let environments: Vec<&str> = running.keys().map(|found| found.environment.as_str()).collect();
            let runs = || format!("{} {}", key.identity, runs_in(&environments, "", &key.environment));
            (!environments.is_empty()).then(runs)
        }
    }
}

/// An identity that runs and has almost the same name.
fn nearest_identity(registry: &Registry, identity: &Identity) -> Option<String> {
    let running: BTreeSet<Identity> = registry.index.running.keys().into_iter().collect();
    let hint = did_you_mean(identity.as_str(), running.iter().map(Identity::as_str));
    hint.strip_prefix("; ").map(str::to_owned)
}

fn with_hint(message: &str, hint: &str) -> String {
    format!("{message} ({hint})")
}

/// `runs there in environment prod: set the label env: prod`.
fn runs_in(environments: &[&str], place: &str, asked: &Environment) -> String {
    match environments {
        [one] => format!("runs {place}in environment {one}: set the label env: {one}"),
        several => {
            let close = did_you_mean(asked.as_str(), several.iter().copied());
            let names = listed(several.iter().map(|name| (*name).to_owned()));
            format!("runs {place}in environments {names}: name one of them by the label env{close}")
        }
    }
}

/// The names, the first of them where there are many.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
