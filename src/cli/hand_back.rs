//! `tradewind hand-back`: the way back to Admiral.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{
    http,
    incomplete::{self, Missing, Patience},
    output,
};
use crate::{
    apply::{KubeStore, ReadBackError, WriteError},
    config,
    fleet::{
        Observer,
        file::{self, FleetCluster, ObjectSource},
        kubeconfig,
    },
    istio::keys,
    model::{ClusterName, Kind, Observed},
};

/// The kinds that Admiral writes too and tells its own by their annotation. Sidecars carry no such mark.
const KINDS: [Kind; 3] = [Kind::ServiceEntry, Kind::DestinationRule, Kind::VirtualService];

/// The kinds that both also write into the namespace of routing, where another controller may have its own.
const ROUTING_KINDS: [Kind; 3] = [Kind::DestinationRule, Kind::VirtualService, Kind::EnvoyFilter];

/// What is missing of a cluster that cannot be read at all.
const ALL_KINDS: &str = "all kinds";

/// Where a controller says whether it writes.
const READ_ONLY: &str = "/health/ready?checkifreadonly=true";

pub(super) fn command() -> Command {
    Command::new("hand-back")
        .about("Mark Tradewind's objects as Admiral's again")
        .long_about(
            "Gives the ServiceEntries, DestinationRules and VirtualServices of Tradewind in the sync namespace of every \
             cluster of a fleet file back to Admiral, and its routes, rules and filters in the Istio namespace: the annotation \
             app.kubernetes.io/created-by becomes admiral, Tradewind's label and annotations go, and nothing else changes, so \
             that endpoints stay. Copies of users' routes, \
             which Admiral names differently, stay and are counted. Each object is marked over exactly the version that was \
             read. Tradewind must not write meanwhile: set readOnly (and adoptAdmiral off) first and name the controller, or \
             say that it is stopped. An API server that asks to wait is waited for, up to a minute in all. Exit code 0: all is \
             Admiral's; 2: something could not be marked, or not be read, unless --allow-partial; run it again.",
        )
        .arg(Arg::new("FLEET").required(true).value_parser(value_parser!(PathBuf)).help("Fleet file of live clusters"))
        .arg(
            Arg::new("clusters")
                .long("clusters")
                .value_name("NAMES")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .help("Only these clusters"),
        )
        .arg(
            Arg::new("controller")
                .long("controller")
                .value_name("URL")
                .help("Address of the running Tradewind, such as http://localhost:8080; it must be read-only"),
        )
        .arg(Arg::new("stopped").long("stopped").action(ArgAction::SetTrue).help("No Tradewind runs"))
        .group(ArgGroup::new("quiet").args(["controller", "stopped"]))
        .arg(incomplete::allow_partial_arg())
        .args(super::settings_args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(super::settings(flags)?);
    let path: &PathBuf = flags.get_one("FLEET").expect("clap requires it");
    let clusters = chosen(file::load(path, None)?.clusters, flags)?;
    let controller = flags.get_one::<String>("controller");
    ensure!(
        settings.dry_run || controller.is_some() || flags.get_flag("stopped"),
        "a Tradewind that writes would take everything back at once: set readOnly: true and name it with --controller URL, \
         or say with --stopped that none runs"
    );
    super::run::runtime()?.block_on(async {
        if let Some(url) = controller {
            must_be_read_only(url).await?;
        }
        let mut run = HandBack {
            settings: &settings,
            patience: Patience::new(),
            spinner: output::progress("Handing back"),
            failures: Vec::new(),
            missing: Vec::new(),
        };
        for cluster in &clusters {
            run.spinner.set_message(format!("Handing back {}", cluster.name));
            match store(cluster, &settings).await {
                Ok(store) => run.give(cluster, &store).await,
                Err(error) => run.missing.push(Missing::new(&cluster.name, ALL_KINDS, super::in_one_line(&error))),
            }
        }
        run.spinner.finish_and_clear();
        incomplete::say(&run.missing);
        for failure in &run.failures {
            output::say(format_args!("error: {failure}"));
        }
        Ok(if run.failures.is_empty() {
            incomplete::code(run.missing.is_empty(), flags, 0)
        } else {
            ExitCode::from(super::FAILED)
        })
    })
}

/// The clusters that are meant; all of them live.
fn chosen(all: Vec<FleetCluster>, flags: &ArgMatches) -> anyhow::Result<Vec<FleetCluster>> {
    let only: Vec<&String> = flags.get_many("clusters").into_iter().flatten().collect();
    if let Some(unknown) = only.iter().find(|name| !all.iter().any(|cluster| cluster.name.as_str() == ***name)) {
        bail!(super::fleet::no_cluster(unknown, all.iter().map(|cluster| &cluster.name)));
    }
    let meant = |cluster: &FleetCluster| only.is_empty() || only.iter().any(|name| **name == cluster.name.as_str());
    let clusters: Vec<FleetCluster> = all.into_iter().filter(meant).collect();
    if let Some(cluster) = clusters.iter().find(|cluster| matches!(cluster.place, ObjectSource::Directory(_))) {
        bail!("the cluster {} is a directory; only live clusters are handed back", cluster.name);
    }
    Ok(clusters)
}

/// # Errors
/// Unless a controller answers there, and says that it is read-only.
async fn must_be_read_only(url: &str) -> anyhow::Result<()> {
    let (status, text) = http::get(url, READ_ONLY).await?;
    match (status.as_u16(), String::from_utf8_lossy(&text).trim()) {
        (503, "not ready: read-only") => Ok(()),
        (200, _) => bail!("the Tradewind at {url} writes; set readOnly: true first, and wait until it runs so"),
        (_, said) => bail!("the Tradewind at {url} does not say that it is read-only: {status} {said:?}"),
    }
}

async fn store(cluster: &FleetCluster, settings: &Arc<config::Settings>) -> anyhow::Result<KubeStore> {
    let ObjectSource::Kube { kubeconfig: file, context } = &cluster.place else {
        bail!("the cluster {} is a directory", cluster.name)
    };
    let connected = async { kubeconfig::connect(kubeconfig::from_file(file, context.as_deref()).await?) };
    let client = connected.await.with_context(|| format!("cluster {}", cluster.name))?;
    let observer = Observer::new(settings.clone(), false);
    let read = Arc::new(move |kind, value: &Value| match observer.observe_value(kind, value)? {
        Observed::Written(written) => Ok(*written),
        _ => Err(ReadBackError::Kind(kind)),
    });
    Ok(KubeStore::new(Box::new(move || Some(client.clone())), read, settings))
}

/// A run under way.
struct HandBack<'a> {
    settings: &'a config::Settings,
    patience: Patience,
    spinner: indicatif::ProgressBar,
    /// What could not be given, and why.
    failures: Vec<String>,
    missing: Vec<Missing>,
}

impl HandBack<'_> {
    /// Asks an API server, and waits as long as it asks for.
    async fn ask<T>(
        &mut self,
        cluster: &ClusterName,
        mut request: impl AsyncFnMut() -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        loop {
            let answer = request().await;
            let Err(WriteError::Throttled { retry_after }) = &answer else { return answer };
            let Some(wait) = self.patience.next(*retry_after) else { return answer };
            self.spinner.set_message(format!("Handing back {cluster}: waiting {} s as it asks", wait.as_secs()));
            tokio::time::sleep(wait).await;
        }
    }

    /// Gives what is ours in a cluster.
    async fn give(&mut self, cluster: &FleetCluster, store: &KubeStore) {
        let settings = self.settings;
        let istio_namespace = cluster.istio_namespace.as_deref().unwrap_or(&settings.istio_namespace);
        let cluster = &cluster.name;
        let mut staying = 0;
        let sync_namespace = settings.sync_namespace.as_str();
        let of_routing = ROUTING_KINDS.map(|kind| (kind, istio_namespace));
        let places = KINDS.map(|kind| (kind, sync_namespace)).into_iter().chain(of_routing);
        for (kind, namespace) in places {
            let is_routing = namespace == istio_namespace;
            let is_here = |object: &Value| {
                let marked = || object["metadata"]["annotations"][keys::SYNC_NAMESPACE] == sync_namespace;
                !is_routing || namespace == sync_namespace || marked()
            };
            let ours = match self.ask(cluster, async || store.managed_objects(kind, namespace).await).await {
                Ok(ours) => ours.into_iter().filter(is_here).collect::<Vec<_>>(),
                Err(error @ (WriteError::Unreachable(_) | WriteError::Timeout(_))) => {
                    self.missing.push(Missing::new(cluster, ALL_KINDS, error));
                    return;
                }
                Err(error) => {
                    self.missing.push(Missing::new(cluster, format!("{} in {namespace}", kind.as_str()), error));
                    continue;
                }
            };
            let mut given = 0_usize;
            // Admiral makes copies of users' routes under other names: it would not know these as its own.
            let is_copy = |object: &Value| !object["metadata"]["annotations"][keys::ORIGIN].is_null();
            let (copies, ours): (Vec<Value>, Vec<Value>) = ours.into_iter().partition(is_copy);
            staying += copies.len();
            for object in &ours {
                let name = format!("{}/{}", kind.as_str(), object["metadata"]["name"].as_str().unwrap_or_default());
                if settings.dry_run {
                    output::print(&format!("{cluster}: would hand back {name}\n"));
                    continue;
                }
                match self.ask(cluster, async || store.hand_back(kind, object).await).await {
                    Ok(()) => given += 1,
                    Err(error) => self.failures.push(format!("{cluster}: {name}: {error}")),
                }
            }
            if !settings.dry_run && !ours.is_empty() {
                let plural = kind.served().plural;
                let place = if is_routing { format!(" in {namespace}") } else { String::new() };
                output::print(&format!("{cluster}: handed back {given} of {} {plural}{place}\n", ours.len()));
            }
        }
        if staying > 0 {
            output::print(&format!(
                "{cluster}: copies of users' routes stay ({staying}); once Admiral has made its own, remove them: kubectl delete \
             virtualservices,destinationrules -n {} -l {}={}\n",
                settings.sync_namespace,
                keys::MANAGED_BY,
                keys::TRADEWIND
            ));
        }
    }
}
