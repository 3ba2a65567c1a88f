//! The endpoints of a ServiceEntry as a table: what is written of each, and the decision behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    remove, set,
    yaml::{flow, read_value},
};
use crate::planning::DecidedEndpoint;

/// Columns that are no fields of an endpoint.
const DECIDED: [&str; 6] = ["tier", "share", "reason", "decided.cluster", "decided.locality", "decided.address"];
/// Columns that stand for a label of the endpoint.
const LABELS: [(&str, &str); 5] = [
    ("cluster", "tradewind.io/cluster"),
    ("direct", "tradewind.io/direct"),
    ("region", "tradewind.io/region"),
    ("zone", "tradewind.io/zone"),
    ("type", "type"),
];

/// Endpoints with the decisions behind them: the names of columns, then a row each.
pub fn table(endpoints: &[Value], decided: &[DecidedEndpoint], default: &Value, main_port: &str) -> Vec<Vec<String>> {
    let has_main_port_only = |endpoint: &Value| {
        endpoint["ports"].as_object().is_some_and(|ports| ports.len() == 1 && ports.contains_key(main_port))
    };
    let is_simple = endpoints.iter().all(has_main_port_only);
    let mut rows = Vec::<BTreeMap<String, String>>::new();
    let mut needed = BTreeSet::new();
    let absent = Value::Null;
    for at in 0..endpoints.len().max(decided.len()) {
        let endpoint = endpoints.get(at).unwrap_or(&absent);
        let mut row = BTreeMap::new();
        let mut fields = leaves(endpoint);
        let address = fields.remove("address").map_or_else(|| "-".to_owned(), |address| plain(&address));
        let port = &endpoint["ports"][main_port];
        let with_port = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        if is_simple {
            fields.remove("ports");
        }
        let shown = if is_simple && endpoint.is_object() { with_port.clone() } else { address };
        row.insert("address".to_owned(), shown);
        let locality = fields.remove("locality").map_or_else(|| "-".to_owned(), |locality| plain(&locality));
        let defaults = leaves(&with_locality(default, &locality));
        row.insert("locality".to_owned(), locality);
        if endpoint.is_object() {
            let names: BTreeSet<&String> = fields.keys().chain(defaults.keys()).collect();
            needed.extend(names.into_iter().filter(|name| fields.get(*name) != defaults.get(*name)).cloned());
        }
        let cells = defaults.keys().map(|name| (name.clone(), "-".to_owned()));
        row.extend(
            cells.chain(fields.iter().map(|(name, value)| (name.clone(), flow(value)))).collect::<BTreeMap<_, _>>(),
        );
        if let Some(decided) = decided.get(at) {
            let label = |name: &str| fields.get(name).map(plain);
            let locality = label("region").map(|region| match label("zone") {
                Some(zone) => format!("{region}/{zone}"),
                None => region,
            });
            let others = [
                ("decided.cluster", &decided.cluster, label("cluster").unwrap_or_else(|| "-".into())),
                ("decided.locality", &decided.locality, locality.unwrap_or_else(|| "-".into())),
                ("decided.address", &decided.address, with_port),
            ];
            for (name, decided, written) in others {
                row.insert(name.to_owned(), decided.clone());
                needed.extend((*decided != written).then(|| name.to_owned()));
            }
            let cells = [("tier", &decided.tier), ("share", &decided.share), ("reason", &decided.reason)];
            for (name, cell) in cells {
                row.insert(name.to_owned(), cell.clone());
                needed.insert(name.to_owned());
            }
        }
        rows.push(row);
    }
    let first = ["cluster", "address", "locality"].map(str::to_owned);
    let last = ["weight", "tier", "share", "decided.cluster", "decided.locality", "decided.address", "reason"];
    let last = last.map(str::to_owned);
    needed.extend(["address".to_owned(), "locality".to_owned()]);
    let others = needed.iter().filter(|name| !first.contains(name) && !last.contains(name));
    let is_needed = |name: &&String| needed.contains(*name);
    let columns: Vec<&String> =
        first.iter().filter(is_needed).chain(others).chain(last.iter().filter(is_needed)).collect();
    let cells = |row: &BTreeMap<String, String>| {
        columns.iter().map(|name| row.get(*name).cloned().unwrap_or_else(|| "-".to_owned())).collect()
    };
    [columns.iter().map(|name| (*name).clone()).collect()].into_iter().chain(rows.iter().map(cells)).collect()
}

/// The endpoints of a table.
pub fn endpoints(rows: &[Vec<String>], default: &Value, main_port: &str) -> Result<Vec<Value>, String> {
    let (columns, rows) = rows.split_first().ok_or("a table is empty")?;
    let mut endpoints = Vec::new();
    for row in rows {
        let cell = |name: &str| columns.iter().position(|column| column == name).map_or("-", |at| row[at].as_str());
        if cell("address") == "-" {
            continue;
        }
        let mut endpoint = with_locality(default, cell("locality"));
        let others = columns.iter().filter(|name| !["address", "locality"].contains(&name.as_str()));
        for name in others.filter(|name| !DECIDED.contains(&name.as_str())) {
            let path = column_path(name);
            match cell(name) {
                "-" if name == "labels" => {}
                "-" => remove(&mut endpoint, &path),
                text => set(&mut endpoint, &path, read_value(text)?),
            }
        }
        if cell("labels") == "-" && endpoint["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
            remove(&mut endpoint, &["labels".to_owned()]);
        }
        let mut address = cell("address");
        if !columns.iter().any(|name| name == "ports") {
            let (before, port) = address.rsplit_once(':').ok_or_else(|| format!("{address:?} has no port"))?;
            endpoint["ports"][main_port] = read_value(port)?;
            address = before.trim_start_matches('[').trim_end_matches(']');
        }
        endpoint["address"] = address.into();
        if cell("locality") != "-" {
            endpoint["locality"] = cell("locality").into();
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Fields of an endpoint by the names of their columns.
fn leaves(endpoint: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (name, value) in endpoint.as_object().into_iter().flatten() {
        match value {
            Value::Object(labels) if name == "labels" && !labels.is_empty() => {
                let column = |key: &String| {
                    let short = LABELS.iter().find(|(_, label)| label == key).map(|(short, _)| (*short).to_owned());
                    short.unwrap_or_else(|| format!("labels[{key}]"))
                };
                leaves.extend(labels.iter().map(|(key, value)| (column(key), value.clone())));
            }
            value => drop(leaves.insert(name.clone(), value.clone())),
        }
    }
    leaves
}

fn column_path(name: &str) -> Vec<String> {
    let label = LABELS.iter().find(|(short, _)| *short == name).map(|(_, label)| *label);
    match label.or_else(|| name.strip_prefix("labels[").and_then(|name| name.strip_suffix(']'))) {
        Some(label) => vec!["labels".to_owned(), label.to_owned()],
        None => vec![name.to_owned()],
    }
}

/// The defaults of an endpoint in a locality: `REGION[/ZONE]`, or the form that weighted policies give it, by which its true
/// region is a zone (`REGION/tier0-REGION`) or one of its own (`fallback-REGION`).
fn with_locality(default: &Value, locality: &str) -> Value {
    let (region, zone) = locality.split_once('/').map_or((locality, None), |(region, zone)| (region, Some(zone)));
    let (region, zone) = match zone {
        Some(zone) if zone.starts_with("tier") => (zone.split_once('-').map_or(zone, |(_, region)| region), None),
        zone => (region.strip_prefix("fallback-").unwrap_or(region), zone),
    };
    let mut default = default.clone();
    let known = |value: &Value| match value.as_str() {
        Some("$region") => (region != "-").then(|| region.into()),
        Some("$zone") => zone.map(Value::from),
        _ => Some(value.clone()),
    };
    if let Some(labels) = default["labels"].as_object_mut() {
        *labels = labels.iter().filter_map(|(key, value)| Some((key.clone(), known(value)?))).collect();
    }
    default
}
