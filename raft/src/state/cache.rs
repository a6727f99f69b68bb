//! Hot rows in memory: what the engine holds, so that apply and reads seldom ask it.
//!
//! Two generations of a map: a row that is used moves to the young one, and when that has half of the room the old one is
//! forgotten as a whole. It also remembers that there is no row, which is what most checks for duplicates ask.

use std::collections::HashMap;

use bytes::Bytes;
use holdfast_ledger::tables::Table;

use super::overlay::{ROW_OVERHEAD_BYTES, Row};

type Rows = HashMap<Bytes, Row>;

/// A bounded cache of rows. It holds a row as it was last set, or not at all.
#[derive(Debug)]
pub struct RowCache {
    young: Vec<Rows>,
    old: Vec<Rows>,
    young_bytes: usize,
    generation_bytes_max: usize,
}

fn empty() -> Vec<Rows> {
    let numbers = Table::ALL.iter().map(|table| *table as usize + 1).max().unwrap_or_default();
    (0..numbers).map(|_| Rows::new()).collect()
}

impl RowCache {
    pub fn new(bytes_max: usize) -> RowCache {
        RowCache { young: empty(), old: empty(), young_bytes: 0, generation_bytes_max: bytes_max / 2 }
    }

    /// The row as it is below, if that is known here.
    pub fn get(&mut self, table: Table, key: &[u8]) -> Option<Row> {
        if let Some(row) = self.young[table as usize].get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.old[table as usize].remove_entry(key)?;
        self.set(table, key, row.clone());
        Some(row)
    }

    /// Remembers a row as it is now.
    pub fn set(&mut self, table: Table, key: Bytes, row: Row) {
        self.young_bytes += ROW_OVERHEAD_BYTES + key.len() + row.as_ref().map_or(0, Bytes::len);
        self.young[table as usize].insert(key, row);
        if self.young_bytes > self.generation_bytes_max {
            self.old = std::mem::replace(&mut self.young, empty());
            self.young_bytes = 0;
        }
    }

    /// Forgets a row.
    pub fn forget(&mut self, table: Table, key: &[u8]) {
        self.young[table as usize].remove(key);
        self.old[table as usize].remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    #[test]
    fn stays_within_its_bound_and_keeps_what_is_used() {
        let one = ROW_OVERHEAD_BYTES + 4;
        let mut cache = RowCache::new(20 * one);
        cache.set(Table::Users, key(0), None);
        for number in 1..1_000 {
            cache.set(Table::Users, key(number), None);
            assert_eq!(cache.get(Table::Users, &key(0)), Some(None), "a hot row stays");
            let held = cache.young[Table::Users as usize].len() + cache.old[Table::Users as usize].len();
            assert!(held <= 22, "{held} rows are held");
        }
        assert_eq!(cache.get(Table::Users, &key(1)), None);
    }

    #[test]
    fn never_answers_with_an_older_row() {
        let mut cache = RowCache::new(4 * (ROW_OVERHEAD_BYTES + 8));
        for number in 0..100u32 {
            cache.set(Table::Users, key(7), Some(key(number)));
            cache.set(Table::Users, key(100 + number), None);
            assert_eq!(cache.get(Table::Users, &key(7)).unwrap_or(Some(key(number))), Some(key(number)));
        }
        cache.forget(Table::Users, &key(7));
        assert_eq!(cache.get(Table::Users, &key(7)), None);
    }
}
