//! The DestinationRule of a host (Admiral, docs/admiral-behaviour.md#destinationrule-fields, with fallbacks).

use std::collections::BTreeMap;

use super::{metadata, service_entry::fallback_region};
use crate::{
    config::Settings,
    istio::{
        DestinationRule, DestinationRuleSpec, Distribute, Failover, LoadBalancer, LocalityLbSetting, OutlierDetection,
        Tls, TrafficPolicy, keys,
    },
    model::Kind,
    plan::decide::{Balance, ClusterDecision, Ejection, HostDecision, LocalityPreference, ServiceDecision},
};

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    host: &HostDecision,
    settings: &Settings,
) -> DestinationRule {
    let adopted = host.adopted.as_ref().and_then(|pair| pair.rule.as_ref());
    let own_name = host.host.destination_rule_name(host.is_default);
    let mut metadata = metadata::of_host(service, host, adopted, own_name, settings);
    let connections = &service.connections;
    let in_force = connections.in_force.iter().filter_map(|path| Some((annotation_of(path.kind.observed()?)?, path)));
    metadata.annotations.extend(in_force.map(|(key, path)| (key.to_owned(), path.text())));
    DestinationRule {
        metadata,
        spec: DestinationRuleSpec {
            host: host.host.to_string(),
            traffic_policy: TrafficPolicy {
                load_balancer: LoadBalancer {
                    simple: match host.balance {
                        Balance::RoundRobin => "ROUND_ROBIN".into(),
                        Balance::LeastRequest => "LEAST_REQUEST".into(),
                    },
                    warmup_duration_secs: connections.warmup.clone(),
                    locality_lb_setting: locality(&host.locality),
                },
                connection_pool: Some(Box::new(connections.pool.clone())),
                outlier_detection: outlier_detection(host.ejection),
                tls: Tls { mode: "ISTIO_MUTUAL".into() },
                tunnel: connections.tunnel.clone(),
            },
            export_to: cluster.visible_in.clone(),
        },
    }
}

/// The annotation that names the policy of a kind that is in force.
fn annotation_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::OutlierDetection => Some(keys::OUTLIER_DETECTION),
        Kind::ClientConnectionConfig => Some(keys::CLIENT_CONNECTION_CONFIG),
        Kind::TrafficConfig => Some(keys::TRAFFIC_CONFIG),
        _ => None,
    }
}

/// Tiers always name a fallback: without `failover` or `distribute` Istio leaves locality weights unused. A name that no
/// endpoint has is valid and changes nothing.
fn locality(preference: &LocalityPreference) -> Option<LocalityLbSetting> {
    match preference {
        LocalityPreference::Unset => None,
        LocalityPreference::Nearest => Some(LocalityLbSetting::default()),
        LocalityPreference::Tiers { client_region, first_fallback } => {
            let to = first_fallback.as_ref().map_or_else(|| fallback_region(client_region), ToString::to_string);
            Some(LocalityLbSetting {
                enabled: Some(true),
                distribute: Vec::new(),
                failover: vec![Failover { from: client_region.to_string(), to }],
            })
        }
        LocalityPreference::Shares { clients, percent } => {
            let to: BTreeMap<String, u32> =
                percent.iter().map(|(region, percent)| (region.to_string(), *percent)).collect();
            let mut from: Vec<String> = match clients {
                None => vec!["*".to_owned()],
                Some(regions) => regions.iter().map(|region| format!("{region}/*")).collect(),
            };
            from.sort();
            Some(LocalityLbSetting {
                enabled: None,
                distribute: from.into_iter().map(|from| Distribute { from, to: to.clone() }).collect(),
                failover: Vec::new(),
            })
        }
    }
}

fn outlier_detection(ejection: Ejection) -> Option<OutlierDetection> {
    match ejection {
        Ejection::Unset => None,
        Ejection::Never => Some(OutlierDetection {
            consecutive_gateway_errors: Some(0),
            consecutive_5xx_errors: Some(0),
            ..OutlierDetection::default()
        }),
        Ejection::AfterErrors { errors, base_seconds, interval_seconds, max_percent } => Some(OutlierDetection {
            base_ejection_time: Some(format!("{base_seconds}s")),
            consecutive_gateway_errors: Some(errors),
            consecutive_5xx_errors: Some(0),
            interval: Some(format!("{interval_seconds}s")),
            max_ejection_percent: Some(max_percent),
        }),
    }
}
