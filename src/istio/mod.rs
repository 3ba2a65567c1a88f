//! The narrow part of Istio's networking API that Tradewind writes and reads back.
//!
//! Field names and meanings are those of `networking.istio.io/v1`. Unknown fields are
//! dropped on reading, so that a digest covers exactly what Tradewind decides.

mod connection_pool;
mod destination_rule;
mod envoy_filter;
mod names;
mod namespace_rule;
mod object;
mod service_entry;
mod shape;
mod sidecar;
mod virtual_service;

pub use crate::model::keys;
pub use connection_pool::{ConnectionPool, HttpPool, Keepalive, TcpPool, Tunnel};
pub use destination_rule::{
    DestinationRule, DestinationRuleSpec, Distribute, Failover, LoadBalancer, LocalityLbSetting, OutlierDetection, Tls,
    TrafficPolicy,
};
pub use envoy_filter::{
    CodeFile, ConfigPatch, EnvoyFilterSpec, FilterChainMatch, FilterMatch, HttpFilter, ListenerMatch, LocalCode, Patch,
    PatchMatch, PluginConfig, ProxyMatch, StringValue, SubFilterMatch, VmConfig, Wasm, WasmStruct, WorkloadSelector,
};
pub use names::{IN_CLUSTER_SUFFIX, NAMESPACE_RULE_SUFFIXES};
pub use namespace_rule::{NamespaceRuleSpec, NamespaceTrafficPolicy, RuleSubset};
pub use object::{Metadata, Object, Opaque, OwnedKeys, Owner};
pub use service_entry::{Endpoint, Port, ServiceEntry, ServiceEntrySpec};
pub use shape::{Shape, changes, list_changes};
pub use sidecar::{Egress, Sidecar, SidecarSpec};
pub use virtual_service::{
    Destination, HttpEntry, HttpMatch, HttpRoute, PortSelector, RouteDestination, StringMatch, TlsMatch, TlsRoute,
    VirtualServiceSpec,
};
