//! Which endpoints a cluster sees for a host, where each stands, and what share it gets.
//!
//! Inside a cluster that runs the service: the Service's own name. From any other cluster: the gateway.
//!
//! Weighted shares and fallbacks hold at once because the ServiceEntry is contextual anyway ("Weights and
//! failover in one policy", docs/concepts.md): the regions of the split take on the client's region, each as a
//! zone of its own; fallback regions keep theirs. Istio then sees the split as local and the rest as remote.
//! The client's own region, when it is a fallback, takes on a region name of its own: as the client's true
//! region it would stand beside the split.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    PlannedEndpoint,
    ports::{self, PublishedPort},
    weights::{Shares, Weighted},
};
use crate::{
    config::{Settings, Weights},
    istio::{Endpoint, keys},
    model::Locality,
    registry::{Backend, ServiceSnapshot, Source, Target},
};

/// An endpoint with its reason.
pub(super) struct Placed {
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
    snapshot: &ServiceSnapshot,
    target: &Target,
    shares: &Shares,
    ports: &[PublishedPort],
    settings: &Settings,
) -> (Vec<Placed>, bool) {
    let mut reached: Vec<(&Source, Endpoint)> = Vec::new();
    for source in &snapshot.sources {
        if source.cluster == target.cluster && !source.services.is_empty() {
            let local = source.services.iter().map(|backend| (source, local(source, backend, ports, settings)));
            reached.extend(local);
        } else if source.cluster != target.cluster
            && let Some(remote) = remote(source, ports)
        {
            reached.push((source, remote));
        }
    }
    let tiers = match (shares, tier_region(target, settings)) {
        (Shares::Weighted(weighted), Some(region)) => Some((weighted, region)),
        _ => None,
    };
    let Some((weighted, client_region)) = tiers else {
        let placed = reached.into_iter().map(|(source, endpoint)| untiered(source, endpoint, shares)).collect();
        return (distinct(placed), false);
    };
    let tier_of = |source: &Source| tier(source, weighted, client_region);
    reached.retain(|(source, _)| tier_of(source).is_some());
    let weights = tier_weights(&reached, weighted);
    // With the whole split out of reach (no gateway has an address) there is nothing to prefer.
    let placed = reached
        .into_iter()
        .zip(weights)
        .filter_map(|((source, endpoint), weight)| {
            Some(tiered(source, endpoint, &tier_of(source)?, weight, client_region))
        })
        .collect();
    (distinct(placed), true)
}

enum Tier {
    First { percent: u32 },
    NamedFallback { first: bool },
    Unlisted,
}

fn tier(source: &Source, weighted: &Weighted, _client_region: &str) -> Option<Tier> {
    let region = source.locality.as_ref().map(|locality| &*locality.region);
    if let Some(percent) = region.and_then(|region| weighted.share(region)) {
        return Some(Tier::First { percent });
    }
    if let Some(region) = region.filter(|region| weighted.is_fallback(region)) {
        return Some(Tier::NamedFallback { first: weighted.fallbacks.first().is_some_and(|first| **first == *region) });
    }
    weighted.unlisted.then_some(Tier::Unlisted)
}

/// Endpoint weights: each region's percent, shared equally by its clusters and then by their endpoints, in whole numbers.
fn tier_weights(reached: &[(&Source, Endpoint)], weighted: &Weighted) -> Vec<u32> {
    let region = |source: &Source| source.locality.as_ref().map(|locality| locality.region.clone());
    let parts: Vec<Option<(u32, u64)>> = reached
        .iter()
        .map(|(source, _)| {
            let percent = weighted.share(region(source).as_deref()?)?;
            let same_region = reached.iter().filter(|(other, _)| region(other) == region(source));
            let mut clusters: Vec<_> = same_region.map(|(other, _)| &other.cluster).collect();
            clusters.dedup();
            let endpoints = reached.iter().filter(|(other, _)| other.cluster == source.cluster).count();
            Some((percent, (clusters.len() * endpoints) as u64))
        })
        .collect();
    let scale = parts.iter().flatten().fold(1, |scale, (_, divisor)| lcm(scale, *divisor));
    parts
        .iter()
        .map(|part| {
            part.map_or(1, |(percent, divisor)| u32::try_from(u64::from(percent) * scale / divisor).unwrap_or(u32::MAX))
        })
        .collect()
}

fn lcm(a: u64, b: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    a / gcd(a, b) * b
}

fn labelled(source: &Source, backend: Option<&Backend>) -> BTreeMap<String, String> {
    let workload = backend.map_or(source.workload, |backend| backend.workload);
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

fn local(source: &Source, backend: &Backend, ports: &[PublishedPort], settings: &Settings) -> Endpoint {
    let dot = if settings.enable_absolute_fqdn && settings.enable_absolute_fqdn_for_local_endpoints { "." } else { "" };
    Endpoint {
        address: format!("{}.{}.svc.cluster.local{dot}", backend.service, backend.namespace),
        ports: ports::at_service(ports, backend),
        labels: labelled(source, Some(backend)),
        ..Endpoint::default()
    }
}

fn remote(source: &Source, ports: &[PublishedPort]) -> Option<Endpoint> {
    let gateway = source.gateway.as_ref()?;
    Some(Endpoint {
        address: gateway.address.to_string(),
        ports: ports::at_gateway(ports, gateway.port),
        labels: labelled(source, None),
        ..Endpoint::default()
    })
}

fn planned(
    source: &Source,
    endpoint: &Endpoint,
    share_percent: Option<f64>,
    tier: Option<u32>,
    reason: String,
) -> PlannedEndpoint {
    let main = endpoint.ports.iter().find(|(name, _)| !name.contains(char::is_numeric) || *name == "http2");
    let port = main.or_else(|| endpoint.ports.iter().next()).map_or(0, |(_, port)| *port);
    PlannedEndpoint {
        cluster: source.cluster.clone(),
        address: format!("{}:{port}", endpoint.address),
        locality: source.locality.as_ref().map(Locality::to_string),
        share_percent,
        tier,
        reason,
    }
}

fn how(source: &Source, endpoint: &Endpoint) -> String {
    let carried = if source.services.is_empty() { ", as last known" } else { "" };
    if endpoint.address.trim_end_matches('.').ends_with(".svc.cluster.local") {
        "local Service".to_owned()
    } else if endpoint.address.parse::<Ipv4Addr>().is_ok() {
        format!("gateway{carried}")
    } else {
        format!("gateway by name{carried}")
    }
}

fn untiered(source: &Source, mut endpoint: Endpoint, shares: &Shares) -> Placed {
    endpoint.locality = source.locality.as_ref().map(Locality::to_string).unwrap_or_default();
    let region = source.locality.as_ref().map(|locality| &*locality.region);
    let (share, rule) = match shares {
        Shares::Weighted(weighted) => {
            let share = region.and_then(|region| weighted.share(region));
            (Some(f64::from(share.unwrap_or(0))), "by the weights of its region")
        }
        Shares::Nothing | Shares::Nearest => (None, "nearest first"),
    };
    let reason = format!("{}; {rule}", how(source, &endpoint));
    Placed { planned: planned(source, &endpoint, share, None, reason), endpoint }
}

fn tiered(source: &Source, mut endpoint: Endpoint, tier: &Tier, weight: u32, client_region: &str) -> Placed {
    let region = source.locality.as_ref().map(|locality| locality.region.to_string()).unwrap_or_default();
    endpoint.weight = weight;
    endpoint.locality = match tier {
        Tier::First { .. } => format!("{client_region}/tier0-{region}"),
        _ if region == client_region => fallback_region(client_region),
        _ => source.locality.as_ref().map(Locality::to_string).unwrap_or_default(),
    };
    let (share, number, rule) = match tier {
        Tier::First { percent } => (f64::from(*percent), 0, format!("{percent} % of the traffic goes to {region}")),
        Tier::NamedFallback { first: true } => (0.0, 1, "first fallback".to_owned()),
        Tier::NamedFallback { first: false } => (0.0, 2, "later fallback".to_owned()),
        Tier::Unlisted if region == client_region => (0.0, 1, "fallback: not in the policy, nearest".to_owned()),
        Tier::Unlisted => (0.0, 2, "fallback: not in the policy".to_owned()),
    };
    let reason = format!("{}; {rule}", how(source, &endpoint));
    Placed { planned: planned(source, &endpoint, Some(share), Some(number), reason), endpoint }
}

/// Two clusters behind one gateway are one endpoint; it takes the shares of both.
fn distinct(placed: Vec<Placed>) -> Vec<Placed> {
    let mut distinct: Vec<Placed> = Vec::new();
    for next in placed {
        let same = distinct.iter_mut().find(|known| {
            let (a, b) = (&known.endpoint, &next.endpoint);
            (&a.address, &a.ports, &a.locality) == (&b.address, &b.ports, &b.locality)
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
