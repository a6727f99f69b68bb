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
    /// By the fault's id.
    faults: BTreeMap<u32, What>,
    streams: BTreeMap<(IpAddr, IpAddr), SmallRng>,
}

impl Frames {
    pub fn new(seed: u64, trace: Arc<Trace>) -> Frames {
        Frames { seed, trace, active: Mutex::default() }
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().expect("nothing panics while it decides about a frame")
    }

    /// From now on fault `id` concerns frames.
    pub fn begin(&self, id: u32, what: What) {
        self.active().faults.insert(id, what);
    }

    pub fn end(&self, id: u32) {
        self.active().faults.remove(&id);
    }
}

/// What the faults make of a frame. Every fault draws, so that one does not shift the numbers of the next.
fn decide(faults: &BTreeMap<u32, What>, rng: &mut SmallRng, frame: &Bytes) -> Fate {
    let mut fate = Fate::Deliver;
    for what in faults.values() {
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

impl FrameFaults for Frames {
    fn fate(&self, from: SocketAddr, to: SocketAddr, frame: &Bytes) -> Fate {
        let mut active = self.active();
        let Active { faults, streams } = &mut *active;
        let fate = if faults.is_empty() {
            Fate::Deliver
        } else {
            let name = || stream(self.seed, &format!("frames {} {}", from.ip(), to.ip()));
            decide(faults, streams.entry((from.ip(), to.ip())).or_insert_with(name), frame)
        };
        let verb = match &fate {
            Fate::Deliver => "sent",
            Fate::Disconnect => "cut",
            Fate::Copies(copies) => match copies.len() {
                0 => "lost",
                1 => "late",
                _ => "twice",
            },
        };
        self.trace.note(format_args!("frame {from} {to} {} {:016x} {verb}", frame.len(), xxh3_64(frame)));
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(what: What) -> Vec<Fate> {
        let mut rng = stream(1, "test");
        let faults = BTreeMap::from([(1, what)]);
        (0..1_000).map(|_| decide(&faults, &mut rng, &Bytes::from_static(b"frame"))).collect()
    }

    #[test]
    fn faults_strike_about_as_often_as_they_say() {
        let struck = |what| fates(what).into_iter().filter(|fate| *fate != Fate::Deliver).count();
        assert_eq!(struck(What::Loss { permille: 1_000 }), 1_000);
        assert!((50..150).contains(&struck(What::Disconnects { permille: 100 })));
        assert_eq!(struck(What::BankOutage {}), 0);
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
