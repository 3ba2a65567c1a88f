//! What an outage is blamed on: never on a policy or a Dependency that may be right.

use super::*;
use tradewind::model::Note;

/// All traffic to us-west, and to us-east so much that it is noticed where nobody runs there.
fn weights() -> String {
    policy("us-west", "us-east").replace("weight: 0", "weight: 40")
}

fn notes_of<'a>(picture: &'a Picture, of: &str) -> Vec<(NoteKind, &'a str)> {
    let notes = picture.notes.iter().filter(|note| note.object.kind.as_str() == of);
    notes.map(|Note { kind, message, .. }| (*kind, message.as_str())).collect()
}

/// The notes about regions of the policy.
fn regions(world: &World) -> Vec<(NoteKind, String)> {
    let picture = world.picture();
    let notes = notes_of(&picture, "GlobalTrafficPolicy").into_iter();
    let notes = notes.filter(|(kind, _)| *kind != NoteKind::PolicyAdjusted);
    notes.map(|(kind, message)| (kind, message.to_owned())).collect()
}

fn kinds_of_regions(world: &World) -> Vec<NoteKind> {
    regions(world).into_iter().map(|(kind, _)| kind).collect()
}

/// The fleet listed for the first time, with nothing written before.
fn started(settings: &Settings, fleet: &Manifests, cut_off: &str, unreadable: &[Kind]) -> World {
    restarted(settings, fleet, &Objects::new(), cut_off, unreadable)
}

#[test]
fn a_region_whose_cluster_was_never_read_is_not_the_policys_fault_until_it_is_read_without_the_service() {
    let fleet = with(payments(), "cluster-2", &weights());
    let everywhere = running(&Settings::default(), &fleet);
    assert_eq!(regions(&everywhere), []);

    let mut world = started(&Settings::default(), &fleet, "cluster-3", &everything());
    let message = "for the host stage.payments.global: region us-east has no endpoint: what runs in cluster-3 cannot be read; its \
                   share goes to the other regions until that changes";
    assert_eq!(regions(&world), [(NoteKind::RegionUnavailable, message.to_owned())]);
    assert!(message.contains("cluster-3") && has_note(&world.picture(), NoteKind::ClusterUnreachable));

    // It is read, and runs it.
    let east = cluster("cluster-3");
    list(&world, &east, &fleet[&east], &Objects::new(), &[]);
    world.settle();
    assert_eq!(regions(&world), []);

    // It is lost again: what is known of it stays in force, and nothing is to be said of the policy.
    lose(&mut world, "cluster-3");
    assert_eq!(regions(&world), []);
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap().len(), 2);

    // It leaves the fleet for good: now the policy is to be corrected.
    world.registry.deregister(&east);
    world.settle();
    assert_eq!(kinds_of_regions(&world), [NoteKind::PolicyQuestionable]);

    // It comes back, and while it is being read nothing is known.
    world.registry.register(&east);
    world.settle();
    let found = regions(&world);
    assert!(found.len() == 1 && found[0].1.contains("cluster-3 is still being read"), "{found:?}");
    list(&world, &east, &fleet[&east], &Objects::new(), &[]);
    world.settle();
    assert_eq!(regions(&world), []);

    // The service ends there.
    delete(&mut world, "cluster-3", &workload("Deployment", "payments", "stage"));
    let found = regions(&world);
    let expected = "no cluster runs the service in region us-east; its share goes to the other regions";
    assert!(
        found.len() == 1 && found[0].0 == NoteKind::PolicyQuestionable && found[0].1.contains(expected),
        "{found:?}"
    );
}

#[test]
fn only_a_cluster_that_may_be_in_the_region_excuses_the_policy() {
    let elsewhere = |region: &str| with_node(with(payments(), "cluster-2", &weights()), region);
    let blamed = |fleet: &Manifests, unreadable: &[Kind]| {
        let world = started(&Settings::default(), fleet, "cluster-3", unreadable);
        kinds_of_regions(&world)
    };
    let questionable = vec![NoteKind::PolicyQuestionable];
    let unavailable = vec![NoteKind::RegionUnavailable];
    for kind in [Kind::Deployment, Kind::Service] {
        assert_eq!(blamed(&elsewhere("us-east"), &[kind]), unavailable, "{kind:?}");
        assert_eq!(blamed(&elsewhere("eu-west"), &[kind]), questionable, "{kind:?}: it is known to be elsewhere");
        assert_eq!(blamed(&elsewhere("eu-west"), &[kind, Kind::Node]), unavailable, "{kind:?}");
    }
    // It runs the service, and where it is cannot be read.
    assert_eq!(blamed(&elsewhere("us-east"), &[Kind::Node]).first(), Some(&NoteKind::RegionUnavailable));
    // What decides nothing about endpoints excuses nothing.
    assert_eq!(blamed(&elsewhere("eu-west"), &[Kind::OutlierDetection]), questionable);
}

fn with_node(fleet: Manifests, region: &str) -> Manifests {
    let text = fleet[&cluster("cluster-3")].replace("us-east", region);
    with_replaced(fleet, "cluster-3", text)
}

fn with_replaced(mut fleet: Manifests, name: &str, text: String) -> Manifests {
    fleet.insert(cluster(name), text);
    fleet
}

#[test]
fn a_region_that_nobody_may_be_in_is_a_slip_with_its_hint() {
    let fleet = with(payments(), "cluster-2", &weights().replace("us-east", "us-wset"));
    let world = running(&Settings::default(), &fleet);
    let found = regions(&world);
    assert!(found[0].0 == NoteKind::PolicyQuestionable && found[0].1.ends_with("did you mean us-west?"), "{found:?}");
    // While a cluster is not known, nobody can tell; the hint stays.
    let world = started(&Settings::default(), &fleet, "cluster-3", &everything());
    let found = regions(&world);
    assert!(found[0].0 == NoteKind::RegionUnavailable && found[0].1.ends_with("did you mean us-west?"), "{found:?}");
}

#[test]
fn the_reason_why_a_workload_does_not_count_has_a_note_while_it_exists() {
    let fleet = with(payments(), "cluster-2", &weights());
    let mut world = running(&Settings::default(), &fleet);
    let with_sidecar = workload("Deployment", "payments", "stage");
    let without = with_sidecar.replace("env: stage}", "env: stage, sidecar.istio.io/inject: \"false\"}");
    let (service, gateway_lost) = (service("payments"), gateway(""));
    for (change, is_deleted, kinds) in [
        (&without, false, vec![NoteKind::RegionUnavailable]),
        (&with_sidecar, false, vec![]),
        (&service, true, vec![NoteKind::RegionUnavailable]),
        (&service, false, vec![]),
        (&without, false, vec![NoteKind::RegionUnavailable]),
        (&without, true, vec![NoteKind::PolicyQuestionable]),
        (&with_sidecar, false, vec![]),
        // An address that is lost stays in use.
        (&gateway_lost, false, vec![]),
        (&gateway_lost, true, vec![NoteKind::RegionUnavailable]),
        (&gateway_lost, false, vec![NoteKind::RegionUnavailable]),
    ] {
        if is_deleted {
            delete(&mut world, "cluster-3", change)
        } else {
            apply(&mut world, "cluster-3", change)
        }
        assert_eq!(kinds_of_regions(&world), kinds, "{change}");
    }
    apply(&mut world, "cluster-3", &gateway("192.0.2.3"));
    assert_eq!(regions(&world), []);
}

#[test]
fn the_region_of_a_cluster_decides_whether_it_excuses_the_policy_when_it_changes() {
    let without = runs("payments").replace("env: stage}", "env: stage, sidecar.istio.io/inject: \"false\"}");
    let east = node("us-east") + &gateway("192.0.2.3");
    for (text, unreadable) in [(east.clone() + &without, vec![]), (east, vec![Kind::Deployment])] {
        let fleet = with_replaced(with(payments(), "cluster-2", &weights()), "cluster-3", text);
        let mut world = started(&Settings::default(), &fleet, "cluster-3", &unreadable);
        for (region, kind) in [
            ("eu-west", NoteKind::PolicyQuestionable),
            ("us-east", NoteKind::RegionUnavailable),
            ("ap-south", NoteKind::PolicyQuestionable),
        ] {
            apply(&mut world, "cluster-3", &node(region));
            assert_eq!(kinds_of_regions(&world), [kind], "{region} {unreadable:?}");
        }
    }
}

#[test]
fn a_destination_that_may_run_in_a_cluster_that_was_never_read_is_not_the_dependencys_fault() {
    let fleet = with(payments(), "cluster-2", &dependency("payments", "ledger"));
    let fleet = with(fleet, "cluster-3", &runs("ledger"));
    let of_dependency = |world: &World| {
        let picture = world.picture();
        notes_of(&picture, "Dependency").into_iter().map(|(kind, text)| (kind, text.to_owned())).collect::<Vec<_>>()
    };
    let mut world = started(&Settings::default(), &fleet, "cluster-3", &everything());
    let found = of_dependency(&world);
    assert!(found.len() == 1 && found[0].0 == NoteKind::WorkloadsUnknown, "{found:?}");
    assert!(found[0].1.contains("cluster-3"), "{found:?}");
    let east = cluster("cluster-3");
    list(&world, &east, &fleet[&east], &Objects::new(), &[]);
    world.settle();
    assert_eq!(of_dependency(&world), []);
    world.registry.deregister(&east);
    world.settle();
    assert_eq!(of_dependency(&world)[0].0, NoteKind::DependencyQuestionable(DependencyFault::Destination));
    world.registry.register(&east);
    world.settle();
    assert_eq!(of_dependency(&world)[0].0, NoteKind::WorkloadsUnknown);
    // A slip in the name keeps its hint, whether or not all is known.
    let typo = with(payments(), "cluster-2", &dependency("payments", "order"));
    for (cut_off, kind) in [
        ("", NoteKind::DependencyQuestionable(DependencyFault::Destination)),
        ("cluster-3", NoteKind::WorkloadsUnknown),
    ] {
        let world = started(&Settings::default(), &typo, cut_off, &everything());
        let notes = world.registry.queries().notes_with_hints();
        let note = notes.iter().find(|note| note.object.kind == Kind::Dependency).unwrap();
        assert!(note.kind == kind && note.message.ends_with("(did you mean orders?)"), "{note:?}");
    }
}

#[test]
fn a_policy_with_unreadable_workloads_in_its_namespace_is_not_unmatched() {
    let fleet = with(payments(), "cluster-3", &weights());
    let world = started(&Settings::default(), &fleet, "cluster-3", &[Kind::Deployment]);
    let found = regions(&world);
    assert!(found.iter().any(|(kind, _)| *kind == NoteKind::WorkloadsUnknown), "{found:?}");
    assert!(found.iter().all(|(kind, _)| *kind != NoteKind::PolicyUnmatched), "{found:?}");
    // Its twin is where the workloads are known.
    let away = with(payments(), "cluster-1", &weights());
    let world = started(&Settings::default(), &away, "cluster-3", &[Kind::Deployment]);
    assert_eq!(kinds_of_regions(&world), [NoteKind::PolicyUnmatched]);
}

#[test]
fn clients_and_proxies_that_may_run_in_a_cluster_that_was_never_read_are_not_missed_by_anybodys_fault() {
    let settings = routing::routing_policies();
    let policy = routing::routing_policy("payments", HOST);
    let fleet = with(payments(), "cluster-2", &policy);
    let of = |world: &World, kind: &str| notes_of(&world.picture(), kind).first().map(|(kind, _)| *kind);
    for (cut_off, kind) in [("cluster-1", Some(NoteKind::WorkloadsUnknown)), ("cluster-3", None)] {
        let world = started(&settings, &fleet, cut_off, &[Kind::Deployment]);
        assert_eq!(of(&world, "RoutingPolicy"), kind, "{cut_off}");
    }
    let fleet = with(payments(), "cluster-1", &routing::proxy("payments", "relay"));
    for (cut_off, kind) in
        [("cluster-3", NoteKind::WorkloadsUnknown), ("", NoteKind::DependencyQuestionable(DependencyFault::Proxy))]
    {
        let world = started(&Settings::default(), &fleet, cut_off, &[Kind::Deployment]);
        assert_eq!(of(&world, "DependencyProxy"), Some(kind), "{cut_off}");
    }
}
