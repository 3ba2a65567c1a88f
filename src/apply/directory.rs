//! Writing to a directory: one file per object, for GitOps and for looking at.
//!
//! Decides nothing. Only files of managed objects are ever replaced or removed, and only inside the output directory, whatever
//! links are planted in it. A file appears whole or not at all, and the same object always gives the same bytes.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;

use super::{
    give_back,
    guard::Budget,
    merge,
    store::{Outcome, ReadWritten, Store, WriteError, is_merged},
    write::{ObjectWrite, Write},
};
use crate::{
    config::Settings,
    files::OutputDirectory,
    istio::{Object, Owner, keys},
    model::{ClusterName, EgressHost, Kind, ObjectId, Written},
};

/// A directory with the objects of one cluster.
#[derive(Clone)]
pub struct DirectoryStore {
    /// Nothing that is written leads out of it.
    root: PathBuf,
    /// The directory in it.
    below: PathBuf,
    read: ReadWritten,
    version: Arc<AtomicU64>,
}

impl std::fmt::Debug for DirectoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DirectoryStore").field(&self.root.join(&self.below)).finish()
    }
}

/// A directory with one sub-directory per cluster, brought to a whole plan at once.
#[derive(Debug, Clone)]
pub struct DirectoryOutput {
    out: PathBuf,
}

/// What [`DirectoryOutput::write`] did in the directory of one cluster, and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// Files written.
    pub written: usize,
    /// Files left unchanged, because they have the same content.
    pub unchanged: usize,
    /// Managed files before the run.
    pub owned: usize,
    /// Managed files that are no longer wanted, sorted. They still exist.
    pub unwanted: Vec<PathBuf>,
}

/// Largest file that is read back: far above the largest object.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Most entries of a directory that are looked at.
const MAX_FILES: usize = 1_000_000;

/// Most files that are removed from the directory of a cluster without a release, however few it has. Below the floor for live
/// clusters: a run that lost a source has nothing but this to stop it, and the directory of a small cluster is not more.
const FILES_FLOOR: usize = 5;

impl Synced {
    /// Whether the unwanted files may go without an operator's release, by the budget for removals in a cluster.
    #[must_use]
    pub fn may_go(&self, settings: &Settings) -> bool {
        let budget =
            Budget { percent: settings.max_removal_percent, floor: settings.max_removal_floor.min(FILES_FLOOR) };
        budget.allows(self.unwanted.len(), self.owned)
    }
}

impl DirectoryOutput {
    /// The directory `out`, which is made when something is written.
    #[must_use]
    pub fn new(out: &Path) -> Self {
        Self { out: out.to_owned() }
    }

    /// Writes `objects` into `<out>/<cluster>`. Managed files that are no longer wanted are listed and stay.
    ///
    /// # Errors
    /// When a file cannot be read or written, or an unmanaged file has the name; the error names the file. The other files
    /// are written.
    pub fn write<'a>(
        &self,
        cluster: &ClusterName,
        objects: impl IntoIterator<Item = &'a Object>,
    ) -> io::Result<Synced> {
        let directory = open(&self.out, Path::new(cluster.as_str()), true)?.expect("it was made");
        let before = managed_files(&directory)?;
        let mut synced = Synced { owned: before.len(), ..Synced::default() };
        let mut wanted = BTreeSet::new();
        let mut failure = None;
        for object in objects {
            let file = file_name(&object.id(), object.is_adopted());
            match bring(&directory, &file, &to_yaml(&object.manifest())) {
                Ok(true) => synced.written += 1,
                Ok(false) => synced.unchanged += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
            wanted.insert(file);
        }
        let unwanted = before.into_iter().filter(|file| !wanted.contains(file));
        synced.unwanted = unwanted.map(|file| directory.path_of(&file)).collect();
        failure.map_or(Ok(synced), Err)
    }

    /// Names exactly these files with what they hold: a release by this name never covers others.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn name_of<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<String> {
        let mut hasher = DefaultHasher::new();
        for file in files {
            let (directory, name) = self.parts(file)?;
            (file.strip_prefix(&self.out).unwrap_or(file), read_file(&directory, name)?).hash(&mut hasher);
        }
        Ok(format!("{:012x}", hasher.finish() >> 16))
    }

    /// Removes managed files.
    ///
    /// # Errors
    /// When a file cannot be removed; names it. Those before it are gone.
    pub fn remove<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<()> {
        files.into_iter().try_for_each(|file| {
            let (directory, name) = self.parts(file)?;
            directory.remove(name).map_err(|error| named(file, &error))
        })
    }

    /// The directory of one of the files that [`DirectoryOutput::write`] named, and its name there.
    fn parts<'f>(&self, file: &'f Path) -> io::Result<(OutputDirectory, &'f str)> {
        let below = file.parent().and_then(|directory| directory.strip_prefix(&self.out).ok());
        let name = file.file_name().and_then(|name| name.to_str());
        let missing = || named(file, &io::ErrorKind::NotFound.into());
        let (below, name) = below.zip(name).ok_or_else(missing)?;
        Ok((open(&self.out, below, false)?.ok_or_else(missing)?, name))
    }

    /// The sub-directories with managed files that belong to no cluster, with the number of these files.
    ///
    /// # Errors
    /// When a directory cannot be read; names it.
    pub fn left_behind(&self, clusters: &[ClusterName]) -> io::Result<Vec<(PathBuf, usize)>> {
        let mut left = Vec::new();
        let entries = match fs::read_dir(&self.out) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(left),
            Err(error) => return Err(named(&self.out, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| named(&self.out, &error))?;
            let name = entry.file_name();
            let is_cluster = clusters.iter().any(|cluster| name == cluster.as_str());
            // A link to a directory is none of the output's.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_cluster || !is_directory || name.to_string_lossy().starts_with('.') {
                continue;
            }
            let directory = open(&self.out, Path::new(&name), false)?;
            let files = directory.map_or(Ok(0), |directory| managed_files(&directory).map(|files| files.len()))?;
            if files > 0 {
                left.push((entry.path(), files));
            }
        }
        left.sort();
        Ok(left)
    }
}

/// Writes one file, unless it has that content already. Returns whether it was written.
fn bring(directory: &OutputDirectory, file: &str, text: &str) -> io::Result<bool> {
    match read_file(directory, file)? {
        Some(present) if present == text => return Ok(false),
        Some(present) if !is_marked(&present) => {
            let path = directory.path_of(file);
            let message = format!("{} was not made by Tradewind and stands in the way", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        _ => {}
    }
    directory.write(file, text).map_err(|error| named(&directory.path_of(file), &error))?;
    Ok(true)
}

impl DirectoryStore {
    /// Objects become files right inside the directory `below` of `root`, which is made with the first of them.
    #[must_use]
    pub fn inside(root: &Path, below: &Path, read: ReadWritten) -> Self {
        Self { root: root.to_owned(), below: below.to_owned(), read, version: Arc::new(AtomicU64::new(1)) }
    }

    /// The managed objects in the directory at the start.
    ///
    /// # Errors
    /// When a managed file cannot be read.
    pub fn load(&self) -> Outcome<Vec<Written>> {
        let Some(directory) = open(&self.root, &self.below, false).map_err(|error| unreadable(&error))? else {
            return Ok(Vec::new());
        };
        let files = managed_files(&directory).map_err(|error| unreadable(&error))?;
        let read = |file: &String| {
            let text = read_file(&directory, file).map_err(|error| unreadable(&error))?.unwrap_or_default();
            self.observe(from_yaml(&text).map_err(|error| unreadable(&named(&directory.path_of(file), &error)))?)
        };
        files.iter().map(read).collect()
    }

    /// The directory, which is made where it does not exist.
    fn open(&self) -> Outcome<OutputDirectory> {
        let directory = open(&self.root, &self.below, true).map_err(|error| failed(&error))?;
        Ok(directory.expect("it was made"))
    }

    fn put(&self, object: &Object) -> Outcome<Written> {
        let (directory, file) = (self.open()?, file_name(&object.id(), object.is_adopted()));
        if read_file(&directory, &file).map_err(|error| failed(&error))?.is_some_and(|text| !is_marked(&text)) {
            let path = directory.path_of(&file);
            return Err(WriteError::Conflict(format!("{} was not made by Tradewind", path.display())));
        }
        self.write_file(&directory, &file, object.manifest())
    }

    fn write_file(&self, directory: &OutputDirectory, file: &str, manifest: Value) -> Outcome<Written> {
        let written = directory.write(file, &to_yaml(&manifest));
        written.map_err(|error| failed(&named(&directory.path_of(file), &error)))?;
        self.observe(manifest)
    }

    /// Files have no uid and no resourceVersion: the name and a counter take their place.
    fn observe(&self, mut manifest: Value) -> Outcome<Written> {
        let kind = Kind::WRITTEN.iter().copied().find(|kind| manifest["kind"] == kind.as_str());
        let kind = kind.ok_or_else(|| WriteError::Unreadable("another kind".to_owned()))?;
        let name = manifest["metadata"]["name"].clone();
        manifest["metadata"]["uid"] = name;
        manifest["metadata"]["resourceVersion"] = self.version.fetch_add(1, Ordering::Relaxed).to_string().into();
        (self.read)(kind, &manifest).map_err(|error| WriteError::Unreadable(error.to_string()))
    }

    fn remove(&self, written: &Written) -> Outcome<()> {
        let Some(directory) = open(&self.root, &self.below, false).map_err(|error| failed(&error))? else {
            return Ok(());
        };
        let file = file_name(&written.id, written.adoption.is_some());
        let path = directory.path_of(&file);
        match read_file(&directory, &file).map_err(|error| failed(&error))? {
            Some(text) if is_marked(&text) => directory.remove(&file).map_err(|error| failed(&named(&path, &error))),
            Some(_) => Err(WriteError::Conflict(format!("{} was not made by Tradewind", path.display()))),
            None => Ok(()),
        }
    }

    fn write_object(&self, write: &ObjectWrite) -> Outcome<Written> {
        match write {
            ObjectWrite::Create { object } | ObjectWrite::Update { object, .. } => self.put(object),
            ObjectWrite::TakeOver { object, .. } => {
                self.write_file(&self.open()?, &file_name(&object.id(), object.is_adopted()), object.manifest())
            }
            ObjectWrite::GiveBack { over } => self.unmark(over),
            ObjectWrite::Merge { over, hosts } => self.merge(over, hosts),
        }
    }

    /// Removes the marks; the file stays.
    fn unmark(&self, over: &Written) -> Outcome<Written> {
        let (directory, file) = (self.open()?, file_name(&over.id, over.adoption.is_some()));
        let manifest = present(&directory, &file)?;
        self.write_file(&directory, &file, give_back::bare(manifest))
    }

    /// Merges into a Sidecar of this directory; others cannot be reached.
    fn merge(&self, over: &Written, hosts: &[EgressHost]) -> Outcome<Written> {
        let (directory, file) = (self.open()?, file_name(&over.id, false));
        let manifest = present(&directory, &file)?;
        let manifest = merge::edited(&manifest, hosts).map_err(|reason| WriteError::Refused(format!("it {reason}")))?;
        self.write_file(&directory, &file, manifest)
    }
}

/// What a file holds now.
fn present(directory: &OutputDirectory, file: &str) -> Outcome<Value> {
    let (text, path) = (read_file(directory, file).map_err(|error| failed(&error))?, directory.path_of(file));
    let text = text.ok_or_else(|| WriteError::Missing(format!("{} does not exist", path.display())))?;
    from_yaml(&text).map_err(|error| unreadable(&named(&path, &error)))
}

impl Store for DirectoryStore {
    fn write<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Outcome<Option<Written>>> {
        ready(match write {
            Write::Object(write) => self.write_object(write).map(Some),
            // Files are applied to an API server later, which keeps the status.
            Write::Status(_) => Ok(None),
            Write::Delete(over) => self.remove(over).map(|()| None),
        })
        .boxed()
    }

    fn create_namespace<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Outcome<()>> {
        ready(Ok(())).boxed()
    }

    fn owned(&self) -> BoxFuture<'_, Outcome<Vec<Written>>> {
        let owned = self.load();
        let is_managed = |one: &Written| one.owner == Owner::Tradewind || is_merged(one);
        ready(owned.map(|all| all.into_iter().filter(is_managed).collect())).boxed()
    }
}

/// The kind in lower case and the name, with the namespace where it is not the sync namespace alone, as of what was adopted.
fn file_name(id: &ObjectId, is_adopted: bool) -> String {
    let kind = id.kind.as_str().to_ascii_lowercase();
    match id.kind {
        Kind::Sidecar | Kind::VirtualService | Kind::EnvoyFilter => format!("{kind}-{}-{}.yaml", id.namespace, id.name),
        _ if is_adopted => format!("{kind}-{}-{}.yaml", id.namespace, id.name),
        _ => format!("{kind}-{}.yaml", id.name),
    }
}

fn to_yaml(manifest: &Value) -> String {
    serde_saphyr::to_string(manifest).expect("JSON values serialize")
}

fn from_yaml(text: &str) -> io::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn is_marked(text: &str) -> bool {
    let marked = |manifest: Value| manifest["metadata"]["labels"][keys::MANAGED_BY] == keys::TRADEWIND;
    from_yaml(text).is_ok_and(marked)
}

/// The directory `below` of `root`.
fn open(root: &Path, below: &Path, make: bool) -> io::Result<Option<OutputDirectory>> {
    OutputDirectory::open(root, below, make).map_err(|error| named(&root.join(below), &error))
}

/// The names of the files of managed objects, sorted. Something else than a file is nobody's object.
fn managed_files(directory: &OutputDirectory) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for name in directory.files(MAX_FILES).map_err(|error| named(&directory.path_of(""), &error))? {
        let may_be_managed =
            Kind::WRITTEN.iter().any(|kind| name.starts_with(&format!("{}-", kind.as_str().to_ascii_lowercase())));
        if may_be_managed
            && name.ends_with(".yaml")
            && read_file(directory, &name)?.is_some_and(|text| is_marked(&text))
        {
            files.push(name);
        }
    }
    Ok(files)
}

fn read_file(directory: &OutputDirectory, file: &str) -> io::Result<Option<String>> {
    directory.read(file, MAX_FILE_BYTES).map_err(|error| named(&directory.path_of(file), &error))
}

fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn failed(error: &io::Error) -> WriteError {
    WriteError::Server(error.to_string())
}

fn unreadable(error: &io::Error) -> WriteError {
    WriteError::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ReadBackError, StatusWrite},
        *,
    };
    use crate::{
        apply::testing::{NAMESPACE, cluster, host_plan},
        config::Settings,
        fleet::Observer,
        model::Observed,
    };

    fn reader() -> ReadWritten {
        let observer = Observer::new(Arc::new(Settings::default()), false);
        Arc::new(move |kind, value| match observer.written(kind, value)? {
            Observed::Written(written) => Ok(*written),
            other => Err(ReadBackError::Kind(other.id().kind)),
        })
    }

    fn objects(host: &str, content: &str) -> Vec<Object> {
        let plan = host_plan(host, content, false);
        vec![Object::ServiceEntry(plan.service_entry), Object::DestinationRule(plan.destination_rule)]
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_gets_the_desired_files_and_keeps_foreign_ones() {
        let out = tempfile::tempdir().unwrap();
        let east = out.path().join("east");
        let both = [objects("a.global", "1"), objects("b.global", "1")].concat();
        let output = DirectoryOutput::new(out.path());
        let sync = |objects: &[Object]| output.write(&cluster(), objects).unwrap();
        let counts = |synced: &Synced| (synced.written, synced.unchanged, synced.owned, synced.unwanted.len());
        assert_eq!(counts(&sync(&both)), (4, 0, 0, 0));
        assert_eq!(counts(&sync(&both)), (0, 4, 4, 0));
        fs::write(east.join("serviceentry-user.yaml"), "kind: ServiceEntry\nmetadata: {name: user}\n").unwrap();
        fs::write(east.join("serviceentry-odd.yaml"), ": no yaml [").unwrap();
        let synced = sync(&objects("a.global", "2"));
        assert_eq!(counts(&synced), (2, 0, 4, 2));
        let gone = ["destinationrule-b.global-dr.yaml", "serviceentry-b.global-se.yaml"];
        assert_eq!(synced.unwanted, gone.map(|file| east.join(file)));
        assert!(synced.unwanted.iter().all(|file| file.exists()));
        // The name is that of these files with what they hold.
        let name = output.name_of(&synced.unwanted).unwrap();
        assert_eq!(output.name_of(&synced.unwanted).unwrap(), name);
        assert_ne!(output.name_of(&synced.unwanted[1..]).unwrap(), name);
        output.remove(&synced.unwanted).unwrap();
        assert_eq!(
            names(&east),
            [
                "destinationrule-a.global-dr.yaml",
                "serviceentry-a.global-se.yaml",
                "serviceentry-odd.yaml",
                "serviceentry-user.yaml"
            ]
        );
        // Directories of others and of clusters are not left behind.
        fs::create_dir_all(out.path().join("docs")).unwrap();
        assert_eq!(output.left_behind(&[cluster()]).unwrap(), []);
        assert_eq!(output.left_behind(&[]).unwrap(), [(east, 2)]);
        assert_eq!(DirectoryOutput::new(&out.path().join("nowhere")).left_behind(&[]).unwrap(), []);
    }

    #[test]
    fn few_files_go_and_many_wait() {
        let settings = Settings::default();
        let synced =
            |unwanted: usize, owned| Synced { owned, unwanted: vec![PathBuf::new(); unwanted], ..Synced::default() };
        for (unwanted, owned, may_go) in
            [(0, 0, true), (5, 5, true), (6, 10, false), (12, 20, false), (25, 100, true), (26, 100, false)]
        {
            assert_eq!(synced(unwanted, owned).may_go(&settings), may_go, "{unwanted} of {owned}");
        }
        assert!(synced(100, 100).may_go(&Settings { max_removal_percent: 100, ..Settings::default() }));
        assert!(!synced(1, 10).may_go(&Settings {
            max_removal_percent: 0,
            max_removal_floor: 0,
            ..Settings::default()
        }));
    }

    #[test]
    fn a_file_in_the_way_is_left_and_named_and_the_rest_is_written() {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("east/serviceentry-a.global-se.yaml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "mine").unwrap();
        let error = DirectoryOutput::new(out.path()).write(&cluster(), &objects("a.global", "1")).unwrap_err();
        assert!(error.to_string().contains("serviceentry-a.global-se.yaml"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert!(out.path().join("east/destinationrule-a.global-dr.yaml").exists());
    }

    #[tokio::test]
    async fn what_is_written_reads_back_the_same_and_goes_again() {
        let out = tempfile::tempdir().unwrap();
        let store = DirectoryStore::inside(out.path(), Path::new("east"), reader());
        assert!(store.load().unwrap().is_empty());
        let write = async |write: Write| store.write(&write).await.unwrap();
        let object = objects("a.global", "1").remove(0);
        let written = write(ObjectWrite::Create { object: object.clone() }.into()).await.unwrap();
        assert_eq!((written.digest, written.owner), (object.digest(), Owner::Tradewind));
        let (object, over) = (objects("a.global", "2").remove(0), Arc::new(written.clone()));
        let later = Arc::new(write(ObjectWrite::Update { object, over }.into()).await.unwrap());
        assert!(later.resource_version.parse::<u64>().unwrap() > written.resource_version.parse().unwrap());
        let loaded = store.load().unwrap();
        assert_eq!((loaded.len(), loaded[0].digest), (1, later.digest));
        // A file has no status.
        let status =
            StatusWrite { id: later.id.clone(), resource_version: later.resource_version.clone(), status: Value::Null };
        assert_eq!(write(Write::Status(status)).await, None);
        assert_eq!(store.load().unwrap().len(), 1);
        write(Write::Delete(later.clone())).await;
        write(Write::Delete(later)).await;
        assert!(store.load().unwrap().is_empty());
    }

    #[tokio::test]
    async fn sidecar_hosts_are_merged_and_taken_out_without_a_trace() {
        let out = tempfile::tempdir().unwrap();
        let store = DirectoryStore::inside(out.path(), Path::new("east"), reader());
        let file = out.path().join("east/sidecar-team-default.yaml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let user = serde_json::json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "default", "namespace": "team"},
            "spec": {"egress": [{"hosts": ["./*"], "port": {"number": 3306}}], "outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}
        });
        fs::write(&file, to_yaml(&user)).unwrap();
        let observed = store.observe(user.clone()).unwrap();
        let merge = async |over: Written, hosts| {
            let write = ObjectWrite::Merge { over: Arc::new(over), hosts }.into();
            store.write(&write).await.unwrap().unwrap()
        };
        let merged = merge(observed, vec![format!("{NAMESPACE}/a.global").into()]).await;
        let hosts = merged.sidecar.as_ref().unwrap();
        assert_eq!(hosts.listeners.len(), 2);
        assert_eq!((hosts.listeners[1].port, &hosts.listeners[1].hosts), (None, &hosts.ours));
        assert_eq!(hosts.ours, [format!("{NAMESPACE}/a.global")]);
        merge(merged, Vec::new()).await;
        assert_eq!(from_yaml(&fs::read_to_string(&file).unwrap()).unwrap(), user);
    }

    // Invariant: Nothing is written, read or removed outside of the output directory.
    #[cfg(unix)]
    #[test]
    fn planted_links_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let output = DirectoryOutput::new(out.path());
        let wanted = objects("a.global", "1");
        // The directory of a cluster leads elsewhere.
        symlink(elsewhere.path(), out.path().join("east")).unwrap();
        let error = output.write(&cluster(), &wanted).unwrap_err().to_string();
        assert!(error.contains("east") && error.contains("leads out of"), "{error}");
        assert_eq!(names(elsewhere.path()), [""; 0]);
        // So does a file that would be written, and the temporary one before it.
        fs::remove_file(out.path().join("east")).unwrap();
        fs::create_dir(out.path().join("east")).unwrap();
        let victim = elsewhere.path().join("victim");
        let (file, other) = ("serviceentry-a.global-se.yaml", "destinationrule-a.global-dr.yaml");
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, out.path().join("east").join(file)).unwrap();
        symlink(&victim, out.path().join(format!("east/.{other}.new"))).unwrap();
        let error = output.write(&cluster(), &wanted).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("is not a file"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert!(fs::symlink_metadata(out.path().join("east").join(other)).unwrap().is_file());
        // What a link leads to is neither managed nor removed, and a directory behind one is not left behind by anybody.
        fs::write(&victim, fs::read_to_string(out.path().join("east").join(other)).unwrap()).unwrap();
        fs::rename(&victim, elsewhere.path().join(other)).unwrap();
        symlink(elsewhere.path(), out.path().join("west")).unwrap();
        assert_eq!(output.left_behind(&[cluster()]).unwrap(), []);
        let planted = out.path().join("west").join(other);
        assert!(output.remove(&[planted]).unwrap_err().to_string().contains("leads out of"));
        assert!(output.remove(&[out.path().join("../x/a.yaml")]).is_err());
        assert!(elsewhere.path().join(other).exists());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn names_and_links_lead_a_cluster_nowhere_else() {
        use std::os::unix::fs::symlink;
        let (fleet, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = DirectoryStore::inside(fleet.path(), Path::new("east/admiral-sync"), reader());
        let object = objects("a.global", "1").remove(0);
        let written = store.write(&ObjectWrite::Create { object: object.clone() }.into()).await.unwrap().unwrap();
        for name in ["../../up", "a/../b", "a/b", "/etc/x"] {
            let id = ObjectId::new(Kind::Sidecar, NAMESPACE, name);
            let over = Arc::new(Written { id, ..written.clone() });
            assert!(store.write(&Write::Delete(over)).await.is_err(), "{name}");
        }
        // The directory is swapped for a link while the controller runs.
        fs::rename(fleet.path().join("east"), elsewhere.path().join("east")).unwrap();
        symlink(elsewhere.path().join("east"), fleet.path().join("east")).unwrap();
        let error = store.write(&Write::Delete(Arc::new(written))).await.unwrap_err().to_string();
        assert!(error.contains("leads out of"), "{error}");
        assert!(store.write(&ObjectWrite::Create { object }.into()).await.is_err());
        assert_eq!(names(&elsewhere.path().join("east/admiral-sync")), ["serviceentry-a.global-se.yaml"]);
        // And back, by a link inside.
        fs::rename(elsewhere.path().join("east"), fleet.path().join("real")).unwrap();
        fs::remove_file(fleet.path().join("east")).unwrap();
        symlink(fleet.path().join("real"), fleet.path().join("east")).unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_the_way_is_named_and_not_waited_for() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("east")).unwrap();
        let pipe = out.path().join("east/serviceentry-a.global-se.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = DirectoryOutput::new(out.path()).write(&cluster(), &objects("a.global", "1")).unwrap_err();
        assert!(error.to_string().contains("is not a file"), "{error}");
        assert!(out.path().join("east/destinationrule-a.global-dr.yaml").exists());
    }
}
