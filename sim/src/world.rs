//! The cluster as the faults see it: machines that can be killed, stopped and cut off, and which of them leads.
//!
//! Faults of different kinds may hold the same machine or link at the same time; it is released when the last of them ends.
//!
//! What this deliberately does not do: decide what goes wrong. That is the schedule's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_raft::clock::Clock as _;
use holdfast_raft::disk::{FolderCopy, Latency};
use holdfast_raft::failpoint::{self, Point};
use holdfast_raft::node::{Node, Status};
use holdfast_raft::types::NodeId;
use madsim::net::{Endpoint, NetSim};
use madsim::runtime::{Handle, NodeHandle};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

use crate::client::Clients;
use crate::clocks::{EPOCH_MS, elapsed};
use crate::damage::{self, Covered, Harm, Part};
use crate::evidence;
use crate::hop::{Propose, Transfer};
use crate::machine::{self, Ground, http_addr, ip};
use crate::restore::Kept;
use crate::schedule::{Cluster, Fault, LOSING_NODES_MIN, Target, What};
use crate::services::{self, COPIES, Program};
use crate::streams::stream;

/// How often machines are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What a run may use of a processor, in seconds: more, and somebody spins, and virtual time hardly moves. The one bound that does
/// not repeat exactly. What else the machine does, or that the process is stopped for a while, does not count.
const CPU_TIME_MAX_S: i64 = 120;
/// How long a machine that stopped by itself rests before it is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// The simulated machines of clients are numbered from here.
pub const CLIENTS_FROM: u32 = 100;
/// Those of services, from here.
const SERVICES_FROM: u32 = 10_000;

/// The operator's machine.
const OPERATOR: u32 = 9_999;
const OPERATOR_IP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 9, 9);
/// How long an operator or a caller of an overload waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// A fault, the role of the node that it struck, and what the cluster was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Empty: none, a machine has only passed the point.
    pub fault: &'static str,
    /// Where a machine died; empty for a fault that does not choose a point.
    pub point: &'static str,
    pub role: &'static str,
    pub phase: &'static str,
}

/// The cluster.
pub struct World {
    pub ground: Arc<Ground>,
    pub clients: Arc<Clients>,
    handles: BTreeMap<u32, NodeHandle>,
    cluster: Cluster,
    holds: Mutex<Holds>,
    reached: Mutex<BTreeSet<Reached>>,
    /// The points that machines were at, and whether they led. There are very many, so this is counted for itself.
    passed: Mutex<BTreeSet<(Point, bool)>>,
    looked: Mutex<Looked>,
    armed: Mutex<Vec<Armed>>,
    staff: Mutex<Staff>,
    /// Nodes that died at a point of theirs, from where they cannot be dropped.
    graves: Mutex<Vec<Node>>,
}

/// What the last look at the machines has shown: at a point of a node at work, it cannot be asked.
#[derive(Default, Clone, Copy)]
struct Looked {
    leader: Option<u32>,
    phase: &'static str,
}

/// What is known of the machines as members.
#[derive(Default)]
struct Staff {
    /// The node id that each machine had last.
    ids: BTreeMap<u32, NodeId>,
    /// How much of each log a watermark covers.
    covered: BTreeMap<u32, Covered>,
    /// Old copies of data folders, by the fault that took them.
    copies: BTreeMap<u32, FolderCopy>,
    /// Backups, by the fault that is to restore them.
    backups: BTreeMap<u32, Kept>,
    /// Machines with damage, until they are replaced.
    harmed: BTreeMap<u32, BTreeSet<Part>>,
    /// Machines that run on an old copy of their folder.
    stale: BTreeSet<u32>,
    /// Machines that an operator is busy with.
    replaced: BTreeSet<u32>,
    /// Streams that an operator is busy with.
    streams: BTreeSet<String>,
}

impl Staff {
    /// The machine may stop by itself: what it would need to go on is not there.
    fn may_stop(&self, number: u32) -> bool {
        self.stale.contains(&number) || self.harmed.get(&number).is_some_and(damage::is_loss)
    }

    /// The machine may find damage at this point: somebody has seen to it.
    fn may_find_damage(&self, number: u32, point: Point) -> bool {
        let parts = match point {
            Point::StateGivenUp => [Part::State, Part::Pointer],
            Point::SnapshotGivenUp => [Part::Snapshot, Part::Manifest],
            _ => return true,
        };
        let harmed = self.harmed.get(&number).is_some_and(|harmed| parts.iter().any(|part| harmed.contains(part)));
        harmed || self.stale.contains(&number)
    }

    /// The machine does not know what it has promised.
    fn has_lost_promises(&self, number: u32) -> bool {
        self.harmed.get(&number).is_some_and(|parts| parts.iter().any(|part| part.holds_promises()))
    }
}

/// A machine that is to die at a point.
struct Armed {
    fault: u32,
    number: u32,
    point: Point,
    /// How often it still has to reach it.
    left: u32,
    power: bool,
}

/// Which faults hold what, by the fault's id.
#[derive(Default)]
struct Holds {
    down: BTreeMap<u32, BTreeSet<u32>>,
    paused: BTreeMap<u32, BTreeSet<u32>>,
    cut: BTreeMap<(u32, u32), BTreeSet<u32>>,
    /// Machines whose disk fails: they are expected to stop.
    broken: BTreeMap<u32, BTreeSet<u32>>,
}

/// Takes a hold; says whether it is the first.
fn take<K: Ord>(holds: &mut BTreeMap<K, BTreeSet<u32>>, what: K, fault: u32) -> bool {
    let holders = holds.entry(what).or_default();
    holders.insert(fault);
    holders.len() == 1
}

/// Lets go; says whether it was the last.
fn release<K: Ord>(holds: &mut BTreeMap<K, BTreeSet<u32>>, what: K, fault: u32) -> bool {
    let Some(holders) = holds.get_mut(&what) else { return false };
    let held = holders.remove(&fault);
    let free = held && holders.is_empty();
    if free {
        holds.remove(&what);
    }
    free
}

impl World {
    /// Powers the machines on.
    pub fn build(ground: Arc<Ground>, clients: Arc<Clients>, cluster: Cluster) -> World {
        let mut handles = BTreeMap::new();
        for (number, machine) in &ground.machines {
            machine.disk().set_latency(latency(cluster.sync_us));
            let (ground, number) = (ground.clone(), *number);
            let power_on = move || machine::run(ground.clone(), number);
            let handle =
                Handle::current().create_node().name(format!("n{number}")).ip(ip(number)).init(power_on).build();
            handles.insert(number, handle);
        }
        let operator = Handle::current().create_node().name("operator").ip(OPERATOR_IP.into()).build();
        handles.insert(OPERATOR, operator);
        World {
            ground,
            clients,
            handles,
            cluster,
            holds: Mutex::default(),
            reached: Mutex::default(),
            passed: Mutex::default(),
            looked: Mutex::default(),
            armed: Mutex::default(),
            staff: Mutex::default(),
            graves: Mutex::default(),
        }
    }

    /// Sees to it that machines die at the points that are chosen for them, and that all points are counted.
    pub fn watch_points(self: &Arc<World>) {
        let world = Arc::downgrade(self);
        failpoint::watch(Some(Arc::new(move |point| {
            if let Some(world) = world.upgrade() {
                world.at_point(point);
            }
        })));
    }

    /// The machine at work now is at a point. If it is to die there, it does so at once: its disk takes nothing more, and none of
    /// its tasks runs again. What it mends by itself must have been damaged by a fault: else it only hides that it lost something.
    fn at_point(&self, point: Point) {
        let here = madsim::plugin::node();
        let is_here = |number: &&u32| self.handles[number].id() == here;
        let Some(number) = self.ground.machines.keys().find(is_here).copied() else { return };
        let Looked { leader, phase } = *self.looked();
        let leads = leader == Some(number);
        self.passed.lock().expect("nothing panics while it counts").insert((point, leads));
        if !self.staff().may_find_damage(number, point) {
            let what = format!("n{number} is at {} on a disk that nobody has damaged", point.name());
            self.ground.observed().violations.insert(what);
        }
        if point == Point::AfterSnapshotInstall {
            self.ground.trace.note(format_args!("n{number} has installed a snapshot"));
        }
        let due = {
            let mut armed = self.armed();
            let Some(at) = armed.iter().position(|armed| armed.number == number && armed.point == point) else {
                return;
            };
            armed[at].left -= 1;
            if armed[at].left > 0 { None } else { Some(armed.remove(at)) }
        };
        let Some(Armed { fault, power, .. }) = due else { return };
        self.ground.trace.note(format_args!("fault {fault} strikes n{number} at {}", point.name()));
        let died = Reached { fault: "crash_at", point: point.name(), role: role(leads), phase };
        self.reached.lock().expect("nothing panics while it counts").insert(died);
        // The node itself is at work below: it is buried when it no longer is.
        let node = self.ground.live().remove(&number);
        self.graves().extend(node);
        self.crash(number, fault, power);
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().expect("nothing panics while it looks")
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().expect("nothing panics while it arms points")
    }

    fn graves(&self) -> MutexGuard<'_, Vec<Node>> {
        self.graves.lock().expect("nothing panics while it buries")
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().expect("nothing panics while it holds the faults")
    }

    /// The machine that leads: the one of the highest term, if several say so.
    pub fn leader(&self) -> Option<u32> {
        leader_of(&self.statuses())
    }

    pub fn statuses(&self) -> Vec<(u32, Status)> {
        self.ground.live().iter().map(|(number, node)| (*number, node.status())).collect()
    }

    fn resolve(&self, target: Target) -> Option<u32> {
        match target {
            Target::Node(number) => Some(number),
            Target::Leader => self.leader(),
            Target::Follower => {
                let leader = self.leader();
                self.ground.live().keys().copied().find(|number| Some(*number) != leader)
            }
        }
    }

    fn kill(&self, number: u32, power: bool) {
        self.ground.live().remove(&number);
        // Whatever it stopped of by itself a moment ago belongs to the life that ends here.
        self.ground.observed().stops.retain(|stop| stop.number != number);
        Handle::current().kill(self.handles[&number].id());
        self.ground.machines[&number].die(power);
    }

    fn start(&self, number: u32) {
        Handle::current().restart(self.handles[&number].id());
    }

    fn crash(&self, number: u32, fault: u32, power: bool) {
        if take(&mut self.holds().down, number, fault) {
            self.kill(number, power);
        }
    }

    fn recover(&self, number: u32, fault: u32) {
        if release(&mut self.holds().down, number, fault) {
            self.start(number);
        }
    }

    fn pause(&self, number: u32, fault: u32) {
        if take(&mut self.holds().paused, number, fault) {
            Handle::current().pause(self.handles[&number].id());
        }
    }

    fn wake(&self, number: u32, fault: u32) {
        if release(&mut self.holds().paused, number, fault) {
            Handle::current().resume(self.handles[&number].id());
        }
    }

    fn cut(&self, fault: u32, links: &[(u32, u32)]) {
        for (from, to) in links {
            if take(&mut self.holds().cut, (*from, *to), fault) {
                NetSim::current().clog_link(self.network_id(*from), self.network_id(*to));
            }
        }
    }

    fn join(&self, fault: u32, links: &[(u32, u32)]) {
        for (from, to) in links {
            if release(&mut self.holds().cut, (*from, *to), fault) {
                NetSim::current().unclog_link(self.network_id(*from), self.network_id(*to));
            }
        }
    }

    /// All links between machines of the cluster.
    fn node_links(&self) -> Vec<(u32, u32)> {
        let numbers = || self.ground.machines.keys().copied();
        numbers().flat_map(|from| numbers().filter(move |to| *to != from).map(move |to| (from, to))).collect()
    }

    /// Cuts links one after the other in a drawn order, and heals them in another; what is left is healed when the fault ends.
    fn swizzle(self: &Arc<World>, fault: &Fault, every_ms: u64) {
        let (world, id) = (self.clone(), fault.id);
        let mut rng = stream(self.ground.seed, &format!("swizzle {id}"));
        let mut cut = shuffled(self.node_links(), &mut rng);
        cut.truncate(usize::try_from(fault.for_ms / 2 / every_ms).unwrap_or(usize::MAX));
        let healed = shuffled(cut.clone(), &mut rng);
        let ends = elapsed() + Duration::from_millis(fault.for_ms);
        madsim::task::spawn(async move {
            let steps = cut.into_iter().map(|link| (link, true)).chain(healed.into_iter().map(|link| (link, false)));
            for (link, is_cut) in steps {
                sleep(Duration::from_millis(every_ms)).await;
                match is_cut {
                    true if elapsed() < ends => world.cut(id, &[link]),
                    _ => world.join(id, &[link]),
                }
            }
        });
    }

    fn network_id(&self, number: u32) -> madsim::task::NodeId {
        self.handles[&number].id()
    }

    /// All links, both ways, between one group of machines and the rest, clients included where `clients` says so.
    fn links(&self, group: &[u32], clients: bool) -> Vec<(u32, u32)> {
        let others = self.handles.keys().filter(|number| !group.contains(number));
        let others: Vec<u32> = others.copied().filter(|number| clients || *number < CLIENTS_FROM).collect();
        group.iter().flat_map(|one| others.iter().flat_map(move |other| [(*one, *other), (*other, *one)])).collect()
    }

    /// A machine for a client.
    pub fn add_client(&mut self, client: u32) -> NodeHandle {
        let number = CLIENTS_FROM + client;
        let address = std::net::Ipv4Addr::from(0x0a00_0100 + client);
        let handle = Handle::current().create_node().name(format!("c{client}")).ip(address.into()).build();
        self.handles.insert(number, handle.clone());
        handle
    }

    /// Machines for the services, which begin at once.
    pub fn add_services(&mut self) {
        for (program, copy) in services::all() {
            let number = service_number(program, copy);
            let address = std::net::Ipv4Addr::from(0x0a01_0000 + number);
            let ground = self.ground.clone();
            let power_on = move || services::run(ground.clone(), program, copy);
            let supervisor = Handle::current();
            let machine = supervisor.create_node().name(format!("{}{copy}", program.name()));
            self.handles.insert(number, machine.ip(address.into()).init(power_on).build());
        }
    }

    fn crash_service(&self, number: u32, fault: u32) {
        if take(&mut self.holds().down, number, fault) {
            self.ground.trace.note(format_args!("service {number} dies"));
            Handle::current().kill(self.handles[&number].id());
        }
    }

    /// Carries out one fault, from its time to its end. `began` is when the clients began.
    pub async fn carry_out(self: Arc<World>, fault: Fault, began: Duration) {
        sleep((began + Duration::from_millis(fault.at_ms)).saturating_sub(elapsed())).await;
        let target = fault.what.target().and_then(|target| self.resolve(target));
        self.ground.trace.note(format_args!("fault {} begins at {target:?}: {:?}", fault.id, fault.what));
        self.count(&fault, target);
        self.begin(&fault, target);
        sleep(Duration::from_millis(fault.for_ms)).await;
        self.ground.trace.note(format_args!("fault {} ends", fault.id));
        self.end(&fault, target);
    }

    /// Counts what a fault is about to meet.
    fn count(&self, fault: &Fault, target: Option<u32>) {
        let leader = self.leader();
        let role = match target {
            None if fault.what.target().is_some() => "nobody",
            None => fault.what.role(),
            Some(number) if Some(number) == leader => "leader",
            Some(number) if self.ground.live().contains_key(&number) => "follower",
            Some(_) => "down",
        };
        let reached = Reached { fault: fault.what.name(), point: "", role, phase: self.phase(&self.statuses()) };
        self.reached.lock().expect("nothing panics while it counts").insert(reached);
    }

    /// What the cluster is about.
    fn phase(&self, statuses: &[(u32, Status)]) -> &'static str {
        let applied = || statuses.iter().map(|(_, status)| status.applied_index);
        let behind = applied().max().unwrap_or(0) - applied().min().unwrap_or(0);
        match leader_of(statuses) {
            None => "no leader",
            Some(_) if statuses.len() < self.ground.present.count() => "a machine is down",
            Some(_) if behind > self.cluster.log_entries_kept => "a machine needs a snapshot",
            Some(_) => "steady",
        }
    }

    /// What the faults have met so far.
    pub fn reached(&self) -> BTreeSet<Reached> {
        let mut reached = self.reached.lock().expect("nothing panics while it counts").clone();
        let passed = self.passed.lock().expect("nothing panics while it counts");
        let of_point =
            |(point, leads): &(Point, bool)| Reached { fault: "", point: point.name(), role: role(*leads), phase: "" };
        reached.extend(passed.iter().map(of_point));
        reached
    }

    /// Begins a fault. One that needs a leader while there is none does nothing.
    fn begin(self: &Arc<World>, fault: &Fault, target: Option<u32>) {
        let id = fault.id;
        if target.is_some_and(|number| !self.ground.present.contains(number)) {
            return self.ground.trace.note(format_args!("fault {id} finds nobody"));
        }
        match (&fault.what, target) {
            (What::Crash { power, .. }, Some(number)) => self.crash(number, id, *power),
            (What::CrashAll { power }, _) => {
                self.ground.machines.keys().for_each(|number| self.crash(*number, id, *power));
            }
            (What::Pause { .. }, Some(number)) => self.pause(number, id),
            (What::Isolate { .. }, Some(number)) => self.cut(id, &self.links(&[number], true)),
            (What::Split { nodes }, _) => self.cut(id, &self.links(nodes, false)),
            (What::OneWay { from, to }, _) => self.cut(id, &[(*from, *to)]),
            (What::CrashAt { point, nth, power, .. }, Some(number)) => {
                self.armed().push(Armed { fault: id, number, point: *point, left: *nth, power: *power });
            }
            (what, _) if what.is_of_frames() => self.ground.frames.begin(id, what.clone(), target.map(ip)),
            (What::WrongPeer { at, reaches }, _) => self.ground.frames.detour(id, ip(*at), ip(*reaches)),
            (What::Swizzle { every_ms }, _) => self.swizzle(fault, *every_ms),
            (What::ClientLoss { permille }, _) => self.clients.loss_permille.store(*permille, Ordering::Relaxed),
            (What::ClockJump { by_ms, .. }, Some(number)) => self.ground.machines[&number].clock.jump(*by_ms),
            (What::ClockDrift { ppm, .. }, Some(number)) => self.ground.machines[&number].clock.drift(*ppm),
            (What::SlowDisk { max_ms, .. }, Some(number)) => {
                let slow = (self.cluster.sync_us.0, self.cluster.sync_us.1 + max_ms * 1_000);
                self.ground.machines[&number].disk().set_latency(latency(slow));
            }
            (What::FailedSync { .. }, Some(number)) => {
                take(&mut self.holds().broken, number, id);
                self.ground.machines[&number].disk().fail_syncs(true);
            }
            (What::FullDisk { .. }, Some(number)) => {
                take(&mut self.holds().broken, number, id);
                self.ground.machines[&number].disk().limit(Some(0));
            }
            (What::LyingDisk { .. }, Some(number)) => self.ground.machines[&number].disk().ignore_syncs(true),
            (What::Damage { part, harm, .. }, Some(number)) => self.damage(number, id, *part, *harm),
            (What::Wipe { keeps_identity, .. }, Some(number)) => self.lose_disk(number, id, *keeps_identity),
            (What::Stale { .. }, Some(number)) => {
                let copy = self.ground.machines[&number].disk().copy();
                self.staff().copies.insert(id, copy);
            }
            (What::Leave { returns, .. }, Some(number)) if self.is_safe_to_lose() => {
                let ends = elapsed() + Duration::from_millis(fault.for_ms);
                self.operate(self.clone().take_out(number, id, *returns, ends));
            }
            (What::Upgrade { .. }, Some(number)) => self.rebuild(number, id, true),
            (What::Downgrade { .. }, Some(number)) => self.rebuild(number, id, false),
            (What::Raise {}, _) => {
                let ends = elapsed() + Duration::from_millis(fault.for_ms);
                self.operate(self.clone().raise_version(ends));
            }
            (What::Arrive { node }, _) => self.arrive(*node),
            (What::Depart { node }, _) if self.ground.present.contains(*node) => {
                self.operate(self.clone().depart(*node))
            }
            (What::Restore {}, _) => {
                let ends = elapsed() + Duration::from_millis(fault.for_ms);
                self.operate(self.clone().back_up(id, ends));
            }
            (What::Overload { callers }, _) => self.overload(fault, *callers),
            (What::Transfer { .. }, Some(number)) => self.transfer(number),
            (What::BankOutage {}, _) => self.ground.bank.outage(true),
            (What::BrokerAway {}, _) => self.ground.bus.away(true),
            (What::BrokerWiped {}, _) => {
                self.ground.bus.wipe();
                self.ground.bus.away(true);
            }
            (What::BrokerRestored {}, _) => self.ground.bus.copy(id),
            (What::BrokerLosesEnd { messages }, _) => self.ground.bus.lose_end(*messages),
            (What::BrokerFaults { permille }, _) => self.ground.bus.misbehave(*permille),
            (What::CrashService { service, copy }, _) => self.crash_service(service_number(*service, *copy), id),
            _ => self.ground.trace.note(format_args!("fault {id} finds nobody")),
        }
    }

    fn end(self: &Arc<World>, fault: &Fault, target: Option<u32>) {
        let id = fault.id;
        match (&fault.what, target) {
            (What::Crash { .. } | What::Upgrade { .. } | What::Downgrade { .. }, Some(number)) => {
                self.recover(number, id)
            }
            (What::CrashAll { .. }, _) => self.ground.machines.keys().for_each(|number| self.recover(*number, id)),
            (What::Pause { .. }, Some(number)) => self.wake(number, id),
            (What::Isolate { .. }, Some(number)) => self.join(id, &self.links(&[number], true)),
            (What::Split { nodes }, _) => self.join(id, &self.links(nodes, false)),
            (What::OneWay { from, to }, _) => self.join(id, &[(*from, *to)]),
            (What::CrashAt { .. }, Some(number)) => {
                self.armed().retain(|armed| armed.fault != id);
                self.recover(number, id);
            }
            (What::Swizzle { .. }, _) => self.join(id, &self.node_links()),
            (what, _) if what.is_of_frames() || matches!(what, What::WrongPeer { .. }) => self.ground.frames.end(id),
            (What::ClientLoss { .. }, _) => self.clients.loss_permille.store(0, Ordering::Relaxed),
            (What::ClockDrift { .. }, Some(number)) => self.ground.machines[&number].clock.drift(0),
            (What::SlowDisk { .. }, Some(number)) => {
                self.ground.machines[&number].disk().set_latency(latency(self.cluster.sync_us));
            }
            (What::FailedSync { .. } | What::FullDisk { .. }, Some(number)) => self.mend(number, id),
            (What::LyingDisk { .. }, Some(number)) => self.ground.machines[&number].disk().ignore_syncs(false),
            (What::Damage { .. }, Some(number)) => self.recover(number, id),
            (What::Wipe { keeps_identity, .. }, Some(number)) => {
                let old = self.node_id(number);
                self.recover(number, id);
                let was_lost = self.staff().copies.remove(&id).is_some();
                if let (true, false, Some(old)) = (was_lost, *keeps_identity, old) {
                    let world = self.clone();
                    self.operate(async move {
                        world.expel(old).await;
                        world.end_replacing(number);
                    });
                }
            }
            (What::Stale { .. }, Some(number)) => self.put_back(number, id),
            (What::Restore {}, _) => self.begin_anew(id),
            (What::BankOutage {}, _) => self.ground.bank.outage(false),
            (What::BrokerAway {} | What::BrokerWiped {}, _) => self.ground.bus.away(false),
            (What::BrokerRestored {}, _) => self.ground.bus.set_back(id),
            (What::BrokerFaults { .. }, _) => self.ground.bus.misbehave(0),
            (What::CrashService { service, copy }, _) => self.recover(service_number(*service, *copy), id),
            _ => {}
        }
    }

    /// The disk is in order again, and its machine goes through a restart: what failed to sync is gone.
    fn mend(&self, number: u32, fault: u32) {
        let disk = self.ground.machines[&number].disk();
        disk.fail_syncs(false);
        disk.limit(None);
        let (mended, is_down) = {
            let mut holds = self.holds();
            (release(&mut holds.broken, number, fault), holds.down.contains_key(&number))
        };
        if mended && !is_down {
            self.kill(number, true);
            self.start(number);
        }
    }

    /// A machine stops, and starts with another build when the fault ends.
    fn rebuild(&self, number: u32, fault: u32, plays_next: bool) {
        self.crash(number, fault, false);
        self.ground.machines[&number].plays_next.store(plays_next, Ordering::Relaxed);
    }

    fn transfer(self: &Arc<World>, to: u32) {
        let (Some(leader), Some(to)) = (self.leader(), self.node_id(to)) else { return };
        let trace = self.ground.trace.clone();
        self.operate(async move {
            let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("the operator's machine has a free port");
            let result = endpoint.call_timeout(http_addr(leader), Transfer(to), ANSWER_WAIT).await;
            trace.note(format_args!("transfer to node {to}: {result:?}"));
        });
    }

    /// Callers who propose without a pause, each to one machine.
    fn overload(self: &Arc<World>, fault: &Fault, callers: u32) {
        let ends = elapsed() + Duration::from_millis(fault.for_ms);
        let mut to = 0;
        for _ in 0..callers {
            to = self.ground.present.next(to);
            self.operate(async move {
                let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("the operator's machine has a free port");
                let to = http_addr(to);
                while elapsed() < ends {
                    let tick = Submitted { actor: Actor::System, idempotency: None, command: Command::Tick };
                    let answered = endpoint.call_timeout(to, Propose(tick), ANSWER_WAIT).await;
                    if !matches!(answered, Ok(Ok(_))) {
                        // A machine that is down refuses at once.
                        sleep(LOOK).await;
                    }
                }
            });
        }
    }

    fn staff(&self) -> MutexGuard<'_, Staff> {
        self.staff.lock().expect("nothing panics while it holds the staff")
    }

    /// Where the operator works.
    pub fn operator(&self) -> &NodeHandle {
        &self.handles[&OPERATOR]
    }

    /// Something happens to a part of a machine's folder, while it is down.
    fn damage(&self, number: u32, fault: u32, part: Part, harm: Harm) {
        let mut harmed = self.staff().harmed.get(&number).cloned().unwrap_or_default();
        harmed.insert(part);
        if damage::is_loss(&harmed) && !self.is_safe_to_lose() {
            return self.ground.trace.note(format_args!("fault {fault} would be one loss too many"));
        }
        self.crash(number, fault, false);
        let disk = self.ground.machines[&number].disk();
        let mut rng = stream(self.ground.seed, &format!("damage {fault}"));
        let covered = self.staff().covered.get(&number).copied().unwrap_or_default();
        match damage::inflict(&disk, part, harm, &covered, &mut rng) {
            Some(what) => {
                self.ground.trace.note(format_args!("n{number}: {what}"));
                self.staff().harmed.entry(number).or_default().insert(part);
            }
            None => self.ground.trace.note(format_args!("n{number} has nothing to damage")),
        }
    }

    /// A machine loses all that it has, or all but who it is.
    fn lose_disk(&self, number: u32, fault: u32, keeps_identity: bool) {
        if !self.is_safe_to_lose() {
            return self.ground.trace.note(format_args!("fault {fault} would be one loss too many"));
        }
        self.crash(number, fault, false);
        let disk = self.ground.machines[&number].disk();
        let mut staff = self.staff();
        if keeps_identity {
            disk.wipe(&[damage::IDENTITY]);
            staff.harmed.entry(number).or_default().insert(Part::Log);
        } else {
            staff.copies.insert(fault, disk.copy());
            staff.replaced.insert(number);
            disk.wipe(&[]);
        }
    }

    /// A machine goes on with an old copy of its folder.
    fn put_back(self: &Arc<World>, number: u32, fault: u32) {
        let Some(copy) = self.staff().copies.remove(&fault) else { return };
        self.kill(number, false);
        self.ground.machines[&number].disk().restore(&copy);
        self.staff().stale.insert(number);
        self.start_unless_down(number);
        self.operate(self.clone().watch_old(number));
    }

    /// A backup was made, for `fault` to restore.
    pub fn keep(&self, fault: u32, kept: Kept) {
        self.staff().backups.insert(fault, kept);
    }

    /// All machines lose what they have; one of them is to make a new cluster of the backup, and the others join it. Answers with the
    /// machines, which are down.
    pub fn lose_everything(&self, fault: u32) -> Option<Vec<u32>> {
        let kept = self.staff().backups.remove(&fault)?;
        // Whatever has happened up to now.
        evidence::archive(self, &self.statuses());
        let numbers = self.ground.present.all();
        numbers.iter().for_each(|number| self.crash(*number, fault, false));
        numbers.iter().for_each(|number| self.wipe(*number));
        self.staff().copies.clear();
        self.ground.pasts.begin(kept.lineage, kept.index, kept.event_seq);
        self.ground.archive.go_back(kept.index, kept.event_seq);
        // Whoever was to restore an earlier one has nothing to do any more.
        self.ground.machines.values().for_each(machine::Machine::restored);
        self.ground.machines[numbers.first()?].is_to_restore(Arc::new(kept));
        Some(numbers)
    }

    /// An operator turns to a machine; answers the node id that it had. `None` if one is busy with it already.
    pub fn begin_replacing(&self, number: u32) -> Option<NodeId> {
        let mut staff = self.staff();
        let old = staff.ids.get(&number).copied()?;
        staff.replaced.insert(number).then_some(old)
    }

    pub fn end_replacing(&self, number: u32) {
        self.staff().replaced.remove(&number);
    }

    /// The machine begins anew with an empty disk.
    pub fn empty(&self, number: u32) {
        self.kill(number, false);
        self.wipe(number);
        self.start_unless_down(number);
    }

    pub fn wipe(&self, number: u32) {
        self.ground.machines[&number].disk().wipe(&[]);
        let mut staff = self.staff();
        staff.harmed.remove(&number);
        staff.stale.remove(&number);
    }

    pub fn take_down(&self, number: u32, fault: u32) {
        self.crash(number, fault, false);
    }

    /// Lets go of a machine that was taken down; on what its disk has now.
    pub fn bring_back(&self, number: u32, fault: u32) {
        if !self.ground.machines[&number].disk().paths().is_empty() {
            self.staff().stale.insert(number);
        }
        self.recover(number, fault);
    }

    fn start_unless_down(&self, number: u32) {
        if !self.holds().down.contains_key(&number) {
            self.start(number);
        }
    }

    /// The node id that a machine has, or had last.
    pub fn node_id(&self, number: u32) -> Option<NodeId> {
        self.staff().ids.get(&number).copied()
    }

    /// Who leads, and all members, with whether they vote, as it knows them.
    pub fn members(&self) -> Option<(u32, Vec<(NodeId, bool)>)> {
        let leader = self.leader()?;
        let status = self.ground.live().get(&leader)?.status();
        Some((leader, status.members.iter().map(|(id, _, votes)| (*id, *votes)).collect()))
    }

    /// A machine is up as this node.
    pub fn is_live(&self, node_id: NodeId) -> bool {
        self.ground.live().values().any(|node| node.status().node_id == node_id)
    }

    /// The machine is up, votes, and follows a leader.
    pub fn is_in_place(&self, number: u32) -> bool {
        let in_place = {
            let live = self.ground.live();
            let status = live.get(&number).map(|node| node.status());
            let votes = |status: &Status| status.members.iter().any(|(id, _, votes)| *votes && *id == status.node_id);
            status.is_some_and(|status| status.leader.is_some() && votes(&status))
        };
        if in_place {
            self.staff().stale.remove(&number);
        }
        in_place
    }

    /// The voters are the machines, all of them up, and nobody else is a member.
    pub fn is_staffed(&self) -> bool {
        let Some((_, members)) = self.members() else { return false };
        let live: BTreeSet<NodeId> = self.ground.live().values().map(|node| node.status().node_id).collect();
        live.len() == self.ground.present.count()
            && members.iter().all(|(_, votes)| *votes)
            && members.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>() == live
    }

    /// One machine may lose its data now: all others have theirs.
    pub fn is_safe_to_lose(&self) -> bool {
        let busy = {
            let staff = self.staff();
            let lost = staff.harmed.keys().any(|number| staff.has_lost_promises(*number));
            lost || !staff.stale.is_empty() || !staff.replaced.is_empty() || !staff.copies.is_empty()
        };
        !busy && self.is_staffed() && self.ground.present.count() >= LOSING_NODES_MIN as usize
    }

    /// Notes who is who, and how far watermarks go. A machine that has lost what it promised must not take part.
    fn look_at_staff(&self, statuses: &[(u32, Status)]) {
        let mut staff = self.staff();
        for (number, machine) in &self.ground.machines {
            staff.covered.entry(*number).or_default().look(&machine.disk());
        }
        let mut observed = self.ground.observed();
        for (number, status) in statuses {
            let old = staff.ids.insert(*number, status.node_id);
            if staff.has_lost_promises(*number) && old == Some(status.node_id) {
                observed.violations.insert(format!("n{number} has lost what it promised, and takes part all the same"));
            }
            status.members.iter().for_each(|(id, record, _)| observed.member(*id, record.instance));
        }
    }

    fn look_at_clocks(&self, statuses: &[(u32, Status)]) {
        let true_ms = (EPOCH_MS + elapsed().as_millis() as u64) as i64;
        let ahead_ms = |machine: &machine::Machine| machine.clock.wall_ms() as i64 - true_ms;
        let ahead_ms: Vec<i64> = self.ground.machines.values().map(ahead_ms).collect();
        let leader = leader_of(statuses).and_then(|leader| statuses.iter().find(|(number, _)| *number == leader));
        let voters = leader.map_or(0, |(_, status)| status.members.iter().filter(|(_, _, votes)| *votes).count());
        self.ground.observed().clocks(&ahead_ms, if voters == 0 { ahead_ms.len() } else { voters });
    }

    /// Looks at the machines all the time: who leads, and who stopped by itself.
    pub async fn watch(self: Arc<World>) {
        let mut leader = None;
        loop {
            sleep(LOOK).await;
            let is_spinning = clock_gettime(ClockId::ThreadCPUTime).tv_sec >= CPU_TIME_MAX_S;
            self.ground.given_up.store(is_spinning, Ordering::Relaxed);
            assert!(!is_spinning, "only {:?} of virtual time in {CPU_TIME_MAX_S} s: somebody spins", elapsed());
            let statuses = self.statuses();
            self.look_at_staff(&statuses);
            self.look_at_clocks(&statuses);
            evidence::archive(&self, &statuses);
            for (_, status) in statuses.iter().filter(|(_, status)| status.leader == Some(status.node_id)) {
                self.ground.observed().leader(status.cluster_id, status.term, status.node_id);
            }
            let leads = leader_of(&statuses);
            *self.looked() = Looked { leader: leads, phase: self.phase(&statuses) };
            if leads != leader {
                leader = leads;
                self.ground.trace.note(format_args!("leader {leader:?}"));
            }
            self.graves().clear();
            let stops = std::mem::take(&mut self.ground.observed().stops);
            stops.into_iter().for_each(|stop| self.clone().bury(stop));
            for stream in self.streams_to_remove() {
                self.operate(self.clone().remove_stream(stream));
            }
        }
    }

    /// Streams that a relay has stopped before and says an operator is to remove, if none is at it.
    fn streams_to_remove(&self) -> Vec<String> {
        let live = self.ground.live();
        let relays = self.ground.relays();
        let troubles = live.keys().filter_map(|number| relays.get(number)?.status().trouble);
        let named = troubles.filter(|trouble| trouble.contains("remove the stream"));
        let streams = named.filter_map(|trouble| trouble.split(' ').next().map(str::to_string));
        let mut staff = self.staff();
        streams.filter(|stream| staff.streams.insert(stream.clone())).collect()
    }

    pub fn end_removing(&self, stream: &str) {
        self.staff().streams.remove(stream);
    }

    /// The machine says that the cluster's version is too new for it, and it runs the older build.
    fn runs_too_old_a_build(&self, stop: &machine::Stop) -> bool {
        let is_older = !self.ground.machines[&stop.number].plays_next.load(Ordering::Relaxed);
        is_older && stop.reason.contains("start a build that knows it")
    }

    /// A machine stopped by itself: expected where its disk fails, else a violation; like a service, it is started again.
    fn bury(self: Arc<World>, stop: machine::Stop) {
        let number = stop.number;
        let (broken, is_down) = {
            let holds = self.holds();
            (holds.broken.contains_key(&number), holds.down.contains_key(&number))
        };
        if is_down {
            return;
        }
        Handle::current().kill(self.handles[&number].id());
        if broken {
            return;
        }
        if self.runs_too_old_a_build(&stop) {
            self.ground.trace.note(format_args!("operator puts the newer build back on n{number}"));
            self.ground.machines[&number].plays_next.store(true, Ordering::Relaxed);
            self.kill(number, false);
            return self.start(number);
        }
        if self.staff().may_stop(number) {
            return self.operate(self.clone().replace(number));
        }
        self.ground.observed().violations.insert(format!("n{number} stopped by itself: {}", stop.reason));
        let world = self.clone();
        madsim::task::spawn(async move {
            sleep(RESTART_AFTER).await;
            if !world.holds().down.contains_key(&number) {
                world.kill(number, false);
                world.start(number);
            }
        });
    }

    /// The run is over: everything that runs ends, so that its memory is free. Tasks that wait keep themselves alive.
    pub async fn end_all(&self) {
        self.handles.values().for_each(|handle| Handle::current().kill(handle.id()));
        self.ground.live().clear();
        self.graves().clear();
        failpoint::watch(None);
        sleep(LOOK).await;
    }

    /// How long it was until `holds` did, if it did within `bound`.
    pub async fn wait_until(&self, bound: Duration, holds: impl Fn(&World) -> bool) -> Option<Duration> {
        let began = elapsed();
        loop {
            if holds(self) {
                return Some(elapsed() - began);
            }
            if elapsed() - began > bound {
                return None;
            }
            sleep(LOOK).await;
        }
    }

    /// All machines are up, all are voters, and one leads.
    pub fn is_formed(&self) -> bool {
        let machines = self.ground.present.count();
        let live = self.ground.live();
        let voters = |node: &Node| node.status().members.iter().filter(|(_, _, is_voter)| *is_voter).count();
        let all = live.len() == machines && live.values().all(|node| voters(node) == machines);
        drop(live);
        all && self.leader().is_some()
    }

    /// All machines are up but those that an operator is busy with.
    pub fn is_manned(&self) -> bool {
        let live = self.ground.live();
        let staff = self.staff();
        let present = self.ground.present.all();
        present.iter().all(|number| live.contains_key(number) || staff.replaced.contains(number))
    }

    /// All machines are up.
    pub fn is_whole(&self) -> bool {
        self.ground.live().len() == self.ground.present.count()
    }

    /// The ledger does not keep all events of the run.
    pub fn drops_events(&self) -> bool {
        self.cluster.outbox_retention_ms > 0
    }

    /// All machines are up and have applied the same.
    pub fn is_level(&self) -> bool {
        let live = self.ground.live();
        let mut indexes = live.values().map(|node| node.status().applied_index);
        let first = indexes.next();
        live.len() == self.ground.present.count() && indexes.all(|index| Some(index) == first)
    }
}

/// Who leads by these: the one of the highest term, if several say so.
fn leader_of(statuses: &[(u32, Status)]) -> Option<u32> {
    let claims = statuses.iter().filter(|(_, status)| status.leader == Some(status.node_id));
    claims.map(|(number, status)| (status.term, *number)).max().map(|(_, number)| number)
}

fn role(leads: bool) -> &'static str {
    if leads { "leader" } else { "follower" }
}

/// The simulated machine of one copy.
fn service_number(program: Program, copy: u32) -> u32 {
    SERVICES_FROM + program as u32 * COPIES + copy
}

fn shuffled<T>(mut list: Vec<T>, rng: &mut SmallRng) -> Vec<T> {
    list.shuffle(rng);
    list
}

fn latency((least, most): (u64, u64)) -> Latency {
    Latency { synced_us: least..most, unsynced_us: 0..1 + least / 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_faults_hold_is_free_after_the_second() {
        let mut holds = BTreeMap::new();
        assert!(take(&mut holds, 1, 10));
        assert!(!take(&mut holds, 1, 11));
        assert!(!release(&mut holds, 1, 10));
        assert!(!release(&mut holds, 1, 10), "letting go twice is letting go once");
        assert!(release(&mut holds, 1, 11));
        assert!(!release(&mut holds, 2, 11), "nobody held this");
    }
}
