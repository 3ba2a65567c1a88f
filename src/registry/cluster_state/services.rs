//! The Services of one cluster with their EndpointSlices, by the labels that they select and by the control plane they lead to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    remove_from,
    slices::{NamespacedName, Slices},
};
use crate::{
    model::{EndpointSlice, Kind, Labels, LocalService, ObjectId, Workload},
    plan::{
        input::{Backend, Pod},
        observe::{
            ports,
            selector::{POD_HASH, selects},
        },
    },
};

/// Label `app` of istiod's pods, by which its Service selects them (Istio's chart istio-control/istio-discovery).
const ISTIOD: &str = "istiod";

/// The Services of one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct Services {
    all: BTreeMap<NamespacedName, LocalService>,
    /// Those that lead to an istiod.
    istiods: BTreeSet<NamespacedName>,
    /// Names by the hash of (namespace, first pair of the selector).
    by_pair: HashMap<u64, BTreeSet<Arc<str>>>,
    slices: Slices,
}

/// What changed by one Service.
#[derive(Debug, Default)]
pub(super) struct ServiceChange {
    /// The Service before, and then after, as far as it was and is there: their pods' services are to be planned again.
    pub(super) touched: Vec<LocalService>,
    /// Whether a Service of an istiod came, changed or went.
    pub(super) of_istiod: bool,
}

impl Services {
    /// Keeps a Service; answers nothing where it is known as it is.
    pub(super) fn put(&mut self, service: LocalService) -> Option<ServiceChange> {
        let at = name_of(&service.id);
        if self.all.get(&at) == Some(&service) {
            return None;
        }
        let mut change = self.remove(&service.id);
        if let Some(pair) = indexed_pair(&service.selector) {
            self.by_pair.entry(pair_hash(&at.0, pair)).or_default().insert(at.1.clone());
        }
        if is_istiod(&service) {
            change.of_istiod = true;
            self.istiods.insert(at.clone());
        }
        change.touched.push(service.clone());
        self.all.insert(at, service);
        Some(change)
    }

    /// Forgets a Service.
    pub(super) fn remove(&mut self, id: &ObjectId) -> ServiceChange {
        let at = name_of(id);
        let Some(service) = self.all.remove(&at) else { return ServiceChange::default() };
        if let Some(pair) = indexed_pair(&service.selector) {
            remove_from(&mut self.by_pair, &pair_hash(&at.0, pair), &at.1);
        }
        ServiceChange { of_istiod: self.istiods.remove(&at), touched: vec![service] }
    }

    pub(super) fn get(&self, at: &NamespacedName) -> Option<&LocalService> {
        self.all.get(at)
    }

    /// The Services that select the pods of a workload and are not ignored, in no order.
    pub(super) fn selecting(&self, workload: &Workload) -> Vec<&LocalService> {
        let (namespace, labels) = (&workload.id.namespace, &workload.template_labels);
        let of_rollout = workload.rollout.is_some();
        let mut found = Vec::new();
        for pair in labels {
            for name in self.by_pair.get(&pair_hash(namespace, pair)).into_iter().flatten() {
                if let Some(service) = self.all.get(&(namespace.clone(), name.clone()))
                    && !service.ignored
                    && selects(&service.selector, labels, of_rollout)
                {
                    found.push(service);
                }
            }
        }
        found
    }

    /// The Services of a namespace that select nothing, and why that keeps each from being published.
    pub(super) fn without_selector(&self, namespace: &Arc<str>) -> Vec<(ObjectId, String)> {
        let from = (namespace.clone(), Arc::from(""));
        self.all
            .range(from..)
            .take_while(|((of, _), _)| of == namespace)
            .filter(|(_, service)| service.selector.is_empty() && !service.ignored)
            .filter_map(|(_, service)| Some((service.id.clone(), ports::unusable(service)?.to_owned())))
            .collect()
    }

    /// The namespaces with a Service that leads to an istiod.
    pub(in crate::registry) fn istiod_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.istiods.iter().map(|(namespace, _)| namespace)
    }

    /// Keeps an EndpointSlice; answers the Services with a selector whose pods are others now.
    pub(super) fn put_slice(&mut self, slice: EndpointSlice) -> Vec<LocalService> {
        let changed = self.slices.put(slice);
        self.with_selector(&changed)
    }

    /// Forgets an EndpointSlice; answers the Services with a selector whose pods are others now.
    pub(super) fn remove_slice(&mut self, id: &ObjectId) -> Vec<LocalService> {
        let changed = self.slices.remove(id);
        self.with_selector(&changed)
    }

    fn with_selector(&self, names: &[NamespacedName]) -> Vec<LocalService> {
        let services = names.iter().filter_map(|at| self.all.get(at));
        services.filter(|service| !service.selector.is_empty()).cloned().collect()
    }

    /// The ready pods behind a Service, sorted by address.
    pub(super) fn pods(&self, backend: &Backend) -> Vec<Pod> {
        let service = self.get(&(backend.namespace.clone(), backend.service.clone()));
        service.map_or_else(Vec::new, |service| self.slices.pods(service, &backend.ports))
    }

    /// The ids of all Services or EndpointSlices.
    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        match kind {
            Kind::EndpointSlice => self.slices.ids(),
            _ => self.all.values().map(|service| service.id.clone()).collect(),
        }
    }
}

/// Whether a Service is that of a control plane.
fn is_istiod(service: &LocalService) -> bool {
    service.selector.get("app").is_some_and(|app| app == ISTIOD)
}

fn name_of(id: &ObjectId) -> NamespacedName {
    (id.namespace.clone(), id.name.clone())
}

fn pair_hash(namespace: &str, (key, value): (&String, &String)) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, key, value).hash(&mut hasher);
    hasher.finish()
}

/// The pair of a selector under which its Service is found.
fn indexed_pair(selector: &Labels) -> Option<(&String, &String)> {
    selector.iter().find(|(key, _)| *key != POD_HASH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Addressing, Rollout, RolloutStrategy};

    fn service(name: &str, selector: &[(&str, &str)]) -> LocalService {
        LocalService {
            id: ObjectId::new(Kind::Service, "shop", name),
            created_seconds: 0,
            ignored: false,
            selector: selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            external_name: false,
            addressing: Addressing::default(),
            ports: Vec::new(),
            gateway: None,
        }
    }

    fn workload(labels: &[(&str, &str)]) -> Workload {
        Workload {
            template_labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Workload::new(ObjectId::new(Kind::Deployment, "shop", "pay"))
        }
    }

    fn selecting(services: &Services, workload: &Workload) -> Vec<String> {
        let mut names: Vec<_> = services.selecting(workload).iter().map(|found| found.id.name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_service_is_found_by_its_selector_until_that_changes() {
        let mut services = Services::default();
        assert_eq!(services.put(service("pay", &[("app", "pay")])).unwrap().touched.len(), 1);
        assert!(services.put(service("pay", &[("app", "pay")])).is_none(), "nothing changed");
        services.put(service("other", &[("app", "other")]));
        let pods = workload(&[("app", "pay"), ("tier", "web")]);
        assert_eq!(selecting(&services, &pods), ["pay"]);
        let change = services.put(service("pay", &[("app", "cart")])).unwrap();
        assert_eq!(change.touched.len(), 2, "as it was and as it is");
        assert!(selecting(&services, &pods).is_empty());
        services.put(service("pay", &[("app", "pay"), ("tier", "db")]));
        assert!(selecting(&services, &pods).is_empty(), "every pair counts");
        services.remove(&ObjectId::new(Kind::Service, "shop", "pay"));
        assert_eq!(services.ids(Kind::Service).len(), 1);
    }

    #[test]
    fn a_service_of_one_version_selects_its_rollout() {
        let mut services = Services::default();
        services.put(service("stable", &[("app", "pay"), (POD_HASH, "abc")]));
        let mut rollout = workload(&[("app", "pay")]);
        assert!(selecting(&services, &rollout).is_empty());
        rollout.rollout =
            Some(Box::new(Rollout { template_of: None, unread_template: None, strategy: RolloutStrategy::Nothing }));
        assert_eq!(selecting(&services, &rollout), ["stable"]);
    }

    #[test]
    fn services_without_selector_have_a_reason_and_those_of_an_istiod_are_known() {
        let mut services = Services::default();
        services.put(service("bare", &[]));
        assert!(services.put(service("istiod", &[("app", ISTIOD)])).unwrap().of_istiod);
        assert_eq!(services.without_selector(&"shop".into())[0].1, "has no selector");
        assert!(services.without_selector(&"other".into()).is_empty());
        assert_eq!(services.istiod_namespaces().count(), 1);
        assert!(services.remove(&ObjectId::new(Kind::Service, "shop", "istiod")).of_istiod);
        assert_eq!(services.istiod_namespaces().count(), 0);
    }
}
