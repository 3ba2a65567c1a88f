//! Sidecars of client namespaces, and the namespaces that objects are visible to.

use serde_json::{Value, json};

use crate::{
    support::{documents, eventually},
    world::{ALL, SOON, World, host},
};

const SIDECAR: &str = "Sidecar.networking.istio.io";

async fn sidecar(world: &World<'_>, name: &str) -> Option<Value> {
    world.clusters[0].get_json(SIDECAR, world.namespace("web").as_str(), name).await
}

/// Waits until a Sidecar has exactly these hosts.
async fn lists(world: &World<'_>, expected: &[String]) -> Value {
    let mut expected = expected.to_vec();
    expected.sort();
    eventually(&format!("the Sidecar lists {expected:?}"), SOON, async || {
        let found = sidecar(world, "default").await.ok_or("there is none")?;
        let hosts = found["spec"]["egress"][0]["hosts"].as_array().cloned().unwrap_or_default();
        let mut hosts: Vec<String> = hosts.iter().map(crate::world::text).collect();
        hosts.sort();
        if hosts == expected { Ok(found) } else { Err(format!("{hosts:?}")) }
    })
    .await
}

// Invariant: Only managed objects are changed or removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_sidecar_gets_managed_hosts_and_keeps_its_own() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    world.deploy(&[1], "orders").await;
    let mut users = documents(
        "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress:
  - hosts: [./*, istio-system/*, other/thing.example]
",
    )
    .remove(0);
    users["metadata"]["namespace"] = json!(world.namespace("web"));
    world.clusters[0].apply(vec![users]).await;
    let before = sidecar(&world, "default").await.expect("it was just made");
    world.depend("web", &["payments"]).await;

    let base = ["./*", "istio-system/*", "other/thing.example"].map(str::to_owned);
    let ours = |identity: &str| format!("{}/{}", world.sync_namespace(), host(identity));
    let with = |identities: &[&str]| -> Vec<String> {
        base.iter().cloned().chain(identities.iter().map(|identity| ours(identity))).collect()
    };
    let since = world.marks().await;
    let controller = world.start(&["--sidecars=merge"]).await;
    let merged = lists(&world, &with(&["payments"])).await;
    assert_eq!(merged["spec"]["outboundTrafficPolicy"], before["spec"]["outboundTrafficPolicy"]);
    assert_eq!(merged["metadata"]["labels"], before["metadata"]["labels"], "it stays the user's");
    world.depend("web", &["payments", "orders"]).await;
    lists(&world, &with(&["payments", "orders"])).await;

    // Remembered by what was written: the next life knows which hosts are ours.
    controller.kill();
    world.depend("web", &["orders"]).await;
    let _controller = world.start(&["--sidecars=merge"]).await;
    lists(&world, &with(&["orders"])).await;
    world.hub().delete("Dependency.admiral.io", world.hub_namespace().as_str(), "web").await;
    let after = lists(&world, &base).await;
    assert_eq!(
        (&after["spec"], &after["metadata"]["annotations"]),
        (&before["spec"], &before["metadata"]["annotations"])
    );
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    let of_sidecars: Vec<_> = writes.iter().filter(|(write, _)| write.contains("sidecars")).collect();
    assert_eq!(of_sidecars, [(&"cluster-1 patch sidecars default".to_owned(), &4)], "four changes: {writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_a_sidecar_gets_a_managed_one_and_loses_it_again() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    world.depend("web", &["payments"]).await;
    let _controller = world.start(&["--sidecars=own"]).await;
    let host = format!("{}/{}", world.sync_namespace(), host("payments"));
    let ours = lists(&world, &["./*".into(), "istio-system/*".into(), host]).await;
    assert_eq!(ours["metadata"]["labels"]["app.kubernetes.io/managed-by"], "tradewind");
    for cluster in [1, 2] {
        assert!(world.clusters[cluster].get_json(SIDECAR, world.namespace("web").as_str(), "default").await.is_none());
    }
    world.hub().delete("Dependency.admiral.io", world.hub_namespace().as_str(), "web").await;
    eventually("it is gone", SOON, async || match sidecar(&world, "default").await {
        None => Ok(()),
        Some(left) => Err(left.to_string()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_of_many_hosts_is_written_once() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    let destinations: Vec<String> = (1..=12).map(|n| format!("shop-{n}")).collect();
    for destination in &destinations {
        world.deploy(&[1], destination).await;
    }
    world.depend("web", &destinations.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let since = world.marks().await;
    let _controller = world.start(&["--sidecars=own"]).await;
    let ours = destinations.iter().map(|identity| format!("{}/{}", world.sync_namespace(), host(identity)));
    lists(&world, &["./*".to_owned(), "istio-system/*".into()].into_iter().chain(ours).collect::<Vec<_>>()).await;
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(writes.values().all(|count| *count == 1), "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_exported_to_the_namespaces_of_dependents() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    world.depend("web", &["payments"]).await;
    let _controller = world.start(&["--enable-sw-aware-ns-caches=true"]).await;
    let exported = async |cluster: usize, expected: Vec<String>| {
        eventually(&format!("exported to {expected:?}"), SOON, async || {
            let entry = world.entry(cluster, &host("payments")).await.ok_or("no entry")?;
            let rule = world.rule(cluster, &host("payments")).await.ok_or("no rule")?;
            let found = (&entry["spec"]["exportTo"], &rule["spec"]["exportTo"]);
            if found == (&json!(expected), &json!(expected)) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    exported(0, vec![world.namespace("web")]).await;
    let mut at_home = vec!["istio-system".to_owned(), world.namespace("payments")];
    at_home.sort();
    exported(1, at_home).await;

    // A second client in the cluster.
    world.deploy(&[0], "shop").await;
    world.depend("shop", &["payments"]).await;
    exported(0, vec![world.namespace("shop"), world.namespace("web")]).await;
}
