//! A node's data folder: databases, small files and directories of files, on a real disk or a simulated one.
//!
//! Everything that a node keeps goes through [`Disk`], so that a simulated power loss takes away exactly what a real one
//! may: each operation says what of it survives. Paths are relative to the folder, with `/` between parts. Calls block;
//! see [`engine`](crate::engine) for where they are made from.
//!
//! What this deliberately does not do: partial overwrites. Files are appended to, replaced as a whole, or removed.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{EngineError, SharedEngine};

#[cfg(not(madsim))]
mod folder;
mod simulated;

#[cfg(not(madsim))]
pub use folder::Folder;
pub use simulated::{FolderCopy, Latency, SimDisk};

/// What a database is for, which decides how its engine is tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Appended and synced all the time, rarely read.
    Log,
    /// Written in large batches, read at random.
    State,
}

/// A node's data folder.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens the database in the directory `path`, made where there is none. At most one handle is open at a time.
    fn open_engine(&self, path: &str, purpose: Purpose) -> Result<SharedEngine, EngineError>;

    /// The whole file; `None` where there is none.
    fn read(&self, path: &str) -> io::Result<Option<Bytes>>;

    /// At most `bytes` bytes of a file from `offset`; fewer only at its end.
    fn read_at(&self, path: &str, offset: u64, bytes: usize) -> io::Result<Bytes>;

    /// Replaces or makes a file as a whole. Durable when this returns; after a crash it is the old one or the new one.
    fn replace(&self, path: &str, content: &[u8]) -> io::Result<()>;

    /// Appends to a file, made where there is none. Not durable before [`sync_dir`](Disk::sync_dir).
    fn append(&self, path: &str, content: &[u8]) -> io::Result<()>;

    /// The names of the files and directories in a directory, in order; empty where there is none.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// The size of a file in bytes.
    fn file_bytes(&self, path: &str) -> io::Result<u64>;

    /// Makes a directory with all files in it, and their names, durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Renames a directory. Durable when this returns; after a crash it has one name or the other.
    fn rename_dir(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a directory with all that is in it, if it is there. A crash may leave a part.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;

    /// Copies a directory of files that nobody will append to, sharing what can be shared. Not durable before
    /// [`sync_dir`](Disk::sync_dir).
    fn copy_dir(&self, from: &str, to: &str) -> io::Result<()>;
}

/// A data folder that several tasks use.
pub type SharedDisk = Arc<dyn Disk>;
