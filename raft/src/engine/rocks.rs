//! The engine on RocksDB.
//!
//! One column family holds all tables, each key behind its table's number: a batch over several tables is then one write
//! to one memtable, and a checkpoint has one set of files. The write-ahead log is on for both databases. For the log it is
//! what is synced; for the state, which is never synced by itself, it makes what a power loss takes away a whole number of
//! flushes from the end, instead of an arbitrary set of rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

use super::{Batch, Change, Durability, Engine, EngineError, Order, TableNumber};
use crate::disk::Purpose;
use crate::runtime::{WatchReceiver, WatchSender, watch_channel};

/// Memory for blocks read from the state, in bytes.
const STATE_CACHE_BYTES: usize = 128 << 20;
/// Memory for blocks read from the log, which is rarely read, in bytes.
const LOG_CACHE_BYTES: usize = 8 << 20;
/// A write buffer of either database, in bytes; each has at most two.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// The file that names the list of a database's files.
const CURRENT: &str = "CURRENT";
/// RocksDB's own messages: the last two files of at most this many bytes each.
const MESSAGES_BYTES_MAX: usize = 1 << 20;

/// A RocksDB database in one directory of a data folder.
pub struct RocksEngine {
    root: PathBuf,
    db: DB,
    /// Dropped after the database: whoever waits on it knows that the directory's lock is free.
    released: WatchSender<()>,
}

impl std::fmt::Debug for RocksEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RocksEngine({})", self.db.path().display())
    }
}

fn failed(doing: &'static str) -> impl Fn(rocksdb::Error) -> EngineError {
    move |error| match error.kind() {
        rocksdb::ErrorKind::Corruption => EngineError::Damaged(error.to_string()),
        _ => EngineError::Io { doing, reason: error.to_string() },
    }
}

impl RocksEngine {
    /// Opens the database in the directory `path` below `root`, made where there is none.
    pub fn open(root: &Path, path: &str, purpose: Purpose) -> Result<RocksEngine, EngineError> {
        let directory = root.join(path);
        // RocksDB would begin another one there.
        if !directory.join(CURRENT).exists() && has_rows(&directory) {
            return Err(EngineError::Damaged(format!("{} is missing", directory.join(CURRENT).display())));
        }
        let db = DB::open(&options(purpose), &directory).map_err(|error| {
            let missing = missing_manifest(&directory);
            missing.map_or_else(|| failed("opening a database")(error), EngineError::Damaged)
        })?;
        Ok(RocksEngine { root: root.to_path_buf(), db, released: watch_channel(()).0 })
    }
}

/// Whether the directory has files that hold rows. One whose making was interrupted has none.
fn has_rows(directory: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(directory) else { return false };
    let mut names = files.flatten().map(|file| file.file_name());
    names.any(|name| Path::new(&name).extension().is_some_and(|ending| ending == "sst" || ending == "log"))
}

/// What there is to say of a list of files that is named and not there, which RocksDB reports as any other error of the disk.
fn missing_manifest(directory: &Path) -> Option<String> {
    let named = std::fs::read_to_string(directory.join(CURRENT)).ok()?;
    let manifest = directory.join(named.trim());
    let is_missing = matches!(manifest.try_exists(), Ok(false));
    is_missing.then(|| format!("{} is missing", manifest.display()))
}

fn options(purpose: Purpose) -> Options {
    let mut table = BlockBasedOptions::default();
    let cache_bytes = match purpose {
        Purpose::Log => LOG_CACHE_BYTES,
        Purpose::State => STATE_CACHE_BYTES,
    };
    table.set_block_cache(&Cache::new_lru_cache(cache_bytes));
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    // Filters and indexes count against the cache, or memory would grow with the database.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_total_wal_size(4 * WRITE_BUFFER_BYTES as u64);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MESSAGES_BYTES_MAX);
    // A torn tail is what a crash leaves; a write-ahead log that is missing as a whole is damage.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options
}

fn stored_key(table: TableNumber, key: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(1 + key.len());
    stored.put_u8(table);
    stored.put_slice(key);
    stored.freeze()
}

impl Engine for RocksEngine {
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        let mut changes = WriteBatch::default();
        for change in batch {
            match change {
                Change::Put { table, key, row } => changes.put(stored_key(table, &key), row),
                Change::Delete { table, key } => changes.delete(stored_key(table, &key)),
                Change::DeleteRange { table, from, to } => {
                    changes.delete_range(stored_key(table, &from), stored_key(table, &to));
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(changes, &options).map_err(failed("writing"))
    }

    fn get(&self, table: TableNumber, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let row = self.db.get_pinned(stored_key(table, key)).map_err(failed("reading a row"))?;
        Ok(row.map(|row| Bytes::copy_from_slice(&row)))
    }

    fn range(
        &self,
        table: TableNumber,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let from = stored_key(table, from);
        let to = match to {
            Some(to) => Some(stored_key(table, to)),
            None => table.checked_add(1).map(|next| stored_key(next, &[])),
        };
        if limit == 0 || to.as_ref().is_some_and(|to| *to <= from) {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from.to_vec());
        if let Some(to) = &to {
            options.set_iterate_upper_bound(to.to_vec());
        }
        let mode = match order {
            Order::Ascending => IteratorMode::From(&from, Direction::Forward),
            Order::Descending => IteratorMode::End,
        };
        let mut rows = Vec::new();
        for row in self.db.iterator_opt(mode, options).take(limit) {
            let (key, row) = row.map_err(failed("reading a range"))?;
            rows.push((Bytes::from(key).slice(1..), Bytes::from(row)));
        }
        Ok(rows)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.db.flush_wal(true).map_err(failed("syncing"))
    }

    fn checkpoint(&self, path: &str) -> Result<(), EngineError> {
        let doing = "making a checkpoint";
        let path = self.root.join(path);
        if let Some(parent) = path.parent() {
            let made = std::fs::create_dir_all(parent);
            made.map_err(|error| EngineError::Io { doing, reason: error.to_string() })?;
        }
        let checkpoint = Checkpoint::new(&self.db).map_err(failed(doing))?;
        checkpoint.create_checkpoint(path).map_err(failed(doing))
    }

    fn delay(&self, _durability: Durability) -> Duration {
        Duration::ZERO
    }

    fn released(&self) -> Option<WatchReceiver<()>> {
        use openraft_rt::WatchSender as _;
        Some(self.released.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_ranges_and_checkpoints() {
        let root = tempfile::tempdir().expect("a folder");
        let engine = RocksEngine::open(root.path(), "db", Purpose::State).expect("opens");
        super::super::simulated::tests::exercise(&engine);
        engine.checkpoint("copy").expect("made");
        drop(engine);
        for path in ["db", "copy"] {
            let engine = RocksEngine::open(root.path(), path, Purpose::Log).expect("opens again");
            let keys: Vec<_> = engine.range(1, b"", None, Order::Ascending, 9).expect("read");
            assert_eq!(keys.len(), 2, "{path} holds what was written");
        }
    }

    #[test]
    fn a_database_that_misses_a_file_is_not_opened_with_a_part_of_its_rows() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |number: u8| {
            let engine = RocksEngine::open(root.path(), "db", Purpose::State).expect("opens");
            let key = Bytes::copy_from_slice(&[number]);
            engine
                .write(vec![Change::Put { table: 1, key: key.clone(), row: key }], Durability::Synced)
                .expect("written");
        };
        // Opening writes what it finds in the write-ahead log to a table: the last row alone stands in a log.
        (0..4).for_each(put);
        let names = |path: &str| -> Vec<String> {
            let entries = std::fs::read_dir(root.path().join(path)).expect("lists").map(|entry| entry.expect("reads"));
            entries.map(|entry| entry.file_name().into_string().expect("text")).collect()
        };
        let mut refused = Vec::new();
        for gone in names("db") {
            let copy = format!("without-{gone}");
            std::fs::create_dir(root.path().join(&copy)).expect("made");
            for name in names("db").iter().filter(|name| **name != gone) {
                let (from, to) = (root.path().join("db").join(name), root.path().join(&copy).join(name));
                std::fs::copy(from, to).expect("copied");
            }
            match RocksEngine::open(root.path(), &copy, Purpose::State) {
                Ok(engine) => {
                    let rows = engine.range(1, b"", None, Order::Ascending, 9).expect("read");
                    // Without the end, as after a loss of power: never without what is before the end.
                    let is_whole = rows.iter().zip(0..).all(|((key, _), number)| key[..] == [number]);
                    assert!(is_whole && rows.len() >= 3, "{gone} was gone, and {rows:?} were left");
                }
                Err(EngineError::Damaged(_)) => refused.push(gone),
                Err(error) => panic!("{gone} was gone, and that is told as {error}"),
            }
        }
        let are_told = |start: &str, end: &str| {
            refused.iter().filter(|name| name.starts_with(start) && name.ends_with(end)).count()
        };
        assert!(are_told("", ".sst") >= 3, "each of the tables is missed: {refused:?}");
        assert_eq!((are_told("MANIFEST-", ""), are_told("CURRENT", "")), (1, 1), "{refused:?}");
    }

    #[test]
    fn one_handle_at_a_time() {
        let root = tempfile::tempdir().expect("a folder");
        let first = RocksEngine::open(root.path(), "db", Purpose::State).expect("opens");
        assert!(matches!(RocksEngine::open(root.path(), "db", Purpose::State), Err(EngineError::Io { .. })));
        drop(first);
        RocksEngine::open(root.path(), "db", Purpose::State).expect("opens when the first is gone");
    }
}
