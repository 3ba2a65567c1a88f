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

/// Sets how new endpoints of a service warm up. Read in the dependency namespace of the hub (reference behaviour §10).
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
    printcolumn = r#"{"name":"Slow Start","type":"string","jsonPath":".spec.edgeService.slowStartConfig[*].duration"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficConfigSpec {
    /// Environments that it speaks of. Accepted for compatibility and ignored: each slow start names its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload_envs: Vec<String>,
    /// Settings of the service's edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_service: Option<EdgeService>,
    /// Quotas. Accepted for compatibility and ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_group: Option<Unread>,
}

/// Settings of a service's edge. All but the slow start is accepted for compatibility and ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeService {
    /// How new endpoints warm up, by environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub slow_start_config: Vec<SlowStartConfig>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic_routing: Vec<Unread>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Unread>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Unread>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Unread>,
    /// Ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_groups: Vec<Unread>,
}

/// How long new endpoints of some environments take to their full share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
// As in the reference's schema; read from files, both may be missing.
#[schemars(extend("required" = ["duration", "workloadEnvSelectors"]))]
pub struct SlowStartConfig {
    /// Environments that warm up so.
    #[serde(default)]
    pub workload_env_selectors: Vec<String>,
    /// How long, such as `60s`; counted in whole seconds.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = slow_start())]
    pub duration: String,
}

/// What the reference's schema names and nothing reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unread(pub Map<String, Value>);

impl JsonSchema for Unread {
    fn schema_name() -> Cow<'static, str> {
        "Unread".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Status of a TrafficConfig: the reference's fields beside conditions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficConfigStatus {
    /// What there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Version of the configuration that was last applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_applied_config_version: String,
    /// When this was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_update_time: Option<String>,
    /// Whether it is in force.
    #[serde(default)]
    pub status: bool,
    /// Whether it is switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Since when it is switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub disabled_time: Option<String>,
    /// What holds of it, by type.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// The generation of the object that this tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
