//! Shares of traffic by policy.

use super::{PAYMENTS, policy};
use crate::{load::Order, pod::Endpoint, pod::Pod, world::World};

/// Requests per client.
const REQUESTS: u64 = 2000;

/// Whether every endpoint's weight, in order of address, is one of these.
fn weights(endpoints: &[Endpoint], expected: &[u64]) -> bool {
    let mut found: Vec<u64> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
    found.sort_unstable();
    found == expected
}

/// The clients of three clusters.
pub fn clients(world: &World) -> [&Pod; 3] {
    [world.pod(1, "orders"), world.pod(2, "reports"), world.pod(3, "payments")]
}

pub async fn ninety_ten(world: &World) -> Vec<String> {
    policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    let mut figures = Vec::new();
    for client in clients(world) {
        world.proxy_has(client, PAYMENTS, |endpoints| weights(endpoints, &[10, 90])).await;
    }
    world.verified(&clients(world)).await;
    for client in clients(world) {
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        figures.push(format!("{}: {}", client.name(), outcome.line()));
        eprintln!("{}", figures.last().expect("was just pushed"));
        policy::assert_shares(&client.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    }
    figures
}
