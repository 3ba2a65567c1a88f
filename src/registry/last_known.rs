//! What written ServiceEntries say about clusters that cannot be read.
//!
//! After a restart a cluster may be out of reach, or one kind in it. Its endpoints are still in the ServiceEntries
//! of the others, and its local ones in its own, each labelled with the cluster it leads to: that is the last that was
//! known of it, and planning goes on from there instead of taking the cluster for empty.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use dashmap::mapref::one::Ref;

use super::{
    Registry,
    cluster_state::ClusterState,
    locks::{Rank, RankedGuard, RankedMap},
};
use crate::{
    model::{ClusterName, GatewayAddress, Kind, Locality, PublishedEndpoint, ServiceKey, Variant, Written},
    plan::input::{LastKnownEndpoint, RelativeWeight},
};

/// Where a ServiceEntry is: its cluster and its host.
type EntryAt = (ClusterName, Arc<str>);

/// How one ServiceEntry shows a service of the cluster.
#[derive(Debug, Clone)]
struct EntryView {
    /// The clusters whose proxies read it.
    read_in: Vec<ClusterName>,
    /// Name, number for clients and protocol of each port.
    ports: BTreeMap<String, (u16, String)>,
    endpoints: Vec<PublishedEndpoint>,
}

/// One service of a cluster that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastKnownService {
    pub(super) workload: Kind,
    pub(super) ports: BTreeMap<String, (u16, String)>,
    pub(super) gateway: Option<GatewayAddress>,
    pub(super) locality: Option<Locality>,
    /// Its endpoints as the cluster itself sees them.
    pub(super) local: Vec<LastKnownEndpoint>,
    /// Its pods as clusters of the same network see them, sorted.
    pub(super) pods: Vec<LastKnownEndpoint>,
}

/// What was last known of the clusters that cannot be read, by the label value of each one's name.
#[derive(Debug)]
pub(super) struct LastKnownOutputs(RankedMap<String, LastKnownCluster>);

impl Default for LastKnownOutputs {
    fn default() -> Self {
        Self(RankedMap::new(Rank::LastKnown))
    }
}

impl LastKnownOutputs {
    /// What was last known of a cluster.
    pub(super) fn get(&self, cluster: &ClusterName) -> Option<RankedGuard<Ref<'_, String, LastKnownCluster>>> {
        self.0.get(&cluster.label_value())
    }

    /// Learns from a ServiceEntry what it shows of the cluster with this label value.
    pub(super) fn learn(&self, label: String, learn: impl FnOnce(&mut LastKnownCluster)) {
        learn(&mut self.0.get_or_insert_with(label, LastKnownCluster::default));
    }

    /// Forgets a cluster that can be read, or left.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.0.remove(&cluster.label_value());
    }

    /// The label values of the clusters that had a service.
    fn labels_with(&self, key: &ServiceKey) -> Vec<String> {
        self.0.iter().filter(|known| known.has(key)).map(|known| known.key().clone()).collect()
    }

    /// The services of all these clusters.
    pub(super) fn keys(&self) -> BTreeSet<ServiceKey> {
        self.0.iter().flat_map(|known| known.keys().cloned().collect::<Vec<_>>()).collect()
    }
}

/// All that was last known of one cluster.
#[derive(Debug, Default)]
pub(super) struct LastKnownCluster {
    services: HashMap<ServiceKey, BTreeMap<EntryAt, EntryView>>,
}

impl LastKnownCluster {
    /// Learns what the ServiceEntry of `key` at `at` shows of this cluster.
    pub(super) fn learn(
        &mut self,
        key: &ServiceKey,
        at: EntryAt,
        read_in: &[ClusterName],
        endpoints: Vec<PublishedEndpoint>,
        ports: &[(String, u16, String)],
    ) {
        let read_in = if read_in.is_empty() { vec![at.0.clone()] } else { read_in.to_vec() };
        let ports = ports.iter().map(|(name, number, protocol)| (name.clone(), (*number, protocol.clone()))).collect();
        self.services.entry(key.clone()).or_default().insert(at, EntryView { read_in, ports, endpoints });
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    pub(super) fn has(&self, key: &ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    /// One variant of a service, as most of what was written shows it. `of` is the cluster itself.
    pub(super) fn service(&self, key: &ServiceKey, variant: Variant, of: &ClusterName) -> Option<LastKnownService> {
        let shown: BTreeMap<&EntryAt, &EntryView> =
            self.services.get(key)?.iter().filter(|(_, shown)| shown.is_of(variant)).collect();
        let (at_home, abroad): (Vec<_>, Vec<_>) = shown.iter().partition(|(_, shown)| shown.is_home_of(of));
        let endpoints = || abroad.iter().chain(&at_home).flat_map(|(_, shown)| &shown.endpoints);
        endpoints().next()?;
        let local = at_home.first().map(|(_, shown)| last_known(&shown.endpoints));
        Some(LastKnownService {
            workload: most_frequent(abroad.iter().flat_map(|(_, shown)| &shown.endpoints).filter_map(kind))
                // In a cluster where a Rollout runs next to another kind, the endpoints of others have no kind.
                .or_else(|| most_frequent(endpoints().filter_map(kind).filter(|kind| *kind != Kind::Rollout)))
                .or_else(|| most_frequent(endpoints().filter_map(kind)))
                .unwrap_or(Kind::Deployment),
            ports: most_frequent(shown.values().map(|shown| shown.ports.clone()))?,
            gateway: most_frequent(abroad.iter().flat_map(|(_, shown)| &shown.endpoints).filter_map(gateway)),
            locality: most_frequent(abroad.iter().flat_map(|(_, shown)| &shown.endpoints).filter_map(place))
                .or_else(|| most_frequent(endpoints().filter_map(place_of_cluster)))
                .or_else(|| most_frequent(endpoints().filter_map(place)))
                .or_else(|| most_frequent(endpoints().filter_map(region))),
            local: local.unwrap_or_default(),
            pods: most_frequent(shown.values().map(|shown| directly(&shown.endpoints)).filter(|pods| !pods.is_empty()))
                .unwrap_or_default(),
        })
    }

    /// The address at which most of what was written reaches the cluster.
    pub(super) fn gateway(&self, of: &ClusterName) -> Option<GatewayAddress> {
        let abroad = self.services.values().flatten().filter(|(_, shown)| !shown.is_home_of(of));
        most_frequent(abroad.flat_map(|(_, shown)| &shown.endpoints).filter_map(gateway))
    }

    /// The network in which most of what was written places the cluster.
    pub(super) fn network(&self) -> Option<Arc<str>> {
        let shown = self.services.values().flatten().flat_map(|(_, shown)| &shown.endpoints);
        most_frequent(shown.filter_map(|endpoint| endpoint.network.clone()))
    }

    /// What most of the cluster's own names that were written end with.
    pub(super) fn domain(&self, of: &ClusterName) -> Option<Arc<str>> {
        let at_home = self.services.values().flatten().filter(|(_, shown)| shown.is_home_of(of));
        most_frequent(at_home.flat_map(|(_, shown)| &shown.endpoints).filter_map(domain))
    }

    /// Where most of what was written places the cluster.
    pub(super) fn locality(&self, of: &ClusterName) -> Option<Locality> {
        let abroad = self.services.values().flatten().filter(|(_, shown)| !shown.is_home_of(of));
        let at_home = self.services.values().flatten().filter(|(_, shown)| shown.is_home_of(of));
        most_frequent(abroad.flat_map(|(_, shown)| &shown.endpoints).filter_map(place))
            .or_else(|| most_frequent(at_home.flat_map(|(_, shown)| &shown.endpoints).filter_map(place_of_cluster)))
            .or_else(|| most_frequent(self.directly_of(of).filter_map(region)))
    }

    fn directly_of(&self, of: &ClusterName) -> impl Iterator<Item = &PublishedEndpoint> {
        let abroad = self.services.values().flatten().filter(move |(_, shown)| !shown.is_home_of(of));
        abroad.flat_map(|(_, shown)| &shown.endpoints).filter(|endpoint| endpoint.direct)
    }
}

fn kind(endpoint: &PublishedEndpoint) -> Option<Kind> {
    endpoint.workload
}

/// Where a gateway places its cluster. A pod has a zone of its own.
fn place(endpoint: &PublishedEndpoint) -> Option<Locality> {
    endpoint.locality.clone().filter(|_| !endpoint.direct)
}

fn region(endpoint: &PublishedEndpoint) -> Option<Locality> {
    endpoint.locality.as_ref().map(|locality| Locality::region(&locality.region))
}

/// Where a local endpoint places its cluster. A machine may be elsewhere.
fn place_of_cluster(endpoint: &PublishedEndpoint) -> Option<Locality> {
    let is_machine = matches!(endpoint.workload, Some(Kind::WorkloadEntry | Kind::ServiceEntry));
    endpoint.locality.clone().filter(|_| !is_machine && !endpoint.direct)
}

impl EntryView {
    /// Whether it shows a cluster as that sees itself: where others read it, too, it never shows its gateway.
    fn is_home_of(&self, cluster: &ClusterName) -> bool {
        self.read_in.contains(cluster)
    }

    fn is_of(&self, variant: Variant) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.variant == variant)
    }
}

/// Local endpoints as they were written, each with what it counted relative to the others: the endpoints of Rollouts in one
/// namespace are one workload, every other endpoint is a workload of its own.
fn last_known(endpoints: &[PublishedEndpoint]) -> Vec<LastKnownEndpoint> {
    // service.namespace.svc.domain
    let namespace = |of: &PublishedEndpoint| of.address.split('.').nth(1).map(str::to_owned);
    let endpoints: Vec<&PublishedEndpoint> = endpoints.iter().filter(|endpoint| !endpoint.direct).collect();
    let (of_rollouts, others): (Vec<_>, Vec<_>) =
        endpoints.iter().copied().partition(|of| of.workload == Some(Kind::Rollout));
    let rollouts: BTreeSet<Option<String>> = of_rollouts.into_iter().map(namespace).collect();
    let workloads = (rollouts.len() + others.len()) as u64;
    let sum = endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).sum();
    let relative_weight = |weight: u32| {
        if weight == 0 { RelativeWeight::WHOLE } else { RelativeWeight::of_average(weight, sum, workloads) }
    };
    let known = endpoints.iter().map(|endpoint| LastKnownEndpoint {
        address: endpoint.address.clone(),
        workload: endpoint.workload.unwrap_or(Kind::Deployment),
        locality: endpoint.locality.clone(),
        ports: endpoint.ports.clone(),
        relative_weight: relative_weight(endpoint.weight),
    });
    known.collect()
}

/// Pods as they were written in one ServiceEntry, sorted, each with its part of what their cluster counts.
fn directly(endpoints: &[PublishedEndpoint]) -> Vec<LastKnownEndpoint> {
    let pods = || endpoints.iter().filter(|endpoint| endpoint.direct);
    let weight = |endpoint: &PublishedEndpoint| endpoint.weight.max(1);
    let sum = pods().map(|endpoint| u64::from(weight(endpoint))).sum();
    let mut known: Vec<LastKnownEndpoint> = pods()
        .map(|endpoint| LastKnownEndpoint {
            address: endpoint.address.clone(),
            workload: endpoint.workload.unwrap_or(Kind::Deployment),
            locality: endpoint.locality.clone(),
            ports: endpoint.ports.clone(),
            relative_weight: RelativeWeight::of_average(weight(endpoint), sum, 1),
        })
        .collect();
    known.sort();
    known
}

fn gateway(endpoint: &PublishedEndpoint) -> Option<GatewayAddress> {
    // A Service's own name means something in its cluster alone.
    if endpoint.direct || domain(endpoint).is_some() {
        return None;
    }
    let port = *endpoint.ports.values().next()?;
    Some(GatewayAddress { address: endpoint.address.clone(), port })
}

/// The last part of a local endpoint's name, `<service>.<namespace>.svc.<domain>`.
fn domain(endpoint: &PublishedEndpoint) -> Option<Arc<str>> {
    let mut parts = endpoint.address.trim_end_matches('.').splitn(4, '.');
    let (_service, _namespace) = (parts.next()?, parts.next()?);
    parts.next().filter(|part| *part == "svc")?;
    parts.next().map(Into::into)
}

/// The most frequent of some items; the least of several, so that no order decides.
fn most_frequent<T: Ord>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(item, _)| item)
}

/// Restores in every cluster what was written about it before the restart; of those that are known no more is needed.
pub(super) fn restore_all(registry: &Registry) {
    for cluster in registry.fleet.names() {
        restore(registry, &cluster);
        if registry.fleet.get(&cluster).is_some_and(|state| state.coverage().endpoints()) {
            registry.last_known.forget(&cluster);
        }
    }
}

/// Restores in a cluster what was written about it before the restart.
pub(super) fn restore(registry: &Registry, cluster: &ClusterName) {
    let (gateway, domain, network) = match registry.last_known.get(cluster) {
        Some(known) => (known.gateway(cluster), known.domain(cluster), known.network()),
        None => return,
    };
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return };
    if let Some(gateway) = gateway {
        state.topology.restore_gateway(gateway);
    }
    if let Some(domain) = domain {
        state.topology.restore_domain(domain);
    }
    if let Some(network) = network {
        state.topology.restore_network(network);
    }
}

/// A pod is only reached directly from its own network: where one is an endpoint, that is the network of the cluster, as long as
/// its Namespaces were not read. Where several clusters read, each endpoint says its own.
pub(super) fn restore_network(registry: &Registry, cluster: &ClusterName, written: &Written) {
    let label = cluster.label_value();
    let is_shared = !written.recalled.read_in.is_empty();
    let is_of = |of: &&PublishedEndpoint| if is_shared { of.cluster_label == label } else { of.direct };
    let pod = written.endpoints.iter().find(is_of);
    if let Some(network) = pod.and_then(|pod| pod.network.clone())
        && let Some(mut state) = registry.fleet.get_mut(cluster)
    {
        state.topology.restore_network(network);
    }
}

/// Clusters that cannot be read and had the service.
pub(super) fn clusters_with(registry: &Registry, key: &ServiceKey) -> Vec<ClusterName> {
    registry.last_known.labels_with(key).iter().filter_map(|label| registry.fleet.by_label(label)).collect()
}

/// What was last known of a service in a cluster, while that cannot be read.
pub(super) fn service_in(
    registry: &Registry,
    state: &ClusterState,
    key: &ServiceKey,
    variant: Variant,
) -> Option<LastKnownService> {
    if state.coverage().endpoints() {
        return None;
    }
    registry.last_known.get(state.name())?.service(key, variant, state.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str) -> PublishedEndpoint {
        PublishedEndpoint {
            cluster_label: "east".into(),
            address: address.into(),
            locality: Some(Locality::region("us-east")),
            network: Some("network-3".into()),
            direct: false,
            workload: Some(Kind::Deployment),
            weight: 0,
            variant: Variant::Default,
            ports: [("http".to_owned(), 15443)].into(),
        }
    }

    #[test]
    fn the_values_of_most_entries_count_in_any_order() {
        let key = ServiceKey::parse("payments", "stage").unwrap();
        let east = ClusterName::parse("east").unwrap();
        let mut seen = [("a", "192.0.2.9"), ("b", "192.0.2.1"), ("c", "192.0.2.9"), ("east", "local.svc")];
        for _ in 0..2 {
            let mut known = LastKnownCluster::default();
            for (cluster, address) in seen {
                let at = (ClusterName::parse(cluster).unwrap(), "stage.payments.global".into());
                known.learn(&key, at, &[], vec![endpoint(address)], &[("http".into(), 80, "http".into())]);
            }
            let service = known.service(&key, Variant::Default, &east).unwrap();
            assert_eq!(&*service.gateway.unwrap().address, "192.0.2.9");
            assert_eq!(&*service.local[0].address, "local.svc");
            assert_eq!(&*known.gateway(&east).unwrap().address, "192.0.2.9");
            assert_eq!(known.network().as_deref(), Some("network-3"));
            seen.reverse();
        }
    }
}
