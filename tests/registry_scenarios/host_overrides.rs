//! Users' ServiceEntries and DestinationRules for published hosts come, change and go while the fleet is served.

use super::*;

fn entry(hosts: &str, export_to: &str, metadata: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: legacy, namespace: team{metadata}}}
spec:
  hosts: [{hosts}]
  exportTo: [{export_to}]
  addresses: [10.77.0.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 198.51.100.7}}]
---
"
    )
}

fn rule(host: &str, export_to: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: limits, namespace: orders}}
spec: {{host: \"{host}\", exportTo: [{export_to}]}}
---
"
    )
}

/// `cluster service` of the notes of a kind.
fn noted(world: &World, kind: NoteKind) -> Vec<String> {
    let notes = world.picture().notes.into_iter().filter(|note| note.kind == kind);
    notes.map(|note| format!("{} {}", note.object.cluster, note.service.expect("a service"))).collect()
}

fn contested(world: &World) -> Vec<String> {
    noted(world, NoteKind::HostContested)
}

/// What the note book says, which only planning writes into: so it shows whether a service was planned again.
fn published(world: &World, kind: NoteKind) -> usize {
    world.registry.notes().all().iter().filter(|note| note.kind == kind).count()
}

#[test]
fn an_entry_for_a_published_host_is_named_as_long_as_it_takes_clients_away() {
    let mut world = running(&Settings::default(), &payments());
    let mut steps = |text: &str, expected: &[&str], step: &str| {
        apply(&mut world, "cluster-1", text);
        assert_eq!(contested(&world), expected, "{step}");
        assert_eq!(published(&world, NoteKind::HostContested), expected.len(), "{step}: planned");
        let written = world.write_back();
        world.settle();
        let is_machine = step.contains("machine");
        assert_eq!(written > 0, is_machine, "{step}: nothing is written because of it");
    };
    let named = ["cluster-1 payments/stage"];
    steps(&entry(HOST, "", ""), &named, "it comes");
    steps(&entry(HOST, "\"~\"", ""), &[], "nobody sees it");
    steps(&entry("other.example, stage.payments.global", "\".\"", ""), &named, "one of several, for its namespace");
    steps(&entry("prod.payments.global", "", ""), &[], "a host that nobody has");
    steps(&entry(HOST, "", ", labels: {identity: machine, env: stage}"), &named, "it becomes a machine");
    steps(&entry(HOST, "", ""), &named, "and is no machine any more");
    steps(&entry(HOST, "", ", annotations: {admiral.io/ignore: \"true\"}"), &named, "Istio ignores no such mark");

    apply(&mut world, "cluster-2", &entry(HOST, "", ""));
    assert_eq!(contested(&world), ["cluster-1 payments/stage", "cluster-2 payments/stage"]);
    delete(&mut world, "cluster-1", &entry(HOST, "", ""));
    assert_eq!(contested(&world), ["cluster-2 payments/stage"]);
    assert_eq!(published(&world, NoteKind::HostContested), 1);
    // It went while nobody watched.
    world.registry.reset(&cluster("cluster-2"), Kind::ServiceEntry, Vec::new());
    world.settle();
    assert_eq!(contested(&world), Vec::<String>::new());
    assert_eq!(published(&world, NoteKind::HostContested), 0);
}

#[test]
fn an_entry_that_is_handed_over_is_contested_no_longer() {
    let mut world = running(&Settings::default(), &payments());
    apply(&mut world, "cluster-1", &entry(HOST, "", ""));
    assert_eq!(contested(&world), ["cluster-1 payments/stage"]);
    apply(&mut world, "cluster-1", &entry(HOST, "", ", uid: legacy, annotations: {tradewind.io/adopt: \"true\"}"));
    assert_eq!(contested(&world), Vec::<String>::new());
    apply(&mut world, "cluster-1", &entry(HOST, "", ", uid: legacy"));
    assert_eq!(contested(&world), ["cluster-1 payments/stage"], "its owner takes it back before it was taken over");
}

#[test]
fn an_entry_that_is_there_first_is_named_when_its_host_is_published() {
    let prefixed = "west.stage.payments.global";
    let mut world = running(&Settings::default(), &with(payments(), "cluster-1", &entry(prefixed, "", "")));
    assert_eq!(contested(&world), Vec::<String>::new());
    apply(&mut world, "cluster-2", &policy("us-east", "us-west"));
    assert_eq!(contested(&world), ["cluster-1 payments/stage"]);
    delete(&mut world, "cluster-2", &policy("us-east", "us-west"));
    assert_eq!(contested(&world), Vec::<String>::new());
}

#[test]
fn a_rule_in_a_namespace_of_clients_is_named_as_long_as_it_comes_first() {
    let mut world = running(&Settings::default(), &payments());
    let overridden = |world: &World| noted(world, NoteKind::RuleOverridden);
    let named = ["cluster-1 payments/stage"];
    for (host, export_to, expected) in [
        (HOST, "\".\"", &named[..]),
        (HOST, "team", &[]),
        ("*.global", "", &named),
        ("*.orders.global", "", &[]),
        ("*", "", &named),
    ] {
        apply(&mut world, "cluster-1", &rule(host, export_to));
        assert_eq!(overridden(&world), expected, "{host} {export_to}");
        assert_eq!(published(&world, NoteKind::RuleOverridden), expected.len(), "{host} {export_to}: planned");
    }
    delete(&mut world, "cluster-1", &rule("*", ""));
    assert_eq!(published(&world, NoteKind::RuleOverridden), 0);
}

#[test]
fn an_entry_or_rule_marks_the_services_that_may_have_its_hosts_and_nothing_else() {
    let fleet = with(payments(), "cluster-2", &(runs("greeting") + &workload("Deployment", "payments", "qa")));
    let world = running(&Settings::default(), &fleet);
    let dirty_after = |text: &str| -> Vec<String> {
        for object in manifests(&world.observer, text) {
            world.registry.apply(&cluster("cluster-1"), object);
        }
        let services = |unit| if let WorkKey::Service(key) = unit { Some(key.to_string()) } else { None };
        world.registry.take_dirty().into_iter().filter_map(services).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(dirty_after(&entry("a.example, stage.unknown.global", "", "")), none);
    assert_eq!(dirty_after(&entry("west.Stage.payments.global., stage.unknown.global", "", "")), ["payments/stage"]);
    assert_eq!(dirty_after(&entry("west.Stage.payments.global., stage.unknown.global", "", "")), none, "nothing new");
    assert_eq!(dirty_after(&entry("stage.greeting.global", "", "")), ["greeting/stage", "payments/stage"]);
    assert_eq!(dirty_after(&entry("\"*.global\"", "", "")), ["greeting/stage"], "it is for no published host any more");
    assert_eq!(dirty_after(&rule("*.greeting.global", "")), ["greeting/stage"]);
    assert_eq!(dirty_after(&rule("*.example", "")), ["greeting/stage"]);
    assert_eq!(dirty_after(&rule("*.other.example", "")), none);
}
