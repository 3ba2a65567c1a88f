//! Which clusters are on one network, and what follows from it: who reaches whose pods, and who needs a gateway.
//!
//! Decides whom a change of pods or of a network concerns; never what is written.

use std::{collections::BTreeSet, sync::Arc};

use super::{Registry, control_planes, dirty::Trigger, topology_notes};
use crate::model::{ClusterName, Kind, ServiceKey, WorkKey};

/// The networks of the other clusters that are published to; none for one that names none.
fn other_networks(registry: &Registry, cluster: &ClusterName) -> BTreeSet<Option<Arc<str>>> {
    let members = registry.fleet.iter().filter(|state| {
        state.name() != cluster && state.freshness.watches(Kind::ServiceEntry) && !state.freshness.is_loading()
    });
    members.map(|state| state.network()).collect()
}

/// Whether every other cluster reaches the pods of this one directly, so that it needs no gateway.
pub(super) fn needs_no_gateway(registry: &Registry, cluster: &ClusterName) -> bool {
    if !registry.settings.direct_endpoints {
        return false;
    }
    let network = registry.fleet.get(cluster).and_then(|state| state.network());
    network.is_some() && other_networks(registry, cluster).into_iter().all(|other| other == network)
}

/// Pods of these services came, changed or went. What follows may wait for others of the same burst.
pub(super) fn touch_pods(
    registry: &Registry,
    cluster: &ClusterName,
    services: BTreeSet<ServiceKey>,
    trigger: &Trigger,
) {
    if services.is_empty() || !registry.settings.direct_endpoints || !registry.startup.has_started() {
        return;
    }
    let network = registry.fleet.get(cluster).and_then(|state| state.network());
    // Who is served by the same istiod sees them from other networks, too.
    let is_served_with_others =
        registry.control_planes.is_remote(cluster) || !control_planes::remotes_of(registry, cluster).is_empty();
    if network.is_some() && (is_served_with_others || other_networks(registry, cluster).contains(&network)) {
        registry.queue.mark_bursting(services.into_iter().map(WorkKey::Service), trigger);
    }
}

/// A cluster came to a network or left it: another may need a gateway now, or none any more.
pub(super) fn note_networks(registry: &Registry) {
    if registry.settings.direct_endpoints {
        registry.fleet.names().iter().for_each(|cluster| topology_notes::note_topology(registry, cluster));
    }
}
