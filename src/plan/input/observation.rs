//! How fresh one input is.

/// One input, with how fresh it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Observation<T> {
    /// Read now.
    Fresh(T),
    /// Cannot be read now: as it was last written.
    LastKnown(T),
    /// Neither read nor written.
    #[default]
    Unknown,
}

impl<T> Observation<T> {
    /// What is read counts before what was written; and what was written counts only where something is not read.
    pub fn merge(read: Option<T>, is_unread: bool, written: impl FnOnce() -> Option<T>) -> Self {
        match read {
            Some(read) => Self::Fresh(read),
            None if is_unread => written().map_or(Self::Unknown, Self::LastKnown),
            None => Self::Unknown,
        }
    }

    /// The value, however fresh it is.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Fresh(value) | Self::LastKnown(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// Whether there is a value.
    pub fn is_known(&self) -> bool {
        self.value().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_counts_with_what_was_last_known() {
        let written = || Some(2);
        assert_eq!(Observation::merge(Some(1), true, written), Observation::Fresh(1));
        assert_eq!(Observation::merge(Some(1), false, written), Observation::Fresh(1));
        assert_eq!(Observation::merge(None, true, written), Observation::LastKnown(2));
        assert_eq!(Observation::merge(None, false, written), Observation::Unknown, "it was read, and there is none");
        assert_eq!(Observation::<u8>::merge(None, true, || None), Observation::Unknown);
        assert!(Observation::LastKnown(2).is_known() && !Observation::<u8>::Unknown.is_known());
    }
}
