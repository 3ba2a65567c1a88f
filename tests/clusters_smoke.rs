//! That the real clusters the other tests stand on are what they claim to be.

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use support::{Answer, FaultProxy, Mode, StatusProxy, TestCluster, Who, eventually, istio, unique};

/// For what should take milliseconds, on a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(30);

/// Long enough for an answer that could come, and as little as a test should wait for nothing.
const NOTHING_WITHIN: Duration = Duration::from_millis(500);

const SERVICE_ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stage.payments.global-se, namespace: NAMESPACE}
spec:
  hosts: [stage.payments.global]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{name: http, number: 80, protocol: http}]
  endpoints: [{address: 192.0.2.7, locality: us-west-2, ports: {http: 15443}}]
";

async fn client_from(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a whole kubeconfig");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

async fn answers(client: &Client) -> Result<(), kube::Error> {
    let request = Request::get("/api").body(Vec::new()).expect("a plain request");
    client.request_text(request).await.map(drop)
}

fn config_map(namespace: &str, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": name } })
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test]
async fn three_clusters_hold_their_own_objects() {
    let clusters = support::shared().await;
    let namespace = unique("own");
    for cluster in clusters {
        cluster.apply(vec![config_map(&namespace, cluster.name())]).await;
    }
    for cluster in clusters {
        let found = cluster.list("ConfigMap", namespace.as_str()).await;
        let names: Vec<_> = found.iter().map(|object| object["metadata"]["name"].as_str()).collect();
        assert_eq!(names, [Some(cluster.name())]);
        assert_eq!(found[0]["kind"], "ConfigMap");
        cluster.delete("v1/ConfigMap", namespace.as_str(), cluster.name()).await;
        assert_eq!(cluster.get_json("ConfigMap", namespace.as_str(), cluster.name()).await, None);
    }
}

#[tokio::test]
async fn strict_apply_takes_a_right_object_and_refuses_an_unknown_field() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("strict");
    cluster.apply(vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })]).await;
    let right = SERVICE_ENTRY.replace("NAMESPACE", &namespace);

    let stored = istio::strict_apply(cluster, &right).await.expect("Istio takes it");
    assert_eq!(stored["spec"]["endpoints"][0]["ports"]["http"], 15443);

    let unknown = right.replace("resolution:", "resolutoin:");
    let error = istio::strict_apply(cluster, &unknown).await.expect_err("there is no such field");
    assert!(error.to_string().contains("resolutoin"), "{error}");

    let invalid = right.replace("resolution: DNS", "resolution: SOMEHOW");
    let error = istio::strict_apply(cluster, &invalid).await.expect_err("there is no such resolution");
    assert_eq!(code(&error), 422, "{error}");
}

#[tokio::test]
async fn status_is_applied_where_no_controller_does() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("status");
    let service = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: {namespace}}}
spec: {{type: LoadBalancer, ports: [{{name: tls, port: 15443}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.9}}]}}}}
"
    );
    cluster.apply_yaml(&service).await;
    cluster.apply_status(&service).await;
    let stored = cluster.get_json("Service", namespace.as_str(), "istio-ingressgateway").await.expect("just applied");
    assert_eq!(stored["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.9");
}

#[tokio::test]
async fn a_deleted_namespace_is_gone() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("gone");
    cluster.apply(vec![config_map(&namespace, "inside")]).await;
    cluster.delete("Namespace", None, &namespace).await;
    assert_eq!(cluster.get_json("Namespace", None, &namespace).await, None);
}

#[tokio::test]
async fn tokens_belong_to_their_users() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("tokens");
    let account =
        format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: reader, namespace: {namespace}}}}}");
    cluster.apply_yaml(&account).await;
    let client = async |token: &str| client_from(&cluster.kubeconfig_with(&cluster.url(), token)).await;
    let maps = |client| Api::<ConfigMap>::namespaced(client, &namespace);
    let (none, apply) = (ListParams::default(), PatchParams::apply("test"));
    let patch = Patch::Apply(config_map(&namespace, "a"));

    for who in [Who::Admin, Who::AdminA, Who::AdminB] {
        maps(client(&cluster.token(who)).await).patch("a", &apply.clone().force(), &patch).await.expect("may do all");
    }
    let reader = maps(client(&cluster.token(Who::ServedCluster)).await);
    reader.list(&none).await.expect("may read");
    assert_eq!(code(&reader.patch("a", &apply, &patch).await.expect_err("may not write")), 403);
    let nobody = maps(client(&cluster.token(Who::Nobody)).await);
    assert_eq!(code(&nobody.list(&none).await.expect_err("may do nothing")), 403);
    let unknown = maps(client("no-such-token").await);
    assert_eq!(code(&unknown.list(&none).await.expect_err("is no one")), 401);
    let account = maps(client(&cluster.service_account_token(&namespace, "reader").await).await);
    assert_eq!(code(&account.list(&none).await.expect_err("is known, and has no rights")), 403);
}

#[tokio::test]
async fn writes_are_counted_and_reads_are_not() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("audit");
    cluster.apply(vec![config_map(&namespace, "before")]).await;

    let agent = unique("some-controller");
    let client = cluster.client_with(&cluster.url(), &cluster.token(Who::AdminA), &agent);
    let maps = Api::<ConfigMap>::namespaced(client, &namespace);
    let mark = cluster.mark().await;
    maps.list(&ListParams::default()).await.expect("the namespace is there");
    let patch = Patch::Apply(config_map(&namespace, "a"));
    maps.patch("a", &PatchParams::apply("test"), &patch).await.expect("just an apply");
    maps.delete("a", &Default::default()).await.expect("it is there");
    maps.delete("a", &Default::default()).await.expect_err("it is gone");

    let writes = cluster.writes(mark).await;
    let seen: Vec<_> = writes
        .iter()
        .filter(|write| write.user_agent == agent)
        .map(|write| (write.verb.as_str(), write.resource.as_str(), write.name.as_str(), write.code))
        .collect();
    let expected =
        [("patch", "configmaps", "a", 201), ("delete", "configmaps", "a", 200), ("delete", "configmaps", "a", 404)];
    assert_eq!(seen, expected);
    let own = writes.iter().filter(|write| write.namespace == namespace);
    assert!(own.clone().all(|write| write.user == "admin-a" && write.name == "a"), "{:?}", own.collect::<Vec<_>>());
    let later = cluster.mark().await;
    assert!(!cluster.writes(later).await.iter().any(|write| write.namespace == namespace));
}

#[tokio::test]
async fn a_partition_is_felt_and_heals() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("partition");
    cluster.apply(vec![config_map(&namespace, "first")]).await;
    let proxy = FaultProxy::start(cluster).await;
    let client = client_from(&proxy.kubeconfig(cluster)).await;
    answers(&client).await.expect("it passes");

    proxy.set(Mode::Refuse).await;
    answers(&client).await.expect_err("it refuses");
    proxy.set(Mode::Pass).await;
    answers(&client).await.expect("it passes again");

    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let mut watch = maps.watch(&WatchParams::default().disable_bookmarks(), "0").await.expect("a watch").boxed();
    let first = watch.try_next().await.expect("an event");
    assert!(matches!(first, Some(WatchEvent::Added(_))), "{first:?}");

    proxy.set(Mode::Hang).await;
    cluster.apply(vec![config_map(&namespace, "second")]).await;
    let nothing = tokio::time::timeout(NOTHING_WITHIN, watch.next()).await;
    assert!(nothing.is_err(), "an open watch hears nothing: {nothing:?}");
    let fresh = client_from(&proxy.kubeconfig(cluster)).await;
    let nothing = tokio::time::timeout(NOTHING_WITHIN, answers(&fresh)).await;
    assert!(nothing.is_err(), "a new connection gets no answer: {nothing:?}");
    proxy.set(Mode::Pass).await;
    let second = tokio::time::timeout(SOON, watch.try_next()).await.expect("what was held back arrives");
    assert!(matches!(second, Ok(Some(WatchEvent::Added(_)))), "{second:?}");

    proxy.cut().await;
    let end = tokio::time::timeout(SOON, watch.try_next()).await.expect("the watch ends");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    answers(&client).await.expect("and nothing else does");
}

#[tokio::test]
async fn configured_statuses_are_injected_and_watches_stream_through() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("statuses");
    cluster.apply(vec![config_map(&namespace, "first")]).await;
    let proxy = StatusProxy::start(cluster).await;
    let client = client_from(&proxy.kubeconfig(cluster)).await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let (none, apply) = (ListParams::default(), PatchParams::apply("test"));
    let patch = Patch::Apply(config_map(&namespace, "a"));

    let mut watch = maps.watch(&WatchParams::default().disable_bookmarks(), "0").await.expect("a watch").boxed();
    assert!(matches!(watch.try_next().await, Ok(Some(WatchEvent::Added(_)))));

    proxy.answer(Answer::with(403).methods(&[Method::PATCH]).path("/configmaps"));
    assert_eq!(code(&maps.patch("a", &apply, &patch).await.expect_err("told so")), 403);
    maps.list(&none).await.expect("not a PATCH");
    assert_eq!(proxy.injected(), 1);
    proxy.pass();
    maps.patch("a", &apply, &patch).await.expect("the real answer");
    let added = tokio::time::timeout(SOON, watch.try_next()).await.expect("the watch streams");
    assert!(matches!(added, Ok(Some(WatchEvent::Added(_)))), "{added:?}");

    for status in [401, 429, 500, 503] {
        proxy.answer(Answer::with(status).retry_after(Duration::from_secs(1)).times(1));
        assert_eq!(code(&maps.list(&none).await.expect_err("told so")), status);
        maps.list(&none).await.expect("told once");
    }

    proxy.cut();
    let end = tokio::time::timeout(SOON, watch.try_next()).await.expect("the watch ends");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");

    let stranger = client_from(&cluster.kubeconfig_with(&proxy.url(), "no-such-token")).await;
    assert_eq!(code(&answers(&stranger).await.expect_err("the caller's own token went through")), 401);
}

#[tokio::test]
async fn a_cluster_survives_outage_hang_and_new_ca() {
    let cluster = TestCluster::start("faulty").await;
    let (url, before) = (cluster.url(), cluster.kubeconfig());
    cluster.apply(vec![config_map("kept", "kept")]).await;
    let client = client_from(&before).await;

    cluster.stop_apiserver();
    answers(&client).await.expect_err("nobody is there");
    cluster.start_apiserver().await;
    assert_eq!((cluster.url(), cluster.kubeconfig()), (url, before.clone()));
    answers(&client).await.expect("the same server to its clients");
    assert!(cluster.get_json("ConfigMap", "kept", "kept").await.is_some(), "the data was kept");

    cluster.pause().await;
    let nothing = tokio::time::timeout(NOTHING_WITHIN, answers(&client)).await;
    assert!(nothing.is_err(), "a paused server answered: {nothing:?}");
    cluster.resume();
    eventually("it goes on", SOON, async || answers(&client).await.map_err(|error| error.to_string())).await;

    cluster.replace_ca().await;
    let old = client_from(&before).await;
    answers(&old).await.expect_err("the old CA vouches for nothing");
    answers(&client_from(&cluster.kubeconfig()).await).await.expect("the new one does");
    assert!(cluster.get_json("ConfigMap", "kept", "kept").await.is_some(), "the data was kept");
}

/// A process that dies without a word leaves no server and no file: the test runs itself, with
/// a cluster, in a process that it kills.
#[tokio::test]
async fn nothing_outlives_the_test_process() {
    const CHILD: &str = "TRADEWIND_TEST_LEAVES_A_CLUSTER";
    if let Some(report) = std::env::var_os(CHILD) {
        let cluster = TestCluster::start("orphan").await;
        std::fs::write(report, format!("{}\n{}", cluster.address(), cluster.dir().display())).expect("a report");
        // Until the parent ends, in case it fails before it kills us.
        std::io::read_to_string(std::io::stdin()).expect("a pipe");
        panic!("the parent ended first");
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let report = scratch.path().join("report");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "nothing_outlives_the_test_process"])
        .env(CHILD, &report)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this test");
    let (address, dir) = eventually("the child has a cluster", Duration::from_secs(120), async || {
        let text = std::fs::read_to_string(&report).map_err(|error| error.to_string())?;
        let (address, dir) = text.split_once('\n').ok_or("half a report")?;
        Ok((address.to_owned(), dir.to_owned()))
    })
    .await;
    let connect = async || tokio::net::TcpStream::connect(&address).await;
    connect().await.expect("its server listens");

    child.kill().expect("our child");
    child.wait().expect("our child");
    eventually("its server is gone", SOON, async || match connect().await {
        Ok(_) => Err("it still listens".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    eventually("its files are gone", SOON, async || {
        if Path::new(&dir).exists() { Err(format!("{dir} is there")) } else { Ok(()) }
    })
    .await;
}
