//! TrafficConfig: how new endpoints of a service warm up. What else the kind can hold is kept as it is and never read.

use std::borrow::Cow;

use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Conditions, rules};

fn slow_start() -> Rule {
    let rule = format!("{} && duration(self) >= duration('1ms')", rules::IS_DURATION);
    Rule::new(rule).message("must be a duration of at least 1ms, such as 60s")
}

/// How new endpoints of a service warm up. Tradewind reads it in the dependency namespace of the hub cluster. The label
/// `asset` names the service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "TrafficConfig",
    plural = "trafficconfigs",
    shortname = "tc",
    namespaced,
    doc = "Sets how new endpoints of a service warm up.",
    status = "TrafficConfigStatus",
    printcolumn = r#"{"name":"Asset","type":"string","jsonPath":".metadata.labels.asset"}"#,
    printcolumn = r#"{"name":"Slow Start","type":"string","jsonPath":".spec.edgeService.slowStartConfig"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficConfigSpec {
    /// Environments of the service. Accepted for compatibility with Admiral and ignored: each slow start names its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload_envs: Vec<String>,
    /// Settings of the service's endpoints; only the slow start is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_service: Option<EdgeService>,
    /// Quotas. Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_group: Option<UnreadFields>,
}

/// Settings of a service's endpoints. All but the slow start is accepted for compatibility with Admiral and ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeService {
    /// How new endpoints warm up, by environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub slow_start_config: Vec<SlowStartConfig>,
    /// Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic_routing: Vec<UnreadFields>,
    /// Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<UnreadFields>,
    /// Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<UnreadFields>,
    /// Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<UnreadFields>,
    /// Accepted for compatibility with Admiral and ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_groups: Vec<UnreadFields>,
}

/// How long the traffic to a new endpoint grows until it has its full share, in the environments named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
// As in Admiral's schema; read from files, both may be missing.
#[schemars(extend("required" = ["duration", "workloadEnvSelectors"]))]
pub struct SlowStartConfig {
    /// Environments that this slow start applies to.
    #[serde(default)]
    pub workload_env_selectors: Vec<String>,
    /// Duration of the warm-up, in whole seconds, such as `60s`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = slow_start())]
    pub duration: String,
}

/// What Admiral's schema names and nothing reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnreadFields(pub Map<String, Value>);

impl JsonSchema for UnreadFields {
    fn schema_name() -> Cow<'static, str> {
        "Unread".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Observed state of the object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficConfigStatus {
    /// Part of the schema of Admiral: a message for readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Part of the schema of Admiral: version of the configuration that was last applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_applied_config_version: String,
    /// Part of the schema of Admiral: time of the last update of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_update_time: Option<String>,
    /// Part of the schema of Admiral: whether the configuration is in force.
    #[serde(default)]
    pub status: bool,
    /// Part of the schema of Admiral: whether the configuration is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Part of the schema of Admiral: when the configuration was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub disabled_time: Option<String>,
    /// Conditions of the object, one per type.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// Generation of the object that the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
