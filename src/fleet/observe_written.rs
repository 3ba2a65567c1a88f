//! Pruning of the objects that Tradewind writes, or that have the name of one: who manages them, and what their annotations record.
//!
//! Decides what is kept of them; never whether one is wanted.

use std::{net::Ipv4Addr, sync::Arc};

use serde_json::Value;

use super::{
    observe::{Observer, filled, read_metadata},
    observe_adoption,
    observe_policy::{policies_of, recalled},
};
use crate::{
    config::Settings,
    istio::{self, Owner, keys},
    model::{
        CopyOrigin, Kind, Labels, Locality, MalformedObject, ObjectId, Observed, PublishedEndpoint, ServiceKey,
        SidecarHosts, Variant, Written,
    },
};

impl Observer {
    /// Prunes a ServiceEntry, DestinationRule or Sidecar.
    ///
    /// # Errors
    /// When its metadata is not Kubernetes metadata. Specs that do not parse are no errors: somebody
    /// else's does not matter, and a managed one gets the digest 0 and so is written again.
    pub fn written(&self, kind: Kind, value: &Value) -> Result<Observed, MalformedObject> {
        let metadata = read_metadata(value)?;
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        // A copy has the labels and annotations of the user's object: they say nothing of whom it was written for.
        let is_copy = annotations.contains_key(keys::ORIGIN);
        let service = if is_copy { None } else { service_key(&labels, &annotations, self.settings()) };
        let marks = istio::Metadata { labels, annotations, ..istio::Metadata::default() };
        let owner = if is_anothers(kind, metadata.namespace.as_deref(), &marks, self.settings()) {
            Owner::Foreign
        } else {
            marks.owner()
        };
        let object = istio::Object::read(kind, value, &self.owned).ok();
        let spec = value.get("spec").unwrap_or(&Value::Null);
        let (ports, endpoints) = match &object {
            Some(istio::Object::ServiceEntry(entry)) if owner == Owner::Tradewind => {
                (entry.spec.ports.iter().map(|p| (p.name.clone(), p.number, p.protocol.clone())).collect(), {
                    let variant = variant_of(&marks.annotations);
                    entry.spec.endpoints.iter().filter_map(|endpoint| published_endpoint(endpoint, variant)).collect()
                })
            }
            _ => (Vec::new(), Vec::new()),
        };
        let id = ObjectId::new(
            kind,
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        let is_foreign_entry = kind == Kind::ServiceEntry && owner == Owner::Foreign;
        let further_hosts = if is_foreign_entry { observe_adoption::hosts(kind, spec) } else { Vec::new() };
        Ok(Observed::Written(Box::new(Written {
            adoption: self.adoption(&id, &marks, owner, spec).map(Box::new),
            id,
            uid: metadata.uid.unwrap_or_default().into(),
            resource_version: metadata.resource_version.unwrap_or_default().into(),
            owner,
            service,
            identity: marks.annotations.get(&self.settings().workload_identity_key).map(|text| text.as_str().into()),
            digest: object.as_ref().map_or(0, istio::Object::digest),
            host: spec.get("host").or_else(|| spec.get("hosts")?.get(0)).and_then(Value::as_str).map(Into::into),
            further_hosts: further_hosts.into_iter().skip(1).map(Into::into).collect(),
            address: first_ipv4(spec),
            policies: policies_of(&marks.annotations),
            recalled: recalled(kind, owner, &marks.annotations, object.as_ref(), self.settings()),
            ports,
            endpoints,
            sidecar: (kind == Kind::Sidecar).then(|| SidecarHosts::read(spec, &marks.annotations)),
            origin: marks.annotations.get(keys::ORIGIN).map(|origin| CopyOrigin::parse(kind, origin)),
            shape: object.as_ref().filter(|_| owner == Owner::Tradewind).map(istio::Shape::of).unwrap_or_default(),
            content: if self.keep_content { object.map(Arc::new) } else { None },
        })))
    }

    /// Whether the controller with this sync namespace wrote an object, by its annotation.
    pub(super) fn is_marked_as_ours(&self, marks: &istio::Metadata) -> bool {
        marks.annotations.get(keys::SYNC_NAMESPACE) == Some(&self.settings().sync_namespace)
            && marks.owner() == Owner::Tradewind
    }
}

/// Whether an object is managed by a controller with another sync namespace. Several may run in one cluster, and none
/// changes the objects of another.
fn is_anothers(kind: Kind, namespace: Option<&str>, marks: &istio::Metadata, settings: &Settings) -> bool {
    let sync_namespace = settings.sync_namespace.as_str();
    kind != Kind::Sidecar
        && namespace != Some(sync_namespace)
        && marks.annotations.get(keys::SYNC_NAMESPACE).map(String::as_str) != Some(sync_namespace)
        && marks.owner() == Owner::Tradewind
}

/// The service that an object was written for: by Tradewind's annotations, else by Admiral's identity annotation
/// and environment label (Admiral, docs/admiral-behaviour.md#serviceentry-fields).
fn service_key(labels: &Labels, annotations: &Labels, settings: &Settings) -> Option<ServiceKey> {
    let recorded = annotations.get(keys::IDENTITY).zip(annotations.get(keys::ENVIRONMENT));
    let references = || annotations.get(&settings.workload_identity_key).zip(labels.get(&settings.env_key));
    let (identity, environment) = recorded.or_else(references)?;
    ServiceKey::parse(identity, environment).ok()
}

fn variant_of(annotations: &Labels) -> Variant {
    annotations.get(keys::VARIANT).and_then(|text| Variant::of_prefix(text)).unwrap_or_default()
}

fn published_endpoint(endpoint: &istio::Endpoint, variant: Variant) -> Option<PublishedEndpoint> {
    let label = |key| filled(endpoint.labels.get(key).map(String::as_str));
    let locality = match (label(keys::ENDPOINT_REGION), label(keys::ENDPOINT_ZONE)) {
        (Some(region), Some(zone)) => Some(Locality::zone(region, zone)),
        (Some(region), None) => Some(Locality::region(region)),
        (None, _) => Locality::parse(&endpoint.locality),
    };
    Some(PublishedEndpoint {
        cluster_label: label(keys::ENDPOINT_CLUSTER)?.to_owned(),
        address: endpoint.address.as_str().into(),
        locality,
        network: filled(Some(endpoint.network.as_str())).map(Into::into),
        direct: label(keys::ENDPOINT_DIRECT).is_some(),
        workload: label(keys::ENDPOINT_TYPE).and_then(Kind::of_endpoint_type),
        ports: endpoint.ports.clone(),
        weight: endpoint.weight,
        variant,
    })
}

fn first_ipv4(spec: &Value) -> Option<Ipv4Addr> {
    spec.get("addresses")?.as_array()?.iter().filter_map(Value::as_str).find_map(|address| address.parse().ok())
}
