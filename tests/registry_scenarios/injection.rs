//! Sidecars that come and go with labels, in motion.

use super::*;

fn namespace(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n")
}

/// Payments without a word about its sidecar, but for these labels of its pods.
fn unmarked(labels: &str) -> String {
    let marked = workload("Deployment", "payments", "stage");
    let plain = marked.replace("      annotations: {sidecar.istio.io/inject: \"true\"}\n", "");
    assert_ne!(plain, marked);
    plain.replace("app: payments,", &format!("app: payments, {labels}")) + &service("payments")
}

/// The fleet of the story, in which cluster-2 says of its sidecars no more than these labels of the namespace.
fn by_namespace(labels: &str) -> Manifests {
    let mut fleet = payments();
    let place = node("us-west") + &gateway("192.0.2.2");
    fleet.insert(cluster("cluster-2"), place + &namespace("payments", labels) + &unmarked(""));
    fleet
}

const ENABLED: &str = "istio-injection: enabled";
const ONE: [&str; 1] = ["192.0.2.3"];
const BOTH: [&str; 2] = ["192.0.2.2", "192.0.2.3"];

fn seen(world: &World) -> Vec<String> {
    addresses(&world.wanted(), "cluster-1", HOST).expect("some cluster runs it")
}

#[test]
fn labels_of_a_namespace_count_as_they_come_change_and_go() {
    let mut world = running(&Settings::default(), &by_namespace(""));
    let mut steps = 0;
    for (labels, addresses, note) in [
        ("", &ONE[..], Some(NoteKind::WorkloadNotInjected)),
        (ENABLED, &BOTH, None),
        ("istio-injection: disabled", &ONE, Some(NoteKind::WorkloadNotInjected)),
        ("istio.io/rev: canary", &BOTH, None),
        ("istio.io/dataplane-mode: ambient", &ONE, Some(NoteKind::WorkloadAmbient)),
        ("istio.io/dataplane-mode: ambient, istio-injection: enabled", &BOTH, None),
        ("kubernetes.io/metadata.name: payments", &ONE, Some(NoteKind::WorkloadNotInjected)),
    ] {
        apply(&mut world, "cluster-2", &namespace("payments", labels));
        assert_eq!(seen(&world), addresses, "{labels}");
        let picture = world.picture();
        let found = picture.notes.iter().map(|note| note.kind);
        let found: Vec<_> =
            found.filter(|kind| matches!(kind, NoteKind::WorkloadNotInjected | NoteKind::WorkloadAmbient)).collect();
        assert_eq!(found, note.into_iter().collect::<Vec<_>>(), "{labels}");
        assert_eq!(world.wanted(), picture.objects, "{labels}: nothing that changes is left unmarked");
        steps += 1;
    }
    assert_eq!(steps, 7);
}

#[test]
fn labels_of_pods_count_as_they_change_and_a_deleted_namespace_takes_nothing_with_it() {
    let mut world = running(&Settings::default(), &by_namespace(ENABLED));
    for (labels, addresses) in [
        ("sidecar.istio.io/inject: \"false\",", &ONE[..]),
        ("sidecar.istio.io/inject: \"true\",", &BOTH),
        ("sidecar.istio.io/inject: \"yes please\",", &ONE),
        ("", &BOTH),
    ] {
        apply(&mut world, "cluster-2", &unmarked(labels));
        assert_eq!(seen(&world), addresses, "{labels}");
    }
    // Kubernetes deletes what is in it first; the events of two kinds have no order.
    delete(&mut world, "cluster-2", &namespace("payments", ENABLED));
    assert_eq!(seen(&world), BOTH);
    delete(&mut world, "cluster-2", &unmarked(""));
    assert_eq!(seen(&world), ONE);
}

// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn namespaces_that_cannot_be_read_after_a_restart_take_no_sidecar_away() {
    let settings =
        Settings { sidecars: Sidecars::Own, without_dependency: WithoutDependency::None, ..Settings::default() };
    // The client, too, has its sidecar from its namespace.
    let orders = workload("Deployment", "orders", "stage");
    let orders = orders.replace("      annotations: {sidecar.istio.io/inject: \"true\"}\n", "");
    let mut fleet = by_namespace(ENABLED);
    let text = node("us-west") + &gateway("192.0.2.1") + &orders + &dependency("orders", "payments");
    fleet.insert(cluster("cluster-1"), text + &namespace("orders", ENABLED));
    let before = running(&settings, &fleet).picture();
    assert_eq!(addresses(&before.objects, "cluster-1", HOST).unwrap(), BOTH);
    for cut_off in ["cluster-1", "cluster-2"] {
        let mut world = restarted(&settings, &fleet, &before.objects, cut_off, &[Kind::Namespace]);
        assert_eq!(world.write_back(), 0, "{cut_off}");
        let services = |objects: &Objects| -> Objects {
            let of_services = objects.iter().filter(|((_, id), _)| id.kind != Kind::Sidecar);
            of_services.map(|(at, object)| (at.clone(), object.clone())).collect()
        };
        assert_eq!(services(&world.picture().objects), services(&before.objects), "{cut_off}");
        assert!(!has_note(&world.picture(), NoteKind::WorkloadNotInjected), "nobody knows that it is not");

        // They can be read again, and nothing is injected any more.
        let name = cluster(cut_off);
        let text = fleet[&name].replace(ENABLED, "");
        list(&world, &name, &text, &before.objects, &[]);
        world.settle();
        assert!(has_note(&world.picture(), NoteKind::WorkloadNotInjected), "{cut_off}");
        let now = addresses(&world.wanted(), "cluster-1", HOST);
        assert_eq!(now, (cut_off == "cluster-2").then(|| ONE.map(str::to_owned).to_vec()), "{cut_off}");
    }
}

#[test]
fn what_is_marked_itself_is_followed_while_namespaces_cannot_be_read() {
    let settings = Settings::default();
    let fleet = payments();
    let before = running(&settings, &fleet).picture();
    let mut world = restarted(&settings, &fleet, &before.objects, "cluster-2", &[Kind::Namespace]);
    assert_eq!(world.picture().objects, before.objects);
    delete(&mut world, "cluster-2", &runs("payments"));
    assert_eq!(seen(&world), ONE, "it is known to be gone");
}

#[test]
fn by_the_annotation_alone_nothing_depends_on_namespaces() {
    let settings = Settings { sidecar_injection: SidecarInjection::Annotation, ..Settings::default() };
    let mut world = running(&settings, &by_namespace(ENABLED));
    assert_eq!(seen(&world), ONE);
    assert!(!has_note(&world.picture(), NoteKind::WorkloadNotInjected));
    apply(&mut world, "cluster-2", &runs("payments"));
    assert_eq!(seen(&world), BOTH);
    apply(&mut world, "cluster-2", &namespace("payments", "istio-injection: disabled"));
    assert_eq!(seen(&world), BOTH);
}
