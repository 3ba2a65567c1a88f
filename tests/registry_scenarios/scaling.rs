//! Workloads that are scaled to 0 and back, and updates that take all of their pods down for a while.

use super::*;

/// The Deployment `payments` as its controller leaves it: so many replicas wanted, so many ready.
fn scaled(replicas: u32, ready: u32) -> String {
    workload("Deployment", "payments", "stage")
        .replace("spec:\n  selector", &format!("spec:\n  replicas: {replicas}\n  selector"))
        .replace(
            "---\n",
            &format!("status: {{observedGeneration: 1, replicas: {replicas}, readyReplicas: {ready}}}\n---\n"),
        )
}

fn seen_by(world: &World, name: &str) -> Vec<String> {
    addresses(&world.wanted(), name, HOST).expect("it is published there")
}

fn push(world: &World, name: &str, text: &str) {
    for object in manifests(&world.observer, text) {
        world.registry.apply(&cluster(name), object);
    }
}

fn unavailable(world: &World) -> usize {
    let notes = world.registry.notes().all();
    notes.iter().filter(|note| note.kind == NoteKind::WorkloadsUnavailable).count()
}

#[test]
fn traffic_leaves_a_cluster_that_is_scaled_to_0_at_once_and_returns_with_its_first_ready_pod() {
    let mut world = running(&Settings::default(), &payments());
    let before = world.picture();
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2", "192.0.2.3"]);

    apply(&mut world, "cluster-2", &scaled(0, 3));
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.3"], "though its last pods are still there");
    assert_eq!(seen_by(&world, "cluster-2"), ["192.0.2.3"], "its own clients go elsewhere, too");
    assert_eq!(unavailable(&world), 1);
    assert_eq!(
        world.write_back(),
        6,
        "a ServiceEntry in each cluster, and its rule: a single address is never taken out"
    );
    world.settle();

    push(&world, "cluster-2", &scaled(3, 0));
    assert_eq!(world.registry.queue().waiting(), 0, "nothing changes before a pod is ready");
    apply(&mut world, "cluster-2", &scaled(3, 1));
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(unavailable(&world), 0);
    assert_eq!(world.write_back(), 6);
}

#[test]
fn an_update_that_takes_all_pods_down_marks_nothing() {
    let mut world = running(&Settings::default(), &payments());
    apply(&mut world, "cluster-2", &scaled(3, 3));
    for ready in [2, 0, 1, 0, 3] {
        push(&world, "cluster-2", &scaled(3, ready));
        assert_eq!(world.registry.queue().waiting(), 0, "{ready} of 3 are ready");
    }
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2", "192.0.2.3"]);
}

#[test]
fn the_last_cluster_that_is_scaled_to_0_keeps_the_host() {
    let mut world = running(&Settings::default(), &payments());
    apply(&mut world, "cluster-2", &scaled(0, 0));
    apply(&mut world, "cluster-3", &scaled(0, 0));
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2", "192.0.2.3"]);
    assert_eq!(unavailable(&world), 2);
    // The first one back gets all of the traffic.
    apply(&mut world, "cluster-2", &scaled(1, 1));
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2"]);
    // A workload that is deleted while others are scaled to 0 takes its own endpoint only.
    delete(&mut world, "cluster-2", &scaled(1, 1));
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.3"]);
    assert_eq!(world.wanted(), world.picture().objects);
}

#[test]
fn a_cluster_that_cannot_be_read_counts_as_having_pods() {
    let mut world = running(&Settings::default(), &payments());
    let kinds = world.registry.settings().watched_kinds();
    for kind in kinds {
        world.registry.unreadable(&cluster("cluster-3"), kind, REASON, 0);
    }
    apply(&mut world, "cluster-2", &scaled(0, 0));
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.3"], "what is known of it stays in force");
}
