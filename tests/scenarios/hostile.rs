//! API servers that were taken over, or are broken in the same way: each harms nothing but its own cluster, is named, and
//! counts again once it is honest.

use serde_json::{Value, json};

use crate::{
    support::{Attack, HostileServer},
    world::{GATEWAYS, World, host, noted, unnoted},
};

/// Far above what the controller takes for this world in a debug build, and far below what any of the attacks would take.
const MEMORY_MIB: u64 = 400;

/// The third cluster answers so for what has `path` in its path: its neighbours are planned and written, the note names it and
/// says `words`, memory stays bounded, and the cluster returns.
async fn harms_only_itself(attack: Attack, words: &[&str]) {
    let world = World::shared().await;
    let server = HostileServer::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &server.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    server.attack(attack, "/deployments");
    let controller = world.start(&["--cluster-max-objects=5000"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    let words: Vec<&str> = words.iter().copied().chain(["cluster-3", "Deployment", "deployments (apps/v1)"]).collect();
    noted(&controller, "kind-unreadable", &words).await;
    // Neighbours go on.
    world.sentinel(&[0, 1]).await;
    let peak = controller.peak_memory_mib();
    assert!(peak < MEMORY_MIB, "{peak} MiB");
    server.relent();
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    unnoted(&controller, "kind-unreadable", &["cluster-3"]).await;
}

// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_cut_off() {
    harms_only_itself(Attack::EndlessBody, &["more than 16777216 bytes in one answer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_is_cut_off() {
    harms_only_itself(Attack::GzipBomb, &["more than 16777216 bytes in one answer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_end_is_cut_off() {
    harms_only_itself(Attack::EndlessError, &["more than 262144 bytes in one answer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_are_given_up() {
    harms_only_itself(Attack::EndlessPages, &["more than 5000 of them", "clusterMaxObjects"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_without_end_are_given_up() {
    harms_only_itself(Attack::EmptyPages, &["more than 3500 pages"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_repeats_is_given_up_at_once() {
    harms_only_itself(Attack::RepeatedPage, &["does not advance"]).await;
}

/// A watch turns hostile after its list was honest: what was known stays in force.
async fn a_watch_harms_only_itself(attack: Attack, words: &[&str]) {
    let world = World::shared().await;
    let server = HostileServer::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &server.kubeconfig(&world.clusters[2])).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&["--cluster-max-objects=5000"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    let since = world.marks().await;
    server.attack(attack, "/deployments");
    let words: Vec<&str> = words.iter().copied().chain(["cluster-3", "deployments (apps/v1)"]).collect();
    noted(&controller, "kind-unreadable", &words).await;
    world.sentinel(&[0, 1]).await;
    let peak = controller.peak_memory_mib();
    assert!(peak < MEMORY_MIB, "{peak} MiB");
    world.wrote_nothing(&since).await;
    server.relent();
    unnoted(&controller, "kind-unreadable", &["cluster-3"]).await;
    world.undeploy(2, "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_end_is_cut_off_and_what_was_known_stays() {
    a_watch_harms_only_itself(Attack::EndlessLine, &["more than 8388608 bytes in one event"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_end_are_given_up_and_what_was_known_stays() {
    a_watch_harms_only_itself(Attack::EndlessObjects, &["more than 5000 of them"]).await;
}

/// What a proxy in between answers to a write is no refusal of the object: it is tried again at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_answers_in_the_servers_place_is_named_and_outlived() {
    let world = World::shared().await;
    let server = HostileServer::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &server.kubeconfig(&world.clusters[2])).await;
    let controller = world.start(&[]).await;
    for (status, service) in [(302, "payments"), (407, "orders"), (400, "reports")] {
        server.attack(Attack::Page(status), "/serviceentries");
        world.deploy(&[1], service).await;
        world.sees(0, &host(service), &[GATEWAYS[1]]).await;
        let status = status.to_string();
        let note = noted(&controller, "write-failed", &["cluster-3", &status, "proxy", "tried again"]).await;
        assert!(!note.to_string().contains("Sign in"), "{note}");
        server.relent();
        world.sees(2, &host(service), &[GATEWAYS[1]]).await;
        unnoted(&controller, "write-failed", &["cluster-3"]).await;
    }
}

/// A webhook that was mended: what it refused passes as soon as one of it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_quoted_without_its_control_characters_and_outlived() {
    let world = World::shared().await;
    let server = HostileServer::start(&world.clusters[2]).await;
    world.register(&[0, 1]).await;
    world.register_through(2, &server.kubeconfig(&world.clusters[2])).await;
    server.attack(Attack::Refusal, "/serviceentries");
    let controller = world.start(&[]).await;
    for service in ["payments", "orders"] {
        world.deploy(&[1], service).await;
        let words = ["cluster-3", service, "\\u{1b}[31mnot now and not ever", "every one to two minutes"];
        noted(
            &controller,
            "write-failed",
            &words.map(|word| word.replace('\\', "\\\\")).each_ref().map(|word| &**word),
        )
        .await;
    }
    assert!(!controller.log().contains('\u{1b}'), "no log line moves a cursor");
    server.relent();
    // One of them changes.
    world.deploy(&[0], "orders").await;
    for service in ["payments", "orders"] {
        let all = [GATEWAYS[0], GATEWAYS[1]];
        world.sees(2, &host(service), if service == "orders" { &all } else { &all[1..] }).await;
    }
    unnoted(&controller, "write-failed", &["cluster-3"]).await;
}

/// A kubeconfig that gives credentials away is refused by name, its cluster is written to by nobody, and its neighbours are.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_gives_credentials_away_is_refused_and_harms_no_other() {
    let world = World::shared().await;
    let third = &world.clusters[2];
    world.register(&[0, 1]).await;
    world.deploy(&[1], "payments").await;
    let mut kubeconfig: Value = serde_saphyr::from_str(&third.kubeconfig()).expect("a kubeconfig is YAML");
    kubeconfig["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true);
    kubeconfig["clusters"][0]["cluster"].as_object_mut().expect("an object").remove("certificate-authority-data");
    kubeconfig["users"][0]["user"]["as"] = json!("system:admin");
    world.register_through(2, &kubeconfig.to_string()).await;
    let since = world.marks().await;
    let controller = world.start(&[]).await;
    let words = ["cluster-3", "add insecure-tls to allowInKubeconfigs", "add impersonation to allowInKubeconfigs"];
    noted(&controller, "cluster-refused", &words).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    assert!(world.writes(&since).await.keys().all(|write| !write.starts_with("cluster-3 ")), "it is not connected");
    world.register(&[2]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "cluster-refused", &["cluster-3"]).await;
}
