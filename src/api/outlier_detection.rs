//! OutlierDetection: when the endpoints of a service are taken out, for all its hosts.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Says when endpoints of a service are taken out of traffic. Wins over the GlobalTrafficPolicy (reference behaviour §8, §10).
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "OutlierDetection",
    plural = "outlierdetections",
    shortname = "od",
    shortname = "ods",
    namespaced,
    doc = "Says when endpoints of a service are taken out of traffic.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Errors","type":"integer","jsonPath":".spec.outlier_config.consecutive_gateway_errors"}"#,
    printcolumn = r#"{"name":"Ejection","type":"integer","jsonPath":".spec.outlier_config.base_ejection_time"}"#,
    printcolumn = r#"{"name":"Interval","type":"integer","jsonPath":".spec.outlier_config.interval"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct OutlierDetectionSpec {
    /// The three values; without them the object has no effect.
    #[serde(default, rename = "outlier_config", skip_serializing_if = "Option::is_none")]
    pub outlier_config: Option<OutlierConfig>,
    /// Identity and environment, where the labels do not name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// When an endpoint is taken out, and for how long. Values count as given, 0 too (reference behaviour §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutlierConfig {
    /// How long an endpoint stays out, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub base_ejection_time: i64,
    /// Gateway errors in a row that take it out.
    #[serde(default)]
    pub consecutive_gateway_errors: u32,
    /// Time between analyses, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub interval: i64,
}
