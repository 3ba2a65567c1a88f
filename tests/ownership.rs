//! Nothing outside our ownership is ever touched: tried on random owners of everything that stands in a cluster.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tradewind::{
    apply::{ClusterView, Desired, Verb, preview},
    config::Settings,
    fleet::{Observer, directory::DirectoryCluster, file},
    istio::{Object, Owner, keys},
    model::{Adoption, AdoptionStage, ClusterName, Host, Note, Now, ObjectId, ServiceKey, WorkKey, Written},
    plan::HostPlan,
    planner::plan_unit,
    registry::Registry,
};

/// What cluster-1 of the sample wants for payments: three hosts.
static WANTED: LazyLock<Vec<HostPlan>> = LazyLock::new(|| {
    let settings = Arc::new(Settings::default());
    let registry = Registry::new(settings.clone());
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample");
    for member in file::load(&sample, None).expect("the sample").clusters {
        let file::ObjectSource::Directory(path) = member.place else { panic!("the sample has directories") };
        let cluster = DirectoryCluster::new(member.name, path, Observer::new(settings.clone(), false));
        cluster.push(&cluster.load(), &registry, 0);
    }
    registry.fleet_listed();
    let plan = plan_unit(&registry, &WorkKey::Service(payments()), Now::default()).and_then(|plan| plan.service);
    let plan = plan.expect("the fleet is listed");
    plan.clusters.into_iter().find(|planned| planned.cluster == cluster()).expect("a dependent cluster").hosts
});

fn payments() -> ServiceKey {
    ServiceKey::parse("payments", "stage").expect("a key")
}

fn cluster() -> ClusterName {
    ClusterName::parse("cluster-1").expect("a name")
}

/// A cluster as the writer knows it. It claims everything for the service, as a registry gone mad might.
#[derive(Default)]
struct Observations(BTreeMap<ObjectId, Arc<Written>>);

impl ClusterView for Observations {
    fn written_of(&self, _: &ClusterName, _: &WorkKey) -> Vec<Arc<Written>> {
        self.0.values().cloned().collect()
    }

    fn written(&self, _: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.0.get(id).cloned()
    }

    fn entry_in_the_way(&self, _: &ClusterName, _: &ObjectId, _: &str) -> Option<ObjectId> {
        None
    }

    fn owned_count(&self, _: &ClusterName) -> usize {
        self.0.len()
    }

    fn can_write(&self, _: &ClusterName) -> bool {
        true
    }

    fn is_unreachable(&self, _: &ClusterName) -> bool {
        false
    }

    fn may_remove(&self, _: &ClusterName) -> bool {
        true
    }

    fn has_cluster(&self, _: &ClusterName) -> bool {
        true
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn is_suspended(&self, _: &ClusterName, _: &WorkKey) -> bool {
        false
    }

    fn has_namespace(&self, _: &ClusterName, _: &str) -> Option<bool> {
        Some(true)
    }

    fn wrote(&self, _: &ClusterName, _: Written) {}

    fn wrote_delete(&self, _: &ClusterName, _: &ObjectId) {}

    fn mark(&self, _: WorkKey) {}

    fn note(&self, _: &ClusterName, _: &ObjectId, _: Vec<Note>) {}
}

fn written(object: &Object, owner: Owner, as_wanted: bool) -> Written {
    Written {
        id: object.id(),
        identity: None,
        uid: "1".into(),
        resource_version: "1".into(),
        owner,
        service: Some(payments()),
        digest: if as_wanted { object.digest() } else { 1 },
        host: None,
        further_hosts: Vec::new(),
        address: None,
        adoption: None,
        policies: Vec::new(),
        recalled: Default::default(),
        ports: Vec::new(),
        endpoints: Vec::new(),
        sidecar: None,
        origin: None,
        shape: Default::default(),
        content: None,
    }
}

/// What owners of hand-written objects say.
fn stages() -> Vec<AdoptionStage> {
    vec![
        AdoptionStage::Requested,
        AdoptionStage::Impossible("any".to_owned()),
        AdoptionStage::Adopted,
        AdoptionStage::Recalled,
        AdoptionStage::Declined,
    ]
}

fn objects(hosts: &[HostPlan]) -> Vec<Object> {
    let pair = |host: &HostPlan| {
        [Object::ServiceEntry(host.service_entry.clone()), Object::DestinationRule(host.destination_rule.clone())]
    };
    hosts.iter().flat_map(pair).collect()
}

proptest! {
    // Invariant: Only managed objects are changed or removed.
    // Invariant: A hand-written object is adopted only if its owner hands it over, in place, and is given back with its
    // content.
    #[test]
    fn only_managed_objects_are_overwritten_or_removed(
        owners in vec(
            option::of((
                select(&[Owner::Tradewind, Owner::Admiral, Owner::Foreign][..]),
                any::<bool>(),
                option::of(select(stages())),
            )),
            2 * WANTED.len(),
        ),
        wanted in 0..=WANTED.len(),
        adopts in any::<bool>(),
        in_place in any::<bool>(),
    ) {
        let all = objects(&WANTED);
        let there = all.iter().zip(&owners).filter_map(|(object, owner)| {
            let (owner, as_wanted, stage) = owner.clone()?;
            let host = object.host().and_then(|host| Host::parse(host).ok());
            let adoption = stage.map(|stage| Box::new(Adoption { stage, host, annotated: true }));
            Some((object.id(), Arc::new(Written { adoption, ..written(object, owner, as_wanted) })))
        });
        let known = Observations(there.collect());
        let mut hosts = WANTED[..wanted].to_vec();
        if in_place {
            for host in &mut hosts {
                for metadata in [&mut host.service_entry.metadata, &mut host.destination_rule.metadata] {
                    metadata.annotations.insert(keys::ADOPTED.to_owned(), host.host.to_string());
                }
            }
        }
        let desired = Desired::hosts(hosts.clone());
        for write in preview(&known, &cluster(), &WorkKey::Service(payments()), &desired, adopts).writes {
            let there = known.0.get(&write.id);
            let owner = there.map(|written| written.owner);
            let stage = there.and_then(|written| written.adoption.as_ref()).map(|adoption| &adoption.stage);
            let is_recalled = stage == Some(&AdoptionStage::Recalled);
            let is_handed_over = matches!(stage, Some(AdoptionStage::Requested | AdoptionStage::Adopted));
            let allowed = match write.verb {
                Verb::Create => owner.is_none(),
                Verb::Update | Verb::Delete => owner == Some(Owner::Tradewind) && !is_recalled,
                Verb::TakeOver => {
                    adopts && owner == Some(Owner::Admiral)
                        || in_place && owner == Some(Owner::Foreign) && is_handed_over
                }
                Verb::GiveBack => owner == Some(Owner::Tradewind) && is_recalled,
                Verb::Merge | Verb::UpdateStatus => false,
            };
            prop_assert!(allowed, "{:?} {:?}, which belongs to {owner:?}, {stage:?}", write.verb, write.id);
        }
    }
}
