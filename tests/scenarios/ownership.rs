//! Objects that users or Admiral made, and users' edits of ours.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    support::{documents, eventually},
    world::{
        ALL, DESTINATION_RULE, GATEWAYS, SERVICE_ENTRY, SOON, World, endpoints_of, host, noted, own_clusters, unnoted,
    },
};

const ENTRY: &str = "stage.payments.global-se";
const RULE: &str = "stage.payments.global-default-dr";

fn users_entry(world: &World<'_>, created_by: Option<&str>) -> Value {
    let mut entry = documents(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stage.payments.global-se, labels: {team: payments}, annotations: {}}
spec:
  hosts: [stage.payments.global]
  addresses: [240.0.10.10]
  ports: [{number: 80, name: http, protocol: http}]
  location: MESH_INTERNAL
  resolution: DNS
  endpoints: [{address: hand.made.example, ports: {http: 15443}}]
",
    )
    .remove(0);
    entry["metadata"]["namespace"] = json!(world.sync_namespace());
    if let Some(creator) = created_by {
        entry["metadata"]["annotations"] = json!({"app.kubernetes.io/created-by": creator});
    }
    entry
}

/// As Admiral writes it for a weighted policy.
fn references_rule(world: &World<'_>) -> Value {
    let mut rule = documents(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: stage.payments.global-default-dr
  annotations: {app.kubernetes.io/created-by: admiral}
spec:
  host: stage.payments.global
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    loadBalancer:
      simple: LEAST_REQUEST
      localityLbSetting:
        distribute: [{from: us-west/*, to: {us-west: 70, us-east: 30}}]
    outlierDetection: {baseEjectionTime: 300s, consecutive5xxErrors: 0, consecutiveGatewayErrors: 50, interval: 60s}
",
    )
    .remove(0);
    rule["metadata"]["namespace"] = json!(world.sync_namespace());
    rule
}

async fn get(world: &World<'_>, kind: &str, name: &str) -> Option<Value> {
    world.clusters[0].get_json(kind, world.sync_namespace().as_str(), name).await
}

// Invariant: Only managed objects are changed or removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_object_of_the_same_name_is_left_alone_until_it_goes() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.clusters[0].apply(vec![users_entry(&world, None)]).await;
    let before = get(&world, SERVICE_ENTRY, ENTRY).await;
    world.deploy(&[1], "payments").await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    noted(&controller, "object-foreign", &["cluster-1", ENTRY]).await;
    // The other clusters are not concerned.
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    world.sentinel(&ALL).await;
    assert_eq!(get(&world, SERVICE_ENTRY, ENTRY).await, before);
    let asked = world.writes(&since).await;
    assert!(!asked.keys().any(|write| write.starts_with("cluster-1") && write.ends_with(ENTRY)), "{asked:#?}");

    world.clusters[0].delete(SERVICE_ENTRY, world.sync_namespace().as_str(), ENTRY).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "object-foreign", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admirals_objects_are_adopted_in_place_on_request() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.clusters[0].apply(vec![users_entry(&world, Some("admiral")), references_rule(&world)]).await;
    let uid = async |kind, name| get(&world, kind, name).await.expect("it stays")["metadata"]["uid"].clone();
    let before = (uid(SERVICE_ENTRY, ENTRY).await, uid(DESTINATION_RULE, RULE).await);
    world.deploy(&[1, 2], "payments").await;
    let since = world.marks().await;

    let controller = world.start(&[]).await;
    noted(&controller, "object-foreign", &["cluster-1", ENTRY]).await;
    world.sentinel(&ALL).await;
    let asked = world.writes(&since).await;
    assert!(!asked.keys().any(|write| write.starts_with("cluster-1")), "{asked:#?}");
    controller.kill();

    let controller = world.start(&["--adopt-admiral"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    let rule = eventually("the rule is ours", SOON, async || {
        let rule = get(&world, DESTINATION_RULE, RULE).await.expect("it is never away");
        let managed = rule["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tradewind";
        if managed { Ok(rule) } else { Err(rule.to_string()) }
    })
    .await;
    let locality = &rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"];
    assert!(locality.get("distribute").is_none(), "it excludes failover: {locality}");
    assert_eq!(before, (uid(SERVICE_ENTRY, ENTRY).await, uid(DESTINATION_RULE, RULE).await), "without a gap");
    unnoted(&controller, "object-foreign", &[]).await;
    let entry = get(&world, SERVICE_ENTRY, ENTRY).await.expect("it stays");
    assert_eq!(entry["metadata"]["labels"]["team"], "payments", "what is the user's stays the user's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_label_remains_and_an_edit_of_a_managed_field_is_reverted_once() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;

    let since = world.marks().await;
    let namespace = world.sync_namespace();
    let metadata = json!({"name": ENTRY, "namespace": namespace, "labels": {"team": "payments"}});
    let label = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata});
    world.clusters[0].apply(vec![label.clone()]).await;
    world.sentinel(&ALL).await;
    world.wrote_nothing(&since).await;

    let mut edit = label;
    edit["spec"] = json!({"endpoints": [{"address": "wrong.example", "ports": {"http": 1}}]});
    world.clusters[0].apply(vec![edit]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sentinel(&ALL).await;
    let entry = get(&world, SERVICE_ENTRY, ENTRY).await.expect("it stays");
    assert_eq!(entry["metadata"]["labels"]["team"], "payments");
    let put_right = world.writes(&since).await;
    assert_eq!(put_right.into_iter().collect::<Vec<_>>(), [(format!("cluster-1 patch serviceentries {ENTRY}"), 1)]);

    // Deleted by a user: it is back, as it was.
    world.clusters[0].delete(SERVICE_ENTRY, namespace.as_str(), ENTRY).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    let again = get(&world, SERVICE_ENTRY, ENTRY).await.expect("it was just seen");
    assert_eq!(again["spec"], entry["spec"]);
}

/// An entry for a host and its rule, as somebody made them by hand.
fn by_hand(identity: &str, namespace: &str, address: &str) -> [Value; 2] {
    let metadata = json!({"name": "by-hand", "namespace": namespace, "labels": {"team": identity}});
    let entry = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": {
        "hosts": [host(identity)], "addresses": [address], "location": "MESH_INTERNAL", "resolution": "DNS",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 81, "name": "more", "protocol": "HTTP"}],
        "endpoints": [{"address": "hand.made.example", "ports": {"http": 15443}}]}});
    let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata, "spec": {
        "host": host(identity), "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"},
            "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}}});
    [entry, rule]
}

/// What their owner says about it, as with `kubectl annotate`.
async fn say(world: &World<'_>, object: &Value, adopt: Option<&str>) {
    let kind = object["kind"].as_str().expect("a kind");
    let namespace = object["metadata"]["namespace"].as_str().expect("a namespace");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", kind));
    let api: Api<DynamicObject> = Api::namespaced_with(world.clusters[0].client(), namespace, &resource);
    let annotation = json!({"metadata": {"annotations": {"tradewind.io/adopt": adopt}}});
    api.patch("by-hand", &PatchParams::default(), &Patch::Merge(&annotation)).await.expect("it may be annotated");
}

// Invariant: A hand-written object is adopted only if its owner hands it over, in place, and is given back with its
// content.
#[tokio::test(flavor = "multi_thread")]
async fn a_hand_written_entry_is_adopted_in_place_on_request_and_given_back() {
    // The annotation is for whoever reads it, and the shared clusters have many controllers.
    let clusters = own_clusters().await;
    let world = World::on(&clusters).await;
    world.register(&ALL).await;
    let namespace = world.sync_namespace();
    let all = [by_hand("payments", &namespace, "240.0.10.10"), by_hand("refunds", "legacy", "10.77.0.9")];
    for pair in &all {
        world.clusters[0].apply(pair.to_vec()).await;
    }
    world.deploy(&[1], "payments").await;
    world.deploy(&[1], "refunds").await;
    let get = async |object: &Value| {
        let kind = if object["kind"] == "ServiceEntry" { SERVICE_ENTRY } else { DESTINATION_RULE };
        let namespace = object["metadata"]["namespace"].as_str().expect("a namespace");
        world.clusters[0].get_json(kind, namespace, "by-hand").await.expect("it is never away")
    };
    let before = [get(&all[0][0]).await, get(&all[0][1]).await, get(&all[1][0]).await, get(&all[1][1]).await];

    // Nobody handed anything over: nothing of it is touched, and no entry is made beside one in the same namespace.
    let controller = world.start(&[]).await;
    noted(&controller, "object-foreign", &["cluster-1", "by-hand", "creates none of its own"]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    world.sentinel(&ALL).await;
    assert_eq!(get(&all[0][0]).await, before[0]);
    assert!(world.entry(0, &host("payments")).await.is_none());
    world.sees(0, &host("refunds"), &[GATEWAYS[1]]).await;

    for object in all.iter().flatten() {
        say(&world, object, Some("true")).await;
    }
    let adopted = async |object: &Value, endpoints: &[&str]| {
        eventually("it is Tradewind's in place", SOON, async || {
            let now = get(object).await;
            let is_managed = now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tradewind";
            let found: Vec<String> = endpoints_of(&now).into_iter().map(|(address, _, _)| address).collect();
            let is_right = now["kind"] == "DestinationRule" || found == endpoints;
            if is_managed && is_right { Ok(now) } else { Err(format!("{now:#}")) }
        })
        .await
    };
    for (index, object) in all.iter().flatten().enumerate() {
        let now = adopted(object, &[GATEWAYS[1]]).await;
        let old = &before[index];
        assert_eq!(now["metadata"]["uid"], old["metadata"]["uid"], "in place");
        assert_eq!(now["metadata"]["labels"]["team"], old["metadata"]["labels"]["team"]);
        assert_eq!(now["spec"]["addresses"], old["spec"]["addresses"], "its address is kept");
        assert!(now["spec"]["trafficPolicy"].get("portLevelSettings").is_none(), "{now:#}");
    }
    unnoted(&controller, "object-foreign", &[]).await;
    for cluster in [1, 2] {
        let entry = world.entry(cluster, &host("refunds")).await.expect("it is published there");
        assert_eq!(entry["spec"]["addresses"], json!(["10.77.0.9"]), "it is the host's address everywhere");
    }
    // What stood beside the entry of the other namespace has gone, when that had taken its place.
    eventually("one entry for the host", SOON, async || match world.entry(0, &host("refunds")).await {
        None => Ok(()),
        Some(entry) => Err(format!("{entry:#}")),
    })
    .await;
    // It follows the fleet from now on.
    world.deploy(&[2], "payments").await;
    adopted(&all[0][0], &[GATEWAYS[1], GATEWAYS[2]]).await;

    // Its owner takes it back: the marks go, what it says stays.
    let since = world.marks().await;
    let serving = [get(&all[0][0]).await, get(&all[1][0]).await];
    for object in all.iter().flatten() {
        say(&world, object, None).await;
    }
    for (pair, serving) in all.iter().zip(&serving) {
        for object in pair {
            let now = eventually("it is its owner's again", SOON, async || {
                let now = get(object).await;
                let marks = format!("{}{}", now["metadata"]["labels"], now["metadata"]["annotations"]);
                let kept = now["metadata"]["annotations"]["tradewind.io/adopt"] == "false";
                let is_marked = marks.contains("managed-by") || marks.contains("tradewind.io/identity");
                if kept && !is_marked { Ok(now) } else { Err(format!("{now:#}")) }
            })
            .await;
            assert_eq!(now["metadata"]["labels"], object["metadata"]["labels"]);
            assert!(!now["metadata"]["managedFields"].to_string().contains("f:spec"), "{now:#}");
            if now["kind"] == "ServiceEntry" {
                assert_eq!(now["spec"], serving["spec"], "no request notices");
            }
        }
    }
    noted(&controller, "object-foreign", &["cluster-1", "by-hand"]).await;
    let given_back = get(&all[0][0]).await;
    world.undeploy(2, "payments").await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    world.sentinel(&ALL).await;
    assert_eq!(get(&all[0][0]).await, given_back, "nobody follows the fleet for it any more");
    for identity in ["payments", "refunds"] {
        assert!(world.entry(0, &host(identity)).await.is_none(), "none is made beside it");
    }
    let writes = world.writes(&since).await;
    assert!(!writes.keys().any(|write| write.starts_with("cluster-1 delete serviceentries")), "{writes:#?}");

    // The owner's fields are the owner's again: no conflict when it is applied as it was.
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry"));
    let api: Api<DynamicObject> = Api::namespaced_with(world.clusters[0].client(), &namespace, &resource);
    let as_before = Patch::Apply(&all[0][0]);
    let answer = api.patch("by-hand", &PatchParams::apply("its-owner"), &as_before).await.expect("no conflict");
    assert_eq!(answer.data["spec"]["endpoints"], before[0]["spec"]["endpoints"]);

    // When it goes, Tradewind's own comes in its place.
    world.clusters[0].delete(SERVICE_ENTRY, namespace.as_str(), "by-hand").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}
