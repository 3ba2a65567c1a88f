//! When clients leave an endpoint out (outlier detection).

use std::net::IpAddr;

use super::decision::{Ejection, EndpointDecision};
use crate::{
    api::{OutlierConfig, PolicyOutlierDetection, TrafficPolicyEntry},
    config::Settings,
    plan::input::Target,
};

/// Admiral's defaults (Admiral, docs/admiral-behaviour.md#outlier-detection-defaults).
const BASE_SECONDS: i64 = 300;
const GATEWAY_ERRORS: u32 = 50;
const INTERVAL_SECONDS: i64 = 60;
/// With a single endpoint, ejecting all of them would leave none.
const MAX_PERCENT_OF_ONE: u32 = 33;
const MAX_PERCENT: u32 = 100;

/// The values of an OutlierDetection count as given, 0 errors included, before those of the GlobalTrafficPolicy, where
/// 0 means the default (Admiral, docs/admiral-behaviour.md#outlier-detection-defaults).
pub(super) fn decide(
    given: Option<OutlierConfig>,
    entry: Option<&TrafficPolicyEntry>,
    endpoints: &[EndpointDecision],
    target: &Target,
    settings: &Settings,
) -> Ejection {
    let of_policy = entry.and_then(|entry| entry.outlier_detection);
    if settings.disable_default_automatic_failover && given.is_none() && of_policy.is_none() {
        return Ejection::Never;
    }
    let max_percent = match endpoints {
        [one] if target.is_read_only_in(&one.cluster) || one.address.parse::<IpAddr>().is_ok() => {
            return Ejection::Unset;
        }
        [_] => MAX_PERCENT_OF_ONE,
        _ => MAX_PERCENT,
    };
    let (base, interval, errors) = match given {
        Some(given) => (given.base_ejection_time, given.interval, given.consecutive_gateway_errors),
        None => {
            let PolicyOutlierDetection { base_ejection_time, interval, consecutive_gateway_errors: errors } =
                of_policy.unwrap_or_default();
            (base_ejection_time, interval, if errors > 0 { errors } else { GATEWAY_ERRORS })
        }
    };
    let or_default = |seconds: i64, default: i64| if seconds > 0 { seconds } else { default };
    Ejection::AfterErrors {
        errors,
        base_seconds: or_default(base, BASE_SECONDS),
        interval_seconds: or_default(interval, INTERVAL_SECONDS),
        max_percent,
    }
}
