//! Whose istiod serves which cluster: in a primary-remote mesh the proxies of a remote cluster read what is written into
//! their primary (Istio documentation, "Install Primary-Remote").
//!
//! Decides into which clusters objects belong and who reads them there; never what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::RwLockReadGuard;

use super::{
    Queries, Registry, Trigger, client_namespaces,
    cluster_state::ClusterState,
    dirty,
    locks::{Rank, RankedGuard, RankedRwLock},
    topology_notes,
};
use crate::{
    config::Sidecars,
    istio::keys,
    model::{ClusterName, Identity, Kind, Note, NoteKind, ObjectId, ServiceKey, WorkKey},
    plan::input::{ServedCluster, Target, TargetReason},
};

/// The remote clusters of the fleet, each with the clusters whose istiods serve it: none where it names nobody of the fleet.
type Remotes = BTreeMap<ClusterName, BTreeSet<ClusterName>>;

/// Whose istiods serve which cluster.
#[derive(Debug)]
pub(super) struct ControlPlanes(RankedRwLock<Remotes>);

impl Default for ControlPlanes {
    fn default() -> Self {
        Self(RankedRwLock::new(Rank::ControlPlanes, Remotes::new()))
    }
}

impl ControlPlanes {
    /// The remote clusters, each with those that serve it.
    pub(super) fn read(&self) -> RankedGuard<RwLockReadGuard<'_, Remotes>> {
        self.0.read()
    }

    /// The clusters whose istiods serve the proxies of a cluster: itself, unless its Istio namespace names others.
    pub(super) fn of(&self, cluster: &ClusterName) -> BTreeSet<ClusterName> {
        self.read().get(cluster).cloned().unwrap_or_else(|| [cluster.clone()].into())
    }

    /// Whether the proxies of a cluster are served by others, so that nothing is written there.
    pub(super) fn is_remote(&self, cluster: &ClusterName) -> bool {
        self.read().contains_key(cluster)
    }

    /// Makes `remotes` the remote clusters; answers those before.
    fn replace(&self, remotes: Remotes) -> Remotes {
        std::mem::replace(&mut *self.0.write(), remotes)
    }
}

impl Queries<'_> {
    /// The clusters whose istiods serve the proxies of a cluster: itself, unless its Istio namespace names others.
    #[must_use]
    pub fn control_planes(&self, cluster: &ClusterName) -> BTreeSet<ClusterName> {
        self.registry.control_planes.of(cluster)
    }

    /// Whether the proxies of a cluster are served by others, so that nothing is written there.
    #[must_use]
    pub fn is_remote(&self, cluster: &ClusterName) -> bool {
        self.registry.control_planes.is_remote(cluster)
    }
}

/// The other clusters whose proxies read what is written into a cluster, sorted.
pub(super) fn remotes_of(registry: &Registry, cluster: &ClusterName) -> Vec<ClusterName> {
    let remotes = registry.control_planes.read();
    remotes.iter().filter(|(_, planes)| planes.contains(cluster)).map(|(remote, _)| remote.clone()).collect()
}

/// Refreshes who serves whom, and plans everything again where that changed.
pub(super) fn refresh(registry: &Registry, of: &ClusterName) {
    let mut named: Remotes = BTreeMap::new();
    for state in registry.fleet.iter().filter(|state| state.freshness.watches(Kind::ServiceEntry)) {
        let planes = state.topology.control_planes();
        if state.freshness.knows(Kind::Namespace)
            && !planes.is_empty()
            && !planes.iter().any(|of| **of == *state.name().as_str())
        {
            let planes = planes.iter().filter_map(|name| ClusterName::parse(name).ok());
            named.insert(state.name().clone(), planes.collect());
        }
    }
    let written: Vec<(ClusterName, ClusterName)> = registry
        .fleet
        .iter()
        .flat_map(|state| {
            let read_in = state.outputs.read_in().filter(|reader| *reader != state.name());
            read_in.map(|reader| (reader.clone(), state.name().clone())).collect::<Vec<_>>()
        })
        .collect();
    for (remote, plane) in written {
        if registry.fleet.get(&remote).is_some_and(|state| !state.freshness.knows(Kind::Namespace)) {
            named.entry(remote).or_default().insert(plane);
        }
    }
    let remotes: Remotes = named
        .iter()
        .map(|(remote, planes)| {
            let serves = |plane: &&ClusterName| registry.fleet.has(plane) && !named.contains_key(*plane);
            (remote.clone(), planes.iter().filter(serves).cloned().collect())
        })
        .collect();
    let before = registry.control_planes.replace(remotes.clone());
    if before != remotes {
        for (remote, planes) in &before {
            let state = registry.fleet.get(remote);
            let sidecars =
                sidecars_at(registry, planes, state.iter().flat_map(|state| state.workloads.client_namespaces()));
            dirty::mark_for(registry, sidecars, &Trigger::Cluster(of.clone()));
        }
        before.keys().chain(remotes.keys()).for_each(|cluster| topology_notes::note_topology(registry, cluster));
        dirty::mark_everything(registry, &Trigger::Cluster(of.clone()));
    }
}

/// What is wrong with whom a cluster names as those that serve it.
pub(super) fn note_of_control_planes(registry: &Registry, state: &ClusterState) -> Option<Note> {
    let planes = registry.control_planes.read().get(state.name()).cloned()?;
    let named = state.topology.control_planes();
    let missing: Vec<&str> =
        named.iter().map(|name| &**name).filter(|name| !planes.iter().any(|of| of.as_str() == *name)).collect();
    if missing.is_empty() {
        return None;
    }
    let then = if planes.is_empty() { "nothing is written for its clients" } else { "the others count" };
    Some(Note {
        kind: NoteKind::ClusterFactInvalid,
        object: ObjectId::new(Kind::Namespace, "", state.namespaces.of_istio()).in_cluster(state.name()),
        service: None,
        message: format!(
            "the annotation {} names {}, which is no cluster of the fleet with an istiod of its own; {then}",
            keys::CONTROL_PLANE_CLUSTERS,
            missing.join(", ")
        ),
    })
}

/// Whether it is not known who runs in a remote cluster, or where.
fn is_unread(registry: &Registry, remote: &ClusterName) -> bool {
    registry.fleet.get(remote).is_none_or(|state| {
        state.freshness.is_loading()
            || !state.coverage().dependents()
            || !state.freshness.knows(Kind::Namespace)
            || (state.topology.regions().is_empty() && !state.freshness.knows(Kind::Node))
    })
}

/// Whether clients of a cluster's istiod are not known, so that nothing may be taken away from them.
pub(super) fn misses_readers(registry: &Registry, cluster: &ClusterName) -> bool {
    remotes_of(registry, cluster).iter().any(|remote| is_unread(registry, remote))
}

/// Gives what remote clusters should have to those whose istiods serve them.
pub(super) fn at_control_planes(
    registry: &Registry,
    key: &ServiceKey,
    targets: Vec<Target>,
    written_in: &[ClusterName],
) -> Vec<Target> {
    let remotes = registry.control_planes.read().clone();
    if remotes.is_empty() {
        return targets;
    }
    let mut gathered: BTreeMap<ClusterName, Target> = BTreeMap::new();
    for target in targets {
        let planes = registry.control_planes.of(&target.cluster);
        for plane in planes {
            let here = Target { cluster: plane.clone(), ..target.clone() };
            match gathered.get_mut(&plane) {
                Some(known) => known.join(here),
                None => drop(gathered.insert(plane, here)),
            }
        }
    }
    // What was written for a cluster that cannot be read stays as it is.
    let unread: Vec<&ClusterName> = remotes.keys().filter(|remote| is_unread(registry, remote)).collect();
    for plane in written_in.iter().filter(|_| !unread.is_empty()) {
        let written = registry.fleet.get(plane).map(|state| state.outputs.of(key)).unwrap_or_default();
        let read_there = |remote: &&&ClusterName| written.iter().any(|of| of.recalled.read_in.contains(**remote));
        if let Some(remote) = unread.iter().find(read_there) {
            let frozen = gathered.entry(plane.clone()).or_insert_with(|| Target::of_unread(plane, remote));
            frozen.reasons.insert(TargetReason::ReaderUnread);
        }
    }
    gathered.into_values().collect()
}

/// The ids of the objects of a service in targets that cannot be judged now.
pub(super) fn written_at_frozen_targets(
    registry: &Registry,
    key: &ServiceKey,
    targets: &[Target],
) -> Vec<(ClusterName, ObjectId)> {
    let frozen = targets.iter().filter(|target| target.is_frozen());
    let objects = frozen.filter_map(|target| {
        let written = registry.fleet.get(&target.cluster)?.outputs.of(key);
        Some(written.into_iter().map(|written| (target.cluster.clone(), written.id.clone())))
    });
    objects.flatten().collect()
}

/// The Sidecars of some namespaces in the clusters whose istiods serve them: wished for there although nobody runs there,
/// and perhaps not written yet.
pub(super) fn sidecars_at<'a>(
    registry: &Registry,
    planes: &BTreeSet<ClusterName>,
    namespaces: impl Iterator<Item = &'a Arc<str>>,
) -> BTreeSet<WorkKey> {
    if registry.settings.sidecars == Sidecars::Off {
        return BTreeSet::new();
    }
    let at = |namespace: &Arc<str>| {
        planes.iter().map(|plane| WorkKey::Sidecar(plane.clone(), namespace.clone())).collect::<Vec<_>>()
    };
    namespaces.flat_map(at).collect()
}

/// The Sidecars of all namespaces that run one of some identities.
pub(super) fn sidecars_running<'a>(
    registry: &Registry,
    identities: impl IntoIterator<Item = &'a Identity>,
) -> BTreeSet<WorkKey> {
    if registry.settings.sidecars == Sidecars::Off {
        return BTreeSet::new();
    }
    let namespaces = client_namespaces::namespaces_running(registry, identities);
    let of = |(cluster, namespaces): (&ClusterName, &BTreeSet<Arc<str>>)| {
        namespaces.iter().flat_map(|namespace| sidecars_of(registry, cluster, namespace)).collect::<Vec<_>>()
    };
    namespaces.iter().flat_map(of).collect()
}

/// The Sidecars that may have to be planned in a cluster.
pub(super) fn sidecar_units(registry: &Registry, cluster: &ClusterName) -> Vec<WorkKey> {
    if registry.settings.sidecars == Sidecars::Off {
        return Vec::new();
    }
    registry.fleet.get(cluster).map_or_else(Vec::new, |state| {
        let clients = state.workloads.client_namespaces().cloned();
        let written = state.outputs.ids(Kind::Sidecar).into_iter().map(|id| id.namespace);
        let namespaces: BTreeSet<Arc<str>> = clients.chain(written).collect();
        namespaces.iter().flat_map(|namespace| sidecars_of(registry, cluster, namespace)).collect()
    })
}

/// The Sidecars that the clients of a namespace read, and the one where they run: there may be one from before.
pub(super) fn sidecars_of(registry: &Registry, cluster: &ClusterName, namespace: &Arc<str>) -> BTreeSet<WorkKey> {
    if registry.settings.sidecars == Sidecars::Off {
        return BTreeSet::new();
    }
    let clusters = registry.control_planes.of(cluster).into_iter().chain([cluster.clone()]);
    clusters.map(|cluster| WorkKey::Sidecar(cluster, namespace.clone())).collect()
}

impl Target {
    /// What is to be left as it is for a cluster that cannot be read.
    fn of_unread(cluster: &ClusterName, remote: &ClusterName) -> Self {
        Self {
            cluster: cluster.clone(),
            reasons: [TargetReason::ReaderUnread].into(),
            served_clusters: vec![ServedCluster { cluster: remote.clone(), network: None }],
            regions: Vec::new(),
            network: None,
            identity_namespaces: Vec::new(),
            nodes_unread: false,
            dependent_namespaces: Vec::new(),
        }
    }

    /// Adds another cluster whose proxies read the same objects.
    fn join(&mut self, other: Self) {
        fn add<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
            more.into_iter().for_each(|item| {
                if !list.contains(&item) {
                    list.push(item)
                }
            });
        }
        if self.network != other.network {
            self.network = None;
        }
        self.nodes_unread |= other.nodes_unread;
        self.reasons.extend(other.reasons);
        add(&mut self.served_clusters, other.served_clusters);
        add(&mut self.regions, other.regions);
        add(&mut self.identity_namespaces, other.identity_namespaces);
        add(&mut self.dependent_namespaces, other.dependent_namespaces);
        for list in [&mut self.identity_namespaces, &mut self.dependent_namespaces] {
            list.sort();
        }
        self.served_clusters.sort();
    }
}
