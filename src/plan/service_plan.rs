//! The plan of a service in detail: each decision with the objects that come of it.

use super::decide::{EndpointView, HostDecision, ServiceDecision};
use crate::{
    istio::{DestinationRule, Object, ServiceEntry},
    model::{ClusterName, Host, ObjectId},
};

/// The plan of a service: what was decided, and the objects that say so.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// The decision.
    pub decision: ServiceDecision,
    /// Its objects, for each cluster of the decision.
    pub clusters: Vec<ClusterPlan>,
}

impl ServicePlan {
    /// The hosts of a cluster.
    pub fn hosts_in<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = PlannedHost<'a>> {
        let decided = self.decision.clusters.iter().zip(&self.clusters);
        let here = decided.filter(move |(_, plan)| plan.cluster == *cluster);
        here.flat_map(|(decided, plan)| decided.hosts.iter().zip(&plan.hosts))
            .map(|(decision, objects)| PlannedHost { decision, objects })
    }
}

/// One host in one cluster: what was decided, and the objects that say so.
#[derive(Debug, Clone, Copy)]
pub struct PlannedHost<'a> {
    /// The decision.
    pub decision: &'a HostDecision,
    /// Its objects.
    pub objects: &'a HostPlan,
}

impl PlannedHost<'_> {
    /// Its endpoints as they are shown, in the order of the ServiceEntry's.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointView> {
        let main_port = self.decision.ports.first().map_or("", |port| port.name.as_str());
        self.decision.endpoints.iter().map(|endpoint| endpoint.view(main_port))
    }
}

/// What one cluster should hold of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// One per host of the decision, in its order.
    pub hosts: Vec<HostPlan>,
    /// Objects beside those of the hosts, sorted.
    pub others: Vec<Object>,
    /// Managed objects that stay as they are, because their reason cannot be read now.
    pub kept: Vec<ObjectId>,
}

/// The pair of objects for one host in one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlan {
    /// The host.
    pub host: Host,
    /// Its ServiceEntry.
    pub service_entry: ServiceEntry,
    /// Its DestinationRule.
    pub destination_rule: DestinationRule,
    /// Whether endpoint localities are tiers: then the DestinationRule must be there before the ServiceEntry, and leave after it.
    pub tiered: bool,
}
