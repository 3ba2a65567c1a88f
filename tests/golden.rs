//! Directories of clusters in, objects out: one test per directory `tests/golden/<topic>/<case>`.
//!
//! `case.yaml` says what the case shows, which shared manifests it takes (`tests/golden/common`; a file of the case
//! replaces a shared one of the same name) and its settings. `in/<cluster>/` holds the manifests that the case is about.
//! `out/` holds what is planned: every object of each cluster, what each cluster sees of each host, and the notes.
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes `out/` anew.
//!
//! Whatever a case shows, planning it again, in another order, one event at a time, or after it was written must give the same.

mod planning;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use planning::{Numbers, Picture, World, assert_sound};
use serde::Deserialize;
use tradewind::{
    config::{self, Settings},
    fleet::directory::{DirectoryCluster, Loaded, ProblemKind},
    model::{ClusterName, Kind, Note, NoteKind, Observed},
    registry::NoteSource,
};

/// Name of the directory whose Dependencies count, beside the clusters.
const HUB: &str = "hub";
/// For the order in which events are shuffled.
const SEEDS: [u64; 2] = [7, 1_000_003];

/// `case.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, for people.
    shows: String,
    /// Directories of `tests/golden/common`.
    #[serde(default)]
    include: Vec<String>,
    /// Settings other than the defaults, as in the settings file.
    #[serde(default)]
    settings: serde_json::Value,
    /// The namespace of Istio in single clusters, as annotations of their Secrets say it.
    #[serde(default, rename = "istioNamespaces")]
    istio_namespaces: BTreeMap<String, String>,
    /// Set where who comes first decides, by design: then events one at a time may end otherwise.
    #[serde(default)]
    first_come: bool,
    /// Whose CRDs the clusters have: ours, or some that check nothing, as those of Admiral.
    #[serde(default)]
    crds: Crds,
    /// How it differs from Admiral; see `tests/differential.rs`.
    #[serde(default, rename = "reference")]
    _reference: serde::de::IgnoredAny,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Crds {
    #[default]
    Ours,
    Unchecked,
}

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut trials = Vec::new();
    for topic in directories(&root).into_iter().filter(|topic| !topic.ends_with("common")) {
        for case in directories(&topic) {
            let name = case.strip_prefix(&root).expect("is below it").display().to_string();
            trials.push(Trial::test(name, move || run(&case).map_err(Failed::from)));
        }
    }
    assert!(!trials.is_empty(), "no golden cases found");
    libtest_mimic::run(&arguments, trials).exit();
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<_> =
        entries.map(|entry| entry.expect("can be listed").path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn run(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path.join("case.yaml")).map_err(|error| format!("case.yaml: {error}"))?;
    let case: Case = serde_saphyr::from_str(&text).map_err(|error| format!("case.yaml: {error}"))?;
    assert!(!case.shows.trim().is_empty(), "case.yaml says what it shows");
    let input = tempfile::tempdir().expect("a temporary directory");
    gather(path, &case, input.path());
    let fleet = Fleet::load(input.path(), settings(&case, input.path())?, &case);

    let mut world = fleet.world();
    let picture = planned(&mut world);
    compare_or_update(path, &picture, &fleet)?;
    check_again(&mut world, &picture)?;
    for (number, (order, events)) in fleet.orders().into_iter().enumerate() {
        let found = fleet.fed(&events);
        same(&format!("fed {order}"), &found, &picture)?;
        // Every plan after every event is the slow part: two of the orders will do.
        if !case.first_come && number % 2 == 1 {
            same(&format!("planned after each event {order}"), &fleet.fed_one_by_one(&events)?, &picture)?;
        }
    }
    Ok(())
}

/// Puts the case's input together: shared manifests, then its own over them.
fn gather(path: &Path, case: &Case, into: &Path) {
    let common = path.ancestors().nth(2).expect("cases are two levels down").join("common");
    let sources = case.include.iter().map(|name| common.join(name)).chain([path.join("in")]);
    for source in sources.filter(|source| source.is_dir() || !source.ends_with("in")) {
        for cluster in directories(&source) {
            let target = into.join(cluster.file_name().expect("a directory has a name"));
            fs::create_dir_all(&target).expect("can be made");
            for file in fs::read_dir(&cluster).expect("can be listed") {
                let file = file.expect("can be listed");
                fs::copy(file.path(), target.join(file.file_name())).expect("can be copied");
            }
        }
    }
}

fn settings(case: &Case, directory: &Path) -> Result<Settings, String> {
    let file = directory.join("settings.yaml");
    let text = if case.settings.is_null() { String::new() } else { case.settings.to_string() };
    fs::write(&file, text).expect("can be written");
    let flags = clap::Command::new("golden").no_binary_name(true).args(config::args()).get_matches_from([""; 0]);
    config::load(Some(&file), &flags, |_| None).map_err(|error| error.to_string())
}

struct Fleet {
    settings: Settings,
    istio_namespaces: BTreeMap<String, String>,
    clusters: BTreeMap<String, (DirectoryCluster, Loaded)>,
}

type Event<'a> = (&'a ClusterName, &'a Observed);

impl Fleet {
    fn load(input: &Path, settings: Settings, case: &Case) -> Self {
        let world = World::new(settings.clone());
        let mut clusters = BTreeMap::new();
        for path in directories(input) {
            let name = path.file_name().expect("a directory has a name").to_string_lossy().into_owned();
            let observer = match case.istio_namespaces.get(&name) {
                Some(namespace) => world.observer.for_istio_namespace(namespace.as_str().into()),
                None => world.observer.clone(),
            };
            let cluster = if name == HUB {
                DirectoryCluster::hub(path, observer)
            } else {
                DirectoryCluster::new(planning::cluster(&name), path, observer)
            };
            let cluster = if case.crds == Crds::Unchecked { cluster.without_schemas() } else { cluster };
            let loaded = cluster.load();
            clusters.insert(name, (cluster, loaded));
        }
        Self { settings, istio_namespaces: case.istio_namespaces.clone(), clusters }
    }

    fn names(&self) -> impl Iterator<Item = &ClusterName> {
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
    fn world(&self) -> World {
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

    fn orders(&self) -> Vec<(String, Vec<Event<'_>>)> {
        let forward = self.events();
        let mut backward = forward.clone();
        backward.reverse();
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
    fn fed(&self, events: &[Event<'_>]) -> Picture {
        let mut world = self.empty();
        for (cluster, object) in events {
            world.registry.apply(cluster, (*object).clone());
        }
        self.report_malformed(&world);
        world.registry.fleet_listed();
        planned(&mut world)
    }

    /// Feeds events in an order; what is dirty is planned after each, and what was planned earlier must still hold.
    fn fed_one_by_one(&self, events: &[Event<'_>]) -> Result<Picture, String> {
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
        Ok(planned(&mut world))
    }
}

fn planned(world: &mut World) -> Picture {
    world.settle();
    world.picture()
}

/// Planning again changes nothing, neither at once nor after everything was written.
fn check_again(world: &mut World, picture: &Picture) -> Result<(), String> {
    assert_sound(&picture.objects);
    same("planned twice", &world.picture(), picture)?;
    world.write_back();
    world.settle();
    let again = world.write_back();
    if again != 0 {
        return Err(format!("planning after writing makes {again} further changes"));
    }
    same("planned after writing", &world.picture(), picture)?;
    let standing: BTreeSet<_> = world
        .registry
        .cluster_names()
        .into_iter()
        .flat_map(|cluster| world.registry.owned(&cluster).into_iter().map(move |w| (cluster.clone(), w.id.clone())))
        .collect();
    let writable = |(cluster, _): &&(ClusterName, _)| world.registry.can_write(cluster);
    let wanted: BTreeSet<_> = picture.objects.keys().filter(writable).cloned().collect();
    if standing == wanted { Ok(()) } else { Err(format!("stands {standing:?}, wanted {wanted:?}")) }
}

fn same(how: &str, found: &Picture, wanted: &Picture) -> Result<(), String> {
    // What hides in a file is told by the backend, and addresses that had to change only once.
    let lasting = |notes: &[Note]| -> Vec<Note> {
        let passing = [NoteKind::ClusterUnreachable, NoteKind::ObjectMalformed, NoteKind::AddressConflict];
        notes.iter().filter(|note| !passing.contains(&note.kind)).cloned().collect()
    };
    if (&found.objects, &found.merged, &found.endpoints, lasting(&found.notes))
        == (&wanted.objects, &wanted.merged, &wanted.endpoints, lasting(&wanted.notes))
    {
        return Ok(());
    }
    Err(format!("{how}, the result is another:\n{}", diff(&as_text(wanted), &as_text(found))))
}

fn as_text(picture: &Picture) -> String {
    let mut text = format!("{}\n{}\n{:#?}\n", picture.endpoints, notes(&picture.notes), picture.merged);
    for ((cluster, _), object) in &picture.objects {
        let _ = writeln!(text, "# {cluster}\n{}", yaml(&object.manifest()));
    }
    text
}

fn diff(wanted: &str, found: &str) -> String {
    similar::TextDiff::from_lines(wanted, found).unified_diff().header("wanted", "found").to_string()
}

fn yaml(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).expect("plain data is YAML")
}

fn notes(notes: &[Note]) -> String {
    let line = |note: &Note| {
        let service = note.service.as_ref().map(|key| format!(" [{key}]")).unwrap_or_default();
        format!("{}: {}{service}\n  {}\n", note.kind.code(), note.object, note.message)
    };
    notes.iter().map(line).collect()
}

fn outputs(picture: &Picture, fleet: &Fleet) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> =
        fleet.names().map(|name| (format!("{name}.yaml"), String::new())).collect();
    for ((cluster, _), object) in &picture.objects {
        let text = files.get_mut(&format!("{cluster}.yaml")).expect("objects go into clusters of the fleet");
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&yaml(&object.manifest()));
    }
    let mut merged = String::new();
    for (place, hosts) in &picture.merged {
        let _ = writeln!(merged, "{place}");
        for host in hosts {
            let _ = writeln!(merged, "  {host}");
        }
    }
    files.insert("endpoints.txt".into(), picture.endpoints.clone());
    files.insert("notes.txt".into(), notes(&picture.notes));
    files.insert("merged-sidecars.txt".into(), merged);
    files.retain(|name, text| !text.is_empty() || name == "endpoints.txt");
    files
}

fn compare_or_update(path: &Path, picture: &Picture, fleet: &Fleet) -> Result<(), String> {
    let out = path.join("out");
    let wanted = outputs(picture, fleet);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).expect("can be made");
        for (name, text) in &wanted {
            fs::write(out.join(name), text).expect("can be written");
        }
        return Ok(());
    }
    let found: BTreeSet<String> = fs::read_dir(&out)
        .map_err(|error| format!("out/: {error}; write it with UPDATE_GOLDEN=1"))?
        .map(|entry| entry.expect("can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    let mut differences = String::new();
    for name in found.iter().chain(wanted.keys()).collect::<BTreeSet<_>>() {
        let golden = fs::read_to_string(out.join(name)).unwrap_or_default();
        let planned = wanted.get(name).map(String::as_str).unwrap_or_default();
        if golden != planned || !found.contains(name) || !wanted.contains_key(name) {
            let _ = writeln!(differences, "out/{name}\n{}", diff(&golden, planned));
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!("{differences}\nif this is right: UPDATE_GOLDEN=1 cargo test --test golden"))
    }
}
