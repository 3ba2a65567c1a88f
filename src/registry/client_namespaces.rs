//! Client namespaces as planning takes them: whom their workloads call, and under which hosts.
//!
//! Decides nothing about Sidecars.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Inputs, Registry, adoption, choice, control_planes, host_claims, queries};
use crate::{
    config::Sidecars,
    model::{ClusterName, Host, Identity, ServiceKey},
    plan::input::ClientNamespace,
};

impl Inputs<'_> {
    /// One client namespace, or `None` while nothing may be planned, as long as clients there cannot be read.
    #[must_use]
    pub fn sidecar(&self, cluster: &ClusterName, namespace: &str) -> Option<ClientNamespace> {
        self.registry.ready().ok()?;
        if control_planes::misses_readers(self.registry, cluster) {
            return None;
        }
        let read_in: Vec<ClusterName> = if self.registry.control_planes.is_remote(cluster) {
            Vec::new()
        } else {
            [vec![cluster.clone()], control_planes::remotes_of(self.registry, cluster)].concat()
        };
        // Who has a sidecar because of the namespace is not known: then no host may be taken away.
        if read_in.iter().any(|of| self.registry.fleet.get(of).is_some_and(|state| state.coverage().doubts_sidecars()))
        {
            return None;
        }
        let identities = |of: &ClusterName| {
            self.registry.fleet.get(of).map(|state| state.workloads.identities().in_namespace(namespace))
        };
        let clients: BTreeSet<Identity> = read_in.iter().filter_map(identities).flatten().collect();
        let (destinations, mut hosts) = called_by(self.registry, &clients);
        let keys: Vec<ServiceKey> =
            destinations.iter().flat_map(|identity| queries::keys_of(self.registry, identity)).collect();
        let (of_services, further_ports) = published_hosts(self.registry, &keys);
        hosts.extend(of_services);
        let local_services = local_services(self.registry, &keys, &read_in);
        let state = self.registry.fleet.get(cluster)?;
        let elsewhere = hosts.iter().flat_map(|host| {
            adoption::entry_namespaces(self.registry, &state, host)
                .into_iter()
                .map(|namespace| (namespace, host.clone()))
        });
        Some(ClientNamespace {
            cluster: cluster.clone(),
            domain: state.domain(),
            istio_namespace: state.namespaces.of_istio().clone(),
            elsewhere: elsewhere.collect(),
            namespace: namespace.into(),
            is_client: !destinations.is_empty(),
            hosts: hosts.into_iter().collect(),
            further_ports,
            local_services: local_services.into_iter().collect(),
        })
    }
}

/// What some identities call, and the hosts of the proxies of these: a route for a host that the Sidecar leaves out never
/// reaches the client's proxy.
fn called_by(registry: &Registry, clients: &BTreeSet<Identity>) -> (BTreeSet<Identity>, BTreeSet<Host>) {
    let dependencies = registry.dependencies.read();
    let destinations: BTreeSet<Identity> =
        clients.iter().flat_map(|client| dependencies.destinations_of(client)).collect();
    let proxied = destinations.iter().flat_map(|destination| dependencies.proxies.hosts_before(destination));
    let hosts = proxied.cloned().collect();
    (destinations, hosts)
}

/// The hosts of some services; and those with further ports, where these matter, with them.
fn published_hosts(registry: &Registry, keys: &[ServiceKey]) -> (BTreeSet<Host>, BTreeMap<Host, BTreeSet<u16>>) {
    let (mut hosts, mut further_ports) = (BTreeSet::new(), BTreeMap::new());
    for key in keys {
        let of_key = host_claims::hosts_of(registry, key);
        if registry.settings.sidecars == Sidecars::Merge {
            let further = queries::further_ports(registry, key);
            let with_any = of_key.iter().filter(|_| !further.is_empty());
            further_ports.extend(with_any.map(|host| (host.clone(), further.clone())));
        }
        hosts.extend(of_key);
    }
    (hosts, further_ports)
}

/// Namespace and name of the Services of some services in some clusters.
fn local_services(
    registry: &Registry,
    keys: &[ServiceKey],
    clusters: &[ClusterName],
) -> BTreeSet<(Arc<str>, Arc<str>)> {
    let mut found = BTreeSet::new();
    for (key, cluster) in keys.iter().flat_map(|key| clusters.iter().map(move |cluster| (key, cluster))) {
        let backends = choice::backends_in(registry, key, cluster);
        let of_services = backends.all().filter(|backend| backend.machine.is_none());
        found.extend(of_services.map(|backend| (backend.namespace.clone(), backend.service.clone())));
    }
    found
}

/// The namespaces that run an identity which depends on the service, in the clusters whose istiods serve them.
pub(super) fn namespaces_of_dependents(registry: &Registry, key: &ServiceKey) -> BTreeSet<(ClusterName, Arc<str>)> {
    let dependents = registry.dependencies.read().sources_of(&key.identity);
    let mut namespaces = BTreeSet::new();
    for (cluster, here) in namespaces_running(registry, &dependents) {
        for plane in registry.control_planes.of(&cluster) {
            namespaces.extend(here.iter().map(|namespace| (plane.clone(), namespace.clone())));
        }
    }
    namespaces
}

/// The namespaces that run one of some identities, by cluster.
pub(super) fn namespaces_running<'a>(
    registry: &Registry,
    identities: impl IntoIterator<Item = &'a Identity>,
) -> BTreeMap<ClusterName, BTreeSet<Arc<str>>> {
    let mut namespaces: BTreeMap<ClusterName, BTreeSet<Arc<str>>> = BTreeMap::new();
    for identity in identities {
        for cluster in registry.index.running.of(identity).iter() {
            let here = registry
                .fleet
                .get(cluster)
                .map(|state| state.workloads.identities().namespaces_of(identity))
                .unwrap_or_default();
            if !here.is_empty() {
                namespaces.entry(cluster.clone()).or_default().extend(here);
            }
        }
    }
    namespaces
}
