//! Clusters of different trust domains under one root.

use super::{PAYMENTS, failover, policy};
use crate::{
    istiod::Trust,
    load::Order,
    support::eventually,
    world::{CONVERGED_WITHIN, TRUST, World},
};

const REQUESTS: u64 = 200;

pub async fn domains(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    // No fallback, which would answer in the place of who refuses.
    let east = policy::of(&[policy::entry("default", &[("us-east", 100)])]);
    world.policy(&east.replace("labels:", "annotations: {tradewind.io/unlisted-regions: exclude}, labels:")).await;
    let client = world.pod(1, "orders");
    let alone = |endpoints: &[crate::pod::Endpoint]| endpoints.len() == 1;

    world.retrust(3, Trust { domain: "east.example", alias: "" }).await;
    world.proxy_has(client, PAYMENTS, alone).await;
    let refused = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
    // What the proxy has is right, and its only endpoint is never taken out.
    world.verified(&[client]).await;
    let subject = world.pod(3, "payments").admin("/certs").await.expect("a proxy that runs");

    world.retrust(3, Trust { domain: "east.example", alias: TRUST.domain }).await;
    world.proxy_has(client, PAYMENTS, alone).await;
    // Ejected while it refused.
    eventually("the refused endpoint is tried again", CONVERGED_WITHIN, async || {
        let one = client.load(&Order::http(PAYMENTS, 1)).await;
        if one.failures() == 0 { Ok(()) } else { Err(one.line()) }
    })
    .await;
    let verified = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
    world.verified(&[client]).await;
    world.retrust(3, TRUST).await;

    assert!(subject.contains("spiffe://east.example/ns/payments-east/sa/payments"), "{subject}");
    assert_eq!(refused.failures(), REQUESTS, "{}", refused.line());
    policy::assert_shares(&client.name(), &verified, &[("cluster-3", 1.0)]);
    vec![
        format!("cluster-3 is east.example: {}", refused.line()),
        format!("it names cluster.local an alias: {}", verified.line()),
    ]
}
