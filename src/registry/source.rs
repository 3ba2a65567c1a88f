//! One cluster as a source of a service: each input as it is known there, fresh or as it was last written.
//!
//! Decides, input by input, what counts while something cannot be read: what cannot be read counts with what was last known.
//! Never decides what that means for traffic.

use std::collections::BTreeSet;

use super::{
    cluster_state::{Backends, ClusterState},
    last_known::LastKnownService,
};
use crate::{
    model::{GatewayAddress, Kind, Locality, ServiceKey, Variant},
    plan::input::{Backend, LastKnownEndpoint, Observation, Pods, Principals, Source},
};

/// The cluster as a source of one variant of the service.
pub(super) fn source_cluster(
    state: &ClusterState,
    key: &ServiceKey,
    variant: Variant,
    backends: &mut Backends,
    written: Option<LastKnownService>,
) -> Option<Source> {
    let cluster = SourceReader { state, key, is_loading: state.freshness.is_loading(), written };
    let (mut services, last_known_local) = cluster.endpoints(backends.take(variant));
    let restored = cluster.restores(&last_known_local);
    let workload = cluster.workload(variant, backends, &services, &last_known_local, restored)?;
    let may_have_more = services.is_empty() || !last_known_local.is_empty();
    Some(Source {
        cluster: state.name().clone(),
        domain: state.domain(),
        network: state.observed_network(),
        locality: cluster.locality(),
        gateway: cluster.gateway(restored),
        pods: cluster.pods(&mut services, restored),
        workload,
        unavailable: if may_have_more { Vec::new() } else { backends.unavailable.clone() },
        last_known_ports: cluster.written.as_ref().map(|written| written.ports.clone()).unwrap_or_default(),
        since_seconds: cluster.since_seconds(),
        principals: cluster.principals(),
        services,
        last_known_local,
    })
}

/// Reads one service in one cluster.
struct SourceReader<'a> {
    state: &'a ClusterState,
    key: &'a ServiceKey,
    is_loading: bool,
    /// What was last written of it, while something of the cluster cannot be read.
    written: Option<LastKnownService>,
}

impl SourceReader<'_> {
    fn knows(&self, kind: Kind) -> bool {
        !self.is_loading && self.state.freshness.knows(kind)
    }

    /// Whether workloads of a kind may run the service and cannot be read.
    fn misses(&self, kind: Kind) -> bool {
        let is_machine = matches!(kind, Kind::WorkloadEntry | Kind::ServiceEntry);
        !self.knows(Kind::Service)
            || !self.knows(kind)
            || (kind == Kind::Rollout && self.state.coverage().doubts_rollouts_of(self.key))
            || (!is_machine && self.state.coverage().doubts_sidecars_of(self.key))
    }

    /// The Services that can be read, and the endpoints of workloads that cannot. A service may run on machines and in pods, of
    /// which only some can be read. What may not be all that there is of a Service does not change what was written of it.
    fn endpoints(&self, mut services: Vec<Backend>) -> (Vec<Backend>, Vec<LastKnownEndpoint>) {
        let written = self.written.iter().flat_map(|written| &written.local);
        let last_known: Vec<_> = written.filter(|endpoint| self.misses(endpoint.workload)).cloned().collect();
        services.retain(|backend| !last_known.iter().any(|known| known.is_of(backend)));
        (services, last_known)
    }

    /// Whether workloads of the service count as they were written.
    fn restores(&self, last_known: &[LastKnownEndpoint]) -> bool {
        !last_known.is_empty() || self.written.as_ref().is_some_and(|written| self.misses(written.workload))
    }

    /// The kind of workload that other clusters see: another than a Rollout where there is one. While not all of them can be
    /// read, it stays as it was written.
    fn workload(
        &self,
        variant: Variant,
        backends: &Backends,
        services: &[Backend],
        last_known: &[LastKnownEndpoint],
        restored: bool,
    ) -> Option<Kind> {
        let written = self.written.as_ref().filter(|_| restored).map(|written| written.workload);
        let written = written.filter(|kind| services.is_empty() || self.misses(*kind));
        let of_service = backends.workload.filter(|_| variant == Variant::Default && !services.is_empty());
        let read = of_service.or_else(|| services.first().map(|backend| backend.workload));
        let unread = last_known.first().map(|endpoint| endpoint.workload);
        let kinds = || [written, read, unread].into_iter().flatten();
        kinds().find(|kind| *kind != Kind::Rollout).or_else(|| kinds().next())
    }

    /// Where the cluster is, by its nodes.
    fn locality(&self) -> Observation<Locality> {
        let fresh = self.state.topology.locality().filter(|_| !self.is_loading);
        let written = || self.written.as_ref().and_then(|written| written.locality.clone());
        Observation::merge(fresh, !self.knows(Kind::Node), written)
    }

    /// How others reach the cluster, by its gateway Services; and while it is not known which label these have, the address that was
    /// written, where a Service still has it.
    fn gateway(&self, restored: bool) -> Observation<GatewayAddress> {
        let written = self.written.as_ref().and_then(|written| written.gateway.as_ref());
        let fresh = match () {
            () if self.is_loading => None,
            () if self.knows(Kind::Namespace) => self.state.topology.gateway(),
            () => self.state.topology.gateway_like(written),
        };
        Observation::merge(fresh, restored && !self.knows(Kind::Service), || written.cloned())
    }

    /// The pods that others reach directly; those that can be read go into the services.
    fn pods(&self, services: &mut [Backend], restored: bool) -> Pods {
        let is_unread = !self.knows(Kind::Service) || !self.state.coverage().pods() || restored;
        let written = self.written.as_ref().filter(|_| is_unread);
        if let Some(written) = written.filter(|written| !written.pods.is_empty()) {
            return Pods::LastKnown(written.pods.clone());
        }
        let by_gateway = written.is_some_and(|written| written.gateway.is_some());
        if !self.state.coverage().lists_pods() || by_gateway {
            return Pods::Unknown;
        }
        let with_pods = services.iter_mut().filter(|backend| backend.machine.is_none());
        with_pods.for_each(|backend| backend.pods = self.state.pods(backend));
        Pods::Known
    }

    /// When the oldest workload came. What was written does not say it.
    fn since_seconds(&self) -> Observation<i64> {
        let oldest = self.state.workloads.display_key(self.key).filter(|_| !self.is_loading);
        Observation::merge(oldest.map(|oldest| oldest.created_seconds), false, || None)
    }

    /// Who the workloads run as. The names that were written stay while some of it cannot be read.
    fn principals(&self) -> Principals {
        let accounts = || self.state.workloads.service_accounts(self.key);
        Principals {
            trust_domain: self.state.topology.trust_domain(),
            accounts: if self.is_loading { BTreeSet::new() } else { accounts() },
            unknown: !self.knows(Kind::Namespace) || !self.state.coverage().workloads(),
        }
    }
}
