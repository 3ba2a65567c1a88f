//! Kubeconfig → connection settings.
//!
//! A kubeconfig out of a Secret is input from outside: only what is named here is taken over, and
//! whatever would run a program, read a file of this process or leave through a proxy is refused. Local files
//! are the operator's own and are trusted. Nothing that a kubeconfig contains reaches an error or a log.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::FutureExt as _;
use http::{HeaderValue, Uri, header::USER_AGENT};
use kube::{
    Client, Config,
    client::{ClientBuilder, ConfigExt as _},
    config::{
        AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo, NamedCluster,
        NamedContext,
    },
};
use serde::{Deserialize, de::IgnoredAny};

use super::body_limit::BodyLimitLayer;

/// Longest wait for TCP and TLS to be set up. Far regions need under a second; more is a lost packet or a dead host.
pub const CONNECT_TIMEOUT_SECONDS: u64 = 10;
/// Longest silence on a connection that waits for an answer: above a watch's length, so that an idle
/// watch is not cut, and a backstop under the tighter limits of each call.
pub const READ_TIMEOUT_SECONDS: u64 = 65;
/// Longest time that a request may take to leave.
pub const WRITE_TIMEOUT_SECONDS: u64 = 30;
/// How every request names its sender, for the audit logs of the clusters.
pub const CLIENT_NAME: &str = concat!("tradewind/", env!("CARGO_PKG_VERSION"));

/// Why a kubeconfig from a Secret is not used: every reason, none with a word of its contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reasons.join("; "))]
pub struct RefusedKubeconfig {
    reasons: Vec<String>,
}

impl RefusedKubeconfig {
    fn because(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()] }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A local kubeconfig cannot be used.
    #[error("the kubeconfig {} cannot be used: {reason}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why, without its contents.
        reason: String,
    },
    /// Neither a kubeconfig was named nor does the process run in a cluster.
    #[error(
        "this process does not run inside a cluster ({0}); name the hub's kubeconfig with --kubeconfig, or run it in a pod with a service account"
    )]
    NotInCluster(String),
    /// Connection settings that no client can be made of.
    #[error("no client can be made: {0}")]
    Client(String),
}

/// Tells whether a kubeconfig changed, without keeping it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of the bytes of a kubeconfig.
    #[must_use]
    pub fn of(kubeconfig: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        kubeconfig.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// The known part of a kubeconfig. No `Debug`: it holds credentials.
#[derive(Deserialize)]
struct KubeconfigFile {
    #[serde(default, rename = "current-context")]
    current_context: Option<String>,
    clusters: Option<Vec<FileCluster>>,
    users: Option<Vec<FileUser>>,
    contexts: Option<Vec<FileContext>>,
}

#[derive(Deserialize)]
struct FileContext {
    name: String,
    context: Option<ContextBody>,
}

#[derive(Deserialize)]
struct ContextBody {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct FileCluster {
    name: String,
    #[serde(default)]
    cluster: Option<ClusterBody>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ClusterBody {
    server: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
    disable_compression: Option<bool>,
}

#[derive(Deserialize)]
struct FileUser {
    name: String,
    #[serde(default)]
    user: Option<UserBody>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserBody {
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
    #[serde(rename = "as-uid")]
    impersonate_uid: Option<String>,
    #[serde(rename = "as-groups")]
    impersonate_groups: Option<Vec<String>>,
    #[serde(rename = "as-user-extra")]
    impersonate_user_extra: Option<HashMap<String, Vec<String>>>,
    auth_provider: Option<IgnoredAny>,
    exec: Option<IgnoredAny>,
}

/// Reads a kubeconfig that somebody put into a Secret.
///
/// # Errors
/// When it does not parse, is incomplete, or asks for anything that is not to be trusted and not in `allowed` (setting
/// `allowInKubeconfigs`). All reasons are named at once.
pub fn from_secret(kubeconfig: &[u8], allowed: &[String]) -> Result<Config, RefusedKubeconfig> {
    if kubeconfig.iter().all(u8::is_ascii_whitespace) {
        return Err(RefusedKubeconfig::because("it is empty"));
    }
    let text = std::str::from_utf8(kubeconfig).map_err(|_| RefusedKubeconfig::because("it is not text (UTF-8)"))?;
    let file: KubeconfigFile =
        serde_saphyr::from_str(text).map_err(|error| RefusedKubeconfig::because(not_a_kubeconfig(&error)))?;
    let (mut cluster, mut user) = (None, None);
    let mut reasons = untrusted(&file);
    reasons.extend(risky(&file, allowed));
    match chosen(&file) {
        Ok((chosen_cluster, chosen_user)) => {
            reasons.extend(unusable(chosen_cluster, chosen_user));
            (cluster, user) = (Some(chosen_cluster), Some(chosen_user));
        }
        Err(missing) => reasons.extend(missing),
    }
    match (cluster, user) {
        (Some(cluster), Some(user)) if reasons.is_empty() => configure(cluster, user),
        _ => Err(RefusedKubeconfig { reasons }),
    }
}

/// What must not be followed, in any entry: an entry that is not chosen today may be tomorrow.
fn untrusted(file: &KubeconfigFile) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut check = |entry: &str, field: &str, is_there: bool, what: &str| {
        if is_there {
            reasons.push(format!("{entry} {what} ({field})"));
        }
    };
    const FILE: &str = "refers to a file; put the data itself into the kubeconfig";
    for (index, cluster) in file.clusters.iter().flatten().enumerate() {
        let entry = format!("clusters[{index}]");
        let Some(body) = &cluster.cluster else { continue };
        check(&entry, "certificate-authority", filled(&body.certificate_authority).is_some(), FILE);
        check(&entry, "proxy-url", filled(&body.proxy_url).is_some(), "asks for a proxy, which is not supported");
    }
    for (index, user) in file.users.iter().flatten().enumerate() {
        let entry = format!("users[{index}]");
        let Some(body) = &user.user else { continue };
        check(&entry, "exec", body.exec.is_some(), "runs a program; use a token or a client certificate");
        check(
            &entry,
            "auth-provider",
            body.auth_provider.is_some(),
            "needs a plugin; use a token or a client certificate",
        );
        check(&entry, "tokenFile", filled(&body.token_file).is_some(), FILE);
        check(&entry, "client-certificate", filled(&body.client_certificate).is_some(), FILE);
        check(&entry, "client-key", filled(&body.client_key).is_some(), FILE);
    }
    reasons
}

/// What gives credentials or the network of this process away, in any entry, unless it is allowed.
fn risky(file: &KubeconfigFile, allowed: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut check = |entry: &str, is_there: bool, what: &str, word: &str| {
        if is_there && !allowed.iter().any(|allowed| allowed == word) {
            reasons.push(format!("{entry} {what}; if that is meant, add {word} to allowInKubeconfigs"));
        }
    };
    for (index, cluster) in file.clusters.iter().flatten().enumerate() {
        let entry = format!("clusters[{index}]");
        let Some(body) = &cluster.cluster else { continue };
        let server = filled(&body.server).and_then(|server| server.parse::<Uri>().ok());
        let scheme = server.as_ref().and_then(Uri::scheme_str);
        check(&entry, scheme == Some("http"), "has an http address, over which credentials go unencrypted", "http");
        let is_unchecked = body.insecure_skip_tls_verify == Some(true);
        check(
            &entry,
            is_unchecked,
            "does not check the server's certificate (insecure-skip-tls-verify)",
            "insecure-tls",
        );
        let is_local = server.as_ref().and_then(Uri::host).is_some_and(is_local);
        check(&entry, is_local, "has a loopback or link-local address, which is this process' own", "local-address");
    }
    for (index, user) in file.users.iter().flatten().enumerate() {
        let Some(body) = &user.user else { continue };
        let impersonates = filled(&body.impersonate).is_some()
            || filled(&body.impersonate_uid).is_some()
            || body.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty())
            || body.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
        check(&format!("users[{index}]"), impersonates, "impersonates another user (as)", "impersonation");
    }
    reasons
}

/// Whether a host is this machine or its link, by its address or name. What a name resolves to is not known here.
fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    // A zone names an interface of this machine.
    let address = host.split('%').next().unwrap_or_default();
    if let Ok(address) = address.parse::<IpAddr>() {
        return match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    // `127.1`, `0x7f.1` and `2130706433` are addresses to a resolver (inet_aton), and no name ends with a number.
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    last == "localhost" || is_number
}

/// The cluster and the user of the current context.
fn chosen(file: &KubeconfigFile) -> Result<(&ClusterBody, &UserBody), Vec<String>> {
    let missing = |what: &str| vec![what.to_owned()];
    let name = filled(&file.current_context).ok_or_else(|| missing("current-context is not set"))?;
    let context = (file.contexts.iter().flatten())
        .find(|context| context.name == name)
        .and_then(|context| context.context.as_ref())
        .ok_or_else(|| missing("current-context names a context that is not there"))?;
    let cluster =
        file.clusters.iter().flatten().find(|c| c.name == context.cluster).and_then(|cluster| cluster.cluster.as_ref());
    let user = file.users.iter().flatten().find(|u| u.name == context.user).and_then(|user| user.user.as_ref());
    match (cluster, user) {
        (Some(cluster), Some(user)) => Ok((cluster, user)),
        (cluster, user) => {
            let mut reasons = Vec::new();
            if cluster.is_none() {
                reasons.push("the current context names a cluster that is not there".to_owned());
            }
            if user.is_none() {
                reasons.push("the current context names a user that is not there".to_owned());
            }
            Err(reasons)
        }
    }
}

/// What no client could work with.
fn unusable(cluster: &ClusterBody, user: &UserBody) -> Vec<String> {
    let mut reasons = Vec::new();
    match filled(&cluster.server).map(str::parse::<Uri>) {
        None => reasons.push("the cluster has no server".to_owned()),
        Some(Ok(uri)) if matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some() => {
            // A log line with the address would hold the password.
            if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
                reasons.push("the server address carries a user or password; put them into the user entry".to_owned());
            }
        }
        Some(_) => reasons.push("the server is not an http or https address".to_owned()),
    }
    if filled(&user.client_certificate_data).is_some() != filled(&user.client_key_data).is_some() {
        reasons.push("client-certificate-data and client-key-data must both be there".to_owned());
    }
    // The client would panic on it.
    if filled(&user.token).is_some_and(|token| HeaderValue::from_str(token.trim()).is_err()) {
        reasons.push("the token has characters that no HTTP header can carry".to_owned());
    }
    reasons
}

/// Takes over the fields that are known, and tries out certificates and keys.
fn configure(cluster: &ClusterBody, user: &UserBody) -> Result<Config, RefusedKubeconfig> {
    let mut config = Config::from_custom_kubeconfig(known_fields(cluster, user), &KubeConfigOptions::default())
        .now_or_never()
        .ok_or_else(|| RefusedKubeconfig::because("it needs more than itself"))?
        .map_err(|error| RefusedKubeconfig::because(kubeconfig_error(&error)))?;
    // kube takes a proxy from the environment of this process.
    config.proxy_url = None;
    let config = tuned(config);
    let trial = || -> kube::Result<()> {
        config.rustls_https_connector()?;
        config.auth_layer()?;
        config.extra_headers_layer()?;
        Ok(())
    };
    trial().map_err(|error| RefusedKubeconfig::because(client_error(&error)))?;
    Ok(config)
}

/// A kubeconfig of one context that has the known fields and no others.
fn known_fields(cluster: &ClusterBody, user: &UserBody) -> Kubeconfig {
    let own = |field: &Option<String>| filled(field).map(str::to_owned);
    let secret = |field: &Option<String>| filled(field).map(|text| text.trim().to_owned().into());
    let name = || "chosen".to_owned();
    Kubeconfig {
        current_context: Some(name()),
        contexts: vec![NamedContext {
            name: name(),
            context: Some(Context { cluster: name(), user: Some(name()), ..Context::default() }),
            ..NamedContext::default()
        }],
        clusters: vec![NamedCluster {
            name: name(),
            cluster: Some(Cluster {
                server: own(&cluster.server),
                insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
                certificate_authority_data: own(&cluster.certificate_authority_data),
                tls_server_name: own(&cluster.tls_server_name),
                disable_compression: cluster.disable_compression,
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name(),
            auth_info: Some(AuthInfo {
                username: own(&user.username),
                password: filled(&user.password).map(|text| text.to_owned().into()),
                token: secret(&user.token),
                client_certificate_data: own(&user.client_certificate_data),
                client_key_data: secret(&user.client_key_data),
                impersonate: own(&user.impersonate),
                impersonate_uid: own(&user.impersonate_uid),
                impersonate_groups: user.impersonate_groups.clone(),
                impersonate_user_extra: user.impersonate_user_extra.clone(),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        ..Kubeconfig::default()
    }
}

/// Reads a kubeconfig on the local disk, which is trusted: exec plugins and file references work.
///
/// # Errors
/// When it cannot be read, or lacks the context (the current one where `context` is none).
pub async fn from_file(path: &Path, context: Option<&str>) -> Result<Config, ConnectError> {
    let failed =
        |error: &KubeconfigError| ConnectError::File { path: path.to_owned(), reason: kubeconfig_error(error) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
    let wants_proxy =
        kubeconfig.clusters.iter().filter_map(|c| c.cluster.as_ref()).any(|c| filled(&c.proxy_url).is_some());
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| failed(&error))?;
    if !wants_proxy {
        // kube takes HTTPS_PROXY from the environment, also for addresses that only the cluster network reaches.
        config.proxy_url = None;
    }
    Ok(tuned(config))
}

/// The hub: a local kubeconfig where one is named, else the cluster this process runs in.
///
/// # Errors
/// When the kubeconfig cannot be used, or there is none and the process is not in a cluster.
pub async fn hub(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, ConnectError> {
    match kubeconfig {
        Some(path) => from_file(path, context).await,
        None => Config::incluster().map(tuned).map_err(|error| ConnectError::NotInCluster(error.to_string())),
    }
}

/// Makes a client. Must be called within a tokio runtime.
///
/// # Errors
/// When the server is not an absolute http or https address, or certificates, keys or headers cannot be used; the reason is
/// free of them.
pub fn connect(config: Config) -> Result<Client, ConnectError> {
    limited(config, &BodyLimitLayer::of_api_server())
}

/// As [`connect`], for Tradewind's own views, which list a whole fleet in one answer.
///
/// # Errors
/// As [`connect`].
pub fn connect_to_views(config: Config) -> Result<Client, ConnectError> {
    limited(config, &BodyLimitLayer::of_views())
}

fn limited(config: Config, limits: &BodyLimitLayer) -> Result<Client, ConnectError> {
    // The client would panic on it with the first request.
    if !matches!(config.cluster_url.scheme_str(), Some("https" | "http")) || config.cluster_url.host().is_none() {
        return Err(ConnectError::Client("the server is not an http or https address".to_owned()));
    }
    let client = ClientBuilder::try_from(config).map_err(|error| ConnectError::Client(client_error(&error)))?;
    Ok(client.with_layer(limits).build())
}

/// Sets what all connections have in common.
fn tuned(mut config: Config) -> Config {
    // kube's own retries last up to minutes inside one call; we back off per kind and cluster ourselves.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(CONNECT_TIMEOUT_SECONDS));
    config.read_timeout = Some(Duration::from_secs(READ_TIMEOUT_SECONDS));
    config.write_timeout = Some(Duration::from_secs(WRITE_TIMEOUT_SECONDS));
    // Otherwise the idle time of a pooled connection would count against the next answer.
    config.reset_reader_on_write = true;
    config.headers.push((USER_AGENT, HeaderValue::from_static(CLIENT_NAME)));
    let needs_no_roots = config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http");
    if needs_no_roots && config.root_cert.is_none() {
        // Without any, the client asks for the system's certificates, which a minimal image does not have.
        config.root_cert = Some(Vec::new());
    }
    config
}

fn filled(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.trim().is_empty())
}

fn not_a_kubeconfig(error: &serde_saphyr::Error) -> String {
    match error.location() {
        Some(location) => format!("it is not a kubeconfig: line {} does not parse", location.line()),
        None => "it is not a kubeconfig: it does not parse".to_owned(),
    }
}

/// In words, without what the kubeconfig contains (kube's own messages quote it).
fn kubeconfig_error(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => "current-context is not set".to_owned(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "its documents are of different kinds".to_owned()
        }
        KubeconfigError::LoadContext(name) => format!("it has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(_) => "the context names a cluster that is not there".to_owned(),
        KubeconfigError::ReadConfig(source, _) => source.to_string(),
        KubeconfigError::Parse(error) => not_a_kubeconfig(error),
        KubeconfigError::MissingClusterUrl => "the cluster has no server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "the server is not an http or https address".to_owned(),
        KubeconfigError::ParseProxyUrl(_) => "proxy-url is not an address".to_owned(),
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "the certificate authority cannot be read: PEM is expected, in base64 where it is inline".to_owned()
        }
        KubeconfigError::LoadClientCertificate(_) => {
            "the client certificate cannot be read: PEM is expected, in base64 where it is inline".to_owned()
        }
        KubeconfigError::LoadClientKey(_) => {
            "the client key cannot be read: PEM is expected, in base64 where it is inline".to_owned()
        }
        KubeconfigError::FindPath => "there is no such file".to_owned(),
    }
}

fn client_error(error: &kube::Error) -> String {
    match error {
        kube::Error::InferKubeconfig(error) => kubeconfig_error(error),
        kube::Error::RustlsTls(kube::client::RustlsTlsError::AddRootCertificate(_)) => {
            "no usable certificate authority: certificate-authority-data is not a certificate, or it is missing and the system has none".to_owned()
        }
        kube::Error::RustlsTls(kube::client::RustlsTlsError::InvalidServerName(_)) => {
            "tls-server-name is not a host name".to_owned()
        }
        kube::Error::RustlsTls(_) => {
            "the client certificate and key cannot be used: a PEM certificate and its PKCS#8, PKCS#1 or SEC1 key are expected".to_owned()
        }
        kube::Error::Auth(_) => "the credentials cannot be obtained (exec plugin, auth provider or token file)".to_owned(),
        kube::Error::HttpError(_) => "a user or group to impersonate has characters that no HTTP header can carry".to_owned(),
        kube::Error::ProxyProtocolDisabled { .. } | kube::Error::ProxyProtocolUnsupported { .. } => {
            "it asks for a proxy (proxy-url), which is not supported".to_owned()
        }
        _ => "the connection settings contradict each other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KUBECONFIG_RISKS;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: ctx\ncontexts:\n- name: ctx\n  context: {{cluster: c, user: u}}\n\
             clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
        )
    }

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    /// What all of it may ask for.
    fn read(kubeconfig: &[u8]) -> Result<Config, RefusedKubeconfig> {
        from_secret(kubeconfig, &KUBECONFIG_RISKS.map(str::to_owned))
    }

    /// Whatever is risky is refused by name, and each by itself can be allowed.
    #[test]
    fn what_gives_credentials_or_the_network_away_is_refused_unless_it_is_allowed() {
        let tls = "insecure-skip-tls-verify: true";
        for (cluster, user, word) in [
            ("server: 'http://api.example'".to_owned(), "token: hunter2", "http"),
            (format!("server: 'https://api.example', {tls}"), "token: hunter2", "insecure-tls"),
            ("server: 'https://127.0.0.1:6443'".to_owned(), "token: hunter2", "local-address"),
            ("server: 'https://api.example'".to_owned(), "token: hunter2, as: admin", "impersonation"),
            (
                "server: 'https://api.example'".to_owned(),
                "token: hunter2, as-groups: ['system:masters']",
                "impersonation",
            ),
            ("server: 'https://api.example'".to_owned(), "token: hunter2, as-uid: '0'", "impersonation"),
        ] {
            let text = kubeconfig(&cluster, user);
            let reason = from_secret(text.as_bytes(), &[]).unwrap_err().to_string();
            assert!(reason.ends_with(&format!("add {word} to allowInKubeconfigs")), "{reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
            let allowed = from_secret(text.as_bytes(), &[word.to_owned()]);
            // The system's certificates may be missing where the test runs; nothing else may be wrong.
            assert!(
                allowed.as_ref().err().is_none_or(|error| error.to_string().contains("certificate authority")),
                "{text}"
            );
            let others: Vec<String> =
                KUBECONFIG_RISKS.iter().filter(|other| **other != word).map(|other| (*other).to_owned()).collect();
            assert!(from_secret(text.as_bytes(), &others).is_err(), "{word}");
        }
    }

    #[test]
    fn a_local_address_is_known_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.1.",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in ["10.0.0.1", "192.168.1.1", "[fd00::1]", "api.example", "localhost.example", "4.example", "8.8.8.8"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    const SERVER: &str = "server: 'https://api.example:6443'";

    #[test]
    fn a_token_over_https_or_http_is_accepted_with_the_default_limits() {
        for server in ["https://api.example:6443", "http://127.0.0.1:8080"] {
            let text = kubeconfig(&format!("server: '{server}', insecure-skip-tls-verify: true"), "token: abc");
            let config = read(text.as_bytes()).unwrap();
            assert_eq!(config.cluster_url, format!("{server}/").parse::<Uri>().unwrap());
            assert!(!config.default_retry, "kube's retries hold a call for minutes");
            assert_eq!(config.connect_timeout, Some(Duration::from_secs(CONNECT_TIMEOUT_SECONDS)));
            assert_eq!(config.read_timeout, Some(Duration::from_secs(READ_TIMEOUT_SECONDS)));
            assert!(config.accept_invalid_certs);
            assert!(config.headers.iter().any(|(name, value)| name == USER_AGENT && value == CLIENT_NAME));
        }
    }

    #[test]
    fn user_and_password_json_and_server_name_are_accepted() {
        let text = kubeconfig(
            &format!("{SERVER}, insecure-skip-tls-verify: true, tls-server-name: inner.example"),
            "username: a, password: b",
        );
        let config = read(text.as_bytes()).unwrap();
        assert_eq!(config.tls_server_name.as_deref(), Some("inner.example"));
        assert_eq!(config.auth_info.username.as_deref(), Some("a"));
        let json = r#"{"current-context":"x","contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],
            "clusters":[{"name":"c","cluster":{"server":"http://h"}}],"users":[{"name":"u","user":{"token":"t"}}]}"#;
        assert!(read(json.as_bytes()).is_ok());
    }

    #[test]
    fn whatever_runs_a_program_or_reads_a_file_is_refused_all_at_once() {
        let text = kubeconfig(
            &format!("{SERVER}, certificate-authority: /etc/ca.pem, proxy-url: 'file:///etc/x'"),
            "exec: {command: /bin/sh}, auth-provider: {name: gcp}, tokenFile: /var/run/t, client-certificate: /c, client-key: /k",
        );
        let reasons = refusal(&text);
        for field in [
            "certificate-authority",
            "proxy-url",
            "exec",
            "auth-provider",
            "tokenFile",
            "client-certificate",
            "client-key",
        ] {
            assert!(reasons.contains(&format!("({field})")), "{field} in {reasons}");
        }
        for content in ["/etc/ca.pem", "/bin/sh", "gcp", "/var/run/t"] {
            assert!(!reasons.contains(content), "{content} in {reasons}");
        }
    }

    #[test]
    fn an_entry_that_is_not_chosen_may_not_be_hostile_either() {
        let mut text = kubeconfig(&format!("{SERVER}, insecure-skip-tls-verify: true"), "token: abc");
        text.push_str("- name: other\n  user: {exec: {command: x}}\n");
        assert_eq!(refusal(&text), "users[1] runs a program; use a token or a client certificate (exec)");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(refusal("  \n"), "it is empty");
        assert_eq!(read(&[0xff, 0xfe]).unwrap_err().to_string(), "it is not text (UTF-8)");
        assert_eq!(refusal("clusters: []"), "current-context is not set");
        assert_eq!(refusal("current-context: gone"), "current-context names a context that is not there");
        let both = refusal("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]");
        assert!(both.contains("a cluster that is not there; ") && both.contains("a user that is not there"), "{both}");
        assert_eq!(refusal(&kubeconfig("", "token: a")), "the cluster has no server");
    }

    #[test]
    fn servers_that_are_no_web_address_or_contain_a_password_are_refused() {
        for server in ["ftp://x", "unix:///run/x", "not an address", "/relative"] {
            let reason = refusal(&kubeconfig(&format!("server: '{server}'"), "token: a"));
            assert_eq!(reason, "the server is not an http or https address", "{server}");
        }
        let reason = refusal(&kubeconfig("server: 'https://me:hunter2@api.example'", "token: a"));
        assert!(reason.contains("carries a user or password") && !reason.contains("hunter2"), "{reason}");
    }

    // Invariant: No message contains a credential.
    #[test]
    fn broken_yaml_is_named_by_line_and_never_quoted() {
        let reason = refusal("current-context: a\nusers:\n- name: u\n  user: {token: hunter2\nclusters: ]\n");
        assert!(reason.starts_with("it is not a kubeconfig: line "), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
        let reason = refusal("users: [{name: u, user: {token: [hunter2]}}]");
        assert!(reason.contains("not a kubeconfig") && !reason.contains("hunter2"), "{reason}");
    }

    #[test]
    fn credentials_that_no_client_can_use_are_refused_before_they_are_used() {
        let token = refusal(&kubeconfig(SERVER, "token: \"hun\\nter2\""));
        assert!(token.contains("no HTTP header") && !token.contains("ter2"), "{token}");
        let half = refusal(&kubeconfig(SERVER, "client-certificate-data: YQ=="));
        assert!(half.contains("must both be there"), "{half}");
        let base64 = refusal(&kubeconfig(&format!("{SERVER}, certificate-authority-data: '%%%'"), "token: a"));
        assert!(base64.contains("certificate authority") && !base64.contains("%%%"), "{base64}");
        let pem = refusal(&kubeconfig(
            &format!("{SERVER}, insecure-skip-tls-verify: true"),
            "client-certificate-data: YQ==, client-key-data: YQ==",
        ));
        assert!(pem.contains("client certificate"), "{pem}");
    }

    // Invariant: No message contains a credential.
    #[tokio::test]
    async fn local_files_are_trusted_and_their_errors_quote_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(dir.path().join("token"), "abc").unwrap();
        std::fs::write(&path, kubeconfig("server: 'http://h'", "tokenFile: token")).unwrap();
        let config = from_file(&path, None).await.unwrap();
        assert!(config.auth_info.token_file.unwrap().ends_with("token"));
        let error = from_file(&path, Some("nope")).await.unwrap_err().to_string();
        assert!(error.contains("no context \"nope\""), "{error}");
        std::fs::write(&path, "users: {token: hunter2").unwrap();
        let error = from_file(&path, None).await.unwrap_err().to_string();
        assert!(error.contains("does not parse") && !error.contains("hunter2"), "{error}");
    }

    // Invariant: No message contains a credential.
    #[test]
    fn fingerprints_follow_the_bytes_and_show_nothing() {
        assert_eq!(Fingerprint::of(b"a"), Fingerprint::of(b"a"));
        assert_ne!(Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        assert_eq!(format!("{:?}", Fingerprint::of(b"a")), "Fingerprint(…)");
    }
}
