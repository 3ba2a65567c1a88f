//! What is known of one cluster: its objects, indexed by service and namespace, and how fresh they are.
//!
//! A cluster_state answers questions about its own cluster only. It never decides what that means for others.

mod backends;
mod namespaces;
mod pods;
mod rollouts;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    clients::Clients,
    host_overrides::HostOverrides,
    identity::{self, Classified},
    injection::NamespaceMarks,
    istio_namespaces::is_istiod,
    output_index::OutputIndex,
    partition::Spelling,
    policies::Policies,
    routes::Routes,
    slices::Slices,
    status::KindState,
    topology::{ClusterTopology, TopologyChange},
    user_hosts::{Routed, UserHosts},
};
pub(super) use backends::{Backends, Problem};
use rollouts::References;

use crate::{
    config::Settings,
    model::{
        Availability, ClusterName, Identity, Kind, Labels, LocalService, Namespace, Node, ObjectId, ServiceKey,
        Workload,
    },
};

/// Annotation by which a workload names the ports that matter.
const INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";

#[derive(Debug)]
struct Placed {
    workload: Workload,
    classified: Classified,
}

/// What changed in a cluster through one object.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Services to be planned again.
    pub(super) services: BTreeSet<ServiceKey>,
    /// Services whose pods alone changed.
    pub(super) pods: BTreeSet<ServiceKey>,
    /// Services whose first workload came to the cluster, or whose last one left it.
    pub(super) served: BTreeSet<ServiceKey>,
    /// Identities that began or ended to run in a namespace of the cluster.
    pub(super) moved: BTreeSet<(Identity, Arc<str>)>,
    /// Namespaces whose Sidecar is to be planned again.
    pub(super) sidecars: BTreeSet<Arc<str>>,
    /// Hosts for which users' routes changed.
    pub(super) hosts: BTreeSet<Arc<str>>,
    /// Workloads and clients whose notes are to be looked at again.
    pub(super) noted: BTreeSet<ObjectId>,
    /// Hosts of users' ServiceEntries and DestinationRules that came, changed or went.
    pub(super) overridden: BTreeSet<Arc<str>>,
    /// What users' VirtualServices that came or went concern.
    pub(super) routed: Routed,
    /// What changed about the cluster's own place.
    pub(super) topology: TopologyChange,
}

/// One cluster.
#[derive(Debug)]
pub(super) struct ClusterState {
    name: ClusterName,
    /// Label or annotation of the identity, from the settings.
    identity_key: Arc<str>,
    /// The namespace of its Istio, which tells of the cluster.
    pub(super) istio_namespace: Arc<str>,
    /// Where ours stand, and what users want merged into ours.
    pub(super) sync_namespace: Arc<str>,
    kinds: BTreeMap<Kind, KindState>,
    workloads: HashMap<ObjectId, Placed>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
    by_namespace: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Namespaces in which an identity runs, with the number of its workloads.
    identities: HashMap<Identity, BTreeMap<Arc<str>, usize>>,
    services: BTreeMap<(Arc<str>, Arc<str>), LocalService>,
    /// The Services among them that lead to an istiod.
    pub(super) istiods: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Services by the hash of (namespace, first pair of the selector).
    services_by_pair: HashMap<u64, BTreeSet<Arc<str>>>,
    slices: Slices,
    pub(super) namespaces: HashMap<Arc<str>, Namespace>,
    /// What namespaces said when they were deleted: what still runs there is on its way out, and stays what it is.
    gone: HashMap<Arc<str>, Option<NamespaceMarks>>,
    /// Workloads of which only their namespace could say whether they have a sidecar, and does not.
    undecided: usize,
    pub(super) policies: Policies,
    pub(super) routes: Routes,
    /// Who runs there and serves nothing.
    clients: Clients,
    /// What the Rollouts refer to.
    references: References,
    /// Those of users that are merged into ours.
    pub(super) custom: Routes,
    pub(super) user_hosts: UserHosts,
    pub(super) host_overrides: HostOverrides,
    /// Its nodes and gateways.
    pub(super) topology: ClusterTopology,
    /// What was written there.
    outputs: OutputIndex,
}

fn pair_hash(namespace: &str, (key, value): (&String, &String)) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, key, value).hash(&mut hasher);
    hasher.finish()
}

/// Label by which Argo narrows the Services of a Rollout to one of its versions: it stands on pods and in no template.
pub(super) const POD_HASH: &str = "rollouts-pod-template-hash";

/// Whether a Service selects the pods of a workload. `of_rollout`: of any of its versions (Admiral,
/// docs/admiral-behaviour.md#services-of-a-workload).
pub(super) fn selects(selector: &Labels, labels: &Labels, of_rollout: bool) -> bool {
    let mut pairs = selector.iter().filter(|(key, _)| !(of_rollout && *key == POD_HASH)).peekable();
    pairs.peek().is_some() && pairs.all(|(key, value)| labels.get(key) == Some(value))
}

/// The pair of a selector under which its Service is found.
fn indexed_pair(selector: &Labels) -> Option<(&String, &String)> {
    selector.iter().find(|(key, _)| *key != POD_HASH)
}

impl ClusterState {
    pub(super) fn new(name: ClusterName, kinds: impl IntoIterator<Item = Kind>, settings: &Settings) -> Self {
        Self {
            name,
            istio_namespace: settings.istio_namespace.as_str().into(),
            identity_key: settings.workload_identity_key.as_str().into(),
            sync_namespace: settings.sync_namespace.as_str().into(),
            kinds: kinds.into_iter().map(|kind| (kind, KindState::Loading)).collect(),
            workloads: HashMap::new(),
            by_service: HashMap::new(),
            by_namespace: HashMap::new(),
            identities: HashMap::new(),
            services: BTreeMap::new(),
            istiods: BTreeSet::new(),
            services_by_pair: HashMap::new(),
            slices: Slices::default(),
            namespaces: HashMap::new(),
            gone: HashMap::new(),
            undecided: 0,
            policies: Policies::default(),
            routes: Routes::default(),
            clients: Clients::default(),
            references: References::default(),
            custom: Routes::default(),
            user_hosts: UserHosts::default(),
            host_overrides: HostOverrides::new(&settings.hostname_suffix),
            topology: ClusterTopology::new(settings),
            outputs: OutputIndex::default(),
        }
    }

    // ---- freshness ----

    pub(super) fn kinds(&self) -> &BTreeMap<Kind, KindState> {
        &self.kinds
    }

    pub(super) fn set_kind(&mut self, kind: Kind, state: KindState) {
        self.kinds.insert(kind, state);
    }

    /// Whether a whole list of the kind was seen once. A kind that is not watched is not known.
    pub(super) fn knows(&self, kind: Kind) -> bool {
        self.kinds.get(&kind).is_some_and(KindState::is_known)
    }

    /// Whether a kind is known and served there.
    pub(super) fn serves(&self, kind: Kind) -> bool {
        self.knows(kind) && self.kinds.get(&kind) != Some(&KindState::Absent)
    }

    /// Whether every watched kind that makes endpoints is known.
    pub(super) fn knows_workloads(&self) -> bool {
        self.knows(Kind::Service)
            && self.knows(Kind::ServiceEntry)
            && !self.doubts_sidecars()
            && Kind::WORKLOADS.iter().filter(|kind| self.kinds.contains_key(kind)).all(|kind| self.knows(*kind))
    }

    /// Whether every watched kind that makes dependents is known.
    pub(super) fn knows_dependents(&self) -> bool {
        self.knows_workloads()
            && Kind::CLIENTS.iter().filter(|kind| self.kinds.contains_key(kind)).all(|kind| self.knows(*kind))
    }

    /// Whether nothing that makes endpoints has to be carried over from what was written.
    pub(super) fn knows_endpoints(&self) -> bool {
        !self.is_loading()
            && self.knows_workloads()
            && self.knows(Kind::Node)
            && self.knows(Kind::Namespace)
            && self.knows_weights()
            && self.knows_pods()
    }

    /// Whether every kind is known that could make an object of ours wanted.
    pub(super) fn knows_all_wanted(&self) -> bool {
        self.kinds.iter().all(|(kind, state)| state.is_known() || !kind.decides_removals())
    }

    pub(super) fn is_loading(&self) -> bool {
        self.kinds.values().any(|state| matches!(state, KindState::Loading))
    }

    // ---- workloads ----

    pub(super) fn put_workload(&mut self, workload: Workload, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        if Kind::CLIENTS.contains(&workload.id.kind) {
            self.put_client(&workload, settings, &mut effects);
            return effects;
        }
        let mut workload = self.with_template(workload);
        let entry = workload.machines.as_mut().and_then(|machines| machines.host_override.take());
        effects.overridden.extend(self.host_overrides.replace(&workload.id, entry.map(|entry| *entry)));
        let known = self.workloads.get(&workload.id).map(|placed| &placed.workload);
        if workload.availability == Availability::Starting {
            // A rolling update stays what it was; a scale-up counts from its first ready pod.
            workload.availability = known.map_or(Availability::Available, |known| known.availability);
        }
        if known == Some(&workload) {
            return effects;
        }
        let before = self.take_workload(&workload.id, &mut effects);
        let id = workload.id.clone();
        self.classify(workload, settings, &mut effects);
        self.follow(&id, before.as_ref(), settings, &mut effects);
        self.disown_routes(before.as_ref(), &id, &mut effects);
        effects
    }

    pub(super) fn remove_workload(&mut self, id: &ObjectId, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        if Kind::CLIENTS.contains(&id.kind) {
            self.remove_client(id, &mut effects);
            return effects;
        }
        effects.overridden.extend(self.host_overrides.replace(id, None));
        let before = self.take_workload(id, &mut effects);
        self.follow(id, before.as_ref(), settings, &mut effects);
        self.disown_routes(before.as_ref(), id, &mut effects);
        effects
    }

    fn classify(&mut self, workload: Workload, settings: &Settings, effects: &mut Effects) {
        let classified = if self.references.is_template(&workload.id) {
            // The Rollout that takes its pod template from it runs the pods.
            Classified::Ignored
        } else {
            identity::classify(&workload, self.namespace_marks(&workload.id.namespace), settings)
        };
        self.enlist(workload, classified, effects);
    }

    fn enlist(&mut self, workload: Workload, classified: Classified, effects: &mut Effects) {
        let id = workload.id.clone();
        if let Classified::Service(key) = &classified {
            if !self.by_service.contains_key(key) {
                toggle(&mut effects.served, key.clone());
            }
            self.by_service.entry(key.clone()).or_default().insert(id.clone());
            self.count_in(&key.identity, &id.namespace, effects);
            effects.services.insert(key.clone());
        }
        classified.left_out().map(|key| effects.services.insert(key.clone()));
        self.references.add(&workload);
        if classified.takes_part() {
            effects.topology.any |= self.by_namespace.is_empty();
            self.by_namespace.entry(id.namespace.clone()).or_default().insert(id.clone());
            effects.sidecars.insert(id.namespace.clone());
        }
        self.undecided += usize::from(classified.is_undecided());
        self.workloads.insert(id, Placed { workload, classified });
    }

    fn take_workload(&mut self, id: &ObjectId, effects: &mut Effects) -> Option<Workload> {
        let placed = self.workloads.remove(id)?;
        if let Classified::Service(key) = &placed.classified {
            remove_from(&mut self.by_service, key, id);
            if !self.by_service.contains_key(key) {
                toggle(&mut effects.served, key.clone());
            }
            self.count_out(&key.identity, &id.namespace, effects);
            effects.services.insert(key.clone());
        }
        placed.classified.left_out().map(|key| effects.services.insert(key.clone()));
        self.references.remove(&placed.workload);
        if placed.classified.takes_part() {
            remove_from(&mut self.by_namespace, &id.namespace, id);
            effects.topology.any |= self.by_namespace.is_empty();
            effects.sidecars.insert(id.namespace.clone());
        }
        self.undecided -= usize::from(placed.classified.is_undecided());
        Some(placed.workload)
    }

    /// One more workload or client of an identity runs in a namespace.
    pub(super) fn count_in(&mut self, identity: &Identity, namespace: &Arc<str>, effects: &mut Effects) {
        let count = self.identities.entry(identity.clone()).or_default().entry(namespace.clone()).or_default();
        *count += 1;
        if *count == 1 {
            toggle(&mut effects.moved, (identity.clone(), namespace.clone()));
        }
    }

    pub(super) fn count_out(&mut self, identity: &Identity, namespace: &Arc<str>, effects: &mut Effects) {
        let Some(namespaces) = self.identities.get_mut(identity) else { return };
        if let Some(count) = namespaces.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                namespaces.remove(namespace);
                toggle(&mut effects.moved, (identity.clone(), namespace.clone()));
            }
        }
        if namespaces.is_empty() {
            self.identities.remove(identity);
        }
    }

    pub(super) fn clients_mut(&mut self) -> &mut Clients {
        &mut self.clients
    }

    /// Whether an object counts as a workload.
    pub(super) fn has_workload(&self, id: &ObjectId) -> bool {
        self.workloads.contains_key(id)
    }

    pub(super) fn runs(&self, key: &ServiceKey) -> bool {
        self.by_service.contains_key(key)
    }

    pub(super) fn service_keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    pub(super) fn namespaces_of(&self, identity: &Identity) -> Vec<Arc<str>> {
        self.identities.get(identity).map_or_else(Vec::new, |namespaces| namespaces.keys().cloned().collect())
    }

    /// Whether workloads or clients of an identity run here.
    pub(super) fn has(&self, identity: &Identity) -> bool {
        self.identities.contains_key(identity)
    }

    pub(super) fn identities_in(&self, namespace: &str) -> BTreeSet<Identity> {
        let ids = self.by_namespace.get(namespace).into_iter().flatten();
        ids.filter_map(|id| match &self.workloads.get(id)?.classified {
            Classified::Service(key) => Some(key.identity.clone()),
            _ => None,
        })
        .chain(self.clients.identities_in(namespace).cloned())
        .collect()
    }

    pub(super) fn identities(&self) -> Vec<Identity> {
        self.identities.keys().cloned().collect()
    }

    pub(super) fn client_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_namespace.keys().chain(self.clients.namespaces().filter(|name| !self.by_namespace.contains_key(*name)))
    }

    pub(super) fn workload_count(&self) -> usize {
        self.by_namespace.values().map(BTreeSet::len).sum()
    }

    /// How the oldest workload of a service spells it.
    pub(super) fn oldest(&self, key: &ServiceKey) -> Option<Spelling> {
        let placed = self.by_service.get(key)?.iter().filter_map(|id| self.workloads.get(id));
        let oldest = placed.min_by_key(|placed| (placed.workload.created_seconds, placed.workload.id.clone()))?;
        match &oldest.classified {
            Classified::Service(key) => Some(Spelling::new(&oldest.workload, key, &self.identity_key)),
            _ => None,
        }
    }

    /// Namespace and service account of the workloads of a service.
    pub(super) fn service_accounts(&self, key: &ServiceKey) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let ids = self.by_service.get(key).into_iter().flatten();
        let workloads = ids.filter_map(|id| Some(&self.workloads.get(id)?.workload));
        let accounts = |workload: &'_ Workload| {
            let at_home = |account: &Arc<str>| (workload.id.namespace.clone(), account.clone());
            workload.service_accounts.iter().map(at_home).collect::<Vec<_>>()
        };
        workloads.flat_map(accounts).collect()
    }

    // ---- Services ----

    pub(super) fn put_service(&mut self, service: LocalService) -> Effects {
        let mut effects = Effects::default();
        let at = (service.id.namespace.clone(), service.id.name.clone());
        if self.services.get(&at) == Some(&service) {
            return effects;
        }
        self.take_service(&at, &mut effects);
        self.touch_selected(&service, &mut effects);
        if let Some(pair) = indexed_pair(&service.selector) {
            self.services_by_pair.entry(pair_hash(&at.0, pair)).or_default().insert(at.1.clone());
        }
        effects.topology |= self.topology.put_service(&service);
        if is_istiod(&service) {
            effects.topology.any = true;
            self.istiods.insert(at.clone());
        }
        self.services.insert(at, service);
        effects
    }

    pub(super) fn remove_service(&mut self, id: &ObjectId) -> Effects {
        let mut effects = Effects::default();
        self.take_service(&(id.namespace.clone(), id.name.clone()), &mut effects);
        effects.topology |= self.topology.remove_service(id);
        effects
    }

    fn take_service(&mut self, at: &(Arc<str>, Arc<str>), effects: &mut Effects) {
        if let Some(service) = self.services.remove(at) {
            self.touch_selected(&service, effects);
            effects.topology.any |= self.istiods.remove(at);
            if let Some(pair) = indexed_pair(&service.selector) {
                remove_from(&mut self.services_by_pair, &pair_hash(&at.0, pair), &at.1);
            }
        }
    }

    fn touch_selected(&self, service: &LocalService, effects: &mut Effects) {
        for id in self.by_namespace.get(&service.id.namespace).into_iter().flatten() {
            let Some(placed) = self.workloads.get(id) else { continue };
            // A Service that selects nothing may still be why a workload has none: the note about it must follow.
            let of_rollout = id.kind == Kind::Rollout;
            if (service.selector.is_empty() || selects(&service.selector, &placed.workload.template_labels, of_rollout))
                && let Classified::Service(key) = &placed.classified
            {
                effects.services.insert(key.clone());
            }
        }
    }

    pub(super) fn workloads_of(&self, key: &ServiceKey) -> impl Iterator<Item = &Workload> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.workloads.get(id)).map(|placed| &placed.workload)
    }

    // ---- Nodes and Namespaces ----

    pub(super) fn put_node(&mut self, node: Node) -> Effects {
        Effects { topology: self.topology.put_node(node), ..Effects::default() }
    }

    pub(super) fn remove_node(&mut self, id: &ObjectId) -> Effects {
        Effects { topology: self.topology.remove_node(id), ..Effects::default() }
    }

    /// Where it stands and how others reach it.
    pub(super) fn topology(&self) -> &ClusterTopology {
        &self.topology
    }

    pub(super) fn topology_mut(&mut self) -> &mut ClusterTopology {
        &mut self.topology
    }

    // ---- what was written ----

    /// What was written there.
    pub(super) fn outputs(&self) -> &OutputIndex {
        &self.outputs
    }

    pub(super) fn outputs_mut(&mut self) -> &mut OutputIndex {
        &mut self.outputs
    }

    /// The ids of every object of one kind.
    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::Service => self.services.values().map(|service| service.id.clone()).collect(),
            Kind::EndpointSlice => self.slices.ids(),
            Kind::Node => self.topology.nodes().map(|name| ObjectId::new(kind, "", name)).collect(),
            Kind::Namespace => self.namespaces.values().map(|namespace| namespace.id.clone()).collect(),
            kind if Policies::KINDS.contains(&kind) => self.policies.ids(kind),
            kind if Kind::WRITTEN.contains(&kind) => {
                let machines = self.workloads.keys().filter(|id| id.kind == kind).cloned();
                self.outputs
                    .ids(kind)
                    .into_iter()
                    .chain(self.routes.ids(kind))
                    .chain(self.custom.ids(kind))
                    .chain(machines)
                    .chain(self.host_overrides.ids(kind))
                    .collect()
            }
            kind if Kind::CLIENTS.contains(&kind) => self.clients.ids(kind),
            kind if Kind::WORKLOADS.contains(&kind) => {
                self.workloads.keys().filter(|id| id.kind == kind).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &ClusterName {
        &self.name
    }
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    // Left and come back within one event: nothing moved.
    if !set.remove(&item) {
        set.insert(item);
    }
}

pub(super) fn remove_from<K: Hash + Eq, V: Ord>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}
