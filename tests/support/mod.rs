//! Real clusters for tests: real kube-apiservers on real etcds, Istio's real definitions, and the
//! faults that real networks have.
//!
//! A test that injects no fault takes [`shared`] and namespaces of its own ([`unique`]); one that
//! does starts its own cluster. Nothing outlives the test process, however it ends. What goes
//! wrong in here is the test's environment, so it panics and says why, instead of returning errors.

// Each test binary compiles this module and uses a part of it.
#![allow(dead_code, unused_imports)]

mod audit;
mod cluster;
pub mod controller;
mod fault;
mod hostile;
pub mod istio;
mod objects;
pub mod parts;
pub mod process;
mod status_proxy;
mod wait;

pub use audit::{Mark, Write};
pub use cluster::{Place, TEST_USER_AGENT, TestCluster, Who, start_many, start_three};
pub use fault::{FaultProxy, Mode};
pub use hostile::{Attack, HostileServer};
pub use objects::documents;
pub use status_proxy::{Answer, StatusProxy};
pub use wait::eventually;

use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use tokio::sync::OnceCell;

/// Three clusters with Istio's definitions, started once per test process and used by all its
/// tests. Never inject a fault into these.
pub async fn shared() -> &'static [TestCluster; 3] {
    static SHARED: OnceCell<[TestCluster; 3]> = OnceCell::const_new();
    SHARED
        .get_or_init(async || {
            let clusters = start_three().await;
            join_all(clusters.iter().map(istio::install_crds)).await;
            clusters
        })
        .await
}

/// A name, for a namespace or another object, that no other test of this process uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A file with this content, for a program that wants one; gone, at the latest, when this process is.
pub fn file_for_test(name: &str, content: &str) -> std::path::PathBuf {
    let path = process::directory("file").join(name);
    std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
