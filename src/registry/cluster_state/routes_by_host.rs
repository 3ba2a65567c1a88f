//! The VirtualServices and DestinationRules that users made in one cluster, by their hosts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::remove_from;
use crate::model::{Kind, ObjectId, Route};

/// RoutesByHost of one cluster, by their hosts.
#[derive(Debug, Default)]
pub(in crate::registry) struct RoutesByHost {
    all: HashMap<ObjectId, Arc<Route>>,
    /// By whole host in lower case.
    by_host: HashMap<Arc<str>, BTreeSet<ObjectId>>,
}

impl RoutesByHost {
    /// Answers the route as it was and as it is, unless nothing changed.
    pub(in crate::registry) fn put(&mut self, route: Route) -> Option<(Option<Arc<Route>>, Arc<Route>)> {
        if self.all.get(&route.id).is_some_and(|known| **known == route) {
            return None;
        }
        let before = self.remove(&route.id);
        let route = Arc::new(route);
        for host in route.full_hosts() {
            self.by_host.entry(host).or_default().insert(route.id.clone());
        }
        self.all.insert(route.id.clone(), route.clone());
        Some((before, route))
    }

    /// Answers the route as it was.
    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> Option<Arc<Route>> {
        let route = self.all.remove(id)?;
        for host in route.full_hosts() {
            remove_from(&mut self.by_host, &host, id);
        }
        Some(route)
    }

    pub(in crate::registry) fn get(&self, id: &ObjectId) -> Option<Arc<Route>> {
        self.all.get(id).cloned()
    }

    pub(in crate::registry) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.values()
    }

    pub(in crate::registry) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.all.keys().filter(move |id| id.kind == kind).cloned()
    }

    /// Those for a host.
    pub(in crate::registry) fn of(&self, host: &str) -> Vec<Arc<Route>> {
        let ids = self.by_host.get(host).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id).cloned()).collect()
    }

    /// Whether there is one for a host.
    pub(in crate::registry) fn has(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    /// Every host with a route that may be copied: under the suffix of our hosts, or its owner says so.
    pub(in crate::registry) fn hosts(&self, suffix: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_host.iter().filter_map(move |(host, ids)| {
            let is_ours = host.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'));
            let asks = || ids.iter().any(|id| self.all.get(id).is_some_and(|route| route.asks().is_some()));
            (is_ours || asks()).then_some(host)
        })
    }
}
