//! A Kubernetes object as it comes off the wire, pruned while it is decoded.
//!
//! Fields that are never read (managed fields, pod specs, most of status) is skipped by the decoder and
//! never takes memory: a Deployment shrinks to a tenth. Decides nothing about what is kept beyond
//! that; [`super::Observer`] does. Decoding cannot fail on any JSON object, so that one strange object
//! never spoils the list it comes in.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// What every value of an object takes in memory besides its text, about: a node of a map, and the string's own fields.
const BYTES_PER_VALUE: u64 = 64;

/// One object, pruned. `Debug` shows its name only, for it may be a Secret.
#[derive(Clone)]
pub(super) struct PrunedObject {
    pub(super) value: Value,
    metadata: ObjectMeta,
}

impl PrunedObject {
    /// Its resourceVersion; empty where it has none.
    pub(super) fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// Its namespace and name.
    pub(super) fn key(&self) -> (&str, &str) {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }

    /// About what it takes in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        memory_bytes(&self.value)
    }
}

/// About what a value takes in memory. Values are nested as deep as the decoders allow, which is 128 levels.
pub(super) fn memory_bytes(value: &Value) -> u64 {
    BYTES_PER_VALUE
        + match value {
            Value::String(text) => text.len() as u64,
            Value::Array(items) => items.iter().map(memory_bytes).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() as u64 + memory_bytes(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

impl fmt::Debug for PrunedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrunedObject({:?})", self.metadata.name)
    }
}

/// An object of a file as the decoder would leave it, so that both backends keep the same of it.
pub(crate) fn pruned(value: Value) -> Value {
    DecodePosition::Object.deserialize(value).expect("any JSON value decodes")
}

impl<'de> Deserialize<'de> for PrunedObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = DecodePosition::Object.deserialize(deserializer)?;
        let text = |field: &str| value.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { value, metadata })
    }
}

impl Resource for PrunedObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(api: &ApiResource) -> Cow<'_, str> {
        api.kind.as_str().into()
    }

    fn group(api: &ApiResource) -> Cow<'_, str> {
        api.group.as_str().into()
    }

    fn version(api: &ApiResource) -> Cow<'_, str> {
        api.version.as_str().into()
    }

    fn plural(api: &ApiResource) -> Cow<'_, str> {
        api.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is read of the spec of pods.
const OF_PODS: [&str; 3] = ["serviceAccountName", "hostNetwork", "nodeSelector"];
/// What is read of a container.
const OF_CONTAINERS: [&str; 2] = ["ports", "restartPolicy"];
/// What is read of a status: a gateway's address, which Service of a Rollout is the stable one, whether pods are ready, and
/// whether a machine is healthy.
const OF_STATUS: [&str; 7] = [
    "loadBalancer",
    "canary",
    "observedGeneration",
    "readyReplicas",
    "desiredNumberScheduled",
    "numberReady",
    "conditions",
];

/// The position of the decoder in an object.
#[derive(Clone, Copy)]
enum DecodePosition {
    Object,
    Metadata,
    Annotations,
    Spec,
    PodTemplate,
    PodSpec,
    /// The containers of pods, or one of them.
    Containers,
    Status,
    Whole,
}

impl DecodePosition {
    /// The part behind a key; none to skip it.
    fn behind(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Object, "metadata") => Some(Self::Metadata),
            (Self::Object, "spec") => Some(Self::Spec),
            (Self::Object, "status") => Some(Self::Status),
            (Self::Metadata, "annotations") => Some(Self::Annotations),
            (Self::Metadata, "managedFields" | "ownerReferences" | "finalizers")
            | (Self::Annotations, "kubectl.kubernetes.io/last-applied-configuration")
            | (Self::Spec, "volumeClaimTemplates") => None,
            (Self::Spec, "template") => Some(Self::PodTemplate),
            (Self::PodTemplate, "spec") => Some(Self::PodSpec),
            (Self::PodSpec, "containers" | "initContainers") => Some(Self::Containers),
            (Self::PodSpec, key) => OF_PODS.contains(&key).then_some(Self::Whole),
            (Self::Containers, key) => OF_CONTAINERS.contains(&key).then_some(Self::Whole),
            // What a CronJob starts is an object like any other, but for its kind.
            (Self::Spec, "jobTemplate") => Some(Self::Object),
            (Self::Status, key) => OF_STATUS.contains(&key).then_some(Self::Whole),
            _ => Some(Self::Whole),
        }
    }
}

impl<'de> DeserializeSeed<'de> for DecodePosition {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Self::Whole => Value::deserialize(deserializer),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for DecodePosition {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match self.behind(&key) {
                Some(part) => {
                    let value = access.next_value_seed(part)?;
                    map.insert(key, value);
                }
                None => {
                    access.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(map))
    }

    // Any other part that is no map is wrong; it is kept as it is, so that the observer can say so.

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        let part = if let Self::Containers = self { self } else { Self::Whole };
        while let Some(item) = access.next_element_seed(part)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use serde_json::json;

    use super::*;
    use crate::{config::Settings, fleet::Observer, model::Kind};

    fn item(value: &Value) -> PrunedObject {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn what_nobody_reads_is_never_stored() {
        let item = item(&json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "labels": {"x": "y"},
                         "managedFields": [{"f": {}}],
                         "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "1"}},
            "spec": {"replicas": 3, "template": {"metadata": {"labels": {"l": "1"}},
                                                 "spec": {"containers": [{"name": "c", "image": "i", "env": [],
                                                                          "ports": [{"containerPort": 80}]}],
                                                          "hostNetwork": true, "serviceAccountName": "payer"}}},
            "status": {"replicas": 3, "loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]},
                       "canary": {"stablePingPong": "ping"}},
            "data": {"key": "value"}
        }));
        assert_eq!(
            item.value,
            json!({
                "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "labels": {"x": "y"},
                             "annotations": {"keep": "1"}},
                "spec": {"replicas": 3, "template": {"metadata": {"labels": {"l": "1"}},
                                                     "spec": {"containers": [{"ports": [{"containerPort": 80}]}],
                                                              "hostNetwork": true, "serviceAccountName": "payer"}}},
                "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}, "canary": {"stablePingPong": "ping"}},
                "data": {"key": "value"}
            })
        );
        assert_eq!(item.resource_version(), "7");
        assert_eq!(format!("{item:?}"), "PrunedObject(Some(\"a\"))");
    }

    /// A live cluster's objects are decoded here, those of a directory are not: both must mean the same.
    #[test]
    fn nothing_that_is_read_is_skipped() {
        let observer = Observer::new(Settings::default().into(), true);
        let mut read = BTreeSet::new();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let topics = fs::read_dir(golden).unwrap().map(|topic| topic.unwrap().path()).filter(|path| path.is_dir());
        for case in topics.flat_map(|topic| fs::read_dir(topic).unwrap().map(|case| case.unwrap().path())) {
            let text = fs::read_to_string(&case).unwrap();
            let by_hand = text.split("\n-- admiral --\n").next().unwrap().split("\n-- planned --\n").next().unwrap();
            // A line of its own names each manifest.
            let is_name = |line: &&str| line.starts_with("-- ") && line.ends_with(" --");
            let documents = by_hand.lines().map(|line| if is_name(&line) { "---" } else { line });
            let documents = documents.collect::<Vec<_>>().join("\n");
            for value in documents.split("\n---\n").filter_map(|text| serde_saphyr::from_str::<Value>(text).ok()) {
                let Some(kind) = Kind::ALL.iter().find(|kind| value["kind"] == kind.as_str()) else { continue };
                let whole = observer.observe_value(*kind, &value);
                assert_eq!(observer.observe_value(*kind, &item(&value).value), whole, "{case:?}: {value}");
                read.insert(*kind);
            }
        }
        // These two are only written.
        read.extend([Kind::EnvoyFilter, Kind::Sidecar]);
        let unread: Vec<_> = Kind::ALL.iter().filter(|kind| !read.contains(kind)).collect();
        assert!(unread.is_empty(), "no golden case has {unread:?}");
    }

    #[test]
    fn strange_objects_decode_so_that_they_can_be_reported() {
        for spec in [json!("text"), json!(7), json!(-7), json!(1.5), json!([1, {"a": 2}]), json!(null), json!(true)] {
            let object = json!({"metadata": {"name": "a"}, "spec": spec});
            assert_eq!(item(&object).value, object);
        }
        assert_eq!(item(&json!({"metadata": 5})).resource_version(), "");
    }
}
