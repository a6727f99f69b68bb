//! The end of the log in memory: what is not yet written, and as much before it as fits.
//!
//! In steady state replication and apply read from here alone. Entries that the database does not have yet are never
//! evicted; how many those can be is bounded by the writer's queue.

use std::collections::VecDeque;

use crate::format::entry_bytes;
use crate::types::{Entry, LogId};

/// A run of entries without gaps.
#[derive(Debug)]
pub struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// The database has all entries with a lower index.
    written_end: u64,
}

impl Recent {
    pub fn new(bytes_max: usize, written_end: u64) -> Recent {
        Recent { entries: VecDeque::new(), bytes: 0, bytes_max, written_end }
    }

    /// The first index held; `None` if nothing is.
    pub fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index())
    }

    /// The last id held.
    pub fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        if let Some(last) = self.last() {
            assert_eq!(entry.log_id.index(), last.index() + 1, "recent entries have no gaps");
        }
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
        self.evict();
    }

    /// The entries with `from <= index < end` that are held, as many as `bytes_max` has room for and at least one.
    pub fn read(&self, from: u64, end: u64, bytes_max: usize) -> Vec<Entry> {
        let Some(first) = self.first() else { return Vec::new() };
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut read = Vec::new();
        for entry in self.entries.iter().skip(skipped).take_while(|entry| entry.log_id.index() < end) {
            bytes += entry_bytes(entry);
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(entry.clone());
        }
        read
    }

    /// Forgets the entries from `index` on: they were truncated.
    pub fn truncate(&mut self, index: u64) {
        while self.last().is_some_and(|last| last.index() >= index) {
            let entry = self.entries.pop_back().expect("there is a last one");
            self.bytes -= entry_bytes(&entry);
        }
        self.written_end = self.written_end.min(index);
    }

    /// Forgets the entries up to `index`: they were purged.
    pub fn purge(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.pop_front();
        }
    }

    /// The database now has all entries below `written_end`.
    pub fn written(&mut self, written_end: u64) {
        self.written_end = self.written_end.max(written_end);
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max && self.first().is_some_and(|first| first < self.written_end) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;

    fn entry(index: u64) -> Entry {
        Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank }
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn evicts_only_what_the_database_has() {
        let one = entry_bytes(&entry(1));
        let mut recent = Recent::new(3 * one, 0);
        (1..=5).for_each(|index| recent.push(entry(index)));
        assert_eq!(recent.first(), Some(1), "nothing is written yet");
        recent.written(2);
        assert_eq!(recent.first(), Some(2));
        recent.written(6);
        assert_eq!(recent.first(), Some(3), "what fits stays");
        assert_eq!(indexes(&recent.read(0, 9, usize::MAX)), [3, 4, 5]);
        assert_eq!(indexes(&recent.read(4, 5, usize::MAX)), [4]);
        assert_eq!(indexes(&recent.read(4, 9, 0)), [4], "at least one");
        recent.truncate(5);
        recent.purge(3);
        assert_eq!(indexes(&recent.read(0, 9, usize::MAX)), [4]);
        assert_eq!(recent.last().map(|id| id.index()), Some(4));
    }
}
