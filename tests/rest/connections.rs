//! Hostile clients on raw sockets: what they waste is bounded, health answers throughout, and others are served as before.
//!
//! Each client has an address of its own on the loopback network.

use std::collections::HashSet;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream as Socket},
};
use tradewind::server::Server;

use crate::*;

/// For what takes milliseconds on a machine that does nothing else.
const SOON: Duration = Duration::from_secs(30);

/// A served API.
struct Served {
    api: Api,
    server: Server,
    main: SocketAddr,
    health: SocketAddr,
    cancel: CancellationToken,
}

impl Served {
    async fn start(api: Api) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let cancel = CancellationToken::new();
        let addresses = ListenAddresses { main: any, metrics: any, health: Some(any) };
        let server = server::start(addresses, api.views.clone(), cancel.clone()).await.unwrap();
        let (main, health) = (server.main_address(), server.health_address().unwrap());
        Self { api, server, main, health, cancel }
    }

    /// With an answer of some hundred thousand bytes at `/api/clusters`, and room for three of them.
    async fn with_large_answers() -> Self {
        let api = Api::payments(Settings { response_memory_mib: 1, ..Settings::default() });
        for number in 0..46 {
            let cluster = ClusterName::parse(&format!("large-{number}")).unwrap();
            api.registry.register(&cluster);
            for kind in api.registry.settings().watched_kinds() {
                api.registry.unreadable(&cluster, kind, &*"no rights for it ".repeat(15), 1);
            }
        }
        let size = api.get("/api/clusters").await.body.len();
        assert!((1 << 20) / 4 < size && size < (1 << 20) / 3, "{size}");
        Self::start(api).await
    }

    /// Health as kubelet asks for it, on a connection of its own.
    async fn assert_healthy(&self) {
        for path in ["/health/live", "/health/ready"] {
            let answer = exchange(self.health, 250, &get(path)).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }

    async fn metric(&self, name: &str) -> i64 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let text = self.api.request(server::metrics_router(self.api.views.clone()), request).await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

/// Connects from `127.0.0.<from>`, with small buffers, so that the server has to keep what is not read.
async fn connect(to: SocketAddr, from: u8) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind(([127, 0, 0, from], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

async fn answer(mut socket: Socket) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await.expect("an answer, or an end");
    // A connection that is cut off has no more to say.
    let _ = read;
    String::from_utf8(answer).unwrap()
}

async fn exchange(to: SocketAddr, from: u8, request: &str) -> String {
    let mut socket = connect(to, from).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    answer(socket).await
}

/// A client that asks and reads only the beginning of the answer: 200, or what it gets instead.
async fn slow_reader(to: SocketAddr, from: u8) -> (Socket, String) {
    let mut socket = connect(to, from).await;
    socket.write_all(get("/api/clusters").as_bytes()).await.unwrap();
    let mut begin = [0; 300];
    let length = socket.read(&mut begin).await.unwrap();
    (socket, String::from_utf8(begin[..length].to_vec()).unwrap())
}

// Invariant: Health answers whatever clients do.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_and_half_requests_keep_nobody_out() {
    let served = Served::start(Api::payments(Settings::default())).await;
    let mut open = Vec::new();
    for number in 0..600_u16 {
        let from = u8::try_from(number % 40 + 1).unwrap();
        for to in [served.main, served.health] {
            let mut socket = connect(to, from).await;
            if number % 2 == 0 {
                socket.write_all(b"GET /api/clusters HTTP/1.1\r\nHost: local").await.unwrap();
            }
            open.push(socket);
        }
        if number % 100 == 0 {
            served.assert_healthy().await;
        }
    }
    served.assert_healthy().await;
    let honest = exchange(served.main, 200, &get("/api/clusters")).await;
    assert!(honest.starts_with("HTTP/1.1 200") && honest.contains("cluster-3"), "{honest}");
    // One of the many addresses is served, too: its oldest silent connection goes.
    assert!(exchange(served.main, 1, &get("/api/clusters")).await.starts_with("HTTP/1.1 200"));

    served.cancel.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(5), served.server.stopped());
    stopped.await.expect("what is silent does not hold up the end");
    drop(open);
}

// Invariant: Health answers whatever clients do.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_of_large_answers_hold_no_more_memory_than_the_setting_says() {
    let served = Served::with_large_answers().await;
    let (budget, bytes) = (1 << 20, "tradewind_http_response_bytes");
    let mut open = Vec::new();
    let mut refused = 0;
    for from in 1..=12 {
        let (socket, begin) = slow_reader(served.main, from).await;
        if begin.starts_with("HTTP/1.1 503") {
            assert!(begin.to_lowercase().contains("retry-after: 5"), "{begin}");
            refused += 1;
        } else {
            assert!(begin.starts_with("HTTP/1.1 200"), "{begin}");
        }
        // There is room for three; those that read too slowly lose it after a while.
        assert!(from > 4 || refused == i64::from(from == 4), "{from}: {begin}");
        open.push(socket);
        let held = served.metric(bytes).await;
        assert!((1..=budget).contains(&held), "{held}");
    }
    assert_eq!(served.metric("tradewind_http_refusals_total{outcome=\"memory\"}").await, refused);
    served.assert_healthy().await;

    drop(open);
    let freed = async {
        while served.metric(bytes).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, freed).await.expect("what nobody takes is not kept");
    assert!(exchange(served.main, 200, &get("/api/clusters")).await.ends_with("}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_half_of_the_memory_and_its_own_number_of_connections() {
    let served = Served::with_large_answers().await;
    let mut open = Vec::new();
    let (first, begin) = slow_reader(served.main, 1).await;
    assert!(begin.starts_with("HTTP/1.1 200"), "{begin}");
    open.push(first);
    for _ in 0..5 {
        let (socket, begin) = slow_reader(served.main, 1).await;
        assert!(begin.starts_with("HTTP/1.1 503"), "{begin}");
        open.push(socket);
    }
    let honest = exchange(served.main, 2, &get("/api/clusters")).await;
    assert!(honest.starts_with("HTTP/1.1 200") && honest.ends_with("}"), "its neighbour is served whole");

    // Requests that wait for their answer are not idle: where an address has too many of them, it gets no more.
    let paused = served.api.pause_planning();
    let refused = async {
        while served.metric("tradewind_http_refusals_total{outcome=\"connections-of-address\"}").await == 0 {
            let mut socket = connect(served.main, 3).await;
            socket.write_all(get("/api/services/payments/stage").as_bytes()).await.unwrap();
            open.push(socket);
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("the thirty-third is refused");
    served.assert_healthy().await;
    drop(paused);
    assert!(exchange(served.main, 4, &get("/api/services/payments/stage")).await.starts_with("HTTP/1.1 200"));
}

const SERVICES: usize = 600;

/// A service with long names.
fn service(number: usize) -> String {
    let name = format!("{}-{number}", "service-with-a-long-name".repeat(2));
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}, identity: {name}, env: stage}}
      annotations: {{sidecar.istio.io/inject: 'true'}}
    spec: {{containers: [{{name: app, image: 'registry.example/app:1'}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8080}}]}}
---"
    )
}

/// The JSON of an answer that came in chunks.
fn unchunked(answer: &str) -> Value {
    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut text = String::new();
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        text.push_str(&behind[..size]);
        rest = behind[size..].strip_prefix("\r\n").unwrap();
    }
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_over_all_services_is_made_part_by_part() {
    let services: String = (0..SERVICES).map(service).collect();
    let served =
        Served::start(Api::with_more(Settings { response_memory_mib: 1, ..Settings::default() }, &services)).await;
    let path = "/cluster/cluster-1/serviceentries";
    let whole = exchange(served.main, 1, &get(path)).await;
    assert!(whole.contains("transfer-encoding: chunked"), "{}", &whole[..300]);
    let entries = unchunked(&whole);
    assert!(entries.to_string().len() > 600 << 10, "it is larger than what an address may have on its way");
    let names: Vec<&Value> = entries.as_array().unwrap().iter().map(|entry| &entry["metadata"]["name"]).collect();
    let others = 5;
    assert_eq!(names.len(), SERVICES + others);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), SERVICES + others, "none twice");

    // A slow reader of it holds two parts at most, however large it is.
    let mut slow = connect(served.main, 1).await;
    slow.write_all(get(path).as_bytes()).await.unwrap();
    slow.read_exact(&mut [0; 100]).await.unwrap();
    let held = served.metric("tradewind_http_response_bytes").await;
    assert!(held <= 512 << 10, "{held}");
    assert!(exchange(served.main, 2, &get(path)).await.ends_with("]\r\n0\r\n\r\n"), "others get all of it meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_and_requests_without_sense_are_refused() {
    let served = Served::start(Api::payments(Settings::default())).await;
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(300 << 10));
    let mut socket = connect(served.main, 1).await;
    // The answer may come, and the connection end, before all of it was sent.
    let _ = socket.write_all(large.as_bytes()).await;
    let refused = answer(socket).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    assert!(exchange(served.main, 1, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    served.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_that_leads_its_name_here_reads_and_releases_nothing() {
    let api = Api::payments(Settings { allowed_hosts: vec!["tradewind.admiral.svc".to_owned()], ..releasing() });
    let served = Served::start(api).await;
    let of = |method: &str, path: &str, host: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    };
    let port = served.main.port();
    for path in ["/api/clusters", "/clusters", "/cluster/cluster-1/serviceentries", "/api/withheld", "/nowhere"] {
        let answer = exchange(served.main, 1, &of("GET", path, &format!("rebound.evil.example:{port}"), "")).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("allowedHosts"), "{path}: {answer}");
        assert!(!answer.contains("cluster-3"), "{answer}");
    }
    // The page's own origin is what its name leads to, so the browser calls the request its own.
    let more = format!("Origin: http://rebound.evil.example:{port}\r\nAuthorization: Bearer of-alice\r\n");
    let answer = exchange(served.main, 1, &of("POST", RELEASE, &format!("rebound.evil.example:{port}"), &more)).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let url = format!("http://rebound.evil.example:{port}/api/clusters");
    assert!(exchange(served.main, 1, &of("GET", &url, "localhost", "")).await.starts_with("HTTP/1.1 403"));
    assert!(served.api.released.lock().unwrap().is_empty());

    for host in
        [format!("localhost:{port}"), "10.0.0.7".into(), format!("[::1]:{port}"), "tradewind.admiral.svc:8080".into()]
    {
        let answer = exchange(served.main, 1, &of("GET", "/api/clusters", &host, "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    for to in [served.main, served.health] {
        let answer = exchange(to, 1, &of("GET", "/health/live", "probe.example", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "probes may name whom they like: {answer}");
    }
    let answer = exchange(served.health, 1, &of("GET", "/api/clusters", "localhost", "")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
