//! Clients that serve nothing: a Job that comes and goes, and Numaflow's vertices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::eventually,
    world::{ALL, GATEWAYS, World, host, own_clusters},
};

const NUMAFLOW: &str = include_str!("../support/crds/numaflow.yaml");

/// A definition that was missing is looked for again every 20 seconds.
const DISCOVERED: Duration = Duration::from_secs(60);

fn metadata(world: &World<'_>) -> Value {
    json!({"labels": {world.identity_key(): "reports"}, "annotations": {"sidecar.istio.io/inject": "true"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_depends_on_is_where_it_runs_and_no_longer() {
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    world.depend("reports", &["payments"]).await;
    let _controller = world.start(&["--without-dependency=none"]).await;
    let (payments, namespace) = (host("payments"), world.namespace("reports"));
    world.sees(1, &payments, &[&world.local("payments")]).await;
    assert_eq!(world.hosts(0).await, Vec::<String>::new());

    let pod = json!({
        "metadata": metadata(&world),
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "registry.example/app:1"}]},
    });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "reports-1", "namespace": namespace},
        "spec": {"template": pod},
    });
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "reports", "namespace": namespace},
        "spec": {"schedule": "0 4 * * *", "jobTemplate": {"spec": {"template": pod}}},
    });
    for (kind, object) in [("Job", &job), ("CronJob", &cron_job)] {
        clusters[0].apply(vec![object.clone()]).await;
        world.sees(0, &payments, &[GATEWAYS[1]]).await;
        let name = object["metadata"]["name"].as_str().expect("a name");
        clusters[0].delete(&format!("{kind}.batch"), namespace.as_str(), name).await;
        world.gone(0, &payments).await;
    }

    clusters[2].apply_yaml(NUMAFLOW).await;
    for kind in ["Vertex", "MonoVertex"] {
        let object = json!({
            "apiVersion": "numaflow.numaproj.io/v1alpha1", "kind": kind,
            "metadata": {"name": "reports", "namespace": namespace}, "spec": {"metadata": metadata(&world)},
        });
        clusters[2].apply(vec![object]).await;
        eventually(&format!("the {kind} has what it depends on"), DISCOVERED, async || {
            let found = world.endpoints(2, &payments).await.unwrap_or_default();
            if found == [GATEWAYS[1]] { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        clusters[2].delete(&format!("{kind}.numaflow.numaproj.io"), namespace.as_str(), "reports").await;
        world.gone(2, &payments).await;
    }
    assert_eq!(world.hosts(0).await, Vec::<String>::new());
}
