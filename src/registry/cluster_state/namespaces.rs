//! The namespaces of a cluster: whether they take part, whether their pods have sidecars, and what that of the control plane tells.

use std::{collections::BTreeSet, sync::Arc};

use super::{Classified, ClusterState, Effects, Placed};
use crate::{
    config::Settings,
    model::{Kind, Labels, Namespace, ObjectId, ServiceKey},
    registry::{
        injection::{LeftOut, NamespaceMarks},
        topology::TopologyChange,
    },
};

impl ClusterState {
    /// What a namespace says about its workloads; none where they are ignored.
    pub(in crate::registry) fn namespace_marks(&self, namespace: &str) -> Option<NamespaceMarks> {
        match (self.namespaces.get(namespace), self.gone.get(namespace)) {
            (Some(known), _) => (!known.ignored).then(|| NamespaceMarks::of(namespace, Some(known))),
            (None, Some(gone)) => *gone,
            (None, None) => Some(NamespaceMarks::of(namespace, None)),
        }
    }

    pub(in crate::registry) fn put_namespace(&mut self, namespace: Namespace, settings: &Settings) -> Effects {
        let name = namespace.id.name.clone();
        let before = self.namespace_marks(&name);
        self.gone.remove(&name);
        let mut topology = self.put_facts(&name, &namespace.facts);
        topology.any |= self.bears_on_istio_namespace(&name);
        self.namespaces.insert(name.clone(), namespace);
        topology.any |= self.bears_on_istio_namespace(&name);
        let mut effects =
            if self.namespace_marks(&name) == before { Effects::default() } else { self.reclassify(&name, settings) };
        effects.topology |= topology;
        effects
    }

    fn put_facts(&mut self, namespace: &str, facts: &Labels) -> TopologyChange {
        let known = self.namespaces.get(namespace).map(|namespace| &namespace.facts);
        if namespace != &*self.istio_namespace || known.unwrap_or(&Labels::new()) == facts {
            return TopologyChange::default();
        }
        self.topology.put_facts(facts)
    }

    pub(in crate::registry) fn remove_namespace(&mut self, id: &ObjectId) -> Effects {
        let is_used = self.clients.is_in(&id.name) || self.workloads.keys().any(|of| of.namespace == id.name);
        if is_used && self.namespaces.contains_key(&id.name) {
            self.gone.insert(id.name.clone(), self.namespace_marks(&id.name));
        }
        let mut topology = self.put_facts(&id.name, &Labels::new());
        topology.any |= self.bears_on_istio_namespace(&id.name);
        self.namespaces.remove(&id.name);
        Effects { topology, ..Effects::default() }
    }

    /// Looks again at the workloads and clients of a namespace that says something else now.
    fn reclassify(&mut self, namespace: &Arc<str>, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        let ids: Vec<ObjectId> = self.workloads.keys().filter(|id| id.namespace == *namespace).cloned().collect();
        for id in ids {
            let was_noted = self.is_noted(&id);
            if let Some(workload) = self.take_workload(&id, &mut effects) {
                self.classify(workload, settings, &mut effects);
            }
            if was_noted || self.is_noted(&id) {
                effects.noted.insert(id);
            }
        }
        self.count_clients_of(namespace, settings.sidecar_injection, &mut effects);
        effects
    }

    pub(super) fn is_certain(&self, why: LeftOut) -> bool {
        !why.depends_on_namespace() || self.knows(Kind::Namespace)
    }

    /// Whether workloads or clients may have a sidecar because of their namespace, which is not known.
    pub(in crate::registry) fn doubts_sidecars(&self) -> bool {
        self.undecided + self.clients.undecided() > 0 && !self.knows(Kind::Namespace)
    }

    /// Whether a workload of the service may have a sidecar because of its namespace, which is not known.
    pub(in crate::registry) fn doubts_sidecars_of(&self, of: &ServiceKey) -> bool {
        let is_of = |placed: &Placed| match &placed.classified {
            Classified::LeftOut { why, key } => why.depends_on_namespace() && key.as_ref() == Some(of),
            _ => false,
        };
        self.doubts_sidecars() && self.workloads.values().any(is_of)
    }

    /// The first workload of a service that has no sidecar.
    pub(in crate::registry) fn left_out(&self, of: &ServiceKey) -> Option<ObjectId> {
        let is_of = |placed: &&Placed| match &placed.classified {
            Classified::LeftOut { why, key } => self.is_certain(*why) && key.as_ref() == Some(of),
            _ => false,
        };
        self.workloads.values().filter(is_of).map(|placed| &placed.workload.id).min().cloned()
    }

    /// The services that workloads without a sidecar name.
    pub(in crate::registry) fn keys_left_out(&self) -> BTreeSet<ServiceKey> {
        self.workloads.values().filter_map(|placed| placed.classified.left_out().cloned()).collect()
    }

    /// The workloads and clients that have no sidecar.
    pub(in crate::registry) fn without_sidecar(&self) -> Vec<ObjectId> {
        let is_left_out = |placed: &&Placed| matches!(placed.classified, Classified::LeftOut { .. });
        let workloads = self.workloads.values().filter(is_left_out).map(|placed| placed.workload.id.clone());
        workloads.chain(self.clients.left_out()).collect()
    }

    fn is_noted(&self, id: &ObjectId) -> bool {
        self.workloads.get(id).is_some_and(|placed| placed.classified.is_noted())
    }

    pub(in crate::registry) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }
}
