//! One cluster: an etcd, a kube-apiserver, their files and their ports.
//!
//! There are no controllers and no kubelets: nothing becomes ready, gets an address, or goes away
//! because its owner did. Tests write such things themselves.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use futures::future::join_all;
use http::{HeaderValue, Request, header::USER_AGENT};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
};
use kube::{Api, Client, Config, api::PostParams, core::discovery::Scope, discovery::ApiResource};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;

use super::{
    eventually, parts,
    process::{self, Port, Process},
};

/// From start to `/readyz`. Alone it takes 4 s; the rest is for machines that build meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// From a signal to the last thread that obeys it.
const PAUSED_WITHIN: Duration = Duration::from_secs(10);

/// The user agent of everything the test itself sends, to tell it from the program under test.
pub const TEST_USER_AGENT: &str = "tradewind-tests";

/// Reserved for documentation: nobody goes there.
const UNUSED_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Who a token makes the bearer, in a fixed order of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// May do everything (`system:masters`).
    Admin,
    /// May do everything, under another name and token: for a rotation from A to B.
    AdminA,
    /// As `AdminA`.
    AdminB,
    /// May get, list and watch everything, and write nothing.
    ServedCluster,
    /// May do nothing but what a test binds to the user `nobody`.
    Nobody,
}

impl Who {
    const ALL: [Self; 5] = [Self::Admin, Self::AdminA, Self::AdminB, Self::ServedCluster, Self::Nobody];

    /// The user's name, as RBAC bindings and the audit log have it.
    pub fn user(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::AdminA => "admin-a",
            Self::AdminB => "admin-b",
            Self::ServedCluster => "reader",
            Self::Nobody => "nobody",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::Admin | Self::AdminA | Self::AdminB => "system:masters",
            Self::ServedCluster => "tradewind:readers",
            Self::Nobody => "tradewind:nobodies",
        }
    }
}

const READERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tradewind-readers}
rules:
- {apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tradewind-readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tradewind-readers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'tradewind:readers'}]
";

/// Writes by anyone but the server itself, once each, when they are done.
const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ['system:apiserver']}
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
";

struct Processes {
    // In the order in which they must go: a server without its store logs and retries for a while.
    apiserver: Option<Process>,
    etcd: Option<Process>,
}

/// Where a cluster's programs run when not on the machine's own loopback.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file that leads to a network namespace.
    pub netns: PathBuf,
    /// An address inside of it that the test reaches.
    pub address: Ipv4Addr,
}

impl Place {
    /// A command that runs `program` there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns.display())).arg("--").arg(program);
        command
    }
}

/// A real cluster; dropping it kills its processes and removes its files.
pub struct TestCluster {
    name: String,
    dir: PathBuf,
    place: Option<Place>,
    port: Port,
    etcd_port: Port,
    processes: Mutex<Processes>,
    pub(super) kinds: Mutex<HashMap<String, (ApiResource, Scope)>>,
    pub(super) namespaces: Mutex<HashSet<String>>,
    pub(super) fences: AtomicU64,
}

/// Starts `cluster-1`, `cluster-2` and `cluster-3` side by side.
pub async fn start_three() -> [TestCluster; 3] {
    let three = start_many(&["cluster-1", "cluster-2", "cluster-3"]).await;
    three.try_into().expect("one for each name")
}

/// Starts clusters side by side, in the order of their names.
pub async fn start_many(names: &[&str]) -> Vec<TestCluster> {
    join_all(names.iter().map(|name| TestCluster::start(name))).await
}

impl TestCluster {
    /// Starts an empty cluster and waits until it is ready.
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, None).await
    }

    /// [`Self::start`] in a network namespace.
    pub async fn start_in(name: &str, place: Place) -> Self {
        Self::start_at(name, Some(place)).await
    }

    async fn start_at(name: &str, place: Option<Place>) -> Self {
        // A second provider cannot be installed: that one is there is all that matters.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // May build for minutes, on a thread where that blocks nobody.
        let etcd = tokio::task::spawn_blocking(|| {
            parts::part("kube-apiserver");
            parts::part("etcd")
        })
        .await
        .expect("the parts the clusters are made of");

        let dir = process::directory(name);
        let tokens: String = Who::ALL
            .iter()
            .map(|who| format!("{},{user},{user},\"{}\"\n", token(name, *who), who.group(), user = who.user()))
            .collect();
        fs::write(dir.join("tokens.csv"), tokens).expect("the token file");
        fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).expect("the audit policy");

        let etcd_port = Port::take();
        let etcd_url = format!("http://127.0.0.1:{}", etcd_port.number());
        let etcd = run(
            place.as_ref(),
            &etcd,
            &[
                format!("--data-dir={}", dir.join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                // It is alone: whatever port nobody will ever ask for.
                "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
                // Nothing here outlives the machine.
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            dir.join("etcd.log"),
        );

        let cluster = Self {
            name: name.to_owned(),
            dir,
            place,
            port: Port::take(),
            etcd_port,
            processes: Mutex::new(Processes { apiserver: None, etcd: Some(etcd) }),
            kinds: Mutex::default(),
            namespaces: Mutex::default(),
            fences: AtomicU64::new(0),
        };
        cluster.start_apiserver().await;
        cluster.apply_yaml(READERS).await;
        cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API server listens.
    pub fn address(&self) -> SocketAddr {
        (self.ip(), self.port.number()).into()
    }

    fn ip(&self) -> Ipv4Addr {
        self.place.as_ref().map_or(Ipv4Addr::LOCALHOST, |place| place.address)
    }

    /// The URL of its API server.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Its directory: `apiserver.log`, `etcd.log` and the rest, while it lives.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// The token of a user.
    pub fn token(&self, who: Who) -> String {
        token(&self.name, who)
    }

    /// A new client of the administrator.
    ///
    /// A client is bound to the runtime, hence to the test, it was made in: never share one.
    /// It does not retry.
    pub fn client(&self) -> Client {
        self.client_with(&self.url(), &self.token(Who::Admin), TEST_USER_AGENT)
    }

    /// A new client of any bearer, through any URL.
    pub fn client_with(&self, url: &str, token: &str, user_agent: &str) -> Client {
        let mut config = Config::new(url.parse().expect("a URL"));
        config.root_cert = Some(self.root_cert());
        config.auth_info.token = Some(token.to_owned().into());
        config.headers.push((USER_AGENT, HeaderValue::from_str(user_agent).expect("a header")));
        config.default_retry = false;
        Client::try_from(config).expect("a client for the cluster")
    }

    pub(super) fn root_cert(&self) -> Vec<Vec<u8>> {
        let ca = CertificateDer::from_pem_slice(self.ca_pem().as_bytes()).expect("a certificate");
        vec![ca.to_vec()]
    }

    /// The administrator's kubeconfig: YAML, with the token and the CA inside.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_with(&self.url(), &self.token(Who::Admin))
    }

    /// A kubeconfig with another server (a proxy's) or token. The context has the cluster's name.
    pub fn kubeconfig_with(&self, server_url: &str, token: &str) -> String {
        self.kubeconfig_trusting(server_url, token, &self.ca_pem())
    }

    /// The same with another authority than the cluster's.
    pub fn kubeconfig_trusting(&self, server_url: &str, token: &str, ca_pem: &str) -> String {
        let mut cluster = json!({ "server": server_url });
        if server_url.starts_with("https:") {
            cluster["certificate-authority-data"] = json!(ByteString(ca_pem.as_bytes().to_vec()));
        }
        let name = &self.name;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": name, "cluster": cluster }],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
            "current-context": name,
        });
        serde_saphyr::to_string(&config).expect("plain data")
    }

    /// A fresh token of a service account, from the TokenRequest API. Deleting the account
    /// revokes it, within the 10 s that the server remembers a good token.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        self.token_for(namespace, name, &[]).await
    }

    /// A token of a service account for these audiences; for the API server, if there are none.
    pub async fn token_for(&self, namespace: &str, name: &str, audiences: &[&str]) -> String {
        let audiences = audiences.iter().map(ToString::to_string).collect();
        let request = TokenRequest {
            spec: TokenRequestSpec { audiences, ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        Api::<ServiceAccount>::namespaced(self.client(), namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .unwrap_or_else(|error| panic!("{}: a token for {namespace}/{name}: {error}", self.name))
            .status
            .expect("an answered request")
            .token
    }

    /// Kills the API server, as a crash would. The data stays.
    pub fn stop_apiserver(&self) {
        self.processes().apiserver = None;
    }

    /// Starts the API server where it was, on the same data, and waits until it is ready.
    pub async fn start_apiserver(&self) {
        let program = parts::part("kube-apiserver");
        let log = self.dir.join("apiserver.log");
        let server = run(self.place.as_ref(), &program, &self.apiserver_arguments(), log);
        self.processes().apiserver = Some(server);
        eventually(&format!("{} is ready", self.name), READY_WITHIN, async || {
            self.panic_if_ended();
            // Its own certificate and the issuer's, whole.
            let written = fs::read_to_string(self.certificate_file()).unwrap_or_default();
            if written.matches("-----END CERTIFICATE-----").count() < 2 {
                return Err("it has no certificate yet".to_owned());
            }
            let request = Request::get("/readyz").body(Vec::new()).expect("a plain request");
            self.client().request_text(request).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    /// [`Self::stop_apiserver`] and [`Self::start_apiserver`].
    pub async fn restart(&self) {
        self.stop_apiserver();
        self.start_apiserver().await;
    }

    /// Restarts the API server under a new CA: kubeconfigs and service account tokens from before
    /// are refused.
    pub async fn replace_ca(&self) {
        self.stop_apiserver();
        fs::remove_dir_all(self.certificate_dir()).expect("the certificates");
        self.start_apiserver().await;
    }

    /// Freezes the API server: connections stay up, new ones are accepted by the kernel, and
    /// nothing answers.
    pub async fn pause(&self) {
        self.with_apiserver(|server| server.signal("STOP"));
        eventually(&format!("{} stands still", self.name), PAUSED_WITHIN, async || {
            self.with_apiserver(Process::stopped).then_some(()).ok_or_else(|| "a thread still runs".to_owned())
        })
        .await;
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) {
        self.with_apiserver(|server| server.signal("CONT"));
    }

    fn with_apiserver<T>(&self, ask: impl FnOnce(&Process) -> T) -> T {
        ask(self.processes().apiserver.as_ref().expect("a running API server"))
    }

    fn apiserver_arguments(&self) -> Vec<String> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        // Made by the server itself before it looks for the keys of service accounts, and RSA:
        // so it does for those, too.
        let key = self.certificate_dir().join("apiserver.key").display().to_string();
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port.number()),
            format!("--cert-dir={}", self.certificate_dir().display()),
            format!("--secure-port={}", self.port.number()),
            format!("--bind-address={}", self.ip()),
            // Published in the `kubernetes` Service, which refuses loopback addresses; found from
            // the default route if not given, which not every test machine has.
            format!("--advertise-address={}", self.place.as_ref().map_or(UNUSED_ADDRESS, |place| place.address)),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // Would demand a default service account in every namespace, which a controller makes.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--audit-policy-file={}", path("audit-policy.yaml")),
            format!("--audit-log-path={}", self.audit_log().display()),
        ]
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    fn certificate_dir(&self) -> PathBuf {
        self.dir.join("certificates")
    }

    fn certificate_file(&self) -> PathBuf {
        self.certificate_dir().join("apiserver.crt")
    }

    /// The CA: the server writes its own certificate first and the issuer's behind it.
    fn ca_pem(&self) -> String {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        let chain = fs::read_to_string(self.certificate_file()).expect("the server's certificates");
        let begin = chain.rfind(BEGIN).expect("at least one certificate");
        chain[begin..].to_owned()
    }

    fn panic_if_ended(&self) {
        let mut processes = self.processes();
        let Processes { apiserver, etcd } = &mut *processes;
        for (program, process) in [("etcd", etcd), ("kube-apiserver", apiserver)] {
            if let Some(process) = process
                && let Some(status) = process.ended()
            {
                panic!("{}: {program} ended, {status}:\n{}", self.name, process.last_words());
            }
        }
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a program, in a place or on this machine's own network.
fn run(place: Option<&Place>, program: &Path, arguments: &[String], log: PathBuf) -> Process {
    let mut command = place.map_or_else(|| Command::new(program), |place| place.command(program));
    command.args(arguments);
    Process::spawn(command, log)
}

/// Long and peculiar, so that a test can look for it where secrets must never be.
fn token(cluster: &str, who: Who) -> String {
    format!("secret-token-of-{}-in-{cluster}", who.user())
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.url())
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let mut processes = self.processes();
        processes.apiserver = None;
        processes.etcd = None;
        drop(processes);
        // The watchdog removes what is left.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
