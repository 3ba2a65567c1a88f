//! Reads what an Envoy says of itself: `GET /config_dump?include_eds` and `GET /clusters?format=json` of its admin port
//! (Envoy documentation, "Administration interface"), or istiod's `/debug/config_dump`, which has the same form.

use std::collections::BTreeMap;

use serde_json::Value;

/// A dump that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DumpError {
    /// It has no list `configs`.
    #[error("this is no config dump of an Envoy: it has no list \"configs\"")]
    NoConfigs,
    /// It has no clusters.
    #[error("the config dump tells of no clusters of Envoy")]
    NoClusters,
}

/// What one proxy has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyState {
    /// Id of its node, such as `sidecar~10.1.0.5~orders-0.orders~orders.svc.cluster.local`; empty where the dump does not say.
    pub id: String,
    /// Cluster of the mesh (metadata `CLUSTER_ID`).
    pub cluster: Option<String>,
    /// Namespace (metadata `NAMESPACE`).
    pub namespace: Option<String>,
    /// Locality, as `region/zone/subzone` without what is empty.
    pub locality: Option<String>,
    /// The network that it stands in (metadata `NETWORK`).
    pub network: Option<String>,
    /// The networks whose endpoints it asks for alone (metadata `REQUESTED_NETWORK_VIEW`), as east-west gateways do; empty: all.
    pub networks: Vec<String>,
    /// By host and port, as in `outbound|80||stage.payments.global`.
    pub upstreams: BTreeMap<(String, u16), Upstream>,
}

/// An Envoy cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Upstream {
    /// Whether it is not in use yet: names that do not resolve, or a certificate that is missing.
    pub warming: bool,
    /// Whether unhealthy endpoints are taken out.
    pub outlier_detection: bool,
    /// Its endpoints, in the order of the dump.
    pub endpoints: Vec<UpstreamEndpoint>,
}

/// An endpoint of an Envoy cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamEndpoint {
    /// Address or name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// `region/zone/subzone` without what is empty.
    pub locality: String,
    /// 0 gets traffic first.
    pub priority: u32,
    /// Weight within its locality.
    pub weight: u32,
    /// Weight of its locality within its priority, where localities are weighted.
    pub locality_weight: Option<u32>,
    /// What is wrong with it now; nothing where it is healthy or nothing is known.
    pub trouble: Option<&'static str>,
}

impl ProxyState {
    /// Reads a config dump.
    ///
    /// # Errors
    /// When the text is JSON of something else.
    pub fn parse(dump: &Value) -> Result<Self, DumpError> {
        let configs = dump["configs"].as_array().ok_or(DumpError::NoConfigs)?;
        let of_type = |name: &'static str| {
            configs.iter().filter(move |config| config["@type"].as_str().is_some_and(|of| of.ends_with(name)))
        };
        let mut proxy = Self::default();
        if let Some(node) = of_type("BootstrapConfigDump").map(|config| &config["bootstrap"]["node"]).next() {
            proxy.read_node(node);
        }
        let mut assigned: BTreeMap<&str, &Value> = BTreeMap::new();
        for config in of_type("EndpointsConfigDump") {
            for list in ["static_endpoint_configs", "dynamic_endpoint_configs"] {
                let loads = config[list].as_array().into_iter().flatten().map(|one| &one["endpoint_config"]);
                assigned.extend(loads.filter_map(|load| Some((load["cluster_name"].as_str()?, load))));
            }
        }
        let mut any = false;
        for config in of_type("ClustersConfigDump") {
            any = true;
            // What is in use counts before what would replace it.
            for (list, warming) in [("dynamic_warming_clusters", true), ("dynamic_active_clusters", false)] {
                for cluster in config[list].as_array().into_iter().flatten().map(|one| &one["cluster"]) {
                    if let Some((of, upstream)) = read_upstream(cluster, warming, &assigned) {
                        proxy.upstreams.insert(of, upstream);
                    }
                }
            }
        }
        if any { Ok(proxy) } else { Err(DumpError::NoClusters) }
    }

    /// Whether it is known to be on another network than this one.
    pub(super) fn is_elsewhere(&self, network: &str) -> bool {
        self.network.as_ref().is_some_and(|own| own != network)
    }

    fn read_node(&mut self, node: &Value) {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.id = text(&node["id"]).unwrap_or_default();
        self.cluster = text(&node["metadata"]["CLUSTER_ID"]);
        self.namespace = text(&node["metadata"]["NAMESPACE"]);
        self.network = text(&node["metadata"]["NETWORK"]);
        self.networks = networks(&node["metadata"]["REQUESTED_NETWORK_VIEW"]);
        self.locality = Some(locality(&node["locality"])).filter(|locality| !locality.is_empty());
    }

    /// Adds what the health of the endpoints is now, from `GET /clusters?format=json`.
    pub fn add_health(&mut self, clusters: &Value) {
        for status in clusters["cluster_statuses"].as_array().into_iter().flatten() {
            let Some(of) = status["name"].as_str().and_then(outbound) else { continue };
            let Some(upstream) = self.upstreams.get_mut(&of) else { continue };
            let hosts: Vec<&Value> = status["host_statuses"].as_array().into_iter().flatten().collect();
            for endpoint in &mut upstream.endpoints {
                let is_it = |host: &&&Value| {
                    let socket = &host["address"]["socket_address"];
                    let named = [&host["hostname"], &socket["address"]];
                    named.iter().any(|name| name.as_str() == Some(&endpoint.address))
                        && socket["port_value"].as_u64() == Some(endpoint.port.into())
                };
                let found: Vec<&Value> = hosts.iter().filter(is_it).copied().collect();
                endpoint.trouble = match found.as_slice() {
                    [] => Some("its name does not resolve"),
                    hosts => hosts.iter().find_map(|host| trouble(&host["health_status"])),
                };
            }
        }
    }
}

/// Istio writes a list with commas.
fn networks(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten().chain([value]).filter_map(Value::as_str);
    list.flat_map(|list| list.split(',')).map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// Host and port of an outbound cluster without subset.
fn outbound(name: &str) -> Option<(String, u16)> {
    let mut parts = name.split('|');
    match (parts.next()?, parts.next()?.parse(), parts.next()?, parts.next()?) {
        ("outbound", Ok(port), "", host) => Some((host.to_owned(), port)),
        _ => None,
    }
}

fn trouble(health: &Value) -> Option<&'static str> {
    if health["failed_outlier_check"] == true {
        Some("it is taken out by outlier detection")
    } else if health["failed_active_health_check"] == true {
        Some("it fails health checks")
    } else if matches!(health["eds_health_status"].as_str(), Some("UNHEALTHY" | "DRAINING")) {
        Some("istiod says that it is not ready")
    } else {
        None
    }
}

fn locality(value: &Value) -> String {
    let parts = ["region", "zone", "sub_zone"].map(|part| value[part].as_str().unwrap_or_default());
    let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    parts[..used].join("/")
}

fn read_upstream(
    cluster: &Value,
    warming: bool,
    assigned: &BTreeMap<&str, &Value>,
) -> Option<((String, u16), Upstream)> {
    let name = cluster["name"].as_str()?;
    let of = outbound(name)?;
    // Clusters of DNS names hold their endpoints; those of addresses get them by another stream, under a name of their own.
    let service = cluster["eds_cluster_config"]["service_name"].as_str().unwrap_or(name);
    let inline = Some(&cluster["load_assignment"]).filter(|load| load["endpoints"].is_array());
    let load = inline.or_else(|| assigned.get(service).copied());
    let upstream = Upstream {
        warming,
        outlier_detection: cluster["outlier_detection"].is_object(),
        endpoints: load.map(read_endpoints).unwrap_or_default(),
    };
    Some((of, upstream))
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn read_endpoints(load: &Value) -> Vec<UpstreamEndpoint> {
    let mut found = Vec::new();
    for group in load["endpoints"].as_array().into_iter().flatten() {
        for one in group["lb_endpoints"].as_array().into_iter().flatten() {
            let socket = &one["endpoint"]["address"]["socket_address"];
            let Some(address) = socket["address"].as_str() else { continue };
            found.push(UpstreamEndpoint {
                address: address.to_owned(),
                port: socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
                locality: locality(&group["locality"]),
                priority: number(&group["priority"]).unwrap_or_default(),
                weight: number(&one["load_balancing_weight"]).unwrap_or(1),
                locality_weight: number(&group["load_balancing_weight"]),
                trouble: None,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn networks_are_a_list_in_either_form() {
        assert!(networks(&json!(null)).is_empty() && networks(&json!("")).is_empty());
        assert_eq!(networks(&json!("network-1, network-2")), ["network-1", "network-2"]);
        assert_eq!(networks(&json!(["network-1", "network-2"])), ["network-1", "network-2"]);
    }

    #[test]
    fn a_dump_of_something_else_is_refused() {
        assert_eq!(ProxyState::parse(&json!({"a": 1})), Err(DumpError::NoConfigs));
        assert_eq!(ProxyState::parse(&json!({"configs": []})), Err(DumpError::NoClusters));
    }

    #[test]
    fn endpoints_come_from_the_cluster_or_from_their_own_stream_and_what_is_in_use_counts() {
        let load = |address: &str, priority: u32| {
            json!({"endpoints": [{"locality": {"region": "us-west", "zone": "tier0-us-east"}, "priority": priority,
                "load_balancing_weight": 30, "lb_endpoints": [{"load_balancing_weight": 30,
                "endpoint": {"address": {"socket_address": {"address": address, "port_value": 15443}}}}]}]})
        };
        let cluster = |name: &str, load: Value| json!({"cluster": {"name": name, "load_assignment": load}});
        let mut eds = load("10.0.0.2", 0);
        eds["cluster_name"] = "outbound|80||b.global".into();
        let dump = json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {
                "id": "sidecar~1", "metadata": {"CLUSTER_ID": "east", "NAMESPACE": "orders"},
                "locality": {"region": "us-west", "zone": "us-west-2a"}}}},
            {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
             "dynamic_warming_clusters": [cluster("outbound|80||a.global", load("192.0.2.9", 0))],
             "dynamic_active_clusters": [
                cluster("outbound|80||a.global", load("192.0.2.1", 1)),
                cluster("outbound|80|v1|a.global", load("192.0.2.7", 0)),
                cluster("BlackHoleCluster", json!(null)),
                json!({"cluster": {"name": "outbound|80||b.global", "outlier_detection": {},
                    "eds_cluster_config": {"service_name": "outbound|80||b.global"}}}),
             ]},
            {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
             "dynamic_endpoint_configs": [{"endpoint_config": eds}]},
        ]});
        let mut proxy = ProxyState::parse(&dump).unwrap();
        assert_eq!((proxy.cluster.as_deref(), proxy.namespace.as_deref()), (Some("east"), Some("orders")));
        assert_eq!(proxy.locality.as_deref(), Some("us-west/us-west-2a"));
        let of = |host: &str| (host.to_owned(), 80);
        assert_eq!(proxy.upstreams.keys().cloned().collect::<Vec<_>>(), [of("a.global"), of("b.global")]);
        let first = &proxy.upstreams[&of("a.global")];
        assert!(!first.warming && !first.outlier_detection);
        let endpoint = &first.endpoints[0];
        assert_eq!((endpoint.address.as_str(), endpoint.port, endpoint.priority), ("192.0.2.1", 15443, 1));
        assert_eq!((endpoint.locality.as_str(), endpoint.weight), ("us-west/tier0-us-east", 30));
        let second = &proxy.upstreams[&of("b.global")];
        assert!(second.outlier_detection && second.endpoints[0].address == "10.0.0.2");

        let socket = |address: &str| json!({"socket_address": {"address": address, "port_value": 15443}});
        proxy.add_health(&json!({"cluster_statuses": [
            {"name": "outbound|80||a.global", "host_statuses": []},
            {"name": "outbound|80||b.global", "host_statuses": [
                {"address": socket("10.0.0.2"), "health_status": {"failed_outlier_check": true}}]},
        ]}));
        let trouble = |host: &str| proxy.upstreams[&of(host)].endpoints[0].trouble.unwrap();
        assert_eq!(trouble("a.global"), "its name does not resolve");
        assert_eq!(trouble("b.global"), "it is taken out by outlier detection");
    }
}
