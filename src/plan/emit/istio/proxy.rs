//! The VirtualService that leads the hosts of a destination to its proxy (Admiral,
//! docs/admiral-behaviour.md#dependencyproxy).

use super::metadata;
use crate::{
    config::Settings,
    istio::{HttpEntry, HttpRoute, Object, Opaque, RouteDestination, VirtualServiceSpec},
    plan::decide::{MAIN_PORT, ProxyRoute, ServiceDecision},
};

/// How its name ends, behind the first host: nothing else in the sync namespace is called so.
const NAME_SUFFIX: &str = "-proxy-vs";

pub(super) fn build(service: &ServiceDecision, route: &ProxyRoute, settings: &Settings) -> Object {
    let first = route.hosts.first().map_or("", |host| host.as_str());
    let name = format!("{first}{NAME_SUFFIX}");
    let metadata = metadata::of_service(&service.key, name, &settings.sync_namespace, settings);
    let to_proxy = vec![RouteDestination::new(route.proxy.to_string(), MAIN_PORT, None)];
    let spec = VirtualServiceSpec {
        hosts: route.hosts.iter().map(ToString::to_string).collect(),
        http: vec![HttpEntry::Route(HttpRoute { route: to_proxy, ..HttpRoute::default() })],
        export_to: route.visible_in.clone(),
        ..VirtualServiceSpec::default()
    };
    Object::VirtualService(Opaque::new(metadata, &spec))
}
