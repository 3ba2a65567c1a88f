//! What a policy entry means for the regions of a service: shares and fallbacks.
//!
//! Shares are in the proportion of the weights, whatever their sum; a note says what had to be corrected.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{numbers::gcd, regions};
use crate::{
    api::{LbType, TrafficPolicyEntry, TrafficTarget},
    config::{Settings, Weights},
    model::{NoteKind, Policy, did_you_mean},
    plan::input::{ServiceInput, Source, Target},
};

/// Annotation of a policy: `exclude` keeps regions that it does not list from being fallbacks.
const UNLISTED: &str = "tradewind.io/unlisted-regions";

/// How the regions of a service share its traffic.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shares {
    /// No policy for the host, or one without targets.
    Unset,
    /// The nearest first (`lbType: TOPOLOGY` with targets).
    Nearest,
    /// By weight, with fallbacks.
    Weighted(Weighted),
}

/// A part of all traffic: so many of so many parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub(super) part: u32,
    pub(super) of: u32,
}

impl Share {
    pub(super) const NOTHING: Self = Self { part: 0, of: 1 };
    pub(super) const ALL: Self = Self { part: 1, of: 1 };
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent_text(f64::from(self.part) * 100.0 / f64::from(self.of)))
    }
}

/// Percent with as many decimals as it takes to tell it from 0 and from 100: one, or up to four.
#[must_use]
pub fn percent_text(percent: f64) -> String {
    let is_near_the_end = !(0.1..=99.9).contains(&percent);
    let text = if is_near_the_end { format!("{percent:.4}") } else { format!("{percent:.1}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Shares by region.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weighted {
    /// Regions that run the service and their parts of the traffic, of which the sum is all: percent where these are whole.
    pub(super) split: Vec<(Arc<str>, u32)>,
    /// Listed regions with weight 0 that run the service, in the order of the policy.
    pub(super) fallbacks: Vec<Arc<str>>,
    /// Whether regions that are not listed come last, or not at all.
    pub(super) unlisted: bool,
    /// Percent as listed, for `distribute`; the sum is 100.
    pub(super) listed: Vec<(Arc<str>, u32)>,
    /// Whether `distribute` is written for clients of every region at once (`*`), as for active-passive.
    pub(super) all_clients: bool,
}

impl Weighted {
    /// Of how many parts all traffic is.
    pub(super) fn parts(&self) -> u32 {
        self.split.iter().map(|(_, part)| part).sum()
    }

    /// Share of a region, where it has any.
    pub(super) fn share(&self, region: &str) -> Option<Share> {
        let found = self.split.iter().find(|(of, _)| &**of == region);
        found.map(|(_, part)| Share { part: *part, of: self.parts() })
    }

    /// Percent of a region under `distribute`, where it has any.
    pub(super) fn listed_share(&self, region: &str) -> Option<u32> {
        self.listed.iter().find(|(of, _)| &**of == region).map(|(_, percent)| *percent)
    }

    /// The shares of the other regions without one, which becomes their first fallback. None where no other region has a share.
    pub(super) fn without(&self, region: &str) -> Option<Self> {
        let others = |shares: &[(Arc<str>, u32)]| -> Vec<(Arc<str>, u64)> {
            let others = shares.iter().filter(|(of, _)| **of != *region);
            others.map(|(of, share)| (of.clone(), u64::from(*share))).collect()
        };
        let split = parts(others(&self.split));
        let own = [Arc::from(region)];
        (!split.is_empty()).then(|| Self {
            split,
            fallbacks: own.into_iter().chain(self.fallbacks.iter().cloned()).collect(),
            unlisted: self.unlisted,
            listed: percent(others(&self.listed)),
            all_clients: self.all_clients,
        })
    }

    /// Whether the policy lists the region as a fallback.
    pub(super) fn is_fallback(&self, region: &str) -> bool {
        self.fallbacks.iter().any(|fallback| &**fallback == region)
    }
}

fn region_of(source: &Source) -> Option<&Arc<str>> {
    source.locality.value().map(|locality| &locality.region)
}

/// What an entry means for the regions that run the service now.
pub(super) fn shares(entry: Option<&TrafficPolicyEntry>, service: &ServiceInput, policy: Option<&Policy>) -> Shares {
    let Some(entry) = entry.filter(|entry| !entry.target.is_empty()) else { return Shares::Unset };
    match entry.lb_type {
        LbType::Unknown(_) => return Shares::Unset,
        LbType::Topology => return Shares::Nearest,
        LbType::Failover => {}
    }
    let targets = distinct(&entry.target);
    let running: BTreeSet<&str> = service.sources.iter().filter_map(region_of).map(|region| &**region).collect();
    let weighted = |only_running: bool| -> Vec<(Arc<str>, u64)> {
        targets
            .iter()
            .filter(|target| target.weight > 0 && (!only_running || running.contains(target.region.trim())))
            .map(|target| (Arc::from(target.region.trim()), target.weight.unsigned_abs()))
            .collect()
    };
    let split = parts(weighted(true));
    if split.is_empty() || split.len() > MOST_REGIONS {
        return Shares::Unset;
    }
    Shares::Weighted(Weighted {
        split,
        fallbacks: targets
            .iter()
            .filter(|target| target.weight <= 0 && running.contains(target.region.trim()))
            .map(|target| Arc::from(target.region.trim()))
            .collect(),
        unlisted: policy.is_none_or(|policy| policy.annotations.get(UNLISTED).is_none_or(|value| value != "exclude")),
        listed: percent(weighted(false)),
        all_clients: false,
    })
}

/// The targets with a region, each region once: the last of several counts, as in Admiral.
fn distinct(targets: &[TrafficTarget]) -> Vec<&TrafficTarget> {
    let mut distinct: Vec<&TrafficTarget> = Vec::new();
    for target in targets.iter().filter(|target| !target.region.trim().is_empty()) {
        match distinct.iter_mut().find(|known| known.region.trim() == target.region.trim()) {
            Some(known) => *known = target,
            None => distinct.push(target),
        }
    }
    distinct
}

/// Most parts of the traffic that are distinguished. Weights of more are scaled to about as many, each at least 1.
const MOST_PARTS: u64 = 1 << 20;

/// Weights as parts of the traffic: percent where these are whole, and otherwise the weights in lowest terms.
fn parts<K: Ord>(weights: Vec<(K, u64)>) -> Vec<(K, u32)> {
    if are_whole_percent(weights.iter().map(|(_, weight)| *weight)) {
        return percent(weights);
    }
    let divisor = weights.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let sum: u128 = weights.iter().map(|(_, weight)| u128::from(weight / divisor)).sum();
    let most = u128::from(MOST_PARTS);
    let part = |weight: u64| {
        let weight = u128::from(weight / divisor);
        let part = if sum > most { (weight * most / sum).max(u128::from(weight > 0)) } else { weight };
        u32::try_from(part).expect("no more than the most parts")
    };
    weights.into_iter().map(|(of, weight)| (of, part(weight))).collect()
}

/// Relative weights of the destinations of a route: percent where these are whole, and otherwise the weights in lowest terms
/// (Istio documentation, `HTTPRouteDestination`: each gets its weight of the sum of all).
pub(in crate::plan) fn in_whole_numbers(weights: Vec<u64>) -> Vec<u32> {
    parts(weights.into_iter().enumerate().collect()).into_iter().map(|(_, part)| part).collect()
}

/// Whether weights are whole percent of their sum.
fn are_whole_percent(weights: impl Iterator<Item = u64> + Clone) -> bool {
    let sum: u128 = weights.clone().map(u128::from).sum();
    sum == 0 || weights.map(u128::from).all(|weight| weight * 100 % sum == 0)
}

/// As many regions can have a whole percent each.
const MOST_REGIONS: usize = 100;

/// Scales weights to whole percent by largest remainder, as `distribute` wants them; every weight above 0 keeps at least 1.
fn percent<K: Ord>(weights: Vec<(K, u64)>) -> Vec<(K, u32)> {
    let sum: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    if sum == 0 || weights.len() > MOST_REGIONS {
        return Vec::new();
    }
    let mut scaled: Vec<(K, u32, u128)> = weights
        .into_iter()
        .map(|(region, weight)| {
            let hundredfold = u128::from(weight) * 100;
            let whole = u32::try_from(hundredfold / sum).unwrap_or(100).max(u32::from(weight > 0));
            (region, whole, hundredfold % sum)
        })
        .collect();
    let mut total: u32 = scaled.iter().map(|(_, whole, _)| whole).sum();
    while total < 100 {
        let most = scaled.iter_mut().max_by(|a, b| a.2.cmp(&b.2).then(b.0.cmp(&a.0)));
        let Some(most) = most else { break };
        (most.1, most.2) = (most.1 + 1, 0);
        total += 1;
    }
    while total > 100 {
        let most = scaled.iter_mut().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some(most) = most else { break };
        most.1 -= 1;
        total -= 1;
    }
    scaled.into_iter().map(|(region, whole, _)| (region, whole)).collect()
}

/// What the owner of an entry should know: what to correct, or why it is not in force as it reads.
pub(super) fn problems(
    entry: Option<&TrafficPolicyEntry>,
    shares: &Shares,
    service: &ServiceInput,
    settings: &Settings,
) -> Vec<(NoteKind, String)> {
    let Some(entry) = entry else { return Vec::new() };
    let mut problems = as_mistakes(mistakes(entry));
    if entry.lb_type != LbType::Failover || entry.target.is_empty() {
        return problems;
    }
    let targets = distinct(&entry.target);
    let sum: i128 = targets.iter().map(|target| i128::from(target.weight.max(0))).sum();
    if sum != 0 && sum != 100 {
        let message = format!("the weights sum to {sum}, not 100; they are taken in proportion");
        problems.push((NoteKind::PolicyAdjusted, message));
    }
    problems.extend(regions_without_source(&targets, shares, service));
    if let Shares::Weighted(weighted) = shares {
        let are_whole = are_whole_percent(targets.iter().map(|target| target.weight.max(0).unsigned_abs()));
        problems.extend(about_clients(weighted, are_whole, service, settings));
    }
    problems
}

/// What is wrong with an entry as it is written.
fn mistakes(entry: &TrafficPolicyEntry) -> Vec<String> {
    let mut mistakes = Vec::new();
    if let LbType::Unknown(text) = &entry.lb_type {
        mistakes
            .push(format!("lbType {text:?} is neither TOPOLOGY (0) nor FAILOVER (1); no locality preference is set"));
        return mistakes;
    }
    if entry.lb_type == LbType::Failover && entry.target.is_empty() {
        mistakes.push("lbType is FAILOVER without targets; no locality preference is set".into());
    }
    let mut seen = BTreeSet::new();
    for target in &entry.target {
        let region = target.region.trim();
        if region.is_empty() {
            mistakes.push("a target has no region; it is ignored".into());
        } else if !seen.insert(region) {
            mistakes.push(format!("region {region} is listed twice; the last one counts"));
        }
        if target.weight < 0 {
            mistakes.push(format!("region {region} has the negative weight {}; it counts as 0", target.weight));
        }
    }
    let has_weight = distinct(&entry.target).iter().any(|target| target.weight > 0);
    if entry.lb_type == LbType::Failover && !entry.target.is_empty() && !has_weight {
        mistakes.push("no region has a weight above 0; the nearest region is used".into());
    }
    mistakes
}

/// The targets in regions where no cluster runs the service.
fn regions_without_source(
    targets: &[&TrafficTarget],
    shares: &Shares,
    service: &ServiceInput,
) -> Vec<(NoteKind, String)> {
    let running: BTreeSet<&str> = service.sources.iter().filter_map(region_of).map(|region| &**region).collect();
    let missing = targets.iter().filter(|target| !running.contains(target.region.trim()));
    let problem = |target: &&TrafficTarget| {
        let region = target.region.trim();
        // A region that the fleet has is no slip, whether or not the service runs there now.
        let in_fleet = service.targets.iter().map(|target| &target.regions);
        let mut in_fleet = in_fleet.chain(service.absences.iter().map(|absence| &absence.regions)).flatten();
        let is_known = in_fleet.any(|known| **known == *region);
        let hint = if is_known { String::new() } else { did_you_mean(region, running.iter().copied()) };
        regions::without_source(region, target.weight > 0, shares, service, &hint)
    };
    missing.map(problem).collect()
}

fn as_mistakes(messages: Vec<String>) -> Vec<(NoteKind, String)> {
    messages.into_iter().map(|message| (NoteKind::PolicyQuestionable, message)).collect()
}

/// Where clients cannot follow the weights as the policy means them.
fn about_clients(
    weighted: &Weighted,
    are_whole: bool,
    service: &ServiceInput,
    settings: &Settings,
) -> Vec<(NoteKind, String)> {
    let clusters = |wanted: &dyn Fn(&Target) -> bool| -> Option<String> {
        let targets = service.targets.iter().filter(|target| wanted(target));
        let names: Vec<String> = targets.map(|target| target.cluster.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let several = |target: &Target| settings.weights == Weights::Tiers && target.regions.len() > 1;
    let several = clusters(&several).map(|clusters| {
        let message = format!("clients of {clusters} are in several regions; there the weights hold without fallback");
        (NoteKind::RegionsSeveral, message)
    });
    let unlabelled = clusters(&|target| target.regions.is_empty() && !target.nodes_unread).map(|clusters| {
        let message = format!("the region of clients in {clusters} is not known; the weights have no effect there");
        (NoteKind::RegionUnknown, message)
    });
    let unread = clusters(&|target| target.regions.is_empty() && target.nodes_unread).map(|clusters| {
        let message = format!(
            "the region of clients in {clusters} is not known, because the nodes cannot be read; the weights have no \
             effect there until they can be"
        );
        (NoteKind::RegionUnavailable, message)
    });
    let is_distributed = |target: &Target| {
        target.regions.len() > 1 || target.regions.len() == 1 && settings.weights == Weights::Distribute
    };
    let rounded = clusters(&is_distributed).filter(|_| !are_whole).map(|clusters| {
        let shares = weighted.listed.iter().map(|(region, percent)| format!("{percent} % for {region}"));
        let shares = shares.collect::<Vec<_>>().join(", ");
        (NoteKind::PolicyAdjusted, format!("clients of {clusters} share by whole percent only: {shares}"))
    });
    several.into_iter().chain(unlabelled).chain(unread).chain(rounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(weights: &[u64]) -> Vec<u32> {
        let named: Vec<_> = weights.iter().enumerate().map(|(i, w)| (format!("r{i}"), *w)).collect();
        percent(named).into_iter().map(|(_, p)| p).collect()
    }

    #[test]
    fn without_a_region_the_others_share_all_and_it_is_their_first_fallback() {
        let named =
            |shares: &[(&str, u32)]| shares.iter().map(|(of, share)| (Arc::from(*of), *share)).collect::<Vec<_>>();
        let shares = named(&[("a", 40), ("b", 45), ("c", 15)]);
        let all = Weighted {
            split: shares.clone(),
            fallbacks: vec!["d".into()],
            unlisted: true,
            listed: shares,
            all_clients: false,
        };
        let others = all.without("a").unwrap();
        assert_eq!(others.split, named(&[("b", 75), ("c", 25)]));
        assert_eq!(others.fallbacks, [Arc::from("a"), Arc::from("d")]);
        let alone = Weighted { split: named(&[("a", 100)]), ..all };
        assert_eq!(alone.without("a"), None);
    }

    #[test]
    fn shares_are_whole_percent_or_the_weights_themselves() {
        let of = |weights: &[u64]| -> Vec<u32> {
            let named: Vec<_> = weights.iter().enumerate().map(|(i, w)| (format!("r{i}"), *w)).collect();
            parts(named).into_iter().map(|(_, part)| part).collect()
        };
        assert_eq!(of(&[90, 10]), [90, 10]);
        assert_eq!(of(&[3, 1]), [75, 25]);
        assert_eq!(of(&[7]), [100]);
        assert_eq!(of(&[999, 1]), [999, 1]);
        assert_eq!(of(&[1998, 2]), [999, 1]);
        assert_eq!(of(&[1, 1, 1]), [1, 1, 1]);
        assert_eq!(of(&[50, 20]), [5, 2]);
        assert_eq!(of(&[u64::MAX, 1]), [(1 << 20) - 1, 1]);
        assert_eq!(of(&[u64::MAX, u64::MAX - 1]), [1 << 19, (1 << 19) - 1]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn percent_has_the_decimals_that_it_takes() {
        for (part, of, text) in [
            (1, 1, "100"),
            (90, 100, "90"),
            (999, 1000, "99.9"),
            (1, 1000, "0.1"),
            (1, 3, "33.3"),
            (1, 10_000, "0.01"),
            (9_999, 10_000, "99.99"),
            (0, 5, "0"),
            (2, 3, "66.7"),
        ] {
            assert_eq!(Share { part, of }.to_string(), text);
        }
    }

    // Invariant: Traffic is split by the weights of the policy, from every cluster.
    #[test]
    fn weights_become_percent_that_sum_to_100() {
        assert_eq!(scaled(&[90, 10]), [90, 10]);
        assert_eq!(scaled(&[1, 1, 1]), [34, 33, 33]);
        assert_eq!(scaled(&[u64::MAX, 1]), [99, 1]);
        assert_eq!(scaled(&[50, 20]), [71, 29]);
        assert_eq!(scaled(&[7]), [100]);
        assert!(scaled(&[]).is_empty());
    }
}
