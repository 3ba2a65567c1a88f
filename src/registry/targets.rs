//! The clusters that should hold the objects of a service.

use std::collections::BTreeSet;

use super::{Registry, absence, client_namespaces};
use crate::{
    config::WithoutDependency,
    model::{ClusterName, Identity, Kind, ServiceKey},
    plan::input::{ServedCluster, Source, Target},
};

pub(super) fn targets(
    registry: &Registry,
    key: &ServiceKey,
    sources: &[Source],
    standing: &[ClusterName],
    dependents: &[Identity],
) -> Vec<Target> {
    if sources.is_empty() {
        return Vec::new();
    }
    let everywhere = dependents.is_empty() && registry.settings.without_dependency == WithoutDependency::All;
    let mut dependent_namespaces = client_namespaces::namespaces_running(registry, dependents);
    let mut candidates: BTreeSet<ClusterName> = if everywhere {
        registry.fleet.iter().map(|state| state.name().clone()).collect()
    } else {
        dependent_namespaces.keys().chain(standing).cloned().collect()
    };
    candidates.extend(sources.iter().map(|source| source.cluster.clone()));
    candidates
        .iter()
        .filter_map(|cluster| registry.fleet.get(cluster))
        .filter(|state| state.freshness.watches(Kind::ServiceEntry))
        .filter_map(|state| {
            let dependent_namespaces = dependent_namespaces.remove(state.name()).unwrap_or_default();
            let is_source = sources.iter().any(|source| source.cluster == *state.name());
            // Who depends on it there is not known: what stands there is kept up.
            let kept = standing.binary_search(state.name()).is_ok()
                && state.outputs.holds(key)
                && !state.coverage().dependents();
            if !(is_source || everywhere || kept || !dependent_namespaces.is_empty()) {
                return None;
            }
            Some(Target {
                cluster: state.name().clone(),
                served_clusters: vec![ServedCluster { cluster: state.name().clone(), network: state.network() }],
                regions: absence::regions_of(registry, &state),
                nodes_unread: !state.freshness.knows(Kind::Node),
                network: state.network().filter(|_| registry.settings.direct_endpoints),
                identity_namespaces: state.workloads.identities().namespaces_of(&key.identity),
                dependent_namespaces: dependent_namespaces.into_iter().collect(),
                frozen: false,
            })
        })
        .collect()
}
