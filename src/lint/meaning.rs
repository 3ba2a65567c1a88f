//! What an API server accepts although it has no effect, or another than it seems, as far as the object alone shows.
//!
//! Says in advance what the notes of a running controller say; decides nothing about them.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{
        ClientConnectionConfigSpec, DependencyProxySpec, DependencySpec, GlobalTrafficPolicySpec, IdentityClaimSpec,
        LbType, OutlierDetectionSpec, RoutingPolicySpec, TradewindConfigSpec, TrafficConfigSpec, TrafficPolicyEntry,
    },
    config::Settings,
    manifest::{ManifestProblem, words},
    model::{ClaimRule, ClusterName, Environment, Host, Identity, Kind, Labels, ServiceKey},
};

/// Environment of an object that names none.
const DEFAULT_ENVIRONMENT: &str = "default";
/// Labels of a TrafficConfig (Admiral, docs/admiral-behaviour.md#trafficconfig).
const ASSET: &str = "asset";
const ENV: &str = "env";

/// What is questionable about an object that fits its schema.
pub(super) fn of(kind: Kind, object: &Value, settings: &Settings) -> Vec<ManifestProblem> {
    let map = |name: &str| serde_json::from_value::<Labels>(object["metadata"][name].clone()).unwrap_or_default();
    let (labels, annotations) = (map("labels"), map("annotations"));
    let mut remarks = Remarks(Vec::new());
    let named = Named { labels: &labels, annotations: &annotations, settings };
    match kind {
        Kind::ClientConnectionConfig => remarks.with(object, |remarks, spec| connections(remarks, &named, &spec)),
        Kind::Dependency => remarks.with(object, |remarks, spec| dependency(remarks, &spec)),
        Kind::DependencyProxy => remarks.with(object, |remarks, spec| proxy(remarks, &spec)),
        Kind::GlobalTrafficPolicy => remarks.with(object, |remarks, spec| policy(remarks, &named, &spec)),
        Kind::OutlierDetection => remarks.with(object, |remarks, spec| outliers(remarks, &named, &spec)),
        Kind::RoutingPolicy => remarks.with(object, |remarks, spec| routing(remarks, &named, &spec)),
        Kind::IdentityClaim => remarks.with(object, |remarks, spec| claim(remarks, &spec)),
        Kind::TradewindConfig => remarks.with(object, |remarks, spec| operators(remarks, &spec)),
        Kind::TrafficConfig => remarks.with(object, |remarks, spec| slow_start(remarks, &named, &spec)),
        _ => {}
    }
    remarks.0
}

/// Whether an object that is read in one namespace only names another. Without a namespace, `kubectl --namespace` may say it.
pub(super) fn of_namespace(kind: Kind, object: &Value, settings: &Settings) -> Option<ManifestProblem> {
    let namespace = object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty())?;
    let read_in = &settings.dependency_namespace;
    (Kind::OF_HUB.contains(&kind) && namespace != read_in).then(|| {
        let message = format!(
            "{} {} is read in the namespace {read_in} only (dependencyNamespace); it has no effect in {namespace}",
            if kind == Kind::IdentityClaim { "an" } else { "a" },
            kind.as_str()
        );
        ManifestProblem::warning("metadata.namespace", message)
    })
}

struct Remarks(Vec<ManifestProblem>);

impl Remarks {
    fn say(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ManifestProblem::warning(path, message));
    }

    /// Judges the spec, typed as the controller reads it.
    fn with<S: DeserializeOwned>(&mut self, object: &Value, judge: impl FnOnce(&mut Self, S)) {
        match serde_json::from_value(object["spec"].clone()) {
            Ok(spec) => judge(self, spec),
            // The observer has read it before.
            Err(error) => self.say("spec", words::of_decoder(&error.to_string())),
        }
    }

    fn identity(&mut self, path: impl Into<String>, text: &str, what: &str) -> Option<Identity> {
        match Identity::parse(text) {
            Ok(identity) => Some(identity),
            Err(error) => {
                self.say(path, format!("{what} {error}"));
                None
            }
        }
    }
}

/// How an object names the service it is for.
struct Named<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    settings: &'a Settings,
}

impl Named<'_> {
    fn text<'m>(map: &'m Labels, key: &str) -> Option<&'m str> {
        map.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The service, by the label `key` or the selector. Says so where there is none.
    fn service(&self, remarks: &mut Remarks, key: &str, selector: Option<&Labels>) -> Option<ServiceKey> {
        let env_key = &self.settings.env_key;
        let found = Self::text(self.labels, key).map(|text| (format!("metadata.labels.{key}"), text));
        let selected = || Some((format!("spec.selector.{key}"), Self::text(selector?, key)?));
        let Some((path, identity)) = found.or_else(selected) else {
            let or = if selector.is_some() { " nor the selector" } else { "" };
            let no = if selector.is_some() { "neither the label" } else { "no label" };
            remarks.say("metadata.labels", format!("{no}{or} {key:?} names an identity; it has no effect"));
            return None;
        };
        let identity = remarks.identity(path, identity, "the identity");
        let places = [
            ("metadata.annotations", Some(self.annotations), env_key.as_str()),
            ("metadata.labels", Some(self.labels), env_key),
            ("spec.selector", selector, env_key),
            ("metadata.labels", Some(self.labels), ENV),
            ("spec.selector", selector, ENV),
        ];
        let environment = places.into_iter().find_map(|(at, map, key)| Some((at, key, Self::text(map?, key)?)));
        let (at, key, environment) = environment.unwrap_or(("metadata", env_key, DEFAULT_ENVIRONMENT));
        match Environment::parse(environment) {
            Ok(environment) => Some(ServiceKey { identity: identity?, environment }),
            Err(error) => {
                remarks.say(format!("{at}.{key}"), format!("the environment {error}"));
                None
            }
        }
    }
}

fn policy(remarks: &mut Remarks, named: &Named<'_>, spec: &GlobalTrafficPolicySpec) {
    let settings = named.settings;
    if let Some(priority) =
        Named::text(named.labels, &settings.priority_key).filter(|text| text.parse::<i64>().is_err())
    {
        let path = format!("metadata.labels.{}", settings.priority_key);
        remarks.say(path, format!("the priority {priority:?} is no whole number; it counts as 0"));
    }
    if spec.policy.is_empty() {
        remarks.say("spec.policy", "lists no entry; it has no effect");
    }
    let service = named.service(remarks, &settings.admiral_crd_identity_label, Some(&spec.selector));
    // The case of a host is a matter of the workloads; it never distinguishes hosts.
    let default = service.as_ref().and_then(|key| match Host::of_service(key, &settings.hostname_suffix, false) {
        Ok(host) => Some((key, host)),
        Err(error) => {
            remarks.say("metadata", error.to_string());
            None
        }
    });
    let mut seen: BTreeMap<Host, usize> = BTreeMap::new();
    for (index, entry) in spec.policy.iter().enumerate() {
        let path = format!("spec.policy[{index}]");
        shares(remarks, &path, entry);
        let Some(host) = default.as_ref().and_then(|(key, host)| host_of(remarks, &path, entry, key, host)) else {
            continue;
        };
        if let Some(earlier) = seen.insert(host.clone(), index) {
            let message = format!("is for the host {host}, as is spec.policy[{earlier}]; the last one counts");
            remarks.say(path, message);
        }
    }
}

/// The host of an entry (Admiral, docs/admiral-behaviour.md#hosts-of-a-policy).
fn host_of(
    remarks: &mut Remarks,
    path: &str,
    entry: &TrafficPolicyEntry,
    key: &ServiceKey,
    default: &Host,
) -> Option<Host> {
    let (prefix, dns) = (entry.dns_prefix.trim(), entry.dns.trim());
    let names_default = prefix.eq_ignore_ascii_case(DEFAULT_ENVIRONMENT)
        || prefix.eq_ignore_ascii_case(key.environment.as_str())
        || dns.eq_ignore_ascii_case(default.as_str());
    if names_default {
        return Some(default.clone());
    }
    if prefix.is_empty() {
        remarks
            .say(format!("{path}.dns"), format!("{dns:?} is not the service's host {default}; the entry is ignored"));
        return None;
    }
    let host = default.with_prefix(prefix);
    host.map_err(|error| remarks.say(format!("{path}.dnsPrefix"), format!("{error}; the entry is ignored"))).ok()
}

/// Checks the regions of an entry.
fn shares(remarks: &mut Remarks, path: &str, entry: &TrafficPolicyEntry) {
    let targets = &entry.target;
    let mut weights: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        let region = target.region.trim();
        if let Some((earlier, _)) = weights.insert(region, (index, target.weight)) {
            let message = format!("lists the region {region}, as does target[{earlier}]; the last one counts");
            remarks.say(format!("{path}.target[{index}].region"), message);
        }
    }
    let sum: i128 = weights.values().map(|(_, weight)| i128::from(*weight)).sum();
    match entry.lb_type {
        LbType::Failover if targets.is_empty() => {
            remarks.say(path, "lbType is FAILOVER without targets; no locality preference is set");
        }
        LbType::Failover if sum == 0 => {
            remarks.say(format!("{path}.target"), "no region has a weight above 0; no locality preference is set");
        }
        LbType::Failover if sum != 100 => {
            remarks
                .say(format!("{path}.target"), format!("the weights sum to {sum}, not to 100; they count as shares"));
        }
        LbType::Topology if sum != 0 => {
            remarks.say(path, "lbType is TOPOLOGY, which takes no weights; FAILOVER (1) does");
        }
        _ => {}
    }
}

fn dependency(remarks: &mut Remarks, spec: &DependencySpec) {
    let source = remarks.identity("spec.source", &spec.source, "the source");
    if spec.destinations.is_empty() {
        remarks.say("spec", "lists no destination; it has no effect");
    }
    let mut seen = BTreeSet::new();
    for (index, destination) in spec.destinations.iter().enumerate() {
        let path = format!("spec.destinations[{index}]");
        let Some(destination) = remarks.identity(path.clone(), destination, "the destination") else { continue };
        if Some(&destination) == source.as_ref() {
            remarks.say(path, format!("{destination} is the source itself; that entry is ignored"));
        } else if !seen.insert(destination.clone()) {
            remarks.say(path, format!("{destination} is listed twice"));
        }
    }
    if !spec.destinations.is_empty() && seen.is_empty() {
        remarks.say("spec.destinations", "no destination counts; it has no effect");
    }
}

fn proxy(remarks: &mut Remarks, spec: &DependencyProxySpec) {
    if let Some(destination) = &spec.destination {
        remarks.identity("spec.destination.identity", &destination.identity, "the identity");
        let suffix = destination.dns_suffix.trim();
        if let Some(error) =
            Some(suffix).filter(|suffix| !suffix.is_empty()).and_then(|suffix| Host::parse(suffix).err())
        {
            remarks.say("spec.destination.dns_suffix", error.to_string());
        }
        for (index, prefix) in destination.dns_prefixes.iter().enumerate() {
            if let Err(error) = Host::parse(prefix.trim()) {
                remarks.say(format!("spec.destination.dns_prefixes[{index}]"), error.to_string());
            }
        }
    }
    if let Some(proxy) = &spec.proxy {
        remarks.identity("spec.proxy.identity", &proxy.identity, "the identity");
    }
}

fn outliers(remarks: &mut Remarks, named: &Named<'_>, spec: &OutlierDetectionSpec) {
    named.service(remarks, &named.settings.admiral_crd_identity_label, Some(&spec.selector));
    if spec.outlier_config.is_none() {
        remarks.say("spec", "has no outlier_config; it has no effect");
    }
}

fn connections(remarks: &mut Remarks, named: &Named<'_>, spec: &ClientConnectionConfigSpec) {
    named.service(remarks, &named.settings.admiral_crd_identity_label, None);
    let pool = spec.connection_pool.clone().unwrap_or_default();
    let sets_nothing =
        pool.tcp.unwrap_or_default() == Default::default() && pool.http.unwrap_or_default() == Default::default();
    if sets_nothing && spec.tunnel.is_none() {
        remarks.say("spec", "sets nothing of connectionPool, and no tunnel; it has no effect");
    }
}

fn routing(remarks: &mut Remarks, named: &Named<'_>, spec: &RoutingPolicySpec) {
    named.service(remarks, &named.settings.workload_identity_key, None);
    for (index, host) in spec.hosts.iter().enumerate() {
        if host.trim().is_empty() {
            remarks.say(format!("spec.hosts[{index}]"), "is empty");
        }
    }
}

fn slow_start(remarks: &mut Remarks, named: &Named<'_>, spec: &TrafficConfigSpec) {
    match Named::text(named.labels, ASSET) {
        Some(asset) => drop(remarks.identity(format!("metadata.labels.{ASSET}"), asset, "the asset")),
        None => remarks.say("metadata.labels", format!("the label {ASSET:?} is missing; it has no effect")),
    }
    let slow_starts = spec.edge_service.iter().flat_map(|edge| &edge.slow_start_config);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, slow_start) in slow_starts.enumerate() {
        let path = format!("spec.edgeService.slowStartConfig[{index}].workloadEnvSelectors");
        if slow_start.workload_env_selectors.is_empty() {
            remarks.say(path.clone(), "selects no environment; it has no effect");
        }
        for environment in &slow_start.workload_env_selectors {
            if let Some(earlier) = seen.insert(environment, index).filter(|earlier| *earlier != index) {
                let message = format!("selects {environment:?}, as does spec.edgeService.slowStartConfig[{earlier}]");
                remarks.say(path.clone(), message);
            }
        }
    }
    if spec.edge_service.as_ref().is_none_or(|edge| edge.slow_start_config.is_empty()) {
        remarks.say("spec", "has no edgeService.slowStartConfig; it has no effect");
    }
}

fn claim(remarks: &mut Remarks, spec: &IdentityClaimSpec) {
    if let Err(unusable) = ClaimRule::parse(spec) {
        remarks.say("spec", format!("{}; the claim is not used", unusable.reason));
    }
}

fn operators(remarks: &mut Remarks, spec: &TradewindConfigSpec) {
    let cluster = |remarks: &mut Remarks, path: String, name: &str| {
        if let Err(error) = ClusterName::parse(name) {
            remarks.say(path, format!("the cluster {error}"));
        }
    };
    for (index, suspension) in spec.suspend.iter().enumerate() {
        let path = |field: &str| format!("spec.suspend[{index}].{field}");
        if let Some(identity) = &suspension.identity {
            remarks.identity(path("identity"), identity, "the identity");
        }
        if let Some(error) = suspension.environment.as_ref().and_then(|text| Environment::parse(text).err()) {
            remarks.say(path("environment"), format!("the environment {error}"));
        }
        if let Some(name) = &suspension.cluster {
            cluster(remarks, path("cluster"), name);
        }
    }
    for (index, name) in spec.nlb_enabled_clusters.iter().enumerate() {
        cluster(remarks, format!("spec.nlbEnabledClusters[{index}]"), name);
    }
    for (index, name) in spec.leaving_clusters.iter().enumerate() {
        cluster(remarks, format!("spec.leavingClusters[{index}]"), name);
    }
}
