//! One plan function for every kind of work: what is known of a unit in, what each cluster should hold of it out.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Desired, ServicePlan, checks, decide,
    emit::{self, Emitter},
    input::{Claim, ClientNamespace, HostInput, RuledNamespace, ServiceInput},
};
use crate::{
    config::Settings,
    model::{ClusterName, Note, Now},
};

/// All that the plan of one unit depends on, apart from the settings.
#[derive(Debug, Clone)]
pub struct PlanInputs {
    /// What time it is.
    pub now: Now,
    /// What is known of the unit.
    pub work: WorkInputs,
}

/// What is known of one unit.
#[derive(Debug, Clone)]
pub enum WorkInputs {
    /// A service, with the holder and the address of each host that it asks for ([`super::hosts`]).
    Service {
        /// The service in all clusters.
        service: Box<ServiceInput>,
        /// Who holds each host.
        claims: Vec<Claim>,
    },
    /// Users' routes for a host.
    Routes(Box<HostInput>),
    /// A client namespace, which may get a Sidecar.
    Sidecar(ClientNamespace),
    /// A namespace whose Services may get rules.
    NamespaceRules(RuledNamespace),
}

/// The plan of one unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkPlan {
    /// What each cluster should hold, of all units but services.
    per_cluster: BTreeMap<ClusterName, Desired>,
    /// What owners and operators should know.
    pub notes: Vec<Note>,
    /// Clusters that are written before the others; mostly none.
    pub first: BTreeSet<ClusterName>,
    /// Whether the unit must be left exactly as it is: nothing is written, and nothing removed.
    pub frozen: bool,
    /// When the plan is another although nothing changed; absent for plans that do not depend on time.
    pub revisit_at: Option<Now>,
    /// The plan of a service in detail, with the decision behind it; absent for other units.
    pub service: Option<ServicePlan>,
}

impl WorkPlan {
    /// What a cluster should hold of the unit.
    #[must_use]
    pub fn desired_in(&self, cluster: &ClusterName) -> Desired {
        let of_service = self.service.as_ref().and_then(|plan| plan.clusters.iter().find(|of| of.cluster == *cluster));
        let of_service = of_service.map(|planned| Desired::of_cluster(planned.clone()));
        of_service.or_else(|| self.per_cluster.get(cluster).cloned()).unwrap_or_default()
    }

    /// What each cluster should hold. A cluster that is missing should hold nothing of the unit.
    #[must_use]
    pub fn into_desired(self) -> BTreeMap<ClusterName, Desired> {
        let of_service = self.service.into_iter().flat_map(|plan| plan.clusters);
        let of_service = of_service.map(|planned| (planned.cluster.clone(), Desired::of_cluster(planned)));
        self.per_cluster.into_iter().chain(of_service).collect()
    }
}

/// Plans one unit: decides, turns the decision into objects, and refuses what must never be written.
#[must_use]
pub fn plan_unit(inputs: &PlanInputs, settings: &Settings) -> WorkPlan {
    let emitter = emit::emitter(settings);
    match &inputs.work {
        WorkInputs::Service { service, claims } => {
            let mut plan = emitter.service(decide::service(service, claims, settings));
            checks::refuse(&mut plan);
            let revisit_at = claims.iter().filter_map(|claim| Some(claim.reserved.as_ref()?.until)).min();
            WorkPlan { revisit_at, ..of_service(plan) }
        }
        WorkInputs::Routes(host) => {
            let decision = decide::routes(host, settings);
            WorkPlan {
                per_cluster: emitter.routes(&decision),
                notes: decision.notes,
                frozen: decision.frozen,
                ..WorkPlan::default()
            }
        }
        WorkInputs::Sidecar(client) => {
            let decision = decide::sidecar(client, settings);
            of_one_cluster(&client.cluster, emitter.sidecar(client, &decision))
        }
        WorkInputs::NamespaceRules(namespace) => {
            let decision = decide::namespace_rules(namespace, settings);
            of_one_cluster(&namespace.cluster, emitter.namespace_rules(namespace, &decision))
        }
    }
}

fn of_service(plan: ServicePlan) -> WorkPlan {
    WorkPlan {
        per_cluster: BTreeMap::new(),
        notes: plan.decision.notes.clone(),
        first: plan.decision.first.clone(),
        frozen: plan.decision.frozen,
        revisit_at: None,
        service: Some(plan),
    }
}

fn of_one_cluster(cluster: &ClusterName, desired: Desired) -> WorkPlan {
    WorkPlan { per_cluster: BTreeMap::from([(cluster.clone(), desired)]), ..WorkPlan::default() }
}
