//! A remote cluster without anything of Istio's: what its clients read is written into its primary, and outlives a restart
//! without it.

use serde_json::{Value, json};

use crate::{
    support::{FaultProxy, Mode, eventually, istio, start_three},
    world::{GATEWAYS, SOON, World, furnish, host, noted, text, unnoted},
};

/// The Namespace of a control plane: each cluster on a network of its own, the second one served by the first one's istiod.
fn control_plane(index: usize) -> Value {
    let annotations =
        if index == 1 { json!({"topology.istio.io/controlPlaneClusters": "cluster-1"}) } else { json!({}) };
    let labels = json!({"topology.istio.io/network": format!("network-{}", index + 1)});
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "istio-system", "labels": labels, "annotations": annotations},
    })
}

/// Waits until these clusters read the object of payments in the first.
async fn read_in(world: &World<'_>, clusters: &str) {
    eventually(&format!("payments is read in {clusters}"), SOON, async || {
        let entry = world.entry(0, &host("payments")).await.ok_or("no entry")?;
        let found = text(&entry["metadata"]["annotations"]["tradewind.io/read-in"]);
        if found == clusters { Ok(()) } else { Err(found) }
    })
    .await;
}

// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_remotes_clients_read_is_written_into_its_primary_and_outlives_a_restart_without_it() {
    let clusters = start_three().await;
    for primary in [0, 2] {
        istio::install_crds(&clusters[primary]).await;
    }
    furnish(&clusters).await;
    let world = World::on(&clusters).await;
    for (index, cluster) in clusters.iter().enumerate() {
        cluster.apply(vec![control_plane(index)]).await;
    }
    let proxy = FaultProxy::start(&clusters[1]).await;
    world.register(&[0, 2]).await;
    world.register_through(1, &proxy.kubeconfig(&clusters[1])).await;
    world.deploy(&[1, 2], "payments").await;
    clusters[1].apply(vec![world.deployment("orders")]).await;
    world.depend("orders", &["payments"]).await;
    let controller = world.start(&[]).await;
    let (payments, local) = (host("payments"), world.local("payments"));
    world.sees(0, &payments, &[&local, GATEWAYS[2]]).await;
    read_in(&world, "cluster-2").await;
    world.sees(2, &payments, &[GATEWAYS[1], &local]).await;
    // A remote needs nothing of Istio's.
    unnoted(&controller, "kind-unreadable", &["cluster-2"]).await;

    // A client of the primary reads the same object.
    clusters[0].apply(vec![world.deployment("orders")]).await;
    read_in(&world, "cluster-1,cluster-2").await;
    let entry = world.entry(0, &payments).await.expect("it is published");
    let endpoints = entry["spec"]["endpoints"].as_array().expect("endpoints");
    let networks: Vec<&Value> = endpoints.iter().map(|endpoint| &endpoint["network"]).collect();
    assert_eq!(networks, ["network-2", "network-3"]);

    controller.kill();
    proxy.set(Mode::Refuse).await;
    let before = world.entry(0, &payments).await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "cluster-unreachable", &["cluster-2"]).await;
    world.sentinel(&[0, 2]).await;
    // The primary's own client goes: what the remote's reads is not known, so nothing changes for it.
    world.undeploy(0, "orders").await;
    world.sentinel(&[0, 2]).await;
    assert_eq!(world.entry(0, &payments).await, before);
    world.wrote_nothing(&since).await;

    proxy.set(Mode::Pass).await;
    read_in(&world, "cluster-2").await;
}
