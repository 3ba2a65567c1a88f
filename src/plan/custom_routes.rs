//! Users' VirtualServices of the sync namespace that are merged into those that route inside a cluster (Admiral,
//! docs/admiral-behaviour.md#custom-virtualservices).
//!
//! Decides how hosts and routes are united; never whether a cluster routes inside itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{PlanContext, endpoints::lcm, weights};
use crate::{
    istio::keys,
    model::{ClusterName, Note, NoteKind, Route},
};

/// Between the environments for which one VirtualService was made.
const BETWEEN_ENVIRONMENTS: char = '_';

/// Those of a cluster that are for the environment of the service.
pub(super) fn of<'a>(decided: &'a PlanContext<'_>, cluster: &'a ClusterName) -> impl Iterator<Item = &'a Route> {
    let environment = decided.snapshot.key.environment.as_str();
    let is_for = move |route: &&Route| {
        let environments = route.annotations.get(keys::CREATED_FOR_ENV).into_iter();
        environments.flat_map(|of| of.split(BETWEEN_ENVIRONMENTS)).any(|of| of.eq_ignore_ascii_case(environment))
    };
    let here = decided.snapshot.routing.custom.iter().filter(move |(of, _)| of == cluster);
    here.map(|(_, route)| &**route).filter(is_for)
}

/// Unites hosts and routes: first ours for hosts that no user routes, then the users', then the rest of ours, each name once.
/// A user's destination that is a host of the service becomes what our route has for it.
pub(super) fn merge(
    decided: &PlanContext<'_>,
    cluster: &ClusterName,
    hosts: &mut Vec<String>,
    routes: &mut Vec<Value>,
) -> Vec<Note> {
    let mut problems = Vec::new();
    for custom in of(decided, cluster) {
        let Some(theirs) = custom.spec.get("http").and_then(Value::as_array).filter(|http| !http.is_empty()) else {
            problems.push(Note {
                kind: NoteKind::PolicyQuestionable,
                object: custom.id.in_cluster(cluster),
                service: Some(decided.snapshot.key.clone()),
                message: "has no http routes to merge; it is ignored".into(),
            });
            continue;
        };
        let routed: BTreeSet<String> = custom.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let ours = std::mem::take(routes);
        let is_theirs =
            |route: &Value| hosts.iter().any(|host| routed.contains(&host.to_ascii_lowercase()) && is_for(route, host));
        let (rest, first): (Vec<Value>, Vec<Value>) = ours.iter().cloned().partition(is_theirs);
        routes.extend(first);
        routes.extend(theirs.iter().map(|route| expanded(route, &ours)));
        let names: BTreeSet<String> = routes.iter().filter_map(name_of).map(str::to_owned).collect();
        routes.extend(rest.into_iter().filter(|route| name_of(route).is_none_or(|name| !names.contains(name))));
        let more = custom.hosts.iter().filter(|host| !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)));
        let more: Vec<String> = more.cloned().collect();
        hosts.extend(more);
    }
    problems
}

fn name_of(route: &Value) -> Option<&str> {
    route.get("name").and_then(Value::as_str)
}

/// Whether a route of ours is for a host: for its main port, or for a further one.
fn is_for(route: &Value, host: &str) -> bool {
    name_of(route).and_then(|name| name.strip_prefix(host)).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A user's route with our destinations in place of the hosts of the service.
fn expanded(route: &Value, ours: &[Value]) -> Value {
    let mut route = route.clone();
    let Some(destinations) = route.get("route").and_then(Value::as_array).cloned() else { return route };
    let several = destinations.len() > 1;
    let groups: Vec<Group> = destinations
        .into_iter()
        .map(|destination| {
            let host = destination.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
            let local = ours.iter().find(|ours| name_of(ours).is_some_and(|name| name.eq_ignore_ascii_case(host)));
            let local = local.and_then(|ours| ours["route"].as_array()).cloned();
            let weight = weight_of(&destination).unwrap_or(if several { 0 } else { 100 });
            Group { is_local: local.is_some(), destinations: local.unwrap_or_else(|| vec![destination]), weight }
        })
        .collect();
    route["route"] = Value::Array(weighted(groups));
    route
}

/// The destinations that stand for one of a user's route, which share its weight.
struct Group {
    is_local: bool,
    destinations: Vec<Value>,
    weight: u64,
}

impl Group {
    /// What the weights of its destinations are parts of.
    fn sum(&self) -> u64 {
        let weights = self.destinations.iter().map(|destination| weight_of(destination).unwrap_or(100));
        if self.is_local { weights.sum::<u64>().max(1) } else { 1 }
    }

    /// The weights of its destinations, each multiplied by as much.
    fn weights(&self, by: u64) -> impl Iterator<Item = u64> {
        let sum = self.sum();
        let part = move |destination: &Value| {
            let own = if self.is_local { weight_of(destination).unwrap_or(100) } else { 1 };
            u64::try_from(u128::from(self.weight) * u128::from(own) * u128::from(by) / u128::from(sum))
        };
        self.destinations.iter().map(move |destination| part(destination).unwrap_or(u64::MAX))
    }
}

/// Destinations whose weights share what their group has: as they are where that is a whole number for each.
fn weighted(groups: Vec<Group>) -> Vec<Value> {
    let is_whole = groups.iter().all(|group| {
        let sum = group.sum();
        group.weights(sum).all(|weight| weight % sum == 0)
    });
    let common = groups.iter().try_fold(1, |common, group| lcm(common, group.sum())).filter(|_| !is_whole);
    let mut weights: Vec<u64> = groups.iter().flat_map(|group| group.weights(common.unwrap_or(1))).collect();
    if common.is_some() {
        weights = weights::in_whole_numbers(weights).into_iter().map(u64::from).collect();
    }
    let destinations = groups.into_iter().flat_map(|group| {
        let is_local = group.is_local;
        group.destinations.into_iter().map(move |destination| (is_local, destination))
    });
    let each = destinations.zip(weights).map(|((is_local, mut destination), weight)| {
        if is_local || weight_of(&destination).is_some() {
            destination["weight"] = json!(weight);
        }
        destination
    });
    each.collect()
}

fn weight_of(destination: &Value) -> Option<u64> {
    destination.get("weight").and_then(Value::as_u64)
}
