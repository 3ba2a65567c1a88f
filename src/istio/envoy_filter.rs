//! EnvoyFilter: a plugin that the proxies of some pods load, as far as Tradewind writes filters.

use std::collections::BTreeMap;

use serde::Serialize;

/// The fields of an EnvoyFilter that Tradewind decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyFilterSpec {
    /// The pods whose proxies load it.
    pub workload_selector: WorkloadSelector,
    /// What is changed in their configuration.
    pub config_patches: Vec<ConfigPatch>,
}

/// Istio's `WorkloadSelector`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadSelector {
    /// Labels of the pods.
    pub labels: BTreeMap<String, String>,
}

/// Istio's `EnvoyConfigObjectPatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigPatch {
    /// `HTTP_FILTER`.
    pub apply_to: &'static str,
    /// Which part of the configuration.
    #[serde(rename = "match")]
    pub matches: PatchMatch,
    /// What becomes of it.
    pub patch: Patch,
}

/// Istio's `EnvoyConfigObjectMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatchMatch {
    /// `SIDECAR_OUTBOUND`.
    pub context: &'static str,
    /// Which filter of which listener.
    pub listener: ListenerMatch,
    /// Which proxies; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyMatch>,
}

/// Istio's `ListenerMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerMatch {
    /// Its chain.
    pub filter_chain: FilterChainMatch,
}

/// Istio's `FilterChainMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilterChainMatch {
    /// A filter of it.
    pub filter: FilterMatch,
}

/// Istio's `FilterMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterMatch {
    /// Name of the network filter.
    pub name: &'static str,
    /// The HTTP filter in it.
    pub sub_filter: SubFilterMatch,
}

/// Istio's `SubFilterMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubFilterMatch {
    /// Its name.
    pub name: &'static str,
}

/// Istio's `ProxyMatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyMatch {
    /// A regular expression for the version of the proxy.
    pub proxy_version: String,
}

/// Istio's `Patch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// `INSERT_BEFORE`.
    pub operation: &'static str,
    /// The filter.
    pub value: HttpFilter,
}

/// Envoy's `HttpFilter` with a Wasm plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpFilter {
    /// Its name.
    pub name: &'static str,
    /// Its configuration.
    pub typed_config: WasmStruct,
}

/// Envoy's `Wasm` filter in a `udpa.type.v1.TypedStruct`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WasmStruct {
    /// `type.googleapis.com/udpa.type.v1.TypedStruct`.
    #[serde(rename = "@type")]
    pub of: &'static str,
    /// The type of the value.
    pub type_url: &'static str,
    /// The value.
    pub value: Wasm,
}

/// Envoy's `envoy.extensions.filters.http.wasm.v3.Wasm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wasm {
    /// The plugin.
    pub config: PluginConfig,
}

/// Envoy's `PluginConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginConfig {
    /// What the plugin is given.
    pub configuration: StringValue,
    /// How it is run.
    pub vm_config: VmConfig,
}

/// `google.protobuf.StringValue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StringValue {
    /// `type.googleapis.com/google.protobuf.StringValue`.
    #[serde(rename = "@type")]
    pub of: &'static str,
    /// The text.
    pub value: String,
}

/// Envoy's `VmConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmConfig {
    /// `envoy.wasm.runtime.v8`.
    pub runtime: &'static str,
    /// Plugins of one id share a virtual machine.
    pub vm_id: String,
    /// The code.
    pub code: LocalCode,
}

/// Envoy's `AsyncDataSource` with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocalCode {
    /// The file.
    pub local: CodeFile,
}

/// A file in the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeFile {
    /// Its path.
    pub filename: String,
}
