//! Reading and writing objects of any kind, as a test's user would.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use futures::{StreamExt, stream};
use http::Request;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{GroupVersionKind, discovery::Scope},
    discovery::{ApiResource, Discovery, pinned_kind},
};
use serde_json::{Value, json};

use super::{TestCluster, eventually};

/// The field manager of what tests apply.
const FIELD_MANAGER: &str = "tradewind-tests";

/// From the creation of a definition until its kind is served, on a busy machine.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// Applies in flight: enough to load thousands of objects in seconds, while the server still
/// answers others at once.
const APPLIES_AT_ONCE: usize = 16;

/// The non-empty documents of a YAML text, with lists taken apart.
///
/// # Panics
///
/// When the text is not YAML.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("not YAML: {error}\n{yaml}"));
    documents
        .into_iter()
        .flat_map(|mut document| match document["kind"].as_str() {
            Some("List") => match document["items"].take() {
                Value::Array(items) => items,
                other => panic!("a List whose items are {other}"),
            },
            _ => vec![document],
        })
        .filter(|document| !document.is_null())
        .collect()
}

impl TestCluster {
    /// Applies YAML documents of any kind, in any order: definitions go first, and are awaited
    /// until served, then namespaces, then the rest side by side. A namespace that an object
    /// names is created. Takes over fields from other managers.
    pub async fn apply_yaml(&self, yaml: &str) {
        self.apply(documents(yaml)).await;
    }

    /// [`Self::apply_yaml`] of objects.
    pub async fn apply(&self, objects: Vec<Value>) {
        let (definitions, objects): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        let (namespaces, objects): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object["kind"] == "Namespace");
        let client = self.client();

        self.apply_all(&client, &definitions).await;
        for definition in &definitions {
            self.await_established(&client, &definition["metadata"]["name"]).await;
        }
        self.apply_all(&client, &namespaces).await;
        self.create_namespaces(&client, &namespaces, &objects).await;
        self.apply_all(&client, &objects).await;
    }

    async fn apply_all(&self, client: &Client, objects: &[Value]) {
        stream::iter(objects)
            .for_each_concurrent(APPLIES_AT_ONCE, async |object| {
                let applied = self.apply_with(client, object, &PatchParams::apply(FIELD_MANAGER).force()).await;
                applied.unwrap_or_else(|error| panic!("{}: {error}: {object}", self.name()));
            })
            .await;
    }

    /// Server-side apply of one object, whatever comes of it.
    pub(super) async fn apply_with(
        &self,
        client: &Client,
        object: &Value,
        parameters: &PatchParams,
    ) -> kube::Result<Value> {
        let (api, name) = self.api_of(client, object).await;
        let applied = api.patch(name, parameters, &Patch::Apply(object)).await?;
        Ok(serde_json::to_value(applied).expect("an object is JSON"))
    }

    /// Applies the `status` of objects that exist, which nothing here does by itself: the address
    /// of a gateway's load balancer, the readiness of a workload.
    pub async fn apply_status(&self, yaml: &str) {
        let client = self.client();
        for object in documents(yaml) {
            let (api, name) = self.api_of(&client, &object).await;
            let status = json!({
                "apiVersion": object["apiVersion"],
                "kind": object["kind"],
                "metadata": { "name": name },
                "status": object["status"],
            });
            api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&status))
                .await
                .unwrap_or_else(|error| panic!("{}: {error}: {object}", self.name()));
        }
    }

    /// Deletes an object; one that is not there is fine.
    ///
    /// `kind` here and below is `Kind`, `Kind.group` or `group/version/Kind` (`version/Kind` for
    /// the core group). A namespace goes away at once and leaves its objects behind, for no
    /// controller is here to remove them.
    pub async fn delete(&self, kind: &str, namespace: impl Into<Option<&str>>, name: &str) {
        let client = self.client();
        // Jobs are orphaned by default, which waits for a garbage collector; none runs here.
        let result = self.api(&client, kind, namespace.into()).await.delete(name, &DeleteParams::background()).await;
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            result => drop(result.unwrap_or_else(|error| panic!("{}: delete {kind} {name}: {error}", self.name()))),
        }
        if kind == "Namespace" {
            self.finalize_namespace(&client, name).await;
        }
    }

    /// An object as it is stored, if there is one.
    pub async fn get_json(&self, kind: &str, namespace: impl Into<Option<&str>>, name: &str) -> Option<Value> {
        let found = self.api(&self.client(), kind, namespace.into()).await.get_opt(name).await;
        let found = found.unwrap_or_else(|error| panic!("{}: get {kind} {name}: {error}", self.name()));
        found.map(|object| serde_json::to_value(object).expect("an object is JSON"))
    }

    /// All objects of a kind, in one namespace or in all, by namespace and name.
    pub async fn list(&self, kind: &str, namespace: impl Into<Option<&str>>) -> Vec<Value> {
        let client = self.client();
        let (resource, _) = self.resolve(&client, kind).await;
        let listed = self.api(&client, kind, namespace.into()).await.list(&ListParams::default()).await;
        let listed = listed.unwrap_or_else(|error| panic!("{}: list {kind}: {error}", self.name()));
        listed
            .items
            .into_iter()
            .map(|object| {
                let mut object = serde_json::to_value(object).expect("an object is JSON");
                // Servers leave these out of lists.
                object["apiVersion"] = json!(resource.api_version);
                object["kind"] = json!(resource.kind);
                object
            })
            .collect()
    }

    async fn api_of<'a>(&self, client: &Client, object: &'a Value) -> (Api<DynamicObject>, &'a str) {
        let text = |value: &'a Value| value.as_str().unwrap_or_else(|| panic!("lacks a kind or a name: {object}"));
        let kind = format!("{}/{}", text(&object["apiVersion"]), text(&object["kind"]));
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        (self.api(client, &kind, namespace.into()).await, text(&metadata["name"]))
    }

    async fn api(&self, client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (resource, scope) = self.resolve(client, kind).await;
        match (scope, namespace) {
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
            _ => Api::all_with(client.clone(), &resource),
        }
    }

    async fn resolve(&self, client: &Client, kind: &str) -> (ApiResource, Scope) {
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned();
        if let Some(known) = known {
            return known;
        }
        // A definition is established a moment before its kind can be discovered.
        let found = eventually(&format!("{} serves {kind}", self.name()), ESTABLISHED_WITHIN, async || {
            discover(client, kind).await
        })
        .await;
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.to_owned(), found.clone());
        found
    }

    async fn await_established(&self, client: &Client, name: &Value) {
        let name = name.as_str().expect("a definition has a name");
        eventually(&format!("{}: {name} is established", self.name()), ESTABLISHED_WITHIN, async || {
            let definition = self
                .api(client, "apiextensions.k8s.io/v1/CustomResourceDefinition", None)
                .await
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let conditions = definition.data["status"]["conditions"].as_array();
            let established = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
            established.then_some(()).ok_or_else(|| format!("its conditions are {conditions:?}"))
        })
        .await;
    }

    async fn create_namespaces(&self, client: &Client, present: &[Value], objects: &[Value]) {
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
        let namespace = |object: &Value| object["metadata"]["namespace"].as_str().map(str::to_owned);
        let wanted: HashSet<String> = objects.iter().filter_map(namespace).collect();
        let missing: Vec<String> = {
            let mut known = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(present.iter().filter_map(name));
            wanted.into_iter().filter(|name| !known.contains(name)).collect()
        };
        let namespaces: Vec<Value> = missing
            .iter()
            .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
            .collect();
        self.apply_all(client, &namespaces).await;
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
    }

    /// Does what the namespace controller does last.
    async fn finalize_namespace(&self, client: &Client, name: &str) {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(mut namespace) = self.get_json("Namespace", None, name).await else { return };
        namespace["spec"]["finalizers"] = json!([]);
        let request = Request::put(format!("/api/v1/namespaces/{name}/finalize"))
            .header("content-type", "application/json")
            .body(namespace.to_string().into_bytes())
            .expect("a plain request");
        let result = client.request_text(request).await;
        result.unwrap_or_else(|error| panic!("{}: finalize {name}: {error}", self.name()));
    }
}

/// Looks a kind up where the server says what it serves.
async fn discover(client: &Client, kind: &str) -> Result<(ApiResource, Scope), String> {
    if let Some((api_version, kind)) = kind.rsplit_once('/') {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::gvk(group, version, kind))
            .await
            .map_err(|error| error.to_string())?;
        return Ok((resource, capabilities.scope));
    }
    let (kind, group) = match kind.split_once('.') {
        Some((kind, group)) => (kind, Some(group)),
        None => (kind, None),
    };
    let served = Discovery::new(client.clone()).run_aggregated().await.map_err(|error| error.to_string())?;
    let mut found: Vec<_> = served
        .groups()
        .filter(|candidate| group.is_none_or(|group| group == candidate.name()))
        .filter_map(|candidate| candidate.recommended_kind(kind))
        .collect();
    match found.len() {
        0 => Err("no such kind".to_owned()),
        1 => found.pop().map(|(resource, capabilities)| (resource, capabilities.scope)).ok_or_else(String::new),
        // Core before the rest: an Event or a Service is the one that everybody means.
        _ => found
            .into_iter()
            .find(|(resource, _)| resource.group.is_empty())
            .map(|(resource, capabilities)| (resource, capabilities.scope))
            .ok_or_else(|| format!("several groups have a {kind}: say {kind}.GROUP")),
    }
}
