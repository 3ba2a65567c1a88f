//! Why a region, or a cluster, has no endpoint: because the service never ran there, or because something is lost.
//!
//! Decides who is to blame, and says what happens meanwhile; never changes a share.

use std::collections::BTreeSet;

use super::{Context, HostContext, decision::ClusterDecision, shares::Shares};
use crate::{
    model::{ClusterName, Kind, Note, NoteKind, ObjectId, listed_clusters},
    plan::input::{Absence, AbsenceReason, ServiceInput, Source},
};

/// Most causes that a message names; the others are counted.
const MAX_CAUSES: usize = 3;

fn region_of(source: &Source) -> Option<&str> {
    source.locality.value().map(|locality| &*locality.region)
}

/// The note about a region of a policy where the service has no source: the policy is at fault unless something is known to
/// keep the service from being seen there. `hint` is what may have been meant.
pub(super) fn without_source(
    region: &str,
    has_weight: bool,
    shares: &Shares,
    service: &ServiceInput,
    hint: &str,
) -> (NoteKind, String) {
    let is_split = matches!(shares, Shares::Weighted(_));
    let Some(causes) = causes(region, service) else {
        let then = match (has_weight, is_split) {
            (true, true) => "; its share goes to the other regions",
            (true, false) => ", nor in any other with a weight; the nearest region is used",
            (false, _) => "; it is no fallback",
        };
        return (NoteKind::PolicyQuestionable, format!("no cluster runs the service in region {region}{then}{hint}"));
    };
    let then = match (has_weight, is_split) {
        (true, true) => "its share goes to the other regions until that changes",
        (true, false) => "nor has any other region with a weight one, so the nearest region is used until that changes",
        (false, _) => "it is no fallback until that changes",
    };
    (NoteKind::RegionUnavailable, format!("region {region} has no endpoint: {causes}; {then}{hint}"))
}

/// What keeps the service from being seen in a region, in words.
fn causes(region: &str, service: &ServiceInput) -> Option<String> {
    let of_sources = service.sources.iter().filter_map(|source| {
        let cluster = &source.cluster;
        let nodes_there = || {
            let target = service.targets.iter().find(|target| target.cluster == *cluster);
            target.is_some_and(|target| target.regions.iter().any(|of| **of == *region))
        };
        match region_of(source) {
            None => Some(format!("the region of {cluster}, which runs the service, is not known")),
            Some(counted) if nodes_there() => {
                Some(format!("{cluster}, which runs the service, has nodes there and counts for {counted}"))
            }
            Some(_) => None,
        }
    });
    let may_be_there =
        |absence: &&Absence| absence.regions.is_empty() || absence.regions.iter().any(|of| **of == *region);
    let of_others = service.absences.iter().filter(may_be_there).map(|Absence { cluster, regions, why }| {
        let place = if regions.is_empty() { "" } else { " of that region" };
        match why {
            AbsenceReason::Loading => format!("{cluster}{place} is still being read"),
            AbsenceReason::Unread => format!("what runs in {cluster}{place} cannot be read"),
            AbsenceReason::NoEndpoint(workload) => {
                format!("{} offers no endpoint, as its own note says", named(workload, cluster))
            }
            AbsenceReason::LeftOut(workload) => {
                format!("{} does not count, as its own note says", named(workload, cluster))
            }
        }
    });
    let causes: Vec<String> = of_sources.chain(of_others).collect();
    let shown = causes[..causes.len().min(MAX_CAUSES)].join(", ");
    match causes.len().saturating_sub(MAX_CAUSES) {
        _ if causes.is_empty() => None,
        0 => Some(shown),
        1 => Some(format!("{shown} and 1 more cluster")),
        more => Some(format!("{shown} and {more} more clusters")),
    }
}

fn named(workload: &ObjectId, cluster: &ClusterName) -> String {
    format!("{} {}/{} of {cluster}", workload.kind.as_str(), workload.namespace, workload.name)
}

/// Notes about regions of a policy that run the service and that no other cluster reaches, because no gateway there can be
/// called. That all workloads of a region are scaled to 0 is a note of its own.
pub(super) fn unreached(context: &Context<'_>, clusters: &[ClusterDecision]) -> Vec<Note> {
    let about_policy =
        |host_context: &&HostContext<'_>| host_context.wanted.entry.is_some() && !host_context.is_of_variant();
    let mut notes = Vec::new();
    for host_context in context.hosts.iter().filter(about_policy) {
        let Shares::Weighted(weighted) = &host_context.shares else { continue };
        let sources = &context.view(host_context).service.sources;
        let weights = weighted.split.iter().map(|(region, _)| (region, true));
        for (region, has_weight) in weights.chain(weighted.fallbacks.iter().map(|region| (region, false))) {
            let there: Vec<&Source> = sources.iter().filter(|source| region_of(source) == Some(region)).collect();
            if there.iter().any(|source| source.gateway.is_known() || !source.is_available()) {
                continue;
            }
            let clients: BTreeSet<_> = clusters
                .iter()
                .filter(|decided| {
                    let target = context.service.targets.iter().find(|target| target.cluster == decided.cluster);
                    !there.iter().any(|source| target.is_some_and(|target| target.is_read_in(&source.cluster)))
                })
                .filter_map(|decided| {
                    let host = decided.hosts.iter().find(|decided| decided.host == host_context.wanted.host)?;
                    let leads_there = |of: &ClusterName| there.iter().any(|source| source.cluster == *of);
                    (!host.endpoints.iter().any(|endpoint| leads_there(&endpoint.cluster))).then_some(&decided.cluster)
                })
                .collect();
            if clients.is_empty() {
                continue;
            }
            let then = if has_weight { "its share goes to the other regions" } else { "it is no fallback" };
            let message = format!(
                "for the host {}: clients of {} do not reach region {region}, because {}, which runs the service there, has no \
                 gateway that they can call; {then} until it has one",
                host_context.wanted.host,
                listed_clusters(clients),
                listed_clusters(there.iter().map(|source| &source.cluster))
            );
            notes.push(context.note(true, NoteKind::RegionUnavailable, message));
        }
    }
    notes
}

/// Notes about clusters in which no workload has pods that can serve.
pub(super) fn without_pods(service: &ServiceInput) -> Vec<Note> {
    let is_served = service.sources.iter().any(Source::is_available);
    let note = |source: &Source| {
        let workload = source.unavailable.first()?;
        let why = match workload.kind {
            Kind::WorkloadEntry => "fails its health checks",
            Kind::DaemonSet => "has no node to run on",
            _ => "is scaled to 0",
        };
        let others = match source.unavailable.len() - 1 {
            0 => String::new(),
            1 => ", and 1 more workload cannot serve either".to_owned(),
            count => format!(", and {count} more workloads cannot serve either"),
        };
        let then = if is_served {
            "clients go to other clusters until one of the workloads can serve again"
        } else {
            "no cluster can serve; its endpoints stay as they are"
        };
        Some(Note {
            kind: NoteKind::WorkloadsUnavailable,
            object: workload.in_cluster(&source.cluster),
            service: Some(service.key.clone()),
            message: format!("{why}{others}; {then}"),
        })
    };
    service.sources.iter().filter_map(note).collect()
}
