//! Compares what a proxy has of a planned host with what it must have, and names the likely cause of each difference
//! (Istio documentation, "Locality Load Balancing", "Sidecar", "Destination Rule").

use serde::Serialize;

use super::{
    expected::{self, Expected, NetworkGateways},
    proxy::{ProxyState, Upstream, UpstreamEndpoint},
};
use crate::plan::{HostPlan, PlannedHost};

/// Shares closer than this, in percent, are the same: weights are whole numbers.
const SHARE_TOLERANCE_PERCENT: f64 = 0.5;

/// What a proxy has of a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The host.
    pub host: String,
    /// By published port.
    pub ports: Vec<PortReport>,
}

/// What a proxy has of one port of a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortReport {
    /// The port that clients use.
    pub port: u16,
    /// What concerns the port as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// By endpoint, the planned ones first.
    pub endpoints: Vec<Row>,
}

/// One endpoint, as planned and as the proxy has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `address:port`.
    pub endpoint: String,
    /// As the proxy has it, else as planned.
    pub locality: String,
    /// Priority at the proxy; absent where it does not have the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Percent of the traffic while all of its priority is healthy; absent where locality decides, or for other priorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<f64>,
    /// What is wrong; nothing where it is as planned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What, in words.
    pub what: String,
    /// Why, most likely.
    pub likely_cause: String,
}

impl Difference {
    fn new(what: impl Into<String>, likely_cause: impl Into<String>) -> Self {
        Self { what: what.into(), likely_cause: likely_cause.into() }
    }
}

impl HostReport {
    /// Number of differences.
    #[must_use]
    pub fn count(&self) -> usize {
        let of_port = |port: &PortReport| {
            port.differences.len() + port.endpoints.iter().map(|row| row.differences.len()).sum::<usize>()
        };
        self.ports.iter().map(of_port).sum()
    }
}

/// Whether a proxy is to have a host, by the Sidecar of its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It is.
    Must,
    /// It may: the Sidecar is a user's, and lists more than we know.
    May,
    /// It is not.
    MustNot,
}

/// Compares a planned host with what a proxy of the same cluster has. `stands` says whether its ServiceEntry stands in the
/// cluster as planned, where that is known.
#[must_use]
pub fn of_host(
    planned: &PlannedHost<'_>,
    proxy: &ProxyState,
    gateways: &NetworkGateways,
    reach: Reach,
    stands: Option<bool>,
) -> HostReport {
    let host = planned.objects;
    let name = host.host.as_str();
    let is_exported = is_exported(&host.service_entry.spec.export_to, proxy);
    let reach = if is_exported { reach } else { Reach::MustNot };
    let ports = host.service_entry.spec.ports.iter().map(|port| {
        let upstream = proxy.upstreams.get(&(name.to_ascii_lowercase(), port.number));
        let upstream = upstream.or_else(|| proxy.upstreams.get(&(name.to_owned(), port.number)));
        let expected = expected::endpoints(planned, &port.name, proxy, gateways);
        // Istio makes nothing of a host all of whose endpoints are on networks that the proxy does not ask for.
        let is_beyond = expected.is_empty() && !proxy.networks.is_empty();
        let reach = if is_beyond && reach == Reach::Must { Reach::May } else { reach };
        match (upstream, reach) {
            (None, Reach::May | Reach::MustNot) => PortReport { port: port.number, differences: Vec::new(), endpoints: Vec::new() },
            (Some(upstream), Reach::MustNot) => PortReport {
                port: port.number,
                differences: vec![Difference::new(
                    "the proxy has the host, although its exportTo or the Sidecar of the proxy's namespace leaves it out",
                    "another ServiceEntry for the same host, or a configuration that istiod has not renewed",
                )],
                endpoints: upstream.endpoints.iter().map(|one| row(one, upstream)).collect(),
            },
            (None, Reach::Must) => missing(expected, port.number, stands),
            (Some(upstream), Reach::Must | Reach::May) => of_port(host, port.number, &expected, upstream),
        }
    });
    HostReport { host: name.to_owned(), ports: ports.collect() }
}

fn is_exported(export_to: &[String], proxy: &ProxyState) -> bool {
    let is_meant = |namespace: &String| namespace == "*" || Some(namespace) == proxy.namespace.as_ref();
    export_to.is_empty() || proxy.namespace.is_none() || export_to.iter().any(is_meant)
}

fn missing(expected: Vec<Expected>, port: u16, stands: Option<bool>) -> PortReport {
    let cause = match stands {
        Some(false) => "the ServiceEntry does not stand in the cluster as planned: see tradewind diff, and the notes",
        Some(true) => {
            "the Sidecar of its namespace does not list the host, or istiod has not sent it (istioctl proxy-status)"
        }
        None => {
            "the ServiceEntry is not written, the Sidecar of its namespace does not list the host, or istiod has not sent it \
             (istioctl proxy-status)"
        }
    };
    let unseen = |expected: Expected| Row {
        endpoint: shown(&expected.address, expected.port),
        locality: expected.locality,
        priority: None,
        share_percent: None,
        differences: Vec::new(),
    };
    PortReport {
        port,
        differences: vec![Difference::new("the proxy does not have the host", cause)],
        endpoints: expected.into_iter().map(unseen).collect(),
    }
}

fn of_port(host: &HostPlan, port: u16, expected: &[Expected], upstream: &Upstream) -> PortReport {
    let mut differences = Vec::new();
    if upstream.warming {
        differences.push(Difference::new(
            "the proxy does not use the host yet",
            "the name of an endpoint does not resolve in the cluster, or the proxy has no certificate",
        ));
    }
    let wants_ejection =
        host.destination_rule.spec.traffic_policy.outlier_detection.as_ref().is_some_and(|detection| {
            let counts = [detection.consecutive_gateway_errors, detection.consecutive_5xx_errors];
            counts.iter().flatten().any(|count| *count > 0)
        });
    if wants_ejection && !upstream.outlier_detection {
        differences.push(Difference::new(
            "the proxy takes no unhealthy endpoint out",
            "another DestinationRule for the host counts for this proxy: one of its own namespace comes before ours",
        ));
    }
    let mut left: Vec<&UpstreamEndpoint> = upstream.endpoints.iter().collect();
    let mut endpoints: Vec<Row> = Vec::new();
    for wanted in expected {
        // The same gateway may stand there for several clusters.
        let same = |one: &&UpstreamEndpoint| one.address == wanted.address && one.port == wanted.port;
        let exact = left.iter().position(|one| same(one) && one.locality == wanted.locality);
        match exact.or_else(|| left.iter().position(same)) {
            Some(at) => endpoints.push(compared(wanted, left.remove(at), upstream)),
            None => endpoints.push(Row {
                endpoint: shown(&wanted.address, wanted.port),
                locality: wanted.locality.clone(),
                priority: None,
                share_percent: None,
                differences: vec![Difference::new(
                    "the proxy does not have it",
                    "istiod has not sent the newest ServiceEntry (istioctl proxy-status), or distribute leaves its region out",
                )],
            }),
        }
    }
    for extra in left {
        let mut row = row(extra, upstream);
        row.differences.push(Difference::new(
            "it is not planned",
            "another ServiceEntry for the same host, or one that Tradewind has yet to write anew",
        ));
        endpoints.push(row);
    }
    PortReport { port, differences, endpoints }
}

fn compared(wanted: &Expected, found: &UpstreamEndpoint, upstream: &Upstream) -> Row {
    let mut row = row(found, upstream);
    if found.locality != wanted.locality {
        row.differences.push(Difference::new(
            format!("its locality is {:?}, planned is {:?}", found.locality, wanted.locality),
            "istiod has not sent the newest ServiceEntry (istioctl proxy-status)",
        ));
    }
    if let Some(priority) = wanted.priority.filter(|priority| *priority != found.priority) {
        let cause = if upstream.outlier_detection {
            "another DestinationRule for the host, or locality load balancing switched off in MeshConfig"
        } else {
            "without outlier detection Istio sets no priorities, and the proxy has none"
        };
        row.differences
            .push(Difference::new(format!("its priority is {}, planned is {priority}", found.priority), cause));
    }
    if let (Some(planned), Some(share)) = (wanted.share_percent, row.share_percent)
        && (planned - share).abs() > SHARE_TOLERANCE_PERCENT
    {
        row.differences.push(Difference::new(
            format!("it gets {share:.1} % of the traffic, planned are {planned:.1} %"),
            "weights of an older ServiceEntry, or another DestinationRule with a distribution of its own",
        ));
    }
    if let Some(trouble) = found.trouble {
        row.differences.push(Difference::new(trouble, cause_of(trouble)));
    }
    row
}

fn cause_of(trouble: &str) -> &'static str {
    if trouble.contains("resolve") {
        "no DNS answer for the name: the Service or its gateway is gone, or DNS is out of order"
    } else if trouble.contains("outlier") {
        "its answers were errors: no common root of trust, no route to the gateway, or the service itself"
    } else {
        "its pods are not ready"
    }
}

fn row(found: &UpstreamEndpoint, upstream: &Upstream) -> Row {
    Row {
        endpoint: shown(&found.address, found.port),
        locality: found.locality.clone(),
        priority: Some(found.priority),
        share_percent: share_percent(found, upstream),
        differences: Vec::new(),
    }
}

fn shown(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The part of the traffic of the lowest priority that an endpoint gets while all of it is healthy: by the weight of its
/// locality where localities have one, then by its own.
fn share_percent(of: &UpstreamEndpoint, upstream: &Upstream) -> Option<f64> {
    let lowest = upstream.endpoints.iter().map(|one| one.priority).min()?;
    if of.priority != lowest {
        return None;
    }
    let peers: Vec<&UpstreamEndpoint> = upstream.endpoints.iter().filter(|one| one.priority == lowest).collect();
    let sum = |peers: &[&UpstreamEndpoint]| peers.iter().map(|one| f64::from(one.weight)).sum::<f64>();
    let mut localities: Vec<(&str, Option<u32>)> =
        peers.iter().map(|one| (one.locality.as_str(), one.locality_weight)).collect();
    localities.sort_unstable();
    localities.dedup();
    let share = if localities.iter().all(|(_, weight)| weight.is_some_and(|weight| weight > 0)) {
        let all: f64 = localities.iter().filter_map(|(_, weight)| *weight).map(f64::from).sum();
        let beside: Vec<&UpstreamEndpoint> = peers.into_iter().filter(|one| one.locality == of.locality).collect();
        f64::from(of.locality_weight?) / all * f64::from(of.weight) / sum(&beside)
    } else {
        f64::from(of.weight) / sum(&peers)
    };
    Some(share * 100.0)
}
