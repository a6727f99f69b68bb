//! What happened, in order and with virtual times: as one hash, and as lines where somebody wants to read them.
//!
//! Two runs of one schedule are the same run if their hashes are equal. Every frame, call, fault and applied entry goes in,
//! so a difference shows at the first event that differs, not where it first does harm.

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard};

use madsim::time::TimeHandle;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Lines that are kept at most; the hash covers all events.
const LINES_MAX: usize = 4_000_000;

/// The record of one run.
#[derive(Default)]
pub struct Trace {
    events: Mutex<Events>,
    keeps_lines: bool,
}

#[derive(Default)]
struct Events {
    hash: u64,
    count: u64,
    lines: Vec<String>,
    /// The newest one, again and again.
    line: String,
}

/// A finished trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub hash: u64,
    pub events: u64,
    /// Empty unless lines were asked for.
    pub lines: Vec<String>,
}

impl Trace {
    /// A trace that keeps its lines, or only their hash.
    pub fn new(keeps_lines: bool) -> Trace {
        Trace { events: Mutex::default(), keeps_lines }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().expect("nothing panics while it writes the trace")
    }

    /// Records that `what` happened now. Must be called inside a simulation.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut events = self.events();
        let events = &mut *events;
        // One line's memory serves the next one.
        events.line.clear();
        write!(events.line, "{:>14} {what}", TimeHandle::current().elapsed().as_nanos()).expect("a text has room");
        events.hash = xxh3_64_with_seed(events.line.as_bytes(), events.hash);
        events.count += 1;
        if self.keeps_lines && events.lines.len() < LINES_MAX {
            events.lines.push(events.line.clone());
        }
    }

    /// What was recorded so far; takes the lines along.
    pub fn take(&self) -> Recorded {
        let mut events = self.events();
        Recorded { hash: events.hash, events: events.count, lines: std::mem::take(&mut events.lines) }
    }
}

/// The first place where two traces with lines differ: its number, and the two lines.
pub fn first_difference<'a>(
    one: &'a Recorded,
    other: &'a Recorded,
) -> Option<(usize, Option<&'a str>, Option<&'a str>)> {
    let longest = one.lines.len().max(other.lines.len());
    let line = |trace: &'a Recorded, at: usize| trace.lines.get(at).map(String::as_str);
    (0..longest).map(|at| (at, line(one, at), line(other, at))).find(|(_, one, other)| one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(lines: &[&str]) -> Recorded {
        Recorded { hash: 0, events: 0, lines: lines.iter().map(|line| line.to_string()).collect() }
    }

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(&recorded(&["a", "b"]), &recorded(&["a", "b"])), None);
        assert_eq!(first_difference(&recorded(&["a", "b"]), &recorded(&["a", "c"])), Some((1, Some("b"), Some("c"))));
        assert_eq!(first_difference(&recorded(&["a"]), &recorded(&["a", "c"])), Some((1, None, Some("c"))));
    }

    #[test]
    fn the_order_of_events_counts() {
        let hash = |words: [&'static str; 2]| {
            let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
            runtime.block_on(async {
                let trace = Trace::new(false);
                words.iter().for_each(|word| trace.note(format_args!("{word}")));
                trace.take().hash
            })
        };
        assert_eq!(hash(["a", "b"]), hash(["a", "b"]));
        assert_ne!(hash(["a", "b"]), hash(["b", "a"]));
    }
}
