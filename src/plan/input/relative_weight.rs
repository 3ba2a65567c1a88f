//! What endpoints weigh relative to each other: one measure for workloads, the Services of a Rollout, machines and clusters.
//!
//! Decides proportions; never what a traffic policy makes of them.

/// The weight of an endpoint relative to its neighbours, in average workloads of its cluster: `part` of `of`. Neither is 0.
///
/// A workload counts one; a Rollout divides that among its Services; a machine with a weight counts more or less. Another
/// cluster counts one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelativeWeight {
    /// So many parts.
    pub part: u32,
    /// Of so many.
    pub of: u32,
}

/// Most parts into which a workload's traffic is divided: a tenth of a percent is finer than anybody rolls out.
const MOST_PARTS: u64 = 1_000;

/// Largest number in a relative_weight, and the largest common measure of several, so that their weights stay within 32 bits.
const MOST_WEIGHT: u64 = 1 << 20;

impl RelativeWeight {
    /// That of a workload without weights.
    pub const WHOLE: Self = Self { part: 1, of: 1 };

    /// The relative_weights by which one workload divides what it counts, from weights above 0; in lowest terms.
    #[must_use]
    pub fn of_weights(weights: impl IntoIterator<Item = u64>) -> Vec<Self> {
        let mut weights: Vec<u64> = weights.into_iter().map(|weight| weight.clamp(1, u64::from(u32::MAX))).collect();
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        weights.iter_mut().for_each(|weight| *weight /= divisor);
        let sum: u64 = weights.iter().sum();
        if sum > MOST_PARTS {
            weights.iter_mut().for_each(|weight| *weight = (*weight * MOST_PARTS / sum).max(1));
        }
        let sum = weights.iter().sum();
        let small = |number: u64| u32::try_from(number).expect("a few weights of a thousand parts");
        weights.into_iter().map(|weight| Self { part: small(weight), of: small(sum) }).collect()
    }

    /// What a workload counts whose weight is `weight`, where `count` workloads have weights with the sum `sum`.
    #[must_use]
    pub fn of_average(weight: u32, sum: u64, count: u64) -> Self {
        let (mut part, mut of) = (u64::from(weight.max(1)).saturating_mul(count.max(1)), sum.max(1));
        let divisor = gcd(part, of);
        (part, of) = (part / divisor, of / divisor);
        while part.max(of) > MOST_WEIGHT {
            (part, of) = ((part / 2).max(1), (of / 2).max(1));
        }
        let small = |number: u64| u32::try_from(number).expect("no more than the largest number in a relative_weight");
        Self { part: small(part), of: small(of) }
    }

    /// Whole weights in the proportion of relative_weights, in lowest terms.
    #[must_use]
    pub fn weights(relative_weights: &[Self]) -> Vec<u32> {
        let common = relative_weights.iter().try_fold(1, |common, relative_weight| {
            let of = u64::from(relative_weight.of);
            let common: u64 = common / gcd(common, of) * of;
            (common <= MOST_WEIGHT).then_some(common)
        });
        // Where no common measure is small enough, a part is off by less than one in a thousand.
        let common = common.unwrap_or(MOST_WEIGHT);
        let scaled: Vec<u64> = relative_weights
            .iter()
            .map(|relative_weight| (u64::from(relative_weight.part) * common / u64::from(relative_weight.of)).max(1))
            .collect();
        let divisor = scaled.iter().copied().fold(0, gcd).max(1);
        // Envoy keeps the sum of all weights of a host in 32 bits (Envoy documentation, `load_balancing_weight`).
        let most = u64::from(u32::MAX) / (relative_weights.len() as u64).max(1);
        let shift = scaled.iter().map(|weight| weight / divisor / most).max().unwrap_or_default() + 1;
        let small = |weight: u64| u32::try_from(weight).expect("no more than its part of 32 bits");
        scaled.into_iter().map(|weight| small((weight / divisor / shift).max(1))).collect()
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative_weights(weights: &[u64]) -> Vec<(u32, u32)> {
        RelativeWeight::of_weights(weights.iter().copied())
            .into_iter()
            .map(|relative_weight| (relative_weight.part, relative_weight.of))
            .collect()
    }

    #[test]
    fn portions_are_exact_and_in_lowest_terms() {
        assert_eq!(relative_weights(&[90, 10]), [(9, 10), (1, 10)]);
        assert_eq!(relative_weights(&[50, 50]), [(1, 2), (1, 2)]);
        assert_eq!(relative_weights(&[995, 5]), [(199, 200), (1, 200)]);
        assert_eq!(relative_weights(&[7]), [(1, 1)]);
        assert_eq!(relative_weights(&[]), []);
        assert_eq!(relative_weights(&[u64::MAX, 1]), [(999, 1000), (1, 1000)]);
    }

    #[test]
    fn workloads_share_a_cluster_evenly_and_each_splits_its_part() {
        let weights = |groups: &[&[u64]]| {
            let relative_weights: Vec<RelativeWeight> =
                groups.iter().flat_map(|weights| RelativeWeight::of_weights(weights.iter().copied())).collect();
            RelativeWeight::weights(&relative_weights)
        };
        assert_eq!(weights(&[&[90, 10]]), [9, 1]);
        assert_eq!(weights(&[&[1], &[90, 10]]), [10, 9, 1]);
        assert_eq!(weights(&[&[1], &[1], &[1]]), [1, 1, 1]);
        assert_eq!(weights(&[&[2, 1], &[90, 10]]), [20, 10, 27, 3]);
        assert_eq!(weights(&[&[1, 1], &[7, 7]]), [1, 1, 1, 1]);
        let odd = weights(&[&[996, 1], &[990, 1], &[982, 1]]);
        let part = |at: usize| f64::from(odd[at]) / f64::from(odd[at] + odd[at + 1]);
        assert!((part(0) - 996.0 / 997.0).abs() < 0.001 && (part(4) - 982.0 / 983.0).abs() < 0.001, "{odd:?}");
    }

    #[test]
    fn a_machines_weight_is_relative_to_the_average() {
        let of = |weights: &[u32]| {
            let sum = weights.iter().map(|weight| u64::from(*weight)).sum();
            let count = weights.len() as u64;
            let weighted = weights.iter().map(|weight| RelativeWeight::of_average(*weight, sum, count));
            RelativeWeight::weights(&weighted.chain([RelativeWeight::WHOLE]).collect::<Vec<_>>())
        };
        assert_eq!(of(&[3, 1]), [3, 1, 2]);
        assert_eq!(of(&[80, 20]), [8, 2, 5]);
        assert_eq!(of(&[1, 2]), [2, 4, 3]);
        assert_eq!(of(&[7, 7]), [1, 1, 1]);
        assert_eq!(of(&[u32::MAX, 1]), [2_097_150, 1, 1_048_576]);
    }

    #[test]
    fn weights_of_any_portions_fit_32_bits_together() {
        let wild = [(1 << 20, 1), (1 << 20, 3), (1, 1 << 20), (7, 1_048_573)];
        let relative_weights: Vec<RelativeWeight> =
            wild.iter().cycle().take(4_000).map(|(part, of)| RelativeWeight { part: *part, of: *of }).collect();
        let weights = RelativeWeight::weights(&relative_weights);
        assert!(weights.iter().all(|weight| *weight > 0));
        assert!(u32::try_from(weights.iter().map(|weight| u64::from(*weight)).sum::<u64>()).is_ok());
    }
}
