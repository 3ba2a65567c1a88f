//! Giving an object that was taken over back to its owner.
//!
//! Only the marks are removed: the spec stays unchanged, so that no request notices. Tradewind no longer manages any of its
//! fields, and an annotation keeps it from being taken over again by itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{kube::only_over, ownership};
use crate::istio::{Metadata, OwnedKeys, keys};

/// Value of the annotation [`keys::ADOPT`] of an object that its owner keeps.
const KEPT: &str = "false";

/// An object that has no labels and annotations but Tradewind's, without them.
pub(super) fn bare(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("labels");
        metadata.insert("annotations".into(), json!({ keys::ADOPT: KEPT }));
    }
    object
}

/// The JSON patch that takes the marks out of a live object, over exactly the state that is given.
pub(super) fn patch(live: &Value, owned: &OwnedKeys) -> Value {
    let metadata = &live["metadata"];
    let map = |field: &str| -> BTreeMap<String, String> {
        serde_json::from_value(metadata[field].clone()).unwrap_or_default()
    };
    let (mut labels, mut annotations) = (map("labels"), map("annotations"));
    let mut marks = Metadata { labels: labels.clone(), annotations: annotations.clone(), ..Metadata::default() };
    marks.keep_owned(owned);
    labels.retain(|key, _| !marks.labels.contains_key(key));
    annotations.retain(|key, _| !marks.annotations.contains_key(key));
    annotations.insert(keys::ADOPT.to_owned(), KEPT.to_owned());
    let managers = metadata["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    json!([
        only_over(metadata["resourceVersion"].as_str().unwrap_or_default()),
        {"op": "add", "path": "/metadata/labels", "value": labels},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/metadata/managedFields", "value": ownership::released(managers)},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> OwnedKeys {
        OwnedKeys { identity: "identity".into(), environment: "admiral.io/env".into() }
    }

    #[test]
    fn marks_go_and_what_is_its_owners_stays() {
        let live = json!({
            "metadata": {
                "name": "pay", "resourceVersion": "7",
                "labels": {"app.kubernetes.io/managed-by": "tradewind", "admiral.io/env": "stage", "team": "pay"},
                "annotations": {"app.kubernetes.io/created-by": "tradewind", "identity": "pay", "note": "by hand",
                                "tradewind.io/adopted": "stage.pay.global", "tradewind.io/identity": "pay"},
                "managedFields": [
                    {"manager": "tradewind", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
                ],
            },
            "spec": {"hosts": ["stage.pay.global"]},
        });
        let steps = patch(&live, &owned());
        assert_eq!(steps[0]["value"], "7");
        assert_eq!(steps[1]["value"], json!({"team": "pay"}));
        assert_eq!(steps[2]["value"], json!({"note": "by hand", "tradewind.io/adopt": "false"}));
        assert_eq!(steps[3]["value"].as_array().map(Vec::len), Some(1), "its fields are managed by nobody");
        let file = bare(json!({"metadata": {"name": "pay", "labels": {"a": "b"}}, "spec": {}}));
        let expected = json!({"metadata": {"name": "pay", "annotations": {"tradewind.io/adopt": "false"}}, "spec": {}});
        assert_eq!(file, expected);
    }
}
