//! The policies of one cluster, by the service that each names.
//!
//! One store per kind, all of one form. Decides which services a policy concerns; never which policy is in force.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::remove_from;
use crate::{
    api::{
        ClientConnectionConfigSpec, GlobalTrafficPolicySpec, OutlierDetectionSpec, RoutingPolicySpec, TrafficConfigSpec,
    },
    model::{Kind, ObjectId, PolicyObject, ServiceKey},
    registry::identity::PolicySelector,
};

/// The policies of one kind in one cluster.
#[derive(Debug)]
pub(in crate::registry) struct PolicyStore<S> {
    /// With the services that each names; none for one that is ignored or names none.
    all: HashMap<ObjectId, (Arc<PolicyObject<S>>, BTreeSet<ServiceKey>)>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
}

impl<S> Default for PolicyStore<S> {
    fn default() -> Self {
        Self { all: HashMap::new(), by_service: HashMap::new() }
    }
}

impl<S: PartialEq> PolicyStore<S> {
    /// Keeps a policy under the services that it names; answers the services that are concerned.
    pub(in crate::registry) fn put(
        &mut self,
        config: PolicyObject<S>,
        keys: BTreeSet<ServiceKey>,
    ) -> BTreeSet<ServiceKey> {
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

impl<S> PolicyStore<S> {
    /// Answers the services that are concerned.
    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        let keys = self.all.remove(id).map(|(_, keys)| keys).unwrap_or_default();
        for key in &keys {
            remove_from(&mut self.by_service, key, id);
        }
        keys
    }

    /// The services that policies name.
    pub(in crate::registry) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// The policies that name a service, in the order of namespaces and names.
    pub(in crate::registry) fn of(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<PolicyObject<S>>> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id).map(|(config, _)| config))
    }

    fn ids(&self) -> Vec<ObjectId> {
        self.all.keys().cloned().collect()
    }
}

/// The policies of one cluster, by kind.
#[derive(Debug, Default)]
pub(in crate::registry) struct Policies {
    traffic: PolicyStore<GlobalTrafficPolicySpec>,
    outliers: PolicyStore<OutlierDetectionSpec>,
    connections: PolicyStore<ClientConnectionConfigSpec>,
    pub(in crate::registry) routing: PolicyStore<RoutingPolicySpec>,
    slow_starts: PolicyStore<TrafficConfigSpec>,
}

impl Policies {
    /// The kinds that are kept here.
    pub(in crate::registry) const KINDS: &[Kind] = &[
        Kind::GlobalTrafficPolicy,
        Kind::OutlierDetection,
        Kind::ClientConnectionConfig,
        Kind::RoutingPolicy,
        Kind::TrafficConfig,
    ];

    /// Answers the services that are concerned.
    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        match id.kind {
            Kind::GlobalTrafficPolicy => self.traffic.remove(id),
            Kind::OutlierDetection => self.outliers.remove(id),
            Kind::ClientConnectionConfig => self.connections.remove(id),
            Kind::RoutingPolicy => self.routing.remove(id),
            Kind::TrafficConfig => self.slow_starts.remove(id),
            _ => BTreeSet::new(),
        }
    }

    pub(in crate::registry) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
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
    pub(in crate::registry) fn any_names(&self, key: &ServiceKey) -> bool {
        self.outliers.by_service.contains_key(key)
            || self.connections.by_service.contains_key(key)
            || self.slow_starts.by_service.contains_key(key)
            || self.traffic.by_service.contains_key(key)
            || self.routing.by_service.contains_key(key)
    }

    /// The services that policies of any kind name.
    pub(in crate::registry) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        let others = self.outliers.keys().chain(self.connections.keys()).chain(self.slow_starts.keys());
        self.traffic.keys().chain(others).chain(self.routing.keys())
    }
}

/// A kind of policy that is kept by service.
pub(in crate::registry) trait PolicyKind: PolicySelector + PartialEq {
    /// Where its policies are kept.
    fn of(policies: &Policies) -> &PolicyStore<Self>;

    /// Where its policies are kept.
    fn of_mut(policies: &mut Policies) -> &mut PolicyStore<Self>;
}

macro_rules! policy_kinds {
    ($($spec:ty => $field:ident,)+) => {$(
        impl PolicyKind for $spec {
            fn of(policies: &Policies) -> &PolicyStore<Self> {
                &policies.$field
            }

            fn of_mut(policies: &mut Policies) -> &mut PolicyStore<Self> {
                &mut policies.$field
            }
        }
    )+};
}

policy_kinds! {
    GlobalTrafficPolicySpec => traffic,
    OutlierDetectionSpec => outliers,
    ClientConnectionConfigSpec => connections,
    RoutingPolicySpec => routing,
    TrafficConfigSpec => slow_starts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> PolicyObject<OutlierDetectionSpec> {
        PolicyObject {
            id: ObjectId::new(Kind::OutlierDetection, "shop", name),
            created_seconds: 0,
            ignored: false,
            labels: Default::default(),
            annotations: Default::default(),
            spec: Arc::default(),
        }
    }

    #[test]
    fn a_policy_is_found_under_the_services_that_it_names_now() {
        let key = |identity: &str| ServiceKey::parse(identity, "stage").unwrap();
        let mut policies = Policies::default();
        let store = OutlierDetectionSpec::of_mut(&mut policies);
        assert_eq!(store.put(policy("a"), [key("pay")].into()), [key("pay")].into());
        assert!(store.put(policy("a"), [key("pay")].into()).is_empty(), "nothing changed");
        assert_eq!(store.put(policy("a"), [key("cart")].into()), [key("cart"), key("pay")].into());
        assert!(policies.any_names(&key("cart")) && !policies.any_names(&key("pay")));
        assert_eq!(policies.ids(Kind::OutlierDetection).len(), 1);
        assert!(policies.ids(Kind::GlobalTrafficPolicy).is_empty());
        assert_eq!(policies.remove(&policy("a").id), [key("cart")].into());
        assert!(policies.keys().next().is_none());
    }
}
