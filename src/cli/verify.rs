//! `tradewind verify`: what a proxy really has.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{
    fleet::{self, PlannedFleet},
    http, incomplete, output,
};
use crate::{
    apply::preview,
    model::{ClusterName, Kind, ObjectId, WorkKey, did_you_mean},
    plan::{
        Desired, PlannedHost,
        decide::{self, SidecarDecision},
    },
    verify::{HostReport, NetworkGateways, Reach, Row, of_host, proxy::ProxyState},
};

/// Exit code where a proxy has something else, as in diff.
const DIFFERENCES: u8 = 1;

pub(super) fn command() -> Command {
    Command::new("verify")
        .about("Compare what a proxy really has with the plan")
        .long_about(
            "Asks an Envoy, or an istiod for one of its proxies, which endpoints it has for each host, and compares them with \
             the plan of a fleet: address, locality, priority, share of the traffic, health. Each difference is named with \
             its likely cause. A fleet is a directory with one sub-directory of manifests per cluster, or a fleet file, which \
             may name live clusters; nothing is written. The admin port of a sidecar is reached by kubectl port-forward \
             POD 15000. What cannot be read of the fleet is named as incomplete. Exit code 0: all as planned; 1: some differs; \
             2: error, or something could not be read, unless --allow-partial.",
        )
        .arg(Arg::new("FLEET").required(true).value_parser(value_parser!(PathBuf)).help("Fleet directory or fleet file"))
        .arg(Arg::new("HOST").num_args(0..).help("Only these hosts, as in stage.payments.global"))
        .arg(Arg::new("envoy").long("envoy").value_name("URL").help("Admin port of an Envoy: http://localhost:15000"))
        .arg(
            Arg::new("istiod")
                .long("istiod")
                .value_name("URL")
                .requires("proxy")
                .help("Debug port of an istiod: http://localhost:15014"),
        )
        .arg(
            Arg::new("proxy")
                .long("proxy")
                .value_name("POD.NAMESPACE")
                .requires("istiod")
                .help("The proxy to ask istiod about, as istioctl proxy-status names it"),
        )
        .arg(
            Arg::new("dump")
                .long("dump")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A config dump with endpoints: curl localhost:15000/config_dump?include_eds"),
        )
        .group(ArgGroup::new("source").args(["envoy", "istiod", "dump"]).required(true))
        .arg(
            Arg::new("cluster")
                .long("cluster")
                .value_name("NAME")
                .value_parser(ClusterName::parse)
                .help("Cluster of the proxy, where it does not say so itself"),
        )
        .arg(
            Arg::new("locality")
                .long("locality")
                .value_name("REGION/ZONE")
                .help("Locality of the proxy, where it does not say so itself"),
        )
        .arg(output::format_arg("table").help("table, yaml or json"))
        .arg(incomplete::allow_partial_arg())
        .args(super::settings_args())
}

pub(super) fn main(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::settings(flags)?;
    let path: &PathBuf = flags.get_one("FLEET").expect("clap requires it");
    let mut proxy = read_proxy(flags)?;
    if let Some(locality) = flags.get_one::<String>("locality") {
        proxy.locality = Some(locality.clone());
    }
    let fleet = fleet::read(path, settings)?;
    if !fleet.incomplete.is_empty() && !flags.get_flag("allow-partial") {
        bail!("the fleet could not be read whole, so nothing can be verified: {}", fleet.incomplete.join("; "));
    }
    let cluster = cluster_of(&proxy, &fleet, flags)?;
    output::print_notes(&fleet.notes());
    let decides = fleet.registry.queries().control_planes(&cluster).into_iter().chain([cluster.clone()]);
    if let Some(unread) = decides.into_iter().find(|of| !fleet.registry.outputs().can_write(of)) {
        incomplete::say(&fleet.unread);
        bail!(
            "{unread} cannot be read now, so what its proxies should have is not known; those of other clusters can be verified"
        );
    }
    if proxy.locality.is_none() {
        proxy.locality = region_of(&cluster, &fleet);
    }
    if proxy.locality.is_none() {
        output::say(format_args!(
            "note: the locality of the proxy is not known, so priorities are not compared; say it with --locality"
        ));
    }
    let reports = compare(&fleet, &cluster, &proxy, flags)?;
    match output::format(flags) {
        "json" => output::print(&format!("{}\n", serde_json::to_string_pretty(&reports)?)),
        "yaml" => output::print(&output::yaml(&reports)?),
        _ => output::print(&shown(&reports)),
    }
    let differences: usize = reports.iter().map(HostReport::count).sum();
    let hosts = match reports.len() {
        1 => "1 host".to_owned(),
        hosts => format!("{hosts} hosts"),
    };
    let found = match differences {
        0 => "all as planned".to_owned(),
        1 => "1 difference".to_owned(),
        many => format!("{many} differences"),
    };
    incomplete::say(&fleet.incomplete);
    incomplete::say(&fleet.unread);
    output::say(format_args!("{hosts} in {cluster}: {found}"));
    Ok(incomplete::code(fleet.is_complete(), flags, if differences == 0 { 0 } else { DIFFERENCES }))
}

// ---- the proxy ----

fn read_proxy(flags: &ArgMatches) -> anyhow::Result<ProxyState> {
    if let Some(path) = flags.get_one::<PathBuf>("dump") {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        return parsed(&text, &path.display().to_string());
    }
    super::run::runtime()?.block_on(async {
        if let Some(url) = flags.get_one::<String>("envoy") {
            let mut proxy = parsed(&asked(url, "/config_dump?include_eds").await?, url)?;
            let clusters = asked(url, "/clusters?format=json").await?;
            proxy.add_health(&serde_json::from_slice(&clusters).with_context(|| format!("the clusters of {url}"))?);
            return Ok(proxy);
        }
        let url: &String = flags.get_one("istiod").expect("clap requires one source");
        let id: &String = flags.get_one("proxy").expect("clap requires it with --istiod");
        let mut proxy = parsed(&asked(url, &format!("/debug/config_dump?proxyID={id}")).await?, url)?;
        // istiod's answer does not name the node.
        if proxy.namespace.is_none() {
            proxy.namespace = id.rsplit_once('.').map(|(_, namespace)| namespace.to_owned());
        }
        Ok(proxy)
    })
}

async fn asked(url: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let (status, body) = http::get(url, path).await?;
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body);
        bail!("{url}{path} answers {status}: {}", said.lines().next().unwrap_or_default());
    }
    Ok(body)
}

fn parsed(text: &[u8], from: &str) -> anyhow::Result<ProxyState> {
    let dump: Value = serde_json::from_slice(text).with_context(|| format!("the config dump of {from}"))?;
    ProxyState::parse(&dump).with_context(|| from.to_owned())
}

fn cluster_of(proxy: &ProxyState, fleet: &PlannedFleet, flags: &ArgMatches) -> anyhow::Result<ClusterName> {
    let known = || fleet.clusters.iter().map(ClusterName::to_string).collect::<Vec<_>>().join(", ");
    let cluster = match (flags.get_one::<ClusterName>("cluster"), &proxy.cluster) {
        (Some(cluster), _) => cluster.clone(),
        (None, Some(id)) => ClusterName::parse(id).with_context(|| format!("the proxy's cluster {id:?}"))?,
        (None, None) => bail!("the proxy does not say in which cluster it is; say it with --cluster ({})", known()),
    };
    if !fleet.clusters.contains(&cluster) {
        let no_cluster = fleet::no_cluster(cluster.as_str(), fleet.clusters.iter());
        bail!("{no_cluster}; say with --cluster which one is the proxy's");
    }
    Ok(cluster)
}

/// The region of a proxy that does not say where it stands: istiod knows it from the pod's node.
fn region_of(cluster: &ClusterName, fleet: &PlannedFleet) -> Option<String> {
    let statuses = fleet.registry.queries().clusters();
    match statuses.iter().find(|status| status.name == *cluster)?.regions.as_slice() {
        [region] => Some(region.to_string()),
        _ => None,
    }
}

/// The gateways that a cluster's istiod knows: of itself, and of the others that it serves.
fn gateways_of(cluster: &ClusterName, fleet: &PlannedFleet) -> NetworkGateways {
    let served = fleet
        .registry
        .queries()
        .clusters()
        .into_iter()
        .filter(|status| status.name == *cluster || status.control_planes.contains(cluster));
    served.filter_map(|status| Some((status.network?.to_string(), status.gateway?))).collect()
}

// ---- the comparison ----

fn compare(
    fleet: &PlannedFleet,
    cluster: &ClusterName,
    proxy: &ProxyState,
    flags: &ArgMatches,
) -> anyhow::Result<Vec<HostReport>> {
    let asked: Vec<&String> = flags.get_many("HOST").into_iter().flatten().collect();
    // Several istiods that serve a remote cluster all have the same for it.
    let Some(cluster) = &fleet.registry.queries().control_planes(cluster).pop_first() else {
        bail!("no istiod of the fleet serves {cluster}: see the notes on its Istio namespace");
    };
    let is_meant = |host: &PlannedHost<'_>| {
        asked.is_empty()
            || asked.iter().any(|asked| asked.trim_end_matches('.').eq_ignore_ascii_case(host.objects.host.as_str()))
    };
    let client = proxy.namespace.as_ref().and_then(|namespace| fleet.registry.inputs().sidecar(cluster, namespace));
    let sidecar = client.map(|client| decide::sidecar(&client, fleet.registry.settings()));
    let desired: BTreeMap<WorkKey, Desired> = fleet.desired(cluster).into_iter().collect();
    let gateways = gateways_of(cluster, fleet);
    let mut reports = Vec::new();
    for plan in fleet.services().filter(|plan| !plan.decision.frozen) {
        let hosts: Vec<PlannedHost<'_>> = plan.hosts_in(cluster).filter(|host| is_meant(host)).collect();
        if hosts.is_empty() {
            continue;
        }
        let unit = WorkKey::Service(plan.decision.key.clone());
        let is_live = fleet.live.contains(cluster);
        let writes = is_live.then(|| preview(&*fleet.registry, cluster, &unit, &desired[&unit], false).writes);
        for host in hosts {
            let metadata = &host.objects.service_entry.metadata;
            let id = ObjectId::new(Kind::ServiceEntry, &metadata.namespace, &metadata.name);
            let stands = writes.as_ref().map(|writes| !writes.iter().any(|write| write.id == id));
            let entry = format!("{}/{}", metadata.namespace, host.objects.host);
            reports.push(of_host(&host, proxy, &gateways, reach(sidecar.as_ref(), &entry), stands));
        }
    }
    let is_reported = |host: &&&String| reports.iter().any(|r| r.host.eq_ignore_ascii_case(host.trim_end_matches('.')));
    if let Some(unknown) = asked.iter().find(|host| !is_reported(host)) {
        let planned = fleet.services().flat_map(|plan| &plan.clusters).filter(|planned| planned.cluster == *cluster);
        let hosts = planned.flat_map(|planned| &planned.hosts).map(|host| host.host.as_str());
        bail!(
            "no host {unknown} is planned for {cluster}: no Dependency of its clients names the service, or nobody runs it{}",
            did_you_mean(unknown.trim_end_matches('.'), hosts)
        );
    }
    reports.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(reports)
}

/// Whether a proxy is to have a host (`namespace/host`), by what is planned for the Sidecar of its namespace.
fn reach(sidecar: Option<&SidecarDecision>, entry: &str) -> Reach {
    let is_it = |host: &str| host.eq_ignore_ascii_case(entry);
    match sidecar {
        Some(SidecarDecision::Only(hosts)) if !hosts.iter().any(|host| is_it(host)) => Reach::MustNot,
        Some(SidecarDecision::Merge(hosts)) if !hosts.iter().any(|wanted| is_it(&wanted.host)) => Reach::May,
        _ => Reach::Must,
    }
}

// ---- the table ----

fn shown(reports: &[HostReport]) -> String {
    let mut table = output::table(&["HOST", "PORT", "ENDPOINT", "LOCALITY", "PRIORITY", "SHARE", "STATE"]);
    let mut causes = String::new();
    let mut explain = |of: String, differences: &[crate::verify::Difference]| {
        for difference in differences {
            causes.push_str(&format!("{of}: {}\n  likely: {}\n", difference.what, difference.likely_cause));
        }
    };
    for report in reports {
        for port in &report.ports {
            let host = format!("{}:{}", report.host, port.port);
            explain(host.clone(), &port.differences);
            if port.endpoints.is_empty() {
                table.add_row([&report.host, &port.port.to_string(), "-", "-", "-", "-", "not for this proxy"]);
            }
            for (index, row) in port.endpoints.iter().enumerate() {
                explain(format!("{host} {}", row.endpoint), &row.differences);
                let first = index == 0;
                let state = match (port.differences.is_empty(), row.differences.is_empty()) {
                    (_, false) => "differs",
                    (false, true) if row.priority.is_none() => "missing",
                    (_, true) => "as planned",
                };
                table.add_row(cells(
                    if first { &report.host } else { "" },
                    if first { Some(port.port) } else { None },
                    row,
                    state,
                ));
            }
        }
    }
    let rows = output::flush_left(&table);
    if causes.is_empty() { rows } else { format!("{rows}\n{causes}") }
}

fn cells(host: &str, port: Option<u16>, row: &Row, state: &str) -> [String; 7] {
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
    [
        host.to_owned(),
        port.map(|port| port.to_string()).unwrap_or_default(),
        row.endpoint.clone(),
        or_dash(Some(row.locality.clone())),
        or_dash(row.priority.map(|priority| priority.to_string())),
        or_dash(row.share_percent.map(|percent| format!("{percent:.1}%"))),
        state.to_owned(),
    ]
}
