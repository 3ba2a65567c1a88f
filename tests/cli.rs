//! The commands as a user runs them: output, exit codes, errors with file and line.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tradewind::sample;

#[path = "cli/addresses.rs"]
mod addresses;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/withheld.rs"]
mod withheld;

#[path = "cli/incomplete.rs"]
mod incomplete;

/// For a process that has to notice an edit, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn tradewind(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(arguments).env_remove("RUST_LOG").output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// The sample in a directory of its own.
fn fleet() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    sample::write_to(directory.path()).expect("the sample");
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn edit(file: &Path, from: &str, to: &str) {
    let before = fs::read_to_string(file).expect("a file of the sample");
    assert!(before.contains(from), "{from:?} is not in {}", file.display());
    fs::write(file, before.replace(from, to)).expect("an edit");
}

fn policy_of(fleet: &Path) -> PathBuf {
    fleet.join("cluster-3/traffic-policy.yaml")
}

#[test]
fn demo_once_prints_what_every_cluster_sees() {
    let output = tradewind(&["demo", "--once"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/demo.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, stdout(&output)).expect("the golden file");
    }
    assert_eq!(stdout(&output), fs::read_to_string(golden).expect("the golden file"));
    assert_eq!(stderr(&output), "", "the sample gives no note");
}

#[test]
fn demo_follows_edits_until_it_is_stopped() {
    let fleet = fleet();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["demo", "-d", text(fleet.path()), "--listen-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let begin = Instant::now();
    let mut shows = |what: &str| {
        while begin.elapsed() < SOON {
            let line = lines.next().expect("the demo goes on").expect("text");
            if line.contains(what) {
                return;
            }
        }
        panic!("{what:?} was not shown");
    };
    shows("90 % of the traffic goes to us-east");
    edit(&policy_of(fleet.path()), "weight: 90", "weight: 80");
    edit(&policy_of(fleet.path()), "weight: 10\n", "weight: 20\n");
    shows("80 % of the traffic goes to us-east");
    let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().expect("sh");
    assert!(status.success());
    assert!(child.wait().expect("an end").success(), "stopping on request is no failure");
}

#[test]
fn render_writes_directories_that_a_second_run_leaves_alone() {
    let (fleet, out) = (fleet(), tempfile::tempdir().expect("a directory"));
    let render = || tradewind(&["render", text(fleet.path()), "-d", text(out.path())]);
    assert!(stderr(&render()).contains("cluster-1: 10 written, 0 removed, 0 unchanged"));
    assert!(stderr(&render()).contains("cluster-1: 0 written, 0 removed, 10 unchanged"));
    assert!(out.path().join("cluster-1/serviceentry-stage.payments.global-se.yaml").is_file());
    // Without the policy its prefixed hosts go, and the default host is nearest-first again.
    fs::remove_file(policy_of(fleet.path())).expect("a file of the sample");
    let said = stderr(&render());
    assert!(said.contains("cluster-1: 2 written, 4 removed, 4 unchanged"), "{said}");
}

#[test]
fn render_prints_yaml_json_and_tables() {
    let fleet = fleet();
    let yaml = stdout(&tradewind(&["render", text(fleet.path()), "-c", "cluster-2"]));
    assert_eq!(yaml.matches("# cluster: cluster-2").count(), 10);
    assert!(yaml.contains("kind: ServiceEntry") && yaml.contains("kind: DestinationRule"));
    let json: serde_json::Value =
        serde_json::from_slice(&tradewind(&["render", text(fleet.path()), "-o", "json"]).stdout).expect("JSON");
    assert_eq!(json["cluster-3"].as_array().map(Vec::len), Some(10));
    let table = stdout(&tradewind(&["render", text(fleet.path()), "-o", "table"]));
    assert!(table.contains("payments.payments-east.svc.cluster.local:8080"), "{table}");
    let unknown = tradewind(&["render", text(fleet.path()), "-c", "cluster-9"]);
    assert_eq!((code(&unknown), stderr(&unknown).contains("no cluster \"cluster-9\"")), (2, true));
}

#[test]
fn invalid_yaml_is_reported_with_file_and_line_and_affects_nothing_else() {
    let fleet = fleet();
    fs::write(fleet.path().join("cluster-1/broken.yaml"), "kind: Service\nmetadata: [\n").expect("a file");
    let output = tradewind(&["render", text(fleet.path())]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("error: cluster-1: broken.yaml:2"), "{}", stderr(&output));
    assert!(stdout(&output).contains("stage.payments.global-se"), "the rest is rendered");
    // Nobody knows what the broken file holds: nothing may go because of it.
    let out = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(out.path().join("cluster-1")).expect("a directory");
    let ours = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  labels: {app.kubernetes.io/managed-by: tradewind}\n  name: old-se\n  namespace: admiral-sync\n";
    fs::write(out.path().join("cluster-1/serviceentry-old-se.yaml"), ours).expect("a file");
    let output = tradewind(&["render", text(fleet.path()), "-d", text(out.path())]);
    assert!(out.path().join("cluster-1/serviceentry-old-se.yaml").exists(), "{}", stderr(&output));
}

#[test]
fn the_exit_code_of_diff_shows_whether_something_changes() {
    let fleet = fleet();
    let sync = |cluster: &str| fleet.path().join(cluster).join("admiral-sync");
    let out = tempfile::tempdir().expect("a directory");
    assert_eq!(code(&tradewind(&["render", text(fleet.path()), "-d", text(out.path())])), 0);
    let all_new = tradewind(&["diff", text(fleet.path())]);
    assert_eq!((code(&all_new), stdout(&all_new).matches("create cluster-").count()), (1, 30));
    for cluster in ["cluster-1", "cluster-2", "cluster-3"] {
        fs::rename(out.path().join(cluster), sync(cluster)).expect("a directory");
    }
    let same = tradewind(&["diff", text(fleet.path())]);
    assert_eq!((code(&same), stdout(&same)), (0, String::new()), "{}", stderr(&same));

    edit(&policy_of(fleet.path()), "weight: 90", "weight: 80");
    edit(&policy_of(fleet.path()), "weight: 10\n", "weight: 20\n");
    let edited = tradewind(&["diff", text(fleet.path())]);
    let changes = stdout(&edited);
    assert_eq!(code(&edited), 1);
    assert_eq!(changes.matches("update cluster-").count(), 3, "one ServiceEntry a cluster: {changes}");
    assert!(changes.contains("-    weight: 90") && changes.contains("+    weight: 80"), "{changes}");
    assert_eq!(code(&tradewind(&["diff", "/nowhere/at/all"])), 2);
}

#[test]
fn diff_of_two_fleets_compares_their_plans() {
    let (old, new) = (fleet(), fleet());
    let between = || tradewind(&["diff", text(old.path()), text(new.path()), "-o", "json"]);
    assert_eq!((code(&between()), stdout(&between()).trim()), (0, "[]"));
    fs::remove_file(policy_of(new.path())).expect("a file of the sample");
    let changes: Vec<serde_json::Value> = serde_json::from_slice(&between().stdout).expect("JSON");
    let deleted = changes.iter().filter(|change| change["verb"] == "delete").count();
    assert_eq!((code(&between()), deleted), (1, 12), "two prefixed hosts, two objects each, in three clusters");
}

#[test]
fn crds_are_those_in_the_repository() {
    let printed = stdout(&tradewind(&["crds"]));
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")).expect("crds/").flatten() {
        let file = fs::read_to_string(entry.path()).expect("a CRD");
        let name = file.lines().find(|line| line.trim_start().starts_with("name: ")).expect("a name").trim();
        assert!(printed.contains(name), "{name}");
    }
}

#[test]
fn settings_that_are_refused_name_their_line_and_what_is_allowed() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "hostnameSufix: mesh\nmaxRemovalPercent: 300\n").expect("a file");
    let output = tradewind(&["demo", "--once", "--config", text(file.path())]);
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains(":1: hostnameSufix is no setting; did you mean hostnameSuffix?"), "{said}");
    assert!(said.contains(":2: maxRemovalPercent") && said.contains("0 to 100"), "{said}");
}

#[test]
fn lint_names_file_line_object_and_field_of_everything_it_finds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command.arg("lint").args(arguments).current_dir(root.join("tests/cli")).output().expect("the binary runs")
    };
    let output = run(&["lint"]);
    let golden = root.join("tests/cli/lint.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, stdout(&output)).expect("the golden file");
    }
    assert_eq!(stdout(&output), fs::read_to_string(golden).expect("the golden file"));
    assert_eq!(code(&output), 1);
    let errors = stdout(&output).matches(": error: ").count();
    let warnings = stdout(&output).matches(": warning: ").count();
    assert_eq!(stderr(&output), format!("objects: 13, errors: {errors}, warnings: {warnings}\n"));

    let listed: Vec<serde_json::Value> =
        serde_json::from_slice(&run(&["lint", "-o", "json"]).stdout).expect("a list of findings");
    assert_eq!(listed.len(), errors + warnings);
    let yaml: Vec<serde_json::Value> =
        serde_saphyr::from_str(&stdout(&run(&["lint", "-o", "yaml"]))).expect("a list of findings");
    assert_eq!(yaml, listed);

    // The labels by which services are named are a setting.
    let other = stdout(&run(&["lint/team/policies.yaml", "--admiral-crd-identity-label=asset"]));
    assert!(other.contains("neither the label nor the selector \"asset\" names an identity"), "{other}");
}

#[test]
fn lint_ends_with_0_without_errors_1_with_some_and_2_where_it_could_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a manifest");
        text_of(&path)
    };
    let dependency = |name: &str, destinations: &str| {
        format!(
            "apiVersion: admiral.io/v1alpha1\nkind: Dependency\nmetadata: {{name: {name}}}\nspec: {{source: orders, destinations: {destinations}}}\n"
        )
    };
    let good = file("good.yaml", &dependency("a", "[payments]"));
    let idle = file("idle.yaml", &dependency("b", "[]"));
    let bad = file("bad.yaml", &dependency("c", "payments"));
    let other = file("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    let lint = |arguments: &[&str]| code(&tradewind(&[&["lint"], arguments].concat()));
    assert_eq!(lint(&[&good, &other]), 0);
    assert_eq!(lint(&[&good, &idle]), 0, "a warning is no error");
    assert_eq!(lint(&["--strict", &good, &idle]), 1);
    assert_eq!(lint(&["--strict", &good]), 0);
    assert_eq!(lint(&[&good, &bad]), 1);
    assert_eq!(lint(&[&bad, "no-such-file.yaml"]), 2);
    assert_eq!(lint(&[]), 2, "clap's own");

    let mut piped = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["lint", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    piped.stdin.take().expect("a pipe").write_all(dependency("d", "payments").as_bytes()).expect("a manifest");
    let output = piped.wait_with_output().expect("it ends");
    let said = "-:4: error: Dependency d: spec.destinations: must be of type array: \"string\"\n";
    assert_eq!((code(&output), stdout(&output).as_str()), (1, said));

    // The same object in two files of one directory; in two directories, it is that of two clusters.
    fs::create_dir(directory.path().join("cluster-2")).expect("a directory");
    let twin = file("twin.yaml", &dependency("a", "[reports]"));
    let elsewhere = file("cluster-2/good.yaml", &dependency("a", "[payments]"));
    assert!(stdout(&tradewind(&["lint", &good, &twin])).contains("the same object stands at"));
    assert_eq!(stdout(&tradewind(&["lint", &good, &elsewhere])), "");
}

fn text_of(path: &Path) -> String {
    text(path).to_owned()
}

#[test]
fn config_from_admiral_reads_flags_and_its_manifest() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/admiral-deployment.yaml");
    let from_file = |further: &[&str]| {
        tradewind(&[&["config", "from-admiral", "--strict", "--from-file", text(&manifest)], further].concat())
    };
    let made = from_file(&[]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/admiral-settings.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, stdout(&made)).expect("the golden file");
    }
    assert_eq!(stdout(&made), fs::read_to_string(&golden).expect("the golden file"));
    // What is printed is a settings file, and it is followed.
    let (fleet, settings) = (fleet(), text(&golden));
    let rendered = stdout(&tradewind(&["render", text(fleet.path()), "--config", settings]));
    assert!(rendered.contains("distribute:") && rendered.contains("exportTo:"), "{rendered}");

    let later = from_file(&["--", "--gateway_app=other", "--enable_san"]);
    assert!(stdout(&later).contains("gatewayApp: other\n"), "{}", stdout(&later));
    assert!(stdout(&later).contains("enableSan: true\n"), "{}", stdout(&later));

    let unknown = tradewind(&["config", "from-admiral", "--", "--gateway-ap", "x"]);
    assert_eq!((code(&unknown), stdout(&unknown)), (2, String::new()));
    assert!(stderr(&unknown).contains("--gateway-ap is no flag of Admiral; did you mean --gateway_app?"));
    let other = tradewind(&["config", "from-admiral", "--from-file", settings]);
    assert!(code(&other) == 2 && stderr(&other).contains("holds no Deployment"), "{}", stderr(&other));
}

/// The block of the README that begins so.
fn shown_in_readme(begin: &str) -> String {
    shown_in("README.md", begin)
}

/// The block of a page that begins so.
fn shown_in(page: &str, begin: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let found = blocks.map(|(_, block)| block).find(|block| block.starts_with(begin));
    found.unwrap_or_else(|| panic!("{page} shows nothing that begins with {begin:?}")).to_owned()
}

#[test]
fn the_readme_shows_what_is_printed() {
    let demo = stdout(&tradewind(&["demo", "--once"]));
    let mut rest = demo.lines().map(str::trim_end);
    for line in shown_in_readme("Seen from cluster-1").lines().filter(|line| !line.is_empty()) {
        assert!(rest.any(|printed| printed == line), "not printed, or not in this order: {line}\n{demo}");
    }
    let (old, new) = (fleet(), fleet());
    let rendered = stdout(&tradewind(&["render", text(old.path()), "-c", "cluster-2"]));
    let entry = shown_in("docs/concepts.md", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry");
    assert!(rendered.contains(&entry), "{rendered}");
    edit(&policy_of(new.path()), "weight: 90", "weight: 50");
    edit(&policy_of(new.path()), "weight: 10\n", "weight: 50\n");
    let changes = stdout(&tradewind(&["diff", text(old.path()), text(new.path())]));
    assert!(changes.contains(&shown_in_readme("update cluster-1/ServiceEntry/")), "{changes}");
}

#[test]
fn diff_names_what_it_leaves_alone() {
    let fleet = fleet();
    let rendered = tradewind(&["render", text(fleet.path()), "-d", text(fleet.path())]);
    assert_eq!(code(&rendered), 0, "{}", stderr(&rendered));
    let diff = |further: &[&str]| tradewind(&[&["diff", text(fleet.path())], further].concat());
    assert!(code(&diff(&[])) == 0 && stderr(&diff(&[])).ends_with("nothing differs\n"), "{}", stderr(&diff(&[])));
    // All of it was made by Admiral, and differs.
    for entry in walk(fleet.path()) {
        let written = fs::read_to_string(&entry).expect("a file");
        if written.contains("app.kubernetes.io/created-by: tradewind") {
            let made =
                written.replace("app.kubernetes.io/created-by: tradewind", "app.kubernetes.io/created-by: admiral");
            let made = made.replace("    app.kubernetes.io/managed-by: tradewind\n", "");
            fs::write(&entry, made).expect("a file of ours");
        }
    }
    edit(&policy_of(fleet.path()), "weight: 90", "weight: 80");
    let left = diff(&[]);
    assert_eq!((code(&left), stdout(&left)), (0, String::new()), "{}", stderr(&left));
    let told = "ServiceEntry admiral-sync/stage.payments.global-se: was made by Admiral and stands where Tradewind wants its own";
    assert!(stderr(&left).contains("object-foreign") && stderr(&left).contains(told), "{}", stderr(&left));
    let adopted = diff(&["--adopt-admiral=true"]);
    assert!(code(&adopted) == 1 && stdout(&adopted).contains("stage.payments.global-se"), "{}", stdout(&adopted));
}

#[test]
fn diff_shows_into_which_listener_of_a_sidecar_hosts_go() {
    let sidecar = |egress: &str| {
        let fleet = fleet();
        let manifest = format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: orders}}\nspec:\n  \
             egress: {egress}\n"
        );
        fs::write(fleet.path().join("cluster-1/sidecar.yaml"), manifest).expect("a Sidecar");
        let found = tradewind(&["diff", text(fleet.path()), "--sidecars", "merge"]);
        let merge = stdout(&found).split("merge cluster-1/Sidecar/default").nth(1).map(|rest| {
            let rest = rest.split("\ncreate ").next().unwrap_or_default();
            let left_out = ["+++", "---", "+  annotations:", "+    tradewind.io/"];
            let lines = rest.lines().filter(|line| !left_out.iter().any(|begin| line.starts_with(begin)));
            lines.filter(|line| line.starts_with(['+', '-'])).map(|line| line.to_owned() + "\n").collect::<String>()
        });
        (merge, stderr(&found))
    };
    let of_port = "{port: {number: 3306, protocol: MYSQL, name: db}, hosts: ['*/mysql.example']}";
    let hosts = ["east.stage", "stage", "west.stage"].map(|of| format!("+    - admiral-sync/{of}.payments.global\n"));
    let (catch_all, _) = sidecar(&format!("[{of_port}, {{hosts: [./*]}}]"));
    assert_eq!(catch_all, Some(hosts.concat()));
    let (made, _) = sidecar(&format!("[{of_port}]"));
    assert_eq!(made, Some("+  - hosts:\n".to_owned() + &hosts.concat()));
    let (bound, notes) = sidecar("[{bind: 127.0.0.1, hosts: [./*]}]");
    assert!(
        bound.is_none() && notes.contains("sidecar-unmergeable") && notes.contains("bound to an address"),
        "{notes}"
    );
    let (everything, notes) = sidecar("[]");
    assert!(everything.is_none() && !notes.contains("sidecar-unmergeable"), "{notes}");
}

#[test]
fn beside_admiral_a_zone_that_all_nodes_share_changes_no_endpoint() {
    let fleet = fleet();
    for (cluster, zones) in [("cluster-1", 2), ("cluster-2", 3), ("cluster-3", 2)] {
        let mesh = fleet.path().join(cluster).join("mesh.yaml");
        let region = if cluster == "cluster-3" { "us-east" } else { "us-west" };
        (2..=zones).for_each(|zone| edit(&mesh, &format!("{region}-{zone}"), &format!("{region}-1")));
    }
    let made = tradewind(&["config", "from-admiral", "--strict"]);
    let settings = tempfile::NamedTempFile::new().expect("a file");
    fs::write(settings.path(), stdout(&made)).expect("a file of our own");
    let config = format!("--config={}", text(settings.path()));
    // Admiral's own objects: localities are regions, and there are neither marks nor endpoint labels.
    let rendered = tradewind(&["render", text(fleet.path()), &config, "-d", text(fleet.path())]);
    assert_eq!(code(&rendered), 0, "{}", stderr(&rendered));
    let mut localities = 0;
    for file in walk(fleet.path()) {
        let written = fs::read_to_string(&file).expect("a file");
        if written.contains("app.kubernetes.io/created-by: tradewind") {
            assert!(!written.contains("locality: us-west/") && !written.contains("locality: us-east/"), "{written}");
            localities += written.matches("locality: us-").count();
            let line = |line: &&str| !line.trim_start().starts_with("tradewind.io/") && !line.contains("managed-by");
            let made: Vec<&str> = written.lines().filter(line).collect();
            fs::write(&file, made.join("\n").replace("created-by: tradewind", "created-by: admiral")).expect("ours");
        }
    }
    assert!(localities > 0, "no entry was written");
    let diff = |further: &[&str]| {
        let command = ["diff", text(fleet.path()), &config, "--adopt-admiral", "--endpoints"];
        tradewind(&[&command, further].concat())
    };
    let strict = diff(&[]);
    assert_eq!((code(&strict), stdout(&strict)), (0, String::new()), "{}", stderr(&strict));
    assert!(stderr(&strict).contains(" 0 endpoints change\n"), "{}", stderr(&strict));
    let zoned = diff(&["--endpoint-zones=true"]);
    assert_eq!(code(&zoned), 1, "{}", stderr(&zoned));
    assert!(stdout(&zoned).contains("us-east/us-east-1"), "{}", stdout(&zoned));
}

#[test]
fn diff_shows_beforehand_what_taking_over_a_hand_written_entry_would_change() {
    let fleet = fleet();
    let host = "stage.payments.global";
    let by_hand = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: payments, namespace: legacy}
spec:
  hosts: [stage.payments.global]
  addresses: [10.77.0.9]
  location: MESH_INTERNAL
  resolution: DNS
  endpoints: [{address: 198.51.100.7, ports: {http: 15443}}]
";
    let file = fleet.path().join("cluster-1/by-hand.yaml");
    fs::write(&file, by_hand).expect("a file of our own");
    let diff = |further: &[&str]| tradewind(&[&["diff", text(fleet.path())], further].concat());
    let before = stdout(&diff(&[]));
    assert!(before.contains(&format!("create cluster-1/ServiceEntry/{host}-se")), "{before}");
    assert!(!before.contains("10.77.0.9"), "{before}");
    for further in ["--adopt=legacy", "--adopt=legacy/payments"] {
        let adopted = diff(&[further]);
        let shown = stdout(&adopted);
        assert_eq!(code(&adopted), 1, "{}", stderr(&adopted));
        assert!(shown.contains("take over cluster-1/ServiceEntry/payments\n"), "{shown}");
        assert!(!shown.contains(&format!("cluster-1/ServiceEntry/{host}-se")), "{shown}");
        let changed: Vec<&str> = shown.lines().filter(|line| line.contains("10.77.0.9")).collect();
        let written = |line: &&&str| line.starts_with('+');
        assert_eq!(changed.iter().filter(written).count(), 2, "the other clusters get the address: {changed:?}");
        assert!(changed.iter().any(|line| line.starts_with(' ')), "and there it stays: {changed:?}");
    }
    let endpoints = diff(&["--adopt=legacy", "--endpoints"]);
    assert!(stdout(&endpoints).contains("198.51.100.7:15443"), "{}", stdout(&endpoints));
    // The annotation does the same without a flag, and another namespace nothing.
    assert_eq!(stdout(&diff(&["--adopt=other"])), before);
    let annotated =
        by_hand.replace("namespace: legacy", "namespace: legacy, annotations: {tradewind.io/adopt: 'true'}");
    fs::write(&file, annotated).expect("a file of our own");
    let shown = stdout(&diff(&[]));
    assert!(shown.contains("take over cluster-1/ServiceEntry/payments\n"), "{shown}");
    assert!(!shown.contains("-    tradewind.io/adopt"), "it is its owner's: {shown}");
    // What was taken over, and is no longer handed over, would be given back.
    let rendered = stdout(&tradewind(&["render", text(fleet.path()), "-c", "cluster-1"]));
    let written = rendered.split("---\n").find(|object| object.contains("name: payments\n")).expect("the entry");
    fs::write(&file, written.replace("    tradewind.io/adopt: \"true\"\n", "")).expect("a file of our own");
    let back = diff(&[]);
    assert!(stdout(&back).contains("give back cluster-1/ServiceEntry/payments\n"), "{}", stdout(&back));
    assert!(stderr(&back).contains("it is left alone, and Tradewind creates none of its own"), "{}", stderr(&back));
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn diff_of_endpoints_shows_them_alone() {
    let (old, new) = (fleet(), fleet());
    let between = |further: &[&str]| tradewind(&[&["diff", text(old.path()), text(new.path())], further].concat());
    edit(&policy_of(new.path()), "weight: 90", "weight: 80");
    edit(&policy_of(new.path()), "weight: 10\n", "weight: 20\n");
    let table = between(&["--endpoints"]);
    assert_eq!(code(&table), 1);
    assert!(stdout(&table).contains("weight 90") && stdout(&table).contains("weight 80"), "{}", stdout(&table));
    assert!(
        stderr(&table).ends_with("3 objects differ; 3 of 3 ServiceEntries with other endpoints; 6 endpoints change\n")
    );
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&between(&["--endpoints", "-o", "json"]).stdout).expect("JSON");
    assert_eq!((list.len(), &list[0]["cluster"]), (6, &serde_json::json!("cluster-1")));
    // A rule that changes is a difference, and no endpoint.
    let rules = between(&["--endpoints", "--weights=distribute"]);
    assert_eq!((code(&rules), stdout(&rules)), (0, String::new()), "{}", stderr(&rules));
    assert!(stderr(&rules).contains("3 objects differ; 0 of 0 ServiceEntries"), "{}", stderr(&rules));
}

#[test]
fn hand_back_is_for_live_clusters_that_nobody_writes() {
    let fleet = fleet();
    let back = |further: &[&str]| tradewind(&[&["hand-back", text(fleet.path())], further].concat());
    for (arguments, why) in [
        (&["--stopped"][..], "is a directory; only live clusters are handed back"),
        (&["--stopped", "--clusters", "cluster-9"][..], "the fleet has no cluster \"cluster-9\""),
        (&["--stopped", "--controller", "http://127.0.0.1:1"][..], "cannot be used with"),
    ] {
        let refused = back(arguments);
        assert!(code(&refused) == 2 && stderr(&refused).contains(why), "{}", stderr(&refused));
    }
}

/// What an Envoy of the payments story said of itself, beside a real istiod; its gateways got the sample's addresses.
fn dumped(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/verify").join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("a dump")).expect("JSON")
}

fn verified(dump: &serde_json::Value, further: &[&str]) -> (i32, String, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), dump.to_string()).expect("a file of our own");
    let fleet = fleet();
    let output = tradewind(&[&["verify", text(fleet.path()), "--dump", text(file.path())], further].concat());
    (code(&output), stdout(&output), stderr(&output))
}

#[test]
fn verify_finds_a_real_proxy_as_planned() {
    let (code, table, said) = verified(&dumped("orders.json"), &["--sidecars", "own"]);
    assert_eq!(code, 0, "{table}{said}");
    let expected = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/verify/orders.txt"));
    assert_eq!(table, expected.expect("the table"));
    assert!(said.ends_with("5 hosts in cluster-1: all as planned\n"), "{said}");
    // Seen from the other cluster of the region the Service is local, and the table is for programs, too.
    let (code, json, said) = verified(&dumped("reports.json"), &["stage.payments.global", "-o", "json"]);
    assert_eq!(code, 0, "{json}{said}");
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let endpoints = &report[0]["ports"][0]["endpoints"];
    assert_eq!(endpoints[0]["endpoint"], "payments.payments-west.svc.cluster.local:8080");
    assert_eq!((&endpoints[1]["sharePercent"], &endpoints[1]["priority"]), (&90.0.into(), &0.into()));
    // Without the Sidecar that the lab's proxies have, what they lack is told.
    let (code, table, _) = verified(&dumped("orders.json"), &[]);
    assert_eq!(code, 1);
    assert!(table.contains("stage.reports.global:80: the proxy does not have the host\n  likely: "), "{table}");
}

#[test]
fn verify_expects_only_the_networks_that_a_gateway_requests() {
    let gateway = dumped("gateway.json");
    let (code, table, said) = verified(&gateway, &[]);
    assert_eq!(code, 0, "{table}{said}");
    assert!(said.ends_with("5 hosts in cluster-2: all as planned\n"), "{said}");
    // Its tenth of the traffic is all that it gets, and of what it may not know it has nothing.
    assert!(table.contains("us-west/tier0-us-west  0         100.0%  as planned"), "{table}");
    assert!(!table.contains(":15443"), "{table}");
    // Who asks for all networks must have the other gateways, too; who has them without asking differs.
    let changed = |view: &str, dump: &serde_json::Value| {
        let mut dump = dump.clone();
        dump["configs"][0]["bootstrap"]["node"]["metadata"]["REQUESTED_NETWORK_VIEW"] = view.into();
        verified(&dump, &["stage.payments.global"])
    };
    let (code, table, _) = changed("", &gateway);
    assert!(code == 1 && table.contains("203.0.113.30:15443: the proxy does not have it"), "{table}");
    let (code, table, _) = changed("network-2, network-3", &gateway);
    assert!(code == 1 && table.contains("203.0.113.30:15443: the proxy does not have it"), "{table}");
    let (code, table, _) = changed("network-1,network-2", &gateway);
    assert_eq!(code, 0, "{table}");
    let (code, table, _) = changed("network-2", &dumped("reports.json"));
    assert!(code == 1 && table.contains("203.0.113.30:15443: it is not planned"), "{table}");
}

#[test]
fn verify_names_each_difference_with_its_likely_cause() {
    let host = "outbound|80||stage.payments.global";
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut dump = dumped("orders.json");
        for config in dump["configs"].as_array_mut().expect("configs") {
            let clusters = config.get_mut("dynamic_active_clusters").and_then(|list| list.as_array_mut());
            for cluster in clusters.into_iter().flatten().filter(|one| one["cluster"]["name"] == host) {
                change(&mut cluster["cluster"]);
            }
        }
        verified(&dump, &["stage.payments.global"])
    };
    type Change = Box<dyn Fn(&mut serde_json::Value)>;
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(|cluster| {
                cluster["load_assignment"]["endpoints"].as_array_mut().expect("a list").remove(0);
            }),
            "203.0.113.30:15443: the proxy does not have it\n  likely: istiod has not sent the newest ServiceEntry",
        ),
        (
            Box::new(|cluster| {
                let group = &mut cluster["load_assignment"]["endpoints"][0];
                group["load_balancing_weight"] = 30.into();
                group["lb_endpoints"][0]["load_balancing_weight"] = 30.into();
            }),
            "it gets 75.0 % of the traffic, planned are 90.0 %\n  likely: weights of an older ServiceEntry",
        ),
        (
            Box::new(|cluster| cluster["load_assignment"]["endpoints"][0]["priority"] = 1.into()),
            "its priority is 1, planned is 0\n  likely: another DestinationRule",
        ),
        (
            Box::new(|cluster| cluster["load_assignment"]["endpoints"][0]["locality"]["zone"] = "a".into()),
            "its locality is \"us-west/a\", planned is \"us-west/tier0-us-east\"\n  likely: istiod has not sent",
        ),
        (
            Box::new(|cluster| {
                cluster.as_object_mut().expect("a cluster").remove("outlier_detection");
            }),
            "the proxy takes no unhealthy endpoint out\n  likely: another DestinationRule",
        ),
        (
            Box::new(|cluster| {
                let mut extra = cluster["load_assignment"]["endpoints"][1].clone();
                extra["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = "192.0.2.9".into();
                cluster["load_assignment"]["endpoints"].as_array_mut().expect("a list").push(extra);
            }),
            "192.0.2.9:15443: it is not planned\n  likely: another ServiceEntry",
        ),
        (Box::new(|cluster| cluster["name"] = "outbound|80||elsewhere".into()), "the proxy does not have the host"),
    ];
    for (change, expected) in cases {
        let (code, table, said) = changed(&*change);
        assert_eq!(code, 1, "{table}{said}");
        assert!(table.contains(expected), "{expected:?} is not in\n{table}");
    }
}

#[test]
fn verify_judges_no_proxy_of_a_cluster_that_cannot_be_read() {
    let fleet = fleet();
    let at = |file: &str| fleet.path().join(file);
    // Nobody listens there.
    let kubeconfig = serde_json::json!({
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "current-context": "x",
    });
    fs::write(at("cluster-2.kubeconfig"), kubeconfig.to_string()).expect("a file of our own");
    let clusters = "clusters:\n- {name: cluster-1, directory: cluster-1}\n- {name: cluster-3, directory: cluster-3}\n\
                    - {name: cluster-2, kubeconfig: cluster-2.kubeconfig}\n";
    fs::write(at("fleet.yaml"), clusters).expect("a file of our own");
    let verified = |dump: &str, further: &[&str]| {
        let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/verify").join(dump);
        let output = tradewind(&[&["verify", text(&at("fleet.yaml")), "--dump", text(&dump)], further].concat());
        (code(&output), stdout(&output), stderr(&output))
    };
    let (code, table, said) = verified("reports.json", &["stage.payments.global"]);
    assert!(code == 2 && table.is_empty() && said.contains("cluster-2 cannot be read now"), "{table}{said}");
    assert!(said.contains("refuses connections"), "{said}");
    // The others are, with a plan that lacks something.
    let (code, table, said) = verified("orders.json", &["east.stage.payments.global"]);
    assert!(code == 2 && table.contains("203.0.113.30:15443"), "{table}{said}");
    assert!(said.contains("incomplete: cluster-2: all kinds: the API server refuses connections"), "{said}");
    let partial = verified("orders.json", &["east.stage.payments.global", "--allow-partial"]);
    assert_eq!(partial, (1, table, said));
}

#[test]
fn verify_refuses_what_it_cannot_compare() {
    let (code, _, said) = verified(&serde_json::json!({"a": 1}), &[]);
    assert!(code == 2 && said.contains("this is no config dump of an Envoy"), "{said}");
    let (code, _, said) = verified(&dumped("orders.json"), &["stage.refunds.global"]);
    assert!(code == 2 && said.contains("no host stage.refunds.global is planned for cluster-1"), "{said}");
    let (code, _, said) = verified(&dumped("orders.json"), &["--cluster", "cluster-9"]);
    assert!(code == 2 && said.contains("the fleet has no cluster \"cluster-9\"; did you mean cluster-1? (it has cluster-1, cluster-2, cluster-3); say with"), "{said}");
    let mut unnamed = dumped("orders.json");
    unnamed["configs"][0]["bootstrap"] = serde_json::Value::Null;
    let (code, _, said) = verified(&unnamed, &[]);
    assert!(code == 2 && said.contains("say it with --cluster"), "{said}");
    assert_eq!(verified(&unnamed, &["--cluster", "cluster-1", "--locality", "us-west", "stage.payments.global"]).0, 0);
}
