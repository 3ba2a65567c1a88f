//! OutlierDetection: when the endpoints of a service are taken out, for all its hosts.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// When endpoints of a service are ejected from load balancing, for all hosts of the service. It overrides the outlier
/// detection of a GlobalTrafficPolicy. The labels of the object, or its selector, name the service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "OutlierDetection",
    plural = "outlierdetections",
    shortname = "od",
    shortname = "ods",
    namespaced,
    doc = "Sets when endpoints of a service are ejected from load balancing.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Errors","type":"integer","jsonPath":".spec.outlier_config.consecutive_gateway_errors"}"#,
    printcolumn = r#"{"name":"Ejection","type":"integer","jsonPath":".spec.outlier_config.base_ejection_time"}"#,
    printcolumn = r#"{"name":"Interval","type":"integer","jsonPath":".spec.outlier_config.interval"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct OutlierDetectionSpec {
    /// The three values of the outlier detection. An object without them has no effect.
    #[serde(default, rename = "outlier_config", skip_serializing_if = "Option::is_none")]
    pub outlier_config: Option<OutlierConfig>,
    /// Labels that name the identity and the environment, for an object whose own labels do not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// When an endpoint is ejected, and for how long. A value of 0 is used as it is; it does not stand for a default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutlierConfig {
    /// How long an endpoint stays ejected, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub base_ejection_time: i64,
    /// Number of consecutive gateway errors after which an endpoint is ejected.
    #[serde(default)]
    pub consecutive_gateway_errors: u32,
    /// Time between two ejection sweeps, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub interval: i64,
}
