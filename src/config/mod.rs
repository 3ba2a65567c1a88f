//! Settings: every switch of Tradewind, from one file, the environment and flags.
//!
//! `table` declares them all. What is loaded is checked as a whole and then never changes while
//! the process runs; nothing in here connects to anything.

mod addresses;
pub mod admiral;
mod args;
mod check;
mod file;
mod load;
mod page;
mod resources;
mod route_grants;
mod rules;
mod table;
mod value;
mod watched;
mod words;

pub use addresses::ListenAddresses;
pub use args::{args, from_process};
pub(crate) use check::KUBECONFIG_RISKS;
pub use load::{ConfigErrors, SettingsProblem, load};
pub use page::reference_page;
pub use resources::Resources;
pub use route_grants::RouteGrants;
pub use table::Settings;
pub use words::{
    AddressSource, IdentityClaims, IdentityNamespaces, LbPolicy, LogFormat, LogLevel, Propagate, PublishedPorts,
    RemovedCluster, SanSource, SidecarInjection, Sidecars, Weights, WithoutDependency,
};

use crate::istio::{OwnedKeys, keys};

impl Settings {
    /// The annotations of pod templates and policies that decide something; all others are pruned.
    #[must_use]
    pub fn observed_annotations(&self) -> [&str; 14] {
        [
            &self.workload_identity_key,
            &self.env_key,
            &self.deployment_annotation,
            &self.identity_partition_key,
            keys::INJECT,
            keys::INJECTION_STATUS,
            "admiral.io/cname-case-sensitive",
            "traffic.sidecar.istio.io/includeInboundPorts",
            "traffic.sidecar.istio.io/excludeInboundPorts",
            "status.sidecar.istio.io/port",
            "sidecar.istio.io/interceptionMode",
            "lastUpdatedAt",
            "tradewind.io/unlisted-regions",
            "isSlowStartDisabled",
        ]
    }

    /// The labels and annotations that Tradewind owns on its objects.
    #[must_use]
    pub fn owned_keys(&self) -> OwnedKeys {
        OwnedKeys { identity: self.workload_identity_key.clone(), environment: self.env_key.clone() }
    }
}
