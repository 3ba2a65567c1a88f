//! What this program is when the lab starts it once more, inside one of its networks.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    routing::{get, post},
};
use tokio::{net::TcpListener, sync::Mutex};

use crate::{
    application,
    load::{Load, Order, Outcome},
    names, wire,
};

/// The first argument of a role.
pub const FLAG: &str = "--serve";

/// Where a pod takes orders, on its outside address.
pub const ORDERS_PORT: u16 = 7000;

/// Envoy's admin port, on the pod's loopback.
pub const ADMIN_PORT: u16 = 15000;

/// Plays the role that the arguments behind [`FLAG`] name.
pub fn play(arguments: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match arguments {
            [role, address, table] if role == "names" => {
                names::serve(address.parse().expect("an address"), Path::new(table)).await;
            }
            [role, address] if role == "pod" => orders(address.parse().expect("an address")).await,
            [role, name] if role == "application" => application::serve(name).await,
            _ => panic!("no such role: {arguments:?}"),
        }
    });
    ExitCode::SUCCESS
}

type Running = Arc<Mutex<Option<Load>>>;

/// Takes orders for load, and passes questions on to the proxy's admin port.
async fn orders(outside: Ipv4Addr) {
    let listener = TcpListener::bind((outside, ORDERS_PORT)).await.expect("the pod's address");
    let router = Router::new()
        .route("/load", post(run))
        .route("/load/start", post(start))
        .route("/load/so-far", get(so_far))
        .route("/load/stop", post(stop))
        .fallback(admin)
        .with_state(Running::default());
    axum::serve(listener, router).await.expect("serving");
}

async fn run(body: String) -> Json<Outcome> {
    Json(Load::start(&order(&body)).finish().await)
}

async fn start(State(running): State<Running>, body: String) {
    let mut running = running.lock().await;
    // Of a case that failed.
    if let Some(left) = running.take() {
        left.stop().await;
    }
    *running = Some(Load::start(&order(&body)));
}

async fn so_far(State(running): State<Running>) -> Json<Outcome> {
    Json(running.lock().await.as_ref().expect("a load under way").so_far())
}

async fn stop(State(running): State<Running>) -> Json<Outcome> {
    let load = running.lock().await.take().expect("a load under way");
    Json(load.stop().await)
}

async fn admin(uri: Uri, method: axum::http::Method) -> Result<String, (StatusCode, String)> {
    let admin: SocketAddr = (Ipv4Addr::LOCALHOST, ADMIN_PORT).into();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let answer = wire::ask(admin, method.as_str(), path, "").await;
    answer.map_err(|error| (StatusCode::BAD_GATEWAY, error))
}

fn order(body: &str) -> Order {
    serde_json::from_str(body).expect("an order")
}
