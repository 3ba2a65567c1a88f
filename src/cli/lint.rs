//! `tradewind lint`: what is wrong with manifests, before anybody applies them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::output;
use crate::{
    lint::{Finding, Linter, Severity},
    manifest::file,
};

/// Exit code where something is wrong with a manifest.
const FOUND: u8 = 1;
/// The name of standard input, as an argument and in findings.
const STDIN: &str = "-";

pub(super) fn command() -> Command {
    Command::new("lint")
        .about("Say what is wrong with manifests, from files alone")
        .long_about(
            "Reads YAML and JSON and judges each object of the kinds that Tradewind reads as an API server would that has our \
             CRDs: its type, its fields and its rules. Beyond that it warns of what has no effect, or another than it seems. \
             Objects of other kinds are passed over. No cluster is needed. Exit code 0: no error; 1: some; 2: something could \
             not be read, or a directory holds no manifest.",
        )
        .arg(
            Arg::new("FILE")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf))
                .help("Files, directories with .yaml, .yml and .json files at any depth, or - for standard input"),
        )
        .arg(output::format_arg("table").help("table (one line for each finding), yaml or json (a list of findings)"))
        .arg(Arg::new("strict").long("strict").action(ArgAction::SetTrue).help("Warnings count as errors"))
        .args(super::settings_args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let mut linter = Linter::new(super::settings(flags)?);
    let mut unreadable = 0;
    let mut unread = |path: &Path, reason: &dyn fmt::Display| {
        output::say(format_args!("error: {}: {reason}", path.display()));
        unreadable += 1;
    };
    for path in flags.get_many::<PathBuf>("FILE").into_iter().flatten() {
        if path.as_os_str() == STDIN {
            match file::read_from(io::stdin().lock()) {
                Ok(text) => linter.read(STDIN, &text, false),
                Err(error) => unread(path, &error),
            }
            continue;
        }
        each_text(path, |path, text| match text {
            Ok(text) => linter.read(&path.display().to_string(), &text, file::is_json(path)),
            Err(error) => unread(path, &error),
        });
    }
    let (findings, objects) = linter.finish();
    print(&findings, output::format(flags))?;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    output::say(format_args!("objects: {objects}, errors: {errors}, warnings: {warnings}"));
    Ok(if unreadable > 0 {
        ExitCode::from(super::FAILED)
    } else if errors > 0 || (flags.get_flag("strict") && warnings > 0) {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

/// Gives `take` the text of the file itself, or those of the manifests of a directory in the order of their paths, as fleets
/// read them.
fn each_text(path: &Path, mut take: impl FnMut(&Path, anyhow::Result<String>)) {
    if !path.is_dir() {
        return take(path, file::read(path).map_err(Into::into));
    }
    let found = file::find(path, path);
    if found.files.is_empty() && found.unreadable.is_empty() {
        let message = "the directory has no manifests (*.yaml, *.yml, *.json); nothing was judged";
        take(path, Err(anyhow::anyhow!(message)));
    }
    for directory in found.unreadable {
        take(&path.join(directory.path), Err(anyhow::anyhow!(directory.message)));
    }
    for file in found.files {
        let file = path.join(file);
        take(&file, file::read_found(path, &file, u64::MAX).map_err(Into::into));
    }
}

fn print(findings: &[Finding], format: &str) -> anyhow::Result<()> {
    match format {
        "json" => output::print(&format!("{}\n", serde_json::to_string_pretty(findings)?)),
        "yaml" => output::print(&output::yaml(&findings)?),
        _ => findings.iter().for_each(|finding| output::print(&format!("{finding}\n"))),
    }
    Ok(())
}
