//! Who declares to call whom, from all Dependency objects together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use super::{
    Registry, control_planes, dependency_notes,
    dependency_proxies::Proxies,
    dirty::{self, Trigger},
    locks::{Rank, RankedGuard, RankedMutex, RankedRwLock},
    queries,
};
use crate::model::{ClusterName, DependencyDecl, Identity, ObjectId, WorkKey, nearest};

/// A name with more letters, or fewer, is none that [`nearest`] finds.
const MAX_LENGTH_DIFFERENCE: usize = 3;

/// One Dependency as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) source: Identity,
    pub(super) destinations: BTreeSet<Identity>,
}

/// The Dependencies of the fleet, indexed both ways.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    declared: BTreeMap<(ClusterName, ObjectId), Counted>,
    sources_of: HashMap<Identity, BTreeMap<Identity, usize>>,
    destinations_of: HashMap<Identity, BTreeMap<Identity, usize>>,
    /// The objects that name an identity, as the source or as a destination.
    named_by: HashMap<Identity, BTreeSet<(ClusterName, ObjectId)>>,
    /// The Dependencies whose source no cluster runs, as of their last review.
    idle: BTreeMap<(ClusterName, ObjectId), Identity>,
    /// Who is whose proxy.
    pub(super) proxies: Proxies,
}

/// The Dependencies and DependencyProxies of the fleet, and those whose notes are to be reviewed.
#[derive(Debug)]
pub(super) struct DependencyGraph {
    all: RankedRwLock<Dependencies>,
    unreviewed: RankedMutex<BTreeSet<(ClusterName, ObjectId)>>,
}

impl Default for DependencyGraph {
    fn default() -> Self {
        Self {
            all: RankedRwLock::new(Rank::Dependencies, Dependencies::default()),
            unreviewed: RankedMutex::new(Rank::Queue, BTreeSet::new()),
        }
    }
}

impl DependencyGraph {
    pub(super) fn read(&self) -> RankedGuard<RwLockReadGuard<'_, Dependencies>> {
        self.all.read()
    }

    pub(super) fn write(&self) -> RankedGuard<RwLockWriteGuard<'_, Dependencies>> {
        self.all.write()
    }

    /// The notes of these Dependencies are to be reviewed.
    pub(super) fn review_again(&self, dependencies: impl IntoIterator<Item = (ClusterName, ObjectId)>) {
        self.unreviewed.lock().extend(dependencies);
    }

    /// A Dependency is gone: nothing is to be reviewed any more.
    fn forget_review(&self, dependency: &(ClusterName, ObjectId)) {
        self.unreviewed.lock().remove(dependency);
    }

    /// Takes the Dependencies whose notes are to be reviewed.
    pub(super) fn take_unreviewed(&self) -> BTreeSet<(ClusterName, ObjectId)> {
        std::mem::take(&mut *self.unreviewed.lock())
    }
}

/// What is wrong with a Dependency, in words.
pub(super) fn read(declared: &DependencyDecl) -> (Option<Counted>, Vec<String>) {
    let mut problems = Vec::new();
    let source = match Identity::parse(&declared.source) {
        Ok(source) => source,
        Err(error) => return (None, vec![format!("the source {error}; the Dependency is ignored")]),
    };
    let mut destinations = BTreeSet::new();
    for destination in &declared.destinations {
        match Identity::parse(destination) {
            Ok(destination) if destination == source => {
                problems.push(format!("{source} is listed as its own destination; that entry is ignored"));
            }
            Ok(destination) => {
                destinations.insert(destination);
            }
            Err(error) => problems.push(format!("a destination {error}; that entry is ignored")),
        }
    }
    if declared.destinations.is_empty() {
        problems.push("no destination is listed; it has no effect".into());
    }
    (Some(Counted { source, destinations }), problems)
}

impl Dependencies {
    /// Replaces what one object declares; answers the destinations and the sources that are affected.
    pub(super) fn set(
        &mut self,
        of: (ClusterName, ObjectId),
        now: Option<Counted>,
    ) -> (BTreeSet<Identity>, BTreeSet<Identity>) {
        let before = match &now {
            Some(counted) => self.declared.insert(of.clone(), counted.clone()),
            None => self.declared.remove(&of),
        };
        if before == now {
            return Default::default();
        }
        let (mut destinations, mut sources) = (BTreeSet::new(), BTreeSet::new());
        self.idle.remove(&of);
        for (counted, add) in before.into_iter().map(|c| (c, false)).chain(now.into_iter().map(|c| (c, true))) {
            for identity in counted.destinations.iter().chain([&counted.source]) {
                let named_by = self.named_by.entry(identity.clone()).or_default();
                if add {
                    named_by.insert(of.clone());
                } else if named_by.remove(&of) && named_by.is_empty() {
                    self.named_by.remove(identity);
                }
            }
            for destination in &counted.destinations {
                count(&mut self.sources_of, destination, &counted.source, add);
                count(&mut self.destinations_of, &counted.source, destination, add);
                destinations.insert(destination.clone());
            }
            sources.insert(counted.source);
        }
        (destinations, sources)
    }

    /// Identities that declare to call `destination`.
    pub(super) fn declared_sources_of(&self, destination: &Identity) -> Vec<Identity> {
        self.sources_of.get(destination).map_or_else(Vec::new, |sources| sources.keys().cloned().collect())
    }

    /// Identities that `source` declares to call.
    pub(super) fn declared_destinations_of(&self, source: &Identity) -> Vec<Identity> {
        self.destinations_of.get(source).map_or_else(Vec::new, |destinations| destinations.keys().cloned().collect())
    }

    /// What one object declares.
    pub(super) fn get(&self, of: &(ClusterName, ObjectId)) -> Option<&Counted> {
        self.declared.get(of)
    }

    /// The objects that name `identity`, as the source or as a destination.
    pub(super) fn naming(&self, identity: &Identity) -> impl Iterator<Item = &(ClusterName, ObjectId)> {
        self.named_by.get(identity).into_iter().flatten()
    }

    /// Records whether a cluster runs the source of a Dependency.
    pub(super) fn set_idle(&mut self, of: &(ClusterName, ObjectId), is_idle: bool) {
        match self.declared.get(of).filter(|_| is_idle) {
            Some(counted) => self.idle.insert(of.clone(), counted.source.clone()),
            None => self.idle.remove(of),
        };
    }

    /// The Dependencies whose source no cluster runs and is almost called `identity`.
    pub(super) fn idle_like<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a (ClusterName, ObjectId)> {
        self.idle.iter().filter(move |(_, source)| similar_source(source, [identity]).is_some()).map(|(of, _)| of)
    }

    /// Every Dependency.
    pub(super) fn all(&self) -> impl Iterator<Item = (&(ClusterName, ObjectId), &Counted)> {
        self.declared.iter()
    }

    /// The Dependencies read from one cluster.
    pub(super) fn of_cluster(&self, cluster: &ClusterName) -> Vec<ObjectId> {
        self.declared.keys().filter(|(of, _)| of == cluster).map(|(_, id)| id.clone()).collect()
    }
}

/// The identity that is probably meant by a source that no cluster runs. One that differs by digits alone is none: numbered
/// clients differ by them, and a client may be declared before it is deployed.
pub(super) fn similar_source<'a>(
    source: &Identity,
    running: impl IntoIterator<Item = &'a Identity>,
) -> Option<&'a str> {
    let letters = |name: &str| name.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    let of_source = letters(source.as_str());
    // Most names are of another length, which is found out faster than the letters.
    let may_be_near = |name: &&str| name.len().abs_diff(source.as_str().len()) <= MAX_LENGTH_DIFFERENCE;
    let others = running.into_iter().map(Identity::as_str).filter(may_be_near);
    let others = others.filter(|name| letters(name) != of_source);
    nearest(source.as_str(), others)
}

fn count(index: &mut HashMap<Identity, BTreeMap<Identity, usize>>, from: &Identity, to: &Identity, add: bool) {
    let counts = index.entry(from.clone()).or_default();
    let counter = counts.entry(to.clone()).or_default();
    *counter = if add { *counter + 1 } else { counter.saturating_sub(1) };
    if *counter == 0 {
        counts.remove(to);
        if counts.is_empty() {
            index.remove(from);
        }
    }
}

/// Replaces what one Dependency declares, and marks the services and Sidecars that it concerns.
pub(super) fn set_dependency(registry: &Registry, cluster: &ClusterName, id: &ObjectId, counted: Option<Counted>) {
    let of = (cluster.clone(), id.clone());
    let is_gone = counted.is_none();
    let (mut identities, sources) = registry.dependencies.write().set(of.clone(), counted);
    if is_gone {
        registry.notes.put(dependency_notes::of_destinations(cluster, id), Vec::new());
        registry.dependencies.forget_review(&of);
    } else {
        registry.dependencies.review_again([of]);
        // A note may be due although no service is concerned.
        registry.queue.wake();
    }
    let proxies: Vec<Identity> = {
        let dependencies = registry.dependencies.read();
        identities.iter().flat_map(|identity| dependencies.proxies.before(identity)).cloned().collect()
    };
    identities.extend(proxies);
    let keys = identities.iter().flat_map(|identity| queries::keys_of(registry, identity));
    let mut units: BTreeSet<WorkKey> = keys.map(WorkKey::Service).collect();
    units.extend(control_planes::sidecars_running(registry, &sources));
    dirty::mark_for(registry, units, &Trigger::Object(cluster.clone(), id.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn declared(name: &str, source: &str, destinations: &[&str]) -> DependencyDecl {
        DependencyDecl {
            id: ObjectId::new(Kind::Dependency, "admiral", name),
            source: source.into(),
            destinations: destinations.iter().map(|d| (*d).to_owned()).collect(),
        }
    }

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn what_two_objects_declare_stays_until_both_are_gone() {
        let mut all = Dependencies::default();
        let hub = ClusterName::hub();
        for name in ["one", "two"] {
            let declared = declared(name, "orders", &["payments"]);
            all.set((hub.clone(), declared.id.clone()), read(&declared).0);
        }
        all.set((hub.clone(), declared("one", "", &[]).id), None);
        assert_eq!(all.sources_of(&id("payments")), [id("orders")]);
        let (destinations, sources) = all.set((hub, declared("two", "", &[]).id), None);
        assert_eq!((destinations, sources), ([id("payments")].into(), [id("orders")].into()));
        assert!(all.sources_of(&id("payments")).is_empty());
        assert!(all.destinations_of(&id("orders")).is_empty());
    }

    #[test]
    fn invalid_values_get_a_note_and_the_rest_counts() {
        let (counted, problems) = read(&declared("x", "orders", &["orders", "pay ments", "payments"]));
        assert_eq!(counted.unwrap().destinations, [id("payments")].into());
        assert_eq!(problems.len(), 2);
        assert!(read(&declared("x", "", &["payments"])).0.is_none());
        assert!(read(&declared("x", "orders", &[])).1[0].contains("no destination"));
    }
}
