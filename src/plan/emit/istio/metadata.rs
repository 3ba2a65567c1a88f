//! The metadata of written objects: what names them, marks them as managed, and finds them again.

use std::collections::BTreeMap;

use crate::{
    config::Settings,
    istio::{Metadata, keys},
    model::{Identity, ServiceKey},
    plan::{
        decide::{HostDecision, ServiceDecision},
        input::AdoptedName,
    },
};

/// Metadata of an object of a service that belongs to no single host.
pub(super) fn of_service(key: &ServiceKey, name: String, namespace: &str, settings: &Settings) -> Metadata {
    let mut metadata = Metadata {
        name,
        namespace: namespace.to_owned(),
        labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
        annotations: BTreeMap::from([
            (keys::CREATED_BY.into(), keys::TRADEWIND.into()),
            (keys::IDENTITY.into(), key.identity.to_string()),
            (keys::ENVIRONMENT.into(), key.environment.to_string()),
        ]),
    };
    if namespace != settings.sync_namespace {
        metadata.annotations.insert(keys::SYNC_NAMESPACE.into(), settings.sync_namespace.clone());
    }
    metadata
}

/// Metadata of one of the two objects of a host, in the place of a hand-written object where there is one.
pub(super) fn of_host(
    service: &ServiceDecision,
    host: &HostDecision,
    adopted: Option<&AdoptedName>,
    own_name: String,
    settings: &Settings,
) -> Metadata {
    let name = adopted.map_or(own_name, |adopted| adopted.name.to_string());
    let namespace = host.adopted.as_ref().map_or(&*settings.sync_namespace, |pair| &pair.namespace);
    let mut metadata = of_service(&service.key, name, namespace, settings);
    if let Some(region) = &host.primary_region {
        metadata.annotations.insert(keys::PRIMARY_REGION.into(), region.to_string());
    }
    if let Some(adopted) = adopted {
        metadata.annotations.insert(keys::ADOPTED.into(), host.host.to_string());
        if adopted.annotated {
            metadata.annotations.insert(keys::ADOPT.into(), "true".into());
        }
    }
    metadata
}

/// The label of the environment and the annotation of the identity, under the keys that users chose.
pub(super) fn mark_service(metadata: &mut Metadata, key: &ServiceKey, identity: &Identity, settings: &Settings) {
    metadata.labels.insert(settings.env_key.clone(), key.environment.to_string());
    metadata.annotations.insert(settings.workload_identity_key.clone(), identity.to_string());
}
