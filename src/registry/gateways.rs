//! The gateway Services of one cluster, and which of them others use (Admiral,
//! docs/admiral-behaviour.md#gateway-discovery).
//!
//! Keeps every Service that may be one, by its label `app`: which label is that of gateways may differ from cluster to
//! cluster and may change. Decides the address that counts; never who uses it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::model::{GatewayAddress, GatewayService, Kind, LocalService, ObjectId};

/// Namespace and name.
type At = (Arc<str>, Arc<str>);

/// A Service that may be a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    created_seconds: i64,
    service: GatewayService,
}

/// The labels `app` of a cluster's gateways, the preferred one first.
pub(super) type Apps = Vec<Arc<str>>;

/// The gateway Services of one cluster.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    candidates: BTreeMap<At, Candidate>,
    /// By label: the address that counted last, kept while a Service with the label stands without one.
    last: HashMap<Arc<str>, GatewayAddress>,
    /// The address by which others reached the cluster before the restart.
    recalled: Option<GatewayAddress>,
}

impl Gateways {
    /// Whether keeping the Service as it is now changes nothing.
    pub(super) fn holds(&self, service: &LocalService) -> bool {
        self.candidates.get(&at(&service.id)) == candidate(service).as_ref()
    }

    /// A Service came or changed.
    pub(super) fn put(&mut self, service: &LocalService, apps: &[Arc<str>]) {
        let before = self.candidates.remove(&at(&service.id));
        if let Some(candidate) = candidate(service) {
            let app = candidate.service.app.clone();
            self.candidates.insert(at(&service.id), candidate);
            self.remember(&app);
        }
        if let Some(before) = before {
            self.remember(&before.service.app);
            self.forget_recalled(apps);
        }
    }

    /// Whether a Service is kept.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.candidates.contains_key(&at(id))
    }

    pub(super) fn remove(&mut self, id: &ObjectId, apps: &[Arc<str>]) {
        if let Some(before) = self.candidates.remove(&at(id)) {
            self.remember(&before.service.app);
            self.forget_recalled(apps);
        }
    }

    fn with<'a>(&'a self, app: &str) -> impl Iterator<Item = (&'a At, &'a Candidate)> {
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

    fn forget_recalled(&mut self, apps: &[Arc<str>]) {
        if !self.any(apps) {
            self.recalled = None;
        }
    }

    /// Whether some gateway has a port that others reach, and so has or may get back an address.
    fn any(&self, apps: &[Arc<str>]) -> bool {
        apps.iter().any(|app| self.with(app).any(|(_, candidate)| !candidate.service.lacks_port))
    }

    /// The newest gateway Service with an address, of the preferred label if there is one.
    fn in_use(&self, apps: &[Arc<str>]) -> Option<(&At, &Candidate)> {
        apps.iter().find_map(|app| {
            let with_address = self.with(app).filter(|(_, candidate)| candidate.service.address.is_some());
            with_address.max_by_key(|(at, candidate)| (candidate.created_seconds, *at))
        })
    }

    /// Where other clusters reach this one: the newest gateway Service with an address, of the preferred label if there is
    /// one; else the address that counted last while a gateway Service stands without one.
    pub(super) fn address(&self, apps: &[Arc<str>]) -> Option<&GatewayAddress> {
        let newest = self.in_use(apps).and_then(|(_, candidate)| candidate.service.address.as_ref());
        let last = || apps.iter().find_map(|app| self.last.get(app));
        newest.or_else(last).or_else(|| self.recalled.as_ref().filter(|_| self.any(apps)))
    }

    /// The address by which others reached the cluster before the restart; counts as the last one known.
    pub(super) fn recall(&mut self, address: GatewayAddress) {
        self.recalled.get_or_insert(address);
    }

    /// Whether some Service has the address, whatever its label.
    pub(super) fn has_address(&self, address: &GatewayAddress) -> bool {
        self.candidates.values().any(|candidate| candidate.service.address.as_ref() == Some(address))
    }

    /// The gateway Service without an address, while no gateway has one; and whether that is because it lacks the port.
    pub(super) fn without_address(&self, apps: &[Arc<str>]) -> Option<(ObjectId, bool)> {
        if self.in_use(apps).is_some() {
            return None;
        }
        let all = || apps.iter().rev().flat_map(|app| self.with(app));
        let with_port = all().find(|(_, candidate)| !candidate.service.lacks_port);
        let ((namespace, name), candidate) = with_port.or_else(|| all().next())?;
        Some((ObjectId::new(Kind::Service, namespace, name), candidate.service.lacks_port))
    }

    /// What is questionable about one gateway Service.
    pub(super) fn problems_of(&self, id: &ObjectId) -> &[String] {
        self.candidates.get(&at(id)).map_or(&[], |candidate| &candidate.service.problems)
    }

    /// What is questionable about the gateway Service whose address is used.
    pub(super) fn problems(&self, apps: &[Arc<str>]) -> Option<(ObjectId, &[String])> {
        let ((namespace, name), candidate) = self.in_use(apps)?;
        Some((ObjectId::new(Kind::Service, namespace, name), &candidate.service.problems))
    }
}

fn at(id: &ObjectId) -> At {
    (id.namespace.clone(), id.name.clone())
}

fn candidate(service: &LocalService) -> Option<Candidate> {
    let gateway = service.gateway.clone().filter(|_| !service.ignored)?;
    Some(Candidate { created_seconds: service.created_seconds, service: gateway })
}
