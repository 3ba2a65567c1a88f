//! A host that two services ask for, while one of them is gone for a while: it waits for the service that lost it.

use std::time::Duration;

use super::*;

const CONTESTED: &str = "stage.team.payments.global";

const SHORTLY: Duration = Duration::from_secs(4);
const A_DAY: Duration = Duration::from_secs(24 * 3_600);

fn settings() -> Settings {
    Settings { dotted_environments: true, ..Settings::default() }
}

fn named(identity: &str, environment: &str, namespace: &str) -> String {
    let deployment = workload("Deployment", namespace, environment);
    deployment.replace(&format!("identity: {namespace}"), &format!("identity: {identity}")) + &service(namespace)
}

/// `stage` of `team.payments`, in cluster-2.
fn owner() -> String {
    named("team.payments", "stage", "owner")
}

/// `stage.team` of `payments`, in cluster-3: the same host.
fn rival() -> String {
    named("payments", "stage.team", "rival")
}

fn fleet() -> Manifests {
    let place = |region: &str, last: u8| node(region) + &gateway(&format!("192.0.2.{last}"));
    [
        (cluster("cluster-1"), place("us-west", 1)),
        (cluster("cluster-2"), place("us-west", 2)),
        (cluster("cluster-3"), place("us-east", 3)),
    ]
    .into()
}

/// Where clients in cluster-1 reach the host.
fn reached(world: &World) -> Vec<String> {
    addresses(&world.wanted(), "cluster-1", CONTESTED).unwrap_or_default()
}

/// The owner holds the host, and the rival asks for it.
fn contested() -> World {
    let mut world = running(&settings(), &with(fleet(), "cluster-2", &owner()));
    apply(&mut world, "cluster-3", &rival());
    assert_eq!(reached(&world), ["192.0.2.2"]);
    assert!(has_note(&world.picture(), NoteKind::HostTaken));
    world.write_back();
    world
}

fn kept_for_the_owner(world: &World) {
    assert_eq!(reached(world), Vec::<String>::new());
    let notes = world.picture().notes;
    let kept = notes.iter().find(|note| note.kind == NoteKind::HostTaken).expect("the rival is told");
    assert!(kept.message.contains("team.payments/stage") && kept.message.contains("kept for it until"), "{kept}");
}

#[test]
fn a_host_waits_for_the_holder_who_is_gone_for_a_moment() {
    let mut world = contested();
    let before = world.picture();
    delete(&mut world, "cluster-2", &owner());
    kept_for_the_owner(&world);
    assert!(world.write_back() > 0);
    world.settle();
    assert_eq!(world.write_back(), 0);
    world.advance(SHORTLY);
    kept_for_the_owner(&world);
    apply(&mut world, "cluster-2", &owner());
    assert_eq!(reached(&world), ["192.0.2.2"]);
    world.write_back();
    assert_eq!(world.picture(), before, "as if it had never been gone");
}

#[test]
fn a_restart_does_not_give_the_host_away() {
    let mut world = contested();
    let before = world.picture().objects;
    world.advance(A_DAY);
    delete(&mut world, "cluster-2", &owner());
    world.write_back();
    let gone = with(fleet(), "cluster-3", &rival());
    // Restarted after the host was lost, and before anything of that was written.
    for written in [world.picture().objects, before] {
        let mut again = restarted(&settings(), &gone, &written, "", &[]);
        kept_for_the_owner(&again);
        again.write_back();
        again.advance(SHORTLY);
        kept_for_the_owner(&again);
        apply(&mut again, "cluster-2", &owner());
        assert_eq!(reached(&again), ["192.0.2.2"]);
    }
}

#[test]
fn after_a_day_the_next_one_gets_the_host_also_after_a_restart() {
    let mut world = contested();
    delete(&mut world, "cluster-2", &owner());
    world.write_back();
    let written = world.picture().objects;
    let mut again = restarted(&settings(), &with(fleet(), "cluster-3", &rival()), &written, "", &[]);
    for world in [&mut world, &mut again] {
        world.advance(A_DAY - SHORTLY);
        kept_for_the_owner(world);
        world.advance(SHORTLY);
        assert_eq!(reached(world), ["192.0.2.3"]);
        world.write_back();
        world.settle();
        assert_eq!(world.write_back(), 0);
        // Who comes back then waits in turn.
        apply(world, "cluster-2", &owner());
        assert_eq!(reached(world), ["192.0.2.3"]);
        assert!(has_note(&world.picture(), NoteKind::HostTaken));
    }
}

#[test]
fn who_comes_while_the_holder_is_gone_gets_nothing_either() {
    let mut world = running(&settings(), &with(fleet(), "cluster-2", &owner()));
    delete(&mut world, "cluster-2", &owner());
    world.write_back();
    world.settle();
    assert!(world.picture().objects.is_empty(), "nobody else asks for it");
    world.advance(SHORTLY);
    apply(&mut world, "cluster-3", &rival());
    kept_for_the_owner(&world);
    world.write_back();
    let written = world.picture().objects;
    let again = restarted(&settings(), &with(fleet(), "cluster-3", &rival()), &written, "", &[]);
    kept_for_the_owner(&again);
    apply(&mut world, "cluster-2", &owner());
    assert_eq!(reached(&world), ["192.0.2.2"]);
}

#[test]
fn a_host_waits_for_nobody_where_the_setting_says_so() {
    let settings = Settings { host_rest_hours: 0, ..settings() };
    let mut world = running(&settings, &with(fleet(), "cluster-2", &owner()));
    apply(&mut world, "cluster-3", &rival());
    delete(&mut world, "cluster-2", &owner());
    assert_eq!(reached(&world), ["192.0.2.3"]);
}
