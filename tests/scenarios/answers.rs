//! API servers that answer badly, and definitions that are not there.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use serde_json::{Value, json};

use crate::{
    support::{self, Answer, StatusProxy, TestCluster, controller::Controller, documents, eventually},
    world::{ALL, GATEWAYS, SOON, World, host, noted, own_clusters, unnoted},
};

/// A world whose third cluster is reached through a proxy that can answer in its place.
async fn behind_a_proxy(world: &World<'_>) -> StatusProxy {
    let proxy = StatusProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_server_errors_pass() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    world.deploy(&[1], "payments").await;
    world.deploy(&[1], "orders").await;
    let patch = || [Method::PATCH];
    proxy.answer(Answer::with(429).methods(&patch()).times(2).retry_after(Duration::from_secs(1)));
    proxy.answer(Answer::with(500).methods(&patch()).times(3));
    proxy.answer(Answer::with(503).methods(&patch()).times(2));
    proxy.answer(Answer::with(429).methods(&[Method::GET]).path("/nodes").times(1).retry_after(Duration::from_secs(1)));
    proxy.answer(Answer::with(500).methods(&[Method::GET]).path("/services").times(2));
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(2, &host("orders"), &[GATEWAYS[1]]).await;
    assert_eq!(proxy.injected(), 10, "all that was prepared was met");
    unnoted(&controller, "write-failed", &["cluster-3"]).await;
    let writes = world.writes(&since).await;
    assert!(writes.values().all(|count| *count == 1), "{writes:#?}");
}

// Invariant: Nothing is removed because a cluster could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_credentials_remove_nothing() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1], &world.local("payments")]).await;

    proxy.answer(Answer::with(401));
    proxy.cut();
    noted(&controller, "cluster-unreachable", &["cluster-3", "401", "credentials"]).await;
    world.undeploy(2, "payments").await;
    let since = world.marks().await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;

    proxy.pass();
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "cluster-unreachable", &["cluster-3"]).await;
}

// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_rights_harms_no_other_and_is_picked_up_later() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    proxy.answer(Answer::with(403).path("/statefulsets"));
    world.deploy(&[2], "payments").await;
    let mut stateful = world.deployment("ledger");
    stateful["kind"] = json!("StatefulSet");
    world.clusters[2].apply(vec![stateful, world.service("ledger")]).await;

    let controller = world.start(&[]).await;
    noted(&controller, "kind-unreadable", &["cluster-3", "StatefulSet", "403"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[&world.local("payments")]).await;
    assert!(world.entry(0, &host("ledger")).await.is_none());

    proxy.pass();
    world.sees(0, &host("ledger"), &[GATEWAYS[2]]).await;
    unnoted(&controller, "kind-unreadable", &["cluster-3", "StatefulSet"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_reported_and_retried() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    proxy.answer(Answer::with(403).methods(&[Method::PATCH]).path("/destinationrules"));
    world.deploy(&[1], "payments").await;
    let controller = world.start(&[]).await;
    noted(&controller, "write-failed", &["cluster-3", "DestinationRule", "stage.payments.global"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    assert!(world.entry(2, &host("payments")).await.is_none(), "no host without its rule");

    proxy.pass();
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "write-failed", &["cluster-3"]).await;
}

/// The place in the event history is lost: what happened meanwhile is found by listing anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_history_is_listed_again() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    world.deploy(&[1, 2], "payments").await;
    let _controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    proxy.answer(Answer::with(503).path("/deployments"));
    proxy.cut();
    world.undeploy(2, "payments").await;
    proxy.pass();
    proxy.answer(Answer::with(410).path("/deployments").times(1));
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    proxy.answer(Answer::with(410).path("/deployments").times(1));
    proxy.cut();
    world.deploy(&[2], "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
}

/// A list of a kind that every cluster serves: one that is not installed is looked for again and again.
const LISTS: &str = "/deployments?&limit=";

/// A watch that broke goes on where it stopped, also where nothing happens: the cluster is whole again, and was not listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_watch_is_taken_up_where_it_stopped() {
    let world = World::shared().await;
    let proxy = behind_a_proxy(&world).await;
    world.deploy(&[2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[2]]).await;
    let lists = proxy.forwarded_with(LISTS);
    assert!(lists > 0);
    proxy.answer(Answer::with(500));
    proxy.cut();
    noted(&controller, "cluster-unreachable", &["cluster-3", "500"]).await;
    proxy.pass();
    unnoted(&controller, "cluster-unreachable", &["cluster-3"]).await;
    unnoted(&controller, "kind-unreadable", &["cluster-3"]).await;
    assert_eq!(proxy.forwarded_with(LISTS), lists);
    world.undeploy(2, "payments").await;
    world.gone(0, &host("payments")).await;
}

/// Neither the end of the rights on Secrets nor their return moves a cluster.
// Invariant: Nothing is removed because a cluster could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_cannot_be_read_remove_nothing() {
    let world = World::shared().await;
    let hub = StatusProxy::start(world.hub()).await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let controller = world.start_through(&hub.kubeconfig(world.hub()), &["--removed-cluster-grace-seconds=0"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    let since = world.marks().await;
    hub.answer(Answer::with(403).path("/secrets"));
    hub.cut();
    noted(&controller, "cluster-unreachable", &["cluster Secrets", "403"]).await;
    world.unregister(1).await;
    world.removal_sentinel(&ALL).await;
    world.wrote_nothing(&since).await;
    hub.pass();
    world.gone(0, &host("payments")).await;
    world.gone(2, &host("payments")).await;
    unnoted(&controller, "cluster-unreachable", &[]).await;
}

/// More objects than a page of a list holds.
#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_read_to_their_end() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    let dependency = |name: String, source: &str| {
        json!({
            "apiVersion": "admiral.io/v1alpha1", "kind": "Dependency",
            "metadata": {"name": name, "namespace": world.hub_namespace()},
            "spec": {"source": source, "identityLabel": "identity", "destinations": ["payments"]},
        })
    };
    let mut many: Vec<Value> = (0..600).map(|number| dependency(format!("d-{number:03}"), "nobody")).collect();
    many.push(dependency("zz".into(), "web"));
    world.hub().apply(many).await;
    let _controller = world.start(&["--without-dependency=none"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

/// Istio's definitions; those of ServiceEntries with their version v1 served or not.
fn istio_definitions(serves_v1: bool) -> Vec<Value> {
    let path = support::parts::part("istio-crds");
    let mut definitions = documents(&std::fs::read_to_string(path).expect("Istio's definitions"));
    for definition in &mut definitions {
        if definition["metadata"]["name"] == "serviceentries.networking.istio.io" {
            let versions = definition["spec"]["versions"].as_array_mut().expect("versions");
            let v1 = versions.iter_mut().find(|version| version["name"] == "v1").expect("v1");
            v1["served"] = json!(serves_v1);
        }
    }
    definitions
}

/// A cluster that was just made: no definition of ours, and an Istio that is too old.
// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_missed_one_by_one_and_picked_up_when_they_come() {
    let cluster = TestCluster::start("cluster-1").await;
    cluster.apply(istio_definitions(false)).await;
    let orders = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: orders}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders, identity: orders, env: stage}, annotations: {sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: app, image: registry.example/app:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: orders}
spec: {selector: {app: orders}, ports: [{name: http, port: 8080}]}
";
    cluster.apply_yaml(orders).await;
    let since = cluster.mark().await;
    cluster.apply(vec![support::controller::cluster_secret("cluster-1", &cluster.kubeconfig())]).await;
    let controller = Controller::start_with(&cluster, &[]).await;
    noted(&controller, "kind-unreadable", &["ServiceEntry", "404", "version"]).await;
    noted(&controller, "kind-unreadable", &["GlobalTrafficPolicy", "404"]).await;
    noted(&controller, "kind-unreadable", &["Dependency", "404"]).await;
    // Without Dependencies nobody knows who is to see what.
    eventually("it waits for Dependencies alone", SOON, async || match controller.get("/health/ready").await {
        Err(waits) if waits.contains("Dependency of cluster") => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;

    let ours = documents(&support::controller::crds());
    let dependencies = ours.into_iter().filter(|crd| crd["spec"]["names"]["kind"] == "Dependency").collect();
    cluster.apply(dependencies).await;
    controller.ready().await;
    cluster.apply(istio_definitions(true)).await;
    let entry = async || {
        cluster.get_json("networking.istio.io/v1/ServiceEntry", "admiral-sync", "stage.orders.global-se").await
    };
    eventually("the service is published", SOON, async || entry().await.map(drop).ok_or_else(String::new)).await;
    unnoted(&controller, "kind-unreadable", &["ServiceEntry"]).await;

    cluster.apply_yaml(&support::controller::crds()).await;
    let prefixed = "
apiVersion: admiral.io/v1alpha1
kind: GlobalTrafficPolicy
metadata: {name: orders, namespace: orders, labels: {identity: orders, env: stage}}
spec: {policy: [{dnsPrefix: west, lbType: 0}]}
";
    cluster.apply_yaml(prefixed).await;
    eventually("the policy counts", SOON, async || {
        let found = cluster
            .get_json("networking.istio.io/v1/ServiceEntry", "admiral-sync", "west.stage.orders.global-se")
            .await;
        found.map(drop).ok_or_else(String::new)
    })
    .await;
    unnoted(&controller, "kind-unreadable", &[]).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for write in cluster.writes(since).await.into_iter().filter(|write| write.user_agent.starts_with("tradewind/")) {
        *counts.entry(format!("{} {} {}", write.verb, write.resource, write.name)).or_default() += 1;
    }
    // It was there before the policy that it names now.
    assert_eq!(counts.remove("patch serviceentries stage.orders.global-se"), Some(2));
    assert!(counts.len() == 4 && counts.values().all(|count| *count == 1), "{counts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_another_authority_is_not_trusted_until_its_secret_says_so() {
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;

    clusters[2].replace_ca().await;
    noted(&controller, "cluster-unreachable", &["cluster-3", "certificate-authority-data"]).await;
    let since = world.marks().await;
    world.undeploy(2, "payments").await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;

    world.register(&[2]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "cluster-unreachable", &[]).await;
}
