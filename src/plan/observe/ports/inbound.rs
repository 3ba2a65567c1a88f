//! Which ports of a pod its sidecar captures, and which container port a Service port leads to.
//!
//! Decides by the pod template alone. Defaults of the whole mesh (`global.proxy.includeInboundPorts`) are not known here.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ServicePort, TargetPort, Workload};

/// Annotation with the ports that the sidecar captures: `*`, or numbers.
const INCLUDE: &str = "traffic.sidecar.istio.io/includeInboundPorts";
/// Annotation with the ports that it does not capture.
const EXCLUDE: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
/// Annotation with the number of the sidecar's status port, which is never captured.
const STATUS_PORT: &str = "status.sidecar.istio.io/port";
/// Annotation with the way in which the sidecar captures: `REDIRECT`, `TPROXY`, or `NONE` for not at all.
const MODE: &str = "sidecar.istio.io/interceptionMode";
/// The mode in which it captures nothing: a proxy then has no inbound listeners by the Services of its pod (Istio,
/// `pilot/pkg/networking/core/v1alpha3/listener.go`, `buildSidecarInboundListeners`).
const NO_CAPTURE: &str = "NONE";
/// Ports of the sidecar itself, which are never captured (Istio, `cni/pkg/plugin/sidecar_redirect.go`, `NewRedirect`).
const OWN_PORTS: [u16; 3] = [15020, 15021, 15090];
/// The one named container port that injection adds (Istio, `files/injection-template.yaml`).
const INJECTED: (&str, u16) = ("http-envoy-prom", 15090);

/// What the pod template of a workload says about inbound ports.
#[derive(Debug)]
pub(crate) struct Inbound<'a> {
    include: Include,
    /// Counts only where all ports are captured (Istio, `tools/istio-iptables/pkg/capture/run.go`,
    /// `handleInboundPortsInclude`).
    exclude: BTreeSet<u16>,
    /// The numbers in `includeInboundPorts`, in their order: the first one picks the main port.
    hints: Vec<u16>,
    named: Option<&'a BTreeMap<String, u16>>,
    /// The annotations in force, as they are written.
    texts: Vec<String>,
    /// What is wrong with the annotations, in words.
    pub(crate) problems: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Include {
    All,
    Listed(BTreeSet<u16>),
    /// Nobody says; ports count as captured.
    Unknown,
}

/// Where a Service port leads in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PodTarget {
    /// This container port.
    Known(u16),
    /// A named container port, and the containers are not known.
    Unknown,
    /// A named container port that no container has: Kubernetes gives the Service no endpoint for it.
    Missing,
}

impl<'a> Inbound<'a> {
    pub(crate) fn of(workload: &'a Workload) -> Self {
        let annotation = |key: &str| workload.template_annotations.get(key).map(String::as_str);
        if workload.machines.is_some() {
            return Self::of_machine(annotation(INCLUDE));
        }
        if annotation(MODE) == Some(NO_CAPTURE) {
            return Self {
                include: Include::Listed(BTreeSet::new()),
                exclude: BTreeSet::from(OWN_PORTS),
                hints: Vec::new(),
                named: workload.named_ports.as_ref(),
                texts: vec![format!("interceptionMode {NO_CAPTURE:?}")],
                problems: Vec::new(),
            };
        }
        let (mut texts, mut problems) = (Vec::new(), Vec::new());
        let mut read = |key: &str, text: &str, otherwise: &str| {
            let name = key.rsplit('/').next().unwrap_or(key);
            texts.push(format!("{name} {text:?}"));
            let (numbers, wrong) = port_numbers(text);
            if let Some(wrong) = &wrong {
                problems.push(format!("{name} {text:?} has {wrong:?}, which is no port number; {otherwise}"));
            }
            (numbers, wrong.is_none())
        };
        let (mut include, mut hints) = (Include::All, Vec::new());
        if let Some(text) = annotation(INCLUDE).filter(|text| *text != "*") {
            let (numbers, is_valid) = read(INCLUDE, text, "no port is taken for one that is not captured");
            // Istio refuses new pods with an invalid list. Those that run may have had any other.
            if is_valid {
                include = Include::Listed(numbers.iter().copied().collect());
            }
            hints = numbers;
        }
        let mut exclude = BTreeSet::from(OWN_PORTS);
        if let Some(text) = annotation(EXCLUDE).filter(|_| include == Include::All) {
            exclude.extend(read(EXCLUDE, text, "its other entries count").0);
        }
        if let Some(text) = annotation(STATUS_PORT) {
            exclude.extend(port_number(text));
        }
        Self { include, exclude, hints, named: workload.named_ports.as_ref(), texts, problems }
    }

    /// A machine redirects by its own set-up; the annotation of its object only picks the main port.
    fn of_machine(include: Option<&str>) -> Self {
        Self {
            include: Include::Unknown,
            exclude: BTreeSet::new(),
            hints: include.map(|text| port_numbers(text).0).unwrap_or_default(),
            named: None,
            texts: include.map(|text| format!("includeInboundPorts {text:?}")).into_iter().collect(),
            problems: Vec::new(),
        }
    }

    /// What picks the main port: numbers of container ports, the first that is found.
    pub(super) fn hints(&self) -> &[u16] {
        &self.hints
    }

    /// Whether the main port is one of [`Inbound::hints`], or none is.
    pub(super) fn picks_main_port(&self) -> bool {
        matches!(self.include, Include::Listed(_) | Include::Unknown) && !self.hints.is_empty()
    }

    /// What decides which ports are captured, in words.
    pub(super) fn rule(&self) -> String {
        if self.texts.is_empty() { "Istio's own rules".to_owned() } else { self.texts.join(" and ") }
    }

    /// Where a Service port leads (Kubernetes, `pkg/api/v1/pod/util.go`, `FindPort`).
    pub(super) fn target(&self, port: &ServicePort) -> PodTarget {
        let name = match &port.target {
            TargetPort::Number(number) => return PodTarget::Known(*number),
            TargetPort::Name(name) => name,
        };
        let in_template = self.named.and_then(|named| named.get(name)).copied();
        let known = in_template.or_else(|| port_number(name)).or_else(|| (name == INJECTED.0).then_some(INJECTED.1));
        match known {
            Some(number) => PodTarget::Known(number),
            None if self.named.is_none() => PodTarget::Unknown,
            None => PodTarget::Missing,
        }
    }

    /// Number of the container port that a Service port leads to, or its own where that is not known.
    pub(super) fn target_number(&self, port: &ServicePort) -> u16 {
        match self.target(port) {
            PodTarget::Known(number) => number,
            PodTarget::Unknown | PodTarget::Missing => port.number,
        }
    }

    /// Whether the sidecar captures what comes in by a Service port. What it does not capture gets no mutual TLS.
    pub(super) fn captures(&self, port: &ServicePort) -> bool {
        match (&self.include, self.target(port)) {
            (Include::Listed(numbers), PodTarget::Unknown) => !numbers.is_empty(),
            (Include::Listed(numbers), _) => {
                let number = self.target_number(port);
                numbers.contains(&number) && !OWN_PORTS.contains(&number)
            }
            (Include::All, PodTarget::Known(number)) => !self.exclude.contains(&number),
            (Include::Unknown, _) | (Include::All, PodTarget::Unknown | PodTarget::Missing) => true,
        }
    }
}

/// The port numbers in a list, and the first entry that is none. An empty text is an empty list (Istio,
/// `pkg/kube/inject/validate.go`, `parsePorts`).
fn port_numbers(text: &str) -> (Vec<u16>, Option<String>) {
    if text.trim().is_empty() {
        return (Vec::new(), None);
    }
    let wrong = text.split(',').find(|entry| port_number(entry).is_none()).map(|entry| entry.trim().to_owned());
    (text.split(',').filter_map(port_number).collect(), wrong)
}

/// A number as Istio reads one: digits, with spaces around them.
pub(super) fn port_number(text: &str) -> Option<u16> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
