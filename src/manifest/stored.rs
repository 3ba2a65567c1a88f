//! An object of a manifest in the form in which an API server would store it, as far as that decides anything here.
//!
//! - A field that is null is absent: structural schemas prune nulls of fields that are not nullable
//!   (`k8s.io/apiextensions-apiserver`, `PruneNonNullableNullsWithoutDefaults`; no field that is read is nullable), and a
//!   null decoded into one of Kubernetes' own types leaves the field unset. Items of lists are not pruned: a null item is
//!   refused.
//! - A null in a map of texts is an empty text, where Kubernetes decodes the map itself: labels, annotations, selectors.
//! - A number without a fraction is whole however it is written (`80.0`, `7e1`): kubectl makes JSON of YAML
//!   (`sigs.k8s.io/yaml`), and Go writes such a float without a point.
//! - A target port that is 0 or empty is the port itself (`k8s.io/kubernetes`, `pkg/apis/core/v1/defaults.go`,
//!   `SetDefaults_Service`).

use serde_json::{Map, Value};

use crate::model::Kind;

/// Maps of texts that Kubernetes decodes itself, by the names of their fields.
const MAPS_OF_TEXTS: [&str; 3] = ["labels", "annotations", "matchLabels"];

/// Gives an object its stored form.
pub(crate) fn as_stored(kind: Kind, object: &mut Value) {
    store(object);
    let Value::Object(fields) = object else { return };
    // Outside its metadata, a custom resource is pruned by its schema; the pod template of one is Kubernetes' own again.
    let is_decoded = !is_custom(kind);
    for (field, value) in fields.iter_mut() {
        match field.as_str() {
            "metadata" => prune(value, true),
            _ => prune(value, is_decoded),
        }
    }
    fields.retain(|_, value| !value.is_null());
    if kind == Kind::Service {
        default_target_ports(object);
    }
}

/// Whether the API server knows the kind by its CRD alone.
fn is_custom(kind: Kind) -> bool {
    !["", "apps", "batch", "discovery.k8s.io", "argoproj.io", "numaflow.numaproj.io"].contains(&kind.served().group)
}

/// Makes numbers whole that are written as if they were not.
fn store(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(store),
        Value::Object(fields) => fields.values_mut().for_each(store),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "only what is whole and within the range is taken"
)]
fn whole(number: f64) -> Option<i64> {
    // The least float that no i64 holds, 2^63.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (number.trunc() == number && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

/// Drops fields that are null; in maps of texts that Kubernetes decodes, they are empty texts.
fn prune(value: &mut Value, is_decoded: bool) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                if is_decoded && (MAPS_OF_TEXTS.contains(&field.as_str()) || field == "selector" && is_flat(value)) {
                    empty_texts(value);
                }
                prune(value, is_decoded);
            }
            fields.retain(|_, value| !value.is_null());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, is_decoded)),
        _ => {}
    }
}

/// Whether a selector is a map of texts, as a Service has it, and no selector of labels as a Deployment has it.
fn is_flat(selector: &Value) -> bool {
    selector.as_object().is_some_and(|fields| fields.values().all(|value| value.is_null() || value.is_string()))
        && selector.get("matchLabels").is_none()
        && selector.get("matchExpressions").is_none()
}

fn empty_texts(map: &mut Value) {
    for value in map.as_object_mut().into_iter().flat_map(Map::values_mut).filter(|value| value.is_null()) {
        *value = "".into();
    }
}

fn default_target_ports(service: &mut Value) {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if port.get("targetPort").is_some_and(|target| *target == 0 || *target == "") {
            port.remove("targetPort");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(kind: Kind, mut object: Value) -> Value {
        as_stored(kind, &mut object);
        object
    }

    #[test]
    fn null_is_absent_at_every_depth_but_not_as_an_item() {
        let policy = json!({
            "metadata": {"name": "a", "labels": {"identity": "pay", "env": null}, "annotations": null},
            "spec": {"selector": null, "policy": [{"dnsPrefix": "default", "target": null}, {"target": [{"weight": null}]}, null]},
            "status": null,
        });
        assert_eq!(
            stored(Kind::GlobalTrafficPolicy, policy),
            json!({
                "metadata": {"name": "a", "labels": {"identity": "pay", "env": ""}},
                "spec": {"policy": [{"dnsPrefix": "default"}, {"target": [{}]}, null]},
            })
        );
        // What a schema describes is pruned; what Kubernetes decodes becomes an empty text.
        let selector = json!({"spec": {"selector": {"identity": null}}});
        assert_eq!(stored(Kind::GlobalTrafficPolicy, selector.clone()), json!({"spec": {"selector": {}}}));
        assert_eq!(stored(Kind::Service, selector), json!({"spec": {"selector": {"identity": ""}}}));
        let deployment = json!({"spec": {"replicas": null, "selector": {"matchLabels": null}, "template": {"metadata": {"labels": {"a": null}}}}});
        assert_eq!(
            stored(Kind::Deployment, deployment),
            json!({"spec": {"selector": {}, "template": {"metadata": {"labels": {"a": ""}}}}})
        );
        let rule = json!({"spec": {"host": null, "subsets": [{"name": "a", "labels": {"v": null}}]}});
        assert_eq!(stored(Kind::DestinationRule, rule), json!({"spec": {"subsets": [{"name": "a", "labels": {}}]}}));
    }

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        let numbers = json!({"a": [80.0, 7e1, 70.5, -0.0, 1e30, 5]});
        assert_eq!(stored(Kind::Dependency, numbers).to_string(), r#"{"a":[80,70,70.5,0,1e+30,5]}"#);
    }

    #[test]
    fn a_target_port_of_nothing_is_the_port() {
        let service = json!({"spec": {"ports": [{"port": 80, "targetPort": 0}, {"port": 81, "targetPort": ""}, {"port": 82, "targetPort": 8}]}});
        assert_eq!(
            stored(Kind::Service, service),
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}, {"port": 82, "targetPort": 8}]}})
        );
        for odd in [json!(5), json!({"spec": 5}), json!({"spec": {"ports": 5}}), json!({"spec": {"ports": [5]}})] {
            assert_eq!(stored(Kind::Service, odd.clone()), odd);
        }
    }
}
