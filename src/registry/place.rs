//! Where a cluster stands and how others reach it: its nodes and its gateway Services.
//!
//! Decides the region, zone and gateway address that count; never what that means for a service.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::model::{GatewayAddress, Kind, LocalService, Locality, Node, ObjectId};

/// A gateway Service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gateway {
    created_seconds: i64,
    address: Option<GatewayAddress>,
}

/// The place of one cluster.
#[derive(Debug, Default)]
pub(super) struct Place {
    nodes: HashMap<Arc<str>, Option<Locality>>,
    /// By namespace and name.
    gateways: BTreeMap<(Arc<str>, Arc<str>), Gateway>,
    /// The address that counted last, kept while a gateway Service stands without one.
    last_gateway: Option<GatewayAddress>,
}

/// What changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// How the endpoints of the cluster look from elsewhere: gateway address or locality.
    pub(super) endpoints: bool,
    /// How its clients choose among endpoints: the regions.
    pub(super) clients: bool,
    /// Something of which a note may speak.
    pub(super) any: bool,
}

impl std::ops::BitOrAssign for Moved {
    fn bitor_assign(&mut self, other: Self) {
        self.endpoints |= other.endpoints;
        self.clients |= other.clients;
        self.any |= other.any;
    }
}

impl Place {
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> Moved {
        let seen = |place: &Self| (place.gateway(), place.locality(), place.regions());
        let before = seen(self);
        change(self);
        let after = seen(self);
        Moved { endpoints: (&before.0, &before.1) != (&after.0, &after.1), clients: before.2 != after.2, any: true }
    }

    // ---- gateways ----

    /// A Service came or changed. Answers nothing for one that is and was no gateway.
    pub(super) fn put_service(&mut self, service: &LocalService) -> Moved {
        let at = (service.id.namespace.clone(), service.id.name.clone());
        match &service.gateway {
            Some(address) if !service.ignored => {
                let gateway = Gateway { created_seconds: service.created_seconds, address: address.clone() };
                if self.gateways.get(&at) == Some(&gateway) {
                    return Moved::default();
                }
                self.change(|place| {
                    place.gateways.insert(at, gateway);
                    place.remember();
                })
            }
            _ => self.remove_service(&service.id),
        }
    }

    pub(super) fn remove_service(&mut self, id: &ObjectId) -> Moved {
        let at = (id.namespace.clone(), id.name.clone());
        if !self.gateways.contains_key(&at) {
            return Moved::default();
        }
        self.change(|place| {
            place.gateways.remove(&at);
            place.remember();
        })
    }

    fn newest(&self) -> Option<&GatewayAddress> {
        let with_address =
            self.gateways.iter().filter_map(|(at, g)| Some((g.created_seconds, at, g.address.as_ref()?)));
        with_address.max_by_key(|(created, at, _)| (*created, *at)).map(|(_, _, address)| address)
    }

    fn remember(&mut self) {
        if self.gateways.is_empty() {
            // Deleted, not between two addresses: a gateway that comes later is another one.
            self.last_gateway = None;
        } else if let Some(address) = self.newest().cloned() {
            self.last_gateway = Some(address);
        }
    }

    /// Where other clusters reach this one (reference behaviour §4): the newest gateway Service with an address, else the
    /// address that counted last while a gateway Service stands without one.
    pub(super) fn gateway(&self) -> Option<GatewayAddress> {
        self.newest().or_else(|| self.last_gateway.as_ref().filter(|_| !self.gateways.is_empty())).cloned()
    }

    /// The address by which others reached the cluster before the restart; counts as the last one known.
    pub(super) fn recall_gateway(&mut self, address: GatewayAddress) {
        self.last_gateway.get_or_insert(address);
    }

    /// The gateway Service that stands without an address while no other has one.
    pub(super) fn gateway_without_address(&self) -> Option<ObjectId> {
        let ((namespace, name), _) = self.gateways.first_key_value()?;
        let none_has_one = self.gateways.values().all(|gateway| gateway.address.is_none());
        none_has_one.then(|| ObjectId::new(Kind::Service, namespace, name))
    }

    // ---- nodes ----

    pub(super) fn put_node(&mut self, node: Node) -> Moved {
        if self.nodes.get(&node.id.name) == Some(&node.locality) {
            return Moved::default();
        }
        self.change(|place| {
            place.nodes.insert(node.id.name, node.locality);
        })
    }

    pub(super) fn remove_node(&mut self, id: &ObjectId) -> Moved {
        if !self.nodes.contains_key(&id.name) {
            return Moved::default();
        }
        self.change(|place| {
            place.nodes.remove(&id.name);
        })
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    pub(super) fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Regions of the nodes, the most frequent first, then by name.
    pub(super) fn regions(&self) -> Vec<Arc<str>> {
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for locality in self.nodes.values().flatten() {
            *counts.entry(&locality.region).or_default() += 1;
        }
        let mut regions: Vec<_> = counts.into_iter().collect();
        regions.sort_by(|(a, many), (b, few)| few.cmp(many).then(a.cmp(b)));
        regions.into_iter().map(|(region, _)| region.clone()).collect()
    }

    /// Locality of the cluster's endpoints: the most frequent region, with the zone where all nodes agree.
    pub(super) fn locality(&self) -> Option<Locality> {
        let region = self.regions().into_iter().next()?;
        let mut nodes = self.nodes.values();
        let first = nodes.next()?.clone();
        // Zones of two regions may share a name and are two zones all the same.
        let agreed = first.filter(|first| nodes.all(|other| other.as_ref() == Some(first)));
        Some(Locality { region, zone: agreed.and_then(|locality| locality.zone) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ports: Vec::new(),
            gateway: Some(address.map(|address| GatewayAddress { address: address.into(), port: 15443 })),
        }
    }

    fn address(place: &Place) -> Option<String> {
        place.gateway().map(|gateway| gateway.address.to_string())
    }

    #[test]
    fn regions_are_counted_and_zones_must_agree() {
        let mut place = Place::default();
        assert!(place.put_node(node("a", Some(Locality::zone("west", "w1")))).clients);
        assert_eq!(place.locality(), Some(Locality::zone("west", "w1")));
        let second = place.put_node(node("b", Some(Locality::zone("west", "w2"))));
        assert!(second.endpoints && !second.clients, "the zone goes, the region stays");
        assert_eq!(place.locality(), Some(Locality::region("west")));
        place.put_node(node("c", Some(Locality::region("east"))));
        assert_eq!(place.regions(), ["west".into(), "east".into()]);
        assert!(!place.put_node(node("d", None)).endpoints, "a node without region changes nothing");
        assert_eq!(place.put_node(node("d", None)), Moved::default());
    }

    #[test]
    fn zones_of_two_regions_never_agree() {
        let mut place = Place::default();
        place.put_node(node("a", Some(Locality::zone("west", "a"))));
        place.put_node(node("b", Some(Locality::zone("east", "a"))));
        assert_eq!(place.locality(), Some(Locality::region("east")));
    }

    #[test]
    fn the_newest_gateway_with_an_address_counts() {
        let mut place = Place::default();
        assert!(place.put_service(&gateway("old", 1, Some("192.0.2.1"))).endpoints);
        assert!(!place.put_service(&gateway("newest", 3, None)).endpoints);
        place.put_service(&gateway("newer", 2, Some("192.0.2.2")));
        assert_eq!(address(&place).as_deref(), Some("192.0.2.2"));
        assert_eq!(place.gateway_without_address(), None);
        let ignored = LocalService { ignored: true, ..gateway("newer", 2, Some("192.0.2.2")) };
        assert!(place.put_service(&ignored).endpoints);
        assert_eq!(address(&place).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn an_address_outlives_its_loss_but_not_its_gateway() {
        let mut place = Place::default();
        place.put_service(&gateway("one", 1, Some("192.0.2.1")));
        let lost = place.put_service(&gateway("one", 1, None));
        assert!(!lost.endpoints && lost.any, "nothing moves, but a note is due");
        assert_eq!(address(&place).as_deref(), Some("192.0.2.1"));
        assert!(place.gateway_without_address().is_some());
        assert!(place.remove_service(&ObjectId::new(Kind::Service, "istio-system", "one")).endpoints);
        place.put_service(&gateway("two", 2, None));
        assert_eq!(address(&place), None);
    }
}
