//! A remote cluster without anything of Istio's: what its clients read is written into its primary, and outlives a restart
//! without it.

use serde_json::{Value, json};

use crate::{
    support::{FaultProxy, Mode, istio, start_three},
    world::{GATEWAYS, World, furnish, host, noted, notes},
};

/// The Namespace of the control plane of a cluster that the first one's istiod serves.
fn served_by_the_first() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "istio-system", "annotations": {"topology.istio.io/controlPlaneClusters": "cluster-1"}},
    })
}

/// As [`World::sentinel`]: nobody says who calls the new service, so that the remote may read it, too, and no own name can stand.
async fn all_is_planned(world: &World<'_>) {
    let identity = world.sentinel(&[2]).await;
    world.sees(0, &host(&identity), &[GATEWAYS[0]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_remotes_clients_read_is_written_into_its_primary_and_outlives_a_restart_without_it() {
    let clusters = start_three().await;
    for primary in [0, 2] {
        istio::install_crds(&clusters[primary]).await;
    }
    furnish(&clusters).await;
    let world = World::on(&clusters).await;
    clusters[1].apply(vec![served_by_the_first()]).await;
    let proxy = FaultProxy::start(&clusters[1]).await;
    world.register(&[0, 2]).await;
    world.register_through(1, &proxy.kubeconfig(&clusters[1])).await;
    world.deploy(&[1, 2], "payments").await;
    clusters[1].apply(vec![world.deployment("orders")]).await;
    world.depend("orders", &["payments"]).await;
    let controller = world.start(&[]).await;
    let (payments, local) = (host("payments"), world.local("payments"));
    world.sees(0, &payments, &[&local, GATEWAYS[2]]).await;
    world.sees(2, &payments, &[GATEWAYS[1], &local]).await;
    // A remote needs nothing of Istio's.
    unnoted(&controller, "kind-unreadable", &["cluster-2"]).await;

    // A client of the primary reads the same object.
    clusters[0].apply(vec![world.deployment("orders")]).await;
    world.sees(0, &payments, &[GATEWAYS[1], GATEWAYS[2]]).await;

    controller.kill();
    proxy.set(Mode::Refuse).await;
    let before = world.entry(0, &payments).await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "cluster-unreachable", &["cluster-2"]).await;
    all_is_planned(&world).await;
    // The primary's own client goes: what the remote's reads is not known, so nothing changes for it.
    world.undeploy(0, "orders").await;
    all_is_planned(&world).await;
    assert_eq!(world.entry(0, &payments).await, before);
    world.wrote_nothing(&since).await;

    proxy.set(Mode::Pass).await;
    world.sees(0, &payments, &[&local, GATEWAYS[2]]).await;
}
