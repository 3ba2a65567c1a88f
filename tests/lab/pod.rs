//! A pod: its object in the cluster, its network, and what runs in it: pilot-agent with an Envoy, who answers
//! questions for the test, and perhaps an application.
//!
//! Nothing is intercepted, for that takes iptables: a client's application calls its Envoy on loopback at the port of
//! the service, and an Envoy before an application listens where a Sidecar with an ingress listener says.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
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

/// What a pod is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its cluster's number.
    pub cluster: u8,
    /// Its number in the cluster.
    pub number: u8,
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
    programs: Mutex<Vec<Process>>,
}

impl Plan {
    /// Inside the cluster.
    pub fn address(&self) -> Ipv4Addr {
        network::pod_address(self.cluster, self.number)
    }

    /// Its objects: the account and the pod, with a status as a kubelet reports it.
    pub fn objects(&self, node: &str) -> [Value; 2] {
        let (app, namespace, ip) = (self.app, self.namespace, self.address());
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": app, "namespace": namespace},
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{app}-0"), "namespace": namespace, "labels": self.labels()},
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
            Kind::Client | Kind::Server => json!({"app": self.app}),
        }
    }

    /// Where a Service with these ports leads.
    pub fn slice(&self, service: &str, ports: &[(&str, u16)]) -> Value {
        let ports: Vec<Value> =
            ports.iter().map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{service}-0"), "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "endpoints": [{
                "addresses": [self.address()], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": format!("{}-0", self.app), "namespace": self.namespace},
            }],
            "ports": ports,
        })
    }
}

impl Pod {
    /// Makes the network of a pod.
    pub fn make(cluster: &str, plan: Plan) -> Self {
        let place = network::make_pod(plan.cluster, plan.number, plan.app, plan.kind == Kind::Gateway);
        let dir = process::directory(&format!("{}-{cluster}", plan.app));
        Self { plan, cluster: cluster.to_owned(), place, dir, programs: Mutex::default() }
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
        if self.plan.kind == Kind::Server {
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
        format!("{}/{}", self.cluster, self.plan.app)
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
        let Plan { app, namespace, kind, .. } = &self.plan;
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
            .env("POD_NAME", format!("{app}-0"))
            .env("POD_NAMESPACE", namespace)
            .env("INSTANCE_IP", self.plan.address().to_string())
            .env("SERVICE_ACCOUNT", app)
            .env("TRUST_DOMAIN", trust.domain)
            .env("ISTIO_META_CLUSTER_ID", &self.cluster)
            .env("ISTIO_META_MESH_ID", "lab")
            .env("ISTIO_META_NODE_NAME", format!("{}-node-1", self.cluster))
            .env("ISTIO_METAJSON_LABELS", self.plan.labels().to_string())
            .env("CA_ADDR", &discovery)
            .env("PROXY_CONFIG", config.to_string())
            .current_dir(&self.dir);
        let network = format!("network-{}", self.plan.cluster);
        command.env("ISTIO_META_NETWORK", &network);
        match kind {
            // As Istio's own chart and script for east-west gateways set it.
            Kind::Gateway => command.env("ISTIO_META_REQUESTED_NETWORK_VIEW", &network),
            Kind::Client | Kind::Server => command.env("ISTIO_META_INTERCEPTION_MODE", "NONE"),
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

    fn orders(&self) -> SocketAddr {
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
        let text = self.admin("/clusters?format=json").await?;
        let clusters: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let name = format!("outbound|{port}||{host}");
        let of_host = clusters["cluster_statuses"].as_array().into_iter().flatten();
        let cluster = of_host.into_iter().find(|cluster| cluster["name"] == name.as_str());
        let cluster = cluster.ok_or_else(|| format!("{} has no {name}", self.name()))?;
        let mut endpoints: Vec<Endpoint> =
            cluster["host_statuses"].as_array().into_iter().flatten().map(Endpoint::read).collect();
        endpoints.sort();
        Ok(endpoints)
    }

    /// A counter or gauge of its proxy: the sum of all whose name holds both texts.
    pub async fn stat(&self, part: &str, end: &str) -> u64 {
        let text = self.admin("/stats").await.expect("a proxy that runs");
        let of_name =
            |line: &&str| line.split(':').next().is_some_and(|name| name.contains(part) && name.ends_with(end));
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
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
