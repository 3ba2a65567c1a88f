//! The DestinationRule of a host (Admiral, docs/admiral-behaviour.md#destinationrule-fields, with fallbacks).

use std::collections::BTreeMap;

use super::{
    connection_policies::ConnectionPolicies,
    endpoints::{fallback_region, tier_region},
    hosts::WantedHost,
    service_entry::Common,
    weights::{Shares, Weighted},
};
use crate::{
    api::{OutlierConfig, PolicyOutlierDetection, TrafficPolicyEntry},
    config::Settings,
    istio::{
        DestinationRule, DestinationRuleSpec, Distribute, Endpoint, Failover, LoadBalancer, LocalityLbSetting,
        OutlierDetection, Tls, TrafficPolicy, keys,
    },
    model::Kind,
    plan::input::{ServedCluster, Target},
};

/// Admiral's defaults (Admiral, docs/admiral-behaviour.md#outlier-detection-defaults).
const BASE_EJECTION_SECONDS: i64 = 300;
const CONSECUTIVE_GATEWAY_ERRORS: u32 = 50;
const INTERVAL_SECONDS: i64 = 60;
/// With a single endpoint, ejecting all of them would leave none.
const MAX_EJECTION_PERCENT_OF_ONE: u32 = 33;
const MAX_EJECTION_PERCENT: u32 = 100;

pub(super) fn build(
    common: &Common<'_>,
    wanted: &WantedHost,
    target: &Target,
    shares: &Shares,
    endpoints: &[Endpoint],
    shaping: &ConnectionPolicies,
    settings: &Settings,
) -> DestinationRule {
    let adopted = common.adopted.and_then(|pair| pair.rule.as_ref());
    let own_name = common.host.destination_rule_name(wanted.is_default);
    let mut metadata = common.metadata_of(adopted, own_name, settings);
    metadata.annotations.extend(shaping.annotations.clone());
    DestinationRule {
        metadata,
        spec: DestinationRuleSpec {
            host: common.host.to_string(),
            traffic_policy: TrafficPolicy {
                load_balancer: LoadBalancer {
                    simple: if is_divided(endpoints) { "ROUND_ROBIN" } else { "LEAST_REQUEST" }.into(),
                    warmup_duration_secs: shaping.warmup.clone(),
                    locality_lb_setting: locality(target, shares, settings),
                },
                connection_pool: Some(Box::new(shaping.pool.clone())),
                outlier_detection: outlier_detection(
                    shaping.outliers,
                    wanted.entry.as_ref(),
                    endpoints,
                    target,
                    settings,
                ),
                tls: Tls { mode: "ISTIO_MUTUAL".into() },
                tunnel: shaping.tunnel.clone(),
            },
            export_to: common.export_to.to_vec(),
        },
    }
}

/// Whether a Rollout divides its traffic by weights. Between weighted endpoints of one locality `LEAST_REQUEST` evens out the
/// more, the more requests are under way: 70/30 becomes 61/39 with four at a time. Its Services count at 50/50, too, so that
/// a step on the way changes the weights alone.
fn is_divided(endpoints: &[Endpoint]) -> bool {
    let is_of_rollout = |endpoint: &&Endpoint| {
        endpoint.weight > 0
            && endpoint.labels.get(keys::ENDPOINT_TYPE).is_some_and(|of| of == Kind::Rollout.endpoint_type())
    };
    let is_service =
        |endpoint: &&Endpoint| is_of_rollout(endpoint) && !endpoint.labels.contains_key(keys::ENDPOINT_DIRECT);
    endpoints.iter().filter(is_of_rollout).any(|one| {
        let mut beside =
            endpoints.iter().filter(|other| other.locality == one.locality && other.address != one.address);
        beside.any(|other| other.weight != one.weight || (is_service(&one) && is_service(&other)))
    })
}

fn locality(target: &Target, shares: &Shares, settings: &Settings) -> Option<LocalityLbSetting> {
    if target.regions.is_empty() {
        return None;
    }
    match shares {
        Shares::Nothing => None,
        Shares::Nearest => Some(LocalityLbSetting::default()),
        Shares::Weighted(weighted) => Some(match tier_region(target, settings) {
            Some(region) => tiers(weighted, region),
            None => distribute(weighted, target),
        }),
    }
}

/// Always names a fallback: without `failover` or `distribute` Istio leaves locality weights unused. A name that no
/// endpoint has is valid and changes nothing.
fn tiers(weighted: &Weighted, client_region: &str) -> LocalityLbSetting {
    let to = match weighted.fallbacks.first() {
        Some(first) if **first != *client_region => first.to_string(),
        _ => fallback_region(client_region),
    };
    LocalityLbSetting {
        enabled: Some(true),
        distribute: Vec::new(),
        failover: vec![Failover { from: client_region.to_owned(), to }],
    }
}

fn distribute(weighted: &Weighted, target: &Target) -> LocalityLbSetting {
    let to: BTreeMap<String, u32> =
        weighted.listed.iter().map(|(region, percent)| (region.to_string(), *percent)).collect();
    let mut from: Vec<String> = match weighted.everywhere {
        true => vec!["*".to_owned()],
        false => target.regions.iter().map(|region| format!("{region}/*")).collect(),
    };
    from.sort();
    LocalityLbSetting {
        enabled: None,
        distribute: from.into_iter().map(|from| Distribute { from, to: to.clone() }).collect(),
        failover: Vec::new(),
    }
}

/// The values of an OutlierDetection count as given, 0 errors included, before those of the GlobalTrafficPolicy, where
/// 0 means the default (Admiral, docs/admiral-behaviour.md#outlier-detection-defaults).
fn outlier_detection(
    given: Option<OutlierConfig>,
    entry: Option<&TrafficPolicyEntry>,
    endpoints: &[Endpoint],
    target: &Target,
    settings: &Settings,
) -> Option<OutlierDetection> {
    let of_policy = entry.and_then(|entry| entry.outlier_detection);
    if settings.disable_default_automatic_failover && given.is_none() && of_policy.is_none() {
        return Some(OutlierDetection {
            consecutive_gateway_errors: Some(0),
            consecutive_5xx_errors: Some(0),
            ..OutlierDetection::default()
        });
    }
    let max_ejection_percent = match endpoints {
        [one] if is_of(one, target) || one.address.parse::<std::net::IpAddr>().is_ok() => return None,
        [_] => MAX_EJECTION_PERCENT_OF_ONE,
        _ => MAX_EJECTION_PERCENT,
    };
    let (base_ejection_time, interval, errors) = match given {
        Some(given) => (given.base_ejection_time, given.interval, given.consecutive_gateway_errors),
        None => {
            let PolicyOutlierDetection { base_ejection_time, interval, consecutive_gateway_errors: errors } =
                of_policy.unwrap_or_default();
            (base_ejection_time, interval, if errors > 0 { errors } else { CONSECUTIVE_GATEWAY_ERRORS })
        }
    };
    let or_default = |seconds: i64, default: i64| format!("{}s", if seconds > 0 { seconds } else { default });
    Some(OutlierDetection {
        base_ejection_time: Some(or_default(base_ejection_time, BASE_EJECTION_SECONDS)),
        consecutive_gateway_errors: Some(errors),
        consecutive_5xx_errors: Some(0),
        interval: Some(or_default(interval, INTERVAL_SECONDS)),
        max_ejection_percent: Some(max_ejection_percent),
    })
}

/// Whether an endpoint is the clients' own cluster's. Its name does not tell: clusters choose their domains.
fn is_of(endpoint: &Endpoint, target: &Target) -> bool {
    let is_label_of = |reader: &ServedCluster| {
        endpoint.labels.get(keys::ENDPOINT_CLUSTER).is_some_and(|label| *label == reader.cluster.label_value())
    };
    matches!(target.served_clusters.as_slice(), [reader] if is_label_of(reader))
}
