//! Whether a workload has pods or machines that can serve, from its specification and its status.
//!
//! Decides availability of one object; never what follows from it for a service.

use k8s_openapi::{
    api::apps::v1::{DaemonSet, Deployment, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use crate::model::{Availability, Labels};

/// Node selector by which Flagger scales a DaemonSet to zero: no node has the label (Flagger, `daemonset_controller.go`).
const FLAGGER_SCALE_TO_ZERO: &str = "flagger.app/scale-to-zero";
/// Annotation of a WorkloadEntry whose machine is probed (Istio, `pilot/pkg/model/status/workloadentry.go`).
const HEALTH_CHECKS_ENABLED: &str = "proxy.istio.io/health-checks-enabled";
/// Condition with the outcome of the probes.
const HEALTHY: &str = "Healthy";

pub(super) fn of_deployment(object: &Deployment) -> Availability {
    let status = object.status.as_ref();
    let is_observed = status.is_some_and(|status| status.observed_generation.is_some());
    replicated(
        object.spec.as_ref().and_then(|spec| spec.replicas).map(i64::from),
        status.and_then(|status| status.ready_replicas).map(i64::from),
        is_observed,
    )
}

pub(super) fn of_stateful_set(object: &StatefulSet) -> Availability {
    let status = object.status.as_ref();
    let is_observed = status.is_some_and(|status| status.observed_generation.is_some());
    replicated(
        object.spec.as_ref().and_then(|spec| spec.replicas).map(i64::from),
        status.and_then(|status| status.ready_replicas).map(i64::from),
        is_observed,
    )
}

/// The number of pods that a DaemonSet wants is only in its status, which counts once its controller has observed this generation.
pub(super) fn of_daemon_set(object: &DaemonSet) -> Availability {
    let pods = object.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let selector = pods.and_then(|pods| pods.node_selector.as_ref());
    if selector.is_some_and(|selector| selector.contains_key(FLAGGER_SCALE_TO_ZERO)) {
        return Availability::Unavailable;
    }
    match &object.status {
        Some(status) if is_current(&object.metadata, status.observed_generation) => replicated(
            Some(status.desired_number_scheduled.into()),
            Some(status.number_ready.into()),
            status.observed_generation.is_some(),
        ),
        _ => Availability::Available,
    }
}

/// A Rollout counts replicas as a Deployment does, also where a Deployment holds its pod template.
pub(super) fn of_rollout(rollout: &Value) -> Availability {
    let number = |path: &str| rollout.pointer(path).and_then(Value::as_i64);
    replicated(
        number("/spec/replicas"),
        number("/status/readyReplicas"),
        // A number in words (Argo Rollouts, `RolloutStatus`).
        rollout.pointer("/status/observedGeneration").is_some_and(|generation| !generation.is_null()),
    )
}

/// A WorkloadEntry whose machine is probed is healthy only once a probe succeeded; one that is not probed always is
/// (Istio, `isHealthy` in `pilot/pkg/serviceregistry/serviceentry/conversion.go`).
pub(super) fn of_workload_entry(annotations: Option<&Labels>, entry: &Value) -> Availability {
    let probed = annotations.and_then(|annotations| annotations.get(HEALTH_CHECKS_ENABLED));
    // As Go's `strconv.ParseBool`, which Istio reads it by.
    if !probed.is_some_and(|text| matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")) {
        return Availability::Available;
    }
    let conditions = entry.pointer("/status/conditions").and_then(Value::as_array);
    let healthy = conditions.into_iter().flatten().find(|condition| condition["type"] == HEALTHY);
    let is_true = healthy
        .and_then(|condition| condition["status"].as_str())
        .is_some_and(|status| status.eq_ignore_ascii_case("true"));
    if is_true { Availability::Available } else { Availability::Unavailable }
}

/// `wanted` is 1 where it is not set (Kubernetes API, `DeploymentSpec.replicas`).
fn replicated(wanted: Option<i64>, ready: Option<i64>, is_observed: bool) -> Availability {
    match (wanted, ready.unwrap_or(0)) {
        (Some(0), _) => Availability::Unavailable,
        // Without a controller's word, as in a manifest, nothing is known of pods.
        (_, 0) if is_observed => Availability::Starting,
        _ => Availability::Available,
    }
}

/// Whether a status is about the present generation of the spec.
fn is_current(metadata: &ObjectMeta, observed_generation: Option<i64>) -> bool {
    metadata.generation.is_none_or(|generation| observed_generation.is_some_and(|observed| observed >= generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use Availability::{Available, Starting, Unavailable};

    fn deployment(value: Value) -> Availability {
        of_deployment(&serde_json::from_value(value).unwrap())
    }

    fn daemon_set(value: Value) -> Availability {
        of_daemon_set(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn replicas_decide_and_a_status_only_once_a_controller_wrote_it() {
        let of = |replicas: Value, status: Value| {
            deployment(json!({"spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": status}))
        };
        assert_eq!(of(json!(0), json!({"readyReplicas": 3, "observedGeneration": 1})), Unavailable);
        assert_eq!(of(json!(null), json!(null)), Available, "1 is the default");
        assert_eq!(of(json!(3), json!({})), Available, "a manifest");
        assert_eq!(of(json!(3), json!({"observedGeneration": 4})), Starting);
        assert_eq!(of(json!(3), json!({"observedGeneration": 4, "readyReplicas": 1})), Available);
    }

    #[test]
    fn a_daemon_set_without_nodes_has_no_pods() {
        let of = |generation: i64, observed: Value, wanted: i64, ready: i64| {
            let status = json!({"desiredNumberScheduled": wanted, "numberReady": ready, "observedGeneration": observed,
                                "currentNumberScheduled": 0, "numberMisscheduled": 0});
            daemon_set(json!({"metadata": {"generation": generation},
                              "spec": {"selector": {}, "template": {}}, "status": status}))
        };
        assert_eq!(of(2, json!(2), 0, 0), Unavailable);
        assert_eq!(of(2, json!(1), 0, 0), Available, "its controller has not seen it as it is");
        assert_eq!(of(1, json!(null), 0, 0), Available, "a new one");
        assert_eq!(of(2, json!(2), 3, 0), Starting);
        assert_eq!(of(2, json!(2), 3, 1), Available);
        let parked = json!({"spec": {"selector": {}, "template":
            {"spec": {"containers": [], "nodeSelector": {"flagger.app/scale-to-zero": "true"}}}}});
        assert_eq!(daemon_set(parked), Unavailable);
    }

    #[test]
    fn a_probed_machine_is_healthy_only_once_a_probe_succeeded() {
        let of = |enabled: &str, conditions: Value| {
            let annotations = Labels::from([(HEALTH_CHECKS_ENABLED.to_owned(), enabled.to_owned())]);
            of_workload_entry(Some(&annotations), &json!({"status": {"conditions": conditions}}))
        };
        let healthy =
            |status: &str| json!([{"type": "Other", "status": "True"}, {"type": "Healthy", "status": status}]);
        assert_eq!(of("true", healthy("True")), Available);
        assert_eq!(of("true", healthy("False")), Unavailable);
        assert_eq!(of("true", healthy("Unknown")), Unavailable);
        assert_eq!(of("true", json!([])), Unavailable);
        assert_eq!(of("1", json!(null)), Unavailable);
        for not_probed in ["false", "", "yes"] {
            assert_eq!(of(not_probed, healthy("False")), Available, "{not_probed:?}");
        }
        assert_eq!(of_workload_entry(None, &json!({})), Available);
    }
}
