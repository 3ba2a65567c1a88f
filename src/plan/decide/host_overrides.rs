//! Users' ServiceEntries and DestinationRules that Istio follows in place of published ones in the same cluster.
//!
//! Only says so: the users' objects and the published ones stay. Entries in the sync namespace, and entries that were handed
//! over, are treated where objects are written and adopted.
//!
//! Of several ServiceEntries for a host, a sidecar follows those of one namespace: its own; else the first in the order of those
//! that are exported to its namespace by name, the oldest first, and then of those that all see, the oldest first (Istio,
//! `pilot/pkg/model/sidecar.go`, `selectServices`; `push_context.go`, `servicesExportedToNamespace`). Gateways do not prefer their
//! own namespace. A DestinationRule in the client's namespace comes before the one in the namespace of the entry (`destinationRule`).

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{ClusterDecision, HostDecision};
use crate::{
    config::Settings,
    model::{HostOverride, Kind, Note, NoteKind, Visibility, wildcard_end},
    plan::input::{ServiceInput, Target},
};

/// What the owners of such objects should know.
pub(super) fn notes(service: &ServiceInput, clusters: &[ClusterDecision], settings: &Settings) -> Vec<Note> {
    let mut notes = Vec::new();
    for (cluster, one) in &service.host_overrides {
        let Some(decided) = clusters.iter().find(|decided| decided.cluster == *cluster) else { continue };
        let Some(target) = service.targets.iter().find(|target| target.cluster == *cluster) else { continue };
        let mut note = |kind: NoteKind, message: String| {
            let object = one.id.in_cluster(cluster);
            notes.push(Note { kind, object, service: Some(service.key.clone()), message });
        };
        if one.id.kind == Kind::DestinationRule {
            let others = service.host_overrides.iter().filter(|(of, _)| of == cluster).map(|(_, other)| &**other);
            let others: Vec<&HostOverride> = others.filter(|other| other.id.kind == Kind::DestinationRule).collect();
            let is_client = !service.declared || is_client(target, &one.id.namespace);
            let published = published(decided, settings);
            let replaced = published.filter(|host| is_client && replaces(one, host, &others));
            let hosts: Vec<&str> = replaced.map(|host| host.name).collect();
            if !hosts.is_empty() {
                note(NoteKind::RuleOverridden, of_rule(one, &hosts));
            }
            continue;
        }
        let mut by_outcome: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for host in published(decided, settings) {
            if let Some(outcome) = contest(one, &host) {
                by_outcome.entry(outcome).or_default().push(host.name);
            }
        }
        for (outcome, hosts) in by_outcome {
            let hosts = hosts.join(" and ");
            note(
                NoteKind::HostContested,
                format!("is for {hosts}, which Tradewind publishes in this cluster; {outcome}"),
            );
        }
    }
    notes
}

/// A host as clients in its cluster see its objects.
struct PublishedHost<'a> {
    name: &'a str,
    /// Namespace of its objects.
    namespace: &'a str,
    /// The namespaces that see them; empty for all.
    visible_in: &'a [String],
}

impl PublishedHost<'_> {
    fn visibility(&self, of_namespace: &str) -> Visibility {
        Visibility::of_export_to(self.visible_in.iter().map(String::as_str), of_namespace)
    }
}

fn published<'a>(decided: &'a ClusterDecision, settings: &'a Settings) -> impl Iterator<Item = PublishedHost<'a>> {
    decided.hosts.iter().map(|host: &HostDecision| PublishedHost {
        name: host.host.as_str(),
        namespace: host.adopted.as_ref().map_or(&*settings.sync_namespace, |pair| &pair.namespace),
        visible_in: &decided.visible_in,
    })
}

// ---- ServiceEntries ----

/// Who follows the entry where a host is published; none where it takes nobody away.
fn contest(one: &HostOverride, host: &PublishedHost<'_>) -> Option<String> {
    let (name, namespace) = (host.name, &*one.id.namespace);
    let same = |of: &str| of.trim_end_matches('.').eq_ignore_ascii_case(name);
    let spelled = one.hosts.iter().find(|of| ***of == *name).or_else(|| one.hosts.iter().find(|of| same(of)))?;
    let own_namespace = host.namespace;
    let exported = host.visibility(own_namespace);
    let is_own = one.visibility.includes(namespace) && exported.includes(namespace);
    let mut first = BTreeSet::new();
    let mut older = None;
    match (&one.visibility, &exported) {
        (Visibility::All, Visibility::All) => older = Some("in other namespaces".to_owned()),
        (Visibility::Namespaces(theirs), Visibility::All) => first.extend(theirs.iter().map(|of| &**of)),
        // The published entry is exported to them by name.
        (Visibility::All, Visibility::Namespaces(_)) => {}
        (Visibility::Namespaces(theirs), Visibility::Namespaces(published)) => {
            let both =
                theirs.intersection(published).map(|of| &**of).filter(|of| *of != namespace && *of != own_namespace);
            older = Some(both.collect::<Vec<_>>()).filter(|both| !both.is_empty()).map(|both| in_namespaces(&both));
        }
    }
    let first: Vec<&str> = first.into_iter().filter(|of| *of != namespace && *of != own_namespace).collect();
    if !is_own && first.is_empty() && older.is_none() {
        return None;
    }
    if **spelled != *name {
        return Some(format!(
            "it spells the host {spelled}, which is the same to clients and another host to Istio, so that it is not certain \
             which of the two they reach"
        ));
    }
    if namespace == own_namespace {
        return Some(
            "it is in the namespace of the published entry, and clients are sent to the endpoints of both".into(),
        );
    }
    let mut followed: Vec<String> = Vec::new();
    if is_own {
        followed.push(format!("clients {} get its endpoints", in_namespaces(&[namespace])));
    }
    if !first.is_empty() {
        followed.push(format!("clients {}, to which it is exported by name, get its endpoints", in_namespaces(&first)));
    }
    followed.extend(older.map(|of| format!("clients {of} get the endpoints of the older of the two entries")));
    Some(followed.join("; "))
}

fn in_namespaces(names: &[&str]) -> String {
    let plural = if names.len() == 1 { "namespace" } else { "namespaces" };
    format!("in the {plural} {}", names.join(", "))
}

// ---- DestinationRules ----

/// Whether clients of the service are known in a namespace.
fn is_client(target: &Target, namespace: &str) -> bool {
    target.dependent_namespaces.iter().any(|of| **of == *namespace)
}

/// How far the host of a rule is the very host, or a wildcard that covers it: the longer, the more specific.
fn specificity(one: &HostOverride, host: &str) -> Option<usize> {
    one.hosts.iter().find_map(|of| match wildcard_end(of) {
        _ if **of == *host => Some(usize::MAX),
        Some(end) => host.ends_with(end).then_some(end.len()),
        None => None,
    })
}

/// Whether clients in the rule's namespace follow it for a host: no other there is more specific (Istio,
/// `pilot/pkg/model/config.go`, `MostSpecificHostMatch`).
fn replaces(one: &HostOverride, host: &PublishedHost<'_>, others: &[&HostOverride]) -> bool {
    let Some(own) = specificity(one, host.name) else { return false };
    let namespace = &one.id.namespace;
    // Istio merges the rules of one namespace.
    let is_in_same_namespace = **namespace == *host.namespace;
    let exported = host.visibility(namespace);
    let mut in_namespace = others.iter().filter(|other| other.id.namespace == *namespace);
    !is_in_same_namespace
        && exported.includes(namespace)
        && !in_namespace.any(|other| specificity(other, host.name).is_some_and(|other| other > own))
}

fn of_rule(one: &HostOverride, hosts: &[&str]) -> String {
    let host = one.hosts.first().map_or("", |host| &**host);
    let covers = if wildcard_end(host).is_some() { format!("covers, by {host},") } else { "is for".to_owned() };
    // Istio looks no further than the client's namespace once it finds a rule there, whichever pods the rule selects.
    let follow = if one.selects_pods {
        "whether it selects them or not, do not follow the published rule"
    } else {
        "follow it and not the published rule"
    };
    let comma = if one.selects_pods { "," } else { "" };
    format!(
        "{covers} {}, which Tradewind publishes in this cluster; clients in the namespace {}{comma} {follow}, so that locality \
         failover, outlier detection and mutual TLS of the published rule do not apply to them",
        hosts.join(" and "),
        one.id.namespace
    )
}
