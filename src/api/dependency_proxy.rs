//! DependencyProxy: one identity that is called in place of another.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Routes the calls of one identity through a proxy, which is a workload of another identity.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "DependencyProxy",
    plural = "dependencyproxies",
    shortname = "dp",
    namespaced,
    doc = "Routes the calls of one identity through a proxy of another identity.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Destination","type":"string","jsonPath":".spec.destination.identity"}"#,
    printcolumn = r#"{"name":"Proxy","type":"string","jsonPath":".spec.proxy.identity"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = (
        "has(self.destination) && has(self.destination.identity) && self.destination.identity != ''",
        "destination.identity must name who is called"
    ),
    validation = (
        "has(self.proxy) && has(self.proxy.identity) && self.proxy.identity != ''",
        "proxy.identity must name who takes the calls"
    ),
)]
pub struct DependencyProxySpec {
    /// The identity that is called, and the hosts it is called by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ProxiedDestination>,
    /// The identity that receives the calls instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<DestinationProxy>,
}

/// The identity that is called through a proxy, and the hosts it is called by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxiedDestination {
    /// Identity that is called.
    #[serde(default)]
    pub identity: String,
    /// Suffix of the hosts that lead to the proxy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns_suffix: String,
    /// Prefixes of further hosts, in addition to the default host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_prefixes: Vec<String>,
}

/// The identity that receives the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationProxy {
    /// Identity of the proxy.
    #[serde(default)]
    pub identity: String,
}
