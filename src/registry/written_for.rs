//! Which unit a managed object is written for, as what is written on it says.

use crate::{
    istio::NAMESPACE_RULE_SUFFIXES,
    model::{Kind, ObjectId},
};

/// The namespace that a rule of ours is for, by its name: it may stand in what was the Istio namespace before.
pub(super) fn ruled_namespace(id: &ObjectId) -> Option<&str> {
    if id.kind != Kind::DestinationRule {
        return None;
    }
    NAMESPACE_RULE_SUFFIXES.iter().find_map(|suffix| id.name.strip_suffix(suffix))
}
