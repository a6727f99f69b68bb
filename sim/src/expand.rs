//! From a seed to a schedule.
//!
//! Each family of faults has its own stream and its own time line, so faults of different families meet and those of one
//! family do not. The first second is quiet; faults may last until the run is healed.

use holdfast_raft::failpoint::Point;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::damage::{Harm, Part};
use crate::schedule::{Cluster, Fault, LOSING_NODES_MIN, Schedule, Target, VERSION, What, Workload};
use crate::services::{COPIES, Program};
use crate::streams::stream;

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub nodes: u32,
    pub duration_ms: u64,
}

impl Default for Size {
    fn default() -> Size {
        Size { nodes: 3, duration_ms: 20_000 }
    }
}

/// How often a family strikes: a pause between two of its faults, and how long each lasts, in milliseconds.
pub struct Family {
    pub name: &'static str,
    /// The faults that it draws from.
    pub kinds: &'static [&'static str],
    /// Of 100 seeds, so many have this family at all.
    percent: u32,
    pause_ms: (u64, u64),
    lasts_ms: (u64, u64),
    draw: fn(&mut SmallRng, u32) -> What,
}

const QUIET_MS: u64 = 1_000;
/// Of so many seeds, one begins with a lone machine.
const GROWING_EVERY: u32 = 6;

/// All families. A seed has some of them.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "crash",
        kinds: &["crash"],
        percent: 80,
        pause_ms: (2_000, 12_000),
        lasts_ms: (50, 4_000),
        draw: crash,
    },
    Family {
        name: "crash_all",
        kinds: &["crash_all"],
        percent: 25,
        pause_ms: (6_000, 40_000),
        lasts_ms: (50, 1_500),
        draw: crash_all,
    },
    Family {
        name: "pause",
        kinds: &["pause"],
        percent: 40,
        pause_ms: (3_000, 15_000),
        lasts_ms: (100, 4_000),
        draw: pause,
    },
    Family {
        name: "partition",
        kinds: &["isolate", "split", "one_way"],
        percent: 80,
        pause_ms: (2_000, 10_000),
        lasts_ms: (200, 5_000),
        draw: partition,
    },
    Family {
        name: "messages",
        kinds: &["disconnects", "loss", "duplicates", "delays"],
        percent: 70,
        pause_ms: (1_000, 10_000),
        lasts_ms: (500, 5_000),
        draw: messages,
    },
    Family {
        name: "client_loss",
        kinds: &["client_loss"],
        percent: 70,
        pause_ms: (1_000, 8_000),
        lasts_ms: (500, 5_000),
        draw: client_loss,
    },
    Family {
        name: "clock",
        kinds: &["clock_jump", "clock_drift"],
        percent: 60,
        pause_ms: (1_000, 8_000),
        lasts_ms: (500, 6_000),
        draw: clock,
    },
    Family {
        name: "slow_disk",
        kinds: &["slow_disk"],
        percent: 40,
        pause_ms: (2_000, 12_000),
        lasts_ms: (500, 4_000),
        draw: slow_disk,
    },
    Family {
        name: "broken_disk",
        kinds: &["failed_sync", "full_disk"],
        percent: 25,
        pause_ms: (4_000, 30_000),
        lasts_ms: (500, 3_000),
        draw: broken_disk,
    },
    Family {
        name: "transfer",
        kinds: &["transfer"],
        percent: 50,
        pause_ms: (1_000, 8_000),
        lasts_ms: (10, 20),
        draw: transfer,
    },
    Family {
        name: "points",
        kinds: &["crash_at"],
        percent: 40,
        pause_ms: (1_000, 8_000),
        lasts_ms: (500, 4_000),
        draw: crash_at,
    },
    Family {
        name: "lines",
        kinds: &["damaged", "half_open", "slow_peer", "bandwidth", "swizzle", "wrong_peer"],
        percent: 40,
        pause_ms: (1_000, 10_000),
        lasts_ms: (500, 4_000),
        draw: lines,
    },
    Family {
        name: "losses",
        kinds: &["damage", "wipe"],
        percent: 30,
        pause_ms: (3_000, 12_000),
        lasts_ms: (100, 3_000),
        draw: losses,
    },
    Family {
        name: "members",
        kinds: &["leave"],
        percent: 20,
        pause_ms: (3_000, 12_000),
        lasts_ms: (500, 4_000),
        draw: members,
    },
    Family {
        name: "overload",
        kinds: &["overload"],
        percent: 10,
        pause_ms: (3_000, 12_000),
        lasts_ms: (300, 1_500),
        draw: overload,
    },
    Family {
        name: "bank",
        kinds: &["bank_outage"],
        percent: 40,
        pause_ms: (3_000, 15_000),
        lasts_ms: (200, 4_000),
        draw: bank,
    },
    Family {
        name: "broker",
        kinds: &["broker_away", "broker_wiped", "broker_restored", "broker_loses_end"],
        percent: 60,
        pause_ms: (2_000, 12_000),
        lasts_ms: (200, 6_000),
        draw: broker,
    },
    Family {
        name: "broker_faults",
        kinds: &["broker_faults"],
        percent: 60,
        pause_ms: (1_000, 8_000),
        lasts_ms: (500, 5_000),
        draw: broker_faults,
    },
    Family {
        name: "service",
        kinds: &["crash_service"],
        percent: 60,
        pause_ms: (500, 6_000),
        lasts_ms: (50, 3_000),
        draw: service,
    },
    Family {
        name: "upgrade",
        kinds: &["upgrade", "downgrade"],
        percent: 50,
        pause_ms: (500, 4_000),
        lasts_ms: (50, 1_500),
        draw: upgrade,
    },
    Family {
        name: "raise",
        kinds: &["raise"],
        percent: 50,
        pause_ms: (2_000, 10_000),
        lasts_ms: (2_000, 8_000),
        draw: raise,
    },
];

/// The schedule that `seed` stands for.
pub fn from_seed(seed: u64, size: Size) -> Schedule {
    let mut faults = Vec::new();
    for family in FAMILIES {
        let mut rng = stream(seed, family.name);
        if rng.random_range(0..100) >= family.percent {
            continue;
        }
        let mut at_ms = QUIET_MS;
        loop {
            at_ms += rng.random_range(family.pause_ms.0..family.pause_ms.1);
            let for_ms = rng.random_range(family.lasts_ms.0..family.lasts_ms.1);
            let what = (family.draw)(&mut rng, size.nodes);
            if at_ms + for_ms > size.duration_ms {
                break;
            }
            // Where nobody can be spared, nobody is.
            if !what.loses_a_node() || size.nodes >= LOSING_NODES_MIN {
                faults.push(Fault { id: 0, at_ms, for_ms, what });
            }
            at_ms += for_ms;
        }
    }
    let cluster = cluster(&mut stream(seed, "cluster"));
    let founders = growth(&mut stream(seed, "growth"), size, &mut faults);
    faults.sort_by_key(|fault| fault.at_ms);
    faults.iter_mut().zip(1..).for_each(|(fault, id)| fault.id = id);
    let schedule = Schedule {
        version: VERSION,
        story: String::new(),
        planted: None,
        seed,
        nodes: size.nodes,
        founders,
        duration_ms: size.duration_ms,
        workload: workload(&mut stream(seed, "workload")),
        cluster,
        faults,
    };
    schedule.check().expect("what a seed expands to can be run");
    schedule
}

/// In some runs of more than two machines one begins alone, and the others come later; of many, some go again. Answers with how
/// many begin; 0: all.
///
/// A clock that jumps while nobody else has one is not looked at here: a lone node that is started again believes it.
fn growth(rng: &mut SmallRng, size: Size, faults: &mut Vec<Fault>) -> u32 {
    if rng.random_range(0..GROWING_EVERY) > 0 || size.nodes < LOSING_NODES_MIN {
        return 0;
    }
    faults.retain(|fault| !matches!(fault.what, What::ClockJump { .. }));
    let latest_ms = size.duration_ms / 2;
    let arrivals = (2..=size.nodes).map(|node| {
        let at_ms = rng.random_range(QUIET_MS / 2..latest_ms);
        Fault { id: 0, at_ms, for_ms: 1, what: What::Arrive { node } }
    });
    faults.extend(arrivals.collect::<Vec<_>>());
    for node in LOSING_NODES_MIN + 1..=size.nodes {
        let at_ms = rng.random_range(latest_ms..size.duration_ms - 1);
        faults.push(Fault { id: 0, at_ms, for_ms: 1, what: What::Depart { node } });
    }
    1
}

fn workload(rng: &mut SmallRng) -> Workload {
    let buyers = rng.random_range(3..9);
    let tickets = rng.random_range(4..40);
    Workload {
        buyers,
        tickets,
        think_ms: rng.random_range(20..300),
        price_change_ms: rng.random_range(100..1_000),
        cancelled_percent: rng.random_range(0..20),
        abandoned_percent: rng.random_range(0..25),
        declined_percent: rng.random_range(0..25),
        lock_ttl_ms: rng.random_range(1_500..8_000),
        bulk: rng.random_range(0..=tickets / 2),
        waiting_percent: rng.random_range(0..60),
        operator_ms: if rng.random_range(0..3) > 0 { rng.random_range(200..2_000) } else { 0 },
        reading_ms: rng.random_range(50..250),
        together_percent: rng.random_range(0..40),
        bans_percent: if rng.random_range(0..3) > 0 { rng.random_range(5..30) } else { 0 },
        payment_attempts: rng.random_range(1..=3),
    }
}

fn cluster(rng: &mut SmallRng) -> Cluster {
    let latency_us = rng.random_range(50..2_000);
    let sync_us = rng.random_range(50..2_000);
    Cluster {
        latency_us: (latency_us, latency_us * rng.random_range(2..10)),
        sync_us: (sync_us, sync_us * rng.random_range(2..10)),
        // In one of three runs nobody keeps his log for long: whoever was away needs a snapshot.
        snapshot_entries: if rng.random_range(0..3) == 0 {
            rng.random_range(10..60)
        } else {
            rng.random_range(60..500)
        },
        log_entries_kept: rng.random_range(1..60),
        // Leaders whose clocks are as far apart as clocks that agree may be hand over to one another.
        clock_offset_ms: rng.random_range(0..900),
        // Longer than the broker is ever away, or set back.
        outbox_retention_ms: if rng.random_range(0..3) == 0 { rng.random_range(15_000..40_000) } else { 0 },
    }
}

fn target(rng: &mut SmallRng, nodes: u32) -> Target {
    if rng.random() { Target::Leader } else { Target::Node(rng.random_range(1..=nodes)) }
}

fn crash(rng: &mut SmallRng, nodes: u32) -> What {
    What::Crash { node: target(rng, nodes), power: rng.random() }
}

fn crash_all(rng: &mut SmallRng, _nodes: u32) -> What {
    What::CrashAll { power: rng.random() }
}

fn pause(rng: &mut SmallRng, nodes: u32) -> What {
    What::Pause { node: target(rng, nodes) }
}

fn partition(rng: &mut SmallRng, nodes: u32) -> What {
    if nodes < 2 {
        return What::Isolate { node: Target::Node(1) };
    }
    match rng.random_range(0..5) {
        0 => What::Isolate { node: target(rng, nodes) },
        1 => What::Isolate { node: Target::Leader },
        // Clients still reach both sides: the more often, as this alone shows a leader that does not know that it is none.
        2 | 3 => {
            let first = rng.random_range(1..=nodes);
            let others: Vec<u32> =
                (1..=nodes).filter(|node| *node != first && rng.random()).take(nodes as usize - 2).collect();
            What::Split { nodes: std::iter::once(first).chain(others).collect() }
        }
        _ => {
            let from = rng.random_range(1..=nodes);
            What::OneWay { from, to: (from + rng.random_range(0..nodes - 1)) % nodes + 1 }
        }
    }
}

fn messages(rng: &mut SmallRng, _nodes: u32) -> What {
    let permille = rng.random_range(1..100);
    match rng.random_range(0..4) {
        0 => What::Disconnects { permille: permille / 2 + 1 },
        1 => What::Loss { permille },
        2 => What::Duplicates { permille: permille * 3 },
        _ => What::Delays { permille: permille * 3, max_ms: rng.random_range(5..800) },
    }
}

fn client_loss(rng: &mut SmallRng, _nodes: u32) -> What {
    What::ClientLoss { permille: rng.random_range(10..400) }
}

fn clock(rng: &mut SmallRng, nodes: u32) -> What {
    let node = target(rng, nodes);
    if rng.random() {
        let by_ms = rng.random_range(100..3_600_000) * if rng.random() { 1 } else { -1 };
        What::ClockJump { node, by_ms }
    } else {
        What::ClockDrift { node, ppm: rng.random_range(-200_000..200_000) }
    }
}

fn slow_disk(rng: &mut SmallRng, nodes: u32) -> What {
    What::SlowDisk { node: target(rng, nodes), max_ms: rng.random_range(5..1_000) }
}

fn broken_disk(rng: &mut SmallRng, nodes: u32) -> What {
    let node = target(rng, nodes);
    if rng.random() { What::FailedSync { node } } else { What::FullDisk { node } }
}

/// Mostly forward: a cluster of two builds, and in the end of the newer one.
fn upgrade(rng: &mut SmallRng, nodes: u32) -> What {
    let node = Target::Node(rng.random_range(1..=nodes));
    match rng.random_range(0..6) {
        0 => What::Downgrade { node },
        _ => What::Upgrade { node },
    }
}

fn raise(_rng: &mut SmallRng, _nodes: u32) -> What {
    What::Raise {}
}

fn transfer(rng: &mut SmallRng, nodes: u32) -> What {
    What::Transfer { node: Target::Node(rng.random_range(1..=nodes)) }
}

fn broker(rng: &mut SmallRng, _nodes: u32) -> What {
    match rng.random_range(0..5) {
        0 | 1 => What::BrokerAway {},
        2 => What::BrokerWiped {},
        3 => What::BrokerRestored {},
        _ => What::BrokerLosesEnd { messages: rng.random_range(1..100) },
    }
}

fn broker_faults(rng: &mut SmallRng, _nodes: u32) -> What {
    What::BrokerFaults { permille: rng.random_range(1..150) }
}

fn service(rng: &mut SmallRng, _nodes: u32) -> What {
    let service = Program::ALL[rng.random_range(0..Program::ALL.len())];
    What::CrashService { service, copy: rng.random_range(1..=COPIES) }
}

fn crash_at(rng: &mut SmallRng, nodes: u32) -> What {
    let point = Point::ALL[rng.random_range(0..Point::ALL.len())];
    What::CrashAt { node: target(rng, nodes), point, nth: rng.random_range(1..20), power: rng.random() }
}

fn lines(rng: &mut SmallRng, nodes: u32) -> What {
    let node = target(rng, nodes);
    match rng.random_range(0..6) {
        0 => What::Damaged { permille: rng.random_range(1..50) },
        1 => What::HalfOpen { node },
        2 => What::SlowPeer { node, max_ms: rng.random_range(1..100) },
        3 => What::Bandwidth { bytes_per_s: rng.random_range(20_000..2_000_000) },
        4 if nodes > 1 => {
            let at = rng.random_range(1..=nodes);
            What::WrongPeer { at, reaches: (at + rng.random_range(0..nodes - 1)) % nodes + 1 }
        }
        _ => What::Swizzle { every_ms: rng.random_range(20..300) },
    }
}

fn losses(rng: &mut SmallRng, nodes: u32) -> What {
    let node = target(rng, nodes);
    match rng.random_range(0..4) {
        0 => What::Wipe { node, keeps_identity: rng.random() },
        _ => {
            let part = Part::ALL[rng.random_range(0..Part::ALL.len())];
            What::Damage { node, part, harm: Harm::ALL[rng.random_range(0..Harm::ALL.len())] }
        }
    }
}

fn members(rng: &mut SmallRng, nodes: u32) -> What {
    What::Leave { node: target(rng, nodes), returns: rng.random() }
}

fn overload(rng: &mut SmallRng, _nodes: u32) -> What {
    What::Overload { callers: rng.random_range(5..40) }
}

fn bank(_rng: &mut SmallRng, _nodes: u32) -> What {
    What::BankOutage {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_expands_to_a_good_schedule_and_always_the_same() {
        for seed in 0..500 {
            let size = Size { nodes: 1 + seed as u32 % 5, ..Size::default() };
            let schedule = from_seed(seed, size);
            assert_eq!(Schedule::parse(&schedule.to_text()).as_ref(), Ok(&schedule));
            assert_eq!(from_seed(seed, size), schedule);
        }
    }

    #[test]
    fn all_kinds_of_faults_occur() {
        let mut kinds: Vec<&str> =
            (0..500).flat_map(|seed| from_seed(seed, Size::default()).faults).map(|fault| fault.what.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 39, "{kinds:?}");
        let mut large = (0..50).flat_map(|seed| from_seed(seed, Size { nodes: 5, ..Size::default() }).faults);
        assert!(large.any(|fault| fault.what.name() == "depart"), "some of many machines go again");
        kinds.retain(|kind| *kind != "arrive");
        let mut of_families: Vec<&str> = FAMILIES.iter().flat_map(|family| family.kinds).copied().collect();
        of_families.sort_unstable();
        assert_eq!(kinds, of_families, "every family says what it draws from");
    }
}
