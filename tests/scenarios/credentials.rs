//! Secrets that register clusters: rotated, moved, broken, doubled.

use k8s_openapi::ByteString;
use serde_json::json;

use crate::{
    support::{FaultProxy, Mode, Who, controller::Controller, eventually},
    world::{ALL, GATEWAYS, SOON, World, host, noted, notes, unnoted},
};

async fn swapped(controller: &Controller, times: usize) {
    eventually("the connection was swapped", SOON, async || {
        let swaps = controller.log().matches("connection swapped").count();
        if swaps == times { Ok(()) } else { Err(format!("{swaps} times")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_and_a_moved_server_are_swapped_in_place() {
    let world = World::shared().await;
    let third = &world.clusters[2];
    world.register(&[0, 1]).await;
    world.register_through(2, &third.kubeconfig_with(&third.url(), &third.token(Who::AdminA))).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1], &world.local("payments")]).await;
    let since = world.marks().await;

    world.register_through(2, &third.kubeconfig_with(&third.url(), &third.token(Who::AdminB))).await;
    swapped(&controller, 1).await;
    world.deploy(&[1], "after-rotation").await;
    world.sees(2, &host("after-rotation"), &[GATEWAYS[1]]).await;
    let users: Vec<String> = third
        .writes(since[2])
        .await
        .into_iter()
        .filter(|write| write.name.contains("after-rotation"))
        .map(|write| write.user)
        .collect();
    assert!(users.iter().filter(|user| *user == Who::AdminB.user()).count() >= 2, "{users:?}");
    assert!(!users.iter().any(|user| user == Who::AdminA.user()), "{users:?}");

    let moved = FaultProxy::start(third).await;
    world.register_through(2, &third.kubeconfig_with(&moved.url(), &third.token(Who::AdminB))).await;
    swapped(&controller, 2).await;
    // Seen through the new way: what happens behind it while it is shut comes when it is open again.
    world.deploy(&[2], "after-move").await;
    world.sees(0, &host("after-move"), &[GATEWAYS[2]]).await;
    moved.set(Mode::Refuse).await;
    world.undeploy(2, "after-move").await;
    world.sentinel(&[0, 1]).await;
    world.sees(0, &host("after-move"), &[GATEWAYS[2]]).await;
    moved.set(Mode::Pass).await;
    world.gone(0, &host("after-move")).await;

    // What stood there all the time was never written.
    let writes = world.writes(&since).await;
    assert!(!writes.keys().any(|write| write.contains("payments")), "{writes:#?}");
    let log = controller.log();
    for who in [Who::Admin, Who::AdminA, Who::AdminB] {
        assert!(!log.contains(&third.token(who)), "a token in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_breaks_leaves_the_last_good_connection() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[2]]).await;
    let since = world.marks().await;

    world.register_through(2, "clusters: [").await;
    noted(&controller, "cluster-refused", &["cluster-3", "last good connection"]).await;
    world.deploy(&[2], "later").await;
    world.sees(0, &host("later"), &[GATEWAYS[2]]).await;
    let writes = world.writes(&since).await;
    assert!(!writes.keys().any(|write| write.contains("payments")), "{writes:#?}");

    world.register(&[2]).await;
    unnoted(&controller, "cluster-refused", &[]).await;
}

/// Bad Secrets beside good ones: each is told of, none harms another, and nothing of their contents is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn bad_secrets_are_refused_with_a_reason() {
    let world = World::shared().await;
    world.register(&[0, 1]).await;
    world.deploy(&[1], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    let since = world.marks().await;

    let hostile = world.clusters[2].kubeconfig().replace(
        &format!("token: {}", world.clusters[2].token(Who::Admin)),
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: very-secret-command}",
    );
    assert!(hostile.contains("exec:"));
    let doubled = world.secret("zz-doubled", "cluster-2", &world.clusters[2].kubeconfig());
    let mut empty = world.secret("empty", "unused", "unused");
    empty.as_object_mut().expect("an object").remove("stringData");
    world.hub().apply(vec![world.secret("hostile", "cluster-9", &hostile), doubled, empty]).await;

    let note = noted(&controller, "cluster-refused", &["hostile", "cluster-9", "exec"]).await;
    assert!(!note.to_string().contains("very-secret-command"));
    noted(&controller, "cluster-refused", &["zz-doubled", "cluster-2", "older Secret cluster-2"]).await;
    noted(&controller, "cluster-refused", &["empty", "no data"]).await;
    world.sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
    let everything = format!("{}{:?}", controller.log(), notes(&controller).await);
    assert!(!everything.contains("very-secret-command"));
    assert!(!everything.contains(&world.clusters[2].token(Who::Admin)));

    for name in ["hostile", "zz-doubled", "empty"] {
        world.hub().delete("Secret", world.hub_namespace().as_str(), name).await;
    }
    unnoted(&controller, "cluster-refused", &[]).await;
}

/// A cluster that was never reached is a member all the same: nothing of it goes.
// Invariant: Nothing is removed because a cluster could not be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_broken_at_the_start_removes_nothing() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    for cluster in [0, 1] {
        let local = world.local("payments");
        let second = if cluster == 1 { local.as_str() } else { GATEWAYS[1] };
        world.sees(cluster, &host("payments"), &[second, GATEWAYS[2]]).await;
    }
    controller.kill();
    world.register_through(2, "not: a kubeconfig").await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "cluster-refused", &["cluster-3", "not watched"]).await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
    world.register(&[2]).await;
    unnoted(&controller, "cluster-refused", &[]).await;
    world.undeploy(2, "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn istios_remote_secrets_register_clusters_too() {
    let world = World::shared().await;
    world.register(&[0]).await;
    let mut remote = world.secret("istio-remote-secret-cluster-2", "cluster-2", &world.clusters[1].kubeconfig());
    remote["metadata"]["labels"] = json!({"istio/multiCluster": "true"});
    world.hub().apply(vec![remote]).await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    assert_eq!(world.hosts(2).await, Vec::<String>::new());
}

/// Each data key of a Secret is a cluster, and comes and goes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn one_secret_may_register_several_clusters() {
    let world = World::shared().await;
    world.register(&[0]).await;
    let secret = |clusters: &[usize]| {
        let kubeconfig = |index: &usize| {
            let cluster = &world.clusters[*index];
            (cluster.name().to_owned(), json!(ByteString(cluster.kubeconfig().into_bytes())))
        };
        let data: serde_json::Map<String, serde_json::Value> = clusters.iter().map(kubeconfig).collect();
        let metadata = json!({"name": "both", "namespace": world.hub_namespace(), "labels": {"admiral/sync": "true"}});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    };
    world.hub().apply(vec![secret(&[1, 2])]).await;
    world.deploy(&[1, 2], "payments").await;
    let _controller = world.start(&["--removed-cluster-grace-seconds=0"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.hub().apply(vec![secret(&[1])]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_annotation_of_a_secret_sets_the_istio_namespace() {
    let world = World::shared().await;
    let (second, mesh) = (&world.clusters[1], world.namespace("mesh"));
    let app = world.namespace("gateway");
    let gateway = |namespace: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
            "spec": {"type": "LoadBalancer", "selector": {"istio": "eastwestgateway"},
                     "ports": [{"name": "tls", "port": 15443}]},
        })
    };
    let addressed = |namespace: &str, address: &str| {
        let mut gateway = gateway(namespace);
        gateway["status"] = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
        gateway.to_string()
    };
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": mesh, "labels": {"topology.istio.io/network": "mesh-network"}},
    });
    second.apply(vec![namespace]).await;
    for (namespace, address) in [("istio-system", "192.0.2.91"), (&*mesh, "192.0.2.92")] {
        second.apply(vec![gateway(namespace)]).await;
        second.apply_status(&addressed(namespace, address)).await;
    }
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&[&format!("--gateway-app={app}")]).await;
    world.sees(0, &host("payments"), &["192.0.2.91:15443"]).await;

    let mut annotated = world.secret(second.name(), second.name(), &second.kubeconfig());
    annotated["metadata"]["annotations"] = json!({"tradewind.io/istio-namespace": mesh});
    world.hub().apply(vec![annotated]).await;
    world.sees(0, &host("payments"), &["192.0.2.92:15443"]).await;
    let entry = world.entry(0, &host("payments")).await.expect("it is published");
    assert_eq!(entry["spec"]["endpoints"][0]["network"], "mesh-network");
    world.deploy(&[1], "later").await;
    world.sees(0, &host("later"), &["192.0.2.92:15443"]).await;

    // Without the annotation the setting counts again.
    world.register(&[1]).await;
    world.sees(0, &host("payments"), &["192.0.2.91:15443"]).await;
    // The clusters are shared: nothing that is left behind may speak of Istio.
    second.delete("Service", "istio-system", &app).await;
    second.apply(vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": mesh}})]).await;
}
