//! ClientConnectionConfig: the connections that clients open to a service.

use std::borrow::Cow;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PolicyStatus, rules};

/// Limits of the connections that clients open to a service. The labels of the object name the service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "ClientConnectionConfig",
    plural = "clientconnectionconfigs",
    shortname = "ccc",
    namespaced,
    doc = "Limits the connections that clients open to a service.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Requests","type":"integer","jsonPath":".spec.connectionPool.http.http2MaxRequests"}"#,
    printcolumn = r#"{"name":"Per Connection","type":"integer","jsonPath":".spec.connectionPool.http.maxRequestsPerConnection"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClientConnectionConfigSpec {
    /// Limits of TCP connections and of HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<PoolSettings>,
    /// Tunnels the connections through a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelSettings>,
}

/// Limits of TCP connections and of HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolSettings {
    /// Limits of TCP connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpSettings>,
    /// Limits of HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSettings>,
}

/// Limits of TCP connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpSettings {
    /// Longest lifetime of a connection, such as `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rules::duration_or_empty())]
    pub max_connection_duration: Option<String>,
    /// Maximum number of connections to a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i32>,
    /// Timeout for opening a connection, such as `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<String>,
    /// TCP keep-alive probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// TCP keep-alive probes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpKeepalive {
    /// Number of unanswered probes after which the connection is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// Idle time before the first probe, such as `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Time between two probes, such as `75s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// Limits of HTTP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// Maximum number of active requests to a host. 0 sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_max_requests: Option<i32>,
    /// Maximum number of requests over one connection. 0 uses the controller's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests_per_connection: Option<i32>,
    /// How long a connection may be idle before it is closed, such as `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rules::duration_or_empty())]
    pub idle_timeout: Option<String>,
    /// Maximum number of requests that wait for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1_max_pending_requests: Option<i32>,
    /// Maximum number of concurrent retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<i32>,
    /// Whether HTTP/1.1 connections are upgraded to HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// Whether the protocol of the client is used for the connection to the service, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_client_protocol: Option<bool>,
}

/// Whether HTTP/1.1 connections are upgraded to HTTP/2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum H2UpgradePolicy {
    /// As the mesh does.
    #[default]
    Default,
    /// Never.
    DoNotUpgrade,
    /// Always.
    Upgrade,
    /// Something else; kept so that a note can quote it.
    Unknown(String),
}

impl Serialize for H2UpgradePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_i32(0),
            Self::DoNotUpgrade => serializer.serialize_i32(1),
            Self::Upgrade => serializer.serialize_i32(2),
            Self::Unknown(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for H2UpgradePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match text.to_ascii_uppercase().as_str() {
            "0" | "DEFAULT" | "NULL" => Self::Default,
            "1" | "DO_NOT_UPGRADE" => Self::DoNotUpgrade,
            "2" | "UPGRADE" => Self::Upgrade,
            _ => Self::Unknown(text),
        })
    }
}

impl JsonSchema for H2UpgradePolicy {
    fn schema_name() -> Cow<'static, str> {
        "H2UpgradePolicy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "enum": [0, 1, 2, "DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"],
        })
    }
}

/// Tunnels the connections through a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunnelSettings {
    /// HTTP method that opens the tunnel: `CONNECT` or `POST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Host at the end of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_host: Option<String>,
    /// Port of that host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2_upgrade_policy_takes_numbers_and_words_and_keeps_the_rest_for_the_note() {
        let read = |text: &str| serde_json::from_str::<H2UpgradePolicy>(text).unwrap();
        assert_eq!(read("0"), H2UpgradePolicy::Default);
        assert_eq!(read("1"), H2UpgradePolicy::DoNotUpgrade);
        assert_eq!(read("\"upgrade\""), H2UpgradePolicy::Upgrade);
        assert_eq!(read("3"), H2UpgradePolicy::Unknown("3".into()));
    }
}
