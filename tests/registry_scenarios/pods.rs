//! Pods that are endpoints themselves, in motion: they come and go in bursts, outlive a restart without their cluster, and
//! make room for the gateway.

use super::*;

fn direct() -> Settings {
    Settings { direct_endpoints: true, ..Settings::default() }
}

pub(super) fn network(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: {name}}}}}
---
"
    )
}

fn slice_of(service: &str, name: &str, pods: &[&str]) -> String {
    let zone = |at: usize| if at.is_multiple_of(2) { "a" } else { "b" };
    let pods = pods.iter().enumerate().map(|(at, pod)| format!("{{addresses: [{pod}], zone: {}}}", zone(at)));
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: {service}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}, {{name: tcp-admin, port: 9000}}]
endpoints: [{}]
---
",
        pods.collect::<Vec<_>>().join(", ")
    )
}

pub(super) fn slice(pods: &[&str]) -> String {
    slice_of("payments", "payments-abcde", pods)
}

/// The payments fleet on one network, with two pods in cluster-2 and three in cluster-3.
fn flat() -> Manifests {
    let fleet = with(payments(), "cluster-1", &network("flat"));
    let fleet = with(fleet, "cluster-2", &(network("flat") + &slice(&["10.2.0.1", "10.2.0.2"])));
    with(fleet, "cluster-3", &(network("flat") + &slice(&["10.3.0.1", "10.3.0.2", "10.3.0.3"])))
}

fn seen_by(world: &World, name: &str) -> Vec<String> {
    addresses(&world.wanted(), name, HOST).expect("it is published there")
}

fn push(world: &World, name: &str, text: &str) {
    for object in manifests(&world.observer, text) {
        world.registry.apply(&cluster(name), object);
    }
}

// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once.
#[test]
fn pods_come_and_go_and_a_burst_of_them_is_planned_once() {
    let mut world = running(&direct(), &flat());
    assert_eq!(seen_by(&world, "cluster-1"), ["10.2.0.1", "10.2.0.2", "10.3.0.1", "10.3.0.2", "10.3.0.3"]);
    assert_eq!(seen_by(&world, "cluster-2").len(), 4);
    for pods in [["10.2.0.1", "10.2.0.3"], ["10.2.0.4", "10.2.0.3"]] {
        push(&world, "cluster-2", &slice(&pods));
        assert_eq!(world.registry.take_dirty(), [].into(), "more of them may follow");
    }
    assert_eq!(world.registry.queue().waiting(), 1);
    let bursting: Vec<WorkKey> = world.registry.take_bursting().into_keys().collect();
    assert_eq!(bursting, [WorkKey::Service(key("payments", "stage"))]);
    push(&world, "cluster-2", &slice(&["10.2.0.4", "10.2.0.5"]));
    world.settle();
    assert_eq!(seen_by(&world, "cluster-1")[..2], ["10.2.0.4", "10.2.0.5"]);
    assert_eq!(world.write_back(), 2, "one ServiceEntry in each of the two clusters that see them");
    world.settle();

    let further = slice_of("payments", "payments-more", &["10.2.0.9"]);
    apply(&mut world, "cluster-2", &further);
    assert_eq!(seen_by(&world, "cluster-1")[..3], ["10.2.0.4", "10.2.0.5", "10.2.0.9"]);
    delete(&mut world, "cluster-2", &further);
    // A slice may be given to another Service.
    let renamed = slice(&["10.2.0.4"]).replace("service-name: payments", "service-name: orders");
    apply(&mut world, "cluster-2", &renamed);
    assert_eq!(seen_by(&world, "cluster-1")[0], "192.0.2.2");
    apply(&mut world, "cluster-2", &slice(&["10.2.0.4"]));
    assert_eq!(seen_by(&world, "cluster-1")[0], "10.2.0.4");
    // A list without it takes it away.
    world.registry.reset(&cluster("cluster-2"), Kind::EndpointSlice, Vec::new());
    world.settle();
    assert_eq!(seen_by(&world, "cluster-1")[0], "192.0.2.2");
    assert_eq!(world.wanted(), world.picture().objects);
}

#[test]
fn pods_that_nobody_reaches_mark_nothing() {
    let fleet = with(payments(), "cluster-1", &network("flat"));
    let fleet = with(fleet, "cluster-2", &(network("flat") + &slice(&["10.2.0.1"])));
    let fleet = with(fleet, "cluster-3", &(network("other") + &slice(&["10.3.0.1"])));
    let mut world = running(&direct(), &fleet);
    assert_eq!(seen_by(&world, "cluster-1"), ["10.2.0.1", "192.0.2.3"]);
    push(&world, "cluster-2", &slice(&["10.2.0.1"]));
    push(&world, "cluster-2", &slice_of("orders", "orders-abcde", &["10.2.0.7"]));
    push(&world, "cluster-3", &slice(&["10.3.0.2"]));
    world.registry.delete(&cluster("cluster-3"), &ObjectId::new(Kind::EndpointSlice, "payments", "unknown"));
    assert_eq!(world.registry.queue().waiting(), 0);
    // What was not told then counts as soon as somebody is there.
    apply(&mut world, "cluster-3", &network("flat"));
    assert_eq!(seen_by(&world, "cluster-1"), ["10.2.0.1", "10.3.0.2"]);
    assert_eq!(seen_by(&world, "cluster-3")[0], "10.2.0.1");
    assert_eq!(world.wanted(), world.picture().objects);

    let mut off = running(&Settings::default(), &fleet);
    push(&off, "cluster-2", &slice(&["10.2.0.8"]));
    assert_eq!(off.registry.queue().waiting(), 0);
    off.settle();
    assert_eq!(seen_by(&off, "cluster-1"), ["192.0.2.2", "192.0.2.3"]);
}

#[test]
fn the_gateway_is_the_endpoint_while_no_pod_is_ready() {
    let mut world = running(&direct(), &flat());
    let before = world.picture();
    apply(&mut world, "cluster-2", &slice(&[]));
    assert_eq!(seen_by(&world, "cluster-1")[0], "192.0.2.2");
    apply(&mut world, "cluster-2", &slice(&["10.2.0.1", "10.2.0.2"]));
    assert_eq!(world.picture(), before);
    assert_eq!(world.write_back(), 0);
}

#[test]
fn a_changed_network_is_planned_again_in_both_directions() {
    let mut world = running(&direct(), &flat());
    let before = world.picture();
    for other in [network("other"), network("\"\"")] {
        apply(&mut world, "cluster-1", &other);
        assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2", "192.0.2.3"], "a client alone");
        apply(&mut world, "cluster-1", &network("flat"));
        assert_eq!(world.picture(), before);
        apply(&mut world, "cluster-3", &other);
        assert_eq!(seen_by(&world, "cluster-1"), ["10.2.0.1", "10.2.0.2", "192.0.2.3"]);
        assert_eq!(seen_by(&world, "cluster-3")[0], "192.0.2.2");
        assert_eq!(world.wanted(), world.picture().objects);
        delete(&mut world, "cluster-3", &other);
        assert_eq!(seen_by(&world, "cluster-3")[0], "192.0.2.2");
        apply(&mut world, "cluster-3", &network("flat"));
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn a_gateway_is_missed_as_long_as_a_cluster_of_another_network_is_there() {
    let mut fleet = flat();
    for text in fleet.values_mut() {
        for number in 1..=3 {
            *text = text.replace(&gateway(&format!("192.0.2.{number}")), "");
        }
    }
    let mut world = running(&direct(), &fleet);
    let missed = |world: &World| -> usize {
        world.picture().notes.iter().filter(|note| note.kind == NoteKind::GatewayMissing).count()
    };
    assert_eq!(seen_by(&world, "cluster-1").len(), 5);
    assert_eq!(missed(&world), 0);
    apply(&mut world, "cluster-1", &network("other"));
    assert_eq!((addresses(&world.wanted(), "cluster-1", HOST), missed(&world)), (None, 3));
    apply(&mut world, "cluster-1", &network("flat"));
    assert_eq!(missed(&world), 0);
    list(&world, &cluster("cluster-4"), &node("us-east"), &Objects::new(), &[]);
    world.settle();
    assert_eq!(missed(&world), 3, "it names no network");
    world.leave(&cluster("cluster-4"));
    world.settle();
    assert_eq!(missed(&world), 0);
}

fn by_weight() -> Manifests {
    with(
        flat(),
        "cluster-2",
        &policy("us-west", "us-east")
            .replace("weight: 100}, {region: us-east, weight: 0", "weight: 90}, {region: us-east, weight: 10"),
    )
}

// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once.
#[test]
fn pods_of_a_cluster_that_cannot_be_read_after_a_restart_stay() {
    for fleet in [flat(), by_weight()] {
        let before = running(&direct(), &fleet).picture();
        let parts = [
            vec![],
            vec![Kind::EndpointSlice],
            vec![Kind::Namespace],
            vec![Kind::Service],
            vec![Kind::Deployment],
            vec![Kind::Node],
            vec![Kind::EndpointSlice, Kind::Namespace, Kind::Node],
            everything(),
        ];
        for unreadable in parts {
            let mut world = restarted(&direct(), &fleet, &before.objects, "cluster-3", &unreadable);
            let readable = ["cluster-1", "cluster-2"];
            let (now, then) = (world.picture().objects, before.objects.clone());
            assert_eq!(in_clusters(&now, &readable), in_clusters(&then, &readable), "{unreadable:?}");
            if unreadable.len() == 1 {
                assert_eq!(now, then, "{unreadable:?}: its own view, too");
            }
            assert_eq!(world.write_back(), 0, "{unreadable:?}");
            // The others go on meanwhile.
            apply(&mut world, "cluster-2", &slice(&["10.2.0.8", "10.2.0.2"]));
            assert!(seen_by(&world, "cluster-1").contains(&"10.2.0.8".to_owned()), "{unreadable:?}");
            assert!(seen_by(&world, "cluster-1").contains(&"10.3.0.3".to_owned()), "{unreadable:?}");
            apply(&mut world, "cluster-2", &slice(&["10.2.0.1", "10.2.0.2"]));

            list(&world, &cluster("cluster-3"), &fleet[&cluster("cluster-3")], &before.objects, &[]);
            world.settle();
            assert_eq!(world.picture(), before, "{unreadable:?}");
        }
    }
}

#[test]
fn what_changed_meanwhile_follows_when_the_cluster_can_be_read() {
    let fleet = flat();
    let before = running(&direct(), &fleet).picture();
    let mut world = restarted(&direct(), &fleet, &before.objects, "cluster-3", &everything());
    let now = fleet[&cluster("cluster-3")].replace("10.3.0.1", "10.3.0.9");
    list(&world, &cluster("cluster-3"), &now, &before.objects, &[]);
    world.settle();
    assert_eq!(seen_by(&world, "cluster-1")[2..], ["10.3.0.2", "10.3.0.3", "10.3.0.9"]);
}

// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once.
#[test]
fn a_cluster_whose_namespaces_cannot_be_read_after_a_restart_goes_on_reaching_pods() {
    let fleet = flat();
    let before = running(&direct(), &fleet).picture();
    for name in ["cluster-1", "cluster-2"] {
        let mut world = restarted(&direct(), &fleet, &before.objects, name, &[Kind::Namespace]);
        assert_eq!(world.picture().objects, before.objects, "{name}");
        assert_eq!(world.write_back(), 0, "{name}");
        apply(&mut world, "cluster-3", &slice(&["10.3.0.4"]));
        assert!(seen_by(&world, name).contains(&"10.3.0.4".to_owned()), "{name} is on the network that it was on");
    }
}

#[test]
fn what_was_written_by_the_gateway_stays_so_while_pods_cannot_be_read() {
    let fleet = flat();
    let by_gateway = running(&Settings::default(), &fleet).picture();
    let mut world = restarted(&direct(), &fleet, &by_gateway.objects, "cluster-3", &[Kind::EndpointSlice]);
    assert_eq!(seen_by(&world, "cluster-1"), ["10.2.0.1", "10.2.0.2", "192.0.2.3"]);
    list(&world, &cluster("cluster-3"), &fleet[&cluster("cluster-3")], &by_gateway.objects, &[]);
    world.settle();
    assert_eq!(seen_by(&world, "cluster-1").len(), 5);
}

// Invariant: Pods are endpoints only while they are ready, and remain while they cannot be read; a burst of changes is
// planned once.
#[test]
fn the_setting_may_be_taken_back_while_a_cluster_is_away() {
    let fleet = flat();
    let before = running(&direct(), &fleet).picture();
    let mut world = restarted(&Settings::default(), &fleet, &before.objects, "cluster-3", &everything());
    let pods = ["192.0.2.2", "10.3.0.1", "10.3.0.2", "10.3.0.3"];
    assert_eq!(seen_by(&world, "cluster-1"), pods, "its gateway was never written");
    list(&world, &cluster("cluster-3"), &fleet[&cluster("cluster-3")], &before.objects, &[]);
    world.settle();
    assert_eq!(seen_by(&world, "cluster-1"), ["192.0.2.2", "192.0.2.3"]);
}

#[test]
fn pods_of_a_cluster_that_is_lost_while_running_stay_as_they_were() {
    let mut world = running(&direct(), &flat());
    let before = world.picture();
    lose(&mut world, "cluster-3");
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.write_back(), 0);
}
