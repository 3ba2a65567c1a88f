//! Decisions → objects: one folder per output format, which knows nothing but the decision.
//!
//! A further format is a folder next to [`istio`], an implementation of [`Emitter`] and a line in [`emitter`].

mod istio;

use std::collections::BTreeMap;

use super::{
    decide::{NamespaceRulesDecision, RoutesDecision, ServiceDecision, SidecarDecision},
    desired::Desired,
    input::{ClientNamespace, RuledNamespace},
    service_plan::ServicePlan,
};
use crate::{config::Settings, model::ClusterName};

/// An output format.
pub(super) trait Emitter {
    /// The objects of a service, per cluster.
    fn service(&self, decision: ServiceDecision) -> ServicePlan;
    /// The copies of users' routes, per cluster.
    fn routes(&self, decision: &RoutesDecision) -> BTreeMap<ClusterName, Desired>;
    /// The Sidecar of a client namespace.
    fn sidecar(&self, client: &ClientNamespace, decision: &SidecarDecision) -> Desired;
    /// The rules for all Services of a namespace.
    fn namespace_rules(&self, namespace: &RuledNamespace, decision: &NamespaceRulesDecision) -> Desired;
}

/// The format that the settings ask for.
pub(super) fn emitter(settings: &Settings) -> impl Emitter {
    istio::IstioEmitter { settings }
}
