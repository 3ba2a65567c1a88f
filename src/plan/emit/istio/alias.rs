//! The VirtualService with the further names of a host (Admiral, docs/admiral-behaviour.md#additional-endpoints, without its
//! leaks).

use super::metadata;
use crate::{
    config::Settings,
    istio::{HttpEntry, HttpRoute, Object, Opaque, RouteDestination, VirtualServiceSpec, keys},
    plan::decide::{AliasRoute, ClusterDecision, MAIN_PORT, ServiceDecision},
};

/// `dns-prefix` of the main host (Admiral, docs/admiral-behaviour.md#additional-endpoints).
const DEFAULT_PREFIX: &str = "default";

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    alias: &AliasRoute,
    settings: &Settings,
) -> Object {
    let first = alias.names.first().map_or("", String::as_str);
    let mut metadata = metadata::of_service(&service.key, format!("{first}-vs"), &settings.sync_namespace, settings);
    metadata::mark_service(&mut metadata, &service.key, &service.identity, settings);
    let prefix = if alias.prefix.is_empty() { DEFAULT_PREFIX } else { &alias.prefix };
    metadata.labels.insert(keys::DNS_PREFIX.into(), prefix.into());
    let route = vec![RouteDestination::new(alias.host.to_string(), MAIN_PORT, None)];
    let spec = VirtualServiceSpec {
        hosts: alias.names.clone(),
        http: vec![HttpEntry::Route(HttpRoute { route, ..HttpRoute::default() })],
        export_to: cluster.visible_in.clone(),
        ..VirtualServiceSpec::default()
    };
    Object::VirtualService(Opaque::new(metadata, &spec))
}
