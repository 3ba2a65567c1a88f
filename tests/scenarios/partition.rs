//! A cluster out of reach: what is known of it stays in force until it is heard again, and it slows nobody.

use crate::{
    support::{FaultProxy, Mode, eventually},
    world::{ALL, GATEWAYS, SOON, World, host, noted, own_clusters, unnoted},
};

/// A world whose third cluster is behind a proxy; `payments` runs in the second and the third, `solo` in the third alone.
async fn behind_a_proxy(world: &World<'_>) -> FaultProxy {
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    world.deploy(&[2], "solo").await;
    proxy
}

async fn all_see_both(world: &World<'_>, clusters: &[usize]) {
    for cluster in clusters {
        let local = world.local("payments");
        let endpoint = |of: usize| if of == *cluster { local.as_str() } else { GATEWAYS[of] };
        world.sees(*cluster, &host("payments"), &[endpoint(1), endpoint(2)]).await;
    }
}

/// What is known of a service that only the third cluster runs.
async fn solo_is_reached(world: &World<'_>) {
    for cluster in [0, 1] {
        world.sees(cluster, &host("solo"), &[GATEWAYS[2]]).await;
    }
}

async fn all_see_only_the_second(world: &World<'_>) {
    for cluster in ALL {
        let local = world.local("payments");
        let endpoint = if cluster == 1 { local.as_str() } else { GATEWAYS[1] };
        world.sees(cluster, &host("payments"), &[endpoint]).await;
    }
}

/// What happens behind the partition stays unknown: nothing of it is removed, also not after a restart; other changes go
/// on; once healed, all follow.
async fn keeps_then_follows(mode: Mode) {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    let controller = world.start(&[]).await;
    all_see_both(&world, &ALL).await;
    solo_is_reached(&world).await;

    proxy.set(mode).await;
    world.undeploy(2, "payments").await;
    world.undeploy(2, "solo").await;
    let since = world.marks().await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
    all_see_both(&world, &[0, 1]).await;

    // A new life knows only what was written.
    controller.kill();
    let controller = world.start(&[]).await;
    noted(&controller, "cluster-unreachable", &["cluster-3"]).await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
    all_see_both(&world, &[0, 1]).await;
    solo_is_reached(&world).await;

    proxy.set(Mode::Pass).await;
    all_see_only_the_second(&world).await;
    for cluster in ALL {
        world.gone(cluster, &host("solo")).await;
    }
    unnoted(&controller, "cluster-unreachable", &["cluster-3"]).await;
}

// Invariant: Nothing is removed because a cluster could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_refuses_connections_keeps_its_endpoints() {
    keeps_then_follows(Mode::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_watch_missed_is_noticed() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    let _controller = world.start(&[]).await;
    all_see_both(&world, &ALL).await;
    let since = world.marks().await;

    proxy.set(Mode::Refuse).await;
    world.undeploy(2, "payments").await;
    world.deploy(&[2], "late").await;
    proxy.set(Mode::Pass).await;
    all_see_only_the_second(&world).await;
    world.sees(1, &host("late"), &[GATEWAYS[2]]).await;
    world.sees(2, &host("late"), &[&world.local("late")]).await;

    proxy.cut().await;
    world.undeploy(2, "late").await;
    world.gone(1, &host("late")).await;
    world.gone(2, &host("late")).await;
    let writes = world.writes(&since).await;
    assert!(writes.values().all(|count| *count == 1), "{writes:#?}");
}

/// A whole API server: stopped and started, then frozen. The others are as quick as ever.
// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_or_frozen_slows_nobody() {
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    all_see_both(&world, &ALL).await;

    clusters[2].stop_apiserver();
    world.removal_sentinel(&[0, 1]).await;
    all_see_both(&world, &[0, 1]).await;
    world.deploy(&[1], "during").await;
    world.sees(0, &host("during"), &[GATEWAYS[1]]).await;
    clusters[2].start_apiserver().await;
    // What it missed is brought to it.
    world.sees(2, &host("during"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "cluster-unreachable", &["cluster-3"]).await;

    clusters[2].pause().await;
    world.undeploy(1, "during").await;
    world.gone(0, &host("during")).await;
    world.deploy(&[1], "frozen").await;
    world.sees(0, &host("frozen"), &[GATEWAYS[1]]).await;
    all_see_both(&world, &[0, 1]).await;
    clusters[2].resume();
    world.sees(2, &host("frozen"), &[GATEWAYS[1]]).await;
    world.gone(2, &host("during")).await;

    // The hub is a cluster like the others: without it no cluster joins or leaves, and all else goes on.
    clusters[0].stop_apiserver();
    world.deploy(&[1], "without-a-hub").await;
    world.sees(2, &host("without-a-hub"), &[GATEWAYS[1]]).await;
    controller.kill();
    let controller = world.start_unready(&[]).await;
    world.deploy(&[1], "waits-for-the-hub").await;
    clusters[0].start_apiserver().await;
    controller.ready().await;
    world.sees(2, &host("waits-for-the-hub"), &[GATEWAYS[1]]).await;
    all_see_both(&world, &ALL).await;
}

/// Connections that stand and carry nothing. The controller starts into it, which a watch of a minute would not show.
// Invariant: Nothing is removed because a cluster could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_a_partition() {
    keeps_then_follows(Mode::Hang).await;
}

/// A policy that cannot be read is still the one by which its service's objects were written.
// Invariant: A policy that cannot be read remains in force.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_cluster_out_of_reach_stays_in_force() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    let split: &[_] = &[("us-west", 80), ("us-east", 20)];
    world.clusters[2].apply(vec![world.policy("payments", &[("default", split), ("west", split)])]).await;
    let controller = world.start(&[]).await;
    for cluster in [0, 1] {
        let local = world.local("payments");
        let second = if cluster == 1 { local.as_str() } else { GATEWAYS[1] };
        for host in [host("payments"), format!("west.{}", host("payments"))] {
            world.sees(cluster, &host, &[second, GATEWAYS[2]]).await;
        }
    }
    solo_is_reached(&world).await;
    controller.kill();

    proxy.set(Mode::Refuse).await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "policy-unreadable", &["payments", "cluster-3"]).await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;

    world.clusters[2].delete("GlobalTrafficPolicy.admiral.io", world.namespace("payments").as_str(), "payments").await;
    proxy.set(Mode::Pass).await;
    unnoted(&controller, "policy-unreadable", &[]).await;
    for cluster in ALL {
        eventually("the policy has no effect any more", SOON, async || {
            let hosts = world.hosts(cluster).await;
            let prefixed = hosts.iter().any(|host| host.starts_with("west."));
            if prefixed { Err(format!("{hosts:?}")) } else { Ok(()) }
        })
        .await;
    }
}
