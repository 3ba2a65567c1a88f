//! The rows of the lab's table. Each sets the policy it is about, waits until the proxies have it, and counts.

mod accepted;
mod crashes;
mod edits;
mod failover;
pub mod filters;
mod flat;
pub mod gateways;
mod hosts;
mod inside;
mod policy;
pub mod proxy;
mod remote;
pub mod rollouts;
mod scaling;
mod shares;
mod story;
mod trust;

use futures::future::LocalBoxFuture;

use crate::world::World;

/// The host of the payments story.
pub const PAYMENTS: &str = "stage.payments.global";

/// A row of the table.
pub struct Case {
    /// Short, for the command line.
    pub name: &'static str,
    /// What holds if it does not panic.
    pub shows: &'static str,
    /// Returns what was counted.
    pub run: for<'a> fn(&'a World) -> LocalBoxFuture<'a, Vec<String>>,
}

macro_rules! cases {
    ($($name:literal, $shows:literal, $run:path;)+) => {
        /// All rows, in the order in which they run.
        pub const ALL: &[Case] = &[$(Case { name: $name, shows: $shows, run: |world| Box::pin($run(world)) }),+];
    };
}

cases! {
    "payments-story", "each client reaches both regions, local name inside, gateway outside; without a Dependency none", story::payments;
    "ninety-ten", "90/10 between regions, from every cluster", shares::ninety_ten;
    "fallback", "100/0 and a third region: it dies, requests go on; it returns, traffic returns", failover::hundred_and_fallback;
    "silent-region", "a region that vanishes without a word, before clients that wait 5 s", failover::silent_region;
    "weights-and-tiers", "weights with a fallback, and how early it begins", failover::weights_and_tiers;
    "topology", "TOPOLOGY: local first, nearest next", failover::topology;
    "policy-edit", "a policy edited under load", edits::under_load;
    "drain", "a region drained by policy under load", edits::drain;
    "scaled-to-zero", "a cluster is scaled to 0 under load and back: no request is lost", scaling::to_zero_and_back;
    "prefixed-hosts", "each prefixed host goes where it says", hosts::prefixed;
    "controller-killed", "serving goes on without Tradewind, and converges after", crashes::controller;
    "api-server-killed", "serving goes on without an API server, and converges after", crashes::api_server;
    "istiod-killed", "serving goes on without an istiod, and converges after", crashes::istiod;
    "ports", "HTTP, gRPC and TCP by their ports", hosts::ports;
    "in-cluster-routing", "a VirtualService sends a cluster's own share to its own Service, shares hold", inside::routing;
    "gateway-routing", "gateways lead server names to Services by VirtualServices, shares hold", gateways::routing;
    "routing-policy", "a RoutingPolicy's plugin runs in the proxies of the clients it is for, and in no others", filters::routing_policy_of_payments;
    "dependency-proxy", "a destination that nobody runs is answered for by its proxy", proxy::dependency_proxy;
    "canary-and-preview", "Argo Rollouts: canary and preview hosts go to their Services, a canary gets its weight", rollouts::canary_and_preview;
    "flat-network", "one network: endpoints are pods, no gateway on the path, shares hold, a pod that ends takes no request along", flat::network;
    "primary-remote", "one istiod for two clusters: written once, into the primary, and obeyed in the remote", remote::primary_remote;
    "trust-domains", "another trust domain is refused, and verified as an alias", trust::domains;
    "validation", "Istio's own validation refuses what is wrong, and accepts all that Tradewind wrote", accepted::validation;
    "golden-objects", "every golden object is accepted by an istiod and its proxies", accepted::golden_objects;
}
