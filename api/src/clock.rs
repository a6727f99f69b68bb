//! Two clocks: the node's wall clock, for tokens, and an estimate of ledger time, for countdowns.
//!
//! Ledger time moves only when entries are applied, so on an idle ledger it stands still while a buyer's lock runs down. A
//! countdown therefore adds what this node's monotonic clock measured since it first saw the current ledger time. The node's
//! wall clock has no part in it: a wrong one cannot make a lock look over.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// Milliseconds since the Unix epoch. A closure, so that the simulator can give each node a clock of its own.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's wall clock.
pub fn system() -> WallClock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Ledger time carried on by a monotonic clock.
pub struct LedgerClock(Mutex<Seen>);

#[derive(Clone, Copy)]
struct Seen {
    ledger_ms: u64,
    at: Instant,
}

impl LedgerClock {
    pub fn new() -> LedgerClock {
        LedgerClock(Mutex::new(Seen { ledger_ms: 0, at: Instant::now() }))
    }

    /// Notes a ledger time that was just read, and estimates what it would be now: never less than any seen so far.
    pub fn observe(&self, ledger_ms: u64) -> u64 {
        let mut seen = self.0.lock().expect("no panic while the clock is held");
        if ledger_ms > seen.ledger_ms {
            *seen = Seen { ledger_ms, at: Instant::now() };
            return ledger_ms;
        }
        let passed_ms = u64::try_from(seen.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        seen.ledger_ms.saturating_add(passed_ms)
    }
}
