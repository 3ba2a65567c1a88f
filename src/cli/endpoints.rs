//! Which endpoints of ServiceEntries differ: what `tradewind diff` counts, and all that `--endpoints` shows.
//!
//! An endpoint is its host, address, ports, locality and weight. Labels, marks and everything else of the object do not count.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{diff::Change, output};
use crate::model::{ClusterName, Kind};

/// One endpoint that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct EndpointChange {
    /// Cluster whose ServiceEntry it stands in.
    cluster: ClusterName,
    host: String,
    /// As it stands; absent when it is new.
    before: Option<String>,
    /// As it would stand; absent when it goes.
    after: Option<String>,
}

/// The endpoints that differ, in the order of the changes.
pub(super) fn changed(changes: &[Change]) -> Vec<EndpointChange> {
    changes.iter().filter(|change| change.id.kind == Kind::ServiceEntry).flat_map(of_entry).collect()
}

/// What the operator wants to know first.
pub(super) fn summary(changes: &[Change], endpoints: usize) -> String {
    if changes.is_empty() {
        return "nothing differs".to_owned();
    }
    let entries: Vec<&Change> = changes.iter().filter(|change| change.id.kind == Kind::ServiceEntry).collect();
    let moving = entries.iter().filter(|change| !of_entry(change).is_empty()).count();
    let (objects, objects_differ) = counted(changes.len(), "object differs", "objects differ");
    let (all, of_all) = counted(entries.len(), "ServiceEntry", "ServiceEntries");
    let (endpoints, change) = counted(endpoints, "endpoint changes", "endpoints change");
    format!("{objects} {objects_differ}; {moving} of {all} {of_all} with other endpoints; {endpoints} {change}")
}

fn counted(count: usize, one: &'static str, many: &'static str) -> (usize, &'static str) {
    (count, if count == 1 { one } else { many })
}

/// A table of them; nothing when there are none.
pub(super) fn table(endpoints: &[EndpointChange]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let mut table = output::table(&["HOST", "CLUSTER", "BEFORE", "AFTER"]);
    for change in endpoints {
        let shown = |endpoint: &Option<String>| endpoint.clone().unwrap_or_else(|| "-".into());
        table.add_row([change.host.clone(), change.cluster.to_string(), shown(&change.before), shown(&change.after)]);
    }
    output::flush_left(&table)
}

/// Endpoints by host, address and ports; behind them locality and weight.
type Endpoints = BTreeMap<(String, String), Vec<String>>;

fn of_entry(change: &Change) -> Vec<EndpointChange> {
    let (mut before, mut after) = (endpoints(change.before.as_ref()), endpoints(change.after.as_ref()));
    let mut keys: Vec<(String, String)> = before.keys().chain(after.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys {
        let (mut old, mut new) = (before.remove(&key).unwrap_or_default(), after.remove(&key).unwrap_or_default());
        // Equal ones cancel each other, however often an address stands there.
        old.retain(|one| match new.iter().position(|other| other == one) {
            Some(at) => {
                new.remove(at);
                false
            }
            None => true,
        });
        let shown = |rest: Option<&String>| rest.map(|rest| format!("{}{rest}", key.1));
        let one = |index: usize| EndpointChange {
            cluster: change.cluster.clone(),
            host: key.0.clone(),
            before: shown(old.get(index)),
            after: shown(new.get(index)),
        };
        found.extend((0..old.len().max(new.len())).map(one));
    }
    found
}

fn endpoints(entry: Option<&Value>) -> Endpoints {
    let mut found = Endpoints::new();
    let Some(spec) = entry.map(|entry| &entry["spec"]) else { return found };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for host in list(&spec["hosts"]) {
        for endpoint in list(&spec["endpoints"]) {
            let ports: Vec<String> = match endpoint["ports"].as_object() {
                Some(ports) if ports.len() == 1 => ports.values().map(Value::to_string).collect(),
                ports => ports.into_iter().flatten().map(|(name, number)| format!("{name}={number}")).collect(),
            };
            let address = format!("{}:{}", text(&endpoint["address"]), ports.join(","));
            let locality = Some(text(&endpoint["locality"])).filter(|locality| !locality.is_empty());
            let weight = endpoint["weight"].as_u64().filter(|weight| *weight > 0);
            let locality = locality.map(|locality| format!(" in {locality}")).unwrap_or_default();
            let weight = weight.map(|weight| format!(" weight {weight}")).unwrap_or_default();
            found.entry((text(&host), address)).or_default().push(locality + &weight);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ObjectId;

    fn change(before: Value, after: Value) -> Change {
        let entry = |endpoints: Value| {
            (!endpoints.is_null()).then(
                || json!({"metadata": {"labels": {"any": "thing"}}, "spec": {"hosts": ["h"], "endpoints": endpoints}}),
            )
        };
        Change {
            cluster: ClusterName::parse("east").unwrap(),
            id: ObjectId::new(Kind::ServiceEntry, "sync", "h-se"),
            verb: "update",
            before: entry(before),
            after: entry(after),
        }
    }

    fn shown(before: Value, after: Value) -> Vec<String> {
        let found = changed(&[change(before, after)]);
        found.iter().map(|c| format!("{:?} -> {:?}", c.before.as_deref(), c.after.as_deref())).collect()
    }

    #[test]
    fn address_port_locality_and_weight_count_and_nothing_else() {
        let one = json!([{"address": "a", "ports": {"http": 1}, "locality": "r", "labels": {"x": "y"}},
                         {"address": "b", "ports": {"http": 2}, "locality": "r"}]);
        let marked = json!([{"address": "b", "ports": {"http": 2}, "locality": "r", "labels": {"z": "z"}, "weight": 0},
                            {"address": "a", "ports": {"http": 1}, "locality": "r"}]);
        assert_eq!(shown(one.clone(), marked), [""; 0], "order and labels are no difference");
        let other = json!([{"address": "a", "ports": {"http": 1}, "locality": "q", "weight": 3},
                           {"address": "b", "ports": {"http": 9}, "locality": "r"}]);
        assert_eq!(
            shown(one.clone(), other),
            [
                "Some(\"a:1 in r\") -> Some(\"a:1 in q weight 3\")",
                "Some(\"b:2 in r\") -> None",
                "None -> Some(\"b:9 in r\")",
            ]
        );
        assert_eq!(shown(one.clone(), Value::Null).len(), 2, "a removal takes its endpoints along");
        let twice = json!([{"address": "a", "ports": {"http": 1}}, {"address": "a", "ports": {"http": 1}}]);
        let once = json!([{"address": "a", "ports": {"http": 1}}]);
        assert_eq!(shown(twice, once), ["Some(\"a:1\") -> None"]);
        let ports = json!([{"address": "a", "ports": {"http": 1, "tcp": 2}}]);
        assert_eq!(shown(Value::Null, ports), ["None -> Some(\"a:http=1,tcp=2\")"]);
    }

    #[test]
    fn the_summary_counts_entries_and_endpoints() {
        let moved = change(json!([{"address": "a"}]), json!([{"address": "b"}]));
        let changes = [moved, change(json!([{"address": "a"}]), json!([{"address": "a"}]))];
        let found = changed(&changes);
        assert_eq!(
            summary(&changes, found.len()),
            "2 objects differ; 1 of 2 ServiceEntries with other endpoints; 2 endpoints change"
        );
        assert_eq!(
            summary(&changes[..1], 1),
            "1 object differs; 1 of 1 ServiceEntry with other endpoints; 1 endpoint changes"
        );
        assert_eq!(summary(&[], 0), "nothing differs");
        assert!(table(&found).starts_with("HOST") && table(&[]).is_empty());
    }
}
