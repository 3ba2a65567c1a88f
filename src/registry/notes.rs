//! The notes in force, by what they come from: saying a thing again replaces what was said before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Registry,
    locks::{Rank, RankedMap},
};
use crate::model::{ClusterName, Kind, Note, NoteKind, ObjectId, ServiceKey, WorkKey};

/// Where notes come from. Each source holds its own list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NoteSource {
    /// The plan of a service.
    Service(ServiceKey),
    /// The plan of a client namespace's Sidecar.
    Sidecar(ClusterName, Arc<str>),
    /// The plan of the copies of users' routes for a host.
    Host(Arc<str>),
    /// The plan of the rules for the Services of a namespace.
    NamespaceRules(ClusterName, Arc<str>),
    /// The connection to a cluster.
    Cluster(ClusterName),
    /// The writer of a cluster, about one object.
    Writer(ClusterName, ObjectId),
    /// The gateway and the nodes of a cluster.
    Topology(ClusterName),
    /// The discovery of clusters, about one Secret or file.
    Fleet(String),
    /// One object of a cluster.
    Object(ClusterName, ObjectId),
}

impl NoteSource {
    /// The plan of a unit.
    #[must_use]
    pub fn plan_of(unit: &WorkKey) -> Self {
        match unit {
            WorkKey::Service(key) => Self::Service(key.clone()),
            WorkKey::Host(host) => Self::Host(host.clone()),
            WorkKey::Sidecar(cluster, namespace) => Self::Sidecar(cluster.clone(), namespace.clone()),
            WorkKey::Namespace(cluster, namespace) => Self::NamespaceRules(cluster.clone(), namespace.clone()),
        }
    }

    fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::Sidecar(cluster, _)
            | Self::NamespaceRules(cluster, _)
            | Self::Cluster(cluster)
            | Self::Topology(cluster)
            | Self::Writer(cluster, _)
            | Self::Object(cluster, _) => Some(cluster),
            Self::Service(_) | Self::Host(_) | Self::Fleet(_) => None,
        }
    }
}

/// All notes in force.
#[derive(Debug)]
pub struct NoteBook {
    notes: RankedMap<NoteSource, Vec<Note>>,
}

impl Default for NoteBook {
    fn default() -> Self {
        Self { notes: RankedMap::new(Rank::Notes) }
    }
}

impl NoteBook {
    /// Replaces what `source` had to say, without logging: for commands that print notes themselves.
    pub fn put_quietly(&self, source: NoteSource, notes: Vec<Note>) -> Vec<Note> {
        let notes: Vec<Note> = notes.into_iter().map(Note::printable).collect();
        let said = if notes.is_empty() { self.notes.remove(&source) } else { self.notes.insert(source, notes) };
        said.unwrap_or_default()
    }

    /// Replaces what `source` had to say. New notes are logged once, as warnings.
    pub fn put(&self, source: NoteSource, notes: Vec<Note>) {
        self.put_explained(source, notes, |_| None);
    }

    /// As [`NoteBook::put`]; what `explain` says of a new note is part of its log line and not of the note.
    pub(super) fn put_explained(
        &self,
        source: NoteSource,
        notes: Vec<Note>,
        mut explain: impl FnMut(&Note) -> Option<String>,
    ) {
        let notes: Vec<Note> = notes.into_iter().map(Note::printable).collect();
        let said = self.put_quietly(source, notes.clone());
        for note in notes.iter().filter(|note| !said.contains(note)) {
            let message = explain(note).unwrap_or_else(|| note.message.clone());
            tracing::warn!(
                note = note.kind.code(),
                cluster = %note.object.cluster,
                kind = note.object.kind.as_str(),
                namespace = &*note.object.namespace,
                name = &*note.object.name,
                "{message}. {}",
                note.kind.remedy()
            );
        }
    }

    /// Drops what was said about objects of one kind of a cluster that are not among `listed`.
    pub(super) fn keep_objects(&self, cluster: &ClusterName, kind: Kind, listed: &BTreeSet<ObjectId>) {
        self.notes.retain(|source| match source {
            NoteSource::Object(of, id) => of != cluster || id.kind != kind || listed.contains(id),
            _ => true,
        });
    }

    /// Drops all that was said about a cluster that left.
    pub(super) fn forget_cluster(&self, cluster: &ClusterName) {
        self.notes.retain(|source| source.cluster() != Some(cluster));
    }

    /// Every note, sorted and without repetition.
    #[must_use]
    pub fn all(&self) -> Vec<Note> {
        let all: BTreeSet<Note> = self.notes.iter().flat_map(|entry| entry.value().clone()).collect();
        all.into_iter().collect()
    }

    /// Number of notes of each code.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for note in self.all() {
            *counts.entry(note.kind.code()).or_default() += 1;
        }
        counts
    }
}

/// What is wrong with one object.
pub(super) fn note_object(
    registry: &Registry,
    cluster: &ClusterName,
    id: &ObjectId,
    kind: NoteKind,
    messages: impl IntoIterator<Item = String>,
) {
    let notes = messages
        .into_iter()
        .map(|message| Note { kind, object: id.in_cluster(cluster), service: None, message })
        .collect();
    registry.notes.put(NoteSource::Object(cluster.clone(), id.clone()), notes);
}

/// Tells what keeps a workload or client that means to take part from it.
pub(super) fn note_workload(registry: &Registry, cluster: &ClusterName, id: &ObjectId) {
    let problems = registry.fleet.get(cluster).map(|state| state.problems(id)).unwrap_or_default();
    let notes = problems
        .into_iter()
        .map(|(kind, message)| Note { kind, object: id.in_cluster(cluster), service: None, message })
        .collect();
    registry.notes.put(NoteSource::Object(cluster.clone(), id.clone()), notes);
}
