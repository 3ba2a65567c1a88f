//! What clusters should hold: the result of planning that `apply` compares with what they hold.

use super::service_plan::{ClusterPlan, HostPlan};
use crate::{
    istio::{Object, Sidecar},
    model::{EgressHost, Kind, ObjectId},
};

/// What one cluster should hold of one unit. Empty: nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Desired {
    pub(crate) wanted: Vec<WantedObject>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WantedObject {
    /// The pair of one host.
    Host(Box<HostObjects>),
    /// A single object.
    Object(Box<Object>),
    /// Objects of which each refers to those before it.
    Chain(Vec<Object>),
    /// A managed object that stays as it is.
    Kept(ObjectId),
    /// Published hosts in a Sidecar that a user owns.
    Merge { id: ObjectId, hosts: Vec<EgressHost> },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostObjects {
    pub(crate) service_entry: Object,
    pub(crate) destination_rule: Object,
    /// Whether the DestinationRule must exist before the ServiceEntry and be removed after it.
    pub(crate) tiered: bool,
}

impl Desired {
    /// Nothing: what is written there of the unit goes.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The hosts of a service.
    #[must_use]
    pub fn hosts(hosts: impl IntoIterator<Item = HostPlan>) -> Self {
        let wanted = hosts
            .into_iter()
            .map(|host| {
                WantedObject::Host(Box::new(HostObjects {
                    service_entry: Object::ServiceEntry(host.service_entry),
                    destination_rule: Object::DestinationRule(host.destination_rule),
                    tiered: host.tiered,
                }))
            })
            .collect();
        Self { wanted }
    }

    /// All that a cluster should hold of a service.
    #[must_use]
    pub fn of_cluster(plan: ClusterPlan) -> Self {
        Self::hosts(plan.hosts).and(plan.others).keeping(plan.kept)
    }

    /// In addition, single objects.
    #[must_use]
    pub fn and(mut self, others: impl IntoIterator<Item = Object>) -> Self {
        self.wanted.extend(others.into_iter().map(|object| WantedObject::Object(Box::new(object))));
        self
    }

    /// Objects of which each refers to those before it.
    #[must_use]
    pub fn in_turn(objects: Vec<Object>) -> Self {
        Self { wanted: vec![WantedObject::Chain(objects)] }
    }

    /// In addition, managed objects that stay as they are, because their reason cannot be read now.
    #[must_use]
    pub fn keeping(mut self, kept: impl IntoIterator<Item = ObjectId>) -> Self {
        self.wanted.extend(kept.into_iter().map(WantedObject::Kept));
        self
    }

    /// A managed Sidecar.
    #[must_use]
    pub fn sidecar(sidecar: Sidecar) -> Self {
        Self { wanted: vec![WantedObject::Object(Box::new(Object::Sidecar(sidecar)))] }
    }

    /// The managed objects that stay as they are.
    pub fn kept(&self) -> impl Iterator<Item = &ObjectId> {
        self.wanted.iter().filter_map(|wanted| match wanted {
            WantedObject::Kept(id) => Some(id),
            _ => None,
        })
    }

    /// The hosts that are merged into a user's Sidecar.
    pub fn merged_hosts(&self) -> impl Iterator<Item = &EgressHost> {
        self.wanted.iter().flat_map(|wanted| match wanted {
            WantedObject::Merge { hosts, .. } => hosts.as_slice(),
            _ => &[],
        })
    }

    /// Published hosts in the user's Sidecar `namespace/name`.
    #[must_use]
    pub fn merged_sidecar(namespace: &str, name: &str, hosts: Vec<EgressHost>) -> Self {
        Self { wanted: vec![WantedObject::Merge { id: ObjectId::new(Kind::Sidecar, namespace, name), hosts }] }
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The objects that are wanted whole, in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.wanted.iter().flat_map(|wanted| match wanted {
            WantedObject::Host(pair) => vec![&pair.service_entry, &pair.destination_rule],
            WantedObject::Object(object) => vec![&**object],
            WantedObject::Chain(objects) => objects.iter().collect(),
            WantedObject::Kept(_) | WantedObject::Merge { .. } => vec![],
        })
    }
}
