//! Pruning of users' VirtualServices and DestinationRules.
//!
//! A mesh may have thousands that concern no other cluster: of those only the hosts are kept, by which they conflict with
//! of others. Never decides whether one is copied.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::{
    config::Settings,
    istio::keys,
    model::{Kind, ObjectId, PROTOCOLS, Route, covers_suffix, is_tracking, shares},
};

/// Prunes one, of which the metadata are read already.
pub(super) fn route(
    id: ObjectId,
    created_seconds: i64,
    ignored: bool,
    metadata: &ObjectMeta,
    value: &Value,
    settings: &Settings,
) -> Route {
    let spec = value.get("spec").unwrap_or(&Value::Null);
    let hosts = match id.kind {
        Kind::DestinationRule => spec.get("host").and_then(Value::as_str).map(str::to_owned).into_iter().collect(),
        _ => texts(spec, "hosts"),
    };
    let export_to = texts(spec, "exportTo");
    let mut route = Route {
        id,
        created_seconds,
        ignored,
        labels: metadata.labels.clone().unwrap_or_default(),
        annotations: metadata.annotations.clone().unwrap_or_default(),
        hosts,
        export_to,
        spec: Arc::new(Value::Null),
    };
    // Deployment tools change their marks at every turn: dropped here, none of that is news.
    route.labels.retain(|key, _| !is_tracking(key));
    route.annotations.retain(|key, _| !is_tracking(key) && !key.starts_with("tradewind.io/"));
    if matters(&route, spec, settings) {
        route.spec = Arc::new(spec.clone());
    } else {
        (route.labels, route.annotations) = (BTreeMap::new(), BTreeMap::new());
        // Its followers show whether it conflicts with others. A Rollout may name it too.
        let gateways = spec.get("gateways").cloned();
        let is_read = route.id.kind == Kind::VirtualService && settings.workload_kinds.contains(&Kind::Rollout);
        let selector = spec.get("workloadSelector").filter(|_| matches_hosts(&route, settings)).cloned();
        let routes = PROTOCOLS.map(|protocol| (protocol, if is_read { destinations(spec, protocol) } else { None }));
        let kept = [("gateways", gateways), ("workloadSelector", selector)].into_iter().chain(routes);
        let kept: Map<_, _> = kept.filter_map(|(field, value)| Some((field.to_owned(), value?))).collect();
        if !kept.is_empty() {
            route.spec = Arc::new(Value::Object(kept));
        }
    }
    route
}

/// Whether more of it can matter than its hosts: it may be copied, or a Rollout may name it for its weights.
fn matters(route: &Route, spec: &Value, settings: &Settings) -> bool {
    let is_ours = |host: &Arc<str>| {
        host.strip_suffix(settings.hostname_suffix.as_str()).is_some_and(|before| before.ends_with('.'))
    };
    route.labels.contains_key(keys::PROPAGATE) || route.full_hosts().iter().any(is_ours) || shares(route.id.kind, spec)
}

/// Whether it is a DestinationRule with a wildcard that covers published hosts.
fn matches_hosts(route: &Route, settings: &Settings) -> bool {
    let covers = |host: &String| covers_suffix(host, &settings.hostname_suffix);
    route.id.kind == Kind::DestinationRule && route.hosts.iter().any(covers)
}

/// The destinations of its routes of a protocol with their weights, and what Rollouts find a route by.
fn destinations(spec: &Value, protocol: &str) -> Option<Value> {
    let destination = |of: &Value| {
        let to = fields(of.get("destination").unwrap_or(&Value::Null), &["host", "subset"]);
        let weight = fields(of, &["weight"]);
        Value::Object([("destination".to_owned(), Value::Object(to))].into_iter().chain(weight).collect())
    };
    let route = |of: &Value| {
        let mut kept = fields(of, &["name"]);
        let all: Vec<Value> = of.get("route")?.as_array()?.iter().map(destination).collect();
        kept.insert("route".to_owned(), Value::Array(all));
        if let Some(matches) = of.get("match").and_then(Value::as_array).filter(|_| protocol != "http") {
            let matches = matches.iter().map(|of| Value::Object(fields(of, &["port", "sniHosts"])));
            kept.insert("match".to_owned(), matches.collect());
        }
        Some(Value::Object(kept))
    };
    Some(spec.get(protocol)?.as_array()?.iter().map(|rule| route(rule).unwrap_or_else(|| json!({}))).collect())
}

fn fields(of: &Value, names: &[&str]) -> Map<String, Value> {
    names.iter().filter_map(|name| Some(((*name).to_owned(), of.get(name)?.clone()))).collect()
}

fn texts(spec: &Value, field: &str) -> Vec<String> {
    let items = spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
