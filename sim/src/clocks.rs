//! A clock for each node, that may be off, drift, and jump.
//!
//! Only what the node reads as time is affected; its timers run on true (virtual) time, as a kernel's would under a clock
//! that is stepped. Drift shows in the monotonic clock too, a jump does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_raft::clock::Clock;
use madsim::time::TimeHandle;

/// True time when a run starts, milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

const MILLION: i64 = 1_000_000;

/// A node's clock. Clones are the same clock; it outlives the node's crashes, as a mainboard's does.
#[derive(Debug, Clone, Default)]
pub struct SimClock(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    /// True time of the last change of the rate, and what the monotonic clock said then, in µs.
    changed_us: i64,
    monotonic_us: i64,
    /// Parts per million that it runs too fast.
    drift_ppm: i64,
    offset_ms: i64,
}

impl Reading {
    fn monotonic_us(&self, true_us: i64) -> i64 {
        let since = true_us - self.changed_us;
        self.monotonic_us + since + since * self.drift_ppm / MILLION
    }

    fn wall_ms(&self, true_us: i64) -> u64 {
        let wall = EPOCH_MS as i64 + self.offset_ms + self.monotonic_us(true_us) / 1_000;
        u64::try_from(wall).unwrap_or(0)
    }

    fn catch_up(&mut self, true_us: i64, wall_ms: u64) {
        self.offset_ms += wall_ms.saturating_sub(self.wall_ms(true_us)) as i64;
    }

    fn set_drift(&mut self, true_us: i64, drift_ppm: i64) {
        self.monotonic_us = self.monotonic_us(true_us);
        self.changed_us = true_us;
        self.drift_ppm = drift_ppm;
    }
}

/// True time since the start of the run.
pub fn elapsed() -> Duration {
    TimeHandle::current().elapsed()
}

fn true_us() -> i64 {
    elapsed().as_micros() as i64
}

impl SimClock {
    fn with<T>(&self, act: impl FnOnce(&mut Reading) -> T) -> T {
        act(&mut self.0.lock().expect("nothing panics while it reads a clock"))
    }

    /// Moves the wall clock by so much, at once.
    pub fn jump(&self, by_ms: i64) {
        self.with(|reading| reading.offset_ms += by_ms);
    }

    /// Sets the wall clock to `wall_ms`, unless it is there already or ahead.
    pub fn catch_up(&self, wall_ms: u64) {
        self.with(|reading| reading.catch_up(true_us(), wall_ms));
    }

    /// From now on both clocks run this many parts per million too fast; below zero: too slow.
    pub fn drift(&self, ppm: i64) {
        self.with(|reading| reading.set_drift(true_us(), ppm.max(1 - MILLION)));
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.with(|reading| reading.wall_ms(true_us()))
    }

    fn monotonic_ms(&self) -> u64 {
        self.with(|reading| reading.monotonic_us(true_us()) as u64 / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_moves_the_wall_clock_alone_and_drift_both() {
        let mut reading = Reading { offset_ms: -5_000, ..Reading::default() };
        assert_eq!(reading.wall_ms(1_000_000), EPOCH_MS - 4_000);
        assert_eq!(reading.monotonic_us(1_000_000), 1_000_000);
        reading.set_drift(1_000_000, 100_000);
        assert_eq!(reading.monotonic_us(2_000_000), 2_100_000);
        reading.set_drift(2_000_000, 0);
        assert_eq!(reading.monotonic_us(3_000_000), 3_100_000, "what was gained stays");
    }

    #[test]
    fn a_clock_that_is_behind_is_set_and_one_that_is_ahead_is_left() {
        let mut reading = Reading { offset_ms: -5_000, ..Reading::default() };
        reading.catch_up(1_000_000, EPOCH_MS + 1_000);
        assert_eq!(reading.wall_ms(1_000_000), EPOCH_MS + 1_000);
        reading.catch_up(2_000_000, EPOCH_MS);
        assert_eq!(reading.wall_ms(2_000_000), EPOCH_MS + 2_000);
    }
}
