//! The fleet of an offline command: read once, planned whole.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::bail;

use crate::{
    apply::Desired,
    config::Settings,
    controller::{desired_in, desired_routes, desired_sidecar, plan_routes, plan_rules, plan_service, plan_sidecar},
    fleet::{
        Observer,
        directory::DirectoryCluster,
        file::{self, FleetCluster, Place},
    },
    model::{ClusterName, Note},
    plan::{RoutePlan, ServicePlan},
    registry::{NoteSource, Registry, Unit},
};

/// Longest wait for live clusters to be read once.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A fleet that was read once and planned whole.
pub(super) struct PlannedFleet {
    pub(super) registry: Arc<Registry>,
    pub(super) clusters: Vec<ClusterName>,
    /// Those whose objects were read too.
    pub(super) live: Vec<ClusterName>,
    pub(super) plans: Vec<ServicePlan>,
    /// Some manifest could not be read: what it holds is missing from the plan.
    pub(super) incomplete: Vec<String>,
    beside: Vec<(ClusterName, Unit, Desired)>,
    /// Copies of users' routes.
    routes: Vec<RoutePlan>,
}

/// Seconds since the Unix epoch.
pub(super) fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Reads the fleet at `path`: a fleet file, or a directory with one sub-directory per cluster.
pub(super) fn read(path: &Path, settings: Settings) -> anyhow::Result<PlannedFleet> {
    let fleet = file::load(path)?;
    let settings = Arc::new(settings);
    let registry = Arc::new(Registry::new(settings.clone()));
    let observer = Observer::new(settings.clone(), true);
    let mut incomplete = Vec::new();
    let mut live = Vec::new();
    for FleetCluster { name, place } in &fleet.clusters {
        match place {
            Place::Directory(directory) => {
                let cluster = DirectoryCluster::new(name.clone(), directory.clone(), observer.clone());
                let loaded = cluster.load();
                incomplete.extend(loaded.problems().iter().map(|problem| format!("{name}: {problem}")));
                cluster.push(&loaded, &registry, now_seconds());
            }
            Place::Kube { .. } => live.push(name.clone()),
        }
    }
    match &fleet.hub {
        Some(Place::Directory(directory)) => {
            let hub = DirectoryCluster::hub(directory.clone(), observer.clone());
            let loaded = hub.load();
            incomplete.extend(loaded.problems().iter().map(|problem| format!("hub: {problem}")));
            hub.push(&loaded, &registry, now_seconds());
        }
        Some(Place::Kube { .. }) | None => {}
    }
    let needs_network = !live.is_empty() || matches!(fleet.hub, Some(Place::Kube { .. }));
    if needs_network {
        let spinner = super::output::progress("Reading live clusters");
        let outcome = super::run::runtime()?.block_on(read_live(&fleet, &registry, &observer));
        spinner.finish_and_clear();
        outcome?;
    } else {
        registry.fleet_listed();
    }
    if let Err(missing) = registry.ready() {
        bail!("the fleet cannot be planned: {missing}");
    }
    let mut clusters: Vec<ClusterName> = fleet.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    clusters.sort();
    Ok(plan(registry, clusters, live, incomplete))
}

async fn read_live(fleet: &file::FleetFile, registry: &Arc<Registry>, observer: &Observer) -> anyhow::Result<()> {
    let cancel = tokio_util::sync::CancellationToken::new();
    let running = super::run::watch_fleet(fleet, registry, observer, &cancel);
    let ready = async {
        while registry.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::time::timeout(READ_TIMEOUT, ready).await;
    cancel.cancel();
    running.stopped().await?;
    if outcome.is_err() {
        let missing = registry.ready().err().unwrap_or_default();
        bail!("not all clusters could be read within {} s: {missing}", READ_TIMEOUT.as_secs());
    }
    Ok(())
}

fn plan(
    registry: Arc<Registry>,
    clusters: Vec<ClusterName>,
    live: Vec<ClusterName>,
    incomplete: Vec<String>,
) -> PlannedFleet {
    let (mut plans, mut beside, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    let name = registry.settings().workload_sidecar_name.clone();
    // Everything is dirty once the fleet has been read, with all that stands there and belongs to nothing any more.
    for unit in registry.take_dirty() {
        match &unit {
            Unit::Service(key) => {
                if let Some(plan) = plan_service(&registry, key) {
                    registry.notes().put_quietly(NoteSource::Service(key.clone()), plan.notes.clone());
                    plans.push(plan);
                }
            }
            Unit::Host(host) => {
                if let Some(plan) = plan_routes(&registry, host) {
                    registry.notes().put_quietly(NoteSource::Host(host.clone()), plan.notes.clone());
                    routes.push(plan);
                }
            }
            Unit::Sidecar(cluster, namespace) => {
                if let Some(want) = plan_sidecar(&registry, cluster, namespace) {
                    let desired = desired_sidecar(want, namespace, &name);
                    beside.push((cluster.clone(), unit.clone(), desired));
                }
            }
            Unit::Namespace(cluster, namespace) => {
                if let Some(desired) = plan_rules(&registry, cluster, namespace) {
                    beside.push((cluster.clone(), unit.clone(), desired));
                }
            }
        }
    }
    PlannedFleet { registry, clusters, live, plans, incomplete, beside, routes }
}

impl PlannedFleet {
    /// Every unit with what a cluster should hold of it.
    pub(super) fn desired(&self, cluster: &ClusterName) -> Vec<(Unit, Desired)> {
        let services = self.plans.iter().filter(|plan| !plan.held);
        let services = services.map(|plan| (Unit::Service(plan.key.clone()), desired_in(plan, cluster)));
        let beside = self.beside.iter().filter(|(of, _, _)| of == cluster);
        let beside = beside.map(|(_, unit, desired)| (unit.clone(), desired.clone()));
        let routes = self.routes.iter().filter(|plan| !plan.held);
        let routes = routes.map(|plan| (Unit::Host(plan.host.clone()), desired_routes(plan, cluster)));
        services.chain(beside).chain(routes).collect()
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        self.registry.notes().all()
    }
}
