//! The VirtualService that leads the hosts of a service to the Services of the same cluster (Admiral,
//! docs/admiral-behaviour.md#in-cluster-virtualservice).

use super::{custom_routes, metadata};
use crate::{
    config::Settings,
    istio::{
        HttpMatch, HttpRoute, IN_CLUSTER_SUFFIX, Object, Opaque, RouteDestination, StringMatch, VirtualServiceSpec,
        keys,
    },
    model::Host,
    plan::decide::{ClusterDecision, DestinationDecision, HttpRule, InClusterRoute, ServiceDecision},
};

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    route: &InClusterRoute,
    settings: &Settings,
) -> Object {
    let mut hosts: Vec<String> = Vec::new();
    for rule in &route.rules {
        let host = rule.host.to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let own = route.rules.iter().map(http_route).collect();
    let http = custom_routes::merge(own, &mut hosts, &route.merged);
    hosts.sort();
    let spec = VirtualServiceSpec { hosts, http, export_to: route.visible_in.clone(), ..VirtualServiceSpec::default() };
    let name = format!("{}{IN_CLUSTER_SUFFIX}", route.main.as_str().to_ascii_lowercase());
    let mut metadata = metadata::of_service(&service.key, name, &cluster.istio_namespace, settings);
    metadata.labels.insert(keys::VS_ROUTING.into(), "enabled".into());
    metadata.labels.insert(keys::VS_ROUTING_TYPE.into(), "incluster".into());
    Object::VirtualService(Opaque::new(metadata, &spec))
}

fn http_route(rule: &HttpRule) -> HttpRoute {
    HttpRoute {
        name: Some(rule.name.clone()),
        matches: vec![HttpMatch { authority: Some(authority(&rule.host)), port: rule.port }],
        route: destinations(&rule.destinations),
    }
}

/// Envoy compares the authority with case, hosts have none, and a port may follow.
fn authority(host: &Host) -> StringMatch {
    StringMatch { regex: format!("(?i){}(:[0-9]+)?", host.as_str().replace('.', "\\.")) }
}

pub(super) fn destinations(decided: &[DestinationDecision]) -> Vec<RouteDestination> {
    decided.iter().map(|of| RouteDestination::new(of.host.clone(), of.port, of.weight)).collect()
}
