//! The traffic decision: how clients in each cluster reach each host of a service, and why.
//!
//! Plain data without a word of Istio's objects: [`super::super::emit`] turns it into those. Every number keeps its origin, so
//! that an explanation prints the decision and computes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use serde_json::Value;

use super::{connection_policies::ConnectionPolicies, ports::PublishedPort, reason::Reason};
use crate::{
    api::RoutingPolicySpec,
    model::{
        ClusterName, EgressHost, Host, Identity, IstioNamespaces, Kind, Locality, Note, Now, ObjectId, Policy,
        PolicyObject, Route, ServiceKey, Variant,
    },
    plan::input::{AdoptedPair, HostRoute},
};

/// All that is decided for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceDecision {
    /// The service, spelled as its workloads spell it.
    pub key: ServiceKey,
    /// Its identity without a partition.
    pub identity: Identity,
    /// The policy in force, with its cluster.
    pub policy: Option<(ClusterName, Arc<Policy>)>,
    /// What the policies of connections mean for every host.
    pub connections: ConnectionPolicies,
    /// Subject names that its workloads present; empty for no check beyond the trust domain.
    pub subject_names: Vec<String>,
    /// Per cluster, sorted; a cluster that is missing should hold nothing of the service.
    pub clusters: Vec<ClusterDecision>,
    /// What its owners should know.
    pub notes: Vec<Note>,
    /// Whether the service must be left exactly as it is: nothing is written, and nothing removed.
    pub frozen: bool,
    /// Clusters whose writes come before those of the others; mostly none.
    pub first: BTreeSet<ClusterName>,
}

impl ServiceDecision {
    /// What is decided for a cluster, to be added to.
    pub(super) fn cluster_mut(&mut self, cluster: &ClusterName, istio: &IstioNamespaces) -> &mut ClusterDecision {
        let at = match self.clusters.binary_search_by(|decided| decided.cluster.cmp(cluster)) {
            Ok(at) => at,
            Err(at) => {
                self.clusters.insert(at, ClusterDecision::empty(cluster, istio));
                at
            }
        };
        &mut self.clusters[at]
    }
}

/// What is decided for one client cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterDecision {
    /// The cluster that holds the objects.
    pub cluster: ClusterName,
    /// The namespace of its Istio.
    pub istio_namespace: Arc<str>,
    /// The namespaces that see the hosts; empty for all.
    pub visible_in: Vec<String>,
    /// The clusters whose proxies read the objects, where they are others than this one.
    pub served_clusters: Vec<ClusterName>,
    /// One per host, the default host first.
    pub hosts: Vec<HostDecision>,
    /// Hosts that the service lost, and that are kept for it.
    pub reserved: Vec<ReservedHost>,
    /// How requests are routed otherwise than by the endpoints of the hosts.
    pub routes: Vec<RouteDecision>,
    /// The filters of clients.
    pub filters: Vec<FilterDecision>,
    /// Managed objects that stay as they are, because their reason cannot be read now.
    pub kept: Vec<ObjectId>,
}

impl ClusterDecision {
    pub(super) fn empty(cluster: &ClusterName, istio: &IstioNamespaces) -> Self {
        Self {
            cluster: cluster.clone(),
            istio_namespace: istio.of(cluster).clone(),
            visible_in: Vec::new(),
            served_clusters: Vec::new(),
            hosts: Vec::new(),
            reserved: Vec::new(),
            routes: Vec::new(),
            filters: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// A host that a service lost, and that no other gets for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedHost {
    /// The host.
    pub host: Host,
    /// Its address, which stays its own.
    pub address: Option<Ipv4Addr>,
    /// When the service lost it.
    pub since: Now,
}

/// How clients of one cluster reach one host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostDecision {
    /// The host.
    pub host: Host,
    /// Which variant of the service it leads to.
    pub variant: Variant,
    /// Whether it is the host of its variant, without a prefix of the policy.
    pub is_default: bool,
    /// The prefix that the policy gives it; empty for none.
    pub dns_prefix: String,
    /// Which entry of the policy in force governs it, counted from 0.
    pub policy_entry: Option<usize>,
    /// The region that stays primary while no policy governs the host.
    pub primary_region: Option<Arc<str>>,
    /// The region to which the policy sends all traffic.
    pub policy_region: Option<Arc<str>>,
    /// Its virtual address; absent where Istio allocates one or none is free.
    pub address: Option<Ipv4Addr>,
    /// The hand-written objects whose places its objects take.
    pub adopted: Option<AdoptedPair>,
    /// The ports that clients use, the main port first.
    pub ports: Arc<[PublishedPort]>,
    /// Where it leads. Never empty.
    pub endpoints: Vec<EndpointDecision>,
    /// How clients choose among the localities of the endpoints.
    pub locality: LocalityPreference,
    /// How they choose among the endpoints of one locality.
    pub balance: Balance,
    /// When they leave an endpoint out.
    pub ejection: Ejection,
}

impl HostDecision {
    /// Whether the localities of its endpoints stand for tiers. Then clients must know the preference before the endpoints.
    #[must_use]
    pub fn is_tiered(&self) -> bool {
        matches!(self.locality, LocalityPreference::Tiers { .. })
    }
}

/// One endpoint of a host, and what traffic it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointDecision {
    /// The cluster it leads to.
    pub cluster: ClusterName,
    /// IP address or name.
    pub address: String,
    /// Port name to number at the address.
    pub ports: BTreeMap<String, u16>,
    /// Its true locality.
    pub locality: Option<Locality>,
    /// The locality that it counts for.
    pub group: LocalityGroup,
    /// Kind of workload behind it; absent where several kinds are.
    pub workload: Option<Kind>,
    /// Its network; absent for that of the clients.
    pub network: Option<Arc<str>>,
    /// 0 gets traffic first; absent where locality decides.
    pub tier: Option<u32>,
    /// Weight relative to the other endpoints of its tier; 0 for unset.
    pub weight: u32,
    /// Percent of the traffic of its host while all of tier 0 is healthy; absent where locality decides.
    pub share_percent: Option<f64>,
    /// How it is reached, and by which rule it gets its traffic.
    pub reason: Reason,
}

/// The locality that an endpoint counts for among the endpoints of its host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalityGroup {
    /// Its own, with its zone where zones are published; unknown where it has none.
    Own(Option<Locality>),
    /// That of the clients, as this region's part of the split.
    Split(Arc<str>),
    /// The clients' own region while that is a fallback and no part of the split.
    ClientRegionAsFallback,
}

/// How clients choose among localities.
#[derive(Debug, Clone, PartialEq)]
pub enum LocalityPreference {
    /// As the mesh is configured.
    Unset,
    /// The nearest first.
    Nearest,
    /// The split first, by the weights of its endpoints, then fallbacks.
    Tiers {
        /// The region of the clients.
        client_region: Arc<str>,
        /// The region that comes next; absent where any other may.
        first_fallback: Option<Arc<str>>,
    },
    /// Percent by region, without fallback.
    Shares {
        /// The regions of the clients; absent for clients of every region.
        clients: Option<Vec<Arc<str>>>,
        /// Percent of each region; the sum is 100.
        percent: Vec<(Arc<str>, u32)>,
    },
}

/// How clients choose among the endpoints of one locality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one of two with fewer requests under way.
    LeastRequest,
    /// By turns, exactly by weight.
    RoundRobin,
}

/// When clients leave an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ejection {
    /// As the mesh is configured.
    Unset,
    /// Never.
    Never,
    /// After some errors in a row.
    AfterErrors {
        /// Errors of the gateway kind (502, 503, 504) in a row; 0 for never.
        errors: u32,
        /// Seconds for which it stays out at first.
        base_seconds: i64,
        /// Seconds between two looks.
        interval_seconds: i64,
        /// Most endpoints that may be out at a time, in percent.
        max_percent: u32,
    },
}

/// A route that leads requests for a host otherwise than by its endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteDecision {
    /// Further names of a host.
    Alias(AliasRoute),
    /// The hosts of a service lead to its own Services inside a cluster that runs it.
    InCluster(InClusterRoute),
    /// Server names at the gateways of a cluster lead to its own Services.
    Ingress(IngressRoute),
    /// The hosts of a destination lead to its proxy.
    Proxy(ProxyRoute),
}

/// Further names of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasRoute {
    /// The host they lead to.
    pub host: Host,
    /// The names. Never empty.
    pub names: Vec<String>,
    /// The prefix of the host before the main host of the service; empty for none.
    pub prefix: String,
}

/// Routing inside a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct InClusterRoute {
    /// The host by which it is named.
    pub main: Host,
    /// One per host and port.
    pub rules: Vec<HttpRule>,
    /// Users' routes that are merged into it.
    pub merged: Vec<Arc<Route>>,
    /// The namespaces that see it. Never empty.
    pub visible_in: Vec<String>,
}

/// What becomes of the requests for one host and port.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRule {
    /// Its name.
    pub name: String,
    /// The host.
    pub host: Host,
    /// The port, where the host has several.
    pub port: Option<u16>,
    /// Where they go.
    pub destinations: Vec<DestinationDecision>,
}

/// Where a part of some requests goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationDecision {
    /// Name of a Service, or a published host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Weight relative to the others; absent for a single one.
    pub weight: Option<u32>,
}

/// Routing at the gateways of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct IngressRoute {
    /// The host by which it is named.
    pub main: Host,
    /// By host and port, sorted by server name.
    pub rules: Vec<ServerNameRule>,
    /// The namespaces that see it.
    pub visible_in: Vec<String>,
}

/// What becomes of the connections for one server name.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerNameRule {
    /// The name that clients ask for.
    pub server_name: String,
    /// Where they go.
    pub destinations: Vec<DestinationDecision>,
}

/// Hosts that lead to a proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyRoute {
    /// The host of the proxy.
    pub proxy: Host,
    /// The hosts that lead there. Never empty.
    pub hosts: Vec<Host>,
    /// The namespaces that see it; empty for all.
    pub visible_in: Vec<String>,
}

/// A plugin that the proxies of one client load for a service.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterDecision {
    /// The policy that asks for it, with its cluster.
    pub policy: (ClusterName, Arc<PolicyObject<RoutingPolicySpec>>),
    /// The client, as its workloads spell it.
    pub client: String,
    /// The labels that select its pods.
    pub client_labels: BTreeMap<String, String>,
    /// The version of the proxies; `any` for all.
    pub proxy_version: String,
    /// The plugin's file in the proxy.
    pub plugin_path: String,
}

/// What the proxies of one client namespace should see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarDecision {
    /// Whatever the mesh shows them.
    Nothing,
    /// These hosts, in the namespace's own Sidecar.
    Merge(Vec<EgressHost>),
    /// These hosts, and nothing else.
    Only(Vec<String>),
}

/// The rules for all Services of one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamespaceRulesDecision {
    /// Who sees the rule that goes with routing inside the cluster; empty for no rule.
    pub in_cluster: Vec<String>,
    /// Who sees the rule that goes with routing at the gateways; absent for no rule.
    pub ingress: Option<Vec<String>>,
    /// Rules that stay as they are, because it is not known whether they should.
    pub kept: Vec<ObjectId>,
}

/// The copies of users' routes for one host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoutesDecision {
    /// Per cluster, in the order of writing: what is referred to comes before what refers to it.
    pub clusters: BTreeMap<ClusterName, Vec<RouteCopy>>,
    /// What their owners should know.
    pub notes: Vec<Note>,
    /// Whether the copies must be left exactly as they are.
    pub frozen: bool,
}

/// A copy of a user's route for another cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCopy {
    /// What is copied.
    pub origin: HostRoute,
    /// What the copy says.
    pub spec: Arc<Value>,
    /// The namespaces that see it; empty for what the spec says.
    pub visible_in: Vec<String>,
}
