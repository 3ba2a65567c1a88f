//! Users' VirtualServices and DestinationRules: for which hosts each is, who sees it, and whether it asks to be copied.
//!
//! Says what Istio takes such an object for; never what becomes of it.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::keys;
use super::{Kind, Route};

/// The gateway of a VirtualService that means all sidecars (Istio documentation, "Virtual Service", `gateways`).
pub(crate) const MESH: &str = "mesh";

/// The lists of routes in a VirtualService.
pub(crate) const PROTOCOLS: [&str; 3] = ["http", "tls", "tcp"];

/// Namespaces of the platform in every cluster, in addition to that of Istio: no tenant writes there, and nothing of them is copied
/// (Admiral, docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
pub const SYSTEM_NAMESPACES: [&str; 2] = ["istio-system", "kube-system"];

/// Default domain of a cluster's own Services.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// A host as Istio understands it in an object of `namespace`: a name without dots is a Service beside the object
/// (Istio documentation, "Virtual Service", `hosts`), and `domain` is that of its cluster.
#[must_use]
pub fn full_host<'a>(host: &'a str, namespace: &str, domain: &str) -> Cow<'a, str> {
    if host.is_empty() || host == "*" || host.contains(['.', ':']) {
        return Cow::Borrowed(host);
    }
    Cow::Owned(format!("{host}.{namespace}.svc.{domain}"))
}

/// Namespace and name of the Service that a whole host name means inside a cluster of this domain.
#[must_use]
pub fn local_service<'a>(host: &'a str, domain: &str) -> Option<(&'a str, &'a str)> {
    let service = host.trim_end_matches('.').strip_suffix(domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = service.split_once('.')?;
    (!name.is_empty() && !namespace.is_empty() && !namespace.contains('.')).then_some((namespace, name))
}

impl Route {
    /// Its hosts as they are compared: whole and in lower case. One that has none is for no host, which is the empty one.
    #[must_use]
    pub fn full_hosts(&self) -> Vec<Arc<str>> {
        if self.hosts.is_empty() {
            return vec!["".into()];
        }
        let mut hosts: Vec<Arc<str>> = self
            .hosts
            .iter()
            .map(|host| full_host(host, &self.id.namespace, CLUSTER_DOMAIN).to_ascii_lowercase().as_str().into())
            .collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Whether every namespace of its cluster sees it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.export_to.is_empty() || self.export_to.iter().any(|namespace| namespace == "*")
    }

    /// Whether its owner asks that it be copied into the other clusters, or that it not be.
    #[must_use]
    pub fn asks(&self) -> Option<bool> {
        match self.labels.get(keys::PROPAGATE).map(String::as_str) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    fn gateways(&self) -> impl Iterator<Item = &str> {
        let gateways = self.spec.get("gateways").and_then(|gateways| gateways.as_array());
        gateways.into_iter().flatten().filter_map(|gateway| gateway.as_str())
    }

    /// Whether sidecars follow it: a DestinationRule, or a VirtualService of the gateway `mesh`, which is the default.
    #[must_use]
    pub fn is_for_sidecars(&self) -> bool {
        self.id.kind != Kind::VirtualService
            || self.gateways().any(|gateway| gateway == MESH)
            || self.gateways().next().is_none()
    }

    /// Whether a route of it shares its requests or connections among destinations.
    #[must_use]
    pub fn shares(&self) -> bool {
        shares(self.id.kind, &self.spec)
    }
}

/// Whether a route in the spec of an object of that kind shares its requests or connections among destinations.
#[must_use]
pub(crate) fn shares(kind: Kind, spec: &Value) -> bool {
    let rules = |protocol: &str| spec.get(protocol).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shares = |rule: &Value| rule.get("route").and_then(Value::as_array).is_some_and(|route| route.len() > 1);
    kind == Kind::VirtualService && PROTOCOLS.into_iter().flat_map(rules).any(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_dots_are_services_in_the_objects_namespace() {
        assert_eq!(full_host("payments", "team", CLUSTER_DOMAIN), "payments.team.svc.cluster.local");
        for whole in ["stage.payments.global", "*", "*.global", "payments.team", "::1", ""] {
            assert_eq!(full_host(whole, "team", CLUSTER_DOMAIN), whole);
        }
    }

    #[test]
    fn a_service_name_is_distinguished_from_other_hosts() {
        assert_eq!(local_service("payments.team.svc.cluster.local", CLUSTER_DOMAIN), Some(("team", "payments")));
        assert_eq!(local_service("payments.team.svc.west.example.", "west.example"), Some(("team", "payments")));
        for other in
            ["a.b.c.svc.cluster.local", "svc.cluster.local", "stage.payments.global", ".team.svc.cluster.local"]
        {
            assert_eq!(local_service(other, CLUSTER_DOMAIN), None, "{other}");
        }
    }
}
