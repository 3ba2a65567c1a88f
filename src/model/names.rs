//! Names of clusters, identities, environments and services.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::folded::Folded;

/// Longest label value Kubernetes accepts, in characters.
const MAX_LABEL_VALUE_CHARS: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// A character that no host name can carry (RFC 1123).
    #[error("{text:?} has the character {character:?}; letters, digits, '-' and '.' are allowed")]
    Character {
        /// The whole text.
        text: String,
        /// The first offending character.
        character: char,
    },
    /// An environment with a dot, where none may have one.
    #[error(
        "{text:?} has a dot, so that the host could be that of another service; environments have none (setting dottedEnvironments)"
    )]
    Dotted {
        /// The whole text.
        text: String,
    },
    /// A part between dots is empty, too long, or begins or ends with `-`.
    #[error(
        "{text:?} has the part {part:?}; each part between dots is 1 to 63 characters and neither begins nor ends with '-'"
    )]
    Part {
        /// The whole text.
        text: String,
        /// The first offending part.
        part: String,
    },
}

/// Checks that `text` can be part of a host name (RFC 1123: parts of 1 to 63 characters).
pub(super) fn check_host_parts(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(character) = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '.') {
        return Err(NameError::Character { text: text.to_owned(), character });
    }
    match text
        .split('.')
        .find(|part| part.is_empty() || part.len() > 63 || part.starts_with('-') || part.ends_with('-'))
    {
        Some(part) => Err(NameError::Part { text: text.to_owned(), part: part.to_owned() }),
        None => Ok(()),
    }
}

/// A cluster's DNS domain (`cluster.local`), in lower case and without a dot at its end.
///
/// # Errors
/// When it cannot be part of a host name.
pub fn cluster_domain(text: &str) -> Result<Arc<str>, NameError> {
    let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
    check_host_parts(&text)?;
    Ok(text.into())
}

/// The name under which a cluster was registered: a data key of its Secret, or its name in the fleet file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// Takes any text a Secret's data key can be (`[-._a-zA-Z0-9]+`).
    ///
    /// # Errors
    /// When the text is empty or has another character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._".contains(*c)) {
            Some(character) => Err(NameError::Character { text: text.to_owned(), character }),
            None => Ok(Self(text.into())),
        }
    }

    /// The hub, where cluster Secrets and Dependencies are read. No registered cluster can bear its
    /// name: a data key has no parentheses.
    #[must_use]
    pub fn hub() -> Self {
        Self("(hub)".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a Kubernetes label value: itself where it is one, else a shortened form with a
    /// checksum, so that two long names stay different.
    #[must_use]
    pub fn label_value(&self) -> String {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = self.0.as_bytes();
        if bytes.len() <= MAX_LABEL_VALUE_CHARS && edge(bytes.first()) && edge(bytes.last()) {
            return self.0.to_string();
        }
        let checksum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let kept: String = self.0.chars().take(MAX_LABEL_VALUE_CHARS - 18).collect();
        format!("c{}-{checksum:016x}", kept.trim_matches(['-', '.', '_']))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The value that joins one service over clusters. Compared without regard to case, shown as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Folded);

/// The environment of a service (`stage`, `prod`). Compared without regard to case, shown as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Environment(Folded);

macro_rules! host_part {
    ($name:ident, $what:literal) => {
        impl $name {
            #[doc = concat!("Takes ", $what, " that can be part of a host name.")]
            ///
            /// # Errors
            /// When it is empty or no host could carry it.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let text = text.trim();
                check_host_parts(text)?;
                Ok(Self(Folded::new(text)))
            }

            /// As its owner wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.shown()
            }

            /// As it is compared: in lower case.
            #[must_use]
            pub fn folded(&self) -> &str {
                self.0.key()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

host_part!(Identity, "an identity");
host_part!(Environment, "an environment");

/// One service of the mesh, over all clusters: the unit of planning.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The service's identity.
    pub identity: Identity,
    /// Its environment.
    pub environment: Environment,
}

impl ServiceKey {
    /// Parses both parts.
    ///
    /// # Errors
    /// When either cannot be part of a host name.
    pub fn parse(identity: &str, environment: &str) -> Result<Self, NameError> {
        Ok(Self { identity: Identity::parse(identity)?, environment: Environment::parse(environment)? })
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.identity, self.environment)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! serde_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_text!(ClusterName, Identity, Environment);

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Most clusters that a message names; the others are counted.
const MAX_LISTED_CLUSTERS: usize = 3;

/// `cluster-1, cluster-2, cluster-3 and 2 more`.
pub(crate) fn listed_clusters<'a>(clusters: impl IntoIterator<Item = &'a ClusterName>) -> String {
    let names: Vec<&str> = clusters.into_iter().map(ClusterName::as_str).collect();
    let shown = names[..names.len().min(MAX_LISTED_CLUSTERS)].join(", ");
    match names.len().saturating_sub(MAX_LISTED_CLUSTERS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// End of environments that share their additional hosts with the one before it (Admiral,
/// docs/admiral-behaviour.md#additional-endpoints).
pub(crate) const AIR: &str = "-air";

/// An environment as additional hosts contain it (Admiral, docs/admiral-behaviour.md#additional-endpoints).
pub(crate) fn without_air(environment: &str) -> &str {
    let at = environment.len().saturating_sub(AIR.len());
    match environment.get(at..) {
        Some(end) if at > 0 && end.eq_ignore_ascii_case(AIR) => &environment[..at],
        _ => environment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_that_differ_in_case_are_one_service() {
        assert_eq!(ServiceKey::parse("Greeting", "Stage"), ServiceKey::parse("greeting", "stage"));
        assert_eq!(Identity::parse("Greeting").unwrap().as_str(), "Greeting");
    }

    #[test]
    fn names_that_are_no_host_are_refused_with_a_reason() {
        assert!(Identity::parse(" ").unwrap_err().to_string().contains("empty"));
        assert!(Identity::parse("pay_ments").unwrap_err().to_string().contains("'_'"));
        assert!(Identity::parse(&"a".repeat(64)).unwrap_err().to_string().contains("63 characters"));
        assert!(Identity::parse("a..b").is_err());
        assert!(Environment::parse("-stage").is_err());
    }

    #[test]
    fn long_cluster_names_stay_different_as_label_values() {
        let long =
            |last: &str| ClusterName::parse(&format!("{}-{last}", "arn-aws-eks".repeat(8))).unwrap().label_value();
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() <= MAX_LABEL_VALUE_CHARS);
        assert_eq!(ClusterName::parse("cluster-1").unwrap().label_value(), "cluster-1");
        assert!(ClusterName::parse("a/b").is_err());
    }
}
