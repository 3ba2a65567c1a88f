//! Manifests: what files say of objects, as an API server would take it. Commands, fleets of directories and `lint` read
//! files by this one way, so that they agree.
//!
//! A file becomes a text ([`file`]), the text documents ([`text`]), a document its objects ([`shape`]), and each object of a
//! known kind the form in which an API server would store it ([`stored`]), with what the server would refuse ([`check`]).
//! Decides the content of an object; never what it means for a service. Nothing in a file ends the program or is passed over
//! in silence, unless it is of a kind that is not read.

pub(crate) mod file;
mod kinds;
mod lines;
mod native;
mod ranges;
mod schema;
mod shape;
mod stored;
mod text;
pub(crate) mod words;

use std::{cell::OnceCell, fmt};

use serde_json::Value;

use self::lines::Lines;
pub(crate) use self::{
    kinds::{Mistyped, Typed},
    shape::{DocumentObject, parts},
    stored::as_stored,
    text::{Broken, Document, ValueBudget, documents},
};
pub use crate::model::Severity;
use crate::model::{Kind, MalformedObject};

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestProblem {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The field, such as `spec.policy[0].dnsPrefix`; empty for the whole object.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl ManifestProblem {
    pub(crate) fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: path.into(), message: message.into() }
    }

    pub(crate) fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, path: path.into(), message: message.into() }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl From<MalformedObject> for ManifestProblem {
    fn from(MalformedObject { path, reason }: MalformedObject) -> Self {
        Self::error(path, reason)
    }
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Which CRDs an API server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crds {
    /// Ours, with their schemas and rules.
    Ours,
    /// Others of the same kinds, which take what they get.
    Unchecked,
}

/// What an API server would refuse of an object that has its stored form, and what it would drop.
pub(crate) fn check(kind: Kind, object: &Value, crds: Crds) -> Vec<ManifestProblem> {
    let mut problems = Vec::new();
    native::check_metadata(&object["metadata"], &mut problems);
    ranges::check(kind, object, &mut problems);
    if crds == Crds::Ours {
        schema::check_object(kind, object, &mut problems);
    }
    problems
}

/// The lines of a document, computed when the first one is needed.
pub(crate) struct Located<'t> {
    text: &'t str,
    first: usize,
    lines: OnceCell<Lines>,
}

impl<'t> Located<'t> {
    pub(crate) fn new(document: &Document<'t>) -> Self {
        Self { text: document.text, first: document.line, lines: OnceCell::new() }
    }

    /// The line of a field, or of the nearest thing around it, from 1.
    pub(crate) fn line(&self, part: &str, field: &str) -> usize {
        let path = match (part, field) {
            ("", field) => field.to_owned(),
            (part, "") => part.to_owned(),
            (part, field) => format!("{part}.{field}"),
        };
        self.lines.get_or_init(|| Lines::read(self.text, self.first)).at(&path)
    }
}
