//! RoutingPolicy: a plugin in the proxies of a service's clients.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Puts a plugin into the proxies of a service's clients (reference behaviour §16).
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "RoutingPolicy",
    plural = "routingpolicies",
    shortname = "rp",
    shortname = "rps",
    namespaced,
    doc = "Puts a plugin into the proxies of a service's clients.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Plugin","type":"string","jsonPath":".spec.plugin"}"#,
    printcolumn = r#"{"name":"Hosts","type":"string","jsonPath":".spec.hosts"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct RoutingPolicySpec {
    /// Name of the plugin.
    #[serde(default)]
    pub plugin: String,
    /// Hosts whose requests it sees.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What the plugin is told. `wasmPath` names the plugin's file, and is not told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}
