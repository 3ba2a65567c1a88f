//! What a user's Sidecar lists for the calls of its workloads, and which hosts of that Tradewind added.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use super::Labels;
use super::keys;

/// The egress listeners of a Sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SidecarHosts {
    /// Whether it has a workload selector, and so is not the namespace's.
    pub has_selector: bool,
    /// `spec.egress`, in order. Without one the workloads see everything (Istio, `pilot/pkg/model/sidecar.go`,
    /// `initSidecarScopeInternalIndexes`).
    pub listeners: Vec<EgressListener>,
    /// The hosts that Tradewind added to the catch-all listener (annotation `tradewind.io/egress-hosts`).
    pub ours: Vec<String>,
    /// The hosts that Tradewind added to the listener of port 80 (annotation `tradewind.io/egress-hosts-of-port-80`).
    pub ours_of_main_port: Vec<String>,
    /// The hosts that Tradewind added to listeners of other ports (annotation `tradewind.io/egress-hosts-of-ports`).
    pub ours_of_ports: BTreeMap<u64, Vec<String>>,
}

/// A host that a Sidecar should list.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressHost {
    /// `namespace/host`.
    pub host: String,
    /// The ports under which it is published besides 80.
    pub ports: BTreeSet<u16>,
}

impl<T: Into<String>> From<T> for EgressHost {
    fn from(host: T) -> Self {
        Self { host: host.into(), ports: BTreeSet::new() }
    }
}

impl fmt::Display for EgressHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.ports.iter().try_for_each(|port| write!(f, " :{port}"))
    }
}

/// One entry of `spec.egress`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressListener {
    /// `port.number`: it takes only what goes to that port; 0 for a Unix domain socket. Absent in the catch-all listener.
    pub port: Option<u64>,
    /// Whether it is an HTTP proxy for any port (`port.protocol: HTTP_PROXY`).
    pub is_proxy: bool,
    /// Whether it is bound to an address or a socket (`bind`).
    pub is_bound: bool,
    /// `hosts`, as `namespace/host`.
    pub hosts: Vec<String>,
}

impl SidecarHosts {
    /// Reads the spec and the annotations of a Sidecar.
    #[must_use]
    pub fn read(spec: &Value, annotations: &Labels) -> Self {
        let selector = spec.pointer("/workloadSelector/labels").and_then(Value::as_object);
        let listeners = spec.get("egress").and_then(Value::as_array).into_iter().flatten().map(EgressListener::read);
        let listed = |key| {
            annotations.get(key).and_then(|hosts| serde_json::from_str::<Vec<String>>(hosts).ok()).unwrap_or_default()
        };
        Self {
            has_selector: selector.is_some_and(|labels| !labels.is_empty()),
            listeners: listeners.collect(),
            ours: listed(keys::EGRESS_HOSTS),
            ours_of_main_port: listed(keys::EGRESS_HOSTS_OF_MAIN_PORT),
            ours_of_ports: annotations
                .get(keys::EGRESS_HOSTS_OF_PORTS)
                .and_then(|hosts| serde_json::from_str(hosts).ok())
                .unwrap_or_default(),
        }
    }

    /// All hosts that Tradewind added, with the further ports whose listeners have them.
    #[must_use]
    pub fn added(&self) -> Vec<EgressHost> {
        let mut added: Vec<EgressHost> = Vec::new();
        let of_ports = self.ours_of_ports.iter().flat_map(|(port, hosts)| hosts.iter().map(|host| (*port, host)));
        let all = self.ours.iter().chain(&self.ours_of_main_port).map(|host| (0, host)).chain(of_ports);
        for (port, host) in all {
            let at = added.iter().position(|known| known.host == *host).unwrap_or_else(|| {
                added.push(EgressHost::from(host.clone()));
                added.len() - 1
            });
            added[at].ports.extend(u16::try_from(port).ok().filter(|port| *port > 0));
        }
        added
    }

    /// Whether Tradewind added hosts.
    #[must_use]
    pub fn has_ours(&self) -> bool {
        !self.ours.is_empty() || !self.ours_of_main_port.is_empty() || !self.ours_of_ports.is_empty()
    }
}

impl EgressListener {
    fn read(listener: &Value) -> Self {
        let port = listener.get("port").filter(|port| !port.is_null());
        let protocol = port.and_then(|port| port.get("protocol")?.as_str()).unwrap_or_default();
        let hosts = listener.get("hosts").and_then(Value::as_array).into_iter().flatten();
        Self {
            port: port.map(|port| port.get("number").and_then(Value::as_u64).unwrap_or(0)),
            is_proxy: protocol.eq_ignore_ascii_case("HTTP_PROXY"),
            is_bound: listener.get("bind").and_then(Value::as_str).is_some_and(|bind| !bind.is_empty()),
            hosts: hosts.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn listeners_are_read_with_what_decides_and_strange_ones_are_empty() {
        let read = |spec: Value| SidecarHosts::read(&spec, &Labels::new());
        let found = read(json!({"egress": [
            {"port": {"number": 80, "protocol": "http_proxy"}, "bind": "127.0.0.1", "hosts": ["a/b", 7]},
            {"port": {"protocol": "TCP"}, "hosts": null}, {"port": null, "bind": ""}, "text",
        ]}));
        let expected = [
            EgressListener { port: Some(80), is_proxy: true, is_bound: true, hosts: vec!["a/b".into()] },
            EgressListener { port: Some(0), ..EgressListener::default() },
            EgressListener::default(),
            EgressListener::default(),
        ];
        assert_eq!(found.listeners, expected);
        assert_eq!(read(json!({"egress": "text"})), SidecarHosts::default());
        assert!(!read(json!({"workloadSelector": {"labels": {}}})).has_selector);
    }
}
