//! Clusters of one network: pods are endpoints, come and go in bursts, and are found again after a restart.

use serde_json::{Value, json};

use crate::world::{ALL, GATEWAYS, World, endpoints_of, host, noted, own_clusters, unnoted};

fn slice(world: &World<'_>, name: &str, pods: &[(&str, bool)]) -> Value {
    let pod = |(address, ready): &(&str, bool)| json!({"addresses": [address], "zone": "zone-a", "conditions": {"ready": ready, "serving": ready}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": world.namespace("payments"),
                     "labels": {"kubernetes.io/service-name": "payments"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": pods.iter().map(pod).collect::<Vec<Value>>(),
    })
}

fn network(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "istio-system", "labels": {"topology.istio.io/network": name}},
    })
}

// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_network_are_endpoints_and_a_burst_of_them_is_few_writes() {
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    for cluster in ALL {
        clusters[cluster].apply(vec![network("flat")]).await;
    }
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    clusters[1].apply(vec![slice(&world, "first", &[("10.2.0.1", true), ("10.2.0.2", false)])]).await;
    clusters[2].apply(vec![slice(&world, "first", &[("10.3.0.1", true)])]).await;
    let flags = ["--direct-endpoints=true", "--direct-endpoints-max-pods=20"];
    let controller = world.start(&flags).await;
    let (payments, local) = (host("payments"), world.local("payments"));
    world.sees(0, &payments, &["10.2.0.1:8080", "10.3.0.1:8080"]).await;
    world.sees(1, &payments, &[&local, "10.3.0.1:8080"]).await;
    world.sees(2, &payments, &["10.2.0.1:8080", &local]).await;
    let entry = world.entry(0, &payments).await.expect("it is published");
    assert!(endpoints_of(&entry).iter().all(|(_, locality, _)| locality.ends_with("/zone-a")), "{entry:#}");

    // Ready, and ten more at once.
    world.sentinel(&ALL).await;
    let since = world.marks().await;
    let more: Vec<String> = (11..=20).map(|last| format!("10.2.0.{last}")).collect();
    let mut slices = vec![slice(&world, "first", &[("10.2.0.1", true), ("10.2.0.2", true)])];
    slices.extend(more.iter().map(|pod| slice(&world, &format!("of-{pod}"), &[(pod, true)])));
    clusters[1].apply(slices).await;
    let mut all: Vec<String> = more.iter().map(|pod| format!("{pod}:8080")).collect();
    all.extend(["10.2.0.1:8080".to_owned(), "10.2.0.2:8080".to_owned(), "10.3.0.1:8080".to_owned()]);
    world.sees(0, &payments, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let writes = world.writes(&since).await;
    assert!(writes.keys().all(|write| write.contains(" patch serviceentries ")), "{writes:#?}");
    assert!(writes.values().all(|count| *count < 11), "fewer than pods: {writes:#?}");
    assert!(!writes.keys().any(|write| write.starts_with("cluster-2 ")), "who runs them sees its Service: {writes:#?}");

    // What changed while it was down is made good, and nothing else is written.
    controller.kill();
    clusters[1].delete("EndpointSlice.discovery.k8s.io", world.namespace("payments").as_str(), "of-10.2.0.20").await;
    let controller = world.start(&flags).await;
    all.retain(|pod| pod != "10.2.0.20:8080");
    world.sees(0, &payments, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;

    // Too many of them, and none that is ready.
    let crowd: Vec<String> = (30..=50).map(|last| format!("10.2.0.{last}")).collect();
    let crowd: Vec<(&str, bool)> = crowd.iter().map(|pod| (pod.as_str(), true)).collect();
    clusters[1].apply(vec![slice(&world, "crowd", &crowd)]).await;
    world.sees(0, &payments, &[GATEWAYS[1], "10.3.0.1:8080"]).await;
    noted(&controller, "pods-too-many", &["cluster-2"]).await;
    clusters[1].delete("EndpointSlice.discovery.k8s.io", world.namespace("payments").as_str(), "crowd").await;
    unnoted(&controller, "pods-too-many", &["cluster-2"]).await;
    clusters[2].apply(vec![slice(&world, "first", &[("10.3.0.1", false)])]).await;
    all.retain(|pod| pod != "10.3.0.1:8080");
    all.push(GATEWAYS[2].to_owned());
    world.sees(0, &payments, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;

    // Another network: the gateways.
    clusters[0].apply(vec![network("other")]).await;
    world.sees(0, &payments, &[GATEWAYS[1], GATEWAYS[2]]).await;
}
