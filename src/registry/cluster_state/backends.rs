//! The Services behind which the pods of a service run in one cluster (Admiral,
//! docs/admiral-behaviour.md#services-of-a-workload), and its machines.
//!
//! Decides which Service stands for which workload, what each counts beside the others, and what keeps some from counting.
//! What the strategy of a Rollout says is decided by `rollouts`, what a machine offers by `machines`.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{Classified, ClusterState, INBOUND_PORTS, Placed, pair_hash, selects};
use crate::{
    model::{Identity, Kind, LocalService, NoteKind, ObjectId, ServiceKey, Variant, Workload},
    plan::input::{Backend, RelativeWeight},
    registry::{
        agreement::Parked,
        candidates::{self, Candidate, Offer},
        machines,
        ports::{self, Inbound},
        purpose::Purpose,
        rollouts::{self, KnownRoutes},
    },
};

/// What keeps a workload, or a part of it, from being published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::registry) struct Problem {
    pub(in crate::registry) id: ObjectId,
    pub(in crate::registry) kind: NoteKind,
    pub(in crate::registry) message: String,
    /// Whether it is one only where the service is a destination: a client needs no Service and no port.
    pub(in crate::registry) of_destination: bool,
}

/// The Services of one service in one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct Backends {
    /// By variant, sorted by namespace and name.
    of: BTreeMap<Variant, Vec<Backend>>,
    /// The kind of workload that stands for all of them: another than a Rollout where there is one.
    pub(in crate::registry) workload: Option<Kind>,
    /// The workloads behind them, sorted, where none has pods that can serve; empty where one has.
    pub(in crate::registry) unavailable: Vec<ObjectId>,
    pub(in crate::registry) problems: Vec<Problem>,
    /// Those of workloads without pods, where others have some and may not be the service.
    pub(in crate::registry) parked: Option<Parked>,
    /// Namespace and name of those in whose place another Service of the same workload would count if it had the ports of the
    /// service.
    open: BTreeSet<At>,
}

/// Namespace and name of a Service.
type At = (Arc<str>, Arc<str>);

impl Backends {
    /// Takes those of one variant.
    pub(in crate::registry) fn take(&mut self, variant: Variant) -> Vec<Backend> {
        self.of.remove(&variant).unwrap_or_default()
    }

    /// Those of all variants.
    pub(in crate::registry) fn all(&self) -> impl Iterator<Item = &Backend> {
        self.of.values().flatten()
    }

    /// Whether some of them may be others, as other workloads of the service have their ports.
    pub(in crate::registry) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Those that are the service whatever others have, and are for clients.
    pub(in crate::registry) fn offers(&self, identity: &Identity) -> impl Iterator<Item = Offer> {
        let of_services = self.of.get(&Variant::Default).into_iter().flatten().filter(|found| found.machine.is_none());
        of_services
            .filter(|found| !self.open.contains(&(found.namespace.clone(), found.service.clone())))
            .filter(|found| Purpose::of_backend(found, identity) != Purpose::Operators)
            .filter_map(|found| {
                let port = found.ports.first()?.clone();
                Some(Offer { namespace: found.namespace.clone(), service: found.service.clone(), port })
            })
    }
}

/// Services under way to be [`Backends`]: a Service counts once, for the first workload that takes it.
#[derive(Default)]
struct Gathered {
    open: BTreeSet<At>,
    of: BTreeMap<Variant, BTreeMap<machines::At, Backend>>,
    /// The machines that have a weight.
    weights: BTreeMap<machines::At, u32>,
    problems: BTreeSet<Problem>,
}

impl Gathered {
    fn put(
        &mut self,
        variant: Variant,
        workload: &ObjectId,
        candidate: &Candidate<'_>,
        relative_weight: RelativeWeight,
    ) {
        let id = &candidate.service.id;
        for (kind, message) in &candidate.published.questions {
            self.problem(id, *kind, message.clone());
        }
        let at = (id.namespace.clone(), id.name.clone(), None);
        let ports = &candidate.published.ports;
        match self.of.entry(variant).or_default().entry(at) {
            Entry::Vacant(entry) => {
                entry.insert(Backend {
                    namespace: id.namespace.clone(),
                    service: id.name.clone(),
                    workload: workload.kind,
                    ports: ports.clone(),
                    relative_weight,
                    pods: Vec::new(),
                    machine: None,
                });
            }
            Entry::Occupied(entry) if entry.get().ports != *ports => {
                let message = format!(
                    "leads to other ports in the pods of {} {} than in those of another workload, which count",
                    workload.kind.as_str(),
                    workload.name
                );
                self.problem(id, NoteKind::ServiceQuestionable, message);
            }
            Entry::Occupied(_) => {}
        }
    }

    fn put_machines(&mut self, found: Vec<(machines::At, Backend, u32)>) {
        let backends = self.of.entry(Variant::Default).or_default();
        for (at, backend, weight) in found {
            if weight > 0 {
                self.weights.insert(at.clone(), weight);
            }
            backends.insert(at, backend);
        }
    }

    fn problem(&mut self, id: &ObjectId, kind: NoteKind, message: String) {
        self.problems.insert(Problem { id: id.clone(), kind, message, of_destination: true });
    }

    fn machine_problem(&mut self, id: &ObjectId, reason: &str) {
        let message = format!("{reason}; it is no endpoint");
        let of_destination = reason == machines::NO_PORT;
        self.problems.insert(Problem { id: id.clone(), kind: NoteKind::MachineUnusable, message, of_destination });
    }

    /// Tells why a workload has no Service.
    fn missing(
        &mut self,
        cluster_state: &ClusterState,
        workload: &ObjectId,
        reason: &str,
        refused: Vec<(ObjectId, String)>,
    ) {
        let message = format!("{reason}; the cluster offers no endpoint for it");
        self.problem(workload, NoteKind::ServiceMissing, message);
        for (id, reason) in refused.into_iter().chain(cluster_state.without_selector(&workload.namespace)) {
            self.problem(&id, NoteKind::ServiceUnusable, format!("{reason}; it is not published"));
        }
    }

    /// By variant, sorted by namespace and name.
    fn into_sorted(mut self) -> (BTreeMap<Variant, Vec<Backend>>, Vec<Problem>) {
        let count = self.weights.len() as u64;
        let sum = self.weights.values().map(|weight| u64::from(*weight)).sum();
        let backends = self.of.entry(Variant::Default).or_default();
        for (at, weight) in self.weights {
            if let Some(machine) = backends.get_mut(&at) {
                machine.relative_weight = RelativeWeight::of_average(weight, sum, count);
            }
        }
        let of = self.of.into_iter().map(|(variant, backends)| (variant, backends.into_values().collect())).collect();
        (of, self.problems.into_iter().collect())
    }
}

impl ClusterState {
    /// What keeps a workload or client that means to take part from it.
    pub(in crate::registry) fn problem(&self, id: &ObjectId) -> Option<(NoteKind, String)> {
        if Kind::CLIENTS.contains(&id.kind) {
            if let Some(error) = self.clients.invalid(id) {
                return Some((NoteKind::HostInvalid, format!("identity {error}; it does not count as a client")));
            }
            return self.clients.why_left_out(id).filter(|why| self.is_certain(*why)).map(|why| why.note(id.kind));
        }
        let placed = self.workloads.get(id)?;
        match &placed.classified {
            Classified::Invalid(error) => {
                Some((NoteKind::HostInvalid, format!("identity or environment {error}; it is not published")))
            }
            Classified::LeftOut { why, .. } => self.is_certain(*why).then(|| why.note(id.kind)),
            _ => Some((NoteKind::RolloutQuestionable, self.without_template(&placed.workload)?)),
        }
    }

    /// The Services behind which the pods of a service run, and what keeps others from counting.
    ///
    /// A workload without pods that can serve makes no backend while another one has some.
    pub(in crate::registry) fn backends(&self, key: &ServiceKey) -> Backends {
        self.backends_among(key, &[])
    }

    /// As [`ClusterState::backends`], where other workloads of the service, in any cluster, have these Services: of the Services of one
    /// workload that with the same port counts first.
    pub(in crate::registry) fn backends_among(&self, key: &ServiceKey, offers: &[Offer]) -> Backends {
        let serving = self.gather(key, offers, &|workload| self.can_serve(workload));
        let is_for_clients = |backend: &Backend| Purpose::of_backend(backend, &key.identity) == Purpose::Clients;
        let is_unavailable = |workload: &&Workload| !self.can_serve(workload);
        if serving.all().any(is_for_clients) || !self.workloads_of(key).any(|workload| is_unavailable(&workload)) {
            return serving;
        }
        let mut unavailable: Vec<ObjectId> =
            self.workloads_of(key).filter(is_unavailable).map(|workload| workload.id.clone()).collect();
        unavailable.sort();
        if serving.all().next().is_some() {
            let mut services = self.gather(key, offers, &|_| true).take(Variant::Default);
            services.retain(|backend| {
                backend.machine.is_none()
                    && !serving
                        .all()
                        .any(|other| (&other.namespace, &other.service) == (&backend.namespace, &backend.service))
            });
            return Backends { parked: Some(Parked { services, workloads: unavailable }), ..serving };
        }
        Backends { unavailable, ..self.gather(key, offers, &|_| true) }
    }

    fn gather(&self, key: &ServiceKey, offers: &[Offer], counts: &dyn Fn(&Workload) -> bool) -> Backends {
        let mut gathered = Gathered::default();
        let of_others = Others { identity: &key.identity, offers };
        let mut others = None;
        let all = || self.by_service.get(key).into_iter().flatten().filter_map(|id| self.workloads.get(id));
        let placed = || all().filter(|placed| counts(&placed.workload));
        // A Service that a Rollout splits its traffic by says nothing more for a Deployment behind it.
        for Placed { workload, .. } in placed().filter(|placed| placed.workload.rollout.is_some()) {
            self.gather_rollout(workload, &of_others, &mut gathered);
        }
        for Placed { workload, .. } in placed().filter(|placed| placed.workload.rollout.is_none()) {
            let Selecting { candidates, refused, is_open } = self.candidates(workload, &of_others, &mut gathered);
            match candidates.first() {
                Some(best) => {
                    if is_open {
                        gathered.open.insert(at(best));
                    }
                    gathered.put(Variant::Default, &workload.id, best, RelativeWeight::WHOLE);
                    others.get_or_insert(workload.id.kind);
                }
                None if let Some(of) = &workload.machines => {
                    let hint = workload.template_annotations.get(INBOUND_PORTS).map(String::as_str);
                    let entries = all().map(|placed| &placed.workload);
                    let (found, reasons) = machines::backends(workload, of, entries, hint);
                    gathered.put_machines(found);
                    reasons.iter().for_each(|reason| gathered.machine_problem(&workload.id, reason));
                }
                None => {
                    let reason = no_service(&refused);
                    gathered.missing(self, &workload.id, reason, refused);
                }
            }
        }
        if gathered.of.values().all(BTreeMap::is_empty) {
            let nothing = placed().filter_map(|placed| machines::selects_nothing(&placed.workload));
            nothing.for_each(|(id, reason)| gathered.machine_problem(&id, &reason));
        }
        let open = std::mem::take(&mut gathered.open);
        let (of, problems) = gathered.into_sorted();
        let kinds = || of.get(&Variant::Default).into_iter().flatten().map(|backend| backend.workload);
        let workload = kinds().find(|kind| *kind != Kind::Rollout).or(others).or(kinds().next());
        Backends { of, workload, unavailable: Vec::new(), problems, parked: None, open }
    }

    fn gather_rollout(&self, workload: &Workload, others: &Others<'_>, gathered: &mut Gathered) {
        let Some(rollout) = &workload.rollout else { return };
        let Selecting { candidates, refused, is_open } = self.candidates(workload, others, gathered);
        let find = |namespace: &str, name: &str| self.routes.get(&ObjectId::new(Kind::VirtualService, namespace, name));
        let domain = self.domain();
        let routes = KnownRoutes { find: &find, listed: self.knows(Kind::VirtualService), domain: &domain };
        let chosen = rollouts::choose(&workload.id, rollout, &candidates, &routes);
        if let Some(reason) = chosen.missing {
            let reason = if candidates.is_empty() { no_service(&refused).to_owned() } else { reason };
            gathered.missing(self, &workload.id, &reason, refused);
            return;
        }
        for (id, message) in chosen.questions {
            gathered.problem(&id, NoteKind::RolloutQuestionable, message);
        }
        if is_open && !chosen.is_named {
            gathered.open.extend(chosen.default.iter().map(|(candidate, _)| at(candidate)));
        }
        for (candidate, relative_weight) in chosen.default {
            gathered.put(Variant::Default, &workload.id, candidate, relative_weight);
        }
        for (variant, candidate) in [(Variant::Preview, chosen.preview), (Variant::Canary, chosen.canary)] {
            if let Some(candidate) = candidate {
                gathered.put(variant, &workload.id, candidate, RelativeWeight::WHOLE);
            }
        }
    }

    fn candidates(&self, workload: &Workload, others: &Others<'_>, gathered: &mut Gathered) -> Selecting<'_> {
        let inbound = Inbound::of(workload);
        for reason in &inbound.problems {
            gathered.problem(&workload.id, NoteKind::InboundPortsInvalid, reason.clone());
        }
        let mut matching = self.selecting(workload);
        matching.sort_by_key(|service| (service.created_seconds, service.id.name.clone()));
        if workload.rollout.is_some() {
            matching.reverse();
        }
        let (mut candidates, mut refused) = (Vec::new(), Vec::new());
        for service in matching {
            match ports::published(service, &inbound) {
                Ok(published) => candidates.push(Candidate::new(service, published)),
                Err(reason) => refused.push((service.id.clone(), reason)),
            }
        }
        let is_open = candidates::sort(&mut candidates, others.offers, others.identity);
        Selecting { candidates, refused, is_open }
    }

    fn selecting(&self, workload: &Workload) -> Vec<&LocalService> {
        let (namespace, labels) = (&workload.id.namespace, &workload.template_labels);
        let of_rollout = workload.rollout.is_some();
        let mut found = Vec::new();
        for pair in labels {
            for name in self.services_by_pair.get(&pair_hash(namespace, pair)).into_iter().flatten() {
                if let Some(service) = self.services.get(&(namespace.clone(), name.clone()))
                    && !service.ignored
                    && selects(&service.selector, labels, of_rollout)
                {
                    found.push(service);
                }
            }
        }
        found
    }

    fn without_selector(&self, namespace: &Arc<str>) -> Vec<(ObjectId, String)> {
        let from = (namespace.clone(), Arc::from(""));
        self.services
            .range(from..)
            .take_while(|((of, _), _)| of == namespace)
            .filter(|(_, service)| service.selector.is_empty() && !service.ignored)
            .filter_map(|(_, service)| Some((service.id.clone(), ports::unusable(service)?.to_owned())))
            .collect()
    }
}

/// The Services that select the pods of a workload.
struct Selecting<'a> {
    /// Those that can be published, the best first; of equal ones the oldest, and for a Rollout the newest (Admiral,
    /// docs/admiral-behaviour.md#services-of-a-rollout).
    candidates: Vec<Candidate<'a>>,
    /// The others, and why.
    refused: Vec<(ObjectId, String)>,
    /// Whether the ports of other workloads may make another one the first.
    is_open: bool,
}

/// What of the service decides among the Services of one of its workloads.
struct Others<'a> {
    identity: &'a Identity,
    offers: &'a [Offer],
}

fn at(candidate: &Candidate<'_>) -> At {
    (candidate.service.id.namespace.clone(), candidate.service.id.name.clone())
}

fn no_service(refused: &[(ObjectId, String)]) -> &'static str {
    if refused.is_empty() { "no Service selects its pods" } else { "no Service that selects its pods can be published" }
}
