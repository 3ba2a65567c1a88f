//! Clusters that may run a service in a region to which a policy gives traffic, although it is not seen to run there.
//!
//! Decides whether a policy names a region where the service never ran, or whether something keeps it from being seen or
//! called there; never what that means for traffic.

use std::{collections::BTreeSet, sync::Arc};

use super::{Registry, cluster_state::ClusterState};
use crate::{
    api::GlobalTrafficPolicySpec,
    model::{ClusterName, Kind, ServiceKey, listed_clusters},
    plan::input::{Absence, Matching, Source},
};

/// The clusters that may run a service in a region that its policies name and none of its sources is in, sorted.
pub(super) fn absences(
    registry: &Registry,
    key: &ServiceKey,
    policies: &Matching<GlobalTrafficPolicySpec>,
    sources: &[Source],
) -> Vec<Absence> {
    let running: BTreeSet<&str> = sources.iter().filter_map(|source| Some(&*source.locality.value()?.region)).collect();
    let entries = policies.iter().flat_map(|(_, policy)| &policy.spec.policy);
    let named = entries.flat_map(|entry| &entry.target).map(|target| target.region.trim());
    let missing: BTreeSet<&str> = named.filter(|region| !region.is_empty() && !running.contains(region)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let is_source = |state: &ClusterState| sources.iter().any(|source| source.cluster == *state.name());
    let absence = |state: &ClusterState| {
        // Most clusters of a large fleet are known to be elsewhere.
        let is_elsewhere = state.topology.has_regions() && !missing.iter().any(|region| state.topology.is_in(region));
        if is_elsewhere {
            return None;
        }
        let regions = regions_of(registry, state);
        let is_there = regions.iter().any(|region| missing.contains(&**region));
        let may_be_there = regions.is_empty() && !state.freshness.knows(Kind::Node);
        let why = if is_there || may_be_there { state.why_absent(key)? } else { return None };
        Some(Absence { cluster: state.name().clone(), regions, why })
    };
    let cluster_states =
        registry.fleet.iter().filter(|state| state.freshness.watches(Kind::Service) && !is_source(state));
    let mut absences: Vec<Absence> = cluster_states.filter_map(|state| absence(&state)).collect();
    absences.sort();
    absences
}

/// The regions of a cluster's nodes, or the one in which it was written while its nodes cannot be read.
pub(super) fn regions_of(registry: &Registry, state: &ClusterState) -> Vec<Arc<str>> {
    let mut regions = state.topology.regions();
    if regions.is_empty() && !state.freshness.knows(Kind::Node) {
        let known = registry.last_known.get(state.name());
        regions.extend(known.and_then(|known| known.locality(state.name())).map(|locality| locality.region));
    }
    regions
}

/// The services that may have a note about an [`Absence`] in a cluster: where it is decides that.
pub(super) fn keys_absent_from(registry: &Registry, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
    let left_out = {
        let state = registry.fleet.get(cluster).filter(|state| state.freshness.watches(Kind::Service));
        let Some(state) = state else { return BTreeSet::new() };
        state.coverage().has_read_workloads().then(|| state.workloads.left_out().keys())
    };
    left_out.unwrap_or_else(|| registry.index.named.keys())
}

/// The clusters whose workloads were never read, in words: `cluster-2 and cluster-3`. None where all were read.
pub(super) fn unread_clusters(registry: &Registry) -> Option<String> {
    let unread = registry
        .fleet
        .iter()
        .filter(|state| state.freshness.watches(Kind::Service) && !state.coverage().has_read_workloads());
    let unread: BTreeSet<ClusterName> = unread.map(|state| state.name().clone()).collect();
    (!unread.is_empty()).then(|| listed_clusters(&unread))
}
