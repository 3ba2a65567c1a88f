//! The policies other than the GlobalTrafficPolicy that shape the connections to a service: OutlierDetection,
//! ClientConnectionConfig and TrafficConfig (Admiral, docs/admiral-behaviour.md#policies).
//!
//! Of several of a kind the newest is in force. Decides which that is, what it means and what is wrong with it.

use std::{cmp::Ordering, sync::Arc};

use super::{connections, duration};
use crate::{
    api::{OutlierConfig, TrafficConfigSpec},
    config::Settings,
    istio::{ConnectionPool, Tunnel},
    model::{ClusterName, Environment, Note, NoteKind, ObjectPath, PolicyObject, ServiceKey},
    plan::input::{Matching, ServiceInput},
};

/// What those policies mean for every host of a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectionPolicies {
    /// The values of the OutlierDetection in force.
    pub outliers: Option<OutlierConfig>,
    /// Limits of connections.
    pub pool: ConnectionPool,
    /// A tunnel.
    pub tunnel: Option<Tunnel>,
    /// Slow start of new endpoints, as a duration.
    pub warmup: Option<String>,
    /// The policies in force.
    pub in_force: Vec<ObjectPath>,
    /// What their owners should know.
    pub(super) notes: Vec<Note>,
}

impl ConnectionPolicies {
    pub(super) fn of(service: &ServiceInput, settings: &Settings) -> Self {
        let mut chosen = PoliciesInForce { key: &service.key, in_force: Vec::new(), notes: Vec::new() };
        let outliers = chosen.outliers(&service.outlier_detections);
        let config = newest(&service.connections, |_| true);
        let connections = connections::of(config.map(|(_, config)| &*config.spec), settings);
        if let Some(config) = config {
            chosen.is_in_force(config, connections.problems);
            chosen.outranked(&service.connections, config, |other| other.spec != config.1.spec);
        }
        let warmup = chosen.slow_start(&service.slow_starts).or_else(|| {
            (settings.default_warmup_duration_in_seconds > 0)
                .then(|| format!("{}s", settings.default_warmup_duration_in_seconds))
        });
        let PoliciesInForce { in_force, notes, .. } = chosen;
        Self { outliers, pool: connections.pool, tunnel: connections.tunnel, warmup, in_force, notes }
    }
}

type One<S> = (ClusterName, Arc<PolicyObject<S>>);

/// The newest of some policies; the first by cluster, namespace and name of equally new ones.
fn newest<S>(matching: &Matching<S>, counts: impl Fn(&PolicyObject<S>) -> bool) -> Option<&One<S>> {
    let counting = matching.iter().filter(|(_, config)| counts(config));
    counting.reduce(|best, next| match next.1.created_seconds.cmp(&best.1.created_seconds) {
        Ordering::Greater => next,
        Ordering::Equal | Ordering::Less => best,
    })
}

struct PoliciesInForce<'a> {
    key: &'a ServiceKey,
    in_force: Vec<ObjectPath>,
    notes: Vec<Note>,
}

impl PoliciesInForce<'_> {
    fn outliers(&mut self, matching: &Matching<crate::api::OutlierDetectionSpec>) -> Option<OutlierConfig> {
        for one in matching.iter().filter(|(_, config)| config.spec.outlier_config.is_none()) {
            self.note(one, NoteKind::PolicyQuestionable, "outlier_config is missing; it has no effect".into());
        }
        let in_force = newest(matching, |config| config.spec.outlier_config.is_some())?;
        let mut values = in_force.1.spec.outlier_config?;
        let mut problems = Vec::new();
        for (field, seconds) in
            [("base_ejection_time", &mut values.base_ejection_time), ("interval", &mut values.interval)]
        {
            if *seconds <= 0 {
                problems.push(format!("{field} is {seconds}, which Istio refuses; the default counts"));
                *seconds = 0;
            }
        }
        self.is_in_force(in_force, problems);
        self.outranked(matching, in_force, |other| {
            other.spec.outlier_config.is_some() && other.spec.outlier_config != in_force.1.spec.outlier_config
        });
        Some(values)
    }

    fn slow_start(&mut self, matching: &Matching<TrafficConfigSpec>) -> Option<String> {
        let environment = &self.key.environment;
        let in_force = newest(matching, |_| true)?;
        let durations = slow_starts(&in_force.1.spec, environment);
        let mut problems = Vec::new();
        if durations.len() > 1 {
            problems.push(format!("{} slow starts select {environment}; the last one counts", durations.len()));
        }
        let warmup = durations.last().and_then(|text| match duration::millis(text) {
            // Whole seconds, as in Admiral.
            Ok(millis) if millis >= 1000 => Some(duration::written(millis / 1000 * 1000)),
            Ok(_) => {
                problems.push(format!("duration {text:?} is shorter than 1s; the default counts"));
                None
            }
            Err(reason) => {
                problems.push(format!("duration {text:?} {reason}; the default counts"));
                None
            }
        });
        self.is_in_force(in_force, problems);
        self.outranked(matching, in_force, |other| slow_starts(&other.spec, environment) != durations);
        warmup
    }

    fn is_in_force<S>(&mut self, one: &One<S>, problems: Vec<String>) {
        let (cluster, config) = one;
        self.in_force.push(config.id.in_cluster(cluster));
        for problem in problems {
            self.note(one, NoteKind::PolicyQuestionable, problem);
        }
    }

    fn outranked<S>(&mut self, all: &Matching<S>, in_force: &One<S>, differs: impl Fn(&PolicyObject<S>) -> bool) {
        let (cluster, winner) = in_force;
        for one in all.iter().filter(|one| differs(&one.1)) {
            let why = if one.1.created_seconds < winner.created_seconds { "is newer" } else { "comes first" };
            let message = format!(
                "is not in force for {}: {}/{} of {cluster} {why}",
                self.key, winner.id.namespace, winner.id.name
            );
            self.note(one, NoteKind::PolicyOutranked, message);
        }
    }

    fn note<S>(&mut self, (cluster, config): &One<S>, kind: NoteKind, message: String) {
        let object = config.id.in_cluster(cluster);
        self.notes.push(Note { kind, object, service: Some(self.key.clone()), message });
    }
}

/// The durations that a TrafficConfig has for an environment, in order.
fn slow_starts<'a>(spec: &'a TrafficConfigSpec, environment: &Environment) -> Vec<&'a str> {
    let all = spec.edge_service.as_ref().map(|edge| edge.slow_start_config.as_slice()).unwrap_or_default();
    let selects = |selector: &String| selector.trim().eq_ignore_ascii_case(environment.as_str());
    all.iter()
        .filter(|slow_start| slow_start.workload_env_selectors.iter().any(selects))
        .map(|slow_start| slow_start.duration.as_str())
        .collect()
}
