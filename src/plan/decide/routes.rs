//! Users' VirtualServices and DestinationRules: which are copied into which clusters (Admiral,
//! docs/admiral-behaviour.md#user-virtualservices-and-destinationrules, without its leaks).
//!
//! One of each kind is copied for a host, because sidecars follow one VirtualService of a host only (Istio documentation,
//! IST0109, ConflictingMeshGatewayVirtualServiceHosts). A cluster that has one of its own gets none. What a copy says is
//! in [`super::rewrite`]. Never decides what is done with copies that stand already, except that it leaves them alone
//! while their origin cannot be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    decision::{RouteCopy, RoutesDecision},
    ports::{self, PublishedPort},
    rewrite::{self, PublishedRoute, RouteHome},
    route_rights, visibility,
};
use crate::{
    config::{Propagate, Settings},
    model::{
        ClusterName, Kind, Note, NoteKind, ObjectId, ObjectPath, SYSTEM_NAMESPACES, ServiceKey, keys, listed_clusters,
    },
    plan::input::{HostCluster, HostInput, HostRoute},
};

/// Labels of the endpoints in our ServiceEntries, by which a subset can select among them.
const ENDPOINT_LABELS: [&str; 5] =
    [keys::ENDPOINT_TYPE, keys::TLS_MODE, keys::ENDPOINT_CLUSTER, keys::ENDPOINT_REGION, keys::ENDPOINT_ZONE];

/// The copies for one host.
pub fn routes(input: &HostInput, settings: &Settings) -> RoutesDecision {
    let mut planner = Planner { input, settings, ports: Vec::new(), subsets: BTreeMap::new(), notes: BTreeSet::new() };
    let mut decision = RoutesDecision::default();
    decision.notes.extend(input.unpublished.iter().map(|(cluster, id)| Note {
        kind: NoteKind::NotAdopted,
        object: id.in_cluster(cluster),
        service: None,
        message: format!("no service is published under {}; the object is left alone", input.host),
    }));
    // What was switched off goes, wherever it came from.
    if settings.propagate == Propagate::Off {
        return decision;
    }
    if let Some(origin) = &input.unreadable_origin {
        decision.frozen = true;
        decision.notes.push(planner.unreadable(origin));
        return decision;
    }
    if let Some((service, _)) = &input.published {
        // A service that is left as it is keeps its copies, too: where they belong is where its objects are.
        if service.unreadable_policy.is_some() {
            decision.frozen = true;
            return decision;
        }
        planner.ports = ports::published(&service.sources, settings).0;
    }
    for kind in [Kind::DestinationRule, Kind::VirtualService] {
        let Some(winner) = planner.winner(kind) else { continue };
        let targets = planner.targets(winner);
        for (target, object) in planner.copies(winner, targets) {
            decision.clusters.entry(target).or_default().push(object);
        }
    }
    decision.notes.extend(planner.notes);
    decision
}

struct Planner<'a> {
    input: &'a HostInput,
    settings: &'a Settings,
    ports: Vec<PublishedPort>,
    /// The subsets of the DestinationRule that is copied, by the cluster that gets the copy.
    subsets: BTreeMap<ClusterName, BTreeSet<String>>,
    notes: BTreeSet<Note>,
}

impl<'a> Planner<'a> {
    // ---- which one ----

    /// The one of a kind that is copied: the oldest, then the first by cluster, namespace and name.
    fn winner(&mut self, kind: Kind) -> Option<&'a HostRoute> {
        let input = self.input;
        let all: Vec<&HostRoute> = input.routes.iter().filter(|one| one.route.id.kind == kind).collect();
        let eligible: Vec<&HostRoute> = all.into_iter().filter(|one| self.is_eligible(one)).collect();
        let rank = |one: &&&HostRoute| (one.route.created_seconds, one.cluster.clone(), one.route.id.clone());
        let winner: &HostRoute = eligible.iter().min_by_key(rank)?;
        for other in &eligible {
            // The same object in several clusters is one object to whoever deploys it.
            let same = other.route.id == winner.route.id && other.route.spec == winner.route.spec;
            if !same {
                let message = format!(
                    "is not copied, because {} of {} is for {}, too, and comes before it",
                    path(winner),
                    winner.cluster,
                    self.shown_host()
                );
                self.note(other, NoteKind::RouteOutranked, message);
            }
        }
        Some(winner)
    }

    /// Whether one may be copied; says why not, where its owner may expect it.
    fn is_eligible(&mut self, one: &HostRoute) -> bool {
        let route = &one.route;
        let labelled = route.asks() == Some(true);
        let asked = match self.settings.propagate {
            Propagate::Published => labelled || self.input.published.is_some(),
            Propagate::Labelled => labelled,
            Propagate::Off => false,
        };
        let namespace = &*route.id.namespace;
        let of_istio = self.input.istio_namespaces.of(&one.cluster);
        let never =
            SYSTEM_NAMESPACES.contains(&namespace) || [&**of_istio, &self.settings.sync_namespace].contains(&namespace);
        if !asked || never || route.ignored || route.asks() == Some(false) {
            return false;
        }
        let problem = self.problem(one);
        if let Some((message, expected)) = &problem
            && (labelled || *expected)
        {
            self.note(one, NoteKind::RouteNotCopied, format!("{message}; it is not copied into other clusters"));
        }
        problem.is_none()
    }

    /// Why one cannot be copied, and whether that is news to an owner who did not ask for it.
    fn problem(&self, one: &HostRoute) -> Option<(String, bool)> {
        let route = &one.route;
        if one.of_rollout {
            return Some(("holds the weights of a Rollout".into(), false));
        }
        if !route.is_public() {
            return Some(("is visible to some namespaces of its cluster only".into(), false));
        }
        if !route.is_for_sidecars() {
            return Some(("is for gateways of its cluster".into(), false));
        }
        match (route.id.kind, route.hosts.len()) {
            (Kind::VirtualService, 0) => return Some(("has no host".into(), false)),
            (Kind::VirtualService, 2..) => return Some(("is for several hosts".into(), true)),
            _ => {}
        }
        let for_sidecars = rewrite::for_sidecars(&route.spec);
        if rewrite::has_rules(&route.spec) && !rewrite::has_rules(&for_sidecars) {
            return Some(("has routes for gateways of its cluster only".into(), true));
        }
        if rewrite::delegates(&for_sidecars) {
            return Some(("hands requests over to another VirtualService, which stays in its cluster".into(), true));
        }
        if route.spec.get("workloadSelector").is_some() {
            return Some(("is for some clients of its namespace only".into(), true));
        }
        if route.id.kind == Kind::DestinationRule
            && self.input.published.is_some()
            && rewrite::subsets(&route.spec).is_empty()
        {
            let message = format!(
                "has no subsets, and the traffic policy of {} is that of its published rule",
                self.shown_host()
            );
            return Some((message, true));
        }
        if let Some(message) = route_rights::refusal(one, self.input, self.settings) {
            return Some((message, true));
        }
        if let Some(message) = route_rights::foreign_use(one, self.input, &for_sidecars, self.settings) {
            return Some((message, true));
        }
        None
    }

    // ---- where ----

    /// The clusters that get a copy.
    fn targets(&mut self, winner: &HostRoute) -> Vec<&'a HostCluster> {
        let kind = winner.route.id.kind;
        let input = self.input;
        let mut targets = Vec::new();
        for cluster in &input.clusters {
            let of_service = input
                .published
                .as_ref()
                .is_none_or(|(service, _)| service.targets.iter().any(|target| target.cluster == cluster.name));
            if !of_service || !cluster.known.contains(&kind) || self.has_its_own(kind, &cluster.name) {
                continue;
            }
            if kind == Kind::VirtualService && !cluster.others.is_empty() {
                for other in &cluster.others {
                    self.blocked(&cluster.name, other, winner);
                }
                continue;
            }
            if kind == Kind::VirtualService {
                self.contested(&cluster.name, winner);
            }
            targets.push(cluster);
        }
        targets
    }

    /// Whether a cluster has one that all its sidecars follow, of somebody who may route the host there.
    fn has_its_own(&self, kind: Kind, cluster: &ClusterName) -> bool {
        self.local(kind, cluster).any(|one| route_rights::decides(one, self.input, self.settings))
    }

    /// Those of a cluster that all its sidecars follow.
    fn local(&self, kind: Kind, cluster: &ClusterName) -> impl Iterator<Item = &'a HostRoute> {
        self.input.routes.iter().filter(move |one| {
            let route = &one.route;
            one.cluster == *cluster && route.id.kind == kind && route.is_public() && route.is_for_sidecars()
        })
    }

    /// Notes the routes of others in a cluster that gets a copy for their host.
    fn contested(&mut self, cluster: &ClusterName, winner: &HostRoute) {
        let others: Vec<&HostRoute> = self.local(Kind::VirtualService, cluster).collect();
        for other in others {
            let message = format!(
                "is for {}, and {} of {} is copied into this cluster all the same, because the namespace {} may not route that \
                 host; sidecars follow the older of the two",
                self.shown_host(),
                path(winner),
                winner.cluster,
                other.route.id.namespace
            );
            self.note(other, NoteKind::RouteContested, message);
        }
    }

    fn blocked(&mut self, cluster: &ClusterName, other: &ObjectId, winner: &HostRoute) {
        let message = format!(
            "is for {} and was not made by Tradewind; {} of {} is not copied beside it, because sidecars follow one only",
            self.shown_host(),
            path(winner),
            winner.cluster
        );
        self.notes.insert(Note {
            kind: NoteKind::ObjectForeign,
            object: other.in_cluster(cluster),
            service: self.service(),
            message,
        });
    }

    // ---- what ----

    /// The copies, by the clusters that get one.
    fn copies(&mut self, winner: &HostRoute, mut targets: Vec<&'a HostCluster>) -> Vec<(ClusterName, RouteCopy)> {
        let route = &winner.route;
        let home = RouteHome { namespace: &route.id.namespace, domain: &winner.domain };
        let published = self.input.published.as_ref();
        let mut spec = match route.id.kind {
            Kind::DestinationRule => {
                self.review_rule(winner);
                let subsets: BTreeSet<String> = rewrite::subsets(&route.spec).into_keys().collect();
                self.subsets = targets.iter().map(|target| (target.name.clone(), subsets.clone())).collect();
                rewrite::destination_rule(&route.spec, home, published.map(|(_, host)| host))
            }
            _ => {
                let published = published.map(|(service, host)| PublishedRoute {
                    host,
                    service,
                    ports: &self.ports,
                    origin: &winner.cluster,
                });
                let rewritten = rewrite::virtual_service(&route.spec, home, published.as_ref());
                let wanted = targets.len();
                targets = self.with_subsets(winner, &rewritten.subsets, targets);
                if wanted == 0 || !targets.is_empty() {
                    for message in rewritten.changed {
                        self.note(winner, NoteKind::RouteQuestionable, message);
                    }
                }
                rewritten.spec
            }
        };
        if published.is_some()
            && let Some(spec) = spec.as_object_mut()
        {
            spec.remove("exportTo");
        }
        let spec = Arc::new(spec);
        targets.iter().map(|target| (target.name.clone(), self.copy(winner, &target.name, &spec))).collect()
    }

    /// The clusters that have the subsets to which a VirtualService refers; says which have not. Proxies answer a request for a
    /// subset that no DestinationRule defines with 503 (Istio documentation, "Traffic Management Problems", "503 errors after
    /// setting destination rule").
    fn with_subsets(
        &mut self,
        winner: &HostRoute,
        wanted: &BTreeSet<String>,
        targets: Vec<&'a HostCluster>,
    ) -> Vec<&'a HostCluster> {
        let mut lacking: BTreeMap<Vec<String>, Vec<&ClusterName>> = BTreeMap::new();
        let mut having = Vec::new();
        for target in targets {
            let missing = self.missing_subsets(wanted, target);
            if missing.is_empty() {
                having.push(target);
            } else {
                lacking.entry(missing).or_default().push(&target.name);
            }
        }
        for (missing, clusters) in lacking {
            let message = format!(
                "refers to {} {} of {}, which no DestinationRule for this host has in {}; it is not copied there, because its \
                 requests would fail",
                if missing.len() == 1 { "the subset" } else { "the subsets" },
                missing.join(" and "),
                self.shown_host(),
                listed_clusters(clusters)
            );
            self.note(winner, NoteKind::RouteNotCopied, message);
        }
        having
    }

    /// The subsets that neither the copied DestinationRule nor one of users defines in a cluster, in quotes.
    fn missing_subsets(&self, wanted: &BTreeSet<String>, target: &HostCluster) -> Vec<String> {
        // A rule that cannot be read may define any.
        if !target.known.contains(&Kind::DestinationRule) {
            return Vec::new();
        }
        let defined = self.defined_subsets(target);
        let is_copied = |name: &String| self.subsets.get(&target.name).is_some_and(|copied| copied.contains(name));
        let missing = wanted.iter().filter(|name| !defined.contains(*name) && !is_copied(name));
        missing.map(|name| format!("{name:?}")).collect()
    }

    /// The subsets that the rules of a cluster define for all its clients: those of its owners, and those that every namespace with
    /// clients has, for these look no further than their own rule.
    fn defined_subsets(&self, target: &HostCluster) -> BTreeSet<String> {
        let rules = || {
            self.input.routes.iter().filter(|one| {
                let route = &one.route;
                one.cluster == target.name && route.id.kind == Kind::DestinationRule && route.is_public()
            })
        };
        let names = |one: &HostRoute| rewrite::subsets(&one.route.spec).into_keys();
        let owners = rules().filter(|one| route_rights::decides(one, self.input, self.settings));
        let mut defined: BTreeSet<String> = owners.flat_map(names).collect();
        let of_service = self.input.published.as_ref();
        let of_target = of_service
            .and_then(|(service, _)| service.targets.iter().find(|of_service| of_service.cluster == target.name));
        let clients = of_target.map(|target| target.dependent_namespaces.as_slice()).unwrap_or_default();
        let of_client = |client: &Arc<str>| -> BTreeSet<String> {
            rules().filter(|one| one.route.id.namespace == *client).flat_map(names).collect()
        };
        let of_all = clients.iter().map(of_client).reduce(|all, one| all.intersection(&one).cloned().collect());
        defined.extend(of_all.unwrap_or_default());
        defined
    }

    fn copy(&self, winner: &HostRoute, target: &ClusterName, spec: &Arc<Value>) -> RouteCopy {
        // As the host's own objects: Istio merges rules of one visibility only, and a route must be seen by whoever sees its
        // host.
        let visible_in = self.input.published.as_ref().and_then(|(service, _)| {
            let target = service.targets.iter().find(|of_service| of_service.cluster == *target)?;
            Some(visibility::namespaces(service, target, self.settings))
        });
        RouteCopy { origin: winner.clone(), spec: spec.clone(), visible_in: visible_in.unwrap_or_default() }
    }

    // ---- notes ----

    /// What a rule for a published host loses on its way.
    fn review_rule(&mut self, winner: &HostRoute) {
        if self.input.published.is_none() {
            return;
        }
        let host = self.shown_host();
        if winner.route.spec.get("trafficPolicy").is_some() {
            let message = format!("its subsets are copied; the traffic policy of {host} is that of its published rule");
            self.note(winner, NoteKind::RouteQuestionable, message);
        }
        for (name, labels) in rewrite::subsets(&winner.route.spec) {
            let unknown: Vec<&String> =
                labels.iter().filter(|label| !ENDPOINT_LABELS.contains(&label.as_str())).collect();
            if let Some(label) = unknown.first() {
                let message = format!(
                    "its subset {name:?} selects by the label {label}, which no endpoint of {host} has; in other clusters it is \
                     empty"
                );
                self.note(winner, NoteKind::RouteQuestionable, message);
            }
        }
    }

    fn note(&mut self, one: &HostRoute, kind: NoteKind, message: String) {
        let object = one.route.id.in_cluster(&one.cluster);
        self.notes.insert(Note { kind, object, service: self.service(), message });
    }

    fn unreadable(&self, origin: &ObjectPath) -> Note {
        let message = format!(
            "was copied into other clusters and cannot be read now; all copies for {} stay as they are",
            self.shown_host()
        );
        Note { kind: NoteKind::RouteUnreadable, object: origin.clone(), service: self.service(), message }
    }

    fn service(&self) -> Option<ServiceKey> {
        self.input.published.as_ref().map(|(service, _)| service.key.clone())
    }

    fn shown_host(&self) -> String {
        self.input.published.as_ref().map_or_else(|| self.input.host.to_string(), |(_, host)| host.to_string())
    }
}

fn path(one: &HostRoute) -> String {
    format!("{}/{}", one.route.id.namespace, one.route.id.name)
}
