//! Routing at the gateways of the clusters that run a service: by a VirtualService instead of by the server name itself.

use super::{PAYMENTS, failover, policy, shares};
use crate::{
    load::Order,
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

const REQUESTS: u64 = 2000;

const ROUTING: &[&str] = &["--enable-vs-routing=true", "--vs-routing-gateways=istio-system/passthrough-gateway"];

/// A gateway that passes on unopened what a route of its own leads somewhere; there can be one on a port.
const PASSTHROUGH: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: passthrough-gateway, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
  - port: {number: 15443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: ['*.global']
";

/// The clusters that run payments, and the Service there.
const HOMES: [(u8, &str); 2] =
    [(2, "payments.payments-west.svc.cluster.local"), (3, "payments.payments-east.svc.cluster.local")];

/// Has the gateway of a cluster lead by routes, or by server names again.
async fn gateway(world: &World, cluster: u8, by_routes: bool) {
    let api = &world.cluster(cluster).api;
    if by_routes {
        api.delete("networking.istio.io/v1/Gateway", "istio-system", "eastwest").await;
        api.apply_yaml(PASSTHROUGH).await;
    } else {
        api.delete("networking.istio.io/v1/Gateway", "istio-system", "passthrough-gateway").await;
        world.cluster(cluster).apply_mesh().await;
    }
}

/// Takes away what a case left.
pub async fn undo(world: &World) {
    for (cluster, _) in HOMES {
        gateway(world, cluster, false).await;
    }
}

/// Waits until the gateway of a cluster leads to the Service itself, or no longer.
async fn leads(world: &World, (cluster, service): (u8, &str), wanted: bool) {
    let gateway = world.pod(cluster, "eastwestgateway");
    let by_route = format!("outbound|8080|passthrough|{service}");
    eventually(&format!("{} leads to {service}: {wanted}", gateway.name()), CONVERGED_WITHIN, async || {
        let listeners = gateway.admin("/config_dump?resource=dynamic_listeners").await?;
        let listens = listeners.contains("outbound_.80_._.stage.payments.global");
        if listens && listeners.contains(&by_route) == wanted { Ok(()) } else { Err(format!("listens: {listens}")) }
    })
    .await;
}

pub async fn routing(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    world.set(ROUTING).await;
    for home in HOMES {
        gateway(world, home.0, true).await;
        leads(world, home, true).await;
    }
    let clients = shares::clients(world);
    world.verified(&clients).await;
    let mut figures = Vec::new();
    for client in clients {
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        policy::assert_shares(&client.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
        figures.push(format!("{}: {}", client.name(), outcome.line()));
    }
    for (cluster, service) in HOMES {
        let gateway = world.pod(cluster, "eastwestgateway");
        let connections: u64 = gateway.turned_to(service).await.values().sum();
        assert!(connections > 0, "{}: nobody came by the route", gateway.name());
        figures.push(format!("{}: {connections} connections by the route", gateway.name()));
    }
    undo(world).await;
    world.set(&[]).await;
    for home in HOMES {
        leads(world, home, false).await;
    }
    let outcome = clients[0].load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares("by server names again", &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    figures.push(format!("{}, by server names again: {}", clients[0].name(), outcome.line()));
    figures
}
