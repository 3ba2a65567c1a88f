//! What the tests of planning share: a registry that is fed by hand, planned and written back without a cluster.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tradewind::{
    config::Settings,
    fleet::Observer,
    istio::Object,
    model::{ClusterName, Kind, Note, NoteKind, Now, ObjectId, Observed, ServiceKey, WorkKey, Written},
    plan::{self, ServicePlan, WorkPlan},
    planner::plan_unit,
    registry::{NoteSource, Registry},
};

/// Objects of all clusters.
pub type Objects = BTreeMap<(ClusterName, ObjectId), Object>;

/// A registry with the little that the controller does around it.
pub struct World {
    pub registry: Registry,
    pub observer: Observer,
    /// What each unit last wanted, kept up only by the units that were dirty.
    wanted: BTreeMap<WorkKey, Wanted>,
    /// Stands for the API servers' resourceVersions.
    version: AtomicU64,
    /// What time it is.
    pub now: Now,
    /// When units have to be planned again although nothing changes.
    revisits: BTreeMap<WorkKey, Now>,
}

/// What one unit wants of the clusters.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wanted {
    objects: Objects,
    /// Hosts merged into a user's Sidecar.
    merged: Vec<String>,
    /// Objects that stay as they are.
    kept: BTreeSet<(ClusterName, ObjectId)>,
}

/// Everything that a fleet should hold, with the reasons and the notes.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub objects: Objects,
    /// `cluster namespace: hosts` for each Sidecar that is merged.
    pub merged: BTreeMap<String, Vec<String>>,
    /// What each cluster sees of each host.
    pub endpoints: BTreeMap<(ClusterName, String), Vec<DecidedEndpoint>>,
    pub notes: Vec<Note>,
}

/// Where the traffic of a host may go, and why, as text.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedEndpoint {
    pub tier: String,
    pub share: String,
    pub cluster: String,
    pub locality: String,
    pub address: String,
    pub reason: String,
}

/// Plans a service as the controller does.
pub fn plan_service(registry: &Registry, key: &ServiceKey) -> Option<ServicePlan> {
    plan_unit(registry, &WorkKey::Service(key.clone()), Now::default())?.service
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            observer: Observer::new(settings.clone(), false),
            registry: Registry::new(settings),
            wanted: BTreeMap::new(),
            version: AtomicU64::new(1),
            now: Now::default(),
            revisits: BTreeMap::new(),
        }
    }

    /// Time passes, and what has to be planned again because of it is.
    pub fn advance(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let due: Vec<WorkKey> =
            self.revisits.iter().filter(|(_, at)| **at <= self.now).map(|(unit, _)| unit.clone()).collect();
        for unit in due {
            self.revisits.remove(&unit);
            self.plan(&unit);
        }
        self.settle();
    }

    /// Plans what is dirty until nothing is.
    pub fn settle(&mut self) {
        for _round in 0..100 {
            let mut units = self.registry.take_dirty();
            units.extend(self.registry.take_bursting().into_keys());
            if units.is_empty() {
                return;
            }
            while let Some(unit) = units.pop_first() {
                self.plan(&unit);
                units.extend(self.registry.followers(&unit));
            }
        }
        panic!("planning makes work for itself without end");
    }

    fn plan(&mut self, unit: &WorkKey) {
        let Some(plan) = plan_unit(&self.registry, unit, self.now) else { return };
        self.revisits.extend(plan.revisit_at.map(|at| (unit.clone(), at)));
        if let Some(service) = &plan.service {
            assert_eq!(plan::violations(service), [], "{unit}");
        }
        assert!(!plan.notes.iter().any(|note| note.kind == NoteKind::PlanRefused), "{:?}", plan.notes);
        self.registry.notes().put(NoteSource::plan_of(unit), plan.notes.clone());
        if !plan.frozen {
            self.wanted.insert(unit.clone(), Wanted::of(&plan));
        }
    }

    /// A cluster leaves the fleet, and its writer with it.
    pub fn leave(&mut self, cluster: &ClusterName) {
        self.registry.deregister(cluster);
        self.wanted
            .retain(|unit, _| !matches!(unit, WorkKey::Sidecar(of, _) | WorkKey::Namespace(of, _) if of == cluster));
    }

    /// What the units that were dirty want by now.
    pub fn wanted(&self) -> Objects {
        self.wanted.values().flat_map(|wanted| wanted.objects.clone()).collect()
    }

    /// Which hosts the units that were dirty want merged into Sidecars by now.
    pub fn merged(&self) -> BTreeMap<String, Vec<String>> {
        let with_hosts = self.wanted.iter().filter(|(_, wanted)| !wanted.merged.is_empty());
        with_hosts
            .filter_map(|(unit, wanted)| match unit {
                WorkKey::Sidecar(cluster, namespace) => Some((format!("{cluster} {namespace}"), wanted.merged.clone())),
                WorkKey::Service(_) | WorkKey::Host(_) | WorkKey::Namespace(..) => None,
            })
            .collect()
    }

    /// What a full plan of everything wants now, whatever is dirty.
    pub fn picture(&self) -> Picture {
        let registry = &self.registry;
        let mut picture =
            Picture { objects: Objects::new(), merged: BTreeMap::new(), endpoints: BTreeMap::new(), notes: Vec::new() };
        for unit in self.units() {
            let Some(plan) = plan_unit(registry, &unit, self.now) else { continue };
            let frozen = || self.wanted.get(&unit).cloned().unwrap_or_default();
            let wanted = if plan.frozen { frozen() } else { Wanted::of(&plan) };
            for (at, object) in wanted.objects {
                assert!(picture.objects.insert(at, object).is_none(), "two units want one object");
            }
            if let (WorkKey::Sidecar(cluster, namespace), false) = (&unit, wanted.merged.is_empty()) {
                picture.merged.insert(format!("{cluster} {namespace}"), wanted.merged);
            }
            if let Some(service) = &plan.service {
                picture.endpoints.extend(decided(service));
            }
        }
        picture.notes = registry.queries().notes_with_hints();
        picture
    }

    /// Every unit that the registry may plan now.
    fn units(&self) -> Vec<WorkKey> {
        let registry = &self.registry;
        let services = registry.queries().services().into_iter().map(WorkKey::Service);
        let hosts = registry.queries().routed_hosts().into_iter().map(WorkKey::Host);
        let sidecars =
            registry.queries().client_namespaces().into_iter().map(|(of, namespace)| WorkKey::Sidecar(of, namespace));
        let rules = registry
            .queries()
            .all_ruled_namespaces()
            .into_iter()
            .map(|(of, namespace)| WorkKey::Namespace(of, namespace));
        services.chain(hosts).chain(sidecars).chain(rules).collect()
    }

    /// Writes what is wanted into the clusters that can be written, as an API server would answer, and removes what is not.
    /// Answers how many objects changed.
    pub fn write_back(&mut self) -> usize {
        let wanted = self.wanted();
        let mut changes = 0;
        for cluster in self.registry.queries().cluster_names() {
            if !self.registry.outputs().can_write(&cluster) {
                continue;
            }
            let held = self.held();
            for written in self.registry.outputs().owned(&cluster) {
                let is_held = written.service.as_ref().is_some_and(|key| held.contains(key)) || self.holds(&written);
                let at = (cluster.clone(), written.id.clone());
                let is_kept = self.wanted.values().any(|wanted| wanted.kept.contains(&at));
                let gone = !wanted.contains_key(&at) && !is_kept;
                if gone && !is_held && self.registry.outputs().may_remove(&cluster) {
                    self.registry.delete(&cluster, &written.id);
                    changes += 1;
                }
            }
            for ((_, id), object) in wanted.iter().filter(|((of, _), _)| *of == cluster) {
                let written = self.registry.outputs().written(&cluster, id);
                if written.as_ref().is_some_and(|written| written.digest == object.digest()) {
                    continue;
                }
                self.registry.apply(&cluster, self.stored(object));
                changes += 1;
            }
        }
        changes
    }

    /// Whether a copy is left as it is.
    fn holds(&self, written: &Written) -> bool {
        let host = written.origin.as_ref().and(written.host.as_ref());
        let unit = host.map(|host| WorkKey::Host(host.to_ascii_lowercase().as_str().into()));
        let plan = unit.and_then(|unit| plan_unit(&self.registry, &unit, self.now));
        plan.is_some_and(|plan| plan.frozen)
    }

    fn held(&self) -> BTreeSet<ServiceKey> {
        let services = self.registry.queries().services().into_iter();
        services
            .filter(|key| {
                self.registry.inputs().service(key).is_some_and(|snapshot| snapshot.unreadable_policy.is_some())
            })
            .collect()
    }

    /// An object as it comes back from an API server.
    pub fn stored(&self, object: &Object) -> Observed {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1_000;
        let mut manifest = object.manifest();
        manifest["metadata"]["uid"] = format!("{:?}", object.id()).into();
        manifest["metadata"]["resourceVersion"] = version.to_string().into();
        self.observer.observe_value(object.kind(), &manifest).expect("what Tradewind writes can be read")
    }

    /// Declares every watched kind of a cluster as listed and empty.
    pub fn listed_empty(&self, cluster: &ClusterName) {
        self.registry.register(cluster);
        for kind in self.registry.settings().watched_kinds() {
            self.registry.reset(cluster, kind, Vec::new());
        }
    }
}

impl Wanted {
    fn of(plan: &WorkPlan) -> Self {
        let mut wanted = Self::default();
        for (cluster, desired) in plan.clone().into_desired() {
            for object in desired.objects() {
                let at = (cluster.clone(), object.id());
                assert!(wanted.objects.insert(at, object.clone()).is_none(), "planned twice");
            }
            wanted.kept.extend(desired.kept().map(|id| (cluster.clone(), id.clone())));
            wanted.merged.extend(desired.merged_hosts().map(ToString::to_string));
        }
        wanted
    }
}

/// What each cluster sees of each host of a service.
fn decided(plan: &ServicePlan) -> impl Iterator<Item = ((ClusterName, String), Vec<DecidedEndpoint>)> {
    let hosts =
        plan.clusters.iter().flat_map(|cluster| plan.hosts_in(&cluster.cluster).map(move |host| (cluster, host)));
    hosts.map(|(cluster, host)| {
        let endpoints = host.endpoints().map(|endpoint| DecidedEndpoint {
            tier: endpoint.tier.map_or_else(|| "-".to_owned(), |tier| tier.to_string()),
            share: endpoint.share_percent.map_or_else(|| "-".to_owned(), |share| format!("{share:.1} %")),
            cluster: endpoint.cluster.to_string(),
            locality: endpoint.locality.unwrap_or_else(|| "-".to_owned()),
            address: endpoint.address,
            reason: endpoint.reason,
        });
        ((cluster.cluster.clone(), host.objects.host.to_string()), endpoints.collect())
    })
}

/// What must hold of every picture: no two ServiceEntries of a cluster share a host or an address, and a host has one
/// address in all clusters.
// Invariant: No two ServiceEntries of a cluster have the same host or the same address; a host has one address in all
// clusters. [`assert_sound` in every golden case and property]
pub fn assert_sound(objects: &Objects) {
    let mut hosts = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut address_of: BTreeMap<String, &[String]> = BTreeMap::new();
    for ((cluster, id), object) in objects {
        let Object::ServiceEntry(entry) = object else { continue };
        for host in &entry.spec.hosts {
            let host = host.to_ascii_lowercase();
            if let Some(other) = hosts.insert((cluster, host.clone()), id) {
                panic!("{cluster}: {other:?} and {id:?} share the host {host}");
            }
            let addresses = address_of.entry(host.clone()).or_insert(&entry.spec.addresses);
            assert_eq!(*addresses, entry.spec.addresses, "{host} has another address in {cluster}");
        }
        for address in &entry.spec.addresses {
            if let Some(other) = addresses.insert((cluster, address.clone()), id) {
                panic!("{cluster}: {other:?} and {id:?} share the address {address}");
            }
        }
    }
}

/// A cluster's name.
pub fn cluster(name: &str) -> ClusterName {
    ClusterName::parse(name).expect("a cluster's name")
}

/// A service's key.
pub fn key(identity: &str, environment: &str) -> ServiceKey {
    ServiceKey::parse(identity, environment).expect("a service's key")
}

/// Reads YAML manifests into observed objects.
pub fn manifests(observer: &Observer, text: &str) -> Vec<Observed> {
    text.split("\n---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| {
            let mut value: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
            let kind = value["kind"].as_str().expect("a manifest has a kind").to_owned();
            let kind = *Kind::ALL.iter().find(|known| known.as_str() == kind).expect("a watched kind");
            if !matches!(kind, Kind::Node | Kind::Namespace) && value["metadata"]["namespace"].is_null() {
                value["metadata"]["namespace"] = "default".into();
            }
            observer.observe_value(kind, &value).expect("a manifest of that kind")
        })
        .collect()
}

/// Pseudo-random numbers from a seed (xorshift), so that a failure can be repeated.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("smaller than a usize")
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
