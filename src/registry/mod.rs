//! What runs where: a value that objects are pushed into and snapshots are taken from.
//!
//! One shard per cluster, indexes across them, and the set of units that have to be planned again.
//! Every event marks exactly the units that it can affect. The registry decides what belongs together;
//! it never decides what is written. It knows no client, no clock and no file.
//!
//! Nothing is planned before the whole fleet was listed once: each kind of each registered cluster
//! either synced or reported unreadable. From then on a cluster that cannot be read counts with what
//! was known of it last (its shard, or what was [carried over](carried) from written objects).

mod addresses;
mod carried;
mod dependencies;
mod dirty;
mod identity;
mod lift;
mod notes;
mod ports;
mod shard;
mod snapshot;
mod status;

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

pub use dirty::Unit;
pub use notes::{NoteBook, NoteSource};
pub use snapshot::{Backend, BackendPort, Claim, ClientNamespace, ServiceSnapshot, Source, Target};
pub use status::{ClusterStatus, KindState};

use crate::{
    config::{AddressSource, Settings, Sidecars},
    istio::Owner,
    model::{ClusterName, Host, Identity, Kind, Note, NoteKind, ObjectId, ObjectRef, Observed, ServiceKey, Written},
};
use addresses::AddressBook;
use carried::Carried;
use dependencies::Dependencies;
use dirty::DirtyUnits;
use shard::{Effects, Shard};

/// The registry.
#[derive(Debug)]
pub struct Registry {
    settings: Arc<Settings>,
    shards: DashMap<ClusterName, Shard>,
    /// Where each service runs or has objects of ours.
    clusters_of: DashMap<ServiceKey, BTreeSet<ClusterName>>,
    /// The services of each identity that run or have objects of ours anywhere.
    services_of: DashMap<Identity, BTreeSet<ServiceKey>>,
    /// Cluster names by their label value.
    labels: DashMap<String, ClusterName>,
    dependencies: RwLock<Dependencies>,
    /// Dependencies whose notes are to be looked at again.
    unreviewed: Mutex<BTreeSet<(ClusterName, ObjectId)>>,
    addresses: Mutex<AddressBook>,
    /// By the label value of the cluster's name.
    carried: DashMap<String, Carried>,
    notes: NoteBook,
    dirty: DirtyUnits,
    listed: AtomicBool,
    started: AtomicBool,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let range = (settings.addresses == AddressSource::Tradewind).then_some(settings.address_range);
        Self {
            settings,
            shards: DashMap::new(),
            clusters_of: DashMap::new(),
            services_of: DashMap::new(),
            labels: DashMap::new(),
            dependencies: RwLock::default(),
            unreviewed: Mutex::default(),
            addresses: Mutex::new(AddressBook::new(range)),
            carried: DashMap::new(),
            notes: NoteBook::default(),
            dirty: DirtyUnits::default(),
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

    /// The kinds that are watched in every cluster.
    #[must_use]
    pub fn watched_kinds(&self) -> Vec<Kind> {
        let always = [
            Kind::Service,
            Kind::Node,
            Kind::Namespace,
            Kind::GlobalTrafficPolicy,
            Kind::ServiceEntry,
            Kind::DestinationRule,
        ];
        let sidecars = (self.settings.sidecars != Sidecars::Off).then_some(Kind::Sidecar);
        self.settings.workload_kinds.iter().copied().chain(always).chain(sidecars).collect()
    }

    // ---- the fleet speaks ----

    /// A cluster joins. It is loading until each of its kinds was listed or reported unreadable. Joining again changes nothing.
    pub fn register(&self, cluster: &ClusterName) {
        if self.shards.contains_key(cluster) {
            return;
        }
        self.labels.insert(cluster.label_value(), cluster.clone());
        self.shards.insert(cluster.clone(), Shard::new(cluster.clone(), self.watched_kinds()));
        if self.started.load(Ordering::Acquire) {
            self.mark_everything();
        }
    }

    /// The hub's Dependencies are read under `hub`; nothing is planned before they are known.
    pub fn register_hub(&self, hub: &ClusterName) {
        self.shards.entry(hub.clone()).or_insert_with(|| Shard::new(hub.clone(), [Kind::Dependency]));
    }

    /// A cluster leaves: its endpoints leave the others.
    pub fn deregister(&self, cluster: &ClusterName) {
        let Some((_, shard)) = self.shards.remove(cluster) else { return };
        for id in self.dependencies.read().of_cluster(cluster) {
            self.set_dependency(cluster, &id, None);
        }
        let touched: BTreeSet<ServiceKey> = shard.service_keys().chain(shard.written_keys()).cloned().collect();
        self.labels.remove(&cluster.label_value());
        self.addresses.lock().forget_cluster(cluster);
        self.carried.remove(&cluster.label_value());
        self.notes.forget_cluster(cluster);
        for key in &touched {
            self.leave(key, cluster);
        }
        self.try_start();
        self.mark_everything();
        self.mark(touched.into_iter().map(Unit::Service));
    }

    /// Every cluster has been registered once.
    pub fn fleet_listed(&self) {
        self.listed.store(true, Ordering::Release);
        self.try_start();
    }

    /// Honours the reference's address ConfigMap: ServiceEntry name to address. To be called before [`Registry::fleet_listed`].
    pub fn honour_reference_addresses(&self, entries: impl IntoIterator<Item = (String, Ipv4Addr)>) {
        self.addresses.lock().honour_reference(entries);
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
        let effects = {
            match object {
                Observed::Dependency(declared) => {
                    let (counted, problems) = dependencies::read(&declared);
                    self.note_object(cluster, &id, NoteKind::DependencyQuestionable, problems);
                    self.set_dependency(cluster, &id, counted);
                    return;
                }
                Observed::Written(written) => {
                    self.put_written(cluster, *written, true);
                    return;
                }
                Observed::Policy(policy) => {
                    let Some(mut shard) = self.shards.get_mut(cluster) else { return };
                    let (effects, problem) = shard.put_policy(policy, settings);
                    drop(shard);
                    self.note_object(cluster, &id, NoteKind::PolicyWithoutIdentity, problem);
                    effects
                }
                Observed::Workload(workload) => {
                    let Some(mut shard) = self.shards.get_mut(cluster) else { return };
                    let effects = shard.put_workload(workload, settings);
                    let problem = shard.invalid(&id);
                    drop(shard);
                    self.note_object(cluster, &id, NoteKind::HostInvalid, problem);
                    effects
                }
                Observed::Service(service) => self.in_shard(cluster, |shard| shard.put_service(service)),
                Observed::Node(node) => self.in_shard(cluster, |shard| shard.put_node(node)),
                Observed::Namespace(namespace) => {
                    self.in_shard(cluster, |shard| shard.put_namespace(namespace, settings))
                }
            }
        };
        self.spread(cluster, effects);
    }

    /// An object was deleted.
    pub fn delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), Vec::new());
        let settings = &*self.settings;
        let effects = match id.kind {
            Kind::Dependency => {
                self.set_dependency(cluster, id, None);
                return;
            }
            Kind::ServiceEntry | Kind::DestinationRule | Kind::Sidecar => {
                self.remove_written(cluster, id);
                return;
            }
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                self.in_shard(cluster, |shard| shard.remove_workload(id))
            }
            Kind::Service => self.in_shard(cluster, |shard| shard.remove_service(id)),
            Kind::Node => self.in_shard(cluster, |shard| shard.remove_node(id)),
            Kind::Namespace => self.in_shard(cluster, |shard| shard.remove_namespace(id, settings)),
            Kind::GlobalTrafficPolicy => self.in_shard(cluster, |shard| shard.remove_policy(id)),
        };
        self.spread(cluster, effects);
    }

    /// A complete list of one kind: what is not in it is gone, and the kind is synced.
    pub fn reset(&self, cluster: &ClusterName, kind: Kind, objects: Vec<Observed>) {
        let before = match kind {
            Kind::Dependency => self.dependencies.read().of_cluster(cluster),
            _ => self.shards.get(cluster).map_or_else(Vec::new, |shard| shard.ids(kind)),
        };
        let listed: BTreeSet<ObjectId> = objects.iter().map(|object| object.id().clone()).collect();
        for id in before.iter().filter(|id| !listed.contains(*id)) {
            self.delete(cluster, id);
        }
        for object in objects {
            self.apply(cluster, object);
        }
        self.set_kind(cluster, kind, KindState::Synced);
    }

    /// One kind cannot be read now. All that is known of it stays in force.
    pub fn unreadable(&self, cluster: &ClusterName, kind: Kind, reason: &str, now_seconds: i64) {
        let Some(before) = self.shards.get(cluster).and_then(|shard| shard.kinds().get(&kind).cloned()) else { return };
        let since_seconds = match &before {
            KindState::Stale { since_seconds, .. } | KindState::Unreadable { since_seconds, .. } => *since_seconds,
            KindState::Loading | KindState::Synced => now_seconds,
        };
        let reason = reason.to_owned();
        self.set_kind(
            cluster,
            kind,
            if before.is_known() {
                KindState::Stale { since_seconds, reason }
            } else {
                KindState::Unreadable { since_seconds, reason }
            },
        );
    }

    /// One kind can be read again without a new list.
    pub fn readable(&self, cluster: &ClusterName, kind: Kind) {
        let known = self.shards.get(cluster).is_some_and(|shard| shard.knows(kind));
        if known {
            self.set_kind(cluster, kind, KindState::Synced);
        }
    }

    /// An object does not parse. Its last good form stays in force.
    pub fn malformed(&self, cluster: &ClusterName, id: ObjectId, reason: &str) {
        let message = format!("cannot be read: {reason}; its last good form stays in force, if there was one");
        self.note_object(cluster, &id, NoteKind::ObjectMalformed, Some(message));
    }

    /// What the API server answered to a write of ours: kept like an observed object, without planning again.
    pub fn wrote(&self, cluster: &ClusterName, written: Written) {
        self.put_written(cluster, written, false);
    }

    /// An object of ours was deleted by us.
    pub fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.remove_written(cluster, id);
    }

    // ---- inside ----

    fn in_shard(&self, cluster: &ClusterName, change: impl FnOnce(&mut Shard) -> Effects) -> Effects {
        self.shards.get_mut(cluster).map(|mut shard| change(&mut shard)).unwrap_or_default()
    }

    fn note_object(
        &self,
        cluster: &ClusterName,
        id: &ObjectId,
        kind: NoteKind,
        messages: impl IntoIterator<Item = String>,
    ) {
        let notes = messages
            .into_iter()
            .map(|message| Note { kind, object: id.in_cluster(cluster), service: None, message })
            .collect();
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), notes);
    }

    /// Carries what changed in one cluster to the units of all clusters.
    fn spread(&self, cluster: &ClusterName, effects: Effects) {
        let mut dirty: BTreeSet<Unit> = BTreeSet::new();
        for key in &effects.services {
            self.recount(key, cluster);
            dirty.insert(Unit::Service(key.clone()));
        }
        for (identity, _) in &effects.moved {
            dirty.extend(self.keys_of(identity).into_iter().map(Unit::Service));
            let dependencies = self.dependencies.read();
            for destination in dependencies.destinations_of(identity) {
                dirty.extend(self.keys_of(&destination).into_iter().map(Unit::Service));
            }
            let named = dependencies.all().filter(|(_, counted)| counted.destinations.contains(identity));
            self.unreviewed.lock().extend(named.map(|(of, _)| of.clone()));
        }
        if effects.whole_cluster {
            self.note_place(cluster);
            dirty.extend(self.keys_in(cluster).into_iter().map(Unit::Service));
        }
        if self.settings.sidecars != Sidecars::Off {
            dirty.extend(effects.sidecars.iter().map(|namespace| Unit::Sidecar(cluster.clone(), namespace.clone())));
        }
        self.mark(dirty);
    }

    /// Brings the indexes of a service in line with one cluster's shard.
    fn recount(&self, key: &ServiceKey, cluster: &ClusterName) {
        if self.shards.get(cluster).is_some_and(|shard| shard.runs(key) || shard.holds(key)) {
            self.clusters_of.entry(key.clone()).or_default().insert(cluster.clone());
            self.services_of.entry(key.identity.clone()).or_default().insert(key.clone());
        } else {
            self.leave(key, cluster);
        }
    }

    fn leave(&self, key: &ServiceKey, cluster: &ClusterName) {
        let gone = self.clusters_of.get_mut(key).is_none_or(|mut clusters| {
            clusters.remove(cluster);
            clusters.is_empty()
        });
        if gone {
            self.clusters_of.remove_if(key, |_, clusters| clusters.is_empty());
            if let Some(mut services) = self.services_of.get_mut(&key.identity) {
                services.remove(key);
            }
            self.services_of.remove_if(&key.identity, |_, services| services.is_empty());
        }
    }

    fn keys_of(&self, identity: &Identity) -> Vec<ServiceKey> {
        self.services_of.get(identity).map_or_else(Vec::new, |services| services.iter().cloned().collect())
    }

    fn keys_in(&self, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
        let mut keys: BTreeSet<ServiceKey> = self
            .shards
            .get(cluster)
            .map_or_else(BTreeSet::new, |shard| shard.service_keys().chain(shard.written_keys()).cloned().collect());
        if let Some(carried) = self.carried.get(&cluster.label_value()) {
            keys.extend(carried.services.keys().cloned());
        }
        keys
    }

    fn set_dependency(&self, cluster: &ClusterName, id: &ObjectId, counted: Option<dependencies::Counted>) {
        let of = (cluster.clone(), id.clone());
        let gone = counted.is_none();
        let (destinations, sources) = self.dependencies.write().set(of.clone(), counted);
        if gone {
            self.unreviewed.lock().remove(&of);
        } else {
            self.unreviewed.lock().insert(of);
        }
        let mut dirty: BTreeSet<Unit> =
            destinations.iter().flat_map(|identity| self.keys_of(identity)).map(Unit::Service).collect();
        if self.settings.sidecars != Sidecars::Off {
            for shard in &self.shards {
                for source in &sources {
                    let namespaces = shard.namespaces_of(source).into_iter();
                    dirty.extend(namespaces.map(|namespace| Unit::Sidecar(shard.key().clone(), namespace)));
                }
            }
        }
        self.mark(dirty);
    }

    fn put_written(&self, cluster: &ClusterName, mut written: Written, plan_again: bool) {
        if written.owner == Owner::Tradewind
            && let Some(key) = &written.service
        {
            let endpoints = std::mem::take(&mut written.endpoints);
            let ports = std::mem::take(&mut written.ports);
            for endpoint in &endpoints {
                if endpoint.cluster_label != cluster.label_value() && !self.is_known(&endpoint.cluster_label) {
                    let mut carried = self.carried.entry(endpoint.cluster_label.clone()).or_default();
                    carried.learn(key, endpoint, &ports);
                }
            }
        }
        let (id, owner) = (written.id.clone(), written.owner);
        let (key, digest) = (written.service.clone(), written.digest);
        let (host, address) = (written.host.clone(), written.address);
        let Some(mut shard) = self.shards.get_mut(cluster) else { return };
        let Some(before) = shard.put_written(written) else { return };
        drop(shard);
        let host = host.and_then(|host| Host::parse(&host).ok());
        if id.kind == Kind::ServiceEntry && owner != Owner::Foreign {
            let mut addresses = self.addresses.lock();
            if let Some(old) = before.as_ref().and_then(|before| Host::parse(before.host.as_deref()?).ok())
                && Some(&old) != host.as_ref()
            {
                addresses.falls(cluster, &old);
            }
            if let Some(host) = host {
                addresses.stands(cluster, host, key.clone(), address);
            }
        }
        let same = before.as_ref().is_some_and(|before| before.digest == digest && before.owner == owner);
        let old_key = before.and_then(|before| before.service.clone());
        for key in old_key.iter().chain(&key) {
            self.recount(key, cluster);
        }
        if !same && plan_again {
            let keys = old_key.into_iter().chain(key).map(Unit::Service);
            self.mark(keys.chain(self.wanting(cluster, &id)));
        }
    }

    fn remove_written(&self, cluster: &ClusterName, id: &ObjectId) {
        let Some(mut shard) = self.shards.get_mut(cluster) else { return };
        let Some(before) = shard.remove_written(id) else { return };
        drop(shard);
        if id.kind == Kind::ServiceEntry
            && let Some(host) = before.host.as_deref().and_then(|host| Host::parse(host).ok())
        {
            self.addresses.lock().falls(cluster, &host);
        }
        let key = before.service.clone();
        if let Some(key) = &key {
            self.recount(key, cluster);
        }
        self.mark(key.map(Unit::Service).into_iter().chain(self.wanting(cluster, id)));
    }

    /// The units that want an object of this name.
    fn wanting(&self, cluster: &ClusterName, id: &ObjectId) -> Vec<Unit> {
        if id.kind == Kind::Sidecar {
            return vec![Unit::Sidecar(cluster.clone(), id.namespace.clone())];
        }
        let host =
            ["-se", "-default-dr", "-dr"].iter().find_map(|suffix| Host::parse(id.name.strip_suffix(suffix)?).ok());
        let keys = host.map_or_else(Vec::new, |host| self.addresses.lock().interested_in(&host));
        keys.into_iter().map(Unit::Service).collect()
    }

    /// Whether endpoints that lead to a cluster tell nothing that its shard does not.
    fn is_known(&self, cluster_label: &str) -> bool {
        let cluster = self.labels.get(cluster_label).map(|cluster| cluster.clone());
        match cluster {
            Some(cluster) => self.shards.get(&cluster).is_some_and(|shard| shard.knows_endpoints()),
            None => self.started.load(Ordering::Acquire),
        }
    }

    fn set_kind(&self, cluster: &ClusterName, kind: Kind, state: KindState) {
        let label = cluster.label_value();
        let Some(mut shard) = self.shards.get_mut(cluster) else { return };
        let before = (shard.knows(kind), shard.is_loading());
        shard.set_kind(kind, state);
        let (loading, knows_endpoints) = (shard.is_loading(), shard.knows_endpoints());
        let changed = before != (shard.knows(kind), loading);
        drop(shard);
        if changed {
            let gateway = self.carried.get(&label).and_then(|carried| carried.gateway.clone());
            if let (Some(gateway), Some(mut shard)) = (gateway, self.shards.get_mut(cluster)) {
                shard.remember_gateway(gateway);
            }
        }
        if knows_endpoints {
            self.carried.remove(&label);
        }
        self.note_freshness(cluster);
        self.note_place(cluster);
        self.try_start();
        if changed && !loading {
            self.mark_everything();
        }
    }

    fn sidecar_units(&self, cluster: &ClusterName) -> Vec<Unit> {
        if self.settings.sidecars == Sidecars::Off {
            return Vec::new();
        }
        self.shards.get(cluster).map_or_else(Vec::new, |shard| {
            let clients = shard.client_namespaces().cloned();
            let standing = shard.all_written().filter(|w| w.id.kind == Kind::Sidecar).map(|w| w.id.namespace.clone());
            let namespaces: BTreeSet<Arc<str>> = clients.chain(standing).collect();
            namespaces.into_iter().map(|namespace| Unit::Sidecar(cluster.clone(), namespace)).collect()
        })
    }

    fn note_freshness(&self, cluster: &ClusterName) {
        let Some(shard) = self.shards.get(cluster) else { return };
        let failing: Vec<(Kind, String, bool)> = shard
            .kinds()
            .iter()
            .filter_map(|(kind, state)| match state {
                KindState::Stale { reason, .. } => Some((*kind, reason.clone(), true)),
                KindState::Unreadable { reason, .. } => Some((*kind, reason.clone(), false)),
                KindState::Loading | KindState::Synced => None,
            })
            .collect();
        let whole = failing.len() > 1 && failing.len() == shard.kinds().len();
        drop(shard);
        let note = |kind: &str, message: String, sort| Note {
            kind: sort,
            object: crate::model::ObjectRef {
                cluster: cluster.clone(),
                kind: kind.to_owned(),
                namespace: String::new(),
                name: String::new(),
            },
            service: None,
            message,
        };
        let notes = if whole {
            let message = format!("cannot be read: {}; what is known of it stays in force", failing[0].1);
            vec![note("Cluster", message, NoteKind::ClusterUnreachable)]
        } else {
            let of_kind = |(kind, reason, was_known): &(Kind, String, bool)| {
                let then = if *was_known {
                    "what is known of it stays in force"
                } else {
                    "it counts as unknown, not as empty"
                };
                note(kind.as_str(), format!("cannot be read: {reason}; {then}"), NoteKind::KindUnreadable)
            };
            failing.iter().map(of_kind).collect()
        };
        self.notes.put(NoteSource::Cluster(cluster.clone()), notes);
    }

    /// What is wrong with the place of a cluster, where it runs services: its gateway and its regions.
    fn note_place(&self, cluster: &ClusterName) {
        let Some(shard) = self.shards.get(cluster) else { return };
        let mut notes = Vec::new();
        if !shard.is_loading() && shard.workload_count() > 0 {
            let note = |kind, object: ObjectRef, message: String| Note { kind, object, service: None, message };
            let all_of = |kind: Kind, namespace: &str| ObjectId::new(kind, namespace, "").in_cluster(cluster);
            match (shard.gateway_without_address(), shard.gateway()) {
                (Some(id), Some(last)) => {
                    let message =
                        format!("has no external address; its last known address {} stays in use", last.address);
                    notes.push(note(NoteKind::GatewayMissing, id.in_cluster(cluster), message));
                }
                (Some(id), None) => {
                    let message = "has no external address; other clusters do not reach this one".to_owned();
                    notes.push(note(NoteKind::GatewayMissing, id.in_cluster(cluster), message));
                }
                (None, None) if shard.knows(Kind::Service) => {
                    let message = format!(
                        "none has the label app={}; other clusters do not reach this one",
                        self.settings.gateway_app
                    );
                    notes.push(note(NoteKind::GatewayMissing, all_of(Kind::Service, "istio-system"), message));
                }
                _ => {}
            }
            let regions = shard.regions();
            if regions.is_empty() && shard.has_nodes() {
                let message = "none carries a region; the endpoints of this cluster have no locality".to_owned();
                notes.push(note(NoteKind::RegionUnknown, all_of(Kind::Node, ""), message));
            } else if regions.len() > 1 {
                let message =
                    format!("are in the regions {}; {} counts for its endpoints", regions.join(", "), regions[0]);
                notes.push(note(NoteKind::RegionsSeveral, all_of(Kind::Node, ""), message));
            }
        }
        drop(shard);
        self.notes.put(NoteSource::Place(cluster.clone()), notes);
    }

    fn try_start(&self) {
        if self.started.load(Ordering::Acquire) || self.waiting_for().is_some() {
            return;
        }
        if !self.started.swap(true, Ordering::AcqRel) {
            self.mark_everything();
            self.dirty.wake();
        }
    }

    /// What the first plan waits for, in words.
    fn waiting_for(&self) -> Option<String> {
        if !self.listed.load(Ordering::Acquire) {
            return Some("the clusters of the fleet have not been listed yet".into());
        }
        for shard in &self.shards {
            let must_know = |kind: Kind| kind == Kind::Dependency;
            for (kind, state) in shard.kinds() {
                let waits = match state {
                    KindState::Loading => true,
                    KindState::Unreadable { .. } => must_know(*kind),
                    KindState::Synced | KindState::Stale { .. } => false,
                };
                if waits {
                    return Some(format!("{} of cluster {} not listed yet", kind.as_str(), shard.name()));
                }
            }
        }
        None
    }

    /// Marks a unit to be planned.
    pub fn mark(&self, units: impl IntoIterator<Item = Unit>) {
        if self.started.load(Ordering::Acquire) {
            self.dirty.mark(units);
        }
    }

    fn mark_everything(&self) {
        let mut units: BTreeSet<Unit> = self.services().into_iter().map(Unit::Service).collect();
        for cluster in self.cluster_names() {
            units.extend(self.sidecar_units(&cluster));
        }
        self.mark(units);
        let all: Vec<_> = self.dependencies.read().all().map(|(of, _)| of.clone()).collect();
        self.unreviewed.lock().extend(all);
    }
}
