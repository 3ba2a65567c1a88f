//! Hosts that a service lost, and that wait for it: nobody takes a host by being there while its holder is gone for a moment.
//!
//! Decides until when a host waits, and for whom; never who holds it.

use std::{collections::HashMap, time::Duration};

use super::partition::is_plain_of;
use crate::model::{Host, Identity, Now, ServiceKey};

/// Most hosts that wait at once: where more are lost, the longest lost wait no longer.
const MAX_LOST_HOSTS: usize = 10_000;

/// A host that a service lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostHost {
    /// Who lost it.
    pub(super) by: ServiceKey,
    /// When.
    pub(super) since: Now,
    /// Whether another service asked for it since.
    pub(super) contested: bool,
}

impl LostHost {
    /// Whether a service, of this identity without its partition, is the one that lost the host, or is it under another partition.
    fn is_of(&self, key: &ServiceKey, plain: &Identity) -> bool {
        let is_renamed = || self.by.environment == key.environment && is_plain_of(plain, &self.by.identity);
        self.by == *key || is_renamed()
    }
}

/// The hosts that wait for the service that lost them.
#[derive(Debug)]
pub(super) struct LostHosts {
    /// How long each waits.
    rest: Duration,
    all: HashMap<Host, LostHost>,
}

impl LostHosts {
    pub(super) fn new(rest: Duration) -> Self {
        Self { rest, all: HashMap::new() }
    }

    /// When others may have a host.
    pub(super) fn until(&self, lost: &LostHost) -> Now {
        lost.since.after(self.rest)
    }

    /// A service lost a host.
    pub(super) fn lose(&mut self, host: Host, lost: LostHost, now: Now) {
        if self.rest.is_zero() {
            return;
        }
        let rest = self.rest;
        self.all.retain(|_, lost| now < lost.since.after(rest));
        if self.all.len() >= MAX_LOST_HOSTS
            && let Some(oldest) = self.all.iter().min_by_key(|(host, lost)| (lost.since, *host)).map(|(host, _)| host)
        {
            let oldest = oldest.clone();
            self.all.remove(&oldest);
        }
        self.all.insert(host, lost);
    }

    /// A cluster remembers that a service lost a host.
    pub(super) fn recall(&mut self, host: Host, by: &ServiceKey, since: Now) {
        if !self.rest.is_zero() && !self.all.contains_key(&host) && self.all.len() < MAX_LOST_HOSTS {
            self.all.insert(host, LostHost { by: by.clone(), since, contested: true });
        }
    }

    /// For whom a host waits, seen by a service that asks for it.
    pub(super) fn waits_for(&self, host: &Host, key: &ServiceKey, plain: &Identity, now: Now) -> Option<&LostHost> {
        self.all.get(host).filter(|lost| !lost.is_of(key, plain) && now < self.until(lost))
    }

    /// Another service asks for a host. Answers whether that is new.
    pub(super) fn contest(&mut self, host: &Host) -> bool {
        self.all.get_mut(host).is_some_and(|lost| !std::mem::replace(&mut lost.contested, true))
    }

    /// A host has a holder again. Answers who lost it.
    pub(super) fn found(&mut self, host: &Host) -> Option<LostHost> {
        self.all.remove(host)
    }

    pub(super) fn has(&self, host: &Host) -> bool {
        self.all.contains_key(host)
    }

    /// The hosts that a service lost and others ask for, sorted, while they wait for it.
    pub(super) fn contested_of(&self, key: &ServiceKey, now: Now) -> Vec<(Host, LostHost)> {
        let waits = |(_, lost): &(&Host, &LostHost)| lost.by == *key && lost.contested && now < self.until(lost);
        let mut found: Vec<_> =
            self.all.iter().filter(waits).map(|(host, lost)| (host.clone(), lost.clone())).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identity: &str, environment: &str) -> ServiceKey {
        ServiceKey::parse(identity, environment).unwrap()
    }

    fn at(millis: u64) -> Now {
        Now::from_millis(millis)
    }

    #[test]
    fn a_host_waits_for_its_service_and_for_the_same_one_under_another_partition() {
        let host = Host::parse("stage.pay.global").unwrap();
        let mut lost = LostHosts::new(Duration::from_millis(100));
        let by = key("west.pay", "stage");
        lost.lose(host.clone(), LostHost { by: by.clone(), since: at(5), contested: false }, at(5));
        let plain = Identity::parse("pay").unwrap();
        let waits = |key: &ServiceKey, now| lost.waits_for(&host, key, &plain, now).is_some();
        assert!(!waits(&by, at(6)) && !waits(&key("pay", "stage"), at(6)) && !waits(&key("east.pay", "stage"), at(6)));
        assert!(waits(&key("pay", "qa"), at(104)) && !waits(&key("pay", "qa"), at(105)));
    }

    #[test]
    fn hosts_that_wait_have_a_bound_and_end() {
        let mut lost = LostHosts::new(Duration::from_millis(100));
        let host = |n: usize| Host::parse(&format!("h{n}.pay.global")).unwrap();
        let of = |since| LostHost { by: key("pay", "stage"), since, contested: false };
        for n in 0..=MAX_LOST_HOSTS {
            lost.all.insert(host(n), of(at(n as u64 % 7 + 1)));
        }
        lost.lose(host(MAX_LOST_HOSTS + 1), of(at(8)), at(8));
        assert_eq!(lost.all.len(), MAX_LOST_HOSTS + 1, "one went for the one that came");
        lost.lose(host(0), of(at(500)), at(500));
        assert_eq!(lost.all.len(), 1);
        let mut never = LostHosts::new(Duration::ZERO);
        never.lose(host(0), of(at(1)), at(1));
        assert!(!never.has(&host(0)));
    }
}
