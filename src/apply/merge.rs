//! Merging hosts of ours into a Sidecar that is somebody else's, and taking exactly them out again. Pure.
//!
//! Only the host list and our annotation are ever decided here. A host that the user has anyway is never ours.

/// The host list of a Sidecar and which of it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hosts {
    /// All hosts: the user's in their order, then ours.
    pub(super) all: Vec<String>,
    /// Ours among them.
    pub(super) ours: Vec<String>,
}

impl Hosts {
    /// Replaces what was ours by `wanted`.
    pub(super) fn with(&self, wanted: &[String]) -> Self {
        let mut all = self.all.clone();
        for host in &self.ours {
            // A host that stands twice has been added by the user too: one of them is ours.
            if let Some(at) = all.iter().rposition(|other| other == host) {
                all.remove(at);
            }
        }
        let mut ours: Vec<String> = Vec::new();
        for host in wanted {
            if !all.contains(host) && !ours.contains(host) {
                ours.push(host.clone());
            }
        }
        all.extend(ours.iter().cloned());
        Self { all, ours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn ours_come_behind_the_users_and_go_without_a_trace() {
        let user = Hosts { all: texts(&["./*", "istio-system/*"]), ours: vec![] };
        let merged = user.with(&texts(&["sync/a.global", "./*", "sync/a.global"]));
        assert_eq!(merged.all, texts(&["./*", "istio-system/*", "sync/a.global"]));
        assert_eq!(merged.ours, texts(&["sync/a.global"]));
        assert_eq!(merged.with(&texts(&["sync/a.global"])), merged, "again changes nothing");
        assert_eq!(merged.with(&[]), user);
    }

    #[test]
    fn a_host_that_the_user_added_too_stays_when_ours_goes() {
        let both = Hosts { all: texts(&["sync/a.global", "./*", "sync/a.global"]), ours: texts(&["sync/a.global"]) };
        assert_eq!(both.with(&[]).all, texts(&["sync/a.global", "./*"]));
    }
}
