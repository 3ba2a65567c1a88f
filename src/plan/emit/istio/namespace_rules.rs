//! The DestinationRules for all Services of one namespace (Admiral, docs/admiral-behaviour.md#in-cluster-destinationrule and
//! docs/admiral-behaviour.md#ingress-routing).
//!
//! `exportTo` is always written, so that no rule is visible to the whole mesh by accident. Neither rule names subjects nor asks
//! for TLS for everything in the namespace: Istio itself checks the names that it issues, and pods without a proxy stay
//! reachable.

use std::collections::BTreeMap;

use super::PASSTHROUGH_SUBSET;
use crate::{
    config::{LbPolicy, Settings},
    istio::{
        ConnectionPool, HttpPool, LoadBalancer, LocalityLbSetting, Metadata, NAMESPACE_RULE_SUFFIXES,
        NamespaceRuleSpec, NamespaceTrafficPolicy, Object, Opaque, OutlierDetection, RuleSubset, Tls, keys,
    },
    model::ClusterName,
    plan::{decide::NamespaceRulesDecision, input::RuledNamespace},
};

pub(super) fn build(ruled: &RuledNamespace, decision: &NamespaceRulesDecision, settings: &Settings) -> Vec<Object> {
    let [in_cluster, ingress] = NAMESPACE_RULE_SUFFIXES.map(|suffix| format!("{}{suffix}", ruled.namespace));
    let host = format!("*.{}.svc.{}", ruled.namespace, ruled.domain);
    let mut rules = Vec::new();
    if !decision.in_cluster.is_empty() {
        let spec = NamespaceRuleSpec {
            host: host.clone(),
            traffic_policy: Some(policy(&ruled.cluster, settings)),
            export_to: decision.in_cluster.clone(),
            ..NamespaceRuleSpec::default()
        };
        rules.push(Object::RuleCopy(Opaque::new(metadata(in_cluster, ruled, settings), &spec)));
    }
    if let Some(visible_in) = &decision.ingress {
        // What comes through a gateway is encrypted from client to server already: it is passed on as it is, without a second
        // layer. A subset limits that to the ingress routes, so that other routes of the gateway keep their encryption.
        let policy =
            NamespaceTrafficPolicy { tls: Some(Tls { mode: "DISABLE".into() }), ..policy(&ruled.cluster, settings) };
        let spec = NamespaceRuleSpec {
            host,
            subsets: vec![RuleSubset { name: PASSTHROUGH_SUBSET.to_owned(), traffic_policy: policy }],
            export_to: visible_in.clone(),
            ..NamespaceRuleSpec::default()
        };
        rules.push(Object::RuleCopy(Opaque::new(metadata(ingress, ruled, settings), &spec)));
    }
    rules
}

fn policy(cluster: &ClusterName, settings: &Settings) -> NamespaceTrafficPolicy {
    let http =
        HttpPool { max_requests_per_connection: Some(settings.max_requests_per_connection), ..HttpPool::default() };
    let never = || OutlierDetection {
        consecutive_gateway_errors: Some(0),
        consecutive_5xx_errors: Some(0),
        ..OutlierDetection::default()
    };
    NamespaceTrafficPolicy {
        load_balancer: balancer(cluster, settings),
        connection_pool: ConnectionPool { http, ..ConnectionPool::default() },
        outlier_detection: settings.disable_default_automatic_failover.then(never),
        tls: None,
    }
}

fn balancer(cluster: &ClusterName, settings: &Settings) -> LoadBalancer {
    // Istio knows a slow start under two policies alone.
    let (simple, warms_up) = match settings.ingress_lb_policy {
        LbPolicy::RoundRobin => ("ROUND_ROBIN", true),
        LbPolicy::LeastRequest => ("LEAST_REQUEST", true),
        LbPolicy::Random => ("RANDOM", false),
        LbPolicy::Passthrough => ("PASSTHROUGH", false),
    };
    let is_enabled = settings.enable_vs_routing
        && settings.vs_routing_slow_start_enabled_clusters.iter().any(|name| name == cluster.as_str());
    let seconds = settings.default_warmup_duration_in_seconds;
    LoadBalancer {
        simple: simple.to_owned(),
        warmup_duration_secs: (is_enabled && warms_up && seconds > 0).then(|| format!("{seconds}s")),
        locality_lb_setting: Some(LocalityLbSetting { enabled: Some(false), ..LocalityLbSetting::default() }),
    }
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
