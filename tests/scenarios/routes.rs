//! VirtualServices and DestinationRules that users made: copied once per change, never touched, and remembered.
//!
//! Each test has an identity of its own: what users say of a host is seen by every controller on these clusters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    support::{FaultProxy, Mode, eventually, unique},
    world::{ALL, DESTINATION_RULE, SOON, World, host, noted, text, unnoted},
};

const VIRTUAL_SERVICE: &str = "VirtualService.networking.istio.io";

fn route(world: &World<'_>, identity: &str, attempts: u32) -> Value {
    let destination = json!({"host": identity, "subset": "west", "port": {"number": 8080}});
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": identity, "namespace": world.namespace(identity), "labels": {"team": "pay"},
                     "annotations": {"contact": "pay@example.com"}},
        "spec": {"hosts": [host(identity)], "http": [{"retries": {"attempts": attempts}, "route": [{"destination": destination}]}]},
    })
}

fn rule(world: &World<'_>, identity: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": identity, "namespace": world.namespace(identity), "finalizers": ["example.com/keep"]},
        "spec": {"host": host(identity), "subsets": [{"name": "west", "labels": {"tradewind.io/region": "us-west"}}]},
    })
}

/// The copies of one kind that stand in a cluster.
async fn copies(world: &World<'_>, cluster: usize, kind: &str) -> Vec<Value> {
    let mut objects = world.clusters[cluster].list(kind, world.sync_namespace().as_str()).await;
    objects.retain(|object| object["metadata"]["annotations"]["tradewind.io/origin"].is_string());
    objects
}

/// Waits until a cluster has exactly this many copies of VirtualServices, each with these retries.
async fn routes_with(world: &World<'_>, cluster: usize, expected: &[u64]) {
    let what = format!("{} has copies with {expected:?} retries", world.clusters[cluster].name());
    eventually(&what, SOON, async || {
        let copies = copies(world, cluster, VIRTUAL_SERVICE).await;
        let retries = |copy: &Value| copy["spec"]["http"][0]["retries"]["attempts"].as_u64().unwrap_or_default();
        let found: Vec<u64> = copies.iter().map(retries).collect();
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

fn once(writes: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    writes.into_iter().map(|write| (write, 1)).collect()
}

// Invariant: Copies of users' routes are written once per change, and outlive a restart without their origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_copied_once_per_change_and_never_touched_itself() {
    let world = World::shared().await;
    let identity = unique("routed");
    world.register(&ALL).await;
    world.deploy(&[1], &identity).await;
    world.depend("client", &[&identity]).await;
    world.deploy(&[0], "client").await;
    world.clusters[1].apply(vec![route(&world, &identity, 2), rule(&world, &identity)]).await;
    let namespace = world.namespace(&identity);
    let users = async |kind: &str| {
        let object = world.clusters[1].get_json(kind, namespace.as_str(), &identity).await.expect("it is the user's");
        (object["metadata"]["resourceVersion"].clone(), object["metadata"]["managedFields"].clone())
    };
    let before = (users(VIRTUAL_SERVICE).await, users(DESTINATION_RULE).await);
    let _controller = world.start(&[]).await;

    routes_with(&world, 0, &[2]).await;
    let copy = copies(&world, 0, VIRTUAL_SERVICE).await.remove(0);
    let (metadata, name) = (&copy["metadata"], text(&copy["metadata"]["name"]));
    assert_eq!(metadata["annotations"]["tradewind.io/origin"], format!("cluster-2/{namespace}/{identity}"));
    assert_eq!(
        (&metadata["labels"]["team"], &metadata["annotations"]["contact"]),
        (&json!("pay"), &json!("pay@example.com"))
    );
    let destination = &copy["spec"]["http"][0]["route"][0]["destination"];
    assert_eq!(*destination, json!({"host": host(&identity), "subset": "west", "port": {"number": 80}}));
    let rules = copies(&world, 0, DESTINATION_RULE).await;
    assert_eq!(rules.len(), 1, "it was there before the route that refers to it");
    assert_eq!(rules[0]["spec"]["subsets"][0]["name"], "west");
    for object in [&copy, &rules[0]] {
        assert!(
            object["metadata"]["ownerReferences"].is_null() && object["metadata"]["finalizers"].is_null(),
            "{object:#}"
        );
    }
    world.sentinel(&ALL).await;
    routes_with(&world, 1, &[]).await;
    routes_with(&world, 2, &[]).await;
    assert_eq!((users(VIRTUAL_SERVICE).await, users(DESTINATION_RULE).await), before);

    let since = world.marks().await;
    world.clusters[1].apply(vec![route(&world, &identity, 5)]).await;
    routes_with(&world, 0, &[5]).await;
    // A label of somebody else's on the copy is no change.
    let mut labelled = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"});
    labelled["metadata"] = json!({"name": name, "namespace": world.sync_namespace(), "labels": {"audit": "yes"}});
    world.clusters[0].apply(vec![labelled]).await;
    world.sentinel(&ALL).await;
    assert_eq!(world.writes(&since).await, once([format!("cluster-1 patch virtualservices {name}")]));
    let copy = copies(&world, 0, VIRTUAL_SERVICE).await.remove(0);
    assert_eq!(copy["metadata"]["labels"]["audit"], "yes");

    let since = world.marks().await;
    world.clusters[1].delete(VIRTUAL_SERVICE, namespace.as_str(), &identity).await;
    routes_with(&world, 0, &[]).await;
    world.removal_sentinel(&ALL).await;
    assert_eq!(world.writes(&since).await, once([format!("cluster-1 delete virtualservices {name}")]));
    assert_eq!(copies(&world, 0, DESTINATION_RULE).await.len(), 1);
    // So that the namespace can go.
    let mut freed = rule(&world, &identity);
    freed["metadata"]["finalizers"] = json!([]);
    world.clusters[1].apply(vec![freed]).await;
}

// Invariant: Copies of users' routes are written once per change, and outlive a restart without their origin.
#[tokio::test(flavor = "multi_thread")]
async fn copies_outlive_a_restart_without_their_origin_and_then_follow_it() {
    let world = World::shared().await;
    let identity = unique("routed");
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[2], &identity).await;
    world.clusters[2].apply(vec![route(&world, &identity, 2), rule(&world, &identity)]).await;
    let controller = world.start(&[]).await;
    routes_with(&world, 0, &[2]).await;
    routes_with(&world, 1, &[2]).await;
    controller.kill();

    proxy.set(Mode::Refuse).await;
    let namespace = world.namespace(&identity);
    world.clusters[2].delete(VIRTUAL_SERVICE, namespace.as_str(), &identity).await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "route-unreadable", &["cluster-3", &identity]).await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
    routes_with(&world, 0, &[2]).await;
    routes_with(&world, 1, &[2]).await;

    proxy.set(Mode::Pass).await;
    routes_with(&world, 0, &[]).await;
    routes_with(&world, 1, &[]).await;
    unnoted(&controller, "route-unreadable", &[&identity]).await;
    assert_eq!(copies(&world, 0, DESTINATION_RULE).await.len(), 1, "the rule is there still");
    let mut freed = rule(&world, &identity);
    freed["metadata"]["finalizers"] = json!([]);
    world.clusters[2].apply(vec![freed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_joins_gets_the_objects_and_its_orphans_are_removed() {
    let world = World::shared().await;
    let identity = unique("routed");
    world.register(&[0, 1]).await;
    world.deploy(&[1], &identity).await;
    world.clusters[1].apply(vec![route(&world, &identity, 2), rule(&world, &identity)]).await;
    let controller = world.start(&[]).await;
    routes_with(&world, 0, &[2]).await;
    world.register(&[2]).await;
    routes_with(&world, 2, &[2]).await;

    // A route of a stranger does not take the copy's place, and that of a namespace that runs the service does.
    world.clusters[2].apply(vec![route(&world, &identity, 7)]).await;
    noted(&controller, "route-contested", &[&identity]).await;
    routes_with(&world, 2, &[2]).await;
    world.deploy(&[2], &identity).await;
    world.clusters[2].apply(vec![route(&world, &identity, 7)]).await;
    routes_with(&world, 2, &[]).await;
    noted(&controller, "route-outranked", &[&identity]).await;

    controller.kill();
    let namespace = world.namespace(&identity);
    for cluster in [1, 2] {
        world.clusters[cluster].delete(VIRTUAL_SERVICE, namespace.as_str(), &identity).await;
    }
    let _controller = world.start(&[]).await;
    routes_with(&world, 0, &[]).await;
    world.removal_sentinel(&ALL).await;
    for cluster in ALL {
        assert_eq!(copies(&world, cluster, VIRTUAL_SERVICE).await, Vec::<Value>::new());
    }
}
