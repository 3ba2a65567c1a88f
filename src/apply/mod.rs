//! Applying: the plan → the objects in each cluster. The only room that writes.
//!
//! It makes no choices: it writes the plan, or the guard withholds it, or it retries. [`diff`] compares, [`guard`] holds the
//! budget of removals, [`queue`] and [`backoff`] decide whose turn it is, and [`execute`] is one run of one unit. What is
//! sent is a [`Write`]: of an object, of a status, or a delete. The two destinations are a live cluster ([`KubeStore`]) and a
//! directory ([`DirectoryStore`]). Each cluster has a writer of its own, so that a sick one slows no other. Applying the
//! same plan again sends nothing.

mod backoff;
mod cluster_view;
mod diff;
mod directory;
mod execute;
mod give_back;
mod guard;
mod hand_back;
mod kube;
mod kube_request;
mod memory;
mod merge;
mod metrics;
mod ownership;
mod preview;
mod queue;
mod report;
mod store;
mod sync_namespace;
#[cfg(test)]
mod testing;
mod write;
mod write_barrier;
mod writer;
mod writers;

pub use crate::plan::Desired;
pub use cluster_view::ClusterView;
pub use directory::{DirectoryOutput, DirectoryStore, Synced};
pub use hand_back::handed_back;
pub use kube::{Connect, KubeStore};
pub use metrics::ApplyMetrics;
pub use preview::{Preview, Previewed, preview};
pub use queue::Occasion;
pub use store::{Outcome, ReadBackError, ReadWritten, Store, WriteError};
pub use write::{ObjectWrite, StatusWrite, Verb, Write};
pub use writers::{NothingWithheld, ReleaseIds, SecretNames, Stores, Withheld, Writers, WritersConfig};
