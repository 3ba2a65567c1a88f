//! Lifts one host out of the registry with all that users said about it, and tells which hosts have to be looked at.
//!
//! Decides what is known of users' routes and of who is reached under additional suffixes; never what is copied.

use std::{collections::BTreeSet, sync::Arc, sync::atomic::Ordering};

use super::{Registry, cluster_state::ClusterState};
use crate::{
    config::Propagate,
    model::{AIR, ClusterName, CopyOrigin, Host, Kind, ObjectPath, ServiceKey, Written, without_air},
    plan::input::{AdditionalHosts, HostCluster, HostInput, HostRoute},
};

/// The kinds that users' routes are of. What a VirtualService refers to comes before it.
const ROUTES: [Kind; 2] = [Kind::DestinationRule, Kind::VirtualService];

impl Registry {
    /// One host, or `None` while nothing may be planned.
    #[must_use]
    pub fn host_input(&self, host: &Arc<str>) -> Option<HostInput> {
        self.ready().ok()?;
        let published = self.published(host).and_then(|(key, spelled)| Some((self.snapshot(&key)?, spelled)));
        let (mut clusters, mut routes, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for state in &self.cluster_states {
            if !state.freshness.watches(Kind::ServiceEntry) {
                continue;
            }
            if !self.is_remote(state.key()) {
                clusters.push(HostCluster {
                    name: state.key().clone(),
                    known: ROUTES.into_iter().filter(|kind| state.freshness.serves(*kind)).collect(),
                    others: state.outputs.others_routes(host, &self.settings.sync_namespace),
                });
            }
            routes.extend(state.user_routes.routes().of(host).into_iter().map(|route| HostRoute {
                cluster: state.key().clone(),
                domain: state.domain(),
                of_rollout: state.is_rollout_route(&route.id),
                route,
            }));
            copies.extend(state.outputs.copies_of(host));
        }
        let is_copied = |one: &HostRoute| {
            let origin = CopyOrigin::Object(one.route.id.in_cluster(&one.cluster));
            copies.iter().any(|copy| copy.origin.as_ref() == Some(&origin))
        };
        for one in routes.iter_mut().filter(|one| !one.of_rollout) {
            // While Rollouts cannot be read, what was copied was a user's, and nothing else is.
            let may_be = self
                .cluster_states
                .get(&one.cluster)
                .is_some_and(|state| state.coverage().may_be_rollout_route(&one.route));
            one.of_rollout = may_be && !is_copied(one);
        }
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        routes.sort_by(|a, b| (&a.cluster, &a.route.id).cmp(&(&b.cluster, &b.route.id)));
        Some(HostInput {
            host: host.clone(),
            istio_namespaces: self.istio_namespaces(),
            published: published.filter(|(service, _)| !service.targets.is_empty()),
            clusters,
            routes,
            unpublished: self.handed_over_in_vain(host),
            unreadable_origin: copies
                .iter()
                .filter_map(|copy| self.unreadable_origin(copy))
                .min_by(|a, b| (a.kind, a).cmp(&(b.kind, b))),
        })
    }

    /// The service that a host belongs to, and the host as it spells it.
    fn published(&self, host: &str) -> Option<(ServiceKey, Host)> {
        let host = Host::parse(host).ok()?;
        self.addresses.lock().holder_of(&host)
    }

    /// The service that a host belongs to.
    pub(super) fn holder_of(&self, host: &str) -> Option<ServiceKey> {
        self.published(host).map(|(key, _)| key)
    }

    /// The origin of a copy, where its cluster belongs to the fleet and its objects of that kind were never listed.
    fn unreadable_origin(&self, copy: &Written) -> Option<ObjectPath> {
        let origin = copy.origin.as_ref()?.object()?;
        let state = self.cluster_states.get(&origin.cluster)?;
        (!state.freshness.knows(copy.id.kind)).then(|| origin.clone())
    }

    /// Every host with routes that may be copied, or with copies of ours.
    #[must_use]
    pub fn routed_hosts(&self) -> BTreeSet<Arc<str>> {
        let mut hosts = BTreeSet::new();
        for state in &self.cluster_states {
            hosts.extend(state.user_routes.routes().hosts(&self.settings.hostname_suffix).cloned());
            hosts.extend(state.outputs.copied_hosts().cloned());
            hosts.extend(state.outputs.handed_over_hosts().cloned());
        }
        hosts
    }

    /// Every host with routes of a cluster that may be copied, while any are.
    pub(super) fn routed_hosts_in(&self, cluster: &ClusterName) -> Vec<Arc<str>> {
        let Some(state) = self.cluster_states.get(cluster).filter(|_| self.settings.propagate != Propagate::Off) else {
            return Vec::new();
        };
        state.user_routes.routes().hosts(&self.settings.hostname_suffix).cloned().collect()
    }

    /// The hosts of a service of which users said something, or copies stand.
    pub(super) fn routed_hosts_of(&self, key: &ServiceKey) -> Vec<Arc<str>> {
        self.hosts_of(key).iter().filter_map(|host| self.routed(host)).collect()
    }

    /// A host, where users said something of it, or copies stand.
    pub(super) fn routed(&self, host: &Host) -> Option<Arc<str>> {
        let host: Arc<str> = host.as_str().to_ascii_lowercase().into();
        let minds = |state: &ClusterState| {
            let standing = &state.outputs;
            state.user_routes.routes().has(&host)
                || standing.has_routes_for(&host)
                || standing.hand_written(&host).next().is_some()
        };
        self.cluster_states.iter().any(|state| minds(&state)).then_some(host)
    }

    // ---- additional hosts ----

    /// Whether a service is reached under the additional suffixes.
    pub(super) fn additional_hosts(&self, key: &ServiceKey) -> AdditionalHosts {
        let settings = &self.settings;
        if settings.additional_endpoint_suffixes.is_empty() || !self.asks_for_additional_hosts(key) {
            return AdditionalHosts::No;
        }
        let environment = without_air(key.environment.as_str());
        if environment.len() == key.environment.as_str().len() {
            return AdditionalHosts::Yes;
        }
        // Both would have the same hosts. The one without the ending has them, whoever came first: so it is the same
        // after a restart.
        match ServiceKey::parse(key.identity.as_str(), environment) {
            Ok(rival) if self.asks_for_additional_hosts(&rival) => AdditionalHosts::Taken(rival),
            _ => AdditionalHosts::Yes,
        }
    }

    fn asks_for_additional_hosts(&self, key: &ServiceKey) -> bool {
        let mut clusters: BTreeSet<ClusterName> = self.clusters_of.of(key).iter().cloned().collect();
        clusters.extend(self.carrying(key));
        let mut half_known = false;
        for cluster in &clusters {
            let Some(state) = self.cluster_states.get(cluster) else { continue };
            if state.workloads.of(key).any(|workload| workload.additional_hosts) {
                return true;
            }
            half_known |= !state.coverage().workloads() || state.freshness.is_loading();
        }
        // The workload that asks for it may be the one that cannot be read: what was written tells.
        half_known && clusters.iter().any(|cluster| self.stands_additionally(cluster, key))
    }

    fn stands_additionally(&self, cluster: &ClusterName, key: &ServiceKey) -> bool {
        let written = self.cluster_states.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        let is_additional = |host: &str| {
            let mut suffixes = self.settings.additional_endpoint_suffixes.iter();
            suffixes.any(|suffix| host.strip_suffix(suffix.as_str()).is_some_and(|before| before.ends_with('.')))
        };
        let routes = written.iter().filter(|written| written.id.kind == Kind::VirtualService);
        routes.filter_map(|written| written.host.as_deref()).any(is_additional)
    }

    /// The service whose additional hosts depend on whether this one has any.
    pub(super) fn additional_rival_of(&self, key: &ServiceKey) -> Option<ServiceKey> {
        if self.settings.additional_endpoint_suffixes.is_empty() || !self.started.load(Ordering::Acquire) {
            return None;
        }
        let rival = ServiceKey::parse(key.identity.as_str(), &format!("{}{AIR}", key.environment)).ok()?;
        self.clusters_of.has(&rival).then_some(rival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_goes_whatever_its_case_and_never_the_whole() {
        for (environment, expected) in
            [("stage-air", "stage"), ("Stage-AIR", "Stage"), ("stage", "stage"), ("-air", "-air")]
        {
            assert_eq!(without_air(environment), expected);
        }
    }
}
