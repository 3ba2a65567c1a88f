//! The kinds of objects that Tradewind reads or writes: what each is called, where it is served, and what it is for.

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `argoproj.io` Rollout.
    Rollout,
    /// `networking.istio.io` WorkloadEntry: a virtual machine.
    WorkloadEntry,
    /// `batch/v1` Job, a client only.
    Job,
    /// `batch/v1` CronJob, a client only.
    CronJob,
    /// `numaflow.numaproj.io` Vertex, a client only.
    Vertex,
    /// `numaflow.numaproj.io` MonoVertex, a client only.
    MonoVertex,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice (only while pods are reached directly).
    EndpointSlice,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `admiral.io/v1alpha1` GlobalTrafficPolicy.
    GlobalTrafficPolicy,
    /// `admiral.io/v1alpha1` OutlierDetection.
    OutlierDetection,
    /// `admiral.io/v1alpha1` ClientConnectionConfig.
    ClientConnectionConfig,
    /// `admiral.io/v1alpha1` RoutingPolicy.
    RoutingPolicy,
    /// `admiral.io/v1alpha1` Dependency (hub only).
    Dependency,
    /// `admiral.io/v1alpha1` DependencyProxy (hub only).
    DependencyProxy,
    /// `admiral.io/v1alpha1` TrafficConfig (hub only).
    TrafficConfig,
    /// `tradewind.io/v1alpha1` TradewindConfig (hub only).
    TradewindConfig,
    /// `tradewind.io/v1alpha1` IdentityClaim (hub only, and only while claims are looked at).
    IdentityClaim,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` EnvoyFilter of the Istio namespace (only while RoutingPolicies are in use).
    EnvoyFilter,
    /// `networking.istio.io` Sidecar (only while Sidecars are managed).
    Sidecar,
}

/// Where a kind is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Supported versions, the preferred one first.
    pub versions: &'static [&'static str],
    /// Name in paths.
    pub plural: &'static str,
    /// Whether it is a custom resource of a product that a cluster may well not have: then its absence is no trouble,
    /// and it is looked for again.
    pub optional: bool,
}

const APPS: &str = "apps";
const BATCH: &str = "batch";
const DISCOVERY: &str = "discovery.k8s.io";
const ARGO: &str = "argoproj.io";
const NUMAFLOW: &str = "numaflow.numaproj.io";
const ADMIRAL: &str = "admiral.io";
const TRADEWIND: &str = "tradewind.io";
const ISTIO: &str = "networking.istio.io";
const V1: &[&str] = &["v1"];
const V1ALPHA1: &[&str] = &["v1alpha1"];
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
/// EnvoyFilter has not left alpha (Istio documentation, `EnvoyFilter`).
const ENVOY_FILTER_VERSIONS: &[&str] = &["v1alpha3"];

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Rollout,
        Self::WorkloadEntry,
        Self::Job,
        Self::CronJob,
        Self::Vertex,
        Self::MonoVertex,
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::Namespace,
        Self::GlobalTrafficPolicy,
        Self::OutlierDetection,
        Self::ClientConnectionConfig,
        Self::RoutingPolicy,
        Self::Dependency,
        Self::DependencyProxy,
        Self::TrafficConfig,
        Self::TradewindConfig,
        Self::IdentityClaim,
        Self::ServiceEntry,
        Self::DestinationRule,
        Self::VirtualService,
        Self::EnvoyFilter,
        Self::Sidecar,
    ];

    /// The kinds that run pods of a service, or describe its machines.
    pub const WORKLOADS: &[Self] =
        &[Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Rollout, Self::WorkloadEntry];

    /// The kinds that run clients and serve nothing (Admiral, docs/admiral-behaviour.md#client-discovery).
    pub const CLIENTS: &[Self] = &[Self::Job, Self::CronJob, Self::Vertex, Self::MonoVertex];

    /// The kinds that are read on the hub.
    pub const OF_HUB: &[Self] =
        &[Self::Dependency, Self::DependencyProxy, Self::TrafficConfig, Self::TradewindConfig, Self::IdentityClaim];

    /// The kinds that Tradewind writes.
    pub const WRITTEN: &[Self] =
        &[Self::ServiceEntry, Self::DestinationRule, Self::VirtualService, Self::EnvoyFilter, Self::Sidecar];

    /// The Kubernetes kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Vertex => "Vertex",
            Self::MonoVertex => "MonoVertex",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::GlobalTrafficPolicy => "GlobalTrafficPolicy",
            Self::OutlierDetection => "OutlierDetection",
            Self::ClientConnectionConfig => "ClientConnectionConfig",
            Self::RoutingPolicy => "RoutingPolicy",
            Self::Dependency => "Dependency",
            Self::DependencyProxy => "DependencyProxy",
            Self::TrafficConfig => "TrafficConfig",
            Self::TradewindConfig => "TradewindConfig",
            Self::IdentityClaim => "IdentityClaim",
            Self::ServiceEntry => "ServiceEntry",
            Self::DestinationRule => "DestinationRule",
            Self::VirtualService => "VirtualService",
            Self::EnvoyFilter => "EnvoyFilter",
            Self::Sidecar => "Sidecar",
        }
    }

    /// Where it is served.
    #[must_use]
    pub fn served(self) -> Served {
        let (group, versions, plural, optional) = match self {
            Self::Deployment => (APPS, V1, "deployments", false),
            Self::StatefulSet => (APPS, V1, "statefulsets", false),
            Self::DaemonSet => (APPS, V1, "daemonsets", false),
            Self::Rollout => (ARGO, V1ALPHA1, "rollouts", true),
            Self::WorkloadEntry => (ISTIO, ISTIO_VERSIONS, "workloadentries", true),
            Self::Job => (BATCH, V1, "jobs", false),
            Self::CronJob => (BATCH, V1, "cronjobs", false),
            Self::Vertex => (NUMAFLOW, V1ALPHA1, "vertices", true),
            Self::MonoVertex => (NUMAFLOW, V1ALPHA1, "monovertices", true),
            Self::Service => ("", V1, "services", false),
            Self::EndpointSlice => (DISCOVERY, V1, "endpointslices", false),
            Self::Node => ("", V1, "nodes", false),
            Self::Namespace => ("", V1, "namespaces", false),
            Self::GlobalTrafficPolicy => (ADMIRAL, V1ALPHA1, "globaltrafficpolicies", false),
            Self::OutlierDetection => (ADMIRAL, V1ALPHA1, "outlierdetections", true),
            Self::ClientConnectionConfig => (ADMIRAL, V1ALPHA1, "clientconnectionconfigs", true),
            Self::RoutingPolicy => (ADMIRAL, V1ALPHA1, "routingpolicies", true),
            Self::Dependency => (ADMIRAL, V1ALPHA1, "dependencies", false),
            Self::DependencyProxy => (ADMIRAL, V1ALPHA1, "dependencyproxies", true),
            Self::TrafficConfig => (ADMIRAL, V1ALPHA1, "trafficconfigs", true),
            Self::TradewindConfig => (TRADEWIND, V1ALPHA1, "tradewindconfigs", true),
            // Claims that cannot be looked for are unknown, not absent.
            Self::IdentityClaim => (TRADEWIND, V1ALPHA1, "identityclaims", false),
            Self::ServiceEntry => (ISTIO, ISTIO_VERSIONS, "serviceentries", false),
            Self::DestinationRule => (ISTIO, ISTIO_VERSIONS, "destinationrules", false),
            Self::VirtualService => (ISTIO, ISTIO_VERSIONS, "virtualservices", true),
            Self::EnvoyFilter => (ISTIO, ENVOY_FILTER_VERSIONS, "envoyfilters", true),
            Self::Sidecar => (ISTIO, ISTIO_VERSIONS, "sidecars", false),
        };
        Served { group, versions, plural, optional }
    }

    /// `group/version`, as manifests say it.
    #[must_use]
    pub fn api_version(self) -> String {
        let served = self.served();
        match served.group {
            "" => served.versions[0].to_owned(),
            group => format!("{group}/{}", served.versions[0]),
        }
    }

    /// Whether managed objects exist because of objects of this kind, so that nothing may be removed while the kind cannot be
    /// read. The others only influence the content of managed objects.
    #[must_use]
    pub fn decides_removals(self) -> bool {
        !matches!(
            self,
            Self::EndpointSlice | Self::OutlierDetection | Self::ClientConnectionConfig | Self::TrafficConfig
        )
    }

    /// The value of the endpoint label `type` for a workload of this kind (Admiral,
    /// docs/admiral-behaviour.md#endpoints-in-other-clusters).
    #[must_use]
    pub fn endpoint_type(self) -> &'static str {
        match self {
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Rollout => "rollout",
            Self::WorkloadEntry => "workloadentry",
            Self::ServiceEntry => "serviceentry",
            _ => "deployment",
        }
    }

    /// The workload kind behind an endpoint label `type`.
    #[must_use]
    pub fn of_endpoint_type(text: &str) -> Option<Self> {
        let kinds = Self::WORKLOADS.iter().chain(&[Self::ServiceEntry]);
        kinds.copied().find(|kind| kind.endpoint_type() == text)
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
