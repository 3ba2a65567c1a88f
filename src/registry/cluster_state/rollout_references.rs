//! What the Rollouts of one cluster refer to: the Deployment that holds a pod template, and the VirtualServices that hold
//! weights.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::remove_from;
use crate::model::{Kind, ObjectId, Workload};

/// Namespace and name of a Deployment or a VirtualService.
pub(super) type RefersTo = (Arc<str>, Arc<str>);

/// The Rollouts by what they refer to.
#[derive(Debug, Default)]
pub(super) struct RolloutReferences {
    /// By the Deployment that holds their pod template.
    by_template: HashMap<RefersTo, BTreeSet<ObjectId>>,
    /// By the VirtualService that holds their weights.
    by_route: HashMap<RefersTo, BTreeSet<ObjectId>>,
}

impl RolloutReferences {
    pub(super) fn add(&mut self, workload: &Workload) {
        if let Some(at) = template_of(workload) {
            self.by_template.entry(at).or_default().insert(workload.id.clone());
        }
        for at in routes_of(workload) {
            self.by_route.entry(at).or_default().insert(workload.id.clone());
        }
    }

    pub(super) fn remove(&mut self, workload: &Workload) {
        if let Some(at) = template_of(workload) {
            remove_from(&mut self.by_template, &at, &workload.id);
        }
        for at in routes_of(workload) {
            remove_from(&mut self.by_route, &at, &workload.id);
        }
    }

    /// Whether a workload is a Deployment that only holds the pod template of a Rollout.
    pub(super) fn is_template(&self, id: &ObjectId) -> bool {
        id.kind == Kind::Deployment && self.by_template.contains_key(&(id.namespace.clone(), id.name.clone()))
    }

    /// The Rollouts that take their pod template from a Deployment.
    pub(super) fn with_template(&self) -> BTreeSet<ObjectId> {
        self.by_template.values().flatten().cloned().collect()
    }

    /// Whether some Rollout takes its pod template from a Deployment.
    pub(super) fn any_with_template(&self) -> bool {
        !self.by_template.is_empty()
    }

    /// The Rollouts that take their pod template from this Deployment.
    pub(super) fn of_template(&self, deployment: &ObjectId) -> impl Iterator<Item = &ObjectId> {
        let at = (deployment.namespace.clone(), deployment.name.clone());
        self.by_template.get(&at).into_iter().flatten()
    }

    /// The Rollouts that name the VirtualService as one with their weights.
    pub(super) fn of_route(&self, id: &ObjectId) -> impl Iterator<Item = &ObjectId> {
        let at = (id.kind == Kind::VirtualService).then(|| (id.namespace.clone(), id.name.clone()));
        at.and_then(|at| self.by_route.get(&at)).into_iter().flatten()
    }
}

/// The Deployment that holds the pod template of a Rollout.
pub(super) fn template_of(workload: &Workload) -> Option<RefersTo> {
    let name = workload.rollout.as_ref()?.template_of.clone()?;
    Some((workload.id.namespace.clone(), name))
}

/// The VirtualServices that hold the weights of a Rollout.
pub(super) fn routes_of(workload: &Workload) -> impl Iterator<Item = RefersTo> {
    let routes = workload.rollout.iter().flat_map(|rollout| rollout.routes());
    routes.map(|route| {
        let (namespace, name) = route.at(&workload.id.namespace);
        (namespace.into(), name.into())
    })
}

pub(super) fn deployment(at: &RefersTo) -> ObjectId {
    ObjectId { kind: Kind::Deployment, namespace: at.0.clone(), name: at.1.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rollout, RolloutStrategy};

    #[test]
    fn a_deployment_is_a_template_while_a_rollout_refers_to_it() {
        let mut rollout = Workload::new(ObjectId::new(Kind::Rollout, "shop", "pay"));
        rollout.rollout = Some(Box::new(Rollout {
            template_of: Some("pay-template".into()),
            unread_template: None,
            strategy: RolloutStrategy::Nothing,
        }));
        let holder = ObjectId::new(Kind::Deployment, "shop", "pay-template");
        let mut references = RolloutReferences::default();
        assert!(!references.is_template(&holder) && !references.any_with_template());
        references.add(&rollout);
        assert!(references.is_template(&holder));
        assert!(!references.is_template(&ObjectId::new(Kind::Deployment, "other", "pay-template")));
        assert_eq!(references.of_template(&holder).collect::<Vec<_>>(), [&rollout.id]);
        references.remove(&rollout);
        assert!(!references.is_template(&holder) && references.with_template().is_empty());
    }
}
