//! ServiceEntry: where a host can be reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Metadata;

/// `networking.istio.io/v1` ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: ServiceEntrySpec,
}

/// The fields of a ServiceEntry that Tradewind decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Exactly one host.
    pub hosts: Vec<String>,
    /// One virtual address, or none where Istio allocates it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Ports that clients use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// `MESH_INTERNAL`.
    pub location: String,
    /// `DNS`.
    pub resolution: String,
    /// Endpoints as seen from the cluster that holds the object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Namespaces that see it; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
    /// Subject names that servers must present; empty for no check beyond the trust domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Number that clients use.
    pub number: u16,
    /// Name, unique within the entry; endpoints refer to it.
    pub name: String,
    /// Protocol in Admiral's spelling: `http`, `http2`, `grpc`, `grpc-web`, `tcp`, ….
    pub protocol: String,
}

/// One endpoint (Istio's `WorkloadEntry`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// IP address or host name.
    pub address: String,
    /// Port name to number at the address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `region/zone`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub locality: String,
    /// Network it stands in; empty for that of whoever reads it. A gateway that serves its own network does not see others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Share of the traffic relative to the other endpoints of its tier; 0 for unset.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(weight: &u32) -> bool {
    *weight == 0
}
