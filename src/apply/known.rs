//! What writing reads of the registry, and what it tells it. Named here so that the writer is tested without one.

use std::sync::Arc;

use crate::{
    model::{ClusterName, Note, ObjectId, WorkKey, Written},
    registry::{NoteSource, Registry},
};

/// The picture that writes are compared with.
pub trait Known: Send + Sync + 'static {
    /// What stands in a cluster for a unit: ours, and users' Sidecars that hold hosts of ours.
    fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>>;
    /// Any object of a cluster, whoever made it.
    fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>>;
    /// The hand-written entry in a cluster beside which `wanted` is not made for a host.
    fn entry_in_the_way(&self, cluster: &ClusterName, wanted: &ObjectId, host: &str) -> Option<ObjectId>;
    /// Number of objects of ours in a cluster.
    fn owned_count(&self, cluster: &ClusterName) -> usize;
    /// Whether a cluster belongs to the fleet.
    fn has_cluster(&self, cluster: &ClusterName) -> bool;
    /// Whether what stands in a cluster is known, so that it can be compared with.
    fn can_write(&self, cluster: &ClusterName) -> bool;
    /// Whether a cluster as a whole cannot be read now.
    fn is_unreachable(&self, cluster: &ClusterName) -> bool;
    /// Whether all is known that a removal rests on.
    fn may_remove(&self, cluster: &ClusterName) -> bool;
    /// Whether nothing is to be written anywhere.
    fn is_read_only(&self) -> bool;
    /// Whether what stands of a unit in a cluster is to be left as it is.
    fn is_suspended(&self, cluster: &ClusterName, unit: &WorkKey) -> bool;
    /// Whether a namespace is there; absent when unknown.
    fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool>;
    /// The answer to a write, ahead of the watch.
    fn wrote(&self, cluster: &ClusterName, written: Written);
    /// The answer to a delete, ahead of the watch.
    fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId);
    /// The unit has to be planned again.
    fn mark(&self, unit: WorkKey);
    /// Replaces what the writer has to say of an object.
    fn note(&self, cluster: &ClusterName, id: &ObjectId, notes: Vec<Note>);
}

impl Known for Registry {
    fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>> {
        self.outputs().written_of(cluster, unit)
    }

    fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.outputs().written(cluster, id)
    }

    fn entry_in_the_way(&self, cluster: &ClusterName, wanted: &ObjectId, host: &str) -> Option<ObjectId> {
        self.outputs().entry_in_the_way(cluster, wanted, host)
    }

    fn owned_count(&self, cluster: &ClusterName) -> usize {
        self.outputs().owned_count(cluster)
    }

    fn has_cluster(&self, cluster: &ClusterName) -> bool {
        self.queries().cluster_names().contains(cluster)
    }

    fn can_write(&self, cluster: &ClusterName) -> bool {
        self.outputs().can_write(cluster)
    }

    fn is_unreachable(&self, cluster: &ClusterName) -> bool {
        !self.queries().reads_in(cluster).split().0.is_empty()
    }

    fn may_remove(&self, cluster: &ClusterName) -> bool {
        self.outputs().may_remove(cluster)
    }

    fn is_read_only(&self) -> bool {
        self.outputs().is_read_only()
    }

    fn is_suspended(&self, cluster: &ClusterName, unit: &WorkKey) -> bool {
        self.outputs().is_suspended(cluster, unit)
    }

    fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool> {
        self.outputs().has_namespace(cluster, name)
    }

    fn wrote(&self, cluster: &ClusterName, written: Written) {
        Self::wrote(self, cluster, written);
    }

    fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId) {
        Self::wrote_delete(self, cluster, id);
    }

    fn mark(&self, unit: WorkKey) {
        Self::mark(self, [unit]);
    }

    fn note(&self, cluster: &ClusterName, id: &ObjectId, notes: Vec<Note>) {
        self.notes().put(NoteSource::Writer(cluster.clone(), id.clone()), notes);
    }
}
