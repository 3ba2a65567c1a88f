//! A pod: its object in the cluster, its network, and what runs in it: pilot-agent with an Envoy, who answers
//! questions for the test, and perhaps an application.
//!
//! Nothing is intercepted, for that takes iptables: a client's application calls its Envoy on loopback at the port of
//! the service, and an Envoy before an application listens where a Sidecar with an ingress listener says.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    istiod::{self, Trust},
    load::{Order, Outcome},
    network, roles,
    support::{Place, TestCluster, eventually, parts, process, process::Process},
    wire,
};

/// From start until Envoy has its first configuration whole.
const LIVE_WITHIN: Duration = Duration::from_secs(120);

/// The bootstrap of Istio's own images lies in them; a file beside pilot-agent stands for it.
const TOKEN: &str = "var/run/secrets/tokens/istio-token";
const ROOT_CERTIFICATE: &str = "var/run/secrets/istio/root-cert.pem";

/// Its place among the programs of a pod.
const PROXY: usize = 1;

/// What a pod is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its cluster's number.
    pub cluster: u8,
    /// Its number in the cluster.
    pub number: u8,
    /// Its own, by which it signs its answers.
    pub name: &'static str,
    /// The workload it belongs to, which is its label `app` and its service account.
    pub app: &'static str,
    /// Where it is.
    pub namespace: &'static str,
    /// What it runs beside the proxy.
    pub kind: Kind,
}

/// What a pod runs beside its proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing but the test's requests.
    Client,
    /// An application that says who it is; the test's requests, too.
    Server,
    /// As `Server`, on another node and behind no Service until a case puts it behind one.
    Spare,
    /// The proxy is the cluster's east-west gateway.
    Gateway,
}

/// A pod whose network is there; its programs run from [`Pod::start`] to [`Pod::kill`].
pub struct Pod {
    /// What it is.
    pub plan: Plan,
    cluster: String,
    place: Place,
    dir: PathBuf,
    /// Number of the network that its proxy is on.
    network: AtomicU8,
    programs: Mutex<Vec<Process>>,
}

impl Plan {
    /// A pod that bears the name of its workload.
    pub const fn of(cluster: u8, number: u8, app: &'static str, namespace: &'static str, kind: Kind) -> Self {
        Self { cluster, number, name: app, app, namespace, kind }
    }

    /// Inside the cluster.
    pub fn address(&self) -> Ipv4Addr {
        network::pod_address(self.cluster, self.number)
    }

    /// The node it runs on.
    fn node(&self) -> String {
        format!("cluster-{}-node-{}", self.cluster, if self.kind == Kind::Spare { 2 } else { 1 })
    }

    /// Its objects: the account and the pod, with a status as a kubelet reports it.
    pub fn objects(&self) -> [Value; 2] {
        let (name, app, namespace, ip, node) = (self.name, self.app, self.namespace, self.address(), self.node());
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": app, "namespace": namespace},
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-0"), "namespace": namespace, "labels": self.labels()},
            "spec": {
                "nodeName": node, "serviceAccountName": app,
                "containers": [{"name": app, "image": format!("registry.example/{app}:1.0")}],
            },
            "status": {
                "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        [account, pod]
    }

    fn labels(&self) -> Value {
        match self.kind {
            Kind::Gateway => json!({"app": self.app, "istio": "eastwestgateway"}),
            // RoutingPolicies choose by the third; injection says by the last that mutual TLS is spoken here.
            Kind::Client | Kind::Server | Kind::Spare => json!({
                "app": self.app, "pod": self.name, "assetAlias": self.app, "security.istio.io/tlsMode": "istio",
            }),
        }
    }

    /// Where a Service with these ports leads, if to this pod alone.
    pub fn slice(&self, service: &str, ports: &[(&str, u16)]) -> Value {
        slice(service, ports, &[(self, Readiness::Ready)])
    }
}

/// What an EndpointSlice says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Requests may go there.
    Ready,
    /// It ends, and serves to the last.
    Terminating,
}

/// Where a Service with these ports leads. All pods are of one namespace.
pub fn slice(service: &str, ports: &[(&str, u16)], pods: &[(&Plan, Readiness)]) -> Value {
    let ports: Vec<Value> =
        ports.iter().map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"})).collect();
    let endpoint = |(plan, readiness): &(&Plan, Readiness)| {
        let ready = *readiness == Readiness::Ready;
        json!({
            "addresses": [plan.address()], "nodeName": plan.node(),
            "conditions": {"ready": ready, "serving": true, "terminating": !ready},
            "targetRef": {"kind": "Pod", "name": format!("{}-0", plan.name), "namespace": plan.namespace},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-0"), "namespace": pods[0].0.namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    })
}

impl Pod {
    /// Makes the network of a pod.
    pub fn make(cluster: &str, plan: Plan) -> Self {
        let place = network::make_pod(plan.cluster, plan.number, plan.name, plan.kind == Kind::Gateway);
        let dir = process::directory(&format!("{}-{cluster}", plan.name));
        let network = plan.cluster.into();
        Self { plan, cluster: cluster.to_owned(), place, dir, network, programs: Mutex::default() }
    }

    /// Starts its programs. Its objects and the cluster's istiod are there.
    pub async fn start(&self, api: &TestCluster, root_certificate: &str, trust: Trust) {
        let write = |file: &str, content: &str| {
            let path = self.dir.join(file);
            fs::create_dir_all(path.parent().expect("is below the pod's directory")).expect("a directory");
            fs::write(path, content).expect("a file of our own");
        };
        write(TOKEN, &self.token(api).await);
        write(ROOT_CERTIFICATE, root_certificate);

        let this = env::current_exe().expect("a program has a path");
        let role = |arguments: &[&str], log: &str| {
            let mut command = self.place.command(&this);
            command.arg(roles::FLAG).args(arguments);
            Process::spawn(command, self.dir.join(log))
        };
        let mut programs = vec![role(&["pod", &self.place.address.to_string()], "orders.log"), self.agent(trust)];
        if matches!(self.plan.kind, Kind::Server | Kind::Spare) {
            programs.push(role(&["application", &self.name()], "application.log"));
        }
        *self.programs() = programs;
    }

    /// Starts its programs again, after [`Pod::kill`].
    pub async fn restart(&self, api: &TestCluster, root_certificate: &str, trust: Trust) {
        self.start(api, root_certificate, trust).await;
        self.live().await;
    }

    /// How it signs its answers.
    pub fn name(&self) -> String {
        format!("{}/{}", self.cluster, self.plan.name)
    }

    fn programs(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn token(&self, api: &TestCluster) -> String {
        let request = TokenRequest {
            spec: TokenRequestSpec { audiences: vec!["istio-ca".to_owned()], ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(api.client(), self.plan.namespace);
        let answer = accounts.create_token_request(self.plan.app, &PostParams::default(), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("a token for {}: {error}", self.name()));
        answer.status.expect("an answered request").token
    }

    fn agent(&self, trust: Trust) -> Process {
        let Plan { name, app, namespace, kind, .. } = &self.plan;
        let discovery = format!("{}:{}", istiod::NAME, istiod::XDS_PORT);
        let config = json!({
            "binaryPath": parts::part("envoy"),
            "configPath": self.dir.join("etc/istio/proxy"),
            "discoveryAddress": discovery,
            "proxyAdminPort": roles::ADMIN_PORT,
            "statusPort": 15020,
            // Shares are exact for one worker; each worker keeps a count of its own.
            "concurrency": 1,
        });
        let mut command = self.place.command(&parts::part("pilot-agent"));
        command
            .args(["proxy", if *kind == Kind::Gateway { "router" } else { "sidecar" }])
            .args(["--domain", &format!("{namespace}.svc.cluster.local")])
            .arg("--templateFile")
            .arg(parts::part("envoy-bootstrap"))
            .env("POD_NAME", format!("{name}-0"))
            .env("POD_NAMESPACE", namespace)
            .env("INSTANCE_IP", self.plan.address().to_string())
            .env("SERVICE_ACCOUNT", app)
            .env("TRUST_DOMAIN", trust.domain)
            .env("ISTIO_META_CLUSTER_ID", &self.cluster)
            .env("ISTIO_META_MESH_ID", "lab")
            .env("ISTIO_META_NODE_NAME", self.plan.node())
            .env("ISTIO_METAJSON_LABELS", self.plan.labels().to_string())
            .env("CA_ADDR", &discovery)
            .env("PROXY_CONFIG", config.to_string())
            .current_dir(&self.dir);
        let network = format!("network-{}", self.network.load(Ordering::Relaxed));
        command.env("ISTIO_META_NETWORK", &network);
        match kind {
            // As Istio's own chart and script for east-west gateways set it.
            Kind::Gateway => command.env("ISTIO_META_REQUESTED_NETWORK_VIEW", &network),
            Kind::Client | Kind::Server | Kind::Spare => command.env("ISTIO_META_INTERCEPTION_MODE", "NONE"),
        };
        Process::spawn(command, self.dir.join("proxy.log"))
    }

    /// Waits until its proxy serves.
    pub async fn live(&self) {
        eventually(&format!("the proxy of {} is live", self.name()), LIVE_WITHIN, async || {
            for program in self.programs().iter_mut() {
                if let Some(status) = program.ended() {
                    panic!("a program of {} ended, {status}:\n{}", self.name(), program.last_words());
                }
            }
            match self.admin("/ready").await {
                Ok(said) if said.trim() == "LIVE" => Ok(()),
                Ok(said) | Err(said) => Err(format!("{}; {}", said.trim(), self.last_line())),
            }
        })
        .await;
    }

    fn last_line(&self) -> String {
        let log = fs::read_to_string(self.dir.join("proxy.log")).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// The file its proxy logs into.
    pub fn log(&self) -> PathBuf {
        self.dir.join("proxy.log")
    }

    /// Asks its proxy to end, as a kubelet does of a pod that is deleted: it goes on for a few seconds.
    pub fn terminate(&self) {
        self.programs()[PROXY].signal("TERM");
    }

    /// Waits until its proxy has ended by itself, and ends the rest.
    pub async fn terminated(&self) {
        eventually(&format!("the proxy of {} ends", self.name()), LIVE_WITHIN, async || {
            self.programs()[PROXY].ended().map(drop).ok_or_else(|| "it runs".to_owned())
        })
        .await;
        self.kill();
    }

    /// Puts its proxy on another network, from its next start on.
    pub fn set_network(&self, network: u8) {
        self.network.store(network, Ordering::Relaxed);
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Ends all that runs in it at once, as the loss of a node would.
    pub fn kill(&self) {
        let netns = Path::new(&self.place.netns).file_name().expect("a name").to_owned();
        let pids = Command::new("ip").args(["netns", "pids"]).arg(netns).output().expect("ip");
        let pids = String::from_utf8(pids.stdout).expect("numbers");
        let killed = Command::new("sh").args(["-c", &format!("kill -9 {}", pids.replace('\n', " "))]).status();
        assert!(killed.expect("sh").success(), "what runs in {} can be killed", self.name());
        self.programs().clear();
    }

    /// Whether it was started and not ended since.
    pub fn runs(&self) -> bool {
        !self.programs().is_empty()
    }

    /// Where it takes orders, and passes everything else on to its proxy's admin port.
    pub fn orders(&self) -> SocketAddr {
        (self.place.address, roles::ORDERS_PORT).into()
    }

    /// Asks its proxy's admin port.
    pub async fn admin(&self, path: &str) -> Result<String, String> {
        wire::ask(self.orders(), "GET", path, "").await
    }

    async fn order(&self, path: &str, order: &str) -> String {
        let answer = wire::ask(self.orders(), "POST", path, order).await;
        answer.unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name()))
    }

    /// Makes requests from here, and waits for the last.
    pub async fn load(&self, order: &Order) -> Outcome {
        let order = serde_json::to_string(order).expect("plain data");
        serde_json::from_str(&self.order("/load", &order).await).expect("an outcome")
    }

    /// Begins to make requests from here.
    pub async fn load_start(&self, order: &Order) {
        let order = serde_json::to_string(order).expect("plain data");
        self.order("/load/start", &order).await;
    }

    /// What came so far of a load that was begun.
    pub async fn load_so_far(&self) -> Outcome {
        let answer = wire::ask(self.orders(), "GET", "/load/so-far", "").await;
        serde_json::from_str(&answer.expect("a pod that runs")).expect("an outcome")
    }

    /// Ends the load that was begun.
    pub async fn load_stop(&self) -> Outcome {
        serde_json::from_str(&self.order("/load/stop", "").await).expect("an outcome")
    }

    /// What its proxy has for a host, in order of priority and address.
    pub async fn endpoints(&self, host: &str, port: u16) -> Result<Vec<Endpoint>, String> {
        let name = format!("outbound|{port}||{host}");
        let statuses = self.statuses().await?;
        let cluster = statuses.iter().find(|cluster| cluster["name"] == name.as_str());
        let cluster = cluster.ok_or_else(|| format!("{} has no {name}", self.name()))?;
        let mut endpoints: Vec<Endpoint> = hosts_of(cluster).map(Endpoint::read).collect();
        endpoints.sort();
        Ok(endpoints)
    }

    /// How often its proxy turned to anybody for a host: requests, or connections that it passed on unopened.
    pub async fn turned_to(&self, host: &str) -> BTreeMap<String, u64> {
        let statuses = self.statuses().await.expect("a proxy that runs");
        let ends = format!(".{host}");
        let of_host = |cluster: &&Value| {
            let name = cluster["name"].as_str().unwrap_or_default();
            name.ends_with(&ends) || name.ends_with(&format!("|{host}"))
        };
        let mut turned = BTreeMap::new();
        for status in statuses.iter().filter(of_host).flat_map(hosts_of) {
            let stats = status["stats"].as_array().into_iter().flatten();
            let total = stats.filter(|stat| stat["name"] == "rq_total").filter_map(|stat| stat["value"].as_str());
            let total: u64 = total.filter_map(|value| value.parse::<u64>().ok()).sum();
            *turned.entry(Endpoint::read(status).address).or_default() += total;
        }
        turned
    }

    async fn statuses(&self) -> Result<Vec<Value>, String> {
        let text = self.admin("/clusters?format=json").await?;
        let mut clusters: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match clusters["cluster_statuses"].take() {
            Value::Array(statuses) => Ok(statuses),
            _ => Ok(Vec::new()),
        }
    }

    /// A counter or gauge of its proxy: the sum of all whose name holds both texts.
    pub async fn stat(&self, part: &str, end: &str) -> u64 {
        let text = self.admin("/stats").await.expect("a proxy that runs");
        let of_name =
            |line: &&str| line.split(':').next().is_some_and(|name| name.contains(part) && name.ends_with(end));
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

fn hosts_of(cluster: &Value) -> impl Iterator<Item = &Value> {
    cluster["host_statuses"].as_array().into_iter().flatten()
}

/// An endpoint as a proxy has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// 0 first.
    pub priority: u64,
    /// `ADDRESS:PORT`.
    pub address: String,
    /// `REGION/ZONE`.
    pub locality: String,
    /// Within its locality.
    pub weight: u64,
    /// Whether requests may go there now.
    pub healthy: bool,
}

impl Endpoint {
    fn read(status: &Value) -> Self {
        let address = &status["address"]["socket_address"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let locality = &status["locality"];
        Self {
            priority: status["priority"].as_u64().unwrap_or_default(),
            address: format!("{}:{}", text(&address["address"]), address["port_value"]),
            locality: format!("{}/{}", text(&locality["region"]), text(&locality["zone"])),
            weight: status["weight"].as_u64().unwrap_or_default(),
            healthy: status["health_status"]["failed_outlier_check"] != true,
        }
    }
}
