//! `tradewind config`: settings files made from something else.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::output;
use crate::config::admiral;

pub(super) fn command() -> Command {
    Command::new("config").about("Make settings files").subcommand_required(true).arg_required_else_help(true).subcommand(
        Command::new("from-admiral")
            .about("Print the settings that do what an Admiral with these flags does")
            .long_about(
                "Takes the flags of an Admiral and prints the settings file that does the same: only what differs from \
                 Tradewind's defaults, with a comment for each flag that has no counterpart.",
            )
            .after_help(
                "Example:\n  tradewind config from-admiral --strict -- --gateway_app istio-eastwestgateway --sync_period 20s",
            )
            .arg(
                Arg::new("strict")
                    .long("strict")
                    .action(ArgAction::SetTrue)
                    .help("Add what makes Tradewind write Admiral's objects and no more"),
            )
            .arg(
                Arg::new("from-file")
                    .long("from-file")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("Manifest of Admiral's Deployment; its flags come before those of the command line"),
            )
            .arg(Arg::new("FLAGS").last(true).num_args(0..).allow_hyphen_values(true).help("Admiral's flags")),
    )
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some(("from-admiral", flags)) = flags.subcommand() else { unreachable!("clap requires one of the commands") };
    let mut words = Vec::new();
    if let Some(path) = flags.get_one::<PathBuf>("from-file") {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        words = admiral::arguments_of(&text).with_context(|| path.display().to_string())?;
    }
    words.extend(flags.get_many::<String>("FLAGS").into_iter().flatten().cloned());
    output::print(&admiral::from_admiral(&words, flags.get_flag("strict"))?);
    Ok(ExitCode::SUCCESS)
}
