//! The ServiceEntry of a host (Admiral, docs/admiral-behaviour.md#serviceentry-fields).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{endpoints::LocalizedEndpoint, ports::PublishedPort};
use crate::{
    config::Settings,
    istio::{Metadata, Port, ServiceEntry, ServiceEntrySpec, keys},
    model::{ClusterName, Host, Identity, Policy, ServiceKey, Variant},
    plan::input::{AdoptedName, AdoptedPair, ServedCluster},
};

/// What both objects of a host have in common.
pub(super) struct Common<'a> {
    pub(super) key: &'a ServiceKey,
    /// The identity without its partition.
    pub(super) identity: &'a Identity,
    pub(super) host: &'a Host,
    /// The policy in force, with its cluster.
    pub(super) policy: Option<&'a (ClusterName, Arc<Policy>)>,
    pub(super) dns_prefix: &'a str,
    pub(super) variant: Variant,
    pub(super) export_to: &'a [String],
    pub(super) subject_names: &'a [String],
    /// The region that stays primary while no policy governs the host.
    pub(super) primary: Option<&'a str>,
    /// The region to which the policy sends all traffic.
    pub(super) policy_region: Option<&'a str>,
    /// The clusters whose proxies read it, where they are others than its own.
    pub(super) read_in: &'a [ServedCluster],
    /// The hand-written objects whose places these take in the cluster.
    pub(super) adopted: Option<&'a AdoptedPair>,
}

impl Common<'_> {
    pub(super) fn metadata(&self, name: String, settings: &Settings) -> Metadata {
        let mut annotations = BTreeMap::from([
            (keys::CREATED_BY.into(), keys::TRADEWIND.into()),
            (keys::IDENTITY.into(), self.key.identity.to_string()),
            (keys::ENVIRONMENT.into(), self.key.environment.to_string()),
        ]);
        annotations.extend(self.primary.map(|region| (keys::PRIMARY_REGION.into(), region.to_owned())));
        let namespace = self.adopted.map_or(&*settings.sync_namespace, |pair| &pair.namespace).to_owned();
        if namespace != settings.sync_namespace {
            annotations.insert(keys::SYNC_NAMESPACE.into(), settings.sync_namespace.clone());
        }
        Metadata {
            name,
            namespace,
            labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
            annotations,
        }
    }

    /// As [`Common::metadata`], in the place of a hand-written object where there is one.
    pub(super) fn metadata_of(&self, adopted: Option<&AdoptedName>, own_name: String, settings: &Settings) -> Metadata {
        let Some(adopted) = adopted else { return self.metadata(own_name, settings) };
        let mut metadata = self.metadata(adopted.name.to_string(), settings);
        metadata.annotations.insert(keys::ADOPTED.into(), self.host.to_string());
        if adopted.annotated {
            metadata.annotations.insert(keys::ADOPT.into(), "true".into());
        }
        metadata
    }
}

pub(super) fn build(
    common: &Common<'_>,
    ports: &[PublishedPort],
    endpoints: &[LocalizedEndpoint],
    address: Option<Ipv4Addr>,
    settings: &Settings,
) -> ServiceEntry {
    let adopted = common.adopted.and_then(|pair| pair.entry.as_ref());
    let mut metadata = common.metadata_of(adopted, common.host.service_entry_name(), settings);
    metadata.labels.insert(settings.env_key.clone(), common.key.environment.to_string());
    metadata.annotations.insert(settings.workload_identity_key.clone(), common.identity.to_string());
    if !matches!(common.dns_prefix, "" | "default") {
        metadata.annotations.insert(keys::DNS_PREFIX.into(), common.dns_prefix.to_owned());
    }
    if common.variant != Variant::Default {
        metadata.annotations.insert(keys::VARIANT.into(), common.variant.to_string());
    }
    if let Some(region) = common.policy_region {
        metadata.annotations.insert(keys::POLICY_REGION.into(), region.to_owned());
    }
    if !common.read_in.is_empty() {
        let clusters: Vec<&str> = common.read_in.iter().map(|reader| reader.cluster.as_str()).collect();
        metadata.annotations.insert(keys::READ_IN.into(), clusters.join(","));
    }
    if let Some((cluster, policy)) = common.policy {
        let path = policy.id.in_cluster(cluster).text();
        metadata.annotations.insert(keys::ASSOCIATED_GTP.into(), policy.id.name.to_string());
        metadata.annotations.insert(keys::POLICY.into(), path);
    }
    ServiceEntry {
        metadata,
        spec: ServiceEntrySpec {
            hosts: vec![common.host.to_string()],
            addresses: address.map(|address| address.to_string()).into_iter().collect(),
            ports: ports
                .iter()
                .map(|port| Port { number: port.number, name: port.name.clone(), protocol: port.protocol.clone() })
                .collect(),
            location: "MESH_INTERNAL".into(),
            resolution: resolution(common, endpoints).into(),
            endpoints: endpoints.iter().map(|placed| placed.endpoint.clone()).collect(),
            export_to: common.export_to.to_vec(),
            subject_alt_names: common.subject_names.to_vec(),
        },
    }
}

/// Names must be asked for. Where several clusters read only addresses, istiod is to lead each to those of its network, which it
/// does of what it sends itself.
fn resolution(common: &Common<'_>, endpoints: &[LocalizedEndpoint]) -> &'static str {
    let is_address = |placed: &LocalizedEndpoint| placed.endpoint.address.parse::<IpAddr>().is_ok();
    if !common.read_in.is_empty() && endpoints.iter().all(is_address) { "STATIC" } else { "DNS" }
}
