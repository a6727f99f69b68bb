//! What becomes of messages between nodes while faults of the network are under way.
//!
//! The transport asks for the fate of every frame. Each directed pair of nodes draws from a stream of its own. Partitions are
//! not made here but in the simulator's network, which also stops new connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use holdfast_raft::transport::sim::{Fate, FrameFaults};
use rand::RngExt;
use rand::rngs::SmallRng;
use xxhash_rust::xxh3::xxh3_64;

use crate::schedule::What;
use crate::streams::stream;
use crate::trace::Trace;

/// A duplicate follows its original by up to this long.
const DUPLICATE_DELAY_US_MAX: u64 = 20_000;

/// The faults of the network between nodes. Shared by all transports of a run.
pub struct Frames {
    seed: u64,
    trace: Arc<Trace>,
    active: Mutex<Active>,
}

#[derive(Default)]
struct Active {
    /// By the fault's id, with the machine that it strikes.
    faults: BTreeMap<u32, (What, Option<IpAddr>)>,
    streams: BTreeMap<(IpAddr, IpAddr), SmallRng>,
    /// The two ends of every connection that has carried a frame, the lower one first, and whether it is half open.
    connections: BTreeMap<(SocketAddr, SocketAddr), bool>,
    /// By the fault's id: who connects to the first comes out at the second.
    detours: BTreeMap<u32, (IpAddr, IpAddr)>,
}

fn connection(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    (one.min(other), one.max(other))
}

impl Frames {
    pub fn new(seed: u64, trace: Arc<Trace>) -> Frames {
        Frames { seed, trace, active: Mutex::default() }
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().expect("nothing panics while it decides about a frame")
    }

    /// From now on fault `id` concerns frames; of `machine`, where it strikes one.
    pub fn begin(&self, id: u32, what: What, machine: Option<IpAddr>) {
        let mut active = self.active();
        if let (What::HalfOpen { .. }, Some(machine)) = (&what, machine) {
            let of_machine = |ends: &(SocketAddr, SocketAddr)| ends.0.ip() == machine || ends.1.ip() == machine;
            active.connections.iter_mut().filter(|(ends, _)| of_machine(ends)).for_each(|(_, dead)| *dead = true);
        }
        active.faults.insert(id, (what, machine));
    }

    /// From now on whoever connects to `at` comes out at `reaches`.
    pub fn detour(&self, id: u32, at: IpAddr, reaches: IpAddr) {
        self.active().detours.insert(id, (at, reaches));
    }

    pub fn end(&self, id: u32) {
        let mut active = self.active();
        active.faults.remove(&id);
        active.detours.remove(&id);
    }
}

/// What the faults make of a frame. Every fault draws, so that one does not shift the numbers of the next.
fn decide(faults: &BTreeMap<u32, (What, Option<IpAddr>)>, rng: &mut SmallRng, to: IpAddr, frame: &Bytes) -> Fate {
    let mut fate = Fate::Deliver;
    for (what, machine) in faults.values() {
        let draw = rng.random_range(0..1_000);
        let amount: u64 = rng.random();
        let at_once = Duration::ZERO;
        let decided = match what {
            What::Disconnects { permille } if draw < *permille => Fate::Disconnect,
            What::Loss { permille } if draw < *permille => Fate::Copies(Vec::new()),
            What::Duplicates { permille } if draw < *permille => {
                let later = Duration::from_micros(amount % DUPLICATE_DELAY_US_MAX);
                Fate::Copies(vec![(at_once, frame.clone()), (later, frame.clone())])
            }
            What::Damaged { permille } if draw < *permille && !frame.is_empty() => {
                Fate::Copies(vec![(at_once, flipped(frame, amount))])
            }
            What::SlowPeer { max_ms, .. } if *machine == Some(to) => {
                Fate::Held(Duration::from_micros(amount % (max_ms * 1_000)))
            }
            What::Bandwidth { bytes_per_s } => {
                Fate::Held(Duration::from_nanos(frame.len() as u64 * 1_000_000_000 / bytes_per_s))
            }
            What::Delays { permille, max_ms } if draw < *permille => {
                Fate::Copies(vec![(Duration::from_micros(amount % (max_ms * 1_000).max(1)), frame.clone())])
            }
            _ => continue,
        };
        if fate == Fate::Deliver {
            fate = decided;
        }
    }
    fate
}

/// The frame with one bit flipped.
fn flipped(frame: &Bytes, amount: u64) -> Bytes {
    let mut bytes = frame.to_vec();
    let bit = amount % (8 * bytes.len() as u64);
    bytes[bit as usize / 8] ^= 1 << (bit % 8);
    bytes.into()
}

impl FrameFaults for Frames {
    fn fate(&self, from: SocketAddr, to: SocketAddr, frame: &Bytes) -> Fate {
        let mut active = self.active();
        let Active { faults, streams, connections, .. } = &mut *active;
        let is_dead = *connections.entry(connection(from, to)).or_default();
        let fate = if is_dead {
            Fate::Copies(Vec::new())
        } else if faults.is_empty() {
            Fate::Deliver
        } else {
            let name = || stream(self.seed, &format!("frames {} {}", from.ip(), to.ip()));
            decide(faults, streams.entry((from.ip(), to.ip())).or_insert_with(name), to.ip(), frame)
        };
        let verb = match &fate {
            Fate::Deliver => "sent",
            Fate::Disconnect => "cut",
            Fate::Held(_) => "held",
            Fate::Copies(copies) => match &copies[..] {
                [] => "lost",
                [(_, copy)] if copy != frame => "damaged",
                [_] => "late",
                _ => "twice",
            },
        };
        self.trace.note(format_args!("frame {from} {to} {} {:016x} {verb}", frame.len(), xxh3_64(frame)));
        fate
    }

    fn connected(&self, from: SocketAddr, to: SocketAddr) {
        self.active().connections.insert(connection(from, to), false);
    }

    fn route(&self, from: IpAddr, to: SocketAddr) -> SocketAddr {
        let active = self.active();
        let detour = active.detours.values().find(|(at, reaches)| *at == to.ip() && *reaches != from);
        detour.map_or(to, |(_, reaches)| SocketAddr::new(*reaches, to.port()))
    }
}

#[cfg(test)]
mod tests {
    use madsim::runtime::Runtime;

    use super::*;
    use crate::schedule::Target;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn fates(what: What) -> Vec<Fate> {
        let mut rng = stream(1, "test");
        let faults = BTreeMap::from([(1, (what, Some(HERE)))]);
        (0..1_000).map(|_| decide(&faults, &mut rng, HERE, &Bytes::from_static(b"frame"))).collect()
    }

    #[test]
    fn faults_strike_about_as_often_as_they_say() {
        let struck = |what| fates(what).into_iter().filter(|fate| *fate != Fate::Deliver).count();
        assert_eq!(struck(What::Loss { permille: 1_000 }), 1_000);
        assert!((50..150).contains(&struck(What::Disconnects { permille: 100 })));
        assert_eq!(struck(What::BankOutage {}), 0);
    }

    #[test]
    fn a_damaged_frame_differs_in_one_bit_and_a_slow_one_waits() {
        let Fate::Copies(copies) = &fates(What::Damaged { permille: 1_000 })[0] else { panic!("a copy") };
        let bits = copies[0].1.iter().zip(b"frame").map(|(one, other)| (one ^ other).count_ones());
        assert_eq!(bits.sum::<u32>(), 1);
        let second = Duration::from_secs(1);
        assert_eq!(fates(What::Bandwidth { bytes_per_s: 5 })[0], Fate::Held(second));
        let slow = fates(What::SlowPeer { node: Target::Leader, max_ms: 1_000 });
        assert!(slow.iter().all(|fate| matches!(fate, Fate::Held(delay) if *delay < second)));
    }

    #[test]
    fn connections_that_stand_are_half_open_and_new_ones_carry() {
        let frames = Frames::new(1, Arc::new(Trace::new(false)));
        let end = |port| SocketAddr::new(HERE, port);
        let frame = Bytes::from_static(b"frame");
        // The trace notes when each frame was sent, by the simulation's clock.
        Runtime::with_seed_and_config(1, madsim::Config::default()).block_on(async move {
            assert_eq!(frames.fate(end(1), end(7), &frame), Fate::Deliver);
            frames.begin(1, What::HalfOpen { node: Target::Leader }, Some(HERE));
            assert_eq!(frames.fate(end(7), end(1), &frame), Fate::Copies(Vec::new()), "the other way too");
            assert_eq!(frames.fate(end(2), end(7), &frame), Fate::Deliver);
            frames.end(1);
            assert_eq!(frames.fate(end(1), end(7), &frame), Fate::Copies(Vec::new()), "for good");
            frames.connected(end(1), end(7));
            assert_eq!(frames.fate(end(1), end(7), &frame), Fate::Deliver, "another one on the same port");
        });
    }

    #[test]
    fn who_connects_to_another_address_comes_out_there_while_it_lasts() {
        let frames = Frames::new(1, Arc::new(Trace::new(false)));
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let route = |from, to| frames.route(address(from), SocketAddr::new(address(to), 7)).ip();
        frames.detour(1, address(2), address(3));
        assert_eq!((route(1, 2), route(1, 3)), (address(3), address(3)));
        assert_eq!(route(3, 2), address(2), "not to itself");
        frames.end(1);
        assert_eq!(route(1, 2), address(2));
    }

    #[test]
    fn a_duplicate_comes_twice_and_a_late_frame_once() {
        let copies = |what| match &fates(what)[0] {
            Fate::Copies(copies) => copies.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(copies(What::Duplicates { permille: 1_000 }), 2);
        assert_eq!(copies(What::Delays { permille: 1_000, max_ms: 10 }), 1);
        assert_eq!(copies(What::Loss { permille: 1_000 }), 0);
    }
}
