//! Users' ServiceEntries and DestinationRules that Istio may follow in place of published ones.
//!
//! Says which hosts such an object is for and which namespaces see it; never whether a host is published.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{Kind, ObjectId, Route};

/// A ServiceEntry or DestinationRule outside the sync namespace that may be for published hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostOverride {
    /// Which object.
    pub id: ObjectId,
    /// Those of its hosts that may be published, as the object spells them, sorted. A DestinationRule's may be a wildcard.
    pub hosts: Vec<Arc<str>>,
    /// Which namespaces see it.
    pub visibility: Visibility,
    /// Whether it is a DestinationRule for some pods of its namespace only.
    pub selects_pods: bool,
}

/// The namespaces that see an object of Istio, by its `exportTo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// All.
    All,
    /// These; none for `~`.
    Namespaces(BTreeSet<Arc<str>>),
}

impl Visibility {
    /// Reads the `exportTo` of an object in `namespace`: without one all see it, `*` comes before `~`, and that before others
    /// (Istio, `pilot/pkg/model/push_context.go`, `initServiceRegistry`).
    #[must_use]
    pub fn of_export_to<'a>(export_to: impl IntoIterator<Item = &'a str>, namespace: &str) -> Self {
        let listed: BTreeSet<&str> = export_to.into_iter().collect();
        if listed.is_empty() || listed.contains("*") {
            return Self::All;
        }
        if listed.contains("~") {
            return Self::Namespaces(BTreeSet::new());
        }
        let named = |item: &str| Arc::from(if item == "." { namespace } else { item });
        Self::Namespaces(listed.into_iter().map(named).collect())
    }

    /// Whether a namespace sees it.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }

    /// Whether no namespace sees it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Namespaces(namespaces) if namespaces.is_empty())
    }
}

/// Whether a host is below the suffix of published hosts, in any spelling.
fn is_below(host: &str, suffix: &str) -> bool {
    let (host, suffix) = (host.trim_end_matches('.').to_ascii_lowercase(), suffix.to_ascii_lowercase());
    host.strip_suffix(&suffix).is_some_and(|before| before.ends_with('.'))
}

/// What follows the `*` of a wildcard.
#[must_use]
pub fn wildcard_end(host: &str) -> Option<&str> {
    host.strip_prefix('*')
}

/// Whether a wildcard covers hosts below the suffix of published ones (Istio, `pkg/config/host/name.go`, `Matches`).
#[must_use]
pub fn covers_suffix(host: &str, suffix: &str) -> bool {
    wildcard_end(host).is_some_and(|end| is_below(end, suffix) || format!(".{suffix}").ends_with(end))
}

fn texts<'a>(spec: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

impl HostOverride {
    /// Reads a ServiceEntry. Returns `None` if no host of it is below the suffix, or no namespace sees it.
    ///
    /// Wildcards do not count: proxies and their DNS prefer an exact host (Envoy documentation, `config.route.v3.VirtualHost`,
    /// `domains`), so a wildcard takes no request for a published host.
    #[must_use]
    pub fn of_entry(id: ObjectId, spec: &Value, suffix: &str) -> Option<Self> {
        let hosts: BTreeSet<&str> =
            texts(spec, "hosts").filter(|host| wildcard_end(host).is_none() && is_below(host, suffix)).collect();
        let visibility = Visibility::of_export_to(texts(spec, "exportTo"), &id.namespace);
        let is_seen = !hosts.is_empty() && !visibility.is_none();
        let hosts = hosts.into_iter().map(Into::into).collect();
        is_seen.then_some(Self { id, hosts, visibility, selects_pods: false })
    }

    /// Reads a DestinationRule. Returns `None` if its host covers none below the suffix, or its own namespace does not see it:
    /// clients of other namespaces follow the published rule, which is next to the published entry (Istio,
    /// `pilot/pkg/model/push_context.go`, `destinationRule`).
    #[must_use]
    pub fn of_rule(route: &Route, suffix: &str) -> Option<Self> {
        let host = route.hosts.first().filter(|_| route.id.kind == Kind::DestinationRule)?;
        if !is_below(host, suffix) && !covers_suffix(host, suffix) {
            return None;
        }
        let selects_pods = route.spec.get("workloadSelector").is_some_and(|selector| !selector.is_null());
        let namespace = &route.id.namespace;
        let own = || Visibility::Namespaces([namespace.clone()].into());
        let export_to = Visibility::of_export_to(route.export_to.iter().map(String::as_str), namespace);
        // One that selects pods is private to its namespace, whatever its `exportTo` (`setDestinationRules`).
        let is_seen = selects_pods || export_to.includes(namespace);
        is_seen.then(|| Self {
            id: route.id.clone(),
            hosts: vec![host.as_str().into()],
            visibility: own(),
            selects_pods,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: &Value) -> Option<HostOverride> {
        HostOverride::of_entry(ObjectId::new(Kind::ServiceEntry, "team", "legacy"), spec, "global")
    }

    fn namespaces(names: &[&str]) -> Visibility {
        Visibility::Namespaces(names.iter().map(|name| Arc::from(*name)).collect())
    }

    #[test]
    fn only_whole_hosts_below_the_suffix_count_for_an_entry() {
        let hosts = json!(["stage.Pay.global.", "a.example", "*.global", "*", "xglobal", "global", 7]);
        let entry = read(&json!({"hosts": hosts})).unwrap();
        assert_eq!(entry.hosts, [Arc::from("stage.Pay.global.")]);
        assert_eq!(entry.visibility, Visibility::All);
        for nothing in [json!({"hosts": ["a.example"]}), json!({}), json!({"hosts": "text"}), json!(null)] {
            assert_eq!(read(&nothing), None);
        }
    }

    #[test]
    fn the_list_of_namespaces_is_read_as_istio_reads_it() {
        let seen = |export_to: &[&str]| Visibility::of_export_to(export_to.iter().copied(), "team");
        assert_eq!(seen(&[]), Visibility::All);
        assert_eq!(seen(&["~", "*"]), Visibility::All);
        assert!(seen(&["~", "a"]).is_none());
        assert_eq!(seen(&[".", "a"]), namespaces(&["a", "team"]));
        assert!(seen(&["."]).includes("team") && !seen(&["."]).includes("a") && seen(&[]).includes("a"));
        assert_eq!(read(&json!({"hosts": ["a.global"], "exportTo": ["~"]})), None);
    }

    #[test]
    fn a_rule_counts_for_its_own_namespace_by_a_host_or_a_wildcard() {
        let rule = |host: &str, export_to: &[&str], spec: Value| {
            let route = Route {
                id: ObjectId::new(Kind::DestinationRule, "team", "rule"),
                created_seconds: 0,
                ignored: false,
                labels: Default::default(),
                annotations: Default::default(),
                hosts: vec![host.to_owned()],
                export_to: export_to.iter().map(|item| (*item).to_owned()).collect(),
                spec: Arc::new(spec),
            };
            HostOverride::of_rule(&route, "mesh.global").map(|rule| (rule.hosts, rule.selects_pods))
        };
        for host in ["a.mesh.global", "*.mesh.global", "*.a.mesh.global", "*-a.mesh.global", "*.global", "*"] {
            assert_eq!(rule(host, &[], json!(null)), Some((vec![Arc::from(host)], false)), "{host}");
        }
        for host in ["mesh.global", "a.global", "*.local", "*.amesh.global", "*.a.global", "pay", ""] {
            assert_eq!(rule(host, &[], json!(null)), None, "{host}");
        }
        assert!(rule("a.mesh.global", &["."], json!({})).is_some());
        assert_eq!(rule("a.mesh.global", &["other"], json!({})), None);
        let selector = json!({"workloadSelector": {"matchLabels": {"app": "a"}}});
        assert_eq!(rule("a.mesh.global", &["other"], selector), Some((vec![Arc::from("a.mesh.global")], true)));
    }
}
