//! Keeps a panic while one unit is planned from ending all planning.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::model::{ClusterName, Note, NoteKind, ObjectKind, ObjectPath, WorkKey};

/// Knows which units could not be planned.
#[derive(Debug, Default)]
pub(super) struct PanicGuard {
    /// Units whose last planning ended by a panic.
    panicked: HashSet<WorkKey>,
}

/// Planning ended by a panic, which is a defect of Tradewind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked {
    /// Whether the unit is worth one more attempt: it was planned since the panic before this one.
    pub(super) is_first: bool,
}

impl PanicGuard {
    /// Plans a unit.
    ///
    /// # Errors
    /// Where that panics.
    pub(super) fn run<T>(&mut self, unit: &WorkKey, plan: impl FnOnce() -> T) -> Result<T, Panicked> {
        let planned = catch_unwind(AssertUnwindSafe(plan));
        match planned {
            Ok(planned) => {
                self.panicked.remove(unit);
                Ok(planned)
            }
            Err(_) => Err(Panicked { is_first: self.panicked.insert(unit.clone()) }),
        }
    }
}

/// What is noted of a unit that could not be planned.
pub(super) fn planning_failed(unit: &WorkKey) -> Note {
    Note {
        kind: NoteKind::PlanningFailed,
        object: ObjectPath::new(unit.cluster().unwrap_or(&ClusterName::hub()), ObjectKind::Plan, "", &unit.to_string()),
        service: unit.service().cloned(),
        message: "planning ended by a defect of Tradewind, which the log shows; what was written before stays".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceKey;

    fn unit(identity: &str) -> WorkKey {
        WorkKey::Service(ServiceKey::parse(identity, "stage").unwrap())
    }

    #[test]
    fn a_panic_ends_the_planning_of_one_unit_and_is_worth_one_more_attempt() {
        let mut guard = PanicGuard::default();
        let (bad, good) = (unit("payments"), unit("orders"));
        let panics = || -> u8 { panic!("a defect") };
        assert_eq!(guard.run(&bad, panics), Err(Panicked { is_first: true }));
        assert_eq!(guard.run(&good, || 1), Ok(1));
        assert_eq!(guard.run(&bad, panics), Err(Panicked { is_first: false }), "a retry that panics is not retried");
        assert_eq!(guard.run(&bad, || 2), Ok(2));
        assert_eq!(guard.run(&bad, panics), Err(Panicked { is_first: true }), "after it was planned it is a new one");
    }
}
