//! The routes of users in one cluster, and which services run in which of its namespaces.

use std::{collections::BTreeSet, sync::Arc};

use super::{Classified, ClusterState};
use crate::{
    model::{Identity, ObjectId, Route, ServiceKey},
    registry::user_hosts::{self, UserHosts},
};

impl ClusterState {
    /// Whether a route of a user is merged into ours: no other is read beside ours.
    pub(in crate::registry) fn is_merged(&self, id: &ObjectId) -> bool {
        *id.namespace == *self.sync_namespace
    }

    /// The hosts that users route by VirtualServices.
    pub(in crate::registry) fn user_hosts(&self) -> &UserHosts {
        &self.user_hosts
    }

    /// The VirtualServices that were made to be merged into those of an identity (in lower case).
    pub(in crate::registry) fn custom_routes(&self, identity: &str) -> Vec<Arc<Route>> {
        let is_custom = |route: &&Arc<Route>| !route.ignored && user_hosts::created_for(route) == Some(identity);
        self.custom.iter().filter(is_custom).cloned().collect()
    }

    /// The services of an identity that run there.
    pub(in crate::registry) fn keys_of_identity(&self, identity: &Identity) -> BTreeSet<ServiceKey> {
        self.namespaces_of(identity)
            .iter()
            .flat_map(|namespace| self.keys_in(namespace))
            .filter(|key| key.identity == *identity)
            .collect()
    }

    /// An identity as a workload spells it that serves nothing.
    pub(in crate::registry) fn client(&self, identity: &Identity) -> Option<Identity> {
        let namespaces = self.namespaces_of(identity);
        let of_namespace =
            |namespace: &Arc<str>| self.clients.identities_in(namespace).find(|of| *of == identity).cloned();
        namespaces.iter().filter_map(of_namespace).min_by(|a, b| a.as_str().cmp(b.as_str()))
    }

    /// The services with workloads in a namespace.
    pub(in crate::registry) fn keys_in(&self, namespace: &str) -> BTreeSet<ServiceKey> {
        let ids = self.by_namespace.get(namespace).into_iter().flatten();
        ids.filter_map(|id| match &self.workloads.get(id)?.classified {
            Classified::Service(key) => Some(key.clone()),
            _ => None,
        })
        .collect()
    }

    /// The namespaces with workloads of a service.
    pub(in crate::registry) fn homes(&self, key: &ServiceKey) -> BTreeSet<Arc<str>> {
        self.by_service.get(key).into_iter().flatten().map(|id| id.namespace.clone()).collect()
    }

    /// The namespaces in which workloads of a service run.
    pub(in crate::registry) fn homes_of(&self, key: &ServiceKey) -> impl Iterator<Item = Arc<str>> {
        self.by_service.get(key).into_iter().flatten().map(|id| id.namespace.clone())
    }

    /// Whether some workload of a service runs in a namespace.
    pub(in crate::registry) fn is_home(&self, key: &ServiceKey, namespace: &str) -> bool {
        self.by_service.get(key).into_iter().flatten().any(|id| &*id.namespace == namespace)
    }
}
