//! What planning takes: one service, host or namespace as plain data. Planning owns these types; the registry fills them.

mod absence;
mod observation;
mod relative_weight;
mod routing;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

pub use absence::{Absence, AbsenceReason};
pub use observation::Observation;
pub use relative_weight::RelativeWeight;
pub use routing::{Proxied, RoutingInputs, RuledNamespace};
pub use target::{ServedCluster, Target, TargetReason};

use crate::{
    api::{
        ClientConnectionConfigSpec, GlobalTrafficPolicySpec, OutlierDetectionSpec, RoutingPolicySpec, TrafficConfigSpec,
    },
    model::{
        ClusterName, GatewayAddress, Host, HostOverride, Identity, IstioNamespaces, Kind, Locality, Note, Now,
        ObjectId, ObjectPath, PolicyObject, Route, ServiceKey, Variant,
    },
};

/// Policies of one kind that are for a service, in the order of clusters, namespaces and names.
pub type Matching<S> = Vec<(ClusterName, Arc<PolicyObject<S>>)>;

/// One service with all that decides its objects, in every cluster. Every list is sorted.
#[derive(Debug, Clone)]
pub struct ServiceInput {
    /// The service, spelled as its workloads spell it.
    pub key: ServiceKey,
    /// Its identity without a partition: the one that its host and subject name carry.
    pub identity: Identity,
    /// Whether its host keeps upper-case letters.
    pub keep_case: bool,
    /// The clusters that run it.
    pub sources: Vec<Source>,
    /// The clusters that run each further variant of it, which a Rollout's strategy brings.
    pub variants: Vec<(Variant, Vec<Source>)>,
    /// The namespace of Istio in each cluster.
    pub istio_namespaces: Arc<IstioNamespaces>,
    /// The clusters that should hold its objects: those that run it and those that depend on it.
    pub targets: Vec<Target>,
    /// Whether some Dependency names it as a destination.
    pub declared: bool,
    /// The policies that match it, in the order of clusters, namespaces and names.
    pub policies: Matching<GlobalTrafficPolicySpec>,
    /// The OutlierDetections that match it.
    pub outlier_detections: Matching<OutlierDetectionSpec>,
    /// The ClientConnectionConfigs that match it.
    pub connections: Matching<ClientConnectionConfigSpec>,
    /// The TrafficConfigs that name it with a slow start.
    pub slow_starts: Matching<TrafficConfigSpec>,
    /// The RoutingPolicies that name it.
    pub routing_policies: Matching<RoutingPolicySpec>,
    /// The clusters that may run it in a region that a policy names and no source is in.
    pub absences: Vec<Absence>,
    /// What decides its objects that belong to no single host.
    pub routing: RoutingInputs,
    /// A policy that was in force and cannot be read: the service must be left as it is.
    pub unreadable_policy: Option<ObjectPath>,
    /// What Istio may follow in place of its published objects, by the clusters that hold these.
    pub host_overrides: Vec<(ClusterName, Arc<HostOverride>)>,
    /// Whether it is reached under the additional suffixes, too, or which other service is.
    pub additional: AdditionalHosts,
    /// What its written objects remember.
    pub remembered: Remembered,
    /// What was found wrong while the input was gathered.
    pub notes: Vec<Note>,
}

/// Whether a service is reached under the additional suffixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdditionalHosts {
    /// No workload of it asks for that.
    No,
    /// It is.
    Yes,
    /// This service is, by the same hosts.
    Taken(ServiceKey),
}

/// A cluster that runs the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub cluster: ClusterName,
    /// What its own names end with: `<service>.<namespace>.svc.<domain>`.
    pub domain: Arc<str>,
    /// Its locality.
    pub locality: Observation<Locality>,
    /// How other clusters reach it.
    pub gateway: Observation<GatewayAddress>,
    /// Its network, behind its gateway.
    pub network: Observation<Arc<str>>,
    /// What is known of its pods.
    pub pods: Pods,
    /// Kind of workload that other clusters see: another than a Rollout where there is one (Admiral,
    /// docs/admiral-behaviour.md#deployment-and-rollout-together).
    pub workload: Kind,
    /// Its Services for the workloads; empty when the cluster cannot be read and the entry rests on what was written.
    pub services: Vec<Backend>,
    /// Name of each port, its number for clients and its protocol, as written earlier, where something is carried over.
    pub last_known_ports: BTreeMap<String, (u16, String)>,
    /// What the cluster itself saw of workloads that cannot be read there now.
    pub last_known_local: Vec<LastKnownEndpoint>,
    /// When its oldest workload came, in seconds since the Unix epoch. What was written does not record it.
    pub since_seconds: Observation<i64>,
    /// Who its workloads run as.
    pub principals: Principals,
    /// Its workloads, sorted, where none of them has pods or machines that can serve; empty where one has, or may have.
    pub unavailable: Vec<ObjectId>,
}

impl Source {
    /// Whether it has pods or machines that can serve, or may have.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.unavailable.is_empty()
    }
}

/// What is known of the pods of a [`Source`], for clusters of the same network, which reach them without a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pods {
    /// Nothing: nobody looks for them, or they cannot be read and the gateway was written.
    #[default]
    Unknown,
    /// Those of its Services that are ready.
    Known,
    /// They cannot be read now: as others saw them, sorted.
    LastKnown(Vec<LastKnownEndpoint>),
}

/// Who the workloads of a service run as in one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principals {
    /// Trust domain, where the cluster names its own.
    pub trust_domain: Option<Arc<str>>,
    /// Namespace and service account.
    pub accounts: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Whether some of it cannot be read now, so that the names that stand stay.
    pub unknown: bool,
}

/// What the written objects of a service remember.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The region that stays primary, by host.
    pub primaries: BTreeMap<Host, Arc<str>>,
    /// The regions to which the policy sent all traffic, by host: several while a change is under way.
    pub policy_regions: BTreeMap<Host, BTreeSet<Arc<str>>>,
    /// Subject names.
    pub subject_names: BTreeSet<String>,
}

/// An endpoint inside its own cluster, or a pod as others reach it, as it was written earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastKnownEndpoint {
    /// Its address.
    pub address: Arc<str>,
    /// Kind of the workload.
    pub workload: Kind,
    /// Its locality.
    pub locality: Option<Locality>,
    /// Port name to number at the address.
    pub ports: BTreeMap<String, u16>,
    /// Its weight relative to the other workloads of its cluster.
    pub relative_weight: RelativeWeight,
}

impl LastKnownEndpoint {
    /// Whether it is the endpoint of a Service or machine.
    #[must_use]
    pub fn is_of(&self, backend: &Backend) -> bool {
        if let Some(machine) = &backend.machine {
            return self.address == machine.address;
        }
        let mut parts = self.address.split('.');
        (parts.next(), parts.next(), parts.next()) == (Some(&*backend.service), Some(&*backend.namespace), Some("svc"))
    }
}

/// A Service behind which the pods of the service run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Namespace of the Service.
    pub namespace: Arc<str>,
    /// Its name.
    pub service: Arc<str>,
    /// Kind of the workload.
    pub workload: Kind,
    /// Its ports; the main port first.
    pub ports: Vec<BackendPort>,
    /// Its weight relative to the other workloads of its cluster.
    pub relative_weight: RelativeWeight,
    /// Its pods that are ready, sorted by address, where [`Pods::Known`].
    pub pods: Vec<Pod>,
    /// The machine itself, where there is no Service. Namespace and name are then those of its object.
    pub machine: Option<Machine>,
}

/// A virtual machine that is an endpoint itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// IP address or host name.
    pub address: Arc<str>,
    /// Number of each port there, in the order of the backend's ports.
    pub ports: Vec<u16>,
    /// Its locality, where its object names one.
    pub locality: Option<Locality>,
    /// Its network, where it is another than that of its cluster or says so.
    pub network: Option<Arc<str>>,
}

/// A pod behind a [`Backend`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its address.
    pub address: IpAddr,
    /// Number of each port there, in the order of the backend's ports; none where the pod has no such port.
    pub ports: Vec<Option<u16>>,
    /// Its zone, where it is known.
    pub zone: Option<Arc<str>>,
}

/// A port of a [`Backend`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendPort {
    /// Number of the Service port.
    pub number: u16,
    /// Its name; empty when unnamed.
    pub name: Arc<str>,
    /// The port that it leads to in the pods, as far as that is known.
    pub target: u16,
    /// The name of the container port that it leads to, where it leads to one by name.
    pub target_name: Option<Arc<str>>,
    /// Number at the addresses that the Service's name resolves to: that of the container port for a headless Service, and
    /// otherwise that of the Service port.
    pub at_address: u16,
    /// Protocol in Admiral's spelling: `http`, `http2`, `grpc`, `grpc-web`, `tcp`, ….
    pub protocol: &'static str,
}

/// A host that a service asks for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host.
    pub host: Host,
    /// Its virtual address; absent where Istio allocates or none is free.
    pub address: Option<Ipv4Addr>,
    /// The other service that holds the host, where it is taken.
    pub taken_by: Option<ServiceKey>,
    /// The clusters where hand-written objects for the host were taken over, or are to be.
    pub adopted: BTreeMap<ClusterName, AdoptedPair>,
    /// That the service that lost the host may have it back: this one where it is not taken, else the one by which it is.
    pub reserved: Option<HostReservation>,
}

/// The time for which a host waits for the service that lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReservation {
    /// When the service lost it.
    pub since: Now,
    /// When others may have it.
    pub until: Now,
    /// The clusters that remember it over a restart of Tradewind; none where nobody else asks for the host.
    pub clusters: BTreeSet<ClusterName>,
}

/// Hand-written objects for one host in one cluster that take the places of Tradewind's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedPair {
    /// Namespace of both.
    pub namespace: Arc<str>,
    /// The ServiceEntry; Tradewind's own where only a rule was handed over.
    pub entry: Option<AdoptedName>,
    /// The DestinationRule; Tradewind's own where only an entry was handed over.
    pub rule: Option<AdoptedName>,
}

/// The name of a hand-written object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedName {
    /// Its name.
    pub name: Arc<str>,
    /// Whether its owner hands it over by an annotation of the object.
    pub annotated: bool,
    /// Whether it was taken over.
    pub is_taken: bool,
}

/// One client namespace of one cluster: what its Sidecar should let its proxies see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNamespace {
    /// The cluster.
    pub cluster: ClusterName,
    /// What the cluster's own names end with.
    pub domain: Arc<str>,
    /// The namespace of its Istio.
    pub istio_namespace: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// Published hosts of everything its workloads depend on.
    pub hosts: Vec<Host>,
    /// The hosts among them whose entry is in another namespace than the sync namespace, with that namespace.
    pub elsewhere: Vec<(Arc<str>, Host)>,
    /// The ports under which a host is published besides 80, where any cluster offers one; only where hosts are merged into
    /// Sidecars of users.
    pub further_ports: BTreeMap<Host, BTreeSet<u16>>,
    /// `namespace/name` of the Services in this cluster behind those hosts.
    pub local_services: Vec<(Arc<str>, Arc<str>)>,
    /// Whether the namespace has workloads with declared dependencies.
    pub is_client: bool,
}

/// One host with all that users said about it.
#[derive(Debug, Clone)]
pub struct HostInput {
    /// The host, whole and in lower case.
    pub host: Arc<str>,
    /// The namespace of Istio in each cluster.
    pub istio_namespaces: Arc<IstioNamespaces>,
    /// The service that is published under it, and the host as it is published.
    pub published: Option<(ServiceInput, Host)>,
    /// Every cluster of the fleet, sorted.
    pub clusters: Vec<HostCluster>,
    /// The users' VirtualServices and DestinationRules for it, in the order of clusters and ids.
    pub routes: Vec<HostRoute>,
    /// The other hosts of that service.
    pub own_hosts: Vec<Host>,
    /// The DNS domains of all clusters, in which their own Services are.
    pub cluster_domains: BTreeSet<Arc<str>>,
    /// Whether the host ends with the name of a namespace, so that clients there take it for a Service of their cluster.
    pub is_short_name: bool,
    /// Hand-written objects for the host that were handed over although no service is published under it.
    pub unpublished: Vec<(ClusterName, ObjectId)>,
    /// An object that was copied and cannot be read: the copies must be left as they are.
    pub unreadable_origin: Option<ObjectPath>,
}

/// A cluster into which may be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCluster {
    /// Its name.
    pub name: ClusterName,
    /// Which of VirtualService and DestinationRule it serves, with all of them known.
    pub known: Vec<Kind>,
    /// VirtualServices for the host in the namespace of copies that Tradewind does not manage.
    pub others: Vec<ObjectId>,
}

/// A user's VirtualService or DestinationRule.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRoute {
    /// The cluster that holds it.
    pub cluster: ClusterName,
    /// What the names of that cluster's Services end with.
    pub domain: Arc<str>,
    /// It.
    pub route: Arc<Route>,
    /// Whether a Rollout names it to be its own.
    pub of_rollout: bool,
    /// Which namespaces of its cluster own the published host.
    pub owner: RouteOwner,
}

/// The namespaces of one cluster that own a published host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteOwner {
    /// Those that run the service.
    Namespaces(BTreeSet<Arc<str>>),
    /// They cannot be read now, and the route was copied when they could.
    LastKnown,
}
