//! What is told of a cluster that cannot be read: within seconds, with its cause and remedy, once, and when it is over.

use std::time::{Duration, Instant};

use http::Method;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    support::{Answer, FaultProxy, Mode, StatusProxy, Who, controller::Controller, eventually, process::Port},
    world::{GATEWAYS, SOON, World, host, noted, notes, unnoted},
};

/// How long somebody who starts the controller waits for a reason: seconds, on a busy machine.
const SECONDS: Duration = Duration::from_secs(20);

/// What is said of the policies of other tests, which share the clusters and have identity labels of their own.
const OF_OTHER_TESTS: &str = "policy-without-identity";

/// The lines of a level that name a cluster.
fn lines(controller: &Controller, level: &str, cluster: &str) -> Vec<String> {
    let (level, cluster) = (format!(" {level} "), format!("cluster={cluster}"));
    let log = controller.log();
    let of_cluster = log.lines().filter(|line| line.contains(&level) && line.contains(&cluster));
    of_cluster.filter(|line| !line.contains(OF_OTHER_TESTS)).map(str::to_owned).collect()
}

async fn logged(controller: &Controller, level: &str, cluster: &str, words: &[&str]) -> String {
    eventually(&format!("a line {level} of {cluster} that says {words:?}"), SOON, async || {
        let lines = lines(controller, level, cluster);
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        lines.iter().find(fits).cloned().ok_or_else(|| controller.log())
    })
    .await
}

/// One dead API server is one line and one note, with the right remedy; its return is one line.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_one_line_and_one_note_and_so_is_its_end() {
    let world = World::shared().await;
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    assert_eq!(lines(&controller, "WARN", "cluster-3"), [""; 0]);

    proxy.set(Mode::Refuse).await;
    logged(&controller, "WARN", "cluster-3", &["refuses connections", "check that it runs"]).await;
    // Whatever fails with it has had its time.
    world.removal_sentinel(&[0, 1]).await;
    let of_third: Vec<Value> =
        notes(&controller).await.into_iter().filter(|note| note["object"]["cluster"] == "cluster-3").collect();
    let of_third: Vec<Value> = of_third.into_iter().filter(|note| note["kind"] != OF_OTHER_TESTS).collect();
    assert_eq!(of_third.len(), 1, "{of_third:#?}");
    assert_eq!(
        (&of_third[0]["kind"], &of_third[0]["object"]["kind"]),
        (&json!("cluster-unreachable"), &json!("Cluster"))
    );

    proxy.set(Mode::Pass).await;
    logged(&controller, "INFO", "cluster-3", &["can be read again after"]).await;
    unnoted(&controller, "cluster-unreachable", &[]).await;
    unnoted(&controller, "kind-unreadable", &["cluster-3"]).await;
    world.deploy(&[2], "later").await;
    world.sees(0, &host("later"), &[GATEWAYS[2]]).await;
    let warnings = lines(&controller, "WARN", "cluster-3");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(!controller.log().contains("CRD"), "{}", controller.log());
    let ends = lines(&controller, "INFO", "cluster-3").into_iter().filter(|line| line.contains("can be read again"));
    assert_eq!(ends.count(), 1);
}

/// Rights that are missing for several kinds: a note for each, and one line that names them.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_one_line_that_names_the_kinds() {
    let world = World::shared().await;
    let proxy = StatusProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    for path in ["/statefulsets", "/daemonsets", "/cronjobs"] {
        proxy.answer(Answer::with(403).path(path));
    }
    let controller = world.start(&[]).await;
    for kind in ["StatefulSet", "DaemonSet", "CronJob"] {
        noted(&controller, "kind-unreadable", &["cluster-3", kind, "403", "grant it"]).await;
    }
    logged(&controller, "WARN", "cluster-3", &["StatefulSet, DaemonSet, CronJob cannot be read", "403", "grant it"])
        .await;
    proxy.pass();
    logged(&controller, "INFO", "cluster-3", &["StatefulSet, DaemonSet, CronJob can be read again after"]).await;
    unnoted(&controller, "kind-unreadable", &["cluster-3"]).await;
    assert_eq!(lines(&controller, "WARN", "cluster-3").len(), 1, "{}", controller.log());
}

/// Waits until the log, the readiness and the notes all say why the hub cannot be read.
async fn says_of_its_hub(controller: &Controller, words: &[&str]) {
    let begun = Instant::now();
    eventually(&format!("readiness says {words:?}"), SOON, async || match controller.get("/readyz").await {
        Err(why) if words.iter().all(|word| why.contains(word)) && why.contains("(hub)") => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    let words: Vec<&str> = words.iter().copied().chain(["(hub)"]).collect();
    noted(controller, "cluster-unreachable", &words).await;
    logged(controller, "WARN", "(hub)", &words).await;
    assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    assert_eq!(lines(controller, "WARN", "(hub)").len(), 1, "{}", controller.log());
}

/// With another authority than that of the cluster.
fn distrusting(kubeconfig: &str) -> String {
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).expect("a certificate").cert.pem();
    let mut config: Value = serde_saphyr::from_str(kubeconfig).expect("a kubeconfig is YAML");
    config["clusters"][0]["cluster"]["certificate-authority-data"] = json!(ByteString(other.into_bytes()));
    config.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_an_unreadable_hub_is_reported_within_seconds() {
    let world = World::shared().await;
    world.register(&[0, 1]).await;
    world.deploy(&[1], "payments").await;
    let (hub, closed) = (world.hub(), Port::take());
    let token = hub.token(Who::Admin);
    let silent = FaultProxy::start(hub).await;
    silent.set(Mode::Hang).await;
    let closed = format!("https://127.0.0.1:{}", closed.number());
    for (kubeconfig, words) in [
        (hub.kubeconfig_with(&closed, &token), &["refuses connections"][..]),
        (hub.kubeconfig_with("https://no-such-host.invalid", &token), &["DNS does not know"]),
        (distrusting(&hub.kubeconfig()), &["TLS", "certificate-authority-data"]),
        (hub.kubeconfig_with(&hub.url(), "expired"), &["401", "renew the kubeconfig"]),
        (silent.kubeconfig(hub), &["no answer for 5 s"]),
    ] {
        let controller = world.start_through(&kubeconfig, &[]).await;
        says_of_its_hub(&controller, words).await;
    }
    // Once it can be read, all is as if nothing had been.
    let controller = world.start_through(&silent.kubeconfig(hub), &[]).await;
    says_of_its_hub(&controller, &["no answer for 5 s"]).await;
    silent.set(Mode::Pass).await;
    controller.ready().await;
    logged(&controller, "INFO", "(hub)", &["can be read again after"]).await;
    unnoted(&controller, "cluster-unreachable", &[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

/// Rights on the hub: Secrets and the address ConfigMap each with a remedy of its own.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_on_the_hub_are_reported_with_their_purpose() {
    let world = World::shared().await;
    world.register(&[0, 1]).await;
    world.deploy(&[1], "payments").await;
    let hub = StatusProxy::start(world.hub()).await;
    hub.answer(Answer::with(403).path("/secrets"));
    hub.answer(Answer::with(403).path("/configmaps"));
    let controller = world.start_through(&hub.kubeconfig(world.hub()), &[]).await;
    noted(&controller, "cluster-unreachable", &["cluster Secrets", "403", "grant it"]).await;
    let addresses = noted(&controller, "kind-unreadable", &["ConfigMap", "403", "grant get"]).await;
    assert!(!addresses.to_string().contains("Widen"), "{addresses}");
    logged(&controller, "WARN", "(hub)", &["Secret cannot be read", "403"]).await;
    let why = controller.get("/readyz").await.expect_err("no Secret was read");
    assert!(why.contains("403") && why.contains("Secret"), "{why}");
    hub.pass();
    controller.ready().await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "cluster-unreachable", &[]).await;
}

/// A ConfigMap that cannot be read for now is waited for: its addresses must not change meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn planning_waits_for_the_address_config_map_with_a_note() {
    let world = World::shared().await;
    world.register(&[0, 1]).await;
    let hub = StatusProxy::start(world.hub()).await;
    hub.answer(Answer::with(500).methods(&[Method::GET]).path("/configmaps"));
    let controller = world.start_through(&hub.kubeconfig(world.hub()), &[]).await;
    noted(&controller, "kind-unreadable", &["ConfigMap", "500"]).await;
    logged(&controller, "WARN", "(hub)", &["ConfigMap cannot be read", "500"]).await;
    let why = controller.get("/readyz").await.expect_err("it waits");
    assert!(why.contains("ConfigMap") && why.contains("500"), "{why}");
    hub.pass();
    controller.ready().await;
    unnoted(&controller, "kind-unreadable", &["ConfigMap"]).await;
}

/// A member that was never read: its cause is told within seconds, and it keeps nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_a_member_that_was_never_read_is_reported_within_seconds() {
    let world = World::shared().await;
    world.register(&[0]).await;
    world.deploy(&[0], "payments").await;
    let (second, third, closed) = (&world.clusters[1], &world.clusters[2], Port::take());
    let closed = format!("https://127.0.0.1:{}", closed.number());
    let forbidden = third.kubeconfig_with(&third.url(), &third.token(Who::Nobody));
    for (cluster, kubeconfig, words) in [
        (1, second.kubeconfig_with(&closed, &second.token(Who::Admin)), &["refuses connections"][..]),
        (2, distrusting(&third.kubeconfig()), &["TLS", "certificate-authority-data"]),
        (1, second.kubeconfig_with("https://no-such-host.invalid", "x"), &["DNS does not know"]),
        (2, third.kubeconfig_with(&third.url(), "expired"), &["401", "renew the kubeconfig"]),
    ] {
        world.register_through(cluster, &kubeconfig).await;
        let name = world.clusters[cluster].name();
        let controller = world.start(&[]).await;
        logged(&controller, "WARN", name, words).await;
        let words: Vec<&str> = words.iter().copied().chain([name]).collect();
        noted(&controller, "cluster-unreachable", &words).await;
        assert_eq!(lines(&controller, "WARN", name).len(), 1, "{}", controller.log());
        world.sees(0, &host("payments"), &[&world.local("payments")]).await;
    }
    // No right at all: one line, and a note for each kind.
    world.register_through(2, &forbidden).await;
    let controller = world.start(&[]).await;
    logged(&controller, "WARN", "cluster-3", &["Deployment", "VirtualService", "403", "grant it"]).await;
    noted(&controller, "kind-unreadable", &["cluster-3", "Deployment", "403"]).await;
    noted(&controller, "kind-unreadable", &["cluster-3", "VirtualService", "403"]).await;
    assert_eq!(lines(&controller, "WARN", "cluster-3").len(), 1, "{}", controller.log());
}
