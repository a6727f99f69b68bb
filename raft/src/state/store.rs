//! The ledger's store: what changed lately in memory, above what the engine holds.
//!
//! A row is looked for in the active generation of changes, then in the one that is being flushed, then in the cache of
//! hot rows, then in the engine. Flushing does not change what a read sees, so readers need to know nothing of it.
//!
//! An entry's changes can be taken back as long as it is the last one: a broken invariant or a failed read in the middle
//! of an entry leaves the state as it was before.

use std::iter::Peekable;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use holdfast_ledger::store::{Order, Read, StoreError, Write};
use holdfast_ledger::tables::Table;

use super::cache::RowCache;
use super::overlay::{Changes, Overlay, Row};
use crate::engine::{EngineError, SharedEngine};
use crate::runtime::WatchReceiver;

/// Rows read from the engine at once.
const PAGE_ROWS_MAX: usize = 1_024;

/// Rows read from the engine beyond those asked for, as some may be hidden by changes.
const PAGE_SLACK_ROWS: usize = 8;

/// Rows above an engine.
#[derive(Debug)]
pub struct StateStore {
    engine: SharedEngine,
    active: Overlay,
    /// Being flushed: the engine may or may not have it.
    frozen: Option<Arc<Overlay>>,
    cache: Mutex<RowCache>,
    /// What the entry at hand replaced in the active generation; `None`: nothing was there.
    undo: Vec<(Table, Bytes, Option<Row>)>,
}

fn store_error(error: EngineError) -> StoreError {
    StoreError(error.to_string())
}

impl StateStore {
    /// The rows that `engine` holds, with up to `cache_bytes_max` bytes of them in memory.
    pub fn new(engine: SharedEngine, cache_bytes_max: usize) -> StateStore {
        let cache = Mutex::new(RowCache::new(cache_bytes_max));
        StateStore { engine, active: Overlay::default(), frozen: None, cache, undo: Vec::new() }
    }

    /// See [`Engine::released`](crate::engine::Engine::released).
    pub(crate) fn released(&self) -> Option<WatchReceiver<()>> {
        self.engine.released()
    }

    /// Memory of the active generation, in bytes.
    pub fn active_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// Ends the active generation; it is then to be written to the engine, and [`flushed`](StateStore::flushed) called.
    pub fn freeze(&mut self) -> Arc<Overlay> {
        assert!(self.frozen.is_none(), "one generation is flushed at a time");
        let frozen = Arc::new(std::mem::take(&mut self.active));
        self.frozen = Some(frozen.clone());
        frozen
    }

    /// The engine has the frozen generation, which is returned for the caller to drop where nobody waits for it.
    pub fn flushed(&mut self) -> Option<Arc<Overlay>> {
        self.frozen.take()
    }

    /// An entry begins: what comes before it can no longer be taken back.
    pub fn begin_entry(&mut self) {
        self.undo.clear();
    }

    /// Takes back what the entry changed since it began.
    pub fn roll_back(&mut self) {
        let cache = self.cache.get_mut().expect("nothing panics while it holds the cache");
        while let Some((table, key, replaced)) = self.undo.pop() {
            cache.forget(table, &key);
            match replaced {
                Some(row) => drop(self.active.set(table, key, row)),
                None => self.active.unset(table, &key),
            }
        }
    }

    fn set(&mut self, table: Table, key: &[u8], row: Row) {
        let key = Bytes::copy_from_slice(key);
        let cache = self.cache.get_mut().expect("nothing panics while it holds the cache");
        cache.set(table, key.clone(), row.clone());
        let replaced = self.active.set(table, key.clone(), row);
        self.undo.push((table, key, replaced));
    }
}

impl Read for StateStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(row) = self.active.get(table, key) {
            return Ok(row.clone());
        }
        if let Some(row) = self.frozen.as_ref().and_then(|frozen| frozen.get(table, key)) {
            return Ok(row.clone());
        }
        let cached = self.cache.lock().expect("nothing panics while it holds the cache").get(table, key);
        if let Some(row) = cached {
            return Ok(row);
        }
        // The lock is not held meanwhile: a row below changes only by a flush, which the layers above then hide.
        let row = self.engine.get(table as u8, key).map_err(store_error)?;
        let mut cache = self.cache.lock().expect("nothing panics while it holds the cache");
        cache.set(table, Bytes::copy_from_slice(key), row.clone());
        Ok(row)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let changed = std::iter::once(&self.active).chain(self.frozen.as_deref());
        let mut changed: Vec<_> = changed.map(|layer| layer.range(table, from, to, order).peekable()).collect();
        let mut stored = Stored::new(&self.engine, table, from, to, order);
        let mut rows = Vec::new();
        while rows.len() < limit {
            stored.fill((limit - rows.len()).min(PAGE_ROWS_MAX) + PAGE_SLACK_ROWS)?;
            let below = stored.page.last().map(|(key, _)| key);
            let keys = changed.iter_mut().filter_map(|layer| layer.peek().map(|(key, _)| *key));
            let next = match order {
                Order::Ascending => keys.chain(below).min(),
                Order::Descending => keys.chain(below).max(),
            };
            let Some(key) = next.cloned() else { break };
            let mut row = take(&mut changed, &key);
            if stored.page.last().is_some_and(|(below, _)| *below == key) {
                let below = stored.page.pop().map(|(_, below)| below);
                row = row.or(Some(below));
            }
            if let Some(row) = row.flatten() {
                rows.push((key, row));
            }
        }
        Ok(rows)
    }
}

/// Takes `key` from every layer that has it, and answers with the row of the first one.
fn take(layers: &mut [Peekable<Changes<'_>>], key: &Bytes) -> Option<Row> {
    let mut taken = None;
    for layer in layers {
        if let Some((_, row)) = layer.next_if(|(next, _)| *next == key) {
            taken = taken.or_else(|| Some(row.clone()));
        }
    }
    taken
}

/// A range of the engine's rows, read in pages.
struct Stored<'a> {
    engine: &'a SharedEngine,
    table: Table,
    from: Bytes,
    to: Option<Bytes>,
    order: Order,
    /// The next rows, the very next one last.
    page: Vec<(Bytes, Bytes)>,
    ended: bool,
}

impl<'a> Stored<'a> {
    fn new(engine: &'a SharedEngine, table: Table, from: &[u8], to: Option<&[u8]>, order: Order) -> Stored<'a> {
        let (from, to) = (Bytes::copy_from_slice(from), to.map(Bytes::copy_from_slice));
        Stored { engine, table, from, to, order, page: Vec::new(), ended: false }
    }

    /// Reads the next page of `rows` rows if none are left of the last one.
    fn fill(&mut self, rows: usize) -> Result<(), StoreError> {
        if self.ended || !self.page.is_empty() {
            return Ok(());
        }
        let page = self.engine.range(self.table as u8, &self.from, self.to.as_deref(), self.order, rows);
        self.page = page.map_err(store_error)?;
        self.ended = self.page.len() < rows;
        if let Some((last, _)) = self.page.last() {
            match self.order {
                Order::Ascending => self.from = [last, &[0][..]].concat().into(),
                Order::Descending => self.to = Some(last.clone()),
            }
        }
        self.page.reverse();
        Ok(())
    }
}

impl Write for StateStore {
    fn put(&mut self, table: Table, key: &[u8], row: Bytes) -> Result<(), StoreError> {
        self.set(table, key, Some(row));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.set(table, key, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::store::MemoryStore;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::disk::SimDisk;
    use crate::engine::Durability;
    use crate::engine::simulated::SimEngine;

    const TABLES: [Table; 3] = [Table::Users, Table::Tickets, Table::NodeKeys];

    fn open(disk: &SimDisk) -> StateStore {
        StateStore::new(Arc::new(SimEngine::open(disk.clone(), "state").expect("opens")), 4_000)
    }

    fn key(rng: &mut SmallRng) -> Vec<u8> {
        let bytes = rng.random_range(0..3);
        (0..bytes).map(|_| rng.random_range(0..8)).collect()
    }

    fn compare(rng: &mut SmallRng, store: &StateStore, model: &MemoryStore) {
        let table = TABLES[rng.random_range(0..3)];
        let (from, to) = (key(rng), rng.random::<bool>().then(|| key(rng)));
        let order = if rng.random() { Order::Ascending } else { Order::Descending };
        let limit = rng.random_range(0..20);
        assert_eq!(store.get(table, &from), model.get(table, &from));
        let range = |store: &dyn Read| store.range(table, &from, to.as_deref(), order, limit);
        assert_eq!(range(store), range(model), "{table:?} {from:?} {to:?} {order:?} {limit}");
    }

    /// One change of both, and now and then a step of the flush.
    fn step(rng: &mut SmallRng, store: &mut StateStore, model: &mut MemoryStore) {
        let (table, key) = (TABLES[rng.random_range(0..3)], key(rng));
        if rng.random_range(0..3) == 0 {
            store.delete(table, &key).expect("deleted");
            model.delete(table, &key).expect("deleted");
        } else {
            let row = Bytes::copy_from_slice(&rng.random::<[u8; 4]>());
            store.put(table, &key, row.clone()).expect("put");
            model.put(table, &key, row).expect("put");
        }
        if rng.random_range(0..20) == 0 {
            match &store.frozen {
                None => drop(store.freeze()),
                Some(frozen) => {
                    store.engine.write(frozen.to_batch(), Durability::Unsynced).expect("written");
                    if rng.random() {
                        store.flushed();
                    }
                }
            }
        }
    }

    #[test]
    fn reads_like_a_map_whatever_is_flushed() {
        for seed in 0..50 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (mut store, mut model) = (open(&SimDisk::new(seed)), MemoryStore::default());
            for _ in 0..400 {
                step(&mut rng, &mut store, &mut model);
                compare(&mut rng, &store, &model);
            }
        }
    }

    #[test]
    fn an_entry_can_be_taken_back() {
        for seed in 0..50 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (mut store, mut model) = (open(&SimDisk::new(seed)), MemoryStore::default());
            for _ in 0..40 {
                for _ in 0..10 {
                    step(&mut rng, &mut store, &mut model);
                }
                store.begin_entry();
                for _ in 0..10 {
                    let (table, key) = (TABLES[rng.random_range(0..3)], key(&mut rng));
                    match rng.random() {
                        true => store.delete(table, &key).expect("deleted"),
                        false => store.put(table, &key, Bytes::from_static(b"undone")).expect("put"),
                    }
                }
                store.roll_back();
                for _ in 0..10 {
                    compare(&mut rng, &store, &model);
                }
            }
        }
    }
}
