//! What is wrong with manifests, from their text alone: what an API server would refuse, and what it takes but has no
//! effect or another than it seems. Knows no fleet, so that it says nothing of what only the fleet can tell: whether a
//! region exists, whether a service runs.

mod lines;
mod meaning;
mod schema;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde::Serialize;
use serde_json::Value;

use self::lines::Lines;
use crate::{
    api,
    config::Settings,
    fleet::manifests::{self, Document},
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An API server refuses it, or nobody can read it.
    Error,
    /// It is taken, and has no effect or another than it seems.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// File that holds it; `-` for standard input.
    pub file: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// Kind of the object; empty where the text is no object.
    pub kind: String,
    /// Its namespace; empty where it names none.
    pub namespace: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// The field, such as `spec.policy[0].dnsPrefix`; empty for the whole object.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: ", self.file, self.line, self.severity)?;
        if !self.kind.is_empty() {
            let namespace = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
            write!(f, "{} {namespace}{}: ", self.kind, self.name)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// One of our kinds, ready to judge by.
struct Kind {
    group: String,
    version: String,
    name: String,
    schema: Value,
    rules: CompiledSchema,
}

/// Judges manifests, one text after the other.
pub struct Linter {
    settings: Settings,
    kinds: Vec<Kind>,
    validator: Validator,
    /// Where an object stood first, by directory, kind, namespace and name.
    seen: HashMap<(PathBuf, String, String, String), String>,
    findings: Vec<Finding>,
    /// Objects of our kinds that were judged.
    objects: usize,
}

/// An object within its file.
struct Place<'a> {
    file: &'a str,
    lines: &'a Lines,
    kind: String,
    namespace: String,
    name: String,
}

impl Linter {
    /// For a mesh with these settings: keys of labels, suffix of hosts.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let kinds = api::crds().into_iter().map(|crd| {
            let crd = serde_json::to_value(crd).expect("a CRD serializes");
            let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            Kind {
                group: text("/spec/group"),
                version: text("/spec/versions/0/name"),
                name: text("/spec/names/kind"),
                rules: compile_schema(&schema),
                schema,
            }
        });
        Self {
            settings,
            kinds: kinds.collect(),
            validator: Validator::new(),
            seen: HashMap::new(),
            findings: Vec::new(),
            objects: 0,
        }
    }

    /// Judges all that a file holds.
    pub fn read(&mut self, file: &str, text: &str, is_json: bool) {
        // JSON is YAML, so both have their lines by one reader; only where documents end differs.
        let documents: Vec<_> = if is_json {
            let rest = |line: usize| text.lines().skip(line - 1).collect::<Vec<_>>().join("\n");
            let read = manifests::read_json(text);
            let only = read.len() == 1;
            read.into_iter()
                .map(|read| match read {
                    Ok(document) if only => (rest(document.line), Ok(document)),
                    other => (String::new(), other),
                })
                .collect()
        } else {
            let pieces = manifests::split(text).into_iter();
            pieces
                .filter_map(|(line, text)| Some((manifests::read_document(line, &text)?, text)))
                .map(|(d, t)| (t, d))
                .collect()
        };
        for (text, document) in documents {
            match document {
                Ok(document) => self.document(file, &text, &document),
                Err(broken) => self.findings.push(Finding {
                    file: file.to_owned(),
                    line: broken.line,
                    severity: Severity::Error,
                    kind: String::new(),
                    namespace: String::new(),
                    name: String::new(),
                    path: String::new(),
                    message: broken.message,
                }),
            }
        }
    }

    fn document(&mut self, file: &str, text: &str, document: &Document) {
        let lines = Lines::read(text, document.line);
        match document.value["items"].as_array() {
            Some(items) if document.value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
                items.iter().enumerate().for_each(|(index, item)| self.object(file, lines.item(index), item));
            }
            _ => self.object(file, &lines, &document.value),
        }
    }

    fn object(&mut self, file: &str, lines: &Lines, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let Some(known) = self.kinds.iter().find(|known| known.group == group && known.name == kind) else { return };
        self.objects += 1;
        let place = Place { file, lines, kind, namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        let mut problems = Vec::new();
        if version == known.version {
            let object = schema::without_nulls(object);
            check_metadata(&object["metadata"], &mut problems);
            check_spec(known, &self.validator, &object, &mut problems);
            if problems.iter().all(|(severity, ..)| *severity != Severity::Error) {
                let meanings = meaning::of(&known.name, &object, &self.settings);
                problems.extend(meanings.into_iter().map(|(path, message)| (Severity::Warning, path, message)));
            }
        } else {
            let message = format!("{api_version} is not served; write {group}/{}", known.version);
            problems.push((Severity::Error, "apiVersion".into(), message));
        }
        problems.extend(self.twice(&place));
        self.findings.extend(problems.into_iter().map(|(severity, path, message)| Finding {
            file: place.file.to_owned(),
            line: place.lines.at(&path),
            severity,
            kind: place.kind.clone(),
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            path,
            message,
        }));
    }

    /// Whether the directory has the object already. Another directory may have it too: it is another cluster's, or
    /// another layer's.
    fn twice(&mut self, place: &Place<'_>) -> Option<schema::Problem> {
        if place.name.is_empty() {
            return None;
        }
        let directory = Path::new(place.file).parent().unwrap_or(Path::new("")).to_owned();
        let key = (directory, place.kind.clone(), place.namespace.clone(), place.name.clone());
        let here = format!("{}:{}", place.file, place.lines.at(""));
        let first = self.seen.get(&key).cloned();
        match first {
            Some(first) => {
                let message = format!("the same object stands at {first}; the one that is applied last counts");
                Some((Severity::Warning, "metadata.name".into(), message))
            }
            None => {
                self.seen.insert(key, here);
                None
            }
        }
    }

    /// All that was found, by file and line, and how many objects of our kinds were judged.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Finding>, usize) {
        let at = |finding: &Finding| (finding.file.clone(), finding.line, finding.severity, finding.path.clone());
        self.findings.sort_by_cached_key(at);
        (self.findings, self.objects)
    }
}

/// What holds for the metadata of every object.
fn check_metadata(metadata: &Value, problems: &mut Vec<schema::Problem>) {
    let mut refuse = |path: &str, message: String| problems.push((Severity::Error, path.to_owned(), message));
    match metadata["name"].as_str() {
        Some(name) if is_object_name(name) => {}
        Some(name) => {
            let rule = "lower case letters, digits, '-' and '.' are allowed, at most 253, beginning and ending with a letter or digit";
            refuse("metadata.name", format!("{name:?} cannot name an object; {rule}"));
        }
        None if metadata["generateName"].is_string() => {}
        None => refuse("metadata.name", "is missing".into()),
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

/// What the CRD says: the schema, and where that is kept, its rules.
fn check_spec(kind: &Kind, validator: &Validator, object: &Value, problems: &mut Vec<schema::Problem>) {
    let mut object = object.clone();
    // Every object has these; schemas of CRDs do not speak of them.
    for key in ["apiVersion", "kind", "metadata"] {
        object.as_object_mut().map(|fields| fields.remove(key));
    }
    let before = problems.len();
    schema::check(&kind.schema, &object, "", problems);
    if problems[before..].iter().any(|(severity, ..)| *severity == Severity::Error) {
        return;
    }
    let broken = validator.validate_compiled(&kind.rules, &object, None).err().into_iter().flatten();
    problems.extend(broken.map(|broken| (Severity::Error, broken.field_path, broken.message)));
}
