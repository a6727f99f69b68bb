//! Ordered frames of bytes between two addresses: all that replication asks of a network.
//!
//! A [`Transport`] connects and listens; a [`Connection`] is a pair of bounded queues, one a direction, that somebody else
//! pumps. What the frames say (handshake, requests, answers) stands above, in [`session`](crate::session), so that the
//! simulator runs the same code over its own network.
//!
//! What this deliberately does not do: retry, reorder, or tell why a connection ended. The end of the incoming queue is the
//! end of the connection, and whoever wants it again connects again.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use principal::Principal;

#[cfg(not(madsim))]
pub mod grpc;
pub mod memory;
pub mod principal;
#[cfg(madsim)]
pub mod sim;
#[cfg(not(madsim))]
pub mod tls;

/// The longest frame that is sent or accepted, in bytes: an entry of the greatest size, and its frame around it.
pub const FRAME_BYTES_MAX: usize = holdfast_ledger::codec::VALUE_BYTES_MAX + (1 << 20);

/// Frames that wait in one direction of one connection before the sender has to wait.
pub const FRAMES_QUEUED_MAX: usize = 64;

/// One connection to a peer. Dropping `outgoing` ends it for both sides.
#[derive(Debug)]
pub struct Connection {
    /// The other side's address, as far as it is known; for messages only.
    pub peer: String,
    /// Who the other side is, where the network knows it for certain.
    pub principal: Option<Principal>,
    pub outgoing: mpsc::Sender<Bytes>,
    pub incoming: mpsc::Receiver<Bytes>,
}

/// A network.
pub trait Transport: Send + Sync + 'static {
    /// Connects to `addr` (`host:port`), within `timeout`.
    fn connect<'a>(&'a self, addr: &'a str, timeout: Duration) -> BoxFuture<'a, io::Result<Connection>>;

    /// Listens on `addr` (`host:port`; port 0 lets the system choose).
    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// Where peers connect to. Dropping it ends the listening.
pub trait Listener: Send + 'static {
    /// The address that it listens on, with the port that was chosen.
    fn local_addr(&self) -> String;

    /// The next connection. An error is of the listener, not of one connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;
}

/// The two ends of a connection whose queues are each other's: what a transport pumps, or, joined, a connection in memory.
pub(crate) fn pair(near: &str, far: &str) -> (Connection, Connection) {
    let (near_tx, far_rx) = mpsc::channel(FRAMES_QUEUED_MAX);
    let (far_tx, near_rx) = mpsc::channel(FRAMES_QUEUED_MAX);
    (
        Connection { peer: far.to_string(), principal: None, outgoing: near_tx, incoming: near_rx },
        Connection { peer: near.to_string(), principal: None, outgoing: far_tx, incoming: far_rx },
    )
}
