//! What stands in the clusters comes in: as observed, or as the API server answered a write of ours.
//!
//! Decides which units an object of ours concerns, and what it tells of hosts, addresses and clusters that cannot
//! be read. It never decides what should stand there.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Registry,
    addresses::Offer,
    cluster_state::outputs::{hand_written_for, routed_host},
    dirty::Trigger,
    written_for::ruled_namespace,
};
use crate::{
    istio::Owner,
    model::{ClusterName, Host, Kind, ObjectId, PublishedEndpoint, WorkKey, Written},
};

impl Registry {
    /// What the API server answered to a write of ours: kept like an observed object, without planning again.
    pub fn wrote(&self, cluster: &ClusterName, written: Written) {
        self.put_written(cluster, written, false);
    }

    /// An object of ours was deleted by us.
    pub fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.remove_written(cluster, id);
    }

    pub(super) fn put_written(&self, cluster: &ClusterName, mut written: Written, plan_again: bool) {
        if written.owner == Owner::Tradewind
            && let Some(key) = &written.service
        {
            let ports = std::mem::take(&mut written.ports);
            let host = written.host.clone().unwrap_or_default();
            self.recall_network(cluster, &written);
            let mut by_cluster: BTreeMap<String, Vec<PublishedEndpoint>> = BTreeMap::new();
            for endpoint in std::mem::take(&mut written.endpoints) {
                by_cluster.entry(endpoint.cluster_label.clone()).or_default().push(endpoint);
            }
            for (label, endpoints) in by_cluster {
                if !self.is_known(&label) {
                    let seen = (cluster.clone(), host.clone());
                    self.carried.entry(label).or_default().learn(
                        key,
                        seen,
                        &written.recalled.read_in,
                        endpoints,
                        &ports,
                    );
                }
            }
        }
        if written.adoption.is_some() {
            self.note_adoption(cluster, &written);
        }
        let now = Arc::new(written);
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return };
        let Some(before) = state.outputs.put(now.clone()) else { return };
        drop(state);
        self.remember_host(cluster, before.as_deref(), Some(&now));
        // An address that was given up may have been told of.
        let readdressed =
            before.as_ref().is_some_and(|before| before.address.is_some() && before.address != now.address);
        let same = before.as_ref().is_some_and(|before| {
            (before.digest, before.owner, &before.adoption) == (now.digest, now.owner, &now.adoption)
        });
        for key in before.iter().chain([&now]).filter_map(|written| written.service.as_ref()) {
            self.recount(key, cluster);
        }
        if readdressed || !same && plan_again {
            let concerned: Vec<WorkKey> =
                before.iter().chain([&now]).flat_map(|written| self.concerned(cluster, written)).collect();
            self.mark_for(concerned, &Trigger::Object(cluster.clone(), now.id.clone()));
        }
    }

    /// What an entry tells of its host's address: as one of ours, or as one that its owner handed over.
    fn remember_host(&self, cluster: &ClusterName, before: Option<&Written>, now: Option<&Written>) {
        let told = |written: &Written| {
            let handed_over = written.adoption.as_ref().filter(|adoption| adoption.is_handed_over());
            match handed_over {
                _ if written.id.kind != Kind::ServiceEntry => None,
                Some(adoption) => Some((adoption.host.clone()?, true)),
                None if written.owner == Owner::Foreign => None,
                None => Some((Host::parse(written.host.as_deref()?).ok()?, false)),
            }
        };
        let (was, is) = (before.and_then(told), now.and_then(told));
        let mut addresses = self.addresses.lock();
        if let (Some((host, offered)), Some(before)) = (was.filter(|was| Some(was) != is.as_ref()), before) {
            if offered {
                addresses.withdrawn(cluster, &before.id, &host);
            } else {
                addresses.falls(cluster, &host);
            }
        }
        let (Some((host, offered)), Some(now)) = (is, now) else { return };
        let service = now.service.clone().filter(|_| now.owner != Owner::Foreign);
        if offered {
            let adopted = now.owner == Owner::Tradewind;
            addresses.offered(cluster, &now.id, host, Offer { service, address: now.address, adopted });
        } else {
            addresses.stands(cluster, host, service, now.address);
        }
    }

    /// The units that an object concerns.
    fn concerned(&self, cluster: &ClusterName, written: &Written) -> Vec<WorkKey> {
        let services = written.service.iter().cloned().chain(self.affected_by_adoption(written)).map(WorkKey::Service);
        let handed_over = written.adoption.iter().flat_map(|_| hand_written_for(written)).map(WorkKey::Host);
        let routed = routed_host(written).map(WorkKey::Host);
        services.chain(self.wanting(cluster, &written.id)).chain(handed_over).chain(routed).collect()
    }

    pub(super) fn remove_written(&self, cluster: &ClusterName, id: &ObjectId) {
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return };
        let Some(before) = state.outputs.remove(id) else { return };
        drop(state);
        self.remember_host(cluster, Some(&before), None);
        if let Some(key) = &before.service {
            self.recount(key, cluster);
        }
        self.mark_for(self.concerned(cluster, &before), &Trigger::Object(cluster.clone(), id.clone()));
    }

    /// The units that want an object of this name.
    fn wanting(&self, cluster: &ClusterName, id: &ObjectId) -> Vec<WorkKey> {
        if id.kind == Kind::Sidecar {
            return vec![WorkKey::Sidecar(cluster.clone(), id.namespace.clone())];
        }
        if let Some(namespace) = ruled_namespace(id) {
            return vec![WorkKey::Namespace(cluster.clone(), namespace.into())];
        }
        let host =
            ["-se", "-default-dr", "-dr"].iter().find_map(|suffix| Host::parse(id.name.strip_suffix(suffix)?).ok());
        let keys = host.map_or_else(Vec::new, |host| self.addresses.lock().interested_in(&host));
        keys.into_iter().map(WorkKey::Service).collect()
    }

    /// Whether endpoints that lead to a cluster tell nothing that its state does not.
    fn is_known(&self, cluster_label: &str) -> bool {
        let cluster = self.labels.get(cluster_label).map(|cluster| cluster.clone());
        let started = self.started.load(Ordering::Acquire);
        match cluster {
            Some(cluster) => self.cluster_states.get(&cluster).is_some_and(|state| {
                // A gateway that stands without an address still has the one that was written.
                state.coverage().endpoints() && (started || state.topology.gateway().is_some())
            }),
            None => started,
        }
    }
}
