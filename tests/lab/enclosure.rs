//! The enclosure that the lab lives in: namespaces of its own for the network, for mounts and for processes.
//!
//! That is why two labs run side by side with the same addresses, and why nothing is left however one ends: the kernel
//! kills what is in a process namespace whose first process died, and frees the networks, the mounts and the files in
//! memory that nobody uses any more. Nothing on the machine outside is changed.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

/// Set for the lab inside of its enclosure.
const INSIDE: &str = "TRADEWIND_LAB_INSIDE";

/// How often it is looked whether the lab has ended. Short for a human, and nothing for a machine.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that is lost with the enclosure lies below: it is a file system in memory.
pub const PRIVATE: &str = "/run";

/// Whether this process is inside.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// What is missing to make an enclosure here, or the flags that make one.
pub fn flags() -> Result<Vec<&'static str>, String> {
    let base = ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
    let as_root: Vec<&str> = base.to_vec();
    let as_anybody: Vec<&str> = ["--user", "--map-root-user"].into_iter().chain(base).collect();
    // Root outside stays root inside; anybody else, and root without the right, becomes root of a user namespace.
    let is_root = fs::metadata("/proc/self").is_ok_and(|of_this_process| of_this_process.uid() == 0);
    let ways = if is_root { vec![as_root, as_anybody] } else { vec![as_anybody] };
    let mut refused = Vec::new();
    for way in ways {
        // Making a network and a bridge between networks is what is needed, so it is what is tried.
        let trial = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add trial && ip link add bridge0 type bridge \
                     && ip link add veth0 type veth peer name veth1 netns trial && echo 1 >/proc/sys/net/ipv4/ip_forward";
        match Command::new("unshare").args(&way).args(["sh", "-c", trial]).output() {
            Ok(output) if output.status.success() => return Ok(way),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
                refused.push(format!("unshare {}: {said}", way.join(" ")));
            }
            Err(error) => refused.push(format!("unshare (of util-linux): {error}")),
        }
    }
    for program in ["nsenter", "setpriv", "ip"] {
        if let Err(error) = Command::new(program).arg("--version").output() {
            refused.push(format!("{program}: {error}"));
        }
    }
    Err(refused.join("\n  "))
}

/// Runs this program once more, inside, until it or we are ended.
pub fn enter(flags: &[&str]) -> ExitCode {
    let this = env::current_exe().expect("a program has a path");
    // Killed with us, and its child with it.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(flags)
        .arg(this)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        // A failed row says what it found.
        .env("RUST_BACKTRACE", "0")
        .env("TMPDIR", format!("{PRIVATE}/tmp"))
        .spawn()
        .expect("setpriv ran a moment ago");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut of_user = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).expect("signals can be caught"));
        let [interrupt, terminate, hangup] = &mut of_user;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
                () = tokio::time::sleep(LOOK_INTERVAL) => {
                    if let Some(status) = child.try_wait().expect("our own child") {
                        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
                    }
                }
            }
        }
        // Both fail only if it has ended already.
        let _ = child.kill();
        let _ = child.wait();
        ExitCode::FAILURE
    })
}

/// The first thing inside: private places for files, names of networks and shared memory.
pub fn furnish() {
    run("mount", &["-t", "tmpfs", "tmpfs", PRIVATE]);
    for directory in ["tmp", "netns"] {
        fs::create_dir(Path::new(PRIVATE).join(directory)).expect("an empty file system");
    }
    // Envoys would meet in it.
    if Path::new("/dev/shm").is_dir() {
        run("mount", &["-t", "tmpfs", "tmpfs", "/dev/shm"]);
    }
}

/// Makes every program inside ask this server for names.
pub fn resolve_by(server: std::net::Ipv4Addr) {
    let file = Path::new(PRIVATE).join("resolv.conf");
    fs::write(&file, format!("nameserver {server}\n")).expect("a file of our own");
    run("mount", &["--bind", &file.display().to_string(), "/etc/resolv.conf"]);
}

/// Runs a tool that must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}: {said}", arguments.join(" "), output.status);
}
