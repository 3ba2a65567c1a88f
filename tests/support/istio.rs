//! Istio's own definitions, from the release the golden objects are checked against.

use std::fs;

use kube::api::PatchParams;
use serde_json::Value;

use super::{TestCluster, objects::documents, parts};

/// Installs all of Istio's definitions and waits until they are served.
pub async fn install_crds(cluster: &TestCluster) {
    let path = tokio::task::spawn_blocking(|| parts::part("istio-crds")).await.expect("Istio's definitions");
    let definitions = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    cluster.apply_yaml(&definitions).await;
}

/// Server-side apply of one object that the server checks to the letter: an unknown or repeated
/// field is an error, as is whatever the definition's schema and rules refuse. Returns the object
/// as stored, with the server's defaults.
pub async fn strict_apply(cluster: &TestCluster, yaml: &str) -> kube::Result<Value> {
    let objects = documents(yaml);
    let [object] = objects.as_slice() else { panic!("{} objects, not one:\n{yaml}", objects.len()) };
    strict_apply_object(cluster, object).await
}

/// [`strict_apply`] of an object as it was read, which changes nothing.
pub async fn dry_apply(cluster: &TestCluster, object: &Value) -> kube::Result<Value> {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
    let parameters = PatchParams::apply("tradewind-strict").force().validation_strict().dry_run();
    cluster.apply_with(&cluster.client(), &object, &parameters).await
}

/// [`strict_apply`] of an object.
pub async fn strict_apply_object(cluster: &TestCluster, object: &Value) -> kube::Result<Value> {
    let parameters = PatchParams::apply("tradewind-strict").force().validation_strict();
    cluster.apply_with(&cluster.client(), object, &parameters).await
}
