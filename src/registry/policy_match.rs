//! Which policies match a service, and which were in force when its objects were written.
//!
//! Every kind of policy matches by the same rules. Decides what matches; never which of several is in force.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry,
    claim_rules::Exclusion,
    cluster_state::policies::{Policies, PolicyKind},
    identity_owners::{Eligibility, IdentityUse, Remark},
    routing_inputs,
};
use crate::{
    api::RoutingPolicySpec,
    model::{ClusterName, Kind, Note, NoteKind, ObjectId, ObjectPath, PolicyObject, ServiceKey},
    plan::input::Matching,
};

/// Kind and `cluster/namespace/name` of a policy by which something was written.
pub(super) type InForce = BTreeSet<ObjectPath>;

/// A service as policies may name it.
pub(super) struct NamedService<'a> {
    key: &'a ServiceKey,
    /// Its key without partition.
    plain: &'a ServiceKey,
    /// Clusters whose policies name it.
    clusters: BTreeSet<ClusterName>,
}

/// A service as policies may name it; `plain` is its key without partition.
pub(super) fn named<'a>(registry: &Registry, key: &'a ServiceKey, plain: &'a ServiceKey) -> NamedService<'a> {
    let clusters = [key, plain].map(|key| registry.index.named.of(key));
    NamedService { key, plain, clusters: clusters.iter().flat_map(|clusters| clusters.iter()).cloned().collect() }
}

/// The policies of one kind that match a service: those in a namespace that runs it (Admiral,
/// docs/admiral-behaviour.md#policies). Those in other namespaces are noted.
pub(super) fn matching<S: PolicyKind>(
    registry: &Registry,
    &NamedService { key, plain, ref clusters }: &NamedService<'_>,
    in_force: &InForce,
    notes: &mut Vec<Note>,
) -> Matching<S> {
    let mut matching = Vec::new();
    for state in clusters.iter().filter_map(|cluster| registry.fleet.get(cluster)) {
        // Half a picture does not tell which policies are at home; those in force are waited for.
        if state.freshness.is_loading() {
            continue;
        }
        for (config, is_for_partitions) in naming_in::<S>(&state.policies, key, plain) {
            if !counts(registry, plain, key, state.name(), &config.id, notes) {
                continue;
            }
            // Where the workloads of its cluster cannot be read, a policy that was in force stays so.
            let stays = || !state.coverage().workloads() && in_force.contains(&config.id.in_cluster(state.name()));
            let covers = || {
                let is_home = |partition: &ServiceKey| state.workloads.runs_in(partition, &config.id.namespace);
                is_for_partitions
                    || S::COVERS_PARTITIONS && state.workloads.identities().partitions_of(key).iter().any(is_home)
            };
            if state.workloads.runs_in(key, &config.id.namespace) || stays() {
                matching.push((state.name().clone(), config.clone()));
            } else if !covers() {
                let (kind, message) = if state.coverage().has_read_workloads() {
                    let message = format!("no workload of {key} runs in its namespace; it has no effect");
                    (NoteKind::PolicyUnmatched, message)
                } else {
                    let message = format!(
                        "whether a workload of {key} runs in its namespace is not known, because what runs in {} cannot \
                         be read; it has no effect until then",
                        state.name()
                    );
                    (NoteKind::WorkloadsUnknown, message)
                };
                let object = config.id.in_cluster(state.name());
                notes.push(Note { kind, object, service: Some(key.clone()), message });
            }
        }
    }
    sorted(matching)
}

/// Whether a policy may be for a service, by the claims; says where not, or where it would not.
fn counts(
    registry: &Registry,
    plain: &ServiceKey,
    key: &ServiceKey,
    cluster: &ClusterName,
    id: &ObjectId,
    notes: &mut Vec<Note>,
) -> bool {
    let eligibility = registry.fleet.owners.of_policy(IdentityUse { key: plain, cluster, namespace: &id.namespace });
    let (why, counts) = match &eligibility {
        Eligibility::Counts(Some(Remark::WouldBeExcluded(why))) => (why, true),
        Eligibility::Counts(_) => return true,
        Eligibility::Excluded(why) => (why, false),
    };
    let kind = match why {
        Exclusion::NotFirst(_) => NoteKind::NamespaceNotFirst,
        _ => NoteKind::PolicyUnclaimed,
    };
    let then =
        if counts { "it counts, and with identityClaims: enforce it would have no effect" } else { "it has no effect" };
    let message = format!("{}; {then}", why.reason(key, cluster, &id.namespace));
    notes.push(Note { kind, object: id.in_cluster(cluster), service: Some(key.clone()), message });
    counts
}

/// The policies of one kind that name a service, wherever they are.
pub(super) fn naming<S: PolicyKind>(
    registry: &Registry,
    &NamedService { key, plain, ref clusters }: &NamedService<'_>,
    notes: &mut Vec<Note>,
) -> Matching<S> {
    let mut naming = Vec::new();
    let cluster_states = clusters.iter().filter_map(|cluster| registry.fleet.get(cluster));
    for state in cluster_states.filter(|state| !state.freshness.is_loading()) {
        let configs = naming_in::<S>(&state.policies, key, plain)
            .filter(|(config, _)| counts(registry, plain, key, state.name(), &config.id, notes));
        naming.extend(configs.map(|(config, _)| (state.name().clone(), config.clone())));
    }
    sorted(naming)
}

/// The RoutingPolicies for a service that count: those of a namespace that runs its identity, whatever the environment, for their
/// filters go to the clients of the identity; and those of the namespaces that the setting names. The others are noted.
pub(super) fn routing_policies(
    registry: &Registry,
    named: &NamedService<'_>,
    written_in: &[ClusterName],
    notes: &mut Vec<Note>,
) -> Matching<RoutingPolicySpec> {
    let naming: Matching<RoutingPolicySpec> = naming(registry, named, notes);
    if naming.is_empty() {
        return naming;
    }
    let owners = routing_inputs::owner_namespaces(registry, &named.key.identity);
    let allowed = &registry.settings.routing_policy_namespaces;
    let mut counting = Vec::new();
    for (cluster, policy) in naming {
        let namespace = &policy.id.namespace;
        let is_allowed = || allowed.iter().any(|of| of == "*" || **of == **namespace);
        let runs_there = || owners.get(&cluster).is_some_and(|namespaces| namespaces.contains(namespace));
        // Where the workloads of its cluster cannot be read, one that was in force stays so.
        let is_known = registry.fleet.get(&cluster).is_none_or(|state| state.coverage().workloads());
        let object = policy.id.in_cluster(&cluster);
        if is_allowed() || runs_there() || !is_known && has_filters(registry, written_in, named.key, &object) {
            counting.push((cluster, policy));
            continue;
        }
        let identity = &named.key.identity;
        let (kind, message) = if is_known {
            let message = format!(
                "no workload of {identity} runs in its namespace, and routingPolicyNamespaces does not name {namespace}; it has \
                 no effect"
            );
            (NoteKind::PolicyUnmatched, message)
        } else {
            let message = format!(
                "whether a workload of {identity} runs in its namespace is not known, because what runs in {cluster} cannot be \
                 read; it has no effect until then"
            );
            (NoteKind::WorkloadsUnknown, message)
        };
        notes.push(Note { kind, object, service: Some(named.key.clone()), message });
    }
    counting
}

/// Whether filters of a policy are written.
fn has_filters(registry: &Registry, written_in: &[ClusterName], key: &ServiceKey, policy: &ObjectPath) -> bool {
    written_in.iter().any(|cluster| {
        let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        written.iter().any(|written| written.id.kind == Kind::EnvoyFilter && written.policies.contains(policy))
    })
}

/// The policies by which the service's objects were written.
pub(super) fn policies_in_force(registry: &Registry, written_in: &[ClusterName], key: &ServiceKey) -> InForce {
    let mut policies = BTreeSet::new();
    for cluster in written_in {
        let written = registry.fleet.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
        for written in written {
            // Filters stay by themselves where their policy cannot be read.
            policies.extend(written.policies.iter().filter(|path| path.kind != Kind::RoutingPolicy).cloned());
        }
    }
    policies
}

/// A policy in force, where its cluster's policies of that kind cannot be read or are not wholly read yet.
pub(super) fn unreadable_policy(registry: &Registry, in_force: &InForce) -> Option<ObjectPath> {
    let is_unknown = |policy: &&ObjectPath| {
        let state = registry.fleet.get(&policy.cluster);
        let kind = policy.kind.observed();
        state.zip(kind).is_some_and(|(state, kind)| state.freshness.is_loading() || !state.freshness.knows(kind))
    };
    in_force.iter().filter(is_unknown).min_by_key(|policy| policy.kind.observed()).cloned()
}

/// The policies of a cluster that name a service, and whether each does so without its partition.
fn naming_in<'a, S: PolicyKind + 'a>(
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
