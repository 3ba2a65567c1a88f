//! Pruning of Argo Rollouts: which Services, VirtualServices and pod template one names.
//!
//! Decides what is kept of its strategy, and which Service of a `pingPong` is the stable one; never which Service counts
//! (`registry/rollouts.rs`). The rest of the strategy (steps, analysis, weights of other meshes) is Argo's own business.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::observe::read_at;
use crate::model::{Canary, IstioRouting, MalformedObject, Rollout, RolloutStrategy, RouteRef};

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
    canary: Option<CanarySpec>,
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
struct CanarySpec {
    #[serde(deserialize_with = "text")]
    stable_service: String,
    #[serde(deserialize_with = "text")]
    canary_service: String,
    ping_pong: Option<PingPong>,
    traffic_routing: Option<TrafficRouting>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PingPong {
    #[serde(deserialize_with = "text")]
    ping_service: String,
    #[serde(deserialize_with = "text")]
    pong_service: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TrafficRouting {
    istio: Option<RolloutIstio>,
    alb: Option<Root>,
    smi: Option<Root>,
    managed_routes: Option<Vec<ManagedRoute>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Root {
    #[serde(deserialize_with = "text")]
    root_service: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ManagedRoute {
    #[serde(deserialize_with = "text")]
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RolloutIstio {
    virtual_service: Option<RolloutVirtualService>,
    virtual_services: Option<Vec<RolloutVirtualService>>,
    destination_rule: Option<RolloutDestinationRule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RolloutVirtualService {
    #[serde(deserialize_with = "text")]
    name: String,
    routes: Option<Vec<String>>,
    tls_routes: Option<Vec<RolloutTlsRoute>>,
    tcp_routes: Option<Vec<TcpRoute>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RolloutTlsRoute {
    port: Option<u64>,
    #[serde(rename = "sniHosts")]
    sni_hosts: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TcpRoute {
    port: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RolloutDestinationRule {
    #[serde(deserialize_with = "text")]
    canary_subset_name: String,
    #[serde(deserialize_with = "text")]
    stable_subset_name: String,
}

/// A text that may be null, as API servers keep it in schemas without types.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default().trim().to_owned())
}

/// The spec of a Rollout apart from its pod template.
///
/// # Errors
/// When a field does not have the type of Argo's API; names its path.
pub(super) fn read(value: &Value) -> Result<Rollout, MalformedObject> {
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
            (None, Some(canary)) => {
                // Any other value counts as `pong`, as in Argo (`IsStablePing`).
                let status = value.pointer("/status/canary/stablePingPong").and_then(Value::as_str);
                RolloutStrategy::Canary(Box::new(canary.read(status == Some("ping"))))
            }
            (None, None) => RolloutStrategy::Nothing,
        },
    })
}

impl CanarySpec {
    /// `pingPong` counts where no other Service is named, and without Istio in any case (Argo Rollouts,
    /// `rollout/trafficrouting/service_helper.go`, `GetStableAndCanaryServices`).
    fn read(self, is_ping_stable: bool) -> Canary {
        let routing = self.traffic_routing.unwrap_or_default();
        let names_none = self.stable_service.is_empty() && self.canary_service.is_empty();
        let (named, pair) = (
            [self.stable_service, self.canary_service],
            self.ping_pong.map(|PingPong { ping_service, pong_service }| [ping_service, pong_service]),
        );
        let mut versions: Vec<Arc<str>> =
            named.iter().chain(pair.iter().flatten()).map(|name| name.as_str().into()).collect();
        versions.retain(|name| !name.is_empty());
        versions.sort();
        versions.dedup();
        let pair = pair.filter(|_| routing.istio.is_none() || names_none);
        let ping_pong = pair.is_some();
        let [stable, canary] = match pair {
            Some([ping, pong]) if is_ping_stable => [ping, pong],
            Some([ping, pong]) => [pong, ping],
            None => named,
        };
        let roots = [routing.alb, routing.smi].into_iter().flatten().map(|root| root.root_service);
        let managed = routing.managed_routes.into_iter().flatten().map(|route| route.name);
        let filled = |names: &mut dyn Iterator<Item = String>| -> Vec<Arc<str>> {
            names.filter(|name| !name.is_empty()).map(Into::into).collect()
        };
        Canary {
            stable: stable.into(),
            canary: canary.into(),
            ping_pong,
            versions,
            roots: filled(&mut roots.into_iter()),
            istio: routing.istio.map(|istio| istio.read(filled(&mut managed.into_iter()))),
        }
    }
}

impl RolloutIstio {
    fn read(self, managed: Vec<Arc<str>>) -> IstioRouting {
        let named = self.virtual_service.into_iter().chain(self.virtual_services.into_iter().flatten());
        let named = named.filter(|virtual_service| !virtual_service.name.is_empty());
        let subsets =
            self.destination_rule.map(|rule| [rule.stable_subset_name.into(), rule.canary_subset_name.into()]);
        IstioRouting { routes: named.map(RolloutVirtualService::read).collect(), managed, subsets }
    }
}

impl RolloutVirtualService {
    fn read(self) -> RouteRef {
        let sorted = |hosts: Option<Vec<String>>| {
            let mut hosts: Vec<Arc<str>> = hosts.into_iter().flatten().map(Into::into).collect();
            hosts.sort();
            hosts.dedup();
            hosts
        };
        let tls = self.tls_routes.into_iter().flatten();
        let tcp = self.tcp_routes.into_iter().flatten();
        RouteRef {
            name: self.name.into(),
            routes: self.routes.into_iter().flatten().map(Into::into).collect(),
            tls: tls.map(|route| (route.port.unwrap_or(0), sorted(route.sni_hosts))).collect(),
            tcp: tcp.map(|route| route.port.unwrap_or(0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strategy(strategy: Value) -> RolloutStrategy {
        read(&json!({"spec": {"strategy": strategy}})).unwrap().strategy
    }

    fn canary(of: Value) -> Canary {
        match strategy(json!({"canary": of})) {
            RolloutStrategy::Canary(canary) => *canary,
            other => panic!("no canary: {other:?}"),
        }
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn strategies_are_distinguished_and_all_virtual_services_count() {
        assert_eq!(
            strategy(json!({"blueGreen": {"activeService": "active", "previewService": null}})),
            RolloutStrategy::BlueGreen { active: "active".into(), preview: "".into() }
        );
        let istio = json!({"virtualService": {"name": "one", "routes": ["primary"]},
                           "virtualServices": [{"name": "two", "tlsRoutes": [{"port": 443, "sniHosts": ["b", "a", "b"]}],
                                                "tcpRoutes": [{"port": 3000}, {}]}, {"name": ""}],
                           "destinationRule": {"name": "rule", "stableSubsetName": "s", "canarySubsetName": null}});
        let found = canary(json!({"stableService": "stable", "canaryService": "canary", "steps": [{"setWeight": 5}],
                                  "trafficRouting": {"istio": istio, "managedRoutes": [{"name": "set-header"}]}}));
        let expected = Canary {
            stable: "stable".into(),
            canary: "canary".into(),
            versions: names(&["canary", "stable"]),
            istio: Some(IstioRouting {
                routes: vec![
                    RouteRef { name: "one".into(), routes: names(&["primary"]), ..RouteRef::default() },
                    RouteRef {
                        name: "two".into(),
                        tls: vec![(443, names(&["a", "b"]))],
                        tcp: vec![3000, 0],
                        ..RouteRef::default()
                    },
                ],
                managed: names(&["set-header"]),
                subsets: Some(["s".into(), "".into()]),
            }),
            ..Canary::default()
        };
        assert_eq!(found, expected);
        assert_eq!(canary(json!({"trafficRouting": {"nginx": {}, "istio": null}})), Canary::default());
        let roots = canary(json!({"trafficRouting": {"alb": {"rootService": "a"}, "smi": {"rootService": ""}}})).roots;
        assert_eq!(roots, names(&["a"]));
        assert_eq!(strategy(json!({})), RolloutStrategy::Nothing);
        assert_eq!(read(&json!({"spec": null})).unwrap().strategy, RolloutStrategy::Nothing);
    }

    #[test]
    fn the_status_decides_whether_ping_or_pong_is_stable() {
        let pair = |status: Value, mut of: Value| {
            of["pingPong"] = json!({"pingService": "ping", "pongService": "pong"});
            let rollout = read(&json!({"spec": {"strategy": {"canary": of}}, "status": status})).unwrap();
            let RolloutStrategy::Canary(canary) = rollout.strategy else { panic!("no canary") };
            format!("{} {}", canary.stable, canary.canary)
        };
        let says = |word: Value| json!({"canary": {"stablePingPong": word}});
        let istio = || json!({"trafficRouting": {"istio": {}}});
        assert_eq!(pair(says(json!("ping")), istio()), "ping pong");
        assert_eq!(pair(says(json!("pong")), istio()), "pong ping");
        for nothing in [json!(null), json!({}), says(json!(7)), json!("text")] {
            assert_eq!(pair(nothing, istio()), "pong ping");
        }
        let named = |routing: &str| json!({"stableService": "stable", "trafficRouting": {routing: {}}});
        assert_eq!(pair(says(json!("ping")), named("istio")), "stable ", "with Istio the others come first");
        assert_eq!(pair(says(json!("ping")), named("alb")), "ping pong");
    }

    #[test]
    fn the_pod_template_is_a_deployments_or_there_is_a_note() {
        let of = |reference: Value| {
            let rollout = read(&json!({"spec": {"workloadRef": reference}})).unwrap();
            (rollout.template_of, rollout.unread_template)
        };
        assert_eq!(of(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"})), (Some("a".into()), None));
        assert_eq!(of(json!({"kind": "ReplicaSet", "name": "a"})), (None, Some("ReplicaSet a".into())));
    }

    #[test]
    fn a_field_of_another_type_is_reported_with_its_path() {
        let error = read(&json!({"spec": {"strategy": {"canary": {"stableService": 7}}}})).unwrap_err();
        assert_eq!(error.path, "spec.strategy.canary.stableService");
    }
}
