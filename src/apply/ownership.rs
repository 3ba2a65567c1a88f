//! Field ownership (`metadata.managedFields`): making Tradewind the manager of every field that it decides. Pure.
//!
//! Server-side apply removes a field only when no other manager owns it. So a field that another writer set would stay next
//! to Tradewind's, and Istio refuses, for one, `distribute` next to `failover`. Taking over moves the whole spec, and the labels
//! and annotations of Tradewind, to Tradewind's manager; the next apply then drops what is not wanted. Labels, annotations,
//! finalizers and status of others stay with their owners.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::istio::{Metadata, OwnedKeys, keys};

/// The managers of an object after Tradewind took over every field that it decides.
///
/// `annotations` are those of the object: a copy of a user's object names there which keys it has from it.
pub(super) fn taken_over(
    managed_fields: &[Value],
    owned: &OwnedKeys,
    annotations: &BTreeMap<String, String>,
    api_version: &str,
) -> Vec<Value> {
    let mut taken = Map::new();
    let mut others = Vec::new();
    for entry in managed_fields {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object).filter(|_| !is_status(entry)) else {
            others.push(entry.clone());
            continue;
        };
        let (moved, kept) =
            if is_tradewinds(entry) { (fields.clone(), Map::new()) } else { split(fields, owned, annotations) };
        unite(&mut taken, moved);
        if !kept.is_empty() {
            let mut entry = entry.clone();
            entry["fieldsV1"] = Value::Object(kept);
            others.push(entry);
        }
    }
    others.push(json!({
        "manager": keys::TRADEWIND,
        "operation": "Apply",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": taken,
    }));
    others
}

/// The managers of an object without Tradewind's: fields that only Tradewind managed have no manager and stay unchanged.
pub(super) fn released(managed_fields: &[Value]) -> Vec<Value> {
    managed_fields.iter().filter(|entry| entry["manager"] != keys::TRADEWIND || is_status(entry)).cloned().collect()
}

/// Whether another manager owns a field of the spec.
pub(super) fn is_shared(managed_fields: &[Value]) -> bool {
    managed_fields
        .iter()
        .any(|entry| !is_tradewinds(entry) && entry.pointer("/fieldsV1/f:spec").is_some() && !is_status(entry))
}

fn is_tradewinds(entry: &Value) -> bool {
    entry["manager"] == keys::TRADEWIND && entry["operation"] == "Apply" && !is_status(entry)
}

fn is_status(entry: &Value) -> bool {
    entry.get("subresource").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

/// Parts a field set into what Tradewind decides and the rest.
fn split(
    fields: &Map<String, Value>,
    owned: &OwnedKeys,
    annotations: &BTreeMap<String, String>,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut kept = fields.clone();
    let mut moved = Map::new();
    if let Some(spec) = kept.remove("f:spec") {
        moved.insert("f:spec".into(), spec);
    }
    let mut metadata = Map::new();
    for name in ["labels", "annotations"] {
        let field = format!("f:{name}");
        let Some(set) = kept.get_mut("f:metadata").and_then(|metadata| metadata.get_mut(&field)?.as_object_mut())
        else {
            continue;
        };
        let mine: Vec<String> = set.keys().filter(|key| is_owned(name, key, owned, annotations)).cloned().collect();
        let mine: Map<String, Value> =
            mine.into_iter().filter_map(|key| set.remove(&key).map(|value| (key, value))).collect();
        if !mine.is_empty() {
            metadata.insert(field, Value::Object(mine));
        }
    }
    if !metadata.is_empty() {
        moved.insert("f:metadata".into(), Value::Object(metadata));
    }
    (moved, kept)
}

fn is_owned(name: &str, field: &str, owned: &OwnedKeys, annotations: &BTreeMap<String, String>) -> bool {
    let Some(key) = field.strip_prefix("f:").filter(|key| *key != keys::ADOPT) else { return false };
    let mut metadata = Metadata { annotations: annotations.clone(), ..Metadata::default() };
    if name == "labels" {
        metadata.labels.insert(key.to_owned(), String::new());
    } else {
        metadata.annotations.entry(key.to_owned()).or_default();
    }
    metadata.keep_owned(owned);
    if name == "labels" { metadata.labels.contains_key(key) } else { metadata.annotations.contains_key(key) }
}

/// Field sets are trees of JSON objects: their union is the deep union of the trees.
fn unite(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(value)) => unite(known, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> OwnedKeys {
        OwnedKeys { identity: "identity".into(), environment: "env".into() }
    }

    #[test]
    fn the_spec_and_managed_keys_become_managed_and_the_rest_remains() {
        let fields = json!([
            {"manager": "admiral", "operation": "Update", "fieldsV1": {
                "f:metadata": {"f:annotations": {".": {}, "f:identity": {}, "f:team": {}}, "f:labels": {"f:env": {}}},
                "f:spec": {"f:host": {}, "f:trafficPolicy": {"f:tls": {}}}}},
            {"manager": "tradewind", "operation": "Apply", "fieldsV1": {"f:spec": {"f:trafficPolicy": {"f:simple": {}}}}},
            {"manager": "istiod", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
        ]);
        let taken = taken_over(fields.as_array().unwrap(), &owned(), &BTreeMap::new(), "networking.istio.io/v1");
        assert_eq!(
            taken[0]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {".": {}, "f:team": {}}, "f:labels": {}}})
        );
        assert_eq!(taken[1]["manager"], "istiod");
        assert_eq!(
            taken[2]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {"f:identity": {}}, "f:labels": {"f:env": {}}},
                   "f:spec": {"f:host": {}, "f:trafficPolicy": {"f:tls": {}, "f:simple": {}}}})
        );
        assert_eq!(taken.len(), 3, "one manager is ours");
    }

    #[test]
    fn the_adoption_annotation_remains_the_owners() {
        let fields = json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:annotations": {"f:tradewind.io/adopt": {}, "f:tradewind.io/policy": {}}}}}]);
        let taken = taken_over(fields.as_array().unwrap(), &owned(), &BTreeMap::new(), "networking.istio.io/v1");
        assert_eq!(
            taken[0]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {"f:tradewind.io/adopt": {}}}}),
            "{taken:?}"
        );
    }

    #[test]
    fn metadata_of_a_copys_origin_becomes_managed_too() {
        let fields = json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:team": {}, "f:audit": {}}}}}]);
        let annotations = BTreeMap::from([(keys::COPIED_LABELS.to_owned(), "team".to_owned())]);
        let taken = taken_over(fields.as_array().unwrap(), &owned(), &annotations, "networking.istio.io/v1");
        assert_eq!(taken[0]["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:audit": {}}}}));
        assert_eq!(taken[1]["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:team": {}}}}));
    }

    #[test]
    fn an_object_is_shared_when_another_manager_owns_part_of_its_spec() {
        let mine = json!({"manager": "tradewind", "operation": "Apply", "fieldsV1": {"f:spec": {}}});
        let status = json!({"manager": "istiod", "subresource": "status", "fieldsV1": {"f:spec": {}}});
        let label = json!({"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}});
        let edit = json!({"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}});
        assert!(!is_shared(&[mine.clone(), status, label]));
        assert!(is_shared(&[mine, edit]));
    }
}
