//! What a command that reads once could not read: how long it waits for it, how it is told, and what that means for the exit
//! code.
//!
//! Where something is missing, differences and plans are those of the rest: whoever trusts the exit code must learn of it.

use std::{fmt, process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};

use super::output;
use crate::{
    model::{ClusterName, Note, NoteKind, ReadCause, ReadFailure},
    registry::{ClusterReads, Registry, Unread, main_failure},
};

/// Longest wait for live clusters to be read once, whatever their API servers ask for.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long failures are waited for that often pass by themselves: an API server that is just restarted or loaded.
const PASSING: Duration = Duration::from_secs(10);

/// The wait where an API server asks for none in particular, and the shortest one.
const REST: Duration = Duration::from_secs(1);

pub(super) fn allow_partial_arg() -> Arg {
    Arg::new("allow-partial")
        .long("allow-partial")
        .action(ArgAction::SetTrue)
        .help("End with the ordinary exit code although something could not be read; what is missing is still named")
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    cluster: ClusterName,
    /// Kinds, or `all kinds`; nothing where the reason names a file.
    what: Option<String>,
    reason: String,
}

impl Missing {
    pub(super) fn new(cluster: &ClusterName, what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { cluster: cluster.clone(), what: Some(what.into()), reason: reason.to_string() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.cluster)?;
        if let Some(what) = &self.what {
            write!(f, "{what}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Names on standard error what is missing.
pub(super) fn say(missing: impl IntoIterator<Item = impl fmt::Display>) {
    for missing in missing {
        output::say(format_args!("incomplete: {missing}"));
    }
}

/// The exit code of a command that would end with `ordinary` if it had read everything.
pub(super) fn code(is_complete: bool, flags: &ArgMatches, ordinary: u8) -> ExitCode {
    ExitCode::from(if is_complete || flags.get_flag("allow-partial") { ordinary } else { super::FAILED })
}

/// The notes that say no more than what is named as missing anyway.
pub(super) fn repeats(note: &Note, missing: &[Missing]) -> bool {
    matches!(note.kind, NoteKind::ClusterUnreachable | NoteKind::KindUnreadable)
        && missing.iter().any(|missing| missing.cluster == note.object.cluster)
}

/// What could not be read of live clusters: for each cluster and cause one entry that names the kinds.
pub(super) fn unread(registry: &Registry, is_live: impl Fn(&ClusterName) -> bool) -> Vec<Missing> {
    let reads = registry.queries().reads().into_iter().filter(|(cluster, _)| is_live(cluster));
    reads.flat_map(|(cluster, reads)| missing_in(&cluster, &reads)).collect()
}

fn missing_in(cluster: &ClusterName, reads: &ClusterReads) -> Vec<Missing> {
    let (of_cluster, of_kinds) = reads.split();
    let mut missing = Vec::new();
    if let Some(failure) = main_failure(&of_cluster) {
        let what = if of_cluster.len() >= reads.all { "all kinds".to_owned() } else { names(&of_cluster) };
        missing.push(Missing::new(cluster, what, failure));
    }
    let mut causes: Vec<ReadCause> = of_kinds.iter().map(|unread| unread.failure.cause).collect();
    causes.sort();
    causes.dedup();
    for cause in causes {
        let of_cause: Vec<&Unread> = of_kinds.iter().copied().filter(|unread| unread.failure.cause == cause).collect();
        if let Some(failure) = main_failure(&of_cause) {
            missing.push(Missing::new(cluster, names(&of_cause), failure));
        }
    }
    missing
}

fn names(unread: &[&Unread]) -> String {
    let mut names: Vec<String> = unread.iter().map(|unread| unread.target.to_string()).collect();
    names.dedup();
    names.join(", ")
}

/// What is worth waiting for, in words, after so much waiting: lists that have not come yet, and failures that pass.
pub(super) fn awaited(registry: &Registry, waited: Duration) -> Option<String> {
    if waited >= READ_TIMEOUT {
        return None;
    }
    let reads = registry.queries().reads();
    let failing = reads.iter().flat_map(|(cluster, reads)| reads.unread.iter().map(move |unread| (cluster, unread)));
    let mut passing = failing.filter(|(_, unread)| passes(unread, waited));
    if let Some((cluster, unread)) = passing.next() {
        let more = match passing.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        return Some(format!("{cluster}: {} ({}){more}", unread.target, unread.failure));
    }
    let loading = registry.queries().loading();
    let (cluster, kind) = loading.first()?;
    let more = match loading.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("{cluster}: {}{more}", kind.as_str()))
}

fn passes(unread: &Unread, waited: Duration) -> bool {
    let limit = match unread.failure.cause {
        ReadCause::Throttled => READ_TIMEOUT,
        ReadCause::ServerError | ReadCause::Connection => PASSING,
        // What did not answer was waited for already; the others last until somebody changes something.
        _ => Duration::ZERO,
    };
    waited < limit
}

/// How much longer a command waits for API servers that ask it to.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
}

impl Patience {
    /// As much as for reading a fleet.
    pub(super) fn new() -> Self {
        Self { left: READ_TIMEOUT }
    }

    /// The next wait, as the server asks for it; none when nothing is left.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = asked.unwrap_or(REST).max(REST).min(self.left);
        self.left -= wait;
        (!wait.is_zero()).then_some(wait)
    }
}

/// What has no whole answer by now counts as not read, for good.
pub(super) fn give_up_loading(registry: &Registry, now_seconds: i64) {
    for (cluster, kind) in registry.queries().loading() {
        let words = format!("it was not listed whole within {} s", READ_TIMEOUT.as_secs());
        let failure = match registry.queries().delay_of(&cluster, kind) {
            Some(delay) => delay,
            None => ReadFailure::new(ReadCause::Timeout, words),
        };
        registry.unreadable(&cluster, kind, failure, now_seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{config::Settings, model::Kind};

    fn registry() -> (Registry, ClusterName) {
        let registry = Registry::new(Arc::new(Settings::default()));
        let east = ClusterName::parse("east").unwrap();
        registry.register(&east);
        registry.fleet_listed();
        for kind in registry.settings().watched_kinds_in(&east) {
            registry.reset(&east, kind, Vec::new());
        }
        (registry, east)
    }

    fn fails(registry: &Registry, east: &ClusterName, kind: Kind, cause: ReadCause) {
        registry.unreadable(east, kind, ReadFailure::new(cause, cause.code()), 0);
    }

    #[test]
    fn commands_wait_for_a_short_throttling_but_not_for_a_lasting_one() {
        let seconds = Duration::from_secs;
        let (registry, east) = registry();
        assert_eq!(awaited(&registry, seconds(0)), None);
        for (cause, waits) in [
            (ReadCause::Throttled, 59),
            (ReadCause::ServerError, 9),
            (ReadCause::Refused, 0),
            (ReadCause::Unauthorized, 0),
            (ReadCause::Forbidden, 0),
            (ReadCause::NotFound, 0),
            (ReadCause::Tls, 0),
        ] {
            fails(&registry, &east, Kind::Node, cause);
            let waited = (0..90).take_while(|at| awaited(&registry, seconds(*at)).is_some()).count();
            assert_eq!(waited, if waits == 0 { 0 } else { waits + 1 }, "{cause:?}");
        }
        fails(&registry, &east, Kind::Node, ReadCause::Throttled);
        fails(&registry, &east, Kind::Service, ReadCause::Throttled);
        assert_eq!(awaited(&registry, seconds(0)).unwrap(), "east: Service (throttled), and 1 more");
        // A list that has not come yet is waited for, and then is missing.
        let (registry, _) = self::registry();
        let west = ClusterName::parse("west").unwrap();
        registry.register(&west);
        let first = registry.settings().watched_kinds_in(&west)[0];
        assert!(awaited(&registry, seconds(59)).unwrap().starts_with(&format!("west: {}", first.as_str())));
        give_up_loading(&registry, 0);
        assert_eq!(awaited(&registry, seconds(0)), None);
        let missing = unread(&registry, |_| true);
        assert!(missing.len() == 1 && missing[0].to_string().starts_with("west: all kinds: "), "{missing:?}");
    }

    #[test]
    fn waits_follow_retry_after_and_have_a_total_limit() {
        let mut patience = Patience::new();
        let waits: Vec<u64> = [None, Some(5), Some(0), Some(40), Some(40), Some(1)]
            .map(|asked| patience.next(asked.map(Duration::from_secs)).map_or(0, |wait| wait.as_secs()))
            .to_vec();
        assert_eq!(waits, [1, 5, 1, 40, 13, 0]);
    }

    #[test]
    fn missing_kinds_are_named_with_their_cause_and_absent_ones_are_not_missing() {
        let (registry, east) = registry();
        for kind in [Kind::Node, Kind::StatefulSet] {
            fails(&registry, &east, kind, ReadCause::Forbidden);
        }
        fails(&registry, &east, Kind::Service, ReadCause::ServerError);
        registry.absent(&east, Kind::Rollout, ReadFailure::new(ReadCause::NotFound, "404"), 0);
        registry.absent(&east, Kind::GlobalTrafficPolicy, ReadFailure::new(ReadCause::NotFound, "404"), 0);
        let shown: Vec<String> = unread(&registry, |_| true).iter().map(Missing::to_string).collect();
        assert_eq!(
            shown,
            ["east: StatefulSet, Node: forbidden", "east: GlobalTrafficPolicy: 404", "east: Service: server-error"]
        );
        assert!(unread(&registry, |_| false).is_empty());
        // Dependencies are looked for in every cluster where there is no hub, and need not be served there.
        fails(&registry, &east, Kind::Dependency, ReadCause::NotFound);
        assert_eq!(unread(&registry, |_| true).len(), 3);
        fails(&registry, &east, Kind::Dependency, ReadCause::Unauthorized);
        assert_eq!(unread(&registry, |_| true)[0].to_string(), "east: Dependency: unauthorized");
        registry.reset(&east, Kind::Dependency, Vec::new());
        let notes = registry.notes().all();
        assert!(notes.iter().all(|note| repeats(note, &unread(&registry, |_| true))), "{notes:?}");
    }
}
