//! An API server for unit tests: answers list and watch on loopback, and fails on request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use kube::Config;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use super::kubeconfig;

/// Far above what any condition of a test needs.
const PATIENCE_SECONDS: u64 = 20;
/// Between two looks at a condition.
const LOOK_MILLIS: u64 = 5;

/// Waits until a condition holds.
pub(super) async fn soon(holds: impl Fn() -> bool) {
    let looks = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), looks).await.expect("the condition comes to hold");
}

#[derive(Default)]
struct Paths {
    items: BTreeMap<String, Vec<Value>>,
    failing: BTreeMap<String, u16>,
    lists: BTreeMap<String, usize>,
    watches: BTreeMap<String, Vec<mpsc::UnboundedSender<String>>>,
    watched_from: BTreeMap<String, String>,
}

/// Serves until it is dropped. Paths are collections, as in `/api/v1/nodes`; unknown ones are empty.
pub(super) struct FakeApi {
    port: u16,
    paths: Arc<Mutex<Paths>>,
    server: JoinHandle<()>,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeApi {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let paths = Arc::<Mutex<Paths>>::default();
        let router = Router::new().fallback(answer).with_state(paths.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, paths, server }
    }

    pub(super) fn kubeconfig(&self) -> String {
        json!({"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
               "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
               "users": [{"name": "u", "user": {"token": "t"}}]})
        .to_string()
    }

    pub(super) fn config(&self) -> Config {
        kubeconfig::from_secret(self.kubeconfig().as_bytes()).unwrap()
    }

    /// What lists of a path answer from now on; watches do not tell.
    pub(super) fn set(&self, path: &str, items: Vec<Value>) {
        self.paths.lock().items.insert(path.to_owned(), items);
    }

    /// Sends an event to all present watches of a path.
    pub(super) fn emit(&self, path: &str, event: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": object}));
        if let Some(watches) = self.paths.lock().watches.get(path) {
            for watch in watches {
                let _ = watch.send(line.clone());
            }
        }
    }

    /// Answers new requests with an error code; those under way go on.
    pub(super) fn fail(&self, path: &str, code: Option<u16>) {
        let failing = &mut self.paths.lock().failing;
        match code {
            Some(code) => failing.insert(path.to_owned(), code),
            None => failing.remove(path),
        };
    }

    pub(super) fn end_watches(&self, path: &str) {
        self.paths.lock().watches.remove(path);
    }

    /// Watches that are open now.
    pub(super) fn watches(&self, path: &str) -> usize {
        self.paths.lock().watches.get(path).map_or(0, |watches| watches.iter().filter(|w| !w.is_closed()).count())
    }

    /// The resourceVersion that the last watch started from.
    pub(super) fn watched_from(&self, path: &str) -> String {
        self.paths.lock().watched_from[path].clone()
    }

    /// Pages answered so far.
    pub(super) fn lists(&self, path: &str) -> usize {
        self.paths.lock().lists.get(path).copied().unwrap_or_default()
    }
}

async fn answer(
    State(paths): State<Arc<Mutex<Paths>>>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let path = uri.path().to_owned();
    let mut paths = paths.lock();
    if let Some(code) = paths.failing.get(&path) {
        let status = json!({"kind": "Status", "status": "Failure", "message": "as asked", "code": code});
        return (StatusCode::from_u16(*code).unwrap(), status.to_string()).into_response();
    }
    if query.contains_key("watch") {
        let (events, received) = mpsc::unbounded_channel();
        paths.watched_from.insert(path.clone(), query["resourceVersion"].clone());
        paths.watches.entry(path).or_default().push(events);
        let lines = futures::stream::unfold(received, |mut received| async {
            let line = received.recv().await?;
            Some((Ok::<_, std::io::Error>(line), received))
        });
        return Body::from_stream(lines).into_response();
    }
    *paths.lists.entry(path.clone()).or_default() += 1;
    let number = |field: &str| query.get(field).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
    let items = paths.items.get(&path).map(Vec::as_slice).unwrap_or_default();
    let page = &items[from.min(items.len())..items.len().min(from.saturating_add(limit))];
    let mut metadata = json!({"resourceVersion": "1"});
    if from + page.len() < items.len() {
        metadata["continue"] = json!((from + page.len()).to_string());
    }
    json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": page}).to_string().into_response()
}
