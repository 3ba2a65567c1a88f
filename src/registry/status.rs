//! How fresh the picture of each cluster is.

use std::sync::Arc;

use crate::model::{ClusterName, GatewayAddress, Kind, ReadCause};

/// How fresh one kind of one cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindState {
    /// Not listed yet.
    Loading,
    /// Listed and watched.
    Synced,
    /// The cluster does not serve the kind, and need not.
    Absent,
    /// Was listed, cannot be read now; what is known stays in force.
    Stale {
        /// Since when, in Unix seconds.
        since_seconds: i64,
        /// Why.
        cause: ReadCause,
        /// Why, in words, and what to do about it.
        reason: String,
    },
    /// Never could be listed. It counts as unknown, not as empty.
    Unreadable {
        /// Since when, in Unix seconds.
        since_seconds: i64,
        /// Why.
        cause: ReadCause,
        /// Why, in words, and what to do about it.
        reason: String,
    },
}

impl KindState {
    /// Whether a whole list was seen once.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Synced | Self::Absent | Self::Stale { .. })
    }
}

/// One cluster, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Its name.
    pub name: ClusterName,
    /// How fresh each kind is.
    pub kinds: Vec<(Kind, KindState)>,
    /// Regions of its nodes, the most frequent first.
    pub regions: Vec<Arc<str>>,
    /// Its network.
    pub network: Option<Arc<str>>,
    /// The clusters whose istiods serve it; empty where its own does.
    pub control_planes: Vec<ClusterName>,
    /// Where other clusters reach it.
    pub gateway: Option<GatewayAddress>,
    /// Number of workloads that belong to a service.
    pub workloads: usize,
    /// Number of services that run there.
    pub services: usize,
    /// Number of managed objects.
    pub written: usize,
}
