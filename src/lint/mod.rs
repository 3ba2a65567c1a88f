//! What is wrong with manifests, from their text alone: what an API server would refuse, and what it takes but has no
//! effect or another than it seems. Knows no fleet, so it leaves out what only a fleet can show: whether a
//! region exists, whether a service runs.

mod meaning;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;

pub use crate::manifest::Severity;
use crate::{
    config::Settings,
    fleet::{Observer, pruned},
    manifest::{self, Broken, Crds, DocumentObject, Located, ManifestProblem, Typed},
    model::Kind,
};

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

/// Judges manifests, one text after the other.
pub struct Linter {
    settings: Arc<Settings>,
    observer: Observer,
    /// Where an object stood first, by directory, kind, namespace and name.
    seen: HashMap<(PathBuf, String, String, String), String>,
    findings: Vec<Finding>,
    /// Objects of known kinds that were judged.
    objects: usize,
}

/// An object within its file.
struct LintedObject<'a> {
    file: &'a str,
    located: &'a Located<'a>,
    /// Where it is in its document.
    part: &'a str,
    kind: String,
    namespace: String,
    name: String,
}

impl LintedObject<'_> {
    fn finding(&self, ManifestProblem { severity, path, message }: ManifestProblem) -> Finding {
        Finding {
            file: self.file.to_owned(),
            line: self.located.line(self.part, &path),
            severity,
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path,
            message,
        }
    }
}

impl Linter {
    /// For a mesh with these settings: keys of labels, suffix of hosts.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let observer = Observer::new(settings.clone(), false);
        Self { settings, observer, seen: HashMap::new(), findings: Vec::new(), objects: 0 }
    }

    /// Judges all that a file holds.
    pub fn read(&mut self, file: &str, text: &str, is_json: bool) {
        for document in manifest::documents(text, is_json, &mut manifest::ValueBudget::default()) {
            match document {
                Ok(document) => {
                    let located = Located::new(&document);
                    if document.value.is_array() {
                        let message = "kubectl takes no list at the top of a file; write kind: List with items, or put --- between \
                                       the objects";
                        self.findings.push(untyped(file, document.line, ManifestProblem::warning("", message)));
                    }
                    for part in manifest::parts(document.value) {
                        self.part(file, &located, part);
                    }
                }
                Err(Broken { line, message }) => {
                    self.findings.push(untyped(file, line, ManifestProblem::error("", message)));
                }
            }
        }
    }

    fn part(&mut self, file: &str, located: &Located<'_>, DocumentObject { path, typed, value }: DocumentObject) {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        let place = LintedObject { file, located, part: &path, kind, namespace, name };
        match typed {
            Typed::Unread => {}
            Typed::Wrong(mistyped) => {
                self.objects += usize::from(mistyped.meant.is_some());
                self.findings.push(place.finding(ManifestProblem::error(mistyped.field, mistyped.message)));
            }
            Typed::Read(kind) => {
                self.objects += 1;
                let problems = self.judge(kind, value).into_iter().chain(self.twice(&place));
                self.findings.extend(problems.map(|problem| place.finding(problem)).collect::<Vec<_>>());
            }
        }
    }

    /// What is wrong with an object of a known kind.
    fn judge(&self, kind: Kind, value: Value) -> Vec<ManifestProblem> {
        let mut object = pruned(value);
        manifest::as_stored(kind, &mut object);
        let mut problems = manifest::check(kind, &object, Crds::Ours);
        if !problems.iter().any(ManifestProblem::is_error) {
            problems.extend(self.observer.observe_value(kind, &object).err().map(ManifestProblem::from));
        }
        if !problems.iter().any(ManifestProblem::is_error) {
            problems.extend(meaning::of_namespace(kind, &object, &self.settings));
            problems.extend(meaning::of(kind, &object, &self.settings));
        }
        problems
    }

    /// Whether the directory has the object already. Another directory may have it too: it is another cluster's, or
    /// another layer's.
    fn twice(&mut self, place: &LintedObject<'_>) -> Option<ManifestProblem> {
        if place.name.is_empty() {
            return None;
        }
        let directory = Path::new(place.file).parent().unwrap_or(Path::new("")).to_owned();
        let key = (directory, place.kind.clone(), place.namespace.clone(), place.name.clone());
        let here = format!("{}:{}", place.file, place.located.line(place.part, ""));
        let first = self.seen.get(&key).cloned();
        match first {
            Some(first) => {
                let message = format!("the same object stands at {first}; the one that is applied last counts");
                Some(ManifestProblem::warning("metadata.name", message))
            }
            None => {
                self.seen.insert(key, here);
                None
            }
        }
    }

    /// All that was found, by file and line, and how many objects of known kinds were judged.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Finding>, usize) {
        let at = |finding: &Finding| (finding.file.clone(), finding.line, finding.severity, finding.path.clone());
        self.findings.sort_by_cached_key(at);
        (self.findings, self.objects)
    }
}

/// A finding about a text that is no object.
fn untyped(file: &str, line: usize, ManifestProblem { severity, path, message }: ManifestProblem) -> Finding {
    let (kind, namespace, name) = Default::default();
    Finding { file: file.to_owned(), line, severity, kind, namespace, name, path, message }
}
