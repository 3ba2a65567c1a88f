//! Dependency: which identities a client calls.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Declares that one identity calls others. Read in the dependency namespace of the hub (reference behaviour §11).
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "Dependency",
    plural = "dependencies",
    namespaced,
    doc = "Declares that one identity calls others.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.source"}"#,
    printcolumn = r#"{"name":"Destinations","type":"string","jsonPath":".spec.destinations"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DependencySpec {
    /// Identity of the client.
    #[serde(default)]
    pub source: String,
    /// Accepted for compatibility and ignored: the label is named by a setting.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity_label: String,
    /// Identities that the client calls.
    #[serde(default)]
    pub destinations: Vec<String>,
}
