//! What IdentityClaims say: which workloads count for an identity, and whose policies do.
//!
//! A value that is made of all claims and answers questions; it knows neither who is asked for nor what follows. For each
//! service the claims with the longest name count, and of several with the same name all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::model::{ClaimRule, ClusterName, IdentityPattern, ObjectId, ServiceKey};

/// What is known of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KnownClaim {
    /// What it says.
    Rule(ClaimRule),
    /// It cannot be used, and never could.
    Unusable(Option<IdentityPattern>),
}

impl KnownClaim {
    /// Which identities it is for, where it says that.
    pub(super) fn pattern(&self) -> Option<&IdentityPattern> {
        match self {
            Self::Rule(rule) => Some(&rule.pattern),
            Self::Unusable(pattern) => pattern.as_ref(),
        }
    }
}

/// Why something does not count for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// No claim is for the service.
    NoClaim,
    /// The claim gives the service to others.
    Place(ObjectId),
    /// The claim gives the service to other service accounts of the namespace.
    Account(ObjectId, Vec<Arc<str>>),
    /// The claim lets other namespaces declare policies.
    Policy(ObjectId),
    /// Its identity was in these namespaces first.
    NotFirst(Vec<Arc<str>>),
}

/// Whether something counts for a service, by the claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClaimVerdict {
    /// A claim gives it the service.
    Given,
    /// This claim decides, and cannot be used.
    Unknown(ObjectId),
    /// It does not count.
    Excluded(Exclusion),
}

/// All claims together.
#[derive(Debug, Default)]
pub(super) struct ClaimSet {
    claims: BTreeMap<ObjectId, KnownClaim>,
    /// By the whole name.
    exact: HashMap<Box<str>, Vec<ObjectId>>,
    /// By the beginning of names.
    prefixes: HashMap<Box<str>, Vec<ObjectId>>,
    /// The first that does not say which identities it is for.
    opaque: Option<ObjectId>,
}

impl ClaimSet {
    pub(super) fn new(claims: BTreeMap<ObjectId, KnownClaim>) -> Self {
        let mut set = Self { claims, ..Self::default() };
        for (id, claim) in &set.claims {
            match claim.pattern() {
                Some(pattern) => {
                    let of = if pattern.is_prefix() { &mut set.prefixes } else { &mut set.exact };
                    of.entry(pattern.name().into()).or_default().push(id.clone());
                }
                None => drop(set.opaque.get_or_insert_with(|| id.clone())),
            }
        }
        set
    }

    /// The claims that are for the same identities as another one that comes before them, with that one.
    pub(super) fn repeated(&self) -> impl Iterator<Item = (&ObjectId, &ObjectId)> {
        let groups = self.exact.values().chain(self.prefixes.values());
        groups.flat_map(|ids| {
            let pairs = ids.iter().enumerate().skip(1);
            pairs.filter_map(|(at, id)| {
                let first = ids[..at].iter().find(|first| self.overlap(first, id))?;
                Some((id, first))
            })
        })
    }

    fn overlap(&self, one: &ObjectId, other: &ObjectId) -> bool {
        let (Some(KnownClaim::Rule(one)), Some(KnownClaim::Rule(other))) =
            (self.claims.get(one), self.claims.get(other))
        else {
            return false;
        };
        one.shares_environment(other)
    }

    /// The claims that decide a service.
    fn deciding(&self, key: &ServiceKey) -> Vec<(&ObjectId, &KnownClaim)> {
        let name = key.identity.folded();
        let lengths = (0..=name.len()).rev().filter(|length| name.is_char_boundary(*length));
        let beginnings = lengths.filter_map(|length| self.prefixes.get(&name[..length]));
        let mut groups = self.exact.get(name).into_iter().chain(beginnings);
        let is_for_service = |claim: &KnownClaim| match claim {
            KnownClaim::Rule(rule) => rule.is_for(&key.environment),
            // Its environments are not known either.
            KnownClaim::Unusable(_) => true,
        };
        let deciding = groups.find_map(|ids| {
            let claims = ids.iter().filter_map(|id| Some((id, self.claims.get(id)?)));
            let claims: Vec<_> = claims.filter(|(_, claim)| is_for_service(claim)).collect();
            (!claims.is_empty()).then_some(claims)
        });
        deciding.unwrap_or_default()
    }

    fn judge(&self, key: &ServiceKey, judge: impl Fn(&ObjectId, &ClaimRule) -> Result<(), Exclusion>) -> ClaimVerdict {
        let deciding = self.deciding(key);
        let (mut why, mut unknown) = (None, None);
        for (id, claim) in &deciding {
            match claim {
                KnownClaim::Rule(rule) => match judge(id, rule) {
                    Ok(()) => return ClaimVerdict::Given,
                    Err(exclusion) => drop(why.get_or_insert(exclusion)),
                },
                KnownClaim::Unusable(_) => drop(unknown.get_or_insert_with(|| (*id).clone())),
            }
        }
        // What no claim covers may be what the one that cannot be used is for.
        let unknown = unknown.or_else(|| self.opaque.clone().filter(|_| deciding.is_empty()));
        unknown.map_or_else(|| ClaimVerdict::Excluded(why.unwrap_or(Exclusion::NoClaim)), ClaimVerdict::Unknown)
    }

    /// Whether a workload counts for a service.
    pub(super) fn of_workload(
        &self,
        key: &ServiceKey,
        cluster: &ClusterName,
        namespace: &str,
        accounts: &[Arc<str>],
    ) -> ClaimVerdict {
        self.judge(key, |id, rule| {
            if rule.gives(cluster, namespace, accounts) {
                Ok(())
            } else if rule.gives_to_some_account(cluster, namespace) {
                Err(Exclusion::Account(id.clone(), accounts.to_vec()))
            } else {
                Err(Exclusion::Place(id.clone()))
            }
        })
    }

    /// Whether a policy counts for a service. On the hub, in the namespace of the claims, every policy does: whoever writes there
    /// may as well write a claim.
    pub(super) fn of_policy(&self, key: &ServiceKey, cluster: &ClusterName, namespace: &str) -> ClaimVerdict {
        if *cluster == ClusterName::hub() {
            return ClaimVerdict::Given;
        }
        self.judge(key, |id, rule| {
            rule.lets_declare_in(cluster, namespace).then_some(()).ok_or_else(|| Exclusion::Policy(id.clone()))
        })
    }

    /// Whether some workload of a service may run as an account, in any cluster.
    pub(super) fn of_account(&self, key: &ServiceKey, namespace: &str, account: &str) -> ClaimVerdict {
        self.judge(key, |id, rule| {
            rule.lets_run_as(namespace, account).then_some(()).ok_or_else(|| Exclusion::Place(id.clone()))
        })
    }

    /// The claim that decides a service and cannot be used, while it does.
    pub(super) fn unknown(&self, key: &ServiceKey) -> Option<ObjectId> {
        match self.judge(key, |id, _| Err(Exclusion::Place(id.clone()))) {
            ClaimVerdict::Unknown(id) => Some(id),
            ClaimVerdict::Given | ClaimVerdict::Excluded(_) => None,
        }
    }
}

impl Exclusion {
    /// Why something in a namespace does not count for a service, in words.
    pub(super) fn reason(&self, key: &ServiceKey, cluster: &ClusterName, namespace: &str) -> String {
        let claim = |id: &ObjectId| format!("the IdentityClaim {}/{} of the hub", id.namespace, id.name);
        match self {
            Self::NoClaim => format!("no IdentityClaim of the hub is for {key}"),
            Self::Place(id) => {
                format!("{} does not give {key} to the namespace {namespace} of {cluster}", claim(id))
            }
            Self::Account(id, accounts) if accounts.is_empty() => {
                format!("{} gives {key} to certain service accounts of {namespace}, and it names none", claim(id))
            }
            Self::Account(id, accounts) => format!(
                "{} gives {key} to other service accounts of {namespace} than {}",
                claim(id),
                accounts.join(", ")
            ),
            Self::Policy(id) => {
                format!("{} does not let the namespace {namespace} of {cluster} declare policies for {key}", claim(id))
            }
            Self::NotFirst(first) => {
                format!(
                    "{} came to {namespace} later than to {} (identityNamespaces: first)",
                    key.identity,
                    first.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::IdentityClaimSpec,
        model::{Kind, claim_spec as spec},
    };

    fn id(name: &str) -> ObjectId {
        ObjectId::new(Kind::IdentityClaim, "admiral", name)
    }

    fn set(specs: &[(&str, IdentityClaimSpec)]) -> ClaimSet {
        let claims = specs.iter().map(|(name, spec)| {
            let known = ClaimRule::parse(spec).map(KnownClaim::Rule);
            (id(name), known.unwrap_or_else(|unusable| KnownClaim::Unusable(unusable.pattern)))
        });
        ClaimSet::new(claims.collect())
    }

    fn workload(set: &ClaimSet, service: &str, cluster: &str, namespace: &str, account: &str) -> ClaimVerdict {
        let (identity, environment) = service.split_once('/').unwrap();
        let key = ServiceKey::parse(identity, environment).unwrap();
        let accounts: Vec<Arc<str>> = if account.is_empty() { vec![] } else { vec![account.into()] };
        set.of_workload(&key, &ClusterName::parse(cluster).unwrap(), namespace, &accounts)
    }

    fn policy(set: &ClaimSet, service: &str, cluster: &str, namespace: &str) -> ClaimVerdict {
        let (identity, environment) = service.split_once('/').unwrap();
        set.of_policy(
            &ServiceKey::parse(identity, environment).unwrap(),
            &ClusterName::parse(cluster).unwrap(),
            namespace,
        )
    }

    fn by(name: &str) -> ClaimVerdict {
        ClaimVerdict::Excluded(Exclusion::Policy(id(name)))
    }

    fn place(name: &str) -> ClaimVerdict {
        ClaimVerdict::Excluded(Exclusion::Place(id(name)))
    }

    #[test]
    fn a_claim_gives_its_identity_to_its_clusters_namespaces_and_accounts_alone() {
        let set =
            set(&[("pay", spec("Payments", &["stage"], &[("east west", "pay", "payer"), ("*", "vms", "")], &[]))]);
        assert_eq!(workload(&set, "payments/stage", "east", "pay", "payer"), ClaimVerdict::Given);
        assert_eq!(workload(&set, "PAYMENTS/Stage", "north", "vms", ""), ClaimVerdict::Given);
        assert_eq!(workload(&set, "payments/stage", "north", "pay", "payer"), place("pay"));
        assert_eq!(workload(&set, "payments/stage", "east", "evil", "payer"), place("pay"));
        for account in ["thief", ""] {
            let verdict = workload(&set, "payments/stage", "east", "pay", account);
            assert!(matches!(verdict, ClaimVerdict::Excluded(Exclusion::Account(..))), "{verdict:?}");
        }
        assert_eq!(workload(&set, "payments/prod", "east", "pay", "payer"), ClaimVerdict::Excluded(Exclusion::NoClaim));
        assert_eq!(
            workload(&set, "payments2/stage", "east", "pay", "payer"),
            ClaimVerdict::Excluded(Exclusion::NoClaim)
        );
    }

    #[test]
    fn the_longest_name_counts_and_of_the_same_name_all() {
        let set = set(&[
            ("all", spec("*", &[], &[("*", "any", "")], &[])),
            ("pay-all", spec("pay*", &[], &[("*", "team", "")], &[])),
            ("pay-stage", spec("payments", &["stage"], &[("*", "one", "")], &[])),
            ("pay-stage-too", spec("payments", &["stage", "qa"], &[("*", "two", "")], &[])),
        ]);
        for (namespace, verdict) in
            [("one", ClaimVerdict::Given), ("two", ClaimVerdict::Given), ("team", place("pay-stage"))]
        {
            assert_eq!(workload(&set, "payments/stage", "east", namespace, "default"), verdict);
        }
        assert_eq!(workload(&set, "payments/stage", "east", "any", "default"), place("pay-stage"));
        assert_eq!(
            workload(&set, "payments/prod", "east", "team", "default"),
            ClaimVerdict::Given,
            "the exact ones are not for it"
        );
        assert_eq!(workload(&set, "payments/prod", "east", "any", "default"), place("pay-all"));
        assert_eq!(workload(&set, "orders/prod", "east", "any", "default"), ClaimVerdict::Given);
        let repeated: Vec<_> = set.repeated().collect();
        assert_eq!(repeated, [(&id("pay-stage-too"), &id("pay-stage"))]);
    }

    #[test]
    fn policies_are_declared_by_the_holders_or_by_those_that_are_named() {
        let set = set(&[
            ("pay", spec("payments", &[], &[("east", "pay", "payer")], &[])),
            ("ship", spec("shipping", &[], &[("east", "ship", "")], &["platform"])),
        ]);
        assert_eq!(policy(&set, "payments/stage", "east", "pay"), ClaimVerdict::Given);
        assert_eq!(policy(&set, "payments/stage", "east", "evil"), by("pay"));
        assert_eq!(policy(&set, "payments/stage", "west", "pay"), by("pay"));
        assert_eq!(policy(&set, "shipping/stage", "east", "platform"), ClaimVerdict::Given);
        assert_eq!(policy(&set, "shipping/stage", "west", "platform"), by("ship"));
        assert_eq!(policy(&set, "shipping/stage", "east", "ship"), by("ship"));
        let key = ServiceKey::parse("shipping", "stage").unwrap();
        assert_eq!(set.of_policy(&key, &ClusterName::hub(), "admiral"), ClaimVerdict::Given);
    }

    #[test]
    fn what_cannot_be_used_says_nothing_and_is_not_taken_for_nothing() {
        let usable = || ("ship", spec("shipping", &[], &[("*", "ship", "")], &[]));
        let half = set(&[usable(), ("pay", spec("payments", &[], &[], &[]))]);
        assert_eq!(workload(&half, "payments/stage", "east", "evil", ""), ClaimVerdict::Unknown(id("pay")));
        assert_eq!(workload(&half, "orders/stage", "east", "evil", ""), ClaimVerdict::Excluded(Exclusion::NoClaim));
        assert_eq!(workload(&half, "shipping/stage", "east", "evil", ""), place("ship"));
        let opaque = set(&[usable(), ("pay", spec("pay_ments", &[], &[("*", "pay", "")], &[]))]);
        assert_eq!(workload(&opaque, "payments/stage", "east", "evil", ""), ClaimVerdict::Unknown(id("pay")));
        assert_eq!(workload(&opaque, "shipping/stage", "east", "evil", ""), place("ship"), "harms only itself");
        let key = |identity| ServiceKey::parse(identity, "stage").unwrap();
        assert_eq!((opaque.unknown(&key("payments")), opaque.unknown(&key("shipping"))), (Some(id("pay")), None));
    }
}
