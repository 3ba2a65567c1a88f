//! Argo Rollouts: canary and preview hosts, and the weights of a canary.
//!
//! Argo's controller is not here. What it would write is: which pods are behind each of the two Services, and the
//! weights in the VirtualService.

use serde_json::{Value, json};

use super::{PAYMENTS, failover, hosts, policy};
use crate::{
    application,
    load::Order,
    pod::{Pod, Readiness, slice},
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

/// Requests per client and host.
const REQUESTS: u64 = 500;

/// The gateway before the Rollout chooses for a connection: with one request each, its shares can be counted, too.
const ONE_A_CONNECTION: &[&str] = &["--max-requests-per-connection=1"];

/// So many answers in a row by the new pods mean that they were promoted.
const IN_A_ROW: usize = 200;

const NAMESPACE: &str = "payments-west";
const STABLE: &str = "cluster-2/payments";
const NEXT: &str = "cluster-2/payments-next";

fn rollout(strategy: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "payments", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "payments"}},
            "template": {
                "metadata": {
                    "labels": {"app": "payments", "identity": "payments", "env": "stage"},
                    "annotations": {"sidecar.istio.io/inject": "true"},
                },
                "spec": {"containers": [{"name": "payments", "image": "registry.example/payments:1.0"}]},
            },
            "strategy": strategy,
        },
    })
}

/// A Service and the pod that Argo's controller would have put behind it.
fn service(name: &str, pod: &Pod) -> [Value; 2] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": "payments"}, "ports": [{"name": "http", "port": 8080, "targetPort": 8080}]},
    });
    [service, slice(name, &[("http", application::HTTP_PORT)], &[(&pod.plan, Readiness::Ready)])]
}

fn weights(stable: u32, canary: u32) -> Value {
    let to = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "payments", "namespace": NAMESPACE},
        "spec": {"hosts": ["payments"], "http": [{"route": [to("payments-stable", stable), to("payments-canary", canary)]}]},
    })
}

const SERVICES: [(&str, &str); 4] = [
    ("payments-stable", "payments"),
    ("payments-canary", "payments-next"),
    ("payments-active", "payments"),
    ("payments-preview", "payments-next"),
];

/// A Rollout takes the place of the Deployment in cluster-2, with these two of its Services.
async fn replace(world: &World, strategy: &Value, services: &[(&str, &str)]) {
    let api = &world.cluster(2).api;
    let mut objects = vec![rollout(strategy)];
    objects.extend(services.iter().flat_map(|(name, pod)| service(name, world.pod(2, pod))));
    api.apply(objects).await;
    for (name, _) in SERVICES.iter().filter(|service| !services.contains(service)) {
        api.delete("v1/Service", NAMESPACE, name).await;
    }
    api.delete("Deployment", NAMESPACE, "payments").await;
    api.delete("v1/Service", NAMESPACE, "payments").await;
}

/// Puts the Deployment back.
pub async fn undo(world: &World) {
    let api = &world.cluster(2).api;
    world.cluster(2).apply_manifests().await;
    api.delete("networking.istio.io/v1/VirtualService", NAMESPACE, "payments").await;
    api.delete("argoproj.io/v1alpha1/Rollout", NAMESPACE, "payments").await;
    for (name, _) in SERVICES {
        api.delete("v1/Service", NAMESPACE, name).await;
        api.delete("discovery.k8s.io/v1/EndpointSlice", NAMESPACE, &format!("{name}-0")).await;
    }
}

/// Waits until a host is in the plan of every client and of the gateway before the Rollout, and counts who answers.
async fn all_go_to(world: &World, host: &str, pod: &str, figures: &mut Vec<String>) {
    hosts::gateway_has(world, 2, host).await;
    for client in super::shares::clients(world) {
        world.proxy_has(client, host, |endpoints| endpoints.len() == 1).await;
        answered(client, host).await;
        let outcome = client.load(&Order::http(host, REQUESTS)).await;
        assert_eq!(outcome.counts(), [(pod, REQUESTS)].into(), "{} to {host}", client.name());
        let prefix = host.split('.').next().unwrap_or_default();
        figures.push(format!("{} to {prefix}.: {}", client.name(), outcome.line()));
    }
}

/// Waits until a new host answers: its route comes a moment after its endpoints.
async fn answered(client: &Pod, host: &str) {
    eventually(&format!("{} reaches {host}", client.name()), CONVERGED_WITHIN, async || {
        let one = client.load(&Order { workers: 1, ..Order::http(host, 1) }).await;
        if one.failures() == 0 { Ok(()) } else { Err(one.line()) }
    })
    .await;
}

pub async fn canary_and_preview(world: &World) -> Vec<String> {
    let mut figures = Vec::new();
    failover::two_regions(world).await;
    policy::set(world, &[("us-west", 100), ("us-east", 0)]).await;
    world.set(ONE_A_CONNECTION).await;
    canary(world, &mut figures).await;
    preview(world, &mut figures).await;
    undo(world).await;
    world.set(&[]).await;
    for client in super::shares::clients(world) {
        world.proxy_has(client, PAYMENTS, |endpoints| endpoints.len() == 2).await;
    }
    figures
}

async fn canary(world: &World, figures: &mut Vec<String>) {
    let strategy = json!({"canary": {
        "stableService": "payments-stable", "canaryService": "payments-canary",
        "trafficRouting": {"istio": {"virtualService": {"name": "payments"}}},
    }});
    world.cluster(2).api.apply(vec![weights(70, 30)]).await;
    replace(world, &strategy, &SERVICES[..2]).await;
    all_go_to(world, &format!("canary.{PAYMENTS}"), NEXT, figures).await;

    let client = world.pod(2, "reports");
    has_split(world, client, (70, 30)).await;
    world.verified(&super::shares::clients(world)).await;
    for client in super::shares::clients(world) {
        split(client, (70, 30), figures).await;
    }
    // Argo goes on, under load.
    client.load_start(&failover::steady()).await;
    failover::more_answers(client).await;
    world.cluster(2).api.apply(vec![weights(0, 100)]).await;
    eventually("the canary is promoted", CONVERGED_WITHIN, async || {
        let outcome = client.load_so_far().await;
        let last = outcome.samples.iter().rev().take(IN_A_ROW);
        let others = last.filter(|sample| outcome.kind_of(sample) != NEXT).count();
        if others == 0 { Ok(()) } else { Err(format!("{others} of {IN_A_ROW} others: {}", outcome.line())) }
    })
    .await;
    let outcome = client.load_stop().await;
    assert_eq!(outcome.failures(), 0, "{}", outcome.line());
    figures.push(format!("promoted under load: {}, none failed, then all by the canary", outcome.line()));
}

/// Waits until a client in the Rollout's cluster has both of its Services, with these weights.
async fn has_split(world: &World, client: &Pod, (stable, next): (u64, u64)) {
    world
        .proxy_has(client, PAYMENTS, |endpoints| {
            let first = endpoints.iter().filter(|endpoint| endpoint.priority == 0);
            let mut first: Vec<u64> = first.map(|endpoint| endpoint.weight).collect();
            first.sort_unstable();
            first.len() == 2 && first[0] * stable == first[1] * next
        })
        .await;
}

/// Counts how a client's requests are divided.
async fn split(client: &Pod, (stable, next): (u64, u64), figures: &mut Vec<String>) {
    let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
    assert_eq!(outcome.failures(), 0, "{}", outcome.line());
    for (pod, share) in [(STABLE, stable), (NEXT, next)] {
        let count = outcome.counts().get(pod).copied().unwrap_or_default();
        let share = share as f64 / (stable + next) as f64;
        assert!(policy::is_share(count, outcome.total(), share), "{pod} has not {share}: {}", outcome.line());
    }
    figures.push(format!("{}, {stable}/{next} by the VirtualService: {}", client.name(), outcome.line()));
}

async fn preview(world: &World, figures: &mut Vec<String>) {
    let strategy = json!({"blueGreen": {"activeService": "payments-active", "previewService": "payments-preview"}});
    replace(world, &strategy, &SERVICES[2..]).await;
    all_go_to(world, &format!("preview.{PAYMENTS}"), NEXT, figures).await;
    world.verified(&super::shares::clients(world)).await;
    for client in super::shares::clients(world) {
        active(world, client).await;
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        assert_eq!(outcome.counts(), [(STABLE, REQUESTS)].into(), "{} to {PAYMENTS}", client.name());
        figures.push(format!("{}, active: {}", client.name(), outcome.line()));
    }
}

/// Waits until a client reaches the active pod and no other.
async fn active(world: &World, client: &Pod) {
    world
        .proxy_has(client, PAYMENTS, |endpoints| {
            endpoints.iter().filter(|endpoint| endpoint.priority == 0).count() == 1
        })
        .await;
    eventually(&format!("{} is answered by the active pod", client.name()), CONVERGED_WITHIN, async || {
        let some = client.load(&Order::http(PAYMENTS, IN_A_ROW as u64)).await;
        if some.counts().keys().eq([&STABLE]) { Ok(()) } else { Err(some.line()) }
    })
    .await;
}
