//! What is kept of the objects of a cluster: the few fields that decide something, typed.
//!
//! Both backends of `fleet/` prune real objects to these; `registry/` keeps them.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use super::{ClusterName, Locality, ServiceKey};
use crate::{api::GlobalTrafficPolicySpec, istio};

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `v1` Service.
    Service,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `admiral.io/v1alpha1` GlobalTrafficPolicy.
    GlobalTrafficPolicy,
    /// `admiral.io/v1alpha1` Dependency (hub only).
    Dependency,
    /// `networking.istio.io` ServiceEntry of the sync namespace.
    ServiceEntry,
    /// `networking.istio.io` DestinationRule of the sync namespace.
    DestinationRule,
    /// `networking.istio.io` Sidecar (only while Sidecars are managed).
    Sidecar,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Service,
        Self::Node,
        Self::Namespace,
        Self::GlobalTrafficPolicy,
        Self::Dependency,
        Self::ServiceEntry,
        Self::DestinationRule,
        Self::Sidecar,
    ];

    /// The kinds that run pods of a service.
    pub const WORKLOADS: &[Self] = &[Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// The Kubernetes kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Service => "Service",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::GlobalTrafficPolicy => "GlobalTrafficPolicy",
            Self::Dependency => "Dependency",
            Self::ServiceEntry => "ServiceEntry",
            Self::DestinationRule => "DestinationRule",
            Self::Sidecar => "Sidecar",
        }
    }

    /// The value of the endpoint label `type` (reference behaviour §6.3) for a workload of this kind.
    #[must_use]
    pub fn endpoint_type(self) -> &'static str {
        match self {
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            _ => "deployment",
        }
    }

    /// The workload kind behind an endpoint label `type`.
    #[must_use]
    pub fn of_endpoint_type(text: &str) -> Option<Self> {
        Self::WORKLOADS.iter().copied().find(|kind| kind.endpoint_type() == text)
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Names an object within one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectId {
    /// Puts the parts together.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The same object with its cluster, for notes.
    #[must_use]
    pub fn in_cluster(&self, cluster: &ClusterName) -> super::ObjectRef {
        super::ObjectRef {
            cluster: cluster.clone(),
            kind: self.kind.as_str().to_owned(),
            namespace: self.namespace.to_string(),
            name: self.name.to_string(),
        }
    }
}

/// Labels or annotations, or a selector.
pub type Labels = BTreeMap<String, String>;

/// A Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether `admiral.io/ignore: "true"` stands on the object itself.
    pub ignored: bool,
    /// All labels of the pod template.
    pub template_labels: Labels,
    /// Those annotations of the pod template that decide something (see `Settings::observed_annotations`).
    pub template_annotations: Labels,
}

/// A Service, and the addresses of its load balancer where it is a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether `admiral.io/ignore: "true"` stands on it.
    pub ignored: bool,
    /// Pods it selects; empty selects none.
    pub selector: Labels,
    /// Whether its type is ExternalName.
    pub external_name: bool,
    /// Its ports, in order. UDP and SCTP are left out: Istio does not route them.
    pub ports: Vec<ServicePort>,
    /// For a gateway Service (reference behaviour §4): `Some(None)` when it has no address now.
    pub gateway: Option<Option<GatewayAddress>>,
}

/// One TCP port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty when unnamed.
    pub name: String,
    /// Port number of the Service.
    pub number: u16,
    /// Where it leads in the pod.
    pub target: TargetPort,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// `targetPort` of a Service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A number, or the Service port's own where none is given.
    Number(u16),
    /// A named container port.
    Name(String),
}

/// Where a cluster's gateway is reached from other clusters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct GatewayAddress {
    /// IP address or host name.
    pub address: Arc<str>,
    /// Port of the AUTO_PASSTHROUGH server, usually 15443.
    pub port: u16,
}

/// A Node: only where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which object.
    pub id: ObjectId,
    /// From `topology.kubernetes.io/*`, else the `failure-domain.beta.kubernetes.io/*` labels.
    pub locality: Option<Locality>,
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Which object.
    pub id: ObjectId,
    /// Whether `admiral.io/ignore: "true"` stands on it.
    pub ignored: bool,
    /// Label `topology.istio.io/network`.
    pub network: Option<Arc<str>>,
}

/// A GlobalTrafficPolicy with the metadata that decides its match and its rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether `admiral.io/ignore: "true"` stands on it.
    pub ignored: bool,
    /// All labels.
    pub labels: Labels,
    /// Those annotations that decide something.
    pub annotations: Labels,
    /// What it says.
    pub spec: Arc<GlobalTrafficPolicySpec>,
}

/// A Dependency: who declares to call whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Which object.
    pub id: ObjectId,
    /// The client's identity, as written.
    pub source: String,
    /// The identities it calls, as written.
    pub destinations: Vec<String>,
}

/// An endpoint of ours as it stands in a written ServiceEntry: what is known of its cluster while that cluster cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEndpoint {
    /// Label value of the cluster it leads to (`ClusterName::label_value`).
    pub cluster_label: String,
    /// Its address.
    pub address: Arc<str>,
    /// True locality: its region label, else its locality.
    pub locality: Option<Locality>,
    /// Kind of workload behind it.
    pub workload: Kind,
    /// Port name to number at the address.
    pub ports: BTreeMap<String, u16>,
}

/// The hosts of a user's Sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarHosts {
    /// Whether it has a workload selector, and so is not the namespace's.
    pub has_selector: bool,
    /// `spec.egress[0].hosts`; absent without an egress entry.
    pub egress_hosts: Option<Vec<String>>,
    /// The hosts among them that we added (annotation `tradewind.io/egress-hosts`).
    pub ours: Vec<String>,
}

/// A ServiceEntry, DestinationRule or Sidecar as it stands in a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Which object.
    pub id: ObjectId,
    /// Its uid.
    pub uid: Arc<str>,
    /// Its resourceVersion.
    pub resource_version: Arc<str>,
    /// Who made it.
    pub owner: istio::Owner,
    /// The service it was written for, from its annotations.
    pub service: Option<ServiceKey>,
    /// Digest of the fields that Tradewind writes, comparable with [`istio::Object::digest`].
    pub digest: u64,
    /// Host of a ServiceEntry or DestinationRule.
    pub host: Option<Arc<str>>,
    /// Address of a ServiceEntry.
    pub address: Option<Ipv4Addr>,
    /// `cluster/namespace/name` of the policy in force when it was written.
    pub policy: Option<Arc<str>>,
    /// Ports of a ServiceEntry of ours: name and number.
    pub ports: Vec<(String, u16, String)>,
    /// Endpoints of a ServiceEntry of ours; emptied by the registry once their clusters are known.
    pub endpoints: Vec<PublishedEndpoint>,
    /// For a Sidecar.
    pub sidecar: Option<SidecarHosts>,
    /// The whole object, kept only where a command shows differences.
    pub content: Option<Arc<istio::Object>>,
}

/// An object of a cluster, pruned.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// Deployment, StatefulSet or DaemonSet.
    Workload(Workload),
    /// Service.
    Service(LocalService),
    /// Node.
    Node(Node),
    /// Namespace.
    Namespace(Namespace),
    /// GlobalTrafficPolicy.
    Policy(Policy),
    /// Dependency.
    Dependency(Declared),
    /// ServiceEntry, DestinationRule, Sidecar.
    Written(Box<Written>),
}

impl Observed {
    /// Which object.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Workload(o) => &o.id,
            Self::Service(o) => &o.id,
            Self::Node(o) => &o.id,
            Self::Namespace(o) => &o.id,
            Self::Policy(o) => &o.id,
            Self::Dependency(o) => &o.id,
            Self::Written(o) => &o.id,
        }
    }
}
