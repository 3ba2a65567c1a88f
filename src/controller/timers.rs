//! The units that are to be planned at some time, and when. A value without a clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    model::{Now, WorkKey},
    registry::Because,
};

/// Units with the time at which each is planned. Each is in it once: the earliest time counts.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Now, WorkKey)>,
    by_unit: HashMap<WorkKey, (Now, Because)>,
}

impl Timers {
    /// Has a unit planned at a time, or earlier where it is to be planned earlier anyway.
    pub(super) fn schedule(&mut self, unit: WorkKey, at: Now, mut because: Because) {
        let mut at = at;
        if let Some((earlier, first)) = self.remove(&unit) {
            at = at.min(earlier);
            let later = std::mem::replace(&mut because, first);
            because.add(&later);
        }
        self.by_time.insert((at, unit.clone()));
        self.by_unit.insert(unit, (at, because));
    }

    /// Forgets a unit, which is planned now. Answers why it was to be planned.
    pub(super) fn cancel(&mut self, unit: &WorkKey) -> Option<Because> {
        self.remove(unit).map(|(_, because)| because)
    }

    /// Takes the units whose time has come.
    pub(super) fn take_due(&mut self, now: Now) -> BTreeMap<WorkKey, Because> {
        let mut due = BTreeMap::new();
        while let Some((at, unit)) = self.by_time.first().cloned().filter(|(at, _)| *at <= now) {
            self.by_time.remove(&(at, unit.clone()));
            if let Some((_, because)) = self.by_unit.remove(&unit) {
                due.insert(unit, because);
            }
        }
        due
    }

    /// When the next unit is due; never while there is none.
    pub(super) fn next(&self) -> Option<Now> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn remove(&mut self, unit: &WorkKey) -> Option<(Now, Because)> {
        let found = self.by_unit.remove(unit)?;
        self.by_time.remove(&(found.0, unit.clone()));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ClusterName, ServiceKey},
        registry::Trigger,
    };

    fn unit(identity: &str) -> WorkKey {
        WorkKey::Service(ServiceKey::parse(identity, "stage").unwrap())
    }

    fn because(cluster: &str) -> Because {
        Because::of(Trigger::Cluster(ClusterName::parse(cluster).unwrap()))
    }

    #[test]
    fn the_earliest_time_and_the_first_reason_count() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.schedule(unit("payments"), Now::from_millis(30), because("east"));
        timers.schedule(unit("payments"), Now::from_millis(20), because("west"));
        timers.schedule(unit("payments"), Now::from_millis(40), because("west"));
        timers.schedule(unit("orders"), Now::from_millis(25), because("east"));
        assert_eq!(timers.next(), Some(Now::from_millis(20)));
        assert!(timers.take_due(Now::from_millis(19)).is_empty());
        let due = timers.take_due(Now::from_millis(24));
        assert_eq!(due.keys().cloned().collect::<Vec<_>>(), [unit("payments")]);
        assert_eq!((&due[&unit("payments")].first, due[&unit("payments")].others), (&because("east").first, 2));
        assert_eq!(timers.take_due(Now::from_millis(99)).len(), 1);
        assert_eq!((timers.next(), timers.take_due(Now::from_millis(99)).len()), (None, 0));
    }

    #[test]
    fn a_unit_that_is_planned_early_is_not_planned_again() {
        let mut timers = Timers::default();
        timers.schedule(unit("payments"), Now::from_millis(30), because("east"));
        assert_eq!(timers.cancel(&unit("payments")), Some(because("east")));
        assert_eq!((timers.cancel(&unit("payments")), timers.next()), (None, None));
    }
}
