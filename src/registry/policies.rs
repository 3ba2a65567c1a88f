//! The policies of one cluster, by the service that each names.
//!
//! One store per kind, all of one form. Decides which services a policy concerns; never which policy is in force.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Registry,
    cluster_state::{Effects, remove_from},
    identity::{self, Named},
    notes::NoteSource,
};
use crate::{
    api::{
        ClientConnectionConfigSpec, GlobalTrafficPolicySpec, OutlierDetectionSpec, RoutingPolicySpec, TrafficConfigSpec,
    },
    config::Settings,
    model::{ClusterName, Kind, Note, ObjectId, PolicyObject, ServiceKey},
};

/// The policies of one kind in one cluster.
#[derive(Debug)]
pub(super) struct Configs<S> {
    /// With the services that each names; none for one that is ignored or names none.
    all: HashMap<ObjectId, (Arc<PolicyObject<S>>, BTreeSet<ServiceKey>)>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
}

impl<S> Default for Configs<S> {
    fn default() -> Self {
        Self { all: HashMap::new(), by_service: HashMap::new() }
    }
}

impl<S: PartialEq> Configs<S> {
    /// Keeps a policy under the services that it names; answers the services that are concerned.
    pub(super) fn put(&mut self, config: PolicyObject<S>, keys: BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        let id = config.id.clone();
        if self.all.get(&id).is_some_and(|(before, of)| **before == config && *of == keys) {
            return BTreeSet::new();
        }
        let mut concerned = self.remove(&id);
        for key in &keys {
            self.by_service.entry(key.clone()).or_default().insert(id.clone());
            concerned.insert(key.clone());
        }
        self.all.insert(id, (Arc::new(config), keys));
        concerned
    }
}

impl<S> Configs<S> {
    /// Answers the services that are concerned.
    pub(super) fn remove(&mut self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        let keys = self.all.remove(id).map(|(_, keys)| keys).unwrap_or_default();
        for key in &keys {
            remove_from(&mut self.by_service, key, id);
        }
        keys
    }

    /// The services that policies name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// The policies that name a service, in the order of namespaces and names.
    pub(super) fn of(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<PolicyObject<S>>> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id).map(|(config, _)| config))
    }

    fn ids(&self) -> Vec<ObjectId> {
        self.all.keys().cloned().collect()
    }
}

/// The policies of one cluster, by kind.
#[derive(Debug, Default)]
pub(super) struct Policies {
    traffic: Configs<GlobalTrafficPolicySpec>,
    outliers: Configs<OutlierDetectionSpec>,
    connections: Configs<ClientConnectionConfigSpec>,
    pub(super) routing: Configs<RoutingPolicySpec>,
    slow_starts: Configs<TrafficConfigSpec>,
}

impl Policies {
    /// The kinds that are kept here.
    pub(super) const KINDS: &[Kind] = &[
        Kind::GlobalTrafficPolicy,
        Kind::OutlierDetection,
        Kind::ClientConnectionConfig,
        Kind::RoutingPolicy,
        Kind::TrafficConfig,
    ];

    /// Answers the services that are concerned.
    pub(super) fn remove(&mut self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        match id.kind {
            Kind::GlobalTrafficPolicy => self.traffic.remove(id),
            Kind::OutlierDetection => self.outliers.remove(id),
            Kind::ClientConnectionConfig => self.connections.remove(id),
            Kind::RoutingPolicy => self.routing.remove(id),
            Kind::TrafficConfig => self.slow_starts.remove(id),
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::GlobalTrafficPolicy => self.traffic.ids(),
            Kind::OutlierDetection => self.outliers.ids(),
            Kind::ClientConnectionConfig => self.connections.ids(),
            Kind::RoutingPolicy => self.routing.ids(),
            Kind::TrafficConfig => self.slow_starts.ids(),
            _ => Vec::new(),
        }
    }

    /// Whether a policy of some kind names a service.
    pub(super) fn name(&self, key: &ServiceKey) -> bool {
        self.outliers.by_service.contains_key(key)
            || self.connections.by_service.contains_key(key)
            || self.slow_starts.by_service.contains_key(key)
            || self.traffic.by_service.contains_key(key)
            || self.routing.by_service.contains_key(key)
    }

    /// The services that policies of any kind name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        let beside = self.outliers.keys().chain(self.connections.keys()).chain(self.slow_starts.keys());
        self.traffic.keys().chain(beside).chain(self.routing.keys())
    }
}

/// A kind of policy that is kept by service.
pub(super) trait Kept: Named + PartialEq {
    /// Where its policies are kept.
    fn of(policies: &Policies) -> &Configs<Self>;

    /// Where its policies are kept.
    fn of_mut(policies: &mut Policies) -> &mut Configs<Self>;
}

macro_rules! kept {
    ($($spec:ty => $field:ident,)+) => {$(
        impl Kept for $spec {
            fn of(policies: &Policies) -> &Configs<Self> {
                &policies.$field
            }

            fn of_mut(policies: &mut Policies) -> &mut Configs<Self> {
                &mut policies.$field
            }
        }
    )+};
}

kept! {
    GlobalTrafficPolicySpec => traffic,
    OutlierDetectionSpec => outliers,
    ClientConnectionConfigSpec => connections,
    RoutingPolicySpec => routing,
    TrafficConfigSpec => slow_starts,
}

impl Registry {
    /// A policy was deleted.
    pub(super) fn remove_config(&self, cluster: &ClusterName, id: &ObjectId) -> Effects {
        let Some(mut cluster_state) = self.cluster_states.get_mut(cluster) else { return Effects::default() };
        let services = cluster_state.policies.remove(id);
        drop(cluster_state);
        services.iter().for_each(|key| self.recount_policies(key, cluster));
        Effects { services: self.with_partitions(services), ..Effects::default() }
    }

    /// A policy was added or changed: keeps it, and notes why it is for no service.
    pub(super) fn put_config<S: Kept>(&self, cluster: &ClusterName, config: PolicyObject<S>) -> Effects {
        let settings: &Settings = &self.settings;
        let id = config.id.clone();
        let (keys, problems) = match config.ignored {
            true => Default::default(),
            false => identity::named(&config, settings),
        };
        let Some(mut cluster_state) = self.cluster_states.get_mut(cluster) else { return Effects::default() };
        let services = S::of_mut(&mut cluster_state.policies).put(config, keys);
        drop(cluster_state);
        services.iter().for_each(|key| self.recount_policies(key, cluster));
        let services = if S::COVERS_PARTITIONS { self.with_partitions(services) } else { services };
        let object = id.in_cluster(cluster);
        let note = |(kind, message)| Note { kind, object: object.clone(), service: None, message };
        let notes = problems.into_iter().map(note).collect();
        self.notes.put(NoteSource::Object(cluster.clone(), id), notes);
        Effects { services, ..Effects::default() }
    }
}
