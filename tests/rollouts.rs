//! Rollouts and clients in motion: weights, strategies, migrations, restarts with something out of reach. No cluster, no clock.

mod planning;

use std::collections::BTreeMap;

use planning::{Objects, World, cluster, key, manifests};
use tradewind::{
    config::{Settings, WithoutDependency},
    istio::Object,
    model::{Kind, NoteKind, ObjectId, WorkKey},
    registry::KindState,
};

const HOST: &str = "stage.payments.global";
const CANARY: &str = "canary.stage.payments.global";
const PREVIEW: &str = "preview.stage.payments.global";
/// Where the Rollouts are.
const HOME: &str = "cluster-1";

fn place(region: &str, last: u8) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata: {{name: node, labels: {{topology.kubernetes.io/region: {region}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: gateway, namespace: istio-system, labels: {{app: istio-ingressgateway}}}}
spec: {{ports: [{{name: tls, port: 15443}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.{last}}}]}}}}
---
"
    )
}

fn template(indent: usize, app: &str, identity: &str) -> String {
    let lines = [
        "template:".to_owned(),
        "  metadata:".to_owned(),
        format!("    labels: {{app: {app}, identity: {identity}, env: stage}}"),
        "    annotations: {sidecar.istio.io/inject: \"true\"}".to_owned(),
    ];
    lines.map(|line| format!("{}{line}\n", " ".repeat(indent))).concat()
}

fn deployment(name: &str, app: &str, identity: &str) -> String {
    let template = template(2, app, identity);
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: team}}\nspec:\n{template}---\n"
    )
}

fn rollout(template: &str, strategy: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: rollout, namespace: team}}
spec:
{template}  strategy: {strategy}
---
"
    )
}

const BY_WEIGHT: &str = "{canary: {stableService: stable, canaryService: canary, trafficRouting: {istio: {virtualService: {name: route}}}}}";
const BLUE_GREEN: &str = "{blueGreen: {activeService: stable, previewService: canary}}";

fn service(name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: team}}
spec: {{selector: {{app: {app}}}, ports: [{{name: http, port: 8080}}]}}
---
"
    )
}

fn services() -> String {
    service("stable", "new") + &service("canary", "new")
}

fn route(name: &str, stable: u32, canary: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: team}}
spec:
  hosts: [payments]
  http:
  - route:
    - {{destination: {{host: stable}}, weight: {stable}}}
    - {{destination: {{host: canary}}, weight: {canary}}}
---
"
    )
}

fn machine(name: &str, last: u8, weight: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: team, labels: {{identity: payments, env: stage}}}}
spec: {{address: 10.0.0.{last}, ports: {{http: 8080}}, weight: {weight}}}
---
"
    )
}

fn policy() -> String {
    "apiVersion: admiral.io/v1alpha1
kind: GlobalTrafficPolicy
metadata: {name: payments, namespace: team, labels: {identity: payments, env: stage}}
spec:
  policy:
  - {dnsPrefix: default, lbType: 1, target: [{region: us-west, weight: 70}, {region: us-east, weight: 30}]}
---
"
    .to_owned()
}

fn job(name: &str, identity: &str) -> String {
    let template = template(2, "job", identity);
    format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: jobs}}\nspec:\n{template}---\n")
}

fn dependency() -> String {
    "apiVersion: admiral.io/v1alpha1
kind: Dependency
metadata: {name: reports, namespace: admiral}
spec: {source: reports, destinations: [payments]}
---
"
    .to_owned()
}

/// The fleet: what is given runs in the first of three clusters, a Deployment of the same service in the second.
fn fleet(home: &str) -> BTreeMap<&'static str, String> {
    let other = service("payments", "old") + &deployment("payments", "old", "payments");
    [
        (HOME, place("us-west", 1) + home),
        ("cluster-2", place("us-east", 2) + &other),
        ("cluster-3", place("us-east", 3) + &dependency()),
    ]
    .into()
}

fn list(world: &World, name: &str, text: &str, written: &Objects, unreadable: &[Kind]) {
    let name = cluster(name);
    world.registry.register(&name);
    let mut objects = manifests(&world.observer, text);
    objects.extend(written.iter().filter(|((of, _), _)| *of == name).map(|(_, object)| world.stored(object)));
    for kind in world.registry.settings().watched_kinds().into_iter().chain(Kind::OF_HUB.iter().copied()) {
        if unreadable.contains(&kind) {
            world.registry.unreadable(&name, kind, "connection refused", 7);
        } else {
            let of_kind = objects.iter().filter(|object| object.id().kind == kind).cloned().collect();
            world.registry.reset(&name, kind, of_kind);
        }
    }
}

/// A fleet that was read in which some kinds of one cluster cannot be, over what stands in it.
fn read(
    settings: &Settings,
    fleet: &BTreeMap<&str, String>,
    written: &Objects,
    (cut_off, kinds): (&str, &[Kind]),
) -> World {
    let mut world = World::new(settings.clone());
    for (name, text) in fleet {
        list(&world, name, text, written, if *name == cut_off { kinds } else { &[] });
    }
    world.registry.fleet_listed();
    world.settle();
    world
}

fn running(settings: &Settings, home: &str) -> World {
    let mut world = read(settings, &fleet(home), &Objects::new(), ("", &[]));
    world.write_back();
    world.settle();
    assert_eq!(world.write_back(), 0);
    world
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

/// First part of the address, weight and type of each endpoint, as a cluster sees a host; nothing without a ServiceEntry.
fn seen(world: &World, name: &str, host: &str) -> Vec<String> {
    let id = ObjectId::new(Kind::ServiceEntry, "admiral-sync", &format!("{host}-se"));
    let Some(Object::ServiceEntry(entry)) = world.wanted().remove(&(cluster(name), id)) else { return Vec::new() };
    let endpoint = |endpoint: &tradewind::istio::Endpoint| {
        let kind = endpoint.labels.get("type").map_or("-", String::as_str);
        let address = endpoint.address.split(".team.").next().unwrap_or_default();
        format!("{address} {} {kind}", endpoint.weight)
    };
    entry.spec.endpoints.iter().map(endpoint).collect()
}

#[test]
fn a_weight_of_argo_changes_one_object_where_the_rollout_is() {
    let home = rollout(&template(2, "new", "payments"), BY_WEIGHT) + &services() + &route("route", 90, 10);
    let mut world = running(&Settings::default(), &home);
    assert_eq!(seen(&world, HOME, HOST), ["canary 1 rollout", "stable 9 rollout", "192.0.2.2 10 deployment"]);
    assert_eq!(seen(&world, "cluster-2", HOST), ["192.0.2.1 0 rollout", "payments 0 deployment"]);

    for object in manifests(&world.observer, &route("route", 50, 50)) {
        world.registry.apply(&cluster(HOME), object);
    }
    let routed = || WorkKey::Host("payments.team.svc.cluster.local".into());
    assert_eq!(world.registry.take_dirty(), [WorkKey::Service(key("payments", "stage")), routed()].into());
    world.registry.mark([WorkKey::Service(key("payments", "stage"))]);
    world.settle();
    assert_eq!(seen(&world, HOME, HOST), ["canary 1 rollout", "stable 1 rollout", "192.0.2.2 2 deployment"]);
    assert_eq!(world.write_back(), 1);
    world.settle();

    // A VirtualService that no Rollout names concerns no service.
    for object in manifests(&world.observer, &(route("other", 1, 99) + &route("route", 50, 50))) {
        world.registry.apply(&cluster(HOME), object);
    }
    assert_eq!(world.registry.take_dirty(), [routed()].into());
    let is_rollouts = |name: &str| {
        world.registry.outputs().is_rollout_route(&cluster(HOME), &ObjectId::new(Kind::VirtualService, "team", name))
    };
    assert!(is_rollouts("route") && !is_rollouts("other"));

    delete(&mut world, HOME, &route("route", 50, 50));
    assert_eq!(seen(&world, HOME, HOST), ["stable 0 rollout", "192.0.2.2 0 deployment"]);
    assert_eq!(seen(&world, HOME, CANARY), ["canary 0 rollout"]);
}

#[test]
fn a_promotion_of_ping_and_pong_changes_which_is_stable_and_nothing_else_of_the_status_counts() {
    let promoted = |status: &str| {
        let canary = "{canary: {pingPong: {pingService: stable, pongService: canary}, trafficRouting: {istio: {virtualService: {name: route}}}}}";
        let of = rollout(&template(2, "new", "payments"), canary);
        of.replace("---", &format!("status: {{canary: {{{status}}}, replicas: 3}}\n---"))
    };
    let home = promoted("stablePingPong: ping") + &services();
    let mut world = running(&Settings::default(), &home);
    assert_eq!(seen(&world, HOME, HOST), ["stable 0 rollout", "192.0.2.2 0 deployment"], "there is no VirtualService");
    assert_eq!(seen(&world, HOME, CANARY), ["canary 0 rollout"]);

    apply(&mut world, HOME, &promoted("stablePingPong: pong"));
    assert_eq!(seen(&world, HOME, HOST), ["canary 0 rollout", "192.0.2.2 0 deployment"]);
    assert_eq!(seen(&world, HOME, CANARY), ["stable 0 rollout"]);
    for object in manifests(&world.observer, &promoted("stablePingPong: pong, weights: {canary: {weight: 5}}")) {
        world.registry.apply(&cluster(HOME), object);
    }
    assert!(world.registry.take_dirty().is_empty());

    apply(&mut world, HOME, &route("route", 10, 90));
    assert_eq!(seen(&world, HOME, HOST), ["canary 9 rollout", "stable 1 rollout", "192.0.2.2 10 deployment"]);
    apply(&mut world, HOME, &promoted(""));
    assert_eq!(seen(&world, HOME, CANARY), ["stable 0 rollout"], "pong is stable where nothing is said");
}

#[test]
fn a_service_for_all_versions_comes_and_goes_and_the_canary_never_gets_all() {
    let only_canary = "{canary: {canaryService: canary, trafficRouting: {istio: {virtualService: {name: route}}}}}";
    let home = rollout(&template(2, "new", "payments"), only_canary) + &service("canary", "new");
    let mut world = running(&Settings::default(), &home);
    let missing =
        |world: &World| world.picture().notes.iter().filter(|note| note.kind == NoteKind::ServiceMissing).count();
    assert!(seen(&world, HOME, HOST).is_empty() && missing(&world) == 1);
    apply(&mut world, HOME, &service("root", "new"));
    assert_eq!(seen(&world, HOME, HOST), ["root 0 rollout", "192.0.2.2 0 deployment"]);
    assert_eq!((seen(&world, HOME, CANARY), missing(&world)), (vec!["canary 0 rollout".to_owned()], 0));
    // Argo narrows a Service by its selector.
    apply(&mut world, HOME, &service("root", "new, rollouts-pod-template-hash: abc"));
    assert!(seen(&world, HOME, HOST).is_empty() && missing(&world) == 1);
}

#[test]
fn another_strategy_brings_its_hosts_and_takes_the_others() {
    let of = |strategy| rollout(&template(2, "new", "payments"), strategy);
    let home = of(BY_WEIGHT) + &services() + &route("route", 90, 10);
    let mut world = running(&Settings::default(), &home);
    assert_eq!(seen(&world, "cluster-2", CANARY), ["192.0.2.1 0 rollout"]);
    apply(&mut world, HOME, &of(BLUE_GREEN));
    assert_eq!(seen(&world, HOME, PREVIEW), ["canary 0 rollout"]);
    assert_eq!(seen(&world, "cluster-2", PREVIEW), ["192.0.2.1 0 rollout"]);
    assert_eq!(seen(&world, HOME, HOST), ["stable 0 rollout", "192.0.2.2 0 deployment"]);
    assert!(seen(&world, HOME, CANARY).is_empty() && seen(&world, "cluster-2", CANARY).is_empty());
    world.write_back();
    world.settle();
    assert_eq!(world.write_back(), 0);

    apply(&mut world, HOME, &of("{}"));
    assert!(seen(&world, HOME, HOST).is_empty(), "no Service of a Rollout without strategy counts");
    assert!(seen(&world, "cluster-2", PREVIEW).is_empty());
}

#[test]
fn in_a_migration_each_kind_goes_with_its_own_endpoint() {
    let old = deployment("payments", "old", "payments") + &service("payments", "old");
    let new = rollout(&template(2, "new", "payments"), BY_WEIGHT) + &services() + &route("route", 90, 10);
    for (goes, left, remote) in [
        (&old, vec!["canary 1 rollout", "stable 9 rollout", "192.0.2.2 10 deployment"], "rollout"),
        (&new, vec!["payments 0 deployment", "192.0.2.2 0 deployment"], "deployment"),
    ] {
        let mut world = running(&Settings::default(), &(old.clone() + &new));
        let both = ["canary 1 rollout", "payments 10 deployment", "stable 9 rollout", "192.0.2.2 10 -"];
        assert_eq!(seen(&world, HOME, HOST), both);
        assert_eq!(seen(&world, "cluster-2", HOST), ["192.0.2.1 0 deployment", "payments 0 deployment"]);
        delete(&mut world, HOME, goes);
        assert_eq!(seen(&world, HOME, HOST), left);
        assert_eq!(seen(&world, "cluster-2", HOST), [&*format!("192.0.2.1 0 {remote}"), "payments 0 deployment"]);
    }
}

#[test]
fn a_deployment_that_only_holds_a_template_counts_once_it_does_no_more() {
    let (holder, reference) =
        (deployment("holder", "new", "payments"), "  workloadRef: {kind: Deployment, name: holder}\n");
    let borrowing = rollout(reference, BLUE_GREEN);
    let mut world = running(&Settings::default(), &(borrowing.clone() + &services()));
    let questions =
        |world: &World| world.picture().notes.iter().filter(|note| note.kind == NoteKind::RolloutQuestionable).count();
    assert_eq!(questions(&world), 1, "there is no such Deployment");
    assert!(seen(&world, HOME, HOST).is_empty(), "who it would be is not known");
    apply(&mut world, HOME, &holder);
    assert_eq!(seen(&world, HOME, HOST), ["stable 0 rollout", "192.0.2.2 0 deployment"]);
    assert_eq!(questions(&world), 0);
    // The template says who it is.
    apply(&mut world, HOME, &deployment("holder", "new", "payouts"));
    assert_eq!(seen(&world, HOME, "stage.payouts.global"), ["stable 0 rollout"]);
    apply(&mut world, HOME, &holder);
    delete(&mut world, HOME, &borrowing);
    assert_eq!(seen(&world, HOME, HOST), ["canary 0 deployment", "192.0.2.2 0 deployment"]);
    apply(&mut world, HOME, &borrowing);
    delete(&mut world, HOME, &holder);
    assert_eq!(questions(&world), 1);
}

// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn whatever_cannot_be_read_after_a_restart_everything_stays() {
    let template = template(2, "new", "payments");
    let old = deployment("payments", "old", "payments") + &service("payments", "old");
    let weighted = services() + &route("route", 90, 10);
    let homes = [
        rollout(&template, BY_WEIGHT) + &weighted,
        rollout(&template, BLUE_GREEN) + &services(),
        old.clone() + &rollout(&template, BY_WEIGHT) + &weighted,
        old + &rollout(&template, BLUE_GREEN) + &services(),
        // One Service before both kinds.
        deployment("payments", "new", "payments") + &rollout(&template, BY_WEIGHT) + &weighted,
        deployment("holder", "new", "payments")
            + &rollout("  workloadRef: {kind: Deployment, name: holder}\n", BY_WEIGHT)
            + &weighted,
        rollout(&template, BY_WEIGHT) + &weighted + &machine("one", 5, 30) + &machine("two", 6, 10),
        deployment("payments", "old", "payments") + &service("payments", "old") + &machine("one", 5, 2),
    ];
    let cut_off: [&[Kind]; 7] = [
        Kind::ALL,
        &[Kind::VirtualService],
        &[Kind::Rollout],
        &[Kind::Deployment],
        &[Kind::WorkloadEntry],
        &[Kind::Service],
        &[Kind::Node],
    ];
    for (at, home) in homes.iter().enumerate() {
        for policy in [String::new(), policy()] {
            let settings = Settings::default();
            // The policy stands in the other cluster, which is always read.
            let mut fleet = fleet(home);
            fleet.entry("cluster-2").or_default().push_str(&policy);
            let mut world = read(&settings, &fleet, &Objects::new(), ("", &[]));
            world.write_back();
            world.settle();
            let before = world.picture().objects;
            for kinds in cut_off {
                let mut world = read(&settings, &fleet, &before, (HOME, kinds));
                let now = world.picture().objects;
                // Where not even what was written can be read, nothing is written either.
                let readable = |name: &str| name != HOME || !kinds.contains(&Kind::ServiceEntry);
                for ((name, id), object) in before.iter().filter(|((name, _), _)| readable(name.as_str())) {
                    let found = now.get(&(name.clone(), id.clone()));
                    assert_eq!(found, Some(object), "home {at} without {kinds:?}: {name} {id:?}");
                }
                assert!(now.keys().all(|at_object| before.contains_key(at_object)));
                assert_eq!(world.write_back(), 0, "home {at} without {kinds:?}");

                // All is known again: as before.
                list(&world, HOME, &fleet[HOME], &before, &[]);
                world.settle();
                assert_eq!(world.picture().objects, before, "home {at} with {kinds:?} back");
            }
        }
    }
}

#[test]
fn a_client_comes_and_goes_and_so_does_what_it_depends_on() {
    let settings = Settings { without_dependency: WithoutDependency::None, ..Settings::default() };
    let mut world = running(&settings, "");
    assert!(seen(&world, HOME, HOST).is_empty());
    apply(&mut world, HOME, &job("reports-1", "reports"));
    assert_eq!(seen(&world, HOME, HOST), ["192.0.2.2 0 deployment"]);
    for object in manifests(&world.observer, &job("reports-2", "reports")) {
        world.registry.apply(&cluster(HOME), object);
    }
    assert_eq!(world.registry.take_dirty(), [].into(), "one more run changes nothing");
    delete(&mut world, HOME, &job("reports-1", "reports"));
    assert_eq!(seen(&world, HOME, HOST), ["192.0.2.2 0 deployment"]);
    apply(&mut world, HOME, &job("reports-2", "orders"));
    assert!(seen(&world, HOME, HOST).is_empty(), "another identity");
    apply(&mut world, HOME, &job("reports-2", "reports"));
    apply(
        &mut world,
        HOME,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: jobs, annotations: {admiral.io/ignore: \"true\"}}",
    );
    assert!(seen(&world, HOME, HOST).is_empty(), "an ignored namespace");
    apply(&mut world, HOME, "apiVersion: v1\nkind: Namespace\nmetadata: {name: jobs}");
    assert_eq!(seen(&world, HOME, HOST), ["192.0.2.2 0 deployment"]);
    delete(&mut world, HOME, &job("reports-2", "reports"));
    assert!(seen(&world, HOME, HOST).is_empty());
    assert!(!world.picture().notes.iter().any(|note| note.kind == NoteKind::ServiceMissing));
}

// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn clients_that_cannot_be_read_may_be_there_and_those_that_are_not_served_are_not() {
    let settings = Settings { without_dependency: WithoutDependency::None, ..Settings::default() };
    let home = job("reports-1", "reports");
    let before = running(&settings, &home).picture().objects;
    let fleet = fleet(&home);
    let mut world = read(&settings, &fleet, &before, (HOME, &[Kind::Job]));
    assert_eq!(world.picture().objects, before);
    assert_eq!(world.write_back(), 0);

    let without = [(HOME, place("us-west", 1)), ("cluster-2", fleet["cluster-2"].clone()), ("cluster-3", dependency())];
    let mut world = read(&settings, &without.into(), &before, (HOME, &[Kind::Vertex]));
    assert!(!seen(&world, HOME, HOST).is_empty(), "a Vertex may be the client");
    world.registry.absent(&cluster(HOME), Kind::Vertex, "the server does not serve it", 8);
    world.settle();
    assert!(seen(&world, HOME, HOST).is_empty());
    assert!(world.write_back() > 0);
    let status = world.registry.queries().clusters().into_iter().find(|status| status.name == cluster(HOME));
    assert!(status.is_some_and(|status| status.kinds.contains(&(Kind::Vertex, KindState::Absent))));
}

/// The VirtualServices in a cluster that are wanted.
fn copies(world: &World, name: &str) -> usize {
    let objects = world.picture().objects;
    objects.keys().filter(|(of, id)| *of == cluster(name) && id.kind == Kind::VirtualService).count()
}

#[test]
fn a_virtual_service_is_a_users_only_while_no_rollout_names_it() {
    let named = rollout(&template(2, "new", "payments"), BY_WEIGHT);
    let route = route("route", 90, 10).replace("hosts: [payments]", &format!("hosts: [{HOST}]"));
    let settings = Settings::default();
    let mut world = running(&settings, &(services() + &route + &named));
    assert_eq!(copies(&world, "cluster-2"), 0);
    // Another strategy names it no more.
    apply(&mut world, HOME, &rollout(&template(2, "new", "payments"), BLUE_GREEN));
    assert_eq!(copies(&world, "cluster-2"), 1);
    apply(&mut world, HOME, &named);
    assert_eq!(copies(&world, "cluster-2"), 0);
    delete(&mut world, HOME, &named);
    apply(&mut world, HOME, &(deployment("payments", "new", "payments")));
    assert_eq!(copies(&world, "cluster-2"), 1);
}

#[test]
fn unreadable_rollouts_change_no_virtual_services_owner() {
    let route = route("route", 90, 10).replace("hosts: [payments]", &format!("hosts: [{HOST}]"));
    let settings = Settings::default();
    for (workload, copied) in
        [(rollout(&template(2, "new", "payments"), BY_WEIGHT), 0), (deployment("payments", "new", "payments"), 1)]
    {
        let fleet = fleet(&(services() + &route + &workload));
        let mut world = read(&settings, &fleet, &Objects::new(), ("", &[]));
        world.write_back();
        world.settle();
        let before = world.picture().objects;
        assert_eq!(copies(&world, "cluster-2"), copied);
        let mut world = read(&settings, &fleet, &before, (HOME, &[Kind::Rollout]));
        assert_eq!(copies(&world, "cluster-2"), copied);
        assert_eq!(world.write_back(), 0);
        list(&world, HOME, &fleet[HOME], &before, &[]);
        world.settle();
        assert_eq!(world.picture().objects, before);
    }
}
