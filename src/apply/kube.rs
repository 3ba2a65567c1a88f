//! Writing to a live cluster by server-side apply.
//!
//! Decides nothing. Never overwrites a state that was not compared with: an update carries uid and resourceVersion, and a
//! create that meets somebody else's object takes itself back. Never repeats a request.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use http::StatusCode;
use kube::core::{
    Request,
    params::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    give_back,
    kube_request::{Answer, managed, requests},
    merge, ownership,
    store::{Outcome, ReadWritten, Store, WriteError, is_merged},
    write::{ObjectWrite, StatusWrite, Write},
};
use crate::{
    config::Settings,
    istio::{Object, OwnedKeys, Owner, keys},
    model::{EgressHost, Kind, ObjectId, Written},
};

/// The field manager of statuses. One of its own, so that a write of an object never takes a status back.
const STATUS_MANAGER: &str = "tradewind-status";

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

    /// The same for a cluster whose Istio namespace is looked up before each list.
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

    pub(super) fn client(&self) -> Outcome<kube::Client> {
        let mut last = self.last.lock();
        if let Some(client) = (self.connect)() {
            *last = Some(client);
        }
        last.clone().ok_or_else(|| WriteError::Unreachable("there is no connection".to_owned()))
    }

    async fn apply(&self, mut manifest: Value, id: &ObjectId, force: bool) -> Outcome<Answer> {
        // The annotation belongs to the object's owner: if Tradewind managed it too, the owner could not remove it.
        if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
            annotations.remove(keys::ADOPT);
        }
        let field_validation = self.strict.then_some(ValidationDirective::Strict);
        let params = PatchParams { force, field_validation, ..PatchParams::apply(keys::TRADEWIND) };
        self.send(of(id).patch(&id.name, &params, &Patch::Apply(manifest))).await
    }

    /// The live object, if it still is in the state that was compared with.
    async fn get_same(&self, over: &Written) -> Outcome<Value> {
        let gone = || WriteError::Conflict("it changed meanwhile".to_owned());
        let live = match self.send(of(&over.id).get(&over.id.name, &GetParams::default())).await {
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
        // Without force: fields of an object that appeared meanwhile are a conflict and are not overwritten.
        let answer = self.apply(object.manifest(), &id, false).await?;
        let managers = managed_fields(&answer.body);
        if answer.status != StatusCode::CREATED && ownership::is_shared(managers) {
            // The apply merged into an object of the same content. Applying an empty object removes exactly our fields again.
            let nothing = json!({
                "apiVersion": id.kind.api_version(),
                "kind": id.kind.as_str(),
                "metadata": {"name": *id.name, "namespace": *id.namespace},
            });
            self.apply(nothing, &id, false).await?;
            return Err(WriteError::Conflict("somebody else created it at the same time".to_owned()));
        }
        self.read(id.kind, &answer.body)
    }

    async fn update_object(&self, object: &Object, uid: &str, resource_version: &str) -> Outcome<Written> {
        let mut manifest = object.manifest();
        manifest["metadata"]["uid"] = json!(uid);
        manifest["metadata"]["resourceVersion"] = json!(resource_version);
        let id = object.id();
        let answer = self.apply(manifest, &id, true).await?;
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
        let answer = self.patch(&over.id, &patch).await?;
        let resource_version = answer.body["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        self.update_object(object, &over.uid, &resource_version).await
    }

    async fn give_object_back(&self, over: &Written) -> Outcome<Written> {
        let live = self.get_same(over).await?;
        let answer = self.patch(&over.id, &give_back::patch(&live, &self.owned)).await?;
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
        let answer = self.patch(&over.id, &Value::Array(patch)).await?;
        self.read(over.id.kind, &answer.body)
    }

    /// Applies the status alone, as a field manager of its own: fields of the status that others manage stay, and no other
    /// field of the object is sent.
    async fn apply_status(&self, StatusWrite { id, resource_version, status }: &StatusWrite) -> Outcome<()> {
        let body = json!({
            "apiVersion": id.kind.api_version(),
            "kind": id.kind.as_str(),
            "metadata": {"name": *id.name, "namespace": *id.namespace, "resourceVersion": **resource_version},
            "status": status,
        });
        let params = PatchParams::apply(STATUS_MANAGER).force();
        match self.send(of(id).patch_subresource("status", &id.name, &params, &Patch::Apply(body))).await {
            Ok(_) => Ok(()),
            // The object alone is missing, not its kind: whoever deleted it has its status planned again.
            Err(WriteError::Missing(message)) if message.contains(&*id.name) => Err(WriteError::Conflict(message)),
            Err(error) => Err(error),
        }
    }

    async fn delete_object(&self, written: &Written) -> Outcome<()> {
        let preconditions = Preconditions {
            uid: Some(written.uid.to_string()),
            resource_version: Some(written.resource_version.to_string()),
        };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.send(of(&written.id).delete(&written.id.name, &params)).await {
            Ok(_) | Err(WriteError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, kind: Kind, namespace: Option<&str>, selector: Option<&str>) -> Outcome<Vec<Written>> {
        // Objects elsewhere without this installation's annotation belong to users or to another installation.
        let istio_namespace = (self.istio_namespace)();
        let managed_namespaces = [&*self.settings.sync_namespace, &*istio_namespace];
        let may_be_managed = |item: &Value| {
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            let written_by = &item["metadata"]["annotations"][keys::SYNC_NAMESPACE];
            kind == Kind::Sidecar
                || managed_namespaces.contains(&namespace)
                || *written_by == *self.settings.sync_namespace
        };
        let mut listed = Vec::new();
        self.for_each(kind, namespace, selector, |item| {
            if may_be_managed(&item) {
                listed.push(self.read(kind, &item)?);
            }
            Ok(())
        })
        .await?;
        Ok(listed)
    }

    async fn list_owned(&self) -> Outcome<Vec<Written>> {
        let managed = managed();
        let mut owned = Vec::new();
        let istio_namespace = (self.istio_namespace)();
        for kind in self.settings.watched_kinds().into_iter().filter(|kind| Kind::WRITTEN.contains(kind)) {
            // A user's Sidecar may have hosts of Tradewind.
            let selector = Some(managed.as_str()).filter(|_| kind != Kind::Sidecar);
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
        let params = PostParams { field_manager: Some(keys::TRADEWIND.to_owned()), ..PostParams::default() };
        let body = serde_json::to_vec(&manifest).expect("JSON values serialize");
        match self.send(Request::new("/api/v1/namespaces").create(&params, body)).await {
            Ok(_) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write_object(&self, write: &ObjectWrite) -> Outcome<Written> {
        match write {
            ObjectWrite::Create { object } => self.create_object(object).await,
            ObjectWrite::Update { object, over } => self.update_object(object, &over.uid, &over.resource_version).await,
            ObjectWrite::TakeOver { object, over } => self.take_over_object(object, over).await,
            ObjectWrite::GiveBack { over } => self.give_object_back(over).await,
            ObjectWrite::Merge { over, hosts } => self.merge_hosts(over, hosts).await,
        }
    }
}

impl Store for KubeStore {
    fn write<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Outcome<Option<Written>>> {
        async move {
            match write {
                Write::Object(write) => self.write_object(write).await.map(Some),
                Write::Status(write) => self.apply_status(write).await.map(|()| None),
                Write::Delete(over) => self.delete_object(over).await.map(|()| None),
            }
        }
        .boxed()
    }

    fn create_namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome<()>> {
        self.ensure_namespace(name).boxed()
    }

    fn owned(&self) -> BoxFuture<'_, Outcome<Vec<Written>>> {
        self.list_owned().boxed()
    }
}

/// Requests for the objects of the kind and namespace of one.
fn of(id: &ObjectId) -> Request {
    requests(id.kind, Some(&id.namespace))
}

/// The step of a JSON patch that makes it conflict where the object is no longer in this state. A `test` step is not used: the
/// API server answers a failing one as if the patch itself were wrong.
pub(super) fn only_over(resource_version: &str) -> Value {
    json!({"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version})
}

fn managed_fields(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
