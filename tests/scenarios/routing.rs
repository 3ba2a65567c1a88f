//! RoutingPolicies, DependencyProxies, and routing inside clusters: what they bring comes, changes and goes.

use serde_json::{Value, json};

use crate::{
    support::{eventually, unique},
    world::{ALL, DESTINATION_RULE, GATEWAYS, SOON, World, host},
};

/// Served in one version only, which is not the preferred one of its group.
const ENVOY_FILTER: &str = "networking.istio.io/v1alpha3/EnvoyFilter";
const VIRTUAL_SERVICE: &str = "VirtualService.networking.istio.io";
const ROUTING: &str = "istio-system";

fn routing_policy(world: &World<'_>, identity: &str, hosts: &[&str]) -> Value {
    json!({
        "apiVersion": "admiral.io/v1alpha1", "kind": "RoutingPolicy",
        "metadata": {"name": identity, "namespace": world.namespace(identity),
                     "labels": {world.identity_key(): identity, "admiral.io/env": "stage"}},
        "spec": {"plugin": "shadow", "hosts": hosts, "config": {"wasmPath": "/etc/istio/extensions/shadow.wasm"}},
    })
}

/// A text of each filter for the policy of an identity.
async fn of_filters(world: &World<'_>, cluster: usize, identity: &str, pointer: &str) -> Vec<String> {
    let filters = world.clusters[cluster].list(ENVOY_FILTER, ROUTING).await;
    let of_policy = filters
        .iter()
        .filter(|filter| filter["metadata"]["annotations"]["associated-routing-policy-identity"] == identity);
    of_policy.map(|filter| filter.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()).collect()
}

/// What the filters tell the plugin.
async fn told(world: &World<'_>, cluster: usize, identity: &str) -> Vec<String> {
    let value = "/spec/configPatches/0/patch/value/typed_config/value/config/configuration/value";
    of_filters(world, cluster, identity, value).await
}

/// The resourceVersions of the filters.
async fn versions(world: &World<'_>, cluster: usize, identity: &str) -> Vec<String> {
    of_filters(world, cluster, identity, "/metadata/resourceVersion").await
}

async fn tells(world: &World<'_>, cluster: usize, identity: &str, expected: &[&str]) {
    eventually(&format!("the filters of {identity} tell {expected:?}"), SOON, async || {
        let found = told(world, cluster, identity).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_policy_comes_changes_and_goes_with_restarts_between() {
    let world = World::shared().await;
    let service = unique("ledger");
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], &service).await;
    world.depend("web", &[&service]).await;
    let flags = ["--enable-routing-policy=true", "--routing-policy-enabled-clusters=*"];
    let controller = world.start(&flags).await;
    world.clusters[1].apply(vec![routing_policy(&world, &service, &["one.example"])]).await;
    tells(&world, 0, &service, &["hosts: one.example\nplugin: shadow"]).await;
    world.clusters[1].apply(vec![routing_policy(&world, &service, &["one.example", "two.example"])]).await;
    let changed = "hosts: one.example,two.example\nplugin: shadow";
    tells(&world, 0, &service, &[changed]).await;

    controller.kill();
    let written = versions(&world, 0, &service).await;
    let controller = world.start(&flags).await;
    world.sentinel(&ALL).await;
    assert_eq!(versions(&world, 0, &service).await, written, "a restart writes nothing again");
    assert_eq!(written.len(), 1);

    // It goes while nobody looks.
    controller.kill();
    let namespace = world.namespace(&service);
    world.clusters[1].delete("RoutingPolicy.admiral.io", namespace.as_str(), &service).await;
    let _controller = world.start(&flags).await;
    tells(&world, 0, &service, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_proxy_routes_clients_to_the_proxy_while_it_exists() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "relay").await;
    world.depend("web", &["partner"]).await;
    let _controller = world.start(&["--without-dependency=none"]).await;
    world.sees(1, &host("relay"), &[&world.local("relay")]).await;
    let proxy = json!({
        "apiVersion": "admiral.io/v1alpha1", "kind": "DependencyProxy",
        "metadata": {"name": "partner", "namespace": world.hub_namespace(), "labels": {"env": "stage"}},
        "spec": {"destination": {"identity": "partner", "dns_suffix": "example", "dns_prefixes": ["west"]},
                 "proxy": {"identity": "relay"}},
    });
    world.hub().apply(vec![proxy]).await;
    world.sees(0, &host("relay"), &[GATEWAYS[1]]).await;
    let sync_namespace = world.sync_namespace();
    let route =
        async || world.clusters[0].get_json(VIRTUAL_SERVICE, &*sync_namespace, "stage.partner.example-proxy-vs").await;
    let found =
        eventually("the route of the proxy", SOON, async || route().await.ok_or("there is none".to_owned())).await;
    assert_eq!(found["spec"]["hosts"], json!(["stage.partner.example", "west.stage.partner.example"]));
    assert_eq!(found["spec"]["http"][0]["route"][0]["destination"]["host"], host("relay"));

    world.hub().delete("DependencyProxy.admiral.io", world.hub_namespace().as_str(), "partner").await;
    world.gone(0, &host("relay")).await;
    eventually("the route goes too", SOON, async || match route().await {
        None => Ok(()),
        Some(left) => Err(left.to_string()),
    })
    .await;
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
// Invariant: Objects of an option are removed when the option is disabled.
#[tokio::test(flavor = "multi_thread")]
async fn routing_inside_clusters_that_is_switched_off_leaves_nothing_behind() {
    let world = World::shared().await;
    let service = unique("ledger");
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1, 2], &service).await;
    world.depend("web", &[&service]).await;
    let narrowed = "--enable-sw-aware-ns-caches=true";
    let on = [
        "--enable-vs-routing-in-cluster=true",
        "--vs-routing-in-cluster-enabled-resources=*=*",
        "--enable-vs-routing=true",
        "--vs-routing-gateways=istio-system/passthrough-gateway",
        narrowed,
    ];
    let controller = world.start(&on).await;
    let pair = async |cluster: usize, [route, rule]: [&str; 2]| {
        let route = format!("{}-{route}", host(&service));
        let rule = format!("{}.svc.cluster.local-{rule}", world.namespace(&service));
        let route = world.clusters[cluster].get_json(VIRTUAL_SERVICE, ROUTING, &route).await;
        (route, world.clusters[cluster].get_json(DESTINATION_RULE, ROUTING, &rule).await)
    };
    let (inside, ingress) = (["incluster-vs", "incluster-dr"], ["routing-vs", "routing-dr"]);
    for cluster in [1, 2] {
        for (which, seen_by) in [(inside, world.namespace(&service).to_string()), (ingress, ROUTING.to_owned())] {
            let (route, rule) = eventually("the route and its rule", SOON, async || match pair(cluster, which).await {
                (Some(route), Some(rule)) => Ok((route, rule)),
                found => Err(format!("{found:?}")),
            })
            .await;
            assert_eq!(route["spec"]["exportTo"], json!([seen_by]));
            assert_eq!(rule["spec"]["exportTo"], route["spec"]["exportTo"]);
        }
    }
    let all = async || [pair(1, inside).await, pair(2, inside).await, pair(1, ingress).await, pair(2, ingress).await];
    controller.kill();
    let before = all().await;
    let controller = world.start(&on).await;
    world.sentinel(&ALL).await;
    assert_eq!(all().await, before, "a restart writes nothing again");

    controller.kill();
    let _controller = world.start(&[narrowed]).await;
    eventually("all are gone", SOON, async || {
        let left = all().await;
        if left.iter().all(|pair| *pair == (None, None)) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    for cluster in [1, 2] {
        let entry = world.entry(cluster, &host(&service)).await;
        assert!(entry.is_some(), "the host itself stays");
    }
}
