//! A run, written down: the cluster, the workload, and a list of faults that each have an address and a time.
//!
//! A run *is* its schedule. A seed expands to one ([`expand`](crate::expand)); a file holds one, can be edited by hand, and is
//! refused with line and field when it makes no sense. Everything random about the run follows from `seed`, in a stream for
//! each component.
//!
//! What this deliberately does not do: name faults by what they should cause. A fault says what is done to which node.

use std::fmt;

use holdfast_ledger::planted::Bug;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::services::{COPIES, Program};

/// The version of the file's format. A file of another one is refused.
pub const VERSION: u32 = 1;
/// Nodes of one cluster.
pub const NODES_MAX: u32 = 7;
/// Faults of one schedule.
pub const FAULTS_MAX: usize = 10_000;
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
    pub nodes: u32,
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
            What::Pause { .. } => "pause",
            What::Isolate { .. } => "isolate",
            What::Split { .. } => "split",
            What::OneWay { .. } => "one_way",
            What::Disconnects { .. } => "disconnects",
            What::Loss { .. } => "loss",
            What::Duplicates { .. } => "duplicates",
            What::Delays { .. } => "delays",
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

    /// The copy of a service that it strikes.
    fn service(&self) -> Option<(Program, u32)> {
        match self {
            What::CrashService { service, copy } => Some((*service, *copy)),
            _ => None,
        }
    }

    fn numbers(&self) -> Vec<u32> {
        match self {
            What::Split { nodes } => nodes.clone(),
            What::OneWay { from, to } => vec![*from, *to],
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
        if let What::OneWay { from, to } = fault.what
            && from == to
        {
            wrong.push(format!("fault {id}: from and to: two nodes"));
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
    fn overlapping_and_late_faults_are_refused() {
        let twice = format!(
            "{FILE}\n[[faults]]\nid = 3\nat_ms = 4000\nfor_ms = 500\nwhat = {{ crash = {{ node = \"leader\", power = false }} }}\n"
        );
        assert!(refusal(&twice).contains("fault 3: at_ms: overlaps fault 1"));
        assert!(refusal(&FILE.replace("at_ms = 8000", "at_ms = 19500")).contains("fault 2: at_ms + for_ms"));
        assert!(refusal(&FILE.replace("id = 2", "id = 1")).contains("two with this id"));
    }

    #[test]
    fn another_version_is_refused_with_its_number() {
        let said = refusal(&FILE.replace("version = 1", "version = 2"));
        assert_eq!(said, "version: this is a schedule of version 2, not 1");
    }
}
