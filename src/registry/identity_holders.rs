//! Who held each identity when the fleet was read for the first time, where only the first namespaces count.
//!
//! Decides by what was written and, where nothing was, by age. The namespaces that served before a restart are in the names of the
//! local endpoints of written ServiceEntries; a namespace that came too late is in none of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Registry,
    cluster_state::workloads::eligibility::{RunningSince, WorkloadEligibility},
    dirty::Trigger,
    identity_claims,
    identity_owners::{ChangedClaims, FirstHolders},
    last_known, queries,
};
use crate::model::{Identity, Written};

/// Begins to follow which namespaces run each identity: the fleet was read for the first time.
pub(super) fn begin(registry: &Registry) {
    let mut running = RunningSince::new();
    registry.fleet.iter().for_each(|state| WorkloadEligibility(&state.workloads).add_running(&mut running));
    let owners = &registry.fleet.owners;
    let known = |namespaces: BTreeSet<Arc<str>>| FirstHolders { namespaces, ..FirstHolders::default() };
    if !owners.only_first_count() {
        let all = running.into_iter().map(|(identity, since)| (identity, known(since.into_keys().collect())));
        let unread = registry.fleet.iter().filter(|state| !state.coverage().workloads());
        return owners.begin(all.collect(), unread.map(|state| state.name().clone()).collect());
    }
    let mut served = owners.take_served();
    let holders = running.into_iter().map(|(identity, since)| {
        let holders = served.remove(&identity).map(known);
        let holders = holders.unwrap_or_else(|| unserved(registry, &identity, &since));
        (identity, holders)
    });
    let mut holders: BTreeMap<Identity, FirstHolders> = holders.collect();
    // Those that run nowhere now are held for whoever served.
    holders.extend(served.into_iter().map(|(identity, namespaces)| (identity, known(namespaces))));
    owners.begin(holders, BTreeSet::new());
    identity_claims::follow(registry, &ChangedClaims::all(), &Trigger::Start);
}

/// Of an identity that was written with no namespace: the namespace of its oldest workload, and of equally old ones the first by
/// name; or, while clusters that had it cannot be read, whoever runs it there.
fn unserved(registry: &Registry, identity: &Identity, since: &BTreeMap<Arc<str>, i64>) -> FirstHolders {
    let keys = queries::keys_of(registry, identity);
    let awaited: BTreeSet<_> = keys.iter().flat_map(|key| last_known::clusters_with(registry, key)).collect();
    if !awaited.is_empty() {
        return FirstHolders { awaited, ..FirstHolders::default() };
    }
    let oldest = since.iter().min_by_key(|(namespace, created)| (**created, (*namespace).clone()));
    FirstHolders { namespaces: oldest.map(|(namespace, _)| namespace.clone()).into_iter().collect(), awaited }
}

/// Remembers the namespaces that a ServiceEntry shows as serving its identity.
pub(super) fn remember_served(registry: &Registry, written: &Written) {
    let owners = &registry.fleet.owners;
    if !owners.only_first_count() {
        return;
    }
    let namespaces = written.endpoints.iter().filter_map(|endpoint| namespace_of(&endpoint.address));
    if let Some(identity) = identity_of(written) {
        owners.remember_served(identity, namespaces.map(Into::into).collect());
    }
}

/// The identity without partition that an object shows.
fn identity_of(written: &Written) -> Option<Identity> {
    let shown = written.identity.as_deref().and_then(|identity| Identity::parse(identity).ok());
    shown.or_else(|| Some(written.service.as_ref()?.identity.clone()))
}

/// The namespace in the name of a Service, `<service>.<namespace>.svc.<domain>`.
fn namespace_of(address: &str) -> Option<&str> {
    let mut parts = address.split('.');
    let (_service, namespace) = (parts.next()?, parts.next()?);
    (parts.next() == Some("svc")).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_service_has_a_namespace() {
        assert_eq!(namespace_of("payments.team.svc.cluster.local"), Some("team"));
        for address in ["192.0.2.1", "gateway.example.com", "team.svc", ""] {
            assert_eq!(namespace_of(address), None, "{address}");
        }
    }
}
