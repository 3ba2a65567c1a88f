//! What the owners of a cluster should know about its reach: its gateway and its regions.

use super::{
    Registry,
    cluster_state::ClusterState,
    control_planes,
    istio_namespaces::{self, note_of_istio_namespace},
    networks,
    notes::NoteSource,
};
use crate::model::{ClusterName, Kind, Note, NoteKind, ObjectId};

/// Notes what is wrong with the topology of a cluster, where it runs services.
pub(super) fn note_topology(registry: &Registry, cluster: &ClusterName) {
    let needs_gateway = !networks::needs_no_gateway(registry, cluster);
    let Some(state) = registry.fleet.get(cluster) else { return };
    let mut notes: Vec<Note> = control_planes::note_of_control_planes(registry, &state).into_iter().collect();
    notes.extend(note_of_istio_namespace(&state));
    if !state.freshness.is_loading() && state.workloads.count() > 0 {
        notes.extend(gateway_problems(&state));
        notes.extend(missing_gateway(registry, &state, needs_gateway));
        notes.extend(metadata_problems(&state));
        notes.extend(region_problem(&state));
    }
    drop(state);
    registry.notes.put(NoteSource::Topology(cluster.clone()), notes);
}

fn note(kind: NoteKind, state: &ClusterState, id: &ObjectId, message: String) -> Note {
    Note { kind, object: id.in_cluster(state.name()), service: None, message }
}

/// What is questionable about the gateway Service that is used.
fn gateway_problems(state: &ClusterState) -> Vec<Note> {
    let Some((id, problems)) = state.topology.gateway_problems() else { return Vec::new() };
    problems.iter().map(|problem| note(NoteKind::GatewayQuestionable, state, &id, problem.clone())).collect()
}

/// Why no gateway, or only the last known address of one, can be used.
fn missing_gateway(registry: &Registry, state: &ClusterState, needs_gateway: bool) -> Option<Note> {
    let topology = &state.topology;
    match (topology.gateway_without_address(), topology.gateway()) {
        (Some((id, _)), Some(last)) => {
            let message = format!("has no external address; its last known address {} stays in use", last.address);
            Some(note(NoteKind::GatewayMissing, state, &id, message))
        }
        (_, None) if !needs_gateway => None,
        (Some((id, true)), None) => {
            let message = format!("{}; other clusters do not reach this one", why_without_port(state, &id));
            Some(note(NoteKind::GatewayPortMissing, state, &id, message))
        }
        (Some((id, false)), None) => {
            let message = "has no external address; other clusters do not reach this one".to_owned();
            Some(note(NoteKind::GatewayMissing, state, &id, message))
        }
        (None, None) if state.freshness.knows(Kind::Service) => {
            let app = topology.gateway_app();
            let message = format!("none has the label app={app}; other clusters do not reach this one");
            let namespaces = istio_namespaces::gateway_namespaces(registry, state.namespaces.of_istio()).join(", ");
            let all = ObjectId::new(Kind::Service, &namespaces, "");
            Some(note(NoteKind::GatewayMissing, state, &all, message))
        }
        _ => None,
    }
}

/// Why a gateway Service has no port that others reach.
fn why_without_port(state: &ClusterState, id: &ObjectId) -> String {
    let named = state.topology.gateway_problems_of(id);
    if named.is_empty() {
        return "none of its ports leads to 15443, where a gateway passes connections through".to_owned();
    }
    format!(
        "none of its ports has the number 15443 as port or targetPort, where a gateway passes connections through; {}, and such \
         names of a gateway's pods are not resolved",
        named.join(" and ")
    )
}

/// What is wrong with what the namespace of Istio says about the cluster.
fn metadata_problems(state: &ClusterState) -> Vec<Note> {
    let id = ObjectId::new(Kind::Namespace, "", state.namespaces.of_istio());
    let problems = state.topology.problems().iter();
    problems.map(|problem| note(NoteKind::ClusterFactInvalid, state, &id, problem.clone())).collect()
}

/// Why the region of the cluster is not known, or not the only one.
fn region_problem(state: &ClusterState) -> Option<Note> {
    let all = ObjectId::new(Kind::Node, "", "");
    let regions = state.topology.regions();
    if regions.is_empty() && state.freshness.knows(Kind::Node) {
        let none = if state.topology.has_nodes() { "none carries a region" } else { "there are none" };
        let message = format!("{none}; the endpoints of this cluster have no locality");
        return Some(note(NoteKind::RegionUnknown, state, &all, message));
    }
    (regions.len() > 1).then(|| {
        let message = format!("are in the regions {}; {} counts for its endpoints", regions.join(", "), regions[0]);
        note(NoteKind::RegionsSeveral, state, &all, message)
    })
}
