//! `tradewind withheld`: which removals wait for an operator, in the whole fleet, and their release.
//!
//! What is withheld is read from a running controller. It is released on the hub, by the annotation on the Secret of each
//! cluster and with the rights of whoever runs the command; the controller is asked for nothing that changes anything.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{http, output};
use crate::{
    fleet::{RELEASE_REMOVALS, SECRET_LABELS, kubeconfig},
    model::ClusterName,
};

/// Exit code where something is withheld, as in diff.
const WITHHELD: u8 = 1;
/// Clusters of one page of the view.
const PAGE_CLUSTERS: usize = 100;
/// How often it is looked whether the controller has taken a release over.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longest wait for that: a controller sees a changed Secret within a second.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn command() -> Command {
    Command::new("withheld")
        .about("Show which removals wait for an operator, and release them")
        .long_about(
            "Asks a running controller which removals are withheld, in all clusters or those named, because more objects would \
             go at once than maxRemovalPercent and maxRemovalFloor allow. With --release, consents to exactly those that are \
             shown: annotates the Secret of each cluster on the hub with the id of its set, by your kubeconfig (you need the \
             rights to get and patch these Secrets, and the audit log names you), and waits until the controller has taken it \
             over. Exit code 0: nothing is withheld, or all was released; 1: something is withheld; 2: error.",
        )
        .arg(Arg::new("CLUSTER").num_args(0..).value_parser(ClusterName::parse).help("Only these clusters"))
        .arg(
            Arg::new("controller")
                .long("controller")
                .value_name("URL")
                .default_value("http://localhost:8080")
                .help("Address of the running Tradewind; kubectl port-forward leads there"),
        )
        .arg(Arg::new("release").long("release").action(ArgAction::SetTrue).help("Release what is shown"))
        .arg(
            Arg::new("yes")
                .short('y')
                .long("yes")
                .requires("release")
                .action(ArgAction::SetTrue)
                .help("Release without being asked"),
        )
        .arg(
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Kubeconfig of the hub [default: the first file of KUBECONFIG, or ~/.kube/config]"),
        )
        .arg(Arg::new("context").long("context").value_name("NAME").help("Its context [default: the current one]"))
        .arg(output::format_arg("table").help("table, yaml or json"))
}

/// What is withheld in a cluster, as the controller shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithheldSet {
    cluster: String,
    id: String,
    count: usize,
    owned: usize,
    kinds: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretPath>,
    objects: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SecretPath {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct WithheldPage {
    withheld: Vec<WithheldSet>,
    #[serde(default)]
    metadata: WithheldPageMetadata,
}

#[derive(Default, Deserialize)]
struct WithheldPageMetadata {
    #[serde(rename = "continue")]
    token: Option<String>,
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    super::run::runtime()?.block_on(async {
        let url: &String = flags.get_one("controller").expect("it has a default");
        let only: Vec<&ClusterName> = flags.get_many("CLUSTER").into_iter().flatten().collect();
        let mut sets = ask(url).await?;
        sets.retain(|set| only.is_empty() || only.iter().any(|name| name.as_str() == set.cluster));
        match output::format(flags) {
            "json" => output::print(&format!("{}\n", serde_json::to_string_pretty(&json!({ "withheld": sets }))?)),
            "yaml" => output::print(&output::yaml(&json!({ "withheld": sets }))?),
            _ if sets.is_empty() => {}
            _ => output::print(&table(&sets)),
        }
        if sets.is_empty() {
            output::say("nothing is withheld");
            return Ok(ExitCode::SUCCESS);
        }
        if !flags.get_flag("release") {
            return Ok(ExitCode::from(WITHHELD));
        }
        if !confirmed(&sets, flags.get_flag("yes"))? {
            output::say("nothing was released");
            return Ok(ExitCode::from(WITHHELD));
        }
        release(url, &sets, &hub(flags).await?).await
    })
}

/// Everything that is withheld, page by page.
async fn ask(url: &str) -> anyhow::Result<Vec<WithheldSet>> {
    let (mut sets, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/withheld?limit={PAGE_CLUSTERS}{token}");
        let (status, body) = http::get(url, &path).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{url} answers {status}: {}", text.lines().next().unwrap_or_default());
        let page: WithheldPage = serde_json::from_str(&text)
            .with_context(|| format!("{url} does not answer as Tradewind does; is that its address?"))?;
        sets.extend(page.withheld);
        match page.metadata.token {
            Some(next) => token = format!("&continue={next}"),
            None => return Ok(sets),
        }
    }
}

fn table(sets: &[WithheldSet]) -> String {
    let mut table = output::table(&["CLUSTER", "ID", "REMOVALS", "OF", "KINDS", "SECRET"]);
    for set in sets {
        let kinds: Vec<String> = set.kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let secret =
            set.secret.as_ref().map_or_else(|| "-".to_owned(), |path| format!("{}/{}", path.namespace, path.name));
        let cells = [
            set.cluster.clone(),
            set.id.clone(),
            set.count.to_string(),
            set.owned.to_string(),
            kinds.join(", "),
            secret,
        ];
        table.add_row(cells.map(|cell| cell.escape_debug().to_string()));
    }
    output::flush_left(&table)
}

/// Whether whoever runs the command wants what it is about to do.
fn confirmed(sets: &[WithheldSet], yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let objects: usize = sets.iter().map(|set| set.count).sum();
    let what = format!("the removal of {objects} objects in {} clusters", sets.len());
    ensure!(io::stdin().is_terminal(), "there is nobody to confirm {what}; say it with --yes");
    output::say(format_args!("Release {what}? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A client of the hub, by the kubeconfig that kubectl would take.
async fn hub(flags: &ArgMatches) -> anyhow::Result<Client> {
    let of_environment = || {
        let named = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
        let first = named.and_then(|paths| std::env::split_paths(&paths).next());
        first.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")))
    };
    let path = flags.get_one::<PathBuf>("kubeconfig").cloned().or_else(of_environment);
    let Some(path) = path else { bail!("no kubeconfig of the hub is known; name it with --kubeconfig") };
    let context = flags.get_one::<String>("context").map(String::as_str);
    let config = kubeconfig::from_file(&path, context).await.context("the hub")?;
    kubeconfig::connect(config).context("the hub")
}

/// Consents to the sets, and waits until the controller withholds none of them.
async fn release(url: &str, sets: &[WithheldSet], hub: &Client) -> anyhow::Result<ExitCode> {
    let (mut given, mut failed) = (Vec::new(), false);
    for set in sets {
        match consent(set, hub).await {
            Ok(()) => given.push(set),
            Err(error) => {
                failed = true;
                output::say(format_args!("error: {}: {}", set.cluster, super::in_one_line(&error)));
            }
        }
    }
    let begun = Instant::now();
    while !given.is_empty() {
        let left = ask(url).await?;
        let is_left = |set: &WithheldSet| left.iter().any(|left| left.cluster == set.cluster && left.id == set.id);
        given.retain(|set| {
            if !is_left(set) {
                output::say(format_args!("{}: released {} removals", set.cluster, set.count));
            }
            is_left(set)
        });
        if begun.elapsed() >= RELEASE_TIMEOUT {
            break;
        }
        if !given.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    for set in &given {
        output::say(format_args!(
            "error: {}: its Secret says so now, and the controller has not released them within {} s; see its log",
            set.cluster,
            RELEASE_TIMEOUT.as_secs()
        ));
    }
    Ok(if failed || !given.is_empty() { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}

/// Annotates the Secret of a cluster with the id.
async fn consent(set: &WithheldSet, hub: &Client) -> anyhow::Result<()> {
    let Some(SecretPath { namespace, name }) = &set.secret else {
        bail!(
            "no Secret registers it; add `releaseRemovals: {}` to its entry in the fleet file and start the controller again, \
             or remove the objects by hand",
            set.id
        );
    };
    let secrets: Api<Secret> = Api::namespaced(hub.clone(), namespace);
    let found = secrets.get_metadata(name).await.map_err(|error| of_hub(&error, "reading"))?;
    // Whatever answers as the controller must not have other Secrets annotated.
    let labels = found.metadata.labels.unwrap_or_default();
    let is_cluster_secret = SECRET_LABELS.iter().filter_map(|label| label.split_once('='));
    let is_cluster_secret =
        is_cluster_secret.into_iter().any(|(key, value)| labels.get(key).is_some_and(|it| it == value));
    ensure!(
        is_cluster_secret,
        "the Secret {namespace}/{name} registers no cluster: it has none of the labels {}",
        SECRET_LABELS.join(", ")
    );
    let patch = json!({"metadata": {
        "resourceVersion": found.metadata.resource_version,
        "annotations": {RELEASE_REMOVALS: set.id},
    }});
    let patched = secrets.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(|error| of_hub(&error, "annotating"))
}

/// The hub's own words, which name the Secret.
fn of_hub(error: &kube::Error, doing: &'static str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!("{doing} its Secret: {}", status.message),
        other => anyhow!("{doing} its Secret: {other}"),
    }
}
