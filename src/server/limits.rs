//! Bounds of every request: how many at once, how long, and what a browser may do with an answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use tokio::{sync::Semaphore, time};

use super::{Views, connections::ConnectionLimits, metrics::ServerMetrics, views::error};

/// Connections of one listener at once: far above probes, scrapes and people, far below the limit of open files.
const MAX_CONNECTIONS: usize = 256;
/// Of them, those from one address: a browser has six, and several people may come through one proxy.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 32;
/// Requests under way at once, per listener; more are refused at once. Health is not counted.
const MAX_REQUESTS: usize = 64;
/// Longest time for one answer: a plan of ten thousand services takes seconds.
const MAX_REQUEST: Duration = Duration::from_secs(30);
/// Plans made for requests at once: half of a small machine stays with the controller.
pub(super) const MAX_PLANNING_REQUESTS: usize = 1;

/// The bounds of a listener's connections; `bytes_per_address` is what the answers to one address may hold.
pub(super) fn connections(bytes_per_address: usize) -> ConnectionLimits {
    ConnectionLimits { total: MAX_CONNECTIONS, per_address: MAX_CONNECTIONS_PER_ADDRESS, bytes_per_address }
}

/// What bounds the requests of a listener.
#[derive(Debug, Clone)]
struct RequestBounds {
    room: Arc<Semaphore>,
    metrics: ServerMetrics,
}

/// Bounds number and duration.
pub(super) fn requests(routes: Router<Arc<Views>>, metrics: &ServerMetrics) -> Router<Arc<Views>> {
    let bounds = RequestBounds { room: Arc::new(Semaphore::new(MAX_REQUESTS)), metrics: metrics.clone() };
    routes.layer(middleware::from_fn_with_state(bounds, bounded))
}

async fn bounded(State(bounds): State<RequestBounds>, request: Request, next: Next) -> Response {
    let Ok(_permit) = bounds.room.try_acquire() else {
        bounds.metrics.refused("requests");
        return error(StatusCode::SERVICE_UNAVAILABLE, format!("more than {MAX_REQUESTS} requests at once; try again"));
    };
    match time::timeout(MAX_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            error(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {} s; try again", MAX_REQUEST.as_secs()))
        }
    }
}

/// Answers are live, and are never to be run as something else.
pub(super) fn headers(routes: Router<Arc<Views>>) -> Router<Arc<Views>> {
    let fixed: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    routes.layer(middleware::map_response(move |mut response: Response| {
        for (name, value) in &fixed {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        async { response }
    }))
}

/// Refuses a change that a page of another site has its visitor's browser ask for.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    if is_foreign(request.headers()) {
        return error(StatusCode::FORBIDDEN, "requests from other sites' pages are refused".into());
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    !matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_too_much_at_once_is_refused_at_once() {
        let status = async |room: usize| {
            let metrics = crate::server::Metrics::new().unwrap().server;
            let bounds = RequestBounds { room: Arc::new(Semaphore::new(room)), metrics };
            let bounded = middleware::from_fn_with_state(bounds, bounded);
            let routes: Router = Router::new().route("/", get(|| async { "here" })).layer(bounded);
            routes.oneshot(Request::new(Body::empty())).await.unwrap().status()
        };
        assert_eq!(status(1).await, StatusCode::OK);
        assert_eq!(status(0).await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
