//! `tradewind run`: the controller. Puts the rooms together and takes them apart again.

use std::{collections::BTreeMap, io::IsTerminal as _, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{ArgMatches, Command};
use futures::FutureExt as _;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::fleet::now_seconds;
use crate::{
    apply::{
        ApplyMetrics, DirectoryStore, KubeStore, ReadBackError, ReadWritten, ReleaseIds, Store, Writers, WritersConfig,
    },
    clock,
    config::{self, LogFormat, RemovedCluster, Settings},
    controller::Controller,
    fleet::{
        Fleet, KubeClients, Observer, OnRemoved, Sources, admiral_addresses,
        directory::DirectoryCluster,
        file::{FleetFile, ObjectSource},
        joining, kubeconfig, outages,
        token_review::{self, TokenRefusal},
    },
    model::{ClusterName, Observed, ServiceKey, WorkKey},
    planner::preview_unit,
    registry::Registry,
    server::{self, Metrics, Readiness, ReviewRefusal, ReviewToken, Views, ViewsConfig},
};

pub(super) fn command() -> Command {
    Command::new("run")
        .about("Run the controller")
        .long_about(
            "Watches the clusters that Secrets on the hub register (or those of a fleet file), plans every service, and \
             writes what changed into each cluster; of a fleet file's directories, into files in the sync namespace's \
             sub-directory. Stops on SIGTERM or SIGINT after the writes under way.",
        )
        .args(config::args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(super::settings(flags)?);
    init_logs(&settings);
    block_on(runtime()?, run(settings))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One provider for the whole process, named here and nowhere else; a second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// Runs until it is done. Whatever blocks a thread then, such as a file of a file system that hangs, is left behind.
fn block_on<T>(runtime: tokio::runtime::Runtime, work: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

fn init_logs(settings: &Settings) {
    let level = tracing::Level::from(settings.log_level);
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("warn,tradewind={level}"));
    // kube-client logs the bodies of answers that it cannot read, and a body may be a Secret. What the verifier of certificates
    // logs at each attempt is the cause of an outage, which is logged once.
    let filter = tracing_subscriber::EnvFilter::new(format!("{wanted},kube_client=off,rustls_platform_verifier=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A closed standard error would end the process with a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// What an offline command needs of live clusters: their first complete picture.
pub(super) struct Watching {
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Watching {
    /// Whether it has ended by itself, which it does only by an error.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) async fn stopped(self) -> anyhow::Result<()> {
        self.task.await.context("watching the fleet")?
    }
}

/// Watches the live clusters of a fleet file; nothing is written.
pub(super) fn watch_fleet(
    fleet: &FleetFile,
    registry: &Arc<Registry>,
    observer: &Observer,
    cancel: &CancellationToken,
) -> Watching {
    let (fleet, live, cancel) = (fleet.clone(), Fleet::new(registry.clone(), observer.clone()), cancel.clone());
    let task = tokio::spawn(async move {
        let sources = live_sources(&fleet).await?;
        live.run(sources, None, cancel).await.context("connecting to the hub")
    });
    Watching { task }
}

/// The live clusters of a fleet file. One whose kubeconfig cannot be used is a member that cannot be read; without the hub
/// nothing can be planned.
async fn live_sources(fleet: &FleetFile) -> anyhow::Result<Sources> {
    let mut sources = Sources::default();
    for cluster in &fleet.clusters {
        if let ObjectSource::Kube { kubeconfig, context } = &cluster.place {
            let config = kubeconfig::from_file(kubeconfig, context.as_deref()).await;
            sources.clusters.push((cluster.name.clone(), config));
        }
    }
    if let Some(ObjectSource::Kube { kubeconfig, context }) = &fleet.hub {
        sources.hub = Some(kubeconfig::from_file(kubeconfig, context.as_deref()).await.context("the hub")?);
    }
    Ok(sources)
}

/// The directory clusters of a fleet, pushed once and followed from then on, and those that are added to it.
fn follow_directories(
    fleet: &FleetFile,
    registry: &Arc<Registry>,
    observer: &Observer,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let mut follow = |cluster: DirectoryCluster| {
        let loaded = cluster.load();
        cluster.push(&loaded, registry, now_seconds());
        let (registry, cancel) = (registry.clone(), cancel.clone());
        tasks.spawn(cluster.watch(loaded, registry, cancel));
    };
    for cluster in &fleet.clusters {
        if let ObjectSource::Directory(path) = &cluster.place {
            let observer = observer.for_istio_namespace(registry.queries().istio_namespace(&cluster.name));
            follow(DirectoryCluster::new(cluster.name.clone(), path.clone(), observer).in_fleet(fleet));
        }
    }
    if let Some(ObjectSource::Directory(path)) = &fleet.hub {
        follow(DirectoryCluster::hub(path.clone(), observer.clone()).in_fleet(fleet));
    }
    if let Some(root) = &fleet.root {
        let known = fleet.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        let (registry, observer, cancel) = (registry.clone(), observer.clone(), cancel.clone());
        tasks.spawn(joining::follow_new(root.clone(), known, registry, observer, cancel));
    }
}

/// Makes where each cluster is written to: its directory, or its API server.
fn stores(
    fleet: Option<FleetFile>,
    clients: KubeClients,
    registry: Arc<Registry>,
    observer: Observer,
) -> crate::apply::Stores {
    Box::new(move |cluster| {
        let directory = fleet.as_ref().and_then(|fleet| fleet.output_of(cluster));
        let istio_namespace = {
            let (registry, cluster) = (registry.clone(), cluster.clone());
            move || registry.queries().istio_namespace(&cluster)
        };
        let read = reader(observer.clone(), istio_namespace.clone());
        match directory {
            Some((path, below)) => {
                Arc::new(DirectoryStore::inside(&path, &below.join(&observer.settings().sync_namespace), read))
                    as Arc<dyn Store>
            }
            None => {
                let (clients, name) = (clients.clone(), cluster.clone());
                let connect = Box::new(move || clients.get(&name));
                let store = KubeStore::new(connect, read, observer.settings());
                Arc::new(store.with_istio_namespace(Box::new(istio_namespace)))
            }
        }
    })
}

fn reader(observer: Observer, istio_namespace: impl Fn() -> Arc<str> + Send + Sync + 'static) -> ReadWritten {
    let read = move |kind, value: &_| observer.for_istio_namespace(istio_namespace()).observe_value(kind, value);
    Arc::new(move |kind, value| match read(kind, value)? {
        Observed::Written(written) => Ok(*written),
        _ => Err(ReadBackError::Kind(kind)),
    })
}

/// A whole controller at work.
pub(super) struct RunningController {
    pub(super) registry: Arc<Registry>,
    pub(super) writers: Arc<Writers>,
    pub(super) readiness: Readiness,
    pub(super) server: server::Server,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    fleet: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Starts all rooms.
pub(super) async fn start(settings: Arc<Settings>, fleet_file: Option<FleetFile>) -> anyhow::Result<RunningController> {
    let cancel = CancellationToken::new();
    let registry = Arc::new(Registry::new(settings.clone()));
    let observer = Observer::new(settings.clone(), false);
    if let Some(file) = &fleet_file {
        file.set_istio_namespaces(&registry);
    }
    let fleet = Fleet::new(registry.clone(), observer.clone());
    let (clients, releases) = (fleet.clients(), fleet.releases());

    let metrics = Metrics::new()?;
    let writers = Arc::new(Writers::new(WritersConfig {
        view: registry.clone(),
        stores: stores(fleet_file.clone(), clients, registry.clone(), observer.clone()),
        settings: settings.clone(),
        metrics: ApplyMetrics::register(metrics.prometheus())?,
        secret_of: fleet.secret_names(),
        consent_of: consent_of(releases.clone(), fleet_file.clone()),
    }));

    let readiness = Readiness::default();
    let mut tasks = JoinSet::new();
    let controller = Controller::new(registry.clone(), writers.clone(), metrics.clone(), readiness.clone());
    tasks.spawn(controller.run(cancel.child_token()));
    tasks.spawn(outages::follow(registry.clone(), cancel.child_token()));
    tasks.spawn(follow_consent(writers.clone(), releases, cancel.child_token()));

    let views = Arc::new(views(&fleet, &registry, &writers, &readiness, metrics)?);
    let server = server::start(settings.addresses(is_in_pod()), views, cancel.child_token()).await?;

    let sources = sources(&settings, fleet_file.as_ref(), &registry, &observer, &cancel, &mut tasks).await?;
    let on_removed = on_removed(&writers, settings.removed_cluster == RemovedCluster::Clean);
    let fleet = tokio::spawn({
        let cancel = cancel.child_token();
        async move { fleet.run(sources, Some(on_removed), cancel).await.context("connecting to the hub") }
    });
    Ok(RunningController { registry, writers, readiness, server, cancel, tasks, fleet })
}

/// Whether this process runs in a pod: every container of one has this variable.
fn is_in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The id of withheld removals that operators consent to: by the annotation of a cluster's Secret, or in the fleet file.
fn consent_of(releases: watch::Receiver<BTreeMap<ClusterName, String>>, file: Option<FleetFile>) -> ReleaseIds {
    Box::new(move |cluster| {
        let annotated = releases.borrow().get(cluster).cloned();
        annotated.or_else(|| file.as_ref()?.released_in(cluster))
    })
}

/// Lets the writers compare what is withheld with the consent of operators each time it changes, until it is cancelled.
async fn follow_consent(
    writers: Arc<Writers>,
    mut releases: watch::Receiver<BTreeMap<ClusterName, String>>,
    cancel: CancellationToken,
) {
    loop {
        releases.borrow_and_update();
        writers.consent_changed();
        tokio::select! {
            () = cancel.cancelled() => return,
            // Once the fleet has ended there is nothing to wait for but the stop: it says itself why it ended.
            Ok(()) = releases.changed() => {}
        }
    }
}

/// What is shown over HTTP.
fn views(
    fleet: &Fleet,
    registry: &Arc<Registry>,
    writers: &Arc<Writers>,
    readiness: &Readiness,
    metrics: Metrics,
) -> anyhow::Result<Views> {
    let (releasing, listing, planning) = (writers.clone(), writers.clone(), registry.clone());
    let release = move |cluster: &ClusterName, id: &str, user: &str| {
        releasing.release(cluster, id, &format!("{user}, by a token of the hub")).map(drop)
    };
    let plan = move |key: &ServiceKey| preview_unit(&planning, &WorkKey::Service(key.clone()), clock::now())?.service;
    Ok(Views::new(ViewsConfig {
        registry: registry.clone(),
        readiness: readiness.clone(),
        metrics,
        plan: Box::new(plan),
        withheld: Box::new(move || listing.withheld()),
        secret_of: fleet.secret_names(),
        review: review_tokens(fleet, &registry.settings().secret_namespace),
        release: Box::new(release),
    })?)
}

/// Asks the hub who bears a token, and whether they may patch a cluster's Secret.
fn review_tokens(fleet: &Fleet, namespace: &str) -> ReviewToken {
    let (clients, secret_of, namespace) = (fleet.clients(), fleet.secret_names(), namespace.to_owned());
    Box::new(move |cluster, token| {
        let (client, secret) = (clients.get(&ClusterName::hub()), secret_of(cluster));
        let (cluster, namespace) = (cluster.clone(), namespace.clone());
        async move {
            let Some(secret) = secret else {
                return Err(ReviewRefusal::Forbidden(format!(
                    "no Secret on the hub registers {cluster}, so nobody's rights can be reviewed"
                )));
            };
            let Some(client) = client else {
                return Err(ReviewRefusal::Unavailable("the hub is not connected".to_owned()));
            };
            let reviewed = token_review::user_who_may_patch(&client, token, &namespace, &secret).await;
            reviewed.map_err(|refusal| match refusal {
                TokenRefusal::Unknown => ReviewRefusal::Unknown(refusal.to_string()),
                TokenRefusal::Forbidden { .. } => ReviewRefusal::Forbidden(refusal.to_string()),
                TokenRefusal::Unavailable { .. } => ReviewRefusal::Unavailable(refusal.to_string()),
            })
        }
        .boxed()
    })
}

/// Where clusters are read from: directories, which are followed from now on, and API servers.
async fn sources(
    settings: &Settings,
    fleet_file: Option<&FleetFile>,
    registry: &Arc<Registry>,
    observer: &Observer,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Sources> {
    let mut sources = match fleet_file {
        Some(file) => {
            follow_directories(file, registry, observer, cancel, tasks);
            live_sources(file).await?
        }
        None => {
            let hub = kubeconfig::hub(settings.kubeconfig.as_deref(), settings.kubeconfig_context.as_deref()).await?;
            Sources { hub: Some(hub), secrets: true, ..Sources::default() }
        }
    };
    if let Some(hub) = &sources.hub {
        let client = kubeconfig::connect(hub.clone()).context("connecting to the hub")?;
        sources.before_listing = Some(admiral_addresses::honour(client, registry.clone()).boxed());
    }
    Ok(sources)
}

/// What happens when a cluster leaves the fleet.
fn on_removed(writers: &Arc<Writers>, clean: bool) -> OnRemoved {
    let writers = writers.clone();
    Arc::new(move |cluster| {
        let writers = writers.clone();
        async move {
            if let Some(removal) = writers.remove_cluster(&cluster, clean) {
                // A panic was logged where it happened.
                let _ = removal.await;
            }
        }
        .boxed()
    })
}

impl RunningController {
    /// Stops in order: no more plans, then the writes under way, then the rest.
    pub(super) async fn stop(self, graceful: Duration) -> anyhow::Result<()> {
        self.cancel.cancel();
        if !self.writers.drain(graceful).await {
            tracing::warn!(
                "some writes had not ended when the time to stop was over; the next start finds and mends them"
            );
        }
        self.server.stopped().await;
        self.tasks.join_all().await;
        let outcome = self.fleet.await.context("watching the fleet");
        outcome?
    }
}

async fn run(settings: Arc<Settings>) -> anyhow::Result<()> {
    let fleet_file = settings.fleet.as_deref().map(|path| load_fleet(path, &settings)).transpose()?;
    let mut running = start(settings.clone(), fleet_file).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listening = %running.server.main_address(),
        metrics = %running.server.metrics_address(),
        read_only = settings.read_only,
        dry_run = settings.dry_run,
        "started"
    );
    let ended = tokio::select! {
        () = asked_to_stop() => None,
        ended = &mut running.fleet => Some(ended),
        Some(ended) = running.tasks.join_next() => {
            // Every task of ours runs until it is cancelled: starting anew is better than going on without it.
            ended.context("a part of the controller ended by a bug")?;
            anyhow::bail!("a part of the controller ended unasked");
        }
    };
    match ended {
        Some(outcome) => outcome.context("watching the fleet")?.context("the fleet ended unasked"),
        None => {
            tracing::info!("stopping");
            running.stop(Duration::from_secs(settings.graceful_stop_seconds.into())).await
        }
    }
}

pub(super) fn load_fleet(path: &Path, settings: &Settings) -> anyhow::Result<FleetFile> {
    Ok(crate::fleet::file::load(path, settings.fleet_root.as_deref())?)
}

/// Resolves on SIGTERM or SIGINT.
pub(super) async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a file system that hangs occupies a thread that nothing can end.
    #[test]
    fn a_thread_that_hangs_does_not_keep_the_process_from_ending() {
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let outcome = block_on(runtime().unwrap(), async move {
            let (started, wait) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                started.send(()).unwrap();
                // Without end, were it not for this test's.
                let _ = hang.recv();
            });
            wait.await.unwrap();
            "ended"
        });
        assert_eq!(outcome, "ended");
        drop(release);
    }
}
