//! `tradewind demo`: the payments story on an embedded fleet of three directory clusters.
//!
//! The same controller as `run`, on directories instead of API servers: it writes into each cluster's directory,
//! reads back what it wrote, and follows every edit of the sample.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{
    fleet, output, run,
    views::{self, ClusterTable},
};
use crate::{
    clock,
    config::Settings,
    model::{Note, WorkKey},
    planner::preview_unit,
    sample,
};

/// How often the picture is compared with what was shown, so that edits show up at once to a person.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn command() -> Command {
    Command::new("demo")
        .about("Run the payments story on an embedded sample fleet; nothing else is needed")
        .long_about(
            "Three clusters in two regions: orders and reports call payments, which runs in both regions under one policy. \
             Prints what each cluster sees for each host, then serves the HTTP views on this machine alone (on a free port, \
             unless a setting says otherwise), plans again when a file of the sample is edited or a cluster's directory is \
             added, and prints what changed, until it is stopped.",
        )
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help("Print and exit"))
        .arg(
            Arg::new("directory")
                .short('d')
                .long("directory")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the sample is written and followed; a directory that is not empty is followed as it is [default: a temporary directory]"),
        )
        .args(super::settings_args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::settings(flags)?;
    let kept = flags.get_one::<PathBuf>("directory").cloned();
    let directory = match &kept {
        Some(directory) => directory.clone(),
        None => temporary_directory()?,
    };
    let outcome = tell(&directory, settings, flags.get_flag("once"));
    if kept.is_none() {
        // A leftover in the temporary directory harms nothing.
        let _ = std::fs::remove_dir_all(&directory);
    }
    outcome
}

fn temporary_directory() -> anyhow::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("tradewind-demo-{}", std::process::id()));
    std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}

fn tell(directory: &Path, settings: Settings, once: bool) -> anyhow::Result<ExitCode> {
    let is_new = std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
    if is_new {
        sample::write_to(directory).context("writing the sample")?;
    }
    if once {
        let fleet = fleet::read(directory, settings)?;
        output::print(&views::table(&views::of(fleet.services(), &fleet.clusters)));
        output::print_notes(&fleet.notes());
        return Ok(ExitCode::SUCCESS);
    }
    run::runtime()?.block_on(serve(directory, Arc::new(on_loopback(settings))))?;
    Ok(ExitCode::SUCCESS)
}

/// Without an address of the user's, the demo is for this machine alone, and in nobody's way.
fn on_loopback(mut settings: Settings) -> Settings {
    let (defaults, free) = (Settings::default(), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    settings.listen_address.get_or_insert(free);
    settings.health_address.get_or_insert(free);
    if settings.metrics_address == defaults.metrics_address {
        settings.metrics_address = free;
    }
    settings
}

async fn serve(directory: &Path, settings: Arc<Settings>) -> anyhow::Result<()> {
    let running = run::start(settings.clone(), Some(run::load_fleet(directory, &settings)?)).await?;
    let mut shown: Option<(Vec<ClusterTable>, Vec<Note>)> = None;
    let stop = run::asked_to_stop();
    tokio::pin!(stop);
    loop {
        if running.readiness.is_planned() {
            let now = (picture(&running), running.registry.queries().notes_with_hints());
            match &shown {
                None => {
                    output::print(&views::table(&now.0));
                    output::print_notes(&now.1);
                    output::say(format_args!(
                        "Sample: {} (edit a file there and watch). Views: http://{}/api/clusters, metrics: http://{}/metrics. Ctrl-C ends.",
                        directory.display(),
                        running.server.main_address(),
                        running.server.metrics_address()
                    ));
                }
                Some(before) => {
                    output::print(&views::table(&views::changes(&before.0, &now.0)));
                    let is_new = |note: &&Note| !before.1.contains(note);
                    output::print_notes(&now.1.iter().filter(is_new).cloned().collect::<Vec<_>>());
                }
            }
            shown = Some(now);
        }
        if output::is_closed() {
            break;
        }
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    running.stop(Duration::from_secs(settings.graceful_stop_seconds.into())).await
}

fn picture(running: &run::RunningController) -> Vec<ClusterTable> {
    let units = running.registry.queries().services().into_iter().map(WorkKey::Service);
    let plans: Vec<_> =
        units.filter_map(|unit| preview_unit(&running.registry, &unit, clock::now())?.service).collect();
    views::of(plans.iter(), &running.registry.queries().cluster_names())
}
