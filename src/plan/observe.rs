//! What planning makes of observed facts before it decides about traffic: pure functions over plain values.
//!
//! The registry calls these while it fills the inputs of planning; they look at nothing else than what they are given.

pub(crate) mod agreement;
pub(crate) mod candidates;
pub(crate) mod machines;
pub(crate) mod ports;
pub(crate) mod purpose;
pub(crate) mod rollout_weights;
pub(crate) mod rollouts;
pub(crate) mod selector;
pub(crate) mod targets;
