//! The namespace of Istio in each cluster: where its control plane runs, what it reads for the whole mesh (Istio API,
//! `MeshConfig.rootNamespace`), and what says something about the cluster: its network, and annotations of Tradewind.
//!
//! Decides which namespace that is, and whether it seems to be another; never what is read from it.

use std::sync::Arc;

use super::{
    Registry,
    cluster_state::{ClusterState, Effects},
    dirty::Trigger,
};
use crate::{
    istio::keys,
    model::{ClusterName, IstioNamespaces, Kind, Note, NoteKind, ObjectId},
};

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
        let topology = self.cluster_states.get_mut(cluster).map(|mut state| state.set_istio_namespace(now));
        if let Some(topology) = topology {
            let trigger = Trigger::Cluster(cluster.clone());
            self.spread(cluster, Effects::of_topology(topology), &trigger);
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

/// Why Istio of a cluster may run in another namespace than the one that is read. While nothing there and elsewhere hints at
/// Istio, as in manifests without Namespaces or a cluster without workloads, there is no note.
pub(super) fn note_of_istio_namespace(state: &ClusterState) -> Option<Note> {
    let (namespace, namespaces) = (state.namespaces.of_istio(), &state.namespaces);
    let has_istiod = state.services.istiod_namespaces().any(|of| of == namespace);
    if !state.freshness.knows(Kind::Namespace) || namespaces.has_metadata() || has_istiod {
        return None;
    }
    let mut others = namespaces.with_metadata();
    others.extend(state.services.istiod_namespaces().map(|name| &**name));
    let is_missing = !namespaces.has(namespace);
    let is_missed = is_missing && namespaces.is_whole() && state.workloads.count() > 0;
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
        object: ObjectId::new(Kind::Namespace, "", namespace).in_cluster(state.name()),
        service: None,
        message: format!(
            "it {what}, although it is set as the namespace of Istio{elsewhere}; the cluster's network ({}) is not \
             known, and the settings count for its trust domain and DNS domain",
            keys::NETWORK
        ),
    })
}
