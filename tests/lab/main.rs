//! The mesh lab: real istiods, real Envoys, real requests, on one machine.
//!
//! `make lab` brings up four clusters in networks of their own, one Tradewind over them, makes requests from inside
//! the clients' pods, counts who answered, and prints a table. See docs/trying-it-out.md.

#[path = "../golden_case/mod.rs"]
mod golden_case;
#[path = "../planning/mod.rs"]
mod planning;
#[path = "../support/mod.rs"]
mod support;

mod application;
mod cases;
mod certificates;
mod enclosure;
mod istiod;
mod load;
mod names;
mod network;
mod pod;
mod roles;
mod wire;
mod world;

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::FutureExt;

use crate::{support::parts, world::World};

/// Says `off` to have no lab where there can be none.
const SWITCH: &str = "TRADEWIND_LAB";

/// The argument that gives a shell inside instead of running cases.
const SHELL: &str = "--shell";

/// Built outside, where there is a network.
const PARTS: &[&str] = &[
    "kube-apiserver",
    "etcd",
    "istio-crds",
    "pilot-discovery",
    "pilot-agent",
    "istioctl",
    "envoy-bootstrap",
    "envoy",
    "routing-plugin",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == roles::FLAG) {
        return roles::play(&arguments[1..]);
    }
    // What the test runners of Rust pass: names to run, and how to print.
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let cases: Vec<&cases::Case> = cases::ALL.iter().filter(|case| is_wanted(case.name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    if cases.is_empty() {
        println!("lab: no case has such a name; there are {}", cases::ALL.len());
        return ExitCode::SUCCESS;
    }
    if env::var(SWITCH).is_ok_and(|value| value == "off") {
        println!("lab: NOT RUN, because {SWITCH}=off. Nothing of the data plane was tested.");
        return ExitCode::SUCCESS;
    }
    if enclosure::is_inside() {
        enclosure::furnish();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        return runtime.block_on(run(&cases));
    }
    match enclosure::flags() {
        Ok(flags) => {
            PARTS.iter().for_each(|name| drop(parts::part(name)));
            enclosure::enter(&flags)
        }
        Err(missing) => {
            eprintln!(
                "lab: cannot run here, for it needs network, mount and process namespaces of its own, by root or by a user \
                 who may make user namespaces, and the programs ip, unshare, nsenter and setpriv. What was refused:\n  {missing}\n\
                 Set {SWITCH}=off to do without: then nothing of the data plane is tested."
            );
            ExitCode::FAILURE
        }
    }
}

async fn run(cases: &[&cases::Case]) -> ExitCode {
    let begin = Instant::now();
    let say = |what: &str| eprintln!("lab: {:>4.0} s  {what}", begin.elapsed().as_secs_f64());
    let world = World::start(say).await;
    let up = begin.elapsed();
    if env::args().any(|argument| argument == SHELL) {
        return shell(&world).await;
    }
    let mut rows = Vec::new();
    let mut failed = 0;
    for case in cases {
        let case_begin = Instant::now();
        // A failed case has said why; the next one sets the policy that it needs.
        let row = async {
            let figures = (case.run)(&world).await;
            world.assert_none_refused().await;
            figures
        };
        let result = std::panic::AssertUnwindSafe(row).catch_unwind().await;
        let took = case_begin.elapsed();
        let (state, figures) = match result {
            Ok(mut figures) => {
                figures.extend(world.found());
                ("holds", figures)
            }
            Err(_) => {
                failed += 1;
                // If even that fails, so does the rest, and says so.
                let _ = std::panic::AssertUnwindSafe(world.mend()).catch_unwind().await;
                ("FAILED", vec!["see above".to_owned()])
            }
        };
        say(&format!("{}: {state}", case.name));
        rows.push((case, state, figures, took));
    }
    print(&rows, up, begin.elapsed());
    drop(world);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A shell among the clusters, for whoever wants to see for himself.
async fn shell(world: &World) -> ExitCode {
    let store = parts::part("envoy").parent().expect("is in a directory").to_owned();
    let path = format!("{}:{}", store.display(), env::var("PATH").unwrap_or_default());
    let mut shell = std::process::Command::new("sh");
    shell.env("PATH", path);
    for cluster in &world.clusters {
        let file = std::path::Path::new(enclosure::PRIVATE).join(cluster.api.name());
        std::fs::write(&file, cluster.api.kubeconfig()).expect("a file of our own");
    }
    eprintln!(
        "lab: a shell inside. kubectl --kubeconfig /run/cluster-1 … is the API server of cluster-1, and\n\
         lab: ip netns exec cluster-1-orders curl localhost:15000/clusters the Envoy of orders there. All ends with the shell."
    );
    let status = tokio::task::spawn_blocking(move || shell.status()).await.expect("no panic").expect("sh");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(rows: &[(&&cases::Case, &str, Vec<String>, Duration)], up: Duration, whole: Duration) {
    for (case, state, figures, took) in rows {
        println!("{state:<6} {:>3} s  {}: {}", took.as_secs(), case.name, case.shows);
        figures.iter().for_each(|figure| println!("               {figure}"));
    }
    println!("The mesh was up after {:.0} s; all took {:.0} s.", up.as_secs_f64(), whole.as_secs_f64());
}
