//! DependencyProxy → VirtualServices that lead the hosts of a destination to its proxy. Admiral declares the kind and
//! has no code for it (Admiral, docs/admiral-behaviour.md#dependencyproxy).
//!
//! They belong to the proxy's service and stand in the clusters where the clients of the destination run.

use serde_json::json;

use super::{PlanContext, ServicePlan, export, ports::MAIN_PORT};
use crate::{
    istio::{Object, Opaque},
    model::{Note, NoteKind},
    plan::input::{Proxied, Target},
};

/// How their names end, behind the first host: nothing else that stands in the sync namespace is called so.
const NAME_SUFFIX: &str = "-proxy-vs";

/// Adds the VirtualServices for which the service is the proxy.
pub(super) fn add(decided: &PlanContext<'_>, plan: &mut ServicePlan) {
    let Some(host) = decided.governed.first().map(|governed| &governed.wanted.host) else { return };
    for proxied in &decided.snapshot.routing.proxied {
        if let Some(problem) = &proxied.problem {
            let problem = note(proxied, plan, NoteKind::HostTaken, problem.clone());
            plan.notes.push(problem);
            continue;
        }
        let mut unreached = Vec::new();
        let is_meant = |target: &&Target| !target.frozen && proxied.clusters.contains(&target.cluster);
        for target in decided.snapshot.targets.iter().filter(is_meant) {
            let published = plan.clusters.iter().find(|planned| planned.cluster == target.cluster);
            if !published.is_some_and(|planned| planned.hosts.iter().any(|planned| planned.host == *host)) {
                unreached.push(target.cluster.to_string());
                continue;
            }
            let mut spec = json!({
                "hosts": proxied.hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(),
                "http": [{"route": [{"destination": {"host": host.as_str(), "port": {"number": MAIN_PORT}}}]}],
            });
            let export_to = export::namespaces(decided.snapshot, target, decided.settings);
            if !export_to.is_empty() {
                spec["exportTo"] = json!(export_to);
            }
            let name = format!("{}{NAME_SUFFIX}", proxied.hosts[0].as_str());
            let metadata =
                super::metadata(&decided.snapshot.key, name, &decided.settings.sync_namespace, decided.settings);
            plan.cluster_mut(&target.cluster).others.push(Object::VirtualService(Opaque { metadata, spec }));
        }
        if !unreached.is_empty() {
            let message = format!(
                "the proxy's host {host} is not published in {}; there its hosts lead nowhere",
                unreached.join(", ")
            );
            let problem = note(proxied, plan, NoteKind::DependencyQuestionable, message);
            plan.notes.push(problem);
        }
    }
}

fn note(proxied: &Proxied, plan: &ServicePlan, kind: NoteKind, message: String) -> Note {
    Note { kind, object: proxied.id.in_cluster(&proxied.cluster), service: Some(plan.key.clone()), message }
}
