//! Observation: which clusters exist, and which objects each has.
//!
//! Two backends, equals: a live cluster ([`Fleet`]: informers over the Kubernetes API, clusters registered by
//! Secrets on the hub or by a fleet file) and a directory of manifests ([`directory`]). Both prune every object
//! by the same rules ([`Observer`]) and push it into the registry. Nothing here plans or writes.
//!
//! What holds for a live cluster: a list replaces what is known of a kind only when it is complete; whatever
//! cannot be read is reported as unreadable and never as empty; a cluster that is sick, throttles or lacks a CRD
//! is retried on its own clock and delays no other; its connection can be swapped while everything known stays.

pub mod admiral_addresses;
mod body_limit;
mod departures;
pub mod directory;
mod edits;
pub mod file;
mod informer;
pub mod joining;
mod kube;
pub mod kubeconfig;
mod object_budget;
mod observe;
mod observe_adoption;
mod observe_availability;
mod observe_gateway;
mod observe_machines;
mod observe_policy;
mod observe_ports;
mod observe_rollout;
mod observe_slice;
mod observe_written;
pub mod outages;
mod pruned_object;
mod run;
mod secrets;
pub mod token_review;
mod users_route;
mod watch_error;

pub(crate) use self::pruned_object::pruned;
pub use self::{
    kube::KubeClients,
    observe::{Observer, identify},
    run::{Fleet, OnRemoved, SecretOf, Sources},
    secrets::{LABELS as SECRET_LABELS, RELEASE_REMOVALS},
};
