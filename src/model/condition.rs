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
    /// It may be meant so.
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
    /// Another object says something else about the same thing, and both stay.
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
    /// Nobody can tell now.
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

/// What a note says in the status of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteCondition {
    /// The aspect.
    pub aspect: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
}

impl NoteCondition {
    const fn of(aspect: ConditionType, status: ConditionStatus, reason: &'static str) -> Self {
        Self { aspect, status, reason }
    }
}

/// `Accepted=False (Outranked)`.
impl fmt::Display for NoteCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.aspect.as_str(), self.status.as_str(), self.reason)
    }
}

impl NoteKind {
    /// The condition that the note is, on its object.
    #[must_use]
    pub fn condition(self) -> NoteCondition {
        use {ConditionStatus as Is, ConditionType as Of};
        let (aspect, status, reason) = match self {
            Self::ClusterRefused => (Of::Accepted, Is::False, "InvalidCluster"),
            Self::ObjectMalformed => (Of::Accepted, Is::False, "Malformed"),
            Self::HostInvalid => (Of::Accepted, Is::False, "InvalidHost"),
            Self::HostTaken => (Of::Accepted, Is::False, "HostTaken"),
            Self::ServiceUnusable => (Of::Accepted, Is::False, "UnsupportedService"),
            Self::MachineUnusable => (Of::Accepted, Is::False, "UnsupportedMachine"),
            Self::WorkloadNotInjected => (Of::Accepted, Is::False, "NoSidecar"),
            Self::WorkloadAmbient => (Of::Accepted, Is::False, "AmbientWorkload"),
            Self::PolicyWithoutIdentity => (Of::Accepted, Is::False, "NoIdentity"),
            Self::PolicyUnmatched => (Of::Accepted, Is::False, "NoMatchingWorkload"),
            Self::PolicyOutranked | Self::RouteOutranked => (Of::Accepted, Is::False, "Outranked"),
            Self::PolicyAdjusted => (Of::Accepted, Is::True, "Adjusted"),
            Self::SuspensionQuestionable => (Of::Accepted, Is::False, "EmptySuspension"),
            Self::DependencyQuestionable(DependencyFault::Namespace) => {
                (Of::Accepted, Is::False, "NamespaceNotWatched")
            }
            Self::RouteNotCopied => (Of::Accepted, Is::False, "NotCopied"),
            Self::NotAdopted => (Of::Accepted, Is::False, "NotAdopted"),
            Self::SidecarUnmergeable => (Of::Accepted, Is::False, "UnmergeableSidecar"),

            Self::ServiceMissing => (Of::ResolvedRefs, Is::False, "ServiceNotFound"),
            Self::DependencyQuestionable(DependencyFault::Destination) => {
                (Of::ResolvedRefs, Is::False, "DestinationNotFound")
            }
            Self::DependencyQuestionable(DependencyFault::Source) => (Of::ResolvedRefs, Is::False, "SourceNotFound"),
            Self::DependencyQuestionable(DependencyFault::Proxy) => (Of::ResolvedRefs, Is::False, "ProxyNotFound"),
            Self::RegionUnavailable => (Of::ResolvedRefs, Is::False, "RegionUnavailable"),
            Self::RegionUnknown => (Of::ResolvedRefs, Is::False, "RegionUnknown"),
            Self::IstioNamespaceQuestionable => (Of::ResolvedRefs, Is::False, "IstioNamespaceNotFound"),
            Self::WorkloadsUnknown => (Of::ResolvedRefs, Is::Unknown, "WorkloadsUnknown"),

            Self::DependencyQuestionable(DependencyFault::Entry) => (Of::PartiallyInvalid, Is::True, "InvalidEntry"),
            Self::PolicyQuestionable => (Of::PartiallyInvalid, Is::True, "InvalidPolicy"),
            Self::RolloutQuestionable => (Of::PartiallyInvalid, Is::True, "InvalidRollout"),
            Self::ServiceQuestionable => (Of::PartiallyInvalid, Is::True, "InvalidService"),
            Self::PortUncaptured => (Of::PartiallyInvalid, Is::True, "PortNotCaptured"),
            Self::InboundPortsInvalid => (Of::PartiallyInvalid, Is::True, "InvalidInboundPorts"),
            Self::GatewayQuestionable => (Of::PartiallyInvalid, Is::True, "InvalidGateway"),
            Self::ClusterFactInvalid => (Of::PartiallyInvalid, Is::True, "InvalidAnnotation"),
            Self::RouteQuestionable => (Of::PartiallyInvalid, Is::True, "MeaningDiffers"),

            Self::HostContested => (Of::Conflicted, Is::True, "HostContested"),
            Self::RuleOverridden => (Of::Conflicted, Is::True, "RuleOverridden"),
            Self::PortsDiffer => (Of::Conflicted, Is::True, "PortsDiffer"),
            Self::RegionsSeveral => (Of::Conflicted, Is::True, "SeveralRegions"),
            Self::NameShared => (Of::Conflicted, Is::True, "NameShared"),
            Self::ObjectForeign => (Of::Conflicted, Is::True, "NotManaged"),
            Self::AddressConflict => (Of::Conflicted, Is::True, "AddressConflict"),

            Self::Suspended => (Of::Programmed, Is::False, "Suspended"),
            Self::SyncNamespaceMissing => (Of::Programmed, Is::False, "NamespaceNotFound"),
            Self::WriteFailed => (Of::Programmed, Is::False, "WriteFailed"),
            Self::RemovalsWithheld => (Of::Programmed, Is::False, "RemovalsWithheld"),
            Self::PlanRefused => (Of::Programmed, Is::False, "PlanRefused"),
            Self::PlanningFailed => (Of::Programmed, Is::False, "PlanningFailed"),
            Self::PodsTooMany => (Of::Programmed, Is::True, "TooManyPods"),
            Self::PolicyUnreadable | Self::RouteUnreadable => (Of::Programmed, Is::Unknown, "SourceUnreadable"),

            Self::WorkloadsUnavailable => (Of::Available, Is::False, "NoReadyWorkload"),
            Self::ClusterUnreachable => (Of::Reachable, Is::False, "ClusterUnreachable"),
            Self::KindUnreadable => (Of::Reachable, Is::False, "KindUnreadable"),
            Self::GatewayMissing => (Of::Reachable, Is::False, "NoGatewayAddress"),
            Self::GatewayPortMissing => (Of::Reachable, Is::False, "NoGatewayPort"),
        };
        NoteCondition::of(aspect, status, reason)
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::ClusterRefused
            | Self::ClusterUnreachable
            | Self::KindUnreadable
            | Self::ObjectMalformed
            | Self::HostInvalid
            | Self::HostTaken
            | Self::PolicyWithoutIdentity
            | Self::DependencyQuestionable(DependencyFault::Namespace)
            | Self::InboundPortsInvalid
            | Self::GatewayMissing
            | Self::GatewayPortMissing
            | Self::SyncNamespaceMissing
            | Self::WriteFailed
            | Self::RemovalsWithheld
            | Self::PlanRefused
            | Self::PlanningFailed => Severity::Error,
            Self::WorkloadsUnavailable
            | Self::RuleOverridden
            | Self::PortUncaptured
            | Self::Suspended
            | Self::PodsTooMany
            | Self::PolicyAdjusted => Severity::Info,
            _ => Severity::Warning,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Reasons that several kinds share because they say the same of different objects.
    const SHARED: [&str; 2] = ["Outranked", "SourceUnreadable"];

    #[test]
    fn each_note_is_one_condition_whose_reason_tells_it_apart() {
        let mut by_reason: BTreeMap<&str, Vec<NoteKind>> = BTreeMap::new();
        for kind in NoteKind::ALL.iter().flat_map(|kind| kind.forms()) {
            let NoteCondition { aspect, status, reason } = kind.condition();
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.chars().all(|c| c.is_ascii_alphabetic()), "{reason}");
            // These two are about trouble; of the others a note says that they do not hold.
            let is_trouble = matches!(aspect, ConditionType::PartiallyInvalid | ConditionType::Conflicted);
            let still_holds = matches!(kind, NoteKind::PolicyAdjusted | NoteKind::PodsTooMany);
            assert_eq!(status == ConditionStatus::True, is_trouble || still_holds, "{kind:?}");
            by_reason.entry(reason).or_default().push(kind);
        }
        by_reason.retain(|_, kinds| kinds.len() > 1);
        assert_eq!(by_reason.into_keys().collect::<Vec<_>>(), SHARED);
    }

    #[test]
    fn what_may_be_meant_is_no_error_and_what_needs_somebody_is_none_of_the_lesser() {
        for kind in NoteKind::ALL {
            if kind.remedy().starts_with("Nothing, ") {
                assert_eq!(kind.severity(), Severity::Info, "{kind:?}");
            }
        }
        assert!(Severity::Error < Severity::Warning && Severity::Warning < Severity::Info);
    }
}
