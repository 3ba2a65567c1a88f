//! Identity claims in motion: claims that come, change, go and cannot be read; and namespaces that an identity gains.

use tradewind::{
    config::{IdentityClaims, IdentityNamespaces, SanSource},
    model::Now,
};

use super::*;

const PAYMENTS: &str = "apiVersion: tradewind.io/v1alpha1
kind: IdentityClaim
metadata: {name: payments, namespace: admiral}
spec:
  identity: payments
  holders:
  - {clusters: ['*'], namespaces: [payments]}
";

const ORDERS: &str = "apiVersion: tradewind.io/v1alpha1
kind: IdentityClaim
metadata: {name: orders, namespace: admiral}
spec:
  identity: orders
  holders:
  - {clusters: [cluster-1], namespaces: [orders]}
";

/// A minute less than a removed claim counts, in milliseconds, and when it has ended.
const STILL: u64 = 9 * 60_000;
const ENDED: u64 = 10 * 60_000;

fn enforced() -> Settings {
    Settings { identity_claims: IdentityClaims::Enforce, ..Settings::default() }
}

/// payments in a namespace of somebody else.
fn evil() -> String {
    runs("payments").replace("namespace: payments", "namespace: evil")
}

fn hub() -> ClusterName {
    ClusterName::hub()
}

/// Lists the hub, with everything but claims empty.
fn list_hub(world: &World, claims: &str) {
    world.registry.register_hub(&hub());
    for kind in Kind::OF_HUB {
        let objects = if *kind == Kind::IdentityClaim { manifests(&world.observer, claims) } else { Vec::new() };
        world.registry.reset(&hub(), *kind, objects);
    }
}

/// The fleet of payments with these claims, read from what was written before.
fn restarted_with(settings: &Settings, fleet: &Manifests, written: &Objects, claims: &str) -> World {
    let world = World::new(settings.clone());
    for (name, text) in fleet {
        list(&world, name, text, written, &[]);
    }
    list_hub(&world, claims);
    settled(world)
}

/// The fleet of payments with both claims, written.
fn claimed() -> World {
    let mut world = restarted_with(&enforced(), &payments(), &Objects::new(), &both());
    world.write_back();
    world.settle();
    world
}

fn both() -> String {
    format!("{PAYMENTS}\n---\n{ORDERS}")
}

fn on_hub(world: &mut World, change: impl FnOnce(&World)) {
    change(world);
    world.settle();
}

fn apply_claim(world: &mut World, text: &str) {
    on_hub(world, |world| {
        for object in manifests(&world.observer, text) {
            world.registry.apply(&hub(), object);
        }
    });
}

fn delete_claim(world: &mut World, text: &str) {
    on_hub(world, |world| {
        for object in manifests(&world.observer, text) {
            world.registry.delete(&hub(), object.id());
        }
    });
}

/// What clients in cluster-1 reach.
fn reached(world: &World) -> Option<Vec<String>> {
    addresses(&world.picture().objects, "cluster-1", HOST)
}

fn said(world: &World, kind: NoteKind) -> Vec<String> {
    let notes = world.picture().notes.into_iter().filter(|note| note.kind == kind);
    notes.map(|note| format!("{}: {}", note.object, note.message)).collect()
}

fn both_regions() -> Option<Vec<String>> {
    Some(vec!["192.0.2.2".into(), "192.0.2.3".into()])
}

#[test]
fn who_takes_an_identity_while_claims_are_enforced_changes_nothing_but_the_notes() {
    let mut world = claimed();
    let before = world.picture();
    apply(&mut world, "cluster-1", &evil());
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.write_back(), 0);
    let said = said(&world, NoteKind::WorkloadUnclaimed);
    assert!(said.len() == 1 && said[0].contains("cluster-1: Deployment evil/payments"), "{said:?}");
    assert!(
        said[0].contains("admiral/payments of the hub does not give payments/stage to the namespace evil"),
        "{said:?}"
    );
    delete(&mut world, "cluster-1", &evil());
    assert_eq!(world.picture(), before);
}

#[test]
fn a_claim_that_is_removed_for_a_while_changes_nothing() {
    let mut world = claimed();
    let before = world.picture();
    delete_claim(&mut world, PAYMENTS);
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.registry.expire_claims(Now::from_millis(0)), Some(Now::from_millis(ENDED)));
    let held = said(&world, NoteKind::ClaimHeld);
    assert!(
        held.len() == 1 && held[0].contains("was removed; what it gave of payments stays in force for 10 minutes"),
        "{held:?}"
    );
    // Nobody else gets it meanwhile.
    apply(&mut world, "cluster-1", &evil());
    let _ = world.registry.expire_claims(Now::from_millis(STILL));
    world.settle();
    assert_eq!(world.picture().objects, before.objects);
    delete(&mut world, "cluster-1", &evil());

    apply_claim(&mut world, PAYMENTS);
    assert_eq!(world.picture(), before);
    assert_eq!(world.registry.expire_claims(Now::from_millis(ENDED)), None);
    world.settle();
    assert_eq!(world.picture(), before);
    assert_eq!(world.write_back(), 0);
}

#[test]
fn a_claim_that_stays_removed_ends_and_says_what_it_left_out() {
    let mut world = claimed();
    delete_claim(&mut world, PAYMENTS);
    let _ = world.registry.expire_claims(Now::from_millis(0));
    assert_eq!(world.registry.expire_claims(Now::from_millis(ENDED)), None);
    world.settle();
    assert_eq!(reached(&world), None);
    let said = said(&world, NoteKind::WorkloadUnclaimed);
    assert!(
        said.len() == 2 && said.iter().all(|said| said.contains("no IdentityClaim of the hub is for payments/stage")),
        "{said:?}"
    );
    // It is as after a restart.
    let written = world.picture().objects;
    assert_eq!(restarted_with(&enforced(), &payments(), &written, ORDERS).picture().objects, written);
    apply_claim(&mut world, PAYMENTS);
    assert_eq!(reached(&world), both_regions());
}

#[test]
fn the_last_claims_stay_in_force_until_there_is_another() {
    let mut world = claimed();
    let before = world.picture().objects;
    delete_claim(&mut world, &both());
    for now in [0, ENDED, 1_000 * ENDED] {
        assert_eq!(world.registry.expire_claims(Now::from_millis(now)), None);
        world.settle();
        assert_eq!(world.picture().objects, before);
    }
    assert_eq!(said(&world, NoteKind::ClaimHeld).len(), 2);
    // A restart finds none: nothing is planned, so nothing is removed.
    let restarted = restarted_with(&enforced(), &payments(), &before, "");
    assert!(
        restarted
            .registry
            .ready()
            .unwrap_err()
            .to_string()
            .contains("the hub has no IdentityClaim in the namespace admiral")
    );
    let notes = restarted.registry.notes().all();
    assert!(notes.iter().any(|note| note.kind == NoteKind::ClaimsMissing), "{notes:?}");
    // Another one ends the grace of those that are gone.
    apply_claim(&mut world, ORDERS);
    let _ = world.registry.expire_claims(Now::from_millis(0));
    let _ = world.registry.expire_claims(Now::from_millis(ENDED));
    world.settle();
    assert_eq!(reached(&world), None);
}

#[test]
fn a_list_of_claims_is_taken_over_as_one_change() {
    let mut world = claimed();
    let before = world.picture();
    // Under another name, and with one more holder.
    let renamed = PAYMENTS.replace("name: payments", "name: payments-again").replace("[payments]", "[payments, team]");
    list_hub(&world, &format!("{renamed}\n---\n{ORDERS}"));
    assert_eq!(world.registry.take_dirty(), [WorkKey::Service(key("payments", "stage"))].into());
    world.settle();
    assert_eq!(world.picture(), before, "the old one does not count for a while beside it");
    // One that came back short.
    list_hub(&world, "");
    world.settle();
    assert_eq!(world.picture().objects, before.objects);
}

#[test]
fn a_claim_that_cannot_be_used_any_more_counts_as_it_last_could() {
    let mut world = claimed();
    let before = world.picture().objects;
    apply_claim(&mut world, &PAYMENTS.replace("[payments]", "[Payments]"));
    assert_eq!(world.picture().objects, before);
    let questioned = said(&world, NoteKind::ClaimQuestionable);
    assert!(
        questioned[0].contains("\"Payments\" is no name of a namespace; what it said before stays in force"),
        "{questioned:?}"
    );
    let id = ObjectId::new(Kind::IdentityClaim, "admiral", "payments");
    on_hub(&mut world, |world| world.registry.malformed(&hub(), id, "spec.holders: invalid type"));
    apply(&mut world, "cluster-1", &evil());
    assert_eq!(world.picture().objects, before);
    // After a restart its services are left exactly as they are, also without the claimed workloads.
    let broken = PAYMENTS.replace("[payments]", "[Payments]");
    let fleet = with(payments(), "cluster-1", &evil());
    let mut restarted = restarted_with(&enforced(), &fleet, &before, &format!("{broken}\n---\n{ORDERS}"));
    delete(&mut restarted, "cluster-2", &runs("payments"));
    assert_eq!(restarted.write_back(), 0);
    assert!(said(&restarted, NoteKind::ClaimHeld).iter().any(|said| said.contains("decides payments/stage")));
    apply_claim(&mut restarted, PAYMENTS);
    assert_eq!(reached(&restarted), Some(vec!["192.0.2.3".into()]));
}

#[test]
fn a_claim_that_is_narrowed_counts_at_once() {
    let mut world = claimed();
    apply_claim(&mut world, &PAYMENTS.replace("'*'", "cluster-3"));
    assert_eq!(reached(&world), Some(vec!["192.0.2.3".into()]));
    assert_eq!(said(&world, NoteKind::WorkloadUnclaimed).len(), 1);
}

#[test]
fn a_hub_whose_claims_cannot_be_read_removes_nothing() {
    let settings = enforced();
    let before = claimed().picture().objects;
    // After a restart: nothing is planned until they can be read.
    let world = World::new(settings.clone());
    for (name, text) in &payments() {
        list(&world, name, text, &before, &[]);
    }
    list_hub(&world, &both());
    let mut world = settled(world);
    assert_eq!(world.write_back(), 0);
    for absent in [false, true] {
        let mut world = World::new(settings.clone());
        for (name, text) in &payments() {
            list(&world, name, text, &before, &[]);
        }
        world.registry.register_hub(&hub());
        for kind in Kind::OF_HUB {
            match (*kind, absent) {
                (Kind::IdentityClaim, false) => world.registry.unreadable(&hub(), *kind, REASON, 7),
                (Kind::IdentityClaim, true) => world.registry.absent(&hub(), *kind, REASON, 7),
                _ => world.registry.reset(&hub(), *kind, Vec::new()),
            }
        }
        world = settled(world);
        assert!(world.registry.ready().unwrap_err().to_string().contains("IdentityClaim"), "absent: {absent}");
        assert!(world.registry.take_dirty().is_empty());
        let claims = manifests(&world.observer, &both());
        world.registry.reset(&hub(), Kind::IdentityClaim, claims);
        world.settle();
        assert_eq!(world.registry.ready(), Ok(()));
        assert_eq!(world.write_back(), 0, "absent: {absent}");
    }
    // Later: what was known stays in force.
    world.registry.unreadable(&hub(), Kind::IdentityClaim, REASON, 7);
    apply(&mut world, "cluster-1", &evil());
    assert_eq!(world.picture().objects, before);
}

#[test]
fn warnings_wait_for_no_claims_and_change_nothing() {
    let settings = Settings { identity_claims: IdentityClaims::Warn, ..Settings::default() };
    let fleet = with(payments(), "cluster-1", &evil());
    let open = running(&Settings::default(), &fleet).picture().objects;
    let world = World::new(settings);
    for (name, text) in &fleet {
        list(&world, name, text, &Objects::new(), &[]);
    }
    list_hub(&world, "");
    world.registry.unreadable(&hub(), Kind::IdentityClaim, REASON, 7);
    let mut world = settled(world);
    assert_eq!(world.picture().objects, open);
    let unclaimed = said(&world, NoteKind::WorkloadUnclaimed);
    assert!(unclaimed.len() == 4 && unclaimed.iter().all(|said| said.contains("it counts, and with")), "{unclaimed:?}");
    world.registry.reset(&hub(), Kind::IdentityClaim, manifests(&world.observer, &both()));
    world.settle();
    assert_eq!(world.picture().objects, open);
    let unclaimed = said(&world, NoteKind::WorkloadUnclaimed);
    assert!(unclaimed.len() == 1 && unclaimed[0].contains("cluster-1: Deployment evil/payments"), "{unclaimed:?}");
}

#[test]
fn claims_of_a_member_count_nothing() {
    let mut world = claimed();
    let before = world.picture();
    apply(&mut world, "cluster-1", &(PAYMENTS.replace("[payments]", "[evil]") + "\n---\n" + &evil()));
    assert_eq!(world.picture().objects, before.objects);
}

#[test]
fn a_subject_name_that_was_written_goes_with_its_claim_although_a_cluster_cannot_be_read() {
    let settings = Settings { enable_san: true, san_source: SanSource::ServiceAccounts, ..Settings::default() };
    let fleet = with(payments(), "cluster-1", &evil());
    let written = running(&settings, &fleet).picture().objects;
    let names = |world: &World| {
        let id = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{HOST}-se"));
        match &world.picture().objects[&(cluster("cluster-1"), id)] {
            Object::ServiceEntry(entry) => entry.spec.subject_alt_names.clone(),
            other => panic!("{other:?}"),
        }
    };
    let name = |namespace: &str| format!("spiffe://cluster.local/ns/{namespace}/sa/default");
    let world = restarted(&settings, &fleet, &written, "cluster-3", &[Kind::Deployment]);
    assert_eq!(names(&world), [name("evil"), name("payments")]);
    let enforced = Settings { identity_claims: IdentityClaims::Enforce, ..settings };
    let world = World::new(enforced);
    for (cluster, text) in &fleet {
        let unreadable: &[Kind] = if cluster.as_str() == "cluster-3" { &[Kind::Deployment] } else { &[] };
        list(&world, cluster, text, &written, unreadable);
    }
    list_hub(&world, &both());
    assert_eq!(names(&settled(world)), [name("payments")]);
}

#[test]
fn a_namespace_that_an_identity_gains_is_announced_until_it_goes_or_is_claimed() {
    let mut world = running(&Settings::default(), &payments());
    // A new cluster with the known namespace is nothing new, nor is a new identity.
    apply(&mut world, "cluster-1", &runs("payments"));
    apply(&mut world, "cluster-1", &runs("reports"));
    assert_eq!(said(&world, NoteKind::IdentityGainedNamespace), Vec::<String>::new());
    // A client of the same identity comes first: it serves nothing.
    apply(
        &mut world,
        "cluster-1",
        &workload("Job", "payments", "stage")
            .replace("apps/v1", "batch/v1")
            .replace("namespace: payments", "namespace: evil"),
    );
    assert_eq!(said(&world, NoteKind::IdentityGainedNamespace), Vec::<String>::new());
    apply(&mut world, "cluster-1", &evil());
    let gained = said(&world, NoteKind::IdentityGainedNamespace);
    assert_eq!(
        gained,
        [
            "cluster-1: Deployment evil/payments: payments runs in the namespace evil of cluster-1 now, and ran in payments before; it is an endpoint"
        ]
    );
    // It is said again while it is there, also of its next version.
    apply(&mut world, "cluster-1", &evil().replace("app: payments, id", "app: payments, v: next, id"));
    assert_eq!(said(&world, NoteKind::IdentityGainedNamespace), gained);
    delete(&mut world, "cluster-1", &evil());
    assert_eq!(said(&world, NoteKind::IdentityGainedNamespace), Vec::<String>::new());

    // A claim that gives the identity to the namespace ends it.
    let settings = Settings { identity_claims: IdentityClaims::Enforce, ..Settings::default() };
    let unclaimed =
        PAYMENTS.replace("identity: payments", "identity: '*'").replace("[payments]", "[payments, orders, evil]");
    let mut world = restarted_with(&settings, &payments(), &Objects::new(), &unclaimed);
    apply(&mut world, "cluster-1", &evil());
    assert_eq!(said(&world, NoteKind::IdentityGainedNamespace), Vec::<String>::new());
}

fn first() -> Settings {
    Settings { identity_namespaces: IdentityNamespaces::First, ..Settings::default() }
}

/// With when its Deployment was created, in a year of this century.
fn since(year: u8, text: &str) -> String {
    let created = format!(", creationTimestamp: \"20{year:02}-01-01T00:00:00Z\"}}\nspec:\n  selector");
    text.replacen("}\nspec:\n  selector", &created, 1)
}

#[test]
fn a_namespace_that_comes_later_has_no_effect_where_the_first_hold_an_identity() {
    let mut world = running(&first(), &payments());
    let before = world.picture();
    apply(&mut world, "cluster-1", &evil());
    let policy = policy("us-west", "us-east").replace("namespace: payments", "namespace: evil");
    apply(&mut world, "cluster-1", &policy);
    assert_eq!(world.picture().objects, before.objects);
    let said = said(&world, NoteKind::NamespaceNotFirst);
    assert!(said.len() == 2 && said[0].contains("Deployment evil/payments"), "{said:?}");
    assert!(said[0].contains("payments came to evil later than to payments"), "{said:?}");

    // Its owner may go for a while, and come back.
    for name in ["cluster-2", "cluster-3"] {
        delete(&mut world, name, &runs("payments"));
    }
    assert_eq!(reached(&world), None, "it is nobody's for the stranger");
    world.write_back();
    for name in ["cluster-2", "cluster-3"] {
        apply(&mut world, name, &runs("payments"));
    }
    assert_eq!(world.picture().objects, before.objects);
}

// Invariant: A restart changes nothing, and changes missed while the controller was down are applied.
#[test]
fn who_was_first_outlives_a_restart_however_old_the_others_are() {
    let mut owners = payments();
    for name in ["cluster-2", "cluster-3"] {
        owners.entry(cluster(name)).and_modify(|text| *text = since(20, text));
    }
    let before = running(&first(), &owners).picture().objects;
    let fleet = with(owners, "cluster-1", &since(1, &evil()));
    let mut world = restarted(&first(), &fleet, &before, "", &[]);
    assert_eq!(world.picture().objects, before);
    assert_eq!(world.write_back(), 0);
    // Nor does it help to wait until the clusters of the owner cannot be read.
    let world = World::new(first());
    for (name, text) in &fleet {
        let unreadable = if name.as_str() == "cluster-1" { vec![] } else { everything() };
        list(&world, name, text, &before, &unreadable);
    }
    let mut world = settled(world);
    let of_strangers = in_clusters(&before, &["cluster-1"]);
    assert_eq!(in_clusters(&world.picture().objects, &["cluster-1"]), of_strangers);
    for name in ["cluster-2", "cluster-3"] {
        list(&world, &cluster(name), &fleet[&cluster(name)], &before, &[]);
    }
    world.settle();
    assert_eq!(world.picture().objects, before);
}

#[test]
fn of_what_was_never_written_the_oldest_namespace_is_first() {
    let fleet: Manifests = [
        (cluster("cluster-1"), node("us-west") + &gateway("192.0.2.1") + &since(20, &evil())),
        (cluster("cluster-2"), node("us-east") + &gateway("192.0.2.2") + &since(10, &runs("payments"))),
    ]
    .into();
    let world = running(&first(), &fleet);
    assert_eq!(reached(&world), Some(vec!["192.0.2.2".into()]));
    assert_eq!(said(&world, NoteKind::NamespaceNotFirst).len(), 1);
    // What served when the setting came goes on.
    let open = running(&Settings::default(), &fleet).picture().objects;
    let mut world = restarted(&first(), &fleet, &open, "", &[]);
    assert_eq!(world.picture().objects, open);
    assert_eq!(world.write_back(), 0);
}

#[test]
fn a_claim_gives_an_identity_to_a_namespace_that_came_later() {
    let settings = Settings { identity_claims: IdentityClaims::Warn, ..first() };
    let mut world = restarted_with(&settings, &payments(), &Objects::new(), &both());
    apply(&mut world, "cluster-1", &evil());
    assert_eq!(reached(&world), both_regions());
    apply_claim(&mut world, &PAYMENTS.replace("[payments]", "[payments, evil]"));
    assert_eq!(reached(&world).map(|reached| reached.len()), Some(3));
}
