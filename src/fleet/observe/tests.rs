//! What is kept of each kind of object, and what is said of those that cannot be read.

use std::net::Ipv4Addr;

use super::*;
use crate::model::{CopyOrigin, ObjectPath, ServiceKey, TargetPort, Written};
use serde_json::json;

fn observer() -> Observer {
    Observer::new(Arc::new(Settings::default()), false)
}

fn observe(kind: Kind, value: &Value) -> Observed {
    observer().observe_value(kind, value).unwrap()
}

fn service(value: &Value) -> LocalService {
    match observe(Kind::Service, value) {
        Observed::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

fn written(kind: Kind, value: &Value) -> Written {
    match observe(kind, value) {
        Observed::Written(written) => *written,
        other => panic!("{other:?}"),
    }
}

#[test]
fn workloads_keep_all_template_labels_and_only_deciding_annotations() {
    for kind in Kind::WORKLOADS.iter().filter(|kind| **kind != Kind::WorkloadEntry) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": kind.as_str(),
            "metadata": {"name": "greeting", "namespace": "team", "creationTimestamp": "2026-01-01T00:00:10Z",
                         "annotations": {"admiral.io/ignore": "true"}},
            "spec": {"selector": {}, "template": {"metadata": {
                "labels": {"identity": "greeting", "app": "g"},
                "annotations": {"sidecar.istio.io/inject": "true", "team.example/contact": "x"}}}}
        });
        let Observed::Workload(workload) = observe(*kind, &object) else { panic!("{kind:?}") };
        assert_eq!(workload.id, ObjectId::new(*kind, "team", "greeting"));
        assert_eq!(workload.created_seconds, 1_767_225_610);
        assert!(workload.ignored);
        assert_eq!(workload.template_labels.len(), 2);
        assert_eq!(workload.template_annotations.keys().collect::<Vec<_>>(), ["sidecar.istio.io/inject"]);
    }
}

#[test]
fn services_keep_tcp_ports_with_their_targets() {
    let service = service(&json!({
        "metadata": {"name": "greeting", "namespace": "team", "labels": {"admiral.io/ignore": "true"}},
        "spec": {"selector": {"app": "g"}, "ports": [
            {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "grpc", "port": 81, "targetPort": "grpc", "appProtocol": "grpc"},
            {"port": 82}]}
    }));
    assert!(service.ignored, "a label hides a Service too");
    let ports: Vec<_> = service.ports.iter().map(|port| (port.number, port.target.clone())).collect();
    assert_eq!(
        ports,
        [(80, TargetPort::Number(8080)), (81, TargetPort::Name("grpc".into())), (82, TargetPort::Number(82))]
    );
    assert_eq!(service.gateway, None);
    assert!(!service.external_name);
}

fn gateway(spec: Value, ingress: Value) -> Option<Option<(String, u16)>> {
    let service = service(&json!({
        "metadata": {"name": "gw", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}},
        "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}
    }));
    service.gateway.map(|gateway| gateway.address.map(|address| (address.address.to_string(), address.port)))
}

#[test]
fn gateway_addresses_follow_admirals_table() {
    let address = |text: &str, port| Some(Some((text.to_owned(), port)));
    let served = || json!({"ports": [{"port": 15443}]});
    assert_eq!(gateway(served(), json!([{"hostname": "lb.example"}])), address("lb.example.", 15443));
    assert_eq!(gateway(served(), json!([{"hostname": "lb.example."}])), address("lb.example.", 15443));
    assert_eq!(gateway(served(), json!([{"ip": "10.0.0.1"}])), address("10.0.0.1", 15443));
    assert_eq!(gateway(served(), json!([{}, {"ip": "10.0.0.2"}])), address("10.0.0.2", 15443));
    assert_eq!(gateway(served(), json!([{}])), Some(None), "an empty entry is no address");
    let external = |port: Value| json!({"externalIPs": ["192.0.2.1", "192.0.2.2"], "ports": [port]});
    assert_eq!(gateway(external(json!({"port": 15443, "nodePort": 31443})), json!([])), address("192.0.2.1", 31443));
    assert_eq!(gateway(external(json!({"port": 15443})), json!([])), address("192.0.2.1", 15443));
    assert_eq!(gateway(external(json!({"port": 443})), json!([])), Some(None));
}

#[test]
fn gateway_host_names_stay_relative_on_request() {
    let observer = Observer::new(Arc::new(Settings { enable_absolute_fqdn: false, ..Settings::default() }), false);
    let object = json!({
        "metadata": {"name": "gw", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}},
        "spec": {"ports": [{"port": 15443}]}, "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}
    });
    let Ok(Observed::Service(service)) = observer.observe_value(Kind::Service, &object) else { panic!() };
    assert_eq!(&*service.gateway.unwrap().address.unwrap().address, "lb.example");
}

#[test]
fn only_a_service_of_a_gateway_namespace_with_an_app_may_be_a_gateway() {
    let app = |namespace: &str, labels: Value| {
        let object = json!({"metadata": {"name": "x", "namespace": namespace, "labels": labels}});
        service(&object).gateway.map(|gateway| gateway.app.to_string())
    };
    assert_eq!(app("istio-system", json!({"app": "istiod"})).as_deref(), Some("istiod"));
    assert_eq!(app("istio-system", json!({"app": "", "istio": "ingressgateway"})), None);
    assert_eq!(app("team", json!({"app": "istio-ingressgateway"})), None);
}

#[test]
fn nodes_prefer_todays_labels() {
    let locality = |labels: Value| match observe(Kind::Node, &json!({"metadata": {"name": "n", "labels": labels}})) {
        Observed::Node(node) => node.locality.map(|locality| locality.to_string()),
        other => panic!("{other:?}"),
    };
    let both = json!({"topology.kubernetes.io/region": "new", "failure-domain.beta.kubernetes.io/region": "old",
                      "failure-domain.beta.kubernetes.io/zone": "new-a"});
    assert_eq!(locality(both).as_deref(), Some("new/new-a"));
    assert_eq!(locality(json!({"failure-domain.beta.kubernetes.io/region": "old"})).as_deref(), Some("old"));
    assert_eq!(locality(json!({"topology.kubernetes.io/zone": "a"})), None);
}

#[test]
fn namespaces_have_network_and_ignore_annotation() {
    let object = json!({"metadata": {"name": "istio-system", "labels": {"topology.istio.io/network": "net1"},
                                     "annotations": {"admiral.io/ignore": "true", "a.example/b": "c",
                                                     "tradewind.io/cluster-domain": "east.example"}}});
    let Observed::Namespace(namespace) = observe(Kind::Namespace, &object) else { panic!() };
    assert!(namespace.ignored);
    assert_eq!(
        namespace.cluster_metadata,
        [("tradewind.io/cluster-domain".into(), "east.example".into()), (keys::NETWORK.into(), "net1".into()),].into()
    );
}

#[test]
fn policies_keep_labels_and_a_malformed_one_names_the_field() {
    let mut object = json!({
        "metadata": {"name": "gtp", "namespace": "team", "labels": {"identity": "greeting"},
                     "annotations": {"lastUpdatedAt": "2026-01-01T00:00:00Z", "other": "x"}},
        "spec": {"policy": [{"dnsPrefix": "default", "lbType": 1, "target": [{"region": "west", "weight": 100}]}]},
        "status": {"clustersSynced": "not a number: nobody's business"}
    });
    let Observed::Policy(policy) = observe(Kind::GlobalTrafficPolicy, &object) else { panic!() };
    assert_eq!(policy.labels["identity"], "greeting");
    assert_eq!(policy.annotations.keys().collect::<Vec<_>>(), ["lastUpdatedAt"]);
    assert_eq!(policy.spec.policy[0].target[0].weight, 100);

    object["spec"]["policy"][0]["target"][0]["weight"] = json!("all");
    let error = observer().observe_value(Kind::GlobalTrafficPolicy, &object).unwrap_err();
    assert!(error.to_string().starts_with("spec.policy[0].target[0].weight: "), "{error}");
    object["spec"] = Value::Null;
    assert_eq!(
        observer().observe_value(Kind::GlobalTrafficPolicy, &object).unwrap_err().to_string(),
        "spec: is missing"
    );
}

#[test]
fn objects_without_a_name_or_with_wrong_types_are_refused_with_the_path() {
    let error = observer().observe_value(Kind::Node, &json!({"metadata": {}})).unwrap_err();
    assert_eq!(error.to_string(), "metadata.name: is missing");
    let object = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": "eighty"}]}});
    let error = observer().observe_value(Kind::Service, &object).unwrap_err();
    assert!(error.to_string().starts_with("spec.ports[0].port: "), "{error}");
    let object = json!({"metadata": {"name": "a", "labels": {"x": 1}}, "spec": {}});
    let error = observer().observe_value(Kind::ServiceEntry, &object).unwrap_err();
    assert!(error.to_string().starts_with("metadata.labels"), "{error}");
}

#[test]
fn dependencies_are_taken_as_written() {
    let object = json!({"metadata": {"name": "d", "namespace": "admiral"},
                        "spec": {"source": "Web", "identityLabel": "x", "destinations": ["Pay"]}});
    let Observed::Dependency(declared) = observe(Kind::Dependency, &object) else { panic!() };
    assert_eq!((declared.source.as_str(), declared.destinations.as_slice()), ("Web", &["Pay".to_owned()][..]));
}

fn entry() -> Value {
    json!({
        "metadata": {"name": "stage.pay.global-se", "namespace": "admiral-sync", "uid": "u", "resourceVersion": "7",
                     "labels": {"app.kubernetes.io/managed-by": "tradewind", "admiral.io/env": "stage"},
                     "annotations": {"identity": "Pay", "tradewind.io/identity": "pay",
                                     "tradewind.io/environment": "prod", "tradewind.io/policy": "east/team/gtp"}},
        "spec": {"hosts": ["stage.pay.global"], "addresses": ["2001:db8::1", "240.0.0.9"],
                 "location": "MESH_INTERNAL", "resolution": "DNS",
                 "ports": [{"number": 80, "name": "http", "protocol": "http"}],
                 "endpoints": [
                    {"address": "lb.example.", "ports": {"http": 15443}, "locality": "west/tier0-east",
                     "labels": {"type": "statefulset", "tradewind.io/cluster": "east",
                                "tradewind.io/region": "us-east-2"}},
                    {"address": "other", "locality": "us-west-2"}]}
    })
}

#[test]
fn our_entries_remember_service_policy_ports_and_endpoints() {
    let written = written(Kind::ServiceEntry, &entry());
    assert_eq!(written.owner, Owner::Tradewind);
    assert_eq!(written.service, ServiceKey::parse("pay", "prod").ok());
    assert_eq!(written.host.as_deref(), Some("stage.pay.global"));
    assert_eq!(written.address, Some(Ipv4Addr::new(240, 0, 0, 9)));
    let policy = ObjectPath::parse(Kind::GlobalTrafficPolicy, "east/team/gtp").unwrap();
    assert_eq!(written.policies, [policy]);
    assert_eq!(written.ports, [("http".to_owned(), 80, "http".to_owned())]);
    assert_eq!((&*written.uid, &*written.resource_version), ("u", "7"));
    assert_ne!(written.digest, 0);
    let [endpoint] = &written.endpoints[..] else { panic!("{:?}", written.endpoints) };
    assert_eq!(endpoint.cluster_label, "east");
    assert_eq!(endpoint.locality, Some(Locality::region("us-east-2")), "the true locality, not the tier's");
    assert_eq!(endpoint.workload, Some(Kind::StatefulSet));
    assert!(written.content.is_none());
}

#[test]
fn the_references_entries_name_their_service_by_annotation_and_label() {
    let mut object = entry();
    object["metadata"]["labels"] = json!({"admiral.io/env": "stage"});
    object["metadata"]["annotations"] = json!({"identity": "Pay", "app.kubernetes.io/created-by": "admiral"});
    let written = written(Kind::ServiceEntry, &object);
    assert_eq!(written.owner, Owner::Admiral);
    assert_eq!(written.service, ServiceKey::parse("Pay", "stage").ok());
    assert!(written.endpoints.is_empty() && written.ports.is_empty(), "only ours are memory");
}

#[test]
fn specs_that_do_not_parse_get_the_digest_zero() {
    let mut object = entry();
    object["spec"]["ports"][0]["number"] = json!(70_000);
    let written = written(Kind::ServiceEntry, &object);
    assert_eq!((written.digest, written.owner), (0, Owner::Tradewind));
    assert_eq!(written.host.as_deref(), Some("stage.pay.global"), "its host is known all the same");
    assert_eq!(written.address, Some(Ipv4Addr::new(240, 0, 0, 9)));
}

fn route(kind: Kind, value: &Value) -> Route {
    match observe(kind, value) {
        Observed::Route(route) => *route,
        other => panic!("{other:?}"),
    }
}

#[test]
fn routes_of_users_are_kept_whole_only_where_they_can_matter() {
    let object = |host: &str, labels: Value, http: Value| {
        json!({"metadata": {"name": "r", "namespace": "team", "labels": labels, "annotations": {"a": "b"}},
               "spec": {"hosts": [host], "gateways": ["mesh"], "http": http}})
    };
    let one = json!([{"route": [{"destination": {"host": "a"}}]}]);
    let two = json!([{"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}]);
    let whole = [
        object("stage.pay.global", json!({}), one.clone()),
        object("reviews", json!({"tradewind.io/propagate": "true"}), one.clone()),
        object("reviews", json!({}), two),
    ];
    for object in whole {
        let route = route(Kind::VirtualService, &object);
        assert_eq!(*route.spec, object["spec"]);
        assert_eq!(route.annotations["a"], "b");
    }
    // Marks of deployment tools come and go with every turn of theirs, and are no news.
    let marked = object("stage.pay.global", json!({"argocd.argoproj.io/instance": "a"}), one);
    let mut again = marked.clone();
    again["metadata"]["labels"] = json!({});
    again["metadata"]["annotations"]["objectset.rio.cattle.io/applied"] = json!("H4s");
    assert_eq!(route(Kind::VirtualService, &marked), route(Kind::VirtualService, &again));
    let other = json!([{"timeout": "5s", "name": "main", "route": [{"destination": {"host": "a", "subset": "x"}}]},
                       {"redirect": {"uri": "/"}}]);
    let other = route(Kind::VirtualService, &object("reviews", json!({"team": "x"}), other));
    // A Rollout may name it for the weights of its destinations.
    let kept = json!({"gateways": ["mesh"],
                      "http": [{"name": "main", "route": [{"destination": {"host": "a", "subset": "x"}}]}, {}]});
    assert_eq!((&*other.spec, other.hosts), (&kept, vec!["reviews".to_owned()]));
    assert!(other.labels.is_empty() && other.annotations.is_empty());
    let mut of_ports = object("reviews", json!({}), json!([]));
    of_ports["spec"]["tls"] = json!([{"match": [{"port": 443, "sniHosts": ["a.example"], "sourceNamespace": "x"}],
                                      "route": [{"destination": {"host": "a"}, "weight": 7}]}]);
    of_ports["spec"]["tcp"] = json!([{"match": [{"port": 3000}], "route": [{"destination": {"host": "a"}}]}]);
    let kept = json!({"gateways": ["mesh"], "http": [],
                      "tls": [{"match": [{"port": 443, "sniHosts": ["a.example"]}],
                               "route": [{"destination": {"host": "a"}, "weight": 7}]}],
                      "tcp": [{"match": [{"port": 3000}], "route": [{"destination": {"host": "a"}}]}]});
    assert_eq!(*route(Kind::VirtualService, &of_ports).spec, kept);
    let rule = json!({"metadata": {"name": "r", "namespace": "team"}, "spec": {"host": "nobody.example"}});
    assert_eq!(*route(Kind::DestinationRule, &rule).spec, Value::Null);
}

#[test]
fn objects_of_another_installation_are_neither_managed_nor_a_users() {
    let made = json!({"metadata": {"name": "r", "namespace": "other-sync",
                                   "labels": {"app.kubernetes.io/managed-by": "tradewind"}},
                      "spec": {"host": "stage.pay.global"}});
    assert_eq!(route(Kind::DestinationRule, &made).hosts, Vec::<String>::new());
    let mut ours = made;
    ours["metadata"]["namespace"] = json!("admiral-sync");
    assert_eq!(written(Kind::DestinationRule, &ours).owner, Owner::Tradewind);
}

#[test]
fn a_copy_belongs_to_no_service_whatever_its_origin_has() {
    let copy = json!({"metadata": {"name": "r", "namespace": "admiral-sync",
        "labels": {"app.kubernetes.io/managed-by": "tradewind", "admiral.io/env": "stage"},
        "annotations": {"identity": "pay", "tradewind.io/origin": "east/team/r"}},
        "spec": {"hosts": ["stage.pay.global"]}});
    let written = written(Kind::VirtualService, &copy);
    let origin = ObjectPath::parse(Kind::VirtualService, "east/team/r").map(CopyOrigin::Object);
    assert_eq!((written.service, written.origin), (None, origin.ok()));
}

#[test]
fn content_is_kept_on_request() {
    let observer = Observer::new(Arc::new(Settings::default()), true);
    let Ok(Observed::Written(written)) = observer.observe_value(Kind::ServiceEntry, &entry()) else { panic!() };
    assert_eq!(written.content.unwrap().digest(), written.digest);
}

#[test]
fn sidecars_have_selector_hosts_and_managed_hosts() {
    let sidecar = |spec: Value| {
        let annotations = json!({"tradewind.io/egress-hosts": "[\"*/stage.pay.global\"]"});
        let metadata = json!({"name": "default", "namespace": "web", "annotations": annotations});
        written(Kind::Sidecar, &json!({"metadata": metadata, "spec": spec})).sidecar.unwrap()
    };
    let plain = sidecar(json!({"egress": [{"hosts": ["./*", "*/stage.pay.global"]}, {"hosts": ["x/y"]}]}));
    assert!(!plain.has_selector);
    assert_eq!(plain.listeners[0].hosts, ["./*", "*/stage.pay.global"]);
    assert_eq!(plain.ours, ["*/stage.pay.global"]);
    assert!(sidecar(json!({"workloadSelector": {"labels": {"app": "x"}}})).has_selector);
    assert!(sidecar(json!({})).listeners.is_empty());
}

// Invariant: No name from outside becomes part of a path.
#[test]
fn names_that_no_api_server_takes_are_refused_and_shown_as_what_they_are() {
    let object = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}, "spec": {}});
    for (namespace, name, path) in [
        ("shop", "../../etc/passwd", "metadata.name"),
        ("shop", "..", "metadata.name"),
        ("..", "a", "metadata.namespace"),
        ("a/b", "a", "metadata.namespace"),
        ("a.b", "a", "metadata.namespace"),
        ("shop", "a\u{1b}[2J", "metadata.name"),
        ("shop", "A", "metadata.name"),
    ] {
        for kind in Kind::ALL {
            let malformed = observer().observe_value(*kind, &object(namespace, name)).unwrap_err();
            assert_eq!(malformed.path, path, "{kind:?} {namespace:?} {name:?}");
        }
    }
    let long = "x".repeat(100_000);
    let id = identify(Kind::Service, &object("a\n", &format!("\u{1b}[2J{long}")));
    assert_eq!(&*id.namespace, "a ");
    assert!(id.name.starts_with("\\u{1b}[2Jx") && id.name.len() < 300, "{}", id.name);
}
