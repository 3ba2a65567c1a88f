//! TradewindConfig: what operators switch while the controller runs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditions;

/// Switches that operators set while Tradewind runs: read-only mode, suspended services, and clusters whose network load
/// balancer is preferred.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tradewind.io",
    version = "v1alpha1",
    kind = "TradewindConfig",
    plural = "tradewindconfigs",
    shortname = "twc",
    namespaced,
    doc = "Switches that operators set while Tradewind runs.",
    status = "TradewindConfigStatus",
    printcolumn = r#"{"name":"Read Only","type":"boolean","jsonPath":".spec.readOnly"}"#,
    printcolumn = r#"{"name":"Suspended","type":"string","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TradewindConfigSpec {
    /// Whether Tradewind writes nothing to any cluster.
    #[serde(default)]
    pub read_only: bool,
    /// Services, environments and clusters whose objects Tradewind leaves unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub suspend: Vec<Suspension>,
    /// Clusters whose endpoints use the gateway behind the network load balancer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nlb_enabled_clusters: Vec<String>,
    /// Clusters that leave the fleet at once when their registration is gone, without a grace and also several together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub leaving_clusters: Vec<String>,
}

/// One suspension. It applies to everything that matches all of the names given; at least one of them is required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.identity) && self.identity != '') || (has(self.environment) && self.environment != '') || \
     (has(self.cluster) && self.cluster != '')",
    "a suspension must name an identity, an environment or a cluster"
))]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Suspend only this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Suspend only this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Suspend only in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Reason of the suspension, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Observed state of the object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TradewindConfigStatus {
    /// Conditions of the object, one per type.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// Generation of the object that the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
