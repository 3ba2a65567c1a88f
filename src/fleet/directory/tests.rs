//! Directories that are read, edited, broken and emptied.

use super::*;
use crate::{config::Settings, registry::KindState, sample};

struct Fixture {
    directory: tempfile::TempDir,
    cluster: DirectoryCluster,
}

fn fixture(files: &[(&str, &str)]) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let cluster = DirectoryCluster::new(
        ClusterName::parse("west").unwrap(),
        directory.path().to_owned(),
        Observer::new(Arc::new(Settings::default()), false),
    );
    Fixture { directory, cluster }
}

fn node(name: &str, region: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels: {{topology.kubernetes.io/region: {region}}}\n"
    )
}

fn ids(loaded: &Loaded) -> Vec<String> {
    loaded.objects.keys().map(|id| format!("{} {}/{}", id.kind.as_str(), id.namespace, id.name)).collect()
}

fn problems(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_yaml_json_and_lists_in_the_order_of_paths_and_skips_the_hidden() {
    let service =
        |name: &str| format!(r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}}}}"#);
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {}]}}"#, service("c"), service("d"));
    let fixture = fixture(&[
        ("z/deep/a.yml", &node("a", "west")),
        ("b.yaml", &format!("---\n{}---\n# end\n", node("b", "west"))),
        ("c.json", &list),
        ("README.md", "kind: Node"),
        (".hidden.yaml", ": ["),
        (".git/x.yaml", ": ["),
        ("other.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"),
        ("old.yaml", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: s}\n"),
    ]);
    let loaded = fixture.cluster.load();
    assert_eq!(problems(&loaded), Vec::<String>::new());
    assert_eq!(ids(&loaded), ["Service default/c", "Service default/d", "Node /a", "Node /b", "Namespace /default"],);
    assert_eq!(loaded.ignored(), 2);
}

#[test]
fn each_problem_names_file_and_line_and_harms_nothing_else() {
    let fixture = fixture(&[
        ("a.yaml", &format!("{}---\nkind: [\n---\n{}", node("a", "west"), node("b", "west"))),
        ("b.json", "{\n\"kind\": }"),
        ("c.yaml", "x: 1\n"),
        ("d.yaml", "apiVersion: v1\nkind: Node\nmetadata: {}\n"),
        ("e.yaml", &node("a", "east")),
        ("f.yaml", "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: old}\n"),
        ("g.yaml", "\n\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: 7}\n"),
    ]);
    let loaded = fixture.cluster.load();
    assert_eq!(ids(&loaded), ["Node /a", "Node /b"]);
    let problems = problems(&loaded);
    for (problem, expected) in problems.iter().zip([
        "a.yaml:7: ",
        "b.json:2: expected value",
        "c.yaml:1: this is no Kubernetes object",
        "d.yaml:3: this Node has no metadata.name",
        "e.yaml:1: west: Node a stands already in a.yaml",
        "f.yaml:1: apiVersion: apps/v1beta1 is not served; write apps/v1",
        "g.yaml:6: spec.ports: must be of type array: \"integer\"",
    ]) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    assert_eq!(problems.len(), 7, "{problems:?}");
    assert!(loaded.incomplete().unwrap().starts_with("a.yaml"));
}

#[test]
fn only_the_watched_namespaces_count() {
    let object = |kind: &str, namespace: &str| {
        let group = if kind == "Dependency" { "admiral.io/v1alpha1" } else { "networking.istio.io/v1" };
        format!(
            "apiVersion: {group}\nkind: {kind}\nmetadata: {{name: x, namespace: {namespace}}}\nspec: {{source: a}}\n---\n"
        )
    };
    let text = [
        object("ServiceEntry", "admiral-sync"),
        object("ServiceEntry", "shop"),
        object("DestinationRule", "shop"),
        object("Dependency", "admiral"),
        object("Dependency", "shop"),
        object("Sidecar", "shop"),
    ]
    .concat();
    let fixture = fixture(&[("a.yaml", &text)]);
    let loaded = fixture.cluster.load();
    assert_eq!(
        ids(&loaded),
        [
            "Namespace /admiral",
            "Namespace /admiral-sync",
            "Namespace /shop",
            "Dependency admiral/x",
            "ServiceEntry admiral-sync/x",
            "DestinationRule shop/x"
        ],
        "users keep their rules where they like"
    );
    let observer = fixture.cluster.observer.clone();
    let hub = DirectoryCluster::hub(fixture.directory.path().to_owned(), observer).load();
    assert_eq!(ids(&hub), ["Dependency admiral/x"]);
}

#[test]
fn made_up_versions_follow_the_content_and_uids_do_not() {
    let entry = |host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: x, namespace: admiral-sync, \
             resourceVersion: \"5\"}}\nspec: {{hosts: [{host}]}}\n"
        )
    };
    let fixture = fixture(&[("a.yaml", &entry("a.global"))]);
    let written = |loaded: &Loaded| match loaded.objects(Kind::ServiceEntry).next() {
        Some(Observed::Written(written)) => (written.uid.clone(), written.resource_version.clone()),
        other => panic!("{other:?}"),
    };
    let first = written(&fixture.cluster.load());
    assert_eq!(first, written(&fixture.cluster.load()));
    fs::write(fixture.directory.path().join("a.yaml"), entry("b.global")).unwrap();
    let second = written(&fixture.cluster.load());
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
}

// Invariant: Nothing is removed because a cluster could not be read.
#[test]
fn an_empty_or_missing_directory_is_unknown_and_not_empty() {
    let fixture = fixture(&[("a.yaml", &node("a", "west"))]);
    let before = fixture.cluster.load();
    fs::remove_file(fixture.directory.path().join("a.yaml")).unwrap();
    let empty = fixture.cluster.load_after(&before);
    assert!(empty.incomplete().unwrap().contains("has no manifests"));
    assert_eq!(ids(&empty), ["Node /a"]);
    fs::remove_dir(fixture.directory.path()).unwrap();
    let missing = fixture.cluster.load_after(&before);
    assert!(missing.incomplete().unwrap().contains("cannot be read"));
    assert_eq!(ids(&missing), ["Node /a"]);
}

#[test]
fn a_malformed_object_keeps_its_last_valid_form_and_others_change_as_usual() {
    let fixture = fixture(&[("a.yaml", &format!("{}---\n{}", node("a", "west"), node("b", "west")))]);
    let before = fixture.cluster.load();
    fs::write(fixture.directory.path().join("a.yaml"), "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: 7}\n")
        .unwrap();
    let now = fixture.cluster.load_after(&before);
    assert_eq!(ids(&now), ["Node /a"]);
    assert!(now.incomplete().is_none());
}

#[test]
fn what_is_hidden_at_the_first_reading_makes_the_kinds_unreadable_not_empty() {
    let fixture = fixture(&[("a.yaml", &format!("{}---\n: [\n", node("a", "west")))]);
    let registry = Registry::new(fixture.cluster.observer.settings().clone());
    let loaded = fixture.cluster.load();
    fixture.cluster.push(&loaded, &registry, 7);
    registry.fleet_listed();
    registry.ready().unwrap();
    let [status] = &registry.queries().clusters()[..] else { panic!("one cluster") };
    assert_eq!(&*status.regions[0], "west", "what can be read counts");
    assert!(status.kinds.iter().all(|(_, state)| matches!(state, KindState::Unreadable { since_seconds: 7, .. })));

    fs::write(fixture.directory.path().join("a.yaml"), node("a", "west")).unwrap();
    let now = fixture.cluster.load_after(&loaded);
    fixture.cluster.push_changes(&loaded, &now, &registry, 8);
    let [status] = &registry.queries().clusters()[..] else { panic!("one cluster") };
    assert!(status.kinds.iter().all(|(_, state)| *state == KindState::Synced));
    assert_eq!(registry.notes().all(), []);
}

#[test]
fn the_sample_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    sample::write_to(directory.path()).unwrap();
    let fleet = crate::fleet::file::load(directory.path(), None).unwrap();
    let registry = Registry::new(Arc::new(Settings::default()));
    for cluster in fleet.clusters {
        let crate::fleet::file::ObjectSource::Directory(path) = cluster.place else { panic!("directories") };
        let cluster = DirectoryCluster::new(cluster.name, path, Observer::new(registry.settings().clone(), false));
        let loaded = cluster.load();
        assert_eq!(problems(&loaded), Vec::<String>::new());
        assert_eq!(loaded.ignored(), 0);
        cluster.push(&loaded, &registry, 0);
    }
    registry.fleet_listed();
    let services: Vec<String> = registry.queries().services().iter().map(ToString::to_string).collect();
    assert_eq!(services, ["orders/stage", "payments/stage", "reports/stage"]);
    let (regions, networks): (Vec<_>, Vec<_>) = registry
        .queries()
        .clusters()
        .into_iter()
        .map(|c| {
            (c.regions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), c.network.unwrap().to_string())
        })
        .unzip();
    assert_eq!(regions, ["us-west", "us-west", "us-east"]);
    assert_eq!(networks, ["network-1", "network-2", "network-3"]);
    assert!(registry.queries().clusters().iter().all(|c| c.gateway.as_ref().is_some_and(|g| g.port == 15443)));
    let payments = registry.inputs().service(&crate::model::ServiceKey::parse("payments", "stage").unwrap()).unwrap();
    assert_eq!(payments.sources.len(), 2);
    assert_eq!(payments.targets.len(), 3);
    assert_eq!(payments.policies.len(), 1);
    assert_eq!(payments.notes, []);
}

fn limited(fixture: &Fixture, settings: Settings) -> Loaded {
    let observer = Observer::new(Arc::new(settings), false);
    DirectoryCluster::new(fixture.cluster.name.clone(), fixture.directory.path().to_owned(), observer).load()
}

// Invariant: A faulty object, kind or cluster affects no other.
#[test]
fn a_directory_has_the_limits_of_a_live_cluster() {
    let nodes: String = (0..5).map(|number| node(&format!("n{number}"), "west") + "---\n").collect();
    let fixture = fixture(&[("a.yaml", &nodes), ("b.yaml", &node("z", "west"))]);
    let loaded = limited(&fixture, Settings { cluster_max_objects: 3, ..Settings::default() });
    assert_eq!(loaded.objects.len(), 3);
    let said = problems(&loaded);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("a.yaml:") && said[0].contains("more than 3 of them"), "{said:?}");
    let large = format!("{}# {}\n", node("b", "west"), "x".repeat(2 << 20));
    fs::write(fixture.directory.path().join("b.yaml"), large).unwrap();
    let loaded = limited(&fixture, Settings { cluster_max_mib: 1, ..Settings::default() });
    assert_eq!(loaded.objects.len(), 5);
    assert!(problems(&loaded)[0].starts_with("b.yaml: has more than 0 MiB"), "{:?}", problems(&loaded));
}

#[test]
fn bombs_in_many_documents_and_files_share_one_budget() {
    let bomb = format!("a: &a [{}]\nb: [{}]\n---\n", "x, ".repeat(300), "*a, ".repeat(90)).repeat(4);
    let fixture = fixture(&[("a.yaml", &bomb), ("b.yaml", &bomb), ("c.yaml", &bomb), ("z.yaml", &node("z", "west"))]);
    let loaded = limited(&fixture, Settings { cluster_max_mib: 2, ..Settings::default() });
    assert!(problems(&loaded).iter().any(|problem| problem.contains("too large")), "{:?}", problems(&loaded));
    assert!(loaded.incomplete().is_some());
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_hide_their_objects_and_are_named_unless_a_setting_opens_them() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.yaml"), node("outside", "west")).unwrap();
    let fixture = fixture(&[("b.yaml", &node("b", "west"))]);
    symlink(elsewhere.path(), fixture.directory.path().join("planted")).unwrap();
    symlink(elsewhere.path().join("a.yaml"), fixture.directory.path().join("a.yaml")).unwrap();
    let loaded = fixture.cluster.load();
    assert_eq!(ids(&loaded), ["Node /b"]);
    let said = problems(&loaded);
    assert!(said.len() == 2 && said.iter().all(|problem| problem.contains("leads out of")), "{said:?}");
    let open = Settings { fleet_root: Some("/".into()), ..Settings::default() };
    let loaded = limited(&fixture, open);
    assert_eq!(ids(&loaded), ["Node /b", "Node /outside"]);
}
