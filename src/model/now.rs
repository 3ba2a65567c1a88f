//! Time as an input: pure code takes the time as an argument.

use std::time::Duration;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now {
    millis: u64,
}

impl Now {
    /// So many milliseconds after the epoch.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// A later moment.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { millis: self.millis.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// How long it takes until another moment; nothing where that is past.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.millis.saturating_sub(self.millis))
    }
}
