//! The payments story on three real clusters, by the real binary with its default settings: what README promises.

mod support;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use support::{Mark, TestCluster, controller::Controller, documents, eventually, start_three};
use tradewind::sample;

const CONVERGE: Duration = Duration::from_secs(60);

const SYNC_NAMESPACE: &str = "admiral-sync";
/// Where log lines of writes come from.
const WRITES: &str = "tradewind::apply::execute";
const SERVICE_ENTRY: &str = "ServiceEntry.networking.istio.io";
const DESTINATION_RULE: &str = "DestinationRule.networking.istio.io";

/// What every cluster holds: for payments because it runs it or depends on it, for the others because nobody said who does.
const HOSTS: [&str; 5] = [
    "east.stage.payments.global",
    "stage.orders.global",
    "stage.payments.global",
    "stage.reports.global",
    "west.stage.payments.global",
];

/// What each cluster reaches `stage.payments.global` by, in us-west and in us-east.
const PAYMENTS: [[&str; 2]; 3] = [
    ["198.51.100.20:15443", "203.0.113.30:15443"],
    ["payments.payments-west.svc.cluster.local:8080", "203.0.113.30:15443"],
    ["198.51.100.20:15443", "payments.payments-east.svc.cluster.local:8080"],
];

/// The manifests of the sample for one cluster.
fn manifests(cluster: &str) -> String {
    let of_cluster = sample::FILES.iter().filter(|(path, _)| path.starts_with(&format!("{cluster}/")));
    of_cluster.map(|(_, text)| *text).collect::<Vec<_>>().join("\n---\n")
}

async fn furnish(cluster: &TestCluster) {
    support::istio::install_crds(cluster).await;
    cluster.apply_yaml(&support::controller::crds()).await;
    let manifests = manifests(cluster.name());
    cluster.apply_yaml(&manifests).await;
    // No cloud is here to give the gateway its address.
    for object in documents(&manifests).iter().filter(|object| !object["status"].is_null()) {
        cluster.apply_status(&object.to_string()).await;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn hosts(cluster: &TestCluster) -> Vec<String> {
    let entries = cluster.list(SERVICE_ENTRY, SYNC_NAMESPACE).await;
    let mut hosts: Vec<String> = entries.iter().map(|entry| text(&entry["spec"]["hosts"][0]).to_owned()).collect();
    hosts.sort();
    hosts
}

/// Waits until every cluster reaches payments as the story says, with these weights.
async fn story_holds(clusters: &[TestCluster], west_percent: u64, east_percent: u64) {
    for (cluster, [west, east]) in clusters.iter().zip(PAYMENTS) {
        let row = |region: &str, address: &str, weight| (region.to_owned(), address.to_owned(), weight);
        let expected = [row("us-east", east, east_percent), row("us-west", west, west_percent)];
        eventually(&format!("{} reaches payments", cluster.name()), CONVERGE, async || {
            let hosts = hosts(cluster).await;
            if hosts != HOSTS {
                return Err(format!("{hosts:?}"));
            }
            let entry = cluster.get_json(SERVICE_ENTRY, SYNC_NAMESPACE, "stage.payments.global-se").await;
            let endpoints = entry.map(|entry| entry["spec"]["endpoints"].clone()).unwrap_or_default();
            let mut rows: Vec<_> = endpoints
                .as_array()
                .into_iter()
                .flatten()
                .map(|endpoint| {
                    let address = format!("{}:{}", text(&endpoint["address"]), endpoint["ports"]["http"]);
                    let region = text(&endpoint["labels"]["tradewind.io/region"]).to_owned();
                    (region, address, endpoint["weight"].as_u64().unwrap_or_default())
                })
                .collect();
            rows.sort();
            if rows == expected { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
    }
}

/// How often the controller wrote each object, of whatever kind.
async fn writes(clusters: &[TestCluster], since: &[Mark]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (cluster, mark) in clusters.iter().zip(since) {
        let writes = cluster.writes(*mark).await.into_iter();
        for write in writes.filter(|write| write.user_agent.starts_with("tradewind/")) {
            let object = format!("{} {} {} {}", cluster.name(), write.verb, write.resource, write.name);
            *counts.entry(object).or_default() += 1;
        }
    }
    counts
}

/// Its log names every object once per cluster, and shows nothing of what is in it.
async fn each_write_is_one_line(controller: &Controller) {
    for host in HOSTS {
        for kind in ["ServiceEntry", "DestinationRule"] {
            eventually(&format!("each write of the {kind} of {host} is in the log"), CONVERGE, async || {
                let log = controller.log();
                let (kind, name) = (format!("kind=\"{kind}\""), format!("name=\"{host}-"));
                // A note may name the object, too: the copies that a server validated stand in another namespace.
                let is_write = |line: &&str| line.contains(WRITES) && line.contains(&kind) && line.contains(&name);
                let lines: Vec<&str> = log.lines().filter(is_write).collect();
                if lines.len() == PAYMENTS.len() { Ok(()) } else { Err(lines.join("\n")) }
            })
            .await;
        }
    }
    let log = controller.log();
    assert!(!PAYMENTS.iter().flatten().any(|address| log.contains(address)), "{log}");
}

// Invariant: Each changed object is written once, and an idle fleet sees no write.
#[tokio::test(flavor = "multi_thread")]
async fn every_cluster_reaches_payments_with_one_write_per_object() {
    let clusters = start_three().await;
    join_all(clusters.iter().map(furnish)).await;
    let since = join_all(clusters.iter().map(TestCluster::mark)).await;

    let controller = Controller::start(&clusters[0], &clusters).await;
    story_holds(&clusters, 10, 90).await;
    objects_are_valid_to_the_letter(&clusters).await;
    each_write_is_one_line(&controller).await;

    // The next life finds everything as it should be. That it wrote nothing shows in the count below.
    controller.kill();
    let controller = Controller::start_with(&clusters[0], &[]).await;
    controller.ready().await;
    let policy = manifests("cluster-3").replace("weight: 90", "weight: 60").replace("weight: 10\n", "weight: 40\n");
    clusters[2].apply_yaml(&policy).await;
    story_holds(&clusters, 40, 60).await;

    let mut expected = BTreeMap::new();
    for cluster in &clusters {
        expected.insert(format!("{} create namespaces {SYNC_NAMESPACE}", cluster.name()), 1);
        for host in HOSTS {
            let of_kind = |resource: &str, name: String| format!("{} patch {resource} {name}", cluster.name());
            // The weights are endpoints': the rule stays as it is.
            let edits = usize::from(host == "stage.payments.global");
            expected.insert(of_kind("serviceentries", format!("{host}-se")), 1 + edits);
        }
        for rule in clusters_rules(cluster).await {
            expected.insert(format!("{} patch destinationrules {rule}", cluster.name()), 1);
        }
    }
    assert_eq!(expected.len(), 3 * (1 + 2 * HOSTS.len()));
    // Namespaces are made by server-side apply or by create, which is the same to their owner.
    let written = writes(&clusters, &since).await.into_iter();
    let written: BTreeMap<_, _> =
        written.map(|(object, count)| (object.replace("patch namespaces", "create namespaces"), count)).collect();
    assert_eq!(written, expected, "{}", controller.last_words());
}

async fn clusters_rules(cluster: &TestCluster) -> Vec<String> {
    let rules = cluster.list(DESTINATION_RULE, SYNC_NAMESPACE).await;
    rules.iter().map(|rule| text(&rule["metadata"]["name"]).to_owned()).collect()
}

/// Every object once more, in another namespace, with a server that accepts no unknown field.
async fn objects_are_valid_to_the_letter(clusters: &[TestCluster]) {
    for cluster in clusters {
        cluster.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: strict}}").await;
        for kind in [SERVICE_ENTRY, DESTINATION_RULE] {
            for object in cluster.list(kind, SYNC_NAMESPACE).await {
                let metadata = &object["metadata"];
                let copy = json!({
                    "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"],
                    "metadata": {"name": metadata["name"], "namespace": "strict",
                                 "labels": metadata["labels"], "annotations": metadata["annotations"]},
                });
                let applied = support::istio::strict_apply_object(cluster, &copy).await;
                let applied = applied.unwrap_or_else(|error| panic!("{}: {error}: {copy:#}", cluster.name()));
                assert_eq!(
                    applied["spec"], object["spec"],
                    "what is not written is not defaulted by the server either"
                );
            }
        }
    }
}
