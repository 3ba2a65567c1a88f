//! The EnvoyFilter that makes the proxies of one client load a plugin (Admiral, docs/admiral-behaviour.md#envoyfilters).

use std::collections::BTreeMap;

use super::{gob_hash::gob_hash, metadata};
use crate::{
    api::RoutingPolicySpec,
    config::Settings,
    istio::{
        CodeFile, ConfigPatch, EnvoyFilterSpec, FilterChainMatch, FilterMatch, HttpFilter, ListenerMatch, LocalCode,
        Metadata, Object, Opaque, Patch, PatchMatch, PluginConfig, ProxyMatch, StringValue, SubFilterMatch, VmConfig,
        Wasm, WasmStruct, WorkloadSelector, keys,
    },
    model::{PolicyObject, ServiceKey},
    plan::decide::{ClusterDecision, FilterDecision, ServiceDecision, WASM_PATH},
};

/// Stands for proxies of every version.
const ANY_VERSION: &str = "any";

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    filter: &FilterDecision,
    settings: &Settings,
) -> Object {
    let name = name_of(filter, &service.key, settings);
    let spec = spec(filter, &name, settings);
    let metadata = metadata(name, service, cluster, filter, settings);
    Object::EnvoyFilter(Opaque::new(metadata, &spec))
}

/// Identity and environment as the policy writes them, for the name and the annotation are Admiral's.
fn written_key(policy: &PolicyObject<RoutingPolicySpec>, key: &ServiceKey, settings: &Settings) -> (String, String) {
    let text = |map: &BTreeMap<String, String>, label: &str| {
        map.get(label).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let identity = text(&policy.labels, &settings.workload_identity_key);
    let environment = text(&policy.annotations, &settings.env_key).or_else(|| text(&policy.labels, &settings.env_key));
    (identity.unwrap_or_else(|| key.identity.to_string()), environment.unwrap_or_else(|| key.environment.to_string()))
}

fn name_of(filter: &FilterDecision, key: &ServiceKey, settings: &Settings) -> String {
    let (_, policy) = &filter.policy;
    let (identity, environment) = written_key(policy, key, settings);
    let plugin = policy.spec.plugin.trim().to_ascii_lowercase();
    let of_policy = gob_hash(&format!("{}{environment}{identity}", policy.id.name));
    format!("{plugin}-dr-{of_policy}-{}-{}", gob_hash(&filter.client), filter.proxy_version)
}

fn metadata(
    name: String,
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    filter: &FilterDecision,
    settings: &Settings,
) -> Metadata {
    let (of, policy) = &filter.policy;
    let (identity, _) = written_key(policy, &service.key, settings);
    let mut metadata = metadata::of_service(&service.key, name, &cluster.istio_namespace, settings);
    metadata.annotations.extend([
        (keys::ROUTING_POLICY_NAME.to_owned(), policy.id.name.to_string()),
        (keys::ROUTING_POLICY_IDENTITY.to_owned(), identity),
        (keys::ROUTING_POLICY.to_owned(), policy.id.in_cluster(of).text()),
    ]);
    metadata
}

fn spec(filter: &FilterDecision, name: &str, settings: &Settings) -> EnvoyFilterSpec {
    let version = &filter.proxy_version;
    let proxy =
        (version != ANY_VERSION).then(|| ProxyMatch { proxy_version: format!("^{}.*", version.replace('.', "\\.")) });
    EnvoyFilterSpec {
        workload_selector: WorkloadSelector { labels: filter.client_labels.clone() },
        config_patches: vec![ConfigPatch {
            apply_to: "HTTP_FILTER",
            matches: PatchMatch { context: "SIDECAR_OUTBOUND", listener: http_router(), proxy },
            patch: Patch {
                operation: "INSERT_BEFORE",
                value: HttpFilter { name: "dynamicRoutingFilterPatch", typed_config: wasm(filter, name, settings) },
            },
        }],
    }
}

fn http_router() -> ListenerMatch {
    let filter = FilterMatch {
        name: "envoy.filters.network.http_connection_manager",
        sub_filter: SubFilterMatch { name: "envoy.filters.http.router" },
    };
    ListenerMatch { filter_chain: FilterChainMatch { filter } }
}

fn wasm(filter: &FilterDecision, name: &str, settings: &Settings) -> WasmStruct {
    let configuration = StringValue {
        of: "type.googleapis.com/google.protobuf.StringValue",
        value: configuration(&filter.policy.1.spec, settings),
    };
    let vm_config = VmConfig {
        runtime: "envoy.wasm.runtime.v8",
        vm_id: name.to_owned(),
        code: LocalCode { local: CodeFile { filename: filter.plugin_path.clone() } },
    };
    WasmStruct {
        of: "type.googleapis.com/udpa.type.v1.TypedStruct",
        type_url: "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        value: Wasm { config: PluginConfig { configuration, vm_config } },
    }
}

/// The configuration of the plugin, line by line, in the order of the keys.
fn configuration(policy: &RoutingPolicySpec, settings: &Settings) -> String {
    let config =
        policy.config.iter().filter(|(key, _)| *key != WASM_PATH).map(|(key, value)| format!("{key}: {value}"));
    let more = Some(settings.envoy_filter_additional_config.clone()).filter(|line| !line.is_empty());
    let hosts: Vec<&str> = policy.hosts.iter().map(|host| host.trim()).filter(|host| !host.is_empty()).collect();
    let last = [format!("hosts: {}", hosts.join(",")), format!("plugin: {}", policy.plugin.trim())];
    config.chain(more).chain(last).collect::<Vec<_>>().join("\n")
}
