//! Which of several policies is in force (Admiral, docs/admiral-behaviour.md#policy-precedence, with ties settled).

use std::{cmp::Ordering, sync::Arc};

use crate::model::{ClusterName, Note, NoteKind, Policy, ServiceKey};

/// Annotation that Admiral's pipelines set on every edit.
const LAST_UPDATED: &str = "lastUpdatedAt";

/// The policy in force: the highest priority, then the latest `lastUpdatedAt` where both have one, then the newest,
/// then the first by cluster, namespace and name.
pub(super) fn choose<'a>(
    policies: &'a [(ClusterName, Arc<Policy>)],
    priority_key: &str,
) -> Option<&'a (ClusterName, Arc<Policy>)> {
    policies.iter().reduce(|best, next| if rank(&next.1, &best.1, priority_key).is_gt() { next } else { best })
}

fn rank(a: &Policy, b: &Policy, priority_key: &str) -> Ordering {
    let priority =
        |policy: &Policy| policy.labels.get(priority_key).and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(0);
    let updated = match (a.annotations.get(LAST_UPDATED), b.annotations.get(LAST_UPDATED)) {
        (Some(a), Some(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    priority(a).cmp(&priority(b)).then(updated).then(a.created_seconds.cmp(&b.created_seconds))
}

/// Notes for the policies that say something else and are not in force.
pub(super) fn outranked(
    policies: &[(ClusterName, Arc<Policy>)],
    chosen: Option<&(ClusterName, Arc<Policy>)>,
    key: &ServiceKey,
) -> Vec<Note> {
    let Some((cluster, winner)) = chosen else { return Vec::new() };
    let others = policies.iter().filter(|(_, policy)| policy.spec != winner.spec);
    others
        .map(|(of, policy)| Note {
            kind: NoteKind::PolicyOutranked,
            object: policy.id.in_cluster(of),
            service: Some(key.clone()),
            message: format!(
                "is not in force for {key}: {}/{} of {cluster} ranks higher",
                winner.id.namespace, winner.id.name
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::GlobalTrafficPolicySpec,
        model::{Kind, ObjectId},
    };

    fn policy(name: &str, priority: &str, updated: &str, created_seconds: i64) -> (ClusterName, Arc<Policy>) {
        let pairs = |key: &str, value: &str| {
            if value.is_empty() { Default::default() } else { [(key.to_owned(), value.to_owned())].into() }
        };
        let policy = Policy {
            id: ObjectId::new(Kind::GlobalTrafficPolicy, "a", name),
            created_seconds,
            ignored: false,
            labels: pairs("priority", priority),
            annotations: pairs(LAST_UPDATED, updated),
            spec: Arc::new(GlobalTrafficPolicySpec::default()),
        };
        (ClusterName::parse("east").unwrap(), Arc::new(policy))
    }

    fn winner(policies: &[(ClusterName, Arc<Policy>)]) -> String {
        choose(policies, "priority").unwrap().1.id.name.to_string()
    }

    #[test]
    fn priority_beats_update_beats_age() {
        assert_eq!(winner(&[policy("a", "2", "", 1), policy("b", " 10 ", "", 0)]), "b");
        assert_eq!(winner(&[policy("a", "", "", 9), policy("b", "1", "", 0), policy("c", "x", "", 10)]), "b");
        assert_eq!(winner(&[policy("a", "", "2026-02", 1), policy("b", "", "2026-01", 9)]), "a");
        assert_eq!(winner(&[policy("a", "", "2026-02", 1), policy("b", "", "", 9)]), "b");
        assert_eq!(winner(&[policy("a", "", "", 5), policy("b", "", "", 5)]), "a", "ties go to the first");
    }
}
