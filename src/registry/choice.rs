//! The Services of one service in several clusters, where the ports of some decide which of several counts in another.
//!
//! Decides nothing of an order: only what is the service in any case says what its ports are.

use std::collections::BTreeMap;

use super::{
    Registry,
    cluster_state::{Backends, ClusterState},
};
use crate::{
    model::{ClusterName, ServiceKey},
    plan::observe::candidates::Offer,
};

/// The Services of a service in these clusters. Half a picture is worse than the last whole one: a cluster that loads has none.
pub(super) fn backends_of<'a>(
    registry: &Registry,
    key: &ServiceKey,
    clusters: impl IntoIterator<Item = &'a ClusterName>,
) -> BTreeMap<ClusterName, Backends> {
    let seen = |state: &ClusterState| {
        if state.freshness.is_loading() { Backends::default() } else { state.backends(key, &[]) }
    };
    let clusters = clusters.into_iter().filter_map(|cluster| Some((cluster, registry.fleet.get(cluster)?)));
    let mut all: BTreeMap<ClusterName, Backends> =
        clusters.map(|(cluster, state)| (cluster.clone(), seen(&state))).collect();
    if !all.values().any(Backends::is_open) {
        return all;
    }
    let offers: Vec<Offer> = all.values().flat_map(|backends| backends.offers(&key.identity)).collect();
    for (cluster, backends) in all.iter_mut().filter(|(_, backends)| !offers.is_empty() && backends.is_open()) {
        if let Some(state) = registry.fleet.get(cluster) {
            *backends = state.backends(key, &offers);
        }
    }
    all
}

/// As [`Registry::backends_of`], in one cluster.
pub(super) fn backends_in(registry: &Registry, key: &ServiceKey, cluster: &ClusterName) -> Backends {
    let found = registry.fleet.get(cluster).map(|state| state.backends(key, &[])).unwrap_or_default();
    if !found.is_open() || registry.fleet.get(cluster).is_none_or(|state| state.freshness.is_loading()) {
        return found;
    }
    backends_of(registry, key, registry.index.clusters_of.of(key).iter()).remove(cluster).unwrap_or(found)
}
