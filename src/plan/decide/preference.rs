//! How clients choose among the localities of a host's endpoints, and among the endpoints of one locality.

use std::sync::Arc;

use super::{
    decision::{Balance, EndpointDecision, LocalityPreference},
    endpoints::tier_region,
    shares::{Shares, Weighted},
};
use crate::{config::Settings, model::Kind, plan::input::Target};

/// The choice among localities.
pub(super) fn of_localities(target: &Target, shares: &Shares, settings: &Settings) -> LocalityPreference {
    match shares {
        _ if target.regions.is_empty() => LocalityPreference::Unset,
        Shares::Unset => LocalityPreference::Unset,
        Shares::Nearest => LocalityPreference::Nearest,
        Shares::Weighted(weighted) => match tier_region(target, settings) {
            Some(region) => tiers(weighted, region),
            None => LocalityPreference::Shares {
                clients: (!weighted.all_clients).then(|| target.regions.clone()),
                percent: weighted.listed.clone(),
            },
        },
    }
}

fn tiers(weighted: &Weighted, client_region: &str) -> LocalityPreference {
    let first = weighted.fallbacks.first().filter(|first| ***first != *client_region);
    LocalityPreference::Tiers { client_region: client_region.into(), first_fallback: first.map(Arc::clone) }
}

/// The choice among the endpoints of one locality. Where a Rollout divides its traffic by weights, `LEAST_REQUEST` would even
/// them out the more, the more requests are under way: 70/30 becomes 61/39 with four at a time. Its Services count at 50/50,
/// too, so that a step on the way changes the weights alone.
pub(super) fn of_endpoints(endpoints: &[EndpointDecision]) -> Balance {
    let is_of_rollout = |endpoint: &&EndpointDecision| endpoint.weight > 0 && endpoint.workload == Some(Kind::Rollout);
    let is_service = |endpoint: &EndpointDecision| {
        endpoint.weight > 0 && endpoint.workload == Some(Kind::Rollout) && !endpoint.reason.path.is_direct()
    };
    let divides = |one: &EndpointDecision| {
        let mut others = endpoints.iter().filter(|other| other.group == one.group && other.address != one.address);
        others.any(|other| other.weight != one.weight || (is_service(one) && is_service(other)))
    };
    if endpoints.iter().filter(is_of_rollout).any(divides) { Balance::RoundRobin } else { Balance::LeastRequest }
}
