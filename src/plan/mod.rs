//! Planning: a service and its policies → the objects wanted in each cluster.
//!
//! Total, pure and deterministic: a bad policy yields a note and the rest is planned; the same
//! snapshot gives byte-equal objects. Nothing here knows what stands in a cluster, so nothing
//! here decides what is written or removed.

mod active_passive;
mod additional;
mod adoption;
mod checks;
mod connection_policies;
mod connections;
mod custom_routes;
mod dependency_proxy;
mod desired;
mod destination_rule;
mod direct;
mod duration;
mod endpoints;
mod envoy_filter;
mod export;
mod gob_hash;
mod host_overrides;
mod hosts;
mod in_cluster;
mod ingress;
pub mod input;
mod namespace_rules;
mod order;
mod policy;
mod ports;
mod propagation;
mod regions;
mod rewrite;
mod service_entry;
mod sidecar;
mod subject_names;
mod unit;
mod weights;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;

pub use checks::violations;
pub use desired::Desired;
pub(crate) use desired::{HostObjects, WantedObject};
pub use namespace_rules::{NamespaceRules, namespace_rules};
pub(crate) use ports::MAIN_PORT;
pub use propagation::{RoutePlan, routes};
pub use sidecar::{SidecarWant, sidecar};
pub use unit::{WorkInputs, WorkPlan, plan_unit};
pub use weights::percent_text;

use crate::{
    config::Settings,
    istio::{DestinationRule, Metadata, Object, ServiceEntry, keys},
    model::{ClusterName, Host, Kind, Note, NoteKind, ObjectId, ObjectPath, Policy, ServiceKey, Variant},
    plan::input::{AdditionalHosts, Claim, ServiceInput, Source, Target},
};
use connection_policies::ConnectionPolicies;
use hosts::WantedHost;
use ports::PublishedPort;
use weights::Shares;

/// All that is wanted for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// The service.
    pub key: ServiceKey,
    /// Per cluster, sorted; a cluster that is missing should hold nothing of the service.
    pub clusters: Vec<ClusterPlan>,
    /// What its owners should know.
    pub notes: Vec<Note>,
    /// Whether the service must be left exactly as it is (nothing written, nothing removed).
    pub held: bool,
    /// Clusters whose writes come before those of the others; mostly none.
    pub first: BTreeSet<ClusterName>,
}

/// What one cluster should hold of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// One per host, the default host first.
    pub hosts: Vec<HostPlan>,
    /// Objects beside those of the hosts.
    pub others: Vec<Object>,
    /// Objects of ours that stay as they are, because their reason cannot be read now.
    pub kept: Vec<ObjectId>,
}

impl ServicePlan {
    /// What a cluster should hold, to be added to.
    fn cluster_mut(&mut self, cluster: &ClusterName) -> &mut ClusterPlan {
        let at = match self.clusters.binary_search_by(|planned| planned.cluster.cmp(cluster)) {
            Ok(at) => at,
            Err(at) => {
                let planned =
                    ClusterPlan { cluster: cluster.clone(), hosts: Vec::new(), others: Vec::new(), kept: Vec::new() };
                self.clusters.insert(at, planned);
                at
            }
        };
        &mut self.clusters[at]
    }

    /// Adds what does not depend on whether the service runs: filters of its clients, and what stays as it is.
    fn finish(&mut self, snapshot: &ServiceInput, settings: &Settings) {
        envoy_filter::add(snapshot, settings, self);
        for (cluster, id) in &snapshot.routing.kept {
            let planned = self.cluster_mut(cluster);
            planned.others.retain(|object| object.id() != *id);
            planned.kept.push(id.clone());
        }
        for planned in &mut self.clusters {
            planned.others.sort_by_key(Object::id);
        }
        self.notes.sort();
        self.notes.dedup();
    }
}

/// Metadata of an object beside the hosts of a service.
fn metadata(key: &ServiceKey, name: String, namespace: &str, settings: &Settings) -> Metadata {
    let mut metadata = Metadata {
        name,
        namespace: namespace.to_owned(),
        labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
        annotations: BTreeMap::from([
            (keys::CREATED_BY.into(), keys::TRADEWIND.into()),
            (keys::IDENTITY.into(), key.identity.to_string()),
            (keys::ENVIRONMENT.into(), key.environment.to_string()),
        ]),
    };
    if namespace != settings.sync_namespace {
        metadata.annotations.insert(keys::SYNC_NAMESPACE.into(), settings.sync_namespace.clone());
    }
    metadata
}

/// The pair of objects for one host in one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlan {
    /// The host.
    pub host: Host,
    /// Its ServiceEntry.
    pub service_entry: ServiceEntry,
    /// Its DestinationRule.
    pub destination_rule: DestinationRule,
    /// Whether endpoint localities are tiers: then the DestinationRule must be there before the ServiceEntry, and leave after it.
    pub tiered: bool,
    /// Why each endpoint is there, in the order of the ServiceEntry's endpoints.
    pub endpoints: Vec<PlannedEndpoint>,
}

/// Why an endpoint is there and what traffic it gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedEndpoint {
    /// The cluster it leads to.
    pub cluster: ClusterName,
    /// `address:port` of the main port.
    pub address: String,
    /// True locality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Percent of the traffic of its host while all of tier 0 is healthy; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<f64>,
    /// 0 gets traffic first; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
    /// In words.
    pub reason: String,
}

/// The hosts that a service asks for, the default host first.
#[must_use]
pub fn hosts(snapshot: &ServiceInput, settings: &Settings) -> Vec<Host> {
    if snapshot.sources.is_empty() {
        return Vec::new();
    }
    let chosen = policy::choose(&snapshot.policies, &settings.priority_key).map(|(_, policy)| policy);
    let (hosts, _) = hosts::wanted(snapshot, chosen.map(|policy| &**policy), settings);
    hosts.into_iter().map(|wanted| wanted.host).collect()
}

/// The plan of a service, given who holds each of its [`hosts`] and with which address.
#[must_use]
pub fn plan(snapshot: &ServiceInput, claims: &[Claim], settings: &Settings) -> ServicePlan {
    let key = &snapshot.key;
    let mut notes = snapshot.notes.clone();
    if let Some(policy) = &snapshot.unreadable_policy {
        notes.push(unreadable(policy, key));
        return ServicePlan { key: key.clone(), clusters: Vec::new(), notes, held: true, first: BTreeSet::new() };
    }
    if snapshot.sources.is_empty() {
        let mut plan =
            ServicePlan { key: key.clone(), clusters: Vec::new(), notes, held: false, first: BTreeSet::new() };
        plan.finish(snapshot, settings);
        return plan;
    }
    let chosen = policy::choose(&snapshot.policies, &settings.priority_key);
    notes.extend(policy::outranked(&snapshot.policies, chosen, key));
    let policy = chosen.map(|(_, policy)| &**policy);
    let (wanted, host_problems) = hosts::wanted(snapshot, policy, settings);
    let mut views = BTreeMap::new();
    let mut port_problems = Vec::new();
    for (variant, snapshot) in of_variants(snapshot) {
        let (ports, problems) = ports::published(&snapshot.sources, settings);
        let of = if variant == Variant::Default { String::new() } else { format!("for the {variant}: ") };
        port_problems.extend(problems.into_iter().map(|problem| format!("{of}{problem}")));
        views.insert(variant, View { snapshot, ports });
    }
    let governed = wanted
        .into_iter()
        .map(|wanted| {
            let view = &*views[&wanted.variant].snapshot;
            let remembers = settings.enable_active_passive && wanted.is_default;
            let primary = remembers.then(|| active_passive::primary(view, &wanted.host)).flatten();
            let shares = match (&primary, &wanted.entry) {
                (Some(primary), None) => active_passive::shares(primary, view),
                _ => weights::shares(wanted.entry.as_ref(), view, policy),
            };
            let claim = claims.iter().find(|claim| claim.host == wanted.host);
            let policy_region = order::policy_region(wanted.entry.as_ref(), settings);
            HostContext { shares, primary, policy_region, claim, wanted }
        })
        .collect();
    let mut shaping = ConnectionPolicies::of(snapshot, settings);
    notes.append(&mut shaping.notes);
    let decided = PlanContext {
        snapshot,
        settings,
        chosen,
        governed,
        views,
        shaping,
        subject_names: subject_names::of(snapshot, settings),
    };
    notes.extend(decided.notes(host_problems, port_problems));
    let clusters: Vec<ClusterPlan> = snapshot.targets.iter().filter_map(|target| decided.in_cluster(target)).collect();
    notes.extend(adoption::in_vain(&decided, &clusters));
    notes.extend(host_overrides::notes(snapshot, &clusters));
    notes.extend(regions::unreached(&decided, &clusters));
    let moves = decided.governed.iter().map(|HostContext { wanted, policy_region, .. }| {
        (policy_region.clone(), snapshot.remembered.policy_regions.get(&wanted.host))
    });
    let sources = snapshot.sources.iter();
    let first =
        order::first(moves, sources.map(|s| (&s.cluster, s.locality.as_ref().map(|locality| &locality.region))));
    let mut plan = ServicePlan { key: key.clone(), clusters, notes, held: false, first };
    in_cluster::add(&decided, &mut plan);
    ingress::add(&decided, &mut plan);
    dependency_proxy::add(&decided, &mut plan);
    plan.finish(snapshot, settings);
    checks::refuse(&mut plan);
    plan.notes.sort();
    plan.notes.dedup();
    plan
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
struct PlanContext<'a> {
    snapshot: &'a ServiceInput,
    settings: &'a Settings,
    chosen: Option<&'a (ClusterName, Arc<Policy>)>,
    governed: Vec<HostContext<'a>>,
    views: BTreeMap<Variant, View<'a>>,
    shaping: ConnectionPolicies,
    subject_names: Vec<String>,
}

/// The service as far as one variant of it runs, and the ports of that.
struct View<'a> {
    snapshot: Cow<'a, ServiceInput>,
    ports: Vec<PublishedPort>,
}

/// The service as seen by each of its variants: each has clusters of its own that run it.
fn of_variants(snapshot: &ServiceInput) -> impl Iterator<Item = (Variant, Cow<'_, ServiceInput>)> {
    let others = snapshot.variants.iter().map(|(variant, sources)| {
        let view = ServiceInput { sources: sources.clone(), variants: Vec::new(), ..snapshot.clone() };
        (*variant, Cow::Owned(view))
    });
    std::iter::once((Variant::Default, Cow::Borrowed(snapshot))).chain(others)
}

impl PlanContext<'_> {
    fn in_cluster(&self, target: &Target) -> Option<ClusterPlan> {
        let export_to = export::namespaces(self.snapshot, target, self.settings);
        let hosts: Vec<HostPlan> =
            self.governed.iter().filter_map(|governed| self.host_in(target, governed, &export_to)).collect();
        let others = self.additional_in(&hosts, &export_to);
        (!hosts.is_empty()).then(|| ClusterPlan { cluster: target.cluster.clone(), hosts, others, kept: Vec::new() })
    }

    /// The VirtualServices with the further names of these hosts.
    fn additional_in(&self, hosts: &[HostPlan], export_to: &[String]) -> Vec<Object> {
        if self.snapshot.additional != AdditionalHosts::Yes {
            return Vec::new();
        }
        hosts.iter().filter_map(|host| self.additional(&host.host, export_to)?.ok()).collect()
    }

    fn additional(&self, host: &Host, export_to: &[String]) -> Option<Result<Object, String>> {
        let main = &self.governed.first()?.wanted.host;
        let common = service_entry::Common {
            key: &self.snapshot.key,
            identity: &self.snapshot.identity,
            host,
            policy: None,
            dns_prefix: "",
            variant: Variant::Default,
            export_to,
            subject_names: &[],
            primary: None,
            policy_region: None,
            read_in: &[],
            adopted: None,
        };
        Some(additional::virtual_service(&common, main, self.settings))
    }

    fn host_in(&self, target: &Target, governed: &HostContext<'_>, export_to: &[String]) -> Option<HostPlan> {
        if target.frozen {
            return None;
        }
        let HostContext { wanted, shares, primary, policy_region, claim } = governed;
        let claim = claim.filter(|claim| claim.taken_by.is_none())?;
        let View { snapshot, ports } = &self.views[&wanted.variant];
        let pinned = in_cluster::pinned(self, target, governed);
        let shares = pinned.as_ref().unwrap_or(shares);
        let (endpoints, tiered) = endpoints::place(snapshot, target, shares, ports, self.settings);
        if endpoints.is_empty() {
            return None;
        }
        let common = service_entry::Common {
            key: &self.snapshot.key,
            identity: &self.snapshot.identity,
            host: &wanted.host,
            policy: self.chosen,
            dns_prefix: &wanted.dns_prefix(),
            variant: wanted.variant,
            export_to,
            subject_names: &self.subject_names,
            primary: primary.as_deref(),
            policy_region: policy_region.as_deref(),
            read_in: if target.is_its_own() { &[] } else { &target.served_clusters },
            adopted: claim.adopted.get(&target.cluster),
        };
        let service_entry = service_entry::build(&common, ports, &endpoints, claim.address, self.settings);
        let destination_rule = destination_rule::build(
            &common,
            wanted,
            target,
            shares,
            &service_entry.spec.endpoints,
            &self.shaping,
            self.settings,
        );
        Some(HostPlan {
            host: wanted.host.clone(),
            service_entry,
            destination_rule,
            tiered,
            endpoints: endpoints.into_iter().map(|endpoint| endpoint.planned).collect(),
        })
    }

    /// What its owners should know, by whom can mend it: of the policy, or of the service.
    fn notes(&self, host_problems: Vec<(NoteKind, String)>, port_problems: Vec<String>) -> Vec<Note> {
        let mut notes = Vec::new();
        // Without a host at all, no policy is to blame.
        let has_host = !self.governed.is_empty();
        self.too_many_pods(&mut notes);
        self.unreached_by_readers(&mut notes);
        notes.extend(regions::without_pods(self.snapshot));
        notes.extend(host_problems.into_iter().map(|(kind, message)| self.note(has_host, kind, message)));
        notes.extend(port_problems.into_iter().map(|message| self.note(false, NoteKind::PortsDiffer, message)));
        for governed @ HostContext { wanted, shares, claim, .. } in &self.governed {
            let (host, key) = (&wanted.host, &self.snapshot.key);
            if let Some(holder) = claim.and_then(|claim| claim.taken_by.as_ref()) {
                let message =
                    format!("the host {host} belongs to the service {holder}; {key} is not published under it");
                notes.push(self.note(!wanted.is_default, NoteKind::HostTaken, message));
            }
            if governed.is_of_variant() {
                continue;
            }
            let questions =
                weights::problems(wanted.entry.as_ref(), shares, &self.views[&wanted.variant].snapshot, self.settings);
            let about_host = |(kind, message)| self.note(true, kind, format!("for the host {host}: {message}"));
            notes.extend(questions.into_iter().map(about_host));
            if self.snapshot.additional == AdditionalHosts::Yes
                && let Some(Err(problem)) = self.additional(host, &[])
            {
                let message = format!("{problem}; {host} has no additional hosts");
                notes.push(self.note(!wanted.is_default, NoteKind::HostInvalid, message));
            }
        }
        if let (true, AdditionalHosts::Taken(rival)) = (has_host, &self.snapshot.additional) {
            let message = format!(
                "the additional hosts of {} belong to the service {rival}; {} has none",
                self.snapshot.key, self.snapshot.key
            );
            notes.push(self.note(false, NoteKind::HostTaken, message));
        }
        notes
    }

    /// Where pods would be endpoints themselves, were there fewer.
    fn too_many_pods(&self, notes: &mut Vec<Note>) {
        let View { snapshot, ports } = &self.views[&Variant::Default];
        for source in &snapshot.sources {
            let is_seen = snapshot.targets.iter().any(|target| direct::reaches_pods(source, target));
            let Some(count) = direct::too_many(source, ports, self.settings).filter(|_| is_seen) else { continue };
            let most = self.settings.direct_endpoints_max_pods;
            let instead = if source.gateway.is_some() {
                "clusters of the same network reach them through the gateway"
            } else {
                "all of them are endpoints, because the cluster has no gateway"
            };
            let mut note =
                self.note(false, NoteKind::PodsTooMany, format!("has {count} pods, more than {most}; {instead}"));
            note.object = service_of(source);
            notes.push(note);
        }
    }

    /// Where one istiod serves several clusters, and a Service's own name is read in others than its own.
    fn unreached_by_readers(&self, notes: &mut Vec<Note>) {
        let View { snapshot, ports } = &self.views[&Variant::Default];
        for source in &snapshot.sources {
            let is_missed = |target: &&Target| {
                target.is_read_in(&source.cluster)
                    && target.served_clusters.len() > 1
                    && direct::pods_for_all(&snapshot.sources, source, target, ports, self.settings).is_err()
            };
            let Some(target) = snapshot.targets.iter().find(is_missed) else { continue };
            let others = target.served_clusters.iter().filter(|reader| reader.cluster != source.cluster);
            let others: Vec<&str> = others.map(|reader| reader.cluster.as_str()).collect();
            let message = format!(
                "clients in {} read its own name from the istiod of {}, too: they do not reach it, or reach a Service of that name of \
                 their own",
                others.join(", "),
                target.cluster
            );
            let mut note = self.note(false, NoteKind::NameShared, message);
            note.object = service_of(source);
            notes.push(note);
        }
    }

    fn note(&self, about_policy: bool, kind: NoteKind, message: String) -> Note {
        let object = match self.chosen.filter(|_| about_policy) {
            Some((cluster, policy)) => policy.id.in_cluster(cluster),
            None => first_service(self.snapshot),
        };
        Note { kind, object, service: Some(self.snapshot.key.clone()), message }
    }
}

fn unreadable(policy: &ObjectPath, key: &ServiceKey) -> Note {
    Note {
        kind: NoteKind::PolicyUnreadable,
        object: policy.clone(),
        service: Some(key.clone()),
        message: format!("was in force for {key} and cannot be read now; the objects of {key} stay as they are"),
    }
}

fn first_service(snapshot: &ServiceInput) -> ObjectPath {
    service_of(&snapshot.sources[0])
}

fn service_of(source: &Source) -> ObjectPath {
    let (namespace, name) =
        source.services.first().map_or(("", ""), |backend| (&*backend.namespace, &*backend.service));
    ObjectPath::new(&source.cluster, Kind::Service, namespace, name)
}
