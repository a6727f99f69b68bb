//! A second store, as unlike [`MemoryStore`](holdfast_ledger::store::MemoryStore) as can be: unordered maps, whose seeds are
//! other ones in every process and every instance, sorted when a range is read.

use std::collections::HashMap;

use bytes::Bytes;
use holdfast_ledger::store::{MemoryStore, Order, Read, StoreError, Write};
use holdfast_ledger::tables::Table;

#[derive(Clone, Default)]
pub struct HashStore {
    tables: HashMap<Table, HashMap<Vec<u8>, Bytes>>,
}

impl Read for HashStore {
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
        let wanted = |key: &[u8]| key >= from && to.is_none_or(|to| key < to);
        let rows = self.tables.get(&table).into_iter().flatten().filter(|(key, _)| wanted(key));
        let mut rows: Vec<_> = rows.map(|(key, row)| (Bytes::copy_from_slice(key), row.clone())).collect();
        rows.sort();
        if order == Order::Descending {
            rows.reverse();
        }
        rows.truncate(limit);
        Ok(rows)
    }
}

impl Write for HashStore {
    fn put(&mut self, table: Table, key: &[u8], row: Bytes) -> Result<(), StoreError> {
        self.tables.entry(table).or_default().insert(key.to_vec(), row);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.tables.entry(table).or_default().remove(key);
        Ok(())
    }
}

/// Every row of `store`, in the order of tables and keys.
pub fn rows(store: &impl Read) -> Vec<(Table, Bytes, Bytes)> {
    let rows = |table: &Table| store.range(*table, &[], None, Order::Ascending, usize::MAX).expect("a store in memory");
    Table::ALL.iter().flat_map(|table| rows(table).into_iter().map(|(key, row)| (*table, key, row))).collect()
}

/// Both stores answer every kind of read alike.
#[test]
fn the_stores_agree() {
    let (mut memory, mut hash) = (MemoryStore::default(), HashStore::default());
    for number in [5u8, 1, 9, 3, 7, 1, 200] {
        let key = [number, number / 2];
        memory.put(Table::Orders, &key, Bytes::copy_from_slice(&[number])).expect("a store in memory");
        hash.put(Table::Orders, &key, Bytes::copy_from_slice(&[number])).expect("a store in memory");
    }
    memory.delete(Table::Orders, &[3, 1]).expect("a store in memory");
    hash.delete(Table::Orders, &[3, 1]).expect("a store in memory");
    assert_eq!(memory.get(Table::Orders, &[5, 2]), hash.get(Table::Orders, &[5, 2]));
    assert_eq!(rows(&memory), rows(&hash));
    for order in [Order::Ascending, Order::Descending] {
        for (from, to, limit) in [(&[2][..], Some(&[9, 4][..]), 9), (&[], None, 2), (&[9], Some(&[1][..]), 9)] {
            assert_eq!(
                memory.range(Table::Orders, from, to, order, limit),
                hash.range(Table::Orders, from, to, order, limit)
            );
        }
    }
}
