//! Pruning of EndpointSlices: which pods take traffic, and where.
//!
//! Decides what counts as ready; never whether anybody is to reach a pod by its own address.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice as Slice};

use super::observe::{filled, id};
use crate::model::{EndpointSlice, Kind, Observed, ReadyPod};

/// Label of an EndpointSlice with the name of its Service (Kubernetes documentation, "EndpointSlices").
const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn read(object: &Slice) -> Observed {
    let service = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    let ports = object.ports.iter().flatten();
    Observed::EndpointSlice(EndpointSlice {
        id: id(Kind::EndpointSlice, &object.metadata),
        service: service.map(String::as_str).unwrap_or_default().into(),
        ports: ports.filter_map(port).collect(),
        pods: object.endpoints.iter().filter(|endpoint| is_ready(endpoint)).filter_map(pod).collect(),
    })
}

/// A pod that ends takes no new traffic, also where its Service publishes those that are not ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let ends = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    ready && !ends
}

fn pod(endpoint: &Endpoint) -> Option<ReadyPod> {
    // All others of a slice are the same pod once more. Names (address type FQDN) are none.
    let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    Some(ReadyPod { address, zone: filled(endpoint.zone.as_deref()).map(Into::into) })
}

fn port(port: &EndpointPort) -> Option<(String, u16)> {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port?).ok().filter(|number| *number > 0)?;
    Some((port.name.clone().unwrap_or_default(), number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(value: serde_json::Value) -> EndpointSlice {
        match read(&serde_json::from_value(value).unwrap()) {
            Observed::EndpointSlice(slice) => slice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_ready_pods_with_an_address_count() {
        let slice = observed(json!({
            "metadata": {"name": "a", "namespace": "b", "labels": {"kubernetes.io/service-name": "c"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
                      {"name": "any"}, {"port": 9000}],
            "endpoints": [
                {"addresses": ["10.0.0.1", "10.0.0.9"], "zone": "us-west-a"},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": true, "serving": true}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.5"], "conditions": {"ready": true, "terminating": true}},
                {"addresses": ["pod.example"], "conditions": {"ready": true}},
                {"addresses": []},
            ],
        }));
        assert_eq!(&*slice.service, "c");
        assert_eq!(slice.ports, [("http".to_owned(), 8080), (String::new(), 9000)].into());
        let pods: Vec<_> = slice.pods.iter().map(|pod| (pod.address.to_string(), pod.zone.as_deref())).collect();
        assert_eq!(pods, [("10.0.0.1".to_owned(), Some("us-west-a")), ("10.0.0.2".to_owned(), None)]);
    }

    #[test]
    fn a_slice_of_nobody_and_an_empty_one_are_read() {
        let slice = observed(json!({"metadata": {"name": "a", "namespace": "b"}, "addressType": "IPv6",
                                    "endpoints": null, "ports": null}));
        assert_eq!((&*slice.service, slice.ports.len(), slice.pods.len()), ("", 0, 0));
    }
}
