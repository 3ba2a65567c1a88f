//! Which endpoints a cluster sees for a host, where each stands, and what share it gets.
//!
//! Inside a cluster that runs the service: the Service's own name. From any other cluster: the gateway, or the pods
//! themselves (`direct`). Where one istiod serves both, it sends who is on another network than the endpoint's to the
//! gateway of that by itself (Istio documentation, `WorkloadEntry`, `network`), and a gateway of ours would send to itself.
//!
//! Weighted shares and fallbacks hold at once because the ServiceEntry is contextual anyway ("Weights and
//! failover in one policy", docs/concepts.md): the regions of the split take on the client's region, each as a
//! zone of its own; fallback regions keep theirs. Istio then sees the split as local and the rest as remote.
//! The client's own region, when it is a fallback, takes on a region name of its own: as the client's true
//! region it would stand beside the split.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    PlannedEndpoint,
    direct::{self, PodEndpoint},
    ports::{self, PublishedPort},
    weights::{Share, Shares, Weighted},
};
use crate::{
    config::{Settings, Weights},
    istio::{Endpoint, keys},
    model::{Kind, Locality},
    plan::input::{Backend, LastKnownEndpoint, Pods, RelativeWeight, ServiceInput, Source, Target},
};

/// Largest sum to which the parts of a split are multiplied to divide them into whole weights: Envoy keeps the sum of all
/// weights of a host in 32 bits (Envoy documentation, `load_balancing_weight`).
const MAX_WEIGHT_SUM: u64 = 100 << 24;

/// An endpoint with its reason.
pub(super) struct LocalizedEndpoint {
    pub(super) endpoint: Endpoint,
    pub(super) planned: PlannedEndpoint,
}

/// What the client's own region is called while it is a fallback.
pub(super) fn fallback_region(region: &str) -> String {
    format!("fallback-{region}")
}

/// The region of the clients of a target, where weights are written as tiers for it.
pub(super) fn tier_region<'a>(target: &'a Target, settings: &Settings) -> Option<&'a str> {
    match target.regions.as_slice() {
        [region] if settings.weights == Weights::Tiers => Some(region),
        _ => None,
    }
}

/// The endpoints of a host as `target` sees them, and whether their localities are tiers.
pub(super) fn place(
    snapshot: &ServiceInput,
    target: &Target,
    shares: &Shares,
    ports: &[PublishedPort],
    settings: &Settings,
) -> (Vec<LocalizedEndpoint>, bool) {
    let mut reached = reached(snapshot, target, ports, settings);
    let zones = settings.endpoint_zones;
    let untiered_all = |reached: Vec<Candidate<'_>>, rule: &str| -> Vec<LocalizedEndpoint> {
        let is_weighted = reached.iter().any(|of| of.relative_weight != RelativeWeight::WHOLE);
        let weights = relative_weights(&reached);
        let each = reached.into_iter().zip(weights);
        let weight = |weight| if is_weighted { weight } else { 0 };
        distinct(each.map(|(of, of_all)| untiered(of, weight(of_all), ports, (target, zones), rule)).collect())
    };
    if target.regions.is_empty() {
        retain_available(&mut reached, |_| true);
        return (untiered_all(reached, "the region of the clients is not known"), false);
    }
    let tiers = match (shares, tier_region(target, settings)) {
        (Shares::Weighted(weighted), Some(region)) => Some((weighted, region)),
        _ => None,
    };
    let Some((weighted, client_region)) = tiers else {
        retain_available(&mut reached, |source| match shares {
            Shares::Weighted(weighted) => region_of(source).is_some_and(|region| weighted.share(region).is_some()),
            _ => true,
        });
        let rule = if matches!(shares, Shares::Weighted(_)) { "by the weights of its region" } else { "nearest first" };
        return (with_shares(untiered_all(reached, rule), shares), false);
    };
    let tier_of = |source: &Source| tier(source, weighted, client_region);
    reached.retain(|reached| tier_of(reached.source).is_some());
    retain_available(&mut reached, |_| true);
    let weights = tier_weights(&reached, weighted);
    // With the whole split out of reach (no gateway has an address) there is nothing to prefer.
    let placed = reached
        .into_iter()
        .zip(weights)
        .filter_map(|(reached, weight)| {
            let tier = tier_of(reached.source)?;
            Some(tiered(reached, ports, &tier, weight, (target, client_region, zones)))
        })
        .collect();
    (with_shares(distinct(placed), shares), true)
}

/// An endpoint that a cluster can use, before its tier is known.
struct Candidate<'a> {
    source: &'a Source,
    endpoint: Endpoint,
    /// What it counts beside the others.
    relative_weight: RelativeWeight,
    /// Seen from elsewhere: what it is where there is no gateway before it, or why there is one.
    way: Result<&'static str, Option<&'static str>>,
}

/// The endpoints of a host as `target` reaches them.
fn reached<'a>(
    snapshot: &'a ServiceInput,
    target: &Target,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Vec<Candidate<'a>> {
    let mut all: Vec<Candidate<'a>> = Vec::new();
    let mut kinds = BTreeSet::new();
    for source in &snapshot.sources {
        if !target.is_read_only_in(&source.cluster) {
            let direct = if target.is_read_in(&source.cluster) {
                direct::pods_for_all(&snapshot.sources, source, target, ports, settings)
            } else {
                direct::pods(source, target, ports, settings)
            };
            match direct {
                Ok(pods) => {
                    let pods = pods.into_iter();
                    all.extend(pods.map(|PodEndpoint { endpoint, relative_weight, what }| Candidate {
                        source,
                        endpoint,
                        relative_weight,
                        way: Ok(what),
                    }));
                    continue;
                }
                // The gateway itself reads this, too.
                Err(_) if target.is_read_in(&source.cluster) => {}
                Err(why) => {
                    let relative_weight = RelativeWeight::WHOLE;
                    all.extend(remote(source, ports).map(|endpoint| Candidate {
                        source,
                        endpoint,
                        relative_weight,
                        way: Err(why),
                    }));
                    continue;
                }
            }
        }
        let known = source.services.iter();
        let known = known.map(|of| (local(source, of, ports, settings), of.relative_weight, of.workload));
        let last_known = source.last_known_local.iter();
        let last_known =
            last_known.filter_map(|of| Some((carried(source, of, ports)?, of.relative_weight, of.workload)));
        let mut local: Vec<(Endpoint, RelativeWeight, Kind)> = known.chain(last_known).collect();
        // Of what is carried only the endpoint is known: nothing else may decide the order.
        local.sort_by_cached_key(|(endpoint, ..)| (is_ip(&endpoint.address), endpoint.address.clone()));
        for (mut endpoint, relative_weight, kind) in local {
            kinds.insert(kind);
            if !target.is_its_own() {
                endpoint.network = source.network.as_deref().unwrap_or_default().to_owned();
            }
            all.push(Candidate { source, endpoint, relative_weight, way: Err(None) });
        }
    }
    // Where a Rollout runs beside another kind, endpoints in other clusters carry no kind (Admiral,
    // docs/admiral-behaviour.md#endpoints-in-a-source-cluster).
    if kinds.len() > 1 && kinds.contains(&Kind::Rollout) {
        for reached in all.iter_mut().filter(|reached| !target.is_read_in(&reached.source.cluster)) {
            reached.endpoint.labels.remove(keys::ENDPOINT_TYPE);
        }
    }
    all
}

/// Leaves out the clusters without pods that can serve while another one that gets traffic has some. While none has, all stay:
/// nothing would be won by moving clients from one empty cluster to another, or by taking the host from them.
fn retain_available(reached: &mut Vec<Candidate<'_>>, gets_traffic: impl Fn(&Source) -> bool) {
    if reached.iter().any(|of| of.source.is_available() && gets_traffic(of.source)) {
        reached.retain(|of| of.source.is_available());
    }
}

fn region_of(source: &Source) -> Option<&str> {
    source.locality.as_ref().map(|locality| &*locality.region)
}

enum Tier {
    First { share: Share },
    NamedFallback { first: bool },
    Unlisted { nearest: bool, passive: bool },
}

fn tier(source: &Source, weighted: &Weighted, client_region: &str) -> Option<Tier> {
    let region = region_of(source);
    if let Some(share) = region.and_then(|region| weighted.share(region)) {
        return Some(Tier::First { share });
    }
    if let Some(region) = region.filter(|region| weighted.is_fallback(region)) {
        return Some(Tier::NamedFallback { first: weighted.fallbacks.first().is_some_and(|first| **first == *region) });
    }
    // The client's own region comes next where the policy names nothing else.
    let nearest = weighted.fallbacks.is_empty() && region == Some(client_region);
    weighted.unlisted.then_some(Tier::Unlisted { nearest, passive: weighted.everywhere })
}

/// Whole weights of endpoints beside each other.
fn relative_weights(reached: &[Candidate<'_>]) -> Vec<u32> {
    RelativeWeight::weights(&reached.iter().map(|of| of.relative_weight).collect::<Vec<_>>())
}

/// Endpoint weights: each region's part, shared equally by its clusters, and by the endpoints of each by what they count
/// beside each other, in whole numbers. So do fallbacks, which have no part.
fn tier_weights(reached: &[Candidate<'_>], weighted: &Weighted) -> Vec<u32> {
    let region = |of: &Candidate<'_>| of.source.locality.as_ref().map(|locality| locality.region.clone());
    let relative = relative_weights(reached);
    let mut clusters_in: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut sums: BTreeMap<_, u64> = BTreeMap::new();
    for (of, own) in reached.iter().zip(&relative) {
        clusters_in.entry(region(of)).or_default().insert(&of.source.cluster);
        *sums.entry(&of.source.cluster).or_default() += u64::from(*own);
    }
    // The region's part, and which part of how many of it.
    let parts: Vec<Option<(u64, u64, u64)>> = reached
        .iter()
        .zip(&relative)
        .map(|(of, own)| {
            let share = weighted.share(region(of).as_deref()?)?;
            let (own, all) = (u64::from(*own), sums[&of.source.cluster]);
            let common = gcd(own, all);
            Some((u64::from(share.part), own / common, clusters_in[&region(of)].len() as u64 * (all / common)))
        })
        .collect();
    let max_scale = MAX_WEIGHT_SUM / u64::from(weighted.parts()).max(1);
    let is_bearable = |scale: &u64| *scale <= max_scale;
    let scale = parts.iter().flatten().try_fold(1, |scale, (_, _, divisor)| lcm(scale, *divisor).filter(is_bearable));
    // Where no common measure is small enough, a weight is off by less than one.
    let scale = u128::from(scale.unwrap_or(max_scale));
    let of_fallbacks: Vec<RelativeWeight> =
        reached.iter().zip(&parts).filter(|(_, part)| part.is_none()).map(|(of, _)| of.relative_weight).collect();
    let mut of_fallbacks = RelativeWeight::weights(&of_fallbacks).into_iter();
    let in_split = |(part, own, divisor): (u64, u64, u64)| {
        let weight = (u128::from(part) * u128::from(own) * scale / u128::from(divisor)).max(1);
        u32::try_from(weight).expect("no more than the largest sum")
    };
    parts
        .into_iter()
        .map(|part| part.map_or_else(|| of_fallbacks.next().expect("one for each without part"), in_split))
        .collect()
}

pub(super) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub(super) fn lcm(a: u64, b: u64) -> Option<u64> {
    (a / gcd(a, b)).checked_mul(b)
}

pub(super) fn labelled(source: &Source, workload: Kind) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (keys::ENDPOINT_TYPE.to_owned(), workload.endpoint_type().to_owned()),
        (keys::TLS_MODE.to_owned(), "istio".to_owned()),
        (keys::ENDPOINT_CLUSTER.to_owned(), source.cluster.label_value()),
    ]);
    if let Some(locality) = &source.locality {
        labels.insert(keys::ENDPOINT_REGION.to_owned(), locality.region.to_string());
        if let Some(zone) = &locality.zone {
            labels.insert(keys::ENDPOINT_ZONE.to_owned(), zone.to_string());
        }
    }
    labels
}

/// A machine may stand elsewhere than its cluster.
pub(super) fn placed_at(mut labels: BTreeMap<String, String>, locality: Option<&Locality>) -> BTreeMap<String, String> {
    if let Some(locality) = locality {
        labels.insert(keys::ENDPOINT_REGION.to_owned(), locality.region.to_string());
        labels.remove(keys::ENDPOINT_ZONE);
        labels.extend(locality.zone.as_ref().map(|zone| (keys::ENDPOINT_ZONE.to_owned(), zone.to_string())));
    }
    labels
}

fn machine_locality(last_known: &LastKnownEndpoint) -> Option<&Locality> {
    let is_machine = matches!(last_known.workload, Kind::WorkloadEntry | Kind::ServiceEntry);
    last_known.locality.as_ref().filter(|_| is_machine)
}

/// Where an endpoint truly stands: its labels say it.
fn true_locality(endpoint: &Endpoint) -> Option<Locality> {
    let label = |key| endpoint.labels.get(key).map(String::as_str);
    let region = label(keys::ENDPOINT_REGION)?;
    Some(label(keys::ENDPOINT_ZONE).map_or_else(|| Locality::region(region), |zone| Locality::zone(region, zone)))
}

fn is_ip(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

fn local(source: &Source, backend: &Backend, ports: &[PublishedPort], settings: &Settings) -> Endpoint {
    if let Some(machine) = &backend.machine {
        return Endpoint {
            address: machine.address.to_string(),
            ports: ports::at_address(ports, backend),
            labels: placed_at(labelled(source, backend.workload), machine.locality.as_ref()),
            ..Endpoint::default()
        };
    }
    let dot = if settings.enable_absolute_fqdn && settings.enable_absolute_fqdn_for_local_endpoints { "." } else { "" };
    Endpoint {
        address: format!("{}.{}.svc.{}{dot}", backend.service, backend.namespace, source.domain),
        ports: ports::at_address(ports, backend),
        labels: labelled(source, backend.workload),
        ..Endpoint::default()
    }
}

/// A local endpoint as it was written earlier, unless it lacks a port that is published now.
fn carried(source: &Source, last_known: &LastKnownEndpoint, ports: &[PublishedPort]) -> Option<Endpoint> {
    let number = |port: &PublishedPort| {
        let (name, _) = source.last_known_ports.iter().find(|(_, (number, _))| *number == port.number)?;
        Some((port.name.clone(), *last_known.ports.get(name)?))
    };
    Some(Endpoint {
        address: last_known.address.to_string(),
        ports: ports.iter().map(number).collect::<Option<_>>()?,
        labels: placed_at(labelled(source, last_known.workload), machine_locality(last_known)),
        ..Endpoint::default()
    })
}

/// The network keeps a gateway from sending what reaches it on to the gateways of other networks, by the weights that are
/// the client's to apply.
fn remote(source: &Source, ports: &[PublishedPort]) -> Option<Endpoint> {
    let gateway = source.gateway.as_ref()?;
    Some(Endpoint {
        address: gateway.address.to_string(),
        ports: ports::at_gateway(ports, gateway.port),
        labels: labelled(source, source.workload),
        network: source.network.as_deref().unwrap_or_default().to_owned(),
        ..Endpoint::default()
    })
}

fn planned(
    source: &Source,
    endpoint: &Endpoint,
    ports: &[PublishedPort],
    tier: Option<u32>,
    reason: String,
) -> PlannedEndpoint {
    let main = ports.first().expect("every service has a main port");
    let port = endpoint.ports.get(&main.name).expect("an endpoint has every published port");
    PlannedEndpoint {
        cluster: source.cluster.clone(),
        address: if endpoint.address.contains(':') {
            format!("[{}]:{port}", endpoint.address)
        } else {
            format!("{}:{port}", endpoint.address)
        },
        locality: true_locality(endpoint).as_ref().map(Locality::to_string),
        share_percent: None,
        tier,
        reason,
    }
}

fn how(reached: &Candidate<'_>, target: &Target) -> String {
    let Candidate { source, endpoint, relative_weight, way } = reached;
    let without_pods = if source.is_available() { "" } else { ", without pods that can serve" };
    let carried = if source.services.is_empty() || way.is_ok() && matches!(source.pods, Pods::LastKnown(_)) {
        ", as last known"
    } else {
        ""
    };
    let how = if target.is_read_in(&source.cluster) && way.is_err() {
        let kind = endpoint.labels.get(keys::ENDPOINT_TYPE).and_then(|of| Kind::of_endpoint_type(of));
        match (kind, relative_weight) {
            _ if !is_service(&endpoint.address) => "virtual machine".to_owned(),
            (Some(Kind::Rollout), RelativeWeight { part, of }) if part != of => {
                format!("local Service with {part} of {of} parts of its Rollout")
            }
            _ if !endpoint.network.is_empty() => format!("local Service on {}", endpoint.network),
            _ => "local Service".to_owned(),
        }
    } else if let Ok(what) = way {
        let zone = endpoint.labels.get(keys::ENDPOINT_ZONE).map(|zone| format!(" in zone {zone}")).unwrap_or_default();
        format!("{what}{zone}{carried}")
    } else {
        let by_name = if endpoint.address.parse::<IpAddr>().is_ok() { "" } else { " by name" };
        let why = way.err().flatten().map(|why| format!(", because {why}")).unwrap_or_default();
        format!("gateway{by_name}{carried}{why}")
    };
    format!("{how}{without_pods}")
}

/// Whether an address inside its own cluster is that of a Service, and not of a machine.
fn is_service(address: &str) -> bool {
    address.split('.').nth(2) == Some("svc")
}

/// The locality that an endpoint is written with. Its labels name its zone even where its locality does not.
fn written_locality(endpoint: &Endpoint, zones: bool) -> String {
    match true_locality(endpoint) {
        None => String::new(),
        Some(locality) if zones => locality.to_string(),
        Some(locality) => locality.region.to_string(),
    }
}

fn untiered(
    reached: Candidate<'_>,
    weight: u32,
    ports: &[PublishedPort],
    (target, zones): (&Target, bool),
    rule: &str,
) -> LocalizedEndpoint {
    let reason = format!("{}; {rule}", how(&reached, target));
    let Candidate { source, mut endpoint, .. } = reached;
    endpoint.weight = weight;
    endpoint.locality = written_locality(&endpoint, zones);
    LocalizedEndpoint { planned: planned(source, &endpoint, ports, None, reason), endpoint }
}

fn tiered(
    reached: Candidate<'_>,
    ports: &[PublishedPort],
    tier: &Tier,
    weight: u32,
    (target, client_region, zones): (&Target, &str, bool),
) -> LocalizedEndpoint {
    let region = reached.source.locality.as_ref().map(|locality| locality.region.to_string()).unwrap_or_default();
    let how = how(&reached, target);
    let Candidate { source, mut endpoint, .. } = reached;
    endpoint.weight = weight;
    endpoint.locality = match tier {
        Tier::First { .. } => format!("{client_region}/tier0-{region}"),
        _ if region == client_region => fallback_region(client_region),
        _ => written_locality(&endpoint, zones),
    };
    let why = if matches!(tier, Tier::Unlisted { passive: true, .. }) { "passive" } else { "not in the policy" };
    let (number, rule) = match tier {
        Tier::First { share } => (0, format!("{share} % of the traffic goes to {region}")),
        Tier::NamedFallback { first: true } => (1, "first fallback".to_owned()),
        Tier::NamedFallback { first: false } => (2, "later fallback".to_owned()),
        Tier::Unlisted { nearest: true, .. } => (1, format!("fallback: {why}, nearest")),
        Tier::Unlisted { nearest: false, .. } => (2, format!("fallback: {why}")),
    };
    let reason = format!("{how}; {rule}");
    LocalizedEndpoint { planned: planned(source, &endpoint, ports, Some(number), reason), endpoint }
}

/// Two clusters behind one gateway are one endpoint; it takes the shares of both.
fn distinct(placed: Vec<LocalizedEndpoint>) -> Vec<LocalizedEndpoint> {
    let mut distinct: Vec<LocalizedEndpoint> = Vec::new();
    for next in placed {
        let same = distinct.iter_mut().find(|known| {
            let (a, b) = (&known.endpoint, &next.endpoint);
            (&a.address, &a.ports, &a.locality, &a.network) == (&b.address, &b.ports, &b.locality, &b.network)
        });
        match same {
            Some(known) if known.endpoint.weight > 0 && known.planned.tier == Some(0) => {
                known.endpoint.weight += next.endpoint.weight;
            }
            Some(_) => {}
            None => distinct.push(next),
        }
    }
    distinct
}

/// Works out which share of its host's traffic each endpoint gets while all that takes part in the split is healthy. Where
/// nothing of the split is there, Envoy goes by the priorities of the fallbacks, and there are no shares.
fn with_shares(mut placed: Vec<LocalizedEndpoint>, shares: &Shares) -> Vec<LocalizedEndpoint> {
    let Shares::Weighted(weighted) = shares else { return placed };
    if placed.iter().all(|of| of.planned.tier.is_some_and(|tier| tier > 0)) {
        return placed;
    }
    // Under `distribute` the endpoints of a region share its percent: equally, unless there are weights.
    let region = |of: &LocalizedEndpoint| of.endpoint.labels.get(keys::ENDPOINT_REGION).cloned();
    let weight = |of: &LocalizedEndpoint| f64::from(of.endpoint.weight.max(1));
    let mut in_region: BTreeMap<_, f64> = BTreeMap::new();
    for of in &placed {
        *in_region.entry(region(of)).or_default() += weight(of);
    }
    let part = |of: &LocalizedEndpoint| match of.planned.tier {
        Some(0) => f64::from(of.endpoint.weight),
        Some(_) => 0.0,
        None => {
            let percent = region(of).and_then(|region| weighted.listed_share(&region)).unwrap_or(0);
            f64::from(percent) * weight(of) / in_region[&region(of)].max(1.0)
        }
    };
    let parts: Vec<f64> = placed.iter().map(part).collect();
    let sum: f64 = parts.iter().sum();
    for (of, part) in placed.iter_mut().zip(parts) {
        of.planned.share_percent = Some(if sum > 0.0 { part * 100.0 / sum } else { 0.0 });
    }
    placed
}
