//! What runs where: a value that objects are pushed into and snapshots are taken from.
//!
//! One state per cluster, indexes across them, and the set of units that have to be planned again.
//! Every event marks exactly the units that it can affect. The registry decides what belongs together;
//! it never decides what is written. It knows no client, no clock and no file.
//!
//! Nothing is planned before the whole fleet was listed once: each kind of each registered cluster
//! either synced or reported unreadable. From then on a cluster that cannot be read counts with what
//! was known of it last (its state, or what was [carried over](carried) from written objects).

mod absence;
mod addresses;
mod adoption;
mod agreement;
mod candidates;
mod carried;
mod choice;
mod cluster_index;
mod cluster_state;
mod control_planes;
mod dependencies;
mod dependency_proxies;
mod dirty;
mod facts;
mod freshness;
mod hints;
mod host_overrides;
mod identity;
mod injection;
mod istio_namespaces;
mod machines;
mod networks;
mod notes;
mod operations;
mod partition;
mod policies;
mod policy_match;
mod ports;
mod propagation;
mod purpose;
mod queries;
mod reads;
mod remembered;
mod rollout_weights;
mod rollouts;
mod routing_inputs;
mod service_input;
mod status;
mod writing;
mod written_for;

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

pub use dirty::{Because, Trigger};
pub use hints::HintBudget;
pub use notes::{NoteBook, NoteSource};
pub use reads::{ClusterReads, ReadTarget, Unread, listed_targets, main_failure, meanwhile};
pub use status::{ClusterStatus, KindState};

use crate::{
    config::{AddressSource, Propagate, Settings},
    model::{ClusterName, Identity, IstioNamespaces, Kind, NoteKind, ObjectId, Observed, ServiceKey, WorkKey},
};
use addresses::AddressBook;
use carried::Carried;
use cluster_index::ClusterIndex;
use cluster_state::{ClusterState, Effects, policies::Policies};
use dependencies::Dependencies;
use dirty::DirtyUnits;
use operations::Operations;

/// The registry.
#[derive(Debug)]
pub struct Registry {
    settings: Arc<Settings>,
    cluster_states: DashMap<ClusterName, ClusterState>,
    /// Where each service runs or has objects of ours.
    clusters_of: ClusterIndex<ServiceKey>,
    /// Where workloads or clients of each identity run.
    running: ClusterIndex<Identity>,
    /// Where policies name each service.
    named: ClusterIndex<ServiceKey>,
    /// Where RoutingPolicies name a service of each identity.
    named_for_routing: ClusterIndex<Identity>,
    /// The services of each identity that run or have objects of ours anywhere.
    services_of: DashMap<Identity, BTreeSet<ServiceKey>>,
    /// Cluster names by their label value.
    labels: DashMap<String, ClusterName>,
    /// Names of the clusters that are reached through the other gateway.
    nlb_clusters: RwLock<BTreeSet<String>>,
    dependencies: RwLock<Dependencies>,
    operations: RwLock<Operations>,
    /// Dependencies whose notes are to be looked at again.
    unreviewed: Mutex<BTreeSet<(ClusterName, ObjectId)>>,
    addresses: Mutex<AddressBook>,
    /// By the label value of the cluster's name.
    carried: DashMap<String, Carried>,
    notes: NoteBook,
    reads: reads::Reads,
    dirty: DirtyUnits,
    istio_namespaces: RwLock<Arc<IstioNamespaces>>,
    /// Clusters whose proxies the istiods of others serve.
    remotes: RwLock<control_planes::Remotes>,
    listed: AtomicBool,
    started: AtomicBool,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let range = (settings.addresses == AddressSource::Tradewind).then_some(settings.address_range);
        Self {
            istio_namespaces: RwLock::new(Arc::new(IstioNamespaces::new(&settings.istio_namespace))),
            nlb_clusters: RwLock::new(settings.nlb_enabled_clusters.iter().cloned().collect()),
            settings,
            cluster_states: DashMap::new(),
            clusters_of: ClusterIndex::default(),
            running: ClusterIndex::default(),
            named: ClusterIndex::default(),
            named_for_routing: ClusterIndex::default(),
            services_of: DashMap::new(),
            labels: DashMap::new(),
            dependencies: RwLock::default(),
            operations: RwLock::default(),
            unreviewed: Mutex::default(),
            addresses: Mutex::new(AddressBook::new(range)),
            carried: DashMap::new(),
            notes: NoteBook::default(),
            reads: reads::Reads::default(),
            dirty: DirtyUnits::default(),
            remotes: RwLock::default(),
            listed: AtomicBool::new(false),
            started: AtomicBool::new(false),
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The notes in force.
    #[must_use]
    pub fn notes(&self) -> &NoteBook {
        &self.notes
    }

    /// The kinds that are watched in a cluster.
    #[must_use]
    pub fn watched_kinds_in(&self, cluster: &ClusterName) -> Vec<Kind> {
        self.settings.watched_kinds_in(cluster)
    }

    /// The kinds that are watched in any cluster.
    #[must_use]
    pub fn watched_kinds(&self) -> Vec<Kind> {
        self.settings.watched_kinds()
    }

    // ---- the fleet speaks ----

    /// A cluster joins. It is loading until each of its kinds was listed or reported unreadable. Joining again changes nothing.
    pub fn register(&self, cluster: &ClusterName) {
        if self.cluster_states.contains_key(cluster) {
            return;
        }
        self.labels.insert(cluster.label_value(), cluster.clone());
        self.cluster_states.insert(cluster.clone(), self.new_cluster_state(cluster));
        self.recount_control_planes(cluster);
        if self.started.load(Ordering::Acquire) {
            self.mark_everything(&Trigger::Cluster(cluster.clone()));
        }
    }

    /// The hub's Dependencies and the like are read under `hub`; nothing is planned before they are known.
    pub fn register_hub(&self, hub: &ClusterName) {
        self.cluster_states
            .entry(hub.clone())
            .or_insert_with(|| ClusterState::new(hub.clone(), Kind::OF_HUB.iter().copied(), &self.settings));
    }

    /// A cluster leaves: its endpoints leave the others.
    pub fn deregister(&self, cluster: &ClusterName) {
        let planes = self.control_planes(cluster);
        let Some((_, state)) = self.cluster_states.remove(cluster) else { return };
        let declared = self.dependencies.read().of_cluster(cluster);
        for id in declared {
            self.set_dependency(cluster, &id, None);
        }
        let configs = self.operations.read().ids(cluster);
        for id in configs {
            self.set_operations(cluster, &id, None);
        }
        let proxies = self.dependencies.read().proxies.of_cluster(cluster);
        for id in proxies {
            self.set_proxy(cluster, &id, None);
        }
        let touched = state.workloads.service_keys().chain(state.outputs.keys()).chain(state.policies.keys());
        let touched: BTreeSet<ServiceKey> = touched.cloned().collect();
        let suffix = &self.settings.hostname_suffix;
        let routed: Vec<WorkKey> = state.user_routes.routes().hosts(suffix).cloned().map(WorkKey::Host).collect();
        self.labels.remove(&cluster.label_value());
        self.addresses.lock().forget_cluster(cluster);
        self.carried.remove(&cluster.label_value());
        self.set_istio_namespace(cluster, None);
        self.notes.forget_cluster(cluster);
        self.forget_reads(cluster);
        self.note_networks();
        self.recount_control_planes(cluster);
        for key in &touched {
            self.recount(key, cluster);
            self.recount_policies(key, cluster);
        }
        for identity in state.workloads.identities().all() {
            self.recount_identity(&identity, cluster);
        }
        self.try_start();
        let trigger = Trigger::Cluster(cluster.clone());
        self.mark_everything(&trigger);
        self.mark_for(touched.into_iter().map(WorkKey::Service).chain(routed), &trigger);
        self.mark_for(self.sidecars_at(&planes, state.workloads.client_namespaces()), &trigger);
    }

    /// Every cluster has been registered once.
    pub fn fleet_listed(&self) {
        self.listed.store(true, Ordering::Release);
        self.try_start();
    }

    /// Honours Admiral's address ConfigMap: ServiceEntry name to address. To be called before [`Registry::fleet_listed`].
    pub fn honour_admiral_addresses(&self, entries: impl IntoIterator<Item = (String, Ipv4Addr)>) {
        self.addresses.lock().honour_admiral(entries);
    }

    /// An object was added or changed.
    pub fn apply(&self, cluster: &ClusterName, object: Observed) {
        let id = object.id().clone();
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), Vec::new());
        self.push(cluster, object);
    }

    fn push(&self, cluster: &ClusterName, object: Observed) {
        let settings = &*self.settings;
        let id = object.id().clone();
        self.reclassify(cluster, &object);
        let effects = {
            match object {
                Observed::Dependency(declared) => {
                    let (counted, problems) = dependencies::read(&declared);
                    self.note_object(cluster, &id, NoteKind::DependencyQuestionable, problems);
                    self.set_dependency(cluster, &id, counted);
                    return;
                }
                Observed::TradewindConfig(config) => {
                    self.set_operations(cluster, &id, Some(&config));
                    return;
                }
                Observed::HostOverride(entry) => {
                    self.in_cluster_state(cluster, |state| state.put_entry(entry, settings))
                }
                Observed::Other(id) => {
                    self.in_cluster_state(cluster, |state| state.remove_workload(&id, &self.settings))
                }
                Observed::DependencyProxy(configured) => {
                    let (counted, problems) = dependency_proxies::read(&configured, settings);
                    self.note_object(cluster, &id, NoteKind::DependencyQuestionable, problems);
                    self.set_proxy(cluster, &id, counted);
                    return;
                }
                Observed::Written(written) => {
                    self.put_written(cluster, *written, true);
                    return;
                }
                Observed::Policy(config) => self.put_policy(cluster, config),
                Observed::OutlierDetection(config) => self.put_policy(cluster, config),
                Observed::ClientConnectionConfig(config) => self.put_policy(cluster, config),
                Observed::RoutingPolicy(config) => self.put_policy(cluster, config),
                Observed::TrafficConfig(config) => self.put_policy(cluster, config),
                Observed::Workload(workload) => {
                    let Some(mut state) = self.cluster_states.get_mut(cluster) else { return };
                    let effects = state.put_workload(workload, settings);
                    drop(state);
                    self.note_workload(cluster, &id);
                    effects
                }
                Observed::Route(route) => self.in_cluster_state(cluster, |state| state.put_route(*route)),
                Observed::Service(service) => self.in_cluster_state(cluster, |state| state.put_service(service)),
                Observed::EndpointSlice(slice) => self.in_cluster_state(cluster, |state| state.put_slice(slice)),
                Observed::Node(node) => self.in_cluster_state(cluster, |state| state.put_node(node)),
                Observed::Namespace(namespace) => {
                    self.in_cluster_state(cluster, |state| state.put_namespace(namespace, settings))
                }
            }
        };
        self.spread(cluster, effects, &Trigger::Object(cluster.clone(), id));
    }

    /// An object was deleted.
    pub fn delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), Vec::new());
        let effects = match id.kind {
            Kind::Dependency => {
                self.set_dependency(cluster, id, None);
                return;
            }
            Kind::TradewindConfig => {
                self.set_operations(cluster, id, None);
                return;
            }
            Kind::DependencyProxy => {
                self.set_proxy(cluster, id, None);
                return;
            }
            Kind::ServiceEntry | Kind::DestinationRule | Kind::VirtualService | Kind::EnvoyFilter | Kind::Sidecar => {
                self.remove_written(cluster, id);
                self.in_cluster_state(cluster, |state| match id.kind {
                    Kind::ServiceEntry => state.remove_workload(id, &self.settings),
                    _ => state.remove_route(id),
                })
            }
            kind if Kind::WORKLOADS.contains(&kind) || Kind::CLIENTS.contains(&kind) => {
                self.in_cluster_state(cluster, |state| state.remove_workload(id, &self.settings))
            }
            Kind::Service => self.in_cluster_state(cluster, |state| state.remove_service(id)),
            Kind::EndpointSlice => self.in_cluster_state(cluster, |state| state.remove_slice(id)),
            Kind::Node => self.in_cluster_state(cluster, |state| Effects::of_topology(state.topology.remove_node(id))),
            Kind::Namespace => self.in_cluster_state(cluster, |state| state.remove_namespace(id)),
            kind if Policies::KINDS.contains(&kind) => self.remove_policy(cluster, id),
            _ => Effects::default(),
        };
        self.spread(cluster, effects, &Trigger::Object(cluster.clone(), id.clone()));
    }

    /// A complete list of one kind: what is not in it is gone, and the kind is synced.
    pub fn reset(&self, cluster: &ClusterName, kind: Kind, objects: Vec<Observed>) {
        self.reset_with(cluster, kind, objects, Vec::new());
    }

    /// As [`Registry::reset`], with the objects of the list that do not parse, and why: their last good forms stay in force.
    pub fn reset_with(
        &self,
        cluster: &ClusterName,
        kind: Kind,
        objects: Vec<Observed>,
        malformed: Vec<(ObjectId, String)>,
    ) {
        let before = self.ids(cluster, kind);
        let listed: BTreeSet<ObjectId> =
            objects.iter().map(Observed::id).chain(malformed.iter().map(|(id, _)| id)).cloned().collect();
        for id in before.iter().filter(|id| !listed.contains(*id)) {
            self.delete(cluster, id);
        }
        self.notes.keep_objects(cluster, kind, &listed);
        // Gateways first: a Service that becomes the gateway comes before the one that was it, so that none is missing between.
        let (gateways, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(Observed::is_gateway);
        for object in gateways.into_iter().chain(others) {
            self.apply(cluster, object);
        }
        for (id, reason) in malformed {
            self.malformed(cluster, id, &reason);
        }
        self.set_kind(cluster, kind, KindState::Synced);
    }

    /// An object does not parse. Its last good form stays in force.
    pub fn malformed(&self, cluster: &ClusterName, id: ObjectId, reason: &str) {
        let message = format!("cannot be read: {reason}; its last good form stays in force, if there was one");
        self.note_object(cluster, &id, NoteKind::ObjectMalformed, Some(message));
    }

    // ---- inside ----

    fn ids(&self, cluster: &ClusterName, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::Dependency => self.dependencies.read().of_cluster(cluster),
            Kind::TradewindConfig => self.operations.read().ids(cluster),
            Kind::DependencyProxy => self.dependencies.read().proxies.of_cluster(cluster),
            _ => self.cluster_states.get(cluster).map_or_else(Vec::new, |state| state.ids(kind)),
        }
    }

    fn in_cluster_state(&self, cluster: &ClusterName, change: impl FnOnce(&mut ClusterState) -> Effects) -> Effects {
        self.cluster_states.get_mut(cluster).map(|mut state| change(&mut state)).unwrap_or_default()
    }

    /// Carries what changed in one cluster to the units of all clusters.
    fn spread(&self, cluster: &ClusterName, effects: Effects, trigger: &Trigger) {
        let mut dirty: BTreeSet<WorkKey> = BTreeSet::new();
        for key in &effects.services {
            self.recount(key, cluster);
            dirty.insert(WorkKey::Service(key.clone()));
            dirty.extend(self.named_without_partition(key).map(WorkKey::Service));
        }
        for (identity, _) in &effects.identities {
            self.recount_identity(identity, cluster);
        }
        if effects.topology.any {
            self.note_place(cluster);
        }
        if effects.topology.network {
            self.note_networks();
        }
        if effects.topology.control_planes {
            self.recount_control_planes(cluster);
        }
        for id in &effects.noted {
            self.note_workload(cluster, id);
        }
        if !self.started.load(Ordering::Acquire) {
            // Everything is planned, and every Dependency reviewed, when the fleet has been read.
            return;
        }
        dirty.extend(self.routed_units(&effects.routed));
        dirty.extend(self.overridden_services(&effects.overridden));
        dirty.extend(self.moved_namespaces(cluster, &effects.sidecars));
        if self.settings.enable_routing_policy {
            // Filters choose pods by the identity as their workloads spell it.
            let dependencies = self.dependencies.read();
            for destination in effects.services.iter().flat_map(|key| dependencies.destinations_of(&key.identity)) {
                dirty.extend(self.routing_policy_keys(Some(&destination)).into_iter().map(WorkKey::Service));
            }
        }
        self.touch_pods(cluster, effects.pods, trigger);
        for (identity, _) in &effects.identities {
            dirty.extend(self.keys_of(identity).into_iter().map(WorkKey::Service));
            let dependencies = self.dependencies.read();
            let naming = dependencies.naming(identity).chain(dependencies.idle_like(identity));
            self.unreviewed.lock().extend(naming.cloned());
            for destination in dependencies.destinations_of(identity) {
                dirty.extend(self.keys_of(&destination).into_iter().map(WorkKey::Service));
            }
        }
        if !effects.served.is_empty() {
            let dependencies = self.dependencies.read();
            let naming = effects.served.iter().flat_map(|key| dependencies.naming(&key.identity));
            self.unreviewed.lock().extend(naming.cloned());
        }
        if effects.topology.endpoints {
            dirty.extend(self.keys_running_in(cluster).into_iter().map(WorkKey::Service));
            dirty.extend(self.keys_absent_from(cluster).into_iter().map(WorkKey::Service));
        }
        if effects.topology.domain {
            dirty.extend(self.routed_hosts_in(cluster).into_iter().map(WorkKey::Host));
        }
        if effects.topology.clients {
            dirty.extend(self.keys_for(cluster).into_iter().map(WorkKey::Service));
        }
        if self.settings.propagate != Propagate::Off {
            dirty.extend(effects.hosts.into_iter().map(WorkKey::Host));
        }
        dirty.extend(effects.services.iter().filter_map(|key| self.additional_rival_of(key)).map(WorkKey::Service));
        dirty.extend(effects.sidecars.iter().flat_map(|namespace| self.sidecars_of(cluster, namespace)));
        self.mark_for(dirty, trigger);
    }

    fn set_dependency(&self, cluster: &ClusterName, id: &ObjectId, counted: Option<dependencies::Counted>) {
        let of = (cluster.clone(), id.clone());
        let gone = counted.is_none();
        let (destinations, sources) = self.dependencies.write().set(of.clone(), counted);
        if gone {
            self.notes.put(service_input::of_destinations(cluster, id), Vec::new());
            self.unreviewed.lock().remove(&of);
        } else {
            self.unreviewed.lock().insert(of);
            // A note may be due although no service is concerned.
            self.dirty.wake();
        }
        let proxies: Vec<Identity> = {
            let dependencies = self.dependencies.read();
            destinations
                .iter()
                .flat_map(|identity| dependencies.proxies.before(identity).cloned().collect::<Vec<_>>())
                .collect()
        };
        let mut dirty: BTreeSet<WorkKey> = destinations
            .iter()
            .chain(&proxies)
            .flat_map(|identity| self.keys_of(identity))
            .map(WorkKey::Service)
            .collect();
        dirty.extend(self.sidecars_beside(&sources));
        self.mark_for(dirty, &Trigger::Object(cluster.clone(), id.clone()));
    }

    /// Marks units to be planned again because something was not written.
    pub fn mark(&self, units: impl IntoIterator<Item = WorkKey>) {
        self.mark_for(units, &Trigger::Retry);
    }

    fn mark_for(&self, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
        if self.started.load(Ordering::Acquire) {
            self.dirty.mark(units, trigger);
        }
    }

    fn mark_everything(&self, trigger: &Trigger) {
        // It is done once the fleet has been read.
        if !self.started.load(Ordering::Acquire) {
            return;
        }
        let mut units: BTreeSet<WorkKey> = self.services().into_iter().map(WorkKey::Service).collect();
        for state in &self.cluster_states {
            // Of services that run nowhere there is still to say that the policy has no effect.
            units.extend(state.policies.keys().cloned().map(WorkKey::Service));
        }
        units.extend(self.dependencies.read().proxies.keys().cloned().map(WorkKey::Service));
        for cluster in self.cluster_names() {
            units.extend(self.namespace_units(&cluster));
            units.extend(self.sidecar_units(&cluster));
        }
        units.extend(self.routed_hosts().into_iter().map(WorkKey::Host));
        self.mark_for(units, trigger);
        let all: Vec<_> = self.dependencies.read().all().map(|(of, _)| of.clone()).collect();
        self.unreviewed.lock().extend(all);
    }
}
