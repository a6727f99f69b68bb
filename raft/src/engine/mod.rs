//! The storage engine: ordered tables of bytes, written in atomic batches.
//!
//! Two databases of a node stand on it, `log/` and `state/`, and everything above speaks this trait alone, so that the
//! same log store and state run on RocksDB and on the simulator's disk. Calls block: they are made from the log's writer,
//! the state's flusher, or through [`runtime::blocking`](crate::runtime::blocking), never from an async task.
//!
//! What this deliberately does not do: transactions, snapshots for readers, or iterators that outlive a call. One writer
//! a database and pages of rows are all that replication needs.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use holdfast_ledger::store::Order;

use crate::runtime::WatchReceiver;

#[cfg(not(madsim))]
pub mod rocks;
pub mod simulated;

/// A table's number: the first byte of every stored key.
pub type TableNumber = u8;

/// The engine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The disk or the operating system refused. What was asked for may or may not have happened.
    #[error("{doing}: {reason}")]
    Io { doing: &'static str, reason: String },
    /// What is stored is not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl From<EngineError> for std::io::Error {
    fn from(error: EngineError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put {
        table: TableNumber,
        key: Bytes,
        row: Bytes,
    },
    Delete {
        table: TableNumber,
        key: Bytes,
    },
    /// All keys with `from <= key < to`.
    DeleteRange {
        table: TableNumber,
        from: Bytes,
        to: Bytes,
    },
}

/// Changes that are stored together, in this order, or not at all.
pub type Batch = Vec<Change>;

/// Whether a write must survive the loss of power when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Synced,
    /// Survives the end of the process, and is lost at most together with everything written after it.
    Unsynced,
}

/// Ordered tables of rows.
pub trait Engine: Debug + Send + Sync + 'static {
    /// Stores `batch` as a whole. After an error nothing may be assumed of it, nor of a later sync.
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError>;

    fn get(&self, table: TableNumber, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// At most `limit` rows with `from <= key < to` (`to` = `None`: to the table's end), from the end that `order` names.
    fn range(
        &self,
        table: TableNumber,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError>;

    /// Makes everything written so far survive the loss of power.
    fn sync(&self) -> Result<(), EngineError>;

    /// Writes a copy of everything written so far into the directory `path` (relative to the data folder), which must not
    /// exist. The copy is complete and synced when this returns; its name is not (see [`Disk`](crate::disk::Disk)).
    fn checkpoint(&self, path: &str) -> Result<(), EngineError>;

    /// What a write costs in simulated time; the caller sleeps it before the write. Zero where time is real.
    fn delay(&self, durability: Durability) -> Duration {
        let _ = durability;
        Duration::ZERO
    }

    /// A channel that closes when the engine's directory is free for another handle; `None` where it always is.
    fn released(&self) -> Option<WatchReceiver<()>> {
        None
    }
}

/// An engine that several tasks read and one writes.
pub type SharedEngine = Arc<dyn Engine>;
