//! Who runs in one cluster and serves nothing: Jobs, CronJobs and the like, that only call others (reference behaviour §11.5).
//!
//! A CronJob leaves many Jobs behind, so of each no more is kept than its name and its identity. Decides nothing about
//! dependencies.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{identity, shard::Effects};
use crate::{
    config::Settings,
    model::{Identity, Kind, NameError, ObjectId, Workload},
};

/// Kind and name in a namespace.
type Name = (Kind, Arc<str>);

/// The clients of one cluster.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_namespace: HashMap<Arc<str>, HashMap<Name, Identity>>,
    /// Those whose identity cannot be.
    invalid: HashMap<ObjectId, NameError>,
    /// Namespaces whose clients do not count.
    ignored: BTreeSet<Arc<str>>,
}

/// How the identity of a client changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    namespace: Option<Arc<str>>,
    before: Option<Identity>,
    now: Option<Identity>,
}

impl Clients {
    /// Takes a client as it is now.
    pub(super) fn put(&mut self, client: &Workload, settings: &Settings) -> Changed {
        self.invalid.remove(&client.id);
        let identity = match identity::of_client(client, settings) {
            Ok(identity) => identity,
            Err(error) => {
                self.invalid.insert(client.id.clone(), error);
                None
            }
        };
        self.set(&client.id, identity)
    }

    pub(super) fn remove(&mut self, id: &ObjectId) -> Changed {
        self.invalid.remove(id);
        self.set(id, None)
    }

    fn set(&mut self, id: &ObjectId, identity: Option<Identity>) -> Changed {
        let known = self.by_namespace.get_key_value(&id.namespace).map(|(namespace, _)| namespace.clone());
        let namespace = known.unwrap_or_else(|| id.namespace.clone());
        let clients = self.by_namespace.entry(namespace.clone()).or_default();
        let name = (id.kind, id.name.clone());
        let before = match &identity {
            Some(now) => {
                // The runs of one CronJob share the text of their identity.
                let shared = clients.values().next().filter(|other| *other == now).cloned();
                clients.insert(name, shared.unwrap_or_else(|| now.clone()))
            }
            None => clients.remove(&name),
        };
        if clients.is_empty() {
            self.by_namespace.remove(&namespace);
        }
        if before == identity {
            return Changed::default();
        }
        Changed { namespace: Some(namespace), before, now: identity }
    }

    pub(super) fn invalid(&self, id: &ObjectId) -> Option<&NameError> {
        self.invalid.get(id)
    }

    fn counts(&self, namespace: &str) -> bool {
        !self.ignored.contains(namespace)
    }

    /// The identities that run in a namespace and count.
    pub(super) fn identities_in(&self, namespace: &str) -> impl Iterator<Item = &Identity> {
        let counting = self.by_namespace.get(namespace).filter(|_| self.counts(namespace));
        counting.into_iter().flat_map(HashMap::values)
    }

    /// The namespaces with clients that count.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_namespace.keys().filter(|namespace| self.counts(namespace))
    }

    /// The ids of all of one kind.
    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        let id =
            |namespace: &Arc<str>, name: &Arc<str>| ObjectId { kind, namespace: namespace.clone(), name: name.clone() };
        let counted = self.by_namespace.iter().flat_map(|(namespace, clients)| {
            let of_kind = clients.keys().filter(|(of, _)| *of == kind);
            of_kind.map(|(_, name)| id(namespace, name))
        });
        counted.chain(self.invalid.keys().filter(|id| id.kind == kind).cloned()).collect()
    }
}

impl super::shard::Shard {
    /// A client came or changed. `ignored` is the mark of its namespace.
    pub(super) fn put_client(&mut self, client: &Workload, ignored: bool, settings: &Settings, effects: &mut Effects) {
        // Whatever comes first, the clients or their namespace, the mark counts.
        if ignored {
            self.clients_mut().ignored.insert(client.id.namespace.clone());
        }
        let changed = self.clients_mut().put(client, settings);
        self.count_client(changed, effects);
    }

    pub(super) fn remove_client(&mut self, id: &ObjectId, effects: &mut Effects) {
        let changed = self.clients_mut().remove(id);
        self.count_client(changed, effects);
    }

    fn count_client(&mut self, changed: Changed, effects: &mut Effects) {
        let Some(namespace) = changed.namespace.filter(|namespace| self.clients_mut().counts(namespace)) else {
            return;
        };
        if let Some(now) = &changed.now {
            self.count_in(now, &namespace, effects);
        }
        if let Some(before) = &changed.before {
            self.count_out(before, &namespace, effects);
        }
        effects.sidecars.insert(namespace);
    }

    /// The ignore mark of a namespace came or went.
    pub(super) fn count_clients_of(&mut self, namespace: &Arc<str>, ignored: bool, effects: &mut Effects) {
        let clients = self.clients_mut();
        let changed =
            if ignored { clients.ignored.insert(namespace.clone()) } else { clients.ignored.remove(namespace) };
        let identities: Vec<Identity> =
            clients.by_namespace.get(namespace).map(|clients| clients.values().cloned().collect()).unwrap_or_default();
        if !changed || identities.is_empty() {
            return;
        }
        for identity in &identities {
            if ignored {
                self.count_out(identity, namespace, effects);
            } else {
                self.count_in(identity, namespace, effects);
            }
        }
        effects.sidecars.insert(namespace.clone());
    }
}
