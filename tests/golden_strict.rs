//! Every golden object is accepted by a real API server with Istio's real CRDs, checked to the letter: no field that the
//! schema does not know, no value that its rules refuse, and nothing changed on the way in.

mod support;

use std::{fs, path::Path};

use futures::{StreamExt as _, stream};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::Value;
use support::{TestCluster, documents, istio};

/// Requests under way at once.
const CONCURRENCY: usize = 16;
/// One namespace for all: a dry run stores nothing, so that equal names do not meet.
const NAMESPACE: &str = "golden";

fn golden_files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("the golden cases").flatten() {
        let path = entry.path();
        if path.is_dir() {
            golden_files(&path, found);
        } else if path.parent().is_some_and(|parent| parent.ends_with("out"))
            && path.extension().is_some_and(|e| e == "yaml")
        {
            found.push(path);
        }
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_api_server_takes_every_golden_object_as_it_is() {
    let cluster = TestCluster::start("cluster-1").await;
    istio::install_crds(&cluster).await;
    cluster.apply_yaml(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n")).await;
    let client = cluster.client();

    let mut files = Vec::new();
    golden_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), &mut files);
    let objects: Vec<(String, Value)> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a golden file");
            documents(&text).into_iter().map(move |object| (file.display().to_string(), object))
        })
        .map(|(file, mut object)| {
            object["metadata"]["namespace"] = NAMESPACE.into();
            (file, object)
        })
        .collect();
    assert!(objects.len() > 100, "the golden cases were found: {}", objects.len());

    let refused: Vec<String> = stream::iter(&objects)
        .map(async |(file, object)| {
            refusal(&client, object).await.map(|why| format!("{file}: {}: {why}", object["metadata"]["name"]))
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(async |refused| refused)
        .collect()
        .await;
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
