//! `tradewind render`: what every cluster should hold, from manifests alone.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::{
    fleet::{self, PlannedFleet},
    incomplete, output, views,
};
use crate::{
    apply::{DirectoryOutput, Synced},
    istio::Object,
    model::ClusterName,
};

/// Exit code where there are notes, with `--strict`.
const NOTED: u8 = 1;

pub(super) fn command() -> Command {
    Command::new("render")
        .about("Print what every cluster should hold, from a fleet of manifest directories")
        .long_about(
            "Reads a fleet (a directory with one sub-directory of manifests per cluster, or a fleet file), plans it, and \
             prints the objects of every cluster, or writes them into directories for GitOps. Notes go to standard error. \
             An API server that asks to wait is waited for, up to a minute in all. What cannot be read of live clusters is \
             named as incomplete, and no directory is written, unless --allow-partial. Exit code 0: all was read; 1: there \
             are notes, with --strict; 2: something could not be read or would be refused by an API server, files that are no \
             longer wanted were withheld, or the command failed.",
        )
        .arg(Arg::new("FLEET").required(true).value_parser(value_parser!(PathBuf)).help("Fleet directory or fleet file"))
        .arg(output::format_arg("yaml"))
        .arg(Arg::new("cluster").short('c').long("cluster").value_name("NAME").help("Only this cluster"))
        .arg(
            Arg::new("directory")
                .short('d')
                .long("directory")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Write DIR/<cluster>/<kind>-<name>.yaml instead, and remove files of ours that are no longer wanted"),
        )
        .arg(
            Arg::new("release")
                .long("release")
                .value_name("ID")
                .requires("directory")
                .help("Remove the files that an earlier run withheld under this id, because they were more than maxRemovalPercent"),
        )
        .arg(
            Arg::new("strict").long("strict").action(ArgAction::SetTrue).help("Notes count as errors: end with exit code 1"),
        )
        .arg(incomplete::allow_partial_arg())
        .args(super::settings_args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let path: &PathBuf = flags.get_one("FLEET").expect("clap requires it");
    let fleet = fleet::read(path, super::settings(flags)?)?;
    let notes = fleet.notes();
    output::print_notes(&notes);
    let only = flags.get_one::<String>("cluster");
    let clusters: Vec<&ClusterName> =
        fleet.clusters.iter().filter(|cluster| only.is_none_or(|only| cluster.as_str() == only)).collect();
    if let (Some(only), []) = (only, clusters.as_slice()) {
        anyhow::bail!(fleet::no_cluster(only, fleet.clusters.iter()));
    }
    let allow_partial = flags.get_flag("allow-partial");
    let mut is_withheld = false;
    match (flags.get_one::<PathBuf>("directory"), output::format(flags)) {
        // Endpoints of a cluster that cannot be read would go from files in which they stand.
        (Some(_), _) if !fleet.unread.is_empty() && !allow_partial => {
            output::say("nothing is written, because not all clusters could be read; --allow-partial writes the rest");
        }
        (Some(directory), _) => is_withheld = write(&fleet, &clusters, directory, flags.get_one::<String>("release"))?,
        (None, "table") => output::print(&views::table(&views::of(fleet.services(), clusters.iter().copied()))),
        (None, "json") => {
            let all: serde_json::Map<String, Value> =
                clusters.iter().map(|cluster| (cluster.to_string(), json!(manifests(&fleet, cluster)))).collect();
            output::print(&format!("{}\n", serde_json::to_string_pretty(&all)?));
        }
        (None, _) => {
            for cluster in &clusters {
                for manifest in manifests(&fleet, cluster) {
                    output::print(&format!("---\n# cluster: {cluster}\n{}", output::yaml(&manifest)?));
                }
            }
        }
    }
    for problem in &fleet.incomplete {
        let what = if allow_partial { "incomplete" } else { "error" };
        output::say(format_args!("{what}: {problem}"));
    }
    incomplete::say(&fleet.unread);
    // A cluster that cannot be read has a note, too, which is printed as what is incomplete.
    let ordinary = match flags.get_flag("strict") && !(notes.is_empty() && fleet.is_complete()) {
        _ if is_withheld => super::FAILED,
        true => NOTED,
        false => 0,
    };
    Ok(incomplete::code(fleet.is_complete(), flags, ordinary))
}

/// The objects of a cluster, sorted by kind, namespace and name.
pub(super) fn manifests(fleet: &PlannedFleet, cluster: &ClusterName) -> Vec<Value> {
    let desired = fleet.desired(cluster);
    let mut objects: Vec<_> = desired.iter().flat_map(|(_, desired)| desired.objects()).collect();
    objects.sort_by_key(|object| object.id());
    objects.into_iter().map(Object::manifest).collect()
}

/// Writes the files of clusters and removes those that are no longer wanted, within the budget for removals. Answers
/// whether some were withheld.
fn write(
    fleet: &PlannedFleet,
    clusters: &[&ClusterName],
    directory: &Path,
    release: Option<&String>,
) -> anyhow::Result<bool> {
    let output = DirectoryOutput::new(directory);
    let settings = fleet.registry.settings();
    let mut withheld: Vec<(&ClusterName, Synced)> = Vec::new();
    for cluster in clusters {
        let desired = fleet.desired(cluster);
        let synced = output.write(cluster, desired.iter().flat_map(|(_, desired)| desired.objects()))?;
        let (unwanted, mut removed, mut why) = (synced.unwanted.len(), 0, String::new());
        // What is missing from a plan that could not read everything is not known to be unwanted.
        if !fleet.is_complete() && unwanted > 0 {
            why = format!(", {unwanted} unwanted kept because not everything could be read");
        } else if synced.may_go(settings) {
            output.remove(&synced.unwanted)?;
            removed = unwanted;
        } else {
            why = format!(", {unwanted} of {} unwanted and withheld", synced.owned);
        }
        let Synced { written, unchanged, .. } = synced;
        output::say(format_args!("{cluster}: {written} written, {removed} removed, {unchanged} unchanged{why}"));
        if fleet.is_complete() && removed < unwanted {
            withheld.push((cluster, synced));
        }
    }
    for (left, files) in output.left_behind(&fleet.clusters)? {
        output::say(format_args!(
            "{}: the fleet has no such cluster; files of ours stay there ({files}). If it left for good, remove the directory",
            left.display()
        ));
    }
    let files = || withheld.iter().flat_map(|(_, synced)| &synced.unwanted);
    let count = files().count();
    if count == 0 {
        return Ok(false);
    }
    let id = output.name_of(files())?;
    if release == Some(&id) {
        output.remove(files())?;
        output::say(format_args!("released: {count} removed"));
        return Ok(false);
    }
    let percent = settings.max_removal_percent;
    output::say(format_args!(
        "error: {count} files are no longer wanted, in some cluster more than {percent} % of all (maxRemovalPercent); they stay. \
         Check that no source is missing from the fleet, then run again with --release {id}"
    ));
    Ok(true)
}
