//! A cluster whose workload is scaled to 0 under load, and back.
//!
//! No controller of Deployments is here. What it and the kubelet would write is: the status of the Deployment, and which
//! pods are ready behind the Service.

use serde_json::{Value, json};

use super::{failover, policy};
use crate::{
    application,
    load::now_micros,
    pod::{Readiness, slice},
    support::documents,
    world::World,
};

/// The cluster that is scaled, in us-east, to which the policy sends all traffic.
const SCALED: u8 = 3;
const MANIFESTS: &str = include_str!("../../../src/sample/cluster-3/payments.yaml");

/// The Deployment of payments with so many replicas.
fn deployment(replicas: u32) -> Value {
    let mut deployment = documents(MANIFESTS).into_iter().find(|object| object["kind"] == "Deployment");
    let deployment = deployment.as_mut().expect("the sample has one");
    deployment["spec"]["replicas"] = json!(replicas);
    deployment.take()
}

/// What the controller of Deployments says of it.
async fn report(world: &World, replicas: u32, ready: u32) {
    let mut deployment = deployment(replicas);
    deployment["status"] = json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": ready});
    world.cluster(SCALED).api.apply_status(&deployment.to_string()).await;
}

async fn behind_service(world: &World, readiness: Readiness) {
    let pod = world.pod(SCALED, "payments");
    let slice = slice("payments", &[("http", application::HTTP_PORT)], &[(&pod.plan, readiness)]);
    world.cluster(SCALED).api.apply(vec![slice]).await;
}

pub async fn to_zero_and_back(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    policy::set(world, &[("us-east", 100), ("us-west", 0)]).await;
    let api = &world.cluster(SCALED).api;
    let client = world.pod(1, "orders");
    report(world, 2, 2).await;
    client.load_start(&failover::steady()).await;
    failover::answered_by(client, &["cluster-3"]).await;

    let scaled = now_micros();
    api.apply(vec![deployment(0)]).await;
    behind_service(world, Readiness::Terminating).await;
    world.pod(SCALED, "payments").terminate();
    let during = failover::answered_by(client, &["cluster-2"]).await.since(scaled);
    let moved = now_micros();
    world.pod(SCALED, "payments").terminated().await;
    report(world, 0, 0).await;
    failover::more_answers(client).await;
    world.verified(&[client]).await;

    // Pods that are yet to come take no request.
    api.apply(vec![deployment(2)]).await;
    report(world, 2, 0).await;
    failover::more_answers(client).await;
    let empty = client.load_so_far().await.since(moved);
    world.restart(SCALED, "payments").await;
    behind_service(world, Readiness::Ready).await;
    let ready = now_micros();
    report(world, 2, 1).await;
    failover::answered_by(client, &["cluster-3"]).await;
    world.verified(&[client]).await;
    let whole = client.load_stop().await;
    api.apply(vec![deployment(2)]).await;

    let answered = |outcome: &crate::load::Outcome, cluster: &str| {
        let by = outcome.samples.iter().filter(|sample| outcome.kind_of(sample).starts_with(cluster));
        by.map(|sample| sample.done).collect::<Vec<_>>()
    };
    let last = answered(&during, "cluster-3").into_iter().max();
    let since = whole.since(ready);
    let first = answered(&since, "cluster-3").into_iter().min().expect("was just awaited");
    assert_eq!(whole.failures(), 0, "{}", whole.line());
    assert_eq!(empty.by("cluster-3"), 0, "{}", empty.line());
    vec![
        format!(
            "scaled to 0: the last by us-east after {} ms, then all by us-west",
            last.map_or(0, |last| (last - scaled) / 1000)
        ),
        format!("a pod is ready again: the first by us-east after {} ms", (first - ready) / 1000),
        format!("{} requests, none failed", whole.total()),
    ]
}
