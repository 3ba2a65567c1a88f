//! Destinations of writes: what each must be able to do, and its errors.
//!
//! Decides nothing; the two destinations are [`super::KubeStore`] and [`super::DirectoryStore`].

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value;

use super::write::Write;
use crate::model::{Kind, MalformedObject, ObjectId, SidecarHosts, Written};

/// Reads an object as a server or file has it; the same function by which `fleet/` observes.
pub type ReadWritten = Arc<dyn Fn(Kind, &Value) -> Result<Written, ReadBackError> + Send + Sync>;

/// Why an answer of a server, or a file, is no written object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBackError {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] MalformedObject),
    /// It is of another kind.
    #[error("{} is not a kind that is written", .0.as_str())]
    Kind(Kind),
}

/// The outcome of a write.
pub type Outcome<T> = Result<T, WriteError>;

/// One cluster, or one directory, that objects are written to.
///
/// No call repeats itself; each ends within a time of its own.
pub trait Store: Send + Sync + 'static {
    /// Writes, and comes back with the object as it is there now; without one after a delete and for a status.
    fn write<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Outcome<Option<Written>>>;

    /// Creates a namespace. One that is there already is no error.
    fn create_namespace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Outcome<()>>;

    /// Lists the managed objects, and the Sidecars with hosts of Tradewind.
    fn owned(&self) -> BoxFuture<'_, Outcome<Vec<Written>>>;
}

/// Why a write did not happen, or may not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is not in the state that the plan was compared with (409).
    #[error("the object is not what it was when it was compared: {0}")]
    Conflict(String),
    /// The object itself is refused (400, 413, 422).
    #[error("the API server refuses the object: {0}")]
    Refused(String),
    /// Credentials or rights are missing (401, 403).
    #[error("no right to do this: {0}")]
    Forbidden(String),
    /// The kind or the namespace is not there (404).
    #[error("the kind or the namespace does not exist: {0}")]
    Missing(String),
    /// Too many requests (429).
    #[error("the API server asks for fewer requests{}", .retry_after.map_or(String::new(), |after| format!(", and for {} s of rest", after.as_secs())))]
    Throttled {
        /// The rest that the server asks for.
        retry_after: Option<Duration>,
    },
    /// The server failed (5xx).
    #[error("the API server failed: {0}")]
    Server(String),
    /// No answer in time; the write may have happened.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// No connection, or it broke; the write may have happened.
    #[error("the cluster cannot be reached: {0}")]
    Unreachable(String),
    /// The answer, or the present object, does not parse.
    #[error("what stands in the cluster cannot be read: {0}")]
    Unreadable(String),
    /// The sync namespace is missing and could not be created.
    #[error("the sync namespace is missing")]
    NoNamespace,
    /// Not tried: the same was refused or failed a moment ago.
    #[error("not tried again yet")]
    Waiting,
}

impl WriteError {
    /// Value of the metric label `outcome`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::Forbidden(_) => "forbidden",
            Self::Missing(_) | Self::NoNamespace => "missing",
            Self::Throttled { .. } => "throttled",
            Self::Server(_) => "server-error",
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable(_) => "unreadable",
            Self::Waiting => "waiting",
        }
    }

    /// Whether the cluster itself seems sick, rather than this one object being wrong.
    #[must_use]
    pub fn is_sick_cluster(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Server(_) | Self::Timeout(_) | Self::Unreachable(_))
    }

    /// Whether the cluster gave no answer to the request itself.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Timeout(_) | Self::Unreachable(_))
    }

    /// Whether the next write of the same kind into the same namespace will end the same way.
    #[must_use]
    pub fn is_kind_wide(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::Missing(_) | Self::NoNamespace)
    }
}

/// Whether the object is a user's Sidecar with hosts of Tradewind. It is never deleted; only these hosts are removed.
pub(super) fn is_merged(written: &Written) -> bool {
    written.owner != crate::istio::Owner::Tradewind && written.sidecar.as_ref().is_some_and(SidecarHosts::has_ours)
}

/// The id under which a cluster-wide matter of the writer is noted.
pub(super) fn whole(kind: Kind, namespace: &str) -> ObjectId {
    ObjectId::new(kind, namespace, "")
}
