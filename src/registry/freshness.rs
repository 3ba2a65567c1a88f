//! How fresh the picture of each cluster is: what is loading, known, stale or was never read; and what its owners
//! should know about its reach.
//!
//! Decides when planning may begin; never what is planned.

use std::sync::atomic::Ordering;

use super::{
    NoteSource, Registry, Trigger,
    istio_namespaces::note_of_istio_namespace,
    reads::{ReadTarget, Unread, listed_targets, main_failure},
    status::KindState,
};
use crate::model::{ClusterName, Kind, Note, NoteKind, ObjectId, ObjectPath, ReadCause, ReadFailure};

impl Registry {
    /// One kind cannot be read now. All that is known of it stays in force.
    pub fn unreadable(&self, cluster: &ClusterName, kind: Kind, failure: impl Into<ReadFailure>, now_seconds: i64) {
        let ReadFailure { cause, message: reason } = failure.into();
        let Some(state) = self.cluster_states.get(cluster) else { return };
        let Some(before) = state.freshness.kinds().get(&kind).cloned() else {
            drop(state);
            // Where no hub is named, what belongs there is looked for in every cluster, and most do not serve it.
            let target = ReadTarget::Kind(kind);
            return match cause {
                _ if !Kind::OF_HUB.contains(&kind) => {}
                ReadCause::NotFound => self.read_succeeded(cluster, target),
                _ => self.read_failed(cluster, target, ReadFailure::new(cause, reason), now_seconds),
            };
        };
        drop(state);
        let since_seconds = match &before {
            KindState::Stale { since_seconds, .. } | KindState::Unreadable { since_seconds, .. } => *since_seconds,
            KindState::Loading | KindState::Synced | KindState::Absent => now_seconds,
        };
        self.set_kind(
            cluster,
            kind,
            if before.is_known() {
                KindState::Stale { since_seconds, cause, reason }
            } else {
                KindState::Unreadable { since_seconds, cause, reason }
            },
        );
    }

    /// A cluster does not serve a kind. Where it need not, there are no objects of it; but if some are known, that is doubted,
    /// and they stay in force. A remote cluster needs nothing of Istio's.
    pub fn absent(&self, cluster: &ClusterName, kind: Kind, failure: impl Into<ReadFailure>, now_seconds: i64) {
        let is_needless = kind.served().optional || (Kind::WRITTEN.contains(&kind) && self.is_remote(cluster));
        if is_needless && self.ids(cluster, kind).is_empty() {
            self.set_kind(cluster, kind, KindState::Absent);
        } else {
            self.unreadable(cluster, kind, failure, now_seconds);
        }
    }

    /// One kind can be read again without a new list.
    pub fn readable(&self, cluster: &ClusterName, kind: Kind) {
        let known = self.cluster_states.get(cluster).is_some_and(|state| state.freshness.knows(kind));
        if known {
            self.set_kind(cluster, kind, KindState::Synced);
        } else {
            self.read_succeeded(cluster, ReadTarget::Kind(kind));
        }
    }

    /// Whether every cluster has been registered once.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// The kinds whose first list has not come yet, sorted.
    #[must_use]
    pub fn loading(&self) -> Vec<(ClusterName, Kind)> {
        let mut loading = Vec::new();
        for state in &self.cluster_states {
            let kinds = state.freshness.kinds().iter().filter(|(_, state)| **state == KindState::Loading);
            loading.extend(kinds.map(|(kind, _)| (state.name().clone(), *kind)));
        }
        loading.sort();
        loading
    }

    pub(super) fn set_kind(&self, cluster: &ClusterName, kind: Kind, now: KindState) {
        let label = cluster.label_value();
        let Some(mut state) = self.cluster_states.get_mut(cluster) else { return };
        let before = (state.freshness.knows(kind), state.freshness.is_loading(), state.freshness.serves(kind));
        state.freshness.set(kind, now);
        let (loading, knows_endpoints) = (state.freshness.is_loading(), state.coverage().endpoints());
        let changed = before != (state.freshness.knows(kind), loading, state.freshness.serves(kind));
        drop(state);
        self.settle_read(cluster, kind);
        if changed {
            self.recall(cluster);
            self.recount_control_planes(cluster);
        }
        if knows_endpoints {
            self.carried.remove(&label);
        }
        self.note_reads(cluster);
        self.note_place(cluster);
        if changed && kind == Kind::Deployment {
            let rollouts =
                self.cluster_states.get(cluster).map(|state| state.rollouts_with_template()).unwrap_or_default();
            rollouts.iter().for_each(|rollout| self.note_workload(cluster, rollout));
        }
        if changed && kind == Kind::Namespace {
            let without =
                self.cluster_states.get(cluster).map(|state| state.workloads.without_sidecar()).unwrap_or_default();
            without.iter().for_each(|workload| self.note_workload(cluster, workload));
        }
        self.try_start();
        if changed && !loading {
            self.note_networks();
            self.mark_everything(&Trigger::Cluster(cluster.clone()));
        }
    }

    /// What is wrong with the place of a cluster, where it runs services: its gateway and its regions.
    pub(super) fn note_place(&self, cluster: &ClusterName) {
        let self_sufficient = self.needs_no_gateway(cluster);
        let Some(state) = self.cluster_states.get(cluster) else { return };
        let mut notes: Vec<Note> = self.note_of_control_planes(&state).into_iter().collect();
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
                    let message =
                        format!("has no external address; its last known address {} stays in use", last.address);
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
                    let namespaces = self.gateway_namespaces(state.namespaces.of_istio()).join(", ");
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
                let message =
                    format!("are in the regions {}; {} counts for its endpoints", regions.join(", "), regions[0]);
                notes.push(note(NoteKind::RegionsSeveral, all_of(Kind::Node, ""), message));
            }
        }
        drop(state);
        self.notes.put(NoteSource::Place(cluster.clone()), notes);
    }

    pub(super) fn try_start(&self) {
        if self.started.load(Ordering::Acquire) || self.waiting_for().is_some() {
            return;
        }
        self.recall_everything();
        if !self.started.swap(true, Ordering::AcqRel) {
            self.mark_everything(&Trigger::Start);
            self.dirty.wake();
        }
    }

    /// What the first plan waits for, in words. What fails is named before what merely has not come yet.
    pub(super) fn waiting_for(&self) -> Option<String> {
        if !self.listed.load(Ordering::Acquire) {
            let hub = self.reads_in(&ClusterName::hub());
            let failing: Vec<&Unread> = hub.unread.iter().filter(|unread| unread.target.comes_first()).collect();
            let why = main_failure(&failing).map_or_else(String::new, |failure| {
                let what = listed_targets(failing.iter().map(|unread| &unread.target));
                format!(": {what} of cluster {} cannot be read: {failure}", ClusterName::hub())
            });
            return Some(format!("the clusters of the fleet have not been listed yet{why}"));
        }
        let mut waiting: Vec<(bool, String)> = Vec::new();
        for state in &self.cluster_states {
            let must_know = |kind: Kind| Kind::OF_HUB.contains(&kind) && kind.decides_removals();
            let cluster = state.name();
            for (kind, state) in state.freshness.kinds() {
                let kind_name = kind.as_str();
                match state {
                    KindState::Loading => {
                        let why = self.delay_of(cluster, *kind);
                        let text = format!("{kind_name} of cluster {cluster} not listed yet");
                        waiting.push((why.is_none(), why.map_or_else(|| text.clone(), |why| format!("{text}: {why}"))));
                    }
                    KindState::Unreadable { reason, .. } if must_know(*kind) => {
                        waiting.push((false, format!("{kind_name} of cluster {cluster} cannot be read: {reason}")));
                    }
                    KindState::Unreadable { .. } | KindState::Synced | KindState::Absent | KindState::Stale { .. } => {}
                }
            }
        }
        waiting.into_iter().min().map(|(_, text)| text)
    }
}
