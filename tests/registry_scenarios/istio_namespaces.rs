//! The namespace of Istio in motion: it is set for a cluster while it is served, and what speaks against it comes and goes.

use super::*;
use tradewind::model::Note;

const MESH: &str = "mesh-system";

fn namespace(name: &str, network: &str) -> String {
    let labels = if network.is_empty() { String::new() } else { format!("topology.istio.io/network: {network}") };
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n")
}

fn istiod(namespace: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: istiod, namespace: {namespace}}}
spec: {{selector: {{app: istiod}}, ports: [{{name: grpc-xds, port: 15010}}]}}
---
"
    )
}

fn set(world: &mut World, name: &str, namespace: Option<&str>) -> bool {
    let changed = world.registry.set_istio_namespace(&cluster(name), namespace);
    world.settle();
    changed
}

fn questions(world: &World) -> Vec<String> {
    let of_kind = |note: &&Note| note.kind == NoteKind::IstioNamespaceQuestionable;
    let notes = world.picture().notes;
    notes.iter().filter(of_kind).map(|note| format!("{}/{}", note.object.cluster, note.object.name)).collect()
}

fn networks(world: &World, name: &str) -> Vec<String> {
    let entries = world.wanted().into_iter().filter_map(|((of, _), object)| match object {
        Object::ServiceEntry(entry) if of == cluster(name) => Some(entry),
        _ => None,
    });
    entries.flat_map(|entry| entry.spec.endpoints).map(|endpoint| endpoint.network).collect()
}

#[test]
fn evidence_against_the_istio_namespace_is_added_and_removed() {
    let mut world = running(&Settings::default(), &payments());
    let before = world.picture();
    assert_eq!(questions(&world), [""; 0]);
    apply(&mut world, "cluster-2", &namespace(MESH, "network-2"));
    assert_eq!(questions(&world), ["cluster-2/istio-system"]);
    apply(&mut world, "cluster-2", &namespace("istio-system", "network-2"));
    assert_eq!(questions(&world), [""; 0], "it tells of the cluster itself");
    delete(&mut world, "cluster-2", &namespace("istio-system", ""));
    assert_eq!(questions(&world), ["cluster-2/istio-system"]);
    delete(&mut world, "cluster-2", &namespace(MESH, ""));
    assert_eq!(questions(&world), [""; 0]);

    apply(&mut world, "cluster-3", &istiod(MESH));
    assert_eq!(questions(&world), ["cluster-3/istio-system"]);
    apply(&mut world, "cluster-3", &istiod("istio-system"));
    assert_eq!(questions(&world), [""; 0], "a second revision");
    delete(&mut world, "cluster-3", &istiod("istio-system"));
    delete(&mut world, "cluster-3", &istiod(MESH));

    apply(&mut world, "cluster-1", &namespace("kube-system", ""));
    assert_eq!(questions(&world), ["cluster-1/istio-system"], "a whole cluster without it");
    apply(&mut world, "cluster-1", &namespace("istio-system", ""));
    assert_eq!(questions(&world), [""; 0]);
    delete(&mut world, "cluster-1", &namespace("istio-system", ""));
    delete(&mut world, "cluster-1", &namespace("kube-system", ""));
    assert_eq!(world.picture(), before);
}

#[test]
fn a_namespace_of_istio_that_is_set_while_its_cluster_is_served_counts_at_once() {
    let fleet = with(payments(), "cluster-2", &namespace(MESH, "network-2"));
    let mut world = running(&Settings::default(), &fleet);
    let before = world.picture();
    assert!(!networks(&world, "cluster-1").contains(&"network-2".to_owned()));

    assert!(set(&mut world, "cluster-2", Some(MESH)));
    assert!(!set(&mut world, "cluster-2", Some(MESH)), "nothing is to be read again");
    assert_eq!(questions(&world), [""; 0]);
    assert!(networks(&world, "cluster-1").contains(&"network-2".to_owned()));
    assert_eq!(world.wanted(), world.picture().objects, "all that changes was marked");

    assert!(set(&mut world, "cluster-2", None));
    assert_eq!(world.picture(), before);
    assert_eq!(world.wanted(), before.objects);
}

#[test]
fn it_may_be_set_before_its_cluster_joins_and_is_forgotten_when_it_leaves() {
    let name = cluster("cluster-2");
    let fleet = with(payments(), "cluster-2", &namespace(MESH, "network-2"));
    let world = World::new(Settings::default());
    world.registry.set_istio_namespace(&name, Some(MESH));
    for (name, text) in &fleet {
        list(&world, name, text, &Objects::new(), &[]);
    }
    let world = settled(world);
    assert!(networks(&world, "cluster-1").contains(&"network-2".to_owned()));
    world.registry.deregister(&name);
    assert_eq!(&*world.registry.queries().istio_namespace(&name), "istio-system");
}

#[test]
fn what_was_written_for_the_whole_cluster_moves_with_the_namespace() {
    let settings = routing::in_cluster();
    let mut world = running(&settings, &payments());
    world.write_back();
    world.settle();
    let places = |world: &World| -> Vec<String> {
        let owned = world.registry.outputs().owned(&cluster("cluster-2")).into_iter();
        let mut places: Vec<String> =
            owned.map(|written| format!("{} {}", written.id.namespace, written.id.name)).collect();
        places.retain(|place| !place.starts_with("admiral-sync "));
        places.sort();
        places
    };
    let names = ["payments.svc.cluster.local-incluster-dr", "stage.payments.global-incluster-vs"];
    assert_eq!(places(&world), names.map(|name| format!("istio-system {name}")));
    set(&mut world, "cluster-2", Some(MESH));
    world.write_back();
    world.settle();
    assert_eq!(places(&world), names.map(|name| format!("{MESH} {name}")));
    assert_eq!(world.write_back(), 0);
}
