//! What must never be written, checked on every plan: a violation is a defect of Tradewind, not of a policy.

use std::collections::BTreeSet;

use super::{HostPlan, ServicePlan};
use crate::model::{ClusterName, Host, Kind, Note, NoteKind, ObjectPath};

/// The invariants that a plan breaks: where, and what. Empty for every plan that Tradewind should make.
#[must_use]
pub fn violations(plan: &ServicePlan) -> Vec<(ClusterName, Host, String)> {
    let mut found = Vec::new();
    for cluster in &plan.clusters {
        let mut hosts = BTreeSet::new();
        for host in &cluster.hosts {
            let mut messages = of_host(host);
            if !hosts.insert(&host.host) {
                messages.push("the host is planned twice".into());
            }
            found.extend(messages.into_iter().map(|message| (cluster.cluster.clone(), host.host.clone(), message)));
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
    plan.held = true;
    for (cluster, host, message) in broken {
        plan.notes.push(Note {
            kind: NoteKind::PlanRefused,
            object: ObjectPath::new(&cluster, Kind::ServiceEntry, "", &host.service_entry_name()),
            service: Some(plan.key.clone()),
            message,
        });
    }
    plan.clusters.clear();
}

fn of_host(plan: &HostPlan) -> Vec<String> {
    let mut messages = Vec::new();
    let mut must = |holds: bool, message: &str| {
        if !holds {
            messages.push(message.to_owned());
        }
    };
    let entry = &plan.service_entry.spec;
    let rule = &plan.destination_rule.spec;
    must(entry.hosts == [plan.host.to_string()] && rule.host == plan.host.as_str(), "the objects are for another host");
    must(!entry.endpoints.is_empty(), "there is no endpoint");
    must(entry.endpoints.iter().all(|endpoint| !endpoint.address.is_empty()), "an endpoint has no address");
    must(entry.endpoints.len() == plan.endpoints.len(), "an endpoint has no reason");
    let names: BTreeSet<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    let numbers: BTreeSet<u16> = entry.ports.iter().map(|port| port.number).collect();
    must(names.len() == entry.ports.len() && numbers.len() == entry.ports.len(), "two ports share a name or a number");
    must(
        entry.endpoints.iter().all(|endpoint| names.iter().all(|name| endpoint.ports.contains_key(*name))),
        "an endpoint lacks a port",
    );
    let distinct: BTreeSet<_> =
        entry.endpoints.iter().map(|e| (&e.address, &e.ports, &e.locality, &e.network)).collect();
    must(distinct.len() == entry.endpoints.len(), "two endpoints are the same");
    let locality = rule.traffic_policy.load_balancer.locality_lb_setting.as_ref();
    let (distribute, failover) = locality.map_or((&[][..], &[][..]), |l| (&l.distribute[..], &l.failover[..]));
    must(distribute.is_empty() || failover.is_empty(), "distribute and failover stand together, which Istio refuses");
    must(failover.iter().all(|failover| failover.from != failover.to), "failover leads to where it comes from");
    must(
        distribute.iter().all(|distribute| distribute.to.values().sum::<u32>() == 100),
        "the shares of distribute do not sum to 100, which Istio refuses",
    );
    must(plan.tiered != failover.is_empty(), "tiers and failover do not belong together");
    let weighted = entry.endpoints.iter().filter(|endpoint| endpoint.weight > 0).count();
    must(
        weighted == 0 || weighted == entry.endpoints.len(),
        "weights stand on some endpoints and are missing on others",
    );
    must(!plan.tiered || weighted > 0, "weights are missing with tiers");
    messages
}
