//! Which ports of a Service are published, and as what (reference behaviour §5, repaired).

use crate::model::{LocalService, ServicePort, TargetPort};

use super::snapshot::BackendPort;

/// Protocols by the first part of a port's name or by `appProtocol`, longest first
/// (Istio documentation, "Protocol selection").
const PROTOCOLS: &[(&str, &str)] = &[
    ("grpc-web", "grpc-web"),
    ("grpc", "grpc"),
    ("http2", "http2"),
    ("https", "https"),
    ("http", "http"),
    ("mongo", "mongo"),
    ("mysql", "mysql"),
    ("redis", "redis"),
    ("tcp", "tcp"),
    ("tls", "tls"),
];

/// Protocol of the main port where nothing names one, as in the reference.
const MAIN_PROTOCOL: &str = "http";
/// Protocol of any further port where nothing names one, as in Istio.
const FURTHER_PROTOCOL: &str = "tcp";

fn named_protocol(port: &ServicePort) -> Option<&'static str> {
    let of = |text: &str| {
        let text = text.to_ascii_lowercase();
        PROTOCOLS
            .iter()
            .find(|(prefix, _)| text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
            .map(|(_, protocol)| *protocol)
    };
    match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => Some("http2"),
        Some("kubernetes.io/ws" | "kubernetes.io/wss") => Some("http"),
        Some(app_protocol) => of(app_protocol).or_else(|| of(&port.name)),
        None => of(&port.name),
    }
}

/// The ports of a Service for a workload, the main port first.
///
/// `hint` is the workload's `traffic.sidecar.istio.io/includeInboundPorts`: the first number in it picks the
/// port whose target it is.
///
/// # Errors
/// Says in words why the Service cannot be published.
pub(super) fn published(service: &LocalService, hint: Option<&str>) -> Result<Vec<BackendPort>, String> {
    if service.external_name {
        return Err("is of type ExternalName and has no pods of its own".into());
    }
    if service.selector.is_empty() {
        return Err("has no selector".into());
    }
    if service.ports.is_empty() {
        return Err("has no TCP port".into());
    }
    Ok(main_first(&service.ports, hint)?.into_iter().map(|(_, port)| port).collect())
}

/// Ports as they are published, each with its index; the main port first.
///
/// # Errors
/// Says in words why there is no main port.
pub(super) fn main_first(ports: &[ServicePort], hint: Option<&str>) -> Result<Vec<(usize, BackendPort)>, String> {
    let main = match hint {
        None => 0,
        Some(hint) => {
            let wanted = hint.split(',').find_map(|entry| entry.trim().parse::<u16>().ok()).ok_or_else(|| {
                format!("cannot be matched: includeInboundPorts {hint:?} of the workload has no port number")
            })?;
            ports.iter().position(|port| target_number(port) == wanted).ok_or_else(|| {
                format!("has no port that leads to {wanted}, the first of includeInboundPorts {hint:?} of the workload")
            })?
        }
    };
    let as_backend = |port: &ServicePort, default| BackendPort {
        number: port.number,
        name: port.name.as_str().into(),
        target: target_number(port),
        protocol: named_protocol(port).unwrap_or(default),
    };
    let further = ports.iter().enumerate().filter(|(index, _)| *index != main);
    let further = further.map(|(index, port)| (index, as_backend(port, FURTHER_PROTOCOL)));
    Ok([(main, as_backend(&ports[main], MAIN_PROTOCOL))].into_iter().chain(further).collect())
}

fn target_number(port: &ServicePort) -> u16 {
    match &port.target {
        TargetPort::Number(number) => *number,
        TargetPort::Name(name) => name.parse().unwrap_or(port.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ObjectId};

    fn port(name: &str, number: u16, target: u16) -> ServicePort {
        ServicePort { name: name.into(), number, target: TargetPort::Number(target), app_protocol: None }
    }

    fn service(ports: Vec<ServicePort>) -> LocalService {
        LocalService {
            id: ObjectId::new(Kind::Service, "a", "a"),
            created_seconds: 0,
            ignored: false,
            selector: [("app".to_owned(), "a".to_owned())].into(),
            external_name: false,
            ports,
            gateway: None,
        }
    }

    fn protocols(ports: Vec<ServicePort>) -> Vec<(u16, &'static str)> {
        published(&service(ports), None).unwrap().iter().map(|p| (p.number, p.protocol)).collect()
    }

    #[test]
    fn protocol_is_the_app_protocol_then_the_name_then_http_for_the_main_port() {
        let app = ServicePort { app_protocol: Some("grpc".into()), ..port("http-web", 80, 80) };
        let h2c = ServicePort { app_protocol: Some("kubernetes.io/h2c".into()), ..port("", 81, 81) };
        let unknown = ServicePort { app_protocol: Some("example.com/x".into()), ..port("grpc-web-x", 82, 82) };
        assert_eq!(protocols(vec![app, h2c, unknown]), [(80, "grpc"), (81, "http2"), (82, "grpc-web")]);
        assert_eq!(protocols(vec![port("", 80, 80), port("", 81, 81)]), [(80, "http"), (81, "tcp")]);
        assert_eq!(protocols(vec![port("tcp-x", 80, 80), port("httpx", 81, 81)]), [(80, "tcp"), (81, "tcp")]);
        assert_eq!(protocols(vec![port("http2", 80, 80), port("https", 443, 443)]), [(80, "http2"), (443, "https")]);
    }

    #[test]
    fn the_hint_picks_the_main_port_by_its_target() {
        let two = service(vec![port("tcp-admin", 9000, 9000), port("http", 8080, 8090)]);
        let main = |hint| published(&two, Some(hint)).map(|ports| ports[0].number);
        assert_eq!(main("8090"), Ok(8080));
        assert_eq!(main("x, 8090,9000"), Ok(8080));
        assert!(main("7").unwrap_err().contains("no port that leads to 7"));
        assert!(main("*").unwrap_err().contains("no port number"));
    }

    #[test]
    fn unusable_services_say_why() {
        assert!(published(&service(vec![]), None).unwrap_err().contains("no TCP port"));
        let mut headless = service(vec![port("http", 80, 80)]);
        headless.selector.clear();
        assert!(published(&headless, None).unwrap_err().contains("no selector"));
        headless.external_name = true;
        assert!(published(&headless, None).unwrap_err().contains("ExternalName"));
    }
}
