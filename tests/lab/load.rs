//! Requests in numbers, and who answered them.
//!
//! Made inside a client's pod, through the client's own proxy on loopback, as its application would.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Request;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{application, wire::Connection};

/// How long a client waits who leaves it to its proxy to give up.
const PATIENT_MS: u64 = 40_000;

/// How requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1, many requests to a connection.
    Http,
    /// Unary calls, many to a connection.
    Grpc,
    /// One connection, one answer.
    Tcp,
}

/// What to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The name that is called; a proxy tells services apart by it (not for TCP).
    pub host: String,
    /// The port of the service, on which the proxy listens on loopback.
    pub port: u16,
    /// How.
    pub protocol: Protocol,
    /// How many requests; 0: until told to stop.
    pub requests: u64,
    /// How many at once.
    pub workers: u32,
    /// How long each of them rests between two.
    pub pause_ms: u64,
    /// How long each waits for an answer.
    pub patience_ms: u64,
}

impl Order {
    /// HTTP requests to the main port of a service, four at once.
    pub fn http(host: &str, requests: u64) -> Self {
        Self {
            host: host.to_owned(),
            port: 80,
            protocol: Protocol::Http,
            requests,
            workers: 4,
            pause_ms: 0,
            patience_ms: PATIENT_MS,
        }
    }
}

/// One request that was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// When it was begun, in microseconds of the machine's clock.
    pub begun: u64,
    /// When it was done.
    pub done: u64,
    /// Its answer, in [`Outcome::kinds`].
    pub kind: usize,
}

/// What came of an order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Who answered (`cluster-2/payments`), or in what way nobody did (`! 503 …`).
    pub kinds: Vec<String>,
    /// All requests, by when they were done.
    pub samples: Vec<Sample>,
}

impl Outcome {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.samples.len() as u64
    }

    /// How many were answered by whom, or failed how.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            *counts.entry(self.kinds[sample.kind].as_str()).or_default() += 1;
        }
        counts
    }

    /// How many were answered by a cluster.
    pub fn by(&self, cluster: &str) -> u64 {
        let of_cluster = |kind: &str| kind.split('/').next() == Some(cluster);
        self.counts().iter().filter(|(kind, _)| of_cluster(kind)).map(|(_, count)| count).sum()
    }

    /// How many were answered by nobody.
    pub fn failures(&self) -> u64 {
        self.counts().iter().filter(|(kind, _)| kind.starts_with('!')).map(|(_, count)| count).sum()
    }

    /// What a sample's request came to.
    pub fn kind_of(&self, sample: &Sample) -> &str {
        &self.kinds[sample.kind]
    }

    /// The part that was begun from a time on.
    pub fn since(&self, begun: u64) -> Self {
        let samples = self.samples.iter().filter(|sample| sample.begun >= begun).cloned().collect();
        Self { kinds: self.kinds.clone(), samples }
    }

    /// In one line: `cluster-2/payments 101, cluster-3/payments 899`.
    pub fn line(&self) -> String {
        let counts = self.counts();
        counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// Now, in microseconds of the machine's clock, which all processes share.
pub fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("before the year 500000")
}

/// An order under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<()>>,
    done: Arc<Mutex<Vec<(u64, u64, String)>>>,
}

impl Load {
    /// Begins.
    pub fn start(order: &Order) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let left = Arc::new(AtomicU64::new(if order.requests == 0 { u64::MAX } else { order.requests }));
        let workers = (0..order.workers)
            .map(|_| tokio::spawn(work(order.clone(), stop.clone(), left.clone(), Arc::clone(&done))))
            .collect();
        Self { stop, workers, done }
    }

    /// What was done so far.
    pub fn so_far(&self) -> Outcome {
        let done = self.done.lock().expect("no worker panics").clone();
        outcome(done)
    }

    /// No further request; waits for those under way.
    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits for all that were ordered.
    pub async fn finish(self) -> Outcome {
        for worker in self.workers {
            worker.await.expect("no worker panics");
        }
        outcome(std::mem::take(&mut *self.done.lock().expect("no worker panics")))
    }
}

fn outcome(mut done: Vec<(u64, u64, String)>) -> Outcome {
    done.sort_unstable_by_key(|(begun, done, _)| (*done, *begun));
    let mut kinds: Vec<String> = done.iter().map(|(_, _, kind)| kind.clone()).collect();
    kinds.sort();
    kinds.dedup();
    let samples = done
        .into_iter()
        .map(|(begun, done, kind)| Sample { begun, done, kind: kinds.binary_search(&kind).expect("is one of them") })
        .collect();
    Outcome { kinds, samples }
}

async fn work(order: Order, stop: Arc<AtomicBool>, left: Arc<AtomicU64>, done: Arc<Mutex<Vec<(u64, u64, String)>>>) {
    let mut client = Client::new(&order);
    let take = |left: u64| left.checked_sub(1);
    while !stop.load(Ordering::Relaxed) && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        let begun = now_micros();
        let kind = match timeout(Duration::from_millis(order.patience_ms), client.request()).await {
            Ok(Ok(who)) => who,
            Ok(Err(error)) => {
                client.forget();
                format!("! {}", error.chars().take(120).collect::<String>())
            }
            Err(_) => {
                client.forget();
                format!("! no answer within {} s", order.patience_ms / 1000)
            }
        };
        let failed = kind.starts_with('!');
        done.lock().expect("no worker panics").push((begun, now_micros(), kind));
        // Where a proxy refuses at once, a loop without rest would count its own speed.
        let rest = if failed { order.pause_ms.max(5) } else { order.pause_ms };
        if rest > 0 {
            sleep(Duration::from_millis(rest)).await;
        }
    }
}

struct Client<'a> {
    order: &'a Order,
    http: Option<Connection>,
    grpc: Option<h2::client::SendRequest<bytes::Bytes>>,
}

impl<'a> Client<'a> {
    fn new(order: &'a Order) -> Self {
        Self { order, http: None, grpc: None }
    }

    fn forget(&mut self) {
        self.http = None;
        self.grpc = None;
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.order.port).into()
    }

    async fn request(&mut self) -> Result<String, String> {
        match self.order.protocol {
            Protocol::Http => self.http().await,
            Protocol::Grpc => self.grpc().await,
            Protocol::Tcp => self.tcp().await,
        }
    }

    async fn http(&mut self) -> Result<String, String> {
        if !self.http.as_ref().is_some_and(Connection::is_open) {
            self.http = Some(Connection::open(self.address()).await?);
        }
        let connection = self.http.as_mut().expect("was just opened");
        match connection.send("GET", &self.order.host, "/", "").await? {
            (200, who) => Ok(who),
            (status, body) => Err(format!("{status} {body}")),
        }
    }

    async fn grpc(&mut self) -> Result<String, String> {
        let text = |error: h2::Error| error.to_string();
        if self.grpc.is_none() {
            let stream = TcpStream::connect(self.address()).await.map_err(|error| format!("connect: {error}"))?;
            let (client, connection) = h2::client::handshake(stream).await.map_err(text)?;
            // Its end shows at the next call.
            tokio::spawn(connection);
            self.grpc = Some(client);
        }
        let client = self.grpc.take().expect("was just made").ready().await.map_err(text)?;
        let mut client = client;
        let request = Request::post(format!("http://{}/lab.Who/Are", self.order.host))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let (answer, mut body) = client.send_request(request, false).map_err(text)?;
        body.send_data(application::message("who are you?"), true).map_err(text)?;
        let answer = answer.await.map_err(text)?;
        let status =
            |headers: &http::HeaderMap| headers.get("grpc-status").map(|s| s.to_str().unwrap_or("?").to_owned());
        let mut code = status(answer.headers());
        let http_status = answer.status();
        let mut body = answer.into_body();
        let mut whole = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(text)?;
            body.flow_control().release_capacity(data.len()).map_err(text)?;
            whole.extend(data);
        }
        if let Some(trailers) = body.trailers().await.map_err(text)? {
            code = status(&trailers).or(code);
        }
        self.grpc = Some(client);
        if code.as_deref() != Some("0") {
            return Err(format!("grpc-status {} (HTTP {http_status})", code.unwrap_or_default()));
        }
        application::text(&whole).ok_or_else(|| "an empty message".to_owned())
    }

    async fn tcp(&mut self) -> Result<String, String> {
        let mut stream = TcpStream::connect(self.address()).await.map_err(|error| format!("connect: {error}"))?;
        let mut who = String::new();
        stream.read_to_string(&mut who).await.map_err(|error| format!("read: {error}"))?;
        if who.is_empty() { Err("closed without an answer".to_owned()) } else { Ok(who) }
    }
}
