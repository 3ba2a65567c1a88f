//! Users' ServiceEntries and DestinationRules in one cluster that Istio may follow in place of published ones.
//!
//! Knows which there are, and for which services each may matter; planning, which knows what is published, decides whether it does.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Registry,
    cluster_state::{ClusterState, Effects, remove_from},
};
use crate::{
    config::Settings,
    model::{
        ClusterName, Environment, Host, HostOverride, Identity, Kind, ObjectId, Route, ServiceKey, WorkKey,
        wildcard_end,
    },
};

/// Those of one cluster.
#[derive(Debug)]
pub(super) struct HostOverrides {
    /// The suffix of published hosts.
    suffix: Arc<str>,
    all: HashMap<ObjectId, Arc<HostOverride>>,
    /// By each whole host, and by what follows its first labels: a service's hosts all end with its default one.
    by_tail: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// Those with a wildcard: rules that users rarely make.
    wildcards: BTreeSet<ObjectId>,
}

impl HostOverrides {
    pub(super) fn new(suffix: &str) -> Self {
        Self { suffix: suffix.into(), all: HashMap::new(), by_tail: HashMap::new(), wildcards: BTreeSet::new() }
    }

    /// Puts, replaces or removes one; returns the hosts that it had or has, unless nothing changed.
    pub(super) fn replace(&mut self, id: &ObjectId, now: Option<HostOverride>) -> Vec<Arc<str>> {
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
    pub(super) fn replace_rule(&mut self, id: &ObjectId, now: Option<&Route>) -> Vec<Arc<str>> {
        let now = now.and_then(|route| HostOverride::of_rule(route, &self.suffix));
        self.replace(id, now)
    }

    /// Those that may be for a service with this default host, in lower case.
    fn of(&self, host: &str) -> impl Iterator<Item = &Arc<HostOverride>> {
        let whole = self.by_tail.get(host).into_iter().flatten().filter_map(|id| self.all.get(id));
        let wildcards = self.wildcards.iter().filter_map(|id| self.all.get(id));
        whole.chain(wildcards.filter(move |one| one.hosts.iter().any(|wildcard| may_cover(wildcard, host))))
    }

    pub(super) fn ids(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        self.all.keys().filter(move |id| id.kind == kind).cloned()
    }
}

/// A host as it is compared: without the dot at its end, in lower case.
fn folded(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A host, and what is left of it without its first labels.
fn tails(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, tail)| tail))
}

/// Whether a wildcard may cover a default host, or a host with further labels before it.
fn may_cover(wildcard: &str, host: &str) -> bool {
    let Some(end) = wildcard_end(wildcard).map(str::to_ascii_lowercase) else { return false };
    host.ends_with(&end) || end.strip_suffix(host).is_some_and(|before| before.ends_with('.'))
}

/// The services that may have a host: `<prefix>.<environment>.<identity>.<suffix>`, where each part may have several labels.
fn possible_keys(host: &str, suffix: &str) -> BTreeSet<ServiceKey> {
    let host = folded(host);
    let Some(named) = host.strip_suffix(&suffix.to_ascii_lowercase()).and_then(|named| named.strip_suffix('.')) else {
        return BTreeSet::new();
    };
    let key = |environment: &str, identity: &str| {
        Some(ServiceKey {
            identity: Identity::parse(identity).ok()?,
            environment: Environment::parse(environment).ok()?,
        })
    };
    let splits = |tail: &'_ str| {
        let dots = tail.match_indices('.').map(|(at, _)| at);
        dots.filter_map(|at| key(&tail[..at], &tail[at + 1..])).collect::<Vec<_>>()
    };
    tails(named).flat_map(splits).collect()
}

impl ClusterState {
    /// A user's ServiceEntry that is no machine.
    pub(super) fn put_entry(&mut self, entry: HostOverride, settings: &Settings) -> Effects {
        let id = entry.id.clone();
        let mut effects = if self.has_workload(&id) { self.remove_workload(&id, settings) } else { Effects::default() };
        effects.overridden.extend(self.host_overrides.replace(&id, Some(entry)));
        effects
    }

    /// An object is no longer a machine, a user's entry or a user's route.
    pub(super) fn forget_as_users(&mut self, id: &ObjectId, settings: &Settings) -> Effects {
        if id.kind == Kind::ServiceEntry { self.remove_workload(id, settings) } else { self.remove_route(id) }
    }
}

impl Registry {
    /// What Istio may follow, in these clusters, in place of the objects of a service with this default host.
    pub(super) fn host_overrides_of<'a>(
        &self,
        clusters: impl Iterator<Item = &'a ClusterName>,
        host: &Host,
    ) -> Vec<(ClusterName, Arc<HostOverride>)> {
        let host = host.as_str().to_ascii_lowercase();
        let mut found = Vec::new();
        for cluster in clusters {
            let Some(cluster_state) = self.cluster_states.get(cluster) else { continue };
            found.extend(cluster_state.host_overrides.of(&host).map(|one| (cluster.clone(), one.clone())));
        }
        found.sort();
        found
    }

    /// The services that may have one of these hosts, which ServiceEntries or DestinationRules of users are for.
    pub(super) fn overridden_services(&self, hosts: &BTreeSet<Arc<str>>) -> BTreeSet<WorkKey> {
        let suffix = &self.settings.hostname_suffix;
        let mut keys = BTreeSet::new();
        for host in hosts.iter().filter(|host| wildcard_end(host).is_none()) {
            for possible in possible_keys(host, suffix) {
                let known = self.keys_under(&possible.identity);
                keys.extend(known.into_iter().filter(|key| key.environment == possible.environment));
            }
        }
        let wildcards: Vec<&Arc<str>> = hosts.iter().filter(|host| wildcard_end(host).is_some()).collect();
        if !wildcards.is_empty() {
            // A host has the identity without its partition.
            let identities = if self.settings.enable_sw_aware_ns_caches { usize::MAX } else { 1 };
            let is_covered = |key: &ServiceKey| {
                tails(key.identity.folded()).take(identities).any(|identity| {
                    let host = format!("{}.{identity}.{suffix}", key.environment).to_ascii_lowercase();
                    wildcards.iter().any(|wildcard| may_cover(wildcard, &host))
                })
            };
            keys.extend(self.services().into_iter().filter(is_covered));
        }
        keys.into_iter().map(WorkKey::Service).collect()
    }
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

    #[test]
    fn a_host_says_which_services_may_have_it() {
        let keys = |host: &str| -> Vec<String> {
            let keys = possible_keys(host, "mesh.global").into_iter();
            keys.map(|key| format!("{} {}", key.environment, key.identity)).collect()
        };
        assert_eq!(keys("Stage.pay.mesh.global."), ["stage pay"]);
        let prefixed = keys("west.stage.pay.mesh.global");
        assert_eq!(prefixed.len(), 3);
        for key in ["stage pay", "west.stage pay", "west stage.pay"] {
            assert!(prefixed.contains(&key.to_owned()), "{key}");
        }
        for none in ["pay.mesh.global", "mesh.global", "stage.pay.global", ""] {
            assert!(keys(none).is_empty(), "{none}");
        }
    }
}
