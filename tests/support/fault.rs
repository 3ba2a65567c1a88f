//! A cluster behind a bad network: bytes that are refused, held back, or cut off.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{TestCluster, Who, process::Port};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards.
    Pass,
    /// Drops all connections and refuses new ones.
    Refuse,
    /// Accepts and keeps connections, and forwards nothing, until it passes again: then what was
    /// held back arrives.
    Hang,
}

#[derive(Debug)]
enum Order {
    Set(Mode),
    Cut,
}

/// A TCP proxy in front of an API server. TLS passes through, for the server's certificate is good
/// for every loopback port. It lives on the runtime it was started on.
pub struct FaultProxy {
    port: Port,
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
}

impl FaultProxy {
    /// Starts in front of a cluster, in [`Mode::Pass`].
    pub async fn start(cluster: &TestCluster) -> Self {
        let port = Port::take();
        let (orders, received) = mpsc::channel(1);
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let listener = TcpListener::bind(address).await.expect("a port of our own");
        tokio::spawn(serve(address, listener, cluster.address(), received));
        Self { port, orders }
    }

    /// The URL to reach the cluster through it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.number())
    }

    /// The administrator's kubeconfig, through it.
    pub fn kubeconfig(&self, cluster: &TestCluster) -> String {
        cluster.kubeconfig_with(&self.url(), &cluster.token(Who::Admin))
    }

    /// Changes what the network does, and returns when it does.
    pub async fn set(&self, mode: Mode) {
        self.order(Order::Set(mode)).await;
    }

    /// Drops the connections there are, once.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    async fn order(&self, order: Order) {
        let (done, wait) = oneshot::channel();
        self.orders.send((order, done)).await.expect("the proxy runs");
        wait.await.expect("the proxy runs");
    }
}

async fn serve(
    address: SocketAddr,
    listener: TcpListener,
    server: SocketAddr,
    mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
) {
    let mut listener = Some(listener);
    let (hang, hanging) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                // None: the proxy was dropped. So are, here, its listener and its connections.
                let Some((order, done)) = order else { return };
                match order {
                    Order::Cut => connections.shutdown().await,
                    Order::Set(Mode::Refuse) => {
                        listener = None;
                        connections.shutdown().await;
                        hang.send_replace(false);
                    }
                    Order::Set(mode) => {
                        if listener.is_none() {
                            listener = Some(TcpListener::bind(address).await.expect("a port of our own"));
                        }
                        hang.send_replace(mode == Mode::Hang);
                    }
                }
                // Whoever asked may have given up.
                let _ = done.send(());
            }
            client = accept(listener.as_ref()) => {
                connections.spawn(connection(client, server, hanging.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    /// Between attempts when the process is out of files.
    const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

/// Forwards both ways until either side is done or fails; the other then sees a closed connection.
async fn connection(client: TcpStream, server: SocketAddr, mut hanging: watch::Receiver<bool>) {
    if hanging.wait_for(|hanging| !hanging).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        // Small writes must not wait for each other's acknowledgement.
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let _ = tokio::try_join!(pump(from_client, to_server, hanging.clone()), pump(from_server, to_client, hanging),);
}

/// Forwards one way. Returning drops the writing half, which tells the receiver of the end.
async fn pump(from: OwnedReadHalf, to: OwnedWriteHalf, mut hanging: watch::Receiver<bool>) -> io::Result<()> {
    const BUFFER_BYTES: usize = 16 * 1024;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = read(&from, &mut buffer).await?;
        // Also the end of a stream is held back: a dead network tells nobody.
        hanging.wait_for(|hanging| !hanging).await.map_err(io::Error::other)?;
        if read == 0 {
            return Ok(());
        }
        write(&to, &buffer[..read]).await?;
    }
}

async fn read(from: &OwnedReadHalf, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

async fn write(to: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}
