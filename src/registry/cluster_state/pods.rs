//! The pods of a cluster, where clusters of the same network reach them by their own addresses.
//!
//! Decides which services a change of pods touches; never whether it is a gateway or a pod that others see.

use super::{ClusterState, Effects};
use crate::{
    model::{EndpointSlice, Kind, ObjectId},
    plan::input::{Backend, Pod},
    registry::slices::At,
};

impl ClusterState {
    /// Whether the pods of every Service are known. Where nobody looks for them, nobody misses them.
    pub(in crate::registry) fn knows_pods(&self) -> bool {
        !self.kinds().contains_key(&Kind::EndpointSlice) || self.knows(Kind::EndpointSlice)
    }

    /// Whether pods are to be looked for there, and may be.
    pub(in crate::registry) fn lists_pods(&self) -> bool {
        self.knows(Kind::EndpointSlice) && !self.is_loading() && self.gateway_network().is_some()
    }

    pub(in crate::registry) fn put_slice(&mut self, slice: EndpointSlice) -> Effects {
        let changed = self.slices.put(slice);
        self.touch_pods_of(&changed)
    }

    pub(in crate::registry) fn remove_slice(&mut self, id: &ObjectId) -> Effects {
        let changed = self.slices.remove(id);
        self.touch_pods_of(&changed)
    }

    fn touch_pods_of(&self, changed: &[At]) -> Effects {
        let mut touched = Effects::default();
        // Without a network, nobody is on the same one.
        if self.gateway_network().is_some() {
            let services = changed.iter().filter_map(|at| self.services.get(at));
            services.filter(|service| !service.selector.is_empty()).for_each(|service| {
                self.touch_selected(service, &mut touched);
            });
        }
        Effects { pods: touched.services, ..Effects::default() }
    }

    /// The pods behind a Service.
    pub(in crate::registry) fn pods(&self, backend: &Backend) -> Vec<Pod> {
        let service = self.services.get(&(backend.namespace.clone(), backend.service.clone()));
        let mut pods = service.map_or_else(Vec::new, |service| self.slices.pods(service, &backend.ports));
        // A cluster counts as one region: zones of its others would not be found there.
        if self.topology.regions().len() > 1 {
            pods.iter_mut().for_each(|pod| pod.zone = None);
        }
        pods
    }
}
