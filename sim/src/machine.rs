//! One machine of the cluster: its disk and clock outlive it, everything else dies with it.
//!
//! What runs on it is what runs in production: the node, the router over it and the relay, under simulated storage, time and
//! network. Beside them sits an observer that compares every state it sees with what other machines had there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_api::{App, PasswordCost, SigningKey};
use holdfast_events::outbox::NodeOutbox;
use holdfast_events::relay::{self, Relay, StatusWatch};
use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::version::{NEXT, Versions};
use holdfast_raft::clock::Clock;
use holdfast_raft::disk::SimDisk;
use holdfast_raft::identity::{Identity, Place};
use holdfast_raft::node::{Consistency, JoinRequest, ManageError, Node, Options, Start};
use holdfast_raft::plan::Refusal;
use holdfast_raft::settings::Settings;
use holdfast_raft::state::StateSettings;
use holdfast_raft::storage::StorageSettings;
use holdfast_raft::transport::sim::SimNetwork;
use holdfast_raft::types::{Intent, NodeId};
use madsim::net::Endpoint;
use tokio::time::sleep;

use crate::bus::Bus;
use crate::clocks::SimClock;
use crate::evidence::Archive;
use crate::frames::Frames;
use crate::hop::{self, Admit};
use crate::mirror::{Book, Copy, Letterbox};
use crate::past::Pasts;
use crate::provider::Bank;
use crate::restore::{self, Kept};
use crate::streams::number as stream_number;
use crate::trace::Trace;

const PEER_PORT: u16 = 7000;
const HTTP_PORT: u16 = 3000;
/// How long a new machine waits for one member's answer before it asks the next.
const ADMISSION_WAIT: Duration = Duration::from_secs(2);
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How long the interface waits for a payment's decision before it says that it takes longer.
const PAYMENT_WAIT: Duration = Duration::from_secs(2);

/// The address of machine `number`.
pub fn ip(number: u32) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number).expect("few machines")).into()
}

/// Where its peers reach machine `number`.
pub fn peer_addr(number: u32) -> SocketAddr {
    SocketAddr::new(ip(number), PEER_PORT)
}

/// A port of machine `number` that nobody knows.
pub fn any_port(number: u32) -> String {
    SocketAddr::new(ip(number), 0).to_string()
}

/// Where clients reach machine `number`.
pub fn http_addr(number: u32) -> SocketAddr {
    SocketAddr::new(ip(number), HTTP_PORT)
}

/// What stays of a machine when it dies.
pub struct Machine {
    disk: Mutex<SimDisk>,
    pub clock: SimClock,
    /// It runs the newer of the two builds, from its next start on.
    pub plays_next: AtomicBool,
    /// What it is to make a new cluster of, until it has.
    backup: Mutex<Option<Arc<Kept>>>,
}

impl Machine {
    /// A machine with an empty disk. `seed` is the run's.
    pub fn new(seed: u64, number: u32) -> Machine {
        let disk = SimDisk::new(stream_number(seed, &format!("disk {number}")));
        let (clock, plays_next) = (SimClock::default(), AtomicBool::new(false));
        Machine { disk: Mutex::new(disk), clock, plays_next, backup: Mutex::default() }
    }

    /// From its next start on it is the only node of a new cluster, made of this.
    pub fn is_to_restore(&self, kept: Arc<Kept>) {
        *self.backup.lock().expect("nothing panics while it holds a backup") = Some(kept);
    }

    pub fn to_restore(&self) -> Option<Arc<Kept>> {
        self.backup.lock().expect("nothing panics while it holds a backup").clone()
    }

    /// It has done so.
    pub fn restored(&self) {
        self.backup.lock().expect("nothing panics while it holds a backup").take();
    }

    /// What the build knows that it runs.
    pub fn versions(&self) -> Versions {
        let next = NEXT.filter(|_| self.plays_next.load(Ordering::Relaxed));
        next.map_or(Versions::SHIPPED, |next| next.versions)
    }

    /// The disk, for its present life.
    pub fn disk(&self) -> SimDisk {
        self.disk.lock().expect("nothing panics while it holds a disk").clone()
    }

    /// The machine dies; with `power`, so does what is not synced.
    pub fn die(&self, power: bool) {
        let mut disk = self.disk.lock().expect("nothing panics while it holds a disk");
        *disk = if power { disk.power_lost() } else { disk.process_killed() };
    }
}

/// A node that stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub number: u32,
    pub reason: String,
}

/// What was seen of all states so far.
#[derive(Default)]
pub struct Observed {
    /// By lineage, and by log index in it.
    states: BTreeMap<(u16, u64), Seen>,
    /// By cluster and term.
    leaders: BTreeMap<(u128, u64), u64>,
    /// Which data folder each node id was given to.
    folders: BTreeMap<NodeId, u128>,
    /// What must not be, as sentences.
    pub violations: BTreeSet<String>,
    pub stops: Vec<Stop>,
    /// A majority of clocks may have agreed on a wrong time.
    pub clocks_misled: bool,
}

/// A clock that is ahead by more is wrong, in milliseconds; two of them agree if they are no further apart.
const WRONG_MS: i64 = 1_500;
const AGREEING_MS: i64 = 3_000;

#[derive(Clone, Copy)]
struct Seen {
    hash: u128,
    time_ms: u64,
    number: u32,
}

impl Observed {
    /// Machine `number` has this state at this place in the log, a lineage and an index: everybody's must be the same, and time must
    /// not go back.
    pub fn state(&mut self, number: u32, place: (u16, u64), hash: u128, time_ms: u64) {
        let (lineage, index) = place;
        let seen = *self.states.entry(place).or_insert(Seen { hash, time_ms, number });
        if seen.hash != hash {
            let other = seen.number;
            self.violations.insert(format!("at index {index}, n{number} and n{other} have different states"));
        }
        let before = self.states.range((lineage, 0)..place).next_back().map_or(0, |(_, seen)| seen.time_ms);
        let after = self.states.range((lineage, index + 1)..=(lineage, u64::MAX)).next();
        if time_ms < before || time_ms > after.map_or(u64::MAX, |(_, seen)| seen.time_ms) {
            self.violations.insert(format!("ledger time goes back around index {index}"));
        }
    }

    /// `node_id` says that it leads its cluster in `term`: nobody else may.
    pub fn leader(&mut self, cluster_id: u128, term: u64, node_id: u64) {
        let leader = *self.leaders.entry((cluster_id, term)).or_insert(node_id);
        if leader != node_id {
            self.violations.insert(format!("term {term} has two leaders, nodes {leader} and {node_id}"));
        }
    }

    /// A membership says that node `node_id` is the data folder `instance`: no other folder may ever be.
    pub fn member(&mut self, node_id: NodeId, instance: u128) {
        let folder = *self.folders.entry(node_id).or_insert(instance);
        if folder != instance {
            self.violations.insert(format!("node id {node_id} was given to two data folders"));
        }
    }

    /// So far ahead of true time are the clocks, in milliseconds, of a cluster with so many voters.
    pub fn clocks(&mut self, ahead_ms: &[i64], voters: usize) {
        let mut wrong: Vec<i64> = ahead_ms.iter().copied().filter(|ahead_ms| *ahead_ms > WRONG_MS).collect();
        wrong.sort_unstable();
        let agree = wrong.windows(2).any(|pair| pair[1] - pair[0] <= AGREEING_MS);
        self.clocks_misled |= agree || voters < 3 && !wrong.is_empty();
    }

    /// How many leaders there were.
    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }
}

/// What all machines of a run stand on.
pub struct Ground {
    pub seed: u64,
    pub settings: Settings,
    pub trace: Arc<Trace>,
    pub frames: Arc<Frames>,
    pub bank: Arc<Bank>,
    pub bus: Arc<Bus>,
    pub letterbox: Arc<Letterbox>,
    pub copy: Copy,
    pub heard: Book,
    /// All events, also those that the ledger has dropped.
    pub archive: Archive,
    /// What restores have ended.
    pub pasts: Pasts,
    /// By number, from 1.
    pub machines: BTreeMap<u32, Machine>,
    /// The run has used up its time of a processor.
    pub given_up: AtomicBool,
    /// There is a cluster: who begins anew joins it.
    pub founded: AtomicBool,
    /// The machines that are there now.
    pub present: Present,
    pub live: Mutex<BTreeMap<u32, Node>>,
    /// What the relay of each machine says of itself, as of its last life.
    pub relays: Mutex<BTreeMap<u32, StatusWatch>>,
    pub observed: Mutex<Observed>,
}

/// Which machines are there: some may come later, and some go. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Present(Arc<Mutex<BTreeSet<u32>>>);

impl Present {
    pub fn new(numbers: impl IntoIterator<Item = u32>) -> Present {
        Present(Arc::new(Mutex::new(numbers.into_iter().collect())))
    }

    fn numbers(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().expect("nothing panics while it counts who is there")
    }

    pub fn all(&self) -> Vec<u32> {
        self.numbers().iter().copied().collect()
    }

    pub fn count(&self) -> usize {
        self.numbers().len()
    }

    pub fn contains(&self, number: u32) -> bool {
        self.numbers().contains(&number)
    }

    pub fn arrive(&self, number: u32) {
        self.numbers().insert(number);
    }

    pub fn depart(&self, number: u32) {
        self.numbers().remove(&number);
    }

    /// Whom to ask after `than`, in turn.
    pub fn next(&self, than: u32) -> u32 {
        let numbers = self.numbers();
        let next = numbers.range(than + 1..).next().or_else(|| numbers.first());
        *next.expect("a cluster has a machine")
    }
}

impl Ground {
    pub fn live(&self) -> MutexGuard<'_, BTreeMap<u32, Node>> {
        self.live.lock().expect("nothing panics while it counts the live")
    }

    pub fn relays(&self) -> MutexGuard<'_, BTreeMap<u32, StatusWatch>> {
        self.relays.lock().expect("nothing panics while it looks at the relays")
    }

    pub fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().expect("nothing panics while it observes")
    }

    fn stopped(&self, number: u32, reason: String) {
        self.trace.note(format_args!("n{number} stops: {reason}"));
        self.live().remove(&number);
        self.observed().stops.push(Stop { number, reason });
    }
}

/// What machine `number` does from power-on until it dies.
pub async fn run(ground: Arc<Ground>, number: u32) {
    if !ground.present.contains(number) {
        return;
    }
    ground.trace.note(format_args!("n{number} starts"));
    let node = match start(&ground, number).await {
        Ok(node) => node,
        Err(reason) => return ground.stopped(number, reason),
    };
    ground.trace.note(format_args!("n{number} is up"));
    ground.founded.store(true, Ordering::Relaxed);
    let app = app(&ground, number, node.clone());
    let endpoint = match Endpoint::bind(http_addr(number)).await {
        Ok(endpoint) => endpoint,
        Err(error) => return ground.stopped(number, format!("cannot listen for clients: {error}")),
    };
    hop::serve(&endpoint, node.clone(), holdfast_api::router(app));
    tokio::spawn(register(node.clone(), signing_key(ground.seed, number).register()));
    tokio::spawn(relay(ground.clone(), number, node.clone()));
    tokio::spawn(observe(ground.clone(), number, node.clone()));
    let fatal = node.fatal();
    ground.live().insert(number, node);
    let fault = fatal.await;
    ground.stopped(number, fault.to_string());
}

async fn start(ground: &Arc<Ground>, number: u32) -> Result<Node, String> {
    restore::restore(ground, number).await?;
    let disk = ground.machines[&number].disk();
    let identity = Identity::open(&disk).map_err(|error| format!("the identity: {error}"))?;
    let start = match identity.place {
        Some(_) => Start::Continue,
        None if number == 1 && !ground.founded.load(Ordering::Relaxed) => Start::Bootstrap,
        None => Start::Joined(admission(ground, number, identity.instance).await),
    };
    // Only now: who was told that his build is too old has taken the newer one.
    Node::start(Options { start, ..options(ground, number) }).await.map_err(|error| error.to_string())
}

/// How a node that goes on runs on this machine.
pub fn options(ground: &Ground, number: u32) -> Options {
    let machine = &ground.machines[&number];
    Options {
        disk: Arc::new(machine.disk()),
        transport: Arc::new(SimNetwork::new(ip(number), ground.frames.clone())),
        clock: Arc::new(machine.clock.clone()),
        peer_listen: peer_addr(number).to_string(),
        peer_addr: None,
        http_addr: http_addr(number).to_string(),
        settings: ground.settings.clone(),
        storage: StorageSettings {
            state: StateSettings { versions: machine.versions(), ..StateSettings::default() },
            ..StorageSettings::default()
        },
        start: Start::Continue,
    }
}

/// Asks the members, one after the other, until one gives this folder a place.
async fn admission(ground: &Ground, number: u32, instance: u128) -> Place {
    let request = || JoinRequest {
        instance,
        peer_addr: peer_addr(number).to_string(),
        http_addr: http_addr(number).to_string(),
        intent: Intent::Voter,
        versions: ground.machines[&number].versions(),
    };
    let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a machine has a free port");
    loop {
        for member in ground.present.all().into_iter().filter(|member| *member != number) {
            let asked = endpoint.call_timeout(http_addr(member), Admit(request()), ADMISSION_WAIT).await;
            match asked {
                Ok(Ok(place)) => return place,
                // Who sets the machine up sees what it says, and takes the newer build.
                Ok(Err(ManageError::Refused(Refusal::NewcomerTooOld { .. }))) => {
                    ground.trace.note(format_args!("operator of n{number} hears that its build is too old"));
                    ground.machines[&number].plays_next.store(true, Ordering::Relaxed);
                }
                _ => {}
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

fn signing_key(seed: u64, number: u32) -> SigningKey {
    SigningKey::from_seed(&key_seed(seed, &format!("signing key {number}")))
}

/// The seed of a secret key of the run's.
pub fn key_seed(seed: u64, name: &str) -> [u8; 32] {
    let part = stream_number(seed, name).to_be_bytes();
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(part.len()).for_each(|chunk| chunk.copy_from_slice(&part));
    bytes
}

fn app(ground: &Ground, number: u32, node: Node) -> App {
    let clock = ground.machines[&number].clock.clone();
    let settings = holdfast_api::Settings {
        password_cost: PasswordCost::LOWEST,
        payment_wait: PAYMENT_WAIT,
        wall_clock: Arc::new(move || clock.wall_ms()),
        // A clock may jump by an hour: what a token's life has to do with that is not what is looked at here.
        token_ttl_s: 365 * 24 * 3_600,
        ..holdfast_api::Settings::default()
    };
    App::new(node, signing_key(ground.seed, number), settings)
}

/// The machine's relay, quicker than in production, so that a short run sees it fail and begin anew often.
async fn relay(ground: Arc<Ground>, number: u32, node: Node) {
    let settings = relay::Settings {
        window_max: 32,
        ack_timeout: Duration::from_secs(1),
        mirror_events: 128,
        mirror_interval: Duration::from_secs(1),
        backoff_max: Duration::from_secs(1),
        stopped_pause: Duration::from_secs(2),
        ..relay::Settings::default()
    };
    let relay = Relay::new(NodeOutbox::new(node), ground.bus.broker(), settings);
    ground.relays().insert(number, relay.watch());
    relay.run().await;
}

/// Publishes a public key of the machine's, as soon as there is a leader.
async fn register(node: Node, command: Command) {
    loop {
        let submitted = Submitted { actor: Actor::System, idempotency: None, command: command.clone() };
        if node.propose(submitted).await.is_ok() {
            return;
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Holds every state that it gets to see against those of the other machines.
async fn observe(ground: Arc<Ground>, number: u32, node: Node) {
    let mut index = 0;
    loop {
        node.applied_beyond(index).await;
        let read = node.read(Consistency::Stale, |state| {
            let meta = state.meta();
            Ok(((meta.lineage, meta.index), state.state_hash(), meta.now_ms))
        });
        let Ok((place, hash, time_ms)) = read.await else { return };
        // Entries of replication itself move the applied index, not the state.
        index = node.status().applied_index.max(index + 1);
        ground.trace.note(format_args!("n{number} has applied {} {hash:032x}", place.1));
        ground.observed().state(number, place, hash, time_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_states_at_one_index_are_seen() {
        let mut observed = Observed::default();
        observed.state(1, (0, 5), 7, 100);
        observed.state(2, (0, 5), 7, 100);
        observed.state(2, (1, 5), 8, 90);
        assert!(observed.violations.is_empty());
        observed.state(3, (0, 5), 8, 100);
        assert_eq!(observed.violations.len(), 1);
    }

    #[test]
    fn time_that_goes_back_is_seen_whoever_reports_first() {
        for order in [[4, 5], [5, 4]] {
            let mut observed = Observed::default();
            order.into_iter().for_each(|index| observed.state(1, (0, index), 0, 100 - index));
            assert_eq!(observed.violations.len(), 1);
        }
    }

    #[test]
    fn a_node_id_that_is_given_twice_is_seen() {
        let mut observed = Observed::default();
        observed.member(7, 1);
        observed.member(8, 2);
        observed.member(7, 1);
        assert!(observed.violations.is_empty());
        observed.member(7, 2);
        assert_eq!(observed.violations.len(), 1);
    }

    #[test]
    fn clocks_mislead_when_two_are_wrong_in_the_same_way_or_nobody_knows_better() {
        let misled = |ahead_ms: &[i64], voters| {
            let mut observed = Observed::default();
            observed.clocks(ahead_ms, voters);
            observed.clocks_misled
        };
        assert!(!misled(&[0, 1_000, 900_000], 3) && !misled(&[0, 100_000, 900_000], 3) && !misled(&[0, -9_000, 0], 1));
        assert!(misled(&[0, 900_000, 902_000], 3) && misled(&[900_000], 1));
    }

    #[test]
    fn only_who_is_there_is_asked() {
        let present = Present::new([1, 3]);
        assert_eq!((present.next(1), present.next(3)), (3, 1));
        present.arrive(2);
        present.depart(3);
        assert_eq!((present.next(1), present.next(2), present.next(3)), (2, 1, 1));
    }

    #[test]
    fn two_leaders_of_a_term_are_seen() {
        let mut observed = Observed::default();
        observed.leader(7, 1, 11);
        observed.leader(7, 2, 12);
        observed.leader(7, 1, 11);
        observed.leader(8, 1, 12);
        assert!(observed.violations.is_empty());
        observed.leader(7, 2, 11);
        assert_eq!(observed.violations.len(), 1);
    }
}
