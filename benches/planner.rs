//! The planner alone: a large fleet in memory, planned whole, then re-planned after one change.
//!
//! `cargo bench --bench planner [-- CLUSTERS SERVICES]`. Prints figures; asserts nothing about time.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use tradewind::{
    config::Settings,
    model::{
        Addressing, ClusterName, DependencyDecl, GatewayAddress, GatewayService, Kind, Labels, LocalService, Locality,
        Namespace, Node, Now, ObjectId, Observed, Policy, ServicePort, TargetPort, WorkKey, Workload,
    },
    planner::plan_unit,
    registry::Registry,
};

const NAMESPACES: usize = 50;
const DEPENDENCIES: usize = 5;
const POLICY_EVERY: usize = 5;
const REGIONS: [&str; 4] = ["us-west-2", "us-east-2", "eu-west-1", "ap-south-1"];
const CHANGES: usize = 1000;

/// A small generator with a fixed seed (Knuth's MMIX constants), so that every run has the same fleet.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn workload(service: usize) -> Observed {
    let name = format!("service-{service}");
    Observed::Workload(Workload {
        created_seconds: 1,
        template_labels: pairs(&[("app", &name), ("identity", &name), ("env", "stage")]),
        template_annotations: pairs(&[("sidecar.istio.io/inject", "true")]),
        service_accounts: vec!["default".into()],
        ..Workload::new(ObjectId::new(Kind::Deployment, &format!("team-{}", service % NAMESPACES), &name))
    })
}

fn local_service(service: usize) -> Observed {
    let name = format!("service-{service}");
    Observed::Service(LocalService {
        id: ObjectId::new(Kind::Service, &format!("team-{}", service % NAMESPACES), &name),
        created_seconds: 1,
        ignored: false,
        selector: pairs(&[("app", &name)]),
        external_name: false,
        addressing: Addressing::default(),
        ports: vec![ServicePort {
            name: "http".into(),
            number: 8080,
            target: TargetPort::Number(8080),
            app_protocol: None,
        }],
        gateway: None,
    })
}

fn policy(service: usize, weights: (i64, i64)) -> Observed {
    let name = format!("service-{service}");
    let spec = serde_json::json!({"policy": [{"dnsPrefix": "default", "lbType": 1, "target": [
        {"region": REGIONS[service % 4], "weight": weights.0}, {"region": REGIONS[(service + 1) % 4], "weight": weights.1}]}]});
    Observed::Policy(Policy {
        id: ObjectId::new(Kind::GlobalTrafficPolicy, &format!("team-{}", service % NAMESPACES), &name),
        created_seconds: 1,
        ignored: false,
        labels: pairs(&[("identity", &name), ("env", "stage")]),
        annotations: Labels::new(),
        spec: Arc::new(serde_json::from_value(spec).expect("a policy")),
    })
}

fn gateway(cluster: usize) -> Observed {
    let address = format!("gateway-{cluster}.example.com.");
    Observed::Service(LocalService {
        id: ObjectId::new(Kind::Service, "istio-system", "gateway"),
        created_seconds: 1,
        ignored: false,
        selector: pairs(&[("app", "gateway")]),
        external_name: false,
        addressing: Addressing::default(),
        ports: Vec::new(),
        gateway: Some(GatewayService {
            app: "istio-ingressgateway".into(),
            address: Some(GatewayAddress { address: address.as_str().into(), port: 15443 }),
            ..GatewayService::default()
        }),
    })
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let (clusters, services) = (numbers.first().copied().unwrap_or(200), numbers.get(1).copied().unwrap_or(10_000));
    let mut random = Lcg(7);
    let name = |cluster: usize| ClusterName::parse(&format!("cluster-{cluster}")).expect("a name");
    let names: Vec<ClusterName> = (0..clusters).map(name).collect();
    let homes: Vec<[usize; 2]> = (0..services)
        .map(|_| {
            let first = random.below(clusters);
            [first, (first + 1 + random.below(clusters - 1)) % clusters]
        })
        .collect();
    let before_kib = resident_kib();
    let begin = Instant::now();
    let registry = Registry::new(Arc::new(Settings::default()));
    let hub = ClusterName::hub();
    registry.register_hub(&hub);
    for cluster in &names {
        registry.register(cluster);
    }
    let declared = |service: usize, random: &mut Lcg| {
        Observed::Dependency(DependencyDecl {
            id: ObjectId::new(Kind::Dependency, "admiral", &format!("service-{service}")),
            source: format!("service-{service}"),
            destinations: (0..DEPENDENCIES).map(|_| format!("service-{}", random.below(services))).collect(),
        })
    };
    let declarations = (0..services).map(|service| declared(service, &mut random)).collect();
    registry.reset(&hub, Kind::Dependency, declarations);
    for kind in Kind::OF_HUB.iter().filter(|kind| **kind != Kind::Dependency) {
        registry.reset(&hub, *kind, Vec::new());
    }
    for (index, cluster) in names.iter().enumerate() {
        let here: Vec<usize> = (0..services).filter(|service| homes[*service].contains(&index)).collect();
        let node = Node {
            id: ObjectId::new(Kind::Node, "", "node"),
            locality: Some(Locality::zone(REGIONS[index % REGIONS.len()], "a")),
        };
        let namespaces = (0..NAMESPACES).map(|n| format!("team-{n}")).chain(["admiral-sync".to_owned()]);
        let namespace = |name: String| Observed::Namespace(Namespace::new(&name));
        for kind in registry.settings().watched_kinds() {
            let objects = match kind {
                Kind::Deployment => here.iter().map(|service| workload(*service)).collect(),
                Kind::Service => here.iter().map(|service| local_service(*service)).chain([gateway(index)]).collect(),
                Kind::Node => vec![Observed::Node(node.clone())],
                Kind::Namespace => namespaces.clone().map(namespace).collect(),
                Kind::GlobalTrafficPolicy => here
                    .iter()
                    .filter(|service| *service % POLICY_EVERY == 0)
                    .map(|service| policy(*service, (80, 20)))
                    .collect(),
                _ => Vec::new(),
            };
            registry.reset(cluster, kind, objects);
        }
    }
    registry.fleet_listed();
    let loaded = begin.elapsed();
    let loaded_kib = resident_kib();

    let begin = Instant::now();
    let units = registry.take_dirty();
    let (mut objects, mut hosts) = (0, 0);
    for unit in &units {
        let WorkKey::Service(key) = unit else { continue };
        let plan = plan_unit(&registry, &WorkKey::Service(key.clone()), Now::default()).and_then(|plan| plan.service);
        let plan = plan.expect("the fleet is listed");
        hosts += plan
            .clusters
            .iter()
            .flat_map(|cluster| &cluster.hosts)
            .map(|host| &host.host)
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        objects += 2 * plan.clusters.iter().map(|cluster| cluster.hosts.len()).sum::<usize>();
        black_box(plan);
    }
    let full = begin.elapsed();
    let planned_kib = resident_kib();

    let mut changes: Vec<Duration> = Vec::new();
    for change in 0..CHANGES {
        let service = random.below(services / POLICY_EVERY) * POLICY_EVERY;
        let weights = if change % 2 == 0 { (70, 30) } else { (60, 40) };
        let begin = Instant::now();
        registry.apply(&names[homes[service][0]], policy(service, weights));
        for unit in registry.take_dirty() {
            if let WorkKey::Service(key) = unit {
                black_box(plan_unit(&registry, &WorkKey::Service(key), Now::default()));
            }
        }
        changes.push(begin.elapsed());
    }
    changes.sort();
    let at = |share: f64| changes[((changes.len() - 1) as f64 * share) as usize];
    let mib = |kib: usize| kib as f64 / 1024.0;
    println!("fleet                        {clusters} clusters, {services} services, {hosts} hosts, {objects} objects");
    println!("load into the registry       {:.2} s", loaded.as_secs_f64());
    println!(
        "full plan                    {:.2} s, {:.0} µs a service",
        full.as_secs_f64(),
        full.as_secs_f64() * 1e6 / services as f64
    );
    println!(
        "one policy change, re-planned {:.0} µs median, {:.0} µs p99",
        at(0.5).as_secs_f64() * 1e6,
        at(0.99).as_secs_f64() * 1e6
    );
    println!(
        "registry                     {:.1} MiB, {:.2} MiB per thousand hosts",
        mib(loaded_kib - before_kib),
        mib(loaded_kib - before_kib) * 1000.0 / hosts as f64
    );
    println!(
        "with hosts and addresses     {:.1} MiB, {:.2} MiB per thousand hosts",
        mib(planned_kib - before_kib),
        mib(planned_kib - before_kib) * 1000.0 / hosts as f64
    );
}
