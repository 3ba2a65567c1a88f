//! Which service a workload or a policy belongs to (Admiral, docs/admiral-behaviour.md#identity-and-environment,
//! docs/admiral-behaviour.md#policies and docs/admiral-behaviour.md#envoyfilters).

use std::collections::BTreeSet;

use super::{
    claim_rules::Exclusion,
    injection::{self, LeftOut, NamespaceMarks, PodMarks},
    partition::partitioned,
};
use crate::{
    api::{
        ClientConnectionConfigSpec, GlobalTrafficPolicySpec, OutlierDetectionSpec, RoutingPolicySpec, TrafficConfigSpec,
    },
    config::Settings,
    model::{Environment, Identity, Labels, NameError, NoteKind, PolicyObject, ServiceKey, Workload},
};

/// Environment of a workload that names none.
const DEFAULT_ENVIRONMENT: &str = "default";
/// Annotation of a TrafficConfig that switches its slow start off (Admiral, docs/admiral-behaviour.md#trafficconfig).
const SLOW_START_DISABLED: &str = "isSlowStartDisabled";

pub(super) fn non_empty<'a>(map: &'a Labels, key: &str) -> Option<&'a str> {
    map.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn is_true(map: &Labels, key: &str) -> bool {
    map.get(key).is_some_and(|value| value == "true")
}

/// What a workload says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classified {
    /// It belongs to a service.
    Service(ServiceKey),
    /// It names a service for which it does not count; as a client it does.
    Excluded {
        /// The service.
        key: ServiceKey,
        /// Why.
        why: Exclusion,
    },
    /// It is none of ours: ignored, not in the mesh, or without identity.
    Ignored,
    /// It means to belong to a service whose host cannot be.
    Invalid(NameError),
    /// It names a service, and cannot be called by mutual TLS.
    LeftOut {
        /// Why it has no sidecar.
        why: LeftOut,
        /// The service, where its host can be.
        key: Option<ServiceKey>,
    },
}

impl Classified {
    /// Whether it means to take part in the mesh, so that its namespace is one of clients.
    pub(super) fn takes_part(&self) -> bool {
        matches!(self, Self::Service(_) | Self::Excluded { .. } | Self::Invalid(_))
    }

    /// The service that it names and does not run: a policy that counts on it gets a note.
    pub(super) fn left_out(&self) -> Option<&ServiceKey> {
        match self {
            Self::LeftOut { key, .. } => key.as_ref(),
            Self::Excluded { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Whether only the labels of its namespace could say that it has a sidecar.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Self::LeftOut { why, .. } if why.depends_on_namespace())
    }

    /// Whether a note says why it belongs to no service.
    pub(super) fn is_noted(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::LeftOut { .. } | Self::Excluded { .. })
    }
}

/// Identity and environment of a workload. `namespace` is what its namespace says; none where that is ignored.
pub(super) fn classify(workload: &Workload, namespace: Option<NamespaceMarks>, settings: &Settings) -> Classified {
    let (labels, annotations) = (&workload.template_labels, &workload.template_annotations);
    let Some((identity, namespace)) = marked_identity(workload, settings).zip(namespace) else {
        return Classified::Ignored;
    };
    let environment = non_empty(annotations, &settings.env_key)
        .or_else(|| non_empty(labels, &settings.env_key))
        .or_else(|| non_empty(labels, "env"))
        .or_else(|| workload.id.namespace.rsplit_once('-').map(|(_, last)| last).filter(|last| !last.is_empty()))
        .unwrap_or(DEFAULT_ENVIRONMENT);
    let key = partitioned(identity, labels, annotations, settings)
        .and_then(|identity| Ok(ServiceKey { identity, environment: environment_named(environment, settings)? }));
    let sidecar = match &workload.machines {
        // A machine is no pod: nothing is injected.
        Some(machines) if machines.external => Err(LeftOut::External),
        Some(_) => Ok(()),
        None => injection::has_sidecar(PodMarks::of(workload, settings), namespace, settings.sidecar_injection),
    };
    match (sidecar, key) {
        (Ok(()), Ok(key)) => Classified::Service(key),
        (Ok(()), Err(error)) => Classified::Invalid(error),
        // Without the annotation it takes no part, and needs no note.
        (Err(LeftOut::NoAnnotation), _) => Classified::Ignored,
        (Err(why), key) => Classified::LeftOut { why, key: key.ok() },
    }
}

/// An environment. Where both it and identities had dots, `stage` of `team.payments` would have the host of `stage.team` of `payments`.
fn environment_named(text: &str, settings: &Settings) -> Result<Environment, NameError> {
    let environment = Environment::parse(text)?;
    if environment.as_str().contains('.') && !settings.dotted_environments {
        return Err(NameError::Dotted { text: environment.to_string() });
    }
    Ok(environment)
}

/// The identity that a workload names, without its partition.
pub(super) fn plain(workload: &Workload, key: &str) -> Option<Identity> {
    Identity::parse(identity_in(workload, key)?).ok()
}

fn identity_in<'a>(workload: &'a Workload, key: &str) -> Option<&'a str> {
    non_empty(&workload.template_labels, key).or_else(|| non_empty(&workload.template_annotations, key))
}

/// The identity of a workload that is not ignored, as written.
fn marked_identity<'a>(workload: &'a Workload, settings: &Settings) -> Option<&'a str> {
    let identity = identity_in(workload, &settings.workload_identity_key)?;
    let hidden = workload.ignored || is_true(&workload.template_labels, &settings.admiral_ignore_label);
    (!hidden).then_some(identity)
}

/// The identity of a client, by the rules of workloads, with or without a sidecar; its environment does not matter.
///
/// # Errors
/// When the identity cannot be part of a host.
pub(super) fn of_client(client: &Workload, settings: &Settings) -> Result<Option<Identity>, NameError> {
    let identity = marked_identity(client, settings);
    let known_by = |identity| partitioned(identity, &client.template_labels, &client.template_annotations, settings);
    identity.map(known_by).transpose()
}

/// The environment of an object that names it as workloads do, but for the namespace (Admiral,
/// docs/admiral-behaviour.md#identity-and-environment).
pub(super) fn environment_of<'a>(labels: &'a Labels, annotations: &'a Labels, settings: &Settings) -> &'a str {
    non_empty(annotations, &settings.env_key)
        .or_else(|| non_empty(labels, &settings.env_key))
        .or_else(|| non_empty(labels, "env"))
        .unwrap_or(DEFAULT_ENVIRONMENT)
}

/// A kind of policy that names services.
pub(super) trait PolicySelector: Sized {
    /// Where the identity is, and the environment besides the annotation.
    const BY: PolicyLabels;
    /// Whether one that names no partition is for every partition of its service too (Admiral,
    /// docs/admiral-behaviour.md#partitions).
    const COVERS_PARTITIONS: bool = true;

    /// Identity and environment, where the labels do not name them.
    fn selector(&self) -> Option<&Labels> {
        None
    }

    /// The environments that it names itself, and what is wrong with it; otherwise it is for one environment.
    fn environments(_: &PolicyObject<Self>) -> Option<(Vec<String>, Vec<String>)> {
        None
    }
}

/// By which labels a kind of policy names its service.
pub(super) enum PolicyLabels {
    /// By the identity label of policies; `env` counts besides the environment's own key (Admiral,
    /// docs/admiral-behaviour.md#globaltrafficpolicy).
    Policies,
    /// As workloads do, without `env` (Admiral, docs/admiral-behaviour.md#envoyfilters).
    Workloads,
    /// By the label `asset` (Admiral, docs/admiral-behaviour.md#trafficconfig).
    Asset,
}

impl PolicySelector for GlobalTrafficPolicySpec {
    const BY: PolicyLabels = PolicyLabels::Policies;
    const COVERS_PARTITIONS: bool = false;

    fn selector(&self) -> Option<&Labels> {
        Some(&self.selector)
    }
}

impl PolicySelector for OutlierDetectionSpec {
    const BY: PolicyLabels = PolicyLabels::Policies;

    fn selector(&self) -> Option<&Labels> {
        Some(&self.selector)
    }
}

impl PolicySelector for ClientConnectionConfigSpec {
    const BY: PolicyLabels = PolicyLabels::Policies;
}

impl PolicySelector for RoutingPolicySpec {
    const BY: PolicyLabels = PolicyLabels::Workloads;
    const COVERS_PARTITIONS: bool = false;
}

impl PolicySelector for TrafficConfigSpec {
    const BY: PolicyLabels = PolicyLabels::Asset;

    fn environments(config: &PolicyObject<Self>) -> Option<(Vec<String>, Vec<String>)> {
        if is_true(&config.annotations, SLOW_START_DISABLED) {
            return Some(Default::default());
        }
        let slow_starts = config.spec.edge_service.as_ref().map(|edge| edge.slow_start_config.as_slice());
        let mut environments = Vec::new();
        let mut problems = Vec::new();
        for slow_start in slow_starts.unwrap_or_default() {
            environments.extend(slow_start.workload_env_selectors.iter().cloned());
            if slow_start.workload_env_selectors.is_empty() {
                problems.push("a slow start selects no environment; it has no effect".to_owned());
            }
        }
        if slow_starts.unwrap_or_default().is_empty() {
            problems.push("edgeService.slowStartConfig is missing or empty; it has no effect".to_owned());
        }
        Some((environments, problems))
    }
}

/// The environment of a policy that is for one.
fn environment_of_policy<S: PolicySelector>(config: &PolicyObject<S>, settings: &Settings) -> String {
    let (labels, selector) = (&config.labels, config.spec.selector());
    let selected = |key: &str| selector.and_then(|selector| non_empty(selector, key));
    let by_env = || non_empty(labels, "env").or_else(|| selected("env"));
    let environment = non_empty(&config.annotations, &settings.env_key)
        .or_else(|| non_empty(labels, &settings.env_key))
        .or_else(|| selected(&settings.env_key))
        .or_else(|| if matches!(S::BY, PolicyLabels::Policies) { by_env() } else { None });
    environment.unwrap_or(DEFAULT_ENVIRONMENT).to_owned()
}

/// The services that a policy is for, and what is wrong with their names.
pub(super) fn named<S: PolicySelector>(
    config: &PolicyObject<S>,
    settings: &Settings,
) -> (BTreeSet<ServiceKey>, Vec<(NoteKind, String)>) {
    let (labels, annotations) = (&config.labels, &config.annotations);
    let selector = config.spec.selector();
    let selected = |key: &str| selector.and_then(|selector| non_empty(selector, key));
    let label = match S::BY {
        PolicyLabels::Policies => &*settings.admiral_crd_identity_label,
        PolicyLabels::Workloads => &settings.workload_identity_key,
        PolicyLabels::Asset => "asset",
    };
    let Some(identity) = non_empty(labels, label).or_else(|| selected(label)) else {
        let message = match selector {
            Some(_) => {
                format!("neither the label nor the selector {label:?} names an identity; the policy is ignored")
            }
            None => format!("no label {label:?} names an identity; the policy is ignored"),
        };
        return (BTreeSet::new(), vec![(NoteKind::PolicyWithoutIdentity, message)]);
    };
    let (environments, problems) =
        S::environments(config).unwrap_or_else(|| (vec![environment_of_policy(config, settings)], Vec::new()));
    let mut keys = BTreeSet::new();
    let mut problems: Vec<_> = problems.into_iter().map(|problem| (NoteKind::PolicyQuestionable, problem)).collect();
    let refused = |what: &str, error: NameError| {
        (NoteKind::PolicyWithoutIdentity, format!("the {what} {error}; the policy is ignored"))
    };
    let identity = match S::BY {
        PolicyLabels::Policies | PolicyLabels::Workloads => partitioned(identity, labels, annotations, settings),
        PolicyLabels::Asset => Identity::parse(identity),
    };
    match identity {
        Ok(identity) => {
            for environment in environments {
                match Environment::parse(environment.trim()) {
                    Ok(environment) => drop(keys.insert(ServiceKey { identity: identity.clone(), environment })),
                    Err(error) => problems.push(refused("environment", error)),
                }
            }
        }
        Err(error) => problems.push(refused("identity", error)),
    }
    (keys, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ObjectId};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn workload(namespace: &str, template_labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Workload {
        let mut template_annotations = labels(annotations);
        template_annotations.entry("sidecar.istio.io/inject".into()).or_insert_with(|| "true".into());
        Workload {
            template_labels: labels(template_labels),
            template_annotations,
            ..Workload::new(ObjectId::new(Kind::Deployment, namespace, "greeting"))
        }
    }

    fn classified(workload: &Workload) -> Classified {
        let namespace = NamespaceMarks::of(&workload.id.namespace, None);
        classify(workload, Some(namespace), &Settings::default())
    }

    fn key(workload: &Workload) -> Option<String> {
        match classified(workload) {
            Classified::Service(key) => Some(key.to_string()),
            _ => None,
        }
    }

    #[test]
    fn identity_is_the_label_then_the_annotation() {
        assert_eq!(key(&workload("a", &[("identity", "x")], &[("identity", "y")])).unwrap(), "x/default");
        assert_eq!(key(&workload("a", &[], &[("identity", "y")])).unwrap(), "y/default");
        assert_eq!(key(&workload("a", &[], &[])), None);
    }

    #[test]
    fn environment_precedence_is_the_references() {
        let id = ("identity", "x");
        let env = |namespace, more: &[(&str, &str)], annotations| {
            let all: Vec<_> = [id].into_iter().chain(more.iter().copied()).collect();
            key(&workload(namespace, &all, annotations)).unwrap()
        };
        let (from_label, plain) = (("admiral.io/env", "label"), ("env", "plain"));
        assert_eq!(env("team-prod", &[from_label, plain], &[("admiral.io/env", "annotation")]), "x/annotation");
        assert_eq!(env("team-prod", &[from_label, plain], &[]), "x/label");
        assert_eq!(env("team-prod", &[plain], &[]), "x/plain");
        assert_eq!(env("team-prod", &[], &[]), "x/prod");
        assert_eq!(env("team", &[], &[]), "x/default");
    }

    #[test]
    fn ignored_workloads_belong_to_no_service() {
        let plain = workload("a", &[("identity", "x")], &[]);
        assert!(key(&plain).is_some());
        assert_eq!(classify(&plain, None, &Settings::default()), Classified::Ignored);
        assert_eq!(key(&Workload { ignored: true, ..plain.clone() }), None);
        assert_eq!(key(&workload("a", &[("identity", "x"), ("admiral-ignore", "true")], &[])), None);
        assert_eq!(key(&workload("a", &[("identity", "x")], &[("sidecar.istio.io/inject", "false")])), None);
    }

    #[test]
    fn an_identity_without_a_valid_host_differs_from_an_ignored_one() {
        let bad = workload("a", &[("identity", "pay_ments")], &[]);
        assert!(matches!(classified(&bad), Classified::Invalid(_)));
    }
}
