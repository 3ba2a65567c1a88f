//! What a proxy must have of a planned host, by Istio's own rules (Istio documentation, "Locality Load Balancing"):
//! `distribute` sets shares and no priorities; else, with outlier detection, the nearer an endpoint the lower its priority,
//! with the region of `failover` before all others. Endpoints on another network are at the gateway that istiod knows for it.

use std::collections::BTreeMap;

use super::proxy::ProxyState;
use crate::{
    istio::{Endpoint, LocalityLbSetting},
    model::GatewayAddress,
    plan::PlannedHost,
};

/// The gateways that an istiod knows, by network: those of the clusters whose proxies it serves.
pub type NetworkGateways = BTreeMap<String, GatewayAddress>;

/// An endpoint that a proxy must have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected {
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) locality: String,
    /// Absent where the locality of the proxy is not known and decides.
    pub(super) priority: Option<u32>,
    /// Percent of the traffic that goes to the lowest priority; absent where locality decides.
    pub(super) share_percent: Option<f64>,
}

/// What a proxy must have of a port of a host. One that asks for some networks alone has no endpoint that names another, and
/// divides its traffic among the rest.
pub(super) fn endpoints(
    host: &PlannedHost<'_>,
    port_name: &str,
    proxy: &ProxyState,
    gateways: &NetworkGateways,
) -> Vec<Expected> {
    let policy = &host.objects.destination_rule.spec.traffic_policy;
    let setting = policy.load_balancer.locality_lb_setting.clone().unwrap_or_default();
    let all = &host.objects.service_entry.spec.endpoints;
    let planned = host.decision.endpoints.iter().map(|endpoint| endpoint.share_percent);
    let (seen, shares): (Vec<&Endpoint>, Vec<Option<f64>>) =
        all.iter().zip(planned).filter(|(endpoint, _)| is_seen(endpoint, proxy, &setting)).unzip();
    let priorities = priorities(host, &seen, proxy, &setting);
    let is_whole = seen.len() == all.len();
    let left: f64 = shares.iter().flatten().sum();
    let share = |share: Option<f64>| match share {
        share if is_whole => share,
        // Of what remains, only fallbacks are left.
        _ if left <= 0.0 => None,
        share => share.map(|percent| percent / left * 100.0),
    };
    let mut expected: Vec<Expected> = Vec::new();
    for ((endpoint, priority), share_percent) in seen.into_iter().zip(priorities).zip(shares) {
        let Some(port) = endpoint.ports.get(port_name) else { continue };
        let gateway = gateways.get(&endpoint.network).filter(|_| proxy.is_elsewhere(&endpoint.network));
        let (address, port) =
            gateway.map_or_else(|| (endpoint.address.clone(), *port), |of| (of.address.to_string(), of.port));
        let (locality, share_percent) = (endpoint.locality.clone(), share(share_percent));
        // What is behind one gateway is one endpoint.
        let same = |of: &&mut Expected| {
            gateway.is_some() && (&of.address, of.port, &of.locality) == (&address, port, &locality)
        };
        match expected.iter_mut().find(same) {
            Some(known) => known.share_percent = known.share_percent.zip(share_percent).map(|(one, other)| one + other),
            None => expected.push(Expected { address, port, locality, priority, share_percent }),
        }
    }
    expected
}

/// Whether a proxy has an endpoint. Regions that `distribute` does not name for a client get nothing, and Istio leaves their
/// endpoints out.
fn is_seen(endpoint: &Endpoint, proxy: &ProxyState, setting: &LocalityLbSetting) -> bool {
    let networks = &proxy.networks;
    let distributed =
        proxy.locality.as_deref().and_then(|from| setting.distribute.iter().find(|one| is_at(&one.from, from)));
    (networks.is_empty() || endpoint.network.is_empty() || networks.contains(&endpoint.network))
        && distributed.is_none_or(|one| one.to.keys().any(|to| is_at(to, &endpoint.locality)))
}

/// The priority of each endpoint; none where it cannot be told.
fn priorities(
    host: &PlannedHost<'_>,
    seen: &[&Endpoint],
    proxy: &ProxyState,
    setting: &LocalityLbSetting,
) -> Vec<Option<u32>> {
    let plan = host.objects;
    let prefers_near =
        plan.destination_rule.spec.traffic_policy.outlier_detection.is_some() && setting.enabled != Some(false);
    // Where only the region of a proxy is known, zones cannot be told apart.
    let is_whole = |locality: &&str| {
        let has_zone_there = |of: &Endpoint| of.locality.split_once('/').is_some_and(|(region, _)| region == *locality);
        plan.tiered || locality.contains('/') || !plan.service_entry.spec.endpoints.iter().any(has_zone_there)
    };
    match proxy.locality.as_deref().filter(is_whole) {
        _ if !prefers_near || !setting.distribute.is_empty() => vec![Some(0); seen.len()],
        Some(locality) => compact(seen.iter().map(|endpoint| rank(endpoint, locality, setting)).collect()),
        None => vec![None; seen.len()],
    }
}

/// Whether a locality is one that `distribute` means: `*`, `region`, `region/*` or `region/zone`.
fn is_at(pattern: &str, locality: &str) -> bool {
    let mut parts = locality.split('/');
    pattern.split('/').all(|part| part == "*" || parts.next() == Some(part))
}

/// How far an endpoint is from a proxy.
fn rank(endpoint: &Endpoint, proxy: &str, setting: &LocalityLbSetting) -> u32 {
    let parts = |text: &str| -> [String; 3] {
        let mut parts = text.split('/').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    };
    let ([region, zone, subzone], [own_region, own_zone, own_subzone]) = (parts(&endpoint.locality), parts(proxy));
    if region != own_region {
        let failover = setting.failover.iter().find(|failover| failover.from == own_region);
        return if failover.is_some_and(|failover| failover.to != region) { 4 } else { 3 };
    }
    match (zone == own_zone, subzone == own_subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

/// Priorities are counted without gaps.
fn compact(ranks: Vec<u32>) -> Vec<Option<u32>> {
    let mut used = ranks.clone();
    used.sort_unstable();
    used.dedup();
    let place = |rank: &u32| used.iter().position(|one| one == rank).and_then(|at| u32::try_from(at).ok());
    ranks.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::Failover;

    #[test]
    fn a_pattern_means_what_is_below_it() {
        for (pattern, locality, is) in [
            ("*", "us-west", true),
            ("us-west", "us-west/us-west-2a", true),
            ("us-west/*", "us-west", true),
            ("us-west/*", "us-west/us-west-2a/rack", true),
            ("us-west/us-west-2a", "us-west/us-west-2b", false),
            ("us-west", "us-west-2", false),
        ] {
            assert_eq!(is_at(pattern, locality), is, "{pattern} {locality}");
        }
    }

    #[test]
    fn the_nearer_the_lower_and_the_failover_region_before_the_rest() {
        let at = |locality: &str| Endpoint { locality: locality.into(), ..Endpoint::default() };
        let setting = LocalityLbSetting {
            failover: vec![Failover { from: "us-west".into(), to: "us-east".into() }],
            ..LocalityLbSetting::default()
        };
        let localities =
            ["us-west/us-west-2a", "us-west/us-west-2a/rack", "us-west/us-west-2b", "us-west", "us-east", "eu-west"];
        let ranks = localities.map(|locality| rank(&at(locality), "us-west/us-west-2a", &setting));
        assert_eq!(ranks, [0, 1, 2, 2, 3, 4]);
        assert_eq!(rank(&at("eu-west"), "us-west", &LocalityLbSetting::default()), 3, "without failover all are alike");
        assert_eq!(compact(vec![4, 2, 4]), [Some(1), Some(0), Some(1)]);
    }
}
