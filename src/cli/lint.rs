//! `tradewind lint`: what is wrong with manifests, before anybody applies them.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::output;
use crate::lint::{Finding, Linter, Severity};

/// Exit code where something is wrong with a manifest.
const FOUND: u8 = 1;
/// The name of standard input, as an argument and in findings.
const STDIN: &str = "-";
/// Directories within directories that are entered: manifests are not deeper, and a loop of links ends.
const MAX_DEPTH: usize = 32;

pub(super) fn command() -> Command {
    Command::new("lint")
        .about("Say what is wrong with manifests, from files alone")
        .long_about(
            "Reads YAML and JSON and judges each object of our kinds as an API server would that has our CRDs: its types \
             and its rules. Beyond that it warns of what has no effect, or another than it seems. Objects of other kinds \
             are passed over. No cluster is needed. Exit code 0: no error; 1: some; 2: something could not be read.",
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
    let mut told = |path: &Path, error: &io::Error| {
        output::say(format_args!("error: {}: {error}", path.display()));
        unreadable += 1;
    };
    for path in flags.get_many::<PathBuf>("FILE").into_iter().flatten() {
        if path.as_os_str() == STDIN {
            let mut text = String::new();
            match io::stdin().lock().read_to_string(&mut text) {
                Ok(_) => linter.read(STDIN, &text, false),
                Err(error) => told(path, &error),
            }
            continue;
        }
        let mut files = Vec::new();
        find(path, MAX_DEPTH, &mut files, &mut told);
        for file in files {
            match fs::read_to_string(&file) {
                Ok(text) => {
                    let is_json = file.extension().is_some_and(|extension| extension == "json");
                    linter.read(&file.display().to_string(), &text, is_json);
                }
                Err(error) => told(&file, &error),
            }
        }
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

/// The file itself, or the manifests of a directory in the order of their paths. Hidden ones are left out, as they are
/// in fleets.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>, told: &mut impl FnMut(&Path, &io::Error)) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(_) if depth == 0 => return told(path, &io::Error::other("is too deep")),
        Ok(entries) => entries,
        Err(error) => return told(path, &error),
    };
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let manifest =
            entry.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if !hidden && (manifest || entry.is_dir()) {
            find(&entry, depth - 1, files, told);
        }
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
