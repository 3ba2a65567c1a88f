//! Routing inside the clusters that run a service: their own share goes to their own Services by a VirtualService.

use super::{PAYMENTS, failover, policy};
use crate::{
    load::Order,
    pod::Pod,
    support::eventually,
    world::{CONVERGED_WITHIN, World},
};

/// Requests per client.
const REQUESTS: u64 = 2000;

const ROUTING: &[&str] = &["--enable-vs-routing-in-cluster=true", "--vs-routing-in-cluster-enabled-resources=*=*"];

/// A client in a cluster that runs payments, the Service there, and what that cluster gets.
type Inside<'a> = (&'a Pod, &'a str, &'a str, f64);

/// Waits until the routes of a proxy lead to its cluster's own Service, or no longer.
async fn routes(client: &Pod, service: &str, inside: bool) {
    let own = format!("outbound|8080||{service}");
    eventually(&format!("{} routes inside: {inside}", client.name()), CONVERGED_WITHIN, async || {
        let dump = client.admin("/config_dump?resource=dynamic_route_configs").await?;
        let dump: serde_json::Value = serde_json::from_str(&dump).map_err(|error| error.to_string())?;
        let configs = dump["configs"].as_array().into_iter().flatten();
        let hosts = configs.flat_map(|config| config["route_config"]["virtual_hosts"].as_array().into_iter().flatten());
        let of_payments = hosts.filter(|host| host["name"] == format!("{PAYMENTS}:80"));
        let of_payments: String = of_payments.map(|host| host["routes"].to_string()).collect();
        if !of_payments.is_empty() && of_payments.contains(&own) == inside { Ok(()) } else { Err(of_payments) }
    })
    .await;
}

async fn turned_to(client: &Pod, host: &str) -> u64 {
    client.turned_to(host).await.values().sum()
}

pub async fn routing(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    world.set(ROUTING).await;
    let [orders, reports, payments] = super::shares::clients(world);
    let inside: [Inside<'_>; 2] = [
        (reports, "payments.payments-west.svc.cluster.local", "cluster-2", 0.1),
        (payments, "payments.payments-east.svc.cluster.local", "cluster-3", 0.9),
    ];
    for (client, service, ..) in inside {
        routes(client, service, true).await;
    }
    world.verified(&[orders, reports, payments]).await;
    let mut figures = Vec::new();
    for (client, service, own, share) in inside {
        let before = [turned_to(client, service).await, turned_to(client, PAYMENTS).await];
        let outcome = client.load(&Order::http(PAYMENTS, REQUESTS)).await;
        let by_route = turned_to(client, service).await - before[0];
        let by_entry = turned_to(client, PAYMENTS).await - before[1];
        let other = if own == "cluster-2" { "cluster-3" } else { "cluster-2" };
        policy::assert_shares(&client.name(), &outcome, &[(own, share), (other, 1.0 - share)]);
        // The own share by the route, all of it, and nothing else of it by the ServiceEntry.
        assert_eq!((by_route, by_entry), (outcome.by(own), outcome.by(other)), "{}", client.name());
        figures.push(format!(
            "{}: {}; {by_route} to its own Service by the route, {by_entry} by the ServiceEntry",
            client.name(),
            outcome.line()
        ));
    }
    let outcome = orders.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&orders.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    figures.push(format!("{}, where nothing is routed inside: {}", orders.name(), outcome.line()));
    figures.push(edited(world, [reports, payments]).await);

    world.set(&[]).await;
    for (client, service, ..) in inside {
        routes(client, service, false).await;
    }
    figures
}

/// The route and the ServiceEntry change at once, and reach a proxy one after the other.
async fn edited(world: &World, clients: [&Pod; 2]) -> String {
    for client in clients {
        client.load_start(&failover::steady()).await;
        failover::more_answers(client).await;
    }
    policy::set(world, &[("us-west", 100), ("us-east", 0)]).await;
    let mut requests = 0;
    for client in clients {
        failover::answered_by(client, &["cluster-2"]).await;
    }
    for client in clients {
        let outcome = client.load_stop().await;
        assert_eq!(outcome.failures(), 0, "{}: {}", client.name(), outcome.line());
        requests += outcome.total();
    }
    world.verified(&clients).await;
    format!("all to us-west, edited under load: {requests} requests, none failed")
}
