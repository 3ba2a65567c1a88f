//! The order among clusters: some write a unit first, the others wait for them.
//!
//! Nobody waits for a cluster that is known to be sick, nor longer than [`FIRST_SECONDS`]. Decides nothing about what is
//! written, nor who is first: that is planned.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::writer::ClusterWriter;
use crate::model::{ClusterName, WorkKey};

/// Longest wait for the clusters that come first: several times what a write takes, and short enough that a region that is
/// really lost keeps nobody from leaving it.
pub(super) const FIRST_SECONDS: u64 = 5;

/// One plan's order.
pub(super) struct WriteBarrier {
    unit: WorkKey,
    state: Mutex<BarrierState>,
}

struct BarrierState {
    first: BTreeSet<ClusterName>,
    behind: Vec<Weak<ClusterWriter>>,
}

impl WriteBarrier {
    pub(super) fn new(unit: WorkKey, first: BTreeSet<ClusterName>) -> Self {
        Self { unit, state: Mutex::new(BarrierState { first, behind: Vec::new() }) }
    }

    /// A cluster waits behind it.
    pub(super) fn waits(&self, writer: &Arc<ClusterWriter>) {
        self.state.lock().behind.push(Arc::downgrade(writer));
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.lock().first.is_empty()
    }

    /// A cluster is done, or is not to be waited for; with the last one, those behind have their turn.
    pub(super) fn pass(&self, cluster: &ClusterName) {
        let behind = {
            let mut state = self.state.lock();
            state.first.remove(cluster);
            if !state.first.is_empty() {
                return;
            }
            std::mem::take(&mut state.behind)
        };
        for writer in behind.iter().filter_map(Weak::upgrade) {
            writer.bring_forward(&self.unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{cluster, unit};

    #[test]
    fn the_barrier_opens_with_the_last_first_cluster() {
        let [one, two] = ["one", "two"].map(|name| ClusterName::parse(name).unwrap());
        let barrier = WriteBarrier::new(unit("a"), BTreeSet::from([one.clone(), two.clone()]));
        for passes in [&cluster(), &one, &one] {
            barrier.pass(passes);
            assert!(!barrier.is_open(), "{passes}");
        }
        barrier.pass(&two);
        assert!(barrier.is_open());
    }
}
