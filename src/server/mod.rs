//! What Tradewind shows over HTTP: health, metrics, views of its own, and Admiral's REST routes.
//!
//! Everything is answered from the registry and from plans made on demand. Nothing here decides, and nothing
//! writes, but for one route that passes an operator's release of withheld removals on to the writers, where a setting
//! allows it and the hub knows the operator. What is only read asks for no token: no route shows a credential, and none
//! reaches into a cluster.
//!
//! Whoever reaches a listener is taken for hostile: connections, requests, the bytes of answers and their time are bounded,
//! and health has a listener of its own, which nothing that happens on the others keeps from answering.

mod array;
mod connections;
mod health;
mod hosts;
mod limits;
mod listener;
mod memory;
mod metrics;
mod pages;
mod reference;
mod release;
mod views;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

pub use health::Readiness;
pub use metrics::{METRICS, MetricInfo, MetricType, Metrics, reference_page};
pub use release::{ReviewRefusal, ReviewToken};

use crate::{
    apply::{NothingWithheld, SecretNames, Withheld},
    config::ListenAddresses,
    model::{ClusterName, ServiceKey},
    plan::ServicePlan,
    registry::Registry,
};
use connections::{ConnectionLimits, OpenConnections};
use limits::MAX_PLANNING_REQUESTS;
use memory::ResponseMemory;
use metrics::ServerMetrics;

/// Memory of metrics on their way to those who scrape them: those of the largest fleet several times.
const METRICS_BYTES: usize = 32 << 20;

/// Time for open requests to end after the stop was asked for; Kubernetes allows 30 s for everything together.
const DRAIN: Duration = Duration::from_secs(10);

/// Plans one service, as it would be planned now; `None` while nothing may be planned.
pub type PlanService = Box<dyn Fn(&ServiceKey) -> Option<ServicePlan> + Send + Sync>;

/// Lets a withheld removal pass: a cluster, the id that its note names, and who consents, for the log.
pub type ReleaseRemovals = Box<dyn Fn(&ClusterName, &str, &str) -> Result<(), NothingWithheld> + Send + Sync>;

/// Lists what is withheld, by cluster.
pub type ListWithheld = Box<dyn Fn() -> Vec<Withheld> + Send + Sync>;

/// The parts of the views.
pub struct ViewsConfig {
    /// What is known of the fleet.
    pub registry: Arc<Registry>,
    /// Whether everything was planned once.
    pub readiness: Readiness,
    /// Metrics, which must not show another registry.
    pub metrics: Metrics,
    /// Plans a service.
    pub plan: PlanService,
    /// Lists withheld removals.
    pub withheld: ListWithheld,
    /// Name of the Secret that registers a cluster.
    pub secret_of: SecretNames,
    /// Reviews the token of a release.
    pub review: ReviewToken,
    /// Releases withheld removals.
    pub release: ReleaseRemovals,
}

impl std::fmt::Debug for ViewsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewsConfig").finish_non_exhaustive()
    }
}

/// What the server is given to show.
pub struct Views {
    registry: Arc<Registry>,
    readiness: Readiness,
    metrics: Metrics,
    plan: PlanService,
    withheld: ListWithheld,
    secret_of: SecretNames,
    review: ReviewToken,
    release: ReleaseRemovals,
    /// Plans made for requests leave the processor to the controller.
    planning: Arc<Semaphore>,
    /// Reviews of tokens under way.
    reviews: Semaphore,
    /// Memory of answers on their way.
    memory: ResponseMemory,
}

impl Views {
    /// Registers the metrics of the registry.
    ///
    /// # Errors
    /// When the metrics of a registry are registered already.
    pub fn new(config: ViewsConfig) -> Result<Self, prometheus::Error> {
        let ViewsConfig { registry, readiness, metrics, plan, withheld, secret_of, review, release } = config;
        metrics.show(&registry)?;
        let planning = Arc::new(Semaphore::new(MAX_PLANNING_REQUESTS));
        let reviews = Semaphore::new(release::MAX_REVIEWS);
        let bytes = registry.settings().response_memory_mib << 20;
        let memory = ResponseMemory::new(bytes, metrics.server.clone());
        Ok(Self { registry, readiness, metrics, plan, withheld, secret_of, review, release, planning, reviews, memory })
    }

    /// Runs work over many services off the runtime, a few at a time.
    async fn off_the_runtime<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let permit = self.planning.clone().acquire_owned().await.expect("the semaphore is never closed");
        let views = self.clone();
        let work = move || {
            // Held to the end of the work, even where its request has gone.
            let _permit = permit;
            work(&views)
        };
        tokio::task::spawn_blocking(work).await.expect("planning is total, and is not aborted")
    }
}

/// Routes of the main address.
pub fn router(views: Arc<Views>) -> Router {
    let routes = reference::routes().merge(views::routes()).merge(release::routes()).fallback(views::not_found);
    let limited = hosts::known_only(limits::requests(routes, &views.metrics.server), &views);
    limits::headers(health::routes().merge(views.memory.bounds(limited))).with_state(views)
}

/// Routes of the metrics address.
pub fn metrics_router(views: Arc<Views>) -> Router {
    let routes = limits::requests(metrics::routes().fallback(views::not_found), &views.metrics.server);
    limits::headers(ResponseMemory::new(METRICS_BYTES, views.metrics.server.clone()).bounds(routes)).with_state(views)
}

/// Routes of the health address.
pub fn health_router(views: Arc<Views>) -> Router {
    limits::headers(health::routes().fallback(views::not_found)).with_state(views)
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}: {source}; free the address or set {setting} to another one")]
pub struct ServerError {
    /// The address.
    pub address: SocketAddr,
    /// What it is for.
    pub purpose: &'static str,
    /// The setting that names it.
    pub setting: &'static str,
    /// Why.
    pub source: io::Error,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    addresses: ListenAddresses,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

/// Listens on all addresses and serves until `cancel`.
///
/// # Errors
/// When an address cannot be bound; then none is served.
pub async fn start(
    addresses: ListenAddresses,
    views: Arc<Views>,
    cancel: CancellationToken,
) -> Result<Server, ServerError> {
    let (main, main_address) = bind(addresses.main, "the API", "--listen-address")?;
    let (metrics, metrics_address) = bind(addresses.metrics, "the metrics", "--metrics-address")?;
    let health = addresses.health.map(|address| bind(address, "health", "--health-address")).transpose()?;
    let addresses = ListenAddresses {
        main: main_address,
        metrics: metrics_address,
        health: health.as_ref().map(|(_, address)| *address),
    };
    let mut server = Server { addresses, cancel, tasks: JoinSet::new() };
    let counts = &views.metrics.server;
    server.serve(main, router(views.clone()), limits::connections(views.memory.share()), counts);
    server.serve(metrics, metrics_router(views.clone()), limits::connections(METRICS_BYTES / 2), counts);
    if let Some((health, _)) = health {
        server.serve(health, health_router(views.clone()), limits::connections(0), counts);
    }
    let health = addresses.health.map(|address| address.to_string());
    tracing::info!(main = %addresses.main, metrics = %addresses.metrics, health, "serving");
    Ok(server)
}

fn bind(
    address: SocketAddr,
    purpose: &'static str,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let bound = listener::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| ServerError { address, purpose, setting, source })
}

impl Server {
    fn serve(&mut self, listener: TcpListener, router: Router, limits: ConnectionLimits, metrics: &ServerMetrics) {
        let connections = OpenConnections::new(limits);
        self.tasks.spawn(listener::serve(listener, router, connections, metrics.clone(), self.cancel.clone()));
    }

    /// Address of the main routes, with the port that a port of 0 became.
    #[must_use]
    pub fn main_address(&self) -> SocketAddr {
        self.addresses.main
    }

    /// Address of the metrics.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.addresses.metrics
    }

    /// Address of health alone, if there is one.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.addresses.health
    }

    /// Waits for the stop, and then for open requests, though not for ever.
    pub async fn stopped(mut self) {
        self.cancel.cancelled().await;
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("requests were still open {} s after the stop; they are cut off", DRAIN.as_secs());
        }
    }
}
