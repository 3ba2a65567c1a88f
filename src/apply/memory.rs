//! What a writer remembers of a unit between two comparisons, so that it neither repeats itself nor hammers. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::{model::ObjectId, registry::Because};

/// The memory of one unit in one cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Objects about which something was noted.
    pub(super) noted: BTreeSet<ObjectId>,
    /// Wanted and observed digest of objects that stay different after all was tried.
    pub(super) settled: BTreeMap<ObjectId, (u64, u64)>,
    /// Contents that were refused.
    pub(super) refused: BTreeMap<ObjectId, Refused>,
    /// Contents that were logged by a dry run.
    pub(super) logged: BTreeMap<ObjectId, u64>,
    /// Objects that differ from the plan.
    pub(super) drift: usize,
    /// Why the removals that still wait were wanted.
    pub(super) removing: Option<Because>,
    /// Conflicts in a row.
    pub(super) conflicts: u32,
}

/// A content that was refused, and why.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) digest: u64,
    /// The version of the object that was to be changed.
    pub(super) over: Option<Arc<str>>,
    /// How many refusals of the cluster had been taken back by then.
    pub(super) taken_back: u64,
    pub(super) until: Instant,
    pub(super) reason: String,
}

impl Memory {
    /// Forgets the objects that no longer matter.
    pub(super) fn keep(&mut self, wanted: &HashSet<ObjectId>) {
        self.settled.retain(|id, _| wanted.contains(id));
        self.refused.retain(|id, _| wanted.contains(id));
    }

    /// Why this content is not worth another request now.
    pub(super) fn refusal(&self, id: &ObjectId, now: Instant, same: impl Fn(&Refused) -> bool) -> Option<&Refused> {
        self.refused.get(id).filter(|refused| refused.until > now && same(refused))
    }

    /// When the first refused content is tried again.
    pub(super) fn refused_until(&self) -> Option<Instant> {
        self.refused.values().map(|refused| refused.until).min()
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty()
            && self.settled.is_empty()
            && self.refused.is_empty()
            && self.logged.is_empty()
            && self.removing.is_none()
            && self.drift == 0
            && self.conflicts == 0
    }
}
