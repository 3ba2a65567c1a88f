//! The guard: which removals of one cluster may happen now. Pure; the time is passed in.
//!
//! A removal waits until the plans for the cluster have settled, then passes if it and the recent removals stay within the budget.
//! Otherwise every removal that is still outstanding is withheld until an operator releases exactly these, or until they
//! are wanted again. Never looks at what an object is; never lets a removal pass because time went by.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::{ObjectId, WorkKey, Written};

/// Quiet time after the last new removal before removals are judged: what belongs to one pass arrives within milliseconds, and
/// a replacement that is on its way gets there first.
pub(super) const QUIET_SECONDS: u64 = 1;

/// Longest wait for quiet, so that steady change elsewhere in the cluster cannot keep a removal waiting for good.
pub(super) const SETTLE_SECONDS: u64 = 20;

/// Removals of this long ago still count against the budget, so that a mass removal cannot slip through as a trickle.
pub(super) const WINDOW_SECONDS: u64 = 60;

/// How much may be removed without a release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Share of the managed objects in the cluster, in percent.
    pub(super) percent: u32,
    /// Always allowed, so that small clusters are not in the way.
    pub(super) floor: usize,
}

impl Budget {
    /// Whether `count` of `owned` objects may go.
    pub(super) fn allows(self, count: usize, owned: usize) -> bool {
        count <= (owned.saturating_mul(self.percent as usize) / 100).max(self.floor)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RemovalState {
    /// Waits to be judged.
    Pending,
    /// May happen.
    Cleared,
    /// May happen: an operator released it.
    Released,
    /// Waits for an operator.
    Withheld,
}

#[derive(Debug)]
struct Removal {
    unit: WorkKey,
    uid: Arc<str>,
    state: RemovalState,
}

/// Removals that passed together.
#[derive(Debug)]
struct Passed {
    at: Instant,
    count: usize,
    owned_before: usize,
}

/// What came of a judgement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is new.
    Unchanged,
    /// The removals of these units may happen.
    Cleared(Vec<WorkKey>),
    /// All outstanding removals are withheld.
    Withheld,
}

/// The removals of one cluster.
#[derive(Debug)]
pub(super) struct Guard {
    budget: Budget,
    removals: BTreeMap<ObjectId, Removal>,
    passed: VecDeque<Passed>,
    first_request: Option<Instant>,
    last_request: Option<Instant>,
    withheld: Option<Batch>,
}

/// The withheld removals, as an operator sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Names exactly this set of objects.
    pub(super) id: String,
    /// Managed objects in the cluster at the time.
    pub(super) owned: usize,
}

impl Guard {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            removals: BTreeMap::new(),
            passed: VecDeque::new(),
            first_request: None,
            last_request: None,
            withheld: None,
        }
    }

    /// Replaces the removals that a unit wants; objects that it wants again are dropped from every list.
    pub(super) fn set_removals(&mut self, unit: &WorkKey, removals: &[Arc<Written>], now: Instant) {
        let wanted: HashSet<&ObjectId> = removals.iter().map(|written| &written.id).collect();
        self.removals.retain(|id, removal| removal.unit != *unit || wanted.contains(id));
        for written in removals {
            let known = self.removals.get(&written.id);
            if known.is_some_and(|known| known.uid == written.uid && known.unit == *unit) {
                continue;
            }
            let removal = Removal { unit: unit.clone(), uid: written.uid.clone(), state: RemovalState::Pending };
            self.removals.insert(written.id.clone(), removal);
            self.first_request.get_or_insert(now);
            self.last_request = Some(now);
        }
        self.forget_empty();
    }

    /// Judges what is pending, once it has settled. `busy`: updates of the cluster are under way, and go first.
    pub(super) fn judge(&mut self, owned: usize, busy: bool, now: Instant) -> Verdict {
        if self.judge_at(busy).is_none_or(|at| at > now) {
            return Verdict::Unchanged;
        }
        (self.first_request, self.last_request) = (None, None);
        while self.passed.front().is_some_and(|passed| now.duration_since(passed.at).as_secs() >= WINDOW_SECONDS) {
            self.passed.pop_front();
        }
        let recent: usize = self.passed.iter().map(|passed| passed.count).sum();
        let base = self.passed.front().map_or(owned, |first| first.owned_before);
        let pending = self.count(RemovalState::Pending);
        if self.withheld.is_none() && self.budget.allows(pending + recent, base) {
            self.passed.push_back(Passed { at: now, count: pending, owned_before: owned });
            return Verdict::Cleared(self.move_state(&[RemovalState::Pending], RemovalState::Cleared));
        }
        self.move_state(&[RemovalState::Pending, RemovalState::Cleared], RemovalState::Withheld);
        let id = self.name_of_withheld();
        self.withheld = Some(Batch { id, owned: base });
        Verdict::Withheld
    }

    /// When [`Guard::judge`] can judge; `None` without pending removals.
    pub(super) fn judge_at(&self, busy: bool) -> Option<Instant> {
        let at_latest = self.first_request? + Duration::from_secs(SETTLE_SECONDS);
        let when_quiet = self.last_request? + Duration::from_secs(QUIET_SECONDS);
        Some(if busy { at_latest } else { when_quiet.min(at_latest) })
    }

    /// Lets exactly what is withheld under `id` go, and returns the units whose turn it is. Nothing is remembered of an id
    /// that names no withheld set: consent that nobody could have read in a note is none.
    pub(super) fn release(&mut self, id: &str) -> Option<Vec<WorkKey>> {
        self.withheld.as_ref().is_some_and(|batch| batch.id == id).then(|| self.release_withheld())
    }

    /// The removals of a unit that may happen now.
    pub(super) fn cleared(&self, unit: &WorkKey) -> Vec<ObjectId> {
        let is_cleared = |removal: &Removal| matches!(removal.state, RemovalState::Cleared | RemovalState::Released);
        let of_unit = self.removals.iter().filter(|(_, removal)| removal.unit == *unit && is_cleared(removal));
        of_unit.map(|(id, _)| id.clone()).collect()
    }

    /// Whether a unit wants something removed.
    pub(super) fn has(&self, unit: &WorkKey) -> bool {
        self.removals.values().any(|removal| removal.unit == *unit)
    }

    /// A removal happened, or its object is gone anyhow.
    pub(super) fn done(&mut self, id: &ObjectId) {
        self.removals.remove(id);
        self.forget_empty();
    }

    /// Whether something is withheld.
    pub(super) fn is_withholding(&self) -> bool {
        self.withheld.is_some()
    }

    /// What is withheld, and its objects.
    pub(super) fn withheld(&self) -> Option<(&Batch, Vec<ObjectId>)> {
        let batch = self.withheld.as_ref()?;
        let withheld = self.removals.iter().filter(|(_, removal)| removal.state == RemovalState::Withheld);
        Some((batch, withheld.map(|(id, _)| id.clone()).collect()))
    }

    fn release_withheld(&mut self) -> Vec<WorkKey> {
        self.withheld = None;
        self.move_state(&[RemovalState::Withheld], RemovalState::Released)
    }

    fn move_state(&mut self, from: &[RemovalState], to: RemovalState) -> Vec<WorkKey> {
        let mut units = Vec::new();
        for removal in self.removals.values_mut().filter(|removal| from.contains(&removal.state)) {
            removal.state = to;
            units.push(removal.unit.clone());
        }
        units.sort();
        units.dedup();
        units
    }

    fn count(&self, state: RemovalState) -> usize {
        self.removals.values().filter(|removal| removal.state == state).count()
    }

    fn forget_empty(&mut self) {
        if self.count(RemovalState::Withheld) == 0 {
            self.withheld = None;
        }
        if self.count(RemovalState::Pending) == 0 {
            (self.first_request, self.last_request) = (None, None);
        }
    }

    /// The uids are part of it: a release never covers objects that were made after it.
    fn name_of_withheld(&self) -> String {
        let mut hasher = DefaultHasher::new();
        for (id, removal) in self.removals.iter().filter(|(_, removal)| removal.state == RemovalState::Withheld) {
            (id, &removal.uid).hash(&mut hasher);
        }
        format!("{:012x}", hasher.finish() >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{host_plan, unit, written};
    use crate::istio::Object;

    const BUDGET: Budget = Budget { percent: 25, floor: 4 };
    const OWNED: usize = 40;

    fn objects(range: std::ops::Range<usize>) -> Vec<Arc<Written>> {
        let entry = |n| Object::ServiceEntry(host_plan(&format!("h{n}.global"), "1", false).service_entry);
        range.map(|n| Arc::new(written(&entry(n)))).collect()
    }

    fn settled(from: Instant) -> Instant {
        from + Duration::from_secs(QUIET_SECONDS)
    }

    #[test]
    fn removals_wait_for_quiet_and_then_pass_within_the_budget() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..10), now);
        assert_eq!(guard.judge(OWNED, false, now), Verdict::Unchanged);
        assert!(guard.cleared(&unit("a")).is_empty());
        assert_eq!(guard.judge(OWNED, true, settled(now)), Verdict::Unchanged, "updates go first");
        assert_eq!(guard.judge(OWNED, false, settled(now)), Verdict::Cleared(vec![unit("a")]));
        assert_eq!(guard.cleared(&unit("a")).len(), 10);
        assert_eq!(guard.judge_at(false), None);
    }

    #[test]
    fn steady_change_cannot_hold_removals_up_for_good() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..1), now);
        let late = now + Duration::from_secs(SETTLE_SECONDS);
        assert_eq!(guard.judge(OWNED, true, late), Verdict::Cleared(vec![unit("a")]));
    }

    // Invariant: A mass removal waits for an operator.
    #[test]
    fn a_mass_removal_is_withheld_whole_and_released_by_its_id_only() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..8), now);
        guard.set_removals(&unit("b"), &objects(8..11), now);
        assert_eq!(guard.judge(OWNED, false, settled(now)), Verdict::Withheld);
        let id = guard.withheld().unwrap().0.id.clone();
        assert_eq!(guard.withheld().unwrap().1.len(), 11);
        assert!(guard.cleared(&unit("a")).is_empty());
        assert_eq!(guard.release("something else"), None);
        assert_eq!(guard.release(&id), Some(vec![unit("a"), unit("b")]));
        assert_eq!(guard.cleared(&unit("b")).len(), 3);
        assert_eq!(guard.withheld(), None);
    }

    #[test]
    fn later_removals_join_the_withheld_ones_under_a_new_id() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..11), now);
        guard.judge(OWNED, false, settled(now));
        let id = guard.withheld().unwrap().0.id.clone();
        guard.set_removals(&unit("b"), &objects(11..12), settled(now));
        assert_eq!(guard.judge(OWNED, false, settled(settled(now))), Verdict::Withheld);
        assert_eq!(guard.release(&id), None, "the operator saw another set");
        assert_eq!(guard.withheld().unwrap().1.len(), 12);
    }

    #[test]
    fn what_is_wanted_again_is_dropped_and_the_rest_keeps_its_id() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..11), now);
        guard.judge(OWNED, false, settled(now));
        let id = guard.withheld().unwrap().0.id.clone();
        guard.set_removals(&unit("a"), &objects(0..2), settled(now));
        assert_eq!(guard.withheld().unwrap().1.len(), 2);
        assert!(guard.release(&id).is_some());
        assert_eq!(guard.cleared(&unit("a")).len(), 2);
        guard.set_removals(&unit("a"), &[], settled(now));
        assert!(guard.cleared(&unit("a")).is_empty());
    }

    // Invariant: A mass removal waits for an operator.
    #[test]
    fn a_trickle_counts_as_one_pass_until_the_window_has_gone() {
        let (mut guard, start) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..6), start);
        assert!(matches!(guard.judge(OWNED, false, settled(start)), Verdict::Cleared(_)));
        objects(0..6).iter().for_each(|written| guard.done(&written.id));
        let soon = start + Duration::from_secs(30);
        guard.set_removals(&unit("b"), &objects(6..11), soon);
        assert_eq!(guard.judge(OWNED - 6, false, settled(soon)), Verdict::Withheld);

        let mut guard = Guard::new(BUDGET);
        guard.set_removals(&unit("a"), &objects(0..6), start);
        guard.judge(OWNED, false, settled(start));
        objects(0..6).iter().for_each(|written| guard.done(&written.id));
        let later = start + Duration::from_secs(WINDOW_SECONDS + QUIET_SECONDS);
        guard.set_removals(&unit("b"), &objects(6..11), later);
        assert!(matches!(guard.judge(OWNED, false, settled(later)), Verdict::Cleared(_)));
    }

    #[test]
    fn what_was_cleared_and_has_not_happened_is_withheld_with_the_rest() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..6), now);
        guard.judge(OWNED, false, settled(now));
        guard.set_removals(&unit("b"), &objects(6..20), settled(now));
        assert_eq!(guard.judge(OWNED, false, settled(settled(now))), Verdict::Withheld);
        assert!(guard.cleared(&unit("a")).is_empty());
        assert_eq!(guard.withheld().unwrap().1.len(), 20);
    }

    #[test]
    fn an_id_is_the_same_after_a_restart_and_never_covers_objects_made_later() {
        let withheld = |objects: &[Arc<Written>]| {
            let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
            guard.set_removals(&unit("a"), objects, now);
            assert_eq!(guard.judge(OWNED, false, settled(now)), Verdict::Withheld);
            guard.withheld().unwrap().0.id.clone()
        };
        let id = withheld(&objects(0..11));
        assert_eq!(withheld(&objects(0..11)), id);
        let made_later: Vec<_> = objects(0..11)
            .iter()
            .map(|written| Arc::new(Written { uid: format!("{}-new", written.uid).into(), ..(**written).clone() }))
            .collect();
        assert_ne!(withheld(&made_later), id);
    }

    #[test]
    fn consent_that_matches_nothing_is_not_remembered() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..11), now);
        guard.judge(OWNED, false, settled(now));
        let id = guard.withheld().unwrap().0.id.clone();

        let mut attacked = Guard::new(BUDGET);
        assert_eq!(attacked.release(&id), None);
        attacked.set_removals(&unit("a"), &objects(0..11), now);
        assert_eq!(attacked.judge(OWNED, false, settled(now)), Verdict::Withheld);
        assert!(attacked.cleared(&unit("a")).is_empty());
        assert!(attacked.release(&id).is_some(), "given now, it counts");
    }

    #[test]
    fn small_clusters_have_the_floor() {
        let (mut guard, now) = (Guard::new(BUDGET), Instant::now());
        guard.set_removals(&unit("a"), &objects(0..4), now);
        assert_eq!(guard.judge(4, false, settled(now)), Verdict::Cleared(vec![unit("a")]));
    }
}
