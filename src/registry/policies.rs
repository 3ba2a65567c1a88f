//! Policies that come, change and go.
//!
//! Decides which services a policy concerns, and what is wrong with how it names them; never which policy is in force.

use super::{
    Registry,
    cluster_state::{Effects, policies::PolicyKind},
    identity,
    notes::NoteSource,
};
use crate::{
    config::Settings,
    model::{ClusterName, Note, ObjectId, PolicyObject},
};

impl Registry {
    /// A policy was deleted.
    pub(super) fn remove_policy(&self, cluster: &ClusterName, id: &ObjectId) -> Effects {
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return Effects::default() };
        let services = state.policies.remove(id);
        drop(state);
        services.iter().for_each(|key| self.recount_policies(key, cluster));
        Effects::of_services(self.with_partitions(services))
    }

    /// A policy was added or changed: keeps it, and notes why it is for no service.
    pub(super) fn put_policy<S: PolicyKind>(&self, cluster: &ClusterName, config: PolicyObject<S>) -> Effects {
        let settings: &Settings = &self.settings;
        let id = config.id.clone();
        let (keys, problems) = match config.ignored {
            true => Default::default(),
            false => identity::named(&config, settings),
        };
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return Effects::default() };
        let services = S::of_mut(&mut state.policies).put(config, keys);
        drop(state);
        services.iter().for_each(|key| self.recount_policies(key, cluster));
        let services = if S::COVERS_PARTITIONS { self.with_partitions(services) } else { services };
        let object = id.in_cluster(cluster);
        let note = |(kind, message)| Note { kind, object: object.clone(), service: None, message };
        let notes = problems.into_iter().map(note).collect();
        self.notes.put(NoteSource::Object(cluster.clone(), id), notes);
        Effects::of_services(services)
    }
}
