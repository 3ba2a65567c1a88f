//! What each cluster sees of each host: endpoint, where it stands, what traffic it gets, why. As a table, whole or as far as
//! something changed.

use super::output;
use crate::{
    model::ClusterName,
    plan::{self, PlannedHost, ServicePlan},
};

/// The columns of the table.
const HEADER: [&str; 8] = ["HOST", "ADDRESS", "ENDPOINT", "IN", "LOCALITY", "SHARE", "TIER", "WHY"];

/// What one cluster sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterTable {
    cluster: ClusterName,
    hosts: Vec<HostTable>,
    /// Hosts that it no longer sees, in a view of changes.
    gone: Vec<String>,
}

/// One host, with a row for each endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostTable {
    host: String,
    rows: Vec<[String; 8]>,
}

/// What clusters see, by these plans.
pub(super) fn of<'a>(
    plans: impl Iterator<Item = &'a ServicePlan> + Clone,
    clusters: impl IntoIterator<Item = &'a ClusterName>,
) -> Vec<ClusterTable> {
    let view = |cluster: &ClusterName| {
        let hosts = plans.clone().flat_map(|plan| plan.hosts_in(cluster)).map(|host| host_view(&host)).collect();
        ClusterTable { cluster: cluster.clone(), hosts, gone: Vec::new() }
    };
    clusters.into_iter().map(view).collect()
}

fn host_view(host: &PlannedHost<'_>) -> HostTable {
    let address = host.objects.service_entry.spec.addresses.first().map_or("-", String::as_str);
    let rows = host.endpoints().enumerate().map(|(index, endpoint)| {
        let of_first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
        [
            of_first(host.objects.host.as_str()),
            of_first(address),
            endpoint.address.clone(),
            endpoint.cluster.to_string(),
            endpoint.locality.clone().unwrap_or_else(|| "-".into()),
            endpoint.share_percent.map_or_else(|| "-".into(), |percent| format!("{}%", plan::percent_text(percent))),
            endpoint.tier.map_or_else(|| "-".into(), |tier| tier.to_string()),
            endpoint.reason.clone(),
        ]
    });
    HostTable { host: host.objects.host.to_string(), rows: rows.collect() }
}

/// The hosts that are new, changed or gone, in the clusters where there are any.
pub(super) fn changes(before: &[ClusterTable], now: &[ClusterTable]) -> Vec<ClusterTable> {
    let hosts_before = |cluster: &ClusterName| {
        let view = before.iter().find(|view| view.cluster == *cluster);
        view.map(|view| view.hosts.as_slice()).unwrap_or_default()
    };
    let mut changes = Vec::new();
    for view in now {
        let known = hosts_before(&view.cluster);
        let hosts: Vec<HostTable> = view.hosts.iter().filter(|host| !known.contains(host)).cloned().collect();
        let is_gone = |host: &&HostTable| !view.hosts.iter().any(|there| there.host == host.host);
        let gone: Vec<String> = known.iter().filter(is_gone).map(|host| host.host.clone()).collect();
        let is_new = !before.iter().any(|view_before| view_before.cluster == view.cluster);
        if is_new || !hosts.is_empty() || !gone.is_empty() {
            changes.push(ClusterTable { cluster: view.cluster.clone(), hosts, gone });
        }
    }
    changes
}

/// The views as tables, one for each cluster.
pub(super) fn table(views: &[ClusterTable]) -> String {
    let mut text = String::new();
    for ClusterTable { cluster, hosts, gone } in views {
        text.push_str(&format!("Seen from {cluster}\n"));
        if !hosts.is_empty() || gone.is_empty() {
            let mut table = output::table(&HEADER);
            for row in hosts.iter().flat_map(|host| &host.rows) {
                table.add_row(row.clone());
            }
            text.push_str(&output::indented(&output::aligned_block(&table)));
        }
        gone.iter().for_each(|host| text.push_str(&format!("  {host} is gone\n")));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(cluster: &str, hosts: &[(&str, &str)]) -> ClusterTable {
        let row = |host: &str, share: &str| {
            let cells = [host, "240.0.0.1", "192.0.2.1:15443", "east", "us-east", share, "0", "gateway"];
            HostTable { host: host.to_owned(), rows: vec![cells.map(str::to_owned)] }
        };
        let hosts = hosts.iter().map(|(host, share)| row(host, share)).collect();
        ClusterTable { cluster: ClusterName::parse(cluster).unwrap(), hosts, gone: Vec::new() }
    }

    #[test]
    fn only_what_changed_is_shown() {
        let before = [
            view("east", &[("a.global", "90%"), ("b.global", "10%"), ("c.global", "1%")]),
            view("west", &[("a.global", "90%")]),
        ];
        assert_eq!(changes(&before, &before), []);
        let now = [
            view("east", &[("a.global", "90%"), ("b.global", "20%"), ("d.global", "2%")]),
            before[1].clone(),
            view("north", &[]),
        ];
        let text = table(&changes(&before, &now));
        assert!(
            text.contains("Seen from east\n") && text.contains("Seen from north\n") && !text.contains("west"),
            "{text}"
        );
        for (host, shown) in [("a.global", false), ("b.global", true), ("d.global", true), ("c.global is gone", true)] {
            assert_eq!(text.contains(host), shown, "{host}: {text}");
        }
        assert_eq!(changes(&[], &before).len(), 2);
    }
}
