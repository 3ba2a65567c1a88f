//! How fresh each kind of one cluster is.
//!
//! Decides nothing: which questions need which kinds is for [`Coverage`](super::coverage::Coverage).

use std::collections::BTreeMap;

use crate::{model::Kind, registry::status::KindState};

/// The watched kinds of one cluster, each with its state.
#[derive(Debug)]
pub(in crate::registry) struct Freshness {
    kinds: BTreeMap<Kind, KindState>,
}

impl Freshness {
    /// Every kind is loading.
    pub(super) fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: kinds.into_iter().map(|kind| (kind, KindState::Loading)).collect() }
    }

    /// The watched kinds with their states, sorted.
    pub(in crate::registry) fn kinds(&self) -> &BTreeMap<Kind, KindState> {
        &self.kinds
    }

    pub(in crate::registry) fn set(&mut self, kind: Kind, now: KindState) {
        self.kinds.insert(kind, now);
    }

    /// Whether a kind is watched.
    pub(in crate::registry) fn watches(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Whether a whole list of the kind was read once. A kind that is not watched is not known.
    pub(in crate::registry) fn knows(&self, kind: Kind) -> bool {
        self.kinds.get(&kind).is_some_and(KindState::is_known)
    }

    /// Whether a kind is known or not watched, so that nothing of it is missed.
    pub(in crate::registry) fn misses_nothing_of(&self, kind: Kind) -> bool {
        !self.watches(kind) || self.knows(kind)
    }

    /// Whether a kind is known and served there.
    pub(in crate::registry) fn serves(&self, kind: Kind) -> bool {
        self.knows(kind) && self.kinds.get(&kind) != Some(&KindState::Absent)
    }

    /// Whether the first list of some kind has not come yet.
    pub(in crate::registry) fn is_loading(&self) -> bool {
        self.kinds.values().any(|state| matches!(state, KindState::Loading))
    }

    /// Whether every kind is known that could make a managed object wanted.
    pub(in crate::registry) fn knows_all_wanted(&self) -> bool {
        self.kinds.iter().all(|(kind, state)| state.is_known() || !kind.decides_removals())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ReadCause;

    fn unreadable(was_known: bool) -> KindState {
        let (since_seconds, cause, reason) = (0, ReadCause::Refused, String::new());
        if was_known {
            KindState::Stale { since_seconds, cause, reason }
        } else {
            KindState::Unreadable { since_seconds, cause, reason }
        }
    }

    #[test]
    fn a_kind_is_known_from_its_first_list_on() {
        let mut freshness = Freshness::new([Kind::Service, Kind::Rollout]);
        assert!(freshness.is_loading() && !freshness.knows(Kind::Service));
        freshness.set(Kind::Service, KindState::Synced);
        freshness.set(Kind::Rollout, KindState::Absent);
        assert!(!freshness.is_loading() && freshness.knows(Kind::Service) && freshness.knows(Kind::Rollout));
        assert!(freshness.serves(Kind::Service) && !freshness.serves(Kind::Rollout));
        freshness.set(Kind::Service, unreadable(true));
        assert!(freshness.knows(Kind::Service), "what was read once stays known");
        freshness.set(Kind::Rollout, unreadable(false));
        assert!(!freshness.knows(Kind::Rollout) && !freshness.is_loading());
        assert!(!freshness.knows_all_wanted());
    }

    #[test]
    fn nothing_is_missed_of_a_kind_that_is_not_watched() {
        let freshness = Freshness::new([Kind::Service]);
        assert!(!freshness.watches(Kind::Rollout) && !freshness.knows(Kind::Rollout));
        assert!(freshness.misses_nothing_of(Kind::Rollout) && !freshness.misses_nothing_of(Kind::Service));
    }
}
