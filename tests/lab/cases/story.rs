//! The story that every example tells: who reaches payments, and by what.

use super::PAYMENTS;
use crate::{
    load::Order,
    network::{gateway_address, pod_address},
    world::World,
};

pub async fn payments(world: &World) -> Vec<String> {
    let gateway = |cluster| format!("{}:15443", gateway_address(cluster));
    let local = |cluster, pod| format!("{}:8080", pod_address(cluster, pod));
    let seen = [
        (world.pod(1, "orders"), [gateway(2), gateway(3)]),
        (world.pod(2, "reports"), [local(2, 2), gateway(3)]),
        (world.pod(3, "payments"), [gateway(2), local(3, 1)]),
    ];
    let mut figures = Vec::new();
    for (client, expected) in seen {
        world
            .proxy_has(client, PAYMENTS, |endpoints| {
                let mut addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
                let mut expected = expected.to_vec();
                addresses.sort();
                expected.sort();
                addresses == expected
            })
            .await;
        let outcome = client.load(&Order::http(PAYMENTS, 1000)).await;
        figures.push(format!("{}: {}", client.name(), outcome.line()));
    }
    // Nobody declared that strangers call payments: their proxies know nothing of it, in a cluster that has it and in
    // one that does not even need it.
    for cluster in [1, 4] {
        let stranger = world.pod(cluster, "stranger");
        let endpoints = stranger.endpoints(PAYMENTS, 80).await;
        assert!(endpoints.is_err(), "{}: {endpoints:?}", stranger.name());
        let outcome = stranger.load(&Order::http(PAYMENTS, 20)).await;
        assert_eq!(outcome.failures(), outcome.total(), "{}: {}", stranger.name(), outcome.line());
        figures.push(format!("{}, undeclared: {}", stranger.name(), outcome.line()));
    }
    // What a gateway serves is a part of the plan of its cluster.
    let gateways = [1, 2, 3, 4].map(|cluster| world.pod(cluster, "eastwestgateway"));
    let strangers = [1, 4].map(|cluster| world.pod(cluster, "stranger"));
    world.verified(&[&super::shares::clients(world)[..], &strangers, &gateways].concat()).await;
    figures
}
