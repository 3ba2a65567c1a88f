//! What runs where: a value that objects are pushed into and snapshots are taken from.
mod snapshot;
use crate::{config::Settings, model::*};
pub use snapshot::{Backend, BackendPort, Claim, ClientNamespace, ServiceSnapshot, Source, Target};
use std::sync::Arc;

/// What is planned at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A service, in all clusters.
    Service(ServiceKey),
    /// The Sidecar of one client namespace of one cluster.
    Sidecar(ClusterName, Arc<str>),
}

/// The registry.
#[derive(Debug)]
pub struct Registry {
    _s: Arc<Settings>,
}

#[allow(unused, missing_docs, clippy::todo, clippy::missing_panics_doc, clippy::must_use_candidate)]
impl Registry {
    pub fn new(settings: Arc<Settings>) -> Self {
        todo!()
    }
    pub fn settings(&self) -> &Arc<Settings> {
        todo!()
    }
    // ---- fleet side ----
    /// A cluster joins (idempotent). It is Loading until each kind was reset once.
    pub fn register(&self, cluster: &ClusterName) {
        todo!()
    }
    /// A cluster leaves: its endpoints leave the others.
    pub fn deregister(&self, cluster: &ClusterName) {
        todo!()
    }
    /// The whole set of clusters has been listed once.
    pub fn fleet_listed(&self) {
        todo!()
    }
    pub fn apply(&self, cluster: &ClusterName, object: Observed) {
        todo!()
    }
    pub fn delete(&self, cluster: &ClusterName, id: &ObjectId) {
        todo!()
    }
    /// A complete list of one kind (InitDone): replaces all, marks the kind Synced.
    pub fn reset(&self, cluster: &ClusterName, kind: Kind, objects: Vec<Observed>) {
        todo!()
    }
    /// The kind can't be read now (list or watch failed). Keeps all that is known. `now` in Unix seconds.
    pub fn unreadable(&self, cluster: &ClusterName, kind: Kind, reason: &str, now_seconds: i64) {
        todo!()
    }
    /// The kind is readable (again) without a new list (a watch resumed).
    pub fn readable(&self, cluster: &ClusterName, kind: Kind) {
        todo!()
    }
    /// An object that doesn't parse: last good form stays, a note is kept until it parses or goes.
    pub fn malformed(&self, cluster: &ClusterName, id: ObjectId, reason: &str) {
        todo!()
    }
    // ---- controller side ----
    pub fn take_dirty(&self) -> Vec<Unit> {
        todo!()
    }
    pub async fn dirty(&self) {
        todo!()
    }
    pub fn mark(&self, unit: Unit) {
        todo!()
    }
}
