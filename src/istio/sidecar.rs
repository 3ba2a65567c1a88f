//! Sidecar: what the proxies of a namespace know of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Metadata;

/// `networking.istio.io/v1` Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: SidecarSpec,
}

/// The fields of a Sidecar that Tradewind decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidecarSpec {
    /// Listeners for outgoing traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Egress>,
}

/// Istio's `IstioEgressListener`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Egress {
    /// `namespace/host` pairs.
    pub hosts: Vec<String>,
    /// What else a user's listener says: port, address, capture mode. Tradewind's own say nothing else.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}
