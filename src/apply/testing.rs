//! Objects for the tests of this room.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    ApplyMetrics, ClusterView, Desired, ObjectWrite, Outcome, Store, Write, WriteError, Writers, WritersConfig,
};
use crate::{
    config::Settings,
    istio::{
        DestinationRule, DestinationRuleSpec, Endpoint, Metadata, Object, Owner, ServiceEntry, ServiceEntrySpec, keys,
    },
    model::{
        ClusterName, EgressListener, Host, Kind, Note, NoteKind, ObjectId, ServiceKey, SidecarHosts, WorkKey, Written,
    },
    plan::HostPlan,
};

pub(super) const NAMESPACE: &str = "admiral-sync";

pub(super) fn cluster() -> ClusterName {
    ClusterName::parse("east").unwrap()
}

pub(super) fn key(identity: &str) -> ServiceKey {
    ServiceKey::parse(identity, "stage").unwrap()
}

pub(super) fn unit(identity: &str) -> WorkKey {
    WorkKey::Service(key(identity))
}

fn metadata(name: String) -> Metadata {
    Metadata {
        name,
        namespace: NAMESPACE.into(),
        labels: BTreeMap::from([(keys::MANAGED_BY.into(), keys::TRADEWIND.into())]),
        annotations: BTreeMap::new(),
    }
}

/// The pair of a host; `content` tells plans of one host apart.
pub(super) fn host_plan(host: &str, content: &str, tiered: bool) -> HostPlan {
    let host = Host::parse(host).unwrap();
    HostPlan {
        service_entry: ServiceEntry {
            metadata: metadata(host.service_entry_name()),
            spec: ServiceEntrySpec {
                hosts: vec![host.as_str().into()],
                location: "MESH_INTERNAL".into(),
                resolution: "DNS".into(),
                endpoints: vec![Endpoint { address: format!("gateway-{content}.example"), ..Endpoint::default() }],
                ..ServiceEntrySpec::default()
            },
        },
        destination_rule: DestinationRule {
            metadata: metadata(host.destination_rule_name(false)),
            spec: DestinationRuleSpec {
                host: host.as_str().into(),
                traffic_policy: crate::istio::TrafficPolicy {
                    load_balancer: crate::istio::LoadBalancer {
                        simple: "LEAST_REQUEST".into(),
                        warmup_duration_secs: Some(format!("{content}s")),
                        ..Default::default()
                    },
                    ..Default::default()
                },
                ..DestinationRuleSpec::default()
            },
        },
        tiered,
        host,
    }
}

/// An object of ours as a cluster has it.
pub(super) fn written(object: &Object) -> Written {
    let id = object.id();
    Written {
        uid: format!("uid-{}-{}", id.kind.as_str(), id.name).into(),
        resource_version: "1".into(),
        identity: None,
        owner: object.metadata().owner(),
        service: None,
        digest: object.digest(),
        host: None,
        further_hosts: Vec::new(),
        address: None,
        adoption: None,
        policies: Vec::new(),
        recalled: Default::default(),
        ports: vec![],
        endpoints: vec![],
        sidecar: None,
        origin: None,
        shape: crate::istio::Shape::of(object),
        content: None,
        id,
    }
}

/// The same, made by Admiral.
pub(super) fn reference(like: &Written) -> Written {
    Written { owner: Owner::Admiral, digest: like.digest ^ 1, ..like.clone() }
}

/// A user's Sidecar.
pub(super) fn sidecar(namespace: &str, hosts: &[&str], ours: &[&str]) -> Written {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Written {
        id: ObjectId::new(Kind::Sidecar, namespace, "default"),
        owner: Owner::Foreign,
        sidecar: Some(SidecarHosts {
            listeners: vec![EgressListener { hosts: texts(hosts), ..EgressListener::default() }],
            ours: texts(ours),
            ..SidecarHosts::default()
        }),
        ..written(&Object::ServiceEntry(host_plan("any.global", "1", false).service_entry))
    }
}

/// A cluster in memory that is also what is known of it: for the order and the merging of writes only.
pub(super) struct World {
    objects: Mutex<BTreeMap<ObjectId, (WorkKey, Arc<Written>)>>,
    /// `verb Kind name` of every request, in order.
    requests: Mutex<Vec<String>>,
    /// Errors to answer with, by kind and name.
    refusals: Mutex<HashMap<String, VecDeque<WriteError>>>,
    /// Digests that a webhook turns contents into, by name.
    mutations: Mutex<HashMap<String, u64>>,
    notes: Mutex<BTreeMap<ObjectId, Vec<Note>>>,
    marked: Mutex<Vec<WorkKey>>,
    changed: Notify,
    pub(super) has_cluster: AtomicBool,
    pub(super) can_write: AtomicBool,
    pub(super) unreachable: AtomicBool,
    pub(super) may_remove: AtomicBool,
    pub(super) has_namespace: AtomicBool,
    pub(super) read_only: AtomicBool,
    pub(super) suspended: Mutex<Option<WorkKey>>,
    frozen: Mutex<Option<Arc<Notify>>>,
    /// The id that an operator consents to.
    pub(super) consent: Mutex<Option<String>>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            requests: Mutex::default(),
            refusals: Mutex::default(),
            mutations: Mutex::default(),
            notes: Mutex::default(),
            marked: Mutex::default(),
            changed: Notify::new(),
            has_cluster: AtomicBool::new(true),
            can_write: AtomicBool::new(true),
            unreachable: AtomicBool::new(false),
            may_remove: AtomicBool::new(true),
            has_namespace: AtomicBool::new(true),
            read_only: AtomicBool::new(false),
            suspended: Mutex::default(),
            frozen: Mutex::default(),
            consent: Mutex::default(),
        })
    }

    /// Writers of which every cluster is this world.
    pub(super) fn writers(self: &Arc<Self>, settings: Settings) -> Writers {
        let store = Arc::clone(self);
        self.read_only.store(settings.read_only, Ordering::Relaxed);
        Writers::new(WritersConfig {
            view: Arc::clone(self) as Arc<dyn ClusterView>,
            stores: Box::new(move |_| Arc::clone(&store) as Arc<dyn Store>),
            settings: Arc::new(settings),
            metrics: ApplyMetrics::register(&prometheus::Registry::new()).unwrap(),
            secret_of: Box::new(|_| Some("east-secret".to_owned())),
            consent_of: {
                let world = Arc::clone(self);
                Box::new(move |_| world.consent.lock().clone())
            },
        })
    }

    /// Puts objects of ours there for a service.
    pub(super) fn hold(&self, identity: &str, desired: &Desired) {
        for object in desired.objects() {
            self.objects.lock().insert(object.id(), (unit(identity), Arc::new(written(object))));
        }
    }

    pub(super) fn refuse(&self, what: &str, errors: impl IntoIterator<Item = WriteError>) {
        self.refusals.lock().insert(what.to_owned(), errors.into_iter().collect());
    }

    pub(super) fn mutate(&self, name: &str, digest: u64) {
        self.mutations.lock().insert(name.to_owned(), digest);
    }

    /// Holds every request until the handle is notified.
    pub(super) fn freeze(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        *self.frozen.lock() = Some(Arc::clone(&gate));
        gate
    }

    pub(super) fn thaw(&self) {
        if let Some(gate) = self.frozen.lock().take() {
            gate.notify_waiters();
        }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }

    pub(super) fn notes(&self) -> Vec<(NoteKind, String)> {
        let notes = self.notes.lock();
        notes.values().flatten().map(|note| (note.kind, note.message.clone())).collect()
    }

    pub(super) fn marked(&self) -> Vec<WorkKey> {
        self.marked.lock().clone()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.objects.lock().keys().map(|id| id.name.to_string()).collect()
    }

    /// Waits for a condition that some request, note or mark brings about.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            // Some conditions come about without a request, so look again now and then.
            let look_again = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! { () = changed => {}, () = look_again => {} }
            assert!(Instant::now() < deadline, "{what}: {:?} {:?}", self.requests(), self.notes());
        }
    }

    async fn request(&self, verb: &str, id: &ObjectId) -> Outcome<()> {
        self.requests.lock().push(format!("{verb} {} {}", id.kind.as_str(), id.name));
        self.changed.notify_waiters();
        let gate = self.frozen.lock().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let what = format!("{} {}", id.kind.as_str(), id.name);
        let error = self.refusals.lock().get_mut(&what).and_then(VecDeque::pop_front);
        error.map_or(Ok(()), Err)
    }

    async fn write_object(&self, write: &ObjectWrite) -> Outcome<Written> {
        let id = write.id();
        match write {
            ObjectWrite::Create { object } => self.put("create", object).await,
            ObjectWrite::Update { object, .. } => self.put("update", object).await,
            ObjectWrite::TakeOver { object, .. } => self.put("take-over", object).await,
            ObjectWrite::GiveBack { over } => {
                self.request("give-back", &id).await?;
                Ok(Written { owner: Owner::Foreign, adoption: None, ..(**over).clone() })
            }
            ObjectWrite::Merge { hosts, .. } => {
                self.request("merge", &id).await?;
                let hosts: Vec<&str> = hosts.iter().map(|wanted| wanted.host.as_str()).collect();
                Ok(sidecar(&id.namespace, &hosts, &hosts))
            }
        }
    }

    async fn put(&self, verb: &str, object: &Object) -> Outcome<Written> {
        self.request(verb, &object.id()).await?;
        let mut now = written(object);
        if let Some(digest) = self.mutations.lock().get(object.metadata().name.as_str()) {
            now.digest = *digest;
        }
        Ok(now)
    }
}

impl Store for World {
    fn write<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Outcome<Option<Written>>> {
        async move {
            match write {
                Write::Object(write) => self.write_object(write).await.map(Some),
                Write::Status(write) => self.request("status", &write.id).await.map(|()| None),
                Write::Delete(over) => self.request("delete", &over.id).await.map(|()| None),
            }
        }
        .boxed()
    }

    fn create_namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome<()>> {
        async move { self.request("create", &ObjectId::new(Kind::Namespace, "", name)).await }.boxed()
    }

    fn owned(&self) -> BoxFuture<'_, Outcome<Vec<Written>>> {
        let all = self.objects.lock().values().map(|(_, written)| (**written).clone()).collect();
        async move { Ok(all) }.boxed()
    }
}

impl ClusterView for World {
    fn written_of(&self, _: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>> {
        self.objects.lock().values().filter(|(of, _)| of == unit).map(|(_, written)| Arc::clone(written)).collect()
    }

    fn written(&self, _: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        self.objects.lock().get(id).map(|(_, written)| Arc::clone(written))
    }

    fn entry_in_the_way(&self, _: &ClusterName, _: &ObjectId, _: &str) -> Option<ObjectId> {
        None
    }

    fn owned_count(&self, _: &ClusterName) -> usize {
        self.objects.lock().len()
    }

    fn has_cluster(&self, _: &ClusterName) -> bool {
        self.has_cluster.load(Ordering::Relaxed)
    }

    fn can_write(&self, _: &ClusterName) -> bool {
        self.can_write.load(Ordering::Relaxed)
    }

    fn is_unreachable(&self, _: &ClusterName) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    fn may_remove(&self, _: &ClusterName) -> bool {
        self.may_remove.load(Ordering::Relaxed)
    }

    fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    fn is_suspended(&self, _: &ClusterName, unit: &WorkKey) -> bool {
        self.suspended.lock().as_ref() == Some(unit)
    }

    fn has_namespace(&self, _: &ClusterName, _: &str) -> Option<bool> {
        Some(self.has_namespace.load(Ordering::Relaxed))
    }

    fn wrote(&self, _: &ClusterName, written: Written) {
        let identity = written.id.name.split('.').next().unwrap().to_owned();
        self.objects.lock().insert(written.id.clone(), (unit(&identity), Arc::new(written)));
        self.changed.notify_waiters();
    }

    fn wrote_delete(&self, _: &ClusterName, id: &ObjectId) {
        self.objects.lock().remove(id);
        self.changed.notify_waiters();
    }

    fn mark(&self, unit: WorkKey) {
        self.marked.lock().push(unit);
        self.changed.notify_waiters();
    }

    fn note(&self, _: &ClusterName, id: &ObjectId, notes: Vec<Note>) {
        self.notes.lock().insert(id.clone(), notes);
        self.changed.notify_waiters();
    }
}

/// Worlds by the names of their clusters.
pub(super) struct Fleet(HashMap<ClusterName, Arc<World>>);

impl Fleet {
    pub(super) fn new<const N: usize>(worlds: [(&str, &Arc<World>); N]) -> Arc<Self> {
        let named = |(name, world): (&str, &Arc<World>)| (ClusterName::parse(name).unwrap(), Arc::clone(world));
        Arc::new(Self(worlds.map(named).into()))
    }

    pub(super) fn writers(self: &Arc<Self>, settings: Settings) -> Writers {
        let stores = Arc::clone(self);
        Writers::new(WritersConfig {
            view: Arc::clone(self) as Arc<dyn ClusterView>,
            stores: Box::new(move |cluster| Arc::clone(&stores.0[cluster]) as Arc<dyn Store>),
            settings: Arc::new(settings),
            metrics: ApplyMetrics::register(&prometheus::Registry::new()).unwrap(),
            secret_of: Box::new(|_| None),
            consent_of: Box::new(|_| None),
        })
    }
}

impl ClusterView for Fleet {
    fn written_of(&self, cluster: &ClusterName, unit: &WorkKey) -> Vec<Arc<Written>> {
        self.0[cluster].written_of(cluster, unit)
    }

    fn written(&self, cluster: &ClusterName, id: &ObjectId) -> Option<Arc<Written>> {
        ClusterView::written(&*self.0[cluster], cluster, id)
    }

    fn entry_in_the_way(&self, _: &ClusterName, _: &ObjectId, _: &str) -> Option<ObjectId> {
        None
    }

    fn owned_count(&self, cluster: &ClusterName) -> usize {
        self.0[cluster].owned_count(cluster)
    }

    fn has_cluster(&self, cluster: &ClusterName) -> bool {
        self.0.contains_key(cluster)
    }

    fn can_write(&self, cluster: &ClusterName) -> bool {
        ClusterView::can_write(&*self.0[cluster], cluster)
    }

    fn is_unreachable(&self, cluster: &ClusterName) -> bool {
        ClusterView::is_unreachable(&*self.0[cluster], cluster)
    }

    fn may_remove(&self, cluster: &ClusterName) -> bool {
        ClusterView::may_remove(&*self.0[cluster], cluster)
    }

    fn is_read_only(&self) -> bool {
        self.0.values().any(|world| world.is_read_only())
    }

    fn is_suspended(&self, cluster: &ClusterName, unit: &WorkKey) -> bool {
        self.0[cluster].is_suspended(cluster, unit)
    }

    fn has_namespace(&self, cluster: &ClusterName, name: &str) -> Option<bool> {
        ClusterView::has_namespace(&*self.0[cluster], cluster, name)
    }

    fn wrote(&self, cluster: &ClusterName, written: Written) {
        self.0[cluster].wrote(cluster, written);
    }

    fn wrote_delete(&self, cluster: &ClusterName, id: &ObjectId) {
        self.0[cluster].wrote_delete(cluster, id);
    }

    /// A unit belongs to no cluster: each of them hears of it.
    fn mark(&self, unit: WorkKey) {
        self.0.values().for_each(|world| world.mark(unit.clone()));
    }

    fn note(&self, cluster: &ClusterName, id: &ObjectId, notes: Vec<Note>) {
        self.0[cluster].note(cluster, id, notes);
    }
}

/// One host per service: its name is the identity's.
pub(super) fn wanted(identity: &str, content: &str) -> Desired {
    Desired::hosts([host_plan(&format!("{identity}.global"), content, false)])
}

pub(super) fn submit(writers: &Writers, identity: &str, desired: Desired) {
    writers.submit(&cluster(), unit(identity), desired, Instant::now());
}
