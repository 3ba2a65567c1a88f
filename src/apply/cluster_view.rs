//! What the writers read of the registry and report to it, as a trait, so that writers are tested without a registry.

use std::sync::Arc;

use crate::{
    model::{ClusterName, Note, ObjectId, WorkKey, Written},
    registry::{NoteSource, Registry},
};

/// The observed state that writes are compared with, and where their answers are reported.
pub trait ClusterView: Send + Sync + 'static {
    /// The objects of a unit in a cluster: managed objects, and users' Sidecars with hosts of Tradewind.
    fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>>;
    /// Any object of a cluster, whoever made it.
    fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>>;
    /// The hand-written entry for a host because of which `wanted` is not created in a cluster.
    fn entry_in_the_way(&self, cluster: &ClusterName, wanted: &ObjectId, host: &str) -> Option<ObjectId>;
    /// Number of managed objects in a cluster.
    fn owned_count(&self, cluster: &ClusterName) -> usize;
    /// Whether a cluster belongs to the fleet.
    fn has_cluster(&self, cluster: &ClusterName) -> bool;
    /// Whether the objects of a cluster are known, so that plans can be compared with them.
    fn can_write(&self, cluster: &ClusterName) -> bool;
    /// Whether a cluster as a whole cannot be read now.
    fn is_unreachable(&self, cluster: &ClusterName) -> bool;
    /// Whether everything is known that a removal depends on.
    fn may_remove(&self, cluster: &ClusterName) -> bool;
    /// Whether Tradewind writes to no cluster.
    fn is_read_only(&self) -> bool;
    /// Whether the objects of a unit in a cluster are left unchanged.
    fn is_suspended(&self, cluster: &ClusterName, unit: &WorkKey) -> bool;
    /// Whether a namespace exists; `None` when that is not known.
    fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool>;
    /// The answer to a write, ahead of the watch.
    fn wrote(&self, cluster: &ClusterName, written: Written);
    /// The answer to a delete, ahead of the watch.
    fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId);
    /// Marks a unit, so that it is planned again.
    fn mark(&self, unit: WorkKey);
    /// Replaces the writer's notes about an object.
    fn note(&self, cluster: &ClusterName, id: &ObjectId, notes: Vec<Note>);
}

impl ClusterView for Registry {
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
