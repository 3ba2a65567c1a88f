//! Which hosts users route by VirtualServices of their own in one cluster.

use std::collections::{BTreeSet, HashMap};

use super::remove_from;
use crate::{
    istio::keys,
    model::{Kind, ObjectId, Route},
};

/// Start of placeholder hosts, which do not count (Admiral, docs/admiral-behaviour.md#in-cluster-virtualservice).
const DUMMY: &str = "dummy";
/// Label of a VirtualService that is merged: for which identity, in lower case (Admiral,
/// docs/admiral-behaviour.md#custom-virtualservices).
const CREATED_FOR: &str = "createdFor";
/// Label of a VirtualService that is merged: by whom.
pub(in crate::registry) const CREATED_BY: &str = "createdBy";

/// What VirtualServices of users concern.
#[derive(Debug, Default)]
pub(in crate::registry) struct Routed {
    /// Hosts, in lower case.
    pub(in crate::registry) hosts: BTreeSet<String>,
    /// Identities for which they were created, where they are merged into ours.
    pub(in crate::registry) created_for: BTreeSet<String>,
}

/// The hosts of users' VirtualServices, in lower case.
#[derive(Debug, Default)]
pub(in crate::registry) struct UserHosts {
    by_host: HashMap<String, BTreeSet<ObjectId>>,
    /// By the host without its first label, and without its first two: where a service's host has its identity.
    by_tail: HashMap<String, BTreeSet<ObjectId>>,
}

impl UserHosts {
    /// Takes a route out or in; answers its hosts.
    pub(in crate::registry) fn count(&mut self, route: &Route, add: bool) -> BTreeSet<String> {
        let mut hosts = BTreeSet::new();
        if route.id.kind != Kind::VirtualService {
            return hosts;
        }
        for host in &route.hosts {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            toggle(&mut self.by_host, &host, &route.id, add);
            if !route.ignored && !host.starts_with(DUMMY) {
                for tail in tails(&host) {
                    toggle(&mut self.by_tail, tail, &route.id, add);
                }
            }
            hosts.insert(host);
        }
        hosts
    }

    /// The VirtualServices with a host, which is given in lower case, sorted.
    pub(in crate::registry) fn of_host(&self, host: &str) -> impl Iterator<Item = &ObjectId> {
        self.by_host.get(host).into_iter().flatten()
    }

    /// The VirtualServices with a host that ends with `identity.suffix` (in lower case), behind one label or two, sorted.
    pub(in crate::registry) fn of_tail(&self, tail: &str) -> impl Iterator<Item = &ObjectId> {
        self.by_tail.get(tail).into_iter().flatten()
    }
}

/// The identity for which a VirtualService was created that is merged into a managed one (Admiral,
/// docs/admiral-behaviour.md#custom-virtualservices).
pub(in crate::registry) fn created_for(route: &Route) -> Option<&str> {
    let is_marked = route.labels.contains_key(CREATED_BY) && route.annotations.contains_key(keys::CREATED_FOR_ENV);
    route.labels.get(CREATED_FOR).filter(|_| is_marked).map(String::as_str)
}

/// A host without its first label, and without its first two.
pub(in crate::registry) fn tails(host: &str) -> impl Iterator<Item = &str> {
    let first = host.split_once('.').map(|(_, tail)| tail);
    let second = first.and_then(|tail| tail.split_once('.')).map(|(_, tail)| tail);
    first.into_iter().chain(second)
}

fn toggle(index: &mut HashMap<String, BTreeSet<ObjectId>>, key: &str, id: &ObjectId, add: bool) {
    if add {
        index.entry(key.to_owned()).or_default().insert(id.clone());
    } else {
        remove_from(index, &key.to_owned(), id);
    }
}
