//! A cluster that is a directory of manifests: read whole and watched for edits. What is written into it is written elsewhere
//! (`apply/directory.rs`).
//!
//! Reads every manifest below the directory, in the order of their paths, as an API server would store it. What is in
//! the sync namespace is what was written there, as in a live cluster: for GitOps the output directory is part of the input.
//!
//! A text that does not parse hides unknown objects. It is reported with file and line, the other documents count, and the
//! objects that the same file had before stay in force: nothing is removed on incomplete knowledge. An object that
//! an API server would refuse is reported, and its last good form stays in force.

mod problem;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

pub use self::problem::{DirectoryProblem, ProblemKind};
use super::{
    file::FleetFile,
    object_budget::BudgetExceeded,
    observe::Observer,
    pruned_object::{memory_bytes, pruned},
};
use crate::{
    manifest::{self, Broken, Crds, DocumentObject, Located, Mistyped, Typed, ValueBudget, file},
    model::{ClusterName, Kind, Note, ObjectId, Observed, ReadCause, ReadFailure},
    registry::{NoteSource, Registry},
};

/// A directory that is a cluster.
#[derive(Debug, Clone)]
pub struct DirectoryCluster {
    name: ClusterName,
    path: PathBuf,
    /// Nothing that is read leads out of it.
    root: PathBuf,
    observer: Observer,
    is_hub: bool,
    crds: Crds,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    objects: BTreeMap<ObjectId, Placed>,
    problems: Vec<DirectoryProblem>,
    ignored: usize,
    /// Directories that links lead to, by where they really are.
    linked: BTreeSet<PathBuf>,
    /// About what the objects take in memory while they are read.
    bytes: u64,
}

#[derive(Debug, Clone)]
struct Placed {
    observed: Observed,
    file: PathBuf,
}

impl DirectoryCluster {
    /// The cluster `name` in the directory `path`, which nothing leads out of.
    #[must_use]
    pub fn new(name: ClusterName, path: PathBuf, observer: Observer) -> Self {
        let root = observer.settings().fleet_root.clone().unwrap_or_else(|| path.clone());
        Self { name, path, root, observer, is_hub: false, crds: Crds::Ours }
    }

    /// A hub that is no cluster of the fleet: only its Dependencies count.
    #[must_use]
    pub fn hub(path: PathBuf, observer: Observer) -> Self {
        Self { is_hub: true, ..Self::new(ClusterName::hub(), path, observer) }
    }

    /// The same directory in a fleet, whose directory links may lead to.
    #[must_use]
    pub fn in_fleet(self, fleet: &FleetFile) -> Self {
        let root = fleet.root_of(&self.path);
        self.below(&root)
    }

    /// The same directory below a root, unless a setting names another.
    pub(super) fn below(self, root: &Path) -> Self {
        let root = self.observer.settings().fleet_root.clone().unwrap_or_else(|| root.to_owned());
        Self { root, ..self }
    }

    /// The same directory, for a cluster whose CRDs are not Tradewind's: objects that these would refuse are accepted.
    #[must_use]
    pub fn without_schemas(self) -> Self {
        Self { crds: Crds::Unchecked, ..self }
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
        let found = file::find(&self.root, &self.path);
        loaded.linked = self.linked(&found.entered);
        for directory in &found.unreadable {
            loaded.hidden(&directory.path, None, directory.message.clone());
        }
        if found.files.is_empty() && loaded.problems.is_empty() {
            let message =
                "the directory has no manifests (*.yaml, *.yml, *.json); put the cluster's objects there".into();
            loaded.problems.push(DirectoryProblem {
                file: PathBuf::new(),
                line: None,
                kind: ProblemKind::Hidden,
                message,
            });
        }
        let max_bytes = u64::from(self.observer.settings().cluster_max_mib) << 20;
        let (mut text_bytes, mut values) = (max_bytes, ValueBudget::of_memory(max_bytes));
        for file in found.files {
            match file::read_found(&self.root, &self.path.join(&file), text_bytes) {
                Ok(text) => {
                    text_bytes -= text.len() as u64;
                    self.take_text(&mut loaded, &file, &text, &mut values);
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
        let found = file::find(&self.root, &self.path);
        for file in found.files {
            let metadata = fs::metadata(self.path.join(&file)).ok();
            (file, metadata.map(|m| (m.len(), m.modified().ok()))).hash(&mut hasher);
        }
        found.unreadable.len().hash(&mut hasher);
        hasher.finish()
    }

    /// The directories that were read and are not below the cluster's own.
    fn linked(&self, entered: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let (Ok(root), Ok(own)) = (fs::canonicalize(&self.root), fs::canonicalize(&self.path)) else {
            return BTreeSet::new();
        };
        entered.iter().map(|below| root.join(below)).filter(|real| !real.starts_with(&own)).collect()
    }

    fn take_text(&self, loaded: &mut Loaded, file: &Path, text: &str, values: &mut ValueBudget) {
        for document in manifest::documents(text, file::is_json(file), values) {
            match document {
                Ok(document) => {
                    let located = Located::new(&document);
                    for part in manifest::parts(document.value) {
                        self.take(loaded, file, &located, part);
                    }
                }
                Err(Broken { line, message }) => loaded.hidden(file, Some(line), message),
            }
        }
    }

    fn take(
        &self,
        loaded: &mut Loaded,
        file: &Path,
        located: &Located<'_>,
        DocumentObject { path, typed, value }: DocumentObject,
    ) {
        match typed {
            Typed::Read(kind) => {
                let line = |field: &str| located.line(&path, field);
                self.take_object(loaded, file, line, kind, value);
            }
            Typed::Unread => loaded.ignored += 1,
            Typed::Wrong(Mistyped { meant, is_object, field, message }) => {
                let line = located.line(&path, field);
                let message = if field.is_empty() { message } else { format!("{field}: {message}") };
                let meant = meant.and_then(|kind| self.id_of(kind, &value)).filter(|id| self.watches(id));
                match meant {
                    Some(id) => loaded.problem(file, line, ProblemKind::Malformed(id), message),
                    None if is_object => loaded.hidden(file, Some(line), message),
                    None => loaded.problem(file, line, ProblemKind::Harmless, message),
                }
            }
        }
    }

    /// The object's place, where it has a name.
    fn id_of(&self, kind: Kind, value: &Value) -> Option<ObjectId> {
        let name = text(value, "/metadata/name").filter(|name| !name.is_empty())?;
        let namespace = match text(value, "/metadata/namespace") {
            _ if is_cluster_wide(kind) => "",
            None | Some("") => "default",
            Some(namespace) => namespace,
        };
        Some(ObjectId::new(kind, namespace, name))
    }

    fn take_object(&self, loaded: &mut Loaded, file: &Path, line: impl Fn(&str) -> usize, kind: Kind, value: Value) {
        let Some(id) = self.id_of(kind, &value) else {
            let message = format!("this {} has no metadata.name", kind.as_str());
            return loaded.hidden(file, Some(line("metadata.name")), message);
        };
        if !self.watches(&id) {
            loaded.ignored += 1;
            if let Some(message) = self.misplaced(&id) {
                loaded.problem(file, line("metadata.namespace"), ProblemKind::Misplaced(id), message);
            }
            return;
        }
        if let Some(first) = loaded.objects.get(&id) {
            let first = first.file.display();
            let message =
                format!("{} stands already in {first}; that one counts. Remove one", id.in_cluster(&self.name));
            return loaded.problem(file, line(""), ProblemKind::Harmless, message);
        }
        let mut value = pruned(value);
        manifest::as_stored(kind, &mut value);
        let problems = manifest::check(kind, &value, self.crds).into_iter();
        let refused: Vec<_> = problems.filter(manifest::ManifestProblem::is_error).collect();
        if !refused.is_empty() {
            let first = line(&refused[0].path);
            let all: Vec<String> = refused.iter().map(ToString::to_string).collect();
            return loaded.problem(file, first, ProblemKind::Malformed(id), all.join("; "));
        }
        self.complete(&id, &mut value);
        loaded.bytes += memory_bytes(&value);
        if let Some(message) = self.exceeds(loaded, kind) {
            return loaded.hidden(file, Some(line("")), message);
        }
        match self.observer.observe_value(kind, &value) {
            Ok(Observed::Other(_)) => loaded.ignored += 1,
            Ok(observed) => {
                loaded.objects.insert(id, Placed { observed, file: file.to_owned() });
            }
            Err(malformed) => {
                loaded.problem(file, line(&malformed.path), ProblemKind::Malformed(id), malformed.to_string());
            }
        }
    }

    /// Why one more object of a kind would be too much, where that is so: what a live cluster may have.
    fn exceeds(&self, loaded: &Loaded, kind: Kind) -> Option<String> {
        let settings = self.observer.settings();
        let exceeded = if loaded.bytes > u64::from(settings.cluster_max_mib) << 20 {
            BudgetExceeded::Bytes(settings.cluster_max_mib.into())
        } else if loaded.objects.len() >= settings.cluster_max_objects
            && loaded.objects(kind).count() >= settings.cluster_max_objects
        {
            BudgetExceeded::Objects(settings.cluster_max_objects)
        } else {
            return None;
        };
        Some(format!("this {} is not read: {exceeded}", kind.as_str()))
    }

    /// Why an object that is read on the hub is not read where it is, in words.
    fn misplaced(&self, id: &ObjectId) -> Option<String> {
        let settings = self.observer.settings();
        let (kind, read_in) = (id.kind.as_str(), &settings.dependency_namespace);
        if !Kind::OF_HUB.contains(&id.kind) || !settings.kinds_of_hub().contains(&id.kind) {
            return None;
        }
        if !self.is_hub && id.kind == Kind::IdentityClaim {
            return Some(format!("is in a member, and an {kind} is read on the hub only; it has no effect"));
        }
        Some(format!(
            "is in the namespace {}, and {} {kind} is read in the namespace {read_in} only (dependencyNamespace); it has no effect",
            id.namespace,
            if id.kind == Kind::IdentityClaim { "an" } else { "a" },
        ))
    }

    /// Whether a live cluster's informers would deliver the object.
    fn watches(&self, id: &ObjectId) -> bool {
        let settings = self.observer.settings();
        let only_namespace = self.observer.watched_namespace(id.kind);
        let is_watched = self.kinds_of_hub().contains(&id.kind)
            || !self.is_hub && settings.watched_kinds_in(&self.name).contains(&id.kind);
        is_watched && only_namespace.is_none_or(|only| *id.namespace == *only)
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

    /// A namespace with an object in it exists, whether or not a file declares it.
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
        // The list has the last good forms, and so cleared the notes about malformed ones.
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
        let watched = if self.is_hub { Vec::new() } else { registry.settings().watched_kinds_in(&self.name) };
        watched.into_iter().chain(self.kinds_of_hub()).collect()
    }

    fn kinds_of_hub(&self) -> Vec<Kind> {
        let settings = self.observer.settings();
        if self.is_hub { settings.kinds_of_hub() } else { settings.kinds_of_hub_in_members() }
    }
}

impl Loaded {
    /// The objects of one kind, in the order of their namespaces and names.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = &Observed> {
        self.objects.values().map(|placed| &placed.observed).filter(move |observed| observed.id().kind == kind)
    }

    /// What is wrong, in the order of files and lines.
    #[must_use]
    pub fn problems(&self) -> &[DirectoryProblem] {
        &self.problems
    }

    /// Number of objects of kinds or namespaces that decide nothing.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// The directories outside of the cluster's own that links lead to.
    pub(super) fn linked(&self) -> &BTreeSet<PathBuf> {
        &self.linked
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

    /// One source of notes per file; a valid file has no notes.
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
        self.problems.push(DirectoryProblem { file: file.to_owned(), line: Some(line), kind, message });
    }

    fn hidden(&mut self, file: &Path, line: Option<usize>, message: String) {
        self.problems.push(DirectoryProblem { file: file.to_owned(), line, kind: ProblemKind::Hidden, message });
    }

    /// Takes over what stood before where a problem may hide it now.
    fn keep_from(&mut self, before: &Self) {
        for (id, placed) in &before.objects {
            let hides = |problem: &DirectoryProblem| match &problem.kind {
                ProblemKind::Hidden => placed.file.starts_with(&problem.file),
                ProblemKind::Malformed(malformed) => malformed == id,
                ProblemKind::Misplaced(_) | ProblemKind::Harmless => false,
            };
            if !self.objects.contains_key(id) && self.problems.iter().any(hides) {
                self.objects.insert(id.clone(), placed.clone());
            }
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn is_cluster_wide(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::Namespace)
}

#[cfg(test)]
mod tests;
