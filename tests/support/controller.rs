//! The controller under test: the real binary, with its hub and its clusters registered by Secrets.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    TestCluster, file_for_test,
    process::{Port, Process, directory},
    wait::eventually,
};
use std::time::Duration;

/// Where cluster Secrets and Dependencies are.
pub const HUB_NAMESPACE: &str = "admiral";
/// Time for the process to listen.
const START: Duration = Duration::from_secs(30);

/// The project's CRDs as `tradewind crds` prints them.
pub fn crds() -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind")).arg("crds").output().expect("crds runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("YAML is text")
}

/// Admiral's form of a cluster Secret.
pub fn cluster_secret(name: &str, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": HUB_NAMESPACE, "labels": {"admiral/sync": "true"}},
        "stringData": {name: kubeconfig},
    })
}

/// A running controller; killed when dropped.
pub struct Controller {
    child: Process,
    port: Port,
    metrics: Port,
}

impl Controller {
    /// Registers `clusters` on `hub` by Secrets and starts a controller there.
    pub async fn start(hub: &TestCluster, clusters: &[TestCluster]) -> Self {
        hub.apply(clusters.iter().map(|cluster| cluster_secret(cluster.name(), &cluster.kubeconfig())).collect()).await;
        Self::start_with(hub, &[]).await
    }

    /// Starts a controller on `hub` with further flags; Secrets are as they are.
    pub async fn start_with(hub: &TestCluster, flags: &[&str]) -> Self {
        Self::start_through(&hub.kubeconfig(), flags).await
    }

    /// [`Self::start_with`] on a hub that is reached by this kubeconfig.
    pub async fn start_through(hub: &str, flags: &[&str]) -> Self {
        let kubeconfig = format!("--kubeconfig={}", file_for_test("kubeconfig", hub).display());
        let flags: Vec<&str> = flags.iter().copied().chain([kubeconfig.as_str()]).collect();
        Self::start_by(&flags).await
    }

    /// Starts a controller with these flags alone.
    pub async fn start_by(flags: &[&str]) -> Self {
        let (port, metrics) = (Port::take(), Port::take());
        let place = directory("controller");
        let mut arguments = vec![
            "run".to_owned(),
            format!("--listen-address=127.0.0.1:{}", port.number()),
            format!("--metrics-address=127.0.0.1:{}", metrics.number()),
            // Several may run at once, and the tests themselves in a pod.
            "--health-address=127.0.0.1:0".to_owned(),
            // The API servers of tests are on this machine, some behind proxies without TLS.
            "--allow-in-kubeconfigs=http,local-address".to_owned(),
        ];
        arguments.extend(flags.iter().map(ToString::to_string));
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_tradewind"));
        let child = Process::start(&binary, &arguments, place.join("log"));
        let controller = Self { child, port, metrics };
        eventually("the controller listens", START, async || controller.get("/health/live").await.map(drop)).await;
        controller
    }

    /// An answer of its HTTP address: the body of a 200, or what came instead.
    pub async fn get(&self, path: &str) -> Result<String, String> {
        get(self.port.number(), path).await
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The metrics in text form.
    pub async fn metrics(&self) -> Result<String, String> {
        get(self.metrics.number(), "/metrics").await
    }

    /// Waits until the fleet was read and planned once.
    pub async fn ready(&self) {
        eventually("the controller is ready", START, async || self.get("/health/ready").await.map(drop)).await;
    }

    /// Sends a POST without a body: the body of a 200, or what came instead.
    pub async fn post(&self, path: &str) -> Result<String, String> {
        send(self.port.number(), http::Request::post(path)).await
    }

    /// Sends a POST without a body and with a bearer token.
    pub async fn post_as(&self, token: &str, path: &str) -> Result<String, String> {
        let request = http::Request::post(path).header("authorization", format!("Bearer {token}"));
        send(self.port.number(), request).await
    }

    /// Ends it at once, as a crash would.
    pub fn kill(self) {
        drop(self);
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// The end of its log, for failures.
    pub fn last_words(&self) -> String {
        self.child.last_words()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has taken so far, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.child.signal(name);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.ended()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the controller's last words:\n{}", self.child.last_words());
        }
    }
}

async fn get(port: u16, path: &str) -> Result<String, String> {
    send(port, http::Request::get(path)).await
}

async fn send(port: u16, request: http::request::Builder) -> Result<String, String> {
    let mut config = kube::Config::new(format!("http://127.0.0.1:{port}").parse().expect("an address"));
    // A 503 is an answer here.
    config.default_retry = false;
    let client = kube::Client::try_from(config).map_err(|error| error.to_string())?;
    let request = request.body(kube::client::Body::empty()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}
