//! The gateway Services of one cluster, and which of them others use (Admiral,
//! docs/admiral-behaviour.md#gateway-discovery).
//!
//! Keeps every Service that may be one, by its label `app`: which label is that of gateways may differ from cluster to
//! cluster and may change. Decides the address that counts; never who uses it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::slices::NamespacedName;
use crate::model::{GatewayAddress, GatewayService, Kind, LocalService, ObjectId};

/// A Service that may be a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GatewayCandidate {
    created_seconds: i64,
    service: GatewayService,
}

/// The labels `app` of a cluster's gateways, the preferred one first.
pub(in crate::registry) type Apps = Vec<Arc<str>>;

/// The gateway Services of one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct GatewayServices {
    candidates: BTreeMap<NamespacedName, GatewayCandidate>,
    /// By label: the address that counted last, kept while a Service with the label has none.
    last: HashMap<Arc<str>, GatewayAddress>,
    /// The address by which others reached the cluster before the restart.
    last_known: Option<GatewayAddress>,
}

impl GatewayServices {
    /// Whether keeping the Service as it is now changes nothing.
    pub(in crate::registry) fn holds(&self, service: &LocalService) -> bool {
        self.candidates.get(&at(&service.id)) == candidate(service).as_ref()
    }

    /// A Service came or changed.
    pub(in crate::registry) fn put(&mut self, service: &LocalService, apps: &[Arc<str>]) {
        let before = self.candidates.remove(&at(&service.id));
        if let Some(candidate) = candidate(service) {
            let app = candidate.service.app.clone();
            self.candidates.insert(at(&service.id), candidate);
            self.remember(&app);
        }
        if let Some(before) = before {
            self.remember(&before.service.app);
            self.forget_last_known(apps);
        }
    }

    /// Whether a Service is kept.
    pub(in crate::registry) fn has(&self, id: &ObjectId) -> bool {
        self.candidates.contains_key(&at(id))
    }

    pub(in crate::registry) fn remove(&mut self, id: &ObjectId, apps: &[Arc<str>]) {
        if let Some(before) = self.candidates.remove(&at(id)) {
            self.remember(&before.service.app);
            self.forget_last_known(apps);
        }
    }

    fn with<'a>(&'a self, app: &str) -> impl Iterator<Item = (&'a NamespacedName, &'a GatewayCandidate)> {
        self.candidates.iter().filter(move |(_, candidate)| *candidate.service.app == *app)
    }

    fn remember(&mut self, app: &Arc<str>) {
        if !self.any(std::slice::from_ref(app)) {
            // Deleted or without its port, not between two addresses: a gateway that comes later is another one.
            self.last.remove(app);
        } else if let Some((_, candidate)) = self.in_use(std::slice::from_ref(app))
            && let Some(address) = candidate.service.address.clone()
        {
            self.last.insert(app.clone(), address);
        }
    }

    fn forget_last_known(&mut self, apps: &[Arc<str>]) {
        if !self.any(apps) {
            self.last_known = None;
        }
    }

    /// Whether some gateway has a port that others reach, and so has or may get back an address.
    fn any(&self, apps: &[Arc<str>]) -> bool {
        apps.iter().any(|app| self.with(app).any(|(_, candidate)| !candidate.service.lacks_port))
    }

    /// The newest gateway Service with an address, of the preferred label if there is one.
    fn in_use(&self, apps: &[Arc<str>]) -> Option<(&NamespacedName, &GatewayCandidate)> {
        apps.iter().find_map(|app| {
            let with_address = self.with(app).filter(|(_, candidate)| candidate.service.address.is_some());
            with_address.max_by_key(|(at, candidate)| (candidate.created_seconds, *at))
        })
    }

    /// Where other clusters reach this one: the newest gateway Service with an address, of the preferred label if there is
    /// one; else the address that counted last while a gateway Service has none.
    pub(in crate::registry) fn address(&self, apps: &[Arc<str>]) -> Option<&GatewayAddress> {
        let newest = self.in_use(apps).and_then(|(_, candidate)| candidate.service.address.as_ref());
        let last = || apps.iter().find_map(|app| self.last.get(app));
        newest.or_else(last).or_else(|| self.last_known.as_ref().filter(|_| self.any(apps)))
    }

    /// The address by which others reached the cluster before the restart; counts as the last one known.
    pub(in crate::registry) fn restore(&mut self, address: GatewayAddress) {
        self.last_known.get_or_insert(address);
    }

    /// Whether some Service has the address, whatever its label.
    pub(in crate::registry) fn has_address(&self, address: &GatewayAddress) -> bool {
        self.candidates.values().any(|candidate| candidate.service.address.as_ref() == Some(address))
    }

    /// The gateway Service without an address, while no gateway has one; and whether that is because it lacks the port.
    pub(in crate::registry) fn without_address(&self, apps: &[Arc<str>]) -> Option<(ObjectId, bool)> {
        if self.in_use(apps).is_some() {
            return None;
        }
        let all = || apps.iter().rev().flat_map(|app| self.with(app));
        let with_port = all().find(|(_, candidate)| !candidate.service.lacks_port);
        let ((namespace, name), candidate) = with_port.or_else(|| all().next())?;
        Some((ObjectId::new(Kind::Service, namespace, name), candidate.service.lacks_port))
    }

    /// What is questionable about one gateway Service.
    pub(in crate::registry) fn problems_of(&self, id: &ObjectId) -> &[String] {
        self.candidates.get(&at(id)).map_or(&[], |candidate| &candidate.service.problems)
    }

    /// What is questionable about the gateway Service whose address is used.
    pub(in crate::registry) fn problems(&self, apps: &[Arc<str>]) -> Option<(ObjectId, &[String])> {
        let ((namespace, name), candidate) = self.in_use(apps)?;
        Some((ObjectId::new(Kind::Service, namespace, name), &candidate.service.problems))
    }
}

fn at(id: &ObjectId) -> NamespacedName {
    (id.namespace.clone(), id.name.clone())
}

fn candidate(service: &LocalService) -> Option<GatewayCandidate> {
    let gateway = service.gateway.clone().filter(|_| !service.ignored)?;
    Some(GatewayCandidate { created_seconds: service.created_seconds, service: gateway })
}
