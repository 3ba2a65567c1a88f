//! What is told of whole clusters besides their objects: by settings that may change, and by what was written before a
//! restart. Decides which services that concerns; never which address or name counts.

use std::collections::BTreeSet;

use super::{
    Registry,
    cluster_state::{ClusterState, Effects},
    dirty::Trigger,
};
use crate::model::ClusterName;

impl Registry {
    /// Makes `clusters` the whole list of those that are reached through the other gateway (setting `nlbEnabledClusters`)
    /// and marks what runs in those that came or went.
    pub fn set_nlb_clusters(&self, clusters: impl IntoIterator<Item = String>) {
        let clusters: BTreeSet<String> = clusters.into_iter().collect();
        self.nlb_clusters.write().clone_from(&clusters);
        for cluster in self.cluster_names() {
            let prefers = clusters.contains(cluster.as_str());
            let effects =
                self.in_cluster_state(&cluster, |state| Effects::of_topology(state.topology.prefer_nlb(prefers)));
            self.spread(&cluster, effects, &Trigger::Cluster(cluster.clone()));
        }
    }

    pub(super) fn new_cluster_state(&self, cluster: &ClusterName) -> ClusterState {
        let mut state = ClusterState::new(cluster.clone(), self.watched_kinds_in(cluster), &self.settings);
        let _ = state.set_istio_namespace(self.istio_namespace(cluster));
        state.topology.prefer_nlb(self.nlb_clusters.read().contains(cluster.as_str()));
        state
    }

    /// Reminds every cluster of what was written about it before the restart; of those that are known no more is needed.
    pub(super) fn recall_everything(&self) {
        for cluster in self.cluster_names() {
            self.recall(&cluster);
            if self.cluster_states.get(&cluster).is_some_and(|state| state.coverage().endpoints()) {
                self.carried.remove(&cluster.label_value());
            }
        }
    }

    /// Reminds a cluster of what was written about it before the restart.
    pub(super) fn recall(&self, cluster: &ClusterName) {
        let (gateway, domain, network) = match self.carried.get(&cluster.label_value()) {
            Some(carried) => (carried.gateway(cluster), carried.domain(cluster), carried.network()),
            None => return,
        };
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return };
        if let Some(gateway) = gateway {
            state.topology.restore_gateway(gateway);
        }
        if let Some(domain) = domain {
            state.topology.restore_domain(domain);
        }
        if let Some(network) = network {
            state.topology.restore_network(network);
        }
    }
}
