//! The charts: what they render, what their schemas refuse, and that the rights they give are exactly those that
//! Tradewind needs, on real API servers.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::Request;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use support::{TestCluster, documents, eventually, parts::part};
use tradewind::config::{self, Settings};

const HUB: &str = "tradewind";
const MEMBER: &str = "tradewind-member";

/// For the controller, from an event to the write it causes, on a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(60);

/// Access reviews under way at once: enough to ask for thousands of rights in seconds.
const REVIEWS_AT_ONCE: usize = 16;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart(name: &str) -> PathBuf {
    root().join("charts").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn full_values(name: &str) -> String {
    text(&chart(name).join("ci/full-values.yaml"))
}

/// Runs helm with values on its standard input, and without anybody's own configuration.
fn helm(arguments: &[&str], values: &str) -> Result<String, String> {
    let home = tempfile::tempdir().expect("a directory");
    let mut helm = Command::new(part("helm"))
        .args(arguments)
        .args(["-f", "-"])
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helm starts");
    helm.stdin.take().expect("a pipe").write_all(values.as_bytes()).expect("helm reads its values");
    let output = helm.wait_with_output().expect("helm ends");
    let shown = |bytes: Vec<u8>| String::from_utf8(bytes).expect("helm speaks UTF-8");
    if output.status.success() { Ok(shown(output.stdout)) } else { Err(shown(output.stderr)) }
}

fn render(name: &str, values: &str) -> Result<Vec<Value>, String> {
    let path = chart(name).display().to_string();
    // Our helm is built from its module, where the version of Kubernetes it assumes is not set.
    let arguments = ["template", name, &path, "--namespace=admiral", "--kube-version=1.35.0"];
    helm(&arguments, values).map(|yaml| documents(&yaml))
}

fn rendered(name: &str, values: &str) -> Vec<Value> {
    render(name, values).unwrap_or_else(|error| panic!("{name}: {error}\n{values}"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    match of_kind(objects, kind)[..] {
        [one] => one,
        ref found => panic!("{} objects of kind {kind}", found.len()),
    }
}

fn settings_file(objects: &[Value]) -> String {
    the(objects, "ConfigMap")["data"]["settings.yaml"].as_str().expect("the settings file").to_owned()
}

/// Loads a settings file as `tradewind run --config` does.
fn load(file: &str) -> Result<Settings, String> {
    let place = tempfile::NamedTempFile::new().expect("a file");
    fs::write(place.path(), file).expect("a settings file");
    let flags = clap::Command::new("run").args(config::args()).get_matches_from(["run"]);
    config::load(Some(place.path()), &flags, |_| None).map_err(|error| error.to_string())
}

fn loaded(file: &str) -> Settings {
    load(file).unwrap_or_else(|error| panic!("{error}\n{file}"))
}

#[test]
fn both_charts_pass_the_linter() {
    for name in [HUB, MEMBER] {
        let path = chart(name).display().to_string();
        for values in ["", &full_values(name)] {
            let linted = helm(&["lint", "--strict", &path], values);
            linted.unwrap_or_else(|error| panic!("{name}: {error}\n{values}"));
        }
    }
}

#[test]
fn the_charts_bring_the_crds_of_the_repository() {
    let files = |directory: PathBuf| -> BTreeMap<String, String> {
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), text(&path))).collect()
    };
    let mut wanted = files(root().join("crds"));
    assert_eq!(files(chart(HUB).join("crds")), wanted, "cp crds/*.yaml charts/tradewind/crds/");
    for on_the_hub_alone in [
        "admiral.io_dependencies.yaml",
        "admiral.io_dependencyproxies.yaml",
        "admiral.io_trafficconfigs.yaml",
        "tradewind.io_identityclaims.yaml",
        "tradewind.io_tradewindconfigs.yaml",
    ] {
        wanted.remove(on_the_hub_alone).expect(on_the_hub_alone);
    }
    assert_eq!(files(chart(MEMBER).join("crds")), wanted, "copy what has changed from crds/");
}

#[test]
fn the_charts_are_of_the_version_that_is_built() {
    for name in [HUB, MEMBER] {
        assert_eq!(yaml(&chart(name).join("Chart.yaml"))["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn the_values_are_those_of_the_schema_and_all_are_tried() {
    fn keys(value: &Value) -> BTreeSet<&String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key).collect()
    }
    for name in [HUB, MEMBER] {
        let schema: Value = serde_json::from_str(&text(&chart(name).join("values.schema.json"))).expect("a schema");
        let (defaults, full) = (yaml(&chart(name).join("values.yaml")), yaml(&chart(name).join("ci/full-values.yaml")));
        let mut offered = keys(&schema["properties"]);
        assert!(offered.remove(&"global".to_owned()), "Helm passes it to charts within charts");
        assert_eq!(keys(&defaults), offered, "{name}: values.yaml");
        assert_eq!(keys(&full), offered, "{name}: full-values.yaml");
        let settings = &schema["properties"]["settings"]["properties"];
        assert_eq!(keys(&full["settings"]), keys(settings), "{name}: the settings of full-values.yaml");
    }
}

#[test]
fn the_schema_offers_every_setting_with_all_its_words() {
    let schema: Value = serde_json::from_str(&text(&chart(HUB).join("values.schema.json"))).expect("a schema");
    let offered = schema["properties"]["settings"]["properties"].as_object().expect("the settings");
    let camel = |flag: &str| -> String {
        let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
        flag.split('-').enumerate().map(|(at, part)| if at == 0 { part.to_owned() } else { capital(part) }).collect()
    };
    let mut known = BTreeSet::new();
    for argument in config::args() {
        let key = camel(argument.get_long().expect("every setting has a flag"));
        // In a chart, the hub is the cluster it is installed in.
        if ["config", "kubeconfig", "kubeconfigContext", "fleet", "fleetRoot"].contains(&&*key) {
            continue;
        }
        let help = argument.get_long_help().expect("every setting is explained").to_string();
        let words = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(':').next());
        let words: BTreeSet<&str> = words.collect();
        let in_schema = offered.get(&key).map(|schema| schema["enum"].as_array().map_or(&[][..], Vec::as_slice));
        let in_schema = in_schema.unwrap_or_else(|| panic!("{key} is not in the schema"));
        assert_eq!(in_schema.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), words, "{key}");
        for number in in_schema.iter().filter(|word| word.is_number()) {
            loaded(&format!("{key}: {number}"));
        }
        known.insert(key);
    }
    assert_eq!(offered.keys().cloned().collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_rendered_settings_match_the_values() {
    // Who does not come from Admiral has no address ConfigMap, and no rights to look for one.
    let names = ["tradewind", "tradewind.admiral", "tradewind.admiral.svc", "tradewind.admiral.svc.cluster.local"];
    let of_chart = Settings { allowed_hosts: names.map(str::to_owned).to_vec(), ..Settings::default() };
    let without = Settings { se_address_configmap: String::new(), ..of_chart.clone() };
    assert_eq!(loaded(&settings_file(&rendered(HUB, ""))), without);
    assert_eq!(loaded(&settings_file(&rendered(HUB, "rbac: {addressConfigMap: true}"))), of_chart);
    let own = loaded(&settings_file(&rendered(
        HUB,
        "settings: {allowedHosts: [views.example.com], clusterDomain: corp.example}",
    )));
    assert_eq!(
        own.allowed_hosts,
        [
            "views.example.com",
            "tradewind",
            "tradewind.admiral",
            "tradewind.admiral.svc",
            "tradewind.admiral.svc.corp.example"
        ]
    );

    let full = full_values(HUB);
    let values: Value = serde_saphyr::from_str(&full).expect("values");
    let wanted = serde_saphyr::to_string(&values["settings"]).expect("plain data");
    let settings = loaded(&settings_file(&rendered(HUB, &full)));
    assert_eq!(settings, loaded(&wanted));
    assert_eq!(settings.max_requests_per_connection, 2_147_483_647);
    assert_eq!(settings.exportto_identity_list, ["*pay", "*"]);

    // Helm reads YAML 1.1, where the word is a boolean.
    let off = rendered(HUB, "settings: {sidecars: off}");
    assert_eq!(loaded(&settings_file(&off)).sidecars, config::Sidecars::Off);
    assert_eq!(rendered(MEMBER, "sidecars: off"), rendered(MEMBER, "sidecars: 'off'"));
}

#[test]
fn unknown_values_and_wrong_types_are_refused() {
    let refused = |name, values, named: &str| {
        let error = render(name, values).expect_err(values);
        assert!(error.contains(named), "{values}: {error}");
    };
    refused(HUB, "replicas: 2", "replicas");
    refused(HUB, "settings: {hostnamSuffix: mesh}", "hostnamSuffix");
    refused(HUB, "settings: {kubeconfig: /root/.kube/config}", "kubeconfig");
    refused(HUB, "settings: {weights: heavy}", "weights");
    refused(HUB, "settings: {maxRemovalPercent: many}", "maxRemovalPercent");
    refused(HUB, "settings: {maxRemovalPercent: 101}", "maxRemovalPercent");
    refused(HUB, "settings: {workloadKinds: []}", "workloadKinds");
    refused(HUB, "image: {repo: tradewind}", "repo");
    refused(HUB, "image: {digest: latest}", "digest");
    refused(HUB, "rbac: {create: 'yes'}", "create");
    refused(HUB, "serviceMonitor: {interval: 30}", "interval");
    refused(MEMBER, "syncNamespaces: a", "syncNamespaces");
    refused(MEMBER, "syncNamespace: Not_A_Name", "syncNamespace");
    refused(MEMBER, "sidecars: some", "sidecars");
    refused(MEMBER, "createSyncNamespace: 'true'", "createSyncNamespace");
}

/// Settings that contradict each other, as the chart and the program see them.
#[test]
fn what_the_program_refuses_together_the_chart_refuses_too() {
    let defaults = Settings::default();
    let key = |one: &str, other: &str| format!("{one}: {other:?}");
    let with_defaults = [
        key("envKey", &defaults.workload_identity_key),
        key("workloadIdentityKey", &defaults.deployment_annotation),
        key("deploymentAnnotation", &defaults.admiral_ignore_label),
        key("admiralIgnoreLabel", &defaults.identity_partition_key),
        key("identityPartitionKey", &defaults.env_key),
        key("admiralCrdIdentityLabel", &defaults.priority_key),
        key("priorityKey", &defaults.admiral_crd_identity_label),
        key("clusterDomain", &defaults.hostname_suffix),
        key("additionalEndpointSuffixes", &defaults.hostname_suffix).replace(": ", ": [") + "]",
        format!("nlbEnabledClusters: [east], nlbIngressLabel: {}", defaults.gateway_app),
        format!("nlbEnabledClusters: [east], gatewayApp: {}", defaults.nlb_ingress_label),
        key("metricsAddress", &defaults.addresses(true).main.to_string()),
        key("listenAddress", &defaults.metrics_address.to_string()),
        key("healthAddress", &defaults.addresses(true).main.to_string()),
        key("healthAddress", &defaults.metrics_address.to_string()),
    ];
    let together = with_defaults.iter().map(|settings| (&**settings, false)).chain([
        ("envKey: priority", false),
        ("envKey: example.com/a, deploymentAnnotation: example.com/a", false),
        ("workloadIdentityKey: a, envKey: b, deploymentAnnotation: c, admiralIgnoreLabel: d, identityPartitionKey: e", true),
        ("hostnameSuffix: mesh.corp.example, clusterDomain: corp.example", false),
        ("hostnameSuffix: mesh.notcorp.example, clusterDomain: corp.example", true),
        ("clusterDomain: mesh.global", true),
        ("nlbIngressLabel: istio-ingressgateway", true),
        ("additionalEndpointSuffixes: [a.example, b.example], hostnameSuffix: b.example", false),
        ("additionalEndpointSuffixes: [a.example, b.example], hostnameSuffix: c.example", true),
        ("listenAddress: 10.0.0.1:8080, metricsAddress: 0.0.0.0:8080", false),
        ("listenAddress: '[::]:8080', metricsAddress: 0.0.0.0:8080", false),
        ("listenAddress: 0.0.0.0:6900, metricsAddress: 0.0.0.0:8080", true),
        ("listenAddress: 0.0.0.0:8081, metricsAddress: 0.0.0.0:8082", true),
        ("listenAddress: 0.0.0.0:8081, healthAddress: 0.0.0.0:8081", false),
        ("addressRange: 240.0.0.0/16", true),
        ("addressRange: 240.0.0.0/9", true),
        ("addressRange: 10.77.1.0/24", true),
        ("addressRange: 240.0.1.0/16", false),
        ("addressRange: 240.240.7.0/24", false),
        ("addressRange: 240.0.0.0/8", false),
        ("addressRange: 0.0.0.0/0", false),
        ("addressRange: 0.1.0.0/16", false),
        ("addressRange: 126.0.0.0/7", false),
        ("addressRange: 126.0.0.0/8", true),
        ("addressRange: 127.1.0.0/16", false),
        ("addressRange: 239.255.255.0/24", false),
        ("addressRange: 223.255.255.0/24", true),
        ("addressRange: 255.255.255.0/24", true),
        ("readOnly: true, dryRun: true", false),
        ("readOnly: true, dryRun: false", true),
        ("readOnly: false, dryRun: true", true),
        ("enableVsRouting: true", false),
        ("enableVsRouting: true, vsRoutingGateways: []", false),
        ("enableVsRouting: true, vsRoutingGateways: [istio-system/passthrough]", true),
        ("enableVsRouting: false", true),
        ("enableCustomVsMerge: true", false),
        ("enableCustomVsMerge: true, processVsCreatedBy: ''", false),
        ("enableCustomVsMerge: true, processVsCreatedBy: team", true),
        ("enableAbsoluteFqdnForLocalEndpoints: true, enableAbsoluteFqdn: false", false),
        ("enableAbsoluteFqdnForLocalEndpoints: true", true),
        ("sidecars: own, workloadSidecarName: ''", false),
        ("sidecars: merge, workloadSidecarName: ''", true),
        ("seAddressConfigmap: ''", true),
    ]);
    for (settings, right) in together {
        let by_program = load(&format!("{{{settings}}}"));
        assert_eq!(by_program.is_ok(), right, "{settings}: {by_program:?}");
        let by_chart = render(HUB, &format!("settings: {{{settings}}}"));
        assert_eq!(by_chart.is_ok(), right, "{settings}: {:?}", by_chart.err());
    }
    // A Service has each port once, whatever the addresses are.
    let ports = "settings: {listenAddress: 10.0.0.1:8080, metricsAddress: 10.0.0.2:8080}";
    assert!(render(HUB, ports).is_err_and(|error| error.contains("listenAddress, metricsAddress and healthAddress")));
    // In a pod nobody reaches what listens on loopback.
    for address in ["127.0.0.1:8080", "127.1.2.3:8080", "'[::1]:8080'"] {
        let refused = render(HUB, &format!("settings: {{listenAddress: {address}}}"));
        assert!(refused.is_err_and(|error| error.contains("listenAddress")), "{address}");
    }
    for address in ["0.0.0.0:8081", "'[::]:8081'", "10.127.0.1:8081"] {
        rendered(HUB, &format!("settings: {{listenAddress: {address}}}"));
    }
}

/// Every setting with each of these values in turn: one that the program refuses must not pass Helm.
#[test]
fn what_the_program_refuses_alone_the_schema_refuses_too() {
    let long = |part: &str, times: usize| part.repeat(times);
    let texts = [
        "",
        " ",
        "a b",
        "Upper",
        "a_b",
        "a..b",
        "-a",
        "a-",
        ".a",
        "a.",
        "/",
        "/a",
        "a/",
        "a/b/c",
        "Upper.io/x",
        "é",
        "tradewind.io/x",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/created-by",
        "dns-prefix",
        "associated-gtp",
        "cluster.local",
        "svc.cluster.local",
        "spiffe://example.com",
        "any",
        "1.",
        "1.28",
        "latest",
        "*",
        "=x",
        "x=",
        "x=a,",
        "x=a,=b",
        "x= ",
        "10.0.0.0",
        "10.0.0.0/25",
        "10.0.0.0/33",
        "256.0.0.0/16",
        "010.0.0.0/16",
        "::/16",
        "8080",
        ":8080",
        "0.0.0.0:",
        "0.0.0.0:65536",
        "0.0.0.256:80",
        "localhost:80",
        "[:::]:80",
        "[::1:80",
        "::1:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[::g]:80",
        "true",
        "off",
        "x/y/z",
    ];
    let texts = texts.into_iter().map(str::to_owned).chain([
        long("a", 64),
        long("a.", 61) + "a",
        long("a.", 130) + "a",
        format!("{}/a", long("a.", 130) + "a"),
        format!("{}/a", long("a", 64)),
        format!("a/{}", long("b", 64)),
    ]);
    let texts: Vec<Value> = texts.map(Value::from).collect();
    let lists = texts.iter().map(|text| json!([text])).chain([
        json!([]),
        json!(["a", "a"]),
        json!(["a=b", "a=b"]),
        json!(["any", "1.28"]),
        json!(["a=b", "=c"]),
        json!(["a", "a=b"]),
    ]);
    let lists: Vec<Value> = lists.collect();
    let numbers: Vec<Value> = [-1_i64, 0, 101, 1_001, 3_601, 2_147_483_648, 4_294_967_296].map(Value::from).into();
    let words: Vec<Value> = ["", "none", "OFF", "distributed"].map(Value::from).into();

    let schema: Value = serde_json::from_str(&text(&chart(HUB).join("values.schema.json"))).expect("a schema");
    let offered = schema["properties"]["settings"]["properties"].as_object().expect("the settings");
    let tried = |schema: &Value| match schema["type"].as_str() {
        Some("string") => texts.clone(),
        Some("array") => lists.clone(),
        Some("integer") => numbers.clone(),
        Some("boolean") => vec![json!("yes"), json!(1)],
        _ => words.clone(),
    };
    let rounds = offered.values().map(|schema| tried(schema).len()).max().expect("settings");
    let (mut passed, mut refused) = (Vec::new(), 0);
    for round in 0..rounds {
        let values: BTreeMap<&String, Value> =
            offered.iter().filter_map(|(key, schema)| Some((key, tried(schema).get(round)?.clone()))).collect();
        // Helm tells of every wrong value of a round at once.
        let by_schema = render(HUB, &json!({ "settings": values }).to_string()).err().unwrap_or_default();
        for (key, value) in &values {
            if load(&json!({ key.as_str(): value }).to_string()).is_err() {
                refused += 1;
                let named = [format!("'/settings/{key}'"), format!("'/settings/{key}/")];
                if !named.iter().any(|named| by_schema.contains(named)) {
                    passed.push(format!("{key}: {value}"));
                }
            }
        }
    }
    assert!(refused > 500, "the program refuses {refused} of these");
    assert_eq!(passed, Vec::<String>::new(), "Helm takes what the program refuses");
}

#[test]
fn the_pod_is_confined_and_alone() {
    let objects = rendered(HUB, "");
    let deployment = &the(&objects, "Deployment")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]), (&json!(1), &json!({"type": "Recreate"})));
    let pod = &deployment["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    let confined = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(container["securityContext"], confined);
    assert_eq!(container["image"], concat!("tradewind:", env!("CARGO_PKG_VERSION")));
    assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
    let file = container["args"][1].as_str().and_then(|flag| flag.strip_prefix("--config=")).expect("a settings file");
    let mounted = container["volumeMounts"][0]["mountPath"].as_str().expect("a mount");
    assert_eq!(Path::new(file).parent(), Some(Path::new(mounted)));
    assert_eq!(pod["volumes"][0]["configMap"]["name"], the(&objects, "ConfigMap")["metadata"]["name"]);
    assert_eq!(pod["serviceAccountName"], the(&objects, "ServiceAccount")["metadata"]["name"]);
}

#[test]
fn the_pod_has_longer_to_end_than_its_writes() {
    for (values, seconds) in
        [("", 20), ("settings: {gracefulStopSeconds: 0}", 0), ("settings: {gracefulStopSeconds: 100}", 100)]
    {
        let objects = rendered(HUB, values);
        assert_eq!(loaded(&settings_file(&objects)).graceful_stop_seconds, seconds);
        let grace = the(&objects, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        assert!(grace > Some(seconds.into()), "{values}: {grace:?}");
    }
}

#[test]
fn ports_and_service_follow_the_listen_addresses() {
    for values in ["", "settings: {listenAddress: 0.0.0.0:8081, metricsAddress: 0.0.0.0:8082}", &full_values(HUB)] {
        let objects = rendered(HUB, values);
        let addresses = loaded(&settings_file(&objects)).addresses(true);
        let wanted = [("http", addresses.main.port()), ("metrics", addresses.metrics.port())];
        let container = &the(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let service = &the(&objects, "Service")["spec"];
        for (at, (name, number)) in wanted.into_iter().enumerate() {
            assert_eq!(container["ports"][at], json!({"name": name, "containerPort": number}));
            assert_eq!(service["ports"][at], json!({"name": name, "port": number, "targetPort": name}));
        }
        let health = addresses.health.expect("a pod has one").port();
        assert_eq!(container["ports"][2], json!({"name": "health", "containerPort": health}));
        assert_eq!(service["ports"].as_array().map(Vec::len), Some(2), "kubelet needs no Service");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "health", "{probe}");
        }
        let labels = &the(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
        for (label, value) in service["selector"].as_object().expect("a selector") {
            assert_eq!(&labels[label], value);
        }
    }
}

#[test]
fn a_network_policy_keeps_everybody_from_the_views_but_those_it_names() {
    assert!(of_kind(&rendered(HUB, ""), "NetworkPolicy").is_empty());
    let objects = rendered(HUB, "networkPolicy: {enabled: true}");
    let policy = &the(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["ingress"], json!([{"ports": [{"port": "metrics"}]}, {"ports": [{"port": "health"}]}]));
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    let labels = &the(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    for (label, value) in policy["podSelector"]["matchLabels"].as_object().expect("a selector") {
        assert_eq!(&labels[label], value);
    }
    let full = rendered(HUB, &full_values(HUB));
    let rules = the(&full, "NetworkPolicy")["spec"]["ingress"].as_array().expect("rules").clone();
    let ports: Vec<&Value> = rules.iter().map(|rule| &rule["ports"][0]["port"]).collect();
    assert_eq!(ports, ["http", "metrics", "health"]);
    assert!(rules.iter().all(|rule| rule["from"].as_array().is_some_and(|from| from.len() == 1)), "{rules:?}");
}

#[test]
fn other_settings_roll_the_pod_and_nothing_else_does() {
    let checksum = |values| {
        let objects = rendered(HUB, values);
        the(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/settings"].clone()
    };
    assert!(checksum("").is_string());
    assert_ne!(checksum("settings: {weights: distribute}"), checksum(""));
    assert_eq!(checksum("service: {annotations: {a: b}}"), checksum(""));
}

#[test]
fn a_digest_and_a_service_monitor_are_rendered_on_request() {
    assert!(of_kind(&rendered(HUB, ""), "ServiceMonitor").is_empty());
    let objects = rendered(HUB, &full_values(HUB));
    let image = the(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    assert!(
        image.is_some_and(|image| image.starts_with("registry.example.com/mesh/tradewind:1.2.3@sha256:")),
        "{image:?}"
    );
    let monitor = the(&objects, "ServiceMonitor");
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], the(&objects, "Service")["spec"]["selector"]);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
}

#[test]
fn roles_are_in_the_namespaces_of_the_settings() {
    for values in ["rbac: {addressConfigMap: true}", &full_values(HUB)] {
        let objects = rendered(HUB, values);
        let settings = loaded(&settings_file(&objects));
        let role = |resource: &str| {
            let roles = of_kind(&objects, "Role");
            let mut found = roles.into_iter().filter(|role| role["rules"][0]["resources"][0] == json!(resource));
            found.next().unwrap_or_else(|| panic!("no Role for {resource}")).clone()
        };
        assert_eq!(role("secrets")["metadata"]["namespace"], settings.secret_namespace);
        assert_eq!(role("dependencies")["metadata"]["namespace"], settings.dependency_namespace);
        assert_eq!(role("configmaps")["metadata"]["namespace"], settings.sync_namespace);
        assert_eq!(role("configmaps")["rules"][0]["resourceNames"], json!([settings.se_address_configmap]));
    }
    assert!(of_kind(&rendered(HUB, "rbac: {create: false}"), "Role").is_empty());
    assert_eq!(yaml(&chart(MEMBER).join("values.yaml"))["syncNamespace"], Settings::default().sync_namespace);
    let bound = rendered(MEMBER, &full_values(MEMBER));
    let subject = &the(&bound, "ClusterRoleBinding")["subjects"][0];
    assert_eq!(
        (&subject["namespace"], &subject["name"]),
        (&json!("istio-system"), &json!("istio-reader-service-account"))
    );
    assert!(of_kind(&bound, "ServiceAccount").is_empty() && of_kind(&bound, "Secret").is_empty());
}

// ---- on real API servers ----

/// Runs helm on a cluster.
async fn helm_on(cluster: &TestCluster, arguments: &[&str], values: &str) -> Result<String, String> {
    let kubeconfig = tempfile::NamedTempFile::new().expect("a file");
    fs::write(kubeconfig.path(), cluster.kubeconfig()).expect("a kubeconfig");
    let mut arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    arguments.push(format!("--kubeconfig={}", kubeconfig.path().display()));
    let values = values.to_owned();
    let run = move || helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &values);
    let output = tokio::task::spawn_blocking(run).await.expect("helm runs");
    // It lives until helm has read it.
    drop(kubeconfig);
    output
}

/// Installs a chart as an operator does; returns its notes.
async fn try_install(
    cluster: &TestCluster,
    name: &str,
    release: &str,
    namespace: &str,
    values: &str,
) -> Result<String, String> {
    let (path, namespace) = (chart(name).display().to_string(), format!("--namespace={namespace}"));
    let arguments = ["install", release, &path, &namespace, "--create-namespace"];
    let output = helm_on(cluster, &arguments, values).await?;
    Ok(output.split_once("NOTES:\n").expect("notes").1.to_owned())
}

/// As [`try_install`], where it must succeed.
async fn install(cluster: &TestCluster, name: &str, release: &str, namespace: &str, values: &str) -> String {
    let notes = try_install(cluster, name, release, namespace, values).await;
    notes.unwrap_or_else(|error| panic!("{name} on {}: {error}", cluster.name()))
}

async fn create_namespace(cluster: &TestCluster, name: &str) {
    cluster.apply(vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})]).await;
}

const VERBS: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"];

const RESOURCES: &[&str] = &[
    "secrets",
    "configmaps",
    "pods",
    "services",
    "endpointslices.discovery.k8s.io",
    "nodes",
    "namespaces",
    "serviceaccounts",
    "events",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "rollouts.argoproj.io",
    "jobs.batch",
    "cronjobs.batch",
    "vertices.numaflow.numaproj.io",
    "monovertices.numaflow.numaproj.io",
    "globaltrafficpolicies.admiral.io",
    "outlierdetections.admiral.io",
    "clientconnectionconfigs.admiral.io",
    "routingpolicies.admiral.io",
    "dependencies.admiral.io",
    "dependencyproxies.admiral.io",
    "trafficconfigs.admiral.io",
    "tradewindconfigs.tradewind.io",
    "identityclaims.tradewind.io",
    "serviceentries.networking.istio.io",
    "destinationrules.networking.istio.io",
    "sidecars.networking.istio.io",
    "virtualservices.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "workloadentries.networking.istio.io",
    "roles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "leases.coordination.k8s.io",
    "tokenreviews.authentication.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
    "*.*",
];

/// A right as kubectl would say it: `list secrets`, with ` in NAMESPACE` where it holds in one alone.
type Rights = BTreeSet<String>;

/// Every verb of each line on every resource of it: `list watch: services nodes`, with ` in NAMESPACE` behind.
fn rights(lines: &[&str]) -> Rights {
    let mut rights = Rights::new();
    for line in lines {
        let (verbs, rest) = line.split_once(": ").expect("verbs: resources");
        let (resources, place) =
            rest.split_once(" in ").map_or((rest, String::new()), |(r, ns)| (r, format!(" in {ns}")));
        for verb in verbs.split(' ') {
            rights.extend(resources.split(' ').map(|resource| format!("{verb} {resource}{place}")));
        }
    }
    rights
}

async fn may(client: &kube::Client, verb: &str, resource: &str, namespace: Option<&str>, name: Option<&str>) -> bool {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let own = |text: &str| Some(text.to_owned());
    let asked = ResourceAttributes {
        verb: own(verb),
        group: own(group),
        resource: own(resource),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(asked), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await.expect("a review");
    answer.status.expect("an answered review").allowed
}

/// Everything that an account may do, of all verbs on all resources: in the whole cluster, and beyond that in `namespaces`.
async fn rights_of(cluster: &TestCluster, account: (&str, &str), namespaces: &[&str]) -> Rights {
    let token = cluster.service_account_token(account.0, account.1).await;
    let client = &cluster.client_with(&cluster.url(), &token, support::TEST_USER_AGENT);
    let pairs = || VERBS.iter().flat_map(|verb| RESOURCES.iter().map(move |resource| (*verb, *resource)));
    let places = std::iter::once(None).chain(namespaces.iter().map(|namespace| Some(*namespace)));
    let asked = places.flat_map(|place| pairs().map(move |(verb, resource)| (verb, resource, place)));
    let allowed: Vec<_> = stream::iter(asked)
        .map(async |(verb, resource, place)| {
            may(client, verb, resource, place, None).await.then_some((verb, resource, place))
        })
        .buffer_unordered(REVIEWS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let whole: BTreeSet<_> = allowed.iter().filter(|right| right.2.is_none()).map(|right| (right.0, right.1)).collect();
    let shown = allowed.iter().filter_map(|(verb, resource, place)| match place {
        None => Some(format!("{verb} {resource}")),
        Some(_) if whole.contains(&(*verb, *resource)) => None,
        Some(place) => Some(format!("{verb} {resource} in {place}")),
    });
    shown.collect()
}

#[tokio::test]
async fn on_the_hub_it_may_read_cluster_secrets_dependencies_and_one_configmap() {
    let [hub, ..] = support::shared().await;
    for namespace in ["hub-clusters", "hub-dependencies", "hub-sync", "hub-other"] {
        create_namespace(hub, namespace).await;
    }
    let values = "{settings: {secretNamespace: hub-clusters, dependencyNamespace: hub-dependencies, syncNamespace: hub-sync}, \
         rbac: {addressConfigMap: true}}";
    install(hub, HUB, "hub-rights", "hub-rights", values).await;
    let account = ("hub-rights", "hub-rights");
    let namespaces = ["hub-rights", "hub-clusters", "hub-dependencies", "hub-sync", "hub-other", "kube-system"];
    let wanted = [
        "list watch: secrets in hub-clusters",
        "list watch: dependencies.admiral.io dependencyproxies.admiral.io trafficconfigs.admiral.io tradewindconfigs.tradewind.io identityclaims.tradewind.io in hub-dependencies",
    ];
    assert_eq!(rights_of(hub, account, &namespaces).await, rights(&wanted));

    let with_reviews = values.replacen("{settings: {", "{settings: {releaseOverHttp: true, ", 1);
    install(
        hub,
        HUB,
        "hub-reviews",
        "hub-reviews",
        &with_reviews.replace("addressConfigMap: true", "addressConfigMap: false"),
    )
    .await;
    let reviews = "create: tokenreviews.authentication.k8s.io subjectaccessreviews.authorization.k8s.io";
    let found = rights_of(hub, ("hub-reviews", "hub-reviews"), &namespaces).await;
    assert_eq!(found, rights(&[&wanted[..], &[reviews]].concat()));

    let token = hub.service_account_token(account.0, account.1).await;
    let client = hub.client_with(&hub.url(), &token, support::TEST_USER_AGENT);
    let configmap = async |verb, namespace, name| may(&client, verb, "configmaps", Some(namespace), Some(name)).await;
    assert!(configmap("get", "hub-sync", "se-address-configmap").await);
    assert!(!configmap("get", "hub-sync", "other").await);
    assert!(!configmap("get", "hub-other", "se-address-configmap").await);
    assert!(!configmap("patch", "hub-sync", "se-address-configmap").await);
}

#[tokio::test]
async fn the_hub_is_installed_where_the_sync_namespace_is_missing() {
    let [hub, ..] = support::shared().await;
    let values = "settings: {secretNamespace: no-sync, dependencyNamespace: no-sync, syncNamespace: not-there}";
    install(hub, HUB, "no-sync", "no-sync", values).await;
    assert_eq!(hub.get_json("Namespace", None, "not-there").await, None);
}

#[tokio::test]
async fn a_missing_namespace_is_named_before_the_installation_and_created_on_request() {
    let [hub, ..] = support::shared().await;
    create_namespace(hub, "is-there").await;
    let settings = "settings: {secretNamespace: gone-secrets, dependencyNamespace: is-there, syncNamespace: gone-sync}";
    let (release, namespace) = ("gone", "gone");
    let error = try_install(hub, HUB, release, namespace, settings).await.expect_err("a namespace is missing");
    assert!(error.contains("gone-secrets (settings.secretNamespace)") && error.contains("createNamespaces"), "{error}");
    assert!(!error.contains("is-there") && !error.contains("gone-sync"), "{error}");
    assert_eq!(hub.get_json("ServiceAccount", "gone", "gone").await, None, "nothing is left behind");

    // The same name is free for the next attempt, and what was there before stays somebody else's.
    let asked = format!("{settings}\ncreateNamespaces: true\nrbac: {{addressConfigMap: true}}");
    install(hub, HUB, release, namespace, &asked).await;
    let label = async |name: &str| {
        let namespace = hub.get_json("Namespace", None, name).await.unwrap_or_else(|| panic!("no namespace {name}"));
        namespace["metadata"]["labels"]["app.kubernetes.io/instance"].clone()
    };
    for made in ["gone-secrets", "gone-sync"] {
        assert_eq!(label(made).await, "gone", "{made}");
    }
    assert_eq!(label("is-there").await, Value::Null);
    let path = chart(HUB).display().to_string();
    let upgraded = helm_on(hub, &["upgrade", release, &path, "--namespace=gone"], &asked).await;
    upgraded.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(label("gone-secrets").await, "gone", "an upgrade keeps them");
    let removed = helm_on(hub, &["upgrade", release, &path, "--namespace=gone"], settings).await;
    removed.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(label("gone-secrets").await, "gone", "they stay, for they hold what others made");
}

#[tokio::test]
async fn a_namespace_that_a_member_lacks_is_named_before_anything_is_made() {
    let [.., member] = support::shared().await;
    create_namespace(member, "members-sync").await;
    let refused = async |values: &str, named: &str| {
        let error = try_install(member, MEMBER, "lacking", "lacking", values).await.expect_err(values);
        assert!(error.contains("these namespaces do not exist") && error.contains(named), "{values}: {error}");
        assert_eq!(member.get_json("ServiceAccount", "lacking", "tradewind").await, None, "{values}");
    };
    refused("syncNamespace: lacks-sync", "lacks-sync (syncNamespace)").await;
    refused("syncNamespace: members-sync\nadoptNamespaces: [members-sync, lacks-a]", "lacks-a (adoptNamespaces)").await;
    let routing = "syncNamespace: members-sync\nvsRouting: true\nistioNamespace: lacks-istio";
    refused(routing, "lacks-istio (istioNamespace)").await;
    let account = "syncNamespace: members-sync\nserviceAccount: {create: false, namespace: lacks-b}";
    refused(account, "lacks-b (serviceAccount.namespace)").await;
    install(member, MEMBER, "lacking", "lacking", "syncNamespace: members-sync").await;
    // A namespace that is made with the release is not asked for, nor one that Tradewind makes itself.
    install(member, MEMBER, "own-namespace", "own-namespace", "syncNamespace: own-namespace").await;
    install(member, MEMBER, "made-later", "made-later", "{syncNamespace: lacks-sync, createSyncNamespace: true}").await;
}

#[tokio::test]
async fn in_a_member_it_may_read_the_mesh_and_write_its_own_namespace() {
    let [.., member] = support::shared().await;
    create_namespace(member, "own-sync").await;
    create_namespace(member, "other").await;
    create_namespace(member, "istio-system").await;
    let basics = "list watch: services nodes namespaces globaltrafficpolicies.admiral.io outlierdetections.admiral.io \
                  clientconnectionconfigs.admiral.io serviceentries.networking.istio.io \
                  destinationrules.networking.istio.io virtualservices.networking.istio.io";
    let read = &*format!(
        "{basics} deployments.apps statefulsets.apps daemonsets.apps rollouts.argoproj.io \
         workloadentries.networking.istio.io jobs.batch cronjobs.batch vertices.numaflow.numaproj.io \
         monovertices.numaflow.numaproj.io"
    );
    let own = "serviceentries.networking.istio.io destinationrules.networking.istio.io \
               virtualservices.networking.istio.io";
    // What may be read everywhere is not named again for one namespace.
    let write_own = &*format!("get create patch delete: {own} in own-sync");
    let write = &*format!("get list watch create patch delete: {own}");
    let sidecars = |verbs| format!("{verbs}: sidecars.networking.istio.io");
    let (merge, own) = (&*sidecars("get list watch patch"), &*sidecars("get list watch patch create delete"));
    let filters = "get list watch create patch delete: envoyfilters.networking.istio.io in istio-system";
    let routing = "get create patch delete: virtualservices.networking.istio.io destinationrules.networking.istio.io \
                   in istio-system";
    let slices = "list watch: endpointslices.discovery.k8s.io";
    let adopt =
        "get create patch delete: serviceentries.networking.istio.io destinationrules.networking.istio.io in other";
    let modes: [(&str, &str, &[&str]); 9] = [
        ("rights-default", "", &[read, write_own]),
        ("rights-pods", "directEndpoints: true", &[read, write_own, slices]),
        ("rights-merge", "sidecars: merge", &[read, write_own, merge]),
        ("rights-own", "sidecars: own", &[read, write_own, own]),
        ("rights-create", "createSyncNamespace: true", &[read, write, "create: namespaces"]),
        (
            "rights-few",
            "workloadKinds: [Deployment]\nclientKinds: []",
            &[basics, "list watch: deployments.apps", write_own],
        ),
        (
            "rights-filters",
            "routingPolicies: true",
            &[read, write_own, "list watch: routingpolicies.admiral.io", filters],
        ),
        ("rights-routing", "vsRouting: true", &[read, write_own, routing]),
        ("rights-adopt", "adoptNamespaces: [other]", &[read, write_own, adopt]),
    ];
    for (release, values, wanted) in modes {
        install(member, MEMBER, release, release, &format!("syncNamespace: own-sync\n{values}")).await;
        let found =
            rights_of(member, (release, "tradewind"), &["own-sync", "other", release, "kube-system", "istio-system"])
                .await;
        assert_eq!(found, rights(wanted), "{release}");
    }
}

/// What the token controller of a real control plane does, which is not here.
async fn fill_token(cluster: &TestCluster, namespace: &str, name: &str) {
    let token = cluster.service_account_token(namespace, "tradewind").await;
    let kubeconfig: Value = serde_saphyr::from_str(&cluster.kubeconfig()).expect("a kubeconfig");
    let authority = &kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"];
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
        "data": {"ca.crt": authority}, "stringData": {"token": token},
    });
    cluster.apply(vec![secret]).await;
}

/// Runs the commands of the member chart's notes; only the two names that stand there for the reader's own are changed.
fn register(hub: &TestCluster, member: &TestCluster, notes: &str) {
    let is_command = |line: &&str| {
        ["CLUSTER=", "SERVER=", "CA=", "TOKEN=", "kubectl ", "rm "].iter().any(|begin| line.starts_with(begin))
    };
    let script: Vec<_> = notes.lines().filter(is_command).collect();
    let script = script.join("\n").replace("=east", &format!("={}", member.name()));
    let script = script.replace("--context=hub", &format!("--context={}", hub.name()));
    let home = tempfile::tempdir().expect("a directory");
    let file = |cluster: &TestCluster| {
        let file = home.path().join(format!("{}-admin", cluster.name()));
        fs::write(&file, cluster.kubeconfig()).expect("a kubeconfig");
        file.display().to_string()
    };
    let kubectl = part("kubectl");
    let programs = kubectl.parent().expect("a directory").display();
    let output = Command::new("sh")
        .args(["-eu", "-c", &script])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("KUBECONFIG", format!("{}:{}", file(member), file(hub)))
        .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default()))
        .output()
        .expect("sh");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!home.path().join(format!("{}.kubeconfig", member.name())).exists(), "credentials are left behind");
}

/// The controller with the rights of its account, and the settings that the chart mounts. Ends with the test.
struct Controller {
    child: Child,
    place: tempfile::TempDir,
    address: SocketAddr,
}

impl Controller {
    async fn start(hub: &TestCluster, namespace: &str, name: &str) -> Self {
        // The shell ends it when its own input ends: with this process, however that comes.
        const WITH_US: &str = r#""$@" & read -r _ || kill -9 $!"#;
        let place = tempfile::tempdir().expect("a directory");
        let token = hub.service_account_token(namespace, name).await;
        fs::write(place.path().join("hub"), hub.kubeconfig_with(&hub.url(), &token)).expect("a kubeconfig");
        let settings = hub.get_json("ConfigMap", namespace, name).await.expect("the chart makes it");
        let settings = settings["data"]["settings.yaml"].as_str().expect("the settings file");
        fs::write(place.path().join("settings.yaml"), settings).expect("a settings file");
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (address, metrics) = {
            let both = (free(), free());
            let address = |port: &TcpListener| port.local_addr().expect("an address");
            (address(&both.0), address(&both.1))
        };
        let log = fs::File::create(place.path().join("log")).expect("a log");
        let child = Command::new("sh")
            .args(["-c", WITH_US, "controller", env!("CARGO_BIN_EXE_tradewind"), "run"])
            // The API servers of tests are on this machine.
            .args(["--config=settings.yaml", "--kubeconfig=hub", "--allow-in-kubeconfigs=local-address"])
            .args([format!("--listen-address={address}"), format!("--metrics-address={metrics}")])
            .arg("--health-address=127.0.0.1:0")
            .current_dir(place.path())
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("sh");
        Self { child, place, address }
    }

    fn log(&self) -> String {
        text(&self.place.path().join("log"))
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let config = kube::Config::new(format!("http://{}", self.address).parse().expect("an address"));
        let client = kube::Client::try_from(config).map_err(|error| error.to_string())?;
        let request = Request::get(path).body(Vec::new()).expect("a plain request");
        client.request_text(request).await.map_err(|error| error.to_string())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Fails only if it has ended already, which is what is wanted.
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the controller's log:\n{}", self.log());
        }
    }
}

const MEMBER_WORKLOADS: &str = "
{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {topology.kubernetes.io/region: us-west-2}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: payments, namespace: payments}
spec:
  selector: {matchLabels: {app: payments}}
  template:
    metadata:
      labels: {app: payments, identity: payments}
      annotations: {sidecar.istio.io/inject: 'true', admiral.io/env: stage}
    spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: payments}
spec: {selector: {app: payments}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: orders}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata:
      labels: {app: orders, identity: orders}
      annotations: {sidecar.istio.io/inject: 'true', admiral.io/env: stage}
    spec: {containers: [{name: app, image: app}]}
";

const HUB_OBJECTS: &str = "
apiVersion: admiral.io/v1alpha1
kind: Dependency
metadata: {name: orders, namespace: admiral}
spec: {source: orders, identityLabel: identity, destinations: [payments]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: se-address-configmap, namespace: admiral-sync}
data:
  serviceEntryAddressStore: |
    entry-addresses: {stage.payments.global-se: 240.0.9.9}
    addresses: [240.0.9.9]
";

/// Every kind of request that is made: with the rights of the charts, none is refused.
#[tokio::test]
async fn clusters_registered_by_the_notes_are_served_with_the_rights_of_the_charts() {
    let [hub, members @ ..] = support::shared().await;
    create_namespace(hub, "admiral-sync").await;
    install(hub, HUB, HUB, "admiral", "{settings: {sidecars: own}, rbac: {addressConfigMap: true}}").await;
    hub.apply_yaml(HUB_OBJECTS).await;
    let [east, west] = members;
    let east_notes = install(east, MEMBER, MEMBER, "admiral-sync", "sidecars: own").await;
    let west_notes = install(west, MEMBER, MEMBER, "tradewind", "{sidecars: own, createSyncNamespace: true}").await;
    assert_eq!(west.get_json("Namespace", None, "admiral-sync").await, None);
    let mut marks = Vec::new();
    for (member, namespace, notes) in [(east, "admiral-sync", east_notes), (west, "tradewind", west_notes)] {
        fill_token(member, namespace, "tradewind-member-token").await;
        register(hub, member, &notes);
        member.apply_yaml(MEMBER_WORKLOADS).await;
        marks.push(member.mark().await);
    }
    let controller = Controller::start(hub, "admiral", HUB).await;
    eventually("it is ready", SOON, async || controller.get("/health/ready").await.map(drop)).await;
    controller.get("/health/live").await.expect("it lives");

    let written = [
        ("ServiceEntry", "admiral-sync", "stage.payments.global-se"),
        ("DestinationRule", "admiral-sync", "stage.payments.global-default-dr"),
        ("Sidecar", "orders", "default"),
    ];
    for member in members {
        for (kind, namespace, name) in written {
            eventually(&format!("{kind} {name} in {}", member.name()), SOON, async || {
                member.get_json(kind, namespace, name).await.map(drop).ok_or_else(|| "it is not there".to_owned())
            })
            .await;
        }
        let entry = member.get_json("ServiceEntry", "admiral-sync", written[0].2).await.expect("just seen");
        assert_eq!(entry["spec"]["addresses"], json!(["240.0.9.9"]), "Admiral's address");

        // Next to ours, so that writing again does not help: the object is read, taken over and written.
        let foreign = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": written[0].2, "namespace": "admiral-sync"},
            "spec": {"subjectAltNames": ["spiffe://foreign"]},
        });
        member.apply(vec![foreign]).await;
        eventually("the foreign field goes", SOON, async || {
            let entry = member.get_json("ServiceEntry", "admiral-sync", written[0].2).await.ok_or("no entry")?;
            let names = &entry["spec"]["subjectAltNames"];
            if names.is_null() { Ok(()) } else { Err(names.to_string()) }
        })
        .await;
    }

    hub.delete("Dependency", "admiral", "orders").await;
    for member in members {
        member.delete("Deployment", "payments", "payments").await;
    }
    for (member, (kind, namespace, name)) in members.iter().flat_map(|member| written.map(|one| (member, one))) {
        eventually(&format!("{kind} {name} leaves {}", member.name()), SOON, async || {
            member.get_json(kind, namespace, name).await.map_or(Ok(()), |_| Err("it is there".to_owned()))
        })
        .await;
    }

    for (member, mark) in members.iter().zip(marks) {
        let writes = member.writes(mark).await;
        let ours: Vec<_> = writes.iter().filter(|write| write.user_agent.starts_with("tradewind/")).collect();
        assert!(!ours.is_empty() && ours.iter().all(|write| write.code != 403), "{ours:?}");
    }
    for said in [controller.log(), controller.get("/api/notes").await.expect("its notes")] {
        assert!(!said.to_lowercase().contains("forbidden"), "{said}");
    }
}
