//! What one IdentityClaim says, parsed: which identity it is for, who holds it, and who may declare policies for it.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{ClusterName, Environment, Identity, is_dns_label, quoted};
use crate::api::{IdentityClaimSpec, IdentityHolder};

/// Longest identity: that of a host name.
const MAX_IDENTITY_CHARS: usize = 253;

/// What in a claim cannot be used. Texts of the claim are quoted, so that none is kept at length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("the identity {0} is neither a name nor the beginning of names with one *")]
    Identity(String),
    #[error("cannot be read: {0}")]
    Malformed(String),
    #[error("it names no holder")]
    NoHolder,
    #[error("a holder names no cluster; write * for all")]
    NoCluster,
    #[error("a holder names no namespace")]
    NoNamespace,
    #[error("{name} is no name of {what}")]
    Name { name: String, what: &'static str },
}

impl ClaimError {
    fn name(name: &str, what: &'static str) -> Self {
        Self::Name { name: quoted(name), what }
    }
}

/// The identities that a claim is for: one, or all whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IdentityPattern {
    /// In lower case, without the `*`.
    name: Box<str>,
    is_prefix: bool,
}

impl IdentityPattern {
    fn parse(text: &str) -> Result<Self, ClaimError> {
        let text = text.trim();
        let is_prefix = text.ends_with('*');
        let name = text.strip_suffix('*').unwrap_or(text);
        // The beginning of a name is one, with something behind it.
        let whole = if is_prefix { format!("{name}x") } else { name.to_owned() };
        if text.len() > MAX_IDENTITY_CHARS || Identity::parse(&whole).is_err() {
            return Err(ClaimError::Identity(quoted(text)));
        }
        Ok(Self { name: name.to_ascii_lowercase().into(), is_prefix })
    }

    /// The name, or the beginning of names, in lower case.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is for all identities whose names begin so.
    pub(crate) fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Whether an identity is among them.
    pub(crate) fn fits(&self, identity: &Identity) -> bool {
        let name = identity.folded();
        if self.is_prefix { name.starts_with(&*self.name) } else { name == &*self.name }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

/// Workloads that may count, by where they run and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    /// All clusters where there is none.
    clusters: BTreeSet<ClusterName>,
    namespaces: BTreeSet<Box<str>>,
    /// Any account where there is none.
    accounts: BTreeSet<Box<str>>,
}

impl Holder {
    fn parse(holder: &IdentityHolder) -> Result<Self, ClaimError> {
        let mut clusters = BTreeSet::new();
        if holder.clusters.is_empty() {
            return Err(ClaimError::NoCluster);
        }
        let is_everywhere = holder.clusters.iter().any(|name| name.trim() == "*");
        for name in holder.clusters.iter().map(|name| name.trim()).filter(|name| *name != "*") {
            clusters.insert(ClusterName::parse(name).map_err(|_| ClaimError::name(name, "a cluster"))?);
        }
        if is_everywhere {
            clusters.clear();
        }
        if holder.namespaces.is_empty() {
            return Err(ClaimError::NoNamespace);
        }
        let namespaces = namespaces(&holder.namespaces)?;
        let accounts = holder.service_accounts.iter().map(|account| account.trim());
        if let Some(bad) = accounts.clone().find(|account| account.is_empty() || account.contains(['*', '/'])) {
            return Err(ClaimError::name(bad, "a service account"));
        }
        Ok(Self { clusters, namespaces, accounts: accounts.map(Into::into).collect() })
    }

    fn is_in(&self, cluster: &ClusterName) -> bool {
        self.clusters.is_empty() || self.clusters.contains(cluster)
    }

    fn has(&self, cluster: &ClusterName, namespace: &str) -> bool {
        self.is_in(cluster) && self.namespaces.contains(namespace)
    }

    /// Whether all accounts of a workload may be used; a machine that names none may where any account may.
    fn lets_run_as(&self, accounts: &[Arc<str>]) -> bool {
        self.accounts.is_empty()
            || !accounts.is_empty() && accounts.iter().all(|account| self.accounts.contains(&**account))
    }
}

fn namespaces(names: &[String]) -> Result<BTreeSet<Box<str>>, ClaimError> {
    let parsed = names
        .iter()
        .map(|name| name.trim())
        .map(|name| if is_dns_label(name) { Ok(name.into()) } else { Err(ClaimError::name(name, "a namespace")) });
    parsed.collect()
}

/// What one claim says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRule {
    pub(crate) pattern: IdentityPattern,
    /// All environments where there is none.
    environments: BTreeSet<Environment>,
    holders: Vec<Holder>,
    /// Those of the holders where there is none.
    policy_namespaces: BTreeSet<Box<str>>,
}

/// Why a claim cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnusableClaim {
    /// Which identities it is for, where it says that.
    pub(crate) pattern: Option<IdentityPattern>,
    /// What is wrong with it.
    pub(crate) reason: ClaimError,
}

impl ClaimRule {
    /// Reads a claim: whole or not at all, because half of one would leave out what the other half gives.
    pub(crate) fn parse(spec: &IdentityClaimSpec) -> Result<Self, UnusableClaim> {
        let pattern =
            IdentityPattern::parse(&spec.identity).map_err(|reason| UnusableClaim { pattern: None, reason })?;
        Self::of(pattern.clone(), spec).map_err(|reason| UnusableClaim { pattern: Some(pattern), reason })
    }

    fn of(pattern: IdentityPattern, spec: &IdentityClaimSpec) -> Result<Self, ClaimError> {
        if spec.holders.is_empty() {
            return Err(ClaimError::NoHolder);
        }
        let environments = spec
            .environments
            .iter()
            .map(|name| Environment::parse(name).map_err(|_| ClaimError::name(name, "an environment")));
        Ok(Self {
            pattern,
            environments: environments.collect::<Result<_, _>>()?,
            holders: spec.holders.iter().map(Holder::parse).collect::<Result<_, _>>()?,
            policy_namespaces: namespaces(&spec.policy_namespaces)?,
        })
    }

    /// Whether it is for an environment.
    pub(crate) fn is_for(&self, environment: &Environment) -> bool {
        self.environments.is_empty() || self.environments.contains(environment)
    }

    /// Whether two claims are for the same environment.
    pub(crate) fn shares_environment(&self, other: &Self) -> bool {
        let all = self.environments.is_empty() || other.environments.is_empty();
        all || !self.environments.is_disjoint(&other.environments)
    }

    /// Whether it gives the identity to a workload.
    pub(crate) fn gives(&self, cluster: &ClusterName, namespace: &str, accounts: &[Arc<str>]) -> bool {
        let mut here = self.holders.iter().filter(|holder| holder.has(cluster, namespace));
        here.any(|holder| holder.lets_run_as(accounts))
    }

    /// Whether it gives the identity to workloads of a namespace, by their service account.
    pub(crate) fn gives_to_some_account(&self, cluster: &ClusterName, namespace: &str) -> bool {
        self.holders.iter().any(|holder| holder.has(cluster, namespace))
    }

    /// Whether it gives the identity to a service account, in some cluster.
    pub(crate) fn lets_run_as(&self, namespace: &str, account: &str) -> bool {
        let in_namespace = |holder: &Holder| holder.namespaces.contains(namespace);
        let lets = |holder: &Holder| holder.accounts.is_empty() || holder.accounts.contains(account);
        self.holders.iter().any(|holder| in_namespace(holder) && lets(holder))
    }

    /// Whether policies of a namespace count for the identity.
    pub(crate) fn lets_declare_in(&self, cluster: &ClusterName, namespace: &str) -> bool {
        if self.policy_namespaces.is_empty() {
            return self.holders.iter().any(|holder| holder.has(cluster, namespace));
        }
        self.policy_namespaces.contains(namespace) && self.holders.iter().any(|holder| holder.is_in(cluster))
    }
}

/// A claim in short: each list of names is one text, with spaces between the names.
#[cfg(test)]
pub(crate) fn claim_spec(
    identity: &str,
    environments: &[&str],
    holders: &[(&str, &str, &str)],
    policies: &[&str],
) -> IdentityClaimSpec {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let holder = |(clusters, namespaces, accounts): &(&str, &str, &str)| IdentityHolder {
        clusters: words(clusters),
        namespaces: words(namespaces),
        service_accounts: words(accounts),
    };
    IdentityClaimSpec {
        identity: identity.into(),
        environments: environments.iter().map(|name| (*name).to_owned()).collect(),
        holders: holders.iter().map(holder).collect(),
        policy_namespaces: policies.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{claim_spec as spec, *};

    #[test]
    fn a_claim_is_read_whole_or_not_at_all() {
        let good: &[(&str, &str, &str)] = &[("*", "pay", "")];
        for (identity, environments, holders, policies, what) in [
            ("", &[][..], good, &[][..], "identity"),
            ("pay*ments", &[], good, &[], "identity"),
            ("**", &[], good, &[], "identity"),
            ("-*", &[], good, &[], "identity"),
            ("payments", &["st_age"], good, &[], "environment"),
            ("payments", &[], &[], &[], "no holder"),
            ("payments", &[], &[("", "pay", "")], &[], "no cluster"),
            ("payments", &[], &[("ea(st", "pay", "")], &[], "cluster"),
            ("payments", &[], &[("*", "", "")], &[], "no namespace"),
            ("payments", &[], &[("*", "*", "")], &[], "\"*\" is no name of a namespace"),
            ("payments", &[], &[("*", "pay", "p/q")], &[], "service account"),
            ("payments", &[], &[("*", "pay", ""), ("*", "Pay", "")], &[], "\"Pay\""),
            ("payments", &[], good, &["*"], "namespace"),
        ] {
            let unusable = ClaimRule::parse(&spec(identity, environments, holders, policies)).unwrap_err();
            assert!(unusable.reason.to_string().contains(what), "{what}: {}", unusable.reason);
        }
        let hostile = format!("\u{1b}[2J{}", "a".repeat(5_000));
        let reason = ClaimRule::parse(&spec(&hostile, &[], good, &[])).unwrap_err().reason;
        let reason = reason.to_string();
        assert!(reason.len() < 200 && !reason.contains('\u{1b}'), "{reason}");
    }
}
