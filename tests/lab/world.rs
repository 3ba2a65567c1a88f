//! The mesh: four clusters of the payments story, each with its network, API server, istiod, gateway and a few pods,
//! and one Tradewind over them.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tradewind::sample;

use crate::{
    application, cases,
    certificates::{Intermediate, Root},
    enclosure,
    istiod::{self, Istiod, Trust},
    network,
    pod::{Endpoint, Kind, Plan, Pod},
    roles,
    support::{
        Place, TestCluster,
        controller::{self, Controller},
        documents, eventually, istio, process,
        process::Process,
    },
};

/// The trust domain of every cluster, where a case does not say otherwise.
pub const TRUST: Trust = Trust { domain: "cluster.local", alias: "" };

/// From a written policy to the proxy that has it, on a busy machine.
pub const CONVERGED_WITHIN: Duration = Duration::from_secs(60);

/// What the sample calls each gateway; the lab puts real addresses in their place.
const PAPER_GATEWAYS: [&str; 4] = ["192.0.2.10", "198.51.100.20", "203.0.113.30", "192.0.2.40"];

const ROLLOUTS: &str = include_str!("../support/crds/argo-rollouts.yaml");
const MESH: &str = include_str!("manifests/mesh.yaml");
const CLUSTER_4: &str = include_str!("manifests/cluster-4.yaml");
/// Payments in cluster-4, the third region.
pub const PAYMENTS_IN_4: &str = include_str!("manifests/cluster-4-payments.yaml");

const PLANS: &[Plan] = &[
    Plan::of(1, 0, "eastwestgateway", "istio-system", Kind::Gateway),
    Plan::of(1, 1, "orders", "orders", Kind::Client),
    Plan::of(1, 2, "stranger", "strangers", Kind::Client),
    Plan::of(2, 0, "eastwestgateway", "istio-system", Kind::Gateway),
    Plan::of(2, 1, "reports", "reports", Kind::Client),
    Plan::of(2, 2, "payments", "payments-west", Kind::Server),
    Plan { name: "payments-next", ..Plan::of(2, 3, "payments", "payments-west", Kind::Spare) },
    Plan::of(3, 0, "eastwestgateway", "istio-system", Kind::Gateway),
    Plan::of(3, 1, "payments", "payments-east", Kind::Server),
    Plan::of(4, 0, "eastwestgateway", "istio-system", Kind::Gateway),
    Plan::of(4, 1, "payments", "payments-eu", Kind::Server),
    Plan::of(4, 2, "stranger", "strangers", Kind::Client),
];

/// Services that cases make in cluster-2, and the pod behind each: names are resolved by what the name server was told
/// at its start.
const SERVICES_OF_CASES: &[(&str, &str)] = &[
    ("payments-stable", "payments"),
    ("payments-canary", "payments-next"),
    ("payments-active", "payments"),
    ("payments-preview", "payments-next"),
];

/// The settings that every case has.
const SETTINGS: [&str; 2] = ["--sidecars=own", "--enable-sw-aware-ns-caches=true"];

/// Valid to the schema, and not to istiod: the shares of `distribute` do not sum to 100.
const INVALID: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: invalid, namespace: default}
spec:
  host: invalid.global
  trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: us-west, to: {us-east: 60}}]}}}
";

/// How an API server passes on that istiod refuses an object.
pub const REFUSED: &str =
    "admission webhook \"rev.validation.istio.io\" denied the request: configuration is invalid: ";

/// One cluster of the mesh.
pub struct Cluster {
    /// 1 to 4.
    pub number: u8,
    /// Its API server.
    pub api: TestCluster,
    place: Place,
    authority: Intermediate,
    trust: std::sync::Mutex<Trust>,
    istiod: Mutex<Option<Istiod>>,
    /// Objects that its istiod was to refuse.
    refused: AtomicU64,
    /// Its pods.
    pub pods: Vec<Pod>,
    names: Mutex<Option<Process>>,
}

/// All of it.
pub struct World {
    /// In the order of their numbers.
    pub clusters: Vec<Cluster>,
    root: Root,
    controller: Mutex<Option<Controller>>,
    /// Settings of a case, beside [`SETTINGS`].
    settings: std::sync::Mutex<&'static [&'static str]>,
    /// Proxies that `tradewind verify` found as planned, and differences that it named where there had to be one.
    found: [AtomicU64; 2],
}

impl World {
    /// Brings everything up, and waits until every proxy serves.
    pub async fn start(log: impl Fn(&str)) -> Self {
        network::make_router();
        enclosure::resolve_by(network::NAME_SERVER);
        let root = Root::make("root of the lab");
        let clusters = join_all((1..=4).map(|number| Cluster::start(number, &root))).await;
        log("four API servers are ready");
        join_all(clusters.iter().map(Cluster::furnish)).await;
        join_all(clusters.iter().map(Cluster::start_istiod)).await;
        join_all(clusters.iter().map(|cluster| cluster.validate(&root))).await;
        log("four istiods are ready");
        let world = Self {
            clusters,
            root,
            controller: Mutex::default(),
            settings: std::sync::Mutex::default(),
            found: Default::default(),
        };
        let hub = &world.clusters[0].api;
        let secrets =
            world.clusters.iter().map(|Cluster { api, .. }| controller::cluster_secret(api.name(), &api.kubeconfig()));
        hub.apply(secrets.collect()).await;
        world.start_controller().await;
        let pem = world.root.pem();
        let pods = || world.clusters.iter().flat_map(|cluster| cluster.pods.iter().map(move |pod| (cluster, pod)));
        join_all(pods().map(|(cluster, pod)| pod.start(&cluster.api, &pem, TRUST))).await;
        join_all(pods().map(|(_, pod)| pod.live())).await;
        log("Tradewind is ready and every proxy is live");
        world
    }

    /// Starts Tradewind, as after [`World::kill_controller`].
    pub async fn start_controller(&self) {
        let controller = Controller::start_with(&self.clusters[0].api, &self.settings()).await;
        controller.ready().await;
        *self.controller.lock().await = Some(controller);
    }

    fn settings(&self) -> Vec<&'static str> {
        let of_case = *self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        SETTINGS.iter().chain(of_case).copied().collect()
    }

    /// Starts Tradewind anew, with these settings beside those of every case.
    pub async fn set(&self, settings: &'static [&'static str]) {
        self.kill_controller().await;
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        self.start_controller().await;
    }

    /// Ends Tradewind as a crash would.
    pub async fn kill_controller(&self) {
        self.controller.lock().await.take();
    }

    /// Puts two clusters on the network of the first: their pods reach each other.
    pub async fn join(&self, a: u8, b: u8) {
        network::peer(a, b);
        for (of, other) in [(a, b), (b, a)] {
            for pod in &self.cluster(of).pods {
                network::reach(pod.place(), of, pod.plan.number, other);
            }
        }
        self.cluster(b).renetwork(a).await;
        self.begin_anew(b).await;
    }

    /// Ends [`World::join`], whether or not it came to its end.
    pub async fn part(&self, a: u8, b: u8) {
        network::unpeer(a);
        for (of, other) in [(a, b), (b, a)] {
            self.cluster(of).pods.iter().for_each(|pod| network::unreach(pod.place(), other));
        }
        self.cluster(b).renetwork(b).await;
        self.begin_anew(b).await;
    }

    /// Has the istiod of one cluster serve the proxies of another, which has none then, as in a primary-remote mesh (Istio
    /// documentation, "Install Primary-Remote on different networks").
    pub async fn serve(&self, primary: u8, remote: u8) {
        let (primary, remote) = (self.cluster(primary), self.cluster(remote));
        primary.api.apply(vec![remote_secret(remote.api.name(), &remote.api.kubeconfig())]).await;
        // What those proxies listen to is configuration, too, and read where the rest is.
        let servers = remote.pods.iter().filter(|pod| pod.plan.kind == Kind::Server);
        primary.api.apply(servers.map(|pod| inbound(&pod.plan)).collect()).await;
        primary.api.apply(primary.control_plane(json!({}))).await;
        remote.api.apply(remote.control_plane(json!({CONTROL_PLANES: primary.api.name()}))).await;
        remote.kill_istiod().await;
        remote.name_istiod(primary.place.address).await;
        self.begin_anew(remote.number).await;
    }

    /// Ends [`World::serve`], whether or not it came to its end.
    pub async fn serve_itself(&self, primary: u8, remote: u8) {
        let (primary, remote) = (self.cluster(primary), self.cluster(remote));
        if remote.istiod.lock().await.is_none() {
            remote.start_istiod().await;
        }
        remote.name_istiod(remote.place.address).await;
        // Only now: what is written there is validated, over a connection that stays.
        remote.apply_manifests().await;
        primary.apply_manifests().await;
        self.begin_anew(remote.number).await;
        for pod in remote.pods.iter().filter(|pod| pod.plan.kind == Kind::Server) {
            let name = format!("{}-inbound", pod.plan.name);
            primary.api.delete("Sidecar.networking.istio.io", pod.plan.namespace, &name).await;
        }
        primary.api.delete("v1/Secret", "istio-system", &remote_secret_name(remote.api.name())).await;
    }

    /// All pods of a cluster begin anew.
    async fn begin_anew(&self, number: u8) {
        let cluster = self.cluster(number);
        cluster.pods.iter().filter(|pod| pod.runs()).for_each(Pod::kill);
        join_all(cluster.pods.iter().map(|pod| self.restart(number, pod.plan.name))).await;
    }

    /// Starts again what a failed case left dead, and ends what it left on.
    pub async fn mend(&self) {
        self.part(2, 3).await;
        self.serve_itself(1, 4).await;
        cases::rollouts::undo(self).await;
        cases::proxy::undo(self).await;
        cases::filters::undo(self).await;
        cases::gateways::undo(self).await;
        self.set(&[]).await;
        for cluster in &self.clusters {
            network::mend_outside(cluster.number);
            if cluster.istiod.lock().await.is_none() {
                cluster.start_istiod().await;
            }
            for pod in cluster.pods.iter().filter(|pod| !pod.runs()) {
                self.restart(cluster.number, pod.plan.name).await;
            }
        }
    }

    /// A cluster by its number.
    pub fn cluster(&self, number: u8) -> &Cluster {
        &self.clusters[usize::from(number) - 1]
    }

    /// A pod by the number of its cluster and its name.
    pub fn pod(&self, cluster: u8, name: &str) -> &Pod {
        let mut pods = self.cluster(cluster).pods.iter();
        pods.find(|pod| pod.plan.name == name).unwrap_or_else(|| panic!("no {name} in cluster-{cluster}"))
    }

    /// Starts a pod's programs again.
    pub async fn restart(&self, cluster: u8, name: &str) {
        let pem = self.root.pem();
        self.pod(cluster, name).restart(&self.cluster(cluster).api, &pem, self.cluster(cluster).trust()).await;
    }

    /// Gives a cluster another trust domain: its istiod and all its pods begin anew.
    pub async fn retrust(&self, number: u8, trust: Trust) {
        let cluster = self.cluster(number);
        cluster.kill_istiod().await;
        *cluster.trust.lock().unwrap_or_else(PoisonError::into_inner) = trust;
        cluster.start_istiod().await;
        self.begin_anew(number).await;
    }

    /// Waits until a pod's proxy has what is expected for a host.
    pub async fn proxy_has(&self, pod: &Pod, host: &str, expected: impl Fn(&[Endpoint]) -> bool) -> Vec<Endpoint> {
        eventually(&format!("the proxy of {} has {host} as planned", pod.name()), CONVERGED_WITHIN, async || {
            let endpoints = pod.endpoints(host, 80).await?;
            if expected(&endpoints) { Ok(endpoints) } else { Err(format!("{endpoints:?}")) }
        })
        .await
    }

    /// What `tradewind verify` says of a pod's proxy, and its exit code: by the clusters themselves and the proxy's admin port.
    pub async fn verify(&self, pod: &Pod) -> (Option<i32>, String) {
        self.verify_with(pod, &[]).await
    }

    async fn verify_with(&self, pod: &Pod, flags: &[&str]) -> (Option<i32>, String) {
        let mut fleet = "clusters:\n".to_owned();
        for Cluster { api, .. } in &self.clusters {
            let file = Path::new(enclosure::PRIVATE).join(format!("verify-{}", api.name()));
            std::fs::write(&file, api.kubeconfig()).expect("a file of our own");
            fleet += &format!("- {{name: {}, kubeconfig: {}}}\n", api.name(), file.display());
        }
        let file = Path::new(enclosure::PRIVATE).join("verify-fleet.yaml");
        std::fs::write(&file, fleet).expect("a file of our own");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command
            .arg("verify")
            .arg(file)
            .arg(format!("--envoy=http://{}", pod.orders()))
            .args(self.settings())
            .args(flags);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("tradewind");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (output.status.code(), said)
    }

    /// Waits until `tradewind verify` finds each of these proxies as planned.
    pub async fn verified(&self, pods: &[&Pod]) {
        self.verified_with(pods, &[], "").await;
    }

    /// As [`World::verified`], while a cluster cannot be read: it is named, and the rest is judged.
    pub async fn verified_without(&self, cluster: &str, pods: &[&Pod]) {
        self.verified_with(pods, &["--allow-partial"], &format!("incomplete: {cluster}: ")).await;
    }

    async fn verified_with(&self, pods: &[&Pod], flags: &[&str], words: &str) {
        join_all(pods.iter().map(async |pod| {
            eventually(&format!("{} is verified", pod.name()), CONVERGED_WITHIN, async || {
                match self.verify_with(pod, flags).await {
                    (Some(0), said) if said.contains("all as planned") && said.contains(words) => Ok(()),
                    (code, said) => Err(format!("{code:?}: {said}")),
                }
            })
            .await;
        }))
        .await;
        self.found[0].fetch_add(pods.len() as u64, Ordering::Relaxed);
    }

    /// Waits until `tradewind verify` finds a difference at a proxy, and names it in these words.
    pub async fn differs(&self, pod: &Pod, words: &[&str]) {
        eventually(&format!("{} is found to differ", pod.name()), CONVERGED_WITHIN, async || {
            match self.verify(pod).await {
                (Some(1), said) if words.iter().all(|words| said.contains(words)) => Ok(()),
                (code, said) => Err(format!("{code:?}: {said}")),
            }
        })
        .await;
        self.found[1].fetch_add(1, Ordering::Relaxed);
    }

    /// Panics when an istiod has refused an object that it was not to refuse.
    pub async fn assert_none_refused(&self) {
        join_all(self.clusters.iter().map(Cluster::assert_none_refused)).await;
    }

    /// What `tradewind verify` found since this was asked last.
    pub fn found(&self) -> Option<String> {
        let [planned, differing] = self.found.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
        let planned = (planned > 0).then(|| match planned {
            1 => "1 proxy as planned".to_owned(),
            _ => format!("{planned} proxies as planned"),
        });
        let differing = (differing > 0).then(|| format!("{differing} that differed, named with the cause"));
        let found: Vec<String> = planned.into_iter().chain(differing).collect();
        (!found.is_empty()).then(|| format!("tradewind verify: {}", found.join(", ")))
    }

    /// Gives payments another policy.
    pub async fn policy(&self, yaml: &str) {
        self.cluster(3).api.apply_yaml(yaml).await;
    }
}

impl Cluster {
    async fn start(number: u8, root: &Root) -> Self {
        let place = network::make_node(number);
        let name = format!("cluster-{number}");
        let plans = PLANS.iter().filter(|plan| plan.cluster == number);
        let pods: Vec<Pod> = plans.map(|plan| Pod::make(&name, plan.clone())).collect();
        let names = Mutex::new(Some(start_names(&place, &pods, place.address)));
        let api = TestCluster::start_in(&name, place.clone()).await;
        let authority = root.intermediate(&name);
        Self {
            number,
            api,
            place,
            authority,
            trust: TRUST.into(),
            istiod: Mutex::default(),
            refused: AtomicU64::default(),
            pods,
            names,
        }
    }

    /// Applies what is there before Tradewind comes.
    async fn furnish(&self) {
        istio::install_crds(&self.api).await;
        self.api.apply_yaml(&controller::crds()).await;
        self.api.apply_yaml(ROLLOUTS).await;
        self.api.apply_yaml(MESH).await;
        let manifests = self.manifests();
        self.api.apply_yaml(&manifests).await;
        let mut objects: Vec<Value> = self.pods.iter().flat_map(|pod| pod.plan.objects()).collect();
        for Pod { plan, .. } in &self.pods {
            match plan.kind {
                Kind::Gateway => objects.push(plan.slice("istio-eastwestgateway", &[("tls", 15443)])),
                Kind::Client => objects.push(plan.slice(plan.app, &[("http", application::HTTP_PORT)])),
                Kind::Server => {
                    objects.push(plan.slice(plan.app, &[("http", application::HTTP_PORT)]));
                    objects.push(inbound(plan));
                }
                Kind::Spare => objects.push(inbound(plan)),
            }
        }
        self.api.apply(objects.clone()).await;
        // No cloud and no kubelet is here to say so.
        let with_status = documents(&manifests).into_iter().chain(objects).filter(|object| !object["status"].is_null());
        for object in with_status {
            self.api.apply_status(&object.to_string()).await;
        }
    }

    /// Applies what every cluster of the lab has, as at the beginning.
    pub async fn apply_mesh(&self) {
        self.api.apply_yaml(MESH).await;
    }

    /// Applies what the sample has of it, as at the beginning.
    pub async fn apply_manifests(&self) {
        self.api.apply_yaml(&self.manifests()).await;
    }

    /// Has the cluster's name for istiod lead to another address.
    async fn name_istiod(&self, address: Ipv4Addr) {
        let mut names = self.names.lock().await;
        // Its port must be free.
        drop(names.take());
        *names = Some(start_names(&self.place, &self.pods, address));
    }

    /// The namespace of the control plane with these annotations, and the gateway with the network that istiods know it by.
    fn control_plane(&self, annotations: Value) -> Vec<Value> {
        let network = json!({"topology.istio.io/network": format!("network-{}", self.number)});
        let manifests = documents(&self.manifests());
        let mut gateway = manifests
            .into_iter()
            .find(|object| object["kind"] == "Service" && object["metadata"]["namespace"] == "istio-system")
            .expect("a gateway");
        gateway["metadata"]["labels"]["topology.istio.io/network"] = network["topology.istio.io/network"].clone();
        gateway.as_object_mut().expect("an object").remove("status");
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "istio-system", "labels": network, "annotations": annotations},
        });
        vec![namespace, gateway]
    }

    /// Says on which network the cluster is: to istiod and Tradewind at once, to its pods when they begin anew.
    async fn renetwork(&self, network: u8) {
        let labels = json!({"topology.istio.io/network": format!("network-{network}")});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system", "labels": labels}});
        self.api.apply(vec![namespace]).await;
        self.pods.iter().for_each(|pod| pod.set_network(network));
    }

    fn manifests(&self) -> String {
        let of_cluster = sample::FILES.iter().filter(|(path, _)| path.starts_with(&format!("{}/", self.api.name())));
        let mut text = of_cluster.map(|(_, text)| *text).collect::<Vec<_>>().join("\n---\n");
        if self.number == 4 {
            text.push_str(CLUSTER_4);
        }
        let index = usize::from(self.number) - 1;
        text.replace(PAPER_GATEWAYS[index], &network::gateway_address(self.number).to_string())
    }

    /// Starts its istiod, as after [`Cluster::kill_istiod`].
    pub async fn start_istiod(&self) {
        let mut istiod = Istiod::start(&self.api, &self.place, &self.authority, &self.trust());
        istiod.ready().await;
        self.refused.store(0, Ordering::Relaxed);
        *self.istiod.lock().await = Some(istiod);
    }

    /// From now on the API server asks istiod about every object of Istio.
    async fn validate(&self, root: &Root) {
        self.api.apply(vec![istiod::validation(&root.pem())]).await;
        eventually(&format!("{} asks its istiod", self.api.name()), CONVERGED_WITHIN, async || {
            match istio::strict_apply(&self.api, INVALID).await {
                Err(refused) if refused.to_string().contains(REFUSED) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        self.api.delete("networking.istio.io/v1/DestinationRule", "default", "invalid").await;
        self.expect_refused().await;
    }

    /// What its istiod has refused until now was to be.
    pub async fn expect_refused(&self) {
        self.refused.store(self.istiod_metric(istiod::FAILED).await, Ordering::Relaxed);
    }

    /// Panics when its istiod has refused an object that it was not to refuse.
    async fn assert_none_refused(&self) {
        let refused = self.istiod_metric(istiod::FAILED).await;
        assert_eq!(refused, self.refused.load(Ordering::Relaxed), "{}: refused objects", self.api.name());
    }

    fn trust(&self) -> Trust {
        *self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends its istiod as a crash would.
    pub async fn kill_istiod(&self) {
        self.assert_none_refused().await;
        self.istiod.lock().await.take();
    }

    /// Panics when its istiod has ended by itself.
    pub async fn assert_istiod_runs(&self) {
        let mut istiod = self.istiod.lock().await;
        let istiod = istiod.as_mut().expect("a started istiod");
        if let Some(status) = istiod.ended() {
            panic!("{}: istiod ended, {status}:\n{}", self.api.name(), istiod.last_words());
        }
    }

    /// A metric of its istiod.
    pub async fn istiod_metric(&self, name: &str) -> u64 {
        self.istiod.lock().await.as_ref().expect("a running istiod").metric(name).await
    }
}

/// Annotation of `istio-system`: whose istiods serve a cluster.
const CONTROL_PLANES: &str = "topology.istio.io/controlPlaneClusters";

fn remote_secret_name(cluster: &str) -> String {
    format!("istio-remote-secret-{cluster}")
}

/// What `istioctl create-remote-secret` makes: how an istiod reads another cluster.
fn remote_secret(cluster: &str, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": remote_secret_name(cluster), "namespace": "istio-system",
            "labels": {"istio/multiCluster": "true"}, "annotations": {"networking.istio.io/cluster": cluster},
        },
        "stringData": {cluster: kubeconfig},
    })
}

/// Where the proxy before an application listens: what interception would find out by itself.
fn inbound(plan: &Plan) -> Value {
    let listener = |name: &str, protocol: &str, port: u16| {
        json!({
            "port": {"number": port, "name": name, "protocol": protocol},
            "bind": plan.address(), "captureMode": "NONE", "defaultEndpoint": format!("127.0.0.1:{}", application::behind(port)),
        })
    };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": format!("{}-inbound", plan.name), "namespace": plan.namespace},
        "spec": {
            "workloadSelector": {"labels": {"pod": plan.name}},
            "ingress": [
                listener("http", "HTTP", application::HTTP_PORT),
                listener("grpc", "GRPC", application::GRPC_PORT),
                listener("tcp", "TCP", application::TCP_PORT),
            ],
            "egress": [{"hosts": ["*/*"]}],
        },
    })
}

/// Starts a cluster's name server, by which its istiod is at this address.
fn start_names(place: &Place, pods: &[Pod], istiod: Ipv4Addr) -> Process {
    let line =
        |service: &str, plan: &Plan| format!("{service}.{}.svc.cluster.local {}\n", plan.namespace, plan.address());
    let plans = || pods.iter().map(|pod| &pod.plan);
    let behind_own = plans().filter(|plan| plan.kind != Kind::Spare).map(|plan| line(plan.app, plan));
    let of_cases = SERVICES_OF_CASES.iter().flat_map(|(service, pod)| {
        let behind = plans().filter(|plan| plan.namespace == "payments-west" && plan.name == *pod);
        behind.map(|plan| line(service, plan))
    });
    let lines = behind_own.chain(of_cases);
    let dir = process::directory("names");
    let lines = lines.chain([format!("{} {istiod}\n", istiod::NAME)]);
    let table: PathBuf = dir.join("table");
    std::fs::write(&table, lines.collect::<String>()).expect("a file of our own");
    let mut command = place.command(&std::env::current_exe().expect("a program has a path"));
    command.args([roles::FLAG, "names", &network::NAME_SERVER.to_string()]).arg(table);
    Process::spawn(command, dir.join("log"))
}
