//! RoutingPolicy → EnvoyFilters in the clusters of the clients (Admiral, docs/admiral-behaviour.md#envoyfilters).
//!
//! Decides the filters of one service for each client of it in each enabled cluster. A filter that proxies would refuse is
//! not made: a proxy that refuses one keeps its old configuration as a whole. Nothing is remembered: filters are found
//! again by their marks.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{ServicePlan, gob_hash::gob_hash};
use crate::{
    api::RoutingPolicySpec,
    config::Settings,
    istio::{Metadata, Object, Opaque, keys},
    model::{ClusterName, Note, NoteKind, PolicyObject, gateway_of_partition},
    plan::input::ServiceInput,
};

/// Key of the configuration that names the plugin's file.
const WASM_PATH: &str = "wasmPath";
/// Pod label of clients that selects their proxies (Admiral, docs/admiral-behaviour.md#envoyfilters).
const CLIENT_LABEL: &str = "assetAlias";
/// Longest label value Kubernetes accepts, in characters.
const MAX_LABEL_VALUE_CHARS: usize = 63;
/// Longest name of a plugin, in characters: leaves room for both hashes and a version in an object name.
const MAX_PLUGIN_CHARS: usize = 150;

type Found = (ClusterName, Arc<PolicyObject<RoutingPolicySpec>>);

/// Adds the filters of a service to its plan.
pub(super) fn add(snapshot: &ServiceInput, settings: &Settings, plan: &mut ServicePlan) {
    for (cluster, policy) in in_force(snapshot, plan) {
        let note = |kind, message: String| {
            let object = policy.id.in_cluster(cluster);
            Note { kind, object, service: Some(snapshot.key.clone()), message }
        };
        let path = match usable(&policy.spec) {
            Ok(path) => path,
            Err(problem) => {
                plan.notes.push(note(NoteKind::PolicyQuestionable, format!("{problem}; it is not in force")));
                continue;
            }
        };
        let mut any = false;
        for (of, client) in &snapshot.routing.clients {
            if !is_enabled(of, settings) {
                continue;
            }
            let Some(labels) = client_labels(client, settings) else {
                let message =
                    format!("no pod can carry the label {CLIENT_LABEL}: {client}; it has no effect on that client");
                plan.notes.push(note(NoteKind::PolicyQuestionable, message));
                continue;
            };
            any = true;
            for version in &settings.envoy_filter_version {
                let name = name_of(policy, snapshot, client, version, settings);
                let spec = spec(&policy.spec, &name, &labels, version, path, settings);
                let metadata = metadata(name, of, (cluster, policy), snapshot, settings);
                plan.cluster_mut(of).others.push(Object::EnvoyFilter(Opaque { metadata, spec }));
            }
        }
        if !any {
            let (kind, message) = match &snapshot.routing.clients_unread {
                None => (
                    NoteKind::PolicyUnmatched,
                    format!("no enabled cluster runs a client of {}; it has no effect", snapshot.key),
                ),
                Some(clusters) => (
                    NoteKind::WorkloadsUnknown,
                    format!(
                        "no cluster that could be read runs a client of {}, and what runs in {clusters} is not known; it has \
                         no effect until then",
                        snapshot.key
                    ),
                ),
            };
            plan.notes.push(note(kind, message));
        }
    }
}

/// The policies that count: of those that would have the same filters, the newest, then the first by cluster and name.
fn in_force<'a>(snapshot: &'a ServiceInput, plan: &mut ServicePlan) -> Vec<&'a Found> {
    let mut by_name: BTreeMap<(String, &str), Vec<&Found>> = BTreeMap::new();
    for found in &snapshot.routing_policies {
        let name = (found.1.spec.plugin.trim().to_ascii_lowercase(), &*found.1.id.name);
        by_name.entry(name).or_default().push(found);
    }
    let mut chosen = Vec::new();
    for mut same in by_name.into_values() {
        same.sort_by_key(|(cluster, policy)| (Reverse(policy.created_seconds), cluster, &policy.id));
        let winner = same[0];
        for (cluster, policy) in same.iter().filter(|(_, policy)| policy.spec != winner.1.spec) {
            plan.notes.push(Note {
                kind: NoteKind::PolicyOutranked,
                object: policy.id.in_cluster(cluster),
                service: Some(snapshot.key.clone()),
                message: format!(
                    "is not in force for {}: {}/{} of {} has the same name and plugin, and is newer or comes first",
                    snapshot.key, winner.1.id.namespace, winner.1.id.name, winner.0
                ),
            });
        }
        chosen.push(winner);
    }
    chosen
}

fn is_enabled(cluster: &ClusterName, settings: &Settings) -> bool {
    settings.routing_policy_enabled_clusters.iter().any(|name| name == "*" || name == cluster.as_str())
}

/// The plugin's file, or why proxies would refuse the filter.
fn usable(spec: &RoutingPolicySpec) -> Result<&str, String> {
    let plugin = spec.plugin.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = plugin.as_bytes();
    if plugin.len() > MAX_PLUGIN_CHARS || !edge(bytes.first()) || !edge(bytes.last()) || !plugin.bytes().all(fits) {
        return Err(format!("the plugin {plugin:?} makes no object name (letters, digits, '-' and '.')"));
    }
    if plugin.contains("..") || plugin.contains(".-") || plugin.contains("-.") {
        return Err(format!(
            "the plugin {plugin:?} makes no object name (each part between dots begins and ends with a letter or digit)"
        ));
    }
    if spec.hosts.iter().all(|host| host.trim().is_empty()) {
        return Err("it lists no hosts".into());
    }
    match spec.config.get(WASM_PATH).map(|path| path.trim()) {
        Some(path) if path.starts_with('/') => Ok(path),
        Some(path) => Err(format!("{WASM_PATH} {path:?} is not the absolute path of a file in the proxy")),
        None => Err(format!("config has no {WASM_PATH}, so there is no plugin to load")),
    }
}

/// The labels that select the pods of a client: its name, or the partition and the alias of a gateway (Admiral,
/// docs/admiral-behaviour.md#partitions).
fn client_labels(client: &str, settings: &Settings) -> Option<BTreeMap<String, String>> {
    let labels = match gateway_of_partition(client, &settings.gateway_asset_aliases) {
        Some((partition, alias)) => BTreeMap::from([
            (settings.identity_partition_key.clone(), partition.to_owned()),
            (CLIENT_LABEL.to_owned(), alias.to_owned()),
        ]),
        None => BTreeMap::from([(CLIENT_LABEL.to_owned(), client.to_owned())]),
    };
    labels.values().all(|value| value.len() <= MAX_LABEL_VALUE_CHARS).then_some(labels)
}

/// Identity and environment as the policy writes them, for the name and the annotation are Admiral's.
fn written_key(
    policy: &PolicyObject<RoutingPolicySpec>,
    snapshot: &ServiceInput,
    settings: &Settings,
) -> (String, String) {
    let text = |map: &BTreeMap<String, String>, key: &str| {
        map.get(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let identity = text(&policy.labels, &settings.workload_identity_key);
    let environment = text(&policy.annotations, &settings.env_key).or_else(|| text(&policy.labels, &settings.env_key));
    (
        identity.unwrap_or_else(|| snapshot.key.identity.to_string()),
        environment.unwrap_or_else(|| snapshot.key.environment.to_string()),
    )
}

fn name_of(
    policy: &PolicyObject<RoutingPolicySpec>,
    snapshot: &ServiceInput,
    client: &str,
    version: &str,
    settings: &Settings,
) -> String {
    let (identity, environment) = written_key(policy, snapshot, settings);
    let plugin = policy.spec.plugin.trim().to_ascii_lowercase();
    let of_policy = gob_hash(&format!("{}{environment}{identity}", policy.id.name));
    format!("{plugin}-dr-{of_policy}-{}-{version}", gob_hash(client))
}

fn metadata(
    name: String,
    of: &ClusterName,
    (cluster, policy): (&ClusterName, &PolicyObject<RoutingPolicySpec>),
    snapshot: &ServiceInput,
    settings: &Settings,
) -> Metadata {
    let (identity, _) = written_key(policy, snapshot, settings);
    let mut metadata = super::metadata(&snapshot.key, name, snapshot.istio_namespaces.of(of), settings);
    metadata.annotations.extend([
        (keys::ROUTING_POLICY_NAME.to_owned(), policy.id.name.to_string()),
        (keys::ROUTING_POLICY_IDENTITY.to_owned(), identity),
        (keys::ROUTING_POLICY.to_owned(), policy.id.in_cluster(cluster).text()),
    ]);
    metadata
}

fn spec(
    policy: &RoutingPolicySpec,
    name: &str,
    labels: &BTreeMap<String, String>,
    version: &str,
    path: &str,
    settings: &Settings,
) -> Value {
    let mut matched = json!({
        "context": "SIDECAR_OUTBOUND",
        "listener": {"filterChain": {"filter": {
            "name": "envoy.filters.network.http_connection_manager",
            "subFilter": {"name": "envoy.filters.http.router"},
        }}},
    });
    if version != "any" {
        matched["proxy"] = json!({"proxyVersion": format!("^{}.*", version.replace('.', "\\."))});
    }
    json!({
        "workloadSelector": {"labels": labels},
        "configPatches": [{
            "applyTo": "HTTP_FILTER",
            "match": matched,
            "patch": {
                "operation": "INSERT_BEFORE",
                "value": {
                    "name": "dynamicRoutingFilterPatch",
                    "typed_config": {
                        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                        "type_url": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                        "value": {"config": {
                            "configuration": {
                                "@type": "type.googleapis.com/google.protobuf.StringValue",
                                "value": told(policy, settings),
                            },
                            "vm_config": {
                                "runtime": "envoy.wasm.runtime.v8",
                                "vm_id": name,
                                "code": {"local": {"filename": path}},
                            },
                        }},
                    },
                },
            },
        }],
    })
}

/// What the plugin is told, line by line, in the order of the keys.
fn told(policy: &RoutingPolicySpec, settings: &Settings) -> String {
    let config =
        policy.config.iter().filter(|(key, _)| *key != WASM_PATH).map(|(key, value)| format!("{key}: {value}"));
    let more = Some(settings.envoy_filter_additional_config.clone()).filter(|line| !line.is_empty());
    let hosts: Vec<&str> = policy.hosts.iter().map(|host| host.trim()).filter(|host| !host.is_empty()).collect();
    let last = [format!("hosts: {}", hosts.join(",")), format!("plugin: {}", policy.plugin.trim())];
    config.chain(more).chain(last).collect::<Vec<_>>().join("\n")
}
