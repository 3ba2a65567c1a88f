//! The demo, and with it a fleet of directories that is served: what it prints, where it listens, what joins and leaves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::{SOON, edit, fleet, policy_of, text};

/// Longer than the demo takes to show an edit, once it shows anything at all of it.
const QUIET: Duration = Duration::from_secs(2);

struct Demo {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Where the views are.
    address: String,
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
    });
    receiver
}

impl Demo {
    fn start(fleet: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command.args(["demo", "-d", text(fleet)]).env_remove("RUST_LOG");
        let mut demo = Self::spawn(command);
        let line = demo.told("Views: http://");
        let address = line.split("Views: http://").nth(1).and_then(|rest| rest.split('/').next());
        demo.address = address.expect("an address").to_owned();
        demo
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = lines_of(child.stdout.take().expect("a pipe"));
        let stderr = lines_of(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr, address: String::new() }
    }

    /// The next line of standard error with these words.
    fn told(&self, words: &str) -> String {
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            match self.stderr.recv_timeout(QUIET) {
                Ok(line) if line.contains(words) => return line,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("{words:?} was not said");
    }

    /// What is printed until these words, and then until it is quiet.
    fn shown(&self, words: &str) -> String {
        let (begin, mut shown) = (Instant::now(), String::new());
        while begin.elapsed() < SOON {
            match self.stdout.recv_timeout(QUIET) {
                Ok(line) => shown.push_str(&format!("{line}\n")),
                Err(RecvTimeoutError::Timeout) if shown.contains(words) => return shown,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("{words:?} was not shown:\n{shown}");
    }

    fn asked(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a server");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_log_of_a_note_has_the_suggestion() {
    let fleet = fleet();
    let policy = policy_of(fleet.path());
    edit(&policy, "env: stage", "env: stgae");
    let dependency = fleet.path().join("cluster-1/payments-typo.yaml");
    let yaml = "apiVersion: admiral.io/v1alpha1\nkind: Dependency\nmetadata: {name: typo, namespace: admiral}\n\
                spec: {source: orders, destinations: [paymnets]}\n";
    fs::write(dependency, yaml).expect("a file");
    let file = fleet.path().join("fleet.yaml");
    let clusters = ["cluster-1", "cluster-2", "cluster-3"].map(|name| format!("- name: {name}\n  directory: {name}\n"));
    fs::write(&file, format!("clusters:\n{}", clusters.concat())).expect("a file");
    // The demo prints notes itself; the controller has its log alone.
    let arguments = ["run", "--fleet", text(&file), "--read-only", "--listen-address=127.0.0.1:0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command
        .args(arguments)
        .args(["--metrics-address=127.0.0.1:0", "--health-address=127.0.0.1:0"])
        .env_remove("RUST_LOG");
    let controller = Demo::spawn(command);
    let lines = [controller.told("note="), controller.told("note=")].join("\n");
    assert!(lines.contains("policy-unmatched") && lines.contains("set the label env: stage)"), "{lines}");
    assert!(lines.contains("dependency-questionable") && lines.contains("did you mean payments?)"), "{lines}");
}

#[test]
fn an_edit_prints_what_it_changed_and_no_more() {
    let fleet = fleet();
    let demo = Demo::start(fleet.path());
    let all = demo.shown("Seen from cluster-3");
    assert!(all.contains("stage.orders.global") && all.contains("90%"), "{all}");
    edit(&policy_of(fleet.path()), "weight: 90", "weight: 80");
    edit(&policy_of(fleet.path()), "weight: 10\n", "weight: 20\n");
    let changed = demo.shown("80%");
    assert_eq!(changed.matches("Seen from").count() % 3, 0, "in each cluster: {changed}");
    assert!(changed.contains("stage.payments.global"), "{changed}");
    for unchanged in ["stage.orders.global", "stage.reports.global", "east.stage.payments.global"] {
        assert!(!changed.contains(unchanged), "{unchanged}: {changed}");
    }
    // What goes is said, too.
    fs::remove_file(policy_of(fleet.path())).expect("a file of the sample");
    let gone = demo.shown("east.stage.payments.global is gone");
    assert!(!gone.contains("stage.orders.global"), "{gone}");
}

#[test]
fn two_demos_run_at_once_and_listen_on_this_machine_alone() {
    let (one, two) = (fleet(), fleet());
    let (one, two) = (Demo::start(one.path()), Demo::start(two.path()));
    assert!(one.address.starts_with("127.0.0.1:") && two.address.starts_with("127.0.0.1:"));
    assert_ne!(one.address, two.address);
    for demo in [&one, &two] {
        let answer = demo.asked("/api/clusters");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("cluster-3"), "{answer}");
    }
}

#[test]
fn a_demo_whose_reader_goes_ends_quietly() {
    let fleet = fleet();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    let mut child = command.args(["demo", "-d", text(fleet.path())]).stdout(writer).stderr(Stdio::null()).spawn();
    let child = child.as_mut().expect("the binary runs");
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of our own") {
            return assert_eq!(status.code(), Some(0));
        }
        if begin.elapsed() > SOON {
            let _ = child.kill();
            panic!("it goes on, and nobody reads it");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

// Invariant: A directory that is added to a fleet joins it, and one that vanishes is unknown, not empty.
#[test]
fn a_directory_that_is_added_joins_the_fleet_and_one_that_vanishes_is_not_empty() {
    let fleet = fleet();
    let at = |path: &str| fleet.path().join(path);
    let demo = Demo::start(fleet.path());
    demo.shown("Seen from cluster-3");

    // A fourth cluster runs payments, too.
    let being_made = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(at("cluster-2")).expect("a cluster").flatten().filter(|entry| entry.path().is_file()) {
        let manifest = fs::read_to_string(entry.path()).expect("a manifest");
        let manifest = manifest.replace("us-west", "eu-north").replace("198.51.100.20", "192.0.2.40");
        fs::write(being_made.path().join(entry.file_name()), manifest).expect("a manifest");
    }
    Command::new("cp").arg("-r").arg(being_made.path()).arg(at("cluster-4")).status().expect("cp");
    let joined = demo.shown("Seen from cluster-4");
    assert!(joined.contains("192.0.2.40:15443") && joined.contains("eu-north"), "{joined}");
    assert!(demo.asked("/api/clusters").contains("cluster-4"));
    let entry = at("cluster-4/admiral-sync/serviceentry-stage.payments.global-se.yaml");
    assert!(entry.is_file(), "it is written to like the others");

    // It is followed like the others, and what vanishes is unknown, not gone.
    fs::rename(at("cluster-4"), at(".cluster-4")).expect("a rename");
    demo.told("cluster-4: Cluster: cannot be read");
    let entry = fs::read_to_string(at("cluster-1/admiral-sync/serviceentry-stage.payments.global-se.yaml"));
    assert!(entry.expect("an entry").contains("192.0.2.40"), "its endpoint stays");

    fs::create_dir(at("no name")).expect("a directory");
    demo.told("it cannot be a cluster: its name");
}
