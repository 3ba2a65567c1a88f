//! Three real clusters (etcd and kube-apiserver each) with a few hundred services: what the controller takes from cold start
//! to settled, per policy change, and at idle, beside the limit that the same machine sets.
//!
//! `cargo bench --bench clusters [-- SERVICES PROBES IDLE_SECONDS FLAGS]`, with flags of the controller. Prints figures; asserts nothing about time.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{TestCluster, controller::Controller, eventually, start_three};
use tokio::sync::Notify;

const NAMESPACES: usize = 50;
const DEPENDENCIES: usize = 5;
/// One service of so many has a policy.
const POLICY_EVERY: usize = 5;
const REGIONS: [&str; 3] = ["us-west", "us-east", "eu-west"];
/// Writes of the bare loop under way at once, per cluster: as many as the controller's default.
const BARE_CONCURRENCY: usize = 32;
const SETTLE: Duration = Duration::from_secs(600);
/// A change that no cluster shows by then is lost.
const LOST: Duration = Duration::from_secs(10);

/// A small generator with a fixed seed (Knuth's MMIX constants), so that every run has the same load.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn namespace(service: usize) -> String {
    format!("team-{}", service % NAMESPACES)
}

fn workload(service: usize) -> [Value; 2] {
    let (name, namespace) = (format!("service-{service}"), namespace(service));
    let labels = json!({"app": name, "identity": name, "env": "stage"});
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "true"}},
                         "spec": {"containers": [{"name": "app", "image": "example.com/app"}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
               "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 8080}]}}),
    ]
}

fn policy(service: usize, homes: &[[usize; 2]], first_percent: usize) -> Value {
    let [a, b] = homes[service];
    json!({"apiVersion": "admiral.io/v1alpha1", "kind": "GlobalTrafficPolicy",
           "metadata": {"name": format!("service-{service}"), "namespace": namespace(service),
                        "labels": {"identity": format!("service-{service}"), "env": "stage"}},
           "spec": {"policy": [{"dnsPrefix": "default", "lbType": 1, "target": [
               {"region": REGIONS[a], "weight": first_percent}, {"region": REGIONS[b], "weight": 100 - first_percent}]}]}})
}

fn place(cluster: usize) -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{cluster}"),
               "labels": {"topology.kubernetes.io/region": REGIONS[cluster]}}}),
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "gateway", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}},
               "spec": {"type": "LoadBalancer", "selector": {"istio": "gateway"}, "ports": [{"name": "tls", "port": 15443}]}}),
    ]
}

fn gateway_status(cluster: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: gateway, namespace: istio-system}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 192.0.2.{}}}]}}}}\n",
        cluster + 1
    )
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", kind))
}

fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

async fn written(client: &Client) -> Vec<(&'static str, DynamicObject)> {
    let mut all = Vec::new();
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=tradewind");
    for kind in ["ServiceEntry", "DestinationRule", "Sidecar"] {
        let listed = Api::all_with(client.clone(), &resource(kind)).list(&ours).await.expect("a list");
        all.extend(listed.items.into_iter().map(|object: DynamicObject| (kind, object)));
    }
    all
}

async fn erase(clients: &[Client]) {
    for client in clients {
        let objects = written(client).await;
        stream::iter(objects)
            .for_each_concurrent(BARE_CONCURRENCY, async |(kind, object)| {
                let (name, namespace) = (object.metadata.name.expect("a name"), object.metadata.namespace);
                let api = api(client, kind, &namespace.expect("a namespace"));
                api.delete(&name, &Default::default()).await.expect("a delete");
            })
            .await;
    }
}

/// The limit: the same objects, by nothing but parallel server-side apply.
async fn bare_loop(clients: &[Client], objects: &[Vec<(&'static str, Value)>]) -> Duration {
    let begin = Instant::now();
    let parameters = PatchParams::apply("bare-loop");
    join_all(clients.iter().zip(objects).map(async |(client, objects)| {
        stream::iter(objects)
            .for_each_concurrent(BARE_CONCURRENCY, async |(kind, object)| {
                let text = |field: &str| object["metadata"][field].as_str().expect("a text");
                let api = api(client, kind, text("namespace"));
                api.patch(text("name"), &parameters, &Patch::Apply(object)).await.expect("an apply");
            })
            .await;
    }))
    .await;
    begin.elapsed()
}

/// Starts the controller and waits until it wrote `expected` objects, or until it stays quiet where that is not known yet.
async fn settle(hub: &TestCluster, flags: &[&str], expected: Option<usize>) -> (Controller, Duration, Duration) {
    let begin = Instant::now();
    let controller = Controller::start_with(hub, flags).await;
    controller.ready().await;
    let planned = begin.elapsed();
    let mut seen = (0, Instant::now());
    eventually("the controller settles", SETTLE, async || {
        let metrics = controller.metrics().await?;
        let sum = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let (writes, waiting) = (sum("tradewind_writes_total") as usize, sum("tradewind_write_queue_depth"));
        if writes != seen.0 {
            seen = (writes, Instant::now());
        }
        let quiet = waiting == 0.0 && seen.1.elapsed() > Duration::from_secs(2);
        if expected.map_or(quiet && writes > 0, |expected| writes >= expected && waiting == 0.0) {
            Ok(())
        } else {
            Err(format!("{writes} writes, {waiting} units wait"))
        }
    })
    .await;
    (controller, planned, begin.elapsed())
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // utime and stime, in clock ticks of 1/100 s on Linux.
    [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// A cluster and the name of a ServiceEntry there.
type Place = (usize, String);

/// What each cluster's ServiceEntries say now, and when that was seen.
#[derive(Default)]
struct Seen {
    weights: Mutex<HashMap<Place, (Vec<u64>, Instant)>>,
    changed: Notify,
}

fn watch(clients: &[Client], seen: &Arc<Seen>) {
    for (cluster, client) in clients.iter().enumerate() {
        let (api, seen) = (api(client, "ServiceEntry", "admiral-sync"), seen.clone());
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
            while let Ok(Some(object)) = events.try_next().await {
                let weights = object.data["spec"]["endpoints"].as_array().into_iter().flatten();
                let weights = weights.map(|endpoint| endpoint["weight"].as_u64().unwrap_or_default()).collect();
                seen.weights
                    .lock()
                    .insert((cluster, object.metadata.name.unwrap_or_default()), (weights, Instant::now()));
                seen.changed.notify_waiters();
            }
        });
    }
}

/// Edits one policy and waits until every cluster that holds the service shows it.
async fn probe(seen: &Seen, client: &Client, service: usize, homes: &[[usize; 2]], percent: usize) -> Option<Duration> {
    let name = format!("stage.service-{service}.global-se");
    let holders: Vec<usize> =
        (0..REGIONS.len()).filter(|c| seen.weights.lock().contains_key(&(*c, name.clone()))).collect();
    let policies = ApiResource::from_gvk(&GroupVersionKind::gvk("admiral.io", "v1alpha1", "GlobalTrafficPolicy"));
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &namespace(service),
        &ApiResource { plural: "globaltrafficpolicies".into(), ..policies },
    );
    let mut wanted = vec![percent as u64, 100 - percent as u64];
    wanted.sort_unstable();
    let begin = Instant::now();
    let edit = Patch::Apply(policy(service, homes, percent));
    api.patch(&format!("service-{service}"), &PatchParams::apply("owner").force(), &edit).await.expect("an edit");
    let followed = async {
        loop {
            let changed = seen.changed.notified();
            let last = {
                let weights = seen.weights.lock();
                let shown = |cluster: &usize| {
                    let (now, at) = weights.get(&(*cluster, name.clone()))?;
                    let mut now = now.clone();
                    now.sort_unstable();
                    (now == wanted).then_some(*at)
                };
                holders.iter().map(shown).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
            };
            match last {
                Some(last) => return last.duration_since(begin),
                None => changed.await,
            }
        }
    };
    tokio::time::timeout(LOST, followed).await.ok()
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    // Cargo adds one of its own.
    let is_flag = |argument: &&str| argument.starts_with("--") && *argument != "--bench";
    let flags: Vec<&str> = arguments.iter().map(String::as_str).filter(is_flag).collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (services, probes, idle_seconds) = (number(0, 300), number(1, 200), number(2, 60));
    let mut random = Lcg(7);
    let homes: Vec<[usize; 2]> = (0..services)
        .map(|_| {
            let first = random.below(3);
            [first, (first + 1 + random.below(2)) % 3]
        })
        .collect();

    eprintln!("starting three clusters with {services} services");
    let clusters = start_three().await;
    let crds = support::controller::crds();
    join_all(clusters.iter().enumerate().map(async |(index, cluster)| {
        support::istio::install_crds(cluster).await;
        cluster.apply_yaml(&crds).await;
        let here = (0..services).filter(|service| homes[*service].contains(&index));
        let mut objects: Vec<Value> = here.clone().flat_map(workload).chain(place(index)).collect();
        objects.extend(here.filter(|s| s % POLICY_EVERY == 0 && homes[*s][0] == index).map(|s| policy(s, &homes, 80)));
        cluster.apply(objects).await;
        cluster.apply_status(&gateway_status(index)).await;
    }))
    .await;
    let declared = |service: usize, random: &mut Lcg| {
        let destinations: Vec<String> =
            (0..DEPENDENCIES).map(|_| format!("service-{}", random.below(services))).collect();
        json!({"apiVersion": "admiral.io/v1alpha1", "kind": "Dependency",
               "metadata": {"name": format!("service-{service}"), "namespace": "admiral"},
               "spec": {"source": format!("service-{service}"), "destinations": destinations}})
    };
    let hub = &clusters[0];
    hub.apply((0..services).map(|service| declared(service, &mut random)).collect()).await;
    let secrets = clusters.iter().map(|c| support::controller::cluster_secret(c.name(), &c.kubeconfig()));
    hub.apply(secrets.collect()).await;
    let clients: Vec<Client> = clusters.iter().map(TestCluster::client).collect();

    eprintln!("finding out which objects it comes to");
    let (controller, _, _) = settle(hub, &flags, None).await;
    drop(controller);
    let mut objects: Vec<Vec<(&'static str, Value)>> = Vec::new();
    for client in &clients {
        let bare = |(kind, object): (&'static str, DynamicObject)| {
            let manifest = json!({"apiVersion": "networking.istio.io/v1", "kind": kind,
                "metadata": {"name": object.metadata.name, "namespace": object.metadata.namespace, "labels": object.metadata.labels,
                             "annotations": object.metadata.annotations}, "spec": object.data["spec"]});
            (kind, manifest)
        };
        objects.push(written(client).await.into_iter().map(bare).collect());
    }
    let expected: usize = objects.iter().map(Vec::len).sum();
    let entries = objects.iter().flatten().filter(|(kind, _)| *kind == "ServiceEntry").count();
    erase(&clients).await;

    eprintln!("the limit: a bare loop writes the same objects");
    let limit = bare_loop(&clients, &objects).await;
    erase(&clients).await;

    eprintln!("cold start");
    let mut marks = Vec::new();
    for cluster in &clusters {
        marks.push(cluster.mark().await);
    }
    let (controller, planned, cold) = settle(hub, &flags, Some(expected)).await;
    let mut writes: BTreeMap<(usize, String, String, String), usize> = BTreeMap::new();
    for (index, (cluster, mark)) in clusters.iter().zip(&marks).enumerate() {
        let ours = cluster.writes(*mark).await.into_iter().filter(|write| write.user_agent.starts_with("tradewind"));
        for write in ours {
            *writes.entry((index, write.resource, write.namespace, write.name)).or_default() += 1;
        }
    }
    let total: usize = writes.values().sum();
    let most = writes.values().max().copied().unwrap_or_default();
    let cold_cpu = cpu_seconds(controller.id());

    eprintln!("policy changes");
    let seen = Arc::new(Seen::default());
    watch(&clients, &seen);
    eventually("the watches are there", LOST, async || {
        let held = seen.weights.lock().len();
        if held == entries { Ok(()) } else { Err(format!("{held} of {entries}")) }
    })
    .await;
    let mut latencies = Vec::new();
    let mut lost = 0;
    for round in 0..probes {
        let service = random.below(services / POLICY_EVERY) * POLICY_EVERY;
        match probe(&seen, &clients[homes[service][0]], service, &homes, 51 + round % 29).await {
            Some(latency) => latencies.push(latency),
            None => lost += 1,
        }
    }
    latencies.sort();
    let at = |share: f64| {
        latencies
            .get(((latencies.len().max(1) - 1) as f64 * share).round() as usize)
            .map_or(0.0, |l| l.as_secs_f64() * 1e3)
    };

    eprintln!("idle for {idle_seconds} s");
    let mut marks = Vec::new();
    for cluster in &clusters {
        marks.push(cluster.mark().await);
    }
    let cpu_before = cpu_seconds(controller.id());
    tokio::time::sleep(Duration::from_secs(idle_seconds as u64)).await;
    let idle_cpu = cpu_seconds(controller.id()) - cpu_before;
    let mut idle_writes = 0;
    for (cluster, mark) in clusters.iter().zip(&marks) {
        idle_writes +=
            cluster.writes(*mark).await.iter().filter(|write| write.user_agent.starts_with("tradewind")).count();
    }

    let ratio = cold.as_secs_f64() / limit.as_secs_f64();
    println!("load                      3 clusters, {services} services, {expected} objects");
    println!("limit: bare loop          {:.2} s", limit.as_secs_f64());
    println!("cold start to settled     {:.2} s ({ratio:.2} times the limit), {cold_cpu:.2} s CPU", cold.as_secs_f64());
    println!("  until planned once      {:.2} s", planned.as_secs_f64());
    println!(
        "writes per object         {:.3} on average, {most} at most ({total} writes)",
        total as f64 / expected as f64
    );
    println!(
        "policy change to last write  p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, lost {lost} of {probes}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("idle for {idle_seconds} s             {idle_writes} writes, {idle_cpu:.2} s CPU");
    println!("peak memory               {:.1} MiB", peak_mib(controller.id()));
}
