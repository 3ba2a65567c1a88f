//! The clock: the only place where planning learns what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Now;

/// What time it is, by the clock of the machine.
pub(crate) fn now() -> Now {
    Now::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The time of day, which never runs back while the process lives.
#[derive(Debug)]
pub(crate) struct Clock {
    started: (Now, Instant),
}

impl Clock {
    /// Starts it.
    pub(crate) fn start() -> Self {
        Self { started: (now(), Instant::now()) }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        self.started.0.after(self.started.1.elapsed())
    }

    /// Waits until a moment; for good where there is none.
    pub(crate) async fn reach(&self, moment: Option<Now>) {
        match moment {
            Some(moment) => tokio::time::sleep(self.now().until(moment)).await,
            None => std::future::pending().await,
        }
    }
}
