//! All traffic of a service moves to another region: who is written first, and who waits for whom.

use http::Method;

use crate::{
    support::{Answer, FaultProxy, Mode, StatusProxy, Write, eventually},
    world::{ALL, SOON, World, host},
};

const TO_WEST: &[(&str, i32)] = &[("us-west", 100), ("us-east", 0)];
const TO_EAST: &[(&str, i32)] = &[("us-west", 0), ("us-east", 100)];

async fn say(world: &World<'_>, targets: &[(&str, i32)]) {
    world.clusters[1].apply(vec![world.policy("payments", &[("default", targets)])]).await;
}

/// Waits until clusters send everything to a region.
async fn go_to(world: &World<'_>, region: &str, clusters: &[usize]) {
    for cluster in clusters {
        let what = format!("{} sends everything to {region}", world.clusters[*cluster].name());
        eventually(&what, SOON, async || {
            let found = region_in(world, *cluster).await;
            if found.as_deref() == Some(region) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
}

async fn region_in(world: &World<'_>, cluster: usize) -> Option<String> {
    let entry = world.entry(cluster, &host("payments")).await?;
    entry["metadata"]["annotations"]["tradewind.io/policy-region"].as_str().map(str::to_owned)
}

/// The controller's writes of the ServiceEntry of payments since a mark.
async fn written(world: &World<'_>, cluster: usize, since: &[crate::support::Mark]) -> Vec<Write> {
    let name = format!("{}-se", host("payments"));
    let writes = world.clusters[cluster].writes(since[cluster]).await.into_iter();
    let ours =
        writes.filter(|write| write.user_agent.starts_with("tradewind/") && write.namespace == world.sync_namespace());
    ours.filter(|write| write.name == name && write.resource == "serviceentries").collect()
}

/// payments runs in cluster-2 (us-west) and cluster-3 (us-east). The first write of cluster-3 fails: without an order, the
/// others would be written before it is tried again.
// Invariant: When all traffic moves to a region, the clusters there are written first, and an unreachable region delays
// no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_region_that_gets_all_traffic_is_written_before_the_others() {
    let world = World::shared().await;
    let proxy = StatusProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    say(&world, TO_WEST).await;
    let _controller = world.start(&[]).await;
    go_to(&world, "us-west", &ALL).await;

    let since = world.marks().await;
    proxy.answer(Answer::with(500).methods(&[Method::PATCH]).path("/serviceentries").times(1));
    say(&world, TO_EAST).await;
    go_to(&world, "us-east", &ALL).await;
    assert_eq!(proxy.injected(), 1, "the first write failed");
    let [first] = &written(&world, 2, &since).await[..] else { panic!("one write") };
    for cluster in [0, 1] {
        let [behind] = &written(&world, cluster, &since).await[..] else { panic!("one write") };
        assert!(first.time < behind.time, "{} before {}", first.time, behind.time);
    }

    // The way back: now it is the turn of cluster-2.
    let since = world.marks().await;
    say(&world, TO_WEST).await;
    go_to(&world, "us-west", &ALL).await;
    let [first] = &written(&world, 1, &since).await[..] else { panic!("one write") };
    for cluster in [0, 2] {
        let [behind] = &written(&world, cluster, &since).await[..] else { panic!("one write") };
        assert!(first.time < behind.time, "{} before {}", first.time, behind.time);
    }
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(writes.values().all(|count| *count == 1), "{writes:#?}");
}

/// The network of cluster-3 hangs when everything moves there. The others are written while it does, and cluster-3 when it
/// is back.
// Invariant: When all traffic moves to a region, the clusters there are written first, and an unreachable region delays
// no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_out_of_reach_keeps_nobody_from_moving() {
    let world = World::shared().await;
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    say(&world, TO_WEST).await;
    let _controller = world.start(&[]).await;
    go_to(&world, "us-west", &ALL).await;

    proxy.set(Mode::Hang).await;
    say(&world, TO_EAST).await;
    go_to(&world, "us-east", &[0, 1]).await;
    assert_eq!(region_in(&world, 2).await.as_deref(), Some("us-west"), "nothing reached it");
    proxy.set(Mode::Pass).await;
    go_to(&world, "us-east", &[2]).await;
}
