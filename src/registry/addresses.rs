//! Who holds which host, and which virtual address it has.
//!
//! What has been written is the memory: addresses and holders are learnt from the ServiceEntries
//! of all clusters before anything new is given out. A new address is found by the hash of its
//! host, so that the same fleet gets the same addresses from nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

use ipnet::Ipv4Net;

use super::lost_hosts::{LostHost, LostHosts};
use crate::{
    model::{ClusterName, Host, Identity, Now, ObjectId, ServiceKey},
    plan::input::{Claim, HostReservation},
};

/// What one cluster's ServiceEntry says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EntryRecord {
    service: Option<ServiceKey>,
    address: Option<Ipv4Addr>,
}

/// What a hand-written ServiceEntry says of a host that its owner handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostOffer {
    /// The service that it was written for, once it was taken over.
    pub(super) service: Option<ServiceKey>,
    pub(super) address: Option<Ipv4Addr>,
    /// Whether it was taken over.
    pub(super) adopted: bool,
}

#[derive(Debug, Default)]
struct HostState {
    holder: Option<ServiceKey>,
    waiting: BTreeSet<ServiceKey>,
    entries: BTreeMap<ClusterName, EntryRecord>,
    /// Hand-written entries that were handed over. Their address is the host's before any other.
    offers: BTreeMap<(ClusterName, ObjectId), HostOffer>,
    address: Option<Ipv4Addr>,
}

impl HostState {
    fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let offered = self.offers.values().filter_map(|offer| offer.address);
        self.entries.values().filter_map(|entry| entry.address).chain(offered).chain(self.address).collect()
    }

    /// The services that its objects were written for.
    fn written_for(&self) -> impl Iterator<Item = &ServiceKey> {
        let offered = self.offers.values().filter_map(|offer| offer.service.as_ref());
        self.entries.values().filter_map(|entry| entry.service.as_ref()).chain(offered)
    }

    fn is_written(&self) -> bool {
        !self.entries.is_empty() || !self.offers.is_empty()
    }

    fn is_held_by(&self, key: &ServiceKey) -> bool {
        self.holder.as_ref() == Some(key)
    }
}

/// What a claim brought about.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) claims: Vec<Claim>,
    /// Services that waited for a host that is free now.
    pub(super) freed_for: BTreeSet<ServiceKey>,
    /// Hosts whose written address another host had too, with the address it gave up.
    pub(super) conflicts: Vec<(Host, Ipv4Addr)>,
    /// Hosts for which no address is left.
    pub(super) exhausted: Vec<Host>,
    /// The hosts that the service holds now and did not before, or the other way round.
    pub(super) changed: BTreeSet<Host>,
    /// Services that lost a host for which the service asks, and that now have to remember it, or no longer.
    pub(super) losers: BTreeSet<ServiceKey>,
}

/// A service that asks for hosts.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostClaimant<'a> {
    pub(super) key: &'a ServiceKey,
    /// Its identity without partition.
    pub(super) plain: &'a Identity,
    pub(super) now: Now,
}

/// The hosts and addresses of the whole fleet.
#[derive(Debug)]
pub(super) struct AddressBook {
    /// `None`: Istio allocates.
    range: Option<Ipv4Net>,
    hosts: HashMap<Host, HostState>,
    taken: HashMap<Ipv4Addr, Host>,
    claims: HashMap<ServiceKey, Vec<Host>>,
    /// Addresses of hosts that are gone, the longest gone first: given out again only when no fresh one is left, because
    /// clients may still have them in a DNS cache. A host that comes back gets its own again.
    resting: VecDeque<(Ipv4Addr, Host)>,
    /// Admiral's ConfigMap: object name to address.
    reference: HashMap<String, Ipv4Addr>,
    /// The hosts that wait for the service that lost them.
    lost: LostHosts,
}

impl AddressBook {
    /// `rest`: how long a host waits for the service that lost it.
    pub(super) fn new(range: Option<Ipv4Net>, rest: Duration) -> Self {
        Self {
            range,
            hosts: HashMap::new(),
            taken: HashMap::new(),
            claims: HashMap::new(),
            resting: VecDeque::new(),
            reference: HashMap::new(),
            lost: LostHosts::new(rest),
        }
    }

    /// Honours Admiral's address ConfigMap (Admiral, docs/admiral-behaviour.md#address-configmap): ServiceEntry name
    /// to address.
    pub(super) fn honour_admiral(&mut self, entries: impl IntoIterator<Item = (String, Ipv4Addr)>) {
        self.reference = entries.into_iter().collect();
        let reserved: Vec<_> = self.reference.iter().map(|(name, address)| (name.clone(), *address)).collect();
        for (name, address) in reserved {
            if let Some(host) = name.strip_suffix("-se").and_then(|host| Host::parse(host).ok()) {
                self.taken.entry(address).or_insert(host);
            }
        }
    }

    /// Records a managed ServiceEntry in `cluster`.
    pub(super) fn record_entry(
        &mut self,
        cluster: &ClusterName,
        host: Host,
        service: Option<ServiceKey>,
        address: Option<Ipv4Addr>,
    ) {
        self.take(&host, address);
        self.change(&host, |state| {
            state.entries.insert(cluster.clone(), EntryRecord { service, address });
        });
    }

    /// Records a hand-written ServiceEntry in `cluster` that its owner handed over.
    pub(super) fn record_offer(&mut self, cluster: &ClusterName, id: &ObjectId, host: Host, offer: HostOffer) {
        self.take(&host, offer.address);
        self.change(&host, |state| {
            state.offers.insert((cluster.clone(), id.clone()), offer);
        });
        self.resettle(&host);
    }

    /// Removes one that is gone, or that its owner no longer hands over.
    pub(super) fn remove_offer(&mut self, cluster: &ClusterName, id: &ObjectId, host: &Host) {
        if self.hosts.contains_key(host) {
            self.change(host, |state| {
                state.offers.remove(&(cluster.clone(), id.clone()));
            });
            self.forget_if_gone(host);
        }
    }

    fn take(&mut self, host: &Host, address: Option<Ipv4Addr>) {
        if let Some(address) = address {
            // Of two hosts with one address the first by name keeps it, whatever order they are read in,
            // unless one of them is in use already.
            let holder = self.taken.entry(address).or_insert_with(|| host.clone());
            let settled = self.hosts.get(holder).is_some_and(|state| state.address == Some(address));
            if *host < *holder && !settled {
                *holder = host.clone();
            }
        }
    }

    /// Changes what is known of a host, and lets go of the addresses that it had and no longer has.
    fn change(&mut self, host: &Host, change: impl FnOnce(&mut HostState)) {
        let state = self.hosts.entry(host.clone()).or_default();
        let before = state.addresses();
        change(state);
        let after = state.addresses();
        for address in before.difference(&after) {
            self.release(host, *address);
        }
    }

    fn release(&mut self, host: &Host, address: Ipv4Addr) {
        if self.taken.get(&address) == Some(host) && !self.reference.contains_key(&host.service_entry_name()) {
            self.taken.remove(&address);
            if self.range.is_some_and(|range| range.contains(&address)) {
                self.resting.push_back((address, host.clone()));
            }
        }
    }

    /// Removes the ServiceEntry of `host` in `cluster`.
    pub(super) fn remove_entry(&mut self, cluster: &ClusterName, host: &Host) {
        if self.hosts.contains_key(host) {
            self.change(host, |state| {
                state.entries.remove(cluster);
            });
            self.forget_if_gone(host);
        }
    }

    /// Removes all ServiceEntries of a cluster that left the fleet.
    pub(super) fn forget_cluster(&mut self, cluster: &ClusterName) {
        let hosts: Vec<Host> = self
            .hosts
            .iter()
            .filter(|(_, state)| {
                state.entries.contains_key(cluster) || state.offers.keys().any(|(of, _)| of == cluster)
            })
            .map(|(host, _)| host.clone())
            .collect();
        for host in hosts {
            self.change(&host, |state| state.offers.retain(|(of, _), _| of != cluster));
            self.remove_entry(cluster, &host);
        }
    }

    fn forget_if_gone(&mut self, host: &Host) {
        let gone = self
            .hosts
            .get(host)
            .is_some_and(|state| state.holder.is_none() && !state.is_written() && state.waiting.is_empty());
        if !gone {
            return;
        }
        let addresses = self.hosts.remove(host).map(|state| state.addresses()).unwrap_or_default();
        for address in addresses {
            self.release(host, address);
        }
    }

    /// A cluster remembers that a service lost a host.
    pub(super) fn recall_lost(&mut self, host: Host, by: &ServiceKey, since: Now) {
        if self.hosts.get(&host).is_none_or(|state| state.holder.is_none()) {
            self.lost.recall(host, by, since);
        }
    }

    /// Makes `hosts` the whole list that a service asks for. `runs` answers whether a service still runs anywhere.
    pub(super) fn claim(
        &mut self,
        claimant: HostClaimant<'_>,
        hosts: &[Host],
        runs: &dyn Fn(&ServiceKey) -> bool,
    ) -> Claimed {
        let HostClaimant { key, now, .. } = claimant;
        let mut outcome = Claimed::default();
        let held_before = self.held_by(key);
        for host in &self.claims.remove(key).unwrap_or_default() {
            if !hosts.contains(host) {
                self.give_up(key, host, now, &mut outcome);
            }
        }
        for host in hosts {
            let claim = self.claim_one(claimant, host, runs, &mut outcome);
            outcome.claims.push(claim);
        }
        outcome.claims.extend(self.reservations(key, hosts, now));
        if !hosts.is_empty() {
            self.claims.insert(key.clone(), hosts.to_vec());
        }
        let (before, now) = (BTreeSet::from_iter(held_before), BTreeSet::from_iter(self.held_by(key)));
        outcome.changed = before.symmetric_difference(&now).cloned().collect();
        outcome
    }

    /// A service asks for a host no more.
    fn give_up(&mut self, key: &ServiceKey, host: &Host, now: Now, outcome: &mut Claimed) {
        if let Some(state) = self.hosts.get_mut(host) {
            if state.is_held_by(key) {
                state.holder = None;
                let lost = LostHost { by: key.clone(), since: now, contested: !state.waiting.is_empty() };
                outcome.freed_for.append(&mut state.waiting);
                self.lost.lose(host.clone(), lost, now);
            }
            if let Some(state) = self.hosts.get_mut(host) {
                state.waiting.remove(key);
            }
        }
        self.forget_if_gone(host);
    }

    fn claim_one(
        &mut self,
        claimant: HostClaimant<'_>,
        host: &Host,
        runs: &dyn Fn(&ServiceKey) -> bool,
        outcome: &mut Claimed,
    ) -> Claim {
        let key = claimant.key;
        let state = self.hosts.entry(host.clone()).or_default();
        let written = || state.written_for().find(|other| *other != key && runs(other)).cloned();
        let holder = state.holder.clone().or_else(written);
        let mut taken_by = holder.clone().filter(|holder| holder != key);
        let mut reserved = None;
        if holder.is_none() {
            reserved = self.reservation(claimant, host, runs);
            taken_by = reserved.as_ref().map(|(by, _)| by.clone());
        }
        let state = self.hosts.entry(host.clone()).or_default();
        if taken_by.is_some() {
            state.waiting.insert(key.clone());
            if reserved.is_some() && self.lost.contest(host) {
                outcome.losers.extend(taken_by.clone());
            }
        } else {
            state.holder = Some(key.clone());
            state.waiting.remove(key);
            if let Some(lost) = self.lost.found(host) {
                // Those that wait are told of the holder, and what kept the host goes.
                outcome.freed_for.extend(state.waiting.iter().cloned());
                outcome.losers.extend(Some(lost.by).filter(|by| by != key));
            }
            self.settle_address(host, outcome);
            let anothers = |address: &Ipv4Addr| self.taken.get(address).is_some_and(|holder| holder != host);
            let written = self.hosts[host].entries.values().filter_map(|entry| entry.address);
            let written: BTreeSet<Ipv4Addr> = written.filter(anothers).collect();
            outcome.conflicts.extend(written.into_iter().map(|address| (host.clone(), address)));
        }
        let address = if taken_by.is_some() { None } else { self.hosts[host].address };
        let reserved = reserved.map(|(_, reservation)| reservation);
        Claim { host: host.clone(), address, taken_by, adopted: BTreeMap::new(), reserved }
    }

    /// For whom a host that nobody holds waits. After a restart, what was written for a service that is gone says who lost it.
    fn reservation(
        &mut self,
        claimant: HostClaimant<'_>,
        host: &Host,
        runs: &dyn Fn(&ServiceKey) -> bool,
    ) -> Option<(ServiceKey, HostReservation)> {
        let HostClaimant { key, plain, now } = claimant;
        if !self.lost.has(host) {
            let state = self.hosts.get(host)?;
            let is_own = state.written_for().any(|other| other == key);
            let by = state.written_for().find(|other| !runs(other)).filter(|_| !is_own).cloned();
            if let Some(by) = by {
                self.lost.lose(host.clone(), LostHost { by, since: now, contested: false }, now);
            }
        }
        let lost = self.lost.waits_for(host, key, plain, now)?;
        let reservation =
            HostReservation { since: lost.since, until: self.lost.until(lost), clusters: BTreeSet::new() };
        Some((lost.by.clone(), reservation))
    }

    /// The hosts that a service lost and that are kept for it, in the clusters that hold objects for them.
    fn reservations(&self, key: &ServiceKey, hosts: &[Host], now: Now) -> Vec<Claim> {
        let lost = self.lost.contested_of(key, now).into_iter().filter(|(host, _)| !hosts.contains(host));
        let claims = lost.map(|(host, lost)| {
            let state = self.hosts.get(&host);
            let entries = state.into_iter().flat_map(|state| &state.entries);
            let own = entries.filter(|(_, entry)| entry.service.as_ref() == Some(key));
            let clusters = own.map(|(cluster, _)| cluster.clone()).collect();
            let address = state
                .and_then(|state| state.address.or_else(|| state.entries.values().find_map(|entry| entry.address)));
            let reservation = HostReservation { since: lost.since, until: self.lost.until(&lost), clusters };
            Claim { host, address, taken_by: None, adopted: BTreeMap::new(), reserved: Some(reservation) }
        });
        claims.collect()
    }

    /// Keeps a host that nobody holds, and that has no objects, for the service whose default host it is.
    pub(super) fn reserve(&mut self, host: &Host, owner: &ServiceKey) {
        let state = self.hosts.entry(host.clone()).or_default();
        if state.holder.is_none() && state.entries.is_empty() && state.written_for().next().is_none() {
            state.holder = Some(owner.clone());
            self.claims.entry(owner.clone()).or_default().push(host.clone());
        }
    }

    /// The address of the entries that were handed over: of those that were taken over already, else of most clusters.
    fn offered_address(&self, host: &Host) -> Option<Ipv4Addr> {
        let mut votes: BTreeMap<Ipv4Addr, (bool, usize)> = BTreeMap::new();
        for offer in self.hosts.get(host)?.offers.values() {
            if let Some(address) = offer.address.filter(|address| self.taken.get(address) == Some(host)) {
                let (adopted, clusters) = votes.entry(address).or_default();
                *adopted |= offer.adopted;
                *clusters += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|(address, votes)| (*votes, std::cmp::Reverse(*address)))
            .map(|(address, _)| address)
    }

    /// What was handed over decides the address of a host that has another one already.
    fn resettle(&mut self, host: &Host) {
        if let Some(address) = self.offered_address(host)
            && self.hosts[host].address.is_some()
        {
            self.change(host, |state| state.address = Some(address));
        }
    }

    fn settle_address(&mut self, host: &Host, outcome: &mut Claimed) {
        let state = &self.hosts[host];
        if state.address.is_some() {
            return;
        }
        let offered = self.offered_address(host);
        let mut votes: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        for address in state.entries.values().filter_map(|entry| entry.address) {
            *votes.entry(address).or_default() += 1;
        }
        let written: Vec<Ipv4Addr> = {
            let mut by_votes: Vec<_> = votes.into_iter().collect();
            by_votes.sort_by_key(|(address, votes)| (std::cmp::Reverse(*votes), *address));
            by_votes.into_iter().map(|(address, _)| address).collect()
        };
        // Where Istio gives addresses, those that clients know already stay.
        let reference = self.reference.get(&host.service_entry_name()).filter(|_| self.range.is_some());
        let remembered = offered.into_iter().chain(written).chain(reference.copied());
        let mut found = None;
        for address in remembered {
            if self.taken.get(&address).is_none_or(|holder| holder == host) {
                found = Some(address);
                break;
            }
        }
        let found = found.or_else(|| self.allocate(self.range?, host));
        match found {
            Some(address) => {
                self.taken.insert(address, host.clone());
                self.resting.retain(|(resting, _)| *resting != address);
            }
            None if self.range.is_some() => outcome.exhausted.push(host.clone()),
            None => {}
        }
        if let Some(state) = self.hosts.get_mut(host) {
            state.address = found;
        }
    }

    fn allocate(&mut self, range: Ipv4Net, host: &Host) -> Option<Ipv4Addr> {
        let own = self.resting.iter().find(|(_, of)| of == host).map(|(address, _)| *address);
        if own.is_some() {
            return own;
        }
        let size = 1_u32 << (32 - u32::from(range.prefix_len()).max(1));
        let first = u32::from(range.network());
        let hash =
            host.as_str().to_ascii_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let start = u32::try_from((hash ^ (hash >> 32)) % u64::from(size)).unwrap_or_default();
        (0..size)
            .map(|step| Ipv4Addr::from(first + (start + step) % size))
            // .0 and .255 look like network and broadcast addresses to people and to some tools.
            .filter(|address| !matches!(address.octets()[3], 0 | 255))
            .find(|address| {
                !self.taken.contains_key(address) && !self.resting.iter().any(|(resting, _)| resting == address)
            })
            .or_else(|| self.resting.pop_front().map(|(address, _)| address))
    }

    /// What [`AddressBook::claim`] answered last for these hosts, without claiming them.
    pub(super) fn peek(&self, claimant: HostClaimant<'_>, hosts: &[Host]) -> Vec<Claim> {
        let HostClaimant { key, plain, now } = claimant;
        let claim = |host: &Host| {
            let state = self.hosts.get(host);
            let holder = state.and_then(|state| state.holder.clone());
            let lost = self.lost.waits_for(host, key, plain, now).filter(|_| holder.is_none());
            let reserved = lost.map(|lost| HostReservation {
                since: lost.since,
                until: self.lost.until(lost),
                clusters: BTreeSet::new(),
            });
            let taken_by = holder.filter(|holder| holder != key).or_else(|| lost.map(|lost| lost.by.clone()));
            let address = state.filter(|_| taken_by.is_none()).and_then(|state| state.address);
            Claim { host: host.clone(), address, taken_by, adopted: BTreeMap::new(), reserved }
        };
        hosts.iter().map(claim).chain(self.reservations(key, hosts, now)).collect()
    }

    /// Number of hosts that some service holds.
    pub(super) fn held_count(&self) -> usize {
        self.hosts.values().filter(|state| state.holder.is_some()).count()
    }

    /// The hosts that a service holds, the default host first.
    pub(super) fn held_by(&self, key: &ServiceKey) -> Vec<Host> {
        let asked = self.claims.get(key).map(Vec::as_slice).unwrap_or_default();
        let holds = |host: &&Host| self.hosts.get(*host).is_some_and(|state| state.is_held_by(key));
        asked.iter().filter(holds).cloned().collect()
    }

    /// The service that holds a host, else the one that its objects were written for; and the host as that service writes it.
    pub(super) fn holder_of(&self, host: &Host) -> Option<(ServiceKey, Host)> {
        let (display_host, state) = self.hosts.get_key_value(host)?;
        let key = state.holder.clone().or_else(|| state.written_for().next().cloned())?;
        let claimed = self.claims.get(&key).into_iter().flatten().find(|claimed| *claimed == host);
        Some((key, claimed.unwrap_or(display_host).clone()))
    }

    /// Whether some service holds a host.
    pub(super) fn is_held(&self, host: &Host) -> bool {
        self.hosts.get(host).is_some_and(|state| state.holder.is_some())
    }

    /// The service that holds a host, and those that wait for it.
    pub(super) fn interested_in(&self, host: &Host) -> Vec<ServiceKey> {
        self.hosts.get(host).map_or_else(Vec::new, |state| state.holder.iter().chain(&state.waiting).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn key(text: &str) -> ServiceKey {
        ServiceKey::parse(text, "stage").unwrap()
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn book(range: &str) -> AddressBook {
        AddressBook::new(Some(range.parse().unwrap()), Duration::ZERO)
    }

    impl AddressBook {
        fn claim_of(&mut self, key: &ServiceKey, hosts: &[Host], runs: &dyn Fn(&ServiceKey) -> bool) -> Claimed {
            self.claim(HostClaimant { key, plain: &key.identity, now: Now::default() }, hosts, runs)
        }
    }

    fn address(book: &mut AddressBook, name: &str) -> Option<Ipv4Addr> {
        book.claim_of(&key(name), &[host(&format!("{name}.global"))], &|_| true).claims[0].address
    }

    #[test]
    fn a_host_gets_the_same_address_from_nothing_in_any_order() {
        let (mut forth, mut back) = (book("240.0.0.0/16"), book("240.0.0.0/16"));
        let names: Vec<String> = (0..20).map(|i| format!("service-{i}")).collect();
        let a: Vec<_> = names.iter().map(|name| address(&mut forth, name)).collect();
        let mut b: Vec<_> = names.iter().rev().map(|name| address(&mut back, name)).collect();
        b.reverse();
        assert_eq!(a, b);
        assert_eq!(a.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn what_was_written_is_the_memory() {
        let mut book = book("240.0.0.0/16");
        let old = Ipv4Addr::new(240, 0, 77, 7);
        for cluster in ["east", "west"] {
            book.record_entry(&ClusterName::parse(cluster).unwrap(), host("a.global"), Some(key("a")), Some(old));
        }
        book.record_entry(
            &ClusterName::parse("north").unwrap(),
            host("a.global"),
            Some(key("a")),
            Some(Ipv4Addr::new(240, 0, 1, 1)),
        );
        assert_eq!(address(&mut book, "a"), Some(old), "most clusters agree on it");
    }

    #[test]
    fn two_hosts_with_one_written_address_get_different_addresses() {
        let mut book = book("240.0.0.0/16");
        let east = ClusterName::parse("east").unwrap();
        let shared = Ipv4Addr::new(240, 0, 9, 9);
        book.record_entry(&east, host("b.global"), Some(key("b")), Some(shared));
        book.record_entry(&east, host("a.global"), Some(key("a")), Some(shared));
        let b = book.claim_of(&key("b"), &[host("b.global")], &|_| true);
        assert_eq!(b.conflicts, [(host("b.global"), shared)]);
        assert_ne!(b.claims[0].address, Some(shared));
        assert_eq!(address(&mut book, "a"), Some(shared), "the first by name keeps it");
    }

    #[test]
    fn addresses_come_back_when_nothing_fresh_is_left() {
        let mut book = book("240.0.0.0/30"); // .1, .2 and .3 are usable
        let all: BTreeSet<_> = ["a", "b", "c"].map(|name| address(&mut book, name)).into();
        assert_eq!(all.len(), 3);
        let over = book.claim_of(&key("d"), &[host("d.global")], &|_| true);
        assert_eq!((over.claims[0].address, over.exhausted), (None, vec![host("d.global")]));
        let gone = book.hosts[&host("b.global")].address;
        book.claim_of(&key("b"), &[], &|_| true);
        assert_eq!(address(&mut book, "d"), gone);
    }

    #[test]
    fn a_written_host_outlives_its_claim_until_its_objects_are_gone() {
        let mut book = book("240.0.0.0/16");
        let before = address(&mut book, "a");
        let east = ClusterName::parse("east").unwrap();
        book.record_entry(&east, host("a.global"), Some(key("a")), before);
        book.claim_of(&key("a"), &[], &|_| true);
        assert_eq!(address(&mut book, "a"), before);
    }

    #[test]
    fn the_first_holder_keeps_a_host_and_the_next_gets_it_when_it_goes() {
        let mut book = book("240.0.0.0/16");
        let shared = [host("x.global")];
        assert!(book.claim_of(&key("a"), &shared, &|_| true).claims[0].taken_by.is_none());
        assert_eq!(book.claim_of(&key("b"), &shared, &|_| true).claims[0].taken_by, Some(key("a")));
        assert!(book.held_by(&key("b")).is_empty());
        assert_eq!(book.claim_of(&key("a"), &[], &|_| true).freed_for, [key("b")].into());
        assert!(book.claim_of(&key("b"), &shared, &|_| true).claims[0].taken_by.is_none());
    }

    #[test]
    fn a_host_that_is_gone_and_waited_for_is_nobodys_until_it_is_claimed() {
        let mut book = book("240.0.0.0/16");
        let shared = [host("x.global")];
        book.claim_of(&key("a"), &shared, &|_| true);
        book.claim_of(&key("b"), &shared, &|_| true);
        book.claim_of(&key("a"), &[], &|_| true);
        assert!(book.held_by(&key("b")).is_empty());
    }

    #[test]
    fn a_host_that_comes_back_gets_its_own_address_again() {
        let mut book = book("240.0.0.0/16");
        let before = address(&mut book, "a");
        book.claim_of(&key("a"), &[], &|_| true);
        assert_eq!(address(&mut book, "a"), before);
    }

    #[test]
    fn an_address_without_any_object_is_free() {
        let mut book = book("240.0.0.0/30");
        let east = ClusterName::parse("east").unwrap();
        let one = Ipv4Addr::new(240, 0, 0, 1);
        // Written before a restart, and its service is gone: nobody claims it.
        book.record_entry(&east, host("gone.global"), Some(key("gone")), Some(one));
        // Written over with another address.
        book.record_entry(&east, host("a.global"), Some(key("a")), Some(Ipv4Addr::new(240, 0, 0, 2)));
        book.record_entry(&east, host("a.global"), Some(key("a")), Some(Ipv4Addr::new(240, 0, 0, 3)));
        book.remove_entry(&east, &host("gone.global"));
        let all: BTreeSet<_> = ["a", "b", "c"].map(|name| address(&mut book, name).unwrap()).into();
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn after_a_restart_the_written_holder_keeps_its_host_while_it_runs() {
        let east = ClusterName::parse("east").unwrap();
        for (runs, expected) in [(true, Some(key("b"))), (false, None)] {
            let mut book = book("240.0.0.0/16");
            book.record_entry(&east, host("x.global"), Some(key("b")), None);
            assert_eq!(book.claim_of(&key("a"), &[host("x.global")], &|_| runs).claims[0].taken_by, expected);
        }
    }

    #[test]
    fn the_references_config_map_is_honoured() {
        let mut book = book("240.0.0.0/16");
        book.honour_admiral([("a.global-se".to_owned(), Ipv4Addr::new(240, 0, 10, 1))]);
        assert_eq!(address(&mut book, "a"), Some(Ipv4Addr::new(240, 0, 10, 1)));
    }

    #[test]
    fn the_address_of_what_was_handed_over_is_the_hosts_in_all_clusters() {
        let mut book = book("240.0.0.0/24");
        let (east, west) = (ClusterName::parse("east").unwrap(), ClusterName::parse("west").unwrap());
        let id = |name: &str| ObjectId::new(Kind::ServiceEntry, "sync", name);
        let offer = |last: u8, adopted: bool| HostOffer {
            service: None,
            address: Some(Ipv4Addr::new(10, 77, 0, last)),
            adopted,
        };
        let own = address(&mut book, "a").unwrap();
        // It is in use, and yet what clients of the hand-written entry know counts more.
        book.record_entry(&west, host("a.global"), Some(key("a")), Some(own));
        book.record_offer(&east, &id("by-hand"), host("a.global"), offer(1, false));
        assert_eq!(address(&mut book, "a"), Some(Ipv4Addr::new(10, 77, 0, 1)));
        // One that was taken over already is not outvoted.
        book.record_offer(&east, &id("by-hand"), host("a.global"), offer(1, true));
        for (cluster, name) in [(&west, "first"), (&west, "second")] {
            book.record_offer(cluster, &id(name), host("a.global"), offer(2, false));
        }
        assert_eq!(address(&mut book, "a"), Some(Ipv4Addr::new(10, 77, 0, 1)));
        // Its owner takes it back: the address stays the host's.
        book.remove_offer(&east, &id("by-hand"), &host("a.global"));
        book.remove_offer(&west, &id("first"), &host("a.global"));
        book.remove_offer(&west, &id("second"), &host("a.global"));
        assert_eq!(address(&mut book, "a"), Some(Ipv4Addr::new(10, 77, 0, 1)));
        // The address that it had before is free once no object has it.
        assert_eq!(book.taken.get(&own), Some(&host("a.global")));
        book.remove_entry(&west, &host("a.global"));
        assert_eq!(book.taken.get(&own), None);
    }

    #[test]
    fn what_is_handed_over_takes_no_address_from_another_host_and_reserves_its_own() {
        let mut book = book("240.0.0.0/24");
        let east = ClusterName::parse("east").unwrap();
        let id = ObjectId::new(Kind::ServiceEntry, "sync", "by-hand");
        let others = address(&mut book, "b").unwrap();
        let offer = |address| HostOffer { service: None, address: Some(address), adopted: false };
        book.record_offer(&east, &id, host("a.global"), offer(others));
        let own = address(&mut book, "a").unwrap();
        assert_ne!(own, others);
        assert_eq!(address(&mut book, "b"), Some(others));
        // Nobody publishes the host yet: its address is given to nobody else, and is its own when somebody does.
        let of_c = address(&mut super::tests::book("240.0.0.0/24"), "c").unwrap();
        book.record_offer(&east, &id, host("z.global"), offer(of_c));
        assert_ne!(address(&mut book, "c"), Some(of_c));
        assert_eq!(address(&mut book, "z"), Some(of_c));
        book.forget_cluster(&east);
        assert_eq!(address(&mut book, "z"), Some(of_c));
    }
}
