//! DependencyProxy: one identity that stands before another.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyStatus;

/// Declares that calls of one identity go through a proxy of another. The reference declares the kind and has no code for
/// it (reference behaviour §11.6).
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "DependencyProxy",
    plural = "dependencyproxies",
    shortname = "dp",
    namespaced,
    doc = "Declares that calls of one identity go through a proxy of another.",
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
    /// Who is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ProxiedDestination>,
    /// Who takes the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<DestinationProxy>,
}

/// Who is called through a proxy, and by which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxiedDestination {
    /// Identity that is called.
    #[serde(default)]
    pub identity: String,
    /// Suffix of the hosts that lead to the proxy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns_suffix: String,
    /// Prefixes of hosts beside the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_prefixes: Vec<String>,
}

/// Who takes the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationProxy {
    /// Identity of the proxy.
    #[serde(default)]
    pub identity: String,
}
