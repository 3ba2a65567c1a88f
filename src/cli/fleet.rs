//! The fleet of an offline command: read once, planned whole.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::incomplete::{self, Missing, READ_TIMEOUT};
use crate::{
    apply::Desired,
    clock,
    config::Settings,
    fleet::{
        Observer,
        directory::{DirectoryCluster, DirectoryProblem, Loaded},
        file::{self, FleetCluster, ObjectSource},
    },
    model::{ClusterName, Note, WorkKey, did_you_mean},
    plan::{ServicePlan, WorkPlan},
    planner::plan_unit,
    registry::{NoteSource, Registry},
};

/// How often it is looked whether everything was read.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Clusters that a message lists.
const MAX_NAMES: usize = 10;

/// A fleet that was read once and planned whole.
pub(super) struct PlannedFleet {
    pub(super) registry: Arc<Registry>,
    pub(super) clusters: Vec<ClusterName>,
    /// Those whose objects were read too.
    pub(super) live: Vec<ClusterName>,
    /// Every unit with its plan.
    plans: Vec<(WorkKey, WorkPlan)>,
    /// Some manifest could not be read: what it holds is missing from the plan.
    pub(super) incomplete: Vec<String>,
    /// What could not be read of live clusters.
    pub(super) unread: Vec<Missing>,
}

/// Seconds since the Unix epoch.
pub(super) fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The settings for a fleet: files are read at one moment, and whoever reviews what comes of them sees who gets a host.
fn for_files(fleet: &file::FleetFile, mut settings: Settings) -> Settings {
    if fleet.clusters.iter().all(|cluster| matches!(cluster.place, ObjectSource::Directory(_))) {
        settings.host_rest_hours = 0;
    }
    settings
}

/// Reads the fleet at `path`: a fleet file, or a directory with one sub-directory per cluster.
pub(super) fn read(path: &Path, settings: Settings) -> anyhow::Result<PlannedFleet> {
    let fleet = file::load(path, settings.fleet_root.as_deref())?;
    let settings = Arc::new(for_files(&fleet, settings));
    let registry = Arc::new(Registry::new(settings.clone()));
    let observer = Observer::new(settings.clone(), true);
    let mut hidden = Vec::new();
    let mut live = Vec::new();
    fleet.set_istio_namespaces(&registry);
    for FleetCluster { name, place, .. } in &fleet.clusters {
        match place {
            ObjectSource::Directory(directory) => {
                let observer = observer.for_istio_namespace(registry.queries().istio_namespace(name));
                let cluster = DirectoryCluster::new(name.clone(), directory.clone(), observer).in_fleet(&fleet);
                let loaded = cluster.load();
                hidden.extend(unread_in(&loaded).map(|problem| format!("{name}: {problem}")));
                cluster.push(&loaded, &registry, now_seconds());
            }
            ObjectSource::Kube { .. } => live.push(name.clone()),
        }
    }
    match &fleet.hub {
        Some(ObjectSource::Directory(directory)) => {
            let hub = DirectoryCluster::hub(directory.clone(), observer.clone()).in_fleet(&fleet);
            let loaded = hub.load();
            hidden.extend(unread_in(&loaded).map(|problem| format!("hub: {problem}")));
            hub.push(&loaded, &registry, now_seconds());
        }
        Some(ObjectSource::Kube { .. }) | None => {}
    }
    let needs_network = !live.is_empty() || matches!(fleet.hub, Some(ObjectSource::Kube { .. }));
    if needs_network {
        let spinner = super::output::progress("Reading live clusters");
        let says = |waits_for: &str| spinner.set_message(format!("Reading live clusters: waiting for {waits_for}"));
        let outcome = super::run::runtime()?.block_on(read_live(&fleet, &registry, &observer, says));
        spinner.finish_and_clear();
        outcome?;
    } else {
        registry.fleet_listed();
    }
    let live_and_hub: BTreeSet<ClusterName> = live
        .iter()
        .cloned()
        .chain(matches!(fleet.hub, Some(ObjectSource::Kube { .. })).then(ClusterName::hub))
        .collect();
    let unread = incomplete::unread(&registry, |cluster| live_and_hub.contains(cluster));
    if let Err(missing) = registry.ready() {
        incomplete::say(&unread);
        bail!("the fleet cannot be planned: {missing}");
    }
    let mut clusters: Vec<ClusterName> = fleet.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    clusters.sort();
    Ok(plan(registry, Read { clusters, live, hidden, unread }))
}

/// What could not be taken from a directory as it is.
fn unread_in(loaded: &Loaded) -> impl Iterator<Item = &DirectoryProblem> {
    loaded.problems().iter().filter(|problem| problem.is_of_reading())
}

/// Watches the live clusters until each was read once or cannot be, and waits as their API servers ask.
async fn read_live(
    fleet: &file::FleetFile,
    registry: &Arc<Registry>,
    observer: &Observer,
    says: impl Fn(&str),
) -> anyhow::Result<()> {
    let cancel = tokio_util::sync::CancellationToken::new();
    let running = super::run::watch_fleet(fleet, registry, observer, &cancel);
    let begun = Instant::now();
    while !running.has_ended() {
        match incomplete::awaited(registry, begun.elapsed()) {
            Some(waits_for) => says(&waits_for),
            None if registry.queries().is_listed() || begun.elapsed() >= READ_TIMEOUT => break,
            None => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    cancel.cancel();
    running.stopped().await?;
    incomplete::give_up_loading(registry, now_seconds());
    if !registry.queries().is_listed() {
        bail!("the clusters could not be read within {} s", READ_TIMEOUT.as_secs());
    }
    Ok(())
}

/// What was read of a fleet, beside what the registry knows.
struct Read {
    clusters: Vec<ClusterName>,
    live: Vec<ClusterName>,
    hidden: Vec<String>,
    unread: Vec<Missing>,
}

fn plan(registry: Arc<Registry>, read: Read) -> PlannedFleet {
    let now = clock::now();
    // Everything is dirty once the fleet has been read, with all that stands there and belongs to nothing any more.
    let plans = registry.take_dirty().into_iter().filter_map(|unit| {
        let plan = plan_unit(&registry, &unit, now)?;
        registry.notes().put_quietly(NoteSource::plan_of(&unit), plan.notes.clone());
        Some((unit, plan))
    });
    let plans = plans.collect();
    let Read { clusters, live, hidden, unread } = read;
    PlannedFleet { registry, clusters, live, plans, incomplete: hidden, unread }
}

/// That a fleet has no such cluster, with the one that may be meant and those it has.
pub(super) fn no_cluster<'a>(name: &str, clusters: impl Iterator<Item = &'a ClusterName> + Clone) -> String {
    let meant = did_you_mean(name, clusters.clone().map(ClusterName::as_str));
    let mut known: Vec<&str> = clusters.map(ClusterName::as_str).collect();
    let more = known.len().saturating_sub(MAX_NAMES);
    known.truncate(MAX_NAMES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("the fleet has no cluster {name:?}{meant} (it has {}{more})", known.join(", "))
}

impl PlannedFleet {
    /// The plans of all services.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServicePlan> + Clone {
        self.plans.iter().filter_map(|(_, plan)| plan.service.as_ref())
    }

    /// Every unit with what a cluster should hold of it.
    pub(super) fn desired(&self, cluster: &ClusterName) -> Vec<(WorkKey, Desired)> {
        let may_hold = |unit: &WorkKey| unit.cluster().is_none_or(|only| only == cluster);
        let plans = self.plans.iter().filter(|(unit, plan)| !plan.frozen && may_hold(unit));
        plans.map(|(unit, plan)| (unit.clone(), plan.desired_in(cluster))).collect()
    }

    /// Whether everything was read.
    pub(super) fn is_complete(&self) -> bool {
        self.incomplete.is_empty() && self.unread.is_empty()
    }

    /// What is noted, without what is named as missing anyway.
    pub(super) fn notes(&self) -> Vec<Note> {
        let notes = self.registry.queries().notes_with_hints().into_iter();
        notes.filter(|note| !incomplete::repeats(note, &self.unread)).collect()
    }
}
