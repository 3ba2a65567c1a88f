//! Which service a workload or a policy belongs to (reference behaviour §2 and §9).

use super::partition::partitioned;
use crate::{
    config::Settings,
    model::{Environment, Identity, Labels, NameError, Policy, ServiceKey, Workload},
};

/// Environment of a workload that names none.
const DEFAULT_ENVIRONMENT: &str = "default";

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
    /// It is none of ours: ignored, not in the mesh, or without identity.
    Ignored,
    /// It means to belong to a service whose host cannot be.
    Invalid(NameError),
}

/// Identity and environment of a workload. `namespace_ignored` is the ignore annotation of its namespace.
pub(super) fn classify(workload: &Workload, namespace_ignored: bool, settings: &Settings) -> Classified {
    let (labels, annotations) = (&workload.template_labels, &workload.template_annotations);
    let Some(identity) = non_empty(labels, &settings.workload_identity_key)
        .or_else(|| non_empty(annotations, &settings.workload_identity_key))
    else {
        return Classified::Ignored;
    };
    if workload.ignored
        || namespace_ignored
        || is_true(labels, &settings.admiral_ignore_label)
        // A machine is no pod: nothing is injected.
        || (workload.machines.is_none() && !is_true(annotations, &settings.deployment_annotation))
    {
        return Classified::Ignored;
    }
    let environment = non_empty(annotations, &settings.env_key)
        .or_else(|| non_empty(labels, &settings.env_key))
        .or_else(|| non_empty(labels, "env"))
        .or_else(|| workload.id.namespace.rsplit_once('-').map(|(_, last)| last).filter(|last| !last.is_empty()))
        .unwrap_or(DEFAULT_ENVIRONMENT);
    let key = partitioned(identity, labels, annotations, settings)
        .and_then(|identity| Environment::parse(environment).map(|environment| ServiceKey { identity, environment }));
    match key {
        Ok(key) => Classified::Service(key),
        Err(error) => Classified::Invalid(error),
    }
}

/// The identity that a workload names, without its partition.
pub(super) fn plain(workload: &Workload, key: &str) -> Option<Identity> {
    let named = non_empty(&workload.template_labels, key).or_else(|| non_empty(&workload.template_annotations, key));
    Identity::parse(named?).ok()
}

/// The service that a policy is for, or why it is for none.
pub(super) fn of_policy(policy: &Policy, settings: &Settings) -> Result<ServiceKey, String> {
    let (labels, annotations, selector) = (&policy.labels, &policy.annotations, &policy.spec.selector);
    let label = &settings.admiral_crd_identity_label;
    let identity = non_empty(labels, label).or_else(|| non_empty(selector, label)).ok_or_else(|| {
        format!("neither the label nor the selector {label:?} names an identity; the policy is ignored")
    })?;
    let environment = non_empty(annotations, &settings.env_key)
        .or_else(|| non_empty(labels, &settings.env_key))
        .or_else(|| non_empty(selector, &settings.env_key))
        .or_else(|| non_empty(labels, "env"))
        .or_else(|| non_empty(selector, "env"))
        .unwrap_or(DEFAULT_ENVIRONMENT);
    let refuse = |what: &str, error: NameError| format!("the {what} {error}; the policy is ignored");
    Ok(ServiceKey {
        identity: partitioned(identity, labels, annotations, settings).map_err(|error| refuse("identity", error))?,
        environment: Environment::parse(environment).map_err(|error| refuse("environment", error))?,
    })
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
            id: ObjectId::new(Kind::Deployment, namespace, "greeting"),
            created_seconds: 0,
            ignored: false,
            template_labels: labels(template_labels),
            template_annotations,
            machines: None,
            additional_hosts: false,
        }
    }

    fn key(workload: &Workload) -> Option<String> {
        match classify(workload, false, &Settings::default()) {
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
        assert_eq!(classify(&plain, true, &Settings::default()), Classified::Ignored);
        assert_eq!(key(&Workload { ignored: true, ..plain.clone() }), None);
        assert_eq!(key(&workload("a", &[("identity", "x"), ("admiral-ignore", "true")], &[])), None);
        assert_eq!(key(&workload("a", &[("identity", "x")], &[("sidecar.istio.io/inject", "false")])), None);
    }

    #[test]
    fn an_identity_no_host_can_carry_is_told_from_an_ignored_one() {
        let bad = workload("a", &[("identity", "pay_ments")], &[]);
        assert!(matches!(classify(&bad, false, &Settings::default()), Classified::Invalid(_)));
    }
}
