//! Answers questions about the fleet: for the writers, the server and the commands.

use std::{collections::BTreeSet, sync::Arc};

use super::{Registry, status::ClusterStatus};
use crate::{
    config::WithoutDependency,
    model::{ClusterName, Identity, Kind, ObjectId, ServiceKey, Variant, WorkKey, Written},
};

impl Registry {
    /// The Service ports besides the main one under which a service is published, or was where a cluster cannot be read.
    pub(super) fn further_ports(&self, key: &ServiceKey) -> BTreeSet<u16> {
        let mut clusters: BTreeSet<ClusterName> = self.clusters_of.of(key).iter().cloned().collect();
        clusters.extend(self.carrying(key));
        let mut ports = BTreeSet::new();
        for state in clusters.iter().filter_map(|cluster| self.cluster_states.get(cluster)) {
            let backends = state.backends(key, &[]);
            ports.extend(backends.all().flat_map(|backend| backend.ports.iter().skip(1)).map(|port| port.number));
            let written = self.carried_service(&state, key, Variant::Default);
            ports.extend(written.iter().flat_map(|written| written.ports.values()).map(|(number, _)| *number));
        }
        ports
    }

    // ---- lists ----

    /// Every service that runs, or has objects of ours, or runs in a cluster that cannot be read.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceKey> {
        let mut services: BTreeSet<ServiceKey> = self.clusters_of.keys();
        services.extend(self.carried.iter().flat_map(|carried| carried.keys().cloned().collect::<Vec<_>>()));
        // Their clients get filters, wherever the service itself runs.
        services.extend(self.routing_policy_keys(None));
        services.into_iter().collect()
    }

    pub(super) fn keys_of(&self, identity: &Identity) -> Vec<ServiceKey> {
        let mut keys = self.routing_policy_keys(Some(identity));
        keys.extend(self.services_of.get(identity).iter().flat_map(|services| services.iter().cloned()));
        keys.into_iter().collect()
    }

    /// The services with endpoints in a cluster.
    pub(super) fn keys_running_in(&self, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
        let mut keys: BTreeSet<ServiceKey> = self
            .cluster_states
            .get(cluster)
            .map_or_else(BTreeSet::new, |state| state.workloads.service_keys().cloned().collect());
        if let Some(carried) = self.carried.get(&cluster.label_value()) {
            keys.extend(carried.keys().cloned());
        }
        keys
    }

    /// Those, and the services with objects of ours there.
    pub(super) fn keys_in(&self, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
        let mut keys = self.keys_running_in(cluster);
        if let Some(state) = self.cluster_states.get(cluster) {
            keys.extend(state.outputs.keys().cloned());
        }
        keys
    }

    /// The services whose objects a cluster should hold: of its own, of those it depends on, of those that all get.
    pub(super) fn keys_for(&self, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
        let mut keys = self.keys_in(cluster);
        let clients =
            self.cluster_states.get(cluster).map(|state| state.workloads.identities().all()).unwrap_or_default();
        let dependencies = self.dependencies.read();
        for destination in clients.iter().flat_map(|client| dependencies.destinations_of(client)) {
            keys.extend(self.keys_of(&destination));
        }
        if self.settings.without_dependency == WithoutDependency::All {
            let undeclared = |key: &ServiceKey| dependencies.sources_of(&key.identity).is_empty();
            keys.extend(self.services().into_iter().filter(undeclared));
        }
        keys
    }

    /// Every namespace with workloads that belong to a service, in the clusters whose istiods serve them, sorted.
    #[must_use]
    pub fn client_namespaces(&self) -> Vec<(ClusterName, Arc<str>)> {
        let mut namespaces = BTreeSet::new();
        for state in &self.cluster_states {
            for plane in self.control_planes(state.key()) {
                namespaces
                    .extend(state.workloads.client_namespaces().map(|namespace| (plane.clone(), namespace.clone())));
            }
        }
        namespaces.into_iter().collect()
    }

    /// Names of the registered clusters, sorted.
    #[must_use]
    pub fn cluster_names(&self) -> Vec<ClusterName> {
        let mut names: Vec<_> = self
            .cluster_states
            .iter()
            .filter(|state| state.freshness.watches(Kind::ServiceEntry))
            .map(|state| state.key().clone())
            .collect();
        names.sort();
        names
    }

    /// Every registered cluster.
    #[must_use]
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        let status = |name: &ClusterName| {
            let state = self.cluster_states.get(name)?;
            Some(ClusterStatus {
                name: name.clone(),
                kinds: state.freshness.kinds().iter().map(|(kind, state)| (*kind, state.clone())).collect(),
                regions: state.topology.regions(),
                network: state.network(),
                gateway: state.topology.gateway(),
                control_planes: self.remotes.read().get(name).into_iter().flatten().cloned().collect(),
                workloads: state.workloads.count(),
                services: state.workloads.service_keys().count(),
                written: state.outputs.owned().count(),
            })
        };
        self.cluster_names().iter().filter_map(status).collect()
    }

    // ---- one cluster, for its writer ----

    /// The objects of ours for a unit in a cluster.
    #[must_use]
    pub fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>> {
        let Some(state) = self.cluster_states.get(cluster) else { return Vec::new() };
        match unit {
            WorkKey::Service(key) => state.outputs.of(key),
            WorkKey::Sidecar(_, namespace) => state.outputs.sidecars_in(namespace),
            WorkKey::Host(host) => state.outputs.copies_of(host),
            WorkKey::Namespace(_, namespace) => state.outputs.of_namespace(namespace),
        }
    }

    /// The clusters in which objects of ours for a service or a host stand.
    #[must_use]
    pub fn clusters_holding(&self, unit: &WorkKey) -> BTreeSet<ClusterName> {
        let holding = |clusters: &[ClusterName]| {
            let holds = |cluster: &&ClusterName| !self.written_of(cluster, unit).is_empty();
            clusters.iter().filter(holds).cloned().collect()
        };
        match unit {
            WorkKey::Service(key) => holding(&self.clusters_of.of(key)),
            WorkKey::Host(_) => holding(&self.cluster_names()),
            WorkKey::Sidecar(cluster, _) | WorkKey::Namespace(cluster, _) => holding(std::slice::from_ref(cluster)),
        }
    }

    /// One ServiceEntry, DestinationRule or Sidecar, whoever made it.
    #[must_use]
    pub fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.cluster_states.get(cluster)?.outputs.get(id)
    }

    /// Every object of ours in a cluster.
    #[must_use]
    pub fn owned(&self, cluster: &ClusterName) -> Vec<Arc<Written>> {
        let Some(state) = self.cluster_states.get(cluster) else { return Vec::new() };
        let mut owned: Vec<_> = state.outputs.owned().cloned().collect();
        owned.sort_by(|a, b| a.id.cmp(&b.id));
        owned
    }

    /// Number of objects of ours in a cluster.
    #[must_use]
    pub fn owned_count(&self, cluster: &ClusterName) -> usize {
        self.cluster_states.get(cluster).map_or(0, |state| state.outputs.owned_count())
    }

    /// Whether a VirtualService holds the weights of a Rollout there, and so is no user's route (Admiral,
    /// docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
    #[must_use]
    pub fn is_rollout_route(&self, cluster: &ClusterName, id: &ObjectId) -> bool {
        self.cluster_states.get(cluster).is_some_and(|state| state.is_rollout_route(id))
    }

    /// Whether it is known what stands in a cluster, so that differences can be told.
    #[must_use]
    pub fn can_write(&self, cluster: &ClusterName) -> bool {
        self.cluster_states.get(cluster).is_some_and(|state| {
            let written = [Kind::ServiceEntry, Kind::DestinationRule];
            written.iter().all(|kind| state.freshness.knows(*kind)) && !state.freshness.is_loading()
        })
    }

    /// Whether all is known that could make an object of ours wanted in a cluster.
    #[must_use]
    pub fn may_remove(&self, cluster: &ClusterName) -> bool {
        self.ready().is_ok()
            && self.cluster_states.get(cluster).is_some_and(|state| state.freshness.knows_all_wanted())
            && !self.misses_readers(cluster)
    }

    /// Whether a namespace exists; `None` when the namespaces of the cluster are not known.
    #[must_use]
    pub fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool> {
        let state = self.cluster_states.get(cluster)?;
        state.freshness.knows(Kind::Namespace).then(|| state.namespaces.has(name))
    }
}
