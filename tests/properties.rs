//! What must hold of every fleet, tried on random ones.

mod planning;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use planning::{Numbers, Objects, Picture, World, assert_sound, cluster};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::json;
use tradewind::{
    api::{GlobalTrafficPolicySpec, LbType, TrafficPolicyEntry, TrafficTarget},
    config::{Propagate, Settings, Sidecars, Weights, WithoutDependency},
    istio::{Object, keys},
    model::{
        Addressing, Availability, Canary, ClusterName, DependencyDecl, GatewayAddress, GatewayService, IstioRouting,
        Kind, Labels, LocalService, Locality, Namespace, Node, Note, NoteKind, ObjectId, Observed, Policy, Rollout,
        RolloutStrategy, Route, RouteRef, ServicePort, TargetPort, Workload,
    },
};

const CLUSTERS: [&str; 4] = ["cluster-1", "cluster-2", "cluster-3", "cluster-4"];
const REGIONS: [&str; 3] = ["us-west", "us-east", "eu-west"];
const NAMESPACES: [&str; 2] = ["team", "team-prod"];
const IDENTITIES: [&str; 4] = ["payments", "Orders", "reports", "greeting"];
const APPS: [&str; 3] = ["web", "batch", "store"];

/// One thing that happens in a fleet.
#[derive(Debug, Clone)]
enum Event {
    Put {
        cluster: usize,
        object: Observed,
    },
    Delete {
        cluster: usize,
        id: ObjectId,
    },
    /// Everything that is wanted is written, and what is not is removed.
    Write,
    /// A cluster leaves the fleet, or comes back with all that stands in it.
    Leave(usize),
    Join(usize),
}

// ---- what a fleet is made of ----

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn workload() -> impl Strategy<Value = Observed> {
    let place = (select(&NAMESPACES[..]), select(&APPS[..]), select(Settings::default().workload_kinds));
    let service =
        (option::weighted(0.9, select(&IDENTITIES[..])), option::of(select(&["stage", "prod", "stage-air"][..])));
    let marks = (prop::bool::weighted(0.1), sidecar(), prop::bool::weighted(0.2), 0..3_i64);
    (place, service, marks, rollout()).prop_map(
        |((namespace, app, kind), (identity, environment), (ignored, sidecar, idle, created_seconds), rollout)| {
            let (mut template_labels, template_annotations, host_network) = sidecar;
            template_labels.insert("app".into(), app.into());
            template_labels.extend(identity.map(|identity| ("identity".into(), identity.into())));
            template_labels.extend(environment.map(|environment| ("env".into(), environment.into())));
            Observed::Workload(Workload {
                created_seconds,
                ignored,
                template_labels,
                template_annotations,
                host_network,
                additional_hosts: app == "web",
                rollout: (kind == Kind::Rollout).then(|| Box::new(rollout)),
                service_accounts: vec!["default".into()],
                availability: if idle { Availability::Unavailable } else { Availability::Available },
                ..Workload::new(ObjectId::new(kind, namespace, app))
            })
        },
    )
}

fn canary(stable: &str, canary: &str, route: Option<&str>) -> RolloutStrategy {
    RolloutStrategy::Canary(Box::new(Canary {
        stable: stable.into(),
        canary: canary.into(),
        versions: [stable, canary].into_iter().filter(|name| !name.is_empty()).map(Into::into).collect(),
        istio: route.map(|route| IstioRouting {
            routes: vec![RouteRef { name: route.into(), ..RouteRef::default() }],
            ..IstioRouting::default()
        }),
        ..Canary::default()
    }))
}

/// What a pod template says about its sidecar: labels, annotations, and whether its pods use the network of their node.
fn sidecar() -> impl Strategy<Value = (Labels, Labels, bool)> {
    let inject = |value| labels(&[("sidecar.istio.io/inject", value)]);
    let annotated = (Labels::new(), inject("true"));
    let choices = vec![
        annotated.clone(),
        annotated.clone(),
        annotated.clone(),
        (Labels::new(), Labels::new()),
        (inject("true"), Labels::new()),
        (labels(&[("istio.io/rev", "canary")]), Labels::new()),
        (inject("false"), inject("true")),
        (labels(&[("istio.io/dataplane-mode", "ambient")]), Labels::new()),
    ];
    (select(choices), prop::bool::weighted(0.1))
        .prop_map(|((labels, marks), host_network)| (labels, marks, host_network))
}

/// What a Rollout says: the Services and the VirtualService are there or not, and its pod template may be a Deployment's.
fn rollout() -> impl Strategy<Value = Rollout> {
    let strategies = vec![
        RolloutStrategy::Nothing,
        RolloutStrategy::BlueGreen { active: "one".into(), preview: "two".into() },
        canary("one", "two", None),
        canary("", "two", None),
        canary("one", "two", Some("route")),
        canary("", "two", Some("route")),
        // One that users would have copied.
        canary("one", "two", Some("route-a")),
    ];
    (select(strategies), option::weighted(0.2, select(&APPS[..]))).prop_map(|(strategy, template)| Rollout {
        template_of: template.map(Into::into),
        unread_template: None,
        strategy,
    })
}

/// The VirtualService that Rollouts name.
fn rollout_route() -> impl Strategy<Value = Observed> {
    (select(&NAMESPACES[..]), vec(0..4_u64, 2)).prop_map(|(namespace, weights)| {
        let to = |host: &str, weight: u64| json!({"destination": {"host": host}, "weight": weight});
        Observed::Route(Box::new(Route {
            id: ObjectId::new(Kind::VirtualService, namespace, "route"),
            created_seconds: 0,
            ignored: false,
            labels: Labels::new(),
            annotations: Labels::new(),
            hosts: vec!["route".into()],
            export_to: Vec::new(),
            spec: Arc::new(json!({"http": [{"route": [to("one", weights[0]), to("two", weights[1])]}]})),
        }))
    })
}

fn client() -> impl Strategy<Value = Observed> {
    let place = (select(&NAMESPACES[..]), select(&["one", "two"][..]), select(Settings::default().client_kinds));
    (place, select(&IDENTITIES[..]), prop::bool::weighted(0.1), sidecar()).prop_map(
        |((namespace, name, kind), identity, ignored, (mut template_labels, template_annotations, host_network))| {
            template_labels.insert("identity".into(), identity.into());
            Observed::Workload(Workload {
                ignored,
                template_labels,
                template_annotations,
                host_network,
                ..Workload::new(ObjectId::new(kind, namespace, name))
            })
        },
    )
}

fn service() -> impl Strategy<Value = Observed> {
    let place = (select(&NAMESPACES[..]), select(&["one", "two"][..]));
    let port = (select(&["http", "grpc-api", "tcp-db", ""][..]), select(&[80_u16, 8080, 9000][..]));
    (place, option::weighted(0.9, select(&APPS[..])), vec(port, 0..3), prop::bool::weighted(0.1), 0..3_i64).prop_map(
        |((namespace, name), app, ports, ignored, created_seconds)| {
            let mut numbers = BTreeSet::new();
            let ports = ports.into_iter().filter(|(_, number)| numbers.insert(*number)).map(|(name, number)| {
                let target = TargetPort::Number(number);
                ServicePort { name: name.into(), number, target, app_protocol: None }
            });
            Observed::Service(LocalService {
                id: ObjectId::new(Kind::Service, namespace, name),
                created_seconds,
                ignored,
                selector: app.map(|app| labels(&[("app", app)])).unwrap_or_default(),
                external_name: false,
                addressing: Addressing::default(),
                ports: ports.collect(),
                gateway: None,
            })
        },
    )
}

/// `loses`: whether it may stand without an address, so that the last one known counts.
fn gateway(loses: bool) -> impl Strategy<Value = Observed> {
    let address = (1..9_u8, prop::bool::weighted(0.7)).prop_map(move |(last, has)| (has || !loses).then_some(last));
    (select(&["gateway-a", "gateway-b"][..]), address, 0..3_i64).prop_map(|(name, last, created_seconds)| {
        let address =
            last.map(|last| GatewayAddress { address: format!("192.0.2.{last}").as_str().into(), port: 15443 });
        Observed::Service(LocalService {
            id: ObjectId::new(Kind::Service, "istio-system", name),
            created_seconds,
            ignored: false,
            selector: Labels::new(),
            external_name: false,
            addressing: Addressing::default(),
            ports: Vec::new(),
            gateway: Some(GatewayService { app: "istio-ingressgateway".into(), address, ..GatewayService::default() }),
        })
    })
}

fn node() -> impl Strategy<Value = Observed> {
    let locality = option::weighted(0.9, (select(&REGIONS[..]), option::of(select(&["a", "b"][..]))));
    (select(&["node-1", "node-2"][..]), locality).prop_map(|(name, locality)| {
        let locality = locality.map(|(region, zone)| match zone {
            Some(zone) => Locality::zone(region, zone),
            None => Locality::region(region),
        });
        Observed::Node(Node { id: ObjectId::new(Kind::Node, "", name), locality })
    })
}

/// What the Namespace of the control plane tells of its cluster.
fn control_plane() -> impl Strategy<Value = Observed> {
    let planes = select(&["", "", "cluster-1", "cluster-2", "cluster-3,cluster-1", "cluster-9"][..]);
    let network = option::of(select(&["network-1", "network-2"][..]));
    (planes, network).prop_map(|(planes, network)| {
        let planes = [("topology.istio.io/controlPlaneClusters".to_owned(), planes.to_owned())];
        let of_network = network.map(|network| (keys::NETWORK.to_owned(), network.to_owned()));
        Observed::Namespace(Namespace {
            cluster_metadata: planes.into_iter().chain(of_network).collect(),
            ..Namespace::new("istio-system")
        })
    })
}

fn namespace() -> impl Strategy<Value = Observed> {
    let mesh_labels = vec![
        Labels::new(),
        labels(&[("istio-injection", "enabled")]),
        labels(&[("istio-injection", "disabled")]),
        labels(&[("istio.io/rev", "canary")]),
        labels(&[("istio.io/dataplane-mode", "ambient")]),
    ];
    (select(&NAMESPACES[..]), prop::bool::weighted(0.2), select(mesh_labels)).prop_map(
        |(name, ignored, mesh_labels)| Observed::Namespace(Namespace { ignored, mesh_labels, ..Namespace::new(name) }),
    )
}

fn target() -> impl Strategy<Value = TrafficTarget> {
    (select(&["us-west", "us-east", "eu-west", "nowhere"][..]), select(&[0_i64, 10, 33, 90, 100, -1][..]))
        .prop_map(|(region, weight)| TrafficTarget { region: region.into(), weight })
}

fn entry() -> impl Strategy<Value = TrafficPolicyEntry> {
    let lb_type = select(vec![LbType::Topology, LbType::Failover, LbType::Failover]);
    (select(&["default", "stage", "west", "EAST", "no_host"][..]), lb_type, vec(target(), 0..4)).prop_map(
        |(prefix, lb_type, target)| TrafficPolicyEntry {
            dns_prefix: prefix.into(),
            lb_type,
            target,
            ..TrafficPolicyEntry::default()
        },
    )
}

fn policy() -> impl Strategy<Value = Observed> {
    let place = (select(&NAMESPACES[..]), select(&["policy-a", "policy-b"][..]));
    let service = (option::weighted(0.9, select(&IDENTITIES[..])), select(&["stage", "prod"][..]));
    (place, service, select(&["1", "2"][..]), any::<bool>(), vec(entry(), 0..4)).prop_map(
        |((namespace, name), (identity, environment), priority, exclude, policy)| {
            let mut all = labels(&[("env", environment), ("priority", priority)]);
            all.extend(identity.map(|identity| ("identity".into(), identity.into())));
            let word = if exclude { "exclude" } else { "include" };
            Observed::Policy(Policy {
                id: ObjectId::new(Kind::GlobalTrafficPolicy, namespace, name),
                created_seconds: 0,
                ignored: false,
                labels: all,
                annotations: labels(&[("tradewind.io/unlisted-regions", word)]),
                spec: Arc::new(GlobalTrafficPolicySpec { policy, ..GlobalTrafficPolicySpec::default() }),
            })
        },
    )
}

fn dependency() -> impl Strategy<Value = Observed> {
    let destinations = subsequence(&IDENTITIES[..], 0..4);
    (select(&["one", "two"][..]), select(&IDENTITIES[..]), destinations).prop_map(|(name, source, destinations)| {
        Observed::Dependency(DependencyDecl {
            id: ObjectId::new(Kind::Dependency, "admiral", name),
            source: source.into(),
            destinations: destinations.into_iter().map(str::to_owned).collect(),
        })
    })
}

/// A user's VirtualService or DestinationRule.
fn route() -> impl Strategy<Value = Observed> {
    let hosts =
        ["stage.payments.global", "Prod.Orders.global", "west.stage.payments.global", "bank.example.com", "one"];
    let place = (select(&NAMESPACES[..]), select(&["route-a", "route-b"][..]), any::<bool>());
    let spec = (vec(select(hosts.to_vec()), 1..3), 1..3_u32, option::weighted(0.1, Just("ingress")));
    let marks = (option::of(select(&["true", "false"][..])), prop::bool::weighted(0.2), 0..3_i64);
    (place, spec, marks).prop_map(
        |((namespace, name, is_rule), (mut hosts, content, gateway), (asks, private, age))| {
            let kind = if is_rule { Kind::DestinationRule } else { Kind::VirtualService };
            let mut spec = if is_rule {
                hosts.truncate(1);
                json!({"host": hosts[0], "subsets": [{"name": format!("subset-{content}")}]})
            } else {
                let destination = json!({"host": "one", "subset": "subset-1"});
                json!({"hosts": hosts, "http": [{"timeout": content, "route": [{"destination": destination}]}]})
            };
            if let (false, Some(gateway)) = (is_rule, gateway) {
                spec["gateways"] = json!([gateway]);
            }
            Observed::Route(Box::new(Route {
                id: ObjectId::new(kind, namespace, name),
                created_seconds: age,
                ignored: false,
                labels: asks.map(|asks| labels(&[(keys::PROPAGATE, asks), ("team", name)])).unwrap_or_default(),
                annotations: Labels::new(),
                hosts: hosts.into_iter().map(str::to_owned).collect(),
                export_to: if private { vec![".".into()] } else { Vec::new() },
                spec: Arc::new(spec),
            }))
        },
    )
}

fn object(loses: bool) -> impl Strategy<Value = Observed> {
    prop_oneof![
        6 => workload(),
        2 => client(),
        2 => rollout_route(),
        5 => service(),
        2 => gateway(loses),
        2 => node(),
        1 => namespace(),
        1 => control_plane(),
        3 => policy(),
        2 => dependency(),
        4 => route(),
    ]
}

fn event(loses: bool) -> impl Strategy<Value = Event> {
    let at = 0..CLUSTERS.len();
    prop_oneof![
        10 => (at.clone(), object(loses)).prop_map(|(cluster, object)| Event::Put { cluster, object }),
        4 => (at.clone(), object(loses)).prop_map(|(cluster, object)| {
            Event::Delete { cluster, id: object.id().clone() }
        }),
        2 => Just(Event::Write),
        1 => at.clone().prop_map(Event::Leave),
        1 => at.prop_map(Event::Join),
    ]
}

/// A fleet that already does something, and what happens to it then.
fn story(loses: bool) -> impl Strategy<Value = Vec<Event>> {
    let begin = CLUSTERS.iter().enumerate().map(|(at, _)| {
        let objects = (vec(workload(), 2..4), vec(service(), 2..4), gateway(false), node());
        objects.prop_map(move |(workloads, services, gateway, node)| -> Vec<Event> {
            let objects = workloads.into_iter().chain(services).chain([gateway, node]);
            objects.map(|object| Event::Put { cluster: at, object }).collect()
        })
    });
    (begin.collect::<Vec<_>>(), vec(event(loses), 1..25))
        .prop_map(|(begin, then)| begin.into_iter().flatten().chain(then).collect())
}

fn settings() -> impl Strategy<Value = Settings> {
    let words = (
        select(vec![Sidecars::Off, Sidecars::Own, Sidecars::Merge]),
        select(vec![Propagate::Published, Propagate::Labelled, Propagate::Off]),
    );
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), words).prop_map(
        |(strict, distribute, narrow, additional, (sidecars, propagate))| Settings {
            without_dependency: if strict { WithoutDependency::None } else { WithoutDependency::All },
            weights: if distribute { Weights::Distribute } else { Weights::Tiers },
            enable_sw_aware_ns_caches: narrow,
            sidecars,
            propagate,
            additional_endpoint_suffixes: additional.then(|| "corp".to_owned()).into_iter().collect(),
            ..Settings::default()
        },
    )
}

// ---- a fleet in motion ----

/// A fleet with what stands in it, so that it can be read again from nothing.
struct Fleet {
    world: World,
    settings: Settings,
    objects: BTreeMap<(usize, ObjectId), Observed>,
    joined: BTreeSet<usize>,
}

impl Fleet {
    fn new(settings: Settings) -> Self {
        let world = World::new(settings.clone());
        for name in CLUSTERS {
            world.listed_empty(&cluster(name));
        }
        world.registry.fleet_listed();
        Self { world, settings, objects: BTreeMap::new(), joined: (0..CLUSTERS.len()).collect() }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Put { cluster: at, object } => {
                self.objects.insert((*at, object.id().clone()), object.clone());
                if self.joined.contains(at) {
                    self.world.registry.apply(&cluster(CLUSTERS[*at]), object.clone());
                }
            }
            Event::Delete { cluster: at, id } => {
                // Namespaces go last: what is in them is gone by then.
                if id.kind != Kind::Namespace && self.objects.remove(&(*at, id.clone())).is_some() {
                    self.world.registry.delete(&cluster(CLUSTERS[*at]), id);
                }
            }
            Event::Write => {
                self.world.write_back();
                self.world.settle();
                assert_eq!(self.world.write_back(), 0, "planning after writing yields nothing");
            }
            Event::Leave(at) => {
                if self.joined.remove(at) {
                    self.world.leave(&cluster(CLUSTERS[*at]));
                }
            }
            Event::Join(at) => {
                if self.joined.insert(*at) {
                    join(&self.world, *at, &self.objects);
                }
            }
        }
        self.world.settle();
    }

    /// The same fleet, read from nothing in another order.
    fn again(&self, seed: u64) -> Picture {
        let mut world = World::new(self.settings.clone());
        let mut order: Vec<usize> = self.joined.iter().copied().collect();
        Numbers::new(seed).shuffle(&mut order);
        for at in order {
            join(&world, at, &self.objects);
        }
        world.registry.fleet_listed();
        world.settle();
        world.picture()
    }
}

fn join(world: &World, at: usize, objects: &BTreeMap<(usize, ObjectId), Observed>) {
    let name = cluster(CLUSTERS[at]);
    world.registry.register(&name);
    let here = |kind: Kind| {
        let of_kind = objects.iter().filter(|((of, id), _)| *of == at && id.kind == kind);
        of_kind.map(|(_, object)| object.clone()).collect::<Vec<_>>()
    };
    for kind in world.registry.settings().watched_kinds().into_iter().chain(Kind::OF_HUB.iter().copied()) {
        world.registry.reset(&name, kind, here(kind));
    }
}

/// The notes that say what is, and not what changed since the controller started.
fn lasting(notes: &[Note]) -> Vec<&Note> {
    let of_changes = [NoteKind::AddressConflict, NoteKind::IdentityGainedNamespace];
    notes.iter().filter(|note| !of_changes.contains(&note.kind)).collect()
}

fn config() -> ProptestConfig {
    // A failure is shrunk and printed; a file beside the sources would only be noise. PROPTEST_CASES asks for more.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// What is planned again after an event is all that the event changes.
    // Invariant: An event marks the units that it can affect, and no others.
    // Invariant: Applying makes no choices: planning after applying changes nothing.
    #[test]
    fn every_event_marks_what_it_changes(settings in settings(), story in story(true)) {
        let mut fleet = Fleet::new(settings);
        for event in &story {
            fleet.happen(event);
            let picture = fleet.world.picture();
            assert_sound(&picture.objects);
            prop_assert_eq!(&fleet.world.wanted(), &picture.objects, "after {:?}", event);
            prop_assert_eq!(&fleet.world.merged(), &picture.merged, "after {:?}", event);
        }
    }

    /// Whatever happened on the way, the same fleet is planned the same; what was written in between included.
    // Invariant: Planning is deterministic: the plan depends neither on the order of events nor on former states.
    #[test]
    fn the_way_does_not_matter(settings in settings(), story in story(false), seed in any::<u64>()) {
        let mut fleet = Fleet::new(settings);
        story.iter().for_each(|event| fleet.happen(event));
        let (found, again) = (fleet.world.picture(), fleet.again(seed));
        prop_assert_eq!(&found.objects, &again.objects);
        prop_assert_eq!(&found.merged, &again.merged);
        prop_assert_eq!(lasting(&found.notes), lasting(&again.notes));
    }

    /// A cluster that leaves and comes back leaves no trace.
    // Invariant: Planning is deterministic: the plan depends neither on the order of events nor on former states.
    #[test]
    fn a_cluster_that_comes_back_finds_everything_as_it_was(settings in settings(), story in story(false), at in 0..CLUSTERS.len()) {
        let mut fleet = Fleet::new(settings);
        story.iter().for_each(|event| fleet.happen(event));
        fleet.happen(&Event::Join(at));
        let before = fleet.world.picture();
        fleet.happen(&Event::Leave(at));
        fleet.happen(&Event::Write);
        fleet.happen(&Event::Join(at));
        let after = fleet.world.picture();
        prop_assert_eq!(before.objects, after.objects);
        prop_assert_eq!(lasting(&before.notes), lasting(&after.notes));
    }

    /// From every cluster, the first tier splits exactly as the policy says, whatever its weights sum to and however many
    /// clusters and endpoints there are: regions that run nothing leave their share to the others, in proportion.
    // Invariant: Traffic is split by the weights of the policy, from every cluster.
    #[test]
    fn weights_match_the_policy(
        clusters in vec((select(&REGIONS[..]), 1..4_usize), 1..7),
        weights in vec(prop_oneof![0..=100_i64, 0..=10_000_i64, Just(1), Just(999)], 3),
    ) {
        let weights = [weights[0], weights[1], weights[2]];
        let (objects, running) = weighted_fleet(&clusters, weights);
        let weight_of = |region: &str| -> u64 {
            let weight = REGIONS.iter().zip(weights).find(|(of, _)| **of == region).map_or(0, |(_, weight)| weight);
            if running.contains(region) { u64::try_from(weight).unwrap() } else { 0 }
        };
        let sum: u64 = REGIONS.iter().map(|region| weight_of(region)).sum();
        for ((in_cluster, _), object) in &objects {
            let Object::ServiceEntry(entry) = object else { continue };
            let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
            for endpoint in entry.spec.endpoints.iter().filter(|endpoint| endpoint.locality.contains("/tier0-")) {
                *shares.entry(&*endpoint.labels[keys::ENDPOINT_REGION]).or_default() += u64::from(endpoint.weight);
            }
            let total: u64 = shares.values().sum();
            prop_assert_eq!(total > 0, sum > 0, "in {}", in_cluster);
            for region in REGIONS {
                let share = shares.get(region).copied().unwrap_or_default();
                prop_assert_eq!(share * sum, weight_of(region) * total, "{} in {}", region, in_cluster);
            }
        }
    }
}

/// A fleet of clusters, each in a region and with a number of Services, and one policy.
fn weighted_fleet(clusters: &[(&'static str, usize)], weights: [i64; 3]) -> (Objects, BTreeSet<&'static str>) {
    let mut world = World::new(Settings::default());
    let names: Vec<ClusterName> = (1..=clusters.len()).map(|n| cluster(&format!("cluster-{n}"))).collect();
    for ((name, at), (region, services)) in names.iter().zip(1..).zip(clusters) {
        world.listed_empty(name);
        let registry = &world.registry;
        let locality = Some(Locality::region(region));
        registry.apply(name, Observed::Node(Node { id: ObjectId::new(Kind::Node, "", "node"), locality }));
        let address = Some(GatewayAddress { address: format!("192.0.2.{at}").as_str().into(), port: 15443 });
        let gateway = GatewayService { app: "istio-ingressgateway".into(), address, ..GatewayService::default() };
        let plain = |namespace: &str, service: &str, gateway| LocalService {
            id: ObjectId::new(Kind::Service, namespace, service),
            created_seconds: 0,
            ignored: false,
            selector: labels(&[("app", service)]),
            external_name: false,
            addressing: Addressing::default(),
            ports: vec![ServicePort {
                name: "http".into(),
                number: 80,
                target: TargetPort::Number(80),
                app_protocol: None,
            }],
            gateway,
        };
        registry.apply(name, Observed::Service(plain("istio-system", "gateway", Some(gateway))));
        for service in APPS.iter().take(*services) {
            registry.apply(name, Observed::Service(plain("team", service, None)));
            registry.apply(
                name,
                Observed::Workload(Workload {
                    template_labels: labels(&[("app", service), ("identity", "payments"), ("env", "stage")]),
                    template_annotations: labels(&[("sidecar.istio.io/inject", "true")]),
                    service_accounts: vec!["default".into()],
                    ..Workload::new(ObjectId::new(Kind::Deployment, "team", service))
                }),
            );
        }
    }
    let target = REGIONS.iter().zip(weights);
    let target = target.map(|(region, weight)| TrafficTarget { region: (*region).into(), weight }).collect();
    let entry = TrafficPolicyEntry {
        dns_prefix: "default".into(),
        lb_type: LbType::Failover,
        target,
        ..TrafficPolicyEntry::default()
    };
    world.registry.apply(
        &names[0],
        Observed::Policy(Policy {
            id: ObjectId::new(Kind::GlobalTrafficPolicy, "team", "payments"),
            created_seconds: 0,
            ignored: false,
            labels: labels(&[("identity", "payments"), ("env", "stage")]),
            annotations: Labels::new(),
            spec: Arc::new(GlobalTrafficPolicySpec { policy: vec![entry], ..GlobalTrafficPolicySpec::default() }),
        }),
    );
    world.registry.fleet_listed();
    world.settle();
    let objects = world.picture().objects;
    assert_sound(&objects);
    assert!(!objects.is_empty());
    (objects, clusters.iter().map(|(region, _)| *region).collect())
}
