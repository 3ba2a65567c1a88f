//! What came of one run of one unit, object by object, and what it asks for next. Pure.

use std::collections::BTreeMap;

use super::{diff::Obstacle, store::WriteError, write::Verb};
use crate::model::{NoteKind, ObjectId};

/// When an object that was refused is tried again.
const REFUSED_THEN: &str = "it is tried again when it changes, when the cluster takes another refused object, and every one to \
                            two minutes";

/// What a run asks for next, from the least to the most: of several, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Nothing: all is as it should be, or was noted.
    Done,
    /// A content was refused: nothing until it, or the server, changes.
    Refused,
    /// Something else wrote: the unit is planned again from fresh state.
    Replan,
    /// The cluster did not answer: again as soon as its pause is over.
    Again,
    /// Something failed: again after a wait.
    Retry,
}

/// What came of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectOutcome {
    /// It is there, as it was sent.
    Written,
    /// It is gone.
    Removed,
    /// It is not as wanted, and this is what that asks for.
    Failed(Ending),
}

/// What came of one run.
#[derive(Debug, Default)]
pub(super) struct Report {
    outcomes: BTreeMap<ObjectId, ObjectOutcome>,
    /// What is in the way of which object.
    obstacles: BTreeMap<ObjectId, Obstacle>,
    /// Why the cluster takes no writes at all, whatever the object.
    unanswered: Option<String>,
}

impl Report {
    /// An object came to this.
    pub(super) fn enter(&mut self, id: ObjectId, outcome: ObjectOutcome) {
        self.outcomes.insert(id, outcome);
    }

    /// Something is in the way of an object.
    pub(super) fn obstruct(&mut self, obstacle: Obstacle) {
        self.obstacles.insert(obstacle.id.clone(), obstacle);
    }

    /// An object could not be written: what comes next, and what its owner should know.
    pub(super) fn fail(&mut self, id: ObjectId, verb: Verb, error: &WriteError) {
        let (ending, then) = match error {
            WriteError::Conflict(_) => (Ending::Replan, None),
            WriteError::Waiting | WriteError::NoNamespace => (Ending::Retry, None),
            WriteError::Refused(_) => (Ending::Refused, Some(REFUSED_THEN)),
            WriteError::Unreachable(_) | WriteError::Throttled { .. } => (Ending::Again, None),
            WriteError::Timeout(_) => (Ending::Retry, None),
            WriteError::Forbidden(_) | WriteError::Missing(_) | WriteError::Server(_) | WriteError::Unreadable(_) => {
                (Ending::Retry, Some("it is tried again"))
            }
        };
        if error.is_unanswered() {
            self.unanswered = Some(error.to_string());
        }
        if let Some(then) = then {
            let message = format!("could not {verb} it: {error}; {then}");
            self.obstruct(Obstacle { id: id.clone(), kind: NoteKind::WriteFailed, message });
        }
        self.enter(id, ObjectOutcome::Failed(ending));
    }

    /// An object could not be removed. A removal has no content that could change, so it is tried again when it was refused.
    pub(super) fn fail_removal(&mut self, id: ObjectId, verb: Verb, error: &WriteError) {
        self.fail(id.clone(), verb, error);
        if self.outcomes.get(&id) == Some(&ObjectOutcome::Failed(Ending::Refused)) {
            self.enter(id, ObjectOutcome::Failed(Ending::Retry));
        }
    }

    /// What the run asks for next.
    pub(super) fn ending(&self) -> Ending {
        let endings = self.outcomes.values().map(|outcome| match outcome {
            ObjectOutcome::Written | ObjectOutcome::Removed => Ending::Done,
            ObjectOutcome::Failed(ending) => *ending,
        });
        endings.max().unwrap_or(Ending::Done)
    }

    /// Why the cluster takes no further request in this run.
    pub(super) fn unanswered(&self) -> Option<&str> {
        self.unanswered.as_deref()
    }

    /// What came of an object.
    pub(super) fn outcome(&self, id: &ObjectId) -> Option<ObjectOutcome> {
        self.outcomes.get(id).copied()
    }

    /// Whether something is in the way of an object.
    pub(super) fn is_obstructed(&self, id: &ObjectId) -> bool {
        self.obstacles.contains_key(id)
    }

    /// All that is in the way.
    pub(super) fn obstacles(&self) -> impl Iterator<Item = &Obstacle> {
        self.obstacles.values()
    }

    /// Whether an object is not as wanted.
    pub(super) fn has_failed(&self, id: &ObjectId) -> bool {
        matches!(self.outcome(id), Some(ObjectOutcome::Failed(_)))
    }

    /// Whether every object came out as wanted.
    pub(super) fn is_clean(&self) -> bool {
        !self.outcomes.values().any(|outcome| matches!(outcome, ObjectOutcome::Failed(_)))
    }

    /// Whether the cluster took a write.
    pub(super) fn changed_something(&self) -> bool {
        self.outcomes.values().any(|outcome| matches!(outcome, ObjectOutcome::Written | ObjectOutcome::Removed))
    }

    /// Number of objects that differ from the plan.
    pub(super) fn differing(&self) -> usize {
        let failed = self.outcomes.values().filter(|outcome| matches!(outcome, ObjectOutcome::Failed(_))).count();
        failed + self.obstacles.keys().filter(|id| !self.has_failed(id)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Kind;

    fn id(name: &str) -> ObjectId {
        ObjectId::new(Kind::ServiceEntry, "sync", name)
    }

    /// What a failed write asks for, whether its object is noted, and whether the run goes on.
    fn of(error: &WriteError) -> (Ending, bool, bool) {
        let mut report = Report::default();
        report.fail(id("a"), Verb::Update, error);
        (report.ending(), report.is_obstructed(&id("a")), report.unanswered().is_none())
    }

    #[test]
    fn each_failure_has_one_remedy() {
        let text = || "x".to_owned();
        for (error, expected) in [
            (WriteError::Conflict(text()), (Ending::Replan, false, true)),
            (WriteError::Waiting, (Ending::Retry, false, true)),
            (WriteError::NoNamespace, (Ending::Retry, false, true)),
            (WriteError::Refused(text()), (Ending::Refused, true, true)),
            (WriteError::Forbidden(text()), (Ending::Retry, true, true)),
            (WriteError::Missing(text()), (Ending::Retry, true, true)),
            (WriteError::Server(text()), (Ending::Retry, true, true)),
            (WriteError::Unreadable(text()), (Ending::Retry, true, true)),
            (WriteError::Unreachable(text()), (Ending::Again, false, false)),
            (WriteError::Throttled { retry_after: None }, (Ending::Again, false, false)),
            (WriteError::Timeout(Duration::from_secs(1)), (Ending::Retry, false, false)),
        ] {
            assert_eq!(of(&error), expected, "{error}");
        }
    }

    #[test]
    fn of_several_the_greatest_counts() {
        let mut report = Report::default();
        assert_eq!(report.ending(), Ending::Done);
        report.enter(id("a"), ObjectOutcome::Written);
        assert!(report.changed_something() && report.is_clean());
        for (name, error, ending) in [
            ("b", WriteError::Refused("x".into()), Ending::Refused),
            ("c", WriteError::Conflict("x".into()), Ending::Replan),
            ("d", WriteError::Unreachable("x".into()), Ending::Again),
            ("e", WriteError::Forbidden("x".into()), Ending::Retry),
        ] {
            report.fail(id(name), Verb::Update, &error);
            assert_eq!(report.ending(), ending);
        }
        assert_eq!((report.differing(), report.is_clean()), (4, false));
    }

    #[test]
    fn a_removal_that_is_refused_is_tried_again() {
        let mut report = Report::default();
        report.fail_removal(id("a"), Verb::Delete, &WriteError::Refused("x".into()));
        assert_eq!(report.ending(), Ending::Retry);
        assert!(report.is_obstructed(&id("a")));
    }

    #[test]
    fn a_removal_that_waits_for_its_kind_still_differs_from_the_plan() {
        let mut report = Report::default();
        report.fail_removal(id("a"), Verb::Delete, &WriteError::Waiting);
        assert_eq!((report.ending(), report.differing()), (Ending::Retry, 1));
        assert!(report.has_failed(&id("a")), "the note of the failed request before it stays");
    }
}
