//! Whose pods a Service selects.

use crate::model::Labels;

/// Label by which Argo narrows the Services of a Rollout to one of its versions: pods have it and templates do not.
pub(crate) const POD_HASH: &str = "rollouts-pod-template-hash";
/// Whether a Service selects the pods of a workload. `of_rollout`: of any of its versions (Admiral,
/// docs/admiral-behaviour.md#services-of-a-workload).
pub(crate) fn selects(selector: &Labels, labels: &Labels, of_rollout: bool) -> bool {
    let mut pairs = selector.iter().filter(|(key, _)| !(of_rollout && *key == POD_HASH)).peekable();
    pairs.peek().is_some() && pairs.all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_pair_counts_and_of_a_rollout_any_version() {
        let pods = labels(&[("app", "pay"), ("tier", "web")]);
        assert!(selects(&labels(&[("app", "pay")]), &pods, false));
        assert!(!selects(&labels(&[("app", "pay"), ("tier", "db")]), &pods, false));
        assert!(!selects(&labels(&[]), &pods, false), "without a selector it selects nothing");
        let version = labels(&[("app", "pay"), (POD_HASH, "abc")]);
        assert!(!selects(&version, &pods, false) && selects(&version, &pods, true));
        assert!(!selects(&labels(&[(POD_HASH, "abc")]), &pods, true));
    }
}
