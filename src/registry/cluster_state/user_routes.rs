//! What users say about hosts in one cluster: their VirtualServices and DestinationRules, those that are merged into managed
//! ones, and the ServiceEntries and DestinationRules that Istio may follow in place of published ones.

use std::sync::Arc;

use super::{Effects, host_overrides::HostOverrides, routes_by_host::RoutesByHost, user_hosts, user_hosts::UserHosts};
use crate::{
    config::Settings,
    model::{HostOverride, Kind, ObjectId, Route},
};

/// What users say about hosts in one cluster.
#[derive(Debug)]
pub(in crate::registry) struct UserRoutes {
    /// Where managed objects are, and what users want merged into them.
    sync_namespace: Arc<str>,
    /// Those that may be copied into other clusters.
    routes: RoutesByHost,
    /// Those that are merged into managed ones.
    merged: RoutesByHost,
    hosts: UserHosts,
    overrides: HostOverrides,
}

impl UserRoutes {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            sync_namespace: settings.sync_namespace.as_str().into(),
            routes: RoutesByHost::default(),
            merged: RoutesByHost::default(),
            hosts: UserHosts::default(),
            overrides: HostOverrides::new(&settings.hostname_suffix),
        }
    }

    /// A route came or changed. Answers whether one changed that is not merged and that a Rollout may name.
    pub(super) fn put(&mut self, route: Route, effects: &mut Effects) -> bool {
        if self.is_merged(&route.id) {
            let (before, now) = self.merged.put(route).map_or((None, None), |(before, now)| (before, Some(now)));
            note_merged(before.iter().chain(&now), effects);
            return false;
        }
        let Some((before, now)) = self.routes.put(route) else { return false };
        self.replaced(before, Some(now), effects);
        true
    }

    /// A route is gone. Answers as [`UserRoutes::put`].
    pub(super) fn remove(&mut self, id: &ObjectId, effects: &mut Effects) -> bool {
        if self.is_merged(id) {
            note_merged(self.merged.remove(id).iter(), effects);
            return false;
        }
        let Some(before) = self.routes.remove(id) else { return false };
        self.replaced(Some(before), None, effects);
        true
    }

    fn replaced(&mut self, before: Option<Arc<Route>>, now: Option<Arc<Route>>, effects: &mut Effects) {
        let rule = now.as_deref().or(before.as_deref()).filter(|route| route.id.kind == Kind::DestinationRule);
        if let Some(id) = rule.map(|rule| rule.id.clone()) {
            effects.overridden.extend(self.overrides.replace_rule(&id, now.as_deref()));
        }
        for (route, is_there) in before.iter().map(|route| (route, false)).chain(now.iter().map(|route| (route, true)))
        {
            effects.hosts.extend(route.full_hosts());
            effects.routed.hosts.extend(self.hosts.count(route, is_there));
        }
    }

    /// A user's ServiceEntry came, changed or, with `None`, is none any more.
    pub(super) fn put_override(&mut self, id: &ObjectId, now: Option<HostOverride>, effects: &mut Effects) {
        effects.overridden.extend(self.overrides.replace(id, now));
    }

    /// Whether a route of a user is merged into managed ones: those of the sync namespace.
    fn is_merged(&self, id: &ObjectId) -> bool {
        *id.namespace == *self.sync_namespace
    }

    /// The routes that may be copied into other clusters.
    pub(in crate::registry) fn routes(&self) -> &RoutesByHost {
        &self.routes
    }

    /// The hosts that users route by VirtualServices.
    pub(in crate::registry) fn hosts(&self) -> &UserHosts {
        &self.hosts
    }

    /// What Istio may follow in place of published objects.
    pub(in crate::registry) fn overrides(&self) -> &HostOverrides {
        &self.overrides
    }

    /// The VirtualServices that were made to be merged into those of an identity (in lower case).
    pub(in crate::registry) fn merged_for(&self, identity: &str) -> Vec<Arc<Route>> {
        let is_for = |route: &&Arc<Route>| !route.ignored && user_hosts::created_for(route) == Some(identity);
        self.merged.iter().filter(is_for).cloned().collect()
    }

    pub(super) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.routes.ids(kind).chain(self.merged.ids(kind)).chain(self.overrides.ids(kind))
    }
}

/// The identities whose managed routes these are merged into.
fn note_merged<'a>(routes: impl Iterator<Item = &'a Arc<Route>>, effects: &mut Effects) {
    effects.routed.created_for.extend(routes.filter_map(|route| user_hosts::created_for(route)).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::keys;

    fn route(kind: Kind, namespace: &str, host: &str) -> Route {
        Route {
            id: ObjectId::new(kind, namespace, "own"),
            created_seconds: 0,
            ignored: false,
            labels: Default::default(),
            annotations: Default::default(),
            hosts: vec![host.into()],
            export_to: Vec::new(),
            spec: Arc::default(),
        }
    }

    fn put(routes: &mut UserRoutes, route: Route) -> Effects {
        let mut effects = Effects::default();
        routes.put(route, &mut effects);
        effects
    }

    #[test]
    fn a_virtual_service_is_found_by_its_host_until_it_goes() {
        let mut routes = UserRoutes::new(&Settings::default());
        let own = route(Kind::VirtualService, "shop", "Stage.pay.global");
        let effects = put(&mut routes, own.clone());
        assert_eq!(effects.hosts, ["stage.pay.global".into()].into());
        assert_eq!(effects.routed.hosts, ["stage.pay.global".to_owned()].into());
        assert!(put(&mut routes, own.clone()).hosts.is_empty(), "nothing changed");
        assert!(routes.routes().has("stage.pay.global") && routes.hosts().of_host("stage.pay.global").next().is_some());
        let mut effects = Effects::default();
        routes.remove(&own.id, &mut effects);
        assert_eq!(effects.hosts.len(), 1);
        assert!(!routes.routes().has("stage.pay.global") && routes.ids(Kind::VirtualService).next().is_none());
    }

    #[test]
    fn a_route_in_the_sync_namespace_is_merged_for_its_identity_and_never_copied() {
        let settings = Settings::default();
        let mut routes = UserRoutes::new(&settings);
        let mut merged = route(Kind::VirtualService, &settings.sync_namespace, "stage.pay.global");
        merged.labels = [("createdBy".to_owned(), "me".to_owned()), ("createdFor".to_owned(), "pay".to_owned())].into();
        merged.annotations = [(keys::CREATED_FOR_ENV.to_owned(), "stage".to_owned())].into();
        let effects = put(&mut routes, merged);
        assert!(effects.hosts.is_empty() && effects.routed.created_for == ["pay".to_owned()].into());
        assert_eq!((routes.merged_for("pay").len(), routes.merged_for("cart").len()), (1, 0));
        assert!(!routes.routes().has("stage.pay.global"));
    }
}
