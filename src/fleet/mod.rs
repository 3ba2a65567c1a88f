//! Observation: which clusters exist, and what stands in each.

pub mod directory;
mod edits;
pub mod file;
mod item;
pub mod kubeconfig;
mod manifests;
mod observe;
mod trouble;

pub use observe::{Observer, identify};
