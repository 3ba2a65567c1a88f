//! What an API server refuses of the metadata of any object. Types of other fields are judged by whoever reads them.

use serde_json::Value;

use super::ManifestProblem;
use crate::model::{is_dns_label, is_dns_subdomain};

/// What holds for the metadata of every object.
pub(super) fn check_metadata(metadata: &Value, problems: &mut Vec<ManifestProblem>) {
    let mut refuse = |path: &str, message: String| problems.push(ManifestProblem::error(path, message));
    match &metadata["name"] {
        Value::String(name) if is_dns_subdomain(name) => {}
        Value::String(name) if !name.is_empty() => {
            let rule = "lower case letters, digits, '-' and '.' are allowed, at most 253, beginning and ending with a letter or digit";
            refuse("metadata.name", format!("{name:?} cannot name an object; {rule}"));
        }
        Value::Null | Value::String(_) if metadata["generateName"].is_string() => {}
        Value::Null | Value::String(_) => refuse("metadata.name", "is missing".into()),
        _ => refuse("metadata.name", "must be a text; put it in quotes".into()),
    }
    match &metadata["namespace"] {
        Value::String(namespace) if !namespace.is_empty() && !is_dns_label(namespace) => {
            let rule = "lower case letters, digits and '-' are allowed, at most 63, beginning and ending with a letter or digit";
            refuse("metadata.namespace", format!("{namespace:?} cannot name a namespace; {rule}"));
        }
        Value::Null | Value::String(_) => {}
        _ => refuse("metadata.namespace", "must be a text; put it in quotes".into()),
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
