//! Frames over the simulator's network, with the faults that the simulator itself does not have.
//!
//! madsim supplies latency, partitions and the death of nodes. Its streams neither lose, duplicate, reorder nor damage what
//! they carry, so a [`FrameFaults`] decides about every frame here: what the layers above promise must hold all the same.

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use madsim::net::Endpoint;
use tokio::sync::mpsc;

use super::{Connection, FRAMES_QUEUED_MAX, Listener, Transport, pair};

/// Deliveries that may wait for their time, a direction.
const DELAYED_MAX: usize = FRAMES_QUEUED_MAX;

/// What becomes of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Delivered in its turn.
    Deliver,
    /// The connection ends here, the frame is lost.
    Disconnect,
    /// Delivered after that long, and everything behind it waits: a slow line, or a peer that reads slowly.
    Held(Duration),
    /// Delivered once for each of these copies, after that long: duplication, delay, reordering, and, with other bytes,
    /// damage. No copy: the frame is lost and the connection stands, as no TCP does.
    Copies(Vec<(Duration, Bytes)>),
}

/// Decides about frames. Asked once a frame, in the order in which they are sent.
pub trait FrameFaults: Send + Sync + 'static {
    /// The fate of a frame from `from` to `to` (a port of 0 stands for the connecting side).
    fn fate(&self, from: SocketAddr, to: SocketAddr, frame: &Bytes) -> Fate;

    /// A connection stands between `from` and `to`; one before it may have had the same two ports.
    fn connected(&self, from: SocketAddr, to: SocketAddr) {
        let _ = (from, to);
    }

    /// Where somebody who connects from `from` to `to` comes out: elsewhere, where an address has changed hands.
    fn route(&self, from: IpAddr, to: SocketAddr) -> SocketAddr {
        let _ = from;
        to
    }
}

/// No faults beyond the simulator's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faultless;

impl FrameFaults for Faultless {
    fn fate(&self, _from: SocketAddr, _to: SocketAddr, _frame: &Bytes) -> Fate {
        Fate::Deliver
    }
}

/// The simulated network of one node.
#[derive(Clone)]
pub struct SimNetwork {
    ip: IpAddr,
    faults: Arc<dyn FrameFaults>,
}

impl SimNetwork {
    /// `ip` is the address of the machine: an endpoint that connects does not know it.
    pub fn new(ip: IpAddr, faults: Arc<dyn FrameFaults>) -> SimNetwork {
        SimNetwork { ip, faults }
    }
}

impl Transport for SimNetwork {
    fn connect<'a>(&'a self, addr: &'a str, timeout: Duration) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let connect = async {
                let to = self.faults.route(self.ip, resolve(addr).await?);
                let endpoint = Endpoint::bind("0.0.0.0:0").await?;
                let from = SocketAddr::new(self.ip, endpoint.local_addr()?.port());
                let (sender, receiver) = endpoint.connect1(to).await?;
                self.faults.connected(from, to);
                Ok(carry(self.faults.clone(), from, to, sender, receiver))
            };
            let connected = tokio::time::timeout(timeout, connect).await;
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        }
        .boxed()
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        async move {
            let endpoint = Endpoint::bind(addr).await?;
            let addr = endpoint.local_addr()?;
            Ok(Box::new(SimListener { endpoint, addr, faults: self.faults.clone() }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

async fn resolve(addr: &str) -> io::Result<SocketAddr> {
    madsim::net::lookup_host(addr).await?.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

struct SimListener {
    endpoint: Endpoint,
    addr: SocketAddr,
    faults: Arc<dyn FrameFaults>,
}

impl Listener for SimListener {
    fn local_addr(&self) -> String {
        self.addr.to_string()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        async move {
            let (sender, receiver, peer) = self.endpoint.accept1().await?;
            Ok(carry(self.faults.clone(), self.addr, peer, sender, receiver))
        }
        .boxed()
    }
}

/// Starts the two pumps of a connection.
fn carry(
    faults: Arc<dyn FrameFaults>,
    here: SocketAddr,
    there: SocketAddr,
    sender: madsim::net::Sender,
    receiver: madsim::net::Receiver,
) -> Connection {
    let (near, far) = pair("", &there.to_string());
    tokio::spawn(send(faults, here, there, far.incoming, sender));
    tokio::spawn(receive(receiver, far.outgoing));
    near
}

/// Sends frames until either side is gone. Late copies wait in tasks of their own, so later frames may pass them.
async fn send(
    faults: Arc<dyn FrameFaults>,
    here: SocketAddr,
    there: SocketAddr,
    mut frames: mpsc::Receiver<Bytes>,
    sender: madsim::net::Sender,
) {
    let sender = Arc::new(sender);
    let delayed = Arc::new(tokio::sync::Semaphore::new(DELAYED_MAX));
    loop {
        let frame = tokio::select! {
            biased;
            _ = sender.closed() => return,
            frame = frames.recv() => match frame {
                Some(frame) => frame,
                None => return,
            },
        };
        match faults.fate(here, there, &frame) {
            Fate::Deliver => {
                if sender.send(Box::new(frame)).await.is_err() {
                    return;
                }
            }
            Fate::Disconnect => return,
            Fate::Held(delay) => {
                tokio::time::sleep(delay).await;
                if sender.send(Box::new(frame)).await.is_err() {
                    return;
                }
            }
            Fate::Copies(copies) => {
                for (delay, copy) in copies {
                    let Ok(permit) = delayed.clone().acquire_owned().await else { return };
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = sender.send(Box::new(copy)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

async fn receive(mut receiver: madsim::net::Receiver, to: mpsc::Sender<Bytes>) {
    loop {
        let payload = tokio::select! {
            biased;
            _ = to.closed() => return,
            payload = receiver.recv() => match payload {
                Ok(payload) => payload,
                Err(_) => return,
            },
        };
        let frame = (payload as Box<dyn Any>).downcast::<Bytes>().expect("only frames are sent on this port");
        if to.send(*frame).await.is_err() {
            return;
        }
    }
}
