//! Several Services that lead to the pods of one workload: which of them represents it.
//!
//! Decides their order: Admiral's, the oldest (docs/admiral-behaviour.md#services-of-a-workload), apart from how a Service is addressed.
//! Only where that makes one for metrics or administration the first, one for clients comes before it; of several that with
//! a port that other workloads of the service have. The owner's choice (`includeInboundPorts`) comes before all that.

use std::sync::Arc;

use super::{agreement, ports::Published, purpose::Purpose};
use crate::{
    model::{Addressing, Identity, LocalService},
    plan::input::BackendPort,
};

/// A Service that selects the pods of a workload and can be published.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) service: &'a LocalService,
    pub(crate) published: Published,
    /// Whom it is for.
    pub(crate) purpose: Purpose,
    /// Whether other workloads of the service have other ports.
    differs: bool,
}

/// The Service of a workload that has no other to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) namespace: Arc<str>,
    pub(crate) service: Arc<str>,
    /// Its main port.
    pub(crate) port: BackendPort,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(service: &'a LocalService, published: Published) -> Self {
        Self { service, published, purpose: Purpose::Clients, differs: false }
    }

    pub(crate) fn name(&self) -> &str {
        &self.service.id.name
    }

    /// Its main port.
    pub(crate) fn main(&self) -> Option<&BackendPort> {
        self.published.ports.first()
    }

    /// Which of several Services of the same pods counts: the one with the least.
    pub(crate) fn rank(&self) -> (usize, bool, bool, Purpose, bool, Addressing) {
        let is_for_operators = self.purpose == Purpose::Operators;
        let leads_nowhere = self.published.leads_nowhere;
        (self.published.hint, is_for_operators, self.differs, self.purpose, leads_nowhere, self.service.addressing)
    }

    fn is_offered(&self, offers: &[Offer], identity: &Identity) -> bool {
        let id = &self.service.id;
        let Some(main) = self.main() else { return false };
        offers.iter().any(|offer| {
            // A Service of one name is one Service in all clusters (Kubernetes SIG Multicluster, "namespace sameness").
            (&offer.namespace, &offer.service) == (&id.namespace, &id.name)
                || agreement::is_one_port(main, &offer.port, identity)
        })
    }
}

/// Sorts the Services of one workload, the best first; of equal ones the first stays first. `offers` are those of other workloads.
/// Answers whether others of them may make another one the first.
pub(crate) fn sort(candidates: &mut [Candidate<'_>], offers: &[Offer], identity: &Identity) -> bool {
    if candidates.len() < 2 {
        return false;
    }
    for candidate in &mut *candidates {
        candidate.purpose = Purpose::of(candidate.name(), candidate.main(), identity);
    }
    // What leads to the same port of the same pods serves clients just as well, whatever its name says.
    let leads_to = |candidate: &Candidate<'_>| candidate.main().map(|main| (main.target, main.target_name.clone()));
    let of_clients: Vec<_> =
        candidates.iter().filter(|candidate| candidate.purpose == Purpose::Clients).map(leads_to).collect();
    for candidate in &mut *candidates {
        if of_clients.contains(&leads_to(candidate)) {
            candidate.purpose = Purpose::Clients;
        }
    }
    // Where that is for clients, nothing takes its place: its ports may well be others than elsewhere.
    let of_admiral = candidates.iter().min_by_key(|found| (found.published.hint, found.service.addressing));
    let is_settled = of_admiral.is_some_and(|found| found.purpose == Purpose::Clients);
    if !is_settled {
        for candidate in &mut *candidates {
            candidate.differs = !offers.is_empty() && !candidate.is_offered(offers, identity);
        }
    }
    candidates.sort_by_key(Candidate::rank);
    !is_settled && may_change(candidates, identity)
}

/// Whether the first of sorted ones has rivals that the ports of other workloads may put first.
fn may_change(candidates: &[Candidate<'_>], identity: &Identity) -> bool {
    let Some((first, others)) = candidates.split_first() else { return false };
    let Some(main) = first.main() else { return false };
    let is_for_operators = |candidate: &Candidate<'_>| candidate.purpose == Purpose::Operators;
    let is_rival = |candidate: &&Candidate<'_>| {
        candidate.published.hint == first.published.hint && is_for_operators(candidate) == is_for_operators(first)
    };
    let mut ports = others.iter().filter(is_rival).filter_map(Candidate::main);
    ports.any(|port| !agreement::is_one_port(port, main, identity))
}
