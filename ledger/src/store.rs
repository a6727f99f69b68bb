//! The ledger's storage: ordered tables of encoded rows, behind two small traits.
//!
//! The ledger reads and writes rows through [`Read`] and [`Write`] alone, so the same code runs on an in-memory map
//! (tests, simulation) and on the replicated store, which keeps recent rows in memory above RocksDB. Rows are bytes here
//! because they must be bytes anyway: the state hash is taken over the encoded row, and the store writes it as it is.
//!
//! What this deliberately does not do: transactions. One entry is applied by one caller, and the store underneath makes
//! whole entries atomic.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;

use crate::tables::Table;

/// The store below could not be read or written. Never an outcome: the caller stops the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// Which end a range starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Ordered tables of rows, read at one state.
pub trait Read {
    /// The row at `key`, if there is one.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` rows with `from <= key < to` (`to` = `None`: to the table's end), from the end that `order` names.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
}

/// A [`Read`] that can also be written. Later reads see earlier writes.
pub trait Write: Read {
    fn put(&mut self, table: Table, key: &[u8], row: Bytes) -> Result<(), StoreError>;
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
}

/// A store in memory, for tests, simulation and models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStore {
    /// No table is empty, so that equal contents are equal values.
    tables: BTreeMap<Table, BTreeMap<Bytes, Bytes>>,
}

impl Read for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let Some(rows) = self.tables.get(&table).filter(|_| to.is_none_or(|to| from < to)) else {
            return Ok(Vec::new());
        };
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows.range::<[u8], _>((Bound::Included(from), to)).map(|(key, row)| (key.clone(), row.clone()));
        Ok(match order {
            Order::Ascending => rows.take(limit).collect(),
            Order::Descending => rows.rev().take(limit).collect(),
        })
    }
}

impl Write for MemoryStore {
    fn put(&mut self, table: Table, key: &[u8], row: Bytes) -> Result<(), StoreError> {
        self.tables.entry(table).or_default().insert(Bytes::copy_from_slice(key), row);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Entry::Occupied(mut rows) = self.tables.entry(table) {
            rows.get_mut().remove(key);
            if rows.get().is_empty() {
                rows.remove();
            }
        }
        Ok(())
    }
}

/// The first key after every key that starts with `prefix`; `None` where there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
