//! The subject names that certificates of a service carry (Admiral, docs/admiral-behaviour.md#serviceentry-fields,
//! and service accounts).

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    config::{SanSource, Settings},
    plan::input::ServiceInput,
};

/// Sorted and distinct.
pub(super) fn of(service: &ServiceInput, settings: &Settings) -> Vec<String> {
    match (settings.enable_san, settings.san_source, settings.san_prefix.as_str()) {
        (false, _, _) => Vec::new(),
        (true, SanSource::Identity, "") => vec![format!("spiffe://{}", service.identity)],
        (true, SanSource::Identity, prefix) => vec![format!("spiffe://{prefix}/{}", service.identity)],
        (true, SanSource::ServiceAccounts, _) => service_accounts(service, settings),
    }
}

/// Those of every workload in every cluster. While one of the clusters cannot be read, all that stand stay: which of them are
/// its own is not known.
fn service_accounts(service: &ServiceInput, settings: &Settings) -> Vec<String> {
    let mut names = BTreeSet::new();
    if service.sources.iter().any(|source| source.principals.unknown) {
        names.extend(service.remembered.subject_names.iter().cloned());
    }
    let stand = !names.is_empty();
    for principals in service.sources.iter().map(|source| &source.principals) {
        // Its trust domain may be among what cannot be read.
        if principals.unknown && principals.trust_domain.is_none() && stand {
            continue;
        }
        let trust_domain = principals.trust_domain.as_deref().unwrap_or(&settings.trust_domain);
        let name = |(namespace, account): &(Arc<str>, Arc<str>)| {
            format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}")
        };
        names.extend(principals.accounts.iter().map(name));
    }
    names.into_iter().collect()
}
