//! Tradewind, a global traffic controller for multicluster Istio.
//!
//! ```text
//! observe            know               decide             act               show
//! fleet/      →      registry/    →     plan/       →      apply/     →      server/  cli/
//! one informer       what runs where,   pure: a service    diff, guard,      metrics, views,
//! set per cluster    indexed by         and its policies   one writer per    demo, render,
//! (kube or           service and        → objects wanted   cluster, server-  diff
//! directory)         cluster            in each cluster    side apply
//!      ↑                                                        │
//!      └───────── what was written comes back as observed state ┘
//! ```
//!
//! The unit of work is a service key: an identity and an environment. Every event, in any
//! cluster, marks the keys it can affect; a marked key is planned once, for all clusters.

pub mod api;
pub mod apply;
pub mod cli;
mod clock;
pub mod config;
pub mod controller;
mod files;
pub mod istio;
pub mod lint;
mod manifest;
pub mod model;

pub mod fleet;
pub mod plan;
pub mod planner;
pub mod registry;
pub mod sample;
pub mod server;
pub mod verify;
