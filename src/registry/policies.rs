//! Policies that come, change and go.
//!
//! Decides which services a policy concerns, and what is wrong with how it names them; never which policy is in force.

use super::{
    Registry,
    cluster_state::{Effects, policies::PolicyKind},
    identity,
    notes::NoteSource,
    partition,
};
use crate::{
    config::Settings,
    model::{ClusterName, Note, ObjectId, PolicyObject},
};

/// A policy was deleted.
pub(super) fn remove_policy(registry: &Registry, cluster: &ClusterName, id: &ObjectId) -> Effects {
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return Effects::default() };
    let services = state.policies.remove(id);
    drop(state);
    services.iter().for_each(|key| registry.index.refresh_policies(&registry.fleet, key, cluster));
    Effects::of_services(partition::with_partitions(registry, services))
}

/// A policy was added or changed: keeps it, and notes why it is for no service.
pub(super) fn put_policy<S: PolicyKind>(
    registry: &Registry,
    cluster: &ClusterName,
    config: PolicyObject<S>,
) -> Effects {
    let settings: &Settings = &registry.settings;
    let id = config.id.clone();
    let (keys, problems) = match config.ignored {
        true => Default::default(),
        false => identity::named(&config, settings),
    };
    let Some(mut state) = registry.fleet.get_mut(cluster) else { return Effects::default() };
    let services = S::of_mut(&mut state.policies).put(config, keys);
    drop(state);
    services.iter().for_each(|key| registry.index.refresh_policies(&registry.fleet, key, cluster));
    let services = if S::COVERS_PARTITIONS { partition::with_partitions(registry, services) } else { services };
    let object = id.in_cluster(cluster);
    let note = |(kind, message)| Note { kind, object: object.clone(), service: None, message };
    let notes = problems.into_iter().map(note).collect();
    registry.notes.put(NoteSource::Object(cluster.clone(), id), notes);
    Effects::of_services(services)
}
