//! Objects of the clusters come in: each goes to the store that keeps it, and what follows is propagated.
//!
//! Decides where an object is kept; never what it means for others.

use std::collections::BTreeSet;

use super::{
    NoteSource, Registry, adoption,
    cluster_state::{Effects, policies::Policies},
    dependencies, dependency_proxies,
    dirty::Trigger,
    effects, freshness, identity_claims, notes, operations, policies,
    status::KindState,
    writing,
};
use crate::model::{ClusterName, DependencyFault, Kind, NoteKind, ObjectId, Observed, Workload};

impl Registry {
    /// An object was added or changed.
    pub fn apply(&self, cluster: &ClusterName, object: Observed) {
        let id = object.id().clone();
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), Vec::new());
        adoption::reclassify(self, cluster, &object);
        let effects = put(self, cluster, &id, object);
        effects::propagate_effects(self, cluster, effects, &Trigger::Object(cluster.clone(), id));
    }

    /// An object was deleted.
    pub fn delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.notes.put(NoteSource::Object(cluster.clone(), id.clone()), Vec::new());
        let effects = remove(self, cluster, id);
        effects::propagate_effects(self, cluster, effects, &Trigger::Object(cluster.clone(), id.clone()));
    }

    /// A complete list of one kind: what is not in it is gone, and the kind is synced.
    pub fn reset(&self, cluster: &ClusterName, kind: Kind, objects: Vec<Observed>) {
        self.reset_with(cluster, kind, objects, Vec::new());
    }

    /// As [`Registry::reset`], with the objects of the list that do not parse, and why: their last good forms stay in force.
    pub fn reset_with(
        &self,
        cluster: &ClusterName,
        kind: Kind,
        objects: Vec<Observed>,
        malformed: Vec<(ObjectId, String)>,
    ) {
        if kind == Kind::IdentityClaim {
            return identity_claims::reset_claims(self, cluster, &objects, &malformed);
        }
        let before = ids(self, cluster, kind);
        let listed: BTreeSet<ObjectId> =
            objects.iter().map(Observed::id).chain(malformed.iter().map(|(id, _)| id)).cloned().collect();
        for id in before.iter().filter(|id| !listed.contains(*id)) {
            self.delete(cluster, id);
        }
        self.notes.keep_objects(cluster, kind, &listed);
        // Gateways first: a Service that becomes the gateway comes before the one that was it, so that none is missing between.
        let (gateways, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(Observed::is_gateway);
        for object in gateways.into_iter().chain(others) {
            self.apply(cluster, object);
        }
        for (id, reason) in malformed {
            self.malformed(cluster, id, &reason);
        }
        freshness::set_kind(self, cluster, kind, KindState::Synced);
    }

    /// An object does not parse. Its last good form stays in force.
    pub fn malformed(&self, cluster: &ClusterName, id: ObjectId, reason: &str) {
        if id.kind == Kind::IdentityClaim {
            return identity_claims::malformed_claim(self, cluster, &id, reason);
        }
        let message = format!("cannot be read: {reason}; its last good form stays in force, if there was one");
        notes::note_object(self, cluster, &id, NoteKind::ObjectMalformed, Some(message));
    }
}

/// Keeps an object; answers what follows in its cluster. What concerns the whole fleet marks its units itself.
fn put(registry: &Registry, cluster: &ClusterName, id: &ObjectId, object: Observed) -> Effects {
    let settings = &*registry.settings;
    match object {
        Observed::Workload(workload) => put_workload(registry, cluster, id, workload),
        Observed::Other(id) => registry.fleet.update(cluster, |state| state.remove_workload(&id, settings)),
        Observed::HostOverride(entry) => registry.fleet.update(cluster, |state| state.put_entry(entry, settings)),
        Observed::Service(service) => registry.fleet.update(cluster, |state| state.put_service(service)),
        Observed::EndpointSlice(slice) => registry.fleet.update(cluster, |state| state.put_slice(slice)),
        Observed::Node(node) => registry.fleet.update(cluster, |state| state.put_node(node)),
        Observed::Namespace(namespace) => {
            registry.fleet.update(cluster, |state| state.put_namespace(namespace, settings))
        }
        Observed::Route(route) => registry.fleet.update(cluster, |state| state.put_route(*route)),
        Observed::Policy(policy) => policies::put_policy(registry, cluster, policy),
        Observed::OutlierDetection(policy) => policies::put_policy(registry, cluster, policy),
        Observed::ClientConnectionConfig(policy) => policies::put_policy(registry, cluster, policy),
        Observed::RoutingPolicy(policy) => policies::put_policy(registry, cluster, policy),
        Observed::TrafficConfig(policy) => policies::put_policy(registry, cluster, policy),
        Observed::Written(written) => {
            writing::put_written(registry, cluster, *written, true);
            Effects::default()
        }
        Observed::IdentityClaim(claim) => {
            identity_claims::put_claim(registry, cluster, &claim);
            Effects::default()
        }
        Observed::TradewindConfig(config) => {
            operations::set_operations(registry, cluster, id, Some(&config));
            Effects::default()
        }
        Observed::Dependency(declared) => {
            let (counted, problems) = dependencies::read(&declared);
            notes::note_object(
                registry,
                cluster,
                id,
                NoteKind::DependencyQuestionable(DependencyFault::Entry),
                problems,
            );
            dependencies::set_dependency(registry, cluster, id, counted);
            Effects::default()
        }
        Observed::DependencyProxy(configured) => {
            let (counted, problems) = dependency_proxies::read(&configured, settings);
            notes::note_object(
                registry,
                cluster,
                id,
                NoteKind::DependencyQuestionable(DependencyFault::Entry),
                problems,
            );
            dependency_proxies::set_proxy(registry, cluster, id, counted);
            Effects::default()
        }
    }
}

fn put_workload(registry: &Registry, cluster: &ClusterName, id: &ObjectId, workload: Workload) -> Effects {
    let effects = registry.fleet.update(cluster, |state| state.put_workload(workload, &registry.settings));
    notes::note_workload(registry, cluster, id);
    effects
}

/// Forgets an object; answers as [`put`].
fn remove(registry: &Registry, cluster: &ClusterName, id: &ObjectId) -> Effects {
    let settings = &*registry.settings;
    match id.kind {
        Kind::Dependency => dependencies::set_dependency(registry, cluster, id, None),
        Kind::IdentityClaim => identity_claims::remove_claim(registry, cluster, id),
        Kind::TradewindConfig => operations::set_operations(registry, cluster, id, None),
        Kind::DependencyProxy => dependency_proxies::set_proxy(registry, cluster, id, None),
        kind if Kind::WRITTEN.contains(&kind) => {
            writing::remove_written(registry, cluster, id);
            return registry.fleet.update(cluster, |state| state.remove_user_object(id, settings));
        }
        kind if Kind::WORKLOADS.contains(&kind) || Kind::CLIENTS.contains(&kind) => {
            return registry.fleet.update(cluster, |state| state.remove_workload(id, settings));
        }
        Kind::Service => return registry.fleet.update(cluster, |state| state.remove_service(id)),
        Kind::EndpointSlice => return registry.fleet.update(cluster, |state| state.remove_slice(id)),
        Kind::Node => {
            return registry.fleet.update(cluster, |state| Effects::of_topology(state.topology.remove_node(id)));
        }
        Kind::Namespace => return registry.fleet.update(cluster, |state| state.remove_namespace(id)),
        kind if Policies::KINDS.contains(&kind) => return policies::remove_policy(registry, cluster, id),
        _ => {}
    }
    Effects::default()
}

/// The ids of every object of one kind that is kept of a cluster.
pub(super) fn ids(registry: &Registry, cluster: &ClusterName, kind: Kind) -> Vec<ObjectId> {
    match kind {
        Kind::Dependency => registry.dependencies.read().of_cluster(cluster),
        Kind::IdentityClaim => registry.claims.ids(cluster),
        Kind::TradewindConfig => registry.operations.ids(cluster),
        Kind::DependencyProxy => registry.dependencies.read().proxies.of_cluster(cluster),
        _ => registry.fleet.get(cluster).map_or_else(Vec::new, |state| state.ids(kind)),
    }
}
