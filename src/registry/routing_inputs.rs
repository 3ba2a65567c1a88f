//! What decides the objects of a service besides its ServiceEntries and DestinationRules: its clients, its proxies, the
//! VirtualServices of users, and what must stay because its reason cannot be read now.
//!
//! Decides what is known and what is not; never what is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Inputs, Queries, Registry, absence,
    cluster_state::{
        ClusterState,
        user_hosts::{self, Routed, tails},
    },
    dependencies::Dependencies,
    dependency_proxies::ProxyDecl,
    last_known, queries, written_for,
};
use crate::{
    config::{Propagate, Settings},
    istio::IN_CLUSTER_SUFFIX,
    model::{
        ClusterName, DependencyFault, Host, Identity, Kind, Note, NoteKind, ObjectId, SYSTEM_NAMESPACES, ServiceKey,
        WorkKey,
    },
    plan::input::{Proxied, RoutingInputs, RuledNamespace},
};

/// Whether some setting asks for the rules of namespaces.
fn rules_wanted(settings: &Settings) -> bool {
    settings.enable_vs_routing_in_cluster || settings.enable_vs_routing
}

impl Queries<'_> {
    /// Every namespace that has, or may want, managed rules.
    #[must_use]
    pub fn all_ruled_namespaces(&self) -> BTreeSet<(ClusterName, Arc<str>)> {
        let units =
            self.registry.fleet.names().into_iter().flat_map(|cluster| namespace_units(self.registry, &cluster));
        units
            .filter_map(|unit| match unit {
                WorkKey::Namespace(cluster, namespace) => Some((cluster, namespace)),
                WorkKey::Service(_) | WorkKey::Sidecar(..) | WorkKey::Host(_) => None,
            })
            .collect()
    }
}

impl Inputs<'_> {
    /// One namespace with the services that run there, or `None` while nothing may be planned.
    #[must_use]
    pub fn namespace_rules(&self, cluster: &ClusterName, namespace: &str) -> Option<RuledNamespace> {
        self.registry.ready().ok()?;
        let (keys, written, domain) = {
            let state = self.registry.fleet.get(cluster)?;
            let wanted = rules_wanted(&self.registry.settings) && !self.registry.control_planes.is_remote(cluster);
            let keys = if wanted { state.workloads.keys_in(namespace) } else { BTreeSet::new() };
            let rules = state.outputs.of_namespace(namespace);
            (keys, rules.iter().map(|rule| rule.id.clone()).collect(), state.domain())
        };
        Some(RuledNamespace {
            cluster: cluster.clone(),
            namespace: namespace.into(),
            istio_namespace: self.registry.fleet.istio_namespace(cluster),
            services: keys.iter().filter_map(|key| self.registry.inputs().service(key)).collect(),
            domain,
            written,
        })
    }
}

/// What decides the objects of a service besides its hosts.
///
/// `plain` is its identity without a partition, under which users know it.
pub(super) fn routing_inputs(
    registry: &Registry,
    key: &ServiceKey,
    plain: &Identity,
    written_in: &[ClusterName],
    has_policies: bool,
) -> RoutingInputs {
    let settings = &registry.settings;
    let mut inputs = RoutingInputs { proxied: proxied(registry, key), ..RoutingInputs::default() };
    if settings.enable_routing_policy {
        if has_policies {
            inputs.clients = clients_of(registry, &key.identity);
            inputs.clients_unread = if inputs.clients.is_empty() { absence::unread_clusters(registry) } else { None };
        }
        inputs.origin_unread = filters_of_unread_policies(registry, key, written_in);
    }
    if settings.enable_vs_routing_in_cluster {
        routes_of(registry, key, plain, written_in, &mut inputs);
    }
    inputs.origin_unread.sort();
    inputs
}

/// Notes about DependencyProxies whose proxy is not there.
pub(super) fn missing_proxy(registry: &Registry, key: &ServiceKey, inputs: &RoutingInputs) -> Vec<Note> {
    if inputs.proxied.is_empty() {
        return Vec::new();
    }
    let (kind, message) = match absence::unread_clusters(registry) {
        None => (
            NoteKind::DependencyQuestionable(DependencyFault::Proxy),
            format!("no cluster offers the proxy {key}; its hosts count as soon as one does"),
        ),
        Some(clusters) => (
            NoteKind::WorkloadsUnknown,
            format!(
                "no cluster that could be read offers the proxy {key}, and what runs in {clusters} is not known; its hosts \
                 count as soon as a cluster is seen to offer it"
            ),
        ),
    };
    let missing = inputs.proxied.iter().map(|proxied| Note {
        kind,
        object: proxied.id.in_cluster(&proxied.cluster),
        service: Some(key.clone()),
        message: message.clone(),
    });
    missing.collect()
}

fn clients_of(registry: &Registry, identity: &Identity) -> Vec<(ClusterName, String)> {
    let dependents = registry.dependencies.read().sources_of(identity);
    let mut clients: Vec<(ClusterName, String)> = Vec::new();
    for dependent in &dependents {
        for cluster in registry.index.running.of(dependent).iter() {
            let Some(client) =
                registry.fleet.get(cluster).and_then(|state| state.workloads.identities().display_name(dependent))
            else {
                continue;
            };
            clients.extend(registry.control_planes.of(cluster).into_iter().map(|plane| (plane, client.clone())));
        }
    }
    clients.sort();
    clients.dedup();
    clients
}

/// EnvoyFilters whose RoutingPolicy is in a cluster whose RoutingPolicies are not known.
fn filters_of_unread_policies(
    registry: &Registry,
    key: &ServiceKey,
    written_in: &[ClusterName],
) -> Vec<(ClusterName, ObjectId)> {
    let mut filters = Vec::new();
    for cluster in written_in {
        let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        for filter in written.iter().filter(|written| written.id.kind == Kind::EnvoyFilter) {
            let policy = filter.policies.iter().find(|policy| policy.kind == Kind::RoutingPolicy);
            let of = policy.and_then(|policy| registry.fleet.get(&policy.cluster));
            if of.is_some_and(|state| state.freshness.is_loading() || !state.freshness.knows(Kind::RoutingPolicy)) {
                filters.push((cluster.clone(), filter.id.clone()));
            }
        }
    }
    filters
}

/// The routes of users that switch routing inside the clusters off or are merged into it, and what stays where they are not known.
fn routes_of(
    registry: &Registry,
    key: &ServiceKey,
    plain: &Identity,
    written_in: &[ClusterName],
    inputs: &mut RoutingInputs,
) {
    let tail = format!("{}.{}", plain.folded(), registry.settings.hostname_suffix);
    let unread = last_known::clusters_with(registry, key);
    let owners = owner_namespaces(registry, &key.identity);
    for state in registry.fleet.iter() {
        // A hub that is no cluster of the fleet has no routes.
        if !state.freshness.watches(Kind::VirtualService) {
            continue;
        }
        // What cannot be read now may run it, and a user may route it there.
        let may_run = !state.coverage().workloads() && (state.outputs.holds(key) || unread.contains(state.name()));
        let runs = may_run || !state.workloads.identities().namespaces_of(&key.identity).is_empty();
        // Routes of other clusters come there as copies.
        if !runs && registry.settings.propagate == Propagate::Off {
            continue;
        }
        inputs.routes_unknown |= state.freshness.is_loading()
            || !state.freshness.knows(Kind::VirtualService)
            || (runs && !state.coverage().workloads());
        let owned = owners.get(state.name());
        let decides = |id: &&ObjectId| {
            owned.is_some_and(|namespaces| namespaces.contains(&id.namespace))
                || may_route(registry, &state, id, |host| tails(host).any(|of| of == tail))
        };
        if let Some(id) = state.user_routes.hosts().of_tail(&tail).find(decides) {
            let found = (state.name().clone(), id.clone());
            if inputs.users_route.as_ref().is_none_or(|first| found < *first) {
                inputs.users_route = Some(found);
            }
        }
        if runs && registry.settings.enable_custom_vs_merge {
            let custom = state.user_routes.merged_for(plain.folded());
            inputs.custom.extend(custom.into_iter().map(|route| (state.name().clone(), route)));
        }
    }
    inputs.custom.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
    if inputs.routes_unknown {
        for cluster in written_in {
            let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
            let routes = written.iter().filter(|written| is_in_cluster(&written.id));
            inputs.origin_unread.extend(routes.map(|written| (cluster.clone(), written.id.clone())));
        }
    }
}

/// The namespaces that run services of an identity, by the clusters whose istiods serve them.
pub(super) fn owner_namespaces(registry: &Registry, identity: &Identity) -> BTreeMap<ClusterName, BTreeSet<Arc<str>>> {
    let mut owners: BTreeMap<ClusterName, BTreeSet<Arc<str>>> = BTreeMap::new();
    for cluster in registry.index.running.of(identity).iter() {
        let Some(state) = registry.fleet.get(cluster) else { continue };
        let namespaces = state.workloads.identities().serving_namespaces(identity);
        drop(state);
        for plane in registry.control_planes.of(cluster).into_iter().chain([cluster.clone()]) {
            owners.entry(plane).or_default().extend(namespaces.iter().cloned());
        }
    }
    owners
}

/// Whether a VirtualService counts for a host wherever the host's service runs: its namespace belongs to the mesh, or an operator
/// allows it to route such a host.
fn may_route(registry: &Registry, state: &ClusterState, id: &ObjectId, is_meant: impl Fn(&str) -> bool) -> bool {
    if SYSTEM_NAMESPACES.contains(&&*id.namespace) || *id.namespace == **state.namespaces.of_istio() {
        return true;
    }
    let hosts = state.user_routes.routes().get(id).map(|route| route.full_hosts()).unwrap_or_default();
    let grants = &registry.settings.propagate_hosts;
    hosts.iter().any(|host| is_meant(host) && grants.allow(&id.namespace, host))
}

fn proxied(registry: &Registry, key: &ServiceKey) -> Vec<Proxied> {
    let dependencies = registry.dependencies.read();
    let mut proxied = Vec::new();
    for ((cluster, id), proxy, earlier) in dependencies.proxies.of(key) {
        let clients = dependencies.declared_sources_of(&proxy.destination);
        let running: BTreeSet<ClusterName> = clients
            .iter()
            .flat_map(|client| registry.index.running.of(client).iter().cloned().collect::<Vec<_>>())
            .collect();
        let clusters = running.iter().flat_map(|cluster| registry.control_planes.of(cluster)).collect();
        let problem = match earlier {
            Some((of, first)) => Some(format!(
                "shares a host with the DependencyProxy {}/{} of {of}, which comes first; it has no effect",
                first.namespace, first.name
            )),
            None => taken_by_user(registry, proxy),
        };
        proxied.push(Proxied {
            cluster: cluster.clone(),
            id: id.clone(),
            hosts: proxy.hosts.clone(),
            clusters,
            problem,
        });
    }
    proxied
}

/// A user's route for a host of a proxy, of a namespace that runs the proxy or the destination, or that may route the host.
fn taken_by_user(registry: &Registry, proxy: &ProxyDecl) -> Option<String> {
    let owners = [&proxy.proxy.identity, &proxy.destination].map(|identity| owner_namespaces(registry, identity));
    let taken = registry.fleet.iter().flat_map(|state| {
        let owned = || owners.iter().filter_map(|owners| owners.get(state.name()));
        let decides = |host: &Host, id: &ObjectId| {
            owned().any(|namespaces| namespaces.contains(&id.namespace))
                || may_route(registry, &state, id, |of| of.eq_ignore_ascii_case(host.as_str()))
        };
        let taken = proxy.hosts.iter().filter_map(|host| {
            let mut ids = state.user_routes.hosts().of_host(host.as_str());
            Some((host.clone(), state.name().clone(), ids.find(|id| decides(host, id))?.clone()))
        });
        taken.collect::<Vec<_>>()
    });
    let (host, cluster, id) = taken.min()?;
    Some(format!(
        "the VirtualService {}/{} of {cluster} routes the host {host} already; it has no effect",
        id.namespace, id.name
    ))
}

/// The units that the VirtualServices of users concern, by their hosts and by whom they are created for.
pub(super) fn routed_units(registry: &Registry, routed: &Routed) -> BTreeSet<WorkKey> {
    let mut keys = BTreeSet::new();
    let suffix = format!(".{}", registry.settings.hostname_suffix);
    let dependencies = registry.dependencies.read();
    for host in &routed.hosts {
        keys.extend(dependencies.proxies.taking(host).cloned());
        if registry.settings.enable_vs_routing_in_cluster {
            let identities =
                user_hosts::tails(host).filter_map(|tail| Identity::parse(tail.strip_suffix(&suffix)?).ok());
            keys.extend(identities.flat_map(|identity| keys_under(registry, &identity)));
        }
    }
    let created_for = routed.created_for.iter().filter_map(|identity| Identity::parse(identity).ok());
    keys.extend(created_for.flat_map(|identity| keys_under(registry, &identity)));
    keys.into_iter().map(WorkKey::Service).collect()
}

/// The services that users know under an identity: those of all its partitions.
pub(super) fn keys_under(registry: &Registry, plain: &Identity) -> BTreeSet<ServiceKey> {
    let mut keys: BTreeSet<ServiceKey> = queries::keys_of(registry, plain).into_iter().collect();
    if registry.settings.enable_sw_aware_ns_caches {
        for state in registry.fleet.iter() {
            let of_plain =
                |key: &&ServiceKey| state.workloads.plain_of(key).is_some_and(|known| known.identity == *plain);
            keys.extend(state.workloads.service_keys().filter(of_plain).cloned());
        }
    }
    keys
}

/// The services for which there are RoutingPolicies, of one identity or of all.
pub(super) fn routing_policy_keys(registry: &Registry, identity: Option<&Identity>) -> BTreeSet<ServiceKey> {
    if !registry.settings.enable_routing_policy {
        return BTreeSet::new();
    }
    let mut keys = BTreeSet::new();
    let clusters = match identity {
        Some(identity) => registry.index.named_for_routing.of(identity),
        None => registry.fleet.iter().map(|state| state.name().clone()).collect(),
    };
    for state in clusters.iter().filter_map(|cluster| registry.fleet.get(cluster)) {
        let of_shard = state.policies.routing.keys();
        keys.extend(of_shard.filter(|key| identity.is_none_or(|identity| key.identity == *identity)).cloned());
    }
    keys
}

/// The namespaces in which a service runs, where their rules are wanted.
pub(super) fn ruled_namespaces(registry: &Registry, key: &ServiceKey) -> BTreeSet<(ClusterName, Arc<str>)> {
    if !rules_wanted(&registry.settings) {
        return BTreeSet::new();
    }
    let mut namespaces = BTreeSet::new();
    for state in registry.index.clusters_of.of(key).iter().filter_map(|cluster| registry.fleet.get(cluster)) {
        namespaces
            .extend(state.workloads.namespaces_of(key).into_iter().map(|namespace| (state.name().clone(), namespace)));
    }
    namespaces
}

/// The namespaces of a cluster that have, or may want, managed rules.
pub(super) fn namespace_units(registry: &Registry, cluster: &ClusterName) -> BTreeSet<WorkKey> {
    let Some(state) = registry.fleet.get(cluster) else { return BTreeSet::new() };
    let mut namespaces: BTreeSet<Arc<str>> = BTreeSet::new();
    if rules_wanted(&registry.settings) {
        namespaces.extend(state.workloads.client_namespaces().cloned());
    }
    let ruled = state.outputs.owned().filter_map(|written| written_for::rule_namespace(written).map(Arc::from));
    namespaces.extend(ruled);
    namespaces.into_iter().map(|namespace| WorkKey::Namespace(cluster.clone(), namespace)).collect()
}

/// The units of the namespaces of a cluster in which workloads came or went.
pub(super) fn moved_namespaces(
    registry: &Registry,
    cluster: &ClusterName,
    namespaces: &BTreeSet<Arc<str>>,
) -> Vec<WorkKey> {
    if !rules_wanted(&registry.settings) {
        return Vec::new();
    }
    namespaces.iter().map(|namespace| WorkKey::Namespace(cluster.clone(), namespace.clone())).collect()
}

/// Whether an managed object routes inside its cluster.
fn is_in_cluster(id: &ObjectId) -> bool {
    id.kind == Kind::VirtualService && id.name.ends_with(IN_CLUSTER_SUFFIX)
}

impl Dependencies {
    /// Identities that call `destination`: by declaration, or because it is the proxy of what they declare to call.
    pub(super) fn sources_of(&self, destination: &Identity) -> Vec<Identity> {
        let mut sources: BTreeSet<Identity> = self.declared_sources_of(destination).into_iter().collect();
        let behind: BTreeSet<&Identity> = self.proxies.behind(destination).collect();
        for source in behind.into_iter().flat_map(|behind| self.declared_sources_of(behind)) {
            if source != *destination {
                sources.insert(source);
            }
        }
        sources.into_iter().collect()
    }

    /// Identities that `source` calls: by declaration, or because they are the proxies of what it declares to call.
    pub(super) fn destinations_of(&self, source: &Identity) -> Vec<Identity> {
        let declared = self.declared_destinations_of(source);
        let before = declared.iter().flat_map(|destination| self.proxies.before(destination)).cloned();
        let before: Vec<Identity> = before.filter(|proxy| proxy != source).collect();
        declared.into_iter().chain(before).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
