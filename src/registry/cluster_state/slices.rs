//! EndpointSlices of one cluster, by the Service whose pods they list.
//!
//! Keeps those of every Service, because a Service may come to matter after its slices; decides which of its pods count,
//! never who reaches them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    model::{EndpointSlice, LocalService, ObjectId},
    plan::input::{BackendPort, Pod},
};

/// Namespace and name of a Service.
pub(in crate::registry) type NamespacedName = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(in crate::registry) struct Slices {
    of: HashMap<NamespacedName, BTreeMap<ObjectId, EndpointSlice>>,
    service_of: HashMap<ObjectId, Arc<str>>,
}

impl Slices {
    /// Keeps a slice; answers the Services whose pods are others now.
    pub(in crate::registry) fn put(&mut self, slice: EndpointSlice) -> Vec<NamespacedName> {
        let at = (slice.id.namespace.clone(), slice.service.clone());
        if self.of.get(&at).and_then(|slices| slices.get(&slice.id)) == Some(&slice) {
            return Vec::new();
        }
        let mut changed = self.remove(&slice.id);
        if !slice.service.is_empty() {
            self.service_of.insert(slice.id.clone(), slice.service.clone());
            self.of.entry(at.clone()).or_default().insert(slice.id.clone(), slice);
            changed.retain(|before| *before != at);
            changed.push(at);
        }
        changed
    }

    /// Forgets a slice; answers the Services whose pods are others now.
    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> Vec<NamespacedName> {
        let Some(service) = self.service_of.remove(id) else { return Vec::new() };
        let at = (id.namespace.clone(), service);
        if let Some(slices) = self.of.get_mut(&at) {
            slices.remove(id);
            if slices.is_empty() {
                self.of.remove(&at);
            }
        }
        vec![at]
    }

    pub(in crate::registry) fn ids(&self) -> Vec<ObjectId> {
        self.service_of.keys().cloned().collect()
    }

    /// The ready pods of a Service with the numbers of `ports` there, sorted by address: those with an IPv4 address, and
    /// where there are none those with an IPv6 one, so that a pod with both counts once.
    pub(in crate::registry) fn pods(&self, service: &LocalService, ports: &[BackendPort]) -> Vec<Pod> {
        let at = (service.id.namespace.clone(), service.id.name.clone());
        let slices = || self.of.get(&at).into_iter().flat_map(BTreeMap::values);
        let has_ipv4 = slices().flat_map(|slice| &slice.pods).any(|pod| pod.address.is_ipv4());
        // For a while, a pod may be in two slices (Kubernetes documentation, "EndpointSlices").
        let mut pods: BTreeMap<IpAddr, Pod> = BTreeMap::new();
        for slice in slices() {
            let number = |port: &BackendPort| {
                let named = service.ports.iter().find(|known| known.number == port.number)?;
                slice.ports.get(&named.name).copied()
            };
            let numbers: Vec<Option<u16>> = ports.iter().map(number).collect();
            for pod in slice.pods.iter().filter(|pod| pod.address.is_ipv4() == has_ipv4) {
                pods.entry(pod.address).or_insert_with(|| Pod {
                    address: pod.address,
                    ports: numbers.clone(),
                    zone: pod.zone.clone(),
                });
            }
        }
        pods.into_values().collect()
    }
}
