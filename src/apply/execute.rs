//! One turn of one unit: compare, write what differs in order, remove what the guard cleared, say what went wrong.
//!
//! The comparison happens here and now, against the newest known state, so nothing stale is ever sent. Each failure stays
//! with its object: the other pairs of the unit go on, unless the whole cluster does not answer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Desired, backoff,
    diff::{Change, Changes, Obstacle, View, diff, unsettled},
    memory::{Memory, Refused},
    queue::Work,
    store::{Outcome, Verb, WriteError, is_merged, whole},
    writer::{ClusterWriter, Ending, Held},
};
use crate::{
    istio::{Object, Owner},
    model::{Kind, Note, NoteKind, ObjectId, ObjectPath, WorkKey, Written},
    registry::Because,
};

/// How long after its creation the sync namespace counts as there although no watch has shown it: several times what a
/// watch needs, and short enough that a namespace which is deleted at once is created again.
const NAMESPACE_SHOWN_WITHIN_SECONDS: u64 = 10;

/// What came of one turn.
#[derive(Default)]
struct Report {
    /// What is in the way of which object.
    obstacles: BTreeMap<ObjectId, Obstacle>,
    /// Objects that are not as wanted.
    failed: HashSet<ObjectId>,
    /// Objects that are gone now.
    removed: HashSet<ObjectId>,
    wrote: bool,
    /// What led to this turn.
    because: Because,
    /// Why the cluster takes no writes at all, whatever the object.
    unwritable: Option<String>,
    /// The cluster does not answer: no further request in this turn.
    halt: bool,
    again: bool,
    retry: bool,
    conflict: bool,
    refused: bool,
}

/// Why an object is written, for the log.
struct Why<'a> {
    /// In words, where no change says it.
    reason: Option<&'static str>,
    /// What changes in it.
    changed: Option<String>,
    /// What led to that.
    because: &'a Because,
}

impl Report {
    fn ending(&self) -> Ending {
        if self.retry {
            Ending::Retry
        } else if self.again {
            Ending::Again
        } else if self.conflict {
            Ending::Replan
        } else {
            Ending::Done
        }
    }

    fn add(&mut self, obstacle: Obstacle) {
        self.obstacles.insert(obstacle.id.clone(), obstacle);
    }
}

impl ClusterWriter {
    /// One turn of a unit.
    pub(super) async fn work(&self, unit: &WorkKey, work: &Work) -> Ending {
        let mut memory = self.state.lock().memories.get(unit).cloned().unwrap_or_default();
        let mut report = Report { because: work.because.clone().unwrap_or_default(), ..Report::default() };
        if self.is_barred(unit) && (work.desired.is_none() || self.shared.known.is_suspended(&self.cluster, unit)) {
            // Whoever ends the suspension, or lets writes go on, has the unit planned again.
            self.state.lock().guard.want(unit, &[], Instant::now());
            self.remember(unit, Memory::default());
            return Ending::Done;
        }
        let ending = match &work.desired {
            Some(desired) => self.bring_about(unit, work, desired, &mut memory, &mut report).await,
            None => {
                self.remove_cleared(unit, &memory, &mut report).await;
                report.ending()
            }
        };
        self.speak(unit, work.desired.is_some(), &mut memory, &report);
        self.note_unwritable(&report);
        memory.conflicts = if matches!(ending, Ending::Replan) { memory.conflicts.saturating_add(1) } else { 0 };
        self.remember(unit, memory);
        ending
    }

    async fn bring_about(
        &self,
        unit: &WorkKey,
        work: &Work,
        desired: &Arc<Desired>,
        memory: &mut Memory,
        report: &mut Report,
    ) -> Ending {
        let changes = self.compare(unit, desired, memory);
        memory.keep(&changes.wanted);
        changes.obstacles.iter().cloned().for_each(|obstacle| report.add(obstacle));
        if self.shared.known.is_read_only() || self.shared.settings.dry_run {
            self.state.lock().guard.want(unit, &[], Instant::now());
            self.only_say(unit, &changes, &report.because, memory);
            return Ending::Done;
        }
        // That a part of them is gone is news by itself, and not the reason.
        let removing = memory.removing.take().unwrap_or_else(|| report.because.clone());
        memory.removing = (!changes.removals.is_empty()).then_some(removing);
        self.state.lock().guard.want(unit, &changes.removals, Instant::now());
        self.write_all(unit, &changes, memory, report).await;
        if report.failed.is_empty() && !self.stop.is_cancelled() {
            if report.wrote
                && let Some(since) = work.since
            {
                let cluster = self.cluster.as_str();
                self.shared.metrics.event_to_write.with_label_values(&[cluster]).observe(since.elapsed().as_secs_f64());
            }
            // What replaces them is there.
            self.remove_cleared(unit, memory, report).await;
        }
        memory.drift = report.failed.len() + report.obstacles.keys().filter(|id| !report.failed.contains(*id)).count();
        let mut state = self.state.lock();
        if !state.queue.has_newer(unit) {
            if changes.held_back {
                state.held.insert(unit.clone(), Held::UntilRemovable(Some(Arc::clone(desired))));
            } else if report.refused && matches!(report.ending(), Ending::Done) {
                let due = Instant::now() + Duration::from_secs(backoff::REFUSED_WAIT_SECONDS);
                state.held.insert(unit.clone(), Held::Until(due, Arc::clone(desired)));
            }
        }
        report.ending()
    }

    fn compare(&self, unit: &WorkKey, desired: &Desired, memory: &Memory) -> Changes {
        let known = &self.shared.known;
        diff(
            desired,
            &View {
                of_unit: &known.written_of(&self.cluster, unit),
                find: &|id| known.written(&self.cluster, id),
                in_the_way: &|id, host| known.entry_in_the_way(&self.cluster, id, host),
                settled: &|id, wanted, observed| memory.settled.get(id) == Some(&(wanted, observed)),
                adopt_admiral: self.shared.settings.adopt_admiral,
                may_remove: known.may_remove(&self.cluster),
            },
        )
    }

    /// Read-only counts what differs; a dry run says it, too, once per content.
    fn only_say(&self, unit: &WorkKey, changes: &Changes, because: &Because, memory: &mut Memory) {
        let all: Vec<&Change> = changes.groups.iter().flatten().collect();
        memory.drift = all.len() + changes.removals.len() + changes.obstacles.len();
        if !self.shared.settings.dry_run {
            return;
        }
        let written = all.iter().map(|change| (change.id(), change.verb(), change.digest()));
        // A removal has no content of its own: it is said again for another object of the name.
        let removed =
            changes.removals.iter().map(|written| (written.id.clone(), removal_verb(written), written.digest));
        let would: BTreeMap<ObjectId, (Verb, u64)> =
            written.chain(removed).map(|(id, verb, digest)| (id, (verb, digest))).collect();
        for (id, (verb, digest)) in &would {
            if memory.logged.get(id) != Some(digest) {
                let changed = all.iter().find(|change| change.id() == *id).and_then(|change| change.summary());
                tracing::info!(
                    cluster = %self.cluster, service = %name_of(unit), kind = id.kind.as_str(),
                    namespace = &*id.namespace, name = &*id.name, changed, because = because.to_string(),
                    "dry run: would {verb}"
                );
            }
        }
        memory.logged = would.into_iter().map(|(id, (_, digest))| (id, digest)).collect();
    }

    /// Whether an operator wants nothing of the unit written now. Asked before each write: a long run ends at once.
    fn is_barred(&self, unit: &WorkKey) -> bool {
        self.shared.known.is_read_only() || self.shared.known.is_suspended(&self.cluster, unit)
    }

    async fn write_all(&self, unit: &WorkKey, changes: &Changes, memory: &mut Memory, report: &mut Report) {
        for group in &changes.groups {
            if report.halt || self.stop.is_cancelled() {
                return;
            }
            for change in group {
                if self.is_barred(unit) {
                    return;
                }
                match self.write(unit, change, &report.because, memory).await {
                    Ok(obstacle) => {
                        report.wrote = true;
                        obstacle.into_iter().for_each(|obstacle| report.add(obstacle));
                    }
                    Err(error) => {
                        report_failure(change.id(), change.verb(), error, report);
                        break;
                    }
                }
            }
        }
    }

    /// One change. Comes back with what is still in the way although it was written.
    async fn write(
        &self,
        unit: &WorkKey,
        change: &Change,
        because: &Because,
        memory: &mut Memory,
    ) -> Outcome<Option<Obstacle>> {
        let (id, now) = (change.id(), Instant::now());
        let digest = change.digest();
        if let Some(refused) = memory.refusal(&id, digest, now) {
            return Err(WriteError::Refused(refused.reason.clone()));
        }
        if self.state.lock().pace.kind_until(&id, now).is_some() {
            return Err(WriteError::Waiting);
        }
        if matches!(change, Change::Create { .. }) && *id.namespace == *self.shared.settings.sync_namespace {
            self.ensure_namespace(&id).await?;
        }
        let started = Instant::now();
        let answer = match change {
            Change::Create { object } => self.store.create(object).await,
            Change::Update { object, over } => self.store.update(object, over).await,
            Change::Adopt { object, over } => self.store.take_over(object, over).await,
            Change::Merge { over, hosts } => self.store.merge_sidecar(over, hosts).await,
            Change::GiveBack { over } => self.store.give_back(over).await,
        };
        let why = Why { reason: change.reason(), changed: change.summary(), because };
        self.answered(unit, &id, change.verb(), &why, started, &answer);
        let mut written = match answer {
            Ok(written) => written,
            Err(WriteError::Refused(reason)) => {
                let until = now + Duration::from_secs(backoff::REFUSED_WAIT_SECONDS);
                memory.refused.insert(id, Refused { digest, until, reason: reason.clone() });
                return Err(WriteError::Refused(reason));
            }
            Err(error) => return Err(error),
        };
        memory.refused.remove(&id);
        self.shared.known.wrote(&self.cluster, written.clone());
        let (Change::Create { object } | Change::Update { object, .. } | Change::Adopt { object, .. }) = change else {
            return Ok(None);
        };
        if written.digest != digest && !matches!(change, Change::Adopt { .. }) {
            written = self.reclaim(unit, object, because, &written).await?;
        }
        Ok((written.digest != digest).then(|| {
            memory.settled.insert(id.clone(), (digest, written.digest));
            unsettled(id)
        }))
    }

    /// Somebody else wrote into the fields that Tradewind decides: once, all of them are made ours.
    async fn reclaim(&self, unit: &WorkKey, object: &Object, because: &Because, written: &Written) -> Outcome<Written> {
        let started = Instant::now();
        let answer = self.store.take_over(object, written).await;
        let why = Why { reason: Some("fields of others are next to ours"), changed: None, because };
        self.answered(unit, &written.id, Verb::TakeOver, &why, started, &answer);
        let written = answer?;
        self.shared.known.wrote(&self.cluster, written.clone());
        Ok(written)
    }

    async fn remove_cleared(&self, unit: &WorkKey, memory: &Memory, report: &mut Report) {
        let known = &self.shared.known;
        let because = memory.removing.clone().unwrap_or_else(|| report.because.clone());
        let cleared = self.state.lock().guard.cleared(unit);
        for id in cleared {
            if !known.may_remove(&self.cluster) {
                let mut state = self.state.lock();
                if !state.queue.has_newer(unit) {
                    state.held.insert(unit.clone(), Held::UntilRemovable(None));
                }
                return;
            }
            // A newer plan may want it again, and a later judgement may withhold it.
            {
                let state = self.state.lock();
                if state.queue.has_newer(unit) || self.stop.is_cancelled() || self.is_barred(unit) {
                    return;
                }
                if !state.guard.cleared(unit).contains(&id) {
                    continue;
                }
            }
            let standing = known.written_of(&self.cluster, unit).into_iter().find(|written| written.id == id);
            let Some(standing) = standing.filter(|one| one.owner == Owner::Tradewind || is_merged(one)) else {
                self.state.lock().guard.done(&id);
                continue;
            };
            if self.state.lock().pace.kind_until(&id, Instant::now()).is_some() {
                report.retry = true;
                continue;
            }
            match self.remove(unit, &because, &standing).await {
                Ok(()) => {
                    self.state.lock().guard.done(&id);
                    report.removed.insert(id);
                }
                Err(error) => {
                    report_failure(id, removal_verb(&standing), error, report);
                    report.retry |= report.refused;
                }
            }
            if report.halt {
                return;
            }
        }
    }

    async fn remove(&self, unit: &WorkKey, because: &Because, standing: &Written) -> Outcome<()> {
        let why = Why { reason: Some("no longer wanted"), changed: None, because };
        let (started, id, known) = (Instant::now(), &standing.id, &self.shared.known);
        if is_merged(standing) {
            let answer = self.store.merge_sidecar(standing, &[]).await;
            self.answered(unit, id, Verb::Merge, &why, started, &answer);
            known.wrote(&self.cluster, answer?);
        } else {
            let answer = self.store.delete(standing).await;
            self.answered(unit, id, Verb::Delete, &why, started, &answer);
            answer?;
            known.wrote_delete(&self.cluster, id);
        }
        Ok(())
    }

    /// Creates the sync namespace where it is missing: once, however many units wait for it.
    async fn ensure_namespace(&self, id: &ObjectId) -> Outcome<()> {
        let name = &self.shared.settings.sync_namespace;
        if self.shared.known.has_namespace(&self.cluster, name) != Some(false) {
            if self.namespace_noted.swap(false, Ordering::Relaxed) {
                // Somebody else created it.
                self.shared.known.note(&self.cluster, &whole(Kind::Namespace, name), Vec::new());
            }
            return Ok(());
        }
        let mut made = self.namespace_made.lock().await;
        if made.is_some_and(|at| at.elapsed().as_secs() < NAMESPACE_SHOWN_WITHIN_SECONDS) {
            return Ok(());
        }
        if self.state.lock().pace.kind_until(id, Instant::now()).is_some() {
            return Err(WriteError::Waiting);
        }
        let answer = self.store.create_namespace(name).await;
        let noted = whole(Kind::Namespace, name);
        let notes = match &answer {
            Ok(()) => {
                tracing::info!(cluster = %self.cluster, kind = "Namespace", name, "create");
                *made = Some(Instant::now());
                Vec::new()
            }
            Err(error) if error.is_sick_cluster() => return Err(error.clone()),
            Err(error) => {
                self.state.lock().pace.failed(id, &WriteError::NoNamespace, Instant::now());
                let message = format!("the namespace for our objects is missing and cannot be created: {error}");
                let object = ObjectId::new(Kind::Namespace, "", name).in_cluster(&self.cluster);
                vec![Note { kind: NoteKind::SyncNamespaceMissing, object, service: None, message }]
            }
        };
        self.namespace_noted.store(!notes.is_empty(), Ordering::Relaxed);
        self.shared.known.note(&self.cluster, &noted, notes);
        answer.map_err(|_| WriteError::NoNamespace)
    }

    /// Enters an answer into pace, metrics and log.
    fn answered<T>(
        &self,
        unit: &WorkKey,
        id: &ObjectId,
        verb: Verb,
        why: &Why<'_>,
        started: Instant,
        answer: &Outcome<T>,
    ) {
        let (reason, changed, because) = (why.reason, &why.changed, why.because.to_string());
        let duration = started.elapsed();
        let outcome = answer.as_ref().map_or_else(WriteError::outcome, |_| "ok");
        self.shared.metrics.wrote(&self.cluster, id.kind, outcome, duration.as_secs_f64());
        let mut state = self.state.lock();
        match answer {
            Ok(_) => state.pace.succeeded(id),
            Err(error) => state.pace.failed(id, error, Instant::now()),
        }
        drop(state);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match answer {
            Ok(_) => tracing::info!(
                cluster = %self.cluster, service = %name_of(unit), kind = id.kind.as_str(),
                namespace = &*id.namespace, name = &*id.name, reason, changed, because, duration_ms, "{verb}"
            ),
            Err(error) => tracing::debug!(
                cluster = %self.cluster, service = %name_of(unit), kind = id.kind.as_str(),
                namespace = &*id.namespace, name = &*id.name, reason, changed, because, duration_ms, %error,
                "{verb} failed"
            ),
        }
    }

    /// Notes that a cluster takes no writes, once for all its objects, unless it cannot be read either: then that is noted.
    fn note_unwritable(&self, report: &Report) {
        let known = &self.shared.known;
        let error = match &report.unwritable {
            Some(error) => Some(error).filter(|_| !known.is_unreachable(&self.cluster)),
            None if report.wrote || !report.removed.is_empty() || report.failed.is_empty() => None,
            None => return,
        };
        if self.unwritable_noted.swap(error.is_some(), Ordering::Relaxed) || error.is_some() {
            let note = |error| Note {
                kind: NoteKind::WriteFailed,
                object: ObjectPath::of_cluster(&self.cluster),
                service: None,
                message: format!("objects cannot be written: {error}; they are written when the cluster answers"),
            };
            known.note(&self.cluster, &all_writes(), error.map(note).into_iter().collect());
        }
    }

    /// Notes what is in the way, and takes back what no longer is. After a mere removal, only about what was removed.
    fn speak(&self, unit: &WorkKey, whole_unit: bool, memory: &mut Memory, report: &Report) {
        let known = &self.shared.known;
        let service = match unit {
            WorkKey::Service(key) => Some(key.clone()),
            WorkKey::Sidecar(..) | WorkKey::Host(_) | WorkKey::Namespace(..) => None,
        };
        // What waits for its turn keeps what was said of it.
        let is_over = |id: &&ObjectId| {
            let as_it_should_be = if whole_unit { !report.failed.contains(*id) } else { report.removed.contains(*id) };
            as_it_should_be && !report.obstacles.contains_key(*id)
        };
        let over: Vec<ObjectId> = memory.noted.iter().filter(is_over).cloned().collect();
        for id in over {
            known.note(&self.cluster, &id, Vec::new());
            memory.noted.remove(&id);
        }
        for (id, obstacle) in &report.obstacles {
            let object = id.in_cluster(&self.cluster);
            let message = obstacle.message.clone();
            let note = Note { kind: obstacle.kind, object, service: service.clone(), message };
            known.note(&self.cluster, id, vec![note]);
            memory.noted.insert(id.clone());
        }
    }
}

/// What notes about all writes into a cluster are kept under.
fn all_writes() -> ObjectId {
    whole(Kind::Namespace, "")
}

/// Enters a failure: what comes next, and what its owner should know.
fn report_failure(id: ObjectId, verb: Verb, error: WriteError, report: &mut Report) {
    report.failed.insert(id.clone());
    let after = match &error {
        WriteError::Conflict(_) => {
            report.conflict = true;
            return;
        }
        WriteError::Waiting | WriteError::NoNamespace => {
            report.retry = true;
            return;
        }
        WriteError::Refused(_) => {
            report.refused = true;
            "it is written again when its content changes"
        }
        WriteError::Unreachable(_) | WriteError::Throttled { .. } => {
            (report.again, report.halt) = (true, true);
            report.unwritable = Some(error.to_string());
            return;
        }
        WriteError::Timeout(_) => {
            (report.retry, report.halt) = (true, true);
            report.unwritable = Some(error.to_string());
            return;
        }
        WriteError::Forbidden(_) | WriteError::Missing(_) | WriteError::Server(_) | WriteError::Unreadable(_) => {
            report.retry = true;
            "it is tried again"
        }
    };
    let message = format!("could not {verb} it: {error}; {after}");
    report.add(Obstacle { id, kind: NoteKind::WriteFailed, message });
}

fn removal_verb(standing: &Written) -> Verb {
    if is_merged(standing) { Verb::Merge } else { Verb::Delete }
}

fn name_of(unit: &WorkKey) -> String {
    match unit {
        WorkKey::Service(key) => key.to_string(),
        WorkKey::Sidecar(_, namespace) => format!("sidecar of {namespace}"),
        WorkKey::Host(host) => format!("routes for {host}"),
        WorkKey::Namespace(_, namespace) => format!("rules of {namespace}"),
    }
}
