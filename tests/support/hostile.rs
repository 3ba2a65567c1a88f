//! A cluster whose API server was taken over: over TLS, with valid credentials, and with answers made to do harm.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use flate2::{Compress, Compression, FlushCompress};
use futures::{StreamExt as _, stream};
use http::{
    Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};

use super::{
    TestCluster, Who,
    process::Port,
    status_proxy::{bare_client, forward},
};

/// What the server does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// A list that never ends.
    EndlessBody,
    /// The same in a few compressed bytes.
    GzipBomb,
    /// A refusal that never ends.
    EndlessError,
    /// A list of ever more objects, page after page.
    EndlessPages,
    /// Pages without objects, without end.
    EmptyPages,
    /// The same page again and again.
    RepeatedPage,
    /// An event of a watch that never ends.
    EndlessLine,
    /// Events of ever more objects.
    EndlessObjects,
    /// Watches that end at once.
    ClosedWatches,
    /// A proxy in between that answers in the server's place: a status, and a page for people.
    Page(u16),
    /// A refusal by an admission webhook.
    Refusal,
}

impl Attack {
    fn is_for(self, request: &Request) -> bool {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        match self {
            Self::EndlessLine | Self::EndlessObjects | Self::ClosedWatches => is_watch,
            Self::Page(_) | Self::Refusal => request.method() != Method::GET,
            _ => request.method() == Method::GET && !is_watch,
        }
    }
}

struct Orders {
    attack: Option<(Attack, String)>,
    attacked: usize,
}

#[derive(Clone)]
struct Shared {
    server: Client,
    orders: Arc<Mutex<Orders>>,
    cuts: watch::Sender<()>,
    pages: Arc<AtomicUsize>,
}

/// A server in front of an API server, which forwards while it is told nothing else. It lives on the runtime it was started on.
pub struct HostileServer {
    port: Port,
    ca_pem: String,
    shared: Shared,
    task: JoinHandle<()>,
}

impl HostileServer {
    /// Starts in front of a cluster, and forwards everything.
    pub async fn start(cluster: &TestCluster) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).await.expect("a port of our own");
        let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (issued.cert.der().to_vec(), issued.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
            )
            .expect("the key is the certificate's");
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        let shared = Shared {
            server: bare_client(cluster),
            orders: Arc::new(Mutex::new(Orders { attack: None, attacked: 0 })),
            cuts: watch::Sender::new(()),
            pages: Arc::default(),
        };
        let app = Router::new().fallback(handle).with_state(shared.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("a server on a port of our own");
        });
        Self { port, ca_pem: issued.cert.pem(), shared, task }
    }

    /// The administrator's kubeconfig, through it.
    pub fn kubeconfig(&self, cluster: &TestCluster) -> String {
        let url = format!("https://127.0.0.1:{}", self.port.number());
        cluster.kubeconfig_trusting(&url, &cluster.token(Who::Admin), &self.ca_pem)
    }

    /// Attacks whoever asks for what has this in its path, from now on; watches under way end.
    pub fn attack(&self, attack: Attack, path_part: &str) {
        let mut orders = self.shared.orders.lock().expect("no panic under it");
        *orders = Orders { attack: Some((attack, path_part.to_owned())), attacked: 0 };
        drop(orders);
        self.shared.cuts.send_replace(());
    }

    /// Forwards everything again; attacks under way end.
    pub fn relent(&self) {
        self.shared.orders.lock().expect("no panic under it").attack = None;
        self.shared.cuts.send_replace(());
    }

    /// How many requests were attacked since the last order.
    pub fn attacked(&self) -> usize {
        self.shared.orders.lock().expect("no panic under it").attacked
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.cuts.send_replace(());
    }
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let attack = {
        let mut orders = shared.orders.lock().expect("no panic under it");
        let fits = |(attack, part): &&(Attack, String)| attack.is_for(&request) && request.uri().path().contains(part);
        let attack = orders.attack.as_ref().filter(fits).map(|(attack, _)| *attack);
        orders.attacked += usize::from(attack.is_some());
        attack
    };
    let mut cuts = shared.cuts.subscribe();
    let response = match attack {
        Some(attack) => hostile(attack, shared.pages.fetch_add(1, Ordering::Relaxed)),
        None => match forward(&shared.server, request).await {
            Ok(response) => response,
            Err(error) => return (StatusCode::BAD_GATEWAY, error).into_response(),
        },
    };
    response.map(|body| {
        let cut = async move {
            // An error is the server's end, which is also one.
            let _ = cuts.changed().await;
        };
        Body::from_stream(body.into_data_stream().take_until(Box::pin(cut)))
    })
}

fn hostile(attack: Attack, page: usize) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    match attack {
        Attack::EndlessBody => (json, endless("{\"items\":[", &" ".repeat(64 << 10))).into_response(),
        Attack::EndlessError => {
            (StatusCode::INTERNAL_SERVER_ERROR, json, endless("{\"message\":\"", &"x".repeat(64 << 10))).into_response()
        }
        Attack::EndlessLine => {
            (json, endless("{\"type\":\"ADDED\",\"object\":{\"spec\":\"", &"x".repeat(64 << 10))).into_response()
        }
        Attack::GzipBomb => ([(CONTENT_ENCODING, "gzip")], bomb()).into_response(),
        Attack::EndlessPages => {
            let items: Vec<Value> = (0..250).map(|number| workload(page * 250 + number)).collect();
            list(&items, &format!("page-{page}"))
        }
        Attack::EmptyPages => list(&[], &format!("page-{page}")),
        Attack::RepeatedPage => list(&[], "the-same"),
        Attack::EndlessObjects => {
            let event = |number| Bytes::from(format!("{}\n", json!({"type": "ADDED", "object": workload(number)})));
            let events = stream::iter(0..).map(move |number| Ok::<_, Infallible>(event(number)));
            (json, Body::from_stream(events)).into_response()
        }
        Attack::ClosedWatches => (json, "").into_response(),
        Attack::Page(status) => {
            let status = StatusCode::from_u16(status).expect("an HTTP status");
            let page = "<html><body><h1>\u{1b}[31mSign in</h1></body></html>";
            (status, [(CONTENT_TYPE, "text/html"), (LOCATION, "https://proxy.example/login")], page).into_response()
        }
        Attack::Refusal => {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid",
                "message": "admission webhook \"check.example\" denied the request: \u{1b}[31mnot now\nand not ever",
            });
            (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(status)).into_response()
        }
    }
}

fn workload(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("flood-{number}"), "namespace": "flood", "resourceVersion": "1", "uid": number.to_string()},
        "spec": {"selector": {}, "template": {"metadata": {}, "spec": {"containers": []}}},
    })
}

fn list(items: &[Value], position: &str) -> Response {
    axum::Json(json!({"metadata": {"resourceVersion": "1", "continue": position}, "items": items})).into_response()
}

fn endless(start: &str, more: &str) -> Body {
    let (start, more) = (Bytes::from(start.to_owned()), Bytes::from(more.to_owned()));
    Body::from_stream(stream::iter([start]).chain(stream::repeat(more)).map(Ok::<_, Infallible>))
}

/// Spaces without end: a mebibyte in a kibibyte.
fn bomb() -> Body {
    let spaces = vec![b' '; 1 << 20];
    let mut packed = Vec::with_capacity(64 << 10);
    // Flushed in full, a block stands for itself and may follow itself.
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&spaces, &mut packed, FlushCompress::Full).expect("there is room");
    let header = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    Body::from_stream(stream::iter([header]).chain(stream::repeat(Bytes::from(packed))).map(Ok::<_, Infallible>))
}
