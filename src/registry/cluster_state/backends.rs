//! The Services behind which the pods of a service run in one cluster (Admiral,
//! docs/admiral-behaviour.md#services-of-a-workload), and its machines.
//!
//! Decides which Service represents which workload, what each counts relative to the others, and what keeps some from counting.
//! What the strategy of a Rollout says is decided by `rollouts`, what a machine offers by `machines`.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{ClusterState, WorkloadProblem, slices::NamespacedName};
use crate::{
    model::{Identity, Kind, NoteKind, ObjectId, ServiceKey, Variant, Workload},
    plan::{
        input::{Backend, RelativeWeight},
        observe::{
            agreement::Parked,
            candidates::{self, Candidate, Offer},
            machines,
            ports::{self, Inbound},
            purpose::Purpose,
            rollouts::{self, KnownRoutes},
        },
    },
};

/// Annotation by which a workload names the ports that matter.
const INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";

/// The Services of one service in one cluster.
#[derive(Debug, Default)]
pub(in crate::registry) struct Backends {
    /// By variant, sorted by namespace and name.
    of: BTreeMap<Variant, Vec<Backend>>,
    /// The kind of workload that represents all of them: another than a Rollout where there is one.
    pub(in crate::registry) workload: Option<Kind>,
    /// The workloads behind them, sorted, where none has pods that can serve; empty where one has.
    pub(in crate::registry) unavailable: Vec<ObjectId>,
    pub(in crate::registry) problems: Vec<WorkloadProblem>,
    /// Those of workloads without pods, where others have some and may not be the service.
    pub(in crate::registry) parked: Option<Parked>,
    /// Namespace and name of those in whose place another Service of the same workload would count if it had the ports of the
    /// service.
    open: BTreeSet<NamespacedName>,
}

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
struct BackendsBuilder {
    open: BTreeSet<NamespacedName>,
    of: BTreeMap<Variant, BTreeMap<machines::At, Backend>>,
    /// The machines that have a weight.
    weights: BTreeMap<machines::At, u32>,
    problems: BTreeSet<WorkloadProblem>,
}

impl BackendsBuilder {
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
        self.problems.insert(WorkloadProblem { id: id.clone(), kind, message, of_destination: true });
    }

    fn machine_problem(&mut self, id: &ObjectId, reason: &str) {
        let message = format!("{reason}; it is no endpoint");
        let of_destination = reason == machines::NO_PORT;
        self.problems.insert(WorkloadProblem {
            id: id.clone(),
            kind: NoteKind::MachineUnusable,
            message,
            of_destination,
        });
    }

    /// Tells why a workload has no Service.
    fn missing(&mut self, state: &ClusterState, workload: &ObjectId, reason: &str, refused: Vec<(ObjectId, String)>) {
        let message = format!("{reason}; the cluster offers no endpoint for it");
        self.problem(workload, NoteKind::ServiceMissing, message);
        for (id, reason) in refused.into_iter().chain(state.services.without_selector(&workload.namespace)) {
            self.problem(&id, NoteKind::ServiceUnusable, format!("{reason}; it is not published"));
        }
    }

    /// By variant, sorted by namespace and name.
    fn into_sorted(mut self) -> (BTreeMap<Variant, Vec<Backend>>, Vec<WorkloadProblem>) {
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
    /// The Services behind which the pods of a service run, and what keeps others from counting. `offers` are those of other
    /// workloads of the service, in any cluster: of the Services of one workload that with the same port counts first.
    ///
    /// A workload without pods that can serve makes no backend while another one has some.
    pub(in crate::registry) fn backends(&self, key: &ServiceKey, offers: &[Offer]) -> Backends {
        let query = BackendQuery { state: self, key, offers };
        let can_serve = |workload: &Workload| self.workloads.can_serve(workload);
        let serving = query.gather(&can_serve);
        let is_for_clients = |backend: &Backend| Purpose::of_backend(backend, &key.identity) == Purpose::Clients;
        let all_serve = self.workloads.of(key).all(can_serve);
        if serving.all().any(is_for_clients) || all_serve {
            return serving;
        }
        let idle = self.workloads.of(key).filter(|workload| !can_serve(workload));
        let mut unavailable: Vec<ObjectId> = idle.map(|workload| workload.id.clone()).collect();
        unavailable.sort();
        let mut all = query.gather(&|_| true);
        if serving.all().next().is_none() {
            return Backends { unavailable, ..all };
        }
        let mut services = all.take(Variant::Default);
        let is_serving = |backend: &Backend| {
            let mut serving = serving.all();
            serving.any(|other| (&other.namespace, &other.service) == (&backend.namespace, &backend.service))
        };
        services.retain(|backend| backend.machine.is_none() && !is_serving(backend));
        Backends { parked: Some(Parked { services, workloads: unavailable }), ..serving }
    }
}

/// One service in one cluster, whose Services are looked for.
struct BackendQuery<'a> {
    state: &'a ClusterState,
    key: &'a ServiceKey,
    offers: &'a [Offer],
}

impl<'a> BackendQuery<'a> {
    /// The Services of the workloads that count.
    fn gather(&self, counts: &dyn Fn(&Workload) -> bool) -> Backends {
        let mut builder = BackendsBuilder::default();
        let workloads = || self.state.workloads.of(self.key).filter(|workload| counts(workload));
        // A Service that a Rollout splits its traffic by says nothing more for a Deployment behind it.
        for workload in workloads().filter(|workload| workload.rollout.is_some()) {
            self.add_rollout(workload, &mut builder);
        }
        let mut others = None;
        for workload in workloads().filter(|workload| workload.rollout.is_none()) {
            if self.add_workload(workload, &mut builder) {
                others.get_or_insert(workload.id.kind);
            }
        }
        if builder.of.values().all(BTreeMap::is_empty) {
            let nothing = workloads().filter_map(machines::selects_nothing);
            nothing.for_each(|(id, reason)| builder.machine_problem(&id, &reason));
        }
        let open = std::mem::take(&mut builder.open);
        let (of, problems) = builder.into_sorted();
        let kinds = || of.get(&Variant::Default).into_iter().flatten().map(|backend| backend.workload);
        let workload = kinds().find(|kind| *kind != Kind::Rollout).or(others).or(kinds().next());
        Backends { of, workload, unavailable: Vec::new(), problems, parked: None, open }
    }

    /// Adds the best Service of a workload other than a Rollout, or its machines; answers whether it has a Service.
    fn add_workload(&self, workload: &Workload, builder: &mut BackendsBuilder) -> bool {
        let Selecting { candidates, refused, is_open } = self.candidates(workload, builder);
        match candidates.first() {
            Some(best) => {
                if is_open {
                    builder.open.insert(name_of(best));
                }
                builder.put(Variant::Default, &workload.id, best, RelativeWeight::WHOLE);
                return true;
            }
            None if let Some(of) = &workload.machines => {
                let hint = workload.template_annotations.get(INBOUND_PORTS).map(String::as_str);
                let entries = self.state.workloads.of(self.key);
                let (found, reasons) = machines::backends(workload, of, entries, hint);
                builder.put_machines(found);
                reasons.iter().for_each(|reason| builder.machine_problem(&workload.id, reason));
            }
            None => {
                let reason = no_service(&refused);
                builder.missing(self.state, &workload.id, reason, refused);
            }
        }
        false
    }

    fn add_rollout(&self, workload: &Workload, builder: &mut BackendsBuilder) {
        let Some(rollout) = &workload.rollout else { return };
        let Selecting { candidates, refused, is_open } = self.candidates(workload, builder);
        let routes = self.state.user_routes.routes();
        let find = |namespace: &str, name: &str| routes.get(&ObjectId::new(Kind::VirtualService, namespace, name));
        let domain = self.state.domain();
        let listed = self.state.freshness.knows(Kind::VirtualService);
        let chosen =
            rollouts::choose(&workload.id, rollout, &candidates, &KnownRoutes { find: &find, listed, domain: &domain });
        if let Some(reason) = chosen.missing {
            let reason = if candidates.is_empty() { no_service(&refused).to_owned() } else { reason };
            builder.missing(self.state, &workload.id, &reason, refused);
            return;
        }
        for (id, message) in chosen.questions {
            builder.problem(&id, NoteKind::RolloutQuestionable, message);
        }
        if is_open && !chosen.is_named {
            builder.open.extend(chosen.default.iter().map(|(candidate, _)| name_of(candidate)));
        }
        for (candidate, relative_weight) in chosen.default {
            builder.put(Variant::Default, &workload.id, candidate, relative_weight);
        }
        for (variant, candidate) in [(Variant::Preview, chosen.preview), (Variant::Canary, chosen.canary)] {
            if let Some(candidate) = candidate {
                builder.put(variant, &workload.id, candidate, RelativeWeight::WHOLE);
            }
        }
    }

    fn candidates(&self, workload: &Workload, builder: &mut BackendsBuilder) -> Selecting<'a> {
        let inbound = Inbound::of(workload);
        for reason in &inbound.problems {
            builder.problem(&workload.id, NoteKind::InboundPortsInvalid, reason.clone());
        }
        let mut matching = self.state.services.selecting(workload);
        matching.sort_by_key(|service| (service.created_seconds, service.id.name.clone()));
        if workload.rollout.is_some() {
            matching.reverse();
        }
        let (mut candidates, mut refused) = (Vec::new(), Vec::new());
        for service in matching {
            match ports::published(service, &inbound) {
                Ok(published) => candidates.push(Candidate::new(service, published)),
                Err(reason) => refused.push((service.id.clone(), reason.to_string())),
            }
        }
        let is_open = candidates::sort(&mut candidates, self.offers, &self.key.identity);
        Selecting { candidates, refused, is_open }
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

fn name_of(candidate: &Candidate<'_>) -> NamespacedName {
    (candidate.service.id.namespace.clone(), candidate.service.id.name.clone())
}

fn no_service(refused: &[(ObjectId, String)]) -> &'static str {
    if refused.is_empty() { "no Service selects its pods" } else { "no Service that selects its pods can be published" }
}
