//! Pruning of Argo Rollouts: which Services, VirtualServices and pod template one names.
//!
//! Decides what is kept of its strategy; never which of it counts (`registry/rollouts.rs`). What the strategy says beside
//! (steps, analysis, other meshes) is Argo's own business.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::observe::read_at;
use crate::model::{Rollout, RolloutStrategy, RouteRef};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    workload_ref: Option<WorkloadRef>,
    strategy: Option<Strategy>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkloadRef {
    #[serde(deserialize_with = "text")]
    kind: String,
    #[serde(deserialize_with = "text")]
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Strategy {
    blue_green: Option<BlueGreen>,
    canary: Option<Canary>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BlueGreen {
    #[serde(deserialize_with = "text")]
    active_service: String,
    #[serde(deserialize_with = "text")]
    preview_service: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Canary {
    #[serde(deserialize_with = "text")]
    stable_service: String,
    #[serde(deserialize_with = "text")]
    canary_service: String,
    traffic_routing: Option<TrafficRouting>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TrafficRouting {
    istio: Option<Istio>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Istio {
    virtual_service: Option<VirtualService>,
    virtual_services: Option<Vec<VirtualService>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VirtualService {
    #[serde(deserialize_with = "text")]
    name: String,
    routes: Option<Vec<String>>,
}

/// A text that may be null, as API servers keep it in schemas without types.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default().trim().to_owned())
}

/// What a Rollout says beside its pod template.
///
/// # Errors
/// When a field has another type than Argo's API says; names its path.
pub(super) fn read(value: &Value) -> Result<Rollout, String> {
    let spec: Option<Spec> = read_at("spec", value.get("spec").unwrap_or(&Value::Null))?;
    let spec = spec.unwrap_or_default();
    let (mut template_of, mut unread_template) = (None, None);
    if let Some(WorkloadRef { kind, name }) = spec.workload_ref {
        if kind == "Deployment" && !name.is_empty() {
            template_of = Some(Arc::from(name));
        } else {
            unread_template = Some(format!("{kind} {name}").trim().to_owned());
        }
    }
    let strategy = spec.strategy.unwrap_or_default();
    Ok(Rollout {
        template_of,
        unread_template,
        strategy: match (strategy.blue_green, strategy.canary) {
            (Some(BlueGreen { active_service, preview_service }), _) => {
                RolloutStrategy::BlueGreen { active: active_service.into(), preview: preview_service.into() }
            }
            (None, Some(canary)) => RolloutStrategy::Canary {
                stable: canary.stable_service.into(),
                canary: canary.canary_service.into(),
                istio: canary.traffic_routing.and_then(|routing| routing.istio).map(routes),
            },
            (None, None) => RolloutStrategy::Nothing,
        },
    })
}

fn routes(istio: Istio) -> Vec<RouteRef> {
    let named = istio.virtual_service.into_iter().chain(istio.virtual_services.into_iter().flatten());
    named
        .filter(|virtual_service| !virtual_service.name.is_empty())
        .map(|VirtualService { name, routes }| RouteRef {
            name: name.into(),
            routes: routes.into_iter().flatten().map(Into::into).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strategy(strategy: Value) -> RolloutStrategy {
        read(&json!({"spec": {"strategy": strategy}})).unwrap().strategy
    }

    #[test]
    fn strategies_are_told_apart_and_all_virtual_services_count() {
        assert_eq!(
            strategy(json!({"blueGreen": {"activeService": "active", "previewService": null}})),
            RolloutStrategy::BlueGreen { active: "active".into(), preview: "".into() }
        );
        let istio = json!({"virtualService": {"name": "one", "routes": ["primary"]},
                           "virtualServices": [{"name": "two"}, {"name": ""}]});
        let canary = json!({"canary": {"stableService": "stable", "canaryService": "canary",
                                       "trafficRouting": {"istio": istio}, "steps": [{"setWeight": 5}]}});
        let route = |name: &str, routes: &[&str]| RouteRef {
            name: name.into(),
            routes: routes.iter().map(|name| Arc::from(*name)).collect(),
        };
        assert_eq!(
            strategy(canary),
            RolloutStrategy::Canary {
                stable: "stable".into(),
                canary: "canary".into(),
                istio: Some(vec![route("one", &["primary"]), route("two", &[])]),
            }
        );
        let without = RolloutStrategy::Canary { stable: "".into(), canary: "".into(), istio: None };
        assert_eq!(strategy(json!({"canary": {"trafficRouting": {"nginx": {}}}})), without);
        assert_eq!(strategy(json!({})), RolloutStrategy::Nothing);
        assert_eq!(read(&json!({"spec": null})).unwrap().strategy, RolloutStrategy::Nothing);
    }

    #[test]
    fn the_pod_template_is_a_deployments_or_is_told() {
        let of = |reference: Value| {
            let rollout = read(&json!({"spec": {"workloadRef": reference}})).unwrap();
            (rollout.template_of, rollout.unread_template)
        };
        assert_eq!(of(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"})), (Some("a".into()), None));
        assert_eq!(of(json!({"kind": "ReplicaSet", "name": "a"})), (None, Some("ReplicaSet a".into())));
    }

    #[test]
    fn a_field_of_another_type_is_told_with_its_path() {
        let error = read(&json!({"spec": {"strategy": {"canary": {"stableService": 7}}}})).unwrap_err();
        assert!(error.starts_with("spec.strategy.canary.stableService: "), "{error}");
    }
}
