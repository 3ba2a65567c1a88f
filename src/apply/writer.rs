//! The writer of one cluster: a task that takes units in turn and hands each to a worker.
//!
//! Decides when a unit's turn is: not before its cluster is known, not during a pause, one worker per unit, removals when
//! the guard clears them. `plan/` decides what is written, [`super::diff`] what differs. Each cluster has a writer of its own,
//! so that a sick one slows no other.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Desired,
    backoff::{self, Backoff},
    cluster_view::ClusterView,
    guard::{Budget, Guard, Verdict},
    memory::Memory,
    metrics::ApplyMetrics,
    queue::{Occasion, Queue, Work},
    report::Ending,
    store::{Store, whole},
    sync_namespace::SyncNamespace,
    write_barrier::WriteBarrier,
    writers::{ReleaseIds, SecretNames},
};
use crate::{
    config::Settings,
    model::{ClusterName, Kind, Note, NoteKind, ObjectId, ObjectKind, ObjectPath, WorkKey},
};

/// While a cluster's state is not known, the writer checks again this often. When the state changes, units are planned again,
/// which wakes the writer; the check is for work that only the writer remembers.
const RECHECK_SECONDS: u64 = 5;

/// What all writers share.
pub(super) struct Shared {
    pub(super) view: Arc<dyn ClusterView>,
    pub(super) settings: Arc<Settings>,
    pub(super) metrics: ApplyMetrics,
    /// Name of the Secret that registers a cluster, for instructions.
    pub(super) secret_of: SecretNames,
    /// The id of withheld removals that an operator consents to now.
    pub(super) consent_of: ReleaseIds,
}

/// Work that waits for something other than its turn.
#[derive(Debug)]
pub(super) enum Deferred {
    /// For everything to be known that a removal depends on.
    UntilRemovable(Option<Arc<Desired>>),
    /// For a refused content to be worth another request.
    Until(Instant, Arc<Desired>),
}

/// The state of a cluster's writer. Never locked over an await.
pub(super) struct WriterState {
    pub(super) queue: Queue,
    pub(super) guard: Guard,
    pub(super) backoff: Backoff,
    pub(super) memories: HashMap<WorkKey, Memory>,
    pub(super) deferred: HashMap<WorkKey, Deferred>,
    drift: usize,
    replans: HashMap<WorkKey, Instant>,
    /// The barriers at which other clusters wait for this cluster's write of a unit.
    barriers: HashMap<WorkKey, Arc<WriteBarrier>>,
    withheld_noted: Option<(String, usize)>,
    /// Refused contents that the cluster took later. What was refused before the last of them is worth another request.
    pub(super) taken_back: u64,
}

impl WriterState {
    /// The cluster took what it had refused: everything else that it refused is tried again.
    pub(super) fn take_back_refusals(&mut self, now: Instant) {
        self.taken_back += 1;
        for deferred in self.deferred.values_mut() {
            if let Deferred::Until(due, _) = deferred {
                *due = now;
            }
        }
    }

    /// Queues what waited for something that is there now.
    fn resume_deferred(&mut self, may_remove: bool, now: Instant) {
        let due: Vec<WorkKey> = self
            .deferred
            .iter()
            .filter(|(_, deferred)| match deferred {
                Deferred::UntilRemovable(_) => may_remove,
                Deferred::Until(due, _) => *due <= now,
            })
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in due {
            match self.deferred.remove(&unit) {
                Some(Deferred::UntilRemovable(Some(desired)) | Deferred::Until(_, desired)) => {
                    self.queue.submit(unit, desired, now, now);
                }
                Some(Deferred::UntilRemovable(None)) => self.queue.requeue(unit, now),
                None => {}
            }
        }
    }

    /// Releases what is withheld under an id, and nothing else. Returns the number of objects.
    fn release(&mut self, cluster: &ClusterName, id: &str, by: &str) -> Option<usize> {
        let objects = self.guard.withheld().map_or(0, |(_, objects)| objects.len());
        for unit in self.guard.release(id)? {
            self.queue.requeue(unit, Instant::now());
        }
        tracing::info!(%cluster, id, objects, by, "withheld removals were released");
        Some(objects)
    }

    /// The units that are to be planned again now.
    fn take_due_replans(&mut self, now: Instant) -> Vec<WorkKey> {
        let due: Vec<WorkKey> =
            self.replans.iter().filter(|(_, due)| **due <= now).map(|(unit, _)| unit.clone()).collect();
        for unit in &due {
            self.replans.remove(unit);
        }
        due
    }

    /// The units whose turn it is, as long as fewer than `most` are with a worker.
    fn take_runs(&mut self, most: usize, now: Instant) -> Vec<(WorkKey, Work)> {
        let mut runs = Vec::new();
        while self.queue.running() < most
            && let Some(run) = self.queue.take(now)
        {
            runs.push(run);
        }
        runs
    }

    /// When the writer must check again without being woken.
    fn wake_at(&self, can_write: bool, may_remove: bool, now: Instant) -> Option<Instant> {
        let waits = (!can_write && self.queue.len() > 0)
            || (!may_remove && (self.guard.judge_at(false).is_some() || !self.deferred.is_empty()));
        let deferred_until = self.deferred.values().filter_map(|deferred| match deferred {
            Deferred::Until(due, _) => Some(*due),
            Deferred::UntilRemovable(_) => None,
        });
        let times = [
            self.queue.next_due().filter(|due| *due > now && can_write),
            self.backoff.pause_until(now),
            self.guard.judge_at(can_write && self.queue.is_busy(now)).filter(|_| may_remove),
            waits.then(|| now + Duration::from_secs(RECHECK_SECONDS)),
        ];
        times.into_iter().flatten().chain(self.replans.values().copied()).chain(deferred_until).min()
    }
}

/// The writer of one cluster.
pub(super) struct ClusterWriter {
    pub(super) cluster: ClusterName,
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn Store>,
    pub(super) state: Mutex<WriterState>,
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) sync_namespace: SyncNamespace,
    /// Whether a note says that the cluster takes no writes.
    pub(super) unwritable_noted: AtomicBool,
}

impl ClusterWriter {
    pub(super) fn new(cluster: ClusterName, shared: Arc<Shared>, store: Arc<dyn Store>) -> Self {
        let budget = Budget { percent: shared.settings.max_removal_percent, floor: shared.settings.max_removal_floor };
        let state = WriterState {
            queue: Queue::default(),
            guard: Guard::new(budget),
            backoff: Backoff::default(),
            memories: HashMap::new(),
            deferred: HashMap::new(),
            drift: 0,
            replans: HashMap::new(),
            barriers: HashMap::new(),
            withheld_noted: None,
            taken_back: 0,
        };
        Self {
            cluster,
            shared,
            store,
            state: Mutex::new(state),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            sync_namespace: SyncNamespace::default(),
            unwritable_noted: AtomicBool::new(false),
        }
    }

    /// Queues the plan of a unit for the cluster.
    pub(super) fn submit(&self, unit: WorkKey, desired: Arc<Desired>, occasion: Occasion) {
        self.submit_first(unit, desired, occasion, None);
    }

    /// As [`ClusterWriter::submit`], with a barrier at which other clusters wait for it.
    pub(super) fn submit_first(
        &self,
        unit: WorkKey,
        desired: Arc<Desired>,
        occasion: Occasion,
        barrier: Option<Arc<WriteBarrier>>,
    ) {
        let mut state = self.state.lock();
        // A new plan replaces deferred work.
        state.replans.remove(&unit);
        state.deferred.remove(&unit);
        state.barriers.remove(&unit);
        state.barriers.extend(barrier.map(|barrier| (unit.clone(), barrier)));
        state.queue.submit(unit, desired, occasion, Instant::now());
        drop(state);
        self.wake.notify_one();
    }

    /// As [`ClusterWriter::submit`], after the clusters that come first, but no later than `due`.
    pub(super) fn submit_behind(
        self: &Arc<Self>,
        unit: WorkKey,
        desired: Arc<Desired>,
        occasion: Occasion,
        barrier: &WriteBarrier,
        due: Instant,
    ) {
        barrier.waits(self);
        let mut state = self.state.lock();
        state.replans.remove(&unit);
        state.deferred.remove(&unit);
        state.barriers.remove(&unit);
        state.queue.submit_for(unit.clone(), desired, occasion, due);
        drop(state);
        self.wake.notify_one();
        // The barrier may have opened meanwhile.
        if barrier.is_open() {
            self.bring_forward(&unit);
        }
    }

    /// Lets a unit run now.
    pub(super) fn bring_forward(&self, unit: &WorkKey) {
        self.state.lock().queue.bring_forward(unit, Instant::now());
        self.wake.notify_one();
    }

    /// Whether the cluster cannot be written to now.
    pub(super) fn is_sick(&self) -> bool {
        !self.shared.view.can_write(&self.cluster) || self.state.lock().backoff.pause_until(Instant::now()).is_some()
    }

    /// Drops the waiting work and the notes of a unit that has no objects in the cluster and wants none.
    pub(super) fn withdraw(&self, unit: &WorkKey) {
        if self.tracks(unit) {
            self.submit(unit.clone(), Arc::new(Desired::nothing()), Instant::now().into());
        }
    }

    /// Whether a unit waits, is under way, or has notes or a memory.
    fn tracks(&self, unit: &WorkKey) -> bool {
        let state = self.state.lock();
        state.queue.has(unit)
            || state.guard.has(unit)
            || state.memories.contains_key(unit)
            || state.deferred.contains_key(unit)
            || state.replans.contains_key(unit)
    }

    /// Releases the removals that are withheld under an id. Returns the number of objects.
    pub(super) fn release(&self, id: &str, by: &str) -> Option<usize> {
        let objects = self.state.lock().release(&self.cluster, id, by)?;
        self.note_withheld();
        self.wake.notify_one();
        Some(objects)
    }

    /// What is withheld: its id, its objects, and of how many they are.
    pub(super) fn withheld(&self) -> Option<(String, Vec<ObjectId>, usize)> {
        let state = self.state.lock();
        state.guard.withheld().map(|(batch, objects)| (batch.id.clone(), objects, batch.owned))
    }

    /// Whether nothing will happen until something changes.
    pub(super) fn is_idle(&self) -> bool {
        let can_write = self.shared.view.can_write(&self.cluster);
        let may_remove = self.shared.view.may_remove(&self.cluster);
        let state = self.state.lock();
        let queued = if can_write { state.queue.len() } else { state.queue.running() };
        queued == 0 && state.replans.is_empty() && !(may_remove && state.guard.judge_at(false).is_some())
    }

    /// Runs until it is stopped; runs under way end first.
    pub(super) async fn run(self: Arc<Self>) {
        let mut workers = JoinSet::new();
        let mut under_way: HashMap<tokio::task::Id, (WorkKey, Work)> = HashMap::new();
        while !(self.stop.is_cancelled() && workers.is_empty()) {
            let (turns, wake_at) = self.step();
            for (unit, work) in turns {
                let writer = Arc::clone(&self);
                let (for_worker, todo) = (unit.clone(), work.clone());
                let task = workers.spawn(async move { writer.execute(&for_worker, &todo).await });
                under_way.insert(task.id(), (unit, work));
            }
            self.note_withheld();
            tokio::select! {
                Some(joined) = workers.join_next_with_id(), if !workers.is_empty() => {
                    let (task, ending) = match joined {
                        Ok((task, ending)) => (task, ending),
                        Err(error) => {
                            tracing::error!(cluster = %self.cluster, %error, "a worker panicked; its unit is tried again");
                            (error.id(), Ending::Retry)
                        }
                    };
                    let (unit, work) = under_way.remove(&task).expect("every worker was entered when it was spawned");
                    self.settle(unit, work, ending);
                }
                () = self.wake.notified() => {}
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Finds out whose turn it is now, and when to look again.
    fn step(&self) -> (Vec<(WorkKey, Work)>, Option<Instant>) {
        let now = Instant::now();
        let view = &self.shared.view;
        let (can_write, may_remove) = (view.can_write(&self.cluster), view.may_remove(&self.cluster));
        let owned = view.owned_count(&self.cluster);
        let mut state = self.state.lock();
        let state = &mut *state;

        let replans = state.take_due_replans(now);
        state.resume_deferred(may_remove, now);
        let busy = can_write && state.queue.is_busy(now);
        if may_remove && let Verdict::Cleared(units) = state.guard.judge(owned, busy, now) {
            for unit in units {
                state.queue.requeue(unit, now);
            }
        }
        if state.guard.is_withholding()
            && let Some(id) = (self.shared.consent_of)(&self.cluster)
        {
            state.release(&self.cluster, &id, "the id on the cluster's Secret or in the fleet file");
        }
        let concurrency = self.shared.settings.write_concurrency.max(1);
        let most = if can_write && !self.stop.is_cancelled() { state.backoff.units(concurrency, now) } else { 0 };
        let runs = state.take_runs(most, now);
        ApplyMetrics::set(&self.shared.metrics.queue_depth, &self.cluster, state.queue.len());
        let wake_at = state.wake_at(can_write, may_remove, now);
        for unit in replans {
            view.mark(unit);
        }
        (runs, wake_at)
    }

    /// Puts a unit back where it belongs after its worker.
    fn settle(&self, unit: WorkKey, work: Work, ending: Ending) {
        let now = Instant::now();
        let mut state = self.state.lock();
        // Newer work keeps its own barrier.
        let passes = matches!(ending, Ending::Done | Ending::Refused | Ending::Again) && !state.queue.has_newer(&unit);
        let barrier = if passes { state.barriers.remove(&unit) } else { None };
        match ending {
            Ending::Done | Ending::Refused => state.queue.finish(&unit),
            Ending::Again => state.queue.retry(&unit, work, now),
            Ending::Retry => {
                let failures = work.failures.saturating_add(1);
                let due = now + backoff::wait_after(failures, Duration::from_millis(backoff::FIRST_PAUSE_MILLIS));
                state.queue.retry(&unit, Work { failures, ..work }, due);
            }
            Ending::Replan => {
                let newer = state.queue.has_newer(&unit);
                state.queue.finish(&unit);
                if !newer {
                    let conflicts = state.memories.get(&unit).map_or(1, |memory| memory.conflicts);
                    let wait = backoff::wait_after(conflicts, Duration::from_millis(backoff::CONFLICT_WAIT_MILLIS));
                    state.replans.insert(unit, now + wait);
                }
            }
        }
        drop(state);
        if let Some(barrier) = barrier {
            barrier.pass(&self.cluster);
        }
    }

    /// Keeps the memory of a unit, and the sum of what differs from the plan.
    pub(super) fn remember(&self, unit: &WorkKey, memory: Memory) {
        let mut state = self.state.lock();
        let drift_before = state.memories.remove(unit).map_or(0, |before| before.drift);
        state.drift = state.drift + memory.drift - drift_before;
        ApplyMetrics::set(&self.shared.metrics.drift, &self.cluster, state.drift);
        if !memory.is_empty() {
            state.memories.insert(unit.clone(), memory);
        }
    }

    /// Updates the note about withheld removals when they changed.
    fn note_withheld(&self) {
        let mut state = self.state.lock();
        let now = state.guard.withheld().map(|(batch, objects)| (batch.id.clone(), objects.len(), batch.owned));
        let brief = now.as_ref().map(|(id, count, _)| (id.clone(), *count));
        if brief == state.withheld_noted {
            return;
        }
        state.withheld_noted = brief;
        drop(state);
        let count = now.as_ref().map_or(0, |(_, count, _)| *count);
        ApplyMetrics::set(&self.shared.metrics.removals_withheld, &self.cluster, count);
        let notes = now.map(|(id, count, owned)| self.withheld_note(&id, count, owned)).into_iter().collect();
        let settings = &self.shared.settings;
        self.shared.view.note(&self.cluster, &whole(Kind::ServiceEntry, &settings.sync_namespace), notes);
    }

    fn withheld_note(&self, id: &str, count: usize, owned: usize) -> Note {
        let cluster = &self.cluster;
        let namespace = &self.shared.settings.secret_namespace;
        let how = match (self.shared.secret_of)(cluster) {
            Some(secret) => format!(
                "by `kubectl annotate secret -n {namespace} {secret} tradewind.io/release-removals={id} --overwrite` on the hub, or \
                 by `tradewind withheld --release` with those of the other clusters"
            ),
            None => format!(
                "by `releaseRemovals: {id}` of the cluster in the fleet file and a restart, or removed by hand where they are"
            ),
        };
        let message = format!(
            "{count} of {owned} objects would be removed at once; none of them is, until they are wanted again or released \
             {how}. The id is {id}"
        );
        let object = ObjectPath::new(cluster, ObjectKind::Cluster, "", cluster.as_str());
        Note { kind: NoteKind::RemovalsWithheld, object, service: None, message }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
