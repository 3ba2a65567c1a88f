//! Planning: a service and its policies → the objects wanted in each cluster.
//!
//! Total, pure and deterministic: a bad policy yields a note and the rest is planned; the same
//! snapshot gives byte-equal objects. Nothing here knows what stands in a cluster, so nothing
//! here decides what is written or removed.

mod checks;
mod destination_rule;
mod endpoints;
mod export;
mod hosts;
mod policy;
mod ports;
mod service_entry;
mod sidecar;
mod weights;

use serde::Serialize;

pub use checks::violations;
pub use sidecar::{SidecarWant, sidecar};

use crate::{
    config::Settings,
    istio::{DestinationRule, ServiceEntry},
    model::{ClusterName, Host, Note, NoteKind, ObjectRef, ServiceKey},
    registry::{Claim, ServiceSnapshot},
};
use hosts::WantedHost;

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
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedEndpoint {
    /// The cluster it leads to.
    pub cluster: ClusterName,
    /// `address:port` of the main port.
    pub address: String,
    /// True locality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Percent of the traffic of its host while all of tier 0 is healthy; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<f64>,
    /// 0 gets traffic first; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
    /// In words.
    pub reason: String,
}

/// The hosts that a service asks for, the default host first.
#[must_use]
pub fn hosts(snapshot: &ServiceSnapshot, settings: &Settings) -> Vec<Host> {
    if snapshot.sources.is_empty() {
        return Vec::new();
    }
    let chosen = policy::choose(&snapshot.policies, &settings.priority_key).map(|(_, policy)| policy);
    let (hosts, _) = hosts::wanted(snapshot, chosen.map(|policy| &**policy), settings);
    hosts.into_iter().map(|wanted| wanted.host).collect()
}

/// The plan of a service, given who holds each of its [`hosts`] and with which address.
#[must_use]
pub fn plan(snapshot: &ServiceSnapshot, claims: &[Claim], settings: &Settings) -> ServicePlan {
    let key = &snapshot.key;
    let mut notes = snapshot.notes.clone();
    if let Some(policy) = &snapshot.unreadable_policy {
        notes.push(unreadable(policy, key));
        return ServicePlan { key: key.clone(), clusters: Vec::new(), notes, held: true };
    }
    if snapshot.sources.is_empty() {
        return ServicePlan { key: key.clone(), clusters: Vec::new(), notes, held: false };
    }
    let chosen = policy::choose(&snapshot.policies, &settings.priority_key);
    notes.extend(policy::outranked(&snapshot.policies, chosen, key));
    let policy = chosen.map(|(_, policy)| &**policy);
    let (wanted, problems) = hosts::wanted(snapshot, policy, settings);
    let about_policy = |kind, message| Note {
        kind,
        object: match chosen {
            Some((cluster, policy)) => policy.id.in_cluster(cluster),
            None => first_workload(snapshot),
        },
        service: Some(key.clone()),
        message,
    };
    let about_service =
        |kind, message| Note { kind, object: first_workload(snapshot), service: Some(key.clone()), message };
    let has_host = !wanted.is_empty();
    notes.extend(
        problems.into_iter().map(
            |(kind, message)| {
                if has_host { about_policy(kind, message) } else { about_service(kind, message) }
            },
        ),
    );

    let (ports, problems) = ports::published(&snapshot.sources, settings);
    notes.extend(problems.into_iter().map(|message| about_service(NoteKind::PortsDiffer, message)));

    let policy_label = chosen.map(|(cluster, policy)| {
        (policy.id.name.to_string(), format!("{cluster}/{}/{}", policy.id.namespace, policy.id.name))
    });
    let mut clusters: Vec<ClusterPlan> = Vec::new();
    for target in &snapshot.targets {
        let export_to = export::namespaces(snapshot, target, settings);
        let mut planned = Vec::new();
        for WantedHost { host, is_default, entry } in &wanted {
            let Some(claim) = claims.iter().find(|claim| claim.host == *host) else { continue };
            if claim.taken_by.is_some() {
                continue;
            }
            let shares = weights::shares(entry.as_ref().map(|entry| &entry.entry), snapshot, policy);
            let (endpoints, tiered) = endpoints::place(snapshot, target, &shares, &ports, settings);
            if endpoints.is_empty() {
                continue;
            }
            let common = service_entry::Common {
                key,
                host,
                policy: policy_label.as_ref().map(|(name, path)| (name.as_str(), path.as_str())),
                dns_prefix: entry.as_ref().map(|entry| entry.entry.dns_prefix.trim()),
                export_to: &export_to,
            };
            let service_entry = service_entry::build(&common, &ports, &endpoints, claim.address, settings);
            let destination_rule = destination_rule::build(
                &common,
                *is_default,
                target,
                &shares,
                entry.as_ref().map(|entry| &entry.entry),
                &service_entry.spec.endpoints,
                settings,
            );
            planned.push(HostPlan {
                host: host.clone(),
                service_entry,
                destination_rule,
                tiered,
                endpoints: endpoints.into_iter().map(|endpoint| endpoint.planned).collect(),
            });
        }
        if !planned.is_empty() {
            clusters.push(ClusterPlan { cluster: target.cluster.clone(), hosts: planned });
        }
    }
    for (host, holder) in claims.iter().filter_map(|claim| Some((&claim.host, claim.taken_by.as_ref()?))) {
        let message = format!("the host {host} belongs to the service {holder}; {key} is not published under it");
        let is_default = wanted.first().is_some_and(|default| default.host == *host);
        notes.push(if is_default {
            about_service(NoteKind::HostTaken, message)
        } else {
            about_policy(NoteKind::HostTaken, message)
        });
    }
    for wanted in &wanted {
        let entry = wanted.entry.as_ref().map(|entry| &entry.entry);
        let shares = weights::shares(entry, snapshot, policy);
        let messages = weights::problems(entry, &shares, snapshot, settings);
        notes.extend(messages.into_iter().map(|message| {
            about_policy(NoteKind::PolicyQuestionable, format!("for the host {}: {message}", wanted.host))
        }));
    }
    let mut plan = ServicePlan { key: key.clone(), clusters, notes, held: false };
    refuse_violations(&mut plan);
    plan.notes.sort();
    plan.notes.dedup();
    plan
}

/// A plan that breaks an invariant is a defect of Tradewind: it is reported and not written.
fn refuse_violations(plan: &mut ServicePlan) {
    let broken = violations(plan);
    if broken.is_empty() {
        return;
    }
    plan.held = true;
    for (cluster, host, message) in broken {
        plan.notes.push(Note {
            kind: NoteKind::PlanRefused,
            object: ObjectRef {
                cluster,
                kind: "ServiceEntry".into(),
                namespace: String::new(),
                name: host.service_entry_name(),
            },
            service: Some(plan.key.clone()),
            message,
        });
    }
    plan.clusters.clear();
}

fn unreadable(policy: &str, key: &ServiceKey) -> Note {
    let mut parts = policy.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let cluster = ClusterName::parse(part()).unwrap_or_else(|_| ClusterName::hub());
    Note {
        kind: NoteKind::PolicyUnreadable,
        object: ObjectRef {
            cluster,
            kind: "GlobalTrafficPolicy".into(),
            namespace: part().into(),
            name: part().into(),
        },
        service: Some(key.clone()),
        message: format!("was in force for {key} and cannot be read now; the objects of {key} stay as they are"),
    }
}

fn first_workload(snapshot: &ServiceSnapshot) -> ObjectRef {
    let source = &snapshot.sources[0];
    let (namespace, name) = source
        .services
        .first()
        .map_or((String::new(), String::new()), |backend| (backend.namespace.to_string(), backend.service.to_string()));
    ObjectRef { cluster: source.cluster.clone(), kind: "Service".into(), namespace, name }
}
