//! The traffic decision (a service and its policies → how clients in each cluster reach each host, and why).
//!
//! Total, pure and deterministic: a bad policy yields a note and the rest is decided. Knows no word of Istio's objects, except
//! where a user's own object is read or copied.

mod active_passive;
mod adoption;
mod aliases;
mod connection_policies;
mod connections;
mod decision;
mod duration;
mod ejection;
mod endpoints;
mod filter_rules;
mod filters;
mod host_overrides;
mod hosts;
mod in_cluster;
mod ingress;
mod namespace_rules;
mod numbers;
mod order;
mod pods;
mod policy;
mod ports;
mod preference;
mod proxies;
mod reason;
mod regions;
mod rewrite;
mod route_rights;
mod routes;
mod service_notes;
mod shares;
mod sidecar;
mod subject_names;
mod tiers;
mod visibility;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use connection_policies::ConnectionPolicies;
pub use decision::{
    AliasRoute, Balance, ClusterDecision, DestinationDecision, Ejection, EndpointDecision, FilterDecision,
    HostDecision, HttpRule, InClusterRoute, IngressRoute, LocalityGroup, LocalityPreference, NamespaceRulesDecision,
    ProxyRoute, ReservedHost, RouteCopy, RouteDecision, RoutesDecision, ServerNameRule, ServiceDecision,
    SidecarDecision,
};
pub(super) use filters::WASM_PATH;
pub use namespace_rules::namespace_rules;
pub(super) use numbers::lcm;
pub(crate) use ports::MAIN_PORT;
pub use ports::PublishedPort;
pub use reason::{EndpointView, GatewayReason, Path, Reason, TrafficRule};
pub use routes::routes;
pub(super) use shares::in_whole_numbers;
pub use shares::{Share, percent_text};
pub use sidecar::sidecar;

use super::input::{AdditionalHosts, Claim, ServiceInput, Source, Target};
use crate::{
    config::Settings,
    model::{ClusterName, Host, NoteKind, Policy, Variant},
};
use hosts::WantedHost;
use shares::Shares;

/// The hosts that a service asks for, the default host first.
#[must_use]
pub fn hosts(service: &ServiceInput, settings: &Settings) -> Vec<Host> {
    if service.sources.is_empty() {
        return Vec::new();
    }
    let chosen = policy::choose(&service.policies, &settings.priority_key).map(|(_, policy)| policy);
    let (hosts, _) = hosts::wanted(service, chosen.map(|policy| &**policy), settings);
    hosts.into_iter().map(|wanted| wanted.host).collect()
}

/// Decides a service, given who holds each of its [`hosts`] and with which address.
///
/// 1. A service whose policy cannot be read stays as it is.
/// 2. Choose the policy, the hosts, the ports and the shares of each host: the same for all clients.
/// 3. Decide each host for the clients of each cluster.
/// 4. Add further routes, and filters.
/// 5. Say what owners should know.
#[must_use]
pub fn service(service: &ServiceInput, claims: &[Claim], settings: &Settings) -> ServiceDecision {
    let mut decision = ServiceDecision::nothing(service);
    if let Some(policy) = &service.unreadable_policy {
        decision.frozen = true;
        decision.notes.push(service_notes::unreadable(policy, &service.key));
        return decision;
    }
    if !service.sources.is_empty() {
        decide_hosts(service, claims, settings, &mut decision);
    }
    filters::add(service, settings, &mut decision);
    reserve_hosts(service, claims, &mut decision);
    for (cluster, id) in &service.routing.origin_unread {
        decision.cluster_mut(cluster, &service.istio_namespaces).kept.push(id.clone());
    }
    decision.notes.sort();
    decision.notes.dedup();
    decision
}

/// Keeps the hosts that the service lost where clusters are to remember them.
fn reserve_hosts(service: &ServiceInput, claims: &[Claim], decision: &mut ServiceDecision) {
    for claim in claims.iter().filter(|claim| claim.taken_by.is_none()) {
        let Some(reservation) = &claim.reserved else { continue };
        for cluster in &reservation.clusters {
            let Claim { host, address, .. } = claim.clone();
            let reserved = ReservedHost { host, address, since: reservation.since };
            decision.cluster_mut(cluster, &service.istio_namespaces).reserved.push(reserved);
        }
    }
}

fn decide_hosts(service: &ServiceInput, claims: &[Claim], settings: &Settings, decision: &mut ServiceDecision) {
    let mut connections = ConnectionPolicies::of(service, settings);
    decision.notes.append(&mut connections.notes);
    let (context, problems) = Context::of(service, claims, settings);
    decision.policy = context.chosen.cloned();
    decision.subject_names = subject_names::of(service, settings);
    decision.notes.extend(policy::outranked(&service.policies, context.chosen, &service.key));
    decision.notes.extend(context.notes(problems));
    let outliers = connections.outliers;
    decision.clusters = service.targets.iter().filter_map(|target| context.in_cluster(target, outliers)).collect();
    decision.connections = connections;
    decision.notes.extend(adoption::in_vain(&context, &decision.clusters));
    decision.notes.extend(host_overrides::notes(service, &decision.clusters, settings));
    decision.notes.extend(regions::unreached(&context, &decision.clusters));
    decision.first = context.first();
    in_cluster::add(&context, decision);
    ingress::add(&context, decision);
    proxies::add(&context, decision);
}

impl ServiceDecision {
    fn nothing(service: &ServiceInput) -> Self {
        Self {
            key: service.key.clone(),
            identity: service.identity.clone(),
            policy: None,
            connections: ConnectionPolicies::default(),
            subject_names: Vec::new(),
            clusters: Vec::new(),
            notes: service.notes.clone(),
            frozen: false,
            first: BTreeSet::new(),
        }
    }
}

/// A host with what its policy entry means for the regions that run the service, and who holds it.
struct HostContext<'a> {
    wanted: WantedHost,
    shares: Shares,
    /// The region that stays primary while no policy governs the host.
    primary: Option<Arc<str>>,
    /// The region to which the policy sends all traffic.
    policy_region: Option<Arc<str>>,
    claim: Option<&'a Claim>,
}

impl HostContext<'_> {
    /// Whether its entry is for all hosts, and the default one says what is to be said of it.
    fn is_of_variant(&self) -> bool {
        self.wanted.variant != Variant::Default && !(self.wanted.is_default && self.wanted.is_named)
    }
}

/// All that is decided for a service before it is seen from one cluster.
struct Context<'a> {
    service: &'a ServiceInput,
    settings: &'a Settings,
    chosen: Option<&'a (ClusterName, Arc<Policy>)>,
    hosts: Vec<HostContext<'a>>,
    views: BTreeMap<Variant, VariantView<'a>>,
}

/// The service as far as one variant of it runs, and the ports of that.
struct VariantView<'a> {
    service: Cow<'a, ServiceInput>,
    ports: Arc<[PublishedPort]>,
}

/// What is wrong with the hosts and ports that a service asks for.
struct Problems {
    hosts: Vec<(NoteKind, String)>,
    ports: Vec<String>,
}

impl<'a> Context<'a> {
    fn of(service: &'a ServiceInput, claims: &'a [Claim], settings: &'a Settings) -> (Self, Problems) {
        let chosen = policy::choose(&service.policies, &settings.priority_key);
        let policy = chosen.map(|(_, policy)| &**policy);
        let (wanted, hosts) = hosts::wanted(service, policy, settings);
        let (views, ports) = views(service, settings);
        let host = |wanted| host_context(wanted, &views, policy, claims, settings);
        let hosts_in_context = wanted.into_iter().map(host).collect();
        (Self { service, settings, chosen, hosts: hosts_in_context, views }, Problems { hosts, ports })
    }

    /// The service and the ports of the variant that a host is for.
    fn view(&self, host: &HostContext<'_>) -> &VariantView<'a> {
        &self.views[&host.wanted.variant]
    }

    /// The hosts that belong to the service.
    fn published(&self) -> impl Iterator<Item = &HostContext<'a>> {
        self.hosts.iter().filter(|host| host.claim.is_some_and(|claim| claim.taken_by.is_none()))
    }

    /// The host of the service itself, by which objects that belong to no single host are named.
    fn main_host(&self) -> Option<&Host> {
        let is_main = |host: &&HostContext<'_>| host.wanted.is_default && host.wanted.variant == Variant::Default;
        self.published().find(is_main).map(|host| &host.wanted.host)
    }

    /// What a cluster runs of the variant that a host is for.
    fn source_of(&self, host: &HostContext<'_>, cluster: &ClusterName) -> Option<&Source> {
        self.view(host).service.sources.iter().find(|source| source.cluster == *cluster)
    }

    /// The clusters that are written first.
    fn first(&self) -> BTreeSet<ClusterName> {
        let remembered = &self.service.remembered.policy_regions;
        let moves = self.hosts.iter().map(|host| (host.policy_region.clone(), remembered.get(&host.wanted.host)));
        let region = |source: &'a Source| source.locality.value().map(|locality| &locality.region);
        order::first(moves, self.service.sources.iter().map(|source| (&source.cluster, region(source))))
    }

    fn in_cluster(&self, target: &Target, outliers: Option<crate::api::OutlierConfig>) -> Option<ClusterDecision> {
        let hosts: Vec<HostDecision> =
            self.published().filter_map(|host| self.host_in(target, host, outliers)).collect();
        if hosts.is_empty() {
            return None;
        }
        let mut cluster = ClusterDecision::empty(&target.cluster, &self.service.istio_namespaces);
        cluster.visible_in = visibility::namespaces(self.service, target, self.settings);
        if !target.is_its_own() {
            cluster.served_clusters = target.served_clusters.iter().map(|served| served.cluster.clone()).collect();
        }
        if self.service.additional == AdditionalHosts::Yes {
            let aliases = hosts.iter().filter_map(|host| self.aliases(&host.host)?.ok());
            cluster.routes.extend(aliases.map(RouteDecision::Alias));
        }
        cluster.hosts = hosts;
        Some(cluster)
    }

    fn aliases(&self, host: &Host) -> Option<Result<AliasRoute, aliases::AliasError>> {
        let main = &self.hosts.first()?.wanted.host;
        Some(aliases::route(self.service, host, main, self.settings))
    }

    fn host_in(
        &self,
        target: &Target,
        host: &HostContext<'_>,
        outliers: Option<crate::api::OutlierConfig>,
    ) -> Option<HostDecision> {
        if target.is_frozen() {
            return None;
        }
        let HostContext { wanted, primary, policy_region, claim, .. } = host;
        let VariantView { service, ports } = self.view(host);
        let pinned = in_cluster::pinned(self, target, host);
        let shares = pinned.as_ref().unwrap_or(&host.shares);
        let endpoints = endpoints::decide(service, target, shares, ports, self.settings);
        if endpoints.is_empty() {
            return None;
        }
        Some(HostDecision {
            host: wanted.host.clone(),
            variant: wanted.variant,
            is_default: wanted.is_default,
            dns_prefix: wanted.dns_prefix(),
            policy_entry: wanted.entry_index,
            primary_region: primary.clone(),
            policy_region: policy_region.clone(),
            address: claim.and_then(|claim| claim.address),
            adopted: claim.and_then(|claim| claim.adopted.get(&target.cluster)).cloned(),
            ports: ports.clone(),
            locality: preference::of_localities(target, shares, self.settings),
            balance: preference::of_endpoints(&endpoints),
            ejection: ejection::decide(outliers, wanted.entry.as_ref(), &endpoints, target, self.settings),
            endpoints,
        })
    }
}

fn host_context<'a>(
    wanted: WantedHost,
    views: &BTreeMap<Variant, VariantView<'_>>,
    policy: Option<&Policy>,
    claims: &'a [Claim],
    settings: &Settings,
) -> HostContext<'a> {
    let view = &*views[&wanted.variant].service;
    let remembers = settings.enable_active_passive && wanted.is_default;
    let primary = remembers.then(|| active_passive::primary(view, &wanted.host)).flatten();
    let shares = match (&primary, &wanted.entry) {
        (Some(primary), None) => active_passive::shares(primary, view),
        _ => shares::shares(wanted.entry.as_ref(), view, policy),
    };
    let claim = claims.iter().find(|claim| claim.host == wanted.host);
    let policy_region = order::policy_region(wanted.entry.as_ref(), settings);
    HostContext { wanted, shares, primary, policy_region, claim }
}

/// The service as seen by each of its variants: each has clusters of its own that run it. With what is wrong with their ports.
fn views<'a>(service: &'a ServiceInput, settings: &Settings) -> (BTreeMap<Variant, VariantView<'a>>, Vec<String>) {
    let others = service.variants.iter().map(|(variant, sources)| {
        let view = ServiceInput { sources: sources.clone(), variants: Vec::new(), ..service.clone() };
        (*variant, Cow::Owned(view))
    });
    let mut views = BTreeMap::new();
    let mut problems = Vec::new();
    for (variant, service) in std::iter::once((Variant::Default, Cow::Borrowed(service))).chain(others) {
        let (ports, of_variant) = ports::published(&service.sources, settings);
        let of = if variant == Variant::Default { String::new() } else { format!("for the {variant}: ") };
        problems.extend(of_variant.into_iter().map(|problem| format!("{of}{problem}")));
        views.insert(variant, VariantView { service, ports: ports.into() });
    }
    (views, problems)
}
