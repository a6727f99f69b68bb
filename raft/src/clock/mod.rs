//! Clocks, and the guard that keeps one wrong clock from moving the ledger's time.
//!
//! Only a leader stamps entries. Were its own clock all that counts, a clock that jumps forward would end every lease at
//! once, and, as ledger time never goes back, one that had jumped would end none for as long. So voters exchange their wall
//! clocks all the time, also while they follow, and the stamp comes from the interval on which a majority of them agrees
//! ([`agreement`], after Marzullo; TigerBeetle guards its clock in the same way). Between exchanges a stamp runs on by
//! the monotonic clock.
//!
//! The stamp steps forward when the majority is ahead of it (after an outage), and never back: a stamp that is ahead stands
//! still until the majority has come up to it. Without a majority the leader runs on by its monotonic clock from the last
//! ledger time and warns. A lone voter takes its wall clock once, at start, and its monotonic clock from then on.
//!
//! What this deliberately does not do: set any clock, or guess the right time between two halves that disagree.

pub mod agreement;
mod guard;

pub use guard::{ClockGuard, Stamp};

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A node's clocks. The real one, or the simulator's, which drifts and jumps.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, milliseconds since the Unix epoch. May jump.
    fn wall_ms(&self) -> u64;

    /// Milliseconds since some fixed moment. Never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
