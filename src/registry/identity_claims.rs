//! The IdentityClaims of the hub as they come, change and go, and what is wrong with them.
//!
//! Decides which claims are in force: one that cannot be read any more counts as it last could be, and one that is removed counts
//! for a while longer, because its removal may be a mistake that takes every endpoint of a service away. Never decides what a
//! claim means: that is for [`claim_rules`](super::claim_rules).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    NoteSource, Registry,
    claim_rules::{ClaimSet, KnownClaim},
    cluster_state::follow_claims,
    dirty::{self, Trigger},
    effects, freshness,
    identity_owners::ChangedClaims,
    locks::{Rank, RankedMutex},
    startup,
    status::KindState,
};
use crate::{
    api::IdentityClaimSpec,
    config::IdentityClaims,
    model::{
        ClaimError, ClaimRule, ClusterName, Kind, Note, NoteKind, Now, ObjectId, ObjectPath, Observed, PolicyObject,
        ServiceKey, UnusableClaim, WorkKey,
    },
};

/// How long a removed claim counts: long enough for somebody who removed it by accident to notice and put it back, and for a
/// GitOps tool that replaces it.
const REMOVED_CLAIM_GRACE: Duration = Duration::from_secs(600);

/// What is known of one claim, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BookedClaim {
    known: KnownClaim,
    problem: Option<String>,
}

/// A claim that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RemovedClaim {
    rule: ClaimRule,
    /// Since when that is known by a clock.
    since: Option<Now>,
}

/// The claims, and those that were removed and still count.
#[derive(Debug, Default)]
struct Claims {
    present: BTreeMap<ObjectId, BookedClaim>,
    removed: BTreeMap<ObjectId, RemovedClaim>,
}

impl Claims {
    /// Takes what a claim says now; answers whose claims changed.
    fn put(&mut self, id: &ObjectId, read: Result<ClaimRule, UnusableClaim>, changed: &mut ChangedClaims) {
        let before = self.present.get(id).cloned();
        let removed = self.removed.remove(id).map(|removed| KnownClaim::Rule(removed.rule));
        let last_good = before.as_ref().map(|booked| booked.known.clone()).or(removed.clone());
        let last_good = last_good.filter(|known| matches!(known, KnownClaim::Rule(_)));
        let booked = match (read, last_good) {
            (Ok(rule), _) => BookedClaim { known: KnownClaim::Rule(rule), problem: None },
            (Err(UnusableClaim { reason, .. }), Some(known)) => {
                let problem = format!("{reason}; what it said before stays in force");
                BookedClaim { known, problem: Some(problem) }
            }
            (Err(UnusableClaim { pattern, reason }), None) => {
                let of = pattern.as_ref().map_or_else(
                    || "services that no other claim is for stay".to_owned(),
                    |pattern| format!("services of {pattern} stay"),
                );
                let problem = Some(format!("{reason}; the objects of {of} as they are"));
                BookedClaim { known: KnownClaim::Unusable(pattern), problem }
            }
        };
        let known_before = before.map(|booked| booked.known).or(removed);
        if known_before.as_ref() != Some(&booked.known) {
            known_before.iter().chain([&booked.known]).for_each(|known| changed.add(known.pattern()));
        }
        self.present.insert(id.clone(), booked);
        // Another claim of the same name takes the place of one that was removed.
        self.supersede(changed);
    }

    /// A claim is gone.
    fn remove(&mut self, id: &ObjectId, changed: &mut ChangedClaims) {
        match self.present.remove(id).map(|booked| booked.known) {
            Some(KnownClaim::Rule(rule)) => {
                self.removed.insert(id.clone(), RemovedClaim { rule, since: None });
            }
            Some(known @ KnownClaim::Unusable(_)) => changed.add(known.pattern()),
            None => {}
        }
        self.supersede(changed);
    }

    fn supersede(&mut self, changed: &mut ChangedClaims) {
        let rules = self.present.values().filter(|booked| matches!(booked.known, KnownClaim::Rule(_)));
        let present: Vec<_> = rules.filter_map(|booked| booked.known.pattern()).collect();
        self.removed.retain(|_, removed| {
            let stays = !present.contains(&&removed.rule.pattern);
            if !stays {
                changed.add(Some(&removed.rule.pattern));
            }
            stays
        });
    }

    /// Whether there is a claim that says something.
    fn has_any(&self) -> bool {
        self.present.values().any(|booked| matches!(booked.known, KnownClaim::Rule(_)))
    }

    /// Takes out what was removed long enough ago; answers when the next is. While there is no claim at all, the last ones stay.
    fn expire(&mut self, now: Now, changed: &mut ChangedClaims) -> Option<Now> {
        if !self.has_any() {
            return None;
        }
        self.removed.retain(|_, removed| {
            let stays = now < removed.since.get_or_insert(now).after(REMOVED_CLAIM_GRACE);
            if !stays {
                changed.add(Some(&removed.rule.pattern));
            }
            stays
        });
        self.removed.values().filter_map(|removed| Some(removed.since?.after(REMOVED_CLAIM_GRACE))).min()
    }

    /// All that are in force.
    fn in_force(&self) -> ClaimSet {
        let present = self.present.iter().map(|(id, booked)| (id.clone(), booked.known.clone()));
        let removed = self.removed.iter().map(|(id, removed)| (id.clone(), KnownClaim::Rule(removed.rule.clone())));
        ClaimSet::new(present.chain(removed).collect())
    }

    /// What is wrong.
    fn notes(&self, set: &ClaimSet) -> Vec<Note> {
        let note = |id: &ObjectId, kind, message| Note {
            kind,
            object: id.in_cluster(&ClusterName::hub()),
            service: None,
            message,
        };
        let problems = self.present.iter().filter_map(|(id, booked)| {
            let kind = match booked.known {
                KnownClaim::Rule(_) => NoteKind::ClaimQuestionable,
                KnownClaim::Unusable(_) => NoteKind::ClaimHeld,
            };
            Some(note(id, kind, booked.problem.clone()?))
        });
        let repeated = set.repeated().filter(|(id, _)| self.present.contains_key(*id)).map(|(id, first)| {
            let message = format!("claims the same as {}/{}; the holders of both count", first.namespace, first.name);
            note(id, NoteKind::ClaimQuestionable, message)
        });
        let ends = if self.has_any() {
            format!("for {} minutes, or until another one is for the same", REMOVED_CLAIM_GRACE.as_secs() / 60)
        } else {
            "until there is another one, because none is left".to_owned()
        };
        let held = self.removed.iter().map(|(id, removed)| {
            let message = format!("was removed; what it gave of {} stays in force {ends}", removed.rule.pattern);
            note(id, NoteKind::ClaimHeld, message)
        });
        problems.chain(repeated).chain(held).collect()
    }
}

/// The claims of the fleet.
#[derive(Debug)]
pub(super) struct ClaimBook(RankedMutex<Claims>);

impl Default for ClaimBook {
    fn default() -> Self {
        Self(RankedMutex::new(Rank::ClaimBook, Claims::default()))
    }
}

impl ClaimBook {
    /// The claims of a cluster: the hub alone has some.
    pub(super) fn ids(&self, cluster: &ClusterName) -> Vec<ObjectId> {
        if *cluster == ClusterName::hub() { self.0.lock().present.keys().cloned().collect() } else { Vec::new() }
    }
}

fn read(claim: &PolicyObject<IdentityClaimSpec>) -> Result<ClaimRule, UnusableClaim> {
    ClaimRule::parse(&claim.spec)
}

/// A claim came or changed.
pub(super) fn put_claim(registry: &Registry, cluster: &ClusterName, claim: &PolicyObject<IdentityClaimSpec>) {
    let id = &claim.id;
    change(registry, cluster, id, |claims, changed| match claim.ignored {
        true => claims.remove(id, changed),
        false => claims.put(id, read(claim), changed),
    });
}

/// A claim is gone.
pub(super) fn remove_claim(registry: &Registry, cluster: &ClusterName, id: &ObjectId) {
    change(registry, cluster, id, |claims, changed| claims.remove(id, changed));
}

/// A claim does not parse.
pub(super) fn malformed_claim(registry: &Registry, cluster: &ClusterName, id: &ObjectId, reason: &str) {
    let unusable = UnusableClaim { pattern: None, reason: ClaimError::Malformed(reason.to_string()) };
    change(registry, cluster, id, |claims, changed| claims.put(id, Err(unusable), changed));
}

/// All claims were listed: they are taken over as one change, so that none is missing in between.
pub(super) fn reset_claims(
    registry: &Registry,
    cluster: &ClusterName,
    objects: &[Observed],
    malformed: &[(ObjectId, String)],
) {
    if is_read_in(registry, cluster) {
        publish(registry, &Trigger::Cluster(cluster.clone()), |claims, changed| {
            let mut listed = BTreeSet::new();
            for claim in objects.iter().filter_map(Observed::as_claim).filter(|claim| !claim.ignored) {
                claims.put(&claim.id, read(claim), changed);
                listed.insert(&claim.id);
            }
            for (id, reason) in malformed {
                let unusable = UnusableClaim { pattern: None, reason: ClaimError::Malformed(reason.to_string()) };
                claims.put(id, Err(unusable), changed);
                listed.insert(id);
            }
            let gone: Vec<ObjectId> = claims.present.keys().filter(|id| !listed.contains(id)).cloned().collect();
            gone.iter().for_each(|id| claims.remove(id, changed));
        });
        registry.queue.wake();
    }
    freshness::set_kind(registry, cluster, Kind::IdentityClaim, KindState::Synced);
}

/// Claims are read on the hub alone: whoever may write in a member could claim anything.
fn is_read_in(registry: &Registry, cluster: &ClusterName) -> bool {
    registry.settings.identity_claims != IdentityClaims::Off && *cluster == ClusterName::hub()
}

fn change(
    registry: &Registry,
    cluster: &ClusterName,
    id: &ObjectId,
    change: impl FnOnce(&mut Claims, &mut ChangedClaims),
) {
    if is_read_in(registry, cluster) {
        publish(registry, &Trigger::Object(cluster.clone(), id.clone()), change);
        // A removed claim has to end some time.
        registry.queue.wake();
        startup::try_start(registry);
    }
}

/// Changes the claims, and brings all clusters in line.
fn publish(registry: &Registry, trigger: &Trigger, change: impl FnOnce(&mut Claims, &mut ChangedClaims)) {
    let mut changed = ChangedClaims::default();
    let mut claims = registry.claims.0.lock();
    change(&mut claims, &mut changed);
    let set = Arc::new(claims.in_force());
    let notes = claims.notes(&set);
    // Under the lock, so that the last change is the one in force.
    registry.fleet.owners.set_claims(set);
    drop(claims);
    registry.notes.put(NoteSource::Fleet("identity claims".into()), notes);
    if !changed.is_empty() {
        follow(registry, &changed, trigger);
    }
}

/// Classifies the workloads again that are concerned, and marks the services whose policies may count or cease to.
pub(super) fn follow(registry: &Registry, changed: &ChangedClaims, trigger: &Trigger) {
    let names: Vec<ClusterName> = registry.fleet.iter().map(|state| state.name().clone()).collect();
    for cluster in names {
        let effects = registry.fleet.update(&cluster, |state| follow_claims(state, changed, &registry.settings));
        effects::propagate_effects(registry, &cluster, effects, trigger);
    }
    // A partition is known by another name than its claim.
    let has_partitions = registry.settings.enable_sw_aware_ns_caches;
    let concerned = |key: &ServiceKey| has_partitions || changed.concerns(&key.identity);
    let keys = registry.queries().services().into_iter().chain(registry.index.named.keys());
    dirty::mark_for(registry, keys.filter(concerned).map(WorkKey::Service), trigger);
}

impl Registry {
    /// Lets removed claims end whose time has come; answers when the next one ends.
    pub fn expire_claims(&self, now: Now) -> Option<Now> {
        if self.settings.identity_claims == IdentityClaims::Off || self.claims.0.lock().removed.is_empty() {
            return None;
        }
        let mut ended = ChangedClaims::default();
        let next = self.claims.0.lock().expire(now, &mut ended);
        if !ended.is_empty() {
            publish(self, &Trigger::Time, |_, changed| *changed = ended);
        }
        next
    }
}

/// Why nothing may be planned for want of claims, in words.
pub(super) fn waiting_for(registry: &Registry) -> Option<String> {
    if registry.settings.identity_claims != IdentityClaims::Enforce {
        return None;
    }
    let namespace = &registry.settings.dependency_namespace;
    if !registry.fleet.has(&ClusterName::hub()) {
        return Some("identityClaims is enforce, and the fleet names no hub, where IdentityClaims are read".to_owned());
    }
    let claims = registry.claims.0.lock();
    let is_empty = claims.present.is_empty() && claims.removed.is_empty();
    is_empty
        .then(|| format!("identityClaims is enforce, and the hub has no IdentityClaim in the namespace {namespace}"))
}

/// Says that claims are missing, while nothing is planned for want of them.
pub(super) fn note_missing(registry: &Registry, missing: Option<&str>) {
    let note = missing.map(|message| Note {
        kind: NoteKind::ClaimsMissing,
        object: ObjectPath::all_of(&ClusterName::hub(), Kind::IdentityClaim, &registry.settings.dependency_namespace),
        service: None,
        message: format!("{message}; nothing is planned, and nothing is removed"),
    });
    registry.notes.put(NoteSource::Fleet("missing identity claims".into()), note.into_iter().collect());
}

/// The claim that decides a service and cannot be used: the service is left as it is.
pub(super) fn unusable_claim(registry: &Registry, plain: &ServiceKey) -> Option<ObjectPath> {
    Some(registry.fleet.owners.unusable_claim(plain)?.in_cluster(&ClusterName::hub()))
}
