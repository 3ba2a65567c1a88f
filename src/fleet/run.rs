//! The fleet at work: follows the hub's Secrets, connects and parts with clusters, and keeps every watch alive.
//!
//! Decides when a cluster joins, changes its connection and leaves; what the Secrets say is decided in
//! `secrets`. It reads clusters and never writes to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ::kube::{
    Api, Client, Config,
    core::{ApiResource, GroupVersionKind},
    runtime::watcher::Event,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    departures::{Departing, Departures, Waiting},
    informer::{Informer, Sink},
    kube::{FirstAnswer, KubeClients, KubeCluster, Watcher, now_seconds, shown},
    kubeconfig::{self, ConnectError, Fingerprint},
    object_budget::ClusterBudget,
    observe::{Observer, identify},
    pruned_object::PrunedObject,
    secrets::{ClusterSecret, LABELS, MembershipDiff, NotASecret, SecretBook, Step, secret_ref},
    watch_error::WatchError,
};
use crate::{
    model::{ClusterName, Kind, Note, NoteKind, ObjectPath, ReadCause, ReadFailure},
    registry::{NoteSource, ReadTarget, Registry},
};

/// Longest time that a cluster's removal may take, after which its connection is given up: enough for
/// thousands of deletions, and a bound for a cluster that left because it is gone.
const REMOVAL_SECONDS: u64 = 120;

/// Time between looks at clusters whose registration is gone: whether their grace is over, or an operator confirmed.
const LOOK_AT_DEPARTURES_EVERY: Duration = Duration::from_secs(1);

/// Called when a cluster has left: it is out of the registry, and its client still works until the future is done.
pub type OnRemoved = Arc<dyn Fn(ClusterName) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where the live clusters of a fleet are named. Directory clusters have their own backend.
#[derive(Default)]
pub struct Sources {
    /// The hub, where Dependencies are. Without one, the clusters below are watched for Dependencies.
    pub hub: Option<Config>,
    /// Whether Secrets on the hub register clusters.
    pub secrets: bool,
    /// Clusters from a fleet file, or why one of them cannot be connected.
    pub clusters: Vec<(ClusterName, Result<Config, ConnectError>)>,
    /// What has to be done before the fleet counts as listed.
    pub before_listing: Option<BoxFuture<'static, ()>>,
}

/// The live clusters of a fleet.
pub struct Fleet {
    watcher: Watcher,
    releases: watch::Sender<BTreeMap<ClusterName, String>>,
    secrets: RegisteringSecrets,
}

/// Name of the Secret that registers each cluster.
type RegisteringSecrets = Arc<Mutex<BTreeMap<ClusterName, String>>>;

/// Tells by which Secret a cluster is registered; nothing for clusters of a fleet file.
pub type SecretOf = Box<dyn Fn(&ClusterName) -> Option<String> + Send + Sync>;

impl Fleet {
    /// A fleet that reports to `registry`. Nothing runs yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>, observer: Observer) -> Self {
        let watcher = Watcher { registry, observer, clients: KubeClients::default() };
        Self { watcher, releases: watch::Sender::new(BTreeMap::new()), secrets: RegisteringSecrets::default() }
    }

    /// The present connections, for whoever writes. The hub is there under [`ClusterName::hub`].
    #[must_use]
    pub fn clients(&self) -> KubeClients {
        self.watcher.clients.clone()
    }

    /// The releases of withheld removals: annotation `tradewind.io/release-removals` of each cluster's Secret.
    #[must_use]
    pub fn releases(&self) -> watch::Receiver<BTreeMap<ClusterName, String>> {
        self.releases.subscribe()
    }

    /// The names of the Secrets that register clusters, for instructions.
    #[must_use]
    pub fn secret_names(&self) -> SecretOf {
        let secrets = self.secrets.clone();
        Box::new(move |cluster| secrets.lock().get(cluster).cloned())
    }

    /// Watches until `stop`, then ends every watch and returns.
    ///
    /// Reports the fleet as listed once its sources were: clusters of other backends must be registered before.
    ///
    /// # Errors
    /// When no client can be made for the hub. Clusters never end it; they are noted and tried again.
    pub async fn run(
        self,
        sources: Sources,
        on_removed: Option<OnRemoved>,
        stop: CancellationToken,
    ) -> Result<(), ConnectError> {
        let Sources { hub, secrets, clusters, before_listing } = sources;
        let registry = self.watcher.registry.clone();
        let inbox = Arc::new(SecretInbox::default());
        let mut secret_watches = JoinSet::new();
        let dependencies_everywhere = hub.is_none();
        let hub = match hub {
            None => None,
            Some(config) => {
                let client = kubeconfig::connect(config.clone())?;
                let hub = self.start_hub(config)?;
                if secrets {
                    self.watch_secrets(&client, &inbox, &mut secret_watches);
                }
                Some(hub)
            }
        };
        let mut members = Members::new(self.watcher.clone(), on_removed, &clusters);
        // A Dependency that shows up after planning began would have been planned without.
        let mut all_answered = members.add_all_static(clusters, dependencies_everywhere);
        stop.run_until_cancelled(all_answered.recv()).await;
        if let Some(before_listing) = before_listing {
            stop.run_until_cancelled(before_listing).await;
        }
        if secret_watches.is_empty() {
            registry.fleet_listed();
        }
        self.follow_secrets(&inbox, &mut members, &stop).await;

        secret_watches.shutdown().await;
        if let Some(hub) = hub {
            hub.stop().await;
        }
        members.stop().await;
        Ok(())
    }

    fn start_hub(&self, config: Config) -> Result<KubeCluster, ConnectError> {
        self.watcher.registry.register_hub(&ClusterName::hub());
        let kinds = self.watcher.observer.settings().kinds_of_hub();
        KubeCluster::start(self.watcher.clone(), ClusterName::hub(), kinds, config, None)
    }

    /// Keeps the members as the Secrets say, until `stop`.
    async fn follow_secrets(&self, inbox: &SecretInbox, members: &mut Members, stop: &CancellationToken) {
        let namespace = members.watcher.observer.settings().secret_namespace.clone();
        let mut noted = BTreeSet::new();
        loop {
            let changed = async {
                if members.departures.is_idle() {
                    inbox.changed.notified().await;
                } else {
                    let _ = timeout(LOOK_AT_DEPARTURES_EVERY, inbox.changed.notified()).await;
                }
            };
            if stop.run_until_cancelled(changed).await.is_none() {
                return;
            }
            let diff = {
                let book = inbox.book.lock();
                if !book.is_listed() {
                    continue;
                }
                let registered = self.secrets.lock().clone();
                book.diff(&members.fingerprints(), &members.taken, &registered, &namespace)
            };
            {
                let mut secrets = self.secrets.lock();
                secrets.retain(|name, _| diff.missing.contains(name));
                secrets.extend(diff.secrets.clone());
            }
            members.part_with(&diff, &namespace, &self.secret_names()).await;
            members.apply(diff, &mut noted, &self.releases, &namespace).await;
            self.watcher.registry.fleet_listed();
        }
    }

    fn watch_secrets(&self, client: &Client, inbox: &Arc<SecretInbox>, tasks: &mut JoinSet<()>) {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Secret"), "secrets");
        let neighbours = Arc::new(Notify::new());
        let budget = ClusterBudget::new(self.watcher.observer.settings());
        for (label, selector) in LABELS.iter().enumerate() {
            let namespace = &self.watcher.observer.settings().secret_namespace;
            let api = Api::namespaced_with(client.clone(), namespace, &resource);
            let registry = self.watcher.registry.clone();
            let sink = SecretSink { registry, inbox: inbox.clone(), label, listed: BTreeMap::new() };
            let informer =
                Informer::new(api, shown(&resource), Some(selector), sink, neighbours.clone(), budget.clone());
            tasks.spawn(informer.run());
        }
    }
}

/// What the Secret watches hand over. Changes merge: however many there were, one comparison follows.
#[derive(Default)]
struct SecretInbox {
    book: Mutex<SecretBook>,
    changed: Notify,
}

/// Feeds the Secrets of one label.
struct SecretSink {
    registry: Arc<Registry>,
    inbox: Arc<SecretInbox>,
    label: usize,
    listed: BTreeMap<String, Result<ClusterSecret, NotASecret>>,
}

impl SecretSink {
    fn unreadable(&self, trouble: &WatchError) {
        let target = ReadTarget::ClusterSecrets(LABELS[self.label]);
        self.registry.read_failed(&ClusterName::hub(), target, &trouble.failure, now_seconds());
    }

    fn read(&self, item: &PrunedObject) -> Result<ClusterSecret, NotASecret> {
        ClusterSecret::read(&item.value, &self.registry.settings().allow_in_kubeconfigs)
    }

    fn readable(&self) {
        self.registry.read_succeeded(&ClusterName::hub(), ReadTarget::ClusterSecrets(LABELS[self.label]));
    }

    fn change(&self, change: impl FnOnce(&mut SecretBook)) {
        change(&mut self.inbox.book.lock());
        self.inbox.changed.notify_one();
    }
}

/// Only the name of an identified Secret is used; [`Kind`] has no Secrets.
fn name_of(item: &PrunedObject) -> String {
    identify(Kind::Namespace, &item.value).name.to_string()
}

impl Sink for SecretSink {
    fn event(&mut self, event: Event<PrunedObject>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(item) => {
                self.listed.insert(name_of(&item), self.read(&item));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.readable();
                self.change(|book| book.reset(self.label, listed));
            }
            Event::Apply(item) => {
                self.change(|book| book.put(self.label, name_of(&item), self.read(&item)));
            }
            Event::Delete(item) => self.change(|book| book.remove(self.label, &name_of(&item))),
        }
    }

    fn delayed(&mut self, trouble: &WatchError) {
        self.unreadable(trouble);
    }

    fn failed(&mut self, trouble: &WatchError) {
        self.unreadable(trouble);
    }

    fn resumed(&mut self) {
        self.readable();
    }
}

/// The note about a cluster whose registration is gone. It has no countdown, so that it stays the same while it waits.
fn departure_note(name: &ClusterName, waiting: &Waiting, grace: Duration, secret: &ObjectPath) -> Note {
    let message = match waiting {
        Waiting::Grace(_) => format!(
            "{secret} no longer registers it; it leaves the fleet after {} s, and stays as it is until then",
            grace.as_secs()
        ),
        Waiting::MassRemoval(count) => format!(
            "{secret} no longer registers it; {count} clusters lost their registration together, which may be an accident, so they stay until it is confirmed that they leave"
        ),
    };
    Note { kind: NoteKind::ClusterLeaving, object: ObjectPath::of_cluster(name), service: None, message }
}

/// The clusters of the fleet.
struct Members {
    watcher: Watcher,
    /// None while a cluster belongs to the fleet and cannot be connected.
    running: BTreeMap<ClusterName, Option<(KubeCluster, Option<Fingerprint>)>>,
    leaving: BTreeMap<ClusterName, JoinHandle<()>>,
    departures: Departures,
    /// Clusters with a note about their departure.
    departing: BTreeSet<ClusterName>,
    /// Clusters from the fleet file, which no Secret can take.
    taken: BTreeSet<ClusterName>,
    on_removed: Option<OnRemoved>,
}

impl Members {
    /// The members that come from Secrets, each with the kubeconfig it is connected by.
    fn fingerprints(&self) -> BTreeMap<ClusterName, Option<Fingerprint>> {
        let running = self.running.iter().filter(|(name, _)| !self.taken.contains(*name));
        running.map(|(name, cluster)| (name.clone(), cluster.as_ref().and_then(|(_, print)| *print))).collect()
    }

    fn new(
        watcher: Watcher,
        on_removed: Option<OnRemoved>,
        from_file: &[(ClusterName, Result<Config, ConnectError>)],
    ) -> Self {
        let taken = from_file.iter().map(|(name, _)| name.clone()).collect();
        let grace = Duration::from_secs(watcher.observer.settings().removed_cluster_grace_seconds.into());
        Self {
            watcher,
            running: BTreeMap::new(),
            leaving: BTreeMap::new(),
            departures: Departures::new(grace),
            departing: BTreeSet::new(),
            taken,
            on_removed,
        }
    }

    /// Adds the clusters of the fleet file. The channel ends once each of them answered, where that is waited for.
    fn add_all_static(
        &mut self,
        clusters: Vec<(ClusterName, Result<Config, ConnectError>)>,
        is_waited_for: bool,
    ) -> mpsc::Receiver<()> {
        let (first_answer, all_answered) = mpsc::channel(1);
        for (name, config) in clusters {
            self.add_static(name, config, is_waited_for.then(|| first_answer.clone()));
        }
        all_answered
    }

    fn add_static(
        &mut self,
        name: ClusterName,
        config: Result<Config, ConnectError>,
        first_answer: Option<FirstAnswer>,
    ) {
        let registry = self.watcher.registry.clone();
        registry.register(&name);
        let of_hub = first_answer.as_ref().map_or_else(Vec::new, |_| registry.settings().kinds_of_hub_in_members());
        let kinds = registry.settings().watched_kinds_in(&name).into_iter().chain(of_hub).collect();
        let started = config
            .and_then(|config| KubeCluster::start(self.watcher.clone(), name.clone(), kinds, config, first_answer));
        match started {
            Ok(cluster) => {
                self.running.insert(name, Some((cluster, None)));
            }
            Err(error) => {
                let object = ObjectPath::of_cluster(&name);
                let note = Note { kind: NoteKind::ClusterRefused, object, service: None, message: error.to_string() };
                registry.notes().put(NoteSource::Fleet(format!("cluster {name}")), vec![note]);
                self.hold(name, &error.to_string());
            }
        }
    }

    /// Lets clusters leave whose registration is gone, each when its time has come, and notes the others.
    async fn part_with(&mut self, diff: &MembershipDiff, namespace: &str, secret_of: &SecretOf) {
        let registry = self.watcher.registry.clone();
        let confirmed = &diff.leaving | &registry.queries().leaving_clusters();
        let Departing { now, later } = self.departures.judge(&diff.missing, &confirmed, Instant::now());
        for name in &now {
            self.leave(name).await;
        }
        let source = |name: &ClusterName| NoteSource::Fleet(format!("departure of {name}"));
        for name in self.departing.iter().filter(|name| !later.contains_key(*name)) {
            registry.notes().put(source(name), Vec::new());
        }
        self.departing = later.keys().cloned().collect();
        for (name, waiting) in &later {
            let secret = secret_of(name).unwrap_or_default();
            let note = departure_note(name, waiting, self.departures.grace(), &secret_ref(namespace, &secret));
            registry.notes().put(source(name), vec![note]);
        }
    }

    /// Brings the members to what the Secrets say.
    async fn apply(
        &mut self,
        mut diff: MembershipDiff,
        noted: &mut BTreeSet<String>,
        releases: &watch::Sender<BTreeMap<ClusterName, String>>,
        namespace: &str,
    ) {
        for (name, istio_namespace) in std::mem::take(&mut diff.istio_namespaces) {
            let changed = self.watcher.registry.set_istio_namespace(&name, istio_namespace.as_deref());
            if let Some(Some((cluster, _))) = self.running.get_mut(&name).filter(|_| changed) {
                cluster.read_anew().await;
                tracing::info!(cluster = %name, istio_namespace, "Istio namespace changed");
            }
        }
        for (name, step) in std::mem::take(&mut diff.steps) {
            match step {
                Step::Connect(config, fingerprint) => {
                    if let Err(error) = self.connect(&name, *config, fingerprint).await {
                        let message = format!("cluster {name} cannot be connected: {error}");
                        let object = secret_ref(namespace, "");
                        let note = Note { kind: NoteKind::ClusterRefused, object, service: None, message };
                        diff.notes.entry(String::new()).or_default().push(note);
                    }
                }
                Step::Hold(reason) => self.hold(name, &reason),
            }
        }
        let registry = &self.watcher.registry;
        let source = |secret: &str| NoteSource::Fleet(format!("secret {secret}"));
        for gone in noted.iter().filter(|secret| !diff.notes.contains_key(*secret)) {
            registry.notes().put(source(gone), Vec::new());
        }
        *noted = diff.notes.keys().cloned().collect();
        for (secret, notes) in diff.notes {
            registry.notes().put(source(&secret), notes);
        }
        releases.send_if_modified(|present| {
            let is_new = *present != diff.releases;
            *present = diff.releases;
            is_new
        });
    }

    /// Connects a cluster, or swaps its connection: the registry keeps what it knows of it.
    async fn connect(
        &mut self,
        name: &ClusterName,
        config: Config,
        fingerprint: Fingerprint,
    ) -> Result<(), ConnectError> {
        if let Some(cleaning) = self.leaving.remove(name) {
            // It is back: whatever of its removal is still to be done must not be.
            cleaning.abort();
            let _ = cleaning.await;
        }
        if let Some(Some((cluster, present))) = self.running.get_mut(name) {
            cluster.swap(config).await?;
            *present = Some(fingerprint);
            tracing::info!(cluster = %name, "connection swapped");
            return Ok(());
        }
        let registry = &self.watcher.registry;
        registry.register(name);
        let started = KubeCluster::start(
            self.watcher.clone(),
            name.clone(),
            registry.settings().watched_kinds_in(name),
            config,
            None,
        );
        match started {
            Ok(cluster) => {
                self.running.insert(name.clone(), Some((cluster, Some(fingerprint))));
                tracing::info!(cluster = %name, "cluster joins");
                Ok(())
            }
            Err(error) => {
                self.hold(name.clone(), &error.to_string());
                Err(error)
            }
        }
    }

    /// Counts a cluster as a member that cannot be read, so that nothing that others hold of it is removed.
    fn hold(&mut self, name: ClusterName, reason: &str) {
        let registry = &self.watcher.registry;
        registry.register(&name);
        let failure = ReadFailure::new(ReadCause::Kubeconfig, reason);
        for kind in registry.settings().watched_kinds_in(&name) {
            registry.unreadable(&name, kind, &failure, now_seconds());
        }
        self.running.entry(name).or_insert(None);
    }

    async fn leave(&mut self, name: &ClusterName) {
        if let Some((cluster, _)) = self.running.remove(name).flatten() {
            cluster.stop().await;
        }
        self.watcher.registry.deregister(name);
        tracing::info!(cluster = %name, "cluster leaves");
        let clients = self.watcher.clients.clone();
        let Some(on_removed) = self.on_removed.clone() else { return clients.remove(name) };
        let left = name.clone();
        let removal = async move {
            if timeout(Duration::from_secs(REMOVAL_SECONDS), on_removed(left.clone())).await.is_err() {
                tracing::warn!(cluster = %left, "what was written there could not be removed in {REMOVAL_SECONDS} s and stays");
            }
            clients.remove(&left);
        };
        self.leaving.retain(|_, removal| !removal.is_finished());
        self.leaving.insert(name.clone(), tokio::spawn(removal));
    }

    async fn stop(self) {
        for cluster in self.running.into_values().flatten() {
            cluster.0.stop().await;
        }
        for removal in self.leaving.into_values() {
            removal.abort();
            let _ = removal.await;
        }
    }
}
