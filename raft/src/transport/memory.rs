//! A network inside one process, for tests: addresses are names, and links can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc;

use super::{Connection, Listener, Transport, pair};

/// Connections that wait to be accepted, a listener.
const BACKLOG_MAX: usize = 64;

#[derive(Default)]
struct Links {
    listeners: BTreeMap<String, mpsc::Sender<Connection>>,
    cut: BTreeSet<String>,
    next_port: u16,
}

/// The network itself. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    links: Arc<Mutex<Links>>,
}

struct MemoryListener {
    addr: String,
    accepted: mpsc::Receiver<Connection>,
}

impl MemoryNetwork {
    /// Lets nobody connect to `addr` any more. Connections that stand are kept.
    pub fn cut(&self, addr: &str) {
        self.links.lock().expect("no holder panics").cut.insert(addr.to_string());
    }

    /// Lets everybody connect to `addr` again.
    pub fn mend(&self, addr: &str) {
        self.links.lock().expect("no holder panics").cut.remove(addr);
    }
}

impl Transport for MemoryNetwork {
    fn connect<'a>(&'a self, addr: &'a str, _timeout: Duration) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let listener = {
                let links = self.links.lock().expect("no holder panics");
                let reachable = links.listeners.get(addr).filter(|_| !links.cut.contains(addr));
                reachable.cloned().ok_or(io::ErrorKind::ConnectionRefused)?
            };
            let (near, far) = pair("memory", addr);
            listener.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
        .boxed()
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        async move {
            let mut links = self.links.lock().expect("no holder panics");
            let addr = match addr.strip_suffix(":0") {
                None => addr.to_string(),
                Some(host) => {
                    links.next_port += 1;
                    format!("{host}:{}", links.next_port)
                }
            };
            let (sender, accepted) = mpsc::channel(BACKLOG_MAX);
            links.listeners.insert(addr.clone(), sender);
            Ok(Box::new(MemoryListener { addr, accepted }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

impl Listener for MemoryListener {
    fn local_addr(&self) -> String {
        self.addr.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        async move { self.accepted.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) }.boxed()
    }
}
