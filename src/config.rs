//! Settings: every switch of Tradewind, from one file, flags and environment.

use crate::{istio::OwnedKeys, model::Kind};

/// Who sees a service that no Dependency names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutDependency {
    /// Every cluster.
    #[default]
    All,
    /// Only the clusters that run it, as in the reference.
    None,
}

/// How weighted policies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// Weights on endpoints, with fallback regions behind them.
    #[default]
    Tiers,
    /// The reference's form: `distribute`, without fallback.
    Distribute,
}

/// Which ports of a Service are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishedPorts {
    /// The main port as 80, every further one under its own number.
    #[default]
    All,
    /// The main port alone, as in the reference.
    Main,
}

/// Where virtual addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressSource {
    /// Tradewind allocates them from its range.
    #[default]
    Tradewind,
    /// Istio allocates them itself.
    Istio,
}

/// What is done with Sidecars of client namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sidecars {
    /// Nothing.
    #[default]
    Off,
    /// The namespace's own Sidecar gets the hosts added.
    Merge,
    /// A namespace without a Sidecar gets one.
    Own,
}

/// What happens to the objects in a cluster that leaves the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovedCluster {
    /// They stay.
    #[default]
    Leave,
    /// They are deleted.
    Clean,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Last part of every host.
    pub hostname_suffix: String,
    /// Label or annotation of the pod template that names the identity.
    pub workload_identity_key: String,
    /// Label of policies that names the identity.
    pub admiral_crd_identity_label: String,
    /// Annotation or label that names the environment.
    pub env_key: String,
    /// Pod template label that hides a workload.
    pub admiral_ignore_label: String,
    /// Pod template annotation that must be `true` for a workload to count.
    pub deployment_annotation: String,
    /// Label of policies that ranks them.
    pub priority_key: String,
    /// `app` label of the gateway Service.
    pub gateway_app: String,
    /// Namespace of our objects in every cluster.
    pub sync_namespace: String,
    /// Namespace of cluster Secrets on the hub.
    pub secret_namespace: String,
    /// Namespace of Dependencies on the hub.
    pub dependency_namespace: String,
    /// Workload kinds that are watched.
    pub workload_kinds: Vec<Kind>,
    /// Who sees undeclared services.
    pub without_dependency: WithoutDependency,
    /// Form of weighted policies.
    pub weights: Weights,
    /// Ports that are published.
    pub published_ports: PublishedPorts,
    /// Source of addresses.
    pub addresses: AddressSource,
    /// Range of addresses.
    pub address_range: ipnet::Ipv4Net,
    /// Name of the reference's address ConfigMap in the sync namespace of the hub, honoured when it exists.
    pub se_address_configmap: String,
    /// What is done with Sidecars.
    pub sidecars: Sidecars,
    /// Name of the Sidecars.
    pub workload_sidecar_name: String,
    /// Whether `exportTo` is narrowed to dependents (reference: `enable_sw_aware_ns_caches`).
    pub enable_sw_aware_ns_caches: bool,
    /// Parts of host names for which it is narrowed; `*` for all.
    pub exportto_identity_list: Vec<String>,
    /// Most namespaces listed before `*` is written.
    pub exportto_max_namespaces: usize,
    /// Whether subject names are written.
    pub enable_san: bool,
    /// First part of subject names.
    pub san_prefix: String,
    /// Whether gateway host names end with a dot.
    pub enable_absolute_fqdn: bool,
    /// Whether local host names end with a dot (needs the former).
    pub enable_absolute_fqdn_for_local_endpoints: bool,
    /// Whether default outlier detection is switched off.
    pub disable_default_automatic_failover: bool,
    /// Slow start of new endpoints in seconds.
    pub default_warmup_duration_in_seconds: u32,
    /// Requests per connection.
    pub max_requests_per_connection: i32,
    /// Plan but never write.
    pub read_only: bool,
    /// Log what would be written, and never write.
    pub dry_run: bool,
    /// Take over the reference's objects.
    pub adopt_admiral: bool,
    /// What happens in a cluster that leaves.
    pub removed_cluster: RemovedCluster,
    /// Largest share of a cluster's objects that one pass may remove, in percent.
    pub max_removal_percent: u32,
    /// Removals per pass that are always allowed.
    pub max_removal_floor: usize,
    /// Writes under way at once, per cluster.
    pub write_concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname_suffix: "global".into(),
            workload_identity_key: "identity".into(),
            admiral_crd_identity_label: "identity".into(),
            env_key: "admiral.io/env".into(),
            admiral_ignore_label: "admiral-ignore".into(),
            deployment_annotation: "sidecar.istio.io/inject".into(),
            priority_key: "priority".into(),
            gateway_app: "istio-ingressgateway".into(),
            sync_namespace: "admiral-sync".into(),
            secret_namespace: "admiral".into(),
            dependency_namespace: "admiral".into(),
            workload_kinds: Kind::WORKLOADS.to_vec(),
            without_dependency: WithoutDependency::All,
            weights: Weights::Tiers,
            published_ports: PublishedPorts::All,
            addresses: AddressSource::Tradewind,
            address_range: ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(240, 0, 0, 0), 16),
            se_address_configmap: "se-address-configmap".into(),
            sidecars: Sidecars::Off,
            workload_sidecar_name: "default".into(),
            enable_sw_aware_ns_caches: false,
            exportto_identity_list: vec!["*".into()],
            exportto_max_namespaces: 35,
            enable_san: false,
            san_prefix: String::new(),
            enable_absolute_fqdn: true,
            enable_absolute_fqdn_for_local_endpoints: false,
            disable_default_automatic_failover: false,
            default_warmup_duration_in_seconds: 45,
            max_requests_per_connection: 100,
            read_only: false,
            dry_run: false,
            adopt_admiral: false,
            removed_cluster: RemovedCluster::Leave,
            max_removal_percent: 25,
            max_removal_floor: 20,
            write_concurrency: 32,
        }
    }
}

impl Settings {
    /// The annotations of pod templates and policies that decide something; all others are pruned.
    #[must_use]
    pub fn observed_annotations(&self) -> [&str; 7] {
        [
            &self.workload_identity_key,
            &self.env_key,
            &self.deployment_annotation,
            "admiral.io/cname-case-sensitive",
            "traffic.sidecar.istio.io/includeInboundPorts",
            "lastUpdatedAt",
            "tradewind.io/unlisted-regions",
        ]
    }

    /// The labels and annotations that Tradewind owns on its objects.
    #[must_use]
    pub fn owned_keys(&self) -> OwnedKeys {
        OwnedKeys { identity: self.workload_identity_key.clone(), environment: self.env_key.clone() }
    }
}
