//! The units of work: what is planned at once.

use std::{fmt, sync::Arc};

use super::{ClusterName, ServiceKey};

/// What is planned at once, in the order in which it is planned: the rules of a namespace before the routes of its services
/// that lead by them, and the services, which say what is published, before the Sidecars and copies that follow them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKey {
    /// The rules for all Services of one namespace of one cluster.
    Namespace(ClusterName, Arc<str>),
    /// A service, in all clusters.
    Service(ServiceKey),
    /// The Sidecar of one client namespace of one cluster.
    Sidecar(ClusterName, Arc<str>),
    /// The copies of users' routes for one host (whole, in lower case), in all clusters.
    Host(Arc<str>),
}

impl WorkKey {
    /// The only cluster that holds objects of the unit; absent where any may.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::Sidecar(cluster, _) | Self::Namespace(cluster, _) => Some(cluster),
            Self::Service(_) | Self::Host(_) => None,
        }
    }

    /// The service, where it is one.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Service(key) => Some(key),
            Self::Sidecar(..) | Self::Host(_) | Self::Namespace(..) => None,
        }
    }
}

impl fmt::Display for WorkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "{key}"),
            Self::Sidecar(cluster, namespace) => write!(f, "Sidecar of {cluster}/{namespace}"),
            Self::Host(host) => write!(f, "routes for {host}"),
            Self::Namespace(cluster, namespace) => write!(f, "rules of {cluster}/{namespace}"),
        }
    }
}
