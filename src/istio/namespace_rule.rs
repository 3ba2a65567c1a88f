//! DestinationRules for all Services of a namespace, which say less than those of a host.

use serde::Serialize;

use super::{ConnectionPool, LoadBalancer, OutlierDetection, Tls};

/// The fields of such a rule that Tradewind decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRuleSpec {
    /// A wildcard over the Services of the namespace.
    pub host: String,
    /// How traffic to them is treated; absent where only subsets say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_policy: Option<NamespaceTrafficPolicy>,
    /// Named variants of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<RuleSubset>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
}

/// Istio's `Subset` with a traffic policy alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSubset {
    /// Its name.
    pub name: String,
    /// How traffic to it is treated.
    pub traffic_policy: NamespaceTrafficPolicy,
}

/// Istio's `TrafficPolicy`, as far as it is meant for a whole namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceTrafficPolicy {
    /// Choice among endpoints.
    pub load_balancer: LoadBalancer,
    /// Limits of connections.
    pub connection_pool: ConnectionPool,
    /// When an endpoint is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints; absent for that of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}
