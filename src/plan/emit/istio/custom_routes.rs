//! Users' VirtualServices that are merged into the one that routes inside a cluster (Admiral,
//! docs/admiral-behaviour.md#custom-virtualservices).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::{
    istio::{HttpEntry, HttpRoute, RouteDestination},
    model::Route,
    plan::decide::{in_whole_numbers, lcm},
};

/// Unites hosts and routes: first our own for hosts that no user routes, then the users', then the rest of our own, each name
/// once. A user's destination that is a host of the service becomes what our own route has for it.
pub(super) fn merge(own: Vec<HttpRoute>, hosts: &mut Vec<String>, merged: &[Arc<Route>]) -> Vec<HttpEntry> {
    let mut routes: Vec<HttpEntry> = own.into_iter().map(HttpEntry::Route).collect();
    for custom in merged {
        let of_user = custom.spec.get("http").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let routed: BTreeSet<String> = custom.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let before = std::mem::take(&mut routes);
        let is_routed = |route: &HttpEntry| {
            hosts.iter().any(|host| routed.contains(&host.to_ascii_lowercase()) && is_for(route, host))
        };
        let (rest, first): (Vec<HttpEntry>, Vec<HttpEntry>) = before.iter().cloned().partition(is_routed);
        routes.extend(first);
        routes.extend(of_user.iter().map(|route| HttpEntry::OfUser(expanded(route, &before))));
        let names: BTreeSet<String> = routes.iter().filter_map(name_of).map(str::to_owned).collect();
        routes.extend(rest.into_iter().filter(|route| name_of(route).is_none_or(|name| !names.contains(name))));
        let more = custom.hosts.iter().filter(|host| !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)));
        let more: Vec<String> = more.cloned().collect();
        hosts.extend(more);
    }
    routes
}

fn name_of(route: &HttpEntry) -> Option<&str> {
    match route {
        HttpEntry::Route(route) => route.name.as_deref(),
        HttpEntry::OfUser(route) => route.get("name").and_then(Value::as_str),
    }
}

/// Whether a route is for a host: for its main port, or for a further one.
fn is_for(route: &HttpEntry, host: &str) -> bool {
    name_of(route).and_then(|name| name.strip_prefix(host)).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The destinations of a route.
fn destinations_of(route: &HttpEntry) -> Option<Vec<Value>> {
    match route {
        HttpEntry::Route(route) => Some(route.route.iter().map(value).collect()),
        HttpEntry::OfUser(route) => route.get("route").and_then(Value::as_array).cloned(),
    }
}

fn value(destination: &RouteDestination) -> Value {
    serde_json::to_value(destination).expect("a destination is plain data with text keys")
}

/// A user's route with the destinations of `routes` in place of the hosts of the service.
fn expanded(route: &Value, routes: &[HttpEntry]) -> Value {
    let mut route = route.clone();
    let Some(destinations) = route.get("route").and_then(Value::as_array).cloned() else { return route };
    let several = destinations.len() > 1;
    let groups: Vec<Group> = destinations
        .into_iter()
        .map(|destination| {
            let host = destination.pointer("/destination/host").and_then(Value::as_str).unwrap_or_default();
            let is_of_host = |route: &&HttpEntry| name_of(route).is_some_and(|name| name.eq_ignore_ascii_case(host));
            let local = routes.iter().find(is_of_host).and_then(destinations_of);
            let weight = weight_of(&destination).unwrap_or(if several { 0 } else { 100 });
            Group { is_local: local.is_some(), destinations: local.unwrap_or_else(|| vec![destination]), weight }
        })
        .collect();
    route["route"] = Value::Array(weighted(groups));
    route
}

/// The destinations that replace one of a user's route, which share its weight.
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
        weights = in_whole_numbers(weights).into_iter().map(u64::from).collect();
    }
    let destinations = groups.into_iter().flat_map(|group| {
        let is_local = group.is_local;
        group.destinations.into_iter().map(move |destination| (is_local, destination))
    });
    let each = destinations.zip(weights).map(|((is_local, mut destination), weight)| {
        if is_local || weight_of(&destination).is_some() {
            destination["weight"] = Value::from(weight);
        }
        destination
    });
    each.collect()
}

fn weight_of(destination: &Value) -> Option<u64> {
    destination.get("weight").and_then(Value::as_u64)
}
