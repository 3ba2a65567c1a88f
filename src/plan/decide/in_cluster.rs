//! Routing inside the clusters that run a service: a VirtualService that leads its hosts to the cluster's own Services
//! (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice), and the split that then remains for the
//! ServiceEntry (Admiral, docs/admiral-behaviour.md#region-pinning).
//!
//! Off by default. Where namespaces are not narrowed (Admiral, docs/admiral-behaviour.md#exportto), it stays hidden:
//! visible in the sync namespace alone. A request that it routes to the cluster's own Services has no fallback in
//! another cluster.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Context, HostContext,
    decision::{DestinationDecision, HttpRule, InClusterRoute, RouteDecision, ServiceDecision},
    ports::{self, PublishedPort},
    shares::{Share, Shares, in_whole_numbers},
    visibility,
};
use crate::{
    config::Settings,
    istio::IN_CLUSTER_SUFFIX,
    model::{ClusterName, Host, Note, NoteKind, Route, Variant, keys},
    plan::input::{RelativeWeight, ServiceInput, Source, Target},
};

/// Between the environments for which one user's route was made.
const BETWEEN_ENVIRONMENTS: char = '_';
/// Protocols that Istio routes by VirtualService (Istio documentation, "Protocol selection").
const HTTP: &[&str] = &["http", "http2", "grpc", "grpc-web"];

/// Whether a cluster routes a service inside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routing {
    Off,
    On,
    /// It would, but a user's route that forbids it may be missed: what is written stays.
    Unknown,
}

/// Whether a cluster routes a service inside itself (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
pub(super) fn routing(service: &ServiceInput, cluster: &ClusterName, settings: &Settings) -> Routing {
    let identity = &service.identity;
    let wanted = settings.enable_vs_routing_in_cluster
        && settings.vs_routing_in_cluster_enabled_resources.name(cluster, identity)
        && !settings.vs_routing_in_cluster_disabled_resources.name(cluster, identity);
    match () {
        () if !wanted || service.routing.users_route.is_some() => Routing::Off,
        () if service.routing.routes_unknown => Routing::Unknown,
        () => Routing::On,
    }
}

/// The namespaces that see what routes inside a cluster; none while it is hidden (Admiral,
/// docs/admiral-behaviour.md#exportto).
pub(super) fn visible_in(service: &ServiceInput, target: &Target, settings: &Settings) -> Vec<String> {
    let mut namespaces = visibility::namespaces(service, target, settings);
    let is_of_istio = |namespace: &str| {
        target.served_clusters.iter().any(|reader| **service.istio_namespaces.of(&reader.cluster) == *namespace)
    };
    namespaces.retain(|namespace| !is_of_istio(namespace));
    namespaces
}

/// The shares of a host's ServiceEntry in a cluster whose VirtualService sends the region's own share to its own Services:
/// the rest goes to the other regions, and the own region is their first fallback (Admiral,
/// docs/admiral-behaviour.md#region-pinning).
pub(super) fn pinned(context: &Context<'_>, target: &Target, host: &HostContext<'_>) -> Option<Shares> {
    let (service, settings) = (context.service, context.settings);
    let source = context.source_of(host, &target.cluster)?;
    let Shares::Weighted(weighted) = &host.shares else { return None };
    if host.wanted.variant == Variant::Preview || !target.is_its_own() {
        return None;
    }
    let own = own_region(source)?;
    let routes = match routing(service, &target.cluster, settings) {
        Routing::Off => false,
        Routing::On => has_services_alone(source),
        Routing::Unknown => service
            .routing
            .origin_unread
            .iter()
            .any(|(cluster, id)| *cluster == target.cluster && id.name.ends_with(IN_CLUSTER_SUFFIX)),
    };
    let custom = custom(context, &target.cluster).any(|route| route.export_to != ["."]);
    let partly = weighted.share(own).is_some_and(|share| share.part < share.of);
    if !routes || custom || !partly || visible_in(service, target, settings).is_empty() {
        return None;
    }
    weighted.without(own).map(Shares::Weighted)
}

/// Adds the routes of a service to its decision.
pub(super) fn add(context: &Context<'_>, decision: &mut ServiceDecision) {
    let (service, settings) = (context.service, context.settings);
    let Some(main) = context.main_host() else { return };
    for target in service.targets.iter().filter(|target| target.is_its_own()) {
        if routing(service, &target.cluster, settings) != Routing::On {
            continue;
        }
        let rules = rules(context, target);
        if rules.is_empty() {
            continue;
        }
        let merged = mergeable(context, &target.cluster, &mut decision.notes);
        let mut visible_in = visible_in(service, target, settings);
        if visible_in.is_empty() {
            visible_in.push(settings.sync_namespace.clone());
        }
        let route = InClusterRoute { main: main.clone(), rules, merged, visible_in };
        let cluster = decision.cluster_mut(&target.cluster, &service.istio_namespaces);
        cluster.routes.push(RouteDecision::InCluster(route));
    }
}

fn rules(context: &Context<'_>, target: &Target) -> Vec<HttpRule> {
    let mut rules = Vec::new();
    for host in context.published() {
        let source = context.source_of(host, &target.cluster).filter(|source| has_services_alone(source));
        if let Some(source) = source {
            rules.extend(rules_of(&host.wanted.host, local_share(source, host), source, &context.view(host).ports));
        }
    }
    rules
}

/// Users' routes of a cluster that are for the environment of the service.
fn custom<'a>(context: &'a Context<'_>, cluster: &'a ClusterName) -> impl Iterator<Item = &'a Arc<Route>> {
    let environment = context.service.key.environment.as_str();
    let is_for = move |route: &&Arc<Route>| {
        let environments = route.annotations.get(keys::CREATED_FOR_ENV).into_iter();
        environments.flat_map(|of| of.split(BETWEEN_ENVIRONMENTS)).any(|of| of.eq_ignore_ascii_case(environment))
    };
    let here = context.service.routing.custom.iter().filter(move |(of, _)| of == cluster);
    here.map(|(_, route)| route).filter(is_for)
}

/// Those that can be merged; says which cannot.
fn mergeable(context: &Context<'_>, cluster: &ClusterName, notes: &mut Vec<Note>) -> Vec<Arc<Route>> {
    let (mergeable, others): (Vec<_>, Vec<_>) = custom(context, cluster)
        .cloned()
        .partition(|route| route.spec.get("http").and_then(Value::as_array).is_some_and(|http| !http.is_empty()));
    notes.extend(others.iter().map(|route| Note {
        kind: NoteKind::PolicyQuestionable,
        object: route.id.in_cluster(cluster),
        service: Some(context.service.key.clone()),
        message: "has no http routes to merge; it is ignored".into(),
    }));
    mergeable
}

/// Whether Services stand before all that a cluster runs of the service: a machine without one has no name to lead to.
pub(super) fn has_services_alone(source: &Source) -> bool {
    !source.services.is_empty() && source.services.iter().all(|backend| backend.machine.is_none())
}

fn own_region(source: &Source) -> Option<&str> {
    source.locality.value().map(|locality| &*locality.region)
}

/// Which part of the requests for a host stays in the cluster.
fn local_share(source: &Source, host: &HostContext<'_>) -> Share {
    match &host.shares {
        // Policies do not apply to preview hosts (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
        _ if host.wanted.variant == Variant::Preview => Share::ALL,
        Shares::Unset | Shares::Nearest => Share::ALL,
        // Where the own region is not known the ServiceEntry shares them all.
        Shares::Weighted(weighted) => {
            own_region(source).and_then(|region| weighted.share(region)).unwrap_or(Share::NOTHING)
        }
    }
}

/// One rule per port: the port is matched only where there are several.
fn rules_of(host: &Host, share: Share, source: &Source, published: &[PublishedPort]) -> Vec<HttpRule> {
    let is_http = |port: &&PublishedPort| HTTP.contains(&port.protocol.as_str());
    let by_port = published.len() > 1;
    let rule = |(index, port): (usize, &PublishedPort)| HttpRule {
        name: if index == 0 { host.to_string() } else { format!("{host}-{}", port.number) },
        host: host.clone(),
        port: by_port.then_some(port.number),
        destinations: destinations(source, port, share, host),
    };
    published.iter().filter(is_http).enumerate().map(rule).collect()
}

/// Where the requests of a port go: a part to the cluster's own Services, which share it as they share what comes into the
/// cluster, and the rest to the host, as its ServiceEntry has it.
pub(super) fn destinations(
    source: &Source,
    port: &PublishedPort,
    share: Share,
    host: &Host,
) -> Vec<DestinationDecision> {
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
    let weighted = places.into_iter().zip(in_whole_numbers(weights));
    weighted
        .map(|((host, port), weight)| DestinationDecision {
            host: host.to_owned(),
            port,
            weight: (!is_one).then_some(weight),
        })
        .collect()
}
