//! Which connections a listener keeps: so many in all, so many from one address. Pure; sockets are elsewhere.
//!
//! A new connection that finds no room takes the place of the oldest one on which nothing is answered: silent connections and
//! half requests keep nobody out. Where all are being answered, the new one is refused.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How many connections a listener keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// In all.
    pub(super) total: usize,
    /// From one address.
    pub(super) per_address: usize,
    /// Bytes of answers that one address may have on their way.
    pub(super) bytes_per_address: usize,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct OpenConnections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// By age.
    connections: BTreeMap<u64, OpenConnection>,
    peers: HashMap<IpAddr, Peer>,
    next: u64,
}

#[derive(Debug)]
struct OpenConnection {
    peer: IpAddr,
    connection: Connection,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Peer {
    connections: usize,
    share: Arc<Semaphore>,
}

/// What requests know of their connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Requests and answers under way.
    answering: Arc<AtomicUsize>,
    share: Arc<Semaphore>,
}

/// Counts a request, or an answer, as under way.
#[derive(Debug)]
pub(super) struct Answering(Arc<AtomicUsize>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connection {
    /// From now on something is answered, until the value is dropped.
    pub(super) fn begin(&self) -> Answering {
        self.answering.fetch_add(1, Ordering::AcqRel);
        Answering(self.answering.clone())
    }

    /// Memory for the answers to its address.
    pub(super) fn share(&self) -> &Arc<Semaphore> {
        &self.share
    }

    fn is_idle(&self) -> bool {
        self.answering.load(Ordering::Acquire) == 0
    }
}

/// A connection that may be served; it has left when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Arc<OpenConnections>,
    number: u64,
    pub(super) connection: Connection,
    /// It has to end now, to make room.
    pub(super) ended: CancellationToken,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open.lock().remove(self.number);
    }
}

/// Which bound keeps a connection out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionRefusal {
    /// That of all connections.
    Total,
    /// That of its address.
    Address,
}

impl OpenConnections {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// Lets a connection in, in place of an idle one where there is no room.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admitted, ConnectionRefusal> {
        // One client is one address, whatever family the listener is of.
        let peer = peer.to_canonical();
        let mut open = self.open.lock();
        let of_peer = open.peers.get(&peer).map_or(0, |peer| peer.connections);
        if of_peer >= self.limits.per_address && !open.end_oldest_idle(|other| *other == peer) {
            return Err(ConnectionRefusal::Address);
        }
        if open.connections.len() >= self.limits.total && !open.end_oldest_idle(|_| true) {
            return Err(ConnectionRefusal::Total);
        }
        let share = || Arc::new(Semaphore::new(self.limits.bytes_per_address));
        let entry = open.peers.entry(peer).or_insert_with(|| Peer { connections: 0, share: share() });
        entry.connections += 1;
        let connection = Connection { answering: Arc::default(), share: entry.share.clone() };
        let (number, ended) = (open.next, CancellationToken::new());
        open.next += 1;
        open.connections.insert(number, OpenConnection { peer, connection: connection.clone(), ended: ended.clone() });
        drop(open);
        Ok(Admitted { connections: self.clone(), number, connection, ended })
    }

    /// Ends all on which nothing is answered.
    pub(super) fn end_idle(&self) {
        let open = self.open.lock();
        open.connections.values().filter(|one| one.connection.is_idle()).for_each(|one| one.ended.cancel());
    }
}

impl Open {
    fn end_oldest_idle(&mut self, of: impl Fn(&IpAddr) -> bool) -> bool {
        let mut idle = self.connections.iter().filter(|(_, one)| one.connection.is_idle() && of(&one.peer));
        let Some(number) = idle.next().map(|(number, _)| *number) else { return false };
        if let Some(gone) = self.remove(number) {
            gone.ended.cancel();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<OpenConnection> {
        let gone = self.connections.remove(&number)?;
        if let Some(peer) = self.peers.get_mut(&gone.peer) {
            peer.connections -= 1;
            if peer.connections == 0 {
                self.peers.remove(&gone.peer);
            }
        }
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits { total: 4, per_address: 2, bytes_per_address: 10 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_idle_connection_makes_room_and_one_that_is_answered_never() {
        let connections = OpenConnections::new(LIMITS);
        let silent: Vec<_> =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| connections.admit(ip(peer)).unwrap()).into();
        let answered = connections.admit(ip("10.0.0.4")).unwrap();
        let answering = answered.connection.begin();
        let fifth = connections.admit(ip("10.0.0.5")).unwrap();
        assert!(silent[0].ended.is_cancelled() && !silent[1].ended.is_cancelled() && !answered.ended.is_cancelled());

        let _busy: Vec<_> = [&silent[1], &silent[2], &fifth].map(|one| one.connection.begin()).into();
        assert_eq!(connections.admit(ip("10.0.0.6")).unwrap_err(), ConnectionRefusal::Total);
        drop(answering);
        assert!(connections.admit(ip("10.0.0.6")).is_ok());
        assert!(answered.ended.is_cancelled());
    }

    #[test]
    fn one_address_has_its_own_bound_under_either_family() {
        let connections = OpenConnections::new(LIMITS);
        let (first, second) =
            (connections.admit(ip("10.0.0.1")).unwrap(), connections.admit(ip("::ffff:10.0.0.1")).unwrap());
        let third = connections.admit(ip("10.0.0.1")).unwrap();
        assert!(first.ended.is_cancelled() && !second.ended.is_cancelled());
        let _busy = (second.connection.begin(), third.connection.begin());
        assert_eq!(connections.admit(ip("10.0.0.1")).unwrap_err(), ConnectionRefusal::Address);
        assert!(connections.admit(ip("10.0.0.2")).is_ok(), "others are not kept out");
        assert!(Arc::ptr_eq(second.connection.share(), third.connection.share()), "its answers share their memory");
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let connections = OpenConnections::new(LIMITS);
        drop(connections.admit(ip("10.0.0.1")).unwrap());
        let open = connections.open.lock();
        assert!(open.connections.is_empty() && open.peers.is_empty());
    }
}
