//! One run of one unit in one cluster: compare, write what differs in order, remove what the guard cleared, note what went
//! wrong.
//!
//! The comparison happens here and now, against the newest known state, so nothing stale is ever sent. Each failure stays
//! with its object: the other groups of the unit go on, unless the whole cluster does not answer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Desired, backoff,
    diff::{Changes, DiffInputs, diff, unsettled},
    memory::{Memory, Refused},
    queue::Work,
    report::{Ending, ObjectOutcome, Report},
    store::{Outcome, WriteError, whole},
    write::{ObjectWrite, Verb, Write},
    writer::{ClusterWriter, Deferred},
};
use crate::{
    istio::Object,
    model::{Kind, Note, NoteKind, ObjectId, ObjectPath, WorkKey, Written},
    registry::Because,
};

/// One run of a unit, with one worker.
struct Run<'a> {
    writer: &'a ClusterWriter,
    unit: &'a WorkKey,
    work: &'a Work,
    memory: Memory,
    /// The event that led to this run.
    because: Because,
    report: Report,
}

/// Why an object is written, for the log.
struct Why {
    /// The reason, where no change shows it.
    reason: Option<&'static str>,
    /// What changes in it.
    changed: Option<String>,
    /// The event that led to the write.
    because: Because,
}

impl ClusterWriter {
    /// One run of a unit.
    pub(super) async fn execute(&self, unit: &WorkKey, work: &Work) -> Ending {
        let memory = self.state.lock().memories.get(unit).cloned().unwrap_or_default();
        let because = work.because.clone().unwrap_or_default();
        Run { writer: self, unit, work, memory, because, report: Report::default() }.execute().await
    }

    /// Whether an operator wants no writes of the unit now. Checked before each write, so that a long run ends at once.
    fn is_barred(&self, unit: &WorkKey) -> bool {
        self.shared.view.is_read_only() || self.shared.view.is_suspended(&self.cluster, unit)
    }
}

impl Run<'_> {
    async fn execute(mut self) -> Ending {
        if self.is_suspended() {
            // The end of the suspension, or of read-only mode, marks the unit again.
            self.want_removed(&[]);
            self.writer.remember(self.unit, Memory::default());
            return Ending::Done;
        }
        match &self.work.desired {
            Some(desired) => self.reconcile(desired).await,
            None => self.remove_cleared().await,
        }
        self.update_notes();
        self.note_unwritable();
        let ending = self.report.ending();
        self.memory.conflicts = if ending == Ending::Replan { self.memory.conflicts.saturating_add(1) } else { 0 };
        self.writer.remember(self.unit, self.memory);
        ending
    }

    /// Whether nothing of the unit is even compared. In read-only mode, what differs is still counted.
    fn is_suspended(&self) -> bool {
        let is_suspended = || self.writer.shared.view.is_suspended(&self.writer.cluster, self.unit);
        self.writer.is_barred(self.unit) && (self.work.desired.is_none() || is_suspended())
    }

    async fn reconcile(&mut self, desired: &Arc<Desired>) {
        let changes = self.compare(desired);
        self.memory.keep(&changes.wanted);
        changes.obstacles.iter().cloned().for_each(|obstacle| self.report.obstruct(obstacle));
        let shared = &self.writer.shared;
        if shared.view.is_read_only() || shared.settings.dry_run {
            self.want_removed(&[]);
            self.log_dry_run(&changes);
            return;
        }
        // The removal of one object triggers further runs; the reason stays the original event.
        let removing = self.memory.removing.take().unwrap_or_else(|| self.because.clone());
        self.memory.removing = (!changes.removals.is_empty()).then_some(removing);
        self.want_removed(&changes.removals);
        self.write_all(changes.groups).await;
        if self.report.is_clean() && !self.writer.stop.is_cancelled() {
            self.measure_latency();
            // Their replacements exist now.
            self.remove_cleared().await;
        }
        self.memory.drift = self.report.differing();
        self.defer(desired, changes.waits_for_removal);
    }

    fn compare(&self, desired: &Desired) -> Changes {
        let (view, cluster) = (&self.writer.shared.view, &self.writer.cluster);
        diff(
            desired,
            &DiffInputs {
                of_unit: &view.written_of(cluster, self.unit),
                find: &|id| view.written(cluster, id),
                in_the_way: &|id, host| view.entry_in_the_way(cluster, id, host),
                settled: &|id, wanted, observed| self.memory.settled.get(id) == Some(&(wanted, observed)),
                adopt_admiral: self.writer.shared.settings.adopt_admiral,
                may_remove: view.may_remove(cluster),
            },
        )
    }

    fn want_removed(&self, removals: &[Arc<Written>]) {
        self.writer.state.lock().guard.set_removals(self.unit, removals, Instant::now());
    }

    /// Read-only mode counts what differs; a dry run also logs it, once per content.
    fn log_dry_run(&mut self, changes: &Changes) {
        let all: Vec<&ObjectWrite> = changes.groups.iter().flatten().collect();
        self.memory.drift = all.len() + changes.removals.len() + changes.obstacles.len();
        if !self.writer.shared.settings.dry_run {
            return;
        }
        let written = all.iter().map(|write| (write.id(), (write.verb(), write.digest())));
        // A removal has no content of its own: it is logged again for another object of the name.
        let removed =
            changes.removals.iter().map(|written| (written.id.clone(), (removal_verb(written), written.digest)));
        let would: BTreeMap<ObjectId, (Verb, u64)> = written.chain(removed).collect();
        for (id, (verb, digest)) in &would {
            if self.memory.logged.get(id) != Some(digest) {
                let changed = all.iter().find(|write| write.id() == *id).and_then(|write| write.summary());
                tracing::info!(
                    cluster = %self.writer.cluster, service = %name_of(self.unit), kind = id.kind.as_str(),
                    namespace = &*id.namespace, name = &*id.name, changed, because = self.because.to_string(),
                    "dry run: would {verb}"
                );
            }
        }
        self.memory.logged = would.into_iter().map(|(id, (_, digest))| (id, digest)).collect();
    }

    async fn write_all(&mut self, groups: Vec<Vec<ObjectWrite>>) {
        for group in groups {
            if self.report.unanswered().is_some() || self.writer.stop.is_cancelled() {
                return;
            }
            for write in group {
                if self.writer.is_barred(self.unit) {
                    return;
                }
                let (id, verb) = (write.id(), write.verb());
                match self.write(write).await {
                    Ok(()) => self.report.enter(id, ObjectOutcome::Written),
                    Err(error) => {
                        self.report.fail(id, verb, &error);
                        break;
                    }
                }
            }
        }
    }

    /// One write of an object, unless it is known to fail.
    async fn write(&mut self, write: ObjectWrite) -> Outcome<()> {
        let (id, digest, now) = (write.id(), write.digest(), Instant::now());
        let over = write.over().map(|over| over.resource_version.clone());
        let taken_back = self.writer.state.lock().taken_back;
        let is_same =
            |refused: &Refused| refused.digest == digest && refused.over == over && refused.taken_back == taken_back;
        if let Some(refused) = self.memory.refusal(&id, now, is_same) {
            return Err(WriteError::Refused(refused.reason.clone()));
        }
        if self.writer.state.lock().backoff.kind_until(&id, now).is_some() {
            return Err(WriteError::Waiting);
        }
        if matches!(write, ObjectWrite::Create { .. }) && *id.namespace == *self.writer.shared.settings.sync_namespace {
            self.writer.ensure_namespace(&id).await?;
        }
        let why = Why { reason: write.reason(), changed: write.summary(), because: self.because.clone() };
        let write = Write::from(write);
        let answer = self.send(&write, why).await;
        if let Err(WriteError::Refused(reason)) = &answer {
            let (until, reason) = (now + backoff::wait_after_refusal(), reason.clone());
            self.memory.refused.insert(id.clone(), Refused { digest, over, taken_back, until, reason });
        }
        let written = answer?;
        if self.memory.refused.remove(&id).is_some() {
            // What refused it may have refused others.
            self.writer.state.lock().take_back_refusals(now);
        }
        match (write, written) {
            (Write::Object(write), Some(written)) => self.settle(*write, written).await,
            _ => Ok(()),
        }
    }

    /// Compares what is there after a write with what was sent. Where somebody else wrote into the fields that Tradewind
    /// decides, all of them are taken over once; what differs after that is left and noted.
    async fn settle(&mut self, write: ObjectWrite, mut written: Written) -> Outcome<()> {
        let Some(digest) = write.object().map(Object::digest).filter(|digest| *digest != written.digest) else {
            return Ok(());
        };
        if let ObjectWrite::Create { object } | ObjectWrite::Update { object, .. } = write {
            let over = Arc::new(written.clone());
            let reason = Some("another manager wrote into the managed fields");
            let why = Why { reason, changed: None, because: self.because.clone() };
            let again = self.send(&ObjectWrite::TakeOver { object, over }.into(), why).await?;
            written = again.unwrap_or(written);
        }
        if written.digest != digest {
            self.memory.settled.insert(written.id.clone(), (digest, written.digest));
            self.report.obstruct(unsettled(written.id));
        }
        Ok(())
    }

    /// Sends one write, enters the answer into backoff, metrics and log, and shows the registry what is there now.
    async fn send(&self, write: &Write, why: Why) -> Outcome<Option<Written>> {
        let (view, cluster) = (&self.writer.shared.view, &self.writer.cluster);
        let started = Instant::now();
        let answer = self.writer.store.write(write).await;
        self.record(write, &why, started.elapsed(), answer.as_ref().err());
        let written = answer?;
        match (&written, write) {
            (Some(written), _) => view.wrote(cluster, written.clone()),
            (None, Write::Delete(over)) => view.wrote_delete(cluster, &over.id),
            (None, Write::Object(_) | Write::Status(_)) => {}
        }
        Ok(written)
    }

    fn record(&self, write: &Write, why: &Why, duration: Duration, error: Option<&WriteError>) {
        let (writer, id, verb) = (self.writer, write.id(), write.verb());
        let (reason, changed, because) = (why.reason, &why.changed, why.because.to_string());
        let outcome = error.map_or("ok", WriteError::outcome);
        writer.shared.metrics.wrote(&writer.cluster, id.kind, outcome, duration.as_secs_f64());
        match error {
            None => writer.state.lock().backoff.succeeded(&id),
            Some(error) => writer.state.lock().backoff.failed(&id, error, Instant::now()),
        }
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match error {
            None => tracing::info!(
                cluster = %writer.cluster, service = %name_of(self.unit), kind = id.kind.as_str(),
                namespace = &*id.namespace, name = &*id.name, reason, changed, because, duration_ms, "{verb}"
            ),
            Some(error) => tracing::debug!(
                cluster = %writer.cluster, service = %name_of(self.unit), kind = id.kind.as_str(),
                namespace = &*id.namespace, name = &*id.name, reason, changed, because, duration_ms, %error,
                "{verb} failed"
            ),
        }
    }

    fn measure_latency(&self) {
        if let Some(since) = self.work.since.filter(|_| self.report.changed_something()) {
            let labels = [self.writer.cluster.as_str()];
            let metric = &self.writer.shared.metrics.event_to_write;
            metric.with_label_values(&labels).observe(since.elapsed().as_secs_f64());
        }
    }

    async fn remove_cleared(&mut self) {
        let because = self.memory.removing.clone().unwrap_or_else(|| self.because.clone());
        let mut tried = HashSet::new();
        while self.report.unanswered().is_none()
            && let Some(removal) = self.next_removal(&mut tried)
        {
            let why = Why { reason: Some("no longer wanted"), changed: None, because: because.clone() };
            let id = removal.id();
            match self.send(&removal, why).await {
                Ok(_) => {
                    self.writer.state.lock().guard.done(&id);
                    self.report.enter(id, ObjectOutcome::Removed);
                }
                Err(error) => self.report.fail_removal(id, removal.verb(), &error),
            }
        }
    }

    /// Decides the next removal under one lock, so that no condition changes while another one is checked: no newer plan
    /// waits, which may want the object again; the unit is not suspended; the guard clears it, and a later judgement did not
    /// withhold it; everything is known that a removal depends on; and the object still exists.
    fn next_removal(&mut self, tried: &mut HashSet<ObjectId>) -> Option<Write> {
        let Self { writer, unit, .. } = *self;
        let view = &writer.shared.view;
        let mut state = writer.state.lock();
        if state.queue.has_newer(unit) || writer.stop.is_cancelled() || writer.is_barred(unit) {
            return None;
        }
        let cleared: Vec<ObjectId> = state.guard.cleared(unit).into_iter().filter(|id| !tried.contains(id)).collect();
        if cleared.is_empty() {
            return None;
        }
        if !view.may_remove(&writer.cluster) {
            state.deferred.insert(unit.clone(), Deferred::UntilRemovable(None));
            return None;
        }
        let there = view.written_of(&writer.cluster, unit);
        for id in cleared {
            tried.insert(id.clone());
            match there.iter().find(|written| written.id == id).and_then(Write::removal) {
                None => state.guard.done(&id),
                Some(removal) if state.backoff.kind_until(&id, Instant::now()).is_some() => {
                    self.report.fail_removal(id, removal.verb(), &WriteError::Waiting);
                }
                Some(removal) => return Some(removal),
            }
        }
        None
    }

    /// Keeps the plan for later, where it cannot be applied in full now and nothing newer waits.
    fn defer(&self, desired: &Arc<Desired>, waits_for_removal: bool) {
        let mut state = self.writer.state.lock();
        if state.queue.has_newer(self.unit) {
            return;
        }
        if waits_for_removal {
            state.deferred.insert(self.unit.clone(), Deferred::UntilRemovable(Some(Arc::clone(desired))));
        } else if self.report.ending() == Ending::Refused {
            let due = self.memory.refused_until().unwrap_or_else(Instant::now);
            state.deferred.insert(self.unit.clone(), Deferred::Until(due, Arc::clone(desired)));
        }
    }

    /// Notes that a cluster takes no writes, once for all its objects, unless it cannot be read either: then that is noted.
    fn note_unwritable(&self) {
        let (writer, view) = (self.writer, &self.writer.shared.view);
        let error = match self.report.unanswered() {
            Some(error) => Some(error).filter(|_| !view.is_unreachable(&writer.cluster)),
            None if self.report.changed_something() || self.report.is_clean() => None,
            None => return,
        };
        if writer.unwritable_noted.swap(error.is_some(), Ordering::Relaxed) || error.is_some() {
            let note = |error| Note {
                kind: NoteKind::WriteFailed,
                object: ObjectPath::of_cluster(&writer.cluster),
                service: None,
                message: format!("objects cannot be written: {error}; they are written when the cluster answers"),
            };
            view.note(&writer.cluster, &all_writes(), error.map(note).into_iter().collect());
        }
    }

    /// Updates the notes about the objects of the unit. After a run of removals alone, only those about the removed objects.
    fn update_notes(&mut self) {
        let (writer, report) = (self.writer, &self.report);
        let is_whole_unit = self.work.desired.is_some();
        // Objects that still wait keep their notes.
        let is_over = |id: &&ObjectId| {
            let as_it_should_be = match is_whole_unit {
                true => !report.has_failed(id),
                false => report.outcome(id) == Some(ObjectOutcome::Removed),
            };
            as_it_should_be && !report.is_obstructed(id)
        };
        let over: Vec<ObjectId> = self.memory.noted.iter().filter(is_over).cloned().collect();
        for id in over {
            writer.shared.view.note(&writer.cluster, &id, Vec::new());
            self.memory.noted.remove(&id);
        }
        for obstacle in report.obstacles() {
            let object = obstacle.id.in_cluster(&writer.cluster);
            let service = self.unit.service().cloned();
            let note = Note { kind: obstacle.kind, object, service, message: obstacle.message.clone() };
            writer.shared.view.note(&writer.cluster, &obstacle.id, vec![note]);
            self.memory.noted.insert(obstacle.id.clone());
        }
    }
}

/// The id under which notes about all writes to a cluster are kept.
fn all_writes() -> ObjectId {
    whole(Kind::Namespace, "")
}

fn removal_verb(there: &Arc<Written>) -> Verb {
    Write::removal(there).map_or(Verb::Delete, |removal| removal.verb())
}

fn name_of(unit: &WorkKey) -> String {
    match unit {
        WorkKey::Service(key) => key.to_string(),
        WorkKey::Sidecar(_, namespace) => format!("sidecar of {namespace}"),
        WorkKey::Host(host) => format!("routes for {host}"),
        WorkKey::Namespace(_, namespace) => format!("rules of {namespace}"),
    }
}
