//! What a proxy really has for the hosts of a plan, endpoint by endpoint, and the likely cause of what differs.
//!
//! Reads and compares, and never changes anything. How a plan becomes endpoints of a proxy is Istio's own rule
//! ([`expected`]); what the proxy has is what its Envoy says ([`proxy`]).

mod compare;
mod expected;
pub mod proxy;

pub use compare::{Difference, HostReport, PortReport, Reach, Row, of_host};
pub use expected::NetworkGateways;
