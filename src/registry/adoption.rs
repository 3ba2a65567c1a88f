//! Which hand-written objects for a host take the places of Tradewind's own in a cluster, and which stay their owners'.
//!
//! Decides by what their owners said about each; never what is written.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use super::{
    NoteSource, OutputQueries, Registry,
    cluster_state::{
        ClusterState,
        outputs::{OutputIndex, hand_written_for},
    },
    dirty::Trigger,
    effects, notes, writing,
};
use crate::{
    istio::Owner,
    model::{
        Adoption, AdoptionStage, ClusterName, Host, Kind, Note, NoteKind, ObjectId, Observed, ServiceKey, Written,
    },
    plan::input::{AdoptedName, AdoptedPair},
};

/// What became of the hand-written objects for a host in one cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Those that take the places of Tradewind's own.
    pub(super) pair: Option<AdoptedPair>,
    /// Those that were handed over and stay as they are, and why.
    pub(super) left: Vec<(ObjectId, String)>,
}

fn handed_over(written: &Written) -> Option<&Adoption> {
    written.adoption.as_deref().filter(|adoption| adoption.is_handed_over())
}

fn is_adopted(written: &Written) -> bool {
    handed_over(written).is_some_and(|adoption| adoption.stage == AdoptionStage::Adopted)
}

fn named(written: &Written) -> AdoptedName {
    let annotated = handed_over(written).is_some_and(|adoption| adoption.annotated);
    AdoptedName { name: written.id.name.clone(), annotated, is_taken: is_adopted(written) }
}

/// Of several, one that was taken over already goes on, then one in the sync namespace comes first.
fn first<'a>(candidates: &[&'a Arc<Written>], sync_namespace: &str) -> Option<&'a Arc<Written>> {
    let rank = |written: &Written| {
        let elsewhere = *written.id.namespace != *sync_namespace;
        (!is_adopted(written), elsewhere, written.address.is_none(), written.id.clone())
    };
    candidates.iter().min_by_key(|written| rank(written)).copied()
}

/// What becomes of the hand-written objects for a host that has this address.
fn resolve(outputs: &OutputIndex, host: &Host, address: Option<Ipv4Addr>, sync_namespace: &str) -> Resolved {
    let key = host.as_str().to_ascii_lowercase();
    let of_kind = |kind: Kind| -> Vec<&Arc<Written>> {
        let all = outputs.hand_written(&key).filter(|written| written.id.kind == kind);
        all.filter(|written| handed_over(written).is_some_and(|adoption| adoption.host.as_ref() == Some(host)))
            .collect()
    };
    let mut resolved = Resolved::default();
    let (fitting, others): (Vec<_>, Vec<_>) = of_kind(Kind::ServiceEntry)
        .into_iter()
        .partition(|entry| is_adopted(entry) || entry.address.is_none() || entry.address == address);
    let entry = first(&fitting, sync_namespace);
    let namespace = entry.map_or_else(|| sync_namespace.into(), |entry| entry.id.namespace.clone());
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        of_kind(Kind::DestinationRule).into_iter().partition(|rule| rule.id.namespace == namespace);
    let rule = first(&here, sync_namespace);
    if entry.is_some() || rule.is_some() {
        let (entry, rule) = (entry.map(|of| named(of)), rule.map(|of| named(of)));
        resolved.pair = Some(AdoptedPair { namespace: namespace.clone(), entry, rule });
    }
    let mut leave = |written: &Written, reason: String| resolved.left.push((written.id.clone(), reason));
    for other in others {
        let its_own = other.address.map(|address| address.to_string()).unwrap_or_default();
        let hosts = address.map_or_else(|| "none".to_owned(), |address| address.to_string());
        leave(other, format!("has the address {its_own}, and {host} has {hosts} in all clusters"));
    }
    for (kind, taken, all) in [("ServiceEntry", entry, fitting), ("DestinationRule", rule, here)] {
        for other in all.into_iter().filter(|other| taken.is_some_and(|taken| taken.id != other.id)) {
            let taken = taken.map(|taken| format!("{}/{}", taken.id.namespace, taken.id.name)).unwrap_or_default();
            leave(other, format!("another {kind} for {host} was handed over, too, and {taken} is taken over"));
        }
    }
    for other in elsewhere {
        leave(other, format!("is not in the namespace of the ServiceEntry of {host}, which is {namespace}"));
    }
    resolved
}

impl OutputQueries<'_> {
    /// The entry that keeps Tradewind from making `wanted` for a host: one that somebody made in the sync namespace, or whose
    /// owner took it back. Istio unites the endpoints of all entries for a host in one namespace.
    #[must_use]
    pub fn entry_in_the_way(&self, cluster: &ClusterName, wanted: &ObjectId, host: &str) -> Option<ObjectId> {
        let state = self.registry.fleet.get(cluster)?;
        let is_in_the_way = |written: &&Arc<Written>| {
            let stays = written
                .adoption
                .as_ref()
                .is_some_and(|adoption| matches!(adoption.stage, AdoptionStage::Recalled | AdoptionStage::Declined));
            let is_in_sync_namespace =
                written.owner == Owner::Foreign && *written.id.namespace == *self.registry.settings.sync_namespace;
            written.id.kind == Kind::ServiceEntry && written.id != *wanted && (stays || is_in_sync_namespace)
        };
        let host = host.to_ascii_lowercase();
        state.outputs.hand_written(&host).filter(is_in_the_way).map(|written| written.id.clone()).min()
    }
}

/// An object that its owner hands over, or takes back, becomes one of another sort: what it was ends.
pub(super) fn reclassify(registry: &Registry, cluster: &ClusterName, object: &Observed) {
    let id = object.id();
    match object {
        Observed::Written(_) => {
            let effects = registry.fleet.update(cluster, |state| state.remove_user_object(id, &registry.settings));
            effects::propagate_effects(registry, cluster, effects, &Trigger::Object(cluster.clone(), id.clone()));
        }
        Observed::Workload(_) | Observed::Route(_) | Observed::HostOverride(_) | Observed::Other(_)
            if Kind::WRITTEN.contains(&id.kind) =>
        {
            writing::remove_written(registry, cluster, id);
        }
        _ => {}
    }
}

/// Adds to each claim what was handed over for its host; answers what was handed over and stays.
pub(super) fn with_adopted(
    registry: &Registry,
    claims: &mut [crate::plan::input::Claim],
) -> Vec<(ClusterName, ObjectId, String)> {
    let mut left = Vec::new();
    for claim in claims.iter_mut().filter(|claim| claim.taken_by.is_none()) {
        let key = claim.host.as_str().to_ascii_lowercase();
        let any = |state: &ClusterState| state.outputs.hand_written(&key).next().is_some();
        for state in registry.fleet.iter().filter(|state| any(state)) {
            let Resolved { pair, left: stays } =
                resolve(&state.outputs, &claim.host, claim.address, &registry.settings.sync_namespace);
            claim.adopted.extend(pair.map(|pair| (state.name().clone(), pair)));
            left.extend(stays.into_iter().map(|(id, reason)| (state.name().clone(), id, reason)));
        }
    }
    left.sort();
    left
}

/// Notes what was handed over for the hosts of a service and stays as it is.
pub(super) fn note_left(registry: &Registry, key: &ServiceKey, left: Vec<(ClusterName, ObjectId, String)>) {
    let note = |(cluster, id, reason): (ClusterName, ObjectId, String)| Note {
        kind: NoteKind::NotAdopted,
        object: id.in_cluster(&cluster),
        service: Some(key.clone()),
        message: format!("{reason}; it is left alone"),
    };
    registry.notes.put(NoteSource::Fleet(format!("adoption for {key}")), left.into_iter().map(note).collect());
}

/// Notes what keeps an object that was handed over from being taken over, as far as the object alone says.
pub(super) fn note_adoption(registry: &Registry, cluster: &ClusterName, written: &Written) {
    let reason = written.adoption.as_ref().and_then(|adoption| match &adoption.stage {
        AdoptionStage::Impossible(reason) => Some(reason),
        _ => None,
    });
    let message = reason.map(|reason| format!("{reason}; it is left alone"));
    notes::note_object(registry, cluster, &written.id, NoteKind::NotAdopted, message);
}

/// The namespaces other than the sync namespace in which the entry for a host is, or is about to be.
pub(super) fn entry_namespaces(registry: &Registry, state: &ClusterState, host: &Host) -> BTreeSet<Arc<str>> {
    let sync_namespace = &*registry.settings.sync_namespace;
    let outputs = &state.outputs;
    let own = ObjectId::new(Kind::ServiceEntry, sync_namespace, &host.service_entry_name());
    let has_own = outputs.get(&own).is_some_and(|own| own.owner == Owner::Tradewind);
    let counts = |written: &&Arc<Written>| {
        let stage = written.adoption.as_ref().map(|adoption| &adoption.stage);
        match stage {
            Some(AdoptionStage::Requested | AdoptionStage::Adopted | AdoptionStage::Recalled) => true,
            Some(AdoptionStage::Declined) => !has_own,
            Some(AdoptionStage::Impossible(_)) | None => false,
        }
    };
    let key = host.as_str().to_ascii_lowercase();
    let entries = outputs.hand_written(&key);
    let entries = entries.filter(|written| written.id.kind == Kind::ServiceEntry).filter(counts);
    entries.map(|written| written.id.namespace.clone()).filter(|of| **of != *sync_namespace).collect()
}

/// Hand-written objects for a host, in lower case, that were handed over although no service is published under it.
pub(super) fn handed_over_in_vain(registry: &Registry, host: &str) -> Vec<(ClusterName, ObjectId)> {
    let is_held = |host: &Host| registry.hosts.lock().is_held(host);
    if Host::parse(host).is_ok_and(|host| is_held(&host)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for state in registry.fleet.iter() {
        let requested = |written: &&Arc<Written>| handed_over(written).is_some() && !is_adopted(written);
        let ids = state.outputs.hand_written(host).filter(requested).map(|written| written.id.clone());
        found.extend(ids.map(|id| (state.name().clone(), id)));
    }
    found.sort();
    found
}

/// The services for whose hosts a hand-written object counts.
pub(super) fn affected_by_adoption(registry: &Registry, written: &Written) -> Vec<ServiceKey> {
    let hosts = hand_written_for(written);
    let hosts = hosts.iter().filter_map(|host| Host::parse(host).ok());
    hosts.flat_map(|host| registry.hosts.lock().interested_in(&host)).collect()
}
