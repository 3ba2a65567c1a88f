//! Which services users' ServiceEntries and DestinationRules may concern, by their hosts.
//!
//! Planning, which knows what is published, decides whether Istio follows them.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Registry,
    cluster_state::host_overrides::{folded, may_cover, tails},
    routing_inputs,
};
use crate::model::{ClusterName, Environment, Host, HostOverride, Identity, ServiceKey, WorkKey, wildcard_end};

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

/// What Istio may follow, in these clusters, in place of the objects of a service with this default host.
pub(super) fn host_overrides_of<'a>(
    registry: &Registry,
    clusters: impl Iterator<Item = &'a ClusterName>,
    host: &Host,
) -> Vec<(ClusterName, Arc<HostOverride>)> {
    let host = host.as_str().to_ascii_lowercase();
    let mut found = Vec::new();
    for cluster in clusters {
        let Some(state) = registry.fleet.get(cluster) else { continue };
        found.extend(state.user_routes.overrides().of(&host).map(|one| (cluster.clone(), one.clone())));
    }
    found.sort();
    found
}

/// The services that may have one of these hosts, which ServiceEntries or DestinationRules of users are for.
pub(super) fn overridden_services(registry: &Registry, hosts: &BTreeSet<Arc<str>>) -> BTreeSet<WorkKey> {
    let suffix = &registry.settings.hostname_suffix;
    let mut keys = BTreeSet::new();
    for host in hosts.iter().filter(|host| wildcard_end(host).is_none()) {
        for possible in possible_keys(host, suffix) {
            let known = routing_inputs::keys_under(registry, &possible.identity);
            keys.extend(known.into_iter().filter(|key| key.environment == possible.environment));
        }
    }
    let wildcards: Vec<&Arc<str>> = hosts.iter().filter(|host| wildcard_end(host).is_some()).collect();
    if !wildcards.is_empty() {
        // A host has the identity without its partition.
        let identities = if registry.settings.enable_sw_aware_ns_caches { usize::MAX } else { 1 };
        let is_covered = |key: &ServiceKey| {
            tails(key.identity.folded()).take(identities).any(|identity| {
                let host = format!("{}.{identity}.{suffix}", key.environment).to_ascii_lowercase();
                wildcards.iter().any(|wildcard| may_cover(wildcard, &host))
            })
        };
        keys.extend(registry.queries().services().into_iter().filter(is_covered));
    }
    keys.into_iter().map(WorkKey::Service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_decides_which_services_may_claim_it() {
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
