//! Pruning of users' VirtualServices and DestinationRules.
//!
//! A mesh may have thousands that concern nobody else: of those only the hosts are kept, by which they stand in the way
//! of others. Never decides whether one is copied.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::{
    config::Settings,
    istio::keys,
    model::{Kind, ObjectId, Route, shares},
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
    route.annotations.retain(|key, _| !key.starts_with("kubectl.kubernetes.io/") && !key.starts_with("tradewind.io/"));
    if matters(&route, spec, settings) {
        route.spec = Arc::new(spec.clone());
    } else {
        (route.labels, route.annotations) = (BTreeMap::new(), BTreeMap::new());
        // Who follows it tells whether it stands in the way of others. A Rollout may name it, for what it is worth.
        let gateways = spec.get("gateways").cloned();
        let is_read = route.id.kind == Kind::VirtualService && settings.workload_kinds.contains(&Kind::Rollout);
        let http = if is_read { destinations(spec) } else { None };
        let kept = [("gateways", gateways), ("http", http)].into_iter();
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

/// The destinations of its HTTP routes with their weights, which is all that Rollouts read.
fn destinations(spec: &Value) -> Option<Value> {
    let destination = |of: &Value| match of.get("weight") {
        Some(weight) => json!({"destination": {"host": of.pointer("/destination/host")}, "weight": weight}),
        None => json!({"destination": {"host": of.pointer("/destination/host")}}),
    };
    let route = |of: &Value| {
        let all: Vec<Value> = of.get("route")?.as_array()?.iter().map(destination).collect();
        Some(match of.get("name") {
            Some(name) => json!({"name": name, "route": all}),
            None => json!({"route": all}),
        })
    };
    Some(spec.get("http")?.as_array()?.iter().map(|http| route(http).unwrap_or_else(|| json!({}))).collect())
}

fn texts(spec: &Value, field: &str) -> Vec<String> {
    let items = spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
