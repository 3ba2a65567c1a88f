//! What a change in one cluster means for the units of all clusters: one function per effect.
//!
//! Decides which units are planned again and which notes are reviewed; never what is planned.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry, absence,
    cluster_state::{Effects, topology::TopologyChange},
    control_planes,
    dirty::{self, Trigger},
    host_overrides, networks, notes, partition, propagation, queries, routing_inputs, topology_notes,
};
use crate::{
    config::Propagate,
    model::{ClusterName, Identity, ServiceKey, WorkKey},
};

type Units = BTreeSet<WorkKey>;

fn services(keys: impl IntoIterator<Item = ServiceKey>) -> impl Iterator<Item = WorkKey> {
    keys.into_iter().map(WorkKey::Service)
}

/// Brings the indexes and notes in line with what changed in one cluster, and marks the units that it concerns.
pub(super) fn propagate_effects(registry: &Registry, cluster: &ClusterName, effects: Effects, trigger: &Trigger) {
    refresh_indexes(registry, cluster, &effects);
    review_notes(registry, cluster, &effects);
    if !registry.startup.has_started() {
        // Everything is planned, and every Dependency reviewed, when the fleet has been read.
        return;
    }
    networks::touch_pods(registry, cluster, effects.pods, trigger);
    review_served(registry, &effects.served);
    let mut units = of_services(registry, &effects.services);
    units.extend(of_identities(registry, effects.identities.iter().map(|(identity, _)| identity)));
    units.extend(of_topology(registry, cluster, effects.topology));
    units.extend(of_namespaces(registry, cluster, &effects.sidecars));
    units.extend(of_hosts(registry, effects.hosts));
    units.extend(propagation::hosts_ending_with(registry, &effects.namespaces).into_iter().map(WorkKey::Host));
    units.extend(routing_inputs::routed_units(registry, &effects.routed));
    units.extend(host_overrides::overridden_services(registry, &effects.overridden));
    dirty::mark_for(registry, units, trigger);
}

fn refresh_indexes(registry: &Registry, cluster: &ClusterName, effects: &Effects) {
    for key in &effects.services {
        registry.index.refresh_service(&registry.fleet, key, cluster);
    }
    for (identity, _) in &effects.identities {
        registry.index.refresh_identity(&registry.fleet, identity, cluster);
    }
}

fn review_notes(registry: &Registry, cluster: &ClusterName, effects: &Effects) {
    if effects.topology.any {
        topology_notes::note_topology(registry, cluster);
    }
    if effects.topology.network {
        networks::note_networks(registry);
    }
    if effects.topology.control_planes {
        control_planes::refresh(registry, cluster);
    }
    for id in &effects.noted {
        notes::note_workload(registry, cluster, id);
    }
}

/// The Dependencies that name a service which began or ceased to run somewhere are reviewed.
fn review_served(registry: &Registry, served: &BTreeSet<ServiceKey>) {
    if !served.is_empty() {
        let dependencies = registry.dependencies.read();
        let naming = served.iter().flat_map(|key| dependencies.naming(&key.identity));
        registry.dependencies.review_again(naming.cloned());
    }
}

/// Services that changed, with those whose plans depend on them.
fn of_services(registry: &Registry, changed: &BTreeSet<ServiceKey>) -> Units {
    let mut units: Units = services(changed.iter().cloned()).collect();
    units.extend(services(changed.iter().flat_map(|key| partition::named_without_partition(registry, key))));
    units.extend(services(changed.iter().filter_map(|key| propagation::additional_rival_of(registry, key))));
    if registry.settings.enable_routing_policy {
        // Filters choose pods by the identity as their workloads write it.
        let dependencies = registry.dependencies.read();
        for destination in changed.iter().flat_map(|key| dependencies.destinations_of(&key.identity)) {
            units.extend(services(routing_inputs::routing_policy_keys(registry, Some(&destination))));
        }
    }
    units
}

/// Identities that began or ceased to run in a namespace: what they serve, and what they call.
fn of_identities<'a>(registry: &Registry, identities: impl Iterator<Item = &'a Identity>) -> Units {
    let mut units = Units::new();
    for identity in identities {
        units.extend(services(queries::keys_of(registry, identity)));
        units.extend(services(routing_inputs::routing_policy_keys(registry, Some(identity))));
        let dependencies = registry.dependencies.read();
        let naming = dependencies.naming(identity).chain(dependencies.idle_like(identity));
        registry.dependencies.review_again(naming.cloned());
        for destination in dependencies.destinations_of(identity) {
            units.extend(services(queries::keys_of(registry, &destination)));
        }
        // Whose routes for its hosts count depends on who runs the destination.
        for proxy in dependencies.proxies.before(identity) {
            units.extend(services(queries::keys_of(registry, proxy)));
        }
    }
    units
}

/// What the place of a cluster decides: how others reach its endpoints, and how its clients reach those of others.
fn of_topology(registry: &Registry, cluster: &ClusterName, change: TopologyChange) -> Units {
    let mut units = Units::new();
    if change.endpoints {
        units.extend(services(queries::keys_running_in(registry, cluster)));
        units.extend(services(absence::keys_absent_from(registry, cluster)));
    }
    if change.domain {
        // Of other clusters, too: nobody's routes for a domain of Services are copied.
        units.extend(of_hosts(registry, registry.queries().routed_hosts()));
    }
    if change.clients {
        units.extend(services(queries::keys_for(registry, cluster)));
    }
    units
}

/// Namespaces in which workloads came or went: their rules and Sidecars.
fn of_namespaces(registry: &Registry, cluster: &ClusterName, namespaces: &BTreeSet<Arc<str>>) -> Units {
    let mut units = Units::from_iter(routing_inputs::moved_namespaces(registry, cluster, namespaces));
    let sidecars = namespaces.iter().flat_map(|namespace| control_planes::sidecars_of(registry, cluster, namespace));
    units.extend(sidecars);
    units
}

/// Hosts for which users' routes changed: the copies of these.
fn of_hosts(registry: &Registry, hosts: BTreeSet<Arc<str>>) -> Units {
    if registry.settings.propagate == Propagate::Off {
        return Units::new();
    }
    hosts.into_iter().map(WorkKey::Host).collect()
}
