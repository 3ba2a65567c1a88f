//! In which namespaces of one cluster the workloads and clients of each identity run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::toggle;
use crate::model::Identity;

/// Identities that began or ceased to run in a namespace.
pub(in crate::registry) type IdentityMoves = BTreeSet<(Identity, Arc<str>)>;

/// The namespaces in which each identity runs, with the number of its workloads and clients there.
#[derive(Debug, Default)]
pub(super) struct IdentityIndex(HashMap<Identity, BTreeMap<Arc<str>, usize>>);

impl IdentityIndex {
    /// Counts one more workload or client of an identity in a namespace.
    pub(super) fn add(&mut self, identity: &Identity, namespace: &Arc<str>, moves: &mut IdentityMoves) {
        let count = self.0.entry(identity.clone()).or_default().entry(namespace.clone()).or_default();
        *count += 1;
        if *count == 1 {
            toggle(moves, (identity.clone(), namespace.clone()));
        }
    }

    /// Counts one less.
    pub(super) fn remove(&mut self, identity: &Identity, namespace: &Arc<str>, moves: &mut IdentityMoves) {
        let Some(namespaces) = self.0.get_mut(identity) else { return };
        if let Some(count) = namespaces.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                namespaces.remove(namespace);
                toggle(moves, (identity.clone(), namespace.clone()));
            }
        }
        if namespaces.is_empty() {
            self.0.remove(identity);
        }
    }

    /// The namespaces in which an identity runs, sorted.
    pub(super) fn namespaces_of(&self, identity: &Identity) -> Vec<Arc<str>> {
        self.0.get(identity).map_or_else(Vec::new, |namespaces| namespaces.keys().cloned().collect())
    }

    pub(super) fn has(&self, identity: &Identity) -> bool {
        self.0.contains_key(identity)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Identity> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_and_the_last_of_a_namespace_move_an_identity() {
        let (pay, namespace) = (Identity::parse("pay").unwrap(), Arc::from("shop"));
        let (mut index, mut moves) = (IdentityIndex::default(), IdentityMoves::new());
        index.add(&pay, &namespace, &mut moves);
        assert_eq!(std::mem::take(&mut moves), [(pay.clone(), namespace.clone())].into());
        index.add(&pay, &namespace, &mut moves);
        index.remove(&pay, &namespace, &mut moves);
        assert!(moves.is_empty() && index.has(&pay));
        index.remove(&pay, &namespace, &mut moves);
        assert_eq!(moves.len(), 1);
        assert!(!index.has(&pay) && index.namespaces_of(&pay).is_empty() && index.all().next().is_none());
        // It leaves and comes back within one event: nothing moved.
        index.add(&pay, &namespace, &mut moves);
        assert!(moves.is_empty());
    }
}
