//! The namespace of Istio in each cluster: where its control plane runs, what it reads for the whole mesh (Istio API,
//! `MeshConfig.rootNamespace`), and what tells of the cluster: its network, and annotations of Tradewind.
//!
//! Decides which namespace that is, and whether it seems to be another; never what is read from it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry,
    cluster_state::{ClusterState, Effects},
    dirty::Trigger,
    topology::{TopologyChange, tells_of_cluster},
};
use crate::{
    istio::keys,
    model::{ClusterName, IstioNamespaces, Kind, LocalService, Note, NoteKind, ObjectId},
};

/// Every cluster has this namespace.
const OF_EVERY_CLUSTER: &str = "kube-system";
/// Label `app` of istiod's pods, by which its Service selects them (Istio's chart istio-control/istio-discovery).
const ISTIOD: &str = "istiod";

impl Registry {
    /// The namespace of a cluster's Istio.
    #[must_use]
    pub fn istio_namespace(&self, cluster: &ClusterName) -> Arc<str> {
        self.istio_namespaces.read().of(cluster).clone()
    }

    pub(super) fn istio_namespaces(&self) -> Arc<IstioNamespaces> {
        self.istio_namespaces.read().clone()
    }

    /// Makes a namespace that of a cluster's Istio; with `None` the setting counts. Answers whether it was another before:
    /// then the objects of the cluster have to be read again.
    pub fn set_istio_namespace(&self, cluster: &ClusterName, namespace: Option<&str>) -> bool {
        let (before, now) = {
            let mut namespaces = self.istio_namespaces.write();
            let before = namespaces.of(cluster).clone();
            Arc::make_mut(&mut namespaces).set(cluster, namespace);
            (before, namespaces.of(cluster).clone())
        };
        if now == before {
            return false;
        }
        let topology =
            self.cluster_states.get_mut(cluster).map(|mut cluster_state| cluster_state.set_istio_namespace(now));
        if let Some(topology) = topology {
            let trigger = Trigger::Cluster(cluster.clone());
            self.spread(cluster, Effects { topology, ..Effects::default() }, &trigger);
            self.mark_everything(&trigger);
        }
        true
    }

    /// The namespaces in which gateway Services of a cluster are looked for.
    pub(super) fn gateway_namespaces(&self, istio_namespace: &str) -> Vec<String> {
        match self.settings.gateway_namespaces.as_slice() {
            [] => vec![istio_namespace.to_owned()],
            known => known.to_vec(),
        }
    }
}

impl ClusterState {
    /// The namespace of its Istio.
    pub(super) fn istio_namespace(&self) -> &Arc<str> {
        &self.istio_namespace
    }

    /// Reads from another namespace what tells of the cluster.
    pub(super) fn set_istio_namespace(&mut self, namespace: Arc<str>) -> TopologyChange {
        self.istio_namespace = namespace;
        let facts = self.namespaces.get(&self.istio_namespace).map(|known| known.facts.clone()).unwrap_or_default();
        self.topology.put_facts(&facts)
    }

    /// Whether a namespace, as it is now, may be a reason for [`ClusterState::note_of_istio_namespace`].
    pub(super) fn bears_on_istio_namespace(&self, name: &str) -> bool {
        name == &*self.istio_namespace
            || name == OF_EVERY_CLUSTER
            || self.namespaces.get(name).is_some_and(|known| tells_of_cluster(&known.facts))
    }

    /// Why its Istio may run in another namespace than the one that is read. While nothing there and elsewhere hints at
    /// Istio, as in manifests without Namespaces or a cluster without workloads, there is no note.
    pub(super) fn note_of_istio_namespace(&self) -> Option<Note> {
        if !self.knows(Kind::Namespace) {
            return None;
        }
        let namespace = &self.istio_namespace;
        let known = self.namespaces.get(namespace);
        if known.is_some_and(|known| tells_of_cluster(&known.facts))
            || self.istiods.iter().any(|(of, _)| of == namespace)
        {
            return None;
        }
        let telling = self.namespaces.iter().filter(|(_, known)| tells_of_cluster(&known.facts)).map(|(name, _)| name);
        let with_istiod = self.istiods.iter().map(|(namespace, _)| namespace);
        let others: BTreeSet<&str> = telling.chain(with_istiod).map(|name| &**name).collect();
        let is_missing = known.is_none();
        let is_whole = self.namespaces.contains_key(OF_EVERY_CLUSTER);
        let is_missed = is_missing && is_whole && self.workload_count() > 0;
        if others.is_empty() && !is_missed {
            return None;
        }
        let what = if is_missing { "does not exist" } else { "says nothing of the cluster and has no istiod" };
        let elsewhere = match others.into_iter().collect::<Vec<_>>().as_slice() {
            [] => String::new(),
            others => format!("; Istio seems to run in {}", others.join(", ")),
        };
        Some(Note {
            kind: NoteKind::IstioNamespaceQuestionable,
            object: ObjectId::new(Kind::Namespace, "", namespace).in_cluster(self.name()),
            service: None,
            message: format!(
                "it {what}, although it is set as the namespace of Istio{elsewhere}; the cluster's network ({}) is not \
                 known, and the settings count for its trust domain and DNS domain",
                keys::NETWORK
            ),
        })
    }
}

/// Whether a Service is that of a control plane.
pub(super) fn is_istiod(service: &LocalService) -> bool {
    service.selector.get("app").is_some_and(|app| app == ISTIOD)
}
