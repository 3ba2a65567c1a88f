//! Policies that change while requests are made.

use super::{PAYMENTS, failover, policy};
use crate::{
    load::{Order, Outcome, now_micros},
    pod::Pod,
    world::World,
};

/// Ends a load; what came since a time: who answered first and last as before and as wanted.
struct Change {
    outcome: Outcome,
    edited: u64,
}

impl Change {
    fn first(&self, cluster: &str) -> u64 {
        let by = |kind: &str| kind.starts_with(cluster);
        let first = self.outcome.samples.iter().find(|sample| by(self.outcome.kind_of(sample)));
        (first.expect("was awaited").done - self.edited) / 1000
    }

    fn last(&self, cluster: &str) -> u64 {
        let by = |kind: &str| kind.starts_with(cluster);
        let last = self.outcome.samples.iter().rev().find(|sample| by(self.outcome.kind_of(sample)));
        last.map_or(0, |sample| (sample.done - self.edited) / 1000)
    }
}

/// Sends everything from one region to another while clients in three clusters make requests.
async fn change(
    world: &World,
    clients: &[&Pod],
    from: &[(&str, u32)],
    old: &[&str],
    to: &[(&str, u32)],
    new: &str,
) -> Vec<Change> {
    policy::set(world, from).await;
    for client in clients {
        client.load_start(&failover::steady()).await;
        failover::answered_by(client, old).await;
    }
    let edited = now_micros();
    policy::set(world, to).await;
    let mut changes = Vec::new();
    for client in clients {
        failover::answered_by(client, &[new]).await;
    }
    for client in clients {
        let outcome = client.load_stop().await;
        assert_eq!(outcome.failures(), 0, "{}: {}", client.name(), outcome.line());
        changes.push(Change { outcome: outcome.since(edited), edited });
    }
    world.verified(clients).await;
    changes
}

// Invariant: No proxy gets a state that matches neither the old nor the new policy. [the lab's row `policy-edit`]
pub async fn under_load(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    let clients = super::shares::clients(world);
    let west: &[(&str, u32)] = &[("us-west", 100), ("us-east", 0)];
    let east: &[(&str, u32)] = &[("us-east", 100), ("us-west", 0)];
    let changes = change(world, &clients, west, &["cluster-2"], east, "cluster-3").await;
    clients
        .iter()
        .zip(&changes)
        .map(|(client, change)| {
            format!(
                "{}: first by us-east after {} ms, last by us-west after {} ms, {} requests, none failed",
                client.name(),
                change.first("cluster-3"),
                change.last("cluster-2"),
                change.outcome.total()
            )
        })
        .collect()
}

// Invariant: No proxy gets a state that matches neither the old nor the new policy. [the lab's row `drain`]
pub async fn drain(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    let clients = super::shares::clients(world);
    let both: &[(&str, u32)] = &[("us-east", 90), ("us-west", 10)];
    let drained: &[(&str, u32)] = &[("us-east", 0), ("us-west", 100)];
    let changes = change(world, &clients, both, &["cluster-2", "cluster-3"], drained, "cluster-2").await;
    let quiet = clients[0].load(&Order::http(PAYMENTS, 500)).await;
    policy::assert_shares("after the drain", &quiet, &[("cluster-2", 1.0)]);
    let lines = clients.iter().zip(&changes).map(|(client, change)| {
        format!(
            "{}: the last by us-east after {} ms, {} requests, none failed",
            client.name(),
            change.last("cluster-3"),
            change.outcome.total()
        )
    });
    lines.collect()
}
