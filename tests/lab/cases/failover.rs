//! Regions that die and return, and what a policy's fallbacks do then.

use super::{PAYMENTS, policy, shares};
use crate::{
    load::{Order, Outcome, now_micros},
    network,
    pod::{Endpoint, Pod},
    support::eventually,
    world::{CONVERGED_WITHIN, PAYMENTS_IN_4, World},
};

/// Requests that are looked at once something has settled.
const REQUESTS: u64 = 1000;

/// So many answers in a row by one cluster mean that traffic has moved. Five ejected connections and a health check
/// fit into it many times.
const IN_A_ROW: usize = 200;

/// Load that a human would call steady: 4 workers, some hundred requests a second.
pub fn steady() -> Order {
    Order { pause_ms: 5, ..Order::http(PAYMENTS, 0) }
}

/// Payments runs in the third region, too.
pub async fn third_region(world: &World) {
    world.cluster(4).api.apply_yaml(PAYMENTS_IN_4).await;
}

/// Payments runs in two regions again.
pub async fn two_regions(world: &World) {
    let api = &world.cluster(4).api;
    api.delete("Deployment", "payments-eu", "payments").await;
    api.delete("v1/Service", "payments-eu", "payments").await;
}

/// Waits until the last answers of a running load are all by these clusters; returns the outcome so far.
pub async fn answered_by(client: &Pod, clusters: &[&str]) -> Outcome {
    eventually(&format!("{} is answered by {clusters:?} alone", client.name()), CONVERGED_WITHIN, async || {
        let outcome = client.load_so_far().await;
        let last = outcome.samples.iter().rev().take(IN_A_ROW);
        let by = |kind: &str| clusters.iter().any(|cluster| kind.split('/').next() == Some(cluster));
        let others = last.clone().filter(|sample| !by(outcome.kind_of(sample))).count();
        if others == 0 && last.count() == IN_A_ROW {
            Ok(outcome)
        } else {
            Err(format!("{others} of {IN_A_ROW} others; {}", outcome.line()))
        }
    })
    .await
}

/// The region of a cluster dies: all that runs in its gateway and its pods of payments, at once.
pub fn kill_region(world: &World, cluster: u8) {
    world.pod(cluster, "eastwestgateway").kill();
    world.pod(cluster, "payments").kill();
}

/// It returns.
pub async fn revive_region(world: &World, cluster: u8) {
    world.restart(cluster, "payments").await;
    world.restart(cluster, "eastwestgateway").await;
}

fn tiers(endpoints: &[Endpoint]) -> Vec<(u64, u64)> {
    endpoints.iter().map(|endpoint| (endpoint.priority, endpoint.weight)).collect()
}

pub async fn hundred_and_fallback(world: &World) -> Vec<String> {
    third_region(world).await;
    policy::set(world, &[("us-east", 100), ("eu-west", 0)]).await;
    let client = world.pod(1, "orders");
    world.proxy_has(client, PAYMENTS, |endpoints| tiers(endpoints) == [(0, 100), (1, 1), (2, 1)]).await;
    world.verified(&[client]).await;
    let healthy = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&client.name(), &healthy, &[("cluster-3", 1.0)]);

    client.load_start(&steady()).await;
    answered_by(client, &["cluster-3"]).await;
    let died = now_micros();
    kill_region(world, 3);
    let during = answered_by(client, &["cluster-4"]).await.since(died);
    world
        .differs(client, &[&format!("{}:15443: it is taken out by outlier detection", network::gateway_address(3))])
        .await;
    let last_failure =
        during.samples.iter().filter(|sample| during.kind_of(sample).starts_with('!')).map(|s| s.done).max();
    revive_region(world, 3).await;
    let revived = now_micros();
    answered_by(client, &["cluster-3"]).await;
    let whole = client.load_stop().await;
    world.verified(&[client]).await;
    let after = whole.since(revived);
    let back = after.samples.iter().find(|sample| after.kind_of(sample).starts_with("cluster-3")).map(|s| s.done);
    let back = back.expect("was just awaited");
    assert_eq!(after.failures(), 0, "{}", after.line());
    vec![
        format!("healthy: {}", healthy.line()),
        format!(
            "us-east died: {} failed of {}, the last after {} ms; then all by cluster-4",
            during.failures(),
            during.total(),
            last_failure.map_or(0, |done| (done - died) / 1000)
        ),
        format!("us-east returned: the first answer after {} ms, none failed", (back - revived) / 1000),
    ]
}

/// The region vanishes without a word: nothing that is sent there arrives, and nothing comes back.
pub async fn silent_region(world: &World) -> Vec<String> {
    two_regions(world).await;
    policy::set(world, &[("us-east", 100), ("us-west", 0)]).await;
    let client = world.pod(1, "orders");
    client.load_start(&Order { patience_ms: 5_000, ..steady() }).await;
    answered_by(client, &["cluster-3"]).await;
    world.verified(&[client]).await;
    let gone = now_micros();
    network::cut_outside(3);
    let during = answered_by(client, &["cluster-2"]).await.since(gone);
    network::mend_outside(3);
    let mended = now_micros();
    answered_by(client, &["cluster-3"]).await;
    let after = client.load_stop().await.since(mended);
    let first = |outcome: &Outcome, cluster: &str, from: u64| {
        let answered = outcome.samples.iter().find(|sample| outcome.kind_of(sample).starts_with(cluster));
        (answered.expect("was awaited").done - from) / 1000
    };
    vec![
        format!(
            "us-east vanished: {} failed of {}, the first by us-west after {} ms",
            during.failures(),
            during.total(),
            first(&during, "cluster-2", gone)
        ),
        format!("it is back: the first by us-east after {} ms", first(&after, "cluster-3", mended)),
    ]
}

pub async fn weights_and_tiers(world: &World) -> Vec<String> {
    third_region(world).await;
    policy::set(world, &[("us-east", 90), ("us-west", 10), ("eu-west", 0)]).await;
    let client = world.pod(1, "orders");
    world.proxy_has(client, PAYMENTS, |endpoints| tiers(endpoints) == [(0, 10), (0, 90), (1, 1)]).await;
    world.verified(&[client]).await;
    let healthy = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&client.name(), &healthy, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    let mut figures = vec![format!("all healthy: {}", healthy.line())];

    let settled = async |dead: &[u8], clusters: &[&str]| {
        dead.iter().for_each(|cluster| kill_region(world, *cluster));
        client.load_start(&steady()).await;
        answered_by(client, clusters).await;
        client.load_stop().await;
        client.load(&Order::http(PAYMENTS, REQUESTS)).await
    };
    let spilled = settled(&[3], &["cluster-2", "cluster-4"]).await;
    figures.push(format!("us-east dead: {}", spilled.line()));
    let fallen = settled(&[2], &["cluster-4"]).await;
    figures.push(format!("us-west dead, too: {}", fallen.line()));
    revive_region(world, 2).await;
    revive_region(world, 3).await;
    // Envoy calls a tier healthy while 1/1.4 of its endpoints are: of two, with one dead, 70 %.
    policy::assert_shares(&client.name(), &spilled, &[("cluster-2", 0.7), ("cluster-4", 0.3)]);
    policy::assert_shares(&client.name(), &fallen, &[("cluster-4", 1.0)]);
    figures
}

pub async fn topology(world: &World) -> Vec<String> {
    third_region(world).await;
    world.policy(&policy::of(&[policy::nearest()])).await;
    let mut figures = Vec::new();
    for (client, nearest) in shares::clients(world).into_iter().zip(["cluster-2", "cluster-2", "cluster-3"]) {
        world
            .proxy_has(client, PAYMENTS, |endpoints| {
                endpoints.len() == 3 && endpoints.iter().filter(|endpoint| endpoint.priority == 0).count() == 1
            })
            .await;
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        figures.push(format!("{}: {}", client.name(), outcome.line()));
        policy::assert_shares(&client.name(), &outcome, &[(nearest, 1.0)]);
    }
    world.verified(&shares::clients(world)).await;
    // The nearest dies: the next, whichever Istio holds for nearer.
    let client = world.pod(2, "reports");
    client.load_start(&steady()).await;
    answered_by(client, &["cluster-2"]).await;
    let died = now_micros();
    kill_region(world, 2);
    let during = answered_by(client, &["cluster-3", "cluster-4"]).await.since(died);
    revive_region(world, 2).await;
    answered_by(client, &["cluster-2"]).await;
    client.load_stop().await;
    figures.push(format!(
        "us-west died, seen from {}: {} failed, then the others; it returned: all local",
        client.name(),
        during.failures()
    ));
    figures
}

/// Waits until a running load has so many more answers as settle a question.
pub async fn more_answers(client: &Pod) {
    let before = client.load_so_far().await.samples.len();
    eventually(&format!("{} goes on", client.name()), CONVERGED_WITHIN, async || {
        let now = client.load_so_far().await.samples.len();
        if now >= before + IN_A_ROW { Ok(()) } else { Err(format!("{} more", now - before)) }
    })
    .await;
}
