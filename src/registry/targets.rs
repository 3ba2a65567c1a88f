//! The clusters that should hold the objects of a service, with what planning takes of each.
//!
//! Reads what decides it; planning decides ([`plan::observe::targets`](crate::plan::observe::targets)).

use std::collections::{BTreeMap, BTreeSet};

use super::{Registry, absence, cluster_state::ClusterState};
use crate::{
    model::{ClusterName, Identity, Kind, ServiceKey},
    plan::{
        input::{ServedCluster, Source, Target, TargetReason},
        observe::targets::{TargetFacts, is_for_all, reasons},
    },
};

/// The targets of a service with these sources. `written_in` are the clusters that run it or hold objects of it, sorted;
/// `dependents` are the identities that declare to call it.
pub(super) fn targets(
    registry: &Registry,
    key: &ServiceKey,
    sources: &[Source],
    written_in: &[ClusterName],
    dependents: &[Identity],
) -> Vec<Target> {
    if sources.is_empty() {
        return Vec::new();
    }
    let for_all = is_for_all(!dependents.is_empty(), registry.settings.without_dependency);
    let running = dependents_by_cluster(registry, dependents);
    let runs_in: BTreeSet<&ClusterName> = sources.iter().map(|source| &source.cluster).collect();
    let mut clusters: BTreeSet<ClusterName> = runs_in.iter().map(|cluster| (*cluster).clone()).collect();
    if for_all {
        clusters.extend(registry.fleet.names());
    } else {
        clusters.extend(running.keys().chain(written_in).cloned());
    }
    let mut targets = Vec::new();
    for state in clusters.iter().filter_map(|cluster| registry.fleet.get(cluster)) {
        let facts = TargetFacts {
            runs: runs_in.contains(state.name()),
            dependents: running.get(state.name()).cloned().unwrap_or_default(),
            may_have_dependents: written_in.binary_search(state.name()).is_ok()
                && state.outputs.holds(key)
                && !state.coverage().dependents(),
        };
        let reasons = reasons(facts, for_all);
        // A hub that is no member has none of Istio's kinds.
        if !reasons.is_empty() && state.freshness.watches(Kind::ServiceEntry) {
            targets.push(target(registry, &state, key, reasons));
        }
    }
    targets
}

fn target(registry: &Registry, state: &ClusterState, key: &ServiceKey, reasons: BTreeSet<TargetReason>) -> Target {
    let identities = state.workloads.identities();
    let dependents = reasons.iter().filter_map(|reason| match reason {
        TargetReason::Dependents(dependents) => Some(dependents),
        _ => None,
    });
    let dependent_namespaces: BTreeSet<_> =
        dependents.flatten().flat_map(|dependent| identities.namespaces_of(dependent)).collect();
    Target {
        cluster: state.name().clone(),
        served_clusters: vec![ServedCluster { cluster: state.name().clone(), network: state.network() }],
        regions: absence::regions_of(registry, state),
        nodes_unread: !state.freshness.knows(Kind::Node),
        network: state.network().filter(|_| registry.settings.direct_endpoints),
        identity_namespaces: identities.namespaces_of(&key.identity),
        dependent_namespaces: dependent_namespaces.into_iter().collect(),
        reasons,
    }
}

/// Those of some identities that run in each cluster.
fn dependents_by_cluster(registry: &Registry, dependents: &[Identity]) -> BTreeMap<ClusterName, BTreeSet<Identity>> {
    let mut running: BTreeMap<ClusterName, BTreeSet<Identity>> = BTreeMap::new();
    for dependent in dependents {
        for cluster in registry.index.running.of(dependent).iter() {
            let runs = registry.fleet.get(cluster).is_some_and(|state| state.workloads.identities().has(dependent));
            if runs {
                running.entry(cluster.clone()).or_default().insert(dependent.clone());
            }
        }
    }
    running
}
