//! What an object that was read says, small enough to keep of every object: so that the log of a write tells what changes.
//!
//! Values that are numbers are kept; of all others only whether they differ. Decides nothing about what is written.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

use super::{Endpoint, Object, keys};

/// Most changes that a summary names; the others are counted.
const MAX_CHANGES: usize = 3;
/// Longest name of one change in a summary, in characters.
const MAX_CHANGE_CHARS: usize = 90;
/// Longest value that a summary quotes, in characters.
const MAX_VALUE_CHARS: usize = 40;

/// What an object says, without its texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    endpoints: Box<[EndpointShape]>,
    /// Hash of the path of each field, and its value, sorted.
    fields: Box<[(u32, Scalar)]>,
}

/// A number up to 2^31, or the hash of anything else with the highest bit set.
type Scalar = u32;

const IS_HASH: Scalar = 1 << 31;

#[derive(Debug, Clone, PartialEq, Eq)]
struct EndpointShape {
    /// Cluster and address.
    name: Box<str>,
    weight: u32,
    locality: u32,
    /// Ports, labels and network.
    rest: u32,
}

impl Shape {
    /// What an object says.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let mut fields: Vec<(u32, Scalar)> =
            fields(object).iter().map(|(path, value)| (hash(path), scalar(value))).collect();
        fields.sort_unstable();
        Self { endpoints: endpoints(object).iter().map(EndpointShape::of).collect(), fields: fields.into() }
    }
}

impl EndpointShape {
    fn of(endpoint: &Endpoint) -> Self {
        let cluster = endpoint.labels.get(keys::ENDPOINT_CLUSTER);
        let name =
            cluster.map_or_else(|| endpoint.address.clone(), |cluster| format!("{cluster}/{}", endpoint.address));
        Self {
            name: name.into(),
            weight: endpoint.weight,
            locality: hash(&endpoint.locality),
            rest: hash(&(&endpoint.ports, &endpoint.labels, &endpoint.network)),
        }
    }
}

/// What writing `after` over an object of the shape `before` changes, in words: bounded, on one line.
#[must_use]
pub fn changes(before: &Shape, after: &Object) -> String {
    let mut found = endpoint_changes(&before.endpoints, endpoints(after));
    let known: BTreeMap<u32, Scalar> = before.fields.iter().copied().collect();
    let fields = fields(after);
    for (path, value) in &fields {
        match known.get(&hash(path)).copied() {
            Some(was) if was == scalar(value) => {}
            Some(was) if was & IS_HASH == 0 && value.is_number() => found.push(format!("{path} {was}→{value}")),
            _ => found.push(match quoted(value) {
                Some(text) => format!("{path} is now {text}"),
                None => path.clone(),
            }),
        }
    }
    let still: std::collections::BTreeSet<u32> = fields.iter().map(|(path, _)| hash(path)).collect();
    match before.fields.iter().filter(|(path, _)| !still.contains(path)).count() {
        0 => {}
        1 => found.push("1 field removed".to_owned()),
        count => found.push(format!("{count} fields removed")),
    }
    if found.is_empty() {
        found.push("the order of its parts".to_owned());
    }
    summary(&found)
}

/// What changes in a list of names, in words, as [`changes`].
#[must_use]
pub fn list_changes(what: &str, before: &[String], after: &[String]) -> String {
    let added = after.iter().filter(|name| !before.contains(name)).map(|name| format!("{what} {name} added"));
    let removed = before.iter().filter(|name| !after.contains(name)).map(|name| format!("{what} {name} removed"));
    let mut found: Vec<String> = added.chain(removed).collect();
    if found.is_empty() {
        found.push(format!("the places of its {what}s"));
    }
    summary(&found)
}

fn endpoint_changes(before: &[EndpointShape], after: &[Endpoint]) -> Vec<String> {
    fn by_name(list: &[EndpointShape]) -> BTreeMap<&str, &EndpointShape> {
        list.iter().map(|endpoint| (&*endpoint.name, endpoint)).collect()
    }
    let after: Vec<EndpointShape> = after.iter().map(EndpointShape::of).collect();
    let (was, now) = (by_name(before), by_name(&after));
    let mut found = Vec::new();
    for (name, endpoint) in &now {
        match was.get(name) {
            None if endpoint.weight > 0 => found.push(format!("endpoint {name} added, weight {}", endpoint.weight)),
            None => found.push(format!("endpoint {name} added")),
            Some(known) => {
                if known.weight != endpoint.weight {
                    found.push(format!("endpoints[{name}].weight {}→{}", known.weight, endpoint.weight));
                }
                if known.locality != endpoint.locality {
                    found.push(format!("endpoints[{name}].locality"));
                }
                if known.rest != endpoint.rest {
                    found.push(format!("endpoints[{name}] ports or labels"));
                }
            }
        }
    }
    let removed = was.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("endpoint {name} removed"));
    found.extend(removed);
    // What moves traffic most comes first.
    found.sort_by_key(|text| !(text.contains("].weight ") || text.ends_with(" removed") || text.contains(" added")));
    found
}

/// The changes on one line, the first of them where there are many.
fn summary(found: &[String]) -> String {
    let mut text = String::new();
    for change in found.iter().take(MAX_CHANGES) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Names and values come from users.
        let mut chars = change.chars().map(|of| if of.is_control() { ' ' } else { of });
        text.extend(chars.by_ref().take(MAX_CHANGE_CHARS));
        if chars.next().is_some() {
            text.push('…');
        }
    }
    let more = found.len().saturating_sub(MAX_CHANGES);
    if more > 0 {
        write!(text, " and {more} more").expect("a text takes all");
    }
    text
}

fn endpoints(object: &Object) -> &[Endpoint] {
    match object {
        Object::ServiceEntry(entry) => &entry.spec.endpoints,
        _ => &[],
    }
}

/// The fields of an object with their paths. Endpoints have their own; marks are one field, because their values are
/// internal.
fn fields(object: &Object) -> Vec<(String, Value)> {
    let mut value = serde_json::to_value(object).expect("plain data serializes");
    let mut fields = Vec::new();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let marks = ["labels", "annotations"].map(|key| metadata.remove(key).unwrap_or_default());
        fields.push(("labels and annotations".to_owned(), Value::from(marks.to_vec())));
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        if matches!(object, Object::ServiceEntry(_)) {
            spec.remove("endpoints");
        }
        walk(String::new(), Value::Object(std::mem::take(spec)), &mut fields);
    }
    fields
}

fn walk(path: String, value: Value, fields: &mut Vec<(String, Value)>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.into_iter().for_each(|(key, value)| walk(join(&key), value, fields)),
        // Routes and their destinations: elements of a list of objects are told apart by their places.
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let elements = list.into_iter().enumerate();
            elements.for_each(|(at, value)| walk(format!("{path}[{at}]"), value, fields));
        }
        value => fields.push((path, value)),
    }
}

/// A value that is short enough to be shown.
fn quoted(value: &Value) -> Option<String> {
    match value {
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::String(text) if text.chars().count() <= MAX_VALUE_CHARS => Some(text.clone()),
        _ => None,
    }
}

fn scalar(value: &Value) -> Scalar {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| number & IS_HASH == 0);
    number.unwrap_or_else(|| hash(&value.to_string()) | IS_HASH)
}

fn hash<T: Hash + ?Sized>(of: &T) -> u32 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    // Half of it is enough to tell apart what one object says.
    (hasher.finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{istio::OwnedKeys, model::Kind};

    fn object(kind: Kind, spec: Value) -> Object {
        let metadata = json!({"name": "a", "namespace": "sync", "annotations": {"tradewind.io/origin": "c/n/a"}});
        let owned = OwnedKeys { identity: "identity".into(), environment: "env".into() };
        Object::read(kind, &json!({"metadata": metadata, "spec": spec}), &owned).unwrap()
    }

    fn endpoint(cluster: &str, weight: u32) -> Value {
        json!({"address": format!("{cluster}.example"), "weight": weight, "locality": "us-west",
               "labels": {"tradewind.io/cluster": cluster}})
    }

    fn entry(endpoints: &[Value], resolution: &str) -> Value {
        json!({"hosts": ["a.global"], "resolution": resolution, "endpoints": endpoints})
    }

    fn said(kind: Kind, before: Value, after: Value) -> String {
        changes(&Shape::of(&object(kind, before)), &object(kind, after))
    }

    #[test]
    fn what_changes_is_named_with_its_numbers() {
        let (east, west) = (|weight| endpoint("east", weight), |weight| endpoint("west", weight));
        let mut moved = east(5);
        moved["locality"] = json!("eu");
        let mut ports = east(5);
        ports["ports"] = json!({"http": 15443});
        for (before, after, expected) in [
            (vec![east(95)], vec![east(60)], "endpoints[east/east.example].weight 95→60"),
            (
                vec![east(95), west(5)],
                vec![east(60), west(40)],
                "endpoints[east/east.example].weight 95→60, endpoints[west/west.example].weight 5→40",
            ),
            (vec![east(5)], vec![east(5), west(7)], "endpoint west/west.example added, weight 7"),
            (vec![east(5), west(0)], vec![east(5)], "endpoint west/west.example removed"),
            (
                vec![east(5)],
                vec![west(5)],
                "endpoint west/west.example added, weight 5, endpoint east/east.example removed",
            ),
            (vec![east(5)], vec![moved], "endpoints[east/east.example].locality"),
            (vec![east(5)], vec![ports], "endpoints[east/east.example] ports or labels"),
            (vec![east(5), west(5)], vec![west(5), east(5)], "the order of its parts"),
        ] {
            assert_eq!(said(Kind::ServiceEntry, entry(&before, "DNS"), entry(&after, "DNS")), expected);
        }
        let text = said(Kind::ServiceEntry, entry(&[], "DNS"), entry(&[east(1)], "STATIC"));
        assert_eq!(text, "endpoint east/east.example added, weight 1, resolution is now STATIC");
    }

    #[test]
    fn fields_of_other_kinds_are_named_by_their_paths() {
        let route = |weight: u32| json!({"hosts": ["a.global"], "http": [{"route": [{"weight": weight}]}]});
        assert_eq!(said(Kind::VirtualService, route(95), route(60)), "http[0].route[0].weight 95→60");
        let rule = |interval: &str| json!({"host": "a", "trafficPolicy": {"outlierDetection": {"interval": interval}}});
        assert_eq!(
            said(Kind::DestinationRule, rule("10s"), rule("5s")),
            "trafficPolicy.outlierDetection.interval is now 5s"
        );
        let bare = json!({"host": "a", "trafficPolicy": {}});
        assert_eq!(said(Kind::DestinationRule, rule("10s"), bare), "1 field removed");
        // A text of its user cannot break the line, and a long one is not quoted.
        let text = said(Kind::VirtualService, json!({"x": "a"}), json!({"x": "a\nlevel=error"}));
        assert_eq!(text, "x is now a level=error");
        assert_eq!(said(Kind::VirtualService, json!({"x": "a"}), json!({"x": "b".repeat(99)})), "x");
    }

    #[test]
    fn a_summary_is_bounded() {
        let many =
            |weight| (0..50).map(|at| endpoint(&format!("{at:02}{}", "x".repeat(99)), weight)).collect::<Vec<_>>();
        let text = said(Kind::ServiceEntry, entry(&many(1), "DNS"), entry(&many(2), "DNS"));
        assert!(text.ends_with(" and 47 more"), "{text}");
        assert!(text.chars().count() <= 300, "{}", text.chars().count());
    }
}
