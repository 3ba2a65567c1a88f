//! Admiral's address ConfigMap (Admiral, docs/admiral-behaviour.md#address-configmap): read once at start, never
//! written.
//!
//! Addresses that clients know stay what they are when Tradewind takes over. What Tradewind writes later is
//! remembered in the written objects themselves.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;

use super::{
    informer::RETRY_AFTER_MAX_SECONDS,
    kube::now_seconds,
    watch_error::{Next, WatchError},
};
use crate::{
    model::{ClusterName, Note, NoteKind, ObjectKind, ObjectPath},
    registry::{NoteSource, ReadTarget, Registry},
};

/// Data key of the ConfigMap.
const STORE: &str = "serviceEntryAddressStore";
/// Wait between attempts while the hub does not answer: nothing can be planned without it anyway.
const RETRY_SECONDS: u64 = 2;
/// Longest wait for one answer: a ConfigMap is small.
const ANSWER_SECONDS: u64 = 15;

#[derive(Deserialize)]
#[serde(rename = "Store")]
struct StoredAddresses {
    #[serde(rename = "entry-addresses", default)]
    entries: BTreeMap<String, String>,
}

/// Why the ConfigMap is no address store.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum StoreError {
    #[error("it has no data key {STORE}")]
    NoData,
    #[error("{0}")]
    Yaml(String),
    #[error("{0:?} is no IPv4 address")]
    Address(String),
}

/// Reads the ConfigMap on the hub and passes its addresses to the registry. Waits while the hub does not answer, and reports it;
/// a ConfigMap that is missing, forbidden or malformed is passed over, the latter two with a note.
pub async fn honour(hub: Client, registry: Arc<Registry>) {
    let settings = registry.settings().clone();
    if settings.se_address_configmap.is_empty() {
        return;
    }
    let api: Api<ConfigMap> = Api::namespaced(hub, &settings.sync_namespace);
    let (cluster, target) = (ClusterName::hub(), ReadTarget::AddressConfigMap);
    let limit = Duration::from_secs(ANSWER_SECONDS);
    loop {
        let answer = tokio::time::timeout(limit, api.get_opt(&settings.se_address_configmap)).await;
        let trouble = match answer {
            Ok(Ok(None)) => break,
            Ok(Ok(Some(found))) => {
                match read(&found) {
                    Ok(entries) => registry.honour_admiral_addresses(entries),
                    Err(reason) => {
                        let message = format!("cannot be read: {reason}; its addresses are not honoured");
                        note(&registry, NoteKind::ObjectMalformed, message);
                    }
                }
                break;
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                let message =
                    "may not be read (403), so its addresses are not honoured; grant get on this ConfigMap, or set \
                               seAddressConfigmap to \"\" where Admiral never wrote one"
                        .to_owned();
                note(&registry, NoteKind::KindUnreadable, message);
                break;
            }
            Ok(Err(error)) => WatchError::of(&error, "configmaps (v1)"),
            Err(_) => WatchError::silent(limit),
        };
        registry.read_failed(&cluster, target, &trouble.failure, now_seconds());
        let wait = match trouble.next {
            Next::After(asked) => asked.min(Duration::from_secs(RETRY_AFTER_MAX_SECONDS)),
            Next::Soon | Next::Later | Next::ListAgain | Next::ListLater => Duration::from_secs(RETRY_SECONDS),
        };
        tokio::time::sleep(wait).await;
    }
    registry.read_succeeded(&cluster, target);
}

fn read(found: &ConfigMap) -> Result<Vec<(String, Ipv4Addr)>, StoreError> {
    let text = found.data.as_ref().and_then(|data| data.get(STORE)).ok_or(StoreError::NoData)?;
    let store: StoredAddresses = serde_saphyr::from_str(text).map_err(|error| StoreError::Yaml(error.to_string()))?;
    let address = |text: &str| text.parse().map_err(|_| StoreError::Address(text.to_owned()));
    store.entries.iter().map(|(name, text)| Ok((name.clone(), address(text)?))).collect()
}

fn note(registry: &Registry, kind: NoteKind, message: String) {
    let settings = registry.settings();
    let (namespace, name) = (&settings.sync_namespace, &settings.se_address_configmap);
    let object = ObjectPath::new(&ClusterName::hub(), ObjectKind::ConfigMap, namespace, name);
    let note = Note { kind, object, service: None, message };
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
        assert!(read(&found).unwrap_err().to_string().contains("nonsense"));
    }
}
