//! What is wrong with the value of one of Admiral's flags.

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    #[error("{0:?} is neither true nor false")]
    NotASwitch(String),
    #[error("{0:?} is not a whole number")]
    NotANumber(String),
    #[error("{0:?} is not a duration such as 5m or 1h30m")]
    NotADuration(String),
    #[error("{0:?} has a quote inside a plain field")]
    QuoteInsideField(String),
    #[error("{0:?} lacks a closing quote")]
    UnclosedQuote(String),
    #[error("{0:?} has text behind a closing quote")]
    TextAfterQuote(String),
    #[error("{0:?} is not of the form key=value")]
    NotAPair(String),
    #[error("{0:?} is not the first two numbers of an IPv4 address, such as 240.0")]
    NotAPrefix(String),
    /// The setting that it becomes does not take it.
    #[error("{value:?} is refused by {setting}{}; allowed: {allowed}", .why.map(|why| format!(": {why}")).unwrap_or_default())]
    Refused { value: String, setting: String, why: Option<&'static str>, allowed: String },
}
