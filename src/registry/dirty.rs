//! The units that wait to be planned: a set, so that many events make one piece of work.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::{ClusterName, ServiceKey};

/// What is planned at once, in the order in which it is planned: the rules of a namespace before the routes of its services
/// that lead by them, and the services, which say what is published, before the Sidecars and copies that follow them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// The rules for all Services of one namespace of one cluster.
    Namespace(ClusterName, Arc<str>),
    /// A service, in all clusters.
    Service(ServiceKey),
    /// The Sidecar of one client namespace of one cluster.
    Sidecar(ClusterName, Arc<str>),
    /// The copies of users' routes for one host (whole, in lower case), in all clusters.
    Host(Arc<str>),
}

impl Unit {
    /// The service, where it is one.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Service(key) => Some(key),
            Self::Sidecar(..) | Self::Host(_) | Self::Namespace(..) => None,
        }
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(key) => write!(f, "{key}"),
            Self::Sidecar(cluster, namespace) => write!(f, "Sidecar of {cluster}/{namespace}"),
            Self::Host(host) => write!(f, "routes for {host}"),
            Self::Namespace(cluster, namespace) => write!(f, "rules of {cluster}/{namespace}"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct DirtyUnits {
    units: Mutex<HashSet<Unit>>,
    changed: Notify,
    /// Those that may wait for more of the same burst of events.
    later: Mutex<HashSet<Unit>>,
    later_changed: Notify,
}

impl DirtyUnits {
    pub(super) fn mark(&self, units: impl IntoIterator<Item = Unit>) {
        let mut waiting = self.units.lock();
        let before = waiting.len();
        waiting.extend(units);
        if waiting.len() > before {
            self.changed.notify_one();
        }
    }

    pub(super) fn mark_later(&self, units: impl IntoIterator<Item = Unit>) {
        let mut later = self.later.lock();
        let before = later.len();
        later.extend(units);
        if later.len() > before {
            self.later_changed.notify_one();
        }
    }

    /// Ends the waiting of those that may wait.
    pub(super) fn hasten(&self) {
        let later = std::mem::take(&mut *self.later.lock());
        self.mark(later);
    }

    /// Everything that waits, sorted, so that the same state is worked through in the same order.
    pub(super) fn take(&self) -> BTreeSet<Unit> {
        std::mem::take(&mut *self.units.lock()).into_iter().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.units.lock().len() + self.later.lock().len()
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) async fn later_changed(&self) {
        self.later_changed.notified().await;
    }
}
