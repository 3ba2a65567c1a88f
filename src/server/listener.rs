//! Sockets: accepts connections as far as there is room, and ends those that waste it.
//!
//! A request's head has to come within seconds, and an answer has to leave at a least rate. What the kernel buffers of a
//! connection is bounded, too.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{self, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    connections::{Admitted, ConnectionRefusal, OpenConnections},
    metrics::ServerMetrics,
};

/// Longest time for the head of a request, from the connection's begin or the end of the answer before; so the longest idle
/// time, too.
const MAX_HEAD: Duration = Duration::from_secs(10);
/// Time in which an answer that waits for its client has to send [`MIN_SENT_BYTES`].
const MAX_STALL: Duration = Duration::from_secs(10);
/// Least progress of an answer within [`MAX_STALL`]: 6 KiB a second, below the slowest line that people use.
const MIN_SENT_BYTES: usize = 64 << 10;
/// Largest head of a request, and most that is taken out of an answer before it is sent.
const BUFFER_BYTES: usize = 64 << 10;
/// What the kernel may hold of an answer; it doubles the number for its own use.
const KERNEL_BUFFER_BYTES: u32 = 64 << 10;
/// OpenConnections that the kernel accepts before they are taken here.
const BACKLOG: u32 = 1024;
/// Pause after the process has run out of files or memory for connections.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);
/// The answer on a connection for which there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Listens on an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it: without, the kernel grows its buffer to megabytes for each slow reader.
    socket.set_send_buffer_size(KERNEL_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then as long as answers take.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Arc<OpenConnections>,
    metrics: ServerMetrics,
    stop: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match connections.admit(address.ip()) {
                Ok(admitted) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    drop(open.spawn(converse(stream, admitted, router, stop)));
                }
                Err(refused) => {
                    metrics.refused(match refused {
                        ConnectionRefusal::Total => "connections",
                        ConnectionRefusal::Address => "connections-of-address",
                    });
                    // The buffer is empty, so this takes no time; where it fails, there is nobody to tell.
                    let _ = stream.try_write(NO_ROOM);
                }
            },
            // The client is gone already.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    connections.end_idle();
    while open.join_next().await.is_some() {}
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers the requests of one connection until it ends, has to make room, or the server stops.
async fn converse(stream: TcpStream, admitted: Admitted, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let of_connection = admitted.connection.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(of_connection.clone());
        service.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(MAX_HEAD).max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(LimitedStream::new(stream)), service));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // Whatever ended it, there is nobody to tell.
            _ = &mut connection => return,
            () = admitted.ended.cancelled() => return,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A connection that ends when an answer does not leave.
#[derive(Debug)]
struct LimitedStream {
    stream: TcpStream,
    /// Runs while the client takes less than there is.
    stalled: Option<Pin<Box<Sleep>>>,
    sent_bytes: usize,
    max_stall: Duration,
}

impl LimitedStream {
    fn new(stream: TcpStream) -> Self {
        Self::with(stream, MAX_STALL)
    }

    fn with(stream: TcpStream, max_stall: Duration) -> Self {
        Self { stream, stalled: None, sent_bytes: 0, max_stall }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let sent = send(Pin::new(&mut self.stream), cx);
        match sent {
            Poll::Ready(Ok(bytes)) => {
                self.sent_bytes += bytes;
                if self.sent_bytes >= MIN_SENT_BYTES {
                    self.stalled = None;
                }
                return sent;
            }
            Poll::Ready(Err(_)) => return sent,
            Poll::Pending => {}
        }
        let max_stall = self.max_stall;
        let stalled = self.stalled.get_or_insert_with(|| {
            self.sent_bytes = 0;
            Box::pin(sleep(max_stall))
        });
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    /// Parts of answers are then sent from where they are counted, and not copied before.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for once everything was sent: the next answer has its own time.
        self.stalled = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A connection whose server side may stall as long.
    async fn pair(max_stall: Duration) -> (LimitedStream, TcpStream) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (LimitedStream::with(stream, max_stall), client)
    }

    async fn write(stream: &mut LimitedStream, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await
    }

    #[tokio::test]
    async fn an_answer_that_does_not_leave_ends_and_the_kernel_holds_little_of_it() {
        let (mut stream, _silent) = pair(Duration::from_millis(50)).await;
        let mut sent = 0;
        let error = loop {
            match write(&mut stream, &[b'x'; 16 << 10]).await {
                Ok(bytes) => sent += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Its own buffer, and that of a client which never reads.
        assert!(sent < 8 << 20, "{sent}");
    }

    #[tokio::test]
    async fn a_client_that_keeps_reading_gets_all_of_it() {
        let (mut stream, mut client) = pair(Duration::from_secs(60)).await;
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.map(|_| received.len())
        });
        let mut sent = 0;
        while sent < 16 << 20 {
            sent += write(&mut stream, &[b'x'; 64 << 10]).await.unwrap();
        }
        drop(stream);
        assert_eq!(reader.await.unwrap().unwrap(), sent);
    }
}
