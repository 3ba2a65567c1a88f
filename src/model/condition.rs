//! Notes as Kubernetes conditions: what a note would be in the status of the object that it is about, and how bad it is.
//!
//! Types and reasons follow the Gateway API where it has them (`Accepted`, `Programmed`, `ResolvedRefs`, `PartiallyInvalid`,
//! `Conflicted`); severities are those of Istio's analyzers. Decides nothing about who writes a status.

use std::fmt;

use serde::Serialize;

use super::{DependencyFault, NoteKind};

/// How bad something is. The worst is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is not in force, cannot be read, or cannot be written, until somebody acts.
    Error,
    /// It has no effect, or another than it seems.
    Warning,
    /// It may be intended.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// The aspect of an object that a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object counts.
    Accepted,
    /// What it refers to is there.
    ResolvedRefs,
    /// Part of it makes no sense, and the rest counts.
    PartiallyInvalid,
    /// Another object contradicts it, and both stay.
    Conflicted,
    /// What follows from it is written into the clusters.
    Programmed,
    /// It has instances that can serve.
    Available,
    /// It can be read, or called from other clusters.
    Reachable,
}

impl ConditionType {
    /// As it is written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::PartiallyInvalid => "PartiallyInvalid",
            Self::Conflicted => "Conflicted",
            Self::Programmed => "Programmed",
            Self::Available => "Available",
            Self::Reachable => "Reachable",
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// That is not known now.
    Unknown,
}

impl ConditionStatus {
    /// As it is written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A note as a condition in the status of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteCondition {
    /// The aspect.
    pub aspect: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
}

/// `Accepted=False (Outranked)`.
impl fmt::Display for NoteCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.aspect.as_str(), self.status.as_str(), self.reason)
    }
}

macro_rules! conditions {
    ($($($kind:ident $(($fault:ident))?)|+ => $aspect:ident = $status:ident, $reason:literal, $severity:ident;)+) => {
        impl NoteKind {
            /// The condition that the note is, on its object.
            #[must_use]
            pub fn condition(self) -> NoteCondition {
                let (aspect, status, reason) = match self {$(
                    $(Self::$kind $((DependencyFault::$fault))?)|+ => {
                        (ConditionType::$aspect, ConditionStatus::$status, $reason)
                    }
                )+};
                NoteCondition { aspect, status, reason }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {$(
                    $(Self::$kind $((DependencyFault::$fault))?)|+ => Severity::$severity,
                )+}
            }
        }
    };
}

conditions! {
    ClusterRefused => Accepted = False, "InvalidCluster", Error;
    ClusterLeaving => Accepted = False, "Leaving", Warning;
    ObjectMalformed => Accepted = False, "Malformed", Error;
    HostInvalid => Accepted = False, "InvalidHost", Error;
    HostTaken => Accepted = False, "HostTaken", Error;
    ServiceUnusable => Accepted = False, "UnsupportedService", Warning;
    MachineUnusable => Accepted = False, "UnsupportedMachine", Warning;
    WorkloadNotInjected => Accepted = False, "NoSidecar", Warning;
    WorkloadAmbient => Accepted = False, "AmbientWorkload", Warning;
    WorkloadUnclaimed | PolicyUnclaimed => Accepted = False, "NotClaimed", Warning;
    NamespaceNotFirst => Accepted = False, "NamespaceNotFirst", Warning;
    PolicyWithoutIdentity => Accepted = False, "NoIdentity", Error;
    PolicyUnmatched => Accepted = False, "NoMatchingWorkload", Warning;
    PolicyOutranked | RouteOutranked => Accepted = False, "Outranked", Warning;
    PolicyAdjusted => Accepted = True, "Adjusted", Info;
    SuspensionQuestionable => Accepted = False, "EmptySuspension", Warning;
    DependencyQuestionable(Namespace) => Accepted = False, "NamespaceNotWatched", Error;
    RouteNotCopied => Accepted = False, "NotCopied", Warning;
    NotAdopted => Accepted = False, "NotAdopted", Warning;
    SidecarUnmergeable => Accepted = False, "UnmergeableSidecar", Warning;

    ServiceMissing => ResolvedRefs = False, "ServiceNotFound", Warning;
    DependencyQuestionable(Destination) => ResolvedRefs = False, "DestinationNotFound", Warning;
    DependencyQuestionable(Source) => ResolvedRefs = False, "SourceNotFound", Warning;
    DependencyQuestionable(Proxy) => ResolvedRefs = False, "ProxyNotFound", Warning;
    RegionUnavailable => ResolvedRefs = False, "RegionUnavailable", Warning;
    RegionUnknown => ResolvedRefs = False, "RegionUnknown", Warning;
    IstioNamespaceQuestionable => ResolvedRefs = False, "IstioNamespaceNotFound", Warning;
    WorkloadsUnknown => ResolvedRefs = Unknown, "WorkloadsUnknown", Warning;

    DependencyQuestionable(Entry) => PartiallyInvalid = True, "InvalidEntry", Warning;
    PolicyQuestionable => PartiallyInvalid = True, "InvalidPolicy", Warning;
    ClaimQuestionable => PartiallyInvalid = True, "InvalidClaim", Error;
    RolloutQuestionable => PartiallyInvalid = True, "InvalidRollout", Warning;
    ServiceQuestionable => PartiallyInvalid = True, "InvalidService", Warning;
    PortUncaptured => PartiallyInvalid = True, "PortNotCaptured", Info;
    InboundPortsInvalid => PartiallyInvalid = True, "InvalidInboundPorts", Error;
    GatewayQuestionable => PartiallyInvalid = True, "InvalidGateway", Warning;
    ClusterFactInvalid => PartiallyInvalid = True, "InvalidAnnotation", Warning;
    RouteQuestionable => PartiallyInvalid = True, "MeaningDiffers", Warning;

    HostContested => Conflicted = True, "HostContested", Warning;
    RuleOverridden => Conflicted = True, "RuleOverridden", Info;
    RouteContested => Conflicted = True, "RouteContested", Warning;
    PortsDiffer => Conflicted = True, "PortsDiffer", Warning;
    RegionsSeveral => Conflicted = True, "SeveralRegions", Warning;
    IdentityGainedNamespace => Conflicted = True, "NamespaceGained", Info;
    NameShared => Conflicted = True, "NameShared", Warning;
    ObjectForeign => Conflicted = True, "NotManaged", Warning;
    AddressConflict => Conflicted = True, "AddressConflict", Warning;

    Suspended => Programmed = False, "Suspended", Info;
    SyncNamespaceMissing => Programmed = False, "NamespaceNotFound", Error;
    WriteFailed => Programmed = False, "WriteFailed", Error;
    RemovalsWithheld => Programmed = False, "RemovalsWithheld", Error;
    PlanRefused => Programmed = False, "PlanRefused", Error;
    PlanningFailed => Programmed = False, "PlanningFailed", Error;
    PodsTooMany => Programmed = True, "TooManyPods", Info;
    ClaimHeld => Programmed = Unknown, "ClaimHeld", Warning;
    PolicyUnreadable | RouteUnreadable => Programmed = Unknown, "SourceUnreadable", Warning;

    WorkloadsUnavailable => Available = False, "NoReadyWorkload", Info;

    ClaimsMissing => Reachable = False, "ClaimsMissing", Error;
    ClusterUnreachable => Reachable = False, "ClusterUnreachable", Error;
    KindUnreadable => Reachable = False, "KindUnreadable", Error;
    GatewayMissing => Reachable = False, "NoGatewayAddress", Error;
    GatewayPortMissing => Reachable = False, "NoGatewayPort", Error;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Reasons that several kinds share because they say the same of different objects.
    const SHARED: [&str; 3] = ["NotClaimed", "Outranked", "SourceUnreadable"];

    #[test]
    fn each_note_is_one_condition_with_a_distinct_reason() {
        let mut by_reason: BTreeMap<&str, Vec<NoteKind>> = BTreeMap::new();
        for kind in NoteKind::ALL.iter().flat_map(|kind| kind.forms()) {
            let NoteCondition { aspect, status, reason } = kind.condition();
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.chars().all(|c| c.is_ascii_alphabetic()), "{reason}");
            // These two are problems when they hold; the others when they do not.
            let is_trouble = matches!(aspect, ConditionType::PartiallyInvalid | ConditionType::Conflicted);
            let still_holds = matches!(kind, NoteKind::PolicyAdjusted | NoteKind::PodsTooMany);
            assert_eq!(status == ConditionStatus::True, is_trouble || still_holds, "{kind:?}");
            by_reason.entry(reason).or_default().push(kind);
        }
        by_reason.retain(|_, kinds| kinds.len() > 1);
        assert_eq!(by_reason.into_keys().collect::<Vec<_>>(), SHARED);
    }

    #[test]
    fn severities_match_the_need_for_action() {
        for kind in NoteKind::ALL {
            if kind.remedy().starts_with("Nothing, ") {
                assert_eq!(kind.severity(), Severity::Info, "{kind:?}");
            }
        }
        assert!(Severity::Error < Severity::Warning && Severity::Warning < Severity::Info);
    }
}
