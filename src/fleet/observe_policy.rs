//! Pruning of policies: every kind that names services by labels keeps the same metadata beside its spec.
//!
//! Decides what is kept of a policy; never which service it is for.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::observe::{IGNORE, Observer, created_seconds, id, is_true, read_metadata, read_spec};
use crate::{
    istio::keys,
    model::{Configured, Kind, Labels},
};

impl Observer {
    /// Prunes a policy that is still JSON.
    pub(super) fn configured<S: DeserializeOwned>(&self, kind: Kind, value: &Value) -> Result<Configured<S>, String> {
        Ok(self.with_spec(kind, &read_metadata(value)?, read_spec(value)?))
    }

    /// Prunes the metadata of a policy.
    pub(super) fn with_spec<S>(&self, kind: Kind, metadata: &ObjectMeta, spec: S) -> Configured<S> {
        Configured {
            id: id(kind, metadata),
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE) || is_true(metadata.labels.as_ref(), IGNORE),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: self.observed_annotations(metadata.annotations.as_ref()),
            spec: Arc::new(spec),
        }
    }
}

/// The policies beside the GlobalTrafficPolicy by which an object of ours was written.
pub(super) fn configs_of(annotations: &Labels) -> Vec<(Kind, Arc<str>)> {
    let named = [
        (Kind::OutlierDetection, keys::OUTLIER_DETECTION),
        (Kind::ClientConnectionConfig, keys::CLIENT_CONNECTION_CONFIG),
        (Kind::TrafficConfig, keys::TRAFFIC_CONFIG),
    ];
    named.into_iter().filter_map(|(kind, key)| Some((kind, annotations.get(key)?.as_str().into()))).collect()
}
