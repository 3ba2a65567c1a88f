//! The table of settings: the only place where a setting is declared.
//!
//! From it come the [`Settings`] struct and its defaults, the keys of the file, the flags, the
//! variables, the help text and the reference page. Nothing is read here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::LazyLock,
};

use super::{
    check::*,
    resources::Resources,
    route_grants::RouteGrants,
    value::{Form, Refusal, Value},
    words::*,
};
use crate::model::Kind;

/// One row of the table.
pub(super) struct Setting {
    /// Its section on the reference page and in the help text.
    pub section: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// Key in the file.
    pub key: String,
    /// Flag, without the dashes.
    pub flag: String,
    /// Environment variable.
    pub variable: String,
    /// What it means.
    pub meaning: &'static str,
    /// Admiral's flag of the same meaning and the same values, accepted as a flag too.
    pub reference: Option<&'static str>,
    /// Further names of the flag: Admiral's, as it writes it and in kebab case.
    pub aliases: Vec<String>,
    /// Admiral's flags that decide the same in another way.
    pub related: &'static str,
    /// How many texts make a value.
    pub form: Form,
    /// Name of the value in the help text.
    pub placeholder: &'static str,
    /// The words it may be, with their meanings.
    pub words: &'static [(&'static str, &'static str)],
    /// What it may be, in words.
    pub allowed: &'static str,
    /// Its value as text.
    pub show: fn(&Settings) -> String,
    /// Takes a value from its texts.
    pub set: fn(&mut Settings, &[&str]) -> Result<(), Refusal>,
}

macro_rules! settings {
    ($($section:literal {$(
        $(#[doc = $meaning:literal])+
        $field:ident: $type:ty = $default:expr, $check:expr
        $(, as $reference:literal)? $(, instead of $related:literal)?;
    )+})+) => {
        /// Every switch of Tradewind.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $($($(#[doc = $meaning])+ pub $field: $type,)+)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($($field: $default,)+)+ }
            }
        }

        /// All settings, in the order of the reference page.
        pub(super) static TABLE: LazyLock<Vec<Setting>> = LazyLock::new(|| vec![$($({
            const CHECK: Check<$type> = $check;
            const FIELD: &str = stringify!($field);
            Setting {
                section: $section,
                field: FIELD,
                key: camel_case(FIELD),
                flag: FIELD.replace('_', "-"),
                variable: format!("TRADEWIND_{}", FIELD.to_ascii_uppercase()),
                meaning: concat!($($meaning),+).trim_ascii(),
                reference: [$($reference)?].first().copied(),
                aliases: aliases(FIELD, [$($reference)?].first().copied()),
                related: concat!("" $(, $related)?),
                form: <$type as Value>::FORM,
                placeholder: <$type as Value>::PLACEHOLDER,
                words: <$type as Value>::WORDS,
                allowed: CHECK.allowed,
                show: |settings| settings.$field.show(),
                set: |settings, items| {
                    let value = <$type as Value>::read(items)?;
                    (CHECK.test)(&value)?;
                    settings.$field = value;
                    Ok(())
                },
            }
        },)+)+]);
    };
}

settings! {
    "Hub and fleet" {
        /// Kubeconfig file of the hub cluster. Empty: the cluster that Tradewind runs in.
        kubeconfig: Option<PathBuf> = None, Check::described("a path, or nothing"), as "kube_config";
        /// Context of that file. Empty: its current context.
        kubeconfig_context: Option<String> = None, Check::described("a context's name, or nothing");
        /// Fleet file that names the clusters by kubeconfig and context, or by directory. Empty: they are registered by Secrets on the hub.
        fleet: Option<PathBuf> = None, Check::described("a path, or nothing");
        /// Directory outside which no link in the directories of a fleet may point. Empty: the fleet's own directory; for a cluster elsewhere, the cluster's directory.
        fleet_root: Option<PathBuf> = None, Check::described("a path, or nothing");
        /// Namespace of cluster Secrets on the hub.
        secret_namespace: String = "admiral".into(), NAMESPACE, as "secret_namespace";
        /// Namespace of Dependencies on the hub.
        dependency_namespace: String = "admiral".into(), NAMESPACE, as "dependency_namespace";
        /// Namespace of Tradewind's objects in every cluster.
        sync_namespace: String = "admiral-sync".into(), NAMESPACE, as "sync_namespace";
        /// What happens to the objects in a cluster that leaves the fleet.
        removed_cluster: RemovedCluster = RemovedCluster::Leave, Check::any();
        /// How long a cluster stays in the fleet after its Secret is gone, unless its removal was confirmed.
        removed_cluster_grace_seconds: u32 = 60, check!("seconds, up to 86400", |seconds: &u32| *seconds <= 86_400);
        /// What the kubeconfigs of cluster Secrets may ask for, although it gives the cluster's credentials or the network of this process away: `http` (no TLS), `insecure-tls` (a server whose certificate is not checked), `impersonation` (another user's rights), `local-address` (loopback and link-local addresses). Kubeconfigs of a fleet file are trusted.
        allow_in_kubeconfigs: Vec<String> = Vec::new(), check!("http, insecure-tls, impersonation, local-address",
            |words: &Vec<String>| words.iter().all(|word| KUBECONFIG_RISKS.contains(&word.as_str())));
        /// Most objects of one kind that are read of one cluster. A cluster with more is not read further, with a note; its last known state remains in force.
        cluster_max_objects: usize = 200_000, check!("a whole number from 1", |n: &usize| *n > 0);
        /// Most memory that the objects of one cluster may take while they are read, in MiB; fields without effect do not count.
        cluster_max_mib: u32 = 512, check!("a whole number from 1", |n: &u32| *n > 0);
    }

    "Workloads" {
        /// Workload kinds that are watched. WorkloadEntry includes users' ServiceEntries with an identity label.
        workload_kinds: Vec<Kind> = Kind::WORKLOADS.to_vec(),
            check!("one or more of Deployment, StatefulSet, DaemonSet, Rollout, WorkloadEntry", |kinds: &Vec<Kind>| !kinds.is_empty()
                && kinds.iter().all(|kind| Kind::WORKLOADS.contains(kind))),
            instead of "argo_rollouts";
        /// Kinds that call services and serve nothing. Their clusters count as dependent clusters; if the list is empty, only those of workloads do.
        client_kinds: Vec<Kind> = Kind::CLIENTS.to_vec(),
            check!("Job, CronJob, Vertex, MonoVertex", |kinds: &Vec<Kind>| kinds.iter().all(|kind| Kind::CLIENTS.contains(kind))),
            instead of "enable_client_discovery";
        /// Clusters in which Jobs and CronJobs are watched. Empty: all.
        client_discovery_clusters_for_jobs: Vec<String> = Vec::new(), Check::described("cluster names"),
            as "client_discovery_clusters_for_jobs";
        /// Clusters in which Vertices and MonoVertices of Numaflow are watched. Empty: all.
        client_discovery_clusters_for_numaflow: Vec<String> = Vec::new(), Check::described("cluster names"),
            as "client_discovery_clusters_for_numaflow";
        /// Label or annotation of the pod template that names the identity. Tradewind's objects have it as an annotation.
        workload_identity_key: String = "identity".into(), WRITTEN_KEY, as "workload_identity_key";
        /// Annotation or label that names the environment. ServiceEntries have it as a label.
        env_key: String = "admiral.io/env".into(), WRITTEN_KEY, as "env_key";
        /// Whether environments may have dots. Then two services may have one host: `stage` of `team.payments`, and `stage.team` of `payments`.
        dotted_environments: bool = false, Check::any();
        /// Which workloads have a sidecar, and so count.
        sidecar_injection: SidecarInjection = SidecarInjection::Istio, Check::any();
        /// Pod template annotation that makes a workload count when it is `true`, unless labels disable injection (see `sidecarInjection`).
        deployment_annotation: String = "sidecar.istio.io/inject".into(), KEY, as "deployment_annotation";
        /// Effect of the IdentityClaims in `dependencyNamespace` of the hub: which workloads and policies count for an identity.
        identity_claims: IdentityClaims = IdentityClaims::Off, Check::any();
        /// Which namespaces may run an identity that no claim decides.
        identity_namespaces: IdentityNamespaces = IdentityNamespaces::Open, Check::any();
        /// Pod template label that excludes a workload.
        admiral_ignore_label: String = "admiral-ignore".into(), KEY, as "admiral_ignore_label";
        /// Namespace of Istio's control plane (Istio's root namespace). A cluster may have another one: annotation `tradewind.io/istio-namespace` of its Secret, `istioNamespace` in the fleet file.
        istio_namespace: String = "istio-system".into(), NAMESPACE;
        /// `app` label of the gateway Service. A cluster may have another one: annotation `tradewind.io/gateway-app` of its Istio namespace.
        gateway_app: String = "istio-ingressgateway".into(), LABEL_VALUE, as "gateway_app";
        /// Namespaces of gateway Services. Empty: the Istio namespace of each cluster.
        gateway_namespaces: Vec<String> = Vec::new(), NAMESPACES;
        /// Clusters that are reached through another gateway Service, if this Service has an address.
        nlb_enabled_clusters: Vec<String> = Vec::new(), Check::described("cluster names"), as "nlb_enabled_clusters";
        /// `app` label of that gateway Service.
        nlb_ingress_label: String = "istio-ingressgateway-nlb".into(), LABEL_VALUE, as "nlb_ingress_label";
        /// Whether the pods of another cluster of the same network (label `topology.istio.io/network` of its Istio namespace) are endpoints themselves, without a gateway. Needs the right to list EndpointSlices.
        direct_endpoints: bool = false, Check::any();
        /// Most pods of one service in one cluster that are endpoints; a cluster with more is reached through its gateway, if it has one.
        direct_endpoints_max_pods: usize = 100, check!("a whole number from 1", |n: &usize| *n > 0);
        /// DNS domain of the clusters. A cluster may have another one: annotation `tradewind.io/cluster-domain` of its Istio namespace.
        cluster_domain: String = "cluster.local".into(), DOMAIN;
        /// Annotation or label of the pod template, and of policies, that names the partition of an identity (needs `enableSwAwareNsCaches`).
        identity_partition_key: String = "admiral.io/identityPartition".into(), KEY, as "identity_partition_key";
        /// Identities of API gateways: an identity that ends with a dot and one of these names is the gateway of a partition.
        gateway_asset_aliases: Vec<String> = vec!["Intuit.platform.servicesgateway.servicesgateway".into()],
            Check::described("identities"), as "gateway_asset_aliases";
    }

    "Policies" {
        /// Label of policies that names the identity.
        admiral_crd_identity_label: String = "identity".into(), KEY, as "admiral_crd_identity_label";
        /// Label of policies that ranks them.
        priority_key: String = "priority".into(), KEY, as "priority_key";
        /// How weighted policies are written.
        weights: Weights = Weights::Tiers, Check::any();
        /// Whether the first region of a service without a policy stays primary when others appear.
        enable_active_passive: bool = false, Check::any(), as "enable_active_passive";
        /// Whether a policy that moves all traffic to another region is written to the clusters of that region first.
        prevent_split_brain: bool = true, Check::any(), as "prevent_split_brain";
        /// Whether default outlier detection is disabled.
        disable_default_automatic_failover: bool = false, Check::any(), as "disable_default_automatic_failover";
    }

    "Published services" {
        /// Last part of every host: `<environment>.<identity>.<suffix>`.
        hostname_suffix: String = "global".into(), SUFFIX, as "hostname_suffix";
        /// Hours for which a host that a service lost is kept for it while another service asks for it. 0: the other one gets it at once.
        host_rest_hours: u32 = 24, check!("a whole number from 0 to 8760", |n: &u32| *n <= MAX_HOST_REST_HOURS);
        /// Which clusters get a service that no Dependency names.
        without_dependency: WithoutDependency = WithoutDependency::All, Check::any();
        /// Which ports of a Service are published.
        published_ports: PublishedPorts = PublishedPorts::All, Check::any();
        /// Whether localities of endpoints include the zone, if all nodes of a cluster (or the endpoint itself) have one. If false, only the region; endpoints have the label of their zone in any case.
        endpoint_zones: bool = true, Check::any();
        /// Whether subject names are written.
        enable_san: bool = false, Check::any(), as "enable_san";
        /// First part of subject names, after `spiffe://`.
        san_prefix: String = String::new(), SAN_PREFIX, as "san_prefix";
        /// Source of subject names.
        san_source: SanSource = SanSource::Identity, Check::any();
        /// Trust domain of clusters whose Istio namespace has no annotation tradewind.io/trust-domain.
        trust_domain: String = "cluster.local".into(), TRUST_DOMAIN;
        /// Whether gateway host names end with a dot.
        enable_absolute_fqdn: bool = true, Check::any(), as "enable_absolute_fqdn";
        /// Whether local host names end with a dot (needs `enableAbsoluteFqdn`).
        enable_absolute_fqdn_for_local_endpoints: bool = false, Check::any(),
            as "enable_absolute_fqdn_for_local_endpoints";
        /// Slow start of new endpoints, in seconds.
        default_warmup_duration_in_seconds: u32 = 45, Check::described("a whole number from 0"),
            as "default_warmup_duration_in_seconds";
        /// Requests per connection. 0: any number.
        max_requests_per_connection: i32 = 100, check!("a whole number from 0 to 2147483647", |n: &i32| *n >= 0),
            as "max_requests_per_connection";
    }

    "Addresses" {
        /// Source of virtual addresses.
        addresses: AddressSource = AddressSource::Tradewind, Check::any(), instead of "disable_ip_generation";
        /// Range of addresses.
        address_range: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 16), RANGE,
            instead of "se_ip_prefix";
        /// Name of Admiral's address ConfigMap in the sync namespace of the hub. Its addresses are used if it exists.
        se_address_configmap: String = "se-address-configmap".into(), OBJECT_NAME_OR_EMPTY, as "se_address_configmap";
    }

    "Sidecars and visibility" {
        /// How Sidecars of client namespaces are changed.
        sidecars: Sidecars = Sidecars::Off, Check::any(), as "workload_sidecar_update";
        /// Name of the Sidecars that Tradewind creates or extends.
        workload_sidecar_name: String = "default".into(), OBJECT_NAME_OR_EMPTY, as "workload_sidecar_name";
        /// Whether `exportTo` is restricted to the namespaces of dependents.
        enable_sw_aware_ns_caches: bool = false, Check::any(), as "enable_sw_aware_ns_caches";
        /// Parts of host names for which `exportTo` is restricted; `*` for all.
        exportto_identity_list: Vec<String> = vec!["*".into()], Check::described("texts"), as "exportto_identity_list";
        /// Most namespaces listed before `*` is written.
        exportto_max_namespaces: usize = 35, check!("a whole number from 1", |n: &usize| *n > 0),
            as "exportto_max_namespaces";
    }

    "Users' routes" {
        /// Which VirtualServices and DestinationRules of users are copied into the other clusters.
        propagate: Propagate = Propagate::Published, Check::any();
        /// Namespaces that may route hosts in all clusters besides the namespaces that run the host's service, as `namespace=suffix`. They may also send the requests for these hosts to any host with this suffix. If empty, routes for hosts that Tradewind does not publish are not copied.
        propagate_hosts: RouteGrants = RouteGrants::default(), ROUTE_GRANTS;
        /// Labels and annotations that these copies do not have, besides the tracking marks of deployment tools.
        ignore_labels_annotations_vs_copy_list: Vec<String> = vec![
            "applications.argoproj.io/app-name".into(),
            "app.kubernetes.io/instance".into(),
            "argocd.argoproj.io/tracking-id".into(),
        ], Check::described("label or annotation keys"), as "ignore_labels_annotations_vs_copy_list";
        /// Further suffixes under which services are reached, `<environment>.<identity>.<suffix>`, by an additional VirtualService for each ServiceEntry.
        additional_endpoint_suffixes: Vec<String> = Vec::new(), SUFFIXES, as "additional_endpoint_suffixes";
        /// Label keys of workloads (of the object itself, not of its pod template) whose services get these suffixes; `*` for all.
        additional_endpoint_label_filters: Vec<String> = Vec::new(), Check::described("label keys, or *"),
            as "additional_endpoint_label_filters";
    }

    "Routing" {
        /// Whether Tradewind reads RoutingPolicies and writes their EnvoyFilters into the Istio namespace.
        enable_routing_policy: bool = false, Check::any(), as "enable_routing_policy";
        /// Clusters that get these EnvoyFilters; `*` for all.
        routing_policy_enabled_clusters: Vec<String> = Vec::new(), Check::described("cluster names, or *"),
            as "routing_policy_enabled_clusters";
        /// Namespaces whose RoutingPolicies count for services that do not run there; `*` for all.
        routing_policy_namespaces: Vec<String> = Vec::new(), NAMESPACES_OR_ANY;
        /// Plugins that RoutingPolicies may name; a name with `*` at its end matches all names with this prefix.
        routing_policy_plugins: Vec<String> = vec!["*".into()], Check::described("names of plugins, or beginnings with * behind them");
        /// Directories of the proxy from which RoutingPolicies may load a plugin's file.
        routing_policy_paths: Vec<String> = vec!["/etc/istio/extensions".into()], DIRECTORIES;
        /// Istio versions of the proxies that get these EnvoyFilters, one EnvoyFilter for each; `any` for one EnvoyFilter for all proxies.
        envoy_filter_version: Vec<String> = vec!["any".into()], VERSIONS, as "envoy_filter_version";
        /// Additional line for the plugin's configuration.
        envoy_filter_additional_config: String = String::new(), Check::described("a text, or nothing"),
            as "envoy_filter_additional_config";
        /// Whether clusters that run a service route its hosts to their own Services by a VirtualService.
        enable_vs_routing_in_cluster: bool = false, Check::any(), as "enable_vs_routing_in_cluster";
        /// Services with routing inside these clusters.
        vs_routing_in_cluster_enabled_resources: Resources = Resources::default(), RESOURCES,
            as "vs_routing_in_cluster_enabled_resources";
        /// Services without routing inside these clusters; takes precedence over `vsRoutingInClusterEnabledResources`.
        vs_routing_in_cluster_disabled_resources: Resources = Resources::default(), RESOURCES,
            as "vs_routing_in_cluster_disabled_resources";
        /// Whether users' VirtualServices in the sync namespace are merged into these (needs `processVsCreatedBy`).
        enable_custom_vs_merge: bool = false, Check::any(), as "enable_custom_vs_merge";
        /// Value of the label `createdBy` of VirtualServices that are merged.
        process_vs_created_by: String = String::new(), LABEL_VALUE_OR_EMPTY, as "process_vs_created_by";
        /// Whether gateways route the hosts of a service to the Services of their own cluster by a VirtualService (needs `vsRoutingGateways`).
        enable_vs_routing: bool = false, Check::any(), as "enable_vs_routing";
        /// Clusters without routing at gateways.
        vs_routing_disabled_clusters: Vec<String> = Vec::new(), Check::described("cluster names"),
            as "vs_routing_disabled_clusters";
        /// Gateways with these routes, as `namespace/name`.
        vs_routing_gateways: Vec<String> = Vec::new(), Check::described("gateways, such as istio-system/passthrough-gateway"),
            as "vs_routing_gateways";
        /// Namespaces of these gateways. Empty: the Istio namespace of each cluster.
        ingress_vs_export_to_namespaces: Vec<String> = vec!["istio-system".into()], Check::described("namespace names"),
            as "ingress_vs_export_to_namespaces";
        /// How the DestinationRules of these VirtualServices balance requests among the pods of a Service.
        ingress_lb_policy: LbPolicy = LbPolicy::RoundRobin, Check::any(), as "ingress_lb_policy";
        /// Clusters where new pods start slowly under these rules.
        vs_routing_slow_start_enabled_clusters: Vec<String> = Vec::new(), Check::described("cluster names"),
            as "vs_routing_slow_start_enabled_clusters";
    }

    "Writing" {
        /// Plan but never write.
        read_only: bool = false, Check::any(), instead of "admiral_state_checker_name";
        /// Identities whose objects remain unchanged, in all environments. A TradewindConfig does the same without a restart.
        excluded_identity_list: Vec<String> = Vec::new(), Check::described("identities"), as "excluded_identity_list";
        /// Log what would be written, and never write.
        dry_run: bool = false, Check::any();
        /// Take over the objects that Admiral wrote (annotation `app.kubernetes.io/created-by: admiral`).
        adopt_admiral: bool = false, Check::any();
        /// Hand-written ServiceEntries and DestinationRules for published hosts that are adopted in place, as `namespace` or `namespace/name`: as if each had the annotation `tradewind.io/adopt: "true"`. An object with that annotation is adopted without this setting, and one with `"false"` never.
        adopt: Vec<String> = Vec::new(), ADOPT;
        /// Largest share of a cluster's objects that one pass may remove, in percent. More is withheld until an operator releases it.
        max_removal_percent: u32 = 25, check!("a whole number from 0 to 100", |n: &u32| *n <= 100);
        /// Removals per pass that are always allowed, whatever their share.
        max_removal_floor: usize = 20, Check::described("a whole number from 0");
        /// Concurrent writes per cluster.
        write_concurrency: usize = 32,
            check!("a whole number from 1 to 1000", |n: &usize| (1..=MAX_WRITE_CONCURRENCY).contains(n)),
            instead of "dependent_cluster_worker_concurrency";
    }

    "Process" {
        /// Address of views, the REST routes and health. Empty: port 8080 of all interfaces in a pod, of the loopback interface elsewhere.
        listen_address: Option<SocketAddr> = None, LISTEN_ADDRESS;
        /// Address of health alone, which clients of the views cannot keep busy. Empty: in a pod, port 8081 of all interfaces (8082 or 8083 if another setting has that port); elsewhere none, and health is only under `listenAddress`.
        health_address: Option<SocketAddr> = None, LISTEN_ADDRESS;
        /// `Host` headers that views accept, besides `localhost` and IP addresses; `*` for any. Others are refused, because a web page can resolve its own name to the controller (DNS rebinding). The chart adds the names of its Service.
        allowed_hosts: Vec<String> = Vec::new(), HOST_NAMES;
        /// Most memory of responses that are being sent to clients of the views, in MiB. Responses beyond it are refused with 503.
        response_memory_mib: usize = 32, check!("a whole number from 1 to 4000", |n: &usize| (1..=4000).contains(n));
        /// Whether removals that are withheld can be released by `POST /api/clusters/NAME/release-removals?id=ID` too: with a token of the hub for the audience `tradewind.io`, whose user may patch the cluster's Secret. Needs the right to create TokenReviews and SubjectAccessReviews on the hub.
        release_over_http: bool = false, Check::any();
        /// Address of metrics.
        metrics_address: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6900),
            Check::described("an IP address and a port, such as 0.0.0.0:6900"), instead of "metrics";
        /// Level of logs. Admiral's numbers 0 to 6 are accepted too.
        log_level: LogLevel = LogLevel::Info, Check::any(), as "log_level";
        /// Format of log lines.
        log_format: LogFormat = LogFormat::Text, Check::any();
        /// Longest time between the signal to stop and the exit, in seconds, to finish writes in progress.
        graceful_stop_seconds: u32 = 20,
            check!("a whole number from 0 to 3600", |n: &u32| *n <= MAX_GRACEFUL_STOP_SECONDS);
    }
}

impl Setting {
    /// What it may be, in words.
    pub fn allowed(&self) -> String {
        match (self.words, self.form) {
            ([], Form::Switch) => "true or false".to_owned(),
            ([], Form::Many) => format!("a list of {}", self.allowed),
            ([], Form::One) => self.allowed.to_owned(),
            (words, _) => format!("one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The setting of a field.
    pub fn of(field: &str) -> &'static Self {
        TABLE.iter().find(|setting| setting.field == field).expect("rules name fields of the table; a test holds it")
    }
}

fn aliases(field: &str, reference: Option<&str>) -> Vec<String> {
    let names = reference.into_iter().flat_map(|name| [name.to_owned(), name.replace('_', "-")]);
    let flag = field.replace('_', "-");
    names.filter(|name| *name != flag).collect()
}

fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        key + &head.to_ascii_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_allowed_and_reads_back_as_it_is_shown() {
        let defaults = Settings::default();
        for setting in &*TABLE {
            let shown = (setting.show)(&defaults);
            let items: Vec<&str> = match setting.form {
                Form::Many => shown.split_terminator(',').collect(),
                Form::One | Form::Switch => vec![&shown],
            };
            let mut read = defaults.clone();
            assert_eq!((setting.set)(&mut read, &items), Ok(()), "{}", setting.key);
            assert_eq!(read, defaults, "{}", setting.key);
            assert!(!setting.allowed().is_empty(), "{}", setting.key);
        }
    }

    #[test]
    fn names_are_derived_and_unique() {
        let suffix = Setting::of("hostname_suffix");
        assert_eq!(
            (&*suffix.key, &*suffix.flag, &*suffix.variable),
            ("hostnameSuffix", "hostname-suffix", "TRADEWIND_HOSTNAME_SUFFIX")
        );
        let flags: BTreeSet<_> = TABLE.iter().map(|setting| &setting.flag).collect();
        assert_eq!(flags.len(), TABLE.len());
    }
}
