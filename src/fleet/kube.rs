//! A live cluster: one informer per watched kind, feeding the registry.
//!
//! Decides what is watched and where; never what an object means. The connection can be changed while
//! it runs: the registry keeps what it knows, and the first list over the new connection replaces it
//! kind by kind.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::kube::{
    Api, Client, Config,
    core::{ApiResource, GroupVersionKind},
    runtime::watcher::Event,
};
use dashmap::DashMap;
use futures::FutureExt as _;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use super::{
    informer::{Informer, Sink},
    kubeconfig::{self, ConnectError},
    object_budget::ClusterBudget,
    observe::{Observer, identify},
    pruned_object::PrunedObject,
    watch_error::WatchError,
};
use crate::{
    model::{ClusterName, Kind, ObjectId, Observed},
    registry::Registry,
};

/// Wait before a watch that ended by a bug begins anew, so that a bug at every object does not spin.
const AFTER_PANIC_SECONDS: u64 = 5;

/// The present connection of each cluster, the hub included: whoever writes asks here each time, so
/// that the next write goes over a connection that was swapped in meanwhile.
#[derive(Clone, Default)]
pub struct KubeClients(Arc<DashMap<ClusterName, Client>>);

impl KubeClients {
    /// None before a cluster is connected and after it has left.
    #[must_use]
    pub fn get(&self, cluster: &ClusterName) -> Option<Client> {
        self.0.get(cluster).map(|client| client.clone())
    }

    /// Every cluster that is connected now.
    #[must_use]
    pub fn names(&self) -> Vec<ClusterName> {
        self.0.iter().map(|entry| entry.key().clone()).collect()
    }

    pub(super) fn put(&self, cluster: &ClusterName, client: Client) {
        self.0.insert(cluster.clone(), client);
    }

    pub(super) fn remove(&self, cluster: &ClusterName) {
        self.0.remove(cluster);
    }
}

/// What all clusters report to.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) registry: Arc<Registry>,
    pub(super) observer: Observer,
    pub(super) clients: KubeClients,
}

/// Is dropped when something happened for the first time; whoever holds the receiver learns of it.
pub(super) type FirstAnswer = mpsc::Sender<()>;

/// A cluster that is being watched. Dropping it stops the watches.
pub(super) struct KubeCluster {
    watcher: Watcher,
    name: ClusterName,
    kinds: Vec<Kind>,
    tasks: JoinSet<()>,
}

impl KubeCluster {
    /// Connects and starts to watch `kinds`. The registry must know the cluster already. `first_answer`
    /// is kept open until Dependencies and the like, if watched, were listed or failed for the first time.
    pub(super) fn start(
        watcher: Watcher,
        name: ClusterName,
        kinds: Vec<Kind>,
        config: Config,
        first_answer: Option<FirstAnswer>,
    ) -> Result<Self, ConnectError> {
        let client = kubeconfig::connect(config)?;
        let mut cluster = Self { watcher, name, kinds, tasks: JoinSet::new() };
        cluster.watch(client, first_answer);
        Ok(cluster)
    }

    /// Goes on over another connection. When it cannot be made, the present one stays.
    pub(super) async fn swap(&mut self, config: Config) -> Result<(), ConnectError> {
        let client = kubeconfig::connect(config)?;
        self.tasks.shutdown().await;
        self.watch(client, None);
        Ok(())
    }

    /// Ends all watches and waits until they have ended. The client stays for whoever still has to write.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Reads everything anew by other rules, over the same connection.
    pub(super) async fn read_anew(&mut self) {
        let Some(client) = self.watcher.clients.get(&self.name) else { return };
        self.tasks.shutdown().await;
        self.watch(client, None);
    }

    fn watch(&mut self, client: Client, first_answer: Option<FirstAnswer>) {
        let istio_namespace = self.watcher.registry.queries().istio_namespace(&self.name);
        self.watcher.observer = self.watcher.observer.for_istio_namespace(istio_namespace);
        self.watcher.clients.put(&self.name, client.clone());
        let shared = ClusterShare {
            neighbours: Arc::new(Notify::new()),
            budget: ClusterBudget::new(self.watcher.observer.settings()),
        };
        for kind in self.kinds.iter().copied() {
            let first_answer = first_answer.clone().filter(|_| Kind::OF_HUB.contains(&kind));
            self.tasks.spawn(keep_watching(
                self.watcher.clone(),
                self.name.clone(),
                kind,
                client.clone(),
                shared.clone(),
                first_answer,
            ));
        }
    }
}

/// What the watches of one cluster share.
#[derive(Clone)]
struct ClusterShare {
    neighbours: Arc<Notify>,
    budget: Arc<ClusterBudget>,
}

/// Watches one kind until it is stopped. A panic, which is a defect of Tradewind, ends this watch alone, which then restarts.
async fn keep_watching(
    watcher: Watcher,
    cluster: ClusterName,
    kind: Kind,
    client: Client,
    shared: ClusterShare,
    mut first_answer: Option<FirstAnswer>,
) {
    let resource = resource(kind);
    let watch = || {
        let sink = KindSink {
            registry: watcher.registry.clone(),
            observer: watcher.observer.clone(),
            cluster: cluster.clone(),
            kind,
            listed: Vec::new(),
            malformed: Vec::new(),
            // Waited for until it is dropped: only the first sink may hold it.
            first_answer: first_answer.take(),
        };
        let api = api(client.clone(), kind, &resource, &watcher.observer);
        let ClusterShare { neighbours, budget } = shared.clone();
        Informer::new(api, shown(&resource), None, sink, neighbours, budget).optional(kind.served().optional).run()
    };
    let ended = || {
        let reason = format!("watching {} ended by a bug of Tradewind; it begins anew", shown(&resource));
        tracing::error!(%cluster, kind = kind.as_str(), "{reason}");
        watcher.registry.unreadable(&cluster, kind, reason.as_str(), now_seconds());
    };
    begin_anew(watch, ended, Duration::from_secs(AFTER_PANIC_SECONDS)).await;
}

/// Runs work that never ends by itself; whenever it does, reports it, waits and restarts it.
async fn begin_anew<F: Future>(mut work: impl FnMut() -> F, mut ended: impl FnMut(), wait: Duration) {
    loop {
        // What it ended with is the panic's message, which the panic itself has printed.
        let _ = AssertUnwindSafe(work()).catch_unwind().await;
        ended();
        tokio::time::sleep(wait).await;
    }
}

/// Seconds since the Unix epoch, for the registry, which knows no clock.
pub(super) fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Where a kind is served.
fn resource(kind: Kind) -> ApiResource {
    let served = kind.served();
    let gvk = GroupVersionKind::gvk(served.group, served.versions[0], kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, served.plural)
}

/// As messages name it: `deployments (apps/v1)`.
pub(super) fn shown(resource: &ApiResource) -> String {
    format!("{} ({})", resource.plural, resource.api_version)
}

fn api(client: Client, kind: Kind, resource: &ApiResource, observer: &Observer) -> Api<PrunedObject> {
    match observer.watched_namespace(kind) {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

/// Feeds one kind of one cluster into the registry.
struct KindSink {
    registry: Arc<Registry>,
    observer: Observer,
    cluster: ClusterName,
    kind: Kind,
    /// A list under way. It replaces what is known only when it is complete: that makes missed deletions visible.
    listed: Vec<Observed>,
    malformed: Vec<(ObjectId, String)>,
    first_answer: Option<FirstAnswer>,
}

impl KindSink {
    fn observe(&self, item: &PrunedObject) -> Result<Observed, (ObjectId, String)> {
        let observed = self.observer.observe_value(self.kind, &item.value);
        observed.map_err(|malformed| (identify(self.kind, &item.value), malformed.to_string()))
    }
}

impl Sink for KindSink {
    fn event(&mut self, event: Event<PrunedObject>) {
        match event {
            Event::Init => {
                self.listed.clear();
                self.malformed.clear();
            }
            Event::InitApply(item) => match self.observe(&item) {
                Ok(object) => self.listed.push(object),
                Err(malformed) => self.malformed.push(malformed),
            },
            Event::InitDone => {
                let (listed, malformed) = (std::mem::take(&mut self.listed), std::mem::take(&mut self.malformed));
                self.registry.reset_with(&self.cluster, self.kind, listed, malformed);
                self.first_answer = None;
            }
            Event::Apply(item) => match self.observe(&item) {
                Ok(object) => self.registry.apply(&self.cluster, object),
                Err((id, reason)) => self.registry.malformed(&self.cluster, id, &reason),
            },
            Event::Delete(item) => self.registry.delete(&self.cluster, &identify(self.kind, &item.value)),
        }
    }

    fn delayed(&mut self, trouble: &WatchError) {
        self.registry.list_delayed(&self.cluster, self.kind, &trouble.failure, now_seconds());
    }

    fn failed(&mut self, trouble: &WatchError) {
        // Half a list is worth nothing, and may be large.
        (self.listed, self.malformed) = (Vec::new(), Vec::new());
        if trouble.not_served() {
            self.registry.absent(&self.cluster, self.kind, &trouble.failure, now_seconds());
        } else {
            self.registry.unreadable(&self.cluster, self.kind, &trouble.failure, now_seconds());
        }
        self.first_answer = None;
    }

    fn resumed(&mut self) {
        self.registry.readable(&self.cluster, self.kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Invariant: A faulty object, kind or cluster affects no other.
    #[tokio::test]
    async fn a_watch_that_panics_gets_a_note_and_starts_again() {
        let (mut begun, mut told) = (0, 0);
        let third = Notify::new();
        let work = || {
            begun += 1;
            let begun = begun;
            let third = &third;
            async move {
                assert!(begun > 2, "a bug");
                third.notify_one();
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = begin_anew(work, || told += 1, Duration::ZERO) => unreachable!("it goes on for good"),
            () = third.notified() => {}
        }
        assert_eq!((begun, told), (3, 2));
    }
}
