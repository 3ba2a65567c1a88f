//! Joins the rooms: dirty unit → plan → the writers of the clusters.
//!
//! Planning runs in one task, in sorted order, so that the same fleet is worked through in the same
//! way; it takes microseconds a unit. Writing runs beside it, one writer per cluster.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Desired, Occasion, Writers},
    model::{ClusterName, Note, NoteKind, ObjectKind, ObjectPath, WorkKey},
    planner::plan_unit,
    registry::{HintBudget, NoteSource, Registry},
    server::{Metrics, Readiness},
};

/// Plans what changes and hands it to the writers, until it is cancelled.
pub struct Controller {
    registry: Arc<Registry>,
    writers: Arc<Writers>,
    metrics: Metrics,
    readiness: Readiness,
}

/// While a Service's pods are replaced, this long is waited for more of them, so that not every pod is a write in every
/// cluster. A sidecar that ends goes on serving for five seconds (Istio documentation, `terminationDrainDuration`).
const POD_BURST_MILLIS: u64 = 1_000;

/// Lets the changes of pods count a little later. Never ends.
async fn end_bursts(registry: &Registry) {
    loop {
        registry.pods_changed().await;
        tokio::time::sleep(Duration::from_millis(POD_BURST_MILLIS)).await;
        registry.pods_settled();
    }
}

/// Wait before a unit whose planning ended by a panic is planned once more.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Keeps a panic while one unit is planned from ending all planning, and has the unit planned once more.
struct PanicGuard {
    retry_after: Duration,
    /// Units whose last planning ended by a panic.
    panicked: HashSet<WorkKey>,
    /// Those that are to be planned again, each when its time has come.
    retries: FuturesUnordered<BoxFuture<'static, WorkKey>>,
}

/// Planning ended by a panic, which is a defect of Tradewind.
#[derive(Debug, PartialEq)]
struct Panicked;

impl PanicGuard {
    fn new(retry_after: Duration) -> Self {
        Self { retry_after, panicked: HashSet::new(), retries: FuturesUnordered::new() }
    }

    fn run<T>(&mut self, unit: &WorkKey, plan: impl FnOnce() -> T) -> Result<T, Panicked> {
        let planned = catch_unwind(AssertUnwindSafe(plan)).map_err(|_| Panicked);
        if planned.is_ok() {
            self.panicked.remove(unit);
        } else if self.panicked.insert(unit.clone()) {
            let unit = unit.clone();
            self.retries.push(tokio::time::sleep(self.retry_after).map(|()| unit).boxed());
        }
        planned
    }
}

fn planning_failed(unit: &WorkKey) -> Note {
    Note {
        kind: NoteKind::PlanningFailed,
        object: ObjectPath::new(unit.cluster().unwrap_or(&ClusterName::hub()), ObjectKind::Plan, "", &unit.to_string()),
        service: unit.service().cloned(),
        message: "planning ended by a defect of Tradewind, which the log shows; what was written before stays".into(),
    }
}

impl Controller {
    /// Puts the parts together. `readiness` learns of the first pass over the whole fleet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, writers: Arc<Writers>, metrics: Metrics, readiness: Readiness) -> Self {
        Self { registry, writers, metrics, readiness }
    }

    /// Runs until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        let registry = self.registry.clone();
        tokio::select! {
            () = self.work(cancel) => {}
            () = end_bursts(&registry) => {}
        }
    }

    async fn work(self, cancel: CancellationToken) {
        let mut guard = PanicGuard::new(RETRY_AFTER);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.registry.dirty() => {}
                Some(unit) = guard.retries.next() => {
                    self.registry.mark([unit]);
                    continue;
                }
            }
            let since = Instant::now();
            let mut units = self.registry.take_triggered();
            let mut hints = HintBudget::default();
            while let Some((unit, because)) = units.pop_first() {
                let occasion = Occasion { since, because };
                let timer = self.metrics.plan_duration.start_timer();
                let planned = guard.run(&unit, || {
                    self.plan(&unit, &occasion, &mut hints);
                    self.registry.followers(&unit)
                });
                match planned {
                    Ok(followers) => {
                        for follower in followers {
                            units.entry(follower).or_insert_with(|| occasion.because.clone());
                        }
                    }
                    Err(Panicked) => {
                        self.metrics.planning_panics.inc();
                        self.registry.notes().put(NoteSource::plan_of(&unit), vec![planning_failed(&unit)]);
                    }
                }
                drop(timer);
                // A whole fleet may be dirty: let the writers and watches breathe.
                tokio::task::yield_now().await;
            }
            if self.registry.ready().is_ok() {
                self.metrics.hosts.set(i64::try_from(self.registry.host_count()).unwrap_or(i64::MAX));
                self.readiness.planned();
            }
        }
    }

    fn plan(&self, unit: &WorkKey, occasion: &Occasion, hints: &mut HintBudget) {
        let Some(plan) = plan_unit(&self.registry, unit) else { return };
        self.registry.put_notes(NoteSource::plan_of(unit), plan.notes, hints);
        if !plan.frozen {
            self.hand_over(unit, &plan.first, occasion, plan.per_cluster);
        }
    }

    /// Hands what each cluster should hold of a unit to its writer; a cluster that needs no write is told to forget the unit.
    fn hand_over(
        &self,
        unit: &WorkKey,
        first: &BTreeSet<ClusterName>,
        occasion: &Occasion,
        mut desired: BTreeMap<ClusterName, Desired>,
    ) {
        desired.retain(|_, desired| !desired.is_nothing());
        for cluster in self.registry.clusters_holding(unit) {
            desired.entry(cluster).or_insert_with(Desired::nothing);
        }
        match unit.cluster() {
            None => self.writers.withdraw_beside(unit, &desired),
            Some(cluster) if !desired.contains_key(cluster) => self.writers.withdraw(cluster, unit),
            Some(_) => {}
        }
        self.writers.submit_in_order(unit, first, desired, occasion.clone());
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceKey;

    fn unit(identity: &str) -> WorkKey {
        WorkKey::Service(ServiceKey::parse(identity, "stage").unwrap())
    }

    #[tokio::test]
    async fn a_panic_ends_the_planning_of_one_unit_which_is_planned_once_more() {
        let mut guard = PanicGuard::new(Duration::ZERO);
        let (bad, good) = (unit("payments"), unit("orders"));
        assert_eq!(guard.run(&bad, || -> u8 { panic!("a defect") }), Err(Panicked));
        assert_eq!(guard.run(&good, || 1), Ok(1));
        assert_eq!(guard.run(&bad, || -> u8 { panic!("a defect") }), Err(Panicked));
        assert_eq!(guard.retries.next().await, Some(bad.clone()));
        assert_eq!(guard.run(&bad, || -> u8 { panic!("a defect") }), Err(Panicked));
        assert_eq!(guard.retries.next().await, None, "a retry that panics is not retried");
        assert_eq!(guard.run(&bad, || 2), Ok(2));
        assert_eq!(guard.run(&bad, || -> u8 { panic!("a defect") }), Err(Panicked));
        assert_eq!(guard.retries.next().await, Some(bad), "after it was planned, a panic is a new one");
    }
}
