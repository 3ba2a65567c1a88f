//! The queue of one cluster: which unit's turn it is. Pure; the time is passed in.
//!
//! One entry per unit, so it is never longer than the number of units: a newer plan replaces the one that waits. A unit is
//! with one worker at a time, so that its writes keep their order. Never drops a unit that failed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::plan::Desired;
use crate::{model::WorkKey, registry::Because};

/// The event that led to a plan.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// When the event that led to it was noticed.
    pub since: Instant,
    /// The event.
    pub because: Because,
}

impl From<Instant> for Occasion {
    fn from(since: Instant) -> Self {
        Self { since, because: Because::default() }
    }
}

/// What is to be done for a unit.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The plan; `None` where only cleared removals are due.
    pub(super) desired: Option<Arc<Desired>>,
    /// When the oldest event that led to it was noticed.
    pub(super) since: Option<Instant>,
    /// That event, and how many followed it; `None` with `since`.
    pub(super) because: Option<Because>,
    /// Failures in a row.
    pub(super) failures: u32,
}

impl Work {
    /// A plan in place of the one that waits. It keeps the oldest event.
    fn of(desired: Arc<Desired>, occasion: Occasion, waiting: Option<&Self>) -> Self {
        let Occasion { mut since, mut because } = occasion;
        if let Some(older) = waiting.and_then(|work| work.since) {
            since = since.min(older);
        }
        if let Some(older) = waiting.and_then(|work| work.because.clone()) {
            let later = std::mem::replace(&mut because, older);
            because.add(&later);
        }
        Self { desired: Some(desired), since: Some(since), because: Some(because), failures: 0 }
    }
}

#[derive(Debug)]
struct QueueEntry {
    next: Option<(Work, TurnOrder)>,
    running: bool,
}

type TurnOrder = (Instant, u64);

/// Units that wait, and units that are with a worker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<WorkKey, QueueEntry>,
    turns: BTreeSet<(TurnOrder, WorkKey)>,
    sequence: u64,
    running: usize,
}

impl Queue {
    /// Queues a plan for a unit. The same plan does not cut short the wait after a failure; another one does.
    pub(super) fn submit(&mut self, unit: WorkKey, desired: Arc<Desired>, occasion: impl Into<Occasion>, now: Instant) {
        let waiting = self.take_waiting(&unit);
        let mut work = Work::of(desired, occasion.into(), waiting.as_ref().map(|(work, _)| work));
        let mut due = now;
        if let Some((older, (older_due, _))) = waiting
            && older.failures > 0
            && older.desired == work.desired
        {
            (work.failures, due) = (older.failures, older_due);
        }
        self.put(unit, work, due);
    }

    /// As [`Queue::submit`], for a turn that comes at `due` unless it is brought forward. A newer plan does not delay it.
    pub(super) fn submit_for(
        &mut self,
        unit: WorkKey,
        desired: Arc<Desired>,
        occasion: impl Into<Occasion>,
        due: Instant,
    ) {
        let waiting = self.take_waiting(&unit);
        let work = Work::of(desired, occasion.into(), waiting.as_ref().map(|(work, _)| work));
        let due = match &waiting {
            Some((older, (older_due, _))) if older.failures == 0 => due.min(*older_due),
            _ => due,
        };
        self.put(unit, work, due);
    }

    /// The turn of a unit that waits comes now.
    pub(super) fn bring_forward(&mut self, unit: &WorkKey, now: Instant) {
        if let Some((work, (due, _))) = self.take_waiting(unit) {
            self.put(unit.clone(), work, due.min(now));
        }
    }

    /// Queues the removals of a unit that may happen. A plan that waits includes them.
    pub(super) fn requeue(&mut self, unit: WorkKey, now: Instant) {
        if self.entries.get(&unit).is_none_or(|entry| entry.next.is_none()) {
            self.put(unit, Work { desired: None, since: None, because: None, failures: 0 }, now);
        }
    }

    /// The unit whose turn it is.
    pub(super) fn take(&mut self, now: Instant) -> Option<(WorkKey, Work)> {
        let unit = self
            .turns
            .iter()
            .take_while(|((due, _), _)| *due <= now)
            .find(|(_, unit)| !self.entries.get(unit).is_some_and(|entry| entry.running))
            .map(|(_, unit)| unit.clone())?;
        let (work, _) = self.take_waiting(&unit)?;
        self.entries.insert(unit.clone(), QueueEntry { next: None, running: true });
        self.running += 1;
        Some((unit, work))
    }

    /// The worker is done with a unit.
    pub(super) fn finish(&mut self, unit: &WorkKey) {
        self.running -= 1;
        if let Some(entry) = self.entries.get_mut(unit) {
            entry.running = false;
            if entry.next.is_none() {
                self.entries.remove(unit);
            }
        }
    }

    /// The worker failed: the unit's turn comes again at `due`, unless something else is wanted meanwhile.
    pub(super) fn retry(&mut self, unit: &WorkKey, mut work: Work, due: Instant) {
        self.finish(unit);
        match self.take_waiting(unit) {
            None => self.put(unit.clone(), work, due),
            Some((newer, place)) if newer.desired.is_some() && newer.desired != work.desired => {
                self.put(unit.clone(), newer, place.0);
            }
            Some((newer, _)) => {
                work.desired = work.desired.or(newer.desired);
                self.put(unit.clone(), work, due);
            }
        }
    }

    /// Whether something newer waits for a unit.
    pub(super) fn has_newer(&self, unit: &WorkKey) -> bool {
        self.entries.get(unit).is_some_and(|entry| entry.next.as_ref().is_some_and(|(work, _)| work.desired.is_some()))
    }

    /// Whether a unit waits or is with a worker.
    pub(super) fn has(&self, unit: &WorkKey) -> bool {
        self.entries.contains_key(unit)
    }

    /// When the next turn comes that is not there yet.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.turns.first().map(|((due, _), _)| *due)
    }

    /// Whether some unit's turn is now, or it is with a worker.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.running > 0 || self.next_due().is_some_and(|due| due <= now)
    }

    /// Units that wait or are with a worker.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Units that are with a worker.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    fn put(&mut self, unit: WorkKey, work: Work, due: Instant) {
        self.sequence += 1;
        let place = (due, self.sequence);
        let entry = self.entries.entry(unit.clone()).or_insert(QueueEntry { next: None, running: false });
        if let Some((_, old)) = entry.next.replace((work, place)) {
            self.turns.remove(&(old, unit.clone()));
        }
        self.turns.insert((place, unit));
    }

    fn take_waiting(&mut self, unit: &WorkKey) -> Option<(Work, TurnOrder)> {
        let (work, place) = self.entries.get_mut(unit)?.next.take()?;
        self.turns.remove(&(place, unit.clone()));
        if !self.entries[unit].running {
            self.entries.remove(unit);
        }
        Some((work, place))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::apply::testing::{host_plan, unit};

    fn desired(address: &str) -> Arc<Desired> {
        Arc::new(Desired::hosts([host_plan("a.global", address, false)]))
    }

    fn seconds(from: Instant, seconds: u64) -> Instant {
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn the_newest_plan_replaces_the_one_that_waits_and_keeps_the_oldest_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.submit(unit("a"), desired("1"), now, now);
        queue.submit(unit("a"), desired("2"), seconds(now, 1), seconds(now, 1));
        assert_eq!(queue.len(), 1);
        let (taken, work) = queue.take(seconds(now, 1)).unwrap();
        assert_eq!((taken, work.desired, work.since), (unit("a"), Some(desired("2")), Some(now)));
        assert!(queue.take(seconds(now, 1)).is_none());
    }

    #[test]
    fn a_unit_is_with_one_worker_at_a_time_and_others_go_on() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.submit(unit("a"), desired("1"), now, now);
        queue.take(now).unwrap();
        queue.submit(unit("a"), desired("2"), now, now);
        queue.submit(unit("b"), desired("1"), now, now);
        assert_eq!(queue.take(now).unwrap().0, unit("b"));
        assert!(queue.take(now).is_none());
        assert!(queue.has_newer(&unit("a")) && !queue.has_newer(&unit("b")));
        queue.finish(&unit("a"));
        assert_eq!(queue.take(now).unwrap().1.desired, Some(desired("2")));
        queue.finish(&unit("a"));
        queue.finish(&unit("b"));
        assert_eq!((queue.len(), queue.running(), queue.is_busy(now)), (0, 0, false));
    }

    #[test]
    fn a_failed_unit_waits_unless_something_else_is_wanted() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.submit(unit("a"), desired("1"), now, now);
        let (_, work) = queue.take(now).unwrap();
        queue.retry(&unit("a"), Work { failures: 1, ..work }, seconds(now, 60));
        queue.submit(unit("a"), desired("1"), now, seconds(now, 1));
        assert!(queue.take(seconds(now, 1)).is_none(), "the same again does not hammer");
        assert_eq!(queue.next_due(), Some(seconds(now, 60)));
        queue.submit(unit("a"), desired("2"), now, seconds(now, 1));
        assert_eq!(queue.take(seconds(now, 1)).unwrap().1.failures, 0);
    }

    #[test]
    fn a_plan_that_came_during_a_failed_write_is_not_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.submit(unit("a"), desired("1"), now, now);
        let (_, work) = queue.take(now).unwrap();
        queue.submit(unit("a"), desired("2"), now, now);
        queue.retry(&unit("a"), work, seconds(now, 60));
        assert_eq!(queue.take(now).unwrap().1.desired, Some(desired("2")));
    }

    #[test]
    fn a_requeued_unit_joins_what_waits() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.requeue(unit("a"), now);
        queue.submit(unit("b"), desired("1"), now, now);
        queue.requeue(unit("b"), now);
        assert_eq!(queue.take(now).unwrap().1.desired, None);
        assert_eq!(queue.take(now).unwrap().1.desired, Some(desired("1")));
    }
}
