//! The clients of one cluster that serve nothing: Jobs, CronJobs and the like, which only call others (Admiral,
//! docs/admiral-behaviour.md#client-discovery).
//!
//! A CronJob leaves many Jobs behind, so of each no more is kept than its name, its identity and what it says about its
//! sidecar. Decides nothing about dependencies.

use std::{collections::HashMap, sync::Arc};

use crate::{
    config::{Settings, SidecarInjection},
    model::{Identity, Kind, NameError, ObjectId, Workload},
    registry::{
        identity,
        injection::{self, LeftOut, NamespaceMarks, PodMarks},
    },
};

/// Kind and name in a namespace.
type Name = (Kind, Arc<str>);

/// The clients of one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct ClientIndex {
    by_namespace: HashMap<Arc<str>, OfNamespace>,
    /// Those whose identity cannot be.
    invalid: HashMap<ObjectId, NameError>,
    /// Those of which only their namespace could say whether they have a sidecar, and does not.
    undecided: usize,
}

/// The clients of one namespace.
#[derive(Debug, Default)]
struct OfNamespace {
    clients: HashMap<Name, Client>,
    /// How many of them count.
    counting: usize,
}

#[derive(Debug, Clone)]
struct Client {
    identity: Identity,
    pods: PodMarks,
    membership: Membership,
}

/// Whether a client counts, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Member,
    /// Its namespace is ignored.
    Ignored,
    LeftOut(LeftOut),
}

impl Membership {
    /// `namespace` is what its namespace says; none where that is ignored.
    fn of(pods: PodMarks, namespace: Option<NamespaceMarks>, by: SidecarInjection) -> Self {
        let Some(namespace) = namespace else { return Self::Ignored };
        injection::has_sidecar(pods, namespace, by).map_or_else(Self::LeftOut, |()| Self::Member)
    }

    fn is_undecided(self) -> bool {
        matches!(self, Self::LeftOut(why) if why.depends_on_namespace())
    }
}

/// How the identity of a client changed.
#[derive(Debug, Default)]
pub(in crate::registry) struct ClientChange {
    pub(in crate::registry) namespace: Option<Arc<str>>,
    pub(in crate::registry) before: Option<Identity>,
    pub(in crate::registry) now: Option<Identity>,
}

impl ClientIndex {
    /// Takes a client as it is now.
    pub(in crate::registry) fn put(
        &mut self,
        client: &Workload,
        namespace: Option<NamespaceMarks>,
        settings: &Settings,
    ) -> ClientChange {
        self.invalid.remove(&client.id);
        let identity = match identity::of_client(client, settings) {
            Ok(identity) => identity,
            Err(error) => {
                self.invalid.insert(client.id.clone(), error);
                None
            }
        };
        let pods = PodMarks::of(client, settings);
        let membership = Membership::of(pods, namespace, settings.sidecar_injection);
        self.set(&client.id, identity.map(|identity| Client { identity, pods, membership }))
    }

    pub(in crate::registry) fn remove(&mut self, id: &ObjectId) -> ClientChange {
        self.invalid.remove(id);
        self.set(id, None)
    }

    fn set(&mut self, id: &ObjectId, client: Option<Client>) -> ClientChange {
        let known = self.by_namespace.get_key_value(&id.namespace).map(|(namespace, _)| namespace.clone());
        let namespace = known.unwrap_or_else(|| id.namespace.clone());
        let here = self.by_namespace.entry(namespace.clone()).or_default();
        let name = (id.kind, id.name.clone());
        self.undecided += usize::from(client.as_ref().is_some_and(|now| now.membership.is_undecided()));
        let now = client.as_ref().and_then(Client::counted);
        let before = match client {
            Some(mut client) => {
                // The runs of one CronJob share the text of their identity.
                let shared = here.clients.values().next().filter(|other| other.identity == client.identity);
                if let Some(shared) = shared {
                    client.identity = shared.identity.clone();
                }
                here.clients.insert(name, client)
            }
            None => here.clients.remove(&name),
        };
        self.undecided -= usize::from(before.as_ref().is_some_and(|before| before.membership.is_undecided()));
        let before = before.as_ref().and_then(Client::counted);
        here.counting += usize::from(now.is_some());
        here.counting -= usize::from(before.is_some());
        if here.clients.is_empty() {
            self.by_namespace.remove(&namespace);
        }
        if before == now {
            return ClientChange::default();
        }
        ClientChange { namespace: Some(namespace), before, now }
    }

    /// Judges the clients of a namespace again that says something else now; answers those that changed.
    pub(in crate::registry) fn reclassify(
        &mut self,
        namespace: &Arc<str>,
        marks: Option<NamespaceMarks>,
        by: SidecarInjection,
    ) -> Vec<(ObjectId, ClientChange)> {
        let here = self.by_namespace.get(namespace).into_iter().flat_map(|here| &here.clients);
        let clients: Vec<(Name, Client)> = here.map(|(name, client)| (name.clone(), client.clone())).collect();
        let mut changes = Vec::new();
        for ((kind, name), client) in clients {
            let membership = Membership::of(client.pods, marks, by);
            if membership != client.membership {
                let id = ObjectId { kind, namespace: namespace.clone(), name };
                let change = self.set(&id, Some(Client { membership, ..client }));
                changes.push((id, change));
            }
        }
        changes
    }

    /// Why the identity of a client is no name.
    pub(in crate::registry) fn invalid(&self, id: &ObjectId) -> Option<&NameError> {
        self.invalid.get(id)
    }

    /// Why a client does not count that somebody may expect to.
    pub(in crate::registry) fn why_left_out(&self, id: &ObjectId) -> Option<LeftOut> {
        let client = self.by_namespace.get(&id.namespace)?.clients.get(&(id.kind, id.name.clone()))?;
        client.why_left_out(id.kind)
    }

    /// The clients that [`ClientIndex::why_left_out`] answers for.
    pub(in crate::registry) fn left_out(&self) -> impl Iterator<Item = ObjectId> {
        self.by_namespace.iter().flat_map(|(namespace, here)| {
            let left_out = here.clients.iter().filter(|((of, _), client)| client.why_left_out(*of).is_some());
            left_out.map(|((kind, name), _)| ObjectId { kind: *kind, namespace: namespace.clone(), name: name.clone() })
        })
    }

    /// Number of clients of which only their namespace could say whether they have a sidecar.
    pub(in crate::registry) fn undecided(&self) -> usize {
        self.undecided
    }

    /// Whether a namespace has clients, whether they count or not.
    pub(in crate::registry) fn is_in(&self, namespace: &str) -> bool {
        self.by_namespace.contains_key(namespace)
    }

    /// The identities that run in a namespace and count.
    pub(in crate::registry) fn identities_in(&self, namespace: &str) -> impl Iterator<Item = &Identity> {
        let clients = self.by_namespace.get(namespace).into_iter().flat_map(|here| here.clients.values());
        clients.filter(|client| client.membership == Membership::Member).map(|client| &client.identity)
    }

    /// The namespaces with clients that count.
    pub(in crate::registry) fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_namespace.iter().filter(|(_, here)| here.counting > 0).map(|(namespace, _)| namespace)
    }

    /// The ids of all of one kind.
    pub(in crate::registry) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        let id =
            |namespace: &Arc<str>, name: &Arc<str>| ObjectId { kind, namespace: namespace.clone(), name: name.clone() };
        let counted = self.by_namespace.iter().flat_map(|(namespace, here)| {
            let of_kind = here.clients.keys().filter(|(of, _)| *of == kind);
            of_kind.map(|(_, name)| id(namespace, name))
        });
        counted.chain(self.invalid.keys().filter(|id| id.kind == kind).cloned()).collect()
    }
}

impl Client {
    /// Its identity, if it counts.
    fn counted(&self) -> Option<Identity> {
        (self.membership == Membership::Member).then(|| self.identity.clone())
    }

    fn why_left_out(&self, of: Kind) -> Option<LeftOut> {
        match self.membership {
            Membership::LeftOut(why) if why.is_for_clients(of, self.pods) => Some(why),
            _ => None,
        }
    }
}
