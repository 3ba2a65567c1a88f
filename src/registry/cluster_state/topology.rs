//! Where a cluster is, how others reach it and what its own names end with: its nodes, its gateway Services and the
//! annotations of its Istio namespace.
//!
//! Decides the region, zone, gateway address and domain that count; never what that means for a service.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::gateways::{Apps, GatewayServices};
use crate::{
    config::Settings,
    istio::keys,
    model::{GatewayAddress, Labels, LocalService, Locality, Node, ObjectId, cluster_domain},
    plan::input::Observation,
};

/// Annotation of the Istio namespace: the cluster's DNS domain.
const CLUSTER_DOMAIN: &str = "tradewind.io/cluster-domain";
/// Annotation of the Istio namespace: the label `app` of the cluster's gateway Service.
const GATEWAY_APP: &str = "tradewind.io/gateway-app";
/// Annotation of the Istio namespace: the trust domain of the cluster's certificates.
const TRUST_DOMAIN: &str = "tradewind.io/trust-domain";

/// Whether labels and annotations of a Namespace say something about its cluster.
pub(in crate::registry) fn has_cluster_metadata(metadata: &Labels) -> bool {
    let keys = [keys::NETWORK, keys::CONTROL_PLANE_CLUSTERS, CLUSTER_DOMAIN, GATEWAY_APP, TRUST_DOMAIN];
    keys.iter().any(|key| metadata.get(*key).is_some_and(|value| !value.trim().is_empty()))
}

/// The topology of one cluster.
#[derive(Debug)]
pub(in crate::registry) struct ClusterTopology {
    nodes: HashMap<Arc<str>, Option<Locality>>,
    /// Number of nodes at each locality.
    localities: BTreeMap<Option<Locality>, usize>,
    gateways: GatewayServices,
    /// Labels `app` of its gateways.
    apps: Apps,
    /// Whether it is reached through the other gateway, where that has an address.
    prefers_nlb: bool,
    /// What its own names end with; none while nothing but the setting says it.
    domain: Option<Arc<str>>,
    /// The domain of the local endpoints that were written before the restart.
    last_known_domain: Option<Arc<str>>,
    /// The trust domain of its certificates; none while nothing but the setting says it.
    trust_domain: Option<Arc<str>>,
    /// The clusters whose istiods serve it, sorted; empty where its own does.
    control_planes: Vec<Arc<str>>,
    network: Option<Arc<str>>,
    last_known_network: Option<Arc<str>>,
    /// Whether pods of the same network are reached directly, so that its network decides what its clients see.
    direct: bool,
    /// What is wrong with what its Istio namespace says about it, in words.
    problems: Vec<String>,
    app_of_settings: Arc<str>,
    nlb_app: Arc<str>,
    domain_of_settings: Arc<str>,
    trust_domain_of_settings: Arc<str>,
}

/// What changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::registry) struct TopologyChange {
    /// How the endpoints of the cluster look: gateway address, locality or domain.
    pub(in crate::registry) endpoints: bool,
    /// What its own names, or those of its certificates, end with.
    pub(in crate::registry) domain: bool,
    /// How its clients reach endpoints and choose among them: the regions, and the network where that decides.
    pub(in crate::registry) clients: bool,
    /// Its network.
    pub(in crate::registry) network: bool,
    /// Whose istiods serve it.
    pub(in crate::registry) control_planes: bool,
    /// Something of which a note may speak.
    pub(in crate::registry) any: bool,
}

/// What others see of a topology.
#[derive(Debug)]
struct TopologyView {
    gateway: Option<GatewayAddress>,
    network: Option<Arc<str>>,
    locality: Option<Locality>,
    regions: Vec<Arc<str>>,
    domain: Arc<str>,
    trust_domain: Option<Arc<str>>,
    control_planes: Vec<Arc<str>>,
}

impl TopologyView {
    /// Compares it with a later one. `direct`: pods of the same network are reached directly.
    fn change_to(&self, now: &Self, direct: bool) -> TopologyChange {
        let domain = self.domain != now.domain || self.trust_domain != now.trust_domain;
        let network = self.network != now.network;
        let gateway = self.gateway != now.gateway;
        TopologyChange {
            endpoints: gateway || network || domain || self.locality != now.locality,
            domain,
            clients: self.regions != now.regions || direct && network,
            network,
            control_planes: self.control_planes != now.control_planes,
            any: true,
        }
    }
}

impl std::ops::BitOrAssign for TopologyChange {
    fn bitor_assign(&mut self, other: Self) {
        self.endpoints |= other.endpoints;
        self.domain |= other.domain;
        self.clients |= other.clients;
        self.network |= other.network;
        self.control_planes |= other.control_planes;
        self.any |= other.any;
    }
}

impl ClusterTopology {
    pub(in crate::registry) fn new(settings: &Settings) -> Self {
        let app: Arc<str> = settings.gateway_app.as_str().into();
        Self {
            nodes: HashMap::new(),
            localities: BTreeMap::new(),
            gateways: GatewayServices::default(),
            apps: vec![app.clone()],
            prefers_nlb: false,
            domain: None,
            last_known_domain: None,
            trust_domain: None,
            control_planes: Vec::new(),
            network: None,
            last_known_network: None,
            direct: settings.direct_endpoints,
            problems: Vec::new(),
            app_of_settings: app,
            nlb_app: settings.nlb_ingress_label.as_str().into(),
            domain_of_settings: settings.cluster_domain.as_str().into(),
            trust_domain_of_settings: settings.trust_domain.as_str().into(),
        }
    }

    /// Changes it; answers which fields that others see are different then.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> TopologyChange {
        let before = self.view();
        change(self);
        before.change_to(&self.view(), self.direct)
    }

    fn view(&self) -> TopologyView {
        TopologyView {
            gateway: self.gateway(),
            network: self.network.clone(),
            locality: self.locality(),
            regions: self.regions(),
            domain: self.domain(true),
            trust_domain: self.trust_domain(),
            control_planes: self.control_planes.clone(),
        }
    }

    // ---- what the Istio namespace says about the cluster ----

    /// The annotations and the network of the Istio namespace came, changed or went.
    pub(in crate::registry) fn put_cluster_metadata(&mut self, metadata: &Labels) -> TopologyChange {
        let filled = |key: &str| metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let app = filled(GATEWAY_APP).map_or_else(|| self.app_of_settings.clone(), Into::into);
        let mut problems = Vec::new();
        let mut domain_of = |key: &str, instead: &str| match filled(key).map(cluster_domain) {
            None => None,
            Some(Ok(domain)) => Some(domain),
            Some(Err(error)) => {
                problems.push(format!("the annotation {key} {error}; {instead} counts instead"));
                None
            }
        };
        let domain = domain_of(CLUSTER_DOMAIN, &self.domain_of_settings);
        let trust_domain = domain_of(TRUST_DOMAIN, &self.trust_domain_of_settings);
        let network = filled(keys::NETWORK).map(Into::into);
        let planes = filled(keys::CONTROL_PLANE_CLUSTERS).unwrap_or_default().split(',').map(str::trim);
        let mut planes: Vec<Arc<str>> = planes.filter(|name| !name.is_empty()).map(Into::into).collect();
        planes.sort();
        planes.dedup();
        self.change(|topology| {
            (topology.domain, topology.trust_domain, topology.network) = (domain, trust_domain, network);
            topology.problems = problems;
            topology.control_planes = planes;
            topology.apps.pop();
            topology.apps.push(app);
        })
    }

    /// Whether the cluster is reached through the other gateway, where that has an address.
    pub(in crate::registry) fn prefer_nlb(&mut self, prefers: bool) -> TopologyChange {
        if self.prefers_nlb == prefers {
            return TopologyChange::default();
        }
        self.change(|topology| {
            topology.prefers_nlb = prefers;
            let own = topology.apps.pop();
            topology.apps = prefers.then(|| topology.nlb_app.clone()).into_iter().chain(own).collect();
        })
    }

    /// What the cluster's own names end with. While its Namespaces are not known, what was written before counts.
    pub(in crate::registry) fn domain(&self, is_known: bool) -> Arc<str> {
        let recalled = || self.last_known_domain.clone().filter(|_| !is_known);
        self.domain.clone().or_else(recalled).unwrap_or_else(|| self.domain_of_settings.clone())
    }

    /// The domain of the local endpoints that were written before the restart.
    pub(in crate::registry) fn restore_domain(&mut self, domain: Arc<str>) {
        self.last_known_domain.get_or_insert(domain);
    }

    /// The trust domain of its certificates; none while nothing but the setting says it.
    pub(in crate::registry) fn trust_domain(&self) -> Option<Arc<str>> {
        self.trust_domain.clone()
    }

    /// The clusters that it names as those whose istiods serve it, sorted; empty where its own does.
    pub(in crate::registry) fn control_planes(&self) -> &[Arc<str>] {
        &self.control_planes
    }

    /// The network that it is in. While its Namespaces are not known, what was written before counts.
    pub(in crate::registry) fn network(&self, is_known: bool) -> Observation<Arc<str>> {
        Observation::merge(self.network.clone(), !is_known, || self.last_known_network.clone())
    }

    /// The network of the endpoints at its gateway that were written before the restart.
    pub(in crate::registry) fn restore_network(&mut self, network: Arc<str>) {
        self.last_known_network.get_or_insert(network);
    }

    /// What is wrong with what its Istio namespace says about it, in words.
    pub(in crate::registry) fn problems(&self) -> &[String] {
        &self.problems
    }

    // ---- gateways ----

    /// A Service came or changed. Answers nothing for one that may be and could be no gateway.
    pub(in crate::registry) fn put_service(&mut self, service: &LocalService) -> TopologyChange {
        if self.gateways.holds(service) {
            return TopologyChange::default();
        }
        self.change(|topology| topology.gateways.put(service, &topology.apps))
    }

    pub(in crate::registry) fn remove_service(&mut self, id: &ObjectId) -> TopologyChange {
        if !self.gateways.has(id) {
            return TopologyChange::default();
        }
        self.change(|topology| topology.gateways.remove(id, &topology.apps))
    }

    /// Where other clusters reach this one.
    pub(in crate::registry) fn gateway(&self) -> Option<GatewayAddress> {
        self.gateways.address(&self.apps).cloned()
    }

    /// As [`ClusterTopology::gateway`], while it is not known which label this cluster's gateways have: the address by which others
    /// reached it stays where a Service still has it.
    pub(in crate::registry) fn gateway_like(&self, written: Option<&GatewayAddress>) -> Option<GatewayAddress> {
        written.filter(|address| self.gateways.has_address(address)).cloned().or_else(|| self.gateway())
    }

    /// The address by which others reached the cluster before the restart; counts as the last one known.
    pub(in crate::registry) fn restore_gateway(&mut self, address: GatewayAddress) {
        self.gateways.restore(address);
    }

    /// What is questionable about one gateway Service.
    pub(in crate::registry) fn gateway_problems_of(&self, id: &ObjectId) -> &[String] {
        self.gateways.problems_of(id)
    }

    /// The gateway Service without an address, while no gateway has one; and whether that is because it lacks the port.
    pub(in crate::registry) fn gateway_without_address(&self) -> Option<(ObjectId, bool)> {
        self.gateways.without_address(&self.apps)
    }

    /// What is questionable about the gateway Service whose address is used.
    pub(in crate::registry) fn gateway_problems(&self) -> Option<(ObjectId, &[String])> {
        self.gateways.problems(&self.apps)
    }

    /// The label `app` of its gateway.
    pub(in crate::registry) fn gateway_app(&self) -> &str {
        self.apps.last().map_or("", |app| app)
    }

    // ---- nodes ----

    pub(in crate::registry) fn put_node(&mut self, node: Node) -> TopologyChange {
        if self.nodes.get(&node.id.name) == Some(&node.locality) {
            return TopologyChange::default();
        }
        self.change(|topology| topology.set_node(node.id.name, Some(node.locality)))
    }

    pub(in crate::registry) fn remove_node(&mut self, id: &ObjectId) -> TopologyChange {
        if !self.nodes.contains_key(&id.name) {
            return TopologyChange::default();
        }
        self.change(|topology| topology.set_node(id.name.clone(), None))
    }

    fn set_node(&mut self, name: Arc<str>, now: Option<Option<Locality>>) {
        let before = match now.clone() {
            Some(locality) => self.nodes.insert(name, locality),
            None => self.nodes.remove(&name),
        };
        if let Some(locality) = now {
            *self.localities.entry(locality).or_default() += 1;
        }
        if let Some(locality) = before
            && let Some(count) = self.localities.get_mut(&locality)
        {
            *count -= 1;
            if *count == 0 {
                self.localities.remove(&locality);
            }
        }
    }

    pub(in crate::registry) fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    pub(in crate::registry) fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Whether some node has a region.
    pub(in crate::registry) fn has_regions(&self) -> bool {
        self.localities.keys().any(Option::is_some)
    }

    /// Whether some node is in a region.
    pub(in crate::registry) fn is_in(&self, region: &str) -> bool {
        self.localities.keys().flatten().any(|locality| *locality.region == *region)
    }

    /// Regions of the nodes, the most frequent first, then by name.
    pub(in crate::registry) fn regions(&self) -> Vec<Arc<str>> {
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for (locality, count) in &self.localities {
            if let Some(locality) = locality {
                *counts.entry(&locality.region).or_default() += count;
            }
        }
        let mut regions: Vec<_> = counts.into_iter().collect();
        regions.sort_by(|(a, many), (b, few)| few.cmp(many).then(a.cmp(b)));
        regions.into_iter().map(|(region, _)| region.clone()).collect()
    }

    /// Locality of the cluster's endpoints: the most frequent region, with the zone where all nodes agree.
    pub(in crate::registry) fn locality(&self) -> Option<Locality> {
        let region = self.regions().into_iter().next()?;
        // Zones of two regions may share a name and are two zones all the same.
        let mut localities = self.localities.keys();
        let agreed = localities.next().filter(|_| localities.next().is_none()).cloned().flatten();
        Some(Locality { region, zone: agreed.and_then(|locality| locality.zone) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Addressing, GatewayService, Kind};

    fn topology() -> ClusterTopology {
        ClusterTopology::new(&Settings::default())
    }

    fn node(name: &str, locality: Option<Locality>) -> Node {
        Node { id: ObjectId::new(Kind::Node, "", name), locality }
    }

    fn gateway(name: &str, created_seconds: i64, address: Option<&str>) -> LocalService {
        LocalService {
            id: ObjectId::new(Kind::Service, "istio-system", name),
            created_seconds,
            ignored: false,
            selector: BTreeMap::new(),
            external_name: false,
            addressing: Addressing::default(),
            ports: Vec::new(),
            gateway: Some(GatewayService {
                app: "istio-ingressgateway".into(),
                address: address.map(|address| GatewayAddress { address: address.into(), port: 15443 }),
                ..GatewayService::default()
            }),
        }
    }

    fn address(topology: &ClusterTopology) -> Option<String> {
        topology.gateway().map(|gateway| gateway.address.to_string())
    }

    #[test]
    fn regions_are_counted_and_zones_must_agree() {
        let mut topology = topology();
        assert!(topology.put_node(node("a", Some(Locality::zone("west", "w1")))).clients);
        assert_eq!(topology.locality(), Some(Locality::zone("west", "w1")));
        let second = topology.put_node(node("b", Some(Locality::zone("west", "w2"))));
        assert!(second.endpoints && !second.clients, "the zone goes, the region stays");
        assert_eq!(topology.locality(), Some(Locality::region("west")));
        topology.put_node(node("c", Some(Locality::region("east"))));
        assert_eq!(topology.regions(), ["west".into(), "east".into()]);
        assert!(!topology.put_node(node("d", None)).endpoints, "a node without region changes nothing");
        assert_eq!(topology.put_node(node("d", None)), TopologyChange::default());
    }

    #[test]
    fn zones_of_two_regions_never_agree() {
        let mut topology = topology();
        topology.put_node(node("a", Some(Locality::zone("west", "a"))));
        topology.put_node(node("b", Some(Locality::zone("east", "a"))));
        assert_eq!(topology.locality(), Some(Locality::region("east")));
    }

    #[test]
    fn the_newest_gateway_with_an_address_counts() {
        let mut topology = topology();
        assert!(topology.put_service(&gateway("old", 1, Some("192.0.2.1"))).endpoints);
        assert!(!topology.put_service(&gateway("newest", 3, None)).endpoints);
        topology.put_service(&gateway("newer", 2, Some("192.0.2.2")));
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.2"));
        assert_eq!(topology.gateway_without_address(), None);
        let ignored = LocalService { ignored: true, ..gateway("newer", 2, Some("192.0.2.2")) };
        assert!(topology.put_service(&ignored).endpoints);
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn an_address_outlives_its_loss_but_not_its_gateway() {
        let mut topology = topology();
        topology.put_service(&gateway("one", 1, Some("192.0.2.1")));
        let lost = topology.put_service(&gateway("one", 1, None));
        assert!(!lost.endpoints && lost.any, "nothing moves, but a note is due");
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.1"));
        assert!(topology.gateway_without_address().is_some());
        assert!(topology.remove_service(&ObjectId::new(Kind::Service, "istio-system", "one")).endpoints);
        topology.put_service(&gateway("two", 2, None));
        assert_eq!(address(&topology), None);
    }

    #[test]
    fn an_address_ends_with_the_port_that_leads_to_it() {
        let mut topology = topology();
        topology.put_service(&gateway("one", 1, Some("192.0.2.1")));
        let mut without_port = gateway("one", 1, None);
        without_port.gateway.as_mut().expect("it is one").lacks_port = true;
        assert!(topology.put_service(&without_port).endpoints, "nobody answers there any more");
        assert_eq!(address(&topology), None);
        topology.restore_gateway(GatewayAddress { address: "192.0.2.1".into(), port: 15443 });
        assert_eq!(address(&topology), None, "nor was it lost for a moment only");
        assert!(topology.gateway_without_address().is_some_and(|(_, lacks_port)| lacks_port));
        topology.put_service(&gateway("two", 1, None));
        assert!(topology.gateway_without_address().is_some_and(|(id, lacks_port)| !lacks_port && &*id.name == "two"));
    }

    fn labelled(app: &str, service: LocalService) -> LocalService {
        let gateway = service.gateway.map(|gateway| GatewayService { app: app.into(), ..gateway });
        LocalService { gateway, ..service }
    }

    fn metadata(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_annotation_names_the_gateway_in_any_order() {
        let services = || {
            let own = labelled("eastwest", gateway("own", 1, Some("192.0.2.7")));
            [own, gateway("common", 2, Some("192.0.2.1"))]
        };
        let named = metadata(&[(GATEWAY_APP, "eastwest")]);
        let mut late = topology();
        for service in &services() {
            late.put_service(service);
        }
        assert_eq!(address(&late).as_deref(), Some("192.0.2.1"));
        assert!(late.put_cluster_metadata(&named).endpoints);
        let mut early = topology();
        early.put_cluster_metadata(&named);
        for service in &services() {
            early.put_service(service);
        }
        for topology in [&mut early, &mut late] {
            assert_eq!(address(topology).as_deref(), Some("192.0.2.7"));
            assert!(!topology.remove_service(&ObjectId::new(Kind::Service, "istio-system", "common")).endpoints);
            assert!(topology.put_service(&labelled("other", gateway("own", 1, Some("192.0.2.7")))).endpoints);
            assert_eq!((address(topology), topology.gateway_without_address()), (None, None));
        }
    }

    #[test]
    fn the_preferred_gateway_counts_while_it_has_an_address() {
        let mut topology = topology();
        let nlb = |address| labelled("istio-ingressgateway-nlb", gateway("nlb", 9, address));
        topology.put_service(&gateway("common", 1, Some("192.0.2.1")));
        assert!(!topology.put_service(&nlb(Some("192.0.2.9"))).endpoints, "the cluster is not in the list");
        assert!(topology.prefer_nlb(true).endpoints);
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.9"));
        assert_eq!(topology.prefer_nlb(true), TopologyChange::default());
        assert!(topology.put_service(&nlb(None)).endpoints);
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.1"));
        assert_eq!(topology.gateway_without_address(), None);
        topology.put_service(&nlb(Some("192.0.2.9")));
        assert!(topology.prefer_nlb(false).endpoints);
        assert_eq!(address(&topology).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn the_domain_is_the_annotation_then_what_was_written_then_the_setting() {
        let mut topology = topology();
        assert_eq!(&*topology.domain(true), "cluster.local");
        topology.restore_domain("west.example".into());
        assert_eq!((&*topology.domain(false), &*topology.domain(true)), ("west.example", "cluster.local"));
        assert!(topology.put_cluster_metadata(&metadata(&[(CLUSTER_DOMAIN, " East.example. ")])).endpoints);
        assert_eq!((&*topology.domain(false), &*topology.domain(true)), ("east.example", "east.example"));
        assert!(topology.put_cluster_metadata(&metadata(&[(CLUSTER_DOMAIN, "east_example")])).endpoints);
        assert_eq!((&*topology.domain(true), topology.problems().len()), ("cluster.local", 1));
        topology.put_cluster_metadata(&Labels::new());
        assert!(topology.problems().is_empty());
    }

    #[test]
    fn the_network_is_the_label_then_what_was_written_while_that_cannot_be_read() {
        let mut topology = topology();
        assert_eq!(topology.network(true), Observation::Unknown);
        topology.restore_network("network-9".into());
        assert_eq!(
            (topology.network(false), topology.network(true)),
            (Observation::LastKnown("network-9".into()), Observation::Unknown)
        );
        assert!(topology.put_cluster_metadata(&metadata(&[(keys::NETWORK, "network-1")])).endpoints);
        assert_eq!(topology.network(false), Observation::Fresh("network-1".into()));
        assert!(topology.put_cluster_metadata(&Labels::new()).endpoints);
        assert_eq!(topology.network(true), Observation::Unknown);
    }
}
