//! The payments story on three real clusters, by the real binary: what README promises.

mod support;

use std::time::Duration;

use support::{TestCluster, controller::Controller, eventually, start_three};
use tradewind::sample;

const CONVERGE: Duration = Duration::from_secs(60);

/// The manifests of the sample for one cluster, without what only stands in for a cloud (Service status is applied apart).
fn manifests(cluster: &str) -> String {
    let of_cluster = sample::FILES.iter().filter(|(path, _)| path.starts_with(&format!("{cluster}/")));
    of_cluster.map(|(_, text)| *text).collect::<Vec<_>>().join("\n---\n")
}

async fn hosts(cluster: &TestCluster) -> Vec<String> {
    let entries = cluster.list("ServiceEntry.networking.istio.io", Some("admiral-sync")).await;
    let mut hosts: Vec<String> =
        entries.iter().map(|entry| entry["spec"]["hosts"][0].as_str().unwrap_or_default().to_owned()).collect();
    hosts.sort();
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cluster_holds_what_it_needs_and_idles_then() {
    let clusters = start_three().await;
    for cluster in &clusters {
        support::istio::install_crds(cluster).await;
        cluster.apply_yaml(&support::controller::crds()).await;
        cluster.apply_yaml(&manifests(cluster.name())).await;
        cluster.apply_status(&manifests(cluster.name())).await;
    }
    let controller = Controller::start(&clusters[0], &clusters).await;
    let expected = [
        "east.stage.payments.global",
        "stage.orders.global",
        "stage.payments.global",
        "stage.reports.global",
        "west.stage.payments.global",
    ];
    for cluster in &clusters {
        eventually("every host is there", CONVERGE, async || {
            let hosts = hosts(cluster).await;
            if hosts == expected { Ok(()) } else { Err(format!("{}: {hosts:?}", cluster.name())) }
        })
        .await;
    }
    drop(controller);
}
