//! Which kind an object is, by its `apiVersion` and `kind`; and what is wrong where an API server would find no match.
//!
//! Kinds of groups that are not read are passed over: they belong to other products. In groups that are read, a kind
//! that is not quite one of theirs is a mistake, and so is a known kind in a version that is not served any more: passed
//! over in silence, it would be missing from the plan.

use crate::model::{Kind, Served, nearest};

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Of a kind that is read.
    Read(Kind),
    /// Of a kind that is not read.
    Unread,
    /// Of no kind that an API server knows.
    Wrong(Mistyped),
}

/// What is wrong with the type of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistyped {
    /// The kind that the author probably intended.
    pub(crate) meant: Option<Kind>,
    /// Whether it has something of a Kubernetes object: then it hides one.
    pub(crate) is_object: bool,
    /// `apiVersion`, `kind` or nothing.
    pub(crate) field: &'static str,
    /// What is wrong, and what to write.
    pub(crate) message: String,
}

/// Groups whose kinds are all known: any other kind is a mistake.
const CLOSED_GROUPS: [&str; 2] = ["admiral.io", "tradewind.io"];

/// Where kinds that are read were served in former releases (Kubernetes, "Deprecated API Migration Guide", v1.16).
const RETIRED_GROUPS: [(&str, &[Kind]); 1] = [("extensions", &[Kind::Deployment, Kind::DaemonSet])];

/// Kinds of the same groups that are not read. They are known so that none of them is taken for a misspelt one that is.
const UNREAD: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
        ],
    ),
    ("apps", &["ControllerRevision", "ReplicaSet"]),
    ("networking.istio.io", &["Gateway", "ProxyConfig", "WorkloadGroup"]),
    ("admiral.io", &["ClusterState"]),
    ("argoproj.io", &["AnalysisRun", "AnalysisTemplate", "Application", "ApplicationSet", "AppProject", "Experiment"]),
];

/// Short names by which kubectl knows kinds, for those that are written in place of the kind.
const SHORT_NAMES: [(&str, Kind); 8] = [
    ("deploy", Kind::Deployment),
    ("sts", Kind::StatefulSet),
    ("ds", Kind::DaemonSet),
    ("svc", Kind::Service),
    ("ns", Kind::Namespace),
    ("gtp", Kind::GlobalTrafficPolicy),
    ("dr", Kind::DestinationRule),
    ("vs", Kind::VirtualService),
];

/// What `apiVersion` and `kind` say; both are there.
pub(crate) fn typed(api_version: &str, kind: &str) -> Typed {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if let Some(known) = of_group(group).find(|known| known.as_str() == kind) {
        if known.served().versions.contains(&version) {
            return Typed::Read(known);
        }
        let message = format!("{api_version} is not served; write {}", api_version_of(known));
        return wrong(Some(known), "apiVersion", message);
    }
    if of_group(group).next().is_some() {
        return in_known_group(api_version, group, kind);
    }
    if let Some((_, kinds)) = RETIRED_GROUPS.iter().find(|(retired, _)| *retired == group)
        && let Some(known) = kinds.iter().copied().find(|known| is_meant(*known, kind))
    {
        let message = format!("{api_version} is not served any more; write {}", api_version_of(known));
        return wrong(Some(known), "apiVersion", message);
    }
    match misspelt_group(group, kind) {
        Some(known) => {
            let message = format!("{api_version} is no API of {kind}; did you mean {}?", api_version_of(known));
            wrong(Some(known), "apiVersion", message)
        }
        None => Typed::Unread,
    }
}

fn in_known_group(api_version: &str, group: &str, kind: &str) -> Typed {
    let unread = UNREAD.iter().filter(|(of, _)| *of == group).flat_map(|(_, kinds)| *kinds);
    if unread.clone().any(|known| *known == kind) {
        return Typed::Unread;
    }
    if let Some(known) = Kind::ALL.iter().copied().find(|known| known.as_str() == kind) {
        let message = format!("{api_version} has no {kind}; did you mean {}?", api_version_of(known));
        return wrong(Some(known), "apiVersion", message);
    }
    let meant = of_group(group).find(|known| is_meant(*known, kind)).or_else(|| {
        let names = of_group(group).map(Kind::as_str).chain(unread.copied());
        let name = nearest(kind, names)?;
        of_group(group).find(|known| known.as_str() == name)
    });
    match meant {
        Some(known) => {
            let message = format!("{api_version} has no kind {kind:?}; did you mean {}?", known.as_str());
            wrong(Some(known), "kind", message)
        }
        None => match misspelt_list(group, kind) {
            Some(list) => wrong(None, "kind", format!("{api_version} has no kind {kind:?}; did you mean {list}?")),
            None if CLOSED_GROUPS.contains(&group) => {
                wrong(None, "kind", format!("{api_version} has no kind {kind:?}; it has {}", names_of(group)))
            }
            None => Typed::Unread,
        },
    }
}

/// What an object is that lacks `apiVersion` or `kind`, or has something else than a text there.
pub(crate) fn untyped(api_version: Option<&str>, kind: Option<&str>, is_object: bool) -> Mistyped {
    let mistyped = |meant, field, message| Mistyped { meant, is_object, field, message };
    match (api_version, kind) {
        (None, Some("List")) => mistyped(None, "apiVersion", "is missing; write v1".to_owned()),
        (None, Some(kind)) => {
            let known = Kind::ALL.iter().copied();
            let meant = known.clone().find(|known| is_meant(*known, kind));
            let meant = meant.or_else(|| {
                let name = nearest(kind, known.clone().map(Kind::as_str))?;
                known.clone().find(|known| known.as_str() == name)
            });
            let message = match meant {
                Some(known) if known.as_str() == kind => format!("is missing; write {}", api_version_of(known)),
                Some(known) => format!(
                    "is missing, and no kind is called {kind:?}; for {} write {}",
                    known.as_str(),
                    api_version_of(known)
                ),
                None => "is missing".to_owned(),
            };
            mistyped(meant, "apiVersion", message)
        }
        (Some(api_version), None) => {
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let kinds = names_of(group);
            let has =
                if kinds.is_empty() { String::new() } else { format!("; of {api_version} these are read: {kinds}") };
            mistyped(None, "kind", format!("is missing{has}"))
        }
        (Some(_), Some(_)) => unreachable!("it has both"),
        (None, None) => {
            let message = "this is no Kubernetes object: apiVersion and kind are missing".to_owned();
            mistyped(None, "", message)
        }
    }
}

/// `group/version`, as manifests write it.
pub(crate) fn api_version_of(kind: Kind) -> String {
    let Served { group, versions, .. } = kind.served();
    if group.is_empty() { versions[0].to_owned() } else { format!("{group}/{}", versions[0]) }
}

fn wrong(meant: Option<Kind>, field: &'static str, message: String) -> Typed {
    Typed::Wrong(Mistyped { meant, is_object: true, field, message })
}

fn of_group(group: &str) -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(move |known| known.served().group == group)
}

fn names_of(group: &str) -> String {
    let mut names: Vec<&str> = of_group(group).map(Kind::as_str).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Whether a word is the kind in another case, its plural or its short name.
fn is_meant(kind: Kind, word: &str) -> bool {
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    is(kind.as_str()) || is(kind.served().plural) || SHORT_NAMES.iter().any(|(name, of)| *of == kind && is(name))
}

/// The list of kinds that are read that is almost the one written: `DeploymentLists`.
fn misspelt_list(group: &str, kind: &str) -> Option<String> {
    let list = |name: &str| format!("{name}List");
    let read: Vec<String> = of_group(group).map(|known| list(known.as_str())).collect();
    let unread = UNREAD.iter().filter(|(of, _)| *of == group).flat_map(|(_, kinds)| *kinds);
    let unread: Vec<String> = unread.map(|name| list(name)).collect();
    if unread.iter().any(|known| known == kind) {
        return None;
    }
    let of_all = (group.is_empty()).then_some("List");
    let known = read.iter().map(String::as_str).chain(of_all);
    let found = nearest(kind, known.clone().chain(unread.iter().map(String::as_str)))?;
    known.into_iter().find(|name| *name == found).map(str::to_owned)
}

/// The kind of a group that is almost the one written, or a part of its name: `app`, `admiral`, `istio.io`; or of the core group,
/// which has no name in an `apiVersion`.
fn misspelt_group(group: &str, kind: &str) -> Option<Kind> {
    let is_kind = |known: &Kind| known.as_str() == kind || is_meant(*known, kind);
    if group.eq_ignore_ascii_case("core") {
        return of_group("").find(is_kind);
    }
    let mut groups: Vec<&str> = Kind::ALL.iter().map(|kind| kind.served().group).filter(|of| !of.is_empty()).collect();
    groups.dedup();
    let begins = |known: &&&str| known.split_once('.').is_some_and(|(first, _)| first.eq_ignore_ascii_case(group));
    let domain = |group: &str| group.rsplitn(3, '.').take(2).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let is_related = |known: &&&str| group.contains('.') && domain(known) == domain(group);
    let by_domain = || groups.iter().filter(is_related).find(|known| of_group(known).any(|kind| is_kind(&kind)));
    let meant = groups.iter().find(begins).copied().or_else(|| nearest(group, groups.iter().copied()));
    let meant = meant.or_else(|| by_domain().copied())?;
    of_group(meant).find(is_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(api_version: &str, kind: &str) -> (Option<Kind>, String) {
        match typed(api_version, kind) {
            Typed::Wrong(mistyped) => (mistyped.meant, format!("{}: {}", mistyped.field, mistyped.message)),
            other => panic!("{api_version} {kind}: {other:?}"),
        }
    }

    #[test]
    fn every_kind_is_read_in_each_of_its_versions() {
        for kind in Kind::ALL {
            let Served { group, versions, .. } = kind.served();
            for version in versions {
                let api_version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
                assert_eq!(typed(&api_version, kind.as_str()), Typed::Read(*kind));
            }
        }
    }

    #[test]
    fn kinds_of_others_are_passed_over() {
        for (api_version, kind) in [
            ("v1", "ConfigMap"),
            ("v1", "Pod"),
            ("v1", "Secret"),
            ("v1", "ServiceAccount"),
            ("v1", "PodList"),
            ("v1", "SecretList"),
            ("v1", "ConfigMapList"),
            ("apps/v1", "ReplicaSetList"),
            ("core/v1", "Widget"),
            ("core.example.com/v1", "Service"),
            ("security.istio.io/v1", "PeerAuthentication"),
            ("istio.io/v1", "Widget"),
            ("apps/v1", "ReplicaSet"),
            ("admiral.io/v1", "ClusterState"),
            ("argoproj.io/v1alpha1", "Application"),
            ("argoproj.io/v1alpha1", "Workflow"),
            ("networking.istio.io/v1", "Gateway"),
            ("networking.k8s.io/v1", "Ingress"),
            ("extensions/v1beta1", "Ingress"),
            // Others have kinds of the same name.
            ("serving.knative.dev/v1", "Service"),
            ("apps.kruise.io/v1beta1", "StatefulSet"),
            ("batch.volcano.sh/v1alpha1", "Job"),
            ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
            ("example.com/v1", "globaltrafficpolicy"),
        ] {
            assert_eq!(typed(api_version, kind), Typed::Unread, "{api_version} {kind}");
        }
    }

    #[test]
    fn a_misspelt_kind_gets_a_suggestion() {
        for (api_version, kind, meant, words) in [
            (
                "admiral.io/v1alpha1",
                "GlobalTraficPolicy",
                Kind::GlobalTrafficPolicy,
                "kind: admiral.io/v1alpha1 has no kind \"GlobalTraficPolicy\"; did you mean GlobalTrafficPolicy?",
            ),
            (
                "admiral.io/v1alpha1",
                "globaltrafficpolicy",
                Kind::GlobalTrafficPolicy,
                "did you mean GlobalTrafficPolicy?",
            ),
            (
                "admiral.io/v1alpha1",
                "GlobalTrafficPolicies",
                Kind::GlobalTrafficPolicy,
                "did you mean GlobalTrafficPolicy?",
            ),
            ("admiral.io/v1alpha1", "gtp", Kind::GlobalTrafficPolicy, "did you mean GlobalTrafficPolicy?"),
            ("admiral.io/v1alpha1", "Dependencies", Kind::Dependency, "did you mean Dependency?"),
            ("apps/v1", "deployment", Kind::Deployment, "did you mean Deployment?"),
            ("apps/v1", "Deployments", Kind::Deployment, "did you mean Deployment?"),
            ("apps/v1", "Deploymnet", Kind::Deployment, "did you mean Deployment?"),
            ("v1", "Servcie", Kind::Service, "did you mean Service?"),
            ("v1", "Deployment", Kind::Deployment, "apiVersion: v1 has no Deployment; did you mean apps/v1?"),
            ("apps/v1", "Service", Kind::Service, "apiVersion: apps/v1 has no Service; did you mean v1?"),
            ("v1alpha1", "GlobalTrafficPolicy", Kind::GlobalTrafficPolicy, "did you mean admiral.io/v1alpha1?"),
            ("networking.istio.io/v1", "virtualservice", Kind::VirtualService, "did you mean VirtualService?"),
            ("apps/v1beta2", "Deployment", Kind::Deployment, "apiVersion: apps/v1beta2 is not served; write apps/v1"),
            (
                "extensions/v1beta1",
                "Deployment",
                Kind::Deployment,
                "extensions/v1beta1 is not served any more; write apps/v1",
            ),
            ("extensions/v1beta1", "daemonset", Kind::DaemonSet, "is not served any more; write apps/v1"),
            ("batch/v1beta1", "CronJob", Kind::CronJob, "batch/v1beta1 is not served; write batch/v1"),
            ("networking.istio.io/v1", "EnvoyFilter", Kind::EnvoyFilter, "write networking.istio.io/v1alpha3"),
            ("admiral/v1alpha1", "GlobalTrafficPolicy", Kind::GlobalTrafficPolicy, "did you mean admiral.io/v1alpha1?"),
            (
                "admirall.io/v1alpha1",
                "GlobalTrafficPolicy",
                Kind::GlobalTrafficPolicy,
                "did you mean admiral.io/v1alpha1?",
            ),
            ("app/v1", "Deployment", Kind::Deployment, "did you mean apps/v1?"),
            ("core/v1", "Service", Kind::Service, "core/v1 is no API of Service; did you mean v1?"),
            ("core/v1", "namespace", Kind::Namespace, "did you mean v1?"),
            ("istio.io/v1", "VirtualService", Kind::VirtualService, "did you mean networking.istio.io/v1?"),
            ("security.istio.io/v1", "VirtualService", Kind::VirtualService, "did you mean networking.istio.io/v1?"),
            ("istio.io/v1", "sidecar", Kind::Sidecar, "did you mean networking.istio.io/v1?"),
            ("networking.istoi.io/v1", "VirtualService", Kind::VirtualService, "did you mean networking.istio.io/v1?"),
        ] {
            let (found, said) = said(api_version, kind);
            assert_eq!(found, Some(meant), "{api_version} {kind}: {said}");
            assert!(said.contains(words), "{api_version} {kind}: {said}");
        }
        for (api_version, kind, words) in [
            (
                "apps/v1",
                "DeploymentLists",
                "kind: apps/v1 has no kind \"DeploymentLists\"; did you mean DeploymentList?",
            ),
            ("argoproj.io/v1alpha1", "RolloutLists", "did you mean RolloutList?"),
            ("apps/v1", "DeploymntList", "did you mean DeploymentList?"),
            ("v1", "ServiceLists", "did you mean ServiceList?"),
            ("v1", "Lists", "did you mean List?"),
        ] {
            let (meant, said) = said(api_version, kind);
            assert!(meant.is_none() && said.contains(words), "{api_version} {kind}: {said}");
        }
        let (meant, said) = said("admiral.io/v1alpha1", "Foo");
        assert!(meant.is_none() && said.contains("it has ClientConnectionConfig, Dependency, "), "{said}");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_write() {
        let said = |api_version, kind| {
            let mistyped = untyped(api_version, kind, true);
            (mistyped.meant, format!("{}: {}", mistyped.field, mistyped.message))
        };
        assert_eq!(
            said(None, Some("GlobalTrafficPolicy")),
            (Some(Kind::GlobalTrafficPolicy), "apiVersion: is missing; write admiral.io/v1alpha1".to_owned())
        );
        let (meant, words) = said(None, Some("deployment"));
        assert!(meant == Some(Kind::Deployment) && words.contains("for Deployment write apps/v1"), "{words}");
        assert_eq!(said(None, Some("Widget")), (None, "apiVersion: is missing".to_owned()));
        let (meant, words) = said(Some("tradewind.io/v1alpha1"), None);
        assert!(
            meant.is_none()
                && words.contains(
                    "kind: is missing; of tradewind.io/v1alpha1 these are read: IdentityClaim, TradewindConfig"
                )
        );
        assert_eq!(said(Some("example.com/v1"), None).1, "kind: is missing");
        assert!(said(None, None).1.contains("no Kubernetes object"));
    }
}
