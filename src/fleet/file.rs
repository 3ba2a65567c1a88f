//! The fleet file: clusters by kubeconfig and context, or by directory, for one machine and for tests.
//!
//! Says which clusters there are and where; it opens neither kubeconfigs nor manifests.
//!
//! ```yaml
//! clusters:
//! - name: east
//!   kubeconfig: east.kubeconfig   # relative to this file
//!   context: admin                # optional: the current context otherwise
//!   istioNamespace: aks-istio-system   # optional: setting istioNamespace otherwise
//!   releaseRemovals: 0f3a5c7e9b1d      # optional: consent to the withheld removals of this id
//! - name: west
//!   directory: manifests/west
//! hub:                            # optional: where Dependencies are, if not in one of the clusters
//!   directory: manifests/hub
//! ```
//!
//! A directory in place of the file is a fleet too: each of its sub-directories is a cluster of that name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::{
    manifest::words,
    model::{ClusterName, NameError, is_dns_label},
    registry::Registry,
};

/// Largest fleet file that is read: 10,000 clusters fit many times.
const MAX_FLEET_FILE_BYTES: u64 = 8 << 20;

/// Most directories of a fleet directory: each is a cluster, with memory and files of its own.
const MAX_CLUSTERS: usize = 5_000;

/// Why a fleet cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// The file or directory cannot be read.
    #[error("cannot read the fleet {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is not a valid fleet file.
    #[error("{}:{line}: {message}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong there, and what to do.
        message: String,
    },
    /// The directory holds no cluster.
    #[error(
        "the fleet directory {} has no sub-directories; each one is a cluster of that name, with its manifests in it",
        path.display()
    )]
    NoClusters {
        /// The directory.
        path: PathBuf,
    },
    /// A sub-directory can be no cluster.
    #[error("the directory {} cannot be a cluster: {reason}", path.display())]
    Directory {
        /// The sub-directory.
        path: PathBuf,
        /// Why.
        reason: SubDirectoryError,
    },
}

/// The clusters of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetFile {
    /// In the order of the file, or of the directory names.
    pub clusters: Vec<FleetCluster>,
    /// Where Dependencies are read, apart from the clusters themselves.
    pub hub: Option<ObjectSource>,
    /// The directory of which the clusters are sub-directories: more may come. None for a fleet file.
    pub root: Option<PathBuf>,
    /// The directory of the fleet file, or the fleet directory.
    pub base: PathBuf,
}

impl FleetFile {
    /// What links of a directory cluster must not lead out of: the fleet's directory, or that of the cluster where it is
    /// elsewhere.
    #[must_use]
    pub fn root_of(&self, directory: &Path) -> PathBuf {
        let real = fs::canonicalize(directory).ok().zip(fs::canonicalize(&self.base).ok());
        let is_below = self.root.is_some() || real.is_some_and(|(directory, base)| directory.starts_with(base));
        if is_below { self.base.clone() } else { directory.to_owned() }
    }

    /// The directory of a cluster that is a directory.
    #[must_use]
    pub fn directory_of(&self, cluster: &ClusterName) -> Option<PathBuf> {
        match self.clusters.iter().find(|known| known.name == *cluster) {
            Some(known) => match &known.place {
                ObjectSource::Directory(path) => Some(path.clone()),
                ObjectSource::Kube { .. } => None,
            },
            None => self.root.as_ref().map(|root| root.join(cluster.as_str())),
        }
    }

    /// The id of withheld removals that the file consents to in a cluster.
    #[must_use]
    pub fn released_in(&self, cluster: &ClusterName) -> Option<String> {
        self.clusters.iter().find(|known| known.name == *cluster)?.release_removals.clone()
    }

    /// Where a cluster that is a directory is written to: below which directory nothing may lead out, and the directory in it.
    #[must_use]
    pub fn output_of(&self, cluster: &ClusterName) -> Option<(PathBuf, PathBuf)> {
        let directory = self.directory_of(cluster)?;
        Some(match &self.root {
            Some(root) => (root.clone(), PathBuf::from(cluster.as_str())),
            None => (directory, PathBuf::new()),
        })
    }

    /// Sets the Istio namespaces of the file in the registry. To be called before its clusters are registered.
    pub fn set_istio_namespaces(&self, registry: &Registry) {
        for cluster in &self.clusters {
            registry.set_istio_namespace(&cluster.name, cluster.istio_namespace.as_deref());
        }
    }
}

/// One cluster of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetCluster {
    /// Its name; unique in the fleet.
    pub name: ClusterName,
    /// Where it is.
    pub place: ObjectSource,
    /// The namespace of its Istio, where the setting does not count.
    pub istio_namespace: Option<String>,
    /// The id of withheld removals that the file consents to.
    pub release_removals: Option<String>,
}

/// Where the objects of a cluster are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectSource {
    /// Behind an API server.
    Kube {
        /// Path of a kubeconfig.
        kubeconfig: PathBuf,
        /// Its context; the current one otherwise.
        context: Option<String>,
    },
    /// In a directory of manifests.
    Directory(PathBuf),
}

/// Reads a fleet file, or a directory with one sub-directory per cluster.
///
/// # Errors
/// Names the file and the line, or the directory. Sub-directories must not lead out of `root`; without one, out of the fleet.
pub fn load(path: &Path, root: Option<&Path>) -> Result<FleetFile, FleetFileError> {
    let read = |source| FleetFileError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(read)?;
    if metadata.is_dir() {
        return load_directory(path, root.unwrap_or(path));
    }
    if metadata.len() > MAX_FLEET_FILE_BYTES {
        let words = format!("it has {} bytes; at most {MAX_FLEET_FILE_BYTES} are read", metadata.len());
        return Err(read(io::Error::new(io::ErrorKind::FileTooLarge, words)));
    }
    parse(&fs::read_to_string(path).map_err(read)?, path)
}

fn load_directory(path: &Path, root: &Path) -> Result<FleetFile, FleetFileError> {
    let found = sub_directories(path, root).map_err(|source| FleetFileError::Read { path: path.to_owned(), source })?;
    let mut clusters = Vec::new();
    for SubDirectory { path, name } in found {
        let name = name.map_err(|reason| FleetFileError::Directory { path: path.clone(), reason })?;
        clusters.push(FleetCluster {
            name,
            place: ObjectSource::Directory(path),
            istio_namespace: None,
            release_removals: None,
        });
    }
    if clusters.is_empty() {
        return Err(FleetFileError::NoClusters { path: path.to_owned() });
    }
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(FleetFile { clusters, hub: None, root: Some(path.to_owned()), base: path.to_owned() })
}

/// Why a directory in a fleet directory is no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubDirectoryError {
    /// Its name is no cluster name.
    #[error("its name {0}; rename it")]
    Name(NameError),
    /// It is a link to a directory elsewhere.
    #[error("it leads out of {}; move it there, or widen fleetRoot", .0.display())]
    LeadsOut(PathBuf),
}

/// A directory in a fleet directory.
pub(super) struct SubDirectory {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The cluster that it is, or why it can be none.
    pub(super) name: Result<ClusterName, SubDirectoryError>,
}

/// The directories in a fleet directory that are not hidden. A link that leads back to the fleet is none of its clusters, and
/// one that leads out of `root` must not be one.
pub(super) fn sub_directories(path: &Path, root: &Path) -> io::Result<Vec<SubDirectory>> {
    let (fleet, real_root) = (fs::canonicalize(path)?, fs::canonicalize(root)?);
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        let real = fs::canonicalize(&path)?;
        if fleet.starts_with(&real) {
            continue;
        }
        if found.len() >= MAX_CLUSTERS {
            let message = format!("it has more than {MAX_CLUSTERS} directories");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let name = match real.starts_with(&real_root) {
            true => ClusterName::parse(&name).map_err(SubDirectoryError::Name),
            false => Err(SubDirectoryError::LeadsOut(root.to_owned())),
        };
        found.push(SubDirectory { path, name });
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    clusters: Vec<Spanned<ClusterText>>,
    hub: Option<Spanned<HubText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterText {
    name: String,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    directory: Option<PathBuf>,
    #[serde(rename = "istioNamespace")]
    istio_namespace: Option<String>,
    #[serde(rename = "releaseRemovals")]
    release_removals: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HubText {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    directory: Option<PathBuf>,
}

fn parse(text: &str, path: &Path) -> Result<FleetFile, FleetFileError> {
    let wrong = |line, message: String| FleetFileError::Text { path: path.to_owned(), line, message };
    let options = serde_saphyr::options! { with_snippet: false };
    let file: FileText = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| wrong(error.location().map_or(1, |at| at.line()), words::of_yaml(&error)))?;
    if file.clusters.is_empty() {
        return Err(wrong(1, "the fleet has no clusters; list at least one under `clusters`".into()));
    }
    let base = path.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut clusters = Vec::new();
    let mut lines = BTreeMap::new();
    for Spanned { value: cluster, referenced, .. } in file.clusters {
        let line = referenced.line();
        let name =
            ClusterName::parse(&cluster.name).map_err(|reason| wrong(line, format!("the cluster's name {reason}")))?;
        if let Some(first) = lines.insert(name.clone(), line) {
            return Err(wrong(
                line,
                format!("the cluster {name} stands already in line {first}; give each its own name"),
            ));
        }
        let place = place(base, cluster.kubeconfig, cluster.context, cluster.directory)
            .map_err(|message| wrong(line, format!("the cluster {name} {message}")))?;
        if let Some(namespace) = cluster.istio_namespace.as_deref().filter(|namespace| !is_dns_label(namespace)) {
            return Err(wrong(
                line,
                format!("the cluster {name} has the istioNamespace {namespace:?}, which is no namespace's name"),
            ));
        }
        let (istio_namespace, release_removals) = (cluster.istio_namespace, cluster.release_removals);
        clusters.push(FleetCluster { name, place, istio_namespace, release_removals });
    }
    let hub = file
        .hub
        .map(|Spanned { value: hub, referenced, .. }| {
            place(base, hub.kubeconfig, hub.context, hub.directory)
                .map_err(|message| wrong(referenced.line(), format!("the hub {message}")))
        })
        .transpose()?;
    Ok(FleetFile { clusters, hub, root: None, base: base.to_owned() })
}

/// Why an entry does not say where its cluster is.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("has both a kubeconfig and a directory; keep one")]
    Both,
    #[error("has neither a kubeconfig nor a directory; give it one")]
    Neither,
    #[error("has a context, which belongs to a kubeconfig; remove it")]
    ContextOfDirectory,
    #[error("names the kubeconfig {}, which is not a file", .0.display())]
    NoKubeconfig(PathBuf),
    #[error("names the directory {}, which is not one", .0.display())]
    NoDirectory(PathBuf),
}

fn place(
    base: &Path,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    directory: Option<PathBuf>,
) -> Result<ObjectSource, PlaceError> {
    match (kubeconfig, directory) {
        (Some(_), Some(_)) => Err(PlaceError::Both),
        (None, None) => Err(PlaceError::Neither),
        (None, Some(_)) if context.is_some() => Err(PlaceError::ContextOfDirectory),
        (Some(kubeconfig), None) => {
            let kubeconfig = base.join(kubeconfig);
            if !kubeconfig.is_file() {
                return Err(PlaceError::NoKubeconfig(kubeconfig));
            }
            Ok(ObjectSource::Kube { kubeconfig, context })
        }
        (None, Some(directory)) => {
            let directory = base.join(directory);
            if !directory.is_dir() {
                return Err(PlaceError::NoDirectory(directory));
            }
            Ok(ObjectSource::Directory(directory))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with `west/` and `east.kubeconfig`, and a fleet file of the given text in it.
    fn fleet(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("west")).unwrap();
        fs::write(directory.path().join("east.kubeconfig"), "").unwrap();
        let file = directory.path().join("fleet.yaml");
        fs::write(&file, text).unwrap();
        (directory, file)
    }

    fn refusal(text: &str) -> String {
        let (directory, file) = fleet(text);
        let message = load(&file, None).unwrap_err().to_string();
        message.replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let (directory, file) = fleet(
            "clusters:\n- name: east\n  kubeconfig: east.kubeconfig\n  context: admin\n\
             - {name: west, directory: ./west, istioNamespace: aks-istio-system}\nhub: {kubeconfig: east.kubeconfig}\n",
        );
        let kubeconfig = directory.path().join("east.kubeconfig");
        let fleet = load(&file, None).unwrap();
        assert_eq!(fleet.hub, Some(ObjectSource::Kube { kubeconfig: kubeconfig.clone(), context: None }));
        let [east, west] = &fleet.clusters[..] else { panic!("two clusters") };
        assert_eq!((east.name.as_str(), west.name.as_str()), ("east", "west"));
        assert_eq!(east.place, ObjectSource::Kube { kubeconfig, context: Some("admin".into()) });
        assert_eq!(west.place, ObjectSource::Directory(directory.path().join("./west")));
        assert_eq!([&east.istio_namespace, &west.istio_namespace], [&None, &Some("aks-istio-system".to_owned())]);
    }

    #[test]
    fn invalid_entries_are_refused_with_their_line() {
        for (text, expected) in [
            (
                "clusters:\n- name: east\n  kubeconfg: x\n",
                "fleet.yaml:3: kubeconfg is not known here; known are name, kubeconfig, context, directory, istioNamespace",
            ),
            ("clusters: []\nhubs: {}\n", "fleet.yaml:2: hubs is not known here"),
            ("clusters: []\n", "fleet.yaml:1: the fleet has no clusters"),
            ("hub: {directory: west}\n", "fleet.yaml:1: clusters is missing"),
            ("clusters:\n- name: a\n", "fleet.yaml:2: the cluster a has neither"),
            (
                "clusters:\n\n- {name: a, directory: west, kubeconfig: east.kubeconfig}\n",
                "fleet.yaml:3: the cluster a has both",
            ),
            ("clusters:\n- {name: a, directory: west, context: b}\n", "fleet.yaml:2: the cluster a has a context"),
            ("clusters:\n- {name: a, directory: north}\n", "fleet.yaml:2: the cluster a names the directory north"),
            ("clusters:\n- {name: a, kubeconfig: west}\n", "fleet.yaml:2: the cluster a names the kubeconfig west"),
            (
                "clusters:\n- {name: a/b, directory: west}\n",
                "fleet.yaml:2: the cluster's name \"a/b\" has the character '/'",
            ),
            (
                "clusters:\n- {name: a, directory: west}\n- {name: a, directory: west}\n",
                "fleet.yaml:3: the cluster a stands already in line 2",
            ),
            ("clusters:\n- {name: a, directory: west}\nhub:\n  context: x\n", "fleet.yaml:4: the hub has neither"),
            (
                "clusters:\n- {name: a, directory: west, istioNamespace: Istio_System}\n",
                "fleet.yaml:2: the cluster a has the istioNamespace \"Istio_System\", which is no namespace's name",
            ),
            ("clusters:\n  - a: [\n", "fleet.yaml:2: "),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_directory_is_a_fleet_of_its_sub_directories() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(directory.path(), None).unwrap_err().to_string();
        assert!(error.contains("has no sub-directories"), "{error}");
        for name in ["west", "east", ".git"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("README.md"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        let fleet = load(directory.path(), None).unwrap();
        assert_eq!(fleet.clusters.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["east", "west"]);
        let newcomer = ClusterName::parse("north").unwrap();
        assert_eq!(fleet.directory_of(&newcomer), Some(directory.path().join("north")));
        let elsewhere = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        {
            let planted = directory.path().join("planted");
            std::os::unix::fs::symlink(elsewhere.path(), &planted).unwrap();
            let error = load(directory.path(), None).unwrap_err().to_string();
            assert!(error.contains("planted cannot be a cluster: it leads out of"), "{error}");
            assert_eq!(load(directory.path(), Some(Path::new("/"))).unwrap().clusters.len(), 3);
            fs::remove_file(planted).unwrap();
        }
        fs::create_dir(directory.path().join("no name")).unwrap();
        assert!(load(directory.path(), None).unwrap_err().to_string().contains("has the character ' '"));
        assert!(load(&directory.path().join("nowhere"), None).unwrap_err().to_string().contains("nowhere"));
    }
}
