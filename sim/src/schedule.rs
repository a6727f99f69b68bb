//! A run, written down: the cluster, the workload, and a list of faults that each have an address and a time.
//!
//! A run *is* its schedule. A seed expands to one ([`expand`](crate::expand)); a file holds one, can be edited by hand, and is
//! refused with line and field when it makes no sense. Everything random about the run follows from `seed`, in a stream for
//! each component.
//!
//! What this deliberately does not do: name faults by what they should cause. A fault says what is done to which node.

use std::fmt;

use holdfast_ledger::planted::Bug;
use holdfast_raft::failpoint::Point;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::damage::{Harm, Part};
use crate::services::{COPIES, Program};

/// The version of the file's format. A file of another one is refused.
pub const VERSION: u32 = 1;
/// Nodes of one cluster.
pub const NODES_MAX: u32 = 7;
/// Faults of one schedule.
pub const FAULTS_MAX: usize = 10_000;
/// Callers of one overload.
pub const CALLERS_MAX: u32 = 1_000;
/// A cluster of so many goes on without one of them.
pub const LOSING_NODES_MIN: u32 = 3;
/// The longest run, in milliseconds of virtual time.
pub const DURATION_MS_MAX: u64 = 24 * 3_600_000;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub version: u32,
    /// What the run shows, in a sentence. Empty where a seed made it.
    #[serde(default)]
    pub story: String,
    /// The bug that is planted for the run, by its name; none where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Planted>,
    pub seed: u64,
    /// Machines, those that come later among them.
    pub nodes: u32,
    /// So many machines are there when it begins, those with the lowest numbers; 0: all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub founders: u32,
    /// How long clients work and faults happen; then everything is healed and judged.
    pub duration_ms: u64,
    pub workload: Workload,
    pub cluster: Cluster,
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A bug that is planted on purpose, for the checks to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Planted(pub Bug);

impl From<Planted> for String {
    fn from(planted: Planted) -> String {
        planted.0.name().to_string()
    }
}

impl TryFrom<String> for Planted {
    type Error = String;

    fn try_from(name: String) -> Result<Planted, String> {
        let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
        bug.map(Planted).ok_or_else(|| format!("`{name}` is no planted bug: `sim mutants --list` names them"))
    }
}

/// What the clients do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    pub buyers: u32,
    /// Tickets on sale at the start.
    pub tickets: u32,
    /// The mean pause of a buyer between two purchases, in milliseconds.
    pub think_ms: u64,
    /// The mean pause of the seller between two changes of a price, in milliseconds.
    pub price_change_ms: u64,
    /// Of 100 locks, so many are cancelled, and so many left to run out. The others are paid.
    pub cancelled_percent: u32,
    pub abandoned_percent: u32,
    /// Of 100 payments, so many have a bank that says no.
    pub declined_percent: u32,
    /// How long a lock holds, in milliseconds.
    pub lock_ttl_ms: u64,
    /// Of the tickets at the start, so many are created by one request.
    #[serde(default)]
    pub bulk: u32,
    /// Of 100 buyers who find a ticket locked, so many stand in line for it.
    #[serde(default)]
    pub waiting_percent: u32,
    /// The mean pause of an operator between two interventions, in milliseconds. 0: there is none.
    #[serde(default)]
    pub operator_ms: u64,
    /// The mean pause between two looks of who only looks, at one node after the other, in milliseconds. 0: nobody does.
    #[serde(default)]
    pub reading_ms: u64,
    /// Of 100 orders, so many are for several tickets at once.
    #[serde(default)]
    pub together_percent: u32,
    /// Of 100 things that the operator does, so many ban a buyer, for a while.
    #[serde(default)]
    pub bans_percent: u32,
    /// How often an order may be paid for, if the bank says no.
    #[serde(default = "one")]
    pub payment_attempts: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_none_ms(number: &u64) -> bool {
    *number == 0
}

fn one() -> u32 {
    1
}

/// How the cluster runs when nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// A message takes between so long and so long, in microseconds.
    pub latency_us: (u64, u64),
    /// A synced write takes between so long and so long, in microseconds.
    pub sync_us: (u64, u64),
    /// Entries after which a node makes a snapshot, and entries that it keeps all the same.
    pub snapshot_entries: u64,
    pub log_entries_kept: u64,
    /// Each node's clock is off by up to so much at the start, in milliseconds.
    pub clock_offset_ms: u64,
    /// Events that the broker has are kept so long in the ledger, in milliseconds of its time; 0: all of them.
    #[serde(default, skip_serializing_if = "is_none_ms")]
    pub outbox_retention_ms: u64,
}

/// Something that goes wrong at a time, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Unique in the schedule: what `shrink` and reports call it.
    pub id: u32,
    /// Since the clients began, in milliseconds.
    pub at_ms: u64,
    /// Until it is healed, in milliseconds.
    pub for_ms: u64,
    pub what: What,
}

/// The kinds of faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// The process is killed and, when the time is up, started again. With `power`, unsynced bytes are gone too.
    Crash { node: Target, power: bool },
    /// All nodes crash at once.
    CrashAll { power: bool },
    /// The process is killed where it reaches the point for the `nth` time from now, if it does, and started again when the time
    /// is up. With `power`, unsynced bytes are gone too.
    CrashAt { node: Target, point: Point, nth: u32, power: bool },
    /// The process stands still; its timers and its peers do not.
    Pause { node: Target },
    /// Nothing reaches the node or leaves it.
    Isolate { node: Target },
    /// Nothing reaches these nodes from the others, or the others from them.
    Split { nodes: Vec<u32> },
    /// Nothing gets from one node to the other; the other way is open.
    OneWay { from: u32, to: u32 },
    /// Connections between nodes break now and then: of 1,000 messages, so many are lost with their connection.
    Disconnects { permille: u32 },
    /// Of 1,000 messages between nodes, so many are lost without a word.
    Loss { permille: u32 },
    /// Of 1,000 messages between nodes, so many arrive twice.
    Duplicates { permille: u32 },
    /// Of 1,000 messages between nodes, so many are late by up to `max_ms`, and overtaken.
    Delays { permille: u32, max_ms: u64 },
    /// Of 1,000 messages between nodes, so many arrive with a flipped bit.
    Damaged { permille: u32 },
    /// Connections with this node that stand when it begins stay open, and nothing goes through them any more; new ones do.
    HalfOpen { node: Target },
    /// The node reads slowly: each message to it takes up to this long, and what is behind it waits.
    SlowPeer { node: Target, max_ms: u64 },
    /// The lines between nodes carry so many bytes a second, each way and connection.
    Bandwidth { bytes_per_s: u64 },
    /// Links between nodes are cut one after the other, as many as fit into the first half of the time at this pace, and healed in
    /// another order in the second.
    Swizzle { every_ms: u64 },
    /// Who connects to the first node reaches the second.
    WrongPeer { at: u32, reaches: u32 },
    /// While the node is down, something happens to a part of its data folder. It needs not recover: it must notice, and an
    /// operator replaces it.
    Damage { node: Target, part: Part, harm: Harm },
    /// The node loses its disk: all of it, and comes back as somebody new; or all but its identity, and must not come back.
    Wipe { node: Target, keeps_identity: bool },
    /// The node's folder is copied, and the copy put in its place when the time is up: an old log, and an old vote. Together with
    /// the loss of a peer that remembers more, nobody can notice, so no seed expands to it.
    Stale { node: Target },
    /// An operator takes the node out of the cluster, and in again, as a new one, when the time is up. One that `returns` is first
    /// started on its old folder.
    Leave { node: Target, returns: bool },
    /// The process ends as an operator has it, and the newer build is started on its folder when the time is up.
    Upgrade { node: Target },
    /// The same, with the older build again. Where the cluster's version does not allow it, the node stops, and an operator puts
    /// the newer one back.
    Downgrade { node: Target },
    /// An operator raises the cluster's version, as soon as all members know a higher one; he gives up when the time is up.
    Raise {},
    /// A machine that was not there from the beginning comes, and joins.
    Arrive { node: u32 },
    /// An operator takes the machine out of the cluster for good.
    Depart { node: u32 },
    /// A backup is made of some node. When the time is up, all nodes lose what they have, and one of them makes a new cluster of the
    /// backup, which the others join: what came after it is lost. Without a backup by then, nothing happens.
    Restore {},
    /// So many more callers, without a pause, on the machines of the cluster.
    Overload { callers: u32 },
    /// Of 1,000 requests and answers of clients, so many are lost.
    ClientLoss { permille: u32 },
    /// The node's wall clock jumps, and stays where it is: `for_ms` counts only against other jumps.
    ClockJump { node: Target, by_ms: i64 },
    /// The node's clocks run this many parts per million too fast, or, below zero, too slow.
    ClockDrift { node: Target, ppm: i64 },
    /// Each synced write of the node takes up to this long, in milliseconds.
    SlowDisk { node: Target, max_ms: u64 },
    /// Every sync fails: the node stops, and is started again when the time is up, without its unsynced bytes.
    FailedSync { node: Target },
    /// No room on the disk: the node stops at its next write, and is started again when there is room.
    FullDisk { node: Target },
    /// The disk says that it has synced and has not. Nothing can survive this together with a loss of power: it is a planted
    /// bug, for the checks to see, and no seed expands to it.
    LyingDisk { node: Target },
    /// Leadership is handed to this node.
    Transfer { node: Target },
    /// The bank is out of reach.
    BankOutage {},
    /// The broker is out of reach; connections to it break.
    BrokerAway {},
    /// The broker loses everything at once, and is out of reach until the time is up.
    BrokerWiped {},
    /// When the time is up, the broker is what it was when it began.
    BrokerRestored {},
    /// The broker loses its newest messages, which it had acknowledged.
    BrokerLosesEnd { messages: u64 },
    /// Of 1,000 publishes, deliveries and acknowledgements, so many are lost, late, doubled or out of order.
    BrokerFaults { permille: u32 },
    /// One copy of a service is killed and, when the time is up, started again.
    CrashService { service: Program, copy: u32 },
}

/// A node, by its number from 1 or by what it is at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    Node(u32),
    Leader,
    /// The follower with the lowest number.
    Follower,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(number) => write!(f, "n{number}"),
            Target::Leader => f.write_str("leader"),
            Target::Follower => f.write_str("follower"),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Target, String> {
        match text.as_str() {
            "leader" => Ok(Target::Leader),
            "follower" => Ok(Target::Follower),
            _ => {
                let number = text.strip_prefix('n').and_then(|digits| digits.parse().ok());
                number
                    .map(Target::Node)
                    .ok_or_else(|| format!("`{text}` is no node: write leader, follower, n1, n2, …"))
            }
        }
    }
}

impl What {
    /// The kind's name, as files write it.
    pub fn name(&self) -> &'static str {
        match self {
            What::Crash { .. } => "crash",
            What::CrashAll { .. } => "crash_all",
            What::CrashAt { .. } => "crash_at",
            What::Pause { .. } => "pause",
            What::Isolate { .. } => "isolate",
            What::Split { .. } => "split",
            What::OneWay { .. } => "one_way",
            What::Disconnects { .. } => "disconnects",
            What::Loss { .. } => "loss",
            What::Duplicates { .. } => "duplicates",
            What::Delays { .. } => "delays",
            What::Damage { .. } => "damage",
            What::Wipe { .. } => "wipe",
            What::Stale { .. } => "stale",
            What::Leave { .. } => "leave",
            What::Upgrade { .. } => "upgrade",
            What::Downgrade { .. } => "downgrade",
            What::Raise {} => "raise",
            What::Arrive { .. } => "arrive",
            What::Depart { .. } => "depart",
            What::Restore {} => "restore",
            What::Overload { .. } => "overload",
            What::Damaged { .. } => "damaged",
            What::HalfOpen { .. } => "half_open",
            What::SlowPeer { .. } => "slow_peer",
            What::Bandwidth { .. } => "bandwidth",
            What::Swizzle { .. } => "swizzle",
            What::WrongPeer { .. } => "wrong_peer",
            What::ClientLoss { .. } => "client_loss",
            What::ClockJump { .. } => "clock_jump",
            What::ClockDrift { .. } => "clock_drift",
            What::SlowDisk { .. } => "slow_disk",
            What::FailedSync { .. } => "failed_sync",
            What::FullDisk { .. } => "full_disk",
            What::LyingDisk { .. } => "lying_disk",
            What::Transfer { .. } => "transfer",
            What::BankOutage {} => "bank_outage",
            What::BrokerAway {} => "broker_away",
            What::BrokerWiped {} => "broker_wiped",
            What::BrokerRestored {} => "broker_restored",
            What::BrokerLosesEnd { .. } => "broker_loses_end",
            What::BrokerFaults { .. } => "broker_faults",
            What::CrashService { .. } => "crash_service",
        }
    }

    /// The one node that it strikes, where there is one.
    pub fn target(&self) -> Option<Target> {
        match self {
            What::Crash { node, .. }
            | What::CrashAt { node, .. }
            | What::HalfOpen { node }
            | What::SlowPeer { node, .. }
            | What::Damage { node, .. }
            | What::Wipe { node, .. }
            | What::Stale { node }
            | What::Leave { node, .. }
            | What::Upgrade { node }
            | What::Downgrade { node }
            | What::Pause { node }
            | What::Isolate { node }
            | What::ClockJump { node, .. }
            | What::ClockDrift { node, .. }
            | What::SlowDisk { node, .. }
            | What::FailedSync { node }
            | What::FullDisk { node }
            | What::LyingDisk { node }
            | What::Transfer { node } => Some(*node),
            _ => None,
        }
    }

    /// Whom it strikes, where that is no machine of the cluster: as reports say it.
    pub fn role(&self) -> &'static str {
        match self {
            What::CrashService { .. } => "service",
            What::ClientLoss { .. } | What::Overload { .. } => "client",
            What::BankOutage {} => "bank",
            What::BrokerAway {}
            | What::BrokerWiped {}
            | What::BrokerRestored {}
            | What::BrokerLosesEnd { .. }
            | What::BrokerFaults { .. } => "broker",
            _ => "cluster",
        }
    }

    /// The copy of a service that it strikes.
    fn service(&self) -> Option<(Program, u32)> {
        match self {
            What::CrashService { service, copy } => Some((*service, *copy)),
            _ => None,
        }
    }

    /// Whether the others may have to go on without one of them, for good.
    pub fn loses_a_node(&self) -> bool {
        matches!(self, What::Damage { .. } | What::Wipe { .. } | What::Stale { .. } | What::Leave { .. })
    }

    /// Whether it is about messages between nodes, one by one.
    pub fn is_of_frames(&self) -> bool {
        matches!(
            self,
            What::Disconnects { .. }
                | What::Loss { .. }
                | What::Duplicates { .. }
                | What::Delays { .. }
                | What::Damaged { .. }
                | What::HalfOpen { .. }
                | What::SlowPeer { .. }
                | What::Bandwidth { .. }
        )
    }

    fn numbers(&self) -> Vec<u32> {
        match self {
            What::Split { nodes } => nodes.clone(),
            What::OneWay { from, to } | What::WrongPeer { at: from, reaches: to } => vec![*from, *to],
            What::Arrive { node } | What::Depart { node } => vec![*node],
            _ => match self.target() {
                Some(Target::Node(number)) => vec![number],
                _ => Vec::new(),
            },
        }
    }

    fn permille(&self) -> Option<u32> {
        match self {
            What::Disconnects { permille }
            | What::Loss { permille }
            | What::Duplicates { permille }
            | What::Damaged { permille }
            | What::Delays { permille, .. }
            | What::ClientLoss { permille }
            | What::BrokerFaults { permille } => Some(*permille),
            _ => None,
        }
    }
}

/// What is wrong with a schedule, one line a fault of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Schedule {
    /// Reads a schedule file. The message of an error says line and field.
    pub fn parse(text: &str) -> Result<Schedule, Invalid> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let unreadable = |error: toml::de::Error| Invalid(vec![error.to_string().trim_end().to_string()]);
        let Versioned { version } = toml::from_str(text).map_err(unreadable)?;
        if version != VERSION {
            return Err(Invalid(vec![format!("version: this is a schedule of version {version}, not {VERSION}")]));
        }
        let schedule: Schedule = toml::from_str(text).map_err(unreadable)?;
        schedule.check()?;
        Ok(schedule)
    }

    /// The schedule as a file.
    pub fn to_text(&self) -> String {
        toml::to_string(self).expect("a schedule has no map keys but field names")
    }

    /// Of what the run does: the story does not count.
    pub fn hash(&self) -> u64 {
        xxh3_64(Schedule { story: String::new(), ..self.clone() }.to_text().as_bytes())
    }

    /// Whether it can be run as it stands.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut wrong = Vec::new();
        let mut expect = |holds: bool, says: String| {
            if !holds {
                wrong.push(says);
            }
        };
        expect((1..=NODES_MAX).contains(&self.nodes), format!("nodes: 1 to {NODES_MAX}, not {}", self.nodes));
        expect(self.founders <= self.nodes, "founders: at most as many as nodes".into());
        let duration_ms = self.duration_ms;
        let duration_holds = (1_000..=DURATION_MS_MAX).contains(&duration_ms);
        expect(duration_holds, format!("duration_ms: 1000 to {DURATION_MS_MAX}, not {duration_ms}"));
        expect(self.faults.len() <= FAULTS_MAX, format!("faults: at most {FAULTS_MAX}"));
        let work = &self.workload;
        expect((1..=1_000).contains(&work.buyers), "workload.buyers: 1 to 1000".into());
        expect((1..=1_000).contains(&work.tickets), "workload.tickets: 1 to 1000".into());
        expect(work.think_ms > 0, "workload.think_ms: above 0".into());
        expect(work.price_change_ms > 0, "workload.price_change_ms: above 0".into());
        let percents = work.cancelled_percent.saturating_add(work.abandoned_percent);
        expect(percents <= 100, "workload: cancelled_percent and abandoned_percent: together at most 100".into());
        expect(work.bulk <= work.tickets, "workload.bulk: at most as many as tickets".into());
        expect(work.waiting_percent <= 100, "workload.waiting_percent: at most 100".into());
        expect(work.together_percent <= 100, "workload.together_percent: at most 100".into());
        expect(work.bans_percent <= 50, "workload.bans_percent: at most 50".into());
        expect((1..=10).contains(&work.payment_attempts), "workload.payment_attempts: 1 to 10".into());
        expect(work.declined_percent <= 100, "workload.declined_percent: at most 100".into());
        expect((1_000..=3_600_000).contains(&work.lock_ttl_ms), "workload.lock_ttl_ms: 1000 to 3600000".into());
        for (name, (least, most)) in [("latency_us", self.cluster.latency_us), ("sync_us", self.cluster.sync_us)] {
            expect(least < most && most <= 60_000_000, format!("cluster.{name}: the first below the second"));
        }
        expect(self.cluster.snapshot_entries > 0, "cluster.snapshot_entries: above 0".into());
        for fault in &self.faults {
            self.check_fault(fault, &mut wrong);
        }
        self.check_overlaps(&mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(Invalid(wrong)) }
    }

    /// Whether the machine is there from the beginning.
    pub fn is_founder(&self, number: u32) -> bool {
        self.founders == 0 || number <= self.founders
    }

    fn check_fault(&self, fault: &Fault, wrong: &mut Vec<String>) {
        let id = fault.id;
        if fault.for_ms == 0 {
            wrong.push(format!("fault {id}: for_ms: above 0"));
        }
        if fault.at_ms.saturating_add(fault.for_ms) > self.duration_ms {
            wrong.push(format!(
                "fault {id}: at_ms + for_ms: it ends after the run, which lasts {} ms",
                self.duration_ms
            ));
        }
        for number in fault.what.numbers() {
            if !(1..=self.nodes).contains(&number) {
                wrong.push(format!("fault {id}: there is no node {number}, only 1 to {}", self.nodes));
            }
        }
        if fault.what.permille().is_some_and(|permille| !(1..=1_000).contains(&permille)) {
            wrong.push(format!("fault {id}: permille: 1 to 1000"));
        }
        if let Some((_, copy)) = fault.what.service()
            && !(1..=COPIES).contains(&copy)
        {
            wrong.push(format!("fault {id}: there is no copy {copy}, only 1 to {COPIES}"));
        }
        match fault.what {
            What::OneWay { from, to } if from == to => wrong.push(format!("fault {id}: from and to: two nodes")),
            What::WrongPeer { at, reaches } if at == reaches => {
                wrong.push(format!("fault {id}: at and reaches: two nodes"))
            }
            What::Arrive { node } if self.is_founder(node) => {
                wrong.push(format!("fault {id}: node {node} is there from the beginning"));
            }
            What::CrashAt { nth: 0, .. } => wrong.push(format!("fault {id}: nth: 1 or more")),
            What::SlowPeer { max_ms: 0, .. } => wrong.push(format!("fault {id}: max_ms: above 0")),
            What::Bandwidth { bytes_per_s: 0 } => wrong.push(format!("fault {id}: bytes_per_s: above 0")),
            What::Overload { callers } if !(1..=CALLERS_MAX).contains(&callers) => {
                wrong.push(format!("fault {id}: callers: 1 to {CALLERS_MAX}"))
            }
            _ if fault.what.loses_a_node() && self.nodes < LOSING_NODES_MIN => {
                let name = fault.what.name();
                wrong.push(format!("fault {id}: {name}: nodes: at least {LOSING_NODES_MIN}, so that the others go on"));
            }
            What::Swizzle { every_ms: 0 } => wrong.push(format!("fault {id}: every_ms: above 0")),
            _ => {}
        }
    }

    /// Two faults of one kind may not be under way on one target at a time, nor two under one id.
    fn check_overlaps(&self, wrong: &mut Vec<String>) {
        for (at, one) in self.faults.iter().enumerate() {
            for other in &self.faults[at + 1..] {
                if one.id == other.id {
                    wrong.push(format!("fault {}: there are two with this id", one.id));
                }
                let apart = one.at_ms + one.for_ms <= other.at_ms || other.at_ms + other.for_ms <= one.at_ms;
                let same = one.what.name() == other.what.name()
                    && one.what.target() == other.what.target()
                    && one.what.service() == other.what.service()
                    && one.what.numbers() == other.what.numbers();
                if same && !apart {
                    let (name, one, other) = (one.what.name(), one.id, other.id);
                    wrong.push(format!("fault {other}: at_ms: overlaps fault {one}, which is a {name} of the same"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
version = 1
story = "the leader loses its power"
seed = 7
nodes = 3
duration_ms = 20000

[workload]
buyers = 4
tickets = 10
think_ms = 100
price_change_ms = 500
cancelled_percent = 10
abandoned_percent = 10
declined_percent = 5
lock_ttl_ms = 5000

[cluster]
latency_us = [200, 2000]
sync_us = [100, 1000]
snapshot_entries = 200
log_entries_kept = 50
clock_offset_ms = 100

[[faults]]
id = 1
at_ms = 3000
for_ms = 2000
what = { crash = { node = "leader", power = true } }

[[faults]]
id = 2
at_ms = 8000
for_ms = 1000
what = { split = { nodes = [1, 2] } }
"#;

    fn refusal(text: &str) -> String {
        Schedule::parse(text).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_file_is_read_and_written_back() {
        let schedule = Schedule::parse(FILE).expect("a good file");
        assert_eq!(schedule.faults[0].what, What::Crash { node: Target::Leader, power: true });
        assert_eq!(Schedule::parse(&schedule.to_text()), Ok(schedule.clone()));
        assert_eq!(Schedule { story: "another".into(), ..schedule.clone() }.hash(), schedule.hash());
        assert_ne!(Schedule { seed: 8, ..schedule.clone() }.hash(), schedule.hash());
    }

    #[test]
    fn an_unknown_fault_is_refused_with_its_line() {
        let said = refusal(&FILE.replace("crash = {", "smash = {"));
        assert!(said.contains("line 29") && said.contains("unknown variant `smash`"), "{said}");
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let said = refusal(&FILE.replace("power = true", "powr = true"));
        assert!(said.contains("line 29") && said.contains("powr"), "{said}");
        let said = refusal(&FILE.replace("think_ms", "thinks_ms"));
        assert!(said.contains("thinks_ms"), "{said}");
    }

    #[test]
    fn a_node_that_does_not_exist_is_refused() {
        assert!(refusal(&FILE.replace("[1, 2]", "[1, 9]")).contains("fault 2: there is no node 9"));
        assert!(refusal(&FILE.replace("\"leader\"", "\"n0\"")).contains("fault 1: there is no node 0"));
        assert!(refusal(&FILE.replace("\"leader\"", "\"chief\"")).contains("`chief` is no node"));
    }

    #[test]
    fn a_service_that_does_not_exist_is_refused() {
        let crash = |service: &str, copy: u32| {
            let what = format!("crash_service = {{ service = \"{service}\", copy = {copy} }}");
            FILE.replace("split = { nodes = [1, 2] }", &what)
        };
        assert!(Schedule::parse(&crash("payments", 2)).is_ok());
        assert!(refusal(&crash("payments", 3)).contains("fault 2: there is no copy 3"));
        assert!(refusal(&crash("waiters", 1)).contains("unknown variant `waiters`"));
    }

    #[test]
    fn what_makes_no_sense_for_a_fault_is_refused() {
        let with = |what: &str| FILE.replace("{ split = { nodes = [1, 2] } }", what);
        for (what, says) in [
            (
                "{ crash_at = { node = \"n1\", point = \"before_lunch\", nth = 1, power = true } }",
                "unknown variant `before_lunch`",
            ),
            (
                "{ crash_at = { node = \"n1\", point = \"after_sync\", nth = 0, power = true } }",
                "fault 2: nth: 1 or more",
            ),
            (
                "{ crash_at = { node = \"n4\", point = \"after_sync\", nth = 1, power = true } }",
                "fault 2: there is no node 4",
            ),
            ("{ damage = { node = \"n1\", part = \"lid\", harm = \"flip\" } }", "unknown variant `lid`"),
            ("{ damage = { node = \"n1\", part = \"log\", harm = \"scratch\" } }", "unknown variant `scratch`"),
            ("{ wipe = { node = \"n1\" } }", "keeps_identity"),
            ("{ wrong_peer = { at = 1, reaches = 1 } }", "fault 2: at and reaches: two nodes"),
            ("{ wrong_peer = { at = 1, reaches = 7 } }", "fault 2: there is no node 7"),
            ("{ damaged = { permille = 1001 } }", "fault 2: permille: 1 to 1000"),
            ("{ slow_peer = { node = \"n1\", max_ms = 0 } }", "fault 2: max_ms: above 0"),
            ("{ bandwidth = { bytes_per_s = 0 } }", "fault 2: bytes_per_s: above 0"),
            ("{ swizzle = { every_ms = 0 } }", "fault 2: every_ms: above 0"),
            ("{ overload = { callers = 0 } }", "fault 2: callers: 1 to 1000"),
            ("{ arrive = { node = 2 } }", "fault 2: node 2 is there from the beginning"),
            ("{ depart = { node = 4 } }", "fault 2: there is no node 4"),
            ("{ restore = { node = \"n1\" } }", "unexpected keys in table: node"),
        ] {
            let said = refusal(&with(what));
            assert!(said.contains(says), "{what}: {said}");
            assert!(said.contains("line 35") || said.starts_with("fault 2: "), "{what}: {said}");
        }
        let two = with("{ leave = { node = \"n1\", returns = false } }").replace("nodes = 3", "nodes = 2");
        assert!(refusal(&two).contains("fault 2: leave: nodes: at least 3"));
    }

    #[test]
    fn points_are_called_the_same_in_schedules_and_in_reports() {
        for point in Point::ALL {
            let what = What::CrashAt { node: Target::Leader, point: *point, nth: 1, power: true };
            assert!(toml::to_string(&what).expect("a table").contains(point.name()));
        }
    }

    #[test]
    fn overlapping_and_late_faults_are_refused() {
        let twice = format!(
            "{FILE}\n[[faults]]\nid = 3\nat_ms = 4000\nfor_ms = 500\nwhat = {{ crash = {{ node = \"leader\", power = false }} }}\n"
        );
        assert!(refusal(&twice).contains("fault 3: at_ms: overlaps fault 1"));
        let restored = FILE.replace("crash = { node = \"leader\", power = true }", "restore = {}");
        let twice =
            restored.replace("split = { nodes = [1, 2] }", "restore = {}").replace("at_ms = 8000", "at_ms = 4000");
        assert!(refusal(&twice).contains("fault 2: at_ms: overlaps fault 1, which is a restore of the same"));
        assert!(refusal(&FILE.replace("at_ms = 8000", "at_ms = 19500")).contains("fault 2: at_ms + for_ms"));
        assert!(refusal(&FILE.replace("id = 2", "id = 1")).contains("two with this id"));
    }

    #[test]
    fn another_version_is_refused_with_its_number() {
        let said = refusal(&FILE.replace("version = 1", "version = 2"));
        assert_eq!(said, "version: this is a schedule of version 2, not 1");
    }
}
