//! How other clusters reach a gateway Service: its address, and the port that leads to the server which passes their
//! connections through (Admiral, docs/admiral-behaviour.md#gateway-discovery, without its defects).
//!
//! Decides what one Service offers; never which Service is the gateway of its cluster.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};

use super::observe::filled;
use crate::model::{GatewayAddress, GatewayService};

/// Port of the AUTO_PASSTHROUGH server of a gateway, in its pods (Istio, `DefaultNetworkGatewayPort`).
const PASSTHROUGH_PORT: u16 = 15443;
/// Label of a gateway Service: the number under which other networks reach it (Istio API, `labels.yaml`).
const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";

/// The port of a gateway Service that other clusters use.
struct GatewayPort<'a> {
    number: u16,
    /// The node port behind it, which counts on external IPs; none where the label names the port.
    node_port: Option<&'a core::ServicePort>,
}

/// Reads a Service that may be a gateway, with its label `app`. `absolute`: host names get a final dot.
pub(super) fn read(service: &core::Service, app: &str, absolute: bool) -> GatewayService {
    let mut gateway = GatewayService { app: app.into(), ..GatewayService::default() };
    let Some(port) = port(service, &mut gateway.problems) else {
        gateway.lacks_port = true;
        return gateway;
    };
    gateway.address = balanced(service, &port, absolute, &mut gateway.problems)
        .or_else(|| external(service, &port, &mut gateway.problems));
    gateway
}

/// The port that the label names; else 15443; else the one whose target that is.
fn port<'a>(service: &'a core::Service, problems: &mut Vec<String>) -> Option<GatewayPort<'a>> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let is_tcp = |port: &&core::ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let with_number = |number: u16| ports.iter().filter(is_tcp).find(|port| port.port == i32::from(number));
    let label = service.metadata.labels.as_ref().and_then(|labels| labels.get(GATEWAY_PORT)).map(|label| label.trim());
    if let Some(label) = filled(label) {
        match label.parse::<u16>() {
            Ok(number) if number > 0 => {
                let of_service = with_number(number);
                let is_node_port = ports.iter().any(|port| port.node_port == Some(number.into()));
                if of_service.is_none() && !is_node_port {
                    problems.push(format!(
                        "has no port {number}, which its label {GATEWAY_PORT} names; other clusters use that number all the same"
                    ));
                }
                return Some(GatewayPort { number, node_port: None });
            }
            _ => problems.push(format!("its label {GATEWAY_PORT} {label:?} is no port number; it is ignored")),
        }
    }
    let leads_there = |port: &&core::ServicePort| match &port.target_port {
        Some(IntOrString::Int(target)) => *target == i32::from(PASSTHROUGH_PORT),
        Some(IntOrString::String(target)) => *target == PASSTHROUGH_PORT.to_string(),
        None => false,
    };
    let Some(found) = with_number(PASSTHROUGH_PORT).or_else(|| ports.iter().filter(is_tcp).find(leads_there)) else {
        problems.extend(ports.iter().filter(is_tcp).filter_map(unresolved));
        return None;
    };
    Some(GatewayPort { number: u16::try_from(found.port).ok().filter(|number| *number > 0)?, node_port: Some(found) })
}

/// A port that leads to a container port by its name. The pods of gateways are not read, so its number is not known.
fn unresolved(port: &core::ServicePort) -> Option<String> {
    let Some(IntOrString::String(name)) = &port.target_port else { return None };
    name.parse::<u16>().is_err().then(|| format!("its port {} leads to the container port {name:?}", port.port))
}

/// The address that a load balancer gave it.
fn balanced(
    service: &core::Service,
    port: &GatewayPort<'_>,
    absolute: bool,
    problems: &mut Vec<String>,
) -> Option<GatewayAddress> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    // Admiral takes ingress[0] even when it is empty, and then publishes an empty address.
    let addresses = ingress.iter().filter_map(|ingress| match filled(ingress.hostname.as_deref()) {
        Some(host) if absolute => Some(format!("{}.", host.trim_end_matches('.'))),
        Some(host) => Some(host.to_owned()),
        None => filled(ingress.ip.as_deref()).map(str::to_owned),
    });
    let address = preferred(addresses.collect(), problems)?;
    Some(GatewayAddress { address: address.into(), port: port.number })
}

/// An external IP, with the node port behind which its nodes answer (as Admiral has it), or the port that the label names: an
/// external IP takes requests on the ports of the Service (Kubernetes documentation, "Service", "External IPs").
fn external(service: &core::Service, port: &GatewayPort<'_>, problems: &mut Vec<String>) -> Option<GatewayAddress> {
    let addresses = service.spec.as_ref()?.external_ips.iter().flatten();
    let addresses = addresses.filter_map(|address| filled(Some(address))).map(str::to_owned);
    let address = preferred(addresses.collect(), problems)?;
    // Without a node port only the Service port itself answers on an external IP.
    let node_port = port.node_port.and_then(|port| port.node_port).and_then(|number| u16::try_from(number).ok());
    let number = node_port.filter(|number| *number != 0).unwrap_or(port.number);
    Some(GatewayAddress { address: address.into(), port: number })
}

/// The address that counts of several: the first one, but an IPv6 address only where there is no other, as for pods.
fn preferred(addresses: Vec<String>, problems: &mut Vec<String>) -> Option<String> {
    let is_ipv6 = |address: &String| matches!(address.parse(), Ok(IpAddr::V6(_)));
    let chosen = addresses.iter().find(|address| !is_ipv6(address)).or_else(|| addresses.first())?.clone();
    // The second family of a dual-stack gateway is another way to the same one.
    let further = addresses.iter().filter(|address| **address != chosen && is_ipv6(address) == is_ipv6(&chosen));
    let further: Vec<&str> = further.map(String::as_str).collect();
    if !further.is_empty() {
        problems.push(format!("has several addresses; {chosen} is used, not {}", further.join(", ")));
    }
    Some(chosen)
}
