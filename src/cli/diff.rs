//! `tradewind diff`: what would change.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use similar::TextDiff;

use super::{
    endpoints,
    fleet::{self, PlannedFleet},
    incomplete, output, render,
};
use crate::{
    apply::{Preview, Previewed, preview},
    model::{ClusterName, Note, ObjectId},
};

/// Exit code where there are differences, as in diff and kubectl diff.
const DIFFERENCES: u8 = 1;
/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;

pub(super) fn command() -> Command {
    Command::new("diff")
        .about("Show what would change in every cluster")
        .long_about(
            "With one fleet: compares what stands in its clusters with what should stand there. With two: compares what \
             should stand in the first with what should stand in the second. A fleet is a directory with one \
             sub-directory of manifests per cluster, or a fleet file, which may name live clusters; those are read, \
             never written. With --endpoints only endpoints are compared. A line on standard error sums up. An API server \
             that asks to wait is waited for, up to a minute in all. What cannot be read is named as incomplete. Exit code \
             0: no difference; 1: some; 2: error, or something could not be read, unless --allow-partial.",
        )
        .arg(Arg::new("FLEET").required(true).value_parser(value_parser!(PathBuf)).help("Fleet directory or fleet file"))
        .arg(Arg::new("OTHER").value_parser(value_parser!(PathBuf)).help("Fleet to compare the plan with"))
        .arg(output::format_arg("table").help("table (unified differences), yaml or json (a list of changes)"))
        .arg(
            Arg::new("endpoints")
                .long("endpoints")
                .action(ArgAction::SetTrue)
                .help("Compare endpoints alone: host, address, ports, locality, weight"),
        )
        .arg(incomplete::allow_partial_arg())
        .args(super::settings_args())
}

/// One object that differs.
pub(super) struct Change {
    pub(super) cluster: ClusterName,
    pub(super) id: ObjectId,
    pub(super) verb: &'static str,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::settings(flags)?;
    let path: &PathBuf = flags.get_one("FLEET").expect("clap requires it");
    let fleet = fleet::read(path, settings.clone())?;
    let mut hidden = fleet.incomplete.clone();
    let mut unread = fleet.unread.clone();
    let changes = match flags.get_one::<PathBuf>("OTHER") {
        None => {
            let (changes, mut notes): (Vec<Vec<Change>>, Vec<Vec<Note>>) =
                fleet.clusters.iter().map(|cluster| diff_compares_with_the_written_objects(&fleet, cluster)).unzip();
            notes.insert(0, fleet.notes());
            output::print_notes(&notes.concat());
            changes.into_iter().flatten().collect()
        }
        Some(other) => {
            let other = fleet::read(other, settings)?;
            output::print_notes(&other.notes());
            hidden.extend(other.incomplete.iter().cloned());
            unread.extend(other.unread.iter().cloned());
            between(&fleet, &other)
        }
    };
    if !hidden.is_empty() && !flags.get_flag("allow-partial") {
        anyhow::bail!("the fleet could not be read whole, so differences cannot be told: {}", hidden.join("; "));
    }
    let changed = endpoints::changed(&changes);
    let only_endpoints = flags.get_flag("endpoints");
    match (only_endpoints, output::format(flags)) {
        (false, format) => print(&changes, format)?,
        (true, "json") => output::print(&format!("{}\n", serde_json::to_string_pretty(&changed)?)),
        (true, "yaml") => output::print(&output::yaml(&changed)?),
        (true, _) => output::print(&endpoints::table(&changed)),
    }
    let is_complete = hidden.is_empty() && unread.is_empty();
    let summary = endpoints::summary(&changes, changed.len());
    if is_complete {
        output::say(summary);
    } else {
        incomplete::say(&hidden);
        incomplete::say(&unread);
        output::say(format_args!("incomplete, and of what could be read: {summary}"));
    }
    let differs = if only_endpoints { !changed.is_empty() } else { !changes.is_empty() };
    Ok(incomplete::code(is_complete, flags, if differs { DIFFERENCES } else { 0 }))
}

fn by_id(manifests: Vec<Value>) -> BTreeMap<ObjectId, Value> {
    let text =
        |manifest: &Value, path: &str| manifest.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = |manifest: &Value| {
        let kind = crate::model::Kind::ALL.iter().find(|kind| kind.as_str() == text(manifest, "/kind"));
        let kind = *kind.expect("a rendered object is of a known kind");
        ObjectId::new(kind, &text(manifest, "/metadata/namespace"), &text(manifest, "/metadata/name"))
    };
    manifests.into_iter().map(|manifest| (id(&manifest), manifest)).collect()
}

/// What would change in a cluster, and what would be left alone there.
fn diff_compares_with_the_written_objects(fleet: &PlannedFleet, cluster: &ClusterName) -> (Vec<Change>, Vec<Note>) {
    let registry = &*fleet.registry;
    if !registry.outputs().can_write(cluster) {
        // What stands there is not known.
        return Default::default();
    }
    let adopts = registry.settings().adopt_admiral;
    let (mut changes, mut notes): (Vec<Change>, Vec<Note>) = Default::default();
    for (unit, desired) in fleet.desired(cluster) {
        let Previewed { writes, notes: of_unit } = preview(registry, cluster, &unit, &desired, adopts);
        notes.extend(of_unit);
        changes.extend(writes.into_iter().map(|Preview { id, verb, before, after }| Change {
            cluster: cluster.clone(),
            id,
            verb: verb.as_str(),
            before,
            after,
        }));
    }
    changes.sort_by(|a, b| a.id.cmp(&b.id));
    notes.sort();
    (changes, notes)
}

fn between(old: &PlannedFleet, new: &PlannedFleet) -> Vec<Change> {
    let mut clusters: Vec<&ClusterName> = old.clusters.iter().chain(&new.clusters).collect();
    clusters.sort();
    clusters.dedup();
    let mut changes = Vec::new();
    for cluster in clusters {
        let (before, mut after) = (by_id(render::manifests(old, cluster)), by_id(render::manifests(new, cluster)));
        for (id, before) in before {
            let after = after.remove(&id);
            if after.as_ref() != Some(&before) {
                let verb = if after.is_some() { "update" } else { "delete" };
                changes.push(Change { cluster: cluster.clone(), id, verb, before: Some(before), after });
            }
        }
        let create =
            |(id, after)| Change { cluster: cluster.clone(), id, verb: "create", before: None, after: Some(after) };
        changes.extend(after.into_iter().map(create));
    }
    changes.sort_by(|a, b| (&a.cluster, &a.id).cmp(&(&b.cluster, &b.id)));
    changes
}

fn print(changes: &[Change], format: &str) -> anyhow::Result<()> {
    let listed = || -> Vec<Value> {
        let entry = |change: &Change| {
            json!({"cluster": change.cluster, "verb": change.verb, "kind": change.id.kind, "namespace": &*change.id.namespace,
                   "name": &*change.id.name, "before": change.before, "after": change.after})
        };
        changes.iter().map(entry).collect()
    };
    match format {
        "json" => output::print(&format!("{}\n", serde_json::to_string_pretty(&listed())?)),
        "yaml" => output::print(&output::yaml(&listed())?),
        _ => {
            for change in changes {
                let text = |value: &Option<Value>| value.as_ref().map_or(Ok(String::new()), output::yaml);
                let (before, after) = (text(&change.before)?, text(&change.after)?);
                let name = format!("{}/{}/{}", change.cluster, change.id.kind.as_str(), change.id.name);
                output::print(&format!("{} {name}\n", change.verb));
                let diff = TextDiff::from_lines(&before, &after);
                let unified = diff
                    .unified_diff()
                    .context_radius(CONTEXT_LINES)
                    .header(&format!("a/{name}"), &format!("b/{name}"))
                    .to_string();
                output::print(&unified);
            }
        }
    }
    Ok(())
}
