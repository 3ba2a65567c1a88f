//! Which identity is the proxy of which, from all DependencyProxies together (Admiral,
//! docs/admiral-behaviour.md#dependencyproxy).
//!
//! Who depends on the destination thereby depends on the proxy. Decides who is whose proxy and under which hosts; never
//! what is written for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Registry, control_planes,
    dirty::{self, Trigger},
    identity::environment_of,
    queries,
};
use crate::{
    api::DependencyProxySpec,
    config::Settings,
    model::{ClusterName, Environment, Host, Identity, ObjectId, PolicyObject, ServiceKey, WorkKey},
};

/// One DependencyProxy as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyDecl {
    pub(super) destination: Identity,
    /// The service that takes the calls.
    pub(super) proxy: ServiceKey,
    /// The hosts that lead to it, the one without prefix first.
    pub(super) hosts: Vec<Host>,
}

/// What one object says, and what is wrong with it, in words.
pub(super) fn read(
    configured: &PolicyObject<DependencyProxySpec>,
    settings: &Settings,
) -> (Option<ProxyDecl>, Vec<String>) {
    if configured.ignored {
        return (None, Vec::new());
    }
    let destination = configured.spec.destination.clone().unwrap_or_default();
    let proxy = configured.spec.proxy.clone().unwrap_or_default();
    let parsed = || {
        let refuse = |what: &str, error: &dyn std::fmt::Display| format!("the {what} {error}; it is ignored");
        let environment = environment_of(&configured.labels, &configured.annotations, settings);
        let environment = Environment::parse(environment).map_err(|error| refuse("environment", &error))?;
        let identity = Identity::parse(&destination.identity).map_err(|error| refuse("destination", &error))?;
        let by = Identity::parse(&proxy.identity).map_err(|error| refuse("proxy", &error))?;
        if by == identity {
            return Err(format!("{by} is its own proxy; it is ignored"));
        }
        let suffix = destination.dns_suffix.trim().trim_matches('.');
        if suffix.is_empty() {
            return Err("the destination has no dns_suffix; it is ignored".to_owned());
        }
        if settings.additional_endpoint_suffixes.iter().any(|of| of.eq_ignore_ascii_case(suffix)) {
            return Err(format!(
                "{suffix} is an additional suffix of all services (additionalEndpointSuffixes); it is ignored"
            ));
        }
        let host = format!("{environment}.{identity}.{suffix}").to_ascii_lowercase();
        let host = Host::parse(&host).map_err(|error| format!("{error}; it is ignored"))?;
        Ok((identity, ServiceKey { identity: by, environment }, host))
    };
    let (identity, by, first) = match parsed() {
        Ok(parsed) => parsed,
        Err(problem) => return (None, vec![problem]),
    };
    let mut problems = Vec::new();
    let mut hosts = vec![first.clone()];
    for prefix in &destination.dns_prefixes {
        match first.with_prefix(prefix.trim()) {
            Ok(host) if !hosts.contains(&host) => hosts.push(host),
            Ok(_) => {}
            Err(error) => problems.push(format!("the prefix {prefix:?}: {error}; it is ignored")),
        }
    }
    (Some(ProxyDecl { destination: identity, proxy: by, hosts }), problems)
}

/// All DependencyProxies. They are few, so each question goes through them all.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    all: BTreeMap<(ClusterName, ObjectId), ProxyDecl>,
}

impl Proxies {
    /// Answers what the object said before.
    fn set(&mut self, of: (ClusterName, ObjectId), now: Option<ProxyDecl>) -> Option<ProxyDecl> {
        match now {
            Some(proxy) => self.all.insert(of, proxy),
            None => self.all.remove(&of),
        }
    }

    pub(super) fn of_cluster(&self, cluster: &ClusterName) -> Vec<ObjectId> {
        self.all.keys().filter(|(of, _)| of == cluster).map(|(_, id)| id.clone()).collect()
    }

    /// The identities behind a proxy.
    pub(super) fn behind<'a>(&'a self, proxy: &'a Identity) -> impl Iterator<Item = &'a Identity> {
        self.all.values().filter(move |found| found.proxy.identity == *proxy).map(|found| &found.destination)
    }

    /// The proxies of a destination.
    pub(super) fn before<'a>(&'a self, destination: &'a Identity) -> impl Iterator<Item = &'a Identity> {
        self.all.values().filter(move |found| found.destination == *destination).map(|found| &found.proxy.identity)
    }

    /// The hosts of the proxies of a destination.
    pub(super) fn hosts_before<'a>(&'a self, destination: &'a Identity) -> impl Iterator<Item = &'a Host> {
        self.all.values().filter(move |found| found.destination == *destination).flat_map(|found| &found.hosts)
    }

    /// The services that are proxies.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.all.values().map(|found| &found.proxy)
    }

    /// The services that take the calls of a host.
    pub(super) fn taking<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a ServiceKey> {
        let takes = move |found: &&ProxyDecl| found.hosts.iter().any(|of| of.as_str() == host);
        self.all.values().filter(takes).map(|found| &found.proxy)
    }

    /// The objects for which a service is the proxy, each with the object that has one of its hosts and comes first.
    pub(super) fn of<'a>(
        &'a self,
        key: &'a ServiceKey,
    ) -> impl Iterator<Item = (&'a (ClusterName, ObjectId), &'a ProxyDecl, Option<&'a (ClusterName, ObjectId)>)> {
        self.all.iter().filter(move |(_, found)| found.proxy == *key).map(|(at, found)| {
            let shares = |other: &ProxyDecl| other.hosts.iter().any(|host| found.hosts.contains(host));
            let earlier = self.all.range(..at).find(|(_, other)| shares(other)).map(|(at, _)| at);
            (at, found, earlier)
        })
    }
}

/// Replaces what one DependencyProxy says, and marks whom it concerns.
pub(super) fn set_proxy(registry: &Registry, cluster: &ClusterName, id: &ObjectId, now: Option<ProxyDecl>) {
    let mut dependencies = registry.dependencies.write();
    let before = dependencies.proxies.set((cluster.clone(), id.clone()), now.clone());
    if before == now {
        return;
    }
    let changed: Vec<ProxyDecl> = before.into_iter().chain(now).collect();
    // Another object may have waited for a host.
    let mut keys: BTreeSet<ServiceKey> = dependencies.proxies.keys().cloned().collect();
    let sources: BTreeSet<Identity> =
        changed.iter().flat_map(|proxy| dependencies.declared_sources_of(&proxy.destination)).collect();
    let naming = changed.iter().flat_map(|proxy| dependencies.naming(&proxy.destination)).cloned();
    registry.dependencies.review_again(naming);
    drop(dependencies);
    registry.queue.wake();
    for proxy in &changed {
        keys.insert(proxy.proxy.clone());
        keys.extend(queries::keys_of(registry, &proxy.proxy.identity));
    }
    let mut dirty: BTreeSet<WorkKey> = keys.into_iter().map(WorkKey::Service).collect();
    dirty.extend(control_planes::sidecars_running(registry, &sources));
    dirty::mark_for(registry, dirty, &Trigger::Object(cluster.clone(), id.clone()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::{DestinationProxy, ProxiedDestination},
        model::Kind,
    };

    fn said(destination: &str, suffix: &str, prefixes: &[&str], proxy: &str) -> (Option<ProxyDecl>, Vec<String>) {
        let configured = PolicyObject {
            id: ObjectId::new(Kind::DependencyProxy, "admiral", "x"),
            created_seconds: 0,
            ignored: false,
            labels: [("env".to_owned(), "Stage".to_owned())].into(),
            annotations: Default::default(),
            spec: Arc::new(DependencyProxySpec {
                destination: Some(ProxiedDestination {
                    identity: destination.into(),
                    dns_suffix: suffix.into(),
                    dns_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
                }),
                proxy: Some(DestinationProxy { identity: proxy.into() }),
            }),
        };
        let additional_endpoint_suffixes = vec!["mesh.example".to_owned()];
        read(&configured, &Settings { additional_endpoint_suffixes, ..Settings::default() })
    }

    #[test]
    fn hosts_are_in_lower_case_and_the_one_without_prefix_comes_first() {
        let (proxy, problems) = said("Payments", "xyz", &["West", "a_b", "west"], "gateway");
        let hosts: Vec<String> = proxy.unwrap().hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["stage.payments.xyz", "west.stage.payments.xyz"]);
        assert!(problems.len() == 1 && problems[0].contains("a_b"), "{problems:?}");
    }

    #[test]
    fn an_invalid_dependency_proxy_gets_a_reason() {
        for (destination, suffix, proxy, what) in [
            ("", "xyz", "gateway", "destination is empty"),
            ("payments", "xyz", "", "proxy is empty"),
            ("payments", " ", "gateway", "no dns_suffix"),
            ("payments", "x_z", "gateway", "'_'"),
            ("payments", "xyz", "Payments", "its own proxy"),
            ("payments", "Mesh.example", "gateway", "an additional suffix"),
        ] {
            let (proxy, problems) = said(destination, suffix, &[], proxy);
            assert!(proxy.is_none() && problems[0].contains(what), "{problems:?}");
        }
    }
}
