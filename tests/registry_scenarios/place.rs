//! Where clusters are and what they are called, in motion: gateways, domains, regions, virtual machines, partitions.

use super::*;

fn facts(annotations: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: istio-system, annotations: {{{annotations}}}}}\n---\n")
}

fn machine(address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: payments-vm, namespace: payments, labels: {{identity: payments, env: stage}}}}
spec: {{address: {address}, ports: {{http: 8080, tcp-admin: 9000}}, locality: us-east/us-east-2a}}
---
"
    )
}

fn entry(labels: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: payments-machines, namespace: payments, labels: {{{labels}}}}}
spec:
  hosts: [payments.corp.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}, {{number: 9000, name: tcp-admin, protocol: TCP}}]
  endpoints: [{{address: 10.0.0.9}}]
---
"
    )
}

fn other_gateway(address: &str) -> String {
    gateway(address)
        .replace("name: gateway", "name: nlb")
        .replace("app: istio-ingressgateway", "app: istio-ingressgateway-nlb")
}

/// Everything but these kinds of these clusters is listed anew, in the order of `names`.
fn restarted_in_order(
    settings: &Settings,
    fleet: &Manifests,
    written: &Objects,
    names: &[&str],
    unreadable: &[(&str, Kind)],
) -> World {
    let world = World::new(settings.clone());
    for name in names.iter().map(|name| cluster(name)) {
        let cut: Vec<Kind> = unreadable.iter().filter(|(of, _)| *of == name.as_str()).map(|(_, kind)| *kind).collect();
        list(&world, &name, &fleet[&name], written, &cut);
    }
    settled(world)
}

// Invariant: A gateway keeps its last address while its Service exists, also over a restart; a cluster keeps its domain
// and gateway while its Namespaces cannot be read.
#[test]
fn a_gateway_without_address_keeps_its_last_one_over_a_restart_in_any_order() {
    let settings = Settings::default();
    let before = running(&settings, &payments()).picture();
    let mut fleet = payments();
    let lost = node("us-east") + &gateway("") + &runs("payments");
    fleet.insert(cluster("cluster-3"), lost);
    for names in [["cluster-1", "cluster-2", "cluster-3"], ["cluster-3", "cluster-2", "cluster-1"]] {
        let mut world = restarted_in_order(&settings, &fleet, &before.objects, &names, &[]);
        assert_eq!(world.picture().objects, before.objects, "{names:?}");
        assert_eq!(world.write_back(), 0);
        assert!(has_note(&world.picture(), NoteKind::GatewayMissing));
        apply(&mut world, "cluster-3", &gateway("192.0.2.33"));
        assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.33"]);
    }
}

#[test]
fn a_gateway_that_comes_and_goes_touches_its_own_clusters_endpoints_alone() {
    let fleet = with(payments(), "cluster-2", &runs("greeting"));
    let mut world = running(&Settings::default(), &fleet);
    let others = |world: &World| -> Vec<Option<Vec<String>>> {
        let seen = ["cluster-1", "cluster-2", "cluster-3"];
        seen.map(|name| addresses(&world.wanted(), name, "stage.greeting.global")).to_vec()
    };
    let greeting = others(&world);
    let payments = |world: &World| addresses(&world.wanted(), "cluster-1", HOST).unwrap();
    for (change, seen) in [
        (gateway(""), ["192.0.2.2", "192.0.2.3"].as_slice()),
        (gateway("192.0.2.33"), &["192.0.2.2", "192.0.2.33"]),
        (gateway("192.0.2.34"), &["192.0.2.2", "192.0.2.34"]),
    ] {
        apply(&mut world, "cluster-3", &change);
        assert_eq!(payments(&world), seen);
        assert_eq!(others(&world), greeting);
        world.write_back();
        world.settle();
    }
    delete(&mut world, "cluster-3", &gateway(""));
    assert_eq!(payments(&world), ["192.0.2.2"]);
    assert_eq!(addresses(&world.wanted(), "cluster-3", HOST).unwrap().len(), 2, "it still reaches itself");
    // The last one goes: nothing is left to point to, and that is told.
    delete(&mut world, "cluster-2", &gateway(""));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST), None);
    assert!(has_note(&world.picture(), NoteKind::GatewayMissing));
    apply(&mut world, "cluster-3", &gateway("192.0.2.3"));
    assert_eq!(payments(&world), ["192.0.2.3"]);
}

#[test]
fn the_list_of_nlb_clusters_marks_what_runs_in_those_that_change() {
    let fleet = with(payments(), "cluster-2", &(runs("greeting") + &other_gateway("192.0.2.92")));
    let fleet = with(fleet, "cluster-3", &other_gateway("192.0.2.93"));
    let settings = Settings { nlb_enabled_clusters: vec!["cluster-2".into()], ..Settings::default() };
    let mut world = running(&settings, &fleet);
    let payments = |world: &World| addresses(&world.wanted(), "cluster-1", HOST).unwrap();
    assert_eq!(payments(&world), ["192.0.2.92", "192.0.2.3"]);
    let unit = |identity| WorkKey::Service(key(identity, "stage"));
    for (list, marked, seen) in [
        (vec!["cluster-2"], vec![], ["192.0.2.92", "192.0.2.3"]),
        (vec!["cluster-2", "cluster-3", "nowhere"], vec![unit("payments")], ["192.0.2.92", "192.0.2.93"]),
        (vec!["cluster-3"], vec![unit("greeting"), unit("payments")], ["192.0.2.2", "192.0.2.93"]),
        (vec![], vec![unit("payments")], ["192.0.2.2", "192.0.2.3"]),
    ] {
        world.registry.set_nlb_clusters(list.iter().map(ToString::to_string));
        let dirty = world.registry.take_dirty();
        assert_eq!(dirty, marked.into_iter().collect());
        world.registry.mark(dirty);
        world.settle();
        assert_eq!(payments(&world), seen, "{list:?}");
    }
    // A cluster that joins later finds the list as it is.
    world.registry.set_nlb_clusters(["cluster-4".to_owned()]);
    let late = node("us-east") + &other_gateway("192.0.2.94") + &runs("payments");
    list(&world, &cluster("cluster-4"), &late, &Objects::new(), &[]);
    world.settle();
    assert!(payments(&world).contains(&"192.0.2.94".to_owned()));
}

#[test]
fn a_changed_fact_of_a_cluster_is_planned_again() {
    let settings = Settings { sidecars: Sidecars::Own, ..Settings::default() };
    let fleet =
        with(payments(), "cluster-2", &(workload("Deployment", "orders", "stage") + &other_gateway("192.0.2.9")));
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    let sidecar = |world: &World| {
        let id = ObjectId::new(Kind::Sidecar, "orders", "default");
        format!("{:?}", world.wanted()[&(cluster("cluster-2"), id)])
    };
    apply(&mut world, "cluster-2", &facts("tradewind.io/cluster-domain: west.example"));
    let seen = |world: &World| addresses(&world.wanted(), "cluster-2", HOST).unwrap();
    assert_eq!(seen(&world), ["payments.payments.svc.west.example", "192.0.2.3"]);
    assert!(sidecar(&world).contains("payments/payments.payments.svc.west.example"));
    assert_eq!(
        in_clusters(&world.wanted(), &["cluster-1", "cluster-3"]),
        in_clusters(&before.objects, &["cluster-1", "cluster-3"])
    );
    apply(&mut world, "cluster-2", &facts("tradewind.io/gateway-app: istio-ingressgateway-nlb"));
    assert_eq!(seen(&world), ["payments.payments.svc.cluster.local", "192.0.2.3"]);
    assert_eq!(addresses(&world.wanted(), "cluster-3", HOST).unwrap()[0], "192.0.2.9");
    delete(&mut world, "cluster-2", &facts(""));
    assert_eq!(world.picture(), before);
}

// Invariant: A gateway keeps its last address while its Service exists, also over a restart; a cluster keeps its domain
// and gateway while its Namespaces cannot be read.
#[test]
fn facts_of_a_cluster_remain_while_its_namespaces_cannot_be_read_after_a_restart() {
    let settings = Settings { sidecars: Sidecars::Own, ..Settings::default() };
    let told = facts("tradewind.io/cluster-domain: west.example, tradewind.io/gateway-app: istio-ingressgateway-nlb");
    let fleet = with(payments(), "cluster-2", &(told + &other_gateway("192.0.2.9")));
    let before = running(&settings, &fleet).picture();
    assert_eq!(addresses(&before.objects, "cluster-1", HOST).unwrap(), ["192.0.2.9", "192.0.2.3"]);
    for names in [["cluster-1", "cluster-2", "cluster-3"], ["cluster-3", "cluster-2", "cluster-1"]] {
        let cut_off = [("cluster-2", Kind::Namespace)];
        let mut world = restarted_in_order(&settings, &fleet, &before.objects, &names, &cut_off);
        assert_eq!(world.picture().objects, before.objects, "{names:?}");
        assert_eq!(world.write_back(), 0);
        let namespaces = manifests(&world.observer, &fleet[&cluster("cluster-2")]);
        let namespaces = namespaces.into_iter().filter(|object| object.id().kind == Kind::Namespace).collect();
        world.registry.reset(&cluster("cluster-2"), Kind::Namespace, namespaces);
        world.settle();
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn a_region_that_is_labelled_later_is_planned_again() {
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut world = running(&Settings::default(), &fleet);
    let before = world.picture();
    let bare = "apiVersion: v1\nkind: Node\nmetadata: {name: node}\n---\n";
    apply(&mut world, "cluster-3", bare);
    assert!(has_note(&world.picture(), NoteKind::RegionUnknown));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap().len(), 2, "its endpoints stay, without a place");
    assert_eq!(world.wanted(), world.picture().objects, "all that changes was marked");
    apply(&mut world, "cluster-3", &node("us-east"));
    assert_eq!(world.picture(), before);
    assert_eq!(world.wanted(), before.objects);
    delete(&mut world, "cluster-3", &node("us-east"));
    assert!(has_note(&world.picture(), NoteKind::RegionUnknown));
}

#[test]
fn machines_are_added_changed_and_removed_next_to_pods() {
    let mut world = running(&Settings::default(), &payments());
    let before = world.picture();
    let seen = |world: &World, name| addresses(&world.wanted(), name, HOST).unwrap();
    apply(&mut world, "cluster-1", &machine("10.0.0.5"));
    assert_eq!(seen(&world, "cluster-1"), ["10.0.0.5", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(seen(&world, "cluster-2")[0], "192.0.2.1");
    apply(&mut world, "cluster-1", &machine("10.0.0.6"));
    assert_eq!(seen(&world, "cluster-1")[0], "10.0.0.6");
    apply(&mut world, "cluster-1", &entry("identity: payments, env: stage"));
    assert_eq!(seen(&world, "cluster-1"), ["10.0.0.6", "10.0.0.9", "192.0.2.2", "192.0.2.3"]);
    apply(&mut world, "cluster-1", &entry("app: payments"));
    assert_eq!(seen(&world, "cluster-1")[0], "10.0.0.6", "without its label it decides nothing");
    apply(&mut world, "cluster-1", &entry("identity: payments, env: stage"));
    delete(&mut world, "cluster-1", &entry(""));
    delete(&mut world, "cluster-1", &machine("10.0.0.6"));
    assert_eq!(world.picture(), before);
}

#[test]
fn an_entry_that_moves_out_of_the_mesh_and_back_is_an_endpoint_only_inside() {
    let inside = entry("identity: payments, env: stage");
    let outside = inside.replace("MESH_INTERNAL", "MESH_EXTERNAL");
    let mut world = running(&Settings::default(), &payments());
    let seen = |world: &World| addresses(&world.wanted(), "cluster-1", HOST).unwrap();
    let before = seen(&world);
    for entry in [&outside, &inside.replace("  location: MESH_INTERNAL\n", "")] {
        apply(&mut world, "cluster-1", entry);
        assert_eq!(seen(&world), before, "outside of the mesh it is no endpoint");
        assert!(has_note(&world.picture(), NoteKind::MachineUnusable));
        apply(&mut world, "cluster-1", &inside);
        assert_eq!(seen(&world).len(), before.len() + 1);
        assert!(!has_note(&world.picture(), NoteKind::MachineUnusable));
    }
    apply(&mut world, "cluster-1", &outside);
    assert_eq!(seen(&world), before);
    let ignored =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: payments, annotations: {admiral.io/ignore: \"true\"}}\n";
    apply(&mut world, "cluster-1", ignored);
    assert!(!has_note(&world.picture(), NoteKind::MachineUnusable), "what is ignored is not noted");
    apply(&mut world, "cluster-1", "apiVersion: v1\nkind: Namespace\nmetadata: {name: payments}\n");
    assert!(has_note(&world.picture(), NoteKind::MachineUnusable));
    delete(&mut world, "cluster-1", &outside);
    assert!(!has_note(&world.picture(), NoteKind::MachineUnusable));
}

// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn machines_that_cannot_be_read_after_a_restart_stay_where_they_were() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-1", &(machine("10.0.0.5") + &entry("identity: payments, env: stage")));
    let fleet = with(fleet, "cluster-2", &machine("10.0.0.6").replace("namespace: payments", "namespace: machines"));
    let before = running(&settings, &fleet).picture();
    assert_eq!(addresses(&before.objects, "cluster-1", HOST).unwrap().len(), 4);
    assert_eq!(addresses(&before.objects, "cluster-2", HOST).unwrap().len(), 4, "a machine beside its pods");
    for cut_off in ["cluster-1", "cluster-2"] {
        for unreadable in [vec![Kind::WorkloadEntry], everything()] {
            let mut world = restarted(&settings, &fleet, &before.objects, cut_off, &unreadable);
            let elsewhere: Vec<&str> =
                ["cluster-1", "cluster-2", "cluster-3"].into_iter().filter(|name| *name != cut_off).collect();
            assert_eq!(in_clusters(&world.picture().objects, &elsewhere), in_clusters(&before.objects, &elsewhere));
            if unreadable.len() == 1 {
                assert_eq!(world.picture().objects, before.objects, "{cut_off}: its own view, too");
            }
            assert_eq!(world.write_back(), 0, "{cut_off} {unreadable:?}");
            list(&world, &cluster(cut_off), &fleet[&cluster(cut_off)], &before.objects, &[]);
            world.settle();
            assert_eq!(world.picture(), before);
        }
    }
}

#[test]
fn machines_of_a_list_are_gone_when_it_lacks_them() {
    let fleet = with(payments(), "cluster-1", &(machine("10.0.0.5") + &entry("identity: payments, env: stage")));
    let mut world = running(&Settings::default(), &fleet);
    for kind in [Kind::WorkloadEntry, Kind::ServiceEntry] {
        let written = world.wanted();
        let ours = written.iter().filter(|((name, id), _)| name.as_str() == "cluster-1" && id.kind == kind);
        let ours = ours.map(|(_, object)| world.stored(object)).collect();
        world.registry.reset(&cluster("cluster-1"), kind, ours);
        world.settle();
    }
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.3"]);
}

fn partitioned(partition: &str) -> String {
    let annotation = format!("inject: \"true\", admiral.io/identityPartition: {partition}");
    workload("Deployment", "payments", "stage").replace("inject: \"true\"", &annotation)
}

#[test]
fn a_workload_moves_from_partition_to_partition() {
    let settings = Settings { enable_sw_aware_ns_caches: true, ..Settings::default() };
    let mut world = running(&settings, &payments());
    let plain = world.picture();
    let services =
        |world: &World| world.registry.queries().services().iter().map(ToString::to_string).collect::<Vec<_>>();
    for partition in ["west", "east"] {
        for name in ["cluster-2", "cluster-3"] {
            apply(&mut world, name, &partitioned(partition));
        }
        assert_eq!(addresses(&world.wanted(), "cluster-2", HOST).unwrap().len(), 2);
        assert!(world.write_back() > 0);
        world.settle();
        assert_eq!(world.write_back(), 0);
        let mut expected = [format!("{partition}.payments/stage"), "orders/stage".to_owned()];
        expected.sort();
        assert_eq!(services(&world), expected);
        let of = |name| world.registry.queries().partitions_of(&cluster(name), &key("payments", "stage"));
        assert_eq!(of("cluster-2"), [key(&format!("{partition}.payments"), "stage")]);
        assert_eq!(of("cluster-1"), []);
        let known_by = key(&format!("{partition}.payments"), "stage");
        assert_eq!(world.registry.queries().plain_of(&cluster("cluster-2"), &known_by), Some(key("payments", "stage")));
    }
    for name in ["cluster-2", "cluster-3"] {
        apply(&mut world, name, &workload("Deployment", "payments", "stage"));
    }
    assert_eq!(world.picture().objects, plain.objects);
    assert!(world.write_back() > 0);
    world.settle();
    assert_eq!(world.write_back(), 0);
}

// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn a_partitioned_service_stays_what_it_was_while_it_cannot_be_read_after_a_restart() {
    let settings = Settings {
        enable_sw_aware_ns_caches: true,
        enable_san: true,
        without_dependency: WithoutDependency::All,
        ..Settings::default()
    };
    let mut fleet = payments();
    for (name, region) in [("cluster-2", "us-west"), ("cluster-3", "us-east")] {
        let text =
            node(region) + &gateway(&format!("192.0.2.{}", &name[8..])) + &partitioned("West") + &service("payments");
        fleet.insert(cluster(name), text);
    }
    let before = running(&settings, &fleet).picture();
    let world = World::new(settings.clone());
    for (name, text) in &fleet {
        let unreadable = if name.as_str() == "cluster-1" { Vec::new() } else { vec![Kind::Deployment] };
        list(&world, name, text, &before.objects, &unreadable);
    }
    let mut world = settled(world);
    assert_eq!(world.picture().objects, before.objects, "host, identity and subject name included");
    assert_eq!(world.write_back(), 0);
}
