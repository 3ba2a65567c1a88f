//! Liveness and readiness. Live: the process answers. Ready: the fleet was read, and planned once.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{Views, views::both};

/// Whether everything has been planned once since the start. Shared: a clone tells the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Everything has been planned once.
    pub fn planned(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether that was so.
    #[must_use]
    pub fn is_planned(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(super) fn routes() -> Router<Arc<Views>> {
    let live = || get(|| async { "live\n" });
    [
        ("/health/live", live()),
        ("/livez", live()),
        ("/healthz", live()),
        ("/health/ready", get(ready)),
        ("/readyz", get(ready)),
    ]
    .into_iter()
    .fold(Router::new(), |router, (path, method)| both(router, path, method))
}

/// `?checkifreadonly=true` is Admiral's way to take the passive one of two controllers out of DNS.
async fn ready(State(views): State<Arc<Views>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let asked = query.get("checkifreadonly").map(|value| value.replace(' ', "")).unwrap_or_default();
    // The words that Go's strconv.ParseBool takes.
    let check_read_only = match asked.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => {
            let message = format!("Health check method called with bad query param value {asked} for checkifreadonly");
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let not_yet = |what: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {what}\n")).into_response();
    if let Err(missing) = views.registry.ready() {
        return not_yet(missing.to_string());
    }
    if !views.readiness.is_planned() {
        return not_yet("the first plan is not made yet".into());
    }
    let settings = views.registry.settings();
    if check_read_only && (views.registry.outputs().is_read_only() || settings.dry_run) {
        return not_yet("read-only".into());
    }
    "ready\n".into_response()
}
