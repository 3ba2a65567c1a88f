//! In which clusters something is found, so that a service asks those and not the whole fleet.
//!
//! Follows what the cluster states hold; decides nothing.

use std::{collections::BTreeSet, hash::Hash, sync::Arc};

use super::{
    fleet::ClusterStates,
    locks::{Rank, RankedMap},
};
use crate::model::{ClusterName, Identity, ServiceKey};

/// Clusters, sorted: mostly few, and mostly read.
pub(super) type Clusters = Arc<[ClusterName]>;

/// The clusters in which each of many things is found.
#[derive(Debug)]
pub(super) struct ClusterIndex<K: Eq + Hash>(RankedMap<K, Clusters>);

impl<K: Eq + Hash> Default for ClusterIndex<K> {
    fn default() -> Self {
        Self(RankedMap::new(Rank::ClusterIndex))
    }
}

impl<K: Clone + Eq + Hash> ClusterIndex<K> {
    /// Where something is found.
    pub(super) fn of(&self, key: &K) -> Clusters {
        self.0.get(key).map_or_else(Clusters::default, |clusters| clusters.clone())
    }

    /// Whether something is found anywhere.
    pub(super) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Everything that is found anywhere.
    pub(super) fn keys(&self) -> BTreeSet<K>
    where
        K: Ord,
    {
        self.0.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Brings an entry in line with whether a cluster holds something; answers whether any cluster does now. Several informers of
    /// a cluster may do so at once: the check runs under the entry lock, so the last writer wins.
    fn refresh(&self, key: &K, cluster: &ClusterName, is_there: impl FnOnce() -> bool) -> bool {
        let mut clusters = self.0.get_or_insert_with(key.clone(), Clusters::default);
        match (is_there(), clusters.binary_search(cluster)) {
            (true, Err(at)) => {
                let (before, behind) = clusters.split_at(at);
                *clusters = [before, std::slice::from_ref(cluster), behind].concat().into();
            }
            (false, Ok(at)) => *clusters = [&clusters[..at], &clusters[at + 1..]].concat().into(),
            (true, Ok(_)) | (false, Err(_)) => {}
        }
        let is_anywhere = !clusters.is_empty();
        drop(clusters);
        if !is_anywhere {
            self.0.remove_if(key, |clusters| clusters.is_empty());
        }
        is_anywhere
    }
}

/// Which clusters to ask about a service, an identity or a policy.
#[derive(Debug)]
pub(super) struct ServiceIndex {
    /// Where each service runs or has managed objects.
    pub(super) clusters_of: ClusterIndex<ServiceKey>,
    /// Where workloads or clients of each identity run.
    pub(super) running: ClusterIndex<Identity>,
    /// Where policies name each service.
    pub(super) named: ClusterIndex<ServiceKey>,
    /// Where RoutingPolicies name a service of each identity.
    pub(super) named_for_routing: ClusterIndex<Identity>,
    /// The services of each identity that run or have managed objects anywhere.
    services_of: RankedMap<Identity, BTreeSet<ServiceKey>>,
}

impl Default for ServiceIndex {
    fn default() -> Self {
        Self {
            clusters_of: ClusterIndex::default(),
            running: ClusterIndex::default(),
            named: ClusterIndex::default(),
            named_for_routing: ClusterIndex::default(),
            services_of: RankedMap::new(Rank::ServicesOf),
        }
    }
}

impl ServiceIndex {
    /// The services of an identity that run or have managed objects anywhere.
    pub(super) fn services_of(&self, identity: &Identity) -> BTreeSet<ServiceKey> {
        self.services_of.get(identity).map(|services| services.clone()).unwrap_or_default()
    }

    /// Brings the indexes of a service in line with the state of one cluster.
    pub(super) fn refresh_service(&self, fleet: &ClusterStates, key: &ServiceKey, cluster: &ClusterName) {
        // Under the entry lock: whether it is anywhere and whether it is listed must agree.
        let mut services = self.services_of.get_or_insert_with(key.identity.clone(), BTreeSet::new);
        let is_anywhere = self.clusters_of.refresh(key, cluster, || {
            fleet.get(cluster).is_some_and(|state| state.workloads.runs(key) || state.outputs.holds(key))
        });
        if is_anywhere {
            services.insert(key.clone());
        } else {
            services.remove(key);
        }
        drop(services);
        if !is_anywhere {
            self.services_of.remove_if(&key.identity, BTreeSet::is_empty);
        }
    }

    /// Brings the index of identities in line with whether workloads or clients of one run in a cluster.
    pub(super) fn refresh_identity(&self, fleet: &ClusterStates, identity: &Identity, cluster: &ClusterName) {
        self.running.refresh(identity, cluster, || {
            fleet.get(cluster).is_some_and(|state| state.workloads.identities().has(identity))
        });
    }

    /// Brings the indexes of policies in line with whether those of a cluster name a service.
    pub(super) fn refresh_policies(&self, fleet: &ClusterStates, key: &ServiceKey, cluster: &ClusterName) {
        self.named.refresh(key, cluster, || fleet.get(cluster).is_some_and(|state| state.policies.any_names(key)));
        self.named_for_routing.refresh(&key.identity, cluster, || {
            let of_identity = |named: &ServiceKey| named.identity == key.identity;
            fleet.get(cluster).is_some_and(|state| state.policies.routing.keys().any(of_identity))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_takes_no_room() {
        let index: ClusterIndex<u8> = ClusterIndex::default();
        let [east, west] = ["east", "west"].map(|name| ClusterName::parse(name).unwrap());
        assert!(index.refresh(&1, &west, || true));
        assert!(index.refresh(&1, &east, || true));
        assert_eq!(*index.of(&1), [east.clone(), west.clone()]);
        assert!(index.refresh(&1, &west, || false));
        assert_eq!(index.of(&1).iter().collect::<Vec<_>>(), [&east]);
        assert!(!index.refresh(&1, &east, || false));
        assert!(!index.refresh(&2, &east, || false));
        assert!(!index.has(&1) && !index.has(&2) && index.keys().is_empty());
    }
}
