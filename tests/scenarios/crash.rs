//! `kill -9` at many moments: the next life ends where an undisturbed one would, and repeats nothing.

use std::collections::BTreeMap;

use crate::{
    support::{Mark, Write, eventually},
    world::{ALL, DESTINATION_RULE, SERVICE_ENTRY, SOON, World, host},
};

const SERVICES: usize = 10;

fn identities() -> impl Iterator<Item = String> {
    (0..SERVICES).map(|number| format!("service-{number}"))
}

/// Everything is written one after the other, so that there are many moments to die at.
const SLOWLY: &[&str] = &["--write-concurrency=1"];

async fn wait_for_writes(world: &World<'_>, since: &[Mark], at_least: usize) {
    eventually(&format!("{at_least} writes"), SOON, async || {
        let writes: usize = world.writes(since).await.values().sum();
        if writes >= at_least { Ok(()) } else { Err(writes.to_string()) }
    })
    .await;
}

/// No object was changed more than once since then.
async fn only_once(world: &World<'_>, since: &[Mark]) {
    for (cluster, mark) in world.clusters.iter().zip(since) {
        let mut by_object: BTreeMap<String, Vec<Write>> = BTreeMap::new();
        for write in cluster.writes(*mark).await {
            // The API server gives up a request whose sender died, with 504; what it had stored the next life finds.
            if write.namespace == world.sync_namespace() && write.code < 300 {
                by_object.entry(format!("{} {}", write.resource, write.name)).or_default().push(write);
            }
        }
        by_object.retain(|_, writes| writes.len() > 1);
        assert!(by_object.is_empty(), "{}: written more than once: {by_object:#?}", cluster.name());
    }
}

async fn weights(world: &World<'_>, cluster: usize) -> BTreeMap<String, Vec<u64>> {
    let entries = world.clusters[cluster].list(SERVICE_ENTRY, world.sync_namespace().as_str()).await;
    let weights = |entry: &serde_json::Value| {
        let mut weights: Vec<u64> = crate::world::endpoints_of(entry).iter().map(|(_, _, weight)| *weight).collect();
        weights.sort_unstable();
        (crate::world::text(&entry["spec"]["hosts"][0]), weights)
    };
    entries.iter().map(weights).collect()
}

/// Waits until every service has this split in every cluster.
async fn split(world: &World<'_>, west: u64, east: u64) {
    let expected: BTreeMap<String, Vec<u64>> = identities()
        .map(|identity| (host(&identity), if west < east { vec![west, east] } else { vec![east, west] }))
        .collect();
    for cluster in ALL {
        eventually("the split is everywhere", SOON, async || {
            let found = weights(world, cluster).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
}

async fn policies(world: &World<'_>, west: i32, east: i32) {
    let targets = [("us-west", west), ("us-east", east)];
    let policies = identities().map(|identity| world.policy(&identity, &[("default", &targets)])).collect();
    world.clusters[1].apply(policies).await;
}

// Invariant: Applying makes no choices: planning after applying changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_controller_continues_after_a_kill() {
    let world = World::shared().await;
    world.register(&ALL).await;
    for cluster in [1, 2] {
        let objects = identities().flat_map(|identity| [world.deployment(&identity), world.service(&identity)]);
        world.clusters[cluster].apply(objects.collect()).await;
    }
    policies(&world, 10, 90).await;

    let since = world.marks().await;
    // Also before the first write, and before it is even ready.
    for moment in [0, 0, 1, 9, 20, 34, 51] {
        let controller = world.start_unready(SLOWLY).await;
        wait_for_writes(&world, &since, moment).await;
        controller.kill();
    }
    let controller = world.start(SLOWLY).await;
    split(&world, 10, 90).await;
    // Rules come before entries.
    let created = world.writes(&since).await;
    assert_eq!(created.len(), 3 * 2 * SERVICES, "{created:#?}");
    only_once(&world, &since).await;
    controller.kill();

    let since = world.marks().await;
    policies(&world, 70, 30).await;
    for moment in [0, 2, 11, 19] {
        let controller = world.start_unready(SLOWLY).await;
        wait_for_writes(&world, &since, moment).await;
        controller.kill();
    }
    let controller = world.start(SLOWLY).await;
    split(&world, 70, 30).await;
    let changed = world.writes(&since).await;
    assert_eq!(changed.len(), 3 * SERVICES, "{changed:#?}");
    only_once(&world, &since).await;
    controller.kill();

    let disturbed = world.picture().await;
    for cluster in world.clusters {
        for kind in [SERVICE_ENTRY, DESTINATION_RULE] {
            for object in cluster.list(kind, world.sync_namespace().as_str()).await {
                let name = crate::world::text(&object["metadata"]["name"]);
                cluster.delete(kind, world.sync_namespace().as_str(), &name).await;
            }
        }
    }
    let _controller = world.start(&[]).await;
    split(&world, 70, 30).await;
    assert_eq!(world.picture().await, disturbed, "an undisturbed life writes the same");
}

/// What was wanted away while nobody was there is swept by the next life, and what stayed is not touched.
// Invariant: A restart changes nothing, and changes missed while the controller was down are applied.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_controller_was_down_is_made_good() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "stays").await;
    world.deploy(&[1, 2], "shrinks").await;
    world.deploy(&[1], "goes").await;
    let controller = world.start(&[]).await;
    for identity in ["stays", "shrinks", "goes"] {
        for cluster in ALL {
            eventually("it is there", SOON, async || {
                world.rule(cluster, &host(identity)).await.ok_or_else(String::new)?;
                world.entry(cluster, &host(identity)).await.map(drop).ok_or_else(String::new)
            })
            .await;
        }
    }
    controller.kill();

    world.undeploy(1, "goes").await;
    world.undeploy(2, "shrinks").await;
    let since = world.marks().await;
    let _controller = world.start(&[]).await;
    for cluster in ALL {
        world.gone(cluster, &host("goes")).await;
    }
    world.sees(2, &host("shrinks"), &[crate::world::GATEWAYS[1]]).await;
    world.removal_sentinel(&ALL).await;
    let mut expected = BTreeMap::new();
    for cluster in ["cluster-1", "cluster-2", "cluster-3"] {
        expected.insert(format!("{cluster} delete serviceentries stage.goes.global-se"), 1);
        expected.insert(format!("{cluster} delete destinationrules stage.goes.global-default-dr"), 1);
        // A single endpoint is not ejected as easily as one of two.
        expected.insert(format!("{cluster} patch serviceentries stage.shrinks.global-se"), 1);
        expected.insert(format!("{cluster} patch destinationrules stage.shrinks.global-default-dr"), 1);
    }
    assert_eq!(world.writes(&since).await, expected);
}
