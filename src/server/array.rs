//! Answers that are a JSON array over all services, made part by part as the client takes them.
//!
//! Of such an answer, memory holds one part at a time, however large the fleet is and however slowly the client reads.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures::{Stream, stream};
use serde_json::Value;

use super::{
    Views,
    connections::Connection,
    memory::{self, MemoryRefusal, Reservation},
};
use crate::model::ServiceKey;

/// Size from which a part is sent.
const PART_BYTES: usize = 128 << 10;
/// Memory that is taken for a part.
const RESERVED_BYTES: usize = 2 * PART_BYTES;

/// What one service adds to an array.
type ItemsOf = dyn Fn(&Views, &ServiceKey) -> Vec<Value> + Send + Sync;

/// An array under way.
struct ArrayAnswer {
    views: Arc<Views>,
    connection: Option<Connection>,
    services: Arc<[ServiceKey]>,
    /// Services that were taken.
    at: usize,
    is_empty: bool,
    items_of: Arc<ItemsOf>,
}

/// One part, with the memory that it holds.
struct Part {
    text: Vec<u8>,
    reservation: Reservation,
    /// For what a large service added.
    more: Option<Reservation>,
}

/// The array of what `items_of` finds for all services, in their order; `None` when it is empty.
pub(super) async fn answer(
    views: Arc<Views>,
    connection: Option<Connection>,
    items_of: impl Fn(&Views, &ServiceKey) -> Vec<Value> + Send + Sync + 'static,
) -> Option<Response> {
    let services = views.registry.queries().services().into();
    let mut array = ArrayAnswer { views, connection, services, at: 0, is_empty: true, items_of: Arc::new(items_of) };
    let Some(first) = array.next().await else {
        return Some(array.views.memory.refused(MemoryRefusal::Taken));
    };
    if array.is_empty {
        return None;
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    if array.is_over() {
        return Some((json, first.text).into_response());
    }
    Some((json, Body::from_stream(array.parts(first))).into_response())
}

impl ArrayAnswer {
    fn is_over(&self) -> bool {
        self.at > self.services.len()
    }

    fn parts(self, first: Part) -> impl Stream<Item = Result<Bytes, &'static str>> {
        // An answer under way counts as such between its parts, too.
        let answering = self.connection.as_ref().map(Connection::begin);
        stream::unfold((self, Some(first), answering), async |(mut array, first, answering)| {
            let part = match first {
                Some(first) => Some(first),
                None if array.is_over() => return None,
                None => array.next().await,
            };
            let Some(Part { text, reservation, more }) = part else {
                // The client sees that the array does not end.
                array.services = Arc::new([]);
                array.at = 1;
                return Some((Err("no memory for the next part"), (array, None, answering)));
            };
            let bytes = memory::counted(text, (reservation, more), array.connection.as_ref());
            Some((Ok(bytes), (array, None, answering)))
        })
    }

    /// The next part; `None` without memory for it.
    async fn next(&mut self) -> Option<Part> {
        let share = self.connection.as_ref().map(Connection::share);
        let reservation = self.views.memory.wait_for(RESERVED_BYTES, share).await?;
        let (services, at, items_of) = (self.services.clone(), self.at, self.items_of.clone());
        let mut text = if self.at == 0 { b"[".to_vec() } else { Vec::new() };
        let was_empty = self.is_empty;
        let (text, taken, is_empty) = self
            .views
            .off_the_runtime(move |views| {
                let (mut taken, mut is_empty) = (0, was_empty);
                for service in &services[at..] {
                    taken += 1;
                    for item in items_of(views, service) {
                        if !is_empty {
                            text.push(b',');
                        }
                        is_empty = false;
                        text.extend_from_slice(item.to_string().as_bytes());
                    }
                    if text.len() >= PART_BYTES {
                        break;
                    }
                }
                (text, taken, is_empty)
            })
            .await;
        self.at += taken;
        self.is_empty = is_empty;
        let mut text = text;
        if self.at == self.services.len() {
            text.push(b']');
            self.at += 1;
        }
        let more = match text.len().checked_sub(RESERVED_BYTES) {
            None => None,
            Some(bytes) => Some(self.views.memory.take(bytes, share).ok()?),
        };
        Some(Part { text, reservation, more })
    }
}
