//! Rules that several CRDs share. They refuse only what is certainly wrong and was never of use: a manifest that works
//! with Admiral applies as it is.

use kube::core::Rule;

/// Whether a text is a duration as Go reads it, in CEL. By pattern, because `duration()` of anything else is a failure
/// of the rule, whose message is not Tradewind's.
pub(super) const IS_DURATION: &str =
    r"self.matches('^[+-]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$')";

/// A duration, or nothing.
pub(super) fn duration_or_empty() -> Rule {
    Rule::new(format!("self == '' || {IS_DURATION}")).message("must be a duration, such as 30s or 1h30m")
}
