//! The HTTP routes over the payments story: our own views, and Admiral's shapes and status codes.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tradewind::{
    apply::{NothingWithheld, Withheld},
    config::{ListenAddresses, Settings},
    fleet::{Observer, directory::DirectoryCluster},
    model::{ClusterName, Kind, Now, WorkKey},
    planner::plan_unit,
    registry::Registry,
    sample,
    server::{self, Metrics, Readiness, ReviewRefusal, Views, ViewsConfig},
};

mod rest {
    mod connections;
}

/// Largest answer that a test reads.
const MAX_BODY_BYTES: usize = 4 << 20;

struct Api {
    registry: Arc<Registry>,
    readiness: Readiness,
    released: Arc<Mutex<Vec<String>>>,
    views: Arc<Views>,
    is_paused: Arc<(Mutex<bool>, Condvar)>,
}

/// While it lives, no plan is made for a request.
struct Paused(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Paused {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }
}

struct Answer {
    status: StatusCode,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Api {
    /// A fleet without clusters that was not listed yet.
    fn empty(settings: Settings) -> Self {
        let registry = Arc::new(Registry::new(Arc::new(settings)));
        let readiness = Readiness::default();
        let released = Arc::new(Mutex::new(Vec::new()));
        let is_paused = Arc::new((Mutex::new(false), Condvar::new()));
        let (planned, noted, gate) = (registry.clone(), released.clone(), is_paused.clone());
        let views = Views::new(ViewsConfig {
            registry: registry.clone(),
            readiness: readiness.clone(),
            metrics: Metrics::new().unwrap(),
            plan: Box::new(move |key| {
                drop(gate.1.wait_while(gate.0.lock().unwrap(), |is_paused| *is_paused).unwrap());
                plan_unit(&planned, &WorkKey::Service(key.clone()), Now::default())?.service
            }),
            withheld: Box::new(|| {
                let objects =
                    vec!["ServiceEntry a/b".to_owned(), "ServiceEntry a/c".to_owned(), "Sidecar a/d".to_owned()];
                let cluster = ClusterName::parse("cluster-1").unwrap();
                vec![Withheld { cluster, id: "abc".to_owned(), objects, owned: 4 }]
            }),
            secret_of: Box::new(|cluster| Some(format!("secret-of-{cluster}"))),
            review: Box::new(|_, token| {
                let reviewed = match &*token {
                    "of-alice" => Ok("alice".to_owned()),
                    "of-bob" => Err(ReviewRefusal::Forbidden("bob may not".to_owned())),
                    "of-all" => Err(ReviewRefusal::Unavailable("the hub is away".to_owned())),
                    _ => Err(ReviewRefusal::Unknown("who is that".to_owned())),
                };
                Box::pin(async { reviewed })
            }),
            release: Box::new(move |cluster, id, user| match id {
                "abc" => {
                    noted.lock().unwrap().push(format!("{cluster} {id} by {user}"));
                    Ok(())
                }
                _ => Err(NothingWithheld { cluster: cluster.clone(), id: id.to_owned() }),
            }),
        });
        Self { registry, readiness, released, views: Arc::new(views.unwrap()), is_paused }
    }

    fn pause_planning(&self) -> Paused {
        *self.is_paused.0.lock().unwrap() = true;
        Paused(self.is_paused.clone())
    }

    /// The sample, read and planned.
    fn payments(settings: Settings) -> Self {
        Self::with_more(settings, "")
    }

    /// The sample, and these manifests in its first cluster.
    fn with_more(settings: Settings, manifests: &str) -> Self {
        let api = Self::empty(settings);
        let directory = tempfile::tempdir().unwrap();
        sample::write_to(directory.path()).unwrap();
        std::fs::write(directory.path().join("cluster-1/more.yaml"), manifests).unwrap();
        for name in ["cluster-1", "cluster-2", "cluster-3"] {
            let observer = Observer::new(api.registry.settings().clone(), false);
            let cluster = ClusterName::parse(name).unwrap();
            let cluster = DirectoryCluster::new(cluster, directory.path().join(name), observer);
            cluster.push(&cluster.load(), &api.registry, 0);
        }
        api.registry.fleet_listed();
        api.readiness.planned();
        api
    }

    async fn request(&self, router: Router, request: Request<Body>) -> Answer {
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let content_type =
            response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_BODY_BYTES).await.unwrap();
        Answer { status, content_type, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.request(server::router(self.views.clone()), Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(server::router(self.views.clone()), request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn live_always_and_ready_when_read_and_planned() {
    let api = Api::empty(Settings::default());
    for path in ["/health/live", "/livez", "/healthz", "/livez/"] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
    let answer = api.get("/health/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("have not been listed"), "{}", answer.body);

    let west = ClusterName::parse("west").unwrap();
    api.registry.register(&west);
    api.registry.fleet_listed();
    let answer = api.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("west"), "{}", answer.body);

    for kind in api.registry.settings().watched_kinds() {
        api.registry.reset(&west, kind, Vec::new());
    }
    let answer = api.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("first plan"), "{}", answer.body);

    api.readiness.planned();
    for path in ["/readyz", "/health/ready", "/health/ready/", "/health/ready?checkifreadonly=true"] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_read_only_controller_is_not_ready_if_the_probe_checks_it() {
    let api = Api::payments(Settings { read_only: true, ..Settings::default() });
    for (query, status) in [
        ("", StatusCode::OK),
        ("?checkifreadonly=", StatusCode::OK),
        ("?checkifreadonly=false", StatusCode::OK),
        ("?checkifreadonly=true", StatusCode::SERVICE_UNAVAILABLE),
        ("?checkifreadonly=T", StatusCode::SERVICE_UNAVAILABLE),
        ("?checkifreadonly=yes", StatusCode::BAD_REQUEST),
    ] {
        let answer = api.get(&format!("/health/ready{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.content_type.starts_with("text/plain"));
    }
}

#[tokio::test]
async fn reference_clusters() {
    let api = Api::empty(Settings::default());
    let answer = api.get("/clusters").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!("No cluster is monitored by admiral")));
    let api = Api::payments(Settings::default());
    for path in ["/clusters", "/clusters/"] {
        let answer = api.get(path).await;
        assert_eq!(answer.json(), json!(["cluster-1", "cluster-2", "cluster-3"]));
        assert_eq!(answer.content_type, "application/json");
    }
}

#[tokio::test]
async fn reference_service_entries_of_a_cluster() {
    let api = Api::payments(Settings::default());
    let answer = api.get("/cluster/cluster-2/serviceentries").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (StatusCode::OK, "application/json"));
    let entries = answer.json();
    let entry =
        entries.as_array().unwrap().iter().find(|entry| entry["metadata"]["name"] == "stage.payments.global-se");
    let entry = entry.expect("payments run there");
    assert_eq!(entry["apiVersion"], "networking.istio.io/v1");
    assert_eq!(entry["kind"], "ServiceEntry");
    assert_eq!(entry["metadata"]["namespace"], "admiral-sync");
    assert_eq!(entry["spec"]["hosts"], json!(["stage.payments.global"]));
    let addresses: Vec<&str> =
        entry["spec"]["endpoints"].as_array().unwrap().iter().map(|e| e["address"].as_str().unwrap()).collect();
    assert!(addresses.contains(&"payments.payments-west.svc.cluster.local"), "{addresses:?}");
    assert!(addresses.contains(&"203.0.113.30"), "{addresses:?}");

    let answer = api.get("/cluster/cluster-9/serviceentries").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body.trim_end(), "admiral is not monitoring cluster cluster-9");

    let api = Api::empty(Settings::default());
    api.registry.register(&ClusterName::parse("west").unwrap());
    let answer = api.get("/cluster/west/serviceentries/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "no service entries configured for cluster - west");
}

#[tokio::test]
async fn reference_service_entries_of_an_identity() {
    let api = Api::payments(Settings::default());
    let answer = api.get("/identity/payments/serviceentries").await;
    let everywhere = json!(["cluster-1", "cluster-2", "cluster-3"]);
    assert_eq!(
        answer.json(),
        json!([
            {"Cname": "east.stage.payments.global", "Clusters": everywhere},
            {"Cname": "stage.payments.global", "Clusters": everywhere},
            {"Cname": "west.stage.payments.global", "Clusters": everywhere},
        ])
    );
    assert_eq!(api.get("/identity/Payments/serviceentries").await.json(), json!([]), "Admiral minds the case");
}

#[tokio::test]
async fn reference_policy_in_force() {
    let api = Api::payments(Settings::default());
    let answer = api.get("/identity/payments/globaltrafficpolicy?env=stage").await;
    assert_eq!(answer.status, StatusCode::OK);
    let policy = answer.json();
    assert_eq!(policy["kind"], "GlobalTrafficPolicy");
    assert_eq!(policy["metadata"]["namespace"], "payments-east");
    assert_eq!(policy["spec"]["policy"][0]["target"][0], json!({"region": "us-east", "weight": 90}));
    for (path, env) in [
        ("/identity/payments/globaltrafficpolicy", "default"),
        ("/identity/payments/globaltrafficpolicy?env=", "default"),
        ("/identity/payments/globaltrafficpolicy/?env=prod", "prod"),
    ] {
        let answer = api.get(path).await;
        let message = format!("globaltraffic policy with identity: payments and env: {env} was not found");
        assert_eq!((answer.status, answer.json()), (StatusCode::NOT_FOUND, json!({ "error": message })));
    }
    let answer = api.get("/identity/orders/globaltrafficpolicy?env=stage").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "it runs and has no policy");
}

#[tokio::test]
async fn views_of_clusters_and_services() {
    let api = Api::payments(Settings::default());
    let clusters = api.get("/api/clusters").await.json();
    let east = &clusters["clusters"][2];
    assert_eq!(east["name"], "cluster-3");
    assert_eq!(east["gateway"], "203.0.113.30:15443");
    assert_eq!(east["regions"], json!(["us-east"]));
    assert_eq!(east["kinds"]["Deployment"], json!({"state": "synced"}));

    let services = api.get("/api/services").await.json();
    let payments = &services["services"][1];
    assert_eq!(payments["host"], "stage.payments.global");
    assert_eq!(payments["runsIn"], json!(["cluster-2", "cluster-3"]));
    assert_eq!(payments["seenFrom"], json!(["cluster-1", "cluster-2", "cluster-3"]));
    assert_eq!(payments["declared"], true);
}

/// Every number that looks like a Unix time, in seconds or milliseconds, with its path.
fn unix_times(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| unix_times(&format!("{path}.{key}"), value, found))
        }
        Value::Array(items) => items.iter().for_each(|item| unix_times(&format!("{path}[]"), item, found)),
        Value::Number(number) if number.as_f64().is_some_and(|number| number > 1e9) => found.push(path.to_owned()),
        _ => {}
    }
}

#[tokio::test]
async fn times_are_in_rfc_3339() {
    let api = Api::payments(Settings::default());
    let (east, now_seconds) = (ClusterName::parse("cluster-3").unwrap(), 1_780_000_000);
    api.registry.unreadable(&east, Kind::Deployment, "the API server is away", now_seconds);
    api.registry.unreadable(&east, Kind::Deployment, "the API server is away", now_seconds + 60);
    let north = ClusterName::parse("north").unwrap();
    api.registry.register(&north);
    api.registry.unreadable(&north, Kind::Service, "it never answered", now_seconds);

    let clusters = api.get("/api/clusters").await.json();
    let kind = |cluster: &str, kind: &str| {
        let clusters = clusters["clusters"].as_array().unwrap();
        clusters.iter().find(|view| view["name"] == cluster).unwrap()["kinds"][kind].clone()
    };
    let failed = |state: &str, reason: &str| json!({"state": state, "since": "2026-05-28T20:26:40Z", "cause": "other", "reason": reason});
    assert_eq!(kind("cluster-3", "Deployment"), failed("stale", "the API server is away"), "since the first failure");
    assert_eq!(kind("north", "Service"), failed("unreadable", "it never answered"));
    assert_eq!(kind("north", "Deployment"), json!({"state": "loading"}));

    for path in [
        "/api/clusters",
        "/api/services",
        "/api/services/payments/stage",
        "/api/notes",
        "/clusters",
        "/identity/payments/globaltrafficpolicy?env=stage",
    ] {
        let mut found = Vec::new();
        unix_times("", &api.get(path).await.json(), &mut found);
        assert_eq!(found, Vec::<String>::new(), "{path}");
    }
}

#[tokio::test]
async fn the_plan_of_a_service_has_reasons() {
    let api = Api::payments(Settings::default());
    let plan = api.get("/api/services/payments/stage").await.json();
    let host = &plan["clusters"][0]["hosts"][0];
    assert_eq!(plan["clusters"][0]["cluster"], "cluster-1");
    assert_eq!(host["host"], "stage.payments.global");
    assert_eq!(host["policy"], "cluster-3/payments-east/payments");
    let shares: Vec<(&Value, &Value)> =
        host["endpoints"].as_array().unwrap().iter().map(|e| (&e["cluster"], &e["sharePercent"])).collect();
    assert!(shares.contains(&(&json!("cluster-3"), &json!(90.0))), "{shares:?}");
    assert!(shares.contains(&(&json!("cluster-2"), &json!(10.0))), "{shares:?}");
    assert!(host["endpoints"].as_array().unwrap().iter().all(|e| !e["reason"].as_str().unwrap().is_empty()));

    assert_eq!(api.get("/api/services/nobody/stage").await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/api/services/pay_ments/stage").await.status, StatusCode::BAD_REQUEST);
    let unready = Api::empty(Settings::default());
    assert_eq!(unready.get("/api/services/payments/stage").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unready.get("/api/services").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn notes_come_with_their_remedy() {
    let api = Api::payments(Settings::default());
    assert_eq!(api.get("/api/notes").await.json(), json!({"notes": []}));
    let cluster = ClusterName::parse("cluster-1").unwrap();
    api.registry.unreadable(&cluster, tradewind::model::Kind::Node, "forbidden", 7);
    let notes = api.get("/api/notes").await.json();
    assert_eq!(notes["notes"][0]["kind"], "kind-unreadable");
    assert_eq!(notes["notes"][0]["object"]["cluster"], "cluster-1");
    assert!(notes["notes"][0]["remedy"].as_str().unwrap().contains("what to do about it"));
}

fn releasing() -> Settings {
    Settings { release_over_http: true, ..Settings::default() }
}

const RELEASE: &str = "/api/clusters/cluster-1/release-removals?id=abc";
const ALICE: (&str, &str) = ("authorization", "Bearer of-alice");

#[tokio::test]
async fn nobody_releases_over_http_unless_a_setting_allows_it() {
    let api = Api::payments(Settings::default());
    for headers in [&[][..], &[ALICE]] {
        let refused = api.post(RELEASE, headers).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.json()["error"].as_str().unwrap().contains("tradewind withheld --release"), "{}", refused.body);
    }
    assert!(api.released.lock().unwrap().is_empty());
}

#[tokio::test]
async fn withheld_removals_are_released_by_operators_whom_the_hub_knows_only() {
    let api = Api::payments(releasing());
    for (headers, status) in [
        (&[][..], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Basic of-alice")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer ")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer of-mallory")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer of-bob")], StatusCode::FORBIDDEN),
        (&[("authorization", "Bearer of-all")], StatusCode::SERVICE_UNAVAILABLE),
        (&[ALICE, ("origin", "https://evil.example"), ("host", "localhost:8080")], StatusCode::FORBIDDEN),
        (&[ALICE, ("origin", "null")], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(api.post(RELEASE, headers).await.status, status, "{headers:?}");
    }
    assert_eq!(api.get(RELEASE).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(api.released.lock().unwrap().is_empty());

    assert_eq!(api.post(RELEASE, &[ALICE]).await.status, StatusCode::OK);
    let own = api.post(RELEASE, &[ALICE, ("origin", "http://localhost:8080"), ("host", "localhost:8080")]).await;
    assert_eq!(own.json(), json!({"cluster": "cluster-1", "released": "abc"}));
    assert_eq!(*api.released.lock().unwrap(), ["cluster-1 abc by alice", "cluster-1 abc by alice"]);

    let wrong = api.post("/api/clusters/cluster-1/release-removals?id=x", &[ALICE]).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    assert!(wrong.json()["error"].as_str().unwrap().contains("nothing is withheld"));
    let elsewhere = api.post("/api/clusters/cluster-9/release-removals?id=abc", &[ALICE]).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let without = api.post("/api/clusters/cluster-1/release-removals", &[ALICE]).await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    let long = format!("/api/clusters/cluster-1/release-removals?id={}", "a".repeat(300));
    assert_eq!(api.post(&long, &[ALICE]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_withheld_is_shown_with_the_secret_that_releases_it() {
    let api = Api::payments(Settings::default());
    assert_eq!(
        api.get("/api/withheld").await.json(),
        json!({"withheld": [{
            "cluster": "cluster-1", "id": "abc", "count": 3, "owned": 4,
            "kinds": {"ServiceEntry": 2, "Sidecar": 1},
            "secret": {"namespace": "admiral", "name": "secret-of-cluster-1"},
            "objects": ["ServiceEntry a/b", "ServiceEntry a/c", "Sidecar a/d"],
        }]})
    );
}

#[tokio::test]
async fn only_the_release_can_be_posted_and_nothing_else_is_there() {
    let api = Api::payments(Settings::default());
    for path in ["/clusters", "/api/clusters", "/api/services/payments/stage", "/health/ready"] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = Request::builder().method(method.clone()).uri(path).body(Body::empty()).unwrap();
            let answer = api.request(server::router(api.views.clone()), request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    for path in ["/", "/metrics", "/debug/pprof/", "/api", "/api/secrets"] {
        assert_eq!(api.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let api = Api::payments(Settings::default());
    let request = || Request::get("/metrics").body(Body::empty()).unwrap();
    let answer = api.request(server::metrics_router(api.views.clone()), request()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.content_type.starts_with("text/plain; version=0.0.4"));
    for line in [
        "clusters_monitored 3\n",
        "tradewind_services 3\n",
        "tradewind_cluster_sync_state{cluster=\"cluster-1\",kind=\"Service\"} 1\n",
        "tradewind_notes{kind=\"write-failed\"} 0\n",
        "tradewind_plan_duration_seconds_count 0\n",
    ] {
        assert!(answer.body.contains(line), "{line}{}", answer.body);
    }
    assert!(answer.body.contains("tradewind_build_info{version=\""));
    #[cfg(target_os = "linux")]
    assert!(answer.body.contains("process_resident_memory_bytes"));
}

#[tokio::test]
async fn listens_on_two_addresses_until_it_is_stopped() {
    let api = Api::payments(Settings::default());
    let (any, cancel) = ("127.0.0.1:0".parse().unwrap(), CancellationToken::new());
    let addresses = ListenAddresses { main: any, metrics: any, health: None };
    let server = server::start(addresses, api.views.clone(), cancel.clone()).await.unwrap();
    let (main, metrics) = (server.main_address(), server.metrics_address());
    assert_eq!(server.health_address(), None);
    assert!(raw_get(main, "/clusters").await.contains("cluster-3"));
    assert!(raw_get(main, "/health/live").await.contains("live"));
    assert!(raw_get(metrics, "/metrics").await.contains("clusters_monitored 3"));

    let taken =
        async |addresses| server::start(addresses, api.views.clone(), cancel.clone()).await.unwrap_err().to_string();
    let error = taken(ListenAddresses { main, ..addresses }).await;
    assert!(error.contains(&main.to_string()) && error.contains("--listen-address"), "{error}");
    let error = taken(ListenAddresses { health: Some(main), ..addresses }).await;
    assert!(error.contains(&main.to_string()) && error.contains("--health-address"), "{error}");

    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(10), server.stopped()).await.expect("nothing is open");
    assert!(TcpStream::connect(main).is_err());
    assert!(TcpStream::connect(metrics).is_err());
}

/// All items of a view, page by page.
async fn by_pages(api: &Api, path: &str, items: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut found, mut pages, mut query) = (Vec::new(), 0, format!("?limit={limit}"));
    loop {
        let page = api.get(&format!("{path}{query}")).await.json();
        let of_page = page[items].as_array().unwrap_or_else(|| panic!("{page}"));
        assert!(of_page.len() <= limit);
        found.extend(of_page.iter().cloned());
        pages += 1;
        let Some(token) = page["metadata"]["continue"].as_str() else { return (found, pages) };
        query = format!("?limit={limit}&continue={token}");
    }
}

#[tokio::test]
async fn views_come_in_pages_when_asked() {
    let api = Api::payments(Settings::default());
    for kind in [Kind::Node, Kind::Service, Kind::Deployment] {
        api.registry.unreadable(&ClusterName::parse("cluster-1").unwrap(), kind, "forbidden", 7);
    }
    for (path, items, count) in [
        ("/api/clusters", "clusters", 3),
        ("/api/services", "services", 3),
        ("/api/services/payments/stage", "clusters", 3),
        ("/api/notes", "notes", 3),
        ("/api/withheld", "withheld", 1),
    ] {
        let whole = api.get(path).await.json();
        assert_eq!(whole["metadata"], Value::Null, "{path}: all of it is one page");
        let whole = whole[items].as_array().unwrap().clone();
        assert_eq!(whole.len(), count, "{path}");
        for limit in [1, 2, 100] {
            let (found, pages) = by_pages(&api, path, items, limit).await;
            assert_eq!((found, pages), (whole.clone(), count.div_ceil(limit)), "{path} by {limit}");
        }
        for wrong in ["limit=0", "limit=x", "limit=-1", "continue=x"] {
            let answer = api.get(&format!("{path}?{wrong}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}

async fn raw_get(address: SocketAddr, path: &'static str) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap().unwrap()
}
