//! Pruning of ports: those of Services and of pod templates, and what the name of a Service resolves to.
//!
//! Decides what each field means; never which port is published.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Addressing, ServicePort, TargetPort};

/// A TCP port of a Service, with the target port that an API server sets where none is given (Kubernetes,
/// `pkg/apis/core/v1/defaults.go`, `SetDefaults_Service`).
pub(super) fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port).ok()?;
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).unwrap_or(number)),
        Some(IntOrString::String(name)) if name.is_empty() => TargetPort::Number(number),
        Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
    };
    let name = port.name.clone().unwrap_or_default();
    Some(ServicePort { name, number, target, app_protocol: port.app_protocol.clone() })
}

/// What the name of a Service resolves to.
pub(super) fn addressing(spec: Option<&core::ServiceSpec>) -> Addressing {
    let Some(spec) = spec else { return Addressing::default() };
    let is_none = |address: &String| address == "None";
    let headless = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()).any(is_none);
    Addressing {
        headless,
        // Without an address of its own there is nothing that drops requests.
        node_local: !headless && spec.internal_traffic_policy.as_deref() == Some("Local"),
        not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
    }
}

/// The fields of a pod's spec that name its ports.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodContainers {
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Option<Vec<ContainerPort>>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: Option<String>,
    container_port: u16,
    protocol: Option<String>,
}

/// Named TCP container ports of a pod template. A name means the first container that has it, and last those init
/// containers that keep running (Kubernetes, `pkg/api/v1/pod/util.go`, `FindPort`). None where no containers are listed.
pub(super) fn named_ports(template: &core::PodSpec) -> Option<BTreeMap<String, u16>> {
    let containers = |containers: &[core::Container]| containers.iter().map(container).collect();
    named(PodContainers {
        containers: Some(containers(&template.containers)),
        init_containers: template.init_containers.as_deref().map(containers),
    })
}

/// Those of a pod template whose spec is still JSON. None, too, where it does not parse.
pub(super) fn named_ports_of(spec: Option<&Value>) -> Option<BTreeMap<String, u16>> {
    named(PodContainers::deserialize(spec?).ok()?)
}

fn container(container: &core::Container) -> Container {
    let port = |port: &core::ContainerPort| ContainerPort {
        name: port.name.clone(),
        container_port: u16::try_from(port.container_port).unwrap_or_default(),
        protocol: port.protocol.clone(),
    };
    Container {
        ports: container.ports.as_ref().map(|ports| ports.iter().map(port).collect()),
        restart_policy: container.restart_policy.clone(),
    }
}

fn named(pod: PodContainers) -> Option<BTreeMap<String, u16>> {
    let containers = pod.containers.filter(|containers| !containers.is_empty())?;
    let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = pod.init_containers.into_iter().flatten().filter(is_sidecar);
    let mut named = BTreeMap::new();
    for port in containers.into_iter().chain(sidecars).flat_map(|container| container.ports.unwrap_or_default()) {
        let is_tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        if let Some(name) = port.name.filter(|name| is_tcp && !name.is_empty() && port.container_port > 0) {
            named.entry(name).or_insert(port.container_port);
        }
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_name_means_the_first_container_that_keeps_running() {
        let spec = json!({
            "initContainers": [
                {"name": "once", "ports": [{"name": "late", "containerPort": 1}]},
                {"name": "mesh", "restartPolicy": "Always", "ports": [
                    {"name": "web", "containerPort": 2}, {"name": "late", "containerPort": 3}]},
            ],
            "containers": [
                {"name": "a", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"containerPort": 9}]},
                {"name": "b"},
                {"name": "c", "ports": [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]},
                {"name": "d", "ports": [{"name": "web", "containerPort": 8081}]},
            ],
        });
        let expected = BTreeMap::from([("late".to_owned(), 3), ("web".to_owned(), 8080)]);
        assert_eq!(named_ports_of(Some(&spec)), Some(expected.clone()));
        assert_eq!(named_ports(&serde_json::from_value(spec).unwrap()), Some(expected));
    }

    #[test]
    fn without_containers_nothing_is_known_of_ports() {
        for spec in [json!({}), json!({"containers": []}), json!({"containers": null}), json!({"containers": "x"})] {
            assert_eq!(named_ports_of(Some(&spec)), None, "{spec}");
        }
        assert_eq!(named_ports_of(None), None);
        assert_eq!(named_ports_of(Some(&json!({"containers": [{"ports": null}]}))), Some(BTreeMap::new()));
    }

    #[test]
    fn a_target_that_is_empty_or_0_is_the_port_itself() {
        let target = |target: Value| {
            let port = json!({"port": 80, "targetPort": target});
            service_port(&serde_json::from_value(port).unwrap()).unwrap().target
        };
        assert_eq!(target(json!(0)), TargetPort::Number(80));
        assert_eq!(target(json!("")), TargetPort::Number(80));
        assert_eq!(target(json!(null)), TargetPort::Number(80));
        assert_eq!(target(json!(8080)), TargetPort::Number(8080));
        assert_eq!(target(json!("web")), TargetPort::Name("web".into()));
    }

    #[test]
    fn a_headless_service_has_no_address_that_drops_requests() {
        let of = |spec: Value| addressing(Some(&serde_json::from_value(spec).unwrap()));
        let headless = Addressing { headless: true, ..Addressing::default() };
        assert_eq!(of(json!({"clusterIP": "None", "internalTrafficPolicy": "Local"})), headless);
        assert_eq!(of(json!({"clusterIPs": ["None"]})), headless);
        assert!(of(json!({"clusterIP": "10.0.0.1", "internalTrafficPolicy": "Local"})).node_local);
        assert!(of(json!({"publishNotReadyAddresses": true})).not_ready);
        assert_eq!(of(json!({"clusterIP": "", "internalTrafficPolicy": "Cluster"})), Addressing::default());
    }
}
