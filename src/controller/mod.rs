//! Joins the rooms: dirty unit → plan → the writers of the clusters.
//!
//! Planning runs in one task, in sorted order, so that the same fleet is worked through in the same
//! way; it takes microseconds a unit. Writing runs beside it, one writer per cluster. The only clock of planning is here: units
//! that are to be planned later wait in one queue of timers.

mod panic_guard;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Desired, Occasion, Writers},
    clock::Clock,
    model::{ClusterName, Now, WorkKey},
    planner::plan_unit,
    registry::{Because, HintBudget, NoteSource, Registry, Trigger},
    server::{Metrics, Readiness},
};
use panic_guard::{PanicGuard, Panicked, planning_failed};
use timers::Timers;

/// While a Service's pods are replaced, this long is waited for more of them, so that not every pod is a write in every
/// cluster. A sidecar that ends goes on serving for five seconds (Istio documentation, `terminationDrainDuration`).
const POD_BURST: Duration = Duration::from_secs(1);

/// Wait before a unit whose planning ended by a panic is planned once more.
const RETRY_AFTER_PANIC: Duration = Duration::from_secs(60);

/// Plans what changes and hands it to the writers, until it is cancelled.
pub struct Controller {
    registry: Arc<Registry>,
    writers: Arc<Writers>,
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock,
    timers: Timers,
    /// When a removed IdentityClaim ends to count.
    claims_end: Option<Now>,
    guard: PanicGuard,
}

impl Controller {
    /// Puts the parts together. `readiness` learns of the first pass over the whole fleet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, writers: Arc<Writers>, metrics: Metrics, readiness: Readiness) -> Self {
        let (clock, timers, guard) = (Clock::start(), Timers::default(), PanicGuard::default());
        Self { registry, writers, metrics, readiness, clock, timers, claims_end: None, guard }
    }

    /// Runs until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.registry.queue().changed() => {}
                () = self.clock.reach(self.timers.next().into_iter().chain(self.claims_end).min()) => {}
            }
            self.pass().await;
        }
    }

    /// Plans everything that is dirty or due, and what follows from it.
    async fn pass(&mut self) {
        let since = Instant::now();
        self.claims_end = self.registry.expire_claims(self.clock.now());
        let mut units = self.take_units();
        let mut hints = HintBudget::default();
        while let Some((unit, because)) = units.pop_first() {
            let occasion = Occasion { since, because };
            for follower in self.plan_guarded(&unit, &occasion, &mut hints) {
                units.entry(follower).or_insert_with(|| occasion.because.clone());
            }
            // A whole fleet may be dirty: let the writers and watches breathe.
            tokio::task::yield_now().await;
        }
        if self.registry.ready().is_ok() {
            self.metrics.hosts.set(i64::try_from(self.registry.queries().host_count()).unwrap_or(i64::MAX));
            self.readiness.planned();
        }
    }

    /// The units that are to be planned now. Those of which only pods changed wait for the end of the burst.
    fn take_units(&mut self) -> BTreeMap<WorkKey, Because> {
        let now = self.clock.now();
        for (unit, because) in self.registry.take_bursting() {
            self.timers.schedule(unit, now.after(POD_BURST), because);
        }
        let mut units = self.registry.take_triggered();
        for (unit, because) in &mut units {
            if let Some(waiting) = self.timers.cancel(unit) {
                because.add(&waiting);
            }
        }
        units.extend(self.timers.take_due(now));
        units
    }

    /// Plans one unit, and answers which follow from it. A panic harms this one alone, and is worth one more attempt.
    fn plan_guarded(&mut self, unit: &WorkKey, occasion: &Occasion, hints: &mut HintBudget) -> BTreeSet<WorkKey> {
        let _timer = self.metrics.plan_duration.start_timer();
        let now = self.clock.now();
        let (registry, writers) = (&*self.registry, &*self.writers);
        let planned = self.guard.run(unit, || {
            let revisit_at = plan(registry, writers, unit, now, occasion, hints);
            (registry.followers(unit), revisit_at)
        });
        let (followers, revisit_at) = planned.unwrap_or_else(|Panicked { is_first }| {
            self.metrics.planning_panics.inc();
            registry.notes().put(NoteSource::plan_of(unit), vec![planning_failed(unit)]);
            (BTreeSet::new(), is_first.then(|| now.after(RETRY_AFTER_PANIC)))
        });
        if let Some(at) = revisit_at {
            self.timers.schedule(unit.clone(), at, Because::of(Trigger::Time));
        }
        followers
    }
}

/// Plans one unit and hands the plan to the writers. Answers when it has to be planned again although nothing changed.
fn plan(
    registry: &Registry,
    writers: &Writers,
    unit: &WorkKey,
    now: Now,
    occasion: &Occasion,
    hints: &mut HintBudget,
) -> Option<Now> {
    let mut plan = plan_unit(registry, unit, now)?;
    let (notes, first) = (std::mem::take(&mut plan.notes), std::mem::take(&mut plan.first));
    let revisit_at = plan.revisit_at;
    registry.put_notes(NoteSource::plan_of(unit), notes, hints);
    if !plan.frozen {
        hand_over(registry, writers, unit, &first, occasion, plan.into_desired());
    }
    revisit_at
}

/// Hands what each cluster should hold of a unit to its writer; a cluster that needs no write is told to forget the unit.
fn hand_over(
    registry: &Registry,
    writers: &Writers,
    unit: &WorkKey,
    first: &BTreeSet<ClusterName>,
    occasion: &Occasion,
    mut desired: BTreeMap<ClusterName, Desired>,
) {
    desired.retain(|_, desired| !desired.is_nothing());
    for cluster in registry.outputs().clusters_holding(unit) {
        desired.entry(cluster).or_insert_with(Desired::nothing);
    }
    match unit.cluster() {
        None => writers.withdraw_others(unit, &desired),
        Some(cluster) if !desired.contains_key(cluster) => writers.withdraw(cluster, unit),
        Some(_) => {}
    }
    writers.submit_in_order(unit, first, desired, occasion.clone());
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}
