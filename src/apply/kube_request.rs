//! Requests to an API server: how they are sent, and how a refusal is classified.
//!
//! Requests are built by kube and sent by [`kube::Client::send`], not by [`kube::Api`]: `Api` tells neither whether an apply
//! created its object or met one (201 or 200), nor the header Retry-After of a refusal. The API server's own fairness
//! (`APF`) answers with that header and a body in plain text. JSON patches are built here: kube has them with one more crate only.

use std::time::{Duration, Instant};

use http::{Method, StatusCode, header};
use kube::{
    client::Body,
    core::{Request, params::ListParams, request},
};
use serde_json::Value;

use super::{
    kube::KubeStore,
    store::{Outcome, WriteError},
};
use crate::{
    istio::keys,
    model::{Kind, ObjectId, printable},
};

/// Longest time for one request. A healthy API server answers in milliseconds; admission webhooks may take up to 10 s by
/// default, and longer ones are the exception.
const REQUEST_TIMEOUT_SECONDS: u64 = 15;

/// Objects per page of a list, so that no answer grows with the mesh.
const LIST_PAGE_OBJECTS: u32 = 500;

/// Most objects of one list: far above what a mesh has, and an end for a server that has none.
const LIST_MAX_OBJECTS: usize = 1_000_000;

/// Most pages of one list. A page may be empty and still not the last.
const LIST_MAX_PAGES: usize = 10_000;

/// Longest time for a whole list. A position in a list is good for about five minutes (etcd's compaction).
const WHOLE_LIST_SECONDS: u64 = 600;

/// Longest rest that a server may ask for.
pub(super) const RETRY_AFTER_MAX_SECONDS: u64 = 60;

/// Longest part of a server's message that is repeated in notes.
const MESSAGE_MAX_CHARS: usize = 500;

/// A request, or why there is none.
pub(super) type Built = Result<http::Request<Vec<u8>>, request::Error>;

/// An answered request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl KubeStore {
    /// Sends one request, once.
    pub(super) async fn send(&self, request: Built) -> Outcome<Answer> {
        let request =
            request.map_err(|error| WriteError::Refused(format!("no request can be made for it: {error}")))?;
        let client = self.client()?;
        let limit = Duration::from_secs(REQUEST_TIMEOUT_SECONDS);
        let exchange = async {
            let (parts, body) = client.send(request.map(Body::from)).await?.into_parts();
            Ok::<_, kube::Error>((parts, body.collect_bytes().await?))
        };
        let (parts, bytes) = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| WriteError::Timeout(limit))?
            .map_err(|error| WriteError::Unreachable(chain(&error)))?;
        if parts.status.is_success() {
            let body = serde_json::from_slice(&bytes).map_err(|error| WriteError::Unreadable(error.to_string()))?;
            return Ok(Answer { status: parts.status, body });
        }
        Err(refusal(parts.status, &parts.headers, &bytes))
    }

    /// Sends a JSON patch of an object.
    pub(super) async fn patch(&self, id: &ObjectId, patch: &Value) -> Outcome<Answer> {
        let path = format!("{}/{}?fieldManager={}", collection(id.kind, Some(&id.namespace)), id.name, keys::TRADEWIND);
        let request = http::Request::builder()
            .method(Method::PATCH)
            .uri(path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json-patch+json")
            .body(serde_json::to_vec(patch).expect("JSON values serialize"));
        self.send(request.map_err(request::Error::BuildRequest)).await
    }

    /// Hands every object of a kind to `take`, page by page.
    pub(super) async fn for_each(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: Option<&str>,
        mut take: impl FnMut(Value) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut page = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
        page.limit = Some(LIST_PAGE_OBJECTS);
        let deadline = Instant::now() + Duration::from_secs(WHOLE_LIST_SECONDS);
        let mut objects = 0;
        for _ in 0..LIST_MAX_PAGES {
            let mut answer = self.send(requests(kind, namespace).list(&page)).await?.body;
            if let Value::Array(items) = answer["items"].take() {
                objects += items.len();
                items.into_iter().try_for_each(&mut take)?;
            }
            let position = answer["metadata"]["continue"].as_str().filter(|position| !position.is_empty());
            let Some(position) = position else { return Ok(()) };
            if page.continue_token.as_deref() == Some(position)
                || objects > LIST_MAX_OBJECTS
                || Instant::now() >= deadline
            {
                break;
            }
            page.continue_token = Some(position.to_owned());
        }
        Err(WriteError::Unreadable(format!("the list of {} does not end, or does not advance", kind.served().plural)))
    }
}

/// Requests for the objects of a kind.
pub(super) fn requests(kind: Kind, namespace: Option<&str>) -> Request {
    Request::new(collection(kind, namespace))
}

/// The label selector of managed objects.
pub(super) fn managed() -> String {
    format!("{}={}", keys::MANAGED_BY, keys::TRADEWIND)
}

/// Every kind that is written has an API group.
fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let (version, plural) = (kind.api_version(), kind.served().plural);
    match namespace {
        Some(namespace) => format!("/apis/{version}/namespaces/{namespace}/{plural}"),
        None => format!("/apis/{version}/{plural}"),
    }
}

/// Sorts an answer that is no success by what can be done about it. Only an API server refuses an object, and it does so by a
/// Status: what a proxy in between answers in its place passes.
fn refusal(status: StatusCode, headers: &http::HeaderMap, body: &[u8]) -> WriteError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_status = body["kind"] == "Status";
    let message = body["message"].as_str().filter(|text| !text.is_empty());
    let message = message.unwrap_or_else(|| status.canonical_reason().unwrap_or_default());
    let message = printable(message, MESSAGE_MAX_CHARS);
    let retry_after = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .or_else(|| body["details"]["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0))
        .map(|seconds: u64| Duration::from_secs(seconds.min(RETRY_AFTER_MAX_SECONDS)));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_status => WriteError::Forbidden(message),
        // An API server answers in plain text where it knows no such group.
        StatusCode::NOT_FOUND => WriteError::Missing(message),
        StatusCode::TOO_MANY_REQUESTS => WriteError::Throttled { retry_after },
        // A server that is about to stop, or has no leader, asks for a rest the same way.
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => WriteError::Throttled { retry_after },
        status if status.is_server_error() => WriteError::Server(format!("{status}: {message}")),
        StatusCode::REQUEST_TIMEOUT => WriteError::Server(message),
        status if !is_status || !status.is_client_error() => WriteError::Server(format!(
            "{status}, which is no answer of the Kubernetes API; check the server address and any proxy in between"
        )),
        StatusCode::CONFLICT => WriteError::Conflict(message),
        // The `test` of a JSON patch fails with 422 and this reason, although the object is well: it changed meanwhile.
        StatusCode::UNPROCESSABLE_ENTITY if message.contains("testing path /metadata/resourceVersion") => {
            WriteError::Conflict(message)
        }
        _ => WriteError::Refused(message),
    }
}

/// An error with its causes, which is where a broken connection says why. URLs and causes carry no credentials.
fn chain(error: &kube::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        next = error.source();
    }
    printable(&text, MESSAGE_MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &Value) -> WriteError {
        refusal(StatusCode::from_u16(status).unwrap(), &http::HeaderMap::new(), body.to_string().as_bytes())
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        let body = json!({"kind": "Status", "message": "because"});
        assert_eq!(answer(409, &body), WriteError::Conflict("because".into()));
        assert_eq!(answer(403, &body), WriteError::Forbidden("because".into()));
        assert_eq!(answer(401, &body).outcome(), "forbidden");
        assert_eq!(answer(404, &body), WriteError::Missing("because".into()));
        assert_eq!(answer(422, &body), WriteError::Refused("because".into()));
        assert_eq!(answer(400, &body), WriteError::Refused("because".into()));
        assert_eq!(answer(500, &body).outcome(), "server-error");
        assert_eq!(
            answer(500, &json!("no status")),
            WriteError::Server("500 Internal Server Error: Internal Server Error".into())
        );
        let test = json!({"kind": "Status", "message": "the server rejected our request: testing path /metadata/resourceVersion"});
        assert_eq!(answer(422, &test).outcome(), "conflict");
    }

    #[test]
    fn what_a_proxy_answers_is_no_refusal() {
        let page = b"<html>\x1b[31mSign in</html>";
        for status in [302, 304, 400, 401, 403, 405, 407, 409, 411, 413, 418, 422, 451] {
            let error = refusal(StatusCode::from_u16(status).unwrap(), &http::HeaderMap::new(), page);
            assert_eq!(error.outcome(), "server-error", "{status}");
            assert!(error.to_string().contains("proxy") && !error.to_string().contains("html"), "{error}");
        }
        // Nor is one that says it is another.
        assert_eq!(answer(302, &json!({"kind": "Status"})).outcome(), "server-error");
        assert_eq!(answer(400, &json!({"kind": "List"})).outcome(), "server-error");
        assert_eq!(answer(404, &json!("404 page not found")).outcome(), "missing");
        let hostile = json!({"kind": "Status", "message": format!("\u{1b}[2Jno\nnever{}", "x".repeat(9_000))});
        let WriteError::Refused(message) = answer(422, &hostile) else { panic!("it is a refusal") };
        assert!(message.starts_with("\\u{1b}[2Jno never") && message.len() < 600, "{message}");
    }

    #[test]
    fn retry_after_is_read_from_header_and_body() {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3".parse().unwrap());
        let three = WriteError::Throttled { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(refusal(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests"), three);
        assert_eq!(refusal(StatusCode::SERVICE_UNAVAILABLE, &headers, b""), three);
        assert_eq!(answer(429, &json!({"details": {"retryAfterSeconds": 3}})), three);
        assert_eq!(answer(429, &json!({})), WriteError::Throttled { retry_after: None });
        // A year, and more than a clock can hold.
        let longest = WriteError::Throttled { retry_after: Some(Duration::from_secs(RETRY_AFTER_MAX_SECONDS)) };
        for seconds in [31_536_000, u64::MAX] {
            headers.insert(header::RETRY_AFTER, seconds.into());
            assert_eq!(refusal(StatusCode::TOO_MANY_REQUESTS, &headers, b""), longest);
            assert_eq!(answer(429, &json!({"details": {"retryAfterSeconds": seconds}})), longest);
        }
    }
}
