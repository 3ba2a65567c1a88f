//! Dependency: which identities a client calls.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Declares which identities a client calls. Tradewind reads it in the dependency namespace of the hub cluster.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "Dependency",
    plural = "dependencies",
    namespaced,
    doc = "Declares which identities a client calls.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.source"}"#,
    printcolumn = r#"{"name":"Destinations","type":"string","jsonPath":".spec.destinations"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = ("has(self.source) && self.source != ''", "source must name who calls"),
    validation = ("!has(self.destinations) || self.destinations.all(d, d != '')", "no destination may be empty"),
)]
#[serde(rename_all = "camelCase")]
pub struct DependencySpec {
    /// Identity of the client.
    #[serde(default)]
    pub source: String,
    /// Accepted for compatibility with Admiral and ignored: a setting of the controller names the label.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity_label: String,
    /// Identities that the client calls.
    #[serde(default)]
    #[schemars(length(max = 10000))]
    pub destinations: Vec<String>,
}
