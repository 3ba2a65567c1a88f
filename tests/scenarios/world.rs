//! A mesh of a test's own on clusters that all tests share.
//!
//! The identity label, the hub's namespace and the sync namespace are different in each world, so a controller sees the
//! workloads, Secrets and objects of its own world and none of the others'. Nodes and gateways are common to all: those
//! of the sample. A test that breaks a cluster for everybody starts clusters of its own and makes its world there.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tradewind::sample;

use crate::support::{
    self, Mark, TestCluster, controller::Controller, documents, eventually, file_for_test, start_three, unique,
};

/// For what takes milliseconds on a machine that does nothing else.
pub const SOON: Duration = Duration::from_secs(30);

pub const SERVICE_ENTRY: &str = "ServiceEntry.networking.istio.io";
pub const DESTINATION_RULE: &str = "DestinationRule.networking.istio.io";

/// Where each cluster is reached from the others: the gateways of the sample.
pub const GATEWAYS: [&str; 3] = ["192.0.2.10:15443", "198.51.100.20:15443", "203.0.113.30:15443"];

/// Indexes of all clusters.
pub const ALL: [usize; 3] = [0, 1, 2];

pub struct World<'a> {
    pub clusters: &'a [TestCluster; 3],
    id: String,
}

/// Gives three clusters what every mesh has: the definitions, nodes with regions, and gateways.
pub async fn furnish(clusters: &[TestCluster; 3]) {
    let furnish_one = async |cluster: &TestCluster| {
        cluster.apply_yaml(&support::controller::crds()).await;
        let mesh = mesh(cluster.name());
        cluster.apply_yaml(&mesh).await;
        let gateways = documents(&mesh).into_iter().filter(|object| object["kind"] == "Service");
        for gateway in gateways {
            cluster.apply_status(&gateway.to_string()).await;
        }
    };
    join_all(clusters.iter().map(furnish_one)).await;
}

/// Three furnished clusters of a test's own.
pub async fn own_clusters() -> [TestCluster; 3] {
    let clusters = start_three().await;
    join_all(clusters.iter().map(support::istio::install_crds)).await;
    furnish(&clusters).await;
    clusters
}

fn mesh(cluster: &str) -> String {
    let path = format!("{cluster}/mesh.yaml");
    let (_, text) = sample::FILES.iter().find(|(of, _)| *of == path).expect("the sample has three clusters");
    (*text).to_owned()
}

impl World<'static> {
    /// On the clusters that all tests of this binary share. Their API servers must be left alone.
    pub async fn shared() -> Self {
        static FURNISHED: OnceCell<()> = OnceCell::const_new();
        let clusters = support::shared().await;
        FURNISHED.get_or_init(async || furnish(clusters).await).await;
        Self::on(clusters).await
    }
}

impl<'a> World<'a> {
    /// On furnished clusters. Its namespaces are there, and nothing else.
    pub async fn on(clusters: &'a [TestCluster; 3]) -> Self {
        let world = Self { clusters, id: unique("w") };
        let namespaces = [world.hub_namespace(), world.sync_namespace()];
        let namespaces = namespaces
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .to_vec();
        join_all(clusters.iter().map(|cluster| cluster.apply(namespaces.clone()))).await;
        world
    }

    pub fn hub(&self) -> &'a TestCluster {
        &self.clusters[0]
    }

    /// Where Secrets and Dependencies are.
    pub fn hub_namespace(&self) -> String {
        format!("hub-{}", self.id)
    }

    pub fn sync_namespace(&self) -> String {
        format!("sync-{}", self.id)
    }

    /// The namespace of an application.
    pub fn namespace(&self, application: &str) -> String {
        format!("{application}-{}", self.id)
    }

    /// The label that names identities.
    pub fn identity_key(&self) -> String {
        format!("identity-{}", self.id)
    }

    // ---- what users do ----

    /// A Deployment of the environment `stage`.
    pub fn deployment(&self, identity: &str) -> Value {
        let labels = json!({"app": identity, "env": "stage", self.identity_key(): identity});
        let template = json!({
            "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/inject": "true"}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
        });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": identity, "namespace": self.namespace(identity)},
            "spec": {"selector": {"matchLabels": {"app": identity}}, "template": template},
        })
    }

    /// The Service of [`Self::deployment`].
    pub fn service(&self, identity: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": identity, "namespace": self.namespace(identity)},
            "spec": {"selector": {"app": identity}, "ports": [{"name": "http", "port": 8080}]},
        })
    }

    pub async fn deploy(&self, clusters: &[usize], identity: &str) {
        for index in clusters {
            self.clusters[*index].apply(vec![self.deployment(identity), self.service(identity)]).await;
        }
    }

    pub async fn undeploy(&self, cluster: usize, identity: &str) {
        let namespace = self.namespace(identity);
        self.clusters[cluster].delete("Deployment", namespace.as_str(), identity).await;
    }

    pub async fn depend(&self, source: &str, destinations: &[&str]) {
        self.hub()
            .apply(vec![json!({
                "apiVersion": "admiral.io/v1alpha1", "kind": "Dependency",
                "metadata": {"name": source, "namespace": self.hub_namespace()},
                "spec": {"source": source, "identityLabel": self.identity_key(), "destinations": destinations},
            })])
            .await;
    }

    /// A policy of `identity` with entries of prefix and weights by region.
    pub fn policy(&self, identity: &str, entries: &[(&str, &[(&str, i32)])]) -> Value {
        let target = |(region, weight): &(&str, i32)| json!({"region": region, "weight": weight});
        let entry = |(prefix, targets): &(&str, &[(&str, i32)])| {
            let targets: Vec<Value> = targets.iter().map(target).collect();
            json!({"dnsPrefix": prefix, "lbType": 1, "target": targets})
        };
        json!({
            "apiVersion": "admiral.io/v1alpha1", "kind": "GlobalTrafficPolicy",
            "metadata": {"name": identity, "namespace": self.namespace(identity),
                         "labels": {self.identity_key(): identity, "env": "stage"}},
            "spec": {"policy": entries.iter().map(entry).collect::<Vec<Value>>()},
        })
    }

    // ---- what operators do ----

    /// A Secret of this world that registers one cluster.
    pub fn secret(&self, name: &str, cluster: &str, kubeconfig: &str) -> Value {
        let mut secret = support::controller::cluster_secret(cluster, kubeconfig);
        secret["metadata"]["name"] = json!(name);
        secret["metadata"]["namespace"] = json!(self.hub_namespace());
        secret
    }

    /// Registers clusters, each by a Secret of its name.
    pub async fn register(&self, clusters: &[usize]) {
        for index in clusters {
            let cluster = &self.clusters[*index];
            self.register_through(*index, &cluster.kubeconfig()).await;
        }
    }

    /// Registers one cluster, or changes how it is reached.
    pub async fn register_through(&self, cluster: usize, kubeconfig: &str) {
        let name = self.clusters[cluster].name();
        self.hub().apply(vec![self.secret(name, name, kubeconfig)]).await;
    }

    /// A file that names all clusters, for `--fleet` and `diff`.
    pub fn fleet_file(&self, with_hub: bool) -> PathBuf {
        let kubeconfig = |cluster: &TestCluster| file_for_test("kubeconfig", &cluster.kubeconfig());
        let clusters: Vec<Value> = self
            .clusters
            .iter()
            .map(|cluster| json!({"name": cluster.name(), "kubeconfig": kubeconfig(cluster)}))
            .collect();
        let mut fleet = json!({"clusters": clusters});
        if with_hub {
            fleet["hub"] = json!({"kubeconfig": kubeconfig(self.hub())});
        }
        file_for_test("fleet.yaml", &fleet.to_string())
    }

    /// Says that a cluster leaves with its Secret, so that nothing waits for it.
    pub async fn confirm_leaving(&self, cluster: usize) {
        let name = self.clusters[cluster].name();
        let mut secret = self.secret(name, name, &self.clusters[cluster].kubeconfig());
        secret["metadata"]["annotations"] = json!({"tradewind.io/leaving": "true"});
        self.hub().apply(vec![secret]).await;
    }

    /// Takes all data out of the Secret of a cluster.
    pub async fn empty_secret(&self, cluster: usize) {
        let secrets: Api<Secret> = Api::namespaced(self.hub().client(), &self.hub_namespace());
        let patch = Patch::Merge(json!({"data": null}));
        secrets.patch(self.clusters[cluster].name(), &PatchParams::default(), &patch).await.expect("it is patched");
    }

    /// Deletes the Secret of a cluster.
    pub async fn unregister(&self, cluster: usize) {
        let namespace = self.hub_namespace();
        self.hub().delete("Secret", namespace.as_str(), self.clusters[cluster].name()).await;
    }

    /// The flags that make this world the controller's.
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--secret-namespace={}", self.hub_namespace()),
            format!("--dependency-namespace={}", self.hub_namespace()),
            format!("--sync-namespace={}", self.sync_namespace()),
            format!("--workload-identity-key={}", self.identity_key()),
            format!("--admiral-crd-identity-label={}", self.identity_key()),
        ]
    }

    /// Starts a controller and waits until it is ready.
    pub async fn start(&self, further: &[&str]) -> Controller {
        let controller = self.start_unready(further).await;
        controller.ready().await;
        controller
    }

    /// Starts a controller.
    pub async fn start_unready(&self, further: &[&str]) -> Controller {
        self.start_through(&self.hub().kubeconfig(), further).await
    }

    /// Starts a controller that reaches its hub by this kubeconfig.
    pub async fn start_through(&self, hub: &str, further: &[&str]) -> Controller {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(further.iter().copied()).collect();
        Controller::start_through(hub, &flags).await
    }

    // ---- what is there then ----

    /// A Service's own name, as its cluster sees it.
    pub fn local(&self, identity: &str) -> String {
        format!("{identity}.{}.svc.cluster.local:8080", self.namespace(identity))
    }

    /// The ServiceEntry of a host, if there is one.
    pub async fn entry(&self, cluster: usize, host: &str) -> Option<Value> {
        let namespace = self.sync_namespace();
        self.clusters[cluster].get_json(SERVICE_ENTRY, namespace.as_str(), &format!("{host}-se")).await
    }

    /// The DestinationRule of a service's main host, if there is one.
    pub async fn rule(&self, cluster: usize, host: &str) -> Option<Value> {
        let namespace = self.sync_namespace();
        self.clusters[cluster].get_json(DESTINATION_RULE, namespace.as_str(), &format!("{host}-default-dr")).await
    }

    /// The hosts of all ServiceEntries, sorted.
    pub async fn hosts(&self, cluster: usize) -> Vec<String> {
        let entries = self.clusters[cluster].list(SERVICE_ENTRY, self.sync_namespace().as_str()).await;
        let mut hosts: Vec<String> = entries.iter().map(|entry| text(&entry["spec"]["hosts"][0])).collect();
        hosts.sort();
        hosts
    }

    /// `address:port` of each endpoint, sorted; nothing where there is no ServiceEntry.
    pub async fn endpoints(&self, cluster: usize, host: &str) -> Option<Vec<String>> {
        let entry = self.entry(cluster, host).await?;
        let mut endpoints: Vec<String> = endpoints_of(&entry).iter().map(|(address, _, _)| address.clone()).collect();
        endpoints.sort();
        Some(endpoints)
    }

    /// Waits until a cluster reaches a host through exactly these endpoints.
    pub async fn sees(&self, cluster: usize, host: &str, endpoints: &[&str]) {
        let mut expected: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        expected.sort();
        let what = format!("{} sees {host} at {expected:?}", self.clusters[cluster].name());
        eventually(&what, SOON, async || match self.endpoints(cluster, host).await {
            Some(found) if found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        })
        .await;
    }

    /// Waits until a cluster holds nothing of a host.
    pub async fn gone(&self, cluster: usize, host: &str) {
        let what = format!("{host} is gone from {}", self.clusters[cluster].name());
        eventually(&what, SOON, async || {
            let left = (self.entry(cluster, host).await.is_some(), self.rule(cluster, host).await.is_some());
            if left == (false, false) { Ok(()) } else { Err(format!("ServiceEntry, DestinationRule: {left:?}")) }
        })
        .await;
    }

    /// Deploys something new into the first cluster and waits until each of `clusters` has it: what happened before was
    /// seen, planned and written, or will never be. Returns what it deployed.
    pub async fn sentinel(&self, clusters: &[usize]) -> String {
        let identity = unique("sentinel");
        self.deploy(&[0], &identity).await;
        for cluster in clusters {
            let endpoint = if *cluster == 0 { self.local(&identity) } else { GATEWAYS[0].to_owned() };
            self.sees(*cluster, &host(&identity), &[&endpoint]).await;
        }
        identity
    }

    /// [`Self::sentinel`] for removals, which wait a moment longer: what may be removed now is removed before it returns.
    pub async fn removal_sentinel(&self, clusters: &[usize]) {
        let identity = self.sentinel(clusters).await;
        self.undeploy(0, &identity).await;
        for cluster in clusters {
            self.gone(*cluster, &host(&identity)).await;
        }
    }

    pub async fn marks(&self) -> Vec<Mark> {
        join_all(self.clusters.iter().map(TestCluster::mark)).await
    }

    /// How often the controller wrote each object since then, accepted or not: `cluster-1 patch serviceentries name`.
    /// Sentinels do not count.
    pub async fn writes(&self, since: &[Mark]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (cluster, mark) in self.clusters.iter().zip(since) {
            for write in cluster.writes(*mark).await {
                let is_ours = write.user_agent.starts_with("tradewind/")
                    && (write.namespace.ends_with(&self.id) || write.name.ends_with(&self.id));
                if is_ours && !write.name.contains("sentinel") {
                    let key = format!("{} {} {} {}", cluster.name(), write.verb, write.resource, write.name);
                    *counts.entry(key).or_default() += 1;
                }
            }
        }
        counts
    }

    /// Asserts that the controller wrote nothing but sentinels since then.
    pub async fn wrote_nothing(&self, since: &[Mark]) {
        assert_eq!(self.writes(since).await, BTreeMap::new());
    }

    /// What stands in all clusters, but for what differs from life to life: by cluster, kind and name.
    pub async fn picture(&self) -> BTreeMap<String, Value> {
        let mut picture = BTreeMap::new();
        for cluster in self.clusters {
            for kind in [SERVICE_ENTRY, DESTINATION_RULE] {
                for object in cluster.list(kind, self.sync_namespace().as_str()).await {
                    let metadata = &object["metadata"];
                    if text(&metadata["name"]).contains("sentinel") {
                        continue;
                    }
                    let content = json!({
                        "labels": metadata["labels"], "annotations": metadata["annotations"], "spec": object["spec"],
                    });
                    let key = format!("{} {} {}", cluster.name(), text(&object["kind"]), text(&metadata["name"]));
                    picture.insert(key, content);
                }
            }
        }
        picture
    }
}

/// The host of an identity in the environment that all tests use.
pub fn host(identity: &str) -> String {
    format!("stage.{identity}.global")
}

/// `address:port`, locality and weight of each endpoint of a ServiceEntry.
pub fn endpoints_of(entry: &Value) -> Vec<(String, String, u64)> {
    let endpoints = entry["spec"]["endpoints"].as_array().cloned().unwrap_or_default();
    let endpoint = |endpoint: &Value| {
        let port = endpoint["ports"]["http"].as_u64().unwrap_or_default();
        let address = format!("{}:{port}", text(&endpoint["address"]));
        (address, text(&endpoint["locality"]), endpoint["weight"].as_u64().unwrap_or_default())
    };
    endpoints.iter().map(endpoint).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Waits for a note of a kind whose message has all these words in it.
pub async fn noted(controller: &Controller, kind: &str, words: &[&str]) -> Value {
    eventually(&format!("a note {kind} that says {words:?}"), SOON, async || {
        let notes = notes(controller).await;
        let fits = |note: &&Value| note["kind"] == kind && words.iter().all(|word| note.to_string().contains(word));
        notes.iter().find(fits).cloned().ok_or_else(|| format!("{notes:#?}"))
    })
    .await
}

/// Waits until no note of a kind has all these words in it.
pub async fn unnoted(controller: &Controller, kind: &str, words: &[&str]) {
    eventually(&format!("no note {kind} that says {words:?}"), SOON, async || {
        let notes = notes(controller).await;
        let fits = |note: &&Value| note["kind"] == kind && words.iter().all(|word| note.to_string().contains(word));
        notes.iter().find(fits).map_or(Ok(()), |note| Err(format!("{note:#}")))
    })
    .await;
}

pub async fn notes(controller: &Controller) -> Vec<Value> {
    let answer = controller.get("/api/notes").await.expect("notes are always served");
    let answer: Value = serde_json::from_str(&answer).expect("notes are JSON");
    answer["notes"].as_array().expect("a list of notes").clone()
}
