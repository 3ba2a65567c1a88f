//! How many objects of one kind a cluster may have, and how much memory its objects may take in all.
//!
//! Pure accounting: an informer asks before it passes an object on, and reports the cluster as unreadable where the answer is
//! no. What is known stays.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::pruned_object::PrunedObject;
use crate::config::Settings;

/// A cluster has more than is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BudgetExceeded {
    /// Objects of one kind.
    #[error("there are more than {0} of them; raise clusterMaxObjects if that is right")]
    Objects(usize),
    /// Bytes of all kinds.
    #[error("the objects of the cluster take more than {0} MiB; raise clusterMaxMib if that is right")]
    Bytes(u64),
}

/// What one cluster may have, over all its kinds.
#[derive(Debug)]
pub(super) struct ClusterBudget {
    max_objects: usize,
    max_mib: u64,
    held_bytes: AtomicU64,
}

impl ClusterBudget {
    /// As the settings say.
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            max_objects: settings.cluster_max_objects,
            max_mib: u64::from(settings.cluster_max_mib),
            held_bytes: AtomicU64::new(0),
        })
    }
}

/// The objects of one kind that count against the budget of their cluster.
#[derive(Debug)]
pub(super) struct ObjectLedger {
    budget: Arc<ClusterBudget>,
    /// By namespace and name, which are hashed by a key of this process: a server cannot make two of them collide.
    hasher: RandomState,
    known: HashMap<u64, u64>,
    known_bytes: u64,
    /// A list under way.
    listed: HashMap<u64, u64>,
    listed_bytes: u64,
}

impl ObjectLedger {
    /// Without objects.
    pub(super) fn new(budget: Arc<ClusterBudget>) -> Self {
        Self {
            budget,
            hasher: RandomState::new(),
            known: HashMap::new(),
            known_bytes: 0,
            listed: HashMap::new(),
            listed_bytes: 0,
        }
    }

    /// Most objects of the kind.
    pub(super) fn max_objects(&self) -> usize {
        self.budget.max_objects
    }

    /// A list begins. What is known counts until it ends.
    pub(super) fn begin_list(&mut self) {
        (self.listed, self.listed_bytes) = (HashMap::new(), 0);
    }

    /// An object of the list.
    pub(super) fn list(&mut self, object: &PrunedObject) -> Result<(), BudgetExceeded> {
        let bytes = object.memory_bytes();
        let before = self.listed.insert(self.key(object), bytes).unwrap_or_default();
        self.listed_bytes = self.listed_bytes - before + bytes;
        let of_others = self.budget.held_bytes.load(Ordering::Relaxed).saturating_sub(self.known_bytes);
        self.check(self.listed.len(), of_others + self.listed_bytes)
    }

    /// The list is complete and replaces what was known.
    pub(super) fn finish_list(&mut self) {
        self.known = std::mem::take(&mut self.listed);
        let listed_bytes = std::mem::take(&mut self.listed_bytes);
        self.hold(listed_bytes);
    }

    /// An object was added or changed.
    pub(super) fn apply(&mut self, object: &PrunedObject) -> Result<(), BudgetExceeded> {
        let bytes = object.memory_bytes();
        let before = self.known.insert(self.key(object), bytes).unwrap_or_default();
        self.hold(self.known_bytes - before + bytes);
        self.check(self.known.len(), self.budget.held_bytes.load(Ordering::Relaxed))
    }

    /// An object was deleted.
    pub(super) fn delete(&mut self, object: &PrunedObject) {
        let before = self.known.remove(&self.key(object)).unwrap_or_default();
        self.hold(self.known_bytes - before);
    }

    fn hold(&mut self, bytes: u64) {
        let held = &self.budget.held_bytes;
        held.fetch_add(bytes, Ordering::Relaxed);
        held.fetch_sub(self.known_bytes, Ordering::Relaxed);
        self.known_bytes = bytes;
    }

    fn key(&self, object: &PrunedObject) -> u64 {
        self.hasher.hash_one(object.key())
    }

    fn check(&self, objects: usize, bytes: u64) -> Result<(), BudgetExceeded> {
        let ClusterBudget { max_objects, max_mib, .. } = *self.budget;
        if objects > max_objects {
            return Err(BudgetExceeded::Objects(max_objects));
        }
        if bytes > max_mib << 20 {
            return Err(BudgetExceeded::Bytes(max_mib));
        }
        Ok(())
    }
}

impl Drop for ObjectLedger {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, bytes: usize) -> PrunedObject {
        let value = json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"text": "x".repeat(bytes)}});
        serde_json::from_value(value).unwrap()
    }

    fn budget(max_objects: usize) -> Arc<ClusterBudget> {
        ClusterBudget::new(&Settings { cluster_max_objects: max_objects, cluster_max_mib: 1, ..Settings::default() })
    }

    #[test]
    fn objects_of_one_kind_are_counted_each_once() {
        let mut kind = ObjectLedger::new(budget(2));
        kind.begin_list();
        for name in ["a", "b", "a"] {
            assert_eq!(kind.list(&object(name, 1)), Ok(()));
        }
        kind.finish_list();
        assert_eq!(kind.apply(&object("b", 2)), Ok(()));
        assert_eq!(kind.apply(&object("c", 1)), Err(BudgetExceeded::Objects(2)));
        kind.delete(&object("c", 1));
        kind.delete(&object("a", 1));
        assert_eq!(kind.apply(&object("c", 1)), Ok(()));
        kind.begin_list();
        assert_eq!(kind.list(&object("d", 1)), Ok(()));
        assert_eq!(kind.list(&object("e", 1)), Ok(()));
        assert_eq!(kind.list(&object("f", 1)), Err(BudgetExceeded::Objects(2)));
    }

    #[test]
    fn the_kinds_of_a_cluster_share_its_memory_and_a_repeated_list_counts_once() {
        let (budget, large) = (budget(100), 400 << 10);
        let mut first = ObjectLedger::new(budget.clone());
        let mut second = ObjectLedger::new(budget.clone());
        for _ in 0..3 {
            first.begin_list();
            assert_eq!(first.list(&object("a", large)), Ok(()));
            first.finish_list();
        }
        assert_eq!(second.apply(&object("b", large)), Ok(()));
        assert_eq!(second.apply(&object("c", large)), Err(BudgetExceeded::Bytes(1)));
        second.delete(&object("c", large));
        first.begin_list();
        assert_eq!(first.list(&object("a", large)), Ok(()));
        assert_eq!(first.list(&object("b", large)), Err(BudgetExceeded::Bytes(1)));
        // What a watch held is free once it is gone.
        drop(first);
        assert_eq!(second.apply(&object("c", large)), Ok(()));
        drop(second);
        assert_eq!(budget.held_bytes.load(Ordering::Relaxed), 0);
    }
}
