//! Routing at the gateways of the clusters that run a service: a VirtualService that leads the server names of its hosts to
//! the cluster's own Services (Admiral, docs/admiral-behaviour.md#ingress-routing).
//!
//! Off by default. It never leads to another cluster: what comes through a gateway has already been shared among clusters.

use serde_json::{Value, json};

use super::{
    PlanContext, ServicePlan,
    in_cluster::{destinations, has_services_alone},
    weights::Share,
};
use crate::{
    config::Settings,
    istio::{Object, Opaque, keys},
    model::ClusterName,
};

/// Port of the gateways (Admiral, docs/admiral-behaviour.md#ingress-routing).
const GATEWAY_PORT: u16 = 15443;
/// The part of the rules of a namespace under which gateways pass requests on as they are.
pub(super) const PASSTHROUGH_SUBSET: &str = "passthrough";

/// Whether the gateways of a cluster route.
pub(super) fn is_enabled(cluster: &ClusterName, settings: &Settings) -> bool {
    settings.enable_vs_routing && !settings.vs_routing_disabled_clusters.iter().any(|name| name == cluster.as_str())
}

/// The namespaces of the gateways that route.
pub(super) fn seen_by(istio_namespace: &str, settings: &Settings) -> Vec<String> {
    match settings.ingress_vs_export_to_namespaces.as_slice() {
        [] => vec![istio_namespace.to_owned()],
        known => known.to_vec(),
    }
}

/// Adds the VirtualServices of a service to its plan.
pub(super) fn add(decided: &PlanContext<'_>, plan: &mut ServicePlan) {
    let (snapshot, settings) = (decided.snapshot, decided.settings);
    let Some(main) = decided.main_host() else { return };
    // The gateways of several clusters would all lead to the Services of one.
    let is_alone = |cluster: &&ClusterName| {
        snapshot.targets.iter().any(|target| target.cluster == **cluster && target.is_its_own())
    };
    let here = snapshot.sources.iter().map(|source| &source.cluster).filter(is_alone);
    for cluster in here.filter(|cluster| is_enabled(cluster, settings)) {
        let mut routes: Vec<(String, Value)> = Vec::new();
        for governed in decided.published() {
            let source = decided.source_of(governed, cluster).filter(|source| has_services_alone(source));
            let Some(source) = source else { continue };
            let ports = &decided.views[&governed.wanted.variant].ports;
            for port in ports {
                let name = format!("outbound_.{}_._.{}", port.number, governed.wanted.host);
                let mut destinations = destinations(source, port, Share::ALL, &governed.wanted.host);
                for destination in &mut destinations {
                    destination["destination"]["subset"] = json!(PASSTHROUGH_SUBSET);
                }
                let route = json!({
                    "match": [{"port": GATEWAY_PORT, "sniHosts": [name]}],
                    "route": destinations,
                });
                routes.push((name, route));
            }
        }
        if routes.is_empty() {
            continue;
        }
        routes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (hosts, routes): (Vec<String>, Vec<Value>) = routes.into_iter().unzip();
        let spec = json!({
            "hosts": hosts,
            "gateways": settings.vs_routing_gateways,
            "exportTo": seen_by(snapshot.istio_namespaces.of(cluster), settings),
            "tls": routes,
        });
        let name = format!("{}-routing-vs", main.as_str().to_ascii_lowercase());
        let mut metadata = super::metadata(&snapshot.key, name, snapshot.istio_namespaces.of(cluster), settings);
        metadata.labels.insert(keys::VS_ROUTING.into(), "enabled".into());
        plan.cluster_mut(cluster).others.push(Object::VirtualService(Opaque { metadata, spec }));
    }
}
