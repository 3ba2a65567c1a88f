//! Hand-written objects that were handed over where there is nothing to publish.

use super::{Context, decision::ClusterDecision};
use crate::{
    model::{ClusterName, Host, Kind, Note, NoteKind, ObjectId},
    plan::input::AdoptedPair,
};

/// What was handed over where the service is not published.
pub(super) fn in_vain(context: &Context<'_>, clusters: &[ClusterDecision]) -> Vec<Note> {
    let is_published = |cluster: &ClusterName, host: &Host| {
        let decided = clusters.iter().find(|decided| decided.cluster == *cluster);
        decided.is_some_and(|decided| decided.hosts.iter().any(|decided| decided.host == *host))
    };
    let is_frozen = |cluster: &ClusterName| {
        context.service.targets.iter().any(|target| target.cluster == *cluster && target.is_frozen())
    };
    let mut notes = Vec::new();
    for claim in context.hosts.iter().filter_map(|host| host.claim) {
        let in_vain = claim.adopted.iter().filter(|(of, _)| !is_frozen(of) && !is_published(of, &claim.host));
        for (cluster, AdoptedPair { namespace, entry, rule }) in in_vain {
            let of_kind = [(Kind::ServiceEntry, entry), (Kind::DestinationRule, rule)];
            let handed_over = of_kind.into_iter().filter_map(|(kind, adopted)| Some((kind, adopted.as_ref()?)));
            let handed_over = handed_over.filter(|(_, adopted)| !adopted.is_taken);
            notes.extend(handed_over.map(|(kind, adopted)| Note {
                kind: NoteKind::NotAdopted,
                object: ObjectId::new(kind, namespace, &adopted.name).in_cluster(cluster),
                service: Some(context.service.key.clone()),
                message: format!(
                    "{} is not published in this cluster; the object is left alone until it is",
                    claim.host
                ),
            }));
        }
    }
    notes
}
