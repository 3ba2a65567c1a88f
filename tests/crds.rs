//! The CRDs on a real API server: each is accepted with its rules, the manifests of an Admiral user apply as they are, and
//! what is certainly wrong is refused in our words.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{TestCluster, documents};
use tradewind::api;

/// Every file of a directory of `tests/manifests`, in the order of their names.
fn manifests(directory: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(directory);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    paths.into_iter().map(|path| (path.clone(), text(&path))).collect()
}

/// What the comment at the head of a bad manifest says must come of it.
struct Expected<'a> {
    path: &'a str,
    message: &'a str,
}

fn expected(text: &str) -> Expected<'_> {
    let said = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("lacks {key:?}:\n{text}")).trim()
    };
    Expected { path: said("# path:"), message: said("# message:") }
}

fn api_of(client: &kube::Client, object: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().expect("a kind, a version and a namespace").to_owned();
    let (group, version) = object["apiVersion"].as_str().and_then(|v| v.split_once('/')).expect("a group");
    let kind = text(&object["kind"]);
    let crds = api::crds();
    let crd = crds.iter().find(|crd| crd.spec.group == group && crd.spec.names.kind == kind).expect("one of our kinds");
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &crd.spec.names.plural);
    Api::namespaced_with(client.clone(), &text(&object["metadata"]["namespace"]), &resource)
}

async fn applied(client: &kube::Client, object: &Value) -> kube::Result<Value> {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let parameters = PatchParams::apply("a-user").force().validation_strict();
    api_of(client, object).patch(name, &parameters, &Patch::Apply(object)).await?;
    let stored = api_of(client, object).get(name).await?;
    Ok(serde_json::to_value(stored).expect("an object is JSON"))
}

/// A server with our CRDs, and the namespaces that the manifests name.
async fn cluster() -> TestCluster {
    let cluster = TestCluster::start("cluster-1").await;
    cluster.apply(api::crds().iter().map(|crd| serde_json::to_value(crd).expect("a CRD is JSON")).collect()).await;
    for namespace in ["admiral", "orders", "payments", "reports"] {
        cluster.apply_yaml(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n")).await;
    }
    cluster
}

// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_accepts_valid_manifests_and_refuses_invalid_ones_with_the_same_reason() {
    let cluster = cluster().await;
    let client = cluster.client();

    let served = cluster.list("apiextensions.k8s.io/v1/CustomResourceDefinition", None).await;
    for crd in api::crds() {
        let name = crd.name_any();
        let found = served.iter().find(|found| found["metadata"]["name"] == name.as_str());
        let status = &found.unwrap_or_else(|| panic!("{name} is not there"))["status"];
        let conditions: BTreeMap<&str, &str> = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|condition| Some((condition["type"].as_str()?, condition["status"].as_str()?)))
            .collect();
        assert_eq!(conditions, BTreeMap::from([("Established", "True"), ("NamesAccepted", "True")]), "{name}");
        assert_eq!(status["acceptedNames"]["shortNames"], json!(crd.spec.names.short_names), "{name}");
    }

    let mut kinds = Vec::new();
    for (path, text) in manifests("admiral") {
        for object in documents(&text) {
            let place = format!("{}: {}", path.display(), object["metadata"]["name"]);
            let stored = applied(&client, &object).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(stored["spec"], object["spec"], "{place} is stored as it was sent");
            kinds.push(object["kind"].clone());
        }
    }
    let untried: Vec<_> = api::crds().into_iter().map(|crd| json!(crd.spec.names.kind)).collect();
    let untried: Vec<_> = untried.iter().filter(|kind| !kinds.contains(kind)).collect();
    assert_eq!(untried, Vec::<&Value>::new(), "kinds without a manifest");

    let mut accepted = Vec::new();
    for (path, text) in manifests("bad") {
        let Expected { path: field, message } = expected(&text);
        let [object] = &documents(&text)[..] else { panic!("{}: one object each", path.display()) };
        // Created, as kubectl does it: server-side apply refuses wrong types before the schema is asked.
        let posted = serde_json::from_value(object.clone()).expect("an object");
        match api_of(&client, object).create(&PostParams::default(), &posted).await {
            Ok(_) => accepted.push(path),
            Err(kube::Error::Api(status)) => {
                let (found, said) = (status.code, &status.message);
                assert_eq!(found, 422, "{}: {said}", path.display());
                assert!(said.contains(&format!("{field}: ")), "{}: {field:?} is not named: {said}", path.display());
                assert!(said.contains(message), "{}: {message:?} is not said: {said}", path.display());
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    assert_eq!(accepted, Vec::<PathBuf>::new(), "accepted, though wrong");

    every_column_shows_the_whole_value_of_its_field(&client).await;

    // The status takes Admiral's fields beside conditions, and writing it leaves the spec alone.
    let condition = json!({
        "type": "InForce", "status": "True", "reason": "Chosen", "message": "governs payments/stage",
        "lastTransitionTime": "2026-01-31T12:00:00Z", "observedGeneration": 1,
    });
    for kind in kinds {
        let own = ["TradewindConfig", "IdentityClaim"].iter().any(|own| kind == *own);
        let group = if own { "tradewind.io" } else { "admiral.io" };
        let kind = format!("{group}/v1alpha1/{}", kind.as_str().expect("a kind"));
        for object in cluster.list(&kind, None).await {
            let mut status = json!({"conditions": [condition], "observedGeneration": 1});
            if !kind.ends_with("Config") && !own {
                status["clustersSynced"] = json!(3);
                status["state"] = json!("InForce");
            }
            let (name, manager) =
                (object["metadata"]["name"].as_str().expect("a name"), PatchParams::apply("tradewind").force());
            let wanted = json!({
                "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": name}, "status": status,
            });
            let patched = api_of(&client, &object).patch_status(name, &manager, &Patch::Apply(&wanted)).await;
            let patched = patched.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
            assert_eq!((&patched.data["status"], &patched.data["spec"]), (&status, &object["spec"]), "{kind} {name}");
        }
    }
}

/// Asks for the table that `kubectl get -o wide` prints, and compares each cell with the field that its column names.
async fn every_column_shows_the_whole_value_of_its_field(client: &kube::Client) {
    let mut shown = 0;
    for crd in api::crds() {
        let (plural, kind) = (&crd.spec.names.plural, &crd.spec.names.kind);
        let request = http::Request::get(format!("/apis/{}/v1alpha1/{plural}?includeObject=Object", crd.spec.group))
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .expect("a request");
        let table: Value = client.request(request).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
        // The first column is the name.
        for (index, column) in columns.enumerate().map(|(index, column)| (index + 1, column)) {
            assert_eq!(table["columnDefinitions"][index]["name"], column.name.as_str(), "{kind}");
            for row in table["rows"].as_array().expect("rows") {
                if column.type_ == "date" {
                    continue;
                }
                let field = row["object"].pointer(&column.json_path.replace('.', "/")).unwrap_or(&Value::Null);
                let cell = match &row["cells"][index] {
                    Value::String(text) if field.is_array() || field.is_object() => {
                        serde_json::from_str(text).unwrap_or_else(|error| panic!("{kind} {}: {error}", column.name))
                    }
                    cell => cell.clone(),
                };
                assert_eq!(&cell, field, "{kind} {}: {}", column.name, row["object"]["metadata"]["name"]);
                shown += usize::from(!cell.is_null());
            }
        }
    }
    assert!(shown > 12, "{shown} cells have a value");
}

/// Objects of Kubernetes and Istio with a number in the place of `NUMBER`: those that are taken, and those that are refused.
const RANGES: &[(&str, &[i64], &[i64])] = &[
    ("Service: {ports: [{port: NUMBER}]}", &[1, 65_535], &[0, -1, 65_536]),
    ("Service: {ports: [{port: 80, targetPort: NUMBER}]}", &[1, 65_535], &[-1, 65_536]),
    ("Deployment: {replicas: NUMBER, CONTAINERS: {}}", &[0, 7], &[-1]),
    ("StatefulSet: {replicas: NUMBER, serviceName: a, CONTAINERS: {}}", &[0, 7], &[-1]),
    ("Deployment: {CONTAINERS: {ports: [{containerPort: NUMBER}]}}", &[1, 65_535], &[0, -1, 65_536]),
    ("DaemonSet: {CONTAINERS: {ports: [{containerPort: 80, hostPort: NUMBER}]}}", &[0], &[-1, 65_536]),
    ("Job: {CONTAINERS: {ports: [{containerPort: NUMBER}]}}", &[1, 65_535], &[0, -1, 65_536]),
    ("ServiceEntry: {hosts: [a.example], ports: [{number: NUMBER, name: http}]}", &[1, 65_535], &[0, -1, 65_536]),
    (
        "ServiceEntry: {hosts: [a.example], ports: [{number: 80, name: http, targetPort: NUMBER}]}",
        &[1, 65_535],
        &[0, -1, 65_536],
    ),
    (
        "ServiceEntry: {hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http}], \
         endpoints: [{address: 10.0.0.1, ports: {http: NUMBER}}]}",
        &[1, 65_535],
        &[0, -1, 65_536],
    ),
    (
        "ServiceEntry: {hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http}], \
         endpoints: [{address: 10.0.0.1, weight: NUMBER}]}",
        &[0, 4_294_967_295],
        &[-1, 4_294_967_296],
    ),
    ("WorkloadEntry: {address: 10.0.0.1, ports: {http: NUMBER}}", &[1, 65_535], &[0, -1, 65_536]),
    ("WorkloadEntry: {address: 10.0.0.1, weight: NUMBER}", &[0, 4_294_967_295], &[-1, 4_294_967_296]),
    ("Sidecar: {ingress: [{port: {number: NUMBER, protocol: HTTP}}]}", &[1, 65_535], &[-1, 4_294_967_296]),
    ("Sidecar: {egress: [{hosts: ['*/*'], port: {number: NUMBER, protocol: HTTP}}]}", &[0, 65_535], &[-1]),
    ("VirtualService: {hosts: [a], http: [{match: [{port: NUMBER}]}]}", &[0, 65_535], &[-1]),
    ("VirtualService: {hosts: [a], http: [{route: [{destination: {host: a, port: {number: NUMBER}}}]}]}", &[1], &[-1]),
    ("VirtualService: {hosts: [a], http: [{mirror: {host: a, port: {number: NUMBER}}}]}", &[1, 65_535], &[-1]),
    ("VirtualService: {hosts: [a], tcp: [{route: [{destination: {host: a, port: {number: NUMBER}}}]}]}", &[1], &[-1]),
    ("VirtualService: {hosts: [a], http: [{route: [{destination: {host: a}, weight: NUMBER}]}]}", &[0], &[]),
    ("DestinationRule: {host: a, trafficPolicy: {portLevelSettings: [{port: {number: NUMBER}}]}}", &[0], &[-1]),
    (
        "DestinationRule: {host: a, subsets: [{name: b, trafficPolicy: {tunnel: {targetHost: c, targetPort: NUMBER}}}]}",
        &[1, 65_535],
        &[-1],
    ),
];

/// What the CRDs take, and Istio's webhook refuses.
const BY_WEBHOOK: &[(&str, i64)] = &[
    ("Sidecar: {ingress: [{port: {number: NUMBER, protocol: HTTP}}]}", 0),
    ("Sidecar: {ingress: [{port: {number: NUMBER, protocol: HTTP}}]}", 65_536),
    ("Sidecar: {egress: [{hosts: ['*/*'], port: {number: NUMBER, protocol: HTTP}}]}", 65_536),
    ("VirtualService: {hosts: [a], http: [{match: [{port: NUMBER}]}]}", 65_536),
    ("VirtualService: {hosts: [a], http: [{route: [{destination: {host: a, port: {number: NUMBER}}}]}]}", 0),
    ("VirtualService: {hosts: [a], http: [{route: [{destination: {host: a}, weight: NUMBER}]}]}", -1),
    ("VirtualService: {hosts: [a], http: [{route: [{destination: {host: a}, weight: NUMBER}]}]}", 2_147_483_648),
];

fn object_of(shape: &str, number: i64) -> String {
    let (kind, spec) = shape.split_once(": ").expect("a kind and its spec");
    let version = match kind {
        "Service" => "v1",
        "Job" => "batch/v1",
        "Deployment" | "StatefulSet" | "DaemonSet" => "apps/v1",
        _ => "networking.istio.io/v1",
    };
    // A template with one container, of which the shape may say more.
    let spec = spec.split_once("CONTAINERS: {").map_or(spec.to_owned(), |(before, rest)| {
        let selector = if kind == "Job" { "" } else { "selector: {matchLabels: {app: a}}, " };
        let pod = rest.strip_suffix("}}").expect("a container and the spec end");
        let more = if pod.is_empty() { String::new() } else { format!(", {pod}") };
        let restart = if kind == "Job" { ", restartPolicy: Never" } else { "" };
        format!(
            "{before}{selector}template: {{metadata: {{labels: {{app: a}}}}, \
             spec: {{containers: [{{name: a, image: a{more}}}]{restart}}}}}}}"
        )
    });
    let head = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: default}}\n");
    format!("{head}spec: {}\n", spec.replace("NUMBER", &number.to_string()))
}

/// What lint says of an object: its errors.
fn errors_of(yaml: &str) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.yaml");
    fs::write(&path, yaml).expect("a file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind"));
    let output = command.args(["lint", "-o", "json"]).arg(&path).output().expect("the binary runs");
    let mut findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list of findings");
    findings.retain(|finding| finding["severity"] == "error");
    findings
}

// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_are_refused_as_a_real_api_server_refuses_them() {
    let cluster = TestCluster::start("cluster-1").await;
    support::istio::install_crds(&cluster).await;
    let mut differ = Vec::new();
    for (shape, taken, refused) in RANGES {
        let tried = taken.iter().map(|number| (number, true)).chain(refused.iter().map(|number| (number, false)));
        for (number, right) in tried {
            let yaml = object_of(shape, *number);
            let [object] = &documents(&yaml)[..] else { panic!("one object: {yaml}") };
            let by_server = support::istio::dry_apply(&cluster, object).await.err();
            if let Some(error) = &by_server {
                let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
                assert!([422, 500].contains(&code), "{shape} {number}: {error}");
            }
            let by_lint = errors_of(&yaml);
            let ranges = by_lint.iter().filter(|error| {
                error["message"]
                    .as_str()
                    .is_some_and(|message| message.starts_with(&format!("Invalid value: {number}: ")))
            });
            let ranges = ranges.count();
            if by_server.is_none() != right || by_lint.is_empty() != right || ranges != usize::from(!right) {
                differ.push(format!("{shape} {number}: the server: {by_server:?}, lint: {by_lint:?}"));
            }
        }
    }
    assert_eq!(differ, Vec::<String>::new());
    for (shape, number) in BY_WEBHOOK {
        let errors = errors_of(&object_of(shape, *number));
        assert_eq!(errors.len(), 1, "{shape} {number}: {errors:?}");
    }
}

/// The second judge over the same files: what the server refuses, lint refuses, for the same field and in the same
/// words; what the server takes, lint takes.
// Invariant: A manifest that Admiral accepts applies unchanged; `lint`, `render` and fleets of directories refuse what
// an API server refuses, with the same reason.
#[test]
fn lint_judges_every_manifest_as_a_real_api_server_does() {
    let lint = |path: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind"));
        let output = command.args(["lint", "-o", "json"]).arg(path).output().expect("the binary runs");
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list of findings");
        (output.status.code(), findings)
    };
    let good = manifests("admiral");
    assert!(good.len() >= api::crds().len(), "the manifests were found");
    for (path, _) in good {
        let (code, findings) = lint(&path);
        assert_eq!(code, Some(0), "{}: {findings:?}", path.display());
    }
    let bad = manifests("bad");
    assert!(bad.len() >= 29, "the manifests were found");
    for (path, text) in bad {
        let (code, findings) = lint(&path);
        let Expected { path: field, message } = expected(&text);
        assert_eq!(code, Some(1), "{} is accepted", path.display());
        let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
        let [error] = errors[..] else { panic!("{}: one error each: {findings:?}", path.display()) };
        assert_eq!(error["path"], field, "{}: {error}", path.display());
        assert!(error["message"].as_str().is_some_and(|said| said.contains(message)), "{}: {error}", path.display());
    }
}
