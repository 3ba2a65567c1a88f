//! The Sidecar of a client namespace (Admiral, docs/admiral-behaviour.md#sidecars, without its losses).

use std::collections::BTreeMap;

use crate::{
    config::Settings,
    istio::{Egress, Metadata, Sidecar, SidecarSpec, keys},
    plan::input::ClientNamespace,
};

pub(super) fn build(client: &ClientNamespace, hosts: &[String], settings: &Settings) -> Sidecar {
    Sidecar {
        metadata: Metadata {
            name: settings.workload_sidecar_name.clone(),
            namespace: client.namespace.to_string(),
            labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
            annotations: BTreeMap::from([(keys::CREATED_BY.into(), keys::TRADEWIND.into())]),
        },
        spec: SidecarSpec { egress: vec![Egress { hosts: hosts.to_vec(), ..Egress::default() }] },
    }
}
