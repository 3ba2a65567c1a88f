//! The objects in one cluster of the kinds that Tradewind writes, whoever made them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::remove_from;
use crate::{
    istio::Owner,
    model::{ClusterName, Host, Kind, ObjectId, ServiceKey, Written},
    registry::written_for::rule_namespace,
};

/// The ServiceEntries, DestinationRules and Sidecars of one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct OutputIndex {
    objects: HashMap<ObjectId, Arc<Written>>,
    /// Managed ones.
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
    /// Sidecars of a namespace, whoever made them.
    sidecars: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Rules of ours for all Services of a namespace.
    rules: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Managed copies, and VirtualServices of others, by their host in lower case.
    by_host: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// ServiceEntries and DestinationRules that were made by hand, also those that were taken over, by their hosts in lower case.
    hand_written: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Clusters whose proxies read managed objects, where they are others than this one, with the number of these.
    read_in: BTreeMap<ClusterName, usize>,
    /// Number of managed objects.
    owned: usize,
}

impl OutputIndex {
    /// Keeps an object unless a newer form of it is kept already; answers what stood before, or `None` when nothing changed.
    pub(in crate::registry) fn put(&mut self, written: Arc<Written>) -> Option<Option<Arc<Written>>> {
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
            for cluster in &written.recalled.read_in {
                *self.read_in.entry(cluster.clone()).or_default() += 1;
            }
            if let Some(key) = &written.service {
                self.by_service.entry(key.clone()).or_default().insert(written.id.clone());
            }
            if let Some(namespace) = rule_namespace(&written) {
                self.rules.entry(namespace.into()).or_default().insert(written.id.clone());
            }
        }
        if written.id.kind == Kind::Sidecar {
            self.sidecars.entry(written.id.namespace.clone()).or_default().insert(written.id.clone());
        }
        if let Some(host) = routed_host(&written) {
            self.by_host.entry(host).or_default().insert(written.id.clone());
        }
        for host in hand_written_for(&written) {
            self.hand_written.entry(host).or_default().insert(written.id.clone());
        }
        self.objects.insert(written.id.clone(), written);
        Some(before)
    }

    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> Option<Arc<Written>> {
        let before = self.objects.remove(id)?;
        self.unindex(&before);
        Some(before)
    }

    fn unindex(&mut self, written: &Written) {
        if written.owner == Owner::Tradewind {
            self.owned -= 1;
        }
        for cluster in &written.recalled.read_in {
            if let Some(count) = self.read_in.get_mut(cluster) {
                *count -= 1;
            }
        }
        self.read_in.retain(|_, count| *count > 0);
        remove_from(&mut self.sidecars, &written.id.namespace, &written.id);
        if let Some(key) = &written.service {
            remove_from(&mut self.by_service, key, &written.id);
        }
        if let Some(namespace) = rule_namespace(written) {
            remove_from(&mut self.rules, &Arc::from(namespace), &written.id);
        }
        if let Some(host) = routed_host(written) {
            remove_from(&mut self.by_host, &host, &written.id);
        }
        for host in hand_written_for(written) {
            remove_from(&mut self.hand_written, &host, &written.id);
        }
    }

    pub(in crate::registry) fn get(&self, id: &ObjectId) -> Option<Arc<Written>> {
        self.objects.get(id).cloned()
    }

    /// Objects of ours for a service.
    pub(in crate::registry) fn of(&self, key: &ServiceKey) -> Vec<Arc<Written>> {
        let ids = self.by_service.get(key).into_iter().flatten();
        ids.filter_map(|id| self.objects.get(id).cloned()).collect()
    }

    pub(in crate::registry) fn holds(&self, key: &ServiceKey) -> bool {
        self.by_service.contains_key(key)
    }

    /// The clusters whose proxies read managed objects, where they are others than this one.
    pub(in crate::registry) fn read_in(&self) -> impl Iterator<Item = &ClusterName> {
        self.read_in.keys()
    }

    /// Services with managed objects there.
    pub(in crate::registry) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    pub(in crate::registry) fn sidecars_in(&self, namespace: &str) -> Vec<Arc<Written>> {
        let ids = self.sidecars.get(namespace).into_iter().flatten();
        ids.filter_map(|id| self.objects.get(id).cloned()).collect()
    }

    /// Copies of users' routes for a host.
    pub(in crate::registry) fn copies_of(&self, host: &str) -> Vec<Arc<Written>> {
        self.routes_for(host).filter(|written| written.owner == Owner::Tradewind).cloned().collect()
    }

    /// The VirtualServices for a host in a namespace, other than managed ones.
    pub(in crate::registry) fn others_routes(&self, host: &str, namespace: &str) -> Vec<ObjectId> {
        let others = self.routes_for(host).filter(|written| written.owner != Owner::Tradewind);
        others.filter(|written| *written.id.namespace == *namespace).map(|written| written.id.clone()).collect()
    }

    /// Whether there are copies for a host, or VirtualServices of others where copies may go.
    pub(in crate::registry) fn has_routes_for(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    fn routes_for(&self, host: &str) -> impl Iterator<Item = &Arc<Written>> {
        self.by_host.get(host).into_iter().flatten().filter_map(|id| self.objects.get(id))
    }

    /// Every host with copies there.
    pub(in crate::registry) fn copied_hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_host.iter().filter_map(|(host, ids)| {
            let is_copy = |id| self.objects.get(id).is_some_and(|written| written.owner == Owner::Tradewind);
            ids.iter().any(is_copy).then_some(host)
        })
    }

    /// The managed rules for all Services of a namespace.
    pub(in crate::registry) fn of_namespace(&self, namespace: &str) -> Vec<Arc<Written>> {
        let ids = self.rules.get(namespace).into_iter().flatten();
        ids.filter_map(|id| self.get(id)).collect()
    }

    /// ServiceEntries and DestinationRules for a host, in lower case, that were made by hand, also those that were taken over.
    pub(in crate::registry) fn hand_written(&self, host: &str) -> impl Iterator<Item = &Arc<Written>> {
        self.hand_written.get(host).into_iter().flatten().filter_map(|id| self.objects.get(id))
    }

    /// Every host, in lower case, of a hand-written object that its owner handed over.
    pub(in crate::registry) fn handed_over_hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hand_written.iter().filter_map(|(host, ids)| {
            let mut written = ids.iter().filter_map(|id| self.objects.get(id));
            let is_handed_over =
                |written: &Arc<Written>| written.adoption.as_ref().is_some_and(|adoption| adoption.is_handed_over());
            written.any(is_handed_over).then_some(host)
        })
    }

    /// Number of managed objects.
    pub(in crate::registry) fn owned_count(&self) -> usize {
        self.owned
    }

    pub(in crate::registry) fn owned(&self) -> impl Iterator<Item = &Arc<Written>> {
        self.objects.values().filter(|written| written.owner == Owner::Tradewind)
    }

    pub(in crate::registry) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        self.objects.keys().filter(|id| id.kind == kind).cloned().collect()
    }
}

/// The host of a managed copy, or of a VirtualService of somebody else's.
pub(in crate::registry) fn routed_host(written: &Written) -> Option<Arc<str>> {
    let matters = match written.owner {
        Owner::Tradewind => written.origin.is_some(),
        _ => written.id.kind == Kind::VirtualService,
    };
    written.host.as_ref().filter(|_| matters).map(|host| host.to_ascii_lowercase().as_str().into())
}

/// The hosts, in lower case, of a ServiceEntry or DestinationRule that was made by hand, whether it was taken over or not.
pub(in crate::registry) fn hand_written_for(written: &Written) -> BTreeSet<Arc<str>> {
    let of_adoption = written.adoption.iter().filter_map(|adoption| adoption.host.as_ref()).map(Host::as_str);
    let is_foreign = written.owner == Owner::Foreign;
    let own = written.host.iter().chain(&written.further_hosts).filter(|_| is_foreign).map(|host| &**host);
    let is_of_kind = matches!(written.id.kind, Kind::ServiceEntry | Kind::DestinationRule);
    let hosts = of_adoption.chain(own).filter(|_| is_of_kind);
    hosts.map(|host| host.to_ascii_lowercase().as_str().into()).collect()
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
