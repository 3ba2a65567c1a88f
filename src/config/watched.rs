//! What is watched: which kinds, and in which namespaces.

use super::{IdentityClaims, Settings, Sidecars};
use crate::model::{ClusterName, Kind};

impl Settings {
    /// The kinds that are watched in a cluster: clients only where they are discovered (Admiral,
    /// docs/admiral-behaviour.md#client-discovery).
    #[must_use]
    pub fn watched_kinds_in(&self, cluster: &ClusterName) -> Vec<Kind> {
        let listed = |clusters: &[String]| clusters.is_empty() || clusters.iter().any(|name| name == cluster.as_str());
        let (jobs, numaflow) = (&self.client_discovery_clusters_for_jobs, &self.client_discovery_clusters_for_numaflow);
        let mut kinds = self.watched_kinds();
        kinds.retain(|kind| match kind {
            Kind::Job | Kind::CronJob => listed(jobs),
            Kind::Vertex | Kind::MonoVertex => listed(numaflow),
            _ => true,
        });
        kinds
    }

    /// The kinds that are watched in any cluster.
    #[must_use]
    pub fn watched_kinds(&self) -> Vec<Kind> {
        let always = [
            Kind::Service,
            Kind::Node,
            Kind::Namespace,
            Kind::GlobalTrafficPolicy,
            Kind::OutlierDetection,
            Kind::ClientConnectionConfig,
            Kind::ServiceEntry,
            Kind::DestinationRule,
            Kind::VirtualService,
        ];
        let sidecars = (self.sidecars != Sidecars::Off).then_some(Kind::Sidecar);
        let slices = self.direct_endpoints.then_some(Kind::EndpointSlice);
        let clients = self.client_kinds.iter();
        let routing: &[Kind] = if self.enable_routing_policy { &[Kind::RoutingPolicy, Kind::EnvoyFilter] } else { &[] };
        let kinds = self.workload_kinds.iter().chain(clients).copied().chain(always).chain(sidecars).chain(slices);
        kinds.chain(routing.iter().copied()).collect()
    }

    /// The kinds that are read on the hub.
    #[must_use]
    pub fn kinds_of_hub(&self) -> Vec<Kind> {
        let claims = self.identity_claims != IdentityClaims::Off;
        Kind::OF_HUB.iter().copied().filter(|kind| *kind != Kind::IdentityClaim || claims).collect()
    }

    /// The kinds of the hub that are read in a member, where no hub is named: anybody who may write there could claim an
    /// identity.
    #[must_use]
    pub fn kinds_of_hub_in_members(&self) -> Vec<Kind> {
        Kind::OF_HUB.iter().copied().filter(|kind| *kind != Kind::IdentityClaim).collect()
    }

    /// Whether virtual machines count: WorkloadEntries, and ServiceEntries of users that name an identity.
    #[must_use]
    pub fn reads_machines(&self) -> bool {
        self.workload_kinds.contains(&Kind::WorkloadEntry)
    }

    /// Whether hand-written objects outside the sync namespace are taken over by name.
    fn adopts_elsewhere(&self) -> bool {
        self.adopt.iter().any(|item| item.split('/').next() != Some(&self.sync_namespace))
    }

    /// Whether an object is listed as one to be taken over, by its namespace or by itself.
    #[must_use]
    pub fn adopts(&self, namespace: &str, name: &str) -> bool {
        self.adopt.iter().any(|item| match item.split_once('/') {
            None => item == namespace,
            Some(one) => one == (namespace, name),
        })
    }

    /// The only namespace in which a kind is watched in a cluster with this Istio namespace; none where it is watched in all,
    /// or has none.
    #[must_use]
    pub fn watched_namespace<'a>(&'a self, kind: Kind, istio_namespace: &'a str) -> Option<&'a str> {
        match kind {
            Kind::EnvoyFilter => Some(istio_namespace),
            Kind::ServiceEntry if self.reads_machines() || self.adopts_elsewhere() => None,
            // Users keep their rules in any namespace, and managed ones are also in the Istio namespace.
            Kind::ServiceEntry => Some(&self.sync_namespace),
            kind if Kind::OF_HUB.contains(&kind) => Some(&self.dependency_namespace),
            _ => None,
        }
    }
}
