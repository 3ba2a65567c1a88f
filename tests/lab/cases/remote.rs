//! A primary-remote mesh: the istiod of cluster-1 serves the proxies of cluster-4, which has none.

use super::{PAYMENTS, failover, policy};
use crate::{
    load::Order,
    network::{gateway_address, pod_address},
    pod::Pod,
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

/// Requests per client.
const REQUESTS: u64 = 1000;

/// By pods, istiod leads who is on another network to the gateway. A gateway chooses for a connection: with one request each,
/// its draws are independent, too.
const DIRECT: &[&str] = &["--direct-endpoints=true", "--max-requests-per-connection=1"];

const SERVICE_ENTRY: &str = "ServiceEntry.networking.istio.io";

/// The hosts that stand in a cluster for its proxies to read.
async fn written_objects(world: &World, cluster: u8) -> Vec<String> {
    let entries = world.cluster(cluster).api.list(SERVICE_ENTRY, "admiral-sync").await;
    entries.iter().map(|entry| entry["spec"]["hosts"][0].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until a proxy has this endpoint of payments.
async fn has(world: &World, client: &Pod, address: &str) -> String {
    world.proxy_has(client, PAYMENTS, |endpoints| endpoints.iter().any(|endpoint| endpoint.address == address)).await;
    format!("{} reaches payments of cluster-4 at {address}", client.name())
}

// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read. [the lab's row `primary-remote`]
pub async fn primary_remote(world: &World) -> Vec<String> {
    failover::third_region(world).await;
    world.set(DIRECT).await;
    world.serve(1, 4).await;
    policy::set(world, &[("us-east", 80), ("eu-west", 20)]).await;
    let (orders, payments) = (world.pod(1, "orders"), world.pod(4, "payments"));

    eventually("nothing stands in cluster-4", CONVERGED_WITHIN, async || match written_objects(world, 4).await {
        hosts if hosts.is_empty() => Ok(()),
        hosts => Err(format!("{hosts:?}")),
    })
    .await;
    let written = written_objects(world, 1).await;
    assert!(written.iter().any(|host| host == PAYMENTS), "{written:?}");
    let mut figures = vec![
        format!("ServiceEntries in cluster-4: none; in cluster-1: {}", written.join(", ")),
        // That istiod leads who is on another network to the gateway.
        has(world, orders, &format!("{}:15443", gateway_address(4))).await,
        has(world, payments, &format!("{}:8080", pod_address(4, 1))).await,
    ];
    world.verified(&[orders, payments, world.pod(1, "eastwestgateway"), world.pod(4, "eastwestgateway")]).await;
    for client in [orders, payments, world.pod(2, "reports")] {
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        policy::assert_shares(&client.name(), &outcome, &[("cluster-3", 0.8), ("cluster-4", 0.2)]);
        figures.push(format!("{}: {}", client.name(), outcome.line()));
    }

    policy::set(world, &[("eu-west", 100)]).await;
    for client in [orders, payments] {
        client.load_start(&failover::steady()).await;
        failover::answered_by(client, &["cluster-4"]).await;
        let outcome = client.load_stop().await;
        assert_eq!(outcome.failures(), 0, "{}: {}", client.name(), outcome.line());
        figures.push(format!("{}, eu-west 100: all by cluster-4, {} failed", client.name(), outcome.failures()));
    }

    failover::two_regions(world).await;
    world.serve_itself(1, 4).await;
    world.set(&[]).await;
    figures
}
