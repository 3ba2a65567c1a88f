//! How fast a cluster may be written to after failures: pauses for a sick cluster, and for a kind that cannot be written.
//!
//! The time is passed in; only the jitter is random. Decides when to try, never what.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};

use super::store::WriteError;
use crate::model::{Kind, ObjectId};

/// First pause after a failure: a lost connection or a restarting API server is often back within a second.
pub(super) const FIRST_PAUSE_MILLIS: u64 = 250;

/// Longest pause, before jitter doubles it at most: a cluster that comes back is found within two minutes.
pub(super) const LONGEST_PAUSE_SECONDS: u64 = 60;

/// First wait after a conflict: the watch usually brings the fresh state within milliseconds.
pub(super) const CONFLICT_WAIT_MILLIS: u64 = 100;

/// Least wait before an object that was refused is tried again unchanged, which jitter doubles at most: a webhook or a quota that
/// is mended meanwhile shows in no other way.
const REFUSED_WAIT_SECONDS: u64 = 60;

/// The wait before an object that was refused is tried again unchanged.
pub(super) fn wait_after_refusal() -> Duration {
    wait_after(1, Duration::from_secs(REFUSED_WAIT_SECONDS))
}

/// Failures of the server (5xx) in a row before the whole cluster pauses: one object may fail alone, by an admission
/// webhook that stumbles over it.
const SERVER_FAILURES: u32 = 3;

/// The wait after a number of failures in a row: doubling, with jitter, so that clients do not come back together.
pub(super) fn wait_after(failures: u32, first: Duration) -> Duration {
    let longest = Duration::from_secs(LONGEST_PAUSE_SECONDS);
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build()
        .nth(failures.saturating_sub(1).min(16) as usize)
        .unwrap_or(longest)
}

#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    fn extend(&mut self, least: Option<Duration>, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let wait = wait_after(self.failures, Duration::from_millis(FIRST_PAUSE_MILLIS));
        self.until = Some(now + wait.max(least.unwrap_or_default()));
    }
}

/// The pauses of one cluster.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    cluster: Pause,
    server_failures: u32,
    kinds: HashMap<(Kind, Arc<str>), Pause>,
}

impl Backoff {
    /// A request failed.
    pub(super) fn failed(&mut self, id: &ObjectId, error: &WriteError, now: Instant) {
        if !error.is_sick_cluster() {
            // It answered.
            (self.cluster, self.server_failures) = (Pause::default(), 0);
        }
        if error.is_kind_wide() {
            let pause = self.kinds.entry((id.kind, id.namespace.clone())).or_default();
            // What was under way together fails together, and counts once.
            if pause.is_over(now) {
                pause.extend(None, now);
            }
        } else if error.is_sick_cluster() {
            if matches!(error, WriteError::Server(_)) {
                self.server_failures += 1;
                if self.server_failures < SERVER_FAILURES {
                    return;
                }
            }
            let least = match error {
                WriteError::Throttled { retry_after } => *retry_after,
                _ => None,
            };
            if self.cluster.is_over(now) {
                self.cluster.extend(least, now);
            }
        }
    }

    /// A request was answered as it should be.
    pub(super) fn succeeded(&mut self, id: &ObjectId) {
        self.cluster = Pause::default();
        self.server_failures = 0;
        self.kinds.remove(&(id.kind, id.namespace.clone()));
    }

    /// How many units may be under way: none during a pause, one to feel the ground after it.
    pub(super) fn units(&self, most: usize, now: Instant) -> usize {
        match (self.cluster.is_over(now), self.cluster.failures) {
            (false, _) => 0,
            (true, 0) => most,
            (true, _) => 1,
        }
    }

    /// The end of the cluster's pause.
    pub(super) fn pause_until(&self, now: Instant) -> Option<Instant> {
        self.cluster.until.filter(|until| *until > now)
    }

    /// Until when a kind is not worth a request.
    pub(super) fn kind_until(&self, id: &ObjectId, now: Instant) -> Option<Instant> {
        self.kinds.get(&(id.kind, id.namespace.clone()))?.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: Kind) -> ObjectId {
        ObjectId::new(kind, "sync", "a")
    }

    fn unreachable() -> WriteError {
        WriteError::Unreachable("gone".into())
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let first = Duration::from_millis(FIRST_PAUSE_MILLIS);
        for (failures, least) in [(1, first), (2, first * 2), (5, first * 16), (99, Duration::from_secs(60))] {
            let wait = wait_after(failures, first);
            assert!(wait >= least && wait <= least * 2, "{failures}: {wait:?}");
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_every_one_to_two_minutes() {
        for _ in 0..100 {
            let wait = wait_after_refusal();
            assert!(wait >= Duration::from_secs(60) && wait <= Duration::from_secs(120), "{wait:?}");
        }
    }

    #[test]
    fn a_sick_cluster_pauses_then_feels_the_ground_then_goes_on() {
        let (mut pace, now) = (Backoff::default(), Instant::now());
        assert_eq!(pace.units(8, now), 8);
        for _ in 0..8 {
            pace.failed(&id(Kind::ServiceEntry), &unreachable(), now);
        }
        assert_eq!(pace.units(8, now), 0);
        let until = pace.pause_until(now).unwrap();
        assert!(until <= now + Duration::from_millis(2 * FIRST_PAUSE_MILLIS), "what failed together counts once");
        assert_eq!(pace.units(8, until), 1);
        pace.succeeded(&id(Kind::ServiceEntry));
        assert_eq!(pace.units(8, until), 8);
    }

    #[test]
    fn retry_after_of_a_server_is_honoured() {
        let (mut pace, now) = (Backoff::default(), Instant::now());
        let rest = Duration::from_secs(7);
        pace.failed(&id(Kind::ServiceEntry), &WriteError::Throttled { retry_after: Some(rest) }, now);
        assert_eq!(pace.pause_until(now), Some(now + rest));
    }

    #[test]
    fn one_object_that_a_webhook_fails_on_pauses_nobody() {
        let (mut pace, now) = (Backoff::default(), Instant::now());
        let error = WriteError::Server("webhook".into());
        for _ in 0..10 {
            pace.failed(&id(Kind::ServiceEntry), &error, now);
            pace.succeeded(&id(Kind::DestinationRule));
        }
        assert_eq!(pace.units(8, now), 8);
        for _ in 0..SERVER_FAILURES {
            pace.failed(&id(Kind::ServiceEntry), &error, now);
        }
        assert_eq!(pace.units(8, now), 0);
    }

    #[test]
    fn a_kind_without_rights_waits_alone() {
        let (mut pace, now) = (Backoff::default(), Instant::now());
        pace.failed(&id(Kind::Sidecar), &WriteError::Forbidden("no".into()), now);
        assert!(pace.kind_until(&id(Kind::Sidecar), now).is_some());
        assert_eq!(pace.kind_until(&id(Kind::ServiceEntry), now), None);
        assert_eq!(pace.units(8, now), 8);
    }
}
