//! When planning may begin: once every cluster was registered and each of its kinds was listed or reported unreadable.
//!
//! Decides that, and says what is waited for; never what is planned.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Queries, Registry, Trigger, dirty, identity_claims, identity_holders, last_known,
    reads::{Unread, listed_targets, main_failure},
    status::KindState,
};
use crate::{
    config::IdentityClaims,
    model::{ClusterName, Kind},
};

/// How far the first reading of the fleet is.
#[derive(Debug, Default)]
pub(super) struct Startup {
    listed: AtomicBool,
    started: AtomicBool,
}

impl Startup {
    /// Every cluster has been registered once.
    pub(super) fn set_listed(&self) {
        self.listed.store(true, Ordering::Release);
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Begins planning; answers whether it had not begun.
    fn start(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    /// Whether planning has begun.
    pub(super) fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }
}

/// Why planning has not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Everything was read a moment ago.
    #[error("starting")]
    Starting,
    /// Something has not been read yet.
    #[error("{0}")]
    Waiting(String),
}

impl Registry {
    /// Whether the fleet was read once, so that planning may begin.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.startup.has_started() {
            return Ok(());
        }
        let missing = || identity_claims::waiting_for(self);
        Err(waiting_for(self).or_else(missing).map_or(NotReady::Starting, NotReady::Waiting))
    }
}

impl Queries<'_> {
    /// Whether every cluster has been registered once.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.registry.startup.is_listed()
    }

    /// The kinds whose first list has not come yet, sorted.
    #[must_use]
    pub fn loading(&self) -> Vec<(ClusterName, Kind)> {
        let mut loading = Vec::new();
        for state in self.registry.fleet.iter() {
            let kinds = state.freshness.kinds().iter().filter(|(_, state)| **state == KindState::Loading);
            loading.extend(kinds.map(|(kind, _)| (state.name().clone(), *kind)));
        }
        loading.sort();
        loading
    }
}

pub(super) fn try_start(registry: &Registry) {
    if registry.startup.has_started() {
        return;
    }
    let waits = waiting_for(registry);
    let missing = if waits.is_none() { identity_claims::waiting_for(registry) } else { None };
    identity_claims::note_missing(registry, missing.as_deref());
    if waits.is_some() || missing.is_some() {
        return;
    }
    last_known::restore_all(registry);
    identity_holders::begin(registry);
    if registry.startup.start() {
        dirty::mark_everything(registry, &Trigger::Start);
        registry.queue.wake();
    }
}

/// What the first plan waits for, in words. What fails is named before what merely has not come yet.
fn waiting_for(registry: &Registry) -> Option<String> {
    if !registry.startup.is_listed() {
        let hub = registry.queries().reads_in(&ClusterName::hub());
        let failing: Vec<&Unread> = hub.unread.iter().filter(|unread| unread.target.comes_first()).collect();
        let why = main_failure(&failing).map_or_else(String::new, |failure| {
            let what = listed_targets(failing.iter().map(|unread| &unread.target));
            format!(": {what} of cluster {} cannot be read: {failure}", ClusterName::hub())
        });
        return Some(format!("the clusters of the fleet have not been listed yet{why}"));
    }
    let mut waiting: Vec<(bool, String)> = Vec::new();
    for state in registry.fleet.iter() {
        let enforced = registry.settings.identity_claims == IdentityClaims::Enforce;
        let must_know = |kind: Kind| match kind {
            Kind::IdentityClaim => enforced,
            kind => Kind::OF_HUB.contains(&kind) && kind.decides_removals(),
        };
        let cluster = state.name();
        for (kind, state) in state.freshness.kinds() {
            let kind_name = kind.as_str();
            match state {
                KindState::Loading => {
                    let why = registry.queries().delay_of(cluster, *kind);
                    let text = format!("{kind_name} of cluster {cluster} not listed yet");
                    waiting.push((why.is_none(), why.map_or_else(|| text.clone(), |why| format!("{text}: {why}"))));
                }
                KindState::Unreadable { reason, .. } if must_know(*kind) => {
                    waiting.push((false, format!("{kind_name} of cluster {cluster} cannot be read: {reason}")));
                }
                KindState::Unreadable { .. } | KindState::Synced | KindState::Absent | KindState::Stale { .. } => {}
            }
        }
    }
    waiting.into_iter().min().map(|(_, text)| text)
}
