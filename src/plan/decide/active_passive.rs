//! Active-passive: without a policy for its host, the first region of a service stays primary when others appear
//! (Admiral, docs/admiral-behaviour.md#active-passive; setting `enableActivePassive`).
//!
//! Which region was first is remembered in what was written. Decides the primary and what it means for the shares.

use std::sync::Arc;

use super::shares::{Shares, Weighted};
use crate::{
    model::Host,
    plan::input::{ServiceInput, Source},
};

/// The region that stays primary for a host: the one that was, else that of the oldest workload.
pub(super) fn primary(service: &ServiceInput, host: &Host) -> Option<Arc<str>> {
    service.remembered.primaries.get(host).cloned().or_else(|| oldest(service))
}

/// Everything goes to the primary region, or to that of the oldest workload while the primary runs nothing; all others are
/// fallbacks.
pub(super) fn shares(primary: &Arc<str>, service: &ServiceInput) -> Shares {
    let runs = service.sources.iter().any(|source| region(source) == Some(primary));
    let Some(acting) = (if runs { Some(primary.clone()) } else { oldest(service) }) else { return Shares::Unset };
    Shares::Weighted(Weighted {
        split: vec![(acting.clone(), 100)],
        fallbacks: Vec::new(),
        unlisted: true,
        listed: vec![(acting, 100)],
        all_clients: true,
    })
}

/// Clusters that cannot be read come last, for nobody knows how old their workloads are.
fn oldest(service: &ServiceInput) -> Option<Arc<str>> {
    let placed = service.sources.iter().filter_map(|source| Some((source, region(source)?)));
    let age = |source: &Source| {
        let since = source.since_seconds.value().copied();
        (since.is_none(), since, source.cluster.clone())
    };
    placed.min_by_key(|(source, _)| age(source)).map(|(_, region)| region.clone())
}

fn region(source: &Source) -> Option<&Arc<str>> {
    source.locality.value().map(|locality| &locality.region)
}
