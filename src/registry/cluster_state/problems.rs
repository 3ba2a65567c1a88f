//! What keeps workloads and clients of one cluster from counting.

use super::{
    ClusterState,
    rollout_references::{deployment, template_of},
    workloads::Doubt,
};
use crate::model::{Kind, NoteKind, ObjectId, Workload};

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
    pub(in crate::registry) fn problem(&self, id: &ObjectId) -> Option<(NoteKind, String)> {
        match self.workloads.doubt(id)? {
            Doubt::Invalid(error) if Kind::CLIENTS.contains(&id.kind) => {
                Some((NoteKind::HostInvalid, format!("identity {error}; it does not count as a client")))
            }
            Doubt::Invalid(error) => {
                Some((NoteKind::HostInvalid, format!("identity or environment {error}; it is not published")))
            }
            Doubt::LeftOut(why) => self.coverage().is_certain(why).then(|| why.note(id.kind)),
            Doubt::Counts(workload) => Some((NoteKind::RolloutQuestionable, self.without_template(workload)?)),
        }
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
