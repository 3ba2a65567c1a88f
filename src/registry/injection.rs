//! Which workloads have a sidecar: those whose pods Istio injects (the webhook's selectors in
//! `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`, then `injectRequired` in
//! `pkg/kube/inject/inject.go`).
//!
//! Decides from the marks of a pod template and of its namespace alone; never what follows for a service. Which revisions are
//! installed is not known: one that is named counts as installed.

use crate::{
    config::{Settings, SidecarInjection},
    istio::keys,
    model::{Kind, Labels, Namespace, NoteKind, Workload},
};

/// Namespaces whose pods Istio never injects (Istio, `pkg/kube/inject`, `IgnoredNamespaces`).
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
/// Value of `istio.io/dataplane-mode` by which ztunnel takes the traffic of pods without a sidecar.
const AMBIENT: &str = "ambient";

/// What `sidecar.istio.io/inject` says, on pods as a label or an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// There is none.
    Absent,
    /// It is empty, so the namespace decides.
    Empty,
    /// A sidecar is wanted. The webhook's own selector for pods takes `true` alone.
    On { is_true: bool },
    /// No sidecar: `false`, or a value that Istio does not know.
    Off { is_false: bool },
}

impl Switch {
    fn read(marks: &Labels) -> Self {
        let Some(value) = marks.get(keys::INJECT) else { return Self::Absent };
        match value.to_ascii_lowercase().as_str() {
            "" => Self::Empty,
            "y" | "yes" | "true" | "on" => Self::On { is_true: value == "true" },
            _ => Self::Off { is_false: value.eq_ignore_ascii_case("false") },
        }
    }
}

/// What a pod template says about its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PodMarks {
    label: Switch,
    annotation: Switch,
    /// Whether the annotation `deploymentAnnotation` is `true`.
    habit: bool,
    /// Whether the label `istio.io/rev` names a revision.
    has_revision: bool,
    host_network: bool,
    /// Whether the sidecar is part of the template (`istioctl kube-inject` leaves its status there).
    has_status: bool,
    /// Whether the label `istio.io/dataplane-mode` takes the pods into the ambient mesh, or out of it.
    ambient: Option<bool>,
}

impl PodMarks {
    pub(super) fn of(workload: &Workload, settings: &Settings) -> Self {
        let (labels, annotations) = (&workload.template_labels, &workload.template_annotations);
        Self {
            label: Switch::read(labels),
            annotation: Switch::read(annotations),
            habit: annotations.get(&settings.deployment_annotation).is_some_and(|value| value == "true"),
            has_revision: labels.get(keys::REVISION).is_some_and(|revision| !revision.is_empty()),
            host_network: workload.host_network,
            has_status: annotations.contains_key(keys::INJECTION_STATUS),
            ambient: labels.get(keys::DATAPLANE_MODE).map(|mode| mode == AMBIENT),
        }
    }

    /// The label counts before the annotation.
    fn switch(self) -> (Mark, Switch) {
        match self.label {
            Switch::Absent => (Mark::Annotation, self.annotation),
            label => (Mark::Label, label),
        }
    }

    /// Whether somebody wrote on the pods that they are to have a sidecar, or something that Istio does not know.
    fn asks(self) -> bool {
        let (_, switch) = self.switch();
        self.has_revision && switch != (Switch::Off { is_false: true })
            || matches!(switch, Switch::On { .. } | Switch::Off { is_false: false })
            || self.habit && self.label == Switch::Absent
    }
}

/// What a namespace says about the sidecars of its pods. One that is not known says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespaceMarks {
    is_system: bool,
    /// Whether its labels switch injection on, or off; none where it has neither.
    injects: Option<bool>,
    is_ambient: bool,
}

impl NamespaceMarks {
    pub(super) fn of(name: &str, namespace: Option<&Namespace>) -> Self {
        let label = |key: &str| namespace.and_then(|namespace| namespace.mesh_labels.get(key)).map(String::as_str);
        let injects = match (label(keys::NAMESPACE_INJECTION), label(keys::REVISION)) {
            (Some(value), _) => Some(value == "enabled"),
            (None, Some(revision)) => Some(!revision.is_empty()),
            (None, None) => None,
        };
        let is_ambient = label(keys::DATAPLANE_MODE) == Some(AMBIENT);
        Self { is_system: SYSTEM_NAMESPACES.contains(&name), injects, is_ambient }
    }
}

/// A label or an annotation of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Label,
    Annotation,
}

/// Why a workload with an identity has no sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// A ServiceEntry for something outside the mesh.
    External,
    /// Its pods share the network of their node.
    HostNetwork,
    /// Its namespace belongs to Kubernetes.
    SystemNamespace,
    /// Its pods say so.
    Pods { by: Mark, is_false: bool },
    /// Its namespace says so.
    Namespace,
    /// It is in the ambient mesh.
    Ambient,
    /// Its label says `yes` in a word that only counts where the namespace is injected.
    NotTrue,
    /// Nothing asks for a sidecar.
    NotMarked,
    /// Only the annotation `deploymentAnnotation` counts, and it has none.
    NoAnnotation,
}

/// Whether the pods of a workload have a sidecar; otherwise why not.
pub(super) fn has_sidecar(pods: PodMarks, namespace: NamespaceMarks, by: SidecarInjection) -> Result<(), LeftOut> {
    let is_ambient = !pods.host_network && pods.ambient.unwrap_or(namespace.is_ambient);
    // What has a sidecar is left alone by the ambient mesh (Istio, `cni/pkg/util`, `PodRedirectionEnabled`).
    let injected = match by {
        SidecarInjection::Annotation => pods.habit.then_some(()).ok_or(LeftOut::NoAnnotation),
        SidecarInjection::Istio | SidecarInjection::AllNamespaces => is_injected(pods, namespace, by, is_ambient),
    };
    injected.map_err(|why| if is_ambient { LeftOut::Ambient } else { why })
}

fn is_injected(
    pods: PodMarks,
    namespace: NamespaceMarks,
    by: SidecarInjection,
    is_ambient: bool,
) -> Result<(), LeftOut> {
    if pods.has_status {
        return Ok(());
    }
    if pods.host_network {
        return Err(LeftOut::HostNetwork);
    }
    if namespace.is_system {
        return Err(LeftOut::SystemNamespace);
    }
    let (mark, switch) = pods.switch();
    if let Switch::Off { is_false } = switch {
        return Err(LeftOut::Pods { by: mark, is_false });
    }
    match namespace.injects {
        Some(true) => return Ok(()),
        Some(false) => return Err(LeftOut::Namespace),
        None => {}
    }
    let by_pod = pods.label == (Switch::On { is_true: true }) || pods.has_revision;
    let everywhere = by == SidecarInjection::AllNamespaces && pods.label == Switch::Absent;
    // Istio's own webhook does not look at the annotation where the namespace has no label; other ways to inject do, and so
    // do fleets that came from Admiral. A namespace in the ambient mesh says otherwise.
    let by_habit = (pods.habit || matches!(pods.annotation, Switch::On { .. })) && !is_ambient;
    if by_pod || everywhere || by_habit {
        Ok(())
    } else if matches!(pods.label, Switch::On { .. }) {
        Err(LeftOut::NotTrue)
    } else {
        Err(LeftOut::NotMarked)
    }
}

impl LeftOut {
    /// Whether the labels of its namespace may say otherwise, so that nothing is known while that cannot be read.
    pub(super) fn depends_on_namespace(self) -> bool {
        matches!(self, Self::Ambient | Self::NotTrue | Self::NotMarked)
    }

    /// Whether a client gets a note: a Job often has no sidecar on purpose.
    pub(super) fn is_for_clients(self, of: Kind, pods: PodMarks) -> bool {
        // A CronJob of the ambient mesh leaves many Jobs behind.
        self == Self::Ambient && of != Kind::Job || self != Self::NoAnnotation && pods.asks()
    }

    /// The kind of the note about it, and its message.
    pub(super) fn note(self, of: Kind) -> (NoteKind, String) {
        let inject = keys::INJECT;
        let pods = |why: String| (NoteKind::WorkloadNotInjected, why);
        let (kind, why) = match self {
            Self::External => {
                let why =
                    "its location is not MESH_INTERNAL: what it stands for is outside the mesh and has no sidecar";
                (NoteKind::MachineUnusable, why.to_owned())
            }
            Self::HostNetwork => {
                pods("its pods use the network of their node (hostNetwork), so Istio injects no sidecar".into())
            }
            Self::SystemNamespace => pods("Istio injects no sidecar into the pods of this namespace".into()),
            Self::Pods { by, is_false } => {
                let by = if by == Mark::Label { "label" } else { "annotation" };
                pods(if is_false {
                    format!("the {by} {inject} of its pods is false, so Istio injects no sidecar")
                } else {
                    format!(
                        "the {by} {inject} of its pods is none of true, yes, y, on and false, so Istio injects no sidecar"
                    )
                })
            }
            Self::Namespace => {
                let (injection, revision) = (keys::NAMESPACE_INJECTION, keys::REVISION);
                pods(format!(
                    "Istio injects no sidecar, because of the labels of its namespace: {injection} is there and not \
                     enabled, or {revision} is empty"
                ))
            }
            Self::Ambient => {
                let why = "its pods are in the ambient mesh and have no sidecar, and ambient is not supported yet";
                (NoteKind::WorkloadAmbient, why.to_owned())
            }
            Self::NotTrue => pods(format!(
                "the label {inject} of its pods is not exactly \"true\", which Istio asks for in a namespace without \
                 injection label"
            )),
            Self::NoAnnotation => pods("its pods have no annotation that says so".into()),
            Self::NotMarked => {
                let (injection, revision) = (keys::NAMESPACE_INJECTION, keys::REVISION);
                pods(format!(
                    "nothing makes Istio inject a sidecar: its pods have neither {inject}: \"true\" nor {revision}, and \
                     its namespace has neither {injection}: enabled nor {revision}"
                ))
            }
        };
        let then = if Kind::CLIENTS.contains(&of) { "it does not count as a client" } else { "it is no endpoint" };
        (kind, format!("{why}; {then}"))
    }
}
