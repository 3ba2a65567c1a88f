//! What settings must be together.

use std::net::SocketAddr;

use super::{ListenAddresses, Sidecars, table::Settings};

/// Two or more settings that contradict each other.
pub(super) struct SettingsRule {
    /// Fields of the settings it joins.
    pub fields: &'static [&'static str],
    /// Why they exclude each other, and what to do.
    pub why: &'static str,
    /// Tells whether they contradict.
    pub broken: fn(&Settings) -> bool,
}

/// All rules.
pub(super) const RULES: &[SettingsRule] = &[
    SettingsRule {
        fields: &["read_only", "dry_run"],
        why: "set one of them: both plan and never write, and the second also logs what it would have written",
        broken: |s| s.read_only && s.dry_run,
    },
    SettingsRule {
        fields: &["enable_absolute_fqdn_for_local_endpoints", "enable_absolute_fqdn"],
        why: "the first needs the second",
        broken: |s| s.enable_absolute_fqdn_for_local_endpoints && !s.enable_absolute_fqdn,
    },
    SettingsRule {
        fields: &["sidecars", "workload_sidecar_name"],
        why: "a Sidecar of our own needs a name",
        broken: |s| s.sidecars == Sidecars::Own && s.workload_sidecar_name.is_empty(),
    },
    SettingsRule {
        fields: &["kubeconfig_context", "kubeconfig"],
        why: "a context needs the file that holds it",
        broken: |s| s.kubeconfig_context.is_some() && s.kubeconfig.is_none(),
    },
    SettingsRule {
        fields: &["listen_address", "metrics_address", "health_address"],
        why: "two servers cannot share one port of one address",
        broken: |s| {
            let ListenAddresses { main, metrics, health } = s.addresses(true);
            let pairs = [(Some(main), Some(metrics)), (Some(main), health), (Some(metrics), health)];
            pairs.iter().any(|pair| matches!(pair, (Some(one), Some(other)) if overlap(one, other)))
        },
    },
    SettingsRule {
        fields: &[
            "workload_identity_key",
            "env_key",
            "deployment_annotation",
            "admiral_ignore_label",
            "identity_partition_key",
        ],
        why: "one label or annotation of a pod template cannot mean two things",
        broken: |s| {
            let keys = [&s.workload_identity_key, &s.env_key, &s.deployment_annotation, &s.admiral_ignore_label];
            repeated(keys) || keys.contains(&&s.identity_partition_key)
        },
    },
    SettingsRule {
        fields: &["hostname_suffix", "cluster_domain"],
        why: "hosts would hide the clusters' own Services",
        broken: |s| {
            let below = s.hostname_suffix.strip_suffix(&s.cluster_domain);
            below.is_some_and(|parts| parts.is_empty() || parts.ends_with('.'))
        },
    },
    SettingsRule {
        fields: &["gateway_app", "nlb_ingress_label"],
        why: "one label cannot name both gateways of a cluster",
        broken: |s| !s.nlb_enabled_clusters.is_empty() && s.gateway_app == s.nlb_ingress_label,
    },
    SettingsRule {
        fields: &["admiral_crd_identity_label", "env_key", "priority_key"],
        why: "one label of a policy cannot mean two things",
        broken: |s| repeated([&s.admiral_crd_identity_label, &s.env_key, &s.priority_key]),
    },
    SettingsRule {
        fields: &["additional_endpoint_suffixes", "hostname_suffix"],
        why: "an additional suffix that is the main one adds nothing, and its VirtualServices would hide the services",
        broken: |s| s.additional_endpoint_suffixes.contains(&s.hostname_suffix),
    },
    SettingsRule {
        fields: &["enable_vs_routing", "vs_routing_gateways"],
        why: "routes for gateways need the gateways' names",
        broken: |s| s.enable_vs_routing && s.vs_routing_gateways.is_empty(),
    },
    SettingsRule {
        fields: &["enable_custom_vs_merge", "process_vs_created_by"],
        why: "what is merged is told by who created it",
        broken: |s| s.enable_custom_vs_merge && s.process_vs_created_by.is_empty(),
    },
];

fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let is_shared = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    is_shared && one.port() == other.port() && one.port() != 0
}

fn repeated<const N: usize>(keys: [&String; N]) -> bool {
    keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::Setting;

    fn broken(change: impl FnOnce(&mut Settings)) -> Vec<&'static [&'static str]> {
        let mut settings = Settings::default();
        change(&mut settings);
        RULES.iter().filter(|rule| (rule.broken)(&settings)).map(|rule| rule.fields).collect()
    }

    #[test]
    fn rules_name_settings_and_the_defaults_violate_none() {
        RULES.iter().flat_map(|rule| rule.fields).for_each(|field| assert_eq!(Setting::of(field).field, *field));
        assert!(broken(|_| ()).is_empty());
    }

    #[test]
    fn each_contradiction_breaks_its_rule_alone() {
        let expected: Vec<_> = RULES.iter().map(|rule| vec![rule.fields]).collect();
        let found = [
            broken(|s| (s.read_only, s.dry_run) = (true, true)),
            broken(|s| (s.enable_absolute_fqdn_for_local_endpoints, s.enable_absolute_fqdn) = (true, false)),
            broken(|s| (s.sidecars, s.workload_sidecar_name) = (Sidecars::Own, String::new())),
            broken(|s| s.kubeconfig_context = Some("hub".into())),
            broken(|s| s.listen_address = Some(s.metrics_address)),
            broken(|s| s.deployment_annotation = s.workload_identity_key.clone()),
            broken(|s| s.hostname_suffix = format!("mesh.{}", s.cluster_domain)),
            broken(|s| {
                s.nlb_enabled_clusters = vec!["east".into()];
                s.nlb_ingress_label = s.gateway_app.clone();
            }),
            broken(|s| s.priority_key = s.admiral_crd_identity_label.clone()),
            broken(|s| s.additional_endpoint_suffixes = vec!["mesh.example".into(), s.hostname_suffix.clone()]),
            broken(|s| s.enable_vs_routing = true),
            broken(|s| s.enable_custom_vs_merge = true),
        ];
        assert_eq!(found.to_vec(), expected);
    }

    #[test]
    fn an_address_of_all_interfaces_overlaps_every_other() {
        let refused = |listen: &str, metrics: &str| {
            let addresses = (listen.parse().ok(), metrics.parse().unwrap());
            !broken(|s| (s.listen_address, s.metrics_address) = addresses).is_empty()
        };
        let health = |address: &str| !broken(|s| s.health_address = address.parse().ok()).is_empty();
        assert!(health("0.0.0.0:6900") && health("127.0.0.1:8080") && !health("0.0.0.0:8081"));
        assert!(refused("0.0.0.0:8080", "10.0.0.1:8080") && refused("10.0.0.1:8080", "[::]:8080"));
        assert!(!refused("10.0.0.1:8080", "10.0.0.2:8080") && !refused("0.0.0.0:8080", "[::]:8081"));
    }

    #[test]
    fn similar_settings_without_contradiction_are_accepted() {
        assert!(broken(|s| s.workload_sidecar_name = String::new()).is_empty());
        assert!(broken(|s| s.sidecars = Sidecars::Own).is_empty());
        let any_port = |s: &mut Settings| {
            s.listen_address = "0.0.0.0:0".parse().ok();
            s.health_address = s.listen_address;
            s.metrics_address.set_port(0);
        };
        assert!(broken(any_port).is_empty());
    }
}
