//! Operators suspend services and clusters, or let nothing be written, while the controller runs.

use serde_json::{Value, json};

use crate::{
    support::{controller::Controller, eventually},
    world::{ALL, GATEWAYS, SOON, World, endpoints_of, host, noted, unnoted},
};

pub async fn configure(world: &World<'_>, spec: Value) {
    world
        .hub()
        .apply(vec![json!({
            "apiVersion": "tradewind.io/v1alpha1", "kind": "TradewindConfig",
            "metadata": {"name": "operations", "namespace": world.hub_namespace()},
            "spec": spec,
        })])
        .await;
}

async fn weights(world: &World<'_>, cluster: usize, expected: [u64; 2]) {
    eventually("the weights are there", SOON, async || {
        let entry = world.entry(cluster, &host("payments")).await.ok_or_else(String::new)?;
        let mut weights: Vec<u64> = endpoints_of(&entry).iter().map(|(_, _, weight)| *weight).collect();
        weights.sort_unstable();
        if weights == expected { Ok(()) } else { Err(format!("{weights:?}")) }
    })
    .await;
}

async fn split(world: &World<'_>, west: i32) {
    let shares: &[_] = &[("us-west", west), ("us-east", 100 - west)];
    world.clusters[2].apply(vec![world.policy("payments", &[("default", shares)])]).await;
}

async fn read_only(controller: &Controller, expected: bool) {
    eventually("readiness tells it", SOON, async || {
        let answer = controller.get("/health/ready?checkifreadonly=true").await;
        if answer.is_err() == expected { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

// Invariant: Suspended objects are neither written nor removed; `readOnly` is checked before every write.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_service_stays_as_it_is_also_over_a_restart_and_follows_when_it_is_released() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    split(&world, 80).await;
    let controller = world.start(&[]).await;
    for cluster in ALL {
        weights(&world, cluster, [20, 80]).await;
    }

    configure(&world, json!({"suspend": [{"identity": "PAYMENTS", "reason": "INC-7"}]})).await;
    noted(&controller, "suspended", &["payments", "INC-7"]).await;
    let since = world.marks().await;
    split(&world, 30).await;
    world.clusters[1].delete("Deployment.apps", world.namespace("payments").as_str(), "payments").await;
    world.sentinel(&ALL).await;
    controller.kill();
    let controller = world.start(&[]).await;
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(writes.keys().all(|write| !write.contains("payments")), "{writes:#?}");
    for cluster in ALL {
        weights(&world, cluster, [20, 80]).await;
    }

    world.hub().delete("TradewindConfig.tradewind.io", world.hub_namespace().as_str(), "operations").await;
    world.sees(0, &host("payments"), &[GATEWAYS[2]]).await;
    unnoted(&controller, "suspended", &["payments"]).await;
}

// Invariant: Suspended objects are neither written nor removed; `readOnly` is checked before every write.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_cluster_is_left_alone_and_the_others_go_on() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    split(&world, 80).await;
    configure(&world, json!({"suspend": [{"cluster": "cluster-1"}]})).await;
    let _controller = world.start(&[]).await;
    for cluster in [1, 2] {
        weights(&world, cluster, [20, 80]).await;
    }
    assert_eq!(world.hosts(0).await, Vec::<String>::new(), "suspended from the start");

    configure(&world, json!({"suspend": [{"cluster": "cluster-3", "environment": "stage"}]})).await;
    weights(&world, 0, [20, 80]).await;
    split(&world, 30).await;
    for cluster in [0, 1] {
        weights(&world, cluster, [30, 70]).await;
    }
    weights(&world, 2, [20, 80]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_only_is_switched_while_running() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    split(&world, 80).await;
    configure(&world, json!({"readOnly": true})).await;
    let controller = world.start(&[]).await;
    read_only(&controller, true).await;
    for cluster in ALL {
        assert_eq!(world.hosts(cluster).await, Vec::<String>::new());
    }
    configure(&world, json!({"readOnly": false})).await;
    read_only(&controller, false).await;
    for cluster in ALL {
        weights(&world, cluster, [20, 80]).await;
    }
}
