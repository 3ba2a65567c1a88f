//! Which tier an endpoint is in, and its weight there.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    endpoints::{EndpointCandidate, region_of},
    numbers::{gcd, lcm},
    reason::TrafficRule,
    shares::{Share, Weighted},
};
use crate::{
    model::ClusterName,
    plan::input::{RelativeWeight, Source},
};

/// Largest sum to which the parts of a split are multiplied to divide them into whole weights: Envoy keeps the sum of all
/// weights of a host in 32 bits (Envoy documentation, `load_balancing_weight`).
const MAX_WEIGHT_SUM: u64 = 100 << 24;

/// The tier of a cluster that runs the service, as clients of a region see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// A region of the split.
    Split(Share),
    /// A region that the policy lists without a weight.
    ListedFallback { is_first: bool },
    /// A region that the policy does not list.
    UnlistedFallback { is_nearest: bool, is_passive: bool },
}

impl Tier {
    /// The tier of a source; none where the policy excludes its region.
    pub(super) fn of(source: &Source, weighted: &Weighted, client_region: &str) -> Option<Self> {
        let region = region_of(source);
        if let Some(share) = region.and_then(|region| weighted.share(region)) {
            return Some(Self::Split(share));
        }
        if let Some(region) = region.filter(|region| weighted.is_fallback(region)) {
            let is_first = weighted.fallbacks.first().is_some_and(|first| **first == *region);
            return Some(Self::ListedFallback { is_first });
        }
        // The client's own region comes next where the policy names nothing else.
        let is_nearest = weighted.fallbacks.is_empty() && region == Some(client_region);
        weighted.unlisted.then_some(Self::UnlistedFallback { is_nearest, is_passive: weighted.all_clients })
    }

    /// 0 gets traffic first.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Split(_) => 0,
            Self::ListedFallback { is_first: true } | Self::UnlistedFallback { is_nearest: true, .. } => 1,
            Self::ListedFallback { is_first: false } | Self::UnlistedFallback { is_nearest: false, .. } => 2,
        }
    }

    /// The rule that puts a region into it.
    pub(super) fn rule(self, region: &str) -> TrafficRule {
        match self {
            Self::Split(share) => TrafficRule::Split { share, region: region.into() },
            Self::ListedFallback { is_first } => TrafficRule::ListedFallback { is_first },
            Self::UnlistedFallback { is_nearest, is_passive } => {
                TrafficRule::UnlistedFallback { is_nearest, is_passive }
            }
        }
    }
}

/// Whole weights of endpoints relative to each other.
pub(super) fn relative_weights(candidates: &[EndpointCandidate<'_>]) -> Vec<u32> {
    RelativeWeight::weights(&candidates.iter().map(|candidate| candidate.relative_weight).collect::<Vec<_>>())
}

/// Endpoint weights: each region's part, shared equally by its clusters, and by the endpoints of each by their
/// relative weights, in whole numbers. Fallbacks have no part and are weighed against each other only.
pub(super) fn weights(candidates: &[EndpointCandidate<'_>], weighted: &Weighted) -> Vec<u32> {
    let parts = parts(candidates, weighted);
    let scale = u128::from(scale(&parts, weighted));
    let fallbacks = candidates.iter().zip(&parts).filter(|(_, part)| part.is_none());
    let fallbacks: Vec<RelativeWeight> = fallbacks.map(|(candidate, _)| candidate.relative_weight).collect();
    let mut of_fallbacks = RelativeWeight::weights(&fallbacks).into_iter();
    let in_split = |part: SplitPart| {
        let weight = (u128::from(part.of_region) * u128::from(part.own) * scale / u128::from(part.divisor)).max(1);
        u32::try_from(weight).expect("no more than the largest sum")
    };
    parts
        .into_iter()
        .map(|part| part.map_or_else(|| of_fallbacks.next().expect("one for each without part"), in_split))
        .collect()
}

/// The part of one endpoint in a split: `of_region` × `own` / `divisor`.
struct SplitPart {
    /// The part of its region.
    of_region: u64,
    /// How many of the endpoint's parts of the region there are.
    own: u64,
    /// Into how many parts the region is divided.
    divisor: u64,
}

/// The part of each endpoint; none for fallbacks.
fn parts(candidates: &[EndpointCandidate<'_>], weighted: &Weighted) -> Vec<Option<SplitPart>> {
    let relative = relative_weights(candidates);
    let mut clusters_in: BTreeMap<Option<&str>, BTreeSet<&ClusterName>> = BTreeMap::new();
    let mut sums: BTreeMap<&ClusterName, u64> = BTreeMap::new();
    for (candidate, own) in candidates.iter().zip(&relative) {
        let source = candidate.source;
        clusters_in.entry(region_of(source)).or_default().insert(&source.cluster);
        *sums.entry(&source.cluster).or_default() += u64::from(*own);
    }
    let part = |(candidate, own): (&EndpointCandidate<'_>, &u32)| {
        let region = region_of(candidate.source);
        let share = weighted.share(region?)?;
        let (own, all) = (u64::from(*own), sums[&candidate.source.cluster]);
        let common = gcd(own, all);
        let divisor = clusters_in[&region].len() as u64 * (all / common);
        Some(SplitPart { of_region: u64::from(share.part), own: own / common, divisor })
    };
    candidates.iter().zip(&relative).map(part).collect()
}

/// What all parts are multiplied with, so that each is a whole number. Where no common measure is small enough, a weight is
/// off by less than one.
fn scale(parts: &[Option<SplitPart>], weighted: &Weighted) -> u64 {
    let max_scale = MAX_WEIGHT_SUM / u64::from(weighted.parts()).max(1);
    let is_bearable = |scale: &u64| *scale <= max_scale;
    let common = parts.iter().flatten().try_fold(1, |scale, part| lcm(scale, part.divisor).filter(is_bearable));
    common.unwrap_or(max_scale)
}
