//! Accepts connections up to a number, and ends those on which nothing moves.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections open at once, per address: far above probes, scrapes and people, far below the limit of open files.
const MAX_CONNECTIONS: usize = 256;
/// A connection on which nothing was read or written for so long is ended; above the longest request.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A listener with room for [`MAX_CONNECTIONS`].
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
    max_idle: Duration,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with(listener, MAX_CONNECTIONS, MAX_IDLE)
    }

    fn with(listener: TcpListener, connections: usize, max_idle: Duration) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections)), max_idle }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let idle = Box::pin(sleep(self.max_idle));
        (LimitedStream { stream, idle, max_idle: self.max_idle, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that counts, and ends when nothing moves on it.
#[derive(Debug)]
pub(super) struct LimitedStream {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    max_idle: Duration,
    _permit: OwnedSemaphorePermit,
}

impl LimitedStream {
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = poll(Pin::new(&mut self.stream), cx);
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.max_idle);
            return polled;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream, cx| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn read_byte(stream: &mut LimitedStream) -> io::Result<u8> {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await?;
        Ok(byte[0])
    }

    #[tokio::test]
    async fn an_idle_connection_ends_and_makes_room_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = LimitedListener::with(listener, 1, Duration::from_millis(50));
        let _silent = TcpStream::connect(address).await.unwrap();
        let talking = TcpStream::connect(address).await.unwrap();
        talking.writable().await.unwrap();
        assert_eq!(talking.try_write(b"x").unwrap(), 1);

        let (mut first, _) = listener.accept().await;
        assert_eq!(listener.room.available_permits(), 0);
        let error = read_byte(&mut first).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(first);
        let (mut second, _) = listener.accept().await;
        assert_eq!(read_byte(&mut second).await.unwrap(), b'x');
    }
}
