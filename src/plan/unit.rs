//! One plan function for every kind of work: what is known of a unit in, what each cluster should hold of it out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desired, ServicePlan, SidecarWant};
use crate::{
    config::Settings,
    model::{ClusterName, Note},
    plan::input::{Claim, ClientNamespace, HostInput, RuledNamespace, ServiceInput},
};

/// What is known of one unit: all that its plan depends on, beside the settings.
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
    /// What each cluster should hold. A cluster that is missing should hold nothing of the unit.
    pub per_cluster: BTreeMap<ClusterName, Desired>,
    /// What owners and operators should know.
    pub notes: Vec<Note>,
    /// Clusters that are written before the others; mostly none.
    pub first: BTreeSet<ClusterName>,
    /// Whether the unit must be left exactly as it is: nothing is written, and nothing removed.
    pub frozen: bool,
    /// The plan of a service in detail, with the reason of each endpoint; absent for other units.
    pub service: Option<ServicePlan>,
}

impl WorkPlan {
    /// What a cluster should hold of the unit.
    #[must_use]
    pub fn desired_in(&self, cluster: &ClusterName) -> Desired {
        self.per_cluster.get(cluster).cloned().unwrap_or_default()
    }
}

/// Plans one unit.
#[must_use]
pub fn plan_unit(inputs: &WorkInputs, settings: &Settings) -> WorkPlan {
    match inputs {
        WorkInputs::Service { service, claims } => of_service(super::plan(service, claims, settings)),
        WorkInputs::Routes(host) => {
            let plan = super::routes(host, settings);
            let per_cluster = plan.clusters.iter().map(|(of, objects)| (of.clone(), Desired::in_turn(objects)));
            WorkPlan { per_cluster: per_cluster.collect(), notes: plan.notes, frozen: plan.held, ..WorkPlan::default() }
        }
        WorkInputs::Sidecar(client) => {
            let desired = match super::sidecar(client, settings) {
                SidecarWant::Nothing => Desired::nothing(),
                SidecarWant::Own(sidecar) => Desired::sidecar(sidecar),
                SidecarWant::Merge { hosts } => {
                    Desired::merged_sidecar(&client.namespace, &settings.workload_sidecar_name, hosts)
                }
            };
            of_one_cluster(&client.cluster, desired)
        }
        WorkInputs::NamespaceRules(namespace) => {
            let rules = super::namespace_rules(namespace, settings);
            of_one_cluster(&namespace.cluster, Desired::nothing().and(&rules.objects).keeping(&rules.kept))
        }
    }
}

fn of_service(plan: ServicePlan) -> WorkPlan {
    let per_cluster = plan.clusters.iter().map(|planned| {
        let desired = Desired::hosts(&planned.hosts).and(&planned.others).keeping(&planned.kept);
        (planned.cluster.clone(), desired)
    });
    WorkPlan {
        per_cluster: per_cluster.collect(),
        notes: plan.notes.clone(),
        first: plan.first.clone(),
        frozen: plan.held,
        service: Some(plan),
    }
}

fn of_one_cluster(cluster: &ClusterName, desired: Desired) -> WorkPlan {
    WorkPlan { per_cluster: BTreeMap::from([(cluster.clone(), desired)]), ..WorkPlan::default() }
}
