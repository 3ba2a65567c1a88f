//! The control plane of one cluster: a real istiod that reads the cluster's API server and signs for its proxies.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    certificates::Intermediate,
    support::{Place, TestCluster, eventually, parts, process::Process},
    wire,
};

/// Its name inside its cluster, which its certificate is for.
pub const NAME: &str = "istiod.istio-system.svc";
/// Where proxies ask for configuration and certificates.
pub const XDS_PORT: u16 = 15012;
const HTTP_PORT: u16 = 15080;
/// Where the API server asks whether an object is valid.
const VALIDATION_PORT: u16 = 15017;
const METRICS_PORT: u16 = 15014;

/// Its metric of objects that its webhook refused.
pub const FAILED: &str = "galley_validation_failed";

/// From start to `/ready`. Alone it takes 8 s; the rest is for machines that build meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(150);

const MESH: &str = "
trustDomain: TRUST_DOMAIN
trustDomainAliases: [ALIASES]
accessLogFile: /dev/null
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
";

/// What an upstream Envoy lacks is switched off; so is injection, and that istiod registers its validation by itself, which
/// takes a Service with an address: [`validation`] names a URL instead.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("POD_NAME", "istiod-0"),
    ("POD_NAMESPACE", "istio-system"),
    ("ENABLE_CA_SERVER", "true"),
    ("JWT_POLICY", "third-party-jwt"),
    ("PILOT_CERT_PROVIDER", "istiod"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_DISABLE_MX_ALPN", "true"),
];

/// What Istio's chart registers with an API server, so that it asks its istiod about every object of Istio, and takes none
/// while that does not answer.
pub fn validation(root_certificate: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "istio-validator-istio-system"},
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "clientConfig": {
                "url": format!("https://{NAME}:{VALIDATION_PORT}/validate"),
                "caBundle": base64(root_certificate),
            },
            "rules": [{
                "operations": ["CREATE", "UPDATE"], "apiVersions": ["*"], "resources": ["*"],
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
            }],
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    })
}

/// As JSON has bytes.
fn base64(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("bytes are a text")
}

/// Whose certificates a cluster has, and whose it takes for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Its trust domain.
    pub domain: &'static str,
    /// Another one, or nothing.
    pub alias: &'static str,
}

/// A running istiod; killed when dropped.
pub struct Istiod {
    process: Process,
    place: Place,
}

impl Istiod {
    /// Starts one for a cluster, with an authority that proxies of other clusters trust.
    pub fn start(cluster: &TestCluster, place: &Place, authority: &Intermediate, trust: &Trust) -> Self {
        let dir = crate::support::process::directory(&format!("istiod-{}", cluster.name()));
        let file = |name: &str, content: &str| -> PathBuf {
            let path = dir.join(name);
            fs::write(&path, content).expect("a file of our own");
            path
        };
        let kubeconfig = file("kubeconfig", &cluster.kubeconfig());
        let mesh = file("mesh.yaml", &MESH.replace("TRUST_DOMAIN", trust.domain).replace("ALIASES", trust.alias));
        authority.mount(&dir);
        let address = place.address;
        let mut command = place.command(&parts::part("pilot-discovery"));
        command
            .arg("discovery")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--meshConfig={}", mesh.display()))
            .arg(format!("--clusterID={}", cluster.name()))
            .arg("--grpcAddr=127.0.0.1:15010")
            .arg(format!("--httpsAddr={address}:{VALIDATION_PORT}"))
            .arg(format!("--secureGRPCAddr={address}:{XDS_PORT}"))
            .arg(format!("--httpAddr={address}:{HTTP_PORT}"))
            .arg(format!("--monitoringAddr={address}:{METRICS_PORT}"))
            .env("CLUSTER_ID", cluster.name())
            .envs(ENVIRONMENT.iter().copied())
            // It writes its certificates beside itself.
            .current_dir(&dir);
        Self { process: Process::spawn(command, dir.join("log")), place: place.clone() }
    }

    /// Waits until it has read its cluster.
    pub async fn ready(&mut self) {
        let address: SocketAddr = (self.place.address, HTTP_PORT).into();
        let process = &mut self.process;
        eventually("istiod is ready", READY_WITHIN, async || {
            if let Some(status) = process.ended() {
                panic!("istiod ended, {status}:\n{}", process.last_words());
            }
            wire::ask(address, "GET", "/ready", "").await
        })
        .await;
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = wire::ask((self.place.address, METRICS_PORT).into(), "GET", "/metrics", "").await;
        let text = text.unwrap_or_else(|error| panic!("istiod's metrics: {error}"));
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Set once it has ended by itself.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.ended()
    }
}
