//! Limits on what an API server may send in one answer: the bytes of the answer, or of one line of a watch.
//!
//! A layer around kube's client, above decompression: what is counted is what would be held in memory. Decides nothing about
//! the content. An answer that exceeds its limit ends with [`AnswerTooLarge`], and its connection is closed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;
use tower::{BoxError, Layer, Service};

/// Most bytes of one answer. A page of 250 raw Deployments has a few MiB; a page that has more is asked for again with fewer
/// objects. An object has at most about 3 MiB: etcd takes 1.5 MiB in a form that is more compact than JSON.
pub(super) const ANSWER_MAX_BYTES: usize = 16 << 20;
/// Most bytes of one event of a watch, which is one object.
pub(super) const LINE_MAX_BYTES: usize = 8 << 20;
/// Most bytes of an answer that is no success: a Status has a few hundred.
const ERROR_MAX_BYTES: usize = 256 << 10;
/// Most bytes of an answer of Tradewind's own views, which list a whole fleet.
const VIEW_MAX_BYTES: usize = 1 << 30;
/// Answers and lines up to this size are read at once, however many there are.
const SMALL_BYTES: usize = 512 << 10;
/// Answers and lines above that size that are read at once from one server; further ones wait. One watch per kind and cluster
/// would otherwise multiply the limits.
const LARGE_AT_ONCE: usize = 2;

/// An answer, or a line of one, exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sends more than {max_bytes} bytes in {}", if *.is_line { "one event" } else { "one answer" })]
pub(super) struct AnswerTooLarge {
    /// The limit.
    pub(super) max_bytes: usize,
    /// Whether it is that of one event of a watch.
    pub(super) is_line: bool,
}

/// Puts the limits around the client of one server.
#[derive(Debug, Clone)]
pub(super) struct BodyLimitLayer {
    answer_max_bytes: usize,
    large: Arc<Semaphore>,
}

impl BodyLimitLayer {
    /// For an API server.
    pub(super) fn of_api_server() -> Self {
        Self { answer_max_bytes: ANSWER_MAX_BYTES, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// For Tradewind's own views.
    pub(super) fn of_views() -> Self {
        Self { answer_max_bytes: VIEW_MAX_BYTES, ..Self::of_api_server() }
    }
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> BodyLimit<S> {
        BodyLimit { inner, limits: self.clone() }
    }
}

/// A client whose answers are limited.
#[derive(Debug, Clone)]
pub(super) struct BodyLimit<S> {
    inner: S,
    limits: BodyLimitLayer,
}

impl<S, R, B> Service<Request<R>> for BodyLimit<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<LimitedBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let is_watch = is_watch(&request);
        let limits = self.limits.clone();
        let answer = self.inner.call(request);
        let limit = move |answer: Response<B>| {
            let (max_bytes, is_line) = match (answer.status().is_success(), is_watch) {
                (false, _) => (ERROR_MAX_BYTES, false),
                (true, false) => (limits.answer_max_bytes, false),
                (true, true) => (LINE_MAX_BYTES, true),
            };
            answer.map(|inner| LimitedBody {
                inner,
                limit: AnswerTooLarge { max_bytes, is_line },
                counted: 0,
                large: PollSemaphore::new(limits.large),
                permit: None,
                has_failed: false,
            })
        };
        answer.map_ok(limit).boxed()
    }
}

fn is_watch<R>(request: &Request<R>) -> bool {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    request.method() == Method::GET && parameters.any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

/// The body of an answer, which ends with an error where it exceeds its limit.
#[derive(Debug)]
pub(super) struct LimitedBody<B> {
    inner: B,
    limit: AnswerTooLarge,
    /// Bytes so far, of the answer or of the present line.
    counted: usize,
    large: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
    has_failed: bool,
}

impl<B> LimitedBody<B> {
    /// Counts the bytes of a frame; answers whether they are within the limit.
    fn count(&mut self, mut data: &[u8]) -> bool {
        if self.limit.is_line {
            while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
                if self.counted + end > self.limit.max_bytes {
                    return false;
                }
                (self.counted, self.permit) = (0, None);
                data = &data[end + 1..];
            }
        }
        self.counted = self.counted.saturating_add(data.len());
        self.counted <= self.limit.max_bytes
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        if this.counted > SMALL_BYTES && this.permit.is_none() {
            this.permit = ready!(this.large.poll_acquire(cx));
        }
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if frame.data_ref().is_some_and(|data| !this.count(data)) {
            (this.has_failed, this.permit) = (true, None);
            return Poll::Ready(Some(Err(this.limit.into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body as Whole, to_bytes};
    use futures::{StreamExt as _, stream};

    use super::*;

    /// Reads an answer of these chunks through the limits.
    async fn read(uri: &str, status: u16, chunks: Vec<Vec<u8>>) -> Result<usize, AnswerTooLarge> {
        let chunks = Arc::new(chunks);
        let server = tower::service_fn(move |_: Request<()>| {
            let chunks = chunks.clone();
            async move {
                let chunks = stream::iter(chunks.to_vec()).map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
                Ok::<_, BoxError>(Response::builder().status(status).body(Whole::from_stream(chunks)).unwrap())
            }
        });
        let mut client = BodyLimitLayer::of_api_server().layer(server);
        let answer = client.call(Request::get(uri).body(()).unwrap()).await.unwrap();
        match to_bytes(Whole::new(answer.into_body()), usize::MAX).await {
            Ok(bytes) => Ok(bytes.len()),
            Err(error) => {
                let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
                Err(causes.into_iter().find_map(|cause| cause.downcast_ref().copied()).expect("it is too large"))
            }
        }
    }

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn an_answer_has_a_limit_and_that_of_a_refusal_is_lower() {
        let whole = ANSWER_MAX_BYTES / MIB;
        assert_eq!(read("/apis", 200, vec![vec![b'x'; MIB]; whole]).await, Ok(ANSWER_MAX_BYTES));
        let too_large = AnswerTooLarge { max_bytes: ANSWER_MAX_BYTES, is_line: false };
        assert_eq!(read("/apis?limit=250", 200, vec![vec![b'\n'; MIB]; whole + 1]).await, Err(too_large));
        let too_large = AnswerTooLarge { max_bytes: ERROR_MAX_BYTES, is_line: false };
        assert_eq!(read("/apis?watch=true", 500, vec![vec![b'\n'; ERROR_MAX_BYTES + 1]]).await, Err(too_large));
    }

    #[tokio::test]
    async fn a_watch_has_no_limit_but_each_of_its_lines_has() {
        let mut line = vec![b'x'; LINE_MAX_BYTES];
        line.push(b'\n');
        let uri = "/apis?timeoutSeconds=50&watch=true";
        assert_eq!(read(uri, 200, vec![line.clone(); 4]).await, Ok(4 * line.len()));
        // Lines end anywhere in a chunk.
        let chunks = vec![b"a\nb".to_vec(), vec![b'x'; LINE_MAX_BYTES - 1], b"\nc".to_vec(), line];
        assert!(read(uri, 200, chunks).await.is_err(), "c belongs to the last line");
        let too_large = AnswerTooLarge { max_bytes: LINE_MAX_BYTES, is_line: true };
        assert_eq!(
            read(uri, 200, vec![b"a\n".to_vec(), vec![b'x'; LINE_MAX_BYTES], b"x\n".to_vec()]).await,
            Err(too_large)
        );
    }

    // Invariant: A faulty object, kind or cluster affects no other.
    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_small_ones_do_not() {
        let limits = BodyLimitLayer::of_api_server();
        let endless = tower::service_fn(|_: Request<()>| async {
            let chunk = Bytes::from(vec![b'x'; SMALL_BYTES / 2]);
            Ok::<_, BoxError>(Response::new(Whole::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>))))
        });
        let mut client = limits.layer(endless);
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        let mut bodies = Vec::new();
        for _ in 0..LARGE_AT_ONCE + 2 {
            let answer = client.call(Request::get("/apis").body(()).unwrap()).await.unwrap();
            let mut body = answer.into_body();
            // Three halves are read of each; the fourth needs a place.
            for _ in 0..3 {
                assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
            }
            bodies.push(body);
        }
        let mut ready = |body: &mut LimitedBody<Whole>| Pin::new(body).poll_frame(&mut cx).is_ready();
        let is_read: Vec<bool> = bodies.iter_mut().map(&mut ready).collect();
        assert_eq!(is_read, [true, true, false, false]);
        // One that is given up leaves its place to the next.
        bodies.remove(0);
        assert!(ready(&mut bodies[1]));
        assert!(!ready(&mut bodies[2]));
    }
}
