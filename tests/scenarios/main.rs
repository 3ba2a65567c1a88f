//! Scenarios on real API servers, by the real binary: change, restart, faults, credentials, ownership, the guard.
//!
//! Whether nothing happened is read from the audit logs of the clusters, after something else was seen to happen.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod change;
mod clients;
mod crash;
mod credentials;
mod gateways;
mod guard;
mod hostile;
mod moving;
mod oneshot;
mod operations;
mod order;
mod outages;
mod ownership;
mod partition;
mod pods;
mod process;
mod remotes;
mod rollouts;
mod routes;
mod routing;
mod sidecars;
mod world;
