//! A cluster's gateway comes, loses its address, moves and goes: the other clusters follow, and nothing else is written.

use serde_json::{Value, json};

use crate::{
    support::TestCluster,
    world::{ALL, SERVICE_ENTRY, World, host, noted, unnoted},
};

/// A gateway Service of this world in one cluster; its label `app` is its name.
fn gateway(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "istio-system", "labels": {"app": name}},
        "spec": {"type": "LoadBalancer", "selector": {"istio": "eastwestgateway"},
                 "ports": [{"name": "tls", "port": 15443}]},
    })
}

async fn has_address(cluster: &TestCluster, name: &str, address: &str) {
    let mut gateway = gateway(name);
    let ingress = if address.is_empty() { json!([]) } else { json!([{"ip": address}]) };
    gateway["status"] = json!({"loadBalancer": {"ingress": ingress}});
    cluster.apply_status(&gateway.to_string()).await;
}

// Invariant: A gateway keeps its last address while its Service exists, also over a restart; a cluster keeps its domain
// and gateway while its Namespaces cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_moves_and_goes_freezes_nobody_and_leaves_no_empty_address() {
    let world = World::shared().await;
    let name = world.namespace("gateway");
    for (cluster, address) in world.clusters.iter().zip(["192.0.2.71", "192.0.2.72", ""]) {
        cluster.apply(vec![gateway(&name)]).await;
        has_address(cluster, &name, address).await;
    }
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    world.deploy(&[1], "steady").await;
    let controller = world.start(&[&format!("--gateway-app={name}")]).await;
    let local = world.local("payments");
    let (second, payments) = ("192.0.2.72:15443", host("payments"));
    let steady =
        async || world.entry(0, &host("steady")).await.expect("it is published")["metadata"]["resourceVersion"].clone();

    // Not ready yet: the others see who is.
    noted(&controller, "gateway-missing", &["cluster-3", &name]).await;
    world.sees(0, &payments, &[second]).await;
    world.sees(2, &payments, &[second, &local]).await;
    let version = steady().await;

    for address in ["192.0.2.73", "192.0.2.74"] {
        has_address(&world.clusters[2], &name, address).await;
        world.sees(0, &payments, &[second, &format!("{address}:15443")]).await;
        world.sees(1, &payments, &[&local, &format!("{address}:15443")]).await;
    }
    unnoted(&controller, "gateway-missing", &["cluster-3"]).await;

    // It loses its address: the last one stays, and updates of the others go on.
    has_address(&world.clusters[2], &name, "").await;
    noted(&controller, "gateway-missing", &["cluster-3", "192.0.2.74"]).await;
    has_address(&world.clusters[1], &name, "192.0.2.82").await;
    let second = "192.0.2.82:15443";
    world.sees(0, &payments, &[second, "192.0.2.74:15443"]).await;
    world.sees(0, &host("steady"), &[second]).await;
    let version_of_second = steady().await;
    assert_ne!(version, version_of_second, "steady runs behind the gateway that moved");

    // Deleted, it is reached no more. Whatever does not run behind it stays as it is.
    world.clusters[2].delete("Service", "istio-system", &name).await;
    world.sees(0, &payments, &[second]).await;
    world.sees(1, &payments, &[&local]).await;
    world.sees(2, &payments, &[second, &local]).await;
    noted(&controller, "gateway-missing", &["cluster-3", "none has the label"]).await;
    assert_eq!(steady().await, version_of_second);

    world.clusters[2].apply(vec![gateway(&name)]).await;
    has_address(&world.clusters[2], &name, "192.0.2.75").await;
    world.sees(0, &payments, &[second, "192.0.2.75:15443"]).await;
    for cluster in world.clusters {
        for entry in cluster.list(SERVICE_ENTRY, world.sync_namespace().as_str()).await {
            let endpoints = entry["spec"]["endpoints"].as_array().expect("every entry has endpoints").clone();
            assert!(endpoints.iter().all(|endpoint| endpoint["address"].as_str().is_some_and(|a| !a.is_empty())));
        }
        cluster.delete("Service", "istio-system", &name).await;
    }
}

/// A virtual machine is an endpoint as soon as somebody labels it, in its cluster by its address and elsewhere by the gateway;
/// ServiceEntries of others, in whatever namespace, decide nothing.
#[tokio::test(flavor = "multi_thread")]
async fn machines_are_endpoints_and_other_entries_are_not() {
    let world = World::shared().await;
    world.register(&ALL).await;
    let namespace = world.namespace("greeting");
    let entry = |labels: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": "machines", "namespace": namespace, "labels": labels},
            "spec": {"hosts": ["greeting.corp.example"], "location": "MESH_INTERNAL", "resolution": "STATIC",
                     "ports": [{"name": "http", "number": 8080, "protocol": "HTTP"}],
                     "endpoints": [{"address": "10.0.0.9"}]},
        })
    };
    let labels = json!({world.identity_key(): "greeting", "env": "stage"});
    let machine = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "machine", "namespace": namespace, "labels": labels},
        "spec": {"address": "10.0.0.5", "ports": {"http": 8080}},
    });
    world.clusters[1].apply(vec![machine, entry(json!({"env": "stage"}))]).await;
    let _controller = world.start(&[]).await;
    let gateway = crate::world::GATEWAYS[1];
    world.sees(1, &host("greeting"), &["10.0.0.5:8080"]).await;
    world.sees(0, &host("greeting"), &[gateway]).await;

    let since = world.marks().await;
    world.clusters[1].apply(vec![entry(labels)]).await;
    world.sees(1, &host("greeting"), &["10.0.0.5:8080", "10.0.0.9:8080"]).await;
    world.clusters[1].delete("WorkloadEntry.networking.istio.io", namespace.as_str(), "machine").await;
    world.sees(1, &host("greeting"), &["10.0.0.9:8080"]).await;
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(writes.keys().all(|write| write.starts_with("cluster-2 ") || write.contains("patch")), "{writes:#?}");
    world.clusters[1].delete(SERVICE_ENTRY, namespace.as_str(), "machines").await;
    world.gone(0, &host("greeting")).await;
    world.gone(1, &host("greeting")).await;
}
