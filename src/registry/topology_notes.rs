//! What the owners of a cluster should know about its reach: its gateway and its regions.

use super::{
    Registry, control_planes,
    istio_namespaces::{self, note_of_istio_namespace},
    networks,
    notes::NoteSource,
};
use crate::model::{ClusterName, Kind, Note, NoteKind, ObjectId, ObjectPath};

/// What is wrong with the place of a cluster, where it runs services: its gateway and its regions.
pub(super) fn note_topology(registry: &Registry, cluster: &ClusterName) {
    let self_sufficient = networks::needs_no_gateway(registry, cluster);
    let Some(state) = registry.fleet.get(cluster) else { return };
    let mut notes: Vec<Note> = control_planes::note_of_control_planes(registry, &state).into_iter().collect();
    notes.extend(note_of_istio_namespace(&state));
    if !state.freshness.is_loading() && state.workloads.count() > 0 {
        let note = |kind, object: ObjectPath, message: String| Note { kind, object, service: None, message };
        let all_of = |kind: Kind, namespace: &str| ObjectId::new(kind, namespace, "").in_cluster(cluster);
        if let Some((id, problems)) = state.topology.gateway_problems() {
            let questions = problems
                .iter()
                .map(|problem| note(NoteKind::GatewayQuestionable, id.in_cluster(cluster), problem.clone()));
            notes.extend(questions);
        }
        match (state.topology.gateway_without_address(), state.topology.gateway()) {
            (Some((id, _)), Some(last)) => {
                let message = format!("has no external address; its last known address {} stays in use", last.address);
                notes.push(note(NoteKind::GatewayMissing, id.in_cluster(cluster), message));
            }
            (_, None) if self_sufficient => {}
            (Some((id, true)), None) => {
                let named = state.topology.gateway_problems_of(&id);
                let lacks = if named.is_empty() {
                    "none of its ports leads to 15443, where a gateway passes connections through".to_owned()
                } else {
                    format!(
                        "none of its ports has the number 15443 as port or targetPort, where a gateway passes connections \
                         through; {}, and such names of a gateway's pods are not resolved",
                        named.join(" and ")
                    )
                };
                let message = format!("{lacks}; other clusters do not reach this one");
                notes.push(note(NoteKind::GatewayPortMissing, id.in_cluster(cluster), message));
            }
            (Some((id, false)), None) => {
                let message = "has no external address; other clusters do not reach this one".to_owned();
                notes.push(note(NoteKind::GatewayMissing, id.in_cluster(cluster), message));
            }
            (None, None) if state.freshness.knows(Kind::Service) => {
                let message = format!(
                    "none has the label app={}; other clusters do not reach this one",
                    state.topology.gateway_app()
                );
                let namespaces = istio_namespaces::gateway_namespaces(registry, state.namespaces.of_istio()).join(", ");
                notes.push(note(NoteKind::GatewayMissing, all_of(Kind::Service, &namespaces), message));
            }
            _ => {}
        }
        notes.extend(state.topology.problems().iter().map(|problem| {
            let object = ObjectId::new(Kind::Namespace, "", state.namespaces.of_istio()).in_cluster(cluster);
            note(NoteKind::ClusterFactInvalid, object, problem.clone())
        }));
        let regions = state.topology.regions();
        if regions.is_empty() && state.freshness.knows(Kind::Node) {
            let none = if state.topology.has_nodes() { "none carries a region" } else { "there are none" };
            let message = format!("{none}; the endpoints of this cluster have no locality");
            notes.push(note(NoteKind::RegionUnknown, all_of(Kind::Node, ""), message));
        } else if regions.len() > 1 {
            let message = format!("are in the regions {}; {} counts for its endpoints", regions.join(", "), regions[0]);
            notes.push(note(NoteKind::RegionsSeveral, all_of(Kind::Node, ""), message));
        }
    }
    drop(state);
    registry.notes.put(NoteSource::Place(cluster.clone()), notes);
}
