//! Lifts one service, or one client namespace, out of the registry, and answers questions about clusters.

use std::{collections::BTreeSet, sync::Arc, sync::atomic::Ordering};

use super::{
    Registry,
    addresses::Claimed,
    carried::CarriedService,
    dirty::Unit,
    notes::NoteSource,
    shard::Shard,
    snapshot::{Claim, ClientNamespace, ServiceSnapshot, Source, Target},
    status::ClusterStatus,
};
use crate::{
    config::WithoutDependency,
    model::{ClusterName, Host, Identity, Kind, Note, NoteKind, ObjectId, ObjectRef, ServiceKey, Written},
};

impl Registry {
    // ---- what is to be planned ----

    /// Waits until something may have to be planned.
    pub async fn dirty(&self) {
        self.dirty.changed().await;
    }

    /// Takes everything that has to be planned, sorted.
    #[must_use]
    pub fn take_dirty(&self) -> Vec<Unit> {
        if !self.started.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.review_dependencies();
        self.dirty.take().into_iter().collect()
    }

    /// Number of units that wait.
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
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
    pub fn snapshot(&self, key: &ServiceKey) -> Option<ServiceSnapshot> {
        self.ready().ok()?;
        let mut notes = Vec::new();
        let standing: BTreeSet<ClusterName> =
            self.clusters_of.get(key).map(|clusters| clusters.clone()).unwrap_or_default();
        let mut candidates = standing.clone();
        candidates.extend(self.carrying(key));
        let dependents = self.dependencies.read().sources_of(&key.identity);

        let mut spelled: Option<(i64, ServiceKey, bool)> = None;
        let mut sources = Vec::new();
        let mut policies = Vec::new();
        let mut unpublished = Vec::new();
        for cluster in &candidates {
            let Some(shard) = self.shards.get(cluster) else { continue };
            if let Some(oldest) = shard.oldest(key)
                && spelled.as_ref().is_none_or(|known| (oldest.0, &oldest.1) < (known.0, &known.1))
            {
                spelled = Some(oldest);
            }
            let carried = self.carried_service(&shard, key);
            let (source, problems) = lift_source(&shard, key, carried);
            unpublished.extend(problems.into_iter().map(|(id, reason)| (cluster.clone(), id, reason)));
            sources.extend(source);
        }
        for shard in &self.shards {
            for (policy, at_home) in shard.policies(key) {
                if at_home {
                    policies.push((shard.key().clone(), policy));
                } else {
                    let message = format!("no workload of {key} runs in its namespace; it has no effect");
                    notes.push(note(NoteKind::PolicyUnmatched, policy.id.in_cluster(shard.key()), key, message));
                }
            }
        }
        policies.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
        let declared = !dependents.is_empty();
        // A client needs no Service; a destination does.
        if declared || !sources.is_empty() {
            for (cluster, id, reason) in unpublished {
                let (kind, message) = if id.kind == Kind::Service {
                    (NoteKind::ServiceUnusable, format!("{reason}; it is not published"))
                } else {
                    (NoteKind::ServiceMissing, format!("{reason}; the cluster offers no endpoint for it"))
                };
                notes.push(note(kind, id.in_cluster(&cluster), key, message));
            }
        }
        let (_, spelled, keep_case) = spelled.unwrap_or_else(|| (0, key.clone(), false));
        let targets = self.targets(key, &sources, &standing, &dependents, declared);
        let unreadable_policy = self.unreadable_policy(key, &standing);
        Some(ServiceSnapshot {
            key: spelled,
            keep_case,
            sources,
            targets,
            declared,
            policies,
            unreadable_policy,
            notes,
        })
    }

    /// Clusters that cannot be read and had the service.
    fn carrying(&self, key: &ServiceKey) -> Vec<ClusterName> {
        let labels: Vec<String> =
            self.carried.iter().filter(|c| c.services.contains_key(key)).map(|c| c.key().clone()).collect();
        labels.iter().filter_map(|label| self.labels.get(label).map(|cluster| cluster.clone())).collect()
    }

    fn carried_service(&self, shard: &Shard, key: &ServiceKey) -> Option<Carry> {
        if shard.knows_endpoints() {
            return None;
        }
        let carried = self.carried.get(&shard.name().label_value())?;
        Some(Carry {
            service: carried.services.get(key).cloned(),
            gateway: carried.gateway.clone(),
            locality: carried.locality.clone(),
        })
    }

    fn targets(
        &self,
        key: &ServiceKey,
        sources: &[Source],
        standing: &BTreeSet<ClusterName>,
        dependents: &[Identity],
        declared: bool,
    ) -> Vec<Target> {
        if sources.is_empty() {
            return Vec::new();
        }
        let everywhere = !declared && self.settings.without_dependency == WithoutDependency::All;
        let mut targets: Vec<Target> = self
            .shards
            .iter()
            .filter(|shard| shard.kinds().contains_key(&Kind::ServiceEntry))
            .filter_map(|shard| {
                let dependent_namespaces: BTreeSet<Arc<str>> =
                    dependents.iter().flat_map(|dependent| shard.namespaces_of(dependent)).collect();
                let is_source = sources.iter().any(|source| source.cluster == *shard.key());
                // Who depends on it there is not known: what stands there is kept up.
                let kept = standing.contains(shard.key()) && shard.holds(key) && !shard.knows_workloads();
                if !(is_source || everywhere || kept || !dependent_namespaces.is_empty()) {
                    return None;
                }
                let mut regions = shard.regions();
                if regions.is_empty() && !shard.knows(Kind::Node) {
                    let carried = self.carried.get(&shard.key().label_value());
                    regions.extend(carried.and_then(|c| c.locality.as_ref().map(|locality| locality.region.clone())));
                }
                Some(Target {
                    cluster: shard.key().clone(),
                    regions,
                    identity_namespaces: shard.namespaces_of(&key.identity),
                    dependent_namespaces: dependent_namespaces.into_iter().collect(),
                })
            })
            .collect();
        targets.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        targets
    }

    /// The policy by which the service's objects were written, where its cluster's policies cannot be read.
    fn unreadable_policy(&self, key: &ServiceKey, standing: &BTreeSet<ClusterName>) -> Option<Arc<str>> {
        let written: BTreeSet<Arc<str>> = standing
            .iter()
            .filter_map(|cluster| self.shards.get(cluster))
            .flat_map(|shard| shard.written_for(key))
            .filter_map(|written| written.policy.clone())
            .collect();
        written.into_iter().find(|policy| {
            let cluster = policy.split('/').next().and_then(|name| ClusterName::parse(name).ok());
            cluster.is_some_and(|cluster| {
                self.shards.get(&cluster).is_some_and(|shard| !shard.knows(Kind::GlobalTrafficPolicy))
            })
        })
    }

    /// Makes `hosts` the whole list that a service asks for and answers who holds each and with which address.
    /// Services that waited for a host that became free are marked.
    pub fn claim(&self, key: &ServiceKey, hosts: &[Host]) -> Vec<Claim> {
        let runs = |other: &ServiceKey| {
            let clusters = self.clusters_of.get(other).map(|clusters| clusters.clone()).unwrap_or_default();
            clusters.iter().any(|cluster| self.shards.get(cluster).is_some_and(|shard| shard.runs(other)))
                || !self.carrying(other).is_empty()
        };
        let Claimed { claims, freed_for, conflicts, exhausted, changed } =
            self.addresses.lock().claim(key, hosts, &runs);
        if changed {
            self.mark(self.client_units(key));
        }
        self.mark(freed_for.into_iter().map(Unit::Service));
        let conflicts = conflicts.into_iter().map(|(host, address)| {
            (host, format!("its written address {address} belongs to another host; it gets another one"))
        });
        let exhausted = exhausted.into_iter().map(|host| {
            (host, format!("no address of {} is free; it is published without one", self.settings.address_range))
        });
        let notes: Vec<Note> = conflicts
            .chain(exhausted)
            .map(|(host, message)| {
                let mut object = whole(&ClusterName::hub(), "ServiceEntry", &self.settings.sync_namespace);
                object.name = host.service_entry_name();
                note(NoteKind::AddressConflict, object, key, message)
            })
            .collect();
        if !notes.is_empty() || claims.iter().all(|claim| claim.address.is_some()) {
            self.notes.put(NoteSource::Fleet(format!("addresses of {key}")), notes);
        }
        claims
    }

    /// What [`Registry::claim`] answered last for these hosts; claims nothing.
    #[must_use]
    pub fn claims(&self, key: &ServiceKey, hosts: &[Host]) -> Vec<Claim> {
        self.addresses.lock().peek(key, hosts)
    }

    /// Number of hosts that are published.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.addresses.lock().held_count()
    }

    fn client_units(&self, key: &ServiceKey) -> Vec<Unit> {
        if self.settings.sidecars == crate::config::Sidecars::Off {
            return Vec::new();
        }
        let clients = self.namespaces_of_dependents(key).into_iter();
        clients.map(|(cluster, namespace)| Unit::Sidecar(cluster, namespace)).collect()
    }

    /// The namespaces, cluster by cluster, that run an identity which depends on the service.
    #[must_use]
    pub fn namespaces_of_dependents(&self, key: &ServiceKey) -> BTreeSet<(ClusterName, Arc<str>)> {
        let dependents = self.dependencies.read().sources_of(&key.identity);
        let mut namespaces = BTreeSet::new();
        for shard in &self.shards {
            let here = dependents.iter().flat_map(|dependent| shard.namespaces_of(dependent));
            namespaces.extend(here.map(|namespace| (shard.key().clone(), namespace)));
        }
        namespaces
    }

    /// One client namespace, or `None` while nothing may be planned.
    #[must_use]
    pub fn client_namespace(&self, cluster: &ClusterName, namespace: &str) -> Option<ClientNamespace> {
        self.ready().ok()?;
        let clients = self.shards.get(cluster)?.identities_in(namespace);
        let destinations: BTreeSet<Identity> = {
            let dependencies = self.dependencies.read();
            clients.iter().flat_map(|client| dependencies.destinations_of(client)).collect()
        };
        let (mut hosts, mut local_services) = (BTreeSet::new(), BTreeSet::new());
        for key in destinations.iter().flat_map(|identity| self.keys_of(identity)) {
            hosts.extend(self.addresses.lock().held_by(&key));
            let backends = self.shards.get(cluster).map(|shard| shard.backends(&key).0).unwrap_or_default();
            local_services.extend(backends.into_iter().map(|backend| (backend.namespace, backend.service)));
        }
        Some(ClientNamespace {
            cluster: cluster.clone(),
            namespace: namespace.into(),
            is_client: !hosts.is_empty(),
            hosts: hosts.into_iter().collect(),
            local_services: local_services.into_iter().collect(),
        })
    }

    /// Looks again at the Dependencies whose destinations came or went.
    fn review_dependencies(&self) {
        for (cluster, id) in std::mem::take(&mut *self.unreviewed.lock()) {
            let unserved: Vec<Identity> = {
                let dependencies = self.dependencies.read();
                let Some(counted) = dependencies.get(&(cluster.clone(), id.clone())) else { continue };
                let nobody_runs = |identity: &&Identity| !self.runs_anywhere(identity);
                counted.destinations.iter().filter(nobody_runs).cloned().collect()
            };
            let notes = unserved.iter().map(|identity| Note {
                kind: NoteKind::DependencyQuestionable,
                object: id.in_cluster(&cluster),
                service: None,
                message: format!("no cluster runs the destination {identity}; it counts as soon as one does"),
            });
            // Apart from what its own text says, which has a source of its own.
            let source = NoteSource::Fleet(format!("destinations of {}", id.in_cluster(&cluster)));
            self.notes.put(source, notes.collect());
        }
    }

    fn runs_anywhere(&self, identity: &Identity) -> bool {
        self.keys_of(identity).iter().any(|key| {
            let clusters = self.clusters_of.get(key).map(|clusters| clusters.clone()).unwrap_or_default();
            clusters.iter().any(|cluster| self.shards.get(cluster).is_some_and(|shard| shard.runs(key)))
                || !self.carrying(key).is_empty()
        })
    }

    // ---- lists ----

    /// Every service that runs, or has objects of ours, or runs in a cluster that cannot be read.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceKey> {
        let mut services: BTreeSet<ServiceKey> = self.clusters_of.iter().map(|entry| entry.key().clone()).collect();
        services.extend(self.carried.iter().flat_map(|carried| carried.services.keys().cloned().collect::<Vec<_>>()));
        services.into_iter().collect()
    }

    /// Every namespace with workloads that belong to a service.
    #[must_use]
    pub fn client_namespaces(&self) -> Vec<(ClusterName, Arc<str>)> {
        let mut namespaces: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.client_namespaces().map(|n| (shard.key().clone(), n.clone())).collect::<Vec<_>>())
            .collect();
        namespaces.sort();
        namespaces
    }

    /// Names of the registered clusters, sorted.
    #[must_use]
    pub fn cluster_names(&self) -> Vec<ClusterName> {
        let mut names: Vec<_> = self
            .shards
            .iter()
            .filter(|shard| shard.kinds().contains_key(&Kind::ServiceEntry))
            .map(|shard| shard.key().clone())
            .collect();
        names.sort();
        names
    }

    /// Every registered cluster.
    #[must_use]
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        let status = |name: &ClusterName| {
            let shard = self.shards.get(name)?;
            Some(ClusterStatus {
                name: name.clone(),
                kinds: shard.kinds().iter().map(|(kind, state)| (*kind, state.clone())).collect(),
                regions: shard.regions(),
                network: shard.network(),
                gateway: shard.gateway(),
                workloads: shard.workload_count(),
                services: shard.service_keys().count(),
                written: shard.owned_count(),
            })
        };
        self.cluster_names().iter().filter_map(status).collect()
    }

    // ---- one cluster, for its writer ----

    /// The objects of ours for a unit in a cluster.
    #[must_use]
    pub fn written_of(&self, cluster: &ClusterName, unit: &Unit) -> Vec<Arc<Written>> {
        let Some(shard) = self.shards.get(cluster) else { return Vec::new() };
        match unit {
            Unit::Service(key) => shard.written_for(key),
            Unit::Sidecar(_, namespace) => shard.sidecars_in(namespace),
        }
    }

    /// One ServiceEntry, DestinationRule or Sidecar, whoever made it.
    #[must_use]
    pub fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.shards.get(cluster)?.written(id)
    }

    /// Every object of ours in a cluster.
    #[must_use]
    pub fn owned(&self, cluster: &ClusterName) -> Vec<Arc<Written>> {
        let Some(shard) = self.shards.get(cluster) else { return Vec::new() };
        let ours = |written: &&Arc<Written>| written.owner == crate::istio::Owner::Tradewind;
        let mut owned: Vec<_> = shard.all_written().filter(ours).cloned().collect();
        owned.sort_by(|a, b| a.id.cmp(&b.id));
        owned
    }

    /// Number of objects of ours in a cluster.
    #[must_use]
    pub fn owned_count(&self, cluster: &ClusterName) -> usize {
        self.shards.get(cluster).map_or(0, |shard| shard.owned_count())
    }

    /// Whether it is known what stands in a cluster, so that differences can be told.
    #[must_use]
    pub fn can_write(&self, cluster: &ClusterName) -> bool {
        self.shards.get(cluster).is_some_and(|shard| {
            let written = [Kind::ServiceEntry, Kind::DestinationRule];
            written.iter().all(|kind| shard.knows(*kind)) && !shard.is_loading()
        })
    }

    /// Whether all is known that could make an object of ours wanted in a cluster.
    #[must_use]
    pub fn may_remove(&self, cluster: &ClusterName) -> bool {
        self.ready().is_ok() && self.shards.get(cluster).is_some_and(|shard| shard.knows_all())
    }

    /// Whether a namespace exists; `None` when the namespaces of the cluster are not known.
    #[must_use]
    pub fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool> {
        let shard = self.shards.get(cluster)?;
        shard.knows(Kind::Namespace).then(|| shard.has_namespace(name))
    }
}

/// What is known of a service in a cluster that cannot be read.
struct Carry {
    service: Option<CarriedService>,
    gateway: Option<crate::model::GatewayAddress>,
    locality: Option<crate::model::Locality>,
}

/// The cluster as a source of the service, and what keeps its workloads from being one.
fn lift_source(shard: &Shard, key: &ServiceKey, carry: Option<Carry>) -> (Option<Source>, Vec<(ObjectId, String)>) {
    // Half a picture is worse than the last whole one: while a cluster loads, only what was written counts.
    let (services, problems) = if shard.is_loading() { Default::default() } else { shard.backends(key) };
    let carried = carry.as_ref().and_then(|carry| carry.service.as_ref()).filter(|carried| {
        services.is_empty() && (shard.is_loading() || !shard.knows(Kind::Service) || !shard.knows(carried.workload))
    });
    let workload = match (services.first(), carried) {
        (Some(first), _) => first.workload,
        (None, Some(carried)) => carried.workload,
        (None, None) => return (None, problems),
    };
    let known_locality = if shard.is_loading() { None } else { shard.locality() };
    let source = Source {
        cluster: shard.name().clone(),
        locality: known_locality
            .or_else(|| carry.as_ref().filter(|_| !shard.knows(Kind::Node) || shard.is_loading())?.locality.clone()),
        gateway: shard.gateway().or_else(|| carry.as_ref()?.gateway.clone()),
        workload,
        carried_ports: carried.map(|carried| carried.ports.clone()).unwrap_or_default(),
        services,
    };
    (Some(source), problems)
}

fn whole(cluster: &ClusterName, kind: &str, namespace: &str) -> ObjectRef {
    ObjectRef { cluster: cluster.clone(), kind: kind.into(), namespace: namespace.into(), name: String::new() }
}

fn note(kind: NoteKind, object: ObjectRef, key: &ServiceKey, message: String) -> Note {
    Note { kind, object, service: Some(key.clone()), message }
}
