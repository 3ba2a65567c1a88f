//! Which clusters are on one network, and what follows from it: who reaches whose pods, and who needs a gateway.
//!
//! Decides whom a change of pods or of a network concerns; never what is written.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use super::{Registry, dirty::Trigger};
use crate::model::{ClusterName, Kind, PublishedEndpoint, ServiceKey, WorkKey, Written};

impl Registry {
    /// The networks of the other clusters that are published to; none for one that names none.
    fn other_networks(&self, cluster: &ClusterName) -> BTreeSet<Option<Arc<str>>> {
        let members = self.cluster_states.iter().filter(|state| {
            state.key() != cluster && state.freshness.watches(Kind::ServiceEntry) && !state.freshness.is_loading()
        });
        members.map(|state| state.network()).collect()
    }

    /// Whether every other cluster reaches the pods of this one directly, so that it needs no gateway.
    pub(super) fn needs_no_gateway(&self, cluster: &ClusterName) -> bool {
        if !self.settings.direct_endpoints {
            return false;
        }
        let network = self.cluster_states.get(cluster).and_then(|state| state.network());
        network.is_some() && self.other_networks(cluster).into_iter().all(|other| other == network)
    }

    /// Pods of these services came, changed or went. What follows may wait for others of the same burst.
    pub(super) fn touch_pods(&self, cluster: &ClusterName, services: BTreeSet<ServiceKey>, trigger: &Trigger) {
        if services.is_empty() || !self.settings.direct_endpoints || !self.started.load(Ordering::Acquire) {
            return;
        }
        let network = self.cluster_states.get(cluster).and_then(|state| state.network());
        // Who is served by the same istiod sees them from other networks, too.
        let is_served_with_others = self.is_remote(cluster) || !self.remotes_of(cluster).is_empty();
        if network.is_some() && (is_served_with_others || self.other_networks(cluster).contains(&network)) {
            self.dirty.mark_bursting(services.into_iter().map(WorkKey::Service), trigger);
        }
    }

    /// A pod is only reached directly from its own network: where one stands, that is the network of the cluster, as long as
    /// its Namespaces were not read. Where several clusters read, each endpoint says its own.
    pub(super) fn recall_network(&self, cluster: &ClusterName, written: &Written) {
        let label = cluster.label_value();
        let is_shared = !written.recalled.read_in.is_empty();
        let tells = |of: &&PublishedEndpoint| if is_shared { of.cluster_label == label } else { of.direct };
        let pod = written.endpoints.iter().find(tells);
        if let Some(network) = pod.and_then(|pod| pod.network.clone())
            && let Some(mut state) = self.cluster_states.get_mut(cluster)
        {
            state.topology.restore_network(network);
        }
    }

    /// A cluster came to a network or left it: another may need a gateway now, or none any more.
    pub(super) fn note_networks(&self) {
        if self.settings.direct_endpoints {
            self.cluster_names().iter().for_each(|cluster| self.note_place(cluster));
        }
    }
}
