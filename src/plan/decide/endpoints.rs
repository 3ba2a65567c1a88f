//! Which endpoints clients of a cluster get for a host, for which locality each counts, and what share it gets.
//!
//! Inside a cluster that runs the service: the Service's own name. From any other cluster: the gateway, or the pods
//! themselves ([`super::pods`]). Where one istiod serves both, it sends clients on another network than the endpoint's to the
//! gateway of that by itself (Istio documentation, `WorkloadEntry`, `network`), and a gateway endpoint would lead to itself.
//!
//! Weighted shares and fallbacks hold at once because the decision is for one cluster of clients ("Weights and failover in one
//! policy", docs/concepts.md): the regions of the split count for the clients' region; fallback regions keep theirs. The mesh
//! then sees the split as local and the rest as remote. The clients' own region, when it is a fallback, counts for a region of
//! its own: as the clients' true region it would share the first tier with the split.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    decision::{EndpointDecision, LocalityGroup},
    pods::{self, PodEndpoint},
    ports::{self, PublishedPort},
    reason::{GatewayReason, Path, Reason, TrafficRule},
    shares::{Shares, Weighted},
    tiers::{self, Tier},
};
use crate::{
    config::{Settings, Weights},
    model::{Kind, Locality},
    plan::input::{Backend, LastKnownEndpoint, Pods, RelativeWeight, ServiceInput, Source, Target},
};

/// The region of the clients of a target, where weights are written as tiers for it.
pub(super) fn tier_region<'a>(target: &'a Target, settings: &Settings) -> Option<&'a str> {
    match target.regions.as_slice() {
        [region] if settings.weights == Weights::Tiers => Some(region),
        _ => None,
    }
}

/// The endpoints of a host as clients of `target` get them.
pub(super) fn decide(
    service: &ServiceInput,
    target: &Target,
    shares: &Shares,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Vec<EndpointDecision> {
    let candidates = candidates(service, target, ports, settings);
    if target.regions.is_empty() {
        let available = retain_available(candidates, |_| true);
        return by_locality(available, &TrafficRule::ClientRegionUnknown, settings);
    }
    let Shares::Weighted(weighted) = shares else {
        return by_locality(retain_available(candidates, |_| true), &TrafficRule::Nearest, settings);
    };
    let endpoints = match tier_region(target, settings) {
        Some(client_region) => in_tiers(candidates, weighted, client_region, settings),
        None => {
            let has_share = |source: &Source| region_of(source).is_some_and(|region| weighted.share(region).is_some());
            by_locality(retain_available(candidates, has_share), &TrafficRule::RegionShare, settings)
        }
    };
    with_shares(endpoints, weighted)
}

/// An endpoint that clients can use, before its tier is known.
pub(super) struct EndpointCandidate<'a> {
    pub(super) source: &'a Source,
    path: Path,
    address: String,
    ports: BTreeMap<String, u16>,
    /// Its true locality.
    locality: Option<Locality>,
    workload: Option<Kind>,
    network: Option<std::sync::Arc<str>>,
    /// Its weight relative to the others.
    pub(super) relative_weight: RelativeWeight,
}

/// The endpoints of a host as clients of `target` reach them.
fn candidates<'a>(
    service: &'a ServiceInput,
    target: &Target,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Vec<EndpointCandidate<'a>> {
    let mut all: Vec<EndpointCandidate<'a>> = Vec::new();
    let mut local_kinds = BTreeSet::new();
    for source in &service.sources {
        match way_to(source, &service.sources, target, ports, settings) {
            Way::Direct(endpoints) => all.extend(endpoints.into_iter().map(|endpoint| direct(source, endpoint))),
            Way::Gateway(because) => all.extend(at_gateway(source, ports, because)),
            Way::Local => {
                let local = local(source, target, ports, settings);
                local_kinds.extend(local.iter().filter_map(|candidate| candidate.workload));
                all.extend(local);
            }
        }
    }
    // Where a Rollout and another kind run side by side, endpoints in other clusters carry no kind (Admiral,
    // docs/admiral-behaviour.md#endpoints-in-a-source-cluster).
    if local_kinds.len() > 1 && local_kinds.contains(&Kind::Rollout) {
        for candidate in all.iter_mut().filter(|candidate| !target.is_read_in(&candidate.source.cluster)) {
            candidate.workload = None;
        }
    }
    all
}

/// How clients reach a cluster that runs the service.
enum Way {
    Local,
    Direct(Vec<PodEndpoint>),
    Gateway(Option<GatewayReason>),
}

fn way_to(source: &Source, sources: &[Source], target: &Target, ports: &[PublishedPort], settings: &Settings) -> Way {
    if target.is_read_only_in(&source.cluster) {
        return Way::Local;
    }
    if target.is_read_in(&source.cluster) {
        // The gateway itself reads this, too.
        return pods::pods_for_all(sources, source, target, ports, settings).map_or(Way::Local, Way::Direct);
    }
    pods::pods(source, target, ports, settings).map_or_else(Way::Gateway, Way::Direct)
}

fn direct(source: &Source, PodEndpoint { at, relative_weight, is_machine }: PodEndpoint) -> EndpointCandidate<'_> {
    EndpointCandidate {
        source,
        path: if is_machine { Path::Machine } else { Path::Pod },
        address: at.address,
        ports: at.ports,
        locality: at.locality,
        workload: Some(source.workload),
        network: source.network.value().cloned(),
        relative_weight,
    }
}

/// The network keeps a gateway from sending what reaches it on to the gateways of other networks, by the weights that are
/// the client's to apply.
fn at_gateway<'a>(
    source: &'a Source,
    ports: &[PublishedPort],
    because: Option<GatewayReason>,
) -> Option<EndpointCandidate<'a>> {
    let gateway = source.gateway.value()?;
    Some(EndpointCandidate {
        source,
        path: Path::Gateway { because },
        address: gateway.address.to_string(),
        ports: ports::at_gateway(ports, gateway.port),
        locality: source.locality.value().cloned(),
        workload: Some(source.workload),
        network: source.network.value().cloned(),
        relative_weight: RelativeWeight::WHOLE,
    })
}

/// The Services and machines of a cluster, as its own clients reach them.
fn local<'a>(
    source: &'a Source,
    target: &Target,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Vec<EndpointCandidate<'a>> {
    let now = source.services.iter().map(|backend| at_backend(source, backend, ports, settings));
    let earlier = source.last_known_local.iter().filter_map(|endpoint| at_last_known(source, endpoint, ports));
    let mut local: Vec<EndpointCandidate<'a>> = now.chain(earlier).collect();
    // Of what was last known only the endpoint is known: nothing else may decide the order.
    local.sort_by_cached_key(|candidate| (is_ip(&candidate.address), candidate.address.clone()));
    if !target.is_its_own() {
        local.iter_mut().for_each(|candidate| candidate.network = source.network.value().cloned());
    }
    local
}

fn at_backend<'a>(
    source: &'a Source,
    backend: &Backend,
    ports: &[PublishedPort],
    settings: &Settings,
) -> EndpointCandidate<'a> {
    let dot = if settings.enable_absolute_fqdn && settings.enable_absolute_fqdn_for_local_endpoints { "." } else { "" };
    let (address, own_locality) = match &backend.machine {
        Some(machine) => (machine.address.to_string(), machine.locality.clone()),
        None => (format!("{}.{}.svc.{}{dot}", backend.service, backend.namespace, source.domain), None),
    };
    EndpointCandidate {
        source,
        path: local_path(&address, backend.workload, backend.relative_weight),
        address,
        ports: ports::at_address(ports, backend),
        // A machine may be elsewhere than its cluster.
        locality: own_locality.or_else(|| source.locality.value().cloned()),
        workload: Some(backend.workload),
        network: None,
        relative_weight: backend.relative_weight,
    }
}

/// A local endpoint as it was written earlier, unless it lacks a port that is published now.
fn at_last_known<'a>(
    source: &'a Source,
    endpoint: &LastKnownEndpoint,
    ports: &[PublishedPort],
) -> Option<EndpointCandidate<'a>> {
    let is_machine = matches!(endpoint.workload, Kind::WorkloadEntry | Kind::ServiceEntry);
    let own_locality = endpoint.locality.clone().filter(|_| is_machine);
    Some(EndpointCandidate {
        source,
        path: local_path(&endpoint.address, endpoint.workload, endpoint.relative_weight),
        address: endpoint.address.to_string(),
        ports: ports::last_known(ports, source, endpoint)?,
        locality: own_locality.or_else(|| source.locality.value().cloned()),
        workload: Some(endpoint.workload),
        network: None,
        relative_weight: endpoint.relative_weight,
    })
}

fn local_path(address: &str, workload: Kind, relative_weight: RelativeWeight) -> Path {
    if !is_service_name(address) {
        return Path::LocalMachine;
    }
    let is_part = workload == Kind::Rollout && relative_weight.part != relative_weight.of;
    Path::Local { rollout_part: is_part.then_some(relative_weight) }
}

/// Whether an address inside its own cluster is that of a Service, and not of a machine.
fn is_service_name(address: &str) -> bool {
    address.split('.').nth(2) == Some("svc")
}

fn is_ip(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

/// Leaves out the clusters without pods that can serve while another one that gets traffic has some. While none has, all stay:
/// nothing would be won by moving clients from one empty cluster to another, or by taking the host from them.
fn retain_available(
    mut candidates: Vec<EndpointCandidate<'_>>,
    gets_traffic: impl Fn(&Source) -> bool,
) -> Vec<EndpointCandidate<'_>> {
    let serves = |candidate: &EndpointCandidate<'_>| candidate.source.is_available();
    if candidates.iter().any(|candidate| serves(candidate) && gets_traffic(candidate.source)) {
        candidates.retain(serves);
    }
    candidates
}

pub(super) fn region_of(source: &Source) -> Option<&str> {
    source.locality.value().map(|locality| &*locality.region)
}

/// Endpoints that count for their own localities.
fn by_locality(
    candidates: Vec<EndpointCandidate<'_>>,
    rule: &TrafficRule,
    settings: &Settings,
) -> Vec<EndpointDecision> {
    let is_weighted = candidates.iter().any(|candidate| candidate.relative_weight != RelativeWeight::WHOLE);
    let weights = tiers::relative_weights(&candidates);
    let endpoints = candidates.into_iter().zip(weights).map(|(candidate, weight)| {
        let group = own_group(&candidate, settings);
        endpoint(candidate, group, None, if is_weighted { weight } else { 0 }, rule.clone())
    });
    distinct(endpoints.collect())
}

/// Endpoints of the split and its fallbacks. With the whole split out of reach (no gateway has an address) there is nothing to
/// prefer.
fn in_tiers(
    candidates: Vec<EndpointCandidate<'_>>,
    weighted: &Weighted,
    client_region: &str,
    settings: &Settings,
) -> Vec<EndpointDecision> {
    let tier_of = |candidate: &EndpointCandidate<'_>| Tier::of(candidate.source, weighted, client_region);
    let candidates = candidates.into_iter().filter(|candidate| tier_of(candidate).is_some()).collect();
    let candidates = retain_available(candidates, |_| true);
    let weights = tiers::weights(&candidates, weighted);
    let endpoints = candidates.into_iter().zip(weights).filter_map(|(candidate, weight)| {
        let tier = tier_of(&candidate)?;
        let region = region_of(candidate.source).unwrap_or_default();
        let group = match tier {
            Tier::Split(_) => LocalityGroup::Split(region.into()),
            _ if region == client_region => LocalityGroup::ClientRegionAsFallback,
            _ => own_group(&candidate, settings),
        };
        let rule = tier.rule(region);
        Some(endpoint(candidate, group, Some(tier.number()), weight, rule))
    });
    distinct(endpoints.collect())
}

fn own_group(candidate: &EndpointCandidate<'_>, settings: &Settings) -> LocalityGroup {
    let zone = |locality: &Locality| locality.zone.clone().filter(|_| settings.endpoint_zones);
    let published = |locality: &Locality| Locality { region: locality.region.clone(), zone: zone(locality) };
    LocalityGroup::Own(candidate.locality.as_ref().map(published))
}

fn endpoint(
    candidate: EndpointCandidate<'_>,
    group: LocalityGroup,
    tier: Option<u32>,
    weight: u32,
    rule: TrafficRule,
) -> EndpointDecision {
    let EndpointCandidate { source, path, address, ports, locality, workload, network, relative_weight: _ } = candidate;
    let last_known = source.services.is_empty() || path.is_direct() && matches!(source.pods, Pods::LastKnown(_));
    EndpointDecision {
        cluster: source.cluster.clone(),
        address,
        ports,
        locality,
        group,
        workload,
        network: network.filter(|network| !network.is_empty()),
        tier,
        weight,
        share_percent: None,
        reason: Reason { path, last_known, unavailable: !source.is_available(), rule },
    }
}

/// Two clusters behind one gateway are one endpoint; it takes the shares of both.
fn distinct(endpoints: Vec<EndpointDecision>) -> Vec<EndpointDecision> {
    let mut distinct: Vec<EndpointDecision> = Vec::new();
    for next in endpoints {
        let is_same = |known: &&mut EndpointDecision| {
            (&known.address, &known.ports, &known.group, &known.network)
                == (&next.address, &next.ports, &next.group, &next.network)
        };
        match distinct.iter_mut().find(is_same) {
            Some(known) if known.weight > 0 && known.tier == Some(0) => known.weight += next.weight,
            Some(_) => {}
            None => distinct.push(next),
        }
    }
    distinct
}

/// Works out which share of its host's traffic each endpoint gets while all that takes part in the split is healthy. Where
/// nothing of the split is there, Envoy goes by the priorities of the fallbacks, and there are no shares.
fn with_shares(mut endpoints: Vec<EndpointDecision>, weighted: &Weighted) -> Vec<EndpointDecision> {
    if endpoints.iter().all(|endpoint| endpoint.tier.is_some_and(|tier| tier > 0)) {
        return endpoints;
    }
    // Without tiers the endpoints of a region share its percent: equally, unless there are weights.
    let region = |of: &EndpointDecision| of.locality.as_ref().map(|locality| locality.region.clone());
    let weight = |of: &EndpointDecision| f64::from(of.weight.max(1));
    let mut in_region: BTreeMap<_, f64> = BTreeMap::new();
    for endpoint in &endpoints {
        *in_region.entry(region(endpoint)).or_default() += weight(endpoint);
    }
    let part = |of: &EndpointDecision| match of.tier {
        Some(0) => f64::from(of.weight),
        Some(_) => 0.0,
        None => {
            let percent = region(of).and_then(|region| weighted.listed_share(&region)).unwrap_or(0);
            f64::from(percent) * weight(of) / in_region[&region(of)].max(1.0)
        }
    };
    let parts: Vec<f64> = endpoints.iter().map(part).collect();
    let sum: f64 = parts.iter().sum();
    for (endpoint, part) in endpoints.iter_mut().zip(parts) {
        endpoint.share_percent = Some(if sum > 0.0 { part * 100.0 / sum } else { 0.0 });
    }
    endpoints
}
