//! Clusters whose registration is gone: when each of them leaves the fleet.
//!
//! One odd reading of the Secrets must not empty the fleet, so a cluster stays for a grace, several stay until an operator
//! confirms that they leave, and a cluster whose removal is confirmed leaves at once. Pure; the time is an input.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::ClusterName;

/// Most clusters that may leave at the same time without a confirmation.
const MAX_UNCONFIRMED: usize = 1;

/// Clusters whose registration is gone, since when, and whether they were to leave.
#[derive(Debug)]
pub(super) struct Departures {
    grace: Duration,
    missing_since: BTreeMap<ClusterName, Instant>,
}

/// Why a cluster without registration is still a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It leaves when this time is over.
    Grace(Duration),
    /// So many lost their registration together.
    MassRemoval(usize),
}

/// Who leaves now, and who later.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Departing {
    pub(super) now: BTreeSet<ClusterName>,
    pub(super) later: BTreeMap<ClusterName, Waiting>,
}

impl Departures {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, missing_since: BTreeMap::new() }
    }

    /// How long a cluster stays.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// Whether no cluster waits.
    pub(super) fn is_idle(&self) -> bool {
        self.missing_since.is_empty()
    }

    /// Judges the clusters that are `missing` from the registrations; an operator confirmed those that are `confirmed`.
    pub(super) fn judge(
        &mut self,
        missing: &BTreeSet<ClusterName>,
        confirmed: &BTreeSet<ClusterName>,
        now: Instant,
    ) -> Departing {
        self.missing_since.retain(|name, _| missing.contains(name));
        let mut departing = Departing { now: missing & confirmed, later: BTreeMap::new() };
        let unconfirmed: Vec<&ClusterName> = missing.difference(confirmed).collect();
        for name in &unconfirmed {
            let since = *self.missing_since.entry((*name).clone()).or_insert(now);
            let left = self.grace.saturating_sub(now.duration_since(since));
            if unconfirmed.len() > MAX_UNCONFIRMED {
                departing.later.insert((*name).clone(), Waiting::MassRemoval(unconfirmed.len()));
            } else if left.is_zero() {
                departing.now.insert((*name).clone());
            } else {
                departing.later.insert((*name).clone(), Waiting::Grace(left));
            }
        }
        self.missing_since.retain(|name, _| !departing.now.contains(name));
        departing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn names(names: &[&str]) -> BTreeSet<ClusterName> {
        names.iter().map(|name| ClusterName::parse(name).unwrap()).collect()
    }

    /// Judges a series of readings, each so many seconds after the first: who leaves, and who waits.
    fn judged(readings: &[(u64, &[&str], &[&str])]) -> Vec<(Vec<String>, Vec<String>)> {
        let mut departures = Departures::new(GRACE);
        let start = Instant::now();
        let judge = |(seconds, missing, confirmed): &(u64, &[&str], &[&str])| {
            let now = start + Duration::from_secs(*seconds);
            let departing = departures.judge(&names(missing), &names(confirmed), now);
            let waiting = |(name, waiting): (&ClusterName, &Waiting)| match waiting {
                Waiting::Grace(left) => format!("{name} {}", left.as_secs()),
                Waiting::MassRemoval(count) => format!("{name} with {count}"),
            };
            (departing.now.iter().map(ToString::to_string).collect(), departing.later.iter().map(waiting).collect())
        };
        readings.iter().map(judge).collect()
    }

    fn expected(all: &[(&[&str], &[&str])]) -> Vec<(Vec<String>, Vec<String>)> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        all.iter().map(|(now, later)| (owned(now), owned(later))).collect()
    }

    #[test]
    fn a_cluster_leaves_after_the_grace_and_one_that_returns_begins_anew() {
        let found = judged(&[
            (0, &["east"], &[]),
            (59, &["east"], &[]),
            (59, &[], &[]),
            (60, &["east"], &[]),
            (120, &["east"], &[]),
        ]);
        assert_eq!(
            found,
            expected(&[(&[], &["east 60"]), (&[], &["east 1"]), (&[], &[]), (&[], &["east 60"]), (&["east"], &[])])
        );
    }

    #[test]
    fn a_confirmed_removal_waits_for_nothing() {
        let found = judged(&[(0, &["east", "west"], &["east", "west"]), (0, &[], &["north"])]);
        assert_eq!(found, expected(&[(&["east", "west"], &[]), (&[], &[])]));
    }

    #[test]
    fn several_stay_until_they_are_confirmed_or_all_but_one_are_back() {
        let found = judged(&[
            (0, &["east", "west"], &[]),
            (3600, &["east", "west"], &[]),
            (3601, &["east", "west"], &["east"]),
            (3602, &["north", "west"], &[]),
            (3603, &["north"], &[]),
        ]);
        assert_eq!(
            found,
            expected(&[
                (&[], &["east with 2", "west with 2"]),
                (&[], &["east with 2", "west with 2"]),
                (&["east", "west"], &[]),
                (&[], &["north with 2", "west with 2"]),
                (&[], &["north 59"]),
            ])
        );
    }

    #[test]
    fn without_a_grace_one_leaves_at_once_and_several_all_the_same_not() {
        let mut departures = Departures::new(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(departures.judge(&names(&["east"]), &names(&[]), now).now, names(&["east"]));
        assert_eq!(departures.judge(&names(&["east", "west"]), &names(&[]), now).now, names(&[]));
    }
}
