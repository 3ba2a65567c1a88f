//! Virtual machines: what a WorkloadEntry or ServiceEntry offers by itself, without a Service.

use std::{collections::BTreeMap, sync::Arc};

use super::{HostOverride, Labels, Locality, ServicePort};

/// The machines behind one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machines {
    /// Where they are reached inside their cluster.
    pub addresses: Vec<MachineAddress>,
    /// Their ports; the first one is the main port where no annotation names it.
    pub ports: Vec<ServicePort>,
    /// `workloadSelector` of a ServiceEntry: the machines are the WorkloadEntries that it selects.
    pub selector: Labels,
    /// Whether a ServiceEntry describes something outside the mesh, which has no sidecar.
    pub external: bool,
    /// What Istio may follow in place of published entries: a ServiceEntry whose own hosts may be published, too.
    pub host_override: Option<Box<HostOverride>>,
    /// Why some or all of it cannot be published, in words.
    pub problems: Vec<String>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAddress {
    /// IP address or host name.
    pub address: Arc<str>,
    /// Port name to number there, where it is another than the port's own.
    pub ports: BTreeMap<String, u16>,
    /// Its own locality; without one, that of its cluster counts.
    pub locality: Option<Locality>,
    /// Its own network; without one, that of its cluster counts.
    pub network: Option<Arc<str>>,
    /// Its share relative to the other machines of its cluster; 0 for an equal one.
    pub weight: u32,
}
