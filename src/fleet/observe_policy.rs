//! Pruning of policies: every kind that names services by labels keeps the same metadata with its spec.
//!
//! Decides what is kept of a policy; never which service it is for.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::observe::{IGNORE, Observer, created_seconds, id, is_true, read_metadata, read_spec};
use crate::{
    config::{SanSource, Settings},
    istio::{Object, Owner, keys},
    model::{ClusterName, Kind, Labels, MalformedObject, Now, ObjectPath, PolicyObject, Recalled},
};

impl Observer {
    /// Prunes a policy that is still JSON.
    pub(super) fn configured<S: DeserializeOwned>(
        &self,
        kind: Kind,
        value: &Value,
    ) -> Result<PolicyObject<S>, MalformedObject> {
        Ok(self.with_spec(kind, &read_metadata(value)?, read_spec(value)?))
    }

    /// Prunes the metadata of a policy.
    pub(super) fn with_spec<S>(&self, kind: Kind, metadata: &ObjectMeta, spec: S) -> PolicyObject<S> {
        PolicyObject {
            id: id(kind, metadata),
            created_seconds: created_seconds(metadata),
            ignored: is_true(metadata.annotations.as_ref(), IGNORE) || is_true(metadata.labels.as_ref(), IGNORE),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: self.observed_annotations(metadata.annotations.as_ref()),
            spec: Arc::new(spec),
        }
    }
}

/// The policies by which a managed object was written. An annotation that names none was edited: the object is written again,
/// and the policy that it named no longer counts.
pub(super) fn policies_of(annotations: &Labels) -> Vec<ObjectPath> {
    let named = [
        (Kind::GlobalTrafficPolicy, keys::POLICY),
        (Kind::OutlierDetection, keys::OUTLIER_DETECTION),
        (Kind::ClientConnectionConfig, keys::CLIENT_CONNECTION_CONFIG),
        (Kind::TrafficConfig, keys::TRAFFIC_CONFIG),
        (Kind::RoutingPolicy, keys::ROUTING_POLICY),
    ];
    named.into_iter().filter_map(|(kind, key)| ObjectPath::parse(kind, annotations.get(key)?).ok()).collect()
}

/// What an object remembers of the plan it was written by. A DestinationRule of Admiral remembers the region that gets
/// all traffic (Admiral, docs/admiral-behaviour.md#active-passive).
pub(super) fn recalled(
    kind: Kind,
    owner: Owner,
    annotations: &Labels,
    object: Option<&Object>,
    settings: &Settings,
) -> Recalled {
    let mut recalled = Recalled::default();
    match (owner, object) {
        (Owner::Tradewind, Some(Object::ServiceEntry(entry))) if settings.san_source == SanSource::ServiceAccounts => {
            recalled.subject_names.clone_from(&entry.spec.subject_alt_names);
        }
        (Owner::Admiral, Some(Object::DestinationRule(rule))) => {
            let setting = rule.spec.traffic_policy.load_balancer.locality_lb_setting.as_ref();
            let everything = match setting.map(|setting| setting.distribute.as_slice()) {
                Some([one]) if one.from == "*" => one.to.iter().find(|(_, percent)| **percent == 100),
                _ => None,
            };
            recalled.primary = everything.map(|(region, _)| region.as_str().into());
        }
        _ => {}
    }
    if owner == Owner::Tradewind && [Kind::ServiceEntry, Kind::DestinationRule].contains(&kind) {
        let region = |key: &str| annotations.get(key).map(|region| region.as_str().into());
        (recalled.primary, recalled.policy_region) = (region(keys::PRIMARY_REGION), region(keys::POLICY_REGION));
    }
    if owner == Owner::Tradewind && kind == Kind::ServiceEntry {
        let clusters = annotations.get(keys::READ_IN).map(|list| list.split(',')).into_iter().flatten();
        recalled.read_in = clusters.filter_map(|name| ClusterName::parse(name.trim()).ok()).collect();
        recalled.read_in.sort();
        let lost_at = annotations.get(keys::HOST_LOST_AT).and_then(|millis| millis.parse().ok());
        recalled.host_lost_at = lost_at.map(Now::from_millis);
    }
    recalled
}
