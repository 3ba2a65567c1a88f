//! Whom the names of a Service and its ports say that they are for: clients of the service, or those who run it.
//!
//! Decides by whole words between dashes; never what follows from it.

use crate::{
    model::Identity,
    plan::input::{Backend, BackendPort},
};

/// Words for those who run a service, in the names of ports (and of the container ports that they lead to) and of Services.
const OPERATORS: [&str; 11] =
    ["actuator", "healthz", "jmx", "livez", "metric", "metrics", "monitoring", "pprof", "prom", "prometheus", "readyz"];
/// Words that say so of a port, and of a Service only perhaps: `invoice-exporter` and `order-status` may well be services.
const DOUBTFUL: [&str; 13] = [
    "admin",
    "debug",
    "exporter",
    "health",
    "healthcheck",
    "liveness",
    "monitor",
    "probe",
    "probes",
    "readiness",
    "stats",
    "status",
    "telemetry",
];
/// Words that say so of a port, and of a Service nothing.
const OF_PORTS: [&str; 2] = ["management", "mgmt"];

/// Whom a Service is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Clients of the service, as far as its names say.
    Clients,
    /// Its name may be that of a Service for operators; its main port says nothing.
    Doubtful,
    /// Those who run the service: a Service for metrics, probes or administration.
    Operators,
}

impl Purpose {
    /// That of a Service whose main port is `main`. What the name of the identity has of these words says nothing.
    pub(crate) fn of(service: &str, main: Option<&BackendPort>, identity: &Identity) -> Self {
        if main.is_some_and(|port| is_for_operators(port, identity)) || has_word(service, &[&OPERATORS], identity) {
            return Self::Operators;
        }
        if has_word(service, &[&DOUBTFUL], identity) { Self::Doubtful } else { Self::Clients }
    }

    /// That of a Service or machine. The name of a machine's object is that of a machine, and says nothing.
    pub(crate) fn of_backend(backend: &Backend, identity: &Identity) -> Self {
        let name = if backend.machine.is_some() { "" } else { &backend.service };
        Self::of(name, backend.ports.first(), identity)
    }
}

/// Whether the name of a port, or of the container port that it leads to, says that it is not for clients.
pub(crate) fn is_for_operators(port: &BackendPort, identity: &Identity) -> bool {
    let mut names = [Some(&port.name), port.target_name.as_ref()].into_iter().flatten();
    names.any(|name| has_word(name, &[&OPERATORS, &DOUBTFUL, &OF_PORTS], identity))
}

fn has_word(name: &str, lists: &[&[&str]], identity: &Identity) -> bool {
    let is_of_identity = |word: &str| {
        let mut parts = identity.as_str().split(|letter: char| !letter.is_ascii_alphanumeric());
        parts.any(|part| part.eq_ignore_ascii_case(word))
    };
    name.split('-').any(|word| lists.iter().any(|list| list.contains(&word)) && !is_of_identity(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, target_name: Option<&str>) -> BackendPort {
        BackendPort {
            number: 80,
            name: name.into(),
            target: 8080,
            target_name: target_name.map(Into::into),
            at_address: 80,
            protocol: "http",
        }
    }

    fn of(service: &str, name: &str, identity: &str) -> Purpose {
        Purpose::of(service, Some(&port(name, None)), &Identity::parse(identity).unwrap())
    }

    #[test]
    fn whole_words_decide_the_purpose() {
        for (service, name) in [
            ("pay-metrics", "http"),
            ("pay", "http-metrics"),
            ("pay", "prom"),
            ("pay", "http-admin"),
            ("pay", "management"),
            ("prometheus-pay", ""),
        ] {
            assert_eq!(of(service, name, "pay"), Purpose::Operators, "{service} {name}");
        }
        for service in ["pay-admin", "order-status", "payments-stats-api", "invoice-exporter", "pay-health"] {
            assert_eq!(of(service, "http", "pay"), Purpose::Doubtful, "{service}");
        }
        for (service, name) in [
            ("pay", "http"),
            ("pay-promotions", "http"),
            ("administration", "http-adminui"),
            ("biometrics", ""),
            ("order-management", "http"),
            ("paymetrics", "web"),
        ] {
            assert_eq!(of(service, name, "pay"), Purpose::Clients, "{service} {name}");
        }
    }

    #[test]
    fn words_of_the_identity_do_not_count() {
        assert_eq!(of("order-status", "http-status", "order-status"), Purpose::Clients);
        assert_eq!(of("Metrics", "http", "team.metrics"), Purpose::Clients);
        assert_eq!(of("metrics-prom", "http", "team.metrics"), Purpose::Operators);
        assert_eq!(of("admin", "http-admin", "Admin"), Purpose::Clients);
    }

    #[test]
    fn the_name_of_the_container_port_counts() {
        let identity = Identity::parse("pay").unwrap();
        assert!(is_for_operators(&port("http", Some("metrics")), &identity));
        assert!(!is_for_operators(&port("http", Some("web")), &identity));
    }
}
