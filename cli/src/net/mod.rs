//! A network between processes of this machine that can be told to fail: TCP proxies before the nodes.
//!
//! Each node announces a *door* of this network as its peer address, so what others say to it comes through there. The network
//! knows which process has connected, from the kernel's table of sockets, and so which node says something to which: either
//! direction can be held, slowed or lost on its own. `bench failover` and the tests of faults use it.
//!
//! What this deliberately does not do: lose, double or reorder packets. TCP mends that, and processes would never see it; messages
//! that are lost or come twice are the simulator's.

mod flow;
mod whose;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use flow::Flow;

/// Connections through one door at once; more are closed as they come.
const CONNECTIONS_MAX: usize = 1_024;
/// After an error of a listener, which is of the machine (too many open files).
const LISTENER_PAUSE: Duration = Duration::from_millis(100);

/// Who is at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A node, by its index.
    Node(usize),
    /// Anybody else on this machine: clients, tests.
    Outside,
}

type Flows = BTreeMap<(End, End), Flow>;

struct Shared {
    /// What is not named is open.
    flows: watch::Sender<Flows>,
    /// Whose process is which.
    processes: Mutex<BTreeMap<u32, usize>>,
}

/// The network. Dropping it closes every connection through it.
pub struct Net {
    shared: Arc<Shared>,
    doors: Vec<(usize, JoinHandle<()>)>,
}

impl Default for Net {
    fn default() -> Net {
        let shared = Shared { flows: watch::Sender::new(Flows::new()), processes: Mutex::default() };
        Net { shared: Arc::new(shared), doors: Vec::new() }
    }
}

impl Net {
    /// A new address on loopback behind which the node of this index listens at `target`. Needs the runtime.
    pub fn door(&mut self, node: usize, target: SocketAddr) -> io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let door = Door { address, node: End::Node(node), target, shared: self.shared.clone() };
        self.doors.push((node, tokio::spawn(door.serve(TcpListener::from_std(listener)?))));
        Ok(address)
    }

    /// The node of this index is the process `pid` from now on.
    pub fn runs(&self, node: usize, pid: u32) {
        let mut processes = self.shared.processes();
        processes.retain(|_, other| *other != node);
        processes.insert(pid, node);
    }

    /// What becomes from now on of all that `from` says to `to`, on connections that are open as well.
    pub fn set(&self, from: End, to: End, flow: Flow) {
        self.shared.flows.send_modify(|flows| {
            flows.insert((from, to), flow);
        });
    }

    /// Cuts a node off from all other nodes, both ways. Clients still reach it.
    pub fn isolate(&self, node: usize) {
        let others: Vec<usize> = self.doors.iter().map(|(other, _)| *other).filter(|other| *other != node).collect();
        self.shared.flows.send_modify(|flows| {
            for other in others {
                flows.insert((End::Node(node), End::Node(other)), Flow::Held);
                flows.insert((End::Node(other), End::Node(node)), Flow::Held);
            }
        });
    }

    /// Opens everything again.
    pub fn heal(&self) {
        self.shared.flows.send_modify(BTreeMap::clear);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.doors.iter().for_each(|(_, door)| door.abort());
    }
}

impl Shared {
    fn processes(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.processes.lock().expect("nothing panics while it holds the processes")
    }

    /// Who has connected from `from` to `to`.
    fn caller(&self, from: SocketAddr, to: SocketAddr) -> End {
        let processes = self.processes().clone();
        let pid = whose::process(from, to, processes.keys().copied());
        pid.and_then(|pid| processes.get(&pid).copied()).map_or(End::Outside, End::Node)
    }
}

/// One listener before one node.
#[derive(Clone)]
struct Door {
    address: SocketAddr,
    node: End,
    target: SocketAddr,
    shared: Arc<Shared>,
}

impl Door {
    async fn serve(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            let Ok((near, from)) = listener.accept().await else {
                tokio::time::sleep(LISTENER_PAUSE).await;
                continue;
            };
            while open.try_join_next().is_some() {}
            if open.len() < CONNECTIONS_MAX {
                open.spawn(self.clone().carry(near, from));
            }
        }
    }

    /// Carries what both say until either is gone.
    async fn carry(self, near: TcpStream, from: SocketAddr) -> io::Result<()> {
        let caller = self.shared.caller(from, self.address);
        let mut flows = self.shared.flows.subscribe();
        // Who is cut off gets no connection either.
        flow::passable(&mut flows, (caller, self.node)).await;
        let far = TcpStream::connect(self.target).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::try_join!(
            flow::pump(near_in, far_out, (caller, self.node), flows.clone()),
            flow::pump(far_in, near_out, (self.node, caller), flows),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A target that says everything again, the door before it, and the network.
    async fn echo() -> (Net, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let mut net = Net::default();
        let door = net.door(0, target).unwrap();
        (net, door)
    }

    async fn hears(stream: &mut TcpStream, wanted: &[u8]) -> io::Result<()> {
        let mut heard = vec![0; wanted.len()];
        stream.read_exact(&mut heard).await?;
        assert_eq!(heard, wanted);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_held_goes_on_when_it_is_healed() {
        let (net, door) = echo().await;
        let mut stream = TcpStream::connect(door).await.unwrap();
        stream.write_all(b"one").await.unwrap();
        hears(&mut stream, b"one").await.unwrap();
        net.set(End::Node(0), End::Outside, Flow::Held);
        stream.write_all(b"two").await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(100), hears(&mut stream, b"two")).await;
        assert!(silence.is_err(), "an answer came over a line that is held");
        net.heal();
        hears(&mut stream, b"two").await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_answer_ends_the_connection() {
        let (net, door) = echo().await;
        let mut stream = TcpStream::connect(door).await.unwrap();
        net.set(End::Node(0), End::Outside, Flow::Lost);
        stream.write_all(b"one").await.unwrap();
        assert!(hears(&mut stream, b"one").await.is_err());
        net.heal();
        let mut stream = TcpStream::connect(door).await.unwrap();
        stream.write_all(b"two").await.unwrap();
        hears(&mut stream, b"two").await.unwrap();
    }

    #[tokio::test]
    async fn a_process_is_known_by_its_connection() {
        let (net, door) = echo().await;
        // This very process plays the node of index 1.
        net.runs(1, std::process::id());
        net.set(End::Node(1), End::Node(0), Flow::Held);
        let mut stream = TcpStream::connect(door).await.unwrap();
        stream.write_all(b"one").await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(100), hears(&mut stream, b"one")).await;
        assert!(silence.is_err(), "the caller was not known");
        net.set(End::Node(1), End::Node(0), Flow::Slow { bytes_per_s: 1_000 });
        hears(&mut stream, b"one").await.unwrap();
    }
}
