//! Hand-written entries that their owners hand over, and take back, while the fleet is served.

use super::*;

const BY_HAND: &str = "10.77.0.9";

fn entry(namespace: &str, annotations: &str, version: u64) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: by-hand
  namespace: {namespace}
  uid: by-hand
  resourceVersion: \"{version}\"
  annotations: {{{annotations}}}
spec:
  hosts: [{HOST}]
  addresses: [{BY_HAND}]
  location: MESH_INTERNAL
  resolution: DNS
  endpoints: [{{address: 198.51.100.7}}]
---
"
    )
}

/// As it stands once Tradewind took it over and its owner no longer hands it over.
fn recalled(namespace: &str, version: u64) -> String {
    let annotations = format!(
        "tradewind.io/adopted: {HOST}, tradewind.io/identity: payments, tradewind.io/environment: stage, \
         tradewind.io/sync-namespace: admiral-sync"
    );
    entry(namespace, &annotations, version)
        .replace("  annotations:", "  labels: {app.kubernetes.io/managed-by: tradewind}\n  annotations:")
}

const ADOPT: &str = "tradewind.io/adopt: \"true\"";
const KEEP: &str = "tradewind.io/adopt: \"false\"";

/// Namespace, name and address of the entry for the host in each cluster.
fn entries(objects: &Objects) -> Vec<String> {
    let entries = objects.iter().filter_map(|((cluster, id), object)| match object {
        Object::ServiceEntry(entry) => {
            Some(format!("{cluster} {}/{} {}", id.namespace, id.name, entry.spec.addresses.concat()))
        }
        _ => None,
    });
    entries.collect()
}

fn own(cluster: u8, address: &str) -> String {
    format!("cluster-{cluster} admiral-sync/{HOST}-se {address}")
}

fn in_the_way(world: &World) -> Option<String> {
    let wanted = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{HOST}-se"));
    let found = world.registry.outputs().entry_in_the_way(&cluster("cluster-1"), &wanted, HOST);
    found.map(|id| format!("{}/{}", id.namespace, id.name))
}

fn has_own(world: &World) -> bool {
    let own = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{HOST}-se"));
    world.registry.outputs().written(&cluster("cluster-1"), &own).is_some()
}

#[test]
fn an_entry_is_adopted_on_request_with_its_address() {
    let settings = Settings::default();
    let mut world = running(&settings, &payments());
    let given = entries(&world.picture().objects);
    apply(&mut world, "cluster-1", &entry("admiral-sync", "", 1));
    assert_eq!(entries(&world.wanted()), given, "nobody handed it over");

    apply(&mut world, "cluster-1", &entry("admiral-sync", ADOPT, 2));
    let adopted = [format!("cluster-1 admiral-sync/by-hand {BY_HAND}"), own(2, BY_HAND), own(3, BY_HAND)]
        .map(|of| of.to_string());
    assert_eq!(entries(&world.wanted()), adopted);
    assert!(has_own(&world));
    assert!(world.write_back() > 0);
    world.settle();
    assert!(!has_own(&world), "its own went when the other had taken its place");
    assert_eq!((world.write_back(), entries(&world.wanted())), (0, adopted.to_vec()));

    // A restart finds it as it is.
    let before = world.picture();
    let mut again = restarted(&settings, &payments(), &before.objects, "", &[]);
    assert_eq!(again.picture(), before);
    assert_eq!(again.write_back(), 0);

    // It is deleted: Tradewind's own comes in its place, with the same address.
    delete(&mut world, "cluster-1", &entry("admiral-sync", "", 9));
    assert_eq!(entries(&world.wanted()), [own(1, BY_HAND), own(2, BY_HAND), own(3, BY_HAND)]);
}

#[test]
fn what_its_owner_takes_back_keeps_the_host_in_its_cluster_until_it_goes() {
    for namespace in ["admiral-sync", "legacy"] {
        let mut world = running(&Settings::default(), &payments());
        apply(&mut world, "cluster-1", &entry(namespace, ADOPT, 1));
        world.write_back();
        world.settle();
        assert_eq!(in_the_way(&world), None);
        assert!(!has_own(&world));

        apply(&mut world, "cluster-1", &recalled(namespace, 5_000));
        assert_eq!(in_the_way(&world), Some(format!("{namespace}/by-hand")));
        assert_eq!(entries(&world.wanted())[1..], [own(2, BY_HAND), own(3, BY_HAND)], "the address stays");
        apply(&mut world, "cluster-1", &entry(namespace, KEEP, 6_000));
        assert_eq!(in_the_way(&world), Some(format!("{namespace}/by-hand")));
        assert_eq!(entries(&world.wanted())[1..], [own(2, BY_HAND), own(3, BY_HAND)]);

        // It is handed over again.
        apply(&mut world, "cluster-1", &entry(namespace, ADOPT, 7_000));
        assert_eq!(entries(&world.wanted())[0], format!("cluster-1 {namespace}/by-hand {BY_HAND}"));
        apply(&mut world, "cluster-1", &entry(namespace, KEEP, 8_000));
        let mut served = world.registry.take_dirty();
        assert!(served.is_empty(), "all that it changes was planned: {served:?}");
        delete(&mut world, "cluster-1", &entry(namespace, "", 9_000));
        served = world.registry.take_dirty();
        assert!(served.is_empty() && in_the_way(&world).is_none());
        assert_eq!(entries(&world.wanted()), [own(1, BY_HAND), own(2, BY_HAND), own(3, BY_HAND)]);
    }
}

#[test]
fn an_entry_of_another_namespace_is_seen_by_clients_with_sidecars_wherever_it_is() {
    let settings = Settings { sidecars: Sidecars::Own, ..Settings::default() };
    let mut world = running(&settings, &payments());
    let imports = |world: &World| -> Vec<String> {
        let id = ObjectId::new(Kind::Sidecar, "orders", "default");
        match world.wanted().get(&(cluster("cluster-1"), id)) {
            Some(Object::Sidecar(sidecar)) => {
                let hosts = sidecar.spec.egress.iter().flat_map(|egress| egress.hosts.clone());
                hosts.filter(|host| host.ends_with(HOST)).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    let (own, elsewhere) = (format!("admiral-sync/{HOST}"), format!("legacy/{HOST}"));
    assert_eq!(imports(&world), std::slice::from_ref(&own));
    apply(&mut world, "cluster-1", &entry("legacy", ADOPT, 1));
    assert_eq!(imports(&world), [own.clone(), elsewhere.clone()]);
    world.write_back();
    world.settle();
    apply(&mut world, "cluster-1", &recalled("legacy", 5_000));
    assert_eq!(imports(&world), [own.clone(), elsewhere.clone()]);
    apply(&mut world, "cluster-1", &entry("legacy", KEEP, 6_000));
    assert_eq!(imports(&world), [own.clone(), elsewhere], "it serves its clients as before");
    delete(&mut world, "cluster-1", &entry("legacy", "", 7_000));
    assert_eq!(imports(&world), [own]);
}

#[test]
fn a_handed_over_object_without_a_host_has_a_note_until_there_is_one() {
    let mut fleet = payments();
    for name in ["cluster-2", "cluster-3"] {
        let place = fleet.get_mut(&cluster(name)).expect("a cluster");
        *place = place.replace(&runs("payments"), "");
    }
    let mut world = running(&Settings::default(), &fleet);
    apply(&mut world, "cluster-1", &entry("admiral-sync", ADOPT, 1));
    assert!(has_note(&world.picture(), NoteKind::NotAdopted));
    assert!(entries(&world.wanted()).is_empty());
    apply(&mut world, "cluster-2", &runs("payments"));
    assert!(!has_note(&world.picture(), NoteKind::NotAdopted), "{:?}", world.picture().notes);
    assert_eq!(entries(&world.wanted())[0], format!("cluster-1 admiral-sync/by-hand {BY_HAND}"));
    delete(&mut world, "cluster-2", &runs("payments"));
    assert!(has_note(&world.picture(), NoteKind::NotAdopted));
    // Its owner keeps it: there is nothing more to tell.
    apply(&mut world, "cluster-1", &entry("admiral-sync", KEEP, 2));
    assert!(!has_note(&world.picture(), NoteKind::NotAdopted), "{:?}", world.picture().notes);
}

#[test]
fn an_entry_that_was_a_machine_or_a_rule_that_was_a_users_route_is_neither_once_it_is_handed_over() {
    let mut world = running(&Settings::default(), &payments());
    let machine = |annotations: &str| {
        entry("legacy", annotations, 1)
            .replace("  annotations:", "  labels: {identity: payments, env: stage}\n  annotations:")
            .replace("location", "ports: [{number: 80, name: http, protocol: HTTP}]\n  location")
    };
    apply(&mut world, "cluster-1", &machine(""));
    let local = addresses(&world.wanted(), "cluster-1", HOST).expect("the host is there");
    assert!(local.contains(&"198.51.100.7".to_owned()), "{local:?}");
    apply(&mut world, "cluster-1", &machine(ADOPT));
    assert_eq!(entries(&world.wanted())[0], format!("cluster-1 legacy/by-hand {BY_HAND}"));
    assert!(
        !world
            .registry
            .inputs()
            .service(&key("payments", "stage"))
            .expect("it runs")
            .sources
            .iter()
            .any(|source| { source.cluster == cluster("cluster-1") })
    );
    apply(&mut world, "cluster-1", &machine(""));
    let local = addresses(&world.wanted(), "cluster-1", HOST).expect("the host is there");
    assert!(local.contains(&"198.51.100.7".to_owned()), "and back: {local:?}");

    let rule = |annotations: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: by-hand, namespace: legacy, annotations: {{{annotations}}}}}
spec: {{host: {HOST}}}
---
"
        )
    };
    apply(&mut world, "cluster-2", &rule(""));
    assert!(has_note(&world.picture(), NoteKind::RouteNotCopied), "{:?}", world.picture().notes);
    apply(&mut world, "cluster-2", &rule(ADOPT));
    assert!(!has_note(&world.picture(), NoteKind::RouteNotCopied), "{:?}", world.picture().notes);
    apply(&mut world, "cluster-2", &rule(""));
    assert!(has_note(&world.picture(), NoteKind::RouteNotCopied), "{:?}", world.picture().notes);
}
