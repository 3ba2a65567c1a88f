//! What Tradewind shows over HTTP: health, metrics, views of its own, and Admiral's REST routes.
//!
//! Everything is answered from the registry and from plans made on demand. Nothing here decides, and nothing
//! writes, but for one route that passes an operator's release of withheld removals on to the writers, where a setting
//! allows it and the hub knows the operator. What is only read asks for no token: no route shows a credential, and none
//! reaches into a cluster.

mod health;
mod limits;
mod listener;
mod metrics;
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
    model::{ClusterName, ServiceKey},
    plan::ServicePlan,
    registry::Registry,
};
use limits::MAX_PLANNING_REQUESTS;
use listener::LimitedListener;

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
        Ok(Self { registry, readiness, metrics, plan, withheld, secret_of, review, release, planning, reviews })
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
    let limited = limits::requests(reference::routes().merge(views::routes()).merge(release::routes()));
    limits::headers(health::routes().merge(limited).fallback(views::not_found)).with_state(views)
}

/// Routes of the metrics address.
pub fn metrics_router(views: Arc<Views>) -> Router {
    limits::headers(limits::requests(metrics::routes()).fallback(views::not_found)).with_state(views)
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
    main: SocketAddr,
    metrics: SocketAddr,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

/// Listens on both addresses and serves until `cancel`.
///
/// # Errors
/// When an address cannot be bound; then neither is served.
pub async fn start(
    main: SocketAddr,
    metrics: SocketAddr,
    views: Arc<Views>,
    cancel: CancellationToken,
) -> Result<Server, ServerError> {
    let main = bind(main, "the API", "--listen-address").await?;
    let metrics = bind(metrics, "the metrics", "--metrics-address").await?;
    let mut server = Server { main: main.1, metrics: metrics.1, cancel, tasks: JoinSet::new() };
    server.serve(main.0, router(views.clone()));
    server.serve(metrics.0, metrics_router(views));
    tracing::info!(main = %server.main, metrics = %server.metrics, "serving");
    Ok(server)
}

async fn bind(
    address: SocketAddr,
    purpose: &'static str,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| ServerError { address, purpose, setting, source })
}

impl Server {
    fn serve(&mut self, listener: TcpListener, router: Router) {
        let stop = self.cancel.clone().cancelled_owned();
        self.tasks.spawn(async move {
            let served = axum::serve(LimitedListener::new(listener), router).with_graceful_shutdown(stop).await;
            if let Err(error) = served {
                tracing::error!(%error, "the server stopped");
            }
        });
    }

    /// Address of the main routes, with the port that a port of 0 became.
    #[must_use]
    pub fn main_address(&self) -> SocketAddr {
        self.main
    }

    /// Address of the metrics.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
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
