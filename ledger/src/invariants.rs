//! A full scan that holds the state against everything it promises. For tests, the simulator and `holdfast verify`.
//!
//! What this deliberately does not do: run on the way of a request. It reads every row, in pages.

use crate::state::State;
use crate::store::Read;

/// Scans the whole state: counters, indexes, locks, versions, payments, outbox and hash. `Err` names what does not hold, at
/// most [`VIOLATIONS_MAX`] sentences; a row that cannot be read or decoded counts as one.
pub fn check_invariants<S: Read>(_state: &State<S>) -> Result<(), Vec<String>> {
    todo!()
}

/// The most violations that one scan reports.
pub const VIOLATIONS_MAX: usize = 100;
