//! What the tests of planning share: a registry that is fed by hand, planned and written back without a cluster.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tradewind::{
    config::Settings,
    fleet::Observer,
    istio::Object,
    model::{ClusterName, Kind, Note, NoteKind, ObjectId, Observed, ServiceKey, Written},
    plan::{self, RoutePlan, ServicePlan, SidecarWant},
    registry::{NoteSource, Registry, Unit},
};

/// Objects of all clusters.
pub type Objects = BTreeMap<(ClusterName, ObjectId), Object>;

/// A registry with the little that the controller does around it.
pub struct World {
    pub registry: Registry,
    pub observer: Observer,
    /// What each unit last wanted, kept up only by the units that were dirty.
    wanted: BTreeMap<Unit, Wanted>,
    /// Stands for the API servers' resourceVersions.
    version: AtomicU64,
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
    /// One line per cluster, host and endpoint.
    pub endpoints: String,
    pub notes: Vec<Note>,
}

pub use tradewind::controller::{plan_routes, plan_service};

impl World {
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            observer: Observer::new(settings.clone(), false),
            registry: Registry::new(settings),
            wanted: BTreeMap::new(),
            version: AtomicU64::new(1),
        }
    }

    /// Plans what is dirty until nothing is.
    pub fn settle(&mut self) {
        for _round in 0..100 {
            self.registry.pods_settled();
            let mut units = self.registry.take_dirty();
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

    fn plan(&mut self, unit: &Unit) {
        match unit {
            Unit::Service(key) => {
                let Some(plan) = plan_service(&self.registry, key) else { return };
                assert_eq!(plan::violations(&plan), [], "{key}");
                self.registry.notes().put(NoteSource::Service(key.clone()), plan.notes.clone());
                assert!(!plan.notes.iter().any(|note| note.kind == NoteKind::PlanRefused), "{:?}", plan.notes);
                if plan.held {
                    return;
                }
                let wanted = Wanted { objects: objects_of(&plan), merged: Vec::new(), kept: kept_of(&plan) };
                self.wanted.insert(unit.clone(), wanted);
            }
            Unit::Host(host) => {
                let Some(plan) = plan_routes(&self.registry, host) else { return };
                self.registry.notes().put(NoteSource::Host(host.clone()), plan.notes.clone());
                if !plan.held {
                    self.wanted.insert(unit.clone(), Wanted { objects: copies_of(&plan), ..Wanted::default() });
                }
            }
            Unit::Namespace(cluster, namespace) => {
                let Some(ruled) = self.registry.ruled_namespace(cluster, namespace) else { return };
                let rules = plan::namespace_rules(&ruled, self.registry.settings());
                let at = |id: ObjectId| (cluster.clone(), id);
                let wanted = Wanted {
                    objects: rules.objects.into_iter().map(|object| (at(object.id()), object)).collect(),
                    merged: Vec::new(),
                    kept: rules.kept.into_iter().map(at).collect(),
                };
                self.wanted.insert(unit.clone(), wanted);
            }
            Unit::Sidecar(cluster, namespace) => {
                let Some(client) = self.registry.client_namespace(cluster, namespace) else { return };
                let mut wanted = Wanted::default();
                match plan::sidecar(&client, self.registry.settings()) {
                    SidecarWant::Nothing => {}
                    SidecarWant::Merge { hosts } => wanted.merged = hosts,
                    SidecarWant::Own(sidecar) => {
                        let object = Object::Sidecar(sidecar);
                        wanted.objects.insert((cluster.clone(), object.id()), object);
                    }
                }
                self.wanted.insert(unit.clone(), wanted);
            }
        }
    }

    /// A cluster leaves the fleet, and its writer with it.
    pub fn leave(&mut self, cluster: &ClusterName) {
        self.registry.deregister(cluster);
        self.wanted.retain(|unit, _| !matches!(unit, Unit::Sidecar(of, _) | Unit::Namespace(of, _) if of == cluster));
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
                Unit::Sidecar(cluster, namespace) => Some((format!("{cluster} {namespace}"), wanted.merged.clone())),
                Unit::Service(_) | Unit::Host(_) | Unit::Namespace(..) => None,
            })
            .collect()
    }

    /// What a full plan of everything wants now, whatever is dirty.
    pub fn picture(&self) -> Picture {
        let registry = &self.registry;
        let mut picture =
            Picture { objects: Objects::new(), merged: BTreeMap::new(), endpoints: String::new(), notes: Vec::new() };
        let mut seen = BTreeMap::new();
        for key in registry.services() {
            let Some(plan) = plan_service(registry, &key) else { continue };
            let unit = Unit::Service(key);
            let objects = if plan.held { self.wanted_by(&unit) } else { objects_of(&plan) };
            for (at, object) in objects {
                assert!(picture.objects.insert(at, object).is_none(), "two services want one object");
            }
            describe(&plan, &mut seen);
        }
        for host in registry.routed_hosts() {
            let Some(plan) = plan_routes(registry, &host) else { continue };
            let objects = if plan.held { self.wanted_by(&Unit::Host(host)) } else { copies_of(&plan) };
            for (at, object) in objects {
                assert!(picture.objects.insert(at, object).is_none(), "two units want one object");
            }
        }
        picture.endpoints = seen.into_values().collect();
        for (cluster, namespace) in registry.client_namespaces() {
            let Some(client) = registry.client_namespace(&cluster, &namespace) else { continue };
            match plan::sidecar(&client, registry.settings()) {
                SidecarWant::Nothing => {}
                SidecarWant::Merge { hosts } if hosts.is_empty() => {}
                SidecarWant::Merge { hosts } => {
                    picture.merged.insert(format!("{cluster} {namespace}"), hosts);
                }
                SidecarWant::Own(sidecar) => {
                    let object = Object::Sidecar(sidecar);
                    picture.objects.insert((cluster, object.id()), object);
                }
            }
        }
        for (cluster, namespace) in registry.all_ruled_namespaces() {
            let Some(ruled) = registry.ruled_namespace(&cluster, &namespace) else { continue };
            for object in plan::namespace_rules(&ruled, registry.settings()).objects {
                picture.objects.insert((cluster.clone(), object.id()), object);
            }
        }
        picture.notes = registry.notes_with_hints();
        picture
    }

    fn wanted_by(&self, unit: &Unit) -> Objects {
        self.wanted.get(unit).map(|wanted| wanted.objects.clone()).unwrap_or_default()
    }

    /// Writes what is wanted into the clusters that can be written, as an API server would answer, and removes what is not.
    /// Answers how many objects changed.
    pub fn write_back(&mut self) -> usize {
        let wanted = self.wanted();
        let mut changes = 0;
        for cluster in self.registry.cluster_names() {
            if !self.registry.can_write(&cluster) {
                continue;
            }
            let held = self.held();
            for written in self.registry.owned(&cluster) {
                let is_held = written.service.as_ref().is_some_and(|key| held.contains(key)) || self.holds(&written);
                let at = (cluster.clone(), written.id.clone());
                let is_kept = self.wanted.values().any(|wanted| wanted.kept.contains(&at));
                let gone = !wanted.contains_key(&at) && !is_kept;
                if gone && !is_held && self.registry.may_remove(&cluster) {
                    self.registry.delete(&cluster, &written.id);
                    changes += 1;
                }
            }
            for ((_, id), object) in wanted.iter().filter(|((of, _), _)| *of == cluster) {
                let standing = self.registry.written(&cluster, id);
                if standing.as_ref().is_some_and(|standing| standing.digest == object.digest()) {
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
        let plan = host.and_then(|host| plan_routes(&self.registry, &host.to_ascii_lowercase().as_str().into()));
        plan.is_some_and(|plan| plan.held)
    }

    fn held(&self) -> BTreeSet<ServiceKey> {
        let services = self.registry.services().into_iter();
        services
            .filter(|key| self.registry.snapshot(key).is_some_and(|snapshot| snapshot.unreadable_policy.is_some()))
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
        for kind in self.registry.watched_kinds() {
            self.registry.reset(cluster, kind, Vec::new());
        }
    }
}

fn objects_of(plan: &ServicePlan) -> Objects {
    let mut objects = Objects::new();
    for cluster in &plan.clusters {
        for host in &cluster.hosts {
            let pair = [
                Object::ServiceEntry(host.service_entry.clone()),
                Object::DestinationRule(host.destination_rule.clone()),
            ];
            for object in pair {
                assert!(objects.insert((cluster.cluster.clone(), object.id()), object).is_none(), "planned twice");
            }
        }
        for object in &cluster.others {
            assert!(objects.insert((cluster.cluster.clone(), object.id()), object.clone()).is_none(), "planned twice");
        }
    }
    objects
}

fn kept_of(plan: &ServicePlan) -> BTreeSet<(ClusterName, ObjectId)> {
    let of_cluster = |planned: &plan::ClusterPlan| {
        planned.kept.iter().map(|id| (planned.cluster.clone(), id.clone())).collect::<Vec<_>>()
    };
    plan.clusters.iter().flat_map(of_cluster).collect()
}

fn copies_of(plan: &RoutePlan) -> Objects {
    let mut objects = Objects::new();
    for (cluster, copies) in &plan.clusters {
        for object in copies {
            assert!(objects.insert((cluster.clone(), object.id()), object.clone()).is_none(), "planned twice");
        }
    }
    objects
}

fn describe(plan: &ServicePlan, seen: &mut BTreeMap<(ClusterName, String), String>) {
    for cluster in &plan.clusters {
        for host in &cluster.hosts {
            let mut text = format!("{} sees {}\n", cluster.cluster, host.host);
            for endpoint in &host.endpoints {
                let tier = endpoint.tier.map_or_else(|| "-".to_owned(), |tier| tier.to_string());
                let share = endpoint.share_percent.map_or_else(|| "-".to_owned(), |share| format!("{share:.1} %"));
                let locality = endpoint.locality.as_deref().unwrap_or("-");
                let _ = writeln!(
                    text,
                    "  tier {tier}  {share:>7}  {:<10} {:<22} {}  ({})",
                    endpoint.cluster.as_str(),
                    locality,
                    endpoint.address,
                    endpoint.reason,
                );
            }
            seen.insert((cluster.cluster.clone(), host.host.to_string()), text);
        }
    }
}

/// What must hold of every picture: no two ServiceEntries of a cluster share a host or an address, and a host has one
/// address in all clusters.
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
