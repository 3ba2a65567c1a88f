//! What becomes of a command whose output nobody takes: exit codes hold when the reader closes, and a disk that is full is
//! an error.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{code, edit, fleet, policy_of, stderr, text};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

fn with_stdout(arguments: &[&str], stdout: Stdio) -> Output {
    command(arguments).stdout(stdout).stderr(Stdio::piped()).output().expect("the binary runs")
}

/// Commands that print something, each with its own exit code.
fn commands(old: &Path, new: &Path) -> Vec<(Vec<String>, i32)> {
    let lint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/lint");
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/verify/orders.json");
    let [old, new, lint, dump] = [old, new, &lint, &dump].map(text);
    [
        (&["diff", old, new][..], 1),
        (&["diff", old, new, "--endpoints"], 1),
        (&["diff", old, new, "-o", "yaml"], 1),
        (&["diff", old, old, "-o", "json"], 0),
        (&["render", old], 0),
        (&["render", old, "-o", "json"], 0),
        (&["render", old, "-o", "table"], 0),
        (&["lint", lint], 1),
        (&["verify", old, "--dump", dump], 1),
        (&["crds"], 0),
        (&["config", "from-admiral"], 0),
        (&["demo", "--once"], 0),
        (&["--help"], 0),
        (&["render", "--help"], 0),
        (&["--version"], 0),
    ]
    .into_iter()
    .map(|(arguments, code)| (arguments.iter().map(|argument| (*argument).to_owned()).collect(), code))
    .collect()
}

#[test]
fn a_closed_pipe_is_quiet_and_keeps_the_exit_code_and_a_full_disk_is_an_error() {
    let (old, new) = (fleet(), fleet());
    edit(&policy_of(new.path()), "weight: 90", "weight: 80");
    edit(&policy_of(new.path()), "weight: 10\n", "weight: 20\n");
    for (arguments, expected) in commands(old.path(), new.path()) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let whole = with_stdout(&arguments, Stdio::piped());
        assert_eq!(code(&whole), expected, "{arguments:?}: {}", stderr(&whole));
        assert!(!whole.stdout.is_empty(), "{arguments:?} prints something");
        let cut = with_stdout(&arguments, closed());
        assert_eq!((code(&cut), stderr(&cut)), (expected, stderr(&whole)), "{arguments:?}");
        let full = with_stdout(&arguments, full());
        assert_eq!(code(&full), 2, "{arguments:?}: {}", stderr(&full));
        assert!(stderr(&full).contains("error: writing to standard output: No space left"), "{}", stderr(&full));
    }
}

#[test]
fn standard_error_that_nobody_reads_changes_no_exit_code() {
    let (old, new) = (fleet(), fleet());
    edit(&policy_of(new.path()), "weight: 90", "weight: 80");
    // The weights no longer sum to 100: there is a note, and it is said.
    for stderr in [closed, full] {
        let ended = |arguments: &[&str]| {
            let mut command = command(arguments);
            command.stdout(Stdio::null()).stderr(stderr()).status().expect("the binary runs").code()
        };
        assert_eq!(ended(&["diff", text(old.path()), text(new.path())]), Some(1));
        assert_eq!(ended(&["render", text(new.path())]), Some(0));
        assert_eq!(ended(&["render", "/nowhere/at/all"]), Some(2));
        assert_eq!(ended(&["lint"]), Some(2));
    }
}

#[test]
fn files_are_written_whatever_becomes_of_the_output() {
    let (fleet, out) = (fleet(), tempfile::tempdir().expect("a directory"));
    let ended = command(&["render", text(fleet.path()), "-d", text(out.path())]).stderr(closed()).status();
    assert_eq!(ended.expect("the binary runs").code(), Some(0));
    assert_eq!(fs::read_dir(out.path().join("cluster-3")).expect("a directory").count(), 10);
}
