//! Active-passive: without a policy for its host, the first region of a service stays primary when others appear
//! (Admiral, docs/admiral-behaviour.md#active-passive; setting `enableActivePassive`).
//!
//! Which region was first is remembered in what was written. Decides the primary and what it means for the shares.

use std::sync::Arc;

use super::weights::{Shares, Weighted};
use crate::{
    model::Host,
    plan::input::{ServiceInput, Source},
};

/// The region that stays primary for a host: the one that was, else that of the oldest workload.
pub(super) fn primary(snapshot: &ServiceInput, host: &Host) -> Option<Arc<str>> {
    snapshot.remembered.primaries.get(host).cloned().or_else(|| oldest(snapshot))
}

/// Everything goes to the primary region, or to that of the oldest workload while the primary runs nothing; all others are
/// fallbacks.
pub(super) fn shares(primary: &Arc<str>, snapshot: &ServiceInput) -> Shares {
    let runs = snapshot.sources.iter().any(|source| region(source) == Some(primary));
    let Some(acting) = (if runs { Some(primary.clone()) } else { oldest(snapshot) }) else { return Shares::Nothing };
    Shares::Weighted(Weighted {
        first: vec![(acting.clone(), 100)],
        fallbacks: Vec::new(),
        unlisted: true,
        listed: vec![(acting, 100)],
        everywhere: true,
    })
}

/// Clusters that cannot be read come last, for nobody knows how old their workloads are.
fn oldest(snapshot: &ServiceInput) -> Option<Arc<str>> {
    let placed = snapshot.sources.iter().filter_map(|source| Some((source, region(source)?)));
    let age = |source: &Source| (source.since_seconds.is_none(), source.since_seconds, source.cluster.clone());
    placed.min_by_key(|(source, _)| age(source)).map(|(_, region)| region.clone())
}

fn region(source: &Source) -> Option<&Arc<str>> {
    source.locality.as_ref().map(|locality| &locality.region)
}
