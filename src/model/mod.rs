//! The words of the domain: parsed once at the edge, then typed.
//!
//! Every other room uses these types. Nothing here knows a client, a clock, a file or
//! a setting; parsing returns a reason in words when a value cannot be what it claims.

mod adoption;
mod alias;
mod condition;
mod folded;
mod host;
mod host_override;
mod identity_claim;
mod istio_namespaces;
pub mod keys;
mod kind;
mod locality;
mod machine;
mod malformed;
mod names;
mod nearest;
mod note;
mod now;
mod object_path;
mod observed;
mod read_failure;
mod rollout;
mod route;
mod sidecar;
mod slice;
mod tracking;
mod untrusted;
mod work_key;

pub use adoption::{Adoption, AdoptionStage};
pub use alias::gateway_of_partition;
pub use condition::{ConditionStatus, ConditionType, NoteCondition, Severity};
pub use host::{Host, HostError, MAX_HOST_CHARS};
pub use host_override::{HostOverride, Visibility, covers_suffix, wildcard_end};
#[cfg(test)]
pub(crate) use identity_claim::claim_spec;
pub(crate) use identity_claim::{ClaimError, ClaimRule, IdentityPattern, UnusableClaim};
pub use istio_namespaces::IstioNamespaces;
pub use kind::{Kind, Served};
pub use locality::Locality;
pub use machine::{MachineAddress, Machines};
pub use malformed::MalformedObject;
pub(crate) use names::{AIR, listed_clusters, without_air};
pub use names::{ClusterName, Environment, Identity, NameError, ServiceKey, cluster_domain};
pub use nearest::{did_you_mean, nearest};
pub use note::{DependencyFault, Note, NoteKind};
pub use now::Now;
pub use object_path::{CopyOrigin, ObjectKind, ObjectPath, ObjectPathError};
pub use observed::{
    Addressing, Availability, DependencyDecl, GatewayAddress, GatewayService, Labels, LocalService, Namespace, Node,
    ObjectId, Observed, Policy, PolicyObject, PublishedEndpoint, Recalled, Route, ServicePort, TargetPort, Workload,
    Written,
};
pub use read_failure::{ReadCause, ReadFailure};
pub use rollout::{Canary, IstioRouting, Rollout, RolloutStrategy, RouteRef, Variant};
pub use route::{CLUSTER_DOMAIN, SYSTEM_NAMESPACES, full_host, local_service};
pub(crate) use route::{MESH, PROTOCOLS, shares};
pub use sidecar::{EgressHost, EgressListener, SidecarHosts};
pub use slice::{EndpointSlice, ReadyPod};
pub use tracking::is_tracking;
pub use untrusted::{MAX_RELEASE_ID_BYTES, is_dns_label, is_dns_subdomain, printable, quoted};
pub use work_key::WorkKey;
