//! What is known of one cluster: its stores, and the questions that two of them answer together.
//!
//! Routes each object to the store that keeps it and says what changed. It never decides what that means for other clusters.

mod backends;
pub(super) mod clients;
pub(super) mod coverage;
mod freshness;
mod gateways;
pub(super) mod host_overrides;
mod identity_index;
mod namespaces;
pub(super) mod outputs;
pub(super) mod policies;
mod problems;
mod rollout_references;
mod routes_by_host;
pub(super) mod services;
mod slices;
pub(super) mod topology;
pub(super) mod user_hosts;
mod user_routes;
pub(super) mod workloads;

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

pub(super) use backends::Backends;
pub(super) use problems::WorkloadProblem;

use coverage::Coverage;
use freshness::Freshness;
use identity_index::IdentityMoves;
use namespaces::{NamespaceChange, Namespaces};
use outputs::OutputIndex;
use policies::Policies;
use rollout_references::RefersTo;
use services::{ServiceChange, Services};
use topology::{ClusterTopology, TopologyChange};
use user_hosts::Routed;
use user_routes::UserRoutes;
use workloads::{
    Workloads,
    eligibility::{self, WorkloadEligibility},
};

use super::identity_owners::ChangedClaims;

use crate::{
    config::Settings,
    model::{
        ClusterName, EndpointSlice, HostOverride, Kind, LocalService, Namespace, Node, ObjectId, Route, ServiceKey,
        Workload,
    },
    plan::input::{AbsenceReason, Backend, Observation, Pod},
};

/// What changed in a cluster through one object.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Services to be planned again.
    pub(super) services: BTreeSet<ServiceKey>,
    /// Services whose pods alone changed.
    pub(super) pods: BTreeSet<ServiceKey>,
    /// Services whose first workload came to the cluster, or whose last one left it.
    pub(super) served: BTreeSet<ServiceKey>,
    /// Identities that began or ceased to run in a namespace of the cluster.
    pub(super) identities: IdentityMoves,
    /// Namespaces whose Sidecar is to be planned again.
    pub(super) sidecars: BTreeSet<Arc<str>>,
    /// Hosts for which users' routes changed.
    pub(super) hosts: BTreeSet<Arc<str>>,
    /// Namespaces that came or went.
    pub(super) namespaces: BTreeSet<Arc<str>>,
    /// Workloads and clients whose notes are to be reviewed.
    pub(super) noted: BTreeSet<ObjectId>,
    /// Hosts of users' ServiceEntries and DestinationRules that came, changed or went.
    pub(super) overridden: BTreeSet<Arc<str>>,
    /// What users' VirtualServices that came or went concern.
    pub(super) routed: Routed,
    /// What changed about the topology of the cluster.
    pub(super) topology: TopologyChange,
}

impl Effects {
    /// What follows from a change of the topology alone.
    pub(super) fn of_topology(topology: TopologyChange) -> Self {
        Self { topology, ..Self::default() }
    }

    /// What follows where services alone are to be planned again.
    pub(super) fn of_services(services: BTreeSet<ServiceKey>) -> Self {
        Self { services, ..Self::default() }
    }
}

/// One cluster, as a struct of stores.
#[derive(Debug)]
pub(super) struct ClusterState {
    name: ClusterName,
    /// How fresh each kind is.
    pub(super) freshness: Freshness,
    /// Who runs there.
    pub(super) workloads: Workloads,
    /// The Services with their EndpointSlices.
    pub(super) services: Services,
    pub(super) namespaces: Namespaces,
    /// Its nodes and gateways, and what its Istio namespace says about it.
    pub(super) topology: ClusterTopology,
    pub(super) policies: Policies,
    /// What users say about hosts.
    pub(super) user_routes: UserRoutes,
    /// What was written there.
    pub(super) outputs: OutputIndex,
}

impl ClusterState {
    pub(super) fn new(name: ClusterName, kinds: impl IntoIterator<Item = Kind>, settings: &Settings) -> Self {
        Self {
            workloads: Workloads::new(name.clone(), settings),
            name,
            freshness: Freshness::new(kinds),
            services: Services::default(),
            namespaces: Namespaces::new(&settings.istio_namespace),
            topology: ClusterTopology::new(settings),
            policies: Policies::default(),
            user_routes: UserRoutes::new(settings),
            outputs: OutputIndex::default(),
        }
    }

    pub(super) fn name(&self) -> &ClusterName {
        &self.name
    }

    // ---- objects ----

    pub(super) fn put_workload(&mut self, mut workload: Workload, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        let id = workload.id.clone();
        if !Kind::CLIENTS.contains(&id.kind) {
            let entry = workload.machines.as_mut().and_then(|machines| machines.host_override.take());
            self.user_routes.put_override(&id, entry.map(|entry| *entry), &mut effects);
        }
        let marks = self.namespaces.marks(&id.namespace);
        let routes = self.workloads.put(workload, marks, settings, &mut effects);
        self.touch_routes(&routes, &mut effects);
        effects
    }

    pub(super) fn remove_workload(&mut self, id: &ObjectId, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        if !Kind::CLIENTS.contains(&id.kind) {
            self.user_routes.put_override(id, None, &mut effects);
        }
        let marks = self.namespaces.marks(&id.namespace);
        let routes = self.workloads.remove(id, marks, settings, &mut effects);
        self.touch_routes(&routes, &mut effects);
        effects
    }

    /// What is copied of users' routes differs for the VirtualServices that a Rollout named or names now.
    fn touch_routes(&self, routes: &[RefersTo], effects: &mut Effects) {
        for (namespace, name) in routes {
            let route = self.user_routes.routes().get(&ObjectId::new(Kind::VirtualService, namespace, name));
            effects.hosts.extend(route.iter().flat_map(|route| route.full_hosts()));
        }
    }

    pub(super) fn put_service(&mut self, service: LocalService) -> Effects {
        let mut effects = Effects::default();
        if let Some(change) = self.services.put(service) {
            self.touch_services(&change, &mut effects);
            let now = change.touched.last().expect("the Service itself comes last");
            effects.topology |= self.topology.put_service(now);
        }
        effects
    }

    pub(super) fn remove_service(&mut self, id: &ObjectId) -> Effects {
        let mut effects = Effects::default();
        let change = self.services.remove(id);
        self.touch_services(&change, &mut effects);
        effects.topology |= self.topology.remove_service(id);
        effects
    }

    fn touch_services(&self, change: &ServiceChange, effects: &mut Effects) {
        effects.topology.any |= change.of_istiod;
        effects.services.extend(change.touched.iter().flat_map(|service| self.workloads.selected_by(service)));
    }

    pub(super) fn put_slice(&mut self, slice: EndpointSlice) -> Effects {
        let changed = self.services.put_slice(slice);
        self.touch_pods(&changed)
    }

    pub(super) fn remove_slice(&mut self, id: &ObjectId) -> Effects {
        let changed = self.services.remove_slice(id);
        self.touch_pods(&changed)
    }

    fn touch_pods(&self, changed: &[LocalService]) -> Effects {
        // Without a network, nobody is on the same one.
        let matters = self.network().is_some();
        let services = changed.iter().filter(|_| matters);
        let pods = services.flat_map(|service| self.workloads.selected_by(service)).collect();
        Effects { pods, ..Effects::default() }
    }

    pub(super) fn put_node(&mut self, node: Node) -> Effects {
        Effects::of_topology(self.topology.put_node(node))
    }

    pub(super) fn put_namespace(&mut self, namespace: Namespace, settings: &Settings) -> Effects {
        let name = namespace.id.name.clone();
        let mut effects = Effects::default();
        if !self.namespaces.has(&name) {
            effects.namespaces.insert(name.clone());
        }
        let change = self.namespaces.put(namespace);
        if change.marks {
            let marks = self.namespaces.marks(&name);
            self.workloads.reclassify(&name, marks, settings, &mut effects);
        }
        effects.topology |= self.apply_namespace_change(&change);
        effects
    }

    pub(super) fn remove_namespace(&mut self, id: &ObjectId) -> Effects {
        let is_used = self.workloads.is_in(&id.name);
        let change = self.namespaces.remove(&id.name, is_used);
        let effects = Effects::of_topology(self.apply_namespace_change(&change));
        Effects { namespaces: [id.name.clone()].into(), ..effects }
    }

    fn apply_namespace_change(&mut self, change: &NamespaceChange) -> TopologyChange {
        let metadata = change.cluster_metadata.as_ref();
        let mut topology = metadata.map(|now| self.topology.put_cluster_metadata(now)).unwrap_or_default();
        topology.any |= change.noted;
        topology
    }

    /// Makes another namespace that of the cluster's Istio.
    pub(super) fn set_istio_namespace(&mut self, name: Arc<str>) -> TopologyChange {
        let metadata = self.namespaces.set_of_istio(name);
        self.topology.put_cluster_metadata(&metadata)
    }

    pub(super) fn put_route(&mut self, route: Route) -> Effects {
        let (id, mut effects) = (route.id.clone(), Effects::default());
        if self.user_routes.put(route, &mut effects) {
            effects.services.extend(self.workloads.rollouts().split_by(&id));
        }
        effects
    }

    pub(super) fn remove_route(&mut self, id: &ObjectId) -> Effects {
        let mut effects = Effects::default();
        if self.user_routes.remove(id, &mut effects) {
            effects.services.extend(self.workloads.rollouts().split_by(id));
        }
        effects
    }

    /// A user's ServiceEntry that is no machine.
    pub(super) fn put_entry(&mut self, entry: HostOverride, settings: &Settings) -> Effects {
        let id = entry.id.clone();
        let was_machine = self.workloads.has(&id);
        let mut effects = if was_machine { self.remove_workload(&id, settings) } else { Effects::default() };
        self.user_routes.put_override(&id, Some(entry), &mut effects);
        effects
    }

    /// An object is no longer a machine, a user's entry or a user's route.
    pub(super) fn remove_user_object(&mut self, id: &ObjectId, settings: &Settings) -> Effects {
        if id.kind == Kind::ServiceEntry { self.remove_workload(id, settings) } else { self.remove_route(id) }
    }

    /// The ids of every object of one kind.
    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::Service | Kind::EndpointSlice => self.services.ids(kind),
            Kind::Node => self.topology.nodes().map(|name| ObjectId::new(kind, "", name)).collect(),
            Kind::Namespace => self.namespaces.ids(),
            kind if Policies::KINDS.contains(&kind) => self.policies.ids(kind),
            kind if Kind::WRITTEN.contains(&kind) => {
                let of_users = self.user_routes.ids(kind).chain(self.workloads.ids(kind));
                self.outputs.ids(kind).into_iter().chain(of_users).collect()
            }
            kind => self.workloads.ids(kind),
        }
    }

    // ---- questions that two stores answer together ----

    /// What is known of it.
    pub(super) fn coverage(&self) -> Coverage<'_> {
        Coverage(self)
    }

    /// What its own names end with.
    pub(super) fn domain(&self) -> Arc<str> {
        self.topology.domain(self.freshness.knows(Kind::Namespace))
    }

    /// The network that it is in, fresh or as it was last known.
    pub(super) fn observed_network(&self) -> Observation<Arc<str>> {
        self.topology.network(self.freshness.knows(Kind::Namespace))
    }

    /// The network that it is in.
    pub(super) fn network(&self) -> Option<Arc<str>> {
        self.observed_network().value().cloned()
    }

    /// The ready pods behind a Service, sorted by address.
    pub(super) fn pods(&self, backend: &Backend) -> Vec<Pod> {
        let mut pods = self.services.pods(backend);
        // A cluster counts as one region: zones of its others would not be found there.
        if self.topology.regions().len() > 1 {
            pods.iter_mut().for_each(|pod| pod.zone = None);
        }
        pods
    }

    /// Why a service that the cluster may run makes no endpoint there.
    pub(super) fn why_absent(&self, key: &ServiceKey) -> Option<AbsenceReason> {
        if self.freshness.is_loading() {
            return Some(AbsenceReason::Loading);
        }
        if !self.coverage().workloads() {
            return Some(AbsenceReason::Unread);
        }
        if let Some(workload) = self.workloads.of(key).map(|workload| &workload.id).min() {
            return Some(AbsenceReason::NoEndpoint(workload.clone()));
        }
        let left_out = self.workloads.left_out().of(key).filter(|(_, why)| self.coverage().is_certain(*why));
        left_out.map(|(id, _)| id).min().cloned().map(AbsenceReason::LeftOut)
    }
}

/// Classifies the workloads of a cluster again whose eligibility changed with the claims.
pub(super) fn follow_claims(state: &mut ClusterState, changed: &ChangedClaims, settings: &Settings) -> Effects {
    let mut effects = Effects::default();
    for id in WorkloadEligibility(&state.workloads).that_changed(changed) {
        let marks = state.namespaces.marks(&id.namespace);
        eligibility::classify_again(&mut state.workloads, &id, marks, settings, &mut effects);
    }
    effects
}

/// Puts an item in, or takes it out where it is in: what leaves and comes back within one event did not change.
fn toggle<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    if !set.remove(&item) {
        set.insert(item);
    }
}

fn remove_from<K: Hash + Eq, V: Ord>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}
