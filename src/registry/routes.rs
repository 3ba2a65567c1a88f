//! The VirtualServices and DestinationRules that users made in one cluster, by their hosts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    cluster_state::{ClusterState, Effects, remove_from},
    user_hosts::created_for,
};
use crate::model::{Kind, ObjectId, Route};

/// The routes of one cluster.
#[derive(Debug, Default)]
pub(super) struct Routes {
    all: HashMap<ObjectId, Arc<Route>>,
    /// By whole host in lower case.
    by_host: HashMap<Arc<str>, BTreeSet<ObjectId>>,
}

impl Routes {
    /// Answers the route as it was and as it is, unless nothing changed.
    pub(super) fn put(&mut self, route: Route) -> Option<(Option<Arc<Route>>, Arc<Route>)> {
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
    pub(super) fn remove(&mut self, id: &ObjectId) -> Option<Arc<Route>> {
        let route = self.all.remove(id)?;
        for host in route.full_hosts() {
            remove_from(&mut self.by_host, &host, id);
        }
        Some(route)
    }

    pub(super) fn get(&self, id: &ObjectId) -> Option<Arc<Route>> {
        self.all.get(id).cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.values()
    }

    pub(super) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.all.keys().filter(move |id| id.kind == kind).cloned()
    }

    /// Those for a host.
    pub(super) fn of(&self, host: &str) -> Vec<Arc<Route>> {
        let ids = self.by_host.get(host).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id).cloned()).collect()
    }

    /// Whether there is one for a host.
    pub(super) fn has(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    /// Every host with a route that may be copied: under the suffix of our hosts, or its owner says so.
    pub(super) fn hosts(&self, suffix: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_host.iter().filter_map(move |(host, ids)| {
            let is_ours = host.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'));
            let asks = || ids.iter().any(|id| self.all.get(id).is_some_and(|route| route.asks().is_some()));
            (is_ours || asks()).then_some(host)
        })
    }
}

/// What routes concern that are merged into ours.
fn merged<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> Effects {
    let mut effects = Effects::default();
    effects.routed.created_for.extend(routes.filter_map(|route| created_for(route)).map(str::to_owned));
    effects
}

impl ClusterState {
    pub(super) fn put_route(&mut self, route: Route) -> Effects {
        if self.is_merged(&route.id) {
            let (before, now) = self.custom.put(route).map_or((None, None), |(before, now)| (before, Some(now)));
            return merged(before.iter().chain(&now));
        }
        let Some((before, now)) = self.routes.put(route) else { return Effects::default() };
        self.replaced(before, Some(now))
    }

    pub(super) fn remove_route(&mut self, id: &ObjectId) -> Effects {
        if self.is_merged(id) {
            return merged(self.custom.remove(id).iter());
        }
        let Some(before) = self.routes.remove(id) else { return Effects::default() };
        self.replaced(Some(before), None)
    }

    fn replaced(&mut self, before: Option<Arc<Route>>, now: Option<Arc<Route>>) -> Effects {
        let mut effects = Effects::default();
        let rule = now.as_deref().or(before.as_deref()).filter(|route| route.id.kind == Kind::DestinationRule);
        if let Some(id) = rule.map(|rule| rule.id.clone()) {
            effects.overridden.extend(self.host_overrides.replace_rule(&id, now.as_deref()));
        }
        for (route, stands) in before.into_iter().map(|route| (route, false)).chain(now.map(|route| (route, true))) {
            effects.hosts.extend(route.full_hosts());
            effects.routed.hosts.extend(self.user_hosts.count(&route, stands));
            effects.services.extend(self.split_by(&route.id));
        }
        effects
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }
}
