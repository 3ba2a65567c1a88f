//! Which hosts a service has: its default host, and one per prefix of its policy (reference behaviour §9).

use crate::{
    api::TrafficPolicyEntry,
    config::Settings,
    model::{Host, NoteKind, Policy, ServiceKey},
    registry::ServiceSnapshot,
};

/// A host that a service asks for, and the policy entry that governs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedHost {
    pub(super) host: Host,
    pub(super) is_default: bool,
    pub(super) entry: Option<TrafficPolicyEntry>,
}

/// The hosts of a service, the default host first, then the prefixes in the order of the policy; with what was wrong.
pub(super) fn wanted(
    snapshot: &ServiceSnapshot,
    policy: Option<&Policy>,
    settings: &Settings,
) -> (Vec<WantedHost>, Vec<(NoteKind, String)>) {
    let mut problems = Vec::new();
    let key = ServiceKey { identity: snapshot.identity.clone(), environment: snapshot.key.environment.clone() };
    let default = match Host::of_service(&key, &settings.hostname_suffix, snapshot.keep_case) {
        Ok(host) => host,
        Err(error) => {
            problems.push((NoteKind::HostInvalid, format!("{error}; {} is not published", snapshot.key)));
            return (Vec::new(), problems);
        }
    };
    let mut hosts = vec![WantedHost { host: default.clone(), is_default: true, entry: None }];
    for entry in policy.map(|policy| policy.spec.policy.as_slice()).unwrap_or_default() {
        let host = match host_of(entry, snapshot, &default) {
            Ok(host) => host,
            Err((kind, problem)) => {
                problems.push((kind, problem));
                continue;
            }
        };
        match hosts.iter_mut().find(|wanted| wanted.host == host) {
            Some(wanted) => {
                if wanted.entry.is_some() {
                    let message = format!("two entries are for the host {host}; the last one counts");
                    problems.push((NoteKind::PolicyQuestionable, message));
                }
                wanted.entry = Some(entry.clone());
            }
            None => hosts.push(WantedHost { host, is_default: false, entry: Some(entry.clone()) }),
        }
    }
    (hosts, problems)
}

fn host_of(entry: &TrafficPolicyEntry, snapshot: &ServiceSnapshot, default: &Host) -> Result<Host, (NoteKind, String)> {
    let (prefix, dns) = (entry.dns_prefix.trim(), entry.dns.trim());
    let environment = snapshot.key.environment.as_str();
    let names_default = prefix.eq_ignore_ascii_case("default") || prefix.eq_ignore_ascii_case(environment);
    if names_default || (!dns.is_empty() && dns.eq_ignore_ascii_case(default.as_str())) {
        return Ok(default.clone());
    }
    if prefix.is_empty() {
        let message = if dns.is_empty() {
            "an entry has neither dnsPrefix nor dns; it is ignored".to_owned()
        } else {
            format!("dns {dns:?} is not the service's host {default}; the entry is ignored")
        };
        return Err((NoteKind::PolicyQuestionable, message));
    }
    default
        .with_prefix(prefix)
        .map_err(|error| (NoteKind::HostInvalid, format!("dnsPrefix {prefix:?}: {error}; the entry is ignored")))
}
