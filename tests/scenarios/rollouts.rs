//! Argo Rollouts, from a cluster that has never heard of them to the end of the last one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::eventually,
    world::{ALL, GATEWAYS, SOON, World, endpoints_of, host, own_clusters, text},
};

const ARGO: &str = include_str!("../support/crds/argo-rollouts.yaml");
const ROLLOUT: &str = "Rollout.argoproj.io";
const VIRTUAL_SERVICE: &str = "VirtualService.networking.istio.io";

/// A definition that was missing is looked for again every 20 seconds.
const DISCOVERED: Duration = Duration::from_secs(60);

/// A Rollout of `payments` in its namespace, with pods of its own beside those of a Deployment.
fn rollout(world: &World<'_>, strategy: &Value) -> Value {
    let labels = json!({"app": "payments-new", "env": "stage", world.identity_key(): "payments"});
    let template = json!({"metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "true"}}});
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "payments", "namespace": world.namespace("payments")},
        "spec": {"selector": {"matchLabels": {"app": "payments-new"}}, "template": template, "strategy": strategy},
    })
}

fn service(world: &World<'_>, name: &str) -> Value {
    let mut service = world.service("payments");
    service["metadata"]["name"] = json!(name);
    service["spec"]["selector"] = json!({"app": "payments-new"});
    service
}

fn route(world: &World<'_>, stable: u32, canary: u32) -> Value {
    let to = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "payments", "namespace": world.namespace("payments")},
        "spec": {"hosts": ["payments"], "http": [{"route": [to("stable", stable), to("canary", canary)]}]},
    })
}

fn local(world: &World<'_>, service: &str) -> String {
    format!("{service}.{}.svc.cluster.local:8080", world.namespace("payments"))
}

async fn weighs(world: &World<'_>, cluster: usize, expected: &[(&str, u64)]) {
    let mut expected: Vec<(String, u64)> =
        expected.iter().map(|(address, weight)| ((*address).to_owned(), *weight)).collect();
    expected.sort();
    eventually(&format!("the weights are {expected:?}"), SOON, async || {
        let entry = world.entry(cluster, &host("payments")).await.ok_or_else(String::new)?;
        let mut found: Vec<(String, u64)> =
            endpoints_of(&entry).into_iter().map(|(address, _, weight)| (address, weight)).collect();
        found.sort();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

// Invariant: A kind that is not served is known to be empty, and is found once it is served.
#[tokio::test(flavor = "multi_thread")]
async fn rollouts_come_after_their_definition_replace_a_deployment_and_change_their_strategy() {
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let controller = world.start(&[]).await;
    let (payments, canary, preview) =
        (host("payments"), "canary.stage.payments.global", "preview.stage.payments.global");
    world.sees(0, &payments, &[GATEWAYS[1]]).await;
    let notes = controller.get("/api/notes").await.expect("notes are served");
    assert!(!notes.contains("Rollout"), "a cluster without Argo lacks nothing: {notes}");

    // The definition and a Rollout appear: both kinds run.
    let by_weight = json!({"canary": {"stableService": "stable", "canaryService": "canary",
                                      "trafficRouting": {"istio": {"virtualService": {"name": "payments"}}}}});
    let (stable, new) = (local(&world, "stable"), local(&world, "canary"));
    clusters[1].apply_yaml(ARGO).await;
    clusters[1]
        .apply(vec![
            service(&world, "stable"),
            service(&world, "canary"),
            route(&world, 90, 10),
            rollout(&world, &by_weight),
        ])
        .await;
    eventually("the Rollout is published beside the Deployment", DISCOVERED, async || {
        let found = world.endpoints(1, &payments).await.unwrap_or_default();
        if found.len() == 3 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    weighs(&world, 1, &[(&world.local("payments"), 10), (&stable, 9), (&new, 1)]).await;
    world.sees(0, canary, &[GATEWAYS[1]]).await;
    world.sees(1, canary, &[&new]).await;
    let kind_seen_by = async |cluster: usize| {
        let entry = world.entry(cluster, &payments).await.unwrap_or_default();
        text(&entry["spec"]["endpoints"][0]["labels"]["type"])
    };
    assert_eq!(kind_seen_by(0).await, "deployment");

    // The Deployment goes: the Rollout stays.
    world.undeploy(1, "payments").await;
    weighs(&world, 1, &[(&stable, 9), (&new, 1)]).await;
    eventually("others see a Rollout", SOON, async || match kind_seen_by(0).await.as_str() {
        "rollout" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;

    // Argo moves on: one write, where the Rollout is.
    world.sentinel(&ALL).await;
    let since = world.marks().await;
    clusters[1].apply(vec![route(&world, 70, 30)]).await;
    weighs(&world, 1, &[(&stable, 7), (&new, 3)]).await;
    world.sentinel(&ALL).await;
    let expected = [(format!("cluster-2 patch serviceentries {payments}-se"), 1)];
    assert_eq!(world.writes(&since).await, expected.into());

    // Another strategy brings another host and takes the first away.
    let blue_green = json!({"blueGreen": {"activeService": "stable", "previewService": "canary"}});
    clusters[1].apply(vec![rollout(&world, &blue_green)]).await;
    clusters[1].delete(VIRTUAL_SERVICE, world.namespace("payments").as_str(), "payments").await;
    for cluster in ALL {
        let here = |service: &str| if cluster == 1 { local(&world, service) } else { GATEWAYS[1].to_owned() };
        world.sees(cluster, preview, &[&here("canary")]).await;
        world.sees(cluster, &payments, &[&here("stable")]).await;
        world.gone(cluster, canary).await;
    }

    clusters[1].delete(ROLLOUT, world.namespace("payments").as_str(), "payments").await;
    for cluster in ALL {
        world.gone(cluster, preview).await;
        world.gone(cluster, &payments).await;
    }
}
