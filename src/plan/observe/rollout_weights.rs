//! What a VirtualService says of the weights of a canary Rollout: which of its routes Argo changes, and which share each version
//! has there.
//!
//! Reads; never decides which Services count. The rule is Argo's own (Argo Rollouts, `rollout/trafficrouting/istio/istio.go`,
//! `getHttpRouteIndexesToPatch`, `getTlsRouteIndexesToPatch`, `getTcpRouteIndexesToPatch`, `ValidateHTTPRoutes` and its
//! neighbours). All routes that it changes have the same weights, so that the first of them that names the Services says it.

use serde_json::Value;

use super::rollouts::KnownRoutes;
use crate::model::{Canary, IstioRouting, Kind, ObjectId, Route, RouteRef};

/// What the stable and the canary Service of a Rollout are called in messages.
pub(crate) fn fields(canary: &Canary) -> [&'static str; 2] {
    if canary.ping_pong {
        ["stable pingPong Service", "canary pingPong Service"]
    } else {
        ["stableService", "canaryService"]
    }
}

/// The weights of the stable and the canary Service, and what is questionable about where they are read.
pub(crate) fn weights(
    id: &ObjectId,
    canary: &Canary,
    istio: &IstioRouting,
    routes: &KnownRoutes<'_>,
) -> ([u64; 2], Vec<(ObjectId, String)>) {
    let mut questions = Vec::new();
    for reference in &istio.routes {
        let (namespace, name) = reference.at(&id.namespace);
        let Some(route) = (routes.find)(namespace, name) else {
            if routes.listed {
                let message = format!("the VirtualService {namespace}/{name} with its weights does not exist");
                questions.push((id.clone(), message));
            }
            continue;
        };
        let home = Home { namespace: &id.namespace, domain: routes.domain };
        let reader = WeightReader { canary, istio, reference, route: &route, home: &home };
        let of_route = ObjectId::new(Kind::VirtualService, namespace, name);
        match reader.read() {
            Ok((weights, remark)) => return (weights, remark.map(|message| (of_route, message)).into_iter().collect()),
            Err(error) => questions.push((of_route, error.to_string())),
        }
    }
    let [stable_field, _] = fields(canary);
    for (_, message) in &mut questions {
        message.push_str(&format!("; all traffic goes to the {stable_field}"));
    }
    ([1, 0], questions)
}

/// One VirtualService and what the Rollout says of it.
struct WeightReader<'a> {
    canary: &'a Canary,
    istio: &'a IstioRouting,
    reference: &'a RouteRef,
    route: &'a Route,
    home: &'a Home<'a>,
}

/// Why a VirtualService has no weights of a Rollout.
#[derive(Debug, thiserror::Error)]
enum WeightsError {
    #[error("has no route")]
    NoRoute,
    #[error("has no HTTP route with the name that the Rollout gives, {0}")]
    NoNamedRoute(String),
    #[error("has no HTTP route other than the managedRoutes of the Rollout")]
    OnlyManagedRoutes,
    #[error("has {count} {protocol} routes, and the Rollout names none of them")]
    Ambiguous { count: usize, protocol: &'static str },
    #[error("has no {protocol} route that matches what the Rollout names, {wanted}")]
    NoMatch { protocol: &'static str, wanted: String },
    #[error("routes to neither the {stable} nor the {canary}")]
    NoService { stable: String, canary: String },
    #[error("gives neither the {stable} nor the {canary} a weight above 0")]
    NoWeight { stable: &'static str, canary: &'static str },
}

/// A route with weights, and what is questionable about the choice.
type WeightedRule<'a> = (&'a Value, Option<String>);

impl<'a> WeightReader<'a> {
    /// The weights of both Services, or why there are none.
    fn read(&self) -> Result<([u64; 2], Option<String>), WeightsError> {
        let mut problem = None;
        for found in [self.http(), self.tls(), self.tcp()] {
            let weights = found.and_then(|found| {
                let read = |(rule, remark): WeightedRule<'a>| {
                    let (weights, unfollowed) = self.weights_in(rule)?;
                    let remarks: Vec<String> = remark.into_iter().chain(unfollowed).collect();
                    Ok((weights, (!remarks.is_empty()).then(|| remarks.join("; it "))))
                };
                found.map(read).transpose()
            });
            match weights {
                Ok(Some(weights)) => return Ok(weights),
                Ok(None) => {}
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        Err(problem.unwrap_or(WeightsError::NoRoute))
    }

    fn rules(&self, protocol: &str) -> &'a [Value] {
        self.route.spec.get(protocol).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first that is named, else the only one, else the first without a name. What Argo puts there itself does not count.
    fn http(&self) -> Result<Option<WeightedRule<'a>>, WeightsError> {
        let (http, names) = (self.rules("http"), &self.reference.routes);
        let has_name = |http: &Value, name: &str| http.get("name").and_then(Value::as_str) == Some(name);
        if !names.is_empty() {
            let found = names.iter().find_map(|name| http.iter().find(|http| has_name(http, name)));
            let missing = || WeightsError::NoNamedRoute(names.join(" or "));
            return found.map(|found| Some((found, None))).ok_or_else(missing);
        }
        let is_managed = |http: &&Value| self.istio.managed.iter().any(|name| has_name(http, name));
        let others: Vec<&Value> = http.iter().filter(|http| !is_managed(http)).collect();
        let count = others.len();
        let unnamed = |http: &&&Value| http.get("name").and_then(Value::as_str).unwrap_or_default().is_empty();
        match others.as_slice() {
            [] if http.is_empty() => Ok(None),
            [] => Err(WeightsError::OnlyManagedRoutes),
            [only] => Ok(Some((only, None))),
            several => match several.iter().find(unnamed) {
                Some(found) => {
                    let message = format!(
                        "has {count} HTTP routes, of which the Rollout names none: Argo Rollouts refuses that; the weights of the \
                         first one without a name count"
                    );
                    Ok(Some((found, Some(message))))
                }
                None => Err(WeightsError::Ambiguous { count, protocol: "HTTP" }),
            },
        }
    }

    fn tls(&self) -> Result<Option<WeightedRule<'a>>, WeightsError> {
        let wanted: Vec<Matched<'_>> = self
            .reference
            .tls
            .iter()
            .map(|(port, hosts)| (*port, hosts.iter().map(|host| &**host).collect()))
            .collect();
        let shown = || self.reference.tls.iter().map(|(port, hosts)| format!("{port} {}", hosts.join(",")));
        matching(self.rules("tls"), "TLS", &wanted, || shown().map(|text| text.trim().to_owned()).collect())
    }

    fn tcp(&self) -> Result<Option<WeightedRule<'a>>, WeightsError> {
        let wanted: Vec<Matched<'_>> = self.reference.tcp.iter().map(|port| (*port, Vec::new())).collect();
        matching(self.rules("tcp"), "TCP", &wanted, || self.reference.tcp.iter().map(u64::to_string).collect())
    }

    /// The weights of the two Services in a route, and what is said of other destinations with a share: those of experiments (Argo
    /// Rollouts documentation, "Experiments", "Weighted Experiment Step with Traffic Routing"). What it does not name there has
    /// no weight.
    fn weights_in(&self, rule: &Value) -> Result<([u64; 2], Option<String>), WeightsError> {
        let [stable_field, canary_field] = fields(self.canary);
        let Canary { stable, canary, .. } = self.canary;
        let destinations = rule.get("route").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut weights = [0_u64; 2];
        let mut is_named = false;
        let mut others = Vec::new();
        for destination in destinations {
            let Some(at) = self.version_of(destination) else {
                others.extend(share_of_other(destination));
                continue;
            };
            is_named = true;
            // A single destination gets everything, whatever its weight (Istio documentation, `HTTPRouteDestination`).
            let single = destinations.len() == 1;
            let weight = destination.get("weight").and_then(whole_number).unwrap_or(0);
            weights[at] = weights[at].saturating_add(if single { 1 } else { weight });
        }
        match (is_named, weights) {
            (false, _) => Err(WeightsError::NoService {
                stable: format!("{stable_field} {stable}"),
                canary: format!("{canary_field} {canary}"),
            }),
            (true, [0, 0]) => Err(WeightsError::NoWeight { stable: stable_field, canary: canary_field }),
            (true, weights) if others.is_empty() => Ok((weights, None)),
            (true, weights) => {
                let message = format!(
                    "gives a share to {}, which the Rollout names for no version; that share is not followed, and the {stable_field} \
                     and the {canary_field} get all requests in the proportion of their weights",
                    others.join(" and ")
                );
                Ok((weights, Some(message)))
            }
        }
    }

    /// 0 for a destination of the stable version, 1 for one of the canary: by its Service or its subset (Argo Rollouts,
    /// `processRoutes`).
    fn version_of(&self, destination: &Value) -> Option<usize> {
        let text = |field: &str| destination.get("destination")?.get(field)?.as_str();
        let (host, subset) = (text("host").unwrap_or_default(), text("subset").unwrap_or_default());
        let subsets = self.istio.subsets.as_ref();
        let is = |at: usize, service: &str| {
            is_host_of(host, &self.route.id.namespace, service, self.home)
                || subsets.is_some_and(|subsets| !subset.is_empty() && *subsets[at] == *subset)
        };
        [(1, &self.canary.canary), (0, &self.canary.stable)]
            .into_iter()
            .find(|(at, name)| is(*at, name))
            .map(|(at, _)| at)
    }
}

/// A destination with a weight above 0, in words.
fn share_of_other(destination: &Value) -> Option<String> {
    let weight = destination.get("weight").and_then(whole_number).filter(|weight| *weight > 0)?;
    let text = |field: &str| destination.get("destination")?.get(field)?.as_str();
    let subset = text("subset").map_or_else(String::new, |subset| format!(" (subset {subset})"));
    Some(format!("{}{subset} (weight {weight})", text("host").unwrap_or("a destination without a host")))
}

/// Port and SNI hosts of a match, sorted.
type Matched<'a> = (u64, Vec<&'a str>);

/// The first rule of a protocol that matches what is wanted, or the only one where nothing is wanted.
fn matching<'a>(
    rules: &'a [Value],
    protocol: &'static str,
    wanted: &[Matched<'_>],
    shown: impl Fn() -> Vec<String>,
) -> Result<Option<WeightedRule<'a>>, WeightsError> {
    if wanted.is_empty() {
        return match rules {
            [] => Ok(None),
            [only] => Ok(Some((only, None))),
            several => Err(WeightsError::Ambiguous { count: several.len(), protocol }),
        };
    }
    let found = wanted.iter().find_map(|wanted| rules.iter().find(|rule| matched(rule).as_ref() == Some(wanted)));
    found
        .map(|found| Some((found, None)))
        .ok_or_else(|| WeightsError::NoMatch { protocol, wanted: shown().join(" or ") })
}

/// What a rule matches; a rule that matches several ports is none that Argo finds (`searchTlsRoute`, `searchTcpRoute`).
fn matched(rule: &Value) -> Option<Matched<'_>> {
    let matches = rule.get("match").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut ports: Vec<u64> = matches.iter().map(|of| of.get("port").and_then(whole_number).unwrap_or(0)).collect();
    ports.sort_unstable();
    ports.dedup();
    let hosts = matches.iter().filter_map(|of| of.get("sniHosts")?.as_array()).flatten();
    let mut hosts: Vec<&str> = hosts.filter_map(Value::as_str).collect();
    hosts.sort_unstable();
    hosts.dedup();
    match ports.as_slice() {
        [] => Some((0, hosts)),
        [port] => Some((*port, hosts)),
        _ => None,
    }
}

/// A whole number, also one that is written as `70.0`.
fn whole_number(value: &Value) -> Option<u64> {
    let of_float =
        || value.as_f64().filter(|float| float.fract() == 0.0).and_then(|float| format!("{float:.0}").parse().ok());
    value.as_u64().or_else(of_float)
}

/// Where a Rollout is.
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
