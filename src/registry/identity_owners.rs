//! Who counts for an identity: by the claims, and without them by who was there first.
//!
//! Each cluster state asks here whenever it classifies a workload. Decides whether something counts, and says why not; what
//! follows is for those who ask.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    claim_rules::{ClaimSet, ClaimVerdict, Exclusion},
    locks::{Rank, RankedMutex, RankedRwLock},
};
use crate::{
    config::{IdentityClaims, IdentityNamespaces, Settings},
    model::{ClusterName, Identity, IdentityPattern, ObjectId, ServiceKey},
};

/// Most identities whose namespaces are followed, so that names that somebody makes up without end take no memory without end.
/// What comes later is neither announced nor held.
const MAX_FOLLOWED_IDENTITIES: usize = 200_000;

/// What asks for a service: the key without partition, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdentityUse<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) cluster: &'a ClusterName,
    pub(super) namespace: &'a Arc<str>,
}

/// Whether something counts for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Eligibility {
    /// It does, and there may be something to say.
    Counts(Option<Remark>),
    /// It does not.
    Excluded(Exclusion),
}

/// What its owner should know of something that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remark {
    /// With claims enforced it would not.
    WouldBeExcluded(Exclusion),
    /// Its identity ran in these namespaces alone before.
    GainedNamespace(Vec<Arc<str>>),
}

/// How a namespace came to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// With the identity, or by a claim.
    First,
    /// When the identity was in others.
    Later,
}

/// The namespaces that ran each identity since the first reading of the fleet.
#[derive(Debug, Default)]
struct KnownNamespaces {
    /// Whether the fleet was read once.
    has_begun: bool,
    /// The namespaces that served, by what was written before.
    served: BTreeMap<Identity, BTreeSet<Arc<str>>>,
    of: HashMap<Identity, IdentityNamespacesSeen>,
    /// The clusters that could not be read wholly then: what is read there later was there before, as far as anybody knows.
    unread: BTreeSet<ClusterName>,
}

/// The namespaces of one identity.
#[derive(Debug, Default)]
struct IdentityNamespacesSeen {
    arrivals: BTreeMap<Arc<str>, Arrival>,
    /// The clusters that ran it and cannot be read: what runs there was first.
    awaited: BTreeSet<ClusterName>,
}

/// Who held an identity when its namespaces began to be followed.
#[derive(Debug, Default)]
pub(super) struct FirstHolders {
    pub(super) namespaces: BTreeSet<Arc<str>>,
    /// The clusters that ran it and cannot be read; none where the namespaces are known.
    pub(super) awaited: BTreeSet<ClusterName>,
}

impl KnownNamespaces {
    /// How a namespace came to an identity, which it does now where it had not yet.
    fn enter(&mut self, identity_use: IdentityUse<'_>, is_given: bool) -> Arrival {
        let IdentityUse { key: ServiceKey { identity, .. }, cluster, namespace } = identity_use;
        if !self.has_begun {
            return Arrival::First;
        }
        let is_full = self.of.len() >= MAX_FOLLOWED_IDENTITIES;
        let Some(known) = self.of.get_mut(identity) else {
            if !is_full {
                let arrivals = [(namespace.clone(), Arrival::First)].into();
                self.of.insert(identity.clone(), IdentityNamespacesSeen { arrivals, ..Default::default() });
            }
            return Arrival::First;
        };
        let was_awaited = known.awaited.contains(cluster) || self.unread.contains(cluster);
        let new = if is_given || was_awaited { Arrival::First } else { Arrival::Later };
        let arrival = known.arrivals.entry(namespace.clone()).or_insert(new);
        if is_given || was_awaited {
            *arrival = Arrival::First;
        }
        *arrival
    }

    /// The namespaces that an identity was in first.
    fn first(&self, identity: &Identity) -> Vec<Arc<str>> {
        let known = self.of.get(identity).map(|known| &known.arrivals).into_iter().flatten();
        known.filter(|(_, arrival)| **arrival == Arrival::First).map(|(namespace, _)| namespace.clone()).collect()
    }
}

/// Who counts for each identity.
#[derive(Debug)]
pub(super) struct IdentityOwners {
    mode: IdentityClaims,
    namespaces: IdentityNamespaces,
    claims: RankedRwLock<Arc<ClaimSet>>,
    known: RankedMutex<KnownNamespaces>,
}

impl IdentityOwners {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            mode: settings.identity_claims,
            namespaces: settings.identity_namespaces,
            claims: RankedRwLock::new(Rank::IdentityOwners, Arc::default()),
            known: RankedMutex::new(Rank::IdentityOwners, KnownNamespaces::default()),
        }
    }

    /// The claims in force; none where they are not looked at.
    fn claims(&self) -> Option<Arc<ClaimSet>> {
        (self.mode != IdentityClaims::Off).then(|| self.claims.read().clone())
    }

    /// Replaces the claims in force.
    pub(super) fn set_claims(&self, claims: Arc<ClaimSet>) {
        *self.claims.write() = claims;
    }

    /// Whether a workload counts for the service that it names.
    pub(super) fn of_workload(&self, identity_use: IdentityUse<'_>, accounts: &[Arc<str>]) -> Eligibility {
        let IdentityUse { key, cluster, namespace } = identity_use;
        let verdict = self.claims().map(|claims| claims.of_workload(key, cluster, namespace, accounts));
        let is_given = verdict == Some(ClaimVerdict::Given);
        let remark = match verdict {
            Some(ClaimVerdict::Excluded(why)) if self.mode == IdentityClaims::Enforce => {
                return Eligibility::Excluded(why);
            }
            Some(ClaimVerdict::Excluded(why)) => Some(Remark::WouldBeExcluded(why)),
            None | Some(ClaimVerdict::Given | ClaimVerdict::Unknown(_)) => None,
        };
        let mut known = self.known.lock();
        match known.enter(identity_use, is_given) {
            Arrival::First => Eligibility::Counts(remark),
            Arrival::Later if self.namespaces == IdentityNamespaces::First => {
                Eligibility::Excluded(Exclusion::NotFirst(known.first(&key.identity)))
            }
            Arrival::Later => {
                let gained = || Remark::GainedNamespace(known.first(&key.identity));
                Eligibility::Counts(remark.or_else(|| Some(gained())))
            }
        }
    }

    /// Whether a policy counts for the service that it names.
    pub(super) fn of_policy(&self, identity_use: IdentityUse<'_>) -> Eligibility {
        let IdentityUse { key, cluster, namespace } = identity_use;
        let verdict = self.claims().map(|claims| claims.of_policy(key, cluster, namespace));
        match verdict {
            Some(ClaimVerdict::Given) => return Eligibility::Counts(None),
            Some(ClaimVerdict::Excluded(why)) if self.mode == IdentityClaims::Enforce => {
                return Eligibility::Excluded(why);
            }
            Some(ClaimVerdict::Excluded(why)) => return Eligibility::Counts(Some(Remark::WouldBeExcluded(why))),
            None | Some(ClaimVerdict::Unknown(_)) => {}
        }
        if self.namespaces == IdentityNamespaces::First && *cluster != ClusterName::hub() {
            let first = self.known.lock().first(&key.identity);
            if !first.is_empty() && !first.contains(namespace) {
                return Eligibility::Excluded(Exclusion::NotFirst(first));
            }
        }
        Eligibility::Counts(None)
    }

    /// Whether a subject name that was written may stay while it is not known who runs the service.
    pub(super) fn lets_stay(&self, key: &ServiceKey, namespace: &str, account: &str) -> bool {
        if self.mode != IdentityClaims::Enforce {
            return true;
        }
        let verdict = self.claims().map(|claims| claims.of_account(key, namespace, account));
        !matches!(verdict, Some(ClaimVerdict::Excluded(_)))
    }

    /// The claim that decides a service and cannot be used, where that matters.
    pub(super) fn unusable_claim(&self, key: &ServiceKey) -> Option<ObjectId> {
        let claims = self.claims().filter(|_| self.mode == IdentityClaims::Enforce)?;
        claims.unknown(key)
    }

    /// Whether only the first namespaces of an identity count.
    pub(super) fn only_first_count(&self) -> bool {
        self.namespaces == IdentityNamespaces::First
    }

    /// Remembers a namespace that served an identity before the fleet was read.
    pub(super) fn remember_served(&self, identity: Identity, namespaces: BTreeSet<Arc<str>>) {
        let mut known = self.known.lock();
        let is_followed = known.served.len() < MAX_FOLLOWED_IDENTITIES;
        if self.only_first_count() && !known.has_begun && is_followed && !namespaces.is_empty() {
            known.served.entry(identity).or_default().extend(namespaces);
        }
    }

    /// Takes the namespaces that served each identity.
    pub(super) fn take_served(&self) -> BTreeMap<Identity, BTreeSet<Arc<str>>> {
        std::mem::take(&mut self.known.lock().served)
    }

    /// Begins to follow the namespaces of identities: the fleet was read once, but for the clusters in `unread`.
    pub(super) fn begin(&self, holders: BTreeMap<Identity, FirstHolders>, unread: BTreeSet<ClusterName>) {
        let mut known = self.known.lock();
        if std::mem::replace(&mut known.has_begun, true) {
            return;
        }
        let seen = |FirstHolders { namespaces, awaited }: FirstHolders| IdentityNamespacesSeen {
            arrivals: namespaces.into_iter().map(|name| (name, Arrival::First)).collect(),
            awaited,
        };
        let holders = holders.into_iter().take(MAX_FOLLOWED_IDENTITIES);
        known.of = holders.map(|(identity, holders)| (identity, seen(holders))).collect();
        known.unread = unread;
    }
}

/// Of which services the claims changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChangedClaims {
    patterns: Vec<IdentityPattern>,
    is_everything: bool,
}

impl ChangedClaims {
    /// Adds those of a claim that came, changed or went; all, where it does not say of which.
    pub(super) fn add(&mut self, pattern: Option<&IdentityPattern>) {
        match pattern {
            Some(pattern) if self.patterns.contains(pattern) => {}
            Some(pattern) => self.patterns.push(pattern.clone()),
            None => self.is_everything = true,
        }
    }

    pub(super) fn all() -> Self {
        Self { patterns: Vec::new(), is_everything: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && !self.is_everything
    }

    /// Whether the claims of an identity may have changed.
    pub(super) fn concerns(&self, identity: &Identity) -> bool {
        self.is_everything || self.patterns.iter().any(|pattern| pattern.fits(identity))
    }
}
