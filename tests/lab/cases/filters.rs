//! A RoutingPolicy: its plugin runs in the proxies of a service's clients.

use super::{PAYMENTS, failover, policy};
use crate::{
    load::Order,
    pod::Pod,
    support::{eventually, parts},
    world::{CONVERGED_WITHIN, World},
};

const REQUESTS: u64 = 2000;

const ROUTING: &[&str] =
    &["--enable-routing-policy=true", "--routing-policy-enabled-clusters=cluster-1", "--routing-policy-paths=/"];

/// What the plugin turns requests to.
const PREFIX: &str = "west";

fn routing_policy() -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1\n\
         kind: RoutingPolicy\n\
         metadata: {{name: to-west, namespace: payments-east, labels: {{identity: payments, env: stage}}}}\n\
         spec:\n  plugin: lab\n  hosts: [{PAYMENTS}]\n  config: {{wasmPath: {}, prefix: {PREFIX}}}\n",
        parts::part("routing-plugin").display()
    )
}

/// Takes away what a case left.
pub async fn undo(world: &World) {
    world.cluster(3).api.delete("admiral.io/v1alpha1/RoutingPolicy", "payments-east", "to-west").await;
}

/// Waits until a proxy has the filter, or no longer.
async fn filters(client: &Pod, wanted: bool) {
    eventually(&format!("{} has the filter: {wanted}", client.name()), CONVERGED_WITHIN, async || {
        let listeners = client.admin("/config_dump?resource=dynamic_listeners").await?;
        if listeners.contains("dynamicRoutingFilterPatch") == wanted { Ok(()) } else { Err(String::new()) }
    })
    .await;
}

pub async fn routing_policy_of_payments(world: &World) -> Vec<String> {
    failover::two_regions(world).await;
    let west = policy::entry(PREFIX, &[("us-west", 100), ("us-east", 0)]);
    let default = policy::entry("default", &[("us-east", 90), ("us-west", 10)]);
    world.policy(&policy::of(&[default, west])).await;
    world.set(ROUTING).await;
    let [orders, reports, _] = super::shares::clients(world);
    let host = format!("{PREFIX}.{PAYMENTS}");
    for client in [orders, reports] {
        world.proxy_has(client, &host, |endpoints| endpoints.len() == 2).await;
    }
    world.proxy_has(orders, PAYMENTS, |endpoints| endpoints.len() == 2).await;

    orders.load_start(&failover::steady()).await;
    failover::more_answers(orders).await;
    world.cluster(3).api.apply_yaml(&routing_policy()).await;
    failover::answered_by(orders, &["cluster-2"]).await;
    filters(orders, true).await;
    let came = orders.load_stop().await;
    assert_eq!(came.failures(), 0, "{}: {}", orders.name(), came.line());
    world.verified(&[orders, reports]).await;

    let mut figures = vec![format!("the policy came under load: {} requests, none failed", came.total())];
    let outcome = orders.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&orders.name(), &outcome, &[("cluster-2", 1.0)]);
    figures.push(format!("{}, whose proxy runs the plugin: {}", orders.name(), outcome.line()));
    filters(reports, false).await;
    let outcome = reports.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&reports.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    figures.push(format!("{}, in a cluster that is not enabled: {}", reports.name(), outcome.line()));

    undo(world).await;
    filters(orders, false).await;
    let outcome = orders.load(&Order::http(PAYMENTS, REQUESTS)).await;
    policy::assert_shares(&orders.name(), &outcome, &[("cluster-3", 0.9), ("cluster-2", 0.1)]);
    figures.push(format!("{}, when the policy is gone: {}", orders.name(), outcome.line()));
    world.set(&[]).await;
    figures
}
