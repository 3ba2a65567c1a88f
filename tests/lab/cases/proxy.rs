//! A DependencyProxy: a destination that nobody runs, and its proxy answers for.

use super::policy;
use crate::{
    load::Order,
    pod::Pod,
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

const REQUESTS: u64 = 2000;

/// Nobody runs ledger.
const LEDGER: &str = "stage.ledger.example";

const OBJECTS: &str = "
apiVersion: admiral.io/v1alpha1
kind: Dependency
metadata: {name: orders-ledger, namespace: admiral}
spec: {source: orders, identityLabel: identity, destinations: [ledger]}
---
apiVersion: admiral.io/v1alpha1
kind: DependencyProxy
metadata: {name: ledger, namespace: admiral, labels: {admiral.io/env: stage}}
spec: {destination: {identity: ledger, dns_suffix: example}, proxy: {identity: payments}}
";

/// Takes away what a case left.
pub async fn undo(world: &World) {
    let hub = &world.cluster(1).api;
    hub.delete("admiral.io/v1alpha1/DependencyProxy", "admiral", "ledger").await;
    hub.delete("admiral.io/v1alpha1/Dependency", "admiral", "orders-ledger").await;
}

/// Waits until a request is answered, or no longer.
async fn answers(client: &Pod, wanted: bool) {
    eventually(&format!("{} reaches {LEDGER}: {wanted}", client.name()), CONVERGED_WITHIN, async || {
        let one = client.load(&Order { workers: 1, ..Order::http(LEDGER, 1) }).await;
        if (one.failures() == 0) == wanted { Ok(()) } else { Err(one.line()) }
    })
    .await;
}

pub async fn dependency_proxy(world: &World) -> Vec<String> {
    super::failover::two_regions(world).await;
    policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    world.cluster(1).api.apply_yaml(OBJECTS).await;
    let client = world.pod(1, "orders");
    answers(client, true).await;
    world.verified(&[client]).await;
    let outcome = client.load(&Order::http(LEDGER, REQUESTS)).await;
    policy::assert_shares(&client.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    let mut figures = vec![format!("{} to {LEDGER}: {}", client.name(), outcome.line())];
    // Who declared payments alone, or nothing, does not get it.
    for undeclared in [world.pod(2, "reports"), world.pod(1, "stranger")] {
        let outcome = undeclared.load(&Order::http(LEDGER, 20)).await;
        assert_eq!(outcome.failures(), outcome.total(), "{}: {}", undeclared.name(), outcome.line());
        figures.push(format!("{}, undeclared: {}", undeclared.name(), outcome.line()));
    }
    undo(world).await;
    answers(client, false).await;
    figures
}
