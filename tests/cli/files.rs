//! What files may hold: `lint` and `render` take the same, refuse the same, and say where and what to do.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{code, fleet, stderr, stdout, text, tradewind};

/// Far above what a command needs for a few files, on a busy machine.
const AT_MOST: Duration = Duration::from_secs(60);

/// Runs a command that might wait for ever.
fn ends(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let begin = Instant::now();
    while child.try_wait().expect("a child of our own").is_none() {
        if begin.elapsed() > AT_MOST {
            let _ = child.kill();
            panic!("{arguments:?} hangs");
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("it has ended")
}

/// `lint` and `render` of the sample with one more file in cluster-1: exit codes, and what both say.
fn judged(name: &str, content: &[u8]) -> ((i32, String), (i32, String)) {
    let fleet = fleet();
    let file = fleet.path().join("cluster-1").join(name);
    fs::write(&file, content).expect("a file");
    let lint = ends(&["lint", text(&file)]);
    let render = ends(&["render", text(fleet.path()), "-o", "table"]);
    ((code(&lint), stdout(&lint) + &stderr(&lint)), (code(&render), stderr(&render)))
}

const POLICY: &str = "metadata: {name: pay, namespace: payments-west, labels: {identity: payments, env: stage}}\nspec:\n  policy:\n  - dnsPrefix: default\n    lbType: 1\n    target:\n    - {region: us-west, weight: WEIGHT}\n";

fn policy(head: &str, weight: &str) -> String {
    format!("{head}\n{}", POLICY.replace("WEIGHT", weight))
}

const HEAD: &str = "apiVersion: admiral.io/v1alpha1\nkind: GlobalTrafficPolicy";

// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason.
#[test]
fn lint_and_render_refuse_the_same_with_the_line_and_what_to_do() {
    for (name, content, line, words) in [
        (
            "kind.yaml",
            policy("apiVersion: admiral.io/v1alpha1\nkind: GlobalTraficPolicy", "100"),
            2,
            "did you mean GlobalTrafficPolicy?",
        ),
        (
            "plural.yaml",
            policy("apiVersion: admiral.io/v1alpha1\nkind: globaltrafficpolicies", "100"),
            2,
            "did you mean GlobalTrafficPolicy?",
        ),
        (
            "no-kind.yaml",
            policy("apiVersion: admiral.io/v1alpha1", "100"),
            1,
            "kind: is missing; of admiral.io/v1alpha1 these are read",
        ),
        (
            "no-version.yaml",
            policy("kind: GlobalTrafficPolicy", "100"),
            1,
            "apiVersion: is missing; write admiral.io/v1alpha1",
        ),
        (
            "group.yaml",
            policy("apiVersion: admiral/v1alpha1\nkind: GlobalTrafficPolicy", "100"),
            1,
            "did you mean admiral.io/v1alpha1?",
        ),
        (
            "negative.yaml",
            policy(HEAD, "-90"),
            9,
            "spec.policy[0].target[0].weight: should be greater than or equal to 0",
        ),
        (
            "fraction.yaml",
            policy(HEAD, "70.5"),
            9,
            "spec.policy[0].target[0].weight: must be of type integer: \"number\"",
        ),
        (
            "text.yaml",
            policy(HEAD, "\"70\""),
            9,
            "spec.policy[0].target[0].weight: must be of type integer: \"string\"",
        ),
        ("null.yaml", format!("{HEAD}\nmetadata: {{name: a}}\nspec:\n"), 4, "spec: Required value: it is missing"),
        (
            "rule.yaml",
            format!("{HEAD}\nmetadata: {{name: a}}\nspec:\n  policy:\n  - lbType: 1\n"),
            6,
            "an entry must name its host by dnsPrefix or dns",
        ),
        (
            "labels.yaml",
            policy(HEAD, "100").replace("env: stage", "env: 1"),
            3,
            "metadata.labels.env: must be a text; write \"1\" in quotes",
        ),
        (
            "old.yaml",
            "\napiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\n".to_owned(),
            2,
            "is not served any more; write apps/v1",
        ),
        (
            "port.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 0\n".to_owned(),
            6,
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "ports.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: {http: 80}\n".to_owned(),
            5,
            "spec.ports: must be of type array: \"object\"",
        ),
        ("no-name.yaml", "apiVersion: v1\nkind: Service\nmetadata: {}\n".to_owned(), 3, "metadata.name"),
        (
            "item.yaml",
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n- apiVersion: v1\n  kind: service\n".to_owned(),
            7,
            "did you mean Service?",
        ),
        ("array.json", "[\n{\"apiVersion\": \"v1\",\n\"kind\": \"service\"}]\n".to_owned(), 3, "did you mean Service?"),
        (
            "cr-only.yaml",
            "apiVersion: v1\rkind: ConfigMap\r---\rapiVersion: v1\rkind: Service\r".to_owned(),
            4,
            "save the file with LF or CRLF line ends",
        ),
        ("broken.yaml", "apiVersion: v1\nkind: [\n".to_owned(), 2, ""),
        ("broken.json", "{\n\"kind\": }".to_owned(), 2, "expected value"),
        ("twice.yaml", "apiVersion: v1\nkind: Service\nkind: Node\n".to_owned(), 3, "the key kind is there twice"),
        ("text.json", "\"hello\"".to_owned(), 1, "no Kubernetes object"),
    ] {
        let ((lint, found), (render, said)) = judged(name, content.as_bytes());
        assert_eq!((lint, render), (1, 2), "{name}: {found}{said}");
        assert!(found.contains(&format!("{name}:{line}: error: ")) && found.contains(words), "{name}: {found}");
        assert!(said.contains(&format!("error: cluster-1: {name}:{line}: ")) && said.contains(words), "{name}: {said}");
        for leak in ["serde", "usize", "i32", "invalid type", "expected struct", "from_", "panicked"] {
            assert!(!found.contains(leak) && !said.contains(leak), "{name}: {found}{said}");
        }
    }
}

// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason.
#[test]
fn lint_and_render_take_the_same() {
    let json = |head: &str, tail: &str| {
        format!(
            "{head}{{\"apiVersion\": \"admiral.io/v1alpha1\", \"kind\": \"Dependency\", \"metadata\": {{\"name\": \"a\", \"namespace\": \"admiral\"}}, \"spec\": {{\"source\": \"orders\", \"destinations\": [\"payments\"]}}}}{tail}"
        )
    };
    for (name, content, objects) in [
        ("float.yaml", policy(HEAD, "100.0"), 1),
        ("exponent.yaml", policy(HEAD, "1e2"), 1),
        ("bom.json", json("\u{feff}", ""), 1),
        ("array.json", json("[", "]"), 1),
        ("several.json", json("", &json("\n", "").replace("\"a\"", "\"b\"")), 2),
        (
            "nulls.json",
            json("", "").replace("\"spec\": {", "\"status\": null, \"spec\": {\"identityLabel\": null, "),
            1,
        ),
        (
            "list.yaml",
            "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n".to_owned(),
            2,
        ),
        ("empty.yaml", "---\n# nothing\n".to_owned(), 0),
        (
            "others.yaml",
            "apiVersion: example.com/v1\nkind: globaltrafficpolicy\n---\napiVersion: v1\nkind: Secret\n".to_owned(),
            0,
        ),
        ("crlf.yaml", policy(HEAD, "100").replace('\n', "\r\n"), 1),
    ] {
        let ((lint, found), (render, said)) = judged(name, content.as_bytes());
        assert_eq!((lint, render), (0, 0), "{name}: {found}{said}");
        assert!(found.contains(&format!("objects: {objects}, errors: 0, ")), "{name}: {found}");
    }
    let ((_, found), _) = judged("array.json", json("[", "]").as_bytes());
    assert!(found.contains("warning: kubectl takes no list at the top of a file"), "{found}");
}

#[test]
fn invalid_texts_are_unreadable_for_both() {
    for (name, content, words) in [
        ("bytes.yaml", &b"a: \xff\n"[..], "is not text in UTF-8; save it as UTF-8"),
        ("windows.yaml", b"\xff\xfea\0:\0", "is text in UTF-16; save it as UTF-8"),
    ] {
        let ((lint, found), (render, said)) = judged(name, content);
        assert_eq!((lint, render), (2, 2), "{name}: {found}{said}");
        assert!(found.contains(words) && said.contains(words), "{name}: {found}{said}");
    }
}

#[test]
fn pipes_sockets_and_devices_in_a_directory_are_named_and_not_waited_for() {
    let fleet = fleet();
    let cluster = fleet.path().join("cluster-1");
    let made = Command::new("mkfifo").arg(cluster.join("pipe.yaml")).status().expect("mkfifo");
    assert!(made.success());
    let _listener = UnixListener::bind(cluster.join("socket.json")).expect("a socket");
    symlink("/dev/zero", cluster.join("device.yml")).expect("a link");
    let output = tempfile::tempdir().expect("a directory");
    fs::create_dir(output.path().join("cluster-1")).expect("a directory");
    let made =
        Command::new("mkfifo").arg(output.path().join("cluster-1/serviceentry-a.yaml")).status().expect("mkfifo");
    assert!(made.success());
    for arguments in [
        &["render", text(fleet.path())][..],
        &["render", text(fleet.path()), "-d", text(output.path())],
        &["diff", text(fleet.path())],
        &["diff", text(fleet.path()), text(fleet.path())],
        &["lint", text(&cluster)],
        &["lint", text(fleet.path())],
    ] {
        let ended = ends(arguments);
        let said = stderr(&ended);
        assert_eq!(code(&ended), 2, "{arguments:?}: {said}");
        for (file, what) in [("pipe.yaml", "a named pipe"), ("socket.json", "a socket")] {
            assert!(said.contains(&format!("{file}: is {what}, not a file")), "{arguments:?}: {said}");
        }
        assert!(said.contains("device.yml: leads out of"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_pipe_that_is_named_on_the_command_line_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let writer = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::write(pipe, policy("apiVersion: admiral.io/v1alpha1\nkind: gtp", "100")))
    };
    let linted = ends(&["lint", text(&pipe)]);
    writer.join().expect("no panic").expect("a write");
    assert!(code(&linted) == 1 && stdout(&linted).contains("did you mean GlobalTrafficPolicy?"), "{}", stdout(&linted));
}

#[test]
fn links_may_lead_in_circles_but_not_out_of_the_fleet() {
    let (fleet, shared) = (fleet(), tempfile::tempdir().expect("a directory"));
    let cluster = fleet.path().join("cluster-1");
    let at = |name: &str| cluster.join(name);
    fs::write(shared.path().join("policy.yaml"), policy(HEAD, "-1")).expect("a file");
    symlink(".", at("here")).expect("a link");
    symlink("..", at("up")).expect("a link");
    symlink("a", at("b")).expect("a link");
    symlink("b", at("a")).expect("a link");
    let rendered = ends(&["render", text(fleet.path())]);
    // The whole fleet is within the cluster now, and each object of the others is there twice, or again.
    assert_eq!(code(&rendered), 2, "{}", stderr(&rendered));
    fs::remove_file(at("up")).expect("a link");
    let rendered = ends(&["render", text(fleet.path())]);
    assert_eq!((code(&rendered), stderr(&rendered)), (0, String::new()));
    // What a link leads to counts, where the operator lets it lead there.
    symlink(shared.path(), at("shared")).expect("a link");
    let rendered = ends(&["render", text(fleet.path())]);
    assert_eq!(code(&rendered), 2);
    assert!(stderr(&rendered).contains("shared: the directory leads out of"), "{}", stderr(&rendered));
    let rendered = ends(&["render", text(fleet.path()), "--fleet-root=/"]);
    assert!(stderr(&rendered).contains("shared/policy.yaml:9: spec.policy[0]"), "{}", stderr(&rendered));
    symlink("self.yaml", at("self.yaml")).expect("a link");
    let rendered = ends(&["render", text(fleet.path())]);
    assert!(stderr(&rendered).contains("self.yaml: cannot be read: Too many levels"), "{}", stderr(&rendered));
}

#[test]
fn an_empty_directory_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("README.md"), "").expect("a file");
    let linted = tradewind(&["lint", text(directory.path())]);
    assert_eq!(code(&linted), 2);
    assert!(stderr(&linted).contains("the directory has no manifests (*.yaml, *.yml, *.json)"), "{}", stderr(&linted));
    assert_eq!(code(&tradewind(&["lint", text(&directory.path().join("nowhere"))])), 2);
    let fleet = fleet();
    fs::create_dir(fleet.path().join("cluster-9")).expect("a directory");
    let rendered = tradewind(&["render", text(fleet.path())]);
    assert!(stderr(&rendered).contains("error: cluster-9: the directory has no manifests"), "{}", stderr(&rendered));
}

#[test]
fn an_object_in_an_unread_namespace_gets_a_note_and_hides_nothing() {
    let fleet = fleet();
    let elsewhere = "apiVersion: admiral.io/v1alpha1\nkind: Dependency\nmetadata: {name: a, namespace: admirals}\n\
                     spec: {source: a, destinations: [b]}\n";
    let file = fleet.path().join("cluster-1/elsewhere.yaml");
    fs::write(&file, elsewhere).expect("a file");
    let rendered = tradewind(&["render", text(fleet.path())]);
    assert_eq!(code(&rendered), 0, "{}", stderr(&rendered));
    assert!(stderr(&rendered).contains("is read in the namespace admiral only"), "{}", stderr(&rendered));
    let linted = tradewind(&["lint", text(&file)]);
    assert_eq!(code(&linted), 0);
    let said = format!("{}{}", stdout(&linted), stderr(&linted));
    assert!(said.contains("metadata.namespace: a Dependency is read in the namespace admiral only"), "{said}");
    let other = tradewind(&["lint", text(&file), "--dependency-namespace", "admirals"]);
    assert!(!stdout(&other).contains("is read in the namespace"), "{}", stdout(&other));
}

#[test]
fn a_policy_that_is_refused_leaves_nothing_to_compare() {
    let (old, new) = (fleet(), fleet());
    super::edit(&super::policy_of(new.path()), "weight: 90", "weight: -90");
    let between = tradewind(&["diff", text(old.path()), text(new.path())]);
    assert_eq!((code(&between), stdout(&between)), (2, String::new()));
    assert!(stderr(&between).contains("should be greater than or equal to 0"), "{}", stderr(&between));
}

#[test]
fn a_misspelt_name_gets_a_suggestion_from_the_fleet() {
    let fleet = fleet();
    let file = fleet.path().join("fleet.yaml");
    fs::write(&file, "clusters: [{name: cluster-1, directory: cluster-1}]").expect("a file");
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/verify/orders.json");
    let (at, dump) = (text(fleet.path()), text(&dump));
    for (arguments, words) in [
        (
            vec!["render", text(fleet.path()), "-c", "clustr-2"],
            "the fleet has no cluster \"clustr-2\"; did you mean cluster-2? (it has cluster-1, cluster-2, cluster-3)",
        ),
        (
            vec!["render", text(fleet.path()), "-c", "paris"],
            "no cluster \"paris\" (it has cluster-1, cluster-2, cluster-3)",
        ),
        (
            vec!["hand-back", text(&file), "--stopped", "--clusters", "cluster1"],
            "no cluster \"cluster1\"; did you mean cluster-1? (it has cluster-1)",
        ),
        (
            vec!["verify", at, "--dump", dump, "stage.paymnets.global"],
            "or nobody runs it; did you mean stage.payments.global?",
        ),
        (vec!["verify", at, "--dump", dump, "stage.refunds.global"], "or nobody runs it\n"),
        (
            vec!["verify", at, "--dump", dump, "--cluster", "clutser-1"],
            "no cluster \"clutser-1\"; did you mean cluster-1?",
        ),
    ] {
        let refused = tradewind(&arguments);
        assert!(code(&refused) == 2 && stderr(&refused).contains(words), "{arguments:?}: {}", stderr(&refused));
    }
}

#[test]
fn render_is_strict_on_request() {
    let fleet = fleet();
    let render = |further: &[&str]| code(&tradewind(&[&["render", text(fleet.path())], further].concat()));
    assert_eq!(render(&["--strict"]), 0, "the sample gives no note");
    super::edit(&super::policy_of(fleet.path()), "weight: 90", "weight: 80");
    assert_eq!((render(&[]), render(&["--strict"])), (0, 1), "a note");
    fs::write(fleet.path().join("cluster-1/broken.yaml"), "a: [").expect("a file");
    assert_eq!((render(&[]), render(&["--strict"])), (2, 2));
}

/// The sample is judged as it is: of all kinds that are read, nothing is wrong.
#[test]
fn the_sample_is_in_order() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample");
    let linted = tradewind(&["lint", "--strict", text(&sample)]);
    assert_eq!((code(&linted), stdout(&linted)), (0, String::new()), "{}", stderr(&linted));
}

/// A client in c1 of services that run in c2 alone; each has two files in both clusters.
fn fleet_of(services: usize) -> tempfile::TempDir {
    let fleet = tempfile::tempdir().expect("a directory");
    let workload = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata:\n      labels: {{app: {name}, identity: {name}, env: stage}}\n      annotations: {{sidecar.istio.io/inject: \"true\"}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8080}}]}}\n"
        )
    };
    let gateway = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: gw, namespace: istio-system, labels: {{app: istio-ingressgateway}}}}\nspec: {{type: LoadBalancer, selector: {{istio: gw}}, ports: [{{name: tls, port: 15443}}]}}\nstatus: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}\n"
        )
    };
    for (cluster, address, names) in
        [("c1", "192.0.2.1", 0..4), ("c2", "192.0.2.2", 4..4 + services), ("c3", "192.0.2.3", 0..0)]
    {
        let directory = fleet.path().join(cluster);
        fs::create_dir(&directory).expect("a directory");
        fs::write(directory.join("gateway.yaml"), gateway(address)).expect("a file");
        for number in names {
            let name = format!("s{number}");
            fs::write(directory.join(format!("{name}.yaml")), workload(&name)).expect("a file");
        }
    }
    fleet
}

fn files_in(directory: &Path) -> usize {
    fs::read_dir(directory).expect("a directory").count()
}

// Invariant: A mass removal waits for an operator.
#[test]
fn many_files_go_only_when_they_are_released() {
    let (fleet, out) = (fleet_of(6), tempfile::tempdir().expect("a directory"));
    let render = |further: &[&str]| {
        let rendered = tradewind(&[&["render", text(fleet.path()), "-d", text(out.path())], further].concat());
        (code(&rendered), stderr(&rendered))
    };
    assert_eq!(render(&[]).0, 0);
    let left = || ["c1", "c2", "c3"].map(|cluster| files_in(&out.path().join(cluster)));
    assert_eq!(left(), [20, 20, 20]);

    // The sources of six services are gone.
    let sources: Vec<_> = (4..10).map(|number| fleet.path().join(format!("c2/s{number}.yaml"))).collect();
    let held: Vec<_> = sources.iter().map(|file| fs::read(file).expect("a source")).collect();
    sources.iter().for_each(|file| fs::remove_file(file).expect("a source"));
    let (ended, said) = render(&[]);
    assert_eq!((ended, left()), (2, [20, 20, 20]), "{said}");
    assert!(said.contains("c1: 0 written, 0 removed, 8 unchanged, 12 of 20 unwanted and withheld"), "{said}");
    assert!(said.contains("error: 36 files are no longer wanted") && said.contains("maxRemovalPercent"), "{said}");
    let id = said.split("--release ").nth(1).expect("an id").trim().to_owned();
    assert_eq!(render(&["--release", "something-else"]).0, 2);
    assert_eq!(left(), [20, 20, 20]);
    // A release is for exactly these files.
    fs::write(&sources[0], &held[0]).expect("a source");
    assert_eq!((render(&["--release", &id]).0, left()), (2, [20, 20, 20]));
    fs::remove_file(&sources[0]).expect("a source");
    let (ended, said) = render(&["--release", &id]);
    assert_eq!((ended, left()), (0, [8, 8, 8]), "{said}");
    assert!(said.contains("released: 36 removed"), "{said}");

    // A few go by themselves, and settings say how many.
    fs::remove_file(fleet.path().join("c1/s0.yaml")).expect("a source");
    assert_eq!((render(&["--max-removal-percent=0", "--max-removal-floor=1"]).0, left()), (2, [8, 8, 8]));
    assert_eq!((render(&[]).0, left()), (0, [6, 6, 6]));
    fs::remove_file(fleet.path().join("c1/s1.yaml")).expect("a source");
    fs::remove_file(fleet.path().join("c1/s2.yaml")).expect("a source");
    fs::remove_file(fleet.path().join("c1/s3.yaml")).expect("a source");
    assert_eq!((render(&[]).0, left()), (2, [6, 6, 6]), "all of them");
    assert_eq!((render(&["--max-removal-percent=100"]).0, left()), (0, [0, 0, 0]));
    assert_eq!(code(&tradewind(&["render", text(fleet.path()), "--release", "x"])), 2, "without a directory");
}

#[test]
fn what_clusters_that_left_leave_behind_is_named_and_stays() {
    let (fleet, out) = (fleet_of(1), tempfile::tempdir().expect("a directory"));
    let render = || tradewind(&["render", text(fleet.path()), "-d", text(out.path())]);
    assert_eq!(code(&render()), 0);
    fs::create_dir(out.path().join("docs")).expect("a directory");
    fs::write(out.path().join("docs/notes.yaml"), "a: 1\n").expect("a file");
    fs::remove_dir_all(fleet.path().join("c3")).expect("a cluster");
    let rendered = render();
    let said = stderr(&rendered);
    assert_eq!((code(&rendered), files_in(&out.path().join("c3"))), (0, 10), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("the fleet has no such cluster")).collect();
    let expected =
        format!("{}: the fleet has no such cluster; files of ours stay there (10)", out.path().join("c3").display());
    assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{said}");
}
