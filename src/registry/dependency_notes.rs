//! What is said about Dependencies whose source or destinations no cluster runs.
//!
//! Decides nothing: a client or a service may be declared before it is deployed.

use super::{HintBudget, Registry, absence, dependencies::similar_source, last_known, notes::NoteSource, queries};
use crate::model::{ClusterName, DependencyFault, Identity, Note, NoteKind, ObjectId};

/// A note about the source of a Dependency that no cluster runs, where one of almost the same name runs. Without such a
/// name there is nothing to say: a client may be declared before it is deployed.
fn review_source(
    registry: &Registry,
    of: &(ClusterName, ObjectId),
    all_read: bool,
    running: &[Identity],
) -> Option<Note> {
    let source = registry.dependencies.read().get(of)?.source.clone();
    let is_idle = registry.index.running.of(&source).is_empty() && !runs_anywhere(registry, &source);
    registry.dependencies.write().set_idle(of, is_idle);
    if !is_idle || !all_read {
        return None;
    }
    let similar = similar_source(&source, running)?;
    Some(Note {
        kind: NoteKind::DependencyQuestionable(DependencyFault::Source),
        object: of.1.in_cluster(&of.0),
        service: None,
        message: format!(
            "no cluster runs the source {source}, and until one does, no client gets the destinations by this Dependency \
             (did you mean {similar}, which runs?)"
        ),
    })
}

/// Reviews the notes of Dependencies whose destinations came or went.
pub(super) fn review_dependencies(registry: &Registry) {
    let unreviewed = registry.dependencies.take_unreviewed();
    if unreviewed.is_empty() {
        return;
    }
    let unread = absence::unread_clusters(registry);
    let kind = if unread.is_none() {
        NoteKind::DependencyQuestionable(DependencyFault::Destination)
    } else {
        NoteKind::WorkloadsUnknown
    };
    let running: Vec<Identity> = registry.index.running.keys().into_iter().collect();
    let mut hints = HintBudget::default();
    for of in unreviewed {
        let source = review_source(registry, &of, unread.is_none(), &running);
        let (cluster, id) = of;
        let unserved: Vec<Identity> = {
            let dependencies = registry.dependencies.read();
            let Some(counted) = dependencies.get(&(cluster.clone(), id.clone())) else { continue };
            let nobody_runs = |identity: &&Identity| {
                !runs_anywhere(registry, identity) && dependencies.proxies.before(identity).next().is_none()
            };
            counted.destinations.iter().filter(nobody_runs).cloned().collect()
        };
        let notes = unserved.iter().map(|identity| Note {
            kind,
            object: id.in_cluster(&cluster),
            service: None,
            message: runs_nowhere(identity, unread.as_deref()),
        });
        registry.put_notes(of_destinations(&cluster, &id), notes.chain(source).collect(), &mut hints);
    }
}

/// Whether some cluster runs a service of an identity, or had one and cannot be read.
fn runs_anywhere(registry: &Registry, identity: &Identity) -> bool {
    queries::keys_of(registry, identity).iter().any(|key| {
        registry
            .index
            .clusters_of
            .of(key)
            .iter()
            .any(|cluster| registry.fleet.get(cluster).is_some_and(|state| state.workloads.runs(key)))
            || !last_known::clusters_with(registry, key).is_empty()
    })
}

/// What is said of a destination of a Dependency that nobody is seen to run. `unread` names clusters that may run it.
pub(super) fn runs_nowhere(identity: &Identity, unread: Option<&str>) -> String {
    match unread {
        None => format!("no cluster runs the destination {identity}; it counts as soon as one does"),
        Some(clusters) => format!(
            "no cluster that could be read runs the destination {identity}, and what runs in {clusters} is not known; it \
             counts as soon as a cluster is seen to run it"
        ),
    }
}

/// Notes about who runs what a Dependency names, apart from those about its own text.
pub(super) fn of_destinations(cluster: &ClusterName, id: &ObjectId) -> NoteSource {
    NoteSource::Fleet(format!("destinations of {}", id.in_cluster(cluster)))
}
