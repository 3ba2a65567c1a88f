//! Pruning of users' VirtualServices and DestinationRules.
//!
//! A mesh may have thousands that concern nobody else: of those only the hosts are kept, by which they stand in the way
//! of others. Never decides whether one is copied.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use crate::{
    config::Settings,
    istio::keys,
    model::{Kind, ObjectId, Route},
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
        // Who follows it tells whether it stands in the way of others.
        if let Some(gateways) = spec.get("gateways") {
            route.spec = Arc::new(Value::Object(Map::from_iter([("gateways".to_owned(), gateways.clone())])));
        }
    }
    route
}

/// Whether more of it can matter than its hosts: it may be copied, or a Rollout may name it for its weights.
fn matters(route: &Route, spec: &Value, settings: &Settings) -> bool {
    let is_ours = |host: &Arc<str>| {
        host.strip_suffix(settings.hostname_suffix.as_str()).is_some_and(|before| before.ends_with('.'))
    };
    route.labels.contains_key(keys::PROPAGATE) || route.full_hosts().iter().any(is_ours) || splits(route.id.kind, spec)
}

/// Whether an HTTP route shares its requests among destinations.
fn splits(kind: Kind, spec: &Value) -> bool {
    let http = spec.get("http").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let splits = |http: &Value| http.get("route").and_then(Value::as_array).is_some_and(|route| route.len() > 1);
    kind == Kind::VirtualService && http.iter().any(splits)
}

fn texts(spec: &Value, field: &str) -> Vec<String> {
    let items = spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
