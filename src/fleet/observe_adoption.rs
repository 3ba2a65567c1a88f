//! Reading the adoption of a hand-written object: an annotation of the object, or the setting `adopt`.
//!
//! Decides whether an object can be taken over as far as the object alone shows; never whether its host is published.

use serde_json::Value;

use super::observe::Observer;
use crate::{
    istio::{Metadata, Owner, keys},
    model::{Adoption, AdoptionStage, Host, Kind, ObjectId},
};

impl Observer {
    /// The adoption of an object; `None` where neither annotation nor setting names it, or it is not hand-written.
    ///
    /// `owner` is who the object counts as made by, for this installation.
    pub(super) fn adoption(&self, id: &ObjectId, marks: &Metadata, owner: Owner, spec: &Value) -> Option<Adoption> {
        if !matches!(id.kind, Kind::ServiceEntry | Kind::DestinationRule) {
            return None;
        }
        let handover = self.handover(id, marks);
        let annotated = marks.annotations.get(keys::ADOPT).is_some_and(|value| value == "true");
        match owner {
            Owner::Tradewind => {
                let host = marks.annotations.get(keys::ADOPTED)?;
                // An adopted object without an annotation stays adopted only by the setting.
                let stays = !matches!(handover, None | Some(Handover::Refused));
                let stage = if stays { AdoptionStage::Adopted } else { AdoptionStage::Recalled };
                Some(Adoption { stage, host: Host::parse(host).ok(), annotated })
            }
            // Objects of another installation are marked as such and cannot be handed over.
            Owner::Foreign if marks.owner() == Owner::Foreign => {
                let host = hosts(id.kind, spec).first().and_then(|host| Host::parse(host).ok());
                let stage = match (handover?, obstacle(id.kind, spec)) {
                    (Handover::Refused, _) => AdoptionStage::Declined,
                    (Handover::Illegible(value), _) => AdoptionStage::Impossible(format!(
                        "has the annotation {} of {value:?}, which is neither true nor false",
                        keys::ADOPT
                    )),
                    (Handover::Granted, Some(reason)) => AdoptionStage::Impossible(reason),
                    (Handover::Granted, None) => AdoptionStage::Requested,
                };
                Some(Adoption { stage, host, annotated })
            }
            Owner::Foreign | Owner::Admiral => None,
        }
    }

    /// Whether an object outside the sync namespace is this installation's because of an adoption, or its owner says something
    /// about that.
    pub(super) fn concerns_adoption(&self, id: &ObjectId, marks: &Metadata) -> bool {
        match marks.owner() {
            Owner::Tradewind => marks.annotations.get(keys::SYNC_NAMESPACE) == Some(&self.settings().sync_namespace),
            Owner::Foreign => self.handover(id, marks).is_some(),
            Owner::Admiral => false,
        }
    }

    /// Whether the annotation or the setting hands an object over, or what is wrong with the annotation, which counts first.
    fn handover(&self, id: &ObjectId, marks: &Metadata) -> Option<Handover> {
        match marks.annotations.get(keys::ADOPT).map(String::as_str) {
            Some("true") => Some(Handover::Granted),
            Some("false") => Some(Handover::Refused),
            Some(other) => Some(Handover::Illegible(other.to_owned())),
            None => self.settings().adopts(&id.namespace, &id.name).then_some(Handover::Granted),
        }
    }
}

/// Whether the owner of a hand-written object hands it over.
#[derive(Debug, PartialEq, Eq)]
enum Handover {
    Granted,
    Refused,
    /// The annotation has another value than `true` or `false`.
    Illegible(String),
}

/// The hosts of a ServiceEntry, or the host of a DestinationRule.
pub(super) fn hosts(kind: Kind, spec: &Value) -> Vec<&str> {
    match kind {
        Kind::DestinationRule => spec.get("host").and_then(Value::as_str).into_iter().collect(),
        _ => texts(spec, "hosts"),
    }
}

fn texts<'a>(spec: &'a Value, field: &str) -> Vec<&'a str> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The part of an object that a managed one in its place could not express.
fn obstacle(kind: Kind, spec: &Value) -> Option<String> {
    if kind == Kind::DestinationRule {
        // Users' routes refer to subsets, and fail without them.
        let subsets = spec.get("subsets").and_then(Value::as_array).is_some_and(|subsets| !subsets.is_empty());
        return subsets.then(|| "has subsets, which Tradewind's rule would not have".to_owned());
    }
    match hosts(kind, spec)[..] {
        [] => return Some("has no host".to_owned()),
        [host] if Host::parse(host).is_err() => return Some(format!("is for {host}, which is no single host")),
        [_] => {}
        [..] => return Some("has several hosts, and Tradewind's entry has one".to_owned()),
    }
    match texts(spec, "addresses")[..] {
        [] => None,
        [address] if address.parse::<std::net::Ipv4Addr>().is_ok() => None,
        [address] => Some(format!("has the address {address}, which is no single IPv4 address")),
        [..] => Some("has several addresses, and Tradewind's entry has one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{config::Settings, model::Observed};

    fn observed(kind: Kind, metadata: Value, spec: Value, adopt: &[&str]) -> Option<Adoption> {
        let adopt = adopt.iter().map(|item| (*item).to_owned()).collect();
        let observer = Observer::new(Arc::new(Settings { adopt, ..Settings::default() }), false);
        let mut object = json!({"metadata": {"name": "pay", "namespace": "admiral-sync"}, "spec": spec});
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        match observer.observe_value(kind, &object).unwrap() {
            Observed::Written(written) => written.adoption.map(|adoption| *adoption),
            _ => None,
        }
    }

    fn entry(metadata: Value, spec: Value) -> Option<AdoptionStage> {
        observed(Kind::ServiceEntry, metadata, spec, &[]).map(|adoption| adoption.stage)
    }

    fn annotated(text: &str) -> Value {
        json!({"annotations": {"tradewind.io/adopt": text}})
    }

    #[test]
    fn an_entry_is_handed_over_by_its_annotation_or_by_the_setting() {
        let spec = || json!({"hosts": ["pay.global"], "addresses": ["240.0.9.9"]});
        assert_eq!(entry(json!({}), spec()), None, "without the mark nothing is");
        assert_eq!(entry(annotated("true"), spec()), Some(AdoptionStage::Requested));
        assert_eq!(entry(annotated("false"), spec()), Some(AdoptionStage::Declined));
        assert!(
            matches!(entry(annotated("yes"), spec()), Some(AdoptionStage::Impossible(reason)) if reason.contains("yes"))
        );
        let listed = |adopt: &[&str], metadata: Value| {
            observed(Kind::ServiceEntry, metadata, spec(), adopt).map(|adoption| adoption.stage)
        };
        assert_eq!(listed(&["admiral-sync"], json!({})), Some(AdoptionStage::Requested));
        assert_eq!(listed(&["admiral-sync/pay"], json!({})), Some(AdoptionStage::Requested));
        assert_eq!(listed(&["admiral-sync/other", "pay"], json!({})), None);
        assert_eq!(listed(&["admiral-sync"], annotated("false")), Some(AdoptionStage::Declined));
        assert_eq!(listed(&["team"], json!({"namespace": "team"})), Some(AdoptionStage::Requested));
        assert_eq!(listed(&["admiral-sync"], json!({"namespace": "team"})), None);
        // Admiral's objects have a setting of their own.
        let admirals =
            json!({"annotations": {"tradewind.io/adopt": "true", "app.kubernetes.io/created-by": "admiral"}});
        assert_eq!(entry(admirals, spec()), None);
    }

    #[test]
    fn an_entry_that_tradewind_could_not_express_is_not_adopted() {
        let reason = |spec: Value| match entry(annotated("true"), spec) {
            Some(AdoptionStage::Impossible(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(json!({})), "has no host");
        assert!(reason(json!({"hosts": ["a.global", "b.global"]})).contains("several hosts"));
        assert!(reason(json!({"hosts": ["*.global"]})).contains("*.global"));
        let at = |addresses: Value| reason(json!({"hosts": ["a.global"], "addresses": addresses}));
        assert!(at(json!(["240.0.0.1", "240.0.0.2"])).contains("several addresses"));
        assert!(at(json!(["2001:db8::1"])).contains("2001:db8::1"));
        assert!(at(json!(["240.0.0.0/24"])).contains("240.0.0.0/24"));
        let rule = observed(
            Kind::DestinationRule,
            annotated("true"),
            json!({"host": "a.global", "subsets": [{"name": "v1"}]}),
            &[],
        );
        assert!(matches!(rule.unwrap().stage, AdoptionStage::Impossible(reason) if reason.contains("subsets")));
    }

    #[test]
    fn what_was_taken_over_goes_back_when_its_owner_no_longer_hands_it_over() {
        let ours = |adopt: Option<&str>| {
            let mut metadata = json!({"labels": {"app.kubernetes.io/managed-by": "tradewind"},
                "annotations": {"tradewind.io/adopted": "pay.global"}});
            if let Some(text) = adopt {
                metadata["annotations"]["tradewind.io/adopt"] = json!(text);
            }
            metadata
        };
        let spec = || json!({"hosts": ["pay.global"]});
        assert_eq!(entry(ours(Some("true")), spec()), Some(AdoptionStage::Adopted));
        assert_eq!(entry(ours(Some("yes")), spec()), Some(AdoptionStage::Adopted), "that says nothing");
        assert_eq!(entry(ours(Some("false")), spec()), Some(AdoptionStage::Recalled));
        assert_eq!(entry(ours(None), spec()), Some(AdoptionStage::Recalled));
        let plain = json!({"labels": {"app.kubernetes.io/managed-by": "tradewind"},
                           "annotations": {"tradewind.io/adopt": "true"}});
        assert_eq!(entry(plain, spec()), None, "Tradewind made it");
        // What a controller with another sync namespace took over is that controller's.
        let mut others = ours(Some("true"));
        others["namespace"] = json!("team");
        others["annotations"]["tradewind.io/sync-namespace"] = json!("other-sync");
        assert_eq!(entry(others.clone(), spec()), None);
        others["annotations"]["tradewind.io/sync-namespace"] = json!("admiral-sync");
        assert_eq!(entry(others, spec()), Some(AdoptionStage::Adopted));
    }
}
