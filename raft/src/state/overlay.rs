//! Rows that changed since they were last written to the engine: one generation of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use holdfast_ledger::tables::Table;

use crate::engine::{Batch, Change, Order};

/// What a row costs in memory beside its bytes, roughly.
pub const ROW_OVERHEAD_BYTES: usize = 96;

/// A changed row; `None`: it was deleted.
pub type Row = Option<Bytes>;

/// Changed rows with their keys, in order.
pub type Changes<'a> = Box<dyn Iterator<Item = (&'a Bytes, &'a Row)> + 'a>;

/// Changed rows, in order, by table.
#[derive(Debug, Default)]
pub struct Overlay {
    tables: BTreeMap<Table, BTreeMap<Bytes, Row>>,
    bytes: usize,
}

fn cost(key: &Bytes, row: &Row) -> usize {
    ROW_OVERHEAD_BYTES + key.len() + row.as_ref().map_or(0, Bytes::len)
}

impl Overlay {
    /// Memory that the rows take, roughly, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The row, if it changed.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Row> {
        self.tables.get(&table)?.get(key)
    }

    /// Sets a row and returns the change that it replaces, if there was one.
    pub fn set(&mut self, table: Table, key: Bytes, row: Row) -> Option<Row> {
        self.bytes += cost(&key, &row);
        let replaced = self.tables.entry(table).or_default().insert(key.clone(), row);
        if let Some(replaced) = &replaced {
            self.bytes -= cost(&key, replaced);
        }
        replaced
    }

    /// Takes a change back.
    pub fn unset(&mut self, table: Table, key: &Bytes) {
        if let Some(row) = self.tables.get_mut(&table).and_then(|rows| rows.remove(key)) {
            self.bytes -= cost(key, &row);
        }
    }

    /// The changed rows with `from <= key < to`, in order.
    pub fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>, order: Order) -> Changes<'_> {
        let Some(rows) = self.tables.get(&table) else { return Box::new(std::iter::empty()) };
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = rows.range::<[u8], _>((Bound::Included(from), to));
        match order {
            Order::Ascending => Box::new(rows),
            Order::Descending => Box::new(rows.rev()),
        }
    }

    /// All changes, in the order of their tables and keys.
    pub fn to_batch(&self) -> Batch {
        let changes = self.tables.iter().flat_map(|(table, rows)| {
            rows.iter().map(|(key, row)| match row {
                Some(row) => Change::Put { table: *table as u8, key: key.clone(), row: row.clone() },
                None => Change::Delete { table: *table as u8, key: key.clone() },
            })
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_its_bytes() {
        let mut overlay = Overlay::default();
        let key = Bytes::from_static(b"key");
        assert_eq!(overlay.set(Table::Users, key.clone(), Some(Bytes::from_static(b"row"))), None);
        assert_eq!(overlay.bytes(), ROW_OVERHEAD_BYTES + 6);
        assert_eq!(overlay.set(Table::Users, key.clone(), None), Some(Some(Bytes::from_static(b"row"))));
        assert_eq!(overlay.bytes(), ROW_OVERHEAD_BYTES + 3);
        overlay.unset(Table::Users, &key);
        assert_eq!(overlay.bytes(), 0);
        assert_eq!(overlay.get(Table::Users, b"key"), None);
    }
}
