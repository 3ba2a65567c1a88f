//! A cluster that is a directory of manifests: read whole and watched for edits. What is written into it is written elsewhere
//! (`apply/directory.rs`).
//!
//! Reads every `*.yaml`, `*.yml` and `*.json` below the directory, in the order of their paths; hidden files are
//! skipped and links to directories are not followed. What stands in the sync namespace is what was written there,
//! as in a live cluster: for GitOps the output directory is part of the input.
//!
//! A text that does not parse hides objects nobody knows. It is reported with file and line, the other documents
//! count, and whatever the same file held before stays in force: nothing is removed on incomplete knowledge.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    manifests::{Broken, Document, read_json, read_yaml},
    observe::Observer,
};
use crate::{
    model::{ClusterName, Kind, Note, NoteKind, ObjectId, ObjectRef, Observed, ReadCause, ReadFailure, Served},
    registry::{NoteSource, Registry},
};

/// Largest manifest file that is read; a `kubectl get -o json` of a big cluster fits.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Deepest nesting of directories: deeper ones are a mistake, such as a mount inside itself.
const MAX_DEPTH: usize = 32;

/// A directory that stands for a cluster.
#[derive(Debug, Clone)]
pub struct DirectoryCluster {
    name: ClusterName,
    path: PathBuf,
    observer: Observer,
    is_hub: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    objects: BTreeMap<ObjectId, Placed>,
    problems: Vec<Problem>,
    ignored: usize,
}

#[derive(Debug, Clone)]
struct Placed {
    observed: Observed,
    file: PathBuf,
}

/// Something in a directory that cannot be taken as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or a directory that cannot be read; relative to the cluster's directory.
    pub file: PathBuf,
    /// Its line, from 1, where one is known.
    pub line: Option<usize>,
    /// What sort of problem.
    pub kind: ProblemKind,
    /// What is wrong, in words.
    pub message: String,
}

/// What a problem means for the objects around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nobody knows which objects stand there.
    Hidden,
    /// One object is not what its kind should be.
    Malformed(ObjectId),
    /// A text that is left out and hides nothing: no Kubernetes object, or one that stands elsewhere already.
    Harmless,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

impl DirectoryCluster {
    /// The cluster `name` in the directory `path`.
    #[must_use]
    pub fn new(name: ClusterName, path: PathBuf, observer: Observer) -> Self {
        Self { name, path, observer, is_hub: false }
    }

    /// A hub that is no cluster of the fleet: only its Dependencies count.
    #[must_use]
    pub fn hub(path: PathBuf, observer: Observer) -> Self {
        Self { name: ClusterName::hub(), path, observer, is_hub: true }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole directory. What is wrong is in [`Loaded::problems`].
    #[must_use]
    pub fn load(&self) -> Loaded {
        self.load_after(&Loaded::default())
    }

    /// Reads the whole directory again; where something hides, what stood there before is kept.
    #[must_use]
    pub(super) fn load_after(&self, before: &Loaded) -> Loaded {
        let mut loaded = Loaded::default();
        let files = self.files(&mut loaded.problems);
        if files.is_empty() && loaded.problems.is_empty() {
            let message =
                "the directory has no manifests (*.yaml, *.yml, *.json); put the cluster's objects there".into();
            loaded.problems.push(Problem { file: PathBuf::new(), line: None, kind: ProblemKind::Hidden, message });
        }
        for file in files {
            match read_documents(&self.path.join(&file)) {
                Ok(documents) => {
                    for document in documents {
                        match document {
                            Ok(Document { line, value }) => self.take(&mut loaded, &file, line, value),
                            Err(Broken { line, message }) => loaded.hidden(&file, Some(line), message),
                        }
                    }
                }
                Err(error) => loaded.hidden(&file, None, error.to_string()),
            }
        }
        loaded.keep_from(before);
        if !self.is_hub {
            self.imply_namespaces(&mut loaded);
        }
        loaded
    }

    /// A number that changes whenever a file comes, goes, grows or is written to.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut problems = Vec::new();
        for file in self.files(&mut problems) {
            let metadata = fs::metadata(self.path.join(&file)).ok();
            (file, metadata.map(|m| (m.len(), m.modified().ok()))).hash(&mut hasher);
        }
        problems.len().hash(&mut hasher);
        hasher.finish()
    }

    fn files(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        self.collect_files(Path::new(""), 0, &mut files, problems);
        files.sort();
        files
    }

    fn collect_files(&self, below: &Path, depth: usize, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
        let mut hide = |message: String| {
            problems.push(Problem { file: below.to_owned(), line: None, kind: ProblemKind::Hidden, message });
        };
        if depth > MAX_DEPTH {
            return hide(format!("is nested deeper than {MAX_DEPTH} directories and is not read"));
        }
        let entries = fs::read_dir(self.path.join(below)).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return hide(format!("the directory cannot be read: {error}")),
        };
        for entry in entries {
            let path = below.join(entry.file_name());
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.collect_files(&path, depth + 1, files, problems);
            } else if is_manifest(&path) {
                files.push(path);
            }
        }
    }

    fn take(&self, loaded: &mut Loaded, file: &Path, line: usize, value: Value) {
        let kind = text(&value, "/kind");
        if kind == Some("List") && text(&value, "/apiVersion") == Some("v1") {
            match value {
                Value::Object(mut list) => match list.remove("items") {
                    Some(Value::Array(items)) => {
                        for item in items {
                            self.take(loaded, file, line, item);
                        }
                    }
                    None | Some(Value::Null) => {}
                    Some(_) => loaded.hidden(file, Some(line), "the items of this List are not a list".into()),
                },
                _ => unreachable!("only an object has a kind"),
            }
            return;
        }
        let (Some(kind), Some(api_version)) = (kind, text(&value, "/apiVersion")) else {
            let message = "this is no Kubernetes object: apiVersion or kind is missing";
            return loaded.problem(file, line, ProblemKind::Harmless, message.into());
        };
        match observed_kind(kind, api_version) {
            Some((kind, wrong_version)) => self.take_object(loaded, file, line, kind, wrong_version, value),
            None => loaded.ignored += 1,
        }
    }

    fn take_object(
        &self,
        loaded: &mut Loaded,
        file: &Path,
        line: usize,
        kind: Kind,
        wrong_version: Option<String>,
        mut value: Value,
    ) {
        let Some(name) = text(&value, "/metadata/name").filter(|name| !name.is_empty()).map(str::to_owned) else {
            return loaded.hidden(file, Some(line), format!("this {} has no metadata.name", kind.as_str()));
        };
        let namespace = match text(&value, "/metadata/namespace") {
            _ if is_cluster_wide(kind) => String::new(),
            None | Some("") => "default".to_owned(),
            Some(namespace) => namespace.to_owned(),
        };
        let id = ObjectId::new(kind, &namespace, &name);
        if !self.watches(&id) {
            loaded.ignored += 1;
            return;
        }
        if let Some(first) = loaded.objects.get(&id) {
            let first = first.file.display();
            let message =
                format!("{} stands already in {first}; that one counts. Remove one", id.in_cluster(&self.name));
            return loaded.problem(file, line, ProblemKind::Harmless, message);
        }
        self.complete(&id, &mut value);
        match wrong_version.map_or_else(|| self.observer.observe_value(kind, &value), Err) {
            Ok(Observed::Other(_)) => loaded.ignored += 1,
            Ok(observed) => {
                loaded.objects.insert(id, Placed { observed, file: file.to_owned() });
            }
            Err(message) => loaded.problem(file, line, ProblemKind::Malformed(id), message),
        }
    }

    /// Whether a live cluster's informers would deliver the object.
    fn watches(&self, id: &ObjectId) -> bool {
        let settings = self.observer.settings();
        let is_watched =
            Kind::OF_HUB.contains(&id.kind) || !self.is_hub && settings.watched_kinds_in(&self.name).contains(&id.kind);
        is_watched && settings.watched_namespace(id.kind).is_none_or(|only| *id.namespace == *only)
    }

    /// Fills in what an API server would have: the namespace, a uid, and a resourceVersion.
    ///
    /// The resourceVersion is always made up, from the content: the order of edits is not that of the numbers that a
    /// file may carry from the cluster it was copied from.
    fn complete(&self, id: &ObjectId, value: &mut Value) {
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        let resource_version = format!("file-{:016x}", hasher.finish());
        let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) else { return };
        metadata.insert("resourceVersion".into(), resource_version.into());
        if id.namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".into(), (*id.namespace).into());
        }
        if !metadata.get("uid").is_some_and(Value::is_string) {
            let uid = format!("{}/{}/{}/{}", self.name, id.kind.as_str(), id.namespace, id.name);
            metadata.insert("uid".into(), uid.into());
        }
    }

    /// A namespace in which something stands exists, whether or not a file says so.
    fn imply_namespaces(&self, loaded: &mut Loaded) {
        let used: BTreeSet<Arc<str>> =
            loaded.objects.keys().map(|id| id.namespace.clone()).filter(|name| !name.is_empty()).collect();
        for name in used {
            let id = ObjectId::new(Kind::Namespace, "", &name);
            if loaded.objects.contains_key(&id) {
                continue;
            }
            let mut value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.complete(&id, &mut value);
            if let Ok(observed) = self.observer.observe_value(Kind::Namespace, &value) {
                loaded.objects.insert(id, Placed { observed, file: PathBuf::new() });
            }
        }
    }

    /// Registers the cluster with all that was read. Kinds count as listed only when nothing is hidden: what an
    /// unreadable file holds is unknown, not gone.
    pub fn push(&self, loaded: &Loaded, registry: &Registry, now_seconds: i64) {
        if self.is_hub {
            registry.register_hub(&self.name);
        } else {
            registry.register(&self.name);
        }
        loaded.put_notes(&Loaded::default(), registry, &self.name);
        match loaded.incomplete() {
            None => self.reset(loaded, registry),
            Some(reason) => {
                for placed in loaded.objects.values() {
                    registry.apply(&self.name, placed.observed.clone());
                }
                self.mark_unreadable(&reason, registry, now_seconds);
            }
        }
    }

    /// Pushes what differs from `before`, which was pushed earlier.
    pub(super) fn push_changes(&self, before: &Loaded, now: &Loaded, registry: &Registry, now_seconds: i64) {
        for (id, placed) in &now.objects {
            if before.objects.get(id).is_none_or(|known| known.observed != placed.observed) {
                registry.apply(&self.name, placed.observed.clone());
            }
        }
        let malformed = now.malformed();
        for id in before.objects.keys().chain(before.malformed()) {
            if !now.objects.contains_key(id) && !malformed.contains(id) {
                registry.delete(&self.name, id);
            }
        }
        now.put_notes(before, registry, &self.name);
        match (before.incomplete(), now.incomplete()) {
            (Some(_), None) => self.reset(now, registry),
            (reason_before, Some(reason)) if reason_before.as_ref() != Some(&reason) => {
                self.mark_unreadable(&reason, registry, now_seconds);
            }
            _ => {}
        }
    }

    fn reset(&self, loaded: &Loaded, registry: &Registry) {
        for kind in self.kinds(registry) {
            registry.reset(&self.name, kind, loaded.objects(kind).cloned().collect());
        }
        // The list speaks of last good forms, and so cleared what was said of malformed ones.
        loaded.report_malformed(registry, &self.name);
    }

    fn mark_unreadable(&self, reason: &str, registry: &Registry, now_seconds: i64) {
        let failure = ReadFailure::new(ReadCause::Files, reason);
        for kind in self.kinds(registry) {
            registry.unreadable(&self.name, kind, &failure, now_seconds);
        }
    }

    /// What is read on the hub counts in every directory cluster: any of them may be the hub.
    fn kinds(&self, registry: &Registry) -> Vec<Kind> {
        let watched = if self.is_hub { Vec::new() } else { registry.watched_kinds_in(&self.name) };
        watched.into_iter().chain(Kind::OF_HUB.iter().copied()).collect()
    }
}

impl Loaded {
    /// The objects of one kind, in the order of their namespaces and names.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = &Observed> {
        self.objects.values().map(|placed| &placed.observed).filter(move |observed| observed.id().kind == kind)
    }

    /// What is wrong, in the order of files and lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Number of objects of kinds or namespaces that decide nothing.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Why the directory is not wholly known, where that is so.
    #[must_use]
    pub fn incomplete(&self) -> Option<String> {
        self.problems.iter().find(|problem| problem.kind == ProblemKind::Hidden).map(ToString::to_string)
    }

    fn report_malformed(&self, registry: &Registry, cluster: &ClusterName) {
        for problem in &self.problems {
            if let ProblemKind::Malformed(id) = &problem.kind {
                registry.malformed(cluster, id.clone(), &problem.to_string());
            }
        }
    }

    /// One source of notes per file; a file that is in order again says nothing.
    fn put_notes(&self, before: &Self, registry: &Registry, cluster: &ClusterName) {
        let mut notes: BTreeMap<&Path, Vec<Note>> =
            before.problems.iter().map(|problem| (problem.file.as_path(), Vec::new())).collect();
        for problem in &self.problems {
            let of_file = notes.entry(&problem.file).or_default();
            if !matches!(problem.kind, ProblemKind::Malformed(_)) {
                of_file.push(problem.note(cluster));
            }
        }
        for (file, notes) in notes {
            registry.notes().put(NoteSource::Fleet(format!("{cluster}/{}", file.display())), notes);
        }
        self.report_malformed(registry, cluster);
    }

    fn malformed(&self) -> BTreeSet<&ObjectId> {
        let ids = self.problems.iter().filter_map(|problem| match &problem.kind {
            ProblemKind::Malformed(id) => Some(id),
            _ => None,
        });
        ids.collect()
    }

    fn problem(&mut self, file: &Path, line: usize, kind: ProblemKind, message: String) {
        self.problems.push(Problem { file: file.to_owned(), line: Some(line), kind, message });
    }

    fn hidden(&mut self, file: &Path, line: Option<usize>, message: String) {
        self.problems.push(Problem { file: file.to_owned(), line, kind: ProblemKind::Hidden, message });
    }

    /// Takes over what stood before where a problem may hide it now.
    fn keep_from(&mut self, before: &Self) {
        for (id, placed) in &before.objects {
            let hides = |problem: &Problem| match &problem.kind {
                ProblemKind::Hidden => placed.file.starts_with(&problem.file),
                ProblemKind::Malformed(malformed) => malformed == id,
                ProblemKind::Harmless => false,
            };
            if !self.objects.contains_key(id) && self.problems.iter().any(hides) {
                self.objects.insert(id.clone(), placed.clone());
            }
        }
    }
}

impl Problem {
    fn note(&self, cluster: &ClusterName) -> Note {
        let file = self.file.display().to_string();
        let line = self.line.map_or_else(String::new, |line| format!("line {line}: "));
        let kept = if self.kind == ProblemKind::Hidden { "; what is known of it stays in force" } else { "" };
        Note {
            kind: NoteKind::ObjectMalformed,
            object: ObjectRef {
                cluster: cluster.clone(),
                kind: "File".into(),
                namespace: String::new(),
                name: if file.is_empty() { ".".into() } else { file },
            },
            service: None,
            message: format!("{line}{}{kept}", self.message),
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn is_cluster_wide(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::Namespace)
}

fn read_documents(path: &Path) -> io::Result<Vec<Result<Document, Broken>>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MAX_FILE_BYTES {
        let words = format!("has {bytes} bytes; at most {MAX_FILE_BYTES} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    let text = fs::read_to_string(path)?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    Ok(if is_json { read_json(&text) } else { read_yaml(&text) })
}

/// Which of our kinds an object is, and what is wrong where it is written in a version that is not read.
fn observed_kind(kind: &str, api_version: &str) -> Option<(Kind, Option<String>)> {
    let kind = Kind::ALL.iter().copied().find(|known| known.as_str() == kind)?;
    let Served { group, versions, .. } = kind.served();
    let (group_found, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group_found != group {
        return None;
    }
    let wrong = (!versions.contains(&version))
        .then(|| format!("apiVersion {api_version} is not read; write it in version {}", versions[0]));
    Some((kind, wrong))
}

#[cfg(test)]
mod tests;
