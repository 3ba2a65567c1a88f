//! What stands in the clusters comes in: as observed, or as the API server answered a write of ours.
//!
//! Decides which units an object of ours concerns, and what it tells of hosts, addresses and clusters that cannot
//! be read. It never decides what should stand there.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use super::{Registry, beside::ruled_namespace, dirty::Unit, standing::routed_host};
use crate::{
    istio::Owner,
    model::{ClusterName, Host, Kind, ObjectId, PublishedEndpoint, Written},
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
        let (id, owner) = (written.id.clone(), written.owner);
        let (key, digest) = (written.service.clone(), written.digest);
        let (host, address) = (written.host.clone(), written.address);
        let routed = routed_host(&written);
        let Some(mut shard) = self.shards.get_mut(cluster) else { return };
        let Some(before) = shard.standing_mut().put(written) else { return };
        drop(shard);
        let host = host.and_then(|host| Host::parse(&host).ok());
        if id.kind == Kind::ServiceEntry && owner != Owner::Foreign {
            let mut addresses = self.addresses.lock();
            if let Some(old) = before.as_ref().and_then(|before| Host::parse(before.host.as_deref()?).ok())
                && Some(&old) != host.as_ref()
            {
                addresses.falls(cluster, &old);
            }
            if let Some(host) = host {
                addresses.stands(cluster, host, key.clone(), address);
            }
        }
        // An address that was given up may have been told of.
        let readdressed = before.as_ref().is_some_and(|before| before.address.is_some() && before.address != address);
        let same = before.as_ref().is_some_and(|before| before.digest == digest && before.owner == owner);
        let hosts: Vec<Unit> =
            before.iter().filter_map(|before| routed_host(before)).chain(routed).map(Unit::Host).collect();
        let old_key = before.and_then(|before| before.service.clone());
        for key in old_key.iter().chain(&key) {
            self.recount(key, cluster);
        }
        if readdressed || !same && plan_again {
            let keys = old_key.into_iter().chain(key).map(Unit::Service);
            self.mark(keys.chain(self.wanting(cluster, &id)).chain(hosts));
        }
    }

    pub(super) fn remove_written(&self, cluster: &ClusterName, id: &ObjectId) {
        let Some(mut shard) = self.shards.get_mut(cluster) else { return };
        let Some(before) = shard.standing_mut().remove(id) else { return };
        drop(shard);
        if id.kind == Kind::ServiceEntry
            && let Some(host) = before.host.as_deref().and_then(|host| Host::parse(host).ok())
        {
            self.addresses.lock().falls(cluster, &host);
        }
        let key = before.service.clone();
        if let Some(key) = &key {
            self.recount(key, cluster);
        }
        let routed = routed_host(&before).map(Unit::Host);
        self.mark(key.map(Unit::Service).into_iter().chain(self.wanting(cluster, id)).chain(routed));
    }

    /// The units that want an object of this name.
    fn wanting(&self, cluster: &ClusterName, id: &ObjectId) -> Vec<Unit> {
        if id.kind == Kind::Sidecar {
            return vec![Unit::Sidecar(cluster.clone(), id.namespace.clone())];
        }
        if let Some(namespace) = ruled_namespace(id) {
            return vec![Unit::Namespace(cluster.clone(), namespace.into())];
        }
        let host =
            ["-se", "-default-dr", "-dr"].iter().find_map(|suffix| Host::parse(id.name.strip_suffix(suffix)?).ok());
        let keys = host.map_or_else(Vec::new, |host| self.addresses.lock().interested_in(&host));
        keys.into_iter().map(Unit::Service).collect()
    }

    /// Whether endpoints that lead to a cluster tell nothing that its shard does not.
    fn is_known(&self, cluster_label: &str) -> bool {
        let cluster = self.labels.get(cluster_label).map(|cluster| cluster.clone());
        let started = self.started.load(Ordering::Acquire);
        match cluster {
            Some(cluster) => self.shards.get(&cluster).is_some_and(|shard| {
                // A gateway that stands without an address still has the one that was written.
                shard.knows_endpoints() && (started || shard.place().gateway().is_some())
            }),
            None => started,
        }
    }
}
