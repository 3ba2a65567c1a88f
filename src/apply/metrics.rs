//! What writing reports in numbers. Labels are cluster, kind and outcome, never a name of an object.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::model::{ClusterName, Kind};

/// Upper bounds of a single request, in seconds: from a local API server to the time limit.
const WRITE_BUCKETS_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds from an event to its last write, in seconds: up to a cluster that was away for minutes.
const EVENT_BUCKETS_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The collectors of `apply/`.
#[derive(Debug, Clone)]
pub struct ApplyMetrics {
    pub(super) writes: IntCounterVec,
    pub(super) write_duration: HistogramVec,
    pub(super) event_to_write: HistogramVec,
    pub(super) queue_depth: IntGaugeVec,
    pub(super) removals_withheld: IntGaugeVec,
    pub(super) drift: IntGaugeVec,
}

impl ApplyMetrics {
    /// Makes the collectors and registers them.
    ///
    /// # Errors
    /// When a metric of one of the names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
        };
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["cluster"]);
        let metrics = Self {
            writes: IntCounterVec::new(
                Opts::new("tradewind_writes_total", "Write requests by outcome; `ok` where the object was written"),
                &["cluster", "kind", "outcome"],
            )?,
            write_duration: histogram(
                "tradewind_write_duration_seconds",
                "Duration of a write, from request to answer",
                WRITE_BUCKETS_SECONDS,
                &["cluster", "kind"],
            )?,
            event_to_write: histogram(
                "tradewind_event_to_write_seconds",
                "Time from the event that made a service dirty to the last write that answers it in a cluster",
                EVENT_BUCKETS_SECONDS,
                &["cluster"],
            )?,
            queue_depth: gauge(
                "tradewind_write_queue_depth",
                "Services and Sidecars whose objects wait to be compared and written",
            )?,
            removals_withheld: gauge(
                "tradewind_removals_withheld",
                "Objects whose removal exceeds the budget and waits for an operator",
            )?,
            drift: gauge(
                "tradewind_drift_objects",
                "Objects that differ from the plan: not written because of read-only or dry-run, refused, or failing",
            )?,
        };
        registry.register(Box::new(metrics.writes.clone()))?;
        registry.register(Box::new(metrics.write_duration.clone()))?;
        registry.register(Box::new(metrics.event_to_write.clone()))?;
        for gauge in [&metrics.queue_depth, &metrics.removals_withheld, &metrics.drift] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }

    /// Drops the gauges of a cluster that left. Counters stay.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        for gauge in [&self.queue_depth, &self.removals_withheld, &self.drift] {
            // The series may never have been set.
            let _ = gauge.remove_label_values(&[cluster.as_str()]);
        }
    }

    pub(super) fn wrote(&self, cluster: &ClusterName, kind: Kind, outcome: &str, seconds: f64) {
        self.writes.with_label_values(&[cluster.as_str(), kind.as_str(), outcome]).inc();
        self.write_duration.with_label_values(&[cluster.as_str(), kind.as_str()]).observe(seconds);
    }

    pub(super) fn set(gauge: &IntGaugeVec, cluster: &ClusterName, value: usize) {
        gauge.with_label_values(&[cluster.as_str()]).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}
