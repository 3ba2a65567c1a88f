//! Every golden object is accepted by a real API server with Istio's real CRDs, checked to the letter: no field that the
//! schema does not know, no value that its rules refuse, and nothing changed on the way in.

mod golden_case;
mod planning;
mod support;

use futures::{StreamExt as _, stream};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::Value;
use support::{TestCluster, istio};

/// Requests under way at once.
const CONCURRENCY: usize = 16;
/// One namespace for all: a dry run stores nothing, so that equal names do not meet.
const NAMESPACE: &str = "golden";

async fn refusal(client: &kube::Client, object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().expect("a kind");
    let version = object["apiVersion"].as_str().and_then(|version| version.rsplit('/').next()).expect("a version");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("golden").force().validation_strict() };
    let name = object["metadata"]["name"].as_str().expect("a name");
    match api.patch(name, &parameters, &Patch::Apply(object)).await {
        Err(error) => Some(error.to_string()),
        Ok(stored) if stored.data["spec"] != object["spec"] => {
            Some(format!("it was stored as {}", stored.data["spec"]))
        }
        Ok(_) => None,
    }
}

// Invariant: Every object passes strict validation.
#[tokio::test(flavor = "multi_thread")]
async fn a_strict_api_server_takes_every_golden_object_as_it_is() {
    let cluster = TestCluster::start("cluster-1").await;
    istio::install_crds(&cluster).await;
    cluster.apply_yaml(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n")).await;
    let client = cluster.client();

    let cases = golden_case::paths().into_iter().map(|path| golden_case::Case::read(&path).expect("a golden case"));
    let objects: Vec<(String, Value)> = cases
        .flat_map(|case| {
            let clusters = case.objects().expect("a golden case has what is planned");
            let of_clusters = clusters.into_iter().flat_map(|(cluster, objects)| {
                objects.into_iter().map(move |object| (cluster.clone(), object)).collect::<Vec<_>>()
            });
            of_clusters.map(move |(cluster, object)| (format!("{}: {cluster}", case.name), object)).collect::<Vec<_>>()
        })
        .map(|(of, mut object)| {
            object["metadata"]["namespace"] = NAMESPACE.into();
            (of, object)
        })
        .collect();
    assert!(objects.len() > 100, "the golden cases were found: {}", objects.len());

    let refused: Vec<String> = stream::iter(&objects)
        .map(async |(of, object)| {
            refusal(&client, object).await.map(|why| format!("{of}: {}: {why}", object["metadata"]["name"]))
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(async |refused| refused)
        .collect()
        .await;
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
