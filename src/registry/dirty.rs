//! The units that wait to be planned: a set, so that many events make one piece of work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt,
    sync::atomic::Ordering,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Registry;
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

type Waiting = HashMap<WorkKey, Because>;

/// Adds units to those that wait; answers whether one was new.
fn enter(waiting: &mut Waiting, units: impl IntoIterator<Item = (WorkKey, Because)>) -> bool {
    let before = waiting.len();
    for (unit, because) in units {
        match waiting.entry(unit) {
            Entry::Occupied(mut known) => known.get_mut().add(&because),
            Entry::Vacant(new) => drop(new.insert(because)),
        }
    }
    waiting.len() > before
}

#[derive(Debug, Default)]
pub(super) struct DirtyUnits {
    units: Mutex<Waiting>,
    changed: Notify,
    /// Those of which only pods changed: they may wait for more of the same burst of events.
    bursting: Mutex<Waiting>,
}

impl DirtyUnits {
    pub(super) fn mark(&self, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
        let units = units.into_iter().map(|unit| (unit, Because::of(trigger.clone())));
        if enter(&mut self.units.lock(), units) {
            self.changed.notify_one();
        }
    }

    /// Marks units of which only pods changed.
    pub(super) fn mark_bursting(&self, units: impl IntoIterator<Item = WorkKey>, trigger: &Trigger) {
        let units = units.into_iter().map(|unit| (unit, Because::of(trigger.clone())));
        if enter(&mut self.bursting.lock(), units) {
            self.changed.notify_one();
        }
    }

    /// Everything that waits, sorted, so that the same state is worked through in the same order, with what made it wait.
    pub(super) fn take(&self) -> BTreeMap<WorkKey, Because> {
        std::mem::take(&mut *self.units.lock()).into_iter().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.units.lock().len() + self.bursting.lock().len()
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn changed(&self) {
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
        if !self.started.load(Ordering::Acquire) {
            return BTreeMap::new();
        }
        self.review_dependencies();
        let mut units = self.dirty.take();
        let mut ruled: BTreeMap<WorkKey, Because> = BTreeMap::new();
        for (unit, because) in &units {
            let namespaces = unit.service().map(|key| self.ruled_namespaces(key)).unwrap_or_default();
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
        std::mem::take(&mut *self.dirty.bursting.lock()).into_iter().collect()
    }

    /// What follows the plan of a unit, once its hosts are claimed: the Sidecars of those who depend on a service, and the
    /// copies of users' routes for its hosts. It comes later in the order of units, so that many services make one piece of
    /// work of it.
    #[must_use]
    pub fn followers(&self, unit: &WorkKey) -> BTreeSet<WorkKey> {
        let Some(key) = unit.service() else { return BTreeSet::new() };
        let mut units: BTreeSet<WorkKey> = self.routed_hosts_of(key).into_iter().map(WorkKey::Host).collect();
        if self.settings.sidecars != Sidecars::Off {
            let clients = self.namespaces_of_dependents(key).into_iter();
            units.extend(clients.map(|(cluster, namespace)| WorkKey::Sidecar(cluster, namespace)));
        }
        units
    }

    /// Number of units that wait.
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }
}
