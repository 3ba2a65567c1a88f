//! The namespaces of a cluster: whether they take part, and what that of the control plane tells.

use std::sync::Arc;

use super::{CONTROL_PLANE, Effects, Shard};
use crate::{
    config::Settings,
    model::{Labels, Namespace, ObjectId},
    registry::place::Moved,
};

impl Shard {
    pub(super) fn ignores(&self, namespace: &str) -> bool {
        self.gone_ignored.contains(namespace)
            || self.namespaces.get(namespace).is_some_and(|namespace| namespace.ignored)
    }

    pub(in crate::registry) fn put_namespace(&mut self, namespace: Namespace, settings: &Settings) -> Effects {
        let name = namespace.id.name.clone();
        let before = self.ignores(&name);
        self.gone_ignored.remove(&name);
        let place = self.put_facts(&name, &namespace.facts);
        self.namespaces.insert(name.clone(), namespace);
        let mut effects = self.reclassify(&name, before, settings);
        effects.place |= place;
        effects
    }

    fn put_facts(&mut self, namespace: &str, facts: &Labels) -> Moved {
        let known = self.namespaces.get(namespace).map(|namespace| &namespace.facts);
        if namespace != CONTROL_PLANE || known.unwrap_or(&Labels::new()) == facts {
            return Moved::default();
        }
        self.place.put_facts(facts)
    }

    pub(in crate::registry) fn remove_namespace(&mut self, id: &ObjectId) -> Effects {
        if self.ignores(&id.name) {
            self.gone_ignored.insert(id.name.clone());
        }
        let place = self.put_facts(&id.name, &Labels::new());
        self.namespaces.remove(&id.name);
        Effects { place, ..Effects::default() }
    }

    fn reclassify(&mut self, namespace: &Arc<str>, ignored_before: bool, settings: &Settings) -> Effects {
        let mut effects = Effects::default();
        let ignored = self.ignores(namespace);
        if ignored == ignored_before {
            return effects;
        }
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
        self.count_clients_of(namespace, ignored, &mut effects);
        effects
    }

    fn is_noted(&self, id: &ObjectId) -> bool {
        self.workloads.get(id).is_some_and(|placed| placed.classified.is_noted())
    }

    pub(in crate::registry) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }
}
