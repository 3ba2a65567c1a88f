//! Several workloads of one service in a cluster whose Services lead to different ports: which of them is the service.
//!
//! Decides which Services are no endpoints, such as that of a worker's metrics; never what the others offer.

use std::collections::BTreeSet;

use super::snapshot::{Backend, BackendPort, Source};
use crate::model::{ClusterName, Identity, Kind, ObjectId};

/// Words in the names of ports and Services for those who run a service, not for its clients.
const OPERATIONAL: [&str; 8] = ["admin", "debug", "health", "healthz", "metrics", "monitoring", "prometheus", "status"];

/// A Service that is left out, or would be if it were known which one is to blame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Culprit {
    pub(super) cluster: ClusterName,
    /// Its Service.
    pub(super) service: ObjectId,
    /// What is wrong and what follows, in words.
    pub(super) message: String,
}

/// Leaves out of every cluster the Services whose main port is not that of the service, where others are.
pub(super) fn settle(sources: &mut [Source], identity: &Identity) -> Vec<Culprit> {
    let mut culprits = Vec::new();
    for at in 0..sources.len() {
        let groups = groups(&sources[at]);
        if groups.len() < 2 {
            continue;
        }
        let rank = |group: &Vec<usize>| {
            let backend = &sources[at].services[group[0]];
            let others = sources.iter().enumerate().filter(|(other, _)| *other != at);
            let agreeing = others.filter(|(_, other)| services(other).any(|(_, other)| agrees(backend, other, false)));
            let of_group = || group.iter().map(|index| &sources[at].services[*index]);
            let is_named = of_group().any(|backend| backend.service.eq_ignore_ascii_case(identity.as_str()));
            (agreeing.count(), !of_group().all(is_operational), is_named)
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
        culprits.extend(others.iter().map(|index| {
            let backend = &sources[at].services[*index];
            let message = format!("{}, and the service has {of_service}; it is no endpoint", main_port(backend));
            culprit(&sources[at], backend, message)
        }));
        let mut index = 0;
        sources[at].services.retain(|_| {
            index += 1;
            !others.contains(&(index - 1))
        });
    }
    culprits
}

fn culprit(source: &Source, backend: &Backend, message: String) -> Culprit {
    let service = ObjectId::new(Kind::Service, &backend.namespace, &backend.service);
    Culprit { cluster: source.cluster.clone(), service, message }
}

/// The Services of a cluster by their index; machines say their ports themselves.
fn services(source: &Source) -> impl Iterator<Item = (usize, &Backend)> {
    source.services.iter().enumerate().filter(|(_, backend)| backend.machine.is_none())
}

/// The Services of a cluster, those together that agree with each other.
fn groups(source: &Source) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, backend) in services(source) {
        let is_theirs = |group: &&mut Vec<usize>| {
            let mut others = group.iter().map(|other| &source.services[*other]);
            // Teams may give one port different numbers, and a team would not give two the same name.
            others.any(|other| agrees(other, backend, other.namespace != backend.namespace))
        };
        match groups.iter_mut().find(is_theirs) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Whether the main ports of two Services may well be one port of one service: by their number or target, or by their name.
fn agrees(a: &Backend, b: &Backend, by_name: bool) -> bool {
    let (Some(a), Some(b)) = (a.ports.first(), b.ports.first()) else { return true };
    a.number == b.number || a.target == b.target || by_name && !a.name.is_empty() && a.name == b.name
}

fn is_operational(backend: &Backend) -> bool {
    let of = |name: &str| name.split('-').any(|word| OPERATIONAL.contains(&word));
    backend.ports.first().is_some_and(|port| of(&port.name)) || of(&backend.service)
}

fn main_port(backend: &Backend) -> String {
    let port = backend.ports.first();
    format!("its main port is {}", port.map_or_else(String::new, in_words))
}

/// A Service with its main port.
fn shown(backend: &Backend) -> String {
    let port = backend.ports.first().map_or_else(String::new, in_words);
    format!("{port} (Service {}/{})", backend.namespace, backend.service)
}

fn in_words(port: &BackendPort) -> String {
    let name = if port.name.is_empty() { String::new() } else { format!(" {}", port.name) };
    format!("{}{name}", port.number)
}
