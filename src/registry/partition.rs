//! Partitions of identities (Admiral, docs/admiral-behaviour.md#partitions): several services of one identity, each
//! for its own clients.
//!
//! Inside a partition a service is known by `<partition>.<identity>`, while its host and its subject name carry the plain
//! identity. Decides what a service is known by; never who may call it.

use std::collections::BTreeSet;

use super::{
    Queries, Registry,
    identity::{self, non_empty},
};
use crate::{
    config::Settings,
    model::{ClusterName, Identity, Labels, NameError, ServiceKey, Workload},
};

/// Annotation by which a workload keeps upper-case letters in its host.
const KEEP_CASE: &str = "admiral.io/cname-case-sensitive";

/// The identity by which a workload or policy is known: the plain one, behind its partition where it has one and partitions
/// are in use (setting `enableSwAwareNsCaches`).
pub(super) fn partitioned(
    identity: &str,
    labels: &Labels,
    annotations: &Labels,
    settings: &Settings,
) -> Result<Identity, NameError> {
    let key = &settings.identity_partition_key;
    match non_empty(annotations, key).or_else(|| non_empty(labels, key)).filter(|_| settings.enable_sw_aware_ns_caches)
    {
        Some(partition) => Identity::parse(&format!("{partition}.{}", identity.trim().to_ascii_lowercase())),
        None => Identity::parse(identity),
    }
}

/// Whether a service known by `key` may have the plain identity `plain`.
pub(super) fn is_plain_of(plain: &Identity, key: &Identity) -> bool {
    let partition = key.folded().strip_suffix(plain.folded());
    partition.is_some_and(|partition| partition.is_empty() || partition.ends_with('.'))
}

/// How a workload writes the key of its service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DisplayKey {
    pub(super) created_seconds: i64,
    pub(super) key: ServiceKey,
    /// The identity without its partition.
    pub(super) plain: Identity,
    /// Whether its host keeps upper-case letters.
    pub(super) keep_case: bool,
}

impl DisplayKey {
    pub(super) fn new(workload: &Workload, key: &ServiceKey, identity_key: &str) -> Self {
        let plain = identity::plain(workload, identity_key).filter(|plain| is_plain_of(plain, &key.identity));
        Self {
            created_seconds: workload.created_seconds,
            key: key.clone(),
            plain: plain.unwrap_or_else(|| key.identity.clone()),
            keep_case: workload.template_annotations.get(KEEP_CASE).is_some_and(|keep| keep == "true"),
        }
    }
}

impl Queries<'_> {
    /// The services that run in a cluster under the plain identity and environment, each in a partition: those that a policy
    /// which names no partition is for, besides the plain service.
    #[must_use]
    pub fn partitions_of(&self, cluster: &ClusterName, plain: &ServiceKey) -> Vec<ServiceKey> {
        self.registry
            .fleet
            .get(cluster)
            .map_or_else(Vec::new, |state| state.workloads.identities().partitions_of(plain))
    }

    /// The key of a partitioned service without its partition; none for one that has no partition or does not run there.
    #[must_use]
    pub fn plain_of(&self, cluster: &ClusterName, key: &ServiceKey) -> Option<ServiceKey> {
        self.registry.fleet.get(cluster)?.workloads.plain_of(key)
    }
}

/// Services and all their partitions.
pub(super) fn with_partitions(registry: &Registry, services: BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
    let mut all = services.clone();
    if registry.settings.enable_sw_aware_ns_caches {
        for state in registry.fleet.iter() {
            all.extend(services.iter().flat_map(|key| state.workloads.identities().partitions_of(key)));
        }
    }
    all
}

/// What a service may be called without partition, where policies name it so: what they match, and what is said of them,
/// changes with it.
pub(super) fn named_without_partition(registry: &Registry, key: &ServiceKey) -> impl Iterator<Item = ServiceKey> {
    let folded = key.identity.folded();
    let ends = folded.match_indices('.').filter(|_| registry.settings.enable_sw_aware_ns_caches);
    let plain = ends.filter_map(|(at, _)| {
        let identity = Identity::parse(&folded[at + 1..]).ok()?;
        Some(ServiceKey { identity, environment: key.environment.clone() })
    });
    plain.filter(|plain| registry.index.named.has(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_names_the_partition_then_the_label_and_only_on_request() {
        let named = |partition: &str| [("admiral.io/identityPartition".to_owned(), partition.to_owned())].into();
        let (west, east, none): (Labels, Labels, Labels) = (named("West"), named("east"), Labels::new());
        let known_by = |labels, annotations, enable_sw_aware_ns_caches| {
            let settings = Settings { enable_sw_aware_ns_caches, ..Settings::default() };
            partitioned("Payments", labels, annotations, &settings).map(|identity| identity.to_string())
        };
        assert_eq!(known_by(&east, &west, true).unwrap(), "West.payments");
        assert_eq!(known_by(&east, &none, true).unwrap(), "east.payments");
        assert_eq!(known_by(&none, &none, true).unwrap(), "Payments");
        assert_eq!(known_by(&east, &west, false).unwrap(), "Payments");
        assert!(known_by(&named("a_b"), &none, true).is_err());
    }

    #[test]
    fn a_plain_identity_is_the_last_part_of_the_partitioned() {
        let id = |text| Identity::parse(text).unwrap();
        for (plain, key, is) in
            [("Payments", "west.payments", true), ("a", "a", true), ("a", "ba", false), ("b.a", "a", false)]
        {
            assert_eq!(is_plain_of(&id(plain), &id(key)), is, "{plain} {key}");
        }
    }
}
