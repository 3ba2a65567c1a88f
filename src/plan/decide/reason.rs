//! Why an endpoint is there: how clients reach it, and by which rule it gets traffic. Text is made where it is shown.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{decision::EndpointDecision, shares::Share};
use crate::{
    model::{ClusterName, Locality},
    plan::input::RelativeWeight,
};

/// Why an endpoint is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// How clients reach it.
    pub path: Path,
    /// Whether it rests on what was last known of its cluster.
    pub last_known: bool,
    /// Whether no pod behind it can serve.
    pub unavailable: bool,
    /// By which rule it gets traffic.
    pub rule: TrafficRule,
}

/// How clients reach an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// By the name of a Service of their own cluster.
    Local {
        /// Which part of its Rollout's traffic it gets, where that is not all.
        rollout_part: Option<RelativeWeight>,
    },
    /// It is a machine of their own cluster.
    LocalMachine,
    /// It is a pod of another cluster on their network.
    Pod,
    /// It is a machine of another cluster on their network.
    Machine,
    /// Through the gateway of its cluster.
    Gateway {
        /// Why not without, where there is more to say than that networks differ.
        because: Option<GatewayReason>,
    },
}

impl Path {
    /// Whether it leads into another cluster without a gateway.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Pod | Self::Machine)
    }
}

/// Why clients on the same network go through a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayReason {
    /// Some machines of the service are on another network than their cluster.
    MachinesElsewhere,
    /// No pod is ready.
    NoPodReady,
    /// There are more pods than may be endpoints.
    TooManyPods,
}

impl fmt::Display for GatewayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MachinesElsewhere => "some of its machines are on another network",
            Self::NoPodReady => "no pod is ready",
            Self::TooManyPods => "there are too many pods",
        })
    }
}

/// By which rule an endpoint gets traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrafficRule {
    /// Any: the region of the clients is not known.
    ClientRegionUnknown,
    /// Its region has a share.
    RegionShare,
    /// The nearest comes first.
    Nearest,
    /// Its region has this share of the policy's split.
    Split {
        /// The share.
        share: Share,
        /// The region.
        region: Arc<str>,
    },
    /// The policy lists its region without a weight.
    ListedFallback {
        /// Whether it is the first such region.
        is_first: bool,
    },
    /// The policy does not list its region.
    UnlistedFallback {
        /// Whether it is the clients' own region, and comes before the others.
        is_nearest: bool,
        /// Whether another region is primary and there is no policy.
        is_passive: bool,
    },
}

impl fmt::Display for TrafficRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientRegionUnknown => f.write_str("the region of the clients is not known"),
            Self::RegionShare => f.write_str("by the weights of its region"),
            Self::Nearest => f.write_str("nearest first"),
            Self::Split { share, region } => write!(f, "{share} % of the traffic goes to {region}"),
            Self::ListedFallback { is_first: true } => f.write_str("first fallback"),
            Self::ListedFallback { is_first: false } => f.write_str("later fallback"),
            Self::UnlistedFallback { is_nearest, is_passive } => {
                let why = if *is_passive { "passive" } else { "not in the policy" };
                write!(f, "fallback: {why}{}", if *is_nearest { ", nearest" } else { "" })
            }
        }
    }
}

/// An endpoint as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// The cluster it leads to.
    pub cluster: ClusterName,
    /// `address:port` of the main port.
    pub address: String,
    /// True locality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Percent of the traffic of its host while all of tier 0 is healthy; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<f64>,
    /// 0 gets traffic first; absent where locality decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
    /// In words.
    pub reason: String,
}

impl EndpointDecision {
    /// The endpoint as it is shown; `main_port` is the name of the main port.
    #[must_use]
    pub fn view(&self, main_port: &str) -> EndpointView {
        let port = self.ports.get(main_port).copied().unwrap_or_default();
        let address = &self.address;
        EndpointView {
            cluster: self.cluster.clone(),
            address: if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") },
            locality: self.locality.as_ref().map(Locality::to_string),
            share_percent: self.share_percent,
            tier: self.tier,
            reason: format!("{}; {}", self.path_text(), self.reason.rule),
        }
    }

    fn path_text(&self) -> String {
        let Reason { path, last_known, unavailable, .. } = &self.reason;
        let without_pods = if *unavailable { ", without pods that can serve" } else { "" };
        let last_known = if *last_known { ", as last known" } else { "" };
        let zone = self.locality.as_ref().and_then(|locality| locality.zone.as_ref());
        let in_zone = zone.map(|zone| format!(" in zone {zone}")).unwrap_or_default();
        let path = match path {
            Path::Local { rollout_part: Some(RelativeWeight { part, of }) } => {
                format!("local Service with {part} of {of} parts of its Rollout")
            }
            Path::Local { rollout_part: None } => match &self.network {
                Some(network) => format!("local Service on {network}"),
                None => "local Service".to_owned(),
            },
            Path::LocalMachine => "virtual machine".to_owned(),
            Path::Pod => format!("pod{in_zone}{last_known}"),
            Path::Machine => format!("virtual machine{in_zone}{last_known}"),
            Path::Gateway { because } => {
                let by_name = if self.address.parse::<IpAddr>().is_ok() { "" } else { " by name" };
                let why = because.map(|why| format!(", because {why}")).unwrap_or_default();
                format!("gateway{by_name}{last_known}{why}")
            }
        };
        format!("{path}{without_pods}")
    }
}
