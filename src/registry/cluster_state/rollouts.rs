//! What the Rollouts of one cluster refer to: the Deployment that holds a pod template, and the VirtualServices that hold
//! weights.
//!
//! Decides which Rollouts an event of either concerns; never what it means for them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Classified, ClusterState, Effects, remove_from};
use crate::{
    config::Settings,
    model::{Availability, Kind, Labels, ObjectId, Route, ServiceKey, Workload},
};

/// Namespace and name.
type At = (Arc<str>, Arc<str>);

/// The Rollouts by what they refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// By the Deployment that holds their pod template.
    by_template: HashMap<At, BTreeSet<ObjectId>>,
    /// By the VirtualService that holds their weights.
    by_route: HashMap<At, BTreeSet<ObjectId>>,
}

impl References {
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
}

fn template_of(workload: &Workload) -> Option<At> {
    let name = workload.rollout.as_ref()?.template_of.clone()?;
    Some((workload.id.namespace.clone(), name))
}

fn routes_of(workload: &Workload) -> impl Iterator<Item = At> {
    let routes = workload.rollout.iter().flat_map(|rollout| rollout.routes());
    routes.map(|route| {
        let (namespace, name) = route.at(&workload.id.namespace);
        (namespace.into(), name.into())
    })
}

fn deployment(at: &At) -> ObjectId {
    ObjectId { kind: Kind::Deployment, namespace: at.0.clone(), name: at.1.clone() }
}

impl ClusterState {
    /// A Rollout with the pod template of the Deployment that it refers to.
    pub(super) fn with_template(&self, mut workload: Workload) -> Workload {
        if let Some(at) = template_of(&workload) {
            let holder = self.workloads.get(&deployment(&at)).map(|placed| &placed.workload);
            workload.template_labels = holder.map_or_else(Labels::new, |holder| holder.template_labels.clone());
            workload.template_annotations =
                holder.map_or_else(Labels::new, |holder| holder.template_annotations.clone());
            workload.named_ports = holder.and_then(|holder| holder.named_ports.clone());
            workload.host_network = holder.is_some_and(|holder| holder.host_network);
            workload.service_accounts = holder.map_or_else(Vec::new, |holder| holder.service_accounts.clone());
        }
        workload
    }

    /// Whether a workload has pods or machines that can serve. While a Rollout takes over from the Deployment of its `workloadRef`,
    /// the pods of both serve: the Deployment is scaled down last (Argo Rollouts documentation, "Migrating", "Reference Deployment
    /// From Rollout").
    pub(super) fn can_serve(&self, workload: &Workload) -> bool {
        let is_available = |workload: &Workload| workload.availability == Availability::Available;
        let holder = template_of(workload).and_then(|at| self.workloads.get(&deployment(&at)));
        is_available(workload) || holder.is_some_and(|holder| is_available(&holder.workload))
    }

    /// Looks again at what is tied to a workload that came, changed or went: the Rollouts that take its pod template, or
    /// the Deployments that hold, or held, its own.
    pub(super) fn follow(
        &mut self,
        id: &ObjectId,
        before: Option<&Workload>,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        let mut tied: BTreeSet<ObjectId> = BTreeSet::new();
        match id.kind {
            Kind::Deployment => {
                let at = (id.namespace.clone(), id.name.clone());
                tied.extend(self.references.by_template.get(&at).into_iter().flatten().cloned());
            }
            Kind::Rollout => {
                let now = self.workloads.get(id).and_then(|placed| template_of(&placed.workload));
                tied.extend(before.and_then(template_of).iter().chain(&now).map(deployment));
            }
            _ => {}
        }
        for id in tied {
            if let Some(workload) = self.take_workload(&id, effects) {
                let workload = self.with_template(workload);
                self.classify(workload, settings, effects);
                effects.noted.insert(id);
            }
        }
    }

    /// Why a Rollout has no pod template, in words.
    pub(super) fn without_template(&self, workload: &Workload) -> Option<String> {
        let rollout = workload.rollout.as_ref()?;
        if let Some(what) = &rollout.unread_template {
            return Some(format!(
                "its workloadRef {what:?} is no Deployment, and no other is read; it is not published"
            ));
        }
        let at = template_of(workload)?;
        if self.workloads.contains_key(&deployment(&at)) {
            return None;
        }
        if !self.kinds.contains_key(&Kind::Deployment) {
            return Some(
                "its pod template is a Deployment's, and those are not watched; it is not published".to_owned(),
            );
        }
        let message = format!("the Deployment {} of its workloadRef does not exist; it is not published", at.1);
        self.knows(Kind::Deployment).then_some(message)
    }

    /// The Rollouts that take their pod template from a Deployment.
    pub(in crate::registry) fn rollouts_with_reference(&self) -> BTreeSet<ObjectId> {
        self.references.by_template.values().flatten().cloned().collect()
    }

    /// The services of the Rollouts that name the VirtualService as the one with their weights.
    pub(in crate::registry) fn split_by(&self, id: &ObjectId) -> BTreeSet<ServiceKey> {
        let classified = self.referring(id).filter_map(|rollout| Some(&self.workloads.get(rollout)?.classified));
        let keys = classified.filter_map(|classified| match classified {
            Classified::Service(key) => Some(key.clone()),
            _ => None,
        });
        keys.collect()
    }

    /// What is read of users' routes differs for the VirtualServices that a Rollout named or names now.
    pub(super) fn disown_routes(&self, before: Option<&Workload>, id: &ObjectId, effects: &mut Effects) {
        let now = self.workloads.get(id).map(|placed| &placed.workload);
        let (before, now): (BTreeSet<At>, BTreeSet<At>) =
            (before.into_iter().flat_map(routes_of).collect(), now.into_iter().flat_map(routes_of).collect());
        for (namespace, name) in before.symmetric_difference(&now) {
            let route = self.routes.get(&ObjectId::new(Kind::VirtualService, namespace, name));
            effects.hosts.extend(route.iter().flat_map(|route| route.full_hosts()));
        }
    }

    fn referring(&self, id: &ObjectId) -> impl Iterator<Item = &ObjectId> {
        let at = (id.kind == Kind::VirtualService).then(|| (id.namespace.clone(), id.name.clone()));
        at.and_then(|at| self.references.by_route.get(&at)).into_iter().flatten()
    }

    /// Whether a Rollout of the cluster names the VirtualService as the one with its weights: then it is Argo's, and no
    /// user's route (Admiral, docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
    #[must_use]
    pub(in crate::registry) fn is_rollout_route(&self, id: &ObjectId) -> bool {
        self.referring(id).next().is_some()
    }

    /// Whether a VirtualService may be that of a Rollout that cannot be read now: it shares requests among destinations.
    pub(in crate::registry) fn may_be_rollout_route(&self, route: &Route) -> bool {
        let unread = self.kinds.contains_key(&Kind::Rollout) && !self.knows(Kind::Rollout);
        unread && route.shares()
    }

    /// Whether all is known that splits the traffic of a Rollout. VirtualServices decide nothing where none is named.
    pub(super) fn knows_weights(&self) -> bool {
        !self.kinds.contains_key(&Kind::Rollout) || self.knows(Kind::VirtualService)
    }

    /// Whether what is seen of the Rollouts of a service may not be all that there is.
    pub(in crate::registry) fn doubts_rollouts_of(&self, key: &ServiceKey) -> bool {
        let no_template = || !self.knows(Kind::Deployment) && !self.references.by_template.is_empty();
        let no_weights = || {
            let mut ids = self.by_service.get(key).into_iter().flatten();
            let of = |id: &ObjectId| self.workloads.get(id).and_then(|placed| placed.workload.rollout.as_ref());
            !self.knows(Kind::VirtualService)
                && ids.any(|id| of(id).is_some_and(|rollout| !rollout.routes().is_empty()))
        };
        !self.knows(Kind::Rollout) || no_template() || no_weights()
    }
}
