//! Where an object is in the fleet: its cluster, kind, namespace and name.
//!
//! [`ObjectId`] names an object within one cluster and is the key of what is stored per cluster. An [`ObjectPath`] is the
//! only reference over clusters: notes are about one, and annotations of written objects name one as text, which is parsed
//! once, when the object is observed.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Serialize, Serializer};

use super::{ClusterName, Kind, NameError, ObjectId};

/// The kind of what an [`ObjectPath`] names: an observed kind, or something else that a note may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// An object of a kind that is read or written.
    Observed(Kind),
    /// A cluster as a whole.
    Cluster,
    /// A ConfigMap of the hub.
    ConfigMap,
    /// A directory of manifests.
    Directory,
    /// A file of manifests.
    File,
    /// The plan of one unit.
    Plan,
    /// A Secret of the hub.
    Secret,
}

impl ObjectKind {
    /// The kind as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed(kind) => kind.as_str(),
            Self::Cluster => "Cluster",
            Self::ConfigMap => "ConfigMap",
            Self::Directory => "Directory",
            Self::File => "File",
            Self::Plan => "Plan",
            Self::Secret => "Secret",
        }
    }

    /// The observed kind, where it is one.
    #[must_use]
    pub fn observed(self) -> Option<Kind> {
        match self {
            Self::Observed(kind) => Some(kind),
            _ => None,
        }
    }
}

impl From<Kind> for ObjectKind {
    fn from(kind: Kind) -> Self {
        Self::Observed(kind)
    }
}

impl PartialEq<Kind> for ObjectKind {
    fn eq(&self, other: &Kind) -> bool {
        self.observed() == Some(*other)
    }
}

/// Kinds are sorted by name, so that lists of notes keep their order when a kind is added.
impl Ord for ObjectKind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for ObjectKind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ObjectKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a text is not the path of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectPathError {
    /// Not three parts with something in the last.
    #[error("{0:?} is not cluster/namespace/name")]
    Parts(String),
    /// The cluster cannot have that name.
    #[error("the cluster {0}")]
    Cluster(#[from] NameError),
}

/// An object of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectPath {
    /// Cluster that holds the object.
    pub cluster: ClusterName,
    /// Its kind.
    pub kind: ObjectKind,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Name; empty for all objects of the kind.
    pub name: Arc<str>,
}

impl ObjectPath {
    /// Puts the parts together.
    #[must_use]
    pub fn new(cluster: &ClusterName, kind: impl Into<ObjectKind>, namespace: &str, name: &str) -> Self {
        Self { cluster: cluster.clone(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    /// All objects of a kind in a cluster, or in one of its namespaces.
    #[must_use]
    pub fn all_of(cluster: &ClusterName, kind: impl Into<ObjectKind>, namespace: &str) -> Self {
        Self::new(cluster, kind, namespace, "")
    }

    /// A cluster as a whole.
    #[must_use]
    pub fn of_cluster(cluster: &ClusterName) -> Self {
        Self::new(cluster, ObjectKind::Cluster, "", "")
    }

    /// Reads `cluster/namespace/name`, as [`Self::text`] writes it. The text does not say the kind: the annotation that
    /// holds it does.
    ///
    /// # Errors
    /// When a part is missing or the cluster's name cannot be one.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, ObjectPathError> {
        let parts: Vec<&str> = text.splitn(3, '/').collect();
        let &[cluster, namespace, name] = parts.as_slice() else {
            return Err(ObjectPathError::Parts(text.to_owned()));
        };
        if name.is_empty() {
            return Err(ObjectPathError::Parts(text.to_owned()));
        }
        let hub = ClusterName::hub();
        let cluster = if cluster == hub.as_str() { hub } else { ClusterName::parse(cluster)? };
        Ok(Self::new(&cluster, kind, namespace, name))
    }

    /// `cluster/namespace/name`, as annotations and views name it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

impl ObjectId {
    /// The same object with its cluster.
    #[must_use]
    pub fn in_cluster(&self, cluster: &ClusterName) -> ObjectPath {
        ObjectPath {
            cluster: cluster.clone(),
            kind: self.kind.into(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// For people: `east: Service team/orders`.
impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cluster, self.kind)?;
        match (&*self.namespace, &*self.name) {
            ("", "") => Ok(()),
            ("", name) => write!(f, " {name}"),
            (namespace, "") => write!(f, " in namespace {namespace}"),
            (namespace, name) => write!(f, " {namespace}/{name}"),
        }
    }
}

/// What a copy of a user's object is a copy of, by its annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOrigin {
    /// The user's object.
    Object(ObjectPath),
    /// The annotation was edited: the object is a copy, and its origin is not known.
    Illegible,
}

impl CopyOrigin {
    /// Reads the annotation of a copy.
    #[must_use]
    pub fn parse(kind: Kind, text: &str) -> Self {
        ObjectPath::parse(kind, text).map_or(Self::Illegible, Self::Object)
    }

    /// The user's object, where it is known.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectPath> {
        match self {
            Self::Object(path) => Some(path),
            Self::Illegible => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let east = ClusterName::parse("east").unwrap();
        for (cluster, namespace, name) in
            [(&east, "team", "orders"), (&east, "", "node-1"), (&ClusterName::hub(), "admiral", "a.b")]
        {
            let path = ObjectId::new(Kind::TrafficConfig, namespace, name).in_cluster(cluster);
            assert_eq!(ObjectPath::parse(Kind::TrafficConfig, &path.text()), Ok(path));
        }
    }

    #[test]
    fn texts_that_name_no_object_are_refused_in_words() {
        let refused = |text: &str| ObjectPath::parse(Kind::Service, text).unwrap_err().to_string();
        assert_eq!(refused("east"), "\"east\" is not cluster/namespace/name");
        assert_eq!(refused("east/team"), "\"east/team\" is not cluster/namespace/name");
        assert_eq!(refused("east/team/"), "\"east/team/\" is not cluster/namespace/name");
        assert_eq!(refused("/team/orders"), "the cluster is empty");
        assert!(refused("e st/team/orders").starts_with("the cluster \"e st\" has the character ' '"));
        assert_eq!(CopyOrigin::parse(Kind::Service, "east"), CopyOrigin::Illegible);
    }

    #[test]
    fn people_read_what_is_there_and_lists_are_sorted_by_the_names_of_kinds() {
        let east = ClusterName::parse("east").unwrap();
        let shown =
            |kind: ObjectKind, namespace: &str, name: &str| ObjectPath::new(&east, kind, namespace, name).to_string();
        assert_eq!(shown(Kind::Service.into(), "team", "orders"), "east: Service team/orders");
        assert_eq!(shown(Kind::Service.into(), "team", ""), "east: Service in namespace team");
        assert_eq!(shown(ObjectKind::File, "", "a.yaml"), "east: File a.yaml");
        assert_eq!(ObjectPath::of_cluster(&east).to_string(), "east: Cluster");
        let mut kinds = [Kind::Service.into(), ObjectKind::Secret, Kind::Deployment.into(), ObjectKind::Cluster];
        kinds.sort();
        assert_eq!(kinds.map(ObjectKind::as_str), ["Cluster", "Deployment", "Secret", "Service"]);
    }
}
