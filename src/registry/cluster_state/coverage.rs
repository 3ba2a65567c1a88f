//! How much is known of one cluster: whether the answer to a question rests on all that it depends on.
//!
//! Decides which kinds a question depends on. What follows from half a picture is for those who ask.

use super::ClusterState;
use crate::{
    model::{Kind, Route, ServiceKey},
    registry::injection::LeftOut,
};

/// What is known of one cluster.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct Coverage<'a>(pub(super) &'a ClusterState);

impl Coverage<'_> {
    fn knows(self, kind: Kind) -> bool {
        self.0.freshness.knows(kind)
    }

    fn knows_all_watched(self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.0.freshness.misses_nothing_of(*kind))
    }

    /// Whether every watched kind that makes endpoints is known.
    pub(in crate::registry) fn workloads(self) -> bool {
        self.knows(Kind::Service)
            && self.knows(Kind::ServiceEntry)
            && !self.doubts_sidecars()
            && self.knows_all_watched(Kind::WORKLOADS)
    }

    /// Whether every watched kind that makes dependents is known.
    pub(in crate::registry) fn dependents(self) -> bool {
        self.workloads() && self.knows_all_watched(Kind::CLIENTS)
    }

    /// Whether nothing that makes endpoints has to be restored from what was written.
    pub(in crate::registry) fn endpoints(self) -> bool {
        !self.0.freshness.is_loading()
            && self.workloads()
            && self.knows(Kind::Node)
            && self.knows(Kind::Namespace)
            && self.rollout_weights()
            && self.pods()
    }

    /// Whether all is known that splits the traffic of a Rollout. VirtualServices decide nothing where none is named.
    fn rollout_weights(self) -> bool {
        !self.0.freshness.watches(Kind::Rollout) || self.knows(Kind::VirtualService)
    }

    /// Whether the pods of every Service are known. Where nobody looks for them, nobody misses them.
    pub(in crate::registry) fn pods(self) -> bool {
        self.0.freshness.misses_nothing_of(Kind::EndpointSlice)
    }

    /// Whether pods are to be looked for there, and may be.
    pub(in crate::registry) fn lists_pods(self) -> bool {
        self.knows(Kind::EndpointSlice) && !self.0.freshness.is_loading() && self.0.network().is_some()
    }

    /// Whether all that says which workloads run there was read once.
    pub(in crate::registry) fn has_read_workloads(self) -> bool {
        !self.0.freshness.is_loading() && self.workloads()
    }

    /// Whether it is certain that a workload has no sidecar for this reason.
    pub(super) fn is_certain(self, why: LeftOut) -> bool {
        !why.depends_on_namespace() || self.knows(Kind::Namespace)
    }

    /// Whether workloads or clients may have a sidecar because of their namespace, which is not known.
    pub(in crate::registry) fn doubts_sidecars(self) -> bool {
        self.0.workloads.left_out().undecided() > 0 && !self.knows(Kind::Namespace)
    }

    /// Whether a workload of the service may have a sidecar because of its namespace, which is not known.
    pub(in crate::registry) fn doubts_sidecars_of(self, key: &ServiceKey) -> bool {
        self.doubts_sidecars() && self.0.workloads.left_out().of(key).any(|(_, why)| why.depends_on_namespace())
    }

    /// Whether what is known of the Rollouts of a service may not be all that there is.
    pub(in crate::registry) fn doubts_rollouts_of(self, key: &ServiceKey) -> bool {
        let no_template = || !self.knows(Kind::Deployment) && self.0.workloads.rollouts().any_with_template();
        let no_weights = || !self.knows(Kind::VirtualService) && self.0.workloads.rollouts().name_routes_for(key);
        !self.knows(Kind::Rollout) || no_template() || no_weights()
    }

    /// Whether a VirtualService may be that of a Rollout that cannot be read now: it shares requests among destinations.
    pub(in crate::registry) fn may_be_rollout_route(self, route: &Route) -> bool {
        !self.0.freshness.misses_nothing_of(Kind::Rollout) && route.shares()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Settings,
        model::{ClusterName, ObjectId, Workload},
        registry::status::KindState,
    };

    fn known(kinds: &[Kind]) -> ClusterState {
        let mut state = ClusterState::new(ClusterName::parse("east").unwrap(), kinds.to_vec(), &Settings::default());
        kinds.iter().for_each(|kind| state.freshness.set(*kind, KindState::Synced));
        state
    }

    #[test]
    fn workloads_are_known_without_kinds_that_are_not_watched() {
        let mut state = known(&[Kind::Service, Kind::ServiceEntry, Kind::Deployment, Kind::Rollout, Kind::Job]);
        assert!(state.coverage().workloads() && state.coverage().dependents());
        assert!(!state.coverage().endpoints(), "Nodes and Namespaces decide endpoints");
        state.freshness.set(Kind::Job, KindState::Loading);
        assert!(state.coverage().workloads() && !state.coverage().dependents());
        assert!(!state.coverage().has_read_workloads());
        state.freshness.set(Kind::Rollout, KindState::Loading);
        assert!(!state.coverage().workloads());
    }

    #[test]
    fn an_unmarked_workload_leaves_open_what_runs_until_its_namespace_is_known() {
        let kinds = [Kind::Service, Kind::ServiceEntry, Kind::Deployment];
        let mut state = known(&kinds);
        let mut workload = Workload::new(ObjectId::new(Kind::Deployment, "shop", "pay"));
        workload.template_labels = [("identity".to_owned(), "pay".to_owned())].into();
        state.put_workload(workload, &Settings::default());
        assert!(state.coverage().doubts_sidecars() && !state.coverage().workloads());
        assert!(state.coverage().doubts_sidecars_of(&ServiceKey::parse("pay", "default").unwrap()));
        state.freshness.set(Kind::Namespace, KindState::Synced);
        assert!(!state.coverage().doubts_sidecars() && state.coverage().workloads());
    }
}
