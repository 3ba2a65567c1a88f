//! The fleet of a golden case: its manifests, read as directories of clusters, and all ways to feed them to a registry.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tradewind::{
    config::{self, Settings},
    fleet::directory::{DirectoryCluster, Loaded, ProblemKind},
    model::{ClusterName, Kind, NoteKind, Observed},
    registry::NoteSource,
};

use super::{Case, Crds};
use crate::planning::{self, Numbers, Picture, World};

/// Name of the directory whose Dependencies count, beside the clusters.
const HUB: &str = "hub";
/// For the orders in which events are shuffled.
const SEEDS: [u64; 2] = [7, 1_000_003];

pub struct Fleet {
    settings: Settings,
    istio_namespaces: BTreeMap<String, String>,
    clusters: BTreeMap<String, (DirectoryCluster, Loaded)>,
    /// What the clusters were read from.
    _directory: tempfile::TempDir,
}

pub type Event<'a> = (&'a ClusterName, &'a Observed);

fn settings(text: &str, directory: &Path) -> Result<Settings, String> {
    let file = directory.join("settings.yaml");
    fs::write(&file, text).expect("can be written");
    let flags = clap::Command::new("golden").no_binary_name(true).args(config::args()).get_matches_from([""; 0]);
    config::load(Some(&file), &flags, |_| None).map_err(|error| error.to_string())
}

fn directories(path: &Path) -> Vec<PathBuf> {
    super::sorted(path).into_iter().filter(|path| path.is_dir()).collect()
}

impl Fleet {
    pub fn load(case: &Case) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        case.unpack(directory.path())?;
        let settings = settings(&case.settings(), directory.path())?;
        let world = World::new(settings.clone());
        let mut clusters = BTreeMap::new();
        for path in directories(directory.path()) {
            let name = path.file_name().expect("a directory has a name").to_string_lossy().into_owned();
            let observer = match case.head.istio_namespaces.get(&name) {
                Some(namespace) => world.observer.for_istio_namespace(namespace.as_str().into()),
                None => world.observer.clone(),
            };
            let cluster = if name == HUB {
                DirectoryCluster::hub(path, observer)
            } else {
                DirectoryCluster::new(planning::cluster(&name), path, observer)
            };
            let cluster = if case.head.crds == Crds::Unchecked { cluster.without_schemas() } else { cluster };
            let loaded = cluster.load();
            clusters.insert(name, (cluster, loaded));
        }
        let istio_namespaces = case.head.istio_namespaces.clone();
        Ok(Self { settings, istio_namespaces, clusters, _directory: directory })
    }

    /// The clusters, without the hub.
    pub fn names(&self) -> impl Iterator<Item = &ClusterName> {
        self.clusters.iter().filter(|(name, _)| *name != HUB).map(|(_, (cluster, _))| cluster.name())
    }

    /// A world without any cluster.
    fn new_world(&self) -> World {
        let world = World::new(self.settings.clone());
        for (name, namespace) in &self.istio_namespaces {
            world.registry.set_istio_namespace(&planning::cluster(name), Some(namespace));
        }
        world
    }

    /// As the commands read a fleet.
    pub fn world(&self) -> World {
        let world = self.new_world();
        for (cluster, loaded) in self.clusters.values() {
            cluster.push(loaded, &world.registry, 0);
        }
        world.registry.fleet_listed();
        world
    }

    fn events(&self) -> Vec<Event<'_>> {
        let mut events = Vec::new();
        for (cluster, loaded) in self.clusters.values() {
            for kind in Kind::ALL {
                events.extend(loaded.objects(*kind).map(|object| (cluster.name(), object)));
            }
        }
        events
    }

    /// All events, the last first.
    pub fn backward(&self) -> Vec<Event<'_>> {
        let mut events = self.events();
        events.reverse();
        events
    }

    /// All events in several orders, each with its name.
    pub fn orders(&self) -> Vec<(String, Vec<Event<'_>>)> {
        let (forward, backward) = (self.events(), self.backward());
        let shuffled = SEEDS.map(|seed| {
            let mut events = forward.clone();
            Numbers::new(seed).shuffle(&mut events);
            (format!("shuffled by {seed}"), events)
        });
        [("forward".to_owned(), forward), ("backward".to_owned(), backward)].into_iter().chain(shuffled).collect()
    }

    fn empty(&self) -> World {
        let world = self.new_world();
        if self.clusters.contains_key(HUB) {
            world.registry.register_hub(&ClusterName::hub());
            for kind in Kind::OF_HUB {
                world.registry.reset(&ClusterName::hub(), *kind, Vec::new());
            }
        }
        for name in self.names() {
            world.listed_empty(name);
        }
        world
    }

    fn report_malformed(&self, world: &World) {
        for (cluster, loaded) in self.clusters.values() {
            for problem in loaded.problems() {
                match &problem.kind {
                    ProblemKind::Malformed(id) => {
                        world.registry.malformed(cluster.name(), id.clone(), &problem.to_string());
                    }
                    ProblemKind::Misplaced(id) => {
                        let source = NoteSource::Fleet(id.in_cluster(cluster.name()).to_string());
                        world.registry.notes().put(source, vec![problem.note(cluster.name())]);
                    }
                    ProblemKind::Hidden | ProblemKind::Harmless => {}
                }
            }
        }
    }

    /// Feeds events in an order, and plans at the end.
    pub fn fed(&self, events: &[Event<'_>]) -> Picture {
        let mut world = self.empty();
        for (cluster, object) in events {
            world.registry.apply(cluster, (*object).clone());
        }
        self.report_malformed(&world);
        world.registry.fleet_listed();
        world.settle();
        world.picture()
    }

    /// Feeds events in an order; what is dirty is planned after each, and what was planned earlier must still hold.
    pub fn fed_one_by_one(&self, events: &[Event<'_>]) -> Result<Picture, String> {
        let mut world = self.empty();
        world.registry.fleet_listed();
        world.settle();
        for (cluster, object) in events {
            world.registry.apply(cluster, (*object).clone());
            world.settle();
            if world.wanted() != world.picture().objects {
                let id = object.id();
                return Err(format!("{cluster}: {id:?} did not mark all that it changes"));
            }
        }
        self.report_malformed(&world);
        world.settle();
        let mut picture = world.picture();
        // It tells of the way, which is another one.
        picture.notes.retain(|note| note.kind != NoteKind::IdentityGainedNamespace);
        Ok(picture)
    }
}
