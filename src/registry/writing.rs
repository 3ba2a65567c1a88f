//! Written objects of the clusters come in: as observed, or as the API server answered a write of Tradewind's.
//!
//! Decides which units an managed object concerns, and what it says about hosts, addresses and clusters that cannot
//! be read. It never decides what should be there.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Registry,
    addresses::HostOffer,
    adoption,
    cluster_state::outputs::{hand_written_for, routed_host},
    dirty::{self, Trigger},
    identity_holders, last_known, written_for,
};
use crate::{
    istio::Owner,
    model::{ClusterName, Host, Kind, ObjectId, PublishedEndpoint, ServiceKey, WorkKey, Written},
};

impl Registry {
    /// What the API server answered to a write of Tradewind's: kept like an observed object, without planning again.
    pub fn wrote(&self, cluster: &ClusterName, written: Written) {
        put_written(self, cluster, written, false);
    }

    /// An managed object was deleted by us.
    pub fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId) {
        remove_written(self, cluster, id);
    }
}

/// Keeps an object as it is now. `plan_again`: where it is another than before, the units that it concerns are marked.
pub(super) fn put_written(registry: &Registry, cluster: &ClusterName, mut written: Written, plan_again: bool) {
    if written.owner == Owner::Tradewind
        && let Some(key) = written.service.clone()
    {
        learn_endpoints(registry, cluster, &key, &mut written);
    }
    if written.adoption.is_some() {
        adoption::note_adoption(registry, cluster, &written);
    }
    let now = Arc::new(written);
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return };
    let Some(before) = state.outputs.put(now.clone()) else { return };
    drop(state);
    record_host(registry, cluster, before.as_deref(), Some(&now));
    let both = || before.iter().chain([&now]);
    for key in both().filter_map(|written| written.service.as_ref()) {
        registry.index.refresh_service(&registry.fleet, key, cluster);
    }
    if gives_up_address(before.as_deref(), &now) || plan_again && differs(before.as_deref(), &now) {
        let units: Vec<WorkKey> = both().flat_map(|written| units_of(registry, cluster, written)).collect();
        dirty::mark_for(registry, units, &Trigger::Object(cluster.clone(), now.id.clone()));
    }
}

/// Takes the endpoints out of a managed ServiceEntry, and learns from them about clusters that cannot be read.
fn learn_endpoints(registry: &Registry, cluster: &ClusterName, key: &ServiceKey, written: &mut Written) {
    last_known::restore_network(registry, cluster, written);
    identity_holders::remember_served(registry, written);
    let ports = std::mem::take(&mut written.ports);
    let host = written.host.clone().unwrap_or_default();
    let mut by_cluster: BTreeMap<String, Vec<PublishedEndpoint>> = BTreeMap::new();
    for endpoint in std::mem::take(&mut written.endpoints) {
        by_cluster.entry(endpoint.cluster_label.clone()).or_default().push(endpoint);
    }
    for (label, endpoints) in by_cluster {
        if !is_known(registry, &label) {
            let (at, read_in) = ((cluster.clone(), host.clone()), &written.recalled.read_in);
            registry.last_known.learn(label, |known| known.learn(key, at, read_in, endpoints, &ports));
        }
    }
}

/// Whether an address was given up, which may be a reason for a note elsewhere.
fn gives_up_address(before: Option<&Written>, now: &Written) -> bool {
    before.is_some_and(|before| before.address.is_some() && before.address != now.address)
}

/// Whether an object is another than before in what planning looks at.
fn differs(before: Option<&Written>, now: &Written) -> bool {
    before
        .is_none_or(|before| (before.digest, before.owner, &before.adoption) != (now.digest, now.owner, &now.adoption))
}

/// Records what an entry says of its host's address: as a managed one, or as one that its owner handed over.
fn record_host(registry: &Registry, cluster: &ClusterName, before: Option<&Written>, now: Option<&Written>) {
    let recorded = |written: &Written| {
        let handed_over = written.adoption.as_ref().filter(|adoption| adoption.is_handed_over());
        match handed_over {
            _ if written.id.kind != Kind::ServiceEntry => None,
            Some(adoption) => Some((adoption.host.clone()?, true)),
            None if written.owner == Owner::Foreign => None,
            None => Some((Host::parse(written.host.as_deref()?).ok()?, false)),
        }
    };
    let (was, is) = (before.and_then(recorded), now.and_then(recorded));
    let mut addresses = registry.hosts.lock();
    if let (Some((host, offered)), Some(before)) = (was.filter(|was| Some(was) != is.as_ref()), before) {
        if offered {
            addresses.remove_offer(cluster, &before.id, &host);
        } else {
            addresses.remove_entry(cluster, &host);
        }
    }
    let (Some((host, offered)), Some(now)) = (is, now) else { return };
    let service = now.service.clone().filter(|_| now.owner != Owner::Foreign);
    if offered {
        let adopted = now.owner == Owner::Tradewind;
        addresses.record_offer(cluster, &now.id, host, HostOffer { service, address: now.address, adopted });
    } else {
        if let (Some(by), Some(since)) = (&service, now.recalled.host_lost_at) {
            addresses.recall_lost(host.clone(), by, since);
        }
        addresses.record_entry(cluster, host, service, now.address);
    }
}

/// The units that an object concerns.
fn units_of(registry: &Registry, cluster: &ClusterName, written: &Written) -> Vec<WorkKey> {
    let by_host = written_for::host(written).map(|host| registry.hosts.lock().interested_in(&host));
    let services = written.service.iter().cloned().chain(by_host.into_iter().flatten());
    let adopted = adoption::affected_by_adoption(registry, written);
    let handed_over = written.adoption.iter().flat_map(|_| hand_written_for(written)).map(WorkKey::Host);
    let routed = routed_host(written).map(WorkKey::Host);
    let services = services.chain(adopted).map(WorkKey::Service);
    services.chain(written_for::unit_of_namespace(cluster, written)).chain(handed_over).chain(routed).collect()
}

/// Forgets an object.
pub(super) fn remove_written(registry: &Registry, cluster: &ClusterName, id: &ObjectId) {
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return };
    let Some(before) = state.outputs.remove(id) else { return };
    drop(state);
    record_host(registry, cluster, Some(&before), None);
    if let Some(key) = &before.service {
        registry.index.refresh_service(&registry.fleet, key, cluster);
    }
    dirty::mark_for(registry, units_of(registry, cluster, &before), &Trigger::Object(cluster.clone(), id.clone()));
}

/// Whether the endpoints that lead to a cluster say nothing that its state does not.
fn is_known(registry: &Registry, cluster_label: &str) -> bool {
    let cluster = registry.fleet.by_label(cluster_label);
    let started = registry.startup.has_started();
    match cluster {
        Some(cluster) => registry.fleet.get(&cluster).is_some_and(|state| {
            // A gateway Service without an address still has the one that was written.
            state.coverage().endpoints() && (started || state.topology.gateway().is_some())
        }),
        None => started,
    }
}
