//! A small HTTP/1.1 client: the load's requests, questions to a proxy's admin port, orders to a pod.
//!
//! It keeps its connection, follows nothing and retries nothing, so that what is counted is what happened.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// One connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    /// Whether the server has said that it closes.
    closing: bool,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream: BufReader::new(stream), closing: false })
    }

    /// Whether it may carry another request.
    pub fn is_open(&self) -> bool {
        !self.closing
    }

    /// Sends a request and reads the answer whole: status and body.
    pub async fn send(&mut self, method: &str, host: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        // Until the answer was read to its end, this carries nothing more.
        self.closing = true;
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes()).await.map_err(|error| format!("send: {error}"))?;
        let status = self.line().await?;
        let status: u16 = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| if status.is_empty() { "closed without an answer".into() } else { status.clone() })?;
        let (mut length, mut chunked, mut last) = (0, false, false);
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => {
                    length = value.trim().parse().map_err(|_| format!("content-length: {value}"))?;
                }
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(("connection", value)) => last = value.trim() == "close",
                Some(_) => {}
            }
        }
        let body = if chunked { self.chunks().await? } else { self.exactly(length).await? };
        self.closing = last;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.map_err(|error| format!("read: {error}"))?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.map_err(|error| format!("read: {error}"))?;
        Ok(bytes)
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut whole = Vec::new();
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| format!("size of a chunk: {size:?}"))?;
            whole.extend(self.exactly(size).await?);
            self.line().await?;
            if size == 0 {
                return Ok(whole);
            }
        }
    }
}

/// One request on a connection of its own: the body of a 200, or what came instead.
pub async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<String, String> {
    let mut connection = Connection::open(address).await?;
    match connection.send(method, "localhost", path, body).await? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("{status}: {body}")),
    }
}
