//! One list-and-watch loop: all objects of one kind, then every change to them, for ever.
//!
//! Written on kube's `list` and `watch` calls and not on `kube::runtime::watcher`, which does not
//! show when a broken watch has been resumed: a quiet cluster would look stale until its next
//! change. Decides when to try again and when everything has to be listed anew; never what an object means.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt as _;
use kube::{
    Api,
    api::{ListParams, ObjectList, WatchEvent, WatchParams},
    runtime::watcher::Event,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    object_budget::{ClusterBudget, ObjectLedger},
    pruned_object::PrunedObject,
    watch_error::{Next, WatchError},
};

/// Objects per page of a list: a page of raw Deployments stays at a few MiB.
const PAGE_OBJECTS: u32 = 250;
/// What a page is divided by when it has more bytes than are read.
const SMALLER_PAGE: u32 = 5;
/// Fewest objects per page, each of which may be as large as etcd takes it.
const LEAST_PAGE_OBJECTS: u32 = 2;
/// Most pages of a list beyond those that the permitted objects fill. A page may be empty and still not the last
/// (`metadata.continue` of the Kubernetes API), so pages are counted on their own.
const SPARE_PAGES: usize = 1_000;
/// Longest time for a whole list. A position in a list is good for about five minutes (etcd's compaction), then the API server
/// answers 410.
const WHOLE_LIST_SECONDS: u64 = 600;
/// Longest position in a list or in the history that is sent back to a server: a URL has to hold it.
const MAX_POSITION_BYTES: usize = 4 << 10;
/// Longest wait for one page. A loaded API server needs seconds for a page; more is a sick one.
const LIST_ANSWER_SECONDS: u64 = 30;
/// After this long without a page its delay is reported: an operator who starts the controller needs a reason.
const SLOW_ANSWER_SECONDS: u64 = 5;
/// Longest wait for a watch to be accepted, which costs the server nothing.
const WATCH_ANSWER_SECONDS: u64 = 15;
/// Length of a watch, after which the server ends it and it is taken up again. A dead connection
/// shows when the end is overdue, so this bounds how long one goes unnoticed.
const WATCH_SECONDS: u32 = 55;
/// Watches are shorter by up to this much, so that those of a fleet do not all end together.
const WATCH_SPREAD_SECONDS: u32 = 10;
/// How long the end of a watch may be overdue.
const WATCH_GRACE_SECONDS: u64 = 5;
/// A watch is taken for resumed when this long after its acceptance no event has refused it: a version
/// that is too old is accepted first and refused in the first event, which comes at once.
const RESUMED_MILLIS: u64 = 1_000;
/// A watch that lived this long worked: the next failure starts the backoff from its beginning.
const STABLE_SECONDS: u64 = 5;
/// First wait after a failure that may pass by itself.
const SOON_FIRST_MILLIS: u64 = 500;
/// Longest wait after such failures; jitter at most doubles it.
const SOON_MAX_SECONDS: u64 = 15;
/// First wait after a failure that somebody has to repair, such as a CRD that is not there yet.
const LATER_FIRST_MILLIS: u64 = 1_000;
/// Longest wait after those: somebody who installs a CRD watches for the effect. Jitter at most doubles it.
const LATER_MAX_SECONDS: u64 = 8;
/// Wait before a kind that the cluster does not serve, and need not, is looked for again: one small request.
const ABSENT_SECONDS: u64 = 20;
/// Longest wait that a throttling server may ask for.
pub(super) const RETRY_AFTER_MAX_SECONDS: u64 = 60;

/// What an informer reports to.
pub(super) trait Sink {
    /// A list (`Init`, `InitApply` …, `InitDone`) or a change.
    fn event(&mut self, event: Event<PrunedObject>);
    /// A list has had no answer for so long that somebody should know; it is waited for further.
    fn delayed(&mut self, trouble: &WatchError);
    /// The objects cannot be read now; it is tried again.
    fn failed(&mut self, trouble: &WatchError);
    /// A broken watch goes on where it stopped: nothing was missed.
    fn resumed(&mut self);
}

/// One list-and-watch loop.
pub(super) struct Informer<S> {
    api: Api<PrunedObject>,
    resource: String,
    labels: Option<String>,
    sink: S,
    neighbours: Arc<Notify>,
    optional: bool,
    failing: bool,
    pace: Pace,
    ledger: ObjectLedger,
    page_objects: u32,
}

/// Why a watch ended.
enum Ended {
    /// By the server, as agreed.
    Duly,
    Failed(WatchError),
}

impl<S: Sink> Informer<S> {
    /// `resource` names the objects in messages. `neighbours` wakes the waiting informers of a cluster when one of them succeeds again.
    pub(super) fn new(
        api: Api<PrunedObject>,
        resource: String,
        labels: Option<&str>,
        sink: S,
        neighbours: Arc<Notify>,
        budget: Arc<ClusterBudget>,
    ) -> Self {
        let labels = labels.map(str::to_owned);
        let (pace, ledger) = (Pace::new(), ObjectLedger::new(budget));
        let page_objects = PAGE_OBJECTS;
        Self { api, resource, labels, sink, neighbours, optional: false, failing: false, pace, ledger, page_objects }
    }

    /// Whether the cluster need not serve the kind: then it is looked for rarely while it does not.
    pub(super) fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            match self.list().await {
                Ok(version) => {
                    self.recovered();
                    self.follow(version).await;
                }
                Err(trouble) => self.fail(&trouble).await,
            }
        }
    }

    /// Lists all objects; returns the version from which to watch.
    async fn list(&mut self) -> Result<String, WatchError> {
        let mut params = ListParams { label_selector: self.labels.clone(), ..ListParams::default() };
        let mut progress = ListProgress::new(&self.ledger);
        self.sink.event(Event::Init);
        self.ledger.begin_list();
        loop {
            let page = self.page(&mut params, &progress).await?;
            for item in page.items {
                self.ledger.list(&item).map_err(|error| WatchError::exceeds(&error.to_string(), &self.resource))?;
                self.sink.event(Event::InitApply(item));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => {
                    progress
                        .advance(&token)
                        .map_err(|error| WatchError::exceeds(&error.to_string(), &self.resource))?;
                    params = params.continue_token(&token);
                }
                None => {
                    let version = page.metadata.resource_version.filter(|version| is_position(version));
                    let version = version.ok_or_else(WatchError::no_version)?;
                    self.ledger.finish_list();
                    self.sink.event(Event::InitDone);
                    return Ok(version);
                }
            }
        }
    }

    /// The next page of a list. One that has too many bytes is asked for again with fewer objects.
    async fn page(
        &mut self,
        params: &mut ListParams,
        progress: &ListProgress,
    ) -> Result<ObjectList<PrunedObject>, WatchError> {
        loop {
            params.limit = Some(self.page_objects);
            let limit = Duration::from_secs(LIST_ANSWER_SECONDS);
            let deadline = progress.deadline.min(Instant::now() + limit);
            let slow = Duration::from_secs(SLOW_ANSWER_SECONDS);
            let mut request = pin!(timeout_at(deadline, self.api.list(params)));
            let page = match timeout(slow, &mut request).await {
                Ok(page) => page,
                Err(_) => {
                    self.sink.delayed(&WatchError::slow(slow));
                    request.await
                }
            };
            match page {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(error)) if self.page_objects > LEAST_PAGE_OBJECTS && WatchError::is_of_size(&error) => {
                    self.page_objects = (self.page_objects / SMALLER_PAGE).max(LEAST_PAGE_OBJECTS);
                }
                Ok(Err(error)) => return Err(WatchError::of(&error, &self.resource)),
                Err(_) if deadline == progress.deadline => {
                    return Err(WatchError::exceeds(&ListError::Time.to_string(), &self.resource));
                }
                Err(_) => return Err(WatchError::silent(limit)),
            }
        }
    }

    /// Watches from `version` on, until everything has to be listed again.
    async fn follow(&mut self, mut version: String) {
        loop {
            let begun = Instant::now();
            let ended = self.watch(&mut version).await;
            let was_stable = begun.elapsed() >= Duration::from_secs(STABLE_SECONDS);
            if was_stable {
                self.pace = Pace::new();
            }
            match ended {
                Ended::Duly if was_stable => {}
                // A server that ends every watch at once must not be called in a tight loop.
                Ended::Duly => self.pace.wait(Next::Soon, &self.neighbours).await,
                Ended::Failed(trouble) if trouble.next == Next::ListAgain => {
                    tracing::debug!(resource = self.resource, "{}", trouble.failure);
                    if !was_stable {
                        self.pace.wait(Next::Soon, &self.neighbours).await;
                    }
                    return;
                }
                Ended::Failed(trouble) => {
                    self.fail(&trouble).await;
                    if trouble.next == Next::ListLater {
                        return;
                    }
                }
            }
        }
    }

    /// One watch call, from its start to its end.
    async fn watch(&mut self, version: &mut String) -> Ended {
        let seconds = WATCH_SECONDS - spread(WATCH_SPREAD_SECONDS);
        let params = WatchParams { label_selector: self.labels.clone(), ..WatchParams::default() }.timeout(seconds);
        let overdue = Duration::from_secs(u64::from(seconds) + WATCH_GRACE_SECONDS);
        let deadline = Instant::now() + overdue;
        let limit = Duration::from_secs(WATCH_ANSWER_SECONDS);
        let stream = match timeout(limit, self.api.watch(&params, version)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ended::Failed(WatchError::of(&error, &self.resource)),
            Err(_) => return Ended::Failed(WatchError::silent(limit)),
        };
        let resumed = Instant::now() + Duration::from_millis(RESUMED_MILLIS);
        let mut stream = pin!(stream);
        loop {
            let until = if self.failing { resumed } else { deadline };
            let event = match timeout_at(until, stream.next()).await {
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    return Ended::Failed(WatchError::of_status(&status, &self.resource));
                }
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Ended::Failed(WatchError::of(&error, &self.resource)),
                Ok(None) => return Ended::Duly,
                Err(_) if self.failing => {
                    self.resume();
                    continue;
                }
                Err(_) => return Ended::Failed(WatchError::silent(overdue)),
            };
            self.resume();
            let seen = match &event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) | WatchEvent::Deleted(item) => {
                    item.resource_version()
                }
                WatchEvent::Bookmark(bookmark) => &bookmark.metadata.resource_version,
                WatchEvent::Error(_) => "",
            };
            if is_position(seen) {
                seen.clone_into(version);
            }
            match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    if let Err(error) = self.ledger.apply(&item) {
                        return Ended::Failed(WatchError::exceeds(&error.to_string(), &self.resource));
                    }
                    self.sink.event(Event::Apply(item));
                }
                WatchEvent::Deleted(item) => {
                    self.ledger.delete(&item);
                    self.sink.event(Event::Delete(item));
                }
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
        }
    }

    fn resume(&mut self) {
        if self.failing {
            self.sink.resumed();
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        if self.failing {
            self.failing = false;
            self.neighbours.notify_waiters();
        }
    }

    async fn fail(&mut self, trouble: &WatchError) {
        self.failing = true;
        self.sink.failed(trouble);
        if self.optional && trouble.not_served() {
            return sleep(Duration::from_secs(ABSENT_SECONDS)).await;
        }
        self.pace.wait(trouble.next, &self.neighbours).await;
    }
}

/// Why a list is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ListError {
    #[error("the list does not advance: the server sends the same position in it again")]
    Repeated,
    #[error("the list has more than {0} pages")]
    Pages(usize),
    #[error("the position in the list that the server sends has more than {MAX_POSITION_BYTES} bytes")]
    Position,
    #[error("the list has not ended after {WHOLE_LIST_SECONDS} s")]
    Time,
}

/// How far a list has come.
struct ListProgress {
    deadline: Instant,
    max_pages: usize,
    /// Hashes of the positions so far: a server may go in circles.
    positions: HashSet<u64>,
    hasher: RandomState,
}

impl ListProgress {
    fn new(ledger: &ObjectLedger) -> Self {
        Self {
            deadline: Instant::now() + Duration::from_secs(WHOLE_LIST_SECONDS),
            max_pages: ledger.max_objects() / LEAST_PAGE_OBJECTS as usize + SPARE_PAGES,
            positions: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Another page follows, from this position on.
    fn advance(&mut self, position: &str) -> Result<(), ListError> {
        if position.len() > MAX_POSITION_BYTES {
            return Err(ListError::Position);
        }
        if self.positions.len() >= self.max_pages {
            return Err(ListError::Pages(self.max_pages));
        }
        if !self.positions.insert(self.hasher.hash_one(position)) {
            return Err(ListError::Repeated);
        }
        if Instant::now() >= self.deadline {
            return Err(ListError::Time);
        }
        Ok(())
    }
}

/// Whether a resourceVersion can be sent back.
fn is_position(version: &str) -> bool {
    !version.is_empty() && version.len() <= MAX_POSITION_BYTES
}

/// How long to wait between tries.
struct Pace {
    soon: ExponentialBackoff,
    later: ExponentialBackoff,
}

impl Pace {
    fn new() -> Self {
        let backoff = |first_millis, max_seconds| {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(first_millis))
                .with_max_delay(Duration::from_secs(max_seconds))
                .without_max_times()
                .with_jitter()
                .build()
        };
        Self {
            soon: backoff(SOON_FIRST_MILLIS, SOON_MAX_SECONDS),
            later: backoff(LATER_FIRST_MILLIS, LATER_MAX_SECONDS),
        }
    }

    fn delay(&mut self, next: Next) -> Duration {
        let (backoff, max_seconds) = match next {
            Next::Later | Next::ListLater => (&mut self.later, LATER_MAX_SECONDS),
            Next::Soon | Next::After(_) | Next::ListAgain => (&mut self.soon, SOON_MAX_SECONDS),
        };
        let delay = backoff.next().unwrap_or(Duration::from_secs(max_seconds));
        match next {
            Next::After(asked) => delay.max(asked.min(Duration::from_secs(RETRY_AFTER_MAX_SECONDS))),
            _ => delay,
        }
    }

    async fn wait(&mut self, next: Next, neighbours: &Notify) {
        let delay = self.delay(next);
        if matches!(next, Next::After(_)) {
            return sleep(delay).await;
        }
        tokio::select! {
            () = sleep(delay) => {}
            () = neighbours.notified() => {}
        }
    }
}

/// Some number below `limit`, another each time. Nothing but timing depends on it.
fn spread(limit: u32) -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random % u64::from(limit)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_heed_the_server() {
        let mut pace = Pace::new();
        let waits: Vec<Duration> = (0..20).map(|_| pace.delay(Next::Soon)).collect();
        assert!(waits[0] < Duration::from_secs(2) && waits[0] >= Duration::from_millis(SOON_FIRST_MILLIS));
        let last = waits[19];
        assert!(last >= Duration::from_secs(SOON_MAX_SECONDS) && last <= Duration::from_secs(2 * SOON_MAX_SECONDS));
        assert!(Pace::new().delay(Next::After(Duration::from_secs(9))) >= Duration::from_secs(9));
        let forever = Pace::new().delay(Next::After(Duration::from_secs(86_400)));
        assert_eq!(forever, Duration::from_secs(RETRY_AFTER_MAX_SECONDS));
        let later = (0..20).map(|_| pace.delay(Next::Later)).max().unwrap();
        assert!(later <= Duration::from_secs(2 * LATER_MAX_SECONDS));
    }
}
