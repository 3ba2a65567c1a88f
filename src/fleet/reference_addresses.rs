//! The reference's address ConfigMap (reference behaviour §17): read once at start, never written.
//!
//! Addresses that clients know stay what they are when Tradewind takes over. What Tradewind writes later is
//! remembered in the written objects themselves.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Config};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::kubeconfig::{self, ConnectError};
use crate::{
    config::Settings,
    model::{ClusterName, Note, NoteKind, ObjectRef},
    registry::{NoteSource, Registry},
};

/// Data key of the ConfigMap.
const STORE: &str = "serviceEntryAddressStore";
/// Wait between attempts while the hub does not answer: nothing can be planned without it anyway.
const RETRY_SECONDS: u64 = 2;

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "entry-addresses", default)]
    entries: BTreeMap<String, String>,
}

/// Reads the ConfigMap on the hub and hands its addresses to the registry. Waits while the hub does not answer; a ConfigMap
/// that is missing, forbidden or malformed is passed over, the latter two with a note.
///
/// # Errors
/// When no client can be made for the hub.
pub async fn honour(
    hub: &Config,
    registry: &Registry,
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<(), ConnectError> {
    if settings.se_address_configmap.is_empty() {
        return Ok(());
    }
    let api: Api<ConfigMap> = Api::namespaced(kubeconfig::connect(hub.clone())?, &settings.sync_namespace);
    loop {
        match api.get_opt(&settings.se_address_configmap).await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => {
                match read(&found) {
                    Ok(entries) => registry.honour_reference_addresses(entries),
                    Err(reason) => {
                        note(registry, settings, format!("cannot be read: {reason}; its addresses are not honoured"))
                    }
                }
                return Ok(());
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                note(
                    registry,
                    settings,
                    format!("may not be read ({}); its addresses are not honoured", status.reason),
                );
                return Ok(());
            }
            Err(_) => tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)) => {}
                () = cancel.cancelled() => return Ok(()),
            },
        }
    }
}

fn read(found: &ConfigMap) -> Result<Vec<(String, Ipv4Addr)>, String> {
    let text =
        found.data.as_ref().and_then(|data| data.get(STORE)).ok_or_else(|| format!("it has no data key {STORE}"))?;
    let store: Store = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let address = |text: &str| text.parse().map_err(|_| format!("{text:?} is no IPv4 address"));
    store.entries.iter().map(|(name, text)| Ok((name.clone(), address(text)?))).collect()
}

fn note(registry: &Registry, settings: &Settings, message: String) {
    let object = ObjectRef {
        cluster: ClusterName::hub(),
        kind: "ConfigMap".into(),
        namespace: settings.sync_namespace.clone(),
        name: settings.se_address_configmap.clone(),
    };
    let note = Note { kind: NoteKind::AddressConflict, object, service: None, message };
    registry.notes().put(NoteSource::Fleet("address ConfigMap".into()), vec![note]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_store_is_read() {
        let text = "entry-addresses:\n  stage.payments.global-se: 240.0.10.1\naddresses:\n- 240.0.10.1\n";
        let mut found = ConfigMap { data: Some([(STORE.to_owned(), text.to_owned())].into()), ..ConfigMap::default() };
        assert_eq!(read(&found), Ok(vec![("stage.payments.global-se".into(), Ipv4Addr::new(240, 0, 10, 1))]));
        found.data = Some([(STORE.to_owned(), "entry-addresses: {a-se: nonsense}".to_owned())].into());
        assert!(read(&found).unwrap_err().contains("nonsense"));
    }
}
