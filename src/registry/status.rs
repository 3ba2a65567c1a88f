//! How fresh the picture of each cluster is.

use std::sync::Arc;

use serde::Serialize;

use crate::model::{ClusterName, GatewayAddress, Kind, ReadCause};

/// How fresh one kind of one cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Its name.
    pub name: ClusterName,
    /// How fresh each kind is.
    pub kinds: Vec<(Kind, KindState)>,
    /// Regions of its nodes, the most frequent first.
    pub regions: Vec<Arc<str>>,
    /// Its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Arc<str>>,
    /// The clusters whose istiods serve it; empty where its own does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_planes: Vec<ClusterName>,
    /// Where other clusters reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayAddress>,
    /// Number of workloads that belong to a service.
    pub workloads: usize,
    /// Number of services that run there.
    pub services: usize,
    /// Number of objects of ours.
    pub written: usize,
}
