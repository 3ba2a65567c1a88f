//! Our CRDs: group `admiral.io/v1alpha1`, so that an Admiral user's manifests apply as they are.

mod dependency;
mod global_traffic_policy;

pub use dependency::{Dependency, DependencySpec, DependencyStatus};
pub use global_traffic_policy::{
    GlobalTrafficPolicy, GlobalTrafficPolicySpec, LbType, PolicyOutlierDetection, TrafficPolicyEntry, TrafficTarget,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

/// Every CRD that Tradewind serves, in the order of their names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Dependency::crd(), GlobalTrafficPolicy::crd()].into_iter().map(without_defaults).collect()
}

/// Drops defaults from a schema: the API server would write them into users' objects, which then differ from their manifests.
fn without_defaults(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                // A property may be called "default"; a default itself is no schema.
                if fields.contains_key("type") || fields.contains_key("x-kubernetes-int-or-string") {
                    fields.remove("default");
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
