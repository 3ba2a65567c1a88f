//! Lifts one service, or one client namespace, out of the registry, and answers questions about clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    sync::atomic::Ordering,
};

use super::{
    Registry,
    addresses::Claimed,
    agreement::{self, Culprit},
    carried::CarriedService,
    cluster_state::{Backends, ClusterState, WorkloadProblem},
    dirty::Trigger,
    hints::HintBudget,
    notes::NoteSource,
    partition::{DisplayKey, is_plain_of},
};
use crate::{
    config::{Sidecars, WithoutDependency},
    model::{ClusterName, Host, Identity, Kind, Note, NoteKind, ObjectId, ObjectPath, ServiceKey, Variant, WorkKey},
    plan::input::{Claim, ClientNamespace, Pods, Principals, ServedCluster, ServiceInput, Source, Target},
};

impl Registry {
    /// Waits until something may have to be planned.
    pub async fn dirty(&self) {
        self.dirty.changed().await;
    }

    /// Whether the fleet was read once, so that planning may begin.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn ready(&self) -> Result<(), String> {
        if self.started.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.waiting_for().unwrap_or_else(|| "starting".into()))
    }

    /// One service, or `None` while nothing may be planned.
    #[must_use]
    pub fn snapshot(&self, key: &ServiceKey) -> Option<ServiceInput> {
        self.ready().ok()?;
        let mut notes = Vec::new();
        let standing = self.clusters_of.of(key);
        let mut candidates: BTreeSet<ClusterName> = standing.iter().cloned().collect();
        candidates.extend(self.carrying(key));
        let dependents = self.dependencies.read().sources_of(&key.identity);

        let mut spelled: Option<DisplayKey> = None;
        let mut sources = Vec::new();
        let mut variants: BTreeMap<Variant, Vec<Source>> = BTreeMap::new();
        let mut unpublished = Vec::new();
        let mut parked = BTreeMap::new();
        let mut seen = self.backends_of(key, &candidates);
        for cluster in &candidates {
            let Some(state) = self.cluster_states.get(cluster) else { continue };
            if let Some(oldest) = state.workloads.display_key(key)
                && spelled.as_ref().is_none_or(|known| oldest < *known)
            {
                spelled = Some(oldest);
            }
            let mut backends = seen.remove(cluster).unwrap_or_default();
            parked.extend(backends.parked.take().map(|parked| (cluster.clone(), parked)));
            let carried = self.carried_service(&state, key, Variant::Default);
            let Some(source) = lift_source(&state, key, Variant::Default, &mut backends, carried) else {
                unpublished.extend(backends.problems.into_iter().map(|problem| (cluster.clone(), problem)));
                continue;
            };
            sources.push(source);
            for variant in Variant::OTHERS {
                let carried = self.carried_service(&state, key, variant);
                if let Some(source) = lift_source(&state, key, variant, &mut backends, carried) {
                    variants.entry(variant).or_default().push(source);
                }
            }
            unpublished.extend(backends.problems.into_iter().map(|problem| (cluster.clone(), problem)));
        }
        let plain_identity = spelled.as_ref().map_or(&key.identity, |spelled| &spelled.plain);
        let of_variants =
            variants.values_mut().flat_map(|sources| agreement::settle(sources, &BTreeMap::new(), plain_identity));
        let culprits: BTreeSet<_> =
            agreement::settle(&mut sources, &parked, plain_identity).into_iter().chain(of_variants).collect();
        notes.extend(culprits.into_iter().map(|Culprit { cluster, service, message }| {
            note(NoteKind::PortsDiffer, service.in_cluster(&cluster), key, message)
        }));
        let in_force = self.policies_in_force(&standing, key);
        let declared = !dependents.is_empty();
        // A client needs no Service and no port; a destination does.
        let is_destination = declared || !sources.is_empty();
        for (cluster, WorkloadProblem { id, kind, message, of_destination }) in unpublished {
            if is_destination || !of_destination {
                notes.push(note(kind, id.in_cluster(&cluster), key, message));
            }
        }
        for (object, message) in self.suspensions_of(key) {
            let object = object.map_or_else(
                || ObjectPath::all_of(&ClusterName::hub(), Kind::TradewindConfig, &self.settings.dependency_namespace),
                |(cluster, id)| id.in_cluster(&cluster),
            );
            notes.push(note(NoteKind::Suspended, object, key, message));
        }
        let DisplayKey { key: spelled, plain: identity, keep_case, .. } = spelled.unwrap_or_else(|| DisplayKey {
            created_seconds: 0,
            key: key.clone(),
            plain: self.written_identity(&standing, key).unwrap_or_else(|| key.identity.clone()),
            keep_case: false,
        });
        let plain = ServiceKey { identity: identity.clone(), environment: key.environment.clone() };
        let named = self.named(key, &plain);
        let policies = self.matching(&named, &in_force, &mut notes);
        let absences = self.absences(key, &policies, &sources);
        let outlier_detections = self.matching(&named, &in_force, &mut notes);
        let connections = self.matching(&named, &in_force, &mut notes);
        let targets = self.targets(key, &sources, &standing, &dependents, declared);
        let targets = self.at_control_planes(key, targets, &standing);
        let host_overrides = Host::of_service(&plain, &self.settings.hostname_suffix, keep_case)
            .map(|host| self.host_overrides_of(targets.iter().map(|target| &target.cluster), &host))
            .unwrap_or_default();
        let unreadable_policy = self.unreadable_policy(&in_force);
        let additional = self.additional_hosts(key);
        let remembered = self.remembered(&standing, key, &plain, keep_case);
        let routing_policies = self.naming(&named);
        let mut routing = self.routing_inputs(key, &identity, &standing, !routing_policies.is_empty());
        routing.kept.extend(self.kept_at_control_planes(key, &targets));
        if sources.is_empty() {
            notes.extend(self.missing_proxy(key, &routing));
        }
        Some(ServiceInput {
            key: spelled,
            identity,
            keep_case,
            sources,
            variants: variants.into_iter().collect(),
            istio_namespaces: self.istio_namespaces(),
            targets,
            declared,
            policies,
            outlier_detections,
            connections,
            slow_starts: self.naming(&named),
            routing_policies,
            absences,
            routing,
            unreadable_policy,
            host_overrides,
            additional,
            remembered,
            notes,
        })
    }

    /// The identity without partition that the service's objects show, where no workload of it can be read.
    fn written_identity(&self, standing: &[ClusterName], key: &ServiceKey) -> Option<Identity> {
        standing.iter().find_map(|cluster| {
            let written = self.cluster_states.get(cluster)?.outputs.of(key);
            let shown = written.iter().filter_map(|written| Identity::parse(written.identity.as_deref()?).ok());
            shown.filter(|identity| is_plain_of(identity, &key.identity)).min()
        })
    }

    /// Clusters that cannot be read and had the service.
    pub(super) fn carrying(&self, key: &ServiceKey) -> Vec<ClusterName> {
        let labels: Vec<String> = self.carried.iter().filter(|c| c.has(key)).map(|c| c.key().clone()).collect();
        labels.iter().filter_map(|label| self.labels.get(label).map(|cluster| cluster.clone())).collect()
    }

    pub(super) fn carried_service(
        &self,
        state: &ClusterState,
        key: &ServiceKey,
        variant: Variant,
    ) -> Option<CarriedService> {
        if state.coverage().endpoints() {
            return None;
        }
        self.carried.get(&state.name().label_value())?.service(key, variant, state.name())
    }

    fn targets(
        &self,
        key: &ServiceKey,
        sources: &[Source],
        standing: &[ClusterName],
        dependents: &[Identity],
        declared: bool,
    ) -> Vec<Target> {
        if sources.is_empty() {
            return Vec::new();
        }
        let everywhere = !declared && self.settings.without_dependency == WithoutDependency::All;
        let mut dependent_namespaces = self.namespaces_running(dependents);
        let mut candidates: BTreeSet<ClusterName> = if everywhere {
            self.cluster_states.iter().map(|state| state.key().clone()).collect()
        } else {
            dependent_namespaces.keys().chain(standing).cloned().collect()
        };
        candidates.extend(sources.iter().map(|source| source.cluster.clone()));
        candidates
            .iter()
            .filter_map(|cluster| self.cluster_states.get(cluster))
            .filter(|state| state.freshness.watches(Kind::ServiceEntry))
            .filter_map(|state| {
                let dependent_namespaces = dependent_namespaces.remove(state.key()).unwrap_or_default();
                let is_source = sources.iter().any(|source| source.cluster == *state.key());
                // Who depends on it there is not known: what stands there is kept up.
                let kept = standing.binary_search(state.key()).is_ok()
                    && state.outputs.holds(key)
                    && !state.coverage().dependents();
                if !(is_source || everywhere || kept || !dependent_namespaces.is_empty()) {
                    return None;
                }
                Some(Target {
                    cluster: state.key().clone(),
                    served_clusters: vec![ServedCluster { cluster: state.key().clone(), network: state.network() }],
                    regions: self.regions_of(&state),
                    nodes_unread: !state.freshness.knows(Kind::Node),
                    network: state.network().filter(|_| self.settings.direct_endpoints),
                    identity_namespaces: state.workloads.identities().namespaces_of(&key.identity),
                    dependent_namespaces: dependent_namespaces.into_iter().collect(),
                    frozen: false,
                })
            })
            .collect()
    }

    /// Makes `hosts` the whole list that a service asks for and answers who holds each and with which address.
    /// Services that waited for a host that became free are marked.
    pub fn claim(&self, key: &ServiceKey, hosts: &[Host]) -> Vec<Claim> {
        let runs = |other: &ServiceKey| {
            self.clusters_of
                .of(other)
                .iter()
                .any(|cluster| self.cluster_states.get(cluster).is_some_and(|state| state.workloads.runs(other)))
                || !self.carrying(other).is_empty()
        };
        self.yield_to_owners(key, hosts);
        let Claimed { mut claims, freed_for, conflicts, exhausted, changed } =
            self.addresses.lock().claim(key, hosts, &runs);
        let left = self.with_adopted(&mut claims);
        self.note_left(key, left);
        let trigger = Trigger::Service(key.clone());
        self.mark_for(changed.iter().filter_map(|host| self.routed(host)).map(WorkKey::Host), &trigger);
        self.mark_for(freed_for.into_iter().map(WorkKey::Service), &trigger);
        let conflicts = conflicts.into_iter().map(|(host, address)| {
            (host, format!("its written address {address} belongs to another host; it gets another one"))
        });
        let exhausted = exhausted.into_iter().map(|host| {
            (host, format!("no address of {} is free; it is published without one", self.settings.address_range))
        });
        let notes: Vec<Note> = conflicts
            .chain(exhausted)
            .map(|(host, message)| {
                let (namespace, name) = (&self.settings.sync_namespace, host.service_entry_name());
                let object = ObjectPath::new(&ClusterName::hub(), Kind::ServiceEntry, namespace, &name);
                note(NoteKind::AddressConflict, object, key, message)
            })
            .collect();
        self.notes.put(NoteSource::Fleet(format!("addresses of {key}")), notes);
        claims
    }

    /// What [`Registry::claim`] answered last for these hosts; claims nothing.
    #[must_use]
    pub fn claims(&self, key: &ServiceKey, hosts: &[Host]) -> Vec<Claim> {
        let mut claims = self.addresses.lock().peek(key, hosts);
        self.with_adopted(&mut claims);
        claims
    }

    /// Number of hosts that are published.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.addresses.lock().held_count()
    }

    /// The namespaces that run an identity which depends on the service, in the clusters whose istiods serve them.
    pub(super) fn namespaces_of_dependents(&self, key: &ServiceKey) -> BTreeSet<(ClusterName, Arc<str>)> {
        let dependents = self.dependencies.read().sources_of(&key.identity);
        let mut namespaces = BTreeSet::new();
        for (cluster, here) in self.namespaces_running(&dependents) {
            for plane in self.control_planes(&cluster) {
                namespaces.extend(here.iter().map(|namespace| (plane.clone(), namespace.clone())));
            }
        }
        namespaces
    }

    /// The namespaces that run one of some identities, by cluster.
    pub(super) fn namespaces_running<'a>(
        &self,
        identities: impl IntoIterator<Item = &'a Identity>,
    ) -> BTreeMap<ClusterName, BTreeSet<Arc<str>>> {
        let mut namespaces: BTreeMap<ClusterName, BTreeSet<Arc<str>>> = BTreeMap::new();
        for identity in identities {
            for cluster in self.running.of(identity).iter() {
                let here = self
                    .cluster_states
                    .get(cluster)
                    .map(|state| state.workloads.identities().namespaces_of(identity))
                    .unwrap_or_default();
                if !here.is_empty() {
                    namespaces.entry(cluster.clone()).or_default().extend(here);
                }
            }
        }
        namespaces
    }

    /// One client namespace, or `None` while nothing may be planned, as long as clients there cannot be read.
    #[must_use]
    pub fn client_namespace(&self, cluster: &ClusterName, namespace: &str) -> Option<ClientNamespace> {
        self.ready().ok()?;
        if self.misses_readers(cluster) {
            return None;
        }
        let read_in: Vec<ClusterName> = if self.is_remote(cluster) {
            Vec::new()
        } else {
            [vec![cluster.clone()], self.remotes_of(cluster)].concat()
        };
        // Who has a sidecar because of the namespace is not known: then no host may be taken away.
        if read_in.iter().any(|of| self.cluster_states.get(of).is_some_and(|state| state.coverage().doubts_sidecars()))
        {
            return None;
        }
        let identities = |of: &ClusterName| {
            self.cluster_states.get(of).map(|state| state.workloads.identities().in_namespace(namespace))
        };
        let clients: BTreeSet<Identity> = read_in.iter().filter_map(identities).flatten().collect();
        let (destinations, mut hosts): (BTreeSet<Identity>, BTreeSet<Host>) = {
            let dependencies = self.dependencies.read();
            let destinations: BTreeSet<_> =
                clients.iter().flat_map(|client| dependencies.destinations_of(client)).collect();
            // A route for a host that the Sidecar leaves out never reaches the client's proxy.
            let proxied = destinations.iter().flat_map(|destination| dependencies.proxies.hosts_before(destination));
            let proxied = proxied.cloned().collect();
            (destinations, proxied)
        };
        let mut local_services = BTreeSet::new();
        let mut further_ports: BTreeMap<Host, BTreeSet<u16>> = BTreeMap::new();
        for key in destinations.iter().flat_map(|identity| self.keys_of(identity)) {
            let of_key = self.hosts_of(&key);
            if self.settings.sidecars == Sidecars::Merge {
                let further = self.further_ports(&key);
                let with_any = of_key.iter().filter(|_| !further.is_empty());
                further_ports.extend(with_any.map(|host| (host.clone(), further.clone())));
            }
            hosts.extend(of_key);
            for cluster in &read_in {
                let backends = self.backends_in(&key, cluster);
                let of_services = backends.all().filter(|backend| backend.machine.is_none());
                local_services.extend(of_services.map(|backend| (backend.namespace.clone(), backend.service.clone())));
            }
        }
        let state = self.cluster_states.get(cluster)?;
        let elsewhere = hosts.iter().flat_map(|host| {
            self.entry_namespaces(&state, host).into_iter().map(|namespace| (namespace, host.clone()))
        });
        Some(ClientNamespace {
            cluster: cluster.clone(),
            domain: state.domain(),
            istio_namespace: state.namespaces.of_istio().clone(),
            elsewhere: elsewhere.collect(),
            namespace: namespace.into(),
            is_client: !destinations.is_empty(),
            hosts: hosts.into_iter().collect(),
            further_ports,
            local_services: local_services.into_iter().collect(),
        })
    }

    /// The hosts of a service: those it holds, or those that stand while its policy cannot be read and it claims none.
    pub(super) fn hosts_of(&self, key: &ServiceKey) -> BTreeSet<Host> {
        let standing = self.clusters_of.of(key);
        if self.unreadable_policy(&self.policies_in_force(&standing, key)).is_none() {
            return self.addresses.lock().held_by(key).into_iter().collect();
        }
        let mut hosts = BTreeSet::new();
        for cluster in standing.iter() {
            let written = self.cluster_states.get(cluster).map(|state| state.outputs.of(key)).unwrap_or_default();
            let entries = written.iter().filter(|written| written.id.kind == Kind::ServiceEntry);
            hosts.extend(entries.filter_map(|entry| Host::parse(entry.host.as_deref()?).ok()));
        }
        hosts
    }

    /// Looks again at the Dependencies whose destinations came or went.
    pub(super) fn review_dependencies(&self) {
        let unreviewed = std::mem::take(&mut *self.unreviewed.lock());
        if unreviewed.is_empty() {
            return;
        }
        let unread = self.unread_clusters();
        let kind = if unread.is_none() { NoteKind::DependencyQuestionable } else { NoteKind::WorkloadsUnknown };
        let running: Vec<Identity> = self.running.keys().into_iter().collect();
        let mut hints = HintBudget::default();
        for of in unreviewed {
            let source = self.review_source(&of, unread.is_none(), &running);
            let (cluster, id) = of;
            let unserved: Vec<Identity> = {
                let dependencies = self.dependencies.read();
                let Some(counted) = dependencies.get(&(cluster.clone(), id.clone())) else { continue };
                let nobody_runs = |identity: &&Identity| {
                    !self.runs_anywhere(identity) && dependencies.proxies.before(identity).next().is_none()
                };
                counted.destinations.iter().filter(nobody_runs).cloned().collect()
            };
            let notes = unserved.iter().map(|identity| Note {
                kind,
                object: id.in_cluster(&cluster),
                service: None,
                message: runs_nowhere(identity, unread.as_deref()),
            });
            self.put_notes(of_destinations(&cluster, &id), notes.chain(source).collect(), &mut hints);
        }
    }

    pub(super) fn runs_anywhere(&self, identity: &Identity) -> bool {
        self.keys_of(identity).iter().any(|key| {
            self.clusters_of
                .of(key)
                .iter()
                .any(|cluster| self.cluster_states.get(cluster).is_some_and(|state| state.workloads.runs(key)))
                || !self.carrying(key).is_empty()
        })
    }
}

/// The cluster as a source of one variant of the service.
fn lift_source(
    state: &ClusterState,
    key: &ServiceKey,
    variant: Variant,
    backends: &mut Backends,
    carried: Option<CarriedService>,
) -> Option<Source> {
    let loading = state.freshness.is_loading();
    let unseen = |kind: Kind| {
        loading
            || !state.freshness.knows(Kind::Service)
            || !state.freshness.knows(kind)
            || (kind == Kind::Rollout && state.coverage().doubts_rollouts_of(key))
            || (!is_machine(kind) && state.coverage().doubts_sidecars_of(key))
    };
    let carried_locality = carried.as_ref().and_then(|carried| carried.locality.clone());
    let written_gateway = carried.as_ref().and_then(|carried| carried.gateway.clone());
    let (written_pods, written_ports) =
        carried.as_ref().map(|carried| (carried.pods.clone(), carried.ports.clone())).unwrap_or_default();
    let carried = carried.and_then(|mut carried| {
        // A service may run on machines and in pods, of which only some can be read.
        carried.local.retain(|endpoint| unseen(endpoint.workload));
        (unseen(carried.workload) || !carried.local.is_empty()).then_some(carried)
    });
    let mut services = backends.take(variant);
    // What may not be all that there is of a Service does not change what was written of it.
    services.retain(|backend| !carried.iter().flat_map(|carried| &carried.local).any(|known| known.is_of(backend)));
    // While not all of them can be read, the kind stays as it was written.
    let written = carried.as_ref().map(|carried| carried.workload);
    let written = written.filter(|kind| services.is_empty() || unseen(*kind));
    let seen = (!services.is_empty()).then_some(backends.workload).flatten().filter(|_| variant == Variant::Default);
    let seen = seen.or_else(|| services.first().map(|backend| backend.workload));
    let unseen_local = carried.as_ref().and_then(|carried| Some(carried.local.first()?.workload));
    let kinds = [written, seen, unseen_local];
    let beside_rollouts = kinds.into_iter().flatten().find(|kind| *kind != Kind::Rollout);
    let workload = beside_rollouts.or_else(|| kinds.into_iter().flatten().next())?;
    let locality = if loading { None } else { state.topology.locality() };
    let gateway = if loading {
        None
    } else if state.freshness.knows(Kind::Namespace) {
        state.topology.gateway()
    } else {
        state.topology.gateway_like(written_gateway.as_ref())
    };
    let services_unknown = loading || !state.freshness.knows(Kind::Service);
    let pods_unknown = services_unknown || !state.coverage().pods() || carried.is_some();
    let pods = if pods_unknown && !written_pods.is_empty() {
        Pods::LastKnown(written_pods)
    } else if state.coverage().lists_pods() && !(pods_unknown && written_gateway.is_some()) {
        let with_pods = services.iter_mut().filter(|backend| backend.machine.is_none());
        with_pods.for_each(|backend| backend.pods = state.pods(backend));
        Pods::Known
    } else {
        Pods::Unknown
    };
    let (last_known_local, carried_gateway) =
        carried.map_or_else(Default::default, |CarriedService { local, gateway, .. }| (local, gateway));
    let may_have_more = services.is_empty() || !last_known_local.is_empty();
    Some(Source {
        cluster: state.name().clone(),
        unavailable: if may_have_more { Vec::new() } else { backends.unavailable.clone() },
        domain: state.domain(),
        locality: locality.or_else(|| carried_locality.filter(|_| loading || !state.freshness.knows(Kind::Node))),
        gateway: gateway.or_else(|| carried_gateway.filter(|_| services_unknown)),
        network: state.network(),
        pods,
        workload,
        services,
        last_known_ports: written_ports,
        last_known_local,
        since_seconds: if loading {
            None
        } else {
            state.workloads.display_key(key).map(|oldest| oldest.created_seconds)
        },
        principals: Principals {
            trust_domain: state.topology.trust_domain(),
            accounts: if loading { BTreeSet::new() } else { state.workloads.service_accounts(key) },
            unknown: loading || !state.coverage().workloads() || !state.freshness.knows(Kind::Namespace),
        },
    })
}

fn is_machine(kind: Kind) -> bool {
    matches!(kind, Kind::WorkloadEntry | Kind::ServiceEntry)
}

/// What is said of a destination of a Dependency that nobody is seen to run. `unread` names clusters that may run it.
pub(super) fn runs_nowhere(identity: &Identity, unread: Option<&str>) -> String {
    match unread {
        None => format!("no cluster runs the destination {identity}; it counts as soon as one does"),
        Some(clusters) => format!(
            "no cluster that could be read runs the destination {identity}, and what runs in {clusters} is not known; it \
             counts as soon as a cluster is seen to run it"
        ),
    }
}

/// Notes about who runs what a Dependency names, apart from those about its own text.
pub(super) fn of_destinations(cluster: &ClusterName, id: &ObjectId) -> NoteSource {
    NoteSource::Fleet(format!("destinations of {}", id.in_cluster(cluster)))
}

fn note(kind: NoteKind, object: ObjectPath, key: &ServiceKey, message: String) -> Note {
    Note { kind, object, service: Some(key.clone()), message }
}
