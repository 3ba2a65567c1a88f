//! What ends and comes back: the controller, a cluster's API server, an istiod.

use super::{PAYMENTS, failover, policy};
use crate::{
    load::{Outcome, now_micros},
    pod::Pod,
    world::World,
};

const EAST: &[(&str, u32)] = &[("us-east", 100), ("us-west", 0)];
const WEST: &[(&str, u32)] = &[("us-west", 100), ("us-east", 0)];

/// What `tradewind verify` says of us-east at a proxy that does not know yet that it has no share any more.
const OLD_SHARE: &str = "it gets 100.0 % of the traffic, planned are 0.0 %";

async fn begin(world: &World) -> [&Pod; 3] {
    failover::two_regions(world).await;
    policy::set(world, EAST).await;
    let clients = super::shares::clients(world);
    for client in clients {
        client.load_start(&failover::steady()).await;
        failover::answered_by(client, &["cluster-3"]).await;
    }
    clients
}

async fn end(world: &World, clients: [&Pod; 3], wrong: &str, from: u64, until: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for client in clients {
        failover::answered_by(client, &["cluster-2"]).await;
    }
    for client in clients {
        let outcome = client.load_stop().await;
        assert_eq!(outcome.failures(), 0, "{}: {}", client.name(), outcome.line());
        // While nobody had read the new policy, nobody may obey it, or anything else.
        let early = outcome.samples.iter().filter(|sample| (from..until).contains(&sample.done));
        let early = early.filter(|sample| outcome.kind_of(sample).starts_with(wrong)).count();
        assert_eq!(early, 0, "{}: answers by {wrong} too early", client.name());
        outcomes.push(outcome);
    }
    world.verified(&clients).await;
    outcomes
}

fn line(what: &str, outcomes: &[Outcome]) -> String {
    let requests: u64 = outcomes.iter().map(Outcome::total).sum();
    format!("{what}: {requests} requests from 3 clusters, none failed, all by us-east before and by us-west after")
}

pub async fn controller(world: &World) -> Vec<String> {
    let clients = begin(world).await;
    let killed = now_micros();
    world.kill_controller().await;
    policy::set(world, WEST).await;
    for client in clients {
        failover::more_answers(client).await;
    }
    // Of the policy it knows; what should be written is not.
    world.differs(clients[0], &[OLD_SHARE, "likely: weights of an older ServiceEntry"]).await;
    let back = now_micros();
    world.start_controller().await;
    let outcomes = end(world, clients, "cluster-2", killed, back).await;
    vec![line("Tradewind killed, policy edited meanwhile, started", &outcomes)]
}

pub async fn api_server(world: &World) -> Vec<String> {
    let clients = begin(world).await;
    let api = &world.cluster(2).api;
    let killed = now_micros();
    api.stop_apiserver();
    for client in clients {
        failover::more_answers(client).await;
    }
    let edited = now_micros();
    policy::set(world, WEST).await;
    // The others follow while cluster-2 cannot be written to; its own client stays as it was.
    failover::answered_by(clients[0], &["cluster-2"]).await;
    failover::answered_by(clients[2], &["cluster-2"]).await;
    failover::answered_by(clients[1], &["cluster-3"]).await;
    world.verified_without("cluster-2", &[clients[0], clients[2]]).await;
    let (code, said) = world.verify(clients[1]).await;
    assert!(code == Some(2) && said.contains("cluster-2 cannot be read now"), "{code:?}: {said}");
    api.start_apiserver().await;
    let outcomes = end(world, clients, "cluster-2", killed, edited).await;
    vec![line("API server of cluster-2 killed, policy edited meanwhile, started", &outcomes)]
}

pub async fn istiod(world: &World) -> Vec<String> {
    let clients = begin(world).await;
    let killed = now_micros();
    world.cluster(1).kill_istiod().await;
    for client in clients {
        failover::more_answers(client).await;
    }
    let edited = now_micros();
    policy::set(world, WEST).await;
    failover::answered_by(clients[1], &["cluster-2"]).await;
    failover::answered_by(clients[2], &["cluster-2"]).await;
    failover::answered_by(clients[0], &["cluster-3"]).await;
    world.differs(clients[0], &[OLD_SHARE, "likely: istiod has not sent the newest ServiceEntry"]).await;
    world.cluster(1).start_istiod().await;
    world.proxy_has(clients[0], PAYMENTS, |endpoints| endpoints.len() == 2).await;
    let outcomes = end(world, clients, "cluster-2", killed, edited).await;
    vec![line("istiod of cluster-1 killed, policy edited meanwhile, started", &outcomes)]
}
