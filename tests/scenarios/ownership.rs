//! Objects that users or the reference made, and users' edits of ours.

use serde_json::{Value, json};

use crate::{
    support::{documents, eventually},
    world::{ALL, DESTINATION_RULE, GATEWAYS, SERVICE_ENTRY, SOON, World, host, noted, unnoted},
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

/// As the reference writes it for a weighted policy.
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
async fn the_references_objects_are_adopted_in_place_when_asked_to() {
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
async fn a_users_label_stays_and_an_edit_of_our_field_is_put_right_once() {
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
