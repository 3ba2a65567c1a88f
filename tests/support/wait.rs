//! Waiting for a condition, never for a time.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How often a condition is looked at. Short against everything awaited here, and long enough
/// that a hundred looks a second do not load the API server under test.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `check` succeeds and returns what it found.
///
/// # Panics
///
/// After `timeout`, with `what` was awaited and the last error, even if an attempt never returns.
pub async fn eventually<T>(what: &str, timeout: Duration, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + timeout;
    let mut last = None;
    loop {
        match timeout_at(deadline, check()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => last = Some(error),
            Err(_) => panic!(
                "not within {timeout:?}: {what}: the last attempt gave no answer; before it: {}",
                last.as_deref().unwrap_or("nothing")
            ),
        }
        if Instant::now() + POLL_INTERVAL > deadline {
            panic!("not within {timeout:?}: {what}: {}", last.unwrap_or_default());
        }
        sleep(POLL_INTERVAL).await;
    }
}
