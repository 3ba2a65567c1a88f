//! The policies of one cluster, by the service that each names.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{identity, shard::remove_from};
use crate::{
    config::Settings,
    model::{ObjectId, Policy, ServiceKey},
};

/// The GlobalTrafficPolicies of one cluster.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// With the service that each names; none for one that is ignored or names none.
    all: HashMap<ObjectId, (Arc<Policy>, Option<ServiceKey>)>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
}

impl Policies {
    /// Answers the services that are concerned, and why the policy is for none.
    pub(super) fn put(&mut self, policy: Policy, settings: &Settings) -> (BTreeSet<ServiceKey>, Option<String>) {
        let id = policy.id.clone();
        let (key, problem) = match identity::of_policy(&policy, settings) {
            _ if policy.ignored => (None, None),
            Ok(key) => (Some(key), None),
            Err(problem) => (None, Some(problem)),
        };
        if self.all.get(&id).is_some_and(|(before, of)| **before == policy && *of == key) {
            return (BTreeSet::new(), problem);
        }
        let mut concerned = self.remove(&id);
        if let Some(key) = &key {
            self.by_service.entry(key.clone()).or_default().insert(id.clone());
            concerned.insert(key.clone());
        }
        self.all.insert(id, (Arc::new(policy), key));
        (concerned, problem)
    }

    /// Answers the service that is concerned.
    pub(super) fn remove(&mut self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        let key = self.all.remove(id).and_then(|(_, key)| key);
        if let Some(key) = &key {
            remove_from(&mut self.by_service, key, id);
        }
        key.into_iter().collect()
    }

    /// The services that policies name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// The policies that name a service, in the order of namespaces and names.
    pub(super) fn of(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<Policy>> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id).map(|(policy, _)| policy))
    }

    pub(super) fn ids(&self) -> Vec<ObjectId> {
        self.all.keys().cloned().collect()
    }
}
