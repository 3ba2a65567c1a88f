//! The Sidecar of a client namespace: what its workloads depend on (Admiral, docs/admiral-behaviour.md#sidecars,
//! without its losses).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{Settings, Sidecars},
    istio::{Egress, Metadata, Sidecar, SidecarSpec, keys},
    model::EgressHost,
    plan::{MAIN_PORT, input::ClientNamespace},
};

/// What is wanted of the Sidecar of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarWant {
    /// Nothing of ours.
    Nothing,
    /// These hosts, in the namespace's own Sidecar.
    Merge {
        /// Sorted.
        hosts: Vec<EgressHost>,
    },
    /// A Sidecar of ours.
    Own(Sidecar),
}

/// Plans the Sidecar of a client namespace.
#[must_use]
pub fn sidecar(client: &ClientNamespace, settings: &Settings) -> SidecarWant {
    if !client.is_client || settings.sidecars == Sidecars::Off {
        return SidecarWant::Nothing;
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
        return SidecarWant::Merge { hosts: hosts.into_iter().map(with_ports).collect() };
    }
    // Besides its dependencies it sees itself, and the control plane.
    let base = ["./*".to_owned(), format!("{}/*", client.istio_namespace)];
    SidecarWant::Own(Sidecar {
        metadata: Metadata {
            name: settings.workload_sidecar_name.clone(),
            namespace: client.namespace.to_string(),
            labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
            annotations: BTreeMap::from([(keys::CREATED_BY.into(), keys::TRADEWIND.into())]),
        },
        spec: SidecarSpec {
            egress: vec![Egress { hosts: base.into_iter().chain(hosts).collect(), ..Egress::default() }],
        },
    })
}
