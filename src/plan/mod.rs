//! Planning: a service and its policies → the objects wanted in each cluster. Pure.
use crate::{
    config::Settings,
    istio::{DestinationRule, ServiceEntry},
    model::*,
    registry::{Claim, ServiceSnapshot},
};
use std::sync::Arc;

/// All that is wanted for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// The service.
    pub key: ServiceKey,
    /// Per cluster, sorted; a cluster that is missing should hold nothing of the service.
    pub clusters: Vec<ClusterPlan>,
    /// What its owners should know.
    pub notes: Vec<Note>,
    /// Whether the service must be left exactly as it is (nothing written, nothing removed).
    pub held: bool,
}

/// What one cluster should hold of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// One per host, the default host first.
    pub hosts: Vec<HostPlan>,
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
    /// Why each endpoint is there, in the order of the ServiceEntry's endpoints.
    pub endpoints: Vec<PlannedEndpoint>,
}

/// Why an endpoint is there and what traffic it gets.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PlannedEndpoint {
    /// The cluster it leads to.
    pub cluster: ClusterName,
    /// `address:port` of the main port.
    pub address: String,
    /// True locality.
    pub locality: Option<String>,
    /// Percent of the traffic of its host while all of tier 0 is healthy; absent where locality decides.
    pub share_percent: Option<f64>,
    /// 0 gets traffic first; absent where locality decides.
    pub tier: Option<u32>,
    /// In words.
    pub reason: String,
}

/// Hosts a service asks for.
#[allow(clippy::todo, missing_docs)]
pub fn hosts(_s: &ServiceSnapshot, _settings: &Settings) -> Vec<Host> {
    todo!()
}
/// The plan.
#[allow(clippy::todo, missing_docs)]
pub fn plan(_s: &ServiceSnapshot, _claims: &[Claim], _settings: &Settings) -> ServicePlan {
    todo!()
}
#[allow(unused)]
type X = Arc<str>;
