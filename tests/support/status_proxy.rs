//! A cluster whose API server answers badly: any status, for some requests or for all.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, RETRY_AFTER, TRANSFER_ENCODING},
};
use kube::{Client, Config};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{TestCluster, Who, process::Port};

/// What is answered instead of the real server's answer, and to what.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    methods: Vec<Method>,
    path_part: String,
    times: usize,
}

impl Answer {
    /// This status, to every request, until told otherwise.
    pub fn with(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("an HTTP status"),
            retry_after: None,
            methods: Vec::new(),
            path_part: String::new(),
            times: usize::MAX,
        }
    }

    /// Only to requests with one of these methods: `PATCH`.
    pub fn methods(mut self, methods: &[Method]) -> Self {
        self.methods = methods.to_vec();
        self
    }

    /// Only to requests whose path has this in it: `/serviceentries`.
    pub fn path(mut self, part: &str) -> Self {
        part.clone_into(&mut self.path_part);
        self
    }

    /// Only to so many of them.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// With the wait that the server asks for, in whole seconds.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    fn fits(&self, request: &Request) -> bool {
        self.times > 0
            && (self.methods.is_empty() || self.methods.contains(request.method()))
            && request.uri().path().contains(&self.path_part)
    }
}

impl IntoResponse for &Answer {
    fn into_response(self) -> Response {
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "code": self.status.as_u16(),
            "reason": reason.replace(' ', ""),
            "message": format!("injected by a test: {reason}"),
        });
        if let Some(after) = self.retry_after {
            // Both, as an API server does (apimachinery, `NewTooManyRequests`).
            body["details"] = json!({"retryAfterSeconds": after.as_secs()});
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
        }
        response
    }
}

#[derive(Default)]
struct Rules {
    answers: Vec<Answer>,
    injected: usize,
    /// Path and query of each request that went to the server.
    forwarded: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    server: Client,
    rules: Arc<Mutex<Rules>>,
    cuts: watch::Sender<()>,
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plain HTTP proxy in front of an API server. Who the caller is goes through with the rest of
/// the request. It lives on the runtime it was started on.
pub struct StatusProxy {
    port: Port,
    shared: Shared,
    task: JoinHandle<()>,
}

impl StatusProxy {
    /// Starts in front of a cluster, and forwards everything.
    pub async fn start(cluster: &TestCluster) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).await.expect("a port of our own");
        let shared = Shared { server: bare_client(cluster), rules: Arc::default(), cuts: watch::Sender::new(()) };
        let app = Router::new().fallback(handle).with_state(shared.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("a server on a port of our own");
        });
        Self { port, shared, task }
    }

    /// The URL to reach the cluster through it: `http://…`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The administrator's kubeconfig, through it.
    pub fn kubeconfig(&self, cluster: &TestCluster) -> String {
        cluster.kubeconfig_with(&self.url(), &cluster.token(Who::Admin))
    }

    /// Answers so from now on, beside what it was told before; the first that fits counts. Watches
    /// that are open go on: see [`Self::cut`].
    pub fn answer(&self, answer: Answer) {
        self.shared.rules().answers.push(answer);
    }

    /// Forwards everything again.
    pub fn pass(&self) {
        self.shared.rules().answers.clear();
    }

    /// Ends every answer that is still being sent: watches end, and begin anew if they may.
    pub fn cut(&self) {
        self.shared.cuts.send_replace(());
    }

    /// How many requests got an answer that was not the server's.
    pub fn injected(&self) -> usize {
        self.shared.rules().injected
    }

    /// How many requests went to the server.
    pub fn forwarded(&self) -> usize {
        self.shared.rules().forwarded.len()
    }

    /// How many of them had this in their path and query.
    pub fn forwarded_with(&self, part: &str) -> usize {
        self.shared.rules().forwarded.iter().filter(|request| request.contains(part)).count()
    }
}

impl Drop for StatusProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// A client that adds nothing to a request but where it goes.
pub(super) fn bare_client(cluster: &TestCluster) -> Client {
    let mut config = Config::new(cluster.url().parse().expect("a URL"));
    config.root_cert = Some(cluster.root_cert());
    config.default_retry = false;
    config.disable_compression = true;
    Client::try_from(config).expect("a client for the cluster")
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    {
        let mut rules = shared.rules();
        if let Some(answer) = rules.answers.iter_mut().find(|answer| answer.fits(&request)) {
            answer.times -= 1;
            let response = (&*answer).into_response();
            rules.injected += 1;
            return response;
        }
        rules.forwarded.push(request.uri().to_string());
    }
    let mut cuts = shared.cuts.subscribe();
    match forward(&shared.server, request).await {
        Ok(response) => response.map(|body| {
            let cut = async move {
                // An error is the proxy's end, which is also one.
                let _ = cuts.changed().await;
            };
            Body::from_stream(body.into_data_stream().take_until(Box::pin(cut)))
        }),
        Err(error) => (StatusCode::BAD_GATEWAY, error).into_response(),
    }
}

pub(super) async fn forward(server: &Client, request: Request) -> Result<Response, String> {
    // More than the server itself accepts.
    const REQUEST_BYTES: usize = 16 * 1024 * 1024;
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, REQUEST_BYTES).await.map_err(|error| error.to_string())?;
    drop_hop_headers(&mut parts.headers);
    // The server's own name belongs there.
    parts.headers.remove(HOST);
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let response = server.send(request).await.map_err(|error| error.to_string())?;
    let (mut parts, body) = response.into_parts();
    drop_hop_headers(&mut parts.headers);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// Headers about one connection, not about the message; lengths are found anew.
fn drop_hop_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
}
