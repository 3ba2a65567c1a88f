//! What cannot be read now, cluster by cluster, and why.
//!
//! Watched kinds have their [`KindState`](super::KindState). Besides them there are the reads that a fleet begins with
//! (cluster Secrets, the address ConfigMap) and lists that have had no answer yet. Decides how failures are reported: a cause
//! that affects a whole cluster is one note on the cluster, a missing right or definition is one note per kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tokio::sync::Notify;

use super::{
    NoteSource, Queries, Registry,
    locks::{Rank, RankedMutex},
    status::KindState,
};
use crate::model::{ClusterName, Kind, Note, NoteKind, ObjectKind, ObjectPath, ReadCause, ReadFailure};

/// Most names that a message lists; the others are counted.
const MAX_LISTED: usize = 4;

/// What is read from an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadTarget {
    /// The Secrets on the hub that register clusters, by their label.
    ClusterSecrets(&'static str),
    /// Admiral's address ConfigMap on the hub.
    AddressConfigMap,
    /// All objects of a kind.
    Kind(Kind),
}

impl ReadTarget {
    /// Whether it says which clusters there are, or must be read before any is planned.
    pub(super) fn comes_first(self) -> bool {
        matches!(self, Self::ClusterSecrets(_) | Self::AddressConfigMap)
    }

    /// The kind of its objects.
    fn object_kind(self) -> ObjectKind {
        match self {
            Self::ClusterSecrets(_) => ObjectKind::Secret,
            Self::AddressConfigMap => ObjectKind::ConfigMap,
            Self::Kind(kind) => kind.into(),
        }
    }
}

impl fmt::Display for ReadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.object_kind().as_str())
    }
}

/// One thing that cannot be read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What.
    pub target: ReadTarget,
    /// Why.
    pub failure: ReadFailure,
    /// Since when, in Unix seconds.
    pub since_seconds: i64,
    /// Whether it was read before, so that it counts as last seen.
    pub was_read: bool,
}

/// What is read of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterReads {
    /// How many things are read there.
    pub all: usize,
    /// Those that cannot be read now, sorted.
    pub unread: Vec<Unread>,
}

/// Reads that fail and are not the state of a kind.
#[derive(Debug)]
pub(super) struct Reads {
    failing: RankedMutex<FailingReads>,
    /// Locked while notes are made, so that those of the newest state are put last.
    noting: RankedMutex<()>,
    changed: Notify,
}

type FailingReads = BTreeMap<(ClusterName, ReadTarget), (ReadFailure, i64)>;

impl Default for Reads {
    fn default() -> Self {
        Self {
            failing: RankedMutex::new(Rank::ReadFailures, FailingReads::new()),
            noting: RankedMutex::new(Rank::ReadNotes, ()),
            changed: Notify::new(),
        }
    }
}

impl Reads {
    /// A cluster left.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.failing.lock().retain(|(of, _), _| of != cluster);
        self.changed.notify_one();
    }

    /// Forgets a failing read that succeeded, or whose kind has a state of its own now; answers whether it failed.
    pub(super) fn settle(&self, cluster: &ClusterName, target: ReadTarget) -> bool {
        self.failing.lock().remove(&(cluster.clone(), target)).is_some()
    }

    /// Why a read fails, where it does.
    pub(super) fn failure(&self, cluster: &ClusterName, target: ReadTarget) -> Option<ReadFailure> {
        self.failing.lock().get(&(cluster.clone(), target)).map(|(failure, _)| failure.clone())
    }
}

impl Registry {
    /// A read fails that is not the state of a kind: it belongs to the start of the fleet, or is a list without an answer
    /// so far.
    pub fn read_failed(
        &self,
        cluster: &ClusterName,
        target: ReadTarget,
        failure: impl Into<ReadFailure>,
        now_seconds: i64,
    ) {
        let failure = failure.into();
        let at = (cluster.clone(), target);
        {
            let mut failing = self.reads.failing.lock();
            let since_seconds = failing.get(&at).map_or(now_seconds, |(_, since)| *since);
            failing.insert(at, (failure, since_seconds));
        }
        note_reads(self, cluster);
    }

    /// As opposed to [`Registry::read_failed`]: it was read, or its kind has a state of its own now.
    pub fn read_succeeded(&self, cluster: &ClusterName, target: ReadTarget) {
        let failed = self.reads.failing.lock().remove(&(cluster.clone(), target)).is_some();
        if failed {
            note_reads(self, cluster);
        }
    }

    /// The first list of a kind has had no answer so far.
    pub fn list_delayed(&self, cluster: &ClusterName, kind: Kind, failure: impl Into<ReadFailure>, now_seconds: i64) {
        let is_first = self
            .fleet
            .get(cluster)
            .is_some_and(|state| state.freshness.kinds().get(&kind) == Some(&KindState::Loading));
        if is_first {
            self.read_failed(cluster, ReadTarget::Kind(kind), failure, now_seconds);
        }
    }
}

impl Queries<'_> {
    /// What is read of each cluster, the hub included, and what of it cannot be read now.
    #[must_use]
    pub fn reads(&self) -> BTreeMap<ClusterName, ClusterReads> {
        let mut clusters: BTreeSet<ClusterName> =
            self.registry.fleet.iter().map(|state| state.name().clone()).collect();
        clusters.extend(self.registry.reads.failing.lock().keys().map(|(cluster, _)| cluster.clone()));
        clusters.into_iter().map(|cluster| (cluster.clone(), self.registry.queries().reads_in(&cluster))).collect()
    }

    /// What is read of one cluster.
    #[must_use]
    pub fn reads_in(&self, cluster: &ClusterName) -> ClusterReads {
        let mut unread: Vec<Unread> = {
            let failing = self.registry.reads.failing.lock();
            let of_cluster = failing.iter().filter(|((of, _), _)| of == cluster);
            let of_cluster = of_cluster.map(|((_, target), (failure, since_seconds))| Unread {
                target: *target,
                failure: failure.clone(),
                since_seconds: *since_seconds,
                was_read: false,
            });
            of_cluster.collect()
        };
        let others = unread.iter().filter(|unread| unread.target.comes_first()).count();
        let watched = self.registry.fleet.get(cluster).map_or(0, |state| {
            unread.extend(state.freshness.kinds().iter().filter_map(|(kind, state)| unread_kind(*kind, state)));
            state.freshness.kinds().len()
        });
        unread.sort_by_key(|unread| unread.target);
        ClusterReads { all: watched + others, unread }
    }

    /// Why the first list of a kind has not come yet, where that is known.
    #[must_use]
    pub fn delay_of(&self, cluster: &ClusterName, kind: Kind) -> Option<ReadFailure> {
        self.registry.reads.failure(cluster, ReadTarget::Kind(kind))
    }

    /// Waits until something can be read that could not, or the other way round.
    pub async fn reads_changed(&self) {
        self.registry.reads.changed.notified().await;
    }
}

/// Says what cannot be read in a cluster. Quietly: whoever follows [`Registry::unread`] writes the log.
pub(super) fn note_reads(registry: &Registry, cluster: &ClusterName) {
    let _noting = registry.reads.noting.lock();
    let notes = notes(cluster, &registry.queries().reads_in(cluster), &registry.settings.secret_namespace);
    let before = registry.notes.put_quietly(NoteSource::Cluster(cluster.clone()), notes.clone());
    if before != notes {
        registry.reads.changed.notify_one();
    }
}

fn unread_kind(kind: Kind, state: &KindState) -> Option<Unread> {
    let (was_read, cause, reason, since_seconds) = match state {
        KindState::Stale { cause, reason, since_seconds } => (true, cause, reason, since_seconds),
        KindState::Unreadable { cause, reason, since_seconds } => (false, cause, reason, since_seconds),
        KindState::Loading | KindState::Synced | KindState::Absent => return None,
    };
    let failure = ReadFailure::new(*cause, reason.as_str());
    Some(Unread { target: ReadTarget::Kind(kind), failure, since_seconds: *since_seconds, was_read })
}

impl ClusterReads {
    /// Parts what cannot be read into what means that the whole cluster cannot be, and what concerns one kind alone.
    #[must_use]
    pub fn split(&self) -> (Vec<&Unread>, Vec<&Unread>) {
        let (of_cluster, others): (Vec<&Unread>, Vec<&Unread>) =
            self.unread.iter().partition(|unread| unread.failure.cause.is_of_cluster());
        let of_kind = others.iter().filter(|unread| unread.failure.cause.is_of_kind()).count();
        // An API server that fails for everything is not one that fails for some kind.
        if of_cluster.is_empty() && others.len() >= self.all && others.len() - of_kind > 1 {
            return others.into_iter().partition(|unread| !unread.failure.cause.is_of_kind());
        }
        (of_cluster, others)
    }
}

/// The failure that most of some reads have; the first of several.
#[must_use]
pub fn main_failure<'a>(unread: &[&'a Unread]) -> Option<&'a ReadFailure> {
    let mut counts: BTreeMap<ReadCause, usize> = BTreeMap::new();
    for unread in unread {
        *counts.entry(unread.failure.cause).or_default() += 1;
    }
    let (cause, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    unread.iter().map(|unread| &unread.failure).find(|failure| failure.cause == cause)
}

/// What holds while something cannot be read: a whole cluster, or some kinds of it.
#[must_use]
pub fn meanwhile(unread: &[&Unread], whole: bool) -> &'static str {
    if unread.iter().any(|unread| unread.target.comes_first()) {
        "no cluster joins or leaves meanwhile"
    } else if whole || unread.iter().any(|unread| unread.was_read) {
        "what is known of it stays in force"
    } else {
        "it counts as unknown, not as empty"
    }
}

/// `Deployment, Service and 3 more`, each once.
#[must_use]
pub fn listed_targets<'a>(targets: impl IntoIterator<Item = &'a ReadTarget>) -> String {
    let mut names: Vec<String> = Vec::new();
    for target in targets {
        let name = target.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MAX_LISTED);
    if more > 1 {
        names.truncate(MAX_LISTED);
        return format!("{} and {more} more", names.join(", "));
    }
    names.join(", ")
}

fn notes(cluster: &ClusterName, reads: &ClusterReads, secret_namespace: &str) -> Vec<Note> {
    let note = |kind, object, message| Note { kind, object, service: None, message };
    let (of_cluster, of_kinds) = reads.split();
    let mut notes = Vec::new();
    if let Some(failure) = main_failure(&of_cluster) {
        let part = if of_cluster.len() < reads.all {
            format!(" in part ({})", listed_targets(of_cluster.iter().map(|unread| &unread.target)))
        } else {
            String::new()
        };
        let message = format!("cannot be read{part}: {failure}; {}", meanwhile(&of_cluster, true));
        notes.push(note(NoteKind::ClusterUnreachable, ObjectPath::of_cluster(cluster), message));
    }
    notes.extend(of_kinds.into_iter().map(|unread @ Unread { target, failure, .. }| match target {
        ReadTarget::ClusterSecrets(label) => {
            let message = format!("cluster Secrets ({label}) cannot be read: {failure}. The clusters stay as they are");
            note(
                NoteKind::ClusterUnreachable,
                ObjectPath::all_of(cluster, ObjectKind::Secret, secret_namespace),
                message,
            )
        }
        ReadTarget::AddressConfigMap | ReadTarget::Kind(_) => {
            let message = format!("cannot be read: {failure}; {}", meanwhile(&[unread], false));
            note(NoteKind::KindUnreadable, ObjectPath::all_of(cluster, target.object_kind(), ""), message)
        }
    }));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(kind: Kind, cause: ReadCause) -> Unread {
        let failure = ReadFailure::new(cause, cause.code());
        Unread { target: ReadTarget::Kind(kind), failure, since_seconds: 0, was_read: true }
    }

    fn said(unread: &[Unread], all: usize) -> Vec<(NoteKind, String, String)> {
        let reads = ClusterReads { all, unread: unread.to_vec() };
        let notes = notes(&ClusterName::parse("east").unwrap(), &reads, "admiral");
        notes.into_iter().map(|note| (note.kind, note.object.kind.to_string(), note.message)).collect()
    }

    #[test]
    fn a_cause_of_the_whole_cluster_is_one_note_and_a_missing_right_one_per_kind() {
        let kinds = &Kind::ALL[..6];
        let refused: Vec<Unread> = kinds.iter().map(|kind| unread(*kind, ReadCause::Refused)).collect();
        let notes = said(&refused, 6);
        assert_eq!(notes.len(), 1);
        assert_eq!((notes[0].0, notes[0].1.as_str()), (NoteKind::ClusterUnreachable, "Cluster"));
        assert_eq!(notes[0].2, "cannot be read: connection-refused; what is known of it stays in force");
        // While it is only noticed for some kinds, these are named.
        let notes = said(&refused, 26);
        assert!(notes.len() == 1 && notes[0].2.contains("(Deployment, StatefulSet, DaemonSet, Rollout and 2 more)"));
        let forbidden: Vec<Unread> = kinds.iter().map(|kind| unread(*kind, ReadCause::Forbidden)).collect();
        let notes = said(&forbidden, 6);
        assert!(notes.len() == 6 && notes.iter().all(|(kind, ..)| *kind == NoteKind::KindUnreadable));
    }

    #[test]
    fn an_api_server_that_fails_for_all_is_one_note_and_for_some_it_is_theirs() {
        let failing: Vec<Unread> = Kind::ALL[..3].iter().map(|kind| unread(*kind, ReadCause::ServerError)).collect();
        assert_eq!(said(&failing, 3).len(), 1);
        assert_eq!(said(&failing, 4).len(), 3);
        let mut mixed = failing.clone();
        mixed[0].failure.cause = ReadCause::NotFound;
        let kinds: Vec<NoteKind> = said(&mixed, 3).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, [NoteKind::ClusterUnreachable, NoteKind::KindUnreadable]);
        // One thing alone is no cluster.
        assert_eq!(said(&failing[..1], 1)[0].0, NoteKind::KindUnreadable);
    }
}
