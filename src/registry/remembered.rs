//! What the written objects of a service remember of earlier plans, and whom a host belongs to by name.
//!
//! Decides nothing that is written: planning starts from what is remembered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Registry;
use crate::{
    istio::Owner,
    model::{ClusterName, Host, Kind, ObjectId, ServiceKey},
    plan::input::Remembered,
};

/// What the objects of a service remember, in all clusters. Where the objects differ, what most of them say counts.
/// `plain` is the key without partition.
pub(super) fn remembered(
    registry: &Registry,
    written_in: &[ClusterName],
    key: &ServiceKey,
    plain: &ServiceKey,
    keep_case: bool,
) -> Remembered {
    let mut votes: BTreeMap<Host, BTreeMap<Arc<str>, usize>> = BTreeMap::new();
    let (mut subject_names, mut policy_regions) = (BTreeSet::new(), BTreeMap::<Host, BTreeSet<Arc<str>>>::new());
    for cluster in written_in {
        let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        for written in written {
            let names = written.recalled.subject_names.iter();
            subject_names.extend(names.filter(|name| may_stay(registry, plain, name)).cloned());
            let Some(host) = written.host.as_deref().and_then(|host| Host::parse(host).ok()) else { continue };
            if let Some(region) = written.recalled.policy_region.clone() {
                policy_regions.entry(host.clone()).or_default().insert(region);
            }
            if let Some(region) = written.recalled.primary.clone() {
                *votes.entry(host).or_default().entry(region).or_default() += 1;
            }
        }
    }
    if votes.is_empty() && registry.settings.enable_active_passive && registry.settings.adopt_admiral {
        of_admiral(registry, plain, keep_case, &mut votes);
    }
    let most = |votes: BTreeMap<Arc<str>, usize>| {
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(region, _)| region)
    };
    let primaries = votes.into_iter().filter_map(|(host, votes)| Some((host, most(votes)?))).collect();
    Remembered { primaries, policy_regions, subject_names }
}

/// Whether a subject name may stay: no claim keeps its account from running the service.
fn may_stay(registry: &Registry, plain: &ServiceKey, name: &str) -> bool {
    let mut parts = name.rsplit('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(account), Some("sa"), Some(namespace), Some("ns")) => {
            registry.fleet.owners.lets_stay(plain, namespace, account)
        }
        _ => true,
    }
}

/// Admiral's DestinationRules name no service: they are found by the name for the default host.
fn of_admiral(
    registry: &Registry,
    key: &ServiceKey,
    keep_case: bool,
    votes: &mut BTreeMap<Host, BTreeMap<Arc<str>, usize>>,
) {
    let Ok(host) = Host::of_service(key, &registry.settings.hostname_suffix, keep_case) else { return };
    let name = host.destination_rule_name(true);
    let id = ObjectId::new(Kind::DestinationRule, &registry.settings.sync_namespace, &name);
    for state in registry.fleet.iter() {
        let written = state.outputs.get(&id).filter(|written| written.owner == Owner::Admiral);
        if let Some(region) = written.and_then(|written| written.recalled.primary.clone()) {
            *votes.entry(host.clone()).or_default().entry(region).or_default() += 1;
        }
    }
}

/// Of a host that two services ask for from nothing, the one whose default host it is has it before one that has a
/// prefix for it; so that it does not matter who is planned first. Who holds a host keeps it.
pub(super) fn yield_to_owners(registry: &Registry, key: &ServiceKey, hosts: &[Host]) {
    for host in hosts.iter().skip(1) {
        if let Some(owner) = owner_by_name(registry, host).filter(|owner| owner != key) {
            registry.hosts.lock().reserve(host, &owner);
        }
    }
}

/// The service that is published somewhere and has this default host.
fn owner_by_name(registry: &Registry, host: &Host) -> Option<ServiceKey> {
    let text = host.as_str();
    let name = text.strip_suffix(&registry.settings.hostname_suffix)?.strip_suffix('.')?;
    name.match_indices('.').find_map(|(at, _)| {
        let key = ServiceKey::parse(&name[at + 1..], &name[..at]).ok()?;
        let clusters = registry.index.clusters_of.of(&key);
        let publishes = |cluster: &ClusterName| {
            registry
                .fleet
                .get(cluster)
                .is_some_and(|state| !state.freshness.is_loading() && state.backends(&key, &[]).all().next().is_some())
        };
        clusters.iter().any(publishes).then_some(key)
    })
}
