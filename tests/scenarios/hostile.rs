//! API servers that were taken over, or are broken in the same way: each harms nothing but its own cluster, is named, and
//! counts again once it is honest.

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
