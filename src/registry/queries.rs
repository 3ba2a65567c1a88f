//! Answers questions about the fleet: for the writers, the server and the commands.

use std::{collections::BTreeSet, sync::Arc};

use super::{Registry, control_planes, last_known, routing_inputs, status::ClusterStatus};
use crate::{
    config::WithoutDependency,
    model::{ClusterName, Identity, Kind, ObjectId, ServiceKey, Variant, WorkKey, Written},
};

/// Questions about the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    pub(super) registry: &'a Registry,
}

/// Questions about what was written in the clusters, and what may be.
#[derive(Debug, Clone, Copy)]
pub struct OutputQueries<'a> {
    pub(super) registry: &'a Registry,
}

/// What planning takes, read out of the stores.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub(super) registry: &'a Registry,
}

impl Queries<'_> {
    /// Every service that runs, or has managed objects, or runs in a cluster that cannot be read.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceKey> {
        let mut services: BTreeSet<ServiceKey> = self.registry.index.clusters_of.keys();
        services.extend(self.registry.last_known.keys());
        // Their clients get filters, wherever the service itself runs.
        services.extend(routing_inputs::routing_policy_keys(self.registry, None));
        services.into_iter().collect()
    }

    /// Every namespace with workloads that belong to a service, in the clusters whose istiods serve them, sorted.
    #[must_use]
    pub fn client_namespaces(&self) -> Vec<(ClusterName, Arc<str>)> {
        let mut namespaces = BTreeSet::new();
        for state in self.registry.fleet.iter() {
            for plane in self.registry.control_planes.of(state.name()) {
                namespaces
                    .extend(state.workloads.client_namespaces().map(|namespace| (plane.clone(), namespace.clone())));
            }
        }
        namespaces.into_iter().collect()
    }

    /// Names of the registered clusters, sorted.
    #[must_use]
    pub fn cluster_names(&self) -> Vec<ClusterName> {
        self.registry.fleet.names()
    }

    /// Every registered cluster.
    #[must_use]
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        let status = |name: &ClusterName| {
            let state = self.registry.fleet.get(name)?;
            Some(ClusterStatus {
                name: name.clone(),
                kinds: state.freshness.kinds().iter().map(|(kind, state)| (*kind, state.clone())).collect(),
                regions: state.topology.regions(),
                network: state.network(),
                gateway: state.topology.gateway(),
                control_planes: self.registry.control_planes.read().get(name).into_iter().flatten().cloned().collect(),
                workloads: state.workloads.count(),
                services: state.workloads.service_keys().count(),
                written: state.outputs.owned().count(),
            })
        };
        self.registry.fleet.names().iter().filter_map(status).collect()
    }
}

impl OutputQueries<'_> {
    /// The managed objects for a unit in a cluster.
    #[must_use]
    pub fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>> {
        let Some(state) = self.registry.fleet.get(cluster) else { return Vec::new() };
        match unit {
            WorkKey::Service(key) => state.outputs.of(key),
            WorkKey::Sidecar(_, namespace) => state.outputs.sidecars_in(namespace),
            WorkKey::Host(host) => state.outputs.copies_of(host),
            WorkKey::Namespace(_, namespace) => state.outputs.of_namespace(namespace),
        }
    }

    /// The clusters with managed objects for a service or a host.
    #[must_use]
    pub fn clusters_holding(&self, unit: &WorkKey) -> BTreeSet<ClusterName> {
        let holding = |clusters: &[ClusterName]| {
            let holds = |cluster: &&ClusterName| !self.registry.outputs().written_of(cluster, unit).is_empty();
            clusters.iter().filter(holds).cloned().collect()
        };
        match unit {
            WorkKey::Service(key) => holding(&self.registry.index.clusters_of.of(key)),
            WorkKey::Host(_) => holding(&self.registry.fleet.names()),
            WorkKey::Sidecar(cluster, _) | WorkKey::Namespace(cluster, _) => holding(std::slice::from_ref(cluster)),
        }
    }

    /// One ServiceEntry, DestinationRule or Sidecar, whoever made it.
    #[must_use]
    pub fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.registry.fleet.get(cluster)?.outputs.get(id)
    }

    /// Every managed object in a cluster.
    #[must_use]
    pub fn owned(&self, cluster: &ClusterName) -> Vec<Arc<Written>> {
        let Some(state) = self.registry.fleet.get(cluster) else { return Vec::new() };
        let mut owned: Vec<_> = state.outputs.owned().cloned().collect();
        owned.sort_by(|a, b| a.id.cmp(&b.id));
        owned
    }

    /// Number of managed objects in a cluster.
    #[must_use]
    pub fn owned_count(&self, cluster: &ClusterName) -> usize {
        self.registry.fleet.get(cluster).map_or(0, |state| state.outputs.owned_count())
    }

    /// Whether a VirtualService holds the weights of a Rollout there, and so is no user's route (Admiral,
    /// docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
    #[must_use]
    pub fn is_rollout_route(&self, cluster: &ClusterName, id: &ObjectId) -> bool {
        self.registry.fleet.get(cluster).is_some_and(|state| state.workloads.rollouts().own_route(id))
    }

    /// Whether the written objects of a cluster are known, so that differences can be found.
    #[must_use]
    pub fn can_write(&self, cluster: &ClusterName) -> bool {
        self.registry.fleet.get(cluster).is_some_and(|state| {
            let written = [Kind::ServiceEntry, Kind::DestinationRule];
            written.iter().all(|kind| state.freshness.knows(*kind)) && !state.freshness.is_loading()
        })
    }

    /// Whether all is known that could make an managed object wanted in a cluster.
    #[must_use]
    pub fn may_remove(&self, cluster: &ClusterName) -> bool {
        self.registry.ready().is_ok()
            && self.registry.fleet.get(cluster).is_some_and(|state| state.freshness.knows_all_wanted())
            && !control_planes::misses_readers(self.registry, cluster)
    }

    /// Whether a namespace exists; `None` when the namespaces of the cluster are not known.
    #[must_use]
    pub fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool> {
        let state = self.registry.fleet.get(cluster)?;
        state.freshness.knows(Kind::Namespace).then(|| state.namespaces.has(name))
    }
}

/// The Service ports besides the main one under which a service is published, or was where a cluster cannot be read.
pub(super) fn further_ports(registry: &Registry, key: &ServiceKey) -> BTreeSet<u16> {
    let mut clusters: BTreeSet<ClusterName> = registry.index.clusters_of.of(key).iter().cloned().collect();
    clusters.extend(last_known::clusters_with(registry, key));
    let mut ports = BTreeSet::new();
    for state in clusters.iter().filter_map(|cluster| registry.fleet.get(cluster)) {
        let backends = state.backends(key, &[]);
        ports.extend(backends.all().flat_map(|backend| backend.ports.iter().skip(1)).map(|port| port.number));
        let written = last_known::service_in(registry, &state, key, Variant::Default);
        ports.extend(written.iter().flat_map(|written| written.ports.values()).map(|(number, _)| *number));
    }
    ports
}

pub(super) fn keys_of(registry: &Registry, identity: &Identity) -> Vec<ServiceKey> {
    let mut keys = routing_inputs::routing_policy_keys(registry, Some(identity));
    keys.extend(registry.index.services_of(identity));
    keys.into_iter().collect()
}

/// The services with endpoints in a cluster.
pub(super) fn keys_running_in(registry: &Registry, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
    let mut keys: BTreeSet<ServiceKey> = registry
        .fleet
        .get(cluster)
        .map_or_else(BTreeSet::new, |state| state.workloads.service_keys().cloned().collect());
    if let Some(known) = registry.last_known.get(cluster) {
        keys.extend(known.keys().cloned());
    }
    keys
}

/// Those, and the services with managed objects there.
fn keys_in(registry: &Registry, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
    let mut keys = keys_running_in(registry, cluster);
    if let Some(state) = registry.fleet.get(cluster) {
        keys.extend(state.outputs.keys().cloned());
    }
    keys
}

/// The services whose objects a cluster should hold: of its own, of those it depends on, of those that all get.
pub(super) fn keys_for(registry: &Registry, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
    let mut keys = keys_in(registry, cluster);
    let clients = registry.fleet.get(cluster).map(|state| state.workloads.identities().all()).unwrap_or_default();
    let dependencies = registry.dependencies.read();
    for destination in clients.iter().flat_map(|client| dependencies.destinations_of(client)) {
        keys.extend(keys_of(registry, &destination));
    }
    if registry.settings.without_dependency == WithoutDependency::All {
        let undeclared = |key: &ServiceKey| dependencies.sources_of(&key.identity).is_empty();
        keys.extend(registry.queries().services().into_iter().filter(undeclared));
    }
    keys
}
