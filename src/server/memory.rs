//! Memory that answers on their way hold: counted until their bytes are with the kernel, and bounded.
//!
//! Connections are bounded elsewhere, and so is what the kernel holds of each; this bounds the rest, however slowly clients read.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use prometheus::IntGauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{
    connections::{Answering, Connection},
    metrics::ServerMetrics,
    views::error,
};

/// Longest wait of an answer under way for memory that others hold; then it is cut off.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// When a client that was refused may try again, in seconds: what slow readers hold is given up within seconds.
const RETRY_AFTER_SECONDS: u16 = 5;

/// The memory for the answers of one listener.
#[derive(Debug, Clone)]
pub(super) struct ResponseMemory {
    room: Arc<Semaphore>,
    total: usize,
    max_wait: Duration,
    metrics: ServerMetrics,
}

/// Memory that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _room: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
    in_flight: IntGauge,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.sub(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

/// Why an answer gets no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum MemoryRefusal {
    #[error("other answers on their way hold the memory for answers; try again")]
    Taken,
    #[error(
        "the answer has {bytes} bytes, and one client may have {share} on their way; ask for pages, with ?limit=NUMBER"
    )]
    TooLarge { bytes: usize, share: usize },
}

impl ResponseMemory {
    /// A memory of so many bytes, which `metrics` show.
    pub(super) fn new(bytes: usize, metrics: ServerMetrics) -> Self {
        let total = bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(total)), total, max_wait: MAX_WAIT, metrics }
    }

    /// What one peer may have of it: half, so that one alone cannot keep all others out.
    pub(super) fn share(&self) -> usize {
        self.total / 2
    }

    /// Takes memory, if it is there now.
    pub(super) fn take(&self, bytes: usize, share: Option<&Arc<Semaphore>>) -> Result<Reservation, MemoryRefusal> {
        if bytes > self.share() {
            return Err(MemoryRefusal::TooLarge { bytes, share: self.share() });
        }
        let permits = u32::try_from(bytes).expect("half of the memory is below 4 GiB");
        let take =
            |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(permits).map_err(|_| MemoryRefusal::Taken);
        let share = share.map(take).transpose()?;
        Ok(self.reserved(take(&self.room)?, share, bytes))
    }

    /// Takes memory as soon as it is there; `None` where it does not come.
    pub(super) async fn wait_for(&self, bytes: usize, share: Option<&Arc<Semaphore>>) -> Option<Reservation> {
        let bytes = bytes.min(self.share());
        let permits = u32::try_from(bytes).expect("half of the memory is below 4 GiB");
        let waiting = async {
            let share = match share {
                Some(share) => Some(share.clone().acquire_many_owned(permits).await.ok()?),
                None => None,
            };
            Some((self.room.clone().acquire_many_owned(permits).await.ok()?, share))
        };
        let (room, share) = time::timeout(self.max_wait, waiting).await.ok()??;
        Some(self.reserved(room, share, bytes))
    }

    fn reserved(&self, room: OwnedSemaphorePermit, share: Option<OwnedSemaphorePermit>, bytes: usize) -> Reservation {
        let in_flight = self.metrics.response_bytes.clone();
        in_flight.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Reservation { _room: room, _share: share, in_flight, bytes }
    }

    /// What is said in place of an answer for which there is no memory.
    pub(super) fn refused(&self, refusal: MemoryRefusal) -> Response {
        self.metrics.refused("memory");
        let mut response = error(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string());
        if refusal == MemoryRefusal::Taken {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// Counts every answer of these routes that is made whole, and refuses those for which there is no memory.
    pub(super) fn bounds<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        routes.layer(middleware::from_fn_with_state(self.clone(), bounded))
    }
}

/// Bytes that count as long as they exist: until they are with the kernel, or the connection has ended.
struct CountedBytes<T, R> {
    bytes: T,
    _reservation: R,
    _answering: Option<Answering>,
}

impl<T: AsRef<[u8]>, R> AsRef<[u8]> for CountedBytes<T, R> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// The bytes, counted.
pub(super) fn counted(
    bytes: impl AsRef<[u8]> + Send + 'static,
    reservation: impl Send + 'static,
    connection: Option<&Connection>,
) -> Bytes {
    let answering = connection.map(Connection::begin);
    Bytes::from_owner(CountedBytes { bytes, _reservation: reservation, _answering: answering })
}

async fn bounded(State(memory): State<ResponseMemory>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let _answering = connection.as_ref().map(Connection::begin);
    let (parts, body) = next.run(request).await.into_parts();
    // What comes in parts counts each of them by itself.
    let Some(size) = body.size_hint().exact().filter(|size| *size > 0) else {
        return Response::from_parts(parts, body);
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    match memory.take(size, connection.as_ref().map(Connection::share)) {
        Ok(reservation) => match to_bytes(body, size).await {
            Ok(bytes) => Response::from_parts(parts, Body::from(counted(bytes, reservation, connection.as_ref()))),
            Err(failed) => error(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer broke off: {failed}")),
        },
        Err(refusal) => memory.refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> ResponseMemory {
        ResponseMemory::new(100, crate::server::Metrics::new().unwrap().server)
    }

    #[test]
    fn bytes_count_until_they_are_dropped_and_one_peer_has_half() {
        let memory = memory();
        let share = Arc::new(Semaphore::new(memory.share()));
        assert_eq!(memory.take(51, None).unwrap_err(), MemoryRefusal::TooLarge { bytes: 51, share: 50 });
        let first = memory.take(40, Some(&share)).unwrap();
        assert_eq!(memory.take(20, Some(&share)).unwrap_err(), MemoryRefusal::Taken, "its half is taken");
        let other = counted(vec![0; 50], memory.take(50, None).unwrap(), None);
        assert_eq!(memory.metrics.response_bytes.get(), 90);
        assert_eq!(memory.take(11, None).unwrap_err(), MemoryRefusal::Taken);
        let part = other.slice(..10);
        drop(other);
        assert_eq!(memory.metrics.response_bytes.get(), 90, "a part of it is still on its way");
        drop((part, first));
        assert_eq!(memory.metrics.response_bytes.get(), 0);
        assert!(memory.take(50, Some(&share)).is_ok());
    }

    #[tokio::test]
    async fn an_answer_under_way_waits_for_memory_and_not_for_ever() {
        let memory = memory();
        let (first, _second) = (memory.take(50, None).unwrap(), memory.take(50, None).unwrap());
        let impatient = ResponseMemory { max_wait: Duration::ZERO, ..memory.clone() };
        assert!(impatient.wait_for(10, None).await.is_none());
        let waiting = tokio::spawn(async move { memory.wait_for(10, None).await.is_some() });
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
