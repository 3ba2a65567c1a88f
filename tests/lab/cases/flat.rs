//! Two clusters on one network: the pods of each are endpoints of the other, without a gateway between.

use super::{PAYMENTS, failover, policy};
use crate::{
    application,
    load::{Order, now_micros},
    network::{gateway_address, pod_address},
    pod::{Pod, Readiness, slice},
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

/// Requests per client.
const REQUESTS: u64 = 1000;

/// So many answers in a row by others mean that a pod gets none any more.
const IN_A_ROW: usize = 200;

/// A gateway chooses for a connection, and counts those: with one request each, its draws are independent, too.
const DIRECT: &[&str] = &["--direct-endpoints=true", "--max-requests-per-connection=1"];

/// What the Service of payments in cluster-2 has behind it.
async fn behind_payments(world: &World, next: Option<Readiness>) {
    let first = (&world.pod(2, "payments").plan, Readiness::Ready);
    let second = next.map(|readiness| (&world.pod(2, "payments-next").plan, readiness));
    let pods: Vec<_> = [first].into_iter().chain(second).collect();
    world.cluster(2).api.apply(vec![slice("payments", &[("http", application::HTTP_PORT)], &pods)]).await;
}

/// Waits until a proxy has these endpoints of payments and no other; returns their addresses.
async fn has(world: &World, client: &Pod, expected: &[String]) -> Vec<String> {
    let mut expected = expected.to_vec();
    expected.sort();
    let found = world
        .proxy_has(client, PAYMENTS, |endpoints| {
            let mut found: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
            found.sort();
            found == expected
        })
        .await;
    found.into_iter().map(|endpoint| format!("{} {}", endpoint.address, endpoint.locality)).collect()
}

async fn turned_to(pod: &Pod) -> u64 {
    pod.turned_to(PAYMENTS).await.values().sum()
}

pub async fn network(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    behind_payments(world, Some(Readiness::Ready)).await;
    world.join(2, 3).await;
    world.set(DIRECT).await;
    let mut figures = shares(world).await;
    figures.push(leaving_pod(world).await);

    behind_payments(world, None).await;
    world.set(&[]).await;
    world.part(2, 3).await;
    let gateway = |cluster| format!("{}:15443", gateway_address(cluster));
    let local = |cluster, pod| format!("{}:8080", pod_address(cluster, pod));
    has(world, world.pod(2, "reports"), &[local(2, 2), gateway(3)]).await;
    has(world, world.pod(3, "payments"), &[gateway(2), local(3, 1)]).await;
    figures
}

async fn shares(world: &World) -> Vec<String> {
    let gateway = |cluster| format!("{}:15443", gateway_address(cluster));
    let direct = |cluster, pod| format!("{}:8080", pod_address(cluster, pod));
    let [orders, reports, payments] = super::shares::clients(world);
    let gateways = [world.pod(2, "eastwestgateway"), world.pod(3, "eastwestgateway")];
    let mut figures = Vec::new();
    // The name of a Service leads to one pod here, as to one address elsewhere; of the other cluster, every pod is seen.
    has(world, reports, &[direct(2, 2), direct(3, 1)]).await;
    figures.extend(
        has(world, payments, &[direct(2, 2), direct(2, 3), direct(3, 1)]).await.into_iter().filter_map(|endpoint| {
            endpoint.starts_with("10.2.").then(|| format!("an endpoint in cluster-3: {endpoint}"))
        }),
    );
    has(world, orders, &[gateway(2), gateway(3)]).await;

    world.verified(&[orders, reports, payments, gateways[0], gateways[1]]).await;
    let before = [turned_to(gateways[0]).await, turned_to(gateways[1]).await];
    for client in [reports, payments] {
        let before: u64 = turned_to(client).await;
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        let turned = client.turned_to(PAYMENTS).await;
        policy::assert_shares(&client.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
        // Every request of its own is accounted for by an address of a pod.
        assert!(turned.keys().all(|address| address.starts_with("10.")), "{}: {turned:?}", client.name());
        assert_eq!(turned.values().sum::<u64>() - before, REQUESTS, "{}: {turned:?}", client.name());
        if client.plan.cluster == 3 {
            let counts = outcome.counts();
            for pod in ["cluster-2/payments", "cluster-2/payments-next"] {
                let count = counts.get(pod).copied().unwrap_or_default();
                assert!(policy::is_share(count, REQUESTS, 0.05), "{pod} has not a half of 10 %: {}", outcome.line());
            }
        }
        figures.push(format!("{}: {}", client.name(), outcome.line()));
    }
    let after = [turned_to(gateways[0]).await, turned_to(gateways[1]).await];
    assert_eq!(before, after, "the gateways of the network took no part");
    figures.push("the gateways of cluster-2 and cluster-3 passed on none of these".to_owned());

    // Who is on another network goes through the gateways, which see the pods of the whole network.
    let outcome = orders.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&orders.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    let through: u64 = turned_to(gateways[0]).await + turned_to(gateways[1]).await - after.iter().sum::<u64>();
    assert!(through > 0, "{} is on another network", orders.name());
    figures.push(format!(
        "{}, on another network: {}; {through} connections through gateways",
        orders.name(),
        outcome.line()
    ));
    figures
}

/// A pod ends as Kubernetes ends one: its EndpointSlice and its proxy are told at once.
async fn leaving_pod(world: &World) -> String {
    let leaving = "cluster-2/payments-next";
    policy::set(world, &[("us-west", 100), ("us-east", 0)]).await;
    let client = world.pod(3, "payments");
    client.load_start(&failover::steady()).await;
    eventually(&format!("{leaving} answers"), CONVERGED_WITHIN, async || {
        let outcome = client.load_so_far().await;
        let last = outcome.samples.iter().rev().take(IN_A_ROW);
        let by = last.filter(|sample| outcome.kind_of(sample) == leaving).count();
        if policy::is_share(by as u64, IN_A_ROW as u64, 0.5) { Ok(()) } else { Err(outcome.line()) }
    })
    .await;
    let told = now_micros();
    behind_payments(world, Some(Readiness::Terminating)).await;
    world.pod(2, "payments-next").terminate();
    failover::more_answers(client).await;
    eventually(&format!("{leaving} answers no more"), CONVERGED_WITHIN, async || {
        let outcome = client.load_so_far().await;
        let last = outcome.samples.iter().rev().take(IN_A_ROW);
        let by = last.filter(|sample| outcome.kind_of(sample) != "cluster-2/payments").count();
        if by == 0 { Ok(()) } else { Err(format!("{by} of {IN_A_ROW}: {}", outcome.line())) }
    })
    .await;
    world.pod(2, "payments-next").terminated().await;
    failover::more_answers(client).await;
    let whole = client.load_stop().await;
    world.restart(2, "payments-next").await;
    let since = whole.since(told);
    let last = since.samples.iter().filter(|sample| since.kind_of(sample) == leaving).map(|sample| sample.done).max();
    assert_eq!(whole.failures(), 0, "{}", whole.line());
    format!(
        "a pod ends: the last by it after {} ms, {} requests, none failed",
        last.map_or(0, |last| (last - told) / 1000),
        since.total()
    )
}
