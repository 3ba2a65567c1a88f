//! Hand-written objects that were handed over where there is nothing to publish.

use super::{ClusterPlan, PlanContext};
use crate::{
    model::{ClusterName, Host, Kind, Note, NoteKind, ObjectId},
    plan::input::AdoptedPair,
};

/// What was handed over where the service is not published.
pub(super) fn in_vain(decided: &PlanContext<'_>, clusters: &[ClusterPlan]) -> Vec<Note> {
    let is_published = |cluster: &ClusterName, host: &Host| {
        let planned = clusters.iter().find(|planned| planned.cluster == *cluster);
        planned.is_some_and(|planned| planned.hosts.iter().any(|planned| planned.host == *host))
    };
    let is_held = |cluster: &ClusterName| {
        decided.snapshot.targets.iter().any(|target| target.cluster == *cluster && target.frozen)
    };
    let mut notes = Vec::new();
    for claim in decided.governed.iter().filter_map(|governed| governed.claim) {
        let in_vain = claim.adopted.iter().filter(|(of, _)| !is_held(of) && !is_published(of, &claim.host));
        for (cluster, AdoptedPair { namespace, entry, rule }) in in_vain {
            let of_kind = [(Kind::ServiceEntry, entry), (Kind::DestinationRule, rule)];
            let handed_over = of_kind.into_iter().filter_map(|(kind, adopted)| Some((kind, adopted.as_ref()?)));
            let handed_over = handed_over.filter(|(_, adopted)| !adopted.is_taken);
            notes.extend(handed_over.map(|(kind, adopted)| Note {
                kind: NoteKind::NotAdopted,
                object: ObjectId::new(kind, namespace, &adopted.name).in_cluster(cluster),
                service: Some(decided.snapshot.key.clone()),
                message: format!(
                    "{} is not published in this cluster; the object is left alone until it is",
                    claim.host
                ),
            }));
        }
    }
    notes
}
