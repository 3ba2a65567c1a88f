//! Routing inside the clusters that run a service: a VirtualService that leads its hosts to the cluster's own Services
//! (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice), and the split that then remains for the
//! ServiceEntry (Admiral, docs/admiral-behaviour.md#region-pinning).
//!
//! Off by default. Where namespaces are not narrowed (Admiral, docs/admiral-behaviour.md#exportto), it stays hidden:
//! visible in the sync namespace alone. A request that it routes to the cluster's own Services has no fallback in
//! another cluster.

use serde_json::{Value, json};

use super::{
    HostContext, PlanContext, ServicePlan, custom_routes, export,
    ports::{self, PublishedPort},
    weights::{self, Share, Shares},
};
use crate::{
    config::Settings,
    istio::{IN_CLUSTER_SUFFIX, Object, Opaque, keys},
    model::{ClusterName, Host, Variant},
    plan::input::{RelativeWeight, ServiceInput, Source, Target},
};

/// Protocols that Istio routes by VirtualService (Istio documentation, "Protocol selection").
const HTTP: &[&str] = &["http", "http2", "grpc", "grpc-web"];

/// Whether a cluster routes a service inside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routing {
    Off,
    On,
    /// It would, but a user's route that forbids it may be missed: what stands stays.
    Unknown,
}

/// Whether a cluster routes a service inside itself (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
pub(super) fn routing(snapshot: &ServiceInput, cluster: &ClusterName, settings: &Settings) -> Routing {
    let identity = &snapshot.identity;
    let wanted = settings.enable_vs_routing_in_cluster
        && settings.vs_routing_in_cluster_enabled_resources.name(cluster, identity)
        && !settings.vs_routing_in_cluster_disabled_resources.name(cluster, identity);
    match () {
        () if !wanted || snapshot.routing.users_route.is_some() => Routing::Off,
        () if snapshot.routing.routes_unknown => Routing::Unknown,
        () => Routing::On,
    }
}

/// The namespaces that see what routes inside a cluster; none while it is hidden (Admiral,
/// docs/admiral-behaviour.md#exportto).
pub(super) fn seen_by(snapshot: &ServiceInput, target: &Target, settings: &Settings) -> Vec<String> {
    let mut namespaces = export::namespaces(snapshot, target, settings);
    let is_of_istio = |namespace: &str| {
        target.served_clusters.iter().any(|reader| **snapshot.istio_namespaces.of(&reader.cluster) == *namespace)
    };
    namespaces.retain(|namespace| !is_of_istio(namespace));
    namespaces
}

/// The shares of a host's ServiceEntry in a cluster whose VirtualService sends the region's own share to its own Services:
/// the rest goes to the other regions, and the own region is their first fallback (Admiral,
/// docs/admiral-behaviour.md#region-pinning).
pub(super) fn pinned(decided: &PlanContext<'_>, target: &Target, governed: &HostContext<'_>) -> Option<Shares> {
    let (snapshot, settings) = (decided.snapshot, decided.settings);
    let source = decided.source_of(governed, &target.cluster)?;
    let Shares::Weighted(weighted) = &governed.shares else { return None };
    if governed.wanted.variant == Variant::Preview || !target.is_its_own() {
        return None;
    }
    let own = own_region(source)?;
    let routes = match routing(snapshot, &target.cluster, settings) {
        Routing::Off => false,
        Routing::On => has_services_alone(source),
        Routing::Unknown => snapshot
            .routing
            .kept
            .iter()
            .any(|(cluster, id)| *cluster == target.cluster && id.name.ends_with(IN_CLUSTER_SUFFIX)),
    };
    let is_custom = |route: &crate::model::Route| route.export_to != ["."];
    let custom = custom_routes::of(decided, &target.cluster).any(is_custom);
    let partly = weighted.share(own).is_some_and(|share| share.part < share.of);
    if !routes || custom || !partly || seen_by(snapshot, target, settings).is_empty() {
        return None;
    }
    weighted.without(own).map(Shares::Weighted)
}

/// Adds the VirtualServices of a service to its plan.
pub(super) fn add(decided: &PlanContext<'_>, plan: &mut ServicePlan) {
    let (snapshot, settings) = (decided.snapshot, decided.settings);
    let Some(main) = decided.main_host() else { return };
    for target in snapshot.targets.iter().filter(|target| target.is_its_own()) {
        if routing(snapshot, &target.cluster, settings) != Routing::On {
            continue;
        }
        let (mut hosts, mut routes) = (Vec::new(), Vec::new());
        for governed in decided.published() {
            let source = decided.source_of(governed, &target.cluster).filter(|source| has_services_alone(source));
            let Some(source) = source else { continue };
            let ports = &decided.views[&governed.wanted.variant].ports;
            let of_host = routes_of(&governed.wanted.host, local_share(source, governed), source, ports);
            if !of_host.is_empty() {
                hosts.push(governed.wanted.host.to_string());
                routes.extend(of_host);
            }
        }
        if routes.is_empty() {
            continue;
        }
        let problems = custom_routes::merge(decided, &target.cluster, &mut hosts, &mut routes);
        plan.notes.extend(problems);
        hosts.sort();
        let mut export_to = seen_by(snapshot, target, settings);
        if export_to.is_empty() {
            export_to.push(settings.sync_namespace.clone());
        }
        let spec = json!({"hosts": hosts, "http": routes, "exportTo": export_to});
        let name = format!("{}{IN_CLUSTER_SUFFIX}", main.as_str().to_ascii_lowercase());
        let mut metadata =
            super::metadata(&snapshot.key, name, snapshot.istio_namespaces.of(&target.cluster), settings);
        metadata.labels.insert(keys::VS_ROUTING.into(), "enabled".into());
        metadata.labels.insert(keys::VS_ROUTING_TYPE.into(), "incluster".into());
        plan.cluster_mut(&target.cluster).others.push(Object::VirtualService(Opaque { metadata, spec }));
    }
}

/// Whether Services stand before all that a cluster runs of the service: a machine without one has no name to lead to.
pub(super) fn has_services_alone(source: &Source) -> bool {
    !source.services.is_empty() && source.services.iter().all(|backend| backend.machine.is_none())
}

fn own_region(source: &Source) -> Option<&str> {
    source.locality.as_ref().map(|locality| &*locality.region)
}

/// Which part of the requests for a host stays in the cluster.
fn local_share(source: &Source, governed: &HostContext<'_>) -> Share {
    match &governed.shares {
        // Policies do not apply to preview hosts (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
        _ if governed.wanted.variant == Variant::Preview => Share::ALL,
        Shares::Nothing | Shares::Nearest => Share::ALL,
        // Where the own region is not known the ServiceEntry shares them all.
        Shares::Weighted(weighted) => {
            own_region(source).and_then(|region| weighted.share(region)).unwrap_or(Share::NOTHING)
        }
    }
}

/// One route per port: the port is matched only where there are several.
fn routes_of(host: &Host, share: Share, source: &Source, published: &[PublishedPort]) -> Vec<Value> {
    let is_http = |port: &&PublishedPort| HTTP.contains(&port.protocol.as_str());
    let by_port = published.len() > 1;
    let route = |(index, port): (usize, &PublishedPort)| {
        let mut matched = json!({"authority": {"regex": authority(host)}});
        if by_port {
            matched["port"] = json!(port.number);
        }
        let destinations = destinations(source, port, share, host);
        let name = if index == 0 { host.to_string() } else { format!("{host}-{}", port.number) };
        json!({"name": name, "match": [matched], "route": destinations})
    };
    published.iter().filter(is_http).enumerate().map(route).collect()
}

/// Where the requests of a port go: a part to the cluster's own Services, which share it as they share what comes into the
/// cluster, and the rest to the host, as its ServiceEntry has it.
pub(super) fn destinations(source: &Source, port: &PublishedPort, share: Share, host: &Host) -> Vec<Value> {
    let mut services: Vec<(String, u16, RelativeWeight)> = source
        .services
        .iter()
        .map(|backend| {
            let host = format!("{}.{}.svc.{}", backend.service, backend.namespace, source.domain);
            (host, ports::at_service(port, backend), backend.relative_weight)
        })
        .collect();
    services.sort();
    let relative_weights: Vec<RelativeWeight> =
        services.iter().map(|(_, _, relative_weight)| *relative_weight).collect();
    let parts = RelativeWeight::weights(&relative_weights);
    let sum: u64 = parts.iter().map(|part| u64::from(*part)).sum();
    let mut weights: Vec<u64> = parts.iter().map(|part| u64::from(share.part) * u64::from(*part)).collect();
    let mut places: Vec<(&str, u16)> = services.iter().map(|(host, number, _)| (host.as_str(), *number)).collect();
    if share.part < share.of {
        weights.push(u64::from(share.of - share.part) * sum);
        places.push((host.as_str(), port.number));
    }
    let is_one = places.len() == 1;
    let weighted = places.into_iter().zip(weights::in_whole_numbers(weights));
    weighted.map(|((host, number), weight)| destination(host, number, (!is_one).then_some(weight))).collect()
}

fn destination(host: &str, number: u16, weight: Option<u32>) -> Value {
    let mut destination = json!({"destination": {"host": host, "port": {"number": number}}});
    if let Some(weight) = weight {
        destination["weight"] = json!(weight);
    }
    destination
}

/// Envoy compares the authority with case, hosts have none, and a port may follow.
fn authority(host: &Host) -> String {
    format!("(?i){}(:[0-9]+)?", host.as_str().replace('.', "\\."))
}

impl<'a> PlanContext<'a> {
    /// The hosts that belong to the service.
    pub(super) fn published(&self) -> impl Iterator<Item = &HostContext<'a>> {
        self.governed.iter().filter(|governed| governed.claim.is_some_and(|claim| claim.taken_by.is_none()))
    }

    /// The host of the service itself, by which objects beside its hosts are named.
    pub(super) fn main_host(&self) -> Option<&Host> {
        let main =
            |governed: &&HostContext<'_>| governed.wanted.is_default && governed.wanted.variant == Variant::Default;
        self.published().find(main).map(|governed| &governed.wanted.host)
    }

    /// What a cluster runs of the variant that a host is for.
    pub(super) fn source_of(&self, governed: &HostContext<'_>, cluster: &ClusterName) -> Option<&Source> {
        let view = &self.views[&governed.wanted.variant];
        view.snapshot.sources.iter().find(|source| source.cluster == *cluster)
    }
}
