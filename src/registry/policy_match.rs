//! Which policies match a service, and which were in force when its objects were written.
//!
//! Every kind of policy matches by the same rules. Decides what matches; never which of several is in force.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry,
    policies::{Kept, Policies},
};
use crate::{
    model::{ClusterName, Kind, Note, NoteKind, ObjectPath, PolicyObject, ServiceKey},
    plan::input::Matching,
};

/// Kind and `cluster/namespace/name` of a policy by which something was written.
pub(super) type InForce = BTreeSet<ObjectPath>;

/// A service as policies may name it.
pub(super) struct Named<'a> {
    key: &'a ServiceKey,
    /// Its key without partition.
    plain: &'a ServiceKey,
    /// Clusters whose policies name it.
    clusters: BTreeSet<ClusterName>,
}

impl Registry {
    /// A service as policies may name it; `plain` is its key without partition.
    pub(super) fn named<'a>(&self, key: &'a ServiceKey, plain: &'a ServiceKey) -> Named<'a> {
        let clusters = [key, plain].map(|key| self.named.of(key));
        Named { key, plain, clusters: clusters.iter().flat_map(|clusters| clusters.iter()).cloned().collect() }
    }

    /// The policies of one kind that match a service: those in a namespace that runs it (Admiral,
    /// docs/admiral-behaviour.md#policies). Those in other namespaces are noted.
    pub(super) fn matching<S: Kept>(
        &self,
        &Named { key, plain, ref clusters }: &Named<'_>,
        in_force: &InForce,
        notes: &mut Vec<Note>,
    ) -> Matching<S> {
        let mut matching = Vec::new();
        for cluster_state in clusters.iter().filter_map(|cluster| self.cluster_states.get(cluster)) {
            // Half a picture does not tell which policies are at home; those in force are waited for.
            if cluster_state.is_loading() {
                continue;
            }
            for (config, is_for_partitions) in naming_in::<S>(&cluster_state.policies, key, plain) {
                // Where the workloads beside it cannot be read, a policy that was in force stays so.
                let stays = || {
                    !cluster_state.knows_workloads() && in_force.contains(&config.id.in_cluster(cluster_state.name()))
                };
                let covers = || {
                    let is_home = |partition: &ServiceKey| cluster_state.is_home(partition, &config.id.namespace);
                    is_for_partitions || S::COVERS_PARTITIONS && cluster_state.partitions_of(key).iter().any(is_home)
                };
                if cluster_state.is_home(key, &config.id.namespace) || stays() {
                    matching.push((cluster_state.name().clone(), config.clone()));
                } else if !covers() {
                    let (kind, message) = if cluster_state.has_read_workloads() {
                        let message = format!("no workload of {key} runs in its namespace; it has no effect");
                        (NoteKind::PolicyUnmatched, message)
                    } else {
                        let message = format!(
                            "whether a workload of {key} runs in its namespace is not known, because what runs in {} cannot \
                             be read; it has no effect until then",
                            cluster_state.name()
                        );
                        (NoteKind::WorkloadsUnknown, message)
                    };
                    let object = config.id.in_cluster(cluster_state.name());
                    notes.push(Note { kind, object, service: Some(key.clone()), message });
                }
            }
        }
        sorted(matching)
    }

    /// The policies of one kind that name a service, wherever they stand.
    pub(super) fn naming<S: Kept>(&self, &Named { key, plain, ref clusters }: &Named<'_>) -> Matching<S> {
        let mut naming = Vec::new();
        let cluster_states = clusters.iter().filter_map(|cluster| self.cluster_states.get(cluster));
        for cluster_state in cluster_states.filter(|cluster_state| !cluster_state.is_loading()) {
            let configs = naming_in::<S>(&cluster_state.policies, key, plain);
            naming.extend(configs.map(|(config, _)| (cluster_state.name().clone(), config.clone())));
        }
        sorted(naming)
    }

    /// The policies by which the service's objects were written.
    pub(super) fn policies_in_force(&self, standing: &[ClusterName], key: &ServiceKey) -> InForce {
        let mut policies = BTreeSet::new();
        for cluster in standing {
            let written = self
                .cluster_states
                .get(cluster)
                .map(|cluster_state| cluster_state.outputs().of(key))
                .unwrap_or_default();
            for written in written {
                // Filters stay by themselves where their policy cannot be read.
                policies.extend(written.policies.iter().filter(|path| path.kind != Kind::RoutingPolicy).cloned());
            }
        }
        policies
    }

    /// A policy in force, where its cluster's policies of that kind cannot be read or are not wholly read yet.
    pub(super) fn unreadable_policy(&self, in_force: &InForce) -> Option<ObjectPath> {
        let is_unknown = |policy: &&ObjectPath| {
            let kind = policy.kind.observed();
            let cluster_state = self.cluster_states.get(&policy.cluster);
            cluster_state.zip(kind).is_some_and(|(state, kind)| state.is_loading() || !state.knows(kind))
        };
        in_force.iter().filter(is_unknown).min_by_key(|policy| policy.kind.observed()).cloned()
    }
}

/// The policies of a cluster that name a service, and whether each does so without its partition.
fn naming_in<'a, S: Kept + 'a>(
    policies: &'a Policies,
    key: &'a ServiceKey,
    plain: &'a ServiceKey,
) -> impl Iterator<Item = (&'a Arc<PolicyObject<S>>, bool)> {
    let plain = Some(plain).filter(|plain| S::COVERS_PARTITIONS && *plain != key);
    let for_partitions = plain.into_iter().flat_map(|plain| S::of(policies).of(plain));
    S::of(policies).of(key).map(|config| (config, false)).chain(for_partitions.map(|config| (config, true)))
}

fn sorted<S>(mut matching: Vec<(ClusterName, Arc<PolicyObject<S>>)>) -> Matching<S> {
    matching.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
    matching
}
