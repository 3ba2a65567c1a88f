//! The VirtualService that leads server names at a cluster's gateways to its own Services (Admiral,
//! docs/admiral-behaviour.md#ingress-routing).

use super::{PASSTHROUGH_SUBSET, in_cluster::destinations, metadata};
use crate::{
    config::Settings,
    istio::{Object, Opaque, TlsMatch, TlsRoute, VirtualServiceSpec, keys},
    plan::decide::{ClusterDecision, IngressRoute, ServerNameRule, ServiceDecision},
};

/// Port of the gateways (Admiral, docs/admiral-behaviour.md#ingress-routing).
const GATEWAY_PORT: u16 = 15443;

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    route: &IngressRoute,
    settings: &Settings,
) -> Object {
    let spec = VirtualServiceSpec {
        hosts: route.rules.iter().map(|rule| rule.server_name.clone()).collect(),
        gateways: Some(settings.vs_routing_gateways.clone()),
        tls: route.rules.iter().map(tls_route).collect(),
        export_to: route.visible_in.clone(),
        ..VirtualServiceSpec::default()
    };
    let name = format!("{}-routing-vs", route.main.as_str().to_ascii_lowercase());
    let mut metadata = metadata::of_service(&service.key, name, &cluster.istio_namespace, settings);
    metadata.labels.insert(keys::VS_ROUTING.into(), "enabled".into());
    Object::VirtualService(Opaque::new(metadata, &spec))
}

fn tls_route(rule: &ServerNameRule) -> TlsRoute {
    let mut route = destinations(&rule.destinations);
    for destination in &mut route {
        destination.destination.subset = Some(PASSTHROUGH_SUBSET.to_owned());
    }
    TlsRoute { matches: vec![TlsMatch { port: GATEWAY_PORT, sni_hosts: vec![rule.server_name.clone()] }], route }
}
