//! The global host name of a service, and the names of the objects that carry it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{
    folded::Folded,
    names::{NameError, ServiceKey, check_host_parts},
};

/// Longest host that proxies take: the server name of its connections, `outbound_.<port>_._.<host>`, has at most 255 bytes (Envoy
/// documentation, `UpstreamTlsContext.sni`); of a longer one a proxy refuses the update. The names of its objects then fit
/// Kubernetes' 253 characters, too.
pub const MAX_HOST_CHARS: usize = 255 - "outbound_.65535_._.".len();

/// Why no host can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// A part is not a DNS label.
    #[error("the host {0}")]
    Name(#[from] NameError),
    /// Too long for the server names of its connections.
    #[error(
        "the host {host:?} has {chars} characters; at most {MAX_HOST_CHARS} are allowed, so that the server names of its connections fit 255"
    )]
    Long {
        /// The host.
        host: String,
        /// Its length in characters.
        chars: usize,
    },
}

/// A global host, `<env>.<identity>.<suffix>` with an optional prefix. Compared without regard to case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Folded);

impl Host {
    /// Takes a whole host name.
    ///
    /// # Errors
    /// When it is not a DNS name, or too long for proxies.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        check_host_parts(text)?;
        if text.len() > MAX_HOST_CHARS {
            return Err(HostError::Long { host: text.to_owned(), chars: text.len() });
        }
        Ok(Self(Folded::new(text)))
    }

    /// The default host of a service. Lower-cased unless `keep_case`, the annotation `admiral.io/cname-case-sensitive`
    /// (Admiral, docs/admiral-behaviour.md#host-names).
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn of_service(key: &ServiceKey, suffix: &str, keep_case: bool) -> Result<Self, HostError> {
        let text = format!("{}.{}.{suffix}", key.environment, key.identity);
        Self::parse(&if keep_case { text } else { text.to_ascii_lowercase() })
    }

    /// The host one prefix further: `west` before `stage.payments.global`.
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, HostError> {
        Self::parse(&format!("{}.{self}", prefix.to_ascii_lowercase()))
    }

    /// The host as clients write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.shown()
    }

    /// Name of the ServiceEntry (Admiral, docs/admiral-behaviour.md#serviceentry-fields).
    #[must_use]
    pub fn service_entry_name(&self) -> String {
        format!("{}-se", self.0.key())
    }

    /// Name of the DestinationRule: `-default-dr` for the service's default host, `-dr` for a prefixed one (Admiral,
    /// docs/admiral-behaviour.md#destinationrule-fields).
    #[must_use]
    pub fn destination_rule_name(&self, is_default: bool) -> String {
        format!("{}-{}", self.0.key(), if is_default { "default-dr" } else { "dr" })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_object_names_are_the_references() {
        let key = ServiceKey::parse("Payments", "stage").unwrap();
        let host = Host::of_service(&key, "global", false).unwrap();
        assert_eq!(host.as_str(), "stage.payments.global");
        assert_eq!(host.service_entry_name(), "stage.payments.global-se");
        assert_eq!(host.destination_rule_name(true), "stage.payments.global-default-dr");
        let west = host.with_prefix("West").unwrap();
        assert_eq!(west.as_str(), "west.stage.payments.global");
        assert_eq!(west.destination_rule_name(false), "west.stage.payments.global-dr");
    }

    #[test]
    fn case_is_kept_on_request_and_never_compared() {
        let key = ServiceKey::parse("Payments", "stage").unwrap();
        let kept = Host::of_service(&key, "global", true).unwrap();
        assert_eq!(kept.as_str(), "stage.Payments.global");
        assert_eq!(kept, Host::of_service(&key, "global", false).unwrap());
        assert_eq!(kept.service_entry_name(), "stage.payments.global-se");
    }

    #[test]
    fn hosts_too_long_for_their_objects_are_refused() {
        let identity = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(55)].join(".");
        let key = ServiceKey::parse(&identity, "stage").unwrap();
        assert!(matches!(Host::of_service(&key, "global", false), Err(HostError::Long { .. })));
    }
}
