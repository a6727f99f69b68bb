//! Clusters to test with: nodes that can be started, killed, and asked.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::outcome::{Refusal, Reply};
use holdfast_ledger::query;
use holdfast_ledger::version::Versions;
use holdfast_raft::clock::{Clock, SystemClock};
use holdfast_raft::disk::{Folder, SharedDisk, SimDisk};
use holdfast_raft::identity::Identity;
use holdfast_raft::node::{Answer, Consistency, JoinRequest, Node, Options, Start, StartError, Unavailable};
use holdfast_raft::settings::Settings;
use holdfast_raft::state::StateSettings;
use holdfast_raft::storage::StorageSettings;
use holdfast_raft::transport::Transport;
use holdfast_raft::transport::grpc::Grpc;
use holdfast_raft::transport::memory::MemoryNetwork;
use holdfast_raft::types::Intent;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// How long a test waits for what must happen before it fails: a busy machine is slow, a broken one waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited for {PATIENCE:?}: {what}");
}

/// What nodes stand on.
pub enum Ground {
    /// RocksDB in a folder that is removed in the end, gRPC on loopback.
    Real(TempDir),
    Simulated(MemoryNetwork, Vec<SimDisk>),
}

impl Ground {
    pub fn real() -> Ground {
        Ground::Real(tempfile::tempdir().unwrap())
    }

    pub fn simulated() -> Ground {
        Ground::Simulated(MemoryNetwork::default(), Vec::new())
    }

    pub fn transport(&self) -> Arc<dyn Transport> {
        match self {
            Ground::Real(_) => Arc::new(Grpc::default()),
            Ground::Simulated(network, _) => Arc::new(network.clone()),
        }
    }

    /// The disk of the node number `at`, as a process finds it that starts now.
    fn disk(&mut self, at: usize) -> SharedDisk {
        match self {
            Ground::Real(root) => Arc::new(Folder::open(root.path().join(format!("node-{at}"))).unwrap()),
            Ground::Simulated(_, disks) => {
                while disks.len() <= at {
                    disks.push(SimDisk::new(disks.len() as u64));
                }
                disks[at] = disks[at].process_killed();
                Arc::new(disks[at].clone())
            }
        }
    }

    /// An address for the node number `at`: on loopback, a port that was free a moment ago.
    fn peer_addr(&self, at: usize) -> String {
        match self {
            Ground::Real(_) => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string(),
            Ground::Simulated(..) => format!("node-{at}:4000"),
        }
    }
}

/// Quick elections, so that tests need not wait long, but not so quick that a busy machine has them all the time.
pub fn quick() -> Settings {
    Settings {
        heartbeat_ms: 100,
        election_min_ms: 600,
        election_max_ms: 1_200,
        housekeeping_interval_ms: 50,
        leader_wait_ms: 10_000,
        proposal_timeout_ms: 20_000,
        read_timeout_ms: 20_000,
        ..Settings::default()
    }
}

pub struct Cluster {
    pub ground: Ground,
    pub settings: Settings,
    nodes: Vec<Option<Node>>,
    addrs: Vec<String>,
    /// How far each node's wall clock is ahead of the machine's.
    ahead_ms: Vec<u64>,
    /// What each node's build knows.
    pub versions: Vec<Versions>,
}

/// A wall clock that is wrong.
struct ShiftedClock {
    machine: SystemClock,
    ahead_ms: u64,
}

impl Clock for ShiftedClock {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms() + self.ahead_ms
    }

    fn monotonic_ms(&self) -> u64 {
        self.machine.monotonic_ms()
    }
}

impl Cluster {
    /// No node yet.
    pub fn none(ground: Ground, settings: Settings) -> Cluster {
        let (nodes, addrs) = (Vec::new(), Vec::new());
        Cluster { ground, settings, nodes, addrs, ahead_ms: Vec::new(), versions: Vec::new() }
    }

    /// One node that is its own cluster.
    pub async fn alone(ground: Ground, settings: Settings) -> Cluster {
        let mut cluster = Cluster::none(ground, settings);
        cluster.add();
        cluster.start(0, Start::Bootstrap).await.unwrap();
        cluster
    }

    /// Three nodes that all vote.
    pub async fn of_three(ground: Ground, settings: Settings) -> Cluster {
        let mut cluster = Cluster::alone(ground, settings).await;
        cluster.join().await;
        cluster.join().await;
        for at in 0..3 {
            cluster.eventually_voters(at, 3).await;
        }
        cluster
    }

    /// A place in this cluster for a node that does not run yet.
    pub fn add(&mut self) -> usize {
        let at = self.nodes.len();
        self.nodes.push(None);
        self.addrs.push(self.ground.peer_addr(at));
        self.ahead_ms.push(0);
        self.versions.push(Versions::SHIPPED);
        at
    }

    pub fn options(&mut self, at: usize, start: Start) -> Options {
        let state = StateSettings { versions: self.versions[at], ..StateSettings::default() };
        Options {
            disk: self.ground.disk(at),
            transport: self.ground.transport(),
            clock: Arc::new(ShiftedClock { machine: SystemClock::default(), ahead_ms: self.ahead_ms[at] }),
            peer_listen: self.addrs[at].clone(),
            peer_addr: None,
            http_addr: format!("127.0.0.1:{}", 3000 + at),
            settings: self.settings.clone(),
            storage: StorageSettings { state, ..StorageSettings::default() },
            start,
        }
    }

    pub async fn start(&mut self, at: usize, start: Start) -> Result<(), StartError> {
        let options = self.options(at, start);
        self.nodes[at] = Some(Node::start(options).await?);
        Ok(())
    }

    /// Asks the last node there is for a place, and starts another one with it. Returns its number.
    pub async fn join(&mut self) -> usize {
        self.join_ahead(0).await
    }

    /// The same, for a node whose wall clock is ahead of all others.
    pub async fn join_ahead(&mut self, ahead_ms: u64) -> usize {
        let at = self.add();
        self.ahead_ms[at] = ahead_ms;
        let disk = self.ground.disk(at);
        let instance = Identity::open(&*disk).unwrap().instance;
        drop(disk);
        let request = JoinRequest {
            instance,
            peer_addr: self.addrs[at].clone(),
            http_addr: "not yet known".into(),
            intent: Intent::Voter,
            versions: Default::default(),
        };
        let asked = self.nodes.iter().rev().flatten().next().expect("some node runs").clone();
        let place = asked.admit(request).await.unwrap();
        self.start(at, Start::Joined(place)).await.unwrap();
        at
    }

    pub fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().expect("the node runs")
    }

    pub fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.as_ref()?)))
    }

    /// Stops a node as an operator does.
    pub async fn stop(&mut self, at: usize) {
        self.nodes[at].take().expect("the node runs").shutdown().await;
    }

    pub async fn restart(&mut self, at: usize) {
        self.start(at, Start::Continue).await.unwrap();
    }

    /// The number of the node that all follow.
    pub async fn leader(&self) -> usize {
        self.leader_among_others(usize::MAX).await
    }

    /// The number of the node that all but `outsider` follow.
    pub async fn leader_among_others(&self, outsider: usize) -> usize {
        let mut leader = 0;
        eventually("a leader among the others", || {
            let others: Vec<_> = self.running().filter(|(at, _)| *at != outsider).collect();
            let named = others[0].1.status().leader;
            let agreed = others.iter().all(|(_, node)| node.status().leader == named);
            let found = others.iter().find(|(_, node)| agreed && Some(node.status().node_id) == named);
            leader = found.map_or(leader, |(at, _)| *at);
            std::future::ready(found.is_some())
        })
        .await;
        leader
    }

    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.running().map(|(at, _)| at).find(|at| *at != leader).expect("there is more than one node")
    }

    pub async fn eventually_voters(&self, at: usize, voters: usize) {
        eventually(&format!("node {at} knows {voters} voters"), || {
            let status = self.node(at).status();
            std::future::ready(status.members.iter().filter(|(_, _, votes)| *votes).count() == voters)
        })
        .await;
    }
}

impl Drop for Cluster {
    /// Closes what is still open before the process ends: RocksDB does not survive the end of its own library.
    fn drop(&mut self) {
        let running: Vec<_> = self.nodes.drain(..).flatten().collect();
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                // The followers first: then nobody needs to take leadership over.
                let leads = |node: &Node| Some(node.status().node_id) == node.status().leader;
                let (leaders, followers): (Vec<_>, Vec<_>) = running.iter().partition(|node| leads(node));
                for node in followers.into_iter().chain(leaders) {
                    node.shutdown().await;
                }
            })
        });
    }
}

/// Signs up `name`, and says whether it is new.
pub fn sign_up(name: &str) -> Submitted {
    let email = format!("{name}@example.org");
    let command = Command::SignUp { email, password_hash: "hash".into(), agent: String::new() };
    Submitted { actor: Actor::Anonymous, idempotency: None, command }
}

/// Whether the answer is of a sign-up that was done, now or by an earlier attempt whose answer was lost.
pub fn signed_up(answer: &Answer) -> bool {
    matches!(answer.outcome.settled, Ok(Reply::SignedIn { .. }) | Err(Refusal::EmailInUse))
}

/// Signs `name` up. If the outcome is not known, because the leader changed, asks again: then it may have been done.
pub async fn put(node: &Node, name: &str) -> Answer {
    let mut in_doubt = false;
    loop {
        match node.propose(sign_up(name)).await {
            Ok(answer) => {
                let new = matches!(answer.outcome.settled, Ok(Reply::SignedIn { .. }));
                assert!(new || in_doubt && signed_up(&answer), "{name}: {answer:?}");
                return answer;
            }
            Err(Unavailable::Unknown) => in_doubt = true,
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

pub async fn has(node: &Node, consistency: Consistency, name: &str) -> Result<bool, Unavailable> {
    let email = format!("{name}@example.org");
    node.read(consistency, |state| Ok(query::user_by_email(state, &email)?.is_some())).await
}

/// The hash of what this node has applied, with the index of the last entry.
pub async fn hash(node: &Node) -> (u64, u128) {
    node.read(Consistency::Stale, |state| Ok((state.meta().index, state.state_hash()))).await.unwrap()
}
