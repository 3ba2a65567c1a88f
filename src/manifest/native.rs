//! What an API server refuses of any object, and of the kinds of Kubernetes' own, as far as it decides something here. Types
//! of fields are judged by whoever reads them.

use serde_json::Value;

use super::Problem;
use crate::model::Kind;

/// What holds for the metadata of every object.
pub(super) fn check_metadata(metadata: &Value, problems: &mut Vec<Problem>) {
    let mut refuse = |path: &str, message: String| problems.push(Problem::error(path, message));
    match &metadata["name"] {
        Value::String(name) if is_object_name(name) => {}
        Value::String(name) if !name.is_empty() => {
            let rule = "lower case letters, digits, '-' and '.' are allowed, at most 253, beginning and ending with a letter or digit";
            refuse("metadata.name", format!("{name:?} cannot name an object; {rule}"));
        }
        Value::Null | Value::String(_) if metadata["generateName"].is_string() => {}
        Value::Null | Value::String(_) => refuse("metadata.name", "is missing".into()),
        _ => refuse("metadata.name", "must be a text; put it in quotes".into()),
    }
    if !matches!(metadata["namespace"], Value::Null | Value::String(_)) {
        refuse("metadata.namespace", "must be a text; put it in quotes".into());
    }
    for map in ["labels", "annotations"] {
        match &metadata[map] {
            Value::Null => {}
            Value::Object(pairs) => {
                for (key, value) in pairs.iter().filter(|(_, value)| !value.is_string()) {
                    refuse(&format!("metadata.{map}.{key}"), format!("must be a text; write \"{value}\" in quotes"));
                }
            }
            _ => refuse(&format!("metadata.{map}"), "must be a map of texts".into()),
        }
    }
}

/// RFC 1123, as API servers check it.
fn is_object_name(name: &str) -> bool {
    let edge = |part: &str, at: Option<u8>| {
        !part.is_empty() && at.is_some_and(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
    };
    name.len() <= 253
        && name.split('.').all(|part| {
            edge(part, part.bytes().next())
                && edge(part, part.bytes().last())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// What holds for one kind.
pub(super) fn check(kind: Kind, object: &Value, problems: &mut Vec<Problem>) {
    if kind == Kind::Service {
        check_ports(&object["spec"]["ports"], problems);
    }
}

/// Port numbers of a Service (`k8s.io/kubernetes`, `pkg/apis/core/validation`, `validateServicePort`).
fn check_ports(ports: &Value, problems: &mut Vec<Problem>) {
    for (index, port) in ports.as_array().into_iter().flatten().enumerate().filter(|(_, port)| port.is_object()) {
        for field in ["port", "targetPort"] {
            let path = format!("spec.ports[{index}].{field}");
            match port[field].as_i64() {
                Some(1..=65535) => {}
                Some(number) => {
                    let message = format!("Invalid value: {number}: must be between 1 and 65535, inclusive");
                    problems.push(Problem::error(path, message));
                }
                None if field == "port" && port[field].is_null() => {
                    problems.push(Problem::error(path, "Required value: it is missing"));
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn port_numbers_are_those_that_an_api_server_takes() {
        let said = |ports: Value| {
            let mut problems = Vec::new();
            check(Kind::Service, &json!({"spec": {"ports": ports}}), &mut problems);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            said(json!([{"port": 1}, {"port": 65535, "targetPort": "http"}, {"port": 80, "targetPort": 8080}])),
            [""; 0]
        );
        let refused = "must be between 1 and 65535, inclusive";
        assert_eq!(said(json!([{"port": 0}])), [format!("spec.ports[0].port: Invalid value: 0: {refused}")]);
        assert_eq!(said(json!([{"port": -1}])), [format!("spec.ports[0].port: Invalid value: -1: {refused}")]);
        assert_eq!(
            said(json!([{"port": 80}, {"port": 81, "targetPort": 70000}])),
            [format!("spec.ports[1].targetPort: Invalid value: 70000: {refused}")]
        );
        assert_eq!(said(json!([{"name": "http"}])), ["spec.ports[0].port: Required value: it is missing"]);
        // Types are for whoever reads them.
        assert_eq!(said(json!([{"port": "80"}, 5])), [""; 0]);
    }
}
