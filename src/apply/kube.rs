//! Writing to a live cluster by server-side apply.
//!
//! Decides nothing. Never overwrites a state that was not compared with: an update carries uid and resourceVersion, and a
//! create that meets somebody else's object takes itself back. Never repeats a request.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use http::{Method, Request, StatusCode, header};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    give_back, merge, ownership,
    store::{Outcome, ReadWritten, Store, WriteError, is_merged},
};
use crate::{
    config::Settings,
    istio::{Object, OwnedKeys, Owner, keys},
    model::{EgressHost, Kind, ObjectId, Written},
};

/// Longest time for one request. A healthy API server answers in milliseconds; admission webhooks may take up to 10 s by
/// default, and longer ones are the exception.
const REQUEST_TIMEOUT_SECONDS: u64 = 15;

/// Objects per page of a list, so that no answer grows with the mesh.
pub(super) const LIST_PAGE_OBJECTS: usize = 500;

/// Longest part of a server's message that is repeated in notes.
const MESSAGE_MAX_CHARS: usize = 500;

/// Gives the current connection of the cluster; absent while there is none.
pub type Connect = Box<dyn Fn() -> Option<kube::Client> + Send + Sync>;

/// Gives the namespace of the cluster's Istio.
pub type IstioNamespace = Box<dyn Fn() -> Arc<str> + Send + Sync>;

/// A live cluster.
pub struct KubeStore {
    connect: Connect,
    // Cleaning a cluster that just left the fleet still needs the way there.
    last: Mutex<Option<kube::Client>>,
    read: ReadWritten,
    owned: OwnedKeys,
    settings: Arc<Settings>,
    /// Gives the namespace of the cluster's Istio.
    istio_namespace: IstioNamespace,
    strict: bool,
}

impl std::fmt::Debug for KubeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeStore")
    }
}

/// An answered request.
pub(super) struct Answer {
    status: StatusCode,
    pub(super) body: Value,
}

impl KubeStore {
    /// A destination that asks `connect` for its connection before each request.
    #[must_use]
    pub fn new(connect: Connect, read: ReadWritten, settings: &Arc<Settings>) -> Self {
        let istio_namespace: Arc<str> = settings.istio_namespace.as_str().into();
        Self {
            connect,
            last: Mutex::new(None),
            read,
            owned: settings.owned_keys(),
            settings: settings.clone(),
            istio_namespace: Box::new(move || istio_namespace.clone()),
            strict: false,
        }
    }

    /// The same for a cluster whose Istio namespace is asked for before each list.
    #[must_use]
    pub fn with_istio_namespace(mut self, istio_namespace: IstioNamespace) -> Self {
        self.istio_namespace = istio_namespace;
        self
    }

    /// Makes the server refuse unknown and repeated fields. For tests: a server older than a field must not refuse the rest.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    fn client(&self) -> Outcome<kube::Client> {
        let mut last = self.last.lock();
        if let Some(client) = (self.connect)() {
            *last = Some(client);
        }
        last.clone().ok_or_else(|| WriteError::Unreachable("there is no connection".to_owned()))
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let bytes = body.map(|body| serde_json::to_vec(body).expect("JSON values serialize")).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(bytes))
            .map_err(|error| WriteError::Refused(format!("no request can be made for it: {error}")))?;
        let client = self.client()?;
        let limit = Duration::from_secs(REQUEST_TIMEOUT_SECONDS);
        let exchange = async {
            let answer = client.send(request).await?;
            let (parts, body) = answer.into_parts();
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

    async fn apply(&self, manifest: &Value, id: &ObjectId, force: bool) -> Outcome<Answer> {
        let mut manifest = manifest.clone();
        // Its owner's: were it ours, too, its owner could not take it away.
        if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
            annotations.remove(keys::ADOPT);
        }
        let validation = if self.strict { "&fieldValidation=Strict" } else { "" };
        let path = format!("{}?fieldManager={}&force={force}{validation}", path(id), keys::TRADEWIND);
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", Some(&manifest)).await
    }

    pub(super) async fn patch(&self, id: &ObjectId, patch: Value) -> Outcome<Answer> {
        let path = format!("{}?fieldManager={}", path(id), keys::TRADEWIND);
        self.send(Method::PATCH, &path, "application/json-patch+json", Some(&patch)).await
    }

    /// The live object, if it still is in the state that was compared with.
    async fn get_same(&self, over: &Written) -> Outcome<Value> {
        let gone = || WriteError::Conflict("it changed meanwhile".to_owned());
        let live = match self.send(Method::GET, &path(&over.id), "", None).await {
            Ok(answer) => answer.body,
            Err(WriteError::Missing(_)) => return Err(gone()),
            Err(error) => return Err(error),
        };
        let is_same =
            live["metadata"]["uid"] == *over.uid && live["metadata"]["resourceVersion"] == *over.resource_version;
        if is_same { Ok(live) } else { Err(gone()) }
    }

    fn read(&self, kind: Kind, answer: &Value) -> Outcome<Written> {
        (self.read)(kind, answer).map_err(|error| WriteError::Unreadable(error.to_string()))
    }

    async fn create_object(&self, object: &Object) -> Outcome<Written> {
        let id = object.id();
        // Without force: fields of an object that appeared meanwhile are a conflict, not ours to overwrite.
        let answer = self.apply(&object.manifest(), &id, false).await?;
        let managers = managed_fields(&answer.body);
        if answer.status != StatusCode::CREATED && ownership::is_shared(managers) {
            // It met an object that contradicts in nothing. Applying nothing takes exactly our fields out again.
            let nothing = json!({
                "apiVersion": id.kind.api_version(),
                "kind": id.kind.as_str(),
                "metadata": {"name": *id.name, "namespace": *id.namespace},
            });
            self.apply(&nothing, &id, false).await?;
            return Err(WriteError::Conflict("somebody else created it at the same time".to_owned()));
        }
        self.read(id.kind, &answer.body)
    }

    async fn update_object(&self, object: &Object, uid: &str, resource_version: &str) -> Outcome<Written> {
        let mut manifest = object.manifest();
        manifest["metadata"]["uid"] = json!(uid);
        manifest["metadata"]["resourceVersion"] = json!(resource_version);
        let id = object.id();
        let answer = self.apply(&manifest, &id, true).await?;
        self.read(id.kind, &answer.body)
    }

    async fn take_over_object(&self, object: &Object, over: &Written) -> Outcome<Written> {
        let live = self.get_same(over).await?;
        let annotations = serde_json::from_value(live["metadata"]["annotations"].clone()).unwrap_or_default();
        let managers =
            ownership::taken_over(managed_fields(&live), &self.owned, &annotations, &over.id.kind.api_version());
        let patch = json!([
            only_over(&over.resource_version),
            {"op": "add", "path": "/metadata/managedFields", "value": managers},
        ]);
        let answer = self.patch(&over.id, patch).await?;
        let resource_version = answer.body["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        self.update_object(object, &over.uid, &resource_version).await
    }

    async fn give_object_back(&self, over: &Written) -> Outcome<Written> {
        let live = self.get_same(over).await?;
        let answer = self.patch(&over.id, give_back::patch(&live, &self.owned)).await?;
        self.read(over.id.kind, &answer.body)
    }

    async fn merge_hosts(&self, over: &Written, hosts: &[EgressHost]) -> Outcome<Written> {
        let live = self.get_same(over).await?;
        let edited = merge::edited(&live, hosts).map_err(|reason| WriteError::Refused(format!("it {reason}")))?;
        let mut patch = vec![only_over(&over.resource_version)];
        if edited["spec"] != live["spec"] {
            patch.push(json!({"op": "replace", "path": "/spec/egress", "value": edited["spec"]["egress"]}));
        }
        if live["metadata"]["annotations"].is_null() && edited["metadata"]["annotations"].is_object() {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        for key in merge::ANNOTATIONS {
            let path = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            let [before, after] = [&live, &edited].map(|object| object["metadata"]["annotations"].get(key));
            match (before, after) {
                (Some(_), None) => patch.push(json!({"op": "remove", "path": path})),
                (before, Some(text)) if before != after => {
                    patch.push(json!({"op": "add", "path": path, "value": text}));
                }
                _ => {}
            }
        }
        let answer = self.patch(&over.id, Value::Array(patch)).await?;
        self.read(over.id.kind, &answer.body)
    }

    async fn delete_object(&self, written: &Written) -> Outcome<()> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": *written.uid, "resourceVersion": *written.resource_version},
        });
        match self.send(Method::DELETE, &path(&written.id), "application/json", Some(&options)).await {
            Ok(_) | Err(WriteError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, kind: Kind, namespace: Option<&str>, selector: &str) -> Outcome<Vec<Written>> {
        let base = namespace.map_or_else(
            || format!("/apis/{}/{}", kind.api_version(), kind.served().plural),
            |namespace| collection(kind, namespace),
        );
        let mut listed = Vec::new();
        let mut next = String::new();
        loop {
            let page = format!("{base}?limit={LIST_PAGE_OBJECTS}{selector}{next}");
            let answer = self.send(Method::GET, &page, "", None).await?;
            // What stands elsewhere without our mark is a user's, or another installation's.
            let istio_namespace = (self.istio_namespace)();
            let ours = [&*self.settings.sync_namespace, &*istio_namespace];
            let may_be_ours = |item: &&Value| {
                let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
                let written_by = &item["metadata"]["annotations"][keys::SYNC_NAMESPACE];
                kind == Kind::Sidecar || ours.contains(&namespace) || *written_by == *self.settings.sync_namespace
            };
            for item in answer.body["items"].as_array().into_iter().flatten().filter(may_be_ours) {
                listed.push(self.read(kind, item)?);
            }
            match answer.body["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => next = format!("&continue={token}"),
                None => return Ok(listed),
            }
        }
    }

    async fn list_owned(&self) -> Outcome<Vec<Written>> {
        let ours = format!("&labelSelector={}%3D{}", keys::MANAGED_BY.replace('/', "%2F"), keys::TRADEWIND);
        let mut owned = Vec::new();
        let istio_namespace = (self.istio_namespace)();
        for kind in self.settings.watched_kinds().into_iter().filter(|kind| Kind::WRITTEN.contains(kind)) {
            // Hosts of ours may stand in a Sidecar that is somebody else's.
            let selector = if kind == Kind::Sidecar { "" } else { &ours };
            let namespace = self.settings.watched_namespace(kind, &istio_namespace);
            let found = self.list(kind, namespace, selector).await?;
            owned.extend(found.into_iter().filter(|one| is_merged(one) || one.owner == Owner::Tradewind));
        }
        Ok(owned)
    }

    async fn ensure_namespace(&self, name: &str) -> Outcome<()> {
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {keys::MANAGED_BY: keys::TRADEWIND}},
        });
        let path = format!("/api/v1/namespaces?fieldManager={}", keys::TRADEWIND);
        match self.send(Method::POST, &path, "application/json", Some(&manifest)).await {
            Ok(_) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Store for KubeStore {
    fn create<'a>(&'a self, object: &'a Object) -> BoxFuture<'a, Outcome<Written>> {
        self.create_object(object).boxed()
    }

    fn update<'a>(&'a self, object: &'a Object, over: &'a Written) -> BoxFuture<'a, Outcome<Written>> {
        self.update_object(object, &over.uid, &over.resource_version).boxed()
    }

    fn take_over<'a>(&'a self, object: &'a Object, over: &'a Written) -> BoxFuture<'a, Outcome<Written>> {
        self.take_over_object(object, over).boxed()
    }

    fn merge_sidecar<'a>(&'a self, over: &'a Written, hosts: &'a [EgressHost]) -> BoxFuture<'a, Outcome<Written>> {
        self.merge_hosts(over, hosts).boxed()
    }

    fn give_back<'a>(&'a self, over: &'a Written) -> BoxFuture<'a, Outcome<Written>> {
        self.give_object_back(over).boxed()
    }

    fn delete<'a>(&'a self, written: &'a Written) -> BoxFuture<'a, Outcome<()>> {
        self.delete_object(written).boxed()
    }

    fn create_namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome<()>> {
        self.ensure_namespace(name).boxed()
    }

    fn owned(&self) -> BoxFuture<'_, Outcome<Vec<Written>>> {
        self.list_owned().boxed()
    }
}

pub(super) fn collection(kind: Kind, namespace: &str) -> String {
    format!("/apis/{}/namespaces/{namespace}/{}", kind.api_version(), kind.served().plural)
}

fn path(id: &ObjectId) -> String {
    format!("{}/{}", collection(id.kind, &id.namespace), id.name)
}

/// The step of a JSON patch that ends it with a conflict where the object is not in this state any more. No `test`: a failing
/// one is answered as if the patch itself were wrong.
pub(super) fn only_over(resource_version: &str) -> Value {
    json!({"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version})
}

fn managed_fields(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sorts an answer that is no success by what can be done about it.
fn refusal(status: StatusCode, headers: &http::HeaderMap, body: &[u8]) -> WriteError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["message"].as_str().filter(|text| !text.is_empty());
    let message: String = message
        .unwrap_or_else(|| status.canonical_reason().unwrap_or_default())
        .chars()
        .take(MESSAGE_MAX_CHARS)
        .collect();
    let retry_after = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .or_else(|| body["details"]["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0))
        .map(Duration::from_secs);
    match status {
        StatusCode::CONFLICT => WriteError::Conflict(message),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => WriteError::Forbidden(message),
        StatusCode::NOT_FOUND => WriteError::Missing(message),
        StatusCode::TOO_MANY_REQUESTS => WriteError::Throttled { retry_after },
        // A server that is about to stop, or has no leader, asks for a rest the same way.
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => WriteError::Throttled { retry_after },
        // The `test` of a JSON patch fails with 422 and this reason, although the object is well: it changed meanwhile.
        StatusCode::UNPROCESSABLE_ENTITY if message.contains("testing path /metadata/resourceVersion") => {
            WriteError::Conflict(message)
        }
        status if status.is_server_error() => WriteError::Server(format!("{status}: {message}")),
        StatusCode::REQUEST_TIMEOUT => WriteError::Server(message),
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
    text.chars().take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
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
        let test = json!({"message": "the server rejected our request: testing path /metadata/resourceVersion"});
        assert_eq!(answer(422, &test).outcome(), "conflict");
    }

    #[test]
    fn the_rest_that_is_asked_for_is_read_from_header_and_body() {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3".parse().unwrap());
        let three = WriteError::Throttled { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(refusal(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests"), three);
        assert_eq!(refusal(StatusCode::SERVICE_UNAVAILABLE, &headers, b""), three);
        assert_eq!(answer(429, &json!({"details": {"retryAfterSeconds": 3}})), three);
        assert_eq!(answer(429, &json!({})), WriteError::Throttled { retry_after: None });
    }
}
