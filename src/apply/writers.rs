//! All writers: one per cluster, created with its first plan, ended when the cluster leaves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Desired,
    cluster_view::ClusterView,
    metrics::ApplyMetrics,
    queue::Occasion,
    store::Store,
    write::Write,
    write_barrier::{FIRST_SECONDS, WriteBarrier},
    writer::{ClusterWriter, Shared},
};
use crate::{
    config::Settings,
    model::{ClusterName, ObjectId, WorkKey, Written},
};

/// Longest time for cleaning a cluster that leaves: it may be leaving because it is broken.
const CLEAN_TIMEOUT_SECONDS: u64 = 60;

/// Creates the destination of a cluster.
pub type Stores = Box<dyn Fn(&ClusterName) -> Arc<dyn Store> + Send + Sync>;

/// Finds the name of the Secret that registers a cluster.
pub type SecretNames = Box<dyn Fn(&ClusterName) -> Option<String> + Send + Sync>;

/// Finds the id of withheld removals that an operator consents to in a cluster, where only operators can write it.
pub type ReleaseIds = Box<dyn Fn(&ClusterName) -> Option<String> + Send + Sync>;

/// The parts of the writers.
pub struct WritersConfig {
    /// The observed state of the clusters.
    pub view: Arc<dyn ClusterView>,
    /// The destinations of writes.
    pub stores: Stores,
    /// Settings.
    pub settings: Arc<Settings>,
    /// Metrics.
    pub metrics: ApplyMetrics,
    /// Name of the Secret that registers a cluster, for instructions; absent for other forms of registration.
    pub secret_of: SecretNames,
    /// The id of withheld removals that operators consent to now, cluster by cluster.
    pub consent_of: ReleaseIds,
}

impl std::fmt::Debug for WritersConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WritersConfig").finish_non_exhaustive()
    }
}

/// No removals are withheld in a cluster under an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing is withheld in {cluster} under {id:?}")]
pub struct NothingWithheld {
    /// The cluster.
    pub cluster: ClusterName,
    /// The id that was to be released.
    pub id: String,
}

/// Removals that wait for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The cluster they would happen in.
    pub cluster: ClusterName,
    /// Names exactly this set; needed to release it.
    pub id: String,
    /// `Kind namespace/name` of each object.
    pub objects: Vec<String>,
    /// Number of managed objects in the cluster when they were judged.
    pub owned: usize,
}

struct Running {
    writer: Arc<ClusterWriter>,
    task: JoinHandle<()>,
}

/// The writers of all clusters. Needs a running Tokio runtime.
pub struct Writers {
    shared: Arc<Shared>,
    stores: Stores,
    running: Mutex<HashMap<ClusterName, Running>>,
    cleaning: Mutex<HashMap<ClusterName, CancellationToken>>,
    leaving: TaskTracker,
    /// Longest wait for the clusters that come first.
    first_within: Duration,
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writers").finish_non_exhaustive()
    }
}

impl Writers {
    /// No writer yet.
    #[must_use]
    pub fn new(config: WritersConfig) -> Self {
        let WritersConfig { view, stores, settings, metrics, secret_of, consent_of } = config;
        Self {
            shared: Arc::new(Shared { view, settings, metrics, secret_of, consent_of }),
            stores,
            running: Mutex::default(),
            cleaning: Mutex::default(),
            leaving: TaskTracker::new(),
            first_within: Duration::from_secs(FIRST_SECONDS),
        }
    }

    /// Queues the plan of a unit for a cluster; it replaces an earlier one. `occasion` is the event that led to it.
    pub fn submit(&self, cluster: &ClusterName, unit: WorkKey, desired: Desired, occasion: impl Into<Occasion>) {
        // After draining, nothing is queued.
        if !self.leaving.is_closed()
            && let Some(writer) = self.writer(cluster)
        {
            writer.submit(unit, Arc::new(desired), occasion.into());
        }
    }

    /// As [`Writers::submit`] for several clusters, of which some come first: the others wait for their success, but not for
    /// those that are sick, and not for long.
    pub fn submit_in_order(
        &self,
        unit: &WorkKey,
        first: &BTreeSet<ClusterName>,
        desired: BTreeMap<ClusterName, Desired>,
        occasion: impl Into<Occasion>,
    ) {
        let occasion = occasion.into();
        if self.leaving.is_closed() {
            return;
        }
        let desired =
            desired.into_iter().filter_map(|(cluster, desired)| Some((self.writer(&cluster)?, Arc::new(desired))));
        let is_first = |writer: &ClusterWriter| first.contains(&writer.cluster) && !writer.is_sick();
        let (ahead, behind): (Vec<_>, Vec<_>) = desired.partition(|(writer, _)| is_first(writer));
        if ahead.is_empty() {
            behind.into_iter().for_each(|(writer, desired)| writer.submit(unit.clone(), desired, occasion.clone()));
            return;
        }
        let barrier = WriteBarrier::new(unit.clone(), ahead.iter().map(|(writer, _)| writer.cluster.clone()).collect());
        let barrier = Arc::new(barrier);
        for (writer, desired) in ahead {
            writer.submit_first(unit.clone(), desired, occasion.clone(), Some(Arc::clone(&barrier)));
        }
        let due = Instant::now() + self.first_within;
        for (writer, desired) in behind {
            writer.submit_behind(unit.clone(), desired, occasion.clone(), &barrier, due);
        }
    }

    /// Drops the waiting work and the notes of a unit that has no objects in a cluster and wants none. Creates no writer.
    pub fn withdraw(&self, cluster: &ClusterName, unit: &WorkKey) {
        let running = self.running.lock().get(cluster).map(|running| Arc::clone(&running.writer));
        running.into_iter().for_each(|writer| writer.withdraw(unit));
    }

    /// As [`Writers::withdraw`] in every cluster that `desired` does not name.
    pub fn withdraw_others(&self, unit: &WorkKey, desired: &BTreeMap<ClusterName, Desired>) {
        let others = self.writers().into_iter().filter(|writer| !desired.contains_key(&writer.cluster));
        others.for_each(|writer| writer.withdraw(unit));
    }

    /// Looks whether something that waited can happen now, as planning again does.
    #[cfg(test)]
    fn wake(&self, cluster: &ClusterName) {
        if let Some(running) = self.running.lock().get(cluster) {
            running.writer.wake.notify_one();
        }
    }

    /// Lets exactly the removals go that are withheld under `id`, as far as they are still unwanted, and returns how many.
    /// `by` is who consented, for the log.
    ///
    /// # Errors
    /// When nothing is withheld under it now; the consent is not kept.
    pub fn release(&self, cluster: &ClusterName, id: &str, by: &str) -> Result<usize, NothingWithheld> {
        let running = self.running.lock();
        let released = running.get(cluster).and_then(|running| running.writer.release(id, by));
        released.ok_or_else(|| NothingWithheld { cluster: cluster.clone(), id: id.to_owned() })
    }

    /// Compares what is withheld with what operators consent to now.
    pub fn consent_changed(&self) {
        self.writers().iter().for_each(|writer| writer.wake.notify_one());
    }

    /// What is withheld, by cluster.
    #[must_use]
    pub fn withheld(&self) -> Vec<Withheld> {
        let writers: Vec<Arc<ClusterWriter>> = self.writers();
        let mut withheld: Vec<Withheld> = writers
            .iter()
            .filter_map(|writer| {
                let (id, objects, owned) = writer.withheld()?;
                let objects = objects.iter().map(in_words).collect();
                Some(Withheld { cluster: writer.cluster.clone(), id, objects, owned })
            })
            .collect();
        withheld.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        withheld
    }

    /// Whether nothing is written, and nothing will be until something changes. Waiting for a sick cluster is not idle;
    /// waiting for one that was never listed, for an operator, or for refused content to change is.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.writers().iter().all(|writer| writer.is_idle())
    }

    /// Starts no further turn and waits for what is under way. Tells whether all of it ended in time.
    pub async fn drain(&self, timeout: Duration) -> bool {
        let running: Vec<Running> = self.running.lock().drain().map(|(_, running)| running).collect();
        for one in &running {
            one.writer.stop.cancel();
        }
        self.leaving.close();
        let ended = async {
            for one in running {
                // A panic of the task was logged where it happened.
                let _ = one.task.await;
            }
            self.leaving.wait().await;
        };
        tokio::time::timeout(timeout, ended).await.is_ok()
    }

    /// A cluster left the fleet: nothing more is written there. With `clean`, every managed object is deleted, whatever their
    /// number, unless the cluster comes back meanwhile. Its connection must be there until the task has ended; it goes on
    /// where its handle is dropped. `None` when there is nothing to do.
    pub fn remove_cluster(&self, cluster: &ClusterName, clean: bool) -> Option<JoinHandle<()>> {
        let running = self.running.lock().remove(cluster);
        if running.is_none() && !clean {
            return None;
        }
        let token = CancellationToken::new();
        if clean && let Some(before) = self.cleaning.lock().insert(cluster.clone(), token.clone()) {
            before.cancel();
        }
        let store =
            running.as_ref().map_or_else(|| (self.stores)(cluster), |running| Arc::clone(&running.writer.store));
        let (shared, cluster) = (Arc::clone(&self.shared), cluster.clone());
        Some(self.leaving.spawn(async move {
            if let Some(Running { writer, task }) = running {
                writer.stop.cancel();
                // A panic of the task was logged where it happened.
                let _ = task.await;
                shared.metrics.forget(&cluster);
            }
            if clean {
                self::clean(&cluster, &*store, &shared, &token).await;
            }
        }))
    }

    fn writers(&self) -> Vec<Arc<ClusterWriter>> {
        self.running.lock().values().map(|running| Arc::clone(&running.writer)).collect()
    }

    fn writer(&self, cluster: &ClusterName) -> Option<Arc<ClusterWriter>> {
        let mut running = self.running.lock();
        if let Some(running) = running.get(cluster) {
            return Some(Arc::clone(&running.writer));
        }
        // A plan from before it left must not end its cleaning.
        if !self.shared.view.has_cluster(cluster) {
            return None;
        }
        if let Some(cleaning) = self.cleaning.lock().remove(cluster) {
            cleaning.cancel();
        }
        let store = (self.stores)(cluster);
        let writer = Arc::new(ClusterWriter::new(cluster.clone(), Arc::clone(&self.shared), store));
        let task = tokio::spawn(Arc::clone(&writer).run());
        running.insert(cluster.clone(), Running { writer: Arc::clone(&writer), task });
        Some(writer)
    }
}

fn in_words(id: &ObjectId) -> String {
    format!("{} {}/{}", id.kind.as_str(), id.namespace, id.name)
}

/// Removes every managed object from a cluster that left.
async fn clean(cluster: &ClusterName, store: &dyn Store, shared: &Shared, stop: &CancellationToken) {
    let settings = &shared.settings;
    if shared.view.is_read_only() || settings.dry_run {
        tracing::info!(%cluster, "the cluster left and is not cleaned: nothing is written in this mode");
        return;
    }
    let remove = |written: Written| async move {
        if stop.is_cancelled() {
            return true;
        }
        let Some(removal) = Write::removal(&Arc::new(written)) else { return true };
        let done = store.write(&removal).await;
        if let Err(error) = &done {
            let object = in_words(&removal.id());
            tracing::warn!(%cluster, object, %error, "the cluster left and this could not be removed");
        }
        done.is_ok()
    };
    let all = async {
        let mut owned = store.owned().await?;
        // Hosts before their rules, as everywhere.
        owned.sort_by_key(|written| (written.id.kind != crate::model::Kind::ServiceEntry, written.id.clone()));
        let done: Vec<bool> =
            stream::iter(owned).map(remove).buffered(settings.write_concurrency.max(1)).collect().await;
        Ok::<_, super::WriteError>((done.len(), done.iter().filter(|done| !**done).count()))
    };
    match tokio::time::timeout(Duration::from_secs(CLEAN_TIMEOUT_SECONDS), all).await {
        Ok(Ok((objects, left))) => tracing::info!(%cluster, objects, left, "the cluster left and was cleaned"),
        Ok(Err(error)) => tracing::warn!(%cluster, %error, "the cluster left and could not be cleaned"),
        Err(_) => tracing::warn!(%cluster, "the cluster left and was not cleaned within {CLEAN_TIMEOUT_SECONDS} s"),
    }
}

#[cfg(test)]
mod tests;
