//! DestinationRule: how the endpoints of a host are chosen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConnectionPool, Metadata, Tunnel};

/// `networking.istio.io/v1` DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRule {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: DestinationRuleSpec,
}

/// The fields of a DestinationRule that Tradewind decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// Host of the ServiceEntry it belongs to.
    pub host: String,
    /// How traffic to the host is treated.
    pub traffic_policy: TrafficPolicy,
    /// Namespaces that see it; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
}

/// Istio's `TrafficPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Choice among endpoints.
    pub load_balancer: LoadBalancer,
    /// Limits of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<Box<ConnectionPool>>,
    /// When an endpoint is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints.
    pub tls: Tls,
    /// A tunnel through a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// Istio's `LoadBalancerSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// `LEAST_REQUEST` or `ROUND_ROBIN`.
    pub simple: String,
    /// Slow start of new endpoints, as a duration (`45s`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_duration_secs: Option<String>,
    /// Choice among localities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality_lb_setting: Option<LocalityLbSetting>,
}

/// Istio's `LocalityLoadBalancerSetting`. Istio refuses `distribute` and `failover` together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLbSetting {
    /// Overrides the mesh-wide switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Shares per client locality.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distribute: Vec<Distribute>,
    /// First fallback per client region.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<Failover>,
}

/// Shares of traffic from one locality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Distribute {
    /// Client locality: `*` or `region/*`.
    pub from: String,
    /// Region to percent; the sum is 100.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to: BTreeMap<String, u32>,
}

/// Where traffic of one region goes first when that region is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failover {
    /// Client region.
    pub from: String,
    /// Region that comes next; differs from `from`.
    pub to: String,
}

/// Istio's `OutlierDetection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// How long an endpoint stays out, as a duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<String>,
    /// Gateway errors (502, 503, 504) in a row that take it out; 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_gateway_errors: Option<u32>,
    /// 5xx answers in a row that take it out; 0 for never.
    #[serde(rename = "consecutive5xxErrors", skip_serializing_if = "Option::is_none")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between analyses, as a duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Largest share of endpoints that may be out, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ejection_percent: Option<u32>,
}

/// Istio's `ClientTLSSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// `ISTIO_MUTUAL`.
    pub mode: String,
}
