//! What stands in one cluster of the kinds that Tradewind writes, whoever made it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::shard::remove_from;
use crate::{
    istio::Owner,
    model::{Kind, ObjectId, ServiceKey, Written},
};

/// The ServiceEntries, DestinationRules and Sidecars of one cluster.
#[derive(Debug, Default)]
pub(super) struct Standing {
    objects: HashMap<ObjectId, Arc<Written>>,
    /// Those of ours.
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
    /// Sidecars of a namespace, whoever made them.
    sidecars: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Number of objects of ours.
    owned: usize,
}

impl Standing {
    /// Keeps an object unless a newer form of it is kept already; answers what stood before, or `None` when nothing changed.
    pub(super) fn put(&mut self, written: Written) -> Option<Option<Arc<Written>>> {
        let before = self.objects.get(&written.id).cloned();
        if let Some(before) = &before
            && before.uid == written.uid
            && !is_newer(&written.resource_version, &before.resource_version)
        {
            return None;
        }
        if let Some(before) = &before {
            self.unindex(before);
        }
        if written.owner == Owner::Tradewind {
            self.owned += 1;
            if let Some(key) = &written.service {
                self.by_service.entry(key.clone()).or_default().insert(written.id.clone());
            }
        }
        if written.id.kind == Kind::Sidecar {
            self.sidecars.entry(written.id.namespace.clone()).or_default().insert(written.id.clone());
        }
        self.objects.insert(written.id.clone(), Arc::new(written));
        Some(before)
    }

    pub(super) fn remove(&mut self, id: &ObjectId) -> Option<Arc<Written>> {
        let before = self.objects.remove(id)?;
        self.unindex(&before);
        Some(before)
    }

    fn unindex(&mut self, written: &Written) {
        if written.owner == Owner::Tradewind {
            self.owned -= 1;
        }
        remove_from(&mut self.sidecars, &written.id.namespace, &written.id);
        if let Some(key) = &written.service {
            remove_from(&mut self.by_service, key, &written.id);
        }
    }

    pub(super) fn get(&self, id: &ObjectId) -> Option<Arc<Written>> {
        self.objects.get(id).cloned()
    }

    /// Objects of ours for a service.
    pub(super) fn of(&self, key: &ServiceKey) -> Vec<Arc<Written>> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.objects.get(id).cloned()).collect()
    }

    pub(super) fn holds(&self, key: &ServiceKey) -> bool {
        self.by_service.contains_key(key)
    }

    /// Services of which objects of ours stand there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    pub(super) fn sidecars_in(&self, namespace: &str) -> Vec<Arc<Written>> {
        let ids = self.sidecars.get(namespace).into_iter().flatten();
        ids.filter_map(|id| self.objects.get(id).cloned()).collect()
    }

    /// Number of objects of ours.
    pub(super) fn owned_count(&self) -> usize {
        self.owned
    }

    pub(super) fn owned(&self) -> impl Iterator<Item = &Arc<Written>> {
        self.objects.values().filter(|written| written.owner == Owner::Tradewind)
    }

    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        self.objects.keys().filter(|id| id.kind == kind).cloned().collect()
    }
}

/// Compares resourceVersions as numbers (comparable by contract since Kubernetes 1.35); what is no number is taken as newer unless equal.
fn is_newer(candidate: &str, known: &str) -> bool {
    match (candidate.parse::<u64>(), known.parse::<u64>()) {
        (Ok(candidate), Ok(known)) => candidate > known,
        _ => candidate != known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_versions_are_numbers_not_text() {
        assert!(is_newer("1000", "999"));
        assert!(!is_newer("999", "1000"));
        assert!(!is_newer("7", "7"));
        assert!(is_newer("b", "a"));
    }
}
