//! Clusters that may run a service in a region to which a policy gives traffic, although it is not seen to run there.
//!
//! Decides whether a policy names a region where the service never ran, or whether something keeps it from being seen or
//! called there; never what that means for traffic.

use std::{collections::BTreeSet, sync::Arc};

use super::{Registry, cluster_state::ClusterState};
use crate::{
    api::GlobalTrafficPolicySpec,
    model::{ClusterName, Kind, ServiceKey, listed_clusters},
    plan::input::{Absence, AbsenceReason, Matching, Source},
};

impl Registry {
    /// The clusters that may run a service in a region that its policies name and none of its sources is in, sorted.
    pub(super) fn absences(
        &self,
        key: &ServiceKey,
        policies: &Matching<GlobalTrafficPolicySpec>,
        sources: &[Source],
    ) -> Vec<Absence> {
        let running: BTreeSet<&str> =
            sources.iter().filter_map(|source| Some(&*source.locality.as_ref()?.region)).collect();
        let entries = policies.iter().flat_map(|(_, policy)| &policy.spec.policy);
        let named = entries.flat_map(|entry| &entry.target).map(|target| target.region.trim());
        let missing: BTreeSet<&str> = named.filter(|region| !region.is_empty() && !running.contains(region)).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let is_source =
            |cluster_state: &ClusterState| sources.iter().any(|source| source.cluster == *cluster_state.name());
        let absence = |cluster_state: &ClusterState| {
            let regions = self.regions_of(cluster_state);
            let is_there = regions.iter().any(|region| missing.contains(&**region));
            let may_be_there = regions.is_empty() && !cluster_state.knows(Kind::Node);
            let why = if is_there || may_be_there { cluster_state.why_absent(key)? } else { return None };
            Some(Absence { cluster: cluster_state.name().clone(), regions, why })
        };
        let cluster_states = self
            .cluster_states
            .iter()
            .filter(|cluster_state| cluster_state.runs_services() && !is_source(cluster_state));
        let mut absences: Vec<Absence> = cluster_states.filter_map(|cluster_state| absence(&cluster_state)).collect();
        absences.sort();
        absences
    }

    /// The regions of a cluster's nodes, or the one in which it was written while its nodes cannot be read.
    pub(super) fn regions_of(&self, cluster_state: &ClusterState) -> Vec<Arc<str>> {
        let mut regions = cluster_state.topology().regions();
        if regions.is_empty() && !cluster_state.knows(Kind::Node) {
            let carried = self.carried.get(&cluster_state.name().label_value());
            regions.extend(
                carried.and_then(|carried| carried.locality(cluster_state.name())).map(|locality| locality.region),
            );
        }
        regions
    }

    /// The services that may be told of an [`Absence`] in a cluster: where it is decides that.
    pub(super) fn keys_absent_from(&self, cluster: &ClusterName) -> BTreeSet<ServiceKey> {
        let Some(cluster_state) =
            self.cluster_states.get(cluster).filter(|cluster_state| cluster_state.runs_services())
        else {
            return BTreeSet::new();
        };
        if cluster_state.has_read_workloads() { cluster_state.keys_left_out() } else { self.named.keys() }
    }

    /// The clusters whose workloads were never read, in words: `cluster-2 and cluster-3`. None where all were read.
    pub(super) fn unread_clusters(&self) -> Option<String> {
        let unread = self
            .cluster_states
            .iter()
            .filter(|cluster_state| cluster_state.runs_services() && !cluster_state.has_read_workloads());
        let unread: BTreeSet<ClusterName> = unread.map(|cluster_state| cluster_state.name().clone()).collect();
        (!unread.is_empty()).then(|| listed_clusters(&unread))
    }
}

impl ClusterState {
    /// Whether services may run there: the hub alone has none.
    fn runs_services(&self) -> bool {
        self.kinds().contains_key(&Kind::Service)
    }

    /// Whether all that says which workloads run there was read once.
    pub(super) fn has_read_workloads(&self) -> bool {
        !self.is_loading() && self.knows_workloads()
    }

    fn why_absent(&self, key: &ServiceKey) -> Option<AbsenceReason> {
        if self.is_loading() {
            return Some(AbsenceReason::Loading);
        }
        if !self.knows_workloads() {
            return Some(AbsenceReason::Unread);
        }
        if let Some(workload) = self.workloads_of(key).map(|workload| &workload.id).min() {
            return Some(AbsenceReason::NoEndpoint(workload.clone()));
        }
        self.left_out(key).map(AbsenceReason::LeftOut)
    }
}
