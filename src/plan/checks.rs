//! What must never be written, checked on every plan: a violation is a defect of Tradewind, not of a policy.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{HostPlan, ServicePlan};
use crate::{
    istio::{DestinationRuleSpec, ServiceEntrySpec},
    model::{ClusterName, Host, Kind, Note, NoteKind, ObjectPath},
};

/// An invariant that a plan breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// One host has two pairs of objects in one cluster.
    #[error("the host is planned twice")]
    HostTwice,
    /// The pair of a host is for another host.
    #[error("the objects are for another host")]
    OtherHost,
    /// A host without endpoints.
    #[error("there is no endpoint")]
    NoEndpoint,
    /// An endpoint without an address.
    #[error("an endpoint has no address")]
    NoAddress,
    /// Two ports with one name or one number.
    #[error("two ports share a name or a number")]
    PortTwice,
    /// A port that an endpoint does not have.
    #[error("an endpoint lacks a port")]
    PortMissing,
    /// One endpoint twice.
    #[error("two endpoints are the same")]
    EndpointTwice,
    /// Istio refuses that.
    #[error("distribute and failover stand together, which Istio refuses")]
    DistributeWithFailover,
    /// Istio refuses that.
    #[error("failover leads to where it comes from")]
    FailoverToItself,
    /// Istio refuses that.
    #[error("the shares of distribute do not sum to 100, which Istio refuses")]
    SharesNot100,
    /// Tiers without failover, or failover without tiers.
    #[error("tiers and failover do not belong together")]
    TiersWithoutFailover,
    /// Weighted and unweighted endpoints of one host.
    #[error("weights stand on some endpoints and are missing on others")]
    SomeWeightsMissing,
    /// Tiers without weights.
    #[error("weights are missing with tiers")]
    NoWeights,
}

/// The invariants that a plan breaks: where, and what. Empty for every plan that Tradewind should make.
#[must_use]
pub fn violations(plan: &ServicePlan) -> Vec<(ClusterName, Host, Violation)> {
    let mut found = Vec::new();
    for cluster in &plan.clusters {
        let mut hosts = BTreeSet::new();
        for host in &cluster.hosts {
            let twice = (!hosts.insert(&host.host)).then_some(Violation::HostTwice);
            let broken = of_host(host).into_iter().chain(twice);
            found.extend(broken.map(|violation| (cluster.cluster.clone(), host.host.clone(), violation)));
        }
    }
    found
}

/// A plan that breaks an invariant is a defect of Tradewind: it is reported and not written.
pub(super) fn refuse(plan: &mut ServicePlan) {
    let broken = violations(plan);
    if broken.is_empty() {
        return;
    }
    let service = Some(plan.decision.key.clone());
    plan.decision.notes.extend(broken.into_iter().map(|(cluster, host, violation)| Note {
        kind: NoteKind::PlanRefused,
        object: ObjectPath::new(&cluster, Kind::ServiceEntry, "", &host.service_entry_name()),
        service: service.clone(),
        message: violation.to_string(),
    }));
    plan.decision.notes.sort();
    plan.decision.frozen = true;
    plan.decision.clusters.clear();
    plan.clusters.clear();
}

fn of_host(plan: &HostPlan) -> Vec<Violation> {
    let (entry, rule) = (&plan.service_entry.spec, &plan.destination_rule.spec);
    let is_its_own = entry.hosts == [plan.host.to_string()] && rule.host == plan.host.as_str();
    let own_host = (!is_its_own).then_some(Violation::OtherHost);
    own_host
        .into_iter()
        .chain(of_ports(entry))
        .chain(of_endpoints(entry))
        .chain(of_rule(entry, rule, plan.tiered))
        .collect()
}

fn of_ports(entry: &ServiceEntrySpec) -> impl Iterator<Item = Violation> {
    let names: BTreeSet<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    let numbers: BTreeSet<u16> = entry.ports.iter().map(|port| port.number).collect();
    let are_distinct = names.len() == entry.ports.len() && numbers.len() == entry.ports.len();
    let are_complete =
        entry.endpoints.iter().all(|endpoint| names.iter().all(|name| endpoint.ports.contains_key(*name)));
    broken([(are_distinct, Violation::PortTwice), (are_complete, Violation::PortMissing)])
}

fn of_endpoints(entry: &ServiceEntrySpec) -> impl Iterator<Item = Violation> {
    let endpoints = &entry.endpoints;
    let distinct: BTreeSet<_> = endpoints.iter().map(|e| (&e.address, &e.ports, &e.locality, &e.network)).collect();
    broken([
        (!endpoints.is_empty(), Violation::NoEndpoint),
        (endpoints.iter().all(|endpoint| !endpoint.address.is_empty()), Violation::NoAddress),
        (distinct.len() == endpoints.len(), Violation::EndpointTwice),
    ])
}

fn of_rule(entry: &ServiceEntrySpec, rule: &DestinationRuleSpec, tiered: bool) -> impl Iterator<Item = Violation> {
    let locality = rule.traffic_policy.load_balancer.locality_lb_setting.as_ref();
    let (distribute, failover) = locality.map_or((&[][..], &[][..]), |l| (&l.distribute[..], &l.failover[..]));
    let weighted = entry.endpoints.iter().filter(|endpoint| endpoint.weight > 0).count();
    broken([
        (distribute.is_empty() || failover.is_empty(), Violation::DistributeWithFailover),
        (failover.iter().all(|failover| failover.from != failover.to), Violation::FailoverToItself),
        (distribute.iter().all(|of| of.to.values().sum::<u32>() == 100), Violation::SharesNot100),
        (tiered != failover.is_empty(), Violation::TiersWithoutFailover),
        (weighted == 0 || weighted == entry.endpoints.len(), Violation::SomeWeightsMissing),
        (!tiered || weighted > 0, Violation::NoWeights),
    ])
}

fn broken<const N: usize>(rules: [(bool, Violation); N]) -> impl Iterator<Item = Violation> {
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, violation)| violation)
}
