//! Joins the rooms: dirty unit → snapshot → plan → the writers of the clusters.
//!
//! Planning runs in one task, in sorted order, so that the same fleet is worked through in the same
//! way; it takes microseconds a unit. Writing runs beside it, one writer per cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Desired, Occasion, Writers},
    model::{ClusterName, ServiceKey},
    plan::{self, ClusterPlan, RoutePlan, ServicePlan, SidecarWant},
    registry::{HintBudget, NoteSource, Registry, Unit},
    server::{Metrics, Readiness},
};

/// Plans one service as the registry knows it now: `None` while nothing may be planned.
///
/// Hosts and addresses are claimed on the way, which is the only thing that planning changes.
#[must_use]
pub fn plan_service(registry: &Registry, key: &ServiceKey) -> Option<ServicePlan> {
    let snapshot = registry.snapshot(key)?;
    let settings = registry.settings();
    let hosts = plan::hosts(&snapshot, settings);
    // A held service keeps its hosts: it only looks as if it had none.
    let claims = if snapshot.unreadable_policy.is_some() { Vec::new() } else { registry.claim(key, &hosts) };
    Some(plan::plan(&snapshot, &claims, settings))
}

/// Plans one service for show: like [`plan_service`], but claims nothing, so that it may run beside the controller.
#[must_use]
pub fn view_service(registry: &Registry, key: &ServiceKey) -> Option<ServicePlan> {
    let snapshot = registry.snapshot(key)?;
    let settings = registry.settings();
    let claims = registry.claims(key, &plan::hosts(&snapshot, settings));
    Some(plan::plan(&snapshot, &claims, settings))
}

/// Plans the Sidecar of a client namespace: `None` while nothing may be planned.
#[must_use]
pub fn plan_sidecar(registry: &Registry, cluster: &ClusterName, namespace: &str) -> Option<SidecarWant> {
    let client = registry.client_namespace(cluster, namespace)?;
    Some(plan::sidecar(&client, registry.settings()))
}

/// Plans the copies of users' routes for a host: `None` while nothing may be planned.
#[must_use]
pub fn plan_routes(registry: &Registry, host: &Arc<str>) -> Option<RoutePlan> {
    let snapshot = registry.host_snapshot(host)?;
    Some(plan::routes(&snapshot, registry.settings()))
}

/// What a cluster should hold of the copies for a host.
#[must_use]
pub fn desired_routes(plan: &RoutePlan, cluster: &ClusterName) -> Desired {
    plan.clusters.get(cluster).map_or_else(Desired::nothing, |objects| Desired::in_turn(objects))
}

/// Plans the rules for all Services of a namespace: `None` while nothing may be planned.
#[must_use]
pub fn plan_rules(registry: &Registry, cluster: &ClusterName, namespace: &str) -> Option<Desired> {
    let ruled = registry.ruled_namespace(cluster, namespace)?;
    let rules = plan::namespace_rules(&ruled, registry.settings());
    Some(Desired::nothing().and(&rules.objects).keeping(&rules.kept))
}

/// What a cluster should hold of a service.
#[must_use]
pub fn desired_in(plan: &ServicePlan, cluster: &ClusterName) -> Desired {
    let of_cluster = plan.clusters.iter().find(|planned| planned.cluster == *cluster);
    of_cluster.map_or_else(Desired::nothing, desired_of)
}

fn desired_of(planned: &ClusterPlan) -> Desired {
    Desired::hosts(&planned.hosts).and(&planned.others).keeping(&planned.kept)
}

/// What a client namespace should hold.
#[must_use]
pub fn desired_sidecar(want: SidecarWant, namespace: &str, name: &str) -> Desired {
    match want {
        SidecarWant::Nothing => Desired::nothing(),
        SidecarWant::Own(sidecar) => Desired::sidecar(sidecar),
        SidecarWant::Merge { hosts } => Desired::merged_sidecar(namespace, name, hosts),
    }
}

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
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.registry.dirty() => {}
            }
            let since = Instant::now();
            let mut units = self.registry.take_triggered();
            let mut hints = HintBudget::default();
            while let Some((unit, because)) = units.pop_first() {
                let occasion = Occasion { since, because };
                let timer = self.metrics.plan_duration.start_timer();
                let planned = catch_unwind(AssertUnwindSafe(|| {
                    self.plan(&unit, &occasion, &mut hints);
                    self.registry.followers(&unit)
                }));
                match planned {
                    Ok(followers) => {
                        for follower in followers {
                            units.entry(follower).or_insert_with(|| occasion.because.clone());
                        }
                    }
                    // A bug of ours; it must not keep all other services from being planned.
                    Err(_) => tracing::error!(%unit, "planning ended by a bug; what stands of it stays as it is"),
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

    fn plan(&self, unit: &Unit, occasion: &Occasion, hints: &mut HintBudget) {
        match unit {
            Unit::Service(key) => {
                let Some(plan) = plan_service(&self.registry, key) else { return };
                self.registry.put_notes(NoteSource::Service(key.clone()), plan.notes.clone(), hints);
                if plan.held {
                    return;
                }
                let wanted = plan.clusters.iter().map(|planned| (planned.cluster.clone(), desired_of(planned)));
                self.hand_over(unit, &plan.first, occasion, wanted.collect());
            }
            Unit::Host(host) => self.plan_routes(host, occasion),
            Unit::Sidecar(cluster, namespace) => self.plan_sidecar(cluster, namespace, occasion),
            Unit::Namespace(cluster, namespace) => self.plan_rules(cluster, namespace, occasion),
        }
    }

    /// Hands what each cluster should hold of a unit to its writer.
    fn hand_over(
        &self,
        unit: &Unit,
        first: &BTreeSet<ClusterName>,
        occasion: &Occasion,
        mut wishes: BTreeMap<ClusterName, Desired>,
    ) {
        wishes.retain(|_, desired| !desired.is_nothing());
        for cluster in self.registry.clusters_holding(unit) {
            wishes.entry(cluster).or_insert_with(Desired::nothing);
        }
        self.writers.withdraw_beside(unit, &wishes);
        self.writers.submit_in_order(unit, first, wishes, occasion.clone());
    }

    /// Where the copies for a host belong follows where its service does.
    fn plan_routes(&self, host: &Arc<str>, occasion: &Occasion) {
        let Some(plan) = plan_routes(&self.registry, host) else { return };
        self.registry.notes().put(NoteSource::Host(host.clone()), plan.notes.clone());
        if !plan.held {
            let unit = Unit::Host(host.clone());
            let wanted = plan.clusters.keys().map(|cluster| (cluster.clone(), desired_routes(&plan, cluster)));
            self.hand_over(&unit, &BTreeSet::new(), occasion, wanted.collect());
        }
    }

    fn plan_sidecar(&self, cluster: &ClusterName, namespace: &Arc<str>, occasion: &Occasion) {
        let Some(want) = plan_sidecar(&self.registry, cluster, namespace) else { return };
        let name = &self.registry.settings().workload_sidecar_name;
        let unit = Unit::Sidecar(cluster.clone(), namespace.clone());
        self.writers.submit(cluster, unit, desired_sidecar(want, namespace, name), occasion.clone());
    }

    /// The rules for all Services of a namespace follow the services that run there.
    fn plan_rules(&self, cluster: &ClusterName, namespace: &Arc<str>, occasion: &Occasion) {
        let Some(desired) = plan_rules(&self.registry, cluster, namespace) else { return };
        let unit = Unit::Namespace(cluster.clone(), namespace.clone());
        if desired.is_nothing() && self.registry.written_of(cluster, &unit).is_empty() {
            self.writers.withdraw(cluster, &unit);
        } else {
            self.writers.submit(cluster, unit, desired, occasion.clone());
        }
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}
