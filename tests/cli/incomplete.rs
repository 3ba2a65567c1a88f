//! Commands that could not read everything: they say so, name it, and end with 2.

use std::{fs, path::PathBuf};

use super::{code, fleet, stderr, stdout, text, tradewind};

/// The sample with its second cluster behind an address at which nobody listens.
struct Fleet {
    directory: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let fleet = Self { directory: fleet() };
        fleet.write("refused.kubeconfig", &kubeconfig("http://127.0.0.1:9"));
        fleet.write("broken.kubeconfig", "clusters: [");
        fleet
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.at(name), content).expect("a file of our own");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A fleet file; `second` says where the second cluster is, `rest` what follows.
    fn file(&self, second: &str, rest: &str) -> String {
        let clusters = format!(
            "clusters:\n- {{name: cluster-1, directory: cluster-1}}\n- {{name: cluster-3, directory: cluster-3}}\n\
             - {{name: cluster-2, {second}}}\n{rest}"
        );
        self.write("fleet.yaml", &clusters);
        text(&self.at("fleet.yaml")).to_owned()
    }
}

fn kubeconfig(server: &str) -> String {
    let config = serde_json::json!({
        "clusters": [{"name": "x", "cluster": {"server": server}}], "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "current-context": "x",
    });
    config.to_string()
}

const DOWN: &str = "kubeconfig: refused.kubeconfig";
const NAMED: &str = "incomplete: cluster-2: all kinds: the API server refuses connections";

#[test]
fn diff_names_a_cluster_that_is_down_and_ends_with_2() {
    let fleet = Fleet::new();
    let file = fleet.file(DOWN, "");
    for further in [&[][..], &["--endpoints"], &["-o", "json"], &["--endpoints", "-o", "yaml"]] {
        let diff = tradewind(&[&["diff", &file], further].concat());
        let said = stderr(&diff);
        assert_eq!(code(&diff), 2, "{further:?}: {said}");
        assert!(said.contains(NAMED) && said.contains("incomplete, and of what could be read: "), "{said}");
        assert!(!stdout(&diff).contains("cluster-2"), "what stands there is not known: {}", stdout(&diff));
        let partial = tradewind(&[&["diff", &file, "--allow-partial"], further].concat());
        assert_eq!((code(&partial), stdout(&partial)), (1, stdout(&diff)));
        assert!(stderr(&partial).contains(NAMED), "{}", stderr(&partial));
    }
    // Where nothing differs in the rest, that is not the whole.
    let out = tempfile::tempdir().expect("a directory");
    let rendered = tradewind(&["render", &file, "--allow-partial", "-d", text(out.path())]);
    assert_eq!(code(&rendered), 0, "{}", stderr(&rendered));
    let strict = tradewind(&["render", &file, "--allow-partial", "--strict"]);
    assert_eq!(code(&strict), 1, "what is missing is a note: {}", stderr(&strict));
    for cluster in ["cluster-1", "cluster-3"] {
        fs::rename(out.path().join(cluster), fleet.at(cluster).join("admiral-sync")).expect("a directory");
    }
    for (further, expected) in [(&[][..], 2), (&["--endpoints"], 2), (&["--allow-partial"], 0)] {
        let diff = tradewind(&[&["diff", &file], further].concat());
        assert_eq!((code(&diff), stdout(&diff)), (expected, String::new()), "{}", stderr(&diff));
        assert!(
            stderr(&diff).ends_with("incomplete, and of what could be read: nothing differs\n"),
            "{}",
            stderr(&diff)
        );
    }
    // Two fleets: either may be incomplete.
    let whole = tradewind(&["diff", text(super::fleet().path()), text(fleet.directory.path())]);
    assert_ne!(code(&whole), 2, "{}", stderr(&whole));
    let other = super::fleet();
    for pair in [[text(other.path()), &file], [&file, text(other.path())]] {
        let diff = tradewind(&["diff", pair[0], pair[1]]);
        assert!(code(&diff) == 2 && stderr(&diff).contains(NAMED), "{}", stderr(&diff));
    }
}

#[test]
fn diff_names_every_cluster_that_is_down_and_a_kubeconfig_that_is_broken() {
    let fleet = Fleet::new();
    fleet.write(
        "all.yaml",
        "clusters:\n- {name: cluster-1, kubeconfig: refused.kubeconfig}\n- {name: cluster-2, kubeconfig: broken.kubeconfig}\n",
    );
    let diff = tradewind(&["diff", text(&fleet.at("all.yaml"))]);
    let said = stderr(&diff);
    assert_eq!((code(&diff), stdout(&diff)), (2, String::new()), "{said}");
    assert!(said.contains("incomplete: cluster-1: all kinds: the API server refuses connections"), "{said}");
    assert!(said.contains("incomplete: cluster-2: all kinds: ") && said.contains("broken.kubeconfig"), "{said}");
    assert_eq!(code(&tradewind(&["diff", text(&fleet.at("all.yaml")), "--allow-partial"])), 0);
}

#[test]
fn without_its_hub_nothing_is_compared_and_the_reason_is_reported_at_once() {
    let fleet = Fleet::new();
    let file = fleet.file("directory: cluster-2", "hub: {kubeconfig: refused.kubeconfig}\n");
    for arguments in [&["diff"][..], &["diff", "--allow-partial"], &["render"], &["diff", "--endpoints"]] {
        let output = tradewind(&[arguments, &[file.as_str()]].concat());
        let said = stderr(&output);
        assert_eq!((code(&output), stdout(&output)), (2, String::new()), "{arguments:?}: {said}");
        assert!(said.contains("incomplete: (hub): all kinds: the API server refuses connections"), "{said}");
        assert!(
            said.contains("error: the fleet cannot be planned: Dependency of cluster (hub) cannot be read"),
            "{said}"
        );
    }
}

#[test]
fn render_names_a_cluster_that_is_down_and_writes_no_directory() {
    let fleet = Fleet::new();
    let file = fleet.file(DOWN, "");
    for format in ["yaml", "json", "table"] {
        let render = tradewind(&["render", &file, "-o", format]);
        assert!(code(&render) == 2 && stderr(&render).contains(NAMED), "{}", stderr(&render));
        assert!(stdout(&render).contains("stage.orders.global"), "the rest is shown: {}", stdout(&render));
        assert_eq!(code(&tradewind(&["render", &file, "-o", format, "--allow-partial"])), 0);
    }
    // Files in which endpoints of the cluster stand are left alone.
    let out = tempfile::tempdir().expect("a directory");
    let whole = tradewind(&["render", text(super::fleet().path()), "-d", text(out.path())]);
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    let entry = out.path().join("cluster-1/serviceentry-stage.payments.global-se.yaml");
    let before = fs::read_to_string(&entry).expect("it was written");
    let render = tradewind(&["render", &file, "-d", text(out.path())]);
    assert!(code(&render) == 2 && stderr(&render).contains("nothing is written"), "{}", stderr(&render));
    assert_eq!(fs::read_to_string(&entry).expect("it stays"), before);
    // Who wants otherwise loses endpoints, but no file.
    let render = tradewind(&["render", &file, "-d", text(out.path()), "--allow-partial"]);
    assert!(code(&render) == 0 && stderr(&render).contains(NAMED), "{}", stderr(&render));
    assert!(stderr(&render).contains("cluster-1: ") && stderr(&render).contains(" 0 removed"), "{}", stderr(&render));
    assert_ne!(fs::read_to_string(&entry).expect("it stays"), before);
}

#[test]
fn unreadable_manifests_are_allowed_with_allow_partial() {
    let fleet = super::fleet();
    fs::write(fleet.path().join("cluster-1/broken.yaml"), "kind: Service\nmetadata: [\n").expect("a file");
    let diff = tradewind(&["diff", text(fleet.path())]);
    assert!(code(&diff) == 2 && stdout(&diff).is_empty(), "{}", stderr(&diff));
    let diff = tradewind(&["diff", text(fleet.path()), "--allow-partial"]);
    assert!(code(&diff) == 1 && stderr(&diff).contains("incomplete: cluster-1: broken.yaml:2"), "{}", stderr(&diff));
    let render = tradewind(&["render", text(fleet.path()), "--allow-partial"]);
    assert!(
        code(&render) == 0 && stderr(&render).contains("incomplete: cluster-1: broken.yaml:2"),
        "{}",
        stderr(&render)
    );
}

#[test]
fn hand_back_names_a_cluster_that_is_down_and_goes_on_with_the_others() {
    let fleet = Fleet::new();
    fleet.write(
        "live.yaml",
        "clusters:\n- {name: cluster-1, kubeconfig: broken.kubeconfig}\n- {name: cluster-2, kubeconfig: refused.kubeconfig}\n",
    );
    let back =
        |further: &[&str]| tradewind(&[&["hand-back", text(&fleet.at("live.yaml")), "--stopped"], further].concat());
    let output = back(&[]);
    let said = stderr(&output);
    assert_eq!((code(&output), stdout(&output)), (2, String::new()), "{said}");
    assert!(said.contains("incomplete: cluster-1: all kinds: ") && said.contains("broken.kubeconfig"), "{said}");
    assert!(said.contains("incomplete: cluster-2: all kinds: the cluster cannot be reached"), "{said}");
    assert_eq!(said.lines().count(), 2, "one line per cluster: {said}");
    let partial = back(&["--allow-partial"]);
    assert!(code(&partial) == 0 && stderr(&partial) == said, "{}", stderr(&partial));
}
