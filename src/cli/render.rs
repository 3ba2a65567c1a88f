//! `tradewind render`: what every cluster should hold, from manifests alone.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::{
    fleet::{self, PlannedFleet},
    incomplete, output,
};
use crate::{apply::DirectoryOutput, istio::Object, model::ClusterName};

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
             are notes, with --strict; 2: something could not be read or would be refused by an API server, or the command \
             failed.",
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
    match (flags.get_one::<PathBuf>("directory"), output::format(flags)) {
        // Endpoints of a cluster that cannot be read would go from files in which they stand.
        (Some(_), _) if !fleet.unread.is_empty() && !allow_partial => {
            output::say("nothing is written, because not all clusters could be read; --allow-partial writes the rest");
        }
        (Some(directory), _) => write(&fleet, &clusters, directory)?,
        (None, "table") => output::print(&output::views(&fleet.plans, &clusters)),
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
    let ordinary = if flags.get_flag("strict") && !notes.is_empty() { NOTED } else { 0 };
    Ok(incomplete::code(fleet.is_complete(), flags, ordinary))
}

/// The objects of a cluster, sorted by kind, namespace and name.
pub(super) fn manifests(fleet: &PlannedFleet, cluster: &ClusterName) -> Vec<Value> {
    let desired = fleet.desired(cluster);
    let mut objects: Vec<_> = desired.iter().flat_map(|(_, desired)| desired.objects()).collect();
    objects.sort_by_key(|object| object.id());
    objects.into_iter().map(Object::manifest).collect()
}

fn write(fleet: &PlannedFleet, clusters: &[&ClusterName], directory: &Path) -> anyhow::Result<()> {
    let output = DirectoryOutput::new(directory);
    for cluster in clusters {
        let desired = fleet.desired(cluster);
        let objects = desired.iter().flat_map(|(_, desired)| desired.objects());
        // What is missing from a plan that could not read everything is not known to be unwanted.
        let synced = output.write(cluster, objects, fleet.is_complete())?;
        output::say(format_args!("{cluster}: {synced}"));
    }
    Ok(())
}
