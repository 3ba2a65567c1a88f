//! The commands, one file each. Everything user-facing that is not the controller itself.
//!
//! Exit codes follow kubectl and diff: 0 done; 1 differences (`diff`, `verify`), errors in manifests (`lint`), notes
//! (`render --strict`) or removals that wait (`withheld`); 2 error.

mod config;
mod crds;
mod demo;
mod diff;
mod endpoints;
mod fleet;
mod hand_back;
mod http;
mod incomplete;
mod lint;
mod output;
mod render;
mod run;
mod verify;
mod views;
mod withheld;

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

/// Exit code of a command that failed.
const FAILED: u8 = 2;

fn command() -> Command {
    Command::new("tradewind")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A global traffic controller for multicluster Istio")
        .long_about(
            "Tradewind watches the clusters of a mesh, knows which service runs where, and writes into each cluster \
             the ServiceEntries, DestinationRules and Sidecars by which it reaches every service from there.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run::command())
        .subcommand(demo::command())
        .subcommand(render::command())
        .subcommand(diff::command())
        .subcommand(lint::command())
        .subcommand(crds::command())
        .subcommand(config::command())
        .subcommand(verify::command())
        .subcommand(hand_back::command())
        .subcommand(withheld::command())
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(shown) => return output::exit_code(usage(&shown)),
    };
    let outcome = match matches.subcommand() {
        Some(("run", flags)) => run::main(flags),
        Some(("demo", flags)) => demo::main(flags),
        Some(("render", flags)) => render::main(flags),
        Some(("diff", flags)) => diff::main(flags),
        Some(("lint", flags)) => lint::main(flags),
        Some(("crds", flags)) => crds::main(flags),
        Some(("config", flags)) => config::main(flags),
        Some(("verify", flags)) => verify::main(flags),
        Some(("hand-back", flags)) => hand_back::main(flags),
        Some(("withheld", flags)) => withheld::main(flags),
        _ => unreachable!("clap requires one of the commands"),
    };
    output::exit_code(outcome.unwrap_or_else(|error| {
        output::say(format_args!("error: {}", in_one_line(&error)));
        ExitCode::from(FAILED)
    }))
}

/// Shows help and versions on standard output, wrong arguments on standard error.
fn usage(shown: &clap::Error) -> ExitCode {
    if shown.use_stderr() {
        // Nothing could be told of a failure.
        let _ = shown.print();
        return ExitCode::from(FAILED);
    }
    output::write(|_| shown.print());
    ExitCode::SUCCESS
}

/// The error with its causes, each said once: some errors quote their cause already.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.as_str() {
            "" => cause,
            _ if said.contains(&cause) => said,
            _ => format!("{said}: {cause}"),
        }
    })
}

/// The settings as flags, in `--help` alone: a command that does not run the controller needs few of them.
fn settings_args() -> impl Iterator<Item = Arg> {
    crate::config::args().into_iter().map(|arg| arg.hide_short_help(true))
}

fn settings(flags: &ArgMatches) -> anyhow::Result<crate::config::Settings> {
    Ok(crate::config::from_process(flags)?)
}
