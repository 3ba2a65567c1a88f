//! The rules for all Services of one namespace that go with routing inside a cluster (Admiral,
//! docs/admiral-behaviour.md#in-cluster-destinationrule) and at its gateways (Admiral,
//! docs/admiral-behaviour.md#ingress-routing).
//!
//! A rule belongs to the namespace and not to a service, so all services with Services there decide it together. It is never
//! visible to the whole mesh by accident: `exportTo` is always written. Neither rule names subjects nor asks for TLS for
//! everything in the namespace: Istio itself checks the names that it issues, and pods without a proxy stay reachable.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    in_cluster::{self, Routing},
    ingress,
};
use crate::{
    config::{LbPolicy, Settings},
    istio::{Metadata, NAMESPACE_RULE_SUFFIXES, Object, Opaque, keys},
    model::{ClusterName, ObjectId},
    plan::input::{RuledNamespace, ServiceInput},
};

/// What is wanted for one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamespaceRules {
    /// Rules that should stand.
    pub objects: Vec<Object>,
    /// Rules that stay as they are, because it is not known whether they should.
    pub kept: Vec<ObjectId>,
}

/// Plans the rules for all Services of a namespace.
#[must_use]
pub fn namespace_rules(ruled: &RuledNamespace, settings: &Settings) -> NamespaceRules {
    let [in_cluster, ingress] = NAMESPACE_RULE_SUFFIXES.map(|suffix| format!("{}{suffix}", ruled.namespace));
    let mut rules = NamespaceRules::default();
    let states: Vec<(&ServiceInput, Routing)> = ruled
        .services
        .iter()
        .map(|snapshot| (snapshot, in_cluster::routing(snapshot, &ruled.cluster, settings)))
        .collect();
    if states.iter().any(|(_, routing)| *routing == Routing::Unknown) {
        rules.kept.extend(ruled.standing.iter().filter(|id| *id.name == *in_cluster).cloned());
    } else {
        let routed =
            states.into_iter().filter(|(snapshot, routing)| *routing == Routing::On && is_home(snapshot, ruled));
        let routed: Vec<&ServiceInput> = routed.map(|(snapshot, _)| snapshot).collect();
        let export_to = seen_by(&routed, ruled, settings);
        if !export_to.is_empty() {
            rules.objects.push(in_cluster_rule(in_cluster, ruled, &export_to, settings));
        }
    }
    let has_home = ruled.services.iter().any(|snapshot| is_home(snapshot, ruled));
    if ingress::is_enabled(&ruled.cluster, settings) && has_home {
        rules.objects.push(ingress_rule(ingress, ruled, settings));
    }
    rules
}

/// Whether routes of the service lead to a Service in the namespace.
fn is_home(snapshot: &ServiceInput, ruled: &RuledNamespace) -> bool {
    let variants = snapshot.variants.iter().flat_map(|(_, sources)| sources);
    let here = snapshot.sources.iter().chain(variants).filter(|source| source.cluster == ruled.cluster);
    here.filter(|source| in_cluster::has_services_alone(source))
        .flat_map(|source| &source.services)
        .any(|backend| backend.namespace == ruled.namespace)
}

/// Whoever sees the route of one of the services; where it is dark, that is the sync namespace.
fn seen_by(routed: &[&ServiceInput], ruled: &RuledNamespace, settings: &Settings) -> Vec<String> {
    let mut namespaces = BTreeSet::new();
    for snapshot in routed {
        let Some(target) = snapshot.targets.iter().find(|target| target.cluster == ruled.cluster) else { continue };
        let seen = in_cluster::seen_by(snapshot, target, settings);
        if seen.is_empty() {
            namespaces.insert(settings.sync_namespace.clone());
        }
        namespaces.extend(seen);
    }
    if namespaces.contains("*") { vec!["*".into()] } else { namespaces.into_iter().collect() }
}

fn in_cluster_rule(name: String, ruled: &RuledNamespace, export_to: &[String], settings: &Settings) -> Object {
    let spec = json!({
        "host": host(ruled),
        "trafficPolicy": policy(&ruled.cluster, settings),
        "exportTo": export_to,
    });
    Object::RuleCopy(Opaque { metadata: metadata(name, ruled, settings), spec })
}

/// What comes through a gateway is encrypted from client to server already: it is passed on as it is, without a second
/// layer. A subset limits that to the ingress routes, so that other routes of the gateway keep their encryption.
fn ingress_rule(name: String, ruled: &RuledNamespace, settings: &Settings) -> Object {
    let mut policy = policy(&ruled.cluster, settings);
    policy["tls"] = json!({"mode": "DISABLE"});
    let spec = json!({
        "host": host(ruled),
        "subsets": [{"name": ingress::PASSTHROUGH_SUBSET, "trafficPolicy": policy}],
        "exportTo": ingress::seen_by(&ruled.istio_namespace, settings),
    });
    Object::RuleCopy(Opaque { metadata: metadata(name, ruled, settings), spec })
}

fn host(ruled: &RuledNamespace) -> String {
    format!("*.{}.svc.{}", ruled.namespace, ruled.domain)
}

fn policy(cluster: &ClusterName, settings: &Settings) -> Value {
    let (simple, warms_up) = match settings.ingress_lb_policy {
        LbPolicy::RoundRobin => ("ROUND_ROBIN", true),
        LbPolicy::LeastRequest => ("LEAST_REQUEST", true),
        LbPolicy::Random => ("RANDOM", false),
        LbPolicy::Passthrough => ("PASSTHROUGH", false),
    };
    let mut balancer = json!({"simple": simple, "localityLbSetting": {"enabled": false}});
    let slow_start = settings.enable_vs_routing
        && settings.vs_routing_slow_start_enabled_clusters.iter().any(|name| name == cluster.as_str());
    // Istio knows a slow start under these two policies alone.
    if slow_start && warms_up && settings.default_warmup_duration_in_seconds > 0 {
        balancer["warmupDurationSecs"] = json!(format!("{}s", settings.default_warmup_duration_in_seconds));
    }
    let mut policy = json!({
        "loadBalancer": balancer,
        "connectionPool": {"http": {"maxRequestsPerConnection": settings.max_requests_per_connection}},
    });
    if settings.disable_default_automatic_failover {
        policy["outlierDetection"] = json!({"consecutiveGatewayErrors": 0, "consecutive5xxErrors": 0});
    }
    policy
}

fn metadata(name: String, ruled: &RuledNamespace, settings: &Settings) -> Metadata {
    Metadata {
        name,
        namespace: ruled.istio_namespace.to_string(),
        labels: BTreeMap::from([
            (keys::MANAGED_BY.into(), keys::TRADEWIND.into()),
            (keys::VS_ROUTING.into(), "enabled".into()),
        ]),
        annotations: BTreeMap::from([
            (keys::CREATED_BY.into(), keys::TRADEWIND.into()),
            (keys::SYNC_NAMESPACE.into(), settings.sync_namespace.clone()),
        ]),
    }
}
