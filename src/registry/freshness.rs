//! How fresh the picture of each cluster is: what is loading, known, stale or was never read; and what its owners
//! should know about its reach.
//!
//! Decides when planning may begin; never what is planned.

use super::{
    Registry, Trigger, control_planes, dirty, ingest, last_known, networks, notes,
    reads::{self, ReadTarget},
    startup,
    status::KindState,
    topology_notes,
};
use crate::model::{ClusterName, Kind, ReadCause, ReadFailure};

impl Registry {
    /// One kind cannot be read now. All that is known of it stays in force.
    pub fn unreadable(&self, cluster: &ClusterName, kind: Kind, failure: impl Into<ReadFailure>, now_seconds: i64) {
        let ReadFailure { cause, message: reason } = failure.into();
        let Some(state) = self.fleet.get(cluster) else { return };
        let Some(before) = state.freshness.kinds().get(&kind).cloned() else {
            drop(state);
            // Where no hub is named, what belongs there is looked for in every cluster, and most do not serve it.
            let target = ReadTarget::Kind(kind);
            return match cause {
                _ if !Kind::OF_HUB.contains(&kind) => {}
                ReadCause::NotFound => self.read_succeeded(cluster, target),
                _ => self.read_failed(cluster, target, ReadFailure::new(cause, reason), now_seconds),
            };
        };
        drop(state);
        let since_seconds = match &before {
            KindState::Stale { since_seconds, .. } | KindState::Unreadable { since_seconds, .. } => *since_seconds,
            KindState::Loading | KindState::Synced | KindState::Absent => now_seconds,
        };
        set_kind(
            self,
            cluster,
            kind,
            if before.is_known() {
                KindState::Stale { since_seconds, cause, reason }
            } else {
                KindState::Unreadable { since_seconds, cause, reason }
            },
        );
    }

    /// A cluster does not serve a kind. Where it need not, there are no objects of it; but if some are known, that is doubted,
    /// and they stay in force. A remote cluster needs nothing of Istio's.
    pub fn absent(&self, cluster: &ClusterName, kind: Kind, failure: impl Into<ReadFailure>, now_seconds: i64) {
        let is_needless =
            kind.served().optional || (Kind::WRITTEN.contains(&kind) && self.queries().is_remote(cluster));
        if is_needless && ingest::ids(self, cluster, kind).is_empty() {
            set_kind(self, cluster, kind, KindState::Absent);
        } else {
            self.unreadable(cluster, kind, failure, now_seconds);
        }
    }

    /// One kind can be read again without a new list.
    pub fn readable(&self, cluster: &ClusterName, kind: Kind) {
        let known = self.fleet.get(cluster).is_some_and(|state| state.freshness.knows(kind));
        if known {
            set_kind(self, cluster, kind, KindState::Synced);
        } else {
            self.read_succeeded(cluster, ReadTarget::Kind(kind));
        }
    }
}

pub(super) fn set_kind(registry: &Registry, cluster: &ClusterName, kind: Kind, now: KindState) {
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return };
    let before = (state.freshness.knows(kind), state.freshness.is_loading(), state.freshness.serves(kind));
    state.freshness.set(kind, now);
    let (loading, knows_endpoints) = (state.freshness.is_loading(), state.coverage().endpoints());
    let changed = before != (state.freshness.knows(kind), loading, state.freshness.serves(kind));
    drop(state);
    registry.reads.settle(cluster, ReadTarget::Kind(kind));
    if changed {
        last_known::restore(registry, cluster);
        control_planes::refresh(registry, cluster);
    }
    if knows_endpoints {
        registry.last_known.forget(cluster);
    }
    reads::note_reads(registry, cluster);
    topology_notes::note_topology(registry, cluster);
    if changed && kind == Kind::Deployment {
        let rollouts =
            registry.fleet.get(cluster).map(|state| state.workloads.rollouts().with_template()).unwrap_or_default();
        rollouts.iter().for_each(|rollout| notes::note_workload(registry, cluster, rollout));
    }
    if changed && kind == Kind::Namespace {
        let without = registry.fleet.get(cluster).map(|state| state.workloads.left_out().ids()).unwrap_or_default();
        without.iter().for_each(|workload| notes::note_workload(registry, cluster, workload));
    }
    startup::try_start(registry);
    if changed && !loading {
        networks::note_networks(registry);
        dirty::mark_everything(registry, &Trigger::Cluster(cluster.clone()));
    }
}
