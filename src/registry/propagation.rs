//! One host as planning takes it, with all that users said about it; and which hosts have to be planned.
//!
//! Decides what is known of users' routes and of who is reached under additional suffixes; never what is copied.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Inputs, Queries, Registry, adoption, cluster_state::ClusterState, control_planes, host_claims, last_known,
};
use crate::{
    config::Propagate,
    model::{AIR, CLUSTER_DOMAIN, ClusterName, CopyOrigin, Host, Kind, ObjectPath, ServiceKey, Written, without_air},
    plan::input::{AdditionalHosts, HostCluster, HostInput, HostRoute, RouteOwner},
};

/// The kinds that users' routes are of. What a VirtualService refers to comes before it.
const ROUTES: [Kind; 2] = [Kind::DestinationRule, Kind::VirtualService];

impl Queries<'_> {
    /// Every host with routes that may be copied, or with managed copies.
    #[must_use]
    pub fn routed_hosts(&self) -> BTreeSet<Arc<str>> {
        let mut hosts = BTreeSet::new();
        for state in self.registry.fleet.iter() {
            hosts.extend(state.user_routes.routes().hosts(&self.registry.settings.hostname_suffix).cloned());
            hosts.extend(state.outputs.copied_hosts().cloned());
            hosts.extend(state.outputs.handed_over_hosts().cloned());
        }
        hosts
    }
}

impl Inputs<'_> {
    /// One host, or `None` while nothing may be planned.
    #[must_use]
    pub fn routes(&self, host: &Arc<str>) -> Option<HostInput> {
        self.registry.ready().ok()?;
        let published = published(self.registry, host)
            .and_then(|(key, display_host)| Some((self.registry.inputs().service(&key)?, display_host)));
        let (mut clusters, mut routes, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster_domains = BTreeSet::from([CLUSTER_DOMAIN.into()]);
        let mut is_short_name = false;
        for state in self.registry.fleet.iter() {
            if !state.freshness.watches(Kind::ServiceEntry) {
                continue;
            }
            if !self.registry.control_planes.is_remote(state.name()) {
                clusters.push(HostCluster {
                    name: state.name().clone(),
                    known: ROUTES.into_iter().filter(|kind| state.freshness.serves(*kind)).collect(),
                    others: state.outputs.others_routes(host, &self.registry.settings.sync_namespace),
                });
            }
            cluster_domains.insert(state.domain());
            is_short_name |= state.namespaces.has(last_label(host));
            routes.extend(state.user_routes.routes().of(host).into_iter().map(|route| HostRoute {
                cluster: state.name().clone(),
                domain: state.domain(),
                of_rollout: state.workloads.rollouts().own_route(&route.id),
                owner: RouteOwner::Namespaces(BTreeSet::new()),
                route,
            }));
            copies.extend(state.outputs.copies_of(host));
        }
        routes.iter_mut().for_each(|route| doubt_users_route(self.registry, route, &copies));
        let own_hosts = published.as_ref().map(|(service, _)| service.key.clone()).map_or_else(Vec::new, |key| {
            routes.iter_mut().for_each(|route| route.owner = owner_of(self.registry, &key, route, &copies));
            host_claims::hosts_of(self.registry, &key).into_iter().collect()
        });
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        routes.sort_by(|a, b| (&a.cluster, &a.route.id).cmp(&(&b.cluster, &b.route.id)));
        Some(HostInput {
            host: host.clone(),
            istio_namespaces: self.registry.fleet.istio_namespaces(),
            published: published.filter(|(service, _)| !service.targets.is_empty()),
            own_hosts,
            cluster_domains,
            is_short_name,
            clusters,
            routes,
            unpublished: adoption::handed_over_in_vain(self.registry, host),
            unreadable_origin: copies
                .iter()
                .filter_map(|copy| unreadable_origin(self.registry, copy))
                .min_by(|a, b| (a.kind, a).cmp(&(b.kind, b))),
        })
    }
}

/// While Rollouts cannot be read, what was copied was a user's, and nothing else is.
fn doubt_users_route(registry: &Registry, one: &mut HostRoute, copies: &[Arc<Written>]) {
    let state = registry.fleet.get(&one.cluster);
    if !one.of_rollout && state.is_some_and(|state| state.coverage().may_be_rollout_route(&one.route)) {
        let origin = CopyOrigin::Object(one.route.id.in_cluster(&one.cluster));
        one.of_rollout = !copies.iter().any(|copy| copy.origin.as_ref() == Some(&origin));
    }
}

/// The namespaces that run a service in the cluster of a route, or in those that its istiod serves. While they cannot be read, what
/// was copied was an owner's, and nothing else is.
fn owner_of(registry: &Registry, key: &ServiceKey, one: &HostRoute, copies: &[Arc<Written>]) -> RouteOwner {
    let origin = CopyOrigin::Object(one.route.id.in_cluster(&one.cluster));
    let was_copied = copies.iter().any(|copy| copy.origin.as_ref() == Some(&origin));
    let mut namespaces = BTreeSet::new();
    let served = control_planes::remotes_of(registry, &one.cluster);
    for cluster in served.iter().chain([&one.cluster]) {
        let Some(state) = registry.fleet.get(cluster) else { continue };
        if was_copied && !state.coverage().workloads() {
            return RouteOwner::LastKnown;
        }
        namespaces.extend(state.workloads.namespaces_of(key));
    }
    RouteOwner::Namespaces(namespaces)
}

fn last_label(host: &str) -> &str {
    host.trim_end_matches('.').rsplit('.').next().unwrap_or_default()
}

/// The hosts with users' routes that end with the name of a namespace: whether they are short names depends on it.
pub(super) fn hosts_ending_with(registry: &Registry, namespaces: &BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
    if namespaces.is_empty() || registry.settings.propagate == Propagate::Off {
        return BTreeSet::new();
    }
    let mut hosts = BTreeSet::new();
    for state in registry.fleet.iter() {
        let routed = state.user_routes.routes().hosts(&registry.settings.hostname_suffix);
        hosts.extend(routed.filter(|host| namespaces.contains(last_label(host))).cloned());
    }
    hosts
}

/// The service that a host belongs to, and the host as that service writes it.
fn published(registry: &Registry, host: &str) -> Option<(ServiceKey, Host)> {
    let host = Host::parse(host).ok()?;
    registry.hosts.lock().holder_of(&host)
}

/// The service that a host belongs to.
pub(super) fn holder_of(registry: &Registry, host: &str) -> Option<ServiceKey> {
    published(registry, host).map(|(key, _)| key)
}

/// The origin of a copy, where its cluster belongs to the fleet and its objects of that kind were never listed.
fn unreadable_origin(registry: &Registry, copy: &Written) -> Option<ObjectPath> {
    let origin = copy.origin.as_ref()?.object()?;
    let state = registry.fleet.get(&origin.cluster)?;
    (!state.freshness.knows(copy.id.kind)).then(|| origin.clone())
}

/// The hosts of a service of which users said something, or copies exist.
pub(super) fn routed_hosts_of(registry: &Registry, key: &ServiceKey) -> Vec<Arc<str>> {
    host_claims::hosts_of(registry, key).iter().filter_map(|host| routed(registry, host)).collect()
}

/// A host, where users said something of it, or copies exist.
pub(super) fn routed(registry: &Registry, host: &Host) -> Option<Arc<str>> {
    let host: Arc<str> = host.as_str().to_ascii_lowercase().into();
    let tracks = |state: &ClusterState| {
        let outputs = &state.outputs;
        state.user_routes.routes().has(&host)
            || outputs.has_routes_for(&host)
            || outputs.hand_written(&host).next().is_some()
    };
    registry.fleet.iter().any(|state| tracks(&state)).then_some(host)
}

/// Whether a service is reached under the additional suffixes.
pub(super) fn additional_hosts(registry: &Registry, key: &ServiceKey) -> AdditionalHosts {
    let settings = &registry.settings;
    if settings.additional_endpoint_suffixes.is_empty() || !asks_for_additional_hosts(registry, key) {
        return AdditionalHosts::No;
    }
    let environment = without_air(key.environment.as_str());
    if environment.len() == key.environment.as_str().len() {
        return AdditionalHosts::Yes;
    }
    // Both would have the same hosts. The one without the ending has them, whoever came first: so it is the same
    // after a restart.
    match ServiceKey::parse(key.identity.as_str(), environment) {
        Ok(rival) if asks_for_additional_hosts(registry, &rival) => AdditionalHosts::Taken(rival),
        _ => AdditionalHosts::Yes,
    }
}

fn asks_for_additional_hosts(registry: &Registry, key: &ServiceKey) -> bool {
    let mut clusters: BTreeSet<ClusterName> = registry.index.clusters_of.of(key).iter().cloned().collect();
    clusters.extend(last_known::clusters_with(registry, key));
    let mut half_known = false;
    for cluster in &clusters {
        let Some(state) = registry.fleet.get(cluster) else { continue };
        if state.workloads.of(key).any(|workload| workload.additional_hosts) {
            return true;
        }
        half_known |= !state.coverage().workloads() || state.freshness.is_loading();
    }
    // The workload that asks for it may be the one that cannot be read: what was written says it.
    half_known && clusters.iter().any(|cluster| stands_additionally(registry, cluster, key))
}

fn stands_additionally(registry: &Registry, cluster: &ClusterName, key: &ServiceKey) -> bool {
    let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
    let is_additional = |host: &str| {
        let mut suffixes = registry.settings.additional_endpoint_suffixes.iter();
        suffixes.any(|suffix| host.strip_suffix(suffix.as_str()).is_some_and(|before| before.ends_with('.')))
    };
    let routes = written.iter().filter(|written| written.id.kind == Kind::VirtualService);
    routes.filter_map(|written| written.host.as_deref()).any(is_additional)
}

/// The service whose additional hosts depend on whether this one has any.
pub(super) fn additional_rival_of(registry: &Registry, key: &ServiceKey) -> Option<ServiceKey> {
    if registry.settings.additional_endpoint_suffixes.is_empty() || !registry.startup.has_started() {
        return None;
    }
    let rival = ServiceKey::parse(key.identity.as_str(), &format!("{}{AIR}", key.environment)).ok()?;
    registry.index.clusters_of.has(&rival).then_some(rival)
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
