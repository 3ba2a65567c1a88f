//! What written ServiceEntries tell of clusters that cannot be read.
//!
//! After a restart a cluster may be out of reach. Its endpoints still stand in the ServiceEntries of
//! the others, each labelled with the cluster it leads to: that is the last that was known of it, and
//! planning goes on from there instead of taking the cluster for empty.

use std::collections::{BTreeMap, HashMap};

use crate::model::{GatewayAddress, Kind, Locality, PublishedEndpoint, ServiceKey};

/// One service of a cluster that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CarriedService {
    pub(super) workload: Kind,
    /// Name, number for clients and protocol of each port, as in the ServiceEntry.
    pub(super) ports: BTreeMap<String, (u16, String)>,
}

/// All that is carried over of one cluster.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) services: HashMap<ServiceKey, CarriedService>,
    pub(super) gateway: Option<GatewayAddress>,
    pub(super) locality: Option<Locality>,
}

impl Carried {
    /// Learns from an endpoint of `key` that leads to this cluster. `ports` are those of the ServiceEntry.
    pub(super) fn learn(&mut self, key: &ServiceKey, endpoint: &PublishedEndpoint, ports: &[(String, u16, String)]) {
        if let Some(port) = endpoint.ports.values().next() {
            self.gateway = Some(GatewayAddress { address: endpoint.address.clone(), port: *port });
        }
        if endpoint.locality.is_some() {
            self.locality.clone_from(&endpoint.locality);
        }
        let offered = ports.iter().filter(|(name, _, _)| endpoint.ports.contains_key(name));
        self.services.insert(
            key.clone(),
            CarriedService {
                workload: endpoint.workload,
                ports: offered.map(|(name, number, protocol)| (name.clone(), (*number, protocol.clone()))).collect(),
            },
        );
    }
}
