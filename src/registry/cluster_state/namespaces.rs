//! The Namespaces of one cluster: whether their workloads count, whether their pods have sidecars, and what that of its Istio
//! says about the cluster.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    model::{Labels, Namespace, ObjectId},
    registry::{cluster_state::topology::has_cluster_metadata, injection::NamespaceMarks},
};

/// Every cluster has this namespace.
const OF_EVERY_CLUSTER: &str = "kube-system";

/// The Namespaces of one cluster.
#[derive(Debug)]
pub(in crate::registry) struct Namespaces {
    all: HashMap<Arc<str>, Namespace>,
    /// What namespaces said when they were deleted: what still runs there is on its way out, and stays what it is.
    deleted: HashMap<Arc<str>, Option<NamespaceMarks>>,
    /// The namespace of the cluster's Istio.
    of_istio: Arc<str>,
}

/// What changed by one Namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NamespaceChange {
    /// Whether its workloads are to be classified again.
    pub(super) marks: bool,
    /// What the namespace of Istio says about the cluster now, where that changed.
    pub(super) cluster_metadata: Option<Labels>,
    /// Whether a note about the namespace of Istio may be due.
    pub(super) noted: bool,
}

impl Namespaces {
    pub(super) fn new(of_istio: &str) -> Self {
        Self { all: HashMap::new(), deleted: HashMap::new(), of_istio: of_istio.into() }
    }

    /// What a namespace says about its workloads; none where they are ignored.
    pub(super) fn marks(&self, name: &str) -> Option<NamespaceMarks> {
        match (self.all.get(name), self.deleted.get(name)) {
            (Some(known), _) => (!known.ignored).then(|| NamespaceMarks::of(name, Some(known))),
            (None, Some(deleted)) => *deleted,
            (None, None) => Some(NamespaceMarks::of(name, None)),
        }
    }

    pub(super) fn put(&mut self, namespace: Namespace) -> NamespaceChange {
        let name = namespace.id.name.clone();
        let before = self.marks(&name);
        self.deleted.remove(&name);
        let cluster_metadata = self.changed_metadata(&name, &namespace.cluster_metadata);
        let was_noted = self.bears_on_istio(&name);
        self.all.insert(name.clone(), namespace);
        let noted = was_noted || self.bears_on_istio(&name);
        NamespaceChange { marks: self.marks(&name) != before, cluster_metadata, noted }
    }

    /// Forgets a Namespace. `is_used`: whether workloads still run there.
    pub(super) fn remove(&mut self, name: &Arc<str>, is_used: bool) -> NamespaceChange {
        if is_used && self.all.contains_key(name) {
            self.deleted.insert(name.clone(), self.marks(name));
        }
        let cluster_metadata = self.changed_metadata(name, &Labels::new());
        let noted = self.bears_on_istio(name);
        self.all.remove(name);
        NamespaceChange { marks: false, cluster_metadata, noted }
    }

    fn changed_metadata(&self, name: &str, now: &Labels) -> Option<Labels> {
        let none = Labels::new();
        let known = self.all.get(name).map_or(&none, |namespace| &namespace.cluster_metadata);
        (name == &*self.of_istio && known != now).then(|| now.clone())
    }

    pub(in crate::registry) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    pub(super) fn ids(&self) -> Vec<ObjectId> {
        self.all.values().map(|namespace| namespace.id.clone()).collect()
    }

    // ---- the namespace of Istio ----

    /// The namespace of the cluster's Istio.
    pub(in crate::registry) fn of_istio(&self) -> &Arc<str> {
        &self.of_istio
    }

    /// Makes another namespace that of the cluster's Istio; answers what it says about the cluster.
    pub(super) fn set_of_istio(&mut self, name: Arc<str>) -> Labels {
        self.of_istio = name;
        self.all.get(&self.of_istio).map(|known| known.cluster_metadata.clone()).unwrap_or_default()
    }

    /// Whether a namespace, as it is now, may be a reason for the note about the namespace of Istio.
    fn bears_on_istio(&self, name: &str) -> bool {
        name == &*self.of_istio
            || name == OF_EVERY_CLUSTER
            || self.all.get(name).is_some_and(|known| has_cluster_metadata(&known.cluster_metadata))
    }

    /// Whether the namespace of Istio says something about the cluster.
    pub(in crate::registry) fn has_metadata(&self) -> bool {
        self.all.get(&self.of_istio).is_some_and(|known| has_cluster_metadata(&known.cluster_metadata))
    }

    /// The namespaces that say something about the cluster.
    pub(in crate::registry) fn with_metadata(&self) -> BTreeSet<&str> {
        let with = self.all.iter().filter(|(_, known)| has_cluster_metadata(&known.cluster_metadata));
        with.map(|(name, _)| &**name).collect()
    }

    /// Whether the namespaces seem to be all that the cluster has: manifests often hold none.
    pub(in crate::registry) fn is_whole(&self) -> bool {
        self.has(OF_EVERY_CLUSTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::keys;

    fn with_network(name: &str, network: &str) -> Namespace {
        let cluster_metadata = [(keys::NETWORK.to_owned(), network.to_owned())].into();
        Namespace { cluster_metadata, ..Namespace::new(name) }
    }

    #[test]
    fn only_the_istio_namespace_has_facts_about_the_cluster() {
        let mut namespaces = Namespaces::new("istio-system");
        let change = namespaces.put(with_network("istio-system", "one"));
        assert_eq!(change.cluster_metadata, Some(with_network("", "one").cluster_metadata));
        assert!(change.noted && !change.marks && namespaces.has_metadata());
        assert_eq!(namespaces.put(with_network("istio-system", "one")).cluster_metadata, None);
        assert_eq!(namespaces.put(with_network("mesh", "two")).cluster_metadata, None);
        assert_eq!(namespaces.set_of_istio("mesh".into()), with_network("", "two").cluster_metadata);
        assert_eq!(namespaces.remove(&"mesh".into(), false).cluster_metadata, Some(Labels::new()));
        assert!(!namespaces.has_metadata() && !namespaces.is_whole());
        assert_eq!(namespaces.with_metadata(), ["istio-system"].into());
    }

    #[test]
    fn what_runs_in_a_deleted_namespace_stays_what_it_is() {
        let mut namespaces = Namespaces::new("istio-system");
        let ignored = Namespace { ignored: true, ..Namespace::new("shop") };
        assert!(namespaces.put(ignored.clone()).marks);
        assert_eq!(namespaces.marks("shop"), None);
        assert_eq!(namespaces.remove(&"shop".into(), true), NamespaceChange::default());
        assert_eq!(namespaces.marks("shop"), None, "its workloads are on their way out");
        assert!(namespaces.put(Namespace::new("shop")).marks);
        namespaces.put(ignored);
        namespaces.remove(&"shop".into(), false);
        assert!(namespaces.marks("shop").is_some(), "nothing runs there any more");
    }
}
