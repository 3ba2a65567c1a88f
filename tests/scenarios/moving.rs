//! From Admiral to Tradewind and back, as an operator does it: no endpoint changes on either way.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use serde_json::{Value, json};
use tradewind::{
    apply::{KubeStore, ReadBackError, WriteError},
    config::Settings,
    model::Kind,
};

use crate::{
    support::{documents, eventually, file_for_test},
    world::{ALL, DESTINATION_RULE, GATEWAYS, SERVICE_ENTRY, SOON, World, endpoints_of},
};

const ENTRY: &str = "stage.payments.global-se";
const RULE: &str = "stage.payments.global-default-dr";
/// Where the nodes of the sample stand.
const REGIONS: [&str; 3] = ["us-west", "us-west", "us-east"];

fn tradewind(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(arguments).env_remove("RUST_LOG").output().expect("the binary runs")
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ended by itself"), text(&output.stdout), text(&output.stderr))
}

/// What Admiral writes into a cluster for payments, which runs in the second and the third and is weighted 70 to 30.
fn references_objects(world: &World<'_>, cluster: usize) -> Vec<Value> {
    let endpoint = |of: usize| {
        let (address, port) = match of == cluster {
            true => (format!("payments.{}.svc.cluster.local", world.namespace("payments")), 8080),
            false => {
                let (address, port) = GATEWAYS[of].split_once(':').expect("an address and a port");
                (address.to_owned(), port.parse::<u16>().expect("a port"))
            }
        };
        json!({"address": address, "ports": {"http": port}, "locality": REGIONS[of],
               "labels": {"type": "deployment", "security.istio.io/tlsMode": "istio"}})
    };
    let mut objects = documents(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: stage.payments.global-se
  labels: {admiral.io/env: stage}
  annotations: {app.kubernetes.io/created-by: admiral, associated-gtp: payments}
spec:
  hosts: [stage.payments.global]
  addresses: [240.0.10.1]
  ports: [{number: 80, name: http, protocol: http}]
  location: MESH_INTERNAL
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: stage.payments.global-default-dr
  annotations: {app.kubernetes.io/created-by: admiral}
spec:
  host: stage.payments.global
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    loadBalancer: {simple: LEAST_REQUEST, warmupDurationSecs: 45s}
    connectionPool: {http: {maxRequestsPerConnection: 100}}
    outlierDetection:
      baseEjectionTime: 300s
      consecutiveGatewayErrors: 50
      consecutive5xxErrors: 0
      interval: 60s
      maxEjectionPercent: 100
",
    );
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(world.sync_namespace());
    }
    objects[0]["metadata"]["annotations"][world.identity_key()] = json!("payments");
    objects[0]["spec"]["endpoints"] = json!([endpoint(2), endpoint(1)]);
    objects[1]["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"] = json!(
        {"distribute": [{"from": format!("{}/*", REGIONS[cluster]), "to": {"us-west": 70, "us-east": 30}}]}
    );
    objects
}

/// Each object of payments with its identity and what it says; a pair for each cluster.
async fn written_objects(world: &World<'_>) -> Vec<[Value; 2]> {
    let namespace = world.sync_namespace();
    let mut found = Vec::new();
    for cluster in world.clusters {
        let entry = cluster.get_json(SERVICE_ENTRY, namespace.as_str(), ENTRY).await.expect("it is never away");
        let rule = cluster.get_json(DESTINATION_RULE, namespace.as_str(), RULE).await.expect("it is never away");
        found.push([entry, rule]);
    }
    found
}

fn uids(objects: &[[Value; 2]]) -> Vec<Value> {
    objects.iter().flatten().map(|object| object["metadata"]["uid"].clone()).collect()
}

/// Address with port, locality and weight of every endpoint, sorted.
fn endpoints(objects: &[[Value; 2]]) -> Vec<Vec<(String, String, u64)>> {
    let sorted = |entry: &Value| {
        let mut endpoints = endpoints_of(entry);
        endpoints.sort();
        endpoints
    };
    objects.iter().map(|[entry, _]| sorted(entry)).collect()
}

fn specs(objects: &[[Value; 2]]) -> Vec<Value> {
    objects.iter().flatten().map(|object| object["spec"].clone()).collect()
}

/// Admiral's payments in all clusters, with a client in the first and a policy; and the operator's settings file.
async fn reference_at_work(world: &World<'_>) -> std::path::PathBuf {
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    world.clusters[0].apply(vec![world.deployment("orders")]).await;
    world.depend("orders", &["payments"]).await;
    let policy = world.policy("payments", &[("default", &[("us-west", 70), ("us-east", 30)])]);
    world.clusters[1].apply(vec![policy]).await;
    for (index, cluster) in world.clusters.iter().enumerate() {
        cluster.apply(references_objects(world, index)).await;
    }
    let flags = [
        format!("--secret_namespace={}", world.hub_namespace()),
        format!("--dependency_namespace={}", world.hub_namespace()),
        format!("--sync_namespace={}", world.sync_namespace()),
        format!("--workload_identity_key={}", world.identity_key()),
        format!("--admiral_crd_identity_label={}", world.identity_key()),
        "--sync_period=20s".to_owned(),
        "--enable_dependency_processing".to_owned(),
    ];
    let command = ["config", "from-admiral", "--strict", "--"].into_iter().chain(flags.iter().map(String::as_str));
    let (code, settings, errors) = said(&tradewind(&command.collect::<Vec<_>>()));
    assert_eq!(code, 0, "{errors}");
    file_for_test("settings.yaml", &settings)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

// Invariant: Migrating from Admiral and back changes no endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn migrating_from_admiral_and_back_changes_no_endpoint() {
    let world = World::shared().await;
    let settings = reference_at_work(&world).await;
    let before = written_objects(&world).await;
    let fleet = world.fleet_file(true);
    let config = format!("--config={}", settings.display());

    // What would change: marks and labels, and no endpoint.
    let diff = |further: &[&str]| {
        let command = [&["diff", path(&fleet), &config, "--adopt-admiral"], further].concat();
        said(&tradewind(&command))
    };
    let (code, table, summary) = diff(&["--endpoints"]);
    assert_eq!((code, &*table), (0, ""), "{summary}");
    let expected = "6 objects differ; 0 of 3 ServiceEntries with other endpoints; 0 endpoints change\n";
    assert!(summary.ends_with(expected), "{summary}");
    let (code, differences, _) = diff(&[]);
    assert_eq!((code, differences.matches("take over cluster-").count()), (1, 6), "{differences}");
    // Without the strict habits the weights become tiers, and that is told as what it is.
    let tiers = diff(&["--weights=tiers", "--endpoints"]);
    assert_eq!(tiers.0, 1, "{tiers:?}");
    assert!(tiers.1.contains("stage.payments.global") && tiers.1.contains("weight 70"), "{}", tiers.1);

    // Over.
    let controller = world.start(&[&config, "--adopt-admiral"]).await;
    let ours = eventually("all of it is ours", SOON, async || {
        let now = written_objects(&world).await;
        let managed = |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tradewind";
        if now.iter().flatten().all(managed) { Ok(now) } else { Err(format!("{now:#?}")) }
    })
    .await;
    assert_eq!(uids(&ours), uids(&before), "in place");
    assert_eq!(endpoints(&ours), endpoints(&before));
    let addresses = |objects: &[[Value; 2]]| -> Vec<Value> {
        objects.iter().map(|[entry, _]| entry["spec"]["addresses"].clone()).collect()
    };
    assert_eq!(addresses(&ours), addresses(&before));
    let rule = |objects: &[[Value; 2]]| objects.iter().map(|[_, rule]| rule["spec"].clone()).collect::<Vec<_>>();
    assert_eq!(rule(&ours), rule(&before), "the rules are the same to the letter");

    // Back, but not while it writes.
    let back = |further: &[&str]| said(&tradewind(&[&["hand-back", path(&fleet), &config], further].concat()));
    let (code, _, errors) = back(&[]);
    assert!(code == 2 && errors.contains("readOnly: true") && errors.contains("--stopped"), "{errors}");
    let (code, _, errors) = back(&["--controller", &controller.address()]);
    assert!(code == 2 && errors.contains("writes; set readOnly: true first"), "{errors}");
    assert_eq!(written_objects(&world).await, ours, "nothing was marked");
    controller.kill();

    let controller = world.start(&[&config, "--adopt-admiral", "--read-only"]).await;
    let (code, would, errors) = back(&["--dry-run"]);
    assert_eq!((code, would.matches("would hand back").count()), (0, 6), "{would}{errors}");
    assert_eq!(written_objects(&world).await, ours, "a dry run marks nothing");
    // A copy of a user's route is under a name that Admiral would not know.
    let copy = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "orders-route-1", "namespace": world.sync_namespace(),
            "labels": {"app.kubernetes.io/managed-by": "tradewind"},
            "annotations": {"tradewind.io/origin": "cluster-1/orders/route"}},
        "spec": {"hosts": ["route.example"], "http": [{"route": [{"destination": {"host": "route.example"}}]}]}});
    world.clusters[1].apply(vec![copy]).await;
    let (code, first, errors) = back(&["--controller", &controller.address(), "--clusters", "cluster-2"]);
    assert_eq!(code, 0, "{errors}");
    let stays = format!(
        "cluster-2: copies of users' routes stay (1); once Admiral has made its own, remove them: kubectl delete \
         virtualservices,destinationrules -n {} -l app.kubernetes.io/managed-by=tradewind\n",
        world.sync_namespace()
    );
    let given = "cluster-2: handed back 1 of 1 serviceentries\ncluster-2: handed back 1 of 1 destinationrules\n";
    assert_eq!(first, format!("{given}{stays}"));
    let (code, rest, errors) = back(&["--controller", &controller.address()]);
    assert_eq!(code, 0, "{errors}");
    assert!(
        !rest.contains("cluster-2: handed") && rest.contains("cluster-3: handed back 1 of 1 destinationrules\n"),
        "{rest}"
    );

    let theirs = written_objects(&world).await;
    assert_eq!(uids(&theirs), uids(&before));
    assert_eq!(specs(&theirs), specs(&ours), "nothing of what they say changed");
    assert_eq!(endpoints(&theirs), endpoints(&before));
    for object in theirs.iter().flatten() {
        let metadata = &object["metadata"];
        // Admiral's own test of what it may write (Admiral, docs/admiral-behaviour.md#ownership-and-writes).
        assert_eq!(metadata["annotations"]["app.kubernetes.io/created-by"], "admiral");
        assert!(!metadata["labels"].to_string().contains("managed-by"), "{metadata}");
        assert!(!metadata["annotations"].to_string().contains("tradewind.io/"), "{metadata}");
    }
    let of_entry = |objects: &[[Value; 2]]| {
        let metadata =
            |[entry, _]: &[Value; 2]| (entry["metadata"]["labels"].clone(), entry["metadata"]["annotations"].clone());
        objects.iter().map(metadata).collect::<Vec<_>>()
    };
    assert_eq!(of_entry(&theirs), of_entry(&before), "labels and annotations are as Admiral left them");
    // And over again, if need be.
    let (code, _, summary) = diff(&["--endpoints"]);
    assert!(code == 0 && summary.contains("0 endpoints change"), "{summary}");
}

// Invariant: Migrating from Admiral and back changes no endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changed_meanwhile_is_not_handed_back() {
    let world = World::shared().await;
    let cluster = &world.clusters[0];
    let mut entry = references_objects(&world, 0).remove(0);
    entry["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("tradewind");
    entry["metadata"]["annotations"]["app.kubernetes.io/created-by"] = json!("tradewind");
    cluster.apply(vec![entry.clone()]).await;
    let settings = Arc::new(Settings { sync_namespace: world.sync_namespace(), ..Settings::default() });
    let client = cluster.client();
    let read = Arc::new(|_, _: &Value| Err(ReadBackError::Kind(Kind::ServiceEntry)));
    let store = KubeStore::new(Box::new(move || Some(client.clone())), read, &settings);

    let listed = store.managed_objects(Kind::ServiceEntry, &settings.sync_namespace).await.expect("a list");
    assert_eq!(listed.len(), 1);
    entry["metadata"]["labels"]["team"] = json!("payments");
    cluster.apply(vec![entry]).await;
    let refused = store.hand_back(Kind::ServiceEntry, &listed[0]).await.expect_err("it is not what was read");
    assert!(matches!(refused, WriteError::Conflict(_)), "{refused}");
    assert_eq!(
        store.managed_objects(Kind::ServiceEntry, &settings.sync_namespace).await.expect("a list").len(),
        1,
        "it is ours as before"
    );

    let again = store.managed_objects(Kind::ServiceEntry, &settings.sync_namespace).await.expect("a list");
    store.hand_back(Kind::ServiceEntry, &again[0]).await.expect("it is what was read");
    assert_eq!(
        store.managed_objects(Kind::ServiceEntry, &settings.sync_namespace).await.expect("a list"),
        [Value::Null; 0]
    );
    let namespace = world.sync_namespace();
    let theirs = cluster.get_json(SERVICE_ENTRY, namespace.as_str(), ENTRY).await.expect("it stays");
    assert_eq!(theirs["metadata"]["labels"], json!({"admiral.io/env": "stage", "team": "payments"}));
}
