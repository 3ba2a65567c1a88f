//! Desired × observed → changes, for one unit in one cluster. Pure.
//!
//! Decides what is written, over which observed state, and in which order, so that no proxy sees a state that neither the old
//! nor the new policy describes. Whether a removal may happen is decided by [`super::guard`].

use std::{collections::HashSet, sync::Arc};

use super::{merge, store::is_merged, write::ObjectWrite};
use crate::{
    istio::{Object, Owner},
    model::{EgressHost, Kind, NoteKind, ObjectId, Written},
    plan::{Desired, HostObjects, WantedObject as Wanted},
};

/// The observed state that a plan is compared with.
pub(super) struct DiffInputs<'a> {
    /// The objects of the unit in the cluster.
    pub(super) of_unit: &'a [Arc<Written>],
    /// Finds any object of the cluster, managed or not.
    pub(super) find: &'a dyn Fn(&ObjectId) -> Option<Arc<Written>>,
    /// Finds the hand-written entry for a host because of which no managed entry is created.
    pub(super) in_the_way: &'a dyn Fn(&ObjectId, &str) -> Option<ObjectId>,
    /// Whether writing an object again would not bring its observed digest nearer to the planned one.
    pub(super) settled: &'a dyn Fn(&ObjectId, u64, u64) -> bool,
    /// Whether Admiral's objects are taken over.
    pub(super) adopt_admiral: bool,
    /// Whether everything is known that a removal depends on.
    pub(super) may_remove: bool,
}

/// Why one object is left as it is, or stays different from the plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Obstacle {
    pub(super) id: ObjectId,
    pub(super) kind: NoteKind,
    pub(super) message: String,
}

/// The writes and removals that bring a cluster to the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Changes {
    /// Groups are independent of each other; within one, each change waits for the success of the one before.
    pub(super) groups: Vec<Vec<ObjectWrite>>,
    /// The objects that are no longer wanted, in the order in which they are removed.
    pub(super) removals: Vec<Arc<Written>>,
    /// The objects that are left as they are, and why.
    pub(super) obstacles: Vec<Obstacle>,
    /// Every object that is wanted, whether it changes or not.
    pub(super) wanted: HashSet<ObjectId>,
    /// Whether unwanted hosts stay in a Sidecar until everything is known that a removal depends on.
    pub(super) waits_for_removal: bool,
}

/// Compares a plan with the observed objects.
pub(super) fn diff(desired: &Desired, view: &DiffInputs<'_>) -> Changes {
    let mut changes = Changes::default();
    for wanted in &desired.wanted {
        let group = match wanted {
            Wanted::Host(pair) => changes.host(pair, view),
            Wanted::Object(object) if object.id().kind == Kind::Sidecar => changes.sidecar(object, view),
            Wanted::Object(object) => changes.object(object, view).change.into_iter().collect(),
            Wanted::Chain(objects) => objects.iter().filter_map(|object| changes.object(object, view).change).collect(),
            Wanted::Kept(id) => {
                changes.wanted.insert(id.clone());
                Vec::new()
            }
            Wanted::Merge { id, hosts } => changes.merge(id, hosts, view).into_iter().collect(),
        };
        if !group.is_empty() {
            changes.groups.push(group);
        }
    }
    for over in view.of_unit.iter().filter(|written| is_recalled(written)) {
        changes.wanted.insert(over.id.clone());
        changes.groups.push(vec![ObjectWrite::GiveBack { over: Arc::clone(over) }]);
    }
    changes.removals = view
        .of_unit
        .iter()
        .filter(|written| written.owner == Owner::Tradewind || is_merged(written))
        .filter(|written| !changes.wanted.contains(&written.id))
        .cloned()
        .collect();
    // A host goes before its rule, so that no proxy balances it without one; and a route before the subsets it refers to.
    let turn = |kind: Kind| match kind {
        Kind::ServiceEntry => 0,
        Kind::DestinationRule => 2,
        _ => 1,
    };
    changes.removals.sort_by_key(|written| (turn(written.id.kind), written.id.clone()));
    changes
}

/// What came of comparing one object.
struct Compared {
    change: Option<ObjectWrite>,
    exists: bool,
    foreign: bool,
}

impl Changes {
    fn host(&mut self, pair: &HostObjects, view: &DiffInputs<'_>) -> Vec<ObjectWrite> {
        let (id, host) = (pair.service_entry.id(), pair.service_entry.host().unwrap_or_default());
        if (view.find)(&id).is_none()
            && let Some(other) = (view.in_the_way)(&id, host)
        {
            // Managed objects for the host, such as a rule, belong to that entry now.
            let of_host = view.of_unit.iter().filter(|written| written.is_for(host));
            self.wanted.extend(of_host.map(|written| written.id.clone()));
            let message = format!("is an entry for {host}; it is left alone, and Tradewind creates none of its own");
            self.obstacles.push(Obstacle { id: other, kind: NoteKind::ObjectForeign, message });
            return Vec::new();
        }
        let entry = self.object(&pair.service_entry, view);
        if entry.foreign {
            // A managed rule would change how another owner's host behaves.
            self.wanted.insert(pair.destination_rule.id());
            return Vec::new();
        }
        let rule = self.object(&pair.destination_rule, view);
        // A new host comes with its rule in place. Localities that are tiers mean nothing to the old rule, and a new rule
        // without tiers must not read the old localities.
        let rule_first = !entry.exists || pair.tiered;
        let pair = if rule_first { [rule.change, entry.change] } else { [entry.change, rule.change] };
        pair.into_iter().flatten().collect()
    }

    fn object(&mut self, object: &Object, view: &DiffInputs<'_>) -> Compared {
        let id = object.id();
        self.wanted.insert(id.clone());
        let Some(over) = (view.find)(&id) else {
            let change = Some(ObjectWrite::Create { object: object.clone() });
            return Compared { change, exists: false, foreign: false };
        };
        let is_handed_over =
            object.is_adopted() && over.adoption.as_ref().is_some_and(|adoption| adoption.is_handed_over());
        let change = match over.owner {
            // It is given back and otherwise left unchanged.
            Owner::Tradewind if is_recalled(&over) => {
                return Compared { change: None, exists: true, foreign: true };
            }
            Owner::Tradewind => {
                let digest = object.digest();
                if digest == over.digest {
                    None
                } else if (view.settled)(&id, digest, over.digest) {
                    self.obstacles.push(unsettled(id));
                    None
                } else {
                    Some(ObjectWrite::Update { object: object.clone(), over })
                }
            }
            Owner::Foreign if is_handed_over => Some(ObjectWrite::TakeOver { object: object.clone(), over }),
            Owner::Admiral if view.adopt_admiral => Some(ObjectWrite::TakeOver { object: object.clone(), over }),
            owner => {
                let maker = if owner == Owner::Admiral { "Admiral" } else { "somebody else" };
                let message = format!("was made by {maker} and stands where Tradewind wants its own; it is left alone");
                self.obstacles.push(Obstacle { id, kind: NoteKind::ObjectForeign, message });
                return Compared { change: None, exists: true, foreign: true };
            }
        };
        Compared { change, exists: true, foreign: false }
    }

    /// A managed Sidecar for a whole namespace, which may have only one (Istio documentation, `Sidecar`).
    fn sidecar(&mut self, object: &Object, view: &DiffInputs<'_>) -> Vec<ObjectWrite> {
        let id = object.id();
        let other = others_sidecar(&id, view);
        if let Some(other) = &other {
            self.wanted.insert(id.clone());
            let exists = (view.find)(&id).is_some_and(|written| written.owner == Owner::Tradewind);
            let then = if exists { "Istio takes one of the two" } else { "Tradewind creates none of its own" };
            let message = format!("is for the whole namespace, as Tradewind's {} is; {then}", id.name);
            self.obstacles.push(Obstacle { id: other.clone(), kind: NoteKind::SidecarUnmergeable, message });
            if !exists {
                return Vec::new();
            }
        }
        self.object(object, view).change.into_iter().collect()
    }

    fn merge(&mut self, id: &ObjectId, hosts: &[EgressHost], view: &DiffInputs<'_>) -> Option<ObjectWrite> {
        self.wanted.insert(id.clone());
        let Some(over) = (view.find)(id) else {
            // A namespace without a Sidecar sees everything: there is nothing to add to.
            let other = others_sidecar(id, view)?;
            let message = format!(
                "is for the whole namespace and not named {} (workloadSidecarName); Tradewind's hosts are not added",
                id.name
            );
            self.obstacles.push(Obstacle { id: other, kind: NoteKind::SidecarUnmergeable, message });
            return None;
        };
        let sidecar = over.sidecar.as_ref()?;
        let mut hosts = hosts.to_vec();
        if !view.may_remove {
            self.waits_for_removal |= add_missing(&mut hosts, &sidecar.added());
        }
        let unmergeable = if sidecar.has_selector {
            "has a workload selector, so it is not the whole namespace's"
        } else {
            match merge::merged(sidecar, &hosts) {
                Ok(merged) => return merged.differs_from(sidecar).then_some(ObjectWrite::Merge { over, hosts }),
                Err(reason) => reason,
            }
        };
        let message = format!("{unmergeable}; Tradewind's hosts are not added");
        self.obstacles.push(Obstacle { id: id.clone(), kind: NoteKind::SidecarUnmergeable, message });
        None
    }
}

fn is_recalled(written: &Written) -> bool {
    written.owner == Owner::Tradewind && written.adoption.as_ref().is_some_and(|adoption| adoption.is_recalled())
}

/// Another Sidecar for the whole namespace that is not managed.
fn others_sidecar(id: &ObjectId, view: &DiffInputs<'_>) -> Option<ObjectId> {
    let is_whole = |written: &&Arc<Written>| written.sidecar.as_ref().is_some_and(|sidecar| !sidecar.has_selector);
    let others = view.of_unit.iter().filter(|written| written.owner != Owner::Tradewind && written.id != *id);
    others.filter(is_whole).map(|written| written.id.clone()).min()
}

/// Adds the hosts that are in the Sidecar already, in their present order. Returns whether any of them was unwanted.
fn add_missing(hosts: &mut Vec<EgressHost>, present: &[EgressHost]) -> bool {
    let mut any = false;
    for kept in present {
        match hosts.iter_mut().find(|wanted| wanted.host == kept.host) {
            Some(wanted) => {
                any |= !kept.ports.is_subset(&wanted.ports);
                wanted.ports.extend(&kept.ports);
            }
            None => {
                any = true;
                hosts.push(kept.clone());
            }
        }
    }
    hosts.sort_by_key(|wanted| present.iter().position(|kept| kept.host == wanted.host).unwrap_or(usize::MAX));
    any
}

/// The obstacle of an object that stays different from the plan after it was written and taken over.
pub(super) fn unsettled(id: ObjectId) -> Obstacle {
    let message =
        "is changed by something else whenever it is written (an admission webhook, or a default of the CRD), \
                   so it stays different from the plan; it is not written again until either changes"
            .to_owned();
    Obstacle { id, kind: NoteKind::WriteFailed, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HostPlan;
    use crate::{
        apply::testing::{host_plan, reference, sidecar, written},
        istio::keys,
        model::{Adoption, AdoptionStage, Host},
    };

    fn view<'a>(
        of_unit: &'a [Arc<Written>],
        find: &'a dyn Fn(&ObjectId) -> Option<Arc<Written>>,
        adopt_admiral: bool,
    ) -> DiffInputs<'a> {
        let (settled, in_the_way) = (&|_: &_, _, _| false, &|_: &_, _: &_| None);
        DiffInputs { of_unit, find, in_the_way, settled, adopt_admiral, may_remove: true }
    }

    fn compare(desired: &Desired, written: &[Arc<Written>]) -> Changes {
        diff(desired, &view(written, &|id| written.iter().find(|w| w.id == *id).cloned(), false))
    }

    fn steps(changes: &Changes) -> Vec<Vec<String>> {
        let step = |change: &ObjectWrite| format!("{} {}", change.verb(), change.id().kind.as_str());
        changes.groups.iter().map(|group| group.iter().map(step).collect()).collect()
    }

    fn as_written(desired: &Desired) -> Vec<Arc<Written>> {
        desired.objects().map(|object| Arc::new(written(object))).collect()
    }

    // Invariant: No proxy gets a state that matches neither the old nor the new policy.
    #[test]
    fn a_new_host_comes_with_its_rule_in_place_and_then_nothing_changes() {
        let desired = Desired::hosts([host_plan("a.global", "1", false), host_plan("b.global", "1", true)]);
        assert_eq!(steps(&compare(&desired, &[])), vec![["create DestinationRule", "create ServiceEntry"]; 2]);
        assert_eq!(compare(&desired, &as_written(&desired)).groups, Vec::<Vec<ObjectWrite>>::new());
    }

    // Invariant: No proxy gets a state that matches neither the old nor the new policy.
    #[test]
    fn tiers_come_after_their_rule_and_leave_before_it() {
        let plain = Desired::hosts([host_plan("a.global", "1", false)]);
        let tiers = Desired::hosts([host_plan("a.global", "2", true)]);
        assert_eq!(steps(&compare(&tiers, &as_written(&plain))), [["update DestinationRule", "update ServiceEntry"]]);
        assert_eq!(steps(&compare(&plain, &as_written(&tiers))), [["update ServiceEntry", "update DestinationRule"]]);
    }

    // Invariant: Only managed objects are changed or removed.
    #[test]
    fn obsolete_managed_objects_are_removed_host_first() {
        let old = as_written(&Desired::hosts([host_plan("a.global", "1", false), host_plan("b.global", "1", false)]));
        let mut all = old.clone();
        all.push(Arc::new(reference(&old[0])));
        let kept = Desired::hosts([host_plan("b.global", "1", false)]);
        let gone: Vec<_> = compare(&kept, &all).removals.iter().map(|w| w.id.name.to_string()).collect();
        assert_eq!(gone, ["a.global-se", "a.global-dr"]);
    }

    #[test]
    fn an_object_of_admirals_is_left_unchanged_or_adopted() {
        let desired = Desired::hosts([host_plan("a.global", "1", false)]);
        let theirs: Vec<_> = as_written(&desired).iter().map(|w| Arc::new(reference(w))).collect();
        let left = compare(&desired, &theirs);
        assert!(left.groups.is_empty() && left.removals.is_empty());
        assert_eq!(left.obstacles[0].kind, NoteKind::ObjectForeign);
        assert!(left.obstacles[0].message.contains("Admiral"));
        let find = |id: &ObjectId| theirs.iter().find(|w| w.id == *id).cloned();
        let adopted = diff(&desired, &view(&[], &find, true));
        assert_eq!(steps(&adopted), [["take over ServiceEntry", "take over DestinationRule"]]);
    }

    #[test]
    fn a_foreign_host_gets_no_rule_but_a_foreign_rule_does_not_hide_a_published_host() {
        let desired = Desired::hosts([host_plan("a.global", "1", false)]);
        let foreign = |w: &Arc<Written>| Arc::new(Written { owner: Owner::Foreign, ..(**w).clone() });
        let objects = as_written(&desired);
        let entry_foreign = compare(&desired, &[foreign(&objects[0])]);
        assert!(entry_foreign.groups.is_empty());
        assert_eq!(entry_foreign.obstacles.len(), 1);
        let rule_foreign = compare(&desired, &[foreign(&objects[1])]);
        assert_eq!(steps(&rule_foreign), [["create ServiceEntry"]]);
    }

    /// The pair of a host in the places of hand-written objects.
    fn adopted_plan(host: &str) -> HostPlan {
        let mut plan = host_plan(host, "1", false);
        for metadata in [&mut plan.service_entry.metadata, &mut plan.destination_rule.metadata] {
            metadata.name = "by-hand".into();
            metadata.annotations.insert(keys::ADOPTED.into(), host.into());
        }
        plan
    }

    fn said(written: &Arc<Written>, owner: Owner, stage: AdoptionStage) -> Arc<Written> {
        let adoption = Some(Box::new(Adoption { stage, host: Host::parse("a.global").ok(), annotated: true }));
        Arc::new(Written {
            owner,
            adoption,
            digest: written.digest ^ 1,
            host: Some("a.global".into()),
            ..(**written).clone()
        })
    }

    #[test]
    fn what_its_owner_handed_over_is_taken_over_in_place_and_nothing_else_is() {
        let desired = Desired::hosts([adopted_plan("a.global")]);
        let objects = as_written(&desired);
        let all = |stage: &AdoptionStage| -> Vec<_> {
            objects.iter().map(|object| said(object, Owner::Foreign, stage.clone())).collect()
        };
        let requested = compare(&desired, &all(&AdoptionStage::Requested));
        assert_eq!(steps(&requested), [["take over ServiceEntry", "take over DestinationRule"]]);
        assert!(requested.removals.is_empty() && requested.obstacles.is_empty());
        assert_eq!(requested.groups[0][0].reason(), Some("handed over by its owner"));
        for stage in [AdoptionStage::Declined, AdoptionStage::Impossible(String::new())] {
            let left = compare(&desired, &all(&stage));
            assert!(left.groups.is_empty() && left.removals.is_empty(), "{stage:?}");
            assert_eq!(left.obstacles[0].kind, NoteKind::ObjectForeign);
        }
        // The plan says which object takes the place of Tradewind's: a request alone is not enough.
        let own = Desired::hosts([host_plan("a.global", "1", false)]);
        let of_own_name: Vec<_> =
            as_written(&own).iter().map(|object| said(object, Owner::Foreign, AdoptionStage::Requested)).collect();
        assert!(compare(&own, &of_own_name).groups.is_empty());
    }

    #[test]
    fn tradewinds_own_goes_when_a_handed_over_entry_has_taken_its_place() {
        let own = as_written(&Desired::hosts([host_plan("a.global", "1", false)]));
        let desired = Desired::hosts([adopted_plan("a.global")]);
        let by_hand = as_written(&desired);
        let mut all = own.clone();
        all.extend(by_hand.iter().map(|object| said(object, Owner::Foreign, AdoptionStage::Requested)));
        let changes = compare(&desired, &all);
        assert_eq!(steps(&changes), [["take over ServiceEntry", "take over DestinationRule"]]);
        let removed: Vec<_> = changes.removals.iter().map(|written| written.id.name.to_string()).collect();
        assert_eq!(removed, ["a.global-se", "a.global-dr"], "removals wait for the writes before them");
    }

    #[test]
    fn an_object_that_is_taken_back_loses_its_marks_and_is_not_duplicated() {
        let desired = Desired::hosts([host_plan("a.global", "1", false)]);
        let by_hand = as_written(&Desired::hosts([adopted_plan("a.global")]));
        let recalled: Vec<_> =
            by_hand.iter().map(|object| said(object, Owner::Tradewind, AdoptionStage::Recalled)).collect();
        let find = |id: &ObjectId| recalled.iter().find(|w| w.id == *id).cloned();
        let entry = recalled[0].id.clone();
        let in_the_way = |_: &ObjectId, host: &str| (host == "a.global").then(|| entry.clone());
        let changes = diff(&desired, &DiffInputs { in_the_way: &in_the_way, ..view(&recalled, &find, false) });
        assert_eq!(steps(&changes), [["give back ServiceEntry"], ["give back DestinationRule"]]);
        assert!(changes.removals.is_empty());
        assert_eq!(changes.obstacles[0].id, entry);
        assert!(changes.obstacles[0].message.contains("creates none of its own"), "{changes:?}");
        // Also where nothing is wanted any more, and where it has the name of Tradewind's own.
        let nothing = compare(&Desired::nothing(), &recalled);
        assert_eq!((steps(&nothing).len(), nothing.removals.len()), (2, 0));
        let own: Vec<_> =
            as_written(&desired).iter().map(|object| said(object, Owner::Tradewind, AdoptionStage::Recalled)).collect();
        assert_eq!(steps(&compare(&desired, &own)), [["give back ServiceEntry"], ["give back DestinationRule"]]);
        // A rule that was made for the entry stays with it.
        let rule = Arc::new(Written { host: Some("a.global".into()), ..(*as_written(&desired)[1]).clone() });
        let kept = diff(&desired, &DiffInputs { in_the_way: &in_the_way, ..view(&[rule], &|_| None, false) });
        assert!(kept.groups.is_empty() && kept.removals.is_empty(), "{kept:?}");
    }

    #[test]
    fn a_written_entry_is_updated_whatever_other_entries_its_host_has() {
        let desired = Desired::hosts([host_plan("a.global", "2", false)]);
        let before = as_written(&Desired::hosts([host_plan("a.global", "1", false)]));
        let find = |id: &ObjectId| before.iter().find(|w| w.id == *id).cloned();
        let in_the_way = |_: &ObjectId, _: &str| Some(ObjectId::new(Kind::ServiceEntry, "sync", "by-hand"));
        let changes = diff(&desired, &DiffInputs { in_the_way: &in_the_way, ..view(&before, &find, false) });
        assert_eq!(steps(&changes), [["update ServiceEntry", "update DestinationRule"]]);
    }

    #[test]
    fn what_was_seen_to_settle_differently_is_not_written_again() {
        let desired = Desired::hosts([host_plan("a.global", "1", false)]);
        let mut objects = as_written(&desired);
        objects[0] = Arc::new(Written { digest: 7, ..(*objects[0]).clone() });
        assert_eq!(steps(&compare(&desired, &objects)), [["update ServiceEntry"]]);
        let find = |id: &ObjectId| objects.iter().find(|w| w.id == *id).cloned();
        let settled = |_: &ObjectId, _: u64, observed: u64| observed == 7;
        let changes = diff(&desired, &DiffInputs { settled: &settled, ..view(&objects, &find, false) });
        assert!(changes.groups.is_empty());
        assert_eq!(changes.obstacles[0].kind, NoteKind::WriteFailed);
    }

    #[test]
    fn sidecar_hosts_are_merged_once_and_taken_out_only_on_full_knowledge() {
        let user = Arc::new(sidecar("team", &["./*"], &[]));
        let desired = |hosts: &[&str]| {
            Desired::merged_sidecar("team", "default", hosts.iter().map(|host| (*host).into()).collect())
        };
        assert_eq!(steps(&compare(&desired(&["s/a"]), &[user])), [["merge Sidecar"]]);
        assert!(compare(&desired(&["s/a"]), &[]).groups.is_empty(), "no Sidecar, nothing to narrow");

        let merged = [Arc::new(sidecar("team", &["./*", "s/a"], &["s/a"]))];
        assert!(compare(&desired(&["s/a"]), &merged).groups.is_empty());
        assert_eq!(steps(&compare(&desired(&["s/b"]), &merged)), [["merge Sidecar"]]);
        let find = |id: &ObjectId| merged.iter().find(|w| w.id == *id).cloned();
        let unsure = DiffInputs { may_remove: false, ..view(&merged, &find, false) };
        let fewer = diff(&desired(&[]), &unsure);
        assert!(fewer.groups.is_empty() && fewer.waits_for_removal);
        assert_eq!(compare(&Desired::nothing(), &merged).removals.len(), 1, "ours go out with the unit");

        let selector = Arc::new(Written {
            sidecar: merged[0].sidecar.clone().map(|s| crate::model::SidecarHosts { has_selector: true, ..s }),
            ..(*merged[0]).clone()
        });
        assert_eq!(compare(&desired(&["s/b"]), &[selector]).obstacles[0].kind, NoteKind::SidecarUnmergeable);
    }

    #[test]
    fn a_namespace_keeps_the_sidecar_it_has_under_whatever_name() {
        let named = |name: &str, has_selector: bool| {
            let there = sidecar("team", &["./*"], &[]);
            let hosts = there.sidecar.clone().map(|s| crate::model::SidecarHosts { has_selector, ..s });
            Arc::new(Written { id: ObjectId::new(Kind::Sidecar, "team", name), sidecar: hosts, ..there })
        };
        let told =
            |changes: &Changes| changes.obstacles.iter().map(|o| (o.id.name.to_string(), o.kind)).collect::<Vec<_>>();
        let theirs = || vec![("theirs".to_owned(), NoteKind::SidecarUnmergeable)];
        let merged = Desired::merged_sidecar("team", "default", vec!["s/a".into()]);
        let changes = compare(&merged, &[named("theirs", false)]);
        assert!(changes.groups.is_empty() && told(&changes) == theirs(), "{changes:?}");
        assert!(told(&compare(&merged, &[named("theirs", true)])).is_empty(), "it is for some of the workloads");

        let metadata = crate::istio::Metadata {
            name: "default".into(),
            namespace: "team".into(),
            labels: [(keys::MANAGED_BY.into(), keys::TRADEWIND.into())].into(),
            annotations: Default::default(),
        };
        let own = |hosts: &[&str]| {
            let hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
            let egress = vec![crate::istio::Egress { hosts, ..Default::default() }];
            crate::istio::Sidecar { metadata: metadata.clone(), spec: crate::istio::SidecarSpec { egress } }
        };
        let (before, now) = (Desired::sidecar(own(&["s/a"])), Desired::sidecar(own(&["s/b"])));
        let changes = compare(&now, &[named("theirs", false)]);
        assert!(changes.groups.is_empty() && told(&changes) == theirs(), "{changes:?}");
        assert_eq!(steps(&compare(&now, &[named("theirs", true)])), [["create Sidecar"]]);
        // Ours was there first: it goes on, and is no surprise to anybody.
        let both = [as_written(&before), vec![named("theirs", false)]].concat();
        let changes = compare(&now, &both);
        assert_eq!((steps(&changes), told(&changes)), (vec![vec!["update Sidecar".to_owned()]], theirs()));
        assert!(changes.removals.is_empty());
    }

    #[test]
    fn the_mark_of_ownership_is_part_of_what_is_compared() {
        let mut plan = host_plan("a.global", "1", false);
        let whole = as_written(&Desired::hosts([plan.clone()]));
        plan.service_entry.metadata.labels.remove(keys::MANAGED_BY);
        assert_ne!(whole[0].digest, Object::ServiceEntry(plan.service_entry).digest());
    }
}
