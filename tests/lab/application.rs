//! What runs beside a proxy: an application that says who it is, over HTTP, gRPC and TCP.
//!
//! It listens on the pod's loopback, where only the pod's own proxy reaches it.

use std::{net::Ipv4Addr, sync::Arc};

use axum::{Router, routing::any};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// Where its proxy takes HTTP/1.1 for it.
pub const HTTP_PORT: u16 = 8080;
/// Where its proxy takes gRPC for it.
pub const GRPC_PORT: u16 = 9090;
/// Where its proxy takes connections for it; it says who it is and hangs up.
pub const TCP_PORT: u16 = 9000;

/// Where it listens itself, for the proxy on this port: apart from the ports that the pod calls others by.
pub fn behind(port: u16) -> u16 {
    port + 10_000
}

/// Runs it, for ever.
pub async fn serve(name: &str) {
    let name: Arc<str> = name.into();
    tokio::join!(http(name.clone()), grpc(name.clone()), tcp(name));
}

async fn http(name: Arc<str>) {
    let listener = listen(HTTP_PORT).await;
    let router = Router::new().fallback(any(async move || name.to_string()));
    axum::serve(listener, router).await.expect("serving");
}

async fn tcp(name: Arc<str>) {
    let listener = listen(TCP_PORT).await;
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let name = name.clone();
        // Who hangs up first has read what it wanted.
        tokio::spawn(async move {
            let _ = stream.write_all(name.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

async fn grpc(name: Arc<str>) {
    let listener = listen(GRPC_PORT).await;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, name.clone()));
    }
}

async fn connection(stream: TcpStream, name: Arc<str>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (_, mut respond) = call?;
        let response = Response::builder().header("content-type", "application/grpc").body(()).expect("plain");
        let mut stream = respond.send_response(response, false)?;
        stream.send_data(message(&name), false)?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

/// A message with one text, field 1, in gRPC's frame.
pub fn message(text: &str) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(text.len() + 2).expect("a short text"));
    message.put_u8(0x0a);
    message.put_u8(u8::try_from(text.len()).expect("a short text"));
    message.put_slice(text.as_bytes());
    message.freeze()
}

/// The text in a [`message`].
pub fn text(message: &[u8]) -> Option<String> {
    const FRAME_AND_TAG: usize = 7;
    message.get(FRAME_AND_TAG..).map(|text| String::from_utf8_lossy(text).into_owned())
}

async fn listen(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, behind(port))).await.unwrap_or_else(|error| panic!("port {port}: {error}"))
}
