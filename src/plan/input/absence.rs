//! Clusters that may run a service in a region to which a policy gives traffic, although it is not seen to run there.

use std::sync::Arc;

use crate::model::{ClusterName, ObjectId};

/// A cluster that is no source of a service, and that may run it all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absence {
    /// Its name.
    pub cluster: ClusterName,
    /// The regions of its nodes, the most frequent first; empty when unknown.
    pub regions: Vec<Arc<str>>,
    /// Why it is no source.
    pub why: AbsenceReason,
}

/// Why a cluster is no source of a service that it may run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbsenceReason {
    /// Its first lists have not come yet.
    Loading,
    /// What runs there was never read.
    Unread,
    /// This workload of the service runs there and makes no endpoint, mostly because no Service leads to it.
    NoEndpoint(ObjectId),
    /// This workload of the service runs there without a sidecar, so that it does not count.
    LeftOut(ObjectId),
}
