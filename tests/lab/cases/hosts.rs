//! More hosts and more ports of one service.

use super::{PAYMENTS, policy};
use crate::{
    load::{Order, Protocol},
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

const REQUESTS: u64 = 500;

pub async fn prefixed(world: &World) -> Vec<String> {
    let west = policy::entry("west", &[("us-west", 100), ("us-east", 0)]);
    let east = policy::entry("east", &[("us-east", 100), ("us-west", 0)]);
    let default = policy::entry("default", &[("us-east", 90), ("us-west", 10)]);
    world.policy(&policy::of(&[default, west, east])).await;
    // A new host is there for good when the gateways have it, too.
    for cluster in [2, 3] {
        for prefix in ["west", "east"] {
            gateway_has(world, cluster, &format!("{prefix}.{PAYMENTS}")).await;
        }
    }
    world.verified(&super::shares::clients(world)).await;
    let mut figures = Vec::new();
    for client in super::shares::clients(world) {
        for (prefix, cluster) in [("west", "cluster-2"), ("east", "cluster-3")] {
            let host = format!("{prefix}.{PAYMENTS}");
            world.proxy_has(client, &host, |endpoints| endpoints.len() == 2).await;
            let outcome = client.load(&Order::http(&host, REQUESTS)).await;
            policy::assert_shares(&format!("{} to {host}", client.name()), &outcome, &[(cluster, 1.0)]);
            figures.push(format!("{} to {prefix}.: {}", client.name(), outcome.line()));
        }
    }
    figures
}

/// Waits until the gateway of a cluster passes a host on.
pub async fn gateway_has(world: &World, cluster: u8, host: &str) {
    let gateway = world.pod(cluster, "eastwestgateway");
    let sni = format!("outbound_.80_._.{host}");
    eventually(&format!("{} has {host}", gateway.name()), CONVERGED_WITHIN, async || {
        let listeners = gateway.admin("/config_dump?resource=dynamic_listeners").await?;
        if listeners.contains(&sni) { Ok(()) } else { Err(format!("no {sni}")) }
    })
    .await;
}

/// The Service of payments with three ports, or with one.
fn service(namespace: &str, ports: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: payments, namespace: {namespace}}}, \
         spec: {{selector: {{app: payments}}, ports: [{{name: http, port: 8080, targetPort: 8080}}{ports}]}}}}"
    )
}

const MORE: &str = ", {name: grpc-api, port: 9090, targetPort: 9090}, {name: tcp-feed, port: 9000, targetPort: 9000}";

pub async fn ports(world: &World) -> Vec<String> {
    super::failover::two_regions(world).await;
    policy::set(world, &[("us-east", 50), ("us-west", 50)]).await;
    for (cluster, namespace) in [(2, "payments-west"), (3, "payments-east")] {
        world.cluster(cluster).api.apply_yaml(&service(namespace, MORE)).await;
    }
    world.verified(&super::shares::clients(world)).await;
    let mut figures = Vec::new();
    for client in super::shares::clients(world) {
        for (port, protocol) in [(80, Protocol::Http), (9090, Protocol::Grpc), (9000, Protocol::Tcp)] {
            let what = format!("{} calls port {port}", client.name());
            eventually(&what, CONVERGED_WITHIN, async || {
                let endpoints = client.endpoints(PAYMENTS, port).await?;
                if endpoints.len() == 2 { Ok(()) } else { Err(format!("{endpoints:?}")) }
            })
            .await;
            // The listener comes a moment after the cluster.
            eventually(&what, CONVERGED_WITHIN, async || {
                let one = client.load(&Order { port, protocol, workers: 1, ..Order::http(PAYMENTS, 1) }).await;
                if one.failures() == 0 { Ok(()) } else { Err(one.line()) }
            })
            .await;
            let outcome = client.load(&Order { port, protocol, ..Order::http(PAYMENTS, REQUESTS) }).await;
            policy::assert_shares(&what, &outcome, &[("cluster-2", 0.5), ("cluster-3", 0.5)]);
            figures.push(format!("{} {protocol:?} {port}: {}", client.name(), outcome.line()));
        }
    }
    for (cluster, namespace) in [(2, "payments-west"), (3, "payments-east")] {
        world.cluster(cluster).api.apply_yaml(&service(namespace, "")).await;
    }
    figures
}
