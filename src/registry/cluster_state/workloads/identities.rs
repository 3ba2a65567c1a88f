//! Who runs in one cluster, by identity: workloads and clients together.

use std::{collections::BTreeSet, sync::Arc};

use super::Workloads;
use crate::{
    model::{Identity, ServiceKey},
    registry::partition::DisplayKey,
};

/// The identities of the workloads and clients of one cluster.
pub(in crate::registry) struct Identities<'a>(pub(super) &'a Workloads);

impl Identities<'_> {
    /// Whether workloads or clients of an identity run here.
    pub(in crate::registry) fn has(&self, identity: &Identity) -> bool {
        self.0.identities.has(identity)
    }

    /// Every identity that runs here.
    pub(in crate::registry) fn all(&self) -> Vec<Identity> {
        self.0.identities.all().cloned().collect()
    }

    /// The identities that run in a namespace.
    pub(in crate::registry) fn in_namespace(&self, namespace: &str) -> BTreeSet<Identity> {
        let ids = self.0.by_namespace.get(namespace).into_iter().flatten();
        let of_workloads = ids.filter_map(|id| self.0.records.get(id)?.client().cloned());
        of_workloads.chain(self.0.clients.identities_in(namespace).cloned()).collect()
    }

    /// The namespaces in which an identity runs, sorted.
    pub(in crate::registry) fn namespaces_of(&self, identity: &Identity) -> Vec<Arc<str>> {
        self.0.identities.namespaces_of(identity)
    }

    /// The services of an identity that run here.
    pub(in crate::registry) fn keys_of(&self, identity: &Identity) -> BTreeSet<ServiceKey> {
        let namespaces = self.namespaces_of(identity);
        let keys = namespaces.iter().flat_map(|namespace| self.0.keys_in(namespace));
        keys.filter(|key| key.identity == *identity).collect()
    }

    /// The namespaces with workloads of its services; those with clients alone are none.
    pub(in crate::registry) fn serving_namespaces(&self, identity: &Identity) -> BTreeSet<Arc<str>> {
        self.keys_of(identity).iter().flat_map(|key| self.0.namespaces_of(key)).collect()
    }

    /// An identity as the oldest workload writes it, whose pods carry it so; else as a client does.
    pub(in crate::registry) fn display_name(&self, identity: &Identity) -> Option<String> {
        let order = |display: &DisplayKey| (display.created_seconds, display.key.environment.clone());
        let oldest =
            self.keys_of(identity).into_iter().filter_map(|key| self.0.display_key(&key)).min_by(|a, b| {
                order(a).cmp(&order(b)).then_with(|| a.key.identity.as_str().cmp(b.key.identity.as_str()))
            });
        let shown = oldest.map(|oldest| oldest.key.identity).or_else(|| self.of_client(identity));
        shown.map(|identity| identity.to_string())
    }

    fn of_client(&self, identity: &Identity) -> Option<Identity> {
        let clients = &self.0.clients;
        let excluded = |namespace: &Arc<str>| {
            let ids = self.0.by_namespace.get(namespace).into_iter().flatten();
            ids.filter_map(|id| self.0.records.get(id)?.client().cloned()).find(|of| of == identity)
        };
        let in_namespace = |namespace: &Arc<str>| {
            clients.identities_in(namespace).find(|of| *of == identity).cloned().or_else(|| excluded(namespace))
        };
        let shown = self.namespaces_of(identity).iter().filter_map(in_namespace).collect::<Vec<_>>();
        shown.into_iter().min_by(|a, b| a.as_str().cmp(b.as_str()))
    }

    /// The services that run here under a plain identity and environment, each in a partition, sorted.
    pub(in crate::registry) fn partitions_of(&self, plain: &ServiceKey) -> Vec<ServiceKey> {
        let here = |key: &&ServiceKey| self.0.plain_of(key).as_ref() == Some(plain);
        let mut keys: Vec<ServiceKey> = self.0.service_keys().filter(here).cloned().collect();
        keys.sort();
        keys
    }
}
