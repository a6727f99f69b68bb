//! The cluster as the faults see it: machines that can be killed, stopped and cut off, and which of them leads.
//!
//! Faults of different kinds may hold the same machine or link at the same time; it is released when the last of them ends.
//!
//! What this deliberately does not do: decide what goes wrong. That is the schedule's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_raft::disk::Latency;
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use tokio::time::sleep;

use crate::client::Clients;
use crate::clocks::elapsed;
use crate::machine::{self, Ground, ip};
use crate::schedule::{Cluster, Fault, Target, What};
use crate::services::{self, COPIES, Program};

/// How often machines are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a machine that stopped by itself rests before it is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// The simulated machines of clients are numbered from here.
pub const CLIENTS_FROM: u32 = 100;
/// Those of services, from here.
const SERVICES_FROM: u32 = 10_000;

/// A fault, the role of the node that it struck, and what the cluster was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    pub fault: &'static str,
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
        World { ground, clients, handles, cluster, holds: Mutex::default(), reached: Mutex::default() }
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().expect("nothing panics while it holds the faults")
    }

    /// The machine that leads: the one of the highest term, if several say so.
    pub fn leader(&self) -> Option<u32> {
        let live = self.ground.live();
        let claims = live.iter().filter_map(|(number, node)| {
            let status = node.status();
            (status.leader == Some(status.node_id)).then_some((status.term, *number))
        });
        claims.max().map(|(_, number)| number)
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
            None => "cluster",
            Some(number) if Some(number) == leader => "leader",
            Some(number) if self.ground.live().contains_key(&number) => "follower",
            Some(_) => "down",
        };
        let applied: Vec<u64> = self.ground.live().values().map(|node| node.status().applied_index).collect();
        let behind = applied.iter().max().unwrap_or(&0) - applied.iter().min().unwrap_or(&0);
        let phase = match leader {
            None => "no leader",
            Some(_) if applied.len() < self.ground.machines.len() => "a machine is down",
            Some(_) if behind > self.cluster.log_entries_kept => "a machine needs a snapshot",
            Some(_) => "steady",
        };
        let reached = Reached { fault: fault.what.name(), role, phase };
        self.reached.lock().expect("nothing panics while it counts").insert(reached);
    }

    /// What the faults have met so far.
    pub fn reached(&self) -> BTreeSet<Reached> {
        self.reached.lock().expect("nothing panics while it counts").clone()
    }

    /// Begins a fault. One that needs a leader while there is none does nothing.
    fn begin(&self, fault: &Fault, target: Option<u32>) {
        let id = fault.id;
        match (&fault.what, target) {
            (What::Crash { power, .. }, Some(number)) => self.crash(number, id, *power),
            (What::CrashAll { power }, _) => {
                self.ground.machines.keys().for_each(|number| self.crash(*number, id, *power));
            }
            (What::Pause { .. }, Some(number)) => self.pause(number, id),
            (What::Isolate { .. }, Some(number)) => self.cut(id, &self.links(&[number], true)),
            (What::Split { nodes }, _) => self.cut(id, &self.links(nodes, false)),
            (What::OneWay { from, to }, _) => self.cut(id, &[(*from, *to)]),
            (What::Disconnects { .. } | What::Loss { .. } | What::Duplicates { .. } | What::Delays { .. }, _) => {
                self.ground.frames.begin(id, fault.what.clone())
            }
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
            (_, None) => self.ground.trace.note(format_args!("fault {id} finds nobody")),
        }
    }

    fn end(&self, fault: &Fault, target: Option<u32>) {
        let id = fault.id;
        match (&fault.what, target) {
            (What::Crash { .. }, Some(number)) => self.recover(number, id),
            (What::CrashAll { .. }, _) => self.ground.machines.keys().for_each(|number| self.recover(*number, id)),
            (What::Pause { .. }, Some(number)) => self.wake(number, id),
            (What::Isolate { .. }, Some(number)) => self.join(id, &self.links(&[number], true)),
            (What::Split { nodes }, _) => self.join(id, &self.links(nodes, false)),
            (What::OneWay { from, to }, _) => self.join(id, &[(*from, *to)]),
            (What::Disconnects { .. } | What::Loss { .. } | What::Duplicates { .. } | What::Delays { .. }, _) => {
                self.ground.frames.end(id)
            }
            (What::ClientLoss { .. }, _) => self.clients.loss_permille.store(0, Ordering::Relaxed),
            (What::ClockDrift { .. }, Some(number)) => self.ground.machines[&number].clock.drift(0),
            (What::SlowDisk { .. }, Some(number)) => {
                self.ground.machines[&number].disk().set_latency(latency(self.cluster.sync_us));
            }
            (What::FailedSync { .. } | What::FullDisk { .. }, Some(number)) => self.mend(number, id),
            (What::LyingDisk { .. }, Some(number)) => self.ground.machines[&number].disk().ignore_syncs(false),
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

    fn transfer(&self, to: u32) {
        let Some(leader) = self.leader() else { return };
        let (from, to) = {
            let live = self.ground.live();
            let (Some(from), Some(to)) = (live.get(&leader), live.get(&to)) else { return };
            (from.clone(), to.status().node_id)
        };
        let trace = self.ground.trace.clone();
        self.handles[&leader].spawn(async move {
            let result = from.transfer_leader(to).await;
            trace.note(format_args!("transfer to node {to}: {result:?}"));
        });
    }

    /// Looks at the machines all the time: who leads, and who stopped by itself.
    pub async fn watch(self: Arc<World>) {
        let mut leader = None;
        loop {
            sleep(LOOK).await;
            let given_up = self.ground.given_up.load(Ordering::Relaxed);
            assert!(!given_up, "only {:?} of virtual time in too much real time: somebody spins", elapsed());
            let statuses: Vec<_> = self.ground.live().values().map(|node| node.status()).collect();
            for status in statuses.iter().filter(|status| status.leader == Some(status.node_id)) {
                self.ground.observed().leader(status.term, status.node_id);
            }
            let leads = self.leader();
            if leads != leader {
                leader = leads;
                self.ground.trace.note(format_args!("leader {leader:?}"));
            }
            let stops = std::mem::take(&mut self.ground.observed().stops);
            stops.into_iter().for_each(|stop| self.clone().bury(stop));
        }
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
        let machines = self.ground.machines.len();
        let live = self.ground.live();
        let voters = |node: &holdfast_raft::node::Node| {
            node.status().members.iter().filter(|(_, _, is_voter)| *is_voter).count()
        };
        let all = live.len() == machines && live.values().all(|node| voters(node) == machines);
        drop(live);
        all && self.leader().is_some()
    }

    /// All machines are up.
    pub fn is_whole(&self) -> bool {
        self.ground.live().len() == self.ground.machines.len()
    }

    /// All machines are up and have applied the same.
    pub fn is_level(&self) -> bool {
        let live = self.ground.live();
        let mut indexes = live.values().map(|node| node.status().applied_index);
        let first = indexes.next();
        live.len() == self.ground.machines.len() && indexes.all(|index| Some(index) == first)
    }
}

/// The simulated machine of one copy.
fn service_number(program: Program, copy: u32) -> u32 {
    SERVICES_FROM + program as u32 * COPIES + copy
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
