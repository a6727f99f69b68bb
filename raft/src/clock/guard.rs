//! The stamp of one node: the agreed time, run on by the monotonic clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holdfast_ledger::planted::{Bug, at_work};

use super::Clock;
use super::agreement::{Interval, agree};
use crate::types::NodeId;

/// A sample that is older than this many exchanges is not counted any more.
const SAMPLE_INTERVALS_MAX: u64 = 10;
/// Ledger time never passes this, so neither does a stamp.
const STAMP_MS_MAX: u64 = holdfast_ledger::limits::TIME_MS_MAX;

/// A leader's time for an entry, and whether the voters stand behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub time_ms: u64,
    /// A majority of the voters' clocks agreed with this not long ago, or this is the only voter.
    pub agreed: bool,
}

/// What one peer's wall clock said.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Its wall clock less our monotonic one, and how wrong that may be, in milliseconds.
    offset_ms: i64,
    margin_ms: i64,
    at_monotonic_ms: u64,
}

struct Guard {
    /// Stamp less monotonic clock; `None` until there was a reason for one.
    offset_ms: Option<i64>,
    last_stamp_ms: u64,
    agreed: bool,
    samples: BTreeMap<NodeId, Sample>,
}

/// Keeps the samples of a node and makes its stamps.
pub struct ClockGuard {
    clock: Arc<dyn Clock>,
    tolerance_ms: i64,
    sample_age_ms_max: u64,
    guard: Mutex<Guard>,
}

impl ClockGuard {
    /// `tolerance_ms`: how far apart two clocks may be and still agree; `interval_ms`: how often they are exchanged.
    pub fn new(clock: Arc<dyn Clock>, tolerance_ms: u64, interval_ms: u64) -> ClockGuard {
        let guard = Guard { offset_ms: None, last_stamp_ms: 0, agreed: false, samples: BTreeMap::new() };
        ClockGuard {
            clock,
            tolerance_ms: tolerance_ms as i64,
            sample_age_ms_max: interval_ms * SAMPLE_INTERVALS_MAX,
            guard: Mutex::new(guard),
        }
    }

    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    pub fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// Takes in what `peer`'s wall clock said in answer to a question that was asked at `asked_ms` and answered by now (both
    /// by our monotonic clock).
    pub fn learn(&self, peer: NodeId, peer_wall_ms: u64, asked_ms: u64) {
        let now_ms = self.clock.monotonic_ms();
        let round_ms = now_ms.saturating_sub(asked_ms) as i64;
        let middle_ms = asked_ms as i64 + round_ms / 2;
        let sample =
            Sample { offset_ms: peer_wall_ms as i64 - middle_ms, margin_ms: round_ms / 2 + 1, at_monotonic_ms: now_ms };
        self.lock().samples.insert(peer, sample);
    }

    /// Finds out what the `voters` (this node, `me`, may be among them) agree on, and moves the stamp there. Returns whether
    /// they do agree.
    pub fn settle(&self, me: NodeId, voters: &[NodeId]) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let own_ms = self.clock.wall_ms() as i64 - now_ms as i64;
        let mut guard = self.lock();
        guard.samples.retain(|peer, sample| {
            voters.contains(peer) && now_ms.saturating_sub(sample.at_monotonic_ms) <= self.sample_age_ms_max
        });
        if voters == [me] {
            // Alone: the wall clock once, the monotonic one from then on, whatever the wall clock does.
            guard.offset_ms.get_or_insert(own_ms);
            guard.agreed = true;
            return true;
        }
        let mut sources: Vec<Interval> = guard
            .samples
            .values()
            .map(|sample| Interval::around(sample.offset_ms, sample.margin_ms + self.tolerance_ms))
            .collect();
        if voters.contains(&me) {
            sources.push(Interval::around(own_ms, self.tolerance_ms));
        }
        let agreed = agree(&sources, voters.len() / 2 + 1);
        if let Some(interval) = agreed {
            let start_ms = guard.offset_ms.unwrap_or(own_ms);
            guard.offset_ms = Some(start_ms.clamp(interval.from, interval.to));
        }
        guard.agreed = agreed.is_some();
        guard.agreed
    }

    /// Whether the clocks have agreed at the last [`settle`](Self::settle).
    pub fn agreed(&self) -> bool {
        self.lock().agreed
    }

    /// Whether stamps have something to go by: an agreement, or an earlier stamp.
    pub fn has_time(&self) -> bool {
        self.lock().offset_ms.is_some()
    }

    /// How far each peer's wall clock was ahead of this node's when it was last asked, in milliseconds.
    pub fn offsets_ms(&self) -> BTreeMap<NodeId, i64> {
        let own_ms = self.clock.wall_ms() as i64 - self.clock.monotonic_ms() as i64;
        let guard = self.lock();
        guard.samples.iter().map(|(peer, sample)| (*peer, sample.offset_ms - own_ms)).collect()
    }

    /// The present time as a stamp would have it, without making one; 0 while there is nothing to go by.
    pub fn now_ms(&self) -> u64 {
        let now_ms = self.clock.monotonic_ms() as i64;
        self.lock().offset_ms.map_or(0, |offset_ms| now_ms.saturating_add(offset_ms).max(0) as u64)
    }

    /// The time for an entry. If the clocks never agreed, it runs on from `ledger_ms()`, the ledger's present time, by the
    /// monotonic clock.
    pub fn stamp(&self, ledger_ms: impl FnOnce() -> u64) -> Stamp {
        let now_ms = self.clock.monotonic_ms() as i64;
        let mut guard = self.lock();
        let offset_ms = *guard.offset_ms.get_or_insert_with(|| ledger_ms() as i64 - now_ms);
        let time_ms = now_ms.saturating_add(offset_ms).max(0) as u64;
        let time_ms = if at_work(Bug::StampOwnClock) { self.clock.wall_ms() } else { time_ms };
        let time_ms = time_ms.max(guard.last_stamp_ms).min(STAMP_MS_MAX);
        guard.last_stamp_ms = time_ms;
        Stamp { time_ms, agreed: guard.agreed }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Guard> {
        self.guard.lock().expect("no holder of the guard panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_700_000_000_000;

    #[derive(Default)]
    struct Hands {
        wall_ms: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl Clock for Hands {
        fn wall_ms(&self) -> u64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic_ms(&self) -> u64 {
            self.monotonic_ms.load(Ordering::Relaxed)
        }
    }

    impl Hands {
        fn pass(&self, ms: u64) {
            self.wall_ms.fetch_add(ms, Ordering::Relaxed);
            self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    fn guard() -> (Arc<Hands>, ClockGuard) {
        let hands = Arc::new(Hands::default());
        hands.wall_ms.store(NOW_MS, Ordering::Relaxed);
        hands.monotonic_ms.store(500, Ordering::Relaxed);
        (hands.clone(), ClockGuard::new(hands, 1_000, 1_000))
    }

    #[test]
    fn a_lone_voter_does_not_follow_its_wall_clock_when_that_jumps() {
        let (hands, guard) = guard();
        assert!(guard.settle(1, &[1]));
        assert_eq!(guard.stamp(|| 0), Stamp { time_ms: NOW_MS, agreed: true });
        hands.pass(10);
        hands.wall_ms.fetch_add(HOUR_MS, Ordering::Relaxed);
        assert!(guard.settle(1, &[1]));
        assert_eq!(guard.stamp(|| 0).time_ms, NOW_MS + 10);
    }

    #[test]
    fn a_leader_whose_clock_jumped_stamps_what_the_majority_says() {
        let (hands, guard) = guard();
        hands.wall_ms.fetch_add(HOUR_MS, Ordering::Relaxed);
        guard.learn(2, NOW_MS, 500);
        guard.learn(3, NOW_MS + 20, 500);
        assert!(guard.settle(1, &[1, 2, 3]));
        let time_ms = guard.stamp(|| 0).time_ms;
        assert!(time_ms.abs_diff(NOW_MS) <= 1_100, "an hour ahead would end every lease: {time_ms}");
    }

    #[test]
    fn stamps_step_forward_to_the_majority_and_never_back() {
        let (hands, guard) = guard();
        guard.settle(1, &[1]);
        let alone_ms = guard.stamp(|| 0).time_ms;
        for peer in [2, 3] {
            guard.learn(peer, NOW_MS + HOUR_MS, 500);
        }
        assert!(guard.settle(1, &[1, 2, 3]));
        let ahead_ms = guard.stamp(|| 0).time_ms;
        assert!(ahead_ms >= alone_ms + HOUR_MS - 1_100);
        for peer in [2, 3] {
            guard.learn(peer, NOW_MS, 500);
        }
        hands.pass(5);
        assert!(guard.settle(1, &[1, 2, 3]));
        assert_eq!(guard.stamp(|| 0).time_ms, ahead_ms, "it stands still until the majority has come up");
    }

    #[test]
    fn without_agreement_time_runs_on_from_the_ledger() {
        let (hands, guard) = guard();
        guard.learn(2, NOW_MS + HOUR_MS, 500);
        assert!(!guard.settle(1, &[1, 2, 3]));
        assert_eq!(guard.stamp(|| NOW_MS - 7), Stamp { time_ms: NOW_MS - 7, agreed: false });
        hands.pass(50);
        assert_eq!(guard.stamp(|| NOW_MS - 7).time_ms, NOW_MS + 43);
    }

    #[test]
    fn old_samples_and_strangers_do_not_count() {
        let (hands, guard) = guard();
        guard.learn(2, NOW_MS, 500);
        guard.learn(9, NOW_MS, 500);
        assert!(!guard.settle(1, &[1, 3, 4]), "neither of them is a voter");
        guard.learn(3, NOW_MS, 500);
        assert!(guard.settle(1, &[1, 3, 4]));
        hands.pass(11_000);
        assert!(!guard.settle(1, &[1, 3, 4]), "what was heard eleven seconds ago");
    }

    #[test]
    fn a_slow_answer_widens_the_margin() {
        let (hands, guard) = guard();
        let asked_ms = guard.monotonic_ms();
        hands.pass(4_000);
        guard.learn(2, NOW_MS + 4_000, asked_ms);
        assert!(guard.settle(1, &[1, 2]), "2,000 off at the middle, and as uncertain");
    }
}
