//! Which ports of a Service are published, and as what (Admiral, docs/admiral-behaviour.md#ports, without its limits).

mod inbound;

pub(crate) use inbound::Inbound;
use inbound::{PodTarget, port_number};

use crate::{
    model::{Addressing, LocalService, NoteKind, ServicePort, TargetPort},
    plan::input::BackendPort,
};

/// Protocols by their name in lower case, as Istio parses it (Istio, `pkg/config/protocol/instance.go`, `Parse`).
/// `http_proxy` differs from `http` in egress listeners alone. Of `udp` Istio makes no listener, and a TCP port of that name
/// gets through as one without a protocol.
const PROTOCOLS: &[(&str, &str)] = &[
    ("grpc", "grpc"),
    ("http", "http"),
    ("http_proxy", "http"),
    ("http2", "http2"),
    ("https", "https"),
    ("mongo", "mongo"),
    ("mysql", "mysql"),
    ("redis", "redis"),
    ("tcp", "tcp"),
    ("tls", "tls"),
    ("udp", "tcp"),
];

/// Values of `appProtocol` that Kubernetes defines (Kubernetes documentation, "Application protocol").
const OF_KUBERNETES: &[(&str, &str)] =
    &[("kubernetes.io/h2c", "http2"), ("kubernetes.io/ws", "http"), ("kubernetes.io/wss", "https")];

const GRPC_WEB: &str = "grpc-web";

/// Numbers of Service ports that are TCP where nothing else names a protocol: SMTP, DNS, MySQL, MongoDB (Istio,
/// `pkg/config/kube/conversion.go`, `wellKnownPorts`).
const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];

/// Protocol of the main port where nothing names one, as in Admiral.
const MAIN_PROTOCOL: &str = "http";
/// Protocol of any further port where nothing names one, as in Istio.
const FURTHER_PROTOCOL: &str = "tcp";

/// The protocol of a port by its `appProtocol`, else by its name (Istio, `pkg/config/kube/conversion.go`,
/// `ConvertProtocol`). Of a protocol that Istio does not know it finds out by itself what it is, which is TCP for clients.
fn named_protocol(port: &ServicePort) -> Option<&'static str> {
    let app_protocol = port.app_protocol.as_deref().filter(|protocol| !protocol.is_empty());
    let find = |table: &[(&str, &'static str)], text: &str| {
        table.iter().find(|(name, _)| *name == text).map(|(_, protocol)| *protocol)
    };
    if let Some(protocol) = app_protocol.and_then(|protocol| find(OF_KUBERNETES, protocol)) {
        return Some(protocol);
    }
    let name = app_protocol.unwrap_or(&port.name).to_ascii_lowercase();
    if name.starts_with(GRPC_WEB) {
        return Some(GRPC_WEB);
    }
    let first = name.split('-').next().unwrap_or_default();
    let is_tcp = app_protocol.is_some() || WELL_KNOWN_TCP.contains(&port.number);
    find(PROTOCOLS, first).or_else(|| is_tcp.then_some("tcp"))
}

/// Why a Service or machine is published under no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortsError {
    /// The Service is published for no workload.
    #[error("{0}")]
    Service(&'static str),
    #[error("has no port that the sidecar of the workload captures by {rule}: {ports}")]
    Uncaptured { rule: String, ports: String },
    #[error("cannot be matched: includeInboundPorts {hint:?} of the workload has no port number")]
    NoNumber { hint: String },
    #[error("has no port that leads to {wanted}, the first of includeInboundPorts {hint:?} of the workload")]
    NoPort { wanted: u16, hint: String },
}

/// A Service as it is published for a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// Its ports, the main port first.
    pub(crate) ports: Vec<BackendPort>,
    /// Position in `includeInboundPorts` of the number that picked the main port; 0 where there is none.
    pub(crate) hint: usize,
    /// Whether Kubernetes is seen to have no endpoint for its main port.
    pub(crate) leads_nowhere: bool,
    /// What of it is not published, or does not work as it says, in words.
    pub(crate) questions: Vec<(NoteKind, String)>,
}

/// Why a Service cannot be published for any workload, in words.
pub(crate) fn unusable(service: &LocalService) -> Option<&'static str> {
    match () {
        () if service.external_name => Some("is of type ExternalName and has no pods of its own"),
        () if service.selector.is_empty() => Some("has no selector"),
        () if service.ports.is_empty() => Some("has no TCP port"),
        () => None,
    }
}

/// The ports of a Service for a workload. Those that its sidecar does not capture are left out: clients call them with
/// mutual TLS, and nobody behind them ends it.
///
/// # Errors
/// Why the Service cannot be published.
pub(crate) fn published(service: &LocalService, inbound: &Inbound<'_>) -> Result<Published, PortsError> {
    if let Some(reason) = unusable(service) {
        return Err(PortsError::Service(reason));
    }
    let (captured, others): (Vec<_>, Vec<_>) = service.ports.iter().partition(|port| inbound.captures(port));
    let with_target = |number: u16| captured.iter().position(|port| inbound.target_number(port) == number);
    let picked = inbound.hints().iter().enumerate().find_map(|(hint, number)| Some((hint, with_target(*number)?)));
    let (hint, main) = match picked {
        Some(picked) => picked,
        None if inbound.picks_main_port() || captured.is_empty() => {
            let ports = joined(service.ports.iter().map(|port| leads(port, inbound)));
            return Err(PortsError::Uncaptured { rule: inbound.rule().to_string(), ports });
        }
        None => (0, 0),
    };
    let mut questions = Vec::new();
    if !others.is_empty() {
        let ports = joined(others.iter().map(|port| leads(port, inbound)));
        let are = if others.len() == 1 { "it is" } else { "they are" };
        let message = format!(
            "{ports}, which the sidecar of the workload does not capture by {}; {are} not published",
            inbound.rule()
        );
        questions.push((NoteKind::PortUncaptured, message));
    }
    let headless = service.addressing.headless;
    let of_target = captured.iter().filter_map(|port| match (inbound.target(port), headless) {
        (PodTarget::Known(_), _) | (PodTarget::Unknown, false) => None,
        (PodTarget::Missing, false) => Some(format!("{}; Kubernetes has no endpoint for it", leads(port, inbound))),
        (PodTarget::Missing | PodTarget::Unknown, true) => {
            Some(format!("{}; pods are called at {}, as it is headless", leads(port, inbound), port.number))
        }
    });
    let questionable = of_target.chain(addressing_questions(service));
    questions.extend(questionable.map(|message| (NoteKind::ServiceQuestionable, message)));
    let ports = in_order(&captured, main, headless, |port| inbound.target_number(port))
        .into_iter()
        .map(|(_, port)| port)
        .collect();
    let leads_nowhere = !headless && inbound.target(captured[main]) == PodTarget::Missing;
    Ok(Published { ports, hint, leads_nowhere, questions })
}

/// What of the name of a Service does not work for every client, in words.
fn addressing_questions(service: &LocalService) -> impl Iterator<Item = String> {
    let Addressing { node_local, not_ready, .. } = service.addressing;
    let local = "has internalTrafficPolicy Local: requests from nodes that run none of its pods are dropped";
    let all = "has publishNotReadyAddresses: requests go to pods that are not ready, too";
    [(node_local, local), (not_ready, all)]
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, message)| message.to_owned())
}

/// Where a port leads, in words.
fn leads(port: &ServicePort, inbound: &Inbound<'_>) -> String {
    let number = port.number;
    match (inbound.target(port), &port.target) {
        (PodTarget::Missing, TargetPort::Name(name)) => {
            format!("port {number} leads to {name:?}, which is the name of no container port of the workload")
        }
        (PodTarget::Known(target), TargetPort::Name(name)) => format!("port {number} leads to {target} ({name})"),
        (PodTarget::Known(target), TargetPort::Number(_)) => format!("port {number} leads to {target}"),
        (_, TargetPort::Name(name)) => {
            format!("port {number} leads to {name:?}, and the containers of the workload are not known")
        }
        (_, TargetPort::Number(target)) => format!("port {number} leads to {target}"),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" and ")
}

/// Ports of machines as they are published, each with its index; the main port first. `hint` is the annotation
/// `traffic.sidecar.istio.io/includeInboundPorts` of their object: the first number in it picks the main port.
///
/// # Errors
/// Why there is no main port.
pub(crate) fn main_first(ports: &[ServicePort], hint: Option<&str>) -> Result<Vec<(usize, BackendPort)>, PortsError> {
    let main = match hint {
        None | Some("*") => 0,
        Some(hint) => {
            let no_number = || PortsError::NoNumber { hint: hint.to_owned() };
            let wanted = hint.split(',').find_map(port_number).ok_or_else(no_number)?;
            let no_port = || PortsError::NoPort { wanted, hint: hint.to_owned() };
            ports.iter().position(|port| target_of_machine(port) == wanted).ok_or_else(no_port)?
        }
    };
    Ok(in_order(&ports.iter().collect::<Vec<_>>(), main, false, target_of_machine))
}

fn target_of_machine(port: &ServicePort) -> u16 {
    match port.target {
        TargetPort::Number(number) => number,
        TargetPort::Name(_) => port.number,
    }
}

/// Ports as they are published, each with its index; the main port first. DNS answers the name of a headless Service with the
/// addresses of pods, and nobody translates the number on the way there.
fn in_order(
    ports: &[&ServicePort],
    main: usize,
    headless: bool,
    target: impl Fn(&ServicePort) -> u16,
) -> Vec<(usize, BackendPort)> {
    let as_backend = |port: &ServicePort, default| BackendPort {
        number: port.number,
        name: port.name.as_str().into(),
        target: target(port),
        target_name: match &port.target {
            TargetPort::Name(name) => Some(name.as_str().into()),
            TargetPort::Number(_) => None,
        },
        at_address: if headless { target(port) } else { port.number },
        protocol: named_protocol(port).unwrap_or(default),
    };
    let further = ports.iter().enumerate().filter(|(index, _)| *index != main);
    let further = further.map(|(index, port)| (index, as_backend(port, FURTHER_PROTOCOL)));
    [(main, as_backend(ports[main], MAIN_PROTOCOL))].into_iter().chain(further).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Addressing, Kind, ObjectId, Workload};

    fn port(name: &str, number: u16, target: u16) -> ServicePort {
        ServicePort { name: name.into(), number, target: TargetPort::Number(target), app_protocol: None }
    }

    fn to_name(number: u16, target: &str) -> ServicePort {
        ServicePort { target: TargetPort::Name(target.into()), ..port("http", number, number) }
    }

    fn service(ports: Vec<ServicePort>) -> LocalService {
        LocalService {
            id: ObjectId::new(Kind::Service, "a", "a"),
            created_seconds: 0,
            ignored: false,
            selector: [("app".to_owned(), "a".to_owned())].into(),
            external_name: false,
            addressing: Addressing::default(),
            ports,
            gateway: None,
        }
    }

    /// A workload with annotations of that last part, and with named container ports, where its containers are known.
    fn workload(annotations: &[(&str, &str)], named: Option<&[(&str, u16)]>) -> Workload {
        let annotations = annotations.iter().map(|(key, value)| match *key {
            "status" => ("status.sidecar.istio.io/port".to_owned(), (*value).to_owned()),
            key => (format!("traffic.sidecar.istio.io/{key}InboundPorts"), (*value).to_owned()),
        });
        Workload {
            template_annotations: annotations.collect(),
            named_ports: named.map(|named| named.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()),
            ..Workload::new(ObjectId::new(Kind::Deployment, "a", "a"))
        }
    }

    /// The numbers of the published ports; or why there are none.
    fn numbers(
        ports: &[ServicePort],
        annotations: &[(&str, &str)],
        named: &[(&str, u16)],
    ) -> Result<Vec<u16>, PortsError> {
        let workload = workload(annotations, Some(named));
        let published = published(&service(ports.to_vec()), &Inbound::of(&workload))?;
        Ok(published.ports.iter().map(|port| port.number).collect())
    }

    fn protocols(ports: Vec<ServicePort>) -> Vec<(u16, &'static str)> {
        let workload = workload(&[], None);
        let published = published(&service(ports), &Inbound::of(&workload)).unwrap();
        published.ports.iter().map(|p| (p.number, p.protocol)).collect()
    }

    #[test]
    fn protocol_is_the_app_protocol_or_else_the_name_or_else_http_for_the_main_port() {
        let app =
            |protocol: &str, name: &str| ServicePort { app_protocol: Some(protocol.into()), ..port(name, 81, 81) };
        let of = |port| protocols(vec![port])[0].1;
        for (app_protocol, protocol) in [
            ("kubernetes.io/h2c", "http2"),
            ("kubernetes.io/ws", "http"),
            ("kubernetes.io/wss", "https"),
            ("grpc", "grpc"),
            ("GRPC-Web", "grpc-web"),
            ("HTTP2", "http2"),
            ("https", "https"),
            ("http_proxy", "http"),
            ("tls", "tls"),
            ("Mongo", "mongo"),
            ("redis", "redis"),
            ("mysql", "mysql"),
            ("tcp", "tcp"),
            ("udp", "tcp"),
            ("http-alt", "http"),
            // Istio knows none of these, and asks the name for none.
            ("example.com/http", "tcp"),
            ("kubernetes.io/H2C", "tcp"),
            ("hbone", "tcp"),
            ("kafka", "tcp"),
            ("", "grpc"),
        ] {
            assert_eq!(of(app(app_protocol, "grpc-x")), protocol, "{app_protocol}");
        }
        for (name, protocol) in [
            ("tcp-x", "tcp"),
            ("httpx", "http"),
            ("Http2-x", "http2"),
            ("https", "https"),
            ("grpc-web-x", "grpc-web"),
            ("grpc-webx", "grpc-web"),
            ("grpcweb", "http"),
            ("", "http"),
        ] {
            assert_eq!(of(port(name, 81, 81)), protocol, "{name}");
        }
        assert_eq!(protocols(vec![port("", 80, 80), port("httpx", 81, 81)]), [(80, "http"), (81, "tcp")]);
    }

    #[test]
    fn a_well_known_number_is_tcp_where_nothing_names_a_protocol() {
        let of = |name: &str, number: u16| protocols(vec![port(name, number, 8080)])[0].1;
        for number in [25, 53, 3306, 27017] {
            assert_eq!((of("", number), of("db", number), of("http-x", number)), ("tcp", "tcp", "http"), "{number}");
        }
        assert_eq!(of("", 5432), "http");
        assert_eq!(protocols(vec![port("", 80, 3306)]), [(80, "http")], "the number is that of the Service");
    }

    #[test]
    fn a_headless_service_is_called_at_the_ports_of_its_pods() {
        let mut headless = service(vec![port("http", 80, 8080), to_name(81, "web"), to_name(82, "none")]);
        headless.addressing.headless = true;
        let at = |named: Option<&[(&str, u16)]>| {
            let workload = workload(&[], named);
            let published = published(&headless, &Inbound::of(&workload)).unwrap();
            let ports: Vec<_> = published.ports.iter().map(|port| (port.number, port.at_address)).collect();
            (ports, published.questions.len())
        };
        assert_eq!(at(Some(&[("web", 9090)])), (vec![(80, 8080), (81, 9090), (82, 82)], 1));
        assert_eq!(at(None), (vec![(80, 8080), (81, 81), (82, 82)], 2));
        headless.addressing.headless = false;
        let workload = workload(&[], Some(&[("web", 9090)]));
        let published = published(&headless, &Inbound::of(&workload)).unwrap();
        assert!(published.ports.iter().all(|port| port.at_address == port.number));
    }

    #[test]
    fn only_captured_ports_are_published_and_the_first_number_that_fits_picks_the_main_one() {
        let two = [port("tcp-admin", 9000, 9000), port("http", 8080, 8090)];
        let of = |annotations: &[(&str, &str)]| numbers(&two, annotations, &[]);
        assert_eq!(of(&[]), Ok(vec![9000, 8080]));
        assert_eq!(of(&[("include", "*")]), Ok(vec![9000, 8080]));
        assert_eq!(of(&[("include", "8090")]), Ok(vec![8080]));
        assert_eq!(of(&[("include", " 8090 , 9000 ")]), Ok(vec![8080, 9000]));
        assert_eq!(of(&[("include", "7, 9000")]), Ok(vec![9000]));
        assert!(
            of(&[("include", "7")])
                .unwrap_err()
                .to_string()
                .contains("port 9000 leads to 9000 and port 8080 leads to 8090")
        );
        assert!(of(&[("include", "")]).is_err(), "nothing is captured");
        assert_eq!(of(&[("exclude", "9000")]), Ok(vec![8080]));
        assert_eq!(of(&[("exclude", "")]), Ok(vec![9000, 8080]));
        assert_eq!(of(&[("exclude", "9000"), ("include", "*")]), Ok(vec![8080]));
        assert!(of(&[("exclude", "8090,9000")]).is_err());
        // Istio reads what is excluded only where all is included.
        assert_eq!(of(&[("exclude", "9000"), ("include", "9000,8090")]), Ok(vec![9000, 8080]));
    }

    #[test]
    fn ports_of_the_sidecar_are_never_captured() {
        let own = [port("http-status", 15021, 15021), port("http", 80, 8080), to_name(15090, "http-envoy-prom")];
        assert_eq!(numbers(&own, &[], &[]), Ok(vec![80]));
        assert_eq!(numbers(&own, &[("include", "15021,8080,15090")], &[]), Ok(vec![80]));
        assert_eq!(
            numbers(&[port("http", 80, 8080), port("http", 81, 8081)], &[("status", "8081")], &[]),
            Ok(vec![80])
        );
    }

    #[test]
    fn of_a_machine_the_list_only_picks_the_main_port() {
        let two = service(vec![port("tcp-admin", 9000, 9000), port("http", 8080, 8090)]);
        let of = |text: &str| {
            let mut machine = workload(&[("include", text), ("exclude", "9000")], None);
            machine.machines = Some(Box::default());
            published(&two, &Inbound::of(&machine)).map(|found| (found.ports.len(), found.ports[0].number))
        };
        assert_eq!(of("8090"), Ok((2, 8080)));
        assert_eq!(of("*"), Ok((2, 9000)));
        assert!(of("7").is_err());
    }

    #[test]
    fn an_annotation_that_istio_refuses_limits_nothing() {
        let two = [port("http", 80, 8080), port("http-b", 81, 8081)];
        for wrong in ["80a", "70000", "8080-8090", "8081,", ",", "+8080", "8080;8081", "* "] {
            let of = workload(&[("include", wrong)], Some(&[]));
            let inbound = Inbound::of(&of);
            assert_eq!(inbound.problems.len(), 1, "{wrong}");
            let found = published(&service(two.to_vec()), &inbound).unwrap();
            let main = if wrong == "8081," { 81 } else { 80 };
            assert_eq!((found.ports.len(), found.ports[0].number), (2, main), "{wrong}");
        }
        let of = workload(&[("exclude", "*,8081")], Some(&[]));
        let inbound = Inbound::of(&of);
        assert_eq!(inbound.problems.len(), 1);
        assert_eq!(published(&service(two.to_vec()), &inbound).unwrap().ports.len(), 1);
        assert!(Inbound::of(&workload(&[("include", " 1, 2 "), ("exclude", "x")], None)).problems.is_empty());
    }

    #[test]
    fn a_named_target_is_the_container_port_of_that_name() {
        // The number of the further port is the container port that the main one leads to.
        let two = [to_name(80, "web"), port("http-x", 8080, 9090)];
        let named = [("web", 8080)];
        assert_eq!(numbers(&two, &[("include", "8080")], &named), Ok(vec![80]));
        assert_eq!(numbers(&two, &[("include", "9090,8080")], &named), Ok(vec![8080, 80]));
        assert_eq!(numbers(&two, &[("exclude", "8080")], &named), Ok(vec![8080]));
        assert_eq!(numbers(&[to_name(80, "8080")], &[("include", "8080")], &named), Ok(vec![80]));
    }

    #[test]
    fn a_target_port_that_no_container_has_gets_a_note_unless_containers_are_unknown() {
        let of = |named: Option<&[(&str, u16)]>, annotations: &[(&str, &str)]| {
            let workload = workload(annotations, named);
            let published = published(&service(vec![to_name(80, "web"), port("x", 81, 81)]), &Inbound::of(&workload));
            published.map(|published| (published.ports.len(), published.questions))
        };
        let (ports, questions) = of(Some(&[]), &[]).unwrap();
        assert_eq!((ports, questions.len()), (2, 1));
        assert!(questions[0].1.contains("leads to \"web\", which is the name of no container port of the workload"));
        assert_eq!(of(None, &[]), Ok((2, Vec::new())));
        assert_eq!(of(None, &[("include", "80")]).unwrap().0, 1);
        assert!(of(Some(&[]), &[("include", "8080")]).unwrap_err().to_string().contains("\"web\""));
    }

    #[test]
    fn unusable_services_have_a_reason() {
        assert!(unusable(&service(vec![])).unwrap().contains("no TCP port"));
        let mut headless = service(vec![port("http", 80, 80)]);
        assert_eq!(unusable(&headless), None);
        headless.selector.clear();
        assert!(unusable(&headless).unwrap().contains("no selector"));
        headless.external_name = true;
        assert!(unusable(&headless).unwrap().contains("ExternalName"));
    }
}
