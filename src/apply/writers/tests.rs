//! All writers against a world in memory that answers as an API server does.

use std::sync::atomic::Ordering;

use super::*;
use crate::{
    apply::{
        WriteError,
        guard::QUIET_SECONDS,
        testing::{Fleet, World, cluster, host_plan, submit, unit, wanted},
    },
    model::NoteKind,
};

fn setting(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings { max_removal_floor: 4, ..Settings::default() };
    change(&mut settings);
    settings
}

/// Lets every task that can go on do so: tests run on one thread.
async fn let_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn removals(world: &World) -> usize {
    world.requests().iter().filter(|request| request.starts_with("delete")).count()
}

#[tokio::test]
async fn a_pair_is_written_in_order_once_and_then_nothing_is_sent() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    submit(&writers, "a", wanted("a", "1"));
    world.until("the pair", |world| world.names().len() == 2 && writers.idle()).await;
    assert_eq!(world.requests(), ["create DestinationRule a.global-dr", "create ServiceEntry a.global-se"]);
    submit(&writers, "a", wanted("a", "1"));
    world.until("idle", |_| writers.idle()).await;
    assert_eq!(world.requests().len(), 2);
}

// Invariant: Each changed object is written once, and an idle fleet sees no write.
#[tokio::test]
async fn wishes_that_come_during_a_write_become_one() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    world.freeze();
    submit(&writers, "a", wanted("a", "1"));
    world.until("the first request", |world| !world.requests().is_empty()).await;
    for content in ["2", "3", "4"] {
        submit(&writers, "a", wanted("a", content));
    }
    world.thaw();
    world.until("idle", |_| writers.idle()).await;
    let verbs: Vec<_> = world.requests().iter().map(|request| request.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["create", "create", "update", "update"], "contents 2 and 3 were never sent");
}

// Invariant: No proxy gets a state that matches neither the old nor the new policy.
#[tokio::test]
async fn the_second_of_a_pair_waits_for_the_first_and_other_hosts_go_on() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    let two = Desired::hosts([host_plan("a.global", "1", false), host_plan("a.west.global", "1", false)]);
    world.refuse("DestinationRule a.global-dr", [WriteError::Refused("too long".into())]);
    submit(&writers, "a", two);
    world.until("idle", |_| writers.idle()).await;
    assert_eq!(world.names(), ["a.west.global-se", "a.west.global-dr"]);
    let notes = world.notes();
    assert!(notes.len() == 1 && notes[0].0 == NoteKind::WriteFailed && notes[0].1.contains("too long"), "{notes:?}");
}

#[tokio::test]
async fn what_was_refused_is_sent_again_only_when_it_changes() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    world.refuse("DestinationRule a.global-dr", [WriteError::Refused("no".into())]);
    for _ in 0..3 {
        submit(&writers, "a", wanted("a", "1"));
        world.until("idle", |world| writers.idle() && !world.notes().is_empty()).await;
    }
    assert_eq!(world.requests(), ["create DestinationRule a.global-dr"]);
    submit(&writers, "a", wanted("a", "2"));
    world.until("the pair", |world| world.names().len() == 2 && writers.idle()).await;
    assert!(world.notes().is_empty(), "{:?}", world.notes());
}

/// A webhook that was mended lets all pass that it refused, not only what changes next.
#[tokio::test]
async fn what_was_refused_is_sent_again_when_the_cluster_takes_another_refused_object() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    for service in ["a", "b", "c"] {
        world.refuse(&format!("DestinationRule {service}.global-dr"), [WriteError::Refused("no".into())]);
        submit(&writers, service, wanted(service, "1"));
    }
    world.until("three notes", |world| world.notes().len() == 3 && writers.idle()).await;
    assert!(world.notes()[0].1.contains("every one to two minutes"), "{:?}", world.notes());
    submit(&writers, "a", wanted("a", "2"));
    world.until("all pairs", |world| world.names().len() == 6 && writers.idle()).await;
    assert!(world.notes().is_empty(), "{:?}", world.notes());
}

#[tokio::test]
async fn a_withdrawn_wish_is_never_written_and_its_note_goes() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    writers.withdraw(&cluster(), &unit("a"));
    assert!(writers.running.lock().is_empty(), "no writer was needed");
    world.can_write.store(false, Ordering::Relaxed);
    submit(&writers, "a", wanted("a", "1"));
    writers.withdraw(&cluster(), &unit("a"));
    world.can_write.store(true, Ordering::Relaxed);
    submit(&writers, "b", wanted("b", "1"));
    world.until("idle", |world| world.names().len() == 2 && writers.idle()).await;
    assert_eq!(world.names(), ["b.global-se", "b.global-dr"]);

    world.refuse("DestinationRule a.global-dr", [WriteError::Refused("no".into())]);
    submit(&writers, "a", wanted("a", "1"));
    world.until("a note", |world| !world.notes().is_empty() && writers.idle()).await;
    writers.withdraw(&cluster(), &unit("a"));
    world.until("no note", |world| world.notes().is_empty()).await;
}

// Invariant: After a conflict the unit is planned again; a write is never resent.
#[tokio::test]
async fn a_conflict_is_planned_again_and_never_resent() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    world.refuse("DestinationRule a.global-dr", [WriteError::Conflict("changed".into())]);
    submit(&writers, "a", wanted("a", "1"));
    world.until("a mark", |world| world.marked() == [unit("a")]).await;
    assert_eq!(world.requests().len(), 1);
    assert!(world.notes().is_empty(), "a conflict is nobody's fault");
}

#[tokio::test]
async fn failures_are_retried_and_their_note_goes() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    let errors = [
        WriteError::Unreachable("reset".into()),
        WriteError::Timeout(Duration::from_secs(1)),
        WriteError::Throttled { retry_after: Some(Duration::from_secs(1)) },
        WriteError::Server("500".into()),
        WriteError::Forbidden("no".into()),
    ];
    world.refuse("DestinationRule a.global-dr", errors);
    let started = tokio::time::Instant::now();
    submit(&writers, "a", wanted("a", "1"));
    world.until("a note", |world| world.notes().iter().any(|(kind, _)| *kind == NoteKind::WriteFailed)).await;
    assert!(!writers.idle());
    world.until("the pair", |world| world.names().len() == 2 && writers.idle()).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "the rest that was asked for");
    assert!(world.notes().is_empty());
    assert_eq!(world.requests().len(), 7);
}

#[tokio::test]
async fn a_cluster_that_takes_no_writes_is_noted_once_and_only_where_it_can_be_read() {
    let failing = |world: &World| {
        for identity in ["a", "b", "c"] {
            let error = WriteError::Unreachable("refused".into());
            world.refuse(&format!("DestinationRule {identity}.global-dr"), [error]);
        }
    };
    for unreadable in [false, true] {
        let world = World::new();
        world.unreachable.store(unreadable, Ordering::Relaxed);
        let writers = world.writers(setting(|_| {}));
        failing(&world);
        ["a", "b", "c"].iter().for_each(|identity| submit(&writers, identity, wanted(identity, "1")));
        world.until("the failures", |world| world.requests().len() >= 2).await;
        let_run().await;
        let notes = world.notes();
        if unreadable {
            assert!(notes.is_empty(), "{notes:?}");
        } else {
            assert!(notes.len() == 1 && notes[0].1.contains("objects cannot be written"), "{notes:?}");
        }
        world.until("all pairs", |world| world.names().len() == 6 && writers.idle()).await;
        assert!(world.notes().is_empty());
    }
}

// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test]
async fn one_object_that_keeps_failing_does_not_stop_the_others() {
    let world = World::new();
    let writers = world.writers(setting(|settings| settings.write_concurrency = 1));
    world.refuse("DestinationRule a.global-dr", vec![WriteError::Server("webhook".into()); 50]);
    for identity in ["a", "b", "c", "d", "e"] {
        submit(&writers, identity, wanted(identity, "1"));
    }
    world.until("the others", |world| world.names().len() == 8).await;
}

#[tokio::test]
async fn fields_of_others_are_taken_back_once_and_then_left() {
    let world = World::new();
    let writers = world.writers(setting(|_| {}));
    world.mutate("a.global-se", 7);
    submit(&writers, "a", wanted("a", "1"));
    world.until("the note", |world| writers.idle() && !world.notes().is_empty()).await;
    assert_eq!(world.requests()[1..], ["create ServiceEntry a.global-se", "take-over ServiceEntry a.global-se"]);
    submit(&writers, "a", wanted("a", "1"));
    world.until("idle", |_| writers.idle()).await;
    assert_eq!(world.requests().len(), 3, "no loop");
    assert_eq!(world.notes().len(), 1);
    world.mutate("a.global-se", 8);
    submit(&writers, "a", wanted("a", "2"));
    world.until("another try", |world| world.requests().len() > 3).await;
}

#[tokio::test]
async fn removals_come_settled_after_what_replaces_them_and_host_first() {
    let world = World::new();
    world.hold("a", &Desired::hosts([host_plan("a.west.global", "1", false)]));
    let writers = world.writers(setting(|_| {}));
    submit(&writers, "a", wanted("a", "1"));
    world.until("the removals", |world| removals(world) == 2 && writers.idle()).await;
    assert_eq!(
        world.requests()[2..],
        ["delete ServiceEntry a.west.global-se", "delete DestinationRule a.west.global-dr"]
    );
}

// Invariant: Nothing is planned before the whole fleet was listed, written before its cluster is known, or removed
// before all of the cluster is known.
#[tokio::test]
async fn nothing_is_written_before_the_cluster_is_known_nor_removed_before_all_is() {
    let world = World::new();
    world.hold("old", &wanted("old", "1"));
    world.can_write.store(false, Ordering::Relaxed);
    world.may_remove.store(false, Ordering::Relaxed);
    let writers = world.writers(setting(|_| {}));
    submit(&writers, "a", wanted("a", "1"));
    submit(&writers, "old", Desired::nothing());
    let_run().await;
    assert!(world.requests().is_empty());
    world.can_write.store(true, Ordering::Relaxed);
    writers.wake(&cluster());
    world.until("the pair", |world| world.names().len() == 4).await;
    // That nothing happens can only be seen by waiting for the time at which it would.
    tokio::time::sleep(Duration::from_millis(1000 * QUIET_SECONDS + 200)).await;
    assert_eq!(removals(&world), 0);
    assert!(writers.idle());
    world.may_remove.store(true, Ordering::Relaxed);
    writers.wake(&cluster());
    world.until("the removals", |world| removals(world) == 2).await;
}

#[tokio::test]
async fn a_mass_removal_waits_for_its_release_and_what_is_wanted_again_stays() {
    let world = World::new();
    let identities = ["a", "b", "c", "d"];
    identities.iter().for_each(|identity| world.hold(identity, &wanted(identity, "1")));
    let writers = world.writers(setting(|_| {}));
    for identity in identities {
        submit(&writers, identity, Desired::nothing());
    }
    world.until("withheld", |_| !writers.withheld().is_empty()).await;
    let withheld = writers.withheld().remove(0);
    assert_eq!((withheld.objects.len(), withheld.owned), (8, 8));
    let (kind, message) = world.notes().remove(0);
    assert_eq!(kind, NoteKind::RemovalsWithheld);
    assert!(
        message.contains("8 of 8") && message.contains(&withheld.id) && message.contains("east-secret"),
        "{message}"
    );
    assert!(removals(&world) == 0 && writers.idle(), "waiting for an operator is idle");

    submit(&writers, "a", wanted("a", "1"));
    world.until("one dropped", |_| writers.withheld()[0].objects.len() == 6).await;
    assert_eq!(writers.release(&cluster(), "other", "test").ok(), None);
    assert_eq!(writers.release(&cluster(), &withheld.id, "test"), Ok(6));
    world.until("the removals", |world| removals(world) == 6 && writers.idle()).await;
    assert_eq!(world.names(), ["a.global-se", "a.global-dr"]);
    assert!(world.notes().is_empty() && writers.withheld().is_empty());
}

#[tokio::test]
async fn consent_on_the_secret_counts_after_a_restart_and_an_unmatched_request_does_not() {
    let world = World::new();
    let identities = ["a", "b", "c"];
    identities.iter().for_each(|identity| world.hold(identity, &wanted(identity, "1")));
    let before = world.writers(setting(|_| {}));
    identities.iter().for_each(|identity| submit(&before, identity, Desired::nothing()));
    world.until("withheld", |_| !before.withheld().is_empty()).await;
    let id = before.withheld().remove(0).id;
    assert!(before.drain(Duration::from_secs(10)).await);
    submit(&before, "d", wanted("d", "1"));
    assert!(before.running.lock().is_empty(), "a drained room stays empty");

    let after = world.writers(setting(|_| {}));
    assert_eq!(after.release(&cluster(), &id, "a request").ok(), None);
    assert!(after.running.lock().is_empty(), "it makes no writer");
    identities.iter().for_each(|identity| submit(&after, identity, Desired::nothing()));
    world.until("withheld again", |_| after.withheld().iter().any(|withheld| withheld.id == id)).await;
    assert_eq!(removals(&world), 0, "the request came before anything was withheld, and was refused");

    *world.consent.lock() = Some("000000000000".to_owned());
    after.consent_changed();
    let_run().await;
    assert_eq!((removals(&world), after.withheld().len()), (0, 1), "consent to another set");
    *world.consent.lock() = Some(id);
    after.consent_changed();
    world.until("the removals", |world| removals(world) == 6 && after.idle()).await;
}

#[tokio::test]
async fn the_sync_namespace_is_created_once_or_its_lack_noted_once() {
    let world = World::new();
    world.has_namespace.store(false, Ordering::Relaxed);
    let writers = world.writers(setting(|_| {}));
    ["a", "b", "c"].iter().for_each(|identity| submit(&writers, identity, wanted(identity, "1")));
    world.until("the objects", |world| world.names().len() == 6).await;
    let creations = |world: &World| world.requests().iter().filter(|one| one.contains("Namespace")).count();
    assert_eq!(creations(&world), 1);

    let world = World::new();
    world.has_namespace.store(false, Ordering::Relaxed);
    world.refuse("Namespace admiral-sync", [WriteError::Forbidden("no".into())]);
    let writers = world.writers(setting(|_| {}));
    ["a", "b", "c"].iter().for_each(|identity| submit(&writers, identity, wanted(identity, "1")));
    world.until("the note", |world| !world.notes().is_empty()).await;
    assert_eq!(world.notes().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [NoteKind::SyncNamespaceMissing]);
    world.until("the objects", |world| world.names().len() == 6).await;
    assert_eq!(creations(&world), 2);
    assert!(world.notes().is_empty());
}

#[tokio::test]
async fn read_only_and_dry_run_send_nothing_and_count_what_differs() {
    for settings in [setting(|one| one.read_only = true), setting(|one| one.dry_run = true)] {
        let world = World::new();
        world.hold("old", &wanted("old", "1"));
        let writers = world.writers(settings);
        submit(&writers, "a", wanted("a", "1"));
        submit(&writers, "old", Desired::nothing());
        world.until("idle", |_| writers.idle()).await;
        assert_eq!(writers.shared.metrics.drift.with_label_values(&["east"]).get(), 4);
        submit(&writers, "old", wanted("old", "1"));
        world.until("less drift", |_| writers.shared.metrics.drift.with_label_values(&["east"]).get() == 2).await;
        let_run().await;
        assert!(world.requests().is_empty());
    }
}

// Invariant: Suspended objects are neither written nor removed; `readOnly` is checked before every write.
#[tokio::test]
async fn what_is_suspended_stays_as_it_is_and_a_run_under_way_ends_at_once() {
    let world = World::new();
    world.hold("old", &wanted("old", "1"));
    *world.suspended.lock() = Some(unit("old"));
    let writers = world.writers(setting(|_| {}));
    submit(&writers, "old", wanted("old", "2"));
    submit(&writers, "a", wanted("a", "1"));
    world.until("the other service", |world| world.names().len() == 4).await;
    submit(&writers, "old", Desired::nothing());
    world.until("idle", |_| writers.idle()).await;
    let_run().await;
    assert!(world.requests().iter().all(|request| request.contains(" a.")), "{:?}", world.requests());

    *world.suspended.lock() = None;
    submit(&writers, "old", wanted("old", "2"));
    world
        .until("the end of the suspension", |world| {
            world.requests().iter().filter(|request| request.contains(" old.")).count() == 2
        })
        .await;

    // The pair of b: the first write is held, and before the second an operator wants nothing written.
    let gate = world.freeze();
    submit(&writers, "b", wanted("b", "1"));
    world.until("the first write", |world| world.requests().iter().any(|request| request.contains(" b."))).await;
    world.read_only.store(true, Ordering::Relaxed);
    world.thaw();
    gate.notify_waiters();
    world.until("idle", |_| writers.idle()).await;
    assert_eq!(world.requests().iter().filter(|request| request.contains(" b.")).count(), 1);
}

// Invariant: A faulty object, kind or cluster affects no other.
#[tokio::test]
async fn a_sick_cluster_slows_nobody_else() {
    let (sick, well) = (World::new(), World::new());
    sick.freeze();
    let stores = [Arc::clone(&sick), Arc::clone(&well)];
    let mut writers = well.writers(setting(|_| {}));
    writers.stores = Box::new(move |cluster| {
        Arc::clone(if cluster.as_str() == "sick" { &stores[0] } else { &stores[1] }) as Arc<dyn Store>
    });
    writers.submit(&ClusterName::parse("sick").unwrap(), unit("a"), wanted("a", "1"), Instant::now());
    sick.until("a request", |world| !world.requests().is_empty()).await;
    submit(&writers, "b", wanted("b", "1"));
    well.until("the pair", |world| world.names().len() == 2).await;
}

/// A wait of which no test sees the end.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// Two clusters, of which `behind` waits for `ahead`.
fn in_order(first_within: Duration) -> (Arc<World>, Arc<World>, Writers) {
    let (ahead, behind) = (World::new(), World::new());
    let fleet = Fleet::new([("ahead", &ahead), ("behind", &behind)]);
    let mut writers = fleet.writers(setting(|_| {}));
    writers.first_within = first_within;
    (ahead, behind, writers)
}

fn submit_in_order(writers: &Writers, address: &str) {
    let names = ["behind", "ahead"].map(|name| ClusterName::parse(name).unwrap());
    let first = BTreeSet::from([names[1].clone()]);
    let wishes = names.map(|name| (name, wanted("a", address))).into();
    writers.submit_in_order(&unit("a"), &first, wishes, Instant::now());
}

#[tokio::test]
async fn clusters_behind_wait_for_the_first_and_see_only_the_newest_wish() {
    let (ahead, behind, writers) = in_order(FOR_EVER);
    ahead.freeze();
    submit_in_order(&writers, "1");
    ahead.until("a request", |world| !world.requests().is_empty()).await;
    submit_in_order(&writers, "2");
    let_run().await;
    assert!(behind.requests().is_empty(), "nothing before the first is done");
    ahead.thaw();
    behind.until("the pair", |world| world.names().len() == 2 && writers.idle()).await;
    assert_eq!(ahead.requests().len(), 4, "{:?}", ahead.requests());
    assert_eq!(behind.requests().len(), 2, "one request per object: the older wish was never written");
    submit_in_order(&writers, "2");
    behind.until("idle", |_| writers.idle()).await;
    assert_eq!(behind.requests().len(), 2);
}

#[tokio::test]
async fn a_failure_or_a_conflict_of_the_first_lets_nobody_pass() {
    for (error, is_conflict) in
        [(WriteError::Server("stumbled".into()), false), (WriteError::Conflict("older".into()), true)]
    {
        let (ahead, behind, writers) = in_order(FOR_EVER);
        ahead.refuse("DestinationRule a.global-dr", [error]);
        submit_in_order(&writers, "1");
        if is_conflict {
            ahead.until("another plan", |world| !world.marked().is_empty()).await;
            assert!(behind.requests().is_empty());
            submit_in_order(&writers, "1");
        }
        behind.until("a request", |world| !world.requests().is_empty()).await;
        assert_eq!(ahead.names().len(), 2, "{:?}", ahead.requests());
        behind.until("the pair", |world| world.names().len() == 2 && writers.idle()).await;
    }
}

#[tokio::test]
async fn later_clusters_wait_no_longer_than_the_limit_and_not_for_sick_ones() {
    let (ahead, behind, writers) = in_order(Duration::ZERO);
    ahead.freeze();
    submit_in_order(&writers, "1");
    behind.until("the pair", |world| world.names().len() == 2).await;
    assert!(ahead.names().is_empty(), "the first still hangs");

    // One that does not answer.
    let (ahead, behind, writers) = in_order(FOR_EVER);
    ahead.refuse("DestinationRule a.global-dr", [WriteError::Unreachable("refused".into())]);
    submit_in_order(&writers, "1");
    behind.until("the pair", |world| world.names().len() == 2).await;

    // One that is not known.
    let (ahead, behind, writers) = in_order(FOR_EVER);
    ahead.can_write.store(false, Ordering::Relaxed);
    submit_in_order(&writers, "1");
    behind.until("the pair", |world| world.names().len() == 2).await;
    assert!(ahead.requests().is_empty());
}

#[tokio::test]
async fn a_plan_without_an_order_ends_the_wait() {
    let (ahead, behind, writers) = in_order(FOR_EVER);
    ahead.freeze();
    submit_in_order(&writers, "1");
    let_run().await;
    assert!(behind.requests().is_empty());
    writers.submit(&ClusterName::parse("behind").unwrap(), unit("a"), wanted("a", "2"), Instant::now());
    behind.until("the pair", |world| world.names().len() == 2).await;
}

#[tokio::test]
async fn a_stop_lets_the_pair_under_way_end_and_starts_nothing() {
    let world = World::new();
    let writers = world.writers(setting(|settings| settings.write_concurrency = 1));
    world.freeze();
    submit(&writers, "a", wanted("a", "1"));
    submit(&writers, "b", wanted("b", "1"));
    world.until("a request", |world| !world.requests().is_empty()).await;
    assert!(!writers.drain(Duration::from_millis(50)).await, "a frozen cluster is not waited for");
    world.thaw();
    world.until("the pair", |world| world.names().len() == 2).await;
    let_run().await;
    assert_eq!(world.requests().len(), 2);
}

#[tokio::test]
async fn a_cluster_that_leaves_is_cleaned_whatever_the_number_or_left_alone() {
    let world = World::new();
    ["a", "b", "c", "d"].iter().for_each(|identity| world.hold(identity, &wanted(identity, "1")));
    let writers = world.writers(setting(|_| {}));
    submit(&writers, "a", wanted("a", "1"));
    world.until("idle", |_| writers.idle()).await;
    writers.remove_cluster(&cluster(), false);
    assert!(writers.drain(Duration::from_secs(10)).await);
    assert_eq!(removals(&world), 0);

    let writers = world.writers(setting(|_| {}));
    world.has_cluster.store(false, Ordering::Relaxed);
    writers.remove_cluster(&cluster(), true);
    submit(&writers, "e", wanted("e", "1"));
    assert!(writers.running.lock().is_empty(), "a plan from before it left");
    assert!(writers.drain(Duration::from_secs(10)).await);
    assert_eq!(removals(&world), 8);
}
