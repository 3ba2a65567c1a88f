//! How a cluster reaches the service in another: by the pods themselves, on one network, or by the gateway.
//!
//! Decides which pods are endpoints, with which ports, and what each counts; never in which tier they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    ports::{self, PublishedPort},
    reason::GatewayReason,
};
use crate::{
    config::Settings,
    model::Locality,
    plan::input::{Backend, LastKnownEndpoint, Pod, Pods, RelativeWeight, Source, Target},
};

/// An endpoint of another cluster, without a gateway before it.
pub(super) struct PodEndpoint {
    pub(super) at: PodAddress,
    /// Its weight relative to the other endpoints, where its cluster counts as one.
    pub(super) relative_weight: RelativeWeight,
    pub(super) is_machine: bool,
}

/// Where a pod or machine is.
pub(super) struct PodAddress {
    pub(super) address: String,
    pub(super) ports: BTreeMap<String, u16>,
    pub(super) locality: Option<Locality>,
}

/// Whether all who read what is written into `target` reach the pods of `source`: on one network, or because the istiod that
/// serves it leads those of other networks to its gateway, as it does where all endpoints are addresses ([`is_by_address`]).
pub(super) fn reaches_pods(source: &Source, target: &Target) -> bool {
    let is_served = target.is_read_in(&source.cluster) && target.served_clusters.len() > 1;
    source.network.is_known()
        && (is_served || !target.is_read_in(&source.cluster) && source.network.value() == target.network.as_ref())
}

/// Whether the endpoints that several clusters read may all be addresses. With a name among them, Envoy asks for it itself, and
/// istiod leads nobody to a gateway.
fn is_by_address(sources: &[Source], target: &Target, ports: &[PublishedPort], settings: &Settings) -> bool {
    let is_address = |address: &str| address.parse::<IpAddr>().is_ok();
    let elsewhere = |source: &Source| source.gateway.value().is_none_or(|gateway| is_address(&gateway.address));
    let machines = |source: &Source| {
        let mut machines = source.services.iter().filter_map(|backend| backend.machine.as_ref());
        machines.all(|machine| is_address(&machine.address))
    };
    sources.iter().all(|source| {
        let is_read_there = target.is_read_in(&source.cluster);
        machines(source)
            && if is_read_there { pods(source, target, ports, settings).is_ok() } else { elsewhere(source) }
    })
}

/// The endpoints of a cluster whose proxies read the object together with others: its pods, if all of these reach them.
///
/// # Errors
/// Where its Services' own names must do, which others do not reach.
pub(super) fn pods_for_all(
    sources: &[Source],
    source: &Source,
    target: &Target,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Result<Vec<PodEndpoint>, Option<GatewayReason>> {
    let is_one_network = target.served_clusters.iter().all(|reader| reader.network.as_ref() == source.network.value());
    if is_one_network || is_by_address(sources, target, ports, settings) {
        pods(source, target, ports, settings)
    } else {
        Err(None)
    }
}

/// The pods and machines of `source` as `target` reaches them.
///
/// # Errors
/// Where it goes through the gateway of `source`, and why, if there is more to say than that networks differ.
pub(super) fn pods(
    source: &Source,
    target: &Target,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Result<Vec<PodEndpoint>, Option<GatewayReason>> {
    match &source.pods {
        // Without a gateway, what was last known is all there is.
        Pods::LastKnown(pods) if reaches_pods(source, target) || !source.gateway.is_known() => {
            let endpoints: Vec<PodEndpoint> = pods.iter().filter_map(|pod| last_known(source, pod, ports)).collect();
            if endpoints.is_empty() { Err(None) } else { Ok(sorted(endpoints)) }
        }
        Pods::Known if reaches_pods(source, target) => known(source, ports, settings),
        Pods::Known | Pods::LastKnown(_) | Pods::Unknown => Err(None),
    }
}

/// Number of endpoints that a source has too many of, where others reach it directly.
pub(super) fn too_many(source: &Source, ports: &[PublishedPort], settings: &Settings) -> Option<usize> {
    let count = by_service(source, ports).iter().map(|(_, of)| of.len()).sum();
    (source.pods == Pods::Known && count > settings.direct_endpoints_max_pods).then_some(count)
}

fn known(
    source: &Source,
    ports: &[PublishedPort],
    settings: &Settings,
) -> Result<Vec<PodEndpoint>, Option<GatewayReason>> {
    let elsewhere = |network: &_| Some(network) != source.network.value();
    let mut machines = source.services.iter().filter_map(|backend| backend.machine.as_ref());
    if source.gateway.is_known() && machines.any(|machine| machine.network.as_ref().is_some_and(elsewhere)) {
        return Err(Some(GatewayReason::MachinesElsewhere));
    }
    let by_service = by_service(source, ports);
    if by_service.is_empty() {
        return Err(Some(GatewayReason::NoPodReady));
    }
    if source.gateway.is_known() && too_many(source, ports, settings).is_some() {
        return Err(Some(GatewayReason::TooManyPods));
    }
    let weights =
        RelativeWeight::weights(&by_service.iter().map(|(backend, _)| backend.relative_weight).collect::<Vec<_>>());
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let each = by_service.into_iter().zip(weights).flat_map(|((backend, addresses), weight)| {
        let relative_weight = RelativeWeight::of_average(weight, sum * addresses.len() as u64, 1);
        let is_machine = backend.machine.is_some();
        addresses.into_iter().map(move |at| PodEndpoint { at, relative_weight, is_machine })
    });
    Ok(sorted(each.collect()))
}

/// The addresses behind each Service and machine that has any. What is behind two Services counts for the first.
fn by_service<'a>(source: &'a Source, ports: &[PublishedPort]) -> Vec<(&'a Backend, Vec<PodAddress>)> {
    let mut seen = BTreeSet::new();
    let of = |backend: &'a Backend| {
        let mut addresses: Vec<PodAddress> = match &backend.machine {
            Some(machine) => {
                let at = ports::at_address(ports, backend);
                vec![placed(source, machine.address.to_string(), at, machine.locality.clone())]
            }
            None => backend.pods.iter().filter_map(|pod| of_pod(source, backend, pod, ports)).collect(),
        };
        addresses.retain(|at| seen.insert(at.address.clone()));
        (backend, addresses)
    };
    source.services.iter().map(of).filter(|(_, of)| !of.is_empty()).collect()
}

/// A pod, unless it lacks a port that is published.
fn of_pod(source: &Source, backend: &Backend, pod: &Pod, ports: &[PublishedPort]) -> Option<PodAddress> {
    let number = |port: &PublishedPort| {
        let index = ports::index_at(backend, port)?;
        Some((port.name.clone(), (*pod.ports.get(index)?)?))
    };
    let at = ports.iter().map(number).collect::<Option<_>>()?;
    let zone = pod.zone.clone().or_else(|| source.locality.value()?.zone.clone());
    let locality = source.locality.value().map(|of_cluster| Locality { region: of_cluster.region.clone(), zone });
    Some(placed(source, pod.address.to_string(), at, locality))
}

fn last_known(source: &Source, pod: &LastKnownEndpoint, ports: &[PublishedPort]) -> Option<PodEndpoint> {
    let at = ports::last_known(ports, source, pod)?;
    let at = placed(source, pod.address.to_string(), at, pod.locality.clone());
    Some(PodEndpoint { at, relative_weight: pod.relative_weight, is_machine: false })
}

/// A machine may be elsewhere than its cluster.
fn placed(source: &Source, address: String, ports: BTreeMap<String, u16>, own: Option<Locality>) -> PodAddress {
    PodAddress { address, ports, locality: own.or_else(|| source.locality.value().cloned()) }
}

/// By address: endpoints that were read back from written objects have no other order.
fn sorted(mut endpoints: Vec<PodEndpoint>) -> Vec<PodEndpoint> {
    endpoints.sort_by_cached_key(|PodEndpoint { at, .. }| {
        (at.address.parse::<IpAddr>().ok(), at.address.clone(), at.ports.clone())
    });
    endpoints
}
