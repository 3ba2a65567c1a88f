//! In which clusters something is found, so that a service asks those and not the whole fleet.
//!
//! Follows what the cluster_states hold; decides nothing.

use std::{collections::BTreeSet, hash::Hash, sync::Arc};

use dashmap::DashMap;

use super::Registry;
use crate::model::{ClusterName, Identity, ServiceKey};

/// Clusters, sorted: mostly few, and mostly read.
pub(super) type Clusters = Arc<[ClusterName]>;

/// The clusters in which each of many things is found.
#[derive(Debug)]
pub(super) struct ClusterIndex<K: Eq + Hash>(DashMap<K, Clusters>);

impl<K: Eq + Hash> Default for ClusterIndex<K> {
    fn default() -> Self {
        Self(DashMap::new())
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

    /// Looks again whether a cluster holds something; answers whether any does now. Several informers of a cluster may do so
    /// at once: who looks last counts, because it looks while no other may note what it saw.
    fn look(&self, key: &K, cluster: &ClusterName, is_there: impl FnOnce() -> bool) -> bool {
        let mut clusters = self.0.entry(key.clone()).or_default();
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
            self.0.remove_if(key, |_, clusters| clusters.is_empty());
        }
        is_anywhere
    }
}

impl Registry {
    /// Brings the indexes of a service in line with one cluster's state.
    pub(super) fn recount(&self, key: &ServiceKey, cluster: &ClusterName) {
        // While no other may look: whether it is anywhere and whether it is listed must agree.
        let mut services = self.services_of.entry(key.identity.clone()).or_default();
        let is_anywhere = self.clusters_of.look(key, cluster, || {
            self.cluster_states.get(cluster).is_some_and(|state| state.workloads.runs(key) || state.outputs.holds(key))
        });
        if is_anywhere {
            services.insert(key.clone());
        } else {
            services.remove(key);
        }
        drop(services);
        if !is_anywhere {
            self.services_of.remove_if(&key.identity, |_, services| services.is_empty());
        }
    }

    /// Looks again whether workloads or clients of an identity run in a cluster.
    pub(super) fn recount_identity(&self, identity: &Identity, cluster: &ClusterName) {
        self.running.look(identity, cluster, || {
            self.cluster_states.get(cluster).is_some_and(|state| state.workloads.identities().has(identity))
        });
    }

    /// Looks again whether policies of a cluster name a service.
    pub(super) fn recount_policies(&self, key: &ServiceKey, cluster: &ClusterName) {
        self.named
            .look(key, cluster, || self.cluster_states.get(cluster).is_some_and(|state| state.policies.any_names(key)));
        self.named_for_routing.look(&key.identity, cluster, || {
            let of_identity = |named: &ServiceKey| named.identity == key.identity;
            self.cluster_states.get(cluster).is_some_and(|state| state.policies.routing.keys().any(of_identity))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_takes_no_room() {
        let presence: ClusterIndex<u8> = ClusterIndex::default();
        let [east, west] = ["east", "west"].map(|name| ClusterName::parse(name).unwrap());
        assert!(presence.look(&1, &west, || true));
        assert!(presence.look(&1, &east, || true));
        assert_eq!(*presence.of(&1), [east.clone(), west.clone()]);
        assert!(presence.look(&1, &west, || false));
        assert_eq!(presence.of(&1).iter().collect::<Vec<_>>(), [&east]);
        assert!(!presence.look(&1, &east, || false));
        assert!(!presence.look(&2, &east, || false));
        assert!(!presence.has(&1) && !presence.has(&2) && presence.keys().is_empty());
    }
}
