//! Locks of the registry, in the one order in which they may be taken together.
//!
//! A thread that holds a lock takes only locks of a higher [`Rank`], so that no two threads can wait for each other. Debug
//! builds check that and panic; release builds carry nothing of it.

use std::{
    hash::Hash,
    ops::{Deref, DerefMut},
};

use dashmap::{
    DashMap,
    iter::Iter,
    mapref::{
        multiple::RefMulti,
        one::{Ref, RefMut},
    },
};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The order of the registry's locks: whoever holds one may take those below it in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Making the notes about what cannot be read.
    ReadNotes,
    /// Who holds which host and address.
    Hosts,
    /// Dependencies and DependencyProxies.
    Dependencies,
    /// The services of each identity.
    ServicesOf,
    /// In which clusters something is found.
    ClusterIndex,
    /// The IdentityClaims, as objects.
    ClaimBook,
    /// The states of the clusters.
    ClusterStates,
    /// Who counts for which identity.
    IdentityOwners,
    /// What was last known of clusters that cannot be read.
    LastKnown,
    /// Whose istiods serve which cluster.
    ControlPlanes,
    /// What operators switched.
    Operations,
    /// Cluster names by their label.
    Labels,
    /// What is set for whole clusters.
    ClusterSettings,
    /// Reads that fail.
    ReadFailures,
    /// Units and Dependencies that wait to be looked at.
    Queue,
    /// The notes in force.
    Notes,
}

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    use super::Rank;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    /// A lock that this thread holds.
    #[derive(Debug)]
    pub(in crate::registry) struct HeldRank(Rank);

    impl HeldRank {
        pub(in crate::registry) fn take(rank: Rank) -> Self {
            HELD.with_borrow_mut(|held| {
                let highest = held.iter().max();
                assert!(highest.is_none_or(|highest| *highest < rank), "{rank:?} is locked while {highest:?} is held");
                held.push(rank);
            });
            Self(rank)
        }
    }

    impl Drop for HeldRank {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                if let Some(at) = held.iter().rposition(|rank| *rank == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod held {
    use super::Rank;

    #[derive(Debug)]
    pub(in crate::registry) struct HeldRank;

    impl HeldRank {
        #[inline]
        pub(in crate::registry) fn take(_: Rank) -> Self {
            Self
        }
    }
}

use held::HeldRank;

/// What a lock guards, while it is held.
#[derive(Debug)]
pub(super) struct RankedGuard<G> {
    guard: G,
    _held: HeldRank,
}

impl<G: Deref> Deref for RankedGuard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for RankedGuard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// A mutex with a rank.
#[derive(Debug)]
pub(super) struct RankedMutex<T> {
    rank: Rank,
    inner: Mutex<T>,
}

impl<T> RankedMutex<T> {
    pub(super) fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: Mutex::new(value) }
    }

    pub(super) fn lock(&self) -> RankedGuard<MutexGuard<'_, T>> {
        let held = HeldRank::take(self.rank);
        RankedGuard { guard: self.inner.lock(), _held: held }
    }
}

/// A lock of many readers or one writer, with a rank.
#[derive(Debug)]
pub(super) struct RankedRwLock<T> {
    rank: Rank,
    inner: RwLock<T>,
}

impl<T> RankedRwLock<T> {
    pub(super) fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: RwLock::new(value) }
    }

    pub(super) fn read(&self) -> RankedGuard<RwLockReadGuard<'_, T>> {
        let held = HeldRank::take(self.rank);
        RankedGuard { guard: self.inner.read(), _held: held }
    }

    pub(super) fn write(&self) -> RankedGuard<RwLockWriteGuard<'_, T>> {
        let held = HeldRank::take(self.rank);
        RankedGuard { guard: self.inner.write(), _held: held }
    }
}

/// A concurrent map with a rank: each of its entries counts as a lock.
#[derive(Debug)]
pub(super) struct RankedMap<K: Eq + Hash, V> {
    rank: Rank,
    inner: DashMap<K, V>,
}

impl<K: Eq + Hash, V> RankedMap<K, V> {
    pub(super) fn new(rank: Rank) -> Self {
        Self { rank, inner: DashMap::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<RankedGuard<Ref<'_, K, V>>> {
        let held = HeldRank::take(self.rank);
        Some(RankedGuard { guard: self.inner.get(key)?, _held: held })
    }

    pub(super) fn get_mut(&self, key: &K) -> Option<RankedGuard<RefMut<'_, K, V>>> {
        let held = HeldRank::take(self.rank);
        Some(RankedGuard { guard: self.inner.get_mut(key)?, _held: held })
    }

    /// The value of a key, made by `make` where there is none.
    pub(super) fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> RankedGuard<RefMut<'_, K, V>> {
        let held = HeldRank::take(self.rank);
        RankedGuard { guard: self.inner.entry(key).or_insert_with(make), _held: held }
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        let _held = HeldRank::take(self.rank);
        self.inner.contains_key(key)
    }

    pub(super) fn insert(&self, key: K, value: V) -> Option<V> {
        let _held = HeldRank::take(self.rank);
        self.inner.insert(key, value)
    }

    pub(super) fn remove(&self, key: &K) -> Option<V> {
        let _held = HeldRank::take(self.rank);
        self.inner.remove(key).map(|(_, value)| value)
    }

    pub(super) fn remove_if(&self, key: &K, is_to_go: impl FnOnce(&V) -> bool) {
        let _held = HeldRank::take(self.rank);
        self.inner.remove_if(key, |_, value| is_to_go(value));
    }

    pub(super) fn retain(&self, mut stays: impl FnMut(&K) -> bool) {
        let _held = HeldRank::take(self.rank);
        self.inner.retain(|key, _| stays(key));
    }

    /// All entries, in no order. The map counts as locked until the iterator is dropped.
    pub(super) fn iter(&self) -> RankedIter<'_, K, V> {
        let held = HeldRank::take(self.rank);
        RankedIter { inner: self.inner.iter(), _held: held }
    }
}

/// See [`RankedMap::iter`].
pub(super) struct RankedIter<'a, K, V> {
    inner: Iter<'a, K, V>,
    _held: HeldRank,
}

impl<'a, K: Eq + Hash, V> Iterator for RankedIter<'a, K, V> {
    type Item = RefMulti<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next()
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn caught(take: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(take).expect_err("the order is checked");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn locks_of_rising_rank_may_be_taken_together_and_again_after_release() {
        let hosts = RankedMutex::new(Rank::Hosts, 1);
        let states: RankedMap<u8, u8> = RankedMap::new(Rank::ClusterStates);
        states.insert(1, 10);
        for _ in 0..2 {
            let host = hosts.lock();
            let state = states.get(&1).unwrap();
            assert_eq!(*host + *state, 11);
        }
    }

    #[test]
    fn a_lock_of_lower_or_equal_rank_panics() {
        let hosts = RankedMutex::new(Rank::Hosts, ());
        let queue = RankedRwLock::new(Rank::Queue, ());
        let said = caught(std::panic::AssertUnwindSafe(|| {
            let _queue = queue.read();
            let _hosts = hosts.lock();
        }));
        assert_eq!(said, "Hosts is locked while Some(Queue) is held");
        caught(std::panic::AssertUnwindSafe(|| {
            let _first = queue.read();
            let _second = queue.read();
        }));
        // What was held then is free again.
        drop(hosts.lock());
    }

    #[test]
    fn a_map_counts_as_locked_while_it_is_iterated() {
        let states: RankedMap<u8, u8> = RankedMap::new(Rank::ClusterStates);
        states.insert(1, 1);
        caught(std::panic::AssertUnwindSafe(|| {
            states.iter().for_each(|state| drop(states.get(state.key())));
        }));
        assert_eq!(states.iter().count(), 1);
    }
}
