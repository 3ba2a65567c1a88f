//! Several workloads of one service in a cluster whose Services lead to different ports: which of them is the service.
//!
//! Decides which Services are no endpoints, such as that of a worker's metrics; never what the others offer.

use std::collections::{BTreeMap, BTreeSet};

use super::purpose::{self, Purpose};
use crate::{
    model::{ClusterName, Identity, Kind, ObjectId},
    plan::input::{Backend, BackendPort, Source},
};

/// A Service that is left out, or would be if it were known which one is to blame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Culprit {
    pub(crate) cluster: ClusterName,
    /// It, or the object of a machine.
    pub(crate) service: ObjectId,
    /// What is wrong and what follows, in words.
    pub(crate) message: String,
}

/// The Services of workloads without pods, in a cluster where others of the service have some.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Sorted by namespace and name.
    pub(crate) services: Vec<Backend>,
    /// Their workloads, sorted.
    pub(crate) workloads: Vec<ObjectId>,
}

/// Leaves out of every cluster the Services whose main port is not that of the service, where others are.
pub(crate) fn settle(
    sources: &mut [Source],
    parked: &BTreeMap<ClusterName, Parked>,
    identity: &Identity,
) -> Vec<Culprit> {
    let mut culprits = Vec::new();
    for at in 0..sources.len() {
        if let Some(parked) = parked.get(&sources[at].cluster) {
            culprits.extend(put_in_place(sources, at, parked, identity));
        }
        culprits.extend(leave_out_machines(&mut sources[at], identity));
        let groups = groups(&sources[at].services, identity);
        if groups.len() < 2 {
            culprits.extend(for_operators_alone(sources, at, identity));
            continue;
        }
        let rank = |group: &Vec<usize>| {
            let backends: Vec<&Backend> = group.iter().map(|index| &sources[at].services[*index]).collect();
            let is_named = backends.iter().any(|backend| backend.service.eq_ignore_ascii_case(identity.as_str()));
            (evidence(sources, at, &backends, identity), is_named)
        };
        let best = groups.iter().map(rank).max().expect("there are several");
        let chosen: Vec<&Vec<usize>> = groups.iter().filter(|group| rank(group) == best).collect();
        let [chosen] = chosen.as_slice() else {
            culprits.extend(groups.iter().map(|group| {
                let (backend, others) = (&sources[at].services[group[0]], groups.iter().filter(|other| *other != group));
                let others = others.map(|other| shown(&sources[at].services[other[0]])).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "{}, and other workloads of {identity} in the cluster have {others}; all of them are endpoints, for nothing tells \
                     which is the service",
                    main_port(backend)
                );
                culprit(&sources[at], backend, message)
            }));
            continue;
        };
        let of_service = shown(&sources[at].services[chosen[0]]);
        let others: BTreeSet<usize> = groups.iter().filter(|group| group != chosen).flatten().copied().collect();
        culprits
            .extend(others.iter().map(|index| no_endpoint(&sources[at], &sources[at].services[*index], &of_service)));
        let mut index = 0;
        sources[at].services.retain(|_| {
            index += 1;
            !others.contains(&(index - 1))
        });
    }
    culprits
}

/// What shows that Services of one cluster with one main port are the service, the more the greater: that they are not for operators,
/// then how many other clusters have the port, then that not even their names may say so.
fn evidence(sources: &[Source], at: usize, backends: &[&Backend], identity: &Identity) -> (bool, usize, bool) {
    let others = sources.iter().enumerate().filter(|(other, _)| *other != at);
    let agreeing = others.filter(|(_, other)| {
        let mut services = services(&other.services).map(|(_, other)| other);
        services.any(|other| backends.first().is_some_and(|backend| agrees(backend, other, false, identity)))
    });
    let purpose = backends.iter().map(|backend| Purpose::of_backend(backend, identity)).min();
    (purpose < Some(Purpose::Operators), agreeing.count(), purpose == Some(Purpose::Clients))
}

/// Where all that runs in a cluster is for operators and the service is scaled to 0 there, it is not what runs.
fn put_in_place(sources: &mut [Source], at: usize, parked: &Parked, identity: &Identity) -> Vec<Culprit> {
    let running = &sources[at].services;
    let is_for_clients = |backend: &Backend| Purpose::of_backend(backend, identity) == Purpose::Clients;
    if !sources[at].last_known_local.is_empty() || running.iter().any(is_for_clients) {
        return Vec::new();
    }
    let of_groups = |all: &[Backend]| {
        let groups = groups(all, identity).into_iter();
        let groups = groups.map(|group| group.iter().map(|index| all[*index].clone()).collect::<Vec<Backend>>());
        let with_evidence =
            groups.map(|group| (evidence(sources, at, &group.iter().collect::<Vec<_>>(), identity), group));
        with_evidence.max_by_key(|(evidence, _)| *evidence)
    };
    let Some((of_parked, services)) = of_groups(&parked.services) else { return Vec::new() };
    if of_groups(running).is_some_and(|(of_running, _)| of_running >= of_parked) {
        return Vec::new();
    }
    let of_service = shown(&services[0]);
    let culprits = running.iter().map(|backend| no_endpoint(&sources[at], backend, &of_service)).collect();
    let source = &mut sources[at];
    (source.workload, source.services, source.unavailable) = (services[0].workload, services, parked.workloads.clone());
    culprits
}

/// A machine that offers nothing but ports for operators is no endpoint where the cluster has others.
fn leave_out_machines(source: &mut Source, identity: &Identity) -> Vec<Culprit> {
    let is_left_out = |backend: &Backend| {
        backend.machine.is_some() && backend.ports.iter().all(|port| purpose::is_for_operators(port, identity))
    };
    if !source.services.iter().any(is_left_out) {
        return Vec::new();
    }
    let is_for_clients = |backend: &&Backend| Purpose::of_backend(backend, identity) == Purpose::Clients;
    let Some(of_service) = source.services.iter().find(is_for_clients).map(shown) else { return Vec::new() };
    let left_out = source.services.iter().filter(|backend| is_left_out(backend));
    let culprits = left_out.map(|backend| no_endpoint(source, backend, &of_service)).collect();
    source.services.retain(|backend| !is_left_out(backend));
    culprits
}

/// What a cluster offers that has nothing but Services for operators, while others have the service at another port.
fn for_operators_alone(sources: &[Source], at: usize, identity: &Identity) -> Vec<Culprit> {
    let source = &sources[at];
    let is_for_clients = |backend: &&Backend| Purpose::of_backend(backend, identity) == Purpose::Clients;
    if source.services.iter().any(|backend| is_for_clients(&backend)) {
        return Vec::new();
    }
    let elsewhere = || {
        let others = sources.iter().enumerate().filter(|(other, _)| *other != at);
        others.flat_map(|(_, other)| other.services.iter().filter(is_for_clients).map(|found| (&other.cluster, found)))
    };
    let Some((cluster, of_service)) = elsewhere().next() else { return Vec::new() };
    let differs = |backend: &&Backend| !elsewhere().any(|(_, other)| agrees(backend, other, false, identity));
    let message = |backend: &Backend| {
        let is_of_service = |port: &&BackendPort| {
            elsewhere().any(|(_, other)| other.ports.first().is_some_and(|main| is_one_port(port, main, identity)))
        };
        let then = backend.ports.iter().skip(1).find(is_of_service).map_or_else(
            || "it is an endpoint all the same, as the cluster has no other".to_owned(),
            |port| {
                format!(
                    "it is an endpoint all the same: its port {} has to be its first one, or to be picked by \
                     includeInboundPorts, to be the main port",
                    in_words(port)
                )
            },
        );
        format!("{}, and the service has {} in {cluster}; {then}", main_port(backend), shown(of_service))
    };
    let found = source.services.iter().filter(differs);
    found.map(|backend| culprit(source, backend, message(backend))).collect()
}

fn no_endpoint(source: &Source, backend: &Backend, of_service: &str) -> Culprit {
    let message = format!("{}, and the service has {of_service}; it is no endpoint", main_port(backend));
    culprit(source, backend, message)
}

fn culprit(source: &Source, backend: &Backend, message: String) -> Culprit {
    let service = ObjectId::new(kind(backend), &backend.namespace, &backend.service);
    Culprit { cluster: source.cluster.clone(), service, message }
}

/// The kind of its object: a Service, or that of a machine.
fn kind(backend: &Backend) -> Kind {
    if backend.machine.is_some() { backend.workload } else { Kind::Service }
}

/// The Services of a cluster by their index; machines say their ports themselves.
fn services(backends: &[Backend]) -> impl Iterator<Item = (usize, &Backend)> {
    backends.iter().enumerate().filter(|(_, backend)| backend.machine.is_none())
}

/// The Services of a cluster, those together that agree with each other.
fn groups(backends: &[Backend], identity: &Identity) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, backend) in services(backends) {
        let is_theirs = |group: &&mut Vec<usize>| {
            let mut others = group.iter().map(|other| &backends[*other]);
            // Teams may give one port different numbers, and a team would not give two the same name.
            others.any(|other| agrees(other, backend, other.namespace != backend.namespace, identity))
        };
        match groups.iter_mut().find(is_theirs) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Whether the main ports of two Services may well be one port of one service: by their number or target, or by their name.
fn agrees(a: &Backend, b: &Backend, by_name: bool, identity: &Identity) -> bool {
    let (Some(a), Some(b)) = (a.ports.first(), b.ports.first()) else { return true };
    is_one_port(a, b, identity) || by_name && !a.name.is_empty() && a.name == b.name
}

/// Whether two ports may well be one port of one service by their number or target. Metrics on port 80 are not the service there.
pub(crate) fn is_one_port(a: &BackendPort, b: &BackendPort, identity: &Identity) -> bool {
    let is_for_operators = |port: &BackendPort| purpose::is_for_operators(port, identity);
    (a.number == b.number || a.target == b.target) && is_for_operators(a) == is_for_operators(b)
}

fn main_port(backend: &Backend) -> String {
    let port = backend.ports.first();
    format!("its main port is {}", port.map_or_else(String::new, in_words))
}

/// A Service or machine with its main port.
fn shown(backend: &Backend) -> String {
    let port = backend.ports.first().map_or_else(String::new, in_words);
    format!("{port} ({} {}/{})", kind(backend).as_str(), backend.namespace, backend.service)
}

fn in_words(port: &BackendPort) -> String {
    let name = if port.name.is_empty() { String::new() } else { format!(" {}", port.name) };
    format!("{}{name}", port.number)
}
