//! What written objects remember, in motion: the primary region and the subject names; and policies for all partitions.

use tradewind::{config::SanSource, istio::keys};

use super::*;

fn active_passive() -> Settings {
    Settings { enable_active_passive: true, ..Settings::default() }
}

/// The primary region that every ServiceEntry of the host remembers.
fn primary(world: &World) -> String {
    let entries = world.wanted().into_values().filter(|object| object.id().name.as_ref() == format!("{HOST}-se"));
    let mut regions: Vec<_> =
        entries.map(|entry| entry.metadata().annotations.get(keys::PRIMARY_REGION).cloned()).collect();
    regions.dedup();
    assert_eq!(regions.len(), 1, "{regions:?}");
    regions.remove(0).expect("some region")
}

/// payments in cluster-3 alone.
fn only_in_the_east() -> Manifests {
    with_replaced(payments(), "cluster-2", node("us-west") + &gateway("192.0.2.2"))
}

fn with_replaced(mut fleet: Manifests, name: &str, text: String) -> Manifests {
    fleet.insert(cluster(name), text);
    fleet
}

#[test]
fn the_first_region_stays_primary_when_others_come_and_after_a_policy() {
    let mut world = running(&active_passive(), &only_in_the_east());
    assert_eq!(primary(&world), "us-east");
    apply(&mut world, "cluster-2", &runs("payments"));
    assert_eq!(primary(&world), "us-east", "from nothing it would be us-west");
    world.write_back();
    world.settle();
    let before = world.picture();

    apply(&mut world, "cluster-3", &policy("us-west", "us-east"));
    world.write_back();
    world.settle();
    assert_eq!(primary(&world), "us-east");
    delete(&mut world, "cluster-3", &policy("us-west", "us-east"));
    world.write_back();
    world.settle();
    assert_eq!(world.picture(), before);
}

#[test]
fn a_primary_that_goes_is_primary_again_when_it_comes_back() {
    let mut world = running(&active_passive(), &only_in_the_east());
    apply(&mut world, "cluster-2", &runs("payments"));
    world.write_back();
    let before = world.picture();
    delete(&mut world, "cluster-3", &workload("Deployment", "payments", "stage"));
    world.write_back();
    world.settle();
    assert_eq!(primary(&world), "us-east", "remembered, while us-west acts");
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
    apply(&mut world, "cluster-3", &workload("Deployment", "payments", "stage"));
    assert_eq!(world.picture(), before);
}

// Invariant: The primary region and the subject names outlive a restart.
#[test]
fn a_primary_outlives_a_restart_also_when_its_cluster_cannot_be_read() {
    let settings = active_passive();
    let mut world = running(&settings, &only_in_the_east());
    apply(&mut world, "cluster-2", &runs("payments"));
    world.write_back();
    world.settle();
    let before = world.picture().objects;
    for unreadable in [vec![], vec![Kind::Deployment], vec![Kind::Node], everything()] {
        let mut world = restarted(&settings, &payments(), &before, "cluster-3", &unreadable);
        assert_eq!(primary(&world), "us-east", "{unreadable:?}");
        assert_eq!(world.write_back(), 0, "{unreadable:?}");
    }
}

// ---- subject names ----

fn by_service_accounts() -> Settings {
    Settings { enable_san: true, san_source: SanSource::ServiceAccounts, ..Settings::default() }
}

fn running_as(account: &str) -> String {
    let workload = workload("Deployment", "payments", "stage");
    let (workload, _) = workload.rsplit_once("---").expect("it ends so");
    format!("{workload}    spec: {{serviceAccountName: {account}}}\n---\n")
}

fn names(world: &World) -> Vec<String> {
    let id = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{HOST}-se"));
    match &world.wanted()[&(cluster("cluster-1"), id)] {
        Object::ServiceEntry(entry) => {
            let short = |name: &String| name.strip_prefix("spiffe://").expect("a subject name").to_owned();
            entry.spec.subject_alt_names.iter().map(short).collect()
        }
        other => panic!("{other:?}"),
    }
}

const DEFAULT: &str = "cluster.local/ns/payments/sa/default";

#[test]
fn subject_names_follow_accounts_and_trust_domains_in_every_cluster() {
    let mut world = running(&by_service_accounts(), &payments());
    assert_eq!(names(&world), [DEFAULT]);
    apply(&mut world, "cluster-3", &running_as("payer"));
    assert_eq!(names(&world), [DEFAULT, "cluster.local/ns/payments/sa/payer"]);
    let domain = "apiVersion: v1
kind: Namespace
metadata: {name: istio-system, annotations: {tradewind.io/trust-domain: east.example.com}}
";
    apply(&mut world, "cluster-3", domain);
    assert_eq!(names(&world), [DEFAULT, "east.example.com/ns/payments/sa/payer"]);
    world.write_back();
    delete(&mut world, "cluster-3", domain);
    delete(&mut world, "cluster-3", &running_as("payer"));
    assert_eq!(names(&world), [DEFAULT]);
}

// Invariant: The primary region and the subject names outlive a restart.
#[test]
fn subject_names_stay_while_the_accounts_or_the_trust_domain_cannot_be_read() {
    let settings = by_service_accounts();
    let domain = "apiVersion: v1
kind: Namespace
metadata: {name: istio-system, annotations: {tradewind.io/trust-domain: east.example.com}}
---
";
    let fleet = with(payments(), "cluster-3", &(running_as("payer") + domain));
    let before = running(&settings, &fleet).picture().objects;
    for unreadable in [vec![Kind::Deployment], vec![Kind::Namespace], everything()] {
        let mut world = restarted(&settings, &fleet, &before, "cluster-3", &unreadable);
        assert_eq!(names(&world), [DEFAULT, "east.example.com/ns/payments/sa/payer"], "{unreadable:?}");
        assert_eq!(world.write_back(), 0, "{unreadable:?}");
        // What others do meanwhile is added, and nothing is taken away.
        apply(&mut world, "cluster-2", &running_as("other"));
        assert_eq!(names(&world).len(), 3, "{unreadable:?}");
    }
}

// ---- partitions ----

#[test]
fn policies_without_a_partition_come_and_go_for_every_partition() {
    let settings = Settings { enable_sw_aware_ns_caches: true, ..Settings::default() };
    let partitioned = workload("Deployment", "payments", "stage")
        .replace("{sidecar.istio.io", "{admiral.io/identityPartition: west, sidecar.istio.io");
    let runs_it = |region: &str, address: &str| node(region) + &gateway(address) + &partitioned + &service("payments");
    let fleet = with_replaced(payments(), "cluster-3", runs_it("us-east", "192.0.2.3"));
    let fleet = with_replaced(fleet, "cluster-2", runs_it("us-west", "192.0.2.2"));
    let mut world = running(&settings, &fleet);
    let plain = shape(&world.wanted(), "cluster-3");
    apply(&mut world, "cluster-3", &outliers(3));
    apply(&mut world, "cluster-3", &connections(7));
    apply(&mut world, "cluster-1", &slow_start(90));
    assert_eq!(shape(&world.wanted(), "cluster-3"), (Some(3), Some(7), Some("90s".to_owned())));
    assert!(!has_note(&world.picture(), NoteKind::PolicyUnmatched), "{:?}", world.picture().notes);

    delete(&mut world, "cluster-3", &partitioned);
    assert!(has_note(&world.picture(), NoteKind::PolicyUnmatched), "nobody runs it there any more");
    apply(&mut world, "cluster-3", &partitioned);
    assert!(!has_note(&world.picture(), NoteKind::PolicyUnmatched));

    delete(&mut world, "cluster-3", &outliers(3));
    delete(&mut world, "cluster-3", &connections(7));
    delete(&mut world, "cluster-1", &slow_start(90));
    assert_eq!(shape(&world.wanted(), "cluster-3"), plain);
}
