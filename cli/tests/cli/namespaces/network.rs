//! The network that pods get: a bridge, and behind it a network namespace for each pod, with an address that nobody had before.
//!
//! Who may reach which port of a pod is kept by routing rules inside its namespace: what no rule lets in is swallowed. That
//! asks for no packet filter, which not every kernel has.
//!
//! What this deliberately does not do: DNS, since all names stand in one file of hosts; and a way out, since nothing here has
//! business outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::text;

/// The machine that the pods run on: it looks after them, so it reaches every port.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Ports from here on are those that connections to others come from.
const LISTENING_PORT_MAX: u16 = 32_767;

/// A port of a pod, and who may reach it; `None`: everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Admitted {
    pub from: Option<Ipv4Addr>,
    pub port: u16,
}

pub struct Network {
    /// A folder with the file `hosts`, as pods see it.
    pub names: PathBuf,
    known: BTreeSet<(Ipv4Addr, String)>,
    admitted: BTreeMap<String, BTreeSet<Admitted>>,
    given: u8,
    pods: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    /// The network of a namespace that has none yet. Its files are kept in `folder`.
    pub fn new(folder: &Path) -> Network {
        let names = folder.join("names");
        fs::create_dir(&names).expect("a folder");
        ip("link set lo up");
        ip("link add pods type bridge");
        ip(&format!("address add {GATEWAY}/16 dev pods"));
        ip("link set pods up");
        let (known, admitted, pods) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let network = Network { names, known, admitted, given: 0, pods };
        network.write_names();
        network
    }

    /// A namespace for a pod; its address.
    pub fn attach(&mut self, pod: &str) -> Ipv4Addr {
        let address = self.next();
        let link = link(address);
        ip(&format!("netns add {pod}"));
        ip(&format!("link add {link} type veth peer name eth0 netns {pod}"));
        ip(&format!("link set {link} master pods up"));
        ip(&format!("-n {pod} link set lo up"));
        ip(&format!("-n {pod} address add {address}/16 dev eth0"));
        ip(&format!("-n {pod} link set eth0 up"));
        self.pods.insert(pod.into(), address);
        address
    }

    /// Takes the namespace of a pod away, whose processes have ended.
    pub fn detach(&mut self, pod: &str) {
        let address = self.pods.remove(pod).expect("it was attached");
        ip(&format!("link delete {}", link(address)));
        ip(&format!("netns delete {pod}"));
        self.known.retain(|(of, _)| *of != address);
        self.admitted.remove(pod);
        self.write_names();
    }

    /// Draws a pod's cable, or puts it back.
    pub fn set_connected(&self, pod: &str, connected: bool) {
        let state = if connected { "up" } else { "down" };
        ip(&format!("link set {} {state}", link(self.pods[pod])));
    }

    /// An address of the machine's own, under a name.
    pub fn own(&mut self, name: &str) -> Ipv4Addr {
        let address = self.next();
        ip(&format!("address add {address}/16 dev pods"));
        self.name(name, address);
        address
    }

    pub fn name(&mut self, name: &str, address: Ipv4Addr) {
        self.known.insert((address, name.into()));
        self.write_names();
    }

    /// From now on a pod is reached by nobody but these; more may come, and none is taken back while the pod lives.
    pub fn admit(&mut self, pod: &str, admitted: BTreeSet<Admitted>) {
        let rule = |rule: &str| ip(&format!("-n {pod} rule add {rule}"));
        let before = self.admitted.entry(pod.into()).or_insert_with(|| {
            rule(&format!("pref 10 iif eth0 from {GATEWAY} lookup local"));
            rule("pref 100 lookup local");
            ip(&format!("-n {pod} rule delete pref 0"));
            rule(&format!("pref 20 iif eth0 ipproto tcp dport 1-{LISTENING_PORT_MAX} blackhole"));
            BTreeSet::new()
        });
        for Admitted { from, port } in admitted.difference(before) {
            let from = from.map_or("all".into(), |from| from.to_string());
            rule(&format!("pref 10 iif eth0 from {from} ipproto tcp dport {port} lookup local"));
        }
        before.extend(admitted);
    }

    fn next(&mut self) -> Ipv4Addr {
        self.given += 1;
        Ipv4Addr::new(10, 77, 1, self.given)
    }

    /// Pods see the new file at once, and never half of it.
    fn write_names(&self) {
        let lines = self.known.iter().map(|(address, name)| format!("{address} {name}\n"));
        let fresh = self.names.join("hosts.new");
        fs::write(&fresh, format!("127.0.0.1 localhost\n{}", lines.collect::<String>())).expect("written");
        fs::rename(fresh, self.names.join("hosts")).expect("in its place");
    }
}

/// The machine's end of a pod's cable.
fn link(address: Ipv4Addr) -> String {
    format!("to-{}", address.octets()[3])
}

fn ip(words: &str) {
    let said = Command::new("ip").args(words.split_whitespace()).output().expect("ip");
    assert!(said.status.success(), "ip {words}: {}", text(&said.stderr));
}
