//! Who may route a host in all clusters, and where its requests may go: the namespaces that run its service, among what that
//! service runs; or the namespaces that the setting `propagateHosts` names, among the hosts that it names.
//!
//! Decides whether a user's route counts for other clusters; never which of several does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rewrite::RouteHome;
use crate::{
    config::Settings,
    model::{Host, PROTOCOLS, SYSTEM_NAMESPACES, covers_suffix, local_service, printable, wildcard_end},
    plan::input::{HostInput, HostRoute, RouteOwner},
};

/// Longest quote of a host in a message, in characters: as long as one may be in DNS.
const MAX_QUOTE_CHARS: usize = 253;

/// Whether a route decides for its cluster: its namespace runs the service, belongs to the mesh, or is named by the setting.
pub(super) fn decides(one: &HostRoute, input: &HostInput, settings: &Settings) -> bool {
    let namespace = &*one.route.id.namespace;
    let of_mesh = SYSTEM_NAMESPACES.contains(&namespace) || **input.istio_namespaces.of(&one.cluster) == *namespace;
    of_mesh || is_owner(one, input) || settings.propagate_hosts.allow(namespace, &input.host)
}

fn is_owner(one: &HostRoute, input: &HostInput) -> bool {
    input.published.is_some() && one.owner.includes(&one.route.id.namespace)
}

impl RouteOwner {
    fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::LastKnown => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// Why a route for a host does not count for other clusters, whatever it says.
pub(super) fn refusal(one: &HostRoute, input: &HostInput, settings: &Settings) -> Option<String> {
    let (host, namespace) = (&*input.host, &*one.route.id.namespace);
    if host.is_empty() {
        return None;
    }
    // A published host is none of these, whatever the namespaces and domains of clusters are called.
    if let Some(why) = never(input, settings).filter(|_| input.published.is_none()) {
        return Some(why);
    }
    let granted = settings.propagate_hosts.allow(namespace, host);
    let shown = printable(host, MAX_QUOTE_CHARS);
    match &input.published {
        _ if granted => None,
        Some(_) if is_owner(one, input) => None,
        Some((service, _)) => Some(format!(
            "is in the namespace {namespace}, where {} runs no workload of {}, and propagateHosts does not name {namespace}={shown}",
            one.cluster, service.key
        )),
        None => Some(format!(
            "is for {shown}, under which no service is published, and propagateHosts does not name {namespace}={shown}"
        )),
    }
}

/// Why no route for a host is ever copied.
fn never(input: &HostInput, settings: &Settings) -> Option<String> {
    let host = input.host.trim_end_matches('.');
    let shown = printable(&input.host, MAX_QUOTE_CHARS);
    if host.trim_start_matches('*').is_empty() {
        return Some("is for every host".into());
    }
    let suffixes = || settings.additional_endpoint_suffixes.iter().chain([&settings.hostname_suffix]);
    if wildcard_end(host).is_some() && suffixes().any(|suffix| covers_suffix(host, suffix)) {
        return Some(format!("covers, by {shown}, the published hosts of several services"));
    }
    let is_of_domain = |domain: &String| {
        let below = host == *domain || host.strip_suffix(domain.as_str()).is_some_and(|before| before.ends_with('.'));
        below || covers_suffix(host, domain)
    };
    let domain = input.cluster_domains.iter().find(|domain| is_of_domain(&domain.to_ascii_lowercase()));
    if let Some(domain) = domain {
        return Some(format!("is for {shown}, which is in the DNS domain {domain} of a cluster's own Services"));
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if input.is_short_name || last == "svc" {
        return Some(format!("is for {shown}, which clients resolve to a Service of their own cluster"));
    }
    None
}

/// Where a route would take requests that are not its own, in words.
pub(super) fn foreign_use(one: &HostRoute, input: &HostInput, spec: &Value, settings: &Settings) -> Option<String> {
    let scope = Scope {
        home: RouteHome { namespace: &one.route.id.namespace, domain: &one.domain },
        owner: &one.owner,
        is_owner: is_owner(one, input),
        own_hosts: own_hosts(input),
        settings,
    };
    scope.foreign_destination(spec).or_else(|| scope.foreign_match(spec)).or_else(|| scope.foreign_tunnel(spec))
}

/// The hosts of the published service, in lower case.
fn own_hosts(input: &HostInput) -> BTreeSet<String> {
    let of_service = input.published.iter().flat_map(|(_, host)| [host.as_str()]);
    let others = input.own_hosts.iter().map(Host::as_str);
    of_service.chain(others).map(str::to_ascii_lowercase).collect()
}

/// What a route may name.
struct Scope<'a> {
    home: RouteHome<'a>,
    owner: &'a RouteOwner,
    is_owner: bool,
    own_hosts: BTreeSet<String>,
    settings: &'a Settings,
}

impl Scope<'_> {
    /// Whether requests may go to a host.
    fn may_reach(&self, host: &str) -> bool {
        let namespace = self.home.namespace;
        if self.settings.propagate_hosts.allow(namespace, host) {
            return true;
        }
        let whole = self.home.full(host);
        match local_service(&whole, self.home.domain) {
            Some((of, _)) if self.is_owner => of == namespace || self.owner.includes(of),
            Some((of, _)) => of == namespace,
            None => self.is_owner && self.own_hosts.contains(&whole.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    fn foreign_destination(&self, spec: &Value) -> Option<String> {
        let foreign = |host: &str| (!self.may_reach(host)).then(|| printable(&self.home.full(host), MAX_QUOTE_CHARS));
        for (protocol, rule) in rules(spec) {
            let sent = destinations(rule, "route").find_map(foreign);
            if let Some(host) = sent {
                return Some(format!("sends requests to {host}, which is not its own"));
            }
            let mirror = rule.pointer("/mirror/host").and_then(Value::as_str).into_iter();
            let mirrored = mirror.chain(destinations(rule, "mirrors")).find_map(foreign);
            if let Some(host) = mirrored {
                return Some(format!("mirrors requests to {host}, which is not its own"));
            }
            let redirected = rule.pointer("/redirect/authority").and_then(Value::as_str);
            // A port may follow the host.
            let authority = redirected.map(|authority| authority.split(':').next().unwrap_or_default());
            if let Some(host) = authority.filter(|host| protocol == "http" && !host.is_empty()).and_then(foreign) {
                return Some(format!("redirects requests to {host}, which is not its own"));
            }
        }
        None
    }

    /// Connections that a rule would take by address or server name, and not by the host.
    fn foreign_match(&self, spec: &Value) -> Option<String> {
        for (_, rule) in rules(spec) {
            for of in items(rule, "match") {
                let by_address = items(of, "destinationSubnets").next().is_some();
                if by_address && !self.settings.propagate_hosts.allow(self.home.namespace, "*") {
                    return Some("matches connections by destinationSubnets, which may be those to others".into());
                }
                let names = items(of, "sniHosts").filter_map(Value::as_str);
                if let Some(name) = names.into_iter().find(|name| !self.may_reach(name)) {
                    return Some(format!(
                        "matches the server name {}, which is not its own",
                        printable(name, MAX_QUOTE_CHARS)
                    ));
                }
            }
        }
        None
    }

    /// Where a DestinationRule has connections tunnelled to.
    fn foreign_tunnel(&self, spec: &Value) -> Option<String> {
        let of_subsets = items(spec, "subsets").filter_map(|subset| subset.get("trafficPolicy"));
        let policies = spec.get("trafficPolicy").into_iter().chain(of_subsets);
        let with_ports = policies.flat_map(|policy| [policy].into_iter().chain(items(policy, "portLevelSettings")));
        let mut targets = with_ports.filter_map(|policy| policy.pointer("/tunnel/targetHost").and_then(Value::as_str));
        let foreign = targets.find(|host| !self.may_reach(host))?;
        Some(format!("tunnels connections to {}, which is not its own", printable(foreign, MAX_QUOTE_CHARS)))
    }
}

fn rules(spec: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    PROTOCOLS.into_iter().flat_map(move |protocol| items(spec, protocol).map(move |rule| (protocol, rule)))
}

fn destinations<'a>(rule: &'a Value, field: &'static str) -> impl Iterator<Item = &'a str> {
    items(rule, field).filter_map(|share| share.pointer("/destination/host").and_then(Value::as_str))
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope<'a>(owner: &'a RouteOwner, settings: &'a Settings) -> Scope<'a> {
        let home = RouteHome { namespace: "pay", domain: "cluster.local" };
        Scope { home, owner, is_owner: true, own_hosts: ["stage.pay.global".to_owned()].into(), settings }
    }

    #[test]
    fn every_way_by_which_a_route_takes_requests_elsewhere_is_found() {
        let (owner, settings) = (RouteOwner::Namespaces(["pay".into()].into()), Settings::default());
        let scope = scope(&owner, &settings);
        let found = |spec: Value| {
            scope
                .foreign_destination(&spec)
                .or_else(|| scope.foreign_match(&spec))
                .or_else(|| scope.foreign_tunnel(&spec))
                .unwrap_or_default()
        };
        for (spec, expected) in [
            (json!({"http": [{"route": [{"destination": {"host": "evil.example"}}]}]}), "sends"),
            (json!({"http": [{"route": [{"destination": {"host": "a.evil.svc.cluster.local"}}]}]}), "sends"),
            (json!({"tls": [{"route": [{"destination": {"host": "stage.cart.global"}}]}]}), "sends"),
            (json!({"tcp": [{"route": [{"destination": {"host": "evil.example"}}]}]}), "sends"),
            (json!({"http": [{"mirror": {"host": "evil.example"}}]}), "mirrors"),
            (json!({"http": [{"mirrors": [{"destination": {"host": "a.evil.svc.cluster.local"}}]}]}), "mirrors"),
            (json!({"http": [{"redirect": {"authority": "evil.example:8443"}}]}), "redirects"),
            (json!({"tls": [{"match": [{"sniHosts": ["www.google.com"]}]}]}), "matches"),
            (json!({"tcp": [{"match": [{"destinationSubnets": ["0.0.0.0/0"]}]}]}), "matches"),
            (json!({"trafficPolicy": {"tunnel": {"targetHost": "evil.example"}}}), "tunnels"),
            (
                json!({"subsets": [{"trafficPolicy": {"portLevelSettings": [{"tunnel": {"targetHost": "e"}}, {"tunnel": {"targetHost": "e.x"}}]}}]}),
                "tunnels",
            ),
        ] {
            assert!(found(spec.clone()).starts_with(expected), "{spec}: {}", found(spec.clone()));
        }
        for own in [
            json!({"http": [{"route": [{"destination": {"host": "Stage.Pay.Global."}}, {"destination": {"host": "pay-v2"}}],
                             "mirror": {"host": "shadow"}, "fault": {"abort": {"httpStatus": 503}}}]}),
            json!({"http": [{"redirect": {"uri": "/new", "redirectCode": 301}}, {"redirect": {"authority": "stage.pay.global"}}]}),
            json!({"tls": [{"match": [{"sniHosts": ["stage.pay.global"], "port": 443}]}]}),
            json!({"subsets": [{"name": "v1", "trafficPolicy": {}}]}),
        ] {
            assert_eq!(found(own.clone()), "", "{own}");
        }
    }

    #[test]
    fn what_an_operator_allows_may_be_reached() {
        let settings = Settings { propagate_hosts: crate::config::RouteGrants::all(), ..Settings::default() };
        let owner = RouteOwner::Namespaces(BTreeSet::new());
        assert!(scope(&owner, &settings).may_reach("evil.example"));
        assert!(!scope(&owner, &Settings::default()).may_reach("evil.example"));
    }
}
