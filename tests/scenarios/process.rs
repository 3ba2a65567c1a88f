//! The process: how it starts, stops, and writes nothing when it may not; and what `diff` says beside it.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    support::{FaultProxy, Mode, controller::Controller, eventually, file_for_test},
    world::{ALL, GATEWAYS, SERVICE_ENTRY, SOON, World, host, noted},
};

#[tokio::test(flavor = "multi_thread")]
async fn it_exits_cleanly_on_a_signal() {
    let world = World::shared().await;
    world.register(&ALL).await;
    for identity in ["payments", "orders", "reports"] {
        world.deploy(&[1, 2], identity).await;
    }
    let since = world.marks().await;
    let mut controller = world.start(&["--write-concurrency=1"]).await;
    controller.signal("TERM");
    let status = eventually("it has ended", SOON, async || controller.ended().ok_or_else(String::new)).await;
    assert_eq!(status.code(), Some(0), "{}", controller.last_words());
    // Nothing that was under way was torn: the next life adds what is missing and repeats nothing.
    let mut controller = world.start(&[]).await;
    for identity in ["payments", "orders", "reports"] {
        world.sees(0, &host(identity), &[GATEWAYS[1], GATEWAYS[2]]).await;
        world.sees(2, &host(identity), &[GATEWAYS[1], &world.local(identity)]).await;
    }
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(writes.len() == 18 && writes.values().all(|count| *count == 1), "{writes:#?}");

    controller.signal("INT");
    let status = eventually("it has ended", SOON, async || controller.ended().ok_or_else(String::new)).await;
    assert_eq!(status.code(), Some(0), "{}", controller.last_words());
}

/// Waits until the writer of the third cluster has found so many objects to differ from the plan.
async fn differs(controller: &Controller, objects: usize) {
    eventually(&format!("{objects} objects differ"), SOON, async || {
        let metrics = controller.metrics().await?;
        let of_third = |line: &&str| line.starts_with("tradewind_drift_objects{") && line.contains("cluster-3");
        let found = metrics.lines().find(of_third).unwrap_or("no such metric");
        if found.ends_with(&format!(" {objects}")) { Ok(()) } else { Err(found.to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_by_a_reader_or_a_dry_run() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    controller.kill();

    world.undeploy(1, "payments").await;
    world.deploy(&[1], "orders").await;
    let since = world.marks().await;
    for flag in ["--read-only", "--dry-run"] {
        let controller = world.start(&[flag]).await;
        // Two to create, and two to remove.
        differs(&controller, 4).await;
        if flag == "--dry-run" {
            eventually("it says what it would do", SOON, async || {
                let log = controller.log();
                let says = |verb: &str, name: &str| {
                    log.lines().any(|line| line.contains(&format!("would {verb}")) && line.contains(name))
                };
                let all = says("create", "stage.orders.global-se") && says("delete", "stage.payments.global-se");
                if all { Ok(()) } else { Err(log) }
            })
            .await;
        }
        controller.kill();
    }
    world.wrote_nothing(&since).await;
    let _controller = world.start(&[]).await;
    world.sees(2, &host("orders"), &[GATEWAYS[1]]).await;
    world.gone(2, &host("payments")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_the_fleet_was_heard_and_planned() {
    let world = World::shared().await;
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1], "payments").await;
    proxy.set(Mode::Hang).await;
    let since = world.marks().await;
    let controller = world.start_unready(&[]).await;
    // The others were heard, the third neither answers nor refuses.
    eventually("it waits for the third cluster alone", SOON, async || match controller.get("/health/ready").await {
        Ok(body) => panic!("ready without cluster-3: {body}"),
        Err(why) if why.contains("cluster-3") && !why.contains("cluster-2") => Ok(()),
        Err(why) => Err(why),
    })
    .await;
    controller.get("/health/live").await.expect("it lives");
    world.wrote_nothing(&since).await;
    proxy.set(Mode::Pass).await;
    controller.ready().await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_finds_nothing_after_the_controller_and_what_was_changed_by_hand() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    world.deploy(&[0], "web").await;
    world.depend("web", &["payments"]).await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1], &world.local("payments")]).await;
    for cluster in ALL {
        let endpoint = if cluster == 0 { world.local("web") } else { GATEWAYS[0].to_owned() };
        world.sees(cluster, &host("web"), &[&endpoint]).await;
    }
    controller.kill();

    let fleet = world.fleet_file(true);
    let since = world.marks().await;
    let diff = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command.arg("diff").arg(&fleet).args(["-o", "json"]).args(world.flags());
        tokio::task::spawn_blocking(move || command.output().expect("diff runs")).await.expect("it ends")
    };
    let changes = |output: &Output| -> Vec<Value> {
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let same = diff().await;
    assert_eq!((same.status.code(), changes(&same)), (Some(0), vec![]), "{}", String::from_utf8_lossy(&same.stderr));

    let entry = format!("{}-se", host("payments"));
    let edit = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": entry, "namespace": world.sync_namespace()},
        "spec": {"hosts": [host("payments")], "endpoints": [{"address": "wrong.example"}]},
    });
    world.clusters[1].apply(vec![edit]).await;
    world.clusters[2].delete(SERVICE_ENTRY, world.sync_namespace().as_str(), &entry).await;
    let changed = diff().await;
    let told: Vec<(Value, Value, Value)> = changes(&changed)
        .into_iter()
        .map(|change| (change["cluster"].clone(), change["verb"].clone(), change["name"].clone()))
        .collect();
    let expected = [("cluster-2", "update"), ("cluster-3", "create")]
        .map(|(cluster, verb)| (json!(cluster), json!(verb), json!(entry)));
    assert_eq!((changed.status.code(), told), (Some(1), expected.to_vec()));
    world.wrote_nothing(&since).await;
}

/// A cluster that answers nothing holds the end up no longer than the settings allow.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_time_although_a_cluster_hangs() {
    let world = World::shared().await;
    let proxy = FaultProxy::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &proxy.kubeconfig(&world.clusters[2])).await;
    let mut controller = world.start(&["--graceful-stop-seconds=1"]).await;
    proxy.set(Mode::Hang).await;
    world.deploy(&[1], "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    controller.signal("TERM");
    let asked = Instant::now();
    let status = eventually("it has ended", SOON, async || controller.ended().ok_or_else(String::new)).await;
    assert_eq!(status.code(), Some(0), "{}", controller.last_words());
    // Far below the limit of any request, which is what it would wait for otherwise.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    proxy.set(Mode::Pass).await;
}

/// Without a hub, the clusters of a fleet file are watched, and Dependencies are read in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_file_takes_the_place_of_secrets() {
    let world = World::shared().await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    world.depend("web", &["payments"]).await;
    let fleet = format!("--fleet={}", world.fleet_file(false).display());
    let flags = world.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain([fleet.as_str()]).collect();
    let since = world.marks().await;
    let controller = Controller::start_by(&flags).await;
    controller.ready().await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    world.sentinel(&ALL).await;
    let writes = world.writes(&since).await;
    assert!(!writes.keys().any(|write| write.starts_with("cluster-3") && write.contains("payments")), "{writes:#?}");
}

/// A cluster of the fleet file that cannot be connected at all is a member that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_connected_keeps_its_endpoints() {
    let world = World::shared().await;
    world.deploy(&[1, 2], "payments").await;
    let flags = world.flags();
    let start = async |fleet: &Path| {
        let fleet = format!("--fleet={}", fleet.display());
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain([fleet.as_str()]).collect();
        let controller = Controller::start_by(&flags).await;
        controller.ready().await;
        controller
    };
    let fleet = world.fleet_file(false);
    let controller = start(&fleet).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    controller.kill();

    let mut clusters: Value =
        serde_json::from_str(&std::fs::read_to_string(&fleet).expect("it was just written")).expect("it is JSON");
    let mut broken: Value = serde_saphyr::from_str(&world.clusters[2].kubeconfig()).expect("a kubeconfig is YAML");
    let no_certificate = ByteString(b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n".to_vec());
    broken["clusters"][0]["cluster"]["certificate-authority-data"] = json!(no_certificate);
    clusters["clusters"][2]["kubeconfig"] = json!(file_for_test("kubeconfig", &broken.to_string()));
    let since = world.marks().await;
    let controller = start(&file_for_test("fleet.yaml", &clusters.to_string())).await;
    noted(&controller, "cluster-refused", &["cluster-3"]).await;
    world.undeploy(2, "payments").await;
    world.removal_sentinel(&[0, 1]).await;
    world.wrote_nothing(&since).await;
}
