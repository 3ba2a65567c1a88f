//! Istio's objects for what was decided.

mod alias;
mod copies;
mod custom_routes;
mod destination_rule;
mod envoy_filter;
mod gob_hash;
mod in_cluster;
mod ingress;
mod metadata;
mod namespace_rules;
mod proxy;
mod service_entry;
mod sidecar;

use std::collections::BTreeMap;

use super::Emitter;
use crate::{
    config::Settings,
    istio::Object,
    model::ClusterName,
    plan::{
        decide::{
            ClusterDecision, HostDecision, NamespaceRulesDecision, RouteDecision, RoutesDecision, ServiceDecision,
            SidecarDecision,
        },
        desired::Desired,
        input::{ClientNamespace, RuledNamespace},
        service_plan::{ClusterPlan, HostPlan, ServicePlan},
    },
};

/// Subset of the rules of a namespace under which gateways pass requests on as they are.
const PASSTHROUGH_SUBSET: &str = "passthrough";

/// `networking.istio.io/v1`.
pub(super) struct IstioEmitter<'a> {
    pub(super) settings: &'a Settings,
}

impl Emitter for IstioEmitter<'_> {
    fn service(&self, decision: ServiceDecision) -> ServicePlan {
        let clusters = decision.clusters.iter().map(|cluster| self.cluster(&decision, cluster)).collect();
        ServicePlan { decision, clusters }
    }

    fn routes(&self, decision: &RoutesDecision) -> BTreeMap<ClusterName, Desired> {
        let of_cluster = decision.clusters.iter().map(|(cluster, copies)| {
            let objects = copies.iter().map(|copy| copies::object(copy, self.settings)).collect();
            (cluster.clone(), Desired::in_turn(objects))
        });
        of_cluster.collect()
    }

    fn sidecar(&self, client: &ClientNamespace, decision: &SidecarDecision) -> Desired {
        match decision {
            SidecarDecision::Nothing => Desired::nothing(),
            SidecarDecision::Merge(hosts) => {
                Desired::merged_sidecar(&client.namespace, &self.settings.workload_sidecar_name, hosts.clone())
            }
            SidecarDecision::Only(hosts) => Desired::sidecar(sidecar::build(client, hosts, self.settings)),
        }
    }

    fn namespace_rules(&self, namespace: &RuledNamespace, decision: &NamespaceRulesDecision) -> Desired {
        let rules = namespace_rules::build(namespace, decision, self.settings);
        Desired::nothing().and(rules).keeping(decision.kept.clone())
    }
}

impl IstioEmitter<'_> {
    fn cluster(&self, service: &ServiceDecision, cluster: &ClusterDecision) -> ClusterPlan {
        let hosts = cluster.hosts.iter().map(|host| self.host(service, cluster, host)).collect();
        let routes = cluster.routes.iter().map(|route| self.route(service, cluster, route));
        let filters = cluster.filters.iter().map(|filter| envoy_filter::build(service, cluster, filter, self.settings));
        let reserved =
            cluster.reserved.iter().map(|reserved| service_entry::reserved(service, reserved, self.settings));
        let mut others: Vec<Object> = routes.chain(filters).chain(reserved).collect();
        others.retain(|object| !cluster.kept.contains(&object.id()));
        others.sort_by_key(Object::id);
        ClusterPlan { cluster: cluster.cluster.clone(), hosts, others, kept: cluster.kept.clone() }
    }

    fn host(&self, service: &ServiceDecision, cluster: &ClusterDecision, host: &HostDecision) -> HostPlan {
        HostPlan {
            host: host.host.clone(),
            service_entry: service_entry::build(service, cluster, host, self.settings),
            destination_rule: destination_rule::build(service, cluster, host, self.settings),
            tiered: host.is_tiered(),
        }
    }

    fn route(&self, service: &ServiceDecision, cluster: &ClusterDecision, route: &RouteDecision) -> Object {
        match route {
            RouteDecision::Alias(alias) => alias::build(service, cluster, alias, self.settings),
            RouteDecision::InCluster(route) => in_cluster::build(service, cluster, route, self.settings),
            RouteDecision::Ingress(route) => ingress::build(service, cluster, route, self.settings),
            RouteDecision::Proxy(route) => proxy::build(service, route, self.settings),
        }
    }
}
