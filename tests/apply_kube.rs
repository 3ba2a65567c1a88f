//! Writing to real API servers: what stands there afterwards, and what was never touched.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Answer, FaultProxy, Mode, StatusProxy, TestCluster, Who, eventually, unique};
use tradewind::{
    api,
    apply::{
        ApplyMetrics, Desired, KubeStore, ObjectWrite, ReadBackError, ReadWritten, StatusWrite, Store, Write,
        WriteError, Writers, WritersConfig,
    },
    config::{Settings, Sidecars},
    fleet::Observer,
    istio::{
        DestinationRule, DestinationRuleSpec, Endpoint, Failover, LoadBalancer, LocalityLbSetting, Metadata, Object,
        OutlierDetection, Port, ServiceEntry, ServiceEntrySpec, Tls, TrafficPolicy, keys,
    },
    model::{ClusterName, Host, Kind, NoteKind, ObjectId, Observed, ServiceKey, WorkKey},
    plan::HostPlan,
    registry::Registry,
};

/// For what should take milliseconds, on a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(60);

const WRITER: &str = "tradewind-under-test";
const SERVICE_ENTRY: &str = "ServiceEntry.networking.istio.io";
const DESTINATION_RULE: &str = "DestinationRule.networking.istio.io";
const POLICY: &str = "GlobalTrafficPolicy.admiral.io";
const SIDECAR: &str = "Sidecar.networking.istio.io";
const ENTRY_NAME: &str = "stage.payments.global-se";
const RULE_NAME: &str = "stage.payments.global-default-dr";

/// A cluster with writers on it. Nothing watches: [`Bench::look`] is the watch.
struct Bench {
    cluster: &'static TestCluster,
    name: ClusterName,
    namespace: String,
    settings: Arc<Settings>,
    observer: Observer,
    registry: Arc<Registry>,
    client: Arc<Mutex<Client>>,
    writers: Writers,
}

impl Bench {
    async fn new(cluster: &'static TestCluster, change: impl FnOnce(&mut Settings)) -> Self {
        let namespace = unique("sync");
        cluster.apply(vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})]).await;
        Self::without_namespace(cluster, namespace, change).await
    }

    async fn without_namespace(
        cluster: &'static TestCluster,
        namespace: String,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings { sync_namespace: namespace.clone(), ..Settings::default() };
        change(&mut settings);
        let settings = Arc::new(settings);
        let name = ClusterName::parse(cluster.name()).expect("a cluster name");
        let observer = Observer::new(Arc::clone(&settings), false);
        let registry = Arc::new(Registry::new(Arc::clone(&settings)));
        let client = Arc::new(Mutex::new(client(cluster, Who::Admin)));
        let stores = {
            let (client, observer, settings) = (Arc::clone(&client), observer.clone(), Arc::clone(&settings));
            Box::new(move |_: &ClusterName| Arc::new(store(&client, &observer, &settings)) as Arc<dyn Store>)
        };
        let writers = Writers::new(WritersConfig {
            view: registry.clone(),
            stores,
            settings: Arc::clone(&settings),
            metrics: ApplyMetrics::register(&prometheus::Registry::new()).expect("fresh metrics"),
            secret_of: Box::new(|_| None),
            consent_of: Box::new(|_| None),
        });
        let bench = Self { cluster, name, namespace, settings, observer, registry, client, writers };
        bench.registry.register(&bench.name);
        bench.registry.fleet_listed();
        bench.look().await;
        bench
    }

    /// Lists every kind that is watched, as informers would.
    async fn look(&self) {
        for kind in self.registry.settings().watched_kinds() {
            let objects = match kind {
                Kind::ServiceEntry => self.cluster.list(SERVICE_ENTRY, self.namespace.as_str()).await,
                Kind::DestinationRule => self.cluster.list(DESTINATION_RULE, self.namespace.as_str()).await,
                Kind::Sidecar => self.cluster.list(SIDECAR, None).await,
                Kind::Namespace => self.cluster.list("Namespace", None).await,
                _ => vec![],
            };
            let observed = objects.iter().map(|value| self.observer.observe_value(kind, value).expect("readable"));
            self.registry.reset(&self.name, kind, observed.collect());
        }
    }

    fn store(&self) -> KubeStore {
        store(&self.client, &self.observer, &self.settings)
    }

    fn unit(&self) -> WorkKey {
        WorkKey::Service(ServiceKey::parse("payments", "stage").expect("a key"))
    }

    fn submit(&self, desired: Desired) {
        self.writers.submit(&self.name, self.unit(), desired, Instant::now());
    }

    /// Hands over what is wanted and waits until nothing is left to do.
    async fn bring(&self, desired: Desired) {
        self.submit(desired);
        self.settled().await;
    }

    async fn settled(&self) {
        eventually("the writers are idle", SOON, async || match self.writers.idle() {
            true => Ok(()),
            false => Err(format!("{:?}", self.notes())),
        })
        .await;
    }

    fn notes(&self) -> Vec<(NoteKind, String)> {
        self.registry.notes().all().into_iter().map(|note| (note.kind, note.message)).collect()
    }

    fn desired(&self, change: impl FnOnce(&mut HostPlan)) -> Desired {
        let mut plan = host_plan(&self.namespace);
        change(&mut plan);
        Desired::hosts([plan])
    }

    fn entry(&self) -> Object {
        Object::ServiceEntry(host_plan(&self.namespace).service_entry)
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.get_json(kind, self.namespace.as_str(), name).await
    }

    async fn get_entry(&self) -> Value {
        self.get(SERVICE_ENTRY, ENTRY_NAME).await.expect("the ServiceEntry")
    }

    async fn get_rule(&self) -> Value {
        self.get(DESTINATION_RULE, RULE_NAME).await.expect("the DestinationRule")
    }

    /// `verb resource` of everything that was sent by the code under test since a mark, in order.
    async fn writes(&self, since: support::Mark) -> Vec<String> {
        let writes = self.cluster.writes(since).await.into_iter();
        let ours = writes.filter(|write| write.user_agent == WRITER && in_question(write, &self.namespace));
        ours.map(|write| format!("{} {}", write.verb, write.resource)).collect()
    }
}

fn in_question(write: &support::Write, namespace: &str) -> bool {
    write.namespace == namespace || (write.resource == "namespaces" && write.name == namespace)
}

fn client(cluster: &TestCluster, who: Who) -> Client {
    cluster.client_with(&cluster.url(), &cluster.token(who), WRITER)
}

fn store(client: &Arc<Mutex<Client>>, observer: &Observer, settings: &Arc<Settings>) -> KubeStore {
    let (client, observer) = (Arc::clone(client), observer.clone());
    let read: ReadWritten = Arc::new(move |kind, value| match observer.observe_value(kind, value)? {
        Observed::Written(written) => Ok(*written),
        _ => Err(ReadBackError::Kind(kind)),
    });
    KubeStore::new(Box::new(move || Some(client.lock().clone())), read, settings).strict()
}

fn metadata(namespace: &str, name: String) -> Metadata {
    Metadata {
        name,
        namespace: namespace.into(),
        labels: BTreeMap::from([
            (keys::MANAGED_BY.into(), keys::TRADEWIND.into()),
            ("admiral.io/env".into(), "stage".into()),
        ]),
        annotations: BTreeMap::from([
            (keys::CREATED_BY.into(), keys::TRADEWIND.into()),
            (keys::IDENTITY.into(), "payments".into()),
            (keys::ENVIRONMENT.into(), "stage".into()),
            ("identity".into(), "payments".into()),
        ]),
    }
}

fn host_plan(namespace: &str) -> HostPlan {
    let host = Host::parse("stage.payments.global").expect("a host");
    let service_entry = ServiceEntry {
        metadata: metadata(namespace, host.service_entry_name()),
        spec: ServiceEntrySpec {
            hosts: vec![host.as_str().into()],
            addresses: vec!["240.0.0.1".into()],
            ports: vec![Port { number: 80, name: "http".into(), protocol: "http".into() }],
            location: "MESH_INTERNAL".into(),
            resolution: "DNS".into(),
            endpoints: vec![Endpoint {
                address: "192.0.2.7".into(),
                ports: BTreeMap::from([("http".into(), 15443)]),
                labels: BTreeMap::from([(keys::TLS_MODE.into(), "istio".into())]),
                locality: "us-west-2".into(),
                network: String::new(),
                weight: 0,
            }],
            ..ServiceEntrySpec::default()
        },
    };
    let destination_rule = DestinationRule {
        metadata: metadata(namespace, host.destination_rule_name(true)),
        spec: DestinationRuleSpec {
            host: host.as_str().into(),
            traffic_policy: TrafficPolicy {
                load_balancer: LoadBalancer {
                    simple: "LEAST_REQUEST".into(),
                    warmup_duration_secs: None,
                    locality_lb_setting: Some(LocalityLbSetting {
                        enabled: Some(true),
                        failover: vec![Failover { from: "us-west-2".into(), to: "us-east-2".into() }],
                        ..LocalityLbSetting::default()
                    }),
                },
                outlier_detection: Some(OutlierDetection {
                    interval: Some("10s".into()),
                    base_ejection_time: Some("120s".into()),
                    consecutive_gateway_errors: Some(50),
                    consecutive_5xx_errors: Some(0),
                    ..OutlierDetection::default()
                }),
                tls: Tls { mode: "ISTIO_MUTUAL".into() },
                ..TrafficPolicy::default()
            },
            ..DestinationRuleSpec::default()
        },
    };
    HostPlan { host, service_entry, destination_rule, tiered: false }
}

fn create(object: Object) -> Write {
    ObjectWrite::Create { object }.into()
}

/// The same objects as somebody else would make them: without our marks.
fn foreign(object: &Object) -> Value {
    let mut manifest = object.manifest();
    manifest["metadata"]["labels"] = json!({"team": "payments"});
    manifest["metadata"]["annotations"] = json!({"team.example/contact": "x"});
    manifest
}

// Invariant: Each changed object is written once, and an idle fleet sees no write.
#[tokio::test]
async fn each_object_is_written_once_and_only_when_it_changes() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    assert_eq!(bench.writes(mark).await, ["patch destinationrules", "patch serviceentries"]);
    assert_eq!(bench.get_entry().await["spec"]["endpoints"][0]["ports"]["http"], 15443);
    assert_eq!(bench.get_rule().await["metadata"]["labels"][keys::MANAGED_BY], keys::TRADEWIND);

    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    bench.look().await;
    bench.bring(bench.desired(|_| {})).await;
    assert!(bench.writes(mark).await.is_empty(), "neither the answer nor the watch differs from the plan");

    // Everything optional goes, too.
    bench
        .bring(bench.desired(|plan| {
            plan.service_entry.spec.addresses.clear();
            plan.destination_rule.spec.traffic_policy.outlier_detection = None;
        }))
        .await;
    assert_eq!(bench.writes(mark).await, ["patch serviceentries", "patch destinationrules"]);
    assert_eq!(bench.get_entry().await["spec"].get("addresses"), None);
    assert_eq!(bench.get_rule().await["spec"]["trafficPolicy"].get("outlierDetection"), None);

    let mark = cluster.mark().await;
    bench.bring(Desired::nothing()).await;
    assert_eq!(bench.writes(mark).await, ["delete serviceentries", "delete destinationrules"]);
    assert_eq!(bench.get(SERVICE_ENTRY, ENTRY_NAME).await, None);
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());
}

// Invariant: Only managed objects are changed or removed.
#[tokio::test]
async fn an_object_that_appeared_meanwhile_is_never_overwritten() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    let mut contradicting = foreign(&bench.entry());
    contradicting["spec"]["endpoints"][0]["address"] = json!("192.0.2.99");
    let mut agreeing = foreign(&bench.entry());
    agreeing["spec"].as_object_mut().expect("a spec").remove("endpoints");
    for theirs in [contradicting, agreeing] {
        cluster.apply(vec![theirs]).await;
        let before = bench.get_entry().await;
        // What the registry knows is older than the object.
        let error = bench.store().write(&create(bench.entry())).await.expect_err("it is somebody else's");
        assert!(matches!(error, WriteError::Conflict(_)), "{error}");
        let after = bench.get_entry().await;
        for part in ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/uid"] {
            assert_eq!(after.pointer(part), before.pointer(part), "{part}");
        }
        cluster.delete(SERVICE_ENTRY, bench.namespace.as_str(), ENTRY_NAME).await;
    }
}

// Invariant: Only managed objects are changed or removed.
#[tokio::test]
async fn a_foreign_object_is_left_alone_and_noted() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |settings| settings.adopt_admiral = true).await;
    cluster.apply(vec![foreign(&bench.entry())]).await;
    bench.look().await;
    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    assert!(bench.writes(mark).await.is_empty());
    assert_eq!(bench.notes()[0].0, NoteKind::ObjectForeign);

    cluster.delete(SERVICE_ENTRY, bench.namespace.as_str(), ENTRY_NAME).await;
    bench.look().await;
    bench.bring(bench.desired(|_| {})).await;
    assert_eq!(bench.writes(mark).await.len(), 2);
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn the_references_objects_are_adopted_in_place_without_what_it_had_added() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |settings| settings.adopt_admiral = true).await;
    let plan = host_plan(&bench.namespace);
    let mut rule = foreign(&Object::DestinationRule(plan.destination_rule.clone()));
    rule["metadata"]["annotations"] =
        json!({keys::CREATED_BY: keys::ADMIRAL, keys::DNS_PREFIX: "old", "team.example/contact": "x"});
    rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"] =
        json!({"distribute": [{"from": "*", "to": {"us-west-2": 100}}]});
    rule["spec"]["trafficPolicy"]["connectionPool"] = json!({"http": {"maxRequestsPerConnection": 7}});
    let mut entry = foreign(&Object::ServiceEntry(plan.service_entry));
    entry["metadata"]["annotations"] = json!({keys::CREATED_BY: keys::ADMIRAL});
    cluster.apply(vec![rule, entry]).await;
    let before = bench.get_rule().await;
    bench.look().await;

    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    let after = bench.get_rule().await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "no gap");
    assert_eq!(
        after["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"],
        json!({"enabled": true, "failover": [{"from": "us-west-2", "to": "us-east-2"}]})
    );
    assert_eq!(after["spec"]["trafficPolicy"].get("connectionPool"), None);
    assert_eq!(after["metadata"]["labels"]["team"], "payments", "not ours to touch");
    assert_eq!(after["metadata"]["annotations"]["team.example/contact"], "x");
    assert_eq!(after["metadata"]["annotations"][keys::CREATED_BY], keys::TRADEWIND);
    assert_eq!(after["metadata"]["annotations"].get(keys::DNS_PREFIX), None);
    assert!(bench.writes(mark).await.iter().all(|write| write.starts_with("patch")));
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());

    bench.look().await;
    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    assert!(bench.writes(mark).await.is_empty());
}

#[tokio::test]
async fn foreign_additions_to_managed_fields_are_reverted_once() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    bench.bring(bench.desired(|_| {})).await;
    let edit = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": ENTRY_NAME, "namespace": bench.namespace, "labels": {"team": "payments"}},
        "spec": {"hosts": ["stage.payments.global"], "exportTo": ["."],
                 "ports": [{"number": 81, "name": "other", "protocol": "http"}]}
    });
    cluster.apply(vec![edit]).await;
    assert_eq!(bench.get_entry().await["spec"]["exportTo"], json!(["."]));
    bench.look().await;

    let mark = cluster.mark().await;
    bench.bring(bench.desired(|_| {})).await;
    let after = bench.get_entry().await;
    assert_eq!(after["spec"].get("exportTo"), None);
    assert_eq!(after["spec"]["ports"], json!([{"number": 80, "name": "http", "protocol": "http"}]));
    assert_eq!(after["metadata"]["labels"]["team"], "payments");
    assert!(bench.writes(mark).await.len() <= 3, "{:?}", bench.writes(mark).await);

    let mark = cluster.mark().await;
    bench.look().await;
    bench.bring(bench.desired(|_| {})).await;
    assert!(bench.writes(mark).await.is_empty());
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());
}

// Invariant: After a conflict the unit is planned again; a write is never resent.
#[tokio::test]
async fn a_state_that_was_not_compared_with_is_never_overwritten_nor_deleted() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    bench.bring(bench.desired(|_| {})).await;
    // Somebody takes the object for himself, and no watch has shown it.
    let mut theirs = foreign(&bench.entry());
    theirs["metadata"]["labels"][keys::MANAGED_BY] = json!("payments-team");
    cluster.apply(vec![theirs]).await;
    let before = bench.get_entry().await;
    bench.submit(bench.desired(|plan| plan.service_entry.spec.addresses.clear()));
    // The conflict marks the unit, so that it is planned again.
    tokio::time::timeout(SOON, bench.registry.queue().changed()).await.expect("a dirty unit");
    bench.settled().await;
    assert_eq!(bench.get_entry().await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    assert!(bench.registry.take_dirty().contains(&bench.unit()));

    let known = bench.registry.outputs().written(&bench.name, &bench.entry().id()).expect("known");
    let error = bench.store().write(&Write::Delete(known)).await.expect_err("it is somebody else's now");
    assert!(matches!(error, WriteError::Conflict(_)), "{error}");
    assert_eq!(bench.get_entry().await["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn a_status_is_written_over_one_object_and_changes_nothing_else() {
    let [cluster, ..] = support::shared().await;
    cluster.apply(api::crds().iter().map(|crd| serde_json::to_value(crd).expect("a CRD is JSON")).collect()).await;
    let bench = Bench::new(cluster, |_| {}).await;
    let policy = |weight: i32| {
        let target =
            json!([{"region": "us-west-2", "weight": weight}, {"region": "us-east-2", "weight": 100 - weight}]);
        json!({
            "apiVersion": "admiral.io/v1alpha1", "kind": "GlobalTrafficPolicy",
            "metadata": {"name": "payments", "namespace": bench.namespace, "labels": {"identity": "payments"},
                         "annotations": {"team.example/contact": "x"}},
            "spec": {"policy": [{"dnsPrefix": "default", "lbType": 1, "target": target}]},
        })
    };
    let get = async || bench.get(POLICY, "payments").await.expect("the policy");
    let condition = |of: &str, reason: &str| json!({"type": of, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let write = |over: &Value, reason: &str| {
        Write::Status(StatusWrite {
            id: ObjectId::new(Kind::GlobalTrafficPolicy, &bench.namespace, "payments"),
            resource_version: over["metadata"]["resourceVersion"].as_str().expect("a version").into(),
            status: json!({"observedGeneration": 1, "conditions": [condition("Accepted", reason)]}),
        })
    };
    cluster.apply(vec![policy(80)]).await;
    let before = get().await;

    let store = bench.store();
    assert_eq!(store.write(&write(&before, "Valid")).await.expect("a status"), None);
    let after = get().await;
    assert_eq!(after["status"]["conditions"][0]["reason"], "Valid");
    assert_eq!(after["status"]["observedGeneration"], 1);
    for part in ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/uid", "/metadata/generation"] {
        assert_eq!(after.pointer(part), before.pointer(part), "{part}");
    }
    let managers = after["metadata"]["managedFields"].as_array().expect("managers");
    let ours = managers.iter().find(|entry| entry["manager"] == "tradewind-status").expect("a manager of its own");
    let fields: Vec<&str> = ours["fieldsV1"].as_object().expect("fields").keys().map(String::as_str).collect();
    assert_eq!((&ours["subresource"], fields), (&json!("status"), vec!["f:status"]));

    // The same again is no change. The owner's next manifest, and what others say in the status, stay.
    store.write(&write(&after, "Valid")).await.expect("the same status");
    assert_eq!(get().await["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    cluster.apply(vec![policy(70)]).await;
    let error = store.write(&write(&after, "Late")).await.expect_err("it was edited");
    assert!(matches!(error, WriteError::Conflict(_)), "{error}");
    let mut theirs = policy(70);
    theirs["status"] = json!({"conditions": [condition("Audited", "Somebody")]});
    cluster.apply_status(&theirs.to_string()).await;
    let edited = get().await;
    store.write(&write(&edited, "Other")).await.expect("another status");
    let last = get().await;
    assert_eq!(last["spec"], policy(70)["spec"]);
    let reasons = last["status"]["conditions"].as_array().expect("conditions").iter().map(|one| one["reason"].as_str());
    assert_eq!(reasons.collect::<BTreeSet<_>>(), BTreeSet::from([Some("Other"), Some("Somebody")]));

    // One that is gone does not come back, and another one of the name gets nothing.
    cluster.delete(POLICY, bench.namespace.as_str(), "payments").await;
    let error = store.write(&write(&last, "Valid")).await.expect_err("it is gone");
    assert!(matches!(error, WriteError::Conflict(_)), "{error}");
    assert_eq!(bench.get(POLICY, "payments").await, None);
    cluster.apply(vec![policy(80)]).await;
    let error = store.write(&write(&last, "Valid")).await.expect_err("it is another one");
    assert!(matches!(error, WriteError::Conflict(_)), "{error}");
    assert_eq!(get().await.get("status"), None);
}

#[tokio::test]
async fn a_users_sidecar_gets_managed_hosts_and_loses_them_again() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |settings| settings.sidecars = Sidecars::Merge).await;
    let team = unique("team");
    let sidecar = |annotations: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "default", "namespace": team, "labels": {"a": "b"}, "annotations": annotations},
            "spec": {
                "egress": [
                    {"hosts": ["other/*"], "bind": "127.0.0.1", "port": {"number": 3306, "protocol": "MYSQL", "name": "db"}},
                    {"hosts": ["./*"], "captureMode": "DEFAULT"},
                ],
                "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            },
        })
    };
    for annotations in [json!(null), json!({}), json!({"team.example/contact": "x"})] {
        cluster.apply(vec![sidecar(annotations)]).await;
        bench.look().await;
        let get = async || cluster.get_json(SIDECAR, team.as_str(), "default").await.expect("the Sidecar");
        let before = get().await;
        let unit = WorkKey::Sidecar(bench.name.clone(), team.as_str().into());
        let merge = |hosts: &[&str]| {
            Desired::merged_sidecar(&team, "default", hosts.iter().map(|host| (*host).into()).collect())
        };
        for (hosts, all) in [(&["s/a", "./*"][..], json!(["./*", "s/a"])), (&["s/b"], json!(["./*", "s/b"]))] {
            bench.writers.submit(&bench.name, unit.clone(), merge(hosts), Instant::now());
            bench.settled().await;
            let merged = get().await;
            assert_eq!(merged["spec"]["egress"][0], before["spec"]["egress"][0]);
            assert_eq!(merged["spec"]["egress"][1], json!({"hosts": all, "captureMode": "DEFAULT"}));
            assert_eq!(merged["metadata"]["annotations"][keys::EGRESS_HOSTS], json!([all[1]]).to_string());
        }
        bench.writers.submit(&bench.name, unit, Desired::nothing(), Instant::now());
        bench.settled().await;
        let after = get().await;
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);
        let annotations = |object: &Value| object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        assert_eq!(annotations(&after), annotations(&before));
        cluster.delete(SIDECAR, team.as_str(), "default").await;
    }
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());
}

#[tokio::test]
async fn missing_rights_are_noted_and_made_good_when_they_come() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    *bench.client.lock() = client(cluster, Who::ServedCluster);
    bench.submit(bench.desired(|_| {}));
    let (kind, message) = eventually("a note", SOON, async || bench.notes().pop().ok_or_else(String::new)).await;
    assert_eq!(kind, NoteKind::WriteFailed);
    assert!(message.contains("no right") && message.contains("reader"), "{message}");
    *bench.client.lock() = client(cluster, Who::Admin);
    bench.settled().await;
    bench.get_entry().await;
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn a_missing_sync_namespace_is_created_with_the_first_object() {
    let [cluster, ..] = support::shared().await;
    let namespace = unique("created");
    let bench = Bench::without_namespace(cluster, namespace.clone(), |_| {}).await;
    bench.bring(Desired::nothing()).await;
    assert_eq!(cluster.get_json("Namespace", None, &namespace).await, None, "not without an object");
    bench.bring(bench.desired(|_| {})).await;
    let made = cluster.get_json("Namespace", None, &namespace).await.expect("the namespace");
    assert_eq!(made["metadata"]["labels"][keys::MANAGED_BY], keys::TRADEWIND);
    bench.get_entry().await;

    let namespace = unique("created");
    let bench = Bench::without_namespace(cluster, namespace, |_| {}).await;
    *bench.client.lock() = client(cluster, Who::ServedCluster);
    bench.submit(bench.desired(|_| {}));
    let (kind, _) = eventually("a note", SOON, async || bench.notes().pop().ok_or_else(String::new)).await;
    assert_eq!(kind, NoteKind::SyncNamespaceMissing);
}

#[tokio::test]
async fn a_cluster_that_is_away_or_busy_is_written_when_it_is_back() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    let network = FaultProxy::start(cluster).await;
    network.set(Mode::Refuse).await;
    *bench.client.lock() = cluster.client_with(&network.url(), &cluster.token(Who::Admin), WRITER);
    bench.submit(bench.desired(|_| {}));
    let (_, message) = eventually("a note", SOON, async || bench.notes().pop().ok_or_else(String::new)).await;
    assert!(message.contains("cannot be reached"), "{message}");
    network.set(Mode::Pass).await;
    bench.settled().await;
    bench.get_entry().await;

    let busy = StatusProxy::start(cluster).await;
    let rest = Duration::from_secs(2);
    busy.answer(Answer::with(429).times(1).retry_after(rest));
    *bench.client.lock() = cluster.client_with(&busy.url(), &cluster.token(Who::Admin), WRITER);
    let started = Instant::now();
    bench.bring(bench.desired(|plan| plan.service_entry.spec.addresses.clear())).await;
    assert!(started.elapsed() >= rest, "the rest that was asked for");
    assert_eq!((busy.injected(), busy.forwarded()), (1, 1));
    assert_eq!(bench.get_entry().await["spec"].get("addresses"), None);
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    bench.bring(bench.desired(|_| {})).await;
    let failing = StatusProxy::start(cluster).await;
    failing.answer(Answer::with(500).methods(&[Method::DELETE]).times(2));
    *bench.client.lock() = cluster.client_with(&failing.url(), &cluster.token(Who::Admin), WRITER);
    bench.bring(Desired::nothing()).await;
    assert_eq!(failing.injected(), 2, "both removals were refused once, or one of them twice");
    assert_eq!(bench.get(SERVICE_ENTRY, ENTRY_NAME).await, None);
    assert_eq!(bench.get(DESTINATION_RULE, RULE_NAME).await, None);
    assert!(bench.notes().is_empty(), "{:?}", bench.notes());
}

#[tokio::test]
async fn a_refused_object_is_sent_once() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    let mark = cluster.mark().await;
    let broken = |plan: &mut HostPlan| plan.destination_rule.spec.traffic_policy.tls.mode = "SOMEHOW".into();
    bench.bring(bench.desired(broken)).await;
    bench.bring(bench.desired(broken)).await;
    assert_eq!(bench.writes(mark).await, ["patch destinationrules"]);
    assert!(bench.notes()[0].1.contains("SOMEHOW"), "{:?}", bench.notes());
    bench.bring(bench.desired(|_| {})).await;
    bench.get_entry().await;
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn only_managed_objects_are_removed_from_a_cluster_that_leaves() {
    let [cluster, ..] = support::shared().await;
    let bench = Bench::new(cluster, |_| {}).await;
    bench.bring(bench.desired(|_| {})).await;
    let mut theirs = foreign(&bench.entry());
    theirs["metadata"]["name"] = json!("theirs");
    cluster.apply(vec![theirs]).await;
    bench.registry.deregister(&bench.name);
    bench.writers.remove_cluster(&bench.name, true);
    assert!(bench.writers.drain(SOON).await);
    let names: Vec<_> = cluster.list(SERVICE_ENTRY, bench.namespace.as_str()).await;
    let names: Vec<_> = names.iter().map(|object| object["metadata"]["name"].as_str()).collect();
    assert_eq!(names, [Some("theirs")]);
    assert!(cluster.list(DESTINATION_RULE, bench.namespace.as_str()).await.is_empty());
}
