//! Which hosts a service has, and with which addresses: what it asks for, and what it gets.
//!
//! Decides nothing itself: who holds a host is kept by the [`AddressBook`](super::addresses::AddressBook).

use std::collections::BTreeSet;

use super::{
    Queries, Registry,
    addresses::{Claimed, HostClaimant},
    adoption,
    dirty::{self, Trigger},
    last_known,
    notes::NoteSource,
    policy_match, propagation, remembered,
    service_input::note,
};
use crate::{
    model::{ClusterName, Host, Identity, Kind, Note, NoteKind, Now, ObjectPath, ServiceKey, WorkKey},
    plan::input::Claim,
};

impl Registry {
    /// Makes `hosts` the whole list that a service asks for and answers who holds each and with which address, and which further
    /// hosts are kept for it. Services that waited for a host that became free are marked. `plain` is its identity without partition.
    pub fn claim(&self, key: &ServiceKey, plain: &Identity, hosts: &[Host], now: Now) -> Vec<Claim> {
        let runs = |other: &ServiceKey| {
            self.index
                .clusters_of
                .of(other)
                .iter()
                .any(|cluster| self.fleet.get(cluster).is_some_and(|state| state.workloads.runs(other)))
                || !last_known::clusters_with(self, other).is_empty()
        };
        remembered::yield_to_owners(self, key, hosts);
        let Claimed { mut claims, freed_for, conflicts, exhausted, changed, losers } =
            self.hosts.lock().claim(HostClaimant { key, plain, now }, hosts, &runs);
        remember_somewhere(self, &mut claims);
        let left = adoption::with_adopted(self, &mut claims);
        adoption::note_left(self, key, left);
        let trigger = Trigger::Service(key.clone());
        dirty::mark_for(
            self,
            changed.iter().filter_map(|host| propagation::routed(self, host)).map(WorkKey::Host),
            &trigger,
        );
        dirty::mark_for(self, freed_for.into_iter().chain(losers).map(WorkKey::Service), &trigger);
        let conflicts = conflicts.into_iter().map(|(host, address)| {
            (host, format!("its written address {address} belongs to another host; it gets another one"))
        });
        let exhausted = exhausted.into_iter().map(|host| {
            (host, format!("no address of {} is free; it is published without one", self.settings.address_range))
        });
        let notes: Vec<Note> = conflicts
            .chain(exhausted)
            .map(|(host, message)| {
                let (namespace, name) = (&self.settings.sync_namespace, host.service_entry_name());
                let object = ObjectPath::new(&ClusterName::hub(), Kind::ServiceEntry, namespace, &name);
                note(NoteKind::AddressConflict, object, key, message)
            })
            .collect();
        self.notes.put(NoteSource::Fleet(format!("addresses of {key}")), notes);
        claims
    }

    /// What [`Registry::claim`] answered last for these hosts; claims nothing.
    #[must_use]
    pub fn claims(&self, key: &ServiceKey, plain: &Identity, hosts: &[Host], now: Now) -> Vec<Claim> {
        let mut claims = self.hosts.lock().peek(HostClaimant { key, plain, now }, hosts);
        remember_somewhere(self, &mut claims);
        adoption::with_adopted(self, &mut claims);
        claims
    }
}

/// A host that is kept for a service without objects is remembered by the first cluster that may hold some.
fn remember_somewhere(registry: &Registry, claims: &mut [Claim]) {
    let kept = claims.iter_mut().filter(|claim| claim.taken_by.is_none());
    for reservation in kept.filter_map(|claim| claim.reserved.as_mut()).filter(|kept| kept.clusters.is_empty()) {
        let mut clusters = registry.fleet.names().into_iter();
        reservation.clusters.extend(clusters.find(|cluster| !registry.control_planes.is_remote(cluster)));
    }
}

impl Queries<'_> {
    /// Number of hosts that are published.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.registry.hosts.lock().held_count()
    }
}

/// The hosts of a service: those it holds, or those that were written while its policy cannot be read and it claims none.
pub(super) fn hosts_of(registry: &Registry, key: &ServiceKey) -> BTreeSet<Host> {
    let written_in = registry.index.clusters_of.of(key);
    if policy_match::unreadable_policy(registry, &policy_match::policies_in_force(registry, &written_in, key)).is_none()
    {
        return registry.hosts.lock().held_by(key).into_iter().collect();
    }
    let mut hosts = BTreeSet::new();
    for cluster in written_in.iter() {
        let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        let entries = written.iter().filter(|written| written.id.kind == Kind::ServiceEntry);
        hosts.extend(entries.filter_map(|entry| Host::parse(entry.host.as_deref()?).ok()));
    }
    hosts
}
