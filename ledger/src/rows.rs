//! Rows in and out: the one place that encodes, decodes and hashes them.
//!
//! The state hash is a sum of the rows' hashes, so every write takes the old row's hash out and puts the new one's in. A row
//! that does not decode is a fault of the disk, hence a [`StoreError`], as is an index row that should be there and is not.
//! Rows are written as the cluster's [version](crate::version) has them; an index row says nothing and has one form for ever.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec;
use crate::state::State;
use crate::store::{Order, Read, StoreError, Write};
use crate::tables::Table;
use crate::version::Versioned;

/// What a row adds to the state hash: XXH3-128 of table, length of the key, key and row.
pub fn row_hash(table: Table, key: &[u8], row: &[u8]) -> u128 {
    let mut scratch = Vec::with_capacity(5 + key.len() + row.len());
    hash_through(&mut scratch, table, key, row)
}

fn hash_through(scratch: &mut Vec<u8>, table: Table, key: &[u8], row: &[u8]) -> u128 {
    start(scratch, table, key);
    scratch.extend_from_slice(row);
    xxh3_128(scratch)
}

fn start(scratch: &mut Vec<u8>, table: Table, key: &[u8]) {
    scratch.clear();
    scratch.push(table as u8);
    scratch.extend_from_slice(&(key.len() as u32).to_le_bytes());
    scratch.extend_from_slice(key);
}

pub(crate) fn damaged(table: Table, key: &[u8], what: impl std::fmt::Display) -> StoreError {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError(format!("row {key} of {table:?}: {what}"))
}

pub(crate) fn decode<T: Versioned>(table: Table, key: &[u8], row: &[u8]) -> Result<T, StoreError> {
    T::read(row).map_err(|error| damaged(table, key, error))
}

impl<S: Read> State<S> {
    /// The row at `key`, decoded.
    pub(crate) fn row<T: Versioned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.store.get(table, key)?.map(|row| decode(table, key, &row)).transpose()
    }

    /// A row that another row says is there.
    pub(crate) fn row_required<T: Versioned>(&self, table: Table, key: &[u8]) -> Result<T, StoreError> {
        self.row(table, key)?.ok_or_else(|| damaged(table, key, "missing"))
    }

    /// At most `limit` keys of `table` that begin with `prefix`, ascending.
    pub(crate) fn keys(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Bytes>, StoreError> {
        let to = crate::store::prefix_end(prefix);
        let rows = self.store.range(table, prefix, to.as_deref(), Order::Ascending, limit)?;
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }
}

impl<S: Write> State<S> {
    /// Writes a row that may be there already.
    pub(crate) fn put<T: Versioned>(&mut self, table: Table, key: &[u8], row: &T) -> Result<(), StoreError> {
        if let Some(old) = self.store.get(table, key)? {
            let hash = hash_through(&mut self.scratch, table, key, &old);
            self.meta.rows_hash = self.meta.rows_hash.wrapping_sub(hash);
        }
        self.insert(table, key, row)
    }

    /// Writes a row that is known not to be there.
    pub(crate) fn insert<T: Versioned>(&mut self, table: Table, key: &[u8], row: &T) -> Result<(), StoreError> {
        start(&mut self.scratch, table, key);
        let row_starts = self.scratch.len();
        row.write(self.rows_version(), &mut self.scratch);
        self.meta.rows_hash = self.meta.rows_hash.wrapping_add(xxh3_128(&self.scratch));
        let row = Bytes::copy_from_slice(&self.scratch[row_starts..]);
        self.store.put(table, key, row)
    }

    /// Deletes a row that must be there.
    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let old = self.store.get(table, key)?.ok_or_else(|| damaged(table, key, "missing"))?;
        let hash = hash_through(&mut self.scratch, table, key, &old);
        self.meta.rows_hash = self.meta.rows_hash.wrapping_sub(hash);
        self.store.delete(table, key)
    }

    /// Writes an index row that is known not to be there.
    pub(crate) fn mark(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.insert(table, key, &())
    }

    /// Deletes an index row that is known to be there and says nothing but that: it is not read first, which on disk costs
    /// more than all the rest.
    pub(crate) fn unmark(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        start(&mut self.scratch, table, key);
        codec::encode_into(&mut self.scratch, &());
        self.meta.rows_hash = self.meta.rows_hash.wrapping_sub(xxh3_128(&self.scratch));
        self.store.delete(table, key)
    }

    /// Writes the meta row, which carries the sum and so stands outside it.
    pub(crate) fn write_meta(&mut self) -> Result<(), StoreError> {
        let row = codec::encode(&self.meta);
        self.store.put(Table::Meta, &[], row)
    }
}
