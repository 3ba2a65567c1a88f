//! EndpointSlices: where the pods behind a Service are reached, as far as they take traffic.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::ObjectId;

/// Some of the pods of one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Which object.
    pub id: ObjectId,
    /// Name of the Service, in the same namespace; empty where it names none.
    pub service: Arc<str>,
    /// Name of each TCP port of the Service (empty for the only one of a Service) and its number at the pods.
    pub ports: BTreeMap<String, u16>,
    /// Those that are ready.
    pub pods: Vec<ReadyPod>,
}

/// A pod that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPod {
    /// Its address.
    pub address: IpAddr,
    /// Zone of its node, where that has one.
    pub zone: Option<Arc<str>>,
}
