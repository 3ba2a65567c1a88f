//! One service as planning takes it, read out of the stores of all clusters that know something about it.
//!
//! Decides nothing: each step reads one part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Inputs, Registry, absence, choice,
    cluster_state::{Backends, ClusterState, WorkloadProblem},
    control_planes, host_overrides, identity_claims, last_known, operations,
    partition::{DisplayKey, is_plain_of},
    policy_match, propagation, remembered, routing_inputs,
    source::source_cluster,
    targets,
};
use crate::{
    model::{
        ClusterName, Host, HostOverride, Identity, Kind, Note, NoteKind, ObjectId, ObjectPath, ServiceKey, Variant,
    },
    plan::{
        input::{ServiceInput, Source, Target},
        observe::agreement::{self, Culprit, Parked},
    },
};

impl Inputs<'_> {
    /// One service, or `None` while nothing may be planned.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<ServiceInput> {
        let registry = self.registry;
        registry.ready().ok()?;
        let written_in = registry.index.clusters_of.of(key);
        let mut running = RunningService::read(registry, key, &written_in);
        let dependents = registry.dependencies.read().sources_of(&key.identity);
        let declared = !dependents.is_empty();
        let mut notes = running.agree_on_ports(key);
        // A client needs no Service and no port; a destination does.
        notes.extend(running.problems(key, declared || !running.sources.is_empty()));
        notes.extend(suspensions(registry, key));
        let names = running.names(registry, key, &written_in);
        let plain = names.plain_key();
        let in_force = policy_match::policies_in_force(registry, &written_in, key);
        let named = policy_match::named(registry, key, &plain);
        let policies = policy_match::matching(registry, &named, &in_force, &mut notes);
        let outlier_detections = policy_match::matching(registry, &named, &in_force, &mut notes);
        let connections = policy_match::matching(registry, &named, &in_force, &mut notes);
        let routing_policies = policy_match::routing_policies(registry, &named, &written_in, &mut notes);
        let slow_starts = policy_match::naming(registry, &named, &mut notes);
        let targets = targets::targets(registry, key, &running.sources, &written_in, &dependents);
        let targets = control_planes::at_control_planes(registry, key, targets, &written_in);
        let has_policies = !routing_policies.is_empty();
        let mut routing = routing_inputs::routing_inputs(registry, key, &names.plain, &written_in, has_policies);
        routing.origin_unread.extend(control_planes::written_at_frozen_targets(registry, key, &targets));
        if running.sources.is_empty() {
            notes.extend(routing_inputs::missing_proxy(registry, key, &routing));
        }
        Some(ServiceInput {
            absences: absence::absences(registry, key, &policies, &running.sources),
            host_overrides: names.host_overrides(registry, &targets),
            unreadable_policy: policy_match::unreadable_policy(registry, &in_force)
                .or_else(|| identity_claims::unusable_claim(registry, &plain)),
            additional: propagation::additional_hosts(registry, key),
            remembered: remembered::remembered(registry, &written_in, key, &plain, names.keep_case),
            slow_starts,
            istio_namespaces: registry.fleet.istio_namespaces(),
            key: names.key,
            identity: names.plain,
            keep_case: names.keep_case,
            sources: running.sources,
            variants: running.variants.into_iter().collect(),
            targets,
            declared,
            policies,
            outlier_detections,
            connections,
            routing_policies,
            routing,
            notes,
        })
    }
}

/// Where a service runs, and what is wrong with it there.
#[derive(Default)]
struct RunningService {
    /// How the oldest of its workloads writes its key.
    names: Option<DisplayKey>,
    sources: Vec<Source>,
    variants: BTreeMap<Variant, Vec<Source>>,
    problems: Vec<(ClusterName, WorkloadProblem)>,
    parked: BTreeMap<ClusterName, Parked>,
}

impl RunningService {
    /// Reads the clusters that have something of the service, and those that cannot be read and had it.
    fn read(registry: &Registry, key: &ServiceKey, written_in: &[ClusterName]) -> Self {
        let mut clusters: BTreeSet<ClusterName> = written_in.iter().cloned().collect();
        clusters.extend(last_known::clusters_with(registry, key));
        let mut all_backends = choice::backends_of(registry, key, &clusters);
        let mut running = Self::default();
        for cluster in &clusters {
            if let Some(state) = registry.fleet.get(cluster) {
                running.add(registry, &state, key, all_backends.remove(cluster).unwrap_or_default());
            }
        }
        running
    }

    fn add(&mut self, registry: &Registry, state: &ClusterState, key: &ServiceKey, mut backends: Backends) {
        let oldest = state.workloads.display_key(key);
        self.names = self.names.take().into_iter().chain(oldest).min();
        let parked = backends.parked.take();
        self.parked.extend(parked.map(|parked| (state.name().clone(), parked)));
        let mut source = |variant: Variant| {
            let written = last_known::service_in(registry, state, key, variant);
            source_cluster(state, key, variant, &mut backends, written)
        };
        if let Some(of_default) = source(Variant::Default) {
            self.sources.push(of_default);
            for variant in Variant::OTHERS {
                if let Some(of_variant) = source(variant) {
                    self.variants.entry(variant).or_default().push(of_variant);
                }
            }
        }
        self.problems.extend(backends.problems.into_iter().map(|problem| (state.name().clone(), problem)));
    }

    /// Leaves out the Services whose ports are not those of the service; answers what is said of them.
    fn agree_on_ports(&mut self, key: &ServiceKey) -> Vec<Note> {
        let plain = self.names.as_ref().map_or(&key.identity, |names| &names.plain);
        let variants = self.variants.values_mut();
        let of_variants = variants.flat_map(|sources| agreement::settle(sources, &BTreeMap::new(), plain));
        let of_variants: BTreeSet<Culprit> = of_variants.collect();
        let mut culprits: BTreeSet<Culprit> =
            agreement::settle(&mut self.sources, &self.parked, plain).into_iter().collect();
        culprits.extend(of_variants);
        let note = |Culprit { cluster, service, message }: Culprit| {
            note(NoteKind::PortsDiffer, service.in_cluster(&cluster), key, message)
        };
        culprits.into_iter().map(note).collect()
    }

    /// What keeps workloads from being published.
    fn problems(&mut self, key: &ServiceKey, is_destination: bool) -> Vec<Note> {
        let counting = self.problems.drain(..).filter(|(_, problem)| is_destination || !problem.of_destination);
        let notes = counting.map(|(cluster, WorkloadProblem { id, kind, message, .. })| {
            note(kind, id.in_cluster(&cluster), key, message)
        });
        notes.collect()
    }

    /// How the oldest workload writes the key of the service; where none can be read, as its objects show it.
    fn names(&mut self, registry: &Registry, key: &ServiceKey, written_in: &[ClusterName]) -> DisplayKey {
        self.names.take().unwrap_or_else(|| DisplayKey {
            created_seconds: 0,
            key: key.clone(),
            plain: written_identity(registry, written_in, key).unwrap_or_else(|| key.identity.clone()),
            keep_case: false,
        })
    }
}

impl DisplayKey {
    /// The key of the service without its partition.
    fn plain_key(&self) -> ServiceKey {
        ServiceKey { identity: self.plain.clone(), environment: self.key.environment.clone() }
    }

    /// What Istio may follow in place of the published objects, in the clusters that hold these.
    fn host_overrides(&self, registry: &Registry, targets: &[Target]) -> Vec<(ClusterName, Arc<HostOverride>)> {
        let host = Host::of_service(&self.plain_key(), &registry.settings.hostname_suffix, self.keep_case);
        let clusters = targets.iter().map(|target| &target.cluster);
        host.map(|host| host_overrides::host_overrides_of(registry, clusters, &host)).unwrap_or_default()
    }
}

/// The identity without partition that the service's objects show, where no workload of it can be read.
fn written_identity(registry: &Registry, written_in: &[ClusterName], key: &ServiceKey) -> Option<Identity> {
    written_in.iter().find_map(|cluster| {
        let written = registry.fleet.get(cluster)?.outputs.of(key);
        let shown = written.iter().filter_map(|written| Identity::parse(written.identity.as_deref()?).ok());
        shown.filter(|identity| is_plain_of(identity, &key.identity)).min()
    })
}

/// Why its objects are left as they are, where operators say so.
fn suspensions(registry: &Registry, key: &ServiceKey) -> Vec<Note> {
    let settings = || {
        let namespace = &registry.settings.dependency_namespace;
        ObjectPath::all_of(&ClusterName::hub(), Kind::TradewindConfig, namespace)
    };
    let note = |(object, message): (Option<(ClusterName, ObjectId)>, String)| {
        let object = object.map_or_else(settings, |(cluster, id)| id.in_cluster(&cluster));
        note(NoteKind::Suspended, object, key, message)
    };
    operations::suspensions_of(registry, key).into_iter().map(note).collect()
}

pub(super) fn note(kind: NoteKind, object: ObjectPath, key: &ServiceKey, message: String) -> Note {
    Note { kind, object, service: Some(key.clone()), message }
}
