//! Our CRDs: group `admiral.io/v1alpha1`, so that an Admiral user's manifests apply as they are, and one of our own.

mod client_connection_config;
mod dependency;
mod dependency_proxy;
mod global_traffic_policy;
mod outlier_detection;
mod routing_policy;
mod rules;
mod status;
mod tradewind_config;
mod traffic_config;

pub use client_connection_config::{
    ClientConnectionConfig, ClientConnectionConfigSpec, ConnectionPool, H2UpgradePolicy, HttpSettings, TcpKeepalive,
    TcpSettings, Tunnel,
};
pub use dependency::{Dependency, DependencySpec};
pub use dependency_proxy::{DependencyProxy, DependencyProxySpec, DestinationProxy, ProxiedDestination};
pub use global_traffic_policy::{
    GlobalTrafficPolicy, GlobalTrafficPolicySpec, LbType, PolicyOutlierDetection, TrafficPolicyEntry, TrafficTarget,
};
pub use outlier_detection::{OutlierConfig, OutlierDetection, OutlierDetectionSpec};
pub use routing_policy::{RoutingPolicy, RoutingPolicySpec};
pub use status::{Conditions, PolicyStatus};
pub use tradewind_config::{Suspension, TradewindConfig, TradewindConfigSpec, TradewindConfigStatus};
pub use traffic_config::{EdgeService, SlowStartConfig, TrafficConfig, TrafficConfigSpec, TrafficConfigStatus, Unread};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

/// Every CRD that Tradewind serves, in the order of their names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        ClientConnectionConfig::crd(),
        Dependency::crd(),
        DependencyProxy::crd(),
        GlobalTrafficPolicy::crd(),
        OutlierDetection::crd(),
        RoutingPolicy::crd(),
        TradewindConfig::crd(),
        TrafficConfig::crd(),
    ]
    .into_iter()
    .map(without_defaults)
    .collect()
}

/// Drops defaults from a schema, for the API server would write them into users' objects, which then differ from their
/// manifests; and permission of null, so that the server drops nulls as it does with the reference's schemas, and a rule
/// never sees one. What the server cannot say of numbers is said otherwise.
fn without_defaults(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                // A property may be called "default" or "enum"; beside a type they are parts of a schema.
                if fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string") {
                    fields.remove("default");
                    fields.remove("nullable");
                    // A format that the server does not know: it would warn of it and check nothing.
                    if fields.get("format").is_some_and(|format| format == "uint32") {
                        fields.insert("format".to_owned(), "int64".into());
                        fields.insert("maximum".to_owned(), u32::MAX.into());
                    }
                    if let Some(Value::Array(words)) = fields.get_mut("enum") {
                        words.retain(|word| !word.is_null());
                    }
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(&crd).expect("a CRD serializes");
    strip(&mut value);
    serde_json::from_value(value).expect("a CRD without defaults is a CRD")
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_needs_to_be_there_to_be_read() {
        fn read<T: Default + PartialEq + Debug + Serialize + DeserializeOwned>() {
            assert_eq!(serde_json::from_value::<T>(json!({})).unwrap(), T::default());
        }
        read::<ClientConnectionConfigSpec>();
        read::<DependencySpec>();
        read::<DependencyProxySpec>();
        read::<GlobalTrafficPolicySpec>();
        read::<OutlierDetectionSpec>();
        read::<RoutingPolicySpec>();
        read::<TradewindConfigSpec>();
        read::<TrafficConfigSpec>();
        read::<ProxiedDestination>();
        read::<DestinationProxy>();
        read::<TrafficPolicyEntry>();
        read::<OutlierConfig>();
        read::<ConnectionPool>();
        read::<SlowStartConfig>();
        read::<Suspension>();
        read::<PolicyStatus>();
        read::<TrafficConfigStatus>();
        read::<TradewindConfigStatus>();
    }

    #[test]
    fn what_nobody_reads_is_kept() {
        let spec = json!({"edgeService": {"routes": [{"name": "all", "timeout": 5000}]}, "quotaGroup": {"appQuotaGroups": []}});
        let read: TrafficConfigSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), spec);
    }

    #[test]
    fn a_server_would_neither_write_defaults_nor_keep_nulls() {
        for crd in crds() {
            let text = serde_json::to_string(&crd).unwrap();
            assert!(!text.contains("\"default\":") && !text.contains("\"nullable\":"), "{text}");
            assert!(!text.contains("\"uint32\""), "a format that servers do not know: {text}");
        }
    }
}
