//! Commands that read live clusters once: they wait as API servers ask, and name what they could not read.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    support::{self, Answer, FaultProxy, Mode, StatusProxy, TestCluster, file_for_test},
    world::{ALL, GATEWAYS, World, host},
};

async fn run(arguments: Vec<String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A fleet file of the world's clusters, of which the third is reached by this kubeconfig.
fn fleet_file(world: &World<'_>, third: &str) -> PathBuf {
    let file = |kubeconfig: &str| file_for_test("kubeconfig", kubeconfig);
    let [first, second, _] = world.clusters;
    let fleet = json!({
        "hub": {"kubeconfig": file(&world.hub().kubeconfig())},
        "clusters": [{"name": first.name(), "kubeconfig": file(&first.kubeconfig())},
                     {"name": second.name(), "kubeconfig": file(&second.kubeconfig())},
                     {"name": "cluster-3", "kubeconfig": file(third)}],
    });
    file_for_test("fleet.yaml", &fleet.to_string())
}

fn command(world: &World<'_>, words: &[&str], fleet: &Path) -> Vec<String> {
    let words = words.iter().map(ToString::to_string);
    words.chain([fleet.display().to_string()]).chain(world.flags()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_a_throttling_api_server() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1], &world.local("payments")]).await;
    controller.kill();

    let proxy = StatusProxy::start(&world.clusters[2]).await;
    let fleet = fleet_file(&world, &proxy.kubeconfig(&world.clusters[2]));
    for words in [&["diff"][..], &["diff", "--endpoints"]] {
        let throttled = Answer::with(429).retry_after(Duration::from_secs(2));
        proxy.answer(throttled.clone().path("/deployments").times(1));
        proxy.answer(throttled.path("/globaltrafficpolicies").times(2));
        proxy.answer(Answer::with(503).path("/nodes").times(1));
        let begun = Instant::now();
        let output = run(command(&world, words, &fleet)).await;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        // Other tests share the clusters, and their policies have identity labels of their own.
        let said = said(&output);
        let of_this: Vec<&str> = said.lines().filter(|line| !line.contains("policy-without-identity")).collect();
        assert_eq!(of_this, ["nothing differs"]);
        assert!(begun.elapsed() >= Duration::from_secs(4), "as long as was asked for: {:?}", begun.elapsed());
    }
    assert_eq!(proxy.injected(), 8, "all that was prepared was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_with_its_cluster_kind_and_reason() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1], &world.local("payments")]).await;
    controller.kill();

    let (answers, network) =
        (StatusProxy::start(&world.clusters[2]).await, FaultProxy::start(&world.clusters[2]).await);
    answers.answer(Answer::with(403).path("/deployments"));
    network.set(Mode::Refuse).await;
    for (third, missing) in [
        (answers.kubeconfig(&world.clusters[2]), "incomplete: cluster-3: Deployment: 403: no right to list and watch"),
        (
            network.kubeconfig(&world.clusters[2]),
            "incomplete: cluster-3: all kinds: the API server refuses connections",
        ),
    ] {
        let fleet = fleet_file(&world, &third);
        for (words, code) in [(&["diff"][..], 2), (&["diff", "--endpoints"], 2), (&["diff", "--allow-partial"], 0)] {
            let output = run(command(&world, words, &fleet)).await;
            let said = said(&output);
            assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
            assert!(said.contains(missing) && said.contains("incomplete, and of what could be read"), "{said}");
            // What was written is remembered: the endpoints of the third cluster stay.
            assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// An API server that has just learnt of a kind answers 429 for it for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_were_just_applied_are_waited_for() {
    let cluster = TestCluster::start("cluster-1").await;
    let kubeconfig = file_for_test("kubeconfig", &cluster.kubeconfig());
    let fleet =
        json!({"hub": {"kubeconfig": kubeconfig}, "clusters": [{"name": "cluster-1", "kubeconfig": kubeconfig}]});
    let fleet = file_for_test("fleet.yaml", &fleet.to_string());
    support::istio::install_crds(&cluster).await;
    cluster.apply_yaml(&support::controller::crds()).await;
    let output = run(vec!["diff".to_owned(), fleet.display().to_string()]).await;
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "nothing differs\n"));
}

/// The way back waits, too, and names what it could not read.
#[tokio::test(flavor = "multi_thread")]
async fn hand_back_waits_for_a_throttling_server_and_names_unreadable_kinds() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    controller.kill();
    let proxy = StatusProxy::start(&world.clusters[2]).await;
    let fleet = fleet_file(&world, &proxy.kubeconfig(&world.clusters[2]));
    let back = async |further: &[&str]| {
        let words = [&["hand-back", "--stopped", "--clusters", "cluster-3"], further].concat();
        run(command(&world, &words, &fleet)).await
    };
    proxy.answer(Answer::with(403).path("/virtualservices"));
    for (further, code) in [(&["--dry-run"][..], 2), (&["--dry-run", "--allow-partial"], 0)] {
        let output = back(further).await;
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains("incomplete: cluster-3: VirtualService in "), "{}", said(&output));
    }
    proxy.pass();
    let refused = proxy.injected();
    proxy.answer(Answer::with(429).path("/destinationrules").times(2).retry_after(Duration::from_secs(1)));
    let output = back(&[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(proxy.injected() - refused, 2, "{}", said(&output));
}
