//! The ledger on the replicated store: its stories are told as on a map in memory, whatever is flushed meanwhile.

use std::path::Path;
#[cfg(not(madsim))]
use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::store::{Order, Read, StoreError, Write};
use holdfast_ledger::tables::Table;
use holdfast_raft::disk::{Disk, Purpose, SimDisk};
use holdfast_raft::engine::{Durability, SharedEngine};
use holdfast_raft::state::StateStore;

#[allow(dead_code, reason = "shared with the ledger's own tests, which use all of it")]
#[path = "../../../../ledger/tests/ledger/story/mod.rs"]
mod story;

/// A store that takes the next step of a flush every so many writes.
struct Flushing {
    store: StateStore,
    engine: SharedEngine,
    writes: usize,
    every: usize,
    /// Writes the frozen rows, when there are some.
    pending: Option<Vec<holdfast_raft::engine::Change>>,
}

impl Flushing {
    fn new(engine: SharedEngine, every: usize) -> Flushing {
        let store = StateStore::new(engine.clone(), 2_000);
        Flushing { store, engine, writes: 0, every, pending: None }
    }

    fn step(&mut self) {
        self.writes += 1;
        if !self.writes.is_multiple_of(self.every) {
            return;
        }
        match self.pending.take() {
            None => self.pending = Some(self.store.freeze().to_batch()),
            Some(batch) => {
                self.engine.write(batch, Durability::Unsynced).expect("written");
                self.store.flushed();
            }
        }
    }
}

impl Read for Flushing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.range(table, from, to, order, limit)
    }
}

impl Write for Flushing {
    fn put(&mut self, table: Table, key: &[u8], row: Bytes) -> Result<(), StoreError> {
        self.store.begin_entry();
        self.step();
        self.store.put(table, key, row)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.store.begin_entry();
        self.step();
        self.store.delete(table, key)
    }
}

fn tell_all(new_engine: impl Fn(usize) -> SharedEngine) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ledger/tests/ledger/stories"));
    let stories = story::stories(folder).expect("the folder of the stories");
    assert!(stories.len() >= 40, "only {} stories found", stories.len());
    for (number, path) in stories.iter().enumerate() {
        let store = Flushing::new(new_engine(number), 1 + number % 7);
        story::replay(path, store).unwrap_or_else(|differs| panic!("{differs}"));
    }
}

#[test]
fn stories_on_the_simulated_disk() {
    let disk = SimDisk::new(1);
    tell_all(|number| disk.open_engine(&number.to_string(), Purpose::State).expect("opens"));
}

#[cfg(not(madsim))]
#[test]
fn stories_on_rocksdb() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(holdfast_raft::disk::Folder::open(root.path()).expect("opens"));
    tell_all(|number| disk.open_engine(&number.to_string(), Purpose::State).expect("opens"));
}
