//! Notes: what is wrong with one object, in words for its owner. A note never blocks anything else.

use std::{cmp::Ordering, fmt};

use serde::Serialize;

use super::{ObjectPath, ServiceKey, printable};

/// One thing that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Note {
    /// What sort of thing.
    pub kind: NoteKind,
    /// The object that has to change for the note to go.
    pub object: ObjectPath,
    /// The service it concerns, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    /// What is wrong, and what happens instead.
    pub message: String,
}

/// Longest message of a note: room for every list that Tradewind makes itself.
const MAX_MESSAGE_CHARS: usize = 8_000;

impl Note {
    /// The note as terminals and logs may show it: whatever its message quotes is in one line, without control characters, and
    /// has an end.
    #[must_use]
    pub fn printable(self) -> Self {
        Self { message: printable(&self.message, MAX_MESSAGE_CHARS), ..self }
    }
}

/// Notes are listed by code, then by object.
impl Ord for Note {
    fn cmp(&self, other: &Self) -> Ordering {
        let of_code = self.kind.position().cmp(&other.kind.position());
        of_code
            .then_with(|| self.object.cmp(&other.object))
            .then_with(|| self.service.cmp(&other.service))
            .then_with(|| self.message.cmp(&other.message))
            .then_with(|| self.kind.cmp(&other.kind))
    }
}

impl PartialOrd for Note {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}. {}", self.kind.code(), self.object, self.message, self.kind.remedy())
    }
}

/// What is wrong with a Dependency or a DependencyProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyFault {
    /// An entry of its own: it is on itself, on nothing, or on what cannot be an identity.
    Entry,
    /// A destination runs nowhere.
    Destination,
    /// The source runs nowhere, and an identity of almost the same name runs.
    Source,
    /// The proxy does not run, or is not published everywhere.
    Proxy,
    /// It is in a namespace where none is read.
    Namespace,
}

impl DependencyFault {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Entry, Self::Destination, Self::Source, Self::Proxy, Self::Namespace];
}

macro_rules! note_kinds {
    ($($(#[doc = $meaning:literal])+ $kind:ident $(($data:ty = $first:expr))?, $code:literal, $remedy:literal;)+) => {
        /// Every sort of note, with its code (stable; used in metrics) and its remedy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NoteKind {
            $($(#[doc = $meaning])+ $kind $(($data))?,)+
        }

        /// The place of a code among all of them.
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum CodeOrder {
            $($kind,)+
        }

        impl NoteKind {
            fn position(self) -> CodeOrder {
                match self { $(Self::$kind { .. } => CodeOrder::$kind,)+ }
            }

            /// One of each code, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$kind $(($first))?),+];

            /// Stable code, used in metrics and JSON.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind { .. } => $code,)+ }
            }

            /// What it means and what happens instead.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind { .. } => concat!($($meaning),+).trim_ascii(),)+ }
            }

            /// What to do about it.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$kind { .. } => $remedy,)+ }
            }
        }
    };
}

impl NoteKind {
    /// The kinds of its code: itself, or one for each thing that it may be about.
    #[must_use]
    pub fn forms(self) -> Vec<Self> {
        match self {
            Self::DependencyQuestionable(_) => {
                DependencyFault::ALL.iter().copied().map(Self::DependencyQuestionable).collect()
            }
            kind => vec![kind],
        }
    }
}

note_kinds! {
    /// A cluster Secret or a fleet file entry cannot be used; the cluster keeps its last good connection, or is not watched.
    ClusterRefused, "cluster-refused", "Correct the Secret, which is read again at once, or the fleet file entry, which is read at the next start.";
    /// The registration of a cluster is gone. The cluster stays in the fleet for a grace; several that lost theirs together stay until an operator confirms that they leave.
    ClusterLeaving, "cluster-leaving", "Restore its Secret to keep it, or name it in `leavingClusters` of a TradewindConfig to let it leave now.";
    /// A cluster cannot be read now. What was known of it stays in force; nothing is removed because of it.
    ClusterUnreachable, "cluster-unreachable", "The message names the cause and what to do about it.";
    /// One kind cannot be read in a cluster (missing rights, missing CRD, other version, an API server that fails for it). Objects of it that were known stay in force.
    KindUnreadable, "kind-unreadable", "The message names the cause and what to do about it; a kind that is not needed can be taken out of the settings.";
    /// An object does not parse. Its last good form stays in force.
    ObjectMalformed, "object-malformed", "Correct the object.";
    /// Identity, environment or prefix make no valid host; the service is not published under it.
    HostInvalid, "host-invalid", "Use letters, digits and '-' in parts of up to 63 characters.";
    /// Two services or prefixes want one host; the one that holds it keeps it.
    HostTaken, "host-taken", "Rename the identity, environment or prefix.";
    /// A ServiceEntry of somebody else is for a host that Tradewind publishes in the same cluster. Istio gives each client one of the two: that of the client's own namespace, else the one that is exported to it by name, else the older one. Both stay.
    HostContested, "host-contested", "Take the host out of the entry, or remove the entry; one for this host alone can be handed over with the annotation tradewind.io/adopt: \"true\".";
    /// A user's DestinationRule covers a published host. For clients in its namespace, Istio takes it in place of the published rule. Both stay.
    RuleOverridden, "rule-overridden", "None, if it is intended; otherwise let the rule cover other hosts only, or remove it.";
    /// A workload has no Service with a usable port; the cluster contributes no endpoint for it.
    ServiceMissing, "service-missing", "Create a Service whose selector matches the pods and that has the port.";
    /// No workload of a service has pods or machines that can serve in a cluster: all are scaled to 0, without a node, or unhealthy. The cluster is no endpoint while another one has some; while none has, the endpoints stay.
    WorkloadsUnavailable, "workloads-unavailable", "None, if it is intended; otherwise scale a workload up, or repair its health checks.";
    /// A Service cannot be published (no ports, no selector, type ExternalName).
    ServiceUnusable, "service-unusable", "Give the Service a selector and a port, or mark it with admiral.io/ignore: \"true\".";
    /// A Service is published, and part of it does not work as it says.
    ServiceQuestionable, "service-questionable", "See the message and correct the Service.";
    /// Ports of a Service lead to container ports that the sidecar does not capture. Clients would call them with mutual TLS, which nobody ends there; they are not published.
    PortUncaptured, "port-uncaptured", "None, if it is intended; else let the sidecar capture the port by the annotations of the pod template.";
    /// An annotation of a pod template on inbound ports has an entry that is no port number. Istio refuses new pods with it; as includeInboundPorts it then limits nothing.
    InboundPortsInvalid, "inbound-ports-invalid", "Write port numbers with commas between them; includeInboundPorts may be \"*\".";
    /// A WorkloadEntry or ServiceEntry with an identity makes no endpoint (no address, no port, no sidecar, outside the mesh).
    MachineUnusable, "machine-unusable", "Give it an address and a port, and a ServiceEntry of the mesh location: MESH_INTERNAL; or remove the identity label.";
    /// A workload with an identity has no sidecar, so that it cannot be called by mutual TLS; it does not count.
    WorkloadNotInjected, "workload-not-injected", "Let Istio inject its pods, take the identity label off, or hide it with the annotation admiral.io/ignore: \"true\".";
    /// A workload with an identity is in the ambient mesh and has no sidecar; it does not count.
    WorkloadAmbient, "workload-ambient", "Give its pods a sidecar, take the identity label off, or hide it with the annotation admiral.io/ignore: \"true\".";
    /// Part of a Rollout, or of the VirtualService with its weights, makes no sense; the rest of it counts.
    RolloutQuestionable, "rollout-questionable", "Correct the Rollout, or what it names: Services, a VirtualService, a Deployment.";
    /// The Services of one service disagree on their ports. Over clusters, only what all offer is published; within a cluster, a Service or machine that leads elsewhere, such as to metrics, is no endpoint while another one is.
    PortsDiffer, "ports-differ", "Bring the Services to the same ports, or give a workload that is another service an identity of its own.";
    /// The nodes of a cluster carry no region; its endpoints have no locality.
    RegionUnknown, "region-unknown", "Label the nodes with topology.kubernetes.io/region.";
    /// The nodes of a cluster are in several regions; the most frequent counts, and weighted policies have no fallback there.
    RegionsSeveral, "regions-several", "Use one region per cluster where weighted policies need a fallback.";
    /// Operators suspended a service, in all clusters or in one: its objects there are neither written nor removed.
    Suspended, "suspended", "Take the suspension out of the TradewindConfig, or the identity out of excludedIdentityList.";
    /// A suspension names nothing, and so suspends nothing.
    SuspensionQuestionable, "suspension-questionable", "Name an identity, an environment or a cluster.";
    /// The gateway of a cluster has no address; the last known one stays, otherwise the cluster is not reached from others.
    GatewayMissing, "gateway-missing", "Give the gateway Service an external address, or set the gateway label.";
    /// The gateway Service of a cluster has no port that leads to 15443, where it passes connections of other clusters through; they do not reach the cluster.
    GatewayPortMissing, "gateway-port-missing", "Give the Service port 15443, or name another one by its label networking.istio.io/gatewayPort.";
    /// The gateway Service of a cluster has several addresses, of which one is used, or names a port that it does not have.
    GatewayQuestionable, "gateway-questionable", "See the message: keep one address, or correct the label networking.istio.io/gatewayPort.";
    /// A service has more pods in a cluster than may be endpoints themselves; others reach them through the gateway, if there is one.
    PodsTooMany, "pods-too-many", "Raise directEndpointsMaxPods, or leave it at the gateway.";
    /// One istiod serves several clusters, so some of them see a cluster-local Service name that resolves in another one only.
    NameShared, "name-shared", "Set directEndpoints, and label the Istio namespace of each with topology.istio.io/network; gateways need IP addresses.";
    /// The Istio namespace of a cluster does not exist, or Istio seems to run in another one: the network of the cluster, and whatever else is read from its Istio namespace, is not known.
    IstioNamespaceQuestionable, "istio-namespace-questionable", "Set istioNamespace, or annotate the cluster's Secret with tradewind.io/istio-namespace (istioNamespace in a fleet file).";
    /// An annotation of a cluster's Istio namespace has an invalid value; the setting counts instead.
    ClusterFactInvalid, "cluster-fact-invalid", "Correct the annotation, or remove it.";
    /// A workload names an identity that no IdentityClaim gives to it, in its cluster and namespace and with its service account; it is no endpoint, and its account no subject name, or would be none.
    WorkloadUnclaimed, "workload-unclaimed", "Add the workload to the IdentityClaim of its identity on the hub, or take the identity label off.";
    /// A policy names an identity for which no IdentityClaim lets its namespace declare policies; it has no effect, or would have none.
    PolicyUnclaimed, "policy-unclaimed", "Add the namespace to policyNamespaces of the IdentityClaim on the hub, or remove the policy.";
    /// Part of an IdentityClaim makes no sense, another one claims the same, or it is where none is read.
    ClaimQuestionable, "claim-questionable", "Correct the IdentityClaim.";
    /// An IdentityClaim was removed, or says nothing that can be used. What it gave stays for a while, or until there is another one.
    ClaimHeld, "claim-held", "Restore the IdentityClaim, or write another one for the identity.";
    /// No IdentityClaim can be read although `identityClaims` is `enforce`. Nothing is planned, or the last ones stay in force.
    ClaimsMissing, "claims-missing", "Write IdentityClaims in dependencyNamespace of the hub, or set identityClaims to warn.";
    /// A workload runs an identity in a namespace where it did not run before, since the controller started or since the identity came.
    IdentityGainedNamespace, "identity-gained-namespace", "None, if it is intended; otherwise remove the workload, and claim the identity on the hub.";
    /// A workload or policy is in a namespace that came to its identity later than others (`identityNamespaces: first`); it has no effect.
    NamespaceNotFirst, "namespace-not-first", "Claim the identity on the hub for the namespaces that may run it, or take the identity label off.";
    /// A policy names no identity, or an invalid one; it is ignored.
    PolicyWithoutIdentity, "policy-without-identity", "Set the identity label on the policy.";
    /// A policy matches no workload of its namespace; it has no effect.
    PolicyUnmatched, "policy-unmatched", "Put the policy into the namespace of the workload, with its identity and environment.";
    /// Another policy for the same service is in force.
    PolicyOutranked, "policy-outranked", "Remove one of them, or raise the priority label.";
    /// A policy gives traffic to a region that has no endpoint, or none that other clusters reach, for a reason outside the policy: a cluster cannot be read, a gateway has no address, a workload has no sidecar or no Service, the region of nodes is not known. The other regions get its share until that is repaired.
    RegionUnavailable, "region-unavailable", "Repair what the message names; the policy need not change.";
    /// No cluster that can be read runs what a policy or a Dependency names, and a cluster that may run it cannot be read.
    WorkloadsUnknown, "workloads-unknown", "Restore the cluster, as its own note says; the object need not change unless it names the wrong thing.";
    /// A policy is in force in proportion: its weights do not sum to 100, or some clients can share by whole percent only.
    PolicyAdjusted, "policy-adjusted", "None, if the proportions are intended; otherwise write whole percent that sum to 100.";
    /// Part of a policy makes no sense; the rest of it is in force.
    PolicyQuestionable, "policy-questionable", "Correct the policy.";
    /// The policy of a service cannot be read since the restart; its objects are kept as they are.
    PolicyUnreadable, "policy-unreadable", "Restore the policy's cluster, or remove the cluster from the fleet.";
    /// A Dependency names itself, nothing, or an identity that no cluster runs as a destination; its source is almost the name of a running workload; or it is in a namespace whose Dependencies are not read.
    DependencyQuestionable(DependencyFault = DependencyFault::Entry), "dependency-questionable", "Correct the Dependency, or deploy what it names.";
    /// A VirtualService or DestinationRule of a user is not copied into the other clusters, although it is for a published host or asks for it.
    RouteNotCopied, "route-not-copied", "See the message, or mark it with the label tradewind.io/propagate: \"false\".";
    /// Another VirtualService or DestinationRule for the same host is copied into the other clusters.
    RouteOutranked, "route-outranked", "Keep one of them, or give both the same namespace, name and spec.";
    /// A VirtualService of a namespace that does not run the service is for its published host, in a cluster that gets a copy of the owner's. Sidecars there follow the older of the two.
    RouteContested, "route-contested", "Remove it, limit it to its own namespace by exportTo, or name its namespace in the setting propagateHosts.";
    /// A VirtualService or DestinationRule is copied into the other clusters and means something else there.
    RouteQuestionable, "route-questionable", "Write it for the host alone, or keep it at home with the label tradewind.io/propagate: \"false\".";
    /// The origin of copies cannot be read since the restart; they are kept as they are.
    RouteUnreadable, "route-unreadable", "Restore the cluster of the origin, or remove it from the fleet.";
    /// An object that somebody else made has the name of one that Tradewind wants, or is an entry for the same host in the same namespace; it is left alone, and Tradewind creates none of its own.
    ObjectForeign, "object-foreign", "Hand it over (annotation tradewind.io/adopt: \"true\", or --adopt-admiral for Admiral's), or remove it.";
    /// A hand-written object was handed over and cannot be taken over as it is, or no published host needs it; it is left alone.
    NotAdopted, "not-adopted", "Do what the message says, or remove the annotation tradewind.io/adopt.";
    /// The sync namespace is missing and may not be created.
    SyncNamespaceMissing, "sync-namespace-missing", "Create the namespace, or grant create on namespaces.";
    /// A write was refused or keeps failing; it is tried again.
    WriteFailed, "write-failed", "See the message; the write is repeated with backoff.";
    /// More removals than the budget allows were wanted at once; they are withheld until released.
    RemovalsWithheld, "removals-withheld", "Check that the removal is intended, then release it.";
    /// No address is free, or two hosts had one address; one of them was given another.
    AddressConflict, "address-conflict", "Widen the address range, or remove the double entry.";
    /// The plan of a service would break an invariant: a defect of Tradewind. Nothing of the service is written.
    PlanRefused, "plan-refused", "Report it with the service's objects; the service stays as it is meanwhile.";
    /// Planning ended by a defect of Tradewind. What it planned before stays as it is; it is planned once more after a minute, and with every change.
    PlanningFailed, "planning-failed", "Report it with the log and the objects concerned.";
    /// Tradewind's hosts cannot be merged into a user's Sidecar (another name, a workload selector, an egress listener without port that is bound to an address), or the Sidecar has the name of Tradewind's own; it is left alone.
    SidecarUnmergeable, "sidecar-unmergeable", "Keep one Sidecar for the namespace: named as workloadSidecarName says, without a selector, and without bind where an egress listener has no port.";
}

impl Serialize for NoteKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
