//! Applying: what is wanted → what stands in each cluster. The only room that writes.
//!
//! It makes no choices: it writes the plan, or the guard withholds it, or it retries. Comparing is [`diff`], the budget of
//! removals is [`guard`], whose turn it is [`queue`] and [`pace`], one turn of one service [`execute`]; the two places to
//! write to are a live cluster ([`KubeStore`]) and a directory ([`DirectoryStore`]). Each cluster has a writer of its own,
//! so that a sick one slows nobody. Applying the same plan again sends nothing.

mod backoff;
mod diff;
mod directory;
mod execute;
mod give_back;
mod guard;
mod hand_back;
mod known;
mod kube;
mod memory;
mod merge;
mod metrics;
mod ownership;
mod preview;
mod queue;
mod store;
#[cfg(test)]
mod testing;
mod write_barrier;
mod writer;
mod writers;

pub use crate::plan::Desired;
pub use directory::{DirectoryOutput, DirectoryStore, Synced};
pub use hand_back::handed_back;
pub use known::Known;
pub use kube::{Connect, KubeStore};
pub use metrics::ApplyMetrics;
pub use preview::{Preview, Previewed, preview};
pub use queue::Occasion;
pub use store::{Outcome, ReadBackError, ReadWritten, Store, Verb, WriteError};
pub use writers::{NothingWithheld, SecretNames, Stores, Withheld, Writers, WritersConfig};
