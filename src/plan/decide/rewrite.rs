//! Rewrites a user's route for another cluster (Admiral,
//! docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
//!
//! A name that means a Service in the namespace of the object, or in its cluster, means something else or nothing elsewhere: for a
//! published host it becomes that host, and everything else is named in full. Decides the text of a copy and tells where
//! it no longer says the same; never whether one is made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value, json};

use super::ports::{MAIN_PORT, PublishedPort};
use crate::{
    model::{ClusterName, Host, MESH, PROTOCOLS, full_host, local_service},
    plan::input::ServiceInput,
};

/// Namespace and domain of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteHome<'a> {
    pub(super) namespace: &'a str,
    /// What the names of its cluster's Services end with.
    pub(super) domain: &'a str,
}

impl RouteHome<'_> {
    pub(super) fn full(self, host: &str) -> String {
        full_host(host, self.namespace, self.domain).into_owned()
    }
}

/// The published host that a route is for.
pub(super) struct PublishedRoute<'a> {
    pub(super) host: &'a Host,
    pub(super) service: &'a ServiceInput,
    pub(super) ports: &'a [PublishedPort],
    /// The cluster that holds the route.
    pub(super) origin: &'a ClusterName,
}

/// A rewritten spec, and where it no longer says the same.
pub(super) struct Rewritten {
    pub(super) spec: Value,
    /// Subsets of the host that it refers to.
    pub(super) subsets: BTreeSet<String>,
    pub(super) changed: BTreeSet<String>,
}

/// The spec of a VirtualService for another cluster: `published` where its host is.
pub(super) fn virtual_service(spec: &Value, home: RouteHome<'_>, published: Option<&PublishedRoute<'_>>) -> Rewritten {
    let mut rewriter = Rewriter { home, published, subsets: BTreeSet::new(), changed: BTreeSet::new() };
    let mut spec = for_sidecars(&canonical(spec));
    for protocol in PROTOCOLS {
        for rule in items(&mut spec, protocol) {
            rewriter.rule(rule);
        }
    }
    match published {
        Some(published) => spec["hosts"] = Value::from(vec![published.host.to_string()]),
        None => {
            for host in items(&mut spec, "hosts") {
                complete(host, home);
            }
        }
    }
    Rewritten { spec, subsets: rewriter.subsets, changed: rewriter.changed }
}

/// The spec of a VirtualService as far as sidecars follow it: gateways of its cluster mean nothing elsewhere. The gateways of a match
/// come before those of the whole; a rule applies to sidecars if it has no match, or one that names `mesh` or no gateway (Istio
/// documentation, "Virtual Service", `HTTPMatchRequest.gateways`).
pub(super) fn for_sidecars(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(gateways) = spec.get_mut("gateways").filter(|gateways| names_mesh(gateways)) {
        *gateways = json!([MESH]);
    }
    for protocol in PROTOCOLS {
        let Some(rules) = spec.get_mut(protocol).and_then(Value::as_array_mut) else { continue };
        rules.retain_mut(keep_sidecars);
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, value| field != protocol || value.as_array().is_none_or(|rules| !rules.is_empty()));
        }
    }
    spec
}

/// Whether a spec has any rule.
pub(super) fn has_rules(spec: &Value) -> bool {
    let rules = |protocol: &str| spec.get(protocol).and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    PROTOCOLS.into_iter().any(rules)
}

/// Leaves the matches of a rule that are for sidecars. Answers whether the rule is.
fn keep_sidecars(rule: &mut Value) -> bool {
    let Some(matches) = rule.get_mut("match").and_then(Value::as_array_mut).filter(|matches| !matches.is_empty())
    else {
        return true;
    };
    matches.retain_mut(|of| match of.get_mut("gateways") {
        Some(gateways) if names_mesh(gateways) => {
            *gateways = json!([MESH]);
            true
        }
        Some(gateways) => gateways.as_array().is_none_or(Vec::is_empty),
        None => true,
    });
    !matches.is_empty()
}

fn names_mesh(gateways: &Value) -> bool {
    gateways.as_array().is_some_and(|gateways| gateways.iter().any(|gateway| gateway == MESH))
}

/// The spec of a DestinationRule for another cluster: of the rule for a published host only the subsets. Istio merges it
/// with the published rule there, and takes one traffic policy of the two, by age.
pub(super) fn destination_rule(spec: &Value, home: RouteHome<'_>, published: Option<&Host>) -> Value {
    let mut spec = canonical(spec);
    match published {
        Some(host) => {
            let subsets = spec.get("subsets").cloned().unwrap_or_default();
            spec =
                Value::Object(Map::from_iter([("host".into(), host.to_string().into()), ("subsets".into(), subsets)]));
        }
        None => {
            if let Some(host) = spec.get_mut("host") {
                complete(host, home);
            }
        }
    }
    spec
}

/// Names of the subsets of a DestinationRule, each with the labels it selects by.
pub(super) fn subsets(spec: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let subsets = spec.get("subsets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let labels = |subset: &Value| -> BTreeSet<String> {
        let labels = subset.get("labels").and_then(Value::as_object);
        labels.map(|labels| labels.keys().cloned().collect()).unwrap_or_default()
    };
    subsets.iter().filter_map(|subset| Some((subset.get("name")?.as_str()?.to_owned(), labels(subset)))).collect()
}

/// Whether a route of a VirtualService hands over to another VirtualService, which stays at home.
pub(super) fn delegates(spec: &Value) -> bool {
    let http = spec.get("http").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    http.iter().any(|rule| rule.get("delegate").is_some_and(|delegate| !delegate.is_null()))
}

struct Rewriter<'a> {
    home: RouteHome<'a>,
    published: Option<&'a PublishedRoute<'a>>,
    subsets: BTreeSet<String>,
    changed: BTreeSet<String>,
}

impl Rewriter<'_> {
    fn rule(&mut self, rule: &mut Value) {
        // From which Services the requests for one subset of the host were.
        let mut became: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        for share in items(rule, "route") {
            let Some(destination) = share.get_mut("destination") else { continue };
            if let Some(service) = self.destination(destination) {
                let subset = destination.get("subset").and_then(Value::as_str).map(str::to_owned);
                became.entry(subset).or_default().insert(service);
            }
        }
        for services in became.values().filter(|services| services.len() > 1) {
            let services: Vec<&str> = services.iter().map(String::as_str).collect();
            self.changed.insert(format!(
                "shares requests among {}, which are one host for other clusters; the shares have no effect there",
                services.join(" and ")
            ));
        }
        // Requests are mirrored to another Service than the real one, never to the host that they go to anyway: it would
        // get each of them twice.
        if let Some(mirror) = rule.get_mut("mirror") {
            self.mirror(mirror);
        }
        for mirror in items(rule, "mirrors") {
            if let Some(destination) = mirror.get_mut("destination") {
                self.mirror(destination);
            }
        }
    }

    /// Rewrites one destination, and answers which Service it was where it became the host.
    fn destination(&mut self, destination: &mut Value) -> Option<String> {
        let before = destination.get("host").and_then(Value::as_str)?.to_owned();
        let whole = self.home.full(&before);
        let Some(published) = self.published else {
            destination["host"] = whole.into();
            return None;
        };
        let service =
            local_service(&whole, self.home.domain).map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let Some((namespace, name)) = service else {
            if whole.eq_ignore_ascii_case(published.host.as_str()) {
                destination["host"] = published.host.to_string().into();
                self.refers(destination);
            }
            return None;
        };
        destination["host"] = published.host.to_string().into();
        self.port(destination, &namespace, &name, published);
        self.refers(destination);
        Some(whole)
    }

    fn refers(&mut self, destination: &Value) {
        self.subsets.extend(destination.get("subset").and_then(Value::as_str).map(str::to_owned));
    }

    /// A port of a Service is the port under which the host publishes it.
    fn port(&mut self, destination: &mut Value, namespace: &str, name: &str, published: &PublishedRoute<'_>) {
        let source = published.service.sources.iter().find(|source| source.cluster == *published.origin);
        let backends = source.map(|source| source.services.as_slice()).unwrap_or_default();
        let is_it = |of: &str, service: &str| of == namespace && service == name;
        let backend = backends.iter().find(|backend| is_it(&backend.namespace, &backend.service));
        // Where nothing is known of the Services of the origin, nothing can be said about them.
        if backend.is_none() && !backends.is_empty() {
            self.changed.insert(format!(
                "sends requests to {name}.{namespace}, which is no Service of {}; from other clusters they go to {}",
                published.service.key, published.host
            ));
        }
        let Some(number) = destination.pointer("/port/number").and_then(Value::as_u64) else { return };
        let is_main = |port: u16| u64::from(port) == number;
        let main = backend.and_then(|backend| backend.ports.first()).is_some_and(|port| is_main(port.number));
        let further = published.ports.iter().skip(1).any(|port| is_main(port.number));
        if main || !further {
            destination["port"]["number"] = MAIN_PORT.into();
        }
    }

    fn mirror(&mut self, destination: &mut Value) {
        let Some(before) = destination.get("host").and_then(Value::as_str) else { return };
        let whole = self.home.full(before);
        if self.published.is_some() && local_service(&whole, self.home.domain).is_some() {
            self.changed.insert(format!(
                "mirrors requests to {whole}; those of clusters without a Service of this name are not mirrored"
            ));
        }
        destination["host"] = whole.into();
    }
}

fn complete(host: &mut Value, home: RouteHome<'_>) {
    if let Some(text) = host.as_str() {
        *host = home.full(text).into();
    }
}

fn items<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A value as an API server gives it back: without nulls, and with whole numbers as such.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Number(number) => Value::Number(whole(number)),
        other => other.clone(),
    }
}

fn whole(number: &Number) -> Number {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
    // Shortest text of a whole number is its digits, so nothing is lost on the way.
    float.and_then(|float| format!("{float:.0}").parse::<i64>().ok()).map_or_else(|| number.clone(), Number::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_an_api_server_gives_them_back() {
        let given = json!({"a": 5.0, "b": 0.5, "c": null, "d": [{"e": null, "f": 1e20}], "g": "5.0"});
        assert_eq!(canonical(&given), json!({"a": 5, "b": 0.5, "d": [{"f": 1e20}], "g": "5.0"}));
    }

    #[test]
    fn what_is_for_gateways_only_goes_and_the_rest_is_for_the_mesh() {
        let spec = json!({"gateways": ["x/gw", "mesh"], "hosts": ["a"],
            "http": [
                {"name": "none", "match": []},
                {"name": "both", "match": [{"gateways": ["x/gw"], "port": 1}, {"gateways": ["mesh", "x/gw"], "port": 2}, {"port": 3}]},
                {"name": "gateway", "match": [{"gateways": ["x/gw"]}]},
            ],
            "tls": [{"match": [{"gateways": ["x/gw"], "sniHosts": ["a"]}]}],
            "tcp": [{"match": [{"gateways": [], "port": 4}]}, {}]});
        let expected = json!({"gateways": ["mesh"], "hosts": ["a"],
            "http": [
                {"name": "none", "match": []},
                {"name": "both", "match": [{"gateways": ["mesh"], "port": 2}, {"port": 3}]},
            ],
            "tcp": [{"match": [{"gateways": [], "port": 4}]}, {}]});
        assert_eq!(for_sidecars(&spec), expected);
        let whole = json!({"hosts": ["a"], "gateways": ["x/gw"], "http": [{"match": "text"}, {"match": [7]}]});
        assert_eq!(for_sidecars(&whole), whole);
        assert!(has_rules(&expected) && !has_rules(&json!({"http": [], "tls": null})));
    }

    #[test]
    fn an_unpublished_host_keeps_its_destinations_by_their_whole_names() {
        let spec = json!({"hosts": ["reviews"], "http": [
            {"route": [{"destination": {"host": "reviews", "subset": "v1"}}, {"destination": {"host": "a.example"}}],
             "mirror": {"host": "shadow"}, "mirrors": [{"destination": {"host": "other"}}]}]});
        let rewritten = virtual_service(&spec, RouteHome { namespace: "team", domain: "cluster.local" }, None);
        let expected = json!({"hosts": ["reviews.team.svc.cluster.local"], "http": [
            {"route": [{"destination": {"host": "reviews.team.svc.cluster.local", "subset": "v1"}},
                       {"destination": {"host": "a.example"}}],
             "mirror": {"host": "shadow.team.svc.cluster.local"},
             "mirrors": [{"destination": {"host": "other.team.svc.cluster.local"}}]}]});
        assert_eq!(rewritten.spec, expected);
        assert!(rewritten.changed.is_empty() && rewritten.subsets.is_empty());
    }
}
