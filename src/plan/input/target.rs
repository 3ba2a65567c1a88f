//! The clusters that should hold the objects of a service, and why.

use std::{collections::BTreeSet, sync::Arc};

use crate::model::{ClusterName, Identity};

/// A cluster that should hold the service's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub cluster: ClusterName,
    /// Why it should, for each cluster whose proxies read these objects.
    pub reasons: BTreeSet<TargetReason>,
    /// The clusters whose proxies read these objects, sorted: itself, or those that its istiod serves.
    pub served_clusters: Vec<ServedCluster>,
    /// The regions of the readers' nodes, the most frequent first; empty when unknown.
    pub regions: Vec<Arc<str>>,
    /// Whether nodes of a reader were never read.
    pub nodes_unread: bool,
    /// The network of all readers, where the pods of others are reached directly.
    pub network: Option<Arc<str>>,
    /// Namespaces there that run the service's identity.
    pub identity_namespaces: Vec<Arc<str>>,
    /// Namespaces there that run a dependent of it.
    pub dependent_namespaces: Vec<Arc<str>>,
}

/// Why a cluster should hold the objects of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetReason {
    /// It runs the service, or did when it could be read.
    Runs,
    /// It runs identities that declare to call the service.
    Dependents(BTreeSet<Identity>),
    /// Nobody declares to call the service, so every cluster may.
    Undeclared,
    /// Its objects stand there, and who depends on the service there cannot be read.
    DependentsUnread,
    /// A cluster that reads its objects there cannot be read: they are to be left as they are.
    ReaderUnread,
}

/// A cluster whose proxies read the objects of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServedCluster {
    /// Its name.
    pub cluster: ClusterName,
    /// The network that it is in.
    pub network: Option<Arc<str>>,
}

impl Target {
    /// Whether what stands there is to be left as it is, because a cluster that reads it cannot be read now.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.reasons.contains(&TargetReason::ReaderUnread)
    }

    /// Whether the proxies of that cluster read its objects.
    #[must_use]
    pub fn is_read_in(&self, cluster: &ClusterName) -> bool {
        self.served_clusters.iter().any(|reader| reader.cluster == *cluster)
    }

    /// Whether those of that cluster do, and no others.
    #[must_use]
    pub fn is_read_only_in(&self, cluster: &ClusterName) -> bool {
        matches!(self.served_clusters.as_slice(), [reader] if reader.cluster == *cluster)
    }

    /// Whether it is what nearly every cluster is: read by its own proxies, and by no others.
    #[must_use]
    pub fn is_its_own(&self) -> bool {
        !self.is_frozen() && self.is_read_only_in(&self.cluster)
    }
}
