//! What operators switched while the controller runs: TradewindConfigs, all together, and the identities that the settings
//! exclude.
//!
//! Decides what is left as it is; planning goes on meanwhile, so that views show what would come.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    OutputQueries, Queries, Registry,
    dirty::{self, Trigger},
    locks::{Rank, RankedRwLock},
    notes, propagation,
};
use crate::{
    api::{Suspension, TradewindConfigSpec},
    model::{ClusterName, NoteKind, ObjectId, PolicyObject, ServiceKey, WorkKey},
};

/// What each TradewindConfig says.
type Configs = BTreeMap<(ClusterName, ObjectId), TradewindConfigSpec>;

/// The TradewindConfigs of the fleet.
#[derive(Debug)]
pub(super) struct Operations(RankedRwLock<Configs>);

impl Default for Operations {
    fn default() -> Self {
        Self(RankedRwLock::new(Rank::Operations, Configs::new()))
    }
}

impl Operations {
    /// The TradewindConfigs of a cluster.
    pub(super) fn ids(&self, cluster: &ClusterName) -> Vec<ObjectId> {
        self.0.read().keys().filter(|(of, _)| of == cluster).map(|(_, id)| id.clone()).collect()
    }

    fn is_read_only(&self) -> bool {
        self.0.read().values().any(|config| config.read_only)
    }

    fn nlb_enabled_clusters(&self) -> Vec<String> {
        self.0.read().values().flat_map(|config| config.nlb_enabled_clusters.iter().cloned()).collect()
    }

    fn leaving_clusters(&self) -> BTreeSet<ClusterName> {
        let configs = self.0.read();
        let named = configs.values().flat_map(|config| &config.leaving_clusters);
        named.filter_map(|name| ClusterName::parse(name.trim()).ok()).collect()
    }

    /// Replaces what one object says; answers what it said before.
    fn set(&self, of: (ClusterName, ObjectId), now: Option<TradewindConfigSpec>) -> Option<TradewindConfigSpec> {
        let mut configs = self.0.write();
        match now {
            Some(now) => configs.insert(of, now),
            None => configs.remove(&of),
        }
    }
}

fn suspensions(configs: &Configs) -> impl Iterator<Item = (&(ClusterName, ObjectId), &Suspension)> {
    configs.iter().flat_map(|(of, config)| config.suspend.iter().map(move |suspension| (of, suspension)))
}

/// The names that a suspension gives; a blank one is none.
fn given(name: Option<&String>) -> Option<&str> {
    name.map(|name| name.trim()).filter(|name| !name.is_empty())
}

/// Whether a suspension covers a service in a cluster. `None` is for what belongs to no service.
fn covers(suspension: &Suspension, key: Option<&ServiceKey>, cluster: &ClusterName) -> bool {
    let (identity, environment) = (given(suspension.identity.as_ref()), given(suspension.environment.as_ref()));
    let of_cluster = given(suspension.cluster.as_ref());
    let fits = |wanted: Option<&str>, found: Option<&str>| {
        wanted.is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
    };
    (identity.is_some() || environment.is_some() || of_cluster.is_some())
        && of_cluster.is_none_or(|of| of == cluster.as_str())
        && fits(identity, key.map(|key| key.identity.as_str()))
        && fits(environment, key.map(|key| key.environment.as_str()))
}

impl Queries<'_> {
    /// The clusters of which an operator confirmed that they leave the fleet.
    #[must_use]
    pub fn leaving_clusters(&self) -> BTreeSet<ClusterName> {
        self.registry.operations.leaving_clusters()
    }
}

impl OutputQueries<'_> {
    /// Whether nothing is written anywhere, by the settings or by a TradewindConfig.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.registry.settings.read_only || self.registry.operations.is_read_only()
    }

    /// Whether the objects of a unit in a cluster are to be left as they are.
    #[must_use]
    pub fn is_suspended(&self, cluster: &ClusterName, unit: &WorkKey) -> bool {
        let holder = match unit {
            WorkKey::Host(host) => propagation::holder_of(self.registry, host),
            WorkKey::Namespace(_, namespace) => {
                // The rules for all Services of a namespace are left as any of its services is.
                let services = self
                    .registry
                    .fleet
                    .get(cluster)
                    .map_or_else(BTreeSet::new, |state| state.workloads.keys_in(namespace));
                return is_suspended_for(self.registry, cluster, None)
                    || services.iter().any(|key| is_suspended_for(self.registry, cluster, Some(key)));
            }
            WorkKey::Service(_) | WorkKey::Sidecar(..) => None,
        };
        // The copies for a host are left as its service is.
        is_suspended_for(self.registry, cluster, unit.service().or(holder.as_ref()))
    }
}

fn is_suspended_for(registry: &Registry, cluster: &ClusterName, key: Option<&ServiceKey>) -> bool {
    let excluded = &registry.settings.excluded_identity_list;
    key.is_some_and(|key| excluded.iter().any(|one| one.eq_ignore_ascii_case(key.identity.as_str())))
        || suspensions(&registry.operations.0.read()).any(|(_, suspension)| covers(suspension, key, cluster))
}

/// Why a service is suspended, cluster by cluster where it is so in some only: in words, with the object that says it.
pub(super) fn suspensions_of(registry: &Registry, key: &ServiceKey) -> Vec<(Option<(ClusterName, ObjectId)>, String)> {
    let mut found = Vec::new();
    if registry.settings.excluded_identity_list.iter().any(|one| one.eq_ignore_ascii_case(key.identity.as_str())) {
        found.push((None, format!("the setting excludedIdentityList suspends {key}; its objects stay as they are")));
    }
    let configs = registry.operations.0.read();
    for (of, suspension) in suspensions(&configs) {
        let cluster = given(suspension.cluster.as_ref());
        let named = cluster.and_then(|name| ClusterName::parse(name).ok());
        if !covers(suspension, Some(key), named.as_ref().unwrap_or(&of.0)) {
            continue;
        }
        let place = cluster.map_or_else(String::new, |cluster| format!(" in {cluster}"));
        let reason = given(suspension.reason.as_ref()).map_or_else(String::new, |reason| format!(" ({reason})"));
        found.push((Some(of.clone()), format!("suspends {key}{place}{reason}; its objects stay as they are")));
    }
    found
}

pub(super) fn set_operations(
    registry: &Registry,
    cluster: &ClusterName,
    id: &ObjectId,
    config: Option<&PolicyObject<TradewindConfigSpec>>,
) {
    let of = (cluster.clone(), id.clone());
    let config = config.filter(|config| !config.ignored);
    let now = config.map(|config| (*config.spec).clone());
    let before = registry.operations.set(of, now.clone());
    if before != now {
        let idle = |suspension: &&Suspension| {
            [&suspension.identity, &suspension.environment, &suspension.cluster]
                .iter()
                .all(|name| given(name.as_ref()).is_none())
        };
        let without_effect = now.iter().flat_map(|now| &now.suspend).filter(idle).count();
        let problem = (without_effect > 0).then(|| {
            format!("{without_effect} of its suspensions name no identity, environment or cluster; they are ignored")
        });
        notes::note_object(registry, cluster, id, NoteKind::SuspensionQuestionable, problem);
        let lists = [&before, &now].map(|config| config.as_ref().map(|config| config.nlb_enabled_clusters.as_slice()));
        if lists[0].unwrap_or_default() != lists[1].unwrap_or_default() {
            let switched = registry.operations.nlb_enabled_clusters();
            registry.set_nlb_clusters(registry.settings.nlb_enabled_clusters.iter().cloned().chain(switched));
        }
        dirty::mark_everything(registry, &Trigger::Object(cluster.clone(), id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_covers_what_matches_every_name_it_gives() {
        let east = ClusterName::parse("east").unwrap();
        let key = ServiceKey::parse("payments", "stage").unwrap();
        let suspension = |identity: &str, environment: &str, cluster: &str| Suspension {
            identity: Some(identity.into()),
            environment: Some(environment.into()),
            cluster: Some(cluster.into()),
            reason: None,
        };
        let covered = |one: Suspension| covers(&one, Some(&key), &east);
        assert!(covered(suspension("Payments", "", "")));
        assert!(covered(suspension("payments", "STAGE", "east")));
        assert!(covered(suspension("", "", "east")));
        assert!(!covered(suspension("payments", "prod", "")));
        assert!(!covered(suspension("payments", "stage", "west")));
        assert!(!covered(suspension("", " ", "")), "one that names nothing suspends nothing");
        let whole = suspension("", "", "east");
        assert!(covers(&whole, None, &east), "a suspended cluster keeps its Sidecars too");
        assert!(!covers(&suspension("payments", "", ""), None, &east));
    }
}
