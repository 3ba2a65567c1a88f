//! The Sidecar of a client namespace: what its workloads depend on (Admiral, docs/admiral-behaviour.md#sidecars,
//! without its losses).

use std::collections::{BTreeMap, BTreeSet};

use super::{decision::SidecarDecision, ports::MAIN_PORT};
use crate::{
    config::{Settings, Sidecars},
    model::EgressHost,
    plan::input::ClientNamespace,
};

/// Decides what the proxies of a client namespace should see.
pub fn sidecar(client: &ClientNamespace, settings: &Settings) -> SidecarDecision {
    if !client.is_client || settings.sidecars == Sidecars::Off {
        return SidecarDecision::Nothing;
    }
    let global = client.hosts.iter().map(|host| format!("{}/{host}", settings.sync_namespace));
    let local = client
        .local_services
        .iter()
        .map(|(namespace, name)| format!("{namespace}/{name}.{namespace}.svc.{}", client.domain));
    let elsewhere = client.elsewhere.iter().map(|(namespace, host)| format!("{namespace}/{host}"));
    let hosts: BTreeSet<String> = global.chain(elsewhere).chain(local).collect();
    if settings.sidecars == Sidecars::Merge {
        let ports: BTreeMap<String, &BTreeSet<u16>> = client
            .further_ports
            .iter()
            .flat_map(|(host, ports)| {
                let elsewhere = client.elsewhere.iter().filter(move |(_, of)| of == host);
                let namespaces = elsewhere.map(|(namespace, _)| &**namespace).chain([&*settings.sync_namespace]);
                namespaces.map(move |namespace| (format!("{namespace}/{host}"), ports))
            })
            .collect();
        let with_ports = |host: String| EgressHost {
            ports: ports.get(&host).into_iter().copied().flatten().copied().filter(|port| *port != MAIN_PORT).collect(),
            host,
        };
        return SidecarDecision::Merge(hosts.into_iter().map(with_ports).collect());
    }
    // Besides its dependencies it sees itself, and the control plane.
    let base = ["./*".to_owned(), format!("{}/*", client.istio_namespace)];
    SidecarDecision::Only(base.into_iter().chain(hosts).collect())
}
