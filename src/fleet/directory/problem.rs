//! What in a directory cannot be used as it is, in words for its owner.

use std::{fmt, path::PathBuf};

use crate::model::{ClusterName, DependencyFault, Kind, Note, NoteKind, ObjectId, ObjectKind, ObjectPath};

/// Something in a directory that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryProblem {
    /// The file, or a directory that cannot be read; relative to the cluster's directory.
    pub file: PathBuf,
    /// Its line, from 1, where one is known.
    pub line: Option<usize>,
    /// What sort of problem.
    pub kind: ProblemKind,
    /// What is wrong, in words.
    pub message: String,
}

/// What a problem means for the objects around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// The file may hold any objects.
    Hidden,
    /// One object is not what its kind should be.
    Malformed(ObjectId),
    /// One object is where no such object is read.
    Misplaced(ObjectId),
    /// A text that is left out and hides nothing: no Kubernetes object, or one that another file has already.
    Harmless,
}

impl fmt::Display for DirectoryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.as_os_str().is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

impl DirectoryProblem {
    /// Whether it leaves something out that belongs to the cluster, so that a plan may lack it.
    #[must_use]
    pub fn is_of_reading(&self) -> bool {
        !matches!(self.kind, ProblemKind::Misplaced(_))
    }

    /// What its owner should know.
    #[must_use]
    pub fn note(&self, cluster: &ClusterName) -> Note {
        if let ProblemKind::Misplaced(id) = &self.kind {
            let kind = match id.kind {
                Kind::TradewindConfig => NoteKind::SuspensionQuestionable,
                Kind::IdentityClaim => NoteKind::ClaimQuestionable,
                Kind::TrafficConfig => NoteKind::PolicyQuestionable,
                _ => NoteKind::DependencyQuestionable(DependencyFault::Namespace),
            };
            return Note { kind, object: id.in_cluster(cluster), service: None, message: self.message.clone() };
        }
        let file = self.file.display().to_string();
        let line = self.line.map_or_else(String::new, |line| format!("line {line}: "));
        let kept = if self.kind == ProblemKind::Hidden { "; what is known of it stays in force" } else { "" };
        Note {
            kind: NoteKind::ObjectMalformed,
            object: ObjectPath::new(cluster, ObjectKind::File, "", if file.is_empty() { "." } else { &file }),
            service: None,
            message: format!("{line}{}{kept}", self.message),
        }
    }
}
