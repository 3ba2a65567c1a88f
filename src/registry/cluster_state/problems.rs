//! What keeps workloads and clients of one cluster from counting.

use super::{
    ClusterState,
    rollout_references::{deployment, template_of},
    workloads::Doubt,
};
use crate::{
    model::{Kind, NoteKind, ObjectId, ServiceKey, Workload},
    registry::{claim_rules::Exclusion, identity_owners::Remark},
};

/// What keeps a workload, or a part of it, from being published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::registry) struct WorkloadProblem {
    pub(in crate::registry) id: ObjectId,
    pub(in crate::registry) kind: NoteKind,
    pub(in crate::registry) message: String,
    /// Whether it is one only where the service is a destination: a client needs no Service and no port.
    pub(in crate::registry) of_destination: bool,
}

impl ClusterState {
    /// What keeps a workload or client that means to count from counting.
    pub(in crate::registry) fn problems(&self, id: &ObjectId) -> Vec<(NoteKind, String)> {
        let Some(doubt) = self.workloads.doubt(id) else { return Vec::new() };
        let remark = match &doubt {
            Doubt::Counts(_, Some((key, remark))) => Some(remarked(self, id, key, remark)),
            _ => None,
        };
        problem(self, id, doubt).into_iter().chain(remark).collect()
    }

    /// Why a Rollout has no pod template, in words.
    fn without_template(&self, workload: &Workload) -> Option<String> {
        let rollout = workload.rollout.as_ref()?;
        if let Some(what) = &rollout.unread_template {
            return Some(format!(
                "its workloadRef {what:?} is no Deployment, and no other is read; it is not published"
            ));
        }
        let at = template_of(workload)?;
        if self.workloads.has(&deployment(&at)) {
            return None;
        }
        if !self.freshness.watches(Kind::Deployment) {
            return Some(
                "its pod template is a Deployment's, and those are not watched; it is not published".to_owned(),
            );
        }
        let message = format!("the Deployment {} of its workloadRef does not exist; it is not published", at.1);
        self.freshness.knows(Kind::Deployment).then_some(message)
    }
}

/// What keeps a workload or client from counting.
fn problem(state: &ClusterState, id: &ObjectId, doubt: Doubt<'_>) -> Option<(NoteKind, String)> {
    match doubt {
        Doubt::Invalid(error) if Kind::CLIENTS.contains(&id.kind) => {
            Some((NoteKind::HostInvalid, format!("identity {error}; it does not count as a client")))
        }
        Doubt::Invalid(error) => {
            Some((NoteKind::HostInvalid, format!("identity or environment {error}; it is not published")))
        }
        Doubt::LeftOut(why) => state.coverage().is_certain(why).then(|| why.note(id.kind)),
        Doubt::Excluded(key, why) => {
            let reason = why.reason(key, state.name(), &id.namespace);
            let kind = match why {
                Exclusion::NotFirst(_) => NoteKind::NamespaceNotFirst,
                _ => NoteKind::WorkloadUnclaimed,
            };
            Some((kind, format!("{reason}; it is no endpoint, and its service account no subject name")))
        }
        Doubt::Counts(workload, _) => Some((NoteKind::RolloutQuestionable, state.without_template(workload)?)),
    }
}

/// What there is to say of a workload that counts.
fn remarked(state: &ClusterState, id: &ObjectId, key: &ServiceKey, remark: &Remark) -> (NoteKind, String) {
    match remark {
        Remark::WouldBeExcluded(why) => {
            let reason = why.reason(key, state.name(), &id.namespace);
            let message = format!("{reason}; it counts, and with identityClaims: enforce it would be no endpoint");
            (NoteKind::WorkloadUnclaimed, message)
        }
        Remark::GainedNamespace(before) => {
            let before = if before.is_empty() { "elsewhere".to_owned() } else { format!("in {}", before.join(", ")) };
            let message = format!(
                "{} runs in the namespace {} of {} now, and ran {before} before; it is an endpoint",
                key.identity,
                id.namespace,
                state.name(),
            );
            (NoteKind::IdentityGainedNamespace, message)
        }
    }
}
