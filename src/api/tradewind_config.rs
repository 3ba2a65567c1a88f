//! TradewindConfig: what operators switch while the controller runs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditions;

/// What operators switch while Tradewind runs: reading only, suspended services, clusters that prefer their network load
/// balancer.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tradewind.io",
    version = "v1alpha1",
    kind = "TradewindConfig",
    plural = "tradewindconfigs",
    shortname = "twc",
    namespaced,
    doc = "What operators switch while Tradewind runs.",
    status = "TradewindConfigStatus",
    printcolumn = r#"{"name":"Read Only","type":"boolean","jsonPath":".spec.readOnly"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TradewindConfigSpec {
    /// Whether nothing is written anywhere.
    #[serde(default)]
    pub read_only: bool,
    /// What is left as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub suspend: Vec<Suspension>,
    /// Clusters whose gateway behind a network load balancer is preferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nlb_enabled_clusters: Vec<String>,
}

/// What is left as it stands: all that matches every name that is given. At least one must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.identity) && self.identity != '') || (has(self.environment) && self.environment != '') || \
     (has(self.cluster) && self.cluster != '')",
    "a suspension must name an identity, an environment or a cluster"
))]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Only this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Only this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Only in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Why, for those who wonder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Status of a TradewindConfig.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TradewindConfigStatus {
    /// What holds of it, by type.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// The generation of the object that this tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
