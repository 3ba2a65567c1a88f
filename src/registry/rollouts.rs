//! Which Services count for an Argo Rollout, and which part of its traffic each gets (reference behaviour §5, second table,
//! with its zero weights and host names repaired).
//!
//! Decides by the Rollout's strategy, the Services that select its pods and the VirtualService that holds its weights.
//! It never decides what the weights mean beside a traffic policy.

use std::sync::Arc;

use serde_json::Value;

use super::{portion::Portion, snapshot::BackendPort};
use crate::model::{Kind, LocalService, ObjectId, Rollout, RolloutStrategy, Route, RouteRef};

/// Part of a Service's name by which the active one is found where none is named.
const ACTIVE: &str = "active-service";
/// Parts of a Service's name by which the one of a canary without Istio is found, in this order.
const OF_CANARY: [&str; 2] = ["root-service", "stable-service"];

/// A Service that selects the Rollout's pods and can be published.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) service: &'a LocalService,
    pub(super) ports: Vec<BackendPort>,
}

impl Candidate<'_> {
    fn name(&self) -> &str {
        &self.service.id.name
    }
}

/// The Services that count.
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    /// Those behind the default host, each with its part of the Rollout's traffic.
    pub(super) default: Vec<(&'a Candidate<'a>, Portion)>,
    /// The one behind the preview host.
    pub(super) preview: Option<&'a Candidate<'a>>,
    /// The one behind the canary host.
    pub(super) canary: Option<&'a Candidate<'a>>,
    /// Why the default host has none.
    pub(super) missing: Option<String>,
    /// What is questionable about the Rollout or the VirtualService with its weights.
    pub(super) questions: Vec<(ObjectId, String)>,
}

impl<'a> Chosen<'a> {
    fn only(candidate: Option<&'a Candidate<'a>>, otherwise: impl FnOnce() -> String) -> Self {
        Chosen {
            missing: candidate.is_none().then(otherwise),
            default: candidate.map(|candidate| (candidate, Portion::WHOLE)).into_iter().collect(),
            ..Chosen::default()
        }
    }
}

/// The VirtualServices of the cluster, as far as they can be read.
pub(super) struct KnownRoutes<'a> {
    /// Finds one by namespace and name.
    pub(super) find: &'a dyn Fn(&str, &str) -> Option<Arc<Route>>,
    /// Whether they were listed: what is missing then does not exist.
    pub(super) listed: bool,
    /// What the cluster's own names end with.
    pub(super) domain: &'a str,
}

/// The Services of a Rollout. `candidates` are those that select its pods, the newest first.
pub(super) fn choose<'a>(
    id: &ObjectId,
    rollout: &Rollout,
    candidates: &'a [Candidate<'a>],
    routes: &KnownRoutes<'_>,
) -> Chosen<'a> {
    let named = |name: &str| candidates.iter().find(|candidate| candidate.name() == name);
    let like = |part: &str| candidates.iter().find(|candidate| candidate.name().contains(part));
    let unfit = |field: &str, name: &str| format!("its {field} {name} is no Service that selects its pods");
    let generic = || Chosen::only(candidates.first(), || "no Service selects its pods".to_owned());
    match &rollout.strategy {
        RolloutStrategy::Nothing => {
            Chosen::only(None, || "it has neither the strategy blueGreen nor the strategy canary".to_owned())
        }
        RolloutStrategy::BlueGreen { active, preview } => {
            let mut chosen = if active.is_empty() {
                Chosen::only(like(ACTIVE), || {
                    format!("it names no activeService, and no Service that selects its pods is named like {ACTIVE}")
                })
            } else {
                Chosen::only(named(active), || unfit("activeService", active))
            };
            if !preview.is_empty() {
                chosen.preview = named(preview);
                if chosen.preview.is_none() {
                    let message = format!("{}; it has no preview host", unfit("previewService", preview));
                    chosen.questions.push((id.clone(), message));
                }
            }
            chosen
        }
        RolloutStrategy::Canary { istio: None, .. } => match OF_CANARY.into_iter().find_map(like) {
            Some(candidate) => Chosen::only(Some(candidate), String::new),
            None => generic(),
        },
        RolloutStrategy::Canary { stable, canary, istio: Some(_) } => {
            let mut chosen = match (stable.as_ref(), canary.as_ref()) {
                ("", _) => generic(),
                (stable, "") => match named(stable) {
                    Some(candidate) => Chosen::only(Some(candidate), String::new),
                    None => generic(),
                },
                (stable, canary) => {
                    let (weights, mut questions) = weights(id, rollout, [stable, canary], routes);
                    let kept = [("stableService", stable), ("canaryService", canary)].into_iter().zip(weights);
                    let kept: Vec<_> = kept.filter(|(_, weight)| *weight > 0).collect();
                    let found: Vec<_> =
                        kept.iter().filter_map(|((_, name), weight)| Some((named(name)?, *weight))).collect();
                    if !found.is_empty() && kept.len() > found.len() && named(stable).is_none() {
                        let message =
                            format!("{}; all traffic goes to the canaryService", unfit("stableService", stable));
                        questions.push((id.clone(), message));
                    }
                    let portions = Portion::of_weights(found.iter().map(|(_, weight)| *weight));
                    Chosen {
                        missing: found.is_empty().then(|| {
                            let unfit = kept.iter().map(|((field, name), _)| unfit(field, name));
                            unfit.collect::<Vec<_>>().join(", and ")
                        }),
                        default: found.iter().map(|(candidate, _)| *candidate).zip(portions).collect(),
                        questions,
                        ..Chosen::default()
                    }
                }
            };
            if !canary.is_empty() {
                chosen.canary = named(canary);
                if chosen.canary.is_none() {
                    let message = format!("{}; it has no canary host", unfit("canaryService", canary));
                    chosen.questions.push((id.clone(), message));
                }
            }
            chosen
        }
    }
}

/// The weights of the stable and the canary Service, and what is questionable about where they stand.
fn weights(
    id: &ObjectId,
    rollout: &Rollout,
    services: [&str; 2],
    routes: &KnownRoutes<'_>,
) -> ([u64; 2], Vec<(ObjectId, String)>) {
    let mut questions = Vec::new();
    for reference in rollout.routes() {
        let (namespace, name) = reference.at(&id.namespace);
        let Some(route) = (routes.find)(namespace, name) else {
            if routes.listed {
                let message = format!("the VirtualService {namespace}/{name} with its weights does not exist");
                questions.push((id.clone(), message));
            }
            continue;
        };
        let home = Home { namespace: &id.namespace, domain: routes.domain };
        match of_route(&route, reference, services, &home) {
            Ok(weights) => return (weights, Vec::new()),
            Err(message) => questions.push((ObjectId::new(Kind::VirtualService, namespace, name), message)),
        }
    }
    for (_, message) in &mut questions {
        message.push_str("; all traffic goes to the stableService");
    }
    ([1, 0], questions)
}

/// The weights of two Services in a VirtualService. What it does not name there has none.
fn of_route(route: &Route, reference: &RouteRef, services: [&str; 2], home: &Home<'_>) -> Result<[u64; 2], String> {
    let http = route.spec.get("http").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let name_of = |http: &&Value, name: &Arc<str>| http.get("name").and_then(Value::as_str) == Some(name);
    let found = if reference.routes.is_empty() {
        match http {
            [only] => only,
            _ => return Err(format!("has {} HTTP routes, and the Rollout names none of them", http.len())),
        }
    } else {
        let mut names = reference.routes.iter();
        names.find_map(|name| http.iter().find(|http| name_of(http, name))).ok_or_else(|| {
            format!("has no HTTP route with the name that the Rollout gives, {}", reference.routes.join(" or "))
        })?
    };
    let destinations = found.get("route").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut weights = [0_u64; 2];
    let mut named = false;
    for destination in destinations {
        let host = destination.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
        let Some(at) = services.iter().position(|name| is_host_of(host, &route.id.namespace, name, home)) else {
            continue;
        };
        named = true;
        // A single destination gets everything, whatever its weight (Istio documentation, `HTTPRouteDestination`).
        let single = destinations.len() == 1;
        let weight = destination.get("weight").and_then(Value::as_u64).unwrap_or(0);
        weights[at] = weights[at].saturating_add(if single { 1 } else { weight });
    }
    match (named, weights) {
        (false, _) => {
            Err(format!("routes to neither the stableService {} nor the canaryService {}", services[0], services[1]))
        }
        (true, [0, 0]) => Err("gives neither the stableService nor the canaryService a weight above 0".to_owned()),
        (true, weights) => Ok(weights),
    }
}

/// Where a Rollout stands.
struct Home<'a> {
    namespace: &'a str,
    /// What the names of its cluster end with.
    domain: &'a str,
}

/// Whether a host in a VirtualService of namespace `written_in` is the Service `name` at `home`.
fn is_host_of(host: &str, written_in: &str, name: &str, home: &Home<'_>) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some(rest) = host.strip_prefix(name) else { return false };
    if rest.is_empty() {
        return written_in == home.namespace;
    }
    let of = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(home.namespace));
    of.is_some_and(|of| of.is_empty() || of == ".svc" || of.strip_prefix(".svc.") == Some(home.domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_every_form_of_its_host() {
        let home = Home { namespace: "team", domain: "cluster.local" };
        let is = |host: &str| is_host_of(host, "team", "pay", &home);
        for host in
            ["pay", "pay.", "pay.team", "pay.team.svc", "pay.team.svc.cluster.local", "pay.team.svc.cluster.local."]
        {
            assert!(is(host), "{host}");
        }
        for host in
            ["", "pa", "pay-canary", "pay.other", "pay.team.svc.cluster", "pay.teams", "pay..", "pay.team.global"]
        {
            assert!(!is(host), "{host}");
        }
        assert!(!is_host_of("pay", "routes", "pay", &home), "a short name is of the VirtualService's namespace");
        assert!(is_host_of("pay.team", "routes", "pay", &home));
        let home = Home { namespace: "team", domain: "mesh.example" };
        assert!(is_host_of("pay.team.svc.mesh.example", "team", "pay", &home));
        assert!(!is_host_of("pay.team.svc.cluster.local", "team", "pay", &home), "Istio knows no such name there");
    }
}
