//! Time as an input: pure code takes the time as an argument.

use std::{fmt, time::Duration};

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

    /// So many milliseconds after the epoch.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.millis
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

/// In UTC, to the minute.
impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.millis / 60_000;
        let (minute, hour) = (minutes % 60, minutes / 60 % 24);
        // Days since 0000-03-01, in eras of 400 years: so the leap day is the last of a year.
        let days = minutes / (60 * 24) + 719_468;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + days / 146_097 * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00Z"),
            (951_782_399, "2000-02-28T23:59Z"),
            (951_782_400, "2000-02-29T00:00Z"),
            (1_795_953_600, "2026-11-29T12:00Z"),
            (4_107_542_399, "2100-02-28T23:59Z"),
            (4_107_542_400, "2100-03-01T00:00Z"),
        ] {
            assert_eq!(Now::from_millis(seconds * 1_000).to_string(), shown);
        }
        assert!(Now::from_millis(u64::MAX).to_string().ends_with('Z'));
    }
}
