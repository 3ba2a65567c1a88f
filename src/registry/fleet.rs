//! The clusters of the fleet: their states by name, and what is set for each as a whole.
//!
//! Decides nothing: what a change means for others is for [`effects`](super::effects).

use std::{collections::BTreeSet, sync::Arc};

use dashmap::mapref::one::{Ref, RefMut};

use super::{
    Registry,
    cluster_state::{ClusterState, Effects, workloads::eligibility::share_owners},
    dirty::Trigger,
    effects,
    identity_owners::IdentityOwners,
    locks::{Rank, RankedGuard, RankedIter, RankedMap, RankedRwLock},
};
use crate::{
    config::Settings,
    model::{ClusterName, IstioNamespaces, Kind},
};

/// The clusters of the fleet.
#[derive(Debug)]
pub(super) struct ClusterStates {
    /// Who counts for which identity.
    pub(super) owners: Arc<IdentityOwners>,
    states: RankedMap<ClusterName, ClusterState>,
    /// Cluster names by their label value.
    labels: RankedMap<String, ClusterName>,
    /// Names of the clusters that are reached through the other gateway.
    nlb_clusters: RankedRwLock<BTreeSet<String>>,
    istio_namespaces: RankedRwLock<Arc<IstioNamespaces>>,
}

impl ClusterStates {
    pub(super) fn new(settings: &Settings) -> Self {
        let nlb_clusters = settings.nlb_enabled_clusters.iter().cloned().collect();
        let istio_namespaces = Arc::new(IstioNamespaces::new(&settings.istio_namespace));
        Self {
            owners: IdentityOwners::new(settings).into(),
            states: RankedMap::new(Rank::ClusterStates),
            labels: RankedMap::new(Rank::Labels),
            nlb_clusters: RankedRwLock::new(Rank::ClusterSettings, nlb_clusters),
            istio_namespaces: RankedRwLock::new(Rank::ClusterSettings, istio_namespaces),
        }
    }

    /// Adds a cluster, with all its kinds loading.
    pub(super) fn add(&self, cluster: &ClusterName, settings: &Settings) {
        let mut state = ClusterState::new(cluster.clone(), settings.watched_kinds_in(cluster), settings);
        share_owners(&mut state.workloads, self.owners.clone());
        let _ = state.set_istio_namespace(self.istio_namespace(cluster));
        state.topology.prefer_nlb(self.nlb_clusters.read().contains(cluster.as_str()));
        self.labels.insert(cluster.label_value(), cluster.clone());
        self.states.insert(cluster.clone(), state);
    }

    /// Adds the hub, unless it is there.
    pub(super) fn add_hub(&self, hub: &ClusterName, settings: &Settings) {
        let state = || ClusterState::new(hub.clone(), settings.kinds_of_hub(), settings);
        self.states.get_or_insert_with(hub.clone(), state);
    }

    /// Takes a cluster out.
    pub(super) fn remove(&self, cluster: &ClusterName) -> Option<ClusterState> {
        self.labels.remove(&cluster.label_value());
        self.states.remove(cluster)
    }

    pub(super) fn has(&self, cluster: &ClusterName) -> bool {
        self.states.contains_key(cluster)
    }

    pub(super) fn get(&self, cluster: &ClusterName) -> Option<RankedGuard<Ref<'_, ClusterName, ClusterState>>> {
        self.states.get(cluster)
    }

    pub(super) fn get_mut(&self, cluster: &ClusterName) -> Option<RankedGuard<RefMut<'_, ClusterName, ClusterState>>> {
        self.states.get_mut(cluster)
    }

    /// Changes a cluster; answers what follows, nothing where it is not there.
    pub(super) fn update(&self, cluster: &ClusterName, change: impl FnOnce(&mut ClusterState) -> Effects) -> Effects {
        self.get_mut(cluster).map(|mut state| change(&mut state)).unwrap_or_default()
    }

    /// Every cluster with the hub, in no order.
    pub(super) fn iter(&self) -> RankedIter<'_, ClusterName, ClusterState> {
        self.states.iter()
    }

    /// The names of the clusters that are published to, sorted: a hub that is no member has none of Istio's kinds.
    pub(super) fn names(&self) -> Vec<ClusterName> {
        let members = self.iter().filter(|state| state.freshness.watches(Kind::ServiceEntry));
        let mut names: Vec<_> = members.map(|state| state.name().clone()).collect();
        names.sort();
        names
    }

    /// The cluster with this label value.
    pub(super) fn by_label(&self, label: &str) -> Option<ClusterName> {
        self.labels.get(&label.to_owned()).map(|cluster| cluster.clone())
    }

    /// The namespace of a cluster's Istio.
    pub(super) fn istio_namespace(&self, cluster: &ClusterName) -> Arc<str> {
        self.istio_namespaces.read().of(cluster).clone()
    }

    /// The namespace of Istio in each cluster.
    pub(super) fn istio_namespaces(&self) -> Arc<IstioNamespaces> {
        self.istio_namespaces.read().clone()
    }

    /// Names another namespace of a cluster's Istio, or with `None` that of the settings; answers it where it is another.
    pub(super) fn name_istio_namespace(&self, cluster: &ClusterName, namespace: Option<&str>) -> Option<Arc<str>> {
        let mut namespaces = self.istio_namespaces.write();
        let before = namespaces.of(cluster).clone();
        Arc::make_mut(&mut namespaces).set(cluster, namespace);
        let now = namespaces.of(cluster).clone();
        (now != before).then_some(now)
    }
}

impl Registry {
    /// Makes `clusters` the whole list of those that are reached through the other gateway (setting `nlbEnabledClusters`)
    /// and marks what runs in those that came or went.
    pub fn set_nlb_clusters(&self, clusters: impl IntoIterator<Item = String>) {
        let clusters: BTreeSet<String> = clusters.into_iter().collect();
        self.fleet.nlb_clusters.write().clone_from(&clusters);
        for cluster in self.fleet.names() {
            let prefers = clusters.contains(cluster.as_str());
            let change = |state: &mut ClusterState| Effects::of_topology(state.topology.prefer_nlb(prefers));
            let effects = self.fleet.update(&cluster, change);
            effects::propagate_effects(self, &cluster, effects, &Trigger::Cluster(cluster.clone()));
        }
    }
}
