//! Why a cluster, or one kind of its objects, cannot be read: a typed cause, and a message with the remedy.

use std::fmt;

use serde::Serialize;

/// What keeps objects from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadCause {
    /// Nothing listens at the address of the API server.
    Refused,
    /// DNS does not know the host of the API server.
    Dns,
    /// There is no route to the API server.
    NoRoute,
    /// The connection broke off, or could not be made for a reason without a name.
    Connection,
    /// Certificates: the API server's is not trusted, or it does not accept the client's.
    Tls,
    /// No answer within the limit.
    Timeout,
    /// The kubeconfig or its credentials cannot be used at all.
    Kubeconfig,
    /// 401: the credentials are not accepted.
    Unauthorized,
    /// 403: no right to read this kind.
    Forbidden,
    /// 404: the kind is not served.
    NotFound,
    /// 429: the API server asks to wait.
    Throttled,
    /// 5xx: the API server fails.
    ServerError,
    /// The answer is not one of the Kubernetes API.
    Protocol,
    /// The API server sends more, or keeps sending longer, than is read of one cluster.
    LimitExceeded,
    /// A directory or file of a cluster.
    Files,
    /// Anything else.
    Other,
}

impl ReadCause {
    /// Stable code, used in JSON and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused => "connection-refused",
            Self::Dns => "dns",
            Self::NoRoute => "no-route",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Kubeconfig => "kubeconfig",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Throttled => "throttled",
            Self::ServerError => "server-error",
            Self::Protocol => "protocol",
            Self::LimitExceeded => "limit-exceeded",
            Self::Files => "files",
            Self::Other => "other",
        }
    }

    /// Whether one kind that cannot be read for this cause means that the whole cluster cannot.
    #[must_use]
    pub fn is_of_cluster(self) -> bool {
        match self {
            Self::Refused
            | Self::Dns
            | Self::NoRoute
            | Self::Connection
            | Self::Tls
            | Self::Timeout
            | Self::Kubeconfig
            | Self::Unauthorized
            | Self::Files => true,
            Self::Forbidden
            | Self::NotFound
            | Self::Throttled
            | Self::ServerError
            | Self::Protocol
            | Self::LimitExceeded
            | Self::Other => false,
        }
    }

    /// Whether the cause concerns the kind alone, even where every kind has it: a right or a definition is missing.
    #[must_use]
    pub fn is_of_kind(self) -> bool {
        matches!(self, Self::Forbidden | Self::NotFound)
    }
}

impl Serialize for ReadCause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFailure {
    /// Its cause.
    pub cause: ReadCause,
    /// What happened and what to do about it, without a full stop.
    pub message: String,
}

impl ReadFailure {
    /// Puts the parts together.
    #[must_use]
    pub fn new(cause: ReadCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }
}

impl fmt::Display for ReadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<&str> for ReadFailure {
    fn from(message: &str) -> Self {
        Self::new(ReadCause::Other, message)
    }
}

impl From<&Self> for ReadFailure {
    fn from(failure: &Self) -> Self {
        failure.clone()
    }
}
