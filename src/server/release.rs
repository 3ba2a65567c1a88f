//! What is withheld, and its release over HTTP.
//!
//! A release is refused unless a setting allows it and the hub says that the bearer of the request's token may change the
//! cluster's Secret: whoever may do that could release by its annotation, so this route gives nobody a right. Consent is
//! passed on only while it names what is withheld; nothing is kept of any other.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::json;

use super::{
    Views, limits,
    pages::PageQuery,
    views::{both, error},
};
use crate::{
    apply::Withheld,
    model::{ClusterName, MAX_RELEASE_ID_BYTES},
};

/// Longest token that the hub is asked about, in bytes: service-account tokens have one or two thousand.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Releases that are reviewed at once: each is two requests to the hub, which anybody can cause.
pub(super) const MAX_REVIEWS: usize = 4;

/// Finds out who bears a token, if they may release the removals of a cluster.
pub type ReviewToken =
    Box<dyn Fn(&ClusterName, String) -> BoxFuture<'static, Result<String, ReviewRefusal>> + Send + Sync>;

/// Why a token lets nothing pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewRefusal {
    /// The hub does not know the token.
    #[error("{0}")]
    Unknown(String),
    /// Its bearer is known and may not.
    #[error("{0}")]
    Forbidden(String),
    /// The hub could not be asked.
    #[error("{0}")]
    Unavailable(String),
}

pub(super) fn routes() -> Router<Arc<Views>> {
    let release = post(release_removals).layer(middleware::from_fn(limits::same_origin));
    [("/api/withheld", get(withheld)), ("/api/clusters/{name}/release-removals", release)]
        .into_iter()
        .fold(Router::new(), |router, (path, method)| both(router, path, method))
}

/// What is withheld in one cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithheldResponse {
    cluster: ClusterName,
    id: String,
    /// Number of objects whose removal is withheld.
    count: usize,
    /// Of how many managed objects.
    owned: usize,
    /// Number by kind of object.
    kinds: BTreeMap<String, usize>,
    /// The Secret on the hub that registers the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretResponse>,
    /// `Kind namespace/name` of each object.
    objects: Vec<String>,
}

#[derive(Serialize)]
struct SecretResponse {
    namespace: String,
    name: String,
}

async fn withheld(State(views): State<Arc<Views>>, query: PageQuery) -> Response {
    let page = views
        .off_the_runtime(move |views| {
            let namespace = &views.registry.settings().secret_namespace;
            let view = |Withheld { cluster, id, objects, owned }: Withheld| {
                let mut kinds = BTreeMap::new();
                for object in &objects {
                    let kind = object.split(' ').next().unwrap_or_default();
                    *kinds.entry(kind.to_owned()).or_insert(0) += 1;
                }
                let secret = (views.secret_of)(&cluster);
                let secret = secret.map(|name| SecretResponse { namespace: namespace.clone(), name });
                WithheldResponse { cluster, id, count: objects.len(), owned, kinds, secret, objects }
            };
            query.page((views.withheld)(), |withheld| withheld.cluster.clone()).view(view)
        })
        .await;
    page.answer("withheld")
}

async fn release_removals(
    State(views): State<Arc<Views>>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if !views.registry.settings().release_over_http {
        let message = "releases over HTTP are switched off (releaseOverHttp); use `tradewind withheld --release` or the \
                       annotation that the note names";
        return error(StatusCode::FORBIDDEN, message.into());
    }
    let Some(token) = bearer(&headers) else {
        return unauthenticated("a token of the hub is required: Authorization: Bearer TOKEN");
    };
    let Some(id) = query.get("id").filter(|id| !id.is_empty() && id.len() <= MAX_RELEASE_ID_BYTES) else {
        let message = "the query parameter id is missing or too long; the note about the withheld removals names it";
        return error(StatusCode::BAD_REQUEST, message.into());
    };
    let clusters = views.registry.queries().cluster_names();
    let Some(cluster) = clusters.iter().find(|cluster| cluster.as_str() == name) else {
        return error(StatusCode::NOT_FOUND, format!("there is no cluster {name:?}"));
    };
    let Ok(_permit) = views.reviews.try_acquire() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "other releases are being reviewed; try again".into());
    };
    let user = match (views.review)(cluster, token.to_owned()).await {
        Ok(user) => user,
        Err(ReviewRefusal::Unknown(reason)) => return unauthenticated(&reason),
        Err(ReviewRefusal::Forbidden(reason)) => return error(StatusCode::FORBIDDEN, reason),
        Err(ReviewRefusal::Unavailable(reason)) => return error(StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    match (views.release)(cluster, id, &user) {
        Ok(()) => Json(json!({ "cluster": cluster, "released": id })).into_response(),
        Err(nothing) => {
            tracing::warn!(%cluster, id = ?id, user = ?user, "a release was refused: nothing is withheld under this id");
            error(StatusCode::CONFLICT, nothing.to_string())
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN_BYTES).then_some(token)
}

fn unauthenticated(reason: &str) -> Response {
    let mut response = error(StatusCode::UNAUTHORIZED, reason.to_owned());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
