//! RoutingPolicies, DependencyProxies and routing inside clusters in motion: they come, change and go, also over a restart
//! and while a cluster cannot be read.

use super::*;

pub(super) fn routing_policies() -> Settings {
    Settings { enable_routing_policy: true, routing_policy_enabled_clusters: vec!["*".into()], ..Settings::default() }
}

pub(super) fn in_cluster() -> Settings {
    let mut settings =
        Settings { enable_vs_routing_in_cluster: true, enable_sw_aware_ns_caches: true, ..Settings::default() };
    settings.vs_routing_in_cluster_enabled_resources = resources("*=*");
    settings
}

fn resources(text: &str) -> tradewind::config::Resources {
    let flags = clap::Command::new("test").args(tradewind::config::args());
    let flags = flags.get_matches_from(["test", "--vs-routing-in-cluster-enabled-resources", text]);
    let settings = tradewind::config::load(None, &flags, |_| None).expect("settings");
    settings.vs_routing_in_cluster_enabled_resources
}

pub(super) fn routing_policy(identity: &str, host: &str) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: RoutingPolicy
metadata: {{name: {identity}, namespace: {identity}, labels: {{identity: {identity}, admiral.io/env: stage}}}}
spec:
  plugin: shadow
  hosts: [{host}]
  config: {{wasmPath: /etc/istio/extensions/shadow.wasm}}
---
"
    )
}

pub(super) fn proxy(destination: &str, proxy: &str) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1
kind: DependencyProxy
metadata: {{name: {destination}, namespace: admiral, labels: {{env: stage}}}}
spec: {{destination: {{identity: {destination}, dns_suffix: example}}, proxy: {{identity: {proxy}}}}}
---
"
    )
}

fn route(name: &str, namespace: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{hosts: [{host}], http: [{{route: [{{destination: {{host: elsewhere.example}}}}]}}]}}
---
"
    )
}

/// `cluster name` of the objects of a kind.
fn names(objects: &Objects, kind: Kind) -> Vec<String> {
    let of_kind = objects.keys().filter(|(_, id)| id.kind == kind);
    of_kind.map(|(cluster, id)| format!("{cluster} {}", id.name)).collect()
}

/// What stands of a kind, by what the registry knows.
fn written_objects(world: &World, kind: Kind) -> Vec<String> {
    let of_cluster = |name: &ClusterName| {
        let owned = world.registry.outputs().owned(name).into_iter().filter(|written| written.id.kind == kind);
        owned.map(|written| format!("{name} {}", written.id.name)).collect::<Vec<_>>()
    };
    world.registry.queries().cluster_names().iter().flat_map(of_cluster).collect()
}

fn write(world: &mut World) -> usize {
    let changes = world.write_back();
    world.settle();
    changes
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
#[test]
fn filters_come_with_their_policy_change_with_it_and_go_with_it_also_while_the_controller_was_down() {
    let settings = routing_policies();
    let fleet = payments();
    let mut world = running(&settings, &fleet);
    assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());

    apply(&mut world, "cluster-3", &routing_policy("payments", HOST));
    assert_eq!(write(&mut world), 1);
    let filters = written_objects(&world, Kind::EnvoyFilter);
    assert!(filters.len() == 1 && filters[0].starts_with("cluster-1 shadow-dr-"), "{filters:?}");
    apply(&mut world, "cluster-3", &routing_policy("payments", "other.example"));
    assert_eq!(write(&mut world), 1, "one filter changes");
    assert_eq!(written_objects(&world, Kind::EnvoyFilter), filters, "and keeps its name");

    let with_policy = with(fleet.clone(), "cluster-3", &routing_policy("payments", "other.example"));
    let before = world.picture();
    let mut again = restarted(&settings, &with_policy, &before.objects, "", &[]);
    assert_eq!((again.picture(), again.write_back()), (before.clone(), 0));

    let mut without = restarted(&settings, &fleet, &before.objects, "", &[]);
    assert_eq!(write(&mut without), 1, "what went while nobody looked is removed");
    assert!(written_objects(&without, Kind::EnvoyFilter).is_empty());

    // Its namespace runs the service no more, and a stranger's changes nothing.
    let runs = workload("Deployment", "payments", "stage");
    delete(&mut world, "cluster-3", &runs);
    write(&mut world);
    assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());
    apply(&mut world, "cluster-3", &runs);
    write(&mut world);
    assert_eq!(written_objects(&world, Kind::EnvoyFilter), filters);
    apply(&mut world, "cluster-1", &routing_policy("payments", HOST).replace("namespace: payments", "namespace: evil"));
    assert_eq!(write(&mut world), 0);

    delete(&mut world, "cluster-3", &routing_policy("payments", HOST));
    assert_eq!(write(&mut world), 1);
    assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn filters_stay_while_the_cluster_of_their_policy_cannot_be_read() {
    let settings = routing_policies();
    let fleet = with(payments(), "cluster-3", &routing_policy("payments", HOST));
    let before = running(&settings, &fleet).picture();
    let filters = names(&before.objects, Kind::EnvoyFilter);
    assert_eq!(filters.len(), 1);
    for unreadable in [everything(), vec![Kind::RoutingPolicy], vec![Kind::Deployment]] {
        let mut world = restarted(&settings, &fleet, &before.objects, "cluster-3", &unreadable);
        assert_eq!(write(&mut world), 0, "{unreadable:?}");
        assert_eq!(written_objects(&world, Kind::EnvoyFilter), filters);
        // Read at last, without the policy.
        let bare = &payments()[&cluster("cluster-3")];
        list(&world, &cluster("cluster-3"), bare, &before.objects, &[]);
        world.settle();
        write(&mut world);
        assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());
    }
}

#[test]
fn filters_of_a_service_that_runs_nowhere_follow_its_clients() {
    let settings = Settings { routing_policy_namespaces: vec!["ledger".into()], ..routing_policies() };
    let fleet = with(payments(), "cluster-3", &routing_policy("ledger", "stage.ledger.example"));
    let mut world = running(&settings, &fleet);
    assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());
    let dependency = dependency("orders", "ledger").replace("name: orders", "name: orders-ledger");
    apply(&mut world, "cluster-1", &dependency);
    write(&mut world);
    assert_eq!(written_objects(&world, Kind::EnvoyFilter).len(), 1);
    apply(&mut world, "cluster-2", &workload("Deployment", "orders", "qa"));
    write(&mut world);
    assert_eq!(written_objects(&world, Kind::EnvoyFilter).len(), 2, "a client came into another cluster");
    delete(&mut world, "cluster-1", &workload("Deployment", "orders", "stage"));
    write(&mut world);
    let left = written_objects(&world, Kind::EnvoyFilter);
    assert!(left.len() == 1 && left[0].starts_with("cluster-2"), "{left:?}");
    delete(&mut world, "cluster-1", &dependency);
    write(&mut world);
    assert!(written_objects(&world, Kind::EnvoyFilter).is_empty());
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
#[test]
fn a_proxy_comes_with_its_object_and_goes_with_it() {
    let settings = Settings { without_dependency: WithoutDependency::None, ..Settings::default() };
    let fleet = with(payments(), "cluster-2", &runs("relay"));
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    let relay = "stage.relay.global";
    assert!(addresses(&before.objects, "cluster-1", relay).is_none(), "nobody depends on the proxy");

    apply(&mut world, "cluster-1", &proxy("payments", "relay"));
    write(&mut world);
    assert_eq!(written_objects(&world, Kind::VirtualService), ["cluster-1 stage.payments.example-proxy-vs"]);
    assert_eq!(addresses(&world.wanted(), "cluster-1", relay).unwrap(), ["192.0.2.2"]);

    let with_proxy = with(fleet.clone(), "cluster-1", &proxy("payments", "relay"));
    let written = world.picture();
    assert_eq!(restarted(&settings, &with_proxy, &written.objects, "", &[]).write_back(), 0);
    let cut_off = &mut restarted(&settings, &with_proxy, &written.objects, "cluster-2", &everything());
    assert_eq!(write(cut_off), 0, "the proxy's cluster cannot be read");

    apply(&mut world, "cluster-1", &route("mine", "orders", "stage.payments.example"));
    assert_eq!(write(&mut world), 0, "a namespace that runs neither the destination nor the proxy takes nothing");
    apply(&mut world, "cluster-2", &route("mine", "payments", "stage.payments.example"));
    write(&mut world);
    assert!(
        written_objects(&world, Kind::VirtualService).is_empty(),
        "the host is routed by those who run the destination"
    );
    assert!(has_note(&world.picture(), NoteKind::HostTaken));
    delete(&mut world, "cluster-2", &route("mine", "payments", "stage.payments.example"));
    delete(&mut world, "cluster-1", &route("mine", "orders", "stage.payments.example"));
    write(&mut world);
    assert_eq!(written_objects(&world, Kind::VirtualService).len(), 1);

    delete(&mut world, "cluster-1", &proxy("payments", "relay"));
    write(&mut world);
    assert_eq!(world.picture().objects, before.objects);
    assert_eq!(world.picture().notes, before.notes);
}

#[test]
fn a_missing_proxy_gets_a_note_and_counts_once_it_exists() {
    let settings = Settings { without_dependency: WithoutDependency::None, ..Settings::default() };
    let mut world = running(&settings, &with(payments(), "cluster-1", &proxy("payments", "relay")));
    let told =
        |world: &World| world.picture().notes.iter().any(|note| note.message.contains("no cluster offers the proxy"));
    assert!(told(&world));
    apply(&mut world, "cluster-2", &runs("relay"));
    write(&mut world);
    assert!(!told(&world));
    assert_eq!(written_objects(&world, Kind::VirtualService).len(), 1);
    delete(&mut world, "cluster-2", &runs("relay"));
    write(&mut world);
    assert!(told(&world) && written_objects(&world, Kind::VirtualService).is_empty());
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
// Invariant: Objects of an option are removed when the option is disabled.
#[test]
fn routing_inside_clusters_that_is_switched_off_leaves_nothing_behind() {
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let settings = in_cluster();
    let before = running(&settings, &fleet).picture();
    assert_eq!(names(&before.objects, Kind::VirtualService).len(), 2, "one in each cluster that runs it");
    let off = Settings { enable_sw_aware_ns_caches: true, ..Settings::default() };
    let mut world = restarted(&off, &fleet, &before.objects, "", &[]);
    write(&mut world);
    assert_eq!(world.picture(), running(&off, &fleet).picture());
    let left =
        world.registry.queries().cluster_names().into_iter().flat_map(|name| world.registry.outputs().owned(&name));
    assert!(left.into_iter().all(|written| *written.id.namespace == *"admiral-sync"));
}

#[test]
fn a_users_route_ends_routing_inside_clusters_and_its_end_brings_it_back() {
    let (settings, fleet) = (in_cluster(), payments());
    let mut world = running(&settings, &fleet);
    let before = world.picture();
    let users = route("mine", "payments", "stage.payments.global");
    apply(&mut world, "cluster-3", &users);
    write(&mut world);
    let left = written_objects(&world, Kind::VirtualService);
    assert!(left.iter().all(|name| !name.contains("incluster")), "{left:?}");
    let rules = |world: &World| {
        written_objects(world, Kind::DestinationRule).iter().filter(|name| name.contains("incluster")).count()
    };
    assert_eq!(rules(&world), 0);
    delete(&mut world, "cluster-3", &users);
    write(&mut world);
    assert_eq!(world.picture(), before);
    assert_eq!(rules(&world), 2);
}

// Invariant: Filters and routes are removed with their reason, also after a restart, and remain while the reason cannot
// be read.
// Invariant: Workloads of a cluster, and the objects written for them, remain while one of its kinds cannot be read
// after a restart.
#[test]
fn routing_inside_clusters_stays_while_users_routes_cannot_be_read() {
    let (settings, fleet) = (in_cluster(), with(payments(), "cluster-3", &policy("us-east", "us-west")));
    let before = running(&settings, &fleet).picture();
    let routes = names(&before.objects, Kind::VirtualService);
    let digests = |world: &World| {
        let routing = world.registry.queries().cluster_names().into_iter().flat_map(|name| {
            let owned = world
                .registry
                .outputs()
                .owned(&name)
                .into_iter()
                .filter(|written| *written.id.namespace == *"istio-system");
            owned.map(|written| (name.clone(), written.id.clone(), written.digest)).collect::<Vec<_>>()
        });
        routing.collect::<Vec<_>>()
    };
    let written = digests(&restarted(&settings, &fleet, &before.objects, "", &[]));
    for unreadable in [everything(), vec![Kind::VirtualService], vec![Kind::Deployment]] {
        let mut world = restarted(&settings, &fleet, &before.objects, "cluster-2", &unreadable);
        write(&mut world);
        // What was written into a cluster that is not read is not seen there either.
        let seen = digests(&world);
        assert!(seen.iter().all(|object| written.contains(object)), "{unreadable:?}");
        assert_eq!(seen.iter().filter(|(name, ..)| name.as_str() == "cluster-3").count(), 2, "{unreadable:?}");
        list(&world, &cluster("cluster-2"), &fleet[&cluster("cluster-2")], &before.objects, &[]);
        world.settle();
        write(&mut world);
        assert_eq!(digests(&world), written, "{unreadable:?}, read at last");
    }
    assert_eq!((written.len(), routes.len()), (4, 2));
}

#[test]
fn the_rule_of_a_namespace_ends_with_its_last_service() {
    let (settings, fleet) = (in_cluster(), payments());
    let mut world = running(&settings, &fleet);
    let rules = |world: &World| -> Vec<String> {
        written_objects(world, Kind::DestinationRule).into_iter().filter(|name| name.contains("incluster")).collect()
    };
    assert_eq!(rules(&world).len(), 2);
    delete(&mut world, "cluster-3", &runs("payments"));
    write(&mut world);
    assert_eq!(rules(&world), ["cluster-2 payments.svc.cluster.local-incluster-dr"]);
}

#[test]
fn objects_of_another_controller_outside_the_sync_namespace_are_unchanged() {
    let (settings, fleet) = (in_cluster(), payments());
    let before = running(&settings, &fleet).picture();
    let others: Objects = before.objects.into_iter().filter(|((_, id), _)| *id.namespace == *"istio-system").collect();
    let elsewhere = Settings { sync_namespace: "elsewhere".into(), ..Settings::default() };
    let mut world = restarted(&elsewhere, &fleet, &others, "", &[]);
    write(&mut world);
    let left: usize =
        world.registry.queries().cluster_names().iter().map(|name| world.registry.outputs().owned(name).len()).sum();
    let wanted = world.wanted().len();
    assert_eq!(left, wanted, "none of them counts as ours");
    let stands = |(name, id): &(ClusterName, ObjectId)| world.registry.outputs().written(name, id).is_some();
    assert!(!others.is_empty() && others.keys().all(stands), "and all of them stand");
}

#[test]
fn a_hub_that_is_no_cluster_of_the_fleet_keeps_nothing_from_being_routed() {
    let (settings, fleet) = (in_cluster(), payments());
    let world = World::new(settings);
    for (name, text) in &fleet {
        list(&world, name, text, &Objects::new(), &[]);
    }
    let hub = ClusterName::hub();
    world.registry.register_hub(&hub);
    for kind in Kind::OF_HUB {
        world.registry.reset(&hub, *kind, Vec::new());
    }
    let world = settled(world);
    let routes = names(&world.picture().objects, Kind::VirtualService);
    assert_eq!(
        routes,
        ["cluster-2 stage.payments.global-incluster-vs", "cluster-3 stage.payments.global-incluster-vs"]
    );
}
