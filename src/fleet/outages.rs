//! The log of outages: which cluster cannot be read and why, in one line per cluster and cause, and one line when it is over.
//!
//! Decides what is worth a line, and never what an outage means. It follows [`Registry::reads`]: failures that pass within
//! moments, and those that come while an API server is just starting, are not logged; what comes and goes without end is logged
//! at a bounded rate.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    model::{ClusterName, ReadCause},
    registry::{ClusterReads, ReadTarget, Registry, Unread, main_failure, meanwhile},
};

/// A failure is logged when it has lasted this long: a watch that breaks is usually taken up again sooner.
const SETTLE: Duration = Duration::from_millis(2_500);
/// The same for single kinds during and after an outage of their cluster: an API server that starts answers 403 and 404 for a while.
const AFTERMATH: Duration = Duration::from_secs(15);
/// Kinds that can be read again are logged together when no further one came for this long.
const GATHER: Duration = Duration::from_secs(1);
/// Failures of one cluster that are logged at once.
const BURST: u32 = 4;
/// One more may be logged after each of these.
const REFILL: Duration = Duration::from_secs(60);

/// Writes the log until it is cancelled.
pub async fn follow(registry: Arc<Registry>, cancel: CancellationToken) {
    let begun = Instant::now();
    let mut log = OutageLog::default();
    let queries = registry.queries();
    loop {
        for line in log.observe(&queries.reads(), begun.elapsed()) {
            line.log();
        }
        let due = log.due().map(|due| tokio::time::Instant::from_std(begun + due));
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = queries.reads_changed() => {}
            () = wait => {}
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Failing { cluster: ClusterName, cause: ReadCause, message: String },
    Over { cluster: ClusterName, message: String },
}

impl Line {
    fn log(&self) {
        match self {
            Self::Failing { cluster, cause, message } => {
                tracing::warn!(%cluster, cause = cause.code(), "{message}");
            }
            Self::Over { cluster, message } => tracing::info!(%cluster, "{message}"),
        }
    }
}

/// What was logged of each cluster. Pure; the time is passed in, as the time since the start.
#[derive(Debug, Default)]
struct OutageLog {
    clusters: BTreeMap<ClusterName, ClusterLog>,
}

#[derive(Debug)]
struct ClusterLog {
    outage: Option<Outage>,
    /// When the last outage of the whole cluster ended.
    ended: Option<Duration>,
    kinds: BTreeMap<ReadTarget, KindOutage>,
    /// Kinds whose failure was logged and that can be read again: since when they failed, and when that ended.
    healed: BTreeMap<ReadTarget, (Duration, Duration)>,
    budget: LogBudget,
    /// Outages that were over before they were logged, since the last line.
    unlogged: usize,
    due: Option<Duration>,
}

/// The whole cluster cannot be read.
#[derive(Debug)]
struct Outage {
    since: Duration,
    /// The present cause, and since when it is that.
    cause: ReadCause,
    cause_since: Duration,
    logged: BTreeSet<ReadCause>,
}

/// One kind cannot be read.
#[derive(Debug)]
struct KindOutage {
    cause: ReadCause,
    since: Duration,
    logged: bool,
}

/// How many lines may be written.
#[derive(Debug)]
struct LogBudget {
    left: u32,
    refilled: Duration,
}

impl LogBudget {
    fn new(now: Duration) -> Self {
        Self { left: BURST, refilled: now }
    }

    fn take(&mut self, now: Duration) -> bool {
        while self.left < BURST && now.saturating_sub(self.refilled) >= REFILL {
            self.left += 1;
            self.refilled += REFILL;
        }
        if self.left == BURST {
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    /// When there is something to take again.
    fn next(&self) -> Duration {
        self.refilled + REFILL
    }
}

impl OutageLog {
    /// Takes the present state of all clusters, and returns the lines to log now.
    fn observe(&mut self, reads: &BTreeMap<ClusterName, ClusterReads>, now: Duration) -> Vec<Line> {
        // A cluster that left is not logged.
        self.clusters.retain(|cluster, _| reads.contains_key(cluster));
        let mut lines = Vec::new();
        for (cluster, reads) in reads {
            if reads.unread.is_empty() && !self.clusters.contains_key(cluster) {
                continue;
            }
            let log = self.clusters.entry(cluster.clone()).or_insert_with(|| ClusterLog::new(now));
            log.observe(cluster, reads, now, &mut lines);
        }
        lines
    }

    /// When to look again although nothing changes.
    fn due(&self) -> Option<Duration> {
        self.clusters.values().filter_map(|log| log.due).min()
    }
}

impl ClusterLog {
    fn new(now: Duration) -> Self {
        Self {
            outage: None,
            ended: None,
            kinds: BTreeMap::new(),
            healed: BTreeMap::new(),
            budget: LogBudget::new(now),
            unlogged: 0,
            due: None,
        }
    }

    fn observe(&mut self, cluster: &ClusterName, reads: &ClusterReads, now: Duration, lines: &mut Vec<Line>) {
        self.due = None;
        let (of_cluster, of_kinds) = reads.split();
        self.observe_cluster(cluster, &of_cluster, now, lines);
        self.observe_kinds(cluster, reads, &of_kinds, now, lines);
        self.tell_healed(cluster, now, lines);
    }

    fn observe_cluster(&mut self, cluster: &ClusterName, unread: &[&Unread], now: Duration, lines: &mut Vec<Line>) {
        let Some(failure) = main_failure(unread) else {
            let Some(outage) = self.outage.take() else { return };
            self.ended = Some(now);
            if outage.logged.is_empty() {
                self.unlogged += 1;
            } else {
                let message = format!("can be read again after {}", in_words(now.saturating_sub(outage.since)));
                lines.push(Line::Over { cluster: cluster.clone(), message });
            }
            return;
        };
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            cause: failure.cause,
            cause_since: now,
            logged: BTreeSet::new(),
        });
        if outage.cause != failure.cause {
            (outage.cause, outage.cause_since) = (failure.cause, now);
        }
        if outage.logged.contains(&failure.cause) {
            return;
        }
        let due = outage.cause_since + SETTLE;
        if now < due {
            return self.look_at(due);
        }
        if !self.budget.take(now) {
            return self.look_at(self.budget.next());
        }
        outage.logged.insert(failure.cause);
        let before = match std::mem::take(&mut self.unlogged) {
            0 => String::new(),
            1 => " (once more for a moment before)".to_owned(),
            times => format!(" (it came and went {times} times before)"),
        };
        let message = format!("cannot be read: {failure}; {}{before}", meanwhile(unread, true));
        lines.push(Line::Failing { cluster: cluster.clone(), cause: failure.cause, message });
    }

    fn observe_kinds(
        &mut self,
        cluster: &ClusterName,
        reads: &ClusterReads,
        unread: &[&Unread],
        now: Duration,
        lines: &mut Vec<Line>,
    ) {
        self.update_kinds(reads, unread, now);
        let unlogged = self
            .kinds
            .iter()
            .filter(|(target, kind)| !kind.logged && unread.iter().any(|unread| unread.target == **target));
        let mut causes: BTreeMap<ReadCause, Duration> = BTreeMap::new();
        for (_, kind) in unlogged {
            let due = kind.since + self.settle_time(kind.since);
            causes.entry(kind.cause).and_modify(|earliest| *earliest = due.min(*earliest)).or_insert(due);
        }
        for (cause, due) in causes {
            if now < due {
                self.look_at(due);
            } else if !self.budget.take(now) {
                self.look_at(self.budget.next());
            } else {
                lines.push(self.log_kinds(cluster, cause, unread));
            }
        }
    }

    /// How long a kind's failure that began then must last before it is logged.
    fn settle_time(&self, since: Duration) -> Duration {
        match (&self.outage, self.ended) {
            (None, None) => SETTLE,
            (None, Some(ended)) if since >= ended + AFTERMATH => SETTLE,
            _ => AFTERMATH,
        }
    }

    /// Records which kinds fail now, for which cause and since when.
    fn update_kinds(&mut self, reads: &ClusterReads, unread: &[&Unread], now: Duration) {
        let is_unread = |target: &ReadTarget| reads.unread.iter().any(|unread| unread.target == *target);
        let gone: Vec<ReadTarget> = self.kinds.keys().filter(|target| !is_unread(target)).copied().collect();
        for target in gone {
            if let Some(KindOutage { since, logged: true, .. }) = self.kinds.remove(&target) {
                self.healed.insert(target, (since, now));
            }
        }
        for unread in unread {
            let cause = unread.failure.cause;
            let healed = self.healed.remove(&unread.target);
            let kind = self.kinds.entry(unread.target).or_insert(KindOutage {
                cause,
                since: healed.map_or(now, |(since, _)| since),
                logged: healed.is_some(),
            });
            if kind.cause != cause {
                *kind = KindOutage { cause, since: now, logged: false };
            }
        }
    }

    /// All kinds that fail for one cause, in one line.
    fn log_kinds(&mut self, cluster: &ClusterName, cause: ReadCause, unread: &[&Unread]) -> Line {
        let mut of_cause: Vec<&Unread> = Vec::new();
        for unread in unread.iter().copied().filter(|unread| unread.failure.cause == cause) {
            if let Some(kind) = self.kinds.get_mut(&unread.target).filter(|kind| !kind.logged) {
                kind.logged = true;
                of_cause.push(unread);
            }
        }
        let first = main_failure(&of_cause).map(ToString::to_string).unwrap_or_default();
        let others = if of_cause.len() > 1 { "; likewise the others" } else { "" };
        let message = format!(
            "{} cannot be read: {first}{others}; {}",
            names(of_cause.iter().map(|unread| &unread.target)),
            meanwhile(&of_cause, false)
        );
        Line::Failing { cluster: cluster.clone(), cause, message }
    }

    fn tell_healed(&mut self, cluster: &ClusterName, now: Duration, lines: &mut Vec<Line>) {
        let Some(last) = self.healed.values().map(|(_, ended)| *ended).max() else { return };
        if now < last + GATHER {
            return self.look_at(last + GATHER);
        }
        let healed = std::mem::take(&mut self.healed);
        let longest = healed.values().map(|(since, ended)| ended.saturating_sub(*since)).max().unwrap_or_default();
        let message = format!("{} can be read again after {}", names(healed.keys()), in_words(longest));
        lines.push(Line::Over { cluster: cluster.clone(), message });
    }

    fn look_at(&mut self, due: Duration) {
        self.due = Some(self.due.map_or(due, |sooner| sooner.min(due)));
    }
}

/// All of them, each once.
fn names<'a>(targets: impl IntoIterator<Item = &'a ReadTarget>) -> String {
    let mut names: Vec<String> = targets.into_iter().map(ToString::to_string).collect();
    names.dedup();
    names.join(", ")
}

/// `18 s`, `3 min 5 s`, `2 h 10 min`.
fn in_words(duration: Duration) -> String {
    let seconds = (duration.as_millis() + 500) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ReadFailure};

    const ALL: usize = 26;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn reads(unread: &[(Kind, ReadCause)]) -> BTreeMap<ClusterName, ClusterReads> {
        let unread = unread.iter().map(|(kind, cause)| Unread {
            target: ReadTarget::Kind(*kind),
            failure: ReadFailure::new(*cause, format!("it is {}", cause.code())),
            since_seconds: 0,
            was_read: true,
        });
        [(ClusterName::parse("east").unwrap(), ClusterReads { all: ALL, unread: unread.collect() })].into()
    }

    fn all_kinds(cause: ReadCause) -> BTreeMap<ClusterName, ClusterReads> {
        reads(&Kind::ALL.iter().map(|kind| (*kind, cause)).collect::<Vec<_>>())
    }

    fn said(lines: Vec<Line>) -> Vec<String> {
        let text = |line| match line {
            Line::Failing { message, .. } => format!("- {message}"),
            Line::Over { message, .. } => format!("+ {message}"),
        };
        lines.into_iter().map(text).collect()
    }

    /// What is said of states at times, each state looked at again whenever the log asks for it.
    fn story(states: &[(u64, BTreeMap<ClusterName, ClusterReads>)]) -> Vec<String> {
        let mut log = OutageLog::default();
        let mut lines = Vec::new();
        for (at, (begin, state)) in states.iter().enumerate() {
            let end = states.get(at + 1).map_or(Duration::MAX, |(next, _)| seconds(*next));
            let mut now = seconds(*begin);
            loop {
                lines.extend(said(log.observe(state, now)));
                match log.due() {
                    Some(due) if due < end => now = due.max(now + Duration::from_millis(1)),
                    _ => break,
                }
            }
        }
        lines
    }

    #[test]
    fn an_outage_is_one_line_and_so_is_its_end() {
        let some = reads(&[(Kind::Node, ReadCause::Refused), (Kind::Service, ReadCause::Refused)]);
        let told = story(&[
            (10, some.clone()),
            (11, all_kinds(ReadCause::Refused)),
            (20, all_kinds(ReadCause::Refused)),
            // Kind by kind it comes back.
            (30, some),
            (31, reads(&[])),
        ]);
        assert_eq!(
            told,
            [
                "- cannot be read: it is connection-refused; what is known of it stays in force",
                "+ can be read again after 21 s"
            ]
        );
    }

    #[test]
    fn each_cause_is_logged_once_on_its_own_line() {
        let told = story(&[
            (0, all_kinds(ReadCause::Refused)),
            (10, all_kinds(ReadCause::Unauthorized)),
            (20, all_kinds(ReadCause::Refused)),
            (30, all_kinds(ReadCause::Unauthorized)),
            (100, reads(&[])),
        ]);
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[1].contains("unauthorized") && told[2] == "+ can be read again after 1 min 40 s", "{told:#?}");
    }

    #[test]
    fn missing_rights_and_definitions_are_one_line_per_cause_that_names_the_kinds() {
        let missing = [
            (Kind::Node, ReadCause::Forbidden),
            (Kind::Dependency, ReadCause::NotFound),
            (Kind::StatefulSet, ReadCause::Forbidden),
        ];
        let told = story(&[(0, reads(&missing)), (60, reads(&missing[1..2])), (3_720, reads(&[]))]);
        assert_eq!(
            told,
            [
                "- Node, StatefulSet cannot be read: it is forbidden; likewise the others; what is known of it stays in force",
                "- Dependency cannot be read: it is not-found; what is known of it stays in force",
                "+ StatefulSet, Node can be read again after 1 min 0 s",
                "+ Dependency can be read again after 1 h 2 min",
            ]
        );
        // One more that fails later is told by itself.
        let told = story(&[(0, reads(&missing[..1])), (60, reads(&[missing[0], missing[2]]))]);
        assert!(told.len() == 2 && told[1].starts_with("- StatefulSet cannot be read"), "{told:#?}");
    }

    #[test]
    fn short_failures_and_the_start_of_an_api_server_are_not_logged() {
        assert!(story(&[(0, all_kinds(ReadCause::Connection)), (2, reads(&[]))]).is_empty());
        let starting = reads(&[(Kind::Node, ReadCause::Forbidden), (Kind::Rollout, ReadCause::NotFound)]);
        let told =
            story(&[(0, all_kinds(ReadCause::Refused)), (10, starting.clone()), (16, reads(&[])), (100, reads(&[]))]);
        assert_eq!(told.len(), 2, "{told:#?}");
        let stays = story(&[(0, all_kinds(ReadCause::Refused)), (10, starting)]);
        assert_eq!(stays.len(), 4, "{stays:#?}");
    }

    #[test]
    fn flapping_problems_are_logged_at_a_limited_rate() {
        let mut states = Vec::new();
        for round in 0..120 {
            states.push((round * 10, all_kinds(ReadCause::Refused)));
            states.push((round * 10 + 5, reads(&[])));
        }
        let told = story(&states);
        // Twenty minutes: four at once and one a minute, each with its end.
        let most = 2 * (4 + 20);
        assert!(told.len() <= most && told.len() > 20, "{}: {told:#?}", told.len());
        assert!(told.iter().any(|line| line.contains("it came and went 5 times before")), "{told:#?}");
        let forth_and_back: Vec<_> = (0..600)
            .map(|at| {
                let cause = if at % 2 == 0 { ReadCause::Forbidden } else { ReadCause::NotFound };
                (at * 5, reads(&[(Kind::Node, cause)]))
            })
            .collect();
        assert!(story(&forth_and_back).len() <= 4 + 50 + 1);
    }

    #[test]
    fn a_cluster_that_leaves_has_no_notes() {
        let told = story(&[(0, all_kinds(ReadCause::Refused)), (10, BTreeMap::new()), (20, reads(&[]))]);
        assert_eq!(told.len(), 1);
    }
}
