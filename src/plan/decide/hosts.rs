//! Which hosts a service has: its default host, those of a Rollout's strategy (Admiral,
//! docs/admiral-behaviour.md#rollout-hosts), and one per prefix of its policy before each of them (Admiral,
//! docs/admiral-behaviour.md#hosts-of-a-policy).

use crate::{
    api::TrafficPolicyEntry,
    config::Settings,
    model::{Host, HostError, NoteKind, Policy, ServiceKey, Variant},
    plan::input::ServiceInput,
};

/// A host that a service asks for, and the policy entry that governs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedHost {
    pub(super) host: Host,
    pub(super) variant: Variant,
    /// Whether it is the host of its variant, without a prefix of the policy.
    pub(super) is_default: bool,
    pub(super) entry: Option<TrafficPolicyEntry>,
    /// Which entry of the policy that is, counted from 0.
    pub(super) entry_index: Option<usize>,
    /// Whether the entry names this very host, and is not the one for all hosts of the service.
    pub(super) is_named: bool,
}

impl WantedHost {
    /// Annotation `dns-prefix` (Admiral, docs/admiral-behaviour.md#hosts-of-a-policy); empty for none.
    pub(super) fn dns_prefix(&self) -> String {
        let prefix = self.entry.as_ref().map_or("", |entry| entry.dns_prefix.trim());
        let variant = self.variant.prefix();
        match (self.variant, prefix) {
            (Variant::Canary, "" | "default") => variant.to_owned(),
            (Variant::Canary, prefix) if prefix != variant => format!("{prefix}.{variant}"),
            (_, prefix) => prefix.to_owned(),
        }
    }
}

/// The hosts of a service: for the default one and each that a Rollout's strategy brings, the host itself, then the
/// prefixes in the order of the policy; with what was wrong.
pub(super) fn wanted(
    service: &ServiceInput,
    policy: Option<&Policy>,
    settings: &Settings,
) -> (Vec<WantedHost>, Vec<(NoteKind, String)>) {
    let mut problems = Vec::new();
    let key = ServiceKey { identity: service.identity.clone(), environment: service.key.environment.clone() };
    let default = match Host::of_service(&key, &settings.hostname_suffix, service.keep_case) {
        Ok(host) => host,
        Err(error) => {
            problems.push((NoteKind::HostInvalid, format!("{error}; {} is not published", service.key)));
            return (Vec::new(), problems);
        }
    };
    let mut bases = vec![(Variant::Default, default)];
    for (variant, _) in &service.variants {
        match bases[0].1.with_prefix(variant.prefix()) {
            Ok(host) => bases.push((*variant, host)),
            Err(error) => {
                problems.push((NoteKind::HostInvalid, format!("{error}; the {variant} is not published")));
            }
        }
    }
    let plain = |(variant, host): &(Variant, Host)| WantedHost {
        host: host.clone(),
        variant: *variant,
        is_default: true,
        entry: None,
        entry_index: None,
        is_named: false,
    };
    let mut hosts: Vec<WantedHost> = bases.iter().map(plain).collect();
    let entries = policy.map(|policy| policy.spec.policy.as_slice()).unwrap_or_default();
    for indexed @ (_, entry) in entries.iter().enumerate() {
        let scope = match scope_of(entry, service, &bases) {
            Ok(scope) => scope,
            Err(problem) => {
                problems.push((NoteKind::PolicyQuestionable, problem.to_string()));
                continue;
            }
        };
        for base in &bases {
            apply_entry(&mut hosts, base, indexed, &scope, &mut problems);
        }
    }
    (hosts, problems)
}

/// Which hosts a policy entry is for.
enum EntryScope {
    /// The host of every variant.
    All,
    /// The host of one variant.
    One(Variant),
    /// One more host before that of every variant.
    Prefix,
}

/// Puts the entry where it is for `base`, the host of a variant.
fn apply_entry(
    hosts: &mut Vec<WantedHost>,
    (variant, base): &(Variant, Host),
    (index, entry): (usize, &TrafficPolicyEntry),
    scope: &EntryScope,
    problems: &mut Vec<(NoteKind, String)>,
) {
    let is_default_variant = *variant == Variant::Default;
    let (host, is_named) = match scope {
        EntryScope::All => (base.clone(), false),
        EntryScope::One(only) if only == variant => (base.clone(), true),
        EntryScope::One(_) => return,
        EntryScope::Prefix => match base.with_prefix(entry.dns_prefix.trim()) {
            Ok(host) => (host, true),
            Err(error) => {
                // The longer host of a variant says the same of the same prefix.
                if is_default_variant || !matches!(error, HostError::Name(_)) {
                    let message = format!("dnsPrefix {:?}: {error}; the entry is ignored", entry.dns_prefix.trim());
                    problems.push((NoteKind::HostInvalid, message));
                }
                return;
            }
        },
    };
    match hosts.iter_mut().find(|wanted| wanted.host == host) {
        // An entry that names the host comes before one for all hosts.
        Some(wanted) if wanted.is_named && !is_named => {}
        Some(wanted) => {
            if wanted.entry.is_some() && wanted.is_named == is_named && is_default_variant {
                let message = format!("two entries are for the host {host}; the last one counts");
                problems.push((NoteKind::PolicyQuestionable, message));
            }
            (wanted.entry, wanted.entry_index, wanted.is_named) = (Some(entry.clone()), Some(index), is_named);
        }
        None => {
            hosts.push(WantedHost {
                host,
                variant: *variant,
                is_default: false,
                entry: Some(entry.clone()),
                entry_index: Some(index),
                is_named,
            });
        }
    }
}

/// Why an entry is for no host of the service.
#[derive(Debug, thiserror::Error)]
enum ScopeError {
    #[error("an entry has neither dnsPrefix nor dns; it is ignored")]
    NoHost,
    #[error("dns {dns:?} is not the service's host {host}; the entry is ignored")]
    OtherHost { dns: String, host: Host },
}

fn scope_of(
    entry: &TrafficPolicyEntry,
    service: &ServiceInput,
    bases: &[(Variant, Host)],
) -> Result<EntryScope, ScopeError> {
    let (prefix, dns) = (entry.dns_prefix.trim(), entry.dns.trim());
    let environment = service.key.environment.as_str();
    if prefix.eq_ignore_ascii_case("default") || prefix.eq_ignore_ascii_case(environment) {
        return Ok(EntryScope::All);
    }
    match bases.iter().find(|(_, host)| dns.eq_ignore_ascii_case(host.as_str())) {
        Some((Variant::Default, _)) => return Ok(EntryScope::All),
        Some((variant, _)) => return Ok(EntryScope::One(*variant)),
        None => {}
    }
    if let Some((variant, _)) = bases.iter().skip(1).find(|(variant, _)| prefix.eq_ignore_ascii_case(variant.prefix()))
    {
        return Ok(EntryScope::One(*variant));
    }
    match (prefix, dns) {
        ("", "") => Err(ScopeError::NoHost),
        ("", dns) => Err(ScopeError::OtherHost { dns: dns.to_owned(), host: bases[0].1.clone() }),
        _ => Ok(EntryScope::Prefix),
    }
}
