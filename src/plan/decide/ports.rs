//! Which ports clients use: the main port as 80, every further one under its own number, as far as all clusters offer it.

use std::collections::BTreeMap;

use crate::{
    config::{PublishedPorts, Settings},
    plan::input::{Backend, LastKnownEndpoint, Source},
};

/// Number under which the main port of every service is published (Admiral, docs/admiral-behaviour.md#ports).
pub(crate) const MAIN_PORT: u16 = 80;

/// A port that clients use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// Its number.
    pub number: u16,
    /// Its name, unique within the host.
    pub name: String,
    /// Its protocol in Admiral's spelling: `http`, `http2`, `grpc`, `grpc-web`, `tcp`, ….
    pub protocol: String,
}

/// The ports of a service over all the clusters that run it, the main port first; with what was wrong.
pub(super) fn published(sources: &[Source], settings: &Settings) -> (Vec<PublishedPort>, Vec<String>) {
    let mut problems = Vec::new();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for protocol in sources.iter().flat_map(main_protocols) {
        *votes.entry(protocol).or_default() += 1;
    }
    if votes.len() > 1 {
        let protocols: Vec<&str> = votes.keys().copied().collect();
        problems.push(format!(
            "the main port is {} in different places; the most frequent counts",
            protocols.join(" and ")
        ));
    }
    let main = votes
        .iter()
        .max_by(|(a, many), (b, more)| many.cmp(more).then(b.cmp(a)))
        .map_or("http", |(protocol, _)| protocol);
    let mut ports = vec![PublishedPort { number: MAIN_PORT, name: main.to_owned(), protocol: main.to_owned() }];
    if settings.published_ports == PublishedPorts::Main {
        return (ports, problems);
    }
    let offers: Vec<BTreeMap<u16, &str>> = sources.iter().flat_map(further).collect();
    let all: BTreeMap<u16, &str> = offers.iter().flatten().map(|(number, protocol)| (*number, *protocol)).collect();
    for (number, protocol) in all {
        if number == MAIN_PORT {
            problems.push(
                "port 80 is not the main port and cannot be published, because 80 stands for the main port".into(),
            );
        } else if offers.iter().all(|offer| offer.get(&number) == Some(&protocol)) {
            ports.push(PublishedPort { number, name: format!("{protocol}-{number}"), protocol: protocol.to_owned() });
        } else {
            problems.push(format!("port {number} ({protocol}) is not the same in every cluster; it is not published"));
        }
    }
    (ports, problems)
}

fn main_protocols(source: &Source) -> Vec<&str> {
    if source.services.is_empty() {
        let main = source.last_known_ports.values().find(|(number, _)| *number == MAIN_PORT);
        return main.map(|(_, protocol)| protocol.as_str()).into_iter().collect();
    }
    source.services.iter().filter_map(|backend| backend.ports.first()).map(|port| port.protocol).collect()
}

fn further(source: &Source) -> Vec<BTreeMap<u16, &str>> {
    if source.services.is_empty() {
        let carried = source.last_known_ports.values().filter(|(number, _)| *number != MAIN_PORT);
        return vec![carried.map(|(number, protocol)| (*number, protocol.as_str())).collect()];
    }
    source
        .services
        .iter()
        .map(|backend| backend.ports.iter().skip(1).map(|port| (port.number, port.protocol)).collect())
        .collect()
}

/// Where the published ports are at the address of a Service or machine of the cluster itself.
pub(super) fn at_address(ports: &[PublishedPort], backend: &Backend) -> BTreeMap<String, u16> {
    let at = |port: &PublishedPort| {
        let index = index_at(backend, port)?;
        let own = backend.ports.get(index).map(|port| port.at_address);
        backend.machine.as_ref().map_or(own, |machine| machine.ports.get(index).copied())
    };
    ports.iter().map(|port| (port.name.clone(), at(port).unwrap_or(port.number))).collect()
}

/// Which port of a Service of the cluster itself is published as this one.
pub(super) fn at_service(published: &PublishedPort, backend: &Backend) -> u16 {
    index_at(backend, published).and_then(|index| backend.ports.get(index)).map_or(published.number, |port| port.number)
}

/// Which of its ports is published as this one.
pub(super) fn index_at(backend: &Backend, published: &PublishedPort) -> Option<usize> {
    // The main port is published as 80, whatever its number.
    if published.number == MAIN_PORT {
        return (!backend.ports.is_empty()).then_some(0);
    }
    backend.ports.iter().skip(1).position(|port| port.number == published.number).map(|index| index + 1)
}

/// Where the published ports were at an address as it was written earlier; absent where it lacks one.
pub(super) fn last_known(
    ports: &[PublishedPort],
    source: &Source,
    endpoint: &LastKnownEndpoint,
) -> Option<BTreeMap<String, u16>> {
    let number = |port: &PublishedPort| {
        let (name, _) = source.last_known_ports.iter().find(|(_, (number, _))| *number == port.number)?;
        Some((port.name.clone(), *endpoint.ports.get(name)?))
    };
    ports.iter().map(number).collect()
}

/// Where the published ports are at a gateway: all behind the one port that routes by server name.
pub(super) fn at_gateway(ports: &[PublishedPort], gateway_port: u16) -> BTreeMap<String, u16> {
    ports.iter().map(|port| (port.name.clone(), gateway_port)).collect()
}
