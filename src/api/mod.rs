//! The CRDs: group `admiral.io/v1alpha1`, so that an Admiral user's manifests apply unchanged, and Tradewind's own of group `tradewind.io`.

mod client_connection_config;
mod dependency;
mod dependency_proxy;
mod global_traffic_policy;
mod identity_claim;
mod outlier_detection;
mod routing_policy;
mod rules;
mod status;
mod tradewind_config;
mod traffic_config;

pub use client_connection_config::{
    ClientConnectionConfig, ClientConnectionConfigSpec, H2UpgradePolicy, HttpSettings, PoolSettings, TcpKeepalive,
    TcpSettings, TunnelSettings,
};
pub use dependency::{Dependency, DependencySpec};
pub use dependency_proxy::{DependencyProxy, DependencyProxySpec, DestinationProxy, ProxiedDestination};
pub use global_traffic_policy::{
    GlobalTrafficPolicy, GlobalTrafficPolicySpec, LbType, PolicyOutlierDetection, TrafficPolicyEntry, TrafficTarget,
};
pub use identity_claim::{IdentityClaim, IdentityClaimSpec, IdentityClaimStatus, IdentityHolder};
pub use outlier_detection::{OutlierConfig, OutlierDetection, OutlierDetectionSpec};
pub use routing_policy::{RoutingPolicy, RoutingPolicySpec};
pub use status::{Conditions, PolicyStatus};
pub use tradewind_config::{Suspension, TradewindConfig, TradewindConfigSpec, TradewindConfigStatus};
pub use traffic_config::{
    EdgeService, SlowStartConfig, TrafficConfig, TrafficConfigSpec, TrafficConfigStatus, UnreadFields,
};

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
        IdentityClaim::crd(),
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
/// manifests; and permission of null, so that the server drops nulls as it does with Admiral's schemas, and a rule
/// never sees one. Number formats that the server does not know are expressed otherwise.
fn without_defaults(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                // A property may be called "default" or "enum"; next to a type they are parts of a schema.
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
        read::<IdentityClaimSpec>();
        read::<IdentityHolder>();
        read::<IdentityClaimStatus>();
        read::<OutlierDetectionSpec>();
        read::<RoutingPolicySpec>();
        read::<TradewindConfigSpec>();
        read::<TrafficConfigSpec>();
        read::<ProxiedDestination>();
        read::<DestinationProxy>();
        read::<TrafficPolicyEntry>();
        read::<OutlierConfig>();
        read::<PoolSettings>();
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

    /// Every description of a schema, with the path of the field that it describes.
    fn descriptions(path: &str, schema: &Value, found: &mut Vec<(String, String)>) {
        if let Some(text) = schema["description"].as_str() {
            found.push((path.to_owned(), text.to_owned()));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            descriptions(&format!("{path}.{name}"), property, found);
        }
        for inner in [&schema["items"], &schema["additionalProperties"]] {
            if inner.is_object() {
                descriptions(&format!("{path}[]"), inner, found);
            }
        }
    }

    /// The schema of each version of each CRD, and the CRD itself as JSON.
    fn schemas() -> Vec<(String, Value, Value)> {
        let versions = crds().into_iter().flat_map(|crd| {
            let kind = crd.spec.names.kind.clone();
            crd.spec.versions.into_iter().map(move |version| (kind.clone(), serde_json::to_value(version).unwrap()))
        });
        versions.map(|(kind, version)| (kind, version["schema"]["openAPIV3Schema"].clone(), version)).collect()
    }

    #[test]
    fn descriptions_need_no_other_document() {
        let mut bad = Vec::new();
        for (kind, schema, _) in schemas() {
            let mut found = Vec::new();
            descriptions(&kind, &schema, &mut found);
            assert!(found.len() > 5, "{kind}: the schema was walked");
            for (path, text) in found {
                let lower = text.to_lowercase();
                let cited = ["§", "reference", "behaviour", "://", ".md", ".rs", "docs/", "issue"];
                // The descriptions of conditions are those of Kubernetes.
                if !path.contains(".conditions[]") && cited.iter().any(|word| lower.contains(word)) {
                    bad.push(format!("{path}: {text}"));
                }
            }
        }
        assert_eq!(bad, Vec::<String>::new(), "`kubectl explain` shows these, and its reader has no other document");
    }

    /// Kubernetes, `apiextensions-apiserver/pkg/registry/customresource/tableconvertor`: of a path that has several
    /// results a column shows the first. So a column is a path of fields; a list or a map is shown whole, as JSON.
    #[test]
    fn printer_columns_are_fields_of_the_schema_that_users_write() {
        // Labels have no schema. `registry/identity.rs` reads this one.
        const LABELS: [&str; 1] = [".metadata.labels.asset"];
        for (kind, schema, version) in schemas() {
            for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
                let path = column["jsonPath"].as_str().unwrap();
                if path == ".metadata.creationTimestamp" || LABELS.contains(&path) {
                    continue;
                }
                let mut fields = path.strip_prefix('.').unwrap_or_else(|| panic!("{kind}: {path}")).split('.');
                // Nothing writes a status.
                assert_eq!(fields.next(), Some("spec"), "{kind}: {path}");
                let mut field = &schema["properties"]["spec"];
                for name in fields {
                    field = &field["properties"][name];
                    assert!(field.is_object(), "{kind}: {path}: the schema has no field {name:?}");
                }
                let shown = match field["type"].as_str() {
                    Some("integer") => "integer",
                    Some("boolean") => "boolean",
                    _ => "string",
                };
                assert_eq!(column["type"], shown, "{kind}: {path}");
            }
        }
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
