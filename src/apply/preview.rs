//! What applying would do, without doing it: the same comparison, for people to read.

use serde_json::Value;

use super::{
    Desired,
    cluster_view::ClusterView,
    diff::{DiffInputs, Obstacle, diff},
    give_back, merge,
    write::{ObjectWrite, Verb, Write},
};
use crate::{
    istio::Object,
    model::{ClusterName, EgressHost, Note, ObjectId, WorkKey, Written},
};

/// One write that applying would make.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Of which object.
    pub id: ObjectId,
    /// What would be done.
    pub verb: Verb,
    /// The present object, as far as Tradewind decides it; `None` when there is none, or its content was not kept.
    pub before: Option<Value>,
    /// The object after the write; `None` when it would be removed.
    pub after: Option<Value>,
}

/// What applying would come to for one unit in one cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Previewed {
    /// What would be written, in the order of writing.
    pub writes: Vec<Preview>,
    /// The objects that would be left unchanged, and why.
    pub notes: Vec<Note>,
}

/// What would be written into a cluster for one unit, and what would not.
#[must_use]
pub fn preview(
    view: &dyn ClusterView,
    cluster: &ClusterName,
    unit: &WorkKey,
    desired: &Desired,
    adopt_admiral: bool,
) -> Previewed {
    let of_unit = view.written_of(cluster, unit);
    let changes = diff(
        desired,
        &DiffInputs {
            of_unit: &of_unit,
            find: &|id| view.written(cluster, id),
            in_the_way: &|id, host| view.entry_in_the_way(cluster, id, host),
            settled: &|_, _, _| false,
            adopt_admiral,
            may_remove: view.may_remove(cluster),
        },
    );
    let content = |written: &Written| written.content.as_ref().map(|object| object.manifest());
    let notes = changes.obstacles.into_iter().map(|Obstacle { id, kind, message }| Note {
        kind,
        object: id.in_cluster(cluster),
        service: unit.service().cloned(),
        message,
    });
    let notes = notes.collect();
    let writes = changes.groups.into_iter().flatten().map(|change| {
        let (id, verb) = (change.id(), change.verb());
        let (before, after) = match change {
            ObjectWrite::Create { object } => (None, Some(object.manifest())),
            ObjectWrite::Update { object, over } | ObjectWrite::TakeOver { object, over } => {
                (content(&over), Some(object.manifest()))
            }
            ObjectWrite::Merge { over, hosts } => (content(&over), with_hosts(&over, &hosts)),
            ObjectWrite::GiveBack { over } => (content(&over), given_back(&over)),
        };
        Preview { id, verb, before, after }
    });
    let removals = changes.removals.iter().map(|written| {
        let id = written.id.clone();
        match Write::removal(written) {
            Some(Write::Object(write)) => {
                Preview { id, verb: write.verb(), before: content(written), after: with_hosts(written, &[]) }
            }
            _ => Preview { id, verb: Verb::Delete, before: content(written), after: None },
        }
    });
    Previewed { writes: writes.chain(removals).collect(), notes }
}

/// An object without Tradewind's marks.
fn given_back(written: &Written) -> Option<Value> {
    // Labels and annotations of others are not kept of it.
    Some(give_back::bare(written.content.as_ref()?.manifest()))
}

/// A user's Sidecar with these hosts of Tradewind.
fn with_hosts(written: &Written, hosts: &[EgressHost]) -> Option<Value> {
    let sidecar = written.content.as_deref().filter(|content| matches!(content, Object::Sidecar(_)))?;
    merge::edited(&sidecar.manifest(), hosts).ok()
}
