//! Which clusters should hold the objects of a service, and why.

use std::collections::BTreeSet;

use crate::{config::WithoutDependency, model::Identity, plan::input::TargetReason};

/// What decides whether a cluster is a target of a service.
#[derive(Debug, Default)]
pub(crate) struct TargetFacts {
    /// Whether it is a source of the service.
    pub(crate) runs: bool,
    /// The identities that declare to call the service and run there.
    pub(crate) dependents: BTreeSet<Identity>,
    /// Whether managed objects of the service are there, and who depends on it there cannot be read.
    pub(crate) may_have_dependents: bool,
}

/// Whether every cluster is a target, as nobody declares to call the service.
pub(crate) fn is_for_all(is_declared: bool, without_dependency: WithoutDependency) -> bool {
    !is_declared && without_dependency == WithoutDependency::All
}

/// Why a cluster is a target; nothing where it is none.
pub(crate) fn reasons(facts: TargetFacts, is_for_all: bool) -> BTreeSet<TargetReason> {
    let TargetFacts { runs, dependents, may_have_dependents } = facts;
    let dependents = (!dependents.is_empty()).then_some(TargetReason::Dependents(dependents));
    let reasons = [
        runs.then_some(TargetReason::Runs),
        dependents,
        is_for_all.then_some(TargetReason::Undeclared),
        may_have_dependents.then_some(TargetReason::DependentsUnread),
    ];
    reasons.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_a_target_for_every_reason_that_holds_and_for_no_other() {
        let orders: BTreeSet<Identity> = [Identity::parse("orders").unwrap()].into();
        assert!(reasons(TargetFacts::default(), false).is_empty());
        assert_eq!(reasons(TargetFacts::default(), true), [TargetReason::Undeclared].into());
        let facts = TargetFacts { runs: true, dependents: orders.clone(), may_have_dependents: false };
        assert_eq!(reasons(facts, false), [TargetReason::Runs, TargetReason::Dependents(orders)].into());
        let facts = TargetFacts { may_have_dependents: true, ..TargetFacts::default() };
        assert_eq!(reasons(facts, false), [TargetReason::DependentsUnread].into());
    }

    #[test]
    fn only_what_nobody_declares_to_call_is_for_all() {
        assert!(is_for_all(false, WithoutDependency::All));
        assert!(!is_for_all(true, WithoutDependency::All) && !is_for_all(false, WithoutDependency::None));
    }
}
