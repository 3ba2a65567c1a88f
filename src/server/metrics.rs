//! Numbers for Prometheus, and the page that documents them. Labels are cluster, kind and outcome, never an object.
//!
//! What the registry knows is read from it at every scrape, so no gauge outlives what it speaks of.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{
    Views,
    views::{both, error},
};
use crate::{
    model::NoteKind,
    registry::{KindState, Registry},
};

/// Upper bounds of the duration of one plan, in seconds: from a small service to one in 200 clusters.
const PLAN_BUCKETS_SECONDS: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];

/// How a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts by size, in `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One metric of the reference page.
#[derive(Debug, Clone, Copy)]
pub struct MetricInfo {
    /// Full name, with its unit.
    pub name: &'static str,
    /// How it counts.
    pub kind: MetricType,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($const:ident: $name:literal $kind:ident [$($label:literal),*] $help:literal;)+) => {
        $(const $const: MetricInfo =
            MetricInfo { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)+
        /// Every metric of Tradewind, in the order of the reference page. Those of the process come on top.
        pub const METRICS: &[MetricInfo] = &[$($const),+];
    };
}

metrics! {
    BUILD_INFO: "tradewind_build_info" Gauge ["version"] "Always 1; the label is the version that runs";
    CLUSTERS: "clusters_monitored" Gauge [] "Clusters of the fleet, under Admiral's name";
    SYNC_STATE: "tradewind_cluster_sync_state" Gauge ["cluster", "kind"]
        "Freshness of one kind in one cluster: 0 loading, 1 synced, 2 stale (known, cannot be read now), 3 unreadable (never listed), 4 absent (not served there, and need not be)";
    SERVICES: "tradewind_services" Gauge [] "Services that run somewhere or have objects of ours: pairs of identity and environment";
    HOSTS: "tradewind_hosts" Gauge [] "Hosts that are published";
    NOTES: "tradewind_notes" Gauge ["kind"] "Notes in force by kind; the page of notes says what each means";
    DIRTY: "tradewind_dirty_queue_depth" Gauge [] "Services and Sidecars that wait to be planned";
    PLAN: "tradewind_plan_duration_seconds" Histogram [] "Time to plan one service for all clusters";
    PANICS: "tradewind_planning_panics_total" Counter [] "Times that planning ended by a defect of Tradewind; the note planning-failed names what";
    WRITES: "tradewind_writes_total" Counter ["cluster", "kind", "outcome"]
        "Write requests by outcome; `ok` where the object was written";
    WRITE: "tradewind_write_duration_seconds" Histogram ["cluster", "kind"] "Duration of a write, from request to answer";
    EVENT: "tradewind_event_to_write_seconds" Histogram ["cluster"]
        "Time from the event that made a service dirty to the last write that answers it in a cluster";
    QUEUE: "tradewind_write_queue_depth" Gauge ["cluster"]
        "Services and Sidecars whose objects wait to be compared and written";
    WITHHELD: "tradewind_removals_withheld" Gauge ["cluster"]
        "Objects whose removal exceeds the budget and waits for an operator";
    RESPONSE_BYTES: "tradewind_http_response_bytes" Gauge []
        "Memory that answers of the views on their way to clients hold; the setting responseMemoryMib bounds it";
    REFUSALS: "tradewind_http_refusals_total" Counter ["outcome"]
        "Connections and requests that were refused: `connections` (too many in all), `connections-of-address`, `requests` (too many at once), `memory` (too many bytes of answers on their way), `host` (asked for under an unknown name)";
    DRIFT: "tradewind_drift_objects" Gauge ["cluster"]
        "Objects that differ from the plan: not written because of read-only or dry-run, refused, or failing";
}

impl MetricInfo {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }
}

/// The collectors of the process, of planning and of the registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    prometheus: prometheus::Registry,
    /// Time to plan one service, in seconds.
    pub plan_duration: Histogram,
    /// Times that planning ended by a panic.
    pub planning_panics: IntCounter,
    /// Number of hosts that are published.
    pub hosts: IntGauge,
    /// What the server counts of itself.
    pub(super) server: ServerMetrics,
}

/// What the server counts of itself.
#[derive(Debug, Clone)]
pub(super) struct ServerMetrics {
    /// Memory of answers on their way.
    pub(super) response_bytes: IntGauge,
    refusals: IntCounterVec,
}

impl ServerMetrics {
    fn register(prometheus: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let response_bytes = IntGauge::with_opts(RESPONSE_BYTES.opts())?;
        prometheus.register(Box::new(response_bytes.clone()))?;
        let refusals = IntCounterVec::new(REFUSALS.opts(), REFUSALS.labels)?;
        prometheus.register(Box::new(refusals.clone()))?;
        Ok(Self { response_bytes, refusals })
    }

    /// Counts a connection or request that was refused.
    pub(super) fn refused(&self, outcome: &'static str) {
        self.refusals.with_label_values(&[outcome]).inc();
    }
}

impl Metrics {
    /// A Prometheus registry with the metrics that are there from the start.
    ///
    /// # Errors
    /// Never, unless a metric is described wrongly here.
    pub fn new() -> Result<Self, prometheus::Error> {
        let prometheus = prometheus::Registry::new();
        #[cfg(target_os = "linux")]
        prometheus.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build_info = IntGaugeVec::new(BUILD_INFO.opts(), BUILD_INFO.labels)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        prometheus.register(Box::new(build_info))?;
        let plan_duration =
            Histogram::with_opts(HistogramOpts::new(PLAN.name, PLAN.help).buckets(PLAN_BUCKETS_SECONDS.to_vec()))?;
        prometheus.register(Box::new(plan_duration.clone()))?;
        let hosts = IntGauge::with_opts(HOSTS.opts())?;
        prometheus.register(Box::new(hosts.clone()))?;
        let planning_panics = IntCounter::with_opts(PANICS.opts())?;
        prometheus.register(Box::new(planning_panics.clone()))?;
        let server = ServerMetrics::register(&prometheus)?;
        Ok(Self { prometheus, plan_duration, planning_panics, hosts, server })
    }

    /// Where other rooms register theirs.
    #[must_use]
    pub fn prometheus(&self) -> &prometheus::Registry {
        &self.prometheus
    }

    /// Shows a registry from now on.
    pub(super) fn show(&self, registry: &Arc<Registry>) -> Result<(), prometheus::Error> {
        self.prometheus.register(Box::new(RegistryCollector::new(registry.clone())?))
    }

    fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.prometheus.gather())
    }
}

/// Reads the registry whenever it is scraped.
struct RegistryCollector {
    registry: Arc<Registry>,
    descriptors: Vec<Desc>,
}

const OF_REGISTRY: &[MetricInfo] = &[CLUSTERS, SYNC_STATE, SERVICES, NOTES, DIRTY];

impl RegistryCollector {
    fn new(registry: Arc<Registry>) -> Result<Self, prometheus::Error> {
        let describe = |metric: &MetricInfo| {
            let labels = metric.labels.iter().map(ToString::to_string).collect();
            Desc::new(metric.name.into(), metric.help.into(), labels, HashMap::new())
        };
        let descriptors = OF_REGISTRY.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { registry, descriptors })
    }
}

impl Collector for RegistryCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let clusters = self.registry.queries().clusters();
        let count = |metric: &MetricInfo, number: usize| family(metric, [(vec![], number)]);
        let states = clusters.iter().flat_map(|cluster| {
            cluster.kinds.iter().map(|(kind, state)| {
                let state = match state {
                    KindState::Loading => 0,
                    KindState::Synced => 1,
                    KindState::Stale { .. } => 2,
                    KindState::Unreadable { .. } => 3,
                    KindState::Absent => 4,
                };
                (vec![cluster.name.as_str(), kind.as_str()], state)
            })
        });
        let counts = self.registry.notes().counts();
        let notes =
            NoteKind::ALL.iter().map(|kind| (vec![kind.code()], counts.get(kind.code()).copied().unwrap_or_default()));
        [
            count(&CLUSTERS, clusters.len()),
            family(&SYNC_STATE, states),
            count(&SERVICES, self.registry.queries().services().len()),
            family(&NOTES, notes),
            count(&DIRTY, self.registry.queue().waiting()),
        ]
        .concat()
    }
}

fn family<'a>(metric: &MetricInfo, values: impl IntoIterator<Item = (Vec<&'a str>, usize)>) -> Vec<MetricFamily> {
    let gauge = IntGaugeVec::new(metric.opts(), metric.labels).expect("the table describes metrics rightly");
    for (labels, value) in values {
        gauge.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    gauge.collect()
}

pub(super) fn routes() -> Router<Arc<Views>> {
    both(Router::new(), "/metrics", get(metrics))
}

async fn metrics(State(views): State<Arc<Views>>) -> Response {
    // Not in line behind the plans of other requests: a scrape has seconds.
    let text = tokio::task::spawn_blocking(move || views.metrics.text()).await.expect("reading the registry is total");
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, TextEncoder::new().format_type().to_owned())], text).into_response(),
        Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {reason}")),
    }
}

/// The page `docs/reference/metrics.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "<!-- Generated from src/server/metrics.rs by tests/reference_pages.rs. Do not edit. -->\n# Metrics\n\n\
         Served in Prometheus' text format under `/metrics` of the metrics address. Names carry their unit; labels are\n\
         clusters, kinds and outcomes, never objects. On Linux the usual `process_*` metrics come on top.\n\n\
         | Name | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for MetricInfo { name, kind, labels, help } in METRICS {
        let kind = format!("{kind:?}").to_ascii_lowercase();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing into a String does not fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;
    use crate::{
        apply::ApplyMetrics,
        config::Settings,
        model::{ClusterName, Kind},
    };

    fn metrics() -> (Metrics, Arc<Registry>) {
        let metrics = Metrics::new().unwrap();
        ApplyMetrics::register(metrics.prometheus()).unwrap();
        let registry = Arc::new(Registry::new(Arc::new(Settings::default())));
        metrics.show(&registry).unwrap();
        (metrics, registry)
    }

    // Invariant: The metrics are those of their table, with its labels.
    #[test]
    fn the_table_is_what_is_registered() {
        let (metrics, registry) = metrics();
        registry.register(&ClusterName::parse("west").unwrap());
        for metric in METRICS {
            let again = IntGauge::with_opts(metric.opts()).unwrap();
            let refused = metrics.prometheus().register(Box::new(again)).unwrap_err();
            assert!(matches!(refused, prometheus::Error::AlreadyReg), "{} is not registered", metric.name);
        }
        for family in metrics.prometheus().gather().iter().filter(|f| !f.name().starts_with("process_")) {
            let metric = METRICS.iter().find(|metric| metric.name == family.name());
            let metric = metric.unwrap_or_else(|| panic!("{} is not in the table", family.name()));
            assert_eq!(family.help(), metric.help);
            let kind = format!("{:?}", family.get_field_type()).to_ascii_lowercase();
            assert_eq!(kind, format!("{:?}", metric.kind).to_ascii_lowercase());
            let labels: Vec<&str> = family.get_metric()[0].get_label().iter().map(|label| label.name()).collect();
            assert_eq!(labels, metric.labels, "{}", metric.name);
            assert!(reference_page().contains(&format!("| `{}` |", metric.name)));
        }
    }

    #[test]
    fn states_follow_the_registry_and_go_with_their_cluster() {
        let (metrics, registry) = metrics();
        let west = ClusterName::parse("west").unwrap();
        let line = |kind: &str, state: usize| {
            format!("tradewind_cluster_sync_state{{cluster=\"west\",kind=\"{kind}\"}} {state}\n")
        };
        registry.register(&west);
        registry.reset(&west, Kind::Service, Vec::new());
        registry.unreadable(&west, Kind::Node, "no rights", 1);
        registry.reset(&west, Kind::Namespace, Vec::new());
        registry.unreadable(&west, Kind::Namespace, "gone", 1);
        let text = metrics.text().unwrap();
        for expected in [line("Deployment", 0), line("Service", 1), line("Namespace", 2), line("Node", 3)] {
            assert!(text.contains(&expected), "{expected}{text}");
        }
        assert!(text.contains("clusters_monitored 1\n"));
        assert!(text.contains("tradewind_notes{kind=\"kind-unreadable\"} 2\n"), "{text}");
        registry.deregister(&west);
        let text = metrics.text().unwrap();
        assert!(!text.contains("west"));
        assert!(text.contains("clusters_monitored 0\n"));
    }
}
