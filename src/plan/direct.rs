//! How a cluster reaches the service in another: by the pods themselves, on one network, or by the gateway.
//!
//! Decides which pods are endpoints, with which ports, and what each counts; never in which tier they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    endpoints::{labelled, placed_at},
    ports::{self, PublishedPort},
};
use crate::{
    config::Settings,
    istio::{Endpoint, keys},
    model::Locality,
    plan::input::{Backend, LastKnownEndpoint, Pod, Pods, RelativeWeight, Source, Target},
};

/// An endpoint of another cluster, without a gateway before it.
pub(super) struct PodEndpoint {
    pub(super) endpoint: Endpoint,
    /// What it counts beside the others, of which its cluster counts one.
    pub(super) relative_weight: RelativeWeight,
    /// What it is, in words.
    pub(super) what: &'static str,
}

/// Whether all who read what is written into `target` reach the pods of `source`: on one network, or because the istiod that
/// serves it leads those of other networks to its gateway, as it does where all endpoints are addresses ([`is_by_address`]).
pub(super) fn reaches_pods(source: &Source, target: &Target) -> bool {
    let is_served = target.is_read_in(&source.cluster) && target.served_clusters.len() > 1;
    source.network.is_some() && (is_served || !target.is_read_in(&source.cluster) && source.network == target.network)
}

/// Whether the endpoints that several clusters read may all be addresses. With a name among them, Envoy asks for it itself, and
/// istiod leads nobody to a gateway.
fn is_by_address(sources: &[Source], target: &Target, ports: &[PublishedPort], settings: &Settings) -> bool {
    let is_address = |address: &str| address.parse::<IpAddr>().is_ok();
    let elsewhere = |source: &Source| source.gateway.as_ref().is_none_or(|gateway| is_address(&gateway.address));
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
) -> Result<Vec<PodEndpoint>, Option<&'static str>> {
    let is_one_network = target.served_clusters.iter().all(|reader| reader.network == source.network);
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
) -> Result<Vec<PodEndpoint>, Option<&'static str>> {
    match &source.pods {
        // What stands without a gateway is all there is.
        Pods::LastKnown(pods) if reaches_pods(source, target) || source.gateway.is_none() => {
            let endpoints: Vec<PodEndpoint> = pods.iter().filter_map(|pod| carried(source, pod, ports)).collect();
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
) -> Result<Vec<PodEndpoint>, Option<&'static str>> {
    let elsewhere = |network: &_| Some(network) != source.network.as_ref();
    let mut machines = source.services.iter().filter_map(|backend| backend.machine.as_ref());
    if source.gateway.is_some() && machines.any(|machine| machine.network.as_ref().is_some_and(elsewhere)) {
        return Err(Some("some of its machines are on another network"));
    }
    let by_service = by_service(source, ports);
    if by_service.is_empty() {
        return Err(Some("no pod is ready"));
    }
    if source.gateway.is_some() && too_many(source, ports, settings).is_some() {
        return Err(Some("there are too many pods"));
    }
    let weights =
        RelativeWeight::weights(&by_service.iter().map(|(backend, _)| backend.relative_weight).collect::<Vec<_>>());
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let each = by_service.into_iter().zip(weights).flat_map(|((backend, endpoints), weight)| {
        let relative_weight = RelativeWeight::of_average(weight, sum * endpoints.len() as u64, 1);
        let what = if backend.machine.is_some() { "virtual machine" } else { "pod" };
        endpoints.into_iter().map(move |endpoint| PodEndpoint { endpoint, relative_weight, what })
    });
    Ok(sorted(each.collect()))
}

/// The endpoints of each Service and machine that has any. What is behind two Services counts for the first.
fn by_service<'a>(source: &'a Source, ports: &[PublishedPort]) -> Vec<(&'a Backend, Vec<Endpoint>)> {
    let mut seen = BTreeSet::new();
    let of = |backend: &'a Backend| {
        let mut endpoints: Vec<Endpoint> = match &backend.machine {
            Some(machine) => {
                let at = ports::at_address(ports, backend);
                vec![endpoint(source, machine.address.to_string(), at, machine.locality.as_ref())]
            }
            None => backend.pods.iter().filter_map(|pod| of_pod(source, backend, pod, ports)).collect(),
        };
        endpoints.retain(|endpoint| seen.insert(endpoint.address.clone()));
        (backend, endpoints)
    };
    source.services.iter().map(of).filter(|(_, endpoints)| !endpoints.is_empty()).collect()
}

/// A pod, unless it lacks a port that is published.
fn of_pod(source: &Source, backend: &Backend, pod: &Pod, ports: &[PublishedPort]) -> Option<Endpoint> {
    let number = |port: &PublishedPort| {
        let index = ports::index_at(backend, port)?;
        Some((port.name.clone(), (*pod.ports.get(index)?)?))
    };
    let at = ports.iter().map(number).collect::<Option<_>>()?;
    let zone = pod.zone.clone().or_else(|| source.locality.as_ref()?.zone.clone());
    let locality = source.locality.as_ref().map(|of_cluster| Locality { region: of_cluster.region.clone(), zone });
    Some(endpoint(source, pod.address.to_string(), at, locality.as_ref()))
}

fn carried(source: &Source, pod: &LastKnownEndpoint, ports: &[PublishedPort]) -> Option<PodEndpoint> {
    let number = |port: &PublishedPort| {
        let (name, _) = source.last_known_ports.iter().find(|(_, (number, _))| *number == port.number)?;
        Some((port.name.clone(), *pod.ports.get(name)?))
    };
    let at = ports.iter().map(number).collect::<Option<_>>()?;
    let endpoint = endpoint(source, pod.address.to_string(), at, pod.locality.as_ref());
    Some(PodEndpoint { endpoint, relative_weight: pod.relative_weight, what: "pod" })
}

/// The network says that nobody of another one reaches it so, and is remembered by it while its cluster cannot be read.
fn endpoint(source: &Source, address: String, ports: BTreeMap<String, u16>, locality: Option<&Locality>) -> Endpoint {
    let mut labels = placed_at(labelled(source, source.workload), locality);
    labels.insert(keys::ENDPOINT_DIRECT.to_owned(), "true".to_owned());
    let network = source.network.as_deref().unwrap_or_default().to_owned();
    Endpoint { address, ports, labels, network, ..Endpoint::default() }
}

/// What is carried has no other order than this.
fn sorted(mut endpoints: Vec<PodEndpoint>) -> Vec<PodEndpoint> {
    endpoints.sort_by_cached_key(|PodEndpoint { endpoint, .. }| {
        let address = &endpoint.address;
        (address.parse::<IpAddr>().ok(), address.clone(), endpoint.ports.clone())
    });
    endpoints
}
