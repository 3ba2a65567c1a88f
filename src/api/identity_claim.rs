//! IdentityClaim: who may run an identity, and who may declare policies for it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditions;

/// Says which workloads count for an identity, and which namespaces may declare policies for it. Tradewind reads it in the
/// dependency namespace of the hub cluster, and nowhere else.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tradewind.io",
    version = "v1alpha1",
    kind = "IdentityClaim",
    plural = "identityclaims",
    shortname = "idc",
    namespaced,
    doc = "Says which workloads count for an identity, and which namespaces may declare policies for it.",
    status = "IdentityClaimStatus",
    printcolumn = r#"{"name":"Identity","type":"string","jsonPath":".spec.identity"}"#,
    printcolumn = r#"{"name":"Environments","type":"string","jsonPath":".spec.environments"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = (
        "has(self.identity) && self.identity.matches('^([a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?|([a-zA-Z0-9][-.a-zA-Z0-9]*)?[*])$')",
        "identity must be a name, or the beginning of names with one * behind it"
    ),
    validation = ("has(self.holders) && self.holders.size() > 0", "holders must name who holds the identity"),
)]
#[serde(rename_all = "camelCase")]
pub struct IdentityClaimSpec {
    /// Identity that is claimed: a name, or the beginning of names with one `*` behind it. For each identity the longest name
    /// that fits counts; an exact name comes before any beginning.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub identity: String,
    /// Environments for which the claim holds. All if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 253)))]
    pub environments: Vec<String>,
    /// Workloads that count for the identity.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub holders: Vec<IdentityHolder>,
    /// Namespaces whose policies count for the identity, in the clusters of the holders. Those of the holders if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    pub policy_namespaces: Vec<String>,
}

/// Workloads that count for an identity: those in one of the namespaces, of one of the clusters, that run as one of the
/// service accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = ("has(self.clusters) && self.clusters.size() > 0", "clusters must name clusters, or have *"),
    validation = ("has(self.namespaces) && self.namespaces.size() > 0", "namespaces must name namespaces"),
    validation = ("!has(self.namespaces) || self.namespaces.all(n, !n.contains('*'))", "namespaces are named exactly, without *"),
)]
#[serde(rename_all = "camelCase")]
pub struct IdentityHolder {
    /// Names of clusters, or `*` for all.
    #[serde(default)]
    #[schemars(length(max = 10000), inner(length(max = 253)))]
    pub clusters: Vec<String>,
    /// Names of namespaces.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    pub namespaces: Vec<String>,
    /// Names of service accounts. Any account of the namespaces if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 253)))]
    pub service_accounts: Vec<String>,
}

/// Observed state of the object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityClaimStatus {
    /// Conditions of the object, one per type.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// Generation of the object that the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
