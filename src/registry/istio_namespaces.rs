//! The namespace of Istio in each cluster: where its control plane runs, what it reads for the whole mesh (Istio API,
//! `MeshConfig.rootNamespace`), and what says something about the cluster: its network, and annotations of Tradewind.
//!
//! Decides which namespace that is, and whether it seems to be another; never what is read from it.

use std::sync::Arc;

use super::{
    Queries, Registry,
    cluster_state::{ClusterState, Effects},
    dirty::{self, Trigger},
    effects,
};
use crate::{
    istio::keys,
    model::{ClusterName, Kind, Note, NoteKind, ObjectId},
};

impl Registry {
    /// Makes a namespace that of a cluster's Istio; with `None` the setting counts. Answers whether it was another before:
    /// then the objects of the cluster have to be read again.
    pub fn set_istio_namespace(&self, cluster: &ClusterName, namespace: Option<&str>) -> bool {
        let Some(now) = self.fleet.name_istio_namespace(cluster, namespace) else { return false };
        let topology = self.fleet.get_mut(cluster).map(|mut state| state.set_istio_namespace(now));
        if let Some(topology) = topology {
            let trigger = Trigger::Cluster(cluster.clone());
            effects::propagate_effects(self, cluster, Effects::of_topology(topology), &trigger);
            dirty::mark_everything(self, &trigger);
        }
        true
    }
}

impl Queries<'_> {
    /// The namespace of a cluster's Istio.
    #[must_use]
    pub fn istio_namespace(&self, cluster: &ClusterName) -> Arc<str> {
        self.registry.fleet.istio_namespace(cluster)
    }
}

/// The namespaces in which gateway Services of a cluster are looked for.
pub(super) fn gateway_namespaces(registry: &Registry, istio_namespace: &str) -> Vec<String> {
    match registry.settings.gateway_namespaces.as_slice() {
        [] => vec![istio_namespace.to_owned()],
        known => known.to_vec(),
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
