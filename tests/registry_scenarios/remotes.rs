//! One istiod for several clusters: a cluster becomes a remote and is none any more, cannot be read after a restart, and serves
//! nothing of Istio's itself.

use super::{
    pods::{self, slice},
    *,
};

/// A Namespace of the control plane that names who serves its cluster.
fn served_by(planes: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, annotations: {{topology.istio.io/controlPlaneClusters: \"{planes}\"}}}}
---
"
    )
}

/// The payments fleet with reports beside payments in cluster-2, which depends on it and is served by cluster-1.
fn remote() -> Manifests {
    let clients = workload("Deployment", "reports", "stage") + &served_by("cluster-1");
    let fleet = with(payments(), "cluster-2", &clients);
    with(fleet, "cluster-1", &dependency("reports", "payments"))
}

fn narrow() -> Settings {
    Settings { sidecars: Sidecars::Own, enable_sw_aware_ns_caches: true, ..Settings::default() }
}

fn gateways(world: &World) -> Option<Vec<String>> {
    addresses(&world.wanted(), "cluster-1", HOST)
}

// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read.
#[test]
fn a_cluster_becomes_a_remote_and_stops_being_one() {
    let settings = narrow();
    let fleet = remote();
    let mut world = running(&settings, &with_facts(&fleet, ""));
    let before = world.picture().objects;
    assert!(!in_clusters(&before, &["cluster-2"]).is_empty());
    apply(&mut world, "cluster-2", &served_by("cluster-1"));
    let served = world.picture().objects;
    assert_eq!(in_clusters(&served, &["cluster-2"]), Objects::new(), "nobody reads there");
    assert_eq!(served, running(&settings, &fleet).picture().objects);
    let of_reports = ObjectId::new(Kind::Sidecar, "reports", "default");
    assert!(served.contains_key(&(cluster("cluster-1"), of_reports)), "its clients read in cluster-1");
    world.write_back();
    world.settle();
    assert!(world.registry.outputs().owned(&cluster("cluster-2")).is_empty());
    apply(&mut world, "cluster-2", &served_by(""));
    assert_eq!(world.picture().objects, before);
}

#[test]
fn desired_objects_of_a_remote_end_with_it_written_or_not() {
    let of_reports = (cluster("cluster-1"), ObjectId::new(Kind::Sidecar, "reports", "default"));
    // Nobody runs what they depend on: no plan of a service brings their Sidecar along.
    let fleet =
        with(with(payments(), "cluster-2", &served_by("cluster-1")), "cluster-1", &dependency("reports", "ledger"));
    for end in ["leaves", "serves itself"] {
        let mut world = running(&narrow(), &fleet);
        apply(&mut world, "cluster-2", &workload("Deployment", "reports", "stage"));
        assert!(world.wanted().contains_key(&of_reports));
        match end {
            "leaves" => world.leave(&cluster("cluster-2")),
            _ => apply(&mut world, "cluster-2", &served_by("")),
        }
        world.settle();
        assert!(!world.wanted().contains_key(&of_reports), "{end}");
        assert_eq!(world.wanted(), world.picture().objects, "{end}");
    }
}

/// The fleet with another word of cluster-2 on who serves it.
fn with_facts(fleet: &Manifests, planes: &str) -> Manifests {
    with_text(fleet, "cluster-2", &served_by("cluster-1"), &served_by(planes))
}

fn with_text(fleet: &Manifests, name: &str, text: &str, instead: &str) -> Manifests {
    let mut fleet = fleet.clone();
    let manifests = fleet.get_mut(&cluster(name)).expect("is in the fleet");
    *manifests = manifests.replace(text, instead);
    fleet
}

// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read.
#[test]
fn what_was_written_for_a_remote_that_cannot_be_read_after_a_restart_stays() {
    let (settings, fleet) = (narrow(), remote());
    let before = running(&settings, &fleet);
    let written = before.picture().objects;
    for unreadable in [everything(), vec![Kind::Namespace], vec![Kind::Deployment], vec![Kind::Job]] {
        let mut world = restarted(&settings, &fleet, &written, "cluster-2", &unreadable);
        assert!(!world.registry.outputs().may_remove(&cluster("cluster-1")), "{unreadable:?}");
        world.write_back();
        world.settle();
        assert_eq!(written_objects(&world, "cluster-1"), names(&written, "cluster-1"), "{unreadable:?}");
        assert_eq!(written_objects(&world, "cluster-2"), Vec::<ObjectId>::new(), "{unreadable:?}");
        // What changes meanwhile in the others waits; those who read for themselves follow.
        apply(&mut world, "cluster-3", &gateway("192.0.2.33"));
        assert_eq!(
            addresses(&world.picture().objects, "cluster-1", HOST),
            None,
            "{unreadable:?}: nothing new is wanted"
        );
        // It can be read again: all is as if it always could.
        list(&world, &cluster("cluster-2"), &fleet[&cluster("cluster-2")], &Objects::new(), &[]);
        world.settle();
        let changed = with(fleet.clone(), "cluster-3", &gateway("192.0.2.33"));
        assert_eq!(world.picture().objects, running(&settings, &changed).picture().objects, "{unreadable:?}");
    }
}

fn written_objects(world: &World, name: &str) -> Vec<ObjectId> {
    world.registry.outputs().owned(&cluster(name)).iter().map(|written| written.id.clone()).collect()
}

fn names(objects: &Objects, name: &str) -> Vec<ObjectId> {
    in_clusters(objects, &[name]).into_keys().map(|(_, id)| id).collect()
}

#[test]
fn a_remote_that_is_lost_while_running_changes_nothing() {
    let mut world = running(&narrow(), &remote());
    let before = world.picture().objects;
    lose(&mut world, "cluster-2");
    assert_eq!(world.picture().objects, before);
}

// Invariant: Clusters that share an istiod get one set of objects, in the cluster that this istiod reads; the objects
// are correct for all of them, and remain while one of them cannot be read.
#[test]
fn a_remote_needs_no_istio_kinds_and_counts_as_a_source() {
    let istio = [Kind::ServiceEntry, Kind::DestinationRule, Kind::VirtualService, Kind::EnvoyFilter, Kind::Sidecar];
    let world = World::new(narrow());
    for (name, text) in &remote() {
        list(&world, name, text, &Objects::new(), &istio);
        if name.as_str() != "cluster-2" {
            istio.iter().for_each(|kind| world.registry.reset(name, *kind, Vec::new()));
        }
        istio.iter().for_each(|kind| {
            if name.as_str() == "cluster-2" {
                world.registry.absent(name, *kind, REASON, 7);
            }
        });
    }
    let world = settled(world);
    assert_eq!(gateways(&world), gateways(&running(&narrow(), &remote())));
    assert!(gateways(&world).is_some_and(|gateways| gateways.len() == 2), "{:?}", gateways(&world));
    assert!(!has_note(&world.picture(), NoteKind::KindUnreadable));
    assert!(world.registry.outputs().may_remove(&cluster("cluster-1")));
}

#[test]
fn a_primary_that_leaves_the_fleet_gets_a_note() {
    let mut world = running(&narrow(), &remote());
    assert!(!has_note(&world.picture(), NoteKind::ClusterFactInvalid));
    world.leave(&cluster("cluster-1"));
    world.settle();
    assert!(has_note(&world.picture(), NoteKind::ClusterFactInvalid));
    assert_eq!(in_clusters(&world.picture().objects, &["cluster-2"]), Objects::new());
}

#[test]
fn pods_of_a_remote_on_a_network_of_its_own_are_followed() {
    let settings = Settings { direct_endpoints: true, ..Settings::default() };
    let network = |of: &str| format!("labels: {{topology.istio.io/network: {of}}}, annotations");
    let facts = served_by("cluster-1").replace("annotations", &network("network-2"));
    let fleet =
        with_text(&remote(), "cluster-2", &served_by("cluster-1"), &(facts + &slice(&["10.2.0.1", "10.2.0.2"])));
    let fleet = with(fleet, "cluster-1", &(workload("Deployment", "reports", "stage") + &pods::network("network-1")));
    let mut world = running(&settings, &fleet);
    assert_eq!(gateways(&world), Some(vec!["10.2.0.1".into(), "10.2.0.2".into(), "192.0.2.3".into()]));
    for object in manifests(&world.observer, &slice(&["10.2.0.2", "10.2.0.7"])) {
        world.registry.apply(&cluster("cluster-2"), object);
    }
    world.settle();
    assert_eq!(gateways(&world), Some(vec!["10.2.0.2".into(), "10.2.0.7".into(), "192.0.2.3".into()]));
}
