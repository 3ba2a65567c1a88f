//! What parsers and decoders say, in the words of Kubernetes. Their own are for programmers: names of types and functions
//! help no owner of a manifest, and values that they quote may be secret.

use serde_saphyr::Error as YamlError;

/// A text that exceeds a budget.
pub(crate) const TOO_LARGE: &str = "it is too large or too deeply nested to be read";

/// Why a text is no YAML, without the place, which the caller knows better.
pub(crate) fn of_yaml(error: &YamlError) -> String {
    match error {
        YamlError::WithSnippet { error, .. } | YamlError::AliasError { error, .. } => of_yaml(error),
        YamlError::MultipleDocuments { .. } => {
            "a second document begins after lines that end with carriage returns alone, and kubectl reads only the first: \
             save the file with LF or CRLF line ends"
                .to_owned()
        }
        YamlError::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key} is there twice"),
        YamlError::DuplicateMappingKey { .. } => "a key is there twice".to_owned(),
        YamlError::UnknownAnchor { .. } => "an alias names an anchor that is not there".to_owned(),
        YamlError::RecursiveReferencesRequireWeakTypes { .. } => "an alias stands within its own anchor".to_owned(),
        YamlError::MergeValueNotMapOrSeqOfMaps { .. } => {
            "the value of a merge key (<<) must be an object or a list of objects".to_owned()
        }
        YamlError::NonFiniteFloat { .. } => "a number must be finite".to_owned(),
        YamlError::SerdeMissingField { field, .. } => format!("{field} is missing"),
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let known = if expected.is_empty() { String::new() } else { format!("; known are {}", expected.join(", ")) };
            format!("{field} is not known here{known}")
        }
        YamlError::SerdeUnknownVariant { expected, .. } => format!("must be one of {}", expected.join(", ")),
        YamlError::SerdeInvalidType { unexpected, expected, .. } => {
            of_decoder(&format!("invalid type: {unexpected}, expected {expected}"))
        }
        YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            of_decoder(&format!("invalid value: {unexpected}, expected {expected}"))
        }
        YamlError::Message { msg, .. } | YamlError::ExternalMessage { msg, .. } => of_decoder(&scanned(msg)),
        YamlError::Unexpected { expected, .. } => of_expectation(expected),
        YamlError::NullIntoString { .. } => "must be of type string: \"null\"".to_owned(),
        YamlError::InvalidScalar { .. } => "the value has another type than is expected here".to_owned(),
        YamlError::Eof { .. } => "the file ends too early".to_owned(),
        YamlError::UnsupportedTag { .. }
        | YamlError::BinaryNotUtf8 { .. }
        | YamlError::InvalidBinaryBase64 { .. }
        | YamlError::TaggedScalarCannotDeserializeIntoString { .. } => "a tag (!) is not supported here".to_owned(),
        YamlError::FoldedBlockScalarMustIndentContent { .. } | YamlError::IndentationError { .. } => {
            "the indentation is wrong".to_owned()
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => TOO_LARGE.to_owned(),
        _ => "this is not valid YAML".to_owned(),
    }
}

/// The scanner's words without its place.
fn scanned(text: &str) -> String {
    text.split(" at line ").next().unwrap_or_default().trim().to_owned()
}

fn of_expectation(expected: &str) -> String {
    format!("must be of type {}", type_expected(expected))
}

/// Why a value does not have the form of its field, in the words of an API server.
pub(crate) fn of_decoder(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    let quoted = |rest: &str| rest.split('`').nth(1).unwrap_or_default().to_owned();
    if let Some((found, expected)) =
        text.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return format!("must be of type {}: \"{}\"", type_expected(expected), type_found(found));
    }
    if let Some((found, _)) = text.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return match type_found(found) {
            "integer" | "number" => format!("{} is out of range", quoted(found)),
            found => format!("has a value that is not allowed: \"{found}\""),
        };
    }
    if text.starts_with("invalid length ") {
        return "has too few or too many items".to_owned();
    }
    if let Some(rest) = text.strip_prefix("missing field ") {
        return format!("{}: Required value", quoted(rest));
    }
    if let Some(rest) = text.strip_prefix("duplicate field ") {
        return format!("the key {} is there twice", quoted(rest));
    }
    if let Some(rest) = text.strip_prefix("unknown field ") {
        return format!("{} is not known here", quoted(rest));
    }
    if let Some((_, expected)) = text.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let words: Vec<String> = expected.split('`').skip(1).step_by(2).map(|word| format!("\"{word}\"")).collect();
        return format!("Unsupported value: supported values: {}", words.join(", "));
    }
    text.to_owned()
}

/// The OpenAPI type of what a decoder wants.
fn type_expected(expected: &str) -> &'static str {
    let expected = expected.trim_start_matches("a ").trim_start_matches("an ");
    match expected {
        "string" | "borrowed string" | "str" | "character" | "Time" | "MicroTime" | "Quantity" => "string",
        "boolean" | "bool" => "boolean",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "isize" | "usize" | "i128" | "u128" => "integer",
        "f32" | "f64" => "number",
        "IntOrString" => "integer or string",
        _ if expected.contains("sequence") || expected.contains("array") || expected.contains("tuple") => "array",
        _ if expected.contains("integer or string") => "integer or string",
        _ if expected.contains("integer") => "integer",
        _ if expected.contains("string") => "string",
        _ => "object",
    }
}

/// The OpenAPI type of what a decoder found.
fn type_found(found: &str) -> &'static str {
    match found.split(' ').next().unwrap_or_default() {
        "map" | "struct" => "object",
        "sequence" | "tuple" => "array",
        "integer" => "integer",
        "floating" => "number",
        "boolean" => "boolean",
        "string" | "character" | "byte" => "string",
        "null" | "unit" | "Option" => "null",
        _ => "object",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Service};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn said<T: DeserializeOwned>(value: Value) -> String {
        of_decoder(&serde_json::from_value::<T>(value).err().unwrap().to_string())
    }

    #[test]
    fn decoding_errors_have_the_wording_of_api_servers() {
        let ports = |ports: Value| json!({"spec": {"ports": ports}});
        for (object, words) in [
            (ports(json!({"a": 1})), "must be of type array: \"object\""),
            (ports(json!([5])), "must be of type object: \"integer\""),
            (ports(json!([{"port": "s3cret"}])), "must be of type integer: \"string\""),
            (ports(json!([{"port": 1.5}])), "must be of type integer: \"number\""),
            (ports(json!([{"port": 8_589_934_592_u64}])), "8589934592 is out of range"),
            (ports(json!([{"targetPort": true}])), "must be of type integer or string: \"boolean\""),
            (ports(json!([null])), "must be of type object: \"null\""),
            (json!({"metadata": {"labels": {"a": 1}}}), "must be of type string: \"integer\""),
            (json!({"metadata": {"labels": ["s3cret"]}}), "must be of type object: \"array\""),
            (json!({"spec": []}), "must be of type object: \"array\""),
            (json!({"spec": {"publishNotReadyAddresses": "yes"}}), "must be of type boolean: \"string\""),
        ] {
            assert_eq!(said::<Service>(object), words);
        }
        let time = said::<Node>(json!({"metadata": {"creationTimestamp": "s3cret"}}));
        assert!(!time.contains("s3cret") && !time.contains("jiff"), "{time}");
    }
}
