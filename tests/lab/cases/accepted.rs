//! What is written is valid to the last reader: every golden object is given to a real istiod with a proxy behind it.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    enclosure, golden_case,
    support::{eventually, istio, parts},
    world::{REFUSED, World},
};

/// From the last applied object to the proxy that has all of them.
const DELIVERED_WITHIN: Duration = Duration::from_secs(120);

/// The objects of one golden case for one cluster, under names and hosts of their own: cases repeat each other's.
fn renamed(mut objects: Vec<Value>, prefix: &str) -> Vec<Value> {
    let hosts: HashSet<String> = objects
        .iter()
        .filter(|object| object["kind"] == "ServiceEntry" || object["kind"] == "VirtualService")
        .flat_map(|object| object["spec"]["hosts"].as_array().into_iter().flatten())
        .filter_map(|host| host.as_str().map(str::to_owned))
        .collect();
    for object in &mut objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["metadata"]["name"] = json!(short(&format!("{prefix}-{name}"), LONGEST_NAME));
        // A namespace has one Sidecar; those of other cases would stand in its way.
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        object["metadata"]["namespace"] = json!(short(&format!("golden-{prefix}-{namespace}"), LONGEST_LABEL));
        rename_hosts(&mut object["spec"], &hosts, prefix);
        // Exported to namespaces that are not here.
        object["spec"].as_object_mut().expect("a golden object has a spec").remove("exportTo");
    }
    objects
}

/// Renames the hosts wherever they are named: `HOST`, `NAMESPACE/HOST` of a Sidecar, `outbound_.PORT_._.HOST` of a route.
fn rename_hosts(value: &mut Value, hosts: &HashSet<String>, prefix: &str) {
    match value {
        Value::String(text) => {
            let begin = text.rfind('/').map(|at| at + 1).or_else(|| text.rfind("_.").map(|at| at + 2)).unwrap_or(0);
            if hosts.contains(&text[begin..]) {
                text.insert_str(begin, &format!("{prefix}-"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_hosts(item, hosts, prefix)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename_hosts(field, hosts, prefix)),
        _ => {}
    }
}

/// Of objects, and of namespaces.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

fn short(name: &str, length: usize) -> String {
    name[..name.len().min(length)].trim_end_matches(['-', '.']).to_owned()
}

/// What golden cases expect to be written: the objects of one cluster of one case in each item.
fn golden_outputs() -> Vec<Vec<Value>> {
    let cases = golden_case::paths().into_iter().map(|path| golden_case::Case::read(&path).expect("a golden case"));
    cases.flat_map(|case| case.objects().expect("a golden case has what is planned").into_values()).collect()
}

/// Objects that istiod's webhook accepted.
const PASSED: &str = "galley_validation_passed";

/// What each cluster has of Tradewind's.
const WRITTEN: [&str; 3] = ["ServiceEntry", "DestinationRule", "Sidecar"];

/// Wrong objects, each near to one that Tradewind writes, and what is said of them.
const WRONG: [(&str, &str, &str); 4] = [
    (
        "a ServiceEntry without hosts",
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: wrong, namespace: default}, \
         spec: {ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}",
        "spec.hosts: Required value",
    ),
    (
        "a host with an address of no family",
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: wrong, namespace: default}, \
         spec: {hosts: [wrong.global], addresses: ['240.0.0.300'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}",
        REFUSED,
    ),
    (
        "an endpoint with a port that is none",
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: wrong, namespace: default}, \
         spec: {hosts: [wrong.global], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, \
         endpoints: [{address: 192.0.2.1, ports: {grpc: 80}}]}}",
        REFUSED,
    ),
    (
        "shares of distribute that sum to 60",
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: wrong, namespace: default}, \
         spec: {host: wrong.global, trafficPolicy: {loadBalancer: {localityLbSetting: \
         {distribute: [{from: us-west, to: {us-east: 60}}]}}}}}",
        REFUSED,
    ),
];

pub async fn validation(world: &World) -> Vec<String> {
    super::failover::two_regions(world).await;
    super::policy::set(world, &[("us-east", 90), ("us-west", 10)]).await;
    world.verified(&super::shares::clients(world)).await;
    let mut figures = Vec::new();
    let mut written = 0;
    for cluster in &world.clusters {
        let passed = cluster.istiod_metric(PASSED).await;
        let mut of_cluster = 0;
        for kind in WRITTEN {
            let objects = cluster.api.list(&format!("networking.istio.io/v1/{kind}"), None).await;
            let ours = objects
                .iter()
                .filter(|object| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tradewind");
            for object in ours {
                let applied = istio::dry_apply(&cluster.api, object).await;
                applied.unwrap_or_else(|error| panic!("{}: {error}: {object}", cluster.api.name()));
                of_cluster += 1;
            }
        }
        let passed = cluster.istiod_metric(PASSED).await - passed;
        assert!(passed >= of_cluster, "{}: {passed} of {of_cluster}", cluster.api.name());
        written += of_cluster;
    }
    assert!(written > 20, "Tradewind wrote {written} objects");
    figures.push(format!("{written} objects of Tradewind in four clusters: accepted, and none was refused before"));
    let cluster = world.cluster(4);
    for (what, object, expected) in WRONG {
        let said = match istio::strict_apply(&cluster.api, object).await {
            Err(kube::Error::Api(status)) => status.message,
            other => panic!("{what}: {other:?}"),
        };
        assert!(said.contains(expected), "{what}: {said}");
        let said = said.replacen(REFUSED, "", 1);
        let (_, said) = said.split_once("is invalid: [").unwrap_or(("", &said));
        figures.push(format!("{what}: {}", said.split(", <nil>").next().unwrap_or_default()));
    }
    cluster.expect_refused().await;
    figures
}

/// The last row: it leaves hundreds of hosts behind.
pub async fn golden_objects(world: &World) -> Vec<String> {
    let cluster = world.cluster(4);
    let stranger = world.pod(4, "stranger");
    let outputs = golden_outputs();
    let (mut hosts, mut all) = (Vec::new(), Vec::new());
    // They bear Tradewind's mark, and it would take them away.
    world.kill_controller().await;
    let clusters = outputs.len();
    for (number, objects) in outputs.into_iter().enumerate() {
        let objects = renamed(objects, &format!("g{number}"));
        for entry in objects.iter().filter(|object| object["kind"] == "ServiceEntry") {
            let host = entry["spec"]["hosts"][0].as_str().unwrap_or_default().to_lowercase();
            let ports = entry["spec"]["ports"].as_array().into_iter().flatten();
            hosts.extend(ports.map(|port| format!("outbound|{}||{host}", port["number"])));
        }
        all.extend(objects);
    }
    let count = all.len();
    let copies: HashSet<String> = all
        .iter()
        .filter(|object| !object["metadata"]["annotations"]["tradewind.io/origin"].is_null())
        .map(|object| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &object["metadata"];
            format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
        })
        .collect();
    let passed = cluster.istiod_metric(PASSED).await;
    cluster.api.apply(all).await;
    let passed = cluster.istiod_metric(PASSED).await - passed;
    assert!(passed >= count as u64, "{passed} of {count} objects were validated");
    hosts.sort();
    hosts.dedup();
    assert!(count > 500, "the golden cases moved");
    eventually("a proxy has as many hosts", DELIVERED_WITHIN, async || {
        let said = stranger.admin("/stats?filter=cluster_manager.active_clusters").await?;
        let active: usize = said.trim().rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        if active >= hosts.len() { Ok(()) } else { Err(format!("{active} of {}", hosts.len())) }
    })
    .await;
    eventually("a proxy has every golden host", DELIVERED_WITHIN, async || {
        let known = stranger.admin("/clusters").await?.to_lowercase();
        let known: HashSet<&str> = known.lines().filter_map(|line| line.split("::").next()).collect();
        let missing: Vec<&String> = hosts.iter().filter(|host| !known.contains(host.as_str())).collect();
        let some = &missing[..missing.len().min(5)];
        if missing.is_empty() { Ok(()) } else { Err(format!("{} missing, such as {some:?}", missing.len())) }
    })
    .await;
    cluster.assert_istiod_runs().await;
    let mut figures = vec![format!(
        "{count} objects of golden cases in {clusters} clusters: {} hosts and ports at a proxy",
        hosts.len()
    )];
    figures.push(format!("Istio's validation: {passed} accepted, none refused"));
    figures.push(rejected(world).await);
    figures.push(analyzed(world, &copies));
    figures
}

/// No proxy ever refused what it was sent, and no istiod took note of a refusal.
async fn rejected(world: &World) -> String {
    let mut proxies = 0;
    for cluster in &world.clusters {
        assert_eq!(cluster.istiod_metric("pilot_total_xds_rejects").await, 0, "{}", cluster.api.name());
        for pod in &cluster.pods {
            assert_eq!(pod.stat("", "update_rejected").await, 0, "{}: see {}", pod.name(), pod.log().display());
            proxies += 1;
        }
    }
    format!("{proxies} proxies: no update rejected")
}

/// `istioctl analyze` finds no error.
fn analyzed(world: &World, copies: &HashSet<String>) -> String {
    let mut findings = Vec::new();
    for cluster in &world.clusters {
        let kubeconfig = Path::new(enclosure::PRIVATE).join(format!("analyze-{}", cluster.number));
        fs::write(&kubeconfig, cluster.api.kubeconfig()).expect("a file of our own");
        let output = Command::new(parts::part("istioctl"))
            .args(["analyze", "--all-namespaces", "--failure-threshold=Error", "--output=json"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .output()
            .expect("istioctl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("istioctl: {error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        findings.extend(said.as_array().cloned().unwrap_or_default());
    }
    // "Subset does not select any pods": it looks for pods, also where a ServiceEntry lists the endpoints itself.
    findings.retain(|finding| finding["code"] != "IST0173");
    // "Referenced host not found": what users route to is theirs, and may be elsewhere; what routes inside clusters and at
    // gateways leads to Services, Gateways and rules that the cases do not bring, or that got another namespace here.
    let leads_elsewhere = |finding: &Value| {
        let origin = finding["origin"].as_str().unwrap_or_default();
        copies.contains(origin) || ["-incluster-vs", "-routing-vs"].iter().any(|end| origin.ends_with(end))
    };
    findings.retain(|finding| finding["code"] != "IST0101" || !leads_elsewhere(finding));
    let of_level = |level: &str| findings.iter().filter(|finding| finding["level"] == level).collect::<Vec<_>>();
    let errors = of_level("Error");
    assert!(errors.is_empty(), "{errors:#?}");
    let warnings = of_level("Warning");
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    warnings.iter().for_each(|warning| *codes.entry(warning["code"].as_str().unwrap_or_default()).or_default() += 1);
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count} times")).collect();
    format!("istioctl analyze: no error, {} warnings ({})", warnings.len(), codes.join(", "))
}
