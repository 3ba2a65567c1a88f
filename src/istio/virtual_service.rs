//! VirtualService: how requests for a host are routed, as far as Tradewind writes routes of its own.

use serde::Serialize;
use serde_json::Value;

/// The fields of a VirtualService that Tradewind decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceSpec {
    /// The hosts.
    pub hosts: Vec<String>,
    /// Gateways it applies to; absent for sidecars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<Vec<String>>,
    /// Routes of HTTP requests, the first that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpEntry>,
    /// Routes of TLS connections that are passed on as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsRoute>,
    /// Namespaces that see it; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
}

/// An entry of `http`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HttpEntry {
    /// A route that Tradewind decides.
    Route(HttpRoute),
    /// A user's route, as it is.
    OfUser(Value),
}

/// Istio's `HTTPRoute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HttpRoute {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The requests it is for, any of these; empty for all.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Where they go.
    pub route: Vec<RouteDestination>,
}

/// Istio's `HTTPMatchRequest`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HttpMatch {
    /// The authority that clients ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<StringMatch>,
    /// The port that clients use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Istio's `StringMatch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StringMatch {
    /// A regular expression (RE2) that matches the whole text.
    pub regex: String,
}

/// Istio's `TLSRoute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TlsRoute {
    /// The connections it is for, any of these.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatch>,
    /// Where they go.
    pub route: Vec<RouteDestination>,
}

/// Istio's `TLSMatchAttributes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsMatch {
    /// The port of the gateway.
    pub port: u16,
    /// The server names that clients ask for.
    pub sni_hosts: Vec<String>,
}

/// Istio's `HTTPRouteDestination` and `RouteDestination`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RouteDestination {
    /// Where.
    pub destination: Destination,
    /// Weight beside the others; absent for a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// Istio's `Destination`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Name of a Service or ServiceEntry.
    pub host: String,
    /// Subset of its DestinationRule; absent for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Its port.
    pub port: PortSelector,
}

/// Istio's `PortSelector`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PortSelector {
    /// The number.
    pub number: u16,
}

impl RouteDestination {
    /// A port of a host.
    #[must_use]
    pub fn new(host: String, port: u16, weight: Option<u32>) -> Self {
        Self { destination: Destination { host, subset: None, port: PortSelector { number: port } }, weight }
    }
}
