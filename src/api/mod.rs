//! Our CRDs: group `admiral.io/v1alpha1`, so that an Admiral user's manifests apply as they are.

mod dependency;
mod global_traffic_policy;

pub use dependency::{Dependency, DependencySpec, DependencyStatus};
pub use global_traffic_policy::{
    GlobalTrafficPolicy, GlobalTrafficPolicySpec, LbType, PolicyOutlierDetection, TrafficPolicyEntry, TrafficTarget,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every CRD that Tradewind serves, in the order of their names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Dependency::crd(), GlobalTrafficPolicy::crd()]
}
