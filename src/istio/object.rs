//! An object that Tradewind writes: metadata, kind, digest and ownership.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
    io,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DestinationRule, ServiceEntry, Sidecar};
use crate::model::{Kind, ObjectId, keys};

/// Which labels and annotations are ours on an object; all others belong to somebody else and are not compared.
#[derive(Debug, Clone)]
pub struct OwnedKeys {
    /// Annotation (and label) key of the identity, from the settings.
    pub identity: String,
    /// Label key of the environment, from the settings.
    pub environment: String,
}

impl OwnedKeys {
    fn label(&self, key: &str) -> bool {
        matches!(key, keys::MANAGED_BY | keys::DNS_PREFIX | keys::VS_ROUTING | keys::VS_ROUTING_TYPE)
            || key == self.environment
    }

    fn annotation(&self, key: &str) -> bool {
        key == self.identity
            || matches!(
                key,
                keys::CREATED_BY
                    | keys::DNS_PREFIX
                    | keys::ASSOCIATED_GTP
                    | keys::ROUTING_POLICY_NAME
                    | keys::ROUTING_POLICY_IDENTITY
            )
            || key.starts_with("tradewind.io/")
    }
}

/// Who made an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Carries our ownership label.
    Tradewind,
    /// Carries Admiral's annotation `app.kubernetes.io/created-by: admiral`.
    Admiral,
    /// Anybody else.
    Foreign,
}

/// Metadata that is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Tells who made the object that carries this metadata.
    #[must_use]
    pub fn owner(&self) -> Owner {
        if self.labels.get(keys::MANAGED_BY).is_some_and(|by| by == keys::TRADEWIND) {
            Owner::Tradewind
        } else if self.annotations.get(keys::CREATED_BY).is_some_and(|by| by == keys::ADMIRAL) || self.is_filter() {
            Owner::Admiral
        } else {
            Owner::Foreign
        }
    }

    /// Whether it is a filter of a RoutingPolicy: Admiral puts no other mark on those (Admiral,
    /// docs/admiral-behaviour.md#envoyfilters).
    fn is_filter(&self) -> bool {
        [keys::ROUTING_POLICY_NAME, keys::ROUTING_POLICY_IDENTITY].iter().all(|key| self.annotations.contains_key(*key))
    }

    /// Drops the labels and annotations that are not ours. On a copy, those that it has from the user's object are ours, too.
    pub fn keep_owned(&mut self, owned: &OwnedKeys) {
        let copied = |key: &str| -> BTreeSet<String> {
            let listed = self.annotations.get(key).into_iter().flat_map(|keys| keys.split(','));
            listed.map(str::to_owned).collect()
        };
        let (labels, annotations) = (copied(keys::COPIED_LABELS), copied(keys::COPIED_ANNOTATIONS));
        self.labels.retain(|key, _| owned.label(key) || labels.contains(key));
        self.annotations.retain(|key, _| owned.annotation(key) || annotations.contains(key));
    }
}

/// An object that Tradewind wants in a cluster, or finds there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// Where a service can be reached.
    ServiceEntry(ServiceEntry),
    /// How its endpoints are chosen.
    DestinationRule(DestinationRule),
    /// What a client namespace sees.
    Sidecar(Sidecar),
    /// How requests for a host are routed.
    VirtualService(Opaque),
    /// What proxies do beyond Istio's own API.
    EnvoyFilter(Opaque),
    /// A copy of a user's DestinationRule, or a rule for all Services of a namespace.
    RuleCopy(Opaque),
}

/// An object whose spec is compared as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    /// Metadata.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: Value,
}

impl Opaque {
    /// An object with what a typed spec says.
    ///
    /// # Panics
    /// Where the spec has keys that are no text, which none of Istio's has.
    #[must_use]
    pub fn new(metadata: Metadata, spec: &impl Serialize) -> Self {
        Self { metadata, spec: serde_json::to_value(spec).expect("a spec is plain data with text keys") }
    }
}

impl Object {
    /// Reads an object of one of the kinds that are written, dropping what Tradewind never decides.
    ///
    /// # Errors
    /// When a field that Tradewind knows has another type.
    pub fn read(kind: Kind, value: &Value, owned: &OwnedKeys) -> Result<Self, serde_json::Error> {
        let mut object = match kind {
            Kind::DestinationRule if is_opaque(value) => Self::RuleCopy(Opaque::deserialize(value)?),
            Kind::DestinationRule => Self::DestinationRule(DestinationRule::deserialize(value)?),
            Kind::Sidecar => Self::Sidecar(Sidecar::deserialize(value)?),
            Kind::VirtualService => Self::VirtualService(Opaque::deserialize(value)?),
            Kind::EnvoyFilter => Self::EnvoyFilter(Opaque::deserialize(value)?),
            _ => Self::ServiceEntry(ServiceEntry::deserialize(value)?),
        };
        object.metadata_mut().keep_owned(owned);
        Ok(object)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::DestinationRule(_) | Self::RuleCopy(_) => Kind::DestinationRule,
            Self::Sidecar(_) => Kind::Sidecar,
            Self::VirtualService(_) => Kind::VirtualService,
            Self::EnvoyFilter(_) => Kind::EnvoyFilter,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::ServiceEntry(o) => &o.metadata,
            Self::DestinationRule(o) => &o.metadata,
            Self::Sidecar(o) => &o.metadata,
            Self::VirtualService(o) | Self::EnvoyFilter(o) | Self::RuleCopy(o) => &o.metadata,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::ServiceEntry(o) => &mut o.metadata,
            Self::DestinationRule(o) => &mut o.metadata,
            Self::Sidecar(o) => &mut o.metadata,
            Self::VirtualService(o) | Self::EnvoyFilter(o) | Self::RuleCopy(o) => &mut o.metadata,
        }
    }

    /// Which object of its cluster it is.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        ObjectId::new(self.kind(), &self.metadata().namespace, &self.metadata().name)
    }

    /// The host of a ServiceEntry, or of a host's DestinationRule.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::ServiceEntry(entry) => entry.spec.hosts.first().map(String::as_str),
            Self::DestinationRule(rule) => Some(&rule.spec.host),
            _ => None,
        }
    }

    /// Whether it takes the place of a hand-written object.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.metadata().annotations.contains_key(keys::ADOPTED)
    }

    /// Digest of all that Tradewind decides: equal digests need no write.
    #[must_use]
    pub fn digest(&self) -> u64 {
        if self.metadata().annotations.contains_key(keys::ADOPT) {
            let mut without = self.clone();
            without.metadata_mut().annotations.remove(keys::ADOPT);
            return without.digest();
        }
        let mut sink = HashSink(DefaultHasher::new());
        serde_json::to_writer(&mut sink, self).expect("writing plain data into a hash cannot fail");
        sink.0.finish()
    }

    /// The whole object as it is applied, with `apiVersion` and `kind`.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut manifest = serde_json::json!({ "apiVersion": self.kind().api_version(), "kind": self.kind().as_str() });
        let body = serde_json::to_value(self).expect("plain data serializes");
        if let (Some(manifest), Value::Object(body)) = (manifest.as_object_mut(), body) {
            manifest.extend(body);
        }
        manifest
    }
}

/// A copy says where it comes from, and a rule of a namespace that it routes.
fn is_opaque(value: &Value) -> bool {
    value.get("metadata").is_some_and(|metadata| {
        metadata.get("annotations").is_some_and(|annotations| annotations.get(keys::ORIGIN).is_some())
            || metadata.get("labels").is_some_and(|labels| labels.get(keys::VS_ROUTING).is_some())
    })
}

struct HashSink(DefaultHasher);

impl io::Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owned() -> OwnedKeys {
        OwnedKeys { identity: "identity".into(), environment: "admiral.io/env".into() }
    }

    fn entry(extra_label: &str, address: &str) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": "a-se", "namespace": "admiral-sync", "uid": "1",
                         "labels": {"app.kubernetes.io/managed-by": "tradewind", extra_label: "x"}},
            "spec": {"hosts": ["a.global"], "addresses": [address], "someday": {"new": true}},
            "status": {}
        })
    }

    #[test]
    fn the_digest_covers_managed_fields_only() {
        let read = |value| Object::read(Kind::ServiceEntry, &value, &owned()).unwrap();
        let plain = read(entry("admiral.io/env", "240.0.0.1"));
        let digest = plain.digest();
        assert_eq!(digest, read(plain.manifest()).digest(), "what is written reads back the same");
        assert_ne!(digest, read(entry("admiral.io/env", "240.0.0.2")).digest());
        assert_ne!(digest, read(entry("argocd.argoproj.io/instance", "240.0.0.1")).digest(), "our label is gone");
        assert_eq!(
            read(entry("a.example/b", "240.0.0.1")).digest(),
            read(entry("argocd.argoproj.io/instance", "240.0.0.1")).digest()
        );
    }

    #[test]
    fn a_copy_names_the_keys_that_it_has_from_its_origin_and_others_keys_stay_theirs() {
        let copy = |labels: Value, team: &str| {
            let metadata = json!({"name": "a", "namespace": "sync", "labels": labels, "annotations": {
                "tradewind.io/origin": "east/team/a", "tradewind.io/copied-labels": "team,tier",
                "tradewind.io/copied-annotations": "contact", "contact": team}});
            Object::read(Kind::DestinationRule, &json!({"metadata": metadata, "spec": {"host": "x"}}), &owned())
                .unwrap()
        };
        let digest = copy(json!({"team": "pay", "tier": "1"}), "x").digest();
        assert_eq!(digest, copy(json!({"team": "pay", "tier": "1", "audit": "yes"}), "x").digest(), "not ours");
        assert_ne!(digest, copy(json!({"team": "other", "tier": "1"}), "x").digest());
        assert_ne!(digest, copy(json!({"team": "pay"}), "x").digest(), "taken away by somebody");
        assert_ne!(digest, copy(json!({"team": "pay", "tier": "1"}), "y").digest());
    }

    #[test]
    fn the_adoption_annotation_is_no_difference() {
        let with = |annotations: Value| {
            let value = json!({"metadata": {"name": "a", "namespace": "sync", "annotations": annotations},
                               "spec": {"hosts": ["a.global"]}});
            Object::read(Kind::ServiceEntry, &value, &owned()).unwrap()
        };
        let plain = with(json!({})).digest();
        assert_eq!(plain, with(json!({"tradewind.io/adopt": "true"})).digest());
        assert_ne!(plain, with(json!({"tradewind.io/adopted": "a.global"})).digest());
    }

    #[test]
    fn the_managed_label_then_admirals_annotation_decide_the_owner() {
        let mut metadata = Metadata::default();
        assert_eq!(metadata.owner(), Owner::Foreign);
        metadata.annotations.insert(keys::ROUTING_POLICY_NAME.into(), "payments".into());
        assert_eq!(metadata.owner(), Owner::Foreign);
        metadata.annotations.insert(keys::ROUTING_POLICY_IDENTITY.into(), "payments".into());
        assert_eq!(metadata.owner(), Owner::Admiral);
        metadata.annotations = BTreeMap::from([(keys::CREATED_BY.into(), keys::ADMIRAL.into())]);
        assert_eq!(metadata.owner(), Owner::Admiral);
        metadata.labels.insert(keys::MANAGED_BY.into(), keys::TRADEWIND.into());
        assert_eq!(metadata.owner(), Owner::Tradewind);
    }
}
