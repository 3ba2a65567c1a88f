//! The VirtualServices and DestinationRules that users made in one cluster.

use std::{collections::HashMap, sync::Arc};

use crate::model::{Kind, ObjectId, Route};

/// The routes of one cluster.
#[derive(Debug, Default)]
pub(super) struct Routes {
    all: HashMap<ObjectId, Arc<Route>>,
}

impl Routes {
    /// Answers the route as it was and as it is, unless nothing changed.
    pub(super) fn put(&mut self, route: Route) -> Option<(Option<Arc<Route>>, Arc<Route>)> {
        if self.all.get(&route.id).is_some_and(|known| **known == route) {
            return None;
        }
        let before = self.remove(&route.id);
        let route = Arc::new(route);
        self.all.insert(route.id.clone(), route.clone());
        Some((before, route))
    }

    /// Answers the route as it was.
    pub(super) fn remove(&mut self, id: &ObjectId) -> Option<Arc<Route>> {
        self.all.remove(id)
    }

    pub(super) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.all.keys().filter(move |id| id.kind == kind).cloned()
    }
}
