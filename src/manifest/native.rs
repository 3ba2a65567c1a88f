//! What an API server refuses of the metadata of any object. Types of other fields are judged by whoever reads them.

use serde_json::Value;

use super::ManifestProblem;

/// What holds for the metadata of every object.
pub(super) fn check_metadata(metadata: &Value, problems: &mut Vec<ManifestProblem>) {
    let mut refuse = |path: &str, message: String| problems.push(ManifestProblem::error(path, message));
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
