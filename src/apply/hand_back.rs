//! Handing the managed objects of a live cluster back to Admiral.
//!
//! Only marks and Tradewind's annotations change; specs stay unchanged.

use serde_json::{Value, json};

use super::{
    kube::{KubeStore, only_over},
    kube_request::managed,
    store::{Outcome, WriteError},
};
use crate::{
    istio::keys,
    model::{Kind, ObjectId},
};

/// Annotations that only Tradewind reads.
const TRADEWIND_ANNOTATIONS: &str = "tradewind.io/";

impl KubeStore {
    /// The managed objects of a kind in a namespace, as the server has them; none where the kind is not
    /// installed.
    ///
    /// # Errors
    /// As every request.
    pub async fn managed_objects(&self, kind: Kind, namespace: &str) -> Outcome<Vec<Value>> {
        let (mut listed, managed) = (Vec::new(), managed());
        let taken = self.for_each(kind, Some(namespace), Some(&managed), |item| {
            listed.push(item);
            Ok(())
        });
        match taken.await {
            Ok(()) | Err(WriteError::Missing(_)) => Ok(listed),
            Err(error) => Err(error),
        }
    }

    /// Marks a managed object as Admiral's, over exactly the state that is given.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it changed meanwhile; otherwise as every request.
    pub async fn hand_back(&self, kind: Kind, object: &Value) -> Outcome<()> {
        let metadata = &object["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default();
        let id = ObjectId::new(kind, text("namespace"), text("name"));
        match self.patch(&id, &handed_back(metadata)).await {
            Ok(_) => Ok(()),
            // Gone already: there is nothing to give back.
            Err(WriteError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The patch that marks an object of this metadata as one that Admiral may write (Admiral,
/// docs/admiral-behaviour.md#ownership-and-writes).
#[must_use]
pub fn handed_back(metadata: &Value) -> Value {
    let path = |map: &str, key: &str| format!("/metadata/{map}/{}", key.replace('~', "~0").replace('/', "~1"));
    let mut patch = vec![
        only_over(metadata["resourceVersion"].as_str().unwrap_or_default()),
        json!({"op": "remove", "path": path("labels", keys::MANAGED_BY)}),
    ];
    if metadata["annotations"].is_null() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({"op": "add", "path": path("annotations", keys::CREATED_BY), "value": keys::ADMIRAL}));
    let annotations = metadata["annotations"].as_object().into_iter().flatten().map(|(key, _)| key);
    let removed = annotations.filter(|key| key.starts_with(TRADEWIND_ANNOTATIONS));
    patch.extend(removed.map(|key| json!({"op": "remove", "path": path("annotations", key)})));
    Value::Array(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_change_and_only_over_what_was_read() {
        let metadata = json!({
            "uid": "u", "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "tradewind", "team": "payments"},
            "annotations": {"app.kubernetes.io/created-by": "tradewind", "identity": "payments",
                            "tradewind.io/identity": "payments", "tradewind.io/policy": "a/b/c"},
        });
        let paths: Vec<String> = handed_back(&metadata)
            .as_array()
            .unwrap()
            .iter()
            .map(|step| format!("{} {}", step["op"].as_str().unwrap(), step["path"].as_str().unwrap()))
            .collect();
        assert_eq!(
            paths,
            [
                "replace /metadata/resourceVersion",
                "remove /metadata/labels/app.kubernetes.io~1managed-by",
                "add /metadata/annotations/app.kubernetes.io~1created-by",
                "remove /metadata/annotations/tradewind.io~1identity",
                "remove /metadata/annotations/tradewind.io~1policy",
            ]
        );
        let bare = json!({"uid": "u", "resourceVersion": "7", "labels": {"app.kubernetes.io/managed-by": "tradewind"}});
        assert_eq!(handed_back(&bare)[2]["path"], "/metadata/annotations");
    }
}
