//! What is kept of the objects of a cluster: the few fields that decide something, typed.
//!
//! Both backends of `fleet/` prune real objects to these; `registry/` keeps them.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use serde_json::Value;

use super::{
    Adoption, ClusterName, CopyOrigin, EndpointSlice, HostOverride, Kind, Locality, Machines, Now, ObjectPath, Rollout,
    ServiceKey, SidecarHosts, Variant,
};
use crate::{
    api::{
        ClientConnectionConfigSpec, DependencyProxySpec, GlobalTrafficPolicySpec, IdentityClaimSpec,
        OutlierDetectionSpec, RoutingPolicySpec, TradewindConfigSpec, TrafficConfigSpec,
    },
    istio,
};

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
}

/// Labels or annotations, or a selector.
pub type Labels = BTreeMap<String, String>;

/// A workload, or a client that serves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether the object itself has `admiral.io/ignore: "true"`.
    pub ignored: bool,
    /// All labels of the pod template.
    pub template_labels: Labels,
    /// Those annotations of the pod template that decide something (see `Settings::observed_annotations`).
    pub template_annotations: Labels,
    /// Named TCP container ports of the pod template; absent where the template lists no containers.
    pub named_ports: Option<BTreeMap<String, u16>>,
    /// Whether its pods use the network of their node.
    pub host_network: bool,
    /// For a WorkloadEntry or ServiceEntry, whose own labels and annotations take the place of those of a pod template.
    pub machines: Option<Box<Machines>>,
    /// Whether its service gets additional hosts, by the object's own labels (see `Settings::additional_endpoint_label_filters`).
    pub additional_hosts: bool,
    /// Service accounts of its pods or machines, sorted; a machine may name none.
    pub service_accounts: Vec<Arc<str>>,
    /// For a Rollout.
    pub rollout: Option<Box<Rollout>>,
    /// Whether it has pods, or machines, that can serve.
    pub availability: Availability,
}

impl Workload {
    /// A workload of which nothing more is known than its name.
    #[must_use]
    pub fn new(id: ObjectId) -> Self {
        Self {
            id,
            created_seconds: 0,
            ignored: false,
            template_labels: Labels::new(),
            template_annotations: Labels::new(),
            named_ports: None,
            host_network: false,
            machines: None,
            additional_hosts: false,
            service_accounts: Vec::new(),
            rollout: None,
            availability: Availability::Available,
        }
    }
}

/// Whether a workload has pods, or machines, that can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Availability {
    /// None, by its own specification or by its failed health checks.
    Unavailable,
    /// It wants some, and none is ready. After a scale-up they are yet to come; during an update that takes all pods down they
    /// will be back. Only earlier observations distinguish these.
    Starting,
    /// Some are ready, or nothing is known of them.
    #[default]
    Available,
}

/// A Service, and the address of its load balancer where it may be a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether it has `admiral.io/ignore: "true"`.
    pub ignored: bool,
    /// Pods it selects; empty selects none.
    pub selector: Labels,
    /// Whether its type is ExternalName.
    pub external_name: bool,
    /// What its name resolves to.
    pub addressing: Addressing,
    /// Its ports, in order. UDP and SCTP are left out: Istio does not route them.
    pub ports: Vec<ServicePort>,
    /// For a Service that may be a gateway: one of a gateway namespace with a label `app` (Admiral,
    /// docs/admiral-behaviour.md#gateway-discovery).
    pub gateway: Option<GatewayService>,
}

/// What the name of a Service resolves to, and who answers there. The least is the best for clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addressing {
    /// Whether its address drops requests from nodes without one of its pods (`internalTrafficPolicy: Local`).
    pub node_local: bool,
    /// Whether it is headless (`clusterIP: None`): its name resolves to the addresses of its pods.
    pub headless: bool,
    /// Whether pods that are not ready answer, too (`publishNotReadyAddresses`).
    pub not_ready: bool,
}

/// What makes a Service a gateway, where the label `app` is that of gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayService {
    /// Its label `app`.
    pub app: Arc<str>,
    /// Where other clusters reach it; none while it has no address, or no port.
    pub address: Option<GatewayAddress>,
    /// Whether none of its ports leads to the server that passes connections of other clusters through.
    pub lacks_port: bool,
    /// What else is questionable about it, in words.
    pub problems: Vec<String>,
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

impl std::fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, port } = self;
        if address.contains(':') { write!(f, "[{address}]:{port}") } else { write!(f, "{address}:{port}") }
    }
}

/// A Node: only its locality.
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
    /// Whether it has `admiral.io/ignore: "true"`.
    pub ignored: bool,
    /// Annotations `tradewind.io/...` and what Istio keeps there, its network too: on the Istio namespace they describe the
    /// cluster.
    pub cluster_metadata: Labels,
    /// Its labels by which Istio gives its pods a sidecar or takes them into the ambient mesh.
    pub mesh_labels: Labels,
}

impl Namespace {
    /// A Namespace without labels and annotations.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: ObjectId::new(Kind::Namespace, "", name),
            ignored: false,
            cluster_metadata: Labels::new(),
            mesh_labels: Labels::new(),
        }
    }
}

/// A GlobalTrafficPolicy.
pub type Policy = PolicyObject<GlobalTrafficPolicySpec>;

/// A custom resource with the metadata that decides its match and its rank.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject<S> {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether it has `admiral.io/ignore: "true"`.
    pub ignored: bool,
    /// All labels.
    pub labels: Labels,
    /// Those annotations that decide something.
    pub annotations: Labels,
    /// Its spec.
    pub spec: Arc<S>,
}

/// A VirtualService or DestinationRule that a user made.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which object.
    pub id: ObjectId,
    /// Seconds since the Unix epoch.
    pub created_seconds: i64,
    /// Whether it has `admiral.io/ignore: "true"`.
    pub ignored: bool,
    /// All labels.
    pub labels: Labels,
    /// All annotations but those of kubectl and of Tradewind.
    pub annotations: Labels,
    /// `spec.hosts` of a VirtualService, `spec.host` of a DestinationRule.
    pub hosts: Vec<String>,
    /// `spec.exportTo`.
    pub export_to: Vec<String>,
    /// The whole spec where it can matter, else only the gateways that follow it.
    pub spec: Arc<Value>,
}

/// A Dependency: who declares to call whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyDecl {
    /// Which object.
    pub id: ObjectId,
    /// The client's identity, as written.
    pub source: String,
    /// The identities it calls, as written.
    pub destinations: Vec<String>,
}

/// An endpoint in a managed ServiceEntry: the last known state of its cluster while that cluster cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedEndpoint {
    /// Label value of the cluster it leads to (`ClusterName::label_value`).
    pub cluster_label: String,
    /// Its address.
    pub address: Arc<str>,
    /// True locality: its region label, else its locality.
    pub locality: Option<Locality>,
    /// Network of its cluster.
    pub network: Option<Arc<str>>,
    /// Whether the address is that of a pod or machine itself, seen from another cluster.
    pub direct: bool,
    /// Kind of workload behind it, by its label.
    pub workload: Option<Kind>,
    /// Port name to number at the address.
    pub ports: BTreeMap<String, u16>,
    /// Its weight; 0 for none.
    pub weight: u32,
    /// Which of the service's hosts it was seen for.
    pub variant: Variant,
}

/// What a written object remembers of the plan it was written by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recalled {
    /// The region that stays primary without a policy; of Admiral's DestinationRules, the one that gets all traffic.
    pub primary: Option<Arc<str>>,
    /// The region to which the policy sent all traffic of the host.
    pub policy_region: Option<Arc<str>>,
    /// The clusters whose proxies read a managed ServiceEntry, where they are others than its own, sorted.
    pub read_in: Vec<ClusterName>,
    /// Subject names of a managed ServiceEntry, where they are made from service accounts.
    pub subject_names: Vec<String>,
    /// When its service lost the host that a managed ServiceEntry keeps for it.
    pub host_lost_at: Option<Now>,
}

/// An object of a kind that Tradewind writes, as a cluster has it.
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
    /// The plain identity that a ServiceEntry shows, without a partition.
    pub identity: Option<Arc<str>>,
    /// Digest of the fields that Tradewind writes, comparable with [`istio::Object::digest`].
    pub digest: u64,
    /// Host of a ServiceEntry or DestinationRule.
    pub host: Option<Arc<str>>,
    /// Further hosts of a ServiceEntry that somebody else made.
    pub further_hosts: Vec<Arc<str>>,
    /// Address of a ServiceEntry.
    pub address: Option<Ipv4Addr>,
    /// Its adoption, where it is hand-written and named by annotation or setting.
    pub adoption: Option<Box<Adoption>>,
    /// The policies in force when it was written.
    pub policies: Vec<ObjectPath>,
    /// What else it remembers of the plan it was written by.
    pub recalled: Recalled,
    /// Ports of a managed ServiceEntry: name and number.
    pub ports: Vec<(String, u16, String)>,
    /// Endpoints of a managed ServiceEntry; emptied by the registry once their clusters are known.
    pub endpoints: Vec<PublishedEndpoint>,
    /// For a Sidecar.
    pub sidecar: Option<SidecarHosts>,
    /// For a copy of a user's object.
    pub origin: Option<CopyOrigin>,
    /// Its content, where it is managed: for the log of changes.
    pub shape: istio::Shape,
    /// The whole object, kept only where a command shows differences.
    pub content: Option<Arc<istio::Object>>,
}

impl Written {
    /// Whether it is for a host, or was taken over for it.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let adopted = self.adoption.as_ref().and_then(|adoption| adoption.host.as_ref());
        self.host.as_deref().is_some_and(|of| of.eq_ignore_ascii_case(host))
            || adopted.is_some_and(|of| of.as_str().eq_ignore_ascii_case(host))
    }
}

/// An object of a cluster, pruned.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// Deployment, StatefulSet, DaemonSet, Rollout, WorkloadEntry, a user's ServiceEntry with an identity, or a client.
    Workload(Workload),
    /// Service.
    Service(LocalService),
    /// EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// Node.
    Node(Node),
    /// Namespace.
    Namespace(Namespace),
    /// GlobalTrafficPolicy.
    Policy(Policy),
    /// OutlierDetection.
    OutlierDetection(PolicyObject<OutlierDetectionSpec>),
    /// ClientConnectionConfig.
    ClientConnectionConfig(PolicyObject<ClientConnectionConfigSpec>),
    /// RoutingPolicy.
    RoutingPolicy(PolicyObject<RoutingPolicySpec>),
    /// DependencyProxy.
    DependencyProxy(PolicyObject<DependencyProxySpec>),
    /// TrafficConfig.
    TrafficConfig(PolicyObject<TrafficConfigSpec>),
    /// Dependency.
    Dependency(DependencyDecl),
    /// TradewindConfig.
    TradewindConfig(PolicyObject<TradewindConfigSpec>),
    /// IdentityClaim.
    IdentityClaim(PolicyObject<IdentityClaimSpec>),
    /// A user's VirtualService or DestinationRule.
    Route(Box<Route>),
    /// ServiceEntry, DestinationRule, VirtualService, EnvoyFilter, Sidecar.
    Written(Box<Written>),
    /// A user's ServiceEntry for hosts that may be published; no machine.
    HostOverride(HostOverride),
    /// A ServiceEntry that decides nothing: nothing of it is kept.
    Other(ObjectId),
}

impl Observed {
    /// Whether it is a Service that may be the gateway of its cluster.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        matches!(self, Self::Service(service) if service.gateway.is_some())
    }

    /// It as an IdentityClaim.
    #[must_use]
    pub fn as_claim(&self) -> Option<&PolicyObject<IdentityClaimSpec>> {
        match self {
            Self::IdentityClaim(claim) => Some(claim),
            _ => None,
        }
    }

    /// Which object.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Workload(o) => &o.id,
            Self::Service(o) => &o.id,
            Self::EndpointSlice(o) => &o.id,
            Self::Node(o) => &o.id,
            Self::Namespace(o) => &o.id,
            Self::Policy(o) => &o.id,
            Self::OutlierDetection(o) => &o.id,
            Self::ClientConnectionConfig(o) => &o.id,
            Self::RoutingPolicy(o) => &o.id,
            Self::DependencyProxy(o) => &o.id,
            Self::TrafficConfig(o) => &o.id,
            Self::Dependency(o) => &o.id,
            Self::TradewindConfig(o) => &o.id,
            Self::IdentityClaim(o) => &o.id,
            Self::Route(o) => &o.id,
            Self::Written(o) => &o.id,
            Self::HostOverride(o) => &o.id,
            Self::Other(id) => id,
        }
    }
}
