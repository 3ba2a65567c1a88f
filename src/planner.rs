//! Plans one unit from what the registry knows: the steps that the controller, the commands, the server and the tests share.
//!
//! 1. Read all that the plan depends on out of the registry.
//! 2. For a service, claim the hosts that it asks for, with their addresses. Nothing else in planning changes anything.
//! 3. Plan ([`plan::plan_unit`], which is pure).

use crate::{
    config::Settings,
    model::{Host, Now, ServiceKey, WorkKey},
    plan::{
        self, PlanInputs, WorkInputs, WorkPlan,
        input::{Claim, ServiceInput},
    },
    registry::Registry,
};

/// Plans a unit and claims the hosts of a service. Returns `None` while nothing may be planned.
#[must_use]
pub fn plan_unit(registry: &Registry, unit: &WorkKey, now: Now) -> Option<WorkPlan> {
    let claim = |key: &ServiceKey, service: &ServiceInput, hosts: &[Host]| {
        // A frozen service only seems to ask for no host: it keeps those that it has.
        if service.unreadable_policy.is_some() {
            return Vec::new();
        }
        registry.claim(key, &service.identity, hosts, now)
    };
    plan_with(registry, unit, now, claim)
}

/// As [`plan_unit`], for display: claims nothing, so that it may run while the controller plans.
#[must_use]
pub fn preview_unit(registry: &Registry, unit: &WorkKey, now: Now) -> Option<WorkPlan> {
    plan_with(registry, unit, now, |key, service, hosts| registry.claims(key, &service.identity, hosts, now))
}

fn plan_with(
    registry: &Registry,
    unit: &WorkKey,
    now: Now,
    claim: impl FnOnce(&ServiceKey, &ServiceInput, &[Host]) -> Vec<Claim>,
) -> Option<WorkPlan> {
    let settings = registry.settings();
    let work = inputs(registry, unit, settings, claim)?;
    Some(plan::plan_unit(&PlanInputs { now, work }, settings))
}

fn inputs(
    registry: &Registry,
    unit: &WorkKey,
    settings: &Settings,
    claim: impl FnOnce(&ServiceKey, &ServiceInput, &[Host]) -> Vec<Claim>,
) -> Option<WorkInputs> {
    Some(match unit {
        WorkKey::Service(key) => {
            let service = registry.inputs().service(key)?;
            let claims = claim(key, &service, &plan::hosts(&service, settings));
            WorkInputs::Service { service: Box::new(service), claims }
        }
        WorkKey::Host(host) => WorkInputs::Routes(Box::new(registry.inputs().routes(host)?)),
        WorkKey::Sidecar(cluster, namespace) => WorkInputs::Sidecar(registry.inputs().sidecar(cluster, namespace)?),
        WorkKey::Namespace(cluster, namespace) => {
            WorkInputs::NamespaceRules(registry.inputs().namespace_rules(cluster, namespace)?)
        }
    })
}
