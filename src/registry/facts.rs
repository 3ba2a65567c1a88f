//! What is told of whole clusters besides their objects: by settings that may change, and by what was written before a
//! restart. Decides which services that concerns; never which address or name counts.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry,
    cluster_state::{ClusterState, Effects},
    dirty::Trigger,
};
use crate::model::{ClusterName, Kind};

impl ClusterState {
    /// What its own names end with.
    pub(super) fn domain(&self) -> Arc<str> {
        self.topology().domain(self.knows(Kind::Namespace))
    }

    /// The network that it stands in.
    pub(super) fn gateway_network(&self) -> Option<Arc<str>> {
        self.topology().network(self.knows(Kind::Namespace))
    }
}

impl Registry {
    /// Makes `clusters` the whole list of those that are reached through the other gateway (setting `nlbEnabledClusters`)
    /// and marks what runs in those that came or went.
    pub fn set_nlb_clusters(&self, clusters: impl IntoIterator<Item = String>) {
        let clusters: BTreeSet<String> = clusters.into_iter().collect();
        self.nlb_clusters.write().clone_from(&clusters);
        for cluster in self.cluster_names() {
            let prefers = clusters.contains(cluster.as_str());
            let effects = self.in_cluster_state(&cluster, |cluster_state| Effects {
                topology: cluster_state.topology_mut().prefer_nlb(prefers),
                ..Effects::default()
            });
            self.spread(&cluster, effects, &Trigger::Cluster(cluster.clone()));
        }
    }

    pub(super) fn new_cluster_state(&self, cluster: &ClusterName) -> ClusterState {
        let mut cluster_state = ClusterState::new(cluster.clone(), self.watched_kinds_in(cluster), &self.settings);
        let _ = cluster_state.set_istio_namespace(self.istio_namespace(cluster));
        cluster_state.topology_mut().prefer_nlb(self.nlb_clusters.read().contains(cluster.as_str()));
        cluster_state
    }

    /// Reminds every cluster of what was written about it before the restart; of those that are known no more is needed.
    pub(super) fn recall_everything(&self) {
        for cluster in self.cluster_names() {
            self.recall(&cluster);
            if self.cluster_states.get(&cluster).is_some_and(|cluster_state| cluster_state.knows_endpoints()) {
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
        let Some(mut cluster_state) = self.cluster_states.get_mut(cluster) else { return };
        if let Some(gateway) = gateway {
            cluster_state.topology_mut().recall_gateway(gateway);
        }
        if let Some(domain) = domain {
            cluster_state.topology_mut().recall_domain(domain);
        }
        if let Some(network) = network {
            cluster_state.topology_mut().recall_network(network);
        }
    }
}
