//! RoutingPolicy: a plugin in the proxies of a service's clients.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Adds a Wasm plugin to the sidecar proxies of the clients of a service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "RoutingPolicy",
    plural = "routingpolicies",
    shortname = "rp",
    shortname = "rps",
    namespaced,
    doc = "Adds a Wasm plugin to the sidecar proxies of the clients of a service.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Plugin","type":"string","jsonPath":".spec.plugin"}"#,
    printcolumn = r#"{"name":"Hosts","type":"string","jsonPath":".spec.hosts"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = ("has(self.plugin) && self.plugin != ''", "plugin must name the plugin"),
    validation = ("has(self.hosts) && self.hosts.exists(h, h != '')", "hosts must name a host"),
)]
pub struct RoutingPolicySpec {
    /// Name of the plugin.
    #[serde(default)]
    pub plugin: String,
    /// Hosts whose requests the plugin receives.
    #[serde(default)]
    #[schemars(length(max = 10000))]
    pub hosts: Vec<String>,
    /// Configuration of the plugin. `wasmPath` is the path of the plugin's file, and is not passed to the plugin.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}
