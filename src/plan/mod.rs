//! Planning: a service and its policies → the objects wanted in each cluster.
//!
//! Two steps: [`decide`] yields the traffic decision, and [`emit`] turns it into objects. Both are total, pure and deterministic:
//! a bad policy yields a note and the rest is planned; the same inputs give byte-equal objects. Nothing here knows what a
//! cluster holds, so nothing here decides what is written or removed.

mod checks;
pub mod decide;
mod desired;
mod emit;
pub mod input;
pub(crate) mod observe;
mod service_plan;
mod unit;

pub use checks::{Violation, violations};
pub(crate) use decide::MAIN_PORT;
pub use decide::{hosts, percent_text};
pub use desired::Desired;
pub(crate) use desired::{HostObjects, WantedObject};
pub use service_plan::{ClusterPlan, HostPlan, PlannedHost, ServicePlan};
pub use unit::{PlanInputs, WorkInputs, WorkPlan, plan_unit};
