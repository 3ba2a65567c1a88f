//! Users' ServiceEntries and DestinationRules in one cluster that Istio may follow in place of published ones.
//!
//! Knows which there are, and for which hosts each may matter; planning, which knows what is published, decides whether it does.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::remove_from;
use crate::model::{HostOverride, Kind, ObjectId, Route, wildcard_end};

/// The host overrides of one cluster.
#[derive(Debug)]
pub(in crate::registry) struct HostOverrides {
    /// The suffix of published hosts.
    suffix: Arc<str>,
    all: HashMap<ObjectId, Arc<HostOverride>>,
    /// By each whole host, and by what follows its first labels: a service's hosts all end with its default one.
    by_tail: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Those with a wildcard: rules that users rarely make.
    wildcards: BTreeSet<ObjectId>,
}

impl HostOverrides {
    pub(in crate::registry) fn new(suffix: &str) -> Self {
        Self { suffix: suffix.into(), all: HashMap::new(), by_tail: HashMap::new(), wildcards: BTreeSet::new() }
    }

    /// Puts, replaces or removes one; returns the hosts that it had or has, unless nothing changed.
    pub(in crate::registry) fn replace(&mut self, id: &ObjectId, now: Option<HostOverride>) -> Vec<Arc<str>> {
        if self.all.get(id).map(|known| &**known) == now.as_ref() {
            return Vec::new();
        }
        let mut hosts = Vec::new();
        if let Some(before) = self.all.remove(id) {
            self.wildcards.remove(id);
            for host in &before.hosts {
                tails(&folded(host)).for_each(|tail| remove_from(&mut self.by_tail, &Arc::from(tail), id));
            }
            hosts.extend(before.hosts.iter().cloned());
        }
        if let Some(now) = now {
            for host in &now.hosts {
                if wildcard_end(host).is_some() {
                    self.wildcards.insert(id.clone());
                    continue;
                }
                for tail in tails(&folded(host)) {
                    self.by_tail.entry(tail.into()).or_default().insert(id.clone());
                }
            }
            hosts.extend(now.hosts.iter().cloned());
            self.all.insert(id.clone(), Arc::new(now));
        }
        hosts
    }

    /// As [`HostOverrides::replace`], for a user's DestinationRule.
    pub(in crate::registry) fn replace_rule(&mut self, id: &ObjectId, now: Option<&Route>) -> Vec<Arc<str>> {
        let now = now.and_then(|route| HostOverride::of_rule(route, &self.suffix));
        self.replace(id, now)
    }

    /// Those that may be for a service with this default host, in lower case.
    pub(in crate::registry) fn of(&self, host: &str) -> impl Iterator<Item = &Arc<HostOverride>> {
        let whole = self.by_tail.get(host).into_iter().flatten().filter_map(|id| self.all.get(id));
        let wildcards = self.wildcards.iter().filter_map(|id| self.all.get(id));
        whole.chain(wildcards.filter(move |one| one.hosts.iter().any(|wildcard| may_cover(wildcard, host))))
    }

    pub(in crate::registry) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.all.keys().filter(move |id| id.kind == kind).cloned()
    }
}

/// A host as it is compared: without the dot at its end, in lower case.
pub(in crate::registry) fn folded(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A host, and what is left of it without its first labels.
pub(in crate::registry) fn tails(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, tail)| tail))
}

/// Whether a wildcard may cover a default host, or a host with further labels before it.
pub(in crate::registry) fn may_cover(wildcard: &str, host: &str) -> bool {
    let Some(end) = wildcard_end(wildcard).map(str::to_ascii_lowercase) else { return false };
    host.ends_with(&end) || end.strip_suffix(host).is_some_and(|before| before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Visibility;

    fn of(kind: Kind, hosts: &[&str]) -> HostOverride {
        HostOverride {
            id: ObjectId::new(kind, "team", "legacy"),
            hosts: hosts.iter().map(|host| Arc::from(*host)).collect(),
            visibility: Visibility::All,
            selects_pods: false,
        }
    }

    fn count(overrides: &HostOverrides, host: &str) -> usize {
        overrides.of(host).count()
    }

    #[test]
    fn an_entry_is_found_by_the_end_of_its_hosts_until_it_goes() {
        let entry = |hosts: &[&str]| of(Kind::ServiceEntry, hosts);
        let id = entry(&[]).id;
        let mut overrides = HostOverrides::new("global");
        assert_eq!(overrides.replace(&id, Some(entry(&["West.stage.pay.global."]))).len(), 1);
        assert!(overrides.replace(&id, Some(entry(&["West.stage.pay.global."]))).is_empty(), "nothing changed");
        assert_eq!((count(&overrides, "stage.pay.global"), count(&overrides, "pay.stage.global")), (1, 0));
        assert_eq!(overrides.replace(&id, Some(entry(&["a.global"]))).len(), 2);
        assert_eq!((count(&overrides, "stage.pay.global"), count(&overrides, "a.global")), (0, 1));
        assert_eq!(overrides.ids(Kind::ServiceEntry).count(), 1);
        overrides.replace(&id, None);
        assert!(overrides.by_tail.is_empty() && overrides.ids(Kind::ServiceEntry).next().is_none());
    }

    #[test]
    fn a_rule_with_a_wildcard_is_found_for_every_host_it_may_cover() {
        let id = of(Kind::DestinationRule, &[]).id;
        let mut overrides = HostOverrides::new("global");
        let found: [(&str, &[&str]); 5] = [
            ("*", &["stage.pay.global", "dev.pay.global", "stage.a.global"]),
            ("*.pay.global", &["stage.pay.global", "dev.pay.global"]),
            ("*.Stage.pay.global", &["stage.pay.global"]),
            ("*-west.stage.pay.global", &["stage.pay.global"]),
            ("*age.a.global", &["stage.a.global"]),
        ];
        for (wildcard, hosts) in found {
            overrides.replace(&id, Some(of(Kind::DestinationRule, &[wildcard])));
            let all = ["stage.pay.global", "dev.pay.global", "stage.a.global"];
            let those: Vec<_> = all.into_iter().filter(|host| count(&overrides, host) == 1).collect();
            assert_eq!(those, hosts, "{wildcard}");
        }
        overrides.replace(&id, None);
        assert!(overrides.wildcards.is_empty());
    }
}
