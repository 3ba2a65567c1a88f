//! DependencyProxy → routes that lead the hosts of a destination to its proxy. Admiral declares the kind and has no code for it
//! (Admiral, docs/admiral-behaviour.md#dependencyproxy).
//!
//! They belong to the proxy's service, and apply in the clusters where the clients of the destination run.

use super::{
    Context,
    decision::{ProxyRoute, RouteDecision, ServiceDecision},
    visibility,
};
use crate::{
    model::{DependencyFault, Host, Note, NoteKind},
    plan::input::{Proxied, Target},
};

/// Adds the routes for which the service is the proxy.
pub(super) fn add(context: &Context<'_>, decision: &mut ServiceDecision) {
    let Some(proxy) = context.hosts.first().map(|host| &host.wanted.host) else { return };
    for proxied in &context.service.routing.proxied {
        if let Some(problem) = &proxied.problem {
            decision.notes.push(note(context, proxied, NoteKind::HostTaken, problem.clone()));
            continue;
        }
        let unreached = add_routes(context, decision, proxied, proxy);
        if !unreached.is_empty() {
            let message = format!(
                "the proxy's host {proxy} is not published in {}; there its hosts lead nowhere",
                unreached.join(", ")
            );
            decision.notes.push(note(
                context,
                proxied,
                NoteKind::DependencyQuestionable(DependencyFault::Proxy),
                message,
            ));
        }
    }
}

/// Answers where the proxy's host is not published.
fn add_routes(context: &Context<'_>, decision: &mut ServiceDecision, proxied: &Proxied, proxy: &Host) -> Vec<String> {
    let service = context.service;
    let mut unreached = Vec::new();
    let has_clients = |target: &&Target| !target.is_frozen() && proxied.clusters.contains(&target.cluster);
    for target in service.targets.iter().filter(has_clients) {
        let published = decision.clusters.iter().find(|decided| decided.cluster == target.cluster);
        if !published.is_some_and(|decided| decided.hosts.iter().any(|host| host.host == *proxy)) {
            unreached.push(target.cluster.to_string());
            continue;
        }
        let route = ProxyRoute {
            proxy: proxy.clone(),
            hosts: proxied.hosts.clone(),
            visible_in: visibility::namespaces(service, target, context.settings),
        };
        let decided = decision.cluster_mut(&target.cluster, &service.istio_namespaces);
        decided.routes.push(RouteDecision::Proxy(route));
    }
    unreached
}

fn note(context: &Context<'_>, proxied: &Proxied, kind: NoteKind, message: String) -> Note {
    let service = Some(context.service.key.clone());
    Note { kind, object: proxied.id.in_cluster(&proxied.cluster), service, message }
}
