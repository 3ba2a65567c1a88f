//! Planned objects in short: what differs from the defaults of `tests/golden/defaults.yaml`, and endpoints as tables.
//!
//! ```text
//! ServiceEntry stage.greeting.global-se of greeting/stage in cluster-1, cluster-2
//!   addresses: [240.0.59.210]
//!   in cluster-1
//!     cluster    address          locality  tier  share  reason
//!     cluster-2  192.0.2.2:15443  us-east   -     -      gateway; nearest first
//!   in cluster-2
//!     …
//! DestinationRule stage.greeting.global-default-dr of greeting/stage in cluster-1, cluster-2
//!   no trafficPolicy.outlierDetection
//!   trafficPolicy.loadBalancer.warmupDurationSecs: 90s
//! ```
//!
//! - A block is an object, in every cluster that has it: `KIND [NAMESPACE/]NAME [of IDENTITY/ENVIRONMENT] in CLUSTERS`.
//! - `PATH: VALUE` is a field that the defaults have otherwise, or not at all; `no PATH` one that only they have. Paths start in
//!   the spec, but for `labels`, `annotations` and `metadata`; a key with dots or slashes is in brackets. Values are YAML.
//! - `in CLUSTERS` begins what holds in those clusters alone.
//! - A row of a table is an endpoint. Columns are there where a row needs them; `-` is an absent field. `tier`, `share` and
//!   `reason` are the decision behind it.
//!
//! [`parse`](Notation::parse) turns the text into whole objects again, so that a test can tell that nothing was lost.

mod table;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::LazyLock,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use table::{endpoints, table};
use yaml::{read_value, write_value};

use crate::planning::DecidedEndpoint;

/// Kinds in the order of blocks; others come after these.
const KINDS: [&str; 4] = ["ServiceEntry", "DestinationRule", "VirtualService", "Sidecar"];
/// Namespace that blocks need not name.
const NAMESPACE: &str = "admiral-sync";
/// Lists that are compared item by item, as they are long and alike.
const ITEMIZED: [&str; 1] = ["configPatches"];
/// Fields of the metadata whose path needs no `metadata.`
const SHORT_METADATA: [&str; 2] = ["labels", "annotations"];
/// Keys with which a path begins that is not in the spec.
const TOP: [&str; 6] = ["apiVersion", "kind", "metadata", "spec", "labels", "annotations"];
/// The defaults by which objects are shortened.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Notation {
    layers: Vec<Layer>,
}

/// Those who write, each with defaults.
static WRITERS: LazyLock<BTreeMap<String, Notation>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/defaults.yaml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
});

/// Fields of all objects whose kind and name fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    /// `KIND NAME`. Layers of any name (`*`) hold for all; of the others, the first that fits is laid over them, and `$host` is
    /// what its `*` stands for.
    of: String,
    object: Value,
}

/// An object of a cluster, with the decisions behind its endpoints.
pub struct Planned<'a> {
    pub cluster: &'a str,
    pub object: Value,
    pub decided: &'a [DecidedEndpoint],
}

/// What need not be written of an object.
struct Defaults {
    object: Value,
    /// Of each endpoint.
    endpoint: Value,
}

/// What a block is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Heading {
    kind: String,
    namespace: String,
    name: String,
    /// Identity and environment.
    service: Option<(String, String)>,
}

/// One entry of a block.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Field(Vec<String>, Value),
    No(Vec<String>),
    Table(Vec<Vec<String>>),
}

impl Notation {
    /// The notation of what Tradewind writes.
    pub fn tradewind() -> &'static Self {
        &WRITERS["tradewind"]
    }

    /// The notation of what Admiral writes.
    pub fn admiral() -> &'static Self {
        &WRITERS["admiral"]
    }

    /// The defaults of an object.
    fn defaults(&self, heading: &Heading) -> Defaults {
        let of_kind = self.layers.iter().filter_map(|layer| {
            let (kind, name) = layer.of.split_once(' ').expect("`of:` is KIND NAME");
            (kind == "*" || kind == heading.kind).then_some((name, &layer.object))
        });
        let (general, special): (Vec<_>, Vec<_>) = of_kind.partition(|(name, _)| *name == "*");
        let special = special.into_iter().find_map(|(name, object)| Some((fitting(name, &heading.name)?, object)));
        let host = special.map_or("", |(host, _)| host);
        let mut object = json!({});
        general.into_iter().chain(special).for_each(|(_, layer)| merge(&mut object, layer));
        let (identity, environment) = heading.service.clone().unwrap_or_default();
        let variables =
            [("$host", host), ("$name", &heading.name), ("$identity", &identity), ("$environment", &environment)];
        substitute(&mut object, &variables);
        object["kind"] = heading.kind.clone().into();
        object["metadata"]["name"] = heading.name.clone().into();
        object["metadata"]["namespace"] = heading.namespace.clone().into();
        let endpoints = object["spec"].as_object_mut().and_then(|spec| spec.remove("endpoints"));
        let endpoint = endpoints.and_then(|mut endpoints| endpoints.get_mut(0).map(Value::take));
        itemize(&mut object);
        Defaults { object, endpoint: endpoint.unwrap_or_else(|| json!({})) }
    }

    /// Objects in short.
    pub fn render(&self, objects: &[Planned<'_>]) -> String {
        let mut by_heading = BTreeMap::<Heading, Vec<&Planned<'_>>>::new();
        for planned in objects {
            by_heading.entry(Heading::of(&planned.object)).or_default().push(planned);
        }
        type OfClusters<'a> = Vec<(&'a str, Vec<Entry>)>;
        let mut blocks: Vec<(Heading, OfClusters<'_>)> = Vec::new();
        for (heading, planned) in by_heading {
            let defaults = self.defaults(&heading);
            let clusters = planned.into_iter().map(|planned| (planned.cluster, defaults.entries(planned)));
            blocks.push((heading, clusters.collect()));
        }
        blocks.sort_by_key(|(heading, _)| KINDS.iter().position(|kind| *kind == heading.kind).unwrap_or(KINDS.len()));
        let mut text = String::new();
        for (heading, clusters) in blocks {
            text += if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(
                text,
                "{heading} in {}",
                clusters.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            );
            let (first, others) = clusters.split_first().expect("an object is in a cluster");
            let common: Vec<&Entry> =
                first.1.iter().filter(|entry| others.iter().all(|(_, entries)| entries.contains(entry))).collect();
            common.iter().for_each(|entry| entry.write(2, &mut text));
            let mut own = Vec::<(Vec<&Entry>, Vec<&str>)>::new();
            for (cluster, entries) in &clusters {
                let rest: Vec<&Entry> = entries.iter().filter(|entry| !common.contains(entry)).collect();
                match own.iter_mut().find(|(known, _)| *known == rest) {
                    Some((_, clusters)) => clusters.push(cluster),
                    None => own.push((rest, vec![cluster])),
                }
            }
            for (entries, clusters) in own.iter().filter(|(entries, _)| !entries.is_empty()) {
                let _ = writeln!(text, "  in {}", clusters.join(", "));
                entries.iter().for_each(|entry| entry.write(4, &mut text));
            }
        }
        text
    }

    /// The whole objects of a text, each with its cluster.
    pub fn parse(&self, text: &str) -> Result<Vec<(String, Value)>, String> {
        let mut objects = Vec::new();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        for block in split_blocks(&lines, 0) {
            let (heading, clusters) = Heading::parse(block[0])?;
            let mut entries: BTreeMap<String, Vec<Entry>> =
                clusters.iter().map(|cluster| ((*cluster).to_owned(), Vec::new())).collect();
            let mut read = |clusters: &[&str], lines: &[&str]| -> Result<(), String> {
                for entry in Entry::parse_all(lines)? {
                    for cluster in clusters {
                        let of =
                            entries.get_mut(*cluster).ok_or_else(|| format!("{cluster:?} is not in {:?}", block[0]))?;
                        of.push(entry.clone());
                    }
                }
                Ok(())
            };
            let mut common = Vec::new();
            for part in split_blocks(&block[1..], 2) {
                match part[0].trim().strip_prefix("in ") {
                    Some(clusters) => read(&clusters.split(", ").collect::<Vec<_>>(), &part[1..])?,
                    None => common.extend(part),
                }
            }
            read(&clusters, &common)?;
            let defaults = self.defaults(&heading);
            for (cluster, entries) in entries {
                let object = defaults.with(entries).map_err(|why| format!("{}: {why}", block[0]))?;
                objects.push((cluster, object));
            }
        }
        Ok(objects)
    }
}

impl Defaults {
    /// What differs from the defaults.
    fn entries(&self, planned: &Planned<'_>) -> Vec<Entry> {
        let mut object = planned.object.clone();
        itemize(&mut object);
        let endpoints = object["spec"].as_object_mut().and_then(|spec| spec.remove("endpoints"));
        let mut entries = Vec::new();
        differences(&self.object, &object, &mut Vec::new(), &mut entries);
        match endpoints {
            Some(Value::Array(endpoints)) if !endpoints.is_empty() || !planned.decided.is_empty() => {
                let main_port = main_port(&object);
                entries.push(Entry::Table(table(&endpoints, planned.decided, &self.endpoint, &main_port)));
            }
            Some(other) => entries.push(Entry::Field(vec!["spec".into(), "endpoints".into()], other)),
            None if planned.decided.is_empty() => {}
            None => entries.push(Entry::Table(table(&[], planned.decided, &self.endpoint, ""))),
        }
        entries
    }

    /// The whole object.
    fn with(&self, entries: Vec<Entry>) -> Result<Value, String> {
        let mut object = self.object.clone();
        let mut rows = None;
        for entry in entries {
            match entry {
                Entry::Field(path, value) => set(&mut object, &path, value),
                Entry::No(path) => remove(&mut object, &path),
                Entry::Table(table) => rows = Some(table),
            }
        }
        if let Some(rows) = rows {
            object["spec"]["endpoints"] = endpoints(&rows, &self.endpoint, &main_port(&object))?.into();
        }
        unitemize(&mut object);
        Ok(object)
    }
}

impl std::fmt::Display for Heading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if self.namespace != NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}", self.name)?;
        match &self.service {
            Some((identity, environment)) => write!(f, " of {identity}/{environment}"),
            None => Ok(()),
        }
    }
}

impl Heading {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, annotations) = (&object["metadata"], &object["metadata"]["annotations"]);
        let identity = annotations.get("tradewind.io/identity").or_else(|| annotations.get("identity"));
        let environment =
            annotations.get("tradewind.io/environment").or_else(|| metadata["labels"].get("admiral.io/env"));
        Self {
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            service: identity.zip(environment).map(|(identity, environment)| (text(identity), text(environment))),
        }
    }

    /// Reads `KIND [NAMESPACE/]NAME [of IDENTITY/ENVIRONMENT] in CLUSTERS`.
    fn parse(line: &str) -> Result<(Self, Vec<&str>), String> {
        let wrong = || format!("{line:?} is not `KIND NAME [of IDENTITY/ENVIRONMENT] in CLUSTERS`");
        let (object, clusters) = line.split_once(" in ").ok_or_else(wrong)?;
        let (object, service) = object.split_once(" of ").map_or((object, None), |(object, of)| (object, Some(of)));
        let (kind, name) = object.split_once(' ').ok_or_else(wrong)?;
        let (namespace, name) = name.split_once('/').unwrap_or((NAMESPACE, name));
        let service = match service {
            Some(service) => Some(service.rsplit_once('/').ok_or_else(wrong)?),
            None => None,
        };
        let heading = Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service: service.map(|(identity, environment)| (identity.to_owned(), environment.to_owned())),
        };
        Ok((heading, clusters.split(", ").collect()))
    }
}

impl Entry {
    fn write(&self, indent: usize, into: &mut String) {
        let spaces = " ".repeat(indent);
        match self {
            Self::No(path) => drop(writeln!(into, "{spaces}no {}", shown(path))),
            Self::Field(path, value) => write_value(&format!("{spaces}{}:", shown(path)), indent, value, into),
            Self::Table(rows) => {
                let widths: Vec<usize> = (0..rows[0].len())
                    .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
                    .collect();
                for row in rows {
                    let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                    let line = cells.collect::<Vec<_>>().join("  ");
                    let _ = writeln!(into, "{spaces}{}", line.trim_end());
                }
            }
        }
    }

    fn parse_all(lines: &[&str]) -> Result<Vec<Self>, String> {
        let mut entries = Vec::new();
        let indent = lines.first().map_or(0, |line| indent_of(line));
        let mut table = Vec::<Vec<String>>::new();
        for part in split_blocks(lines, indent) {
            let line = part[0].trim();
            if let Some(path) = line.strip_prefix("no ") {
                entries.push(Self::No(path_of(path)?));
            } else if let Some(at) = field_end(line) {
                let (path, value) = (path_of(&line[..at])?, line[at + 1..].trim());
                let value = [&[value], &part[1..]].concat().join("\n");
                let value = read_value(&value).map_err(|error| format!("{line:?}: {error}"))?;
                entries.push(Self::Field(path, value));
            } else {
                let row: Vec<String> =
                    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
                if table.first().is_some_and(|head| head.len() != row.len()) {
                    return Err(format!("{line:?} is no row of its table, no field and no `no FIELD`"));
                }
                table.push(row);
            }
        }
        if table.first().is_some_and(|head| !head.iter().any(|column| column == "address")) {
            return Err(format!("{:?} is no field, no `no FIELD`, and no table of endpoints", table[0].join("  ")));
        }
        entries.extend((!table.is_empty()).then_some(Self::Table(table)));
        Ok(entries)
    }
}

/// Lines in groups: each begins with one that is indented by `indent`, and goes on with those indented more.
fn split_blocks<'a, 'b>(lines: &'b [&'a str], indent: usize) -> Vec<&'b [&'a str]> {
    let starts: Vec<usize> = (0..lines.len()).filter(|at| *at == 0 || indent_of(lines[*at]) <= indent).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().zip(ends).map(|(start, end)| &lines[*start..end]).collect()
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Where the `:` behind the path of a field is; none in rows of tables.
fn field_end(line: &str) -> Option<usize> {
    let mut in_brackets = false;
    for (at, char) in line.char_indices() {
        match char {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ' ' => return None,
            ':' if !in_brackets && (at + 1 == line.len() || line[at + 1..].starts_with(' ')) => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether all of a text fits a pattern with at most one `*`, and what the `*` stands for.
fn fitting<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        Some((before, after)) => text.strip_prefix(before)?.strip_suffix(after),
        None => (pattern == text).then_some(text),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn substitute(value: &mut Value, variables: &[(&str, &str)]) {
    match value {
        Value::String(text) if text.contains('$') => {
            for (name, meant) in variables {
                *text = text.replace(name, meant);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, variables)),
        Value::Object(fields) => fields.values_mut().for_each(|field| substitute(field, variables)),
        _ => {}
    }
}

/// Turns some lists into maps from number to item.
fn itemize(object: &mut Value) {
    for name in ITEMIZED {
        if let Some(Value::Array(items)) = object["spec"].get_mut(name).map(Value::take) {
            let items = items.into_iter().enumerate().map(|(number, item)| (number.to_string(), item));
            object["spec"][name] = items.collect::<Map<_, _>>().into();
        }
    }
}

fn unitemize(object: &mut Value) {
    for name in ITEMIZED {
        if let Some(Value::Object(items)) = object["spec"].get_mut(name).map(Value::take) {
            object["spec"][name] = items.into_iter().map(|(_, item)| item).collect();
        }
    }
}

/// Name of the first port, which every endpoint has.
fn main_port(object: &Value) -> String {
    object["spec"]["ports"][0]["name"].as_str().unwrap_or_default().to_owned()
}

fn differences(defaults: &Value, object: &Value, path: &mut Vec<String>, into: &mut Vec<Entry>) {
    let (Value::Object(defaults), Value::Object(object)) = (defaults, object) else {
        if defaults != object {
            into.push(Entry::Field(path.clone(), object.clone()));
        }
        return;
    };
    for key in defaults.keys().chain(object.keys()).collect::<BTreeSet<_>>() {
        path.push(key.clone());
        match (defaults.get(key), object.get(key)) {
            (Some(default), Some(value)) => differences(default, value, path, into),
            (_, Some(value)) => into.push(Entry::Field(path.clone(), value.clone())),
            (_, None) => into.push(Entry::No(path.clone())),
        }
        path.pop();
    }
}

fn set(object: &mut Value, path: &[String], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key.as_str()];
    }
    *at = value;
}

fn remove(object: &mut Value, path: &[String]) {
    let (last, before) = path.split_last().expect("a path has a key");
    let mut at = object;
    for key in before {
        at = &mut at[key.as_str()];
    }
    at.as_object_mut().map(|fields| fields.remove(last));
}

/// A path as it is written: `trafficPolicy.tls.mode` is in the spec, `annotations[tradewind.io/policy]` in the metadata;
/// `metadata.finalizers`, `apiVersion`; and with a dot before it what is elsewhere, `.status.address`.
fn shown(path: &[String]) -> String {
    let short = match path {
        [first, second, ..] if first == "metadata" && SHORT_METADATA.contains(&second.as_str()) => &path[1..],
        [first, second, ..] if first == "spec" && !TOP.contains(&second.as_str()) => &path[1..],
        _ => path,
    };
    let mut text = if TOP.contains(&short[0].as_str()) || path[0] == "spec" { String::new() } else { ".".to_owned() };
    for key in short {
        if key.is_empty() || key.contains(|char: char| !char.is_alphanumeric() && !"-_".contains(char)) {
            let _ = write!(text, "[{key}]");
        } else {
            let dot = if text.is_empty() || text == "." { "" } else { "." };
            let _ = write!(text, "{dot}{key}");
        }
    }
    text
}

fn path_of(text: &str) -> Result<Vec<String>, String> {
    let mut path = Vec::new();
    let mut rest = text.strip_prefix('.').unwrap_or(text);
    while !rest.is_empty() {
        let (key, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').ok_or_else(|| format!("{text:?} lacks a `]`"))?,
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        path.push(key.to_owned());
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    let first = path.first().map(String::as_str).ok_or("a path is empty")?;
    if SHORT_METADATA.contains(&first) {
        path.insert(0, "metadata".to_owned());
    } else if !text.starts_with('.') && !TOP.contains(&first) {
        path.insert(0, "spec".to_owned());
    }
    Ok(path)
}
