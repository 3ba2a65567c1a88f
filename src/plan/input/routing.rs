//! What decides the objects of a service that no host of it has: its clients, its proxies and the VirtualServices of users.

use std::{collections::BTreeSet, sync::Arc};

use super::ServiceInput;
use crate::model::{ClusterName, Host, ObjectId, Route};

/// What decides objects that belong to no single host. Every list is sorted.
#[derive(Debug, Clone, Default)]
pub struct RoutingInputs {
    /// The clients that depend on the service, by cluster, as the oldest workload spells each. Empty without RoutingPolicy.
    pub clients: Vec<(ClusterName, String)>,
    /// Where none is known: the clusters that may run some, because they were never read, in words.
    pub clients_unread: Option<String>,
    /// The DependencyProxies for which the service is the proxy.
    pub proxied: Vec<Proxied>,
    /// A user's VirtualService for a host of the identity, in a cluster that runs it.
    pub users_route: Option<(ClusterName, ObjectId)>,
    /// Whether the VirtualServices or workloads of a cluster that runs the identity are not known, so that such a route may be missed.
    pub routes_unknown: bool,
    /// Users' VirtualServices that are merged into those of the clusters.
    pub custom: Vec<(ClusterName, Arc<Route>)>,
    /// Managed objects of which it cannot be read now whether they are still wanted.
    pub origin_unread: Vec<(ClusterName, ObjectId)>,
}

/// A DependencyProxy for which a service is the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// Where it was read.
    pub cluster: ClusterName,
    /// Which object.
    pub id: ObjectId,
    /// The hosts that lead to the proxy, the one without prefix first.
    pub hosts: Vec<Host>,
    /// The clusters that run clients of the destination.
    pub clusters: BTreeSet<ClusterName>,
    /// Why it has no effect, in words.
    pub problem: Option<String>,
}

/// One namespace of one cluster with the services that run there: what decides the rules for all Services of it.
#[derive(Debug, Clone)]
pub struct RuledNamespace {
    /// The cluster.
    pub cluster: ClusterName,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The services with workloads there, sorted.
    pub services: Vec<ServiceInput>,
    /// The namespace of its Istio, where the rules belong.
    pub istio_namespace: Arc<str>,
    /// What names of the cluster end with.
    pub domain: Arc<str>,
    /// The managed rules that are written there.
    pub written: Vec<ObjectId>,
}
