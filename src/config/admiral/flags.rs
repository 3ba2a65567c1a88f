//! Every flag of Admiral and its counterpart in Tradewind (Admiral, docs/admiral-behaviour.md#flags). No other place
//! defines them.
//!
//! A flag that is named in a row of the table of settings (`as "flag"`) needs nothing here but its type and default: it
//! becomes that setting by itself. The rest of a row counts only where there is no such setting.

use super::{
    mapped,
    words::Takes::{self, Duration, Integer, List, Map, Switch, Text},
};

/// A flag of Admiral.
pub(super) struct Flag {
    /// Name, without the dashes.
    pub name: &'static str,
    /// Its one letter, where it has one.
    pub letter: Option<char>,
    /// What it takes.
    pub takes: Takes,
    /// Its value when it is not given, as on the command line.
    pub default: &'static str,
    /// What becomes of it where no setting names it.
    pub otherwise: Otherwise,
}

/// What becomes of a flag that no setting names.
#[derive(Clone, Copy)]
pub(super) enum Otherwise {
    /// A setting names it; a test holds that.
    Setting,
    /// It becomes other settings. Wins over a setting that names it.
    Mapped(&'static str, mapped::Mapping),
    /// What it switches happens anyway, or is not needed.
    NotNeeded(&'static str),
    /// It has no effect in Admiral either.
    NoEffect,
    /// It belongs to something that Tradewind does not have, on purpose.
    Off(&'static str),
}
use Otherwise::{Mapped, NoEffect, NotNeeded, Off, Setting};

const fn flag(name: &'static str, takes: Takes, default: &'static str, otherwise: Otherwise) -> Flag {
    Flag { name, letter: None, takes, default, otherwise }
}

const fn short(letter: char, flag: Flag) -> Flag {
    Flag { letter: Some(letter), ..flag }
}

const LOGS: Otherwise = NotNeeded("logs go to standard error; logFormat: json suits log stores");
const SECRETS: Otherwise = NotNeeded("the labels of Admiral and of Istio are both always read");
const DYNAMO: Otherwise = Off("it belongs to the DynamoDB stores of Admiral, which Tradewind does not have");
const OPERATOR: Otherwise = Off("it belongs to the operator and state syncer modes, which Tradewind does not have");
const NO_RESYNC: Otherwise = NotNeeded("changes take effect when they happen; there is neither resync nor warm-up");
const ONLY_CHANGES: Otherwise = NotNeeded("only differences are ever written");
const AT_ONCE: Otherwise = NotNeeded("Dependencies and new clients always take effect at once");
const CACHED_SIDECARS: Otherwise =
    Off("it widens Sidecars to whole namespaces; sidecars: merge lists the Services that are needed");

/// All of them, in the order of Admiral's help.
pub(super) const FLAGS: &[Flag] = &[
    flag("log_level", Integer, "4", Setting),
    flag("log_to_file", Switch, "false", LOGS),
    flag("log_file_path", Text, "/app/logs/admiral.log", LOGS),
    flag("log_file_size_in_MBs", Integer, "200", LOGS),
    flag("kube_config", Text, "", Setting),
    flag(
        "argo_rollouts",
        Switch,
        "true",
        Mapped("`workloadKinds`; `false` leaves out `Rollout`", mapped::argo_rollouts),
    ),
    flag("secret_filter_tags", Text, "admiral/sync", SECRETS),
    flag("secret_namespace", Text, "admiral", Setting),
    flag("dependency_namespace", Text, "admiral", Setting),
    flag("sync_namespace", Text, "admiral-sync", Setting),
    flag("sync_period", Duration, "5m", NO_RESYNC),
    flag("se_dr_sync_period", Duration, "5m", NO_RESYNC),
    flag("enable_san", Switch, "false", Setting),
    flag("san_prefix", Text, "", Setting),
    flag("secret_resolver", Text, "default", SECRETS),
    flag("secret_resolver_config_path", Text, "/etc/config/resolver_config.yaml", DYNAMO),
    flag("deployment_annotation", Text, "sidecar.istio.io/inject", Setting),
    flag("subset_label", Text, "subset", NoEffect),
    flag("namespace_injected_label", Text, "istio-injection", NoEffect),
    flag("namespace_injected_value", Text, "enabled", NoEffect),
    flag("admiral_ignore_label", Text, "admiral-ignore", Setting),
    flag("priority_key", Text, "priority", Setting),
    flag("hostname_suffix", Text, "global", Setting),
    flag("workload_identity_key", Text, "identity", Setting),
    flag("admiral_crd_identity_label", Text, "identity", Setting),
    flag(
        "workload_sidecar_update",
        Text,
        "disabled",
        Mapped("`enabled` is `sidecars: merge`, anything else is `off`", mapped::sidecars),
    ),
    flag("workload_sidecar_name", Text, "default", Setting),
    flag("env_key", Text, "admiral.io/env", Setting),
    flag("gateway_app", Text, "istio-ingressgateway", Setting),
    flag("metrics", Switch, "true", NotNeeded("metrics are always served, at metricsAddress")),
    flag(
        "admiral_state_checker_name",
        Text,
        "NoOPStateChecker",
        Mapped("a lease has no counterpart; `readOnly` is a fixed setting", mapped::state_checker),
    ),
    flag("dr_state_store_config_path", Text, "", DYNAMO),
    flag("se_ip_prefix", Text, "240.0", Mapped("`A.B` is `addressRange: A.B.0.0/16`", mapped::address_range)),
    flag(
        "envoy_filter_version",
        Text,
        "1.17,1.20",
        Mapped("`envoyFilterVersion`; the default counts only with `enable_routing_policy`", mapped::filter_version),
    ),
    flag("deprecated_envoy_filter_version", Text, "", NoEffect),
    flag("envoy_filter_additional_config", Text, "", Setting),
    flag("enable_routing_policy", Switch, "false", Setting),
    flag("routing_policy_enabled_clusters", List, "", Setting),
    flag("excluded_identity_list", List, "", Setting),
    flag("enable_diff_check", Switch, "true", ONLY_CHANGES),
    flag("additional_endpoint_suffixes", List, "", Setting),
    flag("additional_endpoint_label_filters", List, "", Setting),
    flag("enable_workload_data_storage", Switch, "false", DYNAMO),
    flag("disable_default_automatic_failover", Switch, "false", Setting),
    flag("disable_ip_generation", Switch, "false", Mapped("`true` is `addresses: istio`", mapped::addresses)),
    flag("identity_partition_key", Text, "admiral.io/identityPartition", Setting),
    flag("exportto_identity_list", List, "*", Setting),
    flag("exportto_max_namespaces", Integer, "35", Setting),
    flag("dns_retries", Integer, "3", NoEffect),
    flag("dns_timeout_ms", Integer, "1000", NoEffect),
    flag("dns_config_file", Text, "/etc/resolv.conf", NoEffect),
    flag("enable_proxy_envoy_filter", Switch, "false", NoEffect),
    flag("enable_dependency_processing", Switch, "false", AT_ONCE),
    flag("se_address_configmap", Text, "se-address-configmap", Setting),
    flag("enable_outlierdetection", Switch, "false", NoEffect),
    flag("deployment_or_rollout_worker_concurrency", Integer, "5", NotNeeded("planning is one task")),
    flag(
        "dependent_cluster_worker_concurrency",
        Integer,
        "5",
        NotNeeded("writes are bounded per cluster, not per object: writeConcurrency"),
    ),
    flag("dependency_warmup_multiplier", Integer, "2", NO_RESYNC),
    flag("max_requests_per_connection", Integer, "100", Setting),
    flag("enable_serviceentry_cache", Switch, "false", ONLY_CHANGES),
    flag("enable_destinationrule_cache", Switch, "false", ONLY_CHANGES),
    flag("enable_absolute_fqdn", Switch, "true", Setting),
    flag(
        "enable_absolute_fqdn_for_local_endpoints",
        Switch,
        "false",
        Mapped("`enableAbsoluteFqdnForLocalEndpoints`, where `enable_absolute_fqdn` is on too", mapped::local_fqdn),
    ),
    flag("alpha_identity_list", List, "", NoEffect),
    flag(
        "enable_client_connection_config_processing",
        Switch,
        "false",
        NotNeeded("a ClientConnectionConfig takes effect wherever its kind is installed"),
    ),
    flag("gateway_asset_aliases", List, "Intuit.platform.servicesgateway.servicesgateway", Setting),
    flag("enable_active_passive", Switch, "false", Setting),
    flag("enable_sw_aware_ns_caches", Switch, "false", Setting),
    flag("default_warmup_duration_in_seconds", Integer, "45", Setting),
    flag("enable_generation_check", Switch, "true", ONLY_CHANGES),
    flag("enable_replica_count_check", Switch, "true", ONLY_CHANGES),
    flag("client_initiated_processing_enabled_for_controllers", Switch, "false", AT_ONCE),
    flag("client_initiated_processing_enabled_for_dynamic_config", Switch, "false", AT_ONCE),
    flag("initiate_client_initiated_processing_for", List, "", AT_ONCE),
    flag("prevent_split_brain", Switch, "true", Setting),
    flag(
        "ignore_labels_annotations_vs_copy_list",
        List,
        "applications.argoproj.io/app-name,app.kubernetes.io/instance,argocd.argoproj.io/tracking-id",
        Setting,
    ),
    flag("admiral_operator_mode", Switch, "false", OPERATOR),
    flag("admiral_state_syncer_mode", Switch, "false", OPERATOR),
    flag("operator_sync_namespace", Text, "admiral-operator-sync", OPERATOR),
    flag("shard_identity_label_key", Text, "admiral.io/shardIdentity", OPERATOR),
    flag("shard_identity_value", Text, "", OPERATOR),
    flag("operator_identity_value", Text, "", OPERATOR),
    flag("operator_secret_filter_tags", Text, "admiral/syncoperator", OPERATOR),
    flag("registry_client_host", Text, "https://registry.com", OPERATOR),
    flag("registry_client_app_id", Text, "admiral", OPERATOR),
    flag("registry_client_app_secret", Text, "secrets/admiral/credentials/preprod", OPERATOR),
    flag("registry_client_base_uri", Text, "v1", OPERATOR),
    flag("admiral_app_env", Text, "preProd", OPERATOR),
    flag("admiral_state_syncer_clusters", List, "", OPERATOR),
    flag(
        "enable_vs_routing",
        Switch,
        "false",
        Mapped("`enableVsRouting`, where `vs_routing_gateways` names some", mapped::ingress_routing),
    ),
    flag("vs_routing_disabled_clusters", List, "", Setting),
    flag("vs_routing_slow_start_enabled_clusters", List, "", Setting),
    flag("vs_routing_gateways", List, "", Setting),
    flag("ingress_vs_export_to_namespaces", List, "istio-system", Setting),
    flag("ingress_lb_policy", Text, "round_robin", Setting),
    flag("enable_vs_routing_in_cluster", Switch, "false", Setting),
    short('e', flag("vs_routing_in_cluster_enabled_resources", Map, "", Setting)),
    short('d', flag("vs_routing_in_cluster_disabled_resources", Map, "", Setting)),
    flag(
        "enable_custom_vs_merge",
        Switch,
        "false",
        Mapped("`enableCustomVsMerge`, where `process_vs_created_by` is given too", mapped::custom_merge),
    ),
    flag("process_vs_created_by", Text, "", Setting),
    flag("enable_sidecar_caching", Switch, "false", CACHED_SIDECARS),
    flag("max_sidecar_egress_hosts_limit_to_cache", Integer, "100", CACHED_SIDECARS),
    flag("enable_client_discovery", Switch, "true", Mapped("`clientKinds`; `false` is an empty list", mapped::clients)),
    flag("client_discovery_clusters_for_jobs", List, "", Setting),
    flag("client_discovery_clusters_for_numaflow", List, "", Setting),
    flag("enable_dynamic_config", Switch, "true", DYNAMO),
    flag("dynamic_config_dynamodb_table_name", Text, "dynamic-config-dev", DYNAMO),
    flag("dynamic_sync_period", Integer, "10", DYNAMO),
    flag("nlb_enabled_clusters", List, "", Setting),
    flag("nlb_ingress_label", Text, "istio-ingressgateway-nlb", Setting),
    flag("nlb_enabled_identity_list", List, "", NoEffect),
    flag("clb_enabled_clusters", List, "", NoEffect),
    flag(
        "enable_traffic_config_processing_for_slow_start",
        Switch,
        "false",
        NotNeeded("a TrafficConfig takes effect wherever its kind is installed"),
    ),
];

/// The flag of a name.
pub(super) fn named(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}
