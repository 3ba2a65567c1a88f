//! Whether an object fits its CRD, as an API server judges it, and in its words: the OpenAPI schema, and where that is
//! kept, the rules. Never looks at what the values mean.
//!
//! Knows the parts of OpenAPI that Tradewind's CRDs use; a test holds that there are no others.

use std::{collections::BTreeMap, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value};

use super::ManifestProblem;
use crate::{
    api,
    model::{Kind, nearest},
};

/// What the CRD of a kind asks for.
struct Asked {
    schema: Value,
    rules: CompiledSchema,
}

/// Tradewind's CRDs, by kind. Compiled once: it takes longer than to judge a thousand objects.
static CRDS: LazyLock<BTreeMap<Kind, Asked>> = LazyLock::new(|| {
    let crds = api::crds().into_iter().filter_map(|crd| {
        let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == crd.spec.names.kind)?;
        let schema = crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        let schema = serde_json::to_value(schema).expect("a schema serializes");
        Some((kind, Asked { rules: compile_schema(&schema), schema }))
    });
    crds.collect()
});

/// The problems of an object by the CRD of its kind; none for kinds without a CRD of Tradewind.
pub(super) fn check_object(kind: Kind, object: &Value, problems: &mut Vec<ManifestProblem>) {
    let Some(crd) = CRDS.get(&kind) else { return };
    let mut object = object.clone();
    // Every object has the first three, which schemas of CRDs do not describe. A status in a manifest is dropped unread.
    for key in ["apiVersion", "kind", "metadata", "status"] {
        object.as_object_mut().map(|fields| fields.remove(key));
    }
    let before = problems.len();
    check(&crd.schema, &object, "", problems);
    if problems[before..].iter().any(ManifestProblem::is_error) {
        return;
    }
    let broken = Validator::new().validate_compiled(&crd.rules, &object, None).err().into_iter().flatten();
    problems.extend(broken.map(|broken| ManifestProblem::error(broken.field_path, broken.message)));
}

/// The keywords that [`check`] judges, and those that say nothing about a value.
#[cfg(test)]
pub(super) const KEYWORDS: &[&str] = &[
    "additionalProperties",
    "description",
    "enum",
    "format",
    "items",
    "maximum",
    "maxItems",
    "maxLength",
    "minimum",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// Checks `value`, which is at `path`.
fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<ManifestProblem>) {
    let mut refuse = |message: String| problems.push(ManifestProblem::error(path, message));
    if let Some(wanted) = mismatch(schema, value) {
        return refuse(format!("must be of type {wanted}: \"{}\"", type_of(value)));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        refuse(format!("Unsupported value: {value}: supported values: {}", words.join(", ")));
    }
    if let Some(number) = value.as_i64() {
        let (least, most) = range(schema);
        if number < least {
            refuse(format!("should be greater than or equal to {least}"));
        }
        if number > most {
            refuse(format!("should be less than or equal to {most}"));
        }
    }
    let most = |keyword: &str| schema[keyword].as_u64().and_then(|most| usize::try_from(most).ok());
    match value {
        Value::String(text) => {
            if let Some(most) = most("maxLength").filter(|most| text.chars().count() > *most) {
                refuse(format!("is longer than {most} characters"));
            }
        }
        Value::Array(items) => {
            if let Some(most) = most("maxItems").filter(|most| items.len() > *most) {
                refuse(format!("must have at most {most} items"));
            }
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{path}[{index}]"), problems);
            }
        }
        Value::Object(fields) => check_fields(schema, fields, path, problems),
        _ => {}
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, path: &str, problems: &mut Vec<ManifestProblem>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(key) {
            problems.push(ManifestProblem::error(below(key), "Required value: it is missing"));
        }
    }
    let known = schema["properties"].as_object();
    for (key, value) in fields {
        if let Some(schema) = known.and_then(|known| known.get(key)) {
            check(schema, value, &below(key), problems);
        } else if schema["additionalProperties"].is_object() {
            check(&schema["additionalProperties"], value, &below(key), problems);
        } else if schema["x-kubernetes-preserve-unknown-fields"] != true {
            let missing =
                known.into_iter().flatten().map(|(known, _)| known).filter(|known| !fields.contains_key(*known));
            let meant = nearest(key, missing.map(String::as_str)).map(|known| format!("; is {known} meant?"));
            let message = format!("unknown field; API servers drop it{}", meant.unwrap_or_default());
            problems.push(ManifestProblem::warning(below(key), message));
        }
    }
}

/// The type that the schema wants, where the value has another.
fn mismatch<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    if schema["x-kubernetes-int-or-string"] == true {
        return (!value.is_string() && !is_integer(value)).then_some("integer or string");
    }
    let wanted = schema["type"].as_str()?;
    let fits = match wanted {
        "integer" => is_integer(value),
        "number" => value.is_number(),
        wanted => type_of(value) == wanted,
    };
    (!fits).then_some(wanted)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What a number may be, ends included.
#[expect(clippy::cast_possible_truncation, reason = "a CRD carries bounds as floats; these are whole")]
fn range(schema: &Value) -> (i64, i64) {
    let bound = |keyword: &str| schema[keyword].as_f64().map(|bound| bound as i64);
    let (least, most) = match schema["format"].as_str() {
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    (bound("minimum").unwrap_or(least), bound("maximum").unwrap_or(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    fn keywords(schema: &Value, found: &mut Vec<String>) {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            found.push(keyword.clone());
            match keyword.as_str() {
                "properties" => value.as_object().into_iter().flatten().for_each(|(_, schema)| keywords(schema, found)),
                "items" | "additionalProperties" => keywords(value, found),
                _ => {}
            }
        }
    }

    #[test]
    fn every_schema_keyword_of_the_crds_is_checked() {
        let mut found = Vec::new();
        for crd in api::crds() {
            let crd = serde_json::to_value(crd).unwrap();
            keywords(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
        }
        assert!(found.len() > 100, "the schemas were found");
        found.retain(|keyword| !KEYWORDS.contains(&keyword.as_str()));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn values_are_judged_as_an_api_server_does() {
        let schema = serde_json::json!({"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "maxLength": 3},
            "count": {"type": "integer", "format": "int32", "minimum": 0.0},
            "mode": {"x-kubernetes-int-or-string": true, "enum": [0, "OFF"]},
            "list": {"type": "array", "maxItems": 1, "items": {"type": "boolean"}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let judge = |value: Value| {
            let mut problems = Vec::new();
            check(&schema, &value, "", &mut problems);
            problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>()
        };
        use serde_json::json;
        assert_eq!(judge(json!({"name": "a", "count": 1, "mode": "OFF", "free": {"x": [1]} })), [""; 0]);
        assert_eq!(judge(json!({})), ["name: Required value: it is missing"]);
        assert_eq!(judge(json!({"name": "long"})), ["name: is longer than 3 characters"]);
        assert_eq!(judge(json!({"name": "a", "count": 1.5})), ["count: must be of type integer: \"number\""]);
        assert_eq!(judge(json!({"name": "a", "count": -1})), ["count: should be greater than or equal to 0"]);
        assert!(judge(json!({"name": "a", "count": 1_u64 << 31}))[0].contains("less than or equal to 2147483647"));
        assert!(
            judge(json!({"name": "a", "mode": 2}))[0].starts_with("mode: Unsupported value: 2: supported values: 0,")
        );
        assert!(judge(json!({"name": "a", "mode": true}))[0].contains("integer or string"));
        assert_eq!(judge(json!({"name": "a", "list": [true, 1]})).len(), 2);
        assert_eq!(judge(json!({"name": "a", "map": {"x": 1}})), ["map.x: must be of type string: \"integer\""]);
        assert_eq!(
            judge(json!({"name": "a", "cuont": 1})),
            ["cuont: unknown field; API servers drop it; is count meant?"]
        );
        assert_eq!(judge(json!([])), [": must be of type object: \"array\""]);
    }
}
