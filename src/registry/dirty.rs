//! The units that wait to be planned: a set, so that many events make one piece of work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt,
};

use tokio::sync::Notify;

use super::{
    Registry, client_namespaces, control_planes, dependency_notes,
    locks::{Rank, RankedMutex},
    propagation, routing_inputs,
};
use crate::{
    config::Sidecars,
    model::{ClusterName, ObjectId, ServiceKey, WorkKey},
};

/// What makes a unit be planned again. Clones share their texts, so that an event allocates nothing for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trigger {
    /// An object of a cluster was added, changed or deleted.
    Object(ClusterName, ObjectId),
    /// A cluster joined or left, its settings changed, or what it holds became known.
    Cluster(ClusterName),
    /// Another service gave up, or took, something that this one asks for.
    Service(ServiceKey),
    /// The whole fleet was read for the first time.
    Start,
    /// A time came at which the plan is another.
    Time,
    /// An earlier write did not come to its end.
    #[default]
    Retry,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(cluster, id) => match (&*id.namespace, &*id.name) {
                ("", name) => write!(f, "{} {cluster}/{name}", id.kind.as_str()),
                (namespace, name) => write!(f, "{} {cluster}/{namespace}/{name}", id.kind.as_str()),
            },
            Self::Cluster(cluster) => write!(f, "cluster {cluster}, which joined, left, changed or became readable"),
            Self::Service(key) => write!(f, "service {key}"),
            Self::Time => f.write_str("time"),
            Self::Start => f.write_str("start of the controller"),
            Self::Retry => f.write_str("retry of an earlier write"),
        }
    }
}

/// Why a unit is planned: the first trigger since it was planned last, and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Because {
    /// The first.
    pub first: Trigger,
    /// How many came after it, apart from repetitions of it.
    pub others: u32,
}

impl Because {
    /// One trigger.
    #[must_use]
    pub fn of(first: Trigger) -> Self {
        Self { first, others: 0 }
    }

    /// Counts what came later.
    pub fn add(&mut self, later: &Self) {
        let is_another = u32::from(later.first != self.first);
        self.others = self.others.saturating_add(later.others).saturating_add(is_another);
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.others {
            0 => write!(f, "{}", self.first),
            1 => write!(f, "{} and 1 other", self.first),
            others => write!(f, "{} and {others} others", self.first),
        }
    }
}

type WaitingUnits = HashMap<WorkKey, Because>;

/// Adds units to those that wait; answers whether one was new.
fn enter(waiting: &mut WaitingUnits, units: impl IntoIterator<Item = (WorkKey, Because)>) -> bool {
    let before = waiting.len();
    for (unit, because) in units {
        match waiting.entry(unit) {
            Entry::Occupied(mut known) => known.get_mut().add(&because),
            Entry::Vacant(new) => drop(new.insert(because)),
        }
    }
    waiting.len() > before
}

/// The units that wait to be planned.
#[derive(Debug)]
pub struct DirtyQueue {
    units: RankedMutex<WaitingUnits>,
    changed: Notify,
    /// Those of which only pods changed: they may wait for more of the same burst of events.
    bursting: RankedMutex<WaitingUnits>,
}

impl Default for DirtyQueue {
    fn default() -> Self {
        Self {
            units: RankedMutex::new(Rank::Queue, WaitingUnits::new()),
            changed: Notify::new(),
            bursting: RankedMutex::new(Rank::Queue, WaitingUnits::new()),
        }
    }
}

impl DirtyQueue {
    pub(super) fn mark(&self, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
        // Before the lock is taken: whoever lists the units may look into clusters.
        let units: Vec<_> = units.into_iter().map(|unit| (unit, Because::of(trigger.clone()))).collect();
        if enter(&mut self.units.lock(), units) {
            self.changed.notify_one();
        }
    }

    /// Marks units of which only pods changed.
    pub(super) fn mark_bursting(&self, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
        // Before the lock is taken, as above.
        let units: Vec<_> = units.into_iter().map(|unit| (unit, Because::of(trigger.clone()))).collect();
        if enter(&mut self.bursting.lock(), units) {
            self.changed.notify_one();
        }
    }

    /// Everything that waits, sorted, so that the same state is worked through in the same order, with what made it wait.
    fn take(&self) -> BTreeMap<WorkKey, Because> {
        std::mem::take(&mut *self.units.lock()).into_iter().collect()
    }

    /// Number of units that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let bursting = self.bursting.lock().len();
        bursting + self.units.lock().len()
    }

    /// Wakes whoever waits for units, although none may have come.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until something may have to be planned.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Registry {
    /// Takes everything that has to be planned, sorted.
    #[must_use]
    pub fn take_dirty(&self) -> BTreeSet<WorkKey> {
        self.take_triggered().into_keys().collect()
    }

    /// As [`Registry::take_dirty`], with what made each unit dirty.
    #[must_use]
    pub fn take_triggered(&self) -> BTreeMap<WorkKey, Because> {
        if !self.startup.has_started() {
            return BTreeMap::new();
        }
        dependency_notes::review_dependencies(self);
        let mut units = self.queue.take();
        let mut ruled: BTreeMap<WorkKey, Because> = BTreeMap::new();
        for (unit, because) in &units {
            let namespaces = unit.service().map(|key| routing_inputs::ruled_namespaces(self, key)).unwrap_or_default();
            for (cluster, namespace) in namespaces {
                ruled.entry(WorkKey::Namespace(cluster, namespace)).or_insert_with(|| because.clone());
            }
        }
        for (unit, because) in ruled {
            units.entry(unit).or_insert(because);
        }
        units
    }

    /// Takes the units of which only pods changed: more changes of the same burst may follow.
    #[must_use]
    pub fn take_bursting(&self) -> BTreeMap<WorkKey, Because> {
        std::mem::take(&mut *self.queue.bursting.lock()).into_iter().collect()
    }

    /// What follows the plan of a unit, once its hosts are claimed: the Sidecars of those who depend on a service, and the
    /// copies of users' routes for its hosts. It comes later in the order of units, so that many services make one piece of
    /// work of it.
    #[must_use]
    pub fn followers(&self, unit: &WorkKey) -> BTreeSet<WorkKey> {
        let Some(key) = unit.service() else { return BTreeSet::new() };
        let mut units: BTreeSet<WorkKey> =
            propagation::routed_hosts_of(self, key).into_iter().map(WorkKey::Host).collect();
        if self.settings.sidecars != Sidecars::Off {
            let clients = client_namespaces::namespaces_of_dependents(self, key).into_iter();
            units.extend(clients.map(|(cluster, namespace)| WorkKey::Sidecar(cluster, namespace)));
        }
        units
    }
}

/// Marks units, once planning has begun.
pub(super) fn mark_for(registry: &Registry, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
    if registry.startup.has_started() {
        registry.queue.mark(units, trigger);
    }
}

/// Marks every unit, once planning has begun.
pub(super) fn mark_everything(registry: &Registry, trigger: &Trigger) {
    // It is done once the fleet has been read.
    if !registry.startup.has_started() {
        return;
    }
    let mut units: BTreeSet<WorkKey> = registry.queries().services().into_iter().map(WorkKey::Service).collect();
    for state in registry.fleet.iter() {
        // Of services that run nowhere there is still to say that the policy has no effect.
        units.extend(state.policies.keys().cloned().map(WorkKey::Service));
    }
    units.extend(registry.dependencies.read().proxies.keys().cloned().map(WorkKey::Service));
    for cluster in registry.fleet.names() {
        units.extend(routing_inputs::namespace_units(registry, &cluster));
        units.extend(control_planes::sidecar_units(registry, &cluster));
    }
    units.extend(registry.queries().routed_hosts().into_iter().map(WorkKey::Host));
    mark_for(registry, units, trigger);
    let dependencies = registry.dependencies.read();
    registry.dependencies.review_again(dependencies.all().map(|(of, _)| of.clone()));
}
