//! The ServiceEntry of a host (Admiral, docs/admiral-behaviour.md#serviceentry-fields).

use std::{collections::BTreeMap, net::IpAddr};

use super::metadata;
use crate::{
    config::Settings,
    istio::{Endpoint, Object, Port, ServiceEntry, ServiceEntrySpec, keys},
    model::{Locality, Variant},
    plan::decide::{
        ClusterDecision, EndpointDecision, HostDecision, LocalityGroup, LocalityPreference, MAIN_PORT, ReservedHost,
        ServiceDecision,
    },
};

pub(super) fn build(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    host: &HostDecision,
    settings: &Settings,
) -> ServiceEntry {
    let endpoints: Vec<Endpoint> = host.endpoints.iter().map(|of| endpoint(of, &host.locality)).collect();
    ServiceEntry {
        metadata: metadata(service, cluster, host, settings),
        spec: ServiceEntrySpec {
            hosts: vec![host.host.to_string()],
            addresses: host.address.map(|address| address.to_string()).into_iter().collect(),
            ports: host
                .ports
                .iter()
                .map(|port| Port { number: port.number, name: port.name.clone(), protocol: port.protocol.clone() })
                .collect(),
            location: "MESH_INTERNAL".into(),
            resolution: resolution(cluster, &endpoints).into(),
            endpoints,
            export_to: cluster.visible_in.clone(),
            subject_alt_names: service.subject_names.clone(),
        },
    }
}

/// The ServiceEntry that keeps a host for the service that lost it: it remembers who did and when, no proxy sees it, and it leads
/// nowhere.
pub(super) fn reserved(service: &ServiceDecision, reserved: &ReservedHost, settings: &Settings) -> Object {
    let name = reserved.host.service_entry_name();
    let mut metadata = metadata::of_service(&service.key, name, &settings.sync_namespace, settings);
    metadata::mark_service(&mut metadata, &service.key, &service.identity, settings);
    metadata.annotations.insert(keys::HOST_LOST_AT.into(), reserved.since.as_millis().to_string());
    Object::ServiceEntry(ServiceEntry {
        metadata,
        spec: ServiceEntrySpec {
            hosts: vec![reserved.host.to_string()],
            addresses: reserved.address.map(|address| address.to_string()).into_iter().collect(),
            ports: vec![Port { number: MAIN_PORT, name: "http".into(), protocol: "http".into() }],
            location: "MESH_INTERNAL".into(),
            resolution: "DNS".into(),
            endpoints: Vec::new(),
            // No namespace.
            export_to: vec!["~".into()],
            subject_alt_names: Vec::new(),
        },
    })
}

fn metadata(
    service: &ServiceDecision,
    cluster: &ClusterDecision,
    host: &HostDecision,
    settings: &Settings,
) -> crate::istio::Metadata {
    let adopted = host.adopted.as_ref().and_then(|pair| pair.entry.as_ref());
    let mut metadata = metadata::of_host(service, host, adopted, host.host.service_entry_name(), settings);
    metadata::mark_service(&mut metadata, &service.key, &service.identity, settings);
    let annotations = &mut metadata.annotations;
    if !matches!(&*host.dns_prefix, "" | "default") {
        annotations.insert(keys::DNS_PREFIX.into(), host.dns_prefix.clone());
    }
    if host.variant != Variant::Default {
        annotations.insert(keys::VARIANT.into(), host.variant.to_string());
    }
    if let Some(region) = &host.policy_region {
        annotations.insert(keys::POLICY_REGION.into(), region.to_string());
    }
    if !cluster.served_clusters.is_empty() {
        let clusters: Vec<&str> = cluster.served_clusters.iter().map(|cluster| cluster.as_str()).collect();
        annotations.insert(keys::READ_IN.into(), clusters.join(","));
    }
    if let Some((cluster, policy)) = &service.policy {
        annotations.insert(keys::ASSOCIATED_GTP.into(), policy.id.name.to_string());
        annotations.insert(keys::POLICY.into(), policy.id.in_cluster(cluster).text());
    }
    metadata
}

/// Names must be resolved. Where several clusters read only addresses, istiod is to lead each to those of its network, which it
/// does of what it sends itself.
fn resolution(cluster: &ClusterDecision, endpoints: &[Endpoint]) -> &'static str {
    let is_address = |endpoint: &Endpoint| endpoint.address.parse::<IpAddr>().is_ok();
    if !cluster.served_clusters.is_empty() && endpoints.iter().all(is_address) { "STATIC" } else { "DNS" }
}

fn endpoint(decision: &EndpointDecision, preference: &LocalityPreference) -> Endpoint {
    Endpoint {
        address: decision.address.clone(),
        ports: decision.ports.clone(),
        labels: labels(decision),
        locality: locality(&decision.group, preference),
        network: decision.network.as_deref().unwrap_or_default().to_owned(),
        weight: decision.weight,
    }
}

fn labels(decision: &EndpointDecision) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (keys::TLS_MODE.to_owned(), "istio".to_owned()),
        (keys::ENDPOINT_CLUSTER.to_owned(), decision.cluster.label_value()),
    ]);
    if let Some(workload) = decision.workload {
        labels.insert(keys::ENDPOINT_TYPE.to_owned(), workload.endpoint_type().to_owned());
    }
    if let Some(Locality { region, zone }) = &decision.locality {
        labels.insert(keys::ENDPOINT_REGION.to_owned(), region.to_string());
        labels.extend(zone.as_ref().map(|zone| (keys::ENDPOINT_ZONE.to_owned(), zone.to_string())));
    }
    if decision.reason.path.is_direct() {
        labels.insert(keys::ENDPOINT_DIRECT.to_owned(), "true".to_owned());
    }
    labels
}

/// The locality that is written: a region of the split is a zone of the clients' region.
fn locality(group: &LocalityGroup, preference: &LocalityPreference) -> String {
    let client_region = match preference {
        LocalityPreference::Tiers { client_region, .. } => &**client_region,
        _ => "",
    };
    match group {
        LocalityGroup::Split(region) => format!("{client_region}/tier0-{region}"),
        LocalityGroup::ClientRegionAsFallback => fallback_region(client_region),
        LocalityGroup::Own(locality) => locality.as_ref().map(Locality::to_string).unwrap_or_default(),
    }
}

/// What the clients' own region is called while it is a fallback.
pub(super) fn fallback_region(region: &str) -> String {
    format!("fallback-{region}")
}
