//! An object that does not parse.

/// A field of an object that does not have the form of its API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct MalformedObject {
    /// The field, such as `spec.policy[0].dnsPrefix`; `.` for the whole object.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl MalformedObject {
    /// A required field is missing.
    #[must_use]
    pub fn missing(path: &str) -> Self {
        Self { path: path.to_owned(), reason: "is missing".to_owned() }
    }
}
