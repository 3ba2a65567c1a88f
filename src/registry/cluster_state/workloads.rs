//! The workloads and clients of one cluster, by service, namespace and identity.
//!
//! Decides which service each belongs to, by its own marks and those of its namespace; never which Service leads to it.

pub(in crate::registry) mod eligibility;
mod identities;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Effects,
    clients::{ClientChange, ClientIndex},
    identity_index::IdentityIndex,
    remove_from,
    rollout_references::{RefersTo, RolloutReferences, deployment, routes_of, template_of},
    toggle,
};
use crate::{
    config::Settings,
    model::{
        Availability, ClusterName, Identity, Kind, Labels, LocalService, NameError, ObjectId, ServiceKey, Workload,
    },
    plan::observe::selector::selects,
    registry::{
        claim_rules::Exclusion,
        identity::{self, Classified},
        identity_owners::{IdentityOwners, Remark},
        injection::{LeftOut, NamespaceMarks},
        partition::DisplayKey,
    },
};

use eligibility::WorkloadEligibility;
use identities::Identities;

#[derive(Debug)]
struct Record {
    workload: Workload,
    classified: Classified,
    /// What its owner should know although it counts.
    remark: Option<Remark>,
}

impl Record {
    /// The identity for which it is a client.
    fn client(&self) -> Option<&Identity> {
        match &self.classified {
            Classified::Service(key) | Classified::Excluded { key, .. } => Some(&key.identity),
            _ => None,
        }
    }

    fn service(&self) -> Option<&ServiceKey> {
        match &self.classified {
            Classified::Service(key) => Some(key),
            _ => None,
        }
    }
}

/// The workloads and clients of one cluster.
#[derive(Debug)]
pub(in crate::registry) struct Workloads {
    cluster: ClusterName,
    /// Who counts for which identity, in all clusters.
    owners: Arc<IdentityOwners>,
    /// Label or annotation of the identity, from the settings.
    identity_key: Arc<str>,
    records: HashMap<ObjectId, Record>,
    by_service: HashMap<ServiceKey, BTreeSet<ObjectId>>,
    by_namespace: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    identities: IdentityIndex,
    /// Those that serve nothing.
    clients: ClientIndex,
    references: RolloutReferences,
    /// Workloads of which only their namespace could say whether they have a sidecar, and does not.
    undecided: usize,
}

/// Why a workload or client that means to count does not.
#[derive(Debug)]
pub(super) enum Doubt<'a> {
    /// Its identity or environment is no name.
    Invalid(&'a NameError),
    /// It has no sidecar.
    LeftOut(LeftOut),
    /// It does not count for the service that it names.
    Excluded(&'a ServiceKey, &'a Exclusion),
    /// It is a workload that counts, as far as its own marks say, and there may be something to say.
    Counts(&'a Workload, Option<(&'a ServiceKey, &'a Remark)>),
}

impl Workloads {
    pub(super) fn new(cluster: ClusterName, settings: &Settings) -> Self {
        Self {
            cluster,
            owners: IdentityOwners::new(settings).into(),
            identity_key: settings.workload_identity_key.as_str().into(),
            records: HashMap::new(),
            by_service: HashMap::new(),
            by_namespace: HashMap::new(),
            identities: IdentityIndex::default(),
            clients: ClientIndex::default(),
            references: RolloutReferences::default(),
            undecided: 0,
        }
    }

    // ---- changes ----

    /// A workload or client came or changed. `marks` is what its namespace says. Answers the VirtualServices that it, as a
    /// Rollout, began or ceased to name.
    pub(super) fn put(
        &mut self,
        workload: Workload,
        marks: Option<NamespaceMarks>,
        settings: &Settings,
        effects: &mut Effects,
    ) -> Vec<RefersTo> {
        if Kind::CLIENTS.contains(&workload.id.kind) {
            let change = self.clients.put(&workload, marks, settings);
            self.count_client(change, effects);
            return Vec::new();
        }
        let mut workload = with_template(workload, self);
        let known = self.records.get(&workload.id).map(|record| &record.workload);
        if workload.availability == Availability::Starting {
            // A rolling update stays what it was; a scale-up counts from its first ready pod.
            workload.availability = known.map_or(Availability::Available, |known| known.availability);
        }
        if known == Some(&workload) {
            return Vec::new();
        }
        let before = self.take(&workload.id, effects);
        let id = workload.id.clone();
        self.classify(workload, marks, settings, effects);
        self.follow_template(&id, before.as_ref(), marks, settings, effects);
        changed_routes(before.as_ref(), self.records.get(&id).map(|record| &record.workload))
    }

    /// A workload or client is gone. Answers as [`Workloads::put`].
    pub(super) fn remove(
        &mut self,
        id: &ObjectId,
        marks: Option<NamespaceMarks>,
        settings: &Settings,
        effects: &mut Effects,
    ) -> Vec<RefersTo> {
        if Kind::CLIENTS.contains(&id.kind) {
            let change = self.clients.remove(id);
            self.count_client(change, effects);
            return Vec::new();
        }
        let before = self.take(id, effects);
        self.follow_template(id, before.as_ref(), marks, settings, effects);
        changed_routes(before.as_ref(), None)
    }

    /// Classifies again what runs in a namespace that says something else now.
    pub(super) fn reclassify(
        &mut self,
        namespace: &Arc<str>,
        marks: Option<NamespaceMarks>,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        let ids: Vec<ObjectId> = self.records.keys().filter(|id| id.namespace == *namespace).cloned().collect();
        for id in ids {
            let was_noted = is_noted(self, &id);
            if let Some(workload) = self.take(&id, effects) {
                self.classify(workload, marks, settings, effects);
            }
            if was_noted || is_noted(self, &id) {
                effects.noted.insert(id);
            }
        }
        for (id, change) in self.clients.reclassify(namespace, marks, settings.sidecar_injection) {
            self.count_client(change, effects);
            effects.noted.insert(id);
        }
    }

    fn classify(
        &mut self,
        workload: Workload,
        marks: Option<NamespaceMarks>,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        let classified = if self.references.is_template(&workload.id) {
            // The Rollout that takes its pod template from it runs the pods.
            Classified::Ignored
        } else {
            identity::classify(&workload, marks, settings)
        };
        let (classified, remark) = WorkloadEligibility(self).judge(&workload, classified);
        let id = workload.id.clone();
        if let Classified::Excluded { key, .. } = &classified {
            self.identities.add(&key.identity, &id.namespace, &mut effects.identities);
        }
        if let Classified::Service(key) = &classified {
            if !self.by_service.contains_key(key) {
                toggle(&mut effects.served, key.clone());
            }
            self.by_service.entry(key.clone()).or_default().insert(id.clone());
            self.identities.add(&key.identity, &id.namespace, &mut effects.identities);
            effects.services.insert(key.clone());
        }
        effects.services.extend(classified.left_out().cloned());
        self.references.add(&workload);
        if classified.takes_part() {
            effects.topology.any |= self.by_namespace.is_empty();
            self.by_namespace.entry(id.namespace.clone()).or_default().insert(id.clone());
            effects.sidecars.insert(id.namespace.clone());
        }
        self.undecided += usize::from(classified.is_undecided());
        self.records.insert(id, Record { workload, classified, remark });
    }

    fn take(&mut self, id: &ObjectId, effects: &mut Effects) -> Option<Workload> {
        let Record { workload, classified, .. } = self.records.remove(id)?;
        if let Classified::Excluded { key, .. } = &classified {
            self.identities.remove(&key.identity, &id.namespace, &mut effects.identities);
        }
        if let Classified::Service(key) = &classified {
            remove_from(&mut self.by_service, key, id);
            if !self.by_service.contains_key(key) {
                toggle(&mut effects.served, key.clone());
            }
            self.identities.remove(&key.identity, &id.namespace, &mut effects.identities);
            effects.services.insert(key.clone());
        }
        effects.services.extend(classified.left_out().cloned());
        self.references.remove(&workload);
        if classified.takes_part() {
            remove_from(&mut self.by_namespace, &id.namespace, id);
            effects.topology.any |= self.by_namespace.is_empty();
            effects.sidecars.insert(id.namespace.clone());
        }
        self.undecided -= usize::from(classified.is_undecided());
        Some(workload)
    }

    fn count_client(&mut self, change: ClientChange, effects: &mut Effects) {
        let Some(namespace) = change.namespace else { return };
        if let Some(now) = &change.now {
            self.identities.add(now, &namespace, &mut effects.identities);
        }
        if let Some(before) = &change.before {
            self.identities.remove(before, &namespace, &mut effects.identities);
        }
        effects.sidecars.insert(namespace);
    }

    fn template_holder(&self, workload: &Workload) -> Option<&Record> {
        self.records.get(&deployment(&template_of(workload)?))
    }

    /// Classifies again what is tied to a workload that came, changed or went: the Rollouts that take its pod template, or
    /// the Deployments that hold, or held, its own.
    fn follow_template(
        &mut self,
        id: &ObjectId,
        before: Option<&Workload>,
        marks: Option<NamespaceMarks>,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        let mut tied: BTreeSet<ObjectId> = BTreeSet::new();
        match id.kind {
            Kind::Deployment => tied.extend(self.references.of_template(id).cloned()),
            Kind::Rollout => {
                let now = self.records.get(id).and_then(|record| template_of(&record.workload));
                tied.extend(before.and_then(template_of).iter().chain(&now).map(deployment));
            }
            _ => {}
        }
        for id in tied {
            if let Some(workload) = self.take(&id, effects) {
                let workload = with_template(workload, self);
                self.classify(workload, marks, settings, effects);
                effects.noted.insert(id);
            }
        }
    }

    // ---- one service ----

    pub(in crate::registry) fn runs(&self, key: &ServiceKey) -> bool {
        self.by_service.contains_key(key)
    }

    /// The workloads of a service, sorted by id.
    pub(in crate::registry) fn of(&self, key: &ServiceKey) -> impl Iterator<Item = &Workload> {
        self.records_of(key).map(|record| &record.workload)
    }

    fn records_of(&self, key: &ServiceKey) -> impl Iterator<Item = &Record> {
        self.by_service.get(key).into_iter().flatten().filter_map(|id| self.records.get(id))
    }

    /// How the oldest workload of a service writes its key.
    pub(in crate::registry) fn display_key(&self, key: &ServiceKey) -> Option<DisplayKey> {
        let oldest =
            self.records_of(key).min_by_key(|record| (record.workload.created_seconds, record.workload.id.clone()))?;
        Some(DisplayKey::new(&oldest.workload, oldest.service()?, &self.identity_key))
    }

    /// The key of a partitioned service without its partition; none for one that has no partition or does not run here.
    pub(in crate::registry) fn plain_of(&self, key: &ServiceKey) -> Option<ServiceKey> {
        let plain = self.display_key(key)?.plain;
        (plain != key.identity).then(|| ServiceKey { identity: plain, environment: key.environment.clone() })
    }

    /// Namespace and service account of the workloads of a service.
    pub(in crate::registry) fn service_accounts(&self, key: &ServiceKey) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let accounts = |workload: &'_ Workload| {
            let in_namespace = |account: &Arc<str>| (workload.id.namespace.clone(), account.clone());
            workload.service_accounts.iter().map(in_namespace).collect::<Vec<_>>()
        };
        self.of(key).flat_map(accounts).collect()
    }

    /// The namespaces with workloads of a service.
    pub(in crate::registry) fn namespaces_of(&self, key: &ServiceKey) -> BTreeSet<Arc<str>> {
        self.by_service.get(key).into_iter().flatten().map(|id| id.namespace.clone()).collect()
    }

    /// Whether some workload of a service runs in a namespace.
    pub(in crate::registry) fn runs_in(&self, key: &ServiceKey, namespace: &str) -> bool {
        self.by_service.get(key).into_iter().flatten().any(|id| &*id.namespace == namespace)
    }

    /// Whether a workload has pods or machines that can serve. While a Rollout takes over from the Deployment of its `workloadRef`,
    /// the pods of both serve: the Deployment is scaled down last (Argo Rollouts documentation, "Migrating", "Reference Deployment
    /// From Rollout").
    pub(super) fn can_serve(&self, workload: &Workload) -> bool {
        let is_available = |workload: &Workload| workload.availability == Availability::Available;
        is_available(workload) || self.template_holder(workload).is_some_and(|holder| is_available(&holder.workload))
    }

    // ---- services, namespaces and identities ----

    pub(in crate::registry) fn service_keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// The services with workloads in a namespace.
    pub(in crate::registry) fn keys_in(&self, namespace: &str) -> BTreeSet<ServiceKey> {
        let ids = self.by_namespace.get(namespace).into_iter().flatten();
        ids.filter_map(|id| self.records.get(id)?.service().cloned()).collect()
    }

    /// Who runs here, by identity.
    pub(in crate::registry) fn identities(&self) -> Identities<'_> {
        Identities(self)
    }

    /// The namespaces with workloads or clients that count.
    pub(in crate::registry) fn client_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_namespace.keys().chain(self.clients.namespaces().filter(|name| !self.by_namespace.contains_key(*name)))
    }

    /// Number of workloads that mean to belong to a service.
    pub(in crate::registry) fn count(&self) -> usize {
        self.by_namespace.values().map(BTreeSet::len).sum()
    }

    /// Whether workloads or clients are in a namespace, whether they count or not.
    pub(super) fn is_in(&self, namespace: &Arc<str>) -> bool {
        self.clients.is_in(namespace) || self.records.keys().any(|id| id.namespace == *namespace)
    }

    /// Whether an object counts as a workload.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.records.contains_key(id)
    }

    /// The ids of all of one kind.
    pub(super) fn ids(&self, kind: Kind) -> Vec<ObjectId> {
        if Kind::CLIENTS.contains(&kind) {
            return self.clients.ids(kind);
        }
        self.records.keys().filter(|id| id.kind == kind).cloned().collect()
    }

    /// The services of the workloads whose pods a Service selects.
    pub(super) fn selected_by(&self, service: &LocalService) -> BTreeSet<ServiceKey> {
        let ids = self.by_namespace.get(&service.id.namespace).into_iter().flatten();
        let records = ids.filter_map(|id| self.records.get(id));
        let is_selected = |record: &&Record| {
            let of_rollout = record.workload.id.kind == Kind::Rollout;
            // A Service that selects nothing may still be why a workload has none: the note about it must follow.
            service.selector.is_empty() || selects(&service.selector, &record.workload.template_labels, of_rollout)
        };
        records.filter(is_selected).filter_map(|record| record.service().cloned()).collect()
    }

    /// The Rollouts, by what they refer to.
    pub(in crate::registry) fn rollouts(&self) -> Rollouts<'_> {
        Rollouts(self)
    }

    // ---- those without a sidecar ----

    /// The workloads that have no sidecar.
    pub(in crate::registry) fn left_out(&self) -> LeftOutWorkloads<'_> {
        LeftOutWorkloads(self)
    }

    /// What may keep a workload or client from counting.
    pub(super) fn doubt(&self, id: &ObjectId) -> Option<Doubt<'_>> {
        if Kind::CLIENTS.contains(&id.kind) {
            let invalid = self.clients.invalid(id).map(Doubt::Invalid);
            return invalid.or_else(|| self.clients.why_left_out(id).map(Doubt::LeftOut));
        }
        let record = self.records.get(id)?;
        Some(match &record.classified {
            Classified::Invalid(error) => Doubt::Invalid(error),
            Classified::LeftOut { why, .. } => Doubt::LeftOut(*why),
            Classified::Excluded { key, why } => Doubt::Excluded(key, why),
            Classified::Service(key) => {
                Doubt::Counts(&record.workload, record.remark.as_ref().map(|remark| (key, remark)))
            }
            Classified::Ignored => Doubt::Counts(&record.workload, None),
        })
    }
}

/// A Rollout with the pod template of the Deployment that it refers to.
fn with_template(mut workload: Workload, others: &Workloads) -> Workload {
    if template_of(&workload).is_some() {
        let holder = others.template_holder(&workload).map(|record| &record.workload);
        workload.template_labels = holder.map_or_else(Labels::new, |holder| holder.template_labels.clone());
        workload.template_annotations = holder.map_or_else(Labels::new, |holder| holder.template_annotations.clone());
        workload.named_ports = holder.and_then(|holder| holder.named_ports.clone());
        workload.host_network = holder.is_some_and(|holder| holder.host_network);
        workload.service_accounts = holder.map_or_else(Vec::new, |holder| holder.service_accounts.clone());
    }
    workload
}

/// Whether a note says why a workload belongs to no service.
fn is_noted(workloads: &Workloads, id: &ObjectId) -> bool {
    workloads.records.get(id).is_some_and(|record| record.classified.is_noted())
}

/// The VirtualServices that a Rollout began or ceased to name.
fn changed_routes(before: Option<&Workload>, now: Option<&Workload>) -> Vec<RefersTo> {
    let (before, now): (BTreeSet<RefersTo>, BTreeSet<RefersTo>) =
        (before.into_iter().flat_map(routes_of).collect(), now.into_iter().flat_map(routes_of).collect());
    before.symmetric_difference(&now).cloned().collect()
}

/// The Rollouts of one cluster, by what they refer to.
pub(in crate::registry) struct Rollouts<'a>(&'a Workloads);

impl Rollouts<'_> {
    /// Whether some Rollout of a service names a VirtualService with its weights.
    pub(super) fn name_routes_for(&self, key: &ServiceKey) -> bool {
        let mut rollouts = self.0.of(key).filter_map(|workload| workload.rollout.as_ref());
        rollouts.any(|rollout| !rollout.routes().is_empty())
    }

    /// The services of the Rollouts that name the VirtualService as one with their weights.
    pub(super) fn split_by(&self, route: &ObjectId) -> BTreeSet<ServiceKey> {
        let rollouts = self.0.references.of_route(route);
        rollouts.filter_map(|rollout| self.0.records.get(rollout)?.service().cloned()).collect()
    }

    /// Whether a Rollout names the VirtualService as the one with its weights: then it is Argo's, and no user's route (Admiral,
    /// docs/admiral-behaviour.md#user-virtualservices-and-destinationrules).
    pub(in crate::registry) fn own_route(&self, id: &ObjectId) -> bool {
        self.0.references.of_route(id).next().is_some()
    }

    /// Those that take their pod template from a Deployment.
    pub(in crate::registry) fn with_template(&self) -> BTreeSet<ObjectId> {
        self.0.references.with_template()
    }

    /// Whether any takes its pod template from a Deployment.
    pub(super) fn any_with_template(&self) -> bool {
        self.0.references.any_with_template()
    }
}

/// The workloads of one cluster that have no sidecar.
#[derive(Clone, Copy)]
pub(in crate::registry) struct LeftOutWorkloads<'a>(&'a Workloads);

impl<'a> LeftOutWorkloads<'a> {
    /// Those of a service, and why, in no order.
    pub(super) fn of(self, key: &ServiceKey) -> impl Iterator<Item = (&'a ObjectId, LeftOut)> {
        self.0.records.values().filter_map(move |record| match &record.classified {
            Classified::LeftOut { why, key: Some(of) } if of == key => Some((&record.workload.id, *why)),
            _ => None,
        })
    }

    /// Number of workloads and clients of which only their namespace could say whether they have a sidecar.
    pub(super) fn undecided(&self) -> usize {
        self.0.undecided + self.0.clients.undecided()
    }

    /// The services that they name.
    pub(in crate::registry) fn keys(&self) -> BTreeSet<ServiceKey> {
        self.0.records.values().filter_map(|record| record.classified.left_out().cloned()).collect()
    }

    /// Their ids, and those of clients without a sidecar.
    pub(in crate::registry) fn ids(&self) -> Vec<ObjectId> {
        let is_left_out = |record: &&Record| matches!(record.classified, Classified::LeftOut { .. });
        let workloads = self.0.records.values().filter(is_left_out).map(|record| record.workload.id.clone());
        workloads.chain(self.0.clients.left_out()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: Kind, name: &str, identity: &str, sidecar: bool) -> Workload {
        let mut workload = Workload::new(ObjectId::new(kind, "shop", name));
        workload.template_labels.insert("identity".into(), identity.into());
        workload.template_labels.insert("env".into(), "stage".into());
        if sidecar {
            workload.template_annotations.insert("sidecar.istio.io/inject".into(), "true".into());
        }
        workload
    }

    fn marks() -> Option<NamespaceMarks> {
        Some(NamespaceMarks::of("shop", None))
    }

    fn put(workloads: &mut Workloads, workload: Workload) -> Effects {
        let mut effects = Effects::default();
        workloads.put(workload, marks(), &Settings::default(), &mut effects);
        effects
    }

    fn store() -> Workloads {
        Workloads::new(ClusterName::parse("east").unwrap(), &Settings::default())
    }

    fn key(identity: &str) -> ServiceKey {
        ServiceKey::parse(identity, "stage").unwrap()
    }

    #[test]
    fn a_workload_is_found_by_service_namespace_and_identity_until_it_goes() {
        let mut workloads = store();
        let effects = put(&mut workloads, workload(Kind::Deployment, "one", "Pay", true));
        assert_eq!(effects.services, [key("pay")].into());
        assert_eq!(effects.served, [key("pay")].into());
        assert!(effects.topology.any, "the first workload of the cluster");
        let second = put(&mut workloads, workload(Kind::Deployment, "two", "pay", true));
        assert!(second.served.is_empty() && second.identities.is_empty());
        assert!(put(&mut workloads, workload(Kind::Deployment, "two", "pay", true)).services.is_empty());
        assert!(workloads.runs(&key("pay")) && workloads.runs_in(&key("pay"), "shop"));
        assert_eq!(workloads.keys_in("shop"), [key("pay")].into());
        assert_eq!(workloads.count(), 2);
        let pay = Identity::parse("pay").unwrap();
        assert_eq!(workloads.identities().namespaces_of(&pay), ["shop".into()]);
        for name in ["one", "two"] {
            let id = ObjectId::new(Kind::Deployment, "shop", name);
            workloads.remove(&id, marks(), &Settings::default(), &mut Effects::default());
        }
        assert!(!workloads.runs(&key("pay")) && !workloads.identities().has(&pay) && workloads.count() == 0);
    }

    #[test]
    fn the_oldest_workload_decides_the_display_of_a_key() {
        let mut workloads = store();
        put(&mut workloads, Workload { created_seconds: 9, ..workload(Kind::Deployment, "a", "PAY", true) });
        put(&mut workloads, Workload { created_seconds: 5, ..workload(Kind::Deployment, "b", "Pay", true) });
        assert_eq!(workloads.display_key(&key("pay")).unwrap().key.identity.as_str(), "Pay");
        assert_eq!(workloads.identities().display_name(&Identity::parse("pay").unwrap()).as_deref(), Some("Pay"));
    }

    #[test]
    fn only_the_namespace_decides_whether_an_unlabelled_workload_counts() {
        let mut workloads = store();
        let effects = put(&mut workloads, workload(Kind::Deployment, "one", "pay", false));
        assert!(!workloads.runs(&key("pay")) && workloads.left_out().undecided() == 1);
        assert_eq!(effects.services, [key("pay")].into(), "a policy for it is told so");
        assert_eq!(workloads.left_out().of(&key("pay")).count(), 1);
        assert_eq!(workloads.left_out().keys(), [key("pay")].into());
        let mut injected = crate::model::Namespace::new("shop");
        injected.mesh_labels.insert("istio-injection".into(), "enabled".into());
        let now = Some(NamespaceMarks::of("shop", Some(&injected)));
        let mut effects = Effects::default();
        workloads.reclassify(&"shop".into(), now, &Settings::default(), &mut effects);
        assert!(workloads.runs(&key("pay")) && workloads.left_out().undecided() == 0 && effects.noted.len() == 1);
    }

    #[test]
    fn a_client_counts_for_its_identity_and_serves_nothing() {
        let mut workloads = store();
        let effects = put(&mut workloads, workload(Kind::Job, "nightly", "Report", true));
        let report = Identity::parse("report").unwrap();
        assert_eq!(effects.identities, [(report.clone(), "shop".into())].into());
        assert!(effects.services.is_empty() && workloads.service_keys().next().is_none());
        assert_eq!(workloads.client_namespaces().collect::<Vec<_>>(), [&Arc::<str>::from("shop")]);
        assert_eq!(workloads.identities().display_name(&report).as_deref(), Some("Report"));
    }
}
