//! The rules for all Services of one namespace that go with routing inside a cluster (Admiral,
//! docs/admiral-behaviour.md#in-cluster-destinationrule) and at its gateways (Admiral,
//! docs/admiral-behaviour.md#ingress-routing).
//!
//! A rule belongs to the namespace and not to a service, so all services with Services there decide it together.

use std::collections::BTreeSet;

use super::{
    decision::NamespaceRulesDecision,
    in_cluster::{self, Routing},
    ingress,
};
use crate::{
    config::Settings,
    istio::NAMESPACE_RULE_SUFFIXES,
    plan::input::{RuledNamespace, ServiceInput},
};

/// Decides the rules for all Services of a namespace.
pub fn namespace_rules(ruled: &RuledNamespace, settings: &Settings) -> NamespaceRulesDecision {
    let mut decision = NamespaceRulesDecision::default();
    let states: Vec<(&ServiceInput, Routing)> = ruled
        .services
        .iter()
        .map(|service| (service, in_cluster::routing(service, &ruled.cluster, settings)))
        .collect();
    if states.iter().any(|(_, routing)| *routing == Routing::Unknown) {
        let in_cluster_rule = format!("{}{}", ruled.namespace, NAMESPACE_RULE_SUFFIXES[0]);
        decision.kept.extend(ruled.written.iter().filter(|id| *id.name == *in_cluster_rule).cloned());
    } else {
        let routed = states.into_iter().filter(|(service, routing)| *routing == Routing::On && is_home(service, ruled));
        let routed: Vec<&ServiceInput> = routed.map(|(service, _)| service).collect();
        decision.in_cluster = visible_in(&routed, ruled, settings);
    }
    let has_home = ruled.services.iter().any(|service| is_home(service, ruled));
    if ingress::is_enabled(&ruled.cluster, settings) && has_home {
        decision.ingress = Some(ingress::visible_in(&ruled.istio_namespace, settings));
    }
    decision
}

/// Whether routes of the service lead to a Service in the namespace.
fn is_home(service: &ServiceInput, ruled: &RuledNamespace) -> bool {
    let variants = service.variants.iter().flat_map(|(_, sources)| sources);
    let here = service.sources.iter().chain(variants).filter(|source| source.cluster == ruled.cluster);
    here.filter(|source| in_cluster::has_services_alone(source))
        .flat_map(|source| &source.services)
        .any(|backend| backend.namespace == ruled.namespace)
}

/// Whoever sees the route of one of the services; where it is dark, that is the sync namespace.
fn visible_in(routed: &[&ServiceInput], ruled: &RuledNamespace, settings: &Settings) -> Vec<String> {
    let mut namespaces = BTreeSet::new();
    for service in routed {
        let Some(target) = service.targets.iter().find(|target| target.cluster == ruled.cluster) else { continue };
        let seen = in_cluster::visible_in(service, target, settings);
        if seen.is_empty() {
            namespaces.insert(settings.sync_namespace.clone());
        }
        namespaces.extend(seen);
    }
    if namespaces.contains("*") { vec!["*".into()] } else { namespaces.into_iter().collect() }
}
