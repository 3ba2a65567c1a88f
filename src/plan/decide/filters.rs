//! RoutingPolicy → plugins in the clusters of the clients (Admiral, docs/admiral-behaviour.md#envoyfilters).
//!
//! Decides the filters of one service for each client of it in each enabled cluster. A filter that proxies would refuse is
//! not made: a proxy that refuses one keeps its old configuration as a whole. Nor is one that names a plugin, a file or a host that
//! its policy may not. Nothing is remembered: filters are found
//! again by their marks.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{
    decision::{FilterDecision, ServiceDecision},
    filter_rules,
};
use crate::{
    api::RoutingPolicySpec,
    config::Settings,
    model::{ClusterName, Note, NoteKind, PolicyObject, gateway_of_partition},
    plan::input::ServiceInput,
};

/// Key of the configuration that names the plugin's file.
pub(crate) const WASM_PATH: &str = "wasmPath";
/// Pod label of clients that selects their proxies (Admiral, docs/admiral-behaviour.md#envoyfilters).
const CLIENT_LABEL: &str = "assetAlias";
/// Longest label value Kubernetes accepts, in characters.
const MAX_LABEL_VALUE_CHARS: usize = 63;

type PolicyInForce = (ClusterName, Arc<PolicyObject<RoutingPolicySpec>>);

/// Adds the filters of a service to its decision.
pub(super) fn add(service: &ServiceInput, settings: &Settings, decision: &mut ServiceDecision) {
    for found in in_force(service, decision) {
        let (cluster, policy) = found;
        let note = |kind, message: String| {
            let object = policy.id.in_cluster(cluster);
            Note { kind, object, service: Some(service.key.clone()), message }
        };
        let path = match filter_rules::plugin_file(&policy.spec, &service.identity, settings) {
            Ok(path) => path,
            Err(problem) => {
                decision.notes.push(note(NoteKind::PolicyQuestionable, format!("{problem}; it is not in force")));
                continue;
            }
        };
        let mut any = false;
        for (of, client) in service.routing.clients.iter().filter(|(of, _)| is_enabled(of, settings)) {
            let Some(labels) = client_labels(client, settings) else {
                let message =
                    format!("no pod can carry the label {CLIENT_LABEL}: {client}; it has no effect on that client");
                decision.notes.push(note(NoteKind::PolicyQuestionable, message));
                continue;
            };
            any = true;
            let filter = |version: &String| FilterDecision {
                policy: found.clone(),
                client: client.clone(),
                client_labels: labels.clone(),
                proxy_version: version.clone(),
                plugin_path: path.to_owned(),
            };
            decision
                .cluster_mut(of, &service.istio_namespaces)
                .filters
                .extend(settings.envoy_filter_version.iter().map(filter));
        }
        if !any {
            let (kind, message) = without_clients(service);
            decision.notes.push(note(kind, message));
        }
    }
}

fn without_clients(service: &ServiceInput) -> (NoteKind, String) {
    let key = &service.key;
    match &service.routing.clients_unread {
        None => (NoteKind::PolicyUnmatched, format!("no enabled cluster runs a client of {key}; it has no effect")),
        Some(clusters) => (
            NoteKind::WorkloadsUnknown,
            format!(
                "no cluster that could be read runs a client of {key}, and what runs in {clusters} is not known; it has \
                 no effect until then"
            ),
        ),
    }
}

/// The policies that count: of those that would have the same filters, the newest, then the first by cluster and name.
fn in_force<'a>(service: &'a ServiceInput, decision: &mut ServiceDecision) -> Vec<&'a PolicyInForce> {
    let mut by_name: BTreeMap<(String, &str), Vec<&PolicyInForce>> = BTreeMap::new();
    for found in &service.routing_policies {
        let name = (found.1.spec.plugin.trim().to_ascii_lowercase(), &*found.1.id.name);
        by_name.entry(name).or_default().push(found);
    }
    let mut chosen = Vec::new();
    for mut same in by_name.into_values() {
        same.sort_by_key(|(cluster, policy)| (Reverse(policy.created_seconds), cluster, &policy.id));
        let winner = same[0];
        for (cluster, policy) in same.iter().filter(|(_, policy)| policy.spec != winner.1.spec) {
            decision.notes.push(Note {
                kind: NoteKind::PolicyOutranked,
                object: policy.id.in_cluster(cluster),
                service: Some(service.key.clone()),
                message: format!(
                    "is not in force for {}: {}/{} of {} has the same name and plugin, and is newer or comes first",
                    service.key, winner.1.id.namespace, winner.1.id.name, winner.0
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
