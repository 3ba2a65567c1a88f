//! What runs where: a value that objects are pushed into and inputs of planning are taken from.
//!
//! One [`ClusterState`] per cluster, indexes across them, and the queue of units that have to be planned again.
//! An event goes to the store that keeps its object, what changed there is propagated, and exactly the units that it can affect
//! are marked. The registry decides what belongs together; it never decides what is written. It knows no client, no clock and
//! no file.
//!
//! Nothing is planned before the whole fleet was listed once: each kind of each registered cluster
//! either synced or reported unreadable. From then on a cluster that cannot be read counts with what
//! was last known of it (its state, or what written objects [remember](last_known)).
//!
//! Each component has a lock of its own. Those that are held together are taken in the order of [`locks::Rank`]: hosts,
//! dependencies, indexes, claims, cluster states, who counts for an identity, what was last known, control planes, operations, labels and settings of clusters,
//! failing reads, the queue, the notes. No two locks of one rank are held together, so no two cluster states either. Debug
//! builds check it.

mod absence;
mod addresses;
mod adoption;
mod choice;
mod claim_rules;
mod client_namespaces;
mod cluster_index;
mod cluster_state;
mod control_planes;
mod dependencies;
mod dependency_notes;
mod dependency_proxies;
mod dirty;
mod effects;
mod fleet;
mod freshness;
mod hints;
mod host_claims;
mod host_overrides;
mod identity;
mod identity_claims;
mod identity_holders;
mod identity_owners;
mod ingest;
mod injection;
mod istio_namespaces;
mod last_known;
mod locks;
mod lost_hosts;
mod networks;
mod notes;
mod operations;
mod partition;
mod policies;
mod policy_match;
mod propagation;
mod queries;
mod reads;
mod remembered;
mod routing_inputs;
mod service_input;
mod source;
mod startup;
mod status;
mod targets;
mod topology_notes;
mod writing;
mod written_for;

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

pub use dirty::{Because, DirtyQueue, Trigger};
pub use hints::HintBudget;
pub use notes::{NoteBook, NoteSource};
pub use queries::{Inputs, OutputQueries, Queries};
pub use reads::{ClusterReads, ReadTarget, Unread, listed_targets, main_failure, meanwhile};
pub use startup::NotReady;
pub use status::{ClusterStatus, KindState};

use crate::{
    config::{AddressSource, Settings},
    model::{ClusterName, ServiceKey, WorkKey},
};
use addresses::AddressBook;
use cluster_index::ServiceIndex;
use cluster_state::ClusterState;
use control_planes::ControlPlanes;
use dependencies::DependencyGraph;
use fleet::ClusterStates;
use identity_claims::ClaimBook;
use last_known::LastKnownOutputs;
use locks::{Rank, RankedMutex};
use operations::Operations;
use reads::Reads;
use startup::Startup;

/// The registry: components that each have a lock and an implementation of their own.
///
/// Events go in here. What is known comes out by [`Registry::queries`], what planning takes by [`Registry::inputs`], and what
/// was written by [`Registry::outputs`].
#[derive(Debug)]
pub struct Registry {
    settings: Arc<Settings>,
    /// What is known of each cluster.
    fleet: ClusterStates,
    /// Which clusters to ask about a service, an identity or a policy.
    index: ServiceIndex,
    /// Who declares to call whom.
    dependencies: DependencyGraph,
    /// The IdentityClaims of the hub.
    claims: ClaimBook,
    /// What operators switched.
    operations: Operations,
    /// Who holds which host, and with which address.
    hosts: RankedMutex<AddressBook>,
    /// What was last known of clusters that cannot be read.
    last_known: LastKnownOutputs,
    /// Whose istiods serve which cluster.
    control_planes: ControlPlanes,
    /// Reads that fail.
    reads: Reads,
    notes: NoteBook,
    /// The units that wait to be planned.
    queue: DirtyQueue,
    startup: Startup,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let rest = Duration::from_secs(u64::from(settings.host_rest_hours) * 3_600);
        let range = (settings.addresses == AddressSource::Tradewind).then_some(settings.address_range);
        Self {
            fleet: ClusterStates::new(&settings),
            index: ServiceIndex::default(),
            dependencies: DependencyGraph::default(),
            claims: ClaimBook::default(),
            operations: Operations::default(),
            hosts: RankedMutex::new(Rank::Hosts, AddressBook::new(range, rest)),
            last_known: LastKnownOutputs::default(),
            control_planes: ControlPlanes::default(),
            reads: Reads::default(),
            notes: NoteBook::default(),
            queue: DirtyQueue::default(),
            startup: Startup::default(),
            settings,
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

    /// The units that wait to be planned.
    #[must_use]
    pub fn queue(&self) -> &DirtyQueue {
        &self.queue
    }

    /// Questions about the fleet.
    #[must_use]
    pub fn queries(&self) -> Queries<'_> {
        Queries { registry: self }
    }

    /// Questions about what was written, and what may be.
    #[must_use]
    pub fn outputs(&self) -> OutputQueries<'_> {
        OutputQueries { registry: self }
    }

    /// What planning takes.
    #[must_use]
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { registry: self }
    }

    // ---- the fleet ----

    /// A cluster joins. It is loading until each of its kinds was listed or reported unreadable. Joining again changes nothing.
    pub fn register(&self, cluster: &ClusterName) {
        if self.fleet.has(cluster) {
            return;
        }
        self.fleet.add(cluster, &self.settings);
        control_planes::refresh(self, cluster);
        if self.startup.has_started() {
            dirty::mark_everything(self, &Trigger::Cluster(cluster.clone()));
        }
    }

    /// The hub's Dependencies and the like are read under `hub`; nothing is planned before they are known.
    pub fn register_hub(&self, hub: &ClusterName) {
        self.fleet.add_hub(hub, &self.settings);
    }

    /// A cluster leaves: its endpoints leave the others.
    pub fn deregister(&self, cluster: &ClusterName) {
        let planes = self.control_planes.of(cluster);
        let Some(state) = self.fleet.remove(cluster) else { return };
        forget_declarations(self, cluster);
        self.hosts.lock().forget_cluster(cluster);
        self.last_known.forget(cluster);
        self.set_istio_namespace(cluster, None);
        self.notes.forget_cluster(cluster);
        self.reads.forget(cluster);
        networks::note_networks(self);
        control_planes::refresh(self, cluster);
        let services = forget_in_indexes(self, cluster, &state);
        startup::try_start(self);
        let trigger = Trigger::Cluster(cluster.clone());
        dirty::mark_everything(self, &trigger);
        let hosts = state.user_routes.routes().hosts(&self.settings.hostname_suffix).cloned().map(WorkKey::Host);
        dirty::mark_for(self, services.into_iter().map(WorkKey::Service).chain(hosts), &trigger);
        let sidecars = control_planes::sidecars_at(self, &planes, state.workloads.client_namespaces());
        dirty::mark_for(self, sidecars, &trigger);
    }

    /// Every cluster has been registered once.
    pub fn fleet_listed(&self) {
        self.startup.set_listed();
        startup::try_start(self);
    }

    /// Honours Admiral's address ConfigMap: ServiceEntry name to address. To be called before [`Registry::fleet_listed`].
    pub fn honour_admiral_addresses(&self, entries: impl IntoIterator<Item = (String, Ipv4Addr)>) {
        self.hosts.lock().honour_admiral(entries);
    }

    /// Marks units to be planned again because something was not written.
    pub fn mark(&self, units: impl IntoIterator<Item = WorkKey>) {
        dirty::mark_for(self, units, &Trigger::Retry);
    }
}

/// Forgets what a cluster declares for the whole fleet.
fn forget_declarations(registry: &Registry, cluster: &ClusterName) {
    let declared = registry.dependencies.read().of_cluster(cluster);
    declared.iter().for_each(|id| dependencies::set_dependency(registry, cluster, id, None));
    let configs = registry.operations.ids(cluster);
    configs.iter().for_each(|id| operations::set_operations(registry, cluster, id, None));
    let proxies = registry.dependencies.read().proxies.of_cluster(cluster);
    proxies.iter().for_each(|id| dependency_proxies::set_proxy(registry, cluster, id, None));
}

/// Takes a cluster that left out of the indexes; answers the services that were found there.
fn forget_in_indexes(registry: &Registry, cluster: &ClusterName, state: &ClusterState) -> BTreeSet<ServiceKey> {
    let found = state.workloads.service_keys().chain(state.outputs.keys()).chain(state.policies.keys());
    let found: BTreeSet<ServiceKey> = found.cloned().collect();
    for key in &found {
        registry.index.refresh_service(&registry.fleet, key, cluster);
        registry.index.refresh_policies(&registry.fleet, key, cluster);
    }
    for identity in state.workloads.identities().all() {
        registry.index.refresh_identity(&registry.fleet, &identity, cluster);
    }
    found
}
