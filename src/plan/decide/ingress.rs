//! Routing at the gateways of the clusters that run a service: server names of its hosts lead to the cluster's own Services
//! (Admiral, docs/admiral-behaviour.md#ingress-routing).
//!
//! Off by default. It never leads to another cluster: what comes through a gateway has already been shared among clusters.

use super::{
    Context,
    decision::{IngressRoute, RouteDecision, ServerNameRule, ServiceDecision},
    in_cluster::{destinations, has_services_alone},
    shares::Share,
};
use crate::{config::Settings, model::ClusterName};

/// Whether the gateways of a cluster route.
pub(super) fn is_enabled(cluster: &ClusterName, settings: &Settings) -> bool {
    settings.enable_vs_routing && !settings.vs_routing_disabled_clusters.iter().any(|name| name == cluster.as_str())
}

/// The namespaces of the gateways that route.
pub(super) fn visible_in(istio_namespace: &str, settings: &Settings) -> Vec<String> {
    match settings.ingress_vs_export_to_namespaces.as_slice() {
        [] => vec![istio_namespace.to_owned()],
        known => known.to_vec(),
    }
}

/// Adds the routes of a service to its decision.
pub(super) fn add(context: &Context<'_>, decision: &mut ServiceDecision) {
    let (service, settings) = (context.service, context.settings);
    let Some(main) = context.main_host() else { return };
    // The gateways of several clusters would all lead to the Services of one.
    let is_alone = |cluster: &&ClusterName| {
        service.targets.iter().any(|target| target.cluster == **cluster && target.is_its_own())
    };
    let here = service.sources.iter().map(|source| &source.cluster).filter(is_alone);
    for cluster in here.filter(|cluster| is_enabled(cluster, settings)) {
        let mut rules = rules(context, cluster);
        if rules.is_empty() {
            continue;
        }
        rules.sort_by(|a, b| a.server_name.cmp(&b.server_name));
        let visible_in = visible_in(service.istio_namespaces.of(cluster), settings);
        let route = IngressRoute { main: main.clone(), rules, visible_in };
        let decided = decision.cluster_mut(cluster, &service.istio_namespaces);
        decided.routes.push(RouteDecision::Ingress(route));
    }
}

fn rules(context: &Context<'_>, cluster: &ClusterName) -> Vec<ServerNameRule> {
    let mut rules = Vec::new();
    for host in context.published() {
        let source = context.source_of(host, cluster).filter(|source| has_services_alone(source));
        let Some(source) = source else { continue };
        let name = &host.wanted.host;
        rules.extend(context.view(host).ports.iter().map(|port| ServerNameRule {
            server_name: format!("outbound_.{}_._.{name}", port.number),
            destinations: destinations(source, port, Share::ALL, name),
        }));
    }
    rules
}
