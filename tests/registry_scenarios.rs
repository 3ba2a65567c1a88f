//! The fleet in motion: restarts, partitions, late clusters, lost gateways, changed marks. No cluster, no clock.

#[path = "registry_scenarios/adoption.rs"]
mod adoption;
#[path = "registry_scenarios/claims.rs"]
mod claims;
#[path = "registry_scenarios/host_claims.rs"]
mod host_claims;
#[path = "registry_scenarios/host_overrides.rs"]
mod host_overrides;
#[path = "registry_scenarios/injection.rs"]
mod injection;
#[path = "registry_scenarios/istio_namespaces.rs"]
mod istio_namespaces;
#[path = "registry_scenarios/order.rs"]
mod order;
#[path = "registry_scenarios/outage.rs"]
mod outage;
#[path = "registry_scenarios/place.rs"]
mod place;
mod planning;
#[path = "registry_scenarios/pods.rs"]
mod pods;
#[path = "registry_scenarios/remembered.rs"]
mod remembered;
#[path = "registry_scenarios/remotes.rs"]
mod remotes;
#[path = "registry_scenarios/routing.rs"]
mod routing;
#[path = "registry_scenarios/scaling.rs"]
mod scaling;
#[path = "registry_scenarios/triggers.rs"]
mod triggers;

use std::collections::BTreeMap;

use futures::FutureExt as _;
use planning::{Objects, Picture, World, cluster, key, manifests};
use tradewind::{
    config::{Settings, SidecarInjection, Sidecars, WithoutDependency},
    istio::Object,
    model::{ClusterName, DependencyFault, Kind, NoteKind, ObjectId, Observed, ServiceKey, WorkKey},
};

const REASON: &str = "connection refused";

/// The manifests of each cluster.
type Manifests = BTreeMap<ClusterName, String>;

fn node(region: &str) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata: {{name: node, labels: {{topology.kubernetes.io/region: {region}}}}}
---
"
    )
}

fn gateway(address: &str) -> String {
    let ingress = if address.is_empty() { String::new() } else { format!("{{ip: {address}}}") };
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: gateway, namespace: istio-system, labels: {{app: istio-ingressgateway}}}}
spec: {{ports: [{{name: tls, port: 15443}}]}}
status: {{loadBalancer: {{ingress: [{ingress}]}}}}
---
"
    )
}

/// A workload named by its identity, in the namespace of that name.
fn workload(kind: &str, identity: &str, environment: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata: {{name: {identity}, namespace: {identity}}}
spec:
  selector: {{}}
  template:
    metadata:
      labels: {{app: {identity}, identity: {identity}, env: {environment}}}
      annotations: {{sidecar.istio.io/inject: \"true\"}}
---
"
    )
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8080}}, {{name: tcp-admin, port: 9000}}]}}
---
"
    )
}

fn runs(identity: &str) -> String {
    workload("Deployment", identity, "stage") + &service(identity)
}

fn policy(first: &str, then: &str) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: GlobalTrafficPolicy
metadata: {{name: payments, namespace: payments, labels: {{identity: payments, env: stage}}}}
spec:
  policy:
  - {{dnsPrefix: default, lbType: 1, target: [{{region: {first}, weight: 100}}, {{region: {then}, weight: 0}}]}}
  - {{dnsPrefix: west, lbType: 1, target: [{{region: us-west, weight: 100}}]}}
---
"
    )
}

fn dependency(source: &str, destination: &str) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: Dependency
metadata: {{name: {source}, namespace: admiral}}
spec: {{source: {source}, destinations: [{destination}]}}
---
"
    )
}

/// Orders calls payments; payments runs in cluster-2 and cluster-3.
fn payments() -> Manifests {
    let place = |region: &str, last: u8| node(region) + &gateway(&format!("192.0.2.{last}"));
    [
        (
            cluster("cluster-1"),
            place("us-west", 1) + &workload("Deployment", "orders", "stage") + &dependency("orders", "payments"),
        ),
        (cluster("cluster-2"), place("us-west", 2) + &runs("payments")),
        (cluster("cluster-3"), place("us-east", 3) + &runs("payments")),
    ]
    .into()
}

fn with(mut fleet: Manifests, name: &str, more: &str) -> Manifests {
    fleet.entry(cluster(name)).or_default().push_str(more);
    fleet
}

fn kinds(world: &World) -> Vec<Kind> {
    world.registry.settings().watched_kinds().into_iter().chain(Kind::OF_HUB.iter().copied()).collect()
}

/// Lists one cluster with its manifests and what was written into it.
fn list(world: &World, name: &ClusterName, text: &str, written: &Objects, unreadable: &[Kind]) {
    world.registry.register(name);
    let mut objects = manifests(&world.observer, text);
    objects.extend(written.iter().filter(|((of, _), _)| of == name).map(|(_, object)| world.stored(object)));
    for kind in kinds(world) {
        if unreadable.contains(&kind) {
            world.registry.unreadable(name, kind, REASON, 7);
        } else {
            let of_kind = objects.iter().filter(|object| object.id().kind == kind).cloned().collect();
            world.registry.reset(name, kind, of_kind);
        }
    }
}

fn settled(mut world: World) -> World {
    world.registry.fleet_listed();
    world.settle();
    world
}

/// A fleet that was read from nothing and written.
fn running(settings: &Settings, fleet: &Manifests) -> World {
    let world = World::new(settings.clone());
    for (name, text) in fleet {
        list(&world, name, text, &Objects::new(), &[]);
    }
    let mut world = settled(world);
    world.write_back();
    world.settle();
    world
}

/// The same fleet after a restart in which some kinds of `cut_off` cannot be read.
fn restarted(settings: &Settings, fleet: &Manifests, written: &Objects, cut_off: &str, unreadable: &[Kind]) -> World {
    let world = World::new(settings.clone());
    for (name, text) in fleet {
        let unreadable = if name.as_str() == cut_off { unreadable } else { &[] };
        list(&world, name, text, written, unreadable);
    }
    settled(world)
}

fn apply(world: &mut World, name: &str, text: &str) {
    for object in manifests(&world.observer, text) {
        world.registry.apply(&cluster(name), object);
    }
    world.settle();
}

fn delete(world: &mut World, name: &str, text: &str) {
    for object in manifests(&world.observer, text) {
        world.registry.delete(&cluster(name), object.id());
    }
    world.settle();
}

/// A cluster cannot be read any more.
fn lose(world: &mut World, name: &str) {
    for kind in everything() {
        world.registry.unreadable(&cluster(name), kind, REASON, 7);
    }
    world.settle();
}

fn in_clusters(objects: &Objects, names: &[&str]) -> Objects {
    objects
        .iter()
        .filter(|((name, _), _)| names.contains(&name.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// The endpoint addresses of a host in a cluster; `None` where the host is not there.
fn addresses(objects: &Objects, name: &str, host: &str) -> Option<Vec<String>> {
    let id = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{host}-se"));
    match objects.get(&(cluster(name), id))? {
        Object::ServiceEntry(entry) => Some(entry.spec.endpoints.iter().map(|e| e.address.clone()).collect()),
        other => panic!("{other:?}"),
    }
}

/// Nobody runs what a Dependency names.
const UNSERVED: NoteKind = NoteKind::DependencyQuestionable(DependencyFault::Destination);

/// Whether there is a note of the same code.
fn has_note(picture: &Picture, kind: NoteKind) -> bool {
    picture.notes.iter().any(|note| note.kind.code() == kind.code())
}

fn everything() -> Vec<Kind> {
    Kind::ALL.to_vec()
}

const HOST: &str = "stage.payments.global";

// Invariant: Nothing is planned before the whole fleet was listed, written before its cluster is known, or removed
// before all of the cluster is known.
#[test]
fn nothing_is_planned_before_the_whole_fleet_was_listed() {
    let fleet = payments();
    let mut world = World::new(Settings::default());
    let payments = key("payments", "stage");
    for (name, text) in &fleet {
        assert!(world.registry.take_dirty().is_empty() && world.registry.inputs().service(&payments).is_none());
        list(&world, name, text, &Objects::new(), &[]);
    }
    assert!(world.registry.ready().unwrap_err().to_string().contains("have not been listed"));
    let late = cluster("cluster-4");
    world.registry.register(&late);
    world.registry.fleet_listed();
    assert!(world.registry.ready().unwrap_err().to_string().contains("cluster-4"));
    assert!(world.registry.take_dirty().is_empty() && world.registry.inputs().service(&payments).is_none());
    for kind in kinds(&world) {
        world.registry.unreadable(&late, kind, REASON, 7);
    }
    assert_eq!(world.registry.ready(), Ok(()), "a cluster that cannot be read does not hold up the others");
    world.settle();
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.3"]);
}

// Invariant: Nothing is planned before the whole fleet was listed, written before its cluster is known, or removed
// before all of the cluster is known.
#[test]
fn unreadable_dependencies_hold_up_the_first_plan() {
    let world = World::new(Settings::default());
    let hub = ClusterName::hub();
    world.registry.register_hub(&hub);
    world.registry.fleet_listed();
    world.registry.unreadable(&hub, Kind::Dependency, REASON, 7);
    assert!(world.registry.ready().unwrap_err().to_string().contains("Dependency"));
    for kind in Kind::OF_HUB {
        world.registry.reset(&hub, *kind, Vec::new());
    }
    assert_eq!(world.registry.ready(), Ok(()));
}

// Invariant: A restart changes nothing, and changes missed while the controller was down are applied.
#[test]
fn a_restart_changes_nothing() {
    let settings = Settings { sidecars: Sidecars::Own, ..Settings::default() };
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let before = running(&settings, &fleet).picture();
    let mut world = restarted(&settings, &fleet, &before.objects, "", &[]);
    assert_eq!(world.picture(), before);
    assert_eq!(world.write_back(), 0);
}

// Invariant: A restart changes nothing, and changes missed while the controller was down are applied.
#[test]
fn a_cluster_that_cannot_be_read_after_a_restart_keeps_its_endpoints() {
    let (settings, fleet) = (Settings::default(), payments());
    let before = running(&settings, &fleet).picture();
    let mut world = restarted(&settings, &fleet, &before.objects, "cluster-3", &everything());
    let readable = ["cluster-1", "cluster-2"];
    assert_eq!(in_clusters(&world.picture().objects, &readable), in_clusters(&before.objects, &readable));
    assert_eq!(world.write_back(), 0);
    assert!(has_note(&world.picture(), NoteKind::ClusterUnreachable));

    apply(&mut world, "cluster-2", &gateway("192.0.2.22"));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.22", "192.0.2.3"]);
    assert!(world.write_back() > 0);
    world.settle();

    // Back, and without payments: now its endpoint may go.
    let name = cluster("cluster-3");
    let text = node("us-east") + &gateway("192.0.2.3");
    list(&world, &name, &text, &before.objects, &[]);
    world.settle();
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.22"]);
    assert!(!has_note(&world.picture(), NoteKind::ClusterUnreachable));
}

// Invariant: A policy that cannot be read remains in force.
#[test]
fn a_policy_that_cannot_be_read_after_a_restart_leaves_its_service_as_it_is() {
    let settings = Settings { sidecars: Sidecars::Own, ..Settings::default() };
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let before = running(&settings, &fleet).picture();
    let mut world = restarted(&settings, &fleet, &before.objects, "cluster-3", &everything());
    let payments = key("payments", "stage");
    assert!(planning::plan_service(&world.registry, &payments).unwrap().decision.frozen);
    assert_eq!(world.write_back(), 0, "neither the service nor the Sidecars of its clients change");
    apply(&mut world, "cluster-2", &gateway("192.0.2.22"));
    assert_eq!(world.write_back(), 0);
    assert!(has_note(&world.picture(), NoteKind::PolicyUnreadable));

    list(&world, &cluster("cluster-3"), &fleet[&cluster("cluster-3")], &before.objects, &[]);
    world.settle();
    assert!(!has_note(&world.picture(), NoteKind::PolicyUnreadable));
    assert!(addresses(&world.wanted(), "cluster-1", HOST).unwrap().contains(&"192.0.2.22".to_owned()));
}

// Invariant: Nothing is removed because a cluster could not be read.
#[test]
fn one_kind_that_cannot_be_read_keeps_its_endpoints_everywhere() {
    let settings = Settings::default();
    let stateful = workload("StatefulSet", "payments", "stage") + &service("payments") + &policy("us-east", "us-west");
    let fleet = with(payments(), "cluster-4", &(node("us-east") + &gateway("192.0.2.4") + &stateful));
    let before = running(&settings, &fleet).picture();
    assert!(addresses(&before.objects, "cluster-4", HOST).unwrap().iter().any(|a| a.contains("svc.cluster.local")));

    let mut world = restarted(&settings, &fleet, &before.objects, "cluster-4", &[Kind::StatefulSet]);
    let picture = world.picture();
    assert_eq!(picture.objects, before.objects, "its own local endpoint and the policy beside it included");
    assert_eq!(world.write_back(), 0);
    assert!(has_note(&picture, NoteKind::KindUnreadable));

    // Its gateway is known, and so is that it goes.
    delete(&mut world, "cluster-4", &gateway("192.0.2.4"));
    let now = world.wanted();
    assert_eq!(addresses(&now, "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.3"]);
    assert!(addresses(&now, "cluster-4", HOST).unwrap().iter().any(|a| a.contains("svc.cluster.local")));
}

// Invariant: Nothing is removed because a cluster could not be read.
#[test]
fn a_cluster_that_is_lost_while_running_stays_as_it_was() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    lose(&mut world, "cluster-3");
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.write_back(), 0);
    for kind in everything() {
        world.registry.readable(&cluster("cluster-3"), kind);
    }
    world.settle();
    assert_eq!(world.picture(), before);
}

#[test]
fn a_cluster_joins_late_and_counts_once_it_is_wholly_known() {
    let settings = Settings::default();
    let all = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut first = all.clone();
    let text = first.remove(&cluster("cluster-3")).unwrap();
    let mut world = running(&settings, &first);
    let before = world.picture();

    let late = cluster("cluster-3");
    world.registry.register(&late);
    let objects = manifests(&world.observer, &text);
    for kind in world.registry.settings().watched_kinds() {
        assert_eq!(world.picture().objects, before.objects, "before {kind:?} is listed");
        let of_kind = objects.iter().filter(|object| object.id().kind == kind).cloned().collect();
        world.registry.reset(&late, kind, of_kind);
        world.settle();
    }
    assert_eq!(world.picture(), running(&settings, &all).picture());
    assert_eq!(world.wanted(), world.picture().objects);
}

#[test]
fn a_cluster_that_leaves_takes_its_endpoints_along() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-1", &dependency("reports", "payments"));
    let mut world = running(&settings, &fleet);
    world.leave(&cluster("cluster-3"));
    world.settle();
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
    assert_eq!(addresses(&world.wanted(), "cluster-3", HOST), None);
    // With the Dependencies of the hub gone, payments is for everybody.
    world.leave(&cluster("cluster-1"));
    world.settle();
    assert!(!world.registry.inputs().service(&key("payments", "stage")).unwrap().declared);
    assert!(!has_note(&world.picture(), UNSERVED));
}

#[test]
fn a_gateway_without_address_is_used_as_last_known_and_a_deleted_one_is_not() {
    let mut world = running(&Settings::default(), &payments());
    let before = world.picture();
    apply(&mut world, "cluster-3", &gateway(""));
    assert_eq!(world.picture().objects, before.objects);
    let said = |world: &World| -> Vec<String> {
        let notes = world.picture().notes.into_iter().filter(|note| note.kind == NoteKind::GatewayMissing);
        notes.map(|note| note.message).collect()
    };
    assert!(said(&world)[0].contains("last known address 192.0.2.3 stays in use"), "{:?}", said(&world));
    delete(&mut world, "cluster-3", &gateway(""));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
    assert!(said(&world)[0].contains("none has the label"), "{:?}", said(&world));
    apply(&mut world, "cluster-3", &gateway(""));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"], "the old address is not revived");
    apply(&mut world, "cluster-3", &gateway("192.0.2.33"));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.33"]);
    assert!(said(&world).is_empty());
}

#[test]
fn a_malformed_object_keeps_its_last_good_form() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    let id = ObjectId::new(Kind::GlobalTrafficPolicy, "payments", "payments");
    world.registry.malformed(&cluster("cluster-3"), id, "spec: is missing");
    world.settle();
    assert_eq!(world.picture().objects, before.objects);
    assert!(has_note(&world.picture(), NoteKind::ObjectMalformed));
    apply(&mut world, "cluster-3", &policy("us-west", "us-east"));
    assert_ne!(world.picture().objects, before.objects);
    assert!(!has_note(&world.picture(), NoteKind::ObjectMalformed));
}

#[test]
fn a_changed_identity_or_environment_withdraws_the_old_service_and_publishes_the_new() {
    let mut world = running(&Settings::default(), &payments());
    let changed = workload("Deployment", "payments", "prod");
    apply(&mut world, "cluster-2", &changed);
    apply(&mut world, "cluster-3", &changed);
    let now = world.wanted();
    assert_eq!(addresses(&now, "cluster-1", HOST), None);
    assert_eq!(addresses(&now, "cluster-1", "prod.payments.global").unwrap(), ["192.0.2.2", "192.0.2.3"]);

    let renamed = changed.replace("identity: payments", "identity: billing");
    apply(&mut world, "cluster-2", &renamed);
    let now = world.wanted();
    assert_eq!(addresses(&now, "cluster-1", "prod.payments.global").unwrap(), ["192.0.2.3"]);
    assert!(addresses(&now, "cluster-1", "prod.billing.global").is_some());
    world.write_back();
    world.settle();
    assert_eq!(world.write_back(), 0);
    let stands =
        world.registry.outputs().owned(&cluster("cluster-1")).iter().any(|w| w.id.name.starts_with("stage.payments"));
    assert!(!stands, "what stood for the old service is gone");
}

#[test]
fn ignore_marks_come_and_go() {
    let mut world = running(&Settings::default(), &payments());
    let before = world.picture();
    let plain = workload("Deployment", "payments", "stage");
    let marks = [
        plain.replace("namespace: payments}", "namespace: payments, annotations: {admiral.io/ignore: \"true\"}}"),
        plain.replace("env: stage", "env: stage, admiral-ignore: \"true\""),
        plain.replace("inject: \"true\"", "inject: \"false\""),
    ];
    for marked in marks {
        assert_ne!(marked, plain);
        apply(&mut world, "cluster-3", &marked);
        assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
        apply(&mut world, "cluster-3", &plain);
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn an_ignored_namespace_hides_its_workloads_until_they_are_gone() {
    let mut world = running(&Settings::default(), &payments());
    let namespace = |ignored: bool| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: payments, annotations: {{admiral.io/ignore: \"{ignored}\"}}}}\n"
        )
    };
    let before = world.picture();
    apply(&mut world, "cluster-3", &namespace(true));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
    apply(&mut world, "cluster-3", &namespace(false));
    assert_eq!(world.picture(), before);
    // Deleted: its workloads may be told of after it.
    apply(&mut world, "cluster-3", &namespace(true));
    delete(&mut world, "cluster-3", &namespace(true));
    apply(
        &mut world,
        "cluster-3",
        &workload("Deployment", "payments", "stage").replace("env: stage", "env: stage, revision: two"),
    );
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2"]);
    apply(&mut world, "cluster-3", &namespace(false));
    assert_eq!(addresses(&world.wanted(), "cluster-1", HOST).unwrap(), ["192.0.2.2", "192.0.2.3"]);
}

#[test]
fn a_dependency_that_goes_takes_exactly_what_it_brought() {
    let settings =
        Settings { without_dependency: WithoutDependency::None, sidecars: Sidecars::Own, ..Settings::default() };
    let mut world = running(&settings, &payments());
    let sidecars = |world: &World| {
        let sidecar = |(_, id): &&(ClusterName, ObjectId)| id.kind == Kind::Sidecar;
        world.wanted().keys().filter(sidecar).count()
    };
    assert_eq!(sidecars(&world), 1);
    delete(&mut world, "cluster-1", &dependency("orders", "payments"));
    assert_eq!(sidecars(&world), 0);
    assert_eq!(in_clusters(&world.wanted(), &["cluster-1"]), Objects::new());
    assert_eq!(addresses(&world.wanted(), "cluster-2", HOST).unwrap().len(), 2, "the sources keep theirs");
    world.write_back();
    assert!(world.registry.outputs().owned(&cluster("cluster-1")).is_empty());
}

#[test]
fn a_dependency_on_an_unknown_identity_has_a_note_while_it_exists() {
    let mut world = running(&Settings::default(), &payments());
    assert!(world.registry.take_dirty().is_empty());
    let _ = world.registry.queue().changed().now_or_never();
    let text = dependency("reports", "nowhere");
    for object in manifests(&world.observer, &text) {
        world.registry.apply(&cluster("cluster-1"), object);
    }
    assert!(world.registry.queue().changed().now_or_never().is_some(), "planning is woken");
    world.settle();
    assert!(has_note(&world.picture(), UNSERVED));
    delete(&mut world, "cluster-1", &text);
    assert!(!has_note(&world.picture(), UNSERVED));
    apply(&mut world, "cluster-1", &text);
    apply(&mut world, "cluster-2", &runs("nowhere"));
    assert!(!has_note(&world.picture(), UNSERVED));
}

#[test]
fn a_client_is_no_destination_until_a_workload_of_its_identity_runs() {
    let mut world = running(&Settings::default(), &payments());
    let job = workload("Job", "batches", "stage").replace("apps/v1", "batch/v1");
    apply(&mut world, "cluster-2", &job);
    apply(&mut world, "cluster-1", &dependency("reports", "batches"));
    assert!(has_note(&world.picture(), UNSERVED));
    apply(&mut world, "cluster-2", &runs("batches"));
    assert!(!has_note(&world.picture(), UNSERVED));
    delete(&mut world, "cluster-2", &runs("batches"));
    assert!(has_note(&world.picture(), UNSERVED));
}

// Invariant: An event marks the units that it can affect, and no others.
#[test]
fn an_event_marks_what_it_changes_and_nothing_else() {
    let fleet = with(payments(), "cluster-2", &(runs("greeting") + &runs("reports")));
    let world = running(&Settings::default(), &fleet);
    let dirty_after = |text: &str| -> Vec<WorkKey> {
        for object in manifests(&world.observer, text) {
            world.registry.apply(&cluster("cluster-2"), object);
        }
        world.registry.take_dirty().into_iter().collect()
    };
    let services = |identities: &[&str]| -> Vec<WorkKey> {
        identities.iter().map(|identity| WorkKey::Service(key(identity, "stage"))).collect()
    };
    assert_eq!(dirty_after(&runs("greeting")), [], "nothing new");
    let other_port = runs("greeting").replace("8080", "8081");
    assert_eq!(dirty_after(&other_port), services(&["greeting"]));
    assert_eq!(
        dirty_after(&gateway("192.0.2.22")),
        services(&["greeting", "payments", "reports"]),
        "those that run there"
    );
    let annotated = gateway("192.0.2.22").replace("name: gateway,", "name: gateway, annotations: {checked: today},");
    assert_ne!(annotated, gateway("192.0.2.22"));
    assert_eq!(dirty_after(&annotated), [], "it is reached as before");
    // Orders publishes nothing, but nobody declares to call it: it would go to every cluster.
    assert_eq!(dirty_after(&node("eu-west")), services(&["greeting", "orders", "payments", "reports"]));
    assert_eq!(dirty_after(&policy("us-east", "us-west")), services(&["payments"]));
}

#[test]
fn an_event_that_is_older_than_the_servers_answer_changes_nothing() {
    let mut world = running(&Settings::default(), &payments());
    let old: Vec<Observed> = world.wanted().values().map(|object| world.stored(object)).collect();
    let names: Vec<ClusterName> = world.wanted().keys().map(|(name, _)| name.clone()).collect();
    apply(&mut world, "cluster-3", &gateway("192.0.2.33"));
    assert!(world.write_back() > 0);
    world.settle();
    for (name, object) in names.iter().zip(old) {
        world.registry.apply(name, object);
    }
    world.settle();
    assert_eq!(world.write_back(), 0);
}

// Invariant: An address outlives a restart and ends with its host.
#[test]
fn addresses_outlive_a_restart_and_end_with_their_host() {
    let settings = Settings::default();
    let address = |world: &World| {
        let service: ServiceKey = key("payments", "stage");
        let plan = planning::plan_service(&world.registry, &service)?;
        plan.clusters.first()?.hosts[0].service_entry.spec.addresses.first().cloned()
    };
    let fleet = payments();
    let first = running(&settings, &fleet);
    let written = first.picture().objects;
    let moved: Objects = written
        .into_iter()
        .map(|(at, mut object)| {
            if let Object::ServiceEntry(entry) = &mut object {
                entry.spec.addresses = vec!["240.0.77.7".into()];
            }
            (at, object)
        })
        .collect();
    let mut world = restarted(&settings, &fleet, &moved, "", &[]);
    assert_eq!(address(&world).as_deref(), Some("240.0.77.7"));
    for name in ["cluster-2", "cluster-3"] {
        delete(&mut world, name, &runs("payments"));
    }
    assert!(world.write_back() > 0);
    world.settle();
    assert_eq!(world.registry.queries().services(), [key("orders", "stage")]);
    apply(&mut world, "cluster-2", &runs("payments"));
    assert_eq!(address(&world).as_deref(), Some("240.0.77.7"), "a host that comes back gets its own address");
}

#[test]
fn two_hosts_with_one_address_are_separated_with_a_note_until_they_are_rewritten() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-2", &runs("greeting"));
    let mut written = running(&settings, &fleet).picture().objects;
    for object in written.values_mut() {
        if let Object::ServiceEntry(entry) = object {
            entry.spec.addresses = vec!["240.0.77.7".into()];
        }
    }
    let mut world = restarted(&settings, &fleet, &written, "", &[]);
    assert!(has_note(&world.picture(), NoteKind::AddressConflict));
    assert!(world.write_back() > 0);
    world.settle();
    planning::assert_sound(&world.wanted());
    assert!(!has_note(&world.picture(), NoteKind::AddressConflict));
    assert_eq!(world.write_back(), 0);
}

#[test]
fn a_cluster_that_is_registered_again_freezes_its_policys_service_until_it_is_read() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    let name = cluster("cluster-3");
    world.leave(&name);
    // Nothing was written yet when it comes back, kind by kind.
    world.registry.register(&name);
    let objects = manifests(&world.observer, &fleet[&name]);
    for kind in [Kind::GlobalTrafficPolicy, Kind::Service, Kind::Deployment] {
        let of_kind = objects.iter().filter(|object| object.id().kind == kind).cloned().collect();
        world.registry.reset(&name, kind, of_kind);
        world.settle();
        assert!(planning::plan_service(&world.registry, &key("payments", "stage")).unwrap().decision.frozen);
        assert_eq!(world.write_back(), 0);
    }
    list(&world, &name, &fleet[&name], &before.objects, &[]);
    world.settle();
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.write_back(), 0);
}

// ---- routes that users made ----

fn route(attempts: u8) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: payments, namespace: payments, labels: {{team: pay}}}}
spec: {{hosts: [{HOST}], http: [{{retries: {{attempts: {attempts}}}, route: [{{destination: {{host: payments}}}}]}}]}}
---
"
    )
}

/// The retries of what is wanted of a host's VirtualService, by cluster.
fn copies(objects: &Objects) -> BTreeMap<String, u64> {
    let spec = |object: &Object| match object {
        Object::VirtualService(copy) => {
            copy.spec.pointer("/http/0/retries/attempts").and_then(serde_json::Value::as_u64)
        }
        _ => None,
    };
    objects.iter().filter_map(|((name, _), object)| Some((name.to_string(), spec(object)?))).collect()
}

/// The clusters in which a copy stands.
fn written_copies(world: &World) -> Vec<String> {
    let unit = WorkKey::Host(HOST.into());
    let names = world.registry.queries().cluster_names().into_iter();
    names
        .filter(|name| !world.registry.outputs().written_of(name, &unit).is_empty())
        .map(|name| name.to_string())
        .collect()
}

fn attempts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, attempts)| ((*name).to_owned(), *attempts)).collect()
}

#[test]
fn an_edit_of_a_route_changes_its_copies_and_nothing_else() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
    apply(&mut world, "cluster-2", &route(2));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 2), ("cluster-3", 2)]));
    assert_eq!(world.write_back(), 2, "one write per copy");
    apply(&mut world, "cluster-2", &route(2));
    assert!(world.registry.take_dirty().is_empty(), "the same again is nothing new");
    delete(&mut world, "cluster-2", &route(2));
    assert_eq!(world.write_back(), 2);
    assert_eq!(written_copies(&world), Vec::<String>::new());
}

#[test]
fn a_restart_repeats_no_copy_and_takes_away_those_whose_origin_went_meanwhile() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-2", &route(1));
    let written = running(&settings, &fleet).wanted();
    let mut again = restarted(&settings, &fleet, &written, "", &[]);
    assert_eq!(again.write_back(), 0);
    let mut gone = restarted(&settings, &payments(), &written, "", &[]);
    assert_eq!(copies(&gone.wanted()), attempts(&[]));
    assert_eq!(gone.write_back(), 2);
}

// Invariant: Copies of users' routes are written once per change, and outlive a restart without their origin.
#[test]
fn copies_of_a_route_that_cannot_be_read_after_a_restart_stay_and_follow_when_it_can() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-2", &route(1));
    let written = running(&settings, &fleet).wanted();
    for unreadable in [everything(), vec![Kind::VirtualService]] {
        let mut world = restarted(&settings, &fleet, &written, "cluster-2", &unreadable);
        assert_eq!(world.write_back(), 0, "{unreadable:?}");
        assert_eq!(written_copies(&world), ["cluster-1", "cluster-3"]);
        assert!(has_note(&world.picture(), NoteKind::RouteUnreadable));
        // Another route for the host does not take their place meanwhile.
        apply(&mut world, "cluster-3", &route(3).replace("namespace: payments", "namespace: other"));
        assert_eq!(copies(&world.wanted()), attempts(&[]), "left as they are");
        delete(&mut world, "cluster-3", &route(3).replace("namespace: payments", "namespace: other"));
        // It is heard again, and the route has gone.
        list(&world, &cluster("cluster-2"), &payments()[&cluster("cluster-2")], &written, &[]);
        world.settle();
        assert_eq!(world.write_back(), 2);
        assert_eq!(written_copies(&world), Vec::<String>::new());
        assert!(!has_note(&world.picture(), NoteKind::RouteUnreadable));
    }
}

#[test]
fn copies_remain_while_the_workloads_of_their_origins_namespace_are_unknown() {
    let settings = Settings::default();
    let fleet = with(payments(), "cluster-2", &route(1));
    let written = running(&settings, &fleet).wanted();
    let mut world = restarted(&settings, &fleet, &written, "cluster-2", &[Kind::Deployment]);
    assert_eq!(world.write_back(), 0);
    assert_eq!(written_copies(&world), ["cluster-1", "cluster-3"]);
    // What was not copied before is nobody's until it is known.
    let other = route(3).replace("namespace: payments", "namespace: other");
    apply(&mut world, "cluster-2", &other);
    assert_eq!(world.write_back(), 0);
    assert!(has_note(&world.picture(), NoteKind::RouteNotCopied));
    // They can be read, and none runs there any more.
    let elsewhere = with(fleet, "cluster-2", &other);
    let gone = workload("Deployment", "payments", "stage");
    let text = elsewhere[&cluster("cluster-2")].replace(&gone, "");
    assert_ne!(text, elsewhere[&cluster("cluster-2")]);
    list(&world, &cluster("cluster-2"), &text, &written, &[]);
    world.settle();
    world.write_back();
    assert_eq!(written_copies(&world), Vec::<String>::new());
}

#[test]
fn a_route_counts_as_long_as_its_namespace_runs_the_service() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    let payments = workload("Deployment", "payments", "stage");
    let moved = payments.replace("namespace: payments", "namespace: moved");
    assert_ne!(moved, payments);
    apply(&mut world, "cluster-2", &moved);
    delete(&mut world, "cluster-2", &payments);
    assert_eq!(copies(&world.wanted()), attempts(&[]), "the namespace of the route runs it no more");
    apply(&mut world, "cluster-2", &payments);
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
}

#[test]
fn a_cluster_that_goes_stale_keeps_its_routes_in_force() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    for kind in kinds(&world) {
        world.registry.unreadable(&cluster("cluster-2"), kind, REASON, 7);
    }
    world.settle();
    assert_eq!(copies(&world.picture().objects), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
    assert_eq!(world.write_back(), 0);
}

#[test]
fn a_cluster_that_leaves_takes_its_routes_along_and_one_that_joins_gets_what_there_is() {
    let fleet = with(payments(), "cluster-2", &route(1));
    let mut world = running(&Settings::default(), &fleet);
    let late = cluster("cluster-4");
    list(&world, &late, &(node("us-west") + &workload("Deployment", "orders", "stage")), &Objects::new(), &[]);
    world.settle();
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1), ("cluster-4", 1)]));
    world.write_back();
    world.settle();
    world.leave(&cluster("cluster-2"));
    world.settle();
    assert_eq!(copies(&world.wanted()), attempts(&[]));
    world.write_back();
    assert_eq!(written_copies(&world), Vec::<String>::new());
}

#[test]
fn copies_go_where_their_service_goes() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    delete(&mut world, "cluster-1", &workload("Deployment", "orders", "stage"));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-3", 1)]));
    apply(&mut world, "cluster-1", &workload("Deployment", "orders", "stage"));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
    for name in ["cluster-2", "cluster-3"] {
        delete(&mut world, name, &workload("Deployment", "payments", "stage"));
    }
    assert_eq!(copies(&world.wanted()), attempts(&[]), "nobody publishes the host any more");
}

#[test]
fn a_route_of_its_own_takes_the_place_of_the_copy_and_gives_it_back() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    // Not the oldest: manifests without a time are all of one age, and cluster-2 comes before cluster-3.
    apply(&mut world, "cluster-3", &route(7));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1)]));
    assert!(has_note(&world.picture(), NoteKind::RouteOutranked));
    delete(&mut world, "cluster-3", &route(7));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
    assert!(!has_note(&world.picture(), NoteKind::RouteOutranked));
}

// Invariant: A kind that is not served is known to be empty, and is found once it is served.
#[test]
fn a_cluster_gets_no_virtual_services_until_it_serves_them() {
    let mut world = running(&Settings::default(), &payments());
    let (name, kind) = (cluster("cluster-1"), Kind::VirtualService);
    world.registry.absent(&name, kind, "there is no such kind", 7);
    apply(&mut world, "cluster-2", &route(1));
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-3", 1)]));
    world.registry.reset(&name, kind, Vec::new());
    world.settle();
    assert_eq!(copies(&world.wanted()), attempts(&[("cluster-1", 1), ("cluster-3", 1)]));
}

#[test]
fn labels_that_others_put_on_a_copy_stay_and_are_not_written_over() {
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    let wanted = world.wanted();
    let is_copy = |object: &Object| matches!(object, Object::VirtualService(_));
    let (_, copy) = wanted.iter().find(|((name, _), object)| name.as_str() == "cluster-1" && is_copy(object)).unwrap();
    let changed = |world: &mut World, key: &str| {
        let mut manifest = copy.manifest();
        manifest["metadata"]["labels"][key] = "audited".into();
        manifest["metadata"]["uid"] = format!("{:?}", copy.id()).into();
        manifest["metadata"]["resourceVersion"] = "900000".into();
        let observed = world.observer.observe_value(Kind::VirtualService, &manifest).unwrap();
        world.registry.apply(&cluster("cluster-1"), observed);
        world.settle();
        world.write_back()
    };
    assert_eq!(changed(&mut world, "audit"), 0);
    let mut world = running(&Settings::default(), &with(payments(), "cluster-2", &route(1)));
    assert_eq!(changed(&mut world, "team"), 1, "what the user says is kept up");
}

#[test]
fn additional_hosts_come_and_go_with_the_label_and_outlive_a_restart_without_it() {
    let settings = Settings {
        additional_endpoint_suffixes: vec!["corp".into()],
        additional_endpoint_label_filters: vec!["public".into()],
        ..Settings::default()
    };
    let labelled = runs("payments")
        .replace("{name: payments, namespace: payments}", "{name: payments, namespace: payments, labels: {public: x}}");
    let with_label = |label: bool| {
        let mut fleet = payments();
        let place = node("us-west") + &gateway("192.0.2.2");
        fleet.insert(cluster("cluster-2"), place + if label { &labelled } else { "" } + &runs("orders"));
        fleet
    };
    let named = |world: &World| {
        let routes =
            world.registry.queries().cluster_names().into_iter().flat_map(|name| world.registry.outputs().owned(&name));
        routes.filter(|written| &*written.id.name == "stage.payments.corp-vs").count()
    };
    let mut world = running(&settings, &with_label(true));
    assert_eq!(named(&world), 3);
    let written = world.wanted();
    let mut cut_off = restarted(&settings, &with_label(true), &written, "cluster-2", &everything());
    assert_eq!((cut_off.write_back(), named(&cut_off)), (0, 2), "what stands in cluster-2 is not seen");
    delete(&mut world, "cluster-2", &labelled);
    world.write_back();
    assert_eq!(named(&world), 0, "who runs it elsewhere does not ask for them");
    apply(&mut world, "cluster-2", &labelled);
    world.write_back();
    assert_eq!(named(&world), 3);
}

// ---- policies that shape DestinationRules ----

fn outliers(errors: u32) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: OutlierDetection
metadata: {{name: payments, namespace: payments, labels: {{identity: payments, env: stage}}}}
spec: {{outlier_config: {{base_ejection_time: 60, consecutive_gateway_errors: {errors}, interval: 5}}}}
---
"
    )
}

fn connections(requests: u32) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: ClientConnectionConfig
metadata: {{name: payments, namespace: payments, labels: {{identity: payments, env: stage}}}}
spec: {{connectionPool: {{http: {{http2MaxRequests: {requests}}}}}}}
---
"
    )
}

fn slow_start(seconds: u32) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: TrafficConfig
metadata: {{name: payments, namespace: admiral, labels: {{asset: payments, env: stage}}}}
spec: {{edgeService: {{slowStartConfig: [{{workloadEnvSelectors: [stage], duration: {seconds}s}}]}}}}
---
"
    )
}

/// Errors, requests and warm-up in the DestinationRule of the service as a cluster should hold it.
fn shape(objects: &Objects, name: &str) -> (Option<u32>, Option<i32>, Option<String>) {
    let policy = objects.iter().find_map(|((of, _), object)| match object {
        Object::DestinationRule(rule) if *of == cluster(name) && rule.spec.host == HOST => {
            Some(&rule.spec.traffic_policy)
        }
        _ => None,
    });
    let policy = policy.expect("a rule");
    (
        policy.outlier_detection.as_ref().and_then(|outliers| outliers.consecutive_gateway_errors),
        policy.connection_pool.as_ref().and_then(|pool| pool.http.http2_max_requests),
        policy.load_balancer.warmup_duration_secs.clone(),
    )
}

#[test]
fn policies_that_shape_rules_come_change_and_go() {
    let mut world = running(&Settings::default(), &payments());
    let plain = (Some(50), None, Some("45s".to_owned()));
    assert_eq!(shape(&world.wanted(), "cluster-1"), plain);
    apply(&mut world, "cluster-3", &outliers(3));
    apply(&mut world, "cluster-2", &connections(7));
    apply(&mut world, "cluster-1", &slow_start(90));
    assert_eq!(shape(&world.wanted(), "cluster-1"), (Some(3), Some(7), Some("90s".to_owned())));
    apply(&mut world, "cluster-3", &outliers(0));
    apply(&mut world, "cluster-2", &connections(8));
    apply(&mut world, "cluster-1", &slow_start(60));
    assert_eq!(shape(&world.wanted(), "cluster-2"), (Some(0), Some(8), Some("60s".to_owned())));

    let ignored = outliers(0).replace("labels:", "annotations: {admiral.io/ignore: \"true\"}, labels:");
    apply(&mut world, "cluster-3", &ignored);
    assert_eq!(shape(&world.wanted(), "cluster-2"), (Some(50), Some(8), Some("60s".to_owned())), "ignored later on");
    delete(&mut world, "cluster-3", &outliers(0));
    delete(&mut world, "cluster-2", &connections(8));
    delete(&mut world, "cluster-1", &slow_start(60));
    assert_eq!(shape(&world.wanted(), "cluster-1"), plain);
}

// Invariant: A policy that cannot be read remains in force.
#[test]
fn a_shaping_policy_that_cannot_be_read_after_a_restart_leaves_its_service_as_it_is() {
    for (kind, text) in [
        (Kind::OutlierDetection, outliers(3)),
        (Kind::ClientConnectionConfig, connections(7)),
        (Kind::TrafficConfig, slow_start(90)),
    ] {
        let settings = Settings::default();
        let fleet = with(with(payments(), "cluster-3", &text), "cluster-3", &runs("reports"));
        let before = running(&settings, &fleet).picture();
        let mut world = restarted(&settings, &fleet, &before.objects, "cluster-3", &[kind]);
        assert!(
            planning::plan_service(&world.registry, &key("payments", "stage")).unwrap().decision.frozen,
            "{kind:?}"
        );
        assert!(
            !planning::plan_service(&world.registry, &key("reports", "stage")).unwrap().decision.frozen,
            "{kind:?}"
        );
        assert_eq!(world.write_back(), 0);
        let about = |note: &&tradewind::model::Note| note.kind == NoteKind::PolicyUnreadable;
        assert_eq!(world.picture().notes.iter().find(about).unwrap().object.kind, kind);

        // Readable again, and gone meanwhile: now its effect may go.
        world.registry.reset(&cluster("cluster-3"), kind, Vec::new());
        world.settle();
        assert_eq!(shape(&world.wanted(), "cluster-1"), (Some(50), None, Some("45s".to_owned())), "{kind:?}");
    }
}

#[test]
fn a_kind_that_only_shapes_objects_blocks_no_removal_while_it_cannot_be_read() {
    let settings = Settings::default();
    let fleet = payments();
    for (kind, blocks) in [
        (Kind::OutlierDetection, false),
        (Kind::ClientConnectionConfig, false),
        (Kind::GlobalTrafficPolicy, true),
        (Kind::Deployment, true),
    ] {
        let world = restarted(&settings, &fleet, &Objects::new(), "cluster-2", &[kind]);
        assert_eq!(!world.registry.outputs().may_remove(&cluster("cluster-2")), blocks, "{kind:?}");
        assert!(world.registry.outputs().may_remove(&cluster("cluster-1")));
    }
}

#[test]
fn traffic_configs_that_cannot_be_read_do_not_hold_up_the_first_plan() {
    let world = World::new(Settings::default());
    let hub = ClusterName::hub();
    world.registry.register_hub(&hub);
    world.registry.fleet_listed();
    for kind in Kind::OF_HUB {
        world.registry.reset(&hub, *kind, Vec::new());
    }
    world.registry.unreadable(&hub, Kind::TrafficConfig, REASON, 7);
    assert_eq!(world.registry.ready(), Ok(()));
    assert!(has_note(&Picture { notes: world.registry.notes().all(), ..world.picture() }, NoteKind::KindUnreadable));
}
